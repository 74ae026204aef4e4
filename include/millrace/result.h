// Errors as values. Every fallible public function returns Result<T>; an Error names the condition as POSIX does,
// and is translated to an errno number once, at the edge of the program that needs one.
#pragma once

#include <cstdint>
#include <tl/expected.hpp>

namespace millrace {

enum class Error : uint8_t {
  kWouldBlock,         // EAGAIN
  kInvalid,            // EINVAL
  kBadHandle,          // EBADF: the handle is stale or was never given out
  kNotConnected,       // ENOTCONN
  kAlreadyConnected,   // EISCONN
  kInProgress,         // EINPROGRESS
  kConnectionRefused,  // ECONNREFUSED
  kConnectionReset,    // ECONNRESET
  kConnectionAborted,  // ECONNABORTED
  kTimedOut,           // ETIMEDOUT
  kHostUnreachable,    // EHOSTUNREACH
  kNetUnreachable,     // ENETUNREACH
  kNetDown,            // ENETDOWN
  kAddressInUse,       // EADDRINUSE
  kAddressNotHere,     // EADDRNOTAVAIL
  kAlreadyExists,      // EEXIST
  kNotFound,           // ENOENT, ESRCH
  kBrokenPipe,         // EPIPE
  kNoMemory,           // ENOMEM
  kNoBuffers,          // ENOBUFS
  kTooMany,            // ENFILE: a table is at its limit
  kTooBig,             // EMSGSIZE
  kNotSupported,       // EOPNOTSUPP
  kPermission,         // EPERM
  kIo,                 // EIO: a device failed
};

/// A short sentence for people, e.g. "connection refused".
[[nodiscard]] const char* describe(Error error);

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(error); }

}  // namespace millrace
