"""Delivery status notifications, built as octets (RFC 3464, 3462, 3463, 3834, 6533; SMTP.md T39).

Whatever is foreign in one (addresses, a peer's words, an original's header) is
escaped, cut and folded: the result is ASCII, CRLF ended, no line over 998; but
for an original that is returned whole, and a recipient of the report whose
address is beyond ASCII.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count

from netsvc.mail.escape import escape
from netsvc.mail.ids import show_id
from netsvc.mail.trace import date_time
from netsvc.mail.xtext import from_xtext

MAX_ORIGINAL = 64 * 1024
"""Octets of the original's header section that are returned."""
MAX_RECIPIENTS = 200
"""Recipients listed in one report; more are counted, not listed."""
MAX_WORDS = 512
"""Characters of a peer's words."""
_FOLD_AT = 900

SUBJECTS = {
    "failed": "Undelivered mail returned to its sender",
    "delayed": "Delayed mail (it is still being tried)",
    "delivered": "Delivered mail",
    "relayed": "Relayed mail (no more will be said of it)",
}
"""The subject of a report by its action."""
_SENTENCES = {
    "failed": ("Your message could not be delivered to the recipients below.", "It will not be tried again."),
    "delayed": (
        "Your message could not yet be delivered to the recipients below.",
        "You need not send it again: it will be tried until it is delivered or its time is over.",
    ),
    "delivered": ("Your message was delivered to the recipients below.",),
    "relayed": (
        "Your message was handed on for the recipients below,",
        "to a system that does not report whether it delivers it.",
    ),
}
_GOOD = frozenset({"delivered", "relayed"})

_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\Z")
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

    ``action``: failed, delayed, delivered or relayed.  ``to``: the report's recipient.  ``original`` the header section
    of the message (CRLF or LF lines; no body), or with ``whole`` all of it: lines of text, none over 998 octets.
    ``id`` is the report's own queue id, ``about`` the original's; ``envid`` its ENVID, in xtext; ``by_at`` when it
    should have been delivered, 0 for no such wish.
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
    whole: bool = False
    by_at: int = 0


def ascii_text(text: str, limit: int = MAX_WORDS) -> str:
    """Return ``text`` escaped and in printable ASCII, at most ``limit`` characters."""
    plain = _NOT_TEXT.sub(_as_number, escape(text, limit))
    return plain if len(plain) <= limit else plain[: max(limit - 3, 0)] + "..."


def _as_number(match: re.Match[str]) -> str:
    return f"\\u{{{ord(match[0]):04X}}}"


def build(account: Account) -> bytes:
    """Return the report as content: header section and body."""
    whole = account.whole
    original = account.original if whole else header_section(account.original)
    stem = f"={show_id(account.id)}={show_id(account.about)}="
    boundary = next(b for b in (f"{stem}{n}" for n in count(1)) if b.encode("ascii") not in original)
    eight_bit = ["Content-Transfer-Encoding: 8bit"] if not original.isascii() else []
    returned = ["Content-Type: message/rfc822", *eight_bit, "Content-Description: Message"]
    if not whole:
        returned = [
            "Content-Type: text/rfc822-headers; charset=us-ascii",
            "Content-Description: Header section of the message",
        ]
    lines = [
        *_header(account, boundary),
        *eight_bit,
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
        *returned,
        "",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8", "replace") + original + f"\r\n--{boundary}--\r\n".encode("ascii")


def _header(account: Account, boundary: str) -> list[str]:
    host = ascii_text(account.hostname, 255)
    return [
        f"From: Mail Delivery System <MAILER-DAEMON@{host}>",
        f"To: <{escape(account.to, 400)}>",
        f"Subject: {SUBJECTS[account.action]}",
        f"Date: {date_time(account.now // 1000)}",
        f"Message-ID: <{show_id(account.id)}@{host}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="' + boundary + '"',
    ]


def _for_people(account: Account) -> list[str]:
    host = ascii_text(account.hostname, 255)
    lines = [f"This is the mail system of {host}.", ""]
    lines += _SENTENCES[account.action]
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
        lines.append(f"Original-Envelope-Id: {ascii_text(from_xtext(account.envid) or account.envid, 100)}")
    lines.append(f"Arrival-Date: {date_time(account.arrived // 1000)}")
    if account.by_at:
        lines.append(f"Deliver-By-Date: {date_time(account.by_at // 1000)}")
    for one in account.recipients[:MAX_RECIPIENTS]:
        lines.append("")
        if one.orcpt:
            lines.append(f"Original-Recipient: {_original_recipient(one.orcpt)}")
        lines += [
            f"Final-Recipient: {_typed(one.rcpt)}",
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


def _typed(rcpt: str) -> str:
    """Return an address with its type; what is beyond ASCII is written as RFC 6533 3 has it in 7-bit reports."""
    if rcpt.isascii():
        return f"rfc822; {ascii_text(rcpt, 400)}"
    return "utf-8; " + _NOT_TEXT.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", escape(rcpt, 250))[:900]


def _original_recipient(orcpt: str) -> str:
    kind, _, address = orcpt.partition(";")
    if kind.lower() == "utf-8":
        return _typed(address) if not address.isascii() else f"utf-8; {ascii_text(address, 500)}"
    return f"{ascii_text(kind, 40)};{ascii_text(from_xtext(address) or address, 500)}"


def _status(action: str, status: str) -> str:
    """Return the status to report: failed may be 4 (given up, RFC 3464 2.3.4) or 5, delayed is always 4, else 2."""
    digit = {"failed": "5", "delayed": "4"}.get(action, "2")
    if not _STATUS.match(status) or (action in _GOOD) != (status[0] == "2"):
        return f"{digit}.0.0"
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
