"""Fairness: 50,000 items for one destination that is down, 5,000 for ten that are well; how long the 5,000 take.

    python -m tests.bench.fairness [--dead N] [--healthy N] [--rounds N] [--kind refused|silent|slow ...] [--json FILE]

All items wait in the store, due now and the dead destination's first, when the service is started.  The time runs from
when it serves until the sinks have the last of the healthy ones' mail, and is set beside the time without the dead
one's items.

refused   nobody listens: every connection is refused
silent    connections are made and nobody ever speaks
slow      a peer answers every command a second late

The exit status is 0 when the worst of the medians is within the goal, 1 when not.
"""

import argparse
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.filling import Lot, fill
from tests.bench.processes import SITE, Sink, end_in_order, free_port
from tests.system.service import Service

GOAL = 1.2
HOSTS = 10
KINDS = ("refused", "silent", "slow")


@contextlib.contextmanager
def trouble(kind):
    """Give the port of a destination that is down in the way ``kind``."""
    if kind == "slow":
        sink = Sink("--delay", "1000")
        try:
            yield sink.port
        finally:
            sink.close()
    elif kind == "silent":
        with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
            yield server.getsockname()[1]
    else:
        yield free_port()


def one(sink, bad_port, dead, healthy):
    """Start a service on a queue of so many items -> seconds until the healthy ones' were delivered."""
    routes = [f'"h{n}.example" = "[127.0.0.{10 + n}]:{sink.port}"' for n in range(HOSTS)]
    routes.append(f'"dead.example" = "[127.0.0.1]:{bad_port}"')
    site = SITE.replace("{sink}", str(sink.port)) + "\n".join(routes) + "\n"
    with tempfile.TemporaryDirectory(prefix="netsvc-fair-") as folder:
        service = Service(Path(folder) / "node", site=site, covered=False)
        service.start()
        service.stop()
        lots = [Lot(dead, f"[127.0.0.1]:{bad_port}", "dead.example", tried=False)] if dead else []
        lots += [
            Lot(healthy // HOSTS, f"[127.0.0.{10 + n}]:{sink.port}", f"h{n}.example", tried=False) for n in range(HOSTS)
        ]
        fill(service.state, lots)
        before = sink.stat()["messages"]
        try:
            service.start()
            begun = time.time_ns()
            last = sink.stat(wait_messages=before + healthy // HOSTS * HOSTS)["last_ns"]
        finally:
            service.close()
        return (last - begun) / 1e9


def measure(dead=50_000, healthy=5_000, rounds=3, kinds=KINDS):
    """-> figures a kind."""
    figures = {}
    sink = Sink("--host", "0.0.0.0")
    try:
        for kind in kinds:
            alone, beside = [], []
            for _ in range(rounds):
                with trouble(kind) as bad_port:
                    alone.append(one(sink, bad_port, 0, healthy))
                    beside.append(one(sink, bad_port, dead, healthy))
            ratios = [b / a for a, b in zip(alone, beside, strict=True)]
            figures[kind] = {
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
                "alone_s": round(statistics.median(alone), 2),
                "beside_s": round(statistics.median(beside), 2),
            }
    finally:
        sink.close()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dead", type=int, default=50_000)
    parser.add_argument("--healthy", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    end_in_order()
    figures = measure(options.dead, options.healthy, options.rounds, options.kind)
    print(json.dumps(figures, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    worst = max(each["ratio"] for each in figures.values())
    print(f"\n{worst} times the time alone, goal {GOAL}: {'met' if worst <= GOAL else 'MISSED'}")
    return 0 if worst <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
