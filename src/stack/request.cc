// Requests: what programs and operators ask, one case each.
#include "stack/impl.h"

namespace millrace::stack {
namespace {

constexpr size_t kSendChunk = 65'408;  // one block; the pump runs between chunks

Result<Reply> plain(const Result<void>& r) {
  if (!r) return fail(r.error());
  return Reply{};
}

// What only the control worker may change; the others follow it.
bool is_about_tables(const Request& r) {
  return std::holds_alternative<req::AddAddress>(r) || std::holds_alternative<req::RemoveAddress>(r) ||
         std::holds_alternative<req::AddRoute>(r) || std::holds_alternative<req::RemoveRoute>(r) ||
         std::holds_alternative<req::SetLink>(r) || std::holds_alternative<req::SetMtu>(r) ||
         std::holds_alternative<req::AddNeighbour>(r) || std::holds_alternative<req::RemoveNeighbour>(r) ||
         std::holds_alternative<req::SetInterface>(r);
}

}  // namespace

Result<Reply> Impl::request(const Request& request, Instant now) {
  // The two that make up nearly all requests first, without a table.
  if (const auto* r = std::get_if<req::Receive>(&request)) return sockets_.receive(*r, now);
  if (const auto* r = std::get_if<req::Send>(&request)) return send(*r, now);
  const auto reply = operate(request, now);
  settle(now);
  return reply;
}

// A send copies in chunks; between chunks the pump may receive, so that ACKs keep the connection going.
Result<Reply> Impl::send(const req::Send& r, Instant now) {
  std::span<const std::byte> left = r.data;
  Reply reply;
  if (left.size() > kSendChunk && sockets_.is_datagram(r.handle)) {
    Error why{};
    if (!sockets_.send(r.handle, left, false, now, reply.bytes, why)) return fail(why);
    return reply;
  }
  if (__builtin_expect(r.urgent, 0)) {
    if (const auto ready = sockets_.prepare_urgent(r.handle); !ready) return fail(ready.error());
  }
  for (;;) {
    const auto chunk = left.first(std::min(left.size(), kSendChunk));
    const bool more = r.more || chunk.size() < left.size();
    size_t taken = 0;
    Error why{};
    if (!sockets_.send(r.handle, chunk, more, now, taken, why)) {
      if (reply.bytes > 0) return reply;
      return fail(why);
    }
    reply.bytes += taken;
    left = left.subspan(taken);
    if (__builtin_expect(r.urgent && taken > 0, 0)) sockets_.end_urgent_here(r.handle);
    if (__builtin_expect(r.end_of_record && left.empty(), 0)) sockets_.end_record(r.handle);
    if (left.empty() || taken < chunk.size()) return reply;
    if (pump && !pumping_) {
      pumping_ = true;
      now = pump();
      pumping_ = false;
      // What ended the connection meanwhile is for the next read or write to report, not for this one to swallow.
      if (!sockets_.has_connection(r.handle)) return reply;
    }
  }
}

Result<Reply> Impl::operate(const Request& request, Instant now) {
  struct Visitor {
    Impl& impl;
    Instant now;
    Result<Reply> operator()(const req::Listen& r) { return impl.sockets_.listen(r); }
    Result<Reply> operator()(const req::Connect& r) { return impl.sockets_.connect(r, now); }
    Result<Reply> operator()(const req::Accept& r) { return impl.sockets_.accept(r); }
    Result<Reply> operator()(const req::SetUser& r) { return impl.sockets_.set_user(r); }
    Result<Reply> operator()(const req::Send& r) { return impl.send(r, now); }
    Result<Reply> operator()(const req::UrgentLeft& r) { return impl.sockets_.urgent_left(r); }
    Result<Reply> operator()(const req::Look& r) { return impl.sockets_.look_at(r); }
    Result<Reply> operator()(const req::ReadTcpInfo& r) { return impl.sockets_.read_tcp_info(r, now); }
    Result<Reply> operator()(const req::LendBuffer& r) { return impl.sockets_.lend(r); }
    Result<Reply> operator()(const req::SendLent& r) { return impl.sockets_.send_lent(r, now); }
    Result<Reply> operator()(const req::DropLent& r) { return impl.sockets_.drop_lent(r); }
    Result<Reply> operator()(const req::Receive& r) { return impl.sockets_.receive(r, now); }
    Result<Reply> operator()(const req::Borrow& r) { return impl.sockets_.borrow(r); }
    Result<Reply> operator()(const req::Release& r) { return impl.sockets_.release(r, now); }
    Result<Reply> operator()(const req::Shutdown& r) { return impl.sockets_.shutdown(r, now); }
    Result<Reply> operator()(const req::Close& r) { return impl.sockets_.close(r, now); }
    Result<Reply> operator()(const req::Abort& r) { return impl.sockets_.abort(r, now); }
    Result<Reply> operator()(const req::SetOptions& r) { return impl.sockets_.set_options(r, now); }
    Result<Reply> operator()(const req::OpenDatagram& r) { return impl.sockets_.open_datagram(r); }
    Result<Reply> operator()(const req::ConnectDatagram& r) { return impl.sockets_.connect_datagram(r); }
    Result<Reply> operator()(const req::SendBatch& r) { return impl.sockets_.send_batch(r, now); }
    Result<Reply> operator()(const req::ReceiveBatch& r) { return impl.sockets_.receive_batch(r); }
    Result<Reply> operator()(const req::ReleaseBatch& r) { return impl.sockets_.release_batch(r); }
    Result<Reply> operator()(const req::SetDatagramOptions& r) { return impl.sockets_.set_datagram_options(r); }
    Result<Reply> operator()(const req::Names& r) { return impl.sockets_.names(r); }
    Result<Reply> operator()(const req::JoinGroup& r) {
      return impl.sockets_.with_datagram(r.handle, [&](uint32_t i) { return impl.udp.join(i, r); });
    }
    Result<Reply> operator()(const req::LeaveGroup& r) {
      return impl.sockets_.with_datagram(r.handle, [&](uint32_t i) { return impl.udp.leave(i, r); });
    }
    Result<Reply> operator()(const req::SetGroupFilter& r) {
      return impl.sockets_.with_datagram(r.handle, [&](uint32_t i) { return impl.udp.set_filter(i, r); });
    }
    Result<Reply> operator()(const req::TakeError& r) { return impl.sockets_.take_error(r); }
    Result<Reply> operator()(const req::AddAddress& r) {
      return plain(impl.ip.add_address(r.interface, r.prefix, now));
    }
    Result<Reply> operator()(const req::RemoveAddress& r) {
      return plain(impl.ip.remove_address(r.interface, r.addr, now));
    }
    Result<Reply> operator()(const req::AddRoute& r) {
      return plain(impl.ip.add_route(r.prefix, r.interface, r.gateway, r.table, r.metric));
    }
    Result<Reply> operator()(const req::RemoveRoute& r) {
      return plain(impl.ip.remove_route(r.prefix, r.interface, r.table));
    }
    Result<Reply> operator()(const req::SetMtu& r) { return plain(impl.ip.set_mtu(r.interface, r.mtu)); }
    Result<Reply> operator()(const req::SetLink& r) { return plain(impl.ip.set_link(r.interface, r.up, now)); }
    Result<Reply> operator()(const req::AddNeighbour& r) {
      return plain(impl.ip.add_neighbour(r.interface, r.addr, r.mac));
    }
    Result<Reply> operator()(const req::RemoveNeighbour& r) {
      return plain(impl.ip.remove_neighbour(r.interface, r.addr));
    }
    Result<Reply> operator()(const req::Set& r) {
      if (r.section == req::Set::Section::kIp) return plain(impl.ip.set(r.row, r.value));
      return plain(r.section == req::Set::Section::kUdp ? impl.udp.set(r.row, r.value) : impl.tcp.set(r.row, r.value));
    }
    Result<Reply> operator()(const req::SetInterface& r) {
      return plain(impl.ip.set_options(r.interface, r.options, now));
    }
  };
  if (hand_over.self() != 0 && !hand_over.has_siblings() && is_about_tables(request)) return fail(Error::kNotSupported);
  trace.put(0, base::TraceEvent::kRequest, static_cast<uint32_t>(request.index()));
  return std::visit(Visitor{*this, now}, request);
}

}  // namespace millrace::stack
