#!/usr/bin/env python3
"""Programs of a service are killed at any moment, KILL_ROUNDS times (100): the service goes on, leaks nothing, and
another of its programs, which serves all the time, notices nothing. `make soak` runs it."""
import os
import random
import signal
import socket
import sys
import time

import world
from world import expect

ROUNDS = int(os.environ.get("KILL_ROUNDS", "100"))
SEED = int(os.environ.get("KILL_SEED", random.randrange(1 << 30)))
ATTACH = ("millrace", "run", "--")
STEADY = """
import socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
Server(("198.18.0.2", 7000), Handler).serve_forever()
"""
# Streams both ways, datagrams, children, other programs, and messages that nobody takes in, for ever.
VICTIM = """
import ctypes, os, signal, socket, subprocess, threading
near, far = socket.socketpair()
near.setblocking(False)
l = socket.create_server(("198.18.0.2", 7001))
def talk():
    while True:
        try:
            with socket.create_connection(("198.18.0.2", 7001)) as s, socket.socket(type=socket.SOCK_DGRAM) as d:
                s.sendall(b"x" * 300_000)
                d.sendto(b"x" * 3_000, ("198.18.0.1", 9))
        except OSError:
            pass
for _ in range(3):
    threading.Thread(target=talk, daemon=True).start()
while True:
    s, _ = l.accept()
    if s.fileno() % 4 == 0 and os.fork() == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it has both ends, and would wait for ever; dies with its parent
        signal.alarm(5)
        s.recv(1_000)
        os._exit(0)
    if s.fileno() % 4 == 1:
        subprocess.Popen(["cat"], stdin=s, stdout=subprocess.DEVNULL)
    try:
        socket.send_fds(near, [b"x"], [s.fileno()])
    except OSError:
        socket.recv_fds(far, 100, 4)
    s.recv(100_000)
    s.close()
"""


def memory_of(process):
    """Resident KiB."""
    with open(f"/proc/{process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def left(w):
    """The victims' sockets that live, though nobody holds them."""
    return [line for line in w.run("millrace", "netstat").stdout.splitlines()
            if "7001" in line and "TIME-WAIT" not in line]


def segments(process):
    folder = f"/proc/{process.pid}/fd"
    return sum("memfd" in os.readlink(f"{folder}/{name}") for name in os.listdir(folder))


def ask(sock, word):
    sock.sendall(word + b"\n")
    got = b""
    while not got.endswith(b"\n"):
        got += sock.recv(100)
    expect(got == word + b"\n", f"the steady program answers {got}")


def goes_on_when_programs_are_killed(w):
    rng = random.Random(SEED)
    service = w.server("millraced", "--interface", "mr0,dad=false",
                       ready=lambda: os.path.exists("/run/millrace/service"))
    w.server(*ATTACH, sys.executable, "-c", STEADY, ready=lambda: w.connects(world.STACK4, 7000))
    used = []  # after each half: what the second needs, the first has left in the pools
    lived = 0
    at_first = segments(service.process)
    with socket.create_connection((world.STACK4, 7000), 10) as steady:
        for i in range(ROUNDS):
            victim = w.server(*ATTACH, sys.executable, "-c", VICTIM, ready=lambda: True)
            if i % 4 != 0:  # the others may be killed while they start
                w.wait(lambda: any("LISTEN" in line for line in left(w)) or not victim.alive(), 20, victim)
            time.sleep(rng.uniform(0.02, 0.6))
            ask(steady, b"round %d" % i)
            lived += victim.alive()
            victim.process.send_signal(signal.SIGKILL)
            victim.process.wait()
            if i == ROUNDS // 2 - 1 or i == ROUNDS - 1:
                end = time.monotonic() + 60  # what was on its way to other programs waits for half as long
                while left(w) and time.monotonic() < end:
                    time.sleep(0.5)
                used.append(memory_of(service.process))
        ask(steady, b"the end")
        expect(not left(w), f"{len(left(w))} sockets are left: {left(w)[:4]}")
    left_over = segments(service.process) - at_first
    expect(left_over == 0, f"{left_over} segments are left")
    expect(used[-1] < used[0] * 5 // 4 + 16_384, f"the service grew from {used[0]} to {used[-1]} KiB")
    expect("nonsense" not in service.output(), service.output())
    expect(lived * 2 > ROUNDS, f"only {lived} of {ROUNDS} lived until they were killed")
    return f"{lived} of {ROUNDS} killed alive, seed {SEED}, {used[-1]} KiB"


if __name__ == "__main__":
    world.enter()
    if not world.tap_usable():
        world.skip("/dev/net/tun cannot be opened here")
    world.main(goes_on_when_programs_are_killed)
