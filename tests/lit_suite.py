"""The compiler tests of tests/lit: one .cnn file each, run by LLVM's lit and FileCheck."""

import pathlib
import re
import subprocess
import sys

from harness import Case, ROOT, run


def llvm_directory():
    """The prefix of the newest LLVM that brings lit and FileCheck, such as /usr/lib/llvm-14."""
    found = [
        path
        for path in pathlib.Path("/usr/lib").glob("llvm-*")
        if (path / "build/utils/lit/lit.py").exists() and (path / "bin/FileCheck").exists()
    ]
    if not found:
        raise FileNotFoundError("no lit in /usr/lib/llvm-*: `make deps` installs it")
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))


def run_lit(context, cnnc, jobs):
    llvm = llvm_directory()
    output = context.directory("lit", cnnc.parent.name)
    command = [
        sys.executable, llvm / "build/utils/lit/lit.py", "-v", "-j", str(jobs),
        "--param", f"cnnc={cnnc}", "--param", f"llvm={llvm}", "--param", f"output={output}",
        "--param", f"compiler={context.compiler}", "--config-prefix=lit",
        ROOT / "tests",
    ]
    process = run(command, status=None)
    def count(*words):
        return sum(int(n) for word in words for n in re.findall(rf"^\s*{word}\s*:\s*(\d+)", process.stdout, re.M))
    passed = count("Passed", "Expectedly Failed")
    failed = count("Failed", "Unresolved", "Timed Out", "Unexpectedly Passed", "Skipped", "Unsupported")
    if process.returncode and not failed:
        failed = 1
    return passed, failed, process.stdout + process.stderr if failed else ""


def cases(context):
    result = [Case("lit", run_lit, context.cnnc, 1)]
    if context.compiler == "gcc":
        result.append(Case("lit, compiler with sanitizers", run_lit, context.sanitized_cnnc, 1))
    return result
