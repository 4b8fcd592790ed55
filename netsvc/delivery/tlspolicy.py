"""What TLS must be like with each host of a destination: what the site says, and what the destination publishes.

The site's word for a destination (``[site.destinations."KEY"]``) is the last word.
Where it has none, what the destination publishes by DANE, else by MTA-STS, may
ask for more than the site's level (``[site.delivery] tls``), never for less.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.delivery.faults import AttemptError
from netsvc.delivery.mtasts import ascii_name
from netsvc.delivery.terms import WORDS, Host, TlsLevel, TlsTerms
from netsvc.interfaces import ITlsPolicies
from netsvc.mail.outcome import Fault

if TYPE_CHECKING:
    from netsvc.delivery.dane import Dane
    from netsvc.delivery.mtasts import MtaSts
    from netsvc.delivery.stspolicy import StsPolicy
    from netsvc.delivery.tlscontext import Authorities
    from netsvc.interfaces import ISite
    from netsvc.logbook import Logbook
    from netsvc.records import Row
    from netsvc.settings import SiteSettings

IMPLICIT_PORT = 465
"""The port on which TLS begins before the greeting (RFC 8314 7.3)."""
STS = "mta-sts"
TESTED = "mta-sts testing"
UNNAMED = "the domain's MTA-STS policy does not name it"

Chosen = list[tuple[Host, TlsTerms]]


@implementer(ITlsPolicies)
class TlsPolicies:
    """Says what TLS must be like with a destination's hosts.

    ``sts`` and ``dane`` None: what is published is not asked for.  ``authorities`` are those that peers' certificates
    are judged by, None: this host's.
    """

    def __init__(
        self,
        site: ISite,
        sts: MtaSts | None = None,
        dane: Dane | None = None,
        logbook: Logbook | None = None,
        authorities: Authorities | None = None,
    ) -> None:
        """Obey ``site``."""
        self.authorities = authorities
        self._site = site
        self._sts = sts
        self._dane = dane
        self._logbook = logbook

    async def hosts(self, domain: str, hosts: list[Host], key: str = "") -> Chosen:
        """Return the hosts that may be used, in the order given, each with its terms.

        ``domain`` is the domain whose MX records (or addresses) led to the hosts, "" where a route names the host;
        ``key`` the destination's key, ``domain`` where it is "".  Raises AttemptError (4.7.x) when none may be used.
        """
        settings: SiteSettings = self._site.current
        terms = said_by_site(settings, domain, key or domain)
        obeys = terms.source == "default" and terms.level is not TlsLevel.NONE
        sts = self._sts if obeys and domain and settings.delivery.mta_sts else None
        dane = self._dane if obeys and settings.delivery.dane and any(host.validated for host in hosts) else None
        if sts is None and dane is None:
            return [(host, at_port(terms, host)) for host in hosts]
        policy = None if sts is None else await sts.policy(domain)
        if policy is not None and policy.mode == "none":
            policy = None
        return await self._published(domain, hosts, terms, policy, dane)

    async def _published(
        self, domain: str, hosts: list[Host], terms: TlsTerms, policy: StsPolicy | None, dane: Dane | None
    ) -> Chosen:
        """Return the hosts that what is published allows."""
        chosen: Chosen = []
        last: AttemptError | None = None
        for host in hosts:
            try:
                here = self._by_sts(domain, host, terms, policy)
                published = None if dane is None else await dane.terms(host, domain)
            except AttemptError as why:
                self._tell("tls.host_left_out", domain, host, why.words)
                last = why
                continue
            if published is not None and (published.tlsa or published.level > here.level):
                here = published
            chosen.append((host, at_port(here, host)))
        if last is not None and not chosen:
            raise last
        return chosen

    def _by_sts(self, domain: str, host: Host, terms: TlsTerms, policy: StsPolicy | None) -> TlsTerms:
        """Return what a policy asks for.  Raises AttemptError where the host must not be used."""
        if policy is None:
            return terms
        allowed = policy.allows(host.name)
        if policy.mode == "enforce":
            if not allowed:
                raise AttemptError(Fault.TLS, f"{host.name} is not used: {UNNAMED}", "4.7.5")
            return TlsTerms(TlsLevel.VERIFY, source=STS)
        if not allowed:
            self._tell("tls.policy_tested", domain, host, UNNAMED)
        return replace(terms, source=TESTED) if terms.level < TlsLevel.VERIFY else terms

    def _tell(self, event: str, domain: str, host: Host, why: str) -> None:
        if self._logbook is not None:
            self._logbook.warn(event, domain=domain, host=host.name, why=why)

    def rows(self, domain: str = "") -> Deferred[list[Row]]:
        """See ITlsPolicies."""
        assert self._sts is not None
        return self._sts.kept.rows(ascii_name(domain))

    def forget(self, domain: str = "") -> Deferred[int]:
        """See ITlsPolicies."""
        assert self._sts is not None
        return Deferred.fromCoroutine(self._sts.forget(domain))


def said_by_site(settings: SiteSettings, domain: str, key: str) -> TlsTerms:
    """Return what the site says of a destination, ``source`` ``site``; its level for all others, ``default``."""
    said = settings.destination(key, domain)
    if not said.tls and not said.tls_names:
        return TlsTerms(WORDS[settings.delivery.tls])
    level = WORDS[said.tls] if said.tls else TlsLevel.VERIFY
    return TlsTerms(level, said.tls_names, source="site")


def at_port(terms: TlsTerms, host: Host) -> TlsTerms:
    """Return ``terms`` as they are on the host's port: TLS comes first, and is certain, on 465."""
    if host.port != IMPLICIT_PORT or terms.level is TlsLevel.NONE:
        return terms
    return replace(terms, level=max(terms.level, TlsLevel.ENCRYPT), implicit=True)
