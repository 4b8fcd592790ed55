"""What is at the end of a route, told for people by looking now (IDeliveryMap)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.delivery.faults import AttemptError
from netsvc.delivery.hosts import Hosts
from netsvc.delivery.targets import hop_target
from netsvc.delivery.terms import TlsLevel
from netsvc.interfaces import IDeliveryMap
from netsvc.mail.message import Kind
from netsvc.records import CredentialError

if TYPE_CHECKING:
    from netsvc.delivery.ground import Ground
    from netsvc.delivery.targets import Target
    from netsvc.delivery.terms import TlsTerms
    from netsvc.mail.message import Hop
    from netsvc.records import Row
    from netsvc.settings import SiteSettings

_WORDS = {
    TlsLevel.NONE: "none, even where it is offered",
    TlsLevel.OPPORTUNISTIC: "where it is offered, with whatever certificate",
    TlsLevel.ENCRYPT: "always, with whatever certificate",
    TlsLevel.VERIFY: "always, with a certificate that is trusted",
}


@implementer(IDeliveryMap)
class DeliveryMap:
    """See IDeliveryMap."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._hosts = Hosts(ground)

    def look(self, hop: Hop) -> Deferred[list[Row]]:
        """See IDeliveryMap."""
        return Deferred.fromCoroutine(self._look(hop))

    async def _look(self, hop: Hop) -> list[Row]:
        rows: list[Row] = []
        try:
            target = hop_target(hop)
            if target.kind is Kind.SMTP or target.host:
                await self._network(target, hop.domain, rows)
            else:
                rows.append(self._here(target))
        except (AttemptError, ValueError) as why:
            status = f"{why.status} " if isinstance(why, AttemptError) else ""
            rows.append(_row("error", hop.key, f"{status}{getattr(why, 'words', why)}"))
        except Exception as why:  # noqa: BLE001 - whatever it is, an operator asked, and is to hear of it
            self._ground.logbook.failure("delivery.fault", None, what="looking at a destination")
            rows.append(_row("error", hop.key, f"internal error: {type(why).__name__}"))
        return rows

    async def _network(self, target: Target, domain: str, rows: list[Row]) -> None:
        """Add hosts, what TLS must be like there, and the credential.  Raises AttemptError."""
        found = await self._hosts.rows(target, domain)
        rows += [_host(row, by_mx=target.by_mx) for row in found]
        settings: SiteSettings = self._ground.site.current
        name = settings.destination(target.key, target.domain).credential
        if all(row["why"] for row in found):
            return
        if target.kind is Kind.SMTP and self._ground.tls is not None:
            hosts = await self._hosts.hosts(target, domain)
            for host, terms in await self._ground.tls.hosts(target.domain, hosts, target.key):
                rows.append(_row("tls", host.name, _terms(terms)))
        if name:
            rows.append(await self._credential(name))

    async def _credential(self, name: str) -> Row:
        credentials = self._ground.credentials
        try:
            credential = await credentials.get(name) if credentials is not None else None
        except CredentialError as why:
            return _row("error", name, str(why))
        if credential is None:
            return _row("error", name, "there is no credential of this name: mail waits")
        return _row("credential", name, f"we log in as {credential.user}")

    def _here(self, target: Target) -> Row:
        """Return what is told of what needs no network."""
        settings: SiteSettings = self._ground.site.current
        if target.kind is Kind.LMTP:
            return _row("host", target.path, "a socket on this node")
        if target.kind is Kind.MAILDIR:
            return _row("host", target.prefix, "folders on this node")
        if target.kind is Kind.COMMAND:
            said = settings.commands.get(target.name)
            if said is None:
                return _row("error", target.name, f"there is no [site.commands.{target.name}]: mail waits")
            return _row("host", target.name, f"the program {' '.join(said['argv'])}")
        if target.name not in self._ground.agents:
            return _row("error", target.name, "no plugin on this node brings this agent: mail waits")
        return _row("host", target.name, "a plugin")


def _row(what: str, found: str, note: str) -> Row:
    return {"is": what, "found": found, "note": note}


def _host(row: Row, *, by_mx: bool) -> Row:
    if not row["name"]:
        return _row("error", "", row["why"])
    words = [f"preference {row['preference']}"] if by_mx else []
    words.append(f"port {row['port']}")
    if row["addresses"]:
        words.append(" ".join(row["addresses"]))
    if row["validated"] and by_mx and row["addresses"]:
        words.append("validated by DNSSEC")
    if row["why"]:
        words.append(f"not tried: {row['why']}")
    return _row("host", row["name"], ", ".join(words))


def _terms(terms: TlsTerms) -> str:
    words = f"{terms.level.name.lower()} ({terms.source}): {_WORDS[terms.level]}"
    if terms.level is TlsLevel.VERIFY:
        words += ", by a TLSA record" if terms.tlsa else f", for {' or '.join(terms.names)}" if terms.names else ""
    return words + (", from the first octet on" if terms.implicit else "")
