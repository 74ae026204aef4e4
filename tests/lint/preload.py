#!/usr/bin/env python3
"""Fails when libc has a function that takes a descriptor which the preloaded library (src/shim) neither replaces nor
has an excuse for here, when an excuse is not needed, and when the library exports anything else.

Arguments: the tree, the library. Which functions take one is read from libc's headers: parameters of the names that
they use for descriptors, pollfd and fd_set."""
import re
import subprocess
import sys

import tree

HEADERS = """aio.h arpa/inet.h dirent.h fcntl.h ifaddrs.h netdb.h poll.h signal.h spawn.h stdio.h stdlib.h sys/epoll.h
sys/eventfd.h sys/fanotify.h sys/file.h sys/inotify.h sys/ioctl.h sys/mman.h sys/select.h sys/sendfile.h sys/signalfd.h
sys/socket.h sys/stat.h sys/statfs.h sys/statvfs.h sys/time.h sys/timerfd.h sys/uio.h sys/xattr.h termios.h unistd.h
utime.h""".split()
TAKES = re.compile(r"\bint (__fd\w*|__fildes|__epfd|__in_fd|__out_fd|__infd|__outfd|__fdin|__fdout|__sockfd|__s)\b"
                   r"|struct pollfd|\bfd_set\b|struct msghdr|struct mmsghdr")
CHECKED = re.compile(r"__(\w+)_chk")
EXCUSES = {
    "the kernel answers for the shadow, a socket, as it should": """
        fallocate fallocate64 fchmod fchown fdatasync fgetxattr flistxattr flock fpathconf fremovexattr fsetxattr fstat
        fstat64 fstatfs fstatfs64 fstatvfs fstatvfs64 fsync ftruncate ftruncate64 futimens futimes isatty isfdtype
        lockf lockf64 lseek lseek64 mmap mmap64 posix_fadvise posix_fadvise64 posix_fallocate posix_fallocate64 pread
        pread64 preadv preadv64 pwrite pwrite64 pwritev pwritev64 readahead sync_file_range syncfs tee vmsplice
        __pread_chk __pread64_chk""",
    "of files, folders, terminals and processes; no socket can be meant": """
        faccessat fanotify_mark fchdir fchmodat fchownat fdopendir fstatat fstatat64 futimesat
        getdents64 getdirentries getdirentries64 grantpt inotify_add_watch inotify_rm_watch mkdirat mkfifoat mknodat
        openat openat64 process_madvise ptsname ptsname_r readlinkat setns tcdrain tcflow tcflush tcgetattr
        tcgetpgrp tcgetsid tcsendbreak tcsetattr tcsetpgrp ttyname ttyname_r unlinkat unlockpt utimensat statx
        __ptsname_r_chk __readlinkat_chk __ttyname_r_chk""",
    "of descriptors that the kernel keeps": """
        eventfd_read eventfd_write signalfd socketpair timerfd_gettime timerfd_settime""",
    "no function that is called with one": "__cmsg_nxthdr",
    "acts later, in a child, by bare system calls": """posix_spawn_file_actions_addclose
        posix_spawn_file_actions_addfchdir_np posix_spawn_file_actions_addopen
        posix_spawn_file_actions_addclosefrom_np posix_spawn_file_actions_addtcsetpgrp_np""",
    "a known gap: libc uses the descriptor without the function that is replaced": """
        aio_cancel aio_cancel64 bindresvport getipv4sourcefilter getsourcefilter preadv2 preadv64v2
        pwritev2 pwritev64v2 rcmd rcmd_af rexec rexec_af setipv4sourcefilter setsourcefilter""",
}


def declared():
    """Functions of the headers that take a descriptor."""
    source = "#define _GNU_SOURCE\n" + "".join(f"#include <{h}>\n" for h in HEADERS)
    text = subprocess.run(["gcc", "-E", "-P", "-xc", "-"], input=source, capture_output=True, text=True,
                          check=True).stdout
    names = set()
    for statement in text.replace("\n", " ").split(";"):
        match = re.search(r"\bextern\b[^(){}]*?\b(\w+) \((.*)", statement)
        if match and TAKES.search(match.group(2)):
            names.add(match.group(1))
    return names


def exported(path, version=""):
    done = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True)
    return {line.split()[-1].split("@")[0] for line in done.stdout.splitlines() if line}


def main():
    library = sys.argv[2]
    linked = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
    libc = exported(re.search(r"libc\.so\.6 => (\S+)", linked).group(1))
    ours = exported(library)
    takers = declared() & libc
    takers |= {name for name in libc if (m := CHECKED.fullmatch(name)) and (m.group(1) in takers)}
    excused = {name for names in EXCUSES.values() for name in names.split()}
    problems = [f"{name} takes a descriptor: replace it in src/shim, or excuse it here" for name in
                sorted(takers - ours - excused)]
    problems += [f"{name} is replaced and excused" for name in sorted(ours & excused)]
    problems += [f"the library exports {name}, which is not libc's" for name in sorted(ours - libc)]
    if len(takers) < 100:
        problems.append(f"only {len(takers)} functions of libc seem to take a descriptor: headers not understood")
    tree.report(problems, f"{len(takers)} functions of libc against the preloaded library")


main()
