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

/* A change of one note of `queue`. */
void set_note(int queue, int fd, short filter, unsigned short flags);
/* The next connection of `listener`, watched for input, with its note for room disabled; -1 if there is none or too
 * many are open. */
int take_connection(int queue, int listener);
/* Which of the two notes is enabled. */
void watch_input(int queue, int fd);
void watch_room(int queue, int fd);

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
