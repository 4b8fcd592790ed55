"""The control socket: the console for whoever is root, or the service's own user, on this machine.

It speaks machine mode at once.  A first line ``terminal human COLUMNSxROWS TERM``
starts the human shell instead: keys come as they are typed, and window changes
as ``CSI 8 ; rows ; columns t``.  With 0x0 nobody is there to be asked or
prompted.  With the word ``once`` behind it the second line is the one command
to run; a NUL and the machine-mode end object follow what it shows.  With the
word ``script`` all lines are run, and the end object is that of the first
command that failed, when one did.

Who connects is known from the kernel (SO_PEERCRED); no password is asked.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from zope.interface import implementer

from netsvc.accepting import SPARES, be_patient
from netsvc.console.door import Door
from netsvc.console.shell import IDLE_SECONDS, IdleWatch, Shell, json_line
from netsvc.interfaces import IOperator
from netsvc.telnet.codec import LineEnds, encode
from netsvc.telnet.display import Drawing
from netsvc.telnet.session import capable

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

    from netsvc.interfaces import IHouse

PATH_LIMIT: Final = 107
"""Octets of a socket's path: sun_path, with its NUL."""
CONNECTIONS: Final = 64
LINE_LIMIT: Final = 64 * 1024
STOP_SECONDS: Final = 5.0
_OK: Final = {"status": "ok", "err": None}
_HUMAN: Final = re.compile(rb"terminal human (\d{1,5})x(\d{1,5}) ([A-Za-z0-9._+-]{1,40})( once| script)?\s*")


class ControlSocketError(ValueError):
    """The control socket cannot be served, in words that name its path and the remedy."""


@implementer(IOperator)
@dataclass(frozen=True, slots=True)
class LocalOperator:
    """Who is known by the kernel's word: an admin who stands enabled."""

    name: str
    role: str = "admin"
    content: bool = True
    last_at: int = 0
    last_from: str = ""
    fails: int = 0
    enabled: bool = True


def user_name(uid: int) -> str:
    """Return the host's name for ``uid``."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def peer_uid(transport: Any) -> int:
    """Return the uid of the process at the other end of a unix socket."""
    size = struct.calcsize("3i")
    credentials = transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)


def prepare_path(path: str) -> None:
    """Make room for a socket at ``path``; raises ControlSocketError.  Blocks for moments."""
    length = len(os.fsencode(path))
    if length > PATH_LIMIT:
        raise ControlSocketError(
            f"control_socket {path}: {length} octets long, at most {PATH_LIMIT}: choose a shorter path"
        )
    if not Path(path).parent.is_dir():
        raise ControlSocketError(f"control_socket {path}: its folder is not there: create it, or choose another path")
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ControlSocketError(f"control_socket {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(facts.st_mode):
        raise ControlSocketError(f"control_socket {path}: something that is no socket is there: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            pass  # nobody answers: it was left behind
        except OSError as error:
            raise ControlSocketError(f"control_socket {path}: {error.strerror or error}") from None
        else:
            raise ControlSocketError(
                f"control_socket {path}: another process answers there: is netsvc running already?"
            )
    Path(path).unlink()


class ControlDoor(Door):
    """One connection."""

    def __init__(self, service: ControlService) -> None:
        super().__init__(service.house, "local", service.forget)
        self._service = service
        self._line_ends = LineEnds()
        self._head = b""
        self._started = False
        self._once = False

    def connectionMade(self) -> None:
        """Look who it is, and say hello."""
        uid = peer_uid(self.transport)
        if uid not in (0, self._service.uid):
            transport: Any = self.transport
            transport.write(json_line({"err": {"code": "E301", "msg": f"Not permitted for uid {uid}"}}))
            transport.loseConnection()
            return
        operator = LocalOperator(user_name(uid))
        self.begin(_plain, user=operator.name, state="command")
        source = f"socket uid {uid}"
        self.session = self.house.console.open(operator, source)
        self.session.id = self.entry.id
        Deferred.fromCoroutine(self.report(operator.name, operator, "", source))
        self.outflow.write(json_line({"hello": self.session.hello()}))

    def dataReceived(self, data: bytes) -> None:
        """Take what came; the first line says how it goes on."""
        if self.entry is None:
            return
        self.entry.octets += len(data)
        if self._started:
            self.terminal.feed(self._line_ends.feed(data))
            return
        self._head += data
        line, newline, rest = self._head.partition(b"\n")
        human = _HUMAN.fullmatch(line) if newline else None
        if human is not None and human[4] == b" once":
            command, newline, rest = rest.partition(b"\n")
            if newline:
                self._begin_once(human, command.decode("utf-8", "replace"), rest)
        elif human is not None:
            self._begin_human(human, rest)
        elif newline or not b"terminal human ".startswith(self._head[:15]):
            self._begin_machine()
        if not self._started and len(self._head) > LINE_LIMIT:
            self.drop("a first line without an end")

    def readConnectionLost(self) -> None:
        """See IHalfCloseableProtocol."""
        if self.entry is None:
            return
        if not self._started:
            self._begin_machine()
        super().readConnectionLost()

    def _begin_machine(self) -> None:
        self._started = True
        self.converse(self._shell().serve(hello=False))
        self._feed(self._head)

    def _begin_human(self, human: re.Match[bytes], rest: bytes) -> None:
        interactive = self._begin_terminal(human)
        told = bool(human[4])
        self.converse(self._talk(script=told or not interactive, told=told))
        self._feed(rest)

    def _begin_once(self, human: re.Match[bytes], command: str, rest: bytes) -> None:
        self._begin_terminal(human)
        self.terminal.pages = False
        self.converse(self._run(command))
        self._feed(rest)

    def _feed(self, data: bytes) -> None:
        self._head = b""
        if data:
            self.terminal.feed(self._line_ends.feed(data))

    def _begin_terminal(self, human: re.Match[bytes]) -> bool:
        """Know the terminal -> whether somebody is there."""
        self._started = True
        columns, rows, kind = int(human[1]), int(human[2]), human[3].decode("ascii")
        terminal = self.terminal
        interactive = columns > 0
        terminal.interactive = terminal.resizable = interactive
        if interactive:
            self.outflow.encode = encode
            terminal.resize(columns, rows)
            terminal.draw_as(Drawing.FULL if capable(kind) else Drawing.PLAIN)
        else:
            terminal.width = 0  # tables as wide as they like
        return interactive

    def _shell(self) -> Shell:
        assert self.session is not None
        return Shell(self.session, self.terminal, self.outflow.write, self.count)

    async def _talk(self, *, script: bool, told: bool) -> None:
        shell = self._shell()
        watch = None if script else IdleWatch(self.terminal, self.house.clock, self._idle, IDLE_SECONDS)
        try:
            await shell.talk(script=script)
        finally:
            if watch is not None:
                watch.stop()
        if told:
            self.outflow.write(b"\0" + json_line({"end": shell.failed or _OK}))

    async def _run(self, command: str) -> None:
        await self._shell().command(command)
        assert self.session is not None
        self.outflow.write(b"\0" + json_line({"end": self.session.end}))

    def _idle(self) -> None:
        self.end("idle", "Nothing was typed for too long: goodbye.")


def _plain(text: str) -> bytes:
    return text.encode("utf-8", "replace")


class ControlService(Service):
    """Serves the control socket at ``path``, mode 0600, from ``startService`` to ``stopService``."""

    def __init__(self, house: IHouse, path: str | Path) -> None:
        self.house = house
        self.path = str(path)
        self.uid = os.geteuid()
        self._port: Any = None
        self._doors: set[ControlDoor] = set()

    def startService(self) -> None:
        """Listen; raises ControlSocketError."""
        prepare_path(self.path)
        factory = _Factory(self)
        reactor: Any = self.house.clock
        before = os.umask(0o177)  # nobody else may connect, not even before its mode is set
        try:
            self._port = reactor.listenUNIX(self.path, factory, mode=0o600)
            be_patient(self._port, "control socket", self.house.logbook, reactor, spares=SPARES)
        except CannotListenError as error:
            cause = error.socketError
            raise ControlSocketError(
                f"control_socket {self.path}: {getattr(cause, 'strerror', None) or cause}"
            ) from None
        finally:
            os.umask(before)
        super().startService()  # type: ignore[no-untyped-call] # Twisted's has no types
        self.house.logbook.event("control.serving", path=self.path)

    def stopService(self) -> Deferred[Any]:
        """Stop listening and end the sessions -> Deferred that fires when all are gone."""
        super().stopService()  # type: ignore[no-untyped-call] # Twisted's has no types
        port, self._port = self._port, None
        gone = [maybeDeferred(port.stopListening)] if port is not None else []
        for door in list(self._doors):
            if door.entry is not None:
                door.tell("The service is stopping.")
                door.leave(STOP_SECONDS)
            gone.append(door.gone)
        return DeferredList(gone)

    def forget(self, door: ControlDoor) -> None:
        """Take ``door`` for closed."""
        self._doors.discard(door)

    def open(self) -> ControlDoor | None:
        """Return the door of a new connection, None when there are too many."""
        if len(self._doors) >= CONNECTIONS:
            return None
        door = ControlDoor(self)
        self._doors.add(door)
        return door


class _Factory(Factory):
    noisy = False

    def __init__(self, service: ControlService) -> None:
        self._service = service

    def buildProtocol(self, addr: IAddress | None) -> Any:
        del addr
        return self._service.open()
