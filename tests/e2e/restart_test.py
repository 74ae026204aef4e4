#!/usr/bin/env python3
"""Killed at any moment, a program leaves nothing that stops its next start. KILL_ROUNDS is the number of kills."""
import os
import random
import signal
import time

import basics
import world
from world import expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")
ROUNDS = int(os.environ.get("KILL_ROUNDS", "15"))
SEED = int(os.environ.get("KILL_SEED", str(time.time_ns() % 1_000_000)))


def starts_again_after_kill_9_at_any_moment(w):
    rng = random.Random(SEED)
    site = basics.Site()
    for round in range(ROUNDS):
        server = w.start("millrace-httpd", "--tap", "mr0")
        time.sleep(rng.uniform(0, 0.4))
        busy = w.start("curl", "-s", "-o", "/dev/null", "--max-time", "5", site.url(site.v4, "/bytes/100000000"))
        time.sleep(rng.uniform(0, 0.2))
        expect(server.alive(), f"round {round} of seed {SEED}: ended by itself\n{server.output()}")
        server.stop(signal.SIGKILL)
        busy.stop(signal.SIGKILL)
    w.server("millrace-httpd", "--tap", "mr0")
    basics.fetches_the_front_page(w, site)
    return f"{ROUNDS} kills, seed {SEED}"


def ends_at_once_when_asked(w):
    for number in (signal.SIGTERM, signal.SIGINT):
        server = w.server("millrace-httpd", "--tap", "mr0")
        status = server.stop(number, 5)
        expect(status == 0, f"status {status} after signal {number}\n{server.output()}")
        expect("mr0" not in w.run("ip", "link").stdout, "the TAP device is still there")
        w.server("millrace-httpd", "--tap", "mr0").stop()


world.main(starts_again_after_kill_9_at_any_moment, ends_at_once_when_asked)
