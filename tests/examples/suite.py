"""Every example, and every network of tests/networks: the same bytes each time, and a C file without
a warning from gcc or clang."""

import re

from harness import Case, Failure, ROOT, STRICT, check, emit, run

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
]


def compiles(context, c_file, *flags, optimise):
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
    compiles(context, first, optimise="-O1" if context.compiler == "gcc" and not big else "-O0")
    second.unlink()


def variant(context, path, options, flags):
    directory = context.directory(path.stem, *options, *flags)
    c_file = emit(context, path, directory / "net.c", *options)
    compiles(context, c_file, *flags, optimise="-O1")


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


LIBRARY_CALLER = r"""
#include "net.h"
int main(void) { return 0; }
"""


def header(context, path):
    """The library's header compiles, and the library links without a main of its own."""
    directory = context.directory(path.stem, "header")
    run([context.cnnc, "-o", directory / "net.c", "--header", directory / "net.h", path])
    (directory / "caller.c").write_text(LIBRARY_CALLER)
    run([context.compiler, *STRICT, "-c", directory / "caller.c", "-o", directory / "caller.o"])
    run([context.compiler, *STRICT, "-O1", "-DCNNC_NO_MAIN", "-c", directory / "net.c", "-o", directory / "net.o"])
    run([context.compiler, directory / "caller.o", directory / "net.o", "-o", directory / "caller", "-lm"])
    run([directory / "caller"])


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
    result += [Case(f"{path.name} as a library", header, path) for path in (lenet, resnet)]
    return result
