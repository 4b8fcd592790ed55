"""How this node is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.commands import Command, Word
from netsvc.console.healthtables import HEALTH
from netsvc.console.verbs.words import SHOW

if TYPE_CHECKING:
    from netsvc.console.call import Call

_FIELDS = tuple(column.name for column in HEALTH.fields)


async def show_health(call: Call) -> None:
    """Show what the node knows of its own condition."""
    vitals = call.service.vitals
    node = call.session.console.node
    rows = [] if vitals is None else vitals.rows()
    usual = {"state": "ok", "why": "", "node": node}
    await call.rows({name: row.get(name, usual.get(name)) for name in _FIELDS} for row in rows)
    if not rows:
        await call.note("This node does not look after itself.")


COMMANDS = (
    Command(
        (SHOW, Word("health", "how this node is")),
        show_health,
        "how this node is: whether it takes mail, room for sessions, space, what held the reactor up",
        table=HEALTH,
    ),
)
