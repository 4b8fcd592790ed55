"""The ``[site]`` tables of a node file: what seeds an empty store (SITE.md *Site*)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.config import values
from netsvc.config.complaints import ValueFaultError, kind_of, quote
from netsvc.config.policies import read_policies
from netsvc.config.recipients import RecipientsReader, check_recipients
from netsvc.config.table import Later, TableReader
from netsvc.settings import TLS_LEVELS, DeliverySettings, SiteSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from netsvc.config.complaints import Complaints
    from netsvc.config.rooms import Rooms

_LATER = {
    "accounts": Later("accounts in the node file (use `user add` on the console)"),
}
_DELIVERY_LATER = {
    "mx_port": Later("MX routing, and with it mx_port,", 25),
    "mx_allow_networks": Later("MX routing, and with it mx_allow_networks,", []),
}
_MIN_RETRY = 1000


class _SiteReader:
    """Reads one ``[site]`` table; ``folder`` is what relative paths are relative to."""

    def __init__(self, complaints: Complaints, data: Mapping[str, Any], folder: Path, rooms: Rooms) -> None:
        self._complaints = complaints
        self._top = TableReader(complaints, ("site",), data, _LATER)
        self._folder = folder
        self._rooms = rooms

    def read(self) -> SiteSettings:
        top = self._top
        none: tuple[str, ...] = ()
        domains = top.take("domains", values.listed(values.domain), none)
        mailboxes = top.take("mailboxes", values.listed(values.address), none)
        settings = SiteSettings(
            domains=domains,
            mailboxes=mailboxes,
            routes=self._routes(),
            relay_from=top.take("relay_from", values.listed(values.relay_network), none),
            relay_domains=top.take("relay_domains", values.listed(values.domain), none),
            limits_exempt=top.take("limits_exempt", values.listed(values.network), none),
            delivery=self._delivery(),
            policies=read_policies(
                self._complaints, top.table("policies") or {}, self._rooms.policies, self._rooms.object_to
            ),
            **RecipientsReader(self._complaints, top).read(),
        )
        top.finish()
        self._check_together(settings)
        return settings

    def _routes(self) -> dict[str, str]:
        routes: dict[str, str] = {}
        for pattern, target in (self._top.table("routes") or {}).items():
            path = ("site", "routes", pattern)
            try:
                routes[pattern] = self._route(pattern, values.filled(target))
            except ValueFaultError as fault:
                self._complaints.add(path, fault.text, fault.remedy)
            except ValueError as error:
                self._complaints.add(path, str(error), 'write for instance "[192.0.2.10]:25"')
        return routes

    def _route(self, pattern: str, target: str) -> str:
        if target.startswith("lmtp:"):
            raise ValueFaultError(
                "handing mail over by LMTP is not yet supported", 'route to "[host]:port" or "maildir:…"'
            )
        if target.startswith("maildir:") and not target.startswith("maildir:/"):
            target = f"maildir:{self._folder.joinpath(target[8:])}"
        self._rooms.check_route(pattern, target)
        return target

    def _delivery(self) -> DeliverySettings:
        data = self._top.table("delivery")
        usual = DeliverySettings()
        if data is None:
            return usual
        reader = TableReader(self._complaints, ("site", "delivery"), data, _DELIVERY_LATER)
        settings = DeliverySettings(
            retry=reader.take("retry", _retry, usual.retry),
            expire=reader.take("expire", values.duration, usual.expire),
            warn=reader.take("warn", values.duration, usual.warn),
            connections=reader.take("connections", values.counted, usual.connections),
            dns=reader.take("dns", values.listed(values.name_server), usual.dns),
            tls=reader.take("tls", values.chosen(TLS_LEVELS), usual.tls),
            mta_sts=reader.take("mta_sts", values.flag, usual.mta_sts),
            dane=reader.take("dane", values.flag, usual.dane),
        )
        reader.finish()
        if settings.expire < _MIN_RETRY:
            reader.complain("expire", "is less than a second", 'write for instance "5d"')
        elif reader.has("warn") and settings.warn >= settings.expire:
            reader.complain("warn", "is not before expire: nobody would be warned", "make it shorter than expire")
        return settings

    def _check_together(self, settings: SiteSettings) -> None:
        """Complain of what cannot be true at once."""
        domains = set(settings.domains)
        seen: dict[str, str] = {}
        for place, addresses in (("mailboxes", settings.mailboxes), ("aliases", tuple(settings.aliases))):
            for address in addresses:
                domain = address.rpartition("@")[2]
                path = ("site", place, address) if place == "aliases" else ("site", place)
                if domain not in domains and "domains" not in self._top.wrong:
                    self._complaints.add(
                        path, f"{quote(address)}: {domain} is not one of domains", f'add "{domain}" to site.domains'
                    )
                if address.lower() in seen:
                    self._complaints.add(path, f"{quote(address)} is there already", "write it once")
                seen[address.lower()] = place
        if "domains" not in self._top.wrong and "mailboxes" not in self._top.wrong:
            check_recipients(self._complaints, settings)
        for name in settings.relay_domains:
            if name in domains or name in settings.domain_aliases:
                self._top.complain("relay_domains", f"{name} is one of domains too", "leave it in one of the two")


def _retry(value: object) -> tuple[int, ...]:
    """Read the waits between attempts."""
    if isinstance(value, dict):
        raise ValueFaultError("a list per error class is not yet supported", 'write one list: ["5m", "10m"]')
    if not isinstance(value, list):
        raise ValueFaultError(f"is {kind_of(value)}, not a list", 'write for instance ["5m", "10m", "1h"]')
    waits = tuple(values.duration(item) for item in value)
    if not waits or min(waits) < _MIN_RETRY:
        raise ValueFaultError("needs waits of a second or more", 'write for instance ["5m", "10m", "1h"]')
    return waits


def read_site(complaints: Complaints, data: Mapping[str, Any], folder: Path, rooms: Rooms) -> SiteSettings:
    """Return the settings of the ``[site]`` table ``data``; what is wrong goes to ``complaints``."""
    return _SiteReader(complaints, data, folder, rooms).read()
