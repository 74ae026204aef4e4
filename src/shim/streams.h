// FILE * on sockets of ours.
#pragma once

#include <stdio.h>

#include "shim/next.h"

namespace millrace::shim {

/// stdin, stdout or stderr, if that is what the descriptor is for: it has become ours.
void adopt_standard_stream(int fd);
/// Before the sockets are closed at the end of the process: libc flushes later.
void flush_standard_streams();

}  // namespace millrace::shim
