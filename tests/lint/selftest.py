#!/usr/bin/env python3
"""Shows that each lint can fail: plants one violation at a time in a copy of the tree and expects the lint to name it.
Arguments: the tree, the C++ compiler."""
import os
import shutil
import subprocess
import sys
import tempfile

ROOT, COMPILER = os.path.abspath(sys.argv[1]), sys.argv[2]
HERE = os.path.dirname(os.path.abspath(__file__))

# (lint, file, text added at its end, words that the report must hold)
PLANTED = [
    ("layers", "src/base/planted.h", '// x\n#pragma once\n#include "tcp/settings.h"\n', "base may not include"),
    ("layers", "src/wire/planted.h", '// x\n#pragma once\n#include "pkt/packet.h"\n', "wire may not include"),
    ("layers", "src/tcp/planted.cc", '#include "stack/worker.h"\n', "tcp may not include"),
    ("layers", "src/tcp/planted.cc", '#include "no/such.h"\n', "does not exist"),
    ("layers", "src/pkt/planted.h", '// x\n#include "base/assert.h"\n', "has no #pragma once"),
    ("layers", "include/millrace/planted.h", '// x\n#pragma once\n#include "base/assert.h"\n', "public header"),
    ("layers", "include/millrace/planted.h", "// x\n#pragma once\n#include <rte_mbuf.h>\n", "public header"),
    ("layers", "apps/planted/main.cc", '#include "tcp/settings.h"\n', "programs may not include"),
    ("layers", "src/nowhere/planted.cc", "int x;\n", "lies in no module"),
    ("core_source", "src/tcp/planted.cc", "#include <chrono>\n", "<chrono>"),
    ("core_source", "src/tcp/planted.cc", "#include <rte_mbuf.h>\n", "<rte_mbuf.h>"),
    ("core_source", "src/tcp/planted.cc", "long f() { return std::chrono::steady_clock::now(); }\n", "a clock"),
    ("core_source", "src/tcp/planted.cc", "long f() { return time(nullptr); }\n", "a clock"),
    ("core_source", "src/tcp/planted.cc", "auto f() { return __rdtsc(); }\n", "a clock"),
    ("core_source", "src/tcp/planted.cc", "std::mutex m;\n", "a thread"),
    ("core_source", "src/tcp/planted.cc", "thread_local int n;\n", "a thread"),
    ("core_source", "src/tcp/planted.cc", "void f() { throw 1; }\n", "an exception"),
    ("core_source", "src/tcp/planted.cc", "void f() { try { } catch (...) { } }\n", "an exception"),
    ("core_source", "src/tcp/planted.cc", "void f() { ::close(1); }\n", "a system call"),
    ("core_source", "src/tcp/planted.cc", "auto f() { return rte_rdtsc(); }\n", "DPDK"),
    ("core_source", "src/tcp/planted.cc", "void f() { std::printf(\"x\"); }\n", "a stream"),
    ("core_source", "src/tcp/planted.cc", "int f() { return std::rand(); }\n", "randomness"),
    ("style", "src/tcp/planted.h", "int x;\n", "does not open with a comment"),
    ("style", "src/tcp/planted.h", "// x\n" * 601, "longer than 600 lines"),
    ("style", "src/tcp/planted.h", "//" + " x" * 70 + "\n", "longer than 120 columns"),
    ("style", "src/tcp/planted.h", "// TO" "DO: later\n", "a mark for work left"),
    ("style", "docs/planted.md", "See /ho" "me/me/file.\n", "names a folder of one machine"),
    ("style", "docs/planted.md", "Text.\n", "no link leads here"),
    ("style", "README.md", "\n[gone](docs/GONE.md)\n", "does not exist"),
]
# Nothing of this may be found: the words stand in comments, strings, or are other words.
INNOCENT = [
    ("core_source", "src/tcp/planted.cc",
     "// throw, try, time(0), std::thread and rte_mbuf\nconst char* a = \"throw time( rte_x\"; int runtime(int x);\n"
     "int b = 1'000; char c = '\"'; int d = runtime(2);\nint e = s.time(1);\n"),
]
# (source, symbol that the report must name, or nothing)
OBJECTS = [
    ("#include <time.h>\nlong f() { timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec; }",
     "clock_gettime"),
    ("#include <unistd.h>\nlong f() { char c; return read(0, &c, 1); }", "read"),
    ("#include <pthread.h>\nint f(pthread_mutex_t* m) { return pthread_mutex_lock(m); }", "pthread_mutex_lock"),
    ("void f() { throw 1; }", "__cxa_throw"),
    ("#include <cstdio>\nvoid f() { std::puts(\"x\"); }", "puts"),
    ("extern \"C\" int rte_eal_init(int, char**);\nint f() { return rte_eal_init(0, nullptr); }", "rte_eal_init"),
    ("#include <vector>\nvoid f(std::vector<int>& v) { v.push_back(1); }", None),
]


def run(lint, *args):
    done = subprocess.run([sys.executable, os.path.join(HERE, lint + ".py"), *args], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def copy_tree(into):
    listed = subprocess.run(["git", "-C", ROOT, "-c", "safe.directory=*", "ls-files", "-z"], capture_output=True,
                            text=True)
    names = [n for n in listed.stdout.split("\0") if n and os.path.isfile(os.path.join(ROOT, n))]
    for name in names:
        os.makedirs(os.path.dirname(os.path.join(into, name)), exist_ok=True)
        shutil.copy2(os.path.join(ROOT, name), os.path.join(into, name))
    return names


def plant(copy, path, text):
    """Adds the text to the file; returns what undoes it."""
    full = os.path.join(copy, path)
    before = open(full).read() if os.path.exists(full) else None
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "a") as f:
        f.write(text)

    def undo():
        if before is None:
            os.remove(full)
        else:
            with open(full, "w") as f:
                f.write(before)
    return undo


def main():
    failures = []
    with tempfile.TemporaryDirectory() as copy:
        if not copy_tree(copy):
            print("skipped: the tree is not under version control, so there is nothing to copy")
            sys.exit(77)
        for lint, path, text, words in PLANTED:
            undo = plant(copy, path, text)
            status, output = run(lint, copy, *(["--strict"] if lint == "style" else []))
            if status == 0 or words not in output:
                failures.append(f"{lint} did not say '{words}' about {text.strip()[:60]!r} in {path}")
            undo()
        for lint, path, text in INNOCENT:
            undo = plant(copy, path, text)
            status, output = run(lint, copy)
            failures += [f"{lint} complains about innocent text: {x}" for x in output.splitlines() if path in x]
            undo()
        for source, symbol in OBJECTS:
            folder = os.path.join(copy, "objects")
            os.makedirs(folder, exist_ok=True)
            obj, lib = os.path.join(folder, "x.o"), os.path.join(folder, "libmillrace_tcp.a")
            subprocess.run([COMPILER, "-std=c++20", "-O2", "-c", "-x", "c++", "-", "-o", obj], input=source, text=True,
                           check=True)
            subprocess.run(["ar", "rcs", lib, obj], check=True)
            status, output = run("core_symbols", copy, folder)
            if (status != 0) != (symbol is not None) or (symbol and symbol not in output):
                failures.append(f"core_symbols: expected {symbol or 'nothing'}, got: {output.strip()}")
    for failure in failures:
        print(failure)
    print(f"{len(PLANTED) + len(INNOCENT) + len(OBJECTS)} cases, {len(failures)} not as expected")
    sys.exit(1 if failures else 0)


main()
