"""Plugins that carry mail: good ones, late ones, mad ones, and what the site says of them."""

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from netsvc.commands import Setting
from netsvc.delivery.pluginagent import PluginAgents
from netsvc.interfaces import IAgentGround, IDeliveryAgent, IDeliveryAgentMaker
from netsvc.mail.message import Hop, Kind, Result
from netsvc.mail.outcome import Fault, Outcome
from tests.delivery.fakes import CONTENT, FakeQueue, ground
from tests.delivery.rows import row
from tests.fakes import FakeSite


@implementer(IDeliveryAgent)
class Agent:
    name = "odd"

    def __init__(self, given):
        self.given = given
        self.answer = lambda hop, rows: [Outcome(each.id, Result.DELIVERED) for each in rows]
        self.values = []
        self.calls = []
        self.stopped = 0
        self.stopping = None

    def configure(self, values):
        if values["word"] == "mad":
            raise KeyError(values["word"])
        if values["word"] == "bad":
            raise ValueError("word: no good\x1b[2J")
        self.values.append(values)

    def attempt(self, hop, message, recipients, observer):
        self.calls.append((hop.route, message.id))
        return self.answer(hop, recipients)

    def stop(self):
        self.stopped += 1
        return self.stopping


@implementer(IDeliveryAgentMaker)
class Maker:
    name = "odd"
    help = "for tests"
    settings = (Setting("word", "str", "usual", help="a word"),)

    def __init__(self):
        self.made = []

    def make(self, given):
        self.made.append(Agent(given))
        return self.made[-1]


class Nothing(Maker):
    name = "nothing"

    def make(self, given):
        return object()


class Test(SynchronousTestCase):
    def setUp(self):
        self.maker = Maker()
        self.site = FakeSite()
        self.spool = FakeQueue()
        self.ground = ground(self.spool, site=self.site, agents={"odd": self.maker, "nothing": Nothing()})
        self.agents = PluginAgents(self.ground)

    def attempt(self, *rows, route="agent:odd some words"):
        return self.agents.attempt(Hop(Kind.PLUGIN, route, "example.net", route), rows[0], rows, None)

    def outcome(self, *rows, **changes):
        return self.successResultOf(self.attempt(*(rows or (row(),)), **changes))[0]

    @property
    def agent(self):
        return self.maker.made[0]

    def test_mail_is_given_to_it(self):
        verifyObject(IDeliveryAgent, self.agents)
        verifyObject(IDeliveryAgentMaker, self.maker)
        self.assertEqual(self.maker.made, [])  # before there is any
        found = self.successResultOf(self.attempt(row(), row(id=6)))
        self.assertEqual([o.result for o in found], [Result.DELIVERED] * 2)
        self.assertEqual(self.agent.calls, [("agent:odd some words", 5000)])
        self.assertEqual(self.agent.values, [{"word": "usual"}])
        verifyObject(IAgentGround, self.agent.given)
        reader = self.successResultOf(self.agent.given.content(row()))
        self.assertEqual(self.successResultOf(reader.read()), CONTENT)
        self.outcome()
        self.assertEqual(len(self.maker.made), 1)

    def test_it_follows_the_site(self):
        self.site.become(agents={"odd": {"word": "said"}})
        self.assertEqual(self.agent.values, [{"word": "said"}])
        self.site.become(agents={"odd": {"word": "said"}})
        self.site.become(agents={"odd": {"word": "said", "deadline": "2s"}})
        self.assertEqual(len(self.agent.values), 2)
        for word, why in (("bad", "no good\\x1b[2J"), ("mad", "mad")):
            self.site.become(agents={"odd": {"word": word}})
            outcome = self.outcome()
            self.assertEqual((outcome.result, outcome.status), (Result.DEFERRED, "4.3.5"))
            self.assertIn(why, outcome.reply)
        self.site.become(agents={"odd": {"at_once": 0}})
        self.assertIn("at_once", self.outcome().reply)
        self.site.become()
        self.assertIs(self.outcome().result, Result.DELIVERED)
        self.assertEqual(len(self.ground.logbook.named("delivery.agent_misconfigured")), 3)
        self.assertEqual(len(self.ground.logbook.named("delivery.fault")), 1)

    def test_what_is_no_agent(self):
        self.assertIn("object has no attempt", self.outcome(route="agent:nothing").reply)
        self.assertIn("no plugin of this node", self.outcome(route="agent:gone").reply)
        self.assertIs(self.outcome(route="agent:").fault, Fault.ROUTING)

    def test_nonsense_is_tried_again(self):
        self.outcome()
        for answer in (
            None,
            [],
            [Outcome(1, Result.DELIVERED)],
            [Outcome(5000, Result.EXPIRED)],
            [Outcome(5000, Result.DELIVERED, transcript="text")],
            ["x"],
        ):
            self.agent.answer = lambda hop, rows, said=answer: said
            outcome = self.outcome()
            self.assertEqual((outcome.result, outcome.status, outcome.fault), (Result.DEFERRED, "4.3.0", Fault.LOCAL))
            self.assertIn("agent odd failed", outcome.reply)
        self.agent.answer = lambda hop, rows: 1 / 0
        self.assertIn("ZeroDivisionError", self.outcome().reply)

    def test_what_it_says_is_made_fit(self):
        self.outcome()
        said = Outcome(5000, Result.BOUNCED, Fault.NONE, 7, "4.1.1", "no\x1b", "h\n", "a", "t", transcript=b"a\x1b\nb")
        self.agent.answer = lambda hop, rows: succeed((said,))
        found = self.outcome()
        self.assertEqual((found.fault, found.code, found.status), (Fault.LOCAL, 0, "5.0.0"))
        self.assertEqual((found.reply, found.host, found.transcript), ("no\\x1b", "h\\x0a", b"a\\x1b\nb"))
        said = Outcome(5000, Result.DEFERRED, Fault.REPLY, 452, "4.2.2", "full")
        self.agent.answer = lambda hop, rows: succeed([said])
        found = self.outcome()
        self.assertEqual((found.fault, found.code, found.status), (Fault.REPLY, 452, "4.2.2"))

    def test_what_the_store_would_not_take_does_not_reach_it(self):
        self.outcome()
        plain = {"fault": Fault.NONE, "ms": 0, "warned": False, "passed_on": False, "due_at": 0}
        for field, value in (
            ("fault", None), ("fault", Fault.CONNECT_FAILED), ("fault", "x"), ("ms", "quick"), ("ms", 1.5),
            ("ms", 1 << 70), ("ms", -1), ("warned", 7), ("passed_on", "yes"), ("due_at", "soon"),
        ):  # fmt: skip
            said = Outcome(5000, 1, **{field: value})
            self.agent.answer = lambda hop, rows, said=said: [said]
            found = self.outcome()
            self.assertIs(found.result, Result.DELIVERED)
            self.assertEqual({name: getattr(found, name) for name in plain}, plain, (field, value))
            self.assertIs(type(found.ms), int)

    def test_one_that_is_late(self):
        self.site.become(agents={"odd": {"deadline": "5s", "at_once": 1}})
        waits = Deferred()
        self.agent.answer = lambda hop, rows: waits
        first, second = self.attempt(row()), self.attempt(row(id=2))
        self.assertEqual(len(self.agent.calls), 1)
        self.agent.answer = lambda hop, rows: [Outcome(each.id, Result.DELIVERED) for each in rows]
        self.ground.reactor.advance(5)
        self.assertIn("no answer within 5 s", self.successResultOf(first)[0].reply)
        self.assertIs(self.successResultOf(second)[0].result, Result.DELIVERED)

    def test_stopping(self):
        self.outcome()
        self.agent.stopping = Deferred()
        stopping = Deferred.fromCoroutine(self.agents.stop())
        self.assertNoResult(stopping)
        self.assertIs(self.outcome().result, Result.RELEASED)
        self.ground.reactor.advance(31)
        self.successResultOf(stopping)
        self.assertEqual(self.agent.stopped, 1)
