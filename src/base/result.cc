#include "millrace/result.h"

namespace millrace {

const char* describe(Error error) {
  switch (error) {
    case Error::kWouldBlock: return "operation would block";
    case Error::kInvalid: return "invalid argument";
    case Error::kBadHandle: return "stale or unknown handle";
    case Error::kNotConnected: return "not connected";
    case Error::kAlreadyConnected: return "already connected";
    case Error::kInProgress: return "operation in progress";
    case Error::kConnectionRefused: return "connection refused";
    case Error::kConnectionReset: return "connection reset by peer";
    case Error::kConnectionAborted: return "connection aborted";
    case Error::kTimedOut: return "timed out";
    case Error::kHostUnreachable: return "no route to host";
    case Error::kNetUnreachable: return "network unreachable";
    case Error::kNetDown: return "network is down";
    case Error::kAddressInUse: return "address already in use";
    case Error::kAddressNotHere: return "address not assigned here";
    case Error::kAlreadyExists: return "already exists";
    case Error::kNotFound: return "not found";
    case Error::kBrokenPipe: return "broken pipe";
    case Error::kNoMemory: return "out of memory";
    case Error::kNoBuffers: return "no buffers left";
    case Error::kTooMany: return "table full";
    case Error::kTooBig: return "message too long";
    case Error::kNotSupported: return "not supported";
    case Error::kPermission: return "permission denied";
    case Error::kIo: return "device failure";
  }
  return "unknown error";
}

}  // namespace millrace
