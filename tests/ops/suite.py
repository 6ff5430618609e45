"""Every layer kind by itself, from the samples that its row in the compiler gives.

For each sample: the derivatives of the -O0 and of the optimised program agree with finite differences
(double precision), and outputs, loss and gradients of the optimised program agree with -O0, in double
precision and in float. Then the main layers against plain sums over indices (oracle.py)."""

import pathlib
import sys

import numpy as np

import tensors
from harness import Case, Failure, check, emit_and_build, layer_kinds, run

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import oracle  # noqa: E402

NEGLIGIBLE = 1e-2  # of the typical gradient, as in the comparison with PyTorch
# Name, options, bound of the difference from the first program of the list.
PRECISIONS = [
    ("double", ["--double"], 1e-10),
    ("float", [], 1e-5),
]


def samples(context):
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


def results(directory, program):
    """Output, loss and gradients of a program."""
    weights = ["--weights", directory / "w.safetensors", "--input", directory / "x.npy"]
    output, gradients = directory / f"{program.name}.npy", directory / f"{program.name}.safetensors"
    run([program, "predict", *weights, "--output", output])
    loss = run([program, "grad", *weights, "--target", directory / "t.npy", "--grads", gradients]).stdout
    found = tensors.read(gradients)
    return {"output": np.load(output), "loss": np.array([float(loss.split()[-1])]), **found}


def check_same(found, expected, bound):
    check(set(found) == set(expected), f"{sorted(found)}, expected {sorted(expected)}")
    floor = NEGLIGIBLE * tensors.typical([v for n, v in expected.items() if n not in ("output", "loss")])
    for name, array in expected.items():
        allowed = max(bound, 1e-8) if name == "loss" else bound
        error = tensors.error(found[name], array, 0.0 if name in ("output", "loss") else floor)
        check(error <= allowed, f"{name}: differs from -O0 by {error:.3g}, allowed {allowed:.3g}")


def run_sample(context, kind, text, index):
    """One test for finite differences, one for each precision."""
    directory = context.directory(kind, index)
    (directory / "sample.cnn").write_text(text + "\n")
    source = directory / "sample.cnn"
    passed, problems = 0, []
    for precision, options, bound in PRECISIONS:
        try:
            programs = [
                emit_and_build(context, source, directory, f"{precision}{level}", *options, *level.split(),
                               "--batch=4", flags=["-march=native"], optimise="-O0")
                for level in ("", " -O0")
            ]
            if precision == "double":
                run([programs[0], "init", "--out", directory / "init.safetensors"])
                initial = tensors.read(directory / "init.safetensors")
                tensors.write(directory / "w.safetensors", tensors.random_weights(initial, index))
                write_batch(directory, text, *info_shape(programs[0]))
                for program in programs:
                    run([program, "gradcheck"])
                    passed += 1
            optimised, plain = (results(directory, program) for program in programs)
            check_same(optimised, plain, bound)
            passed += 1
        except Failure as failure:
            problems.append(f"{precision}: {text}\n{failure}")
    return passed, len(problems), "\n".join(problems)


def run_oracle(context, text, function, index):
    directory = context.directory("oracle", index)
    passed = 0
    for precision, options, bound in PRECISIONS:
        for level in (["-O0"], []):
            name = f"{precision}{''.join(level)}"
            source = text + "\ntrain { loss = mse }\n"
            program = emit_and_build(context, source, directory, name, *options, *level, "--batch=2", optimise="-O0")
            run([program, "init", "--out", directory / "init.safetensors"])
            weights = tensors.random_weights(tensors.read(directory / "init.safetensors"), index)
            tensors.write(directory / "w.safetensors", weights)
            x = np.random.default_rng(index).standard_normal((2, *info_shape(program)[0])).astype(np.float32)
            np.save(directory / "x.npy", x)
            run([program, "predict", "--weights", directory / "w.safetensors", "--input",
                 directory / "x.npy", "--output", directory / "y.npy"])
            exact = {n: w.astype(np.float64) for n, w in weights.items()}
            expected = np.stack([function(example, exact) for example in x.astype(np.float64)])
            error = tensors.error(np.load(directory / "y.npy"), expected)
            check(error <= bound, f"{text}\n{name}: relative error {error:.3g}, allowed {bound:.3g}")
            passed += 1
    return passed, 0, ""


def every_kind_has_samples(context, found):
    missing = sorted(layer_kinds(context) - {kind for kind, _ in found})
    check(found and not missing, f"without samples: {' '.join(missing)}")


def cases(context):
    found = samples(context)
    if context.compiler != "gcc":  # the shorter pass: one sample of each kind
        first = {}
        for kind, text in found:
            first.setdefault(kind, text)
        return [Case(f"{kind}: {text}", run_sample, kind, text, 0) for kind, text in first.items()]
    result = [Case(f"{kind}: {text}", run_sample, kind, text, index) for index, (kind, text) in enumerate(found)]
    result += [
        Case(f"oracle: {text.splitlines()[1]}", run_oracle, text, function, index)
        for index, (text, function) in enumerate(oracle.CASES)
    ]
    result.append(Case("every kind has samples", every_kind_has_samples, found))
    return result
