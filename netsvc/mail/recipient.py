"""What a recipient is answered at RCPT, by what the directory says of it; and the limits of what it may stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail import reply as r

if TYPE_CHECKING:
    from netsvc.mail.message import Resolution
    from netsvc.mail.reply import Reply

MAX_TARGETS = 1000
"""Mailboxes and addresses elsewhere that one address may stand for."""
MAX_LEVELS = 10
"""Aliases of aliases that are followed."""
MAX_EXPANDED = 10_000
"""Mailboxes and addresses elsewhere that all recipients of one message may stand for together."""
POSTMASTER = "postmaster"
"""The local part that every domain of ours has (RFC 5321 4.5.1)."""
ABUSE = "abuse"
"""The local part whose mail the postmaster reads where nobody else does (RFC 2142 4)."""

_FAULTS: dict[str, Reply] = {
    "loop": r.ADDRESS_LOOP,
    "many": r.TOO_MANY_TARGETS.fill(limit=MAX_TARGETS),
    "deep": r.TOO_DEEP.fill(limit=MAX_LEVELS),
    "postmaster": r.NO_POSTMASTER,
}


def answer(found: Resolution, *, full: bool = False) -> Reply:
    """Return the reply to RCPT for an address that is ``found``; ``full``: nothing it stands for has room now.

    For an address that is not ours it is what a stranger is told.
    """
    if not found.local:
        return r.RELAY_DENIED
    if found.known:
        return r.MAILBOX_FULL_NOW if full else r.RECIPIENT_OK
    return _FAULTS.get(found.fault, r.UNKNOWN_USER)
