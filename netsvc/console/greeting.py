"""What an operator is shown after login: who, since when, and how the queue stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.console.render import show_duration, show_time
from netsvc.criteria import STATES
from netsvc.mail.escape import escape
from netsvc.records import StoreError

if TYPE_CHECKING:
    from netsvc.console.session import ConsoleSession


async def greet(session: ConsoleSession) -> str:
    """Return the lines.  No line ends in ``>`` or ``#``, none says "login": scripts wait for those."""
    console, operator = session.console, session.operator
    up = show_duration(session.now_ms() - console.started_at_ms)
    lines = [
        (
            f"{session.prompt[:-1]}  netsvc {console.version}  up {up}  |  "
            f"you: {escape(operator.name)} ({operator.role})  from {session.source}"
        )
    ]
    if operator.last_at:
        since = f"{operator.fails} failed attempt{'' if operator.fails == 1 else 's'} since."
        lines.append(f"Last access {show_time(operator.last_at)} from {escape(operator.last_from) or '-'}, {since}")
    elif operator.fails:
        lines.append(f"{operator.fails} failed attempts so far.")
    lines += await _queue(session)
    others = sorted(
        {
            f"{row['user']}"
            for row in session.service.sessions.rows()
            if row["kind"] == "console" and row["user"] and row["user"] != operator.name
        }
    )
    if others:
        lines.append(f"Also here: {', '.join(escape(name) for name in others)}.")
    lines.append("Type ? for a list of commands, help for more.")
    return "\n".join(lines)


async def _queue(session: ConsoleSession) -> list[str]:
    queue = session.service.queue
    try:
        totals = await queue.totals()
        live = {state: totals.get(state, (0, 0))[0] for state in STATES[:4]}
        whole = sum(live.values())
        if not whole:
            return ["The queue is empty."]
        oldest = (await queue.page(None, limit=1, order="id")).rows
    except StoreError:
        return ["The store does not answer."]
    line = f"Queue {whole}: " + ", ".join(f"{state} {n}" for state, n in live.items()) + "."
    if oldest:
        line += f"  Oldest {show_duration(session.now_ms() - oldest[0]['queued'])}."
    return [line]
