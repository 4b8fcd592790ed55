"""Words for programs, what their ends mean, and the agent that runs them."""

import os
import pathlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from netsvc.delivery.command import UnfitWordError, delivery_id, expand, judged
from netsvc.delivery.commandagent import CommandAgent
from netsvc.delivery.lineends import UnixLines
from netsvc.interfaces import IDeliveryAgent
from netsvc.mail.message import Hop, Kind, Result
from netsvc.mail.outcome import Fault
from tests.delivery.fakes import FakeQueue, ground
from tests.delivery.rows import row
from tests.fakes import FakeSite

ARGV = ("/bin/x", "{local}", "--", "{sender}", "{rcpt}", "{domain}", "{id}", "{other")


def test_placeholders_become_one_word_each():
    one = row(rcpt="Bob $(x)@Example.NET", sender="-é@example.org", n=3)
    assert expand(ARGV, one) == [
        b"/bin/x",
        b"Bob $(x)",
        b"--",
        "-é@example.org".encode(),
        b"Bob $(x)@Example.NET",
        b"example.net",
        delivery_id(one).encode(),
        b"{other",
    ]
    assert delivery_id(one).endswith(".3")
    assert expand(("/bin/x", "{sender}"), row(sender="")) == [b"/bin/x", b""]


@pytest.mark.parametrize(
    ("argv", "changes", "status"),
    [
        (("/bin/x", "{local}"), {"rcpt": "-x@example.net"}, "5.1.3"),
        (("/bin/x", "{rcpt}", "--"), {"rcpt": "-x@example.net"}, "5.1.3"),
        (("/bin/x", "{sender}"), {"sender": "-x@example.net"}, "5.1.7"),
        (("/bin/x", "--", "{sender}"), {"sender": "x\0@example.net"}, "5.1.7"),
    ],
)
def test_words_that_are_refused(argv, changes, status):
    with pytest.raises(UnfitWordError) as caught:
        expand(argv, row(**changes))
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("status", "said", "result", "code", "words"),
    [
        (0, b"5.1.1 not asked", Result.DELIVERED, "", ""),
        (67, b"", Result.BOUNCED, "5.1.1", "command x ended with 67: there is no such user"),
        (75, b"5.2.2 full", Result.DEFERRED, "4.3.0", "command x ended with 75: full"),
        (75, b"4.2.2 full\nmore", Result.DEFERRED, "4.2.2", "command x ended with 75: full"),
        (1, b"5.7.1", Result.BOUNCED, "5.7.1", "command x ended with 1: a failure"),
        (1, b" \n", Result.DEFERRED, "4.3.0", "command x ended with 1: a failure"),
        (67, b"4.2.1 away", Result.DEFERRED, "4.2.1", "command x ended with 67: away"),
        (78, b"\x1b[2J", Result.DEFERRED, "4.3.5", "command x ended with 78: \\x1b[2J"),
        (-9, b"5.1.1 x", Result.DEFERRED, "4.3.0", "command x: it was ended by signal 9: x"),
        (-9, b"", Result.DEFERRED, "4.3.0", "command x: it was ended by signal 9"),
        (300, b"", Result.DEFERRED, "4.3.0", "command x ended with 300: a failure"),
    ],
)
def test_what_an_end_means(status, said, result, code, words):
    assert judged("x", status, said) == (result, code, words)


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\r\r\n", b"x\r"]), max_size=12), st.integers(1, 4))
def test_line_ends_do_not_depend_on_the_cut(parts, step):
    whole = b"".join(parts)
    lines = UnixLines()
    out = b"".join(lines.push(whole[n : n + step]) for n in range(0, len(whole), step)) + lines.end()
    assert out == whole.replace(b"\r\n", b"\n")


class AgentTest(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.spool = FakeQueue()
        self.site = FakeSite()

    def agent(self, script, **settings):
        path = self.folder / "program"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        said = {"argv": (str(path), "{local}"), **settings}
        self.site.become(commands={"x": said})
        self.ground = ground(self.spool, reactor, site=self.site)
        self.made = CommandAgent(self.ground)
        self.addCleanup(self.made._threads.stop)
        return self.made

    def attempt(self, agent, *rows, observer=None):
        return agent.attempt(Hop(Kind.COMMAND, "command:x", "example.net", "command:x"), rows[0], rows, observer)

    async def test_delivery(self):
        agent = self.agent(f'cat > {self.folder}/"$1"; echo said; echo beside >&2')
        verifyObject(IDeliveryAgent, agent)
        seen = []
        outcomes = await self.attempt(agent, row(), row(id=2, n=2, rcpt="eve@x"), observer=lambda *x: seen.append(x))
        self.assertEqual([o.result for o in outcomes], [Result.DELIVERED] * 2)
        self.assertEqual(
            (self.folder / "bob").read_bytes(),
            b"Return-Path: <alice@example.org>\nReceived: here\nSubject: hi\n\n.text\n",
        )
        self.assertTrue((self.folder / "eve").exists())
        self.assertIn(b"output: said", outcomes[0].transcript)
        self.assertIn(b"errors: beside", outcomes[0].transcript)
        self.assertIn(("-", "it ended with 0"), seen)
        self.assertTrue(all(reader.closed for reader in self.spool.readers))

    async def test_lines_as_they_came_and_a_cr_at_the_end(self):
        self.spool.bodies[1] = [b"a\r", b"\nb\r"]
        agent = self.agent(f'cat > {self.folder}/"$1"', line_end="crlf")
        await self.attempt(agent, row())
        self.assertTrue((self.folder / "bob").read_bytes().endswith(b"here\r\na\r\nb\r"))
        self.site.become(commands={"x": {**self.site.current.commands["x"], "line_end": "lf"}})
        await self.attempt(agent, row())
        self.assertTrue((self.folder / "bob").read_bytes().endswith(b"here\na\nb\r"))

    async def test_what_is_not_set_up_waits(self):
        agent = self.agent("exit 0")
        for commands, words in (
            ({}, "there is no command x"),
            ({"x": {}}, "argv is missing"),
            ({"x": {"argv": ("relative",)}}, "whole path"),
            ({"x": {"argv": ("/nowhere/to/be/found",)}}, "cannot be run"),
        ):
            self.site.become(commands=commands)
            [outcome] = await self.attempt(agent, row())
            self.assertIs(outcome.result, Result.DEFERRED)
            self.assertIn(words, outcome.reply)

    async def test_faults_of_the_store(self):
        agent = self.agent("cat >/dev/null")
        self.spool.body_error = OSError("gone")
        [outcome] = await self.attempt(agent, row())
        self.assertEqual((outcome.result, outcome.fault), (Result.DEFERRED, Fault.LOCAL))
        self.spool.body_error, self.spool.read_error = None, OSError("unreadable")
        [outcome] = await self.attempt(agent, row())
        self.assertIn("could not be fed", outcome.reply)
        self.assertEqual(len(self.ground.logbook.named("delivery.fault")), 2)

    async def test_an_option_is_no_address(self):
        [outcome] = await self.attempt(self.agent("exit 0"), row(rcpt="-f@example.net"))
        self.assertEqual((outcome.result, outcome.status), (Result.BOUNCED, "5.1.3"))

    async def test_so_many_at_once(self):
        agent = self.agent(
            f"echo >> {self.folder}/begun; while [ ! -e {self.folder}/go ]; do sleep 0.01; done", at_once=2
        )
        trying = [self.attempt(agent, row(id=n)) for n in range(4)]
        begun = self.folder / "begun"
        while not begun.exists() or len(begun.read_bytes()) < 2:
            await deferLater(reactor, 0.01)
        self.assertEqual(len(agent._running), 2)
        stopped = agent.stop()
        (self.folder / "go").touch()
        outcomes = await gatherResults(trying)
        await stopped
        self.assertEqual(
            [o.result for [o] in outcomes], [Result.DELIVERED, Result.DELIVERED, Result.RELEASED, Result.RELEASED]
        )
        self.assertEqual(len(begun.read_bytes()), 2)
        [late] = await self.attempt(agent, row(id=9))
        self.assertIs(late.result, Result.RELEASED)
        await agent.stop()

    async def test_a_stop_ends_what_does_not_end(self):
        agent = self.agent(f"echo $$ > {self.folder}/pid; sleep 60")
        trying = self.attempt(agent, row())
        while not (self.folder / "pid").exists() or not (self.folder / "pid").read_text():
            await deferLater(reactor, 0.01)
        stopped = agent.stop()
        agent._kill()
        [outcome] = await trying
        await stopped
        self.assertIn("killed", outcome.reply)
        self.assertRaises(ProcessLookupError, os.kill, int((self.folder / "pid").read_text()), 0)
