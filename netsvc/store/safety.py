"""What an operator is to look at though all goes on: mail that ends the process, and a clock nobody can believe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.mail.message import State
from netsvc.store.leases import HELD_BY

if TYPE_CHECKING:
    from netsvc.store.ticks import Clock
    from netsvc.store.tx import Tx

MOST = 1000
"""Items that are counted."""
_HELD = (
    "SELECT count(*) FROM (SELECT 1 FROM delivery d WHERE d.state = ? AND d.held_by = ? AND d.dest_id IN"
    " (SELECT dest_id FROM c_dest WHERE state = ? GROUP BY dest_id HAVING sum(n) > 0) LIMIT ?) x"
)


class Safety:
    """Has health/1 rows."""

    def __init__(self, clock: Clock) -> None:
        """Know of nothing yet."""
        self._clock = clock
        self.poison = 0
        """Items that are on hold because their attempts ended the process."""

    def look(self, tx: Tx) -> None:
        """Count them; cheap where nothing is on hold."""
        self.poison = int(tx.value(_HELD, (State.HOLD, HELD_BY, State.HOLD, MOST)))

    def rows(self) -> list[dict[str, Any]]:
        """Return health/1 rows."""
        jump = self._clock.jump
        why = f"each ended the process three times: show queue where held-by={HELD_BY}" if self.poison else ""
        away = "it was set while the node runs, and is followed at the next start" if jump else ""
        return [
            {
                "name": "poison", "state": "warn" if self.poison else "ok", "value": self.poison, "unit": "items",
                "why": why,
            },
            {"name": "clock", "state": "warn" if jump else "ok", "value": jump, "unit": "ms", "why": away},
        ]  # fmt: skip
