"""What stands behind ``|``: how it is typed and what it does to rows (quiet; CONSOLE.md 3.6).

A stage takes one row at a time and hands on what it lets through, so a million
rows pass without being kept; ``last`` keeps as many as it was asked for.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from netsvc.commands import CommandError
from netsvc.console.reader import AtCursor, Option, Reader, choose, near
from netsvc.console.values import parse_int
from netsvc.patterns import PatternError, compile_regex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from netsvc.records import Row

MAX_KEPT = 100_000
"""Rows ``last`` may keep."""

MAX_PIPES = 10

PIPES = (
    Option("count", "count the rows"),
    Option("first", "the first N rows"),
    Option("last", "the last N rows"),
    Option("match", "rows that hold TEXT, or match ~REGEX"),
    Option("except", "rows that do not"),
    Option("find", "from the first row that holds TEXT"),
    Option("json", "rows as JSON objects, one a line"),
    Option("table", "rows as a table"),
    Option("list", "rows as lists of fields"),
    Option("include", "match", hidden=True),
    Option("exclude", "except", hidden=True),
    Option("begin", "find", hidden=True),
)
_ALIASES = {"include": "match", "exclude": "except", "begin": "find"}
STYLES = ("table", "list", "json")
"""Pipes that say how rows are shown rather than which."""


@dataclass(frozen=True, slots=True)
class Pipe:
    """One pipe as typed: its ``name`` (aliases resolved), the number of first and last, the text of the others."""

    name: str
    number: int = 0
    text: str = ""


def parse_pipes(reader: Reader) -> tuple[Pipe, ...]:
    """Read ``| …`` to the end of the line.  Raises CommandError."""
    pipes: list[Pipe] = []
    while reader.pos < len(reader.line):
        reader.pos += 1
        if len(pipes) >= MAX_PIPES:
            raise CommandError("E104", f"At most {MAX_PIPES} pipes", reader.pos)
        pipes.append(_parse_pipe(reader))
        reader.skip()
    return tuple(pipes)


def _parse_pipe(reader: Reader) -> Pipe:
    token = reader.next(PIPES)
    names = [option.word for option in PIPES if not option.hidden]
    if token is None:
        raise CommandError("E103", f"Incomplete. Expected one of: {', '.join(names)}", reader.pos, names)
    option = choose(token, PIPES)
    if option is None:
        likely = near(token.text, names)
        also = f" Did you mean: {', '.join(likely)}" if likely else f" Pipes are: {', '.join(names)}"
        raise CommandError("E101", f'Unknown pipe "{token.text}".{also}', token.start, likely)
    reader.take(token)
    name = _ALIASES.get(option.word, option.word)
    if name in {"first", "last"}:
        return Pipe(name, number=_number(reader, name))
    if name in {"match", "except", "find"}:
        return Pipe(name, text=_pattern(reader, name))
    _nothing_more(reader)
    return Pipe(name)


def _nothing_more(reader: Reader) -> None:
    token = reader.next([Option("|", "another pipe", open=True), Option("<Enter>", "run it", open=True)])
    if token is not None:
        raise CommandError("E104", f'Unexpected "{token.text}" after a complete pipe', token.start)


def _number(reader: Reader, name: str) -> int:
    token = reader.next([Option("N", "how many rows", open=True)])
    if token is None:
        raise CommandError("E103", f"Incomplete. Expected a number after {name}", reader.pos)
    try:
        number = parse_int(token.text)
    except ValueError:
        raise CommandError("E202", f'"{token.text}" is not a number', token.start) from None
    if number > MAX_KEPT:
        raise CommandError("E202", f"{name} takes at most {MAX_KEPT}", token.start)
    reader.take(token)
    _nothing_more(reader)
    return number


def _pattern(reader: Reader, name: str) -> str:
    if reader.ended:
        if reader.completing and reader.pos >= len(reader.line):
            raise AtCursor([Option("TEXT", "what to look for, or ~REGEX", open=True)], "")
        raise CommandError("E103", f"Incomplete. Expected a text after {name}", reader.pos)
    start = reader.pos
    token = reader.peek()
    text, _ = reader.rest()
    if token is not None and token.quoted and token.end == start + len(text):
        text = token.text
    try:
        test_of(text)
    except PatternError as error:
        raise CommandError("E205", f"Pattern not taken: {error}. Use a simpler regex", start) from None
    return text


def test_of(text: str) -> Callable[[str], bool]:
    """Return what tells whether a line holds ``text`` (any case), or matches it when it is ``~REGEX``.

    Raises PatternError.
    """
    if text.startswith("~"):
        pattern = compile_regex(text[1:])
        return lambda line: pattern.search(line) is not None
    wanted = text.lower()
    return lambda line: wanted in line.lower()


class Stage(Protocol):
    """One pipe at work."""

    def put(self, row: Row) -> Iterable[Row]:
        """Take a row -> the rows that go on."""

    def end(self) -> Iterable[Row]:
        """No more rows come -> the rows that still go on."""

    @property
    def full(self) -> bool:
        """Whether no further row can matter."""


def line_of(row: Row) -> str:
    """Return the row as the text that ``match`` looks at: its values as words."""
    return " ".join(_words(value) for value in row.values() if value is not None)


def _words(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(_words(v) for v in value)
    return str(value)


class _Match:
    full = False

    def __init__(self, pipe: Pipe, text_of: Callable[[Row], str]) -> None:
        self._test = test_of(pipe.text)
        self._text_of = text_of
        self._contrary = pipe.name == "except"

    def put(self, row: Row) -> Iterable[Row]:
        return (row,) if self._test(self._text_of(row)) is not self._contrary else ()

    def end(self) -> Iterable[Row]:
        return ()


class _Find:
    full = False

    def __init__(self, pipe: Pipe, text_of: Callable[[Row], str]) -> None:
        self._test = test_of(pipe.text)
        self._text_of = text_of
        self._found = False

    def put(self, row: Row) -> Iterable[Row]:
        self._found = self._found or self._test(self._text_of(row))
        return (row,) if self._found else ()

    def end(self) -> Iterable[Row]:
        return ()


class _First:
    def __init__(self, number: int) -> None:
        self._left = number

    @property
    def full(self) -> bool:
        return self._left <= 0

    def put(self, row: Row) -> Iterable[Row]:
        self._left -= 1
        return (row,) if self._left >= 0 else ()

    def end(self) -> Iterable[Row]:
        return ()


class _Last:
    full = False

    def __init__(self, number: int) -> None:
        self._kept: deque[Row] = deque(maxlen=number)

    def put(self, row: Row) -> Iterable[Row]:
        self._kept.append(row)
        return ()

    def end(self) -> Iterable[Row]:
        return tuple(self._kept)


class _Count:
    full = False

    def __init__(self, count: int = 0) -> None:
        self._count = count

    def put(self, row: Row) -> Iterable[Row]:
        del row
        self._count += 1
        return ()

    def end(self) -> Iterable[Row]:
        return ({"count": self._count},)


def stage(pipe: Pipe, text_of: Callable[[Row], str] = line_of) -> Stage:
    """Return the stage that does what ``pipe`` says, ``pipe`` being none of STYLES.

    ``text_of`` is the text of a row that match, except and find look at.
    """
    if pipe.name in {"match", "except"}:
        return _Match(pipe, text_of)
    if pipe.name == "find":
        return _Find(pipe, text_of)
    if pipe.name == "first":
        return _First(pipe.number)
    return _Last(pipe.number) if pipe.name == "last" else _Count()


class Pipeline:
    """The stages behind one another."""

    def __init__(self, pipes: Iterable[Pipe], text_of: Callable[[Row], str] = line_of) -> None:
        """Build them from what was typed."""
        pipes = tuple(pipes)
        self._stages: list[Stage] = [stage(pipe, text_of) for pipe in pipes if pipe.name not in STYLES]
        self.style = next((pipe.name for pipe in reversed(pipes) if pipe.name in STYLES), "")
        self.counts = any(pipe.name == "count" for pipe in pipes)

    @property
    def full(self) -> bool:
        """Whether no further row can matter."""
        return any(stage.full for stage in self._stages)

    @property
    def plain(self) -> bool:
        """Whether rows pass unchanged."""
        return not self._stages

    def preset(self, count: int) -> None:
        """Have a single ``count`` tell ``count``: somebody counted without reading rows."""
        self._stages = [_Count(count)]

    def put(self, row: Row) -> list[Row]:
        """Take a row -> the rows that come out at the end."""
        return self._through([row], 0)

    def end(self) -> list[Row]:
        """No more rows come -> the rows that still come out."""
        out: list[Row] = []
        for at, last in enumerate(self._stages):
            out += self._through(list(last.end()), at + 1)
        return out

    def _through(self, rows: list[Row], start: int) -> list[Row]:
        for one in self._stages[start:]:
            rows = [after for row in rows for after in one.put(row)]
        return rows
