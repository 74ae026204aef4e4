#!/usr/bin/env python3
"""Addresses against the kernel and its usual servers over a TAP: radvd that renumbers, duplicate detection both ways,
a lease from dnsmasq, and the reports of groups that the kernel's side sees."""
import ipaddress
import json
import shutil
import socket

import basics
import world
from world import expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")
for program in ("radvd", "arping", "dnsmasq", "tcpdump", "curl"):
    if not shutil.which(program):
        world.skip(f"{program} is not installed (ci/install-packages test)")

OLD, NEW = "fd00:aa::/64", "fd00:bb::/64"


def ask(question):
    """What the program's control socket says."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        try:
            s.connect("/run/millrace/mr0.sock")
        except OSError:
            return ""
        s.sendall(question.encode() + b"\n")
        answer = b""
        while piece := s.recv(65536):
            answer += piece
        return answer.decode()


def addresses(w):
    answer = ask("addresses json")
    return json.loads(answer) if answer else []


def in_network(w, network, state):
    net = ipaddress.ip_network(network)
    for a in addresses(w):
        address = ipaddress.ip_address(a["address"].split("/")[0])
        if address.version == net.version and address in net and a["state"] == state:
            return str(address)
    return None


def fetches(w, address):
    url = basics.Site().url(address)
    done = w.run("curl", "-sS", "-g", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", url, check=False)
    return done.stdout == "200"


def follows_a_router_that_renumbers(w):
    server = w.server("millrace-httpd", "--tap", "mr0")
    w.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    for network in (OLD, NEW):
        w.run("ip", "-6", "address", "add", network.replace("::/", "::1/"), "dev", "mr0", "nodad")

    def configure(old_preferred, with_new):
        text = ("interface mr0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;\n"
                "AdvCurHopLimit 77; AdvReachableTime 20000; AdvRetransTimer 500; RDNSS fd00:aa::53 {};\n"
                f"prefix {OLD} {{ AdvValidLifetime 7300; AdvPreferredLifetime {old_preferred}; }};\n")
        if with_new:
            text += f"prefix {NEW} {{ AdvValidLifetime 7300; AdvPreferredLifetime 7200; }};\n"
        with open(w.path("radvd.conf"), "w") as f:
            f.write(text + "};\n")

    configure(7200, False)
    radvd = w.start("radvd", "-n", "-m", "stderr", "-C", w.path("radvd.conf"), "-p", w.path("radvd.pid"))
    w.wait(lambda: in_network(w, OLD, "preferred"), 12, radvd)
    old = in_network(w, OLD, "preferred")
    expect(fetches(w, old), f"no page from {old}, which was formed from an advertised prefix")
    routes = ask("routes")
    expect("::/0" in routes and "fe80::" in routes, f"no default route through the router in\n{routes}")
    learned = w.run("millrace", "ndp", "-r").stdout
    for part in ("fd00:aa::53", "77", "20000 ms", "500 ms"):
        expect(part in learned, f"no {part} in\n{learned}")
    expect("ttl=77 " in w.run("ping", "-c1", "-W2", old).stdout, "the router's hop limit is not used")
    configure(0, True)
    radvd.process.send_signal(1)
    w.wait(lambda: in_network(w, NEW, "preferred") and in_network(w, OLD, "deprecated"), 12, radvd)
    new = in_network(w, NEW, "preferred")
    expect(fetches(w, new) and fetches(w, old), "the new address and the deprecated one must both answer")
    expect(server.alive(), "the server ended")


def answers_arping_and_gives_way_to_a_duplicate(w):
    w.server("millrace-httpd", "--tap", "mr0")
    done = w.run("arping", "-c", "2", "-I", "mr0", world.STACK4, check=False)
    expect("Received 2 response" in done.stdout, f"arping of our address:\n{done.stdout}{done.stderr}")
    done = w.run("arping", "-D", "-c", "2", "-w", "3", "-I", "mr0", world.STACK4, check=False)
    expect(done.returncode == 1, f"duplicate detection of another host must find us:\n{done.stdout}{done.stderr}")
    w.run("ip", "address", "add", "198.18.0.9/24", "dev", "mr0")
    w.run("ip", "-6", "address", "add", "fd00:6d72::9/64", "dev", "mr0", "nodad")
    for address in ("198.18.0.9/24", "fd00:6d72::9/64"):
        w.run("millrace", "ifconfig", "mr0", "add", address)
    w.wait(lambda: in_network(w, "198.18.0.9/32", "duplicated") and in_network(w, "fd00:6d72::9/128", "duplicated"), 8)
    w.wait(lambda: in_network(w, world.STACK4 + "/32", "preferred"), 10)


def leases_an_address_and_renews_it(w):
    server = w.server("millrace-httpd", "--interface", "mr0,driver=tap,dhcp4=true,kernel_address=198.18.0.1/24",
                      ready=lambda: bool(addresses(w)))
    dnsmasq = w.start("dnsmasq", "-d", "--port=0", "--interface=mr0", "--bind-interfaces", "--no-ping", "--log-dhcp",
                      "--dhcp-range=198.18.0.100,198.18.0.110,255.255.255.0,2m", "--dhcp-option=option:T1,4",
                      "--dhcp-option=option:router,198.18.0.1", f"--dhcp-leasefile={w.path('leases')}", "--user=root",
                      "--conf-file=/dev/null")
    w.wait(lambda: in_network(w, "198.18.0.96/27", "preferred"), 20, dnsmasq)
    leased = in_network(w, "198.18.0.96/27", "preferred")
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
