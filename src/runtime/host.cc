#include "runtime/host.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>

#include "base/assert.h"
#include "base/siphash.h"
#include "conf/parse.h"
#include "runtime/cpu.h"
#include "stack/impl.h"

namespace millrace::runtime {
namespace {

constexpr Duration kCaptureFlush = milliseconds(200);
constexpr Duration kLinkLook = milliseconds(100);
constexpr uint16_t kLoopbackMtu = 65'535;
constexpr uint32_t kPanicRecords = 64;

thread_local stack::Worker* panic_worker = nullptr;

// Our own bug: the story before it, then the process stops.
void print_trace_ring(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "millrace: assertion failed at %s:%d: %s\n", file, line, expression);
  stack::Worker* worker = std::exchange(panic_worker, nullptr);
  if (worker == nullptr) return;
  const std::string records = base::TraceRing::format(worker->trace().newest(kPanicRecords));
  std::fprintf(stderr, "the newest records of the trace ring:\n%s", records.c_str());
}

uint64_t random_seed() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = Clock::cycles();
  return seed;
}

std::string family_list(const conf::Interface& interface) {
  std::string out;
  for (const Prefix& prefix : interface.addresses) out += ", " + prefix.to_string();
  return out;
}

// The kernel has the link-local address that the MAC gives; one made from a hash of the MAC (and not marked as globally
// unique, RFC 7136) is ours.
uint64_t interface_id_beside_the_kernel(const MacAddr& mac) {
  constexpr base::SipKey kKey{0x6d696c6c72616365, 0x6c696e6b6c6f6361};
  constexpr uint64_t kUniversal = uint64_t{2} << 56;
  return base::siphash(kKey, std::as_bytes(std::span(mac.bytes))) & ~kUniversal;
}

// What is left of a device's abilities once the configuration has had its say.
link::DeviceLimits allowed(link::DeviceLimits limits, const conf::Interface& interface) {
  if (!interface.checksum) {
    limits.tx_checksum_v4 = false;
    limits.tx_checksum_v6 = false;
    limits.tx_ip_checksum = false;
  }
  if (!interface.checksum || !interface.tso) {
    limits.tso_v4 = false;
    limits.tso_v6 = false;
    limits.max_tso_bytes = 0;
  }
  return limits;
}

// RFC 7217 5: the same for every start of this machine. 0, which is none, where nothing of that kind is known.
uint64_t address_secret(const conf::Interface& interface) {
  std::string text = interface.address_secret;
  if (text.empty()) {
    std::FILE* file = std::fopen("/etc/machine-id", "re");
    if (file == nullptr) return 0;
    std::array<char, 64> line{};
    if (std::fgets(line.data(), static_cast<int>(line.size()), file) != nullptr) text = line.data();
    (void)std::fclose(file);
  }
  if (text.empty()) return 0;
  const base::SipKey key{0x6d696c6c72616365, 0x61646472};  // this use of the identity, and no other
  return base::siphash(key, std::as_bytes(std::span(text)));
}

InterfaceOptions options_of(const conf::Interface& interface) {
  InterfaceOptions options;
  options.detect_duplicates = interface.dad;
  options.keep_address = interface.keep_address;
  options.dhcp4 = interface.dhcp4;
  options.accept_ra = interface.accept_ra;
  options.autoconf = interface.autoconf;
  options.redirects_v4 = interface.redirects4;
  options.redirects_v6 = interface.redirects6;
  options.secret = address_secret(interface);
  return options;
}

// Of what processes that share addresses must have alike.
uint64_t fingerprint(const conf::Config& config) {
  std::string text;
  for (const conf::Interface& interface : config.interfaces) {
    text += fmt::format("{} {} {}{};", interface.name, interface.driver, interface.device, family_list(interface));
  }
  return base::siphash({0x6d696c6c72616365, 0x7369626c}, std::as_bytes(std::span(text)));
}

tl::unexpected<Failure> pass(const Failure& cause) { return tl::unexpected<Failure>(cause); }

}  // namespace

Host::Host(const conf::Config& config, const HostOptions& options, Waker waker)
    : config_(config), options_(options), waker_(std::move(waker)) {}

Host::~Host() {
  panic_worker = nullptr;
  base::set_panic_hook(nullptr);
  if (worker_ != nullptr) worker_->set_tap({});
  if (exchange_ != nullptr) exchange_->clear();
}

Outcome<std::unique_ptr<Host>> Host::open(const conf::Config& config, const DriverRegistry& drivers,
                                          const HostOptions& options) {
  auto waker = Waker::make();
  if (!waker) return pass(waker.error());
  std::unique_ptr<Host> host(new Host(config, options, std::move(*waker)));
  if (auto done = host->set_up(drivers); !done) return pass(done.error());
  return host;
}

Outcome<void> Host::set_up(const DriverRegistry& drivers) {
  using Step = Outcome<void> (Host::*)();
  seed_ = config_.worker.seed != 0 ? static_cast<uint64_t>(config_.worker.seed) : random_seed();
  if (auto done = pin(); !done) return done;
  if (auto done = meet_siblings(); !done) return done;
  if (auto done = make_pools(drivers); !done) return done;
  if (auto done = make_shards(drivers); !done) return done;
  if (auto done = open_devices(drivers); !done) return done;
  for (const Step step : {&Host::make_worker, &Host::add_interfaces, &Host::add_loopback, &Host::add_routes,
                          &Host::share_tables, &Host::start_capture, &Host::start_control, &Host::drop_privileges}) {
    if (auto done = (this->*step)(); !done) return done;
  }
  loop_->set_chores([this](Instant now) { chores(now); });
  attach_frame_client();
  if (options_.poll_client != nullptr) {
    options_.poll_client->attach(*worker_, *loop_);
    loop_->set_poll_client(options_.poll_client);
  }
  return {};
}

Outcome<void> Host::pin() {
  if (!config_.cpu) return {};
  if (run_on_cpu(*config_.cpu)) return {};
  return failure(fmt::format("cannot run on CPU {}: {}", *config_.cpu, std::strerror(errno)),
                 "see which there are with: taskset -pc $$");
}

Outcome<void> Host::meet_siblings() {
  if (config_.processes == 1) return {};
  MR_ASSERT(config_.workers == 1);
  Siblings::Plan plan;
  plan.directory = kControlDirectory;
  const conf::Interface& first = config_.interfaces.front();
  plan.name = first.device.empty() ? first.name : first.device;
  plan.self = config_.process;
  plan.count = config_.processes;
  plan.fingerprint = fingerprint(config_);
  plan.seed = seed_;
  auto joined = Siblings::join(plan);
  if (!joined) return pass(joined.error());
  siblings_ = std::move(*joined);
  seed_ = siblings_->seed();
  return {};
}

Outcome<void> Host::make_pools(const DriverRegistry& drivers) {
  std::map<std::string, std::vector<conf::Interface>> by_driver;
  for (const conf::Interface& interface : config_.interfaces) by_driver[interface.driver].push_back(interface);
  for (const auto& [name, interfaces] : by_driver) {
    Driver* driver = drivers.find(name);
    if (driver == nullptr) {
      std::string known;
      for (const auto& other : drivers.all()) known += (known.empty() ? "" : ", ") + std::string(other->name());
      return failure(fmt::format("interface {} wants the driver '{}', which this program does not have",
                                 interfaces.front().name, name),
                     fmt::format("it has: {}", known));
    }
    if (auto done = driver->prepare(config_, interfaces); !done) return done;
    if (driver->resources(0).frames != nullptr) resources_ = driver->resources(0);
  }
  if (resources_.frames != nullptr) return {};
  const conf::WorkerSettings share = conf::share_of_worker(config_).worker;
  frames_ = std::make_unique<RegionPacketPool>(memory_, static_cast<size_t>(share.frames));
  references_ = std::make_unique<RegionPacketPool>(memory_, static_cast<size_t>(share.references), 0);
  if (frames_->capacity() == 0 || references_->capacity() == 0) {
    return failure(fmt::format("no memory for {} packets and {} references", config_.worker.frames,
                               config_.worker.references),
                   "lower worker.frames and worker.references");
  }
  resources_ = {frames_.get(), references_.get(), &memory_};
  return {};
}

// Pools of the further workers, and the rings between all.
Outcome<void> Host::make_shards(const DriverRegistry& drivers) {
  const auto workers = static_cast<uint32_t>(config_.workers);
  if (workers == 1) return {};
  Driver* provider = nullptr;
  for (const conf::Interface& interface : config_.interfaces) {
    Driver* driver = drivers.find(interface.driver);
    if (driver->resources(0).frames != nullptr) provider = driver;
  }
  const conf::WorkerSettings share = conf::share_of_worker(config_).worker;
  for (uint32_t i = 1; i < workers; ++i) {
    auto waker = Waker::make();
    if (!waker) return pass(waker.error());
    shards_.push_back(std::make_unique<Shard>(std::move(*waker)));
    const Resources given = provider != nullptr ? provider->resources(i) : Resources();
    if (auto done = shards_.back()->make_pools(share, given); !done) return done;
  }
  exchange_ = std::make_unique<Exchange>(workers);
  return {};
}

Outcome<void> Host::open_devices(const DriverRegistry& drivers) {
  std::vector<Resources> workers{resources_};
  for (const auto& shard : shards_) workers.push_back(shard->resources());
  for (const conf::Interface& interface : config_.interfaces) {
    auto devices = drivers.find(interface.driver)->open_queues(config_, interface, workers);
    if (!devices) return pass(devices.error());
    devices_.push_back(std::move(devices->front()));
    devices->erase(devices->begin());
    queues_.push_back(std::move(*devices));
  }
  return {};
}

// One map for all interfaces: a NIC's own where there is but one interface and the NIC tells.
void Host::choose_map() {
  const uint32_t count = siblings_ != nullptr ? config_.processes : workers();
  map_ = steer::ShardMap(count, seed_ + 1);
  if (devices_.size() != 1 || siblings_ != nullptr) return;
  if (const auto spread = devices_.front()->spread()) {
    map_ = steer::ShardMap(count, spread->key, spread->table, spread->hash);
  }
}

stack::WorkerConfig Host::worker_config(uint32_t shard) const {
  const conf::Config config = conf::share_of_worker(config_);
  const auto whole = [](int64_t value) { return static_cast<uint32_t>(value); };
  stack::WorkerConfig worker;
  worker.seed = seed_;
  worker.max_connections = whole(config.worker.max_connections);
  worker.max_half_open = whole(config.worker.max_half_open);
  worker.max_time_wait = whole(config.worker.max_time_wait);
  worker.max_datagram_sockets = whole(config.worker.max_datagram_sockets);
  worker.max_messages = whole(config.worker.max_messages);
  worker.block_bytes = static_cast<size_t>(config.worker.block_mib) << 20;
  worker.tcp = config.tcp;
  worker.ip = config.ip;
  worker.udp = config.udp;
  worker.shards = workers() == 1 && siblings_ == nullptr ? nullptr : &map_;
  worker.shard = siblings_ != nullptr ? config_.process : shard;
  worker.siblings = siblings_ != nullptr;
  return worker;
}

Outcome<void> Host::make_worker() {
  choose_map();
  stack::WorkerConfig worker = worker_config(0);
  worker.frames = resources_.frames;
  worker.references = resources_.references;
  worker.memory = &memory_;
  worker.block_memory = resources_.memory;
  worker.start = clock_.now();
  worker_ = std::make_unique<stack::Worker>(worker);
  panic_worker = worker_.get();
  base::set_panic_hook(print_trace_ring);
  loop_ = std::make_unique<Loop>(*worker_, clock_, config_.loop, waker_);
  if (siblings_ != nullptr) {
    siblings_->attach(*worker_);
    loop_->set_exchange(siblings_.get(), config_.process);
  }
  if (exchange_ == nullptr) return {};
  exchange_->attach(0, *worker_, waker_);
  loop_->set_exchange(exchange_.get(), 0);
  for (uint32_t i = 1; i < workers(); ++i) {
    Shard& shard = *shards_[i - 1];
    shard.make_worker(worker_config(i), config_.loop);
    exchange_->attach(i, shard.worker(), shard.waker());
    shard.loop().set_exchange(exchange_.get(), i);
  }
  return {};
}

// Before the workers' threads start, all know the addresses.
Outcome<void> Host::share_tables() {
  if (exchange_ != nullptr) exchange_->settle(clock_.now());
  return {};
}

Outcome<void> Host::add_interfaces() {
  for (size_t i = 0; i < devices_.size(); ++i) {
    const conf::Interface& interface = config_.interfaces[i];
    Device& device = *devices_[i];
    link::NetifConfig netif;
    netif.name = interface.name;
    netif.mac = device.mac();
    if (device.shares_mac()) netif.interface_id = interface_id_beside_the_kernel(netif.mac);
    netif.limits = allowed(device.limits(), interface);
    const auto index = worker_->add_interface(netif);
    if (!index) return failure(fmt::format("cannot add interface {}: {}", interface.name, describe(index.error())));
    if (const auto set = worker_->request(req::SetInterface{*index, options_of(interface)}, clock_.now()); !set) {
      return failure(fmt::format("cannot set up interface {}: {}", interface.name, describe(set.error())));
    }
    for (const Prefix& prefix : interface.addresses) {
      const auto added = worker_->request(req::AddAddress{*index, prefix}, clock_.now());
      if (!added) {
        return failure(fmt::format("cannot give {} the address {}: {}", interface.name, prefix.to_string(),
                                   describe(added.error())));
      }
    }
    loop_->attach(device, *index);
    ports_.push_back({&device, *index, &interface});
    for (size_t k = 0; k < shards_.size(); ++k) {
      if (auto done = shards_[k]->add_interface(netif, std::move(queues_[i][k])); !done) return done;
    }
    if (!options_.quiet) {
      const std::string kind = device.describe();
      fmt::print(stderr, "{}: {}{}, {}, MTU {}{}\n", interface.name, interface.driver,
                 kind.empty() ? "" : " (" + kind + ")", netif.mac.to_string(), netif.limits.mtu,
                 family_list(interface));
    }
  }
  return tell_addresses();
}

Outcome<void> Host::tell_addresses() {
  const ip::Ip& ip = worker_->impl().ip;
  told_addresses_ = ip.addresses_version() + ip.groups_version();
  const auto all = ip.addresses();
  const auto groups = ip.groups();
  for (size_t i = 0; i < devices_.size(); ++i) {
    std::vector<IpAddr> addresses;
    for (const auto& address : all) {
      const bool ours = address.interface == ports_[i].interface && address.state != "duplicated";
      if (ours) addresses.push_back(address.prefix.addr);
    }
    for (const auto& group : groups) {
      if (group.interface == ports_[i].interface) addresses.push_back(group.group);
    }
    if (auto done = devices_[i]->set_addresses(addresses); !done) return done;
  }
  return {};
}

void Host::attach_frame_client() {
  if (options_.frame_client != nullptr) set_frame_client(*options_.frame_client);
}

std::vector<DeviceCounters> Host::device_counters() const {
  std::vector<DeviceCounters> all;
  for (const auto& device : devices_) all.push_back(device->counters());
  return all;
}

void Host::set_frame_client(FrameClient& client) {
  if (devices_.empty()) return;
  Device& device = *devices_.front();
  const link::DeviceLimits limits = allowed(device.limits(), config_.interfaces.front());
  client.attach({device.mac(), limits, &worker_->impl().packets, ports_.front().interface});
  loop_->set_frame_client(&client);
}

Outcome<void> Host::add_loopback() {
  link::NetifConfig netif;
  netif.name = "lo";
  netif.kind = link::LinkKind::kLoopback;
  netif.limits.mtu = kLoopbackMtu;
  netif.limits.max_segments = 64;
  netif.limits.tx_checksum_v4 = true;
  netif.limits.tx_checksum_v6 = true;
  const auto index = worker_->add_interface(netif);
  if (!index) return failure(fmt::format("cannot add the loopback interface: {}", describe(index.error())));
  for (const char* address : {"127.0.0.1/8", "::1/128"}) {
    const auto added = worker_->request(req::AddAddress{*index, *Prefix::parse(address)}, clock_.now());
    if (!added) return failure(fmt::format("cannot add the address {}: {}", address, describe(added.error())));
  }
  loop_->attach_loopback(*index);
  ports_.push_back({nullptr, *index, nullptr});
  for (const auto& shard : shards_) {
    if (auto done = shard->add_interface(netif, nullptr); !done) return done;
  }
  return {};
}

Outcome<void> Host::add_routes() {
  const auto add = [&](const req::AddRoute& route) -> Outcome<void> {
    const auto added = worker_->request(route, clock_.now());
    if (added) return {};
    return failure(fmt::format("cannot add the route to {} through {}: {}", route.prefix.to_string(),
                               route.gateway.to_string(), describe(added.error())));
  };
  for (const ObservedPort& port : ports_) {
    if (port.config == nullptr) continue;
    for (const IpAddr& gateway : port.config->gateways) {
      const Prefix all{gateway.is_v4() ? IpAddr::any_v4() : IpAddr(), 0};
      if (auto done = add({all, port.interface, gateway}); !done) return done;
    }
    for (const conf::Route& route : config_.routes) {
      if (route.interface != port.config->name) continue;
      if (auto done = add({route.prefix, port.interface, route.gateway, route.table, route.metric}); !done) return done;
    }
  }
  return {};
}

Outcome<void> Host::start_capture() {
  if (config_.capture.empty()) return {};
  auto capture = Capture::open(config_.capture, static_cast<uint32_t>(config_.loop.snap_bytes));
  if (!capture) return pass(capture.error());
  capture_.emplace(std::move(*capture));
  for (const ObservedPort& port : ports_) {
    capture_->add_interface(port.device != nullptr ? port.device->name() : "lo");
    captured_.push_back(port.interface);
  }
  timespec wall{};
  clock_gettime(CLOCK_REALTIME, &wall);
  unix_offset_ns_ = int64_t{wall.tv_sec} * 1'000'000'000 + wall.tv_nsec - clock_.now().ns();
  tap(*worker_);
  for (const auto& shard : shards_) tap(shard->worker());
  return {};
}

void Host::tap(stack::Worker& worker) {
  using Direction = stack::Worker::Direction;
  worker.set_tap([this](Direction direction, IfIndex interface, const pkt::Packet& frame, Instant now) {
    std::unique_lock<std::mutex> lock(capture_mutex_, std::defer_lock);
    if (exchange_ != nullptr) lock.lock();
    const FrameDirection way = direction == Direction::kIn ? FrameDirection::kIn : FrameDirection::kOut;
    for (uint32_t i = 0; i < captured_.size(); ++i) {
      if (captured_[i] != interface) continue;
      capture_->add_frame(i, way, static_cast<uint64_t>(now.ns() + unix_offset_ns_), frame);
    }
  });
}

Outcome<void> Host::start_control() {
  if (config_.control == "none") return {};
  const bool chosen = !config_.control.empty();
  const std::string path = chosen ? config_.control : default_control_path(config_.interfaces.front().name);
  if (path.empty()) return {};
  auto server = ControlServer::listen(path, waker_);
  if (!server && chosen) return pass(server.error());
  if (server) control_ = std::move(*server);
  return {};
}

Outcome<void> Host::drop_privileges() {
  if (config_.user.empty()) return {};
  const passwd* user = getpwnam(config_.user.c_str());
  if (user == nullptr) return failure(fmt::format("there is no user '{}'", config_.user));
  if (initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) {
    return failure(fmt::format("cannot become user '{}': {}", config_.user, std::strerror(errno)),
                   "only root may change the user");
  }
  return {};
}

Observed Host::observed() {
  const auto broadcast = [this](const Request& request) {
    for (const auto& shard : shards_) shard->post(request);
  };
  return {*worker_, *loop_, config_, loop_->now(), clock_.cycles_per_ns(), ports_, views_, broadcast};
}

// What the other workers say of themselves, each in its own thread; asked for when a question comes.
bool Host::views_ready() {
  if (shards_.empty()) return true;
  if (!gathering_) {
    for (const auto& shard : shards_) shard->ask_view();
    gathering_ = true;
  }
  views_.clear();
  for (const auto& shard : shards_) {
    if (!shard->view_ready()) return false;
    views_.push_back(&shard->view());
  }
  gathering_ = false;
  return true;
}

// A link that goes down takes its routes and neighbours along, and comes back with an announcement. What an operator
// set otherwise stays.
void Host::follow_links() {
  links_.resize(devices_.size());
  for (size_t i = 0; i < devices_.size(); ++i) {
    Link& link = links_[i];
    const bool up = devices_[i]->link_up();
    link.seen_up = link.seen_up || up;
    if (!link.seen_up || up == link.told_up || worker_->impl().ip.is_up(ports_[i].interface) != link.told_up) continue;
    link.told_up = up;
    (void)worker_->request(req::SetLink{ports_[i].interface, up}, clock_.now());
    if (!options_.quiet) fmt::print(stderr, "{}: link {}\n", devices_[i]->name(), up ? "up" : "down");
  }
}

void Host::chores(Instant now) {
  for (const auto& device : devices_) {
    if (device->trouble().empty() || failed_) continue;
    failed_ = true;
    fmt::print(stderr, "{} works no more: {}\n", device->name(), device->trouble());
    loop_->stop(1);
  }
  if (look_at_links_ <= now) {
    look_at_links_ = now + kLinkLook;
    follow_links();
  }
  const ip::Ip& ip = worker_->impl().ip;
  if (told_addresses_ != ip.addresses_version() + ip.groups_version()) {
    if (auto done = tell_addresses(); !done) fmt::print(stderr, "{}\n", done.error().to_string());
  }
  if (control_ != nullptr && control_->asked() && views_ready()) {
    control_->serve([this](std::string_view question) { return answer(question, observed()); });
  }
  if (Signals::take_dump()) {
    fmt::print(stderr, "{}\n{}\n{}", answer("sockets", observed()), answer("counters", observed()),
               answer("stages", observed()));
  }
  if (capture_ && capture_flush_at_ <= now) {
    const std::lock_guard lock(capture_mutex_);
    capture_->flush();
    capture_flush_at_ = now + kCaptureFlush;
  }
  if (config_.loop.stats_s != 0 && stats_at_ <= now) {
    const Duration every = seconds(config_.loop.stats_s);
    if (stats_at_ != Instant{}) {
      fmt::print(stderr, "{}\n", stats_line(stats_before_, loop_->stages(), now - (stats_at_ - every),
                                            worker_->sockets().size(), clock_.cycles_per_ns()));
    }
    stats_before_ = loop_->stages();
    stats_at_ = now + every;
  }
}

void Host::begin_stop(int status) {
  int none = 0;
  if (status != 0) status_.compare_exchange_strong(none, status);
  if (stopping_.exchange(true)) return;
  if (exchange_ != nullptr) exchange_->wake_all();
}

int Host::run(std::span<const std::unique_ptr<Program>> programs) {
  MR_ASSERT(programs.size() == workers());
  const Signals signals(waker_, options_.dump_on_signal);
  loop_->set_interrupt([this] {
    if (Signals::stops() != 0) begin_stop(0);
    return stopping_.load(std::memory_order_relaxed);
  });
  for (uint32_t i = 1; i < workers(); ++i) {
    std::optional<uint32_t> cpu = config_.cpu;
    if (cpu) *cpu += i;
    shards_[i - 1]->start(
        *programs[i], cpu, [this] { return stopping_.load(std::memory_order_relaxed); },
        [this](int status) { begin_stop(status); });
  }
  begin_stop(loop_->run(*programs[0]));
  for (const auto& shard : shards_) shard->join();
  if (exchange_ != nullptr) exchange_->clear();
  if (capture_) capture_->flush();
  return status_;
}

}  // namespace millrace::runtime
