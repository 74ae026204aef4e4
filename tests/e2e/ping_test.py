#!/usr/bin/env python3
"""millrace-ping on a TAP device asks the kernel of this machine, with payloads up to the largest."""
import world
from world import expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")


def asks_the_kernel_with_every_kind_of_size(w):
    for address in (world.KERNEL4, world.KERNEL6):
        for size in (0, 56, 1400, 1473, 9_999, 65_507 if "." in address else 65_487):
            said = w.run("millrace-ping", "--tap", "mr0", "-c", "5", "-i", "0.02", "-s", size, address, check=False)
            received = next((x for x in said.stdout.splitlines() if "received" in x), "no summary")
            expect(" corrupt" not in received and "5 sent" in received and " 0 received" not in received,
                   f"{address}, {size} bytes: {said.stdout}{said.stderr}")


def shows_errors_of_the_way(w):
    said = w.run("millrace-ping", "--tap", "mr0", "-c", "1", "-W", "5", "198.18.0.77", check=False)
    expect(said.returncode != 0 and "host unreachable" in said.stdout.lower().replace("no route to host",
                                                                                       "host unreachable"),
           f"nobody has that address:\n{said.stdout}{said.stderr}")


world.main(asks_the_kernel_with_every_kind_of_size, shows_errors_of_the_way)
