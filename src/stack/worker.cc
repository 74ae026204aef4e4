#include "stack/worker.h"

#include "ip/ip.h"
#include "stack/impl.h"
#include "wire/ip_protocol.h"

namespace millrace::stack {
namespace {

uint64_t derived(uint64_t seed, uint64_t which) { return base::Rng(seed ^ (which * 0x9e3779b97f4a7c15ULL)).next(); }

ip::Config ip_config(const WorkerConfig& config, pkt::PacketCache& packets) {
  ip::Config c;
  c.packets = &packets;
  c.seed = derived(config.seed ^ uint64_t{config.shard} << 32, 1);
  c.workers = config.shards != nullptr ? config.shards->workers() : 1;
  c.worker = config.shard;
  c.siblings = config.siblings;
  c.max_neighbours = config.max_neighbours;
  c.settings = config.ip;
  return c;
}

tcp::TcpConfig tcp_config(const WorkerConfig& config, Impl& impl) {
  tcp::TcpConfig c;
  c.ip = &impl.ip;
  c.packets = &impl.packets;
  c.frames = config.frames;
  c.blocks = &impl.blocks;
  c.memory = config.memory;
  c.trace = &impl.trace;
  c.owner = &impl.sockets_;
  c.seed = derived(config.seed, 2);
  c.max_connections = config.max_connections;
  c.max_half_open = config.max_half_open;
  c.max_time_wait = config.max_time_wait;
  c.settings = config.tcp;
  c.start = config.start;
  if (config.shards != nullptr && config.shards->workers() > 1) c.shards = &impl.hand_over.map();
  c.shard = config.shard;
  c.siblings = config.siblings;
  return c;
}

udp::UdpConfig udp_config(const WorkerConfig& config, Impl& impl) {
  udp::UdpConfig c;
  c.ip = &impl.ip;
  c.packets = &impl.packets;
  c.frames = config.frames;
  c.blocks = &impl.blocks;
  c.memory = config.memory;
  c.seed = derived(config.seed ^ uint64_t{config.shard} << 32, 3);
  c.workers = config.shards != nullptr ? config.shards->workers() : 1;
  c.worker = config.shard;
  if (c.workers > 1) {
    c.share = [](void* context, IfIndex interface, const IpAddr& group, pkt::Packet* datagram) {
      auto& self = *static_cast<Impl*>(context);
      self.hand_over.share(self.ip.interface(interface), interface, group, datagram, self.packets);
    };
    c.share_context = &impl;
  }
  c.max_sockets = config.max_datagram_sockets;
  c.max_messages = config.max_messages;
  c.settings = config.udp;
  return c;
}

}  // namespace

Impl::Impl(const WorkerConfig& config)
    : packets(*config.frames, *config.references),
      blocks(config.block_memory != nullptr ? *config.block_memory : *config.memory, config.block_bytes),
      ip(ip_config(config, packets)),
      udp(udp_config(config, *this)),
      icmp(ip, udp),
      sockets_(*config.memory, config.max_connections + config.max_datagram_sockets + 1'024, packets, blocks),
      tcp(tcp_config(config, *this)),
      hand_over(config.shards, config.shard, config.siblings) {
  sockets_.bind(tcp, udp, icmp);
  if (!hand_over.has_siblings()) return;
  hand_over.set_keeper([](void* self, const pkt::Packet& frame) { return static_cast<Impl*>(self)->lives_here(frame); },
                       this);
}

Impl::~Impl() {
  sockets_.flush();
  sockets_.clear();
  udp.clear();
  ip.clear();
  hand_over.clear(packets);
}

void Impl::hear(uint32_t worker, std::span<const ip::TableMessage> news, Instant now) {
  trace.mark(now);
  ip.hear(worker, news, now);
  settle(now);
}

// Carries what happened below to sockets and events.
void Impl::settle(Instant now) {
  auto& errors = ip.errors();
  if (__builtin_expect(!errors.empty(), 0)) {
    for (const ip::PathError& e : errors) {
      if (e.protocol == wire::kProtocolTcp) tcp.on_error(e, now);
      if (e.protocol == wire::kProtocolUdp) udp.on_error(e, now);
      if (e.protocol == wire::kProtocolIcmp || e.protocol == wire::kProtocolIcmpv6) icmp.on_error(e);
    }
    errors.clear();
  }
  sockets_.flush();
}

void Impl::advance(Instant now) {
  trace.mark(now);
  tcp.notice(now);
  ip.advance(now);
  tcp.advance(now);
  sockets_.advance(now);
  settle(now);
}

size_t Impl::output(IfIndex interface, std::span<pkt::Packet*> out, Instant now) {
  if (!pumping_) sockets_.compact();
  // Where a device is too slow for both, connections do not wait until the queue of datagrams is empty.
  size_t n = ip.drain(interface, ip::Lane::kFirst, out);
  const bool datagrams = __builtin_expect(ip.has_output(interface, ip::Lane::kDatagrams), 0);
  const bool shared = datagrams && tcp.has_output(interface);
  if (datagrams) {
    const auto rest = out.subspan(n);
    n += ip.drain(interface, ip::Lane::kDatagrams, shared ? rest.first((rest.size() + (odd_output_ ^= 1u)) / 2) : rest);
  }
  if (n < out.size()) n += tcp.output(interface, out.subspan(n), now);
  if (shared && n < out.size()) n += ip.drain(interface, ip::Lane::kDatagrams, out.subspan(n));
  if (__builtin_expect(udp.wants_drain(), 0)) {
    udp.on_output(interface);
    sockets_.flush();
  }
  if (tap) {
    for (size_t i = 0; i < n; ++i) tap(Worker::Direction::kOut, interface, *out[i], now);
  }
  return n;
}

bool Impl::wants_output() const {
  for (size_t i = 1; i <= ip.interface_count(); ++i) {
    const auto interface = static_cast<IfIndex>(i);
    if (ip.has_output(interface) || tcp.has_output(interface)) return true;
  }
  return false;
}

std::string Impl::check() {
  std::string problem = tcp.check();
  return problem.empty() ? udp.check() : problem;
}

Worker::Worker(const WorkerConfig& config) : impl_(std::make_unique<Impl>(config)) {}
Worker::~Worker() = default;

Result<IfIndex> Worker::add_interface(const link::NetifConfig& config) { return impl_->ip.add_interface(config); }
void Worker::input(IfIndex interface, std::span<pkt::Packet*> burst, Instant now) {
  impl_->input(interface, burst, now);
}
void Worker::input_steered(IfIndex interface, std::span<pkt::Packet*> burst, Instant now) {
  impl_->input_steered(interface, burst, now);
}
size_t Worker::hand_over(uint32_t worker, std::span<Handed> out) { return impl_->hand_over.take(worker, out); }
size_t Worker::hand_over_room() const { return impl_->hand_over.room(); }
void Worker::set_living(uint64_t siblings) { impl_->hand_over.set_living(siblings); }
bool Worker::give(uint32_t sibling, IfIndex interface, pkt::Packet* frame) {
  return impl_->hand_over.give(sibling, interface, frame, impl_->packets);
}
size_t Worker::tell(uint32_t worker, std::span<ip::TableMessage> out) { return impl_->ip.tell(worker, out); }
bool Worker::has_news(uint32_t worker) const { return impl_->ip.has_news(worker); }
void Worker::hear(uint32_t worker, std::span<const ip::TableMessage> news, Instant now) {
  impl_->hear(worker, news, now);
}
Result<Reply> Worker::request(const Request& request, Instant now) { return impl_->request(request, now); }
void Worker::advance(Instant now) { impl_->advance(now); }
size_t Worker::output(IfIndex interface, std::span<pkt::Packet*> out, Instant now) {
  return impl_->output(interface, out, now);
}
std::span<const Event> Worker::events() const { return impl_->sockets_.events(); }
void Worker::clear_events() { impl_->sockets_.clear_events(); }

std::optional<Instant> Worker::next_deadline() {
  const Instant next =
      std::min({impl_->tcp.next_deadline(), impl_->ip.next_deadline(), impl_->sockets_.next_deadline()});
  if (next == kNever) return std::nullopt;
  return next;
}

bool Worker::wants_output() const { return impl_->wants_output(); }
void Worker::set_pump(Pump pump) { impl_->pump = std::move(pump); }
std::vector<SocketInfo> Worker::sockets() { return impl_->sockets(); }
std::optional<SocketInfo> Worker::socket(Handle handle) { return impl_->socket(handle); }
std::vector<CounterValue> Worker::counters() const { return impl_->counters(); }
std::vector<ip::Ip::NeighbourInfo> Worker::neighbours() const { return impl_->ip.neighbours(); }
std::vector<ip::Ip::RouteInfo> Worker::routes() const { return impl_->ip.routes(); }
std::vector<ip::Ip::GroupInfo> Worker::groups() const { return impl_->ip.groups(); }
std::vector<ip::Ip::LearnedInfo> Worker::learned() const { return impl_->ip.learned(); }
std::vector<ip::Ip::AddressInfo> Worker::addresses() const { return impl_->ip.addresses(); }
std::optional<ip::Ip::RouteInfo> Worker::find_route(const IpAddr& destination, uint32_t table) const {
  return impl_->ip.find_route(destination, table);
}
bool Worker::is_up(IfIndex interface) const { return impl_->ip.is_up(interface); }
const link::DeviceLimits& Worker::limits(IfIndex interface) const { return impl_->ip.limits(interface); }
const tcp::Settings& Worker::tcp_settings() const { return impl_->tcp.settings(); }
const ip::Settings& Worker::ip_settings() const { return impl_->ip.settings(); }
base::TraceRing& Worker::trace() { return impl_->trace; }
void Worker::set_tap(Tap tap) { impl_->tap = std::move(tap); }
std::string Worker::check() { return impl_->check(); }
size_t Worker::blocks_in_use() const { return impl_->blocks.in_use(); }

}  // namespace millrace::stack
