#!/usr/bin/env python3
"""Scanners and floods from the kernel's side of a TAP: the server goes on serving, its memory stays bounded, and every
refused packet has a counter."""
import json
import shutil
import time

import world

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened")
PACKETS = 20_000  # a flood; bounded, on a private TAP
URL = f"http://{world.STACK4}/bytes/100000"


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            world.skip(f"{tool} is not installed (ci/install-packages test)")


def serve(w):
    return w.server("millrace-httpd", "--tap", "mr0", "--set", "worker.max_half_open=1024")


def memory_kib(server):
    with open(f"/proc/{server.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def counters(w):
    return {r["counter"]: r["value"] for r in json.loads(w.run("millrace", "netstat", "-s", "-a", "--json").stdout)}


def fetch(w, seconds=10):
    began = time.monotonic()
    done = w.run("curl", "-sS", "-o", w.path("body"), "-w", "%{size_download}", "--max-time", seconds, URL, check=False)
    world.expect(done.returncode == 0 and done.stdout == "100000",
                 f"the page was not served: {done.stdout}{done.stderr}")
    return time.monotonic() - began


def hping(w, *words):
    """A flood; returns while it runs."""
    return w.start("hping3", "-q", "--faster", "-c", PACKETS, *words, world.STACK4)


def survive(w, server, floods):
    """Serves while each flood runs; memory grows by 32 MiB at most. Returns the counters that moved."""
    fetch(w)
    before, start = counters(w), memory_kib(server)
    slowest = 0.0
    for words in floods:
        flood = hping(w, *words)
        end = time.monotonic() + 1.5
        while flood.alive() and time.monotonic() < end:
            slowest = max(slowest, fetch(w))
        flood.stop()
        world.expect(server.alive(), f"the server ended under {words}")
    slowest = max(slowest, fetch(w))
    grown = memory_kib(server) - start
    world.expect(grown < 32 << 10, f"the server grew by {grown} KiB")
    after = counters(w)
    moved = {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)}
    return moved, f"slowest page {slowest * 1000:.0f} ms, grew by {grown} KiB"


def syn_floods(w):
    need("hping3")
    moved, note = survive(w, serve(w), [["-S", "-p", "80", "--rand-source"], ["-S", "-p", "80"]])
    world.expect(moved.get("tcp.half_open_evicted", 0) > 0, f"the half-open table never filled: {moved}")
    return note


def odd_segments(w):
    need("hping3")
    floods = [["-A", "-p", "80"], ["-R", "-p", "80"], ["-F", "-P", "-U", "-p", "80"], ["-S", "-A", "-p", "80"],
              ["-A", "-p", "80", "--tcp-timestamp"], ["-S", "-p", "80", "-a", world.STACK4, "-s", "80", "-k"]]
    _, note = survive(w, serve(w), floods)
    return note


def fragments_icmp_and_other_protocols(w):
    need("hping3")
    floods = [["-1"], ["-1", "-d", "3000"], ["-S", "-p", "80", "-f"], ["-2", "-p", "53", "-d", "100"],
              ["-0", "-H", "132", "-d", "40"], ["-1", "-x", "-d", "400"], ["-1", "-x", "-d", "400", "--rand-source"]]
    _, note = survive(w, serve(w), floods)
    return note


def nmap_scans(w):
    need("nmap")
    server = serve(w)
    for words in (["-sS", "-p", "1-600"], ["-sF", "-p", "1-200"], ["-sX", "-p", "1-200"], ["-sA", "-p", "1-200"],
                  ["-sO", "-p", "1-20", "--max-retries", "1"], ["-sU", "-p", "52-54", "--max-retries", "1"],
                  ["-O", "-p", "79-81", "--osscan-limit"]):
        text = w.run("nmap", "-n", "-Pn", "--host-timeout", "6s", *words, world.STACK4, timeout=60).stdout
        if words[0] == "-sS":
            world.expect("80/tcp open" in text.replace("   ", " "), f"nmap does not find the port:\n{text}")
            world.expect("599 closed" in text, f"closed ports do not answer:\n{text}")
        fetch(w)
    text = w.run("nmap", "-6", "-n", "-Pn", "-sS", "-p", "79-81", world.STACK6, timeout=60).stdout
    world.expect("80/tcp open" in text, f"nmap does not find the port over IPv6:\n{text}")
    fetch(w)
    world.expect(server.alive(), "the server ended")


world.main(syn_floods, odd_segments, fragments_icmp_and_other_protocols, nmap_scans)
