"""The site's lists: who may relay, to which domains anyone may send, who is exempt from limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, Command, CommandError, Word
from netsvc.config import values
from netsvc.config.complaints import ValueFaultError
from netsvc.console.policytables import LISTED
from netsvc.console.tables import CHANGE
from netsvc.console.verbs.words import SHOW
from netsvc.records import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from netsvc.console.call import Call
    from netsvc.settings import SiteSettings

READERS: dict[str, Callable[[object], str]] = {
    "relay_from": values.relay_network,
    "relay_domains": values.domain,
    "limits_exempt": values.network,
}
_ADDED = {
    "relay_from": "Clients in {} may send to anywhere now.",
    "relay_domains": "Anyone may send to {} through us now.",
    "limits_exempt": "There are no limits for clients in {} now.",
}
_DELETED = {
    "relay_from": "Clients in {} may not relay any more.",
    "relay_domains": "{} is no domain to relay to any more.",
    "limits_exempt": "Clients in {} have limits again.",
}


async def show_relay(call: Call) -> None:
    """List who may relay, and to where anyone may."""
    await _show(call, "relay_from", "relay_domains")


async def show_exempt(call: Call) -> None:
    """List who is exempt from limits."""
    await _show(call, "limits_exempt")


async def _show(call: Call, *lists: str) -> None:
    settings = call.service.site.current
    rows = [{"list": name, "value": value} for name in lists for value in getattr(settings, name)]
    await call.rows(rows)
    if not rows:
        await call.note("Nobody is listed.")


def _adding(name: str) -> Callable[[Call], Coroutine[Any, Any, None]]:
    async def add(call: Call) -> None:
        """Put an entry into a list of the site."""
        value = _read(call, name)
        if name == "relay_domains" and await call.store(call.service.directory.is_local(value)):
            raise CommandError(
                "E405", f"{value} is a domain of this site: its mail is not relayed", hint="show domains"
            )

        def alter(settings: SiteSettings) -> SiteSettings:
            listed: tuple[str, ...] = getattr(settings, name)
            if value in listed:
                raise StoreError(f"{value} is listed already")
            return _listing(settings, name, (*listed, value))

        await call.change(call.service.site.change(alter, call.session.operator.name, f"{call.command.name} {value}"))
        await call.changed(value, "", 1, _ADDED[name].format(value))

    return add


def _deleting(name: str) -> Callable[[Call], Coroutine[Any, Any, None]]:
    async def delete(call: Call) -> None:
        """Take an entry out of a list of the site."""
        value = _read(call, name)

        def alter(settings: SiteSettings) -> SiteSettings:
            return _listing(settings, name, tuple(each for each in getattr(settings, name) if each != value))

        site = call.service.site
        rev = await call.change(site.change(alter, call.session.operator.name, f"{call.command.name} {value}"))
        if not rev:
            hint = "show exempt" if name == "limits_exempt" else "show relay"
            raise CommandError("E401", f"{value} is not listed", hint=hint)
        await call.changed(value, "", 1, _DELETED[name].format(value))

    return delete


def _listing(settings: SiteSettings, name: str, listed: tuple[str, ...]) -> SiteSettings:
    changes: dict[str, Any] = {name: listed}
    return replace(settings, **changes)


def _read(call: Call, name: str) -> str:
    """Return the checked value.  Raises CommandError."""
    try:
        return READERS[name](call.args["value"])
    except ValueFaultError as fault:
        remedy = f" ({fault.remedy})" if fault.remedy else ""
        raise CommandError("E202", f"{fault.text[:1].upper()}{fault.text[1:]}{remedy}. Nothing was changed") from None


_RELAY = Word("relay", "who may relay, and to where anyone may")
_LIMITS = Word("limits", "who is exempt from limits")
_NETWORK = Arg("value", "text", "a network or an address, 192.0.2.0/24", shown="NETWORK")
_DOMAIN = Arg("value", "text", "a domain, partner.example", shown="DOMAIN")


def _pair(words: tuple[Word, ...], name: str, arg: Arg, help_add: str, help_delete: str) -> tuple[Command, Command]:
    return (
        Command(
            (*words, Word("add", "list one")), _adding(name), help_add, args=(arg,), role="admin", changes=True,
            table=CHANGE,
        ),
        Command(
            (*words, Word("delete", "take one off the list")), _deleting(name), help_delete, args=(arg,), role="admin",
            changes=True, table=CHANGE,
        ),
    )  # fmt: skip


COMMANDS = (
    Command((SHOW, Word("relay", "who may relay")), show_relay, "who may relay, and to where anyone may", table=LISTED),
    Command((SHOW, Word("exempt", "who has no limits")), show_exempt, "who is exempt from limits", table=LISTED),
    *_pair(
        (_RELAY, Word("network", "networks that may send to anywhere")),
        "relay_from",
        _NETWORK,
        "let a network's clients send to anywhere",
        "let a network's clients relay no more",
    ),
    *(
        replace(command, hidden=True)
        for command in _pair(
            (_RELAY, Word("from", "the older word for network")),
            "relay_from",
            _NETWORK,
            "let a network's clients send to anywhere",
            "let a network's clients relay no more",
        )
    ),
    *_pair(
        (_RELAY, Word("domain", "domains anyone may send to through us")),
        "relay_domains",
        _DOMAIN,
        "take mail for a domain that is not ours, from anyone",
        "take no more mail for such a domain",
    ),
    *_pair(
        (_LIMITS, Word("exempt", "networks without limits")),
        "limits_exempt",
        _NETWORK,
        "set no limits to a network's clients",
        "set limits to a network's clients again",
    ),
)
