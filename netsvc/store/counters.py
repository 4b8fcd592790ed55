"""Throttles (ICounters): count and test in one unit of work, shared by all nodes that share the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from netsvc.interfaces import ICounters
from netsvc.mail.escape import escape
from netsvc.store import greyrows, windowrows
from netsvc.store.tx import BULK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from netsvc.records import Row
    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

KEY = 200
DAY = 86_400_000
LOCKS = 1000
"""Locks of a realm that are listed."""
SWEEP = 256
"""Failures between two sweeps of rows that mean nothing any more: whoever guesses names must not fill the disk."""

_FAIL = (
    "INSERT INTO throttle (realm, key, fails, until_at, at) VALUES (?, ?, 1, CASE WHEN ? <= 1 THEN ? ELSE 0 END, ?) "
    "ON CONFLICT (realm, key) DO UPDATE SET "
    "fails = CASE WHEN throttle.at <= ? THEN 1 ELSE throttle.fails + 1 END, "
    "until_at = CASE WHEN CASE WHEN throttle.at <= ? THEN 1 ELSE throttle.fails + 1 END >= ? THEN ? "
    "WHEN throttle.until_at > ? THEN throttle.until_at ELSE 0 END, "
    "at = CASE WHEN throttle.at <= ? THEN excluded.at ELSE throttle.at END "
    "RETURNING fails, until_at"
)

_NAMED = "FROM throttle WHERE realm = ? AND key LIKE ? ESCAPE '\\' AND key NOT LIKE ? ESCAPE '\\'"


@implementer(ICounters)
class Counters:
    """See ICounters.  A window begins with its first failure; ``realm`` numbers are the callers'."""

    def __init__(self, engine: Engine) -> None:
        """Stand on ``engine``."""
        self._engine = engine
        self._failures = 0
        self._sweep_at = 0
        self._sweep_windows_at = 0
        self.shared = engine.dialect == "postgresql"

    def fail(self, realm: int, key: str, lock_after: int, window_ms: int, lock_ms: int) -> Deferred[tuple[int, int]]:
        """Count a failure; lock the key when there were ``lock_after`` within the window."""
        name = escape(key, KEY)
        self._failures += 1
        sweep = self._failures % SWEEP == 0

        def work(tx: Tx) -> tuple[int, int]:
            now, past, until = tx.now, tx.now - window_ms, tx.now + lock_ms
            row = tx.row(_FAIL, (realm, name, lock_after, until, now, past, past, lock_after, until, now, past))
            if sweep:
                tx.execute("DELETE FROM throttle WHERE at < ? AND until_at < ?", (now - DAY, now))
            assert row is not None
            return int(row[0]), int(row[1])

        return self._engine.write(work)

    def locked(self, realm: int, key: str) -> Deferred[int]:
        """Return until when a key is locked, 0 when it is not."""
        name = escape(key, KEY)

        def work(tx: Tx) -> int:
            until = tx.value("SELECT until_at FROM throttle WHERE realm = ? AND key = ?", (realm, name))
            return int(until) if until is not None and until > tx.now else 0

        return self._engine.read(work)

    def clear(self, realm: int, key: str) -> Deferred[int]:
        """Forget a key -> how many counts that were, 0 or 1."""
        name = escape(key, KEY)
        return self._engine.write(
            lambda tx: tx.execute("DELETE FROM throttle WHERE realm = ? AND key = ?", (realm, name))
        )

    def locks(self, realms: Sequence[int]) -> Deferred[list[tuple[int, str, int]]]:
        """See ICounters."""

        def work(tx: Tx) -> list[tuple[int, str, int]]:
            sql = "SELECT realm, key, until_at FROM throttle WHERE realm = ? AND until_at > ? ORDER BY key LIMIT ?"
            rows = [row for realm in sorted(realms) for row in tx.rows(sql, (realm, tx.now, LOCKS))]
            return [(int(realm), str(key), int(until)) for realm, key, until in rows]

        return self._engine.read(work)

    def clear_named(self, realms: Sequence[int], name: str) -> Deferred[tuple[int, int]]:
        """See ICounters."""
        end = " " + escape(name, KEY).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")

        def work(tx: Tx) -> tuple[int, int]:
            locked = counts = 0
            for realm in realms:
                of = (realm, f"%{end}", f"% %{end}")
                locked += int(tx.value(f"SELECT count(*) {_NAMED} AND until_at > ?", (*of, tx.now)) or 0)
                counts += tx.execute(f"DELETE {_NAMED}", of)
            return locked, counts

        return self._engine.write(work)

    # Windows; see windowrows.

    def add(self, entries: Sequence[tuple[int, str, int, int]]) -> Deferred[list[tuple[int, int]]]:
        """See ICounters."""

        def work(tx: Tx) -> list[tuple[int, int]]:
            if tx.now >= self._sweep_windows_at:
                more = windowrows.sweep(tx) >= windowrows.SWEPT
                self._sweep_windows_at = tx.now + (windowrows.AGAIN_MS if more else windowrows.SWEEP_MS)
            return windowrows.add(tx, entries)

        return self._engine.write(work, BULK)

    def most(self, realm: int, limit: int) -> Deferred[list[tuple[str, int, int]]]:
        """See ICounters."""
        return self._engine.read(lambda tx: windowrows.most(tx, realm, limit))

    # Greylisting; see greyrows.

    def greylist(
        self, triplet: tuple[str, str, str], delay_ms: int, times: tuple[int, int, int]
    ) -> Deferred[tuple[int, str]]:
        """See ICounters.  What was let through before costs no write."""

        def meet(tx: Tx) -> tuple[int, str]:
            if tx.now >= self._sweep_at:
                more = greyrows.sweep(tx) >= greyrows.SWEPT
                self._sweep_at = tx.now + (greyrows.AGAIN_MS if more else greyrows.SWEEP_MS)
            return greyrows.meet(tx, triplet, delay_ms, times)

        def look(tx: Tx) -> bool:
            return greyrows.known(tx, triplet, times[1], times[2])

        def go_on(known: bool) -> tuple[int, str] | Deferred[tuple[int, str]]:
            return (0, "known") if known else self._engine.write(meet)

        return self._engine.read(look).addCallback(go_on)

    def greylisted(self, text: str = "") -> Deferred[list[Row]]:
        """See ICounters."""
        return self._engine.read(lambda tx: list(greyrows.rows(tx, text)))

    def clear_greylist(self, text: str = "") -> Deferred[int]:
        """See ICounters."""
        return self._engine.write(lambda tx: greyrows.clear(tx, text))
