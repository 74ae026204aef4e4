#!/usr/bin/env python3
"""Programs written for F-Stack (apps/fstack) over TAP, driven from the kernel: HTTP over kqueue and over epoll, echo
without copies, UDP echo; and what ff_init() says of bad configurations."""
import hashlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading

import world
from world import STACK4, STACK6, expect

CONFIG = f"""[dpdk]
lcore_mask=1
channel=4
port_list=0
nb_vdev=0
idle_sleep=500
[port0]
addr={STACK4}
netmask=255.255.255.0
broadcast=198.18.0.255
gateway={world.KERNEL4}
addr6={STACK6}
prefix_len=64
gateway6={world.KERNEL6}
[freebsd.boot]
hz=100
fd_reserve=1024
[freebsd.sysctl]
net.inet.tcp.sendspace=16384
net.inet.tcp.cc.algorithm=cubic
"""
PERIOD = bytes(range(251))
SIZES = (0, 1, 250, 65_536, 5_000_000)


def config(w, text=CONFIG):
    with open(w.path("config.ini"), "w") as f:
        f.write(text)
    return ("--conf", w.path("config.ini"), "--proc-type=primary", "--proc-id=0")


def built(name):
    return os.path.join(world.BIN, name)


def started(w, program, port):
    server = w.server(built(program), *config(w), "--port", str(port), ready=lambda: w.connects(STACK4, port))
    w.wait(lambda: w.connects(STACK6, port), 5, server)
    return server


def serves_pages_over_kqueue_and_epoll(w):
    for program in ("fstack-http-kqueue", "fstack-http-epoll"):
        server = started(w, program, 80)
        for address in (STACK4, f"[{STACK6}]"):
            urls = [word for size in SIZES for word in ("-o", w.path(str(size)), f"http://{address}/{size}")]
            w.run("curl", "-sSgf", "--max-time", "20", *urls)  # one connection for all
            for size in SIZES:
                want = (PERIOD * (size // 251 + 1))[:size]
                with open(w.path(str(size)), "rb") as f:
                    expect(f.read() == want, f"{program}, {address}, {size} bytes: others came")
        done = w.run("curl", "-sSf", "-Z", "--parallel-immediate", "--parallel-max", "200", "--max-time", "20", "-o",
                     "/dev/null", "-w", "%{size_download}\n", f"http://{STACK4}/100000?[1-200]")
        expect(done.stdout.split() == ["100000"] * 200, f"{program}: 200 connections got\n{done.stdout}")
        expect(w.run("curl", "-s", f"http://{STACK4}:81/", check=False).returncode == 7, "a shut port answers")
        server.stop()


def received(s, size):
    """That many bytes; fewer if the peer ends."""
    got = b""
    while len(got) < size and (piece := s.recv(size - len(got))):
        got += piece
    return got


def echoes_without_copies(w):
    started(w, "fstack-zc-echo", 7)
    for address in (STACK4, STACK6):
        data = os.urandom(1 << 20) * 16
        got = hashlib.sha256()
        with socket.create_connection((address, 7), 10) as s:
            def send():
                s.sendall(data)
            sender = threading.Thread(target=send)
            sender.start()
            left = len(data)
            while left:
                piece = s.recv(1 << 16)
                expect(piece, f"{address}: {left} bytes did not come back")
                got.update(piece)
                left -= len(piece)
            sender.join()
        expect(got.digest() == hashlib.sha256(data).digest(), f"{address}: other bytes came back")
        with socket.create_connection((address, 7), 10) as s:
            for size in (1, 100, 3000):
                s.sendall(data[:size])
                expect(received(s, size) == data[:size], f"{address}: {size} bytes changed")
            s.shutdown(socket.SHUT_WR)
            expect(s.recv(1) == b"", f"{address}: no end")


def echoes_datagrams(w):
    server = w.server(built("fstack-udp-echo"), *config(w), ready=lambda: w.answers(STACK4))
    for family, address in ((socket.AF_INET, STACK4), (socket.AF_INET6, STACK6)):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(0.5)
            s.connect((address, 7))
            for size in (0, 1, 1400, 9000, 60_000):
                data = os.urandom(size)

                def back():
                    s.send(data)
                    try:
                        return s.recv(65_536) == data
                    except (TimeoutError, ConnectionRefusedError):
                        return False
                w.wait(back, 5, server)


def lets_the_program_see_frames_first(w):
    library = os.path.join(os.path.dirname(world.BIN), "lib", "libfstack.so")
    if not os.path.exists(library):
        world.skip("libfstack.so was not built")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "frames.py")
    server = w.server(sys.executable, script, library, *config(w), ready=lambda: w.answers(STACK4))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
        wire.bind(("mr0", 0))
        wire.settimeout(5)
        mine = wire.getsockname()[4]

        def send(kind, text):
            wire.send(b"\x02\0\0\0\0\x09" + mine + struct.pack("!H", kind) + text.ljust(100, b"\0"))

        def answer():
            while True:
                frame = wire.recv(65_536, 0)
                if frame[12:14] == b"\x88\xb5" and frame[:6] == mine:
                    return frame
        send(0x88B5, b"first")
        frame = answer()
        turned = len(frame) == 60 and frame[6:12] == b"\x02\0\0\0\0\x09" and frame[14:19] == b"first"
        expect(turned, f"answered {frame}")
        send(0x88B6, b"second")
        expect(w.answers(STACK4), "the stack gets no frames beside the dispatcher")
        send(0x88B7, b"last")
    w.wait(lambda: not server.alive(), 5)
    said = server.output()
    for line in ("frame 88b5 of 114 bytes, queue 0 of 1", "frame 88b6 of 114 bytes", "frame 88b7 of 114 bytes",
                 "route 0 10.9.0.0: 0\nroute 0 10.9.0.0: File exists\n"
                 "route 1 10.9.0.0: 0\nroute 1 10.9.0.0: No such process",
                 "raw 0 -1 -1"):
        expect(line in said, f"not said: {line}\n{said}")
    counts = [int(word) for word in said.rpartition("traffic ")[2].split()]
    expect(counts[0] >= 5 and counts[1] >= 300 and counts[3] >= 4 and counts[4] >= 240, f"traffic: {counts}")


class Client:
    """One connection that asks for pages, one after the other."""

    def __init__(self, address, port=80):
        self.socket = socket.create_connection((address, port), 5)

    def ask(self, size=0):
        self.socket.sendall(b"GET /%d HTTP/1.1\r\n\r\n" % size)
        return self

    def process(self):
        """Reads the head of an answer: which process gave it."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = self.socket.recv(1)
            if not piece:
                raise ConnectionResetError("ended")
            head += piece
        return int(head.split(b"X-Process: ")[1].split(b"\r\n")[0])


def shares_a_port_among_processes_that_come_and_go(w):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        return "(not run: one CPU only)"
    mask = CONFIG.replace("lcore_mask=1", f"lcore_mask={sum(1 << cpu for cpu in cpus):x}")

    def start(process, kind):
        return w.start(built("fstack-http-kqueue"), *config(w, mask)[:2], f"--proc-type={kind}", f"--proc-id={process}")

    def fresh(count=1):
        return [Client((STACK4, STACK6)[i % 2]) for i in range(count)]

    def served(clients):
        """Asks all at once; which process answered each."""
        for client in clients:
            client.ask()
        return [client.process() for client in clients]

    def serves(process):
        try:
            return process in served(fresh(8))
        except OSError:
            return False
    processes = [start(0, "primary")]
    w.wait(lambda: serves(0), 10, processes[0])
    early = fresh(20)
    expect(set(served(early)) == {0}, "process 0 alone does not serve all")
    processes.append(start(1, "secondary"))
    w.wait(lambda: serves(1), 10, processes[1])
    expect(set(served(early)) == {0}, "connections moved when process 1 came")
    clients = fresh(200)
    owners = served(clients)
    expect(all(owners.count(i) > 50 for i in (0, 1)), f"of 200 connections process 1 has {owners.count(1)}")
    twin = start(0, "auto")
    twin.process.wait(10)
    expect("process 0 of mr0 runs already" in twin.output(), f"a second process 0: {twin.output()}")
    for dead in (0, 1):
        lives = 1 - dead
        mine = [c for c, owner in zip(clients, owners) if owner == lives]
        slow, mine = mine[0].ask(3_000_000), mine[1:]
        processes[dead].stop(signal.SIGKILL)
        expect(set(served(mine)) == {lives}, f"process {lives} lost connections with process {dead}")
        expect(slow.process() == lives, "a page of the process that died")
        want = (PERIOD * (3_000_000 // 251 + 1))[:3_000_000]
        expect(received(slow.socket, len(want)) == want, "other bytes came")
        try:
            next(c for c, owner in zip(clients, owners) if owner == dead).ask().process()
            expect(False, f"a connection of process {dead} answers")
        except OSError as gone:
            expect(not isinstance(gone, TimeoutError), "nobody resets connections of one that died")
        stood_in = fresh(40)
        expect(set(served(stood_in)) == {lives}, f"process {lives} does not serve all")
        processes[dead] = start(dead, "auto")
        w.wait(lambda: serves(dead), 10, processes[dead])
        expect(set(served(stood_in + mine)) == {lives}, f"connections moved when process {dead} came back")
        clients = fresh(100)
        owners = served(clients)
    expect(len(set(owners)) == 2, f"not both serve: {owners}")


def ends_with_one_sentence_where_the_configuration_is_wrong(w):
    def said(*words):
        done = subprocess.run([built("fstack-http-kqueue"), *words], capture_output=True, text=True, timeout=20)
        expect(done.returncode == 1, f"{words}: status {done.returncode}\n{done.stderr}")
        return done.stderr.splitlines()
    lines = said(*config(w, CONFIG.replace("255.255.255.0", "255.0.255.0")))
    expect(len(lines) == 1 and "config.ini:9:1: 'netmask' is \"255.0.255.0\"" in lines[0], f"a bad mask: {lines}")
    lines = said("--conf", w.path("none.ini"))
    expect(len(lines) == 1 and "cannot read" in lines[0], f"no file: {lines}")
    lines = said(*config(w)[:3], "--proc-id=1")
    expect(len(lines) == 1 and "a core for process 1 too" in lines[0], f"a process without a core: {lines}")
    lines = said(*config(w, CONFIG.replace("[port0]", "[port0]\ndriver=xdp\ndevice=none0")))
    expect(lines[0].count("without a meaning here: port0.broadcast, freebsd.boot.hz") == 1, f"unused keys: {lines}")
    expect(len(lines) >= 2 and "none0" in lines[1], f"no such device: {lines}")


world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")
world.main(serves_pages_over_kqueue_and_epoll, echoes_without_copies, echoes_datagrams,
           lets_the_program_see_frames_first, shares_a_port_among_processes_that_come_and_go,
           ends_with_one_sentence_where_the_configuration_is_wrong)
