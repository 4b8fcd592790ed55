"""TLS policies that destinations publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.commands import Arg, Command, Word
from netsvc.console.tables import CHANGE
from netsvc.console.tlstables import TLS_POLICY
from netsvc.console.verbs.words import SHOW

if TYPE_CHECKING:
    from netsvc.console.call import Call

_POLICIES = Word("tls-policies", "what destinations publish about TLS")
_ALL = "all"


async def show_policies(call: Call) -> None:
    """List the policies that are kept."""
    domain = call.args.get("domain") or ""
    found = await call.store(call.service.tls_policies.rows(domain))
    rows = [{**row, "tried": row["tried"] or None} for row in found]
    await call.rows(rows)
    if not rows:
        await call.note(f"{domain} has none that is known." if domain else "None is known.")


async def forget(call: Call) -> None:
    """Forget a policy, or all."""
    name = call.args["domain"]
    count = await call.change(call.service.tls_policies.forget("" if name.lower() == _ALL else name))
    ending = "y" if count == 1 else "ies"
    await call.changed(name, "", count, f"{count} polic{ending} forgotten; other nodes follow within 5 minutes.")


COMMANDS = (
    Command(
        (SHOW, _POLICIES),
        show_policies,
        "TLS policies that destinations publish (MTA-STS)",
        args=(Arg("domain", "word", "a domain; all of them else", optional=True),),
        table=TLS_POLICY,
        examples=("show tls-policies example.org",),
    ),
    Command(
        (_POLICIES, Word("forget", "fetch it anew when mail asks for it")),
        forget,
        "forget a domain's TLS policy, or all; the domain's mail is less safe until it is fetched again",
        args=(Arg("domain", "word", "a domain, or all"),),
        role="operator",
        changes=True,
        table=CHANGE,
        examples=("tls-policies forget example.org",),
    ),
)
