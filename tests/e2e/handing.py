"""A program that hands its sockets to others, over exec and in messages, and says what came of it. run_test.py runs it
on the kernel and on the stack; it must say the same. The argument is an address of this host."""
import errno
import os
import signal
import socket
import subprocess
import sys
import time

HOST = sys.argv[1]
listener = socket.create_server((HOST, 0))
SHOUT = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.sendall(s.recv(100).upper())"
ACCEPT = """import socket, sys
l = socket.socket(fileno=int(sys.argv[1]))
s, peer = l.accept()
s.sendall(b"accepted " + str(s.getsockname()[1] == l.getsockname()[1] and s.getpeername() == peer).encode())"""
RECEIVE = """import socket, sys
way = socket.socket(fileno=int(sys.argv[1]))
text, fds, _, _ = socket.recv_fds(way, 100, 4)
s = socket.socket(fileno=fds[0])
s.sendall(text + b" " + s.recv(100).upper() + str(s.getsockopt(6, 1) != 0).encode())"""


def pair():
    a = socket.create_connection(listener.getsockname())
    return a, listener.accept()[0]


def heard(s, seconds=10.0):
    """All until the end, or what stood in its way."""
    s.settimeout(seconds)
    got = b""
    try:
        while part := s.recv(1_000):
            got += part
    except OSError as error:
        return got, errno.errorcode.get(error.errno, "timeout")
    return got, "end"


def show(name, *values):
    print(name, *values, flush=True)


def echo(name, start):
    """`start(b)` makes a program that echoes; ours lets go at once."""
    a, b = pair()
    child = start(b)
    b.close()
    a.sendall(b"through\n")
    a.sendall(name.encode())
    a.shutdown(socket.SHUT_WR)
    show(name, *heard(a))
    if child:
        os.waitpid(child, 0)
    a.close()


def fork_and_exec(b):
    child = os.fork()
    if child == 0:
        os.dup2(b.fileno(), 0)
        os.dup2(b.fileno(), 1)
        os.execvp("cat", ["cat"])
    return child


def spawn(b):
    copies = [(os.POSIX_SPAWN_DUP2, b.fileno(), n) for n in (0, 1)]
    return os.posix_spawnp("cat", ["cat"], os.environ, file_actions=copies)


def popen(*words, **more):
    return lambda b: subprocess.Popen(words, stdin=b, stdout=b, **more).pid


def shell(b):
    b.set_inheritable(True)
    os.system(f"cat <&{b.fileno()} >&{b.fileno()} &")


def over_exec():
    echo("popen", popen("cat"))
    echo("popen after fork", popen("cat", preexec_fn=lambda: None))
    echo("fork and exec", fork_and_exec)
    echo("posix_spawn", spawn)
    echo("system", shell)
    echo("streams of libc", popen("sed", "s/^/by /"))
    echo("a shell that becomes another", popen("sh", "-c", "read line; echo got $line; exec cat"))
    a, b = pair()
    child = subprocess.Popen([sys.executable, "-c", SHOUT, str(b.fileno())], pass_fds=[b.fileno()])
    b.close()
    a.sendall(b"by its number")
    show("python", *heard(a), child.wait())
    child = subprocess.Popen([sys.executable, "-c", ACCEPT, str(listener.fileno())], pass_fds=[listener.fileno()])
    a = socket.create_connection(listener.getsockname())
    show("listener", *heard(a), child.wait())
    a, b = pair()
    b.set_inheritable(True)
    try:
        os.execv("/no/such/program", ["program"])
    except OSError as error:
        show("exec", errno.errorcode[error.errno])
    a.sendall(b"still here")
    show("after a failed exec", b.recv(100))


def who_keeps_what():
    a, b = pair()
    child = subprocess.Popen(["sleep", "100"])
    b.close()
    show("close-on-exec", *heard(a))
    child.kill()
    child.wait()
    a, b = pair()
    b.set_inheritable(True)
    child = subprocess.Popen(["sleep", "100"], close_fds=False)
    b.close()
    time.sleep(0.2)
    show("inherited", *heard(a, 0.2))
    child.send_signal(signal.SIGKILL)
    child.wait()
    show("and its end", *heard(a))


def in_messages():
    near, far = socket.socketpair()
    a, b = pair()
    b.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    a.sendall(b"early ")
    child = subprocess.Popen([sys.executable, "-c", RECEIVE, str(far.fileno())], pass_fds=[far.fileno()])
    socket.send_fds(near, [b"to a stranger"], [b.fileno()])
    b.close()
    show("message", *heard(a), child.wait())
    a, b = pair()
    child = os.fork()
    if child == 0:
        _, fds, _, _ = socket.recv_fds(far, 100, 4)
        b.close()
        s = socket.socket(fileno=fds[0])
        s.sendall(s.recv(100).upper())
        os._exit(0)
    socket.send_fds(near, [b"x"], [b.fileno()])
    b.close()
    a.sendall(b"to a child")
    show("message", *heard(a))
    os.waitpid(child, 0)
    a, b = pair()
    socket.send_fds(near, [b"x"], [b.fileno(), near.fileno()])
    _, fds, _, _ = socket.recv_fds(far, 100, 4)
    b.close()
    s = socket.socket(fileno=fds[0])
    a.sendall(b"to itself")
    show("message", s.recv(100), s.getpeername() == a.getsockname())
    s.close()
    show("and its end", *heard(a))
    receiver = socket.socket(type=socket.SOCK_DGRAM)
    receiver.bind((HOST, 0))
    sender = socket.socket(type=socket.SOCK_DGRAM)
    sender.sendto(b"datagram", receiver.getsockname())
    child = os.fork()
    if child == 0:
        _, fds, _, _ = socket.recv_fds(far, 100, 4)
        s = socket.socket(fileno=fds[0])
        text, peer = s.recvfrom(100)
        s.sendto(text.upper(), peer)
        os._exit(0)
    socket.send_fds(near, [b"x"], [receiver.fileno()])
    receiver.close()
    show("message", sender.recv(100))
    os.waitpid(child, 0)


over_exec()
who_keeps_what()
in_messages()
