"""Acting on items: hold, release, retry, delete, undelete, each on exactly the set that was looked at."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, Clause, Command, CommandError, Selects, Word
from netsvc.console.call import SEARCH_SECONDS
from netsvc.console.pending import LIFE_MS, Waiting
from netsvc.console.preview import preview_facts, preview_text
from netsvc.console.render import counted
from netsvc.console.tables import JOB
from netsvc.console.targets import LIVE, both, chosen_ids, live, missing
from netsvc.console.verbs.jobs import follow
from netsvc.console.verbs.words import EXPECT, REASON
from netsvc.criteria import Expr, Test
from netsvc.mail.ids import show_id
from netsvc.records import Selection

if TYPE_CHECKING:
    from netsvc.console.call import Call

WHOLE = 20
"""A filter may let through every item of a queue of so many."""

NAMED = 5
"""Missing ids that are named."""

MAX_SPREAD_MS = 86_400_000
"""The store spreads over a day at most."""

MANY = 1000
"""Above so many items the count is typed, not y."""


async def act(verb: str, call: Call) -> None:
    """Run one action from selection to result."""
    args: dict[str, Any] = {"reason": call.args.get("reason", ""), "spread_ms": call.args.get("spread", 0)}
    token = call.args.get("confirm")
    if token is not None and not call.args.get("dry-run"):
        waiting = call.session.console.pending.take(token, verb, call.session.operator.name, call.now_ms)
        await _begin(call, verb, waiting.selection, dict(waiting.args))
        return
    if args["spread_ms"] > MAX_SPREAD_MS:
        raise CommandError("E202", "A spread is at most 1d. Examples: 30s 10m 2h")
    if verb == "delete" and not args["reason"]:
        raise CommandError("E306", 'A reason is required: reason "why"')
    selection = await _select(call, verb)
    if not selection.count:
        await _nothing(call)
        return
    totals = await call.store(call.service.queue.totals())
    whole = sum(totals.get(state, (0, 0))[0] for state in LIVE)
    if call.args.get("dry-run"):
        await _dry_run(call, verb, selection, args, whole)
        return
    if not call.expects(selection.count) or call.args["expect"].lower() == "any":
        _refuse_whole(call, selection, whole)
    if "expect" not in call.args:
        await _ask(call, verb, selection, args, whole)
    await _begin(call, verb, selection, args)


async def _select(call: Call, verb: str) -> Selection:
    """Freeze what was chosen.  Raises CommandError E401 for single ids that are not there."""
    chosen = call.chosen
    if chosen is None:
        raise CommandError("E103", "Incomplete. Expected one of: ID, where, last, all")
    queue = call.service.queue
    if chosen.kind == "ids":
        ids = await chosen_ids(call, whole=call.machine)
        selection = await call.store(queue.select(ids), SEARCH_SECONDS)
        if not selection.count:
            raise await missing(call, *ids[0], chosen.ids[0][1])
        await _tell_missing(call, ids)
    elif chosen.kind == "last":
        last = call.session.last
        if last is None:
            raise CommandError("E401", "There is no selection yet: show queue where … makes one", hint="show queue")
        selection = await call.store(queue.select(last), SEARCH_SECONDS) if isinstance(last, tuple) else last
    else:
        selection = await call.store(queue.select(_filter(verb, chosen.where)), SEARCH_SECONDS)
    assert isinstance(selection, Selection)
    if chosen.kind == "all" or not selection.described:
        selection.described = chosen.text
    return selection


async def _tell_missing(call: Call, ids: list[tuple[int, int | None]]) -> None:
    """Name those of several ids that are not in the queue: the others go on without them."""
    gone = []
    for message, n in ids if len(ids) > 1 else []:
        found = await call.store(call.service.queue.select([(message, n)]))
        if not found.count:
            gone.append(show_id(message) + ("" if n is None else f".{n}"))
    if gone:
        more = f" and {len(gone) - NAMED} more" if len(gone) > NAMED else ""
        await call.say(f"Not in the queue, so passed over: {', '.join(gone[:NAMED])}{more}")


def _filter(verb: str, where: Expr | None) -> Expr:
    """Return the filter for ``verb``: what it cannot concern is left out."""
    if verb == "undelete":
        scope: Expr | None = Test("state", "=", "recycled")
    elif verb == "release":
        scope = Test("state", "=", "hold")
    else:
        scope = live() if where is None else None
    expr = both(scope, where)
    assert expr is not None
    return expr


async def _nothing(call: Call) -> None:
    if call.args.get("dry-run") and call.machine:
        await call.outlet.preview({"count": 0, "token": None}, "")
        return
    if call.expects(0) or call.args.get("expect") is None:
        await call.note("No messages match. Nothing was changed.")


async def _dry_run(call: Call, verb: str, selection: Selection, args: dict[str, Any], whole: int) -> None:
    call.expects(selection.count)
    token = _keep(call, verb, selection, args) if call.machine else ""
    text = preview_text(verb, selection, args, whole, call.session.operator.name, call.now_ms)
    await call.outlet.preview(
        preview_facts(verb, selection, token, whole, call.session.operator.name), text + "\nNothing was changed."
    )


def _keep(call: Call, verb: str, selection: Selection, args: dict[str, Any]) -> str:
    waiting = Waiting(verb, call.session.operator.name, selection, args, call.now_ms + LIFE_MS)
    return call.session.console.pending.keep(waiting)


def _refuse_whole(call: Call, selection: Selection, whole: int) -> None:
    """Refuse a filter that turns out to let everything through.  Raises CommandError E305."""
    if call.chosen is not None and call.chosen.kind == "where" and WHOLE < whole <= selection.count:
        raise CommandError(
            "E305", f'This selects every item ({selection.count}). Say "all" if you mean it', None, ["all"]
        )


async def _ask(call: Call, verb: str, selection: Selection, args: dict[str, Any], whole: int) -> None:
    """Have the operator confirm; one item named by its id needs none.  Raises CommandError E303, E503."""
    named = call.chosen is not None and call.chosen.kind == "ids"
    if selection.count == 1 and (named or call.outlet.interactive):
        return
    if not call.outlet.interactive:
        token = _keep(call, verb, selection, args)
        raise CommandError(
            "E303",
            f'Confirmation required for {counted(selection.count, "item")}. Repeat with "confirm {token}" within 60 s',
            None,
            [f"confirm {token}", f"expect {selection.count}"],
        )
    await call.say(preview_text(verb, selection, args, whole, call.session.operator.name, call.now_ms))
    if selection.count > MANY:
        await call.type_count(selection.count)
    else:
        await call.confirm("Go on?")


async def _begin(call: Call, verb: str, selection: Selection, args: dict[str, Any]) -> None:
    told = [f'reason "{args["reason"]}"'] if args["reason"] else []
    told += [f"spread {args['spread_ms']} ms"] if args["spread_ms"] else []
    await call.audit(selection.described, " ".join(told), selection.count, "begins")  # a killed process leaves a trace
    number = await call.change(call.service.queue.start(verb, selection, args, call.session.operator.name))
    await follow(call, number, verb)


_SELECTS = Selects("queue", ("ids", "where", "last", "all"), required=True)
_SPREAD = Clause(
    "spread", "spread the attempts over a time", (Arg("spread", "duration", "30s 5m 2h", shown="DURATION"),)
)
_COMMON = (
    Clause("dry-run", "only say what would be done"),
    EXPECT,
    Clause("confirm", "act on what a dry-run showed", (Arg("confirm", "word", "the token it gave", shown="TOKEN"),)),
)


def _command(verb: str, help_: str, clauses: tuple[Clause, ...], examples: tuple[str, ...]) -> Command:
    return Command(
        (Word(verb, help_),),
        partial(act, verb),
        help_,
        selects=_SELECTS,
        clauses=(*clauses, *_COMMON),
        role="operator",
        changes=True,
        table=JOB,
        examples=examples,
    )


COMMANDS = (
    _command(
        "hold",
        "keep items from being tried until released",
        (REASON,),
        ('hold where domain=gmail.com reason "rate limit, INC-812"', "hold last", "hold all"),
    ),
    _command(
        "release", "let items on hold be tried again", (REASON, _SPREAD), ("release where held-why~INC-812 spread 10m",)
    ),
    _command(
        "retry", "try items again soon", (REASON, _SPREAD), ("retry where domain=outlook.com spread 10m dry-run",)
    ),
    _command(
        "delete",
        "delete items without a report; undelete brings them back",
        (REASON,),
        ('delete where sender=spam@* and age>4h reason "spam run, INC-815"',),
    ),
    _command("undelete", "bring deleted items back", (REASON,), ("undelete where domain=example.net",)),
)
