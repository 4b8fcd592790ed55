"""What an action would do, told before it does it (quiet; CONSOLE.md 3.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.console.render import counted, rfc3339, show_duration, show_size
from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netsvc.records import Selection


def _counted(pairs: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{escape(name, 80) or '<>'} {n}" for name, n in pairs)


def _octets(count: int) -> str:
    return f"{count} octets" if count < 1024 else show_size(count)


def items(count: int) -> str:
    """Return ``1 item`` or ``N items``."""
    return counted(count, "item")


def preview_text(verb: str, selection: Selection, args: Mapping[str, Any], whole: int, actor: str, now_ms: int) -> str:
    """Return what a person reads before going on.  ``whole``: how many items the queue holds."""
    ages = ""
    if selection.oldest:
        youngest, eldest = show_duration(now_ms - selection.newest), show_duration(now_ms - selection.oldest)
        ages = f", age {youngest}" if youngest == eldest else f", age {youngest}-{eldest}"
    spread = f", spread over {show_duration(args['spread_ms'])}" if args.get("spread_ms") else ""
    lines = [f"{verb.capitalize()} {items(selection.count)}, {_octets(selection.bytes)}{ages}{spread}."]
    for title, pairs in (
        ("States", list(selection.states.items())),
        ("Domains", selection.domains),
        ("Senders", selection.senders),
    ):
        if pairs:
            lines.append(f"  {title}: {_counted(pairs)}")
    return "\n".join(lines + [f"  ! {warning}" for warning in warnings(verb, selection, whole, actor)])


def warnings(verb: str, selection: Selection, whole: int, actor: str) -> list[str]:
    """Return what deserves a second look; ``actor`` is who would act."""
    out = []
    if selection.active:
        out.append(f"{items(selection.active)} being delivered now: may be gone before this is done.")
    held = selection.states.get("hold", 0)
    if held and verb in {"hold", "retry"}:
        told = "nothing changes." if verb == "hold" else "release tries them."
        out.append(f"{items(held)} on hold already: {told}")
    if selection.expired and verb in {"release", "retry", "undelete"}:
        out.append(f"{items(selection.expired)} past expiry: the next attempt is the last.")
    others = {name: n for name, n in selection.held_by.items() if name != actor}
    if others and verb != "hold":
        out.append(f"On hold by {_counted(sorted(others.items()))}.")
    if whole > 1 and selection.count >= whole and verb != "undelete":
        out.append("That is everything in the queue.")
    if verb == "delete":
        out.append("No report is sent to the senders; undelete brings the items back until they are purged.")
    return out


def preview_facts(verb: str, selection: Selection, token: str, whole: int, actor: str) -> dict[str, Any]:
    """Return what a program reads."""
    return {
        "verb": verb,
        "count": selection.count,
        "bytes": selection.bytes,
        "states": dict(selection.states),
        "domains": [[escape(name), n] for name, n in selection.domains],
        "senders": [[escape(name), n] for name, n in selection.senders],
        "oldest": rfc3339(selection.oldest) if selection.oldest else None,
        "newest": rfc3339(selection.newest) if selection.newest else None,
        "active": selection.active,
        "expired": selection.expired,
        "warnings": warnings(verb, selection, whole, actor),
        "token": token,
    }
