"""Lines of a dialogue as people and programs see them (quiet)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.console.render import show_time
from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from netsvc.flightrecorder import Line

ARROWS = {"in": "<<", "out": ">>", "note": "--"}
"""What the peer said, what we said, what happened."""


def spoken(line: Line, *, session: bool = True) -> str:
    """Return one line for a person: the time, the session unless it is known, who spoke, what was said."""
    name = f" {line.entry.id}" if session else ""
    return f"{show_time(line.at, '%H:%M:%S')}.{line.at % 1000:03d}{name} {ARROWS[line.direction]} {line.text}"


def trace_row(line: Line) -> dict[str, Any]:
    """Return one line as a row of trace/1."""
    entry = line.entry
    return {
        "at": line.at,
        "ms": line.at % 1000,
        "session": entry.id,
        "kind": entry.kind,
        "peer": escape(entry.peer, 255),
        "direction": line.direction,
        "text": line.text,
    }
