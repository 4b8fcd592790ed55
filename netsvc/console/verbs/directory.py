"""Domains and aliases, and how addresses resolve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.commands import Arg, Clause, Command, CommandError, Word
from netsvc.console.recipienttables import ADDRESS, ALIAS, DOMAIN
from netsvc.console.tables import CHANGE
from netsvc.console.verbs.words import SHOW
from netsvc.mail.address import Address, AddressError, parse_address, parse_domain
from netsvc.mail.recipient import POSTMASTER

if TYPE_CHECKING:
    from netsvc.console.call import Call

_DOMAIN = Word("domain", "add, change and delete domains of ours")
_ALIAS = Word("alias", "add and delete aliases")
_NAME = Arg("domain", "domain", "a domain, example.org")
_ADDRESS = Arg("address", "address", "the address mail comes to")


async def show_domains(call: Call) -> None:
    """List our domains."""
    rows = await call.store(call.service.directory.domains())
    await call.rows(rows)
    if not rows:
        await call.note("No domain is ours yet: domain add NAME")
    else:
        await warn_of_no_postmaster(call)


async def show_aliases(call: Call) -> None:
    """List what leads where: all, or what leads from and to an address or a domain."""
    of = call.args.get("of", "")
    if of:
        try:
            of = str(parse_address(of, utf8=True)) if "@" in of else parse_domain(of)
        except AddressError as error:
            raise CommandError("E202", f'"{of}" is not an address or a domain: {error}') from None
    rows = await call.store(call.service.directory.aliases(of))
    await call.rows(rows)
    if not rows:
        await call.note(f"Nothing leads from or to {of}." if of else "There are no aliases.")


async def show_address(call: Call) -> None:
    """Tell how an address resolves, step by step."""
    text = call.args["address"]
    try:
        address = Address(text, "") if text.lower() == POSTMASTER else parse_address(text, utf8=True)
    except AddressError as error:
        raise CommandError("E202", f'"{text}" is not an address: {error}. Examples: ann@example.org') from None
    await call.rows(await call.store(call.service.directory.explain(address)))


async def warn_of_no_postmaster(call: Call) -> None:
    """Remark that nobody is reached at postmaster (RFC 5321 4.5.1)."""
    found = await call.store(call.service.directory.resolve(Address(POSTMASTER, "")))
    if not found.known:
        await call.note(
            f"Nobody reads {POSTMASTER}'s mail: mailbox create {POSTMASTER}@… or alias add {POSTMASTER}@… …"
        )


async def add_domain(call: Call) -> None:
    """Make a domain ours, or another name of one."""
    name, same_as = call.args["domain"], call.args.get("same_as", "")
    await call.change(call.service.directory.add_domain(name, same_as))
    if same_as:
        await call.changed(name, f"alias-of {same_as}", 1, f"Domain {name} added: its mail is mail for {same_as}.")
        return
    await call.changed(name, "", 1, f"Domain {name} added. Its mail needs mailboxes: mailbox create …@{name}")
    await warn_of_no_postmaster(call)


async def set_catchall(call: Call) -> None:
    """Say where mail for unknown addresses of a domain goes."""
    name, target = call.args["domain"], call.args["target"] or None
    await call.change(call.service.directory.set_catchall(name, target))
    said = (
        f"Mail for addresses of {name} that nobody has is refused."
        if target is None
        else f"Mail for addresses of {name} that nobody has goes to {target}."
    )
    await call.changed(name, f"to {target or 'none'}", 1, said)


async def delete_domain(call: Call) -> None:
    """Give a domain up."""
    name = call.args["domain"]
    await call.change(call.service.directory.delete_domain(name))
    await call.changed(name, "", 1, f"Domain {name} deleted.")


async def add_alias(call: Call) -> None:
    """Add targets to an alias."""
    address, targets = call.args["address"].lower(), [call.args["target"]]
    for text in call.args.get("more", "").replace(",", " ").split():
        try:
            targets.append(str(parse_address(text, utf8=True)))
        except AddressError as error:
            raise CommandError("E202", f'"{text}" is not an address: {error}. Examples: ann@example.org') from None
    await call.change(call.service.directory.add_alias(address, *targets))
    many = f"{targets[0]} and {len(targets) - 1} more" if len(targets) > 1 else targets[0]
    await call.changed(address, f"to {' '.join(targets)}", len(targets), f"Mail for {address} goes to {many}.")


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
    await warn_of_no_postmaster(call)


COMMANDS = (
    Command((SHOW, Word("domains", "domains of ours")), show_domains, "domains of ours", table=DOMAIN),
    Command(
        (SHOW, Word("aliases", "aliases and where they go")),
        show_aliases,
        "aliases, catch-alls and other names of domains, and where they go",
        args=(Arg("of", "word", "only what leads from and to it", optional=True, shown="ADDRESS|DOMAIN"),),
        table=ALIAS,
        examples=("show aliases", "show aliases ann@example.org", "show aliases example.org"),
    ),
    Command(
        (SHOW, Word("address", "how an address resolves")),
        show_address,
        "how an address resolves, step by step, and the reply to RCPT",
        args=(Arg("address", "word", "an address, or postmaster"),),
        table=ADDRESS,
        examples=("show address sales+x@example.org",),
    ),
    Command(
        (_DOMAIN, Word("add", "make one ours")),
        add_domain,
        "take mail for a domain",
        args=(_NAME,),
        clauses=(Clause("alias-of", "make it another name", (Arg("same_as", "domain", "of this domain of ours"),)),),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("domain add example.com", "domain add example.net alias-of example.org"),
    ),
    Command(
        (_DOMAIN, Word("catchall", "mail for its unknown addresses")),
        set_catchall,
        "send mail for unknown addresses of a domain to one address, or refuse it",
        args=(_NAME, Arg("target", "address", "where it goes, none: it is refused", none=True)),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("domain catchall example.org ann@example.org", "domain catchall example.org none"),
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
        args=(
            _ADDRESS,
            Arg("target", "address", "where it goes"),
            Arg("more", "rest", "further addresses", optional=True, shown="TARGET…"),
        ),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=(
            "alias add postmaster@example.org ann@example.org",
            "alias add team@example.org ann@example.org bo@example.org eve@example.net",
        ),
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
