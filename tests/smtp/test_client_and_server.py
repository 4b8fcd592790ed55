"""Our client session and our server session talk to each other: no network, any cut of the octets, any content."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from netsvc.mail import reply
from netsvc.mail.address import parse_address
from netsvc.mail.envelope import NOTIFY_DELAY, NOTIFY_FAILURE, NOTIFY_NEVER, RET_HDRS, Recipient, Wishes
from netsvc.smtp.client import ClientSession
from netsvc.smtp.clientevents import Completed, Ready, SendContent
from netsvc.smtp.events import ContentEnded, ContentReceived, DataRequested, Pause, RecipientGiven, SessionEnded
from netsvc.smtp.offering import Transaction
from netsvc.smtp.server import ServerSession
from netsvc.smtp.terms import Terms

TERMS = Terms("server.example.net", max_message_size=1_000_000)


class Conversation:
    """Carries octets between the two, ``step`` at a time; sends the given (transaction, content) one after another."""

    def __init__(self, jobs, step=0, *, chunking=True, terms=TERMS):
        self.client = ClientSession("client.example.org")
        self.server = ServerSession(terms)
        self.chunking = chunking
        self.envelopes = []
        self.jobs = list(jobs)
        self.step = step
        self.content = b""
        self.completed = []
        self.got = []
        self.ended = False

    def run(self):
        while True:
            down, up = self.server.take_output(), self.client.data_to_send() + self.up()
            if not down and not up:
                return self
            for piece in self.cut(down):
                self.client_events(self.client.receive(piece))
            for piece in self.cut(up):
                self.server.receive_data(piece)
                self.serve()

    def cut(self, data):
        step = self.step or len(data) or 1
        return [data[i : i + step] for i in range(0, len(data), step)]

    def up(self):
        out, self.pending = getattr(self, "pending", b""), b""
        return out

    def client_events(self, events):
        for event in events:
            if isinstance(event, SendContent):
                self.pending = b"".join(self.client.content(p) for p in self.cut(self.content)) + self.client.finish()
            elif isinstance(event, Completed):
                self.completed.append([(v.reply.code, v.delivered) for v in event.verdicts])
            if isinstance(event, Ready) and not self.chunking:
                del self.client.extensions["CHUNKING"]
            if isinstance(event, Ready | Completed):
                if self.jobs:
                    transaction, self.content = self.jobs.pop(0)
                    self.client.begin(transaction)
                else:
                    self.client.quit()

    def serve(self):
        while True:
            event = self.server.next_event()
            if isinstance(event, Pause):
                if event is Pause.FLUSH:
                    self.client_events(self.client.receive(self.server.take_output()))
                    continue
                return
            if isinstance(event, SessionEnded):
                self.ended = True
                return
            if isinstance(event, ContentReceived):
                self.got[-1] += event.data
            elif isinstance(event, RecipientGiven):
                self.server.send(reply.UNKNOWN_USER if event.path.local == "nobody" else reply.RECIPIENT_OK)
            elif isinstance(event, DataRequested):
                self.got.append(b"")
                self.envelopes.append((self.server.body, self.server.wishes, tuple(self.server.recipients)))
                self.server.send(reply.START_MAIL)
            elif isinstance(event, ContentEnded):
                self.server.send(event.fault or reply.QUEUED.fill(id="1"))
            else:
                self.server.send(reply.OK)


def mail(content, *recipients, sender="a@example.org"):
    return Transaction(sender, recipients or ("b@example.net",), len(content), not content.isascii()), content


def test_many_transactions_in_one_session():
    jobs = [
        mail(b"one\r\n"),
        mail(b"two\r\n", "nobody@example.net"),
        mail(b"three\r\n", "nobody@example.net", "c@example.net", '"odd \\" one"@example.net'),
        mail("vier \xfc\r\n".encode(), sender=""),
    ]
    for step, chunking in itertools.product((0, 1, 7), (True, False)):
        talk = Conversation(jobs, step, chunking=chunking).run()
        assert talk.completed == [
            [(250, True)],
            [(550, False)],
            [(550, False), (250, True), (250, True)],
            [(250, True)],
        ]
        assert talk.got == [b"one\r\n", b"three\r\n", "vier \xfc\r\n".encode()]
        assert talk.ended


LINES = st.lists(
    st.sampled_from([b".", b"..", b"a", b"\r\n", b".\r\n", b"\r\n.\r\n", b"\xff", b"x" * 1500, b"QUIT\r\n"])
)


@settings(deadline=None)
@given(LINES, st.integers(0, 5), st.booleans())
def test_content_arrives_octet_for_octet(pieces, step, chunking):
    content = b"".join(pieces)
    talk = Conversation([mail(content)], step, chunking=chunking).run()
    assert talk.completed == [[(250, True)]]
    assert talk.got == [content if chunking else whole_lines(content)]


def whole_lines(content):
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b".", b"a", b"\r", b"\n", b"\r\n", b"MAIL FROM:<x@y>"])), st.integers(0, 3), st.booleans()
)
def test_stray_ends_of_lines_cannot_smuggle(pieces, step, chunking):
    content = b"".join(pieces)
    talk = Conversation([mail(content)], step, chunking=chunking).run()
    assert talk.completed == [[(250, True)]]
    expected = b"\r\n".join(line.replace(b"\r", b" ").replace(b"\n", b" ") for line in content.split(b"\r\n"))
    assert talk.got == [expected if chunking else whole_lines(expected)]


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, 5))
def test_binary_content_arrives_as_it_is(content, step):
    """RFC 3030 3."""
    job = Transaction("a@example.org", ("b@example.net",), len(content), True, binary=True)
    talk = Conversation([(job, content)], step).run()
    assert talk.completed == [[(250, True)]]
    assert talk.got == [content]
    assert talk.envelopes[0][0] == "BINARYMIME"


def test_what_an_envelope_asks_for_arrives():
    """RFC 3461, 6531, 2852, 6710."""
    wishes = Wishes(utf8=True, ret=RET_HDRS, envid="QQ+2B1", by=120, by_return=True, by_trace=True, priority=-3)
    asked = (("rfc822;b+2Bc@example.net", NOTIFY_FAILURE | NOTIFY_DELAY), ("", NOTIFY_NEVER), ("utf-8;\u00fc@x", 0))
    paths = ("b\u00fc@example.net", "c@example.net", "d@example.net")
    job = Transaction("\u00e4@example.org", paths, 3, False, wishes, asked=asked)
    terms = Terms("server.example.net", service="submission")
    for step in (0, 1):
        talk = Conversation([(job, b"a\r\n")], step, terms=terms)
        talk.server.authenticated = True
        talk.run()
        assert talk.completed == [[(250, True)] * 3]
        (body, got, recipients) = talk.envelopes[0]
        assert (body, got) == ("7BIT", wishes)
        assert recipients == tuple(
            Recipient(parse_address(path, utf8=True), *each) for path, each in zip(paths, asked, strict=True)
        )
