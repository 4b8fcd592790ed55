"""The ``[site]`` tables of a node file: what seeds an empty store (SITE.md *Site*)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.config import values
from netsvc.config.carriers import check_carriers, read_carriers
from netsvc.config.complaints import quote
from netsvc.config.destinations import MIN_RETRY, read_destinations, retry, retry_classes
from netsvc.config.policies import read_policies
from netsvc.config.recipients import RecipientsReader, check_recipients, quota
from netsvc.config.routes import read_routes
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
            routes=self._routes("routes"),
            sender_routes=self._routes("sender_routes"),
            relay_from=top.take("relay_from", values.listed(values.relay_network), none),
            relay_domains=top.take("relay_domains", values.listed(values.domain), none),
            limits_exempt=top.take("limits_exempt", values.listed(values.network), none),
            delivery=self._delivery(),
            destinations=read_destinations(self._complaints, top.table("destinations") or {}),
            policies=read_policies(
                self._complaints, top.table("policies") or {}, self._rooms.policies, self._rooms.object_to
            ),
            **read_carriers(self._complaints, top, self._rooms.agents),
            **RecipientsReader(self._complaints, top).read(),
        )
        top.finish()
        self._check_together(settings)
        return settings

    def _routes(self, key: str) -> dict[str, str]:
        return read_routes(self._complaints, key, self._top.table(key) or {}, self._folder, self._rooms)

    def _delivery(self) -> DeliverySettings:
        data = self._top.table("delivery")
        usual = DeliverySettings()
        if data is None:
            return usual
        reader = TableReader(self._complaints, ("site", "delivery"), data)
        settings = DeliverySettings(
            retry=reader.take("retry", retry, usual.retry),
            retry_classes=reader.take("retry_classes", retry_classes, usual.retry_classes),
            expire=reader.take("expire", values.duration, usual.expire),
            warn=reader.take("warn", values.duration, usual.warn),
            reports=reader.take("reports", values.whole, usual.reports),
            history=reader.take("history", values.duration, usual.history),
            transcripts=reader.take("transcripts", values.duration, usual.transcripts),
            connections=reader.take("connections", values.counted, usual.connections),
            messages=reader.take("messages", values.counted, usual.messages),
            dns=reader.take("dns", values.listed(values.name_server), usual.dns),
            mx_port=reader.take("mx_port", values.port, usual.mx_port),
            mx_allow_networks=reader.take("mx_allow_networks", values.listed(values.network), usual.mx_allow_networks),
            tls=reader.take("tls", values.chosen(TLS_LEVELS), usual.tls),
            mta_sts=reader.take("mta_sts", values.flag, usual.mta_sts),
            mta_sts_port=reader.take("mta_sts_port", values.port, usual.mta_sts_port),
            dane=reader.take("dane", values.flag, usual.dane),
            dnssec=reader.take("dnssec", values.flag, usual.dnssec),
            maildir_quota=reader.take("maildir_quota", quota, usual.maildir_quota),
        )
        reader.finish()
        if settings.expire < MIN_RETRY:
            reader.complain("expire", "is less than a second", 'write for instance "5d"')
        elif reader.has("warn") and settings.warn >= settings.expire:
            reader.complain("warn", "is not before expire: nobody would be warned", "make it shorter than expire")
        return settings

    def _check_together(self, settings: SiteSettings) -> None:
        """Complain of what cannot be true at once."""
        check_carriers(self._complaints, settings, self._rooms.agents)
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


def read_site(complaints: Complaints, data: Mapping[str, Any], folder: Path, rooms: Rooms) -> SiteSettings:
    """Return the settings of the ``[site]`` table ``data``; what is wrong goes to ``complaints``."""
    return _SiteReader(complaints, data, folder, rooms).read()
