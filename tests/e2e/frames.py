#!/usr/bin/env python3
"""A program on libfstack by its binary interface alone: a packet dispatcher that answers one kind of Ethernet frame,
swallows another and leaves the rest to the stack; raw frames; routes; traffic. Arguments: the library, then those of
ff_init(). Prints one line for each step and ends when a frame of the last kind comes."""
import ctypes
import os
import socket
import struct
import sys

ANSWERED, SWALLOWED, LAST = 0x88B5, 0x88B6, 0x88B7
ERROR, RESPONSE = -1, -2

ff = ctypes.CDLL(sys.argv[1], use_errno=True)
LOOP = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
DISPATCH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_ubyte), ctypes.POINTER(ctypes.c_uint16),
                            ctypes.c_uint16, ctypes.c_uint16)
seen = []


def say(*words):
    print(*words, flush=True)


@DISPATCH
def dispatch(data, length, queue, queues):
    kind = data[12] << 8 | data[13]
    if kind not in (ANSWERED, SWALLOWED, LAST):
        return 0
    say(f"frame {kind:x} of {length[0]} bytes, queue {queue} of {queues}")
    if kind == ANSWERED:
        there, here = bytes(data[0:6]), bytes(data[6:12])
        for i, byte in enumerate(here + there):
            data[i] = byte
        length[0] = 60
        return RESPONSE
    if kind == LAST:
        ff.ff_stop_run()
    return ERROR


def name(address):
    return ctypes.create_string_buffer(struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address)), 16)


def route(what, destination, gateway, mask):
    ff.ff_route_ctl.restype = ctypes.c_int
    done = ff.ff_route_ctl(what, 1, name(destination), name(gateway), name(mask))
    say(f"route {what} {destination}: {done if done == 0 else os.strerror(ctypes.get_errno())}")


@LOOP
def loop(_):
    return 0


arguments = (ctypes.c_char_p * len(sys.argv[1:]))(*[word.encode() for word in sys.argv[1:]])
ff.ff_init(len(arguments), arguments)
ff.ff_regist_packet_dispatcher(dispatch)
route(0, "10.9.0.0", "198.18.0.1", "255.255.0.0")
route(0, "10.9.0.0", "198.18.0.1", "255.255.0.0")
route(1, "10.9.0.0", "198.18.0.1", "255.255.0.0")
route(1, "10.9.0.0", "198.18.0.1", "255.255.0.0")
raw = b"\xff" * 6 + b"\x02\0\0\0\0\x01" + struct.pack("!H", ANSWERED) + b"raw" + b"\0" * 43
say(f"raw {ff.ff_dpdk_raw_packet_send(raw, len(raw), 0)} {ff.ff_dpdk_raw_packet_send(raw, 5, 0)} "
    f"{ff.ff_dpdk_raw_packet_send(bytes(9000), 9000, 0)}")
ff.ff_run(loop, None)
traffic = (ctypes.c_uint64 * 6)()
ff.ff_get_traffic(traffic)
say(f"traffic {' '.join(map(str, traffic))}")
