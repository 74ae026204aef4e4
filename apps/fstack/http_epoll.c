/* The same HTTP server over epoll: fstack-http-epoll [--conf config.ini] [--port 80]. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "ff_epoll.h"

enum { kEvents = 256 };

static int set;
static int listener;
static struct http* connections; /* by descriptor */

static void watch(int fd, int op, uint32_t events) {
  struct epoll_event event;
  memset(&event, 0, sizeof event);
  event.events = events;
  event.data.fd = fd;
  if (ff_epoll_ctl(set, op, fd, &event) < 0) perror("ff_epoll_ctl");
}

static void take_connections(void) {
  for (;;) {
    const int fd = ff_accept(listener, NULL, NULL); /* does not block, like its listener */
    if (fd < 0) return;
    if (fd >= kMaxConnections) {
      ff_close(fd);
      continue;
    }
    memset(&connections[fd], 0, sizeof connections[fd]);
    watch(fd, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  }
}

static int loop(void* unused) {
  (void)unused;
  struct epoll_event events[kEvents];
  const int n = ff_epoll_wait(set, events, kEvents, -1);
  for (int i = 0; i < n; ++i) {
    const int fd = events[i].data.fd;
    if (fd == listener) {
      take_connections();
    } else if (http_go_on(fd, &connections[fd]) == kOver) {
      ff_close(fd); /* leaves the set too */
    }
  }
  return 0;
}

int main(int argc, char* argv[]) {
  ff_init(argc, argv);
  connections = calloc(kMaxConnections, sizeof *connections);
  set = ff_epoll_create(0);
  listener = open_port(SOCK_STREAM, port_of(argc, argv, 80));
  watch(listener, EPOLL_CTL_ADD, EPOLLIN);
  ff_run(loop, NULL);
  return 0;
}
