"""The live registry of sessions, in and out (floor 4, beside mailboxservice).

Whoever has a connection opens an entry and keeps it true by setting plain
attributes; the console reads them all as session/1 rows.  An entry costs a few
hundred bytes, and nothing runs while a session is idle.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.interfaces import ISessionEntry, ISessions
from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.records import Row

KINDS = ("smtp-in", "smtp-out", "console")
TEXT_LIMIT = 255

_TEXTS = frozenset({"state", "user", "helo", "tls", "domain", "listener"})


def _now_ms() -> int:
    return int(time.time() * 1000)


@implementer(ISessionEntry)
class SessionEntry:
    """One registered session.  Setting ``state`` stamps ``last``: what ``idle`` counts from."""

    __slots__ = (
        "_registry",
        "_state",
        "commands",
        "domain",
        "helo",
        "kick",
        "kind",
        "last",
        "listener",
        "messages",
        "number",
        "octets",
        "peer",
        "since",
        "tls",
        "user",
    )

    def __init__(self, registry: Sessions, number: int, kind: str, peer: str) -> None:
        self._registry: Sessions | None = registry
        self.number = number
        self.kind = kind
        self.peer = peer
        self.since = self.last = registry.now()
        self._state = "open"
        self.user = self.helo = self.tls = self.domain = self.listener = ""
        self.commands = self.messages = self.octets = 0
        self.kick: Callable[[], object] | None = None

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
            self.last = registry.now()

    def close(self) -> None:
        """Take it out of the registry; safe any number of times."""
        registry, self._registry = self._registry, None
        if registry is not None:
            registry.forget(self)
        self.kick = None  # it holds the connection

    def row(self, now: int, node: str) -> dict[str, Any]:
        """Return the entry as a session/1 row: ``since`` in ms since 1970, ``idle`` in ms, texts safe to show."""
        return {
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
        }


@implementer(ISessions)
class Sessions:
    """Every session of this node.  ``now`` returns ms since 1970."""

    def __init__(self, node: str = "", now: Callable[[], int] = _now_ms) -> None:
        self.node = node
        self.now = now
        self._entries: dict[int, SessionEntry] = {}
        self._by_kind: dict[str, int] = {}
        self._by_peer: dict[tuple[str, str], int] = {}
        self._last = 0

    def open(self, kind: str, peer: str, **facts: object) -> SessionEntry:
        """Register a session of ``kind`` (smtp-in smtp-out console) with ``peer``, an address as text.

        ``facts`` are attributes to begin with: user helo tls domain state listener kick.
        """
        self._last += 1
        entry = SessionEntry(self, self._last, kind, peer)
        for name, value in facts.items():
            setattr(entry, name, str(value) if name in _TEXTS else value)
        self._entries[entry.number] = entry
        self._by_kind[kind] = self._by_kind.get(kind, 0) + 1
        key = (kind, peer)
        self._by_peer[key] = self._by_peer.get(key, 0) + 1
        return entry

    def forget(self, entry: SessionEntry) -> None:
        """Take ``entry`` out; entries call it when they close."""
        if self._entries.pop(entry.number, None) is not None:
            _lower(self._by_kind, entry.kind)
            _lower(self._by_peer, (entry.kind, entry.peer))

    def rows(self) -> list[Row]:
        """Return session/1 rows, oldest first."""
        now = self.now()
        return [entry.row(now, self.node) for entry in self._entries.values()]

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


def _lower(counts: dict[Any, int], key: object) -> None:
    if counts[key] > 1:
        counts[key] -= 1
    else:
        del counts[key]
