"""The agent that delivers into Maildir folders; files are written in the reactor's threads."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from netsvc.delivery.faults import AttemptError, bounced, deferred
from netsvc.delivery.maildir import MaildirFile, UnfitAddressError, place
from netsvc.delivery.maildirquota import FullError, Quota
from netsvc.delivery.targets import parse_target
from netsvc.interfaces import IDeliveryAgent
from netsvc.mail.address import NULL, AddressError, parse_address
from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.mail.trace import return_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.delivery.ground import Ground
    from netsvc.delivery.targets import Target
    from netsvc.mail.message import Hop, Leased

AT_ONCE = 4
"""Mails written at the same time."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@implementer(IDeliveryAgent)
class MaildirAgent:
    """IDeliveryAgent for routes ``maildir:/path/{domain}/{local}``."""

    name = "maildir"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._reactor: Any = ground.reactor
        self._turns = DeferredSemaphore(AT_ONCE)

    def attempt(
        self, next_hop: Hop, message: Leased, recipients: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> Deferred[list[Outcome]]:
        """See IDeliveryAgent."""
        del message, observer
        try:
            target = parse_target(next_hop.route)
        except ValueError as why:
            return succeed(deferred(recipients, AttemptError(Fault.ROUTING, str(why), "4.4.4")))
        return Deferred.fromCoroutine(self._all(target, recipients))

    async def _all(self, target: Target, rows: Sequence[Leased]) -> list[Outcome]:
        outcomes = []
        for row in rows:
            await self._turns.acquire()
            try:
                outcomes.append(await self._one(target, row))
            finally:
                self._turns.release()
        return outcomes

    async def _one(self, target: Target, row: Leased) -> Outcome:
        began = self._ground.now()
        try:
            where = place(target, row, self._ground.hostname)
        except UnfitAddressError:
            return bounced([row], Fault.LOCAL, "5.1.3", "the address cannot name a folder")[0]
        try:
            await self._write(MaildirFile(where, Quota(*self._ground.site.current.delivery.maildir_quota)), row)
        except FullError:
            return deferred([row], AttemptError(Fault.LOCAL, "the mailbox is full", "4.2.2"))[0]
        except OSError as why:
            self._ground.logbook.failure("delivery.fault", None, what=f"maildir {target.prefix}", msg=row.message_id)
            status = "4.2.2" if why.errno in _FULL else "4.3.0"
            words = f"the folder cannot be written: {why.strerror or type(why).__name__}"
            return deferred([row], AttemptError(Fault.LOCAL, words, status))[0]
        ms = int((self._ground.now() - began) * 1000)
        return Outcome(row.id, Result.DELIVERED, host=self._ground.hostname, ms=ms)

    async def _write(self, file: MaildirFile, row: Leased) -> None:
        reader = await self._ground.spool.open_body(row.blob_id)
        try:
            piece = await reader.read()
            head = own_return_path(row.sender) + row.hdr
            repeated = row.attempts > 1 or row.crashes > 1
            if len(piece) >= reader.size:
                await self._thread(_write_whole, file, head + piece, repeated)
                return
            if not await self._thread(_begin, file, repeated):
                return
            await self._thread(file.write, head)
            while piece:
                await self._thread(file.write, piece)
                piece = await reader.read()
            await self._thread(file.commit)
        finally:
            reader.close()
            file.abort()

    def _thread(self, work: Callable[..., Any], *args: object) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, *args)


def _begin(file: MaildirFile, repeated: bool) -> bool:
    return file.begin(repeated=repeated)


def _write_whole(file: MaildirFile, data: bytes, repeated: bool) -> None:
    if file.begin(repeated=repeated):
        file.write(data)
        file.commit()


def own_return_path(sender: str) -> bytes:
    """Return the field Return-Path of mail from ``sender``, "" for none."""
    try:
        return return_path(parse_address(sender, utf8=True) if sender else NULL)
    except AddressError:
        return return_path(NULL)
