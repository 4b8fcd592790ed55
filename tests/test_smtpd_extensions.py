"""Chunks and LMTP through the door: what is asked of the mailbox service, when, and what the client is told."""

from twisted.internet.defer import Deferred, fail

from netsvc.mail import reply as r
from netsvc.mail.envelope import NOTIFY_NEVER, RET_HDRS, Wishes
from netsvc.mail.ids import show_id
from netsvc.mail.reply import ReplyError
from tests.test_smtpd import ENVELOPE, DoorCase

QUEUED = f"250 2.0.0 {show_id(1 << 40)} queued\r\n".encode()


class ChunkTests(DoorCase):
    def opened(self, data=ENVELOPE, **settings):
        _, t = self.connect(self.build(**settings) if settings else None)
        self.say(t, data)
        return t

    def test_chunks_stream_into_one_submission(self):
        t = self.opened()
        self.assertEqual(self.say(t, b"BDAT 5\r\nab"), b"")
        submission = self.service.submissions[0]
        self.assertEqual(submission.content, b"ab")
        self.assertEqual(self.say(t, b"c\r\nBDAT 3 LAST\r\nd\r\n"), b"250 2.0.0 5 octets received\r\n" + QUEUED)
        self.assertEqual((submission.content, submission.commits, submission.aborts), (b"abc\r\nd\r\n", 1, 0))
        self.assertEqual(len(self.service.submissions), 1)

    def test_back_pressure_holds_the_reply_back(self):
        self.service.pressure = Deferred()
        t = self.opened()
        self.assertEqual(self.say(t, b"BDAT 3\r\na\r\nBDAT 0 LAST\r\n"), b"")
        self.assertEqual(self.service.submissions[0].commits, 0)
        pressure, self.service.pressure = self.service.pressure, None
        pressure.callback(None)
        self.assertEqual(t.value(), b"250 2.0.0 3 octets received\r\n" + QUEUED)

    def test_what_is_dropped_is_aborted(self):
        for end, aborts in ((b"RSET\r\n", 1), (b"EHLO d\r\nMAIL FROM:<x@y>\r\n", 1), (b"QUIT\r\n", 1)):
            t = self.opened()
            self.say(t, b"BDAT 3\r\na\r\n")
            self.say(t, end)
            self.assertEqual(self.service.submissions[-1].aborts, aborts)
            self.assertEqual(self.service.submissions[-1].commits, 0)

    def test_a_submission_that_is_refused(self):
        self.service.submit_error = ReplyError(r.NO_SPACE)
        t = self.opened()
        self.assertEqual(self.codes(self.say(t, b"BDAT 3\r\na\r\nBDAT 0 LAST\r\nNOOP\r\n")), [452, 452, 250])

    def test_a_chunk_over_the_limit(self):
        t = self.opened(max_message_size=100_000)
        self.assertEqual(self.codes(self.say(t, b"BDAT 100001 LAST\r\nNOOP\r\n")), [552])
        self.assertEqual(self.service.submissions, [])
        self.assertTrue(t.disconnecting)

    def test_wishes_are_the_envelopes(self):
        t = self.opened(
            b"EHLO c\r\nMAIL FROM:<me@example.net> RET=HDRS ENVID=x BODY=BINARYMIME\r\n"
            b"RCPT TO:<ann@example.org> NOTIFY=NEVER ORCPT=rfc822;a@b\r\n"
        )
        self.say(t, b"BDAT 1 LAST\r\n\0")
        envelope = self.service.submissions[0].envelope
        self.assertEqual((envelope.body, envelope.wishes), ("BINARYMIME", Wishes(ret=RET_HDRS, envid="x")))
        [recipient] = envelope.recipients
        self.assertEqual((recipient.orcpt, recipient.notify), ("rfc822;a@b", NOTIFY_NEVER))


class LmtpTests(DoorCase):
    def opened(self):
        _, t = self.connect(self.build(service="lmtp"))
        envelope = b"LHLO c\r\nMAIL FROM:<me@example.net>\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\n"
        self.assertEqual(self.codes(self.say(t, envelope + b"DATA\r\n")), [250, 250, 250, 250, 354])
        return t, self.service.submissions[0]

    def test_each_recipient_is_told(self):
        t, submission = self.opened()
        submission.refused = {0: r.MAILBOX_FULL}
        self.assertEqual(self.say(t, b"x\r\n.\r\n"), bytes(r.MAILBOX_FULL) + QUEUED)
        self.assertEqual(submission.aborts, 0)

    def test_later_too(self):
        t, submission = self.opened()
        submission.refused = {1: r.MAILBOX_FULL_NOW}
        self.service.commit = Deferred()
        self.assertEqual(self.say(t, b"x\r\n.\r\n"), b"")
        self.service.commit.callback(1 << 40)
        self.assertEqual(t.value(), QUEUED + bytes(r.MAILBOX_FULL_NOW))

    def test_everybody_refused(self):
        t, submission = self.opened()
        submission.refused = {0: r.MAILBOX_FULL, 1: r.UNKNOWN_USER}
        self.service.commit = fail(ReplyError(r.MAILBOX_FULL))
        self.assertEqual(self.say(t, b"x\r\n.\r\n"), bytes(r.MAILBOX_FULL) + bytes(r.UNKNOWN_USER))
        self.assertEqual(submission.aborts, 1)

    def test_a_store_that_fails_is_told_to_all(self):
        t, submission = self.opened()
        submission.refused = {}
        self.service.commit = fail(ReplyError(r.NOT_TAKEN))
        self.assertEqual(self.say(t, b"x\r\n.\r\n"), bytes(r.NOT_TAKEN) * 2)

    def test_who_has_gone_is_told_nothing(self):
        t, submission = self.opened()
        submission.refused = {0: r.MAILBOX_FULL}
        self.service.commit = Deferred()
        self.say(t, b"x\r\n.\r\n")
        self.lose(t)
        self.service.commit.callback(1 << 40)
        self.assertEqual(t.value(), b"")
