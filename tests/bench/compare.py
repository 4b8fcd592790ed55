"""Compare netsvc with a sink that stores nothing: same client, same machine, in turn; medians of ratios.

    python tests/bench/compare.py [--quick] [--only accept_1 accept_100 large idle relay] [--json FILE]

accept_1, accept_100   4 KB messages into a local mailbox, 20 sessions, 1 and 100 a connection; ratio to the sink's rate
large                  1 MB messages, 4 sessions: MB/s, ratio to the sink's, and how far the service's memory grew
idle                   2,000 idle sessions: KiB of memory each, and how long a new one waits meanwhile
relay                  5,000 x 4 KB accepted and relayed to the sink: end to end rate against the sink's own at 1 a connection

Absolute figures do not travel between machines, ratios nearly do.  Every message counted was acknowledged after it was
durable.  The exit status is 0 when all goals are met, 1 when not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.processes import HERE, MIB, Bench, cpu_seconds, fdatasync_ms, forget_peak, load, memory

GOALS = {
    "accept_1": ("ratio", 0.35),
    "accept_100": ("ratio", 0.45),
    "large": ("mb_per_s", 150),
    "large_memory": ("growth_mib", 64),
    "idle": ("kib_each", 16),
    "relay": ("ratio", 0.20),
}
AT_MOST = {"large_memory", "idle"}


def in_turn(bench, rounds, *options):
    """Run the same load against the sink and the service in turn -> figures with the median of the ratios."""
    load(bench.smtp, "-s", "20", "-m", "300", "--size", "4096")  # both have run before anything counts
    sink, ours, cpu = [], [], []
    for _ in range(rounds):
        sink.append(load(bench.sink.port, *options))
        before = cpu_seconds(bench.pid)
        ours.append(load(bench.smtp, *options))
        cpu.append(1000 * (cpu_seconds(bench.pid) - before) / ours[-1]["acked"])
    ratios = [a["msgs_per_s"] / b["msgs_per_s"] for a, b in zip(ours, sink, strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "msgs_per_s": statistics.median(r["msgs_per_s"] for r in ours),
        "mb_per_s": statistics.median(r["mb_per_s"] for r in ours),
        "sink_msgs_per_s": statistics.median(r["msgs_per_s"] for r in sink),
        "sink_mb_per_s": statistics.median(r["mb_per_s"] for r in sink),
        "cpu_s_per_1000": round(statistics.median(cpu), 3),
        "p50_ms": statistics.median(r["latency_ms"]["transaction"]["p50"] for r in ours),
        "p99_ms": statistics.median(r["latency_ms"]["transaction"]["p99"] for r in ours),
    }


def accept(per_connection, messages):
    def measure(quick):
        count = str(messages // 4 if quick else messages)
        with Bench() as bench:
            return in_turn(bench, 3, "-s", "20", "--size", "4096", "--per-connection", str(per_connection), "-m", count)

    return measure


def large(quick):
    with Bench() as bench:
        load(bench.smtp, "-s", "4", "-m", "40", "--size", str(MIB), "--per-connection", "0")
        forget_peak(bench.pid)
        before = memory(bench.pid)["rss"]
        count = "80" if quick else "400"
        figures = in_turn(bench, 1 if quick else 3, "-s", "4", "--size", str(MIB), "--per-connection", "0", "-m", count)
        figures["growth_mib"] = round((memory(bench.pid)["peak"] - before) / MIB, 1)
        figures["ratio"] = round(figures["mb_per_s"] / figures["sink_mb_per_s"], 3)
        return figures


def idle(quick):
    count = 500 if quick else 2000
    with Bench() as bench:
        load(bench.smtp, "-s", "20", "-m", "300", "--size", "4096")
        load(bench.smtp, "idle", "--count", "50", "--hold", "0", "--probes", "5")
        before = memory(bench.pid)
        ready = Path(bench.folder.name) / "ready"
        command = [sys.executable, str(HERE / "smtpload.py"), "idle", "-p", str(bench.smtp), "--compact"]
        command += ["--to", "load@bench.example", "--count", str(count), "--hold", "6", "--ready-file", str(ready)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            while not ready.exists() and client.poll() is None:
                time.sleep(0.05)
            after = memory(bench.pid)
            result = json.loads(client.communicate()[0])
        held = max(result["held"], 1)
        return {
            "kib_each": round((after["pss"] - before["pss"]) / 1024 / held, 2),
            "rss_kib_each": round((after["rss"] - before["rss"]) / 1024 / held, 2),
            "held": result["held"],
            "still_open_at_end": result["still_open_at_end"],
            "probe_banner_p99_ms": result["probe_banner_ms"]["p99"],
            "probe_message_p99_ms": result["probe_message_ms"]["p99"],
        }


def relay(quick):
    count = 1000 if quick else 5000
    rounds = 1 if quick else 3
    options = ("-s", "20", "--size", "4096", "--per-connection", "1", "-m", str(count))
    ratios, rates, accepts, cpu = [], [], [], []
    with Bench() as bench:
        load(bench.smtp, "-s", "20", "-m", "300", "--size", "4096", to="x@relay.example")
        came = bench.sink.stat(wait_messages=300)["messages"]
        for _ in range(rounds):
            alone = load(bench.sink.port, *options)["msgs_per_s"]
            came += count
            begun = cpu_seconds(bench.pid)
            start = time.time_ns()
            accepts.append(load(bench.smtp, *options, to="x@relay.example")["msgs_per_s"])
            came += count
            last = bench.sink.stat(wait_messages=came)["last_ns"]
            cpu.append(1000 * (cpu_seconds(bench.pid) - begun) / count)
            rates.append(count / ((last - start) / 1e9))
            ratios.append(rates[-1] / alone)
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "end_to_end_per_s": round(statistics.median(rates), 1),
        "accepted_per_s_meanwhile": statistics.median(accepts),
        "cpu_s_per_1000": round(statistics.median(cpu), 3),
    }


MEASURES = {
    "accept_1": accept(1, 3000),
    "accept_100": accept(100, 6000),
    "large": large,
    "idle": idle,
    "relay": relay,
}


def measure(names, *, quick):
    """Run the named measures -> {name: figures}."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))  # the service inherits it
    return {name: MEASURES[name](quick) for name in names}


def verdicts(figures):
    """-> [(goal's name, what it is about, wanted, got, met)]"""
    rows = []
    for name, (key, wanted) in GOALS.items():
        measured = figures.get(name.removesuffix("_memory"))
        if measured:
            got = measured[key]
            rows.append((name, key, wanted, got, got <= wanted if name in AT_MOST else got >= wanted))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer messages: a first look, no figure to quote")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    figures = measure(options.only, quick=options.quick)
    result = {
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "fdatasync_ms": fdatasync_ms(tempfile.gettempdir()),
        },
        "quick": options.quick,
        "figures": figures,
    }
    print(json.dumps(result, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    rows = verdicts(figures)
    print(f"\n{'MEASURE':14} {'FIGURE':11} {'GOAL':>8} {'GOT':>8}")
    for name, key, wanted, got, met in rows:
        print(
            f"{name:14} {key:11} {'<=' if name in AT_MOST else '>='}{wanted:>6} {got:>8} {'met' if met else 'MISSED'}"
        )
    return 0 if all(row[-1] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
