"""The benchmark networks: what `make bench` measures and at which batch sizes.

Each is described once for every program: networks/NAME.cnn for cnnc, peers/pytorch_networks.py for
PyTorch and (exported) ONNX Runtime, networks/NAME.cfg for Darknet, peers/tinydnn.cpp for tiny-dnn.
That cnnc and PyTorch mean the same network is checked by the count of parameters in every run.
"""

from typing import NamedTuple


class Network(NamedTuple):
    name: str
    title: str
    input: tuple  # channels, height, width
    classes: int
    batches: tuple
    # Peers that take minutes for the large networks run only these batches.
    darknet: tuple = ()
    tinydnn: tuple = ()

    @property
    def input_text(self):
        return "x".join(str(extent) for extent in self.input)


NETWORKS = [
    Network("vgg16", "VGG-16", (3, 224, 224), 1000, (1, 8)),
    Network("resnet50", "ResNet-50", (3, 224, 224), 1000, (1, 8)),
    Network("alexnet", "AlexNet", (3, 224, 224), 1000, (1, 32), darknet=(1,)),
    Network("cifar", "CIFAR net", (3, 32, 32), 10, (1, 64), darknet=(1, 64), tinydnn=(1, 64)),
    Network("lenet5", "LeNet-5", (1, 32, 32), 10, (1, 64), darknet=(1, 64), tinydnn=(1, 64)),
]
