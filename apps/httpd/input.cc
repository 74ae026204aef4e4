// Input of HttpServer: from received pieces to requests. See server.h.
#include "httpd/server.h"

namespace millrace::httpd {

namespace {

/// Times that one connection may take in one turn; then the others have theirs.
constexpr unsigned kPiecesPerTurn = 64;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void HttpServer::serve(Net& net, uint32_t slot) {
  if ((conns_[slot].flags & kLingering) != 0) return discard(net, slot);
  if (!serve_held(net, slot)) return;
  for (unsigned pieces = 0; pieces < kPiecesPerTurn; ++pieces) {
    Conn& conn = conns_[slot];
    const auto n = net.read(conn.handle, input_);
    if (!n && n.error() == Error::kWouldBlock) return settle(conn);
    if (!n || *n == 0) {
      if (!n) ++counters_.failed;
      return drop(net, slot);
    }
    std::string_view input = text_of(std::span(input_).first(*n));
    if (consume(net, slot, input) == Step::kStop) return keep(net, slot, input);
    if (*n < input_.size()) return settle(conn);  // that was all; what comes later has its own event
  }
  put_off(net, slot);
}

/// Answers what was read before and had to wait. Whether there may be more input to look at.
bool HttpServer::serve_held(Net& net, uint32_t slot) {
  Conn& conn = conns_[slot];
  if (conn.work == nullptr || conn.work->held.empty()) return true;
  const std::string held = std::exchange(conn.work->held, {});
  std::string_view input = held;
  if (consume(net, slot, input) == Step::kGoOn) return true;
  keep(net, slot, input);
  return false;
}

/// A response stopped the input: what is left of it waits.
void HttpServer::keep(Net& net, uint32_t slot, std::string_view rest) {
  Conn& conn = conns_[slot];
  if ((conn.flags & kOpen) == 0) return;
  if ((conn.flags & kLingering) != 0) {
    discard(net, slot);
  } else if ((conn.flags & kClosing) == 0) {
    work_of(conn).held.assign(rest);
  }
}

/// Answers the requests in `input` and takes them off it.
HttpServer::Step HttpServer::consume(Net& net, uint32_t slot, std::string_view& input) {
  while (!input.empty()) {
    const Conn& conn = conns_[slot];
    const bool reading = conn.work != nullptr && conn.work->reading;
    if (const Memo::Entry* known = reading ? nullptr : memo_.find(input)) {
      input.remove_prefix(known->bytes);
      ++counters_.requests;
      if (respond(net, slot, known->plan, !input.empty()) == Step::kStop) return Step::kStop;
    } else if (read_request(net, slot, input) == Step::kStop) {
      return Step::kStop;
    }
  }
  return flush(net, slot, false);
}

HttpServer::Step HttpServer::read_request(Net& net, uint32_t slot, std::string_view& input) {
  Conn& conn = conns_[slot];
  const std::string_view begin = input;
  Work& work = work_of(conn);
  const bool fresh = !work.reading;
  if (fresh) {
    work.reader.reset();
    work.reading = true;
    work.reading_since = time_of(net.now());
  }
  size_t consumed = 0;
  const auto state = work.reader.feed(input, consumed);
  input.remove_prefix(consumed);
  if (state == RequestReader::State::kMore) {
    if (!work.reader.take_continue()) return Step::kGoOn;
    append("HTTP/1.1 100 Continue\r\n\r\n");
    return flush(net, slot, false);
  }
  work.reading = false;
  if (state == RequestReader::State::kFailed) {
    ++counters_.refused;
    input = {};
    return respond(net, slot, site_.refusal(work.reader.request().failure), false);
  }
  ++counters_.requests;
  const Plan plan = site_.answer(work.reader.request());
  if (fresh && work.reader.request().body_bytes == 0 && plan.body != Plan::Body::kSum) {
    memo_.remember(begin.substr(0, consumed), plan);
  }
  settle(conn);
  return respond(net, slot, plan, !input.empty());
}

/// Reads and forgets what a client sends behind the last response, so that it gets to read that response: closing over
/// unread data would reset the connection (RFC 9112 9.6).
void HttpServer::discard(Net& net, uint32_t slot) {
  for (unsigned pieces = 0; pieces < kPiecesPerTurn; ++pieces) {
    const auto n = net.read(conns_[slot].handle, input_);
    if (!n && n.error() == Error::kWouldBlock) return;
    if (!n || *n == 0) return drop(net, slot);
  }
  put_off(net, slot);
}

/// Lets the other connections have their turn before this one goes on.
void HttpServer::put_off(Net&, uint32_t slot) {
  Work& work = work_of(conns_[slot]);
  if (work.again) return;
  work.again = true;
  again_.push_back(slot);
}

}  // namespace millrace::httpd
