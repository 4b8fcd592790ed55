"""How content comes in a server's session: after 354, or in chunks (RFC 5321 4.1.1.4, RFC 3030).

The part of ``ServerSession`` that knows of octets which are no commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail import reply as r
from netsvc.smtp.chunking import MAX_CHUNK, ChunkGiven, ChunkReceiver, Chunks
from netsvc.smtp.events import NEED_DATA, ContentEnded, ContentReceived, DataRequested, Event, Pause
from netsvc.smtp.states import State

if TYPE_CHECKING:
    from netsvc.mail.envelope import Recipient
    from netsvc.smtp.lines import LineBuffer
    from netsvc.smtp.terms import Terms
    from netsvc.smtp.transparency import ContentReceiver

_CHUNK_USAGE = bytes(r.SYNTAX.fill(usage="BDAT octets [LAST]"))


class Contents:
    """Content under way.

    ``_content`` takes the next octets, None where they are commands; ``_chunks`` are those of the transaction, from its
    first BDAT on.
    """

    __slots__ = ("_chunks", "_content", "_lines", "_out", "bare_newline", "body", "recipients", "state", "terms")

    _chunks: Chunks | None
    _content: ContentReceiver | Chunks | None
    _lines: LineBuffer
    _out: list[bytes]
    bare_newline: bool
    body: str
    recipients: list[Recipient]
    state: State
    terms: Terms

    if TYPE_CHECKING:  # the session's

        def _err(self, reply: r.Reply) -> None: ...
        def _end(self, why: str) -> None: ...
        def _reset(self, state: State) -> None: ...

    def _next_content(self, content: ContentReceiver | Chunks) -> Event | Pause | None:
        """Return what comes of the content under way, None when a chunk has come that does not end it."""
        if isinstance(content, Chunks):
            return self._next_chunk(content)
        if not content.ended:
            data, rest = content.receive(self._lines.take())
            if rest:
                self._lines.push(rest)  # at once: what is received from now on comes behind it
            if data:
                return ContentReceived(data)
            if not content.ended:
                return NEED_DATA
        return self._content_over(content)

    def _next_chunk(self, chunks: Chunks) -> Event | Pause | None:
        event = chunks.next(self._lines)
        if event is not None:
            return event
        self._content = None
        if chunks is not self._chunks:  # it stood where no chunk may
            self._err(chunks.reply)
            return None
        if not chunks.last:
            self._out.append(bytes(chunks.reply))
            self.state = State.CHUNKS
            return None
        if chunks.receiver is not None:
            return self._content_over(chunks.receiver)
        self._out.append(bytes(chunks.reply) * (len(self.recipients) if self.terms.lmtp else 1))
        self._reset(State.IDLE)
        return None

    def _content_over(self, content: ContentReceiver) -> ContentEnded:
        self._content = None
        self.state = State.COMMIT
        self.bare_newline = self.bare_newline or content.bare_newline
        return ContentEnded(content.size, content.fault)

    def _chunk(self, chunk: ChunkGiven | None, refused: r.Reply | None) -> Event | None:
        """Begin a chunk, or what is to be dropped of one; end the session where its end cannot be found (T21)."""
        limit = self.terms.max_message_size
        chunks = self._chunks
        announced = chunk.size + (chunks.announced if chunks is not None else 0) if chunk is not None else 0
        if chunk is None or (chunk.size >= MAX_CHUNK and not limit):
            self._out.append(_CHUNK_USAGE)
            self._end("chunk of no size")
        elif limit and announced > limit:
            self._out.append(bytes(r.MESSAGE_TOO_LARGE.fill(limit=limit)))
            self._end("chunk over the limit")
        elif refused is not None:
            self._content = Chunks(refused).begin(chunk)
        elif chunks is None:
            self._chunks = Chunks().begin(chunk)
            return DataRequested()
        else:
            self._content = chunks.begin(chunk)
            self.state = State.DATA
        return None

    def _begin_chunks(self, chunks: Chunks, reply: r.Reply) -> None:
        """Let the octets of the first chunk come; they are dropped when ``reply`` is a refusal."""
        if reply.positive:
            terms = self.terms
            binary = self.body == "BINARYMIME"
            chunks.receiver = ChunkReceiver(terms.max_message_size, terms.bare_newline, binary=binary)
        else:
            chunks.refusal = reply
        self._content = chunks
        self.state = State.DATA
