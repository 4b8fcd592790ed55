"""Limits: how much one client, network, user or sender's domain may take of us (T12, T18; floor 3).

Connections at a time are this node's; everything that is counted in a window of
time is shared by the nodes of a site (see ``windows``).  A client that has
authenticated is counted by its user alone: many users share an address.  Clients
in ``limits_exempt``, and usually those of this host, have no limits.

Figures of 0 are no limit.  The usual ones stop a flood and no honest sender.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from netsvc.interfaces import ILimits, IPolicy, IWitness
from netsvc.mail import reply
from netsvc.networks import Networks, network_of
from netsvc.policy.windows import Ledger, Wanted, Windows
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.interfaces import IPolicyGround
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.records import Row
    from netsvc.settings import SiteSettings

MINUTE: Final = 60
HOUR: Final = 3600

WINDOWS: Final = {
    "connection_rate": (40, MINUTE),
    "connection_rate_network": (41, MINUTE),
    "messages": (42, HOUR),
    "messages_network": (43, HOUR),
    "messages_user": (44, HOUR),
    "messages_domain": (45, HOUR),
    "recipients": (46, HOUR),
    "recipients_network": (47, HOUR),
    "recipients_user": (48, HOUR),
    "recipients_domain": (49, HOUR),
    "octets": (50, HOUR),
    "octets_network": (51, HOUR),
    "octets_user": (52, HOUR),
    "octets_domain": (53, HOUR),
    "unknown_hourly": (54, HOUR),
}
"""Limits in windows: the counters' realm and the window's seconds, by the setting's name."""

BY: Final = ("", "_network", "_user", "_domain")
"""Whose use is counted: an address's, a network's, a user's, a sender's domain's."""

TOP: Final = 100
"""Holders shown of each limit."""

_REPLIES: Final = {
    "connection_rate": reply.TOO_MANY_CONNECTIONS,
    "messages": reply.TOO_MUCH_MAIL,
    "recipients": reply.TOO_MANY_RECIPIENTS_NOW,
    "octets": reply.TOO_MUCH_MAIL,
    "unknown_hourly": reply.TOO_MANY_UNKNOWN,
}


@implementer(IPolicy, ILimits, IWitness)
class Limits:
    """See the module."""

    name = "limits"
    stages = ("connect", "mail", "rcpt")
    names = tuple(f"limits.{name}" for name in ("connections", "connections_network", *WINDOWS))

    def __init__(self, ground: IPolicyGround) -> None:
        """Count on ``ground``."""
        self._sessions = ground.sessions
        self._counters = ground.counters
        self._clock = ground.clock
        self._logbook = ground.logbook
        self._ledger = Ledger(ground.counters, ground.clock, ground.logbook)
        self._windows = {name: Windows(f"limits.{name}", *shape) for name, shape in WINDOWS.items()}
        self._values: Mapping[str, Any] = {}
        self._by: dict[str, tuple[Windows | None, ...]] = {}
        self._exempt = Networks(())
        self._ours = Networks(())  # hosts that pass on what others gave them
        self._crowded: dict[str, float] = {}  # who was refused for sessions at a time, told of in the log
        self._crowded_refused: dict[str, int] = {}
        self._obey(ground.site.current)
        ground.site.watch(self._obey)

    def _obey(self, settings: SiteSettings) -> None:
        self._exempt = Networks(settings.limits_exempt)
        self._ours = Networks(settings.relay_from)

    def configure(self, values: Mapping[str, Any]) -> None:
        """See IPolicy."""
        self._values = values
        for name, windows in self._windows.items():
            windows.most = values[name]
        self._by = {
            name: tuple(self._set(name, whose) for whose in BY) for name in ("messages", "recipients", "octets")
        }

    def _set(self, name: str, whose: str) -> Windows | None:
        windows = self._windows[f"{name}{whose}"]
        return windows if windows.most else None

    def exempt(self, session: SessionFacts) -> bool:
        """Say whether there are no limits for the session's client."""
        return (session.loopback and self._values["exempt_loopback"]) or session.peer in self._exempt

    def _passes_on(self, session: SessionFacts) -> bool:
        """Say whether unknown recipients are no guesses: the client passes on what it was given."""
        return session.service == "lmtp" or session.peer in self._ours

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Verdict:
        """See IPolicy."""
        if self.exempt(session):
            return PASS
        if stage == "connect":
            return self._connect(session)
        return self._mail(session, envelope) if stage == "mail" else self._rcpt(session)

    # Stage by stage.

    def _connect(self, session: SessionFacts) -> Verdict:
        values, peer = self._values, session.peer
        network = network_of(peer)
        if values["connections"] and self._sessions.count("smtp-in", peer) > values["connections"]:
            return self._crowd("connections", peer)
        most = values["connections_network"]
        if most and self._sessions.count_network(peer) > most:
            return self._crowd("connections_network", network)
        if self._ledger.full(self._windows["unknown_hourly"], peer):
            return self._over("unknown_hourly")
        windows = self._windows
        return self._take(
            [(windows["connection_rate"], peer, 1), (windows["connection_rate_network"], network, 1)], "connection_rate"
        )

    def _crowd(self, name: str, key: str) -> Verdict:
        now = self._clock.seconds()
        label = f"limits.{name}"
        who = f"{label} {key}"
        if len(self._crowded) > TOP * TOP:
            self._crowded.clear()
            self._crowded_refused.clear()
        self._crowded_refused[who] = count = self._crowded_refused.get(who, 0) + 1
        if now >= self._crowded.get(who, 0.0):
            self._crowded[who] = now + MINUTE
            self._logbook.event("limit.reached", limit=label, key=key, most=self._values[name], n=count)
        return Verdict("defer", reply.TOO_MANY_CONNECTIONS, f"{label} of {key}", quiet=True)

    def _mail(self, session: SessionFacts, envelope: Envelope) -> Verdict:
        domain = envelope.reverse_path.domain
        for windows, key, size in self._keys("octets", session, domain, max(envelope.size, 1)):
            if self._ledger.full(windows, key, size):
                return self._over("octets", windows, key)
        return self._take(self._keys("messages", session, domain, 1), "messages")

    def _rcpt(self, session: SessionFacts) -> Verdict:
        values = self._values
        unknown = 0 if session.unknown and self._passes_on(session) else session.unknown
        if values["unknown"] and unknown >= values["unknown"]:
            return Verdict("defer", reply.TOO_MANY_UNKNOWN, f"{unknown} unknown recipients")
        verdict = self._take(self._keys("recipients", session, session.sender.domain, 1), "recipients")
        slow = values["unknown_slow"]
        if verdict is PASS and slow and unknown >= slow:
            delay = min((unknown - slow + 1) * values["unknown_delay"], values["unknown_delay_max"]) / 1000
            return Verdict("pass", delay=delay)
        return verdict

    def _keys(self, name: str, session: SessionFacts, domain: str, amount: int) -> list[Wanted]:
        """Return whose use of the limits ``name`` an ``amount`` is: the user's, or the address's and network's."""
        address, network, user, domains = self._by[name]
        wanted: list[Wanted] = []
        if session.user:
            if user is not None:
                wanted.append((user, session.user, amount))
        else:
            if address is not None:
                wanted.append((address, session.peer, amount))
            if network is not None:
                wanted.append((network, network_of(session.peer), amount))
        if domain and domains is not None:
            wanted.append((domains, domain, amount))
        return wanted

    def _take(self, wanted: list[Wanted], name: str) -> Verdict:
        over = self._ledger.take(wanted) if wanted else None
        return PASS if over is None else self._over(name, over[0], over[1])

    @staticmethod
    def _over(name: str, windows: Windows | None = None, key: str = "") -> Verdict:
        why = f"{windows.name} of {key}" if windows is not None else f"limits.{name}"
        return Verdict("defer", _REPLIES[name], why, quiet=True)

    # What became of mail (IWitness).

    def unknown(self, session: SessionFacts) -> None:
        """Count a recipient that was refused as unknown."""
        windows = self._windows["unknown_hourly"]
        if windows.most and not (self.exempt(session) or self._passes_on(session)):
            self._ledger.add(windows, session.peer, 1)

    def accepted(self, session: SessionFacts, domain: str, size: int) -> None:
        """Count the octets of a message that was accepted."""
        if not self.exempt(session):
            for windows, key, amount in self._keys("octets", session, domain, size):
                self._ledger.add(windows, key, amount)

    # What is shown (ILimits).

    def holders(self) -> Deferred[list[Row]]:
        """See ILimits."""
        return Deferred.fromCoroutine(self._holders())

    async def _holders(self) -> list[Row]:
        now = self._clock.seconds()
        now_ms = round(now * 1000)
        peers, networks = self._sessions.crowds(TOP)
        rows: list[Row] = []
        for name, held in (("connections", peers), ("connections_network", networks)):
            most = self._values[name]
            for key, used in held if most else ():
                refused = self._crowded_refused.get(f"limits.{name} {key}", 0)
                rows.append(_row(f"limits.{name}", key, used, most, None, refused))
        for windows in self._windows.values():
            if not windows.most:
                continue
            shared: dict[str, tuple[int, int]] = {}
            if self._counters.shared:
                shared = {key: (used, left) for key, used, left in await self._counters.most(windows.realm, TOP)}
            for key, window in windows.largest(now, TOP):
                used, left = shared.pop(key, (0, round((window.until - now) * 1000)))
                used = max(used, window.used + window.pending)
                if used or window.refused:
                    rows.append(_row(windows.name, key, used, windows.most, now_ms + left, window.refused))
            rows += [
                _row(windows.name, key, used, windows.most, now_ms + left, 0) for key, (used, left) in shared.items()
            ]
        return rows

    def clear(self, name: str, key: str) -> Deferred[int]:
        """See ILimits."""
        windows = self._windows.get(name.removeprefix("limits."))
        if windows is None:
            return fail(LookupError(f"the limit {name} counts sessions that are open: end them (kick) to have fewer"))
        return Deferred.fromCoroutine(self._ledger.clear(windows, key))


def _row(name: str, key: str, used: int, most: int, until: int | None, refused: int) -> Row:
    unit = "octets" if name.endswith("octets") else None
    return {"name": name, "key": key, "used": used, "limit": most, "until": until, "refused": refused, "unit": unit}
