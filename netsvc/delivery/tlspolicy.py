"""What TLS must be like with each host of a destination: what the site says, and what the destination publishes.

The site's word for a destination (``[site.destinations."KEY"]``) is the last word; where it has none, what the
destination publishes may ask for more than the site's level (``[site.delivery] tls``), never for less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.delivery.terms import WORDS, Host, TlsLevel, TlsTerms

if TYPE_CHECKING:
    from netsvc.interfaces import ISite
    from netsvc.settings import SiteSettings

IMPLICIT_PORT = 465
"""The port on which TLS begins before the greeting (RFC 8314 7.3)."""


class TlsPolicies:
    """Says what TLS must be like with a destination's hosts."""

    def __init__(self, site: ISite) -> None:
        """Obey ``site``."""
        self._site = site

    async def hosts(self, domain: str, hosts: list[Host], key: str = "") -> list[tuple[Host, TlsTerms]]:
        """Return the hosts that may be used, in the order given, each with its terms.

        ``domain`` is the domain whose MX records (or addresses) led to the hosts, "" where a route names the host;
        ``key`` the destination's key, ``domain`` where it is "".  Raises AttemptError (4.7.x) when none may be used.
        """
        settings: SiteSettings = self._site.current
        terms = said_by_site(settings, domain, key or domain)
        return [(host, at_port(terms, host)) for host in hosts]


def said_by_site(settings: SiteSettings, domain: str, key: str) -> TlsTerms:
    """Return what the site says of a destination, ``source`` ``site``; its level for all others, ``default``."""
    said = settings.destination(key, domain)
    default = WORDS[settings.delivery.tls]
    if not said.tls and not said.tls_names:
        return TlsTerms(default)
    level = WORDS[said.tls] if said.tls else TlsLevel.VERIFY
    return TlsTerms(level, said.tls_names, source="site")


def at_port(terms: TlsTerms, host: Host) -> TlsTerms:
    """Return ``terms`` as they are on the host's port: TLS comes first, and is certain, on 465."""
    if host.port != IMPLICIT_PORT or terms.level is TlsLevel.NONE:
        return terms
    return TlsTerms(max(terms.level, TlsLevel.ENCRYPT), terms.names, terms.tlsa, terms.source, implicit=True)
