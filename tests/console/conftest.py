"""A console over a service in memory, a clock that stands at 2026-11-23 14:05:12 UTC, and a terminal that is a list."""

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from netsvc.console.session import Console
from tests.console.fakeservice import NOW, Service


class Operator:
    last_at = 0
    last_from = ""
    fails = 0

    def __init__(self, name="op", role="operator", content=False, enabled=False):
        self.name, self.role, self.content, self.enabled = name, role, content, enabled


class Screen:
    """``answers``: what is typed when asked; ``questions``: (question, secret) asked; ``text``: all shown."""

    def __init__(self, width=100, interactive=True):
        self.width, self.height, self.interactive = width, 24, interactive
        self.text = ""
        self.answers, self.questions, self.passing = [], [], []
        self.pressure = None

    def write(self, text):
        self.text += text
        return self.pressure

    def ask(self, question, secret=False):
        self.questions.append((question, secret))
        if not self.answers:
            return Deferred()
        return succeed(self.answers.pop(0))

    def progress(self, text):
        self.passing.append(text)


class Desk:
    """A console, one session, and short words to use them."""

    def __init__(self):
        self.service = Service()
        self.clock = Clock()
        self.clock.advance(NOW / 1000)
        self.console = Console(self.service, "mx1.example.org", "1.0", self.clock, NOW - 12 * 86_400_000)
        self.screen = Screen()
        self.login()

    def login(self, name="op", role="operator", content=False, enabled=False):
        self.session = self.console.open(Operator(name, role, content, enabled), "telnet 127.0.0.1")
        return self.session

    def start(self, line, *answers):
        """Type a line -> the Deferred of the command."""
        self.screen.answers += answers
        return self.session.execute(line, self.screen)

    def type(self, line, *answers):
        """Type a line and answer questions -> what was shown meanwhile."""
        before = len(self.screen.text)
        done = []
        self.start(line, *answers).addBoth(done.append)
        assert done == [None], done
        return self.screen.text[before:]

    def machine(self, line):
        """Run a line in machine mode -> the objects."""
        out, done = [], []
        self.session.execute_machine(line, out.append).addBoth(done.append)
        assert done == [None], done
        return out

    def audited(self):
        return [(r["verb"], r["target"], r["args"], r["affected"], r["result"]) for r in self.service.audit.rows]


@pytest.fixture
def desk():
    return Desk()
