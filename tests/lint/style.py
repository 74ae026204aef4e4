#!/usr/bin/env python3
"""The habits of this project that a program can check: the length of files and lines, a comment at the top of each
header and source, no work left as a mark, nothing that names the machine it was written on, links in the documents that
lead somewhere. With --strict, as `make lint` runs it, also the length of lines and that README.md leads to every
document below docs/."""
import os
import re
import subprocess
import sys

import tree

STRICT = "--strict" in sys.argv

MAX_LINES, MAX_COLUMNS = 600, 120
MARKS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE = re.compile(r"(?<![\w.$}])/(work|home|root|Users)/\w")
TEXT = (".h", ".cc", ".py", ".md", ".cmake", ".txt", ".toml", ".json", ".1", ".sh")


def tracked(root):
    """Files under version control; every file where there is no repository (an unpacked archive)."""
    git = subprocess.run(["git", "-C", root, "-c", "safe.directory=*", "ls-files", "-z"], capture_output=True,
                         text=True)
    if git.returncode == 0 and git.stdout:
        return [f for f in git.stdout.split("\0") if f and os.path.isfile(os.path.join(root, f))]
    return list(tree.files(root, ["."], suffixes=("",)))


def check_text(root, path, text, problems):
    # A header's comment speaks for the .cc of the same name.
    headers = (path[:-3] + ".h", os.path.join("include/millrace", os.path.basename(path)[:-3] + ".h"))
    beside = path.endswith(".cc") and any(os.path.exists(os.path.join(root, h)) for h in headers)
    lines = text.splitlines()
    code = path.endswith(tree.SOURCE_SUFFIXES)
    if len(lines) > MAX_LINES:
        problems.append(f"{path}:{len(lines)}: longer than {MAX_LINES} lines")
    if code and not beside and not (lines and lines[0].startswith(("//", "/*"))):
        problems.append(f"{path}:1: does not open with a comment that says what it is")
    for number, line in enumerate(lines, 1):
        if STRICT and (code or path.endswith(".py")) and len(line) > MAX_COLUMNS:
            problems.append(f"{path}:{number}: longer than {MAX_COLUMNS} columns")
        if MARKS.search(line):
            problems.append(f"{path}:{number}: a mark for work left: finish it, or write it down as an issue")
        if MACHINE.search(line):
            problems.append(f"{path}:{number}: names a folder of one machine")


def check_links(root, path, text, problems):
    """Returns the repository files that the document links to."""
    led_to = set()
    for number, line in enumerate(text.splitlines(), 1):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            file = os.path.normpath(os.path.join(os.path.dirname(path), target))
            if not os.path.exists(os.path.join(root, file)):
                problems.append(f"{path}:{number}: links to {target}, which does not exist")
            led_to.add(file)
    return led_to


def main():
    sys.argv = [a for a in sys.argv if a != "--strict"]
    root = tree.root_argument()
    problems, links, docs = [], {}, []
    paths = tracked(root)
    for path in paths:
        name = os.path.basename(path)
        if not name.endswith(TEXT) and name not in ("Makefile", "demo", "run"):
            continue
        try:
            text = open(os.path.join(root, path), encoding="utf-8").read()
        except UnicodeDecodeError:
            problems.append(f"{path}: is not UTF-8 text")
            continue
        check_text(root, path, text, problems)
        if path.endswith(".md"):
            links[path] = check_links(root, path, text, problems)
            docs.append(path)
    reached, todo = set(), ["README.md"]
    while todo:
        path = todo.pop()
        if path not in reached:
            reached.add(path)
            todo += links.get(path, ())
    for path in docs:
        if STRICT and path.startswith("docs" + os.sep) and path not in reached:
            problems.append(f"{path}: no link leads here from README.md")
    tree.report(problems, f"style of {len(paths)} files")


main()
