"""Command lines as RFC 5321 4.1.1 writes them, and their refusals.

Strict in what may follow what: after a path comes a space and parameters, or
nothing.  Lenient in two things that many clients do: one space after
``MAIL FROM:`` or ``RCPT TO:``, and spaces at the end of a line.  Printable
ASCII only, but for UTF-8 in MAIL and RCPT (RFC 6531): a control character, a
bare CR or LF, or an octet above 127 that is not UTF-8 never gets past ``split``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from netsvc.mail.address import MAX_PATH, NULL, Address, AddressError, parse_address, parse_domain
from netsvc.mail.envelope import NO_WISHES
from netsvc.mail.reply import (
    BAD_ARGUMENT,
    BAD_RECIPIENT,
    BAD_SENDER,
    BAD_UTF8,
    NEEDS_SMTPUTF8,
    SYNTAX,
    UNKNOWN_COMMAND,
    UNKNOWN_PARAMETER,
    Reply,
)
from netsvc.smtp import parameters
from netsvc.smtp.chunking import ChunkGiven, chunk_given
from netsvc.smtp.events import MAX_NAME, DataRequested, Event, Greeted, RecipientGiven, SenderGiven
from netsvc.smtp.parameters import OF_MAIL, OF_RCPT, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERBS = frozenset(
    {"EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "QUIT"}
)
HELLOS = frozenset({"EHLO", "HELO", "LHLO"})
_BARE = frozenset({"DATA", "RSET", "QUIT"})
NOT_OFFERED = frozenset({"AUTH", "BURL", "ETRN", "SAML", "SEND", "SOML", "STARTTLS", "TURN"})
"""Commands that are known and not offered: 502 rather than 500."""
HTTP_VERBS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_QUOTED_PATH = re.compile(r'"(?:[^"\\]|\\.)*"[^>"]*>')
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_USUAL = frozenset({"SIZE", "BODY"})
_CACHED_LINES = 4096
_CACHED_LENGTH = 120


class CommandError(Exception):
    """The line is refused: ``reply`` says it to the client."""

    def __init__(self, reply: Reply) -> None:
        """Keep the reply."""
        super().__init__(str(reply.text))
        self.reply = reply


_CONTROL = "control character in the command"
_USAGE = {
    verb: SYNTAX.fill(usage=usage)
    for verb, usage in {
        "EHLO": "EHLO domain",
        "HELO": "HELO domain",
        "LHLO": "LHLO domain",
        "MAIL": "MAIL FROM:<address> [parameters]",
        "RCPT": "RCPT TO:<address> [parameters]",
        "DATA": "DATA",
        "RSET": "RSET",
        "QUIT": "QUIT",
    }.items()
}
_UNPRINTABLE = {"MAIL": BAD_SENDER.fill(why=_CONTROL), "RCPT": BAD_RECIPIENT.fill(why=_CONTROL)}
_UNPRINTABLE_ELSEWHERE = BAD_ARGUMENT.fill(why=_CONTROL)
_NOT_ASCII = BAD_ARGUMENT.fill(why="the command is not ASCII")
_BAD_OCTETS = BAD_UTF8.fill(why="it is not UTF-8")
_WITH_PATH = frozenset(_UNPRINTABLE)


def split(line: bytes) -> tuple[str, str]:
    """Return (verb in capitals, argument without spaces at its end).  Raises CommandError.

    The verb may be one that is not in VERBS; the argument is printable ASCII, that of MAIL and RCPT may go beyond it.
    """
    text = line.decode("latin-1")
    verb, _, argument = text.partition(" ")
    verb = verb.upper() if verb.isascii() else ""
    if not (text.isascii() and text.isprintable()):
        if verb not in VERBS:
            raise CommandError(UNKNOWN_COMMAND)
        if not all(c.isprintable() for c in text if c.isascii()):
            raise CommandError(_UNPRINTABLE.get(verb, _UNPRINTABLE_ELSEWHERE))
        if verb not in _WITH_PATH:
            raise CommandError(_NOT_ASCII)
        try:
            argument = line[len(verb) + 1 :].decode("utf-8")
        except UnicodeDecodeError:
            raise CommandError(_BAD_OCTETS) from None
    return verb, argument.rstrip(" ")


class Line(NamedTuple):
    """A command line: its verb in capitals, and the event it is, None for a command that asks nobody.

    A BDAT is a ChunkGiven; None when its size is not to be understood.
    """

    verb: str
    event: Event | ChunkGiven | None = None


def parse(line: bytes) -> Line:
    """Return what a line without its CR LF says.  Raises CommandError.

    The verb may be one that is not in VERBS.  Short lines are remembered: the same few come again and again.
    """
    remember = len(line) <= _CACHED_LENGTH and line[:1] not in b"Aa"  # AUTH may carry a password
    return _remembered(line) if remember else _parse(line)


def _parse(line: bytes) -> Line:
    verb, argument = split(line)
    if verb == "MAIL":
        return Line(verb, parse_mail(argument))
    if verb == "RCPT":
        return Line(verb, parse_rcpt(argument))
    if verb == "BDAT":
        return Line(verb, chunk_given(argument))
    if verb in HELLOS:
        return Line(verb, parse_hello(verb, argument))
    if argument and verb in _BARE:
        raise CommandError(_USAGE[verb])
    return Line(verb, DataRequested() if verb == "DATA" else None)


_remembered = lru_cache(_CACHED_LINES)(_parse)


def parse_hello(verb: str, argument: str) -> Greeted:
    """Parse what follows EHLO, HELO or LHLO: a domain, an address literal, or the odd name a client has for itself."""
    if not argument or len(argument) > MAX_NAME or not _NAME.fullmatch(argument):
        raise CommandError(_USAGE[verb])
    return Greeted(argument, verb != "HELO")


def parse_mail(argument: str) -> SenderGiven:
    """Parse what follows MAIL.  Raises CommandError."""
    text, rest = _divide("MAIL", "FROM:", argument)
    path = _parsed(_reverse_path, text, BAD_SENDER)
    if not rest:
        if not text.isascii():
            raise CommandError(NEEDS_SMTPUTF8)
        return SenderGiven(path)
    params = _parameters("MAIL", rest, OF_MAIL)
    try:
        size = parameters.size(params["SIZE"]) if "SIZE" in params else 0
        body = parameters.body(params["BODY"]) if "BODY" in params else "7BIT"
        wishes = NO_WISHES if params.keys() <= _USUAL else parameters.wishes(params)
    except ParameterError as e:
        raise CommandError(BAD_ARGUMENT.fill(why=e)) from None
    if not (text.isascii() or wishes.utf8):
        raise CommandError(NEEDS_SMTPUTF8)
    return SenderGiven(path, size, body, params, wishes)


def parse_rcpt(argument: str) -> RecipientGiven:
    """Parse what follows RCPT.  Raises CommandError."""
    text, rest = _divide("RCPT", "TO:", argument)
    path = _parsed(_forward_path, text, BAD_RECIPIENT)
    if not rest:
        return RecipientGiven(path, beyond_ascii=not text.isascii())
    params = _parameters("RCPT", rest, OF_RCPT)
    try:
        orcpt = parameters.original_recipient(params["ORCPT"]) if "ORCPT" in params else ""
        notify = parameters.notify(params["NOTIFY"]) if "NOTIFY" in params else 0
    except ParameterError as e:
        raise CommandError(BAD_ARGUMENT.fill(why=e)) from None
    return RecipientGiven(path, params, orcpt, notify, not (text.isascii() and orcpt.isascii()))


def _divide(verb: str, keyword: str, argument: str) -> tuple[str, str]:
    """Return (text between < and >, text of the parameters)."""
    start = len(keyword)
    if argument[:start].upper() != keyword:
        raise CommandError(_USAGE[verb])
    if argument[start : start + 1] == " ":
        start += 1
    if argument[start : start + 1] != "<":
        raise CommandError(_USAGE[verb])
    end = _path_end(argument, start + 1)
    if end < 0:
        raise CommandError(_USAGE[verb])
    rest = argument[end + 1 :]
    if rest and rest[0] != " ":
        raise CommandError(_USAGE[verb])
    return argument[start + 1 : end], rest[1:]


def _path_end(argument: str, start: int) -> int:
    """Return where the path's > is, -1 without one; a > within a quoted local part does not count."""
    quoted = argument.find(":", start) + 1 if argument[start : start + 1] == "@" else start
    if argument[quoted : quoted + 1] == '"':
        match = _QUOTED_PATH.match(argument, quoted)
        return match.end() - 1 if match else -1
    return argument.find(">", start)


def _parsed(parse: Callable[[str], Address], text: str, refusal: Reply) -> Address:
    try:
        return parse(text)
    except AddressError as e:
        raise CommandError((refusal if text.isascii() else BAD_UTF8).fill(why=e)) from None


def _reverse_path(text: str) -> Address:
    return _address(text) if text else NULL


def _forward_path(text: str) -> Address:
    if text.lower() == "postmaster":
        return Address(text, "")
    return _address(text)


def _address(text: str) -> Address:
    """Return the address of a path; a source route is checked and dropped (RFC 5321 appendix C, F.2)."""
    if len(text) > MAX_PATH - 2:
        raise AddressError(f"the path is longer than {MAX_PATH} octets")
    if text.startswith("@"):
        route, colon, text = text.partition(":")
        if not colon:
            raise AddressError("a source route ends with a colon")
        for hop in route.split(","):
            if not hop.startswith("@"):
                raise AddressError("a source route is @domain,@domain:")
            parse_domain(hop[1:])
    return parse_address(text, utf8=not text.isascii())


def _parameters(verb: str, text: str, known: frozenset[str]) -> Mapping[str, str]:
    """Return {KEYWORD: value or ""} of ESMTP parameters divided by single spaces; all are ``known``."""
    params: dict[str, str] = {}
    for item in text.split(" "):
        name, equals, value = item.partition("=")
        if not _KEYWORD.fullmatch(name) or "=" in value or (equals and not value):
            _bad_parameters(verb)
        name = name.upper()
        if name in params:
            _bad_parameters(verb)
        params[name] = value
    if not params.keys() <= known:
        raise CommandError(UNKNOWN_PARAMETER.fill(name=next(name for name in params if name not in known)))
    return params


def _bad_parameters(verb: str) -> NoReturn:
    raise CommandError(_USAGE[verb])
