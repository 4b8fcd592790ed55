"""The console and its sessions, independent of any terminal: telnet, the control socket, ssh stand on these.

A session runs one command at a time.  Whatever happens in a command, a person
gets a sentence with a code and a program exactly one ``end``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from netsvc.commands import ROLE_ORDER, Command, CommandError, Completion
from netsvc.console.call import Call
from netsvc.console.grammar import Grammar, Parsed, read_tag
from netsvc.console.greeting import greet
from netsvc.console.help import complete, explain
from netsvc.console.machine import PROTOCOL, MachineOutlet, error_object
from netsvc.console.outlet import PersonOutlet
from netsvc.console.pending import Pending
from netsvc.console.reader import Reader
from netsvc.console.secrets import holds_secret, mask
from netsvc.console.table import commands
from netsvc.interfaces import IConsole, IConsoleSession
from netsvc.logbook import Logbook
from netsvc.mail.escape import escape
from netsvc.records import AccountError, Result, Row, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from twisted.internet.interfaces import IReactorTime

    from netsvc.console.outlet import Outlet
    from netsvc.interfaces import IMailboxService, IOperator, ITerminal
    from netsvc.records import Selection

ENABLE_MS = 600_000
"""How long enable stands without an admin command."""

MAX_HISTORY = 200
MAX_RESULT = 100_000
"""Rows ``run`` gathers."""


@dataclass(slots=True)
class _Came:
    """What a command came to."""

    status: str = "ok"
    rows: int = 0
    total: int | None = None
    schema: str | None = None
    error: CommandError | None = None
    blank: bool = False


@implementer(IConsole)
class Console:
    """All that sessions share: the service, the commands, and selections waiting for a confirmation."""

    def __init__(
        self, service: IMailboxService, node: str, version: str, clock: IReactorTime, started_at_ms: int
    ) -> None:
        """``node`` is our name in prompts (its first label); ``clock`` the reactor; ``started_at_ms`` since 1970."""
        self.service = service
        self.node = node
        self.version = version
        self.clock = clock
        self.started_at_ms = started_at_ms
        self.grammar = Grammar(commands())
        self.pending = Pending()
        self.logbook = Logbook()

    def open(self, operator: IOperator, source: str) -> ConsoleSession:
        """Return a session for ``operator``; ``source`` says where from."""
        return ConsoleSession(self, operator, source)


@implementer(IConsoleSession)
class ConsoleSession:
    """One operator's dialogue."""

    def __init__(self, console: Console, operator: IOperator, source: str) -> None:
        self.console = console
        self.service = console.service
        self.clock = console.clock
        self.operator = operator
        self.source = escape(source, 200)
        self.id = ""
        self.streaming = False
        self.ended = False
        self.end: Mapping[str, Any] | None = None
        self.page_length: int | None = None
        self.page_width: int | None = None
        self.machine = False
        self.style = "table"
        self.last: Selection | tuple[tuple[int, int | None], ...] | None = None
        self.typed: list[str] = []
        self.enable_failures = 0
        self._enabled_until = 0
        self._running: list[Deferred[Any]] = []
        self._closed = False

    # -- who and when ------------------------------------------------------------

    def now_ms(self) -> int:
        """Return the time, ms since 1970."""
        return int(self.clock.seconds() * 1000)

    @property
    def enabled(self) -> bool:
        """Whether admin commands run now."""
        standing = bool(getattr(self.operator, "enabled", False))
        return self.operator.role == "admin" and (standing or self.now_ms() < self._enabled_until)

    def set_enabled(self, on: bool) -> None:
        """Begin or end ``enable``."""
        self._enabled_until = self.now_ms() + ENABLE_MS if on else 0

    @property
    def prompt(self) -> str:
        """``mx1>``, or ``mx1#`` while enabled."""
        return self.console.node.partition(".")[0] + ("#" if self.enabled else ">")

    def may(self, command: Command) -> bool:
        """Whether the operator's role can ever run ``command``."""
        return ROLE_ORDER.index(self.operator.role) >= ROLE_ORDER.index(command.role)

    # -- the promises of IConsoleSession ----------------------------------------

    def greeting(self) -> Deferred[str]:
        """Return what is shown after login."""
        return self._track(greet(self))

    def hello(self) -> Mapping[str, Any]:
        """Return the hello object's content."""
        return {
            "proto": PROTOCOL,
            "node": self.console.node,
            "version": self.console.version,
            "user": self.operator.name,
            "role": self.operator.role,
        }

    def complete(self, line: str) -> Completion:
        """Return what Tab finds."""
        return complete(self.console.grammar, line, self.now_ms(), self.may)

    def help(self, line: str) -> str:
        """Return what ``?`` shows."""
        return explain(self.console.grammar, line, self.now_ms(), self.may)

    def is_secret(self, line: str) -> bool:
        """Whether history must not keep the line."""
        return holds_secret(line)

    def execute(self, line: str, terminal: ITerminal) -> Deferred[None]:
        """Run one command for a person."""
        return self._track(self._for_person(line, terminal))

    def execute_machine(self, line: str, write: Callable[[Mapping[str, Any]], Deferred[None] | None]) -> Deferred[None]:
        """Run one command in machine mode."""
        return self._track(self._for_machine(line, MachineOutlet(write)))

    def run(self, line: str) -> Deferred[Result]:
        """Run one command and gather what it gave, at most 100,000 rows."""
        return self._track(self._gather(line))

    def close(self) -> None:
        """Cancel what runs, lapse enable, audit the end."""
        if self._closed:
            return
        self._closed = True
        self.set_enabled(False)
        for running in list(self._running):
            running.cancel()
        self._track(self._farewell())

    async def _farewell(self) -> None:
        try:
            await self.record("logout", self.operator.name, "", 1, "ok")
        except CommandError as error:
            cause = error.__cause__ or error  # the store's: a full disk is no mistake of ours
            self.console.logbook.failure("console.fault", cause, what="audit of a logout")

    # -- running -------------------------------------------------------------------

    def _track(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        running = Deferred.fromCoroutine(coroutine)
        self._running.append(running)

        def over(result: Any) -> Any:
            self._running.remove(running)
            return result

        return running.addBoth(over)

    async def _for_person(self, line: str, terminal: ITerminal) -> None:
        if line.rstrip().endswith((" ?", "\t?")) or line.strip() == "?":
            await PersonOutlet(terminal, "table", 0, self.now_ms()).write(self.help(line.rstrip()[:-1]) + "\n")
            return
        self._remember(line)
        width = self.page_width if self.page_width is not None else terminal.width
        outlet = PersonOutlet(terminal, self.style, width, self.now_ms())
        came = await self._perform(line, outlet)
        if came.error is not None:
            await outlet.fail(line, came.error)
        self._keep_end(None, came, self.now_ms())

    async def _for_machine(self, line: str, outlet: MachineOutlet) -> None:
        began = self.now_ms()
        self._remember(line)
        try:
            tag = read_tag(Reader(line))
        except CommandError:
            tag = None
        came = await self._perform(line, outlet)
        if came.blank and tag is None:
            return
        end = self._keep_end(tag, came, began)
        if came.error is not None:
            await outlet.put("err", error_object(came.error))
        await outlet.put("end", end)

    def _keep_end(self, tag: str | None, came: _Came, began: int) -> dict[str, Any]:
        end = {
            "tag": tag,
            "status": came.status,
            "rows": came.rows,
            "total": came.total,
            "ms": max(self.now_ms() - began, 0),
            "schema": came.schema,
        }
        self.end = {**end, "err": None if came.error is None else error_object(came.error)}
        return end

    async def _gather(self, line: str) -> Result:
        rows: list[Row] = []
        last: dict[str, Any] = {}

        def write(thing: Mapping[str, Any]) -> None:
            if "row" in thing:
                if len(rows) >= MAX_RESULT:
                    raise CommandError("E206", f"More than {MAX_RESULT} rows; say limit")
                rows.append(thing["row"])
            last.update(thing)

        await self._for_machine(line, MachineOutlet(write))
        end = last.get("end", {"tag": None, "status": "ok", "rows": 0, "total": None, "ms": 0, "schema": None})
        return Result(tuple(rows), end["schema"] or "", end, last.get("err"))

    async def _perform(self, line: str, outlet: Outlet) -> _Came:
        call: Call | None = None
        command: Command | None = None
        try:
            parsed = self.console.grammar.parse(line, self.now_ms())
            if parsed is None:
                return _Came(blank=True)
            command = parsed.command
            self._allow(parsed)
            call = Call(self, parsed, self._styled(outlet, parsed))
            await command.run(call)
            await call.finish()
        except CommandError as error:
            return await self._failed(line, call, command, error)
        except CancelledError:
            return await self._failed(line, call, command, _cancelled(call))
        except StoreUnavailableError as error:
            return await self._failed(line, call, command, CommandError("E502", f"The store is not available: {error}"))
        except (StoreError, AccountError) as error:
            code = "E501" if str(error).startswith("Busy") else "E405"
            return await self._failed(line, call, command, CommandError(code, str(error).rstrip(".") or "Refused"))
        except Exception:  # noqa: BLE001 - a fault in a verb must neither end the session nor pass unseen
            self.console.logbook.failure("console.fault", session=self.source, what=command.name if command else "")
            return await self._failed(line, call, command, CommandError("E500", "A fault of ours; the log has it"))
        return _Came(call.status, call.rows_out, call.total, call.schema)

    async def _failed(self, line: str, call: Call | None, command: Command | None, error: CommandError) -> _Came:
        status = "cancelled" if error.code == "E503" else "partial" if error.code == "E504" else "error"
        if command is not None and command.changes and error.code in {"E301", "E302", "E405", "E500", "E501", "E502"}:
            try:
                await self.record(command.name, "", mask(line), 0, f"{status} {error.code}")
            except CommandError:
                self.console.logbook.failure("console.fault", what="audit of a failure")
        if call is None:
            return _Came(status, error=error)
        return _Came(status, call.rows_out, call.total, call.schema, error)

    def _styled(self, outlet: Outlet, parsed: Parsed) -> Outlet:
        if isinstance(outlet, PersonOutlet):
            styles = [pipe.name for pipe in parsed.pipes if pipe.name in {"table", "list", "json"}]
            outlet.style = styles[-1] if styles else "list" if parsed.args.get("detail") else self.style
        return outlet

    def _allow(self, parsed: Parsed) -> None:
        command = parsed.command
        if not self.may(command):
            raise CommandError("E301", f"Not permitted for role {self.operator.role}. Needs: {command.role}")
        if command.role == "admin":
            if not self.enabled:
                raise CommandError("E302", "Needs enable. Type: enable", None, ["enable"])
            self.set_enabled(True)
        if command.content and not self.operator.content:
            raise CommandError("E301", "Not permitted: needs the content privilege (ask an admin)")

    def _remember(self, line: str) -> None:
        if line.strip():
            self.typed.append(mask(line))
            del self.typed[:-MAX_HISTORY]

    async def record(self, verb: str, target: str, args: str, affected: int, result: str) -> None:
        """Append to the audit trail.  Raises CommandError E502 when that fails."""
        operator = self.operator
        texts = [escape(text, 500) for text in (verb, target, args)]
        self.console.logbook.event(
            "operator.command", user=operator.name, source=self.source, verb=verb, target=texts[1]
        )
        try:
            await self.service.audit.record(
                operator.name, operator.role, self.source, texts[0], texts[1], texts[2], affected, escape(result, 500)
            )
        except CancelledError:
            raise
        except Exception as error:
            raise CommandError("E502", "The audit trail could not be written") from error


def _cancelled(call: Call | None) -> CommandError:
    if call is not None and call.changing:
        return CommandError("E503", "Cancelled. The change may have been made: look before you repeat it")
    return CommandError("E503", "Cancelled. Nothing was changed")
