// Files of a directory as resources. They are read once, at the start: requests then touch no file system, and a
// request can name nothing that is not in the table, so there is no path to climb out of.
#include <fmt/format.h>

#include <array>
#include <cctype>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>

#include "httpd/response.h"
#include "httpd/site.h"

namespace millrace::httpd {

namespace {

namespace fs = std::filesystem;

std::string_view type_of(const fs::path& file) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 20> kTypes = {{
      {".html", "text/html; charset=utf-8"}, {".htm", "text/html; charset=utf-8"},
      {".css", "text/css"}, {".js", "text/javascript"}, {".mjs", "text/javascript"},
      {".json", "application/json"}, {".txt", "text/plain; charset=utf-8"}, {".md", "text/markdown; charset=utf-8"},
      {".xml", "application/xml"}, {".svg", "image/svg+xml"}, {".png", "image/png"}, {".jpg", "image/jpeg"},
      {".jpeg", "image/jpeg"}, {".gif", "image/gif"}, {".webp", "image/webp"}, {".ico", "image/x-icon"},
      {".woff2", "font/woff2"}, {".wasm", "application/wasm"}, {".pdf", "application/pdf"}, {".gz", "application/gzip"},
  }};
  const std::string extension = file.extension().string();
  for (const auto& [ending, type] : kTypes) {
    if (ending == extension) return type;
  }
  return "application/octet-stream";
}

/// Whether `file`, links followed, still lies below `root`.
bool below(const fs::path& root, const fs::path& file) {
  std::error_code error;
  const fs::path real = fs::canonical(file, error);
  if (error) return false;
  const fs::path relative = real.lexically_relative(root);
  return !relative.empty() && *relative.begin() != "..";
}

/// RFC 3986 2.1
std::string percent_encode(const std::string& path) {
  std::string text;
  for (const char c : path) {
    const bool plain =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("/-._~").find(c) != std::string_view::npos;
    text += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return text;
}

}  // namespace

std::string Site::load(const std::string& root, uint64_t limit) {
  std::error_code error;
  const fs::path top = fs::canonical(root, error);
  if (error || !fs::is_directory(top)) {
    return fmt::format("cannot serve '{}': it is not a directory that can be read", root);
  }
  uint64_t bytes = 0;
  fs::recursive_directory_iterator walk(top, fs::directory_options::skip_permission_denied, error);
  for (; !error && walk != fs::recursive_directory_iterator(); walk.increment(error)) {
    const fs::path& file = walk->path();
    struct stat info {};
    if (!below(top, file) || ::stat(file.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    bytes += static_cast<uint64_t>(info.st_size);
    if (bytes > limit) {
      return fmt::format("the files below '{}' are larger than {} MiB in all (see --root-limit)", root, limit >> 20);
    }
    std::ifstream in(file, std::ios::binary);
    Resource resource;
    resource.type = type_of(file);
    resource.headers = "Accept-Ranges: bytes\r\n";
    resource.last_modified = http_date(info.st_mtime);
    resource.body.assign(std::istreambuf_iterator<char>(in), {});
    if (!in) return fmt::format("cannot read '{}'", file.string());
    const std::string path = "/" + file.lexically_relative(top).string();
    ++files_;
    if (file.filename() == "index.html") {
      const std::string directory = path.substr(0, path.size() - file.filename().string().size());
      add(directory, resource);
      if (directory.size() > 1) {
        const std::string location = fmt::format("Location: {}\r\n", percent_encode(directory));
        add(directory.substr(0, directory.size() - 1),
            {.status = 301, .type = "text/plain", .headers = location, .body = "moved\n"});
      }
    }
    add(path, std::move(resource));
  }
  return error ? fmt::format("cannot read the files below '{}': {}", root, error.message()) : std::string();
}

}  // namespace millrace::httpd
