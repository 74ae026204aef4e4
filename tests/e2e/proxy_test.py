#!/usr/bin/env python3
"""millrace-proxy between the kernel's client and the kernel's server, as coroutines and as microthreads."""
import hashlib
import os
import sys

import world
from world import expect

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer.py")
WAYS = ((), ("--microthreads",))

# A client that sends, says that it has finished, and only then reads. Arguments: address, bytes.
HALF_CLOSE = """
import hashlib, os, socket, sys, threading
data = os.urandom(int(sys.argv[2]))
with socket.create_connection((sys.argv[1], 8080), 10) as s:
    got = hashlib.sha256()
    def read():
        while piece := s.recv(65536): got.update(piece)
    reader = threading.Thread(target=read)
    reader.start()
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    reader.join()
print(got.hexdigest() == hashlib.sha256(data).hexdigest())
"""

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")


def carries_pages(w):
    with open(w.path("body"), "wb") as f:
        f.write(os.urandom(5_000_000))
    with open(w.path("body"), "rb") as f:
        want = hashlib.sha256(f.read()).hexdigest()
    w.server(sys.executable, "-m", "http.server", "8000", "--bind", "::", "--directory",
             os.path.dirname(w.path("body")), ready=lambda: w.connects("127.0.0.1", 8000))
    for flags in WAYS:
        for server in (f"{world.KERNEL4}:8000", f"[{world.KERNEL6}]:8000"):
            running = w.start("millrace-proxy", "--tap", "mr0", "--to", server, *flags)
            w.wait(lambda: w.connects(world.STACK4, 8080), 20, running)
            for address in (world.STACK4, f"[{world.STACK6}]"):
                w.run("curl", "-sf", "-o", w.path("copy"), f"http://{address}:8080/body", timeout=30)
                with open(w.path("copy"), "rb") as f:
                    expect(hashlib.sha256(f.read()).hexdigest() == want, f"{flags} {server} {address}: other bytes")
            running.stop()


def carries_both_ways_at_once_and_half_closes(w):
    w.server(sys.executable, PEER, "8081", "echo", ready=lambda: w.connects("127.0.0.1", 8081))
    for flags in WAYS:
        running = w.start("millrace-proxy", "--tap", "mr0", "--to", f"{world.KERNEL4}:8081", *flags)
        w.wait(lambda: w.connects(world.STACK4, 8080), 20, running)
        for address in (world.STACK4, world.STACK6):
            said = w.run(sys.executable, "-c", HALF_CLOSE, address, "3000000", timeout=30).stdout.strip()
            expect(said == "True", f"{flags} {address}: other bytes came back")
        running.stop()


def refuses_what_is_no_address(w):
    done = w.run("millrace-proxy", "--tap", "mr0", "--to", "nowhere", check=False)
    expect(done.returncode != 0 and "nowhere" in done.stderr and done.stderr.count("\n") == 1, f"{done}")


world.main(carries_pages, carries_both_ways_at_once_and_half_closes, refuses_what_is_no_address)
