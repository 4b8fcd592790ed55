"""Who may come in at all: blocked peers and paused listeners, known at once (floor 4, beside sessions).

The rules are kept in the store and held here; a store that other nodes share is
looked at every few seconds.  A rule that has run out has no effect from that
moment on, whether it was removed or not.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.task import LoopingCall
from zope.interface import implementer

from netsvc.interfaces import IDoors
from netsvc.mail.escape import escape
from netsvc.records import DoorRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.defer import Deferred

    from netsvc.interfaces import IDoorRules, ISessions
    from netsvc.logbook import Logbook
    from netsvc.records import Row

LOOK_S: Final = 2.0
"""How often other nodes' changes are looked for."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(peer: str) -> Address | None:
    """Return the address ``peer`` is, an IPv4 one where it is mapped into IPv6; None for none (a UNIX socket)."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class Barrier:
    """Networks, and which of them holds an address: one look a length of prefix in use."""

    def __init__(self, rules: Iterable[DoorRule] = ()) -> None:
        """Hold the networks of block ``rules``."""
        self._sizes: dict[tuple[int, int], dict[int, DoorRule]] = {}
        for rule in rules:
            network = ipaddress.ip_network(rule.key)
            size = (network.version, network.max_prefixlen - network.prefixlen)
            self._sizes.setdefault(size, {})[int(network.network_address) >> size[1]] = rule

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._sizes)

    def find(self, peer: str, now: int) -> DoorRule | None:
        """Return the rule that holds ``peer`` and stands at ``now``, None when there is none."""
        address = address_of(peer)
        if address is None:
            return None
        number, version = int(address), address.version
        for (kind, shift), rules in self._sizes.items():
            if kind == version:
                rule = rules.get(number >> shift)
                if rule is not None and (not rule.until or rule.until > now):
                    return rule
        return None


@implementer(IDoors)
class Doors:
    """See IDoors.  ``load`` comes before it means anything."""

    def __init__(self, rules: IDoorRules, sessions: ISessions, node: str, logbook: Logbook, clock: Any) -> None:
        """``node`` names this node's listeners in the rules; ``clock`` is the reactor."""
        self._rules = rules
        self._sessions = sessions
        self._node = node
        self._logbook = logbook
        self._blocks = Barrier()
        self._standing: list[DoorRule] = []
        self._pauses: dict[str, DoorRule] = {}
        self._listeners: list[Any] = []
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def load(self) -> Deferred[None]:
        """Read the rules -> Deferred[None]; what stands is logged, so that nobody forgets it."""
        return self._rules.load().addCallback(self._begin)

    def _begin(self, rules: list[DoorRule]) -> None:
        self._take(rules)
        for name, rule in self._pauses.items():
            self._logbook.event("listener.paused", listener=name, user=rule.actor, why=rule.reason, until_ms=rule.until)

    def start(self) -> None:
        """Look for other nodes' changes from now on."""
        if self._rules.shared and not self._looking.running:
            self._looking.start(LOOK_S, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> Deferred[None]:
        # While the store does not answer, what is known stands.
        return self._rules.load().addCallbacks(self._take, lambda _: None)

    def _take(self, rules: list[DoorRule]) -> None:
        self._standing = rules
        self._blocks = Barrier(rule for rule in rules if rule.kind == "block")
        start = f"{self._node}/"
        pauses = [rule for rule in rules if rule.kind == "pause" and rule.key.startswith(start)]
        self._pauses = {rule.key.removeprefix(start): rule for rule in pauses}

    # asked at every connection

    def blocked(self, peer: str) -> DoorRule | None:
        """See IDoors."""
        blocks = self._blocks
        return blocks.find(peer, self._rules.now()) if blocks else None

    def paused(self, listener: str) -> DoorRule | None:
        """See IDoors."""
        rule = self._pauses.get(listener) if self._pauses else None
        return rule if rule is not None and (not rule.until or rule.until > self._rules.now()) else None

    # what operators do

    def block(self, network: str, reason: str, actor: str, until: int) -> Deferred[None]:
        """See IDoors."""
        self._logbook.event("peer.blocked", network=network, user=actor, why=reason, until_ms=until)
        return self._put("block", network, reason, actor, until)

    def unblock(self, network: str) -> Deferred[bool]:
        """See IDoors."""
        return self._drop("block", network, any(r.kind == "block" and r.key == network for r in self._current()))

    def pause(self, listener: str, reason: str, actor: str, until: int) -> Deferred[None]:
        """See IDoors."""
        self._logbook.event("listener.paused", listener=listener, user=actor, why=reason, until_ms=until)
        return self._put("pause", f"{self._node}/{listener}", reason, actor, until)

    def resume(self, listener: str) -> Deferred[bool]:
        """See IDoors."""
        return self._drop("pause", f"{self._node}/{listener}", self.paused(listener) is not None)

    def _put(self, kind: str, key: str, reason: str, actor: str, until: int) -> Deferred[None]:
        return self._rules.put(DoorRule(kind, key, reason, actor, self._rules.now(), until)).addCallback(self._take)

    def _drop(self, kind: str, key: str, known: bool) -> Deferred[bool]:
        def dropped(rules: list[DoorRule]) -> bool:
            self._take(rules)
            if known:
                name = {"block": "peer.unblocked", "pause": "listener.resumed"}[kind]
                what = {"block": {"network": key}, "pause": {"listener": key.partition("/")[2]}}[kind]
                self._logbook.event(name, **what)
            return known

        return self._rules.drop(kind, key).addCallback(dropped)

    # what operators see

    def _current(self) -> list[DoorRule]:
        now = self._rules.now()
        return [rule for rule in self._standing if not rule.until or rule.until > now]

    def blocks(self) -> list[Row]:
        """See IDoors."""
        return [
            {
                "network": rule.key,
                "by": escape(rule.actor, 255),
                "reason": escape(rule.reason, 500),
                "since": rule.at,
                "until": rule.until or None,
            }
            for rule in self._current()
            if rule.kind == "block"
        ]

    def attach(self, listener: Any) -> None:
        """See IDoors."""
        self._listeners.append(listener)

    def listeners(self) -> list[Row]:
        """See IDoors."""
        now: dict[str, int] = {}
        for entry in self._sessions.entries():
            now[entry.listener] = now.get(entry.listener, 0) + 1
        return [self._row(listener, now.get(listener.name, 0)) for listener in self._listeners]

    def _row(self, listener: Any, sessions: int) -> Row:
        rule = self.paused(listener.name)
        return {
            "name": listener.name,
            "protocol": listener.protocol,
            "address": listener.address,
            "state": "serving" if rule is None else "paused",
            "sessions": sessions,
            "accepted": listener.accepted,
            "refused": listener.refused,
            "tls": listener.tls,
            "by": None if rule is None else escape(rule.actor, 255),
            "until": None if rule is None else rule.until or None,
            "reason": None if rule is None else escape(rule.reason, 500),
            "guarded": listener.guarded,
            "node": self._node,
        }
