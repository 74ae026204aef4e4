#!/usr/bin/env python3
"""millrace-httpd over AF_XDP on one end of a veth cable that stays the kernel's: the same MAC address, the kernel's own
servers beside the stack's. MILLRACE_E2E_BYTES: size of the long transfers."""
import contextlib
import os
import random
import shutil
import signal
import socket
import sys
import time

import addressing
import basics
import datagrams
import floods
import world
from failure_test import fails
from world import expect

BYTES = int(os.environ.get("MILLRACE_E2E_BYTES", 1 << 28))  # the gibibyte is for TAP and DPDK
# The kernel's addresses on the stack's end of the cable.
BESIDE4, BESIDE6 = "198.18.0.3", "fd00:6d72::3"
OURS = ["--address", f"{world.STACK4}/24", "--address", f"{world.STACK6}/64"]

# A kernel TCP server that says everything back, both families.
ECHO = """
import socket, threading
server = socket.create_server(("::", 2022), family=socket.AF_INET6, dualstack_ipv6=True)
def serve(s):
    while data := s.recv(65536): s.sendall(data)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


def cable(w, mtu=1500, queues=1):
    """wire0 with the kernel's addresses here; wire1, for AF_XDP and the kernel together, in the namespace "stack"."""
    w.namespace("stack")
    counts = [str(queues), "numrxqueues", str(queues)]
    w.run("ip", "link", "add", "wire0", "numtxqueues", *counts, "type", "veth", "peer", "name", "wire1", "numtxqueues",
          *counts)
    w.links.append("wire0")
    if queues > 1:
        for end in ("wire0", "wire1"):
            w.run("ethtool", "-L", end, "rx", str(queues), "tx", str(queues))
    w.run("ip", "link", "set", "wire1", "netns", "stack")
    for end, ns in (("wire0", None), ("wire1", "stack")):
        w.run("ip", "link", "set", end, "mtu", str(mtu), "up", ns=ns)
    w.address(None, "wire0", f"{world.KERNEL4}/24", f"{world.KERNEL6}/64")
    w.address("stack", "wire1", f"{BESIDE4}/24", f"{BESIDE6}/64")


def httpd(w, *more):
    return w.server("millrace-httpd", "--interface", "wire1", *OURS, *more, ns="stack",
                    ready=lambda: w.answers(world.STACK4))


def setup(w, *more):
    cable(w)
    httpd(w, *more)
    return basics.Site()


def program_of(w):
    """What `ip link` says about an XDP program on the stack's end."""
    return [word for word in w.run("ip", "link", "show", "wire1", ns="stack").stdout.split() if "xdp" in word]


def says_it_back(address, count=200, held=None):
    """On a connection of its own, or on one that has been there before."""
    with contextlib.nullcontext(held) if held else socket.create_connection((address, 2022), 10) as s:
        s.settimeout(10)
        for i in range(count):
            said = b"%d " % i * 300
            s.sendall(said)
            back = b""
            while len(back) < len(said):
                piece = s.recv(65536)
                expect(piece, f"{address}: the kernel's server hung up")
                back += piece
            expect(back == said, f"{address}: the kernel's server said something else")


def the_kernel_serves(w, *more):
    for address in (BESIDE4, BESIDE6, *more):
        says_it_back(address)


def the_kernels_server_works_before_during_and_after(w):
    cable(w)
    w.server(sys.executable, "-c", ECHO, ns="stack", ready=lambda: w.connects(BESIDE4, 2022))
    the_kernel_serves(w)
    sessions = {address: socket.create_connection((address, 2022), 10) for address in (BESIDE4, BESIDE6)}

    def sessions_go_on():
        for address, session in sessions.items():
            says_it_back(address, 20, session)
    for end in (signal.SIGTERM, signal.SIGKILL):
        server = httpd(w)
        expect(program_of(w), "no XDP program is there while it runs")
        load = w.start("curl", "-s", "-o", "/dev/null", basics.Site().url(world.STACK4, "/bytes/1000000000"))
        the_kernel_serves(w)
        sessions_go_on()
        expect(w.answers(BESIDE4), "the kernel's end does not answer pings")
        load.stop(signal.SIGKILL)
        server.stop(end)
        w.wait(lambda: not program_of(w), 5)
        the_kernel_serves(w)
        sessions_go_on()
        left = w.run("bpftool", "prog", "show", "name", "millrace_filter", check=False, ns="stack").stdout
        expect("millrace_filter" not in left, f"left in the kernel after signal {end}:\n{left}")


def starts_again_after_kill_9_at_any_moment(w, rounds=8):
    cable(w)
    rng = random.Random(time.time_ns())
    for _ in range(rounds):
        server = w.start("millrace-httpd", "--interface", "wire1", *OURS, ns="stack")
        time.sleep(rng.uniform(0, 0.4))
        busy = w.start("curl", "-s", "-o", "/dev/null", basics.Site().url(world.STACK4, "/bytes/100000000"))
        time.sleep(rng.uniform(0, 0.2))
        expect(server.alive(), f"ended by itself\n{server.output()}")
        server.stop(signal.SIGKILL)
        busy.stop(signal.SIGKILL)
        expect(not program_of(w), "the XDP program stayed behind")
    httpd(w)
    basics.fetches_the_front_page(w, basics.Site())


def takes_every_queue(w):
    cable(w, queues=4)
    server = httpd(w)
    expect("4 queues" in server.output(), server.output())
    site = basics.Site()
    basics.serves_connections_at_once(w, site, 100, 5_000)
    basics.downloads(w, site, site.v4, 100 << 20)
    basics.uploads(w, site, site.v6, 100 << 20)
    counts = w.run("ethtool", "-S", "wire1", ns="stack").stdout
    busy = [line for line in counts.splitlines()
            if "xdp_packets" in line and "rx_queue" in line and line.split()[-1] != "0"]
    expect(len(busy) > 1, f"all came in by one queue:\n{counts}")


def two_workers_share_the_queues(w):
    """Frames come in by any of four queues, two a worker, and whoever they belong to answers: TCP, UDP, ping."""
    cable(w, queues=4)
    server = httpd(w, "--workers", "2")
    expect("4 queues" in server.output(), server.output())
    basics.workers_share(w, basics.Site(), 100, ns="stack")
    expect(server.stop() == 0, server.output())
    w.server("millrace-udp-echo", "--interface", "wire1", *OURS, "--workers", "2", ns="stack",
             ready=lambda: w.answers(world.STACK4))
    flows_are_echoed(w)


def flows_are_echoed(w, count=64):
    """Datagrams of many flows, whole and in fragments: every flow gets its own back, whichever worker has it."""
    import socket
    flows = []
    for i in range(count):
        address = world.STACK6 if i % 2 else world.STACK4
        s = socket.socket(socket.AF_INET6 if i % 2 else socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(2)
        s.connect((address, 7))
        flows.append((s, random.Random(i).randbytes(40 + i * (100 if i % 8 else 900))))
    for s, data in flows:
        s.send(data)
    lost = 0
    for s, data in flows:
        try:
            expect(s.recv(65536) == data, f"another flow's datagram, or a changed one, of {len(data)} bytes")
        except TimeoutError:
            lost += 1
    expect(lost <= 1, f"{lost} of {count} datagrams came not back")


def shares_an_address_by_ports(w):
    """The stack on port 80 of the kernel's own addresses; ping, ARP and every other port stay the kernel's."""
    cable(w)
    w.server(sys.executable, "-c", ECHO, ns="stack", ready=lambda: w.connects(BESIDE4, 2022))
    server = w.server("millrace-httpd", "--interface", "wire1,ports=tcp/80", "--address", f"{BESIDE4}/24", "--address",
                      f"{BESIDE6}/64", ns="stack", ready=lambda: w.connects(BESIDE4, 80))
    site = basics.Site(v4=BESIDE4, v6=BESIDE6)
    basics.fetches_the_front_page(w, site)
    basics.fetches_bodies_of_every_size(w, site)
    the_kernel_serves(w)
    basics.answers_pings_up_to_the_mtu(w, site)
    server.stop(signal.SIGKILL)
    the_kernel_serves(w)
    for address in site.addresses():
        expect(not w.connects(address, 80), "the kernel does not refuse port 80 after the stack has gone")


def follows_addresses_that_change_while_it_runs(w):
    setup(w)
    control = ("millrace", "ifconfig", "wire1")
    w.run(*control, "add", "198.18.0.77/24", ns="stack")
    w.wait(lambda: w.answers("198.18.0.77"), 5)
    basics.fetches_the_front_page(w, basics.Site(v4="198.18.0.77"))
    w.run(*control, "delete", "198.18.0.77", ns="stack")
    w.wait(lambda: not w.answers("198.18.0.77"), 5)
    # The kernel can have it now: the frames pass.
    w.address("stack", "wire1", "198.18.0.77/24")
    w.wait(lambda: w.answers("198.18.0.77"), 5)


def hears_groups_without_taking_them_from_the_kernel(w):
    """What is sent to all nodes reaches the stack, and the kernel answers it."""
    setup(w)

    def received():
        counters = w.run("millrace", "counters", "-a", ns="stack").stdout
        return int(next(line for line in counters.splitlines() if "wire1.rx_frames" in line).split()[1])
    before = received()
    said = w.run("ping", "-c", "5", "-i", "0.05", "-W", "1", "ff02::1%wire0", check=False).stdout
    kernel = w.run("ip", "-6", "-o", "address", "show", "dev", "wire1", "scope", "link", ns="stack").stdout.split()[3]
    expect(kernel.split("/")[0] in said, f"the kernel's {kernel} did not answer:\n{said}")
    w.wait(lambda: received() >= before + 5, 2)


# What the kernel's own program in the stack's namespace hears of the groups; it says so to whoever asks.
MEMBER = """
import sys
sys.path.insert(0, sys.argv[1])
import datagrams, select
members = [datagrams.member(group, "wire1", 7) for group in datagrams.GROUPS]
print("joined", flush=True)
while True:
    for s in select.select(members, [], [])[0]:
        print(s.getsockname()[0], s.recvfrom(100)[0].decode(), flush=True)
"""


def datagrams_of_every_size_fragments_and_groups(w):
    cable(w)
    beside = w.start(sys.executable, "-c", MEMBER, os.path.dirname(os.path.abspath(__file__)), ns="stack")
    w.wait(lambda: "joined" in beside.output(), 5, beside)
    echo = w.server("millrace-udp-echo", "--interface", "wire1", *OURS, "--group", datagrams.GROUPS[0], "--group",
                    datagrams.GROUPS[1], ns="stack", ready=lambda: w.answers(world.STACK4))
    w.wait(lambda: w.answers(world.STACK6), 5, echo)
    datagrams.pings_of_every_size_are_answered(w)
    datagrams.fragments_in_every_order_are_put_together(w, "wire0")
    datagrams.echoes_every_size_up_to_the_mtu()
    datagrams.echoes_large_datagrams_in_fragments()
    datagrams.hears_groups_that_it_joined_and_no_others("wire0")
    for group in datagrams.GROUPS:
        expect(f"{group} all of you" in beside.output(), f"the kernel did not hear {group}:\n{beside.output()}")
    listens = w.run("ip", "maddress", "show", "dev", "wire1", ns="stack").stdout
    beside.stop()
    expect("33:33:00:00:12:34" in listens and "01:00:5e:01:02:03" in listens, f"the NIC takes only\n{listens}")
    echo.stop()
    # To a group that a program of the kernel's side has joined; the kernel answers for its members only.
    w.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_broadcasts=0")
    for group, other in (("239.1.2.4", "239.1.2.5"), ("ff05::1235", "ff05::1236")):
        with datagrams.member(group, "wire0", 4000):
            for to, answered in ((group, True), (other, False)):
                said = w.run("millrace-ping", to, "-c", "1", "-W", "1", "--interface", "wire1", *OURS, ns="stack",
                             check=False)
                expect((said.returncode == 0) == answered, f"{to}:\n{said.stdout}{said.stderr}")


def takes_a_lease_and_prefixes_of_a_router_that_renumbers(w):
    """DHCP answers and router advertisements reach the stack, and the kernel takes the same advertisements."""
    for program in ("radvd", "dnsmasq"):
        if not shutil.which(program):
            return f"skipped: {program} is not installed (ci/install-packages test)"
    cable(w)
    w.run("sysctl", "-qw", "net.ipv6.conf.wire1.accept_ra=1", ns="stack")
    router = addressing.Router(w, "wire0")
    w.start("dnsmasq", "-d", "--port=0", "--interface=wire0", "--bind-interfaces", "--no-ping", "--log-dhcp",
            "--dhcp-range=198.18.0.100,198.18.0.110,255.255.255.0,2m", f"--dhcp-leasefile={w.path('leases')}",
            "--user=root", "--conf-file=/dev/null")
    server = w.server("millrace-httpd", "--force", "--interface", "wire1,dhcp4=true", ns="stack", ready=lambda: True)

    def given(network):
        return addressing.in_network(network, "preferred", "wire1")

    w.wait(lambda: given(addressing.OLD) and given("198.18.0.96/27"), 20, server)
    formed = given(addressing.OLD)
    basics.fetches_the_front_page(w, basics.Site(v4=given("198.18.0.96/27"), v6=formed))
    kernel = w.run("ip", "-6", "-o", "address", "show", "dev", "wire1", "dynamic", ns="stack").stdout
    expect("fd00:aa:" in kernel and formed not in kernel, f"the kernel's own addresses:\n{kernel}")
    router.renumbers("wire1")
    expect(router.radvd.alive(), router.radvd.output())


def follows_path_mtus_gives_way_to_duplicates_and_survives_a_flood(w):
    for tool in ("arping", "hping3"):
        if not shutil.which(tool):
            return f"skipped: {tool} is not installed (ci/install-packages test)"
    cable(w)
    server = httpd(w, "--gateway", world.KERNEL4, "--gateway", world.KERNEL6)
    far = datagrams.namespace_behind_a_smaller_mtu(w)
    datagrams.segments_follow_the_path_mtu(w, far, ns="stack")
    datagrams.large_replies_follow_the_path_mtu(w, far)
    addressing.answers_arping_and_gives_way_to_a_duplicate(w, "wire0", "wire1", ns="stack")
    _, note = floods.survive(w, server, [["-S", "-p", "80", "--rand-source"], ["-1", "-x", "-d", "400"]], ns="stack")
    return note


def every_mode_that_veth_has(w):
    cable(w)
    for mode, says in (("copy", "native XDP, copy"), ("copy,busy_poll=true", "native XDP, copy"),
                       ("generic", "generic XDP, copy")):
        server = w.server("millrace-httpd", "--interface", f"wire1,xdp_mode={mode}", *OURS, ns="stack",
                          ready=lambda: w.answers(world.STACK4))
        expect(says in server.output(), server.output())
        basics.fetches_bodies_of_every_size(w, basics.Site())
        basics.uploads(w, basics.Site(), world.STACK4, 20 << 20)
        server.stop()


def wrong_wishes_are_explained(w):
    cable(w, queues=2)
    on = ("millrace-httpd", "--interface")
    fails(w, *on, "nosuch0", *OURS, ns="stack", says=["nosuch0", "--tap"])
    fails(w, *on, "wire1,queues=3", *OURS, ns="stack", says=["2 receive queues", "ethtool -L wire1"])
    fails(w, *on, "wire1", *OURS, "--workers", "3", ns="stack", says=["2 receive queues for 3 workers", "ethtool -L"])
    fails(w, *on, "wire1,queues=1", *OURS, "--workers", "2", ns="stack",
          says=["queues=1 is too few for 2 workers", "leave queues out: wire1 has 2"])
    fails(w, *on, "wire1,xdp_mode=zero-copy", *OURS, ns="stack", says=["zero-copy", "xdp_mode=auto"])
    fails(w, *on, "wire1,mtu=9000", *OURS, ns="stack", says=["9000", "ip link set wire1 mtu 9000"])
    fails(w, *on, "wire1,xdp_mode=fast", *OURS, ns="stack", says=["zero-copy", "generic"], hint=False)
    fails(w, *on, "wire1", ns="stack", says=["no address"])
    fails(w, *on, "wire1", *OURS, ns="stack", user="65534", says=["permission", "wire1"])
    httpd(w)
    fails(w, *on, "wire1", *OURS, ns="stack", says=["another XDP program", "wire1"])
    w.servers[-1].stop()
    w.run("ip", "route", "add", "default", "via", world.KERNEL4, ns="stack")
    fails(w, *on, "wire1", *OURS, ns="stack", says=["default route", "--force"])
    httpd(w, "--force").stop()
    w.run("ip", "link", "set", "wire1", "down", ns="stack")
    fails(w, *on, "wire1", *OURS, "--force", ns="stack", says=["wire1 is down", "ip link set wire1 up"])


def an_interface_that_is_removed_ends_the_program(w):
    setup(w)
    w.run("ip", "link", "delete", "wire0")
    w.wait(lambda: not w.servers[0].alive(), 5)
    expect(w.servers[0].process.returncode == 1, f"status {w.servers[0].process.returncode}")
    expect("wire1 works no more: it was removed" in w.servers[0].output(), w.servers[0].output())


def a_link_that_goes_down_comes_back(w):
    setup(w)
    basics.fetches_the_front_page(w, basics.Site())
    for end, ns in (("wire0", None), ("wire1", "stack")):  # no carrier; set down
        w.run("ip", "link", "set", end, "down", ns=ns)
        w.wait(lambda: w.servers[0].output().rstrip().endswith("link down"), 5)
        states = w.run("millrace", "ifconfig", "wire1", ns="stack").stdout.lower()
        expect("<up" not in states, states)
        w.run("ip", "link", "set", end, "up", ns=ns)
        w.wait(lambda: w.servers[0].output().rstrip().endswith("link up"), 5)
        w.address(None, "wire0", f"{world.KERNEL6}/64") if ns is None else None
        w.wait(lambda: w.answers(world.STACK4), 5)
        basics.fetches_the_front_page(w, basics.Site())


def an_idle_program_uses_no_cpu(w):
    setup(w)
    def ticks():
        with open(f"/proc/{w.servers[0].process.pid}/stat") as f:
            return sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
    time.sleep(0.5)
    before = ticks()
    time.sleep(2)
    expect(ticks() - before <= 4, f"{ticks() - before} clock ticks in 2 s without work")


world.enter()
world.main(*basics.cases(setup, BYTES), the_kernels_server_works_before_during_and_after,
           starts_again_after_kill_9_at_any_moment, takes_every_queue, two_workers_share_the_queues,
           shares_an_address_by_ports,
           follows_addresses_that_change_while_it_runs, datagrams_of_every_size_fragments_and_groups,
           takes_a_lease_and_prefixes_of_a_router_that_renumbers, hears_groups_without_taking_them_from_the_kernel,
           follows_path_mtus_gives_way_to_duplicates_and_survives_a_flood, every_mode_that_veth_has,
           wrong_wishes_are_explained, an_interface_that_is_removed_ends_the_program, a_link_that_goes_down_comes_back,
           an_idle_program_uses_no_cpu)
