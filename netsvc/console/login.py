"""The login dialogue: a name, a password, three tries, and one answer for everything that is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import deferLater
from zope.interface import implementer

from netsvc.interfaces import ILoginSource, IOperator
from netsvc.mail.escape import escape
from netsvc.telnet.editor import Submitted, TooLong

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from netsvc.console.terminal import Terminal

BANNER: Final = "Authorised operators only. Activity is recorded."
WARNING: Final = "WARNING: this connection is not encrypted. Passwords can be read on the network."
NOTE: Final = "Note: your client will show what you type."
DENIED: Final = "Access denied."
TRIES: Final = 3
NAME_LIMIT: Final = 64
PASSWORD_LIMIT: Final = 512
MACHINE_SUFFIX: Final = "+m"
BLANK_LIMIT: Final = 10
_NOT_TELNET: Final = re.compile(r"(?:[A-Z]{3,10} [^ ]{1,4000} HTTP/\d|SSH-\d|EHLO |HELO )")


@implementer(ILoginSource)
class SourcedPassword(UsernamePassword):
    """A name and a password, octets, and the address they came from."""

    def __init__(self, username: str, password: str, source: str) -> None:
        super().__init__(username.encode("utf-8", "replace"), password.encode("utf-8", "replace"))
        self.source = source


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where somebody comes from, and what to do about it.

    ``source`` is an address; ``portal`` a Portal for IOperator; ``clock`` the reactor; ``echo_settled`` a coroutine
    function that says, as soon as it can be told, whether what is typed can be hidden; ``report`` is told of each try:
    (name, IOperator or None, why), and awaited.
    """

    source: str
    portal: Any
    clock: Any
    echo_settled: Callable[[], Awaitable[bool]]
    report: Callable[[str, Any, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Entrance:
    """Who came in, and whether by ``NAME+m``: a program that wants machine mode."""

    operator: Any
    machine: bool


async def log_in(terminal: Terminal, visitor: Visitor) -> Entrance | None:
    """Ask for a name and a password -> who it is; None after three wrong ones, at the end of input, or for no client.

    Each failure says the same after the same work, and a second, two, four later (CONSOLE.md S5, S7).
    """
    for attempt in range(TRIES):
        name = await _name(terminal)
        if name is None or _NOT_TELNET.match(name):
            return None
        if not terminal.ahead and not await visitor.echo_settled() and not terminal.ahead:
            terminal.write(NOTE + "\n")
        answer = await terminal.read("Password: ", secret=True, limit=PASSWORD_LIMIT)
        if isinstance(answer, Submitted):
            password = answer.line
        elif isinstance(answer, TooLong):
            password = ""
        else:
            return None
        machine = name.endswith(MACHINE_SUFFIX)
        plain = name.removesuffix(MACHINE_SUFFIX).strip()
        operator = await _check(visitor, plain, password)
        if operator is not None:
            return Entrance(operator, machine)
        await deferLater(visitor.clock, 2.0**attempt)
        if terminal.closed:
            return None
        terminal.write(DENIED + "\n")
    return None


async def _name(terminal: Terminal) -> str | None:
    """Read a name that is not blank -> it, None at the end of input; one too long is nobody's."""
    for _ in range(BLANK_LIMIT):
        answer = await terminal.read("Username: ", limit=NAME_LIMIT + 4096)
        if isinstance(answer, TooLong):
            return "-"
        if not isinstance(answer, Submitted):
            return None
        if answer.line.strip():
            return answer.line.strip()
    return None


async def _check(visitor: Visitor, name: str, password: str) -> Any:
    """Return the operator, or None, whatever the reason; the reason goes to the report."""
    credentials = SourcedPassword(name, password, visitor.source)
    operator: Any = None
    why = ""
    try:
        _, operator, _ = await visitor.portal.login(credentials, None, IOperator)
    except Exception as error:  # noqa: BLE001 - a checker that fails must look like one that refuses
        why = f"{type(error).__name__}: {error}"
    await visitor.report(escape(name, NAME_LIMIT), operator, escape(why, 200))
    return operator
