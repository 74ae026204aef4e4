/* UDP echo: fstack-udp-echo [--conf config.ini] [--port 7]. */
#include <stdio.h>
#include <stdlib.h>

#include "common.h"
#include "ff_epoll.h"

static int set;

static int loop(void* unused) {
  (void)unused;
  struct epoll_event event;
  if (ff_epoll_wait(set, &event, 1, -1) != 1) return 0;
  static char datagram[65536];
  for (int i = 0; i < 64; ++i) {
    struct sockaddr_in6 from;
    socklen_t length = sizeof from;
    const ssize_t got =
        ff_recvfrom(event.data.fd, datagram, sizeof datagram, 0, (struct linux_sockaddr*)&from, &length);
    if (got < 0) break;
    if (ff_sendto(event.data.fd, datagram, (size_t)got, 0, (struct linux_sockaddr*)&from, length) != got) {
      perror("ff_sendto");
    }
  }
  return 0;
}

int main(int argc, char* argv[]) {
  ff_init(argc, argv);
  struct epoll_event event;
  event.events = EPOLLIN;
  event.data.fd = open_port(SOCK_DGRAM, port_of(argc, argv, 7));
  set = ff_epoll_create(0);
  if (ff_epoll_ctl(set, EPOLL_CTL_ADD, event.data.fd, &event) < 0) {
    perror("ff_epoll_ctl");
    return 1;
  }
  ff_run(loop, NULL);
  return 0;
}
