"""One Telnet connection of the console: the Twisted shell around the silent Telnet rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from zope.interface import implementer

from netsvc.console import login
from netsvc.console.door import Door
from netsvc.console.shell import IdleWatch, Shell
from netsvc.console.terminal import TYPED_AHEAD
from netsvc.telnet.codec import Flooded, encode
from netsvc.telnet.display import Drawing
from netsvc.telnet.session import (
    MARK,
    AbortOutput,
    AreYouThere,
    EchoChanged,
    MarkWanted,
    Named,
    Resized,
    SessionEvent,
    TelnetSession,
    Typed,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from netsvc.console.telnet import TelnetFactory

NEGOTIATIONS_A_SECOND: Final = 64
TYPED_AHEAD_OF_LOGIN: Final = 8 * 1024
ECHO_SECONDS: Final = 1.0
_TLS: Final = b"\x16\x03"


@implementer(IHandshakeListener)
class TelnetDoor(Door):
    """One connection.  ``user`` is who has logged in, '' before."""

    def __init__(self, factory: TelnetFactory, peer: str) -> None:
        super().__init__(factory.house, peer, factory.forget)
        self.listener = factory
        self.user = ""
        self._telnet = TelnetSession()
        self._login_timer: IDelayedCall | None = None
        self._echo_waiter: Deferred[bool] | None = None
        self._began = self._second = self.house.clock.seconds()
        self._first = True
        self._capable = False
        self._scripted = False
        self._mark = 0
        self._answered = -1.0

    def connectionMade(self) -> None:
        """Greet, and begin the conversation: opening, banner and first prompt in one write."""
        settings = self.listener.settings
        self.begin(encode, listener=settings.listener, state="login")
        self.terminal.typed_ahead = TYPED_AHEAD_OF_LOGIN
        self._login_timer = self.house.clock.callLater(settings.login_timeout, self._too_late)
        self.outflow.cork()
        self._telnet.open()
        self.outflow.write(self._telnet.take())
        if not self.listener.is_loopback(self.peer) and not settings.encrypted:
            self.terminal.write(login.WARNING + "\n")
        self.terminal.write(login.BANNER + "\n")
        self.converse(self._converse())
        self.outflow.uncork()

    def handshakeCompleted(self) -> None:
        """Note what the connection is encrypted with (IHandshakeListener)."""
        handle = getattr(self.transport, "getHandle")()  # noqa: B009 - a TLS transport's, whose type mypy is not told
        self.entry.tls = f"{handle.get_protocol_version_name()} {handle.get_cipher_name()}"

    def dataReceived(self, data: bytes) -> None:
        """Take what came."""
        self.entry.octets += len(data)
        if self._first:
            self._first = False
            if data.startswith(_TLS):
                self.drop("the client speaks TLS")
                return
        events = self._telnet.receive(data)
        self.outflow.write(self._telnet.take())
        if self._telnet.echo is False and self.session is None and data.endswith(b"\r"):
            # No keyboard sends a bare CR and shows what it sends by itself: a program that refuses every option out
            # of habit, and looks for its commands in what comes back (netmiko).
            self._scripted = True
            self._redraw()
        if self._flooding():
            self.drop("too many negotiations")
            return
        for event in events:
            self._take(event)

    def connectionLost(self, reason: Any = None) -> None:
        """End whatever still runs."""
        self._cancel_login_timer()
        super().connectionLost(reason)
        self._settle_echo()

    def _too_late(self) -> None:
        self._login_timer = None
        self.end("no login in time", "Too late.")

    def _idle(self) -> None:
        self.end("idle", "Nothing was typed for too long: goodbye.")

    def _cancel_login_timer(self) -> None:
        timer, self._login_timer = self._login_timer, None
        if timer is not None:
            timer.cancel()

    # -- what the client says ------------------------------------------------------------------

    def _flooding(self) -> bool:
        now = self.house.clock.seconds()
        if now - self._second >= 1.0:
            self._second = now
            self._mark = self._telnet.commands
        return self._telnet.commands - self._mark > NEGOTIATIONS_A_SECOND

    def _take(self, event: SessionEvent) -> None:
        terminal = self.terminal
        if isinstance(event, Typed):
            terminal.feed(event.data)
            if terminal.ahead:  # whoever types on does not need the note any more
                self._settle_echo()
        elif isinstance(event, EchoChanged | Named):
            if isinstance(event, Named):
                self._capable = event.capable
            self._settle_echo()
            self._redraw()
        elif isinstance(event, Resized):
            terminal.resize(event.columns, event.rows)
        elif isinstance(event, MarkWanted):
            self.outflow.write(MARK)
        elif isinstance(event, AbortOutput):
            terminal.discard_output()
        elif isinstance(event, AreYouThere):
            self._answer()
        else:
            assert isinstance(event, Flooded)
            self.drop(event.why)

    def _redraw(self) -> None:
        """Draw as the client has agreed to and its terminal can; a program in machine mode is never drawn for."""
        if self.session is not None and not self.terminal.interactive:
            return
        if self._scripted:
            drawing = Drawing.PLAIN
        elif not self._telnet.echo:
            drawing = Drawing.SILENT
        else:
            drawing = Drawing.FULL if self._capable and self._telnet.agreed else Drawing.PLAIN
        self.terminal.draw_as(drawing)

    def _answer(self) -> None:
        """Answer AYT, at most once a second."""
        now = self.house.clock.seconds()
        if now - self._answered >= 1.0:
            self._answered = now
            self.terminal.write(f"[{self.house.hostname}: yes]\n")

    # -- the conversation ------------------------------------------------------------------------

    async def _echo_settled(self) -> bool:
        """Whether we echo: waits for the answer until a second after the connection, or until somebody types."""
        if self._telnet.echo is None:
            left = self._began + ECHO_SECONDS - self.house.clock.seconds()
            if left > 0 and not self.terminal.closed:
                waiter: Deferred[bool] = Deferred()
                self._echo_waiter = waiter
                timer = self.house.clock.callLater(left, self._settle_echo)
                await waiter
                if timer.active():
                    timer.cancel()
        return bool(self._telnet.echo) or self._scripted

    def _settle_echo(self) -> None:
        waiter, self._echo_waiter = self._echo_waiter, None
        if waiter is not None:
            waiter.callback(True)

    async def _converse(self) -> None:
        listener, terminal = self.listener, self.terminal
        house = self.house
        source = f"telnet {self.peer}"

        async def report(name: str, operator: Any, why: str) -> None:
            await self.report(name, operator, why, source)

        visitor = login.Visitor(self.peer, house.portal, house.clock, self._echo_settled, report)
        entrance = await login.log_in(terminal, visitor)
        self._cancel_login_timer()
        if entrance is None or terminal.closed:
            return
        operator = entrance.operator
        if not listener.admit(self, operator.name):
            terminal.write("Too many sessions.\n")
            return
        self.session = house.console.open(operator, source)
        self.session.id = self.entry.id
        self.entry.user, self.entry.state = operator.name, "command"
        terminal.typed_ahead = TYPED_AHEAD
        watch = IdleWatch(terminal, self.house.clock, self._idle, listener.settings.idle_timeout)
        shell = Shell(self.session, terminal, self.outflow.write, self.count)
        if entrance.machine:
            terminal.write("\n")  # hello begins a line, though a client that does not echo left us behind the prompt
        try:
            await (shell.serve() if entrance.machine else shell.talk())
        finally:
            watch.stop()
            self.session.close()
