"""The envelope: who sends a message, to whom, in which session (RFC 5321 2.3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from netsvc.mail.address import NULL, Address


@dataclass(slots=True)
class SessionFacts:
    """What is known of one SMTP session; the door fills it in as the dialogue goes.

    ``peer`` is the client's IP address as text, ``helo`` its own name for itself
    (escaped, "" before HELO), ``extended`` whether it said EHLO, ``tls`` the
    protocol and cipher or "", ``user`` the authenticated name or "", ``loopback``
    whether the peer is this host.  ``id`` is the session id in logs, ``S`` and a number.
    """

    id: str
    peer: str
    port: int
    listener: str
    hostname: str
    service: str = "transfer"
    helo: str = ""
    extended: bool = False
    tls: str = ""
    user: str = ""
    loopback: bool = False
    max_message_size: int = 0


class Recipient(NamedTuple):
    """One accepted forward-path, as the client wrote it."""

    address: Address
    orcpt: str = ""
    notify: int = 0


@dataclass(frozen=True, slots=True)
class Envelope:
    """One transaction's envelope.  ``size`` is what SIZE= declared, 0 if nothing; ``body`` is 7BIT or 8BITMIME.

    ``content`` is an IContent while policies are asked at the stage content, None else.
    """

    session: SessionFacts
    reverse_path: Address = NULL
    recipients: tuple[Recipient, ...] = field(default=())
    size: int = 0
    body: str = "7BIT"
    content: Any = None
