"""The LMTP client session: scripted stores, lost sessions, and our own server's LMTP service."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail.envelope import Wishes
from netsvc.smtp.clientevents import END_OF_DATA, RCPT_TO, Completed, Ended, Ready, SendContent
from netsvc.smtp.lmtp import LmtpSession
from netsvc.smtp.offering import Transaction
from netsvc.smtp.replies import PeerError

OPENING = b"220 store LMTP\r\n"
LHLO = b"250-store.example.net\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
CHUNKS = b"250-store.example.net\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
PLAIN = b"250 store.example.net\r\n"
BODY = b"Subject: hi\r\n\r\n.dot\r\n"
ENVELOPE = b"250 ok\r\n250 ok\r\n550 5.1.1 nobody\r\n250 ok\r\n"


def three(*names):
    return Transaction("a@example.org", names or ("x@example.net", "y@example.net", "z@example.net"), len(BODY), False)


class Talk:
    def __init__(self, step=0):
        self.session = LmtpSession("mx1.example.org")
        self.step = step
        self.events = []
        self.sent = b""

    def feed(self, data):
        for at in range(0, len(data), self.step or len(data) or 1):
            for event in self.session.receive(data[at : at + (self.step or len(data))]):
                self.events.append(event)
                if isinstance(event, SendContent):
                    self.sent += self.session.content(BODY) + self.session.finish()
            self.sent += self.session.data_to_send()
        return self

    def begin(self, transaction):
        self.session.begin(transaction)
        self.sent += self.session.data_to_send()
        return self

    def verdicts(self):
        (completed,) = [event for event in self.events if isinstance(event, Completed)]
        return [(verdict.stage, verdict.reply.code, verdict.delivered) for verdict in completed.verdicts]


@pytest.fixture(params=[0, 1, 3], ids=["whole", "bytewise", "threes"])
def talk(request):
    return Talk(request.param)


@pytest.mark.parametrize("lhlo", [LHLO, CHUNKS, PLAIN])
def test_each_recipient_has_its_own_verdict(talk, lhlo):
    talk.feed(OPENING).feed(lhlo).begin(three())
    assert talk.sent.startswith(b"LHLO mx1.example.org\r\nMAIL FROM:<a@example.org>")
    talk.feed(ENVELOPE if lhlo is CHUNKS else ENVELOPE + b"354 go\r\n")
    assert b"EHLO" not in talk.sent
    assert talk.session.dotted
    talk.feed(b"250 2.1.5 kept\r\n")
    assert talk.session.dotted
    assert [v and v.reply.code for v in talk.session.decided] == [250, 550, None]
    talk.feed(b"452 4.2.2 full\r\n")
    assert talk.verdicts() == [(END_OF_DATA, 250, True), (RCPT_TO, 550, False), (END_OF_DATA, 452, False)]
    assert talk.session.state == "ready"
    assert talk.session.decided == ()
    talk.sent = b""
    talk.begin(three("x@example.net"))
    assert b"RSET" not in talk.sent


def test_a_store_that_knows_no_lhlo_is_none(talk):
    talk.feed(OPENING).feed(b"500 5.5.1 what\r\n")
    assert isinstance(talk.events[-1], Ended)
    assert b"HELO" not in talk.sent


def test_nobody_there(talk):
    talk.feed(OPENING).feed(LHLO).begin(three("x@example.net"))
    talk.feed(b"250 ok\r\n550 5.1.1 nobody\r\n503 5.5.1 no valid recipients\r\n")
    assert talk.verdicts() == [(RCPT_TO, 550, False)]


def test_421_in_the_midst_decides_the_rest(talk):
    talk.feed(OPENING).feed(LHLO).begin(three("x@example.net", "y@example.net"))
    talk.feed(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n").feed(b"250 kept\r\n421 4.3.2 going\r\n")
    assert talk.verdicts() == [(END_OF_DATA, 250, True), (END_OF_DATA, 421, False)]
    assert isinstance(talk.events[-1], Ended)


def test_content_for_nobody_is_not_answered(talk):
    talk.feed(OPENING).feed(LHLO).begin(three("x@example.net"))
    talk.sent = b""
    talk.feed(b"250 ok\r\n550 no\r\n354 go\r\n")
    assert talk.sent == b".\r\n"
    assert talk.verdicts() == [(RCPT_TO, 550, False)]
    talk.sent = b""
    talk.begin(three("x@example.net"))
    assert talk.sent.startswith(b"RSET\r\n")


@pytest.mark.parametrize("answer", [b"354 more\r\n", b"300 no\r\n"])
def test_an_answer_that_is_none(talk, answer):
    talk.feed(OPENING).feed(LHLO).begin(three("x@example.net")).feed(b"250 ok\r\n250 ok\r\n354 go\r\n")
    with pytest.raises(PeerError):
        talk.feed(answer)


def test_one_answer_too_many(talk):
    talk.feed(OPENING).feed(LHLO).begin(three("x@example.net")).feed(b"250 ok\r\n250 ok\r\n354 go\r\n")
    talk.feed(b"250 kept\r\n")
    with pytest.raises(PeerError):
        talk.feed(b"250 and again\r\n")


def test_a_refusal_while_content_goes_out_leaves_nothing_to_finish():
    session = LmtpSession("mx1.example.org")
    assert session.receive(OPENING) == []
    session.data_to_send()
    assert session.receive(LHLO) == [Ready()]
    session.begin(three("x@example.net"))
    session.data_to_send()
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.content(BODY)
    session.receive(b"452 4.3.1 no room\r\n")
    assert session.finish() == b""


@given(
    st.lists(st.sampled_from([b"250 ok", b"550 5.1.1 no", b"451 4.3.0 later"]), min_size=1, max_size=6),
    st.lists(st.sampled_from([b"250 ok", b"552 5.2.2 full", b"450 4.2.1 busy"]), min_size=6, max_size=6),
)
def test_verdicts_are_those_of_their_recipients(rcpts, ends):
    talk = Talk().feed(OPENING).feed(LHLO).begin(three(*(f"r{n}@example.net" for n in range(len(rcpts)))))
    talk.feed(b"250 ok\r\n" + b"".join(line + b"\r\n" for line in rcpts))
    accepted = [n for n, line in enumerate(rcpts) if line.startswith(b"250")]
    talk.feed(b"354 go\r\n" if accepted else b"503 5.5.1 nobody\r\n")
    answers = dict(zip(accepted, ends, strict=False))
    talk.feed(b"".join(line + b"\r\n" for line in answers.values()) or b"")
    assert [code for _, code, _ in talk.verdicts()] == [
        int(answers.get(n, line)[:3]) if line.startswith(b"250") else int(line[:3]) for n, line in enumerate(rcpts)
    ]


def test_content_waits_for_the_replies_to_recipients():
    assert LmtpSession("mx1.example.org").hurry() is False


@pytest.mark.parametrize(
    ("near", "tls", "verified", "fine"),
    [(True, False, False, True), (False, True, True, True), (False, True, False, False), (False, False, False, False)],
)
def test_what_must_be_kept_from_listeners_goes_where_nobody_listens(near, tls, verified, fine):
    talk = Talk().feed(OPENING).feed(LHLO)
    session = talk.session
    session.near, session.tls, session.verified = near, tls, verified
    transaction = three()._replace(wishes=Wishes(requiretls=True))
    assert (session.objection(transaction) is None) is fine
    assert session.objection(three()) is None
    session.begin(transaction)
    assert b"REQUIRETLS" not in session.data_to_send()
