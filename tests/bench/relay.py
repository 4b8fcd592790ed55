"""Relaying, end to end: the service and Postfix, same client, same sink, same machine, in turn.

    python -m tests.bench.relay [--rounds N] [-m N] [--without-postfix] [--json FILE]

The client (smtpload.py, 20 sessions, one message a connection) hands in 5,000 messages of 4 KB, which go on to
smtpsink.py at loopback.  The time runs from the client's start to the sink's last message, so it holds accepting,
both fsyncs, scheduling, sending and settling.  Postfix is installed with apt-get when this may (root, Debian); where it
cannot be had that is said, and the rate is only set beside the sink's own.

The exit status is 0 when the median of the ratios to Postfix reaches the goal, 1 when not, 2 without Postfix.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.postfix import NoPostfixError, Postfix
from tests.bench.processes import Bench, end_in_order, load

GOAL = 2.0
TO = "x@relay.example"


class Relayed:
    """Counts what came to the sink."""

    def __init__(self, sink):
        self._sink = sink
        self._came = sink.stat()["messages"]

    def alone(self, options, count):
        """The sink without anybody before it -> messages a second."""
        self._came += count
        return load(self._sink.port, *options)["msgs_per_s"]

    def through(self, port, options, count):
        """-> (messages a second end to end, the same until they were accepted)."""
        start = time.time_ns()
        accepted = load(port, *options, to=TO)["msgs_per_s"]
        self._came += count
        last = self._sink.stat(wait_messages=self._came)["last_ns"]
        return count / ((last - start) / 1e9), accepted


def options_for(count):
    """The client's options for ``count`` messages."""
    return ("-s", "20", "--size", "4096", "--per-connection", "1", "-m", str(count))


def tree_cpu(root):
    """User and system time of a process and all below it, those that ended included."""
    ticks, parents, spent = os.sysconf("SC_CLK_TCK"), {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        parents[int(path.name)] = int(fields[1])
        spent[int(path.name)] = sum(map(int, fields[11:15])) / ticks

    def below(pid):
        while pid not in (0, 1, root):
            pid = parents.get(pid, 0)
        return pid == root

    return sum(seconds for pid, seconds in spent.items() if below(pid))


def measure(rounds=3, count=5000, *, postfix=True):
    """-> figures; ``ratio`` (to Postfix) is None, with ``why``, where there is no Postfix."""
    options, warm = options_for(count), options_for(500)
    figures = {"messages": count, "ratio": None, "why": "not asked for"}
    ours, theirs, sink, accepts, cpu = [], [], [], [], []
    with Bench() as bench:
        peer = None
        if postfix:
            try:
                peer = Postfix(bench.sink.port)
            except NoPostfixError as why:
                figures["why"] = str(why)
        try:
            relayed = Relayed(bench.sink)
            for port in (bench.smtp, *([peer.port] if peer else [])):
                relayed.through(port, warm, 500)
            for _ in range(rounds):
                sink.append(relayed.alone(options, count))
                before = tree_cpu(bench.pid)
                end_to_end, accepted = relayed.through(bench.smtp, options, count)
                cpu.append(1000 * (tree_cpu(bench.pid) - before) / count)
                ours.append(end_to_end)
                accepts.append(accepted)
                if peer:
                    theirs.append(relayed.through(peer.port, options, count)[0])
            if peer:
                figures["postfix"] = peer.version
        finally:
            if peer:
                peer.close()
    figures["end_to_end_per_s"] = round(statistics.median(ours), 1)
    figures["rates"] = [round(rate, 1) for rate in ours]
    figures["accepted_per_s_meanwhile"] = round(statistics.median(accepts), 1)
    figures["cpu_s_per_1000"] = round(statistics.median(cpu), 3)
    figures["sink_per_s"] = round(statistics.median(sink), 1)
    figures["ratio_to_sink"] = round(statistics.median(a / b for a, b in zip(ours, sink, strict=True)), 3)
    if theirs:
        del figures["why"]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        figures["postfix_per_s"] = round(statistics.median(theirs), 1)
        figures["postfix_rates"] = [round(rate, 1) for rate in theirs]
        figures["ratios"] = [round(ratio, 2) for ratio in ratios]
        figures["ratio"] = round(statistics.median(ratios), 2)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-m", "--messages", type=int, default=5000)
    parser.add_argument("--without-postfix", action="store_true")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    end_in_order()
    figures = measure(options.rounds, options.messages, postfix=not options.without_postfix)
    print(json.dumps(figures, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
    if figures["ratio"] is None:
        print(f"\nPostfix was not measured: {figures['why']}")
        return 2
    met = figures["ratio"] >= GOAL
    print(f"\n{figures['ratio']} times Postfix's rate, goal {GOAL}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
