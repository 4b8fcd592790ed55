"""Connections to one filter: at most so many, kept for a while where the filter can take another client (floor 3)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory

from netsvc.policy.milter import codec
from netsvc.policy.milter.codec import MilterError
from netsvc.policy.milter.connection import MilterConnection
from netsvc.policy.milter.dialogue import Dialogue, Judgement, StaleError, Told, negotiate

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IStreamClientEndpoint

CONNECT_SECONDS = 5
IDLE_SECONDS = 20.0
MAX_USES = 100


def milter_endpoint(text: str, reactor: Any) -> IStreamClientEndpoint:
    """Return the endpoint ``unix:/path`` or ``tcp:host:port``; raises ValueError with a sentence for the operator."""
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest.startswith("/"):
        return UNIXClientEndpoint(reactor, rest, timeout=CONNECT_SECONDS)  # type: ignore[no-untyped-call] # Twisted's
    host, _, port = rest.rpartition(":")
    if kind == "tcp" and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return HostnameEndpoint(reactor, host.strip("[]"), int(port), timeout=CONNECT_SECONDS)
    raise ValueError(f'{text!r} is no filter: write "tcp:host:port" or "unix:/path"')


class MilterPool:
    """Asks one filter.  ``timeout`` is how long each of its answers may take, in seconds."""

    def __init__(
        self, endpoint: IStreamClientEndpoint, reactor: Any, *, connections: int, timeout: float, keep: bool
    ) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._reactor = reactor
        self._free = DeferredSemaphore(connections)
        self._keep = keep
        self._idle: list[tuple[MilterConnection, Any]] = []

    async def ask(self, told: Told, content: Any) -> Judgement:
        """Return the filter's judgement; raises MilterError, or what connecting failed with."""
        token = await self._free.acquire()
        try:
            try:
                return await self._ask(told, content, self._kept() or await self._connect())
            except StaleError:
                return await self._ask(told, content, await self._connect())
        finally:
            token.release()

    async def _ask(self, told: Told, content: Any, connection: MilterConnection) -> Judgement:
        dialogue = Dialogue(connection, told, content)
        try:
            judgement = await dialogue.run()
        except BaseException:  # cancelled at the deadline, too
            connection.lose()
            raise
        self._give_back(connection, judgement)
        return judgement

    async def _connect(self) -> MilterConnection:
        try:
            factory = Factory.forProtocol(partial(MilterConnection, self._reactor, self._timeout))
            connecting: Deferred[Any] = self._endpoint.connect(factory)
            connection: MilterConnection = await connecting
        except ConnectError as error:
            raise MilterError(f"the filter cannot be reached: {error}") from error
        try:
            await negotiate(connection)
        except BaseException:
            connection.lose()
            raise
        return connection

    def _kept(self) -> MilterConnection | None:
        while self._idle:
            connection, timer = self._idle.pop()
            timer.cancel()
            if connection.gone is None:
                return connection
        return None

    def _give_back(self, connection: MilterConnection, judgement: Judgement) -> None:
        """Keep a connection whose message has come to its end, or close it."""
        if connection.gone is not None:
            return
        unwilling = judgement.answer.kind in {"fail", "shutdown"}
        if unwilling or not self._keep or connection.used >= MAX_USES:
            connection.close(codec.QUIT)
            return
        connection.send(codec.NEXT_CLIENT if judgement.whole else codec.ABORT + codec.NEXT_CLIENT)
        self._idle.append((connection, self._reactor.callLater(IDLE_SECONDS, self._expire, connection)))

    def _expire(self, connection: MilterConnection) -> None:
        self._idle = [entry for entry in self._idle if entry[0] is not connection]
        connection.close(codec.QUIT)

    def stop(self) -> None:
        """Close what is kept."""
        idle, self._idle = self._idle, []
        for connection, timer in idle:
            if timer.active():
                timer.cancel()
            connection.close(codec.QUIT)
