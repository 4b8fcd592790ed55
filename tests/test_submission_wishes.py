"""What envelopes ask for, as the mailbox service hands it to the spool; and refusals of one recipient (LMTP)."""

from netsvc.mail.envelope import NOTIFY_NEVER, NOTIFY_SUCCESS, RET_FULL, Envelope, Recipient, Wishes
from netsvc.mail.message import FLAG_8BIT, FLAG_BINARY, FLAG_LATER, FLAG_UTF8, Kind, MailboxRef, Resolution
from netsvc.mail.reply import MAILBOX_FULL_NOW
from netsvc.submission import NO_MAILBOX
from tests.test_mailboxservice import CONTENT, SENDER, Case

DAY = 86_400_000


class WishesTest(Case):
    def take(self, *recipients, service="transfer", **more):
        self.session.service = service
        envelope = Envelope(self.session, SENDER, recipients, **more)
        submission = self.service.submit(envelope)
        submission.write(CONTENT)
        self.committed = submission.commit()
        message, _, deliveries, local = self.spool.accepted[-1]
        return submission, message, deliveries, local

    def to(self, text, orcpt="", notify=0):
        local, _, domain = text.partition("@")
        return Recipient(type(SENDER)(local, domain), orcpt, notify)

    def test_the_message(self):
        wishes = Wishes(utf8=True, ret=RET_FULL, envid="QQ", by=60, priority=3)
        _, message, _, _ = self.take(self.to("alice@example.org"), body="BINARYMIME", wishes=wishes)
        now = self.spool.clock
        assert message.flags == FLAG_UTF8 | FLAG_8BIT | FLAG_BINARY
        assert (message.envid, message.ret, message.prio, message.by_at) == ("QQ", RET_FULL, 3, now + 60_000)
        assert b"with UTF8SMTP id" in message.hdr

    def test_recipients(self):
        asking = self.to("x@partner.example", "rfc822;y@z", NOTIFY_NEVER)
        _, _, deliveries, local = self.take(asking, self.to("alice@example.org", "rfc822;a@b", NOTIFY_NEVER))
        assert [(d.orcpt, d.notify) for d in deliveries] == [("rfc822;y@z", NOTIFY_NEVER)]
        assert [(d.orcpt, d.notify) for d in local] == [("rfc822;a@b", NOTIFY_NEVER)]

    def test_reports_name_the_address_the_sender_knows(self):
        folder = MailboxRef(5, "c+arol@example.org", "maildir", "/var/mail/c")
        known = self.directory.known
        known["list@example.org"] = Resolution(True, (folder,), ("x@partner.example",))
        known["c+arol@example.org"] = Resolution(True, (folder,))
        known["\u00fc@example.org"] = Resolution(True, (), ("x@partner.example",))
        for address, orcpt, named in (
            ("list@example.org", "", ["rfc822;list@example.org"] * 2),
            ("list@example.org", "rfc822;a@b", ["rfc822;a@b"] * 2),
            ("c+arol@example.org", "", [""]),
            ("\u00fc@example.org", "", [""]),
            ("x@partner.example", "", [""]),
        ):
            _, _, deliveries, _ = self.take(self.to(address, orcpt))
            assert [d.orcpt for d in deliveries] == named

    def test_a_delivery_that_is_to_be_reported_waits_for_its_report(self):
        """It is delivered and reported in one unit of work; the others are filed at once."""
        asking = self.to("alice@example.org", "rfc822;a@b", NOTIFY_SUCCESS)
        _, _, deliveries, local = self.take(asking, self.to("bob@example.org"))
        assert [entry.rcpt for entry in local] == ["bob@example.org"]
        (one,) = deliveries
        assert (one.rcpt, one.hop.kind, one.hop.route) == ("alice@example.org", Kind.MAILBOX, "mailbox 1")
        assert (one.orcpt, one.notify, one.due_at) == ("rfc822;a@b", NOTIFY_SUCCESS, self.spool.clock)

    def test_mail_held_for_later(self):
        """RFC 4865: mailboxes of ours too; its life begins when it is released."""
        folder = MailboxRef(9, "carol@example.org", "maildir", "/var/mail/carol")
        self.directory.known["carol@example.org"] = Resolution(True, (folder,))
        rcpts = [self.to(text) for text in ("alice@example.org", "x@partner.example", "carol@example.org")]
        _, message, deliveries, local = self.take(*rcpts, wishes=Wishes(hold_for=3600))
        later = self.spool.clock + 3_600_000
        assert local == []
        assert [d.due_at for d in deliveries] == [later] * 3
        assert message.flags == FLAG_LATER
        assert message.expires_at == later + self.site.current.delivery.expire
        assert message.received_at == self.spool.clock

    def test_urgent_mail_goes_before(self):
        _, _, deliveries, _ = self.take(self.to("x@partner.example"), wishes=Wishes(priority=2))
        assert deliveries[0].due_at == self.spool.clock - 120_000

    def refuse(self, numbers):
        """Have the spool refuse these deliveries, if they may be."""
        taking = self.spool.accept

        def accept(message, body, deliveries, local, refusals=None):
            self.refusals = refusals
            if refusals is not None:
                refusals.made.update(dict.fromkeys(refusals.may & numbers, MAILBOX_FULL_NOW))
            return taking(message, body, deliveries, local, refusals)

        self.spool.accept = accept

    def test_lmtp_refuses_one_by_one(self):
        self.refuse({1, 2, 3, 4})
        two = (MailboxRef(1, "alice@example.org"), MailboxRef(7, "dora@example.org"))
        self.directory.known["both@example.org"] = Resolution(True, two)
        self.directory.known["again@example.org"] = Resolution(True, (MailboxRef(2, "bob@example.org"),))
        names = ("alice", "bob", "both", "again", "gone")
        submission, _, _, local = self.take(*(self.to(f"{name}@example.org") for name in names), service="lmtp")
        assert [entry.mailbox_id for entry in local] == [1, 2, 7, NO_MAILBOX]
        assert self.refusals.may == {2, 4}  # the others are of an alias to several
        assert submission.refused == dict.fromkeys((1, 3, 4), MAILBOX_FULL_NOW)

    def test_lmtp_refuses_the_right_one_behind_a_loop_that_was_cut(self):
        """A refusal that went to the wrong recipient would be a message acknowledged and lost, and one taken twice."""
        self.refuse({1})
        self.directory.known["list@example.org"] = Resolution(True, (), ("x@partner.example",))
        names = ("list", "alice", "bob", "gone")
        rcpts = [self.to(f"{name}@example.org") for name in names]
        self.session.service = "lmtp"
        submission = self.service.submit(Envelope(self.session, SENDER, tuple(rcpts)))
        host = self.session.hostname.encode()
        submission.write(
            b"Received: from a by "
            + host
            + b" (netsvc) with ESMTP id 1\r\n\tfor <list@example.org>; now\r\n\r\nText\r\n"
        )
        submission.commit()
        _, _, deliveries, local = self.spool.accepted[-1]
        assert deliveries == []
        assert [(entry.rcpt.partition("@")[0], entry.n) for entry in local] == [("alice", 1), ("bob", 2), ("gone", 3)]
        assert submission.refused == {1: MAILBOX_FULL_NOW}

    def test_others_refuse_nobody_alone(self):
        self.refuse({1})
        submission, *_ = self.take(self.to("alice@example.org"))
        assert self.refusals is None
        assert submission.refused == {}
