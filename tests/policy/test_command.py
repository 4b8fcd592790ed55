"""The policy ``command`` and the programs it runs: real ones, with limits."""

import os
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from netsvc.child import Child, ChildError
from netsvc.interfaces import IPolicy
from netsvc.mail.address import Address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts
from netsvc.plugins.netsvc_content import command as maker
from netsvc.policy import command as command_module
from netsvc.policy.command import command_hook
from netsvc.records import PASS
from tests.fakes import FakeGround
from tests.policy.auth.contents import FakeContent

MESSAGE = b"From: joe@example.com\r\n\r\nWe lost the game.\r\n"
SH = "/bin/sh"


def run(script, *, pieces=(), seconds=10, output=1000, argv=None, environment=None, user=""):
    child = Child(argv or [SH, "-c", script], environment or {}, user=user, seconds=seconds, output=output)
    return child.run(iter(pieces))


def gone(pid):
    """Wait until a process is there no more, or is a zombie."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        os.sched_yield()
    return False


class Children(SynchronousTestCase):
    def test_status_and_words(self):
        ended = run("cat; echo oops >&2; exit 65", pieces=[b"ab", b"c"])
        assert (ended.status, ended.output, ended.errors) == (65, b"abc", b"oops\n")

    def test_one_that_reads_nothing(self):
        assert run("exit 3", pieces=[b"x" * 300_000] * 5).status == 3
        assert run("exec <&-; echo done", pieces=[b"x" * 300_000] * 5).output == b"done\n"

    def test_a_large_message_goes_through(self):
        assert run("wc -c", pieces=[b"x" * 256_000] * 20).output.strip() == b"5120000"

    def test_environment_and_descriptors(self):
        ended = run("env; ls -l /proc/self/fd | wc -l; pwd", environment={"PATH": "/usr/bin:/bin", "A": "b"})
        lines = ended.output.decode().split("\n")
        assert {line for line in lines if "=" in line} <= {
            "PATH=/usr/bin:/bin",
            "A=b",
            "PWD=/",
            "_=/usr/bin/env",
            "SHLVL=0",
            "OLDPWD=/",
        }
        assert lines[-3:] == ["5", "/", ""]

    def test_too_long(self):
        with pytest.raises(ChildError, match="ran longer"):
            run("sleep 60", seconds=0.1)

    def test_too_much(self):
        with pytest.raises(ChildError, match="wrote more than 1000"):
            run("yes")
        with pytest.raises(ChildError, match="wrote more than 1000"):
            run("yes >&2")

    def test_what_it_leaves_behind_is_killed_and_not_waited_for(self):
        started = time.monotonic()
        pid = int(run("sleep 60 & echo $!").output)
        assert time.monotonic() - started < 30
        assert gone(pid)

    def test_a_signal_is_its_status(self):
        assert run("kill -9 $$").status == -signal.SIGKILL

    def test_what_cannot_be_run(self):
        with pytest.raises(ChildError, match="cannot be run"):
            run("", argv=["/nonexistent/program"])

    def test_killed_before(self):
        child = Child([SH], {}, user="", seconds=1, output=1)
        child.kill()
        with pytest.raises(ChildError, match="before it began"):
            child.run(iter(()))

    def test_as_another_account(self):
        if os.geteuid():
            return  # only root may become another
        assert run("id -un; id -G", environment={"PATH": "/usr/bin:/bin"}, user="nobody").output.startswith(b"nobody\n")

    def test_a_stream_that_cannot_be_closed(self):
        class Stream:
            def close(self):
                raise BrokenPipeError

        from netsvc.child import _close

        _close(Stream())


class Case(TestCase):
    timeout = 60

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.ground = FakeGround(clock=reactor)
        self.policy = command_hook(self.ground)
        self.addCleanup(self.policy._threads.stop)

    def script(self, text):
        path = self.folder.absolute() / "judge"
        path.write_text(f"#!{sys.executable} -IS\nimport os, sys, time\n" + textwrap.dedent(text))
        path.chmod(0o755)
        return str(path)

    def configure(self, *argv, **values):
        self.policy.configure({s.name: s.default for s in maker.settings} | {"argv": argv} | values)

    def ask(self, message=MESSAGE):
        session = SessionFacts("S1", "192.0.2.1", 25, "smtp", "mx1.example.org", helo="client.example.net")
        recipients = (Recipient(Address("bob", "example.org")), Recipient(Address("ann", "example.org")))
        envelope = Envelope(session, Address("joe", "example.com"), recipients, content=FakeContent(message))
        return self.policy.check("content", session, envelope)

    def test_promise(self):
        assert verifyObject(IPolicy, self.policy)
        assert self.policy.stages == maker.stages
        made = maker.make(self.ground)
        self.addCleanup(made._threads.stop)
        assert made.name == maker.name

    async def test_verdicts(self):
        self.configure(
            self.script(
                """
                text = sys.stdin.buffer.read()
                words, status = text.split(b"\\r\\n")[-2].split(b" ")
                sys.stdout.buffer.write(words + b"\\nmore\\n")
                print("the fault", file=sys.stderr)
                sys.exit(int(status))
                """
            )
        )
        for line, action, code, text in (
            (b"a\x1bb 65", "reject", 550, "a\\x1bb"),
            (b" 77", "reject", 550, "Message refused"),
            (b"wait 75", "defer", 451, "wait"),
            (b" 75", "defer", 451, "Try again later"),
        ):
            verdict = await self.ask(MESSAGE + line + b"\r\n")
            assert (verdict.action, verdict.reply.code, verdict.reply.text) == (action, code, text)
        verdict = await self.ask(MESSAGE + b"odd 90\r\n")
        assert (verdict.action, verdict.why, verdict.tags) == ("hold", "exit status 90: odd", ("command-hold",))
        assert await self.ask(MESSAGE + b"fine 0\r\n") is PASS
        with pytest.raises(ChildError, match="exit status 1: words the fault"):
            await self.ask(MESSAGE + b"words 1\r\n")

    async def test_what_it_is_given(self):
        self.configure(
            self.script(
                """
                text = sys.stdin.buffer.read()
                out = open(sys.argv[1], "w")
                print(repr(text), file=out)
                print({k: v for k, v in os.environ.items()}, file=out)
                """
            ),
            str(self.folder.absolute() / "out"),
        )
        large = MESSAGE + b"0123456789\r\n" * 60_000
        assert await self.ask(large) is PASS
        text, environment = map(eval, (self.folder / "out").read_text().split("\n", 1))
        assert text.startswith(b"Received: from client.example.net ([192.0.2.1])\r\n\tby mx1.example.org (netsvc)")
        assert text.endswith(large)
        assert {k: v for k, v in environment.items() if k != "LC_CTYPE"} == {
            "PATH": command_module.PATH,
            "LANG": "C.UTF-8",
            "NETSVC_ID": "0000000000001",
            "NETSVC_HOSTNAME": "mx1.example.org",
            "NETSVC_LISTENER": "smtp",
            "NETSVC_CLIENT": "192.0.2.1",
            "NETSVC_HELO": "client.example.net",
            "NETSVC_USER": "",
            "NETSVC_TLS": "",
            "NETSVC_SENDER": "joe@example.com",
            "NETSVC_RECIPIENTS": "bob@example.org\nann@example.org",
            "NETSVC_SIZE": str(len(large)),
        }

    async def test_a_content_that_ends_early(self):
        self.configure(shutil.which("true"))
        content = FakeContent(MESSAGE)
        content.size += 5
        session = SessionFacts("S1", "192.0.2.1", 25, "smtp", "mx1.example.org")
        envelope = Envelope(session, Address("joe", "example.com"), (), content=content)
        assert b"".join(await self.off(self.policy._message, envelope)).endswith(MESSAGE)

    def off(self, function, *arguments):
        return self.policy._threads(lambda: list(function(*arguments)))

    async def test_given_up_and_stopped(self):
        for end in ("cancel", "stop"):
            pid = self.folder / f"{end}.pid"
            self.configure(
                self.script(
                    "open(sys.argv[1] + '.new', 'w').write(str(os.getpid()))\nos.rename(sys.argv[1] + '.new', sys.argv[1])\ntime.sleep(60)\n"
                ),
                str(pid.absolute()),
            )
            asked = self.ask()
            while not pid.exists():
                later = Deferred()
                reactor.callLater(0.01, later.callback, None)
                await later
            assert len(self.policy._running) == 1
            if end == "cancel":
                asked.cancel()
            else:
                self.policy.stop()
            with pytest.raises((CancelledError, ChildError)):
                await asked
            assert gone(int(pid.read_text()))
            while self.policy._running:
                later = Deferred()
                reactor.callLater(0.01, later.callback, None)
                await later

    async def test_only_so_many_at_a_time(self):
        mark = self.folder.absolute() / "mark"
        self.configure(
            self.script(
                """
                try:
                    os.mkdir(sys.argv[1])
                except FileExistsError:
                    sys.exit(77)
                sys.stdin.buffer.read()
                os.rmdir(sys.argv[1])
                """
            ),
            str(mark),
            at_once=1,
        )
        assert await gatherResults([self.ask() for _ in range(4)]) == [PASS] * 4

    def test_settings(self):
        true = shutil.which("true")
        for argv, values, why in (
            ((), {}, "there is no command"),
            (("true",), {}, "no program"),
            (("/nonexistent",), {}, "no program"),
            ((true, "a\0b"), {}, "NUL"),
            ((true,), {"user": "nosuchaccount"}, "no account"),
        ):
            with pytest.raises(ValueError, match=why):
                self.configure(*argv, **values)
        self.patch(command_module.os, "geteuid", lambda: 1000)
        with pytest.raises(ValueError, match="not run as root"):
            self.configure(true, user="root")
        self.patch(command_module.os, "geteuid", lambda: 0)
        self.configure(true, user="root")
