"""The one object every door shares."""

import gc

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.interfaces import IContent, IMailboxService, ISubmission
from netsvc.mail import reply
from netsvc.mail.address import NULL, Address, parse_address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts
from netsvc.mail.message import FLAG_8BIT, Kind, MailboxRef, Resolution
from netsvc.mail.reply import ReplyError
from netsvc.mailboxservice import Floors, MailboxService
from netsvc.policy.relay import RecipientRule
from netsvc.records import DoorRule, Verdict
from netsvc.submission import NO_MAILBOX
from tests.fakes import (
    FakeDirectory,
    FakeDoors,
    FakeEvents,
    FakeLogbook,
    FakePolicy,
    FakeRouting,
    FakeSessions,
    FakeSite,
    FakeSpool,
    gate,
)

SENDER = Address("me", "example.net")
CONTENT = b"Subject: Hi\r\nMessage-ID: <1@example.net>\r\n\r\nText\r\n"


class Case(SynchronousTestCase):
    def setUp(self):
        self.spool = FakeSpool()
        self.directory = FakeDirectory()
        self.site = FakeSite(relay_domains=("partner.example",))
        self.log = FakeLogbook()
        self.service = self.make([RecipientRule(self.directory, self.site)])
        self.session = SessionFacts(
            "S1", "192.0.2.1", 4711, "smtp", "mx1.example.org", helo="c.example", extended=True, max_message_size=1000
        )

    def make(self, policies):
        floors = Floors(
            self.spool, "queue", "mail", self.directory, "accounts", "audit", self.site, FakeSessions(), FakeEvents(),
            FakeRouting(), FakeDoors(),
        )  # fmt: skip
        return MailboxService(
            floors,
            hostname="mx1.example.org",
            policies=gate(*policies, site=self.site, logbook=self.log),
            logbook=self.log,
        )

    def envelope(self, *rcpts, sender=SENDER, **more):
        return Envelope(self.session, sender, tuple(Recipient(parse_address(r)) for r in rcpts), **more)

    def send(self, *rcpts, content=CONTENT, **more):
        submission = self.service.submit(self.envelope(*rcpts, **more))
        assert submission.write(content) is None
        return submission, submission.commit()

    def refused(self, deferred):
        return self.failureResultOf(deferred, ReplyError).value.reply


class SubmissionTests(Case):
    """Mail from somebody who has logged in."""

    def setUp(self):
        super().setUp()
        self.service.senders = self
        self.allowed = {"ann@example.org"}
        self.session.user = "ann"
        self.session.service = "submission"

    def may_use(self, user, address):
        self.assertEqual(user, "ann")
        return succeed(address in self.allowed)

    def ask(self, address):
        path = parse_address(address) if address else NULL
        return self.successResultOf(self.service.verify_sender(self.session, path, {}))

    def test_the_reverse_path_is_his(self):
        self.assertEqual(self.ask("ann@example.org"), reply.SENDER_OK)
        self.assertEqual(self.ask(""), reply.SENDER_OK)
        self.assertEqual(self.ask("bob@example.org"), reply.SENDER_NOT_YOURS)
        (said,) = self.log.named("smtp.refused")
        self.assertEqual((said["stage"], said["sender"], said["policy"]), ("mail", "bob@example.org", "sender"))

    def test_policies_are_asked_after_that(self):
        policy = FakePolicy(Verdict("reject", reply.NO_SPACE, "no"))
        self.service = self.make([policy])
        self.service.senders = self
        self.assertEqual(self.ask("bob@example.org"), reply.SENDER_NOT_YOURS)
        self.assertEqual(policy.asked, [])
        self.assertEqual(self.ask("ann@example.org"), reply.NO_SPACE)

    def test_nobody_else_is_asked_for(self):
        self.session.user = ""
        self.assertEqual(self.ask("bob@example.org"), reply.SENDER_OK)

    def test_date_and_message_id_are_added_once(self):
        _, done = self.send("alice@example.org", content=b"Subject: x\r\n\r\n")
        self.successResultOf(done)
        message = self.spool.accepted[0][0]
        received, date, number = message.hdr.decode().split("\r\nDate: ")[0], *message.hdr.decode().split("\r\n")[-3:-1]
        self.assertTrue(received.startswith("Received: "))
        self.assertTrue(date.startswith("Date: "))
        self.assertEqual(number, f"Message-ID: {message.msgid}")
        _, done = self.send("alice@example.org", content=b"Date: x\r\nMessage-ID: <1@x>\r\n\r\n")
        self.successResultOf(done)
        self.assertNotIn(b"Date:", self.spool.accepted[1][0].hdr)
        self.assertEqual(self.spool.accepted[1][0].msgid, "<1@x>")

    def test_mail_between_servers_stays_as_it_is(self):
        self.session.service = "transfer"
        _, done = self.send("alice@example.org", content=b"Subject: x\r\n\r\n")
        self.successResultOf(done)
        self.assertNotIn(b"Date:", self.spool.accepted[0][0].hdr)


class Asking(Case):
    def test_a_blocked_client_is_sent_away_before_any_policy_is_asked(self):
        for until, words in (
            (0, "554 5.7.1 {} takes no mail from {}"),
            (5, "421 4.7.1 {} takes no mail from {} for now"),
        ):
            self.service.doors.rules[self.session.peer] = DoorRule("block", "192.0.2.0/24", "spam", "op", 1, until)
            answer = self.successResultOf(self.service.verify_connection(self.session))
            assert f"{answer.code} {answer.status} {answer.text}" == words.format(
                self.session.hostname, self.session.peer
            )
        self.service.doors.rules.clear()
        assert self.service.verify_connection(self.session) is None

    def test_promises(self):
        assert verifyObject(IMailboxService, self.service)
        assert verifyObject(ISubmission, self.service.submit(self.envelope("alice@example.org")))

    def test_sender(self):
        ask = self.service.verify_sender
        assert self.successResultOf(ask(self.session, SENDER, {})) == reply.SENDER_OK
        assert self.successResultOf(ask(self.session, NULL, {"SIZE": "1000"})) == reply.SENDER_OK
        answer = self.successResultOf(ask(self.session, SENDER, {"SIZE": "1001"}))
        assert (answer.code, answer.status) == (552, "5.3.4")

    def test_recipient(self):
        def ask(rcpt):
            return self.successResultOf(self.service.verify_recipient(self.session, parse_address(rcpt), {})).code

        assert ask("alice@example.org") == 250
        assert ask("x@partner.example") == 250
        assert ask("nobody@example.org") == 550
        assert ask("x@foreign.example") == 550
        assert [r["why"] for r in self.log.named("smtp.refused")] == ["unknown recipient", "relaying denied"]

    def test_what_no_policy_accepts_is_not_relayed(self):
        service = self.make([FakePolicy()])
        answer = service.verify_recipient(self.session, parse_address("alice@example.org"), {})
        assert self.successResultOf(answer) == reply.RELAY_DENIED

    def test_policies_at_mail(self):
        policy = FakePolicy(Verdict("defer", reply.NOT_TAKEN, "no"))
        service = self.make([policy])
        assert self.successResultOf(service.verify_sender(self.session, SENDER, {})) == reply.NOT_TAKEN
        policy.verdict = Verdict("accept")
        assert self.successResultOf(service.verify_sender(self.session, SENDER, {})) == reply.SENDER_OK
        policy.verdict = Verdict("reject")
        assert self.successResultOf(service.verify_sender(self.session, SENDER, {})).code == 554


class Submitting(Case):
    def test_local_mail(self):
        submission, done = self.send("Alice@example.org")
        assert self.successResultOf(done) == submission.id
        message, body, deliveries, local = self.spool.accepted[0]
        assert body.content() == CONTENT
        assert not deliveries
        assert [(r.n, r.rcpt, r.mailbox_id) for r in local] == [(1, "Alice@example.org", 1)]
        assert local[0].hdr.startswith(b"Return-Path: <me@example.net>\r\nReceived: from c.example ([192.0.2.1])\r\n")
        assert message.hdr.startswith(b"Received: ")
        assert (message.sender, message.sender_domain) == ("me@example.net", "example.net")
        assert (message.msgid, message.subject, message.size) == ("<1@example.net>", "Hi", len(CONTENT))
        assert message.expires_at - message.received_at == self.site.current.delivery.expire
        assert self.log.named("message.accepted")[0]["id"] == submission.id

    def test_mixed_recipients(self):
        self.send("alice@example.org", "x@partner.example", "bob@example.org", body="8BITMIME")
        message, _, deliveries, local = self.spool.accepted[0]
        assert [r.n for r in local] == [1, 3]
        assert [(d.n, d.rcpt, d.domain, d.hop.route) for d in deliveries] == [
            (2, "x@partner.example", "partner.example", "mx")
        ]
        assert (message.rcpts, message.flags) == (3, FLAG_8BIT)

    def test_two_aliases_of_one_mailbox_are_one_copy(self):
        alice = self.directory.known["alice@example.org"]
        self.directory.known["sales@example.org"] = alice
        self.directory.known["all@example.org"] = Resolution(
            True, (*alice.mailboxes, MailboxRef(2, "bob@example.org")), ("x@partner.example", "Y@other.example")
        )
        self.send("sales@example.org", "alice@example.org", "all@example.org")
        message, _, deliveries, local = self.spool.accepted[0]
        assert [r.mailbox_id for r in local] == [1, 2]
        assert [d.domain for d in deliveries] == ["partner.example", "other.example"]
        assert message.rcpts == 4

    def test_mailbox_kept_as_maildir(self):
        self.directory.known["carol@example.org"] = Resolution(
            True, (MailboxRef(9, "carol@example.org", "maildir", "/m/carol"),)
        )
        self.send("carol@example.org")
        delivery = self.spool.accepted[0][2][0]
        assert (delivery.hop.kind, delivery.hop.route) == (Kind.MAILDIR, "maildir:/m/carol")

    def test_everybody_went_away(self):
        del self.directory.known["alice@example.org"]
        submission, done = self.send("alice@example.org")
        assert self.refused(done) == reply.UNKNOWN_USER
        assert self.spool.bodies[0].aborted == 1
        submission.abort()
        assert self.spool.bodies[0].aborted == 1

    def test_one_of_them_went_away(self):
        del self.directory.known["alice@example.org"]
        self.send("bob@example.org", "alice@example.org", "alice@example.org", "x@partner.example")
        message, _, deliveries, local = self.spool.accepted[0]
        assert [(r.n, r.rcpt, r.mailbox_id) for r in local] == [
            (1, "bob@example.org", 2),
            (3, "alice@example.org", NO_MAILBOX),
        ]
        assert [d.n for d in deliveries] == [2]
        assert message.rcpts == 3

    def test_a_directory_that_fails_for_several(self):
        answers = [Deferred(), Deferred()]
        waiting = list(answers)
        self.directory.resolve = lambda address: waiting.pop(0)
        _, done = self.send("alice@example.org", "bob@example.org")
        for answer in answers:
            answer.errback(RuntimeError("gone"))
        self.failureResultOf(done, RuntimeError)
        assert self.spool.bodies[0].aborted == 1
        gc.collect()
        assert self.flushLoggedErrors() == []

    def test_t13_loops(self):
        _, done = self.send("alice@example.org", content=b"Received: x\r\n" * 51 + b"\r\n")
        assert (self.refused(done).code, self.spool.accepted) == (554, [])
        _, done = self.send("alice@example.org", content=b"Received: x\r\n" * 50 + b"\r\n")
        self.successResultOf(done)

    def test_t23_header_too_large(self):
        _, done = self.send("alice@example.org", content=b"X: " + b"y" * (1 << 20))
        assert self.refused(done).code == 552

    def test_a_directory_that_fails_keeps_nothing(self):
        self.directory.error = RuntimeError("gone")
        _, done = self.send("alice@example.org")
        self.failureResultOf(done, RuntimeError)
        assert self.spool.bodies[0].aborted == 1

    def test_a_store_that_fails(self):
        self.spool.accept_error = ReplyError(reply.NO_SPACE, "disk full")
        _, done = self.send("alice@example.org")
        assert self.refused(done) == reply.NO_SPACE

    def test_nothing_is_said_before_the_store_has_spoken(self):
        self.spool.hold_accept = True
        submission, done = self.send("alice@example.org")
        self.assertNoResult(done)
        submission.abort()
        self.spool.waiting[0].callback(submission.id)
        assert self.successResultOf(done) == submission.id

    def test_back_pressure_is_the_stores(self):
        self.spool.pressure = Deferred()
        submission = self.service.submit(self.envelope("alice@example.org"))
        assert submission.write(b"x") is self.spool.pressure

    def test_abort_at_any_time(self):
        submission = self.service.submit(self.envelope("alice@example.org"))
        submission.abort()
        submission.abort()
        assert submission.write(b"late") is None
        assert self.refused(submission.commit()).code == 554
        assert (self.spool.accepted, self.spool.bodies[0].aborted) == ([], 1)

    def test_reports_have_no_sender(self):
        self.send("alice@example.org", sender=NULL)
        message, _, _, local = self.spool.accepted[0]
        assert (message.sender, message.sender_domain) == ("", "")
        assert local[0].hdr.startswith(b"Return-Path: <>\r\n")


class Marked(Case):
    """What policies say at other stages, and what of it stays with the mail."""

    def policy(self, verdict, *stages, name="fake"):
        return FakePolicy(verdict, stages, name)

    def with_policies(self, *policies):
        self.service = self.make([*policies, RecipientRule(self.directory, self.site)])
        return self.service

    def test_where_nothing_is_on_nothing_is_asked(self):
        assert self.service.verify_connection(self.session) is None
        assert self.service.verify_helo(self.session) is None

    def test_a_client_that_is_not_welcome(self):
        def ask(verdict):
            service = self.with_policies(self.policy(verdict, "connect"))
            return self.successResultOf(service.verify_connection(self.session))

        assert ask(Verdict("pass")).positive
        assert ask(Verdict("accept")).positive
        refusal = ask(Verdict("reject", reply.RELAY_DENIED, "listed"))
        assert (refusal.code, refusal.status, refusal.lines) == (554, "5.7.1", ("mx1.example.org Relaying denied",))
        assert ask(Verdict("defer", reply.NOT_TAKEN)).code == 421
        busy = ask(Verdict("defer", reply.TOO_MANY_CONNECTIONS, quiet=True))
        assert busy.lines == ("mx1.example.org too many connections",)
        assert ask(Verdict("reject")).code == 554
        assert self.session.refusals == 4
        assert self.log.named("smtp.refused")[0]["policy"] == "fake"
        assert [record[0] for record in self.log.records] == ["event", "event", "debug", "event"]

    def test_helo(self):
        service = self.with_policies(self.policy(Verdict("reject", reply.NOT_SMTP), "helo"))
        assert self.successResultOf(service.verify_helo(self.session)) == reply.NOT_SMTP

    def test_answers_that_take_time(self):
        waiting = Deferred()
        service = self.with_policies(self.policy(waiting, "mail"))
        asked = service.verify_sender(self.session, SENDER, {})
        self.assertNoResult(asked)
        waiting.callback(Verdict("pass"))
        assert self.successResultOf(asked) == reply.SENDER_OK

    def test_a_recipient_is_asked_about_with_its_sender(self):
        policy = self.policy(Verdict("accept"), "mail", "rcpt")
        service = self.with_policies(policy)
        service.verify_sender(self.session, SENDER, {"SIZE": "70"})
        answer = service.verify_recipient(self.session, parse_address("x@far.example"), {})
        assert self.successResultOf(answer) == reply.RECIPIENT_OK  # who accepts at rcpt lets relay
        assert [(stage, envelope.reverse_path) for stage, _, envelope in policy.asked] == [
            ("mail", SENDER),
            ("rcpt", SENDER),
        ]
        assert policy.asked[0][2].size == 70

    def test_marks_of_a_refused_recipient_are_not_the_others(self):
        trap = FakePolicy(Verdict("hold", why="a trap", tags=("trapped",)))
        service = self.make([trap, RecipientRule(self.directory, self.site)])
        ask = service.verify_recipient
        self.assertEqual(self.successResultOf(ask(self.session, parse_address("nobody@example.org"), {})).code, 550)
        self.assertEqual((self.session.marks.tags, self.session.marks.held_by), ((), ""))
        self.assertEqual(self.successResultOf(ask(self.session, parse_address("alice@example.org"), {})).code, 250)
        self.assertEqual((self.session.marks.tags, self.session.marks.held_by), (("trapped",), "fake"))

    def test_unknown_recipients_are_counted(self):
        self.successResultOf(self.service.verify_recipient(self.session, parse_address("nobody@example.org"), {}))
        self.successResultOf(self.service.verify_recipient(self.session, parse_address("x@far.example"), {}))
        assert (self.session.unknown, self.session.refusals) == (1, 2)

    def begin(self):
        self.service.verify_connection(self.session)
        self.service.verify_sender(self.session, SENDER, {})
        self.service.verify_recipient(self.session, parse_address("alice@example.org"), {})

    def test_tags_of_the_session_and_of_the_transaction(self):
        self.with_policies(
            self.policy(Verdict("tag", tags=("guest",)), "connect", name="a"),
            self.policy(Verdict("tag", tags=("bulk", "news")), "mail", name="b"),
            self.policy(Verdict("tag", tags=("bulk",)), "rcpt", name="c"),
        )
        self.begin()
        self.send("alice@example.org")
        assert self.spool.accepted[-1][0].tag == "guest bulk news"
        self.service = self.make([self.policy(Verdict("pass"), "mail")])
        self.service.verify_sender(self.session, SENDER, {})
        self.send("alice@example.org")
        assert self.spool.accepted[-1][0].tag == "guest"

    def test_a_hold_holds_local_mail_too(self):
        self.directory.known["carol@example.org"] = Resolution(
            True, (MailboxRef(9, "carol@example.org", "maildir", "/m/carol"),)
        )
        self.with_policies(self.policy(Verdict("hold", why="odd"), "mail"))
        self.begin()
        submission, done = self.send("alice@example.org", "x@partner.example", "carol@example.org")
        self.successResultOf(done)
        message, _, deliveries, local = self.spool.accepted[0]
        assert (local, message.rcpts) == ([], 3)
        assert {(d.held_by, d.held_why) for d in deliveries} == {("fake", "odd")}
        held = {d.rcpt: d for d in deliveries}
        assert (held["alice@example.org"].hop.kind, held["alice@example.org"].hop.route) == (Kind.MAILBOX, "mailbox 1")
        assert self.log.named("message.held")[0]["id"] == submission.id


class Screened(Case):
    """The stage content."""

    def setUp(self):
        super().setUp()
        self.policy = FakePolicy(Verdict("pass"), ("content",))
        self.service = self.make([self.policy])

    def test_what_a_policy_sees(self):
        submission, done = self.send("alice@example.org", content=CONTENT)
        self.successResultOf(done)
        content = self.policy.asked[0][2].content
        assert verifyObject(IContent, content)
        assert (content.id, content.size) == (submission.id, len(CONTENT))
        assert content.header == b"Subject: Hi\r\nMessage-ID: <1@example.net>\r\n"
        assert self.successResultOf(content.read(3, 5)) == CONTENT[3:8]

    def test_header_tags_and_a_hold(self):
        self.policy.verdict = Verdict("hold", why="spam", tags=("spam",), header=b"X-Spam: yes\r\n")
        _, done = self.send("alice@example.org")
        self.successResultOf(done)
        message, _, deliveries, _ = self.spool.accepted[0]
        assert message.hdr.startswith(b"X-Spam: yes\r\nReceived: ")
        assert (message.tag, deliveries[0].held_why) == ("spam", "spam")
        self.policy.verdict = Verdict("accept", header=b"X-Spam: no\r\n")
        self.send("alice@example.org")
        assert self.spool.accepted[1][3][0].hdr.startswith(b"Return-Path: <me@example.net>\r\nX-Spam: no\r\nReceived: ")

    def test_a_refusal_keeps_nothing(self):
        self.policy.verdict = Verdict("reject", reply.TRANSACTION_FAILED, "a virus")
        _, done = self.send("alice@example.org")
        assert self.refused(done) == reply.TRANSACTION_FAILED
        assert (self.spool.accepted, self.spool.bodies[0].aborted) == ([], 1)
        assert self.log.named("smtp.refused")[0]["stage"] == "content"

    def test_aborted_while_policies_are_asked(self):
        self.policy.verdict = waiting = Deferred()
        submission, done = self.send("alice@example.org")
        submission.abort()
        waiting.callback(Verdict("pass"))
        assert self.refused(done) == reply.TRANSACTION_FAILED
        assert (self.spool.accepted, self.spool.bodies[0].aborted) == ([], 1)

    def test_a_loop_is_refused_before_anybody_is_asked(self):
        _, done = self.send("alice@example.org", content=b"Received: x\r\n" * 51 + b"\r\n")
        assert self.refused(done).code == 554
        assert self.policy.asked == []
