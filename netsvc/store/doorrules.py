"""What operators keep out, kept for all nodes: blocked networks and paused listeners (IDoorRules)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from netsvc.interfaces import IDoorRules
from netsvc.mail.escape import escape
from netsvc.records import DoorRule, StoreError
from netsvc.store.tx import BULK

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

KINDS = {"block": 1, "pause": 2}
"""Codes of the kinds of rules in the store."""

MOST = 10_000
"""Rules of one kind."""

TEXT = 500
"""Characters of a reason."""

_WORDS = {code: word for word, code in KINDS.items()}


@implementer(IDoorRules)
class DoorRules:
    """See IDoorRules.  What has run out is removed whenever something is written."""

    def __init__(self, engine: Engine) -> None:
        """Stand on ``engine``."""
        self._engine = engine
        self.shared = engine.dialect == "postgresql"
        self.now = engine.now

    def load(self) -> Deferred[list[DoorRule]]:
        """Return every rule that stands, oldest first."""
        return self._engine.read(_standing)

    def put(self, rule: DoorRule) -> Deferred[list[DoorRule]]:
        """Keep a rule in the place of one with its kind and key; return all that stand."""
        kind = KINDS[rule.kind]
        values = (kind, rule.key, escape(rule.reason, TEXT), escape(rule.actor, TEXT), rule.at, rule.until)

        def work(tx: Tx) -> list[DoorRule]:
            _sweep(tx)
            tx.execute("DELETE FROM door_rule WHERE kind = ? AND key = ?", (kind, rule.key))
            if int(tx.value("SELECT count(*) FROM door_rule WHERE kind = ?", (kind,))) >= MOST:
                raise StoreError(f"there are {MOST} already")
            tx.execute(
                "INSERT INTO door_rule (kind, key, reason, actor, at, until_at) VALUES (?, ?, ?, ?, ?, ?)", values
            )
            return _standing(tx)

        return self._engine.write(work, BULK)

    def drop(self, kind: str, key: str) -> Deferred[list[DoorRule]]:
        """Take a rule back; return all that stand."""

        def work(tx: Tx) -> list[DoorRule]:
            _sweep(tx)
            tx.execute("DELETE FROM door_rule WHERE kind = ? AND key = ?", (KINDS[kind], key))
            return _standing(tx)

        return self._engine.write(work, BULK)


def _sweep(tx: Tx) -> None:
    tx.execute("DELETE FROM door_rule WHERE until_at <> 0 AND until_at <= ?", (tx.now,))


def _standing(tx: Tx) -> list[DoorRule]:
    rows = tx.rows(
        "SELECT kind, key, reason, actor, at, until_at FROM door_rule"
        " WHERE until_at = 0 OR until_at > ? ORDER BY at, key",
        (tx.now,),
    )
    return [
        DoorRule(_WORDS[kind], key, reason, actor, int(at), int(until)) for kind, key, reason, actor, at, until in rows
    ]
