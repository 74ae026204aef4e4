"""What the lints share: the modules and their dependencies as CMakeLists.txt declares them, the files of a tree, and
source text without comments and strings."""
import os
import re
import sys

SOURCE_SUFFIXES = (".h", ".cc")


class Module:
    def __init__(self, folder, deps, core):
        self.folder, self.deps, self.core = folder, deps, core


def modules(root):
    """Modules of CMakeLists.txt by folder, in the order of their declaration."""
    text = open(os.path.join(root, "CMakeLists.txt")).read()
    found = {}
    for kind, args in re.findall(r"millrace_(core_module|module)\(([^)]*)\)", text):
        words = args.split()
        deps, section = [], None
        for word in words[1:]:
            if word in ("DEPS", "LIBS"):
                section = word
            elif section == "DEPS":
                deps.append(word)
        if words[0] in found:  # declared again for another configuration
            deps = found.pop(words[0]).deps + deps
        found[words[0]] = Module(words[0], deps, kind == "core_module")
    return found


def closure(mods, folder):
    """The folder itself and everything it may include, directly or through others."""
    seen, todo = set(), [folder]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += mods[name].deps if name in mods else []
    return seen


def files(root, tops, suffixes=SOURCE_SUFFIXES):
    """Paths, relative to root, of the files with these suffixes below the folders `tops`."""
    for top in tops:
        for folder, dirs, names in os.walk(os.path.join(root, top)):
            dirs[:] = sorted(d for d in dirs if d != "build" and not d.startswith("."))
            for name in sorted(names):
                if name.endswith(suffixes):
                    yield os.path.relpath(os.path.join(folder, name), root)


def module_of(mods, path):
    """The module that holds a file below src/, or None."""
    parts = path.split(os.sep)
    if parts[0] != "src":
        return None
    for depth in (2, 1):
        name = "/".join(parts[1:1 + depth])
        if name in mods and len(parts) > 1 + depth:
            return name
    return None


def includes(text):
    """(line number, delimiter, name) of each #include."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1), match.group(2)


_NOISE = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])\'',
    re.S)


def code_only(text):
    """The text with comments and literals blanked, line numbers kept."""
    return _NOISE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def report(problems, what):
    """Prints the findings and ends the program: 0 for none."""
    for problem in problems:
        print(problem)
    if problems:
        print(f"{len(problems)} problem(s): {what}")
        sys.exit(1)
    print(f"clean: {what}")
    sys.exit(0)


def root_argument():
    """The tree to look at: the first argument, or the one this file lies in."""
    if len(sys.argv) > 1:
        return os.path.abspath(sys.argv[1])
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
