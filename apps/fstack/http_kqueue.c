/* An HTTP server over kqueue: fstack-http-kqueue [--conf config.ini] [--port 80]. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum { kEvents = 256 };

static int queue;
static int listener;
static struct http* connections; /* by descriptor */

static void watch(int fd, short filter, unsigned short flags) {
  struct kevent change;
  EV_SET(&change, fd, filter, flags, 0, 0, NULL);
  if (ff_kevent(queue, &change, 1, NULL, 0, NULL) < 0) perror("ff_kevent");
}

static void take_connections(int64_t waiting) {
  for (; waiting > 0; --waiting) {
    const int fd = ff_accept(listener, NULL, NULL);
    if (fd < 0) return;
    if (fd >= kMaxConnections) {
      ff_close(fd);
      continue;
    }
    memset(&connections[fd], 0, sizeof connections[fd]);
    watch(fd, EVFILT_READ, EV_ADD);
    watch(fd, EVFILT_WRITE, EV_ADD | EV_DISABLE);
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
        if (!was_writing) {
          watch(fd, EVFILT_READ, EV_DISABLE);
          watch(fd, EVFILT_WRITE, EV_ENABLE);
        }
        break;
      case kWantsInput:
        if (was_writing) {
          watch(fd, EVFILT_WRITE, EV_DISABLE);
          watch(fd, EVFILT_READ, EV_ENABLE);
        }
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
  watch(listener, EVFILT_READ, EV_ADD);
  ff_run(loop, NULL);
  return 0;
}
