"""Every layer kind by itself, from the samples that its row in the compiler gives.

For each sample: the derivatives of the -O0 and of the optimised program agree with finite differences
(double precision), and outputs, loss and gradients of the optimised programs in double precision and in
float agree with those of -O0 in double. Then the main layers against plain sums over indices (oracle.py)."""

import pathlib
import sys

import numpy as np

import tensors
from agreement import PRECISIONS, check_same, info_shape, results, samples, write_case
from harness import Case, Failure, ROOT, check, layer_kinds, run
from parts import emit_and_build_parts

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import oracle  # noqa: E402


def run_sample(context, kind, text, index):
    """One test for the finite differences of each program in double, one for each precision."""
    directory = context.directory(kind, index)
    source = directory / "sample.cnn"
    source.write_text(text + "\n")

    def make(name, *options):
        return emit_and_build_parts(context, source, directory, name, *options, "--batch=4", flags=["-march=native"],
                                    optimise="-O0")

    plain = make("plain", "--double", "-O0")
    write_case(directory, plain, text, index)
    run([plain, "gradcheck"])
    expected, passed, problems = results(directory, plain), 1, []
    for precision, options, bound in PRECISIONS:
        try:
            program = make(precision, *options)
            if precision == "double":
                run([program, "gradcheck"])
                passed += 1
            check_same(results(directory, program), expected, bound)
            passed += 1
        except Failure as failure:
            problems.append(f"{precision}: {text}\n{failure}")
    return passed, len(problems), "\n".join(problems)


# Every way to compile a whole network must agree with -O0: options of cnnc, flags of the C compiler. The
# targets have a suite of their own.
WAYS = [
    ([], ["-march=native"]), (["-fno-fuse"], ["-march=native"]), (["-fno-vectorise"], []),
    (["-fno-parallelise"], []), (["-fno-fold"], ["-march=native"]),
    (["--target=avx512"], []),  # vectors wider than the machine's: the C compiler splits them
]
# Those that depend on the length of vectors; the others are tested in double alone, in float with --long.
VECTOR_WAYS = [way for way in WAYS if way[0] not in (["-fno-parallelise"], ["-fno-fold"])]
NETWORKS = ["vgg_small", "resnet_small", "dense_small", "heads_small", "train_small"]


# The same for networks whose layers are worth Winograd's algorithm.
WINOGRAD_NETWORKS = ["winograd_small", "moments_small", "padded_small"]
WINOGRAD_WAYS = [
    ([], ["-march=native"]), (["--threads=1"], ["-march=native"]), (["--threads=3"], ["-march=native"]),
    (["-fno-winograd"], ["-march=native"]), (["-fno-pad"], ["-march=native"]), (["--target=sse2"], []),
]
# Fewer examples than threads, which then share tiles or groups of channels of each.
FEW_WAYS = [([f"--threads={threads}"], ["-march=native", "-fopenmp"]) for threads in (2, 3, 4, 8)]
# And for one whose vectors are examples, where a batch fills these.
ROWS_WAYS = [
    ([], ["-march=native"]), (["--threads=1"], ["-march=native"]), (["--threads=2"], ["-march=native", "-fopenmp"]),
    (["-fno-winograd"], ["-march=native"]), (["-fno-shard"], ["-march=native"]), (["--target=sse2"], []),
]


def ways_agree(context, network, precision, options, bound, ways, optimise, batch=4):
    directory = context.directory("ways", network, precision)
    source = ROOT / "tests" / "networks" / f"{network}.cnn"
    text = source.read_text()
    size = f"--batch={batch}"
    plain = emit_and_build_parts(context, source, directory, "plain", "-O0", *options, size, optimise=optimise)
    write_case(directory, plain, text, 3, batch=batch - 1)
    expected, passed = results(directory, plain), 0
    for index, (way, flags) in enumerate(ways):
        name = f"way{index}"
        program = emit_and_build_parts(context, source, directory, name, *options, *way, size, flags=flags,
                                       optimise=optimise)
        try:
            check_same(results(directory, program), expected, bound)
        except Failure as failure:
            raise Failure(f"{' '.join(way)}: {failure}") from None
        passed += 1
    return passed, 0, ""


def threads_agree(context, network, batch=4):
    """However many threads share tiles and filters, the results have the same bits."""
    directory = context.directory("threads", network)
    source = ROOT / "tests" / "networks" / f"{network}.cnn"
    program = emit_and_build_parts(context, source, directory, "threads", f"--batch={batch}",
                                   flags=["-march=native", "-fopenmp"])
    write_case(directory, program, source.read_text(), 5, batch=batch - 1)
    one, three = (results(directory, program, environment={"OMP_NUM_THREADS": threads}) for threads in "13")
    for name, array in one.items():
        check(np.array_equal(array, three[name]), f"{name}: not the same with three threads as with one")


FAR = """input 1x28x28
net = CONV(16, 1x1, bias=false) - BN - GAP - FC(3)
"""


def normalises_far_from_zero(context):
    """Where the mean is a thousand times the deviation the variance loses no more digits than the rounding of the
    numbers themselves costs, whether the convolution gathers its sums or not."""
    directory = context.directory("far")
    source = directory / "far.cnn"
    source.write_text(FAR)
    programs = [emit_and_build_parts(context, source, directory, name, "--target=avx512", "--batch=4", *options)
                for name, options in (("exact", ["-O0", "--double"]), ("gathered", []), ("apart", ["-fno-fuse"]))]
    write_case(directory, programs[0], FAR, 1)
    np.save(directory / "x.npy", (np.load(directory / "x.npy") + 1000).astype(np.float32))
    exact, *found = (results(directory, program) for program in programs)
    for program, result in zip(programs[1:], found):
        error = tensors.error(result["bn1.weight"], exact["bn1.weight"])
        check(error <= 5e-3, f"{program.name}: the gradient of the scale differs by {error:.3g}")


def inference_agrees(context, network, options, bound):
    """--infer, which folds and shares what training must keep, gives the same outputs."""
    directory = context.directory("infer", network, *options)
    source = ROOT / "tests" / "networks" / f"{network}.cnn"
    programs = [emit_and_build_parts(context, source, directory, name, "--batch=4", *options, *more, optimise="-O0",
                               flags=["-march=native"])
                for name, more in (("whole", []), ("infer", ["--infer"]), ("infer-O0", ["--infer", "-O0"]))]
    write_case(directory, programs[0], source.read_text(), 4, batch=7)
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
            program = emit_and_build_parts(context, source, directory, name, *options, *level, "--batch=2",
                                           optimise="-O0")
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
            ways = WAYS if context.long or precision == "double" else VECTOR_WAYS
            result.append(Case(f"ways to compile {network}, {precision}", ways_agree, network, precision, options,
                               bound, ways, "-O0", weight=9))
            result.append(Case(f"--infer, {network}, {precision}", inference_agrees, network, options, bound))
    for precision, options, bound in PRECISIONS:
        for network in WINOGRAD_NETWORKS:
            result.append(Case(f"ways to compile {network}, {precision}", ways_agree, network, precision, options,
                               bound, WINOGRAD_WAYS, "-Og", weight=9))
        result.append(Case(f"few examples, winograd_small, {precision}", ways_agree, "winograd_small", precision,
                           options, bound, FEW_WAYS, "-Og", 2, weight=6))
        result.append(Case(f"ways to compile rows_small, {precision}", ways_agree, "rows_small", precision, options,
                           bound, ROWS_WAYS, "-Og", 32, weight=9))
    for network in WINOGRAD_NETWORKS:
        result.append(Case(f"{network}, threads", threads_agree, network))
    result.append(Case("rows_small, threads", threads_agree, "rows_small", 48))
    result.append(Case("normalisation far from zero", normalises_far_from_zero))
    result.append(Case("every kind has samples", every_kind_has_samples, found))
    return result
