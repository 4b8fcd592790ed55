"""What listeners offer, and what MAIL and RCPT may ask for where: dialogues whole, byte by byte and cut anywhere."""

import pytest

from netsvc.mail import reply as r
from netsvc.mail.address import parse_address
from netsvc.mail.envelope import NOTIFY_NEVER, NOTIFY_SUCCESS, RET_HDRS, Recipient, Wishes
from netsvc.smtp.events import NEED_DATA, ContentEnded, DataRequested, Greeted, SessionEnded
from netsvc.smtp.security import Offer
from netsvc.smtp.server import AnswerError, ServerSession
from netsvc.smtp.states import State
from netsvc.smtp.terms import MOST_HELLOS, Terms
from tests.smtp.dialogues import TERMS, Talk, answer, lines, talk

NOW = 1_795_446_000.0
SUBMISSION = Terms("mx.example.org", service="submission", clock=lambda: NOW)
LMTP = Terms("mx.example.org", 100_000, service="lmtp")
INSIDE = Offer(tls=True)


def after(*commands, terms=TERMS, offer=None, authenticated=False):
    """The session after these commands, and the codes of its replies."""
    session = ServerSession(terms) if offer is None else ServerSession(terms, offer)
    session.authenticated = authenticated
    session.receive_data(lines("EHLO c", *commands))
    while session.next_event() is not NEED_DATA:
        session.send(answer(session.asked))
    return session, [line[:3].decode() for line in session.take_output().split(b"\r\n") if line[3:4] == b" "][2:]


def test_what_is_offered_where():
    common = ("PIPELINING", "SIZE 0", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8", "DSN", "LIMITS RCPTMAX=1000")
    assert Terms("mx").extensions() == (*common, "ENHANCEDSTATUSCODES")
    assert Terms("mx").extensions(tls=True) == (*common, "REQUIRETLS", "ENHANCEDSTATUSCODES")
    more = ("FUTURERELEASE 2592000 2026-12-23T00:00:00Z", "DELIVERBY", "MT-PRIORITY MIXER")
    assert SUBMISSION.extensions() == (*common, *more, "ENHANCEDSTATUSCODES")
    assert Terms("mx", service="submission").extensions() == (*common, *more[1:], "ENHANCEDSTATUSCODES")
    assert "LIMITS RCPTMAX=3 MAILMAX=7" in Terms("mx", max_recipients=3, max_messages=7).extensions()
    assert Terms("mx", xclient=True).extensions()[-2].startswith("XCLIENT ")


def test_the_reply_to_ehlo_is_made_once_a_day():
    clock = [NOW]
    terms = Terms("mx", service="submission", clock=lambda: clock[0])
    first = terms.extended_hello()
    assert terms.extended_hello() is first
    for _ in range(MOST_HELLOS + 2):
        clock[0] += 86_400
        assert terms.extended_hello() != first


@pytest.mark.parametrize("wrong", [{"service": "imap"}, {"max_messages": -1}])
def test_terms_nobody_could_keep(wrong):
    with pytest.raises(ValueError, match=r"service is|a limit"):
        Terms("mx", **wrong)


@pytest.mark.parametrize(
    ("parameter", "where", "code"),
    [
        ("SMTPUTF8", {}, "250"),
        ("RET=HDRS ENVID=x", {}, "250"),
        ("BODY=BINARYMIME", {}, "250"),
        # RFC 8689 2: inside TLS only.
        ("REQUIRETLS", {}, "555"),
        ("REQUIRETLS", {"offer": INSIDE}, "250"),
        # RFC 4865, 2852, 6710: for users who have logged in.
        *((p, {}, "555") for p in ("HOLDFOR=60", "HOLDUNTIL=2026-11-24T00:00:00Z", "BY=60;R", "MT-PRIORITY=3")),
        *((p, {"terms": SUBMISSION}, "550") for p in ("HOLDFOR=60", "BY=60;N", "MT-PRIORITY=-3")),
        *(
            (p, {"terms": SUBMISSION, "authenticated": True}, "250")
            for p in ("HOLDFOR=60", "HOLDUNTIL=2026-11-24T00:00:00Z", "BY=60;R", "BY=-60;NT", "MT-PRIORITY=3")
        ),
        ("HOLDFOR=2592001", {"terms": SUBMISSION, "authenticated": True}, "501"),
        ("HOLDUNTIL=2027-01-01T00:00:00Z", {"terms": SUBMISSION, "authenticated": True}, "501"),
        ("HOLDFOR=60", {"terms": Terms("mx", service="submission"), "authenticated": True}, "555"),
    ],
)
def test_what_mail_may_ask_for(parameter, where, code):
    _, codes = after(f"MAIL FROM:<a@b> {parameter}", **where)
    assert codes == [code]


def test_wishes_are_the_transactions():
    session, codes = after(
        "MAIL FROM:<a@b> RET=HDRS ENVID=x SMTPUTF8",
        "RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;e@f",
        "RCPT TO:<c@e> NOTIFY=SUCCESS",
    )
    assert codes == ["250"] * 3
    assert session.wishes == Wishes(utf8=True, ret=RET_HDRS, envid="x")
    c_at_d, c_at_e = parse_address("c@d"), parse_address("c@e")
    assert session.recipients == [Recipient(c_at_d, "rfc822;e@f", NOTIFY_NEVER), Recipient(c_at_e, "", NOTIFY_SUCCESS)]
    session.receive_data(b"RSET\r\n")
    session.next_event()
    assert session.wishes == Wishes()


UTF8 = "MAIL FROM:<\u00fc@b.example>".encode()


@pytest.mark.parametrize(
    ("commands", "codes"),
    [
        # RFC 6531 3.4: only where MAIL asked for it.
        ([UTF8], [553]),
        ([UTF8 + b" SIZE=1"], [553]),
        ([UTF8 + b" SMTPUTF8"], [250]),
        ([b"MAIL FROM:<a@b> SMTPUTF8", "RCPT TO:<\u00fc@b>".encode()], [250, 250]),
        ([b"MAIL FROM:<a@b>", "RCPT TO:<\u00fc@b>".encode()], [250, 553]),
        ([b"MAIL FROM:<a@b>", "RCPT TO:<c@b> ORCPT=utf-8;\u00fc@b".encode()], [250, 553]),
        ([b"MAIL FROM:<a@b>", "RCPT TO:<c@\u00fc.example>".encode()], [250, 553]),
        # T25.
        ([b"MAIL FROM:<\xc0\xaf@b> SMTPUTF8"], [553]),
        ([b"MAIL FROM:<\xed\xa0\x80@b> SMTPUTF8"], [553]),
        ([b"MAIL FROM:<a\xff@b> SMTPUTF8"], [553]),
        (["MAIL FROM:<a\u202eb@c> SMTPUTF8".encode()], [553]),
        ([b"MAIL FROM:<\xc3\xbc\x07@b> SMTPUTF8"], [501]),
    ],
)
def test_utf8(commands, codes):
    t = talk(b"EHLO c\r\n" + b"".join(command + b"\r\n" for command in commands))
    assert t.codes == [250, *codes]
    assert all(b"5.6.7" in line for line in t.output.split(b"\r\n") if line.startswith(b"553"))


def test_messages_of_a_session_have_an_end():
    """RFC 9422 4.1."""
    terms = Terms("mx.example.org", max_messages=2)
    t = talk(lines("EHLO c", *["MAIL FROM:<a@b>", "RSET"] * 2, "MAIL FROM:<refused@b>", "NOOP"), terms)
    assert t.codes == [250, 250, 250, 250, 250, 421]
    assert t.events[-1] == SessionEnded("too many messages")


ENVELOPE = ("LHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RCPT TO:<nobody@d>", "RCPT TO:<e@d>")


def test_lmtp():
    """RFC 2033 4: LHLO, and one reply for each accepted recipient."""
    t = talk(lines("EHLO c", "HELO c", "LHLO c"), LMTP)
    assert t.output.startswith(b"220 mx.example.org LMTP netsvc\r\n500 ")
    assert t.codes == [500, 500, 250]
    assert t.events == [Greeted("c", extended=True)]
    t = talk(lines(*ENVELOPE, "DATA") + b"x\r\n.\r\nNOOP\r\n", LMTP)
    assert t.codes == [250, 250, 250, 550, 250, 354, 250, 250, 250]
    assert t.output.count(b"queued") == 2
    t = talk(lines(*ENVELOPE) + b"BDAT 3 LAST\r\nx\r\nNOOP\r\n", LMTP)
    assert t.codes == [250, 250, 250, 550, 250, 250, 250, 250]
    t = talk(lines(*ENVELOPE, "DATA") + b"x\n\r\n.\r\nNOOP\r\n", LMTP)
    assert t.codes[6:] == [550, 550, 250]
    assert talk(lines("LHLO c")).codes == [502]


def test_lmtp_without_recipients():
    """RFC 2033 4.2: 503, whatever became of them."""
    t = talk(lines("LHLO c", "MAIL FROM:<a@b>", "RCPT TO:<nobody@d>", "DATA") + b"BDAT 3 LAST\r\nx\r\n", LMTP)
    assert t.codes == [250, 250, 550, 503, 503]


def test_lmtp_refusing_chunks():
    def refusing(event):
        return r.NO_SPACE if isinstance(event, DataRequested) else answer(event)

    t = talk(lines(*ENVELOPE) + b"BDAT 3\r\nx\r\nBDAT 0 LAST\r\nNOOP\r\n", LMTP, refusing)
    assert t.codes == [250, 250, 250, 550, 250, 452, 452, 452, 250]


def test_lmtp_leaving():
    def leaving(event):
        return r.SHUTTING_DOWN if isinstance(event, ContentEnded) else answer(event)

    assert talk(lines(*ENVELOPE, "DATA") + b"x\r\n.\r\n", LMTP, leaving).codes[-1] == 421


def opened(terms=LMTP):
    session = Talk([lines(*ENVELOPE, "DATA") + b"x\r\n"], terms).session
    session.receive_data(b".\r\nNOOP\r\n")
    while not isinstance(session.asked, ContentEnded):
        session.next_event()
    return session


def test_each_recipient_has_its_own_answer():
    session = opened()
    with pytest.raises(AnswerError, match="one reply a recipient"):
        session.send_each([r.QUEUED])
    session.send_each([r.MAILBOX_FULL_NOW, r.queued("0123456789ABC")])
    assert session.take_output() == b"452 4.2.2 The mailbox is full\r\n250 2.0.0 0123456789ABC queued\r\n"
    assert (session.state, session.asked, session.recipients) == (State.IDLE, None, [])
    with pytest.raises(AnswerError, match="one reply a recipient"):
        session.send_each([])
