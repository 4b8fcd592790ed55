"""Leasing and settling alone: ``python -m tests.bench.leasing STATE [--items N] [--result deferred|delivered]``.

Opens the store in the folder STATE, with no service on it, sets its clock ahead so that everything is due, and does
what the delivery service does: ask what is due, lease it, settle it five hundred at a time.  Prints one line of JSON.
"""

import argparse
import json
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from netsvc.delivery.lanes import MANY, MOST_LEASED
from netsvc.delivery.runner import MOST_DESTINATIONS
from netsvc.delivery.settling import MOST_AT_ONCE
from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.store.store import open_store

AHEAD_MS = 6 * 3_600_000
RETRY_MS = 3 * 3_600_000
TRANSCRIPT = b"\n".join(
    [b"> EHLO mx1.example.org", b"< 250-peer.example", b"< 250 PIPELINING", b"> MAIL FROM:<sender@bench.example>"] * 4
)


def outcome(row, result, now):
    """Return what an attempt for ``row`` came to."""
    if result is Result.DELIVERED:
        return Outcome(row.id, result, Fault.NONE, 250, "2.0.0", "Ok: queued", "127.0.0.1", "127.0.0.1", "", 12)
    return Outcome(
        *(row.id, Result.DEFERRED, Fault.REPLY, 451, "4.7.1", f"Try again later (id {row.id:x})", "127.0.0.1"),
        *("127.0.0.1", "", 12, now + RETRY_MS, TRANSCRIPT),
    )


async def measure(state, items, result):
    """-> figures of leasing and settling ``items`` deliveries."""
    begun = time.monotonic()
    store = await open_store("sqlite", state, reactor=reactor, node_name="mx1.example.org", version="bench")
    opened = time.monotonic() - begun
    store.engine.clock.set(store.engine.clock.now() + AHEAD_MS)
    spool, done, asked, leasing = store.spool, 0, 0.0, 0.0
    slowest = 0.0
    begun = time.monotonic()
    while done < items:
        start = time.monotonic()
        due = await spool.due(MOST_DESTINATIONS)
        asked += time.monotonic() - start
        share = max(MOST_LEASED // max(len(due), 1), 1)
        start = time.monotonic()
        rows = await spool.lease([(dest_id, min(share, MANY)) for dest_id, *_ in due])
        slowest = max(slowest, time.monotonic() - start)
        leasing += time.monotonic() - start
        if not rows:
            break
        now = spool.now()
        outcomes = [outcome(row, result, now) for row in rows]
        for at in range(0, len(outcomes), MOST_AT_ONCE):
            settled = await spool.settle(outcomes[at : at + MOST_AT_ONCE])
            done += len(settled.acked)
    took = time.monotonic() - begun
    await store.close()
    return {
        "open_s": round(opened, 3),
        "items": done,
        "per_s": round(done / took, 1),
        "due_s": round(asked, 3),
        "lease_s": round(leasing, 3),
        "settle_s": round(took - asked - leasing, 3),
        "slowest_lease_s": round(slowest, 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state")
    parser.add_argument("--items", type=int, default=30_000)
    parser.add_argument("--result", choices=("deferred", "delivered"), default="deferred")
    options = parser.parse_args()

    def run():
        running = Deferred.fromCoroutine(measure(options.state, options.items, Result[options.result.upper()]))
        running.addCallback(lambda figures: print(json.dumps(figures), flush=True))
        running.addErrback(lambda failure: failure.printTraceback())
        running.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(run)
    reactor.run()


if __name__ == "__main__":
    main()
