#include "drivers/dpdk/stale_socket.h"

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace millrace::drivers::dpdk {
namespace {

/// 0 if somebody accepts connections there, else errno.
int try_connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  const int error = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  close(fd);
  return error == EAGAIN ? 0 : error;  // a full backlog is somebody listening
}

}  // namespace

runtime::Outcome<void> clear_stale_socket(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    const std::filesystem::path parent = std::filesystem::path(path).parent_path();
    std::error_code ignored;
    if (!parent.empty() && !std::filesystem::is_directory(parent, ignored)) {
      return runtime::failure(fmt::format("cannot make the socket {}: no directory {}", path, parent.string()));
    }
    return {};
  }
  if (!S_ISSOCK(info.st_mode)) {
    return runtime::failure(fmt::format("cannot make the socket {}: a file of that name exists", path));
  }
  const int error = try_connect(path);
  if (error == 0) {
    return runtime::failure(fmt::format("the socket {} is in use by another process", path),
                            "stop that process, or choose another path");
  }
  if (error != ECONNREFUSED) {
    return runtime::failure(fmt::format("cannot use the socket {}: {}", path, std::strerror(error)));
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return runtime::failure(fmt::format("cannot remove the stale socket {}: {}", path, std::strerror(errno)));
  }
  return {};
}

}  // namespace millrace::drivers::dpdk
