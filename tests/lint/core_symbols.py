#!/usr/bin/env python3
"""Fails when a library of the core needs anything from outside that is not on the list below.

core_symbols.py ROOT LIBRARY-FOLDER: reads the undefined symbols of libmillrace_<core module>.a with nm. The sources may
hide a call behind a macro or an inline function of a library; the symbols cannot."""
import os
import re
import subprocess
import sys

import tree

ALLOWED = [
    # Memory and strings.
    r"mem(cpy|move|set|cmp|chr)", r"str(len|cmp|ncmp|chr)", r"bcmp", r"__(memcpy|memmove|memset)_chk",
    r"malloc", r"calloc", r"realloc", r"free", r"aligned_alloc", r"_Zn[wa]m.*", r"_Zd[la]Pv.*",
    # The end of the program: an assert, a broken promise of the language.
    r"abort", r"__stack_chk_fail", r"__cxa_pure_virtual", r"_ZSt9terminatev", r"__cxa_throw_bad_array_new_length",
    # What the standard containers call when they are misused or out of memory, and their out-of-line parts.
    r"_ZSt\d+__throw_\w+", r"_ZNSt8__detail\w*", r"_ZNKSt8__detail\w*", r"_ZNSt7__cxx1112basic_stringI\w+",
    r"_ZNKSt7__cxx1112basic_stringI\w+", r"_ZStplI\w+", r"_ZSt(18_Rb_tree_\w+|28_Rb_tree_\w+|29_Rb_tree_\w+)",
    r"_ZSt11_Hash_bytesPKvmm", r"_ZSt(7nothrow|.*charconv\w*)", r"_ZSt(8to_chars|10from_chars)\w+",
    r"_ZTVN10__cxxabiv1\d+__\w+", r"_ZTISt\w+", r"_ZTVSt\w+", r"_ZNSt9exceptionD\w+", r"_ZNKSt9exception4whatEv",
    # Arithmetic.
    r"(ceil|floor|sqrt|cbrt|pow|log2|exp|log|round|lround|llround|fmod|trunc)f?", r"__u?(div|mod)ti3",
    # The linker's own.
    r"_GLOBAL_OFFSET_TABLE_", r"__dso_handle", r"__cpu_model", r"_Unwind_Resume", r"__gxx_personality_v0",
]
# conf/ reads text with toml++, which is made of streams over strings.
ALLOWED_IN = {
    "conf": [r"_ZNSt?\w*basic_[io]?stringstream\w*", r"_ZN?K?St\w*(stream|ios|locale|basic_stringbuf)\w*", r"_ZNSo\w+",
             r"_ZNSi\w+", r"_ZSt\w*(ostream|locale)\w*", r"_ZTTN?St\w+", r"_ZTVN?St\w+", r"strto(d|l|ll|ul|ull|ld)",
             r"__cxa_guard_(acquire|release|abort)", r"__cxa_atexit", r"_ZN9__gnu_cxx\w+", r"__errno_location",
             r"__assert_fail", r"__libc_single_threaded"],
}


def symbols(library, what):
    """Names that nm lists for the archive: `what` is --undefined-only or --defined-only."""
    out = subprocess.run(["nm", "--no-sort", what, "--format=posix", library], capture_output=True, text=True,
                         check=True)
    return {line.split()[0] for line in out.stdout.splitlines() if line and not line.endswith(":")}


def demangled(name):
    return subprocess.run(["c++filt", name], capture_output=True, text=True).stdout.strip() or name


def main():
    root, folder = sys.argv[1], sys.argv[2]
    core = [m.folder for m in tree.modules(root).values() if m.core]
    found = {m: os.path.join(folder, f"libmillrace_{m.replace('/', '_')}.a") for m in core}
    found = {m: path for m, path in found.items() if os.path.exists(path)}
    defined = set()
    for path in found.values():
        defined |= symbols(path, "--defined-only")
    problems = [] if found else [f"{folder}: no library of the core"]
    for module, path in found.items():
        allowed = re.compile("|".join(f"(?:{p})" for p in ALLOWED + ALLOWED_IN.get(module, [])))
        for name in sorted(symbols(path, "--undefined-only") - defined):
            if not allowed.fullmatch(name):
                problems.append(f"{os.path.basename(path)}: needs {demangled(name)} ({name})")
    tree.report(problems, f"symbols that {len(found)} libraries of the core need from outside")


main()
