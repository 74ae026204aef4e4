#!/usr/bin/env python3
"""What goes wrong for a user ends in one clear sentence with a hint and a non-zero status, leaving nothing behind."""
import os

import world
from world import expect


def remains(w):
    """What a failed start could leave: devices, control sockets, processes, files of DPDK."""
    links = sorted(line.split(":")[1].strip() for line in w.run("ip", "-o", "link").stdout.splitlines())
    files = [os.path.join(folder, name) for folder, _, names in os.walk("/run") for name in names]
    huge = []
    for line in open("/proc/mounts"):
        if line.split()[2] == "hugetlbfs":
            huge += os.listdir(line.split()[1])
    programs = [p for p in w.run("ps", "-eo", "args").stdout.splitlines() if "/millrace" in p.split(" ")[0]]
    return links, sorted(files), sorted(huge), programs


def fails(w, *words, says=(), status=None, user=None, ns=None, hint=True):
    """Runs a command that must fail; every text of `says` must stand in what it prints."""
    before = remains(w)
    done = w.run(*words, check=False, timeout=60, user=user, ns=ns)
    text = (done.stdout + done.stderr).strip()
    shown = f"{' '.join(map(str, words))}\nstatus {done.returncode}, printed:\n{text}"
    expect(done.returncode in ((1, 2) if status is None else (status,)), f"unexpected status of {shown}")
    lines = [line for line in text.splitlines() if not line.startswith(("EAL:", "TELEMETRY:"))]
    expect(1 <= len(lines) <= 3, f"not one sentence and a hint: {shown}")
    for part in says:
        expect(part.lower() in text.lower(), f"{part!r} is missing from {shown}")
    expect(not hint or "hint:" in text, f"no hint in {shown}")
    after = remains(w)
    expect(before == after, f"left behind by {shown}\nbefore {before}\nafter  {after}")
    return text


def config_file(w, text):
    path = w.path("bad.toml")
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o644)
    return path


def a_wrong_configuration_is_named_by_file_line_and_key(w):
    cases = [
        ('[interface.mr0]\ndriver = "tap"\nadress = "198.18.0.2/24"\n', ["3", "adress", "address"]),
        ('[tcp]\n\ntimestamps = 7\n', ["3", "timestamps", "0 to 1"]),
        ('[interface.mr0]\naddress = "198.18.0.400/24"\n', ["2", "address", "198.18.0.400"]),
        ('[tpc]\nsack = 1\n', ["1", "tpc", "tcp"]),
        ('[tcp]\nsack = \n', ["2"]),
        ('[loop]\nspin_us = "fast"\n', ["2", "spin_us"]),
        ('[interface.mr0]\ndriver = "tapp"\n', ["tapp", "tap"]),
    ]
    for text, parts in cases:
        path = config_file(w, text)
        fails(w, "millrace-httpd", "--config", path, says=[path, *parts], status=2, hint=False)


def a_missing_configuration_file_is_named(w):
    fails(w, "millrace-httpd", "--config", "/no/such.toml", says=["/no/such.toml", "no such file"], hint=False)


def a_wrong_flag_is_named(w):
    fails(w, "millrace-httpd", "--prot", "80", says=["--prot"], status=2, hint=False)
    fails(w, "millrace-httpd", "--port", "99999", says=["--port"], status=2, hint=False)
    fails(w, "millrace-httpd", "--interface", "mr0,mtu=12", says=["mtu", "1280"], status=2, hint=False)
    fails(w, "millrace-httpd", "--set", "tcp.sak=1", says=["sak", "sack"], status=2, hint=False)


def a_missing_permission_is_explained(w):
    fails(w, "millrace-httpd", "--tap", "mr0", user="65534", says=["permission", "mr0"])


def a_busy_interface_is_explained(w):
    w.server("millrace-httpd", "--tap", "mr0")
    fails(w, "millrace-httpd", "--tap", "mr0", says=["mr0"])


def a_name_that_is_no_tap_is_explained(w):
    w.run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    w.links.append("veth0")
    fails(w, "millrace-httpd", "--tap", "veth0", says=["veth0"])
    w.run("ip", "link", "delete", "veth0")
    fails(w, "millrace-httpd", "--tap", "a-name-far-too-long", says=["a-name-far-too-long"], hint=False)


def a_device_that_is_removed_ends_the_program(w):
    server = w.server("millrace-httpd", "--tap", "mr0")
    w.run("ip", "link", "delete", "mr0")
    w.wait(lambda: not server.alive(), 5)
    expect(server.process.returncode == 1, f"status {server.process.returncode}")
    expect("mr0 works no more: it was removed" in server.output(), server.output())


def an_unknown_driver_is_named(w):
    fails(w, "millrace-httpd", "--interface", "x0,driver=netmap,address=192.0.2.1/24", says=["netmap"], hint=False)


def a_capture_that_cannot_be_written_is_explained(w):
    fails(w, "millrace-httpd", "--tap", "mr0", "--capture", "/no/such/folder/c.pcapng",
          says=["/no/such/folder/c.pcapng"], hint=False)


def a_directory_that_does_not_exist_is_named(w):
    fails(w, "millrace-httpd", "--tap", "mr0", "--root", "/no/such/root", says=["/no/such/root"], hint=False)


def asking_a_stack_that_does_not_run_is_explained(w):
    fails(w, "millrace", "netstat", says=["/run/millrace"])
    fails(w, "millrace", "nettsat", says=["nettsat"], hint=False)


def main():
    world.enter()
    tests = [a_wrong_configuration_is_named_by_file_line_and_key, a_missing_configuration_file_is_named,
             a_wrong_flag_is_named, an_unknown_driver_is_named, asking_a_stack_that_does_not_run_is_explained]
    if world.tap_usable():
        tests += [a_missing_permission_is_explained, a_busy_interface_is_explained,
                  a_device_that_is_removed_ends_the_program, a_name_that_is_no_tap_is_explained,
                  a_capture_that_cannot_be_written_is_explained, a_directory_that_does_not_exist_is_named]
    world.main(*tests)


if __name__ == "__main__":
    main()
