"""What the tables and goals ask of the results of a run, as run.py writes them."""

PARTS = ("forward", "data_gradient", "weight_gradient")
NUMBER_BYTES = 4


def find(row, title):
    """The programs of a row with this title: the variants of one contender."""
    return [program for program in row["programs"] if program["title"] == title]


def best(row, title, key):
    """The variant of a contender with the smallest time, or None."""
    variants = [program for program in find(row, title) if program.get(key) is not None]
    return min(variants, key=lambda program: program[key], default=None)


def largest_batches(rows):
    """{network: its row of the largest batch}, in the order of the rows."""
    found = {}
    for row in rows:
        if row["batch"] >= found.get(row["network"], row)["batch"]:
            found[row["network"]] = row
    return found


def ratio(row, peer, key):
    """The peer's time over cnnc's, or None."""
    own, theirs = best(row, "cnnc", key), best(row, peer, key)
    return theirs[key] / own[key] if own and theirs else None


def memory_ratio(row):
    """cnnc's peak memory of training over PyTorch's, or None."""
    sizes = [(best(row, title, "train_ms") or {}).get("peak_bytes")
             for title in ("cnnc", "PyTorch")]
    return sizes[0] / sizes[1] if all(sizes) else None


def thread_gain(row, key):
    """The time of one thread over that of all, in the same program, or None."""
    alone = best(row, "cnnc, one thread", key)
    together = next((program for program in find(row, "cnnc") if "train_ms" in program), None)
    return alone[key] / together[key] if alone and together else None


def equal_layers(row, program):
    """Lists of (description, times) of the layers that multiply, those of equal work together."""
    times = {layer["name"]: layer for layer in program.get("layers", [])}
    groups = {}
    for layer in row.get("report", {}).get("layers", []):
        if layer["name"] in times:
            key = (layer["kind"], tuple(layer["output"]), layer["weights"], layer["macs"],
                   layer["elements"])
            groups.setdefault(key, []).append((layer, times[layer["name"]]))
    return list(groups.values())


def group_share(group, part):
    """Layers of equal work: the share of all is the harmonic mean of theirs; None: not measured."""
    shares = [times.get(f"{part}_share") for _, times in group]
    return len(shares) / sum(1 / share for share in shares) if all(shares) else None


def ideal_ms(row, program, layer):
    """(milliseconds of one pass over a layer at the machine's limits, which one it is): the peak of
    multiply-adds or the bandwidth for weights, input and output, each touched once. The roofline
    model of S. Williams, A. Waterman and D. Patterson, 2009."""
    arithmetic = 2 * layer["macs"] * row["batch"] / program["peak_gflops"] / 1e6
    moved = NUMBER_BYTES * (layer["weights"] + row["batch"] * layer["elements"])
    memory = moved / row["machine"]["read_gbs"] / 1e6
    return max((arithmetic, "arithmetic"), (memory, "memory"))
