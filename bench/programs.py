"""What is compared: cnnc's two programs, PyTorch in two layouts, ONNX Runtime, Darknet, tiny-dnn.

Every one runs a network in a process of its own, given as a command whose last line of output is
one JSON object: forward_ms and train_ms per batch (either may be missing) and peak_bytes. Programs
with the same title are variants of one contender, of which the best counts.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parent
ROOT = BENCH.parent
# Debian's: python3-torch belongs to it.
PYTHON = "/usr/bin/python3"
OPTIMISED = ["-O3", "-fopenmp"]
NATIVE = [*OPTIMISED, "-march=native"]
AVX2 = [*OPTIMISED, "-mavx2", "-mfma"]
RUN_TIMEOUT = 1800
BUILD_TIMEOUT = 900


class Failure(Exception):
    """Something could not be built or run; the text says what and why."""


def short_message(text):
    """The line of a program's output that says most: the first error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines[-1:] or ["no message"])[0][:300]


def execute(command, timeout, environment=None):
    """Standard output of a command; Failure where it does not succeed."""
    try:
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout,
                              env=environment, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{command[0]}: not done after {timeout} s") from error
    except OSError as error:
        raise Failure(str(error)) from error
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise Failure(f"`{words}` ended with {done.returncode}: {short_message(done.stderr)}")
    return done.stdout


def thread_environment(threads):
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(threads)
    return environment


def measure(command, threads, environment=None):
    """Runs one measurement and returns its JSON object.

    The shell stays the parent: Linux counts the peak memory of a process from before its exec, and
    that would be this interpreter's."""
    shell = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *command]
    output = execute(shell, RUN_TIMEOUT, {**thread_environment(threads), **(environment or {})})
    try:
        return json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise Failure(f"{command[0]} printed no JSON: {short_message(output)}") from error


def build(command, target, sources):
    """Runs a compiler unless `target` was made by the same command from sources older than it."""
    stamp = target.with_name(target.name + ".command")
    text = "\n".join(str(word) for word in command)
    with contextlib.suppress(OSError):
        made = target.stat().st_mtime
        if stamp.read_text() == text and all(s.stat().st_mtime < made for s in sources):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    execute(command, BUILD_TIMEOUT)
    stamp.write_text(text)


def replace_if_changed(file, text):
    """Leaves the time of a file alone that already says the same."""
    if not file.exists() or file.read_text() != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


class Program:
    """One row of PROGRAMS. `prepare` and `missing` are called before anything is timed."""

    title = ""
    variant = ""
    switch = ""  # --no-SWITCH leaves it out

    def __init__(self, settings):
        self.settings = settings  # .threads, .seconds, .cc, .cnnc, .work

    @property
    def label(self):
        return f"{self.title} ({self.variant})" if self.variant else self.title

    def missing(self):
        """Why this machine cannot run it at all, or None."""
        return None

    def runs(self, network, batch):
        return True

    def prepare(self, network, batch):
        """Builds and converts what `run` needs."""

    def run(self, network, batch):
        raise NotImplementedError


class Cnnc(Program):
    title = "cnnc"
    variant = "training program"
    options = ()
    suffix = ""  # of its files
    flags = NATIVE

    def paths(self, network, batch):
        stem = f"{network.name}-b{batch}{self.suffix}"
        return self.settings.work / f"{stem}.c", self.settings.work / stem

    def missing(self):
        return None if self.settings.cnnc.exists() else f"{self.settings.cnnc}: run make"

    def prepare(self, network, batch):
        source, program = self.paths(network, batch)
        fresh = source.with_suffix(".new.c")
        fresh.parent.mkdir(parents=True, exist_ok=True)
        execute([self.settings.cnnc, *self.options, f"--batch={batch}",
                 f"--threads={self.settings.threads}", "-o", fresh,
                 BENCH / "networks" / f"{network.name}.cnn"], BUILD_TIMEOUT)
        replace_if_changed(source, fresh.read_text())
        fresh.unlink()
        build([self.settings.cc, *self.flags, source, "-o", program, "-lm"], program, [source])

    def run(self, network, batch):
        return self.bench(network, batch, self.settings.threads, "--layers")

    def bench(self, network, batch, threads, *options):
        result = measure([str(self.paths(network, batch)[1]), "bench", "--batch", str(batch),
                          "--json", *options], threads)
        # A program without training says 0 of it.
        return {key: value for key, value in result.items()
                if value or not key.startswith("train_")}


def report(settings, network):
    """What the compiler says of a network: shapes, parameters, work."""
    return json.loads(execute([settings.cnnc, "--report=json",
                               BENCH / "networks" / f"{network.name}.cnn"], BUILD_TIMEOUT))


class CnncInference(Cnnc):
    variant = "--infer"
    options = ("--infer",)
    suffix = "-infer"


class CnncSide(Cnnc):
    """Measured for what the tables say of cnnc alone, at the largest batch of a network."""

    variant = ""
    switch = "side"

    def runs(self, network, batch):
        return batch == max(network.batches)


class CnncOneThread(CnncSide):
    """The training program again: how much the other cores add."""

    title = "cnnc, one thread"

    def missing(self):
        return "every program has one thread" if self.settings.threads == 1 else super().missing()

    def run(self, network, batch):
        return self.bench(network, batch, 1)


class CnncDirect(CnncSide):
    """Work is counted in the direct form, so only these kernels can be held against the peak."""

    title = "cnnc, direct kernels"
    options = ("-fno-winograd",)
    suffix = "-direct"


class CnncAvx2(CnncSide):
    """Its own measure of the peak uses the vectors of its target."""

    title = "cnnc, AVX2, direct kernels"
    options = ("--target=avx2", "-fno-winograd")
    suffix = "-avx2"
    flags = AVX2

    def missing(self):
        words = set(pathlib.Path("/proc/cpuinfo").read_text().split())
        return None if {"avx2", "fma"} <= words else "this CPU has no AVX2"


class PyTorch(Program):
    title = "PyTorch"
    switch = "pytorch"
    layout = "contiguous"

    @property
    def variant(self):
        return self.layout

    def missing(self):
        try:
            execute([PYTHON, "-c", "import torch"], 120)
        except Failure:
            return f"{PYTHON} cannot import torch: install python3-torch"
        return None

    @staticmethod
    def command(network, batch):
        return [PYTHON, str(BENCH / "peers" / "pytorch.py"), network.name, "--input",
                network.input_text, "--classes", str(network.classes), "--batch", str(batch)]

    def run(self, network, batch):
        return measure([*self.command(network, batch), "--layout", self.layout,
                        "--threads", str(self.settings.threads),
                        "--seconds", str(self.settings.seconds)], self.settings.threads)


class PyTorchChannelsLast(PyTorch):
    layout = "channels_last"


class OnnxRuntime(Program):
    title = "ONNX Runtime"
    switch = "onnx"
    version = "1.30.0"

    def model(self, network, batch):
        return self.settings.work / f"{network.name}-b{batch}.onnx"

    def missing(self):
        if not shutil.which("node"):
            return "no node: install nodejs"
        if PyTorch(self.settings).missing():
            return "its models are exported by PyTorch, which is not there: install python3-torch"
        work = self.settings.work
        module = work / "node_modules" / "onnxruntime-node" / "package.json"
        if module.exists() and json.loads(module.read_text())["version"] == self.version:
            return None
        if not shutil.which("npm"):
            return "no npm to install onnxruntime-node with"
        work.mkdir(parents=True, exist_ok=True)
        print(f"installing onnxruntime-node {self.version} into {work}", file=sys.stderr)
        try:
            # Its install script only fetches the libraries for GPUs.
            execute(["npm", "install", "--prefix", work, "--ignore-scripts", "--no-audit",
                     "--no-fund", f"onnxruntime-node@{self.version}"], BUILD_TIMEOUT)
        except Failure as failure:
            return f"npm could not install onnxruntime-node: {failure}"
        return None

    def prepare(self, network, batch):
        model = self.model(network, batch)
        build([*PyTorch.command(network, batch), "--export", model], model,
              [BENCH / "peers" / "pytorch_networks.py"])

    def run(self, network, batch):
        return measure(["node", str(BENCH / "peers" / "onnxruntime.js"),
                        str(self.model(network, batch)), network.input_text, str(batch),
                        str(self.settings.threads), str(self.settings.seconds)],
                       self.settings.threads,
                       {"NODE_PATH": str(self.settings.work / "node_modules")})


class Darknet(Program):
    title = "Darknet"
    switch = "darknet"
    library = pathlib.Path("/usr/lib/darknet")

    def missing(self):
        if not (self.library / "libdarknet.so").exists():
            return "no libdarknet: install darknet"
        return None

    def runs(self, network, batch):
        return batch in network.darknet

    def configuration(self, network, batch):
        return self.settings.work / f"{network.name}-b{batch}.cfg"

    def prepare(self, network, batch):
        text = (BENCH / "networks" / f"{network.name}.cfg").read_text()
        replace_if_changed(self.configuration(network, batch),
                           text.replace("\nbatch=1\n", f"\nbatch={batch}\n", 1))
        source = BENCH / "peers" / "darknet.c"
        build([self.settings.cc, "-std=gnu11", "-O2", f"-I{self.library}/include", source, "-o",
               self.settings.work / "darknet", f"-L{self.library}", "-ldarknet",
               f"-Wl,-rpath,{self.library}"], self.settings.work / "darknet", [source])

    def run(self, network, batch):
        return measure([str(self.settings.work / "darknet"),
                        str(self.configuration(network, batch)), str(self.settings.seconds)],
                       self.settings.threads)


class TinyDnn(Program):
    title = "tiny-dnn"
    switch = "tiny-dnn"
    needed = {"tiny_dnn/tiny_dnn.h": "tiny-dnn", "stb/stb_image.h": "libstb-dev",
              "gemmlowp/public/gemmlowp.h": "libgemmlowp-dev",
              "cereal/cereal.hpp": "libcereal-dev"}

    def missing(self):
        packages = [package for header, package in self.needed.items()
                    if not pathlib.Path("/usr/include", header).exists()]
        return f"install {' '.join(packages)}" if packages else None

    def runs(self, network, batch):
        return batch in network.tinydnn

    def prepare(self, network, batch):
        # The package has left out its copies of other projects but includes them by the old path.
        third_party = self.settings.work / "include" / "third_party"
        third_party.mkdir(parents=True, exist_ok=True)
        if not (third_party / "stb").exists():
            (third_party / "stb").symlink_to("/usr/include/stb")
        source = BENCH / "peers" / "tinydnn.cpp"
        program = self.settings.work / "tinydnn"
        build(["g++", "-std=c++14", *NATIVE, "-DCNN_USE_OMP", "-DCNN_USE_AVX",
               "-DCNN_NO_SERIALIZATION", f"-I{third_party.parent}", source, "-o", program, "-lstb"],
              program, [source])

    def run(self, network, batch):
        return measure([str(self.settings.work / "tinydnn"), network.name, str(batch),
                        str(self.settings.seconds)], self.settings.threads)


# In the order in which a round runs them.
PROGRAMS = [CnncInference, OnnxRuntime, PyTorch, Cnnc, CnncOneThread, PyTorchChannelsLast,
            CnncDirect, CnncAvx2, Darknet, TinyDnn]


class Peak:
    """bench/peak.c: what the machine can do, measured between the others."""

    def __init__(self, settings):
        self.settings = settings
        self.program = settings.work / "peak"

    def prepare(self):
        source = BENCH / "peak.c"
        build([self.settings.cc, "-std=gnu11", "-D_POSIX_C_SOURCE=200809L", *NATIVE, source,
               "-o", self.program], self.program, [source])

    def run(self):
        return measure([str(self.program), str(min(self.settings.seconds, 0.6))],
                       self.settings.threads)


def children_seconds():
    times = os.times()
    return times.children_user + times.children_system


def compile_deepest(settings):
    """The C of ResNet-152's trainer: bytes, and the C compiler's CPU seconds on it, the least of the
    rounds."""
    source = settings.work / "resnet152.c"
    source.parent.mkdir(parents=True, exist_ok=True)
    execute([settings.cnnc, "-DDEPTH=152", "-o", source, ROOT / "examples" / "resnet.cnn"],
            BUILD_TIMEOUT)
    seconds = []
    for _ in range(settings.rounds):
        before = children_seconds()
        execute([settings.cc, *NATIVE, source, "-o", source.with_suffix(""), "-lm"], BUILD_TIMEOUT)
        seconds.append(children_seconds() - before)
    return {"bytes": source.stat().st_size, "compile_seconds": min(seconds)}
