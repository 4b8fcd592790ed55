"""What waits follows its route: walked once, also by those who come late, and never at the price of a row."""

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from netsvc.delivery import following
from netsvc.delivery.following import Following
from netsvc.delivery.ground import Ground
from netsvc.delivery.routing import Router
from netsvc.interfaces import IRerouting
from netsvc.mail.message import Hop, Kind, Result
from netsvc.mail.outcome import Outcome
from netsvc.store.rerouting import same
from tests.delivery.fakes import FakeQueue
from tests.delivery.rows import row
from tests.fakes import FakeDirectory, FakeLogbook, FakeSessions, FakeSite

OLD, NEW = "[127.0.0.1]:2526", "[127.0.0.1]:2527"
HOP = Hop(Kind.SMTP, NEW, "example.net", NEW)


@implementer(IRerouting)
class Rerouting:
    """``rev`` is what is pending; ``pages`` are answers of walks; ``moved`` what was moved; ``errors`` popped first."""

    shared = False
    same = staticmethod(same)

    def __init__(self, rev=0, pages=()):
        self.rev, self.pages = rev, list(pages)
        self.moved, self.walks, self.errors = [], [], []
        self.hold = None

    def pending(self):
        if self.errors:
            return fail(self.errors.pop())
        return succeed(self.rev)

    def applied(self, rev):
        self.rev = 0 if rev == self.rev else self.rev
        return succeed(None)

    def strays(self, after, limit, judge):
        self.walks.append(after)
        if self.hold is not None:
            return self.hold
        return succeed(self.pages.pop(0) if self.pages else (0, []))

    def move(self, moves):
        if self.errors:
            return fail(self.errors.pop())
        self.moved += moves
        return succeed(len(moves))


class FollowingTest(SynchronousTestCase):
    def make(self, rerouting, **site):
        self.clock = Clock()
        self.site = FakeSite(routes={"*": OLD}, **site)
        self.logbook = FakeLogbook()
        self.rerouting = rerouting
        self.leased = {}
        self.directory = FakeDirectory()
        ground = Ground(
            spool=FakeQueue(),
            directory=self.directory,
            site=self.site,
            sessions=FakeSessions(),
            logbook=self.logbook,
            reactor=self.clock,
            hostname="mx1.example.org",
            routing=Router(self.site),
            now=self.clock.seconds,
            chance=lambda: 0.5,
        )
        self.following = Following(ground, rerouting, self.leased)
        return self.following

    def tearDown(self):
        stopped = self.following.stop()
        self.assertTrue(stopped is None or stopped.called)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def change(self, rev=2):
        self.rerouting.rev = rev
        self.site.become(routes={"*": NEW})

    def test_nothing_is_walked_where_nothing_has_changed(self):
        self.make(Rerouting()).start()
        self.site.become(routes={"*": OLD}, relay_domains=("a.example",))
        self.clock.advance(100)
        self.assertEqual((self.rerouting.walks, self.following.unsettled), ([], False))

    def test_a_change_is_followed_by_all_that_waits_and_by_latecomers(self):
        self.make(Rerouting(pages=[(7, [(7, HOP)]), (0, [(9, HOP)]), (0, [(12, HOP)])])).start()
        self.change()
        self.assertTrue(self.following.unsettled)
        self.clock.advance(following.BREATH)
        self.assertEqual(self.rerouting.walks, [0, 7])
        self.clock.advance(following.LATECOMERS)
        self.assertEqual([number for number, _ in self.rerouting.moved], [7, 9, 12])
        self.assertGreater(self.rerouting.walks[2], 0)
        self.assertFalse(self.following.unsettled)
        self.assertEqual(self.logbook.named("delivery.rerouted"), [{"n": 3, "rev": 2}])

    def test_what_is_leased_before_it_is_known_whether_all_was_done_is_compared(self):
        self.make(Rerouting())
        self.rerouting.pending = Deferred
        self.following.start()
        self.assertTrue(self.following.unsettled)

    def test_what_a_former_process_left_undone_is_done(self):
        self.make(Rerouting(rev=5)).start()
        self.assertTrue(self.following.unsettled)
        self.clock.advance(following.LATECOMERS)
        self.assertEqual(self.rerouting.rev, 0)

    def test_a_change_during_a_walk_begins_another(self):
        self.make(Rerouting(rev=2)).start()
        self.change(rev=3)
        self.clock.advance(following.LATECOMERS)
        self.assertEqual(self.rerouting.rev, 3)
        self.assertTrue(self.following.unsettled)
        self.clock.advance(following.LATECOMERS)
        self.assertEqual((self.rerouting.rev, self.following.unsettled), (0, False))

    def test_nodes_take_turns(self):
        self.make(Rerouting()).start()
        self.rerouting.shared = True
        self.change()
        self.assertEqual(self.rerouting.walks, [])
        self.rerouting.rev = 0  # another node has done it
        self.clock.advance(following.TURNS)
        self.assertEqual((self.rerouting.walks, self.following.unsettled), ([], False))

    def test_a_store_that_does_not_answer_is_asked_again(self):
        self.make(Rerouting()).start()
        self.rerouting.errors = [ValueError()]
        self.change()
        self.assertTrue(self.following.unsettled)
        self.clock.advance(following.LOOK)
        self.assertEqual(self.rerouting.walks, [0])
        self.clock.advance(following.LATECOMERS)
        self.assertFalse(self.following.unsettled)

    def test_a_stop_ends_a_walk(self):
        self.make(Rerouting(rev=2))
        self.rerouting.hold = Deferred()
        self.following.start()
        self.assertEqual(self.rerouting.walks, [0])
        self.assertTrue(self.following.stop().called)
        self.assertEqual(self.logbook.records, [])

    def keep(self, *rows):
        return [r.id for r in self.successResultOf(Deferred.fromCoroutine(self.following.keep(list(rows))))]

    def test_what_is_leased_for_the_old_way_is_moved(self):
        self.make(Rerouting())
        rows = (row(id=1), row(id=2, dest_key=NEW, route=NEW), row(id=3, kind=Kind.MAILBOX))
        self.assertEqual(self.keep(*rows), [1, 3])
        self.assertEqual([number for number, _ in self.rerouting.moved], [2])

    def test_mail_of_domains_of_ours_stays(self):
        self.make(Rerouting())
        self.directory.is_local = lambda domain: succeed(True)
        self.assertEqual(self.keep(row(id=2, dest_key=NEW)), [2])

    def test_what_cannot_be_moved_is_tried_as_it_is(self):
        self.make(Rerouting())
        self.rerouting.errors = [ValueError()]
        self.assertEqual(self.keep(row(id=1), row(id=2, dest_key=NEW)), [1, 2])
        self.assertEqual(self.logbook.records[0][1], "delivery.fault")

    def test_what_was_being_tried_meanwhile_follows_when_it_waits_again(self):
        self.make(Rerouting()).start()
        self.leased.update({n: row(id=n) for n in (1, 2, 3)})
        self.change(rev=0)
        results = {1: Result.DEFERRED, 2: Result.DELIVERED, 3: Result.RELEASED, 4: Result.DEFERRED}
        self.following.settled([Outcome(n, result) for n, result in results.items()])
        self.assertEqual([number for number, _ in self.rerouting.moved], [1, 3])
        self.assertEqual(self.following.late, {})
