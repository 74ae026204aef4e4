#!/usr/bin/env python3
"""The fixture itself: the kernel on both ends of a cable, and nothing left behind by a world that was killed."""
import os
import signal
import subprocess
import sys
import time

import world

if os.environ.get("MILLRACE_WORLD_VICTIM"):
    world.enter()
    with world.World() as w:
        w.namespace("victim")
        w.run("ip", "tuntap", "add", "victim0", "mode", "tap") if world.tap_usable() else None
        w.start("sleep", "4242")
        print("ready", flush=True)
        time.sleep(60)

world.enter()


def kernel_reaches_kernel_over_a_cable(w):
    far = w.namespace("far")
    w.veth("near0", None, "far0", far)
    w.address(None, "near0", "192.0.2.1/24", "2001:db8::1/64")
    w.address(far, "far0", "192.0.2.2/24", "2001:db8::2/64")
    for address in ("192.0.2.2", "2001:db8::2"):
        w.wait(lambda a=address: w.answers(a), 5)


def a_failing_command_fails_the_test(w):
    try:
        w.run("false")
    except world.Failed:
        return
    raise world.Failed("a command that ends with 1 was taken for a success")


def a_killed_world_leaves_no_process_and_no_namespace(w):
    env = dict(os.environ, MILLRACE_WORLD_VICTIM="1")
    del env["MILLRACE_WORLD"]
    victim = subprocess.Popen([sys.executable, __file__], env=env, stdout=subprocess.PIPE, text=True)
    world.expect(victim.stdout.readline().strip() == "ready", "the victim did not start")
    world.expect("4242" in w.run("ps", "-eo", "args").stdout, "the victim's process is not there")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    w.wait(lambda: "sleep 4242" not in w.run("ps", "-eo", "args").stdout, 10)
    world.expect(w.run("ip", "netns", "list").stdout.strip() == "", "a namespace was left")
    world.expect("victim0" not in w.run("ip", "link").stdout, "a TAP device was left")


world.main(kernel_reaches_kernel_over_a_cable, a_failing_command_fails_the_test,
           a_killed_world_leaves_no_process_and_no_namespace)
