"""What a server session has understood: frozen events that check themselves.

An event that could not have come from the wire cannot be made: a wrong value
raises ValueError here, near its cause, instead of travelling on.  Events marked
*asks* await ``ServerSession.send``; until then nothing that follows is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from netsvc.mail.address import MAX_PATH, Address
from netsvc.mail.envelope import NO_WISHES, Wishes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.mail.reply import Reply

BODY_TYPES = frozenset({"7BIT", "8BITMIME", "BINARYMIME"})
"""Values of BODY= (RFC 6152, 3030)."""
MAX_NAME = 255
"""Octets of the name in EHLO and HELO."""


class Pause(Enum):
    """Why there is no event now."""

    NEED_DATA = 1
    """Everything received is used: hand in more."""
    PAUSED = 2
    """An event awaits its answer."""
    FLUSH = 3
    """Many replies wait: send what ``take_output`` gives before asking again."""


NEED_DATA = Pause.NEED_DATA
PAUSED = Pause.PAUSED
FLUSH = Pause.FLUSH


@dataclass(frozen=True, slots=True)
class Greeted:
    """*Asks.*  EHLO or LHLO (``extended``) or HELO with the client's name for itself, as written."""

    name: str
    extended: bool

    def __post_init__(self) -> None:
        """Refuse a name that is not 1 to MAX_NAME printable characters without spaces."""
        name = self.name
        if not 1 <= len(name) <= MAX_NAME or not name.isascii() or not name.isprintable() or " " in name:
            raise ValueError("a client's name is visible ASCII")


@dataclass(frozen=True, slots=True)
class StartTlsRequested:
    """*Asks.*  STARTTLS; READY_FOR_TLS makes the session forget what it knows and wait for ``secured``."""


@dataclass(frozen=True, slots=True)
class AuthRequested:
    """*Asks.*  AUTH with a mechanism that is offered; ``initial`` is the first response, None when none came.

    A reply 334 asks for a response, 235 lets the client in, everything else ends the exchange.
    """

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AuthAnswered:
    """*Asks.*  A response of the client within the exchange, decoded."""

    response: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SenderGiven:
    """*Asks.*  MAIL.

    ``size`` is what SIZE= declared, 0 if nothing; ``params`` all parameters as written, ``wishes`` what they mean.
    """

    path: Address
    size: int = 0
    body: str = "7BIT"
    params: Mapping[str, str] = field(default_factory=dict)
    wishes: Wishes = NO_WISHES

    def __post_init__(self) -> None:
        """Refuse a path without a domain that is not the null path, a negative size, an unknown body type."""
        if bool(self.path.local) != bool(self.path.domain):
            raise ValueError("a reverse-path is an address or null")
        if self.size < 0 or self.body not in BODY_TYPES:
            raise ValueError("no such size or body type")


@dataclass(frozen=True, slots=True)
class RecipientGiven:
    """*Asks.*  RCPT.

    A path without a domain is the bare Postmaster; ``orcpt`` and ``notify`` as in Recipient.

    ``beyond_ascii``: the command as written was not all ASCII.
    """

    path: Address
    params: Mapping[str, str] = field(default_factory=dict)
    orcpt: str = ""
    notify: int = 0
    beyond_ascii: bool = False

    def __post_init__(self) -> None:
        """Refuse a path that is null, too long, or without a domain and not Postmaster."""
        local, domain = self.path
        if not local or (not domain and local.lower() != "postmaster"):
            raise ValueError("a forward-path is an address or Postmaster")
        if len(local) + len(domain) >= MAX_PATH:
            raise ValueError("the path is too long")


@dataclass(frozen=True, slots=True)
class ClientReplaced:
    """*Asks.*  XCLIENT: ``given`` {attribute: value, "" where it is not known} of whom the peer stands for."""

    given: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuse one that says nothing."""
        if not self.given:
            raise ValueError("at least one attribute is given")


@dataclass(frozen=True, slots=True)
class DataRequested:
    """*Asks.*  DATA, with at least one accepted recipient; START_MAIL lets the content come."""


@dataclass(frozen=True, slots=True)
class ContentReceived:
    """A piece of content, unstuffed, never empty; where pieces are cut means nothing."""

    data: bytes

    def __post_init__(self) -> None:
        """Refuse an empty piece."""
        if not self.data:
            raise ValueError("a piece of content is not empty")


@dataclass(frozen=True, slots=True)
class ContentEnded:
    """*Asks.*  The content is over.  ``size`` octets of content; ``fault`` is the refusal to send, None without one.

    With a fault some pieces may not have been given out: what came of the content is to be forgotten.
    """

    size: int
    fault: Reply | None = None

    def __post_init__(self) -> None:
        """Refuse a negative size and a fault that is no refusal."""
        if self.size < 0 or (self.fault is not None and self.fault.positive):
            raise ValueError("a fault is a negative reply")


@dataclass(frozen=True, slots=True)
class ContentDropped:
    """RSET came between two chunks: forget the content that has come."""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The dialogue is over: send what ``take_output`` gives and close.  ``why``: quit, or the name of what ended it."""

    why: str

    def __post_init__(self) -> None:
        """Refuse an end without a reason."""
        if not self.why:
            raise ValueError("an end has a reason")


Event = (
    Greeted
    | ClientReplaced
    | StartTlsRequested
    | AuthRequested
    | AuthAnswered
    | SenderGiven
    | RecipientGiven
    | DataRequested
    | ContentReceived
    | ContentEnded
    | ContentDropped
    | SessionEnded
)
