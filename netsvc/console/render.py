"""Rows made readable: tables and lists for people, plain values for machines (quiet).

Every text passes ``mail.escape`` again here (CONSOLE.md C23), whoever made it,
and is cut by the cells it takes on a terminal.  Times are shown in UTC.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from wcwidth import wcswidth, wcwidth

from netsvc.mail.escape import escape
from netsvc.mail.ids import show_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netsvc.commands import Column, Table
    from netsvc.records import Row

MAX_TEXT = 2000
"""Characters of one text in what people see."""

COMFORT = 16
"""Cells a column keeps while others can be cut."""

LEAST = 6
"""Cells a column is not cut below."""

_TEXTS = frozenset({"text", "enum", "id"})
_RIGHT = frozenset({"int", "number", "size", "duration"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCALE = ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k"))
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def cells(text: str) -> int:
    """Return how many cells ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    wide = wcswidth(text)
    return wide if wide >= 0 else len(text)


def cut(text: str, width: int) -> str:
    """Return ``text`` within ``width`` cells; what was cut ends in ``...``."""
    if cells(text) <= width:
        return text
    room = max(width - 3, 0)
    ends = list(accumulate(max(wcwidth(c), 0) for c in text))
    return text[: bisect_right(ends, room)] + "..."[:width]


def pad(text: str, width: int, right: bool) -> str:
    """Return ``text`` filled up to ``width`` cells with blanks, at its left when ``right``."""
    blanks = " " * (width - cells(text))
    return blanks + text if right else text + blanks


def show_duration(ms: int) -> str:
    """Return the two largest units: 45s 3m 2h31m 4d02h."""
    sign, seconds = ("-" if ms < 0 else ""), abs(ms) // 1000
    if seconds < 60:
        return f"{sign}{seconds}s"
    if seconds < 3600:
        return f"{sign}{seconds // 60}m"
    if seconds < 86400:
        return f"{sign}{seconds // 3600}h{seconds // 60 % 60:02d}m"
    return f"{sign}{seconds // 86400}d{seconds // 3600 % 24:02d}h"


def show_size(octets: int) -> str:
    """Return octets in powers of 1024: 512 48k 1.2M."""
    for scale, letter in _SCALE:
        if octets >= scale:
            amount = octets / scale
            return f"{amount:.1f}{letter}" if amount < 10 else f"{amount:.0f}{letter}"
    return str(octets)


def _moment(ms: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return None


def show_time(ms: int, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time, ms since 1970, in UTC."""
    moment = _moment(ms)
    return f"{ms}ms" if moment is None else moment.strftime(pattern)


def rfc3339(ms: int) -> str | None:
    """Return a time, ms since 1970, as machine mode has it; None beyond the years it can say."""
    moment = _moment(ms)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def pick(row: Row, name: str) -> Any:
    """Return the value of the column ``name``: a key, ``a+b`` side by side, or ``a/3`` of a list."""
    if "+" in name:
        parts = [row.get(part) for part in name.split("+")]
        return " ".join(str(part) for part in parts if part not in (None, "")) or None
    if "/" in name:
        key, _, at = name.partition("/")
        values = row.get(key) or ()
        return values[int(at)] if len(values) > int(at) else None
    return row.get(name)


def human(value: Any, column: Column, now_ms: int) -> str:
    """Return what a person sees of ``value``; ``-`` for what is absent."""
    if column.type == "id" and isinstance(value, int):
        value = show_id(value)
    if value is None or (value == 0 and column.show == "zero"):
        return "" if column.show == "blank" else "-"
    if value == "" and column.type in _TEXTS:
        return "<>" if column.show == "path" else "-"
    shower = _HUMAN.get(column.type)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value, column, now_ms)
    if shower is not None:
        return shower(value, column, now_ms)
    return escape(str(value), MAX_TEXT)


def _number(value: float, column: Column, now_ms: int) -> str:
    kind = column.type
    if kind == "time":
        if column.show == "relative":
            return show_duration(int(value) - now_ms) if value < now_ms else "+" + show_duration(int(value) - now_ms)
        return show_time(int(value), "%H:%M:%S" if column.show == "clock" else "%Y-%m-%d %H:%M:%S")
    if kind == "duration":
        return show_duration(int(value))
    if kind == "size":
        return show_size(int(value))
    if column.show == "percent":
        return f"{100 * value:.0f}%"
    return str(value)


def _list(value: Any, column: Column, now_ms: int) -> str:
    del now_ms
    if column.type == "rows":
        return f"{len(value)} rows"
    if column.type == "map":
        return escape(" ".join(f"{key}={item}" for key, item in value.items()), MAX_TEXT)
    return escape(", ".join(str(item) for item in value), MAX_TEXT)


def _bool(value: Any, column: Column, now_ms: int) -> str:
    del column, now_ms
    return "yes" if value else "no"


_HUMAN = {"list": _list, "rows": _list, "map": _list, "lines": _list, "bool": _bool}


class Layout:
    """The widths of a table, found from its first rows and kept for those that follow."""

    def __init__(self, table: Table, width: int, now_ms: int) -> None:
        """``width``: cells of a line, 0 for any."""
        self._table = table
        self._width = width
        self._now_ms = now_ms
        self._widths: list[int] | None = None

    def lines(self, rows: Sequence[Row]) -> list[str]:
        """Return the lines for ``rows``, at the first call below a line of titles."""
        columns = self._table.shown
        texts = [[human(pick(row, c.name), c, self._now_ms) for c in columns] for row in rows]
        out = []
        if self._widths is None:
            titles = [c.title for c in columns]
            self._widths = _widths(columns, [titles, *texts], self._width)
            if any(title.strip() for title in titles):
                out.append(self._line(titles))
        return out + [self._line(row) for row in texts]

    def _line(self, texts: Sequence[str]) -> str:
        assert self._widths is not None
        parts = [
            pad(cut(text, width), width, column.type in _RIGHT)
            for text, width, column in zip(texts, self._widths, self._table.shown, strict=True)
        ]
        line = "  ".join(parts).rstrip()
        return cut(line, self._width) if self._width else line


def _widths(columns: Sequence[Column], lines: Sequence[Sequence[str]], width: int) -> list[int]:
    widths = [max(cells(line[at]) for line in lines) for at in range(len(columns))]
    room = width - 2 * (len(columns) - 1)
    if not width:
        return widths
    for least in (COMFORT, LEAST):
        for gladly in sorted({c.shrink for c in columns if c.shrink}, reverse=True):
            _cut_widest(widths, [at for at, c in enumerate(columns) if c.shrink == gladly], room, least)
    return widths


def _cut_widest(widths: list[int], those: Sequence[int], room: int, least: int) -> None:
    """Cut the widest of the columns ``those`` again and again, none below ``least``, until all fit in ``room``."""
    while sum(widths) > room and any(widths[at] > least for at in those):
        widest = max(those, key=lambda at: widths[at])
        second = max((widths[at] for at in those if widths[at] < widths[widest]), default=least)
        widths[widest] -= min(sum(widths) - room, max(widths[widest] - max(second, least), 1))


def list_lines(table: Table, row: Row, now_ms: int) -> list[str]:
    """Return one row as ``name  value`` lines: the fields it has, with inner rows below them."""
    fields = [c for c in table.fields if row.get(c.name) is not None and c.type != "rows"]
    broad = max((len(c.name) for c in fields), default=0)
    out = []
    for column in fields:
        value = row[column.name]
        if column.type == "lines":
            out += [f"{column.name}:", *("  " + escape(line, MAX_TEXT) for line in lines_of(value))]
            continue
        text = human(value, column, now_ms)
        if column.type == "time":
            text += f"  ({show_duration(now_ms - value)} ago)" if value <= now_ms else f"  (in {_until(value, now_ms)})"
        out.append(f"{column.name.ljust(broad)}  {text}")
    return out


def _until(value: int, now_ms: int) -> str:
    return show_duration(value - now_ms)


def inner_rows(table: Table, row: Row) -> list[tuple[Column, Sequence[Row]]]:
    """Return the columns of ``row`` that hold rows themselves."""
    return [(c, row[c.name]) for c in table.fields if c.type == "rows" and c.inner is not None and row.get(c.name)]


def lines_of(value: Any) -> list[str]:
    """Return a value of type lines as its lines: it is a sequence of them, or one text with LF between."""
    return value.split("\n") if isinstance(value, str) else [str(line) for line in value]


def machine_row(table: Table, row: Row) -> dict[str, Any]:
    """Return the row with exactly the table's fields: times RFC 3339, durations in seconds, absent null, texts safe."""
    return {column.name: machine(row.get(column.name), column) for column in table.fields}


def machine(value: Any, column: Column) -> Any:
    """Return one value as machine mode has it."""
    kind = column.type
    if kind == "id" and isinstance(value, int):
        return show_id(value)
    if value is None or (value == "" and kind in _TEXTS and column.show not in {"path", "line"}):
        return None
    if isinstance(value, (int, float)) and kind not in {"time", "duration", "bool"}:
        return value
    if kind == "rows" and column.inner is not None:
        return [machine_row(column.inner, row) for row in value]
    if kind == "time":
        return rfc3339(int(value))
    if kind == "duration":
        return value // 1000 if value % 1000 == 0 else value / 1000
    if kind == "bool":
        return bool(value)
    if kind == "lines":
        return "\n".join(escape(line) for line in lines_of(value))
    return _safe(value)


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {escape(str(key)): _safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_safe(item) for item in value]
    return value if isinstance(value, (int, float, bool)) or value is None else escape(str(value))


def json_line(value: Mapping[str, Any]) -> str:
    """Return ``value`` as one line of JSON, without its line end."""
    return _encode(value)
