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

USER_WORD = Word("user", "add, change and delete accounts")
NAME = Arg("name", "name", "the account: letters, digits, dots, hyphens, or a mailbox's address")
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
    rows = await call.store(call.service.accounts.users())
    boxes = await call.store(call.service.senders.mailboxes())
    await call.rows({**row, "mailbox": boxes.get(row["name"])} for row in rows)


async def known(call: Call, name: str) -> Row:
    """Return the row of an account.  Raises CommandError."""
    rows: list[Row] = await call.store(call.service.accounts.users())
    for row in rows:
        if row["name"] == name:
            return row
    raise CommandError("E401", f"No account {name}", hint="show users")


async def mailbox_id(call: Call, address: str) -> int:
    """Return the id of a mailbox.  Raises CommandError."""
    found: int = await call.store(call.service.senders.box(address))
    if found:
        return found
    raise CommandError("E401", f"No mailbox {address}. First: mailbox create {address}", hint="show mailboxes")


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
    name, sends = call.args["name"], "mailbox" in call.args or ("@" in call.args["name"] and "role" not in call.args)
    role = "none" if sends and "role" not in call.args else _role(call)
    if any(row["name"] == name for row in await call.store(call.service.accounts.users())):
        raise CommandError("E405", f"There is an account {name} already", hint="show users")
    box = await mailbox_id(call, name) if sends and "@" in name else 0
    if sends and not box:
        raise CommandError("E405", f"{name} is not a mailbox's address: user mailbox {name} ADDRESS says whose it has")
    password = await _password(call, name)
    await call.change(call.service.accounts.add(name, password, role, box))
    args = f"role {role}" + (f" mailbox {name}" if box else "")
    also = " It sends mail as its mailbox." if box else ""
    await call.changed(name, args, 1, f"Account {name} ({role}) added.{also}")


async def passwd(call: Call) -> None:
    """Set an account's password."""
    name = call.args["name"]
    await known(call, name)
    password = await _password(call, name)
    await call.change(call.service.accounts.set_password(name, password))
    await call.changed(name, "", 1, f"Password of {name} set.")


async def set_role(call: Call) -> None:
    """Set an account's role."""
    name, role = call.args["name"], _role(call)
    before = (await known(call, name))["role"]
    await call.change(call.service.accounts.set_role(name, role))
    await call.changed(name, f"{before} to {role}", 1, f"{name} is {role} now (was {before}).")


async def delete(call: Call) -> None:
    """Delete an account."""
    name = call.args["name"]
    await known(call, name)
    await call.change(call.service.accounts.delete(name))
    await call.changed(name, "", 1, f"Account {name} deleted.")


COMMANDS = (
    Command((SHOW, Word("users", "accounts")), show_users, "accounts and what they may do", table=USER),
    Command(
        (USER_WORD, Word("add", "make one")),
        add,
        "make an account; asks for its password",
        args=(NAME, _ROLE),
        clauses=(_ROLE_CLAUSE, Clause("mailbox", "it sends mail for the mailbox of its name"), _PASSWORD),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("user add bo role operator", "user add ann@example.org mailbox"),
    ),
    Command(
        (USER_WORD, Word("passwd", "set its password")),
        passwd,
        "set an account's password; asks for it",
        args=(NAME,),
        clauses=(_PASSWORD,),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (USER_WORD, Word("role", "set what it may do")),
        set_role,
        "set what an account may do",
        args=(NAME, _ROLE),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (USER_WORD, Word("delete", "remove one")),
        delete,
        "remove an account; the last admin stays",
        args=(NAME,),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
)
