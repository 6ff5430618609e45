"""Every layer kind by itself, from the samples that its row in the compiler gives.

For each sample: the derivatives of the -O0 and of the optimised program agree with finite differences
(double precision), and outputs, loss and gradients of the optimised program agree with -O0, in double
precision and in float. Then the main layers against plain sums over indices (oracle.py)."""

import pathlib
import sys

import numpy as np

import tensors
from harness import Case, Failure, ROOT, check, emit_and_build, layer_kinds, run

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import oracle  # noqa: E402

NEGLIGIBLE = 0.1  # of the typical gradient, as in the comparison with PyTorch
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


# Every way to compile a whole network must agree with -O0: options of cnnc, flags of the C compiler,
# what the CPU must have.
WAYS = [
    ([], ["-march=native"], ""), (["-fno-fuse"], ["-march=native"], ""), (["-fno-vectorise"], [], ""),
    (["-fno-parallelise"], [], ""), (["--target=generic"], [], ""), (["--target=sse2"], [], "sse2"),
    (["--target=avx2"], ["-mavx2", "-mfma"], "avx2"),
    (["--target=avx512"], ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"], "avx512vl"),
    (["--target=avx512"], [], ""),  # vectors wider than the machine's: the C compiler splits them
]
NETWORKS = ["vgg_small", "resnet_small", "dense_small", "heads_small", "train_small"]
CPU = pathlib.Path("/proc/cpuinfo").read_text() if pathlib.Path("/proc/cpuinfo").exists() else ""


def ways_agree(context, network, precision, options, bound):
    directory = context.directory("ways", network, precision)
    source = ROOT / "tests" / "networks" / f"{network}.cnn"
    text = source.read_text()
    plain = emit_and_build(context, source, directory, "plain", "-O0", *options, "--batch=4", optimise="-O0")
    run([plain, "init", "--out", directory / "init.safetensors"])
    weights = tensors.random_weights(tensors.read(directory / "init.safetensors"), 3)
    tensors.write(directory / "w.safetensors", weights)
    write_batch(directory, text, *info_shape(plain))
    expected, passed = results(directory, plain), 0
    for index, (way, flags, needs) in enumerate(WAYS):
        if needs and f" {needs} " not in CPU or precision == "double" and needs:
            continue
        name = f"way{index}"
        program = emit_and_build(context, source, directory, name, *options, *way, "--batch=4", flags=flags,
                                 optimise="-O0")
        try:
            check_same(results(directory, program), expected, bound)
        except Failure as failure:
            raise Failure(f"{' '.join(way)}: {failure}") from None
        passed += 1
    return passed, 0, ""


def inference_agrees(context, network, options, bound):
    """--infer, which folds and shares what training must keep, gives the same outputs."""
    directory = context.directory("infer", network, *options)
    source = ROOT / "tests" / "networks" / f"{network}.cnn"
    programs = [emit_and_build(context, source, directory, name, "--batch=4", *options, *more, optimise="-O0",
                               flags=["-march=native"])
                for name, more in (("whole", []), ("infer", ["--infer"]), ("infer-O0", ["--infer", "-O0"]))]
    run([programs[0], "init", "--out", directory / "init.safetensors"])
    weights = tensors.random_weights(tensors.read(directory / "init.safetensors"), 4)
    tensors.write(directory / "w.safetensors", weights)
    write_batch(directory, source.read_text(), *info_shape(programs[0]), batch=7)
    for program in programs:
        run([program, "predict", "--weights", directory / "w.safetensors", "--input", directory / "x.npy",
             "--output", directory / f"{program.name}.npy"])
    whole = np.load(directory / "whole.npy")
    for name in ("infer", "infer-O0"):
        error = tensors.error(np.load(directory / f"{name}.npy"), whole)
        check(error <= bound, f"{name}: outputs differ by {error:.3g}, allowed {bound:.3g}")
    run([programs[1], "train"], status=2)


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
    for network in NETWORKS:
        for precision, options, bound in PRECISIONS:
            result.append(Case(f"ways to compile {network}, {precision}", ways_agree, network, precision, options,
                               bound, weight=9))
            result.append(Case(f"--infer, {network}, {precision}", inference_agrees, network, options, bound))
    result.append(Case("every kind has samples", every_kind_has_samples, found))
    return result
