"""The lines typed before, silent: bounded, walked with Up and Down, searched with Ctrl-R."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 500


class History:
    """Lines, oldest first, and the place where the operator is among them.  Whoever adds leaves secrets out."""

    __slots__ = ("_draft", "_lines", "_place")

    def __init__(self, lines: Iterable[str] = (), limit: int = LIMIT) -> None:
        self._lines: deque[str] = deque(lines, maxlen=limit)
        self._place = len(self._lines)
        self._draft = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines, oldest first."""
        return tuple(self._lines)

    @property
    def last_word(self) -> str:
        """The last word of the newest line, '' when there is none."""
        words = self._lines[-1].split() if self._lines else []
        return words[-1] if words else ""

    def add(self, line: str) -> None:
        """Remember ``line``; not when it is blank or the same as the newest."""
        if line.strip() and not (self._lines and self._lines[-1] == line):
            self._lines.append(line)
        self.rewind()

    def rewind(self) -> None:
        """Go back to the present line, with nothing of it kept."""
        self._place = len(self._lines)
        self._draft = ""

    def back(self, present: str) -> str | None:
        """Return the line before, None when there is none; ``present`` is kept for the way back."""
        if self._place == 0:
            return None
        if self._place == len(self._lines):
            self._draft = present
        self._place -= 1
        return self._lines[self._place]

    def forth(self) -> str | None:
        """Return the line after, at the end what was being typed; None when already there."""
        if self._place >= len(self._lines):
            return None
        self._place += 1
        return self._draft if self._place == len(self._lines) else self._lines[self._place]

    def search(self, needle: str, present: str) -> str | None:
        """Go back to a line that holds ``needle`` -> the line, None when there is none before this place."""
        for place in range(self._place - 1, -1, -1):
            if needle in self._lines[place]:
                if self._place == len(self._lines):
                    self._draft = present
                self._place = place
                return self._lines[place]
        return None
