// Heads of responses (RFC 9110, RFC 9112) and the Date in them.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

#include "httpd/site.h"
#include "millrace/time.h"

namespace millrace::httpd {

/// Bodies up to this size are sent together with their head in one write.
inline constexpr size_t kReadyBytes = 8 * 1024;
/// Room that append_head() may need.
inline constexpr size_t kMaxResponseHead = 16 * 1024;

[[nodiscard]] std::string_view reason(uint16_t status);
/// RFC 9110 5.6.7, 29 bytes.
[[nodiscard]] std::string http_date(std::time_t when);

/// The current Date, computed again when about a second has passed.
class DateClock {
 public:
  void refresh(Instant now) {
    const auto stamp = static_cast<uint32_t>(now.ns() >> 30) + 1;
    if (stamp != stamp_) renew(stamp);
  }
  [[nodiscard]] std::string_view text() const { return text_; }
  /// Changes with the text; never 0.
  [[nodiscard]] uint32_t stamp() const { return stamp_; }

 private:
  void renew(uint32_t stamp);
  uint32_t stamp_ = 0;
  std::string text_ = http_date(0);
};

/// Fills Resource::ready if its body is small enough.
void make_ready(Resource& resource);
/// resource.ready with the Date of `clock` in it.
[[nodiscard]] std::string_view ready_text(Resource& resource, const DateClock& clock);
/// Writes the head of `plan`, and for Plan::Body::kSum the body too, at `to`; returns the bytes written.
[[nodiscard]] size_t append_head(char* to, const Plan& plan, const DateClock& clock);

}  // namespace millrace::httpd
