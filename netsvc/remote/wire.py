"""Where the control socket is, and machine mode over it."""

from __future__ import annotations

import json
import socket
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

OK, ERROR, USAGE, NOT_PERMITTED, EXPECTATION, PARTIAL, NOT_FOUND, TEMPORARY = 0, 1, 2, 3, 4, 5, 6, 75
"""Exit statuses (as documented for scripts)."""
DEFAULT_CONFIG: Final = Path("/etc/netsvc/netsvc.toml")
DEFAULT_STATE: Final = Path("/var/lib/netsvc")
RUN_SOCKET: Final = Path("/run/netsvc/console.sock")
_STATUS_BY_CODE: Final = {
    "E301": NOT_PERMITTED,
    "E302": NOT_PERMITTED,
    "E303": EXPECTATION,
    "E304": EXPECTATION,
    "E401": NOT_FOUND,
    "E403": TEMPORARY,
    "E501": TEMPORARY,
    "E502": TEMPORARY,
    "E504": PARTIAL,
}
_PIECE: Final = 65536


class CtlError(Exception):
    """What stops us, in words for standard error, with the exit status that tells of it."""

    def __init__(self, text: str, status: int = ERROR) -> None:
        super().__init__(text)
        self.status = status


def exit_status(end: dict[str, Any], error: dict[str, Any] | None) -> int:
    """Return the exit status for a command's ``end`` and ``err`` objects (CONSOLE.md 3.12)."""
    code = str((error or {}).get("code", ""))
    if code in _STATUS_BY_CODE:
        return _STATUS_BY_CODE[code]
    status = end.get("status")
    if status == "partial":
        return PARTIAL
    if status == "ok" and not code:
        return OK
    return USAGE if code.startswith(("E1", "E2")) or code in ("E305", "E306") else ERROR


def socket_candidates(config: Path | None) -> list[Path]:
    """Return where the control socket may be, likeliest first.  Raises CtlError for a file that cannot be read."""
    if config is None:
        config = DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None
    if config is None:
        return [RUN_SOCKET, DEFAULT_STATE / "console.sock"]
    try:
        keys = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CtlError(f"{config}: {getattr(error, 'strerror', None) or error}", USAGE) from None
    named, state = keys.get("control_socket"), keys.get("state")
    if isinstance(named, str) and named:
        return [config.parent / named]
    if isinstance(state, str) and state:
        return [config.parent / state / "console.sock", RUN_SOCKET]
    return [RUN_SOCKET, DEFAULT_STATE / "console.sock"]


def connect(paths: Sequence[Path]) -> socket.socket:
    """Return a connection to the first socket that answers.  Raises CtlError."""
    why = ""
    for path in paths:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.connect(str(path))
            return link
        except OSError as error:
            link.close()
            refused = isinstance(error, PermissionError)
            why = f"{path}: {error.strerror or error}"
            if refused:
                text = f"{why}: the control socket is open to root and the service's own user"
                raise CtlError(text, NOT_PERMITTED) from None
    raise CtlError(
        f"{why}: is netsvc running?  Name its node file with --config or its socket with --socket", TEMPORARY
    )


class Machine:
    """Machine mode over a connection: commands in, objects out."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._buffer = bytearray()
        self.hello = self._hello()

    def _hello(self) -> dict[str, Any]:
        thing = read_object(self.line())
        if "err" in thing:
            raise CtlError(str(thing["err"].get("msg", "refused")), exit_status({}, thing["err"]))
        if "hello" not in thing:
            raise CtlError("whatever answers at the control socket is not netsvc", ERROR)
        return thing

    def line(self) -> bytes:
        """Return the next line.  Raises CtlError when there is none."""
        looked = 0
        while (end := self._buffer.find(b"\n", looked)) < 0:
            looked = len(self._buffer)
            piece = self._link.recv(_PIECE)
            if not piece:
                raise CtlError("the service ended the connection", TEMPORARY)
            self._buffer += piece
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    def read(self) -> bytes:
        """Return what has come, b"" at the end."""
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        return self._link.recv(_PIECE)

    def rest(self) -> Iterator[bytes]:
        """Yield what follows as it comes, until the end."""
        while piece := self.read():
            yield piece

    def send(self, line: str) -> None:
        """Send one line."""
        self._link.sendall(line.replace("\r", " ").replace("\n", " ").encode("utf-8", "replace") + b"\n")

    def run(self, command: str, take: Callable[[bytes, dict[str, Any]], object]) -> int:
        """Run ``command``; ``take(line, object)`` gets each line up to and with its end -> exit status."""
        self.send(command)
        error: dict[str, Any] | None = None
        while True:
            line = self.line()
            thing = read_object(line)
            take(line, thing)
            error = thing.get("err", error)
            if "end" in thing:
                return exit_status(thing["end"], error)


def read_object(line: bytes) -> dict[str, Any]:
    """Return the object a line holds.  Raises CtlError."""
    try:
        thing = json.loads(line)
    except ValueError:
        raise CtlError("the service answered with something that is no machine mode") from None
    return thing if isinstance(thing, dict) else {}
