"""Where a command's rows and words go: a person's terminal.  (Machine mode's is in ``machine``.)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from netsvc.console.render import Layout, inner_rows, json_line, lines_of, list_lines, machine_row
from netsvc.console.tables import TEXT
from netsvc.console.widths import cells, cut
from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netsvc.commands import CommandError, Table
    from netsvc.interfaces import ITerminal
    from netsvc.records import Row

BATCH = 100
"""Rows gathered before the widths of a table are settled."""


class Outlet(Protocol):
    """What verbs say things through, whoever listens."""

    machine: bool
    style: str

    @property
    def interactive(self) -> bool:
        """Whether somebody can answer questions."""

    async def row(self, table: Table, row: Row) -> None:
        """Show a row."""

    async def flush(self) -> None:
        """Show what was gathered."""

    async def say(self, text: str) -> None:
        """Show a sentence (LF between lines)."""

    async def preview(self, facts: Mapping[str, Any], text: str) -> None:
        """Show what an action would do: ``facts`` for machines, ``text`` for people."""

    async def progress(self, job: int, done: int, of: int) -> None:
        """Show how far a job is; may be dropped."""

    def paged(self, on: bool) -> None:
        """Show page by page, or as it comes: what is watched does not wait for a key."""

    async def ask(self, question: str, secret: bool = False) -> str | None:
        """Ask for a line; None when it was cancelled or nobody is there."""


class PersonOutlet:
    """A person's terminal.  ``style``: table, list or json; ``width`` in cells, 0 for any."""

    machine = False

    def __init__(self, terminal: ITerminal, style: str, width: int, now_ms: int) -> None:
        """``now_ms`` is what ages and relative times count from."""
        self._terminal = terminal
        self.style = style
        self._width = width
        self._now_ms = now_ms
        self._table: Table | None = None
        self._layout: Layout | None = None
        self._rows: list[Row] = []
        self._pages = False

    @property
    def interactive(self) -> bool:
        """Whether somebody can answer questions."""
        return bool(self._terminal.interactive)

    async def row(self, table: Table, row: Row) -> None:
        """Gather a row; the first hundred settle the widths of their table."""
        if table is not self._table:
            await self.flush()
            self._table, self._layout = table, None
        self._rows.append(row)
        if len(self._rows) >= BATCH:
            await self._show()

    async def flush(self) -> None:
        """Show the rows gathered, and once below them what columns there was no room for."""
        await self._show()
        left_out = self._layout.left_out() if self._layout is not None else ()
        await self._write_lines(left_out)

    async def _show(self) -> None:
        rows, self._rows = self._rows, []
        if rows and self._table is not None:
            await self._write_lines(self._lines(self._table, rows))

    async def _write_lines(self, lines: Sequence[str]) -> None:
        if lines:
            await self.write("".join(line + "\n" for line in lines))

    def _lines(self, table: Table, rows: Sequence[Row]) -> list[str]:
        if self.style == "json":
            return [json_line(machine_row(table, row)) for row in rows]
        if table is TEXT:
            return [escape(str(row["line"])) for row in rows]
        if self.style == "list" or not table.shown:
            return self._lists(table, rows)
        if self._layout is None:
            self._layout = Layout(table, self._width, self._now_ms)
        return self._layout.lines(rows)

    def _lists(self, table: Table, rows: Sequence[Row]) -> list[str]:
        out: list[str] = []
        for at, row in enumerate(rows):
            out += [""] if at else []
            out += list_lines(table, row, self._now_ms)
            for column, inner in inner_rows(table, row):
                assert column.inner is not None
                out += [f"{column.name}:"]
                layout = Layout(column.inner, max(self._width - 2, 0), self._now_ms)
                out += ["  " + line for line in (*layout.lines(inner), *layout.left_out(""))]
        return out

    async def say(self, text: str) -> None:
        """Show a sentence below the rows."""
        await self.flush()
        await self.write("".join(escape(line) + "\n" for line in text.split("\n")))

    async def preview(self, facts: Mapping[str, Any], text: str) -> None:
        """Show what an action would do."""
        del facts
        await self.say(text)

    async def progress(self, job: int, done: int, of: int) -> None:
        """Show how far a job is."""
        self._terminal.progress(f"Job {job}: {done} of {of}")

    def paged(self, on: bool) -> None:
        """Show page by page where it was before, or as it comes."""
        if not on:
            self._pages = bool(getattr(self._terminal, "pages", False))
        if self._pages:
            self._terminal.pages = on  # type: ignore[attr-defined] # those that have it show pages

    async def ask(self, question: str, secret: bool = False) -> str | None:
        """Ask below what was shown."""
        await self.flush()
        return await self._terminal.ask(question, secret)

    async def write(self, text: str) -> None:
        """Write, and wait while the terminal cannot take more."""
        pressure = self._terminal.write(text)
        if pressure is not None:
            await pressure

    async def fail(self, line: str, error: CommandError) -> None:
        """Show an error: the line with a caret below the place, then the sentence and its code."""
        await self.flush()
        out = []
        if error.column is not None:
            out += self._place(line.rstrip(), error.column)
        out.append(f"% {escape(error.message)}  [{error.code}]" + (f"   {error.hint}" if error.hint else ""))
        await self.write("".join(part + "\n" for part in out))

    def _place(self, line: str, at: int) -> list[str]:
        """Return the line with a caret below its character ``at``; of a long line, what is around it."""
        shown, before = escape(line), escape(line[:at])
        if self._width and max(cells(shown), cells(before) + 1) > self._width:
            start = max(at - self._width // 2, 0)
            dots = "..." if start else ""
            shown = cut(dots + escape(line[start:]), self._width)
            before = dots + escape(line[start:at])
        return [shown, " " * cells(before) + "^"]


def text_rows(text: str) -> list[dict[str, str]]:
    """Return a text as rows of the table TEXT."""
    return [{"line": line} for line in lines_of(text)]
