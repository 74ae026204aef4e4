/* What the examples share: listeners on both families, and the pages that the two HTTP servers give. Each example is
 * one thread, one ff_run() loop. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ff_api.h"

enum { kMaxConnections = 65536 + 4096 };

/* The port after --port in the arguments, or `fallback`. */
int port_of(int argc, char* argv[], int fallback);
/* A socket of `type` that does not block, bound to `port` on all addresses of both families; ends the program if that
 * fails. A stream listens. */
int open_port(int type, int port);

/* One HTTP connection. GET /N answers with N bytes, the n-th of which is n modulo 251; anything else with a line. */
struct http {
  int open;
  size_t have; /* bytes in request */
  char request[1024];
  char head[128];
  size_t head_bytes;
  uint64_t body_bytes;
  uint64_t sent; /* of head and body */
  int answering;
  int last; /* the client wants no more after this one */
};

enum http_next { kWantsInput, kWantsRoom, kOver };

/* Goes on as far as it goes without waiting. */
enum http_next http_go_on(int fd, struct http* h);
