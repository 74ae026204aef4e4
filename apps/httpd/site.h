// What the server has to say: resources held in memory (built-in pages, refusals, files of a directory), the pattern
// behind /bytes/N, and the rule that turns a request into an answer. Nothing here changes after the start except the
// Date inside ready-made responses.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "httpd/request_reader.h"

namespace millrace::httpd {

/// Something with a body in memory.
struct Resource {
  uint16_t status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string headers;        ///< further header lines, each with its CRLF
  std::string last_modified;  ///< an HTTP-date; empty: none
  std::string body;

  // The whole response to a plain HTTP/1.1 GET, for bodies small enough to be copied; see response.h.
  std::string ready;
  size_t date_at = 0;       ///< where its Date stands
  uint32_t date_stamp = 0;  ///< which Date that is
};

/// The answer to one request. Plain data, so that equal requests can share it.
struct Plan {
  enum class Body : uint8_t { kResource, kPattern, kSum };
  uint16_t status = 200;
  Body body = Body::kResource;
  bool head_only = false;
  bool close = false;      ///< the connection ends behind this response
  bool keep_alive = false; ///< say so, to an HTTP/1.0 client
  bool linger = false;     ///< the request was not read to its end
  bool ready = false;      ///< resource->ready is the response
  Resource* resource = nullptr;
  uint64_t offset = 0;     ///< first byte of the body that is sent; with kSum its CRC-32
  uint64_t length = 0;     ///< bytes of the body that are sent; with kSum the bytes received
  uint64_t whole = 0;      ///< bytes of the whole body
};

/// Byte `i` of /bytes/N is i modulo this.
inline constexpr uint64_t kPatternPeriod = 251;
/// A contiguous piece of the pattern that starts at byte `offset`, at most 256 KiB.
[[nodiscard]] std::string_view pattern(uint64_t offset, uint64_t length);

class Site {
 public:
  /// `served_by` is shown on the front page.
  explicit Site(const std::string& served_by);

  /// Makes every file below `root` available; at most `limit` bytes in all. The text says what went wrong; empty: ok.
  [[nodiscard]] std::string load(const std::string& root, uint64_t limit);

  [[nodiscard]] Plan answer(const Request& request);
  /// The refusal with that status, which ends the connection.
  [[nodiscard]] Plan refusal(uint16_t status);

  [[nodiscard]] size_t files() const { return files_; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  void add(std::string path, Resource resource);
  void add_status(uint16_t status, std::string_view headers = {});
  Resource* find(std::string_view path);
  Plan status_plan(uint16_t status, const Request& request);
  Plan body_plan(const Request& request, Plan::Body body, Resource* resource, uint64_t whole);
  Plan bytes_plan(const Request& request, std::string_view count);

  std::unordered_map<std::string, std::unique_ptr<Resource>, Hash, std::equal_to<>> by_path_;
  std::unordered_map<uint16_t, std::unique_ptr<Resource>> by_status_;
  Resource pattern_;
  Resource sum_;
  size_t files_ = 0;
};

/// Path of a request target (RFC 9112 3.2), percent-decoded, without query; false if it is not a good one.
[[nodiscard]] bool decode_target(std::string_view target, std::string& path);

/// Reads one range of "bytes=..." (RFC 9110 14.1.2). False: not to be obeyed. A range that starts behind the end
/// gives length 0.
[[nodiscard]] bool read_range(std::string_view value, uint64_t whole, uint64_t& offset, uint64_t& length);

}  // namespace millrace::httpd
