"""The life of a node: binds, then (privileges dropped) opens the house, then serves; and all of it backwards (floor 7).

Nothing is half-started: whatever fails, what stood is taken down again, one line
says why, and the process ends with a status other than 0.
"""

from __future__ import annotations

import atexit
import os
import resource
import sys
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IProtocolFactory

import netsvc
from netsvc.certificates.keyfiles import CertificateError
from netsvc.listeners import Listener, ListenerError
from netsvc.mail.escape import escape
from netsvc.notify import notify

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from netsvc.certificates.shelf import Certificates
    from netsvc.config.node import NodeConfig
    from netsvc.interfaces import IHouse, IProtocolMaker
    from netsvc.logbook import Logbook

    Opening = Callable[["NodeConfig", "Logbook", Any, "Undo"], Coroutine[Any, Any, IHouse]]
    """Opens the house: (config, logbook, reactor, undo) -> IHouse."""

STOP_SECONDS: Final = 60
"""How long each part may take to stop before it is left behind."""
MAX_OPEN_FILES: Final = 65_536
LEARNED: Final = 8 << 20
"""Octets of the block the C library learns from."""
EXIT_FAILED: Final = 1


class StartError(Exception):
    """The service cannot start, in words fit to be shown; names what to do about it."""


class Undo:
    """What was started and has to be stopped, last first."""

    def __init__(self, logbook: Logbook, reactor: Any) -> None:
        self._logbook = logbook
        self._reactor = reactor
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def push(self, what: str, stop: Callable[[], object]) -> None:
        """Remember how to stop ``what``; ``stop`` may return a Deferred."""
        self._steps.append((what, stop))

    async def run(self) -> None:
        """Stop all of it, last first.  What fails or takes too long is told, and the rest goes on."""
        while self._steps:
            what, stop = self._steps.pop()
            try:
                await maybeDeferred(stop).addTimeout(STOP_SECONDS, self._reactor)
            except Exception:  # noqa: BLE001 - the others must stop all the same
                self._logbook.failure("service.failed", None, stage=f"stopping {what}")


class NodeService(MultiService):
    """One node, as twistd sees it."""

    def __init__(
        self,
        config: NodeConfig,
        makers: Mapping[str, IProtocolMaker],
        opening: Opening,
        logbook: Logbook,
        reactor: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Twisted's has no types
        self.config = config
        self.failed = False
        self.say_failure: Callable[[str], object] = complain_on_stderr
        self.before_giving_up: Callable[[str], object] | None = None
        self.gather_log: Callable[[Callable[..., object] | None], object] | None = None
        self.certificates: Certificates | None = None
        self._makers = makers
        self._opening = opening
        self._logbook = logbook
        self._reactor = reactor
        self._undo = Undo(logbook, reactor)
        self._begun: Deferred[None] | None = None
        self._stopping = False
        self.listeners = [Listener(listener, logbook, reactor) for listener in config.listeners]
        for listener in self.listeners:
            listener.setServiceParent(self)  # type: ignore[no-untyped-call] # Twisted's has no types

    def privilegedStartService(self) -> None:
        """Read the keys and bind every listener; raises SystemExit after one clear line when that cannot be done."""
        raise_file_limit()
        keep_large_buffers()
        super().privilegedStartService()  # type: ignore[no-untyped-call] # Twisted's has no types
        try:
            if self.certificates is not None:
                self.certificates.load()
            for listener in self.listeners:
                listener.bind()
        except (CertificateError, ListenerError) as error:
            for listener in self.listeners:
                listener.unbind()
            stage = "binding" if isinstance(error, ListenerError) else "reading certificates"
            self._logbook.error("service.failed", stage=stage, why=str(error))
            self.say_failure(str(error))
            if self.before_giving_up is not None:
                self.before_giving_up(str(error))
            raise SystemExit(EXIT_FAILED) from None

    def startService(self) -> None:
        """Open the house and serve; it ends later, and what goes wrong stops the reactor."""
        super().startService()  # type: ignore[no-untyped-call] # Twisted's has no types
        self._logbook.event(
            "service.starting",
            version=netsvc.__version__,
            hostname=self.config.hostname,
            config=str(self.config.file or "built-in defaults"),
            store=self.config.store,
        )
        self._begun = Deferred.fromCoroutine(self._begin())
        self._begun.addErrback(self._give_up)

    async def _begin(self) -> None:
        started = self._reactor.seconds()
        house = await self._opening(self.config, self._logbook, self._reactor, self._undo)
        doors = [(listener, self._door(listener, house)) for listener in self.listeners]
        if self._stopping:
            return
        for listener, door in doors:
            listener.serve(door, house.mailbox_service.doors)
        self._logbook.event(
            "service.started",
            version=netsvc.__version__,
            hostname=self.config.hostname,
            listeners=[f"{listener.config.name}={listener.address}" for listener in self.listeners],
            took_ms=round((self._reactor.seconds() - started) * 1000),
        )
        if self.gather_log is not None:
            self.gather_log(self._reactor.callLater)
        notify("READY=1", f"MAINPID={os.getpid()}", "STATUS=serving")

    def _door(self, listener: Listener, house: IHouse) -> IProtocolFactory:
        """Return the factory the listener's plugin makes; raises StartError."""
        config = listener.config
        try:
            door = self._makers[config.protocol].make(house, config.settings)
        except ValueError as error:
            raise StartError(f"listener {config.name}: {error}") from None
        except Exception as error:  # noqa: BLE001 - a stranger's code
            self._logbook.failure("plugin.broken", error, module=config.protocol, listener=config.name)
            raise StartError(
                f"listener {config.name}: the plugin for {config.protocol} failed: {type(error).__name__}: {error}; "
                f"its traceback is in the log"
            ) from None
        if not IProtocolFactory.providedBy(door):
            raise StartError(f"listener {config.name}: the plugin for {config.protocol} made no IProtocolFactory")
        return door

    def _give_up(self, failure: Any) -> None:
        """Say why the start failed, and have the process end with a status other than 0."""
        self.failed = True
        error = failure.value
        why = escape(str(error) or type(error).__name__, 1000)
        if isinstance(error, StartError):
            self._logbook.error("service.failed", stage="starting", why=why)
        else:
            self._logbook.failure("service.failed", failure, stage="starting")
        self.say_failure(why)
        exit_later(EXIT_FAILED)
        self._reactor.callWhenRunning(self._stop_reactor)

    def _stop_reactor(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            return  # it is on its way already

    def stopService(self) -> Deferred[None]:
        """Stop accepting, end the sessions, then the house, the store last -> Deferred[None]; it never fails."""
        self._stopping = True
        if self.gather_log is not None:
            self.gather_log(None)
        notify("STOPPING=1")
        self._logbook.event("service.stopping", hostname=self.config.hostname)
        self.running = 0
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        if self._begun is not None:
            try:
                await self._begun.addTimeout(STOP_SECONDS, self._reactor)
            except Exception:  # noqa: BLE001 - a start that hangs must not keep us from stopping
                self._logbook.failure("service.failed", None, stage="starting")
        await gatherResults([listener.stopService() for listener in self.listeners])
        await self._undo.run()
        self._logbook.event("service.stopped", hostname=self.config.hostname)


def keep_large_buffers() -> None:
    """Have the C library keep freed buffers of some MiB instead of mapping each anew.

    glibc learns from the largest mapped block that was ever freed.  Elsewhere this does nothing.
    """
    block = bytearray(LEARNED)
    del block


def raise_file_limit() -> None:
    """Ask for as many open files as we are allowed: each session is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def complain_on_stderr(line: str) -> None:
    """Write one line to the standard error the process was started with."""
    stream = sys.__stderr__
    if stream is not None:
        stream.write(f"netsvc: {escape(line, 1000)}\n")
        stream.flush()


def exit_later(status: int) -> None:
    """Have the process end with ``status`` when it ends: twistd itself ends with 0 whenever the reactor stopped."""

    def leave() -> None:
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
        os._exit(status)

    atexit.register(leave)
