"""The documentation is true: every ```cnn block is a description without an error (a fragment gets
what it lacks, as below), every ```console block gives what it shows, and links lead somewhere.

In a console block a line `$ command` is run by sh, in one directory per file with the examples and
`cnnc` and `cc` at hand; `...` in its output stands for anything. A block that begins with
`<!-- not run -->` on the line before is left alone: installing packages, training for minutes."""

import os
import re

from harness import Case, ROOT, check, layer_kinds, run

FENCE = re.compile(r"^(<!-- not run -->\n+)?```(\w+)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def documents():
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*.md"))]


def blocks(path):
    """(line, kind, text) of the fenced blocks that count."""
    text = path.read_text()
    return [
        (text.count("\n", 0, match.start()) + 1, match.group(2), match.group(3))
        for match in FENCE.finditer(text)
        if not match.group(1)
    ]


def completed(text):
    """A fragment in the documents leaves out what would distract; this is what it stands for."""
    if not re.search(r"^\s*net\b", text, re.M):
        text += "\nnet = ID\n"
    if not re.search(r"^\s*input\b", text, re.M):
        text = "input 16x32x32\n" + text
    return text


def description(context, path, line, text):
    process = run([context.cnnc, "-Wno-unused", "-"], text=completed(text), status=None)
    check(process.returncode == 0, f"{path.name}:{line}\n{text}\n{process.stderr}")


def pattern(expected):
    """A regular expression for the expected output, `...` being anything."""
    return re.escape(expected.strip()).replace(re.escape("..."), "(?s:.*?)")


def console(context, path):
    directory = context.directory("console", path.name)
    for name in ("examples", "tests"):
        link = directory / name
        if not link.exists():
            link.symlink_to(ROOT / name)
    environment = {"PATH": f"{context.cnnc.parent}{os.pathsep}{os.environ['PATH']}"}
    passed = 0
    for line, kind, text in blocks(path):
        if kind != "console":
            continue
        for command, expected in re.findall(r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n?)*)", text, re.M):
            process = run(["sh", "-c", command + " 2>&1"], environment=environment, directory=directory, status=None)
            found = process.stdout.strip()
            check(re.fullmatch(pattern(expected), found),
                  f"{path.name}:{line}: $ {command}\nexpected\n{expected}\nfound\n{found}")
            passed += 1
    return passed, 0, ""


def links(context, path):
    for target in LINK.findall(path.read_text()):
        if not re.match(r"[a-z]+:", target):
            check((path.parent / target).exists(), f"{path.name} links to {target}, which is not there")


def every_layer_has_an_example(context):
    """docs/language.md shows each kind in a block that is compiled."""
    shown = "\n".join(text for _, kind, text in blocks(ROOT / "docs" / "language.md") if kind == "cnn").upper()
    kinds = layer_kinds(context)
    missing = [kind for kind in sorted(kinds) if not re.search(rf"\b{kind}\b", shown)]
    check(kinds and not missing, f"without an example: {' '.join(missing)}")


def cases(context):
    result = [Case("language.md shows every layer", every_layer_has_an_example)]
    for path in documents():
        result.append(Case(f"links of {path.name}", links, path))
        found = blocks(path)
        result += [Case(f"{path.name}:{line}", description, path, line, text)
                   for line, kind, text in found if kind == "cnn"]
        if any(kind == "console" for _, kind, _ in found):
            result.append(Case(f"commands of {path.name}", console, path))
    return result
