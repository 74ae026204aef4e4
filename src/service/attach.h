// The handshake of a program and the service, over a SOCK_SEQPACKET UNIX socket that stays open as long as both live:
// when one end goes, the other hears of it.
#pragma once

#include <string>

#include "runtime/descriptor.h"
#include "runtime/failure.h"
#include "service/segment.h"

namespace millrace::service {

inline constexpr const char* kDefaultPath = "/run/millrace/service";

/// A program's end.
struct Attachment {
  runtime::Descriptor socket;
  Segment segment;
  runtime::Descriptor service_bell;  ///< an eventfd: a write wakes the service
  runtime::Descriptor program_bell;  ///< the reading end of a pipe
};

/// Connects and says hello; the answer is left in the socket for welcomed(). No service: the failure's what is empty.
[[nodiscard]] runtime::Outcome<runtime::Descriptor> say_hello(const std::string& path, uint64_t parent);
/// Takes the service's answer.
[[nodiscard]] runtime::Outcome<Attachment> welcomed(runtime::Descriptor socket);
/// Both.
[[nodiscard]] runtime::Outcome<Attachment> attach(const std::string& path);

/// The service's part: sends `verdict`, with kWelcome the three descriptors. False: nobody hears it.
bool welcome(int socket, Verdict verdict, const int (&descriptors)[3]);
/// What a waiting program said; nothing: not yet. A hello of no sense has magic 0.
[[nodiscard]] bool take_hello(int socket, Hello& hello);

}  // namespace millrace::service
