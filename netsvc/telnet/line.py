"""The text of one line and the cursor in it, silent and undrawn.

The line is a list of clusters (a character with its combining marks), so the
cursor never stands inside one and half a character is never deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wcwidth import wcwidth

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_LIMIT: Final = 4096
"""Characters of a line; a longer one is refused whole, never cut."""
MARKS_LIMIT: Final = 8
"""Combining marks that one character may carry."""


def cluster_width(cluster: str) -> int:
    """Cells that a character with its combining marks takes: 0, 1 or 2."""
    return max(wcwidth(cluster[0]), 0)


def text_width(text: str) -> int:
    """Cells that ``text`` takes."""
    return sum(map(cluster_width, text))


class Line:
    """One line.  ``secret``: Ctrl-Y keeps nothing of it.  ``overflow``: more was typed than ``limit`` characters."""

    __slots__ = ("_killed", "_size", "clusters", "cursor", "limit", "overflow", "secret")

    def __init__(self) -> None:
        self.clusters: list[str] = []
        self.cursor = 0
        self.limit = LINE_LIMIT
        self.secret = False
        self.overflow = False
        self._size = 0
        self._killed = ""

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.clusters)

    @property
    def left(self) -> str:
        """What is left of the cursor."""
        return "".join(self.clusters[: self.cursor])

    @property
    def empty(self) -> bool:
        """Whether nothing was typed."""
        return not self.clusters and not self.overflow

    def clear(self) -> None:
        """Throw the line away; what was killed stays."""
        self.clusters = []
        self.cursor = 0
        self.overflow = False
        self._size = 0

    def insert(self, text: str) -> bool:
        """Put ``text`` at the cursor -> False when it was too much, from then on ``overflow`` is set.

        What does not print is left out; odd blanks become blanks.  In a secret every character counts.
        """
        tail = self.clusters[self.cursor :]
        del self.clusters[self.cursor :]
        fits = True
        for char in text:
            fits = self._append(char)
            if not fits:
                break
        self.cursor = len(self.clusters)
        self.clusters += tail
        return fits

    def _append(self, char: str) -> bool:
        if not char.isprintable() and not self.secret:
            if not char.isspace():
                return True  # controls, what is invisible, what turns the writing round
            char = " "
        if self._size >= self.limit:
            self.overflow = True
            return False
        self._size += 1
        if self.clusters and wcwidth(char) == 0 and len(self.clusters[-1]) <= MARKS_LIMIT:
            self.clusters[-1] += char
        else:
            self.clusters.append(char)
        return True

    def backspace(self) -> None:
        """Delete the character before the cursor."""
        if self.cursor:
            self._cut(self.cursor - 1, self.cursor)

    def delete(self) -> None:
        """Delete the character at the cursor."""
        self._cut(self.cursor, self.cursor + 1)

    def kill_start(self) -> None:
        """Take away what is before the cursor."""
        self._kill(0, self.cursor)

    def kill_end(self) -> None:
        """Take away what is behind the cursor."""
        self._kill(self.cursor, len(self.clusters))

    def kill_word(self) -> None:
        """Take away the word before the cursor, back to a blank."""
        self._kill(self._back(_not_blank), self.cursor)

    def kill_next_word(self) -> None:
        """Take away the word behind the cursor."""
        self._kill(self.cursor, self._ahead())

    def yank(self) -> None:
        """Put what was last taken away at the cursor."""
        self.insert(self._killed)

    def move_left(self) -> None:
        """Go one character back."""
        self.cursor = max(self.cursor - 1, 0)

    def move_right(self) -> None:
        """Go one character on."""
        self.cursor = min(self.cursor + 1, len(self.clusters))

    def move_home(self) -> None:
        """Go to the beginning."""
        self.cursor = 0

    def move_end(self) -> None:
        """Go to the end."""
        self.cursor = len(self.clusters)

    def move_word_left(self) -> None:
        """Go back to the beginning of a word."""
        self.cursor = self._back(_in_word)

    def move_word_right(self) -> None:
        """Go on to the end of a word."""
        self.cursor = self._ahead()

    def _kill(self, start: int, end: int) -> None:
        gone = "".join(self.clusters[start:end])
        self._cut(start, end)
        if gone and not self.secret:
            self._killed = gone

    def _cut(self, start: int, end: int) -> None:
        self._size -= sum(map(len, self.clusters[start:end]))
        del self.clusters[start:end]
        self.cursor = start
        if not self.clusters:
            self.overflow = False  # nothing is left that could be run by mistake

    def _back(self, within: Callable[[str], bool]) -> int:
        place = self.cursor
        while place and not within(self.clusters[place - 1]):
            place -= 1
        while place and within(self.clusters[place - 1]):
            place -= 1
        return place

    def _ahead(self) -> int:
        place, end = self.cursor, len(self.clusters)
        while place < end and not _in_word(self.clusters[place]):
            place += 1
        while place < end and _in_word(self.clusters[place]):
            place += 1
        return place


def _in_word(cluster: str) -> bool:
    return cluster[0].isalnum()


def _not_blank(cluster: str) -> bool:
    return cluster != " "


def in_quotes(left: str) -> bool:
    """Whether a double quote is open at the end of ``left``; a backslash makes the next character ordinary in it."""
    opened = False
    skip = False
    for char in left:
        if skip:
            skip = False
        elif char == "\\" and opened:
            skip = True
        elif char == '"':
            opened = not opened
    return opened


def asks_help(line: str) -> bool:
    """Whether a whole line ends in the word ``?``: how a client that sends lines asks for help."""
    head = line.rstrip()
    return head.endswith("?") and (head == "?" or head[-2] == " ") and not in_quotes(head)
