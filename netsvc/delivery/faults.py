"""What an attempt can run into, and the outcomes made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.escape import escape
from netsvc.mail.message import Leased, Result
from netsvc.mail.outcome import Fault, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netsvc.smtp.replies import PeerReply

MAX_WORDS = 500
"""Characters of a fault's words."""


class AttemptError(Exception):
    """An attempt ended without a verdict on each recipient.

    ``fault`` is its class, ``words`` say what happened (escaped here), ``status`` is a 4.x.x status (RFC 3463).
    ``reply`` is the peer's refusal of the whole session, where it was one.
    """

    def __init__(self, fault: Fault, words: str, status: str = "4.4.2", reply: PeerReply | None = None) -> None:
        super().__init__(words)
        self.fault = fault
        self.words = escape(words, MAX_WORDS)
        self.status = status
        self.reply = reply


class UndeliverableError(AttemptError):
    """There is no way there, nor will there be one: the mail is returned.

    ``status`` is 5.x.x; ``code`` is 556 for a domain that takes no mail (RFC 7505), else 0.
    """

    def __init__(self, fault: Fault, words: str, status: str, code: int = 0) -> None:
        super().__init__(fault, words, status)
        self.code = code


def undeliverable(rows: Iterable[Leased], why: UndeliverableError, transcript: bytes = b"") -> list[Outcome]:
    """Return one BOUNCED outcome a row: there is no way there."""
    return [
        Outcome(row.id, Result.BOUNCED, why.fault, why.code, why.status, why.words, transcript=transcript)
        for row in rows
    ]


def deferred(
    rows: Iterable[Leased], why: AttemptError, *, host: str = "", addr: str = "", ms: int = 0, transcript: bytes = b""
) -> list[Outcome]:
    """Return one DEFERRED outcome a row (``due_at`` is for the retry schedule to set)."""
    code, status, words = 0, why.status, why.words
    if why.reply is not None:
        code, status, words = why.reply.code, why.reply.status or why.status, why.reply.words
    return [
        Outcome(row.id, Result.DEFERRED, why.fault, code, status, words, host, addr, "", ms, 0, transcript)
        for row in rows
    ]


def bounced(rows: Iterable[Leased], fault: Fault, status: str, words: str, transcript: bytes = b"") -> list[Outcome]:
    """Return one BOUNCED outcome a row for a reason of our own."""
    text = escape(words, MAX_WORDS)
    return [Outcome(row.id, Result.BOUNCED, fault, 0, status, text, transcript=transcript) for row in rows]


def released(rows: Iterable[Leased]) -> list[Outcome]:
    """Return one RELEASED outcome a row: given back untried (``due_at`` is for the scheduler to set)."""
    return [Outcome(row.id, Result.RELEASED) for row in rows]
