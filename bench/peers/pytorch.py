#!/usr/bin/python3
"""Measures one network under PyTorch and prints one line of JSON, or exports it as ONNX.

usage: pytorch.py NETWORK --input 3x32x32 --classes 10 --batch N
                  (--threads N --seconds S --layout contiguous|channels_last | --export FILE)
"""

import argparse
import json
import statistics
import sys
import time

sys.dont_write_bytecode = True


def status_bytes(field):
    """A line of /proc/self/status: VmRSS (now) or VmHWM (the peak)."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def median_ms(step, seconds, minimum=3):
    """Median of at least `minimum` steps within about `seconds`, after one warm-up step or, for
    short steps, a fifth of the time."""
    start = time.perf_counter()
    while True:
        step()
        if time.perf_counter() - start > seconds / 5:
            break
    samples = []
    start = time.perf_counter()
    while len(samples) < minimum or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        step()
        samples.append(time.perf_counter() - before)
    return statistics.median(samples) * 1e3


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network")
    parser.add_argument("--input", required=True,
                        type=lambda text: [int(n) for n in text.split("x")])
    parser.add_argument("--classes", required=True, type=int)
    parser.add_argument("--batch", required=True, type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="contiguous")
    parser.add_argument("--export", metavar="FILE")
    return parser.parse_args()


def export(torch, model, x, file):
    model.eval()
    torch.onnx.export(model, x, file, input_names=["input"], output_names=["output"],
                      do_constant_folding=True)


def measure(torch, model, options, x, target):
    model.eval()
    with torch.no_grad():
        forward_ms = median_ms(lambda: model(x), options.seconds)

    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=5e-4)
    loss_of = torch.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss_of(model(x), target).backward()
        optimizer.step()

    return forward_ms, median_ms(step, options.seconds)


def main():
    options = parse_arguments()
    import torch
    from pytorch_networks import BUILDERS

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    imported = status_bytes("VmRSS")
    model = BUILDERS[options.network]()
    x = torch.randn(options.batch, *options.input)
    if options.export:
        export(torch, model, x, options.export)
        return
    target = torch.randint(0, options.classes, (options.batch,))
    if options.layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    forward_ms, train_ms = measure(torch, model, options, x, target)
    print(json.dumps({
        "version": torch.__version__, "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "forward_ms": forward_ms, "train_ms": train_ms,
        "peak_bytes": status_bytes("VmHWM") - imported}))


if __name__ == "__main__":
    main()
