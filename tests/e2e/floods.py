"""Floods with hping3 from the kernel's side of a link, while the stack serves a page: what every link must survive.
`ns` is where the stack's programs run."""
import json
import shutil
import time

import world

PACKETS = 20_000  # a flood; bounded, in a private world
URL = f"http://{world.STACK4}/bytes/100000"


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            world.skip(f"{tool} is not installed (ci/install-packages test)")


def memory_kib(server):
    with open(f"/proc/{server.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def counters(w, ns=None):
    rows = json.loads(w.run("millrace", "netstat", "-s", "-a", "--json", ns=ns).stdout)
    return {r["counter"]: r["value"] for r in rows}


def fetch(w, seconds=10):
    began = time.monotonic()
    done = w.run("curl", "-sS", "-o", w.path("body"), "-w", "%{size_download}", "--max-time", seconds, URL, check=False)
    world.expect(done.returncode == 0 and done.stdout == "100000",
                 f"the page was not served: {done.stdout}{done.stderr}")
    return time.monotonic() - began


def survive(w, server, floods, ns=None):
    """Serves while each flood runs; memory grows by 32 MiB at most. Returns the counters that moved."""
    fetch(w)
    before, start = counters(w, ns), memory_kib(server)
    slowest = 0.0
    for words in floods:
        flood = w.start("hping3", "-q", "--faster", "-c", PACKETS, *words, world.STACK4)
        end = time.monotonic() + 1.5
        while flood.alive() and time.monotonic() < end:
            slowest = max(slowest, fetch(w))
        flood.stop()
        world.expect(server.alive(), f"the server ended under {words}")
    slowest = max(slowest, fetch(w))
    grown = memory_kib(server) - start
    world.expect(grown < 32 << 10, f"the server grew by {grown} KiB")
    after = counters(w, ns)
    moved = {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)}
    return moved, f"slowest page {slowest * 1000:.0f} ms, grew by {grown} KiB"
