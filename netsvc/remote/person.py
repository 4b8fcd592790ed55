"""What a person sees: one command, or the console itself, as it would look over Telnet."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import socket
import sys
import termios
import tty
from typing import TYPE_CHECKING, Any, Final

from netsvc.remote.wire import OK, TEMPORARY, Machine, exit_status, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator

_TERM: Final = re.compile(r"[A-Za-z0-9._+-]{1,40}")


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _size() -> tuple[int, int]:
    size = os.get_terminal_size(sys.stdout.fileno())
    return size.columns or 80, size.lines or 24  # a terminal that does not know its size is 0x0


def _start_line(mode: str) -> str:
    columns, rows = _size() if _is_terminal() else (0, 0)
    kind = os.environ.get("TERM", "dumb") if columns else "dumb"
    if not _TERM.fullmatch(kind):
        kind = "dumb"
    return f"terminal human {columns}x{rows} {kind} {mode}".rstrip()


def run_human(link: socket.socket, command: str) -> int:
    """Show what a person would see of one command, or be the console -> exit status."""
    machine = Machine(link)
    if not _is_terminal():
        _begin(machine, command, "once" if command else "script")
        return _copy(link, machine, typed=not command)
    with _raw_terminal(), _window_changes() as changes:
        _begin(machine, command, "once" if command else "")
        return _bridge(link, machine, changes)


def _begin(machine: Machine, command: str, mode: str) -> None:
    machine.send(_start_line(mode))
    if command:
        machine.send(command)


def _copy(link: socket.socket, machine: Machine, *, typed: bool) -> int:
    """Send standard input when it is ``typed``, show what comes."""
    if typed:
        link.sendall(sys.stdin.buffer.read())
    link.shutdown(socket.SHUT_WR)
    shown = Shown()
    for piece in machine.rest():
        shown.take(piece)
    return shown.status(expected=True)


_BROKEN_OFF: Final = (
    "netsvcctl: the service went away before the command was over; what it changed is in: show jobs, show audit\n"
)


class Shown:
    """Standard output, up to the NUL behind which the end object comes."""

    def __init__(self) -> None:
        self._trailer: bytearray | None = None

    def take(self, piece: bytes) -> None:
        """Show ``piece``."""
        if self._trailer is not None:
            self._trailer += piece
            return
        text, nul, trailer = piece.partition(b"\0")
        if nul:
            self._trailer = bytearray(trailer)
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()

    def status(self, *, expected: bool) -> int:
        """Return the exit status; without an end object one that was ``expected`` is missing."""
        if self._trailer is None:
            if expected:
                sys.stdout.buffer.flush()
                sys.stderr.write(_BROKEN_OFF)
            return TEMPORARY if expected else OK
        end = read_object(bytes(self._trailer) or b"{}").get("end") or {}
        return exit_status(end, end.get("err"))


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Have each key as it is pressed; the service echoes."""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _window_changes() -> Iterator[int]:
    """Yield a descriptor that becomes readable when the window's size has changed."""
    reading, writing = os.pipe()
    for end in (reading, writing):
        fcntl.fcntl(end, fcntl.F_SETFL, os.O_NONBLOCK)
    woken = signal.set_wakeup_fd(writing)
    before = signal.signal(signal.SIGWINCH, lambda *_: None)
    try:
        yield reading
    finally:
        signal.signal(signal.SIGWINCH, before)
        signal.set_wakeup_fd(woken)
        os.close(reading)
        os.close(writing)


def _bridge(link: socket.socket, machine: Machine, changes: int) -> int:
    """Carry keys there and text back until the service ends it -> exit status."""
    keyboard: int | None = sys.stdin.fileno()
    shown = Shown()
    link.setblocking(True)
    while True:
        watched: list[Any] = [link, changes] if keyboard is None else [link, changes, keyboard]
        ready, _, _ = select.select(watched, [], [])
        if changes in ready:
            os.read(changes, 100)
            columns, rows = _size()
            link.sendall(f"\x1b[8;{rows};{columns}t".encode())
        if keyboard in ready and keyboard is not None:
            keys = os.read(keyboard, 4096)
            if keys:
                link.sendall(keys)
            else:
                keyboard = None
                link.shutdown(socket.SHUT_WR)
        if link in ready:
            piece = machine.read()
            if not piece:
                return shown.status(expected=False)
            shown.take(piece)
