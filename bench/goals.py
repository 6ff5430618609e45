"""What the emitted programs are meant to reach, and how far a run is from it."""

from typing import NamedTuple, Optional

from results import PARTS, equal_layers, find, group_share, largest_batches, memory_ratio, ratio
from results import thread_gain

# Network, at the least, goal: PyTorch's time over cnnc's, at the largest batch.
TRAINING = [("vgg16", 3, 4), ("resnet50", 1.6, 2), ("alexnet", 2, 2.5), ("cifar", 3, 4),
            ("lenet5", 5, 6)]
# Network, batch, at the least, goal: ONNX Runtime's time over cnnc's.
INFERENCE = [("vgg16", 8, 2, 2.5), ("resnet50", 1, 1.2, 1.5), ("alexnet", 32, None, 1.3),
             ("cifar", 64, 2, 3), ("lenet5", 64, None, 3), ("lenet5", 1, 4, 6)]
# Program, at the least, goal: the lowest share of the peak of multiply-adds over the convolutions
# of VGG-16 but the first.
SHARES = [("cnnc, direct kernels", 0.8, 0.85), ("cnnc, AVX2, direct kernels", 0.8, None)]
MEMORY = (0.7, 0.6)
SECOND_CORE = (1.7, 1.8)
DEEPEST_SECONDS, DEEPEST_BYTES = 10, 1e6


class Goal(NamedTuple):
    what: str
    least: Optional[float]
    aim: Optional[float]
    reached: float
    where: str = ""  # the one that is furthest from the goal, where there are several
    unit: str = "x"  # x: a ratio, %: a share, else the unit itself
    at_most: bool = False

    def meets(self, bound):
        return self.reached <= bound if self.at_most else self.reached >= bound

    @property
    def verdict(self):
        if self.meets(self.least if self.aim is None else self.aim):
            return "reached"
        return "at the least" if self.least is not None and self.meets(self.least) else "not yet"


def against_peers(rows):
    by_batch = {(row["network"], row["batch"]): row for row in rows}
    largest = largest_batches(rows)
    wanted = [("training, {}, over PyTorch", largest.get(network), "PyTorch", "train_ms", *bounds)
              for network, *bounds in TRAINING]
    wanted += [("inference, {}, over ONNX Runtime", by_batch.get((network, batch)),
                "ONNX Runtime", "forward_ms", *bounds) for network, batch, *bounds in INFERENCE]
    for what, row, peer, key, least, aim in wanted:
        found = row and ratio(row, peer, key)
        if found:
            yield Goal(what.format(f"{row['title']} (batch {row['batch']})"), least, aim, found)


def lowest_share(row, program, part):
    """(share, name of the layer) among the convolutions behind the first, or None."""
    found = []
    for group in equal_layers(row, program)[1:]:
        share = group_share(group, part)
        if share and group[0][0]["kind"] == "CONV":
            found.append((share, group[0][0]["name"]))
    return min(found, default=None)


def shares(rows):
    row = largest_batches(rows).get("vgg16")
    for title, least, aim in SHARES:
        for program in find(row, title) if row else []:
            for part in PARTS:
                lowest = lowest_share(row, program, part)
                if lowest:
                    yield Goal(f"share of the peak, VGG-16, {title.removeprefix('cnnc, ')}, "
                               f"{part.replace('_', ' ')}", least, aim, *lowest, unit="%")


def furthest(rows, figure, pick):
    """(figure, network) of the row that `pick` chooses among those that have the figure."""
    found = [(figure(row), row["title"]) for row in largest_batches(rows).values()]
    return pick((pair for pair in found if pair[0]), default=None)


def of_all_networks(rows, threads):
    memory = furthest(rows, memory_ratio, max)
    if memory:
        yield Goal("peak memory of training over PyTorch's", *MEMORY, *memory, at_most=True)
    for what, key in (("inference", "forward_ms"), ("training", "train_ms")):
        gain = furthest(rows, lambda row, key=key: thread_gain(row, key), min)
        if gain and threads == 2:
            yield Goal(f"a second core, {what}", *SECOND_CORE, *gain)


def size(deepest):
    if deepest:
        yield Goal("C compiler on the trainer of ResNet-152", DEEPEST_SECONDS, None,
                   deepest["compile_seconds"], unit="s", at_most=True)
        yield Goal("size of that trainer", DEEPEST_BYTES / 1e6, None, deepest["bytes"] / 1e6,
                   unit="MB", at_most=True)


def evaluate(results):
    rows = results["rows"]
    return [*against_peers(rows), *shares(rows),
            *of_all_networks(rows, results["machine"]["threads"]), *size(results.get("deepest"))]
