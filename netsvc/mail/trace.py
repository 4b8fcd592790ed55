"""Trace fields: ``Received`` and ``Return-Path`` (RFC 5321 4.4), made of words that were escaped first."""

from __future__ import annotations

import re
import time as _time
from functools import lru_cache
from typing import TYPE_CHECKING

from netsvc.mail.ids import show_id

if TYPE_CHECKING:
    from netsvc.mail.address import Address
    from netsvc.mail.envelope import Envelope

OURS = b"(netsvc) with "
"""What every Received field of a netsvc has behind its name."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NOT_IN_COMMENT = re.compile(r"[^\x21-\x27\x2a-\x5b\x5d-\x7e ]")


@lru_cache(maxsize=8)
def date_time(second: int) -> str:
    """Return ``second`` (since 1970) as RFC 5322 3.3 writes it, in UTC."""
    t = _time.gmtime(second)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} +0000"
    )


def comment_text(text: str) -> str:
    """Return ``text`` fit to stand in a comment or a domain's place: other characters become ``?``."""
    return _NOT_IN_COMMENT.sub("?", text)[:255]


def protocol(envelope: Envelope) -> str:
    """Return the ``with`` word of RFC 3848: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA (or LMTP…); UTF8SMTP… of RFC 6531."""
    session = envelope.session
    base = "LMTP" if session.service == "lmtp" else "ESMTP" if session.extended else "SMTP"
    if base == "SMTP":
        return base
    if envelope.wishes.utf8:
        base = "UTF8LMTP" if base == "LMTP" else "UTF8SMTP"
    return base + ("S" if session.tls else "") + ("A" if session.user else "")


def received(envelope: Envelope, message_id: int, now_ms: int) -> bytes:
    """Return the Received field we add, CRLF ended, each line within 998 octets.

    ``for`` is written only for a single recipient, so that no recipient learns of another (RFC 5321 7.6).
    """
    session = envelope.session
    peer = f"IPv6:{session.peer}" if ":" in session.peer else session.peer
    only = envelope.recipients[0].address if len(envelope.recipients) == 1 else None
    name = f"{comment_text(session.rdns)} " if session.rdns else ""
    lines = [
        f"Received: from {comment_text(session.helo).replace(' ', '?') or 'unknown'} ({name}[{peer}])",
        f"\tby {session.hostname} (netsvc) with {protocol(envelope)} id {show_id(message_id)}"
        + (f"\r\n\tfor <{only}>; " if only is not None else "; ")
        + date_time(now_ms // 1000),
        "",
    ]
    return "\r\n".join(lines).encode("utf-8", "replace")  # beyond ASCII is at most the address in ``for``


def return_path(reverse_path: Address) -> bytes:
    """Return the Return-Path field of final delivery, CRLF ended."""
    return f"Return-Path: <{reverse_path}>\r\n".encode("utf-8", "replace")
