#!/usr/bin/env python3
"""millrace-httpd on a TAP device, the kernel of this machine as its peer."""
import hashlib
import os

import basics
import world
from world import expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")


def setup(w, *more):
    w.server("millrace-httpd", "--tap", "mr0", *more)
    return basics.Site()


def serves_files_of_a_directory(w):
    os.makedirs(w.path("www/deep"))
    content = os.urandom(3_000_001)
    with open(w.path("www/deep/blob.bin"), "wb") as f:
        f.write(content)
    site = setup(w, "--root", w.path("www"))
    digest, said = basics.curl_sha256(w, site, site.v4, "/deep/blob.bin")
    expect(said == f"200 {len(content)}", f"curl says {said}")
    expect(digest == hashlib.sha256(content).hexdigest(), "the file arrived changed")
    _, said = basics.curl_sha256(w, site, site.v6, "/none")
    expect(said.startswith("404"), f"a missing file: curl says {said}")


def lists_connections_and_counters_while_it_runs(w):
    site = setup(w)
    slow = w.start("curl", "-s", "--limit-rate", "100K", "-o", "/dev/null", site.url(site.v4, "/bytes/10000000"))
    w.wait(lambda: "ESTABLISHED" in w.run("millrace", "netstat").stdout, 10)
    listed = w.run("millrace", "netstat").stdout
    expect("LISTEN" in listed, f"no listener in\n{listed}")
    line = next(x for x in listed.splitlines() if "ESTABLISHED" in x)
    expect(f"{site.v4}:80" in line and world.KERNEL4 in line, f"the addresses are not in: {line}")
    counters = w.run("millrace", "netstat", "-s").stdout
    expect("tcp" in counters, f"no TCP counters in\n{counters[:500]}")
    slow.stop()


def writes_a_capture_that_tcpdump_reads(w):
    site = setup(w, "--capture", w.path("cap.pcapng"))
    w.run("curl", "-s", site.url(site.v4))
    w.servers[0].stop()
    text = w.run("tcpdump", "-nr", w.path("cap.pcapng")).stdout
    for part in ("Flags [S]", "Flags [S.]", "HTTP: GET / HTTP/1.1", "HTTP/1.1 200 OK", "Flags [F"):
        expect(part in text, f"{part!r} is not in the capture:\n{text[:3000]}")
    expect("incorrect" not in text, f"a wrong checksum in\n{text[:3000]}")


world.main(*basics.cases(setup), serves_files_of_a_directory, lists_connections_and_counters_while_it_runs,
           writes_a_capture_that_tcpdump_reads)
