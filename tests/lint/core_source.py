#!/usr/bin/env python3
"""Fails when a source of the core names a clock, a thread, a system call, an exception, a device library or a stream.
tests/lint/core_symbols.py checks the same on what the compiler made of it."""
import os
import re

import tree

HEADERS = re.compile(
    r"^(thread|mutex|shared_mutex|condition_variable|future|stop_token|semaphore|latch|barrier|atomic|chrono|ctime|"
    r"time\.h|random|iostream|ostream|istream|fstream|iomanip|sstream|filesystem|cstdio|stdio\.h|csignal|signal\.h|"
    r"cerrno|errno\.h|unistd\.h|fcntl\.h|poll\.h|pthread\.h|dlfcn\.h|locale|regex|exception|stdexcept|"
    r"sys/.*|linux/.*|net/.*|netinet/.*|arpa/.*|fmt/.*|spdlog/.*|rte_.*|x86intrin\.h)$")
# conf/ reads text with toml++, which is made of streams; nothing else has an exception of its own.
ALLOWED_HEADERS = {"conf": {"sstream"}}

WORDS = [
    (r"\bthrow\b", "an exception"),
    (r"\btry\b", "an exception"),
    (r"\bcatch\b", "an exception"),
    (r"\brte_\w+", "DPDK"),
    (r"\bthread_local\b", "a thread"),
    (r"\bstd::(thread|jthread|mutex|atomic\w*|condition_variable|async|future|call_once)\b", "a thread"),
    (r"\bpthread_\w+", "a thread"),
    (r"\bstd::chrono\b", "a clock"),
    (r"\b(clock_gettime|gettimeofday|__rdtscp?|__builtin_ia32_rdtscp?|_rdtsc)\b", "a clock"),
    (r"(?<![\w.>:])(?:std::|::)?(time|clock)\s*\(", "a clock"),
    (r"\bstd::(random_device|mt19937\w*)\b", "randomness that is not seeded by the caller"),
    (r"(?<![\w.>:])(?:std::|::)?s?rand\s*\(", "randomness that is not seeded by the caller"),
    (r"\b(getrandom|getenv|syscall|mmap|munmap|ioctl|epoll_\w+|eventfd|setsockopt|sigaction|usleep|nanosleep)\s*\(",
     "a system call"),
    (r"(?<![\w:>])::(open|read|write|close|socket|send|recv|poll|select|fork|sleep)\s*\(", "a system call"),
    (r"\berrno\b", "a system call"),
    (r"\bstd::(cout|cerr|clog|cin|ifstream|ofstream|fstream)\b", "a stream"),
    (r"\bf?printf\s*\(|\bputs\s*\(", "a stream"),
    (r"\b(asm|__asm__)\b", "assembly"),
]

# Public headers that the core does not know.
EDGE_HEADERS = {f"include/millrace/{name}.h" for name in ("async", "errno", "micro", "task")}


def main():
    root = tree.root_argument()
    mods = tree.modules(root)
    problems, count = [], 0
    for path in tree.files(root, ["src", "include"]):
        module = tree.module_of(mods, path)
        if path.startswith("src") and (module is None or not mods[module].core) or path in EDGE_HEADERS:
            continue
        if path.startswith(os.path.join("include", "ff")):
            continue
        count += 1
        text = open(os.path.join(root, path)).read()
        for line, _, name in tree.includes(text):
            if HEADERS.match(name) and name not in ALLOWED_HEADERS.get(module, ()):
                problems.append(f"{path}:{line}: the core may not include <{name}>")
        code = tree.code_only(text)
        for pattern, what in WORDS:
            for match in re.finditer(pattern, code):
                line = code.count("\n", 0, match.start()) + 1
                problems.append(f"{path}:{line}: the core may not use {what}: {match.group().strip()}")
    if count == 0:
        problems.append("no source files of the core found")
    tree.report(sorted(problems), f"{count} files of the core, no clock, thread, system call, exception or device")


main()
