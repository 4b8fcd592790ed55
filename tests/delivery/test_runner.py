"""The delivery service: lease, attempt, settle, stop, with a spool that obeys the test."""

from dataclasses import replace

from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from netsvc.delivery import lanes, runner
from netsvc.delivery.runner import DeliveryService
from netsvc.interfaces import IDeliveryAgent
from netsvc.mail.message import FLAG_REPORT, FLAG_WARNED, Kind, Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.records import StoreUnavailableError
from netsvc.settings import DAY, HOUR, MINUTE, DeliverySettings
from tests.delivery.fakes import FakeQueue, Network
from tests.delivery.rows import NOW, row
from tests.fakes import FakeDirectory, FakeLogbook, FakeSessions, FakeSite

KEY = "[127.0.0.1]:2526"


@implementer(IDeliveryAgent)
class FakeAgent:
    """Answers with ``result`` at once, or when the test fires what is in ``waiting``."""

    name = "fake"

    def __init__(self):
        self.attempts = []
        self.result = Result.DELIVERED
        self.fault = Fault.NONE
        self.hold = False
        self.error = None
        self.waiting = []

    def outcomes(self, rows):
        code = {Result.BOUNCED: 550, Result.DEFERRED: 450}.get(self.result, 0)
        return [Outcome(r.id, self.result, self.fault, code, "", "words", "host.example") for r in rows]

    def attempt(self, hop, message, recipients, observer):
        if self.error is not None:
            raise self.error
        self.attempts.append((hop, list(recipients)))
        if self.hold:
            d = Deferred()
            self.waiting.append((d, recipients))
            return d
        return succeed(self.outcomes(recipients))

    def answer(self):
        waiting, self.waiting = self.waiting, []
        for d, rows in waiting:
            d.callback(self.outcomes(rows))


class ServiceCase(SynchronousTestCase):
    def make(self, *rows, **site):
        self.net = Network()
        self.spool = FakeQueue(rows)
        self.logbook = FakeLogbook()
        self.directory = FakeDirectory()
        self.service = DeliveryService(
            self.spool,
            self.directory,
            FakeSite(**site),
            FakeSessions(),
            self.logbook,
            self.net,
            "mx1.example.org",
            now=self.net.seconds,
            chance=lambda: 0.5,
        )
        self.agent = FakeAgent()
        self.service._attempts.agents = dict.fromkeys(Kind, self.agent)
        return self.service

    def start(self):
        self.service.startService()
        self.go()

    def go(self, seconds=0.5):
        for _ in range(int(seconds / 0.05) + 1):
            self.net.advance(0.05)
            self.spool.clock += 50

    def results(self):
        return [(o.delivery_id, o.result) for o in self.spool.outcomes]

    def tearDown(self):
        if hasattr(self, "service") and self.service.running:
            stopped = self.service.stopService()
            self.agent.answer()
            self.go(40)
            self.successResultOf(stopped)
        calls = self.net.getDelayedCalls() if hasattr(self, "net") else []
        self.assertEqual(calls, [])


class DeliveryTest(ServiceCase):
    def test_what_is_due_is_delivered_and_settled(self):
        self.make(row(id=1), row(id=2, n=2), row(id=3, message_id=9))
        self.start()
        self.assertEqual(self.results(), [(1, Result.DELIVERED), (2, Result.DELIVERED), (3, Result.DELIVERED)])
        self.assertEqual([[r.id for r in rows] for _, rows in self.agent.attempts], [[1, 2], [3]])
        hop = self.agent.attempts[0][0]
        self.assertEqual((hop.kind, hop.key, hop.domain, hop.route), (Kind.SMTP, KEY, "example.net", KEY))
        self.assertEqual(self.spool.settles, [3])
        self.assertEqual(self.service.leased, {})
        [first, *_] = self.logbook.named("delivery.done")
        self.assertEqual((first["msg"], first["n"], first["result"]), (row().message_id, 1, "delivered"))
        self.assertEqual(self.spool.fine, [7])

    def test_many_recipients_are_many_transactions(self):
        self.make(*[row(id=n, n=n) for n in range(1, 251)])
        self.start()
        self.go(5)
        self.assertEqual([len(rows) for _, rows in self.agent.attempts], [100, 100, 50])
        self.assertEqual(len(self.results()), 250)

    def test_a_message_is_not_cut_into_pieces_for_want_of_room(self):
        self.patch(lanes, "MOST_LEASED", 8)
        self.make(*[row(id=n, n=n) for n in range(1, 11)])
        self.agent.hold = True
        self.start()
        self.assertEqual([len(rows) for _, rows in self.agent.attempts], [8])

    def test_what_may_have_ended_the_process_is_followed_by_the_next_at_once(self):
        self.make(row(id=1, crashes=2))
        self.start()
        self.spool.waiting.append(row(id=2, crashes=2, message_id=2))
        self.spool.wakes[0]()
        self.net.advance(0.05)
        looks = len(self.spool.leases)
        self.spool.waiting.append(row(id=3, crashes=2, message_id=3))
        for _ in range(3):  # settled, looked for, leased: long before the next steady look
            self.net.advance(0.05)
        self.assertGreater(len(self.spool.leases), looks)
        self.assertEqual([o.delivery_id for o in self.spool.outcomes][-1], 3)

    def test_wake_is_quick_and_poll_is_steady(self):
        self.make()
        self.start()
        self.spool.waiting.append(row(id=1))
        self.spool.wakes[0]()
        self.spool.wakes[0]()
        self.net.advance(runner.SHORTEST + 0.001)
        self.assertEqual(len(self.agent.attempts), 1)
        self.spool.waiting.append(row(id=2))
        self.net.advance(0.26)
        self.net.advance(runner.SHORTEST)
        self.assertEqual(len(self.agent.attempts), 2)

    def test_a_fast_destination_gets_more(self):
        self.make(*[row(id=n, message_id=n) for n in range(1, 2001)])
        self.start()
        self.go(10)
        self.assertEqual(len(self.results()), 2000)
        sizes = [n for [(_, n)] in self.spool.leases]
        self.assertEqual(sizes[:4], [5, 10, 20, 40])
        self.assertEqual(max(sizes), 500)
        self.assertLess(len(self.spool.settles), 30)

    def test_a_slow_destination_is_not_in_the_way(self):
        slow = [row(id=n, message_id=n, dest_id=1, dest_key="[192.0.2.1]:25") for n in range(1, 1001)]
        self.make(*slow)
        self.agent.hold = True
        self.start()
        self.assertEqual(len(self.agent.waiting), 5)
        self.agent.hold = False
        self.spool.waiting += [row(id=n, message_id=n, dest_id=2) for n in range(2001, 2101)]
        self.go(3)
        self.assertEqual(len(self.results()), 100)
        self.assertEqual(len(self.service.leased), 5)

    def test_a_destination_that_slows_down_gets_less(self):
        self.make(*[row(id=n, message_id=n) for n in range(1, 400)])
        self.start()
        lane = self.service._lanes.lanes[7]
        self.assertGreater(lane.allow, 5)
        self.agent.hold = True
        self.spool.waiting += [row(id=n, message_id=n) for n in range(400, 2000)]
        self.go(1)
        before = lane.allow
        for _ in range(3):
            self.go(6)
            self.agent.answer()
        self.assertLess(lane.allow, before)

    def test_what_is_in_memory_is_bounded(self):
        rows = [row(id=d * 10 + n, message_id=d * 10 + n, dest_id=d) for d in range(40) for n in range(5)]
        self.patch(lanes, "MOST_LEASED", 50)
        self.make(*rows)
        self.agent.hold = True
        self.start()
        self.go(3)
        self.assertEqual(len(self.service.leased), 50)
        self.agent.hold = False
        while self.agent.waiting or self.spool.waiting:
            self.agent.answer()
            self.go(1)
        self.assertEqual(len(self.results()), 200)

    def test_lanes_are_forgotten(self):
        self.make()
        self.start()
        for n in range(10_001):
            self.service._lanes.get(n + 100)
        self.spool.waiting.append(row(id=1))
        self.go(1)
        self.assertLess(len(self.service._lanes.lanes), 10)


class FailureTest(ServiceCase):
    def settled(self, **changes):
        self.start()
        [outcome] = self.spool.outcomes
        return outcome

    def test_deferred(self):
        self.make(row(id=1, attempts=2))
        self.agent.result, self.agent.fault = Result.DEFERRED, Fault.REPLY
        outcome = self.settled()
        self.assertEqual((outcome.result, outcome.reply, outcome.code), (Result.DEFERRED, "words", 450))
        self.assertLess(abs(outcome.due_at - NOW - 10 * MINUTE), 1000)
        self.assertEqual(self.spool.reports, [])
        self.assertFalse(outcome.warned)

    def test_bounced_with_a_report(self):
        self.make(row(id=1), row(id=2, n=2, rcpt="eve@example.net"), routes={"*": KEY})
        self.agent.result, self.agent.fault = Result.BOUNCED, Fault.REPLY
        self.start()
        [report] = self.spool.reports
        self.assertEqual(self.results(), [(1, Result.BOUNCED), (2, Result.BOUNCED)])
        self.assertEqual(report.about, (1, 2))
        message = report.message
        self.assertEqual((message.sender, message.flags & FLAG_REPORT, message.rcpts), ("", FLAG_REPORT, 1))
        self.assertEqual(message.size, len(report.content))
        self.assertEqual(report.deliveries, ())
        [local] = report.local
        self.assertEqual((local.rcpt, local.domain, local.mailbox_id), ("alice@example.org", "example.org", 1))
        self.assertTrue(local.hdr.startswith(b"Return-Path: <>\r\nReceived: by mx1.example.org"))
        self.assertIn(b"Final-Recipient: rfc822; eve@example.net", report.content)
        self.assertIn(b"Subject: hi\r\n", report.content)
        self.assertNotIn(b".text", report.content)

    def test_expired(self):
        self.make(row(id=1, attempts=9, expires_at=NOW - 1))
        self.agent.result = Result.DEFERRED
        outcome = self.settled()
        self.assertIs(outcome.result, Result.EXPIRED)
        self.assertEqual((outcome.reply, outcome.due_at), ("words", 0))
        self.assertIn(b"Action: failed", self.spool.reports[0].content)

    def test_delay_warning_once(self):
        self.make(row(id=1, attempts=3, received_at=NOW - 5 * HOUR))
        self.agent.result = Result.DEFERRED
        outcome = self.settled()
        self.assertTrue(outcome.warned)
        [report] = self.spool.reports
        self.assertIn(b"Action: delayed", report.content)
        self.spool.waiting.append(row(id=2, attempts=3, received_at=NOW - 5 * HOUR))
        self.go()
        self.assertFalse(self.spool.outcomes[1].warned)
        self.assertEqual(len(self.spool.reports), 1)

    def test_an_agent_that_raises(self):
        self.make(row(id=1))
        self.agent.error = ZeroDivisionError()
        outcome = self.settled()
        self.assertEqual((outcome.result, outcome.fault, outcome.status), (Result.DEFERRED, Fault.LOCAL, "4.3.0"))
        self.assertEqual(len(self.logbook.named("delivery.fault")), 1)

    def test_a_dead_destination_is_left_alone(self):
        self.make(*[row(id=n, message_id=n) for n in range(1, 4)])
        self.agent.result, self.agent.fault = Result.DEFERRED, Fault.CONNECT_REFUSED
        self.start()
        [(dest, until, outcome)] = self.spool.failed
        self.assertEqual((dest, outcome.reply), (7, "words"))
        self.assertLess(abs(until - NOW - 5 * MINUTE), 1000)
        self.assertEqual(len(self.logbook.named("delivery.destination_down")), 1)
        self.spool.waiting.append(row(id=9))
        self.go(2)
        self.assertEqual(len(self.agent.attempts), 3)
        self.spool.clock = until
        self.go(1)
        self.assertEqual(len(self.spool.failed), 2)
        self.assertGreater(self.spool.failed[1][1] - until, 9 * MINUTE)
        self.agent.result, self.agent.fault = Result.DELIVERED, Fault.NONE
        self.spool.clock += HOUR
        self.spool.waiting.append(row(id=10))
        self.go(1)
        self.assertEqual(self.spool.fine, [7])

    def test_what_expires_at_a_dead_destination_is_given_up_without_an_attempt(self):
        long_ago = NOW - 6 * 24 * HOUR
        self.make()
        self.spool.dead[7] = NOW + HOUR
        self.start()
        old = [row(id=n, message_id=1 + n % 2, received_at=long_ago, expires_at=NOW - 1) for n in range(1, 5)]
        self.spool.waiting = [*old, row(id=9, message_id=9)]
        self.go(59)
        self.assertEqual(self.spool.outcomes, [])
        self.go(2)
        self.assertEqual(self.agent.attempts, [])
        self.assertEqual(sorted(o.delivery_id for o in self.spool.outcomes), [1, 2, 3, 4])
        self.assertEqual(
            {(o.result, o.fault, o.status) for o in self.spool.outcomes}, {(Result.EXPIRED, Fault.EXPIRED, "4.4.1")}
        )
        self.assertEqual(len(self.spool.reports), 2)
        self.assertIn(b"could not be reached before", self.spool.reports[0].content)
        self.assertEqual([r.id for r in self.spool.waiting], [9])

    def test_looking_for_the_expired_may_fail(self):
        self.make()
        self.start()
        self.spool.overdue_error = ZeroDivisionError()
        self.go(61)
        self.assertEqual(len(self.logbook.named("delivery.fault")), 1)
        self.spool.overdue_error = None
        self.go(60)
        self.assertEqual(len(self.logbook.named("delivery.fault")), 1)

    def test_connections_that_fail_side_by_side_are_one_failure(self):
        self.make(*[row(id=n, message_id=n) for n in range(1, 6)])
        self.agent.result, self.agent.fault = Result.DEFERRED, Fault.CONNECT_REFUSED
        self.start()
        self.assertEqual(len(self.agent.attempts), 5)
        self.assertEqual(len({until for _, until, _ in self.spool.failed}), 1)
        self.assertLess(abs(self.spool.failed[-1][1] - NOW - 5 * MINUTE), 1000)
        self.assertEqual(len(self.logbook.named("delivery.destination_down")), 1)

    def test_an_operator_may_try_a_dead_destination(self):
        self.make(*[row(id=n, message_id=n) for n in range(1, 4)])
        self.agent.result, self.agent.fault = Result.DEFERRED, Fault.CONNECT_REFUSED
        self.start()
        self.assertEqual(len(self.spool.failed), 1)
        self.agent.result, self.agent.fault = Result.DELIVERED, Fault.NONE
        self.spool.waiting.append(row(id=9, message_id=9))
        self.spool.dead.clear()
        self.spool.wakes[0]()
        self.go(1)
        self.assertIn((9, Result.DELIVERED), self.results())

    def test_released_rows_are_due_now(self):
        self.make(row(id=1))
        self.agent.result = Result.RELEASED
        outcome = self.settled()
        self.assertEqual(outcome.result, Result.RELEASED)
        self.assertLess(abs(outcome.due_at - NOW), 1000)
        self.assertEqual(self.logbook.named("delivery.done"), [])
        self.assertEqual(self.spool.fine, [])

    def test_a_lost_lease_is_told(self):
        self.make(row(id=1))
        self.spool.lost = (1, 77)
        self.start()
        self.assertEqual(len(self.logbook.named("delivery.lost_lease")), 1)

    def test_a_store_that_does_not_answer_is_asked_again(self):
        self.make(row(id=1))
        self.spool.settle_errors = [StoreUnavailableError("no"), StoreUnavailableError("no")]
        self.start()
        self.assertEqual(self.results(), [])
        self.go(3)
        self.assertEqual(self.results(), [(1, Result.DELIVERED)])
        self.assertEqual(len(self.logbook.named("delivery.fault")), 2)

    def test_settling_gathers_while_a_settle_is_under_way(self):
        self.make(row(id=1))
        self.spool.hold_settle = True
        self.start()
        self.spool.waiting += [row(id=n, message_id=n) for n in range(2, 5)]
        self.go()
        self.assertEqual(self.spool.settles, [1])
        self.spool.hold_settle = False
        d, answer = self.spool.unsettled.pop()
        d.callback(answer)
        self.go()
        self.assertEqual(self.spool.settles, [1, 3])

    def test_a_report_that_cannot_be_made_is_tried_again(self):
        self.make(row(id=1))
        self.directory.error = StoreUnavailableError("no")
        self.agent.result = Result.BOUNCED
        self.start()
        self.assertEqual(self.results(), [])
        self.directory.error = None
        self.go(6)
        self.assertEqual(self.results(), [(1, Result.BOUNCED)])
        self.assertEqual(len(self.spool.reports), 1)

    def test_reports_that_cannot_be_made_are_not_counted(self):
        self.make(row(id=1), delivery=replace(DeliverySettings(), reports=2))
        self.directory.error = StoreUnavailableError("no")
        self.agent.result = Result.BOUNCED
        self.start()
        for _ in range(5):
            self.go(6)
        self.directory.error = None
        self.go(6)
        self.assertEqual((self.results(), len(self.spool.reports)), ([(1, Result.BOUNCED)], 1))
        self.assertEqual(self.logbook.named("delivery.report_withheld"), [])

    def test_what_a_process_left_behind_is_compared_with_the_routes(self):
        self.make(row(id=1), row(id=2, message_id=2, crashes=1))
        shown = []

        class Following:
            unsettled, late = False, {}

            async def keep(self, rows):
                shown.append([each.id for each in rows])
                return [each for each in rows if not each.crashes]

            def start(self):
                pass

            def stop(self):
                pass

        self.service._following = Following()
        self.start()
        self.assertEqual((shown, self.results()), ([[1, 2]], [(1, Result.DELIVERED)]))
        self.spool.waiting = [row(id=3, message_id=3)]
        self.go()
        self.assertEqual(len(shown), 1)

    def test_a_lease_nobody_knows_of_is_given_back(self):
        self.make(row(id=1))
        self.agent.hold = True
        self.start()
        self.spool.held_ids = [1, 77]
        self.go(runner.EXPIRE_POLL)
        self.assertEqual(self.results(), [])
        self.go(runner.EXPIRE_POLL)
        self.assertEqual(self.results(), [(77, Result.RELEASED)])
        self.assertEqual(self.logbook.named("delivery.given_back"), [{"n": 1}])

    def test_what_the_store_never_takes_keeps_nothing_else(self):
        self.make(row(id=1))
        self.spool.hold_settle = True
        self.start()
        self.spool.waiting += [row(id=n, message_id=n) for n in range(2, 7)]
        self.go()
        settle = self.spool.settle

        def picky(outcomes, reports):
            if any(outcome.delivery_id == 3 for outcome in outcomes):
                return fail(OverflowError("3"))
            return settle(outcomes, reports)

        self.spool.settle = picky
        self.spool.hold_settle = False
        d, answer = self.spool.unsettled.pop()
        d.callback(answer)
        self.go(2)
        self.assertEqual(sorted(number for number, _ in self.results()), [1, 2, 4, 5, 6])
        self.spool.settle = settle
        self.go(60)
        self.assertEqual(self.service.leased, {})

    def test_what_was_delivered_does_not_wait_for_the_others_report(self):
        self.make(row(id=1), row(id=2, n=2))
        self.directory.error = StoreUnavailableError("no")
        results = iter([Result.DELIVERED, Result.BOUNCED])
        self.agent.outcomes = lambda rows: [Outcome(r.id, next(results), reply="words") for r in rows]
        self.start()
        self.assertEqual(self.results(), [(1, Result.DELIVERED)])
        self.directory.error = None
        self.go(6)
        self.assertEqual(self.results(), [(1, Result.DELIVERED), (2, Result.BOUNCED)])
        self.assertEqual(len(self.spool.reports), 1)
        self.assertEqual(self.service.leased, {})

    def test_an_agent_that_forgets_a_recipient(self):
        self.make(row(id=1), row(id=2, n=2))
        self.agent.outcomes = lambda rows: [Outcome(rows[0].id, Result.DELIVERED)]
        self.start()
        self.assertEqual(self.results(), [(1, Result.DEFERRED), (2, Result.DEFERRED)])

    def test_what_was_leased_is_taken_when_leasing_more_fails(self):
        self.make(*[row(id=n, n=n) for n in range(1, 9)])
        lease, calls = self.spool.lease, []

        def fragile(wants):
            calls.append(wants)
            return fail(StoreUnavailableError("no")) if len(calls) == 2 else lease(wants)

        self.spool.lease = fragile
        self.start()
        self.assertEqual(len(self.results()), 8)
        self.assertEqual(self.service.leased, {})

    def test_due_that_fails_is_asked_again(self):
        self.make()
        due, self.spool.due = self.spool.due, lambda limit: 1 / 0
        self.start()
        self.assertTrue(self.logbook.named("delivery.fault"))
        self.spool.due = due
        self.spool.waiting.append(row(id=1))
        self.go()
        self.assertEqual(self.results(), [(1, Result.DELIVERED)])


class KindTest(ServiceCase):
    def real(self, *rows, **site):
        service = self.make(*rows, **site)
        from netsvc.delivery.attempts import Attempts

        ground = service._attempts._ground
        service._attempts = Attempts(ground, service._came)
        return service

    def test_mx_without_a_resolver_waits(self):
        self.real(row(id=1, dest_key="example.net", route="mx"))
        self.start()
        [outcome] = self.spool.outcomes
        self.assertEqual(
            (outcome.result, outcome.fault, outcome.reply),
            (Result.DEFERRED, Fault.DNS, "there is no resolver"),
        )
        self.assertGreater(outcome.due_at, NOW)

    def test_commands_and_agents_that_are_not_there(self):
        routes = {Kind.COMMAND: "command:gone", Kind.PLUGIN: "agent:gone x"}
        self.real(*[row(id=kind, message_id=kind, kind=kind, dest_key=x, route=x) for kind, x in routes.items()])
        self.start()
        self.assertEqual(
            [o.reply for o in self.spool.outcomes],
            ["there is no command gone", "no plugin of this node brings agent gone"],
        )

    def test_mailboxes(self):
        box = {"kind": Kind.MAILBOX, "dest_key": "mailbox", "route": "mailbox:1"}
        self.real(
            row(id=1, message_id=1, **box),
            row(id=2, message_id=2, attempts=9, expires_at=NOW - 1, **box),
            row(id=3, message_id=3, attempts=1, expires_at=NOW - 1, **box),
        )
        self.start()
        self.assertEqual(self.results(), [(1, Result.DELIVERED), (2, Result.EXPIRED), (3, Result.DELIVERED)])
        self.assertIn(b"the mailbox is full", self.spool.reports[0].content)

    def test_a_mailbox_that_is_nobodys_any_more(self):
        box = {"kind": Kind.MAILBOX, "dest_key": "mailbox", "route": "mailbox 1"}
        self.real(
            row(id=1, rcpt="gone@example.org", **box),
            row(id=2, n=2, rcpt="alice@example.org", **box),
            row(id=3, n=3, rcpt="x@given-up.example", **box),
        )
        self.start()
        self.assertEqual(self.results(), [(1, Result.BOUNCED), (2, Result.DELIVERED), (3, Result.DELIVERED)])
        self.assertIn(b"Status: 5.1.1", self.spool.reports[0].content)

    def test_what_the_store_decides_otherwise_is_logged_so(self):
        self.real(row(id=1, kind=Kind.MAILBOX, dest_key="mailbox", route="mailbox 1", rcpt="alice@example.org"))
        settle = self.spool.settle
        full = Outcome(1, Result.DEFERRED, Fault.LOCAL, 452, "4.2.2", "The mailbox is full")
        self.spool.settle = lambda *args: settle(*args).addCallback(lambda told: replace(told, changed=(full,)))
        self.start()
        self.assertEqual([entry["result"] for entry in self.logbook.named("delivery.done")], ["deferred"])

    def test_smtp(self):
        self.real(row(id=1))
        self.start()
        far = self.net.accept()
        far.greet()
        far.take()
        self.go()
        self.assertEqual(self.results(), [(1, Result.DELIVERED)])
        far.drop()

    def test_a_dead_host_gives_back_what_was_not_tried(self):
        self.real(*[row(id=n, message_id=n) for n in range(1, 9)])
        self.start()
        while self.net.pending():
            self.net.refuse(error.ConnectionRefusedError())
        self.go()
        results = [result for _, result in self.results()]
        self.assertEqual(results.count(Result.DEFERRED), 5)
        self.assertEqual(len(self.spool.waiting), 3)
        self.assertEqual(len({dest for dest, _, _ in self.spool.failed}), 1)


class ReportTest(ServiceCase):
    def bounce(self, one, **site):
        self.make(one, **site)
        self.agent.result, self.agent.fault = Result.BOUNCED, Fault.REPLY
        self.start()
        self.assertEqual(self.results(), [(one.id, Result.BOUNCED)])
        return self.spool.reports

    def test_never_to_the_null_sender(self):
        self.assertEqual(self.bounce(row(id=1, sender="")), [])

    def test_a_sender_elsewhere(self):
        [report] = self.bounce(row(id=1, sender="x@Elsewhere.example"), routes={"elsewhere.example": KEY})
        [delivery] = report.deliveries
        self.assertEqual((delivery.rcpt, delivery.domain), ("x@elsewhere.example", "elsewhere.example"))
        self.assertEqual((delivery.hop.key, delivery.n), (KEY, 1))
        self.assertLess(abs(delivery.due_at - NOW), 1000)
        self.assertEqual(report.local, ())

    def test_a_report_that_bounces_goes_to_the_postmaster_once(self):
        from netsvc.mail.message import MailboxRef, Resolution

        lost = row(id=1, sender="", flags=FLAG_REPORT | FLAG_WARNED)
        self.make(lost)
        self.directory.known["postmaster@mx1.example.org"] = Resolution(
            True, (MailboxRef(3, "postmaster@example.org"),)
        )
        self.agent.result = Result.BOUNCED
        self.start()
        [report] = self.spool.reports
        [local] = report.local
        self.assertEqual((local.mailbox_id, local.rcpt), (3, "postmaster@mx1.example.org"))
        self.assertEqual((report.deliveries, report.message.flags & FLAG_REPORT), ((), FLAG_REPORT))
        self.spool.waiting.append(row(id=2, sender="", flags=FLAG_REPORT, rcpt="postmaster@mx1.example.org"))
        self.go()
        self.assertEqual(len(self.spool.reports), 1)

    def test_the_postmaster_may_be_anywhere_and_is_told_once(self):
        from netsvc.mail.message import FLAG_LAST, MailboxRef, Resolution

        self.make(row(id=1, sender="", flags=FLAG_REPORT | FLAG_WARNED), routes={"*": KEY})
        boxes = (MailboxRef(2, "pm@example.org", "maildir", "/var/mail/pm"),)
        self.directory.known["postmaster@mx1.example.org"] = Resolution(True, boxes, ("pm@elsewhere.example",))
        self.agent.result = Result.BOUNCED
        self.start()
        [report] = self.spool.reports
        self.assertEqual([d.rcpt for d in report.deliveries], ["pm@example.org", "pm@elsewhere.example"])
        self.assertTrue(report.message.flags & FLAG_LAST)
        flags = report.message.flags
        self.spool.waiting.append(row(id=2, message_id=2, sender="", flags=flags, rcpt="pm@elsewhere.example"))
        self.go()
        self.assertEqual(len(self.spool.reports), 1)

    def test_one_sender_is_not_sent_too_many(self):
        from netsvc.settings import DeliverySettings

        rows = [row(id=n, message_id=n, sender="Bob@elsewhere.example") for n in range(1, 6)]
        self.make(*rows, row(id=9, message_id=9), delivery=DeliverySettings(reports=2))
        self.agent.result = Result.BOUNCED
        self.start()
        told = [(report.about, b"were not sent" in report.content) for report in self.spool.reports]
        self.assertEqual(told, [((1,), False), ((2,), False), ((9,), False)])
        self.assertEqual(len(self.spool.outcomes), 6)
        self.assertEqual(len(self.logbook.named("delivery.report_withheld")), 3)
        self.net.advance(3601)
        self.spool.waiting.append(row(id=10, message_id=10, sender="bob@elsewhere.example"))
        self.go()
        self.assertIn(b"3 reports to you before this one were not sent", self.spool.reports[-1].content)

    def test_nobody_to_tell(self):
        for sender in ("gone@example.org", "not an address"):
            self.assertEqual(self.bounce(row(id=1, sender=sender)), [])
            self.assertEqual(len(self.logbook.named("delivery.unreported")), 1)
            self.tearDown()

    def test_a_delay_is_not_told_to_the_postmaster(self):
        self.make(row(id=1, attempts=3, received_at=NOW - 5 * HOUR, sender="gone@example.org"))
        self.agent.result = Result.DEFERRED
        self.start()
        self.assertEqual(self.spool.reports, [])

    def test_aliases_and_folders(self):
        from netsvc.mail.message import MailboxRef, Resolution

        self.make(row(id=1), routes={"*": KEY})
        boxes = (MailboxRef(1, "alice@example.org"), MailboxRef(2, "arch@example.org", "maildir", "/var/mail/arch"))
        self.directory.known["alice@example.org"] = Resolution(True, boxes, ("x@elsewhere.example",))
        self.agent.result = Result.BOUNCED
        self.start()
        [report] = self.spool.reports
        self.assertEqual([local.n for local in report.local], [1])
        self.assertEqual(
            [(d.n, d.rcpt, d.hop.kind, d.hop.key) for d in report.deliveries],
            [
                (2, "arch@example.org", Kind.MAILDIR, "maildir:/var/mail/arch"),
                (3, "x@elsewhere.example", Kind.SMTP, KEY),
            ],
        )
        self.assertEqual(report.message.rcpts, 3)

    def test_without_the_content(self):
        self.make(row(id=1))
        self.spool.body_error = LookupError("gone")
        self.agent.result = Result.BOUNCED
        self.start()
        self.assertIn(b"Received: here\r\n", self.spool.reports[0].content)

    def test_status_where_the_peer_gave_none(self):
        [report] = self.bounce(row(id=1))
        self.assertIn(b"Status: 5.0.0", report.content)
        self.make(row(id=1, attempts=9, expires_at=NOW - DAY))
        self.agent.result = Result.DEFERRED
        self.agent.outcomes = lambda rows: [Outcome(r.id, Result.DEFERRED) for r in rows]
        self.start()
        self.assertIn(b"Status: 4.4.7", self.spool.reports[0].content)

    def test_what_is_remembered_is_bounded(self):
        self.make()
        reports = self.service._attempts._reports
        for n in range(10_001):
            reports._remember(n)
        self.assertEqual(len(reports._warned), 10_000)


class StopTest(ServiceCase):
    def test_stop_releases_and_settles(self):
        self.make(*[row(id=n, message_id=n) for n in range(1, 5)])
        service = self.service
        from netsvc.delivery.attempts import Attempts

        service._attempts = Attempts(service._attempts._ground, service._came)
        self.start()
        stopped = service.stopService()
        self.go(1)
        self.successResultOf(stopped)
        self.assertEqual({result for _, result in self.results()}, {Result.RELEASED})
        self.assertEqual(len(self.results()), 4)
        self.spool.wakes[0]()
        self.assertEqual(self.net.getDelayedCalls(), [])
        self.assertTrue(self.logbook.named("delivery.stopped"))

    def test_stop_does_not_wait_for_ever_for_the_store(self):
        self.make(row(id=1))
        self.spool.settle_errors = [StoreUnavailableError("no")] * 99
        self.start()
        stopped = self.service.stopService()
        self.go(5)
        self.assertNoResult(stopped)
        self.go(60)
        self.successResultOf(stopped)

    def test_stop_while_a_report_cannot_be_made(self):
        self.make(row(id=1))
        self.directory.error = StoreUnavailableError("no")
        self.agent.result = Result.BOUNCED
        self.start()
        stopped = self.service.stopService()
        self.go(10)
        self.successResultOf(stopped)
        self.assertEqual(self.results(), [(1, Result.RELEASED)])

    def test_stop_while_a_report_cannot_be_made_forgets_no_delivery(self):
        self.make(row(id=1), row(id=2, n=2))
        self.directory.error = StoreUnavailableError("no")
        results = iter([Result.DELIVERED, Result.BOUNCED])
        self.agent.outcomes = lambda rows: [Outcome(r.id, next(results), reply="words") for r in rows]
        self.start()
        stopped = self.service.stopService()
        self.go(10)
        self.successResultOf(stopped)
        self.assertEqual(self.results(), [(1, Result.DELIVERED), (2, Result.RELEASED)])

    def test_stop_while_leasing(self):
        self.make(row(id=1))
        lease = self.spool.lease
        held = Deferred()
        self.spool.lease = lambda wants: held.addCallback(lambda _: lease(wants))
        self.start()
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        held.callback(None)
        self.go(1)
        self.successResultOf(stopped)
        self.assertEqual(len(self.results()), 1)

    def test_stop_with_a_look_ahead(self):
        self.make()
        self.start()
        self.service.wake()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.net.getDelayedCalls(), [])

    def test_stop_before_anything(self):
        self.make()
        self.service.startService()
        self.successResultOf(self.service.stopService())
