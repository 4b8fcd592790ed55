"""What the logbook is told of deliveries: only what the store has, so that log and queue agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.ids import show_id
from netsvc.mail.message import Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.logbook import Logbook
    from netsvc.mail.message import Leased
    from netsvc.mail.outcome import Outcome, Report

_WORDS = {
    Result.DELIVERED: "delivered",
    Result.BOUNCED: "bounced",
    Result.EXPIRED: "expired",
    Result.DEFERRED: "deferred",
}


def log_outcome(logbook: Logbook, row: Leased, outcome: Outcome, *, lost: bool) -> None:
    """Log one line for one settled outcome; nothing for what was given back untried.

    ``lost``: another node has the delivery, so it may happen twice.
    """
    word = _WORDS.get(outcome.result)
    if lost:
        logbook.event("delivery.lost_lease", msg=row.message_id, n=row.n, rcpt=row.rcpt, result=word or "released")
    elif word is not None:
        logbook.event(
            "delivery.done",
            msg=row.message_id,
            n=row.n,
            rcpt=row.rcpt,
            result=word,
            host=outcome.host,
            code=outcome.code,
            status=outcome.status,
            reply=outcome.reply,
            took_ms=outcome.ms,
        )


def log_report(logbook: Logbook, report: Report, leased: Mapping[int, Leased]) -> None:
    """Log one line for a report that went into the queue or a mailbox."""
    about = [show_id(leased[number].message_id) for number in report.about[:1] if number in leased]
    to = [*(entry.rcpt for entry in report.local), *(entry.rcpt for entry in report.deliveries)]
    logbook.event("delivery.reported", msg=report.message.id, about=about, rcpt=to)
