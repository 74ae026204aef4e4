// Errors as the numbers of errno.h: for whoever speaks to programs written for POSIX. The core does not know them.
#pragma once

#include <cerrno>

#include "millrace/result.h"

namespace millrace {

/// The errno number that Linux gives for it.
[[nodiscard]] inline int errno_of(Error error) {
  switch (error) {
    case Error::kWouldBlock: return EAGAIN;
    case Error::kInvalid: return EINVAL;
    case Error::kBadHandle: return EBADF;
    case Error::kNotConnected: return ENOTCONN;
    case Error::kAlreadyConnected: return EISCONN;
    case Error::kInProgress: return EINPROGRESS;
    case Error::kConnectionRefused: return ECONNREFUSED;
    case Error::kConnectionReset: return ECONNRESET;
    case Error::kConnectionAborted: return ECONNABORTED;
    case Error::kTimedOut: return ETIMEDOUT;
    case Error::kHostUnreachable: return EHOSTUNREACH;
    case Error::kNetUnreachable: return ENETUNREACH;
    case Error::kNetDown: return ENETDOWN;
    case Error::kAddressInUse: return EADDRINUSE;
    case Error::kAddressNotHere: return EADDRNOTAVAIL;
    case Error::kAlreadyExists: return EEXIST;
    case Error::kNotFound: return ENOENT;
    case Error::kBrokenPipe: return EPIPE;
    case Error::kNoMemory: return ENOMEM;
    case Error::kNoBuffers: return ENOBUFS;
    case Error::kTooMany: return ENFILE;
    case Error::kTooBig: return EMSGSIZE;
    case Error::kNotSupported: return EOPNOTSUPP;
    case Error::kPermission: return EPERM;
    case Error::kIo: return EIO;
  }
  return EIO;
}

}  // namespace millrace
