"""Whole networks, as files of examples/ and tests/networks/ and as modules of PyTorch."""

import functools
import pathlib

import torch
from torch import nn
from torch.nn import functional as F

from layers import Comparison, LocalResponse, MaskedConv2d, chain

ROOT = pathlib.Path(__file__).resolve().parents[2]

# LeCun et al. 1998, Table I: the maps of S2 that each map of C3 sees.
C3_TABLE = [
    [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [0, 4, 5], [0, 1, 5],
    [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [0, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 5],
    [0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 2, 3, 4, 5],
]


class Numbered(nn.Module):
    """Gives parameters cnnc's names: conv1, conv2, bn1, ... in the order in which they are made."""

    def __init__(self):
        super().__init__()
        self.numbers = {}

    def add(self, kind, module):
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        self.add_module(f"{kind}{self.numbers[kind]}", module)
        return module

    def conv(self, *arguments, **options):
        return self.add("conv", nn.Conv2d(*arguments, **options))


class SmallVgg(Numbered):
    def __init__(self):
        super().__init__()
        self.stages, channels = [], 3
        for count, filters in [(1, 8), (2, 16), (2, 32)]:
            stage = []
            for _ in range(count):
                stage.append(self.conv(channels, filters, 3, padding=1))
                channels = filters
            self.stages.append(stage)
        self.dense = [self.add("fc", nn.Linear(a, b)) for a, b in [(128, 48), (48, 48), (48, 10)]]

    def forward(self, x):
        for stage in self.stages:
            for conv in stage:
                x = conv(x).relu()
            x = F.max_pool2d(x, 2)
        x = x.flatten(1)
        for layer in self.dense[:-1]:
            x = layer(x).relu()
        return self.dense[-1](x)


class Deep(Numbered):
    def __init__(self):
        super().__init__()
        self.convolutions = [self.conv(3 if i == 0 else 8, 8, 3, padding=1) for i in range(21)]
        self.add("fc", nn.Linear(8, 5))

    def forward(self, x):
        x = self.convolutions[0](x)
        for conv in self.convolutions[1:]:
            x = x + torch.tanh(conv(x))
        return self.fc1(x.mean((2, 3)))


class SmallResnet(Numbered):
    def __init__(self):
        super().__init__()
        self.start = self.unit(3, 8)
        self.blocks = [self.block(8, 8), self.block(8, 16), self.block(16, 16), self.block(16, 32)]
        self.add("fc", nn.Linear(32, 10))

    def unit(self, inputs, outputs, kernel=3, stride=1):
        conv = self.conv(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return conv, self.add("bn", nn.BatchNorm2d(outputs))

    def block(self, inputs, outputs):
        stride = 1 if inputs == outputs else 2
        shortcut = self.unit(inputs, outputs, 1, stride) if stride == 2 else ()
        return shortcut, self.unit(inputs, outputs, 3, stride), self.unit(outputs, outputs)

    @staticmethod
    def apply(unit, x):
        return functools.reduce(lambda value, layer: layer(value), unit, x)

    def forward(self, x):
        x = self.apply(self.start, x).relu()
        for shortcut, first, second in self.blocks:
            inner = self.apply(second, self.apply(first, x).relu())
            x = (self.apply(shortcut, x) + inner).relu()
        return self.fc1(x.mean((2, 3)))


class SmallDense(Numbered):
    def __init__(self):
        super().__init__()
        self.conv(3, 6, 3, padding=1)
        self.grown = []
        for channels in (6, 10, 14):
            norm = self.add("bn", nn.BatchNorm2d(channels))
            self.grown.append((norm, self.conv(channels, 4, 3, padding=1, bias=False)))
        self.inception = [self.conv(18, 4, 1), self.conv(18, 4, 1), self.conv(4, 6, 3, padding=1), self.conv(18, 3, 1)]
        self.add("fc", nn.Linear(13, 13))
        self.add("fc", nn.Linear(13, 5))
        self.normalise = LocalResponse(3, 2, 1e-4, 0.75)

    def forward(self, x):
        x = self.conv1(x)
        for norm, conv in self.grown:
            x = torch.cat([x, conv(norm(x).relu())], 1)
        x = F.avg_pool2d(x, 2)
        one, reduced, three, pooled = self.inception
        x = torch.cat([one(x).relu(), three(reduced(x).relu()).relu(),
                       pooled(F.max_pool2d(x, 3, 1, 1)).relu()], 1)
        x = x * self.fc1(x.mean((2, 3))).sigmoid()[:, :, None, None]
        return self.fc2(self.normalise(x).mean((2, 3)))


class TwoHeads(Numbered):
    def __init__(self):
        super().__init__()
        self.conv(2, 6, 3)
        self.conv(6, 8, 3, 2)
        self.add("fc", nn.Linear(72, 4))
        self.add("fc", nn.Linear(6, 4))

    def forward(self, x):
        trunk = self.conv1(x).relu()
        return self.fc1(self.conv2(trunk).relu().flatten(1)), self.fc2(trunk.mean((2, 3)))


class Padded(Numbered):
    def __init__(self):
        super().__init__()
        self.conv(3, 14, 3, padding=1, bias=False)
        self.conv(14, 14, 3, padding=1)
        self.conv(14, 23, 5, padding=2)
        self.add("dwconv", nn.Conv2d(23, 23, 3, padding=1, groups=23))
        self.add("prelu", nn.PReLU(23))
        self.conv(23, 13, 3, 2, 1)
        self.conv(13, 13, 3, padding=1, groups=13)
        self.conv(13, 29, 3, padding=1, bias=False)
        self.conv(29, 15, 1)
        self.add("bn", nn.BatchNorm2d(14))
        self.add("bn", nn.BatchNorm2d(29))
        self.add("fc", nn.Linear(15, 5))

    def forward(self, x):
        x = self.bn1(self.conv1(x)).tanh()
        x = x + F.silu(self.conv2(x))
        x = F.max_pool2d(self.conv3(x).relu(), 2)
        x = F.leaky_relu(self.conv5(self.conv4(self.prelu1(self.dwconv1(x)))), 0.2)
        x = F.avg_pool2d(self.bn2(self.conv6(x)).tanh(), 2)
        return self.fc1(F.gelu(self.conv7(x)).mean((2, 3)))


def lenet5(third):
    return chain(
        ("conv1", nn.Conv2d(1, 6, 5)), ("relu1", nn.ReLU()), ("pool1", nn.MaxPool2d(2)),
        ("conv2", third()), ("relu2", nn.ReLU()), ("pool2", nn.MaxPool2d(2)), ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(400, 120)), ("relu3", nn.ReLU()),
        ("fc2", nn.Linear(120, 84)), ("relu4", nn.ReLU()), ("fc3", nn.Linear(84, 10)))


def all_networks():
    def small(name):
        return (ROOT / "tests" / "networks" / name).read_text()

    def classes(name, source, module, optimizer, loss=F.cross_entropy, **more):
        return Comparison(name, "", module, source=source, loss=loss, optimizer=optimizer, batch=4, **more)

    sgd, adam = torch.optim.SGD, torch.optim.Adam
    lenet = (ROOT / "examples" / "lenet5.cnn").read_text()
    for name, options, third in [("LeNet-5", [], lambda: MaskedConv2d(6, 5, C3_TABLE)),
                                 ("LeNet-5, all connections", ["-Dfull=1"], lambda: nn.Conv2d(6, 16, 5))]:
        yield classes(name, lenet, lambda third=third: lenet5(third),
                      lambda p: sgd(p, lr=0.05, momentum=0.9, weight_decay=5e-4),
                      labels=10, probabilities=True, options=options)
    yield classes("small VGG", small("vgg_small.cnn"), SmallVgg,
                  lambda p: sgd(p, lr=0.02, momentum=0.9, weight_decay=5e-4), labels=10, probabilities=True)
    yield classes("small ResNet", small("resnet_small.cnn"), SmallResnet,
                  lambda p: sgd(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4),
                  loss=lambda y, t: F.cross_entropy(y, t, label_smoothing=0.1), labels=10)
    yield classes("deep network", small("deep_small.cnn"), Deep, lambda p: sgd(p, lr=0.01), labels=5)
    weights = torch.tensor([1, 2, 0.5, 1, 1], dtype=torch.float64)
    yield classes("small DenseNet", small("dense_small.cnn"), SmallDense,
                  lambda p: adam(p, lr=0.002, weight_decay=1e-3),
                  loss=lambda y, t: F.cross_entropy(y, t, weights), labels=5)
    yield classes("padded channels", small("padded_small.cnn"), Padded,
                  lambda p: adam(p, lr=0.002, weight_decay=1e-3), labels=5)
    yield classes("two heads", small("heads_small.cnn"), TwoHeads, lambda p: sgd(p, lr=0.05, momentum=0.9),
                  loss=lambda y, t: F.cross_entropy(y[0], t) + 0.4 * F.cross_entropy(y[1], t),
                  labels=4, probabilities=True)
