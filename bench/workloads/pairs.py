"""Measurements in pairs: A, B, A, B ... in one run, with a warm-up before, the median of each side, and the median of
the pairs' ratios with the interval that holds it at 95 % or more whatever the distribution (order statistics)."""
import math
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))


def interval(values, confidence=0.95):
    """The narrowest pair of order statistics around the median that covers it with that confidence."""
    ordered = sorted(values)
    n = len(ordered)
    for k in range(n // 2, -1, -1):
        outside = 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2 ** n
        if 1 - outside >= confidence:
            return ordered[k], ordered[n - 1 - k]
    return ordered[0], ordered[-1]


def number(value):
    """Four digits that matter."""
    if value == 0:
        return "0"
    if math.isnan(value):
        return "-"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def spread(values):
    low, high = interval(values)
    return f"{number(statistics.median(values))} ({number(low)} to {number(high)})"


def run_pairs(a, b, count):
    """Calls a() and b() in turn, first once each to warm up; returns both lists of results (dicts)."""
    a()
    b()
    left, right = [], []
    for i in range(count):
        left.append(a())
        right.append(b())
        print(f"    pair {i + 1}/{count}: {left[-1]} | {right[-1]}", file=sys.stderr, flush=True)
    return left, right


def run_alone(a, count):
    """The same without a peer."""
    a()
    results = []
    for i in range(count):
        results.append(a())
        print(f"    run {i + 1}/{count}: {results[-1]}", file=sys.stderr, flush=True)
    return results


def pair_row(name, key, left, right):
    """A Markdown row: case, A, B, ratio A/B."""
    a = [r[key] for r in left]
    b = [r[key] for r in right]
    ratios = [x / y for x, y in zip(a, b) if y]
    ratio = spread(ratios) if ratios else "-"
    return f"| {name} | {spread(a)} | {spread(b)} | {ratio} |"


def machine():
    """One line about where the figures come from."""
    with open("/proc/cpuinfo") as f:
        model = next((x.split(":")[1].strip() for x in f if x.startswith("model name")), "unknown CPU")
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    kernel = os.uname().release
    load = os.getloadavg()[0]
    return (f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, commit {commit.stdout.strip()}, {os.cpu_count()} x "
            f"{model}, Linux {kernel}, load average at the start {load:.1f}")


def emit(text):
    """Prints Markdown and appends it to the file named by MILLRACE_BENCH_OUT, if any."""
    print(text, flush=True)
    out = os.environ.get("MILLRACE_BENCH_OUT")
    if out:
        with open(out, "a") as f:
            f.write(text + "\n")
