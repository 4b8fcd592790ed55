"""The command language: a line read against the table of commands (quiet; CONSOLE.md 3.3).

    line     = [ "@" tag ] [ "do" ] command { "|" pipe }
    command  = word { word | argument } { selection | clause }

``Grammar.parse`` answers with a ``Parsed`` or raises CommandError;
``Grammar.options`` walks the same way and answers with what fits at the end of
the line, which is what ``?`` and Tab show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, Clause, Command, CommandError
from netsvc.console.arguments import arg_options, read_arg
from netsvc.console.filters import parse_where
from netsvc.console.pipes import Pipe, parse_pipes
from netsvc.console.reader import AtCursor, Option, Reader, Token, choose, near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from netsvc.criteria import Expr

MAX_IDS = 1000
"""Ids in one command."""

_TAG = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_SESSION = re.compile(r"[Ss][0-9]{1,16}\Z")
_ID_HELP = {"session": "a session, S12"}
_SELECT_HELP = {
    "ids": "a message, or one item MESSAGE.n",
    "where": "those a filter matches",
    "last": "those the last show queue matched",
    "all": "every one",
}
_PIPE = Option("|", "send the rows through a pipe", open=True)
_ENTER = Option("<Enter>", "run it", open=True)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a command is pointed at.  ``kind``: ids where last all; ``ids`` as (text, column); ``text`` as typed."""

    kind: str
    ids: tuple[tuple[str, int], ...] = ()
    where: Expr | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """One line, understood.  ``args`` holds arguments, and clauses by their names."""

    command: Command
    line: str
    args: dict[str, Any] = field(default_factory=dict)
    chosen: Chosen | None = None
    pipes: tuple[Pipe, ...] = ()
    tag: str | None = None


class _Node:
    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.help = ""
        self.command: Command | None = None

    def commands(self) -> Iterable[Command]:
        if self.command is not None:
            yield self.command
        for child in self.children.values():
            yield from child.commands()


class Grammar:
    """The table of commands, ready to read lines."""

    def __init__(self, commands: Iterable[Command]) -> None:
        """Build the tree of words.  Raises ValueError when two commands are spelt alike."""
        self._root = _Node()
        self.commands: tuple[Command, ...] = tuple(commands)
        for command in self.commands:
            node = self._root
            for word in command.words:
                node = node.children.setdefault(word.text, _Node())
                node.help = node.help or word.help or command.help
            if node.command is not None:
                raise ValueError(f"two commands are called {command.name}")
            node.command = command

    def parse(self, line: str, now_ms: int) -> Parsed | None:
        """Read a line; None when it is empty or a comment.  ``now_ms`` is what relative times count from.

        Raises CommandError.
        """
        reader = Reader(line)
        tag = read_tag(reader)
        if _nothing(reader):
            return None
        return _Walk(self._root, reader, now_ms, _everybody).line(tag)

    def options(self, line: str, now_ms: int, visible: Callable[[Command], bool]) -> tuple[list[Option], str]:
        """Return (what fits at the end of ``line``, the beginning of a word they would complete).

        ``visible`` says whether a command is shown to whoever asks.  Raises CommandError for a line already wrong.
        """
        reader = Reader(line, completing=True)
        read_tag(reader)
        try:
            _Walk(self._root, reader, now_ms, visible).line(None)
        except AtCursor as cursor:
            return [option for option in cursor.options if not option.hidden], cursor.partial
        return [], ""

    def find(self, words: Sequence[str]) -> list[Command]:
        """Return the commands that ``words`` (abbreviations too) lead to or towards.  Raises CommandError."""
        node = self._root
        for word in words:
            option = choose(Token(word, 0, len(word)), [Option(text) for text in node.children])
            if option is None:
                raise CommandError("E101", f'Unknown command "{word}"', None, near(word, list(node.children)))
            node = node.children[option.word]
        return list(node.commands())


def _select_help(of: str, form: str) -> str:
    return _ID_HELP.get(of, _SELECT_HELP[form]) if form == "ids" else _SELECT_HELP[form]


def _everybody(command: Command) -> bool:
    del command
    return True


def _nothing(reader: Reader) -> bool:
    reader.skip()
    return reader.pos >= len(reader.line) or reader.line[reader.pos] in "#!"


def read_tag(reader: Reader) -> str | None:
    """Take ``@tag`` from the beginning of a line.  Raises CommandError E104 for one that is none."""
    reader.skip()
    if reader.line[reader.pos : reader.pos + 1] != "@":
        return None
    token = reader.peek()
    assert token is not None
    if not _TAG.match(token.text[1:]):
        raise CommandError("E104", "A tag is @ and 1 to 64 letters, digits, dots, colons or hyphens", token.start)
    reader.take(token)
    return token.text[1:]


class _Walk:
    """One walk along a line."""

    def __init__(self, root: _Node, reader: Reader, now_ms: int, visible: Callable[[Command], bool]) -> None:
        self.node = root
        self.reader = reader
        self.now_ms = now_ms
        self.visible = visible
        self.args: dict[str, Any] = {}
        self.chosen: Chosen | None = None
        self.filtered = False

    def line(self, tag: str | None) -> Parsed:
        command = self._command()
        self._tail(command)
        pipes = parse_pipes(self.reader)
        return Parsed(command, self.reader.line, self.args, self.chosen, pipes, tag)

    def _command(self) -> Command:
        first = True
        while True:
            children = self._children(first)
            own = self._options(self.node.command, list(self.node.command.args)) if self.node.command else []
            token = self.reader.next([*children, *own])
            if token is None:
                if self.node.command is not None:
                    return self.node.command
                raise _incomplete(children, self.reader.pos)
            option = choose(token, [*children, *own])
            if option is not None and option in children:
                self.reader.take(token)
                self.node = self.node.children.get(option.word, self.node)
                first = False
            elif self.node.command is not None:
                return self.node.command
            else:
                raise _unknown(token, [child for child in children if child.word != "do"])

    def _children(self, first: bool) -> list[Option]:
        options = [
            Option(word, node.help, hidden=not any(self.visible(c) for c in node.commands() if not c.hidden))
            for word, node in self.node.children.items()
        ]
        if first:
            options.append(Option("do", "run a command", hidden=True))
        return options

    def _options(self, command: Command, left: list[Arg]) -> list[Option]:
        """Return what may stand next; ``left`` are the positional arguments not given yet."""
        options: list[Option] = []
        for arg in left:
            options += arg_options(arg)
            if not arg.optional:
                return options
        if command.selects is not None and self.chosen is None:
            for form in command.selects.forms:
                help_ = _select_help(command.selects.of, form)
                options.append(Option("ID" if form == "ids" else form, help_, open=form == "ids"))
        options += [Option(c.name, c.help) for c in command.clauses if c.name not in self.args]
        if not self._lacking(command, left):
            options += [_PIPE, _ENTER]
        return options

    def _lacking(self, command: Command, left: list[Arg]) -> list[str]:
        """Return what a complete command still needs."""
        lacking = [arg.label for arg in left if not arg.optional]
        if (
            command.selects is not None
            and command.selects.required
            and self.chosen is None
            and "confirm" not in self.args
        ):
            lacking += ["ID" if form == "ids" else form for form in command.selects.forms]
        return lacking + [c.name for c in command.clauses if c.required and c.name not in self.args]

    def _tail(self, command: Command) -> None:
        left = list(command.args)
        while True:
            options = self._options(command, left)
            stops = "," if command.selects is not None and "ids" in command.selects.forms else ""
            token = None if left and left[0].kind == "rest" else self.reader.next(options, stops)
            if left and left[0].kind == "rest" and not (left[0].optional and self.reader.ended):
                read_arg(self.reader, left.pop(0), self.args)
            elif token is None:
                break
            elif left and not left[0].optional:
                read_arg(self.reader, left.pop(0), self.args)
            else:
                left = self._one(command, left, token, options)
        lacking = self._lacking(command, left)
        if lacking:
            raise CommandError("E103", f"Incomplete. Expected one of: {', '.join(lacking)}", self.reader.pos, lacking)

    def _one(self, command: Command, left: list[Arg], token: Token, options: list[Option]) -> list[Arg]:
        """Read an optional argument, a selection or a clause -> the arguments still left."""
        option = choose(token, options)
        if option is not None:
            for at, arg in enumerate(left):
                if arg.kind == "choice" and any(word.text == option.word for word in arg.words):
                    read_arg(self.reader, arg, self.args)
                    return left[at + 1 :]
            clause = next((c for c in command.clauses if c.name == option.word), None)
            if clause is None:
                self._select(command, option.word, token, left)
            else:
                self._clause(clause, token)
            return left
        if left and left[0].kind != "choice":
            read_arg(self.reader, left[0], self.args)
            return left[1:]
        if self._takes_ids(command, token):
            assert command.selects is not None
            self._ids(command.selects.of)
            return left
        raise self._unexpected(token, options)

    def _takes_ids(self, command: Command, token: Token) -> bool:
        forms = command.selects.forms if command.selects is not None and self.chosen is None else ()
        if "ids" not in forms or token.quoted:
            return False
        assert command.selects is not None
        if command.selects.of == "session":
            return _SESSION.match(token.text) is not None
        return token.text[:1].isdigit() or len(token.text) > 12

    def _ids(self, of: str) -> None:
        start = self.reader.pos
        found: list[tuple[str, int]] = []
        token = self.reader.peek(",")
        while token is not None and not token.quoted and (_begins_id(of, token.text) or not found):
            found.append((token.text, token.start))
            if len(found) > MAX_IDS:
                raise CommandError("E104", f"At most {MAX_IDS} ids in one command; use where", token.start)
            self.reader.take(token)
            self.reader.skip()
            if self.reader.line[self.reader.pos : self.reader.pos + 1] == ",":
                self.reader.pos += 1
            token = self.reader.next([Option("ID", _select_help(of, "ids"), open=True), _PIPE, _ENTER], ",")
        self.chosen = Chosen("ids", tuple(found), text=self.reader.line[start : self.reader.pos].strip(" ,\t"))

    def _select(self, command: Command, form: str, token: Token, left: list[Arg]) -> None:
        assert command.selects is not None
        self.reader.take(token)
        if form != "where":
            self.chosen = Chosen(form, text=form)
            return
        start = self.reader.pos
        self.chosen = Chosen("where")
        where = parse_where(self.reader, command.selects.of, self.now_ms, self._options(command, left))
        self.chosen = Chosen("where", where=where, text=self.reader.line[start : self.reader.pos].strip())
        self.filtered = True

    def _clause(self, clause: Clause, token: Token) -> None:
        self.reader.take(token)
        self.args[clause.name] = True
        for arg in clause.args:
            if arg.optional and not self._begins(arg):
                continue
            read_arg(self.reader, arg, self.args)

    def _begins(self, arg: Arg) -> bool:
        token = self.reader.next([*arg_options(arg), _PIPE, _ENTER])
        return token is not None and choose(token, arg_options(arg)) is not None

    def _unexpected(self, token: Token, options: list[Option]) -> CommandError:
        words = [option.word for option in options if not option.open and not option.hidden]
        if self.filtered:
            words += ["and", "or"]
        likely = near(token.text, words)
        also = f" Did you mean: {', '.join(likely)}" if likely else ""
        if any(option is _ENTER for option in options):
            return CommandError(
                "E104", f'Unexpected "{token.text}" after a complete command.{also}', token.start, likely
            )
        shown = ", ".join(option.word for option in options if not option.hidden)
        return CommandError("E104", f'Unexpected "{token.text}". Expected one of: {shown}', token.start, likely)


def _begins_id(of: str, text: str) -> bool:
    return _SESSION.match(text) is not None if of == "session" else text[:1].isdigit()


def _incomplete(children: list[Option], column: int) -> CommandError:
    names = [option.word for option in children if not option.hidden]
    return CommandError("E103", f"Incomplete. Expected one of: {', '.join(names)}", column, names)


def _unknown(token: Token, children: list[Option]) -> CommandError:
    names = [option.word for option in children if not option.hidden]
    likely = near(token.text, names)
    if likely:
        also = f" Did you mean: {', '.join(likely)}"
    else:
        also = f" Expected one of: {', '.join(names)}" if len(names) <= 12 else " Type ? for a list"
    return CommandError("E101", f'Unknown command "{token.text}".{also}', token.start, likely)
