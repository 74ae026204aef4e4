#include "service/attach.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "posix/apart.h"

namespace millrace::service {
namespace {

using runtime::failure;

constexpr timeval kPatience{5, 0};
constexpr size_t kDescriptors = 3;

struct Control {
  alignas(cmsghdr) char bytes[CMSG_SPACE(kDescriptors * sizeof(int))];
};

msghdr message_of(iovec& piece, Control& control) {
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  return message;
}

runtime::Failure reason(const Welcome& answer) {
  if (answer.magic != kMagic) return {"what listens there is not Millrace's service", {}};
  switch (static_cast<Verdict>(answer.verdict)) {
    case Verdict::kOtherVersion:
      return {"the service is of another version than this program", "restart millraced after an update"};
    case Verdict::kFull: return {"the service has as many programs as it takes", {}};
    case Verdict::kNoMemory: return {"the service has no memory for one more program", {}};
    default: return {"the service's access list does not name this user", "start millraced with --allow USER"};
  }
}

}  // namespace

runtime::Outcome<runtime::Descriptor> say_hello(const std::string& path, uint64_t parent) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return failure(fmt::format("service socket path '{}' has {} characters; expected 1 to {}", path, path.size(),
                               sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  runtime::Descriptor socket(posix::set_apart(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)));
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return failure("");
    return failure(fmt::format("cannot attach to the service at {}: {}", path, std::strerror(errno)),
                   errno == EACCES ? "its socket belongs to another user or group" : "");
  }
  const Hello hello{kMagic, kVersion, parent};
  if (send(socket.get(), &hello, sizeof hello, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello)) {
    return failure(fmt::format("the service at {} does not listen: {}", path, std::strerror(errno)));
  }
  return socket;
}

runtime::Outcome<Attachment> welcomed(runtime::Descriptor socket) {
  Welcome answer{};
  Control control{};
  iovec piece{&answer, sizeof answer};
  msghdr message = message_of(piece, control);
  const ssize_t n = recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC);
  int fds[kDescriptors] = {-1, -1, -1};
  for (cmsghdr* c = n > 0 ? CMSG_FIRSTHDR(&message) : nullptr; c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fds)) {
      std::memcpy(fds, CMSG_DATA(c), sizeof fds);
      for (int& fd : fds) fd = posix::set_apart(fd);
    }
  }
  runtime::Descriptor segment(fds[0]);
  runtime::Descriptor service_bell(fds[1]);
  runtime::Descriptor program_bell(fds[2]);
  if (n < 0) return failure(fmt::format("the service does not answer: {}", std::strerror(errno)));
  if (n == 0) return failure("the service closed the connection");
  if (n != static_cast<ssize_t>(sizeof answer) || answer.magic != kMagic || answer.verdict != 0 || !program_bell) {
    return tl::unexpected<runtime::Failure>(reason(answer));
  }
  auto mapped = Segment::map(std::move(segment));
  if (!mapped) return tl::unexpected<runtime::Failure>(mapped.error());
  return Attachment{std::move(socket), std::move(*mapped), std::move(service_bell), std::move(program_bell)};
}

runtime::Outcome<Attachment> attach(const std::string& path) {
  auto socket = say_hello(path, 0);
  if (!socket) return tl::unexpected<runtime::Failure>(socket.error());
  return welcomed(std::move(*socket));
}

bool welcome(int socket, Verdict verdict, const int (&descriptors)[3]) {
  Welcome answer{kMagic, kVersion, static_cast<uint32_t>(verdict), 0};
  Control control{};
  iovec piece{&answer, sizeof answer};
  msghdr message = message_of(piece, control);
  if (verdict == Verdict::kWelcome) {
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof descriptors);
    std::memcpy(CMSG_DATA(c), descriptors, sizeof descriptors);
  } else {
    message.msg_control = nullptr;
    message.msg_controllen = 0;
  }
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof answer);
}

bool take_hello(int socket, Hello& hello) {
  hello = {};
  Hello said{};
  const ssize_t n = recv(socket, &said, sizeof said, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n == static_cast<ssize_t>(sizeof said)) hello = said;
  return true;
}

}  // namespace millrace::service
