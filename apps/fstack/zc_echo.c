/* TCP echo with the zero-copy calls: what was received is read where it lies, and put into buffers that the stack sends
 * without a further copy. fstack-zc-echo [--conf config.ini] [--port 7]. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum { kEvents = 256, kAtATime = 1 << 16 };

/* What came and is not sent back yet, and where its next byte is. */
struct echo {
  struct ff_zc_mbuf held;
  int at;
};

static int queue;
static int listener;
static struct echo* connections; /* by descriptor */

/* Sends what is held: 1 all, 0 no room, -1 over. */
static int send_held(int fd, struct echo* e) {
  while (e->at < e->held.len) {
    struct ff_zc_mbuf out;
    const int left = e->held.len - e->at;
    if (ff_zc_mbuf_get(&out, left) < 0) return errno == ENOBUFS ? 0 : -1;
    void* piece;
    int bytes;
    e->held.off = e->at;
    while (ff_zc_mbuf_segment(&e->held, &piece, &bytes) > 0) ff_zc_mbuf_write(&out, piece, bytes);
    const ssize_t sent = ff_zc_send(fd, out.bsd_mbuf, (size_t)left);
    if (sent < 0) return errno == EAGAIN ? 0 : -1;
    e->at += (int)sent;
  }
  ff_zc_recv_free(&e->held);
  e->at = 0;
  return 1;
}

/* 1: wants input, 0: wants room, -1: over. */
static int go_on(int fd, struct echo* e) {
  for (;;) {
    if (e->held.bsd_mbuf != NULL) {
      const int sent = send_held(fd, e);
      if (sent <= 0) return sent;
    }
    const ssize_t got = ff_zc_recv(fd, &e->held, kAtATime);
    if (got == 0) return -1;
    if (got < 0) return errno == EAGAIN ? 1 : -1;
  }
}

static void serve(int fd) {
  struct echo* e = &connections[fd];
  switch (go_on(fd, e)) {
    case 1: watch_input(queue, fd); break;
    case 0: watch_room(queue, fd); break;
    default: ff_zc_recv_free(&e->held); ff_close(fd);
  }
}

static int loop(void* unused) {
  (void)unused;
  struct kevent events[kEvents];
  const int n = ff_kevent(queue, NULL, 0, events, kEvents, NULL);
  for (int i = 0; i < n; ++i) {
    const int fd = (int)events[i].ident;
    if (fd != listener) {
      if (ff_fdisused(fd)) serve(fd);
      continue;
    }
    for (int64_t waiting = events[i].data; waiting > 0; --waiting) {
      const int fresh = take_connection(queue, listener);
      if (fresh >= 0) memset(&connections[fresh], 0, sizeof connections[fresh]);
    }
  }
  return 0;
}

int main(int argc, char* argv[]) {
  ff_init(argc, argv);
  connections = calloc(kMaxConnections, sizeof *connections);
  queue = ff_kqueue();
  listener = open_port(SOCK_STREAM, port_of(argc, argv, 7));
  set_note(queue, listener, EVFILT_READ, EV_ADD);
  ff_run(loop, NULL);
  return 0;
}
