"""netsvcctl: a client of the control socket (floor 7); standard library only, and none of the service's rooms.

``netsvcctl "COMMAND"`` runs one console command and shows what a person would
see; ``--json`` shows machine mode's lines; without a command it is the console
itself.  ``export-mailbox ADDRESS DIR`` runs here and asks the service for the mail.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netsvc.remote.export import export_mailbox
from netsvc.remote.person import run_human
from netsvc.remote.wire import ERROR, OK, TEMPORARY, USAGE, CtlError, Machine, connect, socket_candidates

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

INTERRUPTED: Final = 130


def run_json(link: socket.socket, command: str) -> int:
    """Show machine mode's lines for one command, or for each line of standard input -> exit status, the first not 0."""
    machine = Machine(link)

    def show(line: bytes, _: dict[str, Any]) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    if command:
        return machine.run(command, show)
    first = OK
    for typed in sys.stdin:
        if typed.strip():
            status = machine.run(typed.rstrip("\r\n"), show)
            first = first or status
    return first


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="netsvcctl",
        description="Run one command of netsvc's console, or be the console.",
        epilog="exit status: 0 ok, 1 error, 2 usage, 3 not permitted, 4 expectation failed, 5 partial, 6 not found, "
        "75 temporary.  Besides the console's commands: export-mailbox ADDRESS DIR",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--config", type=Path, metavar="FILE", help="node file that says where the control socket is")
    where.add_argument("--socket", type=Path, metavar="PATH", help="the control socket itself")
    parser.add_argument("--json", action="store_true", help="machine mode: one JSON object a line")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help='such as "show queue summary"')
    return parser


def _words(given: Sequence[str]) -> list[str]:
    """Return the words of a command that came as one argument or as several."""
    if len(given) != 1:
        return list(given)
    try:
        return shlex.split(given[0])
    except ValueError:  # an open quote: the console will say so
        return given[0].split()


def _serve(options: argparse.Namespace) -> int:
    words = _words(options.command)
    command = " ".join(options.command).strip()
    paths = [options.socket] if options.socket is not None else socket_candidates(options.config)
    export = words[:1] == ["export-mailbox"]
    if export and len(words) != 3:
        raise CtlError("usage: netsvcctl export-mailbox ADDRESS DIR", USAGE)
    with connect(paths) as link:
        if export:
            return export_mailbox(link, words[1], Path(words[2]))
        return run_json(link, command) if options.json else run_human(link, command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run netsvcctl -> exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _serve(options)
    except CtlError as error:
        sys.stderr.write(f"netsvcctl: {error}\n")
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        return ERROR
    except OSError as error:
        sys.stderr.write(f"netsvcctl: {error.strerror or error}\n")
        return TEMPORARY


if __name__ == "__main__":
    sys.exit(main())
