#!/usr/bin/env python3
"""millrace-load as the client of servers on the kernel, over TAP: the stack opens the connections."""
import json
import os
import sys

import world
from world import expect

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer.py")


def peer(w, *args):
    """A kernel server on port 8080, on every address of this world."""
    w.server(sys.executable, PEER, "8080", *args, ready=lambda: w.connects("127.0.0.1", 8080))


def load(w, target, *flags, timeout=120):
    """Runs millrace-load and returns its JSON report."""
    done = w.run("millrace-load", "--tap", "mr0", "--target", f"{target}:8080", "--json", *flags, timeout=timeout,
                 check=False)
    expect(done.returncode == 0, f"millrace-load {flags}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


TARGETS = (world.KERNEL4, f"[{world.KERNEL6}]")


def asks_over_ipv4_and_ipv6(w):
    peer(w)
    for target in TARGETS:
        report = load(w, target, "--path", "/", "--warmup", "0.2", "--duration", "1")
        expect(report["responses"] > 100, f"few answers: {report}")
        expect(not report["errors"], f"errors: {report}")


def receives_a_gibibyte(w):
    peer(w)
    notes = []
    for target in TARGETS:
        report = load(w, target, "--bytes", str(1 << 30), "--check-all", "--warmup", "0", "--duration", "3")
        expect(not report["errors"], f"errors: {report}")
        expect(report["responses"] >= 1, f"no whole gibibyte: {report}")
        notes.append(f"{report['responses']} GiB at {report['gbit_per_s']:.1f} Gb/s")
    return ", ".join(notes)


def keeps_a_thousand_connections(w):
    peer(w)
    for target in TARGETS:
        report = load(w, target, "--path", "/", "--connections", "1000", "--warmup", "0.5", "--duration", "1")
        expect(not report["errors"], f"errors: {report}")
        expect(report["run"].find("1000 connections") > 0 and report["measured"], f"not 1,000 connections: {report}")
        expect(report["responses"] >= 1000, f"few answers: {report}")


def opens_and_closes_connections_again_and_again(w):
    peer(w)
    # Not longer: each leaves its port in TIME-WAIT, and there are 28,000.
    report = load(w, world.KERNEL4, "--path", "/", "--connections", "10", "--requests-per-connection", "1", "--warmup",
                  "0.2", "--duration", "1")
    expect(not report["errors"], f"errors: {report}")


def echoes_raw_bytes(w):
    peer(w, "echo")
    report = load(w, world.KERNEL4, "--mode", "echo", "--size", "20000", "--connections", "10", "--warmup", "0.2",
                  "--duration", "1")
    expect(not report["errors"], f"errors: {report}")


def sends_from_templates(w):
    """Connections beside the stack: the kernel must find them good TCP, with timestamps and without, to the end."""
    peer(w)
    for target in TARGETS:
        for more in ((), ("--no-timestamps",)):
            report = load(w, target, "--path", "/", "--connections", "100", "--template", "--warmup", "0.2",
                          "--duration", "0.5", *more)
            expect(report["measured"] and not report["errors"], f"errors: {report}")
            expect("oddities" not in report, f"odd segments: {report}")
            expect(report["responses"] >= 100, f"few answers: {report}")
    left = w.run("ss", "-Htn", "state", "connected", "exclude", "time-wait", "sport = :8080").stdout.split("\n")
    expect(len([line for line in left if line]) == 0, f"connections left at the server: {left}")


def says_that_nobody_listens(w):
    done = w.run("millrace-load", "--tap", "mr0", "--target", f"{world.KERNEL4}:9", check=False, timeout=60)
    text = done.stdout + done.stderr
    expect(done.returncode == 1, f"status {done.returncode}\n{text}")
    expect("connections fail" in text and "refused" in text, f"does not say what failed:\n{text}")


if __name__ == "__main__":
    world.enter()
    if not world.tap_usable():
        world.skip("/dev/net/tun cannot be opened here")
    world.main(asks_over_ipv4_and_ipv6, receives_a_gibibyte, keeps_a_thousand_connections,
               opens_and_closes_connections_again_and_again, echoes_raw_bytes, sends_from_templates,
               says_that_nobody_listens)
