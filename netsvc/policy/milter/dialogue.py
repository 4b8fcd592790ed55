"""One message told to one filter, and what the filter wants done with it (floor 3).

The whole transaction is told once the content is there: client, HELO, sender, recipients, header fields, body.  What
the filter asked not to see is left out, what it said it does not answer is not waited for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netsvc.policy.milter import codec
from netsvc.policy.milter.codec import Answer, Change, MilterError, Terms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.policy.auth.fields import Field
    from netsvc.policy.milter.connection import MilterConnection

MAX_CHANGES = 1000
PIECE = 256 << 10


class StaleError(Exception):
    """A connection that was kept turned out to be gone before anything was answered on it."""


@dataclass(slots=True)
class Judgement:
    """What a filter says: ``answer`` is its last word, ``fields`` what it wants on top, ``quarantine`` why to hold.

    ``undone`` counts what it wanted and does not get: {what: how often}.
    """

    answer: Answer = field(default_factory=lambda: Answer("continue"))
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    quarantine: str = ""
    undone: Counter[str] = field(default_factory=Counter)
    whole: bool = False
    """Whether the filter heard all of the message before it said its last word."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is told: the message ``id`` as text, our name, the envelope, and (with content) its header fields.

    ``body_at`` is where in the content the body begins.
    """

    id: str
    hostname: str
    envelope: Envelope
    fields: tuple[Field, ...] = ()
    body_at: int = 0


class _DoneError(Exception):
    """The filter has said its last word."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.kind)
        self.answer = answer


async def negotiate(connection: MilterConnection) -> None:
    """Begin a connection: our offer, the filter's terms.  Raises MilterError."""
    connection.send(codec.offer())
    terms = await connection.event()
    if not isinstance(terms, Terms):
        raise MilterError("no terms came first")
    if not 2 <= terms.version <= codec.VERSION:
        raise MilterError(f"version {terms.version} of the protocol")
    connection.steps = terms.steps


class Dialogue:
    """Tells one message.  ``content`` is an IContent, None at RCPT, where the filter is asked about recipients only."""

    def __init__(self, connection: MilterConnection, told: Told, content: Any) -> None:
        self._connection = connection
        self._told = told
        self._content = content
        self._steps = connection.steps
        self._answered = False
        self.judgement = Judgement()

    async def run(self) -> Judgement:
        """Return the filter's judgement; raises MilterError, or StaleError where another connection may do better."""
        connection = self._connection
        fresh = not connection.used
        connection.used += 1
        try:
            try:
                await self._envelope()
                if self._content is not None:
                    await self._message()
            except _DoneError as done:
                self.judgement.answer = done.answer
        except MilterError as error:
            if not fresh and not self._answered:
                raise StaleError(str(error)) from error
            raise
        return self.judgement

    # The envelope.

    async def _envelope(self) -> None:
        connection, told, session = self._connection, self._told, self._told.envelope.session
        connection.send(codec.macros(b"C", _connect_macros(session, told.hostname)))
        if not self._steps & codec.NO_CONNECT:
            name = session.rdns or (f"[{session.peer}]" if session.port else "localhost")
            connection.send(codec.connect(name, session.peer, session.port))
            await self._heard(codec.MUTE_CONNECT)
        if not self._steps & codec.NO_HELO and session.helo:
            connection.send(codec.macros(b"H", _tls_macros(session)) + codec.helo(session.helo))
            await self._heard(codec.MUTE_HELO)
        sender = str(told.envelope.reverse_path)
        if not self._steps & codec.NO_MAIL:
            words = {"i": told.id, "{mail_addr}": sender, "{auth_authen}": session.user}
            params = [f"SIZE={told.envelope.size}"] if told.envelope.size else []
            connection.send(codec.macros(b"M", words) + codec.sender(sender, params))
            await self._heard(codec.MUTE_MAIL)
        if not self._steps & codec.NO_RCPT:
            await self._recipients()

    async def _recipients(self) -> None:
        """Tell the recipients; a refusal of all of them is one of the message."""
        refused: list[Answer] = []
        recipients = self._told.envelope.recipients
        for recipient in recipients:
            address = str(recipient.address)
            self._connection.send(codec.macros(b"R", {"{rcpt_addr}": address}) + codec.recipient(address))
            try:
                await self._heard(codec.MUTE_RCPT)
            except _DoneError as done:
                if done.answer.kind not in {"reject", "tempfail", "reply"}:
                    raise
                refused.append(done.answer)
        if refused and len(refused) == len(recipients):
            raise _DoneError(refused[0])
        if refused and self._content is not None:
            self.judgement.undone["refuse a recipient after RCPT"] += len(refused)

    # The content.

    async def _message(self) -> None:
        connection, steps = self._connection, self._steps
        if not steps & codec.NO_DATA:
            connection.send(codec.macros(b"T", {"i": self._told.id}) + codec.DATA)
            await self._heard(codec.MUTE_DATA)
        if not steps & codec.NO_HEADERS:
            for each in self._told.fields:
                connection.send(codec.header(*_header_words(each, leading=bool(steps & codec.LEADING_SPACE))))
                await self._heard(codec.MUTE_HEADERS)
        if not steps & codec.NO_EOH:
            connection.send(codec.END_OF_HEADERS)
            await self._heard(codec.MUTE_EOH)
        if not steps & codec.NO_BODY:
            await self._body()
        connection.send(codec.macros(b"E", {"i": self._told.id}) + codec.END_OF_BODY)
        await self._changes()

    async def _body(self) -> None:
        content = self._content
        at = self._told.body_at
        while at < content.size:
            piece: bytes = await content.read(at, PIECE)
            if not piece:
                return
            at += len(piece)
            for start in range(0, len(piece), codec.CHUNK):
                self._connection.send(codec.body(piece[start : start + codec.CHUNK]))
                if await self._heard(codec.MUTE_BODY) == "skip":
                    return

    async def _changes(self) -> None:
        """Take what the filter wants changed, until its last word."""
        for _ in range(MAX_CHANGES):
            event = await self._connection.event()
            self._answered = True
            if isinstance(event, Answer):
                self.judgement.whole = True
                raise _DoneError(event)
            if isinstance(event, Terms):
                raise MilterError("terms in the middle of a message")
            self._take(event)
        raise MilterError(f"more than {MAX_CHANGES} changes")

    def _take(self, change: Change) -> None:
        judgement = self.judgement
        if change.kind in {"header", "insert-header"}:
            judgement.fields.append((change.name, change.value))
        elif change.kind == "quarantine":
            judgement.quarantine = change.value.decode("utf-8", "backslashreplace") or "no reason given"
        else:
            judgement.undone[change.kind] += 1

    async def _heard(self, mute: int) -> str:
        """Wait for the answer to one command, unless the filter gives none -> its kind, "" for none.

        Raises _DoneError for what ends the dialogue.
        """
        await self._connection.drained()
        if self._steps & mute:
            return ""
        event = await self._connection.event()
        self._answered = True
        if not isinstance(event, Answer):
            raise MilterError("a change before the end of the message")
        if event.kind not in {"continue", "skip"}:
            raise _DoneError(event)
        return event.kind


def _connect_macros(session: SessionFacts, hostname: str) -> dict[str, str]:
    return {
        "j": hostname,
        "{daemon_name}": session.listener,
        "v": "netsvc",
        "{client_addr}": session.peer,
        "{client_port}": str(session.port),
        "{client_name}": session.rdns or "unknown",
        "_": f"{session.rdns or 'unknown'} [{session.peer}]",
    }


def _tls_macros(session: SessionFacts) -> dict[str, str]:
    version, _, cipher = session.tls.partition(" ")
    return {"{tls_version}": version, "{cipher}": cipher}


def _header_words(source: Field, *, leading: bool) -> tuple[bytes, bytes]:
    """Return a field's name as written and its value, lines ended by LF."""
    value = source.value.removesuffix(b"\r\n").replace(b"\r\n", b"\n")
    return source.raw[: source.colon], value if leading else value.removeprefix(b" ")


def summary(undone: Iterable[tuple[str, int]]) -> str:
    """Return what was left undone as one text."""
    return ", ".join(f"{what} {n}" for what, n in undone if n)
