"""Whether two programs of one network agree: the same weights and batch for both, then outputs, loss and
every gradient compared. The files lie in the case's directory: w.safetensors, x.npy, t.npy."""

import numpy as np

import tensors
from harness import check, run

NEGLIGIBLE = 0.1  # of the typical gradient, as in the comparison with PyTorch
# Name, options, bound of the difference between any program and the one of -O0.
PRECISIONS = [
    ("double", ["--double"], 1e-10),
    ("float", [], 1e-5),
]


def samples(context):
    """(kind, description) of every sample that the layers' rows in the compiler give."""
    lines = run([context.cnnc, "--list-samples"]).stdout.splitlines()
    return [line.split("\t", 1) for line in lines]


def info_shape(program):
    """(input dims, output dims) as the program states them."""
    text = run([program, "info"]).stdout
    shapes = {}
    for line in text.splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[0] in ("input", "output") and words[1][0].isdigit():
            shapes.setdefault(words[0], tuple(int(e) for e in words[1].split("x")))
    check({"input", "output"} <= set(shapes), f"info does not state input and output:\n{text}")
    return shapes["input"], shapes["output"]


def write_batch(directory, text, input_shape, output_shape, batch=3):
    generator = np.random.default_rng(len(text))
    np.save(directory / "x.npy", generator.standard_normal((batch, *input_shape)).astype(np.float32))
    if "cross_entropy" in text or "loss" not in text:
        target = generator.integers(0, output_shape[0], (batch, *output_shape[1:]))
    else:
        target = generator.standard_normal((batch, *output_shape)).astype(np.float32)
    np.save(directory / "t.npy", target)


def write_case(directory, program, text, seed, batch=3):
    """Random weights and a batch for `program` and all others of the same description, `text`."""
    run([program, "init", "--out", directory / "init.safetensors"])
    initial = tensors.read(directory / "init.safetensors")
    tensors.write(directory / "w.safetensors", tensors.random_weights(initial, seed))
    write_batch(directory, text, *info_shape(program), batch)


def results(directory, program, emulator=(), environment=None):
    """Output, loss and gradients of a program; `emulator` is the command that runs one for another
    machine."""
    command = [*emulator, program]
    weights = ["--weights", directory / "w.safetensors", "--input", directory / "x.npy"]
    output, gradients = directory / f"{program.name}.npy", directory / f"{program.name}.safetensors"
    run([*command, "predict", *weights, "--output", output], environment=environment)
    loss = run([*command, "grad", *weights, "--target", directory / "t.npy", "--grads", gradients],
               environment=environment).stdout
    found = tensors.read(gradients)
    return {"output": np.load(output), "loss": np.array([float(loss.split()[-1])]), **found}


def check_same(found, expected, bound):
    check(set(found) == set(expected), f"{sorted(found)}, expected {sorted(expected)}")
    floor = NEGLIGIBLE * tensors.typical([v for n, v in expected.items() if n not in ("output", "loss")])
    for name, array in expected.items():
        allowed = max(bound, 1e-8) if name == "loss" else bound
        error = tensors.error(found[name], array, 0.0 if name in ("output", "loss") else floor)
        check(error <= allowed, f"{name}: differs from -O0 by {error:.3g}, allowed {allowed:.3g}")
