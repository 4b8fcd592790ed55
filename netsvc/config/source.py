"""On which line of a TOML source a key stands: a small scan, good enough for complaints."""

from __future__ import annotations

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_BLANK = " \t"


def _take_key(text: str, at: int) -> tuple[str, int] | None:
    """Return (key, index behind it) of the bare or quoted key at ``at``."""
    if at < len(text) and text[at] in "\"'":
        end = text.find(text[at], at + 1)
        return None if end < 0 else (text[at + 1 : end], end + 1)
    end = at
    while end < len(text) and text[end] in _BARE:
        end += 1
    return None if end == at else (text[at:end], end)


def _take_path(text: str, at: int) -> tuple[tuple[str, ...], int] | None:
    """Return (dotted key, index behind it and its blanks)."""
    keys: list[str] = []
    while True:
        while at < len(text) and text[at] in _BLANK:
            at += 1
        taken = _take_key(text, at)
        if taken is None:
            return None
        key, at = taken
        keys.append(key)
        while at < len(text) and text[at] in _BLANK:
            at += 1
        if at >= len(text) or text[at] != ".":
            return tuple(keys), at
        at += 1


def key_lines(source: str) -> dict[tuple[str, ...], int]:
    """Return the line (from 1) of each key and table of ``source``, by its whole path."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, text in enumerate(source.split("\n"), 1):
        start = len(text) - len(text.lstrip(" \t["))
        opened = text[:start].count("[")
        taken = _take_path(text, start)
        if taken is None:
            continue
        path, at = taken
        if opened and text[at : at + 1] == "]":
            table = path
            lines.setdefault(table, number)
        elif not opened and text[at : at + 1] == "=":
            for depth in range(1, len(path) + 1):
                lines.setdefault(table + path[:depth], number)
    return lines
