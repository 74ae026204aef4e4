#!/usr/bin/env python3
"""Debian's programs on one service, each PROGRAM_SECONDS (180) under load over a path that loses 1 % of the frames both
ways: the kernel's programs at the far end check every byte, and nothing is left behind. `make soak` runs it; names of
tests as arguments choose some of them."""
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time

import world
from world import expect

sys.path.insert(0, os.path.join(world.ROOT, "bench", "workloads"))
import wan  # noqa: E402

SECONDS = float(os.environ.get("PROGRAM_SECONDS", "180"))
STACK, FAR = wan.STACK, wan.FAR
ATTACH = ("millrace", "run", "--")
SERVICE = "/run/millrace/service"
PATH = {"both": "delay=0.5ms,loss=1%", "forward": "delay=0.5ms,loss=1%"}
ECHO = """
import hashlib, os, random, socket, sys, time
end = time.monotonic() + float(sys.argv[3])
done = 0
while time.monotonic() < end:
    data = os.urandom(random.randrange(1, 200_000))
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as s:
        s.settimeout(60)
        got, sent = b"", 0
        while len(got) < len(data):
            if sent < len(data):
                sent += s.send(data[sent:sent + 16_384])
            if sent - len(got) > 60_000 or sent == len(data):
                part = s.recv(65_536)
                assert part, "ended early"
                got += part
        assert got == data, "other bytes"
        done += len(data)
print(done)
"""


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            raise world.Failed(f"{program} is not installed (ci/install-packages soak test)")


def memory_of(process):
    with open(f"/proc/{process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


class Bed:
    """The lossy path, the service at its near end, and what must hold when the load is over."""

    def __init__(self, w):
        self.w = w
        wan.lay_cables(w)
        self.link = w.start("millrace-link", "l0", "l1", "--both", PATH["both"], "--seed", 1, "--nap-us", 100)
        w.wait(lambda: "are linked" in self.link.output(), 20, self.link)
        self.service = w.server("millraced", "--interface", f"near0,driver=xdp,address={STACK}/24,dad=false",
                                ns="near", ready=lambda: os.path.exists(SERVICE))
        w.wait(lambda: w.answers(STACK, ns="far"), 20, self.service)
        self.memory = []
        self.failures = []

    def program(self, *words, port=None):
        ready = (lambda: self.w.connects(STACK, port, ns="far")) if port else (lambda: True)
        return self.w.server(*ATTACH, *words, ns="near", ready=ready, seconds=40)

    def far(self, *words, **more):
        return self.w.run(*words, ns="far", timeout=SECONDS + 120, **more)

    def load(self, *jobs):
        """Runs the functions again and again, each in a thread, until the time is over."""
        end = time.monotonic() + SECONDS
        rounds = [0] * len(jobs)

        def work(number):
            while time.monotonic() < end and not self.failures:
                try:
                    jobs[number]()
                except (world.Failed, OSError, subprocess.SubprocessError) as problem:
                    self.failures.append(str(problem))
                rounds[number] += 1
        threads = [threading.Thread(target=work, args=(n,)) for n in range(len(jobs))]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.memory.append(memory_of(self.service.process))
            time.sleep(min(1, SECONDS / 20))
        for thread in threads:
            thread.join()
        expect(not self.failures, "\n".join(self.failures[:3]))
        return rounds

    def end(self, *programs):
        """Ends the programs: no connection of theirs is left, and the service has not grown."""
        for program in programs:
            program.process.terminate()
        for program in programs:
            program.process.wait(20)

        def left():
            shown = self.w.run("millrace", "netstat", ns="near").stdout.splitlines()
            return [line for line in shown if STACK in line and "TIME-WAIT" not in line]
        limit = time.monotonic() + 90
        while left() and time.monotonic() < limit:
            time.sleep(1)
        processes = self.w.run("ps", "ax").stdout
        expect(not left(), f"sockets are left: {left()[:5]}\n{processes}")
        half = self.memory[len(self.memory) // 2]
        expect(self.memory[-1] < half + 16_384, f"the service grew from {half} to {self.memory[-1]} KiB")
        expect(self.service.alive() and "nonsense" not in self.service.output(), self.service.output())
        return f"{self.memory[-1]} KiB"


def make_file(w, name, size):
    data = os.urandom(1 << 20) * (size >> 20)
    with open(w.path(name), "wb") as f:
        f.write(data)
    os.chmod(w.path(name), 0o644)
    return hashlib.sha256(data).hexdigest()


def fetch(bed, url, digest, *flags):
    """With curl at the far end."""
    read = bed.w.command(["curl", "-sSfk", "--max-time", str(SECONDS + 60), *flags, url], "far")
    process = subprocess.Popen(read, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    sha = hashlib.sha256()
    for part in iter(lambda: process.stdout.read(1 << 16), b""):
        sha.update(part)
    text = process.stderr.read().decode()
    expect(process.wait() == 0, f"{url}: {text}")
    expect(sha.hexdigest() == digest, f"{url}: other bytes")


def certificate(w):
    w.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-keyout",
          w.path("key.pem"), "-out", w.path("cert.pem"))
    with open(w.path("both.pem"), "w") as f:
        for name in ("cert.pem", "key.pem"):
            with open(w.path(name)) as part:
                f.write(part.read())


def nginx(bed, name="nginx.conf", port=80, tls=443):
    w = bed.w
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = " ".join(f"{kind}_temp_path {w.dir}/{kind};" for kind in kinds)
    with open(w.path(name), "w") as f:
        f.write(f"""daemon off; worker_processes 2; error_log stderr; pid {w.dir}/{name}.pid; user root; events {{}}
http {{ access_log off; sendfile on; {folders} server {{ listen {STACK}:{port} reuseport; listen {STACK}:{tls} ssl;
ssl_certificate {w.dir}/cert.pem; ssl_certificate_key {w.dir}/key.pem; root {w.dir}; }} }}""")
    return bed.program("nginx", "-c", w.path(name), port=port)


def nginx_with_two_workers_and_tls(w):
    needs("nginx", "openssl", "curl")
    bed = Bed(w)
    certificate(w)
    digest = make_file(w, "file", 4 << 20)
    server = nginx(bed)
    jobs = [lambda u=u: fetch(bed, u, digest) for u in
            (f"http://{STACK}/file", f"https://{STACK}/file", f"http://{STACK}/file", f"https://{STACK}/file")]
    rounds = bed.load(*jobs)
    return f"{sum(rounds)} files of 4 MiB, {bed.end(server)}"


def haproxy_in_both_modes(w):
    needs("haproxy", "nginx", "curl")
    bed = Bed(w)
    certificate(w)
    digest = make_file(w, "file", 4 << 20)
    inner = nginx(bed, port=8000, tls=8443)
    with open(w.path("haproxy.cfg"), "w") as f:
        f.write(f"""global
  nbthread 2
defaults
  timeout connect 20s
  timeout client 120s
  timeout server 120s
listen http
  mode http
  bind {STACK}:80
  bind {STACK}:443 ssl crt {w.path('both.pem')}
  server inner {STACK}:8000 check
listen tcp
  mode tcp
  bind {STACK}:81
  server inner {STACK}:8000
""")
    proxy = bed.program("haproxy", "-db", "-f", w.path("haproxy.cfg"), port=81)
    jobs = [lambda u=u: fetch(bed, u, digest) for u in
            (f"http://{STACK}/file", f"http://{STACK}:81/file", f"https://{STACK}/file")]
    rounds = bed.load(*jobs)
    return f"{sum(rounds)} files of 4 MiB, {bed.end(proxy, inner)}"


def knot_answers_dig(w):
    needs("knotd", "dig")
    bed = Bed(w)
    with open(w.path("zone"), "w") as f:
        f.write("$ORIGIN test.\n$TTL 60\n@ SOA a b 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n")
        f.write("".join(f"h{i} A 192.0.2.{i % 250}\nh{i} TXT \"{'x' * 200}\" \"{i}\"\n" for i in range(500)))
    with open(w.path("knot.conf"), "w") as f:
        f.write(f"server:\n  listen: {STACK}@53\n  rundir: {w.dir}\n  user: root\ndatabase:\n  storage: {w.dir}\n"
                f"acl:\n  - id: all\n    action: transfer\nlog:\n  - target: stderr\n    any: warning\n"
                f"zone:\n  - domain: test\n    file: {w.path('zone')}\n    acl: all\n")
    server = bed.program("knotd", "-c", w.path("knot.conf"), port=53)
    number = [0]

    def ask(*flags):
        number[0] += 1
        i = number[0] % 500
        said = bed.far("dig", f"@{STACK}", *flags, "+tries=20", "+time=2", "+short", f"h{i}.test").stdout
        expect(said.split("\n")[-2] == f"192.0.2.{i % 250}", f"dig {flags}: {said}")  # lost ones are told of before

    def transfer():
        said = bed.far("dig", f"@{STACK}", "axfr", "test", "+time=60").stdout
        expect(said.count("TXT") == 500, f"axfr: {said.count('TXT')} of 500")
    rounds = bed.load(lambda: ask("+notcp"), lambda: ask("+tcp"), transfer)
    return f"{rounds} questions over UDP, over TCP, and transfers, {bed.end(server)}"


def redis_and_a_replica(w):
    needs("redis-server", "redis-benchmark")
    bed = Bed(w)
    common = ("--bind", STACK, "--protected-mode", "no", "--save", "", "--repl-timeout", "60")
    for name in ("one", "two"):
        os.mkdir(w.path(name))
    first = bed.program("redis-server", *common, "--port", "6379", "--dir", w.path("one"), port=6379)
    second = bed.program("redis-server", *common, "--port", "6380", "--dir", w.path("two"), "--replicaof", STACK,
                         "6379", port=6380)

    def ask(port, *words):
        return bed.far("redis-cli", "-h", STACK, "-p", str(port), *words).stdout.strip()

    def bench(*flags):
        bed.far("redis-benchmark", "-h", STACK, "-r", "10000", "-q", "-t", "set,incr,lpush,get,mset", *flags)
    rounds = bed.load(lambda: bench("-n", "3000", "-d", "3000"), lambda: bench("-n", "10000", "-P", "16"),
                      lambda: expect("Background" in ask(6379, "bgsave") or True, ""))
    w.wait(lambda: ask(6379, "debug", "digest") == ask(6380, "debug", "digest"), 60)
    return f"{sum(rounds)} rounds, {bed.end(first, second)}"


def iperf3_both_ways(w):
    needs("iperf3")
    bed = Bed(w)
    server = bed.program("iperf3", "-s", port=5201)
    each = str(max(4, int(SECONDS / 4)))
    for flags in (("-P", "8"), ("-P", "8", "-R"), ("-u", "-b", "20M", "-P", "4"), ("-u", "-b", "20M", "-R")):
        bed.memory.append(memory_of(bed.service.process))
        done = bed.far("iperf3", "-c", STACK, "-t", each, *flags, check=False)
        expect(done.returncode == 0 and "iperf Done" in done.stdout,
               f"iperf3 {flags}: {done.stdout[-600:]}{done.stderr}")
    return bed.end(server)


def curl_fetches_a_gibibyte(w):
    needs("curl", "nginx")
    bed = Bed(w)
    certificate(w)
    digest = make_file(w, "big", 1 << 30)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = " ".join(f"{kind}_temp_path {w.dir}/{kind};" for kind in kinds)
    with open(w.path("far.conf"), "w") as f:
        f.write(f"""daemon off; error_log stderr; pid {w.dir}/far.pid; user root; events {{}}
http {{ access_log off; sendfile on; {folders} server {{ listen 80; listen 443 ssl; ssl_certificate {w.dir}/cert.pem;
ssl_certificate_key {w.dir}/key.pem; root {w.dir}; }} }}""")
    w.server("nginx", "-c", w.path("far.conf"), ns="far", ready=lambda: w.connects(FAR, 80, ns="far"))
    bed.memory.append(memory_of(bed.service.process))
    w.run(*ATTACH, "curl", "-sSfk", "-o", w.path("got"), f"https://{FAR}/big", ns="near", timeout=SECONDS + 600)
    sha = hashlib.sha256()
    with open(w.path("got"), "rb") as f:
        for part in iter(lambda: f.read(1 << 20), b""):
            sha.update(part)
    expect(sha.hexdigest() == digest, "curl: other bytes")
    return bed.end()


def echoes(w):
    """socat, python's asyncio and threads, node: each echoes what it is sent."""
    needs("socat", "node")
    bed = Bed(w)
    asyncio = ("import asyncio\nasync def serve(r, w):\n while data := await r.read(65536):\n  w.write(data)\n"
               "  await w.drain()\n w.close()\nasync def main():\n"
               f" await (await asyncio.start_server(serve, '{STACK}', 7002)).serve_forever()\nasyncio.run(main())\n")
    threads = ("import socketserver\nclass Handler(socketserver.BaseRequestHandler):\n def handle(self):\n"
               "  while data := self.request.recv(65536):\n   self.request.sendall(data)\n"
               "socketserver.ThreadingTCPServer.allow_reuse_address = True\n"
               f"socketserver.ThreadingTCPServer(('{STACK}', 7003), Handler).serve_forever()\n")
    node = f"require('net').createServer(s => s.pipe(s)).listen(7004, '{STACK}')"
    servers = [bed.program("socat", f"TCP-LISTEN:7001,bind={STACK},fork,reuseaddr", "PIPE", port=7001),
               bed.program(sys.executable, "-c", asyncio, port=7002),
               bed.program(sys.executable, "-c", threads, port=7003),
               bed.program("node", "-e", node, port=7004)]
    jobs = [lambda p=p: bed.far(sys.executable, "-c", ECHO, STACK, str(p), str(min(SECONDS, 10)))
            for p in (7001, 7002, 7003, 7004)]
    rounds = bed.load(*jobs)
    return f"{sum(rounds)} clients, {bed.end(*servers)}"


if __name__ == "__main__":
    world.enter()
    world.main(nginx_with_two_workers_and_tls, haproxy_in_both_modes, knot_answers_dig, redis_and_a_replica,
               iperf3_both_ways, curl_fetches_a_gibibyte, echoes)
