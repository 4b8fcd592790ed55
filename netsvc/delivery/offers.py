"""What of a message is offered to a peer: what it needs, and what its sender asked for (RFC 3030, 6531, 3461, 2852)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.envelope import NO_WISHES, Wishes
from netsvc.mail.message import FLAG_8BIT, FLAG_BINARY, FLAG_BY_RETURN, FLAG_BY_TRACE, FLAG_TLS, FLAG_UTF8
from netsvc.smtp.offering import Transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.mail.message import Leased

_WISHED = FLAG_UTF8 | FLAG_TLS | FLAG_BY_RETURN | FLAG_BY_TRACE
LONGEST_LINE = 998
"""Octets of a line of text without its end (RFC 5322 2.1.1)."""


def offered(rows: Sequence[Leased], piece: bytes, *, whole: bool, now: int) -> Transaction:
    """Return the transaction for ``rows`` of one message, whose content begins with ``piece``, or is all there.

    What was declared 8BITMIME or BINARYMIME and is, as can be seen, plain text all the same is fit for every peer; so
    is what came with SMTPUTF8 and has nothing beyond ASCII in addresses and header.
    """
    first = rows[0]
    flags = first.flags
    eight_bit = not piece.isascii() if whole else bool(flags & FLAG_8BIT)
    binary = bool(flags & FLAG_BINARY) and not (whole and is_text(piece))
    recipients = tuple(row.rcpt for row in rows)
    wishes = NO_WISHES
    if flags & _WISHED or first.envid or first.ret or first.prio or first.by_at:
        wishes = _wishes(first, now, utf8=bool(flags & FLAG_UTF8) and _beyond_ascii(first, recipients, piece))
    asked: tuple[tuple[str, int], ...] = ()
    if any(row.notify or row.orcpt for row in rows):
        asked = tuple((row.orcpt, row.notify) for row in rows)
    size = len(first.hdr) + first.size
    return Transaction(first.sender, recipients, size, eight_bit, wishes, binary, asked)


def _wishes(first: Leased, now: int, *, utf8: bool) -> Wishes:
    flags = first.flags
    return Wishes(
        utf8=utf8,
        ret=first.ret,
        envid=first.envid,
        requiretls=bool(flags & FLAG_TLS),
        by=(first.by_at - now) // 1000 if first.by_at else None,
        by_return=bool(flags & FLAG_BY_RETURN),
        by_trace=bool(flags & FLAG_BY_TRACE),
        priority=first.prio,
    )


def _beyond_ascii(first: Leased, recipients: Sequence[str], piece: bytes) -> bool:
    end = piece.find(b"\r\n\r\n")
    header = piece if end < 0 else piece[:end]
    texts = (first.sender, *recipients)
    return not (first.hdr.isascii() and header.isascii() and all(text.isascii() for text in texts))


def is_text(content: bytes) -> bool:
    """Say whether ``content`` is lines of text as DATA carries them: CR LF alone, no NUL, no line too long."""
    pairs = content.count(b"\r\n")
    if content.count(b"\r") != pairs or content.count(b"\n") != pairs or b"\0" in content:
        return False
    start = 0
    while len(content) - start > LONGEST_LINE:
        end = content.rfind(b"\r\n", start, start + LONGEST_LINE + 2)
        if end < 0:
            return False
        start = end + 2
    return True
