"""Bodies: received into memory while small, streamed to the body store when large, read in pieces.

What is streamed becomes durable with the unit of work that accepts the message
(or before); what is never accepted is deleted, after a crash by the orphan sweep.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from netsvc.interfaces import IBodyReader, IBodyWriter
from netsvc.store.pieces import CHUNK, split
from netsvc.store.tx import ACCEPT, BULK

if TYPE_CHECKING:
    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

IN_FLIGHT = 512 << 10
"""Octets on their way to the store, a writer; then the sender has to wait."""


class Piece:
    """A piece of a body on its way to the body store."""

    __slots__ = ("data", "hashed", "n", "writer")

    def __init__(self, writer: BodyWriter, n: int, data: list[bytes]) -> None:
        """Take piece ``n``."""
        self.writer = writer
        self.n = n
        self.data = data
        self.hashed = False


def append(tx: Tx, pieces: list[Any]) -> list[Any]:
    """Write pieces: a gathered unit of work, run again when its batch was rolled back."""
    rows = []
    for piece in pieces:
        data = piece.data[0] if len(piece.data) == 1 else b"".join(piece.data)
        piece.data = [data]
        writer = piece.writer
        if not piece.hashed:
            writer.sha256.update(data)
            piece.hashed = True
        if writer.generation is None:
            writer.generation = tx.generation
        rows.append((writer.blob_id, piece.n, data))
    tx.put_chunks(rows, later=True)
    return [None] * len(pieces)


@implementer(IBodyWriter)
class BodyWriter:
    """A body being received; see IBodyWriter.  ``blob_id`` is 0 while all of it is in memory."""

    def __init__(self, engine: Engine) -> None:
        """Stream through ``engine`` once it is large."""
        self._engine = engine
        self.size = 0
        self.blob_id = 0
        self.chunks = 0
        self.generation: int | None = None
        self.sha256: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self._held: list[bytes] = []
        self._held_size = 0
        self._in_flight = 0
        self._pressure: Deferred[None] | None = None
        self._drained: list[Deferred[None]] = []
        self._sizes: list[int] = []

    def write(self, data: bytes) -> Deferred[None] | None:
        """Append ``data``."""
        size = len(data)
        if self.ended or not size:
            return None
        self.size += size
        if self.error is not None:  # what follows is counted, and dropped: accept will tell
            return None
        if self._held_size + size > CHUNK:
            self._flush()
            for piece in split(data):
                if len(piece) == CHUNK:
                    self._send([piece], CHUNK)
                else:
                    self._held, self._held_size = [piece], len(piece)
        else:
            self._held.append(data)
            self._held_size += size
        if self._in_flight > IN_FLIGHT:
            if self._pressure is None:
                self._pressure = Deferred()
            return self._pressure
        return None

    def _flush(self) -> None:
        if self._held:
            held, size = self._held, self._held_size
            self._held, self._held_size = [], 0
            self._send(held, size)

    def _send(self, data: list[bytes], size: int) -> None:
        if not self.blob_id:
            self.blob_id = self._engine.new_id()
            self.sha256 = hashlib.sha256()
        self._in_flight += size
        piece = Piece(self, self.chunks, data)
        self._sizes.append(size)
        self.chunks += 1
        sent = self._engine.gather(append, piece, ACCEPT)
        sent.addCallbacks(self._sent, self._failed, callbackArgs=(size,), errbackArgs=(size,))

    def _failed(self, failure: Any, size: int) -> None:
        self.error = failure.value
        self._held, self._held_size = [], 0
        self._sent(None, size)

    def _sent(self, _: object, size: int) -> None:
        self._in_flight -= size
        if self._in_flight <= IN_FLIGHT and self._pressure is not None:
            pressure, self._pressure = self._pressure, None
            pressure.callback(None)
        if not self._in_flight:
            waiting, self._drained = self._drained, []
            for deferred in waiting:
                deferred.callback(None)

    def drained(self) -> Deferred[None]:
        """-> Deferred[None], when nothing is on its way any more."""
        if not self._in_flight:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._drained.append(deferred)
        return deferred

    def peek(self, offset: int, length: int) -> Deferred[bytes]:
        """Return at most ``length`` octets from ``offset`` of what was written, before it is accepted."""
        if self._in_flight:
            return self.drained().addCallback(lambda _: self.peek(offset, length))
        if self.error is not None:
            return fail(self.error)
        place = 0
        for n, size in enumerate(self._sizes):
            if offset < place + size:
                return self._peek_streamed(n, offset - place, length)
            place += size
        if len(self._held) > 1:
            self._held = [b"".join(self._held)]
        start = offset - place
        return succeed(self._held[0][start : start + length] if self._held else b"")

    def _peek_streamed(self, n: int, start: int, length: int) -> Deferred[bytes]:
        """Return octets of piece ``n``; the writer alone sees what is streamed until it is committed."""
        blob_id = self.blob_id
        read = self._engine.write(lambda tx: tx.chunk(blob_id, n), ACCEPT)
        return read.addCallback(lambda data: (data or b"")[start : start + length])

    def take(self) -> list[bytes]:
        """Give out what is still in memory; the writer takes nothing more."""
        self.ended = True
        held, self._held, self._held_size = self._held, [], 0
        return held

    def abort(self) -> None:
        """Forget everything."""
        if self.ended:
            return
        self.take()
        self.discard()

    def discard(self) -> None:
        """Delete what was streamed."""
        if self.blob_id:
            self.drained().addCallback(lambda _: self._drop())

    def _drop(self) -> None:
        blob_id = self.blob_id

        def drop(tx: Tx) -> None:
            # A commit of which nobody can say whether it was kept fails; if it was, the message has its body.
            if tx.value("SELECT 1 FROM blob WHERE id = ?", (blob_id,)) is None:
                tx.drop_chunks([blob_id])

        # When it cannot be deleted now, the orphan sweep does it.
        self._engine.write(drop, BULK).addErrback(lambda _: None)


@implementer(IBodyReader)
class BodyReader:
    """Content of one blob behind ``head``, read chunk by chunk."""

    def __init__(self, engine: Engine, blob_id: int, size: int, first: bytes, head: bytes = b"") -> None:
        """Read blob ``blob_id`` of ``size`` octets whose first chunk is at hand; ``head`` comes before it."""
        self._engine = engine
        self._blob_id = blob_id
        self._left = size
        self._n = 0
        self._ready: list[bytes] = [part for part in (head, first) if part]
        if len(head) + len(first) <= CHUNK:
            self._ready = [head + first] if head or first else []
        if first:
            self._n = 1
            self._left -= len(first)
        self.size = size + len(head)
        self._closed = False

    def read(self) -> Deferred[bytes]:
        """Return the next piece."""
        if self._closed:
            return succeed(b"")
        if self._ready:
            return succeed(self._ready.pop(0))
        if self._left <= 0:
            return succeed(b"")
        blob_id, n = self._blob_id, self._n
        self._n += 1
        return self._engine.read(lambda tx: tx.chunk(blob_id, n)).addCallback(self._came)

    def _came(self, data: bytes | None) -> bytes:
        if not data:
            raise LookupError(f"body {self._blob_id} ends {self._left} octets early")
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Give it back."""
        self._closed = True
        self._ready = []


def read_blob(tx: Tx, blob_id: int) -> tuple[int, bytes] | None:
    """Return (size, first chunk) of a blob, None when it is not there."""
    size = tx.value("SELECT size FROM blob WHERE id = ?", (blob_id,))
    if size is None:
        return None
    return size, (tx.chunk(blob_id, 0) or b"") if size else b""
