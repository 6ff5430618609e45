"""Results of a run as tables in Markdown, which read as text too."""

import statistics

import goals
from results import PARTS, best, equal_layers, find, group_share, ideal_ms, largest_batches
from results import memory_ratio, ratio, thread_gain

BEGIN = "<!-- bench:begin -->"
END = "<!-- bench:end -->"
PEERS = ["ONNX Runtime", "PyTorch", "Darknet", "tiny-dnn"]
# Programs of cnnc whose work per second is held against their own measure of the peak.
RATED = ["cnnc", "cnnc, direct kernels", "cnnc, AVX2, direct kernels"]
MIB = 1024 * 1024


def number(value):
    """Three significant digits without an exponent."""
    if value is None:
        return ""
    decimals = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f}"


def percent(share):
    return "" if share is None else f"{share * 100:.0f} %"


def times(value):
    return "" if value is None else f"{value:.2f}"


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
            cells += [number(theirs[key]), times(ratio(row, peer, key))]
        lines.append(cells)
    header = ["network", "batch", "cnnc"]
    for peer in peers:
        header += [peer, "ratio"]
    return table(header, lines)


def goal_table(found):
    def cell(goal, value):
        if value is None:
            return ""
        return percent(value) if goal.unit == "%" else times(value) if goal.unit == "x" \
            else f"{number(value)} {goal.unit}"

    lines = [[goal.what, cell(goal, goal.least), cell(goal, goal.aim),
              cell(goal, goal.reached), goal.where, goal.verdict] for goal in found]
    return table(["what", "at the least", "goal", "reached", "where", "verdict"], lines)


def rate_table(rows):
    """cnnc's arithmetic per second and its share of the peak measured in the same process."""
    lines = []
    for row in rows:
        for title in RATED:
            cells = [row["title"], str(row["batch"]), title]
            for kind in ("forward", "train"):
                own = best(row, title, f"{kind}_ms") or {}
                rate, peak = own.get(f"{kind}_gflops"), own.get("peak_gflops")
                cells += [number(own.get(f"{kind}_ms")), number(rate),
                          percent(rate / peak if rate and peak else None)]
            if find(row, title):
                lines.append([*cells, number(find(row, title)[-1].get("peak_gflops"))])
    return table(["network", "batch", "program", "inference ms", "GFLOP/s", "of peak",
                  "training ms", "GFLOP/s", "of peak", "its FMA peak"], lines)


def memory_table(rows):
    lines = []
    for row in rows:
        programs = [best(row, title, "train_ms") or {} for title in ("cnnc", "PyTorch")]
        sizes = [program.get("peak_bytes") for program in programs]
        lines.append([row["title"], str(row["batch"]),
                      *(number(size / MIB) if size else "" for size in sizes),
                      times(memory_ratio(row))])
    return table(["network", "batch", "cnnc MiB", "PyTorch MiB", "cnnc / PyTorch"], lines)


def thread_table(rows):
    lines = [[row["title"], str(row["batch"]), times(thread_gain(row, "forward_ms")),
              times(thread_gain(row, "train_ms"))]
             for row in rows if thread_gain(row, "forward_ms")]
    return table(["network", "batch", "inference", "training"], lines) if lines else ""


def layer_table(row, program):
    """The layers that multiply, one line for all equal ones, then what is left of a step."""
    lines, named = [], 0
    for group in equal_layers(row, program):
        layer, total, ideal = group[0][0], 0, 0
        limit_ms, limit = ideal_ms(row, program, layer)
        shares = []
        for part in PARTS:
            measured = [found.get(f"{part}_ms") or 0 for _, found in group]
            total += sum(measured)
            ideal += limit_ms * sum(1 for value in measured if value)
            shares.append(percent(group_share(group, part)))
        named += total
        name = layer["name"] + (f" and {len(group) - 1} equal" if len(group) > 1 else "")
        lines.append([name, layer["kind"], "x".join(str(extent) for extent in layer["output"]),
                      number(layer["macs"] / 1e6), *shares, number(total), number(ideal), limit])
    every = sum(layer.get(f"{part}_ms") or 0 for layer in program["layers"] for part in PARTS)
    lines.append(["other layers", *[""] * 6, number(every - named), "", ""])
    rest = program["train_ms"] - every
    lines.append(["optimizer and the rest", *[""] * 6, number(max(rest, 0)), "", ""])
    return table(["layer", "kind", "output", "MMAC", "forward", "data gradient", "weight gradient",
                  "ms, all three", "ideal ms", "limit"], lines)


def layer_tables(rows):
    """One table per network, of its largest batch; for VGG-16 the direct kernels as well."""
    parts = []
    for row in largest_batches(rows).values():
        programs = [best(row, title, "train_ms")
                    for title in (RATED if row["network"] == "vgg16" else RATED[:1])]
        parts += [f"{row['title']}, batch {row['batch']}, {program['title']}:\n\n"
                  f"{layer_table(row, program)}"
                  for program in programs if program and equal_layers(row, program)]
    return "\n\n".join(parts)


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
    # The reason is a command with paths of this machine: it stands in the JSON.
    lines += [f"- {failure['program']}, {failure['network']} at batch {failure['batch']}, failed."
              for failure in results["failures"]]
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
            own = program["title"] == "cnnc" and program.get("peak_gflops")
            if own and other and not 0.9 < own / other < 1.1:
                found.append(f"{row['title']} at batch {row['batch']}, {program['variant']}: "
                             f"{number(own)} against {number(other)}")
    return found


def rounds_text(counts):
    """How many rounds the rows had."""
    fewest, most = min(counts, default=0), max(counts, default=0)
    if most <= 1:
        return f"{most} round{'' if most else 's'}"
    return f"best of {most if fewest == most else f'{fewest} to {most}'} rounds"


def machine_text(results):
    """Where and with what, and what the machine can do."""
    machine, rows = results["machine"], results["rows"]
    rounds = rounds_text([row["rounds"] for row in rows])
    text = (f"Measured {machine['date']} on {machine['cpu']}, {machine['threads']} of "
            f"{machine['cores']} cores, {rounds}. {machine['cnnc']}; {machine['compiler']}; "
            f"{versions(results)}.")
    if rows:
        peak, read, triad = (statistics.median(row["machine"][key] for row in rows)
                             for key in ("peak_gflops", "read_gbs", "triad_gbs"))
        text += (f" Fused multiply-adds: {number(peak)} GFLOP/s; memory: {number(read)} GB/s "
                 f"reading, {number(triad)} GB/s in the triad.")
    return text


def markdown(results):
    rows = results["rows"]
    found = goals.evaluate(results)
    titled = [
        ("Goals (ratio = peer's time / cnnc's, where nothing else is said):",
         goal_table(found) if found else ""),
        ("Inference, milliseconds per batch; ratio = peer / cnnc:", time_table(rows, "forward_ms")),
        ("Training step, milliseconds per batch; ratio = peer / cnnc:",
         time_table(rows, "train_ms")),
        ("Arithmetic of cnnc's programs:", rate_table(rows)),
        (f"One thread's time over that of {results['machine']['threads']}:", thread_table(rows)),
        ("Peak memory of training:", memory_table(rows)),
        ("Share of the FMA peak by layer, in training:", layer_tables(rows)),
    ]
    parts = [machine_text(results), "\n".join(remarks(results))]
    for title, body in titled:
        parts += [title, body] if body else []
    return "\n\n".join(part for part in parts if part)


def renew(page, text):
    """Replaces what stands between the marks of a page."""
    old = page.read_text(encoding="utf-8")
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise ValueError(f"{page}: needs one '{BEGIN}' and one '{END}' after it")
    before, rest = old.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
