#!/usr/bin/env python3
"""Large and broken datagrams against the kernel over TAP: pings of every size, fragments in every order, hostile
fragments, a router with a smaller MTU behind the first link, unreachable ports."""
import itertools
import re
import socket
import struct
import time

import basics
import world
from world import KERNEL4, KERNEL6, STACK4, STACK6, expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")


def serve(w, *more):
    server = w.server("millrace-httpd", "--tap", "mr0", *more)
    w.wait(lambda: w.answers(STACK6), 10, server)  # its address is tested for duplicates first


def pings(w, address, size, *more, ns=None, count=2):
    return w.run("ping", "-c", str(count), "-i", "0.05", "-W", "2", "-s", str(size), *more, address, ns=ns,
                 check=False).stdout


def pings_of_every_size_are_answered(w):
    serve(w)
    for address, header in ((STACK4, 28), (STACK6, 48)):
        for size in (1500 - header, 1501 - header, 2 * 1480, 9000, 32768, 65000, 65507):
            said = pings(w, address, size)
            if " 0% packet loss" not in said:
                said = pings(w, address, size)
            expect(" 0% packet loss" in said, f"{size} bytes to {address}:\n{said}")


# Frames written byte by byte, through a packet socket on the kernel's side of the TAP.

class Wire:
    def __init__(self, device):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((device, 0))
        self.mac = self.socket.getsockname()[4]
        self.socket.settimeout(0.2)

    def send(self, to, kind, datagram):
        self.socket.send(to + self.mac + struct.pack("!H", kind) + datagram)

    def echo_replies(self, seconds=0.6):
        """Identifiers of the whole echo replies seen."""
        seen, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                frame = self.socket.recv(65536)
            except socket.timeout:
                break
            if frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] == 0:
                seen.append(struct.unpack("!H", frame[38:40])[0])
            if frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 129:
                seen.append(struct.unpack("!H", frame[58:60])[0])
        return seen


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def echo(v6, number, size=200):
    payload = bytes((number + i) & 0xff for i in range(size))
    message = struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, number, 1) + payload
    pseudo = b""
    if v6:
        ends = socket.inet_pton(socket.AF_INET6, KERNEL6) + socket.inet_pton(socket.AF_INET6, STACK6)
        pseudo = ends + struct.pack("!II", len(message), 58)
    return message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]


def fragment(v6, number, message, start, end, more):
    data = message[start:end]
    if v6:
        header = struct.pack("!IHBB", 6 << 28, 8 + len(data), 44, 64)
        header += socket.inet_pton(socket.AF_INET6, KERNEL6) + socket.inet_pton(socket.AF_INET6, STACK6)
        return header + struct.pack("!BBHI", 58, 0, start | more, number) + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), number, start // 8 | (0x2000 if more else 0), 64, 1, 0)
    head += socket.inet_aton(KERNEL4) + socket.inet_aton(STACK4)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + data


def stack_mac(w):
    w.run("ping", "-c1", "-W2", STACK4)
    found = re.search(r"lladdr (\S+)", w.run("ip", "neigh", "show", STACK4).stdout)
    return bytes.fromhex(found.group(1).replace(":", ""))


def fragments_in_every_order_are_put_together(w):
    serve(w)
    mac, wire = stack_mac(w), Wire("mr0")
    cuts = ((0, 64), (64, 128), (128, 192), (192, 208))
    for v6 in (False, True):
        numbers = []
        for number, order in enumerate(itertools.permutations(cuts), 100):
            message = echo(v6, number)
            for start, end in order:
                part = fragment(v6, number, message, start, end, end != 208)
                wire.send(mac, 0x86DD if v6 else 0x0800, part)
                wire.send(mac, 0x86DD if v6 else 0x0800, part)  # an exact duplicate does no harm
            numbers.append(number)
        seen = wire.echo_replies()
        expect(set(numbers) <= set(seen), f"no reply to {sorted(set(numbers) - set(seen))} ({'v6' if v6 else 'v4'})")


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
    for address in (STACK4, STACK6):
        expect(" 0% packet loss" in pings(w, address, 8000), f"{address} does not answer after the flood")
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


def closed_ports_are_unreachable(w):
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
           segments_follow_the_path_mtu, large_replies_follow_the_path_mtu, closed_ports_are_unreachable)
