// See site.h.
#include "httpd/site.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "httpd/response.h"

namespace millrace::httpd {

namespace {

constexpr uint64_t kPatternBuffer = 256 * 1024;

std::string front_page(const std::string& served_by) {
  return fmt::format(
      "<!doctype html>\n<html><head><title>Millrace</title></head>\n<body>\n<h1>Hello from Millrace</h1>\n"
      "<p>This page came to you over {}: TCP/IP in user space, beside the kernel.</p>\n"
      "<p>Try <a href=\"/small\">/small</a> (64 bytes) and <a href=\"/bytes/1000000\">/bytes/1000000</a>.</p>\n"
      "</body></html>\n",
      served_by);
}

bool read_number(std::string_view text, uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

std::string_view pattern(uint64_t offset, uint64_t length) {
  static const std::vector<char> buffer = [] {
    std::vector<char> bytes(kPatternBuffer + kPatternPeriod);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i % kPatternPeriod);
    return bytes;
  }();
  return {buffer.data() + offset % kPatternPeriod, std::min(length, kPatternBuffer)};
}

Site::Site(const std::string& served_by) {
  add("/", {.type = "text/html; charset=utf-8", .body = front_page(served_by)});
  add("/small", {.type = "text/plain", .body = "Millrace: sixty-four bytes, a small response for measuring.....\n"});
  const std::string allow = "Allow: GET, HEAD\r\n";
  for (const uint16_t status : {304, 400, 404, 408, 413, 414, 416, 417, 431, 501, 505}) add_status(status);
  add_status(405, allow);
  pattern_.type = "application/octet-stream";
  pattern_.headers = "Accept-Ranges: bytes\r\n";
}

void Site::add(std::string path, Resource resource) {
  auto held = std::make_unique<Resource>(std::move(resource));
  make_ready(*held);
  by_path_[std::move(path)] = std::move(held);
}

void Site::add_status(uint16_t status, std::string_view headers) {
  auto held = std::make_unique<Resource>();
  held->status = status;
  held->type = "text/plain";
  held->headers = headers;
  if (status != 304) held->body = fmt::format("{} {}\n", status, reason(status));
  by_status_[status] = std::move(held);
}

Resource* Site::find(std::string_view path) {
  const auto found = by_path_.find(path);
  return found == by_path_.end() ? nullptr : found->second.get();
}

Plan Site::status_plan(uint16_t status, const Request& request) {
  Resource* resource = by_status_.at(status).get();
  Plan plan = body_plan(request, Plan::Body::kResource, resource, resource->body.size());
  plan.status = status;
  return plan;
}

Plan Site::refusal(uint16_t status) {
  Resource* resource = by_status_.at(by_status_.contains(status) ? status : 400).get();
  const uint64_t bytes = resource->body.size();
  return {.status = resource->status, .close = true, .linger = true, .resource = resource, .length = bytes,
          .whole = bytes};
}

Plan Site::body_plan(const Request& request, Plan::Body body, Resource* resource, uint64_t whole) {
  Plan plan{.status = resource->status, .body = body, .resource = resource, .length = whole, .whole = whole};
  plan.head_only = request.method == HTTP_HEAD;
  plan.close = !request.keep_alive;
  plan.keep_alive = request.keep_alive && request.minor == 0;
  const bool plain = !plan.head_only && !plan.close && !plan.keep_alive;
  plan.ready = plain && body == Plan::Body::kResource && !resource->ready.empty();
  return plan;
}

Plan Site::bytes_plan(const Request& request, std::string_view count) {
  uint64_t bytes = 0;
  if (!read_number(count, bytes)) return status_plan(404, request);
  Plan plan = body_plan(request, Plan::Body::kPattern, &pattern_, bytes);
  if (request.method != HTTP_GET || request.range.empty() || request.if_range) return plan;
  if (!read_range(request.range, bytes, plan.offset, plan.length)) return plan;
  if (plan.length == 0) return status_plan(416, request);
  plan.status = 206;
  return plan;
}

Plan Site::answer(const Request& request) {
  if (request.target == kSumTarget && (request.method == HTTP_POST || request.method == HTTP_PUT)) {
    Plan plan = body_plan(request, Plan::Body::kSum, &sum_, request.body_bytes);
    plan.offset = request.body_crc;
    return plan;
  }
  if (request.method != HTTP_GET && request.method != HTTP_HEAD) return status_plan(405, request);
  std::string path;
  if (!decode_target(request.target, path)) return status_plan(400, request);
  constexpr std::string_view kBytes = "/bytes/";
  if (path.starts_with(kBytes)) return bytes_plan(request, std::string_view(path).substr(kBytes.size()));
  Resource* resource = find(path);
  if (resource == nullptr) return status_plan(404, request);
  if (!resource->last_modified.empty() && resource->last_modified == request.if_modified_since) {
    return status_plan(304, request);  // RFC 9110 13.1.3
  }
  Plan plan = body_plan(request, Plan::Body::kResource, resource, resource->body.size());
  const bool file = !resource->last_modified.empty();
  if (!file || request.method != HTTP_GET || request.range.empty() || request.if_range) return plan;
  if (!read_range(request.range, plan.whole, plan.offset, plan.length)) return plan;
  if (plan.length == 0) return status_plan(416, request);
  plan.status = 206;
  plan.ready = false;
  return plan;
}

bool decode_target(std::string_view target, std::string& path) {
  http_parser_url url;
  http_parser_url_init(&url);
  if (http_parser_parse_url(target.data(), target.size(), 0, &url) != 0) return false;
  if ((url.field_set & 1 << UF_PATH) == 0) {
    path = "/";
    return (url.field_set & 1 << UF_HOST) != 0;  // "http://host" (RFC 9112 3.2.1)
  }
  const std::string_view raw = target.substr(url.field_data[UF_PATH].off, url.field_data[UF_PATH].len);
  path.clear();
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '%') {
      path.push_back(raw[i]);
      continue;
    }
    uint8_t byte = 0;
    const char* first = raw.data() + i + 1;
    if (i + 2 >= raw.size() || std::from_chars(first, first + 2, byte, 16).ptr != first + 2 || byte == 0) return false;
    path.push_back(static_cast<char>(byte));
    i += 2;
  }
  return true;
}

bool read_range(std::string_view value, uint64_t whole, uint64_t& offset, uint64_t& length) {
  constexpr std::string_view kUnit = "bytes=";
  if (!value.starts_with(kUnit)) return false;
  value.remove_prefix(kUnit.size());
  const size_t dash = value.find('-');
  if (dash == std::string_view::npos || value.find(',') != std::string_view::npos) return false;
  uint64_t first = 0;
  uint64_t last = 0;
  const std::string_view tail = value.substr(dash + 1);
  if (dash == 0) {  // the last `last` bytes
    if (!read_number(tail, last)) return false;
    length = std::min(last, whole);
    offset = whole - length;
    return true;
  }
  if (!read_number(value.substr(0, dash), first)) return false;
  if (tail.empty()) last = UINT64_MAX;
  if (!tail.empty() && (!read_number(tail, last) || last < first)) return false;
  offset = std::min(first, whole);
  length = first >= whole ? 0 : std::min(last, whole - 1) - first + 1;
  return true;
}

}  // namespace millrace::httpd
