"""Senders hear that mail is late though its destination is left alone."""

from netsvc.delivery import lateness
from netsvc.delivery.runner import EXPIRE_POLL
from netsvc.mail.message import Result
from netsvc.settings import DeliverySettings
from tests.delivery.rows import NOW, row
from tests.delivery.test_runner import ServiceCase

HOUR = 3_600_000


class LatenessTest(ServiceCase):
    def late(self, *rows, **site):
        self.make(**site)
        self.spool.late = list(rows)
        self.start()
        self.go(EXPIRE_POLL + 1)
        return self.spool.reports

    def test_a_warning_without_an_attempt(self):
        one = row(id=1, received_at=NOW - 5 * HOUR)
        [report] = self.late(one)
        self.assertIn(b"Action: delayed", report.content)
        self.assertIn(b"Status: 4.4.1", report.content)
        self.assertIn(b"cannot be reached at present", report.content)
        self.assertEqual(report.about, (1,))
        [outcome] = self.spool.outcomes
        self.assertEqual((outcome.result, outcome.warned, outcome.due_at), (Result.RELEASED, True, 0))
        self.assertEqual(self.agent.attempts, [])
        self.assertEqual(self.service.leased, {})

    def test_who_wants_none_gets_none(self):
        self.assertEqual(self.late(row(id=1, received_at=NOW - 5 * HOUR, notify=2)), [])
        self.assertEqual([(o.result, o.warned) for o in self.spool.outcomes], [(Result.RELEASED, False)])

    def test_never(self):
        self.assertEqual(self.late(row(id=1), delivery=DeliverySettings(warn=0)), [])
        self.assertEqual(self.spool.outcomes, [])

    def test_a_report_that_cannot_be_made_is_made_later(self):
        self.make()
        self.directory.resolve = lambda address: 1 // 0
        self.spool.late = [row(id=1, received_at=NOW - 5 * HOUR)]
        self.start()
        self.go(EXPIRE_POLL + 1)
        self.assertEqual([(o.result, o.warned) for o in self.spool.outcomes], [(Result.RELEASED, False)])
        self.assertEqual(len(self.logbook.named("delivery.fault")), 1)

    def test_all_is_looked_at_again_after_an_hour(self):
        self.patch(lateness, "ANEW", 2)
        self.assertEqual(len(self.late(row(id=1, received_at=NOW - 5 * HOUR))), 1)
        self.spool.late = [row(id=2, message_id=2, received_at=NOW - 5 * HOUR)]
        self.go(EXPIRE_POLL + 1)
        self.assertEqual(len(self.spool.reports), 2)

    def test_without_room_nothing_is_taken(self):
        taken = []
        self.make()
        self.spool.late = [row(id=1)]
        found = lateness.Lateness(self.spool, self.service.site, taken.append, lambda: 0)
        with self.assertRaises(StopIteration):
            found.look().send(None)
        self.assertEqual(taken, [])
