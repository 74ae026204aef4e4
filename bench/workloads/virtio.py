#!/usr/bin/env python3
"""millrace-httpd against millrace-load over a virtio link without any kernel: the server on net_virtio_user and CPU 0,
the generator on net_vhost and CPU 1. 64 B HTTP and raw echo at several counts of connections, sent from templates (at
most 1,024 requests in flight on random connections where there are 100,000 or more); 64 B UDP echo; 16 MiB
responses on one connection with TSO and without, by the generator's full stack.

Needs huge pages (it reserves them for the run if it may) and two CPUs.

    virtio.py [--runs N] [--seconds S] [--only TEXT] [--connections 1,256,10000] [--no-templates]
"""
import argparse
import json
import os
import socket
import subprocess
import threading
import time

import pairs
import world

SERVER, CLIENT = "198.18.0.2", "198.18.0.3"
HUGE = "/proc/sys/vm/nr_hugepages"
PAGES = 2048
PORTS = 64_000         # of one client address
MANY = 100_000         # from here on not every connection has a request in flight
NEAR = 500             # cycles of a line's round trip between CPUs; 140 with a common cache, 1,250 without

# What serves datagrams best: a packed ring, whose entries the other CPU fetches in one piece, used in order, and no
# larger than what is on its way; frames of one buffer; bursts of 64.
DATAGRAMS = {"ring": 512, "burst": 64, "guest": ",packed_vq=1,in_order=1,mrg_rxbuf=0,lro=0"}


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
            self.__exit__()
            world.skip(f"only {have} huge pages of 2 MiB can be reserved; {PAGES} are wanted")
        return self

    def __exit__(self, *_):
        with open(HUGE, "w") as f:
            f.write(str(self.before))


class Meter(threading.Thread):
    """Asks a program's control socket a few times a second how many cycles its busy loop turns took."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.samples, self.ended = path, [], threading.Event()
        self.start()

    def ask(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(2)
            s.connect(self.path)
            s.sendall(b"stages json\n")
            said = b""
            while piece := s.recv(65536):
                said += piece
        answer = json.loads(said)
        loop = {row["loop"]: row["value"] for row in answer["loop"]}
        return sum(row["cycles"] for row in answer["stages"]), loop["frames received"]

    def run(self):
        while not self.ended.wait(0.15):
            try:
                self.samples.append((time.monotonic(), *self.ask()))
            except (OSError, ValueError, KeyError):
                pass

    def cycles_per_frame(self, begin, end):
        """Within a stretch of time; nan if there are too few samples."""
        self.ended.set()
        inside = [s for s in self.samples if begin <= s[0] <= end]
        if len(inside) < 2 or inside[-1][2] == inside[0][2]:
            return float("nan")
        return (inside[-1][1] - inside[0][1]) / (inside[-1][2] - inside[0][2])


def cpu_distance():
    """Cycles of a cache line's round trip between the two CPUs: the wire of this link, as long as the host of a virtual
    machine makes it."""
    program = os.path.join(world.BIN, "bench_cpu_link")
    try:
        said = subprocess.run([program, "0", "1"], capture_output=True, text=True, timeout=30, check=True).stdout
        return float(said.split("line:")[1].split()[0])
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return float("nan")


def client_addresses(connections):
    count = (connections + PORTS - 1) // PORTS
    return "".join(f",address=198.18.1.{1 + k}/16" for k in range(count)) if count > 1 else f",address={CLIENT}/16"


def measure(w, case, seconds):
    """One run with fresh processes: the generator makes the socket, the server connects to it."""
    distance = cpu_distance()
    tag = time.monotonic_ns()
    path, control = w.path(f"link{tag}.sock"), w.path(f"server{tag}.sock")
    ring = case.get("ring", 1024)
    burst = ["--set", f"loop.burst={case['burst']}"] if "burst" in case else []
    count = case["connections"]
    limits = ["--set", f"worker.max_connections={count + 5000}"] if count > 30_000 else []
    tso = "" if case.get("tso", True) else ",tso=false"
    load = w.start(
        "millrace-load", "--interface", f"v0,driver=dpdk{client_addresses(count)}{tso},"
        f"device=net_vhost0,iface={path},tso=1,rx_ring={ring},tx_ring={ring}",
        *burst, "--cpu", "1", "--control", "none", "--target", f"{SERVER}:{case['port']}", "--connections",
        count, "--duration", seconds, "--warmup", case.get("warmup", 0.5), "--json", *case["load"])
    w.wait(lambda: os.path.exists(path), 30, load)
    program = ["millrace-udp-echo"] if case.get("udp") else ["millrace-httpd", "--echo", "7", "--idle-timeout", "0"]
    server = w.start(
        *program, "--interface", f"v0,driver=dpdk,address={SERVER}/16,gateway={CLIENT}{tso},"
        f"device=net_virtio_user0,path={path},queue_size={ring},rx_ring={ring},tx_ring={ring}{case.get('guest', '')}",
        *burst, "--cpu", "0", "--control", control, *limits, "--port", 7 if case.get("udp") else 80)
    meter = Meter(control)
    try:
        load.process.wait(seconds + 120)
        ended = time.monotonic()
    finally:
        meter.ended.set()
        server.stop()
        if load.alive():
            load.stop()
    said = load.output()
    begin = said.find("{\n")
    world.expect(begin >= 0, f"the generator said\n{said}\nand the server\n{server.output()}")
    result = json.loads(said[begin:])
    world.expect(result["measured"] and not result["errors"], f"{said}\n{server.output()}")
    if "oddities" in result:
        print(f"    odd: {result['oddities']}", file=pairs.sys.stderr)
    closing = 0.1 + count / 200_000
    cycles = meter.cycles_per_frame(ended - closing - seconds, ended - closing)
    return {"rate": result["requests_per_s"], "gbps": result["gbit_per_s"], "p50": result["latency_us"]["p50"],
            "p99": result["latency_us"]["p99"], "busy": result["busy_share"] * 100,
            "cycles": result["cycles_per_request"], "server": cycles, "forged": result.get("forged", 0),
            "distance": max(distance, cpu_distance())}


def small(name, count, port, load, templates):
    load = list(load) + (["--template"] if templates else [])
    if count >= MANY:
        load += ["--outstanding", 1024, "--connect-rate", 200_000]
    return {"name": f"{name}, {count:,} connection{'' if count == 1 else 's'}", "connections": count, "port": port,
            "load": load, "key": "rate", "small": True}


def cases(counts, templates):
    for count in counts:
        yield small("64 B HTTP", count, 80, [], templates)
    for count in counts:
        yield small("64 B echo", count, 7, ["--mode", "echo", "--size", 64], templates)
    for flows, window in ((1, 256), (16, 32)):
        yield {"name": f"64 B UDP echo, {flows} flow{'' if flows == 1 else 's'} of {window}", "connections": flows,
               "port": 7, "udp": True, "load": ["--mode", "udp", "--size", 64, "--pipeline", window] +
               (["--template"] if templates else []), "key": "rate", "small": True, **DATAGRAMS}
    for tso in (True, False):
        yield {"name": f"16 MiB responses, 1 connection, {'TSO' if tso else 'no TSO'}", "connections": 1, "port": 80,
               "load": ["--bytes", 16 << 20], "tso": tso, "key": "gbps", "small": False}


def emit_row(case, name, results):
    keys = [case["key"], "p50", "p99"] + (["server", "cycles"] if case["small"] else [])
    columns = [pairs.spread([r[key] for r in results]) for key in keys]
    columns += [] if case["small"] else ["-", "-"]
    columns += [pairs.spread([r[key] for r in results]) for key in ("busy", "distance")]
    pairs.emit(f"| {name} | " + " | ".join(columns) + " |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--only", default="", help="only cases whose name has this text")
    parser.add_argument("--connections", default="1,256,10000")
    parser.add_argument("--no-templates", action="store_true", help="the generator's full stack for small requests too")
    options = parser.parse_args()
    world.enter()
    more = " --no-templates" if options.no_templates else ""
    pairs.emit(f"\n### virtio, no kernel anywhere\n\n`bench/workloads/virtio.py --runs {options.runs} --seconds "
               f"{options.seconds:g} --connections {options.connections}{more}`; {pairs.machine()}\n")
    pairs.emit("| case | requests/s or Gb/s | p50 us | p99 us | server cycles/request | generator cycles/request | "
               "generator busy % | CPU to CPU and back, cycles |\n|---|---|---|---|---|---|---|---|")
    counts = [int(x) for x in options.connections.split(",") if x]
    with HugePages(), world.World() as w:
        for case in cases(counts, not options.no_templates):
            if options.only not in case["name"]:
                continue
            try:
                results = pairs.run_alone(lambda: measure(w, case, options.seconds), options.runs)
            except Exception as problem:  # the other rows are still wanted
                pairs.emit(f"| {case['name']} | failed: {str(problem).strip().splitlines()[0]} | | | | | | |")
                print(problem, file=pairs.sys.stderr)
                continue
            near = [r for r in results if r["distance"] < NEAR]
            far = [r for r in results if r["distance"] >= NEAR]
            if near and far:
                emit_row(case, f"{case['name']}; {len(near)} runs with near CPUs", near)
                emit_row(case, f"{case['name']}; {len(far)} with far ones", far)
            else:
                emit_row(case, case["name"], results)



if __name__ == "__main__":
    main()
