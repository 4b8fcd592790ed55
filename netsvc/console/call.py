"""One command being run: what a verb is handed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from netsvc.commands import CommandError, Table
from netsvc.console.outlet import text_rows
from netsvc.console.pipes import Pipeline
from netsvc.console.render import counted, human, pick
from netsvc.console.tables import COUNT, TEXT
from netsvc.records import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.internet.defer import Deferred

    from netsvc.console.grammar import Chosen, Parsed
    from netsvc.console.outlet import Outlet
    from netsvc.console.session import ConsoleSession
    from netsvc.records import Page, Row

T = TypeVar("T")

STORE_SECONDS = 30
"""How long a question to the store may take."""

SEARCH_SECONDS = 300
"""How long a search through the whole queue may take: somebody waits for it, and can cancel."""

PAGE = 100
"""Rows asked of the store at once: what one turn of the reactor may render."""


class Call:
    """One command being run.  Verbs read ``args`` and ``chosen`` and give rows and sentences back."""

    def __init__(self, session: ConsoleSession, parsed: Parsed, outlet: Outlet) -> None:
        """Everything counts from the moment it is made."""
        self.session = session
        self.service = session.service
        self.parsed = parsed
        self.command = parsed.command
        self.args: dict[str, Any] = parsed.args
        self.chosen: Chosen | None = parsed.chosen
        self.outlet = outlet
        self.now_ms = session.now_ms()
        self.table: Table = parsed.command.table or TEXT
        self.pipeline = Pipeline(parsed.pipes, self._text_of)
        self.rows_out = 0
        self.total: int | None = None
        self.status = "ok"
        self.changing = False
        self.command_source: Table | None = None

    def become(self, parsed: Parsed) -> None:
        """Go on as another command, on the same outlet and through what pipes it has."""
        self.parsed = parsed
        self.command, self.args, self.chosen = parsed.command, parsed.args, parsed.chosen
        self.table = parsed.command.table or TEXT
        self.pipeline = Pipeline(parsed.pipes, self._text_of)

    @property
    def machine(self) -> bool:
        """Whether a program listens."""
        return self.outlet.machine

    @property
    def full(self) -> bool:
        """Whether no further row can matter."""
        return self.pipeline.full

    @property
    def plain(self) -> bool:
        """Whether rows are shown to a person as they are, so that remarks below them are welcome."""
        return not self.machine and self.pipeline.plain and self.outlet.style != "json"

    @property
    def schema(self) -> str:
        """The schema of the rows that come out."""
        return COUNT.schema if self.pipeline.counts else self.table.schema

    def _text_of(self, row: Row) -> str:
        columns = self.table.shown or self.table.fields
        seen = [human(pick(row, column.name), column, self.now_ms) for column in columns]
        hidden = [str(row[c.name]) for c in self.table.fields if row.get(c.name) is not None and not c.title]
        return " ".join([*seen, *hidden])

    async def row(self, row: Row) -> None:
        """Give one row of ``table``."""
        for out in self.pipeline.put(row):
            await self._out(out)

    async def rows(self, rows: Iterable[Row]) -> None:
        """Give rows of ``table``, as many as are wanted."""
        for row in rows:
            if self.full:
                return
            await self.row(row)

    async def _out(self, row: Row) -> None:
        self.rows_out += 1
        await self.outlet.row(COUNT if self.pipeline.counts else self.table, row)

    async def text(self, text: str) -> None:
        """Give a text as rows of lines, so that pipes work on it."""
        self.table = TEXT
        await self.rows(text_rows(text))

    async def say(self, text: str) -> None:
        """Tell what came of it: shown whatever the pipes are."""
        await self.outlet.say(text)

    async def note(self, text: str) -> None:
        """Add a remark for a person who looks at plain rows."""
        if self.plain:
            await self.outlet.say(text)

    async def finish(self) -> None:
        """Give what the pipes kept back."""
        for row in self.pipeline.end():
            await self._out(row)
        await self.outlet.flush()

    async def store(self, answer: Deferred[T], seconds: int = STORE_SECONDS) -> T:
        """Wait for an answer of the store.  Raises CommandError E502 when none comes in ``seconds``."""
        answer.addTimeout(seconds, self.session.clock)
        try:
            return await answer
        except (DeferredTimeoutError, StoreUnavailableError) as error:
            raise unanswered(error, seconds) from error

    async def change(self, answer: Deferred[T]) -> T:
        """Wait for a change to be made, however long it takes; a cancelled wait says that it may have been."""
        self.changing = True
        try:
            result = await answer
        except CancelledError:
            raise
        except StoreUnavailableError as error:
            self.changing = False
            raise unanswered(error) from error
        except Exception:
            self.changing = False
            raise
        self.changing = False
        return result

    async def stream(self, fetch: Callable[[Any, int], Deferred[Page]], limit: int | None) -> bool:
        """Give rows page by page, at most ``limit`` -> whether there were more."""
        after: Any = None
        shown = 0
        while True:
            count = PAGE if limit is None else min(PAGE, limit - shown)
            if count <= 0:
                return True
            page = await self.store(fetch(after, count))
            for row in page.rows:
                await self.row(row)
            shown += len(page.rows)
            after = page.next
            if after is None:
                return False
            if self.full:
                return True

    async def need_content(self, target: str, part: str) -> None:
        """Refuse who may not read content, and record the attempt.  Raises CommandError E301."""
        if not self.session.operator.content:
            await self.audit(target, part, 0, "refused E301")
            raise CommandError("E301", "Not permitted: needs the content privilege (ask an admin)")

    async def confirm(self, question: str) -> None:
        """Ask a person to go on; no, an empty line and silence mean no.  Raises CommandError E503, E303."""
        answer = await self._answer(f"{question} [y/N] ")
        if answer.strip().lower() not in {"y", "yes"}:
            raise CommandError("E503", "Cancelled. Nothing was changed")

    async def type_count(self, count: int) -> None:
        """Have a person type ``count``.  Raises CommandError E503, E303."""
        answer = await self._answer(f"Type {count} to go on: ")
        if answer.strip() != str(count):
            raise CommandError("E503", "Cancelled. Nothing was changed")

    async def _answer(self, question: str) -> str:
        if self.machine or not self.outlet.interactive:
            raise CommandError(
                "E303", 'Confirmation required. Nobody can be asked here: say "expect N" or "expect any"'
            )
        return await self.outlet.ask(question) or ""

    def expects(self, count: int) -> bool:
        """Whether ``expect`` agrees to act on ``count`` things; False without it.

        Raises CommandError E202 for what is no number, E304 when it is another.
        """
        wanted = self.args.get("expect")
        if wanted is None:
            return False
        if wanted.lower() == "any":
            return True
        if not (wanted.isascii() and wanted.isdigit()):
            raise CommandError("E202", f'"{wanted}" is not a number. Examples: expect 412, expect any')
        if int(wanted) != count:
            raise CommandError("E304", f"Expected {counted(int(wanted), 'item')}, found {count}. Nothing was changed")
        return True

    async def confirm_count(self, count: int, question: str) -> None:
        """Ask for what cannot be undone, unless ``expect`` said so.  Raises CommandError."""
        if not self.expects(count):
            if self.outlet.interactive:
                await self.say(question)
            await self.type_count(count)

    async def changed(self, target: str, args: str, affected: int, sentence: str) -> None:
        """Record a change that was made, and say so: a row of change/1 for machines, a sentence for people."""
        await self.audit(target, args, affected)
        if self.machine or self.outlet.style == "json" or self.pipeline.counts:
            await self.row({"verb": self.command.name, "target": target, "affected": affected})
        else:
            await self.say(sentence)

    async def audit(self, target: str, args: str = "", affected: int = 1, result: str = "ok") -> None:
        """Record what this command did.  Raises CommandError E502 when the trail cannot be written."""
        await self.session.record(self.command.name, target, args, affected, result)


def unanswered(error: BaseException, seconds: int = STORE_SECONDS) -> CommandError:
    """Return the error for a store that failed or did not answer."""
    if isinstance(error, StoreUnavailableError) and str(error):
        return CommandError("E502", f"The store is not available: {error}")
    return CommandError("E502", f"The store did not answer in {seconds} s. Nothing was changed")
