"""Datagrams of every size, fragments in every order and groups, against the kernel: what every link must pass. `device`
is the kernel's end of the link, on which a stack answers at world.STACK4 and world.STACK6."""
import hashlib
import itertools
import random
import re
import socket
import struct
import time

import basics
from world import KERNEL4, KERNEL6, STACK4, STACK6, expect

LARGEST_UNFRAGMENTED = {4: 1500 - 28, 6: 1500 - 48}
GROUPS = ("239.1.2.3", "ff05::1234")  # what the stack's program is to join


# Pings.

def pings(w, address, size, *more, ns=None, count=2):
    return w.run("ping", "-c", str(count), "-i", "0.05", "-W", "2", "-s", str(size), *more, address, ns=ns,
                 check=False).stdout


def pings_of_every_size_are_answered(w):
    for address, header in ((STACK4, 28), (STACK6, 48)):
        for size in (1500 - header, 1501 - header, 2 * 1480, 9000, 32768, 65000, 65507):
            said = pings(w, address, size)
            if " 0% packet loss" not in said:
                said = pings(w, address, size)
            expect(" 0% packet loss" in said, f"{size} bytes to {address}:\n{said}")


# Frames written byte by byte, through a packet socket on the kernel's end.

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


def fragments_in_every_order_are_put_together(w, device):
    mac, wire = stack_mac(w), Wire(device)
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


# A path that carries less than the link. The stack's gateway is the kernel's end.

def namespace_behind_a_smaller_mtu(w):
    """far --- this world --- stack: only the router in the middle knows that 1,400 bytes fit toward far."""
    far = w.namespace("far")
    w.veth("near0", None, "far0", far)
    w.address(None, "near0", "10.77.0.1/24", "fd77::1/64")
    w.address(far, "far0", "10.77.0.2/24", "fd77::2/64")
    w.run("ip", "route", "replace", "10.77.0.0/24", "dev", "near0", "mtu", "lock", "1400")
    w.run("ip", "-6", "route", "replace", "fd77::/64", "dev", "near0", "mtu", "lock", "1400")
    w.run("ip", "-6", "route", "delete", "fd77::/64", "dev", "near0", "metric", "256", check=False)
    w.run("ip", "route", "add", "default", "via", "10.77.0.1", ns=far)
    w.run("ip", "-6", "route", "add", "default", "via", "fd77::1", ns=far)
    for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
        w.run("sysctl", "-qw", setting)
    return far


def segments_follow_the_path_mtu(w, far, ns=None):
    site = basics.Site(ns=far)
    for address in site.addresses():
        digest, said = basics.curl_sha256(w, site, address, "/bytes/3000000", 20)
        expect(said == "200 3000000", f"{address}: curl says {said!r}")
        expect(digest == basics.pattern_sha256(3_000_000), f"{address}: the content differs")
    counters = w.run("millrace", "netstat", "-s", ns=ns).stdout
    expect("tcp.path_mtu" in counters, f"no connection shrank its segments:\n{counters}")


def large_replies_follow_the_path_mtu(w, far):
    for address in (STACK4, STACK6):
        said = pings(w, address, 1440, ns=far, count=4)
        replies = int(re.search(r"(\d+) received", said).group(1))
        expect(replies >= 3, f"only the first reply may be lost on the way of 1,400 bytes:\n{said}")
        said = pings(w, address, 20000, ns=far)
        expect(" 0% packet loss" in said, f"{address}: 20,000 bytes\n{said}")


# UDP, to an echo server on port 7.

def udp(address, connect=True, port=7, timeout=2):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(timeout)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    if connect:
        s.connect((address, port))
    return s


def echoed(s, data, tries=3):
    """Sends until the answer comes; a datagram may be lost on a machine that is short of time."""
    for _ in range(tries):
        s.send(data)
        try:
            while True:
                answer = s.recv(65536)
                if len(answer) == len(data):
                    return answer
        except socket.timeout:
            continue
    return None


def sizes(family):
    """Every size around the borders and a walk in primes between them."""
    last = LARGEST_UNFRAGMENTED[family]
    near = {0, 1, 2, 3, 4, 17, 18, 19, 63, 64, 65, 127, 128, 129, last - 1, last}
    return sorted(near | set(range(0, last, 37)))


def echoes_every_size_up_to_the_mtu():
    for family, address in ((4, STACK4), (6, STACK6)):
        s = udp(address)
        for size in sizes(family):
            data = random.Random(size).randbytes(size)
            answer = echoed(s, data)
            expect(answer is not None, f"{address}: no answer to {size} bytes")
            expect(hashlib.sha256(answer).digest() == hashlib.sha256(data).digest(),
                   f"{address}: {size} bytes came back changed")


def echoes_large_datagrams_in_fragments():
    for family, address, largest in ((4, STACK4, 65_507), (6, STACK6, 65_507)):
        s = udp(address)
        first = LARGEST_UNFRAGMENTED[family] + 1
        for size in [first, first + 1, 2 * first, *range(1_999, largest, 4_999), largest - 1, largest]:
            data = random.Random(size).randbytes(size)
            answer = echoed(s, data)
            expect(answer == data, f"{address}: {size} bytes: {'lost' if answer is None else 'changed'}")


# Groups.

def sender(group, device, timeout):
    """A socket that sends to a group, or a broadcast address, by the device."""
    s = udp(group, connect=False, timeout=timeout)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if ":" in group:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(device))
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(KERNEL4))
    return s


def every_worker_hears_groups_and_broadcasts_once(device, workers):
    """An echo server on each worker has joined GROUPS: whole datagrams and fragments are answered by all, once."""
    for to in (*GROUPS, "198.18.0.255"):
        for size in (20, 4_000):
            for _ in range(3):  # a datagram may be lost on a machine that is short of time
                s, answers = sender(to, device, 0.5), 0
                data = random.Random(size).randbytes(size)
                s.sendto(data, (to, 7))
                try:
                    while True:
                        expect(s.recv(65536) == data, f"{to}: {size} bytes came back changed")
                        answers += 1
                except socket.timeout:
                    expect(answers <= workers, f"{to}, {size} bytes: {answers} answers of {workers} workers")
                if answers == workers:
                    break
            expect(answers == workers, f"{to}, {size} bytes: {answers} answers of {workers} workers")


def hears_groups_that_it_joined_and_no_others(device):
    """The stack's program has joined GROUPS."""
    for joined, other, source in ((GROUPS[0], "239.1.2.4", STACK4), (GROUPS[1], "ff05::1235", STACK6)):
        for group, answered in ((joined, True), (other, False)):
            s = sender(group, device, 2 if answered else 0.3)
            answer = None
            for _ in range(3):
                s.sendto(b"all of you", (group, 7))
                try:
                    answer = s.recvfrom(100)
                    break
                except socket.timeout:
                    continue
            if answered:
                expect(answer and answer[0] == b"all of you" and answer[1][0] == source, f"{group}: {answer}")
            else:
                expect(answer is None, f"{group}: {answer}")


def member(group, device, port):
    """A kernel socket that has joined a group on the device."""
    s = udp(group, connect=False, timeout=5)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((group, port))
    index = socket.if_nametoindex(device)
    if ":" in group:
        request = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        request = socket.inet_aton(group) + struct.pack("=4si", bytes(4), index)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    return s
