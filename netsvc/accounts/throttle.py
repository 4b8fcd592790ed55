"""Locks out whoever guesses passwords (CONSOLE.md S7).

Failures are counted by the network they come from first, so that somebody far
away who guesses cannot lock out an operator at the machine itself:

* a name from one network (an IPv4 /24, an IPv6 /64): 10 failures in 15 minutes lock the pair for 30;
* a network, all names together: 40, never for loopback;
* a name from everywhere but loopback: 100, so that many networks together do not guess for ever.

While locked, a login takes as long and says the same as one with a wrong password.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from zope.interface import implementer

from netsvc.accounts.checkers import BusyLogin
from netsvc.accounts.hashes import HasherBusyError
from netsvc.accounts.identity import name_of, password_of
from netsvc.interfaces import ILoginSource
from netsvc.mail.escape import escape_bytes

if TYPE_CHECKING:
    from netsvc.accounts.hashes import Hasher
    from netsvc.interfaces import ICounters

REALM: Final = 2
"""The counters' realm for logins."""
MAIL_REALM: Final = 3
"""The counters' realm for logins of mail clients."""
WINDOW_MS: Final = 15 * 60_000
LOCK_MS: Final = 30 * 60_000
MAIL_LOCK_MS: Final = 15 * 60_000
PAIR_LIMIT: Final = 10
NETWORK_LIMIT: Final = 40
NAME_LIMIT: Final = 100
SHOWN: Final = 64
"""Characters of a name that can be nobody's which are looked at."""


def network_of(source: str) -> tuple[str, bool]:
    """Return (the network ``source`` is in, whether it is loopback); what is no IP address stands for itself."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source[:100], False
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    bits = 24 if address.version == 4 else 64
    return str(ipaddress.ip_network((address, bits), strict=False)), address.is_loopback


def counted(name: str, source: str, *, exact: bool = False) -> list[tuple[str, int]]:
    """Return the keys a failure counts for, each with its limit; the pair comes first.

    ``exact``: an IPv4 address is paired with the name rather than its network, which other people are in too.
    """
    network, loopback = network_of(source)
    near = source if exact and ":" not in source else network
    keys = [(f"{near} {name}", PAIR_LIMIT)]
    if not loopback:
        keys += [(f"{network} *", NETWORK_LIMIT), (f"* {name}", NAME_LIMIT)]
    return keys


def _counted_name(given: str | bytes) -> str:
    """Return the one text that all ways to write an account's name count for: whoever adds blanks is no other."""
    text = name_of(given)
    if text:
        return text
    return escape_bytes(given if isinstance(given, bytes) else given.encode("utf-8", "replace"), SHOWN).lower()


@dataclass(frozen=True, slots=True)
class Rule:
    """Where failures are counted, for how long they lock, and whether for an exact address (see ``counted``)."""

    realm: int = REALM
    lock_ms: int = LOCK_MS
    exact: bool = False


CONSOLE: Final = Rule()
MAIL: Final = Rule(MAIL_REALM, MAIL_LOCK_MS, exact=True)
"""For mail clients (T22): apart from the console, so that guessing at one locks nobody out of the other."""


@implementer(ICredentialsChecker)
class ThrottledChecker:
    """A checker before which failures are counted.  Credentials that provide ILoginSource say where they come from."""

    def __init__(self, checker: Any, counters: ICounters, hasher: Hasher, rule: Rule = CONSOLE) -> None:
        self._checker = checker
        self._counters = counters
        self._hasher = hasher
        self._rule = rule
        self._under_way: dict[str, DeferredLock] = {}
        self.credentialInterfaces = checker.credentialInterfaces

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """-> Deferred[avatar id]; fails with UnauthorizedLogin, also while locked, or as the checker does."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Any) -> Any:
        name = _counted_name(credentials.username)
        source = credentials.source if ILoginSource.providedBy(credentials) else ""
        keys = counted(name, source, exact=self._rule.exact)
        pair = keys[0][0]
        turn = self._under_way.setdefault(pair, DeferredLock())
        await turn.acquire()  # one at a time: guesses sent together would all be judged before one is counted
        try:
            return await self._judge(credentials, keys)
        finally:
            turn.release()
            if not turn.locked:
                self._under_way.pop(pair, None)

    async def _judge(self, credentials: Any, keys: list[tuple[str, int]]) -> Any:
        for key, _ in keys:
            if await self._counters.locked(self._rule.realm, key):
                password = getattr(credentials, "password", None)
                if password is not None:
                    await self._spend(password)
                raise UnauthorizedLogin("locked")
        try:
            found = await maybeDeferred(self._checker.requestAvatarId, credentials)
        except UnauthorizedLogin:
            for key, limit in keys:
                await self._counters.fail(self._rule.realm, key, limit, WINDOW_MS, self._rule.lock_ms)
            raise
        await self._counters.clear(self._rule.realm, keys[0][0])
        return found

    async def _spend(self, password: Any) -> None:
        """Take as long as a check does."""
        try:
            await self._hasher.verify(None, password_of(password))
        except HasherBusyError as busy:
            raise BusyLogin(str(busy)) from None
