#!/usr/bin/env python3
"""Fails on an include that goes against the layers of docs/ARCHITECTURE.md.

A module includes its own headers and those of the modules that CMakeLists.txt lets it link; the order of modules there
must be the order of the layers in docs/ARCHITECTURE.md. The public headers in include/millrace/ include nothing of the
project but each other. Programs use the public headers and the machine layer, not the inside of the core."""
import os
import re

import tree

# Folders below src/ that programs may include; the rest of the core is reached through include/millrace/.
PROGRAM_FOLDERS = {"base", "impair", "conf", "runtime", "drivers", "drivers/tap", "drivers/xdp", "drivers/dpdk", "sdk",
                   "shim",     # shim/run.h, what the tool and the preloaded library agree on
                   "service"}  # the service that programs attach to, and the way to it
# The load generator makes frames of its own; the link emulator carries those of others.
PROGRAM_FOLDERS_MORE = {"apps/load": {"pkt", "wire", "link"}, "apps/link": {"pkt"}}
# A foreign tool drives the core through the doors of stack::Worker; it brings pools, frames and settings of its own.
ADAPTER_FOLDERS = {"base", "pkt", "link", "tcp", "stack"}
LIBRARY_HEADERS_OF_PUBLIC = {"tl/expected.hpp"}


def documented_order(root):
    """Folder names of the layer list in docs/ARCHITECTURE.md; where the core ends is part of it."""
    text = open(os.path.join(root, "docs/ARCHITECTURE.md")).read()
    block = re.search(r"```\n(include/millrace/.*?)```", text, re.S)
    if not block:
        return [], 0
    names, core = [], 0
    for line in block.group(1).splitlines():
        if "the core ends here" in line:
            core = len(names)
        match = re.match(r"  ([a-z]+)/ ", line)
        if match:
            names.append(match.group(1))
    return names, core


def check_order(root, mods, problems):
    names, core = documented_order(root)
    if not names:
        problems.append("docs/ARCHITECTURE.md: no list of layers found")
        return
    last = -1
    for folder, module in mods.items():
        top = folder.split("/")[0]
        if top not in names:
            problems.append(f"CMakeLists.txt: module {folder} is not among the layers of docs/ARCHITECTURE.md")
            continue
        place = names.index(top)
        if place < last:
            problems.append(f"CMakeLists.txt: {folder} stands below a layer that docs/ARCHITECTURE.md puts after it")
        last = max(last, place)
        if module.core != (place < core):
            problems.append(f"CMakeLists.txt: {folder} is {'' if module.core else 'not '}a core module, "
                            "docs/ARCHITECTURE.md says otherwise")
        for dep in module.deps:
            if dep not in mods or list(mods).index(dep) > list(mods).index(folder):
                problems.append(f"CMakeLists.txt: module {folder} depends on {dep}, which is not declared above it")


def target_of(root, mods, path, name):
    """Where a quoted include leads: ('module', folder), ('public', ''), ('local', '') or None."""
    if any(os.path.exists(os.path.join(root, folder, name)) for folder in ("include", "include/ff")):
        return "public", ""
    if os.path.exists(os.path.join(root, "src", name)):
        return "module", tree.module_of(mods, os.path.join("src", name)) or name.split("/")[0]
    beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
    top = path.split(os.sep)[0]
    for candidate in (beside, os.path.join(top, name)):
        if os.path.exists(os.path.join(root, candidate)):
            return "local", ""
    return None


def check_file(root, mods, path, problems):
    text = open(os.path.join(root, path)).read()
    top = path.split(os.sep)[0]
    module = tree.module_of(mods, path)
    allowed = tree.closure(mods, module) if module else None
    if top == "src" and module is None:
        problems.append(f"{path}:1: lies in no module of CMakeLists.txt")
    if path.endswith(".h") and "#pragma once" not in text:
        problems.append(f"{path}:1: has no #pragma once")
    for line, delimiter, name in tree.includes(text):
        where = f"{path}:{line}"
        if top == "include" and path.startswith(os.path.join("include", "ff")):
            continue  # C headers, flat as F-Stack's are
        if delimiter == "<":
            if os.path.exists(os.path.join(root, "src", name)) or name.startswith("millrace/"):
                problems.append(f"{where}: write \"{name}\", not <{name}>")
            elif top == "include" and "." in name and name not in LIBRARY_HEADERS_OF_PUBLIC:
                problems.append(f"{where}: a public header may not need <{name}>")
            continue
        target = target_of(root, mods, path, name)
        if target is None:
            if name != "tl/expected.hpp":
                problems.append(f"{where}: \"{name}\" does not exist")
            continue
        kind, folder = target
        if top == "include" and kind != "public":
            problems.append(f"{where}: a public header may not include \"{name}\"")
        elif kind == "module" and module and folder not in allowed:
            problems.append(f"{where}: {module} may not include \"{name}\" ({folder} is not among what it links)")
        elif kind == "local" and top == "src":
            problems.append(f"{where}: \"{name}\": name the folder, as in \"folder/file.h\"")
        elif (kind == "module" and top in ("apps", "tools")
              and folder not in PROGRAM_FOLDERS | PROGRAM_FOLDERS_MORE.get(os.path.dirname(path), set())):
            problems.append(f"{where}: programs may not include \"{name}\" ({folder} is inside the core)")
        elif kind == "module" and top == "adapters" and folder not in ADAPTER_FOLDERS:
            problems.append(f"{where}: adapters may not include \"{name}\" ({folder} is inside the core)")


def main():
    root = tree.root_argument()
    mods = tree.modules(root)
    problems = []
    check_order(root, mods, problems)
    count = 0
    for path in tree.files(root, ["include", "src", "adapters", "apps", "tools"]):
        check_file(root, mods, path, problems)
        count += 1
    if count == 0:
        problems.append("no source files found")
    tree.report(problems, f"includes of {count} files against the layers")


main()
