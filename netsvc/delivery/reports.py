"""Reports to senders: that mail was not delivered, is late, or, where asked for, was delivered (RFC 3461; T11).

A report has the null reverse-path and goes to the original's sender.  Mail from
``<>`` is never answered, and nobody is told who said NOTIFY=NEVER.  When one of
our own reports cannot be delivered, the postmaster's mailbox gets it, once, and
nowhere else.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from netsvc.delivery.offers import is_text
from netsvc.delivery.reportcap import ReportCap
from netsvc.delivery.reportees import NOWHERE, POSTMASTER, to_postmaster, to_sender
from netsvc.delivery.retry import is_worth_warning
from netsvc.delivery.schedules import ending, settings_for
from netsvc.mail.dsn import SUBJECTS, Account, Failed, build
from netsvc.mail.envelope import NOTIFY_DELAY, NOTIFY_FAILURE, NOTIFY_NEVER, NOTIFY_SUCCESS, RET_FULL, RET_HDRS
from netsvc.mail.ids import show_id
from netsvc.mail.message import (
    FLAG_8BIT,
    FLAG_BY_TRACE,
    FLAG_LAST,
    FLAG_REPORT,
    FLAG_TLS,
    FLAG_UTF8,
    FLAG_WARNED,
    Kind,
    Leased,
    Message,
    Result,
)
from netsvc.mail.outcome import Outcome, Report
from netsvc.mail.trace import date_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.delivery.ground import Ground
    from netsvc.delivery.reportees import Places
    from netsvc.settings import SiteSettings

_ENDED = frozenset({Result.BOUNCED, Result.EXPIRED})
MOST_RETURNED = 256 << 10
"""Octets of a message that is returned whole where its sender asks for that (RET=FULL)."""
Case = tuple[Leased, Outcome]
MOST_REMEMBERED = 10_000
"""Messages of which this process remembers that their sender was warned."""


def wants(row: Leased, notify: int) -> bool:
    """Say whether ``row``'s sender wants to hear of it: of failure and delay also who said nothing (RFC 3461 4.1)."""
    return row.notify == 0 or bool(row.notify & notify)


def asks(row: Leased, outcome: Outcome) -> bool:
    """Say whether ``outcome`` is a success whose report was asked for, and is ours to make (RFC 3461 5.2, 2852 4)."""
    if outcome.result is not Result.DELIVERED or not row.sender:
        return False
    if row.notify & NOTIFY_SUCCESS:
        return not outcome.passed_on
    return bool(row.flags & FLAG_BY_TRACE) and row.kind is Kind.SMTP and not row.notify & NOTIFY_NEVER


def successes(pairs: Sequence[Case]) -> list[tuple[str, list[Case]]]:
    """Return (action, cases) of each report about successes.

    Of mailboxes of ours one a recipient: the store may find one full when it settles, and drops that report.
    """
    relayed = [case for case in pairs if asks(*case) and case[0].kind is Kind.SMTP]
    boxes = [("delivered", [case]) for case in pairs if asks(*case) and case[0].kind is Kind.MAILBOX]
    others = [case for case in pairs if asks(*case) and case[0].kind not in (Kind.SMTP, Kind.MAILBOX)]
    together = [(action, cases) for action, cases in (("relayed", relayed), ("delivered", others)) if cases]
    return [*boxes, *together]


def _kept(row: Leased, to: str, content: bytes) -> int:
    """Return the flags a report has by its own octets, and by what the original demanded (RFC 8689 5)."""
    flags = row.flags & FLAG_TLS
    if not content.isascii():
        flags |= FLAG_8BIT
    return flags if to.isascii() else flags | FLAG_UTF8


class Reports:
    """Makes the reports that the outcomes of one message call for."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._cap = ReportCap(ground.now)
        self._warned: OrderedDict[int, None] = OrderedDict()

    async def make(self, rows: list[Leased], outcomes: list[Outcome]) -> tuple[list[Outcome], list[Report]]:
        """Return the outcomes, those marked whose sender is warned now, and the reports to settle with them.

        ``rows`` share one message; ``outcomes`` are theirs in order, with results and times decided.  May fail as
        the directory or the spool does; then nothing has changed.
        """
        now = self._ground.spool.now()
        first = rows[0]
        pairs = list(zip(rows, outcomes, strict=True))
        told: list[tuple[list[Case], str]] = [(one, action) for action, one in successes(pairs)]
        failed = [(row, out) for row, out in pairs if out.result in _ENDED and wants(row, NOTIFY_FAILURE)]
        if failed:
            told.append((failed, "failed"))
        late = []
        if first.message_id not in self._warned:
            late = [
                (row, out)
                for row, out in pairs
                if out.result is Result.DEFERRED and wants(row, NOTIFY_DELAY) and self._late(now, row)
            ]
        if late:
            told.append((late, "delayed"))
        found: list[Report | None] = []
        try:
            for cases, action in told:
                found.append(await self._about(cases, action, now))
        except Exception:
            for report in found:  # those before it are asked for again, too
                if report is not None:
                    self._cap.give_back(first.sender)
            raise
        if late:
            self._remember(first.message_id)
            ids = {row.id for row, _ in late}
            outcomes = [replace(out, warned=True) if out.delivery_id in ids else out for out in outcomes]
        return outcomes, [report for report in found if report is not None]

    def _late(self, now: int, row: Leased) -> bool:
        settings: SiteSettings = self._ground.site.current
        follows = settings_for(settings, row)
        return is_worth_warning(now, ending(settings, row), follows, self._ground.spool.lived(row.message_id))

    def _remember(self, message_id: int) -> None:
        self._warned[message_id] = None
        while len(self._warned) > MOST_REMEMBERED:
            self._warned.popitem(last=False)

    async def _about(self, cases: list[tuple[Leased, Outcome]], action: str, now: int) -> Report | None:
        first = cases[0][0]
        own = bool(first.flags & FLAG_REPORT)
        if not first.sender and (not own or first.flags & FLAG_LAST or _is_postmaster(first)):
            return None
        if own:
            return await self._made(cases, action, now)
        if not self._cap.allows(first.sender, self._ground.site.current.delivery.reports):
            self._ground.logbook.event("delivery.report_withheld", msg=first.message_id, sender=first.sender)
            return None
        try:
            return await self._made(cases, action, now)
        except Exception:
            self._cap.give_back(first.sender)  # it is asked for again, maybe often
            raise

    async def _made(self, cases: list[tuple[Leased, Outcome]], action: str, now: int) -> Report | None:
        first = cases[0][0]
        message_id = self._ground.spool.new_id()
        trace = self._trace(message_id, now)
        where, to, last = NOWHERE, first.sender, False
        if not first.flags & FLAG_REPORT:
            where = await to_sender(self._ground, first.sender, trace, now)
        if where == NOWHERE:
            to, last = f"{POSTMASTER}@{self._ground.hostname}", True
            if action == "failed" and not first.notify & NOTIFY_NEVER:
                where = await to_postmaster(self._ground, trace, now)
        if where == NOWHERE:
            self._ground.logbook.event("delivery.unreported", msg=first.message_id, sender=first.sender)
            return None
        return await self._report(message_id, (to, last), (cases, action), where, now)

    async def _report(
        self,
        message_id: int,
        whom: tuple[str, bool],
        about: tuple[list[tuple[Leased, Outcome]], str],
        where: Places,
        now: int,
    ) -> Report:
        """Return a report to ``whom`` (and whether it is the last: nobody hears of its failure)."""
        (to, last), (cases, action), (deliveries, local) = whom, about, where
        first = cases[0][0]
        original, whole = await self._original(first, action)
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
            original=original,
            envid=first.envid,
            whole=whole,
            by_at=first.by_at,
            withheld=0 if last else self._cap.withheld(to),
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
            flags=FLAG_REPORT | FLAG_WARNED | (FLAG_LAST if last else 0) | _kept(first, to, content),
            msgid=f"<{show_id(message_id)}@{self._ground.hostname}>",
            subject=SUBJECTS[action],
            ret=RET_HDRS if first.flags & FLAG_TLS else 0,
        )
        return Report(message, content, tuple(deliveries), tuple(local), tuple(row.id for row, _ in cases))

    def _trace(self, message_id: int, now: int) -> bytes:
        line = f"Received: by {self._ground.hostname} (netsvc) id {show_id(message_id)}; {date_time(now // 1000)}\r\n"
        return line.encode("ascii", "replace")

    async def _original(self, row: Leased, action: str) -> tuple[bytes, bool]:
        """Return the beginning of the message and False, or all of it and True where that was asked for and is fit.

        Its trace fields alone where the content cannot be read.
        """
        whole = action == "failed" and row.ret == RET_FULL and not row.flags & FLAG_TLS and row.size <= MOST_RETURNED
        try:
            reader = await self._ground.spool.open_body(row.blob_id)
            try:
                content = await reader.read()
                while whole and len(content) < reader.size:
                    content += await reader.read()
            finally:
                reader.close()
        except Exception:  # noqa: BLE001 - the store's errors are its own; a report without the header is one still
            self._ground.logbook.failure("delivery.fault", None, what="header for a report", msg=row.message_id)
            return row.hdr, False
        return row.hdr + content, whole and is_text(content)


def _is_postmaster(row: Leased) -> bool:
    return row.rcpt.partition("@")[0].lower() == POSTMASTER


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
