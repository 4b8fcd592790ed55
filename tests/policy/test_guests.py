"""What the checks of guests share."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.policy.guests import Remembered


class Remembering(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.looked = []
        self.known = Remembered(self.find, self.clock, 10, limit=2)

    async def find(self, key):
        looking = Deferred()
        self.looked.append((key, looking))
        return await looking

    def test_once_for_all(self):
        first, second, third = (self.known.get("a") for _ in range(3))
        second.cancel()
        self.failureResultOf(second)
        ((key, looking),) = self.looked
        assert key == "a"
        looking.callback(5)
        assert (self.successResultOf(first), self.successResultOf(third)) == (5, 5)
        assert self.successResultOf(self.known.get("a")) == 5
        self.clock.advance(10)
        self.assertNoResult(self.known.get("a"))
        assert len(self.looked) == 2

    def test_failures_are_told_and_not_remembered(self):
        asked = self.known.get("a")
        self.known.ahead("a")
        self.looked[0][1].errback(ZeroDivisionError())
        self.failureResultOf(asked, ZeroDivisionError)
        self.known.ahead("a")
        assert len(self.looked) == 2

    def test_bounds_and_forgetting(self):
        for n in range(3):
            self.known.ahead(n)
            self.looked[-1][1].callback(n)
        self.assertNoResult(self.known.get(0))
        assert self.successResultOf(self.known.get(2)) == 2
        self.known.forget()
        asked = self.known.get(2)
        self.assertNoResult(asked)
        self.known.forget()
        self.looked[-1][1].callback(2)
        assert self.successResultOf(asked) == 2
        self.assertNoResult(self.known.get(2))  # what was being looked up then is told, and not kept
