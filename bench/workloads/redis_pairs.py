#!/usr/bin/env python3
"""redis-server unmodified, under `millrace run --inline` over TAP and on the kernel's stack over veth; redis-benchmark
on the kernel for both: 50 connections, one request at a time and 16 in a pipeline. The server on CPU 0, the client on
CPU 1. With --service the stack is millraced's, which shares CPU 0 with the server.

    redis_pairs.py [--pairs N] [--requests N] [--only TEXT] [--service]
"""
import argparse
import os
import signal

import pairs
import world
from tap_pairs import FAR4, cable

CASES = (("GET, 50 connections", 1, 1), ("GET, 50 connections, -P 16", 16, 8))


class Side:
    """A server that is stopped (SIGSTOP) while the other side is measured."""

    def __init__(self, server, address):
        self.process, self.address = server.process, address
        self.process.send_signal(signal.SIGSTOP)

    def measure(self, w, pipeline, requests):
        self.process.send_signal(signal.SIGCONT)
        try:
            said = w.run("taskset", "-c", "1", "redis-benchmark", "-h", self.address, "-t", "get", "-n", str(requests),
                         "-P", str(pipeline), "--csv").stdout.splitlines()
        finally:
            self.process.send_signal(signal.SIGSTOP)
        head, row = ([x.strip('"') for x in line.split(",")] for line in said[-2:])
        values = dict(zip(head, row))
        return {"rate": float(values["rps"]), "p99": 1000 * float(values["p99_latency_ms"])}


def placement(w, service):
    """What stands before the command of a server on the stack; begins the service if that is asked for."""
    place = ("--inline", "--tap", "mr0")
    if service:
        place = ("--service",)
        w.server("taskset", "-c", "0", w.program("millraced"), "--tap", "mr0",
                 ready=lambda: os.path.exists("/run/millrace/service"))
    return "taskset", "-c", "0", w.program("millrace"), "run", *place, "--"


def start(w, service):
    far = cable(w)
    redis = ("redis-server", "--protected-mode", "no", "--save", "", "--dir", w.dir, "--bind")
    ours = w.server(*placement(w, service), *redis, world.STACK4, ready=lambda: w.connects(world.STACK4, 6379))
    theirs = w.server("taskset", "-c", "0", *redis, FAR4, ns=far, ready=lambda: w.connects(FAR4, 6379))
    return Side(ours, world.STACK4), Side(theirs, FAR4)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--only", default="", help="only cases whose name has this text")
    parser.add_argument("--service", action="store_true", help="through the service, not inline")
    options = parser.parse_args()
    world.enter()
    if not world.tap_usable():
        world.skip("/dev/net/tun cannot be opened here")
    pairs.emit(f"\n### redis-server, unmodified\n\n`bench/workloads/redis_pairs.py --pairs {options.pairs} --requests "
               f"{options.requests}{' --service' if options.service else ''}`; {pairs.machine()}\n")
    place = "--service" if options.service else "--inline"
    pairs.emit(f"| case | millrace run {place}, TAP | kernel, veth | ratio |\n|---|---|---|---|")
    with world.World() as w:
        ours, theirs = start(w, options.service)
        for name, pipeline, more in CASES:
            if options.only not in name:
                continue
            count = options.requests * more
            left, right = pairs.run_pairs(lambda: ours.measure(w, pipeline, count),
                                          lambda: theirs.measure(w, pipeline, count), options.pairs)
            pairs.emit(pairs.pair_row(f"{name}: requests/s", "rate", left, right))
            pairs.emit(pairs.pair_row(f"{name}: p99 us", "p99", left, right))
        for side in (ours, theirs):
            side.process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    main()
