"""Programs of small networks from two parts: what the network's file has of its own, and the runtime,
which is nearly all of that file, the same each time, and compiled once for each way to compile it.

For tests of many networks that are about what cnnc made of each. Whole files are compiled in examples,
train and robust, and for the main networks of targets and torch."""

import re

from harness import ROOT, STRICT, check, emit, made_once, run

MAIN = """
int run_program(const NetworkInfo *info, int argc, char **argv);

int main(int argc, char **argv) {
    return run_program(&network_info, argc, argv);
}
"""


def exported(text):
    """Pieces that are compiled by themselves have external linkage (runtime/api.h)."""
    return re.sub(r"^#define RUNTIME_API\b.*", "#define RUNTIME_API", text, flags=re.M)


def configuration(text):
    """The lines of an emitted file that say how its runtime is compiled."""
    found = re.search(r"^#define NETWORK_PREFIX .*\n((?:#define .*\n)*)", text, re.M)
    check(found, "the file has no configuration")
    return found.group(1)


def network_text(text):
    """An emitted file up to the table that the runtime knows the network by, and a main."""
    found = re.search(r"^static const NetworkInfo network_info = \{\n.*?^\};\n", text, re.M | re.S)
    check(found, "the file has no network_info")
    return exported(text[: found.end()]) + MAIN


def runtime_text(settings):
    """The skeleton of all emitted files with no network in it."""
    text = (ROOT / "runtime" / "skeleton.c").read_text()
    text = re.sub(r"^/\* cnnc:begin (\w+) \*/\n.*?^/\* cnnc:end \1 \*/\n", "", text, flags=re.M | re.S)
    text, count = re.subn(r"^int main\(.*?^}\n", "", text, flags=re.M | re.S)
    check(count == 1, "skeleton.c has no main")
    return settings + exported(text)


def make_runtime(path, command, text):
    source = path.with_suffix(".c")
    source.write_text(text)
    run([*command, f"-I{ROOT / 'runtime'}", "-c", source, "-o", path])


def build_parts(context, c_file, program, *flags, compiler=None, optimise="-O1"):
    """As harness.build."""
    text = c_file.read_text()
    command = [compiler or context.compiler, *STRICT, optimise, *flags]
    rest = runtime_text(configuration(text))
    runtime = made_once(context, lambda path: make_runtime(path, command, rest), command, rest)
    own = c_file.with_name(f"{c_file.stem}-network.c")
    own.write_text(network_text(text))
    run([*command, own, runtime, "-o", program, "-lm"])
    return program


def emit_and_build_parts(context, source, directory, name, *options, flags=(), compiler=None, optimise="-O1"):
    c_file = emit(context, source, directory / f"{name}.c", *options)
    return build_parts(context, c_file, directory / name, *flags, compiler=compiler, optimise=optimise)
