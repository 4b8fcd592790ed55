"""Filters as values: what ``where`` means, apart from how it is typed and how it is searched (floor 2).

The console parses text into these, the store compiles them to SQL, and rows
in memory are tested against them by ``matches``.  Field names are those of the
machine-mode schemas with ``_`` written ``-``.

SQL and ``matches`` agree on what is absent: absent text is empty; an absent
number, size, time or duration equals nothing and is in no order to anything.
``!=`` and ``!~`` are the plain contrary of ``=`` and ``~``.
"""

from __future__ import annotations

import ipaddress
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsvc.mail.ids import IdError, parse_item
from netsvc.patterns import compile_glob, compile_regex

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Glob:
    """A text pattern with ``*`` (any run) and ``?`` (one character), matched without regard to case."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression for a linear-time engine, searched for, without regard to case."""

    source: str


@dataclass(frozen=True, slots=True)
class Network:
    """An IP network in its canonical text, for ``peer=10.0.0.0/8``."""

    text: str


@dataclass(frozen=True, slots=True)
class Test:
    """``field op value``.

    ``op``: = != ~ !~ < <= > >= in.  ``value`` by the field's kind: text -> str, Glob, Regex (with ~) ; id -> (message
    id, n or None) ; number, size (octets), percent, code -> int ; duration -> int ms (``age>1h``: the row's age at
    evaluation) ; time -> int ms since 1970 ; enum -> str ; bool -> bool ; address -> str or Network ; a tuple of
    those with ``in``.
    """

    __test__ = False
    field: str
    op: str
    value: Any


@dataclass(frozen=True, slots=True)
class And:
    """All of ``terms``."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of ``terms``."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not ``term``."""

    term: Expr


Expr = Test | And | Or | Not


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object.  ``key`` is its name in rows; ``kind`` as in Test; ``words`` an enum's.

    ``several``: its text is words with blanks between them, and to be equal to one of them is enough.
    """

    name: str
    kind: str
    help: str
    example: str
    key: str = ""
    words: Sequence[str] = ()
    aliases: Sequence[str] = ()
    several: bool = False

    @property
    def row_key(self) -> str:
        """The key in machine-mode rows."""
        return self.key or self.name.replace("-", "_")


STATES = ("incoming", "active", "deferred", "hold", "recycled")
RESULTS = ("delivered", "bounced", "expired", "deleted", "rejected", "relayed")

OPERATORS: dict[str, tuple[str, ...]] = {
    "text": ("=", "!=", "~", "!~", "in"),
    "address": ("=", "!=", "~", "!~", "in"),
    "id": ("=", "!=", "in"),
    "enum": ("=", "!=", "in"),
    "number": ("=", "!=", "<", "<=", ">", ">=", "in"),
    "percent": ("=", "!=", "<", "<=", ">", ">="),
    "size": ("=", "!=", "<", "<=", ">", ">="),
    "duration": ("=", "!=", "<", "<=", ">", ">="),
    "time": ("=", "!=", "<", "<=", ">", ">="),
    "bool": ("=", "!="),
}
"""Which operators a kind of field takes; ``not in`` is Not(in)."""

_SENDER = (
    Field("sender", "text", "reverse-path, empty for reports", "sender=news@*", aliases=("from",)),
    Field("sender-domain", "text", "domain of the reverse-path", "sender-domain=shop.example"),
    Field("user", "text", "who authenticated", "user=alice"),
    Field("peer", "address", "IP address the mail came from", "peer=10.0.0.0/8"),
    Field("listener", "text", "the listener it came in by", "listener=smtp"),
    Field("size", "size", "octets of content", "size>1M"),
    Field("msgid", "text", "Message-ID", 'msgid="*@shop.example*"'),
    Field("subject", "text", "Subject", "subject~invoice"),
)
_RECIPIENT = (
    Field("domain", "text", "the recipient's domain", "domain=*.example.com", aliases=("dest",)),
    Field("rcpt", "text", "the recipient", "rcpt=ann@*", aliases=("to",)),
)

QUEUE = (
    Field("id", "id", "message, or item MESSAGE.n", "id=01ARZ3NDEKTSV.1", aliases=("msg",)),
    Field("state", "enum", "where it stands", "state=deferred", words=STATES),
    *_RECIPIENT,
    *_SENDER,
    Field("helo", "text", "the client's name for itself", "helo=mx.shop.example"),
    Field("tls", "text", "protocol and cipher it came in by", 'tls=""'),
    Field("rcpts", "number", "recipients of the message", "rcpts>100"),
    Field("age", "duration", "time since acceptance", "age>1h"),
    Field("queued", "time", "when it was accepted", "queued<14:05"),
    Field("next", "time", "when it is tried next", "next>14:05"),
    Field("due", "duration", "time until the next try, may be negative", "due<5m"),
    Field("last", "time", "when it was last tried", "last>-2h"),
    Field("attempts", "number", "how often it was tried", "attempts>3"),
    Field("expires", "time", "when it is given up", "expires<2026-11-30"),
    Field("code", "number", "the last reply's code", "code=450"),
    Field("status", "text", "the last reply's enhanced status", "status=4.7.28"),
    Field("reason", "text", "why, normalised", 'reason="*rate limit*"'),
    Field("error", "text", "the last reply's exact words", "error~spamhaus"),
    Field("route", "text", "the rule that routes it", "route=mx"),
    Field("host", "text", "the host last tried", "host=mx1.*"),
    Field("tag", "text", "a tag that policies gave", "tag=bulk", several=True),
    Field("bounce", "bool", "whether the reverse-path is null", "bounce=true"),
    Field("held-by", "text", "who put it on hold", "held-by=op"),
    Field("held-why", "text", "the reason of the hold", "held-why~INC-812"),
)
HISTORY = (
    Field("id", "id", "message, or item MESSAGE.n", "id=01ARZ3NDEKTSV", aliases=("msg",)),
    Field("result", "enum", "how it ended", "result=bounced", words=RESULTS),
    Field("done", "time", "when it ended", "done>-1h"),
    Field("queued", "time", "when it was accepted", "queued>yesterday"),
    Field("age", "duration", "time since it ended", "age<1d"),
    Field("delay", "duration", "from acceptance to the end", "delay>1h"),
    *_RECIPIENT,
    *_SENDER,
    Field("attempts", "number", "how often it was tried", "attempts>1"),
    Field("code", "number", "the last reply's code", "code=550"),
    Field("status", "text", "the last reply's enhanced status", "status=5.1.1"),
    Field("reply", "text", "the last reply's words", "reply~unknown"),
    Field("reason", "text", "why, normalised", 'reason="*no such user*"'),
    Field("host", "text", "the host that answered", "host=mx1.*"),
    Field("tls", "text", "protocol and cipher it left by", "tls=TLSv1.3*"),
)
MAILBOX = (
    Field("address", "text", "the mailbox", "address=*@example.org"),
    Field("driver", "enum", "where its mail is", "driver=db", words=("db", "maildir")),
    Field("messages", "number", "mails in it", "messages>1000"),
    Field("bytes", "size", "octets in it", "bytes>1G", aliases=("size",)),
    Field("quota", "size", "octets allowed, 0 for any", "quota>0"),
    Field("quota-messages", "number", "mails allowed, 0 for any", "quota-messages>0"),
    Field("use", "percent", "how much of its quota is used, of octets or mails, whichever is more", "use>90%"),
    Field("last-access", "time", "when it was last read", "last-access<2026-01-01"),
    Field("state", "enum", "its state", "state=ok", words=("ok", "locked")),
)
MAIL = (
    Field("uid", "number", "number in the mailbox", "uid>100"),
    Field("id", "id", "queue id it came by", "id=01ARZ3NDEKTSV"),
    Field("msgid", "text", "Message-ID", 'msgid="*@shop.example*"'),
    Field("sender", "text", "reverse-path", "sender=news@*", aliases=("from",)),
    Field("subject", "text", "Subject", "subject~invoice"),
    Field("size", "size", "octets", "size>1M"),
    Field("time", "time", "when it came", "time>-1d"),
    Field("folder", "text", "its folder", "folder=INBOX"),
)
SESSION = (
    Field("id", "text", "session id", "id=S12"),
    Field("kind", "enum", "what it is", "kind=smtp-in", words=("smtp-in", "smtp-out", "console")),
    Field("peer", "address", "the other side's IP address", "peer=192.0.2.0/24"),
    Field("user", "text", "who is logged in", "user=op"),
    Field("state", "text", "where the dialogue is", "state=data"),
    Field("since", "time", "when it began", "since<-1h"),
    Field("idle", "duration", "time since anything was said", "idle>5m"),
    Field("cmds", "number", "commands so far", "cmds>100"),
    Field("msgs", "number", "messages so far", "msgs>0"),
    Field("bytes", "size", "octets received", "bytes>10M"),
    Field("tls", "text", "protocol and cipher", 'tls=""'),
    Field("helo", "text", "the client's name for itself", "helo=localhost"),
    Field("domain", "text", "destination of an outgoing session", "domain=example.org"),
    Field("listener", "text", "listener it came in by", "listener=smtp"),
    Field("port", "number", "the other side's port", "port>1023"),
    Field("in-state", "duration", "time it has been in this state", "in-state>1m"),
    Field("sender", "text", "reverse-path of the transaction under way", "sender=news@*", aliases=("from",)),
    Field("rcpts", "number", "recipients accepted in it", "rcpts>50"),
    Field("content", "size", "octets of content received in it", "content>10M"),
)

DESTINATION = (
    Field("key", "text", "the next hop", "key=*.example.org", aliases=("destination",)),
    Field("domain", "text", "its domain", "domain=example.org"),
    Field("state", "enum", "whether mail is tried", "state=suspended", words=("ok", "backoff", "suspended")),
    Field("connections", "number", "open now, on this node", "connections>0"),
    Field("limit", "number", "connections allowed", "limit<5"),
    Field("messages", "number", "messages allowed on one connection", "messages=1"),
    Field("deferred", "number", "items that wait", "deferred>100"),
    Field("incoming", "number", "items not tried yet", "incoming>100"),
    Field("oldest", "time", "when its oldest item was accepted", "oldest<-1d"),
    Field("last-error", "text", "the last failure", "last-error~spamhaus"),
    Field("until", "time", "when its state ends", "until>14:05"),
    Field("reason", "text", "why it was suspended", "reason~INC-812"),
    Field("by", "text", "who suspended it", "by=op"),
    Field("failures", "number", "how often in a row it was left alone", "failures>3"),
    Field("limited-by", "text", "who allowed it something else than the site", 'limited-by!=""'),
)

AUDIT = (
    Field("at", "time", "when it was done", "at>-1d"),
    Field("node", "text", "the node it was done on", "node=mx1.example.org"),
    Field("actor", "text", "who did it", "actor=op"),
    Field("role", "text", "in which role", "role=admin"),
    Field("source", "text", "where from", "source=telnet*"),
    Field("verb", "text", "what was done", "verb=hold"),
    Field("target", "text", "to what", "target=*@example.org"),
    Field("args", "text", "how", "args=*INC-812*"),
    Field("affected", "number", "how many things it touched", "affected>1000"),
    Field("result", "text", "what came of it", "result=ok"),
)

OBJECTS: dict[str, tuple[Field, ...]] = {
    "queue": QUEUE,
    "history": HISTORY,
    "mailbox": MAILBOX,
    "mail": MAIL,
    "session": SESSION,
    "destination": DESTINATION,
    "audit": AUDIT,
}
"""The fields of each object a filter can be about."""


def field(name: str, of: str) -> Field | None:
    """Return the field called ``name`` (or by that alias) of the object ``of``, None when there is none."""
    for candidate in OBJECTS[of]:
        if name == candidate.name or name in candidate.aliases:
            return candidate
    return None


def matches(expr: Expr, of: str, row: Mapping[str, Any], now_ms: int) -> bool:
    """Say whether ``row``, an object of kind ``of`` (a key of criteria.OBJECTS), is what ``expr`` asks for.

    ``row`` has the keys of machine mode with times and durations in ms.  Raises PatternError for a pattern that
    does not compile and KeyError for a field the object has not.
    """
    if isinstance(expr, And):
        return all(matches(term, of, row, now_ms) for term in expr.terms)
    if isinstance(expr, Or):
        return any(matches(term, of, row, now_ms) for term in expr.terms)
    if isinstance(expr, Not):
        return not matches(expr.term, of, row, now_ms)
    known = field(expr.field, of)
    if known is None:
        raise KeyError(expr.field)
    return _test(expr, known, _value(known, row, now_ms))


def _test(test: Test, known: Field, value: Any) -> bool:
    equal = _among if known.several else _equal
    if test.op in {"!=", "!~"}:
        return not equal(test.value, known.kind, value)
    if test.op == "in":
        return any(equal(wanted, known.kind, value) for wanted in test.value)
    if test.op in {"=", "~"}:
        return equal(test.value, known.kind, value)
    return value is not None and _ORDER[test.op](value, test.value)


def _among(wanted: Any, kind: str, value: Any) -> bool:
    """Say whether ``value`` as a whole, or one of its words, is what is wanted."""
    return _equal(wanted, kind, value) or any(_equal(wanted, kind, word) for word in _text(value).split())


def _equal(wanted: Any, kind: str, value: Any) -> bool:
    if isinstance(wanted, Glob):
        return compile_glob(wanted.pattern).search(_text(value)) is not None
    if isinstance(wanted, Regex):
        return compile_regex(wanted.source).search(_text(value)) is not None
    if kind == "id":
        return _same_id(wanted, value)
    if isinstance(wanted, Network) or kind == "address":
        return _same_address(wanted, value)
    if isinstance(wanted, str):
        return _text(value).lower() == wanted.lower()
    if isinstance(wanted, bool):
        return bool(value) is wanted
    return value is not None and bool(value == wanted)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _same_id(wanted: tuple[int, int | None], value: Any) -> bool:
    try:
        message, n = parse_item(_text(value))
    except IdError:
        return False
    return message == wanted[0] and wanted[1] in {None, n}


def _same_address(wanted: Network | str, value: Any) -> bool:
    try:
        address = ipaddress.ip_address(_text(value))
    except ValueError:
        return isinstance(wanted, str) and _text(value).lower() == wanted.lower()
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    try:
        network = ipaddress.ip_network(wanted.text if isinstance(wanted, Network) else wanted, strict=False)
    except ValueError:
        return False
    return address in network


def _value(known: Field, row: Mapping[str, Any], now_ms: int) -> Any:
    """Return what the row has for the field; ages and what is left are reckoned from its times."""
    key = known.row_key
    if known.name == "age":
        since = row.get("done", row.get("queued"))
        return row.get(key) if since is None else now_ms - since
    if known.name == "due":
        return None if row.get("next") is None else row["next"] - now_ms
    if known.name == "sender-domain":
        return row[key] if key in row else _text(row.get("sender")).rpartition("@")[2]
    if known.name == "bounce":
        return not row.get("sender")
    return row.get(key)
