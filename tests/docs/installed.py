#!/usr/bin/env python3
"""What `make install` leaves is enough to build the guide's first program with nothing but pkg-config, wherever the
prefix is moved to; `make uninstall` removes all of it.

    installed.py BUILD GUIDE.md COMPILER"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

PREFIX = "/opt/millrace"


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def build_example(guide, compiler, prefix, folder):
    with open(guide) as f:
        text = re.search(r"^```cpp\n(.*?)^```$", f.read(), re.MULTILINE | re.DOTALL).group(1)
    source, program = os.path.join(folder, "program.cc"), os.path.join(folder, "program")
    with open(source, "w") as f:
        f.write(text)
    packages = glob.glob(f"{prefix}/lib/**/pkgconfig", recursive=True)
    flags = run(["pkg-config", "--cflags", "--libs", "millrace"],
                env=os.environ | {"PKG_CONFIG_PATH": ":".join(packages)}).split()
    run([compiler, "-std=c++20", "-O0", source, *flags, "-o", program])
    if "Usage: echo" not in run([program, "--help"]):
        sys.exit("the program built from the guide does not show its help")


def main():
    build, guide, compiler = sys.argv[1:]
    manifest = os.path.join(build, "install_manifest.txt")
    kept = manifest + ".kept"  # of an install of the user's own
    if os.path.exists(manifest):
        shutil.copy(manifest, kept)
    try:
        with tempfile.TemporaryDirectory() as folder:
            stage, moved = os.path.join(folder, "stage"), os.path.join(folder, "moved")
            run(["cmake", "--install", build, "--prefix", PREFIX, "--strip"], env=os.environ | {"DESTDIR": stage})
            for needed in ("bin/millrace", "share/man/man1/millrace.1", "include/millrace/program.h"):
                if not os.path.exists(f"{stage}{PREFIX}/{needed}"):
                    sys.exit(f"make install does not install {needed}")
            shutil.copytree(stage + PREFIX, moved)
            build_example(guide, compiler, moved, folder)
            run(["make", "-C", os.path.dirname(os.path.dirname(guide)), "uninstall", f"DESTDIR={stage}",
                 f"PRESET={os.path.basename(build)}"])
            left = [os.path.join(d, f) for d, _, files in os.walk(stage) for f in files]
            left += [d for d, _, _ in os.walk(stage + PREFIX) if os.path.basename(d) in ("millrace", "modules") and
                     d != stage + PREFIX]
            if left:
                sys.exit("make uninstall leaves " + ", ".join(left[:5]))
    finally:
        os.path.exists(manifest) and os.unlink(manifest)
        if os.path.exists(kept):
            os.rename(kept, manifest)


main()
