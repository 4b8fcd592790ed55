"""A line editor, silent: keys in, lines and what the terminal must show out.

The same object serves a capable terminal, a plain one and a client that edits
its lines itself; which one it is may change in the middle of a line.  The
cursor moves in FULL drawing only; elsewhere it is always at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netsvc.telnet.display import BELL, Display, Drawing
from netsvc.telnet.history import History
from netsvc.telnet.keys import Key
from netsvc.telnet.line import LINE_LIMIT, Line, asks_help, in_quotes

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Submitted:
    """Enter: the line, without control characters."""

    line: str


@dataclass(frozen=True, slots=True)
class TooLong:
    """Enter, but the line was longer than allowed: it is gone."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ctrl-C: the line is gone."""


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """Ctrl-D on an empty line."""


@dataclass(frozen=True, slots=True)
class CompleteWanted:
    """Tab: answer with ``offer``."""

    left: str


@dataclass(frozen=True, slots=True)
class HelpWanted:
    """``?``: show help for ``left``, the text left of the cursor, by ``aside``."""

    left: str


EditorEvent = Submitted | TooLong | Cancelled | EndOfInput | CompleteWanted | HelpWanted

_Edits = dict[Key, "Callable[[Line], None]"]
_EDITS: Final[_Edits] = {
    Key.BACKSPACE: Line.backspace,
    Key.KILL_START: Line.kill_start,
    Key.KILL_WORD: Line.kill_word,
    Key.YANK: Line.yank,
}
_MOVES: Final[_Edits] = {
    Key.DELETE: Line.delete,
    Key.END_OF_INPUT: Line.delete,
    Key.LEFT: Line.move_left,
    Key.RIGHT: Line.move_right,
    Key.HOME: Line.move_home,
    Key.END: Line.move_end,
    Key.WORD_LEFT: Line.move_word_left,
    Key.WORD_RIGHT: Line.move_word_right,
    Key.KILL_END: Line.kill_end,
    Key.KILL_NEXT_WORD: Line.kill_next_word,
}


class LineEditor:
    """Edits one line after the other: ``begin``, ``press`` until an event ends the line, ``take`` what to show."""

    __slots__ = ("_assist", "_line", "_out", "_verbatim", "display", "history")

    def __init__(self, history: History | None = None) -> None:
        self.history = history or History()
        self.display = Display()
        self._line = Line()
        self._out: list[str] = []
        self._assist = False
        self._verbatim = False

    @property
    def empty(self) -> bool:
        """Whether nothing has been typed."""
        return self._line.empty

    def begin(self, prompt: str, *, secret: bool = False, assist: bool = True, limit: int = LINE_LIMIT) -> None:
        """Begin a line.  ``secret``: never shown; ``assist``: ``?``, Tab and the history mean something."""
        self._line.clear()
        self._line.secret = secret
        self._line.limit = limit
        self._assist = assist and not secret
        self._verbatim = False
        self.history.rewind()
        self._out.append(self.display.start(prompt))

    def take(self) -> str:
        """Return what the terminal must show, once; LF between lines."""
        self._out.append(self._drawn())
        text = "".join(self._out)
        self._out.clear()
        return text

    def aside(self, text: str) -> str:
        """Return what shows ``text`` (whole lines) beneath the line, and the line again behind it."""
        out = self.take()
        if self._live:
            out += "\n"
        return out + text + self.display.again() + self.take()

    def press(self, press: str | Key) -> EditorEvent | None:
        """Take one key or a run of text -> what it asks for, None while the line goes on."""
        verbatim, self._verbatim = self._verbatim, press is Key.VERBATIM
        if self.display.drawing is not Drawing.FULL:
            self._line.move_end()  # it may have been elsewhere as long as the terminal was capable
        if isinstance(press, str):
            self._insert(press)
        elif press is Key.ENTER:
            return self._enter()
        elif press is Key.INTERRUPT:
            return self._cancel()
        elif press is Key.QUESTION:
            return self._question(verbatim)
        elif press is Key.TAB:
            return CompleteWanted(self._line.left) if self._assist and self._live else None
        elif press is Key.END_OF_INPUT and self.empty:
            return EndOfInput()
        else:
            self._edit(press)
        return None

    def offer(self, insert: str, listing: str) -> str:
        """Answer ``CompleteWanted``: insert text, or show what is possible -> what the terminal must show."""
        if insert:
            self._insert(insert)
            return self.take()
        return self.aside(listing) if listing else BELL

    @property
    def _live(self) -> bool:
        return self.display.drawing is not Drawing.SILENT

    def _drawn(self) -> str:
        if self._line.secret:
            return ""
        return self.display.show(self._line.clusters, self._line.cursor)

    def _insert(self, text: str) -> None:
        overflow = self._line.overflow
        if not self._line.insert(text) and not overflow:
            self._ring()

    def _ring(self) -> None:
        if self._live:
            self._out.append(BELL)

    def _cancel(self) -> EditorEvent:
        self._out.append(self._drawn() + ("^C\n" if self._live else "\n"))
        self._line.clear()
        self.display.start("")
        return Cancelled()

    def _enter(self) -> EditorEvent:
        line = self._line.text
        if self._line.overflow:
            event: EditorEvent = TooLong()
        elif self._assist and not self._live and asks_help(line):
            event = HelpWanted(line.rstrip()[:-1])
        else:
            event = Submitted(line)
        if self._live:
            self._line.move_end()
            self._out.append(self._drawn() + "\n")
        self._line.clear()
        if not isinstance(event, HelpWanted):  # help is followed by the same prompt
            self.display.start("")
        return event

    def _question(self, verbatim: bool) -> EditorEvent | None:
        if verbatim or not self._assist or not self._live or in_quotes(left := self._line.left):
            self._insert("?")
            return None
        return HelpWanted(left)

    def _edit(self, key: Key) -> None:
        drawing = self.display.drawing
        if key in _EDITS:
            _EDITS[key](self._line)
        elif drawing is Drawing.FULL and key in _MOVES:
            _MOVES[key](self._line)
        elif drawing is Drawing.FULL and key is Key.REDRAW:
            self._out.append("\x1b[H\x1b[2J" + self.display.again())
        elif self._assist and self._live:
            self._walk(key)

    def _walk(self, key: Key) -> None:
        history, line = self.history, self._line
        if key is Key.LAST_WORD:
            self._insert(history.last_word)
            return
        if key is Key.UP:
            found = history.back(line.text)
        elif key is Key.DOWN:
            found = history.forth()
        elif key is Key.SEARCH:
            found = history.search(line.left, line.text)
        else:
            return
        if found is None:
            self._ring()
        else:
            line.clear()
            line.insert(found)
