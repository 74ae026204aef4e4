#!/usr/bin/env python3
"""millrace-httpd against millrace-load over a virtio link without any kernel: the server on net_virtio_user and CPU 0,
the generator on net_vhost and CPU 1. 64 B HTTP and raw echo at several counts of connections; 16 MiB responses on one
connection with TSO and without.

Needs huge pages (it reserves them for the run if it may) and two CPUs.

    virtio.py [--runs N] [--seconds S] [--only TEXT] [--connections 1,256,10000]
"""
import argparse
import json
import os
import time

import pairs
import world

SERVER, CLIENT = "198.18.0.2", "198.18.0.3"
HUGE = "/proc/sys/vm/nr_hugepages"
PAGES = 2048


class HugePages:
    """Reserves 2 MiB pages while it lives."""

    def __enter__(self):
        with open(HUGE) as f:
            self.before = int(f.read())
        if self.before < PAGES:
            with open(HUGE, "w") as f:
                f.write(str(PAGES))
        with open(HUGE) as f:
            have = int(f.read())
        if have < PAGES // 2:
            world.skip(f"only {have} huge pages of 2 MiB can be reserved; {PAGES} are wanted")
        return self

    def __exit__(self, *_):
        with open(HUGE, "w") as f:
            f.write(str(self.before))


def measure(w, case, seconds):
    """One run with fresh processes: the generator makes the socket, the server connects to it."""
    path = w.path(f"link{time.monotonic_ns()}.sock")
    ring = case.get("ring", 1024)
    limits = []
    if case["connections"] > 30_000:
        limits = ["--set", f"worker.max_connections={case['connections'] + 5000}"]
    tso = ",tso=0" if not case.get("tso", True) else ""
    load = w.start(
        "millrace-load", "--interface", f"v0,driver=dpdk,address={CLIENT}/24{tso and ',tso=false'},"
        f"device=net_vhost0,iface={path},tso=1,rx_ring={ring},tx_ring={ring}",
        "--cpu", "1", "--control", "none", *limits, "--target", f"{SERVER}:{case['port']}", "--connections",
        case["connections"], "--duration", seconds, "--warmup", case.get("warmup", 1), "--json", *case["load"])
    w.wait(lambda: os.path.exists(path), 30, load)
    server = w.start(
        "millrace-httpd", "--interface", f"v0,driver=dpdk,address={SERVER}/24{tso and ',tso=false'},"
        f"device=net_virtio_user0,path={path},queue_size={ring},rx_ring={ring},tx_ring={ring}",
        "--cpu", "0", "--control", "none", *limits, "--port", "80", "--echo", "7", "--idle-timeout", "0")
    try:
        load.process.wait(seconds + 120)
    finally:
        server.stop()
        if load.alive():
            load.stop()
    said = load.output()
    begin = said.find("{\n")
    world.expect(begin >= 0, f"the generator said\n{said}\nand the server\n{server.output()}")
    result = json.loads(said[begin:])
    world.expect(result["measured"] and not result["errors"], f"{said}\n{server.output()}")
    return {"rate": result["requests_per_s"], "gbps": result["gbit_per_s"], "p50": result["latency_us"]["p50"],
            "p99": result["latency_us"]["p99"], "p99.9": result["latency_us"]["p99.9"],
            "busy": result["busy_share"] * 100, "cycles": result["cycles_per_request"]}


def cases(counts):
    for count in counts:
        yield {"name": f"64 B HTTP, {count:,} connections", "connections": count, "port": 80, "load": ["--template"], "key": "rate"}
    for count in counts:
        yield {"name": f"64 B echo, {count:,} connections", "connections": count, "port": 7,
               "load": ["--mode", "echo", "--size", 64, "--template"], "key": "rate"}
    for tso in (True, False):
        yield {"name": f"16 MiB responses, 1 connection, {'TSO' if tso else 'no TSO'}", "connections": 1, "port": 80,
               "load": ["--bytes", 16 << 20], "tso": tso, "key": "gbps"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", default="", help="only cases whose name has this text")
    parser.add_argument("--connections", default="1,256,10000")
    options = parser.parse_args()
    world.enter()
    pairs.emit(f"\n### virtio, no kernel anywhere\n\n`bench/workloads/virtio.py --runs {options.runs} --seconds "
               f"{options.seconds:g} --connections {options.connections}`; {pairs.machine()}\n")
    pairs.emit("| case | requests/s or Gb/s | p50 us | p99 us | generator busy % | generator cycles/request |\n"
               "|---|---|---|---|---|---|")
    counts = [int(x) for x in options.connections.split(",")]
    with HugePages(), world.World() as w:
        for case in cases(counts):
            if options.only not in case["name"]:
                continue
            results = pairs.run_alone(lambda: measure(w, case, options.seconds), options.runs)
            columns = [pairs.spread([r[key] for r in results]) for key in (case["key"], "p50", "p99", "busy", "cycles")]
            pairs.emit(f"| {case['name']} | " + " | ".join(columns) + " |")


main()
