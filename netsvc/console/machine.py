"""Machine mode: one object a line, exactly one ``end`` a command (CONSOLE.md 3.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.console.render import machine_row
from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.defer import Deferred

    from netsvc.commands import CommandError, Table
    from netsvc.records import Row

PROTOCOL = "netsvc-console/1"


class MachineOutlet:
    """Hands each object to ``write(dict)``, which may answer with a Deferred: back-pressure."""

    machine = True
    interactive = False
    style = "json"

    def __init__(self, write: Callable[[Mapping[str, Any]], Deferred[None] | None]) -> None:
        self._write = write

    async def put(self, name: str, value: Any) -> None:
        """Write one object of type ``name``."""
        pressure = self._write({name: value})
        if pressure is not None:
            await pressure

    async def row(self, table: Table, row: Row) -> None:
        """Write a row with exactly its table's fields."""
        await self.put("row", machine_row(table, row))

    async def flush(self) -> None:
        """Nothing is gathered here."""

    async def say(self, text: str) -> None:
        """Write a notice."""
        await self.put("notice", {"text": "\n".join(escape(line) for line in text.split("\n"))})

    async def preview(self, facts: Mapping[str, Any], text: str) -> None:
        """Write what an action would do."""
        del text
        await self.put("preview", dict(facts))

    async def progress(self, job: int, done: int, of: int) -> None:
        """Write how far a job is."""
        await self.put("progress", {"job": job, "done": done, "of": of})

    def paged(self, on: bool) -> None:
        """Nothing is shown by pages here."""

    async def ask(self, question: str, secret: bool = False) -> str | None:
        """Nobody is there to answer."""
        del question, secret
        return None


def error_object(error: CommandError) -> dict[str, Any]:
    """Return the content of the ``err`` object; ``col`` counts from 1, null when no place is to blame."""
    return {
        "code": error.code,
        "msg": escape(error.message),
        "col": None if error.column is None else error.column + 1,
        "suggest": [escape(word) for word in error.suggestions],
    }
