"""cnnc against PyTorch: the same weights, input and targets must give the same outputs, loss, gradients
and training steps. PyTorch computes in float64. Bounds are norm-wise and relative."""

import pathlib
import sys

import numpy as np
import torch

import tensors
from harness import Case, Failure, build, check, emit, run
from parts import build_parts

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import layers  # noqa: E402
import networks  # noqa: E402

STEPS = 10
# Name, options of cnnc, flags of the C compiler, bounds: outputs and gradients, results of STEPS steps.
# A step adds its own rounding and the next one's gradient amplifies it. The C compiler optimises only
# where that is the point: it takes most of the time here.
LEVELS = [
    ("O0", ["-O0"], ["-O0"], 1e-5, 1e-4),
    # gcc contracts a*b + c unless -std=c11 is given, and users do not give it.
    ("default", [], ["-O1", "-march=native", "-ffp-contract=fast"], 1e-5, 1e-4),
    ("double", ["--double"], ["-O0"], 1e-10, 1e-9),
]
PRINTED = 1e-8  # losses are printed with nine digits
NEGLIGIBLE = 0.1  # of the typical gradient: below, a gradient is judged by that instead of itself


class Reference:
    """What PyTorch computes for one comparison, all in float64."""

    def __init__(self, comparison, weights, x, target):
        self.model = comparison.module().double()
        self.load(weights)
        self.model.train()
        x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        target = torch.tensor(target)
        if not comparison.labels:
            target = target.double()
        loss = comparison.loss(self.model(x), target)
        loss.backward()
        self.loss = loss.item()
        self.gradients = {n: p.grad.numpy().copy() for n, p in self.model.named_parameters()}
        self.gradients["input"] = x.grad.numpy()
        self.load(weights)
        self.before = self.evaluate(comparison, x)
        self.losses = []
        if weights:
            self.train(comparison, x.detach(), target)
        self.after = self.evaluate(comparison, x)

    def load(self, weights):
        state = {n: torch.tensor(w, dtype=torch.float64) for n, w in weights.items()}
        own = {n for n in self.model.state_dict() if not n.endswith("num_batches_tracked")}
        check(own == set(state), f"parameters {sorted(state)}, expected {sorted(own)}")
        self.model.load_state_dict(state, strict=False)

    def evaluate(self, comparison, x):
        self.model.eval()
        with torch.no_grad():
            output = self.model(x)
            if isinstance(output, tuple):
                output = output[0]
            if comparison.probabilities:
                output = output.softmax(1)
        self.model.train()
        return output.detach().numpy()

    def train(self, comparison, x, target):
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if not parameters:
            return
        optimizer = comparison.optimizer(parameters)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = comparison.loss(self.model(x), target)
            loss.backward()
            optimizer.step()
            self.losses.append(loss.item())
        state = self.model.state_dict()
        self.weights = {n: w.numpy() for n, w in state.items() if not n.endswith("num_batches_tracked")}


def compare(what, found, expected, bound, floor=0.0):
    check(found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}")
    error = tensors.error(found, expected, floor)
    check(error <= bound, f"{what}: relative error {error:.3g}, allowed {bound:.3g}")


def compare_all(what, found, expected, bound):
    check(set(found) == set(expected), f"{what}: {sorted(found)}, expected {sorted(expected)}")
    floor = NEGLIGIBLE * tensors.typical(list(expected.values()))
    for name, array in expected.items():
        compare(f"{what} of {name}", found[name], array, bound, floor)


def losses_of(text, count):
    values = [float(line.split()[-1]) for line in text.splitlines() if line.strip()]
    check(len(values) == count, f"{len(values)} losses, expected {count}:\n{text}")
    return np.array(values)


def make_data(comparison, shape, output_shape, seed):
    generator = np.random.default_rng(seed)
    x = (comparison.scale * generator.standard_normal((comparison.batch, *shape))).astype(np.float32)
    if comparison.labels:
        target = generator.integers(0, comparison.labels, (comparison.batch, *output_shape[2:]))
    else:
        target = generator.standard_normal(output_shape).astype(np.float32)
    return x, target


def input_shape(source):
    line = next(line for line in source.splitlines() if line.strip().startswith("input "))
    return tuple(int(extent) for extent in line.split("#")[0].split()[-1].split("x"))


def check_level(comparison, directory, program, reference, bound, step_bound):
    files = {n: directory / f"{program.name}-{n}" for n in ("y.npy", "g.safetensors", "w2.safetensors", "y2.npy")}
    weights = ["--weights", directory / "w.safetensors"]
    data = ["--input", directory / "x.npy"]
    target = ["--target", directory / "t.npy"]
    run([program, "predict", *weights, *data, "--output", files["y.npy"]])
    compare("output", np.load(files["y.npy"]), reference.before, bound)
    printed = run([program, "grad", *weights, *data, *target, "--grads", files["g.safetensors"]]).stdout
    compare("loss", losses_of(printed, 1), np.array([reference.loss]), max(bound, PRINTED))
    compare_all("gradient", tensors.read(files["g.safetensors"]), reference.gradients, bound)
    if not reference.losses:
        return
    printed = run([program, "step", *weights, *data, *target, "--steps", STEPS,
                   "--out", files["w2.safetensors"]]).stdout
    compare("losses of the steps", losses_of(printed, STEPS), np.array(reference.losses),
            max(step_bound, PRINTED))
    compare_all("weights after the steps", tensors.read(files["w2.safetensors"]), reference.weights, step_bound)
    run([program, "predict", "--weights", files["w2.safetensors"], *data, "--output", files["y2.npy"]])
    compare("output after the steps", np.load(files["y2.npy"]), reference.after, 3 * step_bound)


def run_comparison(context, comparison, seed):
    directory = context.directory(comparison.name)
    reference, problems, passed = None, [], 0
    make = build if comparison.whole else build_parts
    for level, options, flags, bound, step_bound in LEVELS:
        try:
            c_file = emit(context, comparison.source, directory / f"{level}.c", f"--batch={comparison.batch + 1}",
                          *options, *comparison.options)
            program = make(context, c_file, directory / level, *flags[1:], optimise=flags[0])
            if reference is None:
                reference = prepare(comparison, directory, program, seed)
            check_level(comparison, directory, program, reference, bound, step_bound)
            passed += 1
        except Failure as failure:
            problems.append(f"{level}: {failure}")
    return passed, len(problems), "\n".join(problems)


def prepare(comparison, directory, program, seed):
    """Weights, input and targets, written for the programs and given to PyTorch."""
    run([program, "init", "--out", directory / "init.safetensors"])
    weights = tensors.random_weights(tensors.read(directory / "init.safetensors"), seed)
    tensors.write(directory / "w.safetensors", weights)
    shape = input_shape(comparison.source)
    with torch.no_grad():
        model = comparison.module().double().eval()
        output = model(torch.zeros(comparison.batch, *shape, dtype=torch.float64))
    output = output[0] if isinstance(output, tuple) else output
    x, target = make_data(comparison, shape, tuple(output.shape), seed + 1)
    np.save(directory / "x.npy", x)
    np.save(directory / "t.npy", target)
    return Reference(comparison, weights, x, target)


def cases(context):
    torch.set_num_threads(1)
    comparisons = [*layers.all_layers(), *networks.all_networks()]
    return [
        Case(comparison.name, run_comparison, comparison, 10 * index, weight=len(comparison.source))
        for index, comparison in enumerate(comparisons)
    ]
