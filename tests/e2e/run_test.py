#!/usr/bin/env python3
"""millrace run: unmodified programs on the stack, against the kernel. The oracle (tests/oracle) prints what a program
observes of sockets; on the kernel and on the stack it must print the same."""
import difflib
import hashlib
import os
import shutil
import signal
import socket
import struct
import sys
import threading
import time

import world
from world import expect

ORACLE = os.path.join(world.BIN, "oracle")
FLAGS = ("--interface", "mr0,dad=false")  # IPv6 at once, no test of addresses
RUN = ("millrace", "run", "--inline", *FLAGS, "--")
SERVICE = "/run/millrace/service"
ATTACH = ("millrace", "run", "--")
BYTES = 64 << 20


def ticks(process):
    """Processor time that it has used, in hundredths of a second."""
    with open(f"/proc/{process.pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def idles(server, name):
    time.sleep(1)
    before = ticks(server.process)
    time.sleep(1)
    used = ticks(server.process) - before
    expect(used <= 2, f"{name} does nothing and used {used} hundredths of a second in one second")


def sees_what_it_sees_on_the_kernel(w):
    ns = w.namespace("plain")
    w.address(ns, "lo", f"{world.STACK4}/32", f"{world.STACK6}/128")
    beside = w.server(ORACLE, ns=ns, ready=lambda: True)  # while the others run: it mostly waits
    seen = {"inline": w.run(*RUN, ORACLE).stdout.splitlines()}
    service = start_service(w)
    seen["service"] = w.run(*ATTACH, ORACLE).stdout.splitlines()
    w.wait(lambda: not beside.alive(), 20, beside)
    kernel = beside.output().splitlines()
    expect(kernel[-1] == "end" and len(kernel) > 500, f"the oracle itself did not end well:\n{kernel[-3:]}")
    for placement, stack in seen.items():
        different = list(difflib.unified_diff(kernel, stack, "kernel", placement, lineterm="", n=6))
        expect(not different, "\n".join(different))
    idles(service, "the service")
    service.stop()
    return f"{len(kernel)} lines"


def start_service(w, *flags):
    return w.server("millraced", *FLAGS, *flags, ready=lambda: os.path.exists(SERVICE))


def says_why_a_program_cannot_run(w):
    copy = w.path("set-user-id")
    shutil.copy("/bin/true", copy)
    os.chown(copy, 65534, 65534)
    os.chmod(copy, 0o4755)
    text = w.path("text")
    with open(text, "w") as f:
        f.write("no program\n")
    os.chmod(text, 0o755)
    plain = shutil.copy(text, w.path("plain"))
    os.chmod(plain, 0o644)
    cases = [(("--inline", "--", "no-such-program"), 127, "there is no program 'no-such-program'"),
             (("--inline", "--", "/sbin/ldconfig"), 125, "is statically linked"),
             (("--inline", "--", copy), 125, "gets privileges when it starts"),
             (("--inline", "--", plain), 126, "cannot be executed"),
             (("--inline", "--", text), 126, "is neither a program nor a script"),
             (("--inline",), 125, "no program was named"),
             (("--tap", "none-so-long-a-name", "--", "true"), 2, "none-so-long-a-name"),
             (("--socket", "/dev/null/x", "--", "true"), 125, "cannot attach to the service"),
             (("--inline", "--tpa", "mr0", "--", "true"), 2, "--tpa"),
             (("--inline", "--address", "198.18.0.300/24", "--", "true"), 2, "198.18.0.300")]
    for words, status, sentence in cases:
        done = w.run("millrace", "run", *words, check=False)
        expect(done.returncode == status and sentence in done.stderr,
               f"{words}: status {done.returncode}\n{done.stderr}")
    expect(w.run("millrace", "run", "--inline", "--", "echo", "--inline", "--", "x").stdout == "--inline -- x\n",
           "the program's own flags were touched")
    says_why_a_service_refuses(w)
    # A program that the one on the stack starts: it is told why it has none; the parent goes on.
    code = ("import socket, subprocess; s = socket.create_server(('198.18.0.2', 7777)); "
            "print(subprocess.run(['curl', '-sS', 'http://198.18.0.1:1/'], capture_output=True, text=True).stderr); "
            "print(s.getsockname())")
    done = w.run(*RUN, sys.executable, "-c", code)
    expect("TAP mr0 is in use by another process" in done.stdout and "('198.18.0.2', 7777)" in done.stdout,
           f"a child's own stack: {done.stdout}{done.stderr}")
    done = w.run("millrace", "run", "--inline", "--interface", "none0,driver=xdp", "--", "curl", "http://198.18.0.1/",
                 check=False)
    expect(done.returncode in (2, 125) and "millrace run:" in done.stderr,
           f"without a device: status {done.returncode}\n{done.stderr}")


HOLDER = "import socket, time; s = socket.socket(); print('attached', flush=True); time.sleep(60)"


def says_why_a_service_refuses(w):
    service = start_service(w, "--programs", "1", "--allow", "root", "--mode", "0666")
    other_version, wrong_user = 2, 1

    def verdict(user):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            os.seteuid(user)
            try:
                s.connect(SERVICE)
            finally:
                os.seteuid(0)
            s.send(struct.pack("<IIQ", 0x4d525356, 1, 0))
            return struct.unpack("<IIII", s.recv(100))[2]
    expect((verdict(0), verdict(65534)) == (other_version, wrong_user), "another version and another user are let in")
    holder = w.server(*ATTACH, sys.executable, "-c", HOLDER, ready=lambda: True)
    w.wait(lambda: "attached" in holder.output(), 5, holder)
    done = w.run(*ATTACH, "true", check=False)
    expect(done.returncode == 125 and "as many programs as it takes" in done.stderr, f"a full table: {done.stderr}")
    holder.process.kill()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(SERVICE)
        s.send(b"nonsense")
        expect(s.recv(100) == b"", "the service answers nonsense")
    done = w.run("millraced", *FLAGS, check=False)
    expect(done.returncode == 2 and "another millraced serves it" in done.stderr, f"a second service: {done.stderr}")
    service.stop()
    expect(not os.path.exists(SERVICE), "the service left its socket behind")


def carries_files_in_both_directions(w):
    """curl and python3 on the stack, the kernel's at the other end."""
    os.mkdir(w.path("www"))
    with open(w.path("www/file"), "wb") as f:
        f.write(data := os.urandom(1 << 20) * (BYTES >> 20))
    digest = hashlib.sha256(data).hexdigest()

    def fetch(url, *prefix):
        w.run(*prefix, "curl", "-sS", "-g", "--max-time", "20", "-o", w.path("got"), f"http://{url}:8000/file")
        with open(w.path("got"), "rb") as f:
            expect(hashlib.sha256(f.read()).hexdigest() == digest, f"{url}: other bytes")
    serve = (sys.executable, "-m", "http.server", "8000", "--bind", "::", "-d", w.path("www"))
    server = w.server(*serve, ready=lambda: w.connects("127.0.0.1", 8000))
    for address in (world.KERNEL4, f"[{world.KERNEL6}]"):
        fetch(address, *RUN)
    server.stop()
    server = w.server(*RUN, *serve, ready=lambda: w.connects(world.STACK4, 8000))
    for address in (world.STACK4, f"[{world.STACK6}]"):
        fetch(address)
    idles(server, "http.server")


def serves_from_threads_and_as_a_proxy(w):
    """memcached with four threads; nginx in one process, sending files and fetching from the kernel's side."""
    for program in ("memcached", "nginx"):
        if not shutil.which(program):
            world.skip(f"{program} is not installed (ci/install-packages test)")
    cache = w.server(*RUN, "memcached", "-u", "root", "-t", "4", "-l", world.STACK4, "-U", "0",
                     ready=lambda: w.connects(world.STACK4, 11211))

    def talk(number):
        with socket.create_connection((world.STACK4, 11211), 10) as s, s.makefile("rwb") as f:
            for i in range(200):
                value = b"%d" % (number * i) * 50
                f.write(b"set k%d 0 0 %d\r\n%s\r\nget k%d\r\n" % (number, len(value), value, number))
                f.flush()
                got = [f.readline() for _ in range(4)]
                if got[0] != b"STORED\r\n" or got[2].strip() != value:
                    wrong.append(got)
    wrong = []
    threads = [threading.Thread(target=talk, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not wrong, f"memcached answers wrongly: {wrong[:1]}")
    cache.stop()
    with open(w.path("file"), "wb") as f:
        f.write(data := os.urandom(8 << 20))
    os.chmod(w.path("file"), 0o644)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = " ".join(f"{kind}_temp_path {w.dir}/{kind};" for kind in kinds)
    with open(w.path("nginx.conf"), "w") as f:
        f.write(f"""daemon off; master_process off; error_log stderr; pid {w.dir}/pid; user root; events {{}}
http {{ access_log off; sendfile on; {folders} server {{ listen {world.STACK4}:80; listen [::]:80 ipv6only=on;
root {w.dir}; location /up/ {{ proxy_pass http://{world.KERNEL4}:8000/; }} }} }}""")
    w.server(*RUN, "nginx", "-c", w.path("nginx.conf"), ready=lambda: w.connects(world.STACK4, 80))
    w.server(sys.executable, "-m", "http.server", "8000", "-d", w.dir, ready=lambda: w.connects("127.0.0.1", 8000))
    for url in (f"{world.STACK4}/file", f"[{world.STACK6}]/file", f"{world.STACK4}/up/file"):
        w.run("curl", "-sS", "-g", "-f", "--max-time", "20", "-o", w.path("got"), f"http://{url}")
        with open(w.path("got"), "rb") as f:
            expect(f.read() == data, f"{url}: other bytes")


FORKING = """
import os, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"%d " % os.getpid() + line)
class Server(socketserver.ForkingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
Server(("198.18.0.2", 7000), Handler).serve_forever()
"""
VICTIM = """
import socket, time
s = socket.create_server(("198.18.0.2", 7001))
a, b = s.accept()[0], s.accept()[0]
a.send(b"last words")
time.sleep(0.2)  # until the other has sent what is not read
print("ready", flush=True)
time.sleep(100)
"""
STOPPED = """
import os, signal, socket, subprocess, sys
service = int(sys.argv[1])
WAITER = "import socket; d = socket.socket(type=2); d.bind(('198.18.0.2', 0)); print(1, flush=True); input(); d.recv(1)"
pipe = subprocess.PIPE
waiter = subprocess.Popen([sys.executable, "-c", WAITER], stdin=pipe, stdout=pipe)
waiter.stdout.readline()
class Interrupted(Exception):
    pass
def handler(*_):
    raise Interrupted
signal.signal(signal.SIGALRM, handler)
d = socket.socket(type=socket.SOCK_DGRAM)
d.bind(("198.18.0.2", 0))
os.kill(service, signal.SIGSTOP)
waiter.stdin.write(b"go\\n")
waiter.stdin.flush()
for call in (lambda: d.recv(100), lambda: socket.create_connection(("198.18.0.1", 9)), lambda: d.recv(100)):
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        call()
    except Interrupted:
        print("interrupted", flush=True)
waiter.terminate()
print(waiter.wait(5), flush=True)
os.kill(service, signal.SIGCONT)
d.sendto(b"goes on", d.getsockname())
print(d.recv(100).decode())
"""
ORPHAN = """
import socket
s = socket.create_connection(("198.18.0.1", 7002))
print("ready", flush=True)
for call in (lambda: s.recv(1), lambda: s.send(b"x"), lambda: socket.socket().connect(("198.18.0.1", 7002))):
    try:
        call()
    except OSError as error:
        print(error.errno)
"""


def listens(w, port):
    return any(f":{port}" in line and "LISTEN" in line for line in w.run("millrace", "netstat").stdout.splitlines())


def gives_many_programs_one_stack(w):
    """Servers that fork, a reload, programs that are killed, and the end of the service itself."""
    service = start_service(w)
    server = w.server(*ATTACH, sys.executable, "-c", FORKING, ready=lambda: w.connects(world.STACK4, 7000))
    answered = set()
    for i in range(10):
        with socket.create_connection((world.STACK4, 7000), 5) as s, s.makefile("rwb") as f:
            for word in (b"one\n", b"two\n"):
                f.write(word)
                f.flush()
                pid, _, rest = f.readline().partition(b" ")
                expect(rest == word, f"a forked child answers {rest} to {word}")
                answered.add(pid)
    expect(len(answered) == 10, f"{len(answered)} children answered, not 10")
    if shutil.which("nginx"):
        serves_from_two_workers(w)
    victim = w.server(*ATTACH, sys.executable, "-c", VICTIM,
                      ready=lambda: listens(w, 7001))
    a = socket.create_connection((world.STACK4, 7001), 5)
    b = socket.create_connection((world.STACK4, 7001), 5)
    b.send(b"not read")
    w.wait(lambda: "ready" in victim.output(), 5, victim)
    victim.process.kill()
    expect(a.recv(100) == b"last words" and a.recv(100) == b"", "a killed program's last words were lost")
    try:
        b.recv(1)
        raise world.Failed("a killed program's unread data ended in no reset")
    except ConnectionResetError:
        pass
    w.wait(lambda: not listens(w, 7001), 5, service)
    done = w.run(*ATTACH, sys.executable, "-c", STOPPED, str(service.process.pid), timeout=20, check=False)
    service.process.send_signal(signal.SIGCONT)
    expect(done.stdout.split("\n")[:5] == ["interrupted"] * 3 + ["-15", "goes on"],
           f"while the service is stopped: {done.stdout}{done.stderr}")
    listener = socket.create_server((world.KERNEL4, 7002))
    orphan = w.server(*ATTACH, sys.executable, "-c", ORPHAN, ready=lambda: True)
    w.wait(lambda: "ready" in orphan.output(), 5, orphan)
    service.process.kill()
    w.wait(lambda: not orphan.alive(), 5, orphan)
    expect(orphan.output().split() == ["ready", "100", "100", "100"], f"without a service: {orphan.output()}")
    listener.close()
    server.process.kill()


def serves_from_two_workers(w):
    with open(w.path("many"), "wb") as f:
        f.write(data := os.urandom(8 << 20))
    os.chmod(w.path("many"), 0o644)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = " ".join(f"{kind}_temp_path {w.dir}/{kind};" for kind in kinds)
    with open(w.path("many.conf"), "w") as f:
        f.write(f"""daemon off; worker_processes 2; error_log stderr; pid {w.dir}/pid; user root; events {{}}
http {{ access_log off; sendfile on; {folders} server {{ listen {world.STACK4}:81; root {w.dir}; }} }}""")
    nginx = w.server(*ATTACH, "nginx", "-c", w.path("many.conf"), ready=lambda: w.connects(world.STACK4, 81))
    for again in (False, True):
        if again:
            nginx.process.send_signal(signal.SIGHUP)
        for _ in range(3):
            w.run("curl", "-sS", "-f", "--max-time", "20", "-o", w.path("got"), f"http://{world.STACK4}:81/many")
            with open(w.path("got"), "rb") as f:
                expect(f.read() == data, f"nginx with two workers: other bytes (reloaded: {again})")
    expect(nginx.stop(signal.SIGQUIT) == 0, f"nginx ended badly:\n{nginx.output()}")


REFUSED = """
import socket
near, far = socket.socketpair()
listener = socket.create_server(("198.18.0.2", 0))
try:
    socket.send_fds(near, [b"x"], [listener.fileno()])
except OSError as error:
    print(error.errno)
"""
WITHOUT = """
import socket, subprocess
l = socket.create_server(("198.18.0.2", 0))
a, b = socket.create_connection(l.getsockname()), l.accept()[0]
done = subprocess.run(["cat"], stdin=b, env={}, capture_output=True, text=True)
print(done.returncode, done.stderr.strip())
"""


def hands_sockets_to_other_programs(w):
    """What handing.py says of exec and of messages, on the kernel and with the service."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "handing.py")
    kernel = w.run(sys.executable, program, "127.0.0.1").stdout.splitlines()
    service = start_service(w)
    stack = w.run(*ATTACH, sys.executable, program, world.STACK4).stdout.splitlines()
    different = list(difflib.unified_diff(kernel, stack, "kernel", "service", lineterm="", n=6))
    expect(not different and len(kernel) > 15, "\n".join(different))
    w.wait(lambda: all("TIME-WAIT" in line for line in w.run("millrace", "netstat").stdout.splitlines()[1:] if line),
           5, service)
    done = w.run(*ATTACH, sys.executable, "-c", WITHOUT)
    expect("1 cat: -: Transport endpoint is not connected" in done.stdout,
           f"a program that is not on the stack: {done.stdout}{done.stderr}")
    service.stop()
    done = w.run(*RUN, sys.executable, "-c", REFUSED)
    expect(done.stdout.split() == ["95"], f"inline: {done.stdout}{done.stderr}")
    return f"{len(kernel)} lines"


def serves_redis(w):
    if not shutil.which("redis-server"):
        world.skip("redis-server is not installed (ci/install-packages test)")
    flags = ("--bind", world.STACK4, world.STACK6, "--protected-mode", "no", "--save", "", "--dir", w.dir)
    server = w.server(*RUN, "redis-server", *flags, ready=lambda: w.connects(world.STACK4, 6379))

    def ask(*words, host=world.STACK4):
        return w.run("redis-cli", "-h", host, *words).stdout.strip()
    expect(ask("set", "key", "x" * 100_000) == "OK" and ask("strlen", "key", host=world.STACK6) == "100000",
           "redis forgot what it was told")
    speeds = []
    for pipeline, requests in ((1, 40_000), (16, 200_000)):
        report = w.run("redis-benchmark", "-h", world.STACK4, "-t", "get", "-n", str(requests), "-P", str(pipeline),
                       "--csv").stdout.splitlines()
        speeds.append(f"-P {pipeline}: {float(report[-1].split(',')[1].strip(chr(34))):,.0f}/s")
    expect(ask("bgsave") == "Background saving started", "no fork")
    w.wait(lambda: "Background saving terminated with success" in server.output(), 10, server)
    expect(ask("strlen", "key") == "100000", "redis does not answer after its fork")
    shown = w.run("millrace", "netstat").stdout
    expect(f"{world.STACK4}:6379" in shown, f"the tools do not see it:\n{shown}")
    idles(server, "redis-server")
    expect(server.stop(signal.SIGTERM) == 0, f"redis ended badly:\n{server.output()}")
    return ", ".join(speeds)


def resolves_names_over_the_stack(w):
    if not shutil.which("dnsmasq"):
        world.skip("dnsmasq is not installed (ci/install-packages test)")

    def name_server(address):
        with open(w.path("resolv.conf"), "w") as f:
            f.write(f"nameserver {address}\noptions timeout:1\n")
    name_server("127.0.0.1")
    w.run("mount", "--bind", w.path("resolv.conf"), "/etc/resolv.conf")
    server = w.server("dnsmasq", "-k", "-h", "-R", "-q", "-8", "-", "-u", "root", "-p", "53", "-x", w.path("pid"),
                      f"--host-record=host.test,{world.KERNEL4},{world.KERNEL6}", "--cname=alias.test,host.test",
                      "--local=/test/", ready=lambda: w.connects("127.0.0.1", 53))
    code = ("import socket\n"
            "for f in socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6:\n"
            "    print(sorted({a[4][0] for a in socket.getaddrinfo('alias.test', 80, f)}))\n"
            "print(socket.getaddrinfo('alias.test', 'http', type=1, flags=socket.AI_CANONNAME)[0][3])\n"
            "print(socket.gethostbyname_ex('alias.test'))\n"
            "print(socket.gethostbyname('localhost'), socket.gethostbyname('192.0.2.7'))\n"
            "for name in 'nobody.test', '':\n"
            "    try: print(socket.getaddrinfo(name, 80, socket.AF_INET)[0][4])\n"
            "    except OSError as e: print(e)\n")
    kernel = w.run(sys.executable, "-c", code).stdout
    name_server(world.KERNEL4)
    stack = w.run(*RUN, sys.executable, "-c", code).stdout
    w.run("umount", "/etc/resolv.conf")
    expect(stack == kernel, f"kernel:\n{kernel}stack:\n{stack}")
    expect(server.output().count(f"from {world.STACK4}") > 4, f"not asked over the stack:\n{server.output()}")


if __name__ == "__main__":
    world.enter()
    if not world.tap_usable():
        world.skip("/dev/net/tun cannot be opened here")
    world.main(sees_what_it_sees_on_the_kernel, says_why_a_program_cannot_run, carries_files_in_both_directions,
               serves_from_threads_and_as_a_proxy, resolves_names_over_the_stack, gives_many_programs_one_stack,
               hands_sockets_to_other_programs, serves_redis)
