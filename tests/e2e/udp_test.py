#!/usr/bin/env python3
"""millrace-udp-echo on a TAP device, the kernel of this machine as its peer: content, sizes, segmentation and merging,
closed ports."""
import errno
import hashlib
import os
import random
import socket
import struct

import world
from world import expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")

UDP_SEGMENT, UDP_GRO = 103, 104
LARGEST_UNFRAGMENTED = {4: 1500 - 28, 6: 1500 - 48}


def server(w, *more):
    w.server("millrace-udp-echo", "--tap", "mr0", *more)


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


def echoes_every_size_up_to_the_mtu(w):
    server(w)
    for family, address in ((4, world.STACK4), (6, world.STACK6)):
        s = udp(address)
        for size in sizes(family):
            data = random.Random(size).randbytes(size)
            answer = echoed(s, data)
            expect(answer is not None, f"{address}: no answer to {size} bytes")
            expect(hashlib.sha256(answer).digest() == hashlib.sha256(data).digest(),
                   f"{address}: {size} bytes came back changed")


def echoes_large_datagrams_in_fragments(w):
    server(w)
    for family, address, largest in ((4, world.STACK4, 65_507), (6, world.STACK6, 65_507)):
        s = udp(address)
        first = LARGEST_UNFRAGMENTED[family] + 1
        for size in [first, first + 1, 2 * first, *range(1_999, largest, 4_999), largest - 1, largest]:
            data = random.Random(size).randbytes(size)
            answer = echoed(s, data)
            expect(answer == data, f"{address}: {size} bytes: {'lost' if answer is None else 'changed'}")


def echoes_copied_payloads(w):
    server(w, "--copy")
    for address in (world.STACK4, world.STACK6):
        s = udp(address)
        for size in (0, 1, 500, 1400):
            data = os.urandom(size)
            expect(echoed(s, data) == data, f"{address}: {size} bytes")


def answers_an_unconnected_socket_from_the_address_it_asked(w):
    server(w)
    for address in (world.STACK4, world.STACK6):
        s = udp(address, connect=False)
        s.sendto(b"who is there", (address, 7))
        answer, source = s.recvfrom(100)
        expect(answer == b"who is there" and source[:2] == (address, 7), f"{answer} from {source}")


def takes_segmented_sends_and_the_kernel_merges_the_answers(w):
    server(w, "--merge")
    for address in (world.STACK4, world.STACK6):
        s = udp(address)
        s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        data = os.urandom(20_300)
        received = []
        for _ in range(3):
            s.send(data)
            try:
                while sum(map(len, received)) < len(data):
                    received.append(s.recv(65536))
                break
            except socket.timeout:
                received = []
        expect(b"".join(received) == data, f"{address}: {len(received)} datagrams, {sum(map(len, received))} bytes")
        expect(all(len(r) == 1000 for r in received[:-1]), f"{address}: sizes {[len(r) for r in received]}")


def reports_a_closed_port(w):
    server(w)
    for address in (world.STACK4, world.STACK6):
        s = udp(address, port=9)
        s.send(b"x")
        try:
            s.recv(10)
            said = "an answer"
        except OSError as problem:
            said = problem.errno
        expect(said == errno.ECONNREFUSED, f"{address} port 9: {said}")


def keeps_flows_apart_on_sockets_that_share_the_port(w):
    server(w, "--sockets", "4")
    flows = [udp(world.STACK4 if i % 2 else world.STACK6) for i in range(64)]
    for i, s in enumerate(flows):
        s.send(struct.pack("!I", i))
    for i, s in enumerate(flows):
        answer = echoed(s, struct.pack("!I", i))
        expect(answer == struct.pack("!I", i), f"flow {i}: {answer}")
    listed = w.run("millrace", "netstat").stdout
    expect(listed.count("udp") >= 4, f"the sockets are not in\n{listed}")


def hears_groups_that_it_joined_and_no_others(w):
    server(w, "--group", "239.1.2.3", "--group", "ff05::1234")
    index = socket.if_nametoindex("mr0")
    for joined, other, source in (("239.1.2.3", "239.1.2.4", world.STACK4), ("ff05::1234", "ff05::1235", world.STACK6)):
        for group, answered in ((joined, True), (other, False)):
            s = udp(group, connect=False, timeout=2 if answered else 0.3)
            if ":" in group:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            else:
                s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(world.KERNEL4))
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


def answers_broadcasts(w):
    server(w)
    s = udp(world.STACK4, connect=False)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.sendto(b"anybody", ("198.18.0.255", 7))
    said = s.recvfrom(100)
    expect(said == (b"anybody", (world.STACK4, 7)), f"{said}")


world.main(hears_groups_that_it_joined_and_no_others, answers_broadcasts,
           echoes_every_size_up_to_the_mtu, echoes_large_datagrams_in_fragments, echoes_copied_payloads,
           answers_an_unconnected_socket_from_the_address_it_asked,
           takes_segmented_sends_and_the_kernel_merges_the_answers, reports_a_closed_port,
           keeps_flows_apart_on_sockets_that_share_the_port)
