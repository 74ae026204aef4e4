/* Event queues of FreeBSD for programs written for F-Stack: the structure, filters and flags of kqueue(2). The calls
 * are in ff_api.h. Filters that are named but not served answer EINVAL: docs/FSTACK.md. */
#pragma once

#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One change, or one event. */
struct kevent {
  uintptr_t ident;      /* a descriptor, or the program's own name for a timer or user event */
  short filter;         /* EVFILT_* */
  unsigned short flags; /* EV_* */
  unsigned int fflags;  /* NOTE_* */
  int64_t data;         /* bytes, connections, expiries, an errno number */
  void* udata;          /* comes back as it was last given */
  uint64_t ext[4];
};

/* Filters. */
#define EVFILT_SYSCOUNT 13
#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_TIMER (-7)
#define EVFILT_USER (-11)
/* Of other kinds of objects than this stack has. */
#define EVFILT_AIO (-3)
#define EVFILT_VNODE (-4)
#define EVFILT_PROC (-5)
#define EVFILT_SIGNAL (-6)
#define EVFILT_PROCDESC (-8)
#define EVFILT_FS (-9)
#define EVFILT_LIO (-10)
#define EVFILT_SENDFILE (-12)
#define EVFILT_EMPTY (-13)

/* What a change does. */
#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_ENABLE 0x0004
#define EV_DISABLE 0x0008
#define EV_FORCEONESHOT 0x0100
/* How a note behaves. */
#define EV_ONESHOT 0x0010
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_DISPATCH 0x0080
/* The system's own. */
#define EV_SYSFLAGS 0xF000
#define EV_DROP 0x1000
#define EV_FLAG1 0x2000
#define EV_FLAG2 0x4000
/* What an event says. */
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

/* fflags of EVFILT_READ and EVFILT_WRITE. */
#define NOTE_LOWAT 0x0001
#define NOTE_FILE_POLL 0x0002

/* fflags of EVFILT_TIMER: the unit of data, milliseconds if none is given. */
#define NOTE_SECONDS 0x00000001
#define NOTE_MSECONDS 0x00000002
#define NOTE_USECONDS 0x00000004
#define NOTE_NSECONDS 0x00000008
#define NOTE_ABSTIME 0x00000010

/* fflags of EVFILT_USER. */
#define NOTE_TRIGGER 0x01000000
#define NOTE_FFLAGSMASK 0x00ffffff
#define NOTE_FFCTRLMASK 0xc0000000
#define NOTE_FFNOP 0x00000000
#define NOTE_FFAND 0x40000000
#define NOTE_FFOR 0x80000000
#define NOTE_FFCOPY 0xc0000000

/* fflags of filters that are only named. */
#define NOTE_DELETE 0x0001
#define NOTE_WRITE 0x0002
#define NOTE_EXTEND 0x0004
#define NOTE_ATTRIB 0x0008
#define NOTE_LINK 0x0010
#define NOTE_RENAME 0x0020
#define NOTE_REVOKE 0x0040
#define NOTE_OPEN 0x0080
#define NOTE_CLOSE 0x0100
#define NOTE_CLOSE_WRITE 0x0200
#define NOTE_READ 0x0400
#define NOTE_EXIT 0x80000000
#define NOTE_FORK 0x40000000
#define NOTE_EXEC 0x20000000
#define NOTE_PCTRLMASK 0xf0000000
#define NOTE_PDATAMASK 0x000fffff
#define NOTE_TRACK 0x00000001
#define NOTE_TRACKERR 0x00000002
#define NOTE_CHILD 0x00000004

static inline void millrace_ev_set(struct kevent* event, uintptr_t ident, short filter, unsigned short flags,
                                   unsigned int fflags, int64_t data, void* udata) {
  event->ident = ident;
  event->filter = filter;
  event->flags = flags;
  event->fflags = fflags;
  event->data = data;
  event->udata = udata;
  event->ext[0] = event->ext[1] = event->ext[2] = event->ext[3] = 0;
}

/* Fills *event. Arguments are converted as an assignment to the member would. */
#define EV_SET(event, ident, filter, flags, fflags, data, udata)                                                 \
  millrace_ev_set((event), (uintptr_t)(ident), (short)(filter), (unsigned short)(flags), (unsigned int)(fflags), \
                  (int64_t)(data), (void*)(udata))

#ifdef __cplusplus
}
#endif
