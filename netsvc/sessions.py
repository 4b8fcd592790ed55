"""The live registry of sessions, in and out (floor 4, beside mailboxservice).

Whoever has a connection opens an entry and keeps it true by setting plain
attributes; the console reads them all as session/1 rows.  An entry costs a few
hundred bytes, and nothing runs while a session is idle.  What is said goes into
the flight recorder, where a session is remembered for a while after its end.
"""

from __future__ import annotations

import heapq
import time
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.flightrecorder import FlightRecorder
from netsvc.interfaces import ISessionEntry, ISessions
from netsvc.mail.escape import escape
from netsvc.networks import network_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.records import Row

KINDS = ("smtp-in", "smtp-out", "console")
RECORDED = ("smtp-in", "smtp-out")
"""Kinds whose dialogue is recorded; what operators type is in the audit trail."""
TEXT_LIMIT = 255
LIMITED = ("smtp-in",)
"""Kinds that are counted by network too."""
NAMED = 100
"""Recipients of a transaction under way that are named."""

_TEXTS = frozenset({"state", "user", "helo", "tls", "domain", "listener"})


def _now_ms() -> int:
    return int(time.time() * 1000)


@implementer(ISessionEntry)
class SessionEntry:
    """One registered session.

    Setting ``state`` stamps ``moved``, what ``in_state`` counts from, and ``last``, what ``idle`` counts from and
    what is said stamps too.
    """

    __slots__ = (
        "_registry",
        "_state",
        "commands",
        "domain",
        "ended",
        "helo",
        "kick",
        "kind",
        "last",
        "listener",
        "messages",
        "moved",
        "number",
        "octets",
        "peer",
        "port",
        "since",
        "tls",
        "transaction",
        "user",
        "why",
    )

    def __init__(self, registry: Sessions, number: int, kind: str, peer: str) -> None:
        self._registry: Sessions | None = registry
        self.number = number
        self.kind = kind
        self.peer = peer
        self.since = self.last = self.moved = registry.now()
        self._state = "open"
        self.user = self.helo = self.tls = self.domain = self.listener = self.why = ""
        self.commands = self.messages = self.octets = self.port = self.ended = 0
        self.kick: Callable[..., object] | None = None
        self.transaction: Callable[[], tuple[str, Sequence[str], int] | None] | None = None

    @property
    def id(self) -> str:
        """S and a number."""
        return f"S{self.number}"

    @property
    def state(self) -> str:
        """A word for where the dialogue is; setting it stamps the time."""
        return self._state

    @state.setter
    def state(self, word: str) -> None:
        self._state = word
        registry = self._registry
        if registry is not None:
            self.last = self.moved = registry.now()

    def keep(self, heard: bytes, said: bytes, content: int = 0) -> None:
        """Put into the flight recorder what was said; see ISessionEntry."""
        registry = self._registry
        if registry is not None:
            now = self.last = registry.now()
            registry.recorder.keep(now, self, heard, said, content)

    def keep_lines(self, lines: tuple[tuple[str, str], ...]) -> None:
        """Put into the flight recorder what was said; see ISessionEntry."""
        registry = self._registry
        if registry is not None:
            now = self.last = registry.now()
            registry.recorder.keep_lines(now, self, lines)

    def move(self, peer: str, port: int) -> None:
        """Be the session of another peer: the one it turned out to be."""
        if self._registry is not None:
            self._registry.moved(self, peer)
        self.peer, self.port = peer, port

    def close(self) -> None:
        """Take it out of the registry; safe any number of times."""
        registry, self._registry = self._registry, None
        self.kick = self.transaction = None  # they hold the connection
        if registry is not None:
            self.ended = registry.now()
            registry.forget(self)
            if self.kind in RECORDED:
                ends = (("-", escape(f"the session has ended: {self.why}" if self.why else "the session has ended")),)
                registry.recorder.keep_lines(self.ended, self, ends, last=True)

    def row(self, now: int, node: str) -> dict[str, Any]:
        """Return the entry as a session/1 row: ``since`` in ms since 1970, ``idle`` in ms, texts safe to show."""
        now = self.ended or now
        row: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind,
            "peer": escape(self.peer, TEXT_LIMIT),
            "user": escape(self.user, TEXT_LIMIT),
            "state": escape(self._state, TEXT_LIMIT),
            "since": self.since,
            "idle": max(now - self.last, 0),
            "cmds": self.commands,
            "msgs": self.messages,
            "bytes": self.octets,
            "tls": escape(self.tls, TEXT_LIMIT),
            "helo": escape(self.helo, TEXT_LIMIT),
            "domain": escape(self.domain, TEXT_LIMIT),
            "node": node,
            "listener": escape(self.listener, TEXT_LIMIT),
            "port": self.port,
            "in_state": max(now - self.moved, 0),
            "sender": None,
            "rcpts": None,
            "content": None,
            "ended": self.ended or None,
            "why": escape(self.why, TEXT_LIMIT),
        }
        under_way = self.transaction() if self.transaction is not None else None
        if under_way is not None:
            sender, recipients, content = under_way
            row["sender"], row["rcpts"], row["content"] = escape(sender, TEXT_LIMIT), len(recipients), content
        return row

    def recipients(self) -> list[str]:
        """Return the recipients of the transaction under way, the first NAMED of them, safe to show."""
        under_way = self.transaction() if self.transaction is not None else None
        return [] if under_way is None else [escape(each, TEXT_LIMIT) for each in under_way[1][:NAMED]]


@implementer(ISessions)
class Sessions:
    """Every session of this node.  ``now`` returns ms since 1970."""

    def __init__(
        self, node: str = "", now: Callable[[], int] = _now_ms, recorder: FlightRecorder | None = None
    ) -> None:
        self.node = node
        self.now = now
        self.recorder = FlightRecorder() if recorder is None else recorder
        self._entries: dict[int, SessionEntry] = {}
        self._by_kind: dict[str, int] = {}
        self._by_peer: dict[tuple[str, str], int] = {}
        self._by_network: dict[tuple[str, str], int] = {}
        self._last = 0

    def open(self, kind: str, peer: str, **facts: object) -> SessionEntry:
        """Register a session of ``kind`` (smtp-in smtp-out console) with ``peer``, an address as text.

        ``facts`` are attributes to begin with: user helo tls domain state listener port kick transaction.
        """
        self._last += 1
        entry = SessionEntry(self, self._last, kind, peer)
        for name, value in facts.items():
            setattr(entry, name, str(value) if name in _TEXTS else value)
        self._entries[entry.number] = entry
        self._by_kind[kind] = self._by_kind.get(kind, 0) + 1
        self._count_peer(kind, peer)
        return entry

    def _count_peer(self, kind: str, peer: str) -> None:
        key = (kind, peer)
        self._by_peer[key] = self._by_peer.get(key, 0) + 1
        if kind in LIMITED:
            key = (kind, network_of(peer))
            self._by_network[key] = self._by_network.get(key, 0) + 1

    def _forget_peer(self, kind: str, peer: str) -> None:
        _lower(self._by_peer, (kind, peer))
        if kind in LIMITED:
            _lower(self._by_network, (kind, network_of(peer)))

    def forget(self, entry: SessionEntry) -> None:
        """Take ``entry`` out; entries call it when they close."""
        if self._entries.pop(entry.number, None) is not None:
            _lower(self._by_kind, entry.kind)
            self._forget_peer(entry.kind, entry.peer)

    def moved(self, entry: SessionEntry, peer: str) -> None:
        """Count ``entry`` with another peer; entries call it when they move."""
        self._forget_peer(entry.kind, entry.peer)
        self._count_peer(entry.kind, peer)

    def rows(self) -> list[Row]:
        """Return session/1 rows, oldest first."""
        now = self.now()
        return [entry.row(now, self.node) for entry in self._entries.values()]

    def find(self, name: str) -> SessionEntry | None:
        """Return the session called ``name`` (S12), also one that has ended and is remembered; None for none."""
        if name[:1] not in {"S", "s"} or not (name[1:].isascii() and name[1:].isdigit()) or len(name) > 18:
            return None
        number = int(name[1:])
        entry = self._entries.get(number)
        if entry is None and 0 < number <= self._last:
            entry = self.recorder.find(number)
        return entry

    def entries(self) -> list[SessionEntry]:
        """Return the open entries, oldest first."""
        return list(self._entries.values())

    def count(self, kind: str | None = None, peer: str | None = None) -> int:
        """Return how many are open, of ``kind`` and with ``peer`` where given; without a search."""
        if peer is None:
            return len(self._entries) if kind is None else self._by_kind.get(kind, 0)
        if kind is not None:
            return self._by_peer.get((kind, peer), 0)
        return sum(n for (_, where), n in self._by_peer.items() if where == peer)

    def count_network(self, peer: str) -> int:
        """Return how many smtp-in sessions are open from the network ``peer`` is in; without a search."""
        return self._by_network.get(("smtp-in", network_of(peer)), 0)

    def crowds(self, limit: int) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Return the addresses, and the networks, with most smtp-in sessions: ([(address, n)], [(network, n)])."""
        return _top(self._by_peer, limit), _top(self._by_network, limit)


def _top(counts: dict[tuple[str, str], int], limit: int) -> list[tuple[str, int]]:
    found = [(where, n) for (kind, where), n in counts.items() if kind == "smtp-in"]
    return heapq.nlargest(limit, found, key=lambda pair: pair[1])


def _lower(counts: dict[Any, int], key: object) -> None:
    if counts[key] > 1:
        counts[key] -= 1
    else:
        del counts[key]
