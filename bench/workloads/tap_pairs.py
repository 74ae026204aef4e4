#!/usr/bin/env python3
"""millrace-httpd over TAP against epoll_httpd on the kernel's stack over veth, the kernel client wrk for both: 64 B
responses on 1 and 32 connections, 1 MiB responses on one. The server on CPU 0, the client on CPU 1. The peer runs as
the kernel's users run it, with every offload on; and again spinning in epoll_wait (--busy-poll), since our server spins
too.

    tap_pairs.py [--pairs N] [--seconds S] [--only TEXT]
"""
import argparse
import os
import re
import resource
import signal

import pairs
import world

PORT = 8080
FAR4 = "198.19.0.2"
UNITS = {"": 1, "k": 1e3, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "us": 1, "ms": 1e3, "s": 1e6}


def quantity(text):
    """"123.4k", "1.5GB", "60.00us" as a number (wrk prints rates in thousands and transfers in powers of two)."""
    match = re.fullmatch(r"([\d.]+)(us|ms|s|[kKMG]?)B?", text)
    return float(match[1]) * UNITS[match[2]]


def wrk(w, url, connections, seconds):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = w.run("taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", url,
                 timeout=seconds + 60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = done.stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: .*", said)
    world.expect(bad is None, f"wrk met errors:\n{said}")
    world.expect(not re.search(r"\b0 requests in", said), f"wrk got no answer:\n{said}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
    transfer = quantity(re.search(r"Transfer/sec:\s+(\S+)", said)[1])
    p50 = quantity(re.search(r"^ +50% +(\S+)", said, re.M)[1])
    p99 = quantity(re.search(r"^ +99% +(\S+)", said, re.M)[1])
    return {"rate": rate, "gbps": transfer * 8 / 1e9, "p50": p50, "p99": p99, "client": 100 * spent / seconds}


class Side:
    """A server that is stopped (SIGSTOP) while the other side is measured."""

    def __init__(self, server, url):
        self.server, self.url = server, url
        self.signal(signal.SIGSTOP)

    def signal(self, number):
        self.server.process.send_signal(number)

    def measure(self, w, path, connections, seconds):
        self.signal(signal.SIGCONT)
        try:
            return wrk(w, self.url + path, connections, seconds)
        finally:
            self.signal(signal.SIGSTOP)


def compare(w, sides, peers, options, cases):
    """All cases against all peers, a row each."""
    for name, path, connections, key, unit in cases:
        if options.only not in name:
            continue
        for peer, suffix in peers:
            left, right = pairs.run_pairs(lambda: sides["millrace"].measure(w, path, connections, options.seconds),
                                          lambda: sides[peer].measure(w, path, connections, options.seconds),
                                          options.pairs)
            pairs.emit(pairs.pair_row(f"{name}{suffix}: {unit}", key, left, right))
            pairs.emit(pairs.pair_row(f"{name}{suffix}: p99 us", "p99", left, right))
            pairs.emit(pairs.pair_row(f"{name}{suffix}: client's CPU %", "client", left, right))
    for side in sides.values():
        side.signal(signal.SIGCONT)


def options_of(parser):
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", default="", help="only cases whose name has this text")
    return parser.parse_args()


def cable(w):
    """A namespace behind a cable, for the peer at FAR4."""
    far = w.namespace("far")
    w.veth("near0", None, "far0", far)
    w.address(None, "near0", "198.19.0.1/24")
    w.address(far, "far0", f"{FAR4}/24")
    return far


def start(w):
    """Our server on TAP mr0; the peer twice in a namespace behind a cable."""
    far = cable(w)
    ours = w.server("millrace-httpd", "--tap", "mr0", "--cpu", "0", "--port", str(PORT))
    sides = {"millrace": Side(ours, f"http://{world.STACK4}:{PORT}")}
    peer = os.path.join(world.BIN, "epoll_httpd")
    for name, port, more in (("epoll", PORT, []), ("epoll, busy", PORT + 1, ["--busy-poll"])):
        server = w.server("taskset", "-c", "0", peer, "--port", str(port), *more, ns=far,
                          ready=lambda port=port: w.connects(FAR4, port))
        sides[name] = Side(server, f"http://{FAR4}:{port}")
    return sides


CASES = (("64 B, 1 connection", "/small", 1, "rate", "requests/s"),
         ("64 B, 32 connections", "/small", 32, "rate", "requests/s"),
         ("1 MiB, 1 connection", "/bytes/1048576", 1, "gbps", "Gb/s"))


def main():
    options = options_of(argparse.ArgumentParser())
    world.enter()
    if not world.tap_usable():
        world.skip("/dev/net/tun cannot be opened here")
    pairs.emit(f"\n### TAP and a kernel client\n\n`bench/workloads/tap_pairs.py --pairs {options.pairs} --seconds "
               f"{options.seconds:g}`; {pairs.machine()}\n")
    pairs.emit("| case | millrace-httpd, TAP | epoll_httpd, veth | ratio |\n|---|---|---|---|")
    with world.World() as w:
        compare(w, start(w), (("epoll", ""), ("epoll, busy", ", peer busy-polling")), options, CASES)


if __name__ == "__main__":
    main()
