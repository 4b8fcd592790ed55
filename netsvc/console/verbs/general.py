"""Help, versions, schemas, the audit trail, and words other systems use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import twisted
from netsvc.commands import Arg, Command, CommandError, Word
from netsvc.console.foreign import PROGRAMS, translate
from netsvc.console.help import describe, overview
from netsvc.console.render import json_line
from netsvc.console.schemas import TABLES, json_schema
from netsvc.console.tables import AUDIT, FIELD, SCHEMA, TEXT, VERSION
from netsvc.console.verbs.words import LIMIT, SCREEN, SHOW
from netsvc.criteria import OBJECTS, OPERATORS

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.console.call import Call
    from netsvc.records import Page

_HELP = Word("help", "what commands do")
_REST = Arg("rest", "rest", "whatever was typed", optional=True)


async def show_version(call: Call) -> None:
    """Say what runs here."""
    console = call.session.console
    await call.row(
        {
            "version": console.version,
            "node": console.node,
            "started": console.started_at_ms,
            "uptime": max(call.now_ms - console.started_at_ms, 0),
            "python": ".".join(str(part) for part in sys.version_info[:3]),
            "twisted": twisted.__version__,
        }
    )


async def show_schema(call: Call) -> None:
    """Show the JSON Schema of rows in machine mode."""
    name = call.args["name"].lower().partition("/")[0]
    if name not in TABLES:
        known = ", ".join(sorted(TABLES))
        raise CommandError("E401", f'No schema "{call.args["name"]}". One of: {known}', None, sorted(TABLES))
    schema = json_schema(TABLES[name])
    if call.machine:
        await call.row({"schema": schema})
    else:
        await call.text(json_line(schema))


async def show_audit(call: Call) -> None:
    """List logins and changes, newest first; whoever is no admin sees the own ones."""
    operator = call.session.operator
    limit = call.args.get("limit")
    if limit is None and call.plain:
        limit = SCREEN

    def fetch(after: Any, count: int) -> Deferred[Page]:
        answer: Deferred[Page] = call.service.audit.page(after, count)
        return answer

    if operator.role == "admin":
        more = await call.stream(fetch, limit)
    else:
        more = await _own(call, limit)
    if more:
        await call.note(f"{call.rows_out} shown; there are more. Say limit N to see them.")
    elif not call.rows_out:
        await call.note("The audit trail has nothing yet.")


async def _own(call: Call, limit: int | None) -> bool:
    after: Any = None
    while True:
        page = await call.store(call.service.audit.page(after, 100))
        for row in page.rows:
            if row["actor"] == call.session.operator.name:
                if limit is not None and call.rows_out >= limit:
                    return True
                await call.row(row)
        after = page.next
        if after is None or call.full:
            return False


async def help_(call: Call) -> None:
    """Say what commands do."""
    words = call.args.get("rest", "").split()
    grammar = call.session.console.grammar
    if not words:
        await call.text(overview([c for c in grammar.commands if call.session.may(c) and not c.hidden]))
        return
    found = grammar.find(words)
    exact = [command for command in found if len(command.words) == len(words)]
    chosen = exact or found
    text = "\n\n".join(describe(command) for command in chosen[:8])
    if exact and len(found) > 1:
        text += "\n\nMore: " + ", ".join(command.name for command in found if command not in exact)
    await call.text(text)


async def help_fields(call: Call) -> None:
    """List the fields filters can be about."""
    for field in OBJECTS[call.args["object"]]:
        takes = [*OPERATORS[field.kind], *(["not in"] if "in" in OPERATORS[field.kind] else [])]
        words = f" ({' '.join(field.words)})" if field.words else ""
        also = f"; also: {', '.join(field.aliases)}" if field.aliases else ""
        await call.row(
            {
                "name": field.name,
                "type": field.kind,
                "operators": " ".join(takes),
                "example": field.example,
                "help": f"{field.help}{words}{also}",
            }
        )


async def foreign(call: Call) -> None:
    """Answer a command of another system with ours; what only looks is run."""
    program = call.command.name
    ours, looks = translate(program, call.args.get("rest", ""))
    if not ours or not looks or call.machine:
        instead = f"Here: {ours}" if ours else "help has our words"
        raise CommandError("E101", f'"{program}" is of another system. {instead}', None, [ours] if ours else [])
    parsed = call.session.console.grammar.parse(ours, call.now_ms)
    assert parsed is not None
    await call.note(f"Here: {ours}")
    call.become(parsed)
    await parsed.command.run(call)


async def flush(call: Call) -> None:
    """Refuse a word that means different things."""
    del call
    raise CommandError(
        "E101", '"flush" means different things; did you mean retry or delete?', None, ["retry", "delete"]
    )


def _foreign(program: str) -> Command:
    return Command((Word(program),), foreign, "a command of another system", args=(_REST,), hidden=True)


COMMANDS = (
    Command((SHOW, Word("version", "what runs here")), show_version, "what runs here, and since when", table=VERSION),
    Command(
        (SHOW, Word("schema", "the shape of rows in machine mode")),
        show_schema,
        "JSON Schema of rows in machine mode",
        args=(Arg("name", "word", "for example queue.item"),),
        table=SCHEMA,
        examples=("show schema queue.item",),
    ),
    Command(
        (SHOW, Word("audit", "logins and changes")),
        show_audit,
        "logins and changes, newest first",
        clauses=(LIMIT,),
        table=AUDIT,
    ),
    Command((_HELP,), help_, "what commands do", args=(Arg("rest", "rest", "a command", optional=True),), table=TEXT),
    Command(
        (_HELP, Word("fields", "what filters can be about")),
        help_fields,
        "fields that where can be about",
        args=(Arg("object", "choice", "of what", words=tuple(Word(of) for of in OBJECTS)),),
        table=FIELD,
        examples=("help fields queue",),
    ),
    Command((Word("flush"),), flush, "not ours: retry or delete", args=(_REST,), hidden=True),
    *(_foreign(program) for program in PROGRAMS),
)
