"""What senders asked for on the way out: reports given and not given, times set, connections that carry it."""

from dataclasses import replace

from netsvc.delivery.carrying import HURRY
from netsvc.delivery.reports import MOST_RETURNED
from netsvc.delivery.retry import has_expired, is_past_its_time, is_worth_warning, next_due
from netsvc.mail.envelope import NOTIFY_DELAY, NOTIFY_FAILURE, NOTIFY_NEVER, NOTIFY_SUCCESS, RET_FULL
from netsvc.mail.message import (
    FLAG_8BIT,
    FLAG_BINARY,
    FLAG_BY_RETURN,
    FLAG_BY_TRACE,
    FLAG_LATER,
    FLAG_TLS,
    FLAG_UTF8,
    FLAG_WARNED,
    Kind,
    Result,
)
from netsvc.mail.outcome import Fault
from netsvc.settings import DAY, HOUR, MINUTE, DeliverySettings
from tests.delivery.rows import NOW, row
from tests.delivery.test_runner import KEY, ServiceCase
from tests.delivery.test_smtpagent import AgentCase

SETTINGS = DeliverySettings()


class ReportsTest(ServiceCase):
    def told(self, result, *rows, passed_on=False, **site):
        """Settle ``rows`` with ``result`` -> (Action, recipients told of) of each report."""
        self.make(*rows, **site)
        self.agent.result, self.agent.fault = result, Fault.NONE if result is Result.DELIVERED else Fault.REPLY
        given = self.agent.outcomes
        self.agent.outcomes = lambda rows: [replace(out, passed_on=passed_on) for out in given(rows)]
        self.start()
        assert [out.result for out in self.spool.outcomes] == [result] * len(rows)
        return [(action(report.content), report.about) for report in self.spool.reports]

    def test_nobody_is_told_who_said_never(self):
        for result in (Result.BOUNCED, Result.DELIVERED):
            assert self.told(result, row(id=1, notify=NOTIFY_NEVER), row(id=2, n=2, notify=NOTIFY_DELAY)) == []
            self.tearDown()
        assert self.told(Result.BOUNCED, row(id=1, notify=NOTIFY_NEVER, sender="gone@example.org")) == []

    def test_failure_is_told_where_wanted(self):
        rows = [row(id=n, n=n, notify=notify) for n, notify in enumerate((NOTIFY_FAILURE, NOTIFY_SUCCESS, 0), 1)]
        assert self.told(Result.BOUNCED, *rows) == [("failed", (1, 3))]

    def test_delay_is_told_where_wanted(self):
        late = [
            row(id=n, n=n, notify=notify, received_at=NOW - 5 * HOUR) for n, notify in ((1, NOTIFY_FAILURE), (2, 8))
        ]
        assert self.told(Result.DEFERRED, *late) == [("delayed", (2,))]
        assert [out.warned for out in self.spool.outcomes] == [False, True]

    def test_success_is_told_where_asked_for(self):
        assert self.told(Result.DELIVERED, row(id=1), row(id=2, n=2, notify=NOTIFY_SUCCESS)) == [("relayed", (2,))]
        [report] = self.spool.reports
        assert b"Status: 2.0.0\r\n" in report.content
        assert report.message.subject == "Relayed mail (no more will be said of it)"

    def test_a_peer_that_was_told_tells_itself(self):
        assert self.told(Result.DELIVERED, row(id=1, notify=NOTIFY_SUCCESS), passed_on=True) == []

    def test_a_trace_is_told_all_the_same(self):
        """RFC 2852 4."""
        rows = [row(id=1, flags=FLAG_BY_TRACE), row(id=2, n=2, flags=FLAG_BY_TRACE, notify=NOTIFY_NEVER)]
        assert self.told(Result.DELIVERED, *rows, passed_on=True) == [("relayed", (1,))]

    def test_mailboxes_of_ours_have_a_report_each(self):
        rows = [row(id=n, n=n, kind=Kind.MAILBOX, dest_key="mailbox", notify=NOTIFY_SUCCESS) for n in (1, 2)]
        rows += [row(id=3, n=3, kind=Kind.MAILDIR, dest_key="mailbox", notify=NOTIFY_SUCCESS)]
        assert self.told(Result.DELIVERED, *rows) == [("delivered", (1,)), ("delivered", (2,)), ("delivered", (3,))]

    def test_mail_from_nobody_is_never_answered(self):
        assert self.told(Result.DELIVERED, row(id=1, sender="", notify=NOTIFY_SUCCESS)) == []

    def test_a_report_that_cannot_be_made_yet(self):
        """Who wants to hear of a delivery waits for the report; what is delivered otherwise does not."""
        self.make(row(id=1), row(id=2, n=2, notify=NOTIFY_SUCCESS))
        self.directory.error = ValueError("down")
        self.start()
        assert self.results() == [(1, Result.DELIVERED)]
        self.directory.error = None
        self.go(6)
        assert self.results() == [(1, Result.DELIVERED), (2, Result.DELIVERED)]
        assert len(self.spool.reports) == 1

    def test_a_stop_forgets_no_delivery_for_a_report(self):
        """T34."""
        self.make(row(id=1, notify=NOTIFY_SUCCESS))
        self.directory.error = ValueError("down")
        self.start()
        stopped = self.service.stopService()
        self.go(10)
        self.successResultOf(stopped)
        assert self.results() == [(1, Result.DELIVERED)]
        assert self.spool.reports == []


class ReturnedTest(ServiceCase):
    def report(self, content=b"", **changes):
        self.make(row(id=1, ret=RET_FULL, **changes))
        if content:
            self.spool.content = content
        self.agent.result, self.agent.fault = Result.BOUNCED, Fault.REPLY
        self.start()
        [report] = self.spool.reports
        return report

    def test_all_of_it_where_that_was_asked_for(self):
        report = self.report()
        assert b"Content-Type: message/rfc822\r\n" in report.content
        assert b".text" in report.content
        assert report.message.flags & FLAG_8BIT == 0

    def test_what_cannot_stand_in_a_report(self):
        for changes in ({"size": MOST_RETURNED + 1}, {"flags": FLAG_TLS}):
            report = self.report(**changes)
            assert b"Content-Type: text/rfc822-headers" in report.content
            assert b".text" not in report.content
            assert report.message.flags & FLAG_TLS == changes.get("flags", 0)
            self.tearDown()

    def test_a_sender_beyond_ascii(self):
        self.make(row(id=1, sender="\u00fc@example.net"), routes={"*": KEY})
        self.agent.result, self.agent.fault = Result.BOUNCED, Fault.REPLY
        self.start()
        [report] = self.spool.reports
        assert report.message.flags & FLAG_UTF8
        assert "To: <\u00fc@example.net>\r\n".encode() in report.content
        [delivery] = report.deliveries
        assert delivery.rcpt == "\u00fc@example.net"


class TimesTest(ServiceCase):
    def test_mail_is_returned_when_its_sender_wants(self):
        self.make(row(id=1, by_at=NOW - 1, flags=FLAG_BY_RETURN))
        self.agent.result, self.agent.fault = Result.DEFERRED, Fault.REPLY
        self.start()
        [outcome] = self.spool.outcomes
        assert (outcome.result, outcome.code, outcome.status) == (Result.EXPIRED, 0, "5.4.7")
        [report] = self.spool.reports
        assert b"Status: 5.4.7\r\n" in report.content
        assert b"Deliver-By-Date: " in report.content

    def test_without_an_attempt_where_the_host_is_left_alone(self):
        self.make()
        self.service.startService()
        self.service._attempts.expire([row(id=1, by_at=NOW - 1, flags=FLAG_BY_RETURN), row(id=2, n=2)])
        self.service._hold([row(id=1), row(id=2)])
        self.go()
        assert [(out.result, out.status) for out in self.spool.outcomes] == [
            (Result.EXPIRED, "5.4.7"),
            (Result.EXPIRED, "4.4.1"),
        ]


def test_times():
    returned = row(by_at=NOW + MINUTE, flags=FLAG_BY_RETURN)
    assert next_due(NOW, returned, SETTINGS, lambda: 0.5) == NOW + MINUTE
    assert next_due(NOW + 2 * MINUTE, returned, SETTINGS, lambda: 0.5) == NOW + 7 * MINUTE
    assert not is_past_its_time(NOW, returned)
    assert is_past_its_time(NOW + MINUTE, returned)
    assert has_expired(NOW + MINUTE, returned, SETTINGS)
    reported = row(by_at=NOW + MINUTE)
    assert not is_past_its_time(NOW + DAY, reported)
    assert not has_expired(NOW + DAY, reported, SETTINGS)
    assert not is_worth_warning(NOW, reported, SETTINGS)
    assert is_worth_warning(NOW + MINUTE, reported, SETTINGS)
    assert not is_worth_warning(NOW + MINUTE, replace(reported, flags=FLAG_WARNED), SETTINGS)


def test_the_life_of_held_mail_begins_with_its_release():
    held = row(received_at=NOW - DAY, expires_at=NOW + SETTINGS.expire, flags=FLAG_LATER)
    assert not is_worth_warning(NOW + 3 * HOUR, held, SETTINGS)
    assert is_worth_warning(NOW + 5 * HOUR, held, SETTINGS)
    assert is_worth_warning(NOW + 3 * HOUR, replace(held, flags=0), SETTINGS)


def action(content):
    return content.partition(b"\r\nAction: ")[2].partition(b"\r\n")[0].decode()


CHUNKING = (b"PIPELINING", b"CHUNKING", b"DSN", b"SMTPUTF8", b"8BITMIME", b"BINARYMIME", b"REQUIRETLS")
TEXT = b"Received: here\r\nSubject: hi\r\n\r\n.text\r\n"


class PeerTest(AgentCase):
    def answered(self, d, far, recipients=1):
        sent = far.say(b"250 ok\r\n" + b"250 ok\r\n" * recipients)
        far.say(b"250 2.0.0 queued\r\n")
        return sent

    def test_content_in_one_chunk_and_duties_passed_on(self):
        one = self.one(notify=NOTIFY_SUCCESS, orcpt="rfc822;b@c", envid="QQ", ret=RET_FULL)
        d = self.attempt(one)
        far = self.net.accept()
        assert far.greet(*CHUNKING) == (
            b"MAIL FROM:<alice@example.org> RET=FULL ENVID=QQ\r\n"
            b"RCPT TO:<bob@example.net> NOTIFY=SUCCESS ORCPT=rfc822;b@c\r\n"
        )
        assert self.answered(d, far) == b"BDAT %d LAST\r\n" % len(TEXT) + TEXT
        outcome = self.only(d)
        assert (outcome.result, outcome.passed_on) == (Result.DELIVERED, True)
        assert b"> BDAT %d LAST" % len(TEXT) in outcome.transcript

    def test_to_a_peer_that_took_one_the_next_message_goes_in_one_group(self):
        d = self.attempt()
        far = self.net.accept()
        far.greet(*CHUNKING)
        self.answered(d, far)
        self.assertEqual(self.only(d).result, Result.DELIVERED)
        second = self.attempt()
        self.assertTrue(far.heard().endswith(b"BDAT %d LAST\r\n" % len(TEXT) + TEXT))
        self.assertFalse(second.called)
        far.say(b"250 ok\r\n550 5.1.1 who\r\n503 5.5.1 nobody\r\n")
        outcome = self.only(second)
        self.assertEqual((outcome.result, outcome.code), (Result.BOUNCED, 550))
        lines = outcome.transcript.splitlines()
        said = [n for n, line in enumerate(lines) if b"BDAT" in line]
        self.assertIn(b"RCPT TO", lines[said[0] - 1])
        self.assertIn(b"octets>", lines[said[0] + 1])
        third = self.attempt()  # who refused is asked first again
        self.assertNotIn(b"BDAT", far.heard())
        far.say(b"250 reset\r\n")
        self.assertIn(b"BDAT", self.answered(third, far))
        self.assertEqual(self.only(third).result, Result.DELIVERED)
        self.spool.bodies[1] = [b"x" * HURRY]
        large = self.attempt(self.one(size=HURRY))
        self.assertNotIn(b"BDAT", far.heard())
        self.assertIn(b"BDAT", self.answered(large, far))
        self.assertEqual(self.only(large).result, Result.DELIVERED)

    def test_a_peer_without_dsn_is_passed_no_duty(self):
        d = self.attempt(self.one(notify=NOTIFY_SUCCESS))
        far = self.net.accept()
        far.greet()
        far.take()
        assert self.only(d).passed_on is False

    def test_content_of_another_size_is_not_sent(self):
        """The store has less than its row says: the chunk is never completed."""
        d = self.attempt(self.one(size=99))
        far = self.net.accept()
        far.greet(*CHUNKING)
        far.say(b"250 ok\r\n250 ok\r\n")
        outcome = self.only(d)
        assert (outcome.result, outcome.fault) == (Result.DEFERRED, Fault.LOCAL)
        assert far.transport.closed == "aborted"
        assert b"BDAT" not in far.heard()

    def test_what_needs_tls_is_returned(self):
        """RFC 8689: until mail goes out by TLS, whatever the peer offers."""
        d = self.attempt(self.one(flags=FLAG_TLS))
        self.net.accept().greet(*CHUNKING)
        outcome = self.only(d)
        assert (outcome.result, outcome.fault, outcome.status) == (Result.BOUNCED, Fault.POLICY, "5.7.30")

    def test_binary_and_utf8_need_a_peer_that_takes_them(self):
        self.spool.bodies[1] = [b"\0" * 22]
        for flags, changes, status in (
            (FLAG_8BIT | FLAG_BINARY, {}, "5.6.3"),
            (FLAG_UTF8, {"rcpt": "\u00fc@example.net"}, "5.6.7"),
        ):
            d = self.attempt(self.one(flags=flags, **changes))
            if self.net.pending():
                far = self.net.accept()
                far.greet()
            assert self.only(d).status == status

    def test_no_more_messages_than_the_peer_takes(self):
        """RFC 9422: the next one goes on a connection of its own."""
        for _ in range(2):
            d = self.attempt()
            far = self.net.accept()
            far.greet(b"PIPELINING", b"LIMITS MAILMAX=1")
            far.take()
            assert far.after == b"QUIT\r\n"
            assert self.only(d).result is Result.DELIVERED
