#!/usr/bin/env python3
"""millrace-udp-echo on a TAP device, the kernel of this machine as its peer: content, sizes, segmentation and merging,
closed ports."""
import errno
import os
import socket
import struct

import datagrams
import world
from datagrams import echoed, udp
from world import expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")

UDP_SEGMENT, UDP_GRO = 103, 104


def server(w, *more):
    w.server("millrace-udp-echo", "--tap", "mr0", *more)


def echoes_every_size_up_to_the_mtu(w):
    server(w)
    datagrams.echoes_every_size_up_to_the_mtu()


def echoes_large_datagrams_in_fragments(w):
    server(w)
    datagrams.echoes_large_datagrams_in_fragments()


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
    server(w, "--group", datagrams.GROUPS[0], "--group", datagrams.GROUPS[1])
    datagrams.hears_groups_that_it_joined_and_no_others("mr0")


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
