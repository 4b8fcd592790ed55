"""Queue ids: 63-bit integers shown as 13 characters of Crockford base32.

An id is 41 bits of milliseconds since 2020-01-01, 10 bits of node and 12 bits
of sequence, so ids sort by time of arrival.  An *item* (one recipient of one
message) is shown as ``MESSAGE.n`` with n counting from 1.
"""

from __future__ import annotations

EPOCH_MS = 1_577_836_800_000
"""2020-01-01T00:00:00Z in milliseconds since 1970."""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 13
_VALUES = {c: i for i, c in enumerate(ALPHABET)}
_VALUES |= {c.lower(): i for c, i in list(_VALUES.items())}
# Crockford: what people misread is read as what was meant.
_VALUES |= {"o": 0, "O": 0, "i": 1, "I": 1, "l": 1, "L": 1}
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]


class IdError(ValueError):
    """The text is not a queue id (or not a prefix of one)."""


def make_id(ms: int, node: int, sequence: int) -> int:
    """Return the id of millisecond ``ms`` since 1970 on ``node`` (1..1023)."""
    return (max(ms - EPOCH_MS, 0) << 22) | ((node & 0x3FF) << 12) | (sequence & 0xFFF)


def id_time(number: int) -> int:
    """Return the milliseconds since 1970 that ``number`` was made at."""
    return (number >> 22) + EPOCH_MS


def show_id(number: int) -> str:
    """Return the 13 characters that stand for ``number`` (0 <= number < 2**63)."""
    p = _PAIRS
    return (
        ALPHABET[number >> 60]
        + p[number >> 50 & 1023]
        + p[number >> 40 & 1023]
        + p[number >> 30 & 1023]
        + p[number >> 20 & 1023]
        + p[number >> 10 & 1023]
        + p[number & 1023]
    )


def show_item(message_id: int, n: int) -> str:
    """Return ``MESSAGE.n``."""
    return f"{show_id(message_id)}.{n}"


def _digits(text: str) -> int:
    number = 0
    for c in text:
        value = _VALUES.get(c)
        if value is None:
            raise IdError(f"{c!r} is not a character of a queue id")
        number = number << 5 | value
    return number


def parse_id(text: str) -> int:
    """Return the number a whole 13-character id stands for.  Raises IdError."""
    if len(text) != LENGTH:
        raise IdError(f"a queue id has {LENGTH} characters, not {len(text)}")
    number = _digits(text)
    if number >> 63:
        raise IdError("no queue id is that large")
    return number


def parse_item(text: str) -> tuple[int, int | None]:
    """Return (message id, n) of ``MESSAGE.n``, n None for ``MESSAGE``.  Raises IdError."""
    head, dot, tail = text.partition(".")
    if not dot:
        return parse_id(head), None
    if not (tail.isascii() and tail.isdigit() and len(tail) <= 6 and int(tail) >= 1):
        raise IdError("what follows the dot of an item is a number from 1")
    return parse_id(head), int(tail)


def prefix_range(prefix: str) -> tuple[int, int]:
    """Return (lowest, highest) id that begins with ``prefix`` (1 to 13 characters).  Raises IdError."""
    if not 1 <= len(prefix) <= LENGTH:
        raise IdError(f"a queue id has at most {LENGTH} characters")
    shift = 5 * (LENGTH - len(prefix))
    low = _digits(prefix) << shift
    high = low | ((1 << shift) - 1)
    top = (1 << 63) - 1
    if low > top:
        raise IdError("no queue id is that large")
    return low, min(high, top)
