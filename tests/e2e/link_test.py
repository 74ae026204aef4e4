#!/usr/bin/env python3
"""millrace-link between two veth ends: the kernel on both sides, which sees delay, rate and loss; the example of its
help; and the workload that puts Millrace and the kernel behind it."""
import json
import os
import re
import sys

import world
from world import expect

sys.path.insert(0, os.path.join(world.ROOT, "bench", "workloads"))
import wan  # noqa: E402

FAR = wan.FAR


def round_trips(w, *words):
    said = w.run("ping", *words, FAR, ns="near", check=False).stdout
    return [float(x) for x in re.findall(r"time=([\d.]+)", said)], said


def delays_limits_and_loses_as_told(w):
    wan.lay_cables(w)
    # Frames of 1,250 bytes on the wire at 10 Mb/s: 1 ms each.
    path = {"both": "delay=15ms", "forward": "rate=10M,queue=12.5k,loss=20%,duplicate=10%"}
    link = wan.start_link(w, path, 5)
    times, said = round_trips(w, "-c100", "-i0.005", "-s1184", "-W1")
    # None is early; how many are late is the machine's doing, but not all.
    expect(times and 30.9 <= min(times) < 33, f"31 ms and a little expected, {min(times, default=0)} at best\n{said}")
    # A burst at once: ten in the queue, one on the wire.
    w.run("ping", "-c40", "-l40", "-q", "-s1184", "-W1", FAR, ns="near", check=False)
    # What no wire of this MTU carries, and the ring of the interface cuts off, is refused.
    for device, ns in (("l0", None), ("near0", "near")):
        w.run("ip", "link", "set", device, "mtu", "9000", ns=ns)
    for size in (1600, 8000):
        w.run("ping", "-c1", "-q", "-s", size, "-W0.1", FAR, ns="near", check=False)
    seen = wan.stop_link(link)["forward"]
    expect(seen["too_long"] == 2, f"two frames are too long: {seen}")
    through = seen["frames"] - seen["lost_in_queue"]
    expect(0.08 < seen["lost"] / through < 0.35, f"a fifth is to be lost: {seen}")
    expect(seen["duplicated"] > 0, f"a tenth is to come twice: {seen}")
    expect(seen["lost_in_queue"] >= 20, f"the queue took more than it has room for: {seen}")
    expect(seen["frames"] == seen["sent"] - seen["duplicated"] + seen["lost"] + seen["lost_in_queue"],
           f"frames are missing: {seen}")


def the_example_of_the_help_works(w):
    text = w.run("millrace-link", "--help").stdout.split("Example:\n", 1)[1]
    said = w.run("sh", "-c", text, env={"PATH": world.BIN + ":" + os.environ["PATH"]}).stdout
    expect(re.search(r"rtt min/avg/max/mdev = 2\d\.", said), f"no round trips of 20 ms:\n{said}")
    expect(json.loads(said[said.index("{"):said.rindex("}") + 1])["forward"]["frames"] >= 5, said)


def both_senders_of_the_wan_workload_get_through(w):
    """A smoke test: one short pair of bench/workloads/wan.py, and that each side fills a tenth of the link."""
    sys.argv = ["wan.py", "--pairs", "1", "--seconds", "1", "--short", "1", "--rate", "20M", "--late-us", "1e9"]
    wan.lay_cables(w)
    cell = wan.run_cell(w, {"rtt": 20, "loss": 0.1, "controller": "reno", "queue": 1}, wan.options_of())
    for kind in ("millrace", "linux"):
        expect(cell[kind]["mbps"][0] > 2 and cell[kind]["short"][0] < 5, f"{kind} crawls: {cell}")
    expect(wan.row(cell).count("|") == wan.HEADER.splitlines()[0].count("|"), wan.row(cell))


if __name__ == "__main__":
    world.enter()
    world.main(delays_limits_and_loses_as_told, the_example_of_the_help_works,
               both_senders_of_the_wan_workload_get_through)
