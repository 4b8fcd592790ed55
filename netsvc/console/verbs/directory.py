"""Domains and aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.commands import Arg, Command, CommandError, Word
from netsvc.console.tables import ALIAS, CHANGE, DOMAIN
from netsvc.console.verbs.words import SHOW

if TYPE_CHECKING:
    from netsvc.console.call import Call

_DOMAIN = Word("domain", "add and delete domains of ours")
_ALIAS = Word("alias", "add and delete aliases")
_NAME = Arg("domain", "domain", "a domain, example.org")
_ADDRESS = Arg("address", "address", "the address mail comes to")


async def show_domains(call: Call) -> None:
    """List our domains."""
    rows = await call.store(call.service.directory.domains())
    await call.rows(rows)
    if not rows:
        await call.note("No domain is ours yet: domain add NAME")


async def show_aliases(call: Call) -> None:
    """List aliases."""
    rows = await call.store(call.service.directory.aliases())
    await call.rows(rows)
    if not rows:
        await call.note("There are no aliases.")


async def add_domain(call: Call) -> None:
    """Make a domain ours."""
    name = call.args["domain"]
    await call.change(call.service.directory.add_domain(name))
    await call.changed(name, "", 1, f"Domain {name} added. Its mail needs mailboxes: mailbox create …@{name}")


async def delete_domain(call: Call) -> None:
    """Give a domain up."""
    name = call.args["domain"]
    await call.change(call.service.directory.delete_domain(name))
    await call.changed(name, "", 1, f"Domain {name} deleted.")


async def add_alias(call: Call) -> None:
    """Add a target to an alias."""
    address, target = call.args["address"].lower(), call.args["target"]
    await call.change(call.service.directory.add_alias(address, target))
    await call.changed(address, f"to {target}", 1, f"Mail for {address} goes to {target}.")


async def delete_alias(call: Call) -> None:
    """Take one target, or all, from an alias."""
    address, target = call.args["address"].lower(), call.args.get("target")
    gone = await call.change(call.service.directory.delete_alias(address, target))
    if not gone:
        raise CommandError("E401", f"No alias {address}{f' to {target}' if target else ''}", hint="show aliases")
    args = f"to {target}" if target else ""
    said = (
        f"{address} no longer leads to {target}."
        if target
        else f"Alias {address} deleted ({gone} target{'' if gone == 1 else 's'})."
    )
    await call.changed(address, args, gone, said)


COMMANDS = (
    Command((SHOW, Word("domains", "domains of ours")), show_domains, "domains of ours", table=DOMAIN),
    Command(
        (SHOW, Word("aliases", "aliases and where they go")), show_aliases, "aliases and where they go", table=ALIAS
    ),
    Command(
        (_DOMAIN, Word("add", "make one ours")),
        add_domain,
        "take mail for a domain",
        args=(_NAME,),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (_DOMAIN, Word("delete", "give one up")),
        delete_domain,
        "take no more mail for a domain that holds nothing",
        args=(_NAME,),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (_ALIAS, Word("add", "send an address's mail elsewhere")),
        add_alias,
        "send an address's mail to another, or to several",
        args=(_ADDRESS, Arg("target", "address", "where it goes")),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("alias add postmaster@example.org ann@example.org",),
    ),
    Command(
        (_ALIAS, Word("delete", "remove one")),
        delete_alias,
        "remove an alias, or one target of it",
        args=(_ADDRESS, Arg("target", "address", "only this target", optional=True)),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
)
