"""What ``?``, Tab and ``help`` say, all of it from the table of commands (quiet)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.commands import Command, CommandError, Completion
from netsvc.console.render import pad
from netsvc.console.widths import cells

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.console.grammar import Grammar
    from netsvc.console.reader import Option

_INDENT = "  "
_KINDS = {
    "address": "an address, ann@example.org",
    "domain": "a domain, example.org",
    "id": "a queue id, or 5 characters of its beginning",
    "int": "a number",
    "size": "octets: 512 10k 5M 1G",
    "duration": "a duration: 30s 5m 2h 1d",
    "text": 'one word, or "several in quotes"',
    "secret": "a password",
}


_LOOKS = {"show", "mailq", "test", "trace"}


def complete(grammar: Grammar, line: str, now_ms: int, visible: Callable[[Command], bool]) -> Completion:
    """Return what Tab finds at the end of ``line``."""
    try:
        options, partial = grammar.options(line, now_ms, visible)
    except CommandError:
        return Completion()
    typed = partial.lower()
    fits = [option for option in options if not option.open and option.word.startswith(typed)]
    if not fits:
        return Completion(partial=partial)
    insert = _common([option.word for option in fits])[len(typed) :]
    if len(fits) == 1 and not fits[0].glue:
        insert += " "
    return Completion(tuple((option.word, option.help) for option in fits), insert, partial)


def _common(words: Sequence[str]) -> str:
    """Return what all of ``words`` begin with."""
    first, last = min(words), max(words)
    return next((first[:at] for at, c in enumerate(first) if last[at] != c), first)


def explain(grammar: Grammar, line: str, now_ms: int, visible: Callable[[Command], bool]) -> str:
    """Return what ``?`` shows at the end of ``line``, LF between lines."""
    try:
        options, partial = grammar.options(line, now_ms, visible)
    except CommandError as error:
        return f"% {error.message}. [{error.code}]"
    typed = partial.lower()
    fits = [option for option in options if option.open or option.word.startswith(typed)]
    if typed:
        fits = [option for option in fits if option.word not in {"|", "<Enter>"}]
    if not fits:
        return f'% Nothing begins with "{partial}" here.' if partial else "% Nothing can follow here."
    return "\n".join(_columns([(option.word, option.help) for option in _once(fits)]))


def _once(options: Sequence[Option]) -> list[Option]:
    return list({option.word: option for option in options}.values())


def _columns(pairs: Sequence[tuple[str, str]]) -> list[str]:
    broad = min(max((cells(word) for word, _ in pairs), default=0), 24)
    return [f"{_INDENT}{pad(word, broad, right=False)}  {text}".rstrip() for word, text in pairs]


def overview(commands: Sequence[Command]) -> str:
    """Return one line a command, by what they are for."""
    lines = []
    for title, chosen in (
        ("Looking (changes nothing)", [c for c in commands if c.words[0].text in _LOOKS]),
        ("Acting on mail in the queue", [c for c in commands if c.changes and c.role == "operator"]),
        ("Changing the site", [c for c in commands if c.changes and c.role == "admin"]),
        ("This session", [c for c in commands if not c.changes and c.words[0].text not in _LOOKS]),
    ):
        if chosen:
            lines += [title, *_columns([(c.name, c.help) for c in chosen]), ""]
    lines += [
        "Words may be shortened. ? shows what fits next, Tab completes, help COMMAND says more.",
        "Filters: show queue where domain=*.example.com and age>1h      help fields queue",
        "Pipes:   ... | count   first N   last N   match TEXT   except TEXT   find TEXT   json   list",
    ]
    return "\n".join(lines)


def describe(command: Command) -> str:
    """Return the whole help of one command."""
    lines = [command.syntax, f"{_INDENT}{command.help}", ""]
    pairs = [
        (arg.label if arg.kind != "choice" else arg.name, arg.help or _KINDS.get(arg.kind, ""))
        for arg in command.args
        if arg.kind != "choice" or len(arg.words) > 1  # a word by itself is in the syntax
    ]
    pairs += [(word.text, word.help) for arg in command.args for word in arg.words if word.help]
    if command.selects is not None:
        of_ids = "sessions, S12" if command.selects.of == "session" else "messages, or items MESSAGE.n, up to 1000"
        forms = {
            "ids": ("ID…", of_ids),
            "where": ("where …", f"those a filter matches: help fields {command.selects.of}"),
            "last": ("last", "those the last show queue matched"),
            "all": ("all", "every one"),
        }
        pairs += [forms[form] for form in command.selects.forms]
    pairs += [(" ".join([c.name, *(arg.label for arg in c.args)]), c.help) for c in command.clauses]
    if pairs:
        lines += [*_columns(pairs), ""]
    needs = [f"role {command.role}"]
    needs += ["enable"] if command.role == "admin" else []
    needs += ["the content privilege"] if command.content else []
    lines.append(f"Needs {', '.join(needs)}." + (" Audited." if command.changes or command.content else ""))
    if command.table is not None:
        lines.append(
            f"Machine mode: rows of {command.table.schema} (show schema {command.table.schema.split('/')[0]})."
        )
    if command.examples:
        lines += ["Examples:", *(_INDENT + example for example in command.examples)]
    return "\n".join(lines)
