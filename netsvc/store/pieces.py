"""How bodies are cut for the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CHUNK = 256 << 10
"""Octets of one piece in the store, at most; also what a body may hold in memory before it is streamed."""
SMALL = 64 << 10
"""Bodies up to so many octets are accepted in queue.db, by the same fsync as their rows, and moved to body.db later."""


def split(data: bytes) -> Iterable[bytes]:
    """Cut ``data`` into chunks."""
    if len(data) <= CHUNK:
        return (data,) if data else ()
    return (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))
