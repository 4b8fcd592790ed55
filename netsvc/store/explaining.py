"""How an address resolves, told step by step for an operator (one unit of work)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.escape import escape
from netsvc.mail.recipient import ABUSE, MAX_LEVELS, MAX_TARGETS, POSTMASTER, answer
from netsvc.store.resolving import explain

if TYPE_CHECKING:
    from netsvc.mail.address import Address
    from netsvc.mail.message import Resolution
    from netsvc.records import Row
    from netsvc.store.resolving import Expansion, Step
    from netsvc.store.tx import Tx

_NOTES = {
    "elsewhere": "not a domain of ours: relayed only for relay_domains, and for whom the site lets relay",
    "domain": "another name of a domain of ours",
    "mailbox": "delivered here",
    "tag": "what follows the user is a tag",
    "postmaster": f"the first {POSTMASTER} of the site, as there is none in this domain",
    "abuse": f"the {POSTMASTER} reads what is sent to {ABUSE}",
    "catch-all": "nothing has this name: the domain's catch-all",
    "unknown": "nothing has this name, and the domain has no catch-all",
    "forward": "sent on, to another site",
}
_FAULTS = {
    "many": f"stands for more than {MAX_TARGETS} addresses, so for none",
    "deep": f"leads on more than {MAX_LEVELS} times, so nowhere",
    "postmaster": f"no {POSTMASTER} can be reached: make a mailbox or an alias of that name",
}


def explained(tx: Tx, address: Address, separator: str) -> list[Row]:
    """Return address/1 rows, the reply at RCPT last."""
    found, expansion = explain(tx, address, separator)
    told: list[tuple[str, str, list[str], str]] = []
    if not found.local:
        told.append((address.key, "elsewhere", [], _NOTES["elsewhere"]))
    elif expansion.start:
        if address.domain and expansion.home(address.key) != address.key:
            told.append((address.key, "domain", [expansion.home(address.key)], _NOTES["domain"]))
        for key, step in expansion.steps.items():
            told += [line for line in _step(key, step) if line not in told]
        told += [(to, "forward", [], _NOTES["forward"]) for to in found.forwards]
    told += _faults(found, expansion)
    reply = answer(found, full=_full(found, expansion))
    told.append((address.key, "reply", [], f"{reply.code} {reply.status} {reply.text}"))
    return [
        {"step": n, "address": escape(key), "is": what, "to": [escape(one) for one in to], "note": note}
        for n, (key, what, to, note) in enumerate(told, 1)
    ]


def _step(key: str, step: Step) -> list[tuple[str, str, list[str], str]]:
    if step.how in {"postmaster", "abuse"}:
        return [(key, step.how, step.to, _NOTES[step.how])]
    if step.how == "catchall":
        return [(key, "catch-all", step.to, _NOTES["catch-all"])]
    if step.how == "nothing":
        return [(key, "unknown", [], _NOTES["unknown"])]
    told = [(key, "tag", [step.base], _NOTES["tag"])] if step.how == "tag" else []
    if step.boxes:
        told.append((step.base, "mailbox", [], _NOTES["mailbox"]))
    if step.to:
        told.append((step.base, "alias", step.to, f"{len(step.to)} target{'' if len(step.to) == 1 else 's'}"))
    return told


def _faults(found: Resolution, expansion: Expansion) -> list[tuple[str, str, list[str], str]]:
    told = []
    loop = expansion.loop()
    if loop:
        told.append((loop[0], "loop", loop[1:], "leads back to itself: what was met is not followed again"))
    if found.fault in _FAULTS:
        told.append((expansion.start or POSTMASTER, "limit", [], _FAULTS[found.fault]))
    return told


def _full(found: Resolution, expansion: Expansion) -> bool:
    if not found.mailboxes or found.forwards:
        return False
    return all(box.limited and min(expansion.rooms.get(box.id, (1, 1))) <= 0 for box in found.mailboxes)
