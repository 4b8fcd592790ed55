"""The site's settings as frozen values, with the defaults every node starts from (floor 2).

``config`` reads them from TOML, the store keeps them, ``policy``, ``delivery``
and the mailbox service obey them.  Durations are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

UNLIMITED = ("postmaster", "abuse")
"""Local parts whose mailboxes have a quota only where they are given one: they always take mail (RFC 5321 4.5.1)."""


TLS_LEVELS = ("none", "opportunistic", "encrypt", "verify")
"""What may be asked of TLS towards a destination, each more than the one before."""


RETRY_CLASSES = (
    "connect",
    "lost",
    "tls",
    "auth",
    "dns",
    "routing",
    "local",
    "quota",
    "greylist",
    "throttle",
    "policy",
    "reply",
)
"""Kinds of failure that may have a schedule of their own (see ``delivery.retry``)."""


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How mail for elsewhere is tried.  ``retry``: waits after the 1st, 2nd … failure, the last one repeated.

    ``tls``: what is asked of destinations of which nothing else is said, one of TLS_LEVELS; ``mta_sts`` and
    ``dane``: whether what they publish is obeyed; ``mta_sts_port`` of the hosts that policies are fetched from.
    ``retry_classes``: waits by the kind of failure, of RETRY_CLASSES, instead of ``retry``.  ``messages`` on one
    connection.  ``dns``: name servers, ``dnssec``: whether they are believed that they validated though they are not
    on this host; ``mx_port`` of the hosts MX records name, ``mx_allow_networks`` of which they may be though they are
    nobody's on the Internet.  ``maildir_quota``: (octets, messages) of a Maildir that says none itself, 0 for any.
    """

    retry: tuple[int, ...] = (
        5 * MINUTE,
        10 * MINUTE,
        20 * MINUTE,
        40 * MINUTE,
        80 * MINUTE,
        160 * MINUTE,
        4 * HOUR,
    )
    expire: int = 5 * DAY
    warn: int = 4 * HOUR
    reports: int = 100
    history: int = 14 * DAY
    transcripts: int = 14 * DAY
    retry_classes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    connections: int = 20
    messages: int = 100
    dns: tuple[str, ...] = ()
    mx_port: int = 25
    mx_allow_networks: tuple[str, ...] = ()
    tls: str = "opportunistic"
    mta_sts: bool = True
    mta_sts_port: int = 443
    dane: bool = True
    dnssec: bool = False
    maildir_quota: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """What the site says of one destination; None or "" where it leaves that to ``[site.delivery]``.

    ``connections`` at once and ``messages`` on each; ``rate``: (messages, ms); ``tls``: none opportunistic encrypt
    verify, ``tls_names`` the certificate may bear; ``credential``: the name of what we log in with; ``retry`` waits in
    ms, ``retry_classes`` by the kind of failure; ``expire`` and ``warn`` in ms.
    """

    connections: int | None = None
    messages: int | None = None
    rate: tuple[int, int] | None = None
    tls: str = ""
    tls_names: tuple[str, ...] = ()
    credential: str = ""
    retry: tuple[int, ...] | None = None
    retry_classes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    expire: int | None = None
    warn: int | None = None


NO_DESTINATION = DestinationSettings()


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """What all nodes share.

    ``domains``, ``mailboxes``, ``aliases``, ``domain_aliases`` {other name: domain}, ``catchalls`` {domain: address}
    and ``mailbox_quotas`` {mailbox: (octets, messages)} matter in a seed only: afterwards they live in the directory,
    and ``ISite.current`` has them empty.  ``quota`` is (octets, messages) of mailboxes made without one, 0 for any;
    ``subaddress`` divides users from tags, "" for no tags.

    ``routes`` maps a domain pattern (``*``, ``example.org``, ``.example.org`` for what is below it) to a target:
    ``mx``, ``mx:domain``, ``[host]:port``, ``lmtp:…``, ``maildir:/path/{domain}/{local}``, ``command:NAME``,
    ``agent:NAME words``.  ``sender_routes`` maps senders (an address, ``example.org``, ``.example.org``, ``<>``) to
    targets, and is asked before.

    ``destinations`` maps a destination's key (``[192.0.2.10]:25``, ``example.org``), ``.example.org`` for the domains
    below it, or ``*`` to what is said of it.

    ``policies`` maps a policy's name to what the site says of it, written as in TOML: str (durations too, ``5s``),
    int, bool, tuple of str; what it does not say is as the policy declares.  In the same way ``commands`` and
    ``agents`` map names to what is said of the programs and the plugins that carry mail (``config.carriers``).
    """

    domains: tuple[str, ...] = ()
    mailboxes: tuple[str, ...] = ()
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    routes: Mapping[str, str] = field(default_factory=dict)
    sender_routes: Mapping[str, str] = field(default_factory=dict)
    relay_from: tuple[str, ...] = ()
    relay_domains: tuple[str, ...] = ()
    limits_exempt: tuple[str, ...] = ()
    domain_aliases: Mapping[str, str] = field(default_factory=dict)
    catchalls: Mapping[str, str] = field(default_factory=dict)
    mailbox_quotas: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    quota: tuple[int, int] = (0, 0)
    subaddress: str = "+"
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    destinations: Mapping[str, DestinationSettings] = field(default_factory=dict)
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    agents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def destination(self, key: str, domain: str = "") -> DestinationSettings:
        """Return what is said of destination ``key``, else of ``domain``, of a ``.domain`` above it, or of ``*``."""
        said = self.destinations
        if not said:
            return NO_DESTINATION
        if key in said:
            return said[key]
        name = domain or key
        while name:
            if name in said:
                return said[name]
            dot = name.find(".", 1)
            name = name[dot:] if dot > 0 else ""
        return said.get("*", NO_DESTINATION)

    def quota_of(self, address: str) -> tuple[int, int]:
        """Return (octets, messages) that a mailbox made without a quota may hold; who must be reached has none."""
        return (0, 0) if address.partition("@")[0].lower() in UNLIMITED else self.quota
