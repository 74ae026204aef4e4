#include "sim/session.h"

#include <algorithm>

#include "sim/text.h"

namespace millrace::sim {

Session::Session(const ConnPlan& conn, int role, uint32_t round, uint64_t seed, SessionHooks& hooks)
    : conn_(conn),
      plan_(conn.side[static_cast<size_t>(role)]),
      peer_(conn.side[static_cast<size_t>(1 - role)]),
      role_(role),
      round_(round),
      hooks_(hooks),
      rng_(seed),
      out_(conn.key, role),
      in_(conn.key, 1 - role),
      next_pause_(plan_.pause_every) {}

std::string Session::describe() const {
  return text(role_ == 0 ? "client" : "server", " of port ", conn_.port, " round ", round_, ": sent ", tx_, "/",
              send_total(), ", received ", rx_, "/", receive_total(), ", state ", static_cast<int>(state_),
              shut_ ? ", shut" : "", ended_ ? ", peer ended" : "", paused_ ? ", paused" : "", ", lent ", lent_.size(),
              error_ ? std::string(", error: ") + millrace::describe(*error_) : "");
}

void Session::event(Net& net, const Event& event) {
  if ((event.mask & kReleased) != 0) {
    const auto it = lent_.find(event.cookie);
    if (it == lent_.end()) {
      hooks_.fail(text("release of a buffer that was not lent, cookie ", event.cookie, "; ", describe()));
      return;
    }
    if (!over() && !aborted_ && hooks_.released_early(*this, it->second)) {
      hooks_.fail(text("lent buffer released before its bytes up to ", it->second, " were acknowledged; ", describe()));
    }
    lent_.erase(it);
  }
  if (over()) return;
  if ((event.mask & kConnected) != 0) opened(handle_);
  if ((event.mask & kError) != 0 && state_ == State::kOpening) {
    std::byte byte{};
    const auto why = net.read(handle_, {&byte, 1});
    return failed(net, why ? Error::kIo : why.error());
  }
  progress(net);
}

void Session::tick(Net& net) {
  if (over() || paused_until_ > net.now()) return;
  paused_until_ = kNever;
  paused_ = false;
  release_all(net);
  progress(net);
}

// What the exchange allows to be sent now: requests wait for the response before.
uint64_t Session::may_send() const {
  if (conn_.kind != ConnKind::kRequests) return send_total();
  const uint64_t complete = rx_ / peer_.send_total;
  return std::min<uint64_t>(send_total(), (role_ == 0 ? complete + 1 : complete) * plan_.send_total);
}

void Session::progress(Net& net) {
  if (state_ != State::kOpen || in_progress_) return;
  in_progress_ = true;
  bool again = true;
  while (again && !over()) {
    again = false;
    while (!over() && write_some(net)) again = true;
    while (!over() && !ended_ && !paused_ && (plan_.borrow ? borrow_some(net) : read_some(net))) again = true;
  }
  if (!over()) finish(net);
  in_progress_ = false;
}

bool Session::write_some(Net& net) {
  uint64_t limit = may_send();
  if (plan_.abort_after != 0) limit = std::min<uint64_t>(limit, plan_.abort_after);
  if (shut_) return false;
  if (plan_.abort_after != 0 && tx_ >= plan_.abort_after) {
    aborted_ = true;
    release_all(net);
    net.abort(handle_);
    state_ = State::kClosed;
    return false;
  }
  if (tx_ >= limit) return false;
  const auto bytes = static_cast<uint32_t>(std::min<uint64_t>(limit - tx_, plan_.write_chunk));
  if (plan_.lent && bytes <= 65'408) return write_lent(net, bytes);
  buffer_.resize(bytes);
  out_.fill(tx_, buffer_);
  const auto taken = net.write(handle_, buffer_, rng_.chance(1, 8) && tx_ + bytes < limit);
  if (!taken) {
    if (taken.error() != Error::kWouldBlock && taken.error() != Error::kNoBuffers) failed(net, taken.error());
    return false;  // an event says when there is room or a block again
  }
  if (*taken == 0 || *taken > bytes) {
    hooks_.fail(text("write took ", *taken, " of ", bytes, " bytes; ", describe()));
    return false;
  }
  tx_ += *taken;
  return *taken == bytes;
}

bool Session::write_lent(Net& net, uint32_t bytes) {
  const auto room = net.lend(bytes);
  if (!room) {
    if (room.error() != Error::kNoBuffers) failed(net, room.error());
    else paused_until_ = net.now() + milliseconds(10);
    return false;
  }
  out_.fill(tx_, *room);
  const uint64_t cookie = next_cookie_++;
  lent_[cookie] = tx_ + bytes;
  const auto taken = net.write_lent(handle_, room->data(), bytes, cookie);
  if (!taken) {
    lent_.erase(cookie);
    net.drop_lent(room->data());
    if (taken.error() == Error::kNoBuffers) paused_until_ = net.now() + milliseconds(10);
    else if (taken.error() != Error::kWouldBlock) failed(net, taken.error());
    return false;
  }
  if (*taken != bytes) hooks_.fail(text("write_lent took ", *taken, " of ", bytes, " bytes; ", describe()));
  tx_ += bytes;
  return true;
}

void Session::accept_data(std::span<const std::byte> data) {
  const size_t bad = in_.mismatch(rx_, data);
  if (bad != data.size()) {
    hooks_.fail(text("stream integrity: wrong byte at offset ", rx_ + bad, "; ", describe()));
    return;
  }
  rx_ += data.size();
  if (rx_ > receive_total()) hooks_.fail("stream integrity: more bytes than were sent; " + describe());
  if (plan_.pause_every != 0 && rx_ >= next_pause_) {
    next_pause_ = rx_ + plan_.pause_every;
    paused_ = true;
  }
}

void Session::end_of_data() {
  ended_ = true;
  if (rx_ != receive_total() && peer_.abort_after == 0) {
    hooks_.fail("stream integrity: the end came before all bytes; " + describe());
  }
}

bool Session::read_some(Net& net) {
  buffer_.resize(plan_.read_chunk);
  const auto got = net.read(handle_, buffer_);
  if (!got) {
    if (got.error() != Error::kWouldBlock) failed(net, got.error());
    return false;
  }
  if (*got == 0) {
    end_of_data();
    return false;
  }
  if (*got > buffer_.size()) {
    hooks_.fail("read gave more bytes than there was room for; " + describe());
    return false;
  }
  accept_data({buffer_.data(), *got});
  if (paused_) paused_until_ = net.now() + plan_.pause;
  return true;
}

bool Session::borrow_some(Net& net) {
  const auto piece = net.borrow(handle_);
  if (!piece) {
    if (piece.error() != Error::kWouldBlock) failed(net, piece.error());
    return false;
  }
  if (piece->end) {
    end_of_data();
    return false;
  }
  if (piece->data.empty()) {
    hooks_.fail("an empty piece was borrowed; " + describe());
    return false;
  }
  accept_data(piece->data);
  held_.push_back(*piece);
  while (held_.size() > plan_.hold) {
    const size_t which = rng_.below(held_.size());
    net.release(held_[which]);
    held_.erase(held_.begin() + static_cast<long>(which));
  }
  if (paused_) {
    paused_until_ = net.now() + plan_.pause;
    release_all(net);
  }
  return true;
}

void Session::release_all(Net& net) {
  for (const Borrowed& piece : held_) net.release(piece);
  held_.clear();
}

void Session::finish(Net& net) {
  const bool all_sent = tx_ >= send_total();
  if (all_sent && !shut_ && (plan_.shut_early || ended_)) {
    shut_ = true;
    const auto result = net.shutdown(handle_);
    if (!result) return failed(net, result.error());
  }
  if (ended_ && shut_) {
    release_all(net);
    net.close(handle_);
    state_ = State::kClosed;
    return;
  }
  // Both ends wait for the other's end of data: the client moves first.
  if (all_sent && !shut_ && role_ == 0 && rx_ >= receive_total()) {
    shut_ = true;
    const auto result = net.shutdown(handle_);
    if (!result) failed(net, result.error());
  }
  // A held piece is charged to the window: let go of everything soon, in case nothing more comes.
  if (held_.empty() || paused_) return;
  if (rng_.chance(1, 2)) {
    release_all(net);
  } else {
    paused_until_ = net.now() + milliseconds(3);
  }
}

void Session::failed(Net& net, Error error) {
  error_ = error;
  state_ = State::kFailed;
  release_all(net);
  net.close(handle_);
}

}  // namespace millrace::sim
