"""Credentials for smarthosts: set, listed without their passwords, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.commands import Arg, Clause, Command, CommandError, Word
from netsvc.console.routetables import CREDENTIAL
from netsvc.console.tables import CHANGE
from netsvc.console.verbs.words import SHOW

if TYPE_CHECKING:
    from netsvc.console.call import Call
    from netsvc.settings import SiteSettings

MAX_PASSWORD = 512
MAX_USER = 512

_CREDENTIAL = Word("credential", "who we are for smarthosts")
_NAME = Arg("name", "name", "what destinations call it by: letters, digits, dots, hyphens")
_USER = Clause(
    "user",
    "who we are there",
    (Arg("user", "text", "the name to log in with, as the smarthost knows it", shown="USER"),),
)
_PASSWORD = Clause("password", "in machine mode: the password", (Arg("password", "secret", "never kept nor shown"),))


def _users(call: Call, name: str) -> list[str]:
    """Return the destinations that name the credential."""
    settings: SiteSettings = call.service.site.current
    return sorted(key for key, said in settings.destinations.items() if said.credential == name)


async def show_credentials(call: Call) -> None:
    """List credentials."""
    rows = await call.store(call.service.credentials.rows())
    await call.rows({**row, "used_by": _users(call, row["name"])} for row in rows)
    if not rows:
        await call.note("There is no credential: credential set NAME user USER")
    elif any(row["error"] for row in rows):
        await call.note("What this node cannot read needs secret_key_file of the node that set it.")


async def set_credential(call: Call) -> None:
    """Keep a credential, in the place of any of its name."""
    name, user = call.args["name"], call.args.get("user")
    if name == "none":
        raise CommandError("E202", "A route's credential none means that there is none: choose another name")
    if user is None:
        raise CommandError("E103", "Incomplete. Expected: user USER", None, ["user"])
    if len(user) > MAX_USER:
        raise CommandError("E202", f"A user has at most {MAX_USER} characters. Nothing was changed")
    password = await _password(call, name)
    actor = call.session.operator.name
    was = await call.change(call.service.credentials.put(name, user, password, actor))
    used = _users(call, name)
    where = f" It is used at {', '.join(used)}." if used else ""
    await call.changed(name, f"user {user}", 1, f"Credential {name} {'replaced' if was else 'set'}.{where}")
    if not used:
        await call.note(f"Nothing uses it yet: route set * [smtp.example.net]:587 credential {name}")


async def _password(call: Call, name: str) -> str:
    """Return the password: asked for twice, or given in machine mode.  Raises CommandError."""
    given = call.args.get("password")
    if given is None:
        if not call.outlet.interactive:
            raise CommandError("E303", "Nobody can be asked for a password here: say password SECRET")
        given = await call.outlet.ask(f"Password of credential {name}: ", secret=True)
        if given is None:
            raise CommandError("E503", "Cancelled. Nothing was changed")
        if given and await call.outlet.ask("Again: ", secret=True) != given:
            raise CommandError("E202", "The two are not the same. Nothing was changed")
    if not 1 <= len(given) <= MAX_PASSWORD or "\0" in given:
        raise CommandError("E202", f"A password has 1 to {MAX_PASSWORD} characters. Nothing was changed")
    return str(given)


async def delete(call: Call) -> None:
    """Delete a credential that nothing uses."""
    name = call.args["name"]
    used = _users(call, name)
    if used:
        raise CommandError(
            "E405",
            f"{name} is used at {', '.join(used)}. Let them use another, or none, first",
            hint="route set … credential none",
        )
    if not await call.change(call.service.credentials.delete(name)):
        raise CommandError("E401", f"No credential {name}", hint="show credentials")
    await call.changed(name, "", 1, f"Credential {name} deleted.")


COMMANDS = (
    Command(
        (SHOW, Word("credentials", "who we are for smarthosts")),
        show_credentials,
        "credentials for smarthosts, without their passwords, and where they are used",
        table=CREDENTIAL,
    ),
    Command(
        (_CREDENTIAL, Word("set", "a new one, or another for what there is")),
        set_credential,
        "keep who we are for a smarthost; asks for the password, which is kept encrypted",
        args=(_NAME,),
        clauses=(_USER, _PASSWORD),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("credential set relay user netsvc@example.org",),
    ),
    Command(
        (_CREDENTIAL, Word("delete", "remove one")),
        delete,
        "remove a credential that no destination uses",
        args=(_NAME,),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("credential delete relay",),
    ),
)
