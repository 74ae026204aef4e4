#!/usr/bin/env python3
"""What `make demo` shows once the programs are built."""
import sys
import time

import world

TAP = "mr0"
PORT = 80


def title(number, text):
    print(f"\n== {number}. {text}", flush=True)


def say(text):
    print(text, flush=True)


def show(text, lines=0, indent="    "):
    """Prints a program's output, at most `lines` of it."""
    shown = text.rstrip().splitlines()
    for line in shown[:lines or None]:
        print(indent + line)
    if lines and len(shown) > lines:
        print(f"{indent}... {len(shown) - lines} more lines")
    sys.stdout.flush()


def tell(w, *words, lines=0):
    """Runs a command and shows it with what it says."""
    print("  $ " + " ".join(f"'{w}'" if " " in w else w for w in map(str, words)))
    text = w.run(*words).stdout
    show(text, lines)
    return text


def start_server(w):
    title(3, "The stack, in a private network")
    say("This script now sits in network, process and mount namespaces of its own. The server is one process: HTTP on\n"
        "top of Millrace's TCP/IP, which sends and receives Ethernet frames through the TAP device it makes.")
    print(f"  $ millrace-httpd --tap {TAP} --port {PORT} &")
    server = w.server("millrace-httpd", "--tap", TAP, "--port", PORT)
    show(server.output(), 6)
    say("The kernel sees a network card. The addresses of the stack are not among its own:")
    tell(w, "ip", "-brief", "address")
    return server


def ping(w):
    title(4, "Ping")
    for address in (world.STACK4, world.STACK6):
        tell(w, "ping", "-c", "2", "-i", "0.2", address)
    say("The kernel resolved the stack's addresses with ARP and neighbour discovery:")
    tell(w, "ip", "neighbour")


def fetch(w):
    title(5, "A page, fetched by an unmodified curl")
    page4 = tell(w, "curl", "-sS", "-i", f"http://{world.STACK4}:{PORT}/")
    say("and over IPv6:")
    page6 = tell(w, "curl", "-sS", "-i", "-g", f"http://[{world.STACK6}]:{PORT}/", lines=1)
    return all(page.startswith("HTTP/1.1 200") for page in (page4, page6))


def bulk(w):
    title(6, "A gibibyte, and what the stack says about it meanwhile")
    size = 1 << 30
    # The first transfer is slowed down by curl, so that there is something to look at; the second is not.
    slow = w.start("curl", "-s", "-o", "/dev/null", "--limit-rate", "20M", f"http://{world.STACK4}:{PORT}/bytes/{size}")
    w.wait(lambda: "ESTABLISHED" in w.run("millrace", "netstat").stdout, 10)
    time.sleep(0.3)
    say("While a slow client reads, the live socket list:")
    listed = tell(w, "millrace", "netstat")
    slow.stop()
    said = tell(w, "curl", "-sS", "-o", "/dev/null", "-w", "%{size_download} bytes in %{time_total} s",
                f"http://{world.STACK4}:{PORT}/bytes/{size}")
    say("Counters:")
    tell(w, "millrace", "netstat", "-s", lines=45)
    return said.startswith(f"{size} bytes") and "LISTEN" in listed


def stop_server(w, server):
    title(7, "The end")
    status = server.stop()
    say(f"The server ended with status {status}; its TAP device went with it:")
    tell(w, "ip", "-brief", "address")
    return status == 0 and TAP not in w.run("ip", "link").stdout


def main():
    world.enter()
    if not world.tap_usable():
        world.skip("/dev/net/tun cannot be opened: the kernel needs its `tun` module")
    began = time.monotonic()
    try:
        with world.World() as w:
            server = start_server(w)
            ping(w)
            good = [fetch(w), bulk(w), stop_server(w, server)]
    except world.Failed as problem:
        sys.exit(f"\nThe demo failed: {problem}")
    if not all(good):
        sys.exit("\nThe demo failed: a step above did not do what it says.")
    say(f"\n== Summary\nA page, a ping and a gibibyte went through TCP/IP in user space in "
        f"{time.monotonic() - began:.1f} s. The namespaces go\nwith this script. Next: make test, README.md and\n"
        f"build/release/bin/millrace-httpd --help")


main()
