"""What a submission service adds to a message that lacks it (RFC 6409 8): Date and Message-ID, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.ids import show_id
from netsvc.mail.trace import date_time

if TYPE_CHECKING:
    from netsvc.mail.header import HeaderScan


def complete(scan: HeaderScan, message_id: int, hostname: str, now_ms: int) -> bytes:
    """Return the fields that are missing, CRLF ended, to stand on top of the header section ``scan`` has seen.

    A Message-ID that is made is noted in ``scan``.
    """
    fields = b""
    if not scan.dated:
        fields += f"Date: {date_time(now_ms // 1000)}\r\n".encode("ascii")
    if not scan.identified:
        scan.msgid = f"<{show_id(message_id)}@{hostname}>"
        fields += f"Message-ID: {scan.msgid}\r\n".encode("ascii")
    return fields
