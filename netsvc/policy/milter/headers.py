"""Header fields that filters want added, made fit to stand on top of a message.  Quiet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FIELDS = 100
MAX_FIELD = 16 << 10
MAX_OCTETS = 64 << 10
MAX_LINE = 990

_NAME = re.compile(rb"[!-9;-~]{1,76}")
_BAD = re.compile(rb"[^ -~\t]")


def made_field(name: bytes, value: bytes) -> bytes:
    """Return the field, CRLF ended; b"" where ``name`` is none.

    Whatever is not printable ASCII becomes ``?``; lines are folded where the filter folded them, each after a blank.
    """
    if not _NAME.fullmatch(name):
        return b""
    lines = []
    for line in value[:MAX_FIELD].replace(b"\r\n", b"\n").split(b"\n"):
        text = _BAD.sub(b"?", line).rstrip(b" \t")
        if text:
            lines.append(text[:MAX_LINE])
    folded = [text if text[0] in b" \t" else b"\t" + text for text in lines[1:]]
    first = name + b": " + lines[0].lstrip(b" \t")[: MAX_LINE - len(name)] if lines else name + b":"
    return b"\r\n".join([first, *folded]) + b"\r\n"


def made_fields(fields: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, int]:
    """Return (the fields as one text, how many were left out: no names, or too many)."""
    made = b""
    left_out = n = 0
    for name, value in fields:
        field = made_field(name, value)
        if not field or n == MAX_FIELDS or len(made) + len(field) > MAX_OCTETS:
            left_out += 1
            continue
        n += 1
        made += field
    return made, left_out
