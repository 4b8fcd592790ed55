"""The client session against scripted servers: whole, byte by byte, hostile, and against our own server session."""

import pytest

from netsvc.smtp.client import ClientSession
from netsvc.smtp.clientevents import END_OF_DATA, Completed, Ended, Ready, SendContent, Verdict
from netsvc.smtp.offering import Transaction
from netsvc.smtp.replies import PeerError

BANNER = b"220 mx.example.net ESMTP\r\n"
EHLO = b"250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 10000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
PLAIN_EHLO = b"250-mx.example.net\r\n250 SIZE 10000\r\n"
ONE = Transaction("alice@example.org", ("bob@example.net",), 20, False)
TWO = Transaction("alice@example.org", ("bob@example.net", "eve@example.net"), 20, False)
BODY = b"Subject: hi\r\n\r\n.dot\r\n"


def replies_of(completed):
    return [(v.stage, v.reply.code) for v in completed.verdicts]


class Talk:
    """Feeds a session, in pieces of ``step`` octets, and sends content when asked."""

    def __init__(self, step=0):
        self.session = ClientSession("mx1.example.org")
        self.step = step
        self.events = []
        self.sent = b""

    def feed(self, data):
        pieces = [data[i : i + self.step] for i in range(0, len(data), self.step)] if self.step else [data]
        for piece in pieces:
            for event in self.session.receive(piece):
                self.events.append(event)
                if isinstance(event, SendContent):
                    self.sent += self.session.content(BODY) + self.session.finish()
            self.sent += self.session.data_to_send()
        return self

    def begin(self, transaction):
        self.session.begin(transaction)
        self.sent += self.session.data_to_send()
        return self

    def taken(self):
        sent, self.sent = self.sent, b""
        return sent


@pytest.fixture(params=[0, 1, 3], ids=["whole", "bytewise", "threes"])
def talk(request):
    return Talk(request.param)


def ready(talk, ehlo=EHLO):
    talk.feed(BANNER).feed(ehlo)
    assert talk.events == [Ready()]
    talk.events.clear()
    talk.taken()
    return talk


def test_greeting(talk):
    talk.feed(BANNER)
    assert talk.taken() == b"EHLO mx1.example.org\r\n"
    talk.feed(EHLO)
    session = talk.session
    assert talk.events == [Ready()]
    assert session.extensions == {"PIPELINING": "", "SIZE": "10000", "8BITMIME": "", "ENHANCEDSTATUSCODES": ""}
    assert (session.peer_name, session.state, session.pipelining) == ("mx.example.net", "ready", True)


def test_helo_for_an_old_peer(talk):
    talk.feed(BANNER).feed(b"500 what?\r\n")
    assert talk.taken() == b"EHLO mx1.example.org\r\nHELO mx1.example.org\r\n"
    talk.feed(b"250 old.example.net\r\n")
    assert talk.events == [Ready()]
    assert not talk.session.extensions
    talk.begin(ONE)
    assert talk.taken() == b"MAIL FROM:<alice@example.org>\r\n"


@pytest.mark.parametrize(
    "script",
    [
        [b"554 no service\r\n"],
        [b"421 4.3.2 going down\r\n"],
        [BANNER, b"421 busy\r\n"],
        [BANNER, b"450 later\r\n"],
        [BANNER, b"500 what\r\n", b"550 go away\r\n"],
    ],
)
def test_refused_sessions(talk, script):
    for piece in script:
        talk.feed(piece)
    [ended] = talk.events
    assert isinstance(ended, Ended)
    assert ended.reply.negative
    assert talk.session.state == "ended"
    talk.feed(b"250 too late\r\n")
    assert len(talk.events) == 1


@pytest.mark.parametrize(
    "script",
    [
        [b"250 not a banner\r\n"],
        [b"354 go on\r\n"],
        [BANNER, b"220 again\r\n"],
        [BANNER, b"354 go on\r\n"],
        [BANNER, b"500 what\r\n", b"251 odd\r\n"],
        [BANNER, EHLO, b"250 nobody asked\r\n"],
        [BANNER + BANNER],
    ],
)
def test_broken_greetings(talk, script):
    *before, last = script
    for piece in before:
        talk.feed(piece)
    with pytest.raises(PeerError):
        talk.feed(last)


def test_odd_extensions_are_left_out(talk):
    talk.feed(BANNER).feed(b"250-x\r\n250-SIZE=5\r\n250-AUTH PLAIN LOGIN\r\n250-\x1b[0m\r\n250--bad\r\n250 size \r\n")
    assert talk.session.extensions == {"SIZE": "", "AUTH": "PLAIN LOGIN"}


def test_pipelined_transaction(talk):
    ready(talk).begin(TWO)
    assert talk.taken() == (
        b"MAIL FROM:<alice@example.org> SIZE=20\r\nRCPT TO:<bob@example.net>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\n"
    )
    talk.feed(b"250 ok\r\n250 ok\r\n550 5.1.1 no eve\r\n354 go\r\n")
    assert talk.taken() == b"Subject: hi\r\n\r\n..dot\r\n.\r\n"
    assert talk.session.dotted
    assert talk.session.patience == 600
    talk.feed(b"250 2.0.0 queued\r\n")
    assert talk.events[0] == SendContent()
    completed = talk.events[1]
    assert replies_of(completed) == [(END_OF_DATA, 250), ("RCPT TO", 550)]
    assert [v.delivered for v in completed.verdicts] == [True, False]
    assert talk.session.state == "ready"
    assert not talk.session.dotted
    talk.begin(ONE)
    assert talk.taken().startswith(b"MAIL FROM:")


def test_one_by_one_without_pipelining(talk):
    ready(talk, PLAIN_EHLO).begin(TWO)
    said = []
    for reply in (b"250 ok\r\n", b"550 no\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 queued\r\n"):
        said.append(talk.taken())
        talk.feed(reply)
    assert said == [
        b"MAIL FROM:<alice@example.org> SIZE=20\r\n",
        b"RCPT TO:<bob@example.net>\r\n",
        b"RCPT TO:<eve@example.net>\r\n",
        b"DATA\r\n",
        b"Subject: hi\r\n\r\n..dot\r\n.\r\n",
    ]
    assert replies_of(talk.events[-1]) == [("RCPT TO", 550), (END_OF_DATA, 250)]


@pytest.mark.parametrize("ehlo", [EHLO, PLAIN_EHLO])
def test_refused_sender(talk, ehlo):
    ready(talk, ehlo).begin(TWO)
    talk.feed(b"451 4.7.1 later\r\n")
    if ehlo == EHLO:
        talk.feed(b"503 no\r\n503 no\r\n503 no\r\n")
    assert replies_of(talk.events[-1]) == [("MAIL FROM", 451)] * 2
    talk.taken()
    talk.begin(ONE)
    assert talk.taken().startswith(b"MAIL")  # nothing was begun, nothing to reset


@pytest.mark.parametrize("ehlo", [EHLO, PLAIN_EHLO])
def test_no_recipient_is_taken(talk, ehlo):
    ready(talk, ehlo).begin(TWO)
    for reply in (b"250 ok\r\n", b"550 no\r\n", b"450 not now\r\n"):
        talk.feed(reply)
    if ehlo == EHLO:
        talk.feed(b"554 no valid recipients\r\n")
    assert replies_of(talk.events[-1]) == [("RCPT TO", 550), ("RCPT TO", 450)]
    talk.taken()
    talk.begin(ONE)
    assert talk.taken().startswith(b"RSET\r\n")
    talk.feed(b"250 reset\r\n")
    talk.feed(b"250 ok\r\n").feed(b"250 ok\r\n").feed(b"354 go\r\n").feed(b"250 ok\r\n")
    assert replies_of(talk.events[-1]) == [(END_OF_DATA, 250)]


def test_content_is_asked_for_nobody(talk):
    ready(talk).begin(ONE)
    talk.taken()
    talk.feed(b"250 ok\r\n550 no\r\n354 go\r\n")
    assert talk.taken() == b".\r\n"
    talk.feed(b"554 no recipients\r\n")
    assert replies_of(talk.events[-1]) == [("RCPT TO", 550)]
    talk.begin(ONE)
    assert talk.taken().startswith(b"MAIL")


@pytest.mark.parametrize("mail", [b"250 ok\r\n", b"550 not you\r\n"])
def test_what_is_decided_stands_though_content_for_nobody_is_never_answered(talk, mail):
    ready(talk).begin(TWO)
    talk.feed(mail + b"550 no\r\n551 no\r\n")
    assert talk.session.decided == ()
    talk.feed(b"354 go\r\n")
    codes = [550, 551] if mail.startswith(b"2") else [550, 550]
    assert [verdict.reply.code for verdict in talk.session.decided] == codes
    assert talk.events == []


def test_data_refused(talk):
    ready(talk).begin(TWO)
    talk.feed(b"250 ok\r\n250 ok\r\n550 no\r\n451 no space\r\n")
    assert replies_of(talk.events[-1]) == [("DATA", 451), ("RCPT TO", 550)]


@pytest.mark.parametrize("code", [450, 554])
def test_content_refused(talk, code):
    ready(talk).begin(TWO)
    talk.feed(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n").feed(b"%d no\r\n" % code)
    assert replies_of(talk.events[-1]) == [(END_OF_DATA, code)] * 2
    assert not talk.events[-1].verdicts[0].delivered


def test_goodbye_decides_what_was_undecided(talk):
    ready(talk).begin(TWO)
    talk.feed(b"250 ok\r\n550 no\r\n421 4.3.2 bye\r\n")
    assert replies_of(talk.events[0]) == [("RCPT TO", 550), ("MAIL FROM", 421)]
    assert isinstance(talk.events[1], Ended)
    assert talk.session.data_to_send() == b""


def test_goodbye_after_a_refused_sender(talk):
    ready(talk).begin(ONE)
    talk.feed(b"550 no\r\n421 bye\r\n")
    assert replies_of(talk.events[0]) == [("MAIL FROM", 550)]


def test_goodbye_after_the_final_dot(talk):
    ready(talk).begin(ONE)
    talk.feed(b"250 ok\r\n250 ok\r\n354 go\r\n").feed(b"421 bye\r\n")
    assert replies_of(talk.events[1]) == [(END_OF_DATA, 421)]


def test_goodbye_between_transactions(talk):
    ready(talk).feed(b"421 4.4.2 timeout\r\n")
    assert [type(e) for e in talk.events] == [Ended]


@pytest.mark.parametrize(("reply", "fine"), [(b"552 too large\r\n", True), (b"250 fine\r\n", False)])
def test_reply_within_content(reply, fine):
    session = ready(Talk()).session
    session.begin(ONE)
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.content(b"some")
    if fine:
        completed, ended = session.receive(reply)
        assert replies_of(completed) == [("content", 552)]
        assert isinstance(ended, Ended)
    else:
        with pytest.raises(PeerError):
            session.receive(reply)


@pytest.mark.parametrize(
    "script",
    [
        b"354 to MAIL\r\n",
        b"250 ok\r\n354 to RCPT\r\n",
        b"250 ok\r\n250 ok\r\n250 to DATA\r\n",
        b"250 ok\r\n250 ok\r\n355 to DATA\r\n",
        b"250 ok\r\n250 ok\r\n354 go\r\n354 to dot\r\n",
        b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n250 one more\r\n",
        b"hello\r\n",
    ],
)
def test_broken_transactions(talk, script):
    ready(talk).begin(ONE)
    with pytest.raises(PeerError):
        talk.feed(script)


def test_broken_reset(talk):
    ready(talk).begin(ONE)
    talk.feed(b"250 ok\r\n550 no\r\n554 no\r\n").begin(ONE)
    with pytest.raises(PeerError):
        talk.feed(b"500 no\r\n")


def test_quit(talk):
    ready(talk).session.quit()
    assert talk.session.data_to_send() == b"QUIT\r\n"
    talk.feed(b"221 bye\r\n")
    assert [type(e) for e in talk.events] == [Ended]


def test_a_transaction_needs_a_ready_session():
    with pytest.raises(RuntimeError):
        ClientSession("mx1.example.org").begin(ONE)


@pytest.mark.parametrize("path", ["a\r\nRSET@example.org", "a\nb", "é@example.org", "a\x7f@b", "x" * 1001])
def test_paths_that_could_be_commands(path):
    session = ready(Talk()).session
    with pytest.raises(ValueError, match="command"):
        session.begin(Transaction(path, ("bob@example.net",), 1, False))
    with pytest.raises(ValueError, match="command"):
        session.begin(Transaction("", (path,), 1, False))
    assert session.data_to_send() == b""
    session.begin(ONE)


def test_objections():
    session = ready(Talk(), PLAIN_EHLO).session
    assert session.objection(ONE) is None
    assert session.objection(ONE._replace(eight_bit=True))[0] == "5.6.3"
    assert session.objection(ONE._replace(size=10_001))[0] == "5.3.4"
    session = ready(Talk()).session
    assert session.objection(ONE._replace(eight_bit=True)) is None
    session.extensions["SIZE"] = "0"
    assert session.objection(ONE._replace(size=10_001)) is None
    session.extensions["SIZE"] = "lots"
    assert session.objection(ONE._replace(size=10_001)) is None


def test_eight_bit_and_null_sender():
    talk = ready(Talk())
    talk.begin(ONE._replace(eight_bit=True, sender=""))
    assert talk.taken().startswith(b"MAIL FROM:<> SIZE=20 BODY=8BITMIME\r\n")


def test_patience():
    session = ready(Talk()).session
    assert session.patience == 300
    session.begin(ONE)
    assert session.patience == 300
    session.receive(b"250 ok\r\n250 ok\r\n")
    assert session.patience == 120


def test_dialogue():
    talk = ready(Talk())
    talk.session.dialogue.clear()
    talk.begin(ONE)
    talk.feed(b"250 ok\r\n550 no\r\n")
    said = [(d, t if isinstance(t, bytes) else t.wire) for d, t in talk.session.dialogue]
    assert said == [
        (">", b"MAIL FROM:<alice@example.org> SIZE=20\r\n"),
        (">", b"RCPT TO:<bob@example.net>\r\n"),
        (">", b"DATA\r\n"),
        ("<", "250 ok"),
        ("<", "550 no"),
    ]
    assert talk.session.replies == 4


def test_verdict_is_a_delivery_only_at_the_end_of_data():
    talk = ready(Talk())
    talk.begin(ONE).feed(b"250 ok\r\n250 ok\r\n354 go\r\n").feed(b"250 ok\r\n")
    verdict = talk.events[-1].verdicts[0]
    assert verdict.delivered
    assert not Verdict("RCPT TO", verdict.reply).delivered


SCRIPT = BANNER + EHLO + b"250 ok\r\n250 ok\r\n250-a\r\n250 b\r\n354 go\r\n250 2.0.0 queued\r\n"


def run(script, cut):
    """Return what one transaction came to when the peer says ``script`` in two pieces."""
    talk = Talk()
    begun = False
    try:
        for piece in (script[:cut], script[cut:]):
            for i in range(len(piece)):  # replies are given when they are asked for
                talk.feed(piece[i : i + 1])
                if talk.session.state == "ready" and not begun:
                    begun = True
                    talk.begin(TWO)
    except PeerError:
        return "error"
    return [replies_of(e) for e in talk.events if isinstance(e, Completed)]


def test_close_at_every_byte():
    """However little the peer said, nothing counts as delivered before its last reply is whole."""
    assert run(SCRIPT, 0) == [[(END_OF_DATA, 250), (END_OF_DATA, 250)]]
    for end in range(len(SCRIPT)):
        assert run(SCRIPT[:end], end // 2) == []


def test_an_end_while_content_goes_out_is_the_end():
    """The refusal comes with the reply that lets content go: what was begun is ended, and nothing is begun anew."""
    session = ready(Talk(), CHUNKING).session
    session.begin(ONE)
    sent, told, ended = session.receive(b"250 ok\r\n250 ok\r\n451 no\r\n")
    assert isinstance(sent, SendContent)
    assert replies_of(told) == [("content", 451)]
    assert isinstance(ended, Ended)
    session.content(BODY)
    assert session.finish() == b""
    assert session.state == "ended"
    assert session.receive(b"250 ok\r\n") == []


CHUNKING = b"250-mx.example.net\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
SLOW_CHUNKING = b"250-mx.example.net\r\n250 CHUNKING\r\n"
OK = b"250 2.0.0 Ok\r\n"
NO = b"550 5.1.1 No\r\n"


@pytest.mark.parametrize("ehlo", [CHUNKING, SLOW_CHUNKING])
def test_content_in_one_chunk(talk, ehlo):
    """RFC 3030 2: no DATA, no 354, no dots."""
    two = Transaction("alice@example.org", ("bob@example.net", "eve@example.net"), len(BODY), eight_bit=False)
    ready(talk, ehlo).begin(two)
    talk.feed(OK).feed(NO).feed(OK).feed(OK)
    assert talk.taken().endswith(b"RCPT TO:<eve@example.net>\r\nBDAT 21 LAST\r\n" + BODY)
    assert replies_of(talk.events[-1]) == [("RCPT TO", 550), (END_OF_DATA, 250)]
    assert (">", b"BDAT 21 LAST\r\n") in talk.session.dialogue
    assert talk.session.state == "ready"


@pytest.mark.parametrize("ehlo", [CHUNKING, SLOW_CHUNKING])
def test_no_chunk_for_nobody(talk, ehlo):
    ready(talk, ehlo).begin(TWO).feed(OK).feed(NO).feed(NO)
    assert replies_of(talk.events[-1]) == [("RCPT TO", 550), ("RCPT TO", 550)]
    talk.taken()
    talk.begin(ONE)
    assert talk.taken().startswith(b"RSET\r\n")
    talk.feed(OK).feed(NO)
    if talk.session.pipelining:
        talk.feed(b"503 5.5.1 MAIL first\r\n")
    assert replies_of(talk.events[-1]) == [("MAIL FROM", 550)]


def test_content_that_is_not_of_its_size_never_ends():
    talk = ready(Talk(), CHUNKING)
    talk.session.begin(ONE)
    assert talk.session.receive(OK + OK) == [SendContent()]
    talk.session.content(b"short")
    with pytest.raises(ValueError, match="has not the size"):
        talk.session.finish()


def test_a_chunk_of_nothing():
    talk = ready(Talk(), CHUNKING)
    talk.session.begin(Transaction("", ("bob@example.net",), 0, eight_bit=False))
    assert talk.session.receive(OK + OK) == [SendContent()]
    assert talk.session.finish() == b"BDAT 0 LAST\r\n"


HURRIED = Transaction("alice@example.org", ("bob@example.net", "eve@example.net"), len(BODY), eight_bit=False)
COMMANDS = b"RCPT TO:<eve@example.net>\r\nBDAT 21 LAST\r\n" + BODY


def hurry(talk, transaction=HURRIED):
    """Begin a transaction whose content follows at once."""
    ready(talk, CHUNKING).session.begin(transaction)
    assert talk.session.hurry()
    talk.sent += talk.session.data_to_send() + talk.session.content(BODY) + talk.session.finish()
    return talk


@pytest.mark.parametrize(
    ("script", "verdicts"),
    [
        ((OK, OK, OK, OK), [(END_OF_DATA, 250), (END_OF_DATA, 250)]),
        ((OK, NO, OK, OK), [("RCPT TO", 550), (END_OF_DATA, 250)]),
        ((OK, OK, OK, b"452 4.3.1 Full\r\n"), [(END_OF_DATA, 452), (END_OF_DATA, 452)]),
        ((OK, NO, NO, b"503 5.5.1 No recipient\r\n"), [("RCPT TO", 550), ("RCPT TO", 550)]),
        ((NO, NO, NO, NO), [("MAIL FROM", 550), ("MAIL FROM", 550)]),
    ],
)
def test_content_that_does_not_wait(talk, script, verdicts):
    """RFC 3030 with RFC 2920: all in one group; the verdicts are those of the slower way."""
    hurry(talk)
    assert talk.session.dotted
    assert talk.taken().endswith(COMMANDS)
    for reply in script[:-1]:
        assert talk.feed(reply).events == []
    talk.feed(script[-1])
    assert replies_of(talk.events[-1]) == verdicts
    assert talk.session.state == "ready"
    talk.begin(ONE)
    assert talk.taken().startswith(b"RSET\r\n") == (verdicts[0][0] == verdicts[1][0] == "RCPT TO")


@pytest.mark.parametrize(("answered", "stage"), [(0, "MAIL FROM"), (1, "MAIL FROM"), (3, END_OF_DATA)])
def test_goodbye_to_content_that_did_not_wait(talk, answered, stage):
    hurry(talk).feed(OK * answered).feed(b"421 4.3.2 Closing\r\n")
    told, ended = talk.events
    assert replies_of(told) == [(stage, 421), (stage, 421)]
    assert isinstance(ended, Ended)


def test_nonsense_for_content_that_did_not_wait():
    talk = hurry(Talk())
    with pytest.raises(PeerError, match="354"):
        talk.feed(OK + OK + OK + b"354 go\r\n")


def test_patience_with_content_that_did_not_wait():
    talk = hurry(Talk())
    assert talk.session.patience == 300
    talk.feed(OK * 3)
    assert talk.session.patience == 600


@pytest.mark.parametrize("ehlo", [EHLO, SLOW_CHUNKING, PLAIN_EHLO])
def test_who_must_be_asked_first(ehlo):
    """Without chunks content cannot be begun unasked, without groups nothing can."""
    talk = ready(Talk(), ehlo)
    talk.session.begin(ONE)
    assert not talk.session.hurry()
    assert not talk.session.dotted


def test_nothing_to_hurry_for():
    assert not ready(Talk(), CHUNKING).session.hurry()
