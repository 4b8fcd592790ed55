r"""One line being edited, as it is drawn, silent.

Three ways, by what the terminal can do:

SILENT  nothing is drawn: the client shows what is typed (line mode, ``nc``).
PLAIN   what is typed is echoed, Backspace takes it back; nothing else moves the cursor.
FULL    one row, scrolled sideways when the line is longer, redrawn whole when more than its end changes.

Each ``show`` returns the text that brings the terminal from what it shows to
what it should show, so however many keys came at once, a row is drawn once.
LF ends a line of output; CR and CSI sequences appear in FULL only.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from netsvc.telnet.line import cluster_width, text_width

if TYPE_CHECKING:
    from collections.abc import Sequence

BELL: Final = "\a"
_LEAST_ROOM: Final = 8


class Drawing(Enum):
    """How a line is shown while it is edited."""

    SILENT = "silent"
    PLAIN = "plain"
    FULL = "full"


def _cells(clusters: Sequence[str]) -> int:
    return sum(map(cluster_width, clusters))


class Display:
    """The row of the line being edited.  ``columns`` and ``drawing`` may change at any time."""

    __slots__ = ("_offset", "_prompt", "_room_taken", "_shown", "columns", "drawing")

    def __init__(self) -> None:
        self.drawing = Drawing.SILENT
        self.columns = 80
        self._prompt = ""
        self._room_taken = 0
        self._shown: tuple[str, ...] | None = None  # None: what is on the row is not known
        self._offset = 0

    def start(self, prompt: str) -> str:
        """Begin a line with ``prompt``, whose last row stays in front of the line."""
        self._prompt = prompt.rpartition("\n")[2]
        self._room_taken = text_width(self._prompt)
        self._shown = ()
        self._offset = 0
        return prompt

    def again(self) -> str:
        """Begin the same line on a fresh row, after other output."""
        self._shown = ()
        self._offset = 0
        return self._prompt

    def show(self, clusters: Sequence[str], cursor: int) -> str:
        """Return what brings ``clusters`` with the cursor before ``clusters[cursor]`` on the row."""
        if self.drawing is Drawing.SILENT:
            return ""
        if self.drawing is Drawing.PLAIN:
            return self._plain(tuple(clusters))
        return self._full(clusters, cursor)

    def _plain(self, clusters: tuple[str, ...]) -> str:
        shown = self._shown
        self._shown = clusters
        if shown is not None and clusters[: len(shown)] == shown:
            return "".join(clusters[len(shown) :])
        if shown is None or self._room_taken + _cells(shown) >= self.columns:  # Backspace cannot go back a row
            return "\n" + self._prompt + "".join(clusters)
        same = 0
        while same < min(len(shown), len(clusters)) and shown[same] == clusters[same]:
            same += 1
        return "\b \b" * _cells(shown[same:]) + "".join(clusters[same:])

    def _full(self, clusters: Sequence[str], cursor: int) -> str:
        room = max(self.columns - self._room_taken - 1, _LEAST_ROOM)
        before = self._offset
        self._scroll(clusters, cursor, room)
        visible: list[str] = []
        used = 0
        for cluster in clusters[self._offset :]:
            used += cluster_width(cluster)
            if used > room:
                break
            visible.append(cluster)
        back = _cells(visible[cursor - self._offset :])
        shown, row = self._shown, tuple(visible)
        self._shown = row if back == 0 else None  # only a row with the cursor at its end can simply grow
        if shown is not None and before == self._offset and back == 0 and row[: len(shown)] == shown:
            return "".join(row[len(shown) :])
        return f"\r{self._prompt}{''.join(row)}\x1b[K" + (f"\x1b[{back}D" if back else "")

    def _scroll(self, clusters: Sequence[str], cursor: int, room: int) -> None:
        """Move the visible part so that the cursor is in it; by half a row, so that it does not move at every key."""
        if _cells(clusters) <= room:
            self._offset = 0
            return
        if cursor < self._offset or _cells(clusters[self._offset : cursor]) >= room:
            self._offset = cursor
            self._back_off(clusters, room // 2)

    def _back_off(self, clusters: Sequence[str], cells: int) -> None:
        while self._offset > 0 and cells > 0:
            self._offset -= 1
            cells -= cluster_width(clusters[self._offset]) or 1
