"""``--More--``: how much of an output is shown before the next page is asked for; and what Tab lists (quiet)."""

from __future__ import annotations

from collections import deque
from typing import Final

from netsvc.mail.escape import escape
from netsvc.telnet.line import text_width

MORE: Final = "--More--"
_FEW: Final = 24
_LISTED_ROWS: Final = 40


class Pager:
    """Lines not yet shown.  ``page`` rows are shown at once (0: all), lines wider than ``columns`` take several."""

    def __init__(self) -> None:
        self.page = 0
        self.columns = 80
        self._lines: deque[str] = deque()
        self._rows = 0

    @property
    def empty(self) -> bool:
        """Whether everything was shown."""
        return not self._lines

    def restart(self) -> None:
        """Begin a new page: the operator has just typed something."""
        self._rows = 0

    def forget(self) -> None:
        """Throw away what was not shown."""
        self._lines.clear()
        self._rows = 0

    def add(self, text: str) -> None:
        """Take more output."""
        pieces = text.split("\n")
        if self._lines and not self._lines[-1].endswith("\n"):
            pieces[0] = self._lines.pop() + pieces[0]
        self._lines.extend(piece + "\n" for piece in pieces[:-1])
        if pieces[-1]:
            self._lines.append(pieces[-1])

    def take(self, most: int = 0) -> str:
        """Return what may be shown now, ``most`` rows when given (else what is left of the page)."""
        room = most or (self.page - 1 - self._rows)
        out: list[str] = []
        while self._lines:
            line = self._lines[0]
            rows = 1 if len(line) < self.columns // 2 else 1 + max(text_width(line.rstrip("\n")) - 1, 0) // self.columns
            if self.page and out and rows > room:
                break
            if self.page and room <= 0:
                break
            room -= rows
            self._rows += rows
            out.append(self._lines.popleft())
        return "".join(out)


def listing(candidates: tuple[tuple[str, str], ...], width: int) -> str:
    """Return (word, help) pairs as rows: with their help when few, side by side when many."""
    words = [(escape(word, 60), escape(text, 200)) for word, text in candidates]
    cell = max(text_width(word) for word, _ in words) + 2
    if len(words) <= _FEW:
        rows = [word + " " * (cell - text_width(word)) + text for word, text in words]
        return "".join(row[: max(width - 1, 20)].rstrip() + "\n" for row in rows)
    across = max((width - 1) // cell, 1)
    lines = [words[i : i + across] for i in range(0, min(len(words), _LISTED_ROWS * across), across)]
    text = "".join("".join(w + " " * (cell - text_width(w)) for w, _ in line).rstrip() + "\n" for line in lines)
    left_out = len(words) - sum(map(len, lines))
    return text + (f"... and {left_out} more\n" if left_out else "")


def whole_lines(text: str) -> str:
    """Return ``text`` ended by a line end."""
    return text if text.endswith("\n") or not text else text + "\n"
