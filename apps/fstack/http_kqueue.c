/* An HTTP server over kqueue: fstack-http-kqueue [--conf config.ini] [--port 80]. */
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum { kEvents = 256 };

static int queue;
static int listener;
static struct http* connections; /* by descriptor */

static void take_connections(int64_t waiting) {
  for (; waiting > 0; --waiting) {
    const int fd = take_connection(queue, listener);
    if (fd >= 0) memset(&connections[fd], 0, sizeof connections[fd]);
  }
}

static int loop(void* unused) {
  (void)unused;
  struct kevent events[kEvents];
  const int n = ff_kevent(queue, NULL, 0, events, kEvents, NULL);
  for (int i = 0; i < n; ++i) {
    const int fd = (int)events[i].ident;
    if (fd == listener) {
      take_connections(events[i].data);
      continue;
    }
    if (!ff_fdisused(fd)) continue; /* closed for an earlier event of this round */
    const int was_writing = connections[fd].answering;
    switch (http_go_on(fd, &connections[fd])) {
      case kOver: ff_close(fd); break;
      case kWantsRoom:
        if (!was_writing) watch_room(queue, fd);
        break;
      case kWantsInput:
        if (was_writing) watch_input(queue, fd);
        break;
    }
  }
  return 0;
}

int main(int argc, char* argv[]) {
  ff_init(argc, argv);
  connections = calloc(kMaxConnections, sizeof *connections);
  queue = ff_kqueue();
  listener = open_port(SOCK_STREAM, port_of(argc, argv, 80));
  set_note(queue, listener, EVFILT_READ, EV_ADD);
  ff_run(loop, NULL);
  return 0;
}
