"""Small values that promises pass around: pages, selections, accounts, verdicts (floor 2)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsvc.mail.reply import Reply

Row = Mapping[str, Any]


class StoreError(Exception):
    """A change the store refuses, in words fit to be shown to an operator."""


class StoreUnavailableError(StoreError):
    """The store did not answer, or is of a version this code does not know."""


class CredentialError(Exception):
    """A credential is there but cannot be read on this node, in words fit to be shown."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Who we are for a smarthost.  The password is in no text made of this."""

    user: str
    password: str = field(repr=False)


class AccountError(Exception):
    """A change of accounts that is refused, in words fit to be shown to an operator."""


@dataclass(frozen=True, slots=True)
class Page:
    """One keyset page.  ``next`` is handed back as ``after`` for the page behind it; None: there is none.

    ``scanned`` rows were looked at; a page may be short, even empty, and still have a ``next``, when its budget
    of rows ended first.
    """

    rows: Sequence[Row]
    next: Any = None
    scanned: int = 0


@dataclass(frozen=True, slots=True)
class MessageView:
    """Everything known of one message.  ``message`` is a message/1 row, or None when only its history is left."""

    message: Row | None
    items: Sequence[Row]
    attempts: Sequence[Row]
    history: Sequence[Row]


@dataclass(slots=True)
class Selection:
    """Items frozen by their delivery ids, and what a preview shows of them.

    ``states`` {word: n}; ``domains`` and ``senders`` the top three (name, n); ``oldest`` and ``newest`` ms since
    1970; ``samples`` up to five queue.item/1 rows; ``expired`` how many are past their expiry; ``held_by``
    {operator: n} of items on hold; ``active`` how many are being tried now.  ``was`` are the states' codes, one an
    id (empty: they are looked up when the job starts): an item that somebody moved since is skipped.
    """

    ids: array[int]
    count: int = 0
    bytes: int = 0
    states: dict[str, int] = field(default_factory=dict)
    domains: list[tuple[str, int]] = field(default_factory=list)
    senders: list[tuple[str, int]] = field(default_factory=list)
    oldest: int = 0
    newest: int = 0
    samples: list[Row] = field(default_factory=list)
    expired: int = 0
    active: int = 0
    held_by: dict[str, int] = field(default_factory=dict)
    described: str = ""
    was: array[int] = field(default_factory=lambda: array("b"))


@dataclass(frozen=True, slots=True)
class DoorRule:
    """What an operator keeps out.

    ``kind``: block (``key``: a network in its canonical text) or pause (``key``: NODE/LISTENER).  ``at`` and ``until``
    are ms since 1970; ``until`` 0: until it is taken back.
    """

    kind: str
    key: str
    reason: str
    actor: str
    at: int
    until: int = 0


ROLES = ("none", "viewer", "operator", "admin")
"""Role words by their code in the store."""

FLAG_CONTENT = 1
FLAG_LOCKED = 2


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One account.  ``role`` is an index into ROLES; ``flags`` holds FLAG_CONTENT, FLAG_LOCKED."""

    name: str
    hash: str
    scram: str = ""
    role: int = 0
    flags: int = 0
    mailbox_id: int = 0
    last_at: int = 0
    last_from: str = ""
    fails: int = 0


class NameNotFoundError(Exception):
    """There is no such name, or no record of the kind asked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the DNS says of a name: ``values`` as the resolver's method of that kind gives them, never none.

    ``validated``: by a name server that checks signatures (DNSSEC), and that is trusted to say so.  ``chain``: the
    names behind the one asked for, where it is an alias; the values are the last one's.
    """

    values: tuple[Any, ...]
    validated: bool = False
    chain: tuple[str, ...] = ()


class NameTemporaryError(Exception):
    """A name could not be looked up now: no answer in time, or a server's failure."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says.

    ``action``: accept, reject, defer, tag, hold, or pass (no opinion); reject and defer have a ``reply``; ``why`` is
    for the logbook, and for whoever looks at a held message.  Whatever the action, ``tags`` (words without blanks)
    are kept with the message; ``header`` (only at content) is whole header fields, CRLF ended, put on top of it; the
    answer is held back for ``delay`` seconds.  ``quiet`` refusals are logged for debugging only: there may be many.

    The gate fills in the rest: ``by`` names the policy that decided, ``held_by`` and ``held_why`` who wants the
    message held and why, "" for nobody.
    """

    action: str
    reply: Reply | None = None
    why: str = ""
    tags: tuple[str, ...] = ()
    header: bytes = b""
    delay: float = 0.0
    quiet: bool = False
    by: str = ""
    held_by: str = ""
    held_why: str = ""


PASS = Verdict("pass")


@dataclass(frozen=True, slots=True)
class Result:
    """What a command without a terminal came to.

    ``end`` is the machine-mode end object, ``error`` the err object or None.
    """

    rows: Sequence[Row]
    schema: str
    end: Mapping[str, Any]
    error: Mapping[str, Any] | None = None
