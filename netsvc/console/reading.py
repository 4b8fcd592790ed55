"""Content shown to people and copied for programs: bounded, escaped, never parsed as MIME."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from netsvc.console.tables import TEXT
from netsvc.mail.escape import escape_bytes

if TYPE_CHECKING:
    from netsvc.commands import Table
    from netsvc.console.call import Call
    from netsvc.interfaces import IBodyReader
    from netsvc.records import Row

MAX_HEADERS = 256 * 1024
MAX_BODY = 64 * 1024
MAX_SHOWN = 1024 * 1024
"""Octets of a whole source that a person is shown."""

PIECE = 96 * 1024
"""Octets of a piece of source in machine mode: a multiple of 3, so base64 pieces can be joined."""

_END = b"\r\n\r\n"


def text_lines(data: bytes) -> list[str]:
    """Return octets as escaped lines; tabs become blanks."""
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return [escape_bytes(line.removesuffix(b"\r").expandtabs(8)) for line in lines]


async def read_headers(call: Call, trace: bytes, reader: IBodyReader) -> list[str]:
    """Return the header section as lines, our trace fields first, at most 256 KiB of it."""
    data, found = await _to_end_of_headers(call, trace, reader)
    if found >= 0:
        return text_lines(data[: found + 2])
    return [*text_lines(data[:MAX_HEADERS]), *(["(cut)"] if len(data) > MAX_HEADERS else [])]


async def _to_end_of_headers(call: Call, trace: bytes, reader: IBodyReader) -> tuple[bytes, int]:
    """Read until the empty line -> (what was read, where the empty line's CRLF CRLF begins or -1)."""
    data = bytearray(trace)
    searched = 0
    while True:
        found = data.find(_END, searched)
        if data.startswith(b"\r\n"):
            return bytes(data), 0
        if found >= 0 or len(data) > MAX_HEADERS:
            return bytes(data), found
        searched = max(len(data) - 3, 0)
        piece = await call.store(reader.read())
        if not piece:
            return bytes(data), -1
        data += piece


async def read_body(call: Call, trace: bytes, reader: IBodyReader) -> list[str]:
    """Return the first 64 KiB of the body as lines."""
    data, found = await _to_end_of_headers(call, trace, reader)
    while found < 0:  # a header section beyond its bound is passed over, not kept
        piece = await call.store(reader.read())
        if not piece:
            return []
        data = data[-3:] + piece
        found = data.find(_END)
    body = bytearray(data[2:] if data.startswith(b"\r\n") else data[found + 4 :])
    while len(body) <= MAX_BODY:
        piece = await call.store(reader.read())
        if not piece:
            return text_lines(bytes(body))
        body += piece
    return [*text_lines(bytes(body[:MAX_BODY])), f"(the first {MAX_BODY // 1024} KiB)"]


async def give_source(call: Call, trace: bytes, reader: IBodyReader, table: Table, facts: Row) -> None:
    """Give the whole source: to programs in rows of base64, ``facts`` in each; to people as lines."""
    if not call.machine and call.outlet.style != "json":
        await _show_source(call, trace, reader)
        return
    call.table = table
    held, offset, ended = bytearray(trace), 0, False
    while not ended:
        while len(held) < PIECE and not ended:
            piece = await call.store(reader.read())
            ended = not piece
            held += piece
        while len(held) >= PIECE or (ended and held):
            data = bytes(held[:PIECE])
            del held[:PIECE]
            await call.row({**facts, "offset": offset, "source": base64.b64encode(data).decode("ascii")})
            offset += len(data)
    if not offset:
        await call.row({**facts, "offset": 0, "source": ""})


async def _show_source(call: Call, trace: bytes, reader: IBodyReader) -> None:
    call.table = TEXT
    held, shown = bytes(trace), 0
    while True:
        piece = await call.store(reader.read())
        lines, cut, held = (held + piece).rpartition(b"\n") if piece else (held, b"", b"")
        shown += len(lines)
        for line in text_lines(lines + cut):
            await call.row({"line": line})
        if not piece:
            return
        if shown >= MAX_SHOWN:
            await call.note(f"(the first {MAX_SHOWN // 1024} KiB; netsvcctl export-mailbox copies mail whole)")
            return
