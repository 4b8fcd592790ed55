"""SPF evaluated: may this address send for that domain (RFC 7208).

A coroutine over lookups, so that a slow name server keeps nothing but its own message waiting: no thread, no socket of
its own.  It trusts nothing: at most 10 terms that look something up, 10 MX names, 10 PTR names and 2 empty answers
(4.6.4); the caller sets the deadline.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsvc.policy.auth.spfrecord import (
    Mechanism,
    SpfRecord,
    SpfSyntaxError,
    expand,
    fitting,
    is_domain,
    is_spf,
    letters_of,
    read_record,
)
from netsvc.records import NameNotFoundError, NameTemporaryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from netsvc.policy.auth.spfrecord import Spec

MAX_LOOKUPS = 10
MAX_VOIDS = 2
MAX_NAMES = 10
"""MX or PTR names looked at in one term."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class SpfResult:
    """What SPF says: ``result`` none neutral pass fail softfail temperror permerror; of which ``domain``; and why."""

    result: str
    domain: str
    why: str = ""
    scope: str = "mailfrom"


@dataclass(frozen=True, slots=True)
class SpfClient:
    """Who sends: its address, its name for itself, and the mailbox it sends from (``local@domain``)."""

    ip: IpAddress
    helo: str
    sender: str

    @property
    def local(self) -> str:
        """The local part; ``postmaster`` where there is none (4.3)."""
        return self.sender.rpartition("@")[0] or "postmaster"

    @property
    def domain(self) -> str:
        """The sender's domain."""
        return self.sender.rpartition("@")[2]


class _EndError(Exception):
    """Evaluation ends with ``result``."""

    def __init__(self, result: str, why: str) -> None:
        super().__init__(why)
        self.result = result
        self.why = why


def client_ip(text: str) -> IpAddress:
    """Return the address ``text``; an IPv4-mapped one as IPv4.  Raises ValueError."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return mapped if mapped is not None else ip


class SpfCheck:
    """One check; its limits hold for all records it comes by.  ``names`` is an IResolver."""

    def __init__(self, names: Any, client: SpfClient) -> None:
        self._names = names
        self._client = client
        self._lookups = 0
        self._voids = 0
        self._validated: list[str] | None = None

    async def run(self, scope: str = "mailfrom") -> SpfResult:
        """Return the result for the client's domain; it never fails but by being cancelled."""
        domain = self._client.domain.lower()
        if not is_domain(domain) or domain.startswith("["):
            return SpfResult("none", domain, "no domain to ask about", scope)
        try:
            result, why = await self._check(domain)
        except _EndError as end:
            result, why = end.result, end.why
        except SpfSyntaxError as error:
            result, why = "permerror", str(error)
        return SpfResult(result, domain, why, scope)

    async def _check(self, domain: str) -> tuple[str, str]:
        """Return (result, why) of ``check_host`` for ``domain`` (4)."""
        record = await self._record(domain)
        if record is None:
            return "none", f"{domain} has no SPF record"
        for mechanism in record.mechanisms:
            if await self._matches(mechanism, domain):
                return mechanism.result, f"{domain}: {mechanism.text}"
        if record.redirect is None:
            return "neutral", f"{domain}: nothing matches"
        self._count()
        target = await self._name(record.redirect, domain)
        if not is_domain(target):
            raise SpfSyntaxError(f"redirect= to no domain: {target[:60]}")
        result, why = await self._check(target)
        if result == "none":
            raise _EndError("permerror", f"redirect= to {target}, which has no SPF record")
        return result, why

    async def _record(self, domain: str) -> SpfRecord | None:
        """Return the record of ``domain``, None when there is none (4.4, 4.5)."""
        found = [text for text in await self._ask(self._names.txt, domain, void=False) if is_spf(text)]
        if len(found) > 1:
            raise SpfSyntaxError(f"{domain} has more than one SPF record")
        return read_record(found[0]) if found else None

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            raise _EndError("permerror", f"more than {MAX_LOOKUPS} terms that need DNS")

    async def _ask(self, look: Callable[[str], Awaitable[list[Any]]], name: str, *, void: bool = True) -> list[Any]:
        """Return what DNS says of ``name``; nothing there counts as void (4.6.4)."""
        try:
            found = await look(name)
        except NameNotFoundError:
            found = []
        except NameTemporaryError as error:
            raise _EndError("temperror", f"{name}: {error}") from None
        except ValueError:  # a name no resolver takes
            found = []
        if not found and void:
            self._voids += 1
            if self._voids > MAX_VOIDS:
                raise _EndError("permerror", f"more than {MAX_VOIDS} lookups without an answer")
        return found

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        name = mechanism.name
        if name == "all":
            return True
        if mechanism.network is not None:
            return self._client.ip.version == mechanism.network.version and self._client.ip in mechanism.network
        self._count()
        target = await self._name(mechanism.spec, domain) if mechanism.spec else domain
        if not is_domain(target):
            if name == "include":
                raise SpfSyntaxError(f"include: no domain: {target[:60]}")
            return False
        if name == "include":
            return await self._included(target)
        if name == "exists":
            return bool(await self._ask(self._names.a, target))
        if name == "ptr":
            target = target.lower()
            return any(n == target or n.endswith("." + target) for n in await self._ptr_names())
        if name == "a":
            return await self._is_at(target, mechanism)
        return await self._is_mx(target, mechanism)

    async def _included(self, target: str) -> bool:
        """Evaluate ``include:`` (5.2)."""
        result, why = await self._check(target)
        if result == "none":
            raise _EndError("permerror", f"include:{target} has no SPF record")
        del why
        return result == "pass"

    async def _is_at(self, name: str, mechanism: Mechanism, *, void: bool = True) -> bool:
        """Whether the client's address is one of ``name``'s, as far as the CIDR length says."""
        ip = self._client.ip
        look = self._names.a if ip.version == 4 else self._names.aaaa
        length = mechanism.cidr4 if ip.version == 4 else mechanism.cidr6
        for text in await self._ask(look, name, void=void):
            try:
                network = ipaddress.ip_network((text, length), strict=False)
            except ValueError:
                continue
            if network.version == ip.version and ip in network:
                return True
        return False

    async def _is_mx(self, target: str, mechanism: Mechanism) -> bool:
        found = [name for _, name in await self._ask(self._names.mx, target)]
        if len(found) > MAX_NAMES:
            raise _EndError("permerror", f"more than {MAX_NAMES} MX of {target}")
        for name in found:
            if is_domain(name, dots=0) and await self._is_at(name, mechanism, void=False):
                return True
        return False

    async def _ptr_names(self) -> list[str]:
        """Return the client's validated names (5.5); DNS errors make it none."""
        if self._validated is None:
            self._validated = []
            plain = Mechanism("pass", "a")
            try:
                names = await self._ask(self._names.ptr, str(self._client.ip))
                for name in names[:MAX_NAMES]:
                    if is_domain(name, dots=0) and await self._is_at(name, plain, void=False):
                        self._validated.append(name.lower())
            except _EndError as end:
                if end.result != "temperror":
                    raise
        return self._validated

    async def _name(self, spec: Spec, domain: str) -> str:
        """Return ``spec`` expanded to a name that can be looked up."""
        client = self._client
        needed = letters_of(spec)
        values = {
            "s": f"{client.local}@{client.domain}",
            "l": client.local,
            "o": client.domain,
            "d": domain,
            "h": client.helo,
            "v": "in-addr" if client.ip.version == 4 else "ip6",
            "i": str(client.ip) if client.ip.version == 4 else ".".join(client.ip.exploded.replace(":", "")),
        }
        if "p" in needed:
            values["p"] = await self._one_ptr_name(domain)
        return fitting(expand(spec, values))

    async def _one_ptr_name(self, domain: str) -> str:
        """Return the ``p`` macro: a validated name, best of ``domain`` itself (7.3)."""
        names = await self._ptr_names()
        for name in names:
            if name == domain:
                return name
        below = [name for name in names if name.endswith("." + domain)]
        return (below or names or ["unknown"])[0]
