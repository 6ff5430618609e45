#!/usr/bin/python3
"""Measures the emitted programs on this machine, against PyTorch, ONNX Runtime, Darknet, tiny-dnn.

For every network and batch size each program runs once per round, one after the other, in a process
of its own and with the same number of threads; the rounds lie in several sweeps over all networks.
What counts is the best of the rounds. The results go to standard output and as JSON into
build/bench/results.json; a full run also renews the tables in docs/performance.md. See there for how
to read them.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import re
import sys
import time

sys.dont_write_bytecode = True

import tables  # noqa: E402
from catalogue import NETWORKS  # noqa: E402
from programs import (  # noqa: E402
    PROGRAMS, ROOT, Cnnc, Failure, Peak, compile_deepest, execute, report)
from results import PARTS  # noqa: E402

# Slow minutes come and go on a machine that others share: all rows are measured so many times, one
# after the other, and no row lies in such minutes alone.
SWEEPS = 3
# A row of the tables that has taken this long gets one round in each further sweep.
ROW_SECONDS = 160
# What is beaten by this in every figure is not run again: by another variant of its contender, or
# so far by another contender that a disturbed round changes nothing.
BEATEN, FAR_BEHIND = 1.5, 10


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [network.name for network in NETWORKS]
    parser.add_argument("--networks", metavar="NAME,...", type=lambda text: text.split(","),
                        default=names, help="of " + ", ".join(names))
    parser.add_argument("--batches", metavar="N,...",
                        type=lambda text: [positive(n) for n in text.split(",")],
                        help="only these of each network's batch sizes")
    parser.add_argument("--threads", metavar="N", type=positive,
                        default=len(os.sched_getaffinity(0)), help="default: every core")
    parser.add_argument("--rounds", metavar="N", type=positive,
                        help="at most (default 8, with --quick 1)")
    parser.add_argument("--seconds", metavar="S", type=float,
                        help="per measurement, of the peers (default 1, with --quick 0.2)")
    parser.add_argument("--quick", action="store_true",
                        help="one short round: a check, not a result")
    parser.add_argument("--build", metavar="DIR", type=pathlib.Path, default=ROOT / "build",
                        help="where cnnc is and the rest goes (default build)")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path,
                        help="default DIR/bench/results.json")
    parser.add_argument("--docs", action=argparse.BooleanOptionalAction,
                        help="renew docs/performance.md (default: only after a full run)")
    parser.add_argument("--cc", default=os.environ.get("CC", "cc"),
                        help="C compiler (default $CC or cc)")
    for switch in sorted({program.switch for program in PROGRAMS if program.switch}):
        parser.add_argument(f"--no-{switch}", dest="without", action="append_const", const=switch,
                            default=[])
    options = parser.parse_args()
    unknown = sorted(set(options.networks) - set(names))
    if unknown:
        parser.error(f"no network called {', '.join(unknown)}; there are {', '.join(names)}")
    measured = sorted({batch for network in NETWORKS if network.name in options.networks
                       for batch in network.batches})
    if options.batches and not set(options.batches) & set(measured):
        parser.error("no such batch size; there are " + ", ".join(map(str, measured)))
    full = not options.quick and not options.without and not options.batches \
        and set(options.networks) == set(names)
    options.docs = full if options.docs is None else options.docs
    options.cnnc, options.work = options.build.resolve() / "cnnc", options.build.resolve() / "bench"
    options.json = options.json or options.work / "results.json"
    options.rounds = options.rounds or (1 if options.quick else 8)
    options.seconds = options.seconds or (0.2 if options.quick else 1.0)
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


def cpu_model():
    match = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return match.group(1) if match else os.uname().machine


def first_line(command):
    try:
        return execute(command, 60).splitlines()[0]
    except (Failure, IndexError):
        return "unknown"


def describe_machine(options):
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"warning: the load average is {load:.1f}: other work disturbs the figures")
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "compiler": first_line([options.cc, "--version"]),
        "cnnc": first_line([options.cnnc, "--version"]),
        "load_average": load,
    }


def choose_programs(options):
    """The programs that this machine has, and why the others are missing, by title."""
    chosen, missing = [], {}
    for kind in PROGRAMS:
        if kind.switch in options.without:
            continue
        program = kind(options)
        reason = missing.get(program.title) or program.missing()
        if reason:
            missing[program.title] = reason
        else:
            chosen.append(program)
    return chosen, missing


def prepare(programs, network, batch, failures):
    """Builds everything for one row; the programs that can run it."""
    ready = []
    for program in programs:
        if not program.runs(network, batch):
            continue
        try:
            program.prepare(network, batch)
            ready.append(program)
        except Failure as failure:
            note_failure(failures, network, batch, program, failure)
    return ready


def note_failure(failures, network, batch, program, failure):
    say(f"{network.name} b={batch} {program.label}: {failure}")
    failures.append({"network": network.name, "batch": batch, "program": program.label,
                     "reason": str(failure)})


# Of the rounds the best counts: whatever else the machine does only takes time away.
BEST = {"threads": max, "parameters": max, "peak_bytes": max, "forward_ms": min, "train_ms": min,
        "forward_gflops": max, "train_gflops": max, "peak_gflops": max, "bandwidth_gbs": max,
        "read_gbs": max, "triad_gbs": max}
TIMES = ("forward_ms", "train_ms")


def best_of(runs, key):
    values = [run[key] for run in runs if isinstance(run.get(key), (int, float))]
    return BEST[key](values) if values else None


def best_layers(runs):
    """Each layer and part in its fastest run, as a share of the highest peak."""
    peak, layers = best_of(runs, "peak_gflops"), []
    for found in zip(*(run["layers"] for run in runs)):
        layer = {"name": found[0]["name"]}
        for part in PARTS:
            run, times = min(zip(runs, found), key=lambda pair: pair[1][f"{part}_ms"])
            layer[f"{part}_ms"] = times[f"{part}_ms"]
            layer[f"{part}_share"] = times[f"{part}_share"] * run["peak_gflops"] / peak
        layers.append(layer)
    return layers


def summarise(runs):
    """One program's runs of one row: the best figures, and how far the rounds lie apart."""
    summary = {key: best_of(runs, key) for key in BEST if best_of(runs, key) is not None}
    for key in TIMES:
        if key in summary:
            values = [run[key] for run in runs]
            summary[key.replace("_ms", "_spread")] = (max(values) - min(values)) / summary[key]
    if "version" in runs[0]:
        summary["version"] = runs[0]["version"]
    if runs[0].get("layers"):
        summary["layers"] = best_layers(runs)
    return summary


def beaten(program, runs):
    """Whether another program was that much faster in everything that both do."""
    own = runs[program]
    for other, theirs in runs.items():
        if other is program or not own or not theirs:
            continue
        factor = BEATEN if other.title == program.title else FAR_BEHIND
        keys = [key for key in TIMES if key in own[0]]
        if all(own[0][key] > factor * theirs[0].get(key, own[0][key]) for key in keys):
            return True
    return False


class Row:
    """One network at one batch size, measured in rounds: every program once, one by one."""

    def __init__(self, programs, network, batch, failures):
        self.network, self.batch, self.failures = network, batch, failures
        self.ready = prepare(programs, network, batch, failures)
        self.runs, self.peaks = {program: [] for program in self.ready}, []
        self.seconds = 0

    def measure_program(self, program):
        result = program.run(self.network, self.batch)
        figures = ", ".join(f"{kind} {result[kind + '_ms']:.3f} ms" for kind in ("forward", "train")
                            if result.get(kind + "_ms"))
        say(f"{self.network.name} b={self.batch} round {len(self.peaks)}: {program.label}: "
            f"{figures}")
        self.runs[program].append(result)

    def measure_round(self, peak):
        start = time.monotonic()
        self.peaks.append(peak.run())
        for program in list(self.ready):
            try:
                self.measure_program(program)
            except Failure as failure:
                note_failure(self.failures, self.network, self.batch, program, failure)
                self.ready.remove(program)
        if len(self.peaks) == 1:
            self.ready = [program for program in self.ready if not beaten(program, self.runs)]
        self.seconds += time.monotonic() - start

    def measure_sweep(self, peak, share, rounds):
        """The rounds that use `share` of the time and of at most `rounds`, but one at the least."""
        due = len(self.peaks) < rounds
        while due:
            self.measure_round(peak)
            due = len(self.peaks) < share * rounds and self.seconds < share * ROW_SECONDS

    def results(self):
        return {
            "network": self.network.name, "title": self.network.title, "batch": self.batch,
            "rounds": len(self.peaks),
            "programs": [{"title": program.title, "variant": program.variant, **summarise(done)}
                         for program, done in self.runs.items() if done],
            "machine": {key: best_of(self.peaks, key)
                        for key in ("peak_gflops", "read_gbs", "triad_gbs")},
        }


def check_same_network(row, described):
    """The descriptions for cnnc and for PyTorch must mean the same network."""
    for program in row["programs"]:
        theirs = program.get("parameters")
        if theirs is not None and theirs != described["totals"]["params"]:
            raise Failure(f"{row['network']}: cnnc counts {described['totals']['params']} "
                          f"parameters, {program['title']} {theirs:.0f}: not the same network")


def add_description(row, described):
    """The layers that multiply; `elements` counts what one example reads and writes there."""
    check_same_network(row, described)
    outputs = {"input": described["input"],
               **{layer["name"]: layer["output"] for layer in described["layers"]}}
    layers = []
    for layer in described["layers"]:
        if layer["macs"]:
            tensors = [layer["name"], *layer["inputs"]]
            layers.append({
                **{key: layer[key] for key in ("name", "kind", "output", "weights", "macs")},
                "elements": sum(math.prod(outputs[name]) for name in tensors)})
    row["report"] = {"macs": described["totals"]["macs"], "layers": layers}


def row_results(row, described):
    found = row.results()
    if row.network in described:
        add_description(found, described[row.network])
    return found


def measure_all(options):
    programs, missing = choose_programs(options)
    results = {"machine": describe_machine(options), "rounds": options.rounds,
               "seconds": options.seconds, "missing": missing, "failures": [], "rows": []}
    for title, reason in missing.items():
        say(f"{title} is left out: {reason}")
    peak = Peak(options)
    peak.prepare()
    has_cnnc = any(isinstance(program, Cnnc) for program in programs)
    described = {network: report(options, network)
                 for network in NETWORKS if has_cnnc and network.name in options.networks}
    rows = [Row(programs, network, batch, results["failures"])
            for network in NETWORKS if network.name in options.networks
            for batch in network.batches if not options.batches or batch in options.batches]
    for sweep in range(1, SWEEPS + 1):
        for row in rows:
            row.measure_sweep(peak, sweep / SWEEPS, options.rounds)
            results["rows"] = [row_results(row, described) for row in rows if row.peaks]
            write_json(options.json, results)
    if has_cnnc and not options.quick:
        results["deepest"] = compile_deepest(options)
        write_json(options.json, results)
    return results


def write_json(file, results):
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(json.dumps(results, indent=1) + "\n")
    fresh.replace(file)


def main():
    options = parse_arguments()
    try:
        results = measure_all(options)
    except Failure as failure:
        say(f"bench: {failure}")
        return 1
    text = tables.markdown(results)
    print(text)
    say(f"written: {options.json}")
    if options.docs:
        tables.renew(ROOT / "docs" / "performance.md", text)
        say("written: docs/performance.md")
    cnnc_failed = any(failure["program"].startswith("cnnc") for failure in results["failures"])
    return 1 if cnnc_failed or "cnnc" in results["missing"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
