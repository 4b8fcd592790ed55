"""Rows made readable: tables and lists for people, plain values for machines (quiet).

Every text passes ``mail.escape`` again here (CONSOLE.md C23), whoever made it,
and is cut by the cells it takes on a terminal.  Times are shown in UTC.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from netsvc.console.widths import cells, cut, fit, wrap
from netsvc.mail.escape import escape
from netsvc.mail.ids import show_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netsvc.commands import Column, Table
    from netsvc.records import Row

MAX_TEXT = 2000
"""Characters of one text in what people see."""

_TEXTS = frozenset({"text", "enum", "id"})
_RIGHT = frozenset({"int", "number", "size", "duration"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000
_WIDEST = 240
_SCALE = ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k"))
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def counted(count: int, noun: str) -> str:
    """Return ``1 item``, or ``2 items``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


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


def shown(row: Row, column: Column, now_ms: int) -> str:
    """Return what a person sees of a column of ``row``: octets as a size where the row says that it counts them."""
    value = pick(row, column.name)
    if column.show == "unit" and row.get("unit") == "octets" and isinstance(value, int):
        return show_size(value)
    return human(value, column, now_ms)


def human(value: Any, column: Column, now_ms: int) -> str:
    """Return what a person sees of ``value``; ``-`` for what is absent."""
    if column.type == "id" and isinstance(value, int):
        value = show_id(value)
    if value is None or (value == 0 and column.show == "zero"):
        return "" if column.show in {"blank", "wrap"} else "-"
    if value == "" and column.type in _TEXTS:
        return {"path": "<>", "wrap": ""}.get(column.show, "-")
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
        today = column.show == "clock" and abs(value - now_ms) < _DAY
        return show_time(int(value), "%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")
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
        return counted(len(value), "row")
    if column.type == "map":
        return escape(" ".join(f"{key}={item}" for key, item in value.items()), MAX_TEXT)
    return escape(", ".join(str(item) for item in value), MAX_TEXT)


def _bool(value: Any, column: Column, now_ms: int) -> str:
    del column, now_ms
    return "yes" if value else "no"


_HUMAN = {"list": _list, "rows": _list, "map": _list, "lines": _list, "bool": _bool}


class Layout:
    """The columns of a table and their widths, found from its first rows and kept for those that follow."""

    def __init__(self, table: Table, width: int, now_ms: int) -> None:
        """``width``: cells of a line, 0 for any."""
        self._table = table
        self._width = width
        self._now_ms = now_ms
        self._columns: list[Column] | None = None
        self._widths: list[int] = []
        self._left_out: list[str] = []
        self._whole = 0

    def lines(self, rows: Sequence[Row]) -> list[str]:
        """Return the lines for ``rows``, at the first call below a line of titles."""
        out = [] if self._columns is not None else self._settle(rows)
        for row in rows:
            out += self._lines([shown(row, c, self._now_ms) for c in self._columns or ()])
        return out

    def left_out(self, ways: str = "| list shows all") -> list[str]:
        """Return the lines that tell, once, which columns are not shown, and ``ways`` to see them; none: all are."""
        names, self._left_out = self._left_out, []
        if not names:
            return []
        wide = -(-self._whole // 10) * 10
        ways = ", or ".join(filter(None, (ways, f"terminal width {wide}" if wide <= _WIDEST else "")))
        return wrap(f"(left out: {', '.join(names)}{'; ' if ways else ''}{ways})", self._width)

    def _settle(self, rows: Sequence[Row]) -> list[str]:
        """Choose columns and widths -> the line of titles, if there are any."""
        columns = self._table.shown
        texts = [[shown(row, c, self._now_ms) for c in columns] for row in rows]
        kept, self._widths, self._whole = fit(columns, texts, self._width)
        self._columns = [columns[at] for at in kept]
        self._left_out = [c.title for at, c in enumerate(columns) if at not in kept]
        titles = [c.title for c in self._columns]
        return [self._line(titles)] if any(title.strip() for title in titles) else []

    def _lines(self, texts: Sequence[str]) -> list[str]:
        """Return a row's line, and those below it where a text goes on."""
        parts = [
            wrap(text, width) if column.show == "wrap" and self._width else [text]
            for text, width, column in zip(texts, self._widths, self._columns or (), strict=True)
        ]
        more = max(len(part) for part in parts)
        return [self._line([part[at] if at < len(part) else "" for part in parts]) for at in range(more)]

    def _line(self, texts: Sequence[str]) -> str:
        parts = [
            pad(cut(text, width), width, column.type in _RIGHT)
            for text, width, column in zip(texts, self._widths, self._columns or (), strict=True)
        ]
        line = "  ".join(parts).rstrip()
        return cut(line, self._width) if self._width else line


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
        text = shown(row, column, now_ms)
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
