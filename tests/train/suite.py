"""Training end to end: it learns, it is reproducible, and it survives being killed."""

import gzip
import json
import pathlib
import re
import signal
import struct
import subprocess
import time

import numpy as np

import tensors
from harness import Case, Failure, ROOT, check, emit_and_build, run

SMALL = ROOT / "tests" / "networks" / "train_small.cnn"
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
OPENMP = ["-fopenmp", "-march=native"]


def build_small(context, directory, *options, source=SMALL, flags=OPENMP):
    return emit_and_build(context, source, directory, "net", *options, flags=flags)


def train(program, out, *options, threads=1, status=0):
    return run([program, "train", "--quiet", "--out", out, *options], status=status,
               environment={"OMP_NUM_THREADS": str(threads)})


def checkpoint(out, name="last"):
    return (out / f"{name}.safetensors").read_bytes()


def same_bytes(a, b, what):
    check(a == b, f"{what}: the checkpoints differ ({len(a)} and {len(b)} bytes)")


def repeats(context, options):
    directory = context.directory("repeats", *options)
    program = build_small(context, directory, *options)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(program, directory / name, "--seed", seed)
    same_bytes(checkpoint(directory / "a"), checkpoint(directory / "b"), "the same seed twice")
    check(checkpoint(directory / "a") != checkpoint(directory / "c"), "another seed gave the same weights")


def sharded():
    """The description without what lets the examples of a batch meet: its batch is cut into shards."""
    return SMALL.read_text().replace("- BN ", "")


def blocked_shards():
    """The same with channels that fill vectors, which is cut where --threads says how often; the
    last batch of an epoch is not full."""
    source = sharded().replace("CONV(6, 3x3)", "CONV(32, 3x3, pad=1) - RELU - CONV(16, 3x3, pad=1)")
    return source.replace("count = 600", "count = 610")


def source_name(source):
    return "" if source == SMALL else "blocked-shards" if source == blocked_shards() else "shards"


def check_shards(directory, name, expected):
    found = ".shards = " in (directory / f"{name}.c").read_text()
    check(found == expected, f"{name}: {'shards' if found else 'no shards'}")


def threads_agree(context, options, source=SMALL):
    directory = context.directory("threads", *options, source_name(source))
    program = build_small(context, directory, *options, source=source)
    check_shards(directory, "net", source != SMALL)
    for threads in (1, 2, 3):
        train(program, directory / str(threads), threads=threads)
        same_bytes(checkpoint(directory / "1"), checkpoint(directory / str(threads)), f"1 and {threads} threads")


def start(program, out, *options):
    return subprocess.Popen([program, "train", "--quiet", "--out", out, *options],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def interrupt(process, out, delay, how):
    """Sends the signal some time after the first checkpoint; false if the run was over before."""
    while process.poll() is None and not (out / "last.safetensors").exists():
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(how)
    _, errors = process.communicate()
    if process.returncode == 0:
        return False
    expected = 130 if how == signal.SIGINT else -signal.SIGKILL
    check(process.returncode == expected,
          f"exit status {process.returncode}, expected {expected}\n{errors.decode()[-2000:]}")
    return True


def resumes(context, how, optimizer):
    """A run that is stopped again and again, and one that is not."""
    directory = context.directory("resumes", how.name, optimizer)
    source = SMALL.read_text().replace("sgd(lr=0.05, momentum=0.9)", optimizer)
    check(optimizer in source, "the optimizer was not replaced")
    program = build_small(context, directory, source=source)
    epochs = 40
    while True:
        settings = ["--epochs", epochs]
        whole, stopped = directory / f"whole{epochs}", directory / f"stopped{epochs}"
        train(program, whole, *settings)
        hits, resume = 0, []
        for delay in (0.0, 0.03, 0.07, 0.15):
            process = start(program, stopped, *map(str, settings), "--save-every", "0.01", *resume)
            resume = ["--resume"]
            if not interrupt(process, stopped, delay, how):
                break
            hits += 1
        if hits >= 2:
            break
        epochs *= 4  # this machine was faster than the signals
        check(epochs <= 4 * 4 * 4 * 40, "the run ended before any signal arrived")
    train(program, stopped, *settings, "--resume")
    for name in ("last", "best"):
        same_bytes(checkpoint(whole, name), checkpoint(stopped, name), f"{name} after {hits} interruptions")
    leftovers = [p.name for p in stopped.iterdir() if p.suffix not in (".safetensors", ".state", ".json")]
    check(how != signal.SIGINT or not leftovers, f"left behind: {leftovers}")


def resumed_longer(context):
    """Three epochs, then two more, is five epochs."""
    directory = context.directory("longer")
    program = build_small(context, directory)
    train(program, directory / "five", "--epochs", 5)
    train(program, directory / "parts", "--epochs", 3)
    train(program, directory / "parts", "--epochs", 5, "--resume")
    same_bytes(checkpoint(directory / "five"), checkpoint(directory / "parts"), "3 + 2 epochs")


def log_goes_on(context, ending):
    directory = context.directory("log", ending)
    program = build_small(context, directory)
    log = directory / f"log{ending}"
    train(program, directory / "out", "--epochs", 2, "--log", log)
    first = log.read_text()
    train(program, directory / "out", "--epochs", 4, "--log", log, "--resume")
    text = log.read_text()
    check(text.startswith(first), "the resumed run rewrote the log")
    lines = text.splitlines()
    if ending == ".csv":
        check("epoch" in lines[0] and len(lines) >= 5, text)
        columns = {line.count(",") for line in lines}
        check(len(columns) == 1, f"lines of different length:\n{text}")
        check(sum("epoch" in line for line in lines) == 1, f"the heading stands more than once:\n{text}")
    else:
        epochs = [entry["epoch"] for entry in map(json.loads, lines) if "epoch" in entry]
        check(sorted(set(epochs)) in ([1, 2, 3, 4], [0, 1, 2, 3]), f"epochs {epochs}\n{text}")


def fashion_slice(directory, train_count, test_count):
    """The first images of Fashion-MNIST as plain IDX files."""
    directory.mkdir(exist_ok=True)
    for name, count in (("train", train_count), ("t10k", test_count)):
        for kind, dims in (("images-idx3", 3), ("labels-idx1", 1)):
            data = gzip.open(FASHION / f"{name}-{kind}-ubyte.gz").read()
            header = list(struct.unpack(f">{1 + dims}I", data[: 4 + 4 * dims]))
            item = int(np.prod(header[2:])) if dims > 1 else 1
            header[1] = count
            body = data[4 + 4 * dims : 4 + 4 * dims + count * item]
            (directory / f"{name}-{kind}-ubyte").write_bytes(struct.pack(f">{1 + dims}I", *header) + body)
    return directory


def percentage(text):
    found = re.search(r"(?:accuracy|top-1)\s+([0-9.]+) ?%", text)
    check(found, f"no accuracy in:\n{text}")
    return float(found.group(1))


def lenet_learns(context):
    directory = context.directory("lenet")
    data = fashion_slice(directory / "data", 3000, 600)
    program = emit_and_build(context, ROOT / "examples" / "lenet5.cnn", directory, "lenet5", flags=OPENMP,
                             optimise="-O2")
    out = train(program, directory / "run", "--data", data, "--epochs", 3).stdout
    accuracy = percentage(out)
    check(accuracy >= 60, f"accuracy {accuracy} % after three epochs, expected 60\n{out}")
    weights = directory / "run" / "last.safetensors"
    report = run([program, "eval", "--weights", weights, "--data", data, "--confusion", directory / "c.csv"]).stdout
    check(abs(percentage(report) - accuracy) < 0.51, f"train said {accuracy} %, eval:\n{report}")
    check((directory / "c.csv").read_text().strip(), "empty confusion matrix")


def small_learns(context, options):
    directory = context.directory("learns", *options)
    program = build_small(context, directory, *options)
    accuracy = percentage(train(program, directory / "out", "--epochs", 6).stdout)
    check(accuracy >= 80, f"accuracy {accuracy} % on synthetic data, expected 80")


def levels_agree(context, source=SMALL, options=()):
    """The same training at -O0 and optimised ends in nearly the same weights (double precision)."""
    directory = context.directory("levels", *options, source_name(source))
    found = []
    for name, options in (("plain", ["-O0", "--double"]), ("optimised", ["--double", *options])):
        program = emit_and_build(context, source, directory, name, *options, flags=OPENMP)
        check_shards(directory, name, name == "optimised" and source != SMALL)
        train(program, directory / f"out-{name}", "--epochs", 2)
        found.append(tensors.read(directory / f"out-{name}" / "last.safetensors"))
    for name in found[0]:
        if "." in name and not name.startswith("optimizer"):
            error = tensors.error(found[1][name], found[0][name], 1e-2)
            check(error < 1e-6, f"{name} differs by {error:.3g}")


def exchange_program(context, directory, name, *options):
    """Filters in whole blocks of every vector length, so that optimised programs keep them so."""
    source = SMALL.read_text().replace("CONV(6, 3x3)", "CONV(32, 3x3) - RELU - CONV(16, 3x3)")
    source = source.replace("sgd(lr=0.05, momentum=0.9)", "adam(lr=0.003)")
    check("CONV(32" in source and "adam" in source, "the network was not changed")
    return build_small(context, directory / name, "--double", *options, source=source)


def checkpoints_are_exchangeable(context):
    """Files do not tell how a program keeps its parameters: initial weights, checkpoints and what a
    program makes of another one's checkpoint are the same at -O0 and optimised."""
    directory = context.directory("exchange")
    programs = {}
    for name, options in (("plain", ["-O0"]), ("blocked", [])):
        (directory / name).mkdir(exist_ok=True)
        programs[name] = exchange_program(context, directory, name, *options)
    blocks = re.findall(r'"conv\d.weight", 4, \{[^}]*\}, (\d+),', (directory / "blocked" / "net.c").read_text())
    check(len(blocks) == 2 and min(map(int, blocks)) > 1, f"the weights are not in blocks: {blocks}")

    generator = np.random.default_rng(6)
    x, y = directory / "x.npy", directory / "y.npy"
    np.save(x, generator.standard_normal((4, 1, 12, 12)))
    np.save(y, generator.integers(0, 5, 4))
    initial = {}
    for name, program in programs.items():
        run([program, "init", "--out", directory / f"{name}.st"])
        initial[name] = (directory / f"{name}.st").read_bytes()
        train(program, directory / f"out-{name}", "--epochs", 1)
    same_bytes(initial["plain"], initial["blocked"], "initial weights")

    for maker in programs:
        made = directory / f"out-{maker}" / "last.safetensors"
        found = {}
        for name, program in programs.items():
            # Read and written without a step in between: nothing changes.
            copy = directory / f"{maker}-{name}.st"
            run([program, "step", "--weights", made, "--input", x, "--target", y, "--steps", 0, "--out", copy])
            expected, read = tensors.read(made), tensors.read(copy)
            for tensor in read:
                check(np.array_equal(read[tensor], expected[tensor]), f"{name} changed {maker}'s {tensor}")
            out = directory / f"out-{maker}-{name}"
            out.mkdir(exist_ok=True)
            (out / "last.safetensors").write_bytes(made.read_bytes())
            train(program, out, "--epochs", 2, "--resume")
            found[name] = tensors.read(out / "last.safetensors")
        for tensor in found["plain"]:
            error = tensors.error(found["blocked"][tensor], found["plain"][tensor], 1e-2)
            check(error < 1e-6, f"{tensor} differs by {error:.3g} after {maker}'s checkpoint was resumed")


def npy_data(context):
    directory = context.directory("npy")
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 5, 300)
    patterns = generator.standard_normal((5, 1, 12, 12))
    images = patterns[labels] + 0.3 * generator.standard_normal((300, 1, 12, 12))
    data = directory / "data"
    data.mkdir(exist_ok=True)
    for part, rows in (("train", slice(0, 240)), ("test", slice(240, 300))):
        np.save(data / f"{part}-x.npy", images[rows].astype(np.float32))
        np.save(data / f"{part}-y.npy", labels[rows])
    source = SMALL.read_text().replace("format = synthetic  count = 600", f'format = npy  path = "{data}"')
    program = build_small(context, directory, source=source)
    accuracy = percentage(train(program, directory / "out", "--epochs", 4).stdout)
    check(accuracy >= 90, f"accuracy {accuracy} %, expected 90")


def cases(context):
    if not FASHION.exists():
        raise Failure(f"{FASHION} is missing: `make deps` installs it")
    sgd, adam = "sgd(lr=0.02, momentum=0.9, nesterov=true)", "adam(lr=0.003)"
    return [
        Case("the same seed gives the same bytes", repeats, []),
        Case("the same seed gives the same bytes, -O0", repeats, ["-O0"]),
        Case("threads do not change the bytes", threads_agree, []),
        Case("threads do not change the bytes, -O0", threads_agree, ["-O0"]),
        Case("threads do not change the bytes, --double", threads_agree, ["--double"]),
        Case("threads do not change the bytes, shards", threads_agree, ["--target=sse2"], sharded()),
        Case("threads do not change the bytes, shards of blocked channels", threads_agree, ["--threads=2"],
             blocked_shards()),
        Case("killed and resumed, sgd", resumes, signal.SIGKILL, sgd, weight=5),
        Case("killed and resumed, adam", resumes, signal.SIGKILL, adam, weight=5),
        Case("interrupted and resumed, sgd", resumes, signal.SIGINT, sgd, weight=5),
        Case("interrupted and resumed, adam", resumes, signal.SIGINT, adam, weight=5),
        Case("resumed for more epochs", resumed_longer),
        Case("log in JSON lines", log_goes_on, ".jsonl"),
        Case("log in CSV", log_goes_on, ".csv"),
        Case("LeNet-5 learns Fashion-MNIST", lenet_learns, weight=5),
        Case("synthetic data is learnt", small_learns, []),
        Case("synthetic data is learnt, -O0", small_learns, ["-O0"]),
        Case("npy data is learnt", npy_data),
        Case("-O0 and optimised training agree", levels_agree),
        Case("-O0 and optimised training agree, shards", levels_agree, sharded()),
        Case("-O0 and optimised training agree, shards of blocked channels", levels_agree, blocked_shards(),
             ["--threads=2"]),
        Case("-O0 and optimised programs exchange checkpoints", checkpoints_are_exchangeable),
    ]
