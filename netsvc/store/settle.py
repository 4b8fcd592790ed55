"""Recording what attempts came to: one unit of work for rows, counters, history, attempts and reports.

A settle is conditional on the lease.  When the lease has gone but nobody has
taken the delivery since, it is settled late, so that what was delivered is not
delivered again; when another node has it, it is lost, and a duplicate possible.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netsvc.mail.escape import escape
from netsvc.mail.message import Kind, Result, State
from netsvc.mail.outcome import Fault, Outcome, Report, Settled
from netsvc.mail.reply import MAILBOX_FULL_NOW, UNKNOWN_USER
from netsvc.store.accept import HISTORY, MAIL, QUOTA_RETRY_MS, Accepting, Box, Content, Incoming, boxes, put_boxes
from netsvc.store.leases import settle_state
from netsvc.store.tally import Tally, lower_heads
from netsvc.store.tx import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.store.reasons import Reasons
    from netsvc.store.tx import Tx

ATTEMPT = table(
    "attempt",
    "id message_id delivery_id n at node_id outcome reason_id host:t addr:t tls:t ms code enhanced:t reply:t"
    " transcript_id",
)
TRANSCRIPT = table("transcript", "id at data:b")
FINAL = (Result.DELIVERED, Result.BOUNCED, Result.EXPIRED)
WAITING = (State.INCOMING, State.DEFERRED)

_ROWS = (
    "d.id, d.message_id, d.n, d.rcpt, d.domain, d.dest_id, d.route, d.kind, d.state, d.due_at, d.attempts, d.reason_id,"
    " d.size, d.prev_state, d.mark, d.lease_node, d.lease_epoch, m.sender, m.received_at, m.msgid, m.subject, m.auth,"
    " m.client, m.listener, m.blob_id, hex(m.hdr), d.reply, d.host"
)
_FROM = {
    "sqlite": "FROM delivery d JOIN message m ON m.id = d.message_id WHERE d.id {ids}",
    "postgresql": """
FROM delivery d JOIN message m ON m.id = d.message_id WHERE d.id {ids} ORDER BY d.id FOR UPDATE OF d
""",
}
_BACK = (
    "UPDATE delivery SET state = v.column2, due_at = v.column3, attempts = v.column4, reason_id = v.column5,"
    " reply = v.column6, host = v.column7, last_at = v.column8, prev_state = v.column9, purge_at = v.column10,"
    " lease_node = 0, lease_epoch = 0, lease_at = 0, mark = 0, crashes = 0 FROM {v} WHERE delivery.id = v.column1"
)
_DONE = "UPDATE message SET pending = pending - v.column2 FROM {v} WHERE message.id = v.column1"
_WARNED = "UPDATE message SET flags = flags + 1 FROM {v} WHERE message.id = v.column1 AND message.flags % 2 = 0"
_UNREF = (
    "UPDATE blob SET refs = refs - v.column2, dead_at = CASE WHEN refs - v.column2 <= 0 THEN v.column3 END"
    " FROM {v} WHERE blob.id = v.column1"
)
_REF = "UPDATE blob SET refs = refs + v.column2, dead_at = NULL FROM {v} WHERE blob.id = v.column1"


@dataclass(slots=True)
class Row:
    """A delivery with what history needs of its message, in the order of ``_ROWS``."""

    id: int
    message_id: int
    n: int
    rcpt: str
    domain: str
    dest_id: int
    route: str
    kind: int
    state: int
    due_at: int
    attempts: int
    reason_id: int
    size: int
    prev_state: int
    mark: int
    lease_node: int
    lease_epoch: int
    sender: str
    received_at: int
    msgid: str | None
    subject: str | None
    auth: str | None
    client: str | None
    listener: str | None
    blob_id: int
    hdr: str | None
    reply: str | None
    host: str | None


@dataclass(slots=True)
class Work:
    """What one settle writes."""

    tally: Tally = field(default_factory=Tally)
    dues: dict[int, int] = field(default_factory=dict)
    histories: list[tuple[Any, ...]] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    transcripts: dict[int, tuple[int, int, bytes]] = field(default_factory=dict)
    mails: list[tuple[Any, ...]] = field(default_factory=list)
    back: list[tuple[Any, ...]] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    finished: dict[int, int] = field(default_factory=dict)
    warned: set[int] = field(default_factory=set)
    refs: dict[int, int] = field(default_factory=dict)


def unref(tx: Tx, blobs: dict[int, int]) -> None:
    """Take references off blobs {id: n}; one nobody refers to any more dies."""
    if blobs:
        tx.each(_UNREF, "iii", [(number, n, tx.now) for number, n in sorted(blobs.items())])


def finish_messages(tx: Tx, finished: dict[int, int]) -> None:
    """Count deliveries that left the queue off their messages {id: n}; a message without any goes."""
    if not finished:
        return
    blobs: dict[int, int] = {}
    over = []
    tx.each(_DONE, "ii", sorted(finished.items()))
    for number, blob_id in tx.pick("id, blob_id", "FROM message WHERE pending <= 0 AND id {ids}", sorted(finished)):
        over.append(number)
        blobs[blob_id] = blobs.get(blob_id, 0) + 1
    if over:
        tx.among("DELETE FROM message WHERE id {ids}", over)
        unref(tx, blobs)


class Settling:
    """The unit of work of ``settle``; its methods run in a writer's thread."""

    def __init__(
        self,
        node: Callable[[], tuple[int, int]],
        new_ids: Callable[[int], list[int]],
        reasons: Reasons,
        accepting: Accepting,
    ) -> None:
        """``node()`` is this node's (id, epoch)."""
        self._node = node
        self._new_ids = new_ids
        self._reasons = reasons
        self._accepting = accepting

    def run(self, tx: Tx, outcomes: Sequence[Outcome], reports: Sequence[Report]) -> Settled:
        """Record ``outcomes``, accept the ``reports`` about those that were recorded."""
        by_id = {outcome.delivery_id: outcome for outcome in outcomes}
        rows = {row[0]: Row(*row) for row in tx.pick(_ROWS, _FROM[tx.dialect], sorted(by_id))} if by_id else {}
        acked, late, lost = self._sort(by_id, rows)
        settled = [(by_id[number], rows[number]) for number in (*acked, *late)]
        changed = self._record(tx, settled)
        ours = {*acked, *late} - {outcome.delivery_id for outcome in changed}  # which are not what a report says
        incoming = [
            Incoming(r.message, Content(len(r.content), [r.content]), r.deliveries, r.local, must=True)
            for r in reports
            if not r.about or not ours.isdisjoint(r.about)
        ]
        if incoming:
            self._accepting.run(tx, incoming)
        return Settled(tuple(acked), tuple(late), tuple(lost), tuple(changed))

    def _sort(self, by_id: dict[int, Outcome], rows: dict[int, Row]) -> tuple[list[int], list[int], list[int]]:
        acked, late, lost = [], [], []
        node = self._node()
        for number, outcome in by_id.items():
            row = rows.get(number)
            if row is None:
                lost.append(number)
            elif row.state == State.ACTIVE and (row.lease_node, row.lease_epoch) == node:
                acked.append(number)
            elif row.state in WAITING or (
                outcome.result is Result.DELIVERED and row.state in (State.HOLD, State.RECYCLED)
            ):
                late.append(number)
            else:
                lost.append(number)
        return acked, late, lost

    def _record(self, tx: Tx, settled: list[tuple[Outcome, Row]]) -> list[Outcome]:
        """Write what became of the attempts; return the outcomes that are not what was handed in."""
        if not settled:
            return []
        work = Work()
        given, settled = settled, self._mailboxes(tx, settled, work)
        reasons = self._reasons.ids(tx, [outcome for outcome, _ in settled])
        ids = iter(self._new_ids(3 * len(settled)))
        for (outcome, row), reason in zip(settled, reasons, strict=True):
            if outcome.result is not Result.RELEASED:
                self._attempt(tx, work, outcome, row, reason, (next(ids), next(ids)))
            if outcome.result in FINAL:
                self._final(tx, work, outcome, row, reason, next(ids))
            else:
                self._back(tx, work, outcome, row, reason)
            if outcome.warned:
                work.warned.add(row.message_id)
        self._write(tx, work)
        return [now for (was, _), (now, _) in zip(given, settled, strict=True) if now is not was]

    def _attempt(self, tx: Tx, work: Work, outcome: Outcome, row: Row, reason: int, ids: tuple[int, int]) -> None:
        transcript = 0
        if outcome.transcript:
            key = id(outcome.transcript)
            transcript = work.transcripts.setdefault(key, (ids[1], tx.now, outcome.transcript))[0]
        work.attempts.append(
            (
                ids[0], row.message_id, row.id, row.n, tx.now, self._node()[0], int(outcome.result), reason,
                escape(outcome.host) or None, outcome.addr or None, outcome.tls or None, outcome.ms,
                outcome.code or None, escape(outcome.status) or None, escape(outcome.reply) or None, transcript,
            )
        )  # fmt: skip

    def _final(self, tx: Tx, work: Work, outcome: Outcome, row: Row, reason: int, number: int) -> None:
        work.histories.append(
            (
                number, tx.now, self._node()[0], row.message_id, row.id, row.n, row.sender, row.rcpt, row.domain,
                row.dest_id, int(outcome.result), row.attempts, reason, row.size, row.received_at, row.msgid,
                row.subject, row.auth, row.client, row.listener, escape(outcome.reply) or None,
                escape(outcome.host) or None, outcome.tls or None, outcome.ms,
            )
        )  # fmt: skip
        work.tally.add(row.dest_id, row.state, row.reason_id, row.size, -1)
        work.gone.append(row.id)
        work.finished[row.message_id] = work.finished.get(row.message_id, 0) + 1

    def _back(self, tx: Tx, work: Work, outcome: Outcome, row: Row, reason: int) -> None:
        attempts, due_at, at = row.attempts, outcome.due_at or row.due_at, tx.now
        reply, host = escape(outcome.reply) or None, escape(outcome.host) or None
        if outcome.result is Result.RELEASED:
            target = row.prev_state if row.state == State.ACTIVE else row.state
            attempts -= row.state == State.ACTIVE
            reason, reply, host, at = row.reason_id, row.reply, row.host, 0
        else:
            target = State.DEFERRED
        state, prev, purge_at = settle_state(tx.now, target or State.INCOMING, row.mark)
        work.back.append((row.id, int(state), due_at, attempts, reason, reply, host, at, int(prev), purge_at))
        work.tally.move(row.dest_id, (row.state, state), (row.reason_id, reason), row.size)
        if state in WAITING:
            work.dues[row.dest_id] = min(due_at, work.dues.get(row.dest_id, due_at))

    def _mailboxes(self, tx: Tx, settled: list[tuple[Outcome, Row]], work: Work) -> list[tuple[Outcome, Row]]:
        """Put what was delivered to mailboxes of ours into them; who is full or gone gets another outcome."""
        numbers = {
            mailbox_id(row.route)
            for outcome, row in settled
            if row.kind == Kind.MAILBOX and outcome.result is Result.DELIVERED
        }
        if not numbers:
            return settled
        found = boxes(tx, numbers)
        out = []
        for outcome, row in settled:
            if row.kind == Kind.MAILBOX and outcome.result is Result.DELIVERED:
                out.append((self._into(tx, outcome, row, found, work), row))
            else:
                out.append((outcome, row))
        put_boxes(tx, found)
        return out

    def _into(self, tx: Tx, outcome: Outcome, row: Row, found: dict[int, Box], work: Work) -> Outcome:
        number = mailbox_id(row.route)
        box = found.get(number)
        hdr = f"Return-Path: <{row.sender}>\r\n".encode("utf-8", "replace") + bytes.fromhex(row.hdr or "")
        size = row.size + len(hdr)
        uid = box.take(size) if box is not None else 0
        if not uid:
            # Where the mailbox is gone it waits too: the next attempt returns it, with a report.
            reply = MAILBOX_FULL_NOW if box is not None else UNKNOWN_USER
            at = tx.now + QUOTA_RETRY_MS
            return Outcome(row.id, Result.DEFERRED, Fault.LOCAL, reply.code, reply.status, reply.text, due_at=at)
        work.mails.append(
            (number, uid, row.id, row.message_id, row.blob_id, hdr, size, tx.now, row.sender, row.msgid, row.subject)
        )
        work.refs[row.blob_id] = work.refs.get(row.blob_id, 0) + 1
        return outcome

    def _write(self, tx: Tx, work: Work) -> None:
        if work.transcripts:
            tx.insert(TRANSCRIPT, list(work.transcripts.values()))
        if work.attempts:
            tx.insert(ATTEMPT, work.attempts)
        if work.histories:
            tx.insert(HISTORY, work.histories)
        if work.mails:
            tx.insert(MAIL, work.mails)
            tx.each(_REF, "ii", sorted(work.refs.items()))
        if work.back:
            tx.each(_BACK, "iiiiittiii", work.back)
        if work.gone:
            tx.among("DELETE FROM delivery WHERE id {ids}", work.gone)
        if work.warned:
            tx.each(_WARNED, "i", [(number,) for number in sorted(work.warned)])
        work.tally.apply(tx, self._node()[0])
        lower_heads(tx, work.dues)
        finish_messages(tx, work.finished)


def mailbox_id(route: str) -> int:
    """Return the mailbox a delivery of kind MAILBOX is for, 0 when its route names none."""
    word, _, number = (route or "").partition(" ")
    return int(number) if word == "mailbox" and number.isdigit() else 0
