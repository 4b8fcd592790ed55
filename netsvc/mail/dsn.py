"""Delivery status notifications, built as octets (RFC 3464, 3462, 3463, 3834; SMTP.md T39).

Whatever is foreign in one (addresses, a peer's words, an original's header) is
escaped, cut and folded: the result is ASCII, CRLF ended, no line over 998.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count

from netsvc.mail.escape import escape
from netsvc.mail.ids import show_id
from netsvc.mail.trace import date_time

MAX_ORIGINAL = 64 * 1024
"""Octets of the original's header section that are returned."""
MAX_RECIPIENTS = 200
"""Recipients listed in one report; more are counted, not listed."""
MAX_WORDS = 512
"""Characters of a peer's words."""
_FOLD_AT = 900

_STATUS = re.compile(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}\Z")
_NOT_TEXT = re.compile(r"[^\x20-\x7e]")
_NOT_PRINTABLE = re.compile(rb"[^\t\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Failed:
    """What a report says of one recipient.

    ``status`` as RFC 3463 ("5.1.1"), ``code`` and ``reply`` the peer's (0 and our own words where it said nothing),
    ``host`` the peer or "", ``at`` and ``retry_until`` ms since 1970, 0 for none.
    """

    rcpt: str
    status: str
    code: int = 0
    reply: str = ""
    host: str = ""
    at: int = 0
    orcpt: str = ""
    retry_until: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """What one report is about.

    ``action``: failed or delayed.  ``to``: the report's recipient.  ``original`` the header section of the message
    (CRLF or LF lines; no body), ``id`` the report's own queue id, ``about`` the original's.
    """

    id: int
    about: int
    action: str
    hostname: str
    to: str
    sender: str
    now: int
    arrived: int
    recipients: tuple[Failed, ...]
    original: bytes = b""
    envid: str = ""


def ascii_text(text: str, limit: int = MAX_WORDS) -> str:
    """Return ``text`` escaped and in printable ASCII, at most ``limit`` characters."""
    plain = _NOT_TEXT.sub(_as_number, escape(text, limit))
    return plain if len(plain) <= limit else plain[: max(limit - 3, 0)] + "..."


def _as_number(match: re.Match[str]) -> str:
    return f"\\u{{{ord(match[0]):04X}}}"


def build(account: Account) -> bytes:
    """Return the report as content: header section and body."""
    original = header_section(account.original)
    stem = f"={show_id(account.id)}={show_id(account.about)}="
    boundary = next(b for b in (f"{stem}{n}" for n in count(1)) if b.encode("ascii") not in original)
    lines = [
        *_header(account, boundary),
        "",
        "This is a report in parts, made for people and for programs.",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Description: Notification",
        "",
        *_for_people(account),
        "",
        f"--{boundary}",
        "Content-Type: message/delivery-status",
        "Content-Description: Delivery report",
        "",
        *_for_programs(account),
        "",
        f"--{boundary}",
        "Content-Type: text/rfc822-headers; charset=us-ascii",
        "Content-Description: Header section of the message",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("ascii") + original + f"\r\n--{boundary}--\r\n".encode("ascii")


def _header(account: Account, boundary: str) -> list[str]:
    subject = {
        "failed": "Undelivered mail returned to its sender",
        "delayed": "Delayed mail (it is still being tried)",
    }[account.action]
    host = ascii_text(account.hostname, 255)
    return [
        f"From: Mail Delivery System <MAILER-DAEMON@{host}>",
        f"To: <{ascii_text(account.to, 400)}>",
        f"Subject: {subject}",
        f"Date: {date_time(account.now // 1000)}",
        f"Message-ID: <{show_id(account.id)}@{host}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="' + boundary + '"',
    ]


def _for_people(account: Account) -> list[str]:
    host = ascii_text(account.hostname, 255)
    lines = [f"This is the mail system of {host}.", ""]
    if account.action == "failed":
        lines += [
            "Your message could not be delivered to the recipients below.",
            "It will not be tried again.",
        ]
    else:
        lines += [
            "Your message could not yet be delivered to the recipients below.",
            "You need not send it again: it will be tried until it is delivered or its time is over.",
        ]
    lines += ["", f"Queue id: {show_id(account.about)}", f"Arrived: {date_time(account.arrived // 1000)}", ""]
    for one in account.recipients[:MAX_RECIPIENTS]:
        lines += [f"<{ascii_text(one.rcpt, 400)}>:", f"    {_said(one)}"]
        if one.retry_until:
            lines.append(f"    It is tried until {date_time(one.retry_until // 1000)}.")
    rest = len(account.recipients) - MAX_RECIPIENTS
    if rest > 0:
        lines.append(f"and {rest} more recipients.")
    return lines


def _said(one: Failed) -> str:
    words = ascii_text(one.reply) or "no reason was given"
    host = ascii_text(one.host, 255)
    if one.code:
        said = _reply(one, words)
        return f"host {host} said: {said}" if host else f"the host said: {said}"
    return f"{words} ({host})" if host else words


def _reply(one: Failed, words: str) -> str:
    status = one.status if _STATUS.match(one.status) else ""
    return " ".join(word for word in (str(one.code), status, words) if word)


def _for_programs(account: Account) -> list[str]:
    lines = [f"Reporting-MTA: dns; {ascii_text(account.hostname, 255)}"]
    if account.envid:
        lines.append(f"Original-Envelope-Id: {ascii_text(account.envid, 100)}")
    lines.append(f"Arrival-Date: {date_time(account.arrived // 1000)}")
    for one in account.recipients[:MAX_RECIPIENTS]:
        lines.append("")
        if one.orcpt:
            lines.append(f"Original-Recipient: {ascii_text(one.orcpt, 500)}")
        lines += [
            f"Final-Recipient: rfc822; {ascii_text(one.rcpt, 400)}",
            f"Action: {account.action}",
            f"Status: {_status(account.action, one.status)}",
        ]
        if one.host:
            lines.append(f"Remote-MTA: dns; {ascii_text(one.host, 255)}")
        if one.code:
            lines.append(f"Diagnostic-Code: smtp; {_reply(one, ascii_text(one.reply))}")
        elif one.reply:
            lines.append(f"Diagnostic-Code: X-netsvc; {ascii_text(one.reply)}")
        if one.at:
            lines.append(f"Last-Attempt-Date: {date_time(one.at // 1000)}")
        if one.retry_until:
            lines.append(f"Will-Retry-Until: {date_time(one.retry_until // 1000)}")
    return lines


def _status(action: str, status: str) -> str:
    """Return the status to report: failed may be 4 (given up, RFC 3464 2.3.4) or 5, delayed is always 4."""
    if not _STATUS.match(status):
        return "5.0.0" if action == "failed" else "4.0.0"
    return "4" + status[1:] if action == "delayed" else status


def header_section(content: bytes) -> bytes:
    """Return the header section ``content`` begins with, made safe to stand in a report, at most MAX_ORIGINAL octets.

    Lines end in CRLF, none is over 998 octets, what is not ASCII text becomes ``?``; an empty section is empty.
    """
    lines = []
    size = 0
    for raw in content[: MAX_ORIGINAL + 1024].split(b"\n"):
        line = raw.removesuffix(b"\r")
        if not line:
            break
        line = _NOT_PRINTABLE.sub(b"?", line)
        pieces = [line[i : i + _FOLD_AT] for i in range(0, len(line), _FOLD_AT)]
        folded = b"\r\n\t".join(pieces) + b"\r\n"
        size += len(folded)
        if size > MAX_ORIGINAL:
            break
        lines.append(folded)
    return b"".join(lines)
