#!/usr/bin/env python3
"""The checks of basics.py with the kernel in the stack's place: where they fail elsewhere, the stack is to blame."""
import os
import sys

import basics
import world

world.enter()
PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer.py")


def setup(w):
    far = w.namespace("far")
    w.veth("near0", None, "far0", far)
    w.address(None, "near0", f"{world.KERNEL4}/24", f"{world.KERNEL6}/64")
    w.address(far, "far0", f"{world.STACK4}/24", f"{world.STACK6}/64")
    w.server(sys.executable, PEER, "80", ns=far, ready=lambda: w.connects(world.STACK4, 80))
    return basics.Site()


world.main(*basics.cases(setup, 64 << 20))
