"""Whether mail is taken: space, commits that fail, and how it comes back."""

from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from netsvc.interfaces import ICheckup
from netsvc.mail.reply import NO_SPACE, NOT_TAKEN
from netsvc.records import StoreUnavailableError
from netsvc.vitals.readiness import DAMAGED_S, EVERY_S, SOON_S, Readiness
from tests.fakes import FakeLogbook

LIMIT = 1000


class StoreFullError(StoreUnavailableError):
    full = True


@implementer(ICheckup)
class Checkup:
    """``free``, ``failed``, ``probing`` (an exception or a Deferred), ``damage``, ``broken`` are what it says."""

    def __init__(self):
        self.free = 10_000
        self.failed = 0
        self.probing = None
        self.damage = ""
        self.broken = None
        self.probes = self.looks = 0

    def measure(self):
        if self.broken:
            raise self.broken
        return self.free, 20_000, self.failed

    def probe(self):
        self.probes += 1
        if isinstance(self.probing, Exception):
            return fail(self.probing)
        return self.probing or succeed(None)

    def examine(self):
        self.looks += 1
        return self.damage


class ReadinessTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.logbook = FakeLogbook()
        self.checkup = Checkup()
        self.readiness = Readiness(self.checkup, self.logbook, self.clock, execute, LIMIT)
        self.readiness.start()

    def tearDown(self):
        self.readiness.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def names(self):
        return [name for _, name, _ in self.logbook.records]

    def test_promises(self):
        self.assertTrue(verifyObject(ICheckup, self.checkup))

    def test_all_is_well(self):
        self.assertIsNone(self.readiness.refusal(LIMIT))
        self.clock.advance(10 * EVERY_S)
        self.assertEqual(self.checkup.probes, 0)
        self.assertEqual(self.names(), [])
        disk, store = self.readiness.rows()
        self.assertEqual((disk["state"], disk["value"], disk["limit"]), ("ok", 10_000, 1500))
        self.assertEqual((store["state"], store["why"]), ("ok", ""))

    def test_t31_too_little_space(self):
        self.checkup.free = 1499
        self.clock.advance(EVERY_S)
        self.assertIs(self.readiness.refusal(LIMIT), NO_SPACE)
        self.assertIsNone(self.readiness.refusal(LIMIT // 2))  # a listener for small messages goes on
        self.clock.advance(10 * SOON_S)
        self.assertEqual(self.names(), ["store.disk_low"])
        self.assertEqual(self.readiness.rows()[0]["state"], "full")
        self.checkup.free = 1500
        self.clock.advance(SOON_S)
        self.assertIsNone(self.readiness.refusal(LIMIT))
        self.assertEqual(self.names(), ["store.disk_low", "store.disk_ok"])
        self.assertEqual((self.checkup.probes, self.checkup.looks), (1, 0))

    def test_t31_a_commit_that_found_no_room(self):
        self.checkup.probing = StoreFullError("database or disk is full")
        self.readiness.not_stored(StoreFullError("database or disk is full"))
        self.assertIs(self.readiness.refusal(1), NO_SPACE)  # whatever the measurement says
        self.clock.advance(0)
        self.clock.advance(5 * SOON_S)
        self.assertIs(self.readiness.refusal(1), NO_SPACE)
        self.checkup.probing = None
        self.clock.advance(SOON_S)
        self.assertIsNone(self.readiness.refusal(1))
        self.assertEqual(self.names(), ["store.disk_low", "store.disk_ok"])

    def test_t32_a_commit_that_failed(self):
        self.checkup.probing = StoreUnavailableError("disk I/O error")
        self.readiness.not_stored(StoreUnavailableError("disk I/O error"))
        self.assertIs(self.readiness.refusal(1), NOT_TAKEN)
        for _ in range(5):
            self.clock.advance(SOON_S)
        self.assertIs(self.readiness.refusal(1), NOT_TAKEN)
        self.assertEqual(self.readiness.rows()[1]["why"], "mail is refused with 451: disk I/O error")
        self.readiness.not_stored(StoreFullError("and full"))  # the worse stays
        self.assertIs(self.readiness.refusal(1), NOT_TAKEN)
        self.checkup.probing = None
        self.clock.advance(0)
        self.assertIsNone(self.readiness.refusal(1))
        self.assertEqual(self.checkup.looks, 1)
        self.assertEqual(self.names(), ["store.unwell", "store.well"])
        self.assertEqual(self.logbook.named("store.well")[0]["took_ms"], 5000)

    def test_t32_damaged_files_are_not_written_again(self):
        self.checkup.damage = "queue.db is damaged: row 7 missing from index"
        self.readiness.not_stored(StoreUnavailableError("disk I/O error"))
        self.clock.advance(0)
        self.assertIs(self.readiness.refusal(1), NOT_TAKEN)
        self.assertIn("row 7", self.readiness.rows()[1]["why"])
        self.clock.advance(DAMAGED_S - 1)
        self.assertEqual(self.checkup.looks, 1)
        self.checkup.damage = ""
        self.clock.advance(1)
        self.assertIsNone(self.readiness.refusal(1))

    def test_commits_of_others_that_fail_are_noticed(self):
        self.checkup.failed = 1
        self.checkup.probing = StoreUnavailableError("no")
        self.clock.advance(EVERY_S)
        self.assertIs(self.readiness.refusal(1), NOT_TAKEN)
        self.checkup.probing = None
        self.clock.advance(SOON_S)
        self.assertIsNone(self.readiness.refusal(1))
        self.assertEqual(self.readiness.rows()[1]["count"], 1)

    def test_commits_that_failed_before_we_looked_are_not_ours(self):
        checkup = Checkup()
        checkup.failed = 7
        other = Readiness(checkup, self.logbook, Clock(), execute)
        other.start()
        self.assertIsNone(other.refusal(1))
        other.stop()

    def test_a_disk_that_cannot_be_measured(self):
        self.checkup.broken = OSError(5, "Input/output error")
        self.clock.advance(EVERY_S)
        self.assertIs(self.readiness.refusal(1), NOT_TAKEN)
        self.checkup.broken = None
        self.clock.advance(SOON_S)
        self.assertIsNone(self.readiness.refusal(1))

    def test_a_store_without_a_disk_of_ours(self):
        self.checkup.free = None
        self.clock.advance(EVERY_S)
        self.assertIsNone(self.readiness.refusal(1 << 40))
        self.assertEqual([row["name"] for row in self.readiness.rows()], ["store"])

    def test_a_mistake_of_ours_is_logged_and_looked_at_again(self):
        self.checkup.broken = KeyError("x")
        self.clock.advance(EVERY_S)
        self.checkup.broken = None
        self.clock.advance(EVERY_S)
        self.assertEqual(self.names(), ["store.failed"])

    def test_the_end_waits_for_what_is_being_looked_at(self):
        self.checkup.probing = waiting = Deferred()
        self.readiness.not_stored(StoreUnavailableError("no"))
        self.clock.advance(0)
        self.readiness.not_stored(StoreUnavailableError("again"))  # while a look is under way
        ended = self.readiness.stop()
        self.assertNoResult(ended)
        waiting.callback(None)
        self.successResultOf(ended)
