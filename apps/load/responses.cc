// What the Generator does with received bytes. See generator.h.
#include "load/generator.h"

namespace millrace::load {

namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ErrorKind kind_of(Fault fault) {
  switch (fault) {
    case Fault::kStatus:
      return ErrorKind::kStatus;
    case Fault::kLength:
      return ErrorKind::kLength;
    case Fault::kContent:
      return ErrorKind::kContent;
    default:
      return ErrorKind::kSyntax;
  }
}

}  // namespace

void Generator::receive(Net& net, uint32_t i) {
  const Handle handle = conns_[i].handle;
  while (conns_[i].state == kOpen) {
    Error error = Error::kWouldBlock;
    bool end = false;
    if (bulk_) {
      const auto piece = net.borrow(handle);
      if (!piece) error = piece.error();
      end = piece && piece->end;
      if (piece && !end) {
        const bool good = take(net, i, text_of(piece->data));
        net.release(*piece);
        if (!good) return;
        continue;
      }
    } else {
      const auto n = net.read(handle, buffer_);
      if (!n) error = n.error();
      end = n && *n == 0;
      if (n && !end) {
        if (!take(net, i, text_of({buffer_.data(), *n}))) return;
        if (*n < buffer_.size()) return;  // that was all; what comes later has its own event
        continue;
      }
    }
    if (end) return broken(net, i, ErrorKind::kEnded);
    if (error != Error::kWouldBlock) return broken(net, i, ErrorKind::kReset);
    return;
  }
}

/// False: the connection is gone.
bool Generator::take(Net& net, uint32_t i, std::string_view data) {
  last_progress_ = machine_.cycles();
  return options_.mode == Mode::kHttp ? take_http(net, i, data) : take_echo(net, i, data);
}

bool Generator::take_http(Net& net, uint32_t i, std::string_view data) {
  while (!data.empty()) {
    Conn& conn = conns_[i];
    if (conn.outstanding == 0) {
      broken(net, i, ErrorKind::kSyntax);  // nobody asked for this
      return false;
    }
    const ResponseChecker::Outcome got = checker_.feed(i, conn.response, data);
    if (got.fault != Fault::kNone) {
      broken(net, i, kind_of(got.fault));
      return false;
    }
    if (phase_ == Phase::kMeasure) report_.body_bytes += got.body_bytes;
    data.remove_prefix(got.consumed);
    if (got.complete) answered(i, last_progress_);
    if (got.complete && options_.requests_per_connection == conn.answered && conn.answered != 0) {
      end_connection(net, i);
      open_more(net);
      if (!reopen_.empty()) arm(net);
      return false;
    }
  }
  next_request(net, i, last_progress_);
  return conns_[i].state == kOpen;
}

bool Generator::take_echo(Net& net, uint32_t i, std::string_view data) {
  while (!data.empty()) {
    Conn& conn = conns_[i];
    if (conn.rx_left == 0) conn.rx_left = options_.size;
    const std::string_view want = pattern_piece(conn.rx_at, std::min<uint64_t>(conn.rx_left, data.size()));
    if (conn.outstanding == 0 || data.substr(0, want.size()) != want) {
      broken(net, i, ErrorKind::kContent);
      return false;
    }
    if (phase_ == Phase::kMeasure) report_.body_bytes += want.size();
    data.remove_prefix(want.size());
    conn.rx_at = static_cast<uint16_t>((conn.rx_at + want.size()) % 251);
    conn.rx_left -= static_cast<uint32_t>(want.size());
    if (conn.rx_left == 0) answered(i, last_progress_);
    if (conn.rx_left == 0 && options_.requests_per_connection == conn.answered && conn.answered != 0) {
      end_connection(net, i);
      open_more(net);
      if (!reopen_.empty()) arm(net);
      return false;
    }
  }
  next_request(net, i, last_progress_);
  return conns_[i].state == kOpen;
}

/// Takes note of a whole response.
void Generator::answered(uint32_t i, uint64_t now) {
  Conn& conn = conns_[i];
  const uint64_t began = time_slot(i, conn.first);
  if (options_.pipeline > 1) conn.first = static_cast<uint16_t>((conn.first + 1) % options_.pipeline);
  --conn.outstanding;
  --in_flight_;
  ++conn.answered;
  if (by_idle()) idle_.push_back(i);
  if (phase_ != Phase::kMeasure) return;
  ++report_.responses;
  report_.latency.record(now > began ? now - began : 0);
}

}  // namespace millrace::load
