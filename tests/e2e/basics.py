"""What every link must carry, whatever the driver: the same checks for TAP and for DPDK. `site` says where the
server of the stack is and from which namespace the kernel's programs reach it."""
import hashlib
import json
import os
import re
import socket
import subprocess
import time
import zlib

import world
from world import expect

GIB = 1 << 30
_PATTERN = bytes(i % 251 for i in range(251 * 4096))


class Site:
    """Addresses of a server of the stack as seen from the namespace `ns`."""

    def __init__(self, ns=None, v4=world.STACK4, v6=world.STACK6, mtu=1500, port=80):
        self.ns, self.v4, self.v6, self.mtu, self.port = ns, v4, v6, mtu, port

    def addresses(self):
        return [a for a in (self.v4, self.v6) if a]

    def url(self, address, path="/"):
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{self.port}{path}"


def pattern_pieces(total):
    """The body of /bytes/N in pieces: byte i is i modulo 251."""
    while total > 0:
        piece = _PATTERN[:total]
        yield piece
        total -= len(piece)


def pattern_sha256(total):
    digest = hashlib.sha256()
    for piece in pattern_pieces(total):
        digest.update(piece)
    return digest.hexdigest()


def curl_sha256(w, site, address, path, timeout=120):
    """Fetches with curl; returns the digest of the body and curl's own words about the transfer."""
    words = "-sS -g -w '%{stderr}%{http_code} %{size_download}'"
    command = w.command(["sh", "-c", f"curl {words} --max-time {timeout} '{site.url(address, path)}' | sha256sum"],
                        ns=site.ns)
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout + 10)
    return done.stdout.split()[0], done.stderr.strip()


def fetches_the_front_page(w, site):
    for address in site.addresses():
        page = w.run("curl", "-sS", "-g", "-i", "--max-time", "10", site.url(address), ns=site.ns).stdout
        expect(page.startswith("HTTP/1.1 200"), f"{address}: unexpected answer\n{page}")
        expect("Millrace" in page, f"{address}: not the front page\n{page}")


def fetches_bodies_of_every_size(w, site, sizes=(0, 1, 64, 1447, 1448, 1449, 65535, 65536, 300_000, 5_000_000)):
    for address in site.addresses():
        for size in sizes:
            digest, said = curl_sha256(w, site, address, f"/bytes/{size}", 30)
            expect(said == f"200 {size}", f"{address} /bytes/{size}: curl says {said!r}")
            expect(digest == pattern_sha256(size), f"{address} /bytes/{size}: the content differs")


def answers_pings_up_to_the_mtu(w, site):
    for address in site.addresses():
        headers = 48 if ":" in address else 28
        for size in (0, 1, 56, 1000, site.mtu - headers - 1, site.mtu - headers):
            # A datagram may be lost on a machine that is short of time; twice in a row means that it does not pass.
            for _ in range(2):
                done = w.run("ping", "-c", "3", "-i", "0.02", "-W", "2", "-M", "do", "-s", str(size), address,
                             ns=site.ns, check=False)
                if " 0% packet loss" in done.stdout:
                    break
            expect(" 0% packet loss" in done.stdout, f"ping of {size} bytes to {address}:\n{done.stdout}{done.stderr}")


def _in_namespace(w, site, function, *args):
    """Calls function(*args) in a child that sits in the site's network namespace; returns what it returned."""
    import json
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            if site.ns:
                import ctypes
                with open(f"/run/netns/{site.ns}") as handle:
                    if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), 0x40000000) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
            with os.fdopen(writer, "w") as out:
                json.dump(function(*args), out)
            status = 0
        except BaseException as problem:  # the parent reports it
            os.write(2, f"{type(problem).__name__}: {problem}\n".encode())
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    expect(status == 0 and text, f"{function.__name__}{args} failed (its words are above)")
    return json.loads(text)


def downloads(w, site, address, size=GIB):
    """Fetches `size` bytes with curl, compares the checksum and returns the rate."""
    began = time.monotonic()
    digest, said = curl_sha256(w, site, address, f"/bytes/{size}", 240)
    seconds = time.monotonic() - began
    expect(said == f"200 {size}", f"{address}: curl says {said!r}")
    expect(digest == pattern_sha256(size), f"{address}: {size} bytes arrived with another checksum")
    return f"{size * 8 / seconds / 1e9:.1f} Gb/s"


def _put(address, port, size):
    crc = 0
    with socket.create_connection((address, port), 30) as s:
        s.settimeout(120)
        s.sendall(f"PUT /sum HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode())
        for piece in pattern_pieces(size):
            s.sendall(piece)
            crc = zlib.crc32(piece, crc)
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    return crc, answer.decode("latin-1")


def uploads(w, site, address, size=GIB):
    """Sends `size` bytes to /sum, compares the stack's CRC-32 with ours and returns the rate."""
    began = time.monotonic()
    crc, answer = _in_namespace(w, site, _put, address, site.port, size)
    seconds = time.monotonic() - began
    expect(answer.startswith("HTTP/1.1 200"), f"{address}: PUT /sum was answered\n{answer[:300]}")
    body = answer.partition("\r\n\r\n")[2]
    expect(re.search(rf"\b{size}\b", body), f"{address}: the stack did not count {size} bytes: {body!r}")
    expect(f"{crc:08x}" in body.lower(), f"{address}: the stack's checksum is not {crc:08x}: {body!r}")
    return f"{size * 8 / seconds / 1e9:.1f} Gb/s"


def _at_once(addresses, port, count, size):
    """Opens all connections, then asks on all, then reads from all: at one time every connection is established."""
    want = b"".join(pattern_pieces(size))
    sockets = []
    for i in range(count):
        sockets.append(socket.create_connection((addresses[i % len(addresses)], port), 20))
    for s in sockets:
        s.settimeout(60)
        s.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    good = 0
    for s in sockets:
        answer = b""
        while piece := s.recv(65536):
            answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        good += head.startswith(b"HTTP/1.1 200") and body == want
        s.close()
    return good


def workers_share(w, site, megabytes, ns=None):
    """Connections, pings and transfers of a server with several workers, which hand over what is another's."""
    serves_connections_at_once(w, site, 200, 20_000)
    answers_pings_up_to_the_mtu(w, site)
    downloads(w, site, site.v6, megabytes << 20)
    uploads(w, site, site.v4, megabytes << 20)
    hands_over(w, ns)


def hands_over(w, ns=None):
    """How many frames workers handed over: some, and every one was taken."""
    rows = json.loads(w.run(w.program("millrace"), "netstat", "-s", "--json", ns=ns).stdout)
    seen = {row["counter"]: row["value"] for row in rows}
    expect(seen.get("steer.handed_over", 0) == seen.get("steer.handed_in", 0) > 0, f"handed over: {seen}")
    return seen["steer.handed_over"]


def serves_connections_at_once(w, site, count=1000, size=20_000):
    good = _in_namespace(w, site, _at_once, site.addresses(), site.port, count, size)
    expect(good == count, f"{good} of {count} parallel connections got the right answer")


def _half_close(address, port):
    with socket.create_connection((address, port), 10) as s:
        s.settimeout(10)
        s.sendall(b"GET /bytes/100000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        s.shutdown(socket.SHUT_WR)
        total = 0
        while piece := s.recv(65536):
            total += len(piece)
    return total


def answers_after_the_client_closed_its_side(w, site):
    for address in site.addresses():
        total = _in_namespace(w, site, _half_close, address, site.port)
        expect(total > 100_000, f"{address}: {total} bytes after a half-close")


def _refused(address, port):
    began = time.monotonic()
    try:
        socket.create_connection((address, port), 5).close()
        return "connected"
    except OSError as problem:
        return f"{type(problem).__name__} {time.monotonic() - began < 2}"


def refuses_a_port_that_nobody_listens_on(w, site):
    for address in site.addresses():
        said = _in_namespace(w, site, _refused, address, 9)
        expect(said == "ConnectionRefusedError True", f"{address} port 9: {said}")


def _keep_alive(address, port, count):
    """Requests one after another, then several in one segment, on one connection."""
    with socket.create_connection((address, port), 10) as s:
        s.settimeout(10)
        request = b"GET /bytes/10 HTTP/1.1\r\nHost: x\r\n\r\n"
        good, data = 0, b""
        want = b"\r\n\r\n" + bytes(range(10))
        for batch in [1] * count + [8]:
            s.sendall(request * batch)
            for _ in range(batch):
                while want not in data:
                    piece = s.recv(65536)
                    if not piece:
                        return good
                    data += piece
                good, data = good + 1, data.partition(want)[2]
        return good


def keeps_a_connection_alive(w, site):
    for address in site.addresses():
        good = _in_namespace(w, site, _keep_alive, address, site.port, 50)
        expect(good == 58, f"{address}: {good} of 58 requests on one connection were answered")


def cases(setup, gib=GIB):
    """The whole set as test functions for world.main(); setup(w) makes the link and the server and returns the Site."""
    def on(function, *args):
        def test(w):
            return function(w, setup(w), *args)
        test.__name__ = function.__name__
        return test

    def transfer(function, family):
        def test(w):
            site = setup(w)
            return function(w, site, site.v4 if family == 4 else site.v6, gib)
        test.__name__ = f"{function.__name__}_{gib >> 20}_mib_over_ipv{family}"
        return test

    simple = [fetches_the_front_page, fetches_bodies_of_every_size, answers_pings_up_to_the_mtu,
              keeps_a_connection_alive, answers_after_the_client_closed_its_side,
              refuses_a_port_that_nobody_listens_on, serves_connections_at_once]
    return [on(f) for f in simple] + [transfer(f, v) for f in (downloads, uploads) for v in (4, 6)]
