#!/usr/bin/env python3
"""Millrace and the Linux kernel as senders over the same emulated link (millrace-link), to the same kernel receiver.

Three namespaces: the sender's, where millrace-httpd on AF_XDP and a server on the kernel's sockets share one
interface; the emulator's; the receiver's. A cell is a round trip, a loss rate and a controller; in it both senders take
turns, with the same seed of the emulator for both of a pair. Long transfers last a fixed time and are counted from the
connection's first packet; short ones are 64 KB each on a connection of its own, one after the other.

    wan.py [--pairs N] [--seconds S] [--rtt MS,...] [--loss PERCENT,...] [--controller NAME,...] [--queue BDP]
           [--rate BITS] [--short N] [--json FILE]
"""
import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
import time

import pairs
import world

PORT = 80
KERNEL, STACK, FAR = "198.19.7.1", "198.19.7.3", "198.19.7.2"
MEASURES = __name__ == "__main__"
# The name of each of Linux's controllers with us.
NAMES = {"cubic": "cubic", "reno": "newreno", "bbr": "bbr", "dctcp": "dctcp"}

# A server on the kernel's sockets: GET /bytes/N. Its first argument is the controller, which the listener has before it
# listens: a connection that began under BBR, the default here, stays paced whatever is set later.
SERVER = """
import re, socket, sys, threading
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, sys.argv[1].encode())
server.bind(("", 80))
server.listen(64)
block = memoryview(bytes(1 << 20))
def serve(s):
    with s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        left = int(re.search(rb"/bytes/([0-9]+)", s.recv(4096))[1])
        try:
            s.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % left)
            while left > 0:
                left -= s.send(block[:min(left, len(block))])
        except OSError:
            pass
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""

# The receiver. Arguments: address, seconds of the long transfer, number of short ones; prints one JSON object.
CLIENT = """
import json, socket, sys, time
def get(size, seconds):
    start = time.monotonic()
    end = start + seconds
    body, head, into = 0, b"", bytearray(1 << 20)
    with socket.create_connection((sys.argv[1], 80), 30) as s:
        s.sendall(b"GET /bytes/%d HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % size)
        while body < size:
            left = end - time.monotonic()
            if left <= 0: break
            s.settimeout(left)
            try: n = s.recv_into(into)
            except TimeoutError: break
            if n == 0: break
            if head is None: body += n
            else:
                head += bytes(into[:n])
                at = head.find(b"\\r\\n\\r\\n")
                if at >= 0: body, head = len(head) - at - 4, None
        return body, time.monotonic() - start
long, took = get(50_000_000_000, float(sys.argv[2])) if float(sys.argv[2]) else (0, 1)
short = []
for _ in range(int(sys.argv[3])):
    n, t = get(65536, 60)
    short.append(t if n == 65536 else 60.0)
print(json.dumps({"bytes": long, "seconds": took, "short": short}))
"""


def lay_cables(w):
    near, far = w.namespace("near"), w.namespace("far")
    w.veth("l0", None, "near0", near)
    w.veth("l1", None, "far0", far)
    for ns, device in ((near, "near0"), (far, "far0")):
        # The kernel cuts and sums itself: the emulator carries wire segments.
        w.run("ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off", ns=ns)
    for device in ("l0", "l1"):  # the emulator's ends are nobody's
        w.run("ip", "link", "set", device, "arp", "off", "addrgenmode", "none")
        w.run("ip", "-6", "address", "flush", "dev", device)
    w.address(near, "near0", f"{KERNEL}/24")
    w.address(far, "far0", f"{FAR}/24")
    settings = {"tcp_rmem": "4096 131072 33554432", "tcp_wmem": "4096 1048576 33554432", "tcp_no_metrics_save": "1"}
    for ns in (near, far):
        for name, value in settings.items():
            w.run("sh", "-c", f"echo {value} > /proc/sys/net/ipv4/{name}", ns=ns)


def ahead(w, program):
    """The words that start a program of ours ahead of whatever else wants the CPU, in a measurement and where that is
    allowed: a link is never busy, and the kernel's own stack works in interrupts."""
    if not MEASURES or w.run("chrt", "-f", "10", "true", check=False).returncode != 0:
        return [program]
    return ["chrt", "-f", "10", w.program(program)]


def start_link(w, path, seed, nap_us=0):
    words = ahead(w, "millrace-link") if nap_us else ["millrace-link"]  # one that never sleeps must not come first
    link = w.start(*words, "l0", "l1", "--both", path["both"], "--forward", path["forward"],
                   "--seed", seed, "--nap-us", nap_us)
    w.wait(lambda: "are linked" in link.output(), 20, link)
    return link


def stop_link(link):
    """What the emulator saw."""
    link.stop()
    text = link.output()
    return json.loads(text[text.index("{"):])


def path_of(cell, rate):
    """The bottleneck and the loss are on the data's way; acknowledgments only take time."""
    return {"both": f"delay={cell['rtt'] / 2}ms",
            "forward": f"rate={rate},queue={cell['queue']}bdp,loss={cell['loss']}%"}


def start_sender(w, kind, controller):
    if kind == "linux":
        server = w.start(sys.executable, "-c", SERVER, controller, ns="near")
        w.wait(lambda: ":80" in w.run("ss", "-Hltn", ns="near").stdout, 10, server)
        return server
    settings = ["--set", f"tcp.congestion_control={NAMES[controller]}", "--set", "tcp.send_buffer=33554432"]
    return w.server(*ahead(w, "millrace-httpd"), "--interface", "near0", "--address", f"{STACK}/24", "--port", PORT,
                    *settings, ns="near", ready=lambda: w.answers(STACK, ns="far"))


def measure(w, kind, cell, seed, options):
    """One run: a link, a sender, a receiver."""
    link = start_link(w, path_of(cell, options.rate), seed, options.nap_us)
    sender = start_sender(w, kind, cell["controller"])
    address = KERNEL if kind == "linux" else STACK
    # Neighbours are known before the clock runs.
    w.run("ping", "-c1", "-W2", "-q", address, ns="far", check=False)
    done = w.run(sys.executable, "-c", CLIENT, address, f"{options.seconds:g}", str(options.short), ns="far",
                 timeout=options.seconds + 70 * (options.short + 1))
    result = json.loads(done.stdout)
    sender.stop(signal.SIGTERM)
    seen = stop_link(link)
    return {"mbps": result["bytes"] * 8 / result["seconds"] / 1e6, "short": result["short"], "link": seen["forward"]}


def measure_in_time(w, kind, cell, seed, options):
    """measure(), again if the emulator was kept from its work: late frames are a burst that no link would make."""
    for _ in range(3):
        result = measure(w, kind, cell, seed, options)
        if result["link"]["late_us"]["p99"] <= options.late_us:
            break
    return result


def p99(times):
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def run_cell(w, cell, options):
    """Pairs of runs; a pair has one seed."""
    sides = {"millrace": [], "linux": []}
    for i in range(options.pairs):
        for kind in ("millrace", "linux") if i % 2 == 0 else ("linux", "millrace"):
            if kind == "linux" and options.only_ours:
                continue
            sides[kind].append(measure_in_time(w, kind, cell, options.seed + i, options))
    out = dict(cell)
    for kind, runs in sides.items():
        short = [t for r in runs for t in r["short"]]
        out[kind] = {"mbps": [r["mbps"] for r in runs], "short": short,
                     "late_us": max((r["link"]["late_us"]["p99"] for r in runs), default=0),
                     "lost": [r["link"]["lost"] + r["link"]["lost_in_queue"] for r in runs]}
    return out


HEADER = ("| round trip, ms | loss, % | controller | millrace, Mb/s | Linux, Mb/s | ratio | 64 KB, median and p99, ms: "
          "millrace | Linux |\n|---|---|---|---|---|---|---|---|")


def row(cell):
    def rate(kind):
        return pairs.spread(cell[kind]["mbps"]) if cell[kind]["mbps"] else "-"

    def short(kind):
        times = [1e3 * t for t in cell[kind]["short"]]
        return f"{statistics.median(times):.0f}, {p99(times):.0f}" if times else "-"
    ratio = "-"
    if cell["linux"]["mbps"]:
        ratio = f"{statistics.median(cell['millrace']['mbps']) / statistics.median(cell['linux']['mbps']):.2f}"
    return (f"| {cell['rtt']:g} | {cell['loss']:g} | {cell['controller']} | {rate('millrace')} | {rate('linux')} | "
            f"{ratio} | {short('millrace')} | {short('linux')} |")


def numbers(text):
    return [float(x) for x in text.split(",")]


def options_of():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rtt", type=numbers, default=[20, 100], help="round trips, ms")
    parser.add_argument("--loss", type=numbers, default=[0, 0.1, 1, 3], help="of data frames, %%")
    parser.add_argument("--controller", default="", help="Linux's names; default: all that it offers")
    parser.add_argument("--queue", type=float, default=1, help="of the bottleneck, in bandwidth-delay products")
    parser.add_argument("--rate", default="50M")
    parser.add_argument("--short", type=int, default=0, help="transfers of 64 KB in each run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nap-us", type=int, default=100, help="of the emulator; 0 keeps a CPU busy")
    parser.add_argument("--late-us", type=float, default=500, help="repeat a run in which 1 %% of frames came later")
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--json", help="write all results to this file")
    return parser.parse_args()


def controllers(options):
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as f:
        offered = f.read().split()
    return [c for c in (options.controller.split(",") if options.controller else offered) if c in NAMES]


def main():
    options = options_of()
    world.enter()
    with contextlib.suppress(OSError):  # what else runs here should disturb as little as possible
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    pairs.emit(f"\n### Long transfers over an emulated link\n\nBottleneck {options.rate}, drop-tail queue of "
               f"{options.queue:g} BDP; {options.pairs} pairs of {options.seconds:g} s; {pairs.machine()}\n")
    pairs.emit(HEADER)
    results = []
    with world.World() as w:
        lay_cables(w)
        for controller in controllers(options):
            for rtt in options.rtt:
                for loss in options.loss:
                    cell = {"rtt": rtt, "loss": loss, "controller": controller, "queue": options.queue}
                    results.append(run_cell(w, cell, options))
                    pairs.emit(row(results[-1]))
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"options": vars(options), "machine": pairs.machine(), "cells": results}, f, indent=1)


if __name__ == "__main__":
    main()
