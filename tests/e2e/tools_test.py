#!/usr/bin/env python3
"""The `millrace` command against a running server: what it shows, what it changes, and that changes lose nothing."""
import hashlib
import json
import subprocess

import world

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened")
NEW4, NEW6 = "198.18.0.77", "fd00:6d72::77"


def serve(w):
    w.server("millrace-httpd", "--tap", "mr0")


def tool(w, *words, check=True):
    return w.run("millrace", *words, check=check)


def rows(w, *words):
    return json.loads(tool(w, *words, "--json").stdout)


def contains(text, *parts):
    for part in parts:
        world.expect(part in text, f"'{part}' is not in:\n{text}")


def refused(w, *words, because):
    done = tool(w, *words, check=False)
    world.expect(done.returncode != 0, f"{words} was accepted:\n{done.stdout}")
    contains(done.stderr, because)
    lines = done.stderr.strip().splitlines()
    world.expect(len(lines) == 1 or (len(lines) == 2 and "hint: " in lines[1]), f"not one sentence:\n{done.stderr}")


def busy(w):
    """The connections with data to send: not one that a client has just left."""
    return [r for r in rows(w, "netstat", "-e") if r["state"] == "ESTABLISHED" and r["send-q"] > 0]


def hold(w):
    """A client whose connection stays busy: curl may read megabytes before it minds its rate."""
    client = subprocess.Popen(["curl", "-s", "--limit-rate", "50k", "-o", "/dev/null",
                               f"http://{world.STACK4}/bytes/500000000"])
    w.wait(lambda: len(busy(w)) == 1, 5)
    return client


def ifconfig_shows_and_changes(w):
    serve(w)
    contains(tool(w, "ifconfig").stdout, "mr0: <UP,RUNNING>", f"inet {world.STACK4}/24", f"inet6 {world.STACK6}/64",
             "RX packets", "lo: <UP,RUNNING,LOOPBACK>")
    tool(w, "ifconfig", "mr0", "add", f"{NEW4}/24", "add", f"{NEW6}/64")
    world.expect(w.answers(NEW4) and w.answers(NEW6), "the new addresses do not answer")
    tool(w, "ifconfig", "mr0", "delete", NEW4)
    world.expect(not w.answers(NEW4), "a deleted address answers")
    world.expect(w.answers(NEW6), "the other address went too")
    tool(w, "ifconfig", "mr0", "down")
    contains(tool(w, "ifconfig", "mr0").stdout, "<DOWN")
    world.expect(not w.answers(world.STACK4), "an interface that is down answers")
    tool(w, "ifconfig", "mr0", "up")
    world.expect(w.answers(world.STACK4), "the interface does not answer after up")
    tool(w, "ifconfig", "mr0", "mtu", "1300")
    w.run("curl", "-s", f"http://{world.STACK4}/")
    world.expect("Frag needed" not in w.run("ping", "-c1", "-s", "1400", world.STACK4).stdout, "it takes what it got")
    held = hold(w)
    row = busy(w)[0]
    world.expect(row["mss"] == 1248, f"segments of {row['mss']} bytes under an MTU of 1,300")
    tool(w, "ifconfig", "mr0", "mtu", "1500")
    w.wait(lambda: [r["mss"] for r in busy(w)] == [1448], 5)
    held.kill()
    held.wait()
    refused(w, "ifconfig", "mr0", "mtu", "9000", because="1280 to 1500")
    row = rows(w, "ifconfig", "mr0")[0]
    world.expect(row["state"] == "up" and f"{NEW6}/64" in row["addresses"], f"JSON says {row}")
    refused(w, "ifconfig", "mr0", "add", NEW4, because="no prefix length")
    refused(w, "ifconfig", "nope", "up", because="there is no interface 'nope'")
    refused(w, "ifconfig", "mr0", "add", f"{NEW6}/64", because="exist")


def routes_are_added_looked_up_and_deleted(w):
    serve(w)
    tool(w, "route", "add", "192.0.2.0/24", "via", world.KERNEL4)
    tool(w, "route", "add", "default", "via", world.KERNEL6, "metric", "7")
    contains(tool(w, "route").stdout, "192.0.2.0/24", world.KERNEL4, "::/0")
    world.expect(rows(w, "route", "get", "192.0.2.9")[0]["gateway"] == world.KERNEL4, "route get finds another gateway")
    world.expect(rows(w, "route", "get", "2001:db8::1")[0]["metric"] == 7, "the default route is not found")
    w.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    world.expect(w.run("ping", "-c1", "-W2", "-q", "-I", "192.0.2.1", world.STACK4, check=False).returncode == 0,
                 "no answer over the new route")
    tool(w, "route", "delete", "192.0.2.0/24")
    refused(w, "route", "get", "192.0.2.9", because="no route")
    refused(w, "route", "add", "192.0.2.0/24", "via", "203.0.113.1", because="on no link")
    refused(w, "route", "delete", "198.51.100.0/24", because="no route")
    contains(tool(w, "netstat", "-r").stdout, "198.18.0.0/24")


def neighbours_of_both_families(w):
    serve(w)
    w.run("ping", "-c1", "-q", world.STACK6)
    contains(tool(w, "arp", "-a").stdout, world.KERNEL4, "mr0")
    world.expect(world.KERNEL4 not in tool(w, "ndp").stdout, "ndp shows an IPv4 neighbour")
    tool(w, "arp", "-s", "198.18.0.99", "02:00:00:00:00:99", "mr0")
    world.expect(any(r["address"] == "198.18.0.99" and r["mac"] == "02:00:00:00:00:99" for r in rows(w, "arp")),
                 "the static neighbour is not there")
    tool(w, "arp", "-d", "198.18.0.99")
    refused(w, "arp", "-d", "198.18.0.99", because="is no neighbour")
    tool(w, "ndp", "-c")
    world.expect(w.answers(world.STACK6), "no answer after the flush")


def netstat_shows_sockets_internals_and_statistics(w):
    serve(w)
    w.run("curl", "-s", f"http://{world.STACK4}/")
    held = hold(w)
    contains(tool(w, "netstat").stdout, "Proto", "LISTEN", "ESTABLISHED")
    world.expect("ESTABLISHED" not in tool(w, "netstat", "-l").stdout, "-l shows connections")
    contains(tool(w, "netstat", "-e").stdout, "cwnd", "srtt", "rcv_wnd", "recovery ")
    row = busy(w)[0]
    world.expect(row["cwnd"] > 0 and row["mss"] > 500 and row["options"].startswith("ts sack"), f"internals: {row}")
    held.kill()
    held.wait()
    contains(tool(w, "netstat", "-s").stdout, "tcp:", "ip:", "segments received")
    contains(tool(w, "netstat", "-i").stdout, "mr0", "RX-Packets")
    contains(tool(w, "netstat", "-g").stdout, "Group", "ff02::1:ff00:2")
    world.expect(len(rows(w, "netstat", "-s", "-a")) > len(rows(w, "netstat", "-s")), "-a adds no counters")


def sysctl_changes_take_hold(w):
    serve(w)
    world.expect(tool(w, "sysctl", "tcp.initial_window").stdout.strip() == "tcp.initial_window = 10", "another default")
    contains(tool(w, "sysctl", "-d", "tcp.initial_window").stdout, "1 to 64", "RFC 6928")
    tool(w, "sysctl", "tcp.mss=1000")
    w.run("curl", "-s", f"http://{world.STACK4}/")
    held = hold(w)
    contains(w.run("ss", "-tin", "dst", world.STACK4).stdout, " mss:988 ")  # 1,000 less the timestamps
    held.kill()
    held.wait()
    tool(w, "sysctl", "loop.spin_us=20")
    world.expect(rows(w, "sysctl", "loop.spin_us")[0]["value"] == 20, "the loop's setting did not change")
    refused(w, "sysctl", "tcp.mss=99999999", because="expected a whole number from 0 to")
    refused(w, "sysctl", "tcp.intial_window=3", because="did you mean 'tcp.initial_window'")
    refused(w, "sysctl", "worker.max_connections=3", because="from the start")
    refused(w, "sysctl", "tcp.port_low=65000", because="contradicts")


def changes_under_load_lose_nothing(w):
    serve(w)
    size = 200_000_000
    before = {r["counter"]: r["value"] for r in rows(w, "netstat", "-s", "-a")}
    url = f"http://{world.STACK4}/bytes/{size}"
    fetch = subprocess.Popen(["curl", "-sS", "--limit-rate", "80M", url], stdout=subprocess.PIPE)
    digest, got, turn = hashlib.sha256(), 0, 0
    while True:
        piece = fetch.stdout.read(1 << 20)
        if not piece:
            break
        digest.update(piece)
        got += len(piece)
        if turn % 16 == 0:
            words = (("ifconfig", "mr0", "add", f"{NEW4}/24"), ("route", "add", "192.0.2.0/24", "via", world.KERNEL4),
                     ("sysctl", "tcp.delayed_ack_us=20000"), ("arp", "-s", "198.18.0.99", "02:00:00:00:00:99", "mr0"),
                     ("ifconfig", "mr0", "delete", NEW4), ("route", "delete", "192.0.2.0/24"),
                     ("arp", "-d", "198.18.0.99"))
            tool(w, *words[turn // 16 % len(words)])
        turn += 1
    world.expect(fetch.wait() == 0 and got == size, f"{got} bytes of {size}, curl ended with {fetch.returncode}")
    after = {r["counter"]: r["value"] for r in rows(w, "netstat", "-s", "-a")}
    grown = {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)}
    harmless = ("eth.drop.not_ours", "tcp.drop.after_close")  # the kernel's own multicast; its ACK of our FIN
    # A reader that holds back its acknowledgments is probed, and answers the probe, after the end perhaps.
    probed = ("tcp.retransmits", "tcp.drop.no_connection")
    lost = {k: v for k, v in grown.items() if (".drop" in k or "retransmit" in k) and k not in harmless and
            not (k in probed and v <= grown.get("tcp.tail_probes", 0))}
    world.expect(not lost, f"counted while changing: {lost}")
    return f"{turn // 16 + 1} changes during {size >> 20} MiB"


world.main(ifconfig_shows_and_changes, routes_are_added_looked_up_and_deleted, neighbours_of_both_families,
           netstat_shows_sockets_internals_and_statistics, sysctl_changes_take_hold, changes_under_load_lose_nothing)
