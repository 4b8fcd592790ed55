"""A listener's connections: their number, their deadlines and their end.

One timer serves them all: while there are connections it asks each of them, a
few times in a timeout, whether its deadline has passed.  That costs less than a
timer for each, which would be made and cancelled with every short connection.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from netsvc.mail import reply as r
from netsvc.mail.reply import SHUTTING_DOWN, TOO_BUSY, TOO_MANY_CONNECTIONS
from netsvc.networks import Networks
from netsvc.smtpd.connection import STRESS_SECONDS, SmtpConnection
from netsvc.smtpd.crowd import Crowd
from netsvc.smtpd.guard import Guard
from netsvc.smtpd.proxied import Client, ProxiedConnection, peer_of
from netsvc.smtpd.slots import Slots, descriptor_cap

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime

    from netsvc.interfaces import IMailboxService, ISlots
    from netsvc.logbook import Logbook
    from netsvc.mail.reply import Reply
    from netsvc.records import DoorRule
    from netsvc.smtp.terms import Terms
    from netsvc.smtpd.guard import Locks
    from netsvc.smtpd.listener import SmtpListenerSettings

LONGEST_TICK = 5.0
TICKS = 20
"""Deadlines are looked at so many times in the shortest timeout, and every LONGEST_TICK seconds at least."""

LAST_WORD = 2.0
"""Seconds the 421 that ends a session has to leave before the connection is dropped."""

LOG_INTERVAL = 60.0
"""Seconds between two log lines about refused connections."""


class Refusal(Protocol):
    """A connection that is told why it is not served, and closed."""

    refusal = True

    def __init__(self, words: bytes) -> None:
        """Keep what is said."""
        self._words = words

    def connectionMade(self) -> None:
        """Say it and close."""
        assert self.transport is not None
        self.transport.write(self._words)
        self.transport.loseConnection()


@implementer(IProtocolFactory)
class SmtpFactory:
    """Builds the connections of one SMTP listener.

    ``service`` is the one mailbox service, ``reactor`` gives the time, ``slots`` is the room all listeners share, its
    own when there are no others; ``locks`` is what TLS and AUTH are done with.
    Raises ValueError for settings that no session could keep.
    """

    def __init__(
        self,
        service: IMailboxService,
        settings: SmtpListenerSettings,
        logbook: Logbook,
        reactor: IReactorTime,
        slots: ISlots | None = None,
        locks: Locks | None = None,
    ) -> None:
        """Serve nobody yet."""
        self.service = service
        self.settings = settings
        self.logbook = logbook
        self.clock = reactor
        self.terms = settings.terms()
        guarded = settings.tls != "none" or settings.auth != "off"
        self.guard = Guard(settings, locks) if guarded and locks is not None else None
        self.slots: ISlots = Slots(descriptor_cap(), logbook) if slots is None else slots
        self.slots.watch(self._hurry)
        self.crowd = Crowd(reactor)
        self.connections: set[SmtpConnection | ProxiedConnection] = set()
        self._cap = settings.max_connections
        self._submission = settings.service == "submission"
        self._proxies = Networks(settings.proxy_from)
        self._stand_ins = Networks(settings.xclient_from)
        self._stand_in_terms = replace(self.terms, xclient=True)
        self._tick = min(LONGEST_TICK, settings.command_timeout / TICKS, settings.data_timeout / TICKS)
        if settings.xclient_from:
            logbook.event("smtp.xclient_allowed", listener=settings.listener, networks=settings.xclient_from)
        self._timer: IDelayedCall | None = None
        self._last_refusal: float | None = None
        self.stopping = False
        self._grace: IDelayedCall | None = None
        self._waiters: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:
        """Return the protocol of a new connection: a session, or a 421 when there are too many or the service stops.

        None, and with it nothing said, where only TLS is spoken.
        """
        if self.stopping:
            return self._last_word(SHUTTING_DOWN)
        if self._cap and len(self.connections) >= self._cap:
            return self._refuse(TOO_MANY_CONNECTIONS, self._cap)
        host, _, loopback = peer_of(addr)
        proxied = bool(self.settings.proxy_from) and host in self._proxies
        where = self.slots.find(submission=self._submission, loopback=loopback and not proxied)
        if not where:
            return self._refuse(TOO_BUSY, self.slots.cap)
        return ProxiedConnection(self, where) if proxied else SmtpConnection(self, where)

    def _last_word(self, reply: Reply) -> Refusal | None:
        """Return who says ``reply`` and closes; None where nothing may be said in clear."""
        if self.settings.tls == "implicit":
            return None
        return Refusal(bytes(reply.fill(hostname=self.settings.hostname)))

    def _refuse(self, reply: Reply, limit: int) -> Refusal | None:
        """Return who says that there are too many; log that now and then."""
        now = self.clock.seconds()
        if self._last_refusal is None or now >= self._last_refusal + LOG_INTERVAL:
            self._last_refusal = now
            self.logbook.event("smtp.too_many_connections", listener=self.settings.listener, limit=limit)
        return self._last_word(reply)

    def connection(self, where: str, client: Client) -> SmtpConnection:
        """Return the connection of a client a proxy has passed on."""
        return SmtpConnection(self, where, client)

    def terms_for(self, host: str) -> Terms:
        """Return what a client at ``host`` is offered."""
        return self._stand_in_terms if self.settings.xclient_from and host in self._stand_ins else self.terms

    def turn_away(self, rule: DoorRule, host: str) -> IProtocol | None:
        """Return who tells a client at ``host`` that an operator keeps it out; None where only TLS is spoken."""
        if self.settings.tls == "implicit":
            return None
        if rule.kind == "pause":
            return Refusal(bytes(r.PAUSED.fill(hostname=self.settings.hostname)))
        reply = r.BLOCKED_FOR_NOW if rule.until else r.BLOCKED
        return Refusal(bytes(reply.fill(hostname=self.settings.hostname, peer=host)))

    def doStart(self) -> None:
        """Do nothing: a port listens for us (IProtocolFactory)."""

    def doStop(self) -> None:
        """Do nothing: sessions go on until ``stop`` (IProtocolFactory)."""

    def opened(self, connection: SmtpConnection | ProxiedConnection) -> None:
        """Take a connection under the timer; connections call it."""
        self.connections.add(connection)
        self.slots.take(connection.where)
        if self._timer is None:
            self._timer = self.clock.callLater(self._tick, self._look)

    def gone(self, connection: SmtpConnection | ProxiedConnection) -> None:
        """Forget a connection; connections call it, some of them twice."""
        if connection in self.connections:
            self.connections.discard(connection)
            self.slots.release(connection.where)
        if self.stopping and not self.connections:
            self._stopped()

    def stop(self) -> Deferred[None]:
        """End every session -> Deferred[None], fired when all are gone.

        Who is between transactions gets 421 at once; a transaction under way has ``grace`` seconds to end with its
        own reply.  Whoever listens must have stopped before.
        """
        first = not self.stopping
        self.stopping = True
        if first:
            for connection in list(self.connections):
                connection.drain()
        if not self.connections:
            self._stopped()
            return succeed(None)
        if first:
            self._grace = self.clock.callLater(self.settings.grace, self._cut)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    def _cut(self) -> None:
        """End what is left: the grace is over."""
        self._grace = self.clock.callLater(LAST_WORD, self._drop)
        for connection in list(self.connections):
            connection.cut()

    def _drop(self) -> None:
        self._grace = None
        for connection in list(self.connections):
            connection.drop()

    def _look(self) -> None:
        """End what has passed its deadline."""
        self._timer = None
        now = self.clock.seconds()
        for connection in list(self.connections):
            connection.expire(now)
        if self.connections:
            hurried = min(self._tick, STRESS_SECONDS / TICKS)
            self._timer = self.clock.callLater(hurried if self.slots.stressed else self._tick, self._look)

    def _hurry(self) -> None:
        """Look at the deadlines soon: they have changed."""
        if self._timer is not None and self.slots.stressed:
            self._timer.reset(0)

    def _stopped(self) -> None:
        for call in (self._timer, self._grace):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._grace = None
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)
