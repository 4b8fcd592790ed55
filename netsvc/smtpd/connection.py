"""One client's connection: its socket, its deadline and its end.

While something is awaited, or while replies are not read by the client, nothing
more is understood and at most one further chunk is read.

It has no timer of its own: the factory asks each connection now and then
whether its deadline has passed.  A deadline is for a whole command, not for its
octets, and for a stretch of content; our own time is not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IProtocol
from zope.interface import implementer

from netsvc.mail import reply as r
from netsvc.mail.envelope import SessionFacts
from netsvc.smtp.states import UNDER_WAY, State
from netsvc.smtpd.dialogue import Dialogue
from netsvc.smtpd.outlet import Outlet
from netsvc.smtpd.proxied import Client, peer_of
from netsvc.smtpd.tls import HANDSHAKE_SECONDS, NOT_SHAKEN, describe, why_failed

if TYPE_CHECKING:
    from twisted.internet.interfaces import ITransport
    from twisted.python.failure import Failure

    from netsvc.interfaces import ISessionEntry
    from netsvc.mail.reply import Reply
    from netsvc.smtpd.factory import SmtpFactory
    from netsvc.smtpd.outlet import Transport

WIDE_READ = 256 << 10
"""Octets read at once from a client that has shown that it sends much."""

LEAST_RATE = 500
"""Octets a second that content comes in by at least, over ``data_timeout`` (T17)."""

STRESS_SECONDS = 10.0
"""What a deadline is cut to while there are too many sessions."""

CONTENT = frozenset({State.DATA, State.CHUNKS})
"""States in which content comes in."""

ORDINARY_ENDS = frozenset({"quit", "closed", "shutdown", NOT_SHAKEN})
"""Ends that are logged only for whoever looks for a fault."""


@implementer(IProtocol, IHandshakeListener)
class SmtpConnection:
    """The protocol of one client."""

    __slots__ = (
        "_allowed",
        "_client",
        "_closed",
        "_dialogue",
        "_draining",
        "_entry",
        "_factory",
        "_facts",
        "_half_closed",
        "_handshaking",
        "_in_crowd",
        "_octets",
        "_outlet",
        "_parting",
        "_paused",
        "_since",
        "_transport",
        "where",
    )

    _transport: Transport
    _outlet: Outlet
    _entry: ISessionEntry
    _facts: SessionFacts
    _dialogue: Dialogue

    def __init__(self, factory: SmtpFactory, where: str, client: Client | None = None) -> None:
        """Be ready for ``makeConnection``; ``where`` is the slot's place, ``client`` who it is if not the peer."""
        self.where = where
        self._client = client
        self._factory = factory
        self._parting: tuple[Reply, str] | None = None  # the end that waits for a commit
        self._paused = False  # the transport reads nothing
        self._in_crowd = False  # others go first
        self._handshaking = False  # TLS has begun and does not stand yet
        self._draining = False  # the service stops: no further transaction
        self._half_closed = False  # the client sends no more
        self._closed = False  # our side is closed, or is once all is sent
        self._since = self._allowed = 0.0  # the deadline: seconds allowed since then
        self._octets = 0  # received since then

    # What Twisted calls.

    def makeConnection(self, transport: ITransport) -> None:
        """Take the transport: any stream transport with what TCP's has."""
        self._transport = cast("Transport", transport)
        self.connectionMade()

    def connectionMade(self) -> None:
        """Register the session and greet."""
        factory = self._factory
        settings = factory.settings
        host, port, loopback, proxy = self._client or Client(*peer_of(self._transport.getPeer()))
        self._outlet = Outlet(self._transport, self._go_on)
        entry = factory.service.sessions.open(
            "smtp-in", host, listener=settings.listener, state=State.CONNECTED, kick=self.kick, port=port
        )
        self._entry = entry
        self._facts = SessionFacts(
            entry.id,
            host,
            port,
            settings.listener,
            settings.hostname,
            settings.service,
            loopback=loopback,
            auth=factory.guard is not None and factory.guard.auth,
            max_message_size=settings.max_message_size,
            proxy=proxy,
        )
        self._dialogue = Dialogue(
            factory.terms_for(host),
            factory.service,
            factory.logbook,
            who=(self._facts, entry),
            answered=self._go_on,
            guard=factory.guard,
        )
        entry.transaction = self._dialogue.transaction
        factory.opened(self)
        if settings.tls == "implicit":
            self._begin_tls()
        else:
            self._greet()

    def _greet(self) -> None:
        self._rearm(self._factory.settings.command_timeout)
        self._dialogue.admit()
        if not self._dialogue.awaiting:
            self._pump()

    def _begin_tls(self) -> None:
        """Begin the handshake; nothing more is understood until it has ended."""
        self._handshaking = True
        self._rearm(HANDSHAKE_SECONDS)
        guard = self._factory.guard
        assert guard is not None, "TLS is offered by a guard only"
        self._outlet.secure(guard.locks.certificates)
        if self._paused:  # while replies were stuck: the handshake is to be read
            self._paused = False
            self._transport.resumeProducing()

    def handshakeCompleted(self) -> None:
        """Go on inside TLS, anew (IHandshakeListener)."""
        self._handshaking = False
        handle, factory = self._outlet.handle(), self._factory
        self._facts.tls = self._entry.tls = describe(handle)
        guard = factory.guard
        assert guard is not None, "TLS is offered by a guard only"
        self._dialogue.secure(guard.inside(handle), handle)
        if guard.implicit:
            self._greet()
        else:
            self._rearm(factory.settings.command_timeout)
            self._entry.state = self._dialogue.session.state

    def dataReceived(self, data: bytes) -> None:
        """Take what the client sent."""
        length = len(data)
        self._entry.octets += length
        self._octets += length
        dialogue = self._dialogue
        wide = length == FileDescriptor.bufferSize and dialogue.session.state in CONTENT
        if wide and isinstance(self._transport, FileDescriptor):
            self._transport.bufferSize = WIDE_READ  # there is more: take it in fewer turns of the reactor
        dialogue.session.receive_data(data)
        if not (dialogue.awaiting or self._outlet.full or self._in_crowd):
            self._pump()
        elif not self._paused:
            self._paused = True
            self._transport.pauseProducing()
            if dialogue.session.state is State.CONNECTED and not dialogue.session.commands:
                self._facts.early = True  # it has not been greeted yet

    def connectionLost(self, reason: Failure) -> None:
        """Forget the transaction under way, unless it is being committed."""
        dialogue = self._dialogue
        if self._handshaking:
            self._fail_handshake(why_failed(reason.value))
        state = dialogue.session.state
        dialogue.end(f"lost in {state}" if state in UNDER_WAY else "")
        self._closed = True
        self._log_end(dialogue.why)
        self._entry.why = dialogue.why
        self._entry.close()
        self._outlet.release()
        self._factory.gone(self)

    def _fail_handshake(self, why: str) -> None:
        """Note why the handshake did not come to its end, once."""
        if not self._dialogue.over:
            self._dialogue.end(NOT_SHAKEN)
            self._factory.logbook.event("tls.failed", session=self._entry.id, peer=self._facts.peer, why=why)

    def __conform__(self, interface: object) -> object:
        """Let a client that has closed its side still get what it awaits; at other times its end is ours."""
        if interface is IHalfCloseableProtocol and (self._dialogue.awaiting or self._outlet.full) and not self._closed:
            return self
        return None

    def readConnectionLost(self) -> None:
        """Remember that the client sends no more (see ``__conform__``)."""
        self._half_closed = True

    def writeConnectionLost(self) -> None:
        """Do nothing: the client's end is told by ``connectionLost``."""

    def logPrefix(self) -> str:
        """Return the name Twisted's own log lines carry."""
        return "smtp"

    # What the factory and operators call.

    def kick(self, reason: str = "") -> bool:
        """End the session with 421 and the operator's ``reason`` -> False when a commit is answered first."""
        reason = reason.replace("{", "(").replace("}", ")")  # the reply is filled twice
        self._dismiss(r.ENDED_BECAUSE.fill(hostname="{hostname}", reason=reason) if reason else r.ENDED, "kicked")
        return self._parting is None

    def drain(self) -> None:
        """End the session with 421 as soon as no transaction is under way."""
        self._draining = True
        if not (self._dialogue.awaiting or self._dialogue.session.state in UNDER_WAY):
            self._dismiss(r.SHUTTING_DOWN, "shutdown")

    def cut(self) -> None:
        """End the session with 421, whatever it does: the grace is over."""
        self._dismiss(r.SHUTTING_DOWN, "grace over")

    def drop(self) -> None:
        """End the connection with nothing more sent."""
        self._transport.abortConnection()

    def expire(self, now: float) -> None:
        """End what has passed its deadline at ``now``, in seconds of the factory's clock."""
        allowed, late = self._allowed, now - self._since
        if late < allowed and not (late >= STRESS_SECONDS and self._factory.slots.stressed):
            return
        if self._handshaking:
            self._fail_handshake("timeout")
            self.drop()
            return
        if self._dialogue.awaiting or self._in_crowd:
            return
        if self._dialogue.session.state in CONTENT and self._octets >= LEAST_RATE * late and not self._outlet.full:
            self._rearm(self._factory.settings.data_timeout)
            return
        if self._closed or self._outlet.full:
            if not self._closed:
                self._dialogue.end("replies not read")
            self.drop()
        else:
            self._dismiss(r.TIMED_OUT, "timeout")

    def _dismiss(self, reply: Reply, why: str) -> None:
        if self._closed:
            return
        if self._handshaking:
            self._fail_handshake(why)
            self.drop()
            return
        if self._dialogue.committing:
            self._parting = (reply, why)  # the message may be kept: only its own answer may say so
            return
        words = reply.fill(hostname=self._factory.settings.hostname)
        if self._dialogue.close(words, why):
            self._pump()

    # The dialogue.

    def _pump(self) -> None:
        """Let the dialogue go as far as it can; then show where it stands, set the deadline, end what is to end."""
        dialogue = self._dialogue
        session, entry = dialogue.session, self._entry
        if self._parting is not None and not dialogue.committing:
            parting, self._parting = self._parting, None
            dialogue.close(parting[0].fill(hostname=self._factory.settings.hostname), parting[1])
        moved = dialogue.run(self._outlet)
        if session.state != entry.state:
            entry.state = session.state
        if moved:
            entry.commands = session.commands
            settings = self._factory.settings
            self._rearm(settings.data_timeout if session.state in CONTENT else settings.command_timeout)
        if dialogue.over:
            self._close()
        elif dialogue.awaiting:
            if dialogue.upgrading and not self._handshaking:
                self._begin_tls()
            return
        elif dialogue.crowding:
            self._join_crowd()
        elif self._draining and session.state not in UNDER_WAY:
            self._dismiss(r.SHUTTING_DOWN, "shutdown")
        elif self._half_closed and not self._outlet.full:
            dialogue.end()
            self._close()

    def _go_on(self) -> None:
        """Go on after an answer, or when replies have left."""
        dialogue, outlet = self._dialogue, self._outlet
        if self._closed or dialogue.awaiting or outlet.full or self._in_crowd:
            return
        self._pump()
        if self._paused and not (dialogue.awaiting or outlet.full or self._in_crowd):
            self._paused = False
            self._transport.resumeProducing()

    def _join_crowd(self) -> None:
        """Wait for a turn among those who have sent many commands at once; nothing is read meanwhile."""
        if not self._in_crowd:
            self._in_crowd = True
            self._factory.crowd.join(self)
        if not self._paused:
            self._paused = True
            self._transport.pauseProducing()

    def take_turn(self) -> None:
        """Go on where there was too much for one go; the crowd calls it."""
        self._in_crowd = False
        self._go_on()

    def _rearm(self, seconds: float) -> None:
        self._since = self._factory.clock.seconds()
        self._allowed = seconds
        self._octets = 0

    def _close(self) -> None:
        """Close our side, once."""
        if not self._closed:
            self._closed = True
            self._rearm(self._factory.settings.linger)
            lingering = self._outlet.close(linger=not (self._factory.stopping or self._half_closed))
            if lingering and self._paused:
                self._transport.resumeProducing()  # the client's end is to be seen
            self._paused = False

    def _log_end(self, why: str) -> None:
        entry = self._entry
        self._factory.logbook.event(
            "session.closed" if why in ORDINARY_ENDS else "session.fault",
            session=entry.id,
            kind="smtp-in",
            peer=self._facts.peer,
            why=why,
            cmds=entry.commands,
            msgs=entry.messages,
            octets=entry.octets,
            **({"proxy": self._facts.proxy} if self._facts.proxy else {}),
        )
