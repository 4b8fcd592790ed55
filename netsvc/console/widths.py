"""How a table is made to fit a line: columns left out, cut, or wrapped (quiet).

Rows that are too wide lose, in this order: columns that say nothing in any
row; the ends of columns that may be cut, down to what is still of use; whole
columns, those most gladly missed first.  The first column always stays.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from wcwidth import wcswidth, wcwidth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.commands import Column

KEY = 20
"""Cells kept of a column that is cut last (``shrink`` 1): addresses, names, keys."""

OTHER = 12
"""Cells kept of any other column that may be cut."""

WRAPPED = 26
"""Cells kept of a column whose text goes on in the next line."""

LEAST = 6
"""Cells no column is cut below, even where nothing more can be left out."""

MOST_LINES = 8
"""Lines that one text is wrapped to."""

_NOTHING = frozenset({"", "-"})


def cells(text: str) -> int:
    """Return how many cells ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    wide = wcswidth(text)
    return wide if wide >= 0 else len(text)


def _within(text: str, room: int) -> int:
    """Return how many characters of ``text`` fit in ``room`` cells."""
    return bisect_right(list(accumulate(max(wcwidth(c), 0) for c in text)), room)


def cut(text: str, width: int) -> str:
    """Return ``text`` within ``width`` cells; what was cut ends in ``...``."""
    if cells(text) <= width:
        return text
    return text[: _within(text, max(width - 3, 0))] + "..."[:width]


def wrap(text: str, width: int) -> list[str]:
    """Return ``text`` as lines of at most ``width`` cells, broken at blanks where it can; the last may be cut."""
    lines: list[str] = []
    while cells(text) > width and len(lines) < MOST_LINES - 1:
        end = max(_within(text, width), 1)
        blank = text.rfind(" ", 1, end + 1)
        end = end if blank < 0 else blank
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*lines, cut(text, width)]


def fit(columns: Sequence[Column], texts: Sequence[Sequence[str]], width: int) -> tuple[list[int], list[int], int]:
    """Settle a table from its titles and the ``texts`` of its rows, for lines of ``width`` cells (0: any).

    Returns which columns are kept, their widths, and how wide the whole table is.
    """
    full = [
        max(cells(c.title), *(cells(line[at]) for line in texts)) if texts else cells(c.title)
        for at, c in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    whole = _total(full)
    if not width or whole <= width:
        return kept, full, whole
    kept = [at for at in kept if not at or any(line[at] not in _NOTHING for line in texts)]
    floors = [_floor(c, wide) for c, wide in zip(columns, full, strict=True)]
    for gone in sorted(kept[1:], key=lambda at: (-columns[at].spare, -at)):
        if columns[gone].spare and _total([floors[at] for at in kept]) > width:
            kept.remove(gone)
    if _total([floors[at] for at in kept]) > width:
        floors = [min(wide, LEAST) if c.shrink else wide for c, wide in zip(columns, full, strict=True)]
        while len(kept) > 1 and _total([floors[at] for at in kept]) > width:
            kept.pop()
    widths = _cut([columns[at] for at in kept], [full[at] for at in kept], [floors[at] for at in kept], width)
    return kept, widths, whole


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _floor(column: Column, wide: int) -> int:
    if not column.shrink:
        return wide
    if column.show == "wrap":
        return min(wide, WRAPPED)
    return min(wide, KEY if column.shrink == 1 else OTHER)


def _cut(columns: Sequence[Column], full: Sequence[int], floors: Sequence[int], width: int) -> list[int]:
    """Return widths that fit: those most gladly cut first, the widest of them alike, none below its floor."""
    widths = list(full)
    for gladly in sorted({c.shrink for c in columns if c.shrink}, reverse=True):
        those = [at for at, c in enumerate(columns) if c.shrink == gladly]
        others = _total(widths) - sum(widths[at] for at in those)

        def over(level: int, those: Sequence[int] = those, others: int = others) -> bool:
            return others + sum(max(min(full[at], level), floors[at]) for at in those) > width

        level = bisect_left(range(1, max(full[at] for at in those) + 1), True, key=over)
        for at in those:
            widths[at] = max(min(full[at], level), floors[at])
        for at in those:  # what the last step down gave too much
            if widths[at] < full[at] and _total(widths) < width:
                widths[at] += 1
    return widths
