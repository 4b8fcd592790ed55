"""DMARC: what a domain wants done with mail in its name that is not authentic (RFC 9989; RFC 7489 where that lives on).

The organizational domain is found by the DNS tree walk of RFC 9989 4.10, which needs no list of public suffixes: at
most 8 questions a walk, all of them answered from the resolver's cache the next time.  ``pct=`` of RFC 7489, which the
newer document dropped, is still obeyed: records that say ``pct=0`` ask for less, not for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsvc.policy.auth.spfrecord import is_domain
from netsvc.policy.auth.taglist import TagListError, read_tags, unspaced
from netsvc.records import NameNotFoundError, NameTemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_STEPS = 8
"""Questions of one tree walk (RFC 9989 4.10)."""
POLICIES = ("none", "quarantine", "reject")


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """One policy record, found at ``domain``."""

    domain: str
    policy: str
    below: str
    missing: str
    strict_dkim: bool
    strict_spf: bool
    percent: int
    testing: bool
    psd: str


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """``result``: none pass fail temperror permerror; ``policy`` of POLICIES is what the domain wants, already eased.

    ``domain`` is the author's; ``found_at`` where the record is.
    """

    result: str
    domain: str = ""
    policy: str = "none"
    found_at: str = ""
    why: str = ""


def read_dmarc(domain: str, records: Iterable[bytes]) -> DmarcRecord | None:
    """Return the one DMARC record among the TXT ``records`` of ``domain``, None when there is none that counts."""
    found = [record for record in records if is_dmarc(record)]
    if len(found) != 1:
        return None
    try:
        tags = read_tags(found[0].decode("ascii", "replace"))
    except TagListError:
        return None
    policy = _policy(tags, "p", "none")
    below = _policy(tags, "sp", policy)
    percent = unspaced(tags.get("pct", "100"))
    return DmarcRecord(
        domain=domain,
        policy=policy,
        below=below,
        missing=_policy(tags, "np", below),
        strict_dkim=unspaced(tags.get("adkim", "r")).lower() == "s",
        strict_spf=unspaced(tags.get("aspf", "r")).lower() == "s",
        percent=min(int(percent), 100) if percent.isascii() and percent.isdigit() and len(percent) < 4 else 100,
        testing=unspaced(tags.get("t", "n")).lower() == "y",
        psd=unspaced(tags.get("psd", "u")).lower(),
    )


def is_dmarc(record: bytes) -> bool:
    """Whether a TXT record says that it is DMARC's: its first tag is ``v=DMARC1``."""
    name, equals, value = record.partition(b";")[0].partition(b"=")
    return bool(equals) and name.strip() == b"v" and value.strip() == b"DMARC1"


def _policy(tags: dict[str, str], tag: str, otherwise: str) -> str:
    value = unspaced(tags.get(tag, "")).lower()
    return value if value in POLICIES else otherwise


def walk_names(domain: str) -> list[str]:
    """Return the domains a tree walk asks about, ``domain`` first (RFC 9989 4.10)."""
    labels = domain.split(".")
    names = [domain]
    labels = labels[-(MAX_STEPS - 1) :] if len(labels) >= MAX_STEPS else labels[1:]
    while labels:
        names.append(".".join(labels))
        labels = labels[1:]
    return names[:MAX_STEPS]


class DmarcCheck:
    """One message's check.  ``names`` is an IResolver; ``draw()`` returns a random number of 0 to 99."""

    def __init__(self, names: Any, draw: Callable[[], int]) -> None:
        self._names = names
        self._draw = draw

    async def run(self, author: str, spf_domain: str, dkim_domains: Iterable[str], *, unsure: bool) -> DmarcResult:
        """Return what DMARC says of ``author``, the one domain in From.

        ``spf_domain`` is the domain SPF passed for ("" for none), ``dkim_domains`` those of valid signatures; with
        ``unsure`` one of the two met a passing fault, and a failure is not sure.  It never fails but when cancelled.
        """
        try:
            return await self._run(author, spf_domain, dkim_domains, unsure=unsure)
        except NameTemporaryError as error:
            return DmarcResult("temperror", author, why=str(error))

    async def _run(self, author: str, spf_domain: str, dkim_domains: Iterable[str], *, unsure: bool) -> DmarcResult:
        record = await self._record(author)
        found = [] if record else await self._walk(author)
        record = record or _of_organization(author, found)
        if record is None:
            return DmarcResult("none", author, why="no DMARC record")
        tried = [(domain, record.strict_dkim) for domain in dict.fromkeys(dkim_domains)]
        if spf_domain:
            tried.insert(0, (spf_domain, record.strict_spf))
        for domain, strict in tried:
            if await self._aligned(author, domain, strict=strict):
                return DmarcResult("pass", author, found_at=record.domain)
        if unsure:
            return DmarcResult("temperror", author, found_at=record.domain, why="SPF or DKIM could not be checked")
        return DmarcResult("fail", author, await self._wanted(author, record), record.domain, "nothing aligned passes")

    async def _record(self, domain: str) -> DmarcRecord | None:
        if not is_domain(domain, dots=0):
            return None
        try:
            return read_dmarc(domain, await self._names.txt(f"_dmarc.{domain}"))
        except (NameNotFoundError, ValueError):
            return None

    async def _walk(self, domain: str) -> list[DmarcRecord]:
        """Return the records a tree walk from ``domain`` finds, longest name first."""
        found = []
        for name in walk_names(domain):
            record = await self._record(name)
            if record is not None:
                found.append(record)
                if record.psd == "n" or (record.psd == "y" and name != domain):
                    break
        return found

    async def _aligned(self, author: str, domain: str, *, strict: bool) -> bool:
        """Whether ``domain`` speaks for ``author`` (RFC 9989 4.4)."""
        if domain == author:
            return True
        if strict or domain.rpartition(".")[2] != author.rpartition(".")[2]:
            return False
        organization = organization_of(author, await self._walk(author))
        if domain != organization and not domain.endswith("." + organization):
            return False
        return organization_of(domain, await self._walk(domain)) == organization

    async def _wanted(self, author: str, record: DmarcRecord) -> str:
        """Return the policy for ``author``, one step milder where the record is tried out only (``t=y``, ``pct=``)."""
        policy = record.policy
        if record.domain != author:
            policy = record.below if record.below == record.missing or await self._exists(author) else record.missing
        milder = record.testing or (record.percent < 100 and self._draw() >= record.percent)
        return POLICIES[max(POLICIES.index(policy) - 1, 0)] if milder else policy

    async def _exists(self, domain: str) -> bool:
        """Whether there is an A, AAAA or MX record (RFC 9989 3.2.13)."""
        for look in (self._names.a, self._names.aaaa, self._names.mx):
            try:
                await look(domain)
            except NameNotFoundError:
                continue
            return True
        return False


def _of_organization(author: str, found: list[DmarcRecord]) -> DmarcRecord | None:
    """Return the record that holds for ``author``, which has none of its own: the organization's, or the suffix's."""
    organization = organization_of(author, found)
    by_name = {record.domain: record for record in found}
    return by_name.get(organization) or next((record for record in found if record.psd == "y"), None)


def organization_of(domain: str, found: list[DmarcRecord]) -> str:
    """Return the organizational domain of ``domain`` by what its tree walk ``found`` (RFC 9989 4.10.2)."""
    for record in found:
        if record.psd == "n":
            return record.domain
        if record.psd == "y" and record.domain != domain:
            labels = domain.split(".")
            return ".".join(labels[-(record.domain.count(".") + 2) :])
    return min((record.domain for record in found), key=lambda name: name.count("."), default=domain)
