"""Servers that mean harm, or have gone wrong: every one ends in the right outcome, soon, and leaves nothing behind."""

import itertools

from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault
from tests.delivery.test_smtpagent import AgentCase

DIALOGUES = {
    "pipelined": (
        b"220 mx.example ESMTP\r\n",
        b"250-mx.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
        b"250 ok\r\n250 ok\r\n354 go\r\n",
        b"250-2.0.0 taken\r\n250 2.0.0 indeed\r\n",
    ),
    "chunked": (b"220 mx.example\r\n", b"250-mx\r\n250 CHUNKING\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 taken\r\n"),
    "old": (b"220 mx\r\n", b"500 what\r\n", b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 ok\r\n"),
}


class HostileTest(AgentCase):
    def speak(self, data, end):
        """Let a server say ``data``, then ``end`` -> the outcome of one message."""
        self.setUp()
        d = self.attempt()
        far = self.net.accept()
        for octet in data:
            if not far.transport.closed:
                far.say(bytes((octet,)))
        end(far)
        self.assertTrue(d.called, data)
        return self.only(d)

    def clean(self):
        """Assert that nothing is left: no connection, no timer, no session."""
        self.net.advance(11)  # what is idle takes its leave
        self.net.advance(11)
        self.assertEqual(self.agent.connections, 0)
        self.assertEqual(self.ground.sessions.entries, [])
        self.assertEqual(self.net.getDelayedCalls(), [])
        self.assertTrue(all(reader.closed for reader in self.spool.readers))

    def test_the_connection_is_lost_at_every_octet(self):
        for name, lines in DIALOGUES.items():
            whole = b"".join(lines)
            opening = len(b"".join(lines[: 3 if name == "old" else 2]))
            for cut in range(len(whole) + 1):
                outcome = self.speak(whole[:cut], lambda far: None if far.transport.closed else far.drop())
                if cut == len(whole):
                    self.assertIs(outcome.result, Result.DELIVERED)
                else:
                    self.assertIs(outcome.result, Result.DEFERRED, whole[:cut])
                    fault = Fault.CONNECT_FAILED if cut < opening else Fault.LOST
                    self.assertIs(outcome.fault, fault, whole[:cut])
                self.clean()

    def test_silence_at_every_line(self):
        for lines in DIALOGUES.values():
            for cut in range(len(lines)):
                outcome = self.speak(b"".join(lines[:cut]), lambda _: self.net.pump([1.0] * 605))
                self.assertIs(outcome.result, Result.DEFERRED)
                self.assertIn("no answer in time", outcome.reply)
                self.clean()

    def test_one_octet_a_second_has_no_more_time(self):
        d = self.attempt()
        far = self.net.accept()
        seconds = 0
        for octet in itertools.chain(b"220-", itertools.cycle(b"x")):
            if far.transport.closed:
                break
            far.say(bytes((octet,)))
            self.net.advance(1)
            seconds += 1
        self.assertLessEqual(seconds, 302)
        self.assertIs(self.only(d).result, Result.DEFERRED)
        self.clean()

    def test_replies_that_nobody_asked_for(self):
        opening = b"220 mx\r\n250 mx\r\n"
        for said in (
            b"220 mx\r\n220 mx\r\n250 ok\r\n250 ok\r\n",
            opening + b"250 a\r\n" * 9,
            opening + b"250 ok\r\n" * 2 + b"354 go\r\n354 go\r\n",
            opening + b"250 ok\r\n" * 2 + b"354 go\r\n250 taken\r\n250 taken\r\n",
        ):
            self.setUp()
            d = self.attempt()
            far = self.net.accept()
            far.say(said)  # at once, before a word was said to it
            outcome = self.only(d)
            self.assertEqual((outcome.result, outcome.status), (Result.DEFERRED, "4.5.0"))
            self.clean()

    def test_nonsense(self):
        for said in (
            b"\0" * 100 + b"\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"\x16\x03\x01\x00\x05hello\r\n",
            b"220-a\r\n250 b\r\n",
            b"199 x\r\n",
            b"600 x\r\n",
            b"22\r\n",
            b"220\tx\r\n",
            b"220 a\rb\r\n",
            b"220-" + b"x" * 3000,
            b"220-x\r\n" * 200,
            b"220 mx\r\n354 go\r\n",
            b"220 mx\r\n220 mx\r\n",
            b"220 mx\r\n250 mx\r\n334 x\r\n",
            b"220 mx\r\n250 mx\r\n250 ok\r\n354 x\r\n",
            b"220 mx\r\n250 mx\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
            b"220 mx\r\n250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n354 go\r\n",
        ):
            outcome = self.speak(said, lambda far: None)
            self.assertIs(outcome.result, Result.DEFERRED, said)
            self.assertEqual(outcome.status, "4.5.0", said)
            self.clean()

    def test_a_banner_that_refuses_for_good_is_the_hosts_word_not_the_recipients(self):
        for said in (b"554 5.7.1 go away\r\n", b"521 no mail here\r\n", b"421 busy\r\n"):
            outcome = self.speak(said, lambda far: None)
            self.assertEqual((outcome.result, outcome.fault), (Result.DEFERRED, Fault.CONNECT_FAILED))
            self.clean()
