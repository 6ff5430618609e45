"""What the test suites share: cases, running programs, building emitted files.

A suite is a module with `cases(context)`, which returns a list of Case. A case passes when its
function returns, and fails when it raises; what it raised is printed. Cases run on all cores and must
not depend on each other: each has a directory of its own.
"""

import hashlib
import os
import pathlib
import re
import shlex
import subprocess
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

TIME_LIMIT = 600  # seconds; only so that a program that hangs ends the test
ROOT = pathlib.Path(__file__).resolve().parents[2]
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SANITIZER_FINDING = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|UndefinedBehavior")


class Failure(Exception):
    """A check that does not hold; the message says what was expected and what was found."""


class Skipped(Exception):
    """A check that cannot be made here; the message says why. It counts as neither passed nor failed."""


class Case:
    def __init__(self, name, function, *arguments, weight=1):
        """`function(context, *arguments)`; heavier cases start first. A function may return
        (passed, failed, message) where another tool counts."""
        self.name, self.function, self.arguments = name, function, arguments
        self.weight = weight


class Context:
    """Where things are. Attributes: work (a directory for the suite), cnnc, compiler ("gcc")."""

    def __init__(self, work, cnnc, sanitized_cnnc, compiler, long):
        self.work, self.cnnc, self.sanitized_cnnc = work, cnnc, sanitized_cnnc
        self.compiler, self.long = compiler, long

    def directory(self, *names):
        name = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", str(n)) for n in names)
        path = self.work / (name[:120] or "case")
        path.mkdir(parents=True, exist_ok=True)
        return path


def check(condition, message):
    if not condition:
        raise Failure(message)


def run(command, *, status=0, environment=None, directory=None, text=None, limit=TIME_LIMIT):
    """Runs a program and returns the finished process (stdout and stderr as text); anything but the
    expected exit status (None: any) is a failure."""
    full_environment = {**os.environ, "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", **(environment or {})}
    process = subprocess.run(
        [str(word) for word in command],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=full_environment,
        cwd=directory,
        timeout=limit,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL if text is None else None,
    )
    if status is not None and process.returncode != status:
        raise Failure(
            f"{shlex.join(str(w) for w in command)}\nexit status {process.returncode},"
            f" expected {status}\n{process.stdout[-1500:]}{process.stderr[-2500:]}"
        )
    return process


def layer_kinds(context):
    """The kinds that this version compiles, from --list-layers."""
    text = run([context.cnnc, "--list-layers"]).stdout.split("Known to the language")[0]
    return set(re.findall(r"^ +([A-Z][A-Z0-9]+) ", text, re.M))


def emit(context, source, output, *options, cnnc=None):
    """Compiles a description (a path, or the text of one) to C."""
    command = [cnnc or context.cnnc, *options, "-o", output]
    if isinstance(source, pathlib.Path):
        run([*command, source])
    else:
        run([*command, "-"], text=source)
    return output


MAKING = threading.Lock()
MADE = {}  # by file: the lock of those that need it


def made_once(context, make, *key):
    """A file of the suite that several cases need; `make(path)` makes it where `key` is new."""
    path = context.directory("made") / hashlib.sha256(repr(key).encode()).hexdigest()[:20]
    with MAKING:
        lock = MADE.setdefault(path, threading.Lock())
    with lock:
        if not path.exists():
            make(path)
    return path


def build(context, c_file, program, *flags, compiler=None, optimise="-O1"):
    """Cases whose files are the same text share the program."""
    command = [compiler or context.compiler, *STRICT, optimise, *flags]
    made = made_once(context, lambda path: run([*command, c_file, "-o", path, "-lm"]), command, c_file.read_text())
    program.unlink(missing_ok=True)
    os.link(made, program)
    return program


def emit_and_build(context, source, directory, name, *options, flags=(), compiler=None, optimise="-O1"):
    c_file = emit(context, source, directory / f"{name}.c", *options)
    return build(context, c_file, directory / name, *flags, compiler=compiler, optimise=optimise)


class Runner:
    """Runs the cases of suites and counts."""

    def __init__(self, jobs):
        self.jobs, self.passed, self.failed = jobs, 0, 0
        self.lock = threading.Lock()
        self.failures, self.skipped = [], []

    def record(self, suite, name, passed, failed, message):
        with self.lock:
            self.passed += passed
            self.failed += failed
            if failed or message:
                self.failures.append(f"{suite}: {name}")
                print(f"FAIL {suite}: {name}\n{message.rstrip()}\n", flush=True)

    def run_case(self, suite, context, case):
        try:
            result = case.function(context, *case.arguments)
            passed, failed, message = result if isinstance(result, tuple) else (1, 0, "")
        except Skipped as reason:
            with self.lock:
                self.skipped.append(f"{suite}: {case.name}: {reason}")
            return
        except Failure as failure:
            passed, failed, message = 0, 1, str(failure)
        except Exception:  # a broken test must not end the run
            passed, failed, message = 0, 1, traceback.format_exc()
        self.record(suite, case.name, passed, failed, message)

    def run_suite(self, name, context, cases):
        passed, failed, start = self.passed, self.failed, time.monotonic()
        ordered = sorted(cases, key=lambda case: -case.weight)
        with ThreadPoolExecutor(self.jobs) as pool:
            for future in [pool.submit(self.run_case, name, context, case) for case in ordered]:
                future.result()
        print(f"{name}: {self.passed - passed} passed, {self.failed - failed} failed, "
              f"{time.monotonic() - start:.0f} s", flush=True)
