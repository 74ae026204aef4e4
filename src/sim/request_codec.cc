#include "sim/request_codec.h"

#include "sim/hash.h"

namespace millrace::sim {
namespace {

void put(Writer& out, const IpAddr& a) {
  for (const uint8_t b : a.bytes()) out.u8(b);
}
IpAddr get_addr(Reader& in) {
  std::array<uint8_t, 16> bytes{};
  for (auto& b : bytes) b = in.u8();
  return IpAddr(bytes);
}
void put(Writer& out, const Handle& h) {
  out.u64(h.index);
  out.u64(h.gen);
}
Handle get_handle(Reader& in) {
  Handle h;
  h.index = static_cast<uint32_t>(in.u64());
  h.gen = static_cast<uint32_t>(in.u64());
  return h;
}
void put(Writer& out, const Prefix& p) {
  put(out, p.addr);
  out.u8(p.length);
}
Prefix get_prefix(Reader& in) {
  Prefix p;
  p.addr = get_addr(in);
  p.length = in.u8();
  return p;
}
void put(Writer& out, IfIndex i) { out.u64(static_cast<uint16_t>(i)); }
IfIndex get_if(Reader& in) { return static_cast<IfIndex>(in.u64()); }
uint32_t get32(Reader& in) { return static_cast<uint32_t>(in.u64()); }

void put(Writer& out, const SocketOptions& o) {
  out.u8(o.no_delay);
  out.u8(o.keepalive);
  out.u64(o.send_buffer);
  out.u64(o.receive_buffer);
  out.u64(o.mss);
  out.fixed(static_cast<uint64_t>(o.keepalive_idle.ns()));
  out.fixed(static_cast<uint64_t>(o.keepalive_interval.ns()));
  out.u8(o.keepalive_probes);
}
SocketOptions get_options(Reader& in) {
  SocketOptions o;
  o.no_delay = in.u8() != 0;
  o.keepalive = in.u8() != 0;
  o.send_buffer = get32(in);
  o.receive_buffer = get32(in);
  o.mss = static_cast<uint16_t>(in.u64());
  o.keepalive_idle = Duration(static_cast<int64_t>(in.fixed()));
  o.keepalive_interval = Duration(static_cast<int64_t>(in.fixed()));
  o.keepalive_probes = in.u8();
  return o;
}

struct Encode {
  Writer& out;
  const RequestNames& names;
  void operator()(const req::Listen& r) const {
    encode_endpoint(out, r.local);
    out.u64(r.backlog);
    out.u64(r.user);
    put(out, r.options);
    out.u64(r.table);
  }
  void operator()(const req::Connect& r) const {
    encode_endpoint(out, r.remote);
    encode_endpoint(out, r.local);
    out.u64(r.user);
    put(out, r.options);
    out.u64(r.table);
  }
  void operator()(const req::Accept& r) const {
    put(out, r.listener);
    out.u64(r.user);
  }
  void operator()(const req::SetUser& r) const {
    put(out, r.handle);
    out.u64(r.user);
  }
  void operator()(const req::Send& r) const {
    put(out, r.handle);
    out.bytes(r.data);
    out.u8(r.more);
  }
  void operator()(const req::LendBuffer& r) const { out.u64(r.bytes); }
  void operator()(const req::SendLent& r) const {
    put(out, r.handle);
    out.u64(names.buffer_to_ordinal(r.buffer));
    out.bytes(std::span<const std::byte>(r.buffer, r.buffer == nullptr ? 0 : r.bytes));
    out.u64(r.bytes);
    out.u64(r.cookie);
  }
  void operator()(const req::DropLent& r) const { out.u64(names.buffer_to_ordinal(r.buffer)); }
  void operator()(const req::Receive& r) const {
    put(out, r.handle);
    out.u64(r.into.size());
    out.u8(r.peek);
  }
  void operator()(const req::Borrow& r) const { put(out, r.handle); }
  void operator()(const req::Release& r) const { out.u64(names.token_to_ordinal(r.token)); }
  void operator()(const req::Shutdown& r) const { put(out, r.handle); }
  void operator()(const req::Close& r) const { put(out, r.handle); }
  void operator()(const req::Abort& r) const { put(out, r.handle); }
  void operator()(const req::SetOptions& r) const {
    put(out, r.handle);
    put(out, r.options);
  }
  void operator()(const req::AddAddress& r) const {
    put(out, r.interface);
    put(out, r.prefix);
  }
  void operator()(const req::RemoveAddress& r) const {
    put(out, r.interface);
    put(out, r.addr);
  }
  void operator()(const req::AddRoute& r) const {
    put(out, r.prefix);
    put(out, r.interface);
    put(out, r.gateway);
    out.u64(r.table);
    out.u64(r.metric);
  }
  void operator()(const req::RemoveRoute& r) const {
    put(out, r.prefix);
    put(out, r.interface);
    out.u64(r.table);
  }
  void operator()(const req::SetLink& r) const {
    put(out, r.interface);
    out.u8(r.up);
  }
  void operator()(const req::AddNeighbour& r) const {
    put(out, r.interface);
    put(out, r.addr);
    for (const uint8_t b : r.mac.bytes) out.u8(b);
  }
  void operator()(const req::RemoveNeighbour& r) const {
    put(out, r.interface);
    put(out, r.addr);
  }
  void operator()(const req::Set& r) const {
    out.u8(static_cast<uint8_t>(r.section));
    out.u64(r.row);
    out.fixed(static_cast<uint64_t>(r.value));
  }
  void operator()(const req::SetInterface& r) const {
    put(out, r.interface);
    const InterfaceOptions& o = r.options;
    for (const bool on : {o.detect_duplicates, o.keep_address, o.accept_ra, o.autoconf, o.redirects_v4, o.redirects_v6,
                          o.dhcp4}) {
      out.u8(on ? 1 : 0);
    }
    out.fixed(o.secret);
  }
};

// Fields in the order in which Encode writes them.
struct Decode {
  Reader& in;
  const RequestNames& names;
  std::vector<std::byte>& scratch;

  void operator()(req::Listen& r) const {
    r.local = decode_endpoint(in);
    r.backlog = get32(in);
    r.user = in.u64();
    r.options = get_options(in);
    r.table = get32(in);
  }
  void operator()(req::Connect& r) const {
    r.remote = decode_endpoint(in);
    r.local = decode_endpoint(in);
    r.user = in.u64();
    r.options = get_options(in);
    r.table = get32(in);
  }
  void operator()(req::Accept& r) const {
    r.listener = get_handle(in);
    r.user = in.u64();
  }
  void operator()(req::SetUser& r) const {
    r.handle = get_handle(in);
    r.user = in.u64();
  }
  void operator()(req::Send& r) const {
    r.handle = get_handle(in);
    const auto data = in.bytes();
    r.data = {reinterpret_cast<const std::byte*>(data.data()), data.size()};
    r.more = in.u8() != 0;
  }
  void operator()(req::LendBuffer& r) const { r.bytes = get32(in); }
  void operator()(req::SendLent& r) const {
    r.handle = get_handle(in);
    r.buffer = names.ordinal_to_buffer(in.u64());
    const auto data = in.bytes();
    if (r.buffer != nullptr) std::memcpy(r.buffer, data.data(), data.size());
    r.bytes = get32(in);
    r.cookie = in.u64();
  }
  void operator()(req::DropLent& r) const { r.buffer = names.ordinal_to_buffer(in.u64()); }
  void operator()(req::Receive& r) const {
    r.handle = get_handle(in);
    scratch.resize(in.u64());
    r.into = scratch;
    r.peek = in.u8() != 0;
  }
  void operator()(req::Borrow& r) const { r.handle = get_handle(in); }
  void operator()(req::Release& r) const { r.token = names.ordinal_to_token(in.u64()); }
  void operator()(req::Shutdown& r) const { r.handle = get_handle(in); }
  void operator()(req::Close& r) const { r.handle = get_handle(in); }
  void operator()(req::Abort& r) const { r.handle = get_handle(in); }
  void operator()(req::SetOptions& r) const {
    r.handle = get_handle(in);
    r.options = get_options(in);
  }
  void operator()(req::AddAddress& r) const {
    r.interface = get_if(in);
    r.prefix = get_prefix(in);
  }
  void operator()(req::RemoveAddress& r) const {
    r.interface = get_if(in);
    r.addr = get_addr(in);
  }
  void operator()(req::AddRoute& r) const {
    r.prefix = get_prefix(in);
    r.interface = get_if(in);
    r.gateway = get_addr(in);
    r.table = get32(in);
    r.metric = get32(in);
  }
  void operator()(req::RemoveRoute& r) const {
    r.prefix = get_prefix(in);
    r.interface = get_if(in);
    r.table = get32(in);
  }
  void operator()(req::SetLink& r) const {
    r.interface = get_if(in);
    r.up = in.u8() != 0;
  }
  void operator()(req::AddNeighbour& r) const {
    r.interface = get_if(in);
    r.addr = get_addr(in);
    for (auto& b : r.mac.bytes) b = in.u8();
  }
  void operator()(req::RemoveNeighbour& r) const {
    r.interface = get_if(in);
    r.addr = get_addr(in);
  }
  void operator()(req::Set& r) const {
    r.section = static_cast<req::Set::Section>(in.u8());
    r.row = static_cast<uint16_t>(in.u64());
    r.value = static_cast<int64_t>(in.fixed());
  }
  void operator()(req::SetInterface& r) const {
    r.interface = get_if(in);
    InterfaceOptions& o = r.options;
    for (bool* on : {&o.detect_duplicates, &o.keep_address, &o.accept_ra, &o.autoconf, &o.redirects_v4, &o.redirects_v6,
                     &o.dhcp4}) {
      *on = in.u8() != 0;
    }
    o.secret = in.fixed();
  }
};

template <size_t I = 0>
Request make_alternative(size_t index) {
  if constexpr (I < std::variant_size_v<Request>) {
    if (index == I) return Request(std::in_place_index<I>);
    return make_alternative<I + 1>(index);
  } else {
    return Request();
  }
}

}  // namespace

void encode_endpoint(Writer& out, const Endpoint& endpoint) {
  put(out, endpoint.addr);
  out.u64(endpoint.port);
}

Endpoint decode_endpoint(Reader& in) {
  Endpoint e;
  e.addr = get_addr(in);
  e.port = static_cast<uint16_t>(in.u64());
  return e;
}

void encode_request(Writer& out, const Request& request, const RequestNames& names) {
  out.u64(request.index());
  std::visit(Encode{out, names}, request);
}

Request decode_request(Reader& in, const RequestNames& names, std::vector<std::byte>& scratch) {
  Request request = make_alternative(in.u64());
  std::visit(Decode{in, names, scratch}, request);
  return request;
}

uint64_t digest_reply(const Request& request, const Result<Reply>& reply) {
  Writer out;
  if (!reply) {
    out.u8(1);
    out.u8(static_cast<uint8_t>(reply.error()));
  } else {
    put(out, reply->handle);
    out.u64(reply->bytes);
    out.bytes(reply->view);
    out.u8(reply->buffer != nullptr);
    out.u8(reply->token != 0);
    if (const auto* receive = std::get_if<req::Receive>(&request)) out.bytes(receive->into.first(reply->bytes));
  }
  return hash_bytes(out.out());
}

}  // namespace millrace::sim
