"""--tune: whatever answers it settles on, the program computes what that of -O0 computes; what has been
measured is not measured again; files that are damaged or of another machine change nothing.

Most cases measure nothing: in place of the C compiler stands a script whose programs print times that
the case has chosen, so that every schedule on the lists of candidates is the fastest once."""

import os
import pathlib
import random
import re
import signal
import stat
import subprocess
import time

from agreement import PRECISIONS, check_same, results, samples, write_case
from harness import Case, Failure, ROOT, SANITIZER_FINDING, check, emit, run
from parts import build_parts, emit_and_build_parts

NETWORKS = [ROOT / "tests" / "targets" / "wide.cnn", *sorted((ROOT / "tests" / "networks").glob("*_small.cnn"))]
KINDS = {"CONV", "DWCONV", "FC"}  # those that are contractions
TRIALS = 6
BATCH = 16
SMALL = "input 3x8x8\nnet small = CONV(16, 3x3, pad=1)-RELU - FC(5)\n"

# $1... is the command line of a C compiler for trialN.c; the program that it leaves prints itself but for its
# first line. Of these there are two, and PREFERRED's times are the shortest.
COMPILER = """#!/bin/sh
while [ "$1" != -o ]; do shift; done
trial=${2##*/trial}
if [ "$trial" = PREFERRED ]; then cp FAST "$2"; else cp SLOW "$2"; fi
echo "$trial" >> LOG
"""
SEQUENCES, PHASES = ("evaluation", "training"), ("FORWARD", "DATA_GRADIENT", "PARAMETER_GRADIENT")
LAYERS = 61


def write_script(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def write_trial(path, seconds):
    """A program that prints the same time for every layer."""
    lines = [f"{sequence} {layer} TIMING_{phase} {seconds}"
             for sequence in SEQUENCES for layer in range(LAYERS) for phase in PHASES]
    return write_script(path, "#!/usr/bin/tail -n+2\n" + "\n".join(lines) + "\n")


class Tuning:
    """A directory with a cache, a directory for temporary files and a compiler that prefers a trial."""

    def __init__(self, context, *names):
        self.context, self.directory = context, context.directory(*names)
        self.temporary = self.directory / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self.cache = self.directory / "cache"
        self.cache.unlink(missing_ok=True)
        self.log = self.directory / "compilations"
        self.log.unlink(missing_ok=True)

    def compiler(self, preferred, other_time="0.002"):
        fast = write_trial(self.directory / "fast", "0.001")
        slow = write_trial(self.directory / f"slow-{other_time[:20]}", other_time)
        text = COMPILER.replace("PREFERRED", str(preferred)).replace("FAST", str(fast))
        text = text.replace("SLOW", str(slow)).replace("LOG", str(self.log))
        return write_script(self.directory / f"compiler-{preferred}", text)

    def emit(self, source, output, *options, compiler="false", status=0, cnnc=None):
        """Runs cnnc --tune; returns what it says."""
        path = self.directory / "source.cnn"
        path.write_text(source if isinstance(source, str) else source.read_text())
        command = [cnnc or self.context.cnnc, "--tune", "--tune-file", self.cache, *options, "-o", output, path]
        process = run(command, status=status, environment={"CC": str(compiler), "TMPDIR": str(self.temporary)})
        check(not list(self.temporary.iterdir()), f"left behind: {list(self.temporary.iterdir())}")
        return process.stderr

    def compilations(self):
        return len(self.log.read_text().split()) if self.log.exists() else 0

    def entries(self):
        lines = self.cache.read_text().splitlines()
        check(lines[0] == "cnnc tuning 1", f"first line {lines[0]!r}")
        return [line.split("\t") for line in lines[1:]]


def kernels(path):
    """An emitted file without what it says of the options: the comment at its top and a line of its tables."""
    return re.sub(r"^    \.options = .*\n", "", path.read_text().split("*/", 1)[1], flags=re.M)


def agrees(context, name, text, precision):
    """The program with each trial's schedules against -O0. --threads=2: more ways to share work."""
    _, options, bound = precision
    tuning = Tuning(context, "agrees", name, precision[0])
    directory = tuning.directory
    options = [*options, "--threads=2", f"--batch={BATCH}"]
    plain = emit_and_build_parts(context, text, directory, "plain", "-O0", *options, optimise="-O0")
    write_case(directory, plain, text, len(text))
    expected, seen, passed = results(directory, plain), set(), 0
    for trial in range(1, TRIALS):
        tuning.cache.unlink(missing_ok=True)
        c_file = directory / f"trial{trial}.c"
        tuning.emit(text, c_file, *options, compiler=tuning.compiler(trial))
        if kernels(c_file) in seen or tuning.compilations() == 0:
            continue
        seen.add(kernels(c_file))
        program = build_parts(context, c_file, directory / f"trial{trial}", "-march=native", "-fopenmp", optimise="-O0")
        try:
            check_same(results(directory, program, environment={"OMP_NUM_THREADS": "2"}), expected, bound)
        except Failure as failure:
            raise Failure(f"trial {trial}: {failure}") from None
        passed += 1
    return passed, 0, ""


def measures(context):
    """The real thing, on a network that is quickly compiled: later runs need no C compiler."""
    tuning = Tuning(context, "measures")
    directory = tuning.directory
    plain = emit_and_build_parts(context, SMALL, directory, "plain", "-O0", "--batch=8", optimise="-O1")
    write_case(directory, plain, SMALL, 1)
    first, second = directory / "first.c", directory / "second.c"
    text = tuning.emit(SMALL, first, "--batch=8", "--threads=1", compiler=context.compiler)
    check(re.search(r"tuning: \d+ of \d+ schedules changed, which saves \d", text), text)
    check(tuning.entries(), "nothing was kept")
    check(tuning.emit(SMALL, second, "--batch=8", "--threads=1") == "", "measured again")
    check(first.read_bytes() == second.read_bytes(), "the cache gives another program")
    program = build_parts(context, first, directory / "first", "-march=native", "-fopenmp")
    check_same(results(directory, program), results(directory, plain), 1e-5)


def keeps_model(context):
    """Where nothing is faster by more than the noise, the program is the one without --tune."""
    tuning = Tuning(context, "model")
    untuned, tuned = tuning.directory / "untuned.c", tuning.directory / "tuned.c"
    source = NETWORKS[0].read_text()
    emit(context, source, untuned, "--batch=4")
    for preferred, other in ((0, "0.00101"), (1, "0.001"), (1, "0.00102")):
        tuning.cache.unlink(missing_ok=True)
        text = tuning.emit(source, tuned, "--batch=4", compiler=tuning.compiler(preferred, other))
        check(re.search(r"tuning: 0 of \d+ schedules changed", text), text)
        check(kernels(tuned) == kernels(untuned), f"{other}: another program than without --tune")
    check(all(len(entry) == 5 for entry in tuning.entries()), "not five fields")


def without_option(context):
    """A cache in the default place is read and written with --tune only."""
    directory = context.directory("without")
    tuning = Tuning(context, "without", "tuning")
    home = {"XDG_CACHE_HOME": str(directory / "home"), "CC": str(tuning.compiler(1))}
    before, after, tuned = (directory / name for name in ("before.c", "after.c", "tuned.c"))
    source = directory / "small.cnn"
    source.write_text(SMALL)
    run([context.cnnc, "-o", before, source], environment=home)
    check(not (directory / "home").exists(), "a cache without --tune")
    run([context.cnnc, "--tune", "-o", tuned, source], environment=home)
    check((directory / "home" / "cnnc" / "tune").exists(), "no cache in the default place")
    run([context.cnnc, "-o", after, source], environment=home)
    check(before.read_bytes() == after.read_bytes(), "the cache is read without --tune")
    check(kernels(tuned) != kernels(before), "--tune changes nothing")


def keyed(context):
    """Entries of another processor, program or version do not count and stay."""
    tuning = Tuning(context, "keyed")
    output, compiler = tuning.directory / "out.c", tuning.compiler(1)
    tuning.emit(SMALL, output, compiler=compiler)
    first, program = tuning.entries(), output.read_bytes()
    tuning.emit(SMALL, output)
    for field in range(3):
        lines = ["\t".join(f"other {f}" if i == field else f for i, f in enumerate(entry)) for entry in first]
        tuning.cache.write_text("\n".join(["cnnc tuning 1", *lines]) + "\n")
        count = tuning.compilations()
        tuning.emit(SMALL, output, compiler=compiler)
        check(tuning.compilations() > count, f"other field {field}: not measured")
        check(output.read_bytes() == program, f"other field {field}: another program")
        found = ["\t".join(entry) for entry in tuning.entries()]
        check(found == [*lines, *("\t".join(entry) for entry in first)], f"entries are {found}")
    count = tuning.compilations()
    for option in ("--double", "--threads=3", "--batch=5", "--target=sse2"):
        tuning.emit(SMALL, output, option, compiler=compiler)
        check(tuning.compilations() > count, f"{option}: not measured")
        count = tuning.compilations()


def damaged(context):
    """A line that is none, or an answer that does not exist: a warning that names the place, and the right
    program."""
    tuning = Tuning(context, "damaged")
    output, compiler = tuning.directory / "out.c", tuning.compiler(1)
    tuning.emit(SMALL, output, compiler=compiler)
    good, program = tuning.cache.read_bytes(), output.read_bytes()
    lines = good.splitlines(keepends=True)
    answer = lines[1].rsplit(b"\t", 1)[0] + b"\t"
    for name, text, warning in [
        ("no fields", good + b"nonsense\n", len(lines) + 1),
        ("four fields", good + b"a\tb\tc\td\n", len(lines) + 1),
        ("six fields", good + b"a\tb\tc\td\te\tf\n", len(lines) + 1),
        ("empty fields", good + b"\t\t\t\t\n", len(lines) + 1),
        ("zeros", good + bytes(1000) + b"\n", len(lines) + 1),
        ("no line end", good + b"x", len(lines) + 1),
        ("cut", good[:-1].rsplit(b"\t", 1)[0], len(lines)),
        ("no such answer", good + answer + b"direct; rm\n", len(lines) + 1),
        ("format", good + answer + b"%s%n%s\n", len(lines) + 1),
        ("impossible rows", good + answer + b"broadcast b:ic, -*1, oc*1000, -*3\n", len(lines) + 1),
        ("long", good + answer + b"x" * 100000 + b"\n", len(lines) + 1),
    ]:
        tuning.cache.write_bytes(text)
        said = tuning.emit(SMALL, output, compiler=compiler, cnnc=context.sanitized_cnnc)
        check(not SANITIZER_FINDING.search(said), f"{name}: {said}")
        check(f"warning: {tuning.cache}:{warning}: " in said, f"{name}: {said[:2000]}")
        check(output.read_bytes() == program, f"{name}: another program")
        tuning.emit(SMALL, output)


def refused(context):
    """What is no cache is an error and stays as it is; nothing is written."""
    tuning = Tuning(context, "refused")
    output = tuning.directory / "out.c"
    compiler = tuning.compiler(1)
    for name, text in [("text", b"precious\n"), ("other number", b"cnnc tuning 2\n"), ("binary", bytes(50)),
                       ("first line only begun", b"cnnc tuning")]:
        tuning.cache.write_bytes(text)
        said = tuning.emit(SMALL, output, compiler=compiler, status=2)
        check(f"error: {tuning.cache}:1: not a file of tuning results" in said, f"{name}: {said}")
        check(tuning.cache.read_bytes() == text, f"{name}: was changed")
    tuning.cache.unlink()
    tuning.cache.mkdir(exist_ok=True)
    check("is not a regular file" in tuning.emit(SMALL, output, compiler=compiler, status=2), "directory")
    tuning.cache.rmdir()
    tuning.cache = tuning.directory / "nowhere" / "cache"
    said = tuning.emit(SMALL, output, compiler=compiler, status=2)
    check(f"error: cannot write {tuning.cache}: No such file" in said, said)
    check(tuning.compilations() == 0, "measured for a cache that cannot be written")
    check(not output.exists(), "an output file was written")


def fuzzed(context, seed, count):
    """Bytes changed anywhere behind the first line: a program all the same."""
    tuning = Tuning(context, "fuzzed", seed)
    generator = random.Random(seed)
    output, compiler = tuning.directory / "out.c", tuning.compiler(1)
    tuning.emit(SMALL, output, compiler=compiler)
    good = tuning.cache.read_bytes()
    for _ in range(count):
        data = bytearray(good)
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(14, len(data))
            data[place : place + generator.randint(0, 2)] = generator.choice([b"\t", b"\n", b"\0", b"9", b"%n", b"-", b"*"])
        tuning.cache.write_bytes(data)
        said = tuning.emit(SMALL, output, compiler=compiler, cnnc=context.sanitized_cnnc)
        check(not SANITIZER_FINDING.search(said), f"{bytes(data)}\n{said}")


def broken_compiler(context):
    tuning = Tuning(context, "compiler")
    output = tuning.directory / "out.c"
    script = tuning.directory / "script"
    for compiler, program, message in [
        ("no-such-compiler -x", None, "no-such-compiler: No such file"),
        ("false", None, "false ended with status 1"),
        (script, "#!/bin/sh\necho complaint; exit 3\n", "ended with status 3:\ncomplaint"),
        (script, "#!/bin/sh\nkill -9 $$\n", "was ended"),
        (script, "#!/bin/sh\nexit 0\n", "the program that measures fails"),
        (script, COMPILER.replace("cp FAST", "cp /bin/false").replace("cp SLOW", "cp /bin/false"),
         "the program that measures fails"),
    ]:
        if program:
            write_script(script, program.replace("LOG", str(tuning.log)))
        said = tuning.emit(SMALL, output, compiler=compiler, status=2)
        check("error: --tune: " in said and message in said, said)
        check(not output.exists() and not tuning.cache.exists(), f"{compiler}: files were written")


def without_times(context):
    """Programs that print nonsense measure nothing: the model's choices stay."""
    tuning = Tuning(context, "times")
    untuned, output = tuning.directory / "untuned.c", tuning.directory / "out.c"
    emit(context, SMALL, untuned)
    for times in ("nan", "-1", "1e999999", "", "x" * 10000, "0"):
        tuning.cache.unlink(missing_ok=True)
        tuning.emit(SMALL, output, compiler=tuning.compiler(9, times), cnnc=context.sanitized_cnnc)
        check(kernels(output) == kernels(untuned), f"{times[:10]}: another program than without --tune")


def interrupted(context, number):
    """A signal while the compiler runs: that ends too, and nothing stays behind."""
    tuning = Tuning(context, "interrupted", number)
    script, started = tuning.directory / "script", tuning.directory / "started"
    started.unlink(missing_ok=True)
    write_script(script, f"#!/bin/sh\necho $$ > {started}.new; mv {started}.new {started}; sleep 100 & wait\n")
    source = tuning.directory / "source.cnn"
    source.write_text(SMALL)
    output = tuning.directory / "out.c"
    process = subprocess.Popen(
        [context.cnnc, "--tune", "--tune-file", tuning.cache, "-o", output, source],
        env={**os.environ, "CC": str(script), "TMPDIR": str(tuning.temporary)}, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))  # shells let what runs behind them ignore SIGINT
    while not started.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=60)
    check(process.returncode == -number, f"exit status {process.returncode}")
    check(not list(tuning.temporary.iterdir()), f"left behind: {list(tuning.temporary.iterdir())}")
    check(not output.exists() and not tuning.cache.exists(), "files were written")
    try:
        os.kill(int(started.read_text()), 0)
        raise Failure("the compiler still runs")
    except ProcessLookupError:
        pass


def cases(context):
    result = [Case("measures", measures, weight=8), Case("model's choice", keeps_model),
              Case("without --tune", without_option), Case("keys", keyed), Case("damaged cache", damaged),
              Case("not a cache", refused), Case("broken compiler", broken_compiler),
              Case("nonsense times", without_times)]
    result += [Case(f"signal {number}", interrupted, number) for number in (signal.SIGINT, signal.SIGTERM)]
    result += [Case(f"fuzzed cache {seed}", fuzzed, seed, 40) for seed in range(20 if context.long else 1)]
    for precision in PRECISIONS if context.long else PRECISIONS[1:]:
        result += [Case(f"{path.stem} {precision[0]}", agrees, path.stem, path.read_text(), precision, weight=5)
                   for path in NETWORKS]
    chosen = [(kind, text) for kind, text in samples(context) if kind in KINDS]
    for number, (kind, text) in enumerate(chosen):
        precision = PRECISIONS[number % 2]
        if context.long or number % 3 == 0:
            result.append(Case(f"{kind} {number} {precision[0]}", agrees, f"{kind}{number}", text + "\n", precision,
                               weight=2))
    return result
