#!/usr/bin/env python3
"""What established connections keep of their throughput while forged SYNs come: the virtio link of virtio.py, 64 B HTTP
on 256 connections, with and without a flood from addresses that do not exist, in pairs. The generator forges the SYNs
and swallows the answers too, and is often the limit; what the server's own busy cycles serve is compared besides.

Needs huge pages (it reserves them for the run if it may) and two CPUs.

    syn_flood.py [--pairs N] [--seconds S] [--rate SYNS_PER_SECOND]
"""
import argparse

import pairs
import virtio
import world


def served(result, rate):
    """Requests that a million busy cycles of the server serve, SYNs included in what they do."""
    frames = result["rate"] + (rate if result["forged"] else 0)
    return {**result, "served": result["rate"] / frames / result["server"] * 1e6}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--rate", type=int, default=1_000_000)
    options = parser.parse_args()
    world.enter()
    quiet = virtio.small("64 B HTTP", 256, 80, [], True)
    flooded = {**quiet, "load": quiet["load"] + ["--forge-syns", options.rate]}
    with virtio.HugePages(), world.World() as w:
        left, right = pairs.run_pairs(lambda: virtio.measure(w, flooded, options.seconds),
                                      lambda: virtio.measure(w, quiet, options.seconds), options.pairs)
    pairs.emit(f"\n### A flood of {options.rate:,} forged SYNs a second, virtio\n\n`bench/workloads/syn_flood.py "
               f"--pairs {options.pairs} --seconds {options.seconds:g} --rate {options.rate}`; {pairs.machine()}\n")
    pairs.emit("| | flooded | quiet | ratio |\n|---|---|---|---|")
    left, right = ([served(r, options.rate) for r in side] for side in (left, right))
    pairs.emit(pairs.pair_row("requests in a million busy cycles of the server", "served", left, right))
    pairs.emit(pairs.pair_row("requests/s", "rate", left, right))
    pairs.emit(pairs.pair_row("p99 us", "p99", left, right))
    pairs.emit(pairs.pair_row("generator busy %", "busy", left, right))
    pairs.emit(f"\nSYNs forged in a run: {pairs.spread([r['forged'] for r in left])}.")


if __name__ == "__main__":
    main()
