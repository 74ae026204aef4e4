#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "ff_config.h"

enum { kPeriod = 251, kPattern = 64 * kPeriod };

int port_of(int argc, char* argv[], int fallback) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (strcmp(argv[i], "--port") == 0) return atoi(argv[i + 1]);
  }
  return fallback;
}

static void must(int ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

int open_port(int type, int port) {
  int fd = ff_socket(AF_INET6, type, 0);
  must(fd >= 0, "ff_socket");
  int on = 1;
  must(ff_ioctl(fd, FIONBIO, &on) == 0, "ff_ioctl");
  must(ff_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0, "ff_setsockopt");
  struct sockaddr_in6 all;
  memset(&all, 0, sizeof all);
  all.sin6_family = AF_INET6;
  all.sin6_port = htons((uint16_t)port);
  must(ff_bind(fd, (const struct linux_sockaddr*)&all, sizeof all) == 0, "ff_bind");
  if (type == SOCK_STREAM) must(ff_listen(fd, 1024) == 0, "ff_listen");
  return fd;
}

static const char* pattern(void) {
  static char bytes[kPattern];
  if (bytes[1] == 0) {
    for (int i = 0; i < kPattern; ++i) bytes[i] = (char)(i % kPeriod);
  }
  return bytes;
}

/* Reads a request's head, if it is whole: bytes that it takes, 0 if not, or -1. */
static long take_request(struct http* h) {
  h->request[h->have] = 0;
  char* end = strstr(h->request, "\r\n\r\n");
  if (end == NULL) return h->have == sizeof h->request - 1 ? -1 : 0;
  if (strncmp(h->request, "GET /", 5) != 0) return -1;
  h->body_bytes = strtoull(h->request + 5, NULL, 10);
  h->last = strstr(h->request, "Connection: close") != NULL;
  h->head_bytes =
      (size_t)snprintf(h->head, sizeof h->head, "HTTP/1.1 200 OK\r\nX-Process: %d\r\nContent-Length: %llu\r\n\r\n",
                       ff_global_cfg.dpdk.proc_id, (unsigned long long)h->body_bytes);
  h->sent = 0;
  h->answering = 1;
  return end + 4 - h->request;
}

/* 1: all of the answer is with the stack; 0: no room; -1: over. */
static int answer(int fd, struct http* h) {
  const uint64_t whole = h->head_bytes + h->body_bytes;
  while (h->sent < whole) {
    struct iovec parts[2];
    int n = 0;
    if (h->sent < h->head_bytes) {
      parts[n].iov_base = h->head + h->sent;
      parts[n++].iov_len = h->head_bytes - h->sent;
    }
    const uint64_t at = h->sent > h->head_bytes ? h->sent - h->head_bytes : 0;
    const uint64_t left = h->body_bytes - at;
    const size_t offset = at % kPeriod;
    if (left != 0) {
      parts[n].iov_base = (char*)pattern() + offset;
      parts[n++].iov_len = left < kPattern - offset ? left : kPattern - offset;
    }
    const ssize_t sent = ff_writev(fd, parts, n);
    if (sent < 0) return errno == EAGAIN ? 0 : -1;
    h->sent += (uint64_t)sent;
  }
  h->answering = 0;
  return 1;
}

enum http_next http_go_on(int fd, struct http* h) {
  for (;;) {
    if (h->answering) {
      const int done = answer(fd, h);
      if (done < 0) return kOver;
      if (done == 0) return kWantsRoom;
      if (h->last) return kOver;
    }
    const long taken = take_request(h);
    if (taken < 0) return kOver;
    if (taken > 0) {
      h->have -= (size_t)taken;
      memmove(h->request, h->request + taken, h->have);
      continue;
    }
    const ssize_t got = ff_read(fd, h->request + h->have, sizeof h->request - 1 - h->have);
    if (got == 0) return kOver;
    if (got < 0) return errno == EAGAIN ? kWantsInput : kOver;
    h->have += (size_t)got;
  }
}

void set_note(int queue, int fd, short filter, unsigned short flags) {
  struct kevent change;
  EV_SET(&change, fd, filter, flags, 0, 0, NULL);
  if (ff_kevent(queue, &change, 1, NULL, 0, NULL) < 0) perror("ff_kevent");
}

int take_connection(int queue, int listener) {
  const int fd = ff_accept(listener, NULL, NULL);
  if (fd < 0) return -1;
  if (fd >= kMaxConnections) {
    ff_close(fd);
    return -1;
  }
  set_note(queue, fd, EVFILT_READ, EV_ADD);
  set_note(queue, fd, EVFILT_WRITE, EV_ADD | EV_DISABLE);
  return fd;
}

void watch_input(int queue, int fd) {
  set_note(queue, fd, EVFILT_WRITE, EV_DISABLE);
  set_note(queue, fd, EVFILT_READ, EV_ENABLE);
}

void watch_room(int queue, int fd) {
  set_note(queue, fd, EVFILT_READ, EV_DISABLE);
  set_note(queue, fd, EVFILT_WRITE, EV_ENABLE);
}
