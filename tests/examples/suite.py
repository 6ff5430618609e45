"""Every example, and every network of tests/networks: the same bytes each time, and a C file without
a warning from gcc or clang."""

import pathlib
import re

from harness import Case, Failure, ROOT, SANITIZE, STRICT, check, emit, run
from parts import network_text

# Further settings of examples that have them; the plain one always runs.
SETTINGS = {
    "vgg.cnn": [["-DCONFIG=A"], ["-DCONFIG=ALRN"], ["-DCONFIG=C"], ["-DCONFIG=E"]],
    "resnet.cnn": [["-DDEPTH=50"], ["-DDEPTH=152"]],
    "lenet5.cnn": [["-Dfull=1"]],
}
# Ways to compile a small network: options of cnnc, flags of the C compiler.
VARIANTS = [
    (["-O0"], []), (["--double"], []), (["--infer"], []), (["--infer", "--double", "-O0"], []),
    ([], ["-DCNNC_NO_MAIN"]), (["--infer"], ["-DCNNC_NO_MAIN"]), ([], ["-fopenmp"]),
    ([], ["-fopenmp", "-march=native"]), (["-O0"], ["-fopenmp"]), (["--target=generic"], []),
    (["--target=sse2"], []), (["--target=avx2"], ["-mavx2", "-mfma"]),
    (["--target=avx512"], ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"]),
    (["--batch=1"], []), (["--batch=1000", "--threads=64"], []),
    (["-fno-fuse"], []), (["-fno-vectorise"], []), (["-fno-parallelise"], ["-fopenmp"]),
    (["-fno-layout"], []), (["-fno-winograd"], []), (["-fno-inplace", "-fno-update", "-fno-simplify", "-fno-recompute", "-fno-shard",
      "-fno-fold", "-fno-pad"], []),
]


def compiles(context, c_file, *flags, optimise):
    """gcc warns about some things only where it optimises, clang nearly always before it makes code."""
    if context.compiler == "clang" and not flags:
        run([context.compiler, *STRICT, "-fsyntax-only", c_file])
        return
    output = c_file.with_suffix(".o")
    run([context.compiler, *STRICT, optimise, *flags, "-c", c_file, "-o", output])
    output.unlink()


def example(context, path, settings):
    directory = context.directory(path.stem, *settings)
    first = emit(context, path, directory / "first.c", *settings)
    second = emit(context, path, directory / "second.c", *settings)
    check(first.read_bytes() == second.read_bytes(), "two runs gave different bytes")
    check(str(directory) not in first.read_text(), "the file names the place where it was written")
    big = first.stat().st_size > 600_000
    if context.compiler == "gcc" and not big:
        compiles(context, first, "-march=native", optimise="-O1")
    else:
        compiles(context, first, optimise="-O0")
    second.unlink()


def variant(context, path, options, flags):
    """Without the runtime, which is the same in all of them, but where the flags change that."""
    directory = context.directory(path.stem, *options, *flags)
    c_file = emit(context, path, directory / "net.c", *options)
    if "-DCNNC_NO_MAIN" not in flags:
        c_file.write_text(network_text(c_file.read_text()))
    compiles(context, c_file, *flags, optimise="-Og" if context.compiler == "gcc" else "-O0")


def passes_are_listed(context):
    """Every pass of the table has a variant above that switches it off."""
    table = (ROOT / "compiler" / "passes.def").read_text()
    names = set(re.findall(r'^PASS\(\w+, "([^"]+)"', table, re.M))
    switched = {option[5:] for options, _ in VARIANTS for option in options if option.startswith("-fno-")}
    check(names == switched, f"passes {sorted(names)}, switched off here {sorted(switched)}")


def full_speed(context, path):
    directory = context.directory(path.stem, "O3")
    c_file = emit(context, path, directory / "net.c")
    compiles(context, c_file, "-march=native", "-fopenmp", optimise="-O3")


def library(context, paths):
    """Two networks and two instances of each in one program; no writable data, no foreign names."""
    directory = context.directory("library")
    objects = []
    for path in paths:
        c_file, header = directory / f"{path.stem}.c", directory / f"{path.stem}.h"
        run([context.cnnc, "-o", c_file, "--header", header, path])
        objects.append(c_file.with_suffix(".o"))
        run([context.compiler, *STRICT, *SANITIZE, "-O0", "-DCNNC_NO_MAIN", "-c", c_file, "-o", objects[-1]])
        plain = directory / "plain.o"
        # Not position-independent: constants with addresses in them count as constants then.
        run([context.compiler, "-O0", "-fno-pie", "-DCNNC_NO_MAIN", "-c", c_file, "-o", plain])
        for line in run(["nm", "--defined-only", plain]).stdout.splitlines():
            _, kind, name = line.split()
            check(kind not in "BbDdC", f"{name} is writable ({kind})")
            check(kind.islower() or name.startswith(path.stem + "_"), f"{name} is exported")
    caller = pathlib.Path(__file__).with_name("two_networks.c")
    run([context.compiler, *STRICT, *SANITIZE, f"-I{directory}", caller, *objects, "-o", directory / "caller", "-lm"])
    run([directory / "caller"], directory=directory)


def folded(context, path, options, real):
    """Changed, loaded and trained parameters show in the next forward pass, and stay as they were."""
    directory = context.directory("folded", *options)
    c_file, header = directory / f"{path.stem}.c", directory / f"{path.stem}.h"
    run([context.cnnc, *options, "-o", c_file, "--header", header, path])
    caller = pathlib.Path(__file__).with_name("folded.c")
    run([context.compiler, *STRICT, *SANITIZE, "-O0", "-DCNNC_NO_MAIN", f"-DREAL={real}", f"-I{directory}",
         caller, c_file, "-o", directory / "caller", "-lm"])
    run([directory / "caller"], directory=directory)


def dot(context, path):
    directory = context.directory(path.stem, "dot")
    text = run([context.cnnc, "--dot", path]).stdout
    (directory / "net.dot").write_text(text)
    run(["dot", "-Tsvg", directory / "net.dot", "-o", directory / "net.svg"])


def man_page(context):
    text = run(["mandoc", "-Tlint", "-Wwarning", ROOT / "docs" / "cnnc.1"]).stdout
    check(not text.strip(), text)


def cases(context):
    examples = sorted((ROOT / "examples").glob("*.cnn"))
    networks = sorted((ROOT / "tests" / "networks").glob("*.cnn"))
    if not examples or not networks:
        raise Failure("no examples")
    lenet = ROOT / "examples" / "lenet5.cnn"
    resnet = ROOT / "tests" / "networks" / "resnet_small.cnn"
    result = []
    if context.compiler == "gcc":
        result += [Case("every pass has a variant", passes_are_listed), Case("man page", man_page)]
        result += [Case(f"{path.name} as a graph", dot, path) for path in examples]
    for path in examples + networks:
        for settings in [[], *SETTINGS.get(path.name, [])]:
            if context.compiler == "clang" and settings:
                continue
            name = f"{path.name} {' '.join(settings)}".strip()
            result.append(Case(name, example, path, settings, weight=3))
        if context.long:
            result.append(Case(f"{path.name} at -O3", full_speed, path, weight=9))
    for path in (lenet, resnet):
        for options, flags in VARIANTS:
            name = f"{path.name} {' '.join([*options, *flags])}"
            result.append(Case(name, variant, path, options, flags, weight=2))
    for options, real in ([], "float"), (["--infer"], "float"), (["--infer", "--double"], "double"), (
            ["-O0"], "float"):
        if context.compiler == "gcc":  # clang with sanitizers takes three quarters of a minute for one
            result.append(Case(f"parameters changed {' '.join(options)}", folded, resnet, options, real, weight=2))
    result.append(Case("two networks as libraries", library, (lenet, resnet), weight=9))
    return result
