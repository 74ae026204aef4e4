#!/usr/bin/env python3
"""Compiles every ```cpp block of a Markdown file as a source file of its own.

    compile_examples.py FILE.md -- COMPILER [FLAG...]

Fails if a block does not compile without warnings, if there is no block at all, or if the check itself is blind: a
block with an error planted in it must be refused."""
import concurrent.futures
import re
import subprocess
import sys
import tempfile


def blocks(path):
    """Yields (line number, text) of each ```cpp block."""
    with open(path) as f:
        text = f.read()
    for match in re.finditer(r"^```cpp\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start(1)) + 1, match.group(1)


def compile_block(command, path, line, text):
    with tempfile.NamedTemporaryFile("w", suffix=".cc") as source:
        source.write(f'#line {line} "{path}"\n{text}')
        source.flush()
        return subprocess.run([*command, source.name], capture_output=True, text=True)


def main():
    split = sys.argv.index("--")
    path, command = sys.argv[1], sys.argv[split + 1:]
    command += ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-fsyntax-only"]
    found = list(blocks(path))
    if not found:
        sys.exit(f"{path}: no ```cpp block")
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [(line, pool.submit(compile_block, command, path, line, text)) for line, text in found]
        line, text = found[0]
        broken = re.sub(r"\b(net|reactor)\.listen\(", r"\1.lisen(", text)
        planted = pool.submit(compile_block, command, path, line, broken)
        for line, job in jobs:
            done = job.result()
            print(f"{path}:{line}: {'ok' if done.returncode == 0 else 'does not compile'}")
            if done.returncode != 0:
                failed += 1
                print(done.stderr)
        if broken == text or planted.result().returncode == 0:
            sys.exit("a planted error was not noticed: this test checks nothing")
    sys.exit(1 if failed else 0)


main()
