"""Next hops: how they fare, what is allowed there, and leaving them alone."""

from __future__ import annotations

from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, Clause, Command, CommandError, Selects, Word
from netsvc.config.complaints import ValueFaultError
from netsvc.config.destinations import destination_key, parse_rate
from netsvc.console.render import counted, show_duration
from netsvc.console.tables import CHANGE, DESTINATION
from netsvc.console.verbs.connections import end_sessions
from netsvc.console.verbs.words import EXPECT, REASON, SHOW
from netsvc.criteria import matches
from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from netsvc.console.call import Call
    from netsvc.records import Row

LONGEST_MS = 366 * 86_400_000
"""What ends, ends within a year."""
MOST = 10_000


async def show_destinations(call: Call) -> None:
    """List next hops."""
    rows = await _rows(call)
    where = None if call.chosen is None else call.chosen.where
    rows = [row for row in rows if where is None or matches(where, "destination", row, call.now_ms)]
    await call.rows(rows)
    if not rows:
        await call.note("No destination matches." if where is not None else "No destination is known yet.")


async def show_destination(call: Call) -> None:
    """Show one next hop."""
    row = await _known(call, call.args["key"])
    if not call.plain:
        await call.row(row)
        return
    await call.text("\n".join(_facts(call, row)))


def _facts(call: Call, row: Row) -> list[str]:
    """Return what is known of a destination, a line each."""
    settings = call.service.site.current
    said, usual = settings.destination(row["key"]), settings.delivery
    operator = f"by {row['limited_by']}" + _ending(call, row["limited_until"]) if row["limited_by"] else ""
    lines = [("state", _state(call, row))]
    lines.append(("waiting", f"{row['incoming']} not tried yet, {row['deferred']} deferred"))
    if row["last_error"]:
        lines.append(("last error", row["last_error"]))
    for name, value, own, site in (
        ("connections", row["limit"], row["said"]["limit"], said.connections),
        ("messages", row["messages"], row["said"]["messages"], said.messages),
        ("rate", row["rate_limit"] or "any", row["said"]["rate"], said.rate),
    ):
        source = operator if own else "site.destinations" if site else "site.delivery"
        shown = f"{row['connections']} open, {value} allowed" if name == "connections" else str(value)
        lines.append((name, f"{shown} ({source})"))
    lines.append(("tls", said.tls or usual.tls))
    if said.credential:
        lines.append(("credential", said.credential))
    waits = said.retry or usual.retry
    lines.append(("retry", " ".join(show_duration(wait) for wait in waits)))
    return [f"{name:12} {text}" for name, text in lines]


def _state(call: Call, row: Row) -> str:
    if row["state"] == "suspended":
        return f"suspended by {row['by'] or '?'}{_ending(call, row['until'])}: {row['reason'] or 'no reason given'}"
    if row["state"] == "backoff":
        return f"backoff{_ending(call, row['until'])}: left alone {counted(row['failures'], 'time')} in a row"
    if row["failures"]:
        return "ok, but its last connections failed: one message is tried"
    if row["rests_until"]:
        return f"ok, and at rest{_ending(call, row['rests_until'])}: it has had what its rate allows"
    return "ok"


def _ending(call: Call, until: int | None) -> str:
    return f" for another {show_duration(max(until - call.now_ms, 0))}" if until else ""


async def _rows(call: Call, key: str | None = None) -> list[Row]:
    """Return destination/1 rows with what is in force, whoever said it."""
    found: list[Row] = await call.store(call.service.queue.destinations(key))
    open_now = Counter(row["domain"] for row in call.service.sessions.rows() if row["kind"] == "smtp-out")
    return [_in_force(call, row, open_now[row["key"]]) for row in found]


def _in_force(call: Call, row: Row, open_now: int) -> dict[str, Any]:
    settings = call.service.site.current
    said, usual = settings.destination(row["key"]), settings.delivery
    rate = row["rate"] or said.rate
    return {
        **row,
        "said": {name: row[name] for name in ("limit", "messages", "rate")},
        "connections": open_now if row["connections"] is None else row["connections"],
        "limit": row["limit"] or said.connections or usual.connections,
        "messages": row["messages"] or said.messages or usual.messages,
        "rate": round(rate[0] * 60_000 / rate[1], 3) if rate else None,
        "rate_limit": f"{rate[0]}/{_span(rate[1])}" if rate else None,
    }


def _span(ms: int) -> str:
    """Return the time of a rate as it is typed: 1h, 90s."""
    length, unit = next((size, unit) for size, unit in _SPANS if ms % size == 0)
    return f"{ms // length}{unit}"


def _key(call: Call, text: str) -> str:
    """Return the key typed.  Raises CommandError E202."""
    try:
        key = destination_key(text)
    except ValueFaultError as fault:
        raise CommandError("E202", f"{fault.text} ({fault.remedy})", call.parsed.line.find(text)) from None
    if key == "*" or key.startswith("."):
        raise CommandError("E202", f"{key} is not one destination; say where domain=*{key.lstrip('*')}")
    return key


async def _known(call: Call, text: str) -> Row:
    """Return the row of a destination that is known.  Raises CommandError E401."""
    key = _key(call, text)
    rows = await _rows(call, key)
    if rows:
        return rows[0]
    names = [row["key"] for row in await call.store(call.service.queue.destinations())]
    near = get_close_matches(key, names, 3)
    also = f". Did you mean {near[0]}?" if near else ""
    shown = f"No destination {escape(key, 100)} is known{also}"
    raise CommandError("E401", shown, call.parsed.line.find(text), near, "show destinations")


async def _row_or_new(call: Call, text: str) -> Row:
    """Return the row of a destination, one of revision 0 where nobody has sent to it yet."""
    key = _key(call, text)
    rows = await call.store(call.service.queue.destinations(key))
    return rows[0] if rows else {"key": key, "rev": 0, "state": "ok", "new": True}


def _unused(call: Call, row: Row) -> str:
    """Tell that nothing has gone to a destination, and where mail for a domain of that name goes instead."""
    if not row.get("new"):
        return ""
    key = row["key"]
    other = call.service.routing.judge(key, None).key if set(key).isdisjoint("[:/") else key
    return " No mail has gone there yet." + (f" Mail for {key} goes to {other}." if other != key else "")


def _until(call: Call) -> tuple[int, str]:
    """Return (when it ends, ms since 1970 or 0, and in words).  Raises CommandError E202."""
    lasts = call.args.get("for")
    if lasts is None:
        return 0, ""
    if not 0 < lasts <= LONGEST_MS:
        raise CommandError("E202", "That is not a time to wait for. Examples: 30m 2h 7d, a year at most")
    return call.now_ms + lasts, f" for {show_duration(lasts)}"


async def _chosen(call: Call) -> list[Row]:
    """Return the destinations meant, by key or by where.  Raises CommandError."""
    key = call.args.get("key")
    where = None if call.chosen is None else call.chosen.where
    if where is None or key is not None:
        if key is not None and where is None:
            return [await _row_or_new(call, key)]
        raise CommandError("E103", "Say which one, or where …: suspend destination example.org, … where deferred>1000")
    rows = [row for row in await _rows(call) if matches(where, "destination", row, call.now_ms)]
    if not rows:
        raise CommandError("E401", "No destination matches. Nothing was changed", hint="show destinations")
    if len(rows) > MOST:
        raise CommandError("E202", f"That is {len(rows)} destinations; {MOST} at most. Nothing was changed")
    await call.confirm_count(len(rows), f"{counted(len(rows), 'destination')}, {_some(rows)}")
    return rows


def _some(rows: list[Row]) -> str:
    names = ", ".join(row["key"] for row in rows[:5])
    return names if len(rows) <= 5 else f"{names} …"


async def _set_all(call: Call, rows: list[Row], told: str, policy: dict[str, Any]) -> None:
    """Change destinations one after another; what was changed before one fails is in the trail."""
    done = 0
    try:
        for row in rows:
            await call.change(call.service.queue.set_destination(row["key"], row["rev"], **policy))
            done += 1
    except BaseException:
        if done:
            await call.audit(_some(rows[:done]), told, done, "partly")
            await call.note(f"{counted(done, 'destination')} of {len(rows)} changed before this: {_some(rows[:done])}")
        raise


async def suspend(call: Call) -> None:
    """Leave destinations alone, on all nodes."""
    until, lasts = _until(call)
    rows = await _chosen(call)
    reason = call.args["reason"]
    policy = {"paused": 1, "pause_note": reason, "pause_by": call.session.operator.name, "pause_until": until}
    told = f'reason "{reason}"{lasts}'
    await _set_all(call, rows, told, policy)
    names = {row["key"] for row in rows}
    present = [e["id"] for e in call.service.sessions.rows() if e["kind"] == "smtp-out" and e["domain"] in names]
    ended = await end_sessions(call, present, reason) if call.args.get("drop-connections") else []
    shown = rows[0]["key"] if len(rows) == 1 else counted(len(rows), "destination")
    sentence = f"{shown} {'is' if len(rows) == 1 else 'are'} suspended{lasts}."
    if len(rows) == 1:
        sentence += _unused(call, rows[0])
    if not until:
        sentence += f" To take that back: resume destination {rows[0]['key']}"
    if ended:
        sentence += f" {counted(len(ended), 'session')} ended."
        told += f" dropped {len(ended)}"
    elif present:
        sentence += f" {counted(len(present), 'session')} on this node carry on with what they have begun."
    await call.changed(_some(rows), told, len(rows), sentence)


async def resume(call: Call) -> None:
    """Try destinations again."""
    rows = await _chosen(call)
    rows = [row for row in rows if row["state"] == "suspended"]
    if not rows:
        raise CommandError("E405", "It is not suspended. Nothing was changed", hint="show destinations")
    await _set_all(call, rows, "", {"paused": 0})
    shown = rows[0]["key"] if len(rows) == 1 else counted(len(rows), "destination")
    await call.changed(_some(rows), "", len(rows), f"{shown} {'is' if len(rows) == 1 else 'are'} tried again.")


async def limit(call: Call) -> None:
    """Allow a destination less, or more, than the site says."""
    until, lasts = _until(call)
    policy: dict[str, Any] = {}
    words = []
    for name in ("connections", "messages"):
        if call.args.get(name):
            policy[name] = call.args[name]
            words.append(f"{name} {call.args[name]}")
    if call.args.get("rate"):
        policy["rate_count"], policy["rate_ms"] = _rate(call, call.args["rate"])
        words.append(f"rate {call.args['rate']}")
    if not policy:
        raise CommandError("E103", "Incomplete. Expected one of: connections, messages, rate")
    row = await _row_or_new(call, call.args["key"])
    policy |= {"until_at": until, "limited_by": call.session.operator.name}
    await call.change(call.service.queue.set_destination(row["key"], row["rev"], **policy))
    said = ", ".join(words)
    new = _unused(call, row)
    also = _others(row, policy, until)
    await call.changed(
        row["key"], f"{said}{lasts}", 1, f"{row['key']}: {said} at most{lasts}, on all nodes.{also}{new}"
    )


def _others(row: Row, policy: dict[str, Any], until: int) -> str:
    """Tell what becomes of limits that were there: all of a destination's end together."""
    kept = {"connections": row.get("limit"), "messages": row.get("messages"), "rate_count": row.get("rate")}
    names = [name.removesuffix("_count") for name, value in kept.items() if value and name not in policy]
    if not names or (row["limited_until"] or 0) == until:
        return ""
    return f" Its limit of {' and '.join(names)} {'ends then, too' if until else 'holds until it is taken back, too'}."


def _rate(call: Call, text: str) -> tuple[int, int]:
    try:
        return parse_rate(text)
    except ValueFaultError as fault:
        raise CommandError("E202", f"{fault.text} ({fault.remedy})", call.parsed.line.find(text)) from None


async def no_limit(call: Call) -> None:
    """Allow a destination what the site says."""
    row = await _known(call, call.args["key"])
    if not row["limited_by"]:
        raise CommandError("E405", f"Nobody has limited {row['key']}: the site's settings hold there")
    nothing = {"connections": 0, "messages": 0, "rate_count": 0, "rate_ms": 0, "until_at": 0}
    await call.change(call.service.queue.set_destination(row["key"], row["rev"], **nothing))
    await call.changed(row["key"], "", 1, f"{row['key']} has what the site's settings allow.")


async def clear_backoff(call: Call) -> None:
    """Try a destination again though it could not be reached."""
    row = await _known(call, call.args["key"])
    await call.change(call.service.queue.set_destination(row["key"], row["rev"], backoff=0))
    also = "; it is suspended still" if row["state"] == "suspended" else ""
    await call.changed(row["key"], "backoff", 1, f"The failures of {row['key']} are forgotten{also}.")


_SPANS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))
_DESTINATION = Word("destination", "a next hop: show destinations")
_SHOWN = "DESTINATION"
_KEY = Arg("key", "word", "as show destinations has it: example.org, [192.0.2.10]:25", shown=_SHOWN)
_ONE = Arg("key", "word", "as show destinations has it", optional=True, shown=_SHOWN)
_FOR = Clause(
    "for", "how long; without it, until it is taken back", (Arg("for", "duration", "30m 2h 7d", shown="DURATION"),)
)
_WHERE = Selects("destination", ("where",))

COMMANDS = (
    Command(
        (SHOW, Word("destinations", "next hops")),
        show_destinations,
        "next hops: connections, what waits, the last failure",
        selects=_WHERE,
        table=DESTINATION,
        examples=("show destinations where state=suspended", "show destinations where deferred>100"),
    ),
    Command(
        (SHOW, _DESTINATION),
        show_destination,
        "one next hop: its state, what is allowed there and who said so",
        args=(_KEY,),
        table=DESTINATION,
        examples=("show destination example.org", "show destination [192.0.2.10]:25"),
    ),
    Command(
        (Word("suspend", "leave a destination alone"), _DESTINATION),
        suspend,
        "make no attempts at a destination, on any node; its mail waits",
        args=(_ONE,),
        selects=_WHERE,
        clauses=(
            _FOR,
            Clause(REASON.name, REASON.help, REASON.args, required=True),
            Clause("drop-connections", "end its present sessions on this node too"),
            EXPECT,
        ),
        role="operator",
        changes=True,
        table=CHANGE,
        examples=('suspend destination example.org for 2h reason "INC-812"',),
    ),
    Command(
        (Word("resume", "take it up again"), _DESTINATION),
        resume,
        "make attempts at a suspended destination again",
        args=(_ONE,),
        selects=_WHERE,
        clauses=(EXPECT,),
        role="operator",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (Word("limit", "allow less"), _DESTINATION),
        limit,
        "say what a destination is allowed, of all nodes together, instead of what the site says",
        args=(_KEY,),
        clauses=(
            Clause("connections", "at a time", (Arg("connections", "int", "how many", low=1, shown="N"),)),
            Clause("messages", "on one connection", (Arg("messages", "int", "how many", low=1, shown="N"),)),
            Clause("rate", "messages in a time", (Arg("rate", "word", "100/1h, 5/s", shown="N/DURATION"),)),
            _FOR,
        ),
        role="operator",
        changes=True,
        table=CHANGE,
        examples=("limit destination example.org connections 2 rate 100/1h for 1d",),
    ),
    Command(
        (Word("no", "take a limit back"), Word("limit", "what an operator allowed"), _DESTINATION),
        no_limit,
        "allow a destination what the site says again",
        args=(_KEY,),
        role="operator",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (Word("clear", "forget"), _DESTINATION),
        clear_backoff,
        "forget that a destination could not be reached: it is tried at once",
        args=(_KEY, Arg("what", "choice", "what to forget", words=(Word("backoff", "its failed connections"),))),
        role="operator",
        changes=True,
        table=CHANGE,
        examples=("clear destination example.org backoff",),
    ),
)
