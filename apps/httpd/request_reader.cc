// See request_reader.h.
#include "httpd/request_reader.h"

#include <strings.h>
#include <zlib.h>

namespace millrace::httpd {

namespace {

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

uint16_t status_of(http_errno error) {
  switch (error) {
    case HPE_HEADER_OVERFLOW:
      return 431;
    case HPE_INVALID_METHOD:
      return 501;  // RFC 9110 9.1: an unrecognised method
    default:
      return 400;
  }
}

}  // namespace

RequestReader::RequestReader() {
  static const bool limited = (http_parser_set_max_header_size(kMaxHeadBytes), true);
  (void)limited;
  reset();
}

void RequestReader::reset() {
  http_parser_init(&parser_, HTTP_REQUEST);
  parser_.data = this;
  request_.failure = 0;
  request_.keep_alive = false;
  request_.if_range = false;
  request_.target.clear();
  request_.if_modified_since.clear();
  request_.range.clear();
  request_.body_bytes = 0;
  request_.body_crc = 0;
  field_.clear();
  in_value_ = complete_ = expects_continue_ = send_continue_ = sum_ = false;
  hosts_ = 0;
}

const http_parser_settings& RequestReader::callbacks() {
  static const http_parser_settings settings = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_url = [](http_parser* p, const char* at, size_t n) {
      return static_cast<RequestReader*>(p->data)->on_url({at, n});
    };
    s.on_header_field = [](http_parser* p, const char* at, size_t n) {
      return static_cast<RequestReader*>(p->data)->on_field({at, n});
    };
    s.on_header_value = [](http_parser* p, const char* at, size_t n) {
      return static_cast<RequestReader*>(p->data)->on_value({at, n});
    };
    s.on_headers_complete = [](http_parser* p) { return static_cast<RequestReader*>(p->data)->on_head(); };
    s.on_body = [](http_parser* p, const char* at, size_t n) {
      return static_cast<RequestReader*>(p->data)->on_body({at, n});
    };
    s.on_message_complete = [](http_parser* p) { return static_cast<RequestReader*>(p->data)->on_complete(); };
    return s;
  }();
  return settings;
}

RequestReader::State RequestReader::feed(std::string_view data, size_t& consumed) {
  consumed = http_parser_execute(&parser_, &callbacks(), data.data(), data.size());
  if (complete_) return State::kComplete;
  const http_errno error = HTTP_PARSER_ERRNO(&parser_);
  if (error == HPE_OK) return State::kMore;
  if (request_.failure == 0) request_.failure = status_of(error);
  return State::kFailed;
}

int RequestReader::refuse(uint16_t status) {
  request_.failure = status;
  return -1;
}

int RequestReader::on_url(std::string_view piece) {
  if (request_.target.size() + piece.size() > kMaxTargetBytes) return refuse(414);
  request_.target.append(piece);
  return 0;
}

int RequestReader::on_field(std::string_view piece) {
  if (in_value_) {
    field_.clear();
    in_value_ = false;
  }
  field_.append(piece);
  return 0;
}

int RequestReader::on_value(std::string_view piece) {
  if (!in_value_) {
    in_value_ = true;
    header_ = Header::kOther;
    if (same_name(field_, "host")) header_ = Header::kHost, ++hosts_;
    if (same_name(field_, "if-modified-since")) header_ = Header::kIfModifiedSince;
    if (same_name(field_, "range")) header_ = Header::kRange;
    if (same_name(field_, "if-range")) header_ = Header::kIfRange, request_.if_range = true;
    if (same_name(field_, "expect")) header_ = Header::kExpect, expects_continue_ = true;
  }
  if (header_ == Header::kIfModifiedSince) request_.if_modified_since.append(piece);
  if (header_ == Header::kRange) request_.range.append(piece);
  return 0;
}

int RequestReader::on_head() {
  request_.method = static_cast<http_method>(parser_.method);
  request_.minor = static_cast<uint8_t>(parser_.http_minor > 9 ? 9 : parser_.http_minor);
  if (parser_.http_major != 1) return refuse(505);
  // RFC 9112 3.2: exactly one Host in an HTTP/1.1 request.
  if (hosts_ > 1 || (hosts_ == 0 && parser_.http_minor >= 1)) return refuse(400);
  parser_.upgrade = 0;  // RFC 9110 7.8: Upgrade may be ignored
  const bool has_length = (parser_.flags & F_CONTENTLENGTH) != 0;
  sum_ = request_.target == kSumTarget && (request_.method == HTTP_POST || request_.method == HTTP_PUT);
  if (!sum_ && has_length && parser_.content_length > kMaxBodyBytes) return refuse(413);
  // A client that waits for "100 Continue" gets its final answer instead, unless the body is wanted.
  const bool reads = request_.method == HTTP_GET || request_.method == HTTP_HEAD;
  if (expects_continue_ && !sum_) return refuse(reads ? 417 : 405);
  send_continue_ = expects_continue_ && parser_.http_minor >= 1;
  return 0;
}

int RequestReader::on_body(std::string_view piece) {
  request_.body_bytes += piece.size();
  if (!sum_ && request_.body_bytes > kMaxBodyBytes) return refuse(413);
  if (sum_) {
    const auto* bytes = reinterpret_cast<const Bytef*>(piece.data());
    request_.body_crc = static_cast<uint32_t>(crc32_z(request_.body_crc, bytes, piece.size()));
  }
  return 0;
}

int RequestReader::on_complete() {
  request_.keep_alive = http_should_keep_alive(&parser_) != 0;
  complete_ = true;
  http_parser_pause(&parser_, 1);
  return 0;
}

}  // namespace millrace::httpd
