#include "vocabulary.h"

#include <algorithm>

#include "stack/impl.h"

namespace millrace::script {

std::string name_of(const Variant& v) {
  return std::string(v.v6 ? "V6" : "V4") + (v.ts ? "Timestamps" : "") + (v.sack ? "Sack" : "") + (v.tso ? "Tso" : "");
}

std::vector<Variant> all_variants() {
  std::vector<Variant> out(16);
  for (size_t i = 0; i < out.size(); ++i) out[i] = {(i & 1) != 0, (i & 2) != 0, (i & 4) != 0, (i & 8) != 0};
  return out;
}

std::vector<Variant> plain_variants() {
  std::vector<Variant> out(4);
  for (size_t i = 0; i < out.size(); ++i) out[i] = {(i & 1) != 0, (i & 2) != 0, true, false};
  return out;
}

size_t ClosablePool::allocate(std::span<pkt::Packet*> out) { return closed ? 0 : pool_.allocate(out); }

Script::Script(const Variant& variant, const Options& options)
    : variant_(variant),
      options_(options),
      frames_(std::make_unique<ClosablePool>(options.frames, pkt::kFrameRoom)),
      references_(std::make_unique<ClosablePool>(600, 0)),
      now_(options.start),
      mark_(options.start) {
  stack::WorkerConfig config;
  config.frames = frames_.get();
  config.references = references_.get();
  config.memory = &memory_;
  config.seed = 7;
  config.max_connections = options.max_connections;
  config.max_half_open = options.max_half_open;
  config.max_time_wait = options.max_time_wait;
  config.block_bytes = options.block_bytes;
  config.tcp = options.tcp;
  config.start = now_;
  worker_ = std::make_unique<stack::Worker>(config);
  link::NetifConfig netif;
  netif.name = "eth0";
  netif.mac = {{2, 0, 0, 0, 0, 1}};
  netif.limits.mtu = options.mtu;
  if (variant.tso) {
    netif.limits.max_segments = 18;
    netif.limits.max_tso_bytes = 65'535;
    netif.limits.tso_v4 = netif.limits.tso_v6 = true;
    netif.limits.tx_checksum_v4 = netif.limits.tx_checksum_v6 = true;
  }
  interface_ = *worker_->add_interface(netif);
  const uint8_t length = variant.v6 ? 64 : 24;
  EXPECT_TRUE(worker_->request(req::AddAddress{interface_, {local(), length}}, now_));
  EXPECT_TRUE(worker_->request(req::AddNeighbour{interface_, remote(), {{2, 0, 0, 0, 0, 2}}}, now_));
  // Far enough for address configuration to be over.
  advance(seconds(5));
  mark();
}

Script::~Script() {
  if (!failed_) {
    collect();
    if (!out_.empty()) fail({}, "nobody expected " + out_.front().to_string());
    const std::string wrong = worker_->check();
    if (!wrong.empty()) fail({}, "the worker is inconsistent: " + wrong);
  }
  device_keeps(false);
  worker_.reset();
  if (failed_) return;
  EXPECT_EQ(frames_->inside(), frames_->capacity()) << "frames leaked\n" << trace_;
  EXPECT_EQ(references_->inside(), references_->capacity()) << "references leaked\n" << trace_;
}

IpAddr Script::local() const { return variant_.v6 ? *IpAddr::parse("fd00::1") : IpAddr::v4(192, 0, 2, 1); }
IpAddr Script::remote() const { return variant_.v6 ? *IpAddr::parse("fd00::2") : IpAddr::v4(192, 0, 2, 2); }

uint32_t Script::full() const {
  auto found = flows_.find(port_);
  const bool stamps = found != flows_.end() && found->second.peer_ts && found->second.our_ts;
  return path_mss() - (stamps ? 12u : 0u);
}

Script::Flow& Script::flow(uint16_t port) {
  auto [it, fresh] = flows_.try_emplace(port);
  if (fresh) it->second.peer_iss = 0xffffff00U - port;  // sequence numbers wrap early in every script
  return it->second;
}

uint32_t Script::peer_clock() const { return 0xfffff000U + static_cast<uint32_t>((now_ - options_.start).ms()); }
uint32_t Script::last_ts_val() { return flow(port_).last_ts_val; }

Segment Script::make(const Head& head, std::initializer_list<Token> tokens) {
  Segment s;
  s.flags = head.flags;
  for (const Token& t : tokens) t(s);
  return s;
}

Token Script::offer() const {
  return [this](Segment& s) {
    if (!s.mss) s.mss = path_mss();
    if (!s.wscale) s.wscale = 7;
    if (!s.sack_ok) s.sack_ok = variant_.sack;
    if (!s.ts) s.ts = variant_.ts;
  };
}

// --- Failures and the trace ------------------------------------------------------------------------------------------

void Script::fail(const At& at, const std::string& text) {
  if (failed_) return;
  failed_ = true;
  ADD_FAILURE_AT(at.file, at.line) << text << "\nTrace (< from the peer, > from the stack):\n" << trace_;
}

void Script::log(const char* direction, const Segment& s) {
  const int64_t us = (now_ - options_.start).us();
  std::string fraction = std::to_string(us % 1'000'000 + 1'000'000).substr(1);
  trace_ += "  " + std::to_string(us / 1'000'000) + "." + fraction + " " + direction +
            (s.port == 40'000 ? "" : " [" + std::to_string(s.port) + "]") + " " + s.to_string() + "\n";
}

// --- Matching --------------------------------------------------------------------------------------------------------

void Script::match(const Head& head, Segment wanted, std::optional<Duration> after) {
  if (failed_) return;
  const At at(head.line, head.file);
  collect();
  if (after) {
    const Instant due = mark_ + *after;
    if (!out_.empty()) return fail(at, "too early: " + out_.front().to_string());
    if (due > now_) step(due - nanoseconds(1));
    if (!out_.empty()) return fail(at, "too early: " + out_.front().to_string());
    step(due);
  }
  wanted.port = port_;
  Flow& f = flow(port_);
  const bool synchronized = (wanted.flags & (SYN | RST)) == 0;
  if (synchronized && !wanted.ts && f.know_our_iss) wanted.ts = f.peer_ts && f.our_ts;
  if (out_.empty()) return fail(at, "expected " + wanted.to_string() + "\n but nothing came");
  const Segment real = out_.front();
  const std::string difference = wanted.difference(real);
  if (!difference.empty()) {
    return fail(at, "expected " + wanted.to_string() + "\n but got " + real.to_string() + "\n (" + difference + ")");
  }
  out_.pop_front();
  mark_ = real.time;
}

void Script::expect_nothing(At at) {
  if (failed_) return;
  collect();
  if (!out_.empty()) fail(at, "nobody expected " + out_.front().to_string());
}

void Script::quiet(int64_t ms, At at) {
  expect_nothing(at);
  advance(ms);
  expect_nothing(at);
}

size_t Script::expect_data(uint32_t from, uint32_t to, At at) {
  if (failed_) return 0;
  collect();
  size_t n = 0;
  while (from != to) {
    if (out_.empty()) {
      fail(at, "expected data from " + std::to_string(from) + " but nothing came");
      return n;
    }
    const Segment real = out_.front();
    if (real.len == 0 || real.len > full() || real.seq != from || (real.flags & (SYN | FIN | RST)) != 0) {
      fail(at, "expected data from " + std::to_string(from) + " but got " + real.to_string());
      return n;
    }
    out_.pop_front();
    mark_ = real.time;
    from += real.len;
    ++n;
  }
  return n;
}

size_t Script::skip() {
  collect();
  const size_t n = out_.size();
  out_.clear();
  return n;
}

// --- Time ------------------------------------------------------------------------------------------------------------

void Script::step(Instant to) {
  while (now_ < to) {
    const auto next = worker_->next_deadline();
    now_ = std::max(now_, std::min(to, next ? *next : to));
    worker_->advance(now_);
    collect();
    if (next && *next > to) now_ = to;
  }
}

void Script::advance(Duration d) {
  collect();
  step(now_ + d);
}

// --- The program -----------------------------------------------------------------------------------------------------

Result<Reply> Script::ask(const Request& r) {
  auto reply = worker_->request(r, now_);
  collect();
  return reply;
}

Handle Script::listen(const SocketOptions& o, uint32_t backlog, At at) {
  const IpAddr any = variant_.v6 ? IpAddr() : IpAddr::any_v4();
  const auto reply = ask(req::Listen{{any, 80}, backlog, 1, o});
  if (!reply) {
    fail(at, std::string("listen: ") + describe(reply.error()));
    return {};
  }
  return listener_ = reply->handle;
}

Handle Script::accept(Handle listener, At at) {
  if (failed_) return {};
  const auto reply = ask(req::Accept{listener, 2});
  if (!reply) {
    fail(at, std::string("accept: ") + describe(reply.error()));
    return {};
  }
  written_.erase(reply->handle.index);
  read_.erase(reply->handle.index);
  return reply->handle;
}

Handle Script::connect(const SocketOptions& o, At at) {
  const auto reply = ask(req::Connect{{remote(), port_}, {}, 3, o});
  if (!reply) {
    fail(at, std::string("connect: ") + describe(reply.error()));
    return {};
  }
  written_.erase(reply->handle.index);
  read_.erase(reply->handle.index);
  return reply->handle;
}

Handle Script::connect_early(uint32_t n, size_t& taken, At at) {
  std::vector<std::byte> data(n);
  for (uint32_t i = 0; i < n; ++i) data[i] = pattern(i);
  const auto reply = ask(req::Connect{{remote(), port_}, {}, 3, {}, 0, true, data});
  if (!reply) {
    fail(at, std::string("connect: ") + describe(reply.error()));
    return {};
  }
  taken = reply->bytes;
  written_[reply->handle.index] = static_cast<uint32_t>(taken);
  read_.erase(reply->handle.index);
  return reply->handle;
}

Result<size_t> Script::try_write(Handle h, uint32_t n, bool more, bool urgent) {
  uint32_t& at = written_[h.index];
  std::vector<std::byte> data(n);
  for (uint32_t i = 0; i < n; ++i) data[i] = pattern(at + i);
  const auto reply = ask(req::Send{h, data, more, urgent});
  if (!reply) return millrace::fail(reply.error());
  at += static_cast<uint32_t>(reply->bytes);
  return reply->bytes;
}

void Script::write(Handle h, uint32_t n, bool more, At at) {
  if (failed_) return;
  const auto taken = try_write(h, n, more);
  if (!taken) return fail(at, std::string("write: ") + describe(taken.error()));
  if (*taken != n) fail(at, "write took " + std::to_string(*taken) + " bytes of " + std::to_string(n));
}

Result<size_t> Script::try_read(Handle h, uint32_t n, At at) {
  uint32_t& from = read_[h.index];
  std::vector<std::byte> data(n);
  const auto reply = ask(req::Receive{h, data, false});
  if (!reply) return millrace::fail(reply.error());
  for (size_t i = 0; i < reply->bytes; ++i) {
    if (data[i] == pattern(from + static_cast<uint32_t>(i))) continue;
    fail(at, "byte " + std::to_string(from + i) + " of the stream is wrong");
    break;
  }
  from += static_cast<uint32_t>(reply->bytes);
  return reply->bytes;
}

size_t Script::read(Handle h, uint32_t n, At at) {
  if (failed_) return 0;
  const auto got = try_read(h, n, at);
  if (!got) {
    fail(at, std::string("read: ") + describe(got.error()));
    return 0;
  }
  return *got;
}

void Script::pump(std::function<void()> between) {
  worker_->set_pump([this, between = std::move(between)] {
    pumping_ = true;
    collect();
    between();
    pumping_ = false;
    return now_;
  });
}

void Script::shutdown(Handle h) { (void)ask(req::Shutdown{h}); }
void Script::close(Handle h) { (void)ask(req::Close{h}); }
void Script::abort(Handle h) { (void)ask(req::Abort{h}); }

const std::vector<Event>& Script::all_events() {
  collect();
  return events_;
}

std::vector<uint64_t> Script::released() {
  collect();
  std::vector<uint64_t> out;
  std::erase_if(events_, [&](const Event& e) {
    if ((e.mask & kReleased) == 0) return false;
    out.push_back(e.cookie);
    return true;
  });
  return out;
}

uint32_t Script::events(Handle h) {
  collect();
  uint32_t mask = 0;
  std::erase_if(events_, [&](const Event& e) {
    if (e.handle != h) return false;
    mask |= e.mask;
    return true;
  });
  return mask;
}

Handle Script::server(const SocketOptions& o) {
  const Handle l = listen(o);
  in(SYN, seq(0), offer());
  expect(SYN | ACK, seq(0), ack(1));
  in(ACK);
  return accept(l);
}

Handle Script::client(const SocketOptions& o) {
  const Handle c = connect(o);
  expect(SYN, seq(0));
  in(SYN | ACK, seq(0), offer());
  expect(ACK, seq(1), ack(1));
  return c;
}

// --- Observation -----------------------------------------------------------------------------------------------------

stack::SocketInfo Script::info() {
  for (const auto& i : worker_->sockets()) {
    if (i.remote.port == port_) return i;
  }
  return {};
}

std::string Script::state() { return info().state; }

uint64_t Script::counter(const std::string& name) {
  for (const auto& c : worker_->counters()) {
    if (c.name == name) return c.value;
  }
  fail({}, "no counter is called " + name);
  return 0;
}

void Script::close_pool(bool closed) {
  frames_->closed = false;
  worker_->impl().packets.drain();
  frames_->closed = closed;
}

}  // namespace millrace::script
