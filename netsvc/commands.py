"""What a console command is, as data, so that any room or plugin can offer one (floor 2, quiet).

One declarative table of ``Command`` drives parsing, ``?``, Tab, help texts,
roles, the audit trail and the schemas of machine mode.  The console owns the
grammar; a command owns its words and what it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

ROLE_ORDER = ("viewer", "operator", "admin")
"""Roles, each of which may do what those before it may."""

SETTING_TYPES = ("str", "int", "size", "duration", "bool", "choice", "list")
COLUMN_TYPES = (
    "text",
    "id",
    "time",
    "duration",
    "size",
    "int",
    "number",
    "enum",
    "list",
    "bool",
    "lines",
    "rows",
    "map",
    "base64",
)
ARG_KINDS = ("word", "text", "int", "size", "duration", "id", "address", "domain", "name", "choice", "secret", "rest")


class CommandError(Exception):
    """A command that cannot be run, told in words fit for the operator: the one exception of grammar and verbs.

    ``code`` is stable (E101 …); ``message`` is what stands after ``% ``; ``column`` counts from 0 in the line, None
    when no place is to blame; ``suggestions`` are words to use instead; ``hint`` is a command that helps.
    """

    def __init__(
        self,
        code: str,
        message: str,
        column: int | None = None,
        suggestions: Sequence[str] = (),
        hint: str = "",
    ) -> None:
        """Keep the parts apart: machine mode shows them as fields."""
        super().__init__(f"{message} [{code}]")
        self.code = code
        self.message = message
        self.column = column
        self.suggestions = tuple(suggestions)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a listener's configuration.

    ``type`` is of SETTING_TYPES.  Values: str; int; size -> int octets; duration -> int ms; bool; choice -> one of
    ``choices``; list -> tuple of str.  ``default`` is a value (not its text), None when the key must be given
    (``required``) or may stay absent.  ``low`` and ``high`` bound int, size and duration.
    """

    name: str
    type: str
    default: Any = None
    unit: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()
    required: bool = False
    low: int | None = None
    high: int | None = None

    def __post_init__(self) -> None:
        """Refuse a table that could not be checked against."""
        if self.type not in SETTING_TYPES:
            raise ValueError(f"setting {self.name}: no type {self.type}")
        if (self.type == "choice") != bool(self.choices):
            raise ValueError(f"setting {self.name}: choices are for the type choice")


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a row.

    ``name`` is its key in machine mode, ``type`` of COLUMN_TYPES (in rows a time is int ms since 1970, a duration int
    ms, a size int octets; None: absent).  ``title`` heads it in the table people see, "" keeps it out of there;
    ``show`` refines how a person sees it: relative or clock (times; a clock has the date too when it is a day or more
    away), percent, path (empty is ``<>``), blank (absent is nothing rather than ``-``), zero (0 is ``-``), line (empty
    is a line), wrap (as blank, and a long text goes on in the next line), unit (a size where the row's ``unit`` is
    octets).  In machine mode an empty text is absent, but for path and line.  ``shrink`` says how gladly it is cut when
    the table is too wide, 0 never, and 1 keeps more than others; ``spare`` how gladly it is left out then, 0 only when
    nothing else can be.  ``inner`` is the table of the rows in a column of type rows; lines are a list of str.

    Columns named ``a+b`` (several values side by side) or ``a/3`` (one of a list) are for people only.
    """

    name: str
    type: str
    help: str = ""
    title: str = ""
    show: str = ""
    shrink: int = 0
    spare: int = 0
    words: tuple[str, ...] = ()
    inner: Table | None = None

    def __post_init__(self) -> None:
        """Refuse a type that nobody renders."""
        if self.type not in COLUMN_TYPES:
            raise ValueError(f"column {self.name}: no type {self.type}")


@dataclass(frozen=True, slots=True)
class Table:
    """A kind of row: ``schema`` is its name and version in machine mode (``queue.item/1``)."""

    schema: str
    columns: tuple[Column, ...]
    help: str = ""

    @property
    def fields(self) -> tuple[Column, ...]:
        """The columns machine mode has."""
        return tuple(c for c in self.columns if "+" not in c.name and "/" not in c.name)

    @property
    def shown(self) -> tuple[Column, ...]:
        """The columns people see when nothing else is asked for."""
        return tuple(c for c in self.columns if c.title)


@dataclass(frozen=True, slots=True)
class Word:
    """A fixed word of a command and what ``?`` says of it."""

    text: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class Arg:
    """A value in a command.

    ``kind`` is of ARG_KINDS: word (bare word), text (bare word or quoted), int, size (octets), duration (ms), id (text
    of an id or its beginning), address, domain, name (an account's), choice (one of ``words``), secret (never shown nor
    kept), rest (all up to the pipe).  With ``none`` the word ``none``
    is taken too, for a value of nothing: 0 or "".  ``name`` is the key of the value in ``Call.args``; ``label``
    is what ``?`` shows for it: ``shown``, else the name in capitals.
    """

    name: str
    kind: str
    help: str = ""
    words: tuple[Word, ...] = ()
    optional: bool = False
    low: int = 0
    shown: str = ""
    none: bool = False

    def __post_init__(self) -> None:
        """Refuse a kind nobody parses."""
        if self.kind not in ARG_KINDS:
            raise ValueError(f"argument {self.name}: no kind {self.kind}")

    @property
    def label(self) -> str:
        """What stands for the value in a syntax line."""
        if self.kind == "choice":
            return "|".join(word.text for word in self.words)
        return (self.shown or self.name.upper()) + ("|none" if self.none else "")


@dataclass(frozen=True, slots=True)
class Clause:
    """``name`` followed by its values, anywhere after the positional arguments; without values it is a flag (True)."""

    name: str
    help: str = ""
    args: tuple[Arg, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Selects:
    """What a command can be pointed at.  ``of`` is a key of criteria.OBJECTS; ``forms`` of: ids where last all."""

    of: str
    forms: tuple[str, ...] = ("where",)
    required: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the command table.

    ``words`` lead to it; ``args`` follow in order; then come what it ``selects`` and its ``clauses``.  ``role`` is the
    least that may run it, ``content`` asks for the content privilege too.  ``changes`` commands are audited.  ``run``
    is a coroutine function that is handed the call; ``table`` is what its rows are.  ``hidden`` ones are taken but not
    shown.
    """

    words: tuple[Word, ...]
    run: Callable[[Any], Coroutine[Any, Any, None]]
    help: str
    args: tuple[Arg, ...] = ()
    selects: Selects | None = None
    clauses: tuple[Clause, ...] = ()
    role: str = "viewer"
    content: bool = False
    changes: bool = False
    table: Table | None = None
    examples: tuple[str, ...] = ()
    hidden: bool = False

    def __post_init__(self) -> None:
        """Refuse a role nobody has."""
        if self.role not in ROLE_ORDER:
            raise ValueError(f"command {self.name}: no role {self.role}")

    @property
    def name(self) -> str:
        """Its fixed words."""
        return " ".join(word.text for word in self.words)

    @property
    def syntax(self) -> str:
        """How it is typed."""
        parts = [self.name]
        parts += [f"[{arg.label}]" if arg.optional else arg.label for arg in self.args]
        if self.selects is not None:
            forms = {"ids": "ID…", "where": "where …"}
            inner = "|".join(forms.get(form, form) for form in self.selects.forms)
            parts.append(inner if self.selects.required else f"[{inner}]")
        for clause in self.clauses:
            values = [f"[{arg.label}]" if arg.optional else arg.label for arg in clause.args]
            text = " ".join([clause.name, *values])
            parts.append(text if clause.required else f"[{text}]")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Completion:
    """What Tab finds left of the cursor.

    ``candidates``: (word, help) pairs that fit; ``partial``: the beginning of a word they complete; ``insert``: what
    Tab adds to the line at once, "" when they have nothing more in common.
    """

    candidates: tuple[tuple[str, str], ...] = ()
    insert: str = ""
    partial: str = ""
