"""Every layer kind with its options, as a description and as the same module in PyTorch.

Modules are built in double precision and name their parameters as cnnc does, so that weights move
from one to the other by name.
"""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

SGD = "sgd(lr=0.02, momentum=0.9, weight_decay=0.01)"


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=0.01)


class Comparison:
    """`text` is the description without its train block; `module` makes the PyTorch side, a function
    of the input; `probabilities` says that the description ends in a SOFTMAX which the module leaves
    out; `loss(output, target)` and `optimizer(parameters)` are PyTorch's for the train block."""

    def __init__(self, name, text, module, *, loss_text="mse", loss=F.mse_loss, labels=0,
                 optimizer_text=SGD, optimizer=sgd, probabilities=False, scale=1.0, batch=3,
                 source=None, options=(), settings=""):
        self.name, self.module, self.loss, self.labels = name, module, loss, labels
        self.optimizer, self.probabilities, self.scale = optimizer, probabilities, scale
        self.batch, self.options = batch, options
        self.whole = source is not None  # a whole network, for which the file is compiled as a whole
        self.source = source or (
            f"{text}\ntrain {{ loss = {loss_text}  optimizer = {optimizer_text} {settings} }}\n"
        )


class Function(nn.Module):
    """A module without parameters."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Graph(nn.Module):
    """Named layers and how they are joined: forward(layers, x)."""

    def __init__(self, join, **layers):
        super().__init__()
        self.join = join
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.join(self, x)


def chain(*named):
    """nn.Sequential with names: chain(("conv1", nn.Conv2d(..)), ...)."""
    return nn.Sequential(OrderedDict(named))


def one(kind, module):
    return lambda: chain((f"{kind}1", module()))


class MaskedConv2d(nn.Conv2d):
    """A convolution in which filter i sees only the input channels table[i]."""

    def __init__(self, channels, kernel, table):
        super().__init__(channels, len(table), kernel)
        mask = torch.zeros(len(table), channels, 1, 1, dtype=torch.float64)
        for row, connected in enumerate(table):
            mask[row, connected] = 1
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias)


def padded(padding, module):
    """Explicit padding before a window: (begin, end) of the last axis first, as F.pad has it."""
    module.register_forward_pre_hook(lambda _, inputs: (F.pad(inputs[0], padding),))
    return module


def convolutions():
    table = [[0, 1], [1, 2], [0, 2, 3], [3]]
    rows = [
        ("plain", "4x8x7", "CONV(6, 3x3)", lambda: nn.Conv2d(4, 6, 3)),
        ("1x1", "5x4x3", "CONV(7, 1x1)", lambda: nn.Conv2d(5, 7, 1)),
        ("many channels", "17x6x6", "CONV(33, 3x3, pad=1)", lambda: nn.Conv2d(17, 33, 3, padding=1)),
        ("stride", "4x9x7", "CONV(6, 3x3, stride=2, pad=1)", lambda: nn.Conv2d(4, 6, 3, 2, 1)),
        ("extents per axis", "3x8x7", "CONV(4, 2x3, stride=2x1, pad=0x1)",
         lambda: nn.Conv2d(3, 4, (2, 3), (2, 1), (0, 1))),
        ("dilation", "3x9x9", "CONV(4, 3x3, dilation=2, pad=2)",
         lambda: nn.Conv2d(3, 4, 3, padding=2, dilation=2)),
        ("dilation and stride", "3x9x9", "CONV(4, 3x3, dilation=2, stride=2)",
         lambda: nn.Conv2d(3, 4, 3, stride=2, dilation=2)),
        ("groups", "6x7x7", "CONV(4, 3x3, groups=2)", lambda: nn.Conv2d(6, 4, 3, groups=2)),
        ("no bias", "3x5x5", "CONV(4, 3x3, bias=false)", lambda: nn.Conv2d(3, 4, 3, bias=False)),
        ("large padding", "2x4x4", "CONV(3, 3x3, pad=4)", lambda: nn.Conv2d(2, 3, 3, padding=4)),
        ("same, odd pixel", "3x7x8", "CONV(4, 4x4, stride=2, pad=same)",
         lambda: padded((1, 1, 1, 2), nn.Conv2d(3, 4, 4, 2))),
        ("floor", "3x8x8", "CONV(4, 3x3, stride=2, round=floor)", lambda: nn.Conv2d(3, 4, 3, 2)),
        ("ceil", "3x8x8", "CONV(4, 3x3, stride=2, round=ceil)",
         lambda: padded((0, 1, 0, 1), nn.Conv2d(3, 4, 3, 2))),
        ("1-D", "4x11", "CONV(5, 3, stride=2)", lambda: nn.Conv1d(4, 5, 3, 2)),
        ("1-D causal", "3x9", "CONV(4, 3, dilation=2, causal=true)",
         lambda: padded((4, 0), nn.Conv1d(3, 4, 3, dilation=2))),
        ("3-D", "2x5x4x6", "CONV(3, 3x2x3, pad=1x0x1)", lambda: nn.Conv3d(2, 3, (3, 2, 3), padding=(1, 0, 1))),
        ("3-D stride", "2x5x5x5", "CONV(3, 3, stride=2)", lambda: nn.Conv3d(2, 3, 3, 2)),
        ("table", "4x6x6", "CONV(4, 3x3, table=[[0,1],[1,2],[0,2,3],[3]])", lambda: MaskedConv2d(4, 3, table)),
    ]
    for name, dims, layer, module in rows:
        yield Comparison(f"CONV {name}", f"input {dims}\nnet = {layer}", one("conv", module))
    rows = [
        ("plain", "4x6x6", "DWCONV(3x3)", lambda: nn.Conv2d(4, 4, 3, groups=4)),
        ("multiplier", "3x7x7", "DWCONV(3x3, multiplier=2, stride=2, pad=1)",
         lambda: nn.Conv2d(3, 6, 3, 2, 1, groups=3)),
        ("dilation", "3x7x7", "DWCONV(3x3, dilation=2, bias=false)",
         lambda: nn.Conv2d(3, 3, 3, dilation=2, groups=3, bias=False)),
    ]
    for name, dims, layer, module in rows:
        yield Comparison(f"DWCONV {name}", f"input {dims}\nnet = {layer}", one("dwconv", module))


def pools():
    rows = [
        ("MAXPOOL plain", "3x6x8", "MAXPOOL(2x2)", lambda: nn.MaxPool2d(2)),
        ("MAXPOOL overlapping", "3x7x9", "MAXPOOL(3x3, stride=2)", lambda: nn.MaxPool2d(3, 2)),
        ("MAXPOOL padded", "3x7x7", "MAXPOOL(3x3, stride=2, pad=1)", lambda: nn.MaxPool2d(3, 2, 1)),
        ("MAXPOOL ceil", "3x8x6", "MAXPOOL(3x3, stride=2, round=ceil)",
         lambda: nn.MaxPool2d(3, 2, ceil_mode=True)),
        ("MAXPOOL floor", "3x8x6", "POOL(3x3, stride=2, round=floor)", lambda: nn.MaxPool2d(3, 2)),
        ("MAXPOOL 1-D", "3x9", "MAXPOOL(3)", lambda: nn.MaxPool1d(3)),
        ("MAXPOOL 3-D", "2x4x4x6", "MAXPOOL(2)", lambda: nn.MaxPool3d(2)),
        ("AVGPOOL plain", "3x6x8", "AVGPOOL(2x2)", lambda: nn.AvgPool2d(2)),
        ("AVGPOOL overlapping", "3x7x7", "AVGPOOL(3x3, stride=2)", lambda: nn.AvgPool2d(3, 2)),
        ("AVGPOOL counts padding", "3x7x7", "AVGPOOL(3x3, stride=2, pad=1)",
         lambda: nn.AvgPool2d(3, 2, 1)),
        ("AVGPOOL leaves padding out", "3x7x7", "AVGPOOL(3x3, stride=2, pad=1, count_pad=false)",
         lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        ("AVGPOOL ceil", "3x8x8", "AVGPOOL(3x3, stride=2, pad=1, round=ceil)",
         lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
        ("AVGPOOL ceil leaves padding out", "3x8x8",
         "AVGPOOL(3x3, stride=2, round=ceil, count_pad=false)",
         lambda: nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)),
        ("AVGPOOL 3-D", "2x4x4x4", "AVGPOOL(2)", lambda: nn.AvgPool3d(2)),
        ("GAP", "4x5x3", "GAP", lambda: nn.AdaptiveAvgPool2d(1)),
        ("GMP", "4x5x3", "GMP", lambda: nn.AdaptiveMaxPool2d(1)),
    ]
    for name, dims, layer, module in rows:
        yield Comparison(name, f"input {dims}\nnet = {layer}", module)


def dense():
    rows = [
        ("vector", "11", "FC(7)", lambda: nn.Linear(11, 7)),
        ("flattens", "3x4x5", "FC(6)", lambda: nn.Linear(60, 6)),
        ("no bias", "20", "FC(3, bias=false)", lambda: nn.Linear(20, 3, bias=False)),
        ("wide", "130", "FC(67)", lambda: nn.Linear(130, 67)),
    ]
    for name, dims, layer, module in rows:
        yield Comparison(f"FC {name}", f"input {dims}\nnet = {layer}",
                         lambda module=module: chain(("flatten", nn.Flatten()), ("fc1", module())))
    for kind, layer in [("FLATTEN", "FLATTEN"), ("RESHAPE", "RESHAPE(4x3x5)"), ("ID", "ID")]:
        shape = (4, 3, 5) if kind == "RESHAPE" else (60,) if kind == "FLATTEN" else (3, 4, 5)
        yield Comparison(kind, f"input 3x4x5\nnet = {layer}",
                         lambda shape=shape: Function(lambda x: x.reshape(-1, *shape)))


def activations():
    rows = [
        ("RELU", nn.ReLU), ("LEAKY", lambda: nn.LeakyReLU(0.01)), ("LEAKY(0.2)", lambda: nn.LeakyReLU(0.2)),
        ("ELU", nn.ELU), ("ELU(0.7)", lambda: nn.ELU(0.7)), ("SELU", nn.SELU), ("GELU", nn.GELU),
        ("SILU", nn.SiLU), ("SOFTPLUS", nn.Softplus), ("SIGMOID", nn.Sigmoid), ("TANH", nn.Tanh),
        # nn.Hardsigmoid multiplies its gradient by a float32 sixth.
        ("HARDSIGMOID", lambda: Function(lambda x: (x + 3).clamp(0, 6) / 6)), ("HARDSWISH", nn.Hardswish),
        ("CLIP(-0.5, 0.8)", lambda: nn.Hardtanh(-0.5, 0.8)), ("RELU6", nn.ReLU6),
        ("GLU", lambda: nn.GLU(1)),
        ("MAXOUT(2)", lambda: Function(lambda x: x.unflatten(1, (-1, 2)).amax(2))),
        ("SOFTMAX", lambda: nn.Softmax(1)), ("LOGSOFTMAX", lambda: nn.LogSoftmax(1)),
        ("DROPOUT(0.4)", nn.Identity),
    ]
    for layer, module in rows:
        yield Comparison(layer, f"input 4x5x3\nnet = {layer}", module, scale=3.0)
    yield Comparison("SOFTMAX of a vector", "input 9\nnet = SOFTMAX", lambda: nn.Softmax(1), scale=3.0)
    yield Comparison("PRELU", "input 4x5x3\nnet = PRELU", one("prelu", nn.PReLU), scale=3.0)


class LocalResponse(nn.Module):
    """Krizhevsky 2012: alpha is not divided by n, as PyTorch would."""

    def __init__(self, n, k, alpha, beta):
        super().__init__()
        self.n, self.k, self.alpha, self.beta = n, k, alpha, beta

    def forward(self, x):
        return F.local_response_norm(x, self.n, self.alpha * self.n, self.beta, self.k)


def normalisations():
    rows = [
        ("BN", "4x5x3", "BN", lambda: nn.BatchNorm2d(4)),
        ("BN of a vector", "7", "BN", lambda: nn.BatchNorm1d(7)),
        ("BN 1-D", "4x9", "BN", lambda: nn.BatchNorm1d(4)),
        ("BN 3-D", "3x2x4x3", "BN", lambda: nn.BatchNorm3d(3)),
        ("BN options", "4x5x3", "BN(eps=0.01, momentum=0.3)", lambda: nn.BatchNorm2d(4, 0.01, 0.3)),
        ("BN without scale", "4x5x3", "BN(affine=false)", lambda: nn.BatchNorm2d(4, affine=False)),
    ]
    for name, dims, layer, module in rows:
        yield Comparison(name, f"input {dims}\nnet = {layer}", one("bn", module))
    rows = [("LRN", "LRN", (5, 2, 1e-4, 0.75)), ("LRN options", "LRN(n=3, k=1, alpha=0.3, beta=0.6)", (3, 1, 0.3, 0.6))]
    for name, layer, numbers in rows:
        yield Comparison(name, f"input 7x4x3\nnet = {layer}",
                         lambda numbers=numbers: LocalResponse(*numbers), scale=2.0)


def merges():
    def pair(text, join, dims="4x6x6", **layers):
        return Comparison(text.split("{")[0] + " " + dims, f"input {dims}\nnet = {text}",
                          lambda: Graph(join, **{name: make() for name, make in layers.items()}))

    def conv(inputs, outputs, kernel=3, padding=1):
        return lambda: nn.Conv2d(inputs, outputs, kernel, padding=padding)

    yield pair("ADD{ID, CONV(4, 3x3, pad=1)}", lambda m, x: x + m.conv1(x), conv1=conv(4, 4))
    yield pair("ADD{ID, ID, CONV(4, 3x3, pad=1) - RELU}", lambda m, x: 2 * x + m.conv1(x).relu(),
               dims="4x5x6", conv1=conv(4, 4))
    yield pair("SUB{CONV(4, 3x3, pad=1), ID, CONV(4, 1x1)}",
               lambda m, x: m.conv1(x) - x - m.conv2(x), conv1=conv(4, 4), conv2=conv(4, 4, 1, 0))
    yield pair("MUL{CONV(3, 3x3, pad=1), CONV(3, 1x1) - SIGMOID}",
               lambda m, x: m.conv1(x) * m.conv2(x).sigmoid(), conv1=conv(4, 3), conv2=conv(4, 3, 1, 0))
    yield pair("MUL{ID, GAP - CONV(4, 1x1) - SIGMOID}",
               lambda m, x: x * m.conv1(x.mean((2, 3), keepdim=True)).sigmoid(),
               dims="4x5x5", conv1=conv(4, 4, 1, 0))
    yield pair("MAX{ID, CONV(4, 3x3, pad=1)}", lambda m, x: torch.maximum(x, m.conv1(x)), conv1=conv(4, 4))
    yield pair("CONCAT{CONV(3, 1x1), ID, CONV(2, 3x3, pad=1) - RELU}",
               lambda m, x: torch.cat([m.conv1(x), x, m.conv2(x).relu()], 1),
               conv1=conv(4, 3, 1, 0), conv2=conv(4, 2))
    yield pair("CONCAT(crop=center){ID, CONV(3, 3x3)}",
               lambda m, x: torch.cat([x[:, :, 1:-1, 1:-1], m.conv1(x)], 1), conv1=conv(4, 3, 3, 0))
    yield pair("CONV(4, 3x3, pad=1) @a - RELU - CONV(4, 3x3, pad=1) - ADD{ID, @a} - CONCAT{ID, @a}",
               lambda m, x: (lambda a: torch.cat([m.conv2(a.relu()) + a, a], 1))(m.a(x)),
               dims="4x4x4", a=conv(4, 4), conv2=conv(4, 4))
    yield pair("CONCAT{ID, CONV(2, 3x3, pad=1)}*3",
               lambda m, x: [x := torch.cat([x, c(x)], 1) for c in (m.conv1, m.conv2, m.conv3)][-1],
               dims="4x3x5", conv1=conv(4, 2), conv2=conv(6, 2), conv3=conv(8, 2))


def losses():
    def classes(name, text, loss, dims="6", units=4, **more):
        return Comparison(f"cross_entropy {name}", f"input {dims}\nnet = FC({units})",
                          lambda: chain(("flatten", nn.Flatten()), ("fc1", nn.Linear(6, units))),
                          loss_text=f"cross_entropy{text}", loss=loss, labels=units, batch=4, **more)

    weights = [0.5, 2.0, 1.0, 0.25]
    yield classes("plain", "", F.cross_entropy)
    yield classes("large logits", "", F.cross_entropy, scale=300.0)
    yield classes("smoothing", "(smoothing=0.1)",
                  lambda y, t: F.cross_entropy(y, t, label_smoothing=0.1))
    yield classes("weights", f"(weights={weights})",
                  lambda y, t: F.cross_entropy(y, t, torch.tensor(weights, dtype=y.dtype)))
    yield classes("weights and smoothing", f"(weights={weights}, smoothing=0.2)",
                  lambda y, t: F.cross_entropy(y, t, torch.tensor(weights, dtype=y.dtype),
                                               label_smoothing=0.2))
    for layer, module, probabilities in [("SOFTMAX", None, True), ("LOGSOFTMAX", nn.LogSoftmax(1), False)]:
        layers = [("flatten", nn.Flatten()), ("fc1", nn.Linear(6, 4))]
        yield Comparison(
            f"cross_entropy on {layer}", f"input 2x3x1\nnet = FC(4) - {layer}",
            lambda layers=layers, module=module: chain(*layers, *([("last", module)] if module else [])),
            loss_text="cross_entropy", loss=F.cross_entropy, labels=4, probabilities=probabilities)
    yield Comparison("cross_entropy per pixel", "input 3x4x5\nnet = CONV(4, 3x3, pad=1) - SOFTMAX",
                     one("conv", lambda: nn.Conv2d(3, 4, 3, padding=1)), loss_text="cross_entropy",
                     loss=F.cross_entropy, labels=4, probabilities=True)
    yield Comparison("cross_entropy per pixel, weights", "input 3x4x5\nnet = CONV(4, 1x1)",
                     one("conv", lambda: nn.Conv2d(3, 4, 1)), loss_text=f"cross_entropy(weights={weights})",
                     loss=lambda y, t: F.cross_entropy(y, t, torch.tensor(weights, dtype=y.dtype)), labels=4)


def optimizers():
    rows = [
        ("sgd plain", "sgd(lr=0.05)", lambda p: torch.optim.SGD(p, lr=0.05)),
        ("sgd nesterov", "sgd(lr=0.05, momentum=0.8, nesterov=true, weight_decay=0.02)",
         lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.02)),
        ("adam", "adam(lr=0.01)", lambda p: torch.optim.Adam(p, lr=0.01)),
        ("adam options", "adam(lr=0.01, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.1)",
         lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    ]
    for name, text, make in rows:
        yield Comparison(f"optimizer {name}", "input 8\nnet = FC(6) - TANH - FC(3)",
                         lambda: chain(("fc1", nn.Linear(8, 6)), ("tanh", nn.Tanh()), ("fc2", nn.Linear(6, 3))),
                         optimizer_text=text, optimizer=make)


def all_layers():
    for group in (convolutions, pools, dense, activations, normalisations, merges, losses, optimizers):
        yield from group()
