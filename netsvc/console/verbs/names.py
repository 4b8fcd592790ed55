"""Names looked up, and the greylist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.commands import Arg, Command, CommandError, Word
from netsvc.console.nametables import DNS, DNS_CACHE, GREYLIST
from netsvc.console.tables import CHANGE
from netsvc.console.verbs.words import SHOW

if TYPE_CHECKING:
    from netsvc.console.call import Call

_DNS = Word("dns", "names looked up")
_ALL = "all"


async def show_dns(call: Call) -> None:
    """Show the resolver's servers and counts."""
    await call.rows([call.service.resolver.status()])


async def show_dns_cache(call: Call) -> None:
    """List what the resolver remembers."""
    name = call.args.get("name") or ""
    rows = call.service.resolver.rows(name)
    await call.rows(rows)
    if not rows:
        await call.note(f"Nothing is remembered of {name}." if name else "Nothing is remembered.")


async def flush_dns(call: Call) -> None:
    """Forget what the resolver remembers."""
    name = call.args["name"]
    count = call.service.resolver.flush("" if name.lower() == _ALL else name)
    await call.changed(name, "", count, f"{count} answer{'s' * (count != 1)} forgotten, on this node.")


async def show_greylist(call: Call) -> None:
    """List the greylist."""
    text = call.args.get("text") or ""
    rows = await call.store(call.service.counters.greylisted(text))
    await call.rows(rows)
    if not rows:
        await call.note("Nothing of it is greylisted." if text else "Nothing is greylisted.")


async def clear_greylist(call: Call) -> None:
    """Forget entries of the greylist."""
    text = call.args["text"]
    if not text.strip():
        raise CommandError("E103", "Incomplete. Expected an address, a network or all")
    count = await call.change(call.service.counters.clear_greylist("" if text.lower() == _ALL else text))
    await call.changed(text, "", count, f"{count} entr{'ies' if count != 1 else 'y'} forgotten, on all nodes.")


COMMANDS = (
    Command((SHOW, _DNS), show_dns, "the resolver: its servers and counts", table=DNS),
    Command(
        (SHOW, _DNS, Word("cache", "answers remembered")),
        show_dns_cache,
        "answers the resolver remembers",
        args=(Arg("name", "word", "a name; all of them else", optional=True),),
        table=DNS_CACHE,
        examples=("show dns cache example.org",),
    ),
    Command(
        (_DNS, Word("flush", "forget answers")),
        flush_dns,
        "forget what is remembered of a name, or all; on this node",
        args=(Arg("name", "word", "a name, or all"),),
        role="operator",
        changes=True,
        table=CHANGE,
        examples=("dns flush example.org",),
    ),
    Command(
        (SHOW, Word("greylist", "who is asked to come again")),
        show_greylist,
        "entries of the greylist, the youngest first, a thousand at most",
        args=(Arg("text", "text", "an address, a domain or a network to look for", optional=True),),
        table=GREYLIST,
        examples=("show greylist carol@example.net", "show greylist | match waiting | count"),
    ),
    Command(
        (Word("greylist", "who is asked to come again"), Word("clear", "forget entries")),
        clear_greylist,
        "forget entries of the greylist that hold a text, or all",
        args=(Arg("text", "text", "an address, a domain or a network, or all"),),
        role="operator",
        changes=True,
        table=CHANGE,
        examples=("greylist clear 192.0.2.0/24",),
    ),
)
