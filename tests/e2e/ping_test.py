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


def finds_the_routers_on_the_way(w):
    """stack --- TAP --- this world --- middle --- far: errors of both routers reach the program."""
    for name, here, there, net in (("middle", None, "middle", 1), ("far", "middle", "far", 2)):
        w.namespace(name)
        w.veth(f"a{net}", here, f"b{net}", there)
        w.address(here, f"a{net}", f"10.77.{net}.1/24", f"fd77:{net}::1/64")
        w.address(there, f"b{net}", f"10.77.{net}.2/24", f"fd77:{net}::2/64")
    for ns in (None, "middle"):
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            w.run("sysctl", "-qw", setting, ns=ns)
    for family, far_net, one, two in (("-4", "10.77.2.0/24", "10.77.1.", "10.77.2."),
                                      ("-6", "fd77:2::/64", "fd77:1::", "fd77:2::")):
        w.run("ip", family, "route", "add", far_net, "via", one + "2")
        w.run("ip", family, "route", "add", "default", "via", one + "1", ns="middle")
        w.run("ip", family, "route", "add", "default", "via", two + "1", ns="far")
    for target, gateway, middle in (("10.77.2.2", world.KERNEL4, "10.77.1.2"),
                                    ("fd77:2::2", world.KERNEL6, "fd77:1::2")):
        ping = ("millrace-ping", target, "--tap", "mr0", "--gateway", gateway)
        said = w.run(*ping, "--trace", "-W", "3", check=False)
        hops = [line.split()[1] for line in said.stdout.splitlines()[1:]]
        expect(said.returncode == 0 and hops == [gateway, middle, target], f"{said.stdout}{said.stderr}")
        said = w.run(*ping, "--ttl", "2", "-c", "3", "-W", "3", check=False)
        expect(f"from {middle}: hop limit exceeded" in said.stdout and said.returncode == 1, said.stdout)


world.main(finds_the_routers_on_the_way, asks_the_kernel_with_every_kind_of_size, shows_errors_of_the_way)
