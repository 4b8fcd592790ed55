"""Scripted dialogues with a server session: no network, whole, cut anywhere, or byte by byte."""

import random

from netsvc.mail import reply as r
from netsvc.smtp.events import (
    FLUSH,
    NEED_DATA,
    PAUSED,
    ContentDropped,
    ContentEnded,
    ContentReceived,
    DataRequested,
    Greeted,
    RecipientGiven,
    SenderGiven,
    SessionEnded,
)
from netsvc.smtp.server import ServerSession
from netsvc.smtp.terms import Terms

TERMS = Terms("mx.example.org", max_message_size=100_000)


def answer(event):
    """What a mailbox service that knows everybody but "nobody" says."""
    if isinstance(event, Greeted):
        return r.OK
    if isinstance(event, SenderGiven):
        return r.NO_SPACE if event.path.local == "refused" else r.SENDER_OK
    if isinstance(event, RecipientGiven):
        if event.path.local == "close":
            return r.TOO_MANY_ERRORS.fill(hostname="mx.example.org")
        return r.UNKNOWN_USER if event.path.local == "nobody" else r.RECIPIENT_OK
    if isinstance(event, DataRequested):
        return r.START_MAIL
    return event.fault or r.QUEUED.fill(id="0123456789ABC")


class Talk:
    """What came of a dialogue: ``events`` (content pieces joined), ``output``, ``messages`` stored, ``session``."""

    def __init__(self, chunks, terms=TERMS, answer=answer):
        self.session = ServerSession(terms)
        self.events = []
        self.output = b""
        self.messages = []
        self._content = b""
        self._transaction = None
        self.take(answer)
        for chunk in chunks:
            self.session.receive_data(chunk)
            self.take(answer)

    def take(self, answer):
        session = self.session
        while True:
            event = session.next_event()
            if event is FLUSH:
                self.output += session.take_output()
                continue
            if event is NEED_DATA:
                break
            assert event is not PAUSED
            if isinstance(event, ContentReceived):
                self._content += event.data
                continue
            if isinstance(event, ContentDropped):
                self._content = b""
                self.events.append(event)
                continue
            if isinstance(event, ContentEnded) and event.fault is None:
                assert event.size == len(self._content)
                self.messages.append(
                    (session.reverse_path, tuple(r.address for r in session.recipients), self._content)
                )
            self.events.append(event)
            if isinstance(event, SessionEnded):
                break
            assert session.next_event() is PAUSED
            if isinstance(event, ContentEnded | Greeted):
                self._content = b""
            session.send(answer(event))
        self.output += session.take_output()

    @property
    def codes(self):
        """The codes of all replies after the greeting, one for each command."""
        lines = self.output.split(b"\r\n")[1:-1]
        return [int(line[:3]) for line in lines if line[3:4] == b" "]

    @property
    def last(self):
        return self.output.split(b"\r\n")[-2].decode()

    @property
    def facts(self):
        """All that must not depend on how the octets were cut."""
        return self.events, self.output, self.messages, self.session.state, self.session.errors, self.session.commands


def cut(data, rng, most=40):
    """Cut ``data`` anywhere."""
    chunks = []
    while data:
        length = rng.randint(1, most)
        chunks.append(data[:length])
        data = data[length:]
    return chunks


def talk(data, terms=TERMS, answer=answer):
    """Run ``data`` whole, byte by byte and cut at random; all must give the same; return the first."""
    whole = Talk([data], terms, answer)
    assert Talk([data[i : i + 1] for i in range(len(data))], terms, answer).facts == whole.facts
    rng = random.Random(data)
    for _ in range(3):
        assert Talk(cut(data, rng), terms, answer).facts == whole.facts
    return whole


def lines(*commands):
    """The commands, CR LF ended."""
    return b"".join(c.encode("latin-1") + b"\r\n" for c in commands)


ENVELOPE = lines("EHLO client.example", "MAIL FROM:<me@example.net>", "RCPT TO:<ann@example.org>")
OPENING = ENVELOPE + b"DATA\r\n"
