#!/usr/bin/env python3
"""millrace-dns on a TAP device, asked by dig."""
import shutil

import world
from world import expect

world.enter()
if not world.tap_usable():
    world.skip("/dev/net/tun cannot be opened here")
if not shutil.which("dig"):
    world.skip("dig is not installed (ci/install-packages test)")

ZONE = """$ORIGIN example.org.
$TTL 3600
@ IN SOA ns1 admin 1 7200 900 1209600 300
@ IN NS ns1
@ IN MX 10 mail
@ IN TXT "of the stack"
ns1 IN A 198.18.0.2
ns1 IN AAAA fd00:6d72::2
mail IN A 192.0.2.2
www IN CNAME web
web IN A 192.0.2.3
"""


def setup(w):
    with open(w.path("zone"), "w") as f:
        f.write(ZONE + "".join(f"many IN A 192.0.3.{i}\n" for i in range(100)))
    w.server("millrace-dns", "--tap", "mr0", "--zone", w.path("zone"))


def dig(w, address, *words):
    return w.run("dig", f"@{address}", "+time=2", "+tries=3", *words).stdout


def answers_every_type_over_both_families(w):
    setup(w)
    for address in (world.STACK4, world.STACK6):
        for name, kind, want in (("web.example.org", "A", "192.0.2.3"), ("ns1.example.org", "AAAA", "fd00:6d72::2"),
                                 ("example.org", "NS", "ns1.example.org."),
                                 ("example.org", "MX", "10 mail.example.org."),
                                 ("example.org", "TXT", '"of the stack"'),
                                 ("www.example.org", "CNAME", "web.example.org.")):
            said = dig(w, address, "+short", name, kind).strip()
            expect(said == want, f"{address}: {name} {kind}: {said!r}")
        said = dig(w, address, "www.example.org", "A")
        for part in ("status: NOERROR", " aa ", "CNAME", "192.0.2.3", "EDNS: version: 0"):
            expect(part in said, f"{address}: no {part!r} in\n{said}")


def says_no_and_refuses(w):
    setup(w)
    said = dig(w, world.STACK4, "nobody.example.org")
    expect("status: NXDOMAIN" in said and "SOA" in said, said)
    expect("status: REFUSED" in dig(w, world.STACK4, "example.com"), "another zone is not refused")


def large_answers_come_over_tcp(w):
    setup(w)
    cut = dig(w, world.STACK4, "+ignore", "many.example.org")
    expect(" tc" in cut.partition("flags:")[2].partition(";")[0], f"not truncated:\n{cut}")
    for address in (world.STACK4, world.STACK6):
        said = dig(w, address, "+short", "many.example.org").split()
        expect(len(said) == 100, f"{address}: {len(said)} addresses after dig asked again over TCP")


world.main(answers_every_type_over_both_families, says_no_and_refuses, large_answers_come_over_tcp)
