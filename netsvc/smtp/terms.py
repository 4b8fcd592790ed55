"""What a listener offers its clients, and the replies that say so.

What EHLO (LHLO on an LMTP listener) is answered is a function of the terms and of
whether the session is inside TLS.  Each answer is made once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from netsvc.mail import reply as r
from netsvc.mail.envelope import MAX_HOLD, NO_WISHES
from netsvc.smtp import xclient
from netsvc.smtp.transparency import BARE_NEWLINE_CHOICES, REJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.mail.envelope import Wishes

TRANSFER, SUBMISSION, LMTP = "transfer", "submission", "lmtp"
SERVICES = (TRANSFER, SUBMISSION, LMTP)
"""What a listener is for: mail between servers, from users, or local delivery (RFC 2033)."""

MOST_HELLOS = 10
"""Replies to EHLO that are remembered: those of FUTURERELEASE change with the day."""
_DAY = 24 * 3600


@dataclass(frozen=True)
class Terms:
    """What a listener offers its clients.  Sizes in octets; ``max_message_size`` and ``max_messages`` 0 for none.

    ``max_messages`` counts the transactions of one session.  ``clock`` gives seconds since 1970; without it a
    submission listener does not offer FUTURERELEASE.  ``xclient``: the peer may say whom it stands for.
    """

    hostname: str
    max_message_size: int = 0
    max_recipients: int = 1000
    max_errors: int = 20
    bare_newline: str = REJECT
    service: str = TRANSFER
    max_messages: int = 0
    xclient: bool = False
    clock: Callable[[], float] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse what no session could keep."""
        if self.bare_newline not in BARE_NEWLINE_CHOICES:
            raise ValueError(f"bare_newline is one of {', '.join(BARE_NEWLINE_CHOICES)}")
        if self.service not in SERVICES:
            raise ValueError(f"service is one of {', '.join(SERVICES)}")
        if self.max_message_size < 0 or self.max_recipients < 1 or self.max_errors < 1 or self.max_messages < 0:
            raise ValueError("a limit is positive")

    @cached_property
    def lmtp(self) -> bool:
        """Whether the listener speaks LMTP: LHLO, and one reply a recipient after the content (RFC 2033)."""
        return self.service == LMTP

    @cached_property
    def submission(self) -> bool:
        """Whether the listener is for users, who may ask for more (RFC 6409)."""
        return self.service == SUBMISSION

    @cached_property
    def greeting(self) -> bytes:
        """The reply to a connection."""
        row = r.LMTP_GREETING if self.lmtp else r.GREETING
        return bytes(row.fill(hostname=self.hostname))

    @cached_property
    def bye(self) -> bytes:
        """The reply to QUIT."""
        return bytes(r.BYE.fill(hostname=self.hostname))

    @cached_property
    def hello(self) -> bytes:
        """The reply to HELO."""
        return bytes(r.HELLO.fill(hostname=self.hostname))

    def extended_hello(self, *, tls: bool = False) -> bytes:
        """Return the reply to EHLO or LHLO: the name and the extensions; ``tls``: the session is inside TLS.

        STARTTLS and AUTH are for ``security`` to add.
        """
        key = (tls, self._last_day())
        known = self._hellos.get(key)
        if known is None:
            if len(self._hellos) > MOST_HELLOS:
                self._hellos.clear()
            first = r.HELLO.fill(hostname=self.hostname)
            known = self._hellos[key] = bytes(r.Reply(first.code, "", (*first.lines, *self.extensions(tls=tls))))
        return known

    def extensions(self, *, tls: bool = False) -> tuple[str, ...]:
        """Return the extensions offered, a line each, as they stand in the reply to EHLO.

        RFC 2920, 1870, 6152, 3030, 6531, 3461, 9422, 8689, 4865, 2852, 6710, 2034.
        """
        limits = f"LIMITS RCPTMAX={self.max_recipients}"
        if self.max_messages:
            limits += f" MAILMAX={self.max_messages}"
        size = f"SIZE {self.max_message_size}"
        words = ["PIPELINING", size, "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8", "DSN", limits]
        if tls:
            words.append("REQUIRETLS")
        if self.submission:
            last = self._last_day()
            if last is not None:
                words.append(f"FUTURERELEASE {MAX_HOLD} {last.strftime('%Y-%m-%dT%H:%M:%SZ')}")
            words += ["DELIVERBY", "MT-PRIORITY MIXER"]
        if self.xclient:
            words.append(xclient.KEYWORD)
        return (*words, "ENHANCEDSTATUSCODES")

    def objection(self, size: int, wishes: Wishes, *, tls: bool, authenticated: bool) -> r.Reply | None:
        """Return why a MAIL of ``size`` octets (as declared) with ``wishes`` is refused, None when it may go on."""
        if self.max_message_size and size > self.max_message_size:
            return r.MESSAGE_TOO_LARGE.fill(limit=self.max_message_size)
        if wishes is NO_WISHES:
            return None
        if wishes.requiretls and not tls:
            return r.UNKNOWN_PARAMETER.fill(name="REQUIRETLS")
        held = bool(wishes.hold_for or wishes.hold_until)
        for wished, name, offered in (
            (held, "HOLDFOR" if wishes.hold_for else "HOLDUNTIL", self.clock is not None),
            (wishes.by is not None, "BY", True),
            (wishes.priority, "MT-PRIORITY", True),
        ):
            if wished and not (self.submission and offered):
                return r.UNKNOWN_PARAMETER.fill(name=name)
            if wished and not authenticated:
                return r.NEEDS_AUTHENTICATION.fill(name=name)
        if held and self.clock is not None and wishes.release(int(self.clock() * 1000)) is None:
            return r.BAD_ARGUMENT.fill(why=f"a message is held for {MAX_HOLD} seconds at most")
        return None

    @cached_property
    def _hellos(self) -> dict[object, bytes]:
        return {}

    def _last_day(self) -> datetime | None:
        """Return the last moment HOLDUNTIL may name, rounded down to a day; None where it may name none."""
        if self.clock is None or not self.submission:
            return None
        today = self.clock() // _DAY * _DAY
        return datetime.fromtimestamp(today, UTC) + timedelta(seconds=MAX_HOLD)
