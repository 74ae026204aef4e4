// FakeDoor: a worker's door with sockets made of strings, for testing programs without a stack. It is strict: an edge
// is reported only after the program has run into kWouldBlock or a short read, a released piece is wiped at once, and a
// stale handle or token fails the test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "millrace/program.h"

namespace millrace::test {

class FakeDoor final : public Door {
 public:
  struct Socket {
    Handle handle;
    Endpoint local;
    Endpoint remote;
    uint64_t user = 0;
    bool accepted = false;
    bool connecting = false;
    std::deque<std::string> in;  ///< pieces the program has not borrowed yet
    bool in_end = false;         ///< the peer sent FIN
    bool reset = false;
    bool read_armed = true;      ///< the program has seen kWouldBlock (or nothing yet)
    std::string out;             ///< what the program wrote
    std::vector<size_t> writes;  ///< sizes of its writes
    size_t space = SIZE_MAX;     ///< what further writes may take
    bool write_armed = false;
    bool starved = false;        ///< the stack has no memory for what is written here
    bool out_end = false;        ///< shutdown or close
    bool closed = false;
    bool aborted = false;
    bool closed_unread = false;  ///< closed while data was queued: a reset on a real stack
  };

  // The side of the test.

  /// A client's connection to a port somebody listens on.
  uint32_t dial(uint16_t port) {
    for (const auto& [index, listener] : listeners_) {
      if (listener.local.port != port) continue;
      const uint32_t id = make();
      backlog_[index].push_back(id);
      post({listener.handle, listener.user, kAcceptable});
      return id;
    }
    ADD_FAILURE() << "nobody listens on " << port;
    return 0;
  }
  /// One piece of received data.
  void feed(uint32_t id, std::string bytes) {
    Socket& s = at(id);
    if (s.closed) return;
    s.in.push_back(std::move(bytes));
    readable(s, kReadable);
  }
  void peer_end(uint32_t id) {
    at(id).in_end = true;
    readable(at(id), kReadable | kPeerClosed);
  }
  void peer_reset(uint32_t id) {
    at(id).reset = true;
    if (at(id).accepted) post({at(id).handle, at(id).user, kError});
  }
  /// An active open of the program completes.
  void establish(uint32_t id) {
    at(id).connecting = false;
    at(id).accepted = true;
    post({at(id).handle, at(id).user, kConnected});
  }
  /// Room for `bytes` more.
  void allow(uint32_t id, size_t bytes) {
    Socket& s = at(id);
    s.space += bytes;
    if (!std::exchange(s.write_armed, false) || s.closed) return;
    post({s.handle, s.user, kWritable});
  }
  Socket& at(uint32_t id) { return *sockets_.at(id); }
  [[nodiscard]] std::string take_out(uint32_t id) { return std::exchange(at(id).out, {}); }
  [[nodiscard]] size_t sockets() const { return sockets_.size(); }
  [[nodiscard]] size_t borrowed() const { return pieces_.size(); }
  [[nodiscard]] Instant wake() const { return wake_; }
  [[nodiscard]] bool stopped() const { return stopped_; }
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] const std::vector<req::AddAddress>& added() const { return added_; }

  /// Delivers one loop turn: the events that wait, then the tick if it is due. Whether there was anything.
  bool turn(Program& program) {
    Net net(*this);
    std::vector<Event> events;
    events.swap(events_);
    for (const Event& event : events) program.event(net, event);
    if (wake_ > now_) return !events.empty();
    wake_ = kNever;
    program.tick(net);
    return true;
  }
  void run(Program& program, int most = 10'000) {
    while (turn(program) && --most > 0) {
    }
    EXPECT_GT(most, 0) << "the program never rests";
  }
  /// Moves time on in steps of a second and runs.
  void pass(Program& program, Duration time) {
    for (const Instant end = now_ + time; now_ < end;) {
      now_ = std::min(end, now_ + seconds(1));
      run(program);
    }
  }
  void set_now(Instant now) { now_ = now; }

  // The side of the program.

  Result<Reply> request(const Request& request) override {
    return std::visit([this](const auto& r) { return on(r); }, request);
  }
  [[nodiscard]] Instant now() const override { return now_; }
  void wake_at(Instant when) override { wake_ = when; }
  void stop(int status) override {
    stopped_ = true;
    status_ = status;
  }

 private:
  uint32_t make() {
    auto s = std::make_unique<Socket>();
    s->handle = {++next_, 7};
    sockets_[next_] = std::move(s);
    return next_;
  }
  void post(Event event) {
    event.seq = ++seq_;
    events_.push_back(event);
  }
  void readable(Socket& s, uint32_t mask) {
    if (!s.accepted || s.closed || !std::exchange(s.read_armed, false)) return;
    post({s.handle, s.user, mask});
  }
  Socket* find(Handle h) {
    const auto found = sockets_.find(h.index);
    const bool good = found != sockets_.end() && found->second->handle == h && !found->second->closed;
    EXPECT_TRUE(good) << "stale handle " << h.index;
    return good ? found->second.get() : nullptr;
  }

  Result<Reply> on(const req::Listen& r) {
    const uint32_t id = make();
    listeners_[id] = {at(id).handle, r.local, r.user};
    return Reply{.handle = at(id).handle};
  }
  Result<Reply> on(const req::Connect& r) {
    const uint32_t id = make();
    Socket& s = at(id);
    s.connecting = true;
    s.user = r.user;
    s.local = r.local;
    s.remote = r.remote;
    return Reply{.handle = s.handle};
  }
  Result<Reply> on(const req::Accept& r) {
    auto& waiting = backlog_[r.listener.index];
    if (waiting.empty()) return fail(Error::kWouldBlock);
    Socket& s = at(waiting.front());
    waiting.pop_front();
    s.accepted = true;
    s.user = r.user;
    return Reply{.handle = s.handle};
  }
  Result<Reply> on(const req::Send& r) {
    Socket* s = find(r.handle);
    if (s == nullptr) return fail(Error::kBadHandle);
    EXPECT_FALSE(r.data.empty());
    if (s->reset) return fail(Error::kConnectionReset);
    if (s->out_end) return fail(Error::kBrokenPipe);
    if (s->starved) return fail(Error::kNoBuffers);
    const size_t n = std::min(s->space, r.data.size());
    if (n == 0) {
      s->write_armed = true;
      return fail(Error::kWouldBlock);
    }
    if (s->space != SIZE_MAX) s->space -= n;
    s->out.append(reinterpret_cast<const char*>(r.data.data()), n);
    s->writes.push_back(n);
    return Reply{.bytes = n};
  }
  Result<Reply> nothing(Socket& s) {
    s.read_armed = true;
    return fail(Error::kWouldBlock);
  }
  Result<Reply> on(const req::Receive& r) {
    Socket* s = find(r.handle);
    if (s == nullptr) return fail(Error::kBadHandle);
    if (s->reset) return fail(Error::kConnectionReset);
    if (s->in.empty()) return s->in_end ? Result<Reply>(Reply{}) : nothing(*s);
    size_t n = 0;
    while (!s->in.empty() && n < r.into.size()) {
      std::string& piece = s->in.front();
      const size_t part = std::min(piece.size(), r.into.size() - n);
      std::copy_n(reinterpret_cast<const std::byte*>(piece.data()), part, r.into.data() + n);
      piece.erase(0, part);
      n += part;
      if (piece.empty()) s->in.pop_front();
    }
    if (n < r.into.size()) s->read_armed = true;
    return Reply{.bytes = n};
  }
  Result<Reply> on(const req::Borrow& r) {
    Socket* s = find(r.handle);
    if (s == nullptr) return fail(Error::kBadHandle);
    if (s->reset) return fail(Error::kConnectionReset);
    if (s->in.empty()) return s->in_end ? Result<Reply>(Reply{}) : nothing(*s);
    const uint64_t token = ++next_token_;
    std::string& text = *(pieces_[token] = std::make_unique<std::string>(std::move(s->in.front())));
    s->in.pop_front();
    return Reply{.view = std::as_bytes(std::span(text)), .token = token};
  }
  Result<Reply> on(const req::Release& r) {
    const auto found = pieces_.find(r.token);
    EXPECT_NE(found, pieces_.end()) << "stale token";
    if (found == pieces_.end()) return fail(Error::kInvalid);
    std::fill(found->second->begin(), found->second->end(), '!');
    pieces_.erase(found);
    return Reply{};
  }
  Result<Reply> on(const req::Shutdown& r) {
    Socket* s = find(r.handle);
    if (s == nullptr) return fail(Error::kBadHandle);
    s->out_end = true;
    return Reply{};
  }
  Result<Reply> on(const req::Close& r) {
    if (listeners_.erase(r.handle.index) != 0) return Reply{};
    Socket* s = find(r.handle);
    if (s == nullptr) return fail(Error::kBadHandle);
    s->closed_unread = !s->in.empty();
    s->closed = s->out_end = true;
    return Reply{};
  }
  Result<Reply> on(const req::Abort& r) {
    Socket* s = find(r.handle);
    if (s == nullptr) return fail(Error::kBadHandle);
    s->closed = s->aborted = true;
    return Reply{};
  }
  Result<Reply> on(const req::SetUser& r) {
    Socket* s = find(r.handle);
    if (s == nullptr) return fail(Error::kBadHandle);
    s->user = r.user;
    return Reply{};
  }
  Result<Reply> on(const req::AddAddress& r) {
    added_.push_back(r);
    return Reply{};
  }
  template <class T>
  Result<Reply> on(const T&) {
    return fail(Error::kNotSupported);
  }

  struct Listener {
    Handle handle;
    Endpoint local;
    uint64_t user = 0;
  };
  std::map<uint32_t, std::unique_ptr<Socket>> sockets_;
  std::map<uint32_t, Listener> listeners_;
  std::map<uint32_t, std::deque<uint32_t>> backlog_;
  std::map<uint64_t, std::unique_ptr<std::string>> pieces_;
  std::vector<Event> events_;
  std::vector<req::AddAddress> added_;
  uint32_t next_ = 0;
  uint32_t seq_ = 0;
  uint64_t next_token_ = 0;
  Instant now_{seconds(1000).ns()};
  Instant wake_ = kNever;
  bool stopped_ = false;
  int status_ = 0;
};

}  // namespace millrace::test
