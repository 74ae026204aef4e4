#!/usr/bin/env python3
"""nginx unmodified, in one process, under `millrace run --inline` over TAP and on the kernel's stack over veth; the
kernel client wrk for both: an answer of 64 bytes on 1 and 50 connections, a file of 1 MiB by sendfile on one. The
server on CPU 0, the client on CPU 1. With --service the stack is millraced's, which shares CPU 0 with the server.

    nginx_pairs.py [--pairs N] [--seconds S] [--only TEXT] [--service]
"""
import argparse
import os

import pairs
import redis_pairs
import tap_pairs
import world

CASES = (("64 B, 1 connection", "/small", 1, "rate", "requests/s"),
         ("64 B, 50 connections", "/small", 50, "rate", "requests/s"),
         ("1 MiB by sendfile, 1 connection", "/large", 1, "gbps", "Gb/s"))


def command(w, name, address):
    """Writes a configuration; the command that serves by it."""
    folder = w.path(name)
    os.mkdir(folder)
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(os.path.join(folder, "conf"), "w") as f:
        f.write(f"""daemon off; master_process off; user root; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; keepalive_requests 1000000000; {temporary}
server {{ listen {address}:80; root {w.dir}; location /small {{ return 200 "{"m" * 64}"; }} }} }}""")
    return "nginx", "-c", os.path.join(folder, "conf")


def start(w, service):
    far = tap_pairs.cable(w)
    with open(w.path("large"), "wb") as f:
        f.write(os.urandom(1 << 20))
    ours = w.server(*redis_pairs.placement(w, service), *command(w, "ours", world.STACK4),
                    ready=lambda: w.connects(world.STACK4, 80))
    far4 = tap_pairs.FAR4
    theirs = w.server("taskset", "-c", "0", *command(w, "theirs", far4), ns=far, ready=lambda: w.connects(far4, 80))
    return {"millrace": tap_pairs.Side(ours, f"http://{world.STACK4}"),
            "kernel": tap_pairs.Side(theirs, f"http://{far4}")}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--service", action="store_true", help="through the service, not inline")
    options = tap_pairs.options_of(parser)
    world.enter()
    if not world.tap_usable():
        world.skip("/dev/net/tun cannot be opened here")
    place = "--service" if options.service else "--inline"
    pairs.emit(f"\n### nginx, unmodified\n\n`bench/workloads/nginx_pairs.py --pairs {options.pairs} --seconds "
               f"{options.seconds:g}{' --service' if options.service else ''}`; {pairs.machine()}\n")
    pairs.emit(f"| case | millrace run {place}, TAP | kernel, veth | ratio |\n|---|---|---|---|")
    with world.World() as w:
        tap_pairs.compare(w, start(w, options.service), (("kernel", ""),), options, CASES)


if __name__ == "__main__":
    main()
