// See response.h.
#include "httpd/response.h"

#include <fmt/format.h>

#include <cstring>

namespace millrace::httpd {

std::string_view reason(uint16_t status) {
  switch (status) {
#define X(number, name, text) \
  case number:                \
    return #text;
    HTTP_STATUS_MAP(X)
#undef X
    default:
      return "Unknown";
  }
}

std::string http_date(std::time_t when) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm t{};
  gmtime_r(&when, &t);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[t.tm_wday], t.tm_mday, kMonths[t.tm_mon],
                     t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

void DateClock::renew(uint32_t stamp) {
  stamp_ = stamp;
  text_ = http_date(std::time(nullptr));
}

void make_ready(Resource& resource) {
  if (resource.body.size() > kReadyBytes || resource.headers.size() > 1024) return;
  const DateClock clock;
  const Plan plan{.status = resource.status, .resource = &resource, .length = resource.body.size(),
                  .whole = resource.body.size()};
  resource.ready.resize(kMaxResponseHead);
  resource.ready.resize(append_head(resource.ready.data(), plan, clock));
  resource.date_at = resource.ready.find("Date: ") + 6;
  resource.ready += resource.body;
}

std::string_view ready_text(Resource& resource, const DateClock& clock) {
  if (resource.date_stamp != clock.stamp()) {
    resource.date_stamp = clock.stamp();
    std::memcpy(resource.ready.data() + resource.date_at, clock.text().data(), clock.text().size());
  }
  return resource.ready;
}

size_t append_head(char* to, const Plan& plan, const DateClock& clock) {
  const Resource& resource = *plan.resource;
  char* end = fmt::format_to(to, "HTTP/1.1 {} {}\r\nServer: millrace\r\nDate: {}\r\n", plan.status, reason(plan.status),
                             clock.text());
  char sum[64];
  size_t sum_bytes = 0;
  uint64_t length = plan.length;
  if (plan.body == Plan::Body::kSum) {
    sum_bytes = static_cast<size_t>(fmt::format_to(sum, "{} {:08x}\n", plan.whole, plan.offset) - sum);
    length = sum_bytes;
  }
  // RFC 9110 8.6, 15.4.5: 304 has no body and describes none here.
  if (plan.status != 304) {
    end = fmt::format_to(end, "Content-Type: {}\r\nContent-Length: {}\r\n", resource.type, length);
  }
  if (plan.status == 206) {
    end = fmt::format_to(end, "Content-Range: bytes {}-{}/{}\r\n", plan.offset, plan.offset + plan.length - 1,
                         plan.whole);
  }
  if (!resource.last_modified.empty()) end = fmt::format_to(end, "Last-Modified: {}\r\n", resource.last_modified);
  if (plan.close) end = fmt::format_to(end, "Connection: close\r\n");
  if (plan.keep_alive) end = fmt::format_to(end, "Connection: keep-alive\r\n");
  end = fmt::format_to(end, "{}\r\n", resource.headers);
  if (sum_bytes != 0) {
    std::memcpy(end, sum, sum_bytes);
    end += sum_bytes;
  }
  return static_cast<size_t>(end - to);
}

}  // namespace millrace::httpd
