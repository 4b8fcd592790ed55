"""The SMTP agent, its connections and its deadlines, over a network made of nothing."""

from twisted.internet import error
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.delivery import smtpagent
from netsvc.delivery.peers import MOST_MESSAGES
from netsvc.delivery.smtpagent import SmtpAgent
from netsvc.interfaces import IDeliveryAgent
from netsvc.mail.message import FLAG_8BIT, FLAG_UTF8, Hop, Kind, Result
from netsvc.mail.outcome import Fault
from netsvc.settings import DeliverySettings, DestinationSettings
from tests.delivery.fakes import CONTENT, FakeQueue, Network, ground
from tests.delivery.rows import row
from tests.fakes import FakeSite
from tests.zones import FakeResolver

KEY = "[127.0.0.1]:2526"
HOP = Hop(Kind.SMTP, KEY, "example.net", KEY)
MAIL = b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
WIRE = b"Received: here\r\nSubject: hi\r\n\r\n..text\r\n.\r\n"


class AgentCase(SynchronousTestCase):
    def setUp(self):
        self.net = Network()
        self.spool = FakeQueue()
        self.ground = ground(self.spool, self.net)
        self.agent = SmtpAgent(self.ground)
        self.ids = 0

    def attempt(self, *rows, hop=HOP, observer=None):
        rows = rows or (self.one(),)
        return self.agent.attempt(hop, rows[0], rows, observer)

    def one(self, **changes):
        self.ids += 1
        return row(**({"id": self.ids} | changes))

    def outcomes(self, d):
        self.assertTrue(d.called, "no outcome yet")
        return d.result

    def only(self, d):
        [outcome] = self.outcomes(d)
        return outcome


class TransactionTest(AgentCase):
    def test_one_message(self):
        verifyObject(IDeliveryAgent, self.agent)
        heard = []
        d = self.attempt(observer=lambda direction, line: heard.append((direction, line)))
        self.assertEqual(self.net.tcpClients[0][:2], ("127.0.0.1", 2526))
        self.assertEqual(self.net.tcpClients[0][3], 30)
        far = self.net.accept()
        self.assertTrue(far.transport.no_delay)
        self.assertTrue(far.transport.keep_alive)
        self.assertEqual(far.greet(), MAIL)
        [entry] = self.ground.sessions.entries
        self.assertEqual(
            (entry.kind, entry.peer, entry.domain, entry.helo, entry.state),
            ("smtp-out", "127.0.0.1", KEY, "peer.example", "transaction"),
        )
        self.net.advance(0.5)
        self.assertEqual(far.take(), WIRE)
        outcome = self.only(d)
        self.assertEqual(
            (outcome.delivery_id, outcome.result, outcome.fault, outcome.code, outcome.status, outcome.reply),
            (1, Result.DELIVERED, Fault.NONE, 250, "2.0.0", "queued"),
        )
        self.assertEqual((outcome.host, outcome.addr, outcome.ms), ("127.0.0.1", "127.0.0.1", 500))
        lines = outcome.transcript.decode().split("\n")
        self.assertEqual(lines[0], "0 - connecting to [127.0.0.1]:2526")
        self.assertEqual(lines[2], "0 > EHLO mx1.example.org")
        self.assertEqual(lines[-2:], [f"500 > <{len(WIRE) - 4} octets>", "500 < 250 2.0.0 queued"])
        self.assertEqual([line.split(" ", 1)[1] for line in lines], [f"{a} {b}" for a, b in heard])
        self.assertEqual((entry.messages, entry.commands, entry.state), (1, 6, "idle"))
        self.assertEqual(self.spool.readers[0].closed, 1)

    def test_each_recipient_has_its_outcome(self):
        rows = [self.one(n=n, rcpt=f"u{n}@example.net") for n in range(3)]
        d = self.attempt(*rows)
        far = self.net.accept()
        far.greet()
        far.say(b"250 ok\r\n250 ok\r\n550 5.1.1 no \x1bone\r\n450 4.2.0 later\r\n")
        far.say(b"354 go\r\n", b"250 taken\r\n")
        found = [(o.delivery_id, o.result, o.fault, o.code, o.reply) for o in self.outcomes(d)]
        self.assertEqual(
            found,
            [
                (1, Result.DELIVERED, Fault.NONE, 250, "taken"),
                (2, Result.BOUNCED, Fault.REPLY, 550, "no \\x1bone"),
                (3, Result.DEFERRED, Fault.REPLY, 450, "later"),
            ],
        )
        first, *rest = self.outcomes(d)
        self.assertTrue(all(o.transcript is first.transcript for o in rest))

    def test_one_recipient_too_many_goes_in_the_next_transaction(self):
        for reply in (b"552 too many\r\n", b"452 4.5.3 too many\r\n", b"452 no more\r\n"):
            d = self.attempt(self.one(), self.one(rcpt="eve@example.net"))
            far = self.net.accept()
            far.greet()
            far.say(b"250 ok\r\n250 ok\r\n" + reply + b"354 go\r\n")
            self.assertEqual(far.say(b"250 one\r\n"), MAIL.replace(b"bob", b"eve"))
            self.assertFalse(d.called)
            far.take(content=b"250 two\r\n")
            self.assertEqual(
                [(o.result, o.reply) for o in self.outcomes(d)], [(Result.DELIVERED, w) for w in ("one", "two")]
            )
            far.drop()

    def test_one_recipient_too_many_whose_connection_is_lost(self):
        d = self.attempt(self.one(), self.one(rcpt="eve@example.net"))
        far = self.net.accept()
        far.greet()
        far.say(b"250 ok\r\n250 ok\r\n552 too many\r\n354 go\r\n", b"250 one\r\n")
        far.drop()
        self.assertEqual([o.result for o in self.outcomes(d)], [Result.DELIVERED, Result.DEFERRED])

    def test_what_looks_like_too_many_recipients(self):
        for replies, result in (
            (b"250 ok\r\n550 no\r\n552 full\r\n554 no\r\n", Result.BOUNCED),  # nobody else was taken
            (b"250 ok\r\n250 ok\r\n552 5.2.2 full\r\n354 go\r\n", Result.BOUNCED),
            (b"250 ok\r\n250 ok\r\n452 4.2.2 full\r\n354 go\r\n", Result.DEFERRED),
        ):
            d = self.attempt(self.one(), self.one(rcpt="eve@example.net"))
            far = self.net.accept()
            far.greet()
            far.say(replies)
            far.say(b"250 ok\r\n") if b"354" in replies else None
            self.assertIs(self.outcomes(d)[1].result, result)
            far.drop()

    def test_peer_that_says_how_many_recipients_it_takes(self):
        d = self.attempt(*(self.one(rcpt=f"u{n}@example.net") for n in range(3)))
        far = self.net.accept()
        self.assertEqual(far.greet(b"PIPELINING", b"LIMITS RCPTMAX=2").count(b"RCPT"), 2)
        far.say(b"250 ok\r\n" * 3 + b"354 go\r\n")
        self.assertIn(b"RCPT TO:<u2@example.net>", far.say(b"250 ok\r\n"))
        far.take()
        self.assertEqual([o.result for o in self.outcomes(d)], [Result.DELIVERED] * 3)

    def test_an_address_that_the_peer_cannot_take_bounces_alone(self):
        for flags, status in ((FLAG_UTF8, "5.6.7"), (0, "5.1.3")):
            d = self.attempt(*(self.one(rcpt=rcpt, flags=flags) for rcpt in ("\u00fc@example.net", "bob@example.net")))
            far = self.net.accept()
            self.assertEqual(far.greet(), MAIL)
            far.take()
            self.assertEqual(
                [(o.result, o.status) for o in self.outcomes(d)],
                [(Result.BOUNCED, status), (Result.DELIVERED, "2.0.0")],
            )
            far.drop()

    def test_connection_is_used_again_at_once(self):
        first, second = self.attempt(), None
        far = self.net.accept()
        far.greet()
        far.take()
        second = self.attempt()
        self.assertEqual(far.heard(), MAIL)
        far.take()
        self.assertEqual([self.only(d).result for d in (first, second)], [Result.DELIVERED] * 2)
        self.assertIn(b"message 2 of the connection", self.only(second).transcript)
        self.assertEqual(self.net.pending(), 0)

    def test_large_content_is_streamed_with_back_pressure(self):
        self.spool.bodies[1] = [b"a" * 70 + b"\r\n"] * 3 + [b".\r", b"\nend"]
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        far.transport.full = True
        sent = far.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.assertEqual(sent, b"Received: here\r\n" + b"a" * 70 + b"\r\n")
        while far.transport.producer is not None:
            far.transport.producer.resumeProducing()
        self.assertEqual(far.heard(), (b"a" * 70 + b"\r\n") * 2 + b"..\r\nend\r\n.\r\n")
        far.say(b"250 ok\r\n")
        self.assertIs(self.only(d).result, Result.DELIVERED)

    def test_peer_refuses_in_the_middle_of_content(self):
        self.spool.bodies[1] = [b"a\r\n"] * 5
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        far.transport.full = True
        far.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        far.say(b"552 5.3.4 enough\r\n")
        outcome = self.only(d)
        self.assertEqual((outcome.result, outcome.code), (Result.BOUNCED, 552))
        self.assertTrue(far.transport.closed)

    def test_content_that_breaks_off(self):
        self.spool.bodies[1] = [b"a\r\n", b"b\r\n"]
        self.spool.read_error = OSError("disk")
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        sent = far.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.assertNotIn(b"\r\n.\r\n", sent)
        self.assertEqual(far.transport.closed, "aborted")
        outcome = self.only(d)
        self.assertEqual((outcome.result, outcome.fault, outcome.status), (Result.DEFERRED, Fault.LOCAL, "4.3.0"))
        self.assertEqual(len(self.ground.logbook.named("delivery.fault")), 1)

    def test_content_that_cannot_be_read_leaves_the_connection(self):
        self.spool.body_error = LookupError("gone")
        d = self.attempt()
        far = self.net.accept()
        self.assertEqual(far.greet(), b"")
        self.assertIs(self.only(d).fault, Fault.LOCAL)
        self.spool.body_error = None
        again = self.attempt()
        far.take()
        self.assertIs(self.only(again).result, Result.DELIVERED)

    def test_eight_bit_content_needs_8bitmime(self):
        self.spool.bodies[2] = ["ü\r\n".encode()]
        self.spool.bodies[3] = ["ü\r\n".encode(), b"the rest\r\n"]
        all_changes = ({"flags": FLAG_8BIT, "blob_id": 2}, {"blob_id": 2}, {"flags": FLAG_8BIT, "blob_id": 3})
        ds = [self.attempt(self.one(**changes)) for changes in all_changes]
        for d in ds:
            far = self.net.accept()
            far.greet(b"PIPELINING")
            outcome = self.only(d)
            self.assertEqual((outcome.result, outcome.status), (Result.BOUNCED, "5.6.3"))
            self.assertEqual(far.heard(), b"")

    def test_ascii_content_declared_eight_bit_goes_to_any_peer(self):
        d = self.attempt(self.one(flags=FLAG_8BIT))
        far = self.net.accept()
        self.assertNotIn(b"BODY=", far.greet(b"PIPELINING"))
        far.take()
        self.assertIs(self.only(d).result, Result.DELIVERED)

    def test_eight_bit_content_is_declared(self):
        self.spool.bodies[2] = ["ü\r\n".encode()]
        self.attempt(self.one(flags=FLAG_8BIT, blob_id=2))
        far = self.net.accept()
        self.assertIn(b"BODY=8BITMIME", far.greet())

    def test_path_that_cannot_be_said(self):
        d = self.attempt(self.one(rcpt="a\r\nb@example.net"))
        far = self.net.accept()
        self.assertEqual(far.greet(), b"")
        self.assertEqual(self.only(d).status, "5.1.3")

    def test_protocol_error(self):
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        far.say(b"hello\x1b\r\n")
        outcome = self.only(d)
        self.assertEqual((outcome.result, outcome.fault, outcome.status), (Result.DEFERRED, Fault.LOST, "4.5.0"))
        self.assertIn("hello\\x1b", outcome.reply)
        self.assertEqual(far.transport.closed, "aborted")

    def test_lost_at_every_stage(self):
        for said in (b"", b"250 ok\r\n", b"250 ok\r\n250 ok\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n"):
            d = self.attempt()
            far = self.net.accept()
            far.greet()
            far.say(said)
            far.drop()
            outcome = self.only(d)
            self.assertEqual((outcome.result, outcome.fault, outcome.code), (Result.DEFERRED, Fault.LOST, 0))
            self.assertEqual(self.ground.sessions.entries, [])

    def test_refusals_stand_though_content_for_nobody_is_never_answered(self):
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        far.say(b"250 ok\r\n550 5.1.1 no\r\n354 go\r\n")
        far.drop()
        outcome = self.only(d)
        self.assertEqual((outcome.result, outcome.code), (Result.BOUNCED, 550))

    def test_deadlines(self):
        for said, seconds in ((b"", 300), (b"250 ok\r\n250 ok\r\n", 120), (b"250 ok\r\n250 ok\r\n354 go\r\n", 600)):
            d = self.attempt()
            far = self.net.accept()
            far.greet()
            far.say(said)
            self.net.advance(seconds - 2)
            self.assertFalse(d.called)
            self.net.advance(3)
            self.assertIs(self.only(d).fault, Fault.LOST)
            self.assertEqual(far.transport.closed, "aborted")

    def test_a_trickle_does_not_move_the_deadline(self):
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        for _ in range(301):
            far.say(b"2") if far.wire.session.state == "envelope" and not d.called else None
            self.net.advance(1)
        self.assertIs(self.only(d).fault, Fault.LOST)

    def test_block_deadline(self):
        self.spool.bodies[1] = [b"a\r\n"] * 5
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        far.transport.full = True
        far.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.net.advance(181)
        self.assertIs(self.only(d).fault, Fault.LOST)

    def test_what_is_said_is_recorded_as_it_is_said(self):
        self.attempt()
        far = self.net.accept()
        [entry] = self.ground.sessions.entries
        assert entry.lines[0][1].startswith("connected to [")
        far.greet()
        assert entry.lines[1:4] == (
            ("<", "220 peer.example"),
            (">", "EHLO mx1.example.org"),
            ("<", "250 peer.example / PIPELINING / 8BITMIME"),
        )
        assert entry.lines[4] == ("-", "going on in clear")
        assert entry.lines[5][1].startswith("MAIL FROM:")
        sender, recipients, octets = entry.transaction()
        assert (len(recipients), octets > 0) == (1, True)
        far.take()
        assert ("-", f"content of {octets} octets") in entry.lines
        assert entry.lines[-1] == ("<", "250 2.0.0 queued")
        assert entry.transaction() is None
        del sender

    def test_operator_waits_for_the_answer_to_the_dot(self):
        for insists in (False, True):
            d = self.attempt()
            far = self.net.accept()
            far.greet()
            far.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
            [entry] = self.ground.sessions.entries
            self.assertIs(entry.kick("upgrade"), False)
            self.assertNoResult(d)
            if insists:
                self.assertIs(entry.kick("upgrade"), True)
                self.assertEqual(self.only(d).reply, "ended by an operator: upgrade")
                self.assertEqual(far.transport.closed, "aborted")
            else:
                self.assertEqual(far.say(b"250 2.0.0 queued\r\n"), b"QUIT\r\n")
                self.assertIs(self.only(d).result, Result.DELIVERED)
                far.drop()

    def test_operator_ends_a_session(self):
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        self.ground.sessions.entries[0].kick()
        self.assertEqual(self.only(d).reply, "ended by an operator")
        self.assertEqual(far.transport.closed, "aborted")


class ConnectingTest(AgentCase):
    def test_faults(self):
        for failure, fault, words in (
            (error.TimeoutError(), Fault.CONNECT_TIMEOUT, "connection timed out"),
            (error.ConnectionRefusedError(), Fault.CONNECT_REFUSED, "connection refused"),
            (error.ConnectError(osError=113, string="No route to host"), Fault.CONNECT_FAILED, "cannot connect: "),
        ):
            agent = self.agent = SmtpAgent(self.ground)
            d = self.attempt()
            self.net.refuse(failure)
            outcome = self.only(d)
            self.assertEqual((outcome.result, outcome.fault, outcome.status), (Result.DEFERRED, fault, "4.4.1"))
            self.assertTrue(outcome.reply.startswith(words), outcome.reply)
            self.assertIn(words.encode(), outcome.transcript)
            self.assertEqual(agent.connections, 0)

    def test_refused_session(self):
        for said, code in (((b"554 5.7.1 not you\r\n",), 554), ((b"220 hi\r\n", b"421 busy\r\n"), 421)):
            d = self.attempt()
            far = self.net.accept()
            far.say(*said)
            outcome = self.only(d)
            self.assertEqual(
                (outcome.result, outcome.fault, outcome.code), (Result.DEFERRED, Fault.CONNECT_FAILED, code)
            )
            self.assertTrue(far.transport.closed)

    def test_no_greeting(self):
        d = self.attempt()
        far = self.net.accept()
        self.net.advance(301)
        outcome = self.only(d)
        self.assertEqual((outcome.fault, outcome.code), (Fault.CONNECT_FAILED, 0))
        self.assertEqual(far.transport.closed, "aborted")

    def test_ipv6(self):
        self.attempt(hop=Hop(Kind.SMTP, "[IPv6:::1]:25", "example.net", "x"))
        self.assertEqual(self.net.tcpClients[0][:2], ("::1", 25))

    def test_a_key_that_is_no_target(self):
        d = self.attempt(hop=Hop(Kind.SMTP, "[nonsense", "example.net", "x"))
        self.assertEqual((self.only(d).result, self.only(d).fault), (Result.DEFERRED, Fault.ROUTING))

    def test_window_grows_and_is_limited(self):
        site = FakeSite(delivery=DeliverySettings(connections=6))
        self.agent = SmtpAgent(ground(self.spool, self.net, site=site))
        ds = [self.attempt() for _ in range(60)]
        self.assertEqual(self.net.pending(), 5)
        fars = [self.net.accept() for _ in range(5)]
        for far in fars:
            far.greet()
        while not all(d.called for d in ds):
            for far in fars:
                far.take()
            if self.net.pending():
                fars.append(self.net.accept())
                fars[-1].greet()
        self.assertEqual(len(fars), 6)
        self.assertTrue(all(self.only(d).result is Result.DELIVERED for d in ds))

    def test_a_dead_destination_gives_back_what_waits(self):
        ds = [self.attempt() for _ in range(20)]
        for _ in range(3):
            self.net.refuse(error.ConnectionRefusedError())
        results = [self.only(d).result for d in ds if d.called]
        self.assertEqual(results.count(Result.DEFERRED), 3)
        self.assertEqual(results.count(Result.RELEASED), 15)
        while self.net.pending():
            self.net.refuse(error.ConnectionRefusedError())
        self.assertEqual(self.agent.connections, 0)
        probes = [self.attempt() for _ in range(3)]
        self.assertEqual(self.net.pending(), 1)
        far = self.net.accept()
        far.greet()
        far.take()
        for one in (far, self.net.accept()):
            if one is not far:
                one.greet()
            one.take()
        self.assertTrue(all(self.only(d).result is Result.DELIVERED for d in probes))

    def test_a_peer_that_takes_no_more_connections_is_not_down(self):
        ds = [self.attempt() for _ in range(20)]
        first = self.net.accept()
        first.greet()
        for _ in range(4):
            self.net.refuse(error.ConnectionRefusedError())
        self.assertEqual([d for d in ds if d.called], [])
        while not all(d.called for d in ds):
            first.take()
            while self.net.pending():
                self.net.refuse(error.ConnectionRefusedError())
        self.assertTrue(all(self.only(d).result is Result.DELIVERED for d in ds))
        one, two = self.attempt(), self.attempt()
        first.take()
        self.assertTrue(one.called)
        self.net.refuse(error.ConnectionRefusedError())
        first.take()
        self.assertIs(self.only(two).result, Result.DELIVERED)

    def test_what_could_not_get_a_connection_goes_to_an_idle_one(self):
        one, two = self.attempt(), self.attempt()
        far = self.net.accept()
        far.greet()
        far.take()
        self.net.refuse(error.ConnectionRefusedError())
        self.assertEqual(far.heard(), MAIL)
        far.take()
        self.assertEqual([self.only(d).result for d in (one, two)], [Result.DELIVERED] * 2)

    def test_unused_destinations_are_forgotten(self):
        for n in range(1005):
            hop = Hop(Kind.SMTP, f"[127.0.{n // 250}.{n % 250}]:25", "example.net", "x")
            d = self.attempt(hop=hop)
            far = self.net.accept()
            far.greet()
            far.take()
            far.drop()
            self.assertTrue(d.called)
        self.assertLess(len(self.agent._peers), 1005)


class KeepingTest(AgentCase):
    """Connections between messages."""

    def kept(self):
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        far.take()
        self.only(d)
        return far

    def test_idle_connections_take_leave(self):
        far = self.kept()
        self.net.advance(9)
        self.assertEqual(far.heard(), b"")
        self.net.advance(2)
        self.assertEqual(far.heard(), b"QUIT\r\n")
        self.assertEqual(self.agent.connections, 0)
        self.assertEqual(self.ground.sessions.entries, [])
        far.say(b"221 bye\r\n")
        self.assertEqual(far.transport.closed, "lost")
        self.assertEqual(self.net.getDelayedCalls(), [])

    def test_goodbye_is_not_waited_for_long(self):
        far = self.kept()
        self.net.advance(11)
        self.net.advance(6)
        self.assertEqual(far.transport.closed, "aborted")

    def test_peer_closes_an_idle_connection(self):
        far = self.kept()
        far.drop()
        self.assertEqual(self.agent.connections, 0)
        far = self.kept()
        far.say(b"421 4.4.2 idle too long\r\n")
        self.assertEqual(self.agent.connections, 0)
        far = self.kept()
        far.say(b"nonsense\r\n")
        self.assertEqual(self.agent.connections, 0)
        self.assertEqual(far.transport.closed, "aborted")

    def test_operator_ends_an_idle_session(self):
        far = self.kept()
        self.ground.sessions.entries[0].kick()
        self.assertEqual(far.transport.closed, "aborted")
        self.assertEqual(self.agent.connections, 0)

    def test_only_so_many_messages_a_connection(self):
        far = self.kept()
        for _ in range(MOST_MESSAGES - 1):
            d = self.attempt()
            far.take()
            self.only(d)
        self.assertEqual(far.after, b"QUIT\r\n")
        self.attempt()
        self.assertEqual(self.net.pending(), 1)

    def test_a_stale_connection_is_tried_again_once(self):
        for end in (lambda far: far.drop(), lambda far: far.say(b"421 too late\r\n")):
            far = self.kept()
            d = self.attempt()
            end(far)
            self.assertFalse(d.called)
            fresh = self.net.accept()
            self.assertEqual(fresh.greet(), MAIL)
            fresh.drop()
            self.assertIs(self.only(d).fault, Fault.LOST)

    def test_an_operator_who_insists_sends_nothing_again(self):
        far = self.kept()
        d = self.attempt()
        [entry] = self.ground.sessions.entries
        entry.kick()
        outcome = self.only(d)
        self.assertEqual((outcome.reply, far.transport.closed), ("ended by an operator", "aborted"))
        self.assertEqual(self.net.pending(), 0)

    def test_an_idle_connection_ends_when_its_tls_terms_change(self):
        far = self.kept()
        site = self.ground.site
        site.become(quota=(1, 1))
        self.assertEqual(far.heard(), b"")
        site.become(destinations={KEY: DestinationSettings(tls="verify")})
        self.assertEqual(far.heard(), b"QUIT\r\n")
        self.assertEqual(self.agent.connections, 0)

    def test_a_busy_connection_takes_no_further_message_when_its_tls_terms_change(self):
        far = self.kept()
        d = self.attempt()
        later = self.attempt()
        self.net.accept()
        self.ground.site.become(delivery=DeliverySettings(tls="verify"))
        far.take()
        self.assertIs(self.only(d).result, Result.DELIVERED)
        self.assertEqual(far.after, b"QUIT\r\n")
        self.assertFalse(later.called)

    def test_what_is_being_opened_under_old_terms_carries_nothing(self):
        d = self.attempt()
        far = self.net.accept()
        self.ground.site.become(destinations={KEY: DestinationSettings(credential="relay")})
        self.ground.site.become(destinations={KEY: DestinationSettings(tls="none")})
        self.assertEqual(far.greet(), b"QUIT\r\n")
        self.assertFalse(d.called)
        fresh = self.net.accept()
        self.assertEqual(fresh.greet(), MAIL)
        fresh.take()
        self.assertIs(self.only(d).result, Result.DELIVERED)

    def test_goodbye_at_a_later_stage_is_an_outcome(self):
        far = self.kept()
        d = self.attempt()
        far.say(b"250 ok\r\n250 ok\r\n354 go\r\n", b"421 4.3.2 stopping\r\n")
        self.assertEqual((self.only(d).result, self.only(d).code), (Result.DEFERRED, 421))

    def test_a_refused_message_leaves_the_connection(self):
        far = self.kept()
        d = self.attempt()
        far.say(b"250 ok\r\n550 5.1.1 no\r\n554 no\r\n")
        self.assertIs(self.only(d).result, Result.BOUNCED)
        self.attempt()
        self.assertEqual(far.heard(), b"RSET\r\n" + MAIL)


class StoppingTest(AgentCase):
    def test_nothing_to_stop(self):
        self.successResultOf(self.agent.stop())

    def test_stop(self):
        site = FakeSite(delivery=DeliverySettings(connections=4))
        self.agent = SmtpAgent(ground(self.spool, self.net, site=site))
        ds = [self.attempt() for _ in range(6)]
        dotted, halfway, greeting = (self.net.accept() for _ in range(3))
        dotted.greet()
        dotted.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        halfway.greet()
        halfway.say(b"250 ok\r\n")
        stopped = self.agent.stop()
        self.assertEqual([self.only(d).result for d in ds[1:]], [Result.RELEASED] * 5)
        self.assertEqual([far.transport.closed for far in (dotted, halfway, greeting)], ["", "aborted", "aborted"])
        self.assertNoResult(stopped)
        self.assertIs(self.only(self.attempt()).result, Result.RELEASED)
        other = Hop(Kind.SMTP, "[192.0.2.1]:25", "example.net", "x")
        self.assertIs(self.only(self.attempt(hop=other)).result, Result.RELEASED)
        self.assertEqual(dotted.say(b"250 taken\r\n"), b"QUIT\r\n")
        self.assertIs(self.only(ds[0]).result, Result.DELIVERED)
        dotted.say(b"221 bye\r\n")
        self.successResultOf(stopped)
        self.assertEqual(self.net.getDelayedCalls(), [])

    def test_stop_does_not_wait_for_ever(self):
        d = self.attempt()
        far = self.net.accept()
        far.greet()
        far.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        stopped = self.agent.stop()
        self.net.advance(31)
        self.assertIs(self.only(d).result, Result.DEFERRED)
        self.assertEqual(far.transport.closed, "aborted")
        self.successResultOf(stopped)

    def test_stop_ends_idle_connections(self):
        self.attempt()
        far = self.net.accept()
        far.greet()
        far.take()
        stopped = self.agent.stop()
        self.assertEqual(far.heard(), b"QUIT\r\n")
        far.say(b"221 bye\r\n")
        self.successResultOf(stopped)


class NamesTest(AgentCase):
    def setUp(self):
        super().setUp()
        self.hop = Hop(Kind.SMTP, "[relay.example.net]:25", "example.net", "x")

    def know(self, **records):
        """Have the DNS say this of the relay."""
        resolver = FakeResolver({"relay.example.net": records} if records else {})
        self.agent = SmtpAgent(ground(self.spool, self.net, resolver=resolver))
        return resolver

    def test_addresses_are_tried_by_turns(self):
        self.know(A=["192.0.2.1", "192.0.2.2"], AAAA=["2001:db8::1"])
        d = self.attempt(hop=self.hop)
        self.assertEqual(self.net.refuse(error.ConnectionRefusedError())[0], "2001:db8::1")
        self.assertEqual(self.net.tcpClients[1][0], "192.0.2.1")
        self.net.accept().greet()
        self.assertFalse(d.called)
        self.assertEqual(len(self.net.tcpClients), 2)

    def test_no_address(self):
        self.know()
        outcome = self.only(self.attempt(hop=self.hop))
        self.assertEqual((outcome.result, outcome.fault, outcome.status), (Result.DEFERRED, Fault.DNS, "4.4.4"))

    def test_no_answer(self):
        self.know(A=["192.0.2.1"]).records["relay.example.net"] = "SERVFAIL"
        d = self.attempt(hop=self.hop)
        self.assertEqual((self.only(d).fault, self.only(d).status), (Fault.DNS, "4.4.3"))

    def test_stop_while_a_name_is_looked_up(self):
        self.know(A=["192.0.2.1"]).hold = True
        d = self.attempt(hop=self.hop)
        self.successResultOf(self.agent.stop())
        self.assertIs(self.only(d).result, Result.RELEASED)

    def test_what_this_host_knows_by_itself(self):
        d = self.attempt(hop=Hop(Kind.SMTP, "[localhost]:25", "example.net", "x"))
        self.assertEqual(self.net.tcpClients[0][0], "127.0.0.1")
        self.assertFalse(d.called)


class ManyTest(AgentCase):
    def test_destinations_that_failed_do_not_pile_up_nor_drive_others_out(self):
        self.patch(smtpagent, "MOST_PEERS", 3)
        self.agent = SmtpAgent(self.ground)

        def to(n):
            key = f"[192.0.2.{n}]:25"
            return self.attempt(hop=Hop(Kind.SMTP, key, "example.net", key))

        for n in range(1, 30):
            to(n)
            self.net.refuse(error.ConnectionRefusedError())
        self.assertLessEqual(len(self.agent._peers), 3)
        used = [to(100 + n % 10) for n in range(100)]
        self.assertEqual(self.net.pending(), 50)  # ten destinations, of which each has its first window
        self.assertEqual(self.agent.connections, 50)
        self.agent.stop()
        self.assertTrue(all(d.called for d in used))


class MistakeTest(AgentCase):
    def test_a_mistake_of_ours_ends_the_job_and_the_connection(self):
        d = self.attempt()
        far = self.net.accept()
        connection = next(iter(self.agent._peers[KEY].connections))
        connection._carry = None  # whatever it is
        far.greet()
        self.assertIs(self.only(d).fault, Fault.LOCAL)
        self.assertEqual(far.transport.closed, "aborted")
        self.assertEqual(self.agent.connections, 0)
        self.assertEqual(len(self.ground.logbook.named("delivery.fault")), 1)

    def test_content_is_what_was_accepted(self):
        self.assertIn(CONTENT.replace(b"\r\n.", b"\r\n.."), WIRE)
