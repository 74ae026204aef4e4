// What can be awaited: each tries at once, and again whenever an event says that it may be worth it.
#include <array>

#include "millrace/async.h"

namespace millrace {

bool Read::attempt() {
  const auto n = into_.empty() ? Result<size_t>(0) : reactor_->net_->read(reactor_->handle_of(slot_), into_);
  if (!n && n.error() == Error::kWouldBlock) return false;
  result_ = n;
  return true;
}
void Read::enlist() { enter(reactor_->records_[slot_].reader); }

bool Borrow::attempt() {
  auto piece = reactor_->net_->borrow(reactor_->handle_of(slot_));
  if (!piece && piece.error() == Error::kWouldBlock) return false;
  result_ = piece;
  return true;
}
void Borrow::enlist() { enter(reactor_->records_[slot_].reader); }

bool Write::attempt() {
  while (!data_.empty()) {
    const auto n = reactor_->net_->write(reactor_->handle_of(slot_), data_, more_);
    if (!n) {
      if (n.error() == Error::kWouldBlock || n.error() == Error::kNoBuffers) return false;
      result_ = fail(n.error());
      return true;
    }
    data_ = data_.subspan(*n);
  }
  result_ = Result<void>();
  return true;
}
void Write::enlist() { enter(reactor_->records_[slot_].writer); }

Result<void> Stream::shutdown() {
  if (reactor_ == nullptr) return fail(Error::kBadHandle);
  return reactor_->net_->shutdown(handle());
}

bool Accept::attempt() {
  const uint32_t slot = reactor_->take_record();
  const auto conn = reactor_->net_->accept(reactor_->handle_of(slot_), slot + 1);
  if (conn) {
    reactor_->records_[slot].handle = *conn;
    result_ = Stream(reactor_, slot);
    return true;
  }
  reactor_->free_record(slot);
  if (conn.error() == Error::kWouldBlock) return false;
  result_ = fail(conn.error());
  return true;
}
void Accept::enlist() { enter(reactor_->records_[slot_].reader); }

bool Connect::attempt() {
  if (!stream_) {
    const uint32_t slot = reactor_->take_record();
    const auto conn = reactor_->net_->connect(remote_, slot + 1, options_, local_);
    if (!conn) {
      reactor_->free_record(slot);
      result_ = fail(conn.error());
      return true;
    }
    reactor_->records_[slot].handle = *conn;
    stream_ = Stream(reactor_, slot);
    return false;
  }
  const uint32_t mask = reactor_->records_[stream_.slot_].mask;
  if ((mask & kConnected) != 0) {
    result_ = std::move(stream_);
    return true;
  }
  if ((mask & kError) == 0) return false;
  std::array<std::byte, 1> none{};
  const auto why = reactor_->net_->read(stream_.handle(), none);
  result_ = fail(why ? Error::kIo : why.error());
  return true;
}
void Connect::enlist() { enter(reactor_->records_[stream_.slot_].writer); }

bool ReceiveFrom::attempt() {
  const auto m = reactor_->net_->receive_from(reactor_->handle_of(slot_), into_);
  if (!m && m.error() == Error::kWouldBlock) return false;
  result_ = m;
  return true;
}
void ReceiveFrom::enlist() { enter(reactor_->records_[slot_].reader); }

bool SendTo::attempt() {
  const auto sent = reactor_->net_->send_to(reactor_->handle_of(slot_), data_, remote_);
  if (!sent && sent.error() == Error::kWouldBlock) return false;
  result_ = sent;
  return true;
}
void SendTo::enlist() { enter(reactor_->records_[slot_].writer); }

// Even one that is due lets others go first.
bool Sleep::attempt() {
  if (!std::exchange(asked_, true)) return false;
  if (reactor_->now() < deadline()) return false;
  result_ = Result<void>();
  return true;
}
void Sleep::enlist() {
  if (deadline() <= reactor_->now()) retry();
}

Join::Join(Reactor* reactor, std::shared_ptr<detail::JobState> job)
    : Timed<Join, Result<bool>>(reactor), job_(std::move(job)) {}

Join::~Join() {
  if (reactor_ != nullptr) reactor_->forget(*this);  // before the slot, which is the job's, may go
}

bool Join::attempt() {
  if (!job_->ended) return false;
  result_ = !job_->cancelled;
  return true;
}
void Join::enlist() { enter(job_->joiner); }

}  // namespace millrace
