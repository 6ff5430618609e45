"""Hostile input. Whatever it is: exit status 1 or 2, a message that says where and what, no output
file, and nothing found by the address and undefined-behaviour sanitizers."""

import gzip
import pathlib
import random
import re
import struct
import sys

import numpy as np

import tensors
from harness import Case, Failure, ROOT, SANITIZE, SANITIZER_FINDING, check, emit_and_build, run

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import descriptions  # noqa: E402

GOOD = "input 1x6x6\nnet good = CONV(2, 3x3) - RELU - FC(3) - SOFTMAX\n"
UNUSED = GOOD + "def spare = RELU\n"
SANITIZERS = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=1:allocator_may_return_null=1",
              "UBSAN_OPTIONS": "exitcode=99"}
PLACE = r"^[^\n]*:\d+:\d+: error: "


def run_hostile(command, statuses, directory=None):
    process = run(command, status=None, environment=SANITIZERS, directory=directory)
    text = process.stdout + process.stderr
    check(not SANITIZER_FINDING.search(text), text[-4000:])
    check(process.returncode in statuses,
          f"{' '.join(map(str, command))}\nexit status {process.returncode}, expected {statuses}\n{text[-2000:]}")
    return process


def bad_description(context, name, text, pattern):
    directory = context.directory("description", name)
    source, output = directory / "bad.cnn", directory / "out.c"
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    output.unlink(missing_ok=True)
    process = run_hostile([context.sanitized_cnnc, "-o", output, source], (1,))
    check(re.search(PLACE, process.stderr, re.M) or "error: " in process.stderr and len(text) < 20,
          f"no place in:\n{process.stderr[:2000]}")
    check(re.search(pattern, process.stderr), f"expected /{pattern}/ in:\n{process.stderr[:2000]}")
    check(not output.exists(), "an output file was written")
    check(len(process.stderr) < 200_000, f"{len(process.stderr)} bytes of messages")


def bad_usage(context, name, options, status, pattern):
    directory = context.directory("usage", name)
    (directory / "good.cnn").write_text(GOOD)
    (directory / "unused.cnn").write_text(UNUSED)
    before = sorted(directory.iterdir())
    words = [word.format(good="good.cnn", unused="unused.cnn") for word in options]
    process = run_hostile([context.sanitized_cnnc, *words], (status,), directory)
    check(re.search(pattern, process.stderr), f"expected /{pattern}/ in:\n{process.stderr[:2000]}")
    check(sorted(directory.iterdir()) == before, "an output file was written")


def include_cycle(context):
    directory = context.directory("cycle")
    (directory / "a.cnn").write_text('include "b.cnn"\n')
    (directory / "b.cnn").write_text('include "a.cnn"\n' + GOOD)
    process = run_hostile([context.sanitized_cnnc, directory / "a.cnn"], (1,))
    check(re.search(PLACE, process.stderr, re.M) and "a.cnn" in process.stderr, process.stderr)


def unreadable_output(context):
    """A failed compilation leaves an older output file as it was."""
    directory = context.directory("older output")
    output = directory / "out.c"
    output.write_text("older\n")
    (directory / "bad.cnn").write_text("input 3\nnet = FC(0)\n")
    run_hostile([context.sanitized_cnnc, "-o", output, directory / "bad.cnn"], (1,))
    check(output.read_text() == "older\n", "the older output file was changed")


def mutated(generator, data, others):
    """A few bytes changed, taken out, doubled, or spliced with another file."""
    data = bytearray(data)
    for _ in range(generator.randint(1, 6)):
        place = generator.randrange(len(data) + 1)
        length = generator.choice([1, 1, 2, 5, 30])
        kind = generator.randrange(5)
        if kind == 0 and place < len(data):
            data[place] = generator.choice([0, 10, 32, 40, 41, 45, 48, 57, 64, 123, 125, 255, generator.randrange(256)])
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[place : place + length] * generator.choice([1, 2, 50])
        elif kind == 3:
            other = generator.choice(others)
            start = generator.randrange(len(other) + 1)
            data[place:place] = other[start : start + length * 4]
        else:
            data[place:place] = generator.choice([b"99999999999999999999", b"-1", b"0", b"((", b"{", b"@x", b"*", b"1e999"])
    return bytes(data)


def fuzz_descriptions(context, seed, count):
    generator = random.Random(seed)
    directory = context.directory("fuzz", seed)
    files = [*sorted((ROOT / "examples").glob("*.cnn")), *sorted((ROOT / "tests" / "lit").rglob("*.cnn"))]
    texts = [path.read_bytes() for path in files if path.stat().st_size < 6000]
    texts += [text.encode() if isinstance(text, str) else text
              for _, text, _ in descriptions.BAD if len(text) < 3000]
    for index in range(count):
        source = directory / "fuzzed.cnn"
        source.write_bytes(mutated(generator, generator.choice(texts), texts))
        try:
            run_hostile([context.sanitized_cnnc, source], (0, 1))
        except Failure:
            source.rename(directory / f"failing-{index}.cnn")
            raise


class Program:
    """The emitted program of a small network, with sanitizers, and correct data for it."""

    def __init__(self, context, name):
        self.directory = context.directory("program", name)
        source = GOOD + "train { batch = 4 epochs = 1 }\ndata { format = idx  path = \"data\" }\n"
        self.program = emit_and_build(context, source, self.directory, "net", "--batch=4",
                                      flags=SANITIZE, optimise="-O1")
        run([self.program, "init", "--out", self.directory / "good.safetensors"])
        self.weights = tensors.read(self.directory / "good.safetensors")
        generator = np.random.default_rng(1)
        self.images = generator.integers(0, 256, (9, 6, 6)).astype(np.uint8)
        self.labels = generator.integers(0, 3, 9).astype(np.uint8)
        np.save(self.directory / "x.npy", generator.standard_normal((3, 1, 6, 6)).astype(np.float32))
        np.save(self.directory / "t.npy", np.array([0, 2, 1]))

    def path(self, name, data):
        path = self.directory / name
        path.write_bytes(data)
        return path

    def refuses(self, arguments, pattern, statuses=(1,)):
        process = run_hostile([self.program, *arguments], statuses, self.directory)
        check(re.search(pattern, process.stderr), f"expected /{pattern}/ in:\n{process.stderr[:2000]}")


def bad_weights(context):
    p = Program(context, "weights")
    good = p.weights
    def raw(header, body=b"", length=None):
        header = header if isinstance(header, bytes) else header.encode()
        return struct.pack("<Q", len(header) if length is None else length) + header + body
    entry = '{"conv1.weight":{"dtype":"%s","shape":%s,"data_offsets":[%s]}}'
    without = {n: t for n, t in good.items() if n != "conv1.bias"}
    files = [
        ("empty", b"", r"empty"),
        ("short", b"\0\0\0", r"empty"),
        ("foreign", b"PK\3\4" + bytes(200), r"foreign"),
        ("cut", tensors.encode(good)[:-5], r"cut"),
        ("length lies", raw("{}", length=2**63), r"length"),
        ("length beyond the file", raw("{}", length=1000), r"length"),
        ("not json", raw("hello"), r"json"),
        ("cut json", raw('{"conv1.weight":{"dtype"'), r"json"),
        ("deep json", raw("[" * 100000), r"json"),
        ("array", raw("[]"), r"array"),
        ("no tensors", raw("{}"), r"conv1\.weight(.|\n)*fc1\.bias"),
        ("type", raw(entry % ("BF17", "[2,1,3,3]", "0,72"), bytes(72)), r"BF17"),
        ("offsets outside", raw(entry % ("F32", "[2,1,3,3]", "0,7200000000"), bytes(72)), r"conv1"),
        ("offsets backwards", raw(entry % ("F32", "[2,1,3,3]", "72,0"), bytes(72)), r"conv1"),
        ("negative offsets", raw(entry % ("F32", "[2,1,3,3]", "-72,0"), bytes(72)), r"json"),
        ("shape overflows", raw(entry % ("F32", "[4294967296,4294967296,3,3]", "0,72"), bytes(72)), r"conv1"),
        ("negative shape", raw(entry % ("F32", "[-2,1,3,3]", "0,72"), bytes(72)), r"json"),
        ("fraction in shape", raw(entry % ("F32", "[2.5,1,3,3]", "0,72"), bytes(72)), r"."),
        ("shape and size differ", raw(entry % ("F32", "[2,1,3,3]", "0,68"), bytes(72)), r"conv1"),
        ("missing", tensors.encode(without), r"conv1\.bias"),
        ("extra", tensors.encode({**good, "conv9.weight": good["conv1.bias"]}), r"conv9\.weight"),
        ("misshaped", tensors.encode({**good, "fc1.weight": good["fc1.weight"].T}), r"fc1\.weight"),
        ("integers", tensors.encode({**good, "fc1.bias": np.zeros(3, np.int32)}), r"fc1\.bias"),
        ("all at once", tensors.encode({**without, "a.b": good["conv1.bias"], "fc1.weight": good["fc1.weight"].T}),
         r"(?s)(?=.*conv1\.bias)(?=.*a\.b)(?=.*fc1\.weight)"),
    ]
    for name, data, pattern in files:
        pattern = "bad\\.safetensors" if pattern.isalpha() and pattern.islower() and len(pattern) < 10 else pattern
        path = p.path("bad.safetensors", data)
        output = p.directory / "y.npy"
        output.unlink(missing_ok=True)
        try:
            p.refuses(["predict", "--weights", path, "--input", "x.npy", "--output", output], pattern)
        except Failure as failure:
            raise Failure(f"{name}: {failure}") from None
        check(not output.exists(), f"{name}: an output file was written")
    return len(files), 0, ""


def npy(header, body=b"", version=1):
    header = header.encode() + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + body


def bad_arrays(context):
    p = Program(context, "arrays")
    head = "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }"
    body = bytes(3 * 36 * 4)
    inputs = [
        ("empty", b""), ("foreign", b"hello world, this is text"), ("magic only", b"\x93NUMPY\1\0"),
        ("cut header", npy(head % ("<f4", "False", "(3, 1, 6, 6)"))[:30]),
        ("cut data", npy(head % ("<f4", "False", "(3, 1, 6, 6)"), body[:-1])),
        ("longer data", npy(head % ("<f4", "False", "(3, 1, 6, 6)"), body + b"x")),
        ("fortran order", npy(head % ("<f4", "True", "(3, 1, 6, 6)"), body)),
        ("big endian", npy(head % (">f4", "False", "(3, 1, 6, 6)"), body)),
        ("complex", npy(head % ("<c8", "False", "(3, 1, 6, 6)"), body * 2)),
        ("objects", npy(head % ("|O", "False", "(3, 1, 6, 6)"), body)),
        ("another shape", npy(head % ("<f4", "False", "(3, 1, 6, 5)"), body)),
        ("another rank", npy(head % ("<f4", "False", "(108, )"), body)),
        ("huge shape", npy(head % ("<f4", "False", "(4611686018427387904, 1, 6, 6)"), body)),
        ("huge product", npy(head % ("<f4", "False", "(4294967297, 4294967297, 4294967297)"), body)),
        ("negative shape", npy(head % ("<f4", "False", "(-3, 1, 6, 6)"), body)),
        ("no shape", npy("{'descr': '<f4', 'fortran_order': False}", body)),
        ("header length lies", b"\x93NUMPY\1\0\xff\xff{'descr'"),
        ("version", npy(head % ("<f4", "False", "(3, 1, 6, 6)"), body, version=9)),
    ]
    arguments = ["predict", "--weights", "good.safetensors", "--input", "bad.npy", "--output", "y.npy"]
    for name, data in inputs:
        p.path("bad.npy", data)
        try:
            p.refuses(arguments, r"bad\.npy")
        except Failure as failure:
            raise Failure(f"{name}: {failure}") from None
        check(not (p.directory / "y.npy").exists(), f"{name}: an output file was written")
    targets = [
        ("label too large", np.array([0, 3, 1]), r"3"), ("negative label", np.array([0, -1, 1]), r"-1"),
        ("another number of labels", np.array([0, 1]), r"2"), ("labels with a shape", np.zeros((3, 3), np.int64), r"t2\.npy"),
        ("too many", np.zeros(5, np.int64), r"5|batch"), ("fractions", np.array([0.5, 1, 2], np.float32), r"t2\.npy"),
        ("huge label", np.array([0, 2**40, 1]), r"1099511627776|t2\.npy"),
    ]
    for name, target, pattern in targets:
        np.save(p.directory / "t2.npy", target)
        try:
            p.refuses(["grad", "--weights", "good.safetensors", "--input", "x.npy", "--target", "t2.npy",
                       "--grads", "g.safetensors"], pattern)
        except Failure as failure:
            raise Failure(f"{name}: {failure}") from None
    np.save(p.directory / "many.npy", np.zeros((5, 1, 6, 6), np.float32))
    np.save(p.directory / "t5.npy", np.zeros(5, np.int64))
    p.refuses(["grad", "--weights", "good.safetensors", "--input", "many.npy", "--target", "t5.npy",
               "--grads", "g.safetensors"], r"batch|4")
    check(not (p.directory / "g.safetensors").exists(), "gradients were written")
    return len(inputs) + len(targets) + 1, 0, ""


def idx(array, magic=None, dims=None):
    dims = array.shape if dims is None else dims
    magic = 0x0800 + array.ndim if magic is None else magic
    return struct.pack(f">{1 + len(dims)}I", magic, *dims) + array.tobytes()


def bad_data_sets(context):
    p = Program(context, "data")
    images, labels = idx(p.images), idx(p.labels)
    wrong_label = p.labels.copy()
    wrong_label[3] = 7
    sets = [
        ("images empty", b"", labels), ("images cut", images[:-1], labels), ("images longer", images + b"x", labels),
        ("images foreign", b"GIF89a" + bytes(400), labels), ("labels empty", images, b""),
        ("labels cut", images, labels[:-1]), ("labels in place of images", labels, labels),
        ("images in place of labels", images, images), ("count lies", idx(p.images, dims=(10, 6, 6)), labels),
        ("count zero", idx(p.images[:0]), idx(p.labels[:0])),
        ("huge counts", idx(p.images, dims=(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)), labels),
        ("zero extent", idx(p.images, dims=(9, 0, 6)), labels), ("larger images", idx(np.zeros((9, 8, 8), np.uint8)), labels),
        ("fewer labels", images, idx(p.labels[:-1])), ("label too large", images, idx(wrong_label)),
        ("floats", idx(p.images, magic=0x0D03), labels),
        ("gzip cut", gzip.compress(images)[:-6], labels), ("gzip sum wrong", gzip.compress(images)[:-8] + bytes(8), labels),
        ("gzip empty", gzip.compress(b""), labels), ("gzip header only", gzip.compress(images)[:10], labels),
        ("gzip with a wrong block", gzip.compress(images)[:10] + b"\xff" * 50, labels),
        ("gzip of gzip", gzip.compress(gzip.compress(images)), labels),
    ]
    for index, (name, image_bytes, label_bytes) in enumerate(sets):
        data = p.directory / f"set{index}"
        data.mkdir()
        ending = ".gz" if image_bytes[:2] == b"\x1f\x8b" else ""
        for part in ("train", "t10k"):
            (data / f"{part}-images-idx3-ubyte{ending}").write_bytes(image_bytes)
            (data / f"{part}-labels-idx1-ubyte").write_bytes(label_bytes)
        try:
            p.refuses(["train", "--quiet", "--data", data, "--out", data / "run"], rf"set{index}|ubyte|train:|t10k:")
            p.refuses(["eval", "--weights", "good.safetensors", "--data", data], rf"set{index}|ubyte|train:|t10k:")
        except Failure as failure:
            raise Failure(f"{name}: {failure}") from None
        check(not list(data.glob("run/*.safetensors")), f"{name}: a checkpoint was written")
    good = p.directory / "good"
    good.mkdir()
    for part in ("train", "t10k"):
        (good / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (good / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    run([p.program, "train", "--quiet", "--data", good, "--out", good / "run"], environment=SANITIZERS)
    return len(sets) + 1, 0, ""


def bad_commands(context):
    p = Program(context, "commands")
    rows = [
        ([], 2, r"(?i)usage|command"), (["fly"], 2, r"fly"), (["predict"], 2, r"--weights|--input"),
        (["predict", "--weigths", "w"], 2, r"--weights"), (["predict", "--weights"], 2, r"--weights"),
        (["predict", "--weights", "none.safetensors", "--input", "x.npy"], 1, r"none\.safetensors"),
        (["predict", "--weights", ".", "--input", "x.npy"], 1, r"\."),
        (["predict", "--weights", "good.safetensors", "--input", "none.npy"], 1, r"none\.npy"),
        (["predict", "--weights", "good.safetensors", "--input", "."], 1, r"\."),
        (["predict", "--weights", "good.safetensors", "--input", "x.npy", "--output", "no/such/y.npy"], 1, r"no/such"),
        (["train", "--epochs", "-1"], 2, r"epochs"), (["train", "--epochs", "two"], 2, r"two"),
        (["train", "--batch", "-3"], 2, r"batch"), (["train", "--batch", "1000000"], 2, r"batch|4"),
        (["train", "--lr", "nan"], 2, r"lr|nan"), (["train", "--seed", "x"], 2, r"seed|x"),
        (["train", "--data", "none"], 1, r"none"), (["eval", "--data", "none", "--weights", "good.safetensors"], 1, r"none"),
        (["bench", "--batch", "0"], 2, r"batch"), (["step", "--steps", "0"], 2, r"steps|--"),
        (["init"], 2, r"--out"), (["init", "--out", "no/such/w.safetensors"], 1, r"no/such"),
    ]
    for arguments, status, pattern in rows:
        p.refuses(arguments, pattern, (status,))
    return len(rows), 0, ""


def fuzz_files(context, seed, count):
    """Weights, arrays and data sets with a few bytes changed: never more than an error message."""
    p = Program(context, f"fuzz{seed}")
    generator = random.Random(seed)
    weights, array = (p.directory / "good.safetensors").read_bytes(), (p.directory / "x.npy").read_bytes()
    data = p.directory / "set"
    data.mkdir()
    images, labels = gzip.compress(idx(p.images)), idx(p.labels)
    for index in range(count):
        p.path("f.safetensors", mutated(generator, weights[:700], [array]) + weights[700:])
        p.path("f.npy", mutated(generator, array[:150], [weights]) + array[150:])
        run_hostile([p.program, "predict", "--weights", "f.safetensors", "--input", "x.npy"], (0, 1), p.directory)
        run_hostile([p.program, "predict", "--weights", "good.safetensors", "--input", "f.npy"], (0, 1), p.directory)
        for part in ("train", "t10k"):
            (data / f"{part}-images-idx3-ubyte.gz").write_bytes(mutated(generator, images, [labels]))
            (data / f"{part}-labels-idx1-ubyte").write_bytes(labels)
        run_hostile([p.program, "eval", "--weights", "good.safetensors", "--data", "set"], (0, 1), p.directory)


def sanitized_training(context, name, options):
    """The small networks train and predict without a finding."""
    directory = context.directory("sanitized", name, *options)
    source = (ROOT / "tests" / "networks" / f"{name}.cnn").read_text()
    if "data {" not in source:
        source += "data { format = synthetic  count = 40 }\n"
    program = emit_and_build(context, source, directory, "net", "--batch=8", *options, flags=SANITIZE,
                             optimise="-O0")
    run_hostile([program, "train", "--quiet", "--epochs", "1", "--batch", "8", "--out", directory / "run"], (0,))
    run_hostile([program, "eval", "--weights", directory / "run" / "last.safetensors"], (0,))
    run_hostile([program, "info"], (0,))


def cases(context):
    fuzz_count = 2000 if context.long else 150
    result = [Case(f"description: {name}", bad_description, name, text, pattern)
              for name, text, pattern in descriptions.BAD]
    result += [Case(f"usage: {name}", bad_usage, name, options, status, pattern)
               for name, options, status, pattern in descriptions.USAGE]
    result += [Case("include cycle", include_cycle), Case("older output file", unreadable_output)]
    result += [Case(f"fuzzed descriptions {seed}", fuzz_descriptions, seed, fuzz_count, weight=3) for seed in (1, 2)]
    result += [Case(f"fuzzed files {seed}", fuzz_files, seed, fuzz_count // 3, weight=3) for seed in (1, 2)]
    result += [Case("weights", bad_weights, weight=2), Case("arrays", bad_arrays, weight=2),
               Case("data sets", bad_data_sets, weight=2), Case("command lines", bad_commands, weight=2)]
    for name in ("vgg_small", "resnet_small", "dense_small", "heads_small", "train_small"):
        for options in ([], ["-O0"]):
            result.append(Case(f"sanitized training of {name} {' '.join(options)}", sanitized_training, name, options,
                               weight=2))
    return result
