// Output of HttpServer: from plans to bytes that the stack has taken. See server.h.
#include <algorithm>
#include <cstring>

#include "httpd/server.h"

namespace millrace::httpd {

namespace {

/// Bytes of a body that one connection may write in one turn; then the others have theirs.
constexpr uint64_t kBodyPerTurn = 2 << 20;
constexpr uint64_t kBodyPerWrite = 256 * 1024;

std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// The next part of a body, at most `most` bytes.
std::string_view body_piece(const Plan& plan, uint64_t most) {
  if (plan.body == Plan::Body::kPattern) return pattern(plan.offset, most);
  return std::string_view(plan.resource->body).substr(plan.offset, most);
}

}  // namespace

void HttpServer::append(std::string_view text) {
  std::memcpy(batch_.data() + batch_bytes_, text.data(), text.size());
  batch_bytes_ += text.size();
}

HttpServer::Step HttpServer::respond(Net& net, uint32_t slot, const Plan& plan, bool more_input) {
  if (plan.ready) {
    const std::string_view text = ready_text(*plan.resource, date_);
    if (batch_bytes_ == 0 && !more_input) return send(net, slot, text, false);
    const bool full = batch_bytes_ + text.size() > batch_.size();
    const Step step = full ? flush(net, slot, true) : Step::kGoOn;
    if ((conns_[slot].flags & kOpen) == 0) return Step::kStop;
    append(text);
    return step == Step::kGoOn ? step : flush(net, slot, false);  // behind what waits already
  }
  const bool full = batch_bytes_ + kMaxResponseHead + kReadyBytes > batch_.size();
  Step step = full ? flush(net, slot, true) : Step::kGoOn;
  if ((conns_[slot].flags & kOpen) == 0) return Step::kStop;
  batch_bytes_ += append_head(batch_.data() + batch_bytes_, plan, date_);
  const bool no_body = plan.head_only || plan.length == 0 || plan.body == Plan::Body::kSum;
  const bool streams = !no_body && plan.length > kReadyBytes;
  if (!no_body && !streams) append(body_piece(plan, plan.length));
  if (streams || plan.close || step == Step::kStop) step = flush(net, slot, streams);
  if ((conns_[slot].flags & kOpen) == 0) return Step::kStop;
  if (streams) {
    work_of(conns_[slot]).body = plan;
    if (step == Step::kGoOn) step = stream(net, slot);
    if ((conns_[slot].flags & kOpen) == 0) return Step::kStop;
  }
  if (!plan.close) return step;
  return finish(net, slot, plan);
}

/// Hands the batch to the stack; what it does not take waits in the connection's Work.
HttpServer::Step HttpServer::flush(Net& net, uint32_t slot, bool more) {
  if (batch_bytes_ == 0) return Step::kGoOn;
  const std::string_view text(batch_.data(), std::exchange(batch_bytes_, 0));
  return send(net, slot, text, more);
}

HttpServer::Step HttpServer::send(Net& net, uint32_t slot, std::string_view text, bool more) {
  Conn& conn = conns_[slot];
  while (!text.empty() && (conn.flags & kBlocked) == 0) {
    const auto taken = net.write(conn.handle, bytes_of(text), more);
    if (taken) {
      text.remove_prefix(*taken);
    } else if (taken.error() == Error::kWouldBlock || taken.error() == Error::kNoBuffers) {
      block(net, slot, taken.error());
    } else {
      ++counters_.failed;
      drop(net, slot);
      return Step::kStop;
    }
  }
  if (text.empty()) return Step::kGoOn;
  work_of(conn).unsent.append(text);
  return Step::kStop;
}

/// The stack takes nothing now. Space in the send buffer comes with an event, memory of the stack does not.
void HttpServer::block(Net& net, uint32_t slot, Error why) {
  conns_[slot].flags |= kBlocked;
  if (why == Error::kNoBuffers) put_off(net, slot);
}

/// Writes on at the body in the connection's Work.
HttpServer::Step HttpServer::stream(Net& net, uint32_t slot) {
  Conn& conn = conns_[slot];
  Plan& body = conn.work->body;
  uint64_t left = kBodyPerTurn;
  while (body.length > 0) {
    if (left == 0) {
      conn.flags |= kBlocked;
      put_off(net, slot);
      return Step::kStop;
    }
    const uint64_t most = std::min({body.length, left, kBodyPerWrite});
    const std::string_view text = body_piece(body, most);
    const auto taken = net.write(conn.handle, bytes_of(text), body.length > text.size());
    if (!taken && (taken.error() == Error::kWouldBlock || taken.error() == Error::kNoBuffers)) {
      block(net, slot, taken.error());
      return Step::kStop;
    }
    if (!taken) {
      ++counters_.failed;
      drop(net, slot);
      return Step::kStop;
    }
    body.offset += *taken;
    body.length -= *taken;
    left -= *taken;
  }
  return Step::kGoOn;
}

/// Ends the connection behind its last response, at once or when all of it was taken.
HttpServer::Step HttpServer::finish(Net& net, uint32_t slot, const Plan& plan) {
  Conn& conn = conns_[slot];
  conn.flags |= kClosing;
  if ((conn.flags & kBlocked) != 0) {
    work_of(conn).body.linger = plan.linger;
    return Step::kStop;
  }
  if (plan.linger && net.shutdown(conn.handle)) {
    conn.flags |= kLingering;
  } else {
    drop(net, slot);
  }
  return Step::kStop;
}

/// Space came back: writes what waits, then answers the requests that waited behind it.
void HttpServer::drain(Net& net, uint32_t slot) {
  Conn& conn = conns_[slot];
  Work& work = *conn.work;
  conn.flags = static_cast<uint8_t>(conn.flags & ~kBlocked);
  if (!work.unsent.empty()) {
    const std::string waiting = std::exchange(work.unsent, {});
    if (send(net, slot, waiting, work.body.length > 0) == Step::kStop) return;
  }
  if (work.body.length > 0 && stream(net, slot) == Step::kStop) return;
  if ((conn.flags & kClosing) != 0) {
    const Plan plan = work.body;
    (void)finish(net, slot, plan);
    if ((conn.flags & kLingering) != 0) discard(net, slot);
    return;
  }
  serve(net, slot);
}

}  // namespace millrace::httpd
