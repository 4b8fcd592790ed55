"""Delivery status notifications, built as octets (RFC 3464, 3462, 3463, 3834, 6533; SMTP.md T39).

Whatever is foreign in one (addresses, a peer's words, an original's header) is
escaped, cut and folded: the result is ASCII, CRLF ended, no line over 998; but
for an original that is returned whole.  A report to an address beyond ASCII goes
where SMTPUTF8 is known, and is written in UTF-8 throughout, of the ``global``
types (RFC 6533).
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from netsvc.mail.escape import escape
from netsvc.mail.ids import show_id
from netsvc.mail.trace import date_time
from netsvc.mail.xtext import from_xtext

if TYPE_CHECKING:
    from collections.abc import Callable

    Speech = Callable[[str, int], str]

MAX_ORIGINAL = 64 * 1024
"""Octets of the original's header section that are returned."""
MAX_RECIPIENTS = 200
"""Recipients listed in one report; more are counted, not listed."""
MAX_WORDS = 512
"""Characters of a peer's words."""
_FOLD_AT = 900
_WIDE = 600
"""Octets of foreign words in a line, where they are not ASCII: a host's name may stand beside them."""

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

_EIGHT_BIT = "Content-Transfer-Encoding: 8bit"
_LAST_POINT = 0x10FFFF
_CODED_POINT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
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
    should have been delivered, 0 for no such wish.  ``withheld``: reports to the same sender that were not made before
    this one, because there were too many.
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
    withheld: int = 0

    @property
    def wide(self) -> bool:
        """Whether the report is in UTF-8."""
        return not self.to.isascii()


def wide_text(text: str, limit: int = MAX_WORDS) -> str:
    """Return ``text`` escaped, at most ``limit`` characters, and as many octets of UTF-8 as a line may have."""
    safe = escape(text, limit)
    octets = safe.encode("utf-8", "replace")
    return safe if len(octets) <= _WIDE else octets[:_WIDE].decode("utf-8", "ignore") + "..."


def ascii_text(text: str, limit: int = MAX_WORDS) -> str:
    """Return ``text`` escaped and in printable ASCII, at most ``limit`` characters."""
    plain = _NOT_TEXT.sub(_as_number, escape(text, limit))
    return plain if len(plain) <= limit else plain[: max(limit - 3, 0)] + "..."


def _as_number(match: re.Match[str]) -> str:
    return f"\\u{{{ord(match[0]):04X}}}"


def build(account: Account) -> bytes:
    """Return the report as content: header section and body."""
    original, returned = _returned(account)
    stem = f"={show_id(account.id)}={show_id(account.about)}="
    boundary = next(b for b in (f"{stem}{n}" for n in count(1)) if b.encode("ascii") not in original)
    say: Speech = wide_text if account.wide else ascii_text
    in_utf8 = [_EIGHT_BIT] if account.wide else []
    charset, status = ("utf-8", "global-delivery-status") if account.wide else ("us-ascii", "delivery-status")
    lines = [
        *_header(account, boundary),
        *([_EIGHT_BIT] if account.wide or not original.isascii() else []),
        "",
        "This is a report in parts, made for people and for programs.",
        f"--{boundary}",
        f"Content-Type: text/plain; charset={charset}",
        *in_utf8,
        "Content-Description: Notification",
        "",
        *_for_people(account, say),
        "",
        f"--{boundary}",
        f"Content-Type: message/{status}",
        *in_utf8,
        "Content-Description: Delivery report",
        "",
        *_for_programs(account, say),
        "",
        f"--{boundary}",
        *returned,
        "",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8", "replace") + original + f"\r\n--{boundary}--\r\n".encode("ascii")


def _returned(account: Account) -> tuple[bytes, list[str]]:
    """Return what of the original is returned, and the header of its part.

    A header section beyond ASCII is put into ASCII where the report is (RFC 6522 4: quoted-printable).
    """
    content = account.original
    if account.whole:
        end = content.find(b"\r\n\r\n")
        wide = not content[: end if end >= 0 else len(content)].isascii()
        kind = "message/global" if wide and account.wide else "message/rfc822"
        eight_bit = [] if content.isascii() else [_EIGHT_BIT]
        return content, [f"Content-Type: {kind}", *eight_bit, "Content-Description: Message"]
    header = header_section(content, wide=True)
    description = "Content-Description: Header section of the message"
    if header.isascii():
        return header, ["Content-Type: text/rfc822-headers; charset=us-ascii", description]
    if account.wide:
        return header, ["Content-Type: message/global-headers", _EIGHT_BIT, description]
    coded = binascii.b2a_qp(header.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    coding = "Content-Transfer-Encoding: quoted-printable"
    return coded, ["Content-Type: text/rfc822-headers; charset=utf-8", coding, description]


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


def _for_people(account: Account, say: Speech) -> list[str]:
    host = ascii_text(account.hostname, 255)
    lines = [f"This is the mail system of {host}.", ""]
    lines += _SENTENCES[account.action]
    lines += ["", f"Queue id: {show_id(account.about)}", f"Arrived: {date_time(account.arrived // 1000)}", ""]
    for one in account.recipients[:MAX_RECIPIENTS]:
        lines += [f"<{say(one.rcpt, 400)}>:", f"    {_said(one, say)}"]
        if one.retry_until:
            lines.append(f"    It is tried until {date_time(one.retry_until // 1000)}.")
    rest = len(account.recipients) - MAX_RECIPIENTS
    if rest > 0:
        lines.append(f"and {rest} more recipients.")
    if account.withheld:
        lines += ["", f"{account.withheld} reports to you before this one were not sent: there were too many."]
    return lines


def _said(one: Failed, say: Speech) -> str:
    words = say(one.reply, MAX_WORDS) or "no reason was given"
    host = ascii_text(one.host, 255)
    if one.code:
        said = _reply(one, words)
        return f"host {host} said: {said}" if host else f"the host said: {said}"
    return f"{words} ({host})" if host else words


def _reply(one: Failed, words: str) -> str:
    status = one.status if _STATUS.match(one.status) else ""
    return " ".join(word for word in (str(one.code), status, words) if word)


def _for_programs(account: Account, say: Speech) -> list[str]:
    lines = [f"Reporting-MTA: dns; {ascii_text(account.hostname, 255)}"]
    if account.envid:
        lines.append(f"Original-Envelope-Id: {ascii_text(from_xtext(account.envid) or account.envid, 100)}")
    lines.append(f"Arrival-Date: {date_time(account.arrived // 1000)}")
    if account.by_at:
        lines.append(f"Deliver-By-Date: {date_time(account.by_at // 1000)}")
    for one in account.recipients[:MAX_RECIPIENTS]:
        lines.append("")
        if one.orcpt:
            lines.append(f"Original-Recipient: {_original_recipient(one.orcpt, wide=account.wide)}")
        lines += [
            f"Final-Recipient: {_typed(one.rcpt, wide=account.wide)}",
            f"Action: {account.action}",
            f"Status: {_status(account.action, one.status)}",
        ]
        if one.host:
            lines.append(f"Remote-MTA: dns; {ascii_text(one.host, 255)}")
        if one.code:
            lines.append(f"Diagnostic-Code: smtp; {_reply(one, say(one.reply, MAX_WORDS))}")
        elif one.reply:
            lines.append(f"Diagnostic-Code: X-netsvc; {say(one.reply, MAX_WORDS)}")
        if one.at:
            lines.append(f"Last-Attempt-Date: {date_time(one.at // 1000)}")
        if one.retry_until:
            lines.append(f"Will-Retry-Until: {date_time(one.retry_until // 1000)}")
    return lines


def _typed(rcpt: str, *, wide: bool) -> str:
    """Return an address with its type; what is beyond ASCII is written as RFC 6533 3 has it in reports of 7 bits."""
    if rcpt.isascii():
        return f"rfc822; {ascii_text(rcpt, 400)}"
    if wide:
        return f"utf-8; {wide_text(rcpt, 400)}"
    return "utf-8; " + _NOT_TEXT.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", escape(rcpt, 250))[:900]


def _original_recipient(orcpt: str, *, wide: bool) -> str:
    kind, _, address = orcpt.partition(";")
    if kind.lower() == "utf-8":
        plain = _CODED_POINT.sub(_point, address) if wide else address
        return _typed(plain, wide=wide) if not plain.isascii() else f"utf-8; {ascii_text(plain, 500)}"
    return f"{ascii_text(kind, 40)};{ascii_text(from_xtext(address) or address, 500)}"


def _point(match: re.Match[str]) -> str:
    r"""Return the character that ``\x{...}`` stands for, unchanged where it is none."""
    number = int(match[1], 16)
    return chr(number) if number <= _LAST_POINT and not 0xD800 <= number <= 0xDFFF else match[0]


def _status(action: str, status: str) -> str:
    """Return the status to report: failed may be 4 (given up, RFC 3464 2.3.4) or 5, delayed is always 4, else 2."""
    digit = {"failed": "5", "delayed": "4"}.get(action, "2")
    if not _STATUS.match(status) or (action in _GOOD) != (status[0] == "2"):
        return f"{digit}.0.0"
    return "4" + status[1:] if action == "delayed" else status


def header_section(content: bytes, *, wide: bool = False) -> bytes:
    """Return the header section ``content`` begins with, made safe to stand in a report, at most MAX_ORIGINAL octets.

    Lines end in CRLF, none is over 998 octets, what is not ASCII text becomes ``?``; an empty section is empty.
    ``wide``: UTF-8 stays.
    """
    lines = []
    size = 0
    for raw in content[: MAX_ORIGINAL + 1024].split(b"\n"):
        line = raw.removesuffix(b"\r")
        if not line:
            break
        folded = b"\r\n\t".join(_pieces(line, wide=wide)) + b"\r\n"
        size += len(folded)
        if size > MAX_ORIGINAL:
            break
        lines.append(folded)
    return b"".join(lines)


def _pieces(line: bytes, *, wide: bool) -> list[bytes]:
    """Return a line of a header made safe, in pieces that a folded line may have."""
    if wide and not line.isascii():
        try:
            text = escape(line.decode("utf-8").replace("\t", " "))
        except UnicodeDecodeError:
            pass
        else:
            step = _FOLD_AT // 4
            return [text[i : i + step].encode("utf-8") for i in range(0, len(text), step)]
    line = _NOT_PRINTABLE.sub(b"?", line)
    return [line[i : i + _FOLD_AT] for i in range(0, len(line), _FOLD_AT)]
