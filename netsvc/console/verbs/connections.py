"""Who is connected: sessions listed, summed up, shown one by one, and ended."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from twisted.internet.task import deferLater

from netsvc.commands import Arg, Clause, Command, CommandError, Selects, Word
from netsvc.console.livetables import KICK, SESSION, SESSION_SUMMARY, TRACE
from netsvc.console.pending import LIFE_MS, Waiting
from netsvc.console.render import counted
from netsvc.console.speech import spoken, trace_row
from netsvc.console.verbs.words import EXPECT, LIMIT, REASON, SHOW
from netsvc.criteria import matches
from netsvc.flightrecorder import lines_of
from netsvc.mail.escape import escape
from netsvc.records import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from netsvc.console.call import Call
    from netsvc.interfaces import ISessionEntry
    from netsvc.records import Row

SESSIONS = Word("sessions", "connections, in and out")
GROUPS = ("peer", "state", "listener", "kind", "user", "domain", "helo")
LARGEST = ("bytes", "cmds", "msgs", "idle", "in-state", "rcpts", "content")
"""Fields sorted by from the largest down."""
SORTS = (*LARGEST, "since", "peer", "user", "state", "listener", "helo")
TOP = 20
SLICE = 500
"""Sessions that are looked at in a turn of the reactor."""
SHOWN_LINES = 10
"""Lines of its dialogue that are shown of a session when nothing else is asked for."""
ENDED_AT_ONCE = 100
"""Sessions that are ended in a turn of the reactor."""
MOST_LINES = 2000
NAMED = 8
"""Peers and ids that are named."""
MANY = 1000
"""Above so many sessions the count is typed, not y."""


def find_session(call: Call, text: str) -> ISessionEntry:
    """Return the session called ``text``, open or remembered.  Raises CommandError."""
    column = call.parsed.line.find(text)
    if text[:1] not in {"S", "s"} or not text[1:].isdigit():
        raise CommandError("E202", f'"{text}" is not a session. Examples: S12', column)
    found: ISessionEntry | None = call.service.sessions.find(text)
    if found is None:
        raise CommandError("E401", f"No such session {text.upper()}, and nothing of it is remembered", column)
    return found


async def matching(call: Call) -> list[Row]:
    """Return session/1 rows of the open sessions that were chosen; of many, a slice in a turn of the reactor."""
    where = call.chosen.where if call.chosen is not None and call.chosen.kind == "where" else None
    sessions = call.service.sessions
    found: list[Row] = []
    entries = sessions.entries()
    for at in range(0, max(len(entries), 1), SLICE):
        if at:
            await deferLater(call.session.clock, 0, lambda: None)
        slice_ = entries[at : at + SLICE]
        rows = [entry.row(call.now_ms, sessions.node) for entry in slice_] if len(entries) > SLICE else sessions.rows()
        found += [row for row in rows if where is None or matches(where, "session", row, call.now_ms)]
    return found


async def show_sessions(call: Call) -> None:
    """List connections."""
    rows = await matching(call)
    by = call.args.get("sort")
    if by is not None:
        key = by.replace("-", "_")
        rows.sort(key=_sort_key(key, by in LARGEST))
    limit = call.args.get("limit")
    call.total = len(rows)
    for at, row in enumerate(rows[:limit]):
        if at % SLICE == SLICE - 1:
            await deferLater(call.session.clock, 0, lambda: None)
        await call.row(row)
    if not rows:
        await call.note("No sessions match.")
    elif limit is not None and len(rows) > limit:
        await call.note(f"{limit} of {len(rows)} shown.")


def _sort_key(key: str, largest: bool) -> Callable[[Row], Any]:
    if largest:
        return lambda row: -(row.get(key) or 0)
    return lambda row: (row.get(key) in (None, ""), row.get(key))


async def show_summary(call: Call) -> None:
    """Count sessions by something."""
    by = call.args.get("by", "peer")
    groups: dict[str, dict[str, Any]] = {}
    for row in await matching(call):
        key = row[by] or "-"
        group = groups.setdefault(
            key, {"key": key, "total": 0, "cmds": 0, "msgs": 0, "bytes": 0, "oldest": row["since"], "idle": 0}
        )
        group["total"] += 1
        for name in ("cmds", "msgs", "bytes"):
            group[name] += row[name] or 0
        group["oldest"] = min(group["oldest"], row["since"])
        group["idle"] = max(group["idle"], row["idle"])
    rows = sorted(groups.values(), key=lambda group: (-group["total"], group["key"]))
    call.total = len(rows)
    await call.rows(rows[:TOP] if call.plain else rows)
    if not rows:
        await call.note("No sessions match.")
    elif call.plain and len(rows) > TOP:
        await call.note(
            f"and {len(rows) - TOP} more, with {counted(sum(row['total'] for row in rows[TOP:]), 'session')}"
        )


async def show_session(call: Call) -> None:
    """Show one session: all its facts and its last words, or the whole dialogue that is remembered."""
    entry = find_session(call, call.args["id"])
    recorder = call.service.sessions.recorder
    lines = [line for item in recorder.items() if item[1] is entry for line in lines_of(item)]
    if call.args.get("part") == "dialogue":
        call.table = TRACE
        for line in lines[-MOST_LINES:]:
            await call.row(trace_row(line)) if not call.plain else await call.text(spoken(line, session=False))
        if not lines:
            await call.note("Nothing that was said is remembered.")
        elif len(lines) > MOST_LINES:
            await call.note(f"The last {MOST_LINES} of {len(lines)} lines.")
        return
    if call.outlet.style == "table":
        call.outlet.style = "list"
    row = {**entry.row(call.now_ms, call.service.hostname), "recipients": entry.recipients() or None}
    row["dialogue"] = [spoken(line, session=False) for line in lines[-SHOWN_LINES:]] or None
    await call.row(row)
    if len(lines) > SHOWN_LINES:
        await call.note(f"The last {SHOWN_LINES} of {len(lines)} lines: show session {entry.id} dialogue")


# -- ending sessions -----------------------------------------------------------------------------


async def kick(call: Call) -> None:
    """End sessions, after a look at what they are."""
    token = call.args.get("confirm")
    if token is not None and not call.args.get("dry-run"):
        waiting = call.session.console.pending.take(token, "kick", call.session.operator.name, call.now_ms)
        await _end(call, waiting.args["sessions"], str(waiting.args["reason"]), waiting.selection.described)  # type: ignore[arg-type] # what _keep put there
        return
    chosen = call.chosen
    if chosen is None:
        raise CommandError("E103", "Incomplete. Expected one of: ID, where, all")
    rows = await _chosen_rows(call)
    if call.args.get("dry-run"):
        call.expects(len(rows))
        token = _keep(call, rows) if call.machine and rows else None
        await call.outlet.preview(_facts(rows, token), _preview(rows) + "\nNothing was changed.")
        return
    if not rows:
        if call.expects(0) or call.args.get("expect") is None:
            await call.note("No sessions match. Nothing was changed.")
        return
    if not call.expects(len(rows)):
        await _ask(call, rows)
    await _end(call, [row["id"] for row in rows], call.args.get("reason", ""), chosen.text)


async def _chosen_rows(call: Call) -> list[Row]:
    """Return the sessions chosen; the operator's own only where it is named."""
    assert call.chosen is not None
    if call.chosen.kind != "ids":
        return [row for row in await matching(call) if row["id"] != call.session.id]
    sessions = call.service.sessions
    wanted = list(dict.fromkeys(text.upper() for text, _ in call.chosen.ids))
    found = {name: sessions.find(name) for name in wanted}
    known = {
        name: entry.row(call.now_ms, sessions.node)
        for name, entry in found.items()
        if entry is not None and entry.kick is not None
    }
    gone = [name for name in wanted if name not in known]
    if gone:
        ended = found[gone[0]] is not None
        why = "It has ended" if ended else "There is none"
        raise CommandError("E401", f"No such session {gone[0]}. {why}", call.chosen.ids[0][1], hint="show sessions")
    return [known[name] for name in wanted]


def _keep(call: Call, rows: Sequence[Row]) -> str:
    assert call.chosen is not None
    args = {"sessions": [row["id"] for row in rows], "reason": call.args.get("reason", "")}
    selection = Selection(array("q"), described=call.chosen.text)
    waiting = Waiting("kick", call.session.operator.name, selection, args, call.now_ms + LIFE_MS)
    return call.session.console.pending.keep(waiting)


def _counts(rows: Sequence[Row], key: str) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row[key] or "-"] = counts.get(row[key] or "-", 0) + 1
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _preview(rows: Sequence[Row]) -> str:
    noun = "session" if len(rows) == 1 else "sessions"
    lines = [f"End {len(rows)} {noun}."]
    for title, key in (("Kinds", "kind"), ("States", "state"), ("Peers", "peer"), ("Users", "user")):
        pairs = _counts(rows, key)
        if pairs and pairs != [("-", len(rows))]:
            more = f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
            lines.append(f"  {title}: {', '.join(f'{name} {n}' for name, n in pairs[:NAMED])}{more}")
    busy = sum(row["sender"] is not None for row in rows)
    if busy:
        lines.append(f"  ! {busy} with a transaction under way: its sender has to try again.")
    return "\n".join(lines)


def _facts(rows: Sequence[Row], token: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"verb": "kick", "count": len(rows), "token": token}
    for name, key in (("kinds", "kind"), ("states", "state"), ("peers", "peer")):
        facts[name] = [list(pair) for pair in _counts(rows, key)[:NAMED]]
    facts["busy"] = sum(row["sender"] is not None for row in rows)
    return facts


async def _ask(call: Call, rows: Sequence[Row]) -> None:
    """Have the operator confirm; one session named by its id needs none.  Raises CommandError E303, E503."""
    named = call.chosen is not None and call.chosen.kind == "ids"
    if len(rows) == 1 and (named or call.outlet.interactive):
        return
    if not call.outlet.interactive:
        token = _keep(call, rows)
        raise CommandError(
            "E303",
            f'Confirmation required for {counted(len(rows), "session")}. Repeat with "confirm {token}" within 60 s',
            None,
            [f"confirm {token}", f"expect {len(rows)}"],
        )
    await call.say(_preview(rows))
    if len(rows) > MANY:
        await call.type_count(len(rows))
    else:
        await call.confirm("Go on?")


async def _end(call: Call, names: Sequence[str], reason: str, described: str) -> None:
    """End the sessions called ``names`` and say what came of it."""
    told = f'reason "{reason}"' if reason else ""
    await call.audit(described or " ".join(names), told, len(names), "begins")  # a killed process leaves a trace
    rows = await end_sessions(call, names, reason)
    ended = sum(row["result"] == "ended" for row in rows)
    later = sum(row["result"] == "later" for row in rows)
    gone = len(rows) - ended - later
    await call.audit(described or " ".join(names), told, ended + later, f"ok, {later} later, {gone} gone")
    if not call.plain:
        await call.rows(rows)
        return
    waits = f" {later} more as soon as the message being committed is answered." if later else ""
    past = f" {gone} had ended already." if gone else ""
    await call.say(f"Ended {ended} {'session' if ended == 1 else 'sessions'}.{waits}{past}")


async def end_sessions(call: Call, names: Iterable[str], reason: str) -> list[Row]:
    """End sessions -> rows of kick/1, one a name."""
    rows: list[Row] = []
    logbook = call.session.console.logbook
    for at, name in enumerate(names, 1):
        if at % ENDED_AT_ONCE == 0:
            await deferLater(call.session.clock, 0, lambda: None)
        entry = call.service.sessions.find(name)
        end = None if entry is None else entry.kick
        result = "gone"
        if entry is not None and end is not None:
            result = "later" if end(escape(reason, 200)) is False else "ended"
            logbook.event(
                "session.kicked",
                session=name,
                kind=entry.kind,
                peer=entry.peer,
                user=call.session.operator.name,
                why=reason,
            )
        rows.append({"id": name, "peer": None if entry is None else escape(entry.peer, 255), "result": result})
    return rows


_SORT = Clause(
    "sort",
    "in the order of a field: figures from the largest down",
    (Arg("sort", "choice", "a field", words=tuple(Word(name) for name in SORTS)),),
)
_BY = Clause("by", "what to count by", (Arg("by", "choice", "a field", words=tuple(Word(name) for name in GROUPS)),))

COMMANDS = (
    Command(
        (SHOW, SESSIONS),
        show_sessions,
        "connections, in and out",
        selects=Selects("session", ("where", "all")),
        clauses=(_SORT, LIMIT),
        table=SESSION,
        examples=(
            "show sessions where kind=smtp-in and peer=10.0.0.0/8",
            "show sessions where in-state>1m sort bytes limit 10",
        ),
    ),
    Command(
        (SHOW, SESSIONS, Word("summary", "how many, by something")),
        show_summary,
        "connections by peer, state, listener …",
        selects=Selects("session", ("where", "all")),
        clauses=(_BY,),
        table=SESSION_SUMMARY,
        examples=("show sessions summary by peer", "show sessions summary where kind=smtp-in by state"),
    ),
    Command(
        (SHOW, Word("session", "one connection")),
        show_session,
        "one connection: all that is known of it, and what was said",
        args=(
            Arg("id", "word", "a session, S12; for a while also after its end", shown="ID"),
            Arg(
                "part",
                "choice",
                "what of it",
                words=(Word("dialogue", "all that was said, as far as it is remembered"),),
                optional=True,
            ),
        ),
        table=SESSION,
        examples=("show session S12", "show session S12 dialogue"),
    ),
    Command(
        (Word("kick", "end connections"),),
        kick,
        "end connections; clients are told 421 and the reason",
        selects=Selects("session", ("ids", "where", "all"), required=True),
        clauses=(
            Clause(
                "reason",
                "why; told to the other side, and kept in the audit trail",
                REASON.args,
            ),
            Clause("dry-run", "only say what would be done"),
            EXPECT,
            Clause(
                "confirm", "act on what a dry-run showed", (Arg("confirm", "word", "the token it gave", shown="TOKEN"),)
            ),
        ),
        role="operator",
        changes=True,
        table=KICK,
        examples=('kick S12 reason "too many bad recipients"', "kick where peer=192.0.2.0/24"),
    ),
)
