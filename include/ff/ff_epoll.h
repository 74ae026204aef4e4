/* epoll for programs written for F-Stack: Linux's structures, constants and meaning, edges, one-shots and MOD included.
 * Inside the function given to ff_run() a wait returns at once, whatever its timeout; elsewhere it lasts as long as
 * asked. */
#pragma once

#include <sys/epoll.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A new set; `size` is not looked at. Close it with ff_close(). */
int ff_epoll_create(int size);
/* Only descriptors of the stack can be watched. */
int ff_epoll_ctl(int epfd, int op, int fd, struct epoll_event* event);
int ff_epoll_wait(int epfd, struct epoll_event* events, int maxevents, int timeout);

#ifdef __cplusplus
}
#endif
