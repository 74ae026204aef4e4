"""Addresses that are formed, deprecated and somebody else's, against the kernel and radvd: what every link must pass.
`near` is the kernel's end of the link, `ours` the stack's interface."""
import ipaddress
import json
import socket

import basics
import world
from world import expect

OLD, NEW = "fd00:aa::/64", "fd00:bb::/64"


def ask(question, ours="mr0"):
    """What the program's control socket says."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        try:
            s.connect(f"/run/millrace/{ours}.sock")
        except OSError:
            return ""
        s.sendall(question.encode() + b"\n")
        answer = b""
        while piece := s.recv(65536):
            answer += piece
        return answer.decode()


def addresses(ours="mr0"):
    answer = ask("addresses json", ours)
    return json.loads(answer) if answer else []


def in_network(network, state, ours="mr0"):
    net = ipaddress.ip_network(network)
    for a in addresses(ours):
        address = ipaddress.ip_address(a["address"].split("/")[0])
        if address.version == net.version and address in net and a["state"] == state:
            return str(address)
    return None


def fetches(w, address):
    url = basics.Site().url(address)
    done = w.run("curl", "-sS", "-g", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", url, check=False)
    return done.stdout == "200"


class Router:
    """radvd on the kernel's end, which advertises OLD."""

    def __init__(self, w, near, *settings):
        self.w, self.near, self.settings = w, near, settings
        w.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        for network in (OLD, NEW):
            w.address(None, near, network.replace("::/", "::1/"))
        self._configure(7200, False)
        self.radvd = w.start("radvd", "-n", "-m", "stderr", "-C", w.path("radvd.conf"), "-p", w.path("radvd.pid"))

    def _configure(self, old_preferred, with_new):
        text = f"interface {self.near} {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;\n"
        text += "".join(f"{s}\n" for s in self.settings)
        text += f"prefix {OLD} {{ AdvValidLifetime 7300; AdvPreferredLifetime {old_preferred}; }};\n"
        if with_new:
            text += f"prefix {NEW} {{ AdvValidLifetime 7300; AdvPreferredLifetime 7200; }};\n"
        with open(self.w.path("radvd.conf"), "w") as f:
            f.write(text + "};\n")

    def renumbers(self, ours="mr0"):
        """From OLD to NEW: the stack's address in OLD goes on answering, and is chosen no more."""
        w, old = self.w, in_network(OLD, "preferred", ours)
        expect(fetches(w, old), f"no page from {old}, which was formed from an advertised prefix")
        self._configure(0, True)
        self.radvd.process.send_signal(1)
        w.wait(lambda: in_network(NEW, "preferred", ours) and in_network(OLD, "deprecated", ours), 12, self.radvd)
        new = in_network(NEW, "preferred", ours)
        expect(fetches(w, new) and fetches(w, old), "the new address and the deprecated one must both answer")


def answers_arping_and_gives_way_to_a_duplicate(w, near, ours="mr0", ns=None):
    """The server runs, at the usual addresses."""
    done = w.run("arping", "-c", "2", "-I", near, world.STACK4, check=False)
    expect("Received 2 response" in done.stdout, f"arping of our address:\n{done.stdout}{done.stderr}")
    done = w.run("arping", "-D", "-c", "2", "-w", "3", "-I", near, world.STACK4, check=False)
    expect(done.returncode == 1, f"duplicate detection of another host must find us:\n{done.stdout}{done.stderr}")
    w.address(None, near, "198.18.0.9/24", "fd00:6d72::9/64")
    for address in ("198.18.0.9/24", "fd00:6d72::9/64"):
        w.run("millrace", "ifconfig", ours, "add", address, ns=ns)
    w.wait(lambda: in_network("198.18.0.9/32", "duplicated", ours) and
           in_network("fd00:6d72::9/128", "duplicated", ours), 8)
    w.wait(lambda: in_network(world.STACK4 + "/32", "preferred", ours), 10)
