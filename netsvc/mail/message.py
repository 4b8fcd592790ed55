"""What the spool takes in and gives out: frozen rows, named as the schema names them.

Those made for each message on its way in are tuples, which are made fastest.

Times are milliseconds since 1970 (UTC), sizes octets, ids as in ``ids``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from netsvc.mail.reply import Reply


class State(IntEnum):
    """State of a delivery in the queue (the words people see are the names in lower case)."""

    INCOMING = 1
    ACTIVE = 2
    DEFERRED = 3
    HOLD = 4
    RECYCLED = 5


class Kind(IntEnum):
    """What carries a delivery."""

    MAILBOX = 1
    SMTP = 2
    LMTP = 3
    MAILDIR = 4
    COMMAND = 5
    PLUGIN = 6


class Result(IntEnum):
    """How a delivery ended, in history; DEFERRED and RELEASED are attempts that ended nothing."""

    DELIVERED = 1
    BOUNCED = 2
    EXPIRED = 3
    DELETED = 4
    REJECTED = 5
    RELAYED = 6
    DEFERRED = 7
    RELEASED = 8


class Message(NamedTuple):
    """One message as accepted.  ``hdr`` is what we put before its content (our Received field, CRLF ended).

    ``flags``: bit 0 a delay warning was sent, bit 1 an 8BITMIME body, bit 2 one of our own reports, bit 3 SMTPUTF8, bit
    4 a BINARYMIME body, bit 5 REQUIRETLS; ``by_at`` (0: none) is when it should be delivered (RFC 2852), bit 6: it is
    returned then, bit 7: with a trace; bit 8: it was held before its first attempt (RFC 4865); bit 9: a report of whose
    failure nobody is told.  ``envid`` is xtext, ``ret`` and ``prio`` as in ``Wishes``.
    ``client`` is the peer's IP, ``auth`` the authenticated user, "" where there is none.
    """

    id: int
    hdr: bytes
    sender: str
    sender_domain: str
    size: int
    received_at: int
    expires_at: int
    rcpts: int = 1
    flags: int = 0
    listener: str = ""
    client: str = ""
    helo: str = ""
    tls: str = ""
    auth: str = ""
    msgid: str = ""
    subject: str = ""
    tag: str = ""
    envid: str = ""
    ret: int = 0
    prio: int = 0
    by_at: int = 0


FLAG_WARNED = 1
FLAG_8BIT = 2
FLAG_REPORT = 4
FLAG_UTF8 = 8
FLAG_BINARY = 16
FLAG_TLS = 32
FLAG_BY_RETURN = 64
FLAG_BY_TRACE = 128
FLAG_LATER = 256
FLAG_LAST = 512


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a recipient's attempts go: the routing answer for one domain.

    ``key`` names the destination for pauses and limits (``[192.0.2.10]:25``, ``example.org``,
    ``maildir:/var/mail``); ``route`` is the rule's text that yielded it.
    """

    kind: Kind
    key: str
    domain: str
    route: str


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """One recipient that is to be attempted."""

    n: int
    rcpt: str
    domain: str
    hop: Hop
    due_at: int
    orcpt: str = ""
    notify: int = 0
    held_by: str = ""
    held_why: str = ""


class LocalDelivery(NamedTuple):
    """One recipient whose mailbox is of the database driver: delivered by the accepting unit of work.

    ``hdr`` is Return-Path and Received, CRLF ended, put before the content when the mail is read.
    """

    n: int
    rcpt: str
    domain: str
    mailbox_id: int
    hdr: bytes
    orcpt: str = ""
    notify: int = 0


class Refusals:
    """Local recipients that may be refused one by one (LMTP), by their numbers ``n``, and those that were."""

    __slots__ = ("made", "may")

    def __init__(self, may: frozenset[int]) -> None:
        """``may`` be refused."""
        self.may = may
        self.made: dict[int, Reply] = {}


class DueDestination(NamedTuple):
    """A destination with work due since ``due_at`` (ms); ``streak``: connections to it that failed in a row."""

    id: int
    due_at: int
    key: str = ""
    streak: int = 0


@dataclass(frozen=True, slots=True)
class Leased:
    """One delivery that this node may attempt now; ``attempts`` counts the one it is leased for."""

    id: int
    message_id: int
    n: int
    rcpt: str
    domain: str
    dest_id: int
    dest_key: str
    route: str
    kind: Kind
    attempts: int
    crashes: int
    size: int
    prev_state: int
    orcpt: str
    notify: int
    hdr: bytes
    blob_id: int
    sender: str
    received_at: int
    expires_at: int
    flags: int
    msgid: str
    envid: str
    ret: int
    lease_epoch: int
    prio: int = 0
    by_at: int = 0


@dataclass(frozen=True, slots=True)
class MailboxRef:
    """A mailbox as the directory names it.  ``driver`` is "db" or "maildir" (then ``path`` is its folder).

    ``limited``: it has a quota.
    """

    id: int
    address: str
    driver: str = "db"
    path: str = ""
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the directory says of an address.

    ``local``: the domain is ours.  ``mailboxes`` are the local mailboxes it ends in (aliases followed, no
    doubles); ``forwards`` are addresses elsewhere that an alias names.  Local, and both empty: no such user, unless
    ``fault`` says otherwise: "loop" it leads to nothing but itself, "many" and "deep" it stands for more than is
    followed (then for nothing), "postmaster" it is the postmaster's, and there is none.
    """

    local: bool
    mailboxes: tuple[MailboxRef, ...] = ()
    forwards: tuple[str, ...] = ()
    fault: str = ""

    @property
    def known(self) -> bool:
        """Whether mail for the address has a place to go through the directory."""
        return bool(self.mailboxes or self.forwards)
