"""The tarpit: how long, and how many."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.interfaces import IPolicy
from netsvc.mail.envelope import Envelope, SessionFacts
from netsvc.plugins.netsvc_policies import tarpit
from netsvc.policy.tarpit import Tarpit
from tests.fakes import FakeGround, FakeSite

USUAL = {setting.name: setting.default for setting in tarpit.settings}


class Holding(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.site = FakeSite()
        self.tarpit = Tarpit(FakeGround(clock=self.clock, site=self.site))
        self.tarpit.configure({**USUAL, "max_held": 3, "max_held_client": 2})

    def delay(self, refusals, peer="192.0.2.7", **facts):
        session = SessionFacts("S1", peer, 1, "smtp", "mx1.example.org", refusals=refusals, **facts)
        return self.tarpit.check("rcpt", session, Envelope(session)).delay

    def test_promise(self):
        assert verifyObject(IPolicy, self.tarpit)

    def test_it_grows_to_its_most(self):
        found = []
        for refusals in (0, 2, 3, 4, 10, 100):
            found.append(self.delay(refusals))
            self.clock.advance(60)
        assert found == [0, 0, 1, 2, 8, 20]

    def test_only_so_many_are_held(self):
        assert [self.delay(5) for _ in range(3)] == [3, 3, 0]  # of one client
        assert self.delay(5, "192.0.2.8") == 3
        assert self.delay(5, "192.0.2.9") == 0  # of all
        self.clock.advance(3)
        assert self.delay(5, "192.0.2.9") == 3
        assert self.delay(5) == 3

    def test_who_is_left_alone(self):
        assert self.delay(50, user="bo") == 0
        self.site.become(limits_exempt=("192.0.2.7/32",))
        assert self.delay(50) == 0
