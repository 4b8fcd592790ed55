"""Mail that comes back to an address it has been sent on from: told by the trace fields we wrote ourselves.

An alias that leads elsewhere, whose mail is sent back from there to the alias,
would be sent out again, each time once for every address it leads to: with two
of them a thousand copies after ten rounds, long before the Received fields are
too many (RFC 5321 6.3).  Our own Received field names the recipient where there
is a single one; a message that carries such a field for the alias has been here
for it before, and all it leads to has had its copy.  Where there were several
recipients, none is named, so that none learns of another (RFC 5321 7.6): there
the number of our own fields ends it after a few rounds.

No field of its own (``Delivered-To``, RFC 9228) is added: it would say no more,
and tell the other recipients of a message which alias it was sent to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.message import Resolution
from netsvc.mail.reply import MAIL_LOOP, ReplyError
from netsvc.mail.trace import OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.mail.envelope import Recipient

MAX_LOOKED_AT = 100
MAX_FROM = 2000
"""Octets that a Received field of ours has before ``by``, at most."""
MAX_PASSES = 5
"""Times a message may come here and be sent on by an alias."""
CUT = Resolution(local=True, fault="cut")
"""What a recipient stands for whose mail has been here before: nothing more."""


def passes(header: bytes, hostname: str) -> list[str]:
    """Return for each Received field that ``hostname`` wrote the recipient it names, in lower case; "" for none.

    ``header`` is a header section.  At most MAX_LOOKED_AT fields are looked at.
    """
    by = f"by {hostname.lower()} ".encode("ascii", "replace") + OURS
    found: list[str] = []
    text = b"\n" + header.lower()
    at = text.find(by)
    for _ in range(MAX_LOOKED_AT):
        if at < 0:
            break
        start, end = text.rfind(b"\nreceived:", max(0, at - MAX_FROM), at), _end_of_field(text, at)
        if start >= 0 and _end_of_field(text, start + 1) == end:
            found.append(_recipient(text[at:end]))
        at = text.find(by, end)
    return found


def _end_of_field(text: bytes, at: int) -> int:
    """Return where the field ends that ``at`` is in."""
    end = text.find(b"\n", at)
    while end >= 0 and text[end + 1 : end + 2] in (b" ", b"\t"):
        end = text.find(b"\n", end + 1)
    return len(text) if end < 0 else end


def _recipient(field: bytes) -> str:
    start = field.find(b"\tfor <")
    end = field.find(b">; ", start)
    return field[start + 6 : end].decode("utf-8", "replace") if 0 <= start < end else ""


def cut(header: bytes, hostname: str, recipients: Sequence[Recipient], found: Sequence[Resolution]) -> list[Resolution]:
    """Return ``found`` with CUT for recipients that would be sent on again.

    ``found`` is what ``recipients`` stand for, in order.  Raises ReplyError when none is left.
    """
    been = passes(header, hostname)
    again = set(been)
    left = [
        CUT if each.forwards and (recipient.address.key in again or len(been) >= MAX_PASSES) else each
        for recipient, each in zip(recipients, found, strict=True)
    ]
    if left and all(each is CUT for each in left):
        raise ReplyError(MAIL_LOOP, "it has been sent on from here before")
    return left
