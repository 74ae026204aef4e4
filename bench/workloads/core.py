#!/usr/bin/env python3
"""The core alone, without any device: cycles per 64 B request and response at several counts of connections, and the
memory of idle connections. The programs are those of bench/micro; this runs them on CPU 0 and writes their figures as
Markdown.

    core.py [--rounds N] [--connections 256,1000,1000000] [--memory 1000000]
"""
import argparse
import os
import re
import subprocess

import pairs

BIN = os.environ.get("MILLRACE_BIN", os.path.join(pairs.ROOT, "build/release/bin"))


def run(name, *words):
    """What the program says, without a number's commas."""
    done = subprocess.run(["taskset", "-c", "0", os.path.join(BIN, name), *map(str, words)], capture_output=True,
                          text=True, timeout=300, check=True)
    return done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--connections", default="256,1000,1000000")
    parser.add_argument("--memory", type=int, default=1_000_000)
    options = parser.parse_args()
    counts = options.connections.split(",")
    pairs.emit(f"\n### The core alone\n\n`bench_core_echo --rounds {options.rounds} {' '.join(counts)}` and "
               f"`bench_core_memory {options.memory}`; {pairs.machine()}\n")
    pairs.emit("| case | median | least | greatest |\n|---|---|---|---|")
    said = run("bench_core_echo", "--rounds", options.rounds, *counts)
    for line in said.splitlines():
        fields = line.split()
        if len(fields) == 4 and all(re.fullmatch(r"[\d.]+", f) for f in fields):
            count, *cycles = (int(float(f)) for f in fields)
            pairs.emit(f"| 64 B echo, {count:,} connections: TSC cycles/request | "
                       + " | ".join(f"{c:,}" for c in cycles) + " |")
    said = run("bench_core_memory", options.memory)
    each = re.search(r"([\d.]+) bytes a connection", said)[1]
    pairs.emit(f"| {options.memory:,} idle connections: bytes each | {each} | | |")


main()
