#!/usr/bin/env python3
"""Large and broken datagrams against the kernel over TAP: pings of every size, fragments in every order, hostile
fragments, a router with a smaller MTU behind the first link, unreachable ports."""
import shutil
import socket

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
    serve(w, "--gateway", KERNEL4, "--gateway", KERNEL6)
    return datagrams.namespace_behind_a_smaller_mtu(w)


def segments_follow_the_path_mtu(w):
    datagrams.segments_follow_the_path_mtu(w, router_with_a_smaller_mtu(w))


def large_replies_follow_the_path_mtu(w):
    datagrams.large_replies_follow_the_path_mtu(w, router_with_a_smaller_mtu(w))


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
