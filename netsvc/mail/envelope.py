"""The envelope: who sends a message, to whom, in which session (RFC 5321 2.3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from netsvc.mail.address import NULL, Address
from netsvc.mail.marks import UNMARKED, Marks


@dataclass(slots=True)
class SessionFacts:
    """What is known of one SMTP session; the door fills it in as the dialogue goes.

    ``peer`` is the client's IP address as text, ``helo`` its own name for itself
    (escaped, "" before HELO), ``extended`` whether it said EHLO, ``tls`` the
    protocol and cipher or "", ``user`` the authenticated name or "", ``auth`` whether
    the listener lets people log in, ``loopback`` whether the peer is this host,
    ``proxy`` the address it was passed on by or "".  ``id`` is the session id in logs, ``S`` and a number.
    ``sender`` is the reverse-path of the transaction under way, or the one last asked about, ``declared`` its
    SIZE= (0: none), ``expanded`` how many mailboxes and addresses its aliases stand for so far.
    ``standing`` is what policies want kept with all mail of the session, ``marks`` with
    that of this transaction; ``early``: the client spoke before it was greeted;
    ``rdns`` is the name of its address, where that leads back to it and was looked up.
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
    auth: bool = False
    max_message_size: int = 0
    proxy: str = ""
    sender: Address = NULL
    declared: int = 0
    expanded: int = 0
    standing: Marks = UNMARKED
    marks: Marks = UNMARKED
    early: bool = False
    refusals: int = 0
    unknown: int = 0
    rdns: str = ""


RET_FULL, RET_HDRS = 1, 2
"""What a report is to return: the whole message, or its header section (RFC 3461 4.3)."""
NOTIFY_NEVER, NOTIFY_SUCCESS, NOTIFY_FAILURE, NOTIFY_DELAY = 1, 2, 4, 8
"""When a recipient's sender wants a report (RFC 3461 4.1); 0 is nothing said."""


MAX_HOLD = 30 * 24 * 3600
"""Seconds for which a message may be held before its first attempt (RFC 4865)."""


class Wishes(NamedTuple):
    """What MAIL asked for beyond size and body.

    ``utf8`` SMTPUTF8 (RFC 6531); ``ret`` RET_FULL, RET_HDRS or 0, ``envid`` as written, xtext (RFC 3461);
    ``requiretls`` (RFC 8689); ``hold_for`` seconds, ``hold_until`` ms since 1970, 0 for none (RFC 4865); ``by``
    seconds within which to deliver, None for no such wish, ``by_return`` mode R rather than N, ``by_trace`` (RFC
    2852); ``priority`` -9..9 (RFC 6710).
    """

    utf8: bool = False
    ret: int = 0
    envid: str = ""
    requiretls: bool = False
    hold_for: int = 0
    hold_until: int = 0
    by: int | None = None
    by_return: bool = False
    by_trace: bool = False
    priority: int = 0

    def release(self, now: int) -> int | None:
        """Return when the first attempt is due (ms since 1970), ``now`` where nothing is held.

        None when that is more than MAX_HOLD away.
        """
        due = max(now + self.hold_for * 1000, self.hold_until)
        return due if due <= now + MAX_HOLD * 1000 else None


NO_WISHES = Wishes()


class Recipient(NamedTuple):
    """One accepted forward-path, as the client wrote it.

    ``orcpt`` is ORCPT= as written (type and xtext), ``notify`` the sum of NOTIFY_... (RFC 3461).
    """

    address: Address
    orcpt: str = ""
    notify: int = 0


@dataclass(slots=True)  # not frozen: several are made for each message, and freezing costs most of it
class Envelope:
    """One transaction's envelope.

    ``size`` is what SIZE= declared, 0 if nothing; ``body`` is 7BIT, 8BITMIME or BINARYMIME.

    ``content`` is an IContent while policies are asked at the stage content, None else.
    """

    session: SessionFacts
    reverse_path: Address = NULL
    recipients: tuple[Recipient, ...] = field(default=())
    size: int = 0
    body: str = "7BIT"
    wishes: Wishes = NO_WISHES
    content: Any = None
