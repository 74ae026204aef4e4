"""The namespace fixture of the end-to-end tests and the demo: a private world with its own network, processes and
mounts.

enter() starts the calling script again inside new network, mount and process namespaces. Nothing made inside can be
seen outside, and everything goes away with the script, however it ends: the kernel kills its processes, and namespaces,
TAP and veth devices go with them.

    import world
    world.enter()                               # skips (77) where that is not allowed
    with world.World() as w:
        w.server("millrace-httpd", "--tap", "mr0")  # a program of this project, ready when this returns
        w.run("curl", "-s", "http://198.18.0.2/")
        peer = w.namespace("peer")              # a further network namespace
        w.veth("near", None, "far", peer)       # a cable between two of them
"""
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("MILLRACE_BIN", os.path.join(ROOT, "build/release/bin"))
SKIP = 77
# The stack's side and the kernel's side of the default TAP.
STACK4, STACK6 = "198.18.0.2", "fd00:6d72::2"
KERNEL4, KERNEL6 = "198.18.0.1", "fd00:6d72::1"


class Failed(Exception):
    """A test failed; the text says what was seen and what was expected."""


def skip(reason):
    print(f"skipped: {reason}", flush=True)
    sys.exit(SKIP)


def expect(condition, text):
    if not condition:
        raise Failed(text)


def enter():
    """Goes on inside the private world; the outer process only waits for it."""
    if os.environ.get("MILLRACE_WORLD") == "inside":
        _prepare()
        return
    if os.geteuid() != 0:
        skip("network namespaces need root; this user is not")
    unshare = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--net", "--pid", "--fork",
               "--kill-child=KILL", "--mount-proc"]
    if not shutil.which("unshare") or not shutil.which("ip"):
        skip("unshare and ip are not installed (ci/install-packages demo)")
    probe = subprocess.run([*unshare, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        skip(f"this machine does not allow new namespaces: {probe.stderr.strip()}")
    scratch, lock = _scratch()
    env = dict(os.environ, MILLRACE_WORLD="inside", MILLRACE_SCRATCH=scratch)
    child = subprocess.Popen([*unshare, sys.executable, *sys.argv], env=env)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: child.kill())
    try:
        while True:
            try:
                status = child.wait()
                break
            except KeyboardInterrupt:
                continue  # the terminal told the child too; it cleans up and ends
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        lock.close()
    sys.exit(status if status >= 0 else 128 - status)


def _scratch():
    """A folder for this world's files, locked while it is in use; removes those of worlds that were killed."""
    for name in os.listdir(tempfile.gettempdir()):
        old = os.path.join(tempfile.gettempdir(), name)
        if name.startswith("millrace-world-"):
            try:
                with open(os.path.join(old, "lock")) as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(old, ignore_errors=True)
            except OSError:
                pass  # in use, or not ours to remove
    scratch = tempfile.mkdtemp(prefix="millrace-world-")
    os.chmod(scratch, 0o755)
    lock = open(os.path.join(scratch, "lock"), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return scratch, lock


def _prepare():
    """First steps inside: mounts that show this world only, loopback, a TAP device node if /dev lacks one."""
    commands = [["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run"], ["mkdir", "/run/netns"],
                ["mount", "-t", "sysfs", "none", "/sys"], ["ip", "link", "set", "lo", "up"]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0 and "sysfs" not in command:
            skip(f"{' '.join(command)}: {done.stderr.strip()}")
    # No waiting for duplicate address detection in a world where every address is ours.
    for name in ("accept_dad", "router_solicitations"):
        for scope in ("all", "default"):
            _write(f"/proc/sys/net/ipv6/conf/{scope}/{name}", "0")


def _write(path, text):
    try:
        with open(path, "w") as f:
            f.write(text)
    except OSError:
        pass


def tap_usable():
    """Whether /dev/net/tun opens; a missing node is made inside this world's mounts when that is allowed."""
    if not os.path.exists("/dev/net/tun"):
        try:
            os.makedirs("/dev/net", exist_ok=True)
            os.mknod("/dev/net/tun", 0o666 | 0o020000, os.makedev(10, 200))
        except OSError:
            return False
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
        return True
    except OSError:
        return False


class Server:
    """A running process of the world, with its output in a file."""

    def __init__(self, process, log, command):
        self.process, self.log, self.command = process, log, command

    def output(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def alive(self):
        return self.process.poll() is None

    def stop(self, number=signal.SIGTERM, seconds=10):
        """Ends it and returns its exit status; kills what does not end in time."""
        if self.alive():
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"{self.command[0]} did not end within {seconds} s of signal {number}\n"
                         f"{self.output()}") from None


class World:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="world-", dir=os.environ.get("MILLRACE_SCRATCH"))
        os.chmod(self.dir, 0o755)  # tests run programs as other users too
        self.servers, self.namespaces, self.links, self._count = [], [], [], 0

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and kind is not SystemExit:
            for server in self.servers:
                print(f"--- output of {' '.join(server.command)} (status {server.process.poll()})")
                print("\n".join(server.output().splitlines()[-40:]))
        for server in reversed(self.servers):
            if server.alive():
                server.process.terminate()
        for server in reversed(self.servers):
            try:
                server.process.wait(5)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
        for name in self.links:  # a namespace takes its own along, but not at once
            subprocess.run(["ip", "link", "delete", name], capture_output=True)
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    # Namespaces and cables.

    def namespace(self, name):
        """A further network namespace with loopback up; give its name as `ns` to run() and start()."""
        self.run("ip", "netns", "add", name)
        self.namespaces.append(name)
        self.run("ip", "link", "set", "lo", "up", ns=name)
        for setting in ("accept_dad", "router_solicitations"):
            for scope in ("all", "default"):
                self.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{scope}/{setting}", ns=name)
        return name

    def veth(self, name_a, ns_a, name_b, ns_b, mtu=1500):
        """A cable between two namespaces; None is the world's own."""
        self.run("ip", "link", "add", name_a, "mtu", str(mtu), "type", "veth", "peer", "name", name_b, "mtu", str(mtu))
        for name, ns in ((name_a, ns_a), (name_b, ns_b)):
            if ns:
                self.run("ip", "link", "set", name, "netns", ns)
            else:
                self.links.append(name)
            self.run("ip", "link", "set", name, "up", ns=ns)

    def address(self, ns, device, *addresses):
        for address in addresses:
            flags = ["nodad"] if ":" in address else []
            self.run("ip", "address", "add", address, "dev", device, *flags, ns=ns)

    # Processes.

    @staticmethod
    def program(name):
        """The path of a program of this project, or the name of one of the system."""
        return os.path.join(BIN, name) if name.startswith("millrace") else name

    def command(self, words, ns=None, user=None):
        words = [self.program(str(words[0])), *map(str, words[1:])]
        if user:
            words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *words]
        return ["ip", "netns", "exec", ns, *words] if ns else words

    def run(self, *words, ns=None, user=None, check=True, timeout=120, input=None, env=None):
        """Runs to its end; returns the CompletedProcess with text output."""
        command = self.command(words, ns, user)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, input=input,
                                  errors="replace", env=dict(os.environ, **(env or {})))
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{' '.join(command)}: not done after {timeout} s\n{late.stdout}\n{late.stderr}") from None
        if check and done.returncode != 0:
            raise Failed(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self, *words, ns=None, user=None):
        """Starts a process and returns at once."""
        command = self.command(words, ns, user)
        self._count += 1
        log = self.path(f"{self._count}-{os.path.basename(str(words[0]))}.log")
        with open(log, "w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        server = Server(process, log, command)
        self.servers.append(server)
        return server

    def server(self, *words, ns=None, ready=None, seconds=20, **more):
        """Starts a process and waits until `ready()` holds, or, without one, until the stack answers a ping."""
        server = self.start(*words, ns=ns, **more)
        check = ready or (lambda: self.answers(STACK4, ns=ns))
        self.wait(check, seconds, server)
        return server

    def answers(self, address, ns=None):
        return self.run("ping", "-c1", "-W1", "-q", address, ns=ns, check=False).returncode == 0

    def connects(self, address, port, ns=None):
        """Whether something accepts TCP connections there."""
        if ns:
            code = f"import socket; socket.create_connection(({address!r}, {port}), 1)"
            return self.run(sys.executable, "-c", code, ns=ns, check=False).returncode == 0
        try:
            socket.create_connection((address, port), 1).close()
            return True
        except OSError:
            return False

    def wait(self, condition, seconds, server=None):
        """Polls until the condition holds; a server that ended meanwhile is a failure."""
        end = time.monotonic() + seconds
        while not condition():
            if server and not server.alive():
                raise Failed(f"{' '.join(server.command)} ended early with status {server.process.returncode}:\n"
                             f"{server.output()}")
            if time.monotonic() > end:
                raise Failed(f"not ready within {seconds} s" + (f": {' '.join(server.command)}\n{server.output()}"
                                                               if server else ""))
            time.sleep(0.05)


def main(*tests):
    """Runs test functions, each with a World of its own; prints one line a test and ends with 0 or 1."""
    chosen = [t for t in tests if len(sys.argv) < 2 or t.__name__ in sys.argv[1:]]
    failed = 0
    for test in chosen:
        began = time.monotonic()
        try:
            with World() as world:
                note = test(world) or ""
            print(f"ok      {test.__name__} ({time.monotonic() - began:.1f} s) {note}", flush=True)
        except Failed as problem:
            failed += 1
            print(f"FAILED  {test.__name__}: {problem}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not chosen else 0)
