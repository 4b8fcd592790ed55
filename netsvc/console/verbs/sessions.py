"""This session itself, and who else is logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.task import deferLater

from netsvc.commands import Arg, Clause, Command, CommandError, Word
from netsvc.console.livetables import SESSION
from netsvc.console.tables import CHANGE, TERMINAL, WHOAMI
from netsvc.console.verbs.words import SHOW

if TYPE_CHECKING:
    from netsvc.console.call import Call

MAX_DELAY = 16
"""Seconds a wrong password at ``enable`` may cost."""

_TERMINAL = Word("terminal", "how this session shows things")


async def who(call: Call) -> None:
    """List operators' sessions."""
    await call.rows(row for row in call.service.sessions.rows() if row["kind"] == "console")


async def whoami(call: Call) -> None:
    """Say who the operator is here."""
    session = call.session
    await call.row(
        {
            "user": session.operator.name,
            "role": session.operator.role,
            "enabled": session.enabled,
            "content": bool(session.operator.content),
            "source": session.source,
        }
    )


async def enable(call: Call) -> None:
    """Begin running admin commands, after the password."""
    session = call.session
    if session.operator.role != "admin":
        await call.audit(session.operator.name, "", 0, "refused E301")
        raise CommandError("E301", f"Not permitted for role {session.operator.role}. Needs: admin")
    if session.enabled:
        session.set_enabled(True)
        await call.note("Enabled already.")
        return
    password = call.args.get("password")
    if password is None:
        if not call.outlet.interactive:
            raise CommandError("E303", "Nobody can be asked for the password here: say enable password SECRET")
        password = await call.outlet.ask("Password: ", secret=True)
        if password is None:
            raise CommandError("E503", "Cancelled. Nothing was changed")
    if session.enable_failures:
        await deferLater(session.clock, min(2**session.enable_failures // 2, MAX_DELAY), lambda: None)
    if not password or not await call.store(call.service.accounts.verify(session.operator.name, password)):
        session.enable_failures += 1
        await call.audit(session.operator.name, "", 0, "refused")
        raise CommandError("E301", "Access denied")
    session.enable_failures = 0
    await call.audit(session.operator.name)
    session.set_enabled(True)


async def disable(call: Call) -> None:
    """Stop running admin commands."""
    call.session.set_enabled(False)
    if call.session.enabled:
        await call.note("This session stands enabled from its start.")


async def leave(call: Call) -> None:
    """End the session."""
    call.session.ended = True


async def history(call: Call) -> None:
    """List the commands typed in this session; secrets are hidden."""
    await call.text("\n".join(f"{at:4}  {line}" for at, line in enumerate(call.session.typed, 1)))


async def set_length(call: Call) -> None:
    """Set the rows of a page."""
    call.session.page_length = call.args["rows"]


async def set_width(call: Call) -> None:
    """Set the columns of a line."""
    width = call.args["columns"]
    if 0 < width < 20 or width > 10_000:
        raise CommandError("E202", f"{width} is not a width. Examples: 0 (any), 80, 511")
    call.session.page_width = width


async def set_style(call: Call) -> None:
    """Set how rows are shown."""
    call.session.style = call.args["style"]


async def set_machine(call: Call) -> None:
    """Speak machine mode from the next line on."""
    call.session.machine = True


async def show_terminal(call: Call) -> None:
    """Say how this session shows things."""
    session = call.session
    await call.row({"length": session.page_length, "width": session.page_width, "style": session.style})


def _leave(word: str) -> Command:
    return Command((Word(word, "end this session"),), leave, "end this session")


COMMANDS = (
    Command((SHOW, _TERMINAL), show_terminal, "how this session shows things", table=TERMINAL),
    Command((Word("who", "operators logged in"),), who, "operators logged in", table=SESSION),
    Command((Word("whoami", "who you are here"),), whoami, "who you are here, and what you may do", table=WHOAMI),
    Command(
        (Word("enable", "begin admin commands"),),
        enable,
        "begin admin commands; asks for your password",
        clauses=(Clause("password", "in machine mode: it", (Arg("password", "secret", "never kept nor shown"),)),),
        table=CHANGE,
    ),
    Command((Word("disable", "end admin commands"),), disable, "end admin commands"),
    Command((Word("history", "commands typed here"),), history, "commands typed in this session"),
    Command(
        (_TERMINAL, Word("length", "rows of a page")),
        set_length,
        "set the rows of a page; 0: no pager",
        args=(Arg("rows", "int", "rows of a page, 0 for no pager"),),
    ),
    Command(
        (_TERMINAL, Word("width", "columns of a line")),
        set_width,
        "set the columns of a line; 0: any",
        args=(Arg("columns", "int", "columns, 0 for any"),),
    ),
    Command(
        (_TERMINAL, Word("style", "how rows are shown")),
        set_style,
        "show rows as tables or as lists",
        args=(Arg("style", "choice", "how", words=(Word("table", "columns"), Word("list", "a field a line"))),),
    ),
    Command((_TERMINAL, Word("machine", "speak to a program")), set_machine, "speak machine mode from now on"),
    _leave("exit"),
    _leave("quit"),
    _leave("logout"),
)
