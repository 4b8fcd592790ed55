"""Accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.commands import ROLE_ORDER, Arg, Clause, Command, CommandError, Word
from netsvc.console.securitytables import LOCK
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
    until: dict[str, int] = {}
    for lock in await call.store(call.service.accounts.locks()):
        until[lock["name"]] = max(lock["until"], until.get(lock["name"], 0))
    await call.rows({**row, "mailbox": boxes.get(row["name"]), "locked_until": until.get(row["name"])} for row in rows)
    if any(row["name"] in until for row in rows):
        await call.note("Who is locked gave wrong passwords: show locks says from where, user unlock NAME lifts it.")


async def show_locks(call: Call) -> None:
    """List who is kept out for wrong passwords."""
    rows = await call.store(call.service.accounts.locks())
    await call.rows(rows)
    await call.note("user unlock NAME lifts a name's; a network's ends by itself." if rows else "Nobody is locked out.")


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
        _check_length(given)
        if await call.outlet.ask("Again: ", secret=True) != given:
            raise CommandError("E202", "The two are not the same. Nothing was changed")
    _check_length(given)
    return str(given)


def _check_length(password: str) -> None:
    if not LEAST_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise CommandError("E202", f"A password has {LEAST_PASSWORD} to {MAX_PASSWORD} characters. Nothing was changed")


def _locks(number: int) -> str:
    return "1 lock" if number == 1 else f"{number} locks"


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
    lifted, _ = await call.change(call.service.accounts.unlock(name))
    also = f" {_locks(lifted)} for wrong passwords lifted." if lifted else ""
    await call.changed(name, f"{_locks(lifted)} lifted" if lifted else "", 1, f"Password of {name} set.{also}")


async def unlock(call: Call) -> None:
    """Let somebody who gave wrong passwords try again; also who is in a password file, or has no account."""
    name = call.args["name"]
    lifted, counts = await call.change(call.service.accounts.unlock(name))
    if not counts:
        raise CommandError("E401", f"{name} is not locked out: no wrong password counts", hint="show locks")
    said = f"{_locks(lifted)} lifted" if lifted else "It was not locked out; its wrong passwords are forgotten"
    await call.changed(name, f"{_locks(lifted)} lifted", lifted, f"{name} may log in again. {said}.")


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
        "set an account's password; asks for it; lifts its locks for wrong passwords",
        args=(NAME,),
        clauses=(_PASSWORD,),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (SHOW, Word("locks", "who is kept out for wrong passwords")),
        show_locks,
        "who is kept out for wrong passwords, from where, until when",
        table=LOCK,
    ),
    Command(
        (USER_WORD, Word("unlock", "let it log in again after wrong passwords")),
        unlock,
        "lift an account's locks for wrong passwords, from all addresses, at the console and of mail clients",
        args=(NAME,),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("user unlock ann@example.org",),
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
