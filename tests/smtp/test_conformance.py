"""The conformance suite with the silent session: each dialogue whole, cut everywhere, and byte by byte.

The answers are those of a mailbox service that knows three mailboxes and one user; tests/system/test_conformance.py runs
the same dialogues against the real process.
"""

import re
from collections import Counter

import pytest

from netsvc.mail import reply as r
from netsvc.sasl.plain import Login, Plain
from netsvc.sasl.steps import Challenge, MalformedError, RefusedError
from netsvc.smtp.events import (
    FLUSH,
    NEED_DATA,
    AuthAnswered,
    AuthRequested,
    ContentDropped,
    ContentEnded,
    ContentReceived,
    DataRequested,
    Greeted,
    RecipientGiven,
    SenderGiven,
    SessionEnded,
    StartTlsRequested,
)
from netsvc.smtp.security import Offer, challenge
from netsvc.smtp.server import ServerSession
from netsvc.smtp.states import State
from netsvc.smtp.terms import Terms
from tests.smtp.conformance.book import CHECKS
from tests.smtp.conformance.check import (
    HOST,
    KNOWN,
    LMTP,
    MAX_MESSAGES,
    MAX_RECIPIENTS,
    MAX_SIZE,
    PASSWORD,
    SUBMISSION,
    SUBMISSIONS,
    TRANSFER,
    USER,
)

NOON = 1_795_446_000.0
_LIMITS = {"max_message_size": MAX_SIZE, "max_recipients": MAX_RECIPIENTS, "max_messages": MAX_MESSAGES}
_USERS = Terms(HOST, service="submission", clock=lambda: NOON, **_LIMITS)
_MECHANISMS = ("SCRAM-SHA-256", "PLAIN", "LOGIN")
_INSIDE = Offer(tls=True, mechanisms=_MECHANISMS, demand=r.AUTH_REQUIRED)
DOORS = {
    TRANSFER: (Terms(HOST, **_LIMITS), Offer(starttls=True), Offer(tls=True)),
    SUBMISSION: (_USERS, Offer(starttls=True, demand=r.STARTTLS_FIRST, encrypt_first=True), _INSIDE),
    SUBMISSIONS: (_USERS, _INSIDE, _INSIDE),
    LMTP: (Terms(HOST, service="lmtp", **_LIMITS), Offer(), Offer()),
}
"""What each listener offers: terms, outside TLS (from the start), and behind the handshake."""
EVERYWHERE = 1200
"""Octets up to which a dialogue is cut at each boundary; in a longer one each seventeenth, and each around a CR LF."""


class Conversation:
    """What came of a dialogue: ``output``, ``messages`` (content, recipients), ``session``."""

    def __init__(self, check, chunks):
        terms, outside, inside = DOORS[check.door]
        self.session = ServerSession(terms, outside)
        self.output = b""
        self.messages = []
        self._content = b""
        self._exchange = None
        self._take()
        for number, segment in enumerate(chunks):
            if number:
                self.session.secured(inside)
            for chunk in segment:
                self.session.receive_data(chunk)
                self._take()

    def _take(self):
        session = self.session
        while (event := session.next_event()) is not NEED_DATA:
            kind = type(event)
            if event is FLUSH:
                self.output += session.take_output()
            elif kind is ContentReceived:
                self._content += event.data
            elif kind is ContentDropped:
                self._content = b""
            elif kind is SessionEnded:
                break
            else:
                session.send(self._answer(event))
                if kind is StartTlsRequested:
                    break
        self.output += session.take_output()

    def _answer(self, event):
        kind = type(event)
        if kind is Greeted:
            return r.HELLO
        if kind is SenderGiven:
            foreign = self.session.authenticated and str(event.path) not in {USER, ""}
            return r.SENDER_NOT_YOURS if foreign else r.SENDER_OK
        if kind is RecipientGiven:
            return self._recipient(event.path)
        if kind is DataRequested:
            self._content = b""
            return r.START_MAIL
        if kind is StartTlsRequested:
            return r.READY_FOR_TLS
        if kind is not ContentEnded:
            return self._log_in(event)
        if event.fault is None:
            recipients = {str(one.address).lower() for one in self.session.recipients}
            recipients = {one if "@" in one else one + "@example.org" for one in recipients}
            self.messages.append((self._content, recipients))
        return event.fault or r.queued("0123456789ABC")

    def _recipient(self, path):
        if not path.domain or path.key in KNOWN:
            return r.RECIPIENT_OK
        if path.domain == "example.org":
            return r.UNKNOWN_USER
        return r.RECIPIENT_OK if self.session.authenticated else r.RELAY_DENIED

    def _log_in(self, event):
        try:
            if isinstance(event, AuthRequested):
                self._exchange = Plain() if event.mechanism == "PLAIN" else Login()
                step = self._exchange.receive(event.initial)
            else:
                assert isinstance(event, AuthAnswered)
                step = self._exchange.receive(event.response)
        except MalformedError:
            return r.BAD_BASE64
        except RefusedError:
            return r.LOGIN_FAILED
        if isinstance(step, Challenge):
            return challenge(step.data)
        return r.AUTHENTICATED if (step.name, step.password) == (USER, PASSWORD) else r.LOGIN_FAILED

    @property
    def facts(self):
        """All that must not depend on how the octets were cut."""
        session = self.session
        return self.output, self.messages, session.state, session.errors, session.commands


def replies_of(output):
    """-> the replies, each with LF between its lines."""
    found, lines = [], []
    for line in output.decode("ascii").split("\r\n")[:-1]:
        lines.append(line)
        if line[3:4] != "-":
            found.append("\n".join(lines))
            lines = []
    assert not lines
    return found


def assert_said(check, replies):
    """Assert that the replies, with the greeting, are those expected."""
    wanted = [check.greeting, *(pattern for turn in check.turns for pattern in turn.replies)]
    for pattern, reply in zip(wanted, replies, strict=False):
        assert re.match(pattern, reply, re.MULTILINE | re.DOTALL), (pattern, reply, replies)
    assert len(replies) == len(wanted), replies
    for reply in replies:
        assert_well_formed(reply)


def assert_well_formed(reply):
    """Assert what holds for every reply: RFC 5321 4.2 and 4.5.3.1.5, RFC 2034 4."""
    lines = reply.split("\n")
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(r"[2-5][0-5]\d[ -][ -~]*", line), reply
        assert len(line) <= 510
        assert line[:3] == lines[0][:3]
        assert line[3] == (" " if number == len(lines) else "-")
        status = re.match(r"...[ -]([245])\.\d{1,3}\.\d{1,3} ", line)
        assert status is None or status[1] == line[0], reply
        assert status or line[0] == "3" or line[:3] in {"220", "250"}, reply


def places(data):
    """Where a dialogue is cut."""
    if len(data) <= EVERYWHERE:
        return range(1, len(data))
    ends = [match.start() for match in re.finditer(rb"\r\n", data[:4000])]
    return sorted(
        {*range(1, len(data), max(17, len(data) // 200)), *(end + n for end in ends[-60:] for n in (0, 1, 2))} - {0}
    )


SILENT = [check for check in CHECKS if not check.alive]


@pytest.mark.parametrize("check", SILENT, ids=lambda check: check.name)
def test_conformance(check):
    data = [b"".join(turn.sends for turn in turns) for turns in check.segments]
    whole = Conversation(check, [[one] for one in data])
    assert_said(check, replies_of(whole.output))
    assert whole.messages == [(stored.content, set(stored.to)) for stored in check.stored]
    assert (whole.session.state is State.CLOSED) == check.ends
    if check.glued:
        return
    single = [[one[i : i + 1] for i in range(len(one))] for one in data]
    assert Conversation(check, single).facts == whole.facts
    for number, one in enumerate(data):
        for place in places(one):
            chunks = [[each] for each in data]
            chunks[number] = [one[:place], one[place:]]
            assert Conversation(check, chunks).facts == whole.facts, place


def test_there_are_enough_and_none_is_there_twice():
    assert len(CHECKS) >= 150
    names = Counter((check.rfc, check.section, check.says) for check in CHECKS)
    assert max(names.values()) == 1
    assert (
        max(
            Counter((check.door, check.turns, check.greeting, check.stored, check.reports) for check in CHECKS).values()
        )
        == 1
    )
    for check in CHECKS:
        assert re.fullmatch(r"[A-Z]?[0-9.]+|[A-Z](\.[0-9]+)*", check.section)
        assert check.turns
        assert any(turn.replies for turn in check.turns)


def test_all_rfcs_of_the_receiving_side_are_there():
    wanted = {
        5321,
        5322,
        1870,
        2034,
        2920,
        3030,
        3207,
        3461,
        3462,
        3463,
        3464,
        4954,
        5598,
        6152,
        6531,
        8314,
        8689,
        9422,
    }
    wanted |= {2033, 2852, 3848, 4865, 6710}
    assert wanted <= {check.rfc for check in CHECKS}
