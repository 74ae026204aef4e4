#!/usr/bin/env python3
"""Writes docs/RFC.md from docs/rfc/*.toml: every requirement of an RFC with the line that keeps it and the test that
shows it, or the reason why there is none.

    rfc.py            writes it
    rfc.py --check    fails if it is out of date; numbers of lines are not compared

A data file has a `title`, a `source`, and `count`: how many requirements each section has, so that none is lost. Then a
table for each, named by its label (RFC 9293) or by section and running number:

    level    MUST NOT or SHOULD NOT; otherwise what the label says, MUST where it says nothing
    section  RFC 9293 only
    text     the requirement in our words
    code     "FILE: PATTERN" or a list of them: the first line of the file that holds the pattern
    test     "Suite.Name" or "FILE: PATTERN", or a list of them
    note     how it is kept, where that is not plain
    reason   why it is left out on purpose, or none of ours
    missing  what is still to be done

Where `code` is not given, the label (or "RFC 5961 3.2-1") is looked for in include/ and src/, and in tests/ where
`test` is not given. A row needs code and test, or a reason, or says what is missing."""
import glob
import os
import re
import sys
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# RFC 9293 appendix B and the labels of its sections: no number is left out.
LABELS = [f"MUST-{n}" for n in range(1, 70)] + [f"SHLD-{n}" for n in range(1, 32)] + ["REC-1"]
LEVELS = ("MUST NOT", "SHOULD NOT")
FIELDS = {"level", "section", "text", "code", "test", "note", "reason", "missing"}
SOURCE = (".cc", ".h", ".py", ".c")
HEAD = """\
Written by `tests/docs/rfc.py` from docs/rfc/*.toml; the test docs.rfc fails where it is out of date. RFC 9293: every
MUST, SHOULD and RECOMMENDED by its label. The others: every sentence with MUST, REQUIRED or SHALL but the one that
defines the words. Of a MUST NOT the text names what is forbidden. *Kept* means: there is a line that does it and a test
that would notice if it did not. *Left out* rows give their reason in italics; *missing* ones say what is to be done.
"""
TEST = re.compile(r"^TEST(?:_[PF])?\((\w+),\s*(\w+)\)")
FUNCTION = re.compile(r"^(?![#/}\s]|namespace\b|using\b|template\b|static_assert\b|constexpr \w+ \w+\{)"
                      r"[^=;]*?([\w~]+(?:::[\w~]+)*)\s*\(")
PYTHON_FUNCTION = re.compile(r"^(?:def|class)\s+(\w+)")


class Failures(list):
    def add(self, row, text):
        self.append(f"{row}: {text}")


class Tree:
    """The lines of the sources, and the tests in them."""

    def __init__(self):
        self.files = {}
        self.tests = {}
        for folder in ("include", "src", "tests", "apps"):
            for path in sorted(glob.glob(f"{folder}/**/*", root_dir=ROOT, recursive=True)):
                if path.endswith(SOURCE) and not path.startswith("tests/docs/"):
                    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
                        self.files[path] = f.read().split("\n")
        for path, lines in self.files.items():
            for number, line in enumerate(lines):
                if found := TEST.match(line):
                    self.tests.setdefault(f"{found[1]}.{found[2]}", []).append((path, number))

    def enclosing(self, path, number):
        """The function or test around a line; behind a comment at the margin, the one that follows it."""
        lines = self.files[path]
        pattern = PYTHON_FUNCTION if path.endswith(".py") else FUNCTION
        while lines[number].startswith("//") and number + 1 < len(lines):
            number += 1
        for at in range(number, -1, -1):
            if at < number and lines[at] == "}":
                return ""
            if found := TEST.match(lines[at]):
                return f"{found[1]}.{found[2]}"
            if found := pattern.match(lines[at]):
                return found[1].split("::")[-1]
        return ""

    def with_tag(self, tag, tests):
        """Where the tag stands: in the tests and what the simulator checks, or in the rest."""
        pattern = re.compile(rf"{re.escape(tag)}(?![\w-])")
        found = []
        for path, lines in self.files.items():
            if tests != path.startswith(("tests/", "src/sim/")):
                continue
            found += [(path, n) for n, line in enumerate(lines) if pattern.search(line)]
        return found

    def line_of(self, place):
        """The line that "FILE: PATTERN" names, or what is wrong with it."""
        path, _, text = place.partition(": ")
        if path not in self.files:
            return None, f"there is no file {path}"
        lines = [n for n, line in enumerate(self.files[path]) if text in line]
        if not lines:
            return None, f"no line of {path} holds '{text}'"
        return (path, lines[0]), None


def as_list(value):
    return [value] if isinstance(value, str) else list(value or [])


def places(tree, row, name, tag, failures, tests):
    wanted = as_list(row.get("test" if tests else "code"))
    if not wanted:
        return tree.with_tag(tag, tests)
    found = []
    for place in wanted:
        if ": " in place:
            at, wrong = tree.line_of(place)
            if wrong:
                failures.add(name, wrong)
        else:
            at = tree.tests.get(place, [None])[0] if tests else None
            if at is None:
                failures.add(name, f"there is no test {place}" if tests else f"'{place}' is not 'FILE: PATTERN'")
        if at is not None:
            found.append(at)
    return found


def link(tree, place):
    path, number = place
    around = tree.enclosing(path, number)
    text = around if TEST.match(tree.files[path][number]) or "." in around else f"{os.path.basename(path)} {around}"
    return f"[{text.strip()}](../{path}#L{number + 1})"


def check_shape(rfc, data, failures):
    """Every requirement has its row, and nothing else has."""
    rows = {k: v for k, v in data.items() if isinstance(v, dict) and k != "count"}
    if rfc == "9293":
        expected = LABELS
    else:
        expected = [f"{section}-{n + 1}" for section, many in data["count"].items() for n in range(many)]
    for name in expected:
        if name not in rows:
            failures.add(f"RFC {rfc} {name}", "has no row")
    for name, row in rows.items():
        if name not in expected:
            failures.add(f"RFC {rfc} {name}", "is no requirement that the file's count or the list of labels knows")
        if unknown := set(row) - FIELDS:
            failures.add(f"RFC {rfc} {name}", f"unknown field {', '.join(sorted(unknown))}")
        if row.get("level", LEVELS[0]) not in LEVELS or not row.get("text"):
            failures.add(f"RFC {rfc} {name}", f"needs a text, and a level only if it is {' or '.join(LEVELS)}")
    return {name: rows[name] for name in expected if name in rows}


def status_of(row, code, test):
    if "missing" in row:
        return "missing"
    if "reason" in row:
        return "reason"
    return "kept" if code and test else None


def table(tree, rfc, rows, failures, counts):
    out = ["| | section | level | what | where | shown by |", "|---|---|---|---|---|---|"]
    for name, row in rows.items():
        full = f"RFC {rfc} {name}"
        tag = name if rfc == "9293" else full
        code = places(tree, row, full, tag, failures, tests=False)
        test = places(tree, row, full, tag, failures, tests=True)
        status = status_of(row, code, test)
        if status is None:
            what = " and ".join(w for w, found in (("code", code), ("test", test)) if not found)
            failures.add(full, f"found no {what}, and there is neither reason nor missing")
            continue
        counts[status] = counts.get(status, 0) + 1
        section = row.get("section") or name.rsplit("-", 1)[0]
        text = row["text"] + (f" ({row['note']})" if "note" in row else "")
        shown = [link(tree, t) for t in test]
        if "reason" in row:
            shown.append(f"*{row['reason']}*")
        if "missing" in row:
            shown.append(f"**missing:** {row['missing']}")
        level = row.get("level", "SHOULD" if name.startswith(("SHLD", "REC")) else "MUST")
        label = name if rfc == "9293" else f"{rfc} {name}"
        out.append(f"| {label} | {section} | {level} | {text} | {', '.join(link(tree, c) for c in code)} | "
                   f"{', '.join(shown)} |")
    return out


def generate(failures):
    tree = Tree()
    body, totals = [], []
    names = sorted(glob.glob("docs/rfc/*.toml", root_dir=ROOT), key=lambda n: (not n.endswith("9293.toml"), n))
    for path in names:
        rfc = os.path.basename(path)[:-len(".toml")]
        with open(os.path.join(ROOT, path), "rb") as f:
            data = tomllib.load(f)
        rows = check_shape(rfc, data, failures)
        counts = {}
        lines = table(tree, rfc, rows, failures, counts)
        totals.append((rfc, data["title"], len(rows), counts))
        body += ["", f"## RFC {rfc}: {data['title']}", "", data["source"], "", *lines]
    sums = [sum(c.get(s, 0) for _, _, _, c in totals) for s in ("kept", "reason", "missing")]
    head = ["# What the RFCs ask of TCP, and where it is kept", "", *HEAD.split("\n"),
            "| RFC | title | requirements | kept | left out | missing |", "|---|---|---|---|---|---|"]
    for rfc, title, many, c in totals:
        head.append(f"| [{rfc}](https://www.rfc-editor.org/rfc/rfc{rfc}) | {title} | {many} | {c.get('kept', 0)} | "
                    f"{c.get('reason', 0)} | {c.get('missing', 0)} |")
    head.append(f"| | all | {sum(t[2] for t in totals)} | {sums[0]} | {sums[1]} | {sums[2]} |")
    return "\n".join(head + body) + "\n"


def main():
    failures = Failures()
    text = generate(failures)
    if failures:
        sys.exit("\n".join(failures))
    target = os.path.join(ROOT, "docs", "RFC.md")
    if "--check" not in sys.argv[1:]:
        with open(target, "w", encoding="utf-8") as f:
            f.write(text)
        return
    with open(target, encoding="utf-8") as f:
        old = f.read()
    without_numbers = [re.sub(r"#L\d+\)", ")", t).split("\n") for t in (old, text)]
    changed = [f"{a}\n  now: {b}" for a, b in zip(*without_numbers) if a != b]
    if changed or len(without_numbers[0]) != len(without_numbers[1]):
        sys.exit("docs/RFC.md is out of date: run tests/docs/rfc.py\n" + "\n".join(changed[:5]))


if __name__ == "__main__":
    main()
