"""What an envelope's wishes come to in the rows that are kept of a message (RFC 3461, 4865, 2852, 6710).

Mail for a mailbox of ours is filed as it is accepted, unless somebody asked for
more: mail that is held until later, or whose delivery is to be reported, waits in
the queue for its delivery, where both are settled in one unit of work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.envelope import MAX_HOLD, NO_WISHES, NOTIFY_SUCCESS
from netsvc.mail.message import (
    FLAG_8BIT,
    FLAG_BINARY,
    FLAG_BY_RETURN,
    FLAG_BY_TRACE,
    FLAG_LATER,
    FLAG_TLS,
    FLAG_UTF8,
    Hop,
    Kind,
    LocalDelivery,
    NewDelivery,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.mail.envelope import Envelope, Wishes

MAILBOX_KEY = "mailbox"
"""Key of the destination of mail that waits in the queue for a mailbox of ours."""
AHEAD = 60_000
"""Milliseconds by which a step of MT-PRIORITY puts mail before what was accepted earlier."""
_BODIES = {"8BITMIME": FLAG_8BIT, "BINARYMIME": FLAG_8BIT | FLAG_BINARY}


def flags(envelope: Envelope) -> int:
    """Return the flags of the message."""
    value = _BODIES.get(envelope.body, 0)
    wishes = envelope.wishes
    if wishes is NO_WISHES:
        return value
    for wished, flag in (
        (wishes.utf8, FLAG_UTF8),
        (wishes.requiretls, FLAG_TLS),
        (wishes.by_return, FLAG_BY_RETURN),
        (wishes.by_trace, FLAG_BY_TRACE),
        (wishes.hold_for or wishes.hold_until, FLAG_LATER),
    ):
        if wished:
            value |= flag
    return value


def released(wishes: Wishes, now: int) -> int:
    """Return when a message accepted ``now`` may first be tried (ms since 1970): the time its life begins."""
    return wishes.release(now) or now + MAX_HOLD * 1000


def first_due(wishes: Wishes, now: int) -> int:
    """Return when the first attempt is due; mail of a high priority goes before what waits."""
    due = released(wishes, now)
    return due - max(wishes.priority, 0) * AHEAD if due <= now else due


def deliver_by(wishes: Wishes, now: int) -> int:
    """Return when the message should have been delivered, 0 for no such wish."""
    return 0 if wishes.by is None else max(now + wishes.by * 1000, 1)


def waiting(entry: LocalDelivery, due_at: int) -> NewDelivery:
    """Return the delivery that puts into a mailbox of ours, through the queue, what ``entry`` would at once."""
    hop = Hop(Kind.MAILBOX, MAILBOX_KEY, "", f"{MAILBOX_KEY} {entry.mailbox_id}")
    return NewDelivery(entry.n, entry.rcpt, entry.domain, hop, due_at, entry.orcpt, entry.notify)


def divided(
    local: Sequence[LocalDelivery], *, held: bool, due_at: int
) -> tuple[list[LocalDelivery], list[NewDelivery]]:
    """Return those filed at once, and deliveries for those that wait: all if ``held``, else who asked for a report."""
    at_once = [entry for entry in local if not (held or entry.notify & NOTIFY_SUCCESS)]
    later = [waiting(entry, due_at) for entry in local if held or entry.notify & NOTIFY_SUCCESS]
    return at_once, later
