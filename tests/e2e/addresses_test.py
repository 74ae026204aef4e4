#!/usr/bin/env python3
"""Addresses against the kernel and its usual servers over a TAP: radvd that renumbers, duplicate detection both ways,
a lease from dnsmasq, and the reports of groups that the kernel's side sees."""
import shutil

import addressing
import world
from addressing import OLD, Router, addresses, ask, fetches, in_network
from world import expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")
for program in ("radvd", "arping", "dnsmasq", "tcpdump", "curl"):
    if not shutil.which(program):
        world.skip(f"{program} is not installed (ci/install-packages test)")


def follows_a_router_that_renumbers(w):
    server = w.server("millrace-httpd", "--tap", "mr0")
    router = Router(w, "mr0", "AdvCurHopLimit 77; AdvReachableTime 20000; AdvRetransTimer 500; RDNSS fd00:aa::53 {};")
    w.wait(lambda: in_network(OLD, "preferred"), 12, router.radvd)
    routes = ask("routes")
    expect("::/0" in routes and "fe80::" in routes, f"no default route through the router in\n{routes}")
    learned = w.run("millrace", "ndp", "-r").stdout
    for part in ("fd00:aa::53", "77", "20000 ms", "500 ms"):
        expect(part in learned, f"no {part} in\n{learned}")
    said = w.run("ping", "-c1", "-W2", in_network(OLD, "preferred")).stdout
    expect("ttl=77 " in said, "the router's hop limit is not used")
    router.renumbers()
    expect(server.alive(), "the server ended")


def answers_arping_and_gives_way_to_a_duplicate(w):
    w.server("millrace-httpd", "--tap", "mr0")
    addressing.answers_arping_and_gives_way_to_a_duplicate(w, "mr0")


def leases_an_address_and_renews_it(w):
    server = w.server("millrace-httpd", "--interface", "mr0,driver=tap,dhcp4=true,kernel_address=198.18.0.1/24",
                      ready=lambda: bool(addresses()))
    dnsmasq = w.start("dnsmasq", "-d", "--port=0", "--interface=mr0", "--bind-interfaces", "--no-ping", "--log-dhcp",
                      "--dhcp-range=198.18.0.100,198.18.0.110,255.255.255.0,2m", "--dhcp-option=option:T1,4",
                      "--dhcp-option=option:router,198.18.0.1", f"--dhcp-leasefile={w.path('leases')}", "--user=root",
                      "--conf-file=/dev/null")
    w.wait(lambda: in_network("198.18.0.96/27", "preferred"), 20, dnsmasq)
    leased = in_network("198.18.0.96/27", "preferred")
    expect(fetches(w, leased), f"no page from the leased address {leased}")
    w.wait(lambda: dnsmasq.output().count("DHCPACK") >= 2, 12, dnsmasq)
    expect(fetches(w, leased) and server.alive(), "the address went away with its renewal")


def reports_its_groups_before_it_tests_addresses(w):
    w.run("ip", "tuntap", "add", "mode", "tap", "name", "mr0", "vnet_hdr")
    w.run("ip", "link", "set", "mr0", "up")
    tcpdump = w.start("tcpdump", "-lni", "mr0", "-c", "2", "icmp6 or ip6 proto 0")
    w.wait(lambda: "listening on" in tcpdump.output(), 10, tcpdump)
    w.server("millrace-httpd", "--tap", "mr0")
    w.wait(lambda: not tcpdump.alive(), 10)
    expect("multicast listener report" in tcpdump.output(), f"the first frames were\n{tcpdump.output()}")


world.main(follows_a_router_that_renumbers, answers_arping_and_gives_way_to_a_duplicate,
           leases_an_address_and_renews_it, reports_its_groups_before_it_tests_addresses)
