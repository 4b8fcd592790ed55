"""What every fuzz target is made of: good inputs of a parser, spoiled with the pieces its grammar is sensitive to.

Noise alone is refused at the first octet and tests little.  Targets say therefore which share of their inputs must
be understood, and which must be refused: a corpus that has gone stale fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, AnyStr, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

MOST = 100_000
"""Octets of a piece that is repeated, now and then: row T24 of the threats."""


class Target(NamedTuple):
    """One parser under fuzz.

    ``make(rng)`` gives an input.  ``read(given)`` reads it, says whether it was understood, and raises whatever is
    no declared error of the parser, or an AssertionError where what came out breaks its promises.  ``understood``
    bounds the share of inputs that are.  ``part`` of the inputs asked for are made: less than 1 for what is slow.
    """

    name: str
    make: Callable[[Random], Any]
    read: Callable[[Any], bool]
    understood: tuple[float, float]
    part: float = 1.0


def spoiled(rng: Random, seeds: Sequence[AnyStr], pieces: Sequence[AnyStr], most: int = 4) -> AnyStr:
    """Return one of ``seeds``, changed in fewer than ``most`` places; some are two of them in a row."""
    data = rng.choice(seeds)
    if rng.random() < 0.1:
        data += rng.choice(seeds)
    for _ in range(rng.randrange(most)):
        data = _changed(rng, data, pieces)
    return data


def _changed(rng: Random, data: AnyStr, pieces: Sequence[AnyStr]) -> AnyStr:
    size = len(data)
    at = rng.randrange(size + 1)
    kind = rng.random()
    if kind < 0.40:  # a piece put in
        return data[:at] + rng.choice(pieces) + data[at:]
    if kind < 0.65:  # a piece in the place of a few octets
        return data[:at] + rng.choice(pieces) + data[at + rng.randrange(1, 6) :]
    end = min(at + rng.randrange(1, 30), size)
    if kind < 0.80:  # octets gone
        return data[:at] + data[end:]
    if kind < 0.90:  # octets twice
        return data[:end] + data[at:]
    if kind < 0.98:  # another octet
        return data[:at] + _any_octet(rng, data) + data[at + 1 :]
    if kind < 0.997:  # cut off
        return data[:at]
    piece = rng.choice(pieces)
    return data[:at] + piece * (rng.randrange(2, MOST) // len(piece)) + data[at:]


def _any_octet(rng: Random, like: AnyStr) -> AnyStr:
    if isinstance(like, bytes):
        return bytes((rng.randrange(256),))
    return chr(rng.choice((rng.randrange(128), rng.randrange(0x3000), rng.randrange(0xD000, 0x11000))))


def pieces_of(rng: Random, data: bytes, most: int = 3) -> list[bytes]:
    """Cut ``data`` anywhere into ``most`` pieces at most."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(most)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
