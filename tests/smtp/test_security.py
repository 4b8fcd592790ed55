"""STARTTLS (RFC 3207) and AUTH (RFC 4954) in the server session: whole, cut, and byte by byte."""

import base64
import random

import pytest

from netsvc.mail import reply as r
from netsvc.smtp import grammar
from netsvc.smtp.events import NEED_DATA, PAUSED, AuthAnswered, AuthRequested, Greeted, SessionEnded, StartTlsRequested
from netsvc.smtp.grammar import CommandError
from netsvc.smtp.security import MAX_RESPONSE, Offer, challenge, decode
from netsvc.smtp.server import INJECTION, AnswerError, ServerSession
from netsvc.smtp.states import State
from tests.smtp.dialogues import TERMS, answer, cut

CLEAR = Offer(starttls=True, demand=r.STARTTLS_FIRST, encrypt_first=True)
INSIDE = Offer(tls=True, mechanisms=("SCRAM-SHA-256", "PLAIN", "LOGIN"), demand=r.AUTH_REQUIRED)
OPTIONAL = Offer(tls=True, mechanisms=("PLAIN",))
EHLO = b"EHLO c.example\r\n"


def judge(event):
    """PLAIN with the response ``good`` succeeds; LOGIN asks twice; ``close`` ends the session."""
    if isinstance(event, AuthRequested):
        if event.initial is None or event.mechanism == "LOGIN":
            return challenge(b"Username:" if event.mechanism == "LOGIN" else b"")
        return r.AUTHENTICATED if event.initial == b"good" else r.LOGIN_FAILED
    if isinstance(event, AuthAnswered):
        if event.response == b"close":
            return r.TOO_MANY_LOGINS.fill(hostname="mx.example.org")
        if event.response == b"more":
            return challenge(b"Password:")
        return r.AUTHENTICATED if event.response == b"good" else r.LOGIN_FAILED
    return r.READY_FOR_TLS if isinstance(event, StartTlsRequested) else answer(event)


class Run:
    def __init__(self, chunks, offer):
        self.session = ServerSession(TERMS, offer)
        self.events, self.output = [], b""
        for chunk in chunks:
            self.session.receive_data(chunk)
            while True:
                event = self.session.next_event()
                if event is NEED_DATA:
                    break
                assert event is not PAUSED
                self.events.append(event)
                if isinstance(event, SessionEnded):
                    break
                self.session.send(judge(event))
        self.output = self.session.take_output()

    @property
    def lines(self):
        found = [line.decode() for line in self.output.split(b"\r\n")[1:-1]]
        return [line for line in found if line[3:4] == " "]

    @property
    def facts(self):
        session = self.session
        return self.events, self.output, session.state, session.errors, session.commands, session.authenticated


def talk(data, offer=INSIDE):
    whole = Run([data], offer)
    assert Run([data[i : i + 1] for i in range(len(data))], offer).facts == whole.facts
    rng = random.Random(data)
    for _ in range(3):
        assert Run(cut(data, rng), offer).facts == whole.facts
    return whole


def b64(data):
    return base64.b64encode(data)


# -- what is offered ------------------------------------------------------------------------------


def extensions(offer):
    return Run([EHLO], offer).output.decode().split("\r\n")[2:-1]


def test_rfc_3207_4_starttls_is_offered_outside_tls_only():
    assert any(line[4:] == "STARTTLS" for line in extensions(CLEAR))
    assert not any("STARTTLS" in line for line in extensions(INSIDE))


def test_rfc_4954_3_mechanisms_are_offered_where_they_can_succeed():
    assert any(line[4:] == "AUTH SCRAM-SHA-256 PLAIN LOGIN" for line in extensions(INSIDE))
    assert not any("AUTH" in line for line in extensions(CLEAR) + extensions(Offer()))


def test_nothing_is_offered_by_itself():
    run = talk(EHLO + b"STARTTLS\r\nAUTH PLAIN\r\n", Offer())
    assert [line[:3] for line in run.lines[1:]] == ["502", "502"]


# -- STARTTLS -------------------------------------------------------------------------------------


def test_rfc_3207_4_2_everything_is_forgotten():
    session = ServerSession(TERMS, CLEAR)
    session.receive_data(EHLO + b"STARTTLS\r\n")
    assert isinstance(session.next_event(), Greeted)
    session.send(r.OK)
    assert session.next_event() == StartTlsRequested()
    session.take_output()
    session.send(r.READY_FOR_TLS)
    assert session.take_output() == b"220 2.0.0 Ready to start TLS\r\n"
    session.secured(INSIDE)
    assert session.state is State.CONNECTED
    session.receive_data(b"MAIL FROM:<a@example.net>\r\nSTARTTLS\r\nEHLO c.example\r\nSTARTTLS\r\n")
    assert session.next_event() == Greeted("c.example", extended=True)
    session.send(r.OK)
    assert session.next_event() is NEED_DATA
    said = session.take_output().decode().split("\r\n")
    assert said[0].startswith("503 5.5.1")
    assert said[1] == said[-2] == "503 5.5.1 Bad sequence of commands: TLS is active already"


def test_rfc_3207_4_a_refusal_changes_nothing():
    session = ServerSession(TERMS, CLEAR)
    session.receive_data(EHLO + b"STARTTLS\r\n")
    session.next_event()
    session.send(r.OK)
    session.next_event()
    session.send(r.LOGIN_NOT_TRIED)
    assert session.state is State.GREETED


@pytest.mark.parametrize("glued", [b"x", b"\r\n", b"EHLO c.example\r\n", b"MAIL FROM:<a@example.net>\r\n" * 100])
@pytest.mark.parametrize("size", [None, 1])
def test_t3_what_is_glued_to_starttls_is_dropped(glued, size):
    session = ServerSession(TERMS, CLEAR)
    session.receive_data(EHLO)
    session.next_event()
    session.send(r.OK)
    data = b"STARTTLS\r\n" + glued
    for i in range(0, len(data), size or len(data)):
        session.receive_data(data[i : i + (size or len(data))])
    assert session.next_event() == StartTlsRequested()
    session.take_output()
    session.send(r.READY_FOR_TLS)
    assert session.take_output() == b"554 5.5.1 Data after STARTTLS, closing connection\r\n"
    assert session.next_event() == SessionEnded(INJECTION)
    session.receive_data(b"EHLO c.example\r\n")
    assert session.next_event() is NEED_DATA
    assert session.state is State.CLOSED


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (b"STARTTLS\r\n", "503 5.5.1 Bad sequence of commands: send EHLO or HELO first"),
        (EHLO + b"STARTTLS now\r\n", "501 5.5.4 Syntax: STARTTLS"),
    ],
)
def test_starttls_out_of_place(lines, said):
    assert talk(lines, CLEAR).lines[-1] == said


def test_starttls_within_a_transaction():
    lines = EHLO + b"MAIL FROM:<a@example.net>\r\nSTARTTLS\r\n"
    assert talk(lines, Offer(starttls=True)).lines[-1].startswith("503 5.5.1")


# -- AUTH -----------------------------------------------------------------------------------------


def test_rfc_4954_4_one_response_with_the_command():
    run = talk(EHLO + b"AUTH PLAIN " + b64(b"good") + b"\r\nMAIL FROM:<a@example.net>\r\n")
    assert run.lines[1:] == ["235 2.7.0 Authentication succeeded", "250 2.1.0 Sender ok"]
    assert run.session.authenticated
    assert run.events[1] == AuthRequested("PLAIN", b"good")
    assert "good" not in repr(run.events)


def test_rfc_4954_4_challenges_and_responses():
    run = talk(EHLO + b"auth login\r\n" + b64(b"more") + b"\r\n" + b64(b"good") + b"\r\nNOOP\r\n")
    assert run.lines[1:] == [
        "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2.7.0 Authentication succeeded", "250 2.0.0 Ok",
    ]  # fmt: skip


def test_rfc_4954_4_an_empty_initial_response():
    assert talk(EHLO + b"AUTH PLAIN =\r\n").events[1] == AuthRequested("PLAIN", b"")


def test_an_empty_challenge_and_an_empty_response():
    run = talk(EHLO + b"AUTH PLAIN\r\n\r\n")
    assert run.output.endswith(b"334 \r\n535 5.7.8 Authentication credentials invalid\r\n")
    assert run.events[-1] == AuthAnswered(b"")


def test_rfc_4954_4_cancelled():
    run = talk(EHLO + b"AUTH LOGIN\r\n*\r\nNOOP\r\n")
    assert run.lines[-2:] == ["501 5.7.0 Authentication cancelled", "250 2.0.0 Ok"]


def test_rfc_4954_4_twice():
    good = b"AUTH PLAIN " + b64(b"good") + b"\r\n"
    assert talk(EHLO + good + good).lines[-1] == "503 5.5.1 Bad sequence of commands: already authenticated"


def test_rfc_4954_4_not_within_a_transaction():
    assert talk(EHLO + b"MAIL FROM:<a@example.net>\r\nAUTH PLAIN\r\n", OPTIONAL).lines[-1].startswith("503 5.5.1")
    assert talk(b"AUTH PLAIN\r\n").lines == ["503 5.5.1 Bad sequence of commands: send EHLO or HELO first"]


def test_rfc_4954_6_every_code():
    assert talk(EHLO + b"AUTH CRAM-MD5\r\n").lines[-1] == "504 5.5.4 Unrecognized authentication type"
    assert talk(EHLO + b"MAIL FROM:<>\r\n").lines[-1] == "530 5.7.0 Authentication required"
    assert talk(EHLO + b"AUTH PLAIN YmFk\r\n").lines[-1] == "535 5.7.8 Authentication credentials invalid"
    assert talk(EHLO + b"AUTH PLAIN\r\n", CLEAR).lines[-1].startswith("538 5.7.11")
    assert talk(EHLO + b"MAIL FROM:<>\r\n", CLEAR).lines[-1] == "530 5.7.0 Must issue a STARTTLS command first"
    assert talk(EHLO + b"AUTH\r\n").lines[-1].startswith("501 5.5.4")
    assert talk(EHLO + b"AUTH PL%IN\r\n").lines[-1].startswith("501 5.5.4")
    assert talk(EHLO + b"AUTH " + b"A" * 21 + b"\r\n").lines[-1].startswith("501 5.5.4")


def test_what_needs_nobody_is_answered_before_logging_in():
    assert [line[:3] for line in talk(EHLO + b"NOOP\r\nRSET\r\nHELP\r\nQUIT\r\n").lines] == [
        "250", "250", "250", "214", "221",
    ]  # fmt: skip


@pytest.mark.parametrize("bad", [b"Zm9v=", b"Zm9", b"====", b"Zm9v Zm9v", b"Zm9v\x01", b"Zh==", b"Zm9v\xff", b"Z"])
def test_rfc_4954_4_base64_is_strict(bad):
    run = talk(EHLO + b"AUTH LOGIN\r\n" + bad + b"\r\nNOOP\r\n")
    assert run.lines[-2:] == ["501 5.5.2 Cannot decode the response", "250 2.0.0 Ok"]
    with pytest.raises(CommandError):
        decode(bad)


def test_an_initial_response_that_is_no_base64():
    assert talk(EHLO + b"AUTH PLAIN Zm9v Zm9v\r\n").lines[-1].startswith("501 5.5.2")


def test_rfc_4954_4_a_response_of_12288_octets():
    longest = b64(b"x" * (MAX_RESPONSE // 4 * 3 - 3))
    assert MAX_RESPONSE - 4 <= len(longest) + 2 <= MAX_RESPONSE
    assert Run([EHLO + b"AUTH LOGIN\r\n" + longest + b"\r\n"], INSIDE).lines[-1].startswith("535")
    run = Run([EHLO + b"AUTH LOGIN\r\n", b"A" * 1_000_000, b"\r\nNOOP\r\n"], INSIDE)
    assert run.lines[-2:] == ["500 5.5.6 Authentication exchange line is too long", "250 2.0.0 Ok"]
    assert run.session.backlog == 0


def test_the_last_failure_ends_the_session():
    run = talk(EHLO + b"AUTH LOGIN\r\n" + b64(b"close") + b"\r\nNOOP\r\n")
    assert run.lines[-1].startswith("421 4.7.0")
    assert run.events[-1] == SessionEnded("refused")


def test_bad_responses_are_errors_like_others():
    run = talk(EHLO + b"AUTH LOGIN\r\n!\r\n" * 20)
    assert run.lines[-1].startswith("421 4.7.0")


def test_354_is_no_answer_to_auth():
    session = ServerSession(TERMS, INSIDE)
    session.receive_data(EHLO + b"AUTH PLAIN\r\n")
    session.next_event()
    session.send(r.OK)
    session.next_event()
    with pytest.raises(AnswerError):
        session.send(r.START_MAIL)


def test_no_line_with_a_password_is_remembered():
    before = grammar._remembered.cache_info().currsize
    for verb in (b"AUTH", b"auth"):
        grammar.parse(verb + b" PLAIN AGEAYmFuYW5h")
    assert grammar._remembered.cache_info().currsize == before
