"""Results of a run as tables in Markdown, which read as text too."""

BEGIN = "<!-- bench:begin -->"
END = "<!-- bench:end -->"
PEERS = ["ONNX Runtime", "PyTorch", "Darknet", "tiny-dnn"]
MIB = 1024 * 1024


def number(value):
    """Three significant digits without an exponent."""
    if value is None:
        return ""
    decimals = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f}"


def percent(share):
    return "" if share is None else f"{share * 100:.0f} %"


def table(header, rows):
    """The first column is left-aligned, the others are numbers; padded to the widest cell."""
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header))]
    lines = []
    for line in [header, *rows]:
        cells = [cell.ljust(width) if column == 0 else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(line, widths))]
        lines.append("| " + " | ".join(cells) + " |")
    rule = [("-" * width) if column == 0 else "-" * (width - 1) + ":"
            for column, width in enumerate(widths)]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def best(row, title, key):
    """The variant of a contender with the smallest time, or None."""
    variants = [program for program in row["programs"]
                if program["title"] == title and program.get(key) is not None]
    return min(variants, key=lambda program: program[key], default=None)


def time_table(rows, key):
    """Milliseconds per batch; for the peers with the ratio to cnnc."""
    peers = [peer for peer in PEERS if any(best(row, peer, key) for row in rows)]
    lines = []
    for row in rows:
        own = best(row, "cnnc", key)
        cells = [row["title"], str(row["batch"]), number(own and own[key])]
        for peer in peers:
            theirs = best(row, peer, key)
            if not theirs:
                cells += ["", ""]
                continue
            cells += [number(theirs[key]), f"{theirs[key] / own[key]:.2f}" if own else ""]
        lines.append(cells)
    header = ["network", "batch", "cnnc"]
    for peer in peers:
        header += [peer, "ratio"]
    return table(header, lines)


def rate_table(rows):
    """cnnc's arithmetic per second and its share of the peak measured in the same process."""
    lines = []
    for row in rows:
        cells = [row["title"], str(row["batch"])]
        for kind in ("forward", "train"):
            own = best(row, "cnnc", f"{kind}_ms") or {}
            rate, peak = own.get(f"{kind}_gflops"), own.get("peak_gflops")
            cells += [number(rate), percent(rate / peak if rate and peak else None)]
        machine = row["machine"]
        cells += [number(machine["peak_gflops"]), number(machine["triad_gbs"])]
        lines.append(cells)
    return table(["network", "batch", "forward GFLOP/s", "of peak", "training GFLOP/s", "of peak",
                  "FMA peak", "triad GB/s"], lines)


def memory_table(rows):
    lines = []
    for row in rows:
        own, theirs = best(row, "cnnc", "train_ms"), best(row, "PyTorch", "train_ms")
        sizes = [program and program.get("peak_bytes") for program in (own, theirs)]
        ratio = f"{sizes[0] / sizes[1]:.2f}" if all(sizes) else ""
        lines.append([row["title"], str(row["batch"]),
                      *(number(size / MIB) if size else "" for size in sizes), ratio])
    return table(["network", "batch", "cnnc MiB", "PyTorch MiB", "cnnc / PyTorch"], lines)


def equal_layers(row):
    """Measured layers of the training program, those with the same work and shape together."""
    own = best(row, "cnnc", "train_ms")
    measured = {layer["name"]: layer for layer in (own or {}).get("layers", [])}
    groups = {}
    for layer in row.get("report", {}).get("layers", []):
        if layer["name"] in measured:
            key = (layer["kind"], tuple(layer["output"]), layer["weights"], layer["macs"])
            groups.setdefault(key, []).append(measured[layer["name"]])
    return groups


def group_share(layers, key):
    """Layers of equal work: the share of all is the harmonic mean of theirs."""
    shares = [layer.get(key) for layer in layers]
    if not all(shares):
        return None
    return len(shares) / sum(1 / share for share in shares)


def layer_table(row):
    lines = []
    for (kind, output, _, macs), layers in equal_layers(row).items():
        name = layers[0]["name"] + (f" and {len(layers) - 1} equal" if len(layers) > 1 else "")
        cells = [name, kind, "x".join(str(extent) for extent in output), number(macs / 1e6)]
        total = 0
        for part in ("forward", "data_gradient", "weight_gradient"):
            total += sum(layer.get(f"{part}_ms") or 0 for layer in layers)
            cells.append(percent(group_share(layers, f"{part}_share")))
        lines.append([*cells, number(total)])
    return table(["layer", "kind", "output", "MMAC", "forward", "data gradient", "weight gradient",
                  "ms, all three"], lines)


def layer_tables(rows):
    """One table per network, of its largest batch."""
    largest = {row["network"]: row for row in rows if equal_layers(row)}
    return "\n\n".join(f"{row['title']}, batch {row['batch']}:\n\n{layer_table(row)}"
                       for row in largest.values())


def versions(results):
    """Title and version of every peer that was measured."""
    found = {}
    for row in results["rows"]:
        for program in row["programs"]:
            if program.get("version"):
                found[program["title"]] = program["version"]
    return ", ".join(f"{title} {version}" for title, version in found.items())


def remarks(results):
    lines = [f"- {title} was not measured: {reason}."
             for title, reason in results["missing"].items()]
    lines += [f"- {failure['program']}, {failure['network']} at batch {failure['batch']}, failed: "
              f"{failure['reason']}" for failure in results["failures"]]
    spreads = [(program[key], row, program)
               for row in results["rows"] for program in row["programs"]
               for key in ("forward_spread", "train_spread") if key in program]
    if spreads and results["rounds"] > 1:
        spread, row, program = max(spreads, key=lambda item: item[0])
        lines.append(f"- The rounds lie up to {percent(spread)} apart ({program['title']}, "
                     f"{row['title']} at batch {row['batch']}).")
    disagreeing = disagreeing_peaks(results["rows"])
    if disagreeing:
        lines.append("- The FMA peak measured by the emitted program and by bench/peak.c differs "
                     f"(GFLOP/s): {'; '.join(disagreeing)}.")
    if results["machine"]["load_average"] > 0.5:
        lines.append(f"- The machine was busy when this began (load average "
                     f"{results['machine']['load_average']:.1f}).")
    return lines


def disagreeing_peaks(rows):
    """Rows in which cnnc's own measure of the peak and bench/peak.c lie more than a tenth apart."""
    found = []
    for row in rows:
        other = row["machine"]["peak_gflops"]
        for program in row["programs"]:
            own = program.get("peak_gflops")
            if own and other and not 0.9 < own / other < 1.1:
                found.append(f"{row['title']} at batch {row['batch']}, {program['variant']}: "
                             f"{number(own)} against {number(other)}")
    return found


def markdown(results):
    machine, rows = results["machine"], results["rows"]
    rounds = "1 round" if results["rounds"] == 1 else f"medians of {results['rounds']} rounds"
    parts = [
        f"Measured {machine['date']} on {machine['cpu']}, {machine['threads']} of "
        f"{machine['cores']} cores, {rounds}. {machine['cnnc']}; {machine['compiler']}; "
        f"{versions(results)}.",
        "\n".join(remarks(results)),
        "Inference, milliseconds per batch; ratio = peer / cnnc:", time_table(rows, "forward_ms"),
        "Training step, milliseconds per batch; ratio = peer / cnnc:", time_table(rows, "train_ms"),
        "Arithmetic of cnnc's programs:", rate_table(rows),
        "Peak memory of training:", memory_table(rows),
    ]
    layers = layer_tables(rows)
    if layers:
        parts += ["Share of the FMA peak by layer, in training:", layers]
    return "\n\n".join(part for part in parts if part)


def renew(page, text):
    """Replaces what stands between the marks of a page."""
    old = page.read_text(encoding="utf-8")
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise ValueError(f"{page}: needs one '{BEGIN}' and one '{END}' after it")
    before, rest = old.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
