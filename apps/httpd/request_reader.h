// Reads HTTP/1.x requests (RFC 9112) with the http-parser library, one at a time, over any number of pieces. The
// reader stops right behind a request, so what follows in the same piece is the next one.
#pragma once

#include <http_parser.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace millrace::httpd {

inline constexpr size_t kMaxHeadBytes = 16 * 1024;
inline constexpr size_t kMaxTargetBytes = 8 * 1000;  // RFC 9112 3: at least 8,000 octets
inline constexpr uint64_t kMaxBodyBytes = 1 << 20;   ///< of bodies that are read and ignored
/// A body sent here may have any size; it is counted and summed.
inline constexpr std::string_view kSumTarget = "/sum";

struct Request {
  uint16_t failure = 0;  ///< status to refuse it with; 0 = none
  http_method method = HTTP_GET;
  uint8_t minor = 1;      ///< HTTP/1.minor
  bool keep_alive = false;
  bool if_range = false;
  std::string target;
  std::string if_modified_since;
  std::string range;
  uint64_t body_bytes = 0;
  uint32_t body_crc = 0;  ///< CRC-32 of the body, for kSumTarget only
};

class RequestReader {
 public:
  enum class State : uint8_t { kMore, kComplete, kFailed };

  RequestReader();
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  /// Forgets everything; the next byte starts a request.
  void reset();
  /// Reads on; `consumed` is less than data.size() only behind a complete or failed request.
  State feed(std::string_view data, size_t& consumed);
  /// True once for a request whose client waits for "100 Continue" (RFC 9110 10.1.1) and shall have it.
  [[nodiscard]] bool take_continue() { return std::exchange(send_continue_, false); }
  /// What was read; whole once feed() said kComplete. After kFailed only `failure` counts.
  [[nodiscard]] const Request& request() const { return request_; }

 private:
  enum class Header : uint8_t { kOther, kHost, kIfModifiedSince, kRange, kIfRange, kExpect };

  static const http_parser_settings& callbacks();
  int on_url(std::string_view piece);
  int on_field(std::string_view piece);
  int on_value(std::string_view piece);
  int on_head();
  int on_body(std::string_view piece);
  int on_complete();
  int refuse(uint16_t status);

  http_parser parser_;
  Request request_;
  std::string field_;
  Header header_ = Header::kOther;
  bool in_value_ = false;
  bool complete_ = false;
  bool expects_continue_ = false;
  bool send_continue_ = false;
  bool sum_ = false;
  uint32_t hosts_ = 0;
};

}  // namespace millrace::httpd
