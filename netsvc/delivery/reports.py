"""Reports to senders: that mail was not delivered, or is late (RFC 3464; SMTP.md T11).

A report has the null reverse-path and goes to the original's sender.  Mail from
``<>`` is never answered.  When one of our own reports cannot be delivered, the
postmaster's mailbox gets it, once, and nowhere else.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from netsvc.delivery.retry import is_worth_warning
from netsvc.mail.address import NULL, Address, AddressError, parse_address
from netsvc.mail.dsn import Account, Failed, build
from netsvc.mail.ids import show_id
from netsvc.mail.message import (
    FLAG_REPORT,
    FLAG_WARNED,
    Hop,
    Kind,
    Leased,
    LocalDelivery,
    MailboxRef,
    Message,
    NewDelivery,
    Result,
)
from netsvc.mail.outcome import Outcome, Report
from netsvc.mail.trace import date_time, return_path

if TYPE_CHECKING:
    from netsvc.delivery.ground import Ground
    from netsvc.settings import SiteSettings

_ENDED = frozenset({Result.BOUNCED, Result.EXPIRED})
POSTMASTER = "postmaster"
MOST_REMEMBERED = 10_000
"""Messages of which this process remembers that their sender was warned."""


class Reports:
    """Makes the reports that the outcomes of one message call for."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._warned: OrderedDict[int, None] = OrderedDict()

    async def make(self, rows: list[Leased], outcomes: list[Outcome]) -> tuple[list[Outcome], list[Report]]:
        """Return the outcomes, those marked whose sender is warned now, and the reports to settle with them.

        ``rows`` share one message; ``outcomes`` are theirs in order, with results and times decided.  May fail as
        the directory or the spool does; then nothing has changed.
        """
        settings: SiteSettings = self._ground.site.current
        now = self._ground.spool.now()
        first = rows[0]
        reports = []
        ended = [(row, out) for row, out in zip(rows, outcomes, strict=True) if out.result in _ENDED]
        if ended:
            report = await self._about(ended, "failed", now)
            if report is not None:
                reports.append(report)
        late = []
        if first.message_id not in self._warned:
            late = [
                (row, out)
                for row, out in zip(rows, outcomes, strict=True)
                if out.result is Result.DEFERRED and is_worth_warning(now, row, settings.delivery)
            ]
        if late:
            report = await self._about(late, "delayed", now)
            if report is not None:
                reports.append(report)
            self._remember(first.message_id)
            ids = {row.id for row, _ in late}
            outcomes = [replace(out, warned=True) if out.delivery_id in ids else out for out in outcomes]
        return outcomes, reports

    def _remember(self, message_id: int) -> None:
        self._warned[message_id] = None
        while len(self._warned) > MOST_REMEMBERED:
            self._warned.popitem(last=False)

    async def _about(self, cases: list[tuple[Leased, Outcome]], action: str, now: int) -> Report | None:
        first = cases[0][0]
        own = bool(first.flags & FLAG_REPORT)
        if not first.sender and (not own or _is_postmaster(first)):
            return None
        message_id = self._ground.spool.new_id()
        deliveries: list[NewDelivery] = []
        local: list[LocalDelivery] = []
        to = first.sender
        if not own:
            deliveries, local = await self._to_sender(first.sender, message_id, now)
        if not deliveries and not local:
            to = f"{POSTMASTER}@{self._ground.hostname}"
            if action == "failed":
                local = await self._to_postmaster(message_id, now)
        if not deliveries and not local:
            self._ground.logbook.event("delivery.unreported", msg=first.message_id, sender=first.sender)
            return None
        return await self._report(message_id, to, (cases, action), (deliveries, local), now)

    async def _report(
        self,
        message_id: int,
        to: str,
        about: tuple[list[tuple[Leased, Outcome]], str],
        where: tuple[list[NewDelivery], list[LocalDelivery]],
        now: int,
    ) -> Report:
        (cases, action), (deliveries, local) = about, where
        first = cases[0][0]
        account = Account(
            id=message_id,
            about=first.message_id,
            action=action,
            hostname=self._ground.hostname,
            to=to,
            sender=first.sender,
            now=now,
            arrived=first.received_at,
            recipients=tuple(_failed(row, out, action, now) for row, out in cases),
            original=await self._original(first),
            envid=first.envid,
        )
        content = build(account)
        settings: SiteSettings = self._ground.site.current
        message = Message(
            id=message_id,
            hdr=self._trace(message_id, now),
            sender="",
            sender_domain="",
            size=len(content),
            received_at=now,
            expires_at=now + settings.delivery.expire,
            rcpts=len(deliveries) + len(local),
            flags=FLAG_REPORT | FLAG_WARNED,
            msgid=f"<{show_id(message_id)}@{self._ground.hostname}>",
            subject="Undelivered mail returned to its sender" if action == "failed" else "Delayed mail",
        )
        return Report(message, content, tuple(deliveries), tuple(local), tuple(row.id for row, _ in cases))

    def _trace(self, message_id: int, now: int) -> bytes:
        line = f"Received: by {self._ground.hostname} (netsvc) id {show_id(message_id)}; {date_time(now // 1000)}\r\n"
        return line.encode("ascii", "replace")

    async def _original(self, row: Leased) -> bytes:
        """Return the beginning of the message; its trace fields alone where the content cannot be read."""
        try:
            reader = await self._ground.spool.open_body(row.blob_id)
            try:
                return row.hdr + await reader.read()
            finally:
                reader.close()
        except Exception:  # noqa: BLE001 - the store's errors are its own; a report without the header is one still
            self._ground.logbook.failure("delivery.fault", None, what="header for a report", msg=row.message_id)
            return row.hdr

    async def _to_sender(self, sender: str, message_id: int, now: int) -> tuple[list[NewDelivery], list[LocalDelivery]]:
        try:
            address = parse_address(sender)
        except AddressError:
            return [], []
        resolution = await self._ground.directory.resolve(address)
        hdr = return_path(NULL) + self._trace(message_id, now)
        local = [
            LocalDelivery(n, sender, box.address.rpartition("@")[2], box.id, hdr)
            for n, box in enumerate((m for m in resolution.mailboxes if m.driver == "db"), 1)
        ]
        deliveries = []
        n = len(local)
        for box in resolution.mailboxes:
            if box.driver != "db":
                n += 1
                deliveries.append(_to_folder(n, box, now))
        for target in resolution.forwards if resolution.local else (str(address),):
            n += 1
            domain = target.rpartition("@")[2].lower()
            deliveries.append(NewDelivery(n, target, domain, self._ground.routing.route(domain), now))
        return deliveries, local

    async def _to_postmaster(self, message_id: int, now: int) -> list[LocalDelivery]:
        address = Address(POSTMASTER, self._ground.hostname.lower())
        resolution = await self._ground.directory.resolve(address)
        if not resolution.mailboxes:
            resolution = await self._ground.directory.resolve(Address(POSTMASTER, ""))
        hdr = return_path(NULL) + self._trace(message_id, now)
        boxes = [box for box in resolution.mailboxes if box.driver == "db"]
        return [
            LocalDelivery(n, str(address), box.address.rpartition("@")[2], box.id, hdr)
            for n, box in enumerate(boxes, 1)
        ]


def _is_postmaster(row: Leased) -> bool:
    return row.rcpt.partition("@")[0].lower() == POSTMASTER


def _to_folder(n: int, box: MailboxRef, now: int) -> NewDelivery:
    domain = box.address.rpartition("@")[2]
    hop = Hop(Kind.MAILDIR, f"maildir:{box.path}", domain, f"maildir:{box.path}")
    return NewDelivery(n, box.address, domain, hop, now)


def _failed(row: Leased, out: Outcome, action: str, now: int) -> Failed:
    status = out.status
    if not status and out.code:
        status = f"{out.code // 100}.0.0"
    elif not status:
        status = "4.4.7" if out.result is Result.EXPIRED else ""
    return Failed(
        rcpt=row.rcpt,
        status=status,
        code=out.code,
        reply=out.reply,
        host=out.host,
        at=now,
        orcpt=row.orcpt,
        retry_until=row.expires_at if action == "delayed" else 0,
    )
