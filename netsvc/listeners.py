"""Listeners: configured ports that are bound early and served late (floor 7, beside tap).

A port is bound while the process may still bind it (before ``--uid`` takes
effect) and a fault there stops the start.  Connections are accepted only when
the door behind the port stands; until then they wait in the backlog.
"""

from __future__ import annotations

import errno
import ipaddress
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from zope.interface import implementer

from netsvc.accepting import SPARES, be_patient, limit_output
from netsvc.config.endpoint import split_endpoint
from netsvc.config.listener import CLEARTEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IStreamServerEndpoint

    from netsvc.config.listener import ListenerConfig
    from netsvc.interfaces import IDoors
    from netsvc.logbook import Logbook
    from netsvc.records import DoorRule

BACKLOG: Final = 1024
"""Connections the kernel keeps for us where the endpoint does not say; the kernel has a limit of its own."""
TELL_SECONDS: Final = 60.0
"""Seconds between two log lines of one listener about connections that were kept out."""
STOP_SECONDS: Final = 60
"""How long a door may take to end its sessions."""


class ListenerError(Exception):
    """A port cannot be had.  The text is one line: which listener, why, and the option that helps."""


@implementer(IProtocolFactory)
class Gate:
    """The factory a port is bound with: passes connections to the ``door`` once there is one.

    ``doors`` says who is kept out, before anything else is done for a connection; operators are not (``guarded`` is
    False then), but for a pause.  A door may have ``turn_away(rule, host)`` -> protocol, to say a last word.
    """

    noisy = False

    def __init__(self, config: ListenerConfig, address: Callable[[], str], logbook: Logbook, reactor: Any) -> None:
        self.door: IProtocolFactory | None = None
        self.doors: IDoors | None = None
        self.name = config.name
        self.protocol = config.protocol
        self.tls = str(config.settings.get("tls", "none"))
        self.guarded = True
        self.accepted = self.refused = 0
        self._address = address
        self._logbook = logbook
        self._reactor = reactor
        self._started = 0
        self._told: float | None = None
        self._untold = 0

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._address()

    def open(self, door: IProtocolFactory) -> None:
        """Let connections through to ``door``."""
        self.door = door
        self.guarded = not getattr(door, "for_operators", False)
        if self._started:
            door.doStart()

    def doStart(self) -> None:
        """See IProtocolFactory."""
        self._started += 1

    def doStop(self) -> None:
        """See IProtocolFactory."""
        self._started -= 1
        if self.door is not None:
            self.door.doStop()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """See IProtocolFactory."""
        door, doors = self.door, self.doors
        if door is None:
            return None
        if doors is not None:
            host = getattr(addr, "host", None)
            rule = doors.paused(self.name)
            if rule is None and host is not None and self.guarded:
                rule = doors.blocked(host)
            if rule is not None:
                return self._turn_away(door, rule, host or "local")
        protocol = door.buildProtocol(addr)
        if protocol is None or getattr(protocol, "refusal", False):
            self.refused += 1
        else:
            self.accepted += 1
        return protocol

    def _turn_away(self, door: IProtocolFactory, rule: DoorRule, host: str) -> IProtocol | None:
        """Keep a connection out; now and then the log says how many there were."""
        self.refused += 1
        self._untold += 1
        now = self._reactor.seconds()
        if self._told is None or now >= self._told + TELL_SECONDS:
            count, self._untold, self._told = self._untold, 0, now
            self._logbook.event("peer.turned_away", listener=self.name, peer=host, why=rule.key, count=count)
        last_word: Callable[[DoorRule, str], IProtocol] | None = getattr(door, "turn_away", None)
        return None if last_word is None else last_word(rule, host)


class Listener(Service):
    """One configured port: ``bind``, then ``serve`` a door on it, then ``stopService``."""

    def __init__(self, config: ListenerConfig, logbook: Logbook, reactor: Any) -> None:
        self.config = config
        self._logbook = logbook
        self._reactor = reactor
        self._gate = Gate(config, lambda: self.address, logbook, reactor)
        self._port: IListeningPort | None = None
        self.name = f"listener {config.name}"

    @property
    def address(self) -> str:
        """Where it listens, ``host:port`` or a path; the endpoint's text while it is not bound."""
        return self.config.endpoint.text if self._port is None else show_address(self._port.getHost())

    def bind(self) -> None:
        """Take the port, without accepting on it; raises ListenerError."""
        try:
            endpoint: IStreamServerEndpoint = serverFromString(  # type: ignore[no-untyped-call] # Twisted's has no types
                self._reactor, self._endpoint()
            )
            listening = endpoint.listen(self._gate)
        except Exception as error:  # endpoint parsers, plugins' too, raise whatever they like
            raise ListenerError(self._explain(error)) from error
        results: list[Any] = []
        listening.addCallbacks(results.append, lambda failure: results.append(failure.value))
        if not results:
            listening.cancel()
            raise ListenerError(self._explain(TimeoutError("it does not listen at once")))
        if isinstance(results[0], BaseException):
            raise ListenerError(self._explain(results[0])) from results[0]
        port = self._port = results[0]
        spares = SPARES
        if self.config.protocol == "smtp":
            spares = 0
            limit_output(port)
        be_patient(port, self.config.name, self._logbook, self._reactor, spares=spares)
        pause = getattr(port, "stopReading", None)
        if pause is not None:
            pause()
        self._check_cleartext()
        self._logbook.debug("listener.bound", listener=self.config.name, address=self.address)

    def _endpoint(self) -> str:
        endpoint = self.config.endpoint
        words, keys = split_endpoint(endpoint.text)
        if endpoint.kind in ("tcp", "tcp6") and "backlog" not in keys and len(words) <= 3:
            return f"{endpoint.text}:backlog={BACKLOG}"
        return endpoint.text

    def _check_cleartext(self) -> None:
        """Refuse clear-text passwords from elsewhere, where only the bound socket tells its address (S1)."""
        host = getattr(self._port.getHost() if self._port else None, "host", None)
        settings = self.config.settings
        if settings.get(CLEARTEXT, True) or settings.get("tls") == "implicit" or host is None:
            return
        if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            self.unbind()
            raise ListenerError(
                f"listener {self.config.name}: {self.config.endpoint.text} can be reached from elsewhere, and "
                f"passwords would cross the network in clear text; name who may connect: {CLEARTEXT} = [...]"
            )

    def _explain(self, error: BaseException) -> str:
        """Return the one line an operator needs."""
        name, endpoint = self.config.name, self.config.endpoint
        cause = error.socketError if isinstance(error, CannotListenError) else error
        number = getattr(cause, "errno", None)
        other = f"--listen {name}=tcp:PORT:interface=ADDRESS"
        if number == errno.EACCES:
            why = "permission denied"
            remedy = f"start as root with twistd --uid, use systemd's sockets, or choose another port with {other}"
        elif number == errno.EADDRINUSE:
            why, remedy = "it is in use", f"end what listens there, or choose another port with {other}"
        elif number == errno.EADDRNOTAVAIL:
            why, remedy = "this host has no such address", f"choose another interface with {other}"
        elif endpoint.kind == "systemd" and isinstance(error, KeyError | IndexError):
            why = "systemd passed no such socket"
            remedy = f"set FileDescriptorName= in the socket unit, or listen without it with {other}"
        else:
            text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
            why, remedy = text, f"choose another endpoint with {other}"
        return f"listener {name}: cannot bind {endpoint.text}: {why}; {remedy}"

    def serve(self, door: IProtocolFactory, doors: IDoors | None = None) -> None:
        """Accept connections for ``door`` from now on, the waiting ones first; ``doors`` says who is kept out."""
        self._gate.open(door)
        if doors is not None:
            self._gate.doors = doors
            doors.attach(self._gate)
        resume = getattr(self._port, "startReading", None)
        if resume is not None:
            resume()
        self._logbook.event(
            "listener.serving", listener=self.config.name, protocol=self.config.protocol, address=self.address
        )

    def unbind(self) -> Deferred[None]:
        """Give the port back -> Deferred[None]; safe any number of times."""
        port, self._port = self._port, None
        stopping = None if port is None else port.stopListening()
        return succeed(None) if stopping is None else stopping

    def stopService(self) -> Deferred[None]:
        """Stop accepting, then end the door's sessions -> Deferred[None]; it never fails."""
        self.running = 0
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await self.unbind()
            stop = getattr(self._gate.door, "stop", None)
            if stop is not None:
                await maybeDeferred(stop).addTimeout(STOP_SECONDS, self._reactor)
        except Exception:  # noqa: BLE001 - a door's mistake must not keep the others from ending
            self._logbook.failure("service.failed", None, stage=f"stopping listener {self.config.name}")
        if self._gate.door is not None:
            self._logbook.event("listener.closed", listener=self.config.name)


def show_address(address: object) -> str:
    """Return a Twisted address as ``host:port``, ``[host]:port`` or a path."""
    host = getattr(address, "host", None)
    if host is not None:
        return f"[{host}]:{getattr(address, 'port', 0)}" if ":" in host else f"{host}:{getattr(address, 'port', 0)}"
    name = getattr(address, "name", None)
    if isinstance(name, bytes):
        return name.decode("utf-8", "backslashreplace")
    return str(name or address)
