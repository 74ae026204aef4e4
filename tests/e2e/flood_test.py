#!/usr/bin/env python3
"""Scanners and floods from the kernel's side of a TAP: the server goes on serving, its memory stays bounded, and every
refused packet has a counter."""
import json
import os
import sys
import time

import datagrams
import world
from floods import URL, counters, fetch, memory_kib, need, survive

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened")
NEIGHBOURS_AT_MOST = 4096


def serve(w):
    return w.server("millrace-httpd", "--tap", "mr0", "--set", "worker.max_half_open=1024")


def syn_floods(w):
    need("hping3")
    moved, note = survive(w, serve(w), [["-S", "-p", "80", "--rand-source"], ["-S", "-p", "80"]])
    world.expect(moved.get("tcp.syncookies_sent", 0) > 0, f"the half-open table never filled: {moved}")
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


# Frames from neighbours that do not exist: ARP requests, solicitations, SYNs whose answers nobody takes.
NEIGHBOURS = r"""
import random, socket, struct, sys, time
sys.path.insert(0, sys.argv[1])
from datagrams import Wire, checksum
mac, wire, end = bytes.fromhex(sys.argv[2]), Wire("mr0"), time.monotonic() + float(sys.argv[3])
stack4, stack6 = socket.inet_aton("10.99.0.1"), socket.inet_pton(socket.AF_INET6, "fd00:6d72::2")
rng = random.Random(1)

def tcp(source, to, pseudo):
    syn = struct.pack("!HHIIHHHH", rng.randrange(1024, 65535), 80, rng.getrandbits(32), 0, 0x5002, 65535, 0, 0)
    return syn[:16] + struct.pack("!H", checksum(pseudo + syn)) + syn[18:]

while time.monotonic() < end:
    for _ in range(50):
        from4 = struct.pack("!I", 0x0a630000 | rng.randrange(2, 65534))
        from6 = stack6[:8] + rng.randbytes(8)
        fake = b"\x02" + rng.randbytes(5)
        wire.send(b"\xff" * 6, 0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + fake + from4 + bytes(6) + stack4)
        ask = struct.pack("!BBHI", 135, 0, 0, 0) + stack6 + b"\x01\x01" + fake
        pseudo = from6 + stack6 + struct.pack("!II", len(ask), 58)
        ask = ask[:2] + struct.pack("!H", checksum(pseudo + ask)) + ask[4:]
        wire.send(mac, 0x86dd, struct.pack("!IHBB", 6 << 28, len(ask), 58, 255) + from6 + stack6 + ask)
        from4 = struct.pack("!I", 0x0a630000 | rng.randrange(2, 65534))
        syn = tcp(from4, stack4, from4 + stack4 + struct.pack("!HH", 6, 20))
        head = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + from4 + stack4
        wire.send(mac, 0x0800, head[:10] + struct.pack("!H", checksum(head)) + head[12:] + syn)
        from6 = stack6[:8] + rng.randbytes(8)
        syn = tcp(from6, stack6, from6 + stack6 + struct.pack("!II", 20, 6))
        wire.send(mac, 0x86dd, struct.pack("!IHBB", 6 << 28, 20, 6, 64) + from6 + stack6 + syn)
    time.sleep(0.005)
"""


def neighbours_that_do_not_exist(w):
    """The table of neighbours is full all the time; who has talked to us goes on, and newcomers get in."""
    server = serve(w)
    w.run("millrace", "ifconfig", "mr0", "add", "10.99.0.1/16")
    fetch(w)
    start, before = memory_kib(server), counters(w)
    mac = datagrams.stack_mac(w)
    flood = w.start(sys.executable, "-c", NEIGHBOURS, os.path.dirname(os.path.abspath(__file__)), mac.hex(), "30")
    rows = lambda: json.loads(w.run("millrace", "arp", "--json").stdout) + json.loads(
        w.run("millrace", "ndp", "--json").stdout)
    w.wait(lambda: len(rows()) == NEIGHBOURS_AT_MOST, 10, flood)
    slowest = 0.0
    for number in range(20, 23):  # clients that the stack has not seen
        fresh = f"198.18.0.{number}"
        w.address(None, "mr0", f"{fresh}/24")
        began = time.monotonic()
        done = w.run("curl", "-sS", "--interface", fresh, "-o", w.path("body"), "-w", "%{size_download}", "--max-time",
                     "10", URL, check=False)
        world.expect(done.stdout == "100000", f"a new client was not served: {done.stdout}{done.stderr}")
        slowest = max(slowest, time.monotonic() - began, fetch(w))
    world.expect(flood.alive(), flood.output())
    flood.stop()
    kept = len(rows())
    world.expect(kept <= NEIGHBOURS_AT_MOST, f"{kept} neighbours")
    grown = memory_kib(server) - start
    world.expect(grown < 32 << 10, f"the server grew by {grown} KiB")
    after = counters(w)
    for name in ("neigh.evicted", "neigh.given_up"):
        world.expect(after.get(name, 0) > before.get(name, 0), f"{name} did not move")
    world.expect(server.alive(), "the server ended")
    return f"slowest page {slowest * 1000:.0f} ms, {kept} neighbours, grew by {grown} KiB"


world.main(neighbours_that_do_not_exist, syn_floods, odd_segments, fragments_icmp_and_other_protocols, nmap_scans)
