// FILE * on sockets of ours. libc's streams read and write by calls inside libc that nobody can replace, so a stream on
// a socket is one of cookies (fopencookie) whose functions are ours; fdopen() gives such, and stdin, stdout and stderr
// become such when their descriptor does. C++ keeps libc's first ones: std::cin and std::cout on a socket do not work.
#include "shim/streams.h"

#include <stdarg.h>
#include <stdio_ext.h>
#include <stdlib.h>

#include <array>

namespace millrace::shim {
namespace {

int number_of(void* cookie) { return static_cast<int>(reinterpret_cast<intptr_t>(cookie)); }

FILE* open_stream(int fd, const char* mode) {
  cookie_io_functions_t functions{};
  functions.read = [](void* cookie, char* into, size_t bytes) { return ::read(number_of(cookie), into, bytes); };
  functions.write = [](void* cookie, const char* from, size_t bytes) -> ssize_t {
    size_t done = 0;
    while (done < bytes) {
      const ssize_t n = ::write(number_of(cookie), from + done, bytes - done);
      if (n < 0) break;
      done += static_cast<size_t>(n);
    }
    return static_cast<ssize_t>(done);  // fewer: an error, as fopencookie(3) says
  };
  functions.seek = [](void*, off64_t*, int) {
    errno = ESPIPE;
    return -1;
  };
  functions.close = [](void* cookie) { return ::close(number_of(cookie)); };
  FILE* stream = fopencookie(reinterpret_cast<void*>(static_cast<intptr_t>(fd)), mode, functions);
  if (stream != nullptr) stream->_fileno = fd;  // for fileno(); streams of cookies do not look at it
  return stream;
}

struct Standard {
  FILE** variable;
  const char* mode;
};
std::array<bool, 3> replaced{};

Standard standard(int fd) {
  switch (fd) {
    case 0: return {&stdin, "r"};
    case 1: return {&stdout, "w"};
    default: return {&stderr, "w"};
  }
}

int print(int fd, const char* format, va_list list) {
  char* text = nullptr;
  const int length = vasprintf(&text, format, list);
  for (int done = 0; done < length;) {
    const ssize_t n = ::write(fd, text + done, static_cast<size_t>(length - done));
    if (n < 0) {
      const int why = errno;
      free(text);
      errno = why;
      return -1;
    }
    done += static_cast<int>(n);
  }
  if (length >= 0) free(text);
  return length;
}

}  // namespace

void adopt_standard_stream(int fd) {
  if (fd < 0 || fd > 2 || replaced[static_cast<size_t>(fd)]) return;
  const auto [variable, mode] = standard(fd);
  FILE* before = *variable;
  if (before == nullptr || before->_IO_read_ptr != before->_IO_read_end) return;  // it has read ahead
  FILE* stream = open_stream(fd, mode);
  if (stream == nullptr) return;
  if (const size_t waits = fd != 0 ? __fpending(before) : 0; waits != 0) {
    (void)fwrite_unlocked(before->_IO_write_base, 1, waits, stream);
    __fpurge(before);
  }
  if (fd == 2) setvbuf(stream, nullptr, _IONBF, 0);
  *variable = stream;
  replaced[static_cast<size_t>(fd)] = true;
}

void flush_standard_streams() {
  for (int fd = 1; fd <= 2; ++fd) {
    if (replaced[static_cast<size_t>(fd)]) (void)fflush_unlocked(*standard(fd).variable);
  }
}

MILLRACE_EXPORT(FILE*, fdopen, (int fd, const char* mode)) {
  if (owner_of(fd) != nullptr) return open_stream(fd, mode);
  return libcs<decltype(::fdopen)>("fdopen")(fd, mode);
}

MILLRACE_EXPORT(int, vdprintf, (int fd, const char* format, va_list list)) {
  if (owner_of(fd) != nullptr) return print(fd, format, list);
  return libcs<decltype(::vdprintf)>("vdprintf")(fd, format, list);
}

MILLRACE_EXPORT(int, dprintf, (int fd, const char* format, ...)) {
  va_list list;
  va_start(list, format);
  const int result = shim_vdprintf(fd, format, list);
  va_end(list);
  return result;
}

// The checks of these are of `%n` in writable memory; they are left out.
MILLRACE_EXPORT(int, __vdprintf_chk, (int fd, int, const char* format, va_list list)) {
  return shim_vdprintf(fd, format, list);
}

MILLRACE_EXPORT(int, __dprintf_chk, (int fd, int, const char* format, ...)) {
  va_list list;
  va_start(list, format);
  const int result = shim_vdprintf(fd, format, list);
  va_end(list);
  return result;
}

}  // namespace millrace::shim
