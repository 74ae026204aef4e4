#!/usr/bin/env python3
"""Large and broken datagrams against the kernel over TAP: pings of every size, fragments in every order, hostile
fragments, a router with a smaller MTU behind the first link, unreachable ports."""
import re
import shutil
import socket

import basics
import datagrams
import world
from datagrams import Wire, echo, fragment, pings, stack_mac
from world import KERNEL4, KERNEL6, STACK4, STACK6, expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")


def serve(w, *more):
    server = w.server("millrace-httpd", "--tap", "mr0", *more)
    w.wait(lambda: w.answers(STACK6), 10, server)  # its address is tested for duplicates first


def pings_of_every_size_are_answered(w):
    serve(w)
    datagrams.pings_of_every_size_are_answered(w)


def fragments_in_every_order_are_put_together(w):
    serve(w)
    datagrams.fragments_in_every_order_are_put_together(w, "mr0")


def hostile_fragments_do_no_harm(w):
    serve(w)
    mac, wire = stack_mac(w), Wire("mr0")
    for v6 in (False, True):
        kind = 0x86DD if v6 else 0x0800
        for number in range(200, 300):  # teardrop: each overlaps the one in front of it
            message = echo(v6, number)
            for start, end in ((0, 64), (56, 128), (128, 208)):
                wire.send(mac, kind, fragment(v6, number, message, start, end, end != 208))
        for number in range(300, 400):  # ping of death
            wire.send(mac, kind, fragment(v6, number, echo(v6, number, 70000), 65528, 65600, False))
        for number in range(400, 20400):  # a flood of first fragments
            wire.send(mac, kind, fragment(v6, number, echo(v6, number & 0xffff), 0, 32, True))
        expect(not set(range(200, 300)) & set(wire.echo_replies()), "an overlapping datagram was answered")
    for address in (STACK4, STACK6):  # the flood's rest may still stand in the queues when the first ping comes
        w.wait(lambda: " 0% packet loss" in pings(w, address, 8000), 5)
    counters = w.run("millrace", "netstat", "-s").stdout
    for name in ("fragment_overlap", "fragment_too_long", "evicted"):
        expect(name in counters, f"no {name} among the counters:\n{counters}")


def router_with_a_smaller_mtu(w):
    """far --- this world --- TAP --- stack: only the router in the middle knows that 1,400 bytes fit toward far."""
    serve(w, "--gateway", KERNEL4, "--gateway", KERNEL6)
    far = w.namespace("far")
    w.veth("near0", None, "far0", far)
    w.address(None, "near0", "10.77.0.1/24", "fd77::1/64")
    w.address(far, "far0", "10.77.0.2/24", "fd77::2/64")
    w.run("ip", "route", "replace", "10.77.0.0/24", "dev", "near0", "mtu", "lock", "1400")
    w.run("ip", "-6", "route", "replace", "fd77::/64", "dev", "near0", "mtu", "lock", "1400")
    w.run("ip", "-6", "route", "delete", "fd77::/64", "dev", "near0", "metric", "256", check=False)
    w.run("ip", "route", "add", "default", "via", "10.77.0.1", ns=far)
    w.run("ip", "-6", "route", "add", "default", "via", "fd77::1", ns=far)
    for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        world._write(f"/proc/sys/net/{setting}", "1")
    return far


def segments_follow_the_path_mtu(w):
    far = router_with_a_smaller_mtu(w)
    site = basics.Site(ns=far)
    for address in site.addresses():
        digest, said = basics.curl_sha256(w, site, address, "/bytes/3000000", 20)
        expect(said == "200 3000000", f"{address}: curl says {said!r}")
        expect(digest == basics.pattern_sha256(3_000_000), f"{address}: the content differs")
    counters = w.run("millrace", "netstat", "-s").stdout
    expect("tcp.path_mtu" in counters, f"no connection shrank its segments:\n{counters}")


def large_replies_follow_the_path_mtu(w):
    far = router_with_a_smaller_mtu(w)
    for address in (STACK4, STACK6):
        said = pings(w, address, 1440, ns=far, count=4)
        replies = int(re.search(r"(\d+) received", said).group(1))
        expect(replies >= 3, f"only the first reply may be lost on the way of 1,400 bytes:\n{said}")
        said = pings(w, address, 20000, ns=far)
        expect(" 0% packet loss" in said, f"{address}: 20,000 bytes\n{said}")


def routers_show_themselves_and_closed_ports_are_unreachable(w):
    """traceroute from behind a router, with UDP to closed ports and with echo requests; then its probes by hand."""
    if shutil.which("traceroute"):
        far = router_with_a_smaller_mtu(w)
        for address, router in ((STACK4, "10.77.0.1"), (STACK6, "fd77::1")):
            for how in ("-U", "-I"):
                said = w.run("traceroute", "-n", how, "-q", "1", "-w", "2", "-m", "4", address, ns=far).stdout
                hops = [line.split()[1] for line in said.splitlines()[1:]]
                expect(hops == [router, address], f"traceroute {how} {address}:\n{said}")
    else:
        serve(w)
    for family, address in ((socket.AF_INET, STACK4), (socket.AF_INET6, STACK6)):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(2)
            s.connect((address, 33434))  # as traceroute does
            s.send(b"anybody?")
            try:
                s.recv(100)
                raise world.Failed(f"{address}: somebody answered")
            except ConnectionRefusedError:
                pass


world.main(pings_of_every_size_are_answered, fragments_in_every_order_are_put_together, hostile_fragments_do_no_harm,
           segments_follow_the_path_mtu, large_replies_follow_the_path_mtu,
           routers_show_themselves_and_closed_ports_are_unreachable)
