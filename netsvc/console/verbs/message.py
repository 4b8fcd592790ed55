"""``show message``, and what became of messages: ``show history``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, Clause, Command, CommandError, Selects, Word
from netsvc.console.call import SEARCH_SECONDS
from netsvc.console.reading import give_source, read_body, read_headers
from netsvc.console.tables import ATTEMPT, HISTORY, MESSAGE, MESSAGE_SOURCE, REASON
from netsvc.console.targets import chosen_filter, find_id, missing
from netsvc.console.verbs.words import BY_TIME_LIMIT, ORDERS, SCREEN, SHOW
from netsvc.mail.ids import show_id

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.console.call import Call
    from netsvc.interfaces import IBodyReader
    from netsvc.records import MessageView, Page, Row


async def show_message(call: Call) -> None:
    """Show one message: its envelope and items, its attempts, or its content."""
    column = call.parsed.line.find(call.args["id"])
    message, n = await find_id(call, call.args["id"], column)
    part = call.args.get("part")
    if part in {"headers", "body", "source"}:
        await _content(call, message, part)
        return
    view = await call.store(call.service.queue.show(message))
    if view is None or (view.message is None and not view.history):
        raise await missing(call, message, n, column)
    if part == "attempts":
        await _attempts(call, view, n)
        return
    row = _message_row(view, message)
    items = [item for item in view.items if n is None or item["n"] == n]
    await call.row({**row, "items": items})
    if call.plain:
        await _more(call, view)


async def _attempts(call: Call, view: MessageView, n: int | None) -> None:
    call.table = ATTEMPT
    await call.rows(row for row in view.attempts if n is None or row["n"] == n)
    if not view.attempts:
        await call.note("No attempt was made yet.")
    elif call.plain and call.outlet.style != "list" and view.attempts[-1].get("transcript"):
        await call.note("The dialogues: show message ID attempts | list")


def _message_row(view: MessageView, message: int) -> Row:
    """Return the message's row; what its history tells when only that is left."""
    if view.message is not None:
        return view.message
    first = view.history[0]
    keys = ("sender", "size", "queued", "listener", "peer", "user", "msgid", "subject", "tls")
    return {"id": show_id(message), "rcpts": len(view.history), **{key: first.get(key) for key in keys}}


async def _more(call: Call, view: MessageView) -> None:
    """Show what a person wants to see below a message."""
    if view.history:
        await call.say("history:")
        call.table = HISTORY
        await call.rows(view.history)
    if view.attempts:
        word = "attempt" if len(view.attempts) == 1 else "attempts"
        await call.say(f"{len(view.attempts)} {word}: show message {view.attempts[0]['msg']} attempts")


async def _content(call: Call, message: int, part: str) -> None:
    shown = show_id(message)
    await call.need_content(shown, part)
    found = await call.store(call.service.queue.content(message))
    if found is None:
        raise CommandError("E401", f"No content of message {shown} is left", hint=f"show message {shown}")
    await call.audit(shown, part)
    trace, reader = found
    try:
        await give_part(call, part, (trace, reader), {"id": shown})
    finally:
        reader.close()


async def give_part(call: Call, part: str, content: tuple[bytes, IBodyReader], facts: Row) -> None:
    """Give the headers, the body or the source; ``facts`` name the message in rows of machine mode."""
    trace, reader = content
    if part == "source":
        await give_source(call, trace, reader, call.command_source or MESSAGE_SOURCE, facts)
        return
    lines = await (read_headers if part == "headers" else read_body)(call, trace, reader)
    if call.machine or call.outlet.style == "json":
        await call.row({**facts, part: lines})
    else:
        await call.text("\n".join(lines))


async def show_history(call: Call) -> None:
    """List how items ended."""
    expr = await chosen_filter(call)
    limit = call.args.get("limit")
    if limit is None and call.plain:
        limit = SCREEN

    def fetch(after: Any, count: int) -> Deferred[Page]:
        order = ORDERS[call.args.get("order", "newest")]
        answer: Deferred[Page] = call.service.queue.history(expr, after, count, order)
        return answer

    more = await call.stream(fetch, limit)
    if more:
        await call.note(f"{call.rows_out} shown; there are more. Say limit N or where … to see others.")
    elif not call.rows_out:
        await call.note("No messages match.")


async def show_past_reasons(call: Call) -> None:
    """Say why items ended as they did."""
    rows = await call.store(call.service.queue.past_reasons(await chosen_filter(call)), SEARCH_SECONDS)
    await call.rows(rows)
    if not rows:
        await call.note("No reason is known of what ended.")


COMMANDS = (
    Command(
        (SHOW, Word("message", "one message")),
        show_message,
        "one message: envelope, recipients, attempts, content",
        args=(
            Arg("id", "id", "a queue id, or at least 5 characters of its beginning"),
            Arg(
                "part",
                "choice",
                "what of it",
                words=(
                    Word("attempts", "what was tried, and the replies"),
                    Word("headers", "its header section (content privilege)"),
                    Word("body", "the first 64 KiB of its body (content privilege)"),
                    Word("source", "all of it (content privilege)"),
                ),
                optional=True,
            ),
        ),
        table=MESSAGE,
        examples=(
            "show message 01ARZ3NDEKTSV",
            "show message 01ARZ attempts",
            "show message 01ARZ headers | match received",
        ),
    ),
    Command(
        (SHOW, Word("history", "what became of mail"), Word("reasons", "why mail ended")),
        show_past_reasons,
        "why mail ended as it did, most frequent first",
        selects=Selects("history", ("where",)),
        table=REASON,
        examples=("show history reasons where result=bounced and done>-1d",),
    ),
    Command(
        (SHOW, Word("history", "what became of mail")),
        show_history,
        "how mail ended: delivered, bounced, expired, deleted",
        selects=Selects("history", ("ids", "where", "all")),
        clauses=(BY_TIME_LIMIT, Clause("detail", "every field of each")),
        table=HISTORY,
        examples=(
            "show history where result=bounced and done>yesterday",
            "show history where rcpt=ann@example.org limit 5",
        ),
    ),
)
