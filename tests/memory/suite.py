"""Memory: recomputation and updates within the backward pass change how much is needed and nothing
else, and the report tells the truth."""

import json
import re

import numpy as np

import tensors
from harness import Case, Failure, ROOT, check, emit_and_build, run
from parts import emit_and_build_parts

NETWORKS = ROOT / "tests" / "networks"
EQUAL = ["dense_small", "resnet_small", "vgg_small"]  # those that keep more than scratch memory takes
NATIVE = ["-fopenmp", "-march=native"]
# Everything that could go wrong when it runs twice: random layers, running statistics, merges that
# read a kernel's result next to it, products before sums, branches, views.
MIXED = """input 2x10x10
def gate    = MUL{ID, GAP - FC(6) - SIGMOID - RESHAPE(6x1x1)}
def unit    = ADD{ID, MUL{CONV(6, 3x3, pad=1) - BN - TANH, ID}} - BN(affine=false) - RELU - DROPOUT(0.3)
net mixed = CONV(6, 3x3) - BN - RELU - unit - gate - ADD{unit, MUL{ID, ID}} - LRN(n=3)
          - CONCAT{AVGPOOL(2x2), MAXPOOL(2x2)} - CONV(8, 3x3) - PRELU - DROPOUT(0.2) - FC(9) - TANH
          - FC(4)
train { loss = cross_entropy  optimizer = sgd(lr=0.05, momentum=0.9)  batch = 6 }
"""
OPTIMIZERS = {
    "sgd": "sgd(lr=0.05, weight_decay=1e-3)",
    "momentum": "sgd(lr=0.05, momentum=0.9, weight_decay=1e-3)",
    "nesterov": "sgd(lr=0.05, momentum=0.9, nesterov=true)",
    "adam": "adam(lr=0.002, weight_decay=1e-3)",
}
OPTIONS = {"": [], "-O0": ["-O0"], "-fno-fuse": ["-fno-fuse"], "--double": ["--double"],
           "generic": ["--target=generic"]}


def report(context, source, *options):
    command = [context.cnnc, *options, "--report=json", "-"]
    return json.loads(run(command, text=source).stdout)


def tightest(context, source, options):
    """The least --mem that recomputation reaches, as the message about an impossible one says."""
    memory = report(context, source, *options)["memory"]
    limit = f"--mem={memory['peak_infer']}"
    errors = run([context.cnnc, *options, limit, "-"], text=source, status=None).stderr
    found = re.search(r"brings (\d+) bytes down to (\d+)", errors)
    check(found, f"nothing about recomputation with {limit}:\n{errors}")
    check(int(found.group(1)) == memory["peak_train"], f"{found.group(0)}, reported {memory['peak_train']}")
    return int(found.group(2))


def write_batch(directory, program, batch=5):
    shapes = {line.split()[0]: line.split()[1] for line in run([program, "info"]).stdout.splitlines()[:3]}
    generator = np.random.default_rng(3)
    dims = [int(extent) for extent in shapes["input"].split("x")]
    np.save(directory / "x.npy", generator.standard_normal((batch, *dims)).astype(np.float32))
    classes, *space = [int(extent) for extent in shapes["output"].split("x")]
    np.save(directory / "t.npy", generator.integers(0, classes, (batch, *space)))


def results(directory, program):
    """Losses, gradients with that of the input, and weights after some steps with random layers."""
    batch = ["--weights", directory / "w.safetensors", "--input", directory / "x.npy", "--target",
             directory / "t.npy"]
    found = {}
    gradients, weights = (directory / f"{program.name}-{what}.safetensors" for what in ("g", "w"))
    found["loss"] = run([program, "grad", *batch, "--grads", gradients]).stdout
    found["losses"] = run([program, "step", *batch, "--steps", 4, "--random", "--out", weights]).stdout
    for what, path in (("gradient", gradients), ("weights", weights)):
        found.update({f"{what} {name}": array.tobytes() for name, array in tensors.read(path).items()})
    return found


def check_equal(found, expected):
    check(set(found) == set(expected), f"{sorted(found)}, expected {sorted(expected)}")
    different = [name for name in expected if found[name] != expected[name]]
    check(not different, f"differs from the plain program: {different}")


def recomputed_is_equal(context, name, source, options):
    """With the least memory that recomputation reaches, and half way to it: the same bits."""
    directory = context.directory("equal", name, *options)
    full = report(context, source, *options)["memory"]["peak_train"]
    least = tightest(context, source, options)
    plain = emit_and_build_parts(context, source, directory, "plain", *options, flags=NATIVE, optimise="-Og")
    run([plain, "init", "--out", directory / "w.safetensors"])
    write_batch(directory, plain)
    expected = results(directory, plain)
    for limit in (least, (least + full) // 2):
        memory = report(context, source, *options, f"--mem={limit}")["memory"]
        check(memory["recomputed"] and memory["peak_train"] <= limit, f"--mem={limit}: {memory}")
        program = emit_and_build_parts(context, source, directory, f"mem{limit}", *options, f"--mem={limit}",
                                       flags=NATIVE, optimise="-Og")
        check_equal(results(directory, program), expected)


CHEAP = """input 3x32x32
def block(k) = ADD{ID, CONV(k, 3x3, pad=1)-BN-RELU - CONV(k, 3x3, pad=1)-BN} - RELU
net cheap = CONV(64, 3x3, pad=1)-BN-RELU - block(64)*3 - CONV(64, 3x3, pad=1)-BN-RELU - GAP - FC(4)
train { loss = cross_entropy  optimizer = sgd(lr=0.05, momentum=0.9)  batch = 6 }
"""


def cheaply_is_equal(context, *options):
    """What is made again without a limit: normalisation and what follows it, at less memory, with the same
    bits. Small tensors stay, and -fno-recompute keeps everything."""
    directory = context.directory("cheap", *options)
    memory, full = (report(context, CHEAP, *options, flag)["memory"] for flag in ("-frecompute", "-fno-recompute"))
    check(memory["peak_train"] < 0.95 * full["peak_train"], f"{memory}, without {full}")
    check("bn2" in memory["recomputed"] and not full["recomputed"], f"{memory}, without {full}")
    check(not any(name.startswith("conv") for name in memory["recomputed"]), f"{memory}")
    small = report(context, CHEAP, *options, "--batch=1")["memory"]
    check(not small["recomputed"], f"{small}")
    kept = emit_and_build_parts(context, CHEAP, directory, "kept", "-fno-recompute", *options, flags=NATIVE)
    again = emit_and_build_parts(context, CHEAP, directory, "again", *options, flags=NATIVE)
    run([kept, "init", "--out", directory / "w.safetensors"])
    write_batch(directory, kept)
    check_equal(results(directory, again), results(directory, kept))


def in_place_is_equal(context, name, source):
    """Results in the memory of an input: the same bits, in evaluation as well."""
    directory = context.directory("inplace", name)
    apart = emit_and_build_parts(context, source, directory, "apart", "-fno-inplace", flags=NATIVE, optimise="-Og")
    shared = emit_and_build_parts(context, source, directory, "shared", flags=NATIVE, optimise="-Og")
    run([apart, "init", "--out", directory / "w.safetensors"])
    write_batch(directory, apart)
    found = []
    for program in (apart, shared):
        output = directory / f"{program.name}.npy"
        run([program, "predict", "--weights", directory / "w.safetensors", "--input", directory / "x.npy",
             "--output", output])
        found.append({**results(directory, program), "output": output.read_bytes()})
    check_equal(found[1], found[0])


def deep_chain(context):
    """A chain of n equal layers needs memory for about 2*sqrt(n) of them, each run twice at most."""
    layers = 64
    source = f"input 4x32x32 net = (CONV(4, 3x3, pad=1) - TANH)*{layers} - GAP - FC(2)"
    full = report(context, source, "--batch=4")
    least = tightest(context, source, ["--batch=4"])
    memory = report(context, source, "--batch=4", f"--mem={least}")["memory"]
    one = 4 * 4 * 4 * 32 * 32
    check(memory["peak_train"] < 26 * one, f"{memory['peak_train'] / one:.1f} activations, of {layers}")
    check(memory["recomputed_flops"] < full["totals"]["flops"], f"{memory['recomputed_flops']}")
    check(len(set(memory["recomputed"])) == len(memory["recomputed"]), "a layer runs three times")


def updates_agree(context, name, optimizer):
    """Weights that change in the kernel of their gradient end as those that change after it."""
    directory = context.directory("updates", name)
    source = ("input 2x7x6 net updates = CONV(4, 3x3) - RELU - FC(37) - TANH - DROPOUT(0.2) - FC(18, bias=false)"
              f" - TANH - FC(5) train {{ loss = cross_entropy  optimizer = {optimizer}  batch = 7 }}")
    found = []
    for name, option in (("fused", "-fupdate"), ("apart", "-fno-update")):
        program = emit_and_build_parts(context, source, directory, name, option, "--double", flags=NATIVE,
                                       optimise="-Og")
        if not found:
            run([program, "init", "--out", directory / "w.safetensors"])
            write_batch(directory, program)
        found.append(directory / f"{name}-w.safetensors")
        results(directory, program)
    fused, apart = map(tensors.read, found)
    check(set(fused) == set(apart), f"{sorted(fused)}, expected {sorted(apart)}")
    for name, array in apart.items():
        error = tensors.error(fused[name], array)
        check(error < 1e-12, f"{name} differs by {error:.3g}")


# Networks of some megabytes, and a small one for which only the slack counts.
RESIDENT = {
    "residual": """input 3x32x32
        def block(k) = ADD{ID, CONV(k, 3x3, pad=1)-BN-RELU - CONV(k, 3x3, pad=1)-BN} - RELU
        net residual = CONV(32, 3x3, pad=1)-BN-RELU - block(32)*3 - MAXPOOL(2x2) - CONV(64, 3x3, pad=1)-BN-RELU
                     - block(64)*2 - GAP - FC(10)
        train { loss = cross_entropy  optimizer = sgd(lr=0.01, momentum=0.9)  batch = 32 }""",
    "connected": """input 1x28x28
        net connected = FC(2000)-RELU - FC(1500)-RELU - FC(10)
        train { loss = cross_entropy  optimizer = adam(lr=0.001)  batch = 16 }""",
    "map": """input 8x96x96
        net map = CONV(16, 3x3, pad=1)-RELU - CONV(16, 5x5, pad=2)-SIGMOID - CONV(8, 1x1)
        train { loss = mse  optimizer = sgd(lr=0.01)  batch = 16 }""",
    "small": """input 1x12x12 net small = CONV(4, 3x3) - RELU - FC(3)
        train { loss = cross_entropy  optimizer = sgd(lr=0.01)  batch = 4 }""",
}
RESIDENT_SHARE = 0.05
RESIDENT_SLACK = 0.4e6  # bytes: pages that are not full, the commands' own


def peak_bytes(program, threads):
    """The largest resident memory of a run that evaluates and trains, before the machine is measured."""
    environment = {"OMP_NUM_THREADS": str(threads)}
    return json.loads(run([program, "bench", "--json"], environment=environment).stdout)["peak_bytes"]


def resident_is_reported(context):
    """What a process takes beyond a network of nothing is the report's peak."""
    directory = context.directory("resident")
    nothing = "input 1 net nothing = FC(1) train { loss = mse  batch = 1 }"
    empty = emit_and_build(context, nothing, directory, "nothing", flags=NATIVE)
    own = {threads: peak_bytes(empty, threads) for threads in (1, 2)}
    for name, source in RESIDENT.items():
        program = emit_and_build(context, source, directory, name, flags=NATIVE)
        memory = report(context, source)["memory"]
        expected = max(memory["peak_train"], memory["peak_infer"])
        for threads in (1, 2):
            found = peak_bytes(program, threads) - own[threads]
            allowed = RESIDENT_SHARE * expected + RESIDENT_SLACK
            check(abs(found - expected) <= allowed,
                  f"{name}, {threads} threads: takes {found / 1e6:.2f} MB, reported {expected / 1e6:.2f} MB")


def cases(context):
    networks = {name: (NETWORKS / f"{name}.cnn").read_text() for name in EQUAL}
    networks["mixed"] = MIXED
    return [
        *(Case(f"recomputed {name} {what}".rstrip(), recomputed_is_equal, name, source, options)
          for name, source in networks.items() for what, options in OPTIONS.items()
          if not options or context.long or name == "mixed"),
        *(Case(f"cheap {' '.join(options)}".rstrip(), cheaply_is_equal, *options)
          for options in ([], ["--double"], ["-fno-fuse"])),
        *(Case(f"in place {name}", in_place_is_equal, name, source) for name, source in networks.items()),
        Case("memory of a deep chain", deep_chain),
        Case("resident memory", resident_is_reported, weight=9),
        *(Case(f"updates in the gradient's kernel, {name}", updates_agree, name, optimizer)
          for name, optimizer in OPTIMIZERS.items()),
    ]
