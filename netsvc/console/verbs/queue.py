"""``show queue`` and its summaries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, Clause, Command, Selects, Table, Word
from netsvc.console.call import SEARCH_SECONDS
from netsvc.console.render import counted
from netsvc.console.tables import ITEM, REASON, SUMMARY
from netsvc.console.targets import LIVE, both, chosen_filter, live
from netsvc.console.verbs.words import ORDERED_LIMIT, ORDERS, SCREEN, SHOW
from netsvc.criteria import STATES, Expr, Test
from netsvc.mail.ids import parse_item

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.console.call import Call
    from netsvc.records import Page, Row

QUEUE = Word("queue", "mail waiting to go out")
KEPT_IDS = 10_000
"""Shown items that become the selection "last" without asking the store again."""

GROUPS = ("destination", "domain", "reason", "sender-domain", "user", "peer", "state", "route", "node")
TOP = 20


async def show_queue(call: Call) -> None:
    """List items, save what the filter matches as the selection ``last``."""
    state = call.args.get("state")
    expr = both(None if state is None else Test("state", "=", state), await chosen_filter(call))
    limit = call.args.get("limit")
    if limit is None and [pipe.name for pipe in call.parsed.pipes] == ["count"]:
        await _count_only(call, expr)
        return
    if limit is None and call.plain:
        limit = SCREEN
    ids: list[tuple[int, int | None]] = []

    def fetch(after: Any, count: int) -> Deferred[Page]:
        order = ORDERS[call.args.get("order", "oldest")]
        answer: Deferred[Page] = call.service.queue.page(expr, after, count, order)
        return answer.addCallback(_keep, ids)

    more = await call.stream(fetch, limit)
    if not call.pipeline.plain:
        call.session.last = tuple(ids) if not more else None
        return
    await call.outlet.flush()
    await _save_selection(call, expr, ids, more)


def _keep(page: Page, ids: list[tuple[int, int | None]]) -> Page:
    if len(ids) < KEPT_IDS:
        ids += [parse_item(row["id"]) for row in page.rows]
    return page


async def _count_only(call: Call, expr: Expr | None) -> None:
    """Count without reading the rows."""
    call.table = ITEM
    call.pipeline.preset(await _total(call, expr))


async def _total(call: Call, expr: Expr | None) -> int:
    if expr is None:
        totals = await call.store(call.service.queue.totals())
        return sum(totals.get(state, (0, 0))[0] for state in LIVE)
    return sum(row["total"] for row in await call.store(call.service.queue.counts("state", expr), SEARCH_SECONDS))


async def _save_selection(call: Call, expr: Expr | None, ids: list[tuple[int, int | None]], more: bool) -> None:
    """Say how many there are in all, and keep exactly those as ``last``."""
    if not more:
        call.total = len(ids) if len(ids) < KEPT_IDS else call.rows_out
        call.session.last = tuple(ids) if len(ids) == call.rows_out else None
        if not call.rows_out:
            await call.note("No messages match.")
        return
    if call.machine:
        call.session.last = None
        call.total = await _total(call, expr)
        return
    call.total = await _total(call, None) if expr is None else None
    if call.total is not None and call.total > KEPT_IDS:
        call.session.last = None
        await call.note(f"{call.rows_out} of {call.total} shown. Say limit N or where … to see others.")
        return
    selection = await call.store(call.service.queue.select(live() if expr is None else expr), SEARCH_SECONDS)
    selection.described = call.chosen.text if call.chosen is not None else call.args.get("state") or "all"
    call.session.last, call.total = selection, selection.count
    await call.note(
        f'{call.rows_out} of {selection.count} shown. Selection saved as "last" ({counted(selection.count, "item")}).'
    )


def _summary_table(by: str) -> Table:
    columns = [replace(SUMMARY.columns[0], title=by.upper()), *SUMMARY.columns[1:]]
    if by != "destination":
        columns = [replace(c, title="") if c.name == "status" else c for c in columns]
    return replace(SUMMARY, columns=tuple(columns))


_SUMMARIES = {by: _summary_table(by) for by in GROUPS}


async def show_summary(call: Call) -> None:
    """Count items by something, with the ages of each group."""
    by = call.args.get("by", "destination")
    call.table = _SUMMARIES[by]
    rows = await call.store(call.service.queue.counts(by, await chosen_filter(call)), SEARCH_SECONDS)
    if not call.plain:
        await call.rows(rows)
        return
    if not rows:
        await call.note("No messages match.")
        return
    await call.rows(rows[:TOP])
    rest = rows[TOP:]
    if rest:
        await call.row(_sum(rest, f"{len(rest)} others"))
    if len(rows) > 1:
        await call.row(_sum(rows, "TOTAL"))
    await call.note("Ages in minutes since acceptance.")


def _sum(rows: list[Row], name: str) -> Row:
    out: dict[str, Any] = {"key": name, "status": None}
    for key in ("total", "bytes", *LIVE):
        out[key] = sum(row[key] for row in rows)
    out["ages"] = [sum(row["ages"][at] for row in rows) for at in range(7)]
    out["oldest"] = min((row["oldest"] for row in rows if row["oldest"] is not None), default=None)
    return out


async def show_reasons(call: Call) -> None:
    """Say why mail waits."""
    domain = call.args.get("for")
    expr = both(None if domain is None else Test("domain", "=", domain), await chosen_filter(call))
    rows = await call.store(call.service.queue.reasons(expr), SEARCH_SECONDS)
    await call.rows(rows)
    if not rows:
        await call.note("No message waits for a reason.")


_STATE = Arg("state", "choice", "only this state", words=tuple(Word(s, f"items {s}") for s in STATES), optional=True)
_BY = Clause("by", "what to count by", (Arg("by", "choice", "what to count by", words=tuple(Word(g) for g in GROUPS)),))

COMMANDS = (
    Command(
        (SHOW, QUEUE),
        show_queue,
        "items in the queue, one a recipient",
        args=(_STATE,),
        selects=Selects("queue", ("ids", "where", "all")),
        clauses=(ORDERED_LIMIT, Clause("detail", "every field of each"), Clause("brief", "one line each")),
        table=ITEM,
        examples=(
            "show queue where domain=gmail.com and age>1h",
            "show queue deferred limit 5 oldest",
            "show queue where reason~greylist | count",
        ),
    ),
    Command(
        (Word("mailq", "show queue, as Postfix calls it"),),
        show_queue,
        "items in the queue (show queue)",
        args=(_STATE,),
        selects=Selects("queue", ("ids", "where", "all")),
        clauses=(ORDERED_LIMIT, Clause("detail", "every field of each"), Clause("brief", "one line each")),
        table=ITEM,
    ),
    Command(
        (SHOW, QUEUE, Word("summary", "counted, with ages")),
        show_summary,
        "the queue counted by destination, sender, reason …, with ages",
        selects=Selects("queue", ("where",)),
        clauses=(_BY,),
        table=SUMMARY,
        examples=("show queue summary", "show queue summary by sender-domain where age>1h"),
    ),
    Command(
        (SHOW, QUEUE, Word("reasons", "why mail waits")),
        show_reasons,
        "why mail waits, most frequent first",
        selects=Selects("queue", ("where",)),
        clauses=(Clause("for", "one recipient domain", (Arg("for", "domain", "a recipient domain", shown="DOMAIN"),)),),
        table=REASON,
        examples=("show queue reasons for gmail.com",),
    ),
)
