"""Connections begun to a host's addresses, raced (RFC 8305): the first that answers is taken, the others are let go.

The next address is tried when one fails, or when HEAD_START has passed without an
answer.  What failed lately is tried last, whoever found out (``Troubles``).
"""

from __future__ import annotations

from os import strerror
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TooLate

from netsvc.delivery.faults import AttemptError
from netsvc.mail.outcome import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from netsvc.delivery.transcript import Transcript
    from netsvc.delivery.wire import Wire, WireFactory

CONNECT_PATIENCE = 30
"""Seconds for one connection."""
HEAD_START = 0.25
"""Seconds an address has for itself (RFC 8305 5)."""
TROUBLE = 60.0
"""Seconds in which an address that failed is tried after the others."""
MOST_TROUBLES = 10_000


class Troubles:
    """Addresses that failed lately."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until: dict[tuple[str, int], tuple[float, AttemptError]] = {}

    def failed(self, address: str, port: int, why: AttemptError) -> None:
        """Note that a connection there could not be opened, or came to nothing."""
        if len(self._until) >= MOST_TROUBLES:
            now = self._now()
            self._until = {key: (until, told) for key, (until, told) in self._until.items() if until > now}
            if len(self._until) >= MOST_TROUBLES:
                self._until.clear()
        told = AttemptError(why.fault, why.words, why.status)  # what was raised holds on to all it went through
        self._until[address, port] = self._now() + TROUBLE, told

    def worked(self, address: str, port: int) -> None:
        """Note that a host is well there."""
        if self._until:
            self._until.pop((address, port), None)

    def lately(self, address: str, port: int) -> bool:
        """Say whether it failed lately."""
        return bool(self._until) and self.why(address, port) is not None

    def why(self, address: str, port: int) -> AttemptError | None:
        """Return what it was that failed lately, None where nothing did."""
        until, told = self._until.get((address, port), (0.0, None))
        return told if until > self._now() else None


class Dialer:
    """Begins connections on ``reactor``; ``factory`` makes their wires."""

    def __init__(self, reactor: Any, factory: WireFactory, now: Callable[[], float]) -> None:
        self.reactor = reactor
        self.factory = factory
        self.troubles = Troubles(now)

    def dial(self, addresses: Sequence[str], port: int, record: Transcript, factory: WireFactory | None = None) -> Race:
        """Return the race of connections to ``addresses``, at least one; ``race.won`` is a Deferred[Wire].

        An address that begins with ``/`` is a socket's path.  ``factory`` makes other wires than usual.

        It fails with AttemptError where none was made; cancelled, it leaves nothing behind.
        """
        lately = self.troubles.lately
        ordered = sorted(addresses, key=lambda address: lately(address, port))
        race = Race(self, ordered, port, record, factory or self.factory)
        race.go_on()
        return race


class Race:
    """Connections under way to the addresses of one host.  ``tried``: those that failed, and the one that answered."""

    def __init__(
        self, dialer: Dialer, addresses: Sequence[str], port: int, record: Transcript, factory: WireFactory
    ) -> None:
        self._dialer = dialer
        self._left = list(reversed(addresses))
        self._port = port
        self._record = record
        self._factory = factory
        self._under_way: dict[str, Deferred[Any]] = {}
        self._next: IDelayedCall | None = None
        self._over = False
        self.tried: list[str] = []
        self.won: Deferred[Wire] = Deferred(lambda _: self._end())

    def go_on(self) -> None:
        """Begin the next connection; there is one."""
        self._next = None
        address = self._left.pop()
        self._record.note(f"connecting to [{address}]:{self._port}" if self._port else f"connecting to {address}")
        endpoint = self._endpoint(address)
        if self._left:
            self._next = self._dialer.reactor.callLater(HEAD_START, self.go_on)
        connecting = self._under_way[address] = endpoint.connect(self._factory)
        connecting.addCallbacks(self._answered, self._failed, callbackArgs=(address,), errbackArgs=(address,))
        connecting.addErrback(self.won.errback)

    def _endpoint(self, address: str) -> Any:
        reactor = self._dialer.reactor
        if address.startswith("/"):
            return UNIXClientEndpoint(reactor, address, CONNECT_PATIENCE)  # type: ignore[no-untyped-call] # Twisted's has no types
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        return kind(reactor, address, self._port, timeout=CONNECT_PATIENCE)

    def _answered(self, wire: object, address: str) -> None:
        del self._under_way[address]
        self.tried.append(address)
        self._end()
        self.won.callback(cast("Wire", wire))

    def _failed(self, failure: Failure, address: str) -> None:
        self._under_way.pop(address, None)
        if self._over:
            return
        why = _told(failure)
        self.tried.append(address)
        self._dialer.troubles.failed(address, self._port, why)
        self._record.note(why.words if not self._left and not self._under_way else f"[{address}]: {why.words}")
        if self._left:
            if self._next is not None:
                self._next.cancel()
            self.go_on()
        elif not self._under_way:
            self._over = True
            self.won.errback(why)

    def _end(self) -> None:
        """Let go of what is still under way."""
        self._over = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        for connecting in list(self._under_way.values()):
            connecting.cancel()


def _told(failure: Failure) -> AttemptError:
    """Return what is told of a connection that was not made."""
    why = failure.value
    if isinstance(why, TooLate):
        return AttemptError(Fault.CONNECT_TIMEOUT, "connection timed out", "4.4.1")
    if isinstance(why, Refused):
        return AttemptError(Fault.CONNECT_REFUSED, "connection refused", "4.4.1")
    if isinstance(why, (ConnectError, OSError)):
        number = getattr(why, "osError", None)
        named = strerror(number) if isinstance(number, int) else getattr(why, "strerror", None)
        reason = named or str(why) or type(why).__name__
        return AttemptError(Fault.CONNECT_FAILED, f"cannot connect: {reason}", "4.4.1")
    failure.raiseException()
    raise AssertionError  # it has raised
