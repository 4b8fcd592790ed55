"""The way to a destination: host after host, until one is ready; over a network made of nothing."""

import gc
import weakref

from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from netsvc.delivery.approach import PATIENCE
from netsvc.delivery.faults import AttemptError
from netsvc.delivery.greeting import BrokenTlsError
from netsvc.delivery.smtpagent import SmtpAgent
from netsvc.delivery.terms import TlsLevel
from netsvc.mail.message import Hop, Kind, Result
from netsvc.mail.outcome import Fault
from netsvc.records import CredentialError
from netsvc.settings import DeliverySettings, DestinationSettings
from tests.delivery.fakes import FakeQueue, Network, ground
from tests.delivery.rows import row
from tests.fakes import FakeSite
from tests.zones import FakeResolver

DOMAIN = "example.net"
HOP = Hop(Kind.SMTP, DOMAIN, DOMAIN, "mx")
ONE, TWO, THREE = "198.51.99.1", "198.51.99.2", "198.51.99.3"
REFUSED = error.ConnectionRefusedError()


ZONE = {
    DOMAIN: {"MX": [[10, "a.x"], [20, "b.x"]]},
    "a.x": {"A": [ONE, TWO]},
    "b.x": {"A": [THREE]},
}


class ApproachCase(SynchronousTestCase):
    def setUp(self):
        self.net = Network()
        self.spool = FakeQueue()
        self.make()

    def make(self, zone=None, **changes):
        self.resolver = FakeResolver(ZONE if zone is None else zone)
        self.ground = ground(self.spool, self.net, resolver=self.resolver, **changes)
        self.agent = SmtpAgent(self.ground)
        self.agent.hosts._own = lambda address: False
        self.ids = 0

    def attempt(self, hop=HOP):
        self.ids += 1
        one = row(id=self.ids, dest_key=hop.key, route=hop.route)
        return self.agent.attempt(hop, one, [one], None)

    def only(self, d):
        self.assertTrue(d.called, "no outcome yet")
        [outcome] = d.result
        return outcome

    @property
    def asked(self):
        return [client[0] for client in self.net.tcpClients]


class HostsTest(ApproachCase):
    def test_next_address_then_next_host(self):
        d = self.attempt()
        self.net.refuse(REFUSED)
        far = self.net.accept()
        far.say(b"421 4.3.2 busy\r\n")
        self.assertEqual(self.asked, [ONE, TWO, THREE])
        self.net.accept().greet()
        self.assertFalse(d.called)
        [entry] = self.ground.sessions.entries
        self.assertEqual(entry.peer, THREE)

    def test_delivered_by_the_next_host(self):
        d = self.attempt()
        self.net.accept().say(b"554 5.7.1 not you\r\n")
        self.net.accept().say(b"220 hi\r\n", b"450 later\r\n")
        far = self.net.accept()
        far.greet()
        far.take()
        outcome = self.only(d)
        self.assertEqual((outcome.result, outcome.host, outcome.addr), (Result.DELIVERED, "b.x", THREE))
        for words in (b"trying a.x (preference 10)", b"554 5.7.1 not you", b"450 later", b"trying b.x (preference 20)"):
            self.assertIn(words, outcome.transcript)

    def test_what_a_peer_says_is_told_rather_than_silence(self):
        d = self.attempt()
        self.net.accept().say(b"421 4.3.2 busy\r\n")
        self.net.refuse(REFUSED)
        self.net.refuse(error.TimeoutError())
        outcome = self.only(d)
        self.assertEqual((outcome.result, outcome.fault, outcome.code), (Result.DEFERRED, Fault.CONNECT_FAILED, 421))
        self.assertEqual((outcome.host, outcome.addr), ("a.x", ONE))

    def test_the_last_silence_is_told(self):
        d = self.attempt()
        for fault in (REFUSED, REFUSED, error.TimeoutError()):
            self.net.refuse(fault)
        outcome = self.only(d)
        self.assertEqual((outcome.fault, outcome.host, outcome.addr), (Fault.CONNECT_TIMEOUT, "b.x", THREE))

    def test_once_a_transaction_has_begun_the_peers_word_counts(self):
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        far.say(b"451 4.3.0 no\r\n250 ok\r\n503 no\r\n")
        self.assertEqual(self.only(d).code, 451)
        self.assertEqual(self.asked, [ONE])

    def test_what_failed_lately_is_tried_last(self):
        self.attempt()
        for _ in range(2):
            self.net.refuse(REFUSED)
        far = self.net.accept()
        far.greet()
        far.take()
        self.net.advance(11)
        far.drop()
        self.attempt()
        self.assertEqual(self.asked[3:], [THREE])

    def test_what_is_remembered_of_a_failure_keeps_no_connection_alive(self):
        d = self.attempt()
        far = self.net.accept()
        wire = weakref.ref(far.wire)
        far.say(b"421 4.3.2 busy\r\n")
        for _ in range(2):
            self.net.refuse(REFUSED)
        self.assertTrue(d.called)
        self.assertTrue(self.agent._ways.dialer.troubles.lately(ONE, 25))
        del far
        self.net.tcpClients.clear()
        self.ground.sessions.entries.clear()
        gc.collect()
        self.assertIsNone(wire())

    def test_no_more_hosts_after_a_while(self):
        d = self.attempt()
        self.net.accept()
        self.net.advance(PATIENCE + 1)
        outcome = self.only(d)
        self.assertEqual((outcome.result, outcome.host), (Result.DEFERRED, "a.x"))
        self.assertEqual(self.asked, [ONE])

    def test_stop_between_hosts(self):
        d = self.attempt()
        far = self.net.accept()
        stopped = self.agent.stop()
        self.assertIs(self.only(d).result, Result.RELEASED)
        self.assertEqual(far.transport.closed, "aborted")
        self.successResultOf(stopped)
        self.assertEqual(self.asked, [ONE])

    def test_an_operator_ends_the_greeting(self):
        d = self.attempt()
        self.net.accept()
        [entry] = self.ground.sessions.entries
        self.assertTrue(entry.kick("enough"))
        self.assertEqual(self.only(d).reply, "ended by an operator: enough")
        self.assertEqual(self.asked, [ONE])


class NoWayTest(ApproachCase):
    def test_all_that_waits_goes_back(self):
        self.make({DOMAIN: {"MX": [[0, ""]]}})
        self.resolver.hold = True
        waiting = [self.attempt() for _ in range(2000)]
        self.resolver.hold = False
        for _ in range(3):
            self.resolver.release()
        for d in waiting:
            outcome = self.only(d)
            self.assertEqual(
                (outcome.result, outcome.fault, outcome.code, outcome.status),
                (Result.BOUNCED, Fault.ROUTING, 556, "5.1.10"),
            )
        self.assertEqual(self.agent.connections, 0)
        self.assertEqual(self.asked, [])
        self.assertIn(b"takes no mail", outcome.transcript)

    def test_a_domain_that_comes_back(self):
        self.make({})
        self.assertIs(self.only(self.attempt()).result, Result.BOUNCED)
        self.resolver.records.update(FakeResolver(ZONE).records)
        self.attempt()
        self.assertEqual(self.asked, [ONE])


class Greeter:
    """Fails as it is told; ``greeted`` are (address, terms, credential)."""

    def __init__(self, *faults):
        self.faults = list(faults)
        self.greeted = []

    async def greet(self, wire, host, terms, credential, record):
        self.greeted.append((wire.transport.getPeer().host, terms, credential))
        if self.faults:
            raise self.faults.pop(0)
        await Deferred()


class TermsTest(ApproachCase):
    def greeter(self, *faults):
        greeter = Greeter(*faults)
        ways = self.agent._ways
        object.__setattr__(ways, "greeter", greeter)
        return greeter

    def test_broken_tls_is_left_out_once_at_the_same_address(self):
        broken = BrokenTlsError(Fault.TLS, "no handshake", "4.7.5")
        greeter = self.greeter(broken, AttemptError(Fault.TLS, "no", "4.7.5"))
        self.attempt()
        for _ in range(3):
            self.net.accept()
        levels = [(address, terms.level) for address, terms, _ in greeter.greeted]
        self.assertEqual(levels[:2], [(ONE, TlsLevel.OPPORTUNISTIC), (ONE, TlsLevel.NONE)])
        self.assertEqual(levels[2], (TWO, TlsLevel.OPPORTUNISTIC))

    def test_a_refused_login_is_not_repeated_elsewhere(self):
        self.greeter(AttemptError(Fault.AUTH, "who are you", "4.7.8"))
        d = self.attempt()
        self.net.accept()
        outcome = self.only(d)
        self.assertEqual((outcome.result, outcome.fault, outcome.status), (Result.DEFERRED, Fault.AUTH, "4.7.8"))
        self.assertEqual(self.asked, [ONE])

    def test_credentials(self):
        class Credentials:
            def get(self, name):
                return fail(CredentialError("wrong key")) if name == "locked" else succeed({"relay": "us"}.get(name))

        for name, expected in (("relay", "us"), ("gone", "there is no credential gone"), ("locked", "wrong key")):
            site = FakeSite(destinations={DOMAIN: DestinationSettings(credential=name)})
            self.net = Network()
            self.make(site=site, credentials=Credentials())
            greeter = self.greeter()
            d = self.attempt()
            if name == "relay":
                self.net.accept()
                self.assertEqual(greeter.greeted[0][2], expected)
                continue
            outcome = self.only(d)
            self.assertEqual((outcome.result, outcome.status), (Result.DEFERRED, "4.7.0"))
            self.assertIn(expected, outcome.reply)
            self.assertEqual(self.asked, [])

    def test_nobody_may_be_used(self):
        class Policies:
            authorities = None

            async def hosts(self, domain, hosts, key):
                raise AttemptError(Fault.TLS, f"none of {domain} {key} {len(hosts)}", "4.7.5")

        self.make(tls=Policies())
        outcome = self.only(self.attempt())
        self.assertEqual((outcome.status, outcome.reply), ("4.7.5", f"none of {DOMAIN} {DOMAIN} 2"))


class CrowdTest(ApproachCase):
    """Many domains at one host."""

    def setUp(self):
        super().setUp()
        zone = {f"d{n}.example": {"MX": [[10, "a.x"]]} for n in range(40)} | {"a.x": {"A": [ONE]}}
        self.make(zone, site=FakeSite(delivery=DeliverySettings(connections=3)))

    def to(self, n):
        return self.attempt(Hop(Kind.SMTP, f"d{n}.example", f"d{n}.example", "mx"))

    def test_so_many_connections_at_a_time(self):
        ds = [self.to(n) for n in range(5)]
        self.assertEqual(self.asked, [ONE] * 3)
        fars = [self.net.accept() for _ in range(3)]
        fars[0].greet()
        fars[0].take()
        self.assertIs(self.only(ds[0]).result, Result.DELIVERED)
        self.assertEqual(fars[0].transport.written + fars[0].after, b"QUIT\r\n")  # it does not idle
        self.assertEqual(self.asked, [ONE] * 4)
        self.net.accept().greet()
        fars[1].greet()
        self.assertEqual(self.asked, [ONE] * 4)
        fars[2].drop()
        self.assertEqual([d.called for d in ds], [True, False, True, False, False])
        self.assertEqual(self.asked, [ONE] * 5)  # the others there are well: who waited tries it

    def test_who_idles_makes_room(self):
        fars = []
        for n in range(3):
            self.to(n)
            fars.append(self.net.accept())
            fars[-1].greet()
            fars[-1].take()
        self.assertEqual(self.agent.connections, 3)
        d = self.to(3)
        self.assertEqual(fars[0].heard(), b"QUIT\r\n")
        self.assertEqual(self.asked, [ONE] * 4)
        self.net.accept().greet()
        self.assertFalse(d.called)
        self.assertIsNone(self.agent._peers["d0.example"].next_job())
        self.to(1)  # on the connection that is kept
        self.assertTrue(fars[1].heard().startswith(b"MAIL"))
        self.assertEqual(self.asked, [ONE] * 4)

    def test_a_dead_host_is_tried_by_one_at_a_time(self):
        ds = [self.to(n) for n in range(10)]
        self.net.refuse(error.TimeoutError())
        self.assertEqual([d.called for d in ds], [True, False, False, *[True] * 7])
        outcome = self.only(ds[9])
        self.assertEqual(outcome.fault, Fault.CONNECT_TIMEOUT)
        self.assertEqual(outcome.reply, "connection timed out (lately; it is being tried)")
        for _ in range(2):
            self.net.refuse(error.TimeoutError())
        more = [self.to(n) for n in range(10, 20)]
        self.assertEqual(self.asked, [ONE] * 4)
        self.assertEqual([d.called for d in more], [False, *[True] * 9])
        far = self.net.accept()
        far.greet()  # it is well again
        for n in range(20, 30):
            self.to(n)
        self.assertEqual(self.asked, [ONE] * 6)
        self.assertEqual(len(self.agent._ways.crowds), 1)

    def test_who_waits_can_be_given_up(self):
        ds = [self.to(n) for n in range(5)]
        for _ in range(3):
            self.net.accept()
        stopped = self.agent.stop()
        for d in ds:
            self.assertIs(self.only(d).result, Result.RELEASED)
        self.successResultOf(stopped)
        self.assertEqual(len(self.agent._ways.crowds), 0)

    def test_the_other_address_has_room(self):
        self.resolver.records["a.x"] = {"A": [ONE, TWO]}
        for n in range(4):
            self.to(n)
            self.net.accept().greet()
        self.assertEqual(self.asked, [ONE, ONE, ONE, TWO])

    def test_routes_have_no_part_in_it(self):
        for n in range(8):
            self.attempt(Hop(Kind.SMTP, f"[{ONE}]:{25 + n}", "x", f"[{ONE}]:{25 + n}"))
            self.net.accept().greet()
        self.assertEqual(len(self.agent._ways.crowds), 0)
