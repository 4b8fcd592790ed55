"""Accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.commands import ROLE_ORDER, Arg, Clause, Command, CommandError, Word
from netsvc.console.tables import CHANGE, USER
from netsvc.console.verbs.words import SHOW

if TYPE_CHECKING:
    from netsvc.console.call import Call
    from netsvc.records import Row

LEAST_PASSWORD = 8
MAX_PASSWORD = 512

_USER = Word("user", "add, change and delete accounts")
_NAME = Arg("name", "name", "the account: letters, digits, dots, hyphens")
_ROLES = tuple(
    Word(role, text)
    for role, text in zip(
        ROLE_ORDER, ("sees everything but content", "acts on mail", "changes everything, after enable"), strict=True
    )
)
_ROLE = Arg("role", "choice", "what it may do", words=_ROLES, optional=True)
_ROLE_CLAUSE = Clause("role", "what it may do", (Arg("role", "choice", "what it may do", words=_ROLES),))
_PASSWORD = Clause("password", "in machine mode: the password", (Arg("password", "secret", "never kept nor shown"),))


async def show_users(call: Call) -> None:
    """List accounts."""
    await call.rows(await call.store(call.service.accounts.users()))


async def _known(call: Call, name: str) -> Row:
    rows: list[Row] = await call.store(call.service.accounts.users())
    for row in rows:
        if row["name"] == name:
            return row
    raise CommandError("E401", f"No account {name}", hint="show users")


async def _password(call: Call, name: str) -> str:
    """Return a new password: asked for twice, or given in machine mode.  Raises CommandError."""
    given = call.args.get("password")
    if given is None:
        if not call.outlet.interactive:
            raise CommandError("E303", "Nobody can be asked for a password here: say password SECRET")
        given = await call.outlet.ask(f"Password for {name}: ", secret=True)
        if given is None:
            raise CommandError("E503", "Cancelled. Nothing was changed")
        if await call.outlet.ask("Again: ", secret=True) != given:
            raise CommandError("E202", "The two are not the same. Nothing was changed")
    if not LEAST_PASSWORD <= len(given) <= MAX_PASSWORD:
        raise CommandError("E202", f"A password has {LEAST_PASSWORD} to {MAX_PASSWORD} characters. Nothing was changed")
    return str(given)


def _role(call: Call) -> str:
    role = call.args.get("role")
    if role is None:
        raise CommandError("E103", f"Incomplete. Expected one of: {', '.join(ROLE_ORDER)}", None, ROLE_ORDER)
    return str(role)


async def add(call: Call) -> None:
    """Make an account."""
    name, role = call.args["name"], _role(call)
    if any(row["name"] == name for row in await call.store(call.service.accounts.users())):
        raise CommandError("E405", f"There is an account {name} already", hint="show users")
    password = await _password(call, name)
    await call.change(call.service.accounts.add(name, password, role))
    await call.changed(name, f"role {role}", 1, f"Account {name} ({role}) added.")


async def passwd(call: Call) -> None:
    """Set an account's password."""
    name = call.args["name"]
    await _known(call, name)
    password = await _password(call, name)
    await call.change(call.service.accounts.set_password(name, password))
    await call.changed(name, "", 1, f"Password of {name} set.")


async def set_role(call: Call) -> None:
    """Set an account's role."""
    name, role = call.args["name"], _role(call)
    before = (await _known(call, name))["role"]
    await call.change(call.service.accounts.set_role(name, role))
    await call.changed(name, f"{before} to {role}", 1, f"{name} is {role} now (was {before}).")


async def delete(call: Call) -> None:
    """Delete an account."""
    name = call.args["name"]
    await _known(call, name)
    await call.change(call.service.accounts.delete(name))
    await call.changed(name, "", 1, f"Account {name} deleted.")


COMMANDS = (
    Command((SHOW, Word("users", "accounts")), show_users, "accounts and what they may do", table=USER),
    Command(
        (_USER, Word("add", "make one")),
        add,
        "make an account; asks for its password",
        args=(_NAME, _ROLE),
        clauses=(_ROLE_CLAUSE, _PASSWORD),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("user add bo role operator",),
    ),
    Command(
        (_USER, Word("passwd", "set its password")),
        passwd,
        "set an account's password; asks for it",
        args=(_NAME,),
        clauses=(_PASSWORD,),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (_USER, Word("role", "set what it may do")),
        set_role,
        "set what an account may do",
        args=(_NAME, _ROLE),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (_USER, Word("delete", "remove one")),
        delete,
        "remove an account; the last admin stays",
        args=(_NAME,),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
)
