"""A command line read word by word, remembering what could have stood where (quiet).

The same parser serves running a line, ``?`` and Tab: before it looks at a word
it says what it would take there.  While completing, the word the cursor
touches is not judged; ``AtCursor`` carries what would fit instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netsvc.commands import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LINE = 65_536
"""Characters of a line."""

_SPACE = " \t"


@dataclass(frozen=True, slots=True)
class Option:
    """Something that may stand at a place: a ``word``, or with ``open`` a label for any value.

    ``hidden`` ones are taken but not shown; after a ``glue`` one no blank is due.
    """

    word: str
    help: str = ""
    open: bool = False
    hidden: bool = False
    glue: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the line: its text without quotes, and where it stands."""

    text: str
    start: int
    end: int
    quoted: bool = False


class AtCursor(Exception):  # noqa: N818 - it ends a parse, it is no error
    """The cursor is reached: these ``options`` would fit after ``partial``."""

    def __init__(self, options: Sequence[Option], partial: str) -> None:
        """Keep what fits."""
        super().__init__(partial)
        self.options = tuple(options)
        self.partial = partial


class Reader:
    """Reads one line.  With ``completing`` the end of the line is the cursor."""

    def __init__(self, line: str, completing: bool = False) -> None:
        """Begin at the start of ``line``.  Raises CommandError E105 for a line over MAX_LINE."""
        if len(line) > MAX_LINE:
            raise CommandError("E105", f"The line is longer than {MAX_LINE} characters", MAX_LINE)
        self.line = line
        self.pos = 0
        self.completing = completing

    def skip(self) -> None:
        """Pass over white space."""
        while self.pos < len(self.line) and self.line[self.pos] in _SPACE:
            self.pos += 1

    @property
    def ended(self) -> bool:
        """Whether only white space is left before the pipe or the end."""
        self.skip()
        return self.pos >= len(self.line) or self.line[self.pos] == "|"

    def peek(self, stops: str = "") -> Token | None:
        """Return the next word without passing it, None at a pipe or the end.

        A bare word ends at white space, ``|`` and the characters ``stops``.  Raises CommandError E105 for a quote
        that does not close.
        """
        if self.ended:
            return None
        start = self.pos
        if self.line[start] == '"':
            return self._quoted(start)
        end = start
        stops += _SPACE + "|"
        while end < len(self.line) and self.line[end] not in stops:
            end += 1
        return Token(self.line[start:end], start, end)

    def next(self, options: Sequence[Option], stops: str = "") -> Token | None:
        """Return the next word as ``peek`` does, having told Tab and ``?`` that ``options`` fit here."""
        self.skip()
        if self.completing and self.pos >= len(self.line):
            raise AtCursor(options, "")
        token = self.peek(stops)
        if self.completing and token is not None and token.end >= len(self.line) and not token.quoted:
            raise AtCursor(options, token.text)
        return token

    def take(self, token: Token) -> None:
        """Pass over ``token``."""
        self.pos = token.end

    def rest(self) -> tuple[str, int]:
        """Take everything up to a pipe outside quotes -> (text, its column)."""
        self.skip()
        start = self.pos
        quoted = False
        while self.pos < len(self.line) and (quoted or self.line[self.pos] != "|"):
            if self.line[self.pos] == '"':
                quoted = not quoted
            self.pos += 1
        return self.line[start : self.pos].rstrip(_SPACE), start

    def _quoted(self, start: int) -> Token:
        out: list[str] = []
        at = start + 1
        while at < len(self.line):
            c = self.line[at]
            if c == '"':
                return Token("".join(out), start, at + 1, quoted=True)
            if c == "\\" and self.line[at + 1 : at + 2] in {'"', "\\"}:
                at += 1
                c = self.line[at]
            out.append(c)
            at += 1
        if self.completing:
            raise AtCursor((), "")
        raise CommandError("E105", "The quote is not closed", start)


def near(word: str, words: Sequence[str]) -> list[str]:
    """Return which of ``words`` are one typing error away from ``word`` (or begin alike), best first."""
    typed = word.lower()
    close = [w for w in words if _one_edit(typed, w)]
    if len(typed) >= 3:
        close += [w for w in words if w not in close and (w.startswith(typed[:3]) or typed.startswith(w))]
    return close[:5]


def _one_edit(a: str, b: str) -> bool:
    if abs(len(a) - len(b)) > 1 or a == b:
        return a == b
    head = 0
    while head < min(len(a), len(b)) and a[head] == b[head]:
        head += 1
    if len(a) != len(b):
        longer, shorter = (a, b) if len(a) > len(b) else (b, a)
        return longer[head + 1 :] == shorter[head:]
    if a[head + 1 :] == b[head + 1 :]:
        return True
    return a[head : head + 2] == b[head : head + 2][::-1] and a[head + 2 :] == b[head + 2 :]


def choose(token: Token, options: Sequence[Option]) -> Option | None:
    """Return the one option that ``token`` names: its word, or the only one that begins so.

    None when none does.  Raises CommandError E102 when several begin so.
    """
    if token.quoted or not token.text:
        return None
    typed = token.text.lower()
    fixed = [option for option in options if not option.open]
    for option in fixed:
        if option.word == typed:
            return option
    found = [option for option in fixed if option.word.startswith(typed)]
    if len({option.word for option in found}) > 1:
        names = sorted({option.word for option in found})
        raise CommandError("E102", f'Ambiguous "{token.text}": {", ".join(names)}', token.start, names)
    return found[0] if found else None
