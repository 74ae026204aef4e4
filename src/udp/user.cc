// What programs ask of a socket besides sending and receiving: opening, connecting, options, closing.
#include <algorithm>

#include "udp/udp.h"

namespace millrace::udp {

void Udp::apply(Dgram& d, const DatagramOptions& o) {
  d.receive_limit =
      o.receive_buffer != 0 ? std::max(o.receive_buffer, 2'048U) : static_cast<uint32_t>(settings_.receive_buffer);
  d.send_limit = o.send_buffer != 0 ? std::max(o.send_buffer, 2'048U) : static_cast<uint32_t>(settings_.send_buffer);
  d.hop_limit = o.hop_limit;
  d.traffic_class = o.traffic_class;
  d.multicast_hop_limit = o.multicast_hop_limit;
  d.multicast_interface = o.multicast_interface;
  d.path_mtu = o.path_mtu;
  constexpr uint16_t kSettable = kMerge | kNoChecksum | kZeroChecksum6 | kBroadcast | kLoop | kErrorQueue;
  uint16_t flags = d.flags & static_cast<uint16_t>(~kSettable);
  const auto set = [&](bool on, DgramFlag flag) {
    if (on) flags |= flag;
  };
  set(o.merge, kMerge);
  set(o.no_checksum, kNoChecksum);
  set(o.zero_checksum_v6, kZeroChecksum6);
  set(o.broadcast, kBroadcast);
  set(o.multicast_loop, kLoop);
  set(o.error_queue, kErrorQueue);
  d.flags = flags;
}

// RFC 6056 3.3.1: a random port, then the next that is free and whose datagrams, or echo replies, come to this worker.
Result<void> Udp::choose_port(Dgram& d) {
  const auto low = static_cast<uint32_t>(settings_.port_low);
  const uint32_t count = static_cast<uint32_t>(std::max(settings_.port_high, settings_.port_low)) - low + 1;
  const auto start = static_cast<uint32_t>(rng_.below(count));
  for (uint32_t i = 0; i < count; ++i) {
    const auto port = static_cast<uint16_t>(low + (start + i) % count);
    if (port % workers_ != worker_ || !table_.is_free(d, d.local, port)) continue;
    d.local_port = port;
    return {};
  }
  return fail(Error::kAddressInUse);
}

Result<uint32_t> Udp::open(uint32_t sock, const req::OpenDatagram& args) {
  const IpAddr& local = args.local.addr;
  const bool any = local.is_unspecified();
  if (!any && !ip_.is_local(local) && !local.is_multicast()) return fail(Error::kAddressNotHere);
  const uint32_t index = dgrams_.allocate();
  if (index == 0) return fail(Error::kTooMany);
  Dgram& d = dgrams_[index];
  d.sock = sock;
  d.kind = args.kind;
  d.local = local;
  d.local_port = args.local.port;
  d.table = args.table;
  d.link = 0;
  if (args.options.v6_only) d.flags |= kV6Only;
  if (args.options.reuse) d.flags |= kReuse;
  apply(d, args.options);
  Result<void> done;
  if (d.local_port == 0 && d.kind != DatagramKind::kIcmp) done = choose_port(d);
  if (done && d.kind != DatagramKind::kIcmp) done = table_.bind(index);
  if (!done) {
    dgrams_.release(index);
    return fail(done.error());
  }
  return index;
}

Result<void> Udp::connect(uint32_t index, const Endpoint& remote) {
  Dgram& d = dgrams_[index];
  if (d.kind == DatagramKind::kIcmp) return fail(Error::kNotSupported);
  if (remote.addr.is_unspecified()) {
    table_.disconnect(index);
    d.flags &= static_cast<uint16_t>(~kGroupPeer);
    d.remote = IpAddr();
    d.remote_port = 0;
    d.hop = ip::HopId::kNone;
    d.epoch = 0;
    d.error = 0;
    // The local address that the connection chose goes with it; the group knows what was bound.
    if (d.group != 0) d.local = table_.group(d.group).addr;
    return {};
  }
  if (remote.port == 0 && d.kind == DatagramKind::kUdp) return fail(Error::kInvalid);
  const bool v4 = remote.addr.is_v4();
  const bool dual = (d.flags & kDual) != 0 && d.kind == DatagramKind::kUdp;
  const bool fits = v4 ? d.local.is_v4() || dual : d.local.is_v6();
  if (!fits) return fail(v4 ? Error::kNetUnreachable : Error::kInvalid);
  const IpAddr bound = d.group != 0 ? table_.group(d.group).addr : d.local;
  const bool multicast = remote.addr.is_multicast();
  const bool group = multicast || ip_.is_broadcast(remote.addr);
  if (group && !multicast && (d.flags & kBroadcast) == 0) return fail(Error::kPermission);
  const auto route =
      group ? ip_.group_route(remote.addr, source_of(bound), multicast ? d.multicast_interface : IfIndex::kNone)
            : ip_.route(remote.addr, source_of(bound), d.table);
  if (!route) return fail(route.error());
  table_.disconnect(index);
  d.flags = static_cast<uint16_t>(group ? d.flags | kGroupPeer : d.flags & ~kGroupPeer);
  d.local = bound.is_unspecified() ? route->source : bound;
  d.remote = remote.addr;
  d.remote_port = remote.port;
  d.hop = route->hop;
  d.interface = route->interface;
  d.mtu = route->mtu;
  d.route_source = route->source;
  d.epoch = ip_.epoch();
  d.error = 0;
  if (auto done = table_.connect(index); !done) {
    d.flags &= static_cast<uint16_t>(~kGroupPeer);
    d.remote = IpAddr();
    d.remote_port = 0;
    d.local = bound;
    d.epoch = 0;
    return fail(done.error());
  }
  return {};
}

Result<void> Udp::set_options(uint32_t index, const DatagramOptions& options) {
  apply(dgrams_[index], options);
  return {};
}

Result<void> Udp::set(uint16_t row, int64_t value) {
  if (row >= std::size(kSettingRows)) return fail(Error::kInvalid);
  const auto changed = base::with_row(settings_, kSettingRows[row], value);
  if (!changed) return fail(Error::kInvalid);
  settings_ = *changed;
  return {};
}

Result<void> Udp::pending_error(Dgram& d) {
  if (d.error == 0) return {};
  const auto error = static_cast<Error>(d.error - 1);
  d.error = 0;
  return fail(error);
}

void Udp::drop_messages(uint32_t index) {
  Dgram& d = dgrams_[index];
  while (d.head != 0) free_message(d, take_first(d));
}

void Udp::close(uint32_t index) {
  Dgram& d = dgrams_[index];
  leave_all(index);
  table_.unbind(index);
  drop_messages(index);
  drop_errors(d);
  d.fresh = 0;
  if (d.touched != 0) std::erase(touched_, index);
  if ((d.flags & kFresh) != 0) std::erase(fresh_, index);
  if ((d.flags & kBlocked) != 0) std::erase(blocked_, index);
  d.flags = kClosed;
  d.touched = 0;
  d.sock = 0;
  if (d.lent == 0) dgrams_.release(index);
}

void Udp::clear() {
  for (uint32_t i = 1; i < queue_.end_index(); ++i) {
    if (!queue_.in_use(i)) continue;
    packets_.free(queue_[i].packet);
    queue_[i].packet = nullptr;
    queue_.release(i);
  }
  for (uint32_t i = 1; i < dgrams_.end_index(); ++i) {
    if (dgrams_.in_use(i)) dgrams_[i].head = dgrams_[i].tail = 0;
  }
}

std::string Udp::check() const {
  uint32_t known = 0;
  for (uint32_t i = 1; i < dgrams_.end_index(); ++i) {
    if (!dgrams_.in_use(i)) continue;
    const Dgram& d = dgrams_[i];
    uint32_t queued = 0;
    uint32_t charge = 0;
    for (uint32_t at = d.head; at != 0; at = queue_[at].link) {
      ++queued;
      charge += charge_of(queue_[at].packet);
    }
    known += queued + d.lent;
    if (queued != d.queued) return "datagram socket " + std::to_string(i) + ": messages miscounted";
    if (charge > d.charge || (d.lent == 0 && charge != d.charge)) {
      return "datagram socket " + std::to_string(i) + ": charge miscounted";
    }
    if ((d.flags & kConnected4) != 0 && d.remote_port == 0) {
      return "datagram socket " + std::to_string(i) + ": connected without a peer";
    }
  }
  return known == queue_.used() ? "" : "messages of no datagram socket";
}

}  // namespace millrace::udp
