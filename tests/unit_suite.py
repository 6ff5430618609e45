"""The cmocka programs of tests/unit, built with sanitizers; every line `ok` is a test."""

import re

from harness import Case, Failure, SANITIZER_FINDING, run


def run_program(context, program):
    process = run([program], status=None, environment={"CMOCKA_MESSAGE_OUTPUT": "TAP"},
                  directory=context.directory(program.name))
    text = process.stdout + process.stderr
    passed = len(re.findall(r"^ok ", text, re.M))
    failed = len(re.findall(r"^not ok ", text, re.M))
    if failed == 0 and (process.returncode != 0 or passed == 0 or SANITIZER_FINDING.search(text)):
        failed = 1
    return passed, failed, text[-4000:] if failed else ""


def cases(context):
    directory = context.sanitized_cnnc.parent / "tests" / "unit"
    programs = sorted(p for p in directory.glob("test_*") if p.suffix == "")
    if not programs:
        raise Failure(f"no unit tests in {directory}")
    return [Case(program.name, run_program, program) for program in programs]
