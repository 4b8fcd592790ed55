"""The SMTP door when there is much of everything: clients passed on, room that ends, stress, and taking turns."""

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from netsvc.interfaces import ISlots
from netsvc.mail import reply as r
from netsvc.smtpd.connection import LEAST_RATE, STRESS_SECONDS
from netsvc.smtpd.crowd import TURN_S, Crowd
from netsvc.smtpd.dialogue import BURST
from netsvc.smtpd.factory import SmtpFactory
from netsvc.smtpd.listener import SmtpListenerSettings
from netsvc.smtpd.proxied import HEADER_SECONDS
from netsvc.smtpd.slots import COMMON, LOOPBACK, SUBMISSION, Slots
from tests.test_smtpd import OPENING, DoorCase

PROXY = IPv4Address("TCP", "198.51.100.1", 3333)
LOCAL = IPv4Address("TCP", "127.0.0.1", 3333)
HEADER = b"PROXY TCP4 192.0.2.99 192.0.2.9 40000 25\r\n"
BUSY = b"421 4.3.2 mx.example.org too busy, try again later\r\n"


class SlotTests(DoorCase):
    def setUp(self):
        super().setUp()
        self.slots = Slots(30, self.logbook)

    def fill(self, where, n):
        for _ in range(n):
            self.slots.take(where)

    def test_promises(self):
        self.assertTrue(verifyObject(ISlots, self.slots))
        self.assertEqual(Slots(0, self.logbook).cap, 1)

    def test_t18_what_is_kept(self):
        self.assertEqual(self.slots.find(submission=False, loopback=False), COMMON)
        self.fill(COMMON, 24)
        self.assertEqual(self.slots.find(submission=False, loopback=False), "")
        self.assertEqual(self.slots.find(submission=True, loopback=True), SUBMISSION)
        self.assertEqual(self.slots.find(submission=False, loopback=True), LOOPBACK)
        self.fill(SUBMISSION, 3)
        self.assertEqual(self.slots.find(submission=True, loopback=False), "")
        self.assertEqual(self.slots.find(submission=True, loopback=True), LOOPBACK)
        self.fill(LOOPBACK, 3)
        self.assertEqual(self.slots.find(submission=True, loopback=True), "")
        self.assertEqual([row["value"] for row in self.slots.rows()], [30, 3, 3])
        self.assertEqual(self.slots.rows()[0]["count"], 3)
        self.slots.release(COMMON)
        self.assertEqual(self.slots.find(submission=False, loopback=False), COMMON)

    def test_stress_begins_and_ends_once(self):
        told = []
        self.slots.watch(lambda: told.append(self.slots.stressed))
        self.fill(COMMON, 24)
        self.assertFalse(self.slots.stressed)
        self.slots.take(LOOPBACK)
        self.slots.take(LOOPBACK)
        self.assertEqual(self.slots.rows()[0]["state"], "stressed")
        for _ in range(7):
            self.slots.release(COMMON)
        self.assertTrue(self.slots.stressed)
        self.slots.release(COMMON)
        self.assertFalse(self.slots.stressed)
        self.assertEqual(told, [True, False])
        self.assertEqual(self.logbook.named("smtp.stress_began"), [{"used": 25, "limit": 30}])
        self.assertEqual(self.logbook.named("smtp.stress_ended"), [{"used": 18, "limit": 30}])


class SharedCase(DoorCase):
    """Two listeners that share the room of ten."""

    def setUp(self):
        super().setUp()
        self.slots = Slots(10, self.logbook)
        self.one = self.shared("one")
        self.two = self.shared("two", service="submission")

    def shared(self, name, **settings):
        settings = SmtpListenerSettings(name, "mx.example.org", **settings)
        return SmtpFactory(self.service, settings, self.logbook, self.clock, self.slots)


class SharedRoomTests(SharedCase):
    def test_t18_listeners_share_it(self):
        held = [self.connect(self.one)[1] for _ in range(4)] + [self.connect(self.two)[1] for _ in range(4)]
        self.assertTrue(all(t.value().startswith(b"220") for t in held))
        for _ in range(3):
            _, over = self.connect(self.one)
            self.assertEqual(over.value(), BUSY)
            self.assertTrue(over.disconnecting)
        self.assertEqual(len(self.logbook.named("smtp.too_many_connections")), 1)
        _, kept = self.connect(self.two)
        self.assertTrue(kept.value().startswith(b"220"))
        self.assertEqual(self.connect(self.two)[1].value(), BUSY)
        _, kept = self.connect(self.one, LOCAL)
        self.assertTrue(kept.value().startswith(b"220"))
        self.lose(held[0])
        self.assertTrue(self.connect(self.one)[1].value().startswith(b"220"))
        self.assertEqual(self.slots.used, 10)

    def test_a_proxy_on_this_host_is_not_of_this_host(self):
        proxied = self.shared("proxied", proxy_from=("127.0.0.0/8",))
        for _ in range(8):
            self.connect(self.one)
        self.assertEqual(self.connect(proxied, LOCAL)[1].value(), BUSY)

    def test_t17_stress_shortens_deadlines_also_of_those_who_are_there(self):
        _, idle = self.connect(self.one)
        self.advance(STRESS_SECONDS)
        others = [self.connect(self.two)[1] for _ in range(8)]
        self.assertTrue(self.slots.stressed)
        self.clock.advance(0)
        self.assertTrue(idle.value().endswith(b"421 4.4.2 mx.example.org timeout, closing connection\r\n"))
        self.assertFalse(others[0].disconnecting)
        self.advance(STRESS_SECONDS + 1)
        self.assertTrue(others[0].disconnecting)
        for t in [idle, *others[:4]]:
            self.lose(t)
        self.assertFalse(self.slots.stressed)
        _, calm = self.connect(self.one)
        self.advance(100)
        self.assertFalse(calm.disconnecting)

    def test_t17_content_that_comes_in_fast_enough_is_left_alone_under_stress(self):
        _, writer = self.connect(self.one)
        self.say(writer, OPENING)
        for _ in range(8):
            self.connect(self.two)
        for _ in range(30):
            self.say(writer, b"x" * LEAST_RATE)
            self.advance(1)
        self.assertFalse(writer.disconnecting)
        self.say(writer, b"x")
        self.advance(STRESS_SECONDS * 2)
        self.assertTrue(writer.disconnecting)


class ProxiedTests(DoorCase):
    def setUp(self):
        super().setUp()
        self.factory = self.build(proxy_from=("198.51.100.0/24",))

    def test_the_client_is_who_the_proxy_names(self):
        p, t = self.connect(peer=PROXY)
        self.assertTrue(verifyObject(IProtocol, p))
        p.connectionMade()
        self.assertEqual(t.value(), b"")
        self.assertEqual(self.service.sessions.rows(), [])
        p.dataReceived(HEADER[:10])
        self.assertEqual(t.value(), b"")
        p.dataReceived(HEADER[10:] + OPENING)
        self.assertEqual(self.codes(t.value()), [220, 250, 250, 250, 354])
        facts = self.service.asked[0][1]
        self.assertEqual(
            (facts.peer, facts.port, facts.proxy, facts.loopback), ("192.0.2.99", 40000, "198.51.100.1", False)
        )
        self.assertEqual(self.service.sessions.rows()[0]["peer"], "192.0.2.99")
        self.assertEqual(self.factory.slots.used, 1)
        self.lose(t)
        self.assertEqual(self.factory.slots.used, 0)
        (ended,) = self.logbook.named("session.fault")
        self.assertEqual((ended["peer"], ended["proxy"]), ("192.0.2.99", "198.51.100.1"))

    def test_a_client_on_this_host_behind_a_proxy(self):
        p, t = self.connect(peer=PROXY)
        p.dataReceived(b"PROXY TCP6 ::1 ::1 1 2\r\n")
        self.say(t, OPENING)
        self.assertTrue(self.service.asked[0][1].loopback)

    def test_the_proxys_own_connection(self):
        p, t = self.connect(peer=PROXY)
        p.dataReceived(b"PROXY UNKNOWN\r\n")
        self.say(t, OPENING)
        self.assertEqual((self.service.asked[0][1].peer, self.service.asked[0][1].port), ("198.51.100.1", 3333))

    def test_who_is_listed_must(self):
        p, t = self.connect(peer=PROXY)
        p.dataReceived(b"EHLO c\r\n")
        p.dataReceived(HEADER)
        self.assertTrue(t.disconnected)
        self.assertEqual(t.value(), b"")
        self.lose(t)
        self.assertEqual(self.factory.slots.used, 0)
        self.assertEqual(self.logbook.named("smtp.proxy_refused")[0]["proxy"], "198.51.100.1")

    def test_in_time(self):
        _, t = self.connect(peer=PROXY)
        self.advance(HEADER_SECONDS - 6)
        self.assertFalse(t.disconnected)
        self.advance(12)
        self.assertTrue(t.disconnected)
        self.advance(12)
        self.assertEqual([each["why"] for each in self.logbook.named("smtp.proxy_refused")], ["no header in time"])

    def test_others_have_sent_a_bad_command(self):
        _, t = self.connect()
        self.assertEqual(self.codes(self.say(t, HEADER)), [500])

    def test_the_end_of_the_service(self):
        _, drained = self.connect(peer=PROXY)
        stopped = self.factory.stop()
        self.assertTrue(drained.disconnected)
        self.lose(drained)
        self.successResultOf(stopped)

    def test_the_end_of_the_grace(self):
        p, t = self.connect(peer=PROXY)
        p.cut()
        self.assertTrue(t.disconnected)


class StandInTests(DoorCase):
    def setUp(self):
        super().setUp()
        self.factory = self.build(xclient_from=("192.0.2.7/32",))

    def test_operators_are_warned(self):
        self.assertEqual(
            self.logbook.named("smtp.xclient_allowed"), [{"listener": "smtp", "networks": ("192.0.2.7/32",)}]
        )

    def test_facts_and_registry_follow(self):
        _, t = self.connect()
        self.assertIn(b"XCLIENT", self.say(t, b"EHLO c\r\n"))
        out = self.say(t, b"XCLIENT ADDR=127.0.0.1 PORT=7 LOGIN=joe HELO=h PROTO=ESMTP\r\n")
        self.assertEqual(out, b"220 mx.example.org ESMTP netsvc\r\n")
        self.assertEqual(self.codes(self.say(t, OPENING)), [250, 250, 250, 354])
        facts = self.service.asked[0][1]
        self.assertEqual((facts.peer, facts.port, facts.user), ("127.0.0.1", 7, "joe"))
        self.assertEqual((facts.loopback, facts.proxy), (True, "192.0.2.7"))
        (row,) = self.service.sessions.rows()
        self.assertEqual((row["peer"], row["user"]), ("127.0.0.1", "joe"))
        self.assertEqual(self.service.sessions.count("smtp-in", "127.0.0.1"), 1)
        self.assertEqual(self.service.sessions.count("smtp-in", "192.0.2.7"), 0)

    def test_what_is_not_given_stays(self):
        _, t = self.connect()
        self.say(t, b"XCLIENT NAME=client.example\r\n")
        self.say(t, OPENING)
        self.assertEqual((self.service.asked[0][1].peer, self.service.asked[0][1].port), ("192.0.2.7", 4711))

    def test_others_may_not(self):
        _, t = self.connect(peer=IPv6Address("TCP", "2001:db8::1", 25))
        self.assertNotIn(b"XCLIENT", self.say(t, b"EHLO c\r\n"))
        self.assertEqual(self.codes(self.say(t, b"XCLIENT ADDR=192.0.2.1\r\n"))[0] // 100, 5)

    def test_policies_are_asked_about_the_other_client(self):
        answers = [succeed(r.OK), succeed(r.UNKNOWN_USER)]
        _, t = self.connect()
        self.service.verify_connection = lambda session: answers.pop(0)
        self.assertEqual(self.codes(self.say(t, b"XCLIENT ADDR=192.0.2.1\r\n")), [220])
        self.assertEqual(self.say(t, b"XCLIENT ADDR=192.0.2.2\r\n"), b"421 4.1.1 No such user here\r\n")
        self.assertTrue(t.disconnecting)


class CrowdTests(DoorCase):
    def test_many_commands_at_once_wait_for_their_turn(self):
        _, t = self.connect()
        many = 3 * BURST
        out = self.say(t, b"EHLO c\r\n" * many)
        self.assertEqual(len(self.codes(out)), BURST)
        self.assertEqual(t.producerState, "paused")
        t.protocol.dataReceived(b"NOOP\r\n")
        self.assertEqual(len(self.codes(t.value())), BURST)
        self.advance(300)  # its deadline does not run meanwhile
        self.assertEqual(len(self.codes(t.value())), many + 1)
        self.assertEqual(t.producerState, "producing")

    def test_who_is_gone_has_no_turn(self):
        _, t = self.connect()
        out = self.say(t, b"EHLO c\r\n" * 3 * BURST)
        self.lose(t)
        self.clock.advance(0)
        self.assertEqual(t.value(), out)

    def test_an_answer_that_is_awaited_is_no_turn(self):
        self.service.sender = waiting = Deferred()
        _, t = self.connect()
        self.say(t, b"EHLO c\r\n" * (BURST - 1) + b"MAIL FROM:<>\r\n" + b"NOOP\r\n" * 10)
        self.clock.advance(0)
        waiting.callback(r.SENDER_OK)
        self.clock.advance(0)
        self.assertEqual(len(self.codes(t.value())), BURST + 10)

    def test_others_go_before(self):
        clock, served = Clock(), []

        class Slow:
            def __init__(self, name, more=0):
                self.name, self.more = name, more

            def take_turn(self):
                served.append(self.name)
                clock.rightNow += TURN_S * 0.6
                if self.more:
                    self.more -= 1
                    crowd.join(self)

        crowd = Crowd(clock)
        for each in (Slow("a", 1), Slow("b"), Slow("c")):
            crowd.join(each)
        crowd._serve()
        self.assertEqual(served, ["a", "b"])
        crowd._serve()
        self.assertEqual(served, ["a", "b", "c", "a"])
