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
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from zope.interface import implementer

from netsvc.mail import reply as r
from netsvc.mail.envelope import SessionFacts
from netsvc.smtp.states import UNDER_WAY, State
from netsvc.smtpd.dialogue import Dialogue
from netsvc.smtpd.outlet import Outlet

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, ITransport
    from twisted.python.failure import Failure

    from netsvc.interfaces import ISessionEntry
    from netsvc.mail.reply import Reply
    from netsvc.smtpd.factory import SmtpFactory
    from netsvc.smtpd.outlet import Transport

WIDE_READ = 256 << 10
"""Octets read at once from a client that has shown that it sends much."""

MIN_PROGRESS = 30_000
"""Octets of content that are worth another ``data_timeout``: 100 a second."""

ORDINARY_ENDS = frozenset({"quit", "closed", "shutdown"})
"""Ends that are logged only for whoever looks for a fault."""


def peer_of(address: IAddress) -> tuple[str, int, bool]:
    """Return (IP address as text or "local", port, whether it is this host) of a peer."""
    host = getattr(address, "host", None)
    if host is None:
        return "local", 0, True
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return host, getattr(address, "port", 0), host.startswith("127.") or host == "::1"


@implementer(IProtocol)
class SmtpConnection:
    """The protocol of one client."""

    __slots__ = (
        "_closed",
        "_deadline",
        "_dialogue",
        "_draining",
        "_entry",
        "_factory",
        "_facts",
        "_half_closed",
        "_octets",
        "_outlet",
        "_parting",
        "_paused",
        "_transport",
    )

    _transport: Transport
    _outlet: Outlet
    _entry: ISessionEntry
    _facts: SessionFacts
    _dialogue: Dialogue

    def __init__(self, factory: SmtpFactory) -> None:
        """Be ready for ``makeConnection``."""
        self._factory = factory
        self._parting: tuple[Reply, str] | None = None  # the end that waits for a commit
        self._paused = False  # the transport reads nothing
        self._draining = False  # the service stops: no further transaction
        self._half_closed = False  # the client sends no more
        self._closed = False  # our side is closed, or is once all is sent
        self._deadline = 0.0
        self._octets = 0  # received since the deadline was set

    # What Twisted calls.

    def makeConnection(self, transport: ITransport) -> None:
        """Take the transport: any stream transport with what TCP's has."""
        self._transport = cast("Transport", transport)
        self.connectionMade()

    def connectionMade(self) -> None:
        """Register the session and greet."""
        factory = self._factory
        settings = factory.settings
        host, port, loopback = peer_of(self._transport.getPeer())
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
            max_message_size=settings.max_message_size,
        )
        self._dialogue = Dialogue(
            factory.terms, factory.service, factory.logbook, who=(self._facts, entry), answered=self._go_on
        )
        entry.transaction = self._dialogue.transaction
        factory.opened(self)
        self._rearm(settings.command_timeout)
        greeting = self._dialogue.session.take_output()
        self._outlet.write(greeting)
        entry.keep(b"", greeting)

    def dataReceived(self, data: bytes) -> None:
        """Take what the client sent."""
        length = len(data)
        self._entry.octets += length
        self._octets += length
        if length == FileDescriptor.bufferSize and isinstance(self._transport, FileDescriptor):
            self._transport.bufferSize = WIDE_READ  # there is more: take it in fewer turns of the reactor
        dialogue = self._dialogue
        dialogue.session.receive_data(data)
        if not (dialogue.awaiting or self._outlet.full):
            self._pump()
        elif not self._paused:
            self._paused = True
            self._transport.pauseProducing()

    def connectionLost(self, reason: Failure) -> None:
        """Forget the transaction under way, unless it is being committed."""
        del reason
        dialogue = self._dialogue
        state = dialogue.session.state
        dialogue.end(f"lost in {state}" if state in UNDER_WAY else "")
        self._closed = True
        self._log_end(dialogue.why)
        self._entry.why = dialogue.why
        self._entry.close()
        self._outlet.release()
        self._factory.gone(self)

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
        if now < self._deadline or self._dialogue.awaiting:
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
            self._rearm(self._factory.settings.command_timeout)
        elif self._octets >= MIN_PROGRESS and session.state is State.DATA:
            self._rearm(self._factory.settings.data_timeout)
        if dialogue.over:
            self._close()
        elif dialogue.awaiting:
            return
        elif self._draining and session.state not in UNDER_WAY:
            self._dismiss(r.SHUTTING_DOWN, "shutdown")
        elif self._half_closed and not self._outlet.full:
            dialogue.end()
            self._close()

    def _go_on(self) -> None:
        """Go on after an answer, or when replies have left."""
        dialogue, outlet = self._dialogue, self._outlet
        if self._closed or dialogue.awaiting or outlet.full:
            return
        self._pump()
        if self._paused and not (dialogue.awaiting or outlet.full):
            self._paused = False
            self._transport.resumeProducing()

    def _rearm(self, seconds: float) -> None:
        self._deadline = self._factory.clock.seconds() + seconds
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
        )
