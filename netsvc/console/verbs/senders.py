"""Mail users: whose mailbox an account has, who may send as whom; and the node's certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.commands import Arg, Command, CommandError, Word
from netsvc.console.securitytables import CERTIFICATE, GRANT
from netsvc.console.tables import CHANGE
from netsvc.console.verbs.users import NAME, USER_WORD, known, mailbox_id
from netsvc.console.verbs.words import SHOW

if TYPE_CHECKING:
    from netsvc.console.call import Call

_SENDS_AS = Arg("address", "word", "an address, or @domain for everybody in it", shown="ADDRESS|@DOMAIN")


async def show_certificates(call: Call) -> None:
    """List the certificates."""
    rows = call.service.certificates.rows()
    await call.rows(rows)
    if not rows:
        await call.note("This node has no certificate: [tls] in its node file names one.")


async def show_grants(call: Call) -> None:
    """List who may send as whom."""
    rows = await call.store(call.service.senders.grants(call.args.get("name")))
    await call.rows({"account": account, "address": address} for account, address in rows)
    if not rows:
        await call.note("Nobody may send as anybody but himself.")


async def set_mailbox(call: Call) -> None:
    """Say whose mailbox an account has."""
    name, address = call.args["name"], call.args["address"].lower()
    await known(call, name)
    number = await mailbox_id(call, address) if address else 0
    await call.change(call.service.accounts.set_mailbox(name, number))
    said = f"{name} sends mail as {address} now." if address else f"{name} has no mailbox now."
    await call.changed(name, f"mailbox {address or 'none'}", 1, said)


async def grant(call: Call) -> None:
    """Let an account send as an address."""
    name, address = call.args["name"], call.args["address"].lower()
    await known(call, name)
    await call.change(call.service.senders.grant(name, address))
    await call.changed(name, f"as {address}", 1, f"{name} may send as {address}.")


async def revoke(call: Call) -> None:
    """Take a grant back."""
    name, address = call.args["name"], call.args["address"].lower()
    if not await call.change(call.service.senders.revoke(name, address)):
        raise CommandError("E401", f"{name} was not granted {address}", hint="show grants")
    await call.changed(name, f"as {address}", 1, f"{name} may no longer send as {address}.")


COMMANDS = (
    Command(
        (SHOW, Word("tls-certificates", "certificates, and how long they are good")),
        show_certificates,
        "certificates, and how long they are good",
        table=CERTIFICATE,
    ),
    Command(
        (SHOW, Word("grants", "who may send as whom")),
        show_grants,
        "who may send as whom, beside the own addresses",
        args=(Arg("name", "name", "only this account", optional=True),),
        table=GRANT,
    ),
    Command(
        (USER_WORD, Word("mailbox", "say whose mailbox it has")),
        set_mailbox,
        "say whose mailbox an account has, so that it may send mail",
        args=(NAME, Arg("address", "address", "its mailbox, none for none", none=True)),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("user mailbox bo bo@example.org",),
    ),
    Command(
        (USER_WORD, Word("grant", "let it send as another address")),
        grant,
        "let an account send as another address",
        args=(NAME, _SENDS_AS),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("user grant ann@example.org office@example.org", "user grant news@example.org @lists.example.org"),
    ),
    Command(
        (USER_WORD, Word("revoke", "take that back")),
        revoke,
        "let an account no longer send as another address",
        args=(NAME, _SENDS_AS),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
)
