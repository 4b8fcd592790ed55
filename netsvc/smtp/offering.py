"""What a client says of an envelope beyond its paths, and what it must not hand to a peer at all.

A parameter goes out only where the peer offers its extension (RFC 1870, 6152,
3030, 6531, 3461, 8689, 2852, 6710).  Where a message cannot do without an
extension that the peer lacks, ``objection`` says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from netsvc.mail.envelope import (
    NO_WISHES,
    NOTIFY_DELAY,
    NOTIFY_FAILURE,
    NOTIFY_NEVER,
    NOTIFY_SUCCESS,
    RET_FULL,
    Wishes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAILMAX = re.compile(r"(?:^|[ ;])MAILMAX=([1-9][0-9]{0,5})(?=[ ;]|\Z)", re.IGNORECASE)
_RCPTMAX = re.compile(r"(?:^|[ ;])RCPTMAX=([1-9][0-9]{0,5})(?=[ ;]|\Z)", re.IGNORECASE)
_NOTIFY = ((NOTIFY_SUCCESS, "SUCCESS"), (NOTIFY_FAILURE, "FAILURE"), (NOTIFY_DELAY, "DELAY"))


class Transaction(NamedTuple):
    """One envelope as it is offered: paths without brackets, ``sender`` "" for the null one, ``size`` in octets.

    ``wishes`` are what the message needs and its sender asked for, ``by`` the seconds left.  ``asked`` holds (ORCPT as
    written, NOTIFY_... in sum) of each recipient, or is empty.  ``binary``: the content is not lines of text.
    """

    sender: str
    recipients: tuple[str, ...]
    size: int
    eight_bit: bool
    wishes: Wishes = NO_WISHES
    binary: bool = False
    asked: tuple[tuple[str, int], ...] = ()


def objection(transaction: Transaction, extensions: Mapping[str, str], *, tls: bool) -> tuple[str, str] | None:
    """Return (enhanced status, words) why a peer with these ``extensions`` can never take it, None when it may."""
    wishes = transaction.wishes
    if transaction.binary and not ("BINARYMIME" in extensions and "CHUNKING" in extensions):
        return "5.6.3", "the message has binary content and the peer does not offer BINARYMIME"
    if transaction.eight_bit and not transaction.binary and "8BITMIME" not in extensions:
        return "5.6.3", "the message has 8-bit content and the peer does not offer 8BITMIME"
    limit = extensions.get("SIZE", "")
    if limit.isdigit() and 0 < int(limit[:20]) < transaction.size:
        return "5.3.4", f"the message has {transaction.size} octets, the peer takes {limit[:20]}"
    if wishes is NO_WISHES:
        return None
    if wishes.utf8 and "SMTPUTF8" not in extensions:
        return "5.6.7", "the message has an address or header beyond ASCII and the peer does not offer SMTPUTF8"
    if wishes.requiretls and not (tls and "REQUIRETLS" in extensions):
        return "5.7.30", "the message requires TLS all the way: the peer does not offer REQUIRETLS, or is not verified"
    if wishes.by is not None and wishes.by_return:
        least = extensions.get("DELIVERBY", "").split(",")[0]
        if "DELIVERBY" not in extensions:
            return "5.3.3", "the message is to be delivered by a certain time and the peer does not offer DELIVERBY"
        if least.isdigit() and wishes.by < int(least[:9]):
            return "5.4.7", f"the message is to be delivered within {wishes.by} seconds, the peer asks for {least[:9]}"
    return None


def of_mail(transaction: Transaction, extensions: Mapping[str, str]) -> bytes:
    """Return the parameters of MAIL, each with a space before it."""
    words = []
    if "SIZE" in extensions:
        words.append(f"SIZE={transaction.size}")
    if transaction.binary:
        words.append("BODY=BINARYMIME")
    elif transaction.eight_bit:
        words.append("BODY=8BITMIME")
    if transaction.wishes is not NO_WISHES:
        words += _wishes(transaction.wishes, extensions)
    return "".join([f" {word}" for word in words]).encode("ascii")


def _wishes(wishes: Wishes, extensions: Mapping[str, str]) -> list[str]:
    words = []
    if wishes.utf8:
        words.append("SMTPUTF8")
    if wishes.requiretls and "REQUIRETLS" in extensions:
        words.append("REQUIRETLS")
    if "DSN" in extensions:
        if wishes.ret:
            words.append("RET=FULL" if wishes.ret == RET_FULL else "RET=HDRS")
        if wishes.envid:
            words.append(f"ENVID={wishes.envid}")
    if wishes.by is not None and "DELIVERBY" in extensions:
        seconds = min(max(wishes.by, -999_999_999), 999_999_999)
        words.append(f"BY={seconds};{'R' if wishes.by_return else 'N'}{'T' if wishes.by_trace else ''}")
    if wishes.priority and "MT-PRIORITY" in extensions:
        words.append(f"MT-PRIORITY={wishes.priority}")
    return words


def of_rcpt(transaction: Transaction, index: int, extensions: Mapping[str, str]) -> bytes:
    """Return the parameters of the RCPT of the recipient at ``index``, each with a space before it (RFC 3461 4)."""
    if not transaction.asked or "DSN" not in extensions:
        return b""
    orcpt, notify = transaction.asked[index]
    words = ""
    if notify:
        told = [word for bit, word in _NOTIFY if notify & bit]
        words += " NOTIFY=" + ("NEVER" if notify & NOTIFY_NEVER or not told else ",".join(told))
    if orcpt and (orcpt.isascii() or transaction.wishes.utf8):
        words += f" ORCPT={orcpt}"
    return words.encode("utf-8")


def most_messages(extensions: Mapping[str, str]) -> int | None:
    """Return how many messages a peer takes in one session by its LIMITS (RFC 9422), None when it does not say."""
    match = _MAILMAX.search(extensions.get("LIMITS", ""))
    return int(match[1]) if match is not None else None


def most_recipients(extensions: Mapping[str, str]) -> int | None:
    """Return how many recipients a peer takes in one transaction by its LIMITS, None when it does not say."""
    limits = extensions.get("LIMITS")
    match = _RCPTMAX.search(limits) if limits else None
    return int(match[1]) if match is not None else None
