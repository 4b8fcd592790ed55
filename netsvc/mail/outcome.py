"""What one attempt came to, for one recipient."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netsvc.mail.message import LocalDelivery, Message, NewDelivery, Result


class Fault(IntEnum):
    """Class of what went wrong: the ``klass`` of a reason."""

    NONE = 0
    REPLY = 1
    """The peer answered with a negative reply."""
    CONNECT_TIMEOUT = 2
    CONNECT_REFUSED = 3
    CONNECT_FAILED = 4
    LOST = 5
    """The connection ended, timed out or broke the protocol within the dialogue."""
    TLS = 6
    DNS = 7
    ROUTING = 8
    LOCAL = 9
    """Our own side: disk, permission, an agent that failed."""
    LOOP = 10
    EXPIRED = 11
    POLICY = 12
    AUTH = 13
    """The peer does not take our credential, or is not to see it."""


CONNECTION_FAULTS = frozenset(
    {Fault.CONNECT_TIMEOUT, Fault.CONNECT_REFUSED, Fault.CONNECT_FAILED, Fault.TLS, Fault.DNS, Fault.AUTH}
)
"""Faults of the destination rather than of one message."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt for one leased delivery.

    ``result`` is DELIVERED, BOUNCED, EXPIRED, DEFERRED or RELEASED (given back untried).  ``code`` and
    ``status`` are the reply's, 0 and "" where no reply came; ``reply`` its words, escaped.  ``due_at``: when to
    try again (ms), for DEFERRED and RELEASED.  ``ms``: how long the attempt took.  ``transcript``: the dialogue,
    escaped lines, bounded, secrets masked; the recipients of one transaction may share one object.  ``passed_on``: the
    peer was told what reports the sender wants, and makes them (RFC 3461 5.2).
    """

    delivery_id: int
    result: Result
    fault: Fault = Fault.NONE
    code: int = 0
    status: str = ""
    reply: str = ""
    host: str = ""
    addr: str = ""
    tls: str = ""
    ms: int = 0
    due_at: int = 0
    transcript: bytes = b""
    warned: bool = False
    passed_on: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A message of our own (a DSN) that is accepted in the unit of work that settles its cause."""

    message: Message
    content: bytes
    deliveries: tuple[NewDelivery, ...]
    local: tuple[LocalDelivery, ...]
    about: tuple[int, ...] = ()
    """Delivery ids this report is made for: it is not stored when none of them was settled by us."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the outcomes handed to ``settle``: delivery ids.

    ``acked`` were ours; ``late`` were settled though the lease had gone; ``lost`` another node has.  ``changed`` are
    outcomes the store had to decide otherwise: a mailbox of ours that was full, or gone.
    """

    acked: tuple[int, ...]
    late: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    changed: tuple[Outcome, ...] = ()
