#!/usr/bin/env python3
"""millrace-httpd on DPDK, over a veth cable to the kernel: the packets go through AF_PACKET, or AF_XDP with
MILLRACE_E2E_DPDK=af_xdp. Memory comes without huge pages, so that the test asks nothing of the machine."""
import os

import basics
import world
from failure_test import fails
from world import expect

KIND = os.environ.get("MILLRACE_E2E_DPDK", "af_packet")
GIB = int(os.environ.get("MILLRACE_E2E_BYTES", 1 << 30))


def config(w, extra=""):
    """The same TOML file that a user would write."""
    path = w.path("dpdk.toml")
    with open(path, "w") as f:
        f.write(f"""
[interface.wire0]
driver = "dpdk"
device = "net_{KIND}0,iface=wire1"
address = ["{world.STACK4}/24", "{world.STACK6}/64"]

[dpdk]
eal = ["--no-huge"]
{extra}
""")
    return path


def cable(w, mtu=1500):
    """wire0 with the kernel's addresses here; wire1, for DPDK, in the namespace "stack"."""
    w.namespace("stack")
    w.veth("wire0", None, "wire1", "stack", mtu)
    # The kernel must finish its checksums and cut its segments itself: the far end takes frames as they are.
    w.run("ethtool", "-K", "wire0", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
    w.address(None, "wire0", f"{world.KERNEL4}/24", f"{world.KERNEL6}/64")


def setup(w):
    cable(w)
    w.server("millrace-httpd", "--config", config(w), ns="stack", seconds=40, ready=lambda: w.answers(world.STACK4))
    return basics.Site()


def starts_again_after_kill_9(w):
    """With the smallest pools that there may be, which DPDK's usual caches do not fit."""
    site = setup(w)
    for _ in range(3):
        w.servers[-1].stop(9)
        w.server("millrace-httpd", "--config", config(w), "--set", "worker.references=512", ns="stack", seconds=40,
                 ready=lambda: w.answers(world.STACK4))
        basics.fetches_the_front_page(w, site)
    w.servers[-1].stop(9)
    left = [os.path.join(folder, name) for folder, _, names in os.walk("/run/dpdk") for name in names]
    expect(not left, f"killed programs left {left}")


def two_workers_have_a_queue_each(w):
    """AF_PACKET has no RSS that we know of: the kernel deals flows out as it likes, and workers hand over."""
    cable(w)
    server = w.server("millrace-httpd", "--config", config(w), "--workers", "2", ns="stack", seconds=40,
                      ready=lambda: w.answers(world.STACK4))
    basics.workers_share(w, basics.Site(), 50, ns="stack")
    expect(server.stop() == 0, server.output())


def an_unknown_device_is_explained(w):
    for device, says in (("net_af_packet0,iface=nosuch0", "nosuch0"), ("net_nosuch0", "net_nosuch0"),
                         ("0000:ff:1f.7", "0000:ff:1f.7")):
        fails(w, "millrace-httpd", "--config", config(w), "--interface", f"wire0,device={device}", says=[says])


def a_shortage_of_huge_pages_is_explained(w):
    cable(w)
    path = config(w)
    with open(path) as f:
        text = f.read().replace('"--no-huge"', "")
    with open(path, "w") as f:
        f.write(text)
    fails(w, "millrace-httpd", "--config", path, "--set", "worker.frames=16000000", ns="stack",
          says=["huge pages", "nr_hugepages"])


def a_missing_permission_is_explained(w):
    cable(w)
    path = config(w)
    os.chmod(path, 0o644)
    fails(w, "millrace-httpd", "--config", path, ns="stack", user="65534", says=["permi"])


def an_interface_with_the_default_route_is_refused(w):
    cable(w)
    w.run("ip", "addr", "add", "192.0.2.1/24", "dev", "wire1", ns="stack")
    w.run("ip", "route", "add", "default", "via", "192.0.2.254", ns="stack")
    fails(w, "millrace-httpd", "--config", config(w), ns="stack", says=["wire1", "default route", "--force"])


if __name__ == "__main__":
    world.enter()
    world.main(*basics.cases(setup, GIB), starts_again_after_kill_9, two_workers_have_a_queue_each,
               an_unknown_device_is_explained,
               a_shortage_of_huge_pages_is_explained, a_missing_permission_is_explained,
               an_interface_with_the_default_route_is_refused)
