"""A million items that wait, and what they cost: start, accepting, leasing and settling, the console.

    python -m tests.bench.deferred [--items N] [--rounds N] [--json FILE]

The items are put into the store's tables (filling.py) for 1,000 destinations, a third of them for one, due between one
hour and five from now.  Then, beside a service with an empty queue on the same machine:

start     seconds from the process's start until it serves; after a clean stop, and after kill -9
accept    4 KB messages into a local mailbox, 20 sessions, one and 100 a connection: ratio to the empty service's rate
relay     the same to a sink, end to end, past all that waits: ratio to the empty service's
settle    deliveries leased and settled a second, deferred again and delivered (leasing.py)
console   seconds of netsvcctl for what an operator asks first

The exit status is 0 when all goals are met, 1 when not.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.filling import Lot, fill
from tests.bench.processes import Bench, end_in_order, load
from tests.bench.relay import Relayed, options_for

GOALS = {"start_s": 2.0, "accept_ratio": 0.8, "lease_settle_per_s": 3000}
QUESTIONS = (
    "show queue limit 20",
    "show queue summary",
    "show queue summary by state",
    "show queue summary by sender-domain",
    "show queue reasons",
    "show destinations",
    "show queue where rcpt=rcpt4711@d3.example",
    "show health",
)


def start_seconds(bench):
    """Start the service -> seconds until it served."""
    begun = time.monotonic()
    bench.service.start()
    return round(time.monotonic() - begun, 3)


def accepting(full, empty, rounds, count):
    """-> {per connection: figures}; the two services in turn."""
    figures = {}
    for each in (1, 100):
        options = ("-s", "20", "--size", "4096", "--per-connection", str(each), "-m", str(count))
        rates = {full: [], empty: []}
        for _ in range(rounds):
            for bench in (full, empty):
                rates[bench].append(load(bench.smtp, *options)["msgs_per_s"])
        ratios = [a / b for a, b in zip(rates[full], rates[empty], strict=True)]
        figures[f"accept_{each}"] = {
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "msgs_per_s": statistics.median(rates[full]),
            "empty_msgs_per_s": statistics.median(rates[empty]),
        }
    return figures


def relaying(full, empty, rounds, count):
    """-> figures of relaying, the two services in turn."""
    rates = {full: [], empty: []}
    for _ in range(rounds):
        for bench in (full, empty):
            rates[bench].append(Relayed(bench.sink).through(bench.smtp, options_for(count), count)[0])
    return {
        "ratio": round(statistics.median(a / b for a, b in zip(rates[full], rates[empty], strict=True)), 3),
        "per_s": round(statistics.median(rates[full]), 1),
        "empty_per_s": round(statistics.median(rates[empty]), 1),
    }


def console(bench):
    """-> {question: seconds}, netsvcctl's own start with it."""
    times = {}
    for question in QUESTIONS:
        begun = time.monotonic()
        bench.service.netsvcctl(question)
        times[question] = round(time.monotonic() - begun, 3)
    return times


def leasing(bench, items, result):
    """-> leasing.py's figures on the store of ``bench``, which is stopped."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.bench.leasing",
            str(bench.service.state),
            "--items",
            str(items),
            "--result",
            result,
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    return json.loads(done.stdout)


def measure(items=1_000_000, rounds=3, count=3000, leased=30_000):
    """-> figures."""
    figures = {"items": items, "destinations": 1000}
    with ExitStack() as stack:
        full, empty = stack.enter_context(Bench()), stack.enter_context(Bench())
        for bench in (full, empty):
            load(bench.smtp, "-s", "20", "-m", "300", "--size", "4096")
            Relayed(bench.sink).through(bench.smtp, options_for(300), 300)
            bench.service.stop()
        lot = Lot(items, "[127.0.1.1]:{n}", "d{n}.example", 1000, due_in=3600, spread=4 * 3600, skewed=True)
        figures["filling_s"] = round(fill(full.service.state, [lot]), 1)
        figures["start_empty_s"] = start_seconds(empty)
        figures["start_s"] = start_seconds(full)
        figures.update(accepting(full, empty, rounds, count))
        figures["relay"] = relaying(full, empty, rounds, count)
        figures["console_s"] = console(full)
        full.service.kill()
        figures["start_after_kill_s"] = start_seconds(full)
        full.service.stop()
        for result in ("deferred", "delivered"):
            figures[f"settle_{result}"] = leasing(full, leased, result)
    figures["accept_ratio"] = min(figures["accept_1"]["ratio"], figures["accept_100"]["ratio"])
    figures["lease_settle_per_s"] = figures["settle_deferred"]["per_s"]
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    end_in_order()
    figures = measure(options.items, options.rounds)
    print(json.dumps(figures, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    missed = 0
    for name, goal in GOALS.items():
        met = figures[name] <= goal if name == "start_s" else figures[name] >= goal
        missed += not met
        print(f"{name:20} goal {goal:>7} got {figures[name]:>9} {'met' if met else 'MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
