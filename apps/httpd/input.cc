// Input of HttpServer: from received pieces to requests. See server.h.
#include "httpd/server.h"

namespace millrace::httpd {

namespace {

/// Received pieces that one connection may take in one turn; then the others have theirs.
constexpr unsigned kPiecesPerTurn = 64;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void HttpServer::serve(Net& net, uint32_t slot) {
  if ((conns_[slot].flags & kLingering) != 0) return discard(net, slot);
  for (unsigned pieces = 0; pieces < kPiecesPerTurn; ++pieces) {
    Conn& conn = conns_[slot];
    std::string_view input;
    if (conn.work != nullptr && conn.work->held.token != 0) {
      current_ = std::exchange(conn.work->held, {});
      input = text_of(current_.data).substr(conn.work->held_at);
    } else {
      const auto borrowed = net.borrow(conn.handle);
      if (!borrowed) {
        if (borrowed.error() == Error::kWouldBlock) return settle(conn);
        ++counters_.failed;
        return drop(net, slot);
      }
      if (borrowed->end) return drop(net, slot);
      current_ = *borrowed;
      input = text_of(current_.data);
    }
    const Step step = consume(net, slot, input);
    if ((conn.flags & kOpen) == 0) return;
    const bool hold = step == Step::kStop && (conn.flags & kClosing) == 0 && !input.empty();
    if (hold) {
      conn.work->held_at = current_.data.size() - input.size();
      conn.work->held = std::exchange(current_, {});
      return;
    }
    net.release(std::exchange(current_, {}));
    if (step == Step::kStop) {
      if ((conn.flags & kLingering) != 0) discard(net, slot);
      return;
    }
  }
  put_off(net, slot);
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
    const auto borrowed = net.borrow(conns_[slot].handle);
    if (!borrowed && borrowed.error() == Error::kWouldBlock) return;
    if (!borrowed || borrowed->end) return drop(net, slot);
    net.release(*borrowed);
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
