"""One argument of a command, read by its kind (quiet)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, CommandError
from netsvc.console.reader import AtCursor, Option, Reader, Token, choose, near
from netsvc.console.values import EXAMPLES, parse_duration, parse_int, parse_name, parse_size
from netsvc.mail.address import AddressError, parse_address, parse_domain

if TYPE_CHECKING:
    from collections.abc import Callable


def arg_options(arg: Arg) -> list[Option]:
    """Return what may stand in the argument's place."""
    if arg.kind == "choice":
        return [Option(word.text, word.help or arg.help) for word in arg.words]
    return [Option(arg.label, arg.help, open=True)]


def read_arg(reader: Reader, arg: Arg, args: dict[str, Any]) -> None:
    """Read ``arg`` from the reader's place into ``args``.  Raises CommandError."""
    if arg.kind == "rest":
        args[arg.name] = _rest(reader, arg)
        return
    token = reader.next(arg_options(arg))
    if token is None:
        raise CommandError("E103", f"Incomplete. Expected: {arg.label}", reader.pos, [w.text for w in arg.words])
    reader.take(token)
    if arg.none and token.text.lower() == "none":
        args[arg.name] = 0 if arg.kind in _NUMBERS else ""
        return
    try:
        value = _choice(arg, token) if arg.kind == "choice" else _KINDS[arg.kind](token.text)
    except ValueError as error:
        examples = "ann@example.org" if arg.kind == "address" else EXAMPLES.get(arg.kind, "")
        also = f". Examples: {examples}" if examples else ""
        shown = "That" if arg.kind == "secret" else f'"{token.text}"'
        raise CommandError("E202", f"{shown} is not {error}{also}", token.start) from None
    if isinstance(value, int) and value < arg.low:
        raise CommandError("E202", f"{arg.label} is at least {arg.low}", token.start)
    args[arg.name] = value


def _rest(reader: Reader, arg: Arg) -> str:
    reader.skip()
    if reader.completing and reader.pos >= len(reader.line):
        raise AtCursor(arg_options(arg), "")
    text, column = reader.rest()
    if not text:
        raise CommandError("E103", f"Incomplete. Expected: {arg.label}", column)
    return text


def _choice(arg: Arg, token: Token) -> str:
    option = choose(token, arg_options(arg))
    if option is None:
        words = [word.text for word in arg.words]
        raise CommandError(
            "E202",
            f'"{token.text}" is not a {arg.name}. One of: {", ".join(words)}',
            token.start,
            near(token.text, words) or words,
        )
    return option.word


def _address(text: str) -> str:
    try:
        return str(parse_address(text, utf8=True))
    except AddressError as error:
        raise ValueError(f"an address: {error}") from None


def _domain(text: str) -> str:
    try:
        return parse_domain(text)
    except AddressError as error:
        raise ValueError(f"a domain: {error}") from None


def _duration(text: str) -> int:
    ms, _ = parse_duration(text)
    if ms < 0:
        raise ValueError("a duration")
    return ms


def _filled(text: str) -> str:
    if not text:
        raise ValueError("something")
    return text


_NUMBERS = ("int", "size", "duration")

_KINDS: dict[str, Callable[[str], Any]] = {
    "word": _filled,
    "text": _filled,
    "secret": _filled,
    "id": _filled,
    "int": parse_int,
    "size": parse_size,
    "duration": _duration,
    "address": _address,
    "domain": _domain,
    "name": parse_name,
}
