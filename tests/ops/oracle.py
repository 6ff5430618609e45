"""The main layers written as plain sums over indices, in float64: slow, obvious, independent of both
cnnc and PyTorch. Arrays are one example, C x H x W."""

import itertools

import numpy as np


def taps(shape, kernel, stride, pad, dilation=(1, 1), outputs=None):
    """For each output position: ((row, column), [(kernel row, kernel column, row, column)]) of the
    taps that lie inside the input."""
    if outputs is None:
        outputs = [(shape[1 + a] + 2 * pad[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)]
    for out in itertools.product(*map(range, outputs)):
        inside = []
        for tap in itertools.product(range(kernel[0]), range(kernel[1])):
            place = [out[a] * stride[a] - pad[a] + tap[a] * dilation[a] for a in (0, 1)]
            if all(0 <= place[a] < shape[1 + a] for a in (0, 1)):
                inside.append((*tap, *place))
        yield out, inside


def output_array(channels, positions):
    rows = 1 + max(out[0] for out, _ in positions)
    columns = 1 + max(out[1] for out, _ in positions)
    return np.zeros((channels, rows, columns))


def convolution(x, weight, bias, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1):
    """Goodfellow, Bengio and Courville 2016, eq. 9.6 (cross-correlation), with groups."""
    filters, depth = weight.shape[:2]
    positions = list(taps(x.shape, weight.shape[2:], stride, pad, dilation))
    y = output_array(filters, positions)
    for out, inside in positions:
        for f in range(filters):
            first = f // (filters // groups) * depth
            total = bias[f]
            for c in range(depth):
                for kernel_row, kernel_column, row, column in inside:
                    total += weight[f, c, kernel_row, kernel_column] * x[first + c, row, column]
            y[(f, *out)] = total
    return y


def pool(x, kernel, stride, pad=(0, 0), average=False, count_pad=True):
    positions = list(taps(x.shape, kernel, stride, pad))
    y = output_array(len(x), positions)
    for out, inside in positions:
        for c in range(len(x)):
            values = [x[c, row, column] for _, _, row, column in inside]
            count = kernel[0] * kernel[1] if count_pad else len(values)
            y[(c, *out)] = sum(values) / count if average else max(values)
    return y


def local_response(x, n, k, alpha, beta):
    """Krizhevsky, Sutskever and Hinton 2012, section 3.3."""
    y = np.zeros(x.shape)
    for c, row, column in np.ndindex(*x.shape):
        window = range(max(0, c - n // 2), min(len(x), c - n // 2 + n))
        total = sum(x[j, row, column] ** 2 for j in window)
        y[c, row, column] = x[c, row, column] / (k + alpha * total) ** beta
    return y


def batch_norm(x, weight, bias, mean, variance, eps=1e-5):
    """Ioffe and Szegedy 2015, algorithm 2: in evaluation, with the running statistics."""
    y = np.zeros(x.shape)
    for c in range(len(x)):
        y[c] = (x[c] - mean[c]) / np.sqrt(variance[c] + eps) * weight[c] + bias[c]
    return y


def convolution_case(**options):
    return lambda x, w: convolution(x, w["conv1.weight"], w.get("conv1.bias", np.zeros(len(w["conv1.weight"]))), **options)


# Description, what it must compute from one example and the weights.
CASES = [
    ("input 3x7x6\nnet = CONV(4, 3x3)", convolution_case()),
    ("input 3x7x6\nnet = CONV(4, 3x2, stride=2x1, pad=1x0)", convolution_case(stride=(2, 1), pad=(1, 0))),
    ("input 2x9x8\nnet = CONV(3, 3x3, dilation=3x2, pad=2, bias=false)",
     convolution_case(pad=(2, 2), dilation=(3, 2))),
    ("input 6x5x5\nnet = CONV(9, 3x3, groups=3, pad=2, stride=2)",
     convolution_case(stride=(2, 2), pad=(2, 2), groups=3)),
    ("input 16x6x6\nnet = CONV(16, 3x3, pad=1)", convolution_case(pad=(1, 1))),
    ("input 32x5x5\nnet = CONV(40, 1x1)", convolution_case()),
    ("input 4x6x6\nnet = DWCONV(3x3, multiplier=2, pad=1)",
     lambda x, w: convolution(x, w["dwconv1.weight"], w["dwconv1.bias"], pad=(1, 1), groups=4)),
    ("input 3x6x6\nnet = MAXPOOL(2x2)", lambda x, w: pool(x, (2, 2), (2, 2))),
    ("input 3x7x5\nnet = MAXPOOL(3x3, stride=2, pad=1)", lambda x, w: pool(x, (3, 3), (2, 2), (1, 1))),
    ("input 3x7x5\nnet = AVGPOOL(3x3, stride=2, pad=1)",
     lambda x, w: pool(x, (3, 3), (2, 2), (1, 1), average=True)),
    ("input 3x7x5\nnet = AVGPOOL(3x3, stride=2, pad=1, count_pad=false)",
     lambda x, w: pool(x, (3, 3), (2, 2), (1, 1), average=True, count_pad=False)),
    ("input 8x3x4\nnet = LRN(n=5, k=2, alpha=0.2, beta=0.75)",
     lambda x, w: local_response(x, 5, 2, 0.2, 0.75)),
    ("input 8x3x4\nnet = LRN(n=4, k=1, alpha=0.5, beta=0.5)",
     lambda x, w: local_response(x, 4, 1, 0.5, 0.5)),
    ("input 4x3x5\nnet = BN",
     lambda x, w: batch_norm(x, *(w[f"bn1.{n}"] for n in ("weight", "bias", "running_mean", "running_var")))),
    ("input 4x3x5\nnet = BN(eps=0.1)",
     lambda x, w: batch_norm(x, *(w[f"bn1.{n}"] for n in ("weight", "bias", "running_mean", "running_var")), 0.1)),
    ("input 3x4x4\nnet = GAP", lambda x, w: x.mean((1, 2), keepdims=True)),
    ("input 3x4x5\nnet = FC(7)", lambda x, w: w["fc1.weight"] @ x.reshape(-1) + w["fc1.bias"]),
    ("input 5x2x3\nnet = SOFTMAX", lambda x, w: np.exp(x) / np.exp(x).sum(0)),
]
