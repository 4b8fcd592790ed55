"""The server session: dialogues as a client has them, each run whole, cut anywhere, and byte by byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsvc.mail import reply as r
from netsvc.mail.address import NULL, Address
from netsvc.mail.envelope import Recipient
from netsvc.smtp import states
from netsvc.smtp.events import (
    FLUSH,
    NEED_DATA,
    PAUSED,
    ContentEnded,
    ContentReceived,
    DataRequested,
    Greeted,
    RecipientGiven,
    SenderGiven,
    SessionEnded,
)
from netsvc.smtp.server import AnswerError, ServerSession
from netsvc.smtp.states import State
from netsvc.smtp.terms import Terms
from tests.smtp.dialogues import ENVELOPE, OPENING, TERMS, Talk, answer, cut, lines, talk

ANN, ME = Address("ann", "example.org"), Address("me", "example.net")


def test_one_message():
    t = talk(OPENING + b"Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n")
    assert t.output.decode() == (
        "220 mx.example.org ESMTP netsvc\r\n"
        "250-mx.example.org\r\n"
        "250-PIPELINING\r\n"
        "250-SIZE 100000\r\n"
        "250-8BITMIME\r\n"
        "250-BINARYMIME\r\n"
        "250-CHUNKING\r\n"
        "250-SMTPUTF8\r\n"
        "250-DSN\r\n"
        "250-LIMITS RCPTMAX=1000\r\n"
        "250 ENHANCEDSTATUSCODES\r\n"
        "250 2.1.0 Sender ok\r\n"
        "250 2.1.5 Recipient ok\r\n"
        "354 End data with <CRLF>.<CRLF>\r\n"
        "250 2.0.0 0123456789ABC queued\r\n"
        "221 2.0.0 mx.example.org closing connection\r\n"
    )
    assert t.events == [
        Greeted("client.example", True),
        SenderGiven(ME),
        RecipientGiven(ANN),
        DataRequested(),
        ContentEnded(20),
        SessionEnded("quit"),
    ]
    assert t.messages == [(ME, (ANN,), b"Subject: x\r\n\r\n.dot\r\n")]
    assert t.session.state is State.CLOSED


@pytest.mark.parametrize(
    ("commands", "codes"),
    [
        # Sequence.
        (["MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA"], [503, 503, 503]),
        (["EHLO c", "RCPT TO:<a@b>", "DATA"], [250, 503, 503]),
        (["EHLO c", "MAIL FROM:<a@b>", "MAIL FROM:<a@b>", "DATA"], [250, 250, 503, 503]),
        (["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<a@b>", "MAIL FROM:<c@d>"], [250, 250, 250, 503]),
        (["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<nobody@b>", "DATA"], [250, 250, 550, 554]),
        (
            ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<nobody@b>", "RSET", "MAIL FROM:<a@b>", "DATA"],
            [250, 250, 550, 250, 250, 503],
        ),
        (["EHLO c", "MAIL FROM:<refused@b>", "RCPT TO:<a@b>", "MAIL FROM:<a@b>"], [250, 452, 503, 250]),
        # Resets.
        (["EHLO c", "MAIL FROM:<a@b>", "EHLO d", "RCPT TO:<a@b>"], [250, 250, 250, 503]),
        (["HELO c", "MAIL FROM:<a@b>", "RCPT TO:<a@b>", "RSET", "DATA"], [250, 250, 250, 250, 503]),
        (["RSET", "MAIL FROM:<a@b>"], [250, 503]),
        # What needs no session.
        (["NOOP", "NOOP x", "VRFY ann", "VRFY", "EXPN list", "HELP", "HELP x"], [250, 250, 252, 252, 502, 214, 214]),
        (["LHLO c", "AUTH PLAIN", "STARTTLS", "ETRN x", "XYZZY", ""], [502, 502, 502, 502, 500, 500]),
        # Errors leave everything as it was.
        (
            ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<bad", "FOO", "RCPT TO:<a@b>", "DATA x"],
            [250, 250, 501, 500, 250, 501],
        ),
        (["EHLO c", "EHLO", "MAIL FROM:<a@b>"], [250, 501, 250]),
        # Sizes.
        (["EHLO c", "MAIL FROM:<a@b> SIZE=100000", "RSET", "MAIL FROM:<a@b> SIZE=100001"], [250, 250, 250, 552]),
        (["QUIT", "NOOP"], [221]),
        (["HELO c", "MAIL FROM:<a@b>", "RCPT TO:<close@b>", "NOOP"], [250, 250, 421]),
    ],
)
def test_replies(commands, codes):
    assert talk(lines(*commands)).codes == codes


def test_helo_gets_one_line():
    assert talk(lines("HELO c")).output.endswith(b"netsvc\r\n250 mx.example.org\r\n")


def test_several_messages_in_one_session():
    t = talk(OPENING + b"one\r\n.\r\n" + OPENING[len(lines("EHLO client.example")) :] + b"two\r\n.\r\nQUIT\r\n")
    assert [m[2] for m in t.messages] == [b"one\r\n", b"two\r\n"]
    assert t.codes == [250, 250, 250, 354, 250, 250, 250, 354, 250, 221]


def test_a_refused_message_ends_its_transaction_and_not_the_session():
    def full(event):
        return r.NO_SPACE if isinstance(event, ContentEnded) else answer(event)

    t = talk(OPENING + b"x\r\n.\r\nRCPT TO:<ann@example.org>\r\nMAIL FROM:<>\r\n", answer=full)
    assert t.codes == [250, 250, 250, 354, 452, 503, 250]
    assert t.session.state is State.MAIL


def test_a_refused_data_leaves_the_transaction():
    def busy(event):
        return r.NO_SPACE if isinstance(event, DataRequested) else answer(event)

    t = talk(OPENING + b"NOOP\r\n", answer=busy)
    assert t.codes == [250, 250, 250, 452, 250]
    assert t.session.state is State.RCPT


def test_a_refused_greeting_greets_nobody():
    t = talk(lines("EHLO c", "MAIL FROM:<a@b>"), answer=lambda _: r.TRANSACTION_FAILED)
    assert t.codes == [554, 503]
    assert t.session.state is State.CONNECTED


def test_the_transaction_is_the_sessions():
    s = Talk([lines("EHLO c", "MAIL FROM:<me@example.net> SIZE=9 BODY=8BITMIME", "RCPT TO:<ann@example.org>")]).session
    assert (s.reverse_path, s.size, s.body, s.recipients) == (ME, 9, "8BITMIME", [Recipient(ANN)])
    s.receive_data(b"RSET\r\n")
    assert s.next_event() is NEED_DATA
    assert (s.reverse_path, s.size, s.body, s.recipients) == (NULL, 0, "7BIT", [])
    assert s.state is State.IDLE


def test_while_an_answer_is_awaited_nothing_is_read():
    s = ServerSession(TERMS)
    s.receive_data(lines("EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<a@b>"))
    assert s.take_output().startswith(b"220")
    assert isinstance(s.next_event(), Greeted)
    for _ in range(3):
        s.receive_data(b"NOOP\r\n")
        assert s.next_event() is PAUSED
    assert s.take_output() == b""
    assert s.backlog == len(lines("MAIL FROM:<a@b>", "RCPT TO:<a@b>", "NOOP", "NOOP", "NOOP"))
    s.send(r.OK)
    assert s.asked is None
    assert isinstance(s.next_event(), SenderGiven)
    assert s.asked == SenderGiven(Address("a", "b"))


def test_answers_must_fit():
    s = ServerSession(TERMS)
    with pytest.raises(AnswerError):
        s.send(r.OK)
    s.receive_data(lines("EHLO c", "MAIL FROM:<>", "RCPT TO:<a@b>", "DATA"))
    s.next_event()
    with pytest.raises(AnswerError):
        s.send(r.START_MAIL)
    for _ in range(3):
        s.send(r.OK)
        s.next_event()
    assert s.asked == DataRequested()
    with pytest.raises(AnswerError):
        s.send(r.OK)
    s.send(r.START_MAIL)
    assert s.state is State.DATA


def test_a_reply_that_is_no_row_of_the_table_is_sent_all_the_same():
    own = r.Reply(450, "4.2.1", ("busy", "come again"))
    t = talk(lines("EHLO c", "MAIL FROM:<>"), answer=lambda e: r.OK if isinstance(e, Greeted) else own)
    assert t.output.endswith(b"450-4.2.1 busy\r\n450 4.2.1 come again\r\n")


@pytest.mark.parametrize("done", [b"", b"EHLO c\r\n", ENVELOPE, OPENING, OPENING + b"half a line"])
def test_closed_from_outside(done):
    t = Talk([done])
    s = t.session
    s.close(r.SHUTTING_DOWN.fill(hostname="mx.example.org"), "shutdown")
    assert s.next_event() == SessionEnded("shutdown")
    assert s.take_output() == b"421 4.3.2 mx.example.org is shutting down, closing connection\r\n"
    s.close(r.SHUTTING_DOWN, "again")
    s.receive_data(b"NOOP\r\n")
    assert s.next_event() is NEED_DATA
    assert s.take_output() == b""
    assert s.backlog == 0
    assert s.recipients == []


def test_closed_while_an_answer_is_awaited():
    s = ServerSession(TERMS)
    s.receive_data(b"EHLO c\r\n")
    s.next_event()
    s.close(r.TIMED_OUT, "timeout")
    assert s.asked is None
    assert s.next_event() == SessionEnded("timeout")


def test_many_replies_are_sent_before_more_is_read():
    s = ServerSession(TERMS)
    s.receive_data(b"NOOP\r\n" * 1000)
    flushes = 0
    while s.next_event() is FLUSH:
        assert len(s.take_output()) < 2000
        flushes += 1
    assert flushes >= 10
    assert s.commands == 1000


def test_early_talk_is_tolerated():
    s = ServerSession(TERMS)
    s.receive_data(b"EHLO c\r\n")
    assert isinstance(s.next_event(), Greeted)
    s.send(r.OK)
    assert s.take_output().startswith(b"220 mx.example.org ESMTP netsvc\r\n250-mx")


def test_terms_that_no_session_could_keep():
    for wrong in ({"bare_newline": "maybe"}, {"max_message_size": -1}, {"max_recipients": 0}, {"max_errors": 0}):
        with pytest.raises(ValueError, match=r"."):
            Terms("mx.example.org", **wrong)


def test_without_a_limit_of_size():
    t = talk(lines("EHLO c", "MAIL FROM:<> SIZE=99999999999999999999"), Terms("mx.example.org"))
    assert b"250-SIZE 0\r\n" in t.output
    assert t.codes == [250, 250]


def test_the_tables_are_whole():
    commands = set(State) - {State.DATA, State.COMMIT, State.CLOSED}
    assert set(states.REFUSED) == set(states.AFTER_RESET) == commands
    assert set(states.ACCEPTED.values()) < set(State)
    assert states.UNDER_WAY.isdisjoint({State.CONNECTED, State.GREETED, State.IDLE, State.CLOSED})


FRAGMENTS = st.sampled_from(
    [
        *(
            c.encode() + b"\r\n"
            for c in (
                "EHLO c",
                "HELO c",
                "MAIL FROM:<me@example.net>",
                "MAIL FROM:<> SIZE=5 BODY=8BITMIME",
                "RCPT TO:<ann@example.org>",
                "RCPT TO:<nobody@example.org>",
                "RCPT TO:<Postmaster>",
                "DATA",
                "DATA",
                "RSET",
                "NOOP",
                "VRFY x",
                "HELP",
                "bogus",
                "QUIT",
                ".",
                "..",
                "text",
            )
        ),
        OPENING,
        b"\r\n.\r\n",
        b".",
        b"\r",
        b"\n",
        b"\0",
        b"x" * 3000,
        b"\xff",
    ]
)


@settings(deadline=None, max_examples=60)
@given(st.lists(FRAGMENTS, max_size=25), st.randoms(use_true_random=False), st.sampled_from(["reject", "normalize"]))
def test_however_cut_all_is_the_same(fragments, rng, bare_newline):
    data = b"".join(fragments)
    terms = Terms("mx.example.org", max_message_size=4000, max_recipients=3, bare_newline=bare_newline)
    whole = Talk([data], terms)
    assert Talk(cut(data, rng, 3), terms).facts == whole.facts
    assert Talk(cut(data, rng, 500), terms).facts == whole.facts
    assert Talk([bytes([c]) for c in data], terms).facts == whole.facts


def test_content_is_given_as_it_comes():
    s = Talk([OPENING]).session
    s.receive_data(b"a" * 1000)
    assert s.next_event() == ContentReceived(b"a" * 1000)
    assert s.next_event() is NEED_DATA


def test_what_comes_between_content_and_its_end_stays_behind():
    s = Talk([OPENING]).session
    s.receive_data(b"a\r\n.\r\nRS")
    assert s.next_event() == ContentReceived(b"a\r\n")
    s.receive_data(b"ET\r\n")
    assert s.next_event() == ContentEnded(3)
    s.send(r.OK)
    assert s.next_event() is NEED_DATA
    assert s.take_output() == b"250 2.0.0 Ok\r\n" * 2
