"""A queue filled fast: whole items, in SQL, straight into the tables of a store that is not open.

The rows are what a service leaves that has accepted the messages and tried each once in vain: message, delivery with
its reply and reason, body, attempt, counters and run-queue heads.  Everything that serves a figure is in place, every
index included; what is left out is the transcripts of the attempts.
"""

import hashlib
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from netsvc.mail.ids import make_id

SECOND = 1000
DAY = 24 * 3600 * SECOND
NODE = 1
REASON = 1_000_003
REPLY = "4.7.1 Try again later"
BODY = (
    b"From: <sender@bench.example>\r\nSubject: waits\r\n\r\n"
    + b"It waits for its turn, and this is what it says.\r\n" * 4
)
INCOMING, DEFERRED = 1, 3

_MESSAGES = """
INSERT INTO message (id, blob_id, sender, sender_domain, size, rcpts, received_at, expires_at, pending, node_id,
  listener, client, helo, msgid, subject)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
SELECT :first + (i << 22), :first + (i << 22), 'sender' || i % 5000 || '@bench.example', 'bench.example', :size, 1,
  :received + i, :received + i + :life, 1, :node, 'smtp', '127.0.0.1', 'client.example',
  '<' || i || '@bench.example>', 'waits'
FROM n
"""
_DELIVERIES = """
INSERT INTO delivery (id, message_id, n, rcpt, domain, dest_id, route, kind, state, due_at, attempts, reason_id, host,
  reply, size, last_at)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
SELECT :first + (i << 22) + 1, :first + (i << 22), 1, 'rcpt' || i || '@' || t.domain, t.domain, t.id, t.key, 2, :state,
  CASE WHEN :state = 1 THEN :due ELSE :due + i * :spread / :count END, :tried, :tried * :reason,
  CASE :tried WHEN 1 THEN '127.0.0.1' END, CASE :tried WHEN 1 THEN :reply END, :size, :tried * (:due - 3600000)
FROM n JOIN (SELECT row_number() OVER (ORDER BY id) - 1 AS nth, id, key, domain FROM dest WHERE id >= :dest) t
  ON t.nth = {which}
"""
# A third of all to the first destination, the rest thinner and thinner: i*i spreads a uniform number that way.
_SKEWED = "(CASE i % 3 WHEN 0 THEN 0 ELSE ((i * 7919) % 1009) * ((i * 104729) % 1013) * :dests / 1022117 END)"
_EVEN = "i % :dests"
_ATTEMPTS = """
INSERT INTO attempt (id, message_id, delivery_id, n, at, node_id, outcome, reason_id, host, addr, ms, code, enhanced, reply)
SELECT id + 1, message_id, id, 1, last_at, :node, 4, reason_id, '127.0.0.1', '127.0.0.1', 12, 450, '4.7.1', reply
FROM delivery WHERE message_id >= :first AND attempts > 0
"""
_BLOBS = """
INSERT INTO blob (id, sha256, size, refs, place)
SELECT blob_id, :sha256, size, 1, 0 FROM message WHERE id >= :first
"""
_CHUNKS = "INSERT INTO body.blob_chunk (blob_id, n, data) SELECT id, 0, :body FROM message WHERE id >= :first"


class Lot(NamedTuple):
    """So many items for so many destinations.

    ``keys`` are made from ``key`` and ``domain`` by putting the destination's number for ``{n}``.  ``due_in`` and
    ``spread``: seconds from now until the first is due, and between the first and the last.
    """

    count: int
    key: str
    domain: str
    destinations: int = 1
    tried: bool = True
    due_in: float = 0.0
    spread: float = 0.0
    skewed: bool = False


def fill(state, lots):
    """Put ``lots`` into the store in the folder ``state``, which a service has made and let go of -> seconds it took."""
    begun = time.monotonic()
    now = time.time_ns() // 1_000_000
    db = sqlite3.connect(Path(state) / "queue.db", isolation_level=None)
    db.execute("ATTACH DATABASE ? AS body", (str(Path(state) / "body.db"),))
    for pragma in ("synchronous=OFF", "body.synchronous=OFF", "cache_size=-400000", "wal_autocheckpoint=50000"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("BEGIN")
    age = 3600 * SECOND * (len(lots) + 1)
    for lot in lots:
        _put(db, lot, now, now - age)
        age -= 3600 * SECOND
    _sums(db)
    db.execute("COMMIT")
    for name in ("main", "body"):
        db.execute(f"PRAGMA {name}.wal_checkpoint(TRUNCATE)").fetchall()
    db.close()
    return time.monotonic() - begun


def _put(db, lot, now, received):
    dest = make_id(received, NODE, 0)
    db.executemany(
        "INSERT INTO dest (id, key, domain, transport) VALUES (?, ?, ?, 'smtp')",
        [
            (dest + n, lot.key.replace("{n}", str(n)), lot.domain.replace("{n}", str(n)))
            for n in range(lot.destinations)
        ],
    )
    words = {
        "count": lot.count,
        "first": make_id(received + 60 * SECOND, NODE, 0),
        "size": len(BODY),
        "received": received + 60 * SECOND,
        "life": 5 * DAY,
        "node": NODE,
        "state": DEFERRED if lot.tried else INCOMING,
        "due": now + int(lot.due_in * SECOND),
        "spread": int(lot.spread * SECOND),
        "tried": int(lot.tried),
        "reason": REASON,
        "reply": REPLY,
        "dest": dest,
        "dests": lot.destinations,
        "sha256": hashlib.sha256(BODY).digest(),
        "body": BODY,
    }
    for sql in (_MESSAGES, _DELIVERIES.format(which=_SKEWED if lot.skewed else _EVEN), _ATTEMPTS, _BLOBS, _CHUNKS):
        db.execute(sql, words)


def _sums(db):
    """Write what is kept beside the rows: the reason, counters, heads of the run queue."""
    db.execute(
        "INSERT INTO reason (id, klass, code, enhanced, text, sample, first_at, last_at)"
        " VALUES (?, 1, 450, '4.7.1', ?, ?, 0, 0)",
        (REASON, REPLY, f"450 {REPLY}"),
    )
    for table in ("c_dest", "c_reason", "dest_head"):
        db.execute(f"DELETE FROM {table}")
    db.execute(
        "INSERT INTO c_dest (node_id, dest_id, state, n, bytes)"
        " SELECT ?, dest_id, state, count(*), sum(size) FROM delivery GROUP BY dest_id, state",
        (NODE,),
    )
    db.execute(
        "INSERT INTO c_reason (node_id, reason_id, state, n)"
        " SELECT ?, reason_id, state, count(*) FROM delivery WHERE reason_id <> 0 GROUP BY reason_id, state",
        (NODE,),
    )
    db.execute(
        "INSERT INTO dest_head (dest_id, next_due)"
        " SELECT dest_id, min(due_at) FROM delivery WHERE state IN (1,3) GROUP BY dest_id"
    )
