"""STARTTLS and AUTH as a silent client: whole, byte by byte, and against who meddles."""

import base64

import pytest

from netsvc.smtp.client import ClientSession
from netsvc.smtp.clientevents import (
    Authenticated,
    Challenged,
    Ended,
    NotAuthenticated,
    Ready,
    TlsBegins,
    TlsRefused,
)
from netsvc.smtp.offering import Transaction
from netsvc.smtp.opening import MAX_CHALLENGES, InjectedError, Opening
from netsvc.smtp.replies import PeerError

EHLO = b"250-mx.example.net\r\n250-STARTTLS\r\n250 AUTH PLAIN login\r\n"


class Talk:
    def __init__(self, step=0):
        self.session = ClientSession("mx1.example.org")
        self.step = step

    def feed(self, data):
        pieces = [data[i : i + self.step] for i in range(0, len(data), self.step)] if self.step else [data]
        return [event for piece in pieces for event in self.session.receive(piece)]

    def sent(self):
        return self.session.data_to_send()


@pytest.fixture(params=[0, 1, 3], ids=["whole", "bytewise", "threes"])
def talk(request):
    talk = Talk(request.param)
    talk.feed(b"220 mx.example.net\r\n")
    talk.sent()
    assert talk.feed(EHLO) == [Ready()]
    return talk


def test_all_begins_anew_inside_tls(talk):
    session = talk.session
    assert session.mechanisms == {"PLAIN", "LOGIN"}
    session.start_tls()
    assert talk.sent() == b"STARTTLS\r\n"
    assert talk.feed(b"220 go\r\n") == [TlsBegins()]
    assert (session.state, session.tls) == ("handshake", False)
    session.secured()
    assert (session.tls, session.extensions, session.peer_name, session.mechanisms) == (True, {}, "", frozenset())
    assert talk.sent() == b"EHLO mx1.example.org\r\n"
    assert talk.feed(b"250 mx.example.net\r\n") == [Ready()]


def test_tls_before_the_banner():
    talk = Talk()
    talk.session.secured()
    assert talk.sent() == b""
    talk.feed(b"220 hi\r\n")
    assert talk.sent() == b"EHLO mx1.example.org\r\n"


def test_tls_that_is_refused(talk):
    talk.session.start_tls()
    (event,) = talk.feed(b"454 4.7.0 not now\r\n")
    assert isinstance(event, TlsRefused)
    assert (event.reply.code, talk.session.state) == (454, "ready")
    talk.session.start_tls()
    (event,) = talk.feed(b"421 4.3.2 bye\r\n")
    assert isinstance(event, Ended)


def test_replies_that_starttls_does_not_have(talk):
    talk.session.start_tls()
    with pytest.raises(PeerError):
        talk.feed(b"250 ok\r\n")


@pytest.mark.parametrize("behind", [b"2", b"250 ok\r\n", b"\r\n", b"220-", b"\x16\x03\x01"])
def test_octets_in_clear_where_tls_begins(talk, behind):
    talk.session.start_tls()
    with pytest.raises(InjectedError):
        talk.feed(b"220 go\r\n" + behind)
    assert not talk.session.tls


@pytest.mark.parametrize("begin", [lambda s: s.start_tls(), lambda s: s.authenticate("PLAIN", b"x")])
@pytest.mark.parametrize("early", [b"2", b"220-go\r\n", b"220-go\r\n220"])
def test_octets_that_came_before_they_were_asked_for(talk, begin, early):
    talk.feed(early)
    with pytest.raises(InjectedError):
        begin(talk.session)


def test_a_whole_reply_that_nobody_asked_for(talk):
    with pytest.raises(PeerError):
        talk.feed(b"220 go\r\n")


def test_nothing_is_opened_within_a_transaction(talk):
    talk.session.begin(Transaction("a@example.org", ("b@example.net",), 1, False))
    for begin in (talk.session.start_tls, lambda: talk.session.authenticate("PLAIN")):
        with pytest.raises(RuntimeError):
            begin()


def test_auth_in_one_line(talk):
    talk.session.authenticate("PLAIN", b"\0ann\0secret")
    assert talk.sent() == b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"
    assert talk.feed(b"235 2.7.0 hello\r\n") == [Authenticated()]
    assert talk.session.authenticated
    talk.session.begin(Transaction("a@example.org", ("b@example.net",), 1, False))
    assert b"MAIL FROM:<a@example.org> AUTH=<>\r\n" in talk.sent()


def test_auth_by_questions(talk):
    talk.session.authenticate("LOGIN")
    assert talk.sent() == b"AUTH LOGIN\r\n"
    assert talk.feed(b"334 VXNlcm5hbWU6\r\n") == [Challenged(b"Username:")]
    talk.session.respond(b"ann")
    assert talk.sent() == b"YW5u\r\n"
    assert talk.feed(b"334 \r\n") == [Challenged(b"")]
    talk.session.cancel()
    assert talk.sent() == b"*\r\n"
    (event,) = talk.feed(b"501 5.7.0 cancelled\r\n")
    assert isinstance(event, NotAuthenticated)
    assert (event.reply.code, talk.session.authenticated, talk.session.state) == (501, False, "ready")
    assert not any("VXNl" in said.wire for way, said in talk.session.dialogue if way == "<")


def test_an_empty_first_response(talk):
    talk.session.authenticate("EXTERNAL", b"")
    assert talk.sent() == b"AUTH EXTERNAL =\r\n"


def test_a_first_response_too_long_for_the_command(talk):
    for asked, events in ((b"334 \r\n", 0), (b"334 eA==\r\n", 1)):
        talk.session.authenticate("PLAIN", b"x" * 400)
        assert talk.sent() == b"AUTH PLAIN\r\n"
        assert len(talk.feed(asked)) == events
        if events:
            talk.session.cancel()
        assert talk.sent() == (b"*\r\n" if events else base64.b64encode(b"x" * 400) + b"\r\n")
        talk.feed(b"535 no\r\n")


def test_questions_without_end(talk):
    talk.session.authenticate("LOGIN")
    for _ in range(MAX_CHALLENGES):
        talk.feed(b"334 \r\n")
        talk.session.respond(b"")
    with pytest.raises(PeerError):
        talk.feed(b"334 \r\n")


@pytest.mark.parametrize("said", [b"334 what?\r\n", b"334 YQ\r\n", b"250 ok\r\n", b"354 go\r\n"])
def test_replies_that_auth_does_not_have(talk, said):
    talk.session.authenticate("PLAIN", b"x")
    with pytest.raises(PeerError):
        talk.feed(said)


def test_lmtp_has_no_second_hello():
    class Lmtp(ClientSession):
        hello = "LHLO"

    talk = Talk()
    talk.session = Lmtp("mx1.example.org")
    talk.feed(b"220 hi\r\n")
    assert talk.sent() == b"LHLO mx1.example.org\r\n"
    (event,) = talk.feed(b"500 what?\r\n")
    assert isinstance(event, Ended)


def test_leave_is_taken(talk):
    talk.session.quit()
    assert talk.sent() == b"QUIT\r\n"
    (event,) = talk.feed(b"221 bye\r\n")
    assert isinstance(event, Ended)
    assert talk.feed(b"more\r\n") == []


def test_the_opening_alone_ends_with_a_peer_that_says_goodbye():
    opening = Opening("mx1.example.org")
    (ended,) = opening.receive(b"421 4.3.2 not now\r\n")
    assert (ended.reply.code, opening.state) == (421, "ended")
