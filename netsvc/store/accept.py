"""Taking responsibility: the unit of work behind ``250``, gathered for all messages that wait.

Each table gets one statement a batch, whatever the number of messages.  Mail
for a mailbox of the database driver is in the mailbox, and in history, when the
unit is committed: accepted is delivered.  The bodies are durable before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netsvc.mail.escape import escape
from netsvc.mail.message import Hop, Kind, LocalDelivery, Message, NewDelivery, Refusals, Result, State
from netsvc.mail.outcome import Fault, Outcome
from netsvc.mail.reply import MAILBOX_FULL, MAILBOX_FULL_NOW, UNKNOWN_USER, Reply, ReplyError
from netsvc.store.pieces import split
from netsvc.store.tally import Tally, lower_heads
from netsvc.store.tx import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.store.dests import Dests
    from netsvc.store.reasons import Reasons
    from netsvc.store.tx import Tx

BLOB = table("blob", "id sha256:b size refs place")
MAIL = table("mail", "mailbox_id uid delivery_id message_id blob_id hdr:b size internal_at sender:t msgid:t subject:t")
HISTORY = table(
    "history",
    "id at node_id message_id delivery_id n sender:t rcpt:t domain:t dest_id outcome attempts reason_id size"
    " received_at msgid:t subject:t auth:t client:t listener:t reply:t host:t tls:t ms",
)
MESSAGE = table(
    "message",
    "id blob_id hdr:b sender:t sender_domain:t size rcpts received_at expires_at pending flags node_id listener:t"
    " client:t helo:t tls:t auth:t msgid:t subject:t tag:t envid:t ret prio by_at",
)
DELIVERY = table(
    "delivery",
    "id message_id n rcpt:t domain:t dest_id route:t kind state due_at reason_id reply:t held_by:t held_why:t size"
    " orcpt:t notify",
)
QUOTA_RETRY_MS = 15 * 60_000
UNDER_GIL = 2047
"""hashlib gives the lock away for updates longer than this."""
HELD_HASH = 16 << 10
MAILBOX_KEY = "mailbox"
"""Key of the destination of mail that waits for room in a mailbox of ours."""
_ADD_MAIL = (
    "UPDATE mailbox SET used_bytes = used_bytes + v.column2, used_msgs = used_msgs + v.column3,"
    " uidnext = uidnext + v.column3 FROM {v} WHERE mailbox.id = v.column1"
)


@dataclass(slots=True)
class Content:
    """A body on its way into a unit of work: what is in memory, and what was streamed before."""

    size: int
    pieces: Sequence[bytes]
    blob_id: int = 0
    chunks: int = 0
    generation: int | None = None
    sha256: Any = None
    digest: bytes = b""


@dataclass(slots=True)
class Incoming:
    """One message to take."""

    message: Message
    content: Content
    deliveries: Sequence[NewDelivery]
    local: Sequence[LocalDelivery]
    must: bool = False
    """One of our own: a mailbox that is full makes it wait rather than fail."""
    refusals: Refusals | None = None


class BodyLostError(Exception):
    """Streamed pieces went with a failed commit: the message must be sent again."""


@dataclass(slots=True)
class Box:
    """A mailbox row within a unit of work, and what the unit adds to it."""

    quota_bytes: int
    quota_msgs: int
    used_bytes: int
    used_msgs: int
    uidnext: int
    added_bytes: int = 0
    added: int = 0

    def take(self, size: int) -> int:
        """Return the uid of a mail of ``size`` octets, 0 when the quota forbids it."""
        if self.quota_bytes and self.used_bytes + self.added_bytes + size > self.quota_bytes:
            return 0
        if self.quota_msgs and self.used_msgs + self.added >= self.quota_msgs:
            return 0
        uid = self.uidnext + self.added
        self.added_bytes += size
        self.added += 1
        return uid


def boxes(tx: Tx, ids: set[int]) -> dict[int, Box]:
    """Return the mailboxes with ``ids`` that exist, locked for this unit of work where others could write."""
    rest = "FROM mailbox WHERE id {ids}"
    if tx.dialect == "postgresql":
        rest += " ORDER BY id FOR UPDATE"
    columns = "id, quota_bytes, quota_msgs, used_bytes, used_msgs, uidnext"
    return {row[0]: Box(*row[1:]) for row in tx.pick(columns, rest, sorted(ids))} if ids else {}


def put_boxes(tx: Tx, found: dict[int, Box]) -> None:
    """Write what was added to the mailboxes."""
    rows = [(number, box.added_bytes, box.added) for number, box in found.items() if box.added]
    if rows:
        tx.each(_ADD_MAIL, "iii", rows)


@dataclass(slots=True)
class Rows:
    """What a unit of work inserts."""

    chunks: list[tuple[int, int, bytes]] = field(default_factory=list)
    streamed: bool = False
    blobs: list[tuple[Any, ...]] = field(default_factory=list)
    filed: list[tuple[Any, ...]] = field(default_factory=list)
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    deliveries: list[tuple[Any, ...]] = field(default_factory=list)


Kept = tuple[LocalDelivery, int, int]
"""A local delivery with its uid and its size."""


def digest(data: bytes) -> bytes:
    """Return the SHA-256 of ``data``; of small data without giving the interpreter lock away, which costs more."""
    if len(data) > HELD_HASH:
        return hashlib.sha256(data).digest()
    hashed = hashlib.sha256()
    view = memoryview(data)
    for at in range(0, len(data), UNDER_GIL):
        hashed.update(view[at : at + UNDER_GIL])
    return hashed.digest()


class Accepting:
    """The gathered unit of work.  One instance a store; its methods run in the writer's thread."""

    def __init__(
        self, node: Callable[[], int], new_ids: Callable[[int], list[int]], dests: Dests, reasons: Reasons
    ) -> None:
        """``node()`` is this node's id."""
        self._node = node
        self._new_ids = new_ids
        self._dests = dests
        self._reasons = reasons

    def run(self, tx: Tx, items: list[Any]) -> list[Any]:
        """Take the messages ``items`` (Incoming) -> their ids; a refused one is a ReplyError, with nothing kept."""
        found = boxes(tx, {entry.mailbox_id for item in items for entry in item.local})
        hops = {d.hop for item in items for d in item.deliveries}
        dest_ids = self._dests.ids(tx, hops) if hops else {}
        rows = Rows()
        tally = Tally()
        dues: dict[int, int] = {}
        results: list[Any] = []
        for item in items:
            try:
                self._one(tx, item, found, dest_ids, rows)
                results.append(item.message.id)
            except (ReplyError, BodyLostError) as error:
                results.append(error)
        self._write(tx, rows, tally, dues)
        return results

    def _write(self, tx: Tx, rows: Rows, tally: Tally, dues: dict[int, int]) -> None:
        tx.put_chunks(rows.chunks, streamed=rows.streamed)
        if rows.blobs:
            tx.insert(BLOB, rows.blobs)
        if rows.filed:
            tx.file(rows.filed)
        if not rows.messages:
            return
        tx.insert(MESSAGE, rows.messages)
        tx.insert(DELIVERY, rows.deliveries)
        for row in rows.deliveries:
            dest_id, state, due_at, reason_id, size = row[5], row[8], row[9], row[10], row[14]
            tally.add(dest_id, state, reason_id, size)
            if state != State.HOLD:
                dues[dest_id] = min(due_at, dues.get(dest_id, due_at))
        tally.apply(tx, self._node())
        lower_heads(tx, dues)

    def _one(self, tx: Tx, item: Incoming, found: dict[int, Box], dest_ids: dict[str, int], rows: Rows) -> None:
        message, content = item.message, item.content
        if content.generation is not None and content.generation != tx.generation:
            raise BodyLostError
        blob_id = content.blob_id or message.id
        kept, waiting = self._fit(item, found)
        if item.refusals is not None and item.refusals.made:
            message = _without(message, item.refusals, kept or waiting or item.deliveries)
        ids = self._new_ids(len(item.local) + len(item.deliveries))[::-1]
        queued = bool(waiting or item.deliveries)
        refs = len(kept) + queued
        self._body(content, blob_id, rows)
        if kept:
            self._file(tx, item, kept, (blob_id, refs), ids, rows)
        else:
            rows.blobs.append((blob_id, content.digest, content.size, refs, 0))
        if queued:
            before = len(rows.deliveries)
            rows.deliveries.extend(self._delivery(message, entry, dest_ids, ids.pop()) for entry in item.deliveries)
            rows.deliveries.extend(self._wait(tx, message, *pair, ids.pop()) for pair in waiting)
            rows.messages.append(self._message(message, blob_id, len(rows.deliveries) - before))

    def _fit(self, item: Incoming, found: dict[int, Box]) -> tuple[list[Kept], list[tuple[LocalDelivery, Reply]]]:
        """Return the local deliveries with their uids and sizes, and those whose mailbox cannot take them."""
        kept: list[Kept] = []
        waiting: list[tuple[LocalDelivery, Reply]] = []
        refusals = item.refusals
        if refusals is not None:
            refusals.made.clear()  # the unit may be run again
        for entry in item.local:
            size = item.content.size + len(entry.hdr)
            box = found.get(entry.mailbox_id)
            uid = box.take(size) if box else 0
            if uid:
                kept.append((entry, uid, size))
                continue
            refused = _refusal(entry, box, size)
            if refusals is not None and entry.n in refusals.may:
                refusals.made[entry.n] = refused
                continue
            if not item.must and len(item.local) + len(item.deliveries) == 1:
                raise ReplyError(refused)
            waiting.append((entry, MAILBOX_FULL_NOW if box else UNKNOWN_USER))
        return kept, waiting

    def _file(
        self, tx: Tx, item: Incoming, kept: list[Kept], blob: tuple[int, int], ids: list[int], rows: Rows
    ) -> None:
        message, content, node = item.message, item.content, self._node()
        blob_id, refs = blob
        sender, msgid, subject = escape(message.sender), escape(message.msgid) or None, escape(message.subject) or None
        auth = escape(message.auth) or None
        for entry, uid, size in kept:
            where = (escape(entry.rcpt), escape(entry.domain))
            rows.filed.append(
                (
                    blob_id, content.digest, content.size, refs, entry.mailbox_id, uid, ids.pop(), message.id,
                    entry.hdr, size, tx.now, sender, msgid, subject, node, entry.n, *where, message.received_at, auth,
                    message.client or None, message.listener or None, message.tls or None,
                )
            )  # fmt: skip
            refs = 0

    def _body(self, content: Content, blob_id: int, rows: Rows) -> None:
        data = content.pieces[0] if len(content.pieces) == 1 else b"".join(content.pieces)
        content.pieces = (data,)
        if not content.digest:  # the unit may be run again
            if content.sha256 is None:
                content.digest = digest(data)
            else:
                content.sha256.update(data)
                content.digest = content.sha256.digest()
        rows.streamed |= bool(content.chunks)
        rows.chunks.extend((blob_id, content.chunks + n, piece) for n, piece in enumerate(split(data)))

    def _message(self, m: Message, blob_id: int, pending: int) -> tuple[Any, ...]:
        return (
            m.id, blob_id, m.hdr, escape(m.sender), escape(m.sender_domain), m.size, m.rcpts, m.received_at,
            m.expires_at, pending, m.flags, self._node(), m.listener or None, m.client or None, escape(m.helo) or None,
            m.tls or None, escape(m.auth) or None, escape(m.msgid) or None, escape(m.subject) or None,
            escape(m.tag) or None, escape(m.envid) or None, m.ret, m.prio, m.by_at,
        )  # fmt: skip

    def _delivery(self, message: Message, d: NewDelivery, dest_ids: dict[str, int], number: int) -> tuple[Any, ...]:
        state = State.HOLD if d.held_by else State.INCOMING
        return (
            number, message.id, d.n, escape(d.rcpt), escape(d.domain), dest_ids[d.hop.key], escape(d.hop.route),
            int(d.hop.kind), int(state), d.due_at, 0, None, escape(d.held_by) or None, escape(d.held_why) or None,
            message.size, escape(d.orcpt) or None, d.notify,
        )  # fmt: skip

    def _wait(self, tx: Tx, message: Message, entry: LocalDelivery, reply: Reply, number: int) -> tuple[Any, ...]:
        """Return the delivery row of a local recipient whose mailbox cannot take the message now."""
        key = MAILBOX_KEY
        dest = self._dests.ids(tx, [Hop(Kind.MAILBOX, key, "", "")])[key]
        outcome = Outcome(0, Result.DEFERRED, Fault.LOCAL, reply.code, reply.status, reply.text)
        reason = self._reasons.ids(tx, [outcome])[0]
        return (
            number, message.id, entry.n, escape(entry.rcpt), escape(entry.domain), dest, f"mailbox {entry.mailbox_id}",
            int(Kind.MAILBOX), int(State.DEFERRED), tx.now + QUOTA_RETRY_MS, reason, reply.text, None, None,
            message.size, escape(entry.orcpt) or None, entry.notify,
        )  # fmt: skip


def _refusal(entry: LocalDelivery, box: Box | None, size: int) -> Reply:
    """Return why a mailbox does not take a mail of ``size``: for now, or never; never never for the postmaster."""
    if box is None:
        return UNKNOWN_USER
    if 0 < box.quota_bytes < size and entry.rcpt.partition("@")[0].lower() != "postmaster":
        return MAILBOX_FULL
    return MAILBOX_FULL_NOW


def _without(message: Message, refusals: Refusals, left: Sequence[Any]) -> Message:
    """Return the message as it is kept for those who were not refused.  Raises ReplyError when nobody is left."""
    if not left:
        raise ReplyError(next(iter(refusals.made.values())))
    return message._replace(rcpts=message.rcpts - len(refusals.made))
