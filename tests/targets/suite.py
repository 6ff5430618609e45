"""Every target of --target computes what the -O0 program of this machine computes: outputs, loss and all
gradients, within the bounds of the suite of the ops, compiled without a warning.

What this machine cannot run, because it is of another kind or lacks the instructions, runs under
qemu's user mode if that can; else the target is skipped, with the reason."""

import pathlib
import platform
import re
import shutil
from typing import NamedTuple

import numpy as np

from agreement import PRECISIONS, check_same, results, samples, write_case
from harness import Case, Failure, ROOT, Skipped, build, check, emit, run
from parts import build_parts

# Target, kind of machine as uname names it, flags of gcc and clang.
TARGETS = [
    ("avx512", "x86_64", ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"]),
    ("zen4", "x86_64", ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"]),
    ("avx2", "x86_64", ["-mavx2", "-mfma"]),
    ("sse2", "x86_64", ["-msse2"]),
    ("generic", "x86_64", []),
    ("neon", "aarch64", []),
    ("generic", "aarch64", []),
]
# The networks have to do: zen4 differs from avx512 in the choice of tiles only, and generic kernels are the same
# text for every machine.
NETWORKS_ONLY = {("zen4", "x86_64"), ("generic", "aarch64")}
# Kinds whose kernels follow the vectors of the target: of the first list every sample, of the second one
# each. --long takes all samples of all kinds.
ALL_SAMPLES_OF = {"CONV", "DWCONV", "FC"}
FIRST_SAMPLE_OF = {"MAXPOOL", "AVGPOOL", "BN", "LRN", "SOFTMAX", "GLU", "PRELU", "CONCAT", "MUL", "MAX", "DROPOUT"}
NETWORKS = [pathlib.Path(__file__).with_name("wide.cnn"),
            *sorted((ROOT / "tests" / "networks").glob("*_small.cnn"))]
# A largest batch of whole vectors of every target and one of none: the layout depends on it.
WHOLE_VECTORS, NO_VECTORS = 16, 5
WHOLE_VECTORS_NETWORKS = {"heads_small", "rows_small", "train_small"}
# See chosen_networks; their programs are optimised, and in float their files compiled as a whole.
MAIN_NETWORKS = {"wide", "resnet_small"}


class Tools(NamedTuple):
    """How programs for one target are built and run here."""

    target: str
    machine: str
    name: str  # of both, for messages and files
    compiler: str
    flags: list
    emulator: list  # the command that runs a program; empty where this machine does


def probe_source(flags):
    """A program that ends with 0 if the CPU has what the flags let the compiler use."""
    features = [flag[2:] for flag in flags if flag.startswith("-m")]
    lines = [f'    if (!__builtin_cpu_supports("{feature}"))\n        return 1;\n' for feature in features]
    return f"int main(void) {{\n{''.join(lines)}    return 0;\n}}\n"


def find_tools(context, target, machine, flags):
    """Raises Skipped where nothing here runs programs for the target."""
    native = machine == platform.machine()
    compiler = context.compiler if native else f"{machine}-linux-gnu-gcc"
    qemu = f"qemu-{machine}"
    if not shutil.which(compiler):
        raise Skipped(f"no {compiler}")
    # Static, so that nothing but the compiler is needed of the other machine.
    build_flags = ["-fopenmp", *flags, *([] if native else ["-static"])]
    probe = context.directory("probe") / f"{target}-{machine}"
    source = probe.with_suffix(".c")
    source.write_text(probe_source(flags))
    build(context, source, probe, *([] if native else ["-static"]), compiler=compiler)
    emulators = [[]] if native else []
    if shutil.which(qemu):
        emulators.append([qemu, "-cpu", "max"])
    elif not native:
        raise Skipped(f"no {qemu}")
    for emulator in emulators:
        if run([*emulator, probe], status=None).returncode == 0:
            return Tools(target, machine, f"{target}-{machine}", compiler, build_flags, emulator)
    raise Skipped(f"neither this CPU nor {qemu} has {' '.join(flag[2:] for flag in flags)}")


def compile_for(context, tools, source, directory, options, flags, build):
    c_file = emit(context, source, directory / f"{tools.name}.c", f"--target={tools.target}", *options)
    return build(context, c_file, directory / tools.name, *tools.flags, *flags[1:], compiler=tools.compiler,
                 optimise=flags[0])


def agrees(context, source, directory, precision, batches, flags, machines, thread_counts, build):
    """One test for each target: it agrees with -O0, with the same bits for each number of threads.
    `batches` are the largest one and that of the test, `build` makes programs of emitted files."""
    _, options, bound = precision
    options = [*options, f"--batch={batches[0]}"]
    plain = build_parts(context, emit(context, source, directory / "plain.c", "-O0", *options), directory / "plain")
    write_case(directory, plain, source.read_text(), len(source.stem), batches[1])
    expected, passed, problems = results(directory, plain), 0, []
    for tools in machines:
        try:
            program = compile_for(context, tools, source, directory, options, flags, build)
            found = [results(directory, program, tools.emulator, {"OMP_NUM_THREADS": str(threads)})
                     for threads in thread_counts]
            check_same(found[0], expected, bound)
            for name, array in found[0].items():
                check(all(np.array_equal(array, other[name]) for other in found[1:]),
                      f"{name} depends on the number of threads")
            passed += 1
        except Failure as failure:
            problems.append(f"{tools.name}, {precision[0]}: {failure}")
    return passed, len(problems), "\n".join(problems)


def sample_agrees(context, kind, text, index, precision, machines):
    machines = [tools for tools in machines if context.long or (tools.target, tools.machine) not in NETWORKS_ONLY]
    directory = context.directory(kind, index, precision[0])
    source = directory / "sample.cnn"
    source.write_text(text + "\n")
    batches = (WHOLE_VECTORS, WHOLE_VECTORS if index % 2 else 3)
    return agrees(context, source, directory, precision, batches, ["-O0"], machines, [2], build_parts)


def network_agrees(context, source, precision, machines):
    directory = context.directory(source.stem, precision[0])
    main = source.stem in MAIN_NETWORKS
    # gcc contracts a*b + c unless -std=c11 is given, and users do not give it; it does so where it optimises.
    flags = ["-O3" if context.long else "-O1" if main else "-Og", "-ffp-contract=fast"]
    batches = (WHOLE_VECTORS, 9) if source.stem in WHOLE_VECTORS_NETWORKS else (NO_VECTORS, 3)
    return agrees(context, source, directory, precision, batches, flags, machines, [1, 3],
                  build if main and precision[0] == "float" else build_parts)


def skip(context, reason):
    raise Skipped(reason)


def every_target_is_here(context):
    """The targets that cnnc knows are those above."""
    line = re.search(r"^Targets: native, (.*)$", run([context.cnnc, "--help"]).stdout, re.M)
    known = set(re.sub(r" *\([^)]*\)", "", line.group(1)).split(", "))
    check(known == {row[0] for row in TARGETS}, f"cnnc knows {sorted(known)}")


def chosen_samples(context):
    seen = set()
    for index, (kind, text) in enumerate(samples(context)):
        if context.long or kind in ALL_SAMPLES_OF or kind in FIRST_SAMPLE_OF and kind not in seen:
            yield index, kind, text
        seen.add(kind)


def chosen_networks(context):
    """All in float with gcc, the main ones also in double and also with clang."""
    for source in NETWORKS:
        for precision in PRECISIONS:
            usual = [source.stem in MAIN_NETWORKS, precision[0] == "float", context.compiler == "gcc"]
            if context.long or sum(usual) >= 2:
                yield source, precision


def cases(context):
    machines, result = [], [Case("every target is here", every_target_is_here)]
    for target, machine, flags in TARGETS:
        if context.compiler != "gcc" and machine != platform.machine():
            continue  # the cross compiler is gcc, and the pass with gcc ran it
        try:
            machines.append(find_tools(context, target, machine, flags))
        except Skipped as reason:
            result.append(Case(f"{target} on {machine}", skip, str(reason)))
    result += [Case(f"{source.stem}, {precision[0]}", network_agrees, source, precision, machines, weight=9)
               for source, precision in chosen_networks(context)]
    if context.compiler == "gcc":
        result += [Case(f"{kind}: {text}, {precision[0]}", sample_agrees, kind, text, index, precision, machines)
                   for index, kind, text in chosen_samples(context)
                   for precision in PRECISIONS if context.long or precision[0] == "float"]
    return result
