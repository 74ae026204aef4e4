#include "sim/request_codec.h"

#include "sim/hash.h"
#include "sim/options_codec.h"

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

// Tokens of datagrams are the same in every run; those of stream data are not.
bool is_message(uint64_t token) { return token >> 63 != 0; }

void put(Writer& out, const DatagramOptions& o) {
  out.u64(o.send_buffer);
  out.u64(o.receive_buffer);
  out.u8(o.hop_limit);
  out.u8(o.traffic_class);
  out.u8(o.multicast_hop_limit);
  put(out, o.multicast_interface);
  uint64_t switches = 0;
  for (const bool on :
       {o.multicast_loop, o.broadcast, o.v6_only, o.reuse, o.merge, o.no_checksum, o.zero_checksum_v6, o.error_queue}) {
    switches = switches << 1 | uint64_t{on};
  }
  out.u64(switches);
  out.u8(static_cast<uint8_t>(o.path_mtu));
}
DatagramOptions get_datagram_options(Reader& in) {
  DatagramOptions o;
  o.send_buffer = get32(in);
  o.receive_buffer = get32(in);
  o.hop_limit = in.u8();
  o.traffic_class = in.u8();
  o.multicast_hop_limit = in.u8();
  o.multicast_interface = get_if(in);
  const uint64_t switches = in.u64();
  int bit = 7;
  for (bool* on : {&o.multicast_loop, &o.broadcast, &o.v6_only, &o.reuse, &o.merge, &o.no_checksum, &o.zero_checksum_v6,
                   &o.error_queue}) {
    *on = (switches >> bit-- & 1) != 0;
  }
  o.path_mtu = static_cast<PathMtu>(in.u8());
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
    out.u8(r.fast_open);
    out.bytes(r.first);
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
    out.u8(static_cast<uint8_t>(r.more | r.urgent << 1 | r.end_of_record << 2));
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
  void operator()(const req::Release& r) const {
    out.u8(is_message(r.token));
    out.u64(is_message(r.token) ? r.token : names.token_to_ordinal(r.token));
  }
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
  void operator()(const req::UrgentLeft& r) const { put(out, r.handle); }
  void operator()(const req::Look& r) const { put(out, r.handle); }
  void operator()(const req::ReadTcpInfo& r) const { put(out, r.handle); }
  void operator()(const req::SetMtu& r) const {
    put(out, r.interface);
    out.u64(r.mtu);
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
  void operator()(const req::OpenDatagram& r) const {
    encode_endpoint(out, r.local);
    out.u8(static_cast<uint8_t>(r.kind));
    out.u64(r.user);
    put(out, r.options);
    out.u64(r.table);
  }
  void operator()(const req::ConnectDatagram& r) const {
    put(out, r.handle);
    encode_endpoint(out, r.remote);
  }
  void operator()(const req::SendBatch& r) const {
    put(out, r.handle);
    out.u64(r.messages.size());
    for (const Message& m : r.messages) {
      encode_endpoint(out, m.remote);
      put(out, m.local);
      put(out, m.interface);
      out.u8(m.hop_limit);
      out.u8(m.traffic_class);
      out.u64(m.segment);
      out.u64(m.token);
      const auto view = m.token == 0 ? std::span<const std::byte>() : names.token_to_view(m.token);
      const bool inside =
          !view.empty() && m.data.data() >= view.data() && m.data.data() + m.data.size() <= view.data() + view.size();
      out.u8(inside);
      if (inside) {
        out.u64(static_cast<uint64_t>(m.data.data() - view.data()));
        out.u64(m.data.size());
      } else {
        out.bytes(m.data);
      }
    }
  }
  void operator()(const req::ReceiveBatch& r) const {
    put(out, r.handle);
    out.u64(r.messages.size());
    for (const Message& m : r.messages) out.u64(m.into.size());
    out.u8(r.peek);
  }
  void operator()(const req::ReleaseBatch& r) const {
    out.u64(r.messages.size());
    for (const Message& m : r.messages) out.u64(m.token);
  }
  void operator()(const req::SetDatagramOptions& r) const {
    put(out, r.handle);
    put(out, r.options);
  }
  void operator()(const req::Names& r) const {
    put(out, r.handle);
    out.u8(r.local != nullptr);
    out.u8(r.remote != nullptr);
  }
  void operator()(const req::JoinGroup& r) const { membership(r); }
  void operator()(const req::LeaveGroup& r) const { membership(r); }
  template <class Request>
  void membership(const Request& r) const {
    put(out, r.handle);
    put(out, r.group);
    put(out, r.interface);
    put(out, r.source);
  }
  void operator()(const req::SetGroupFilter& r) const {
    put(out, r.handle);
    put(out, r.group);
    put(out, r.interface);
    out.u8(r.exclude);
    out.u64(r.sources.size());
    for (const IpAddr& a : r.sources) put(out, a);
  }
  void operator()(const req::TakeError& r) const {
    put(out, r.handle);
    out.u8(r.into != nullptr);
  }
};

// Fields in the order in which Encode writes them.
struct Decode {
  Reader& in;
  const RequestNames& names;
  RequestRoom& room;

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
    r.fast_open = in.u8() != 0;
    const auto first = in.bytes();
    r.first = {reinterpret_cast<const std::byte*>(first.data()), first.size()};
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
    const uint8_t flags = in.u8();
    r.more = (flags & 1) != 0;
    r.urgent = (flags & 2) != 0;
    r.end_of_record = (flags & 4) != 0;
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
    room.bytes.resize(in.u64());
    r.into = room.bytes;
    r.peek = in.u8() != 0;
  }
  void operator()(req::Borrow& r) const { r.handle = get_handle(in); }
  void operator()(req::Release& r) const {
    const bool message = in.u8() != 0;
    const uint64_t value = in.u64();
    r.token = message ? value : names.ordinal_to_token(value);
  }
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
  void operator()(req::UrgentLeft& r) const { r.handle = get_handle(in); }
  void operator()(req::Look& r) const {
    r.handle = get_handle(in);
    r.into = &room.status;
  }
  void operator()(req::ReadTcpInfo& r) const {
    r.handle = get_handle(in);
    r.into = &room.tcp_info;
  }
  void operator()(req::SetMtu& r) const {
    r.interface = get_if(in);
    r.mtu = static_cast<uint16_t>(in.u64());
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
  void operator()(req::OpenDatagram& r) const {
    r.local = decode_endpoint(in);
    r.kind = static_cast<DatagramKind>(in.u8());
    r.user = in.u64();
    r.options = get_datagram_options(in);
    r.table = get32(in);
  }
  void operator()(req::ConnectDatagram& r) const {
    r.handle = get_handle(in);
    r.remote = decode_endpoint(in);
  }
  // Messages of the batch in `room`, at most as many as the rest of the recording could describe.
  std::span<Message> messages() const {
    room.messages.assign(std::min<uint64_t>(in.u64(), in.left()), Message{});
    return room.messages;
  }
  void operator()(req::SendBatch& r) const {
    r.handle = get_handle(in);
    for (Message& m : messages()) {
      m.remote = decode_endpoint(in);
      m.local = get_addr(in);
      m.interface = get_if(in);
      m.hop_limit = in.u8();
      m.traffic_class = in.u8();
      m.segment = static_cast<uint16_t>(in.u64());
      m.token = in.u64();
      if (in.u8() != 0) {
        const auto view = names.token_to_view(m.token);
        const size_t from = std::min<size_t>(in.u64(), view.size());
        m.data = view.subspan(from, std::min<size_t>(in.u64(), view.size() - from));
      } else {
        const auto data = in.bytes();
        m.data = {reinterpret_cast<const std::byte*>(data.data()), data.size()};
      }
    }
    r.messages = room.messages;
  }
  void operator()(req::ReceiveBatch& r) const {
    r.handle = get_handle(in);
    std::vector<size_t> sizes;
    size_t total = 0;
    for (Message& m : messages()) {
      (void)m;
      sizes.push_back(in.u64());
      total += sizes.back();
    }
    room.bytes.resize(total);
    std::span<std::byte> left = room.bytes;
    for (size_t i = 0; i < sizes.size(); ++i) {
      room.messages[i].into = left.first(sizes[i]);
      left = left.subspan(sizes[i]);
    }
    r.messages = room.messages;
    r.peek = in.u8() != 0;
  }
  void operator()(req::ReleaseBatch& r) const {
    for (Message& m : messages()) m.token = in.u64();
    r.messages = room.messages;
  }
  void operator()(req::SetDatagramOptions& r) const {
    r.handle = get_handle(in);
    r.options = get_datagram_options(in);
  }
  void operator()(req::Names& r) const {
    r.handle = get_handle(in);
    if (in.u8() != 0) r.local = &room.local;
    if (in.u8() != 0) r.remote = &room.remote;
  }
  void operator()(req::JoinGroup& r) const { membership(r); }
  void operator()(req::LeaveGroup& r) const { membership(r); }
  template <class Request>
  void membership(Request& r) const {
    r.handle = get_handle(in);
    r.group = get_addr(in);
    r.interface = get_if(in);
    r.source = get_addr(in);
  }
  void operator()(req::SetGroupFilter& r) const {
    r.handle = get_handle(in);
    r.group = get_addr(in);
    r.interface = get_if(in);
    r.exclude = in.u8() != 0;
    room.sources.resize(std::min<uint64_t>(in.u64(), in.left()));
    for (IpAddr& a : room.sources) a = get_addr(in);
    r.sources = room.sources;
  }
  void operator()(req::TakeError& r) const {
    r.handle = get_handle(in);
    if (in.u8() != 0) r.into = &room.error;
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

Request decode_request(Reader& in, const RequestNames& names, RequestRoom& room) {
  Request request = make_alternative(in.u64());
  std::visit(Decode{in, names, room}, request);
  return request;
}

void note_borrowed(BorrowedViews& views, const Request& request, const Result<Reply>& reply) {
  const auto* batch = std::get_if<req::ReceiveBatch>(&request);
  if (batch == nullptr || !reply) return;
  for (const Message& m : batch->messages.first(reply->bytes)) {
    if (m.token != 0) views[m.token] = m.data;
  }
}

namespace {

void digest_message(Writer& out, const Message& m) {
  out.bytes(m.data);
  encode_endpoint(out, m.remote);
  put(out, m.local);
  put(out, m.interface);
  out.u8(m.hop_limit);
  out.u8(m.traffic_class);
  out.u64(m.segment);
  out.u64(m.length);
  out.u8(m.to_group);
  out.fixed(static_cast<uint64_t>(m.received.ns()));
  out.u64(m.token);
}

}  // namespace

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
    if (const auto* batch = std::get_if<req::ReceiveBatch>(&request)) {
      for (const Message& m : batch->messages.first(reply->bytes)) digest_message(out, m);
    }
    if (const auto* taken = std::get_if<req::TakeError>(&request)) {
      encode_endpoint(out, taken->into->destination);
      put(out, taken->into->reporter);
      out.u8(taken->into->error);
      out.u64(taken->into->mtu);
      out.u8(taken->into->expired);
    }
    if (const auto* look = std::get_if<req::Look>(&request)) {
      const SocketStatus& s = *look->into;
      for (const uint32_t value : {s.unread, s.unsent, s.room}) out.u64(value);
      for (const bool value : {s.readable, s.ended, s.alive, s.connecting, s.error.has_value()}) out.u8(value);
    }
    if (const auto* names = std::get_if<req::Names>(&request)) {
      for (const Endpoint* e : {names->local, names->remote}) {
        if (e != nullptr) encode_endpoint(out, *e);
      }
    }
  }
  return hash_bytes(out.out());
}

}  // namespace millrace::sim
