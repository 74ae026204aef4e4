#!/usr/bin/env python3
"""Fails when a program and its manual page name different flags, or when the help of a command has no example of it.
Arguments: the tree, the folder of the programs."""
import os
import re
import subprocess
import sys

import tree

COMMON = {"--help", "--version"}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+[a-z]")


def flags_of(program):
    """Flags of --help, and of the --help of each subcommand; and the commands without an example."""
    def ask(*words):
        return subprocess.run([program, *words, "--help"], capture_output=True, text=True, timeout=20).stdout
    text = ask()
    listed = text.partition("Subcommands:")[2].partition("Example:")[0]
    bare = []
    for command in re.findall(r"^  ([a-z]+) ", listed, re.M):
        text += (help_text := ask(command))
        if f"{os.path.basename(program)} {command}" not in help_text.partition("Example:")[2]:
            bare.append(command)
    return set(FLAG.findall(text)) - COMMON, bare


def main():
    root, programs = sys.argv[1], sys.argv[2]
    problems = []
    for name in ("millrace", "millrace-httpd", "millrace-load"):
        page = os.path.join("docs/man", name + ".1")
        with open(os.path.join(root, page)) as f:
            described = set(FLAG.findall(f.read().replace("\\-", "-").partition(".SH EXAMPLES")[0])) - COMMON
        known, bare = flags_of(os.path.join(programs, name))
        problems += [f"{name} {command} --help gives no example of it" for command in bare]
        if not known:
            problems.append(f"{name} --help shows no flags")
        problems += [f"{page}: does not describe {flag}" for flag in sorted(known - described)]
        if name != "millrace":
            problems += [f"{page}: {name} has no {flag}" for flag in sorted(described - known - {"--no-huge"})]
    tree.report(problems, "flags of the programs against their manual pages")


main()
