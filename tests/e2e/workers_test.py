#!/usr/bin/env python3
"""Two workers in one process over a TAP with two queues, against the kernel: both serve, whichever queue the kernel
takes; a kill leaves nothing behind."""
import json
import signal
import socket
import time

import basics
import datagrams
import world
from world import expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")
WORKERS = ("--tap", "mr0", "--workers", "2")


def sockets(w):
    return json.loads(w.run(w.program("millrace"), "netstat", "--json").stdout)


def _hold(address, port, count):
    held = [socket.create_connection((address, port), 20) for _ in range(count)]
    for s in held:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        expect(s.recv(65536).startswith(b"HTTP/1.1 200"), "no answer on a held connection")
    return held


def both_workers_serve_connections_at_once(w):
    site = basics.Site()
    w.server("millrace-httpd", *WORKERS)
    basics.fetches_the_front_page(w, site)
    basics.serves_connections_at_once(w, site)
    basics.answers_pings_up_to_the_mtu(w, site)
    basics.refuses_a_port_that_nobody_listens_on(w, site)
    held = _hold(site.v4, site.port, 100)
    by_worker = [0, 0]
    for row in sockets(w):
        if row["state"] == "ESTABLISHED":
            by_worker[row["worker"]] += 1
    for s in held:
        s.close()
    expect(min(by_worker) >= 20 and sum(by_worker) == 100, f"connections by worker: {by_worker}")
    return f"100 connections as {by_worker}, {basics.hands_over(w)} frames handed over"


def groups_and_broadcasts_reach_both_workers_once(w):
    joined = [word for group in datagrams.GROUPS for word in ("--group", group)]
    server = w.server("millrace-udp-echo", *WORKERS, *joined)
    w.wait(lambda: w.answers(world.STACK6), 5, server)
    datagrams.every_worker_hears_groups_and_broadcasts_once("mr0", 2)


def starts_again_after_kill_9(w):
    site = basics.Site()
    for _ in range(5):
        server = w.server("millrace-httpd", *WORKERS)
        basics.fetches_the_front_page(w, site)
        server.stop(signal.SIGKILL)
    server = w.server("millrace-httpd", *WORKERS)
    basics.fetches_the_front_page(w, site)
    status = server.stop(signal.SIGTERM, 5)
    expect(status == 0, f"status {status} after SIGTERM\n{server.output()}")


def an_idle_process_sleeps(w):
    server = w.server("millrace-httpd", *WORKERS)
    time.sleep(0.5)
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as f:
        before = sum(map(int, f.read().split()[13:15]))
    time.sleep(2)
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as f:
        used = sum(map(int, f.read().split()[13:15])) - before
    expect(used <= 10, f"{used} hundredths of a second of CPU in two idle seconds")


world.main(both_workers_serve_connections_at_once, groups_and_broadcasts_reach_both_workers_once,
           starts_again_after_kill_9, an_idle_process_sleeps)
