"""What commands are pointed at, found: ids and their beginnings, filters, the last selection."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from netsvc.commands import CommandError
from netsvc.console.render import show_time
from netsvc.criteria import And, Expr, Or, Test
from netsvc.mail.ids import LENGTH, IdError, parse_item, prefix_range, show_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.console.call import Call

SHORTEST = 5
"""Characters of an id's beginning."""

LIVE = ("incoming", "active", "deferred", "hold")


async def find_id(call: Call, text: str, column: int | None, whole: bool = False) -> tuple[int, int | None]:
    """Return (message id, n or None) of an id or the beginning of one; ``whole``: beginnings are refused.

    Raises CommandError E202 for what is no id, E402 for a beginning that is too short or fits several.
    """
    head, dot, tail = text.partition(".")
    try:
        if len(head) >= LENGTH:
            return parse_item(text)
        prefix_range(head)
        n = parse_item("0" * LENGTH + dot + tail)[1]
    except IdError as error:
        raise CommandError("E202", f'"{text}" is not a queue id: {error}', column) from None
    if whole:
        raise CommandError("E402", f'"{text}" is too short: here an id has all its {LENGTH} characters', column)
    if len(head) < SHORTEST:
        raise CommandError("E402", f'"{text}" is too short. Use at least {SHORTEST} characters', column)
    found = await call.store(call.service.queue.find_message(head.upper()))
    if not found:
        raise CommandError("E401", f"No such message {text}", column)
    if len(found) > 1:
        names = [show_id(number) for number in found]
        least = max(_common(a, b) for a, b in itertools.pairwise(names)) + 1
        many = f"{len(found)} matches" if len(found) < 6 else "6 matches or more"
        raise CommandError("E402", f'"{text}" is too short: {many}. Use at least: {names[0][:least]}', column, names)
    return found[0], n


def _common(a: str, b: str) -> int:
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a))


async def missing(call: Call, message: int, n: int | None, column: int | None) -> CommandError:
    """Return E401 for a message that is not in the queue; its history says how it ended."""
    shown = show_id(message) + ("" if n is None else f".{n}")
    past = await call.store(call.service.queue.history(Test("id", "=", (message, n)), limit=1))
    if not past.rows:
        return CommandError("E401", f"No such message {shown}", column)
    row = past.rows[0]
    when = show_time(row["done"])
    return CommandError(
        "E401", f"No such message {shown}. It was {row['result']} {when}", column, hint=f"show history where id={shown}"
    )


async def chosen_ids(call: Call, whole: bool = False) -> list[tuple[int, int | None]]:
    """Return the ids typed, each once.  Raises CommandError."""
    assert call.chosen is not None
    found = [await find_id(call, text, column, whole) for text, column in call.chosen.ids]
    return list(dict.fromkeys(found))


def of_ids(ids: Sequence[tuple[int, int | None]]) -> Expr:
    """Return the filter that matches ``ids``."""
    return Test("id", "=", ids[0]) if len(ids) == 1 else Test("id", "in", tuple(ids))


async def chosen_filter(call: Call) -> Expr | None:
    """Return what was typed as a filter: ids, where; None for all and for nothing."""
    if call.chosen is None or call.chosen.kind == "all":
        return None
    if call.chosen.kind == "ids":
        return of_ids(await chosen_ids(call))
    return call.chosen.where


def both(*terms: Expr | None) -> Expr | None:
    """Return the filter that asks for all of ``terms`` that are there."""
    given = tuple(term for term in terms if term is not None)
    if not given:
        return None
    return given[0] if len(given) == 1 else And(given)


def live() -> Expr:
    """Return the filter for everything in the queue."""
    return Or(tuple(Test("state", "=", state) for state in LIVE))
