"""MTA-STS (RFC 8461): the policy a domain has now, from memory, from the store, or fetched.

What was fetched holds as long as it says, whatever happens to the record or the
policy host meanwhile: that is what it is for.  A domain that publishes none costs
one TXT question, which the resolver remembers.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall

from netsvc.delivery.stspolicy import StsError, StsPolicy, published_id, read_policy
from netsvc.mail.escape import escape
from netsvc.records import NameNotFoundError, NameTemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from netsvc.interfaces import IResolver, ITlsPolicyRows
    from netsvc.logbook import Logbook
    from netsvc.records import Row

MOST_REMEMBERED: Final = 10_000
LOOK_AGAIN_MS: Final = 300_000
"""How long the store is not asked again for a domain: another node may have fetched, an operator forgotten."""
FETCH_AGAIN_MS: Final = 300_000
"""Between two fetches for a domain of which the first one failed (RFC 8461 3.3)."""
RENEW_MS: Final = 24 * 3_600_000
"""What is older is fetched again, whether its id changed or not."""
USED_MS: Final = 30 * 24 * 3_600_000
"""What no mail asked for in this time is left to run out."""
ROUND_S: Final = 3600.0
"""Between two looks for what is to be renewed though no mail asks for it."""
MOST_RENEWED: Final = 100
"""Policies renewed in one such round."""


class _Entry:
    """What is known of one domain; ``row`` is the store's, None where there is none."""

    __slots__ = ("fetching", "looked", "policy", "row", "tried", "why")

    def __init__(self) -> None:
        self.row: dict[str, Any] | None = None
        self.policy: StsPolicy | None = None
        self.looked = 0
        self.tried = 0
        self.why = ""
        self.fetching: Deferred[None] | None = None

    def take(self, row: Row | None) -> None:
        self.row = None if row is None else dict(row)
        self.policy = None if row is None else StsPolicy(row["mode"], row["max_age"] // 1000, tuple(row["hosts"]))


class MtaSts:
    """Policies of domains.

    ``fetch`` returns a domain's policy file or raises StsError; ``now`` is the wall clock, ms.
    """

    def __init__(
        self,
        resolver: IResolver,
        kept: ITlsPolicyRows,
        fetch: Callable[[str], Coroutine[Deferred[Any], Any, bytes]],
        now: Callable[[], int],
        logbook: Logbook,
    ) -> None:
        """Remember nothing."""
        self.kept = kept
        self._resolver = resolver
        self._fetch = fetch
        self._now = now
        self._logbook = logbook
        self._known: OrderedDict[str, _Entry] = OrderedDict()
        self._round = LoopingCall(self._renew_round)
        self._stopped = False

    def start(self, clock: Any) -> None:
        """Renew from now on what is used."""
        self._round.clock = clock
        self._round.start(ROUND_S, now=False)

    def stop(self) -> None:
        """Fetch no more."""
        self._stopped = True
        if self._round.running:
            self._round.stop()
        for entry in self._known.values():
            if entry.fetching is not None:
                entry.fetching.cancel()

    async def policy(self, domain: str) -> StsPolicy | None:
        """Return the policy ``domain`` (lower case) has now, None for none; it never fails.

        A fetch is waited for only where nothing is known that still holds.
        """
        name = ascii_name(domain)
        if not name:
            return None
        published = await self._published(name)
        entry = await self._entry(name)
        now = self._now()
        holding = entry.row is not None and entry.row["until"] > now
        if published and self._is_to_fetch(entry, published, now, holding=holding):
            fetching = self._start_fetch(name, entry, published)
            if not holding:
                await fetching
        row = entry.row
        if row is None or row["until"] <= self._now():
            return None
        self._note_use(row)
        return entry.policy

    async def _published(self, name: str) -> str:
        """Return the id published now, "" for none or where that cannot be told."""
        try:
            return published_id((await self._resolver.look("txt", f"_mta-sts.{name}")).values)
        except (NameNotFoundError, NameTemporaryError):
            return ""

    async def _entry(self, name: str) -> _Entry:
        entry = self._known.get(name)
        if entry is None:
            entry = self._known[name] = _Entry()
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(name)
        now = self._now()
        if not entry.looked <= now < entry.looked + LOOK_AGAIN_MS or not entry.looked:
            try:
                entry.take(await self.kept.get(name))
                entry.looked = now
            except CancelledError:
                raise  # nobody waits any more
            except Exception:  # noqa: BLE001 - the store's errors are its own: what is remembered still holds
                self._logbook.failure("delivery.fault", None, what="reading a TLS policy")
        return entry

    def _is_to_fetch(self, entry: _Entry, published: str, now: int, *, holding: bool) -> bool:
        tried = max(entry.tried, entry.row["tried"] if entry.row is not None else 0)
        if self._stopped or now - FETCH_AGAIN_MS < tried <= now:
            return False
        row = entry.row
        return row is None or not holding or row["id"] != published or row["fetched"] + RENEW_MS <= now

    def _start_fetch(self, name: str, entry: _Entry, published: str) -> Deferred[None]:
        """Fetch once for all that ask -> a Deferred of one's own that fires when that is over."""
        fetching = entry.fetching
        if fetching is None:
            fetching = entry.fetching = Deferred.fromCoroutine(self._renew(name, entry, published))

            def over(_: object) -> None:  # after a cancellation too: the service stops
                entry.fetching = None

            fetching.addBoth(over)
        waiting: Deferred[None] = Deferred()

        def fetched(result: None) -> None:
            if not waiting.called:
                waiting.callback(result)

        fetching.addCallback(fetched)
        return waiting

    async def _renew(self, name: str, entry: _Entry, published: str) -> None:
        """Fetch and keep the policy; what was kept stays where that fails."""
        now = self._now()
        try:
            policy = read_policy(await self._fetch(name))
        except StsError as why:
            if self._stopped:
                return
            entry.tried, entry.why = now, escape(str(why), 300)
            self._logbook.event("tls.policy_failed", domain=name, why=entry.why)
            if entry.row is not None:
                entry.row |= {"tried": now, "why": entry.why}
                await self._keep(self.kept.failed(name, now, entry.why))
            return
        changed = entry.row is None or entry.row["id"] != published or entry.policy != policy
        times = {"fetched": now, "until": now + policy.max_age * 1000, "used": now, "tried": 0, "why": ""}
        facts = {"mode": policy.mode, "max_age": policy.max_age * 1000, "hosts": list(policy.hosts)}
        if entry.row is not None:
            times["used"] = entry.row["used"]
        entry.take({"domain": name, "id": published, **facts, **times})
        entry.looked, entry.tried, entry.why = now, 0, ""
        if changed:
            self._logbook.event("tls.policy", domain=name, mode=policy.mode, hosts=list(policy.hosts))
        assert entry.row is not None
        await self._keep(self.kept.put(entry.row))

    async def _keep(self, writing: Deferred[None]) -> None:
        try:
            await writing
        except Exception:  # noqa: BLE001 - the store's errors are its own: the policy is obeyed all the same
            self._logbook.failure("delivery.fault", None, what="keeping a TLS policy")

    def _note_use(self, row: dict[str, Any]) -> None:
        now = self._now()
        if not row["used"] <= now < row["used"] + RENEW_MS:
            row["used"] = now
            Deferred.fromCoroutine(self._keep(self.kept.used(row["domain"], now)))

    def _renew_round(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._renew_used())

    async def _renew_used(self) -> None:
        """Renew what is older than a day and in use, before it runs out unseen."""
        now = self._now()
        try:
            rows = await self.kept.stale(now - RENEW_MS, now - USED_MS, MOST_RENEWED)
        except Exception:  # noqa: BLE001 - the store's errors are its own; the next round is near
            self._logbook.failure("delivery.fault", None, what="reading TLS policies")
            return
        for row in rows:
            if self._stopped:
                return
            name = row["domain"]
            published = await self._published(name)
            entry = await self._entry(name)
            if published and self._is_to_fetch(entry, published, self._now(), holding=True):
                await self._start_fetch(name, entry, published)

    async def forget(self, domain: str = "") -> int:
        """Forget a domain's policy, all for "" -> how many the store had; other nodes look within LOOK_AGAIN_MS."""
        name = ascii_name(domain)
        for known in [name] if domain else list(self._known):
            self._known.pop(known, None)
        return await self.kept.forget(name) if name or not domain else 0


def ascii_name(domain: str) -> str:
    """Return a domain as the DNS has it, "" for what publishes no policy: an address, a name without a dot."""
    name = domain.removesuffix(".").lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    last = name.rpartition(".")[2]
    return "" if last == name or last.isdigit() or name.startswith("[") or ":" in name else name
