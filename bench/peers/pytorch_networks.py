"""The benchmark networks as PyTorch modules; networks/*.cnn are the same networks.

Layers, their order and their parameters' shapes are those of torchvision where it has the network,
so that the figures compare with published ones. All end in logits: the loss takes the softmax.
"""

import torch
from torch import nn


def convolutions(channels, plan):
    """3x3 convolutions with ReLU; "M" halves the extent."""
    layers = []
    for item in plan:
        if item == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, item, 3, padding=1), nn.ReLU(inplace=True)]
            channels = item
    return layers


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(inplace=True),
        nn.Linear(120, 84), nn.ReLU(inplace=True),
        nn.Linear(84, 10))


def cifar():
    return nn.Sequential(
        *convolutions(3, [32, 32, "M", 64, 64, "M", 128, 128, "M"]),
        nn.Flatten(),
        nn.Linear(2048, 256), nn.ReLU(inplace=True),
        nn.Linear(256, 10))


def alexnet():
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(inplace=True),
        nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
        nn.Linear(4096, 1000))


def vgg16():
    plan = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]
    return nn.Sequential(
        *convolutions(3, plan),
        nn.Flatten(),
        nn.Linear(25088, 4096), nn.ReLU(inplace=True), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(),
        nn.Linear(4096, 1000))


def normalised(channels, filters, kernel, stride=1, padding=0):
    """A convolution without bias and its batch normalisation."""
    return [nn.Conv2d(channels, filters, kernel, stride, padding, bias=False),
            nn.BatchNorm2d(filters)]


class Bottleneck(nn.Module):
    """relu(F(x) + shortcut(x)); the shortcut is a projection where the shape changes."""

    def __init__(self, channels, width, stride):
        super().__init__()
        self.residual = nn.Sequential(
            *normalised(channels, width, 1), nn.ReLU(inplace=True),
            *normalised(width, width, 3, stride, 1), nn.ReLU(inplace=True),
            *normalised(width, 4 * width, 1))
        same = stride == 1 and channels == 4 * width
        self.shortcut = nn.Identity() if same else nn.Sequential(
            *normalised(channels, 4 * width, 1, stride))

    def forward(self, x):
        return torch.relu_(self.residual(x) + self.shortcut(x))


def resnet50():
    layers = [*normalised(3, 64, 7, 2, 3), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, blocks, stride in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, stride if block == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


BUILDERS = {builder.__name__: builder for builder in (vgg16, resnet50, alexnet, cifar, lenet5)}
