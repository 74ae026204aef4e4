#!/usr/bin/env python3
"""millrace-httpd over AF_XDP on a veth cable against epoll_httpd on the kernel's stack, the kernel client wrk for both:
the cases of tap_pairs.py. The peer runs on a cable of its own that no XDP program slows down, with every offload on;
with --same-cable also beside Millrace on the same one. The server on CPU 0, the client on CPU 1.

    xdp_pairs.py [--pairs N] [--seconds S] [--only TEXT] [--same-cable] [--mode MODE]
"""
import argparse
import os

import pairs
import tap_pairs
import world

PORT = tap_pairs.PORT
BESIDE4 = "198.18.0.3"


def start(w, options):
    """Two cables to the namespace far: wire1 for Millrace and the kernel together, far0 for the kernel alone."""
    far = w.namespace("far")
    for near, there, net in (("wire0", "wire1", "198.18.0"), ("near0", "far0", "198.19.0")):
        w.veth(near, None, there, far)
        w.address(None, near, f"{net}.1/24")
        w.address(far, there, f"{net}.3/24")
    ours = w.server("millrace-httpd", "--interface", f"wire1,xdp_mode={options.mode}", "--address",
                    f"{world.STACK4}/24", "--cpu", "0", "--port", PORT, ns=far, ready=lambda: w.answers(world.STACK4))
    sides = {"millrace": tap_pairs.Side(ours, f"http://{world.STACK4}:{PORT}")}
    peer = os.path.join(world.BIN, "epoll_httpd")
    for name, port, more in (("epoll", PORT, []), ("epoll, busy", PORT + 1, ["--busy-poll"])):
        server = w.server("taskset", "-c", "0", peer, "--port", port, *more, ns=far,
                          ready=lambda port=port: w.connects("198.19.0.3", port))
        sides[name] = tap_pairs.Side(server, f"http://198.19.0.3:{port}")
    sides["same"] = tap_pairs.Side(sides["epoll"].server, f"http://{BESIDE4}:{PORT}")
    return sides


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--same-cable", action="store_true")
    parser.add_argument("--mode", default="auto")
    options = tap_pairs.options_of(parser)
    world.enter()
    pairs.emit("\n### AF_XDP on veth and a kernel client\n\n"
               f"`bench/workloads/xdp_pairs.py --pairs {options.pairs} --seconds "
               f"{options.seconds:g}`; {pairs.machine()}\n")
    pairs.emit("| case | millrace-httpd, AF_XDP | epoll_httpd, kernel | ratio |\n|---|---|---|---|")
    peers = [("epoll", ""), ("epoll, busy", ", peer busy-polling")]
    if options.same_cable:
        peers.append(("same", ", peer on the same cable"))
    with world.World() as w:
        tap_pairs.compare(w, start(w, options), peers, options, tap_pairs.CASES)


if __name__ == "__main__":
    main()
