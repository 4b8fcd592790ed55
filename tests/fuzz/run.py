"""Fuzz every parser in process: ``python -m tests.fuzz.run [--inputs N] [--seed N] [--only WORD] [--again TARGET:N]``.

Of each target's inputs half are made from a seed that stands here, so that what was found once stays found, and half
from a fresh one, which is printed.  An input is known by its number: ``--again`` makes it once more and shows it.

An exception that a parser has not declared, a broken promise, an input over BUDGET of CPU, or a corpus that has gone
stale (too few inputs understood) ends it with status 1.  CPU is that of the thread; an input that seems dear is read
again, and counts as the cheapest of five: another process's load, or a collection of garbage, is no fault of it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from tests.fuzz import checks, desks, doors, openings, published, sessions, wires

if TYPE_CHECKING:
    from tests.fuzz.spoiling import Target

BUDGET = 0.050
"""Seconds of CPU for one input."""
INPUTS = 200_000
STANDING = 5321
STRIDE = 10_000
"""Inputs of one piece of work."""
SHOWN = 3
"""Failures of one target that are shown."""
TARGETS = {t.name: t for module in (sessions, openings, wires, checks, desks, doors, published) for t in module.TARGETS}


class Found(NamedTuple):
    """What one piece of work came to; ``failures`` are (number, text)."""

    name: str
    count: int
    understood: int
    seconds: float
    dearest: tuple[float, str]
    failures: list[tuple[str, str]]


def made(target: Target, seed: int, number: int) -> object:
    """Return an input by its number."""
    return target.make(random.Random((seed << 32) + number))


def cost(target: Target, given: object) -> float:
    """Return the CPU of reading an input, the best of five."""
    best = float("inf")
    for _ in range(5):
        start = time.thread_time()
        target.read(given)
        best = min(best, time.thread_time() - start)
    return best


def work(name: str, seed: int, first: int, count: int) -> Found:
    """Read ``count`` inputs of a target."""
    target = TARGETS[name]
    understood, seconds, dearest, failures = 0, 0.0, (0.0, ""), []
    for number in range(first, first + count):
        label = f"{name}:{seed}:{number}"
        given = made(target, seed, number)
        start = time.thread_time()
        try:
            understood += target.read(given)
        except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
            failures.append((label, traceback.format_exc()))
            continue
        took = time.thread_time() - start
        seconds += took
        if took > dearest[0]:
            if took > BUDGET / 2:
                took = min(took, cost(target, given))
            dearest = max(dearest, (took, label))
    return Found(name, count, understood, seconds, dearest, failures)


def joined(target: Target, parts: list[Found]) -> tuple[str, list[str]]:
    """Return one target's line, and what is wrong."""
    count, understood = sum(p.count for p in parts), sum(p.understood for p in parts)
    dearest, label = max(p.dearest for p in parts)
    seconds = sum(p.seconds for p in parts)
    failures = [failure for p in parts for failure in p.failures]
    line = (
        f"{target.name:24} {count:9,} inputs  {understood / count:4.0%} understood  {len(failures):3} failures"
        f"  {seconds / count * 1e6:6.1f} us on average, {dearest * 1000:5.2f} ms at most ({label})"
    )
    wrong = [f"{number}\n{text}" for number, text in failures[:SHOWN]]
    wrong += [f"{kind} x {n}" for kind, n in Counter(text.strip().split("\n")[-1] for _, text in failures).items()]
    least, most = target.understood
    if count >= 500 and not least <= understood / count <= most:
        wrong.append(f"{target.name}: {understood / count:.1%} understood is not between {least:.0%} and {most:.0%}")
    if dearest > BUDGET:
        wrong.append(f"{label}: {dearest * 1000:.0f} ms of CPU")
    return line, wrong


def pieces(target: Target, inputs: int, fresh: int) -> list[tuple[str, int, int, int]]:
    """Divide a target's inputs, half of them from each seed."""
    half = max(int(inputs * target.part) // 2, 1)
    return [
        (target.name, seed, first, min(STRIDE, half - first))
        for seed in (STANDING, fresh)
        for first in range(0, half, STRIDE)
    ]


def again(label: str) -> None:
    """Make one input once more, show it, and read it."""
    name, seed, number = label.split(":")
    given = made(TARGETS[name], int(seed), int(number))
    print(repr(given)[:5000])
    print("understood" if TARGETS[name].read(given) else "refused", f"{cost(TARGETS[name], given) * 1000:.2f} ms")


def main(words: list[str]) -> int:
    """Run; return the exit status."""
    options = argparse.ArgumentParser(prog="tests.fuzz.run")
    options.add_argument("--inputs", type=int, default=INPUTS, help="of each target")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20), help="the fresh one")
    options.add_argument("--only", default="", help="targets with this word in their names")
    options.add_argument("--workers", type=int, default=os.cpu_count())
    options.add_argument("--again", metavar="TARGET:SEED:NUMBER")
    given = options.parse_args(words)
    if given.again:
        again(given.again)
        return 0
    chosen = [target for target in TARGETS.values() if given.only.lower() in target.name.lower()]
    start = time.monotonic()
    print(f"seeds {STANDING} and {given.seed}", flush=True)
    bad = 0
    with ProcessPoolExecutor(given.workers, multiprocessing.get_context("spawn")) as pool:
        jobs = {t.name: [pool.submit(work, *piece) for piece in pieces(t, given.inputs, given.seed)] for t in chosen}
        for target in chosen:
            line, wrong = joined(target, [job.result() for job in jobs[target.name]])
            print(line, *wrong, sep="\n", flush=True)
            bad += bool(wrong)
    print(f"{len(chosen)} parsers, {bad} with failures, {time.monotonic() - start:.0f} s")
    return 1 if bad or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
