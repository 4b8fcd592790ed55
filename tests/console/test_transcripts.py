"""Dialogues in ``transcripts/*.txt``, run against a real store in memory.

A line that begins with the prompt is typed; what follows must be shown, question and answer on one line.  Queue ids
become ID1 ID2 … in the order they appear, times TIME, and what a job took T.
"""

import pathlib
import queue
import re
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from netsvc.console.session import Console
from netsvc.doors import Doors
from netsvc.logbook import Logbook
from netsvc.mail.address import Address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts
from netsvc.mail.ids import make_id
from netsvc.mail.message import Hop, Kind, LocalDelivery, Message, NewDelivery, Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.plugins.netsvc_policies import limits, recipient, tarpit
from netsvc.policy.gate import Gate
from netsvc.sessions import Sessions
from netsvc.store.store import open_store
from tests.console.conftest import Operator
from tests.console.fakeservice import Accounts
from tests.fakes import FakeGround

HERE = pathlib.Path(__file__).parent / "transcripts"
PROMPT = re.compile(r"(mx1[>#]) ?(.*)")
ID = re.compile(r"\b0[0-9A-HJKMNP-TV-Z]{12}\b")
HOURS = 3_600_000
CONTENT = b"Subject: Offers\r\nX-Evil: \x1b]52;c;aGk=\x07\r\n\r\nGood day\r\n"
SECRETS = {"Password: ": "a long secret", "Password for bo: ": "nine letters", "Again: ": "nine letters"}


class Pump(Clock):
    """A clock at the store's time whose ``callFromThread`` waits for ``run``."""

    def __init__(self):
        super().__init__()
        self.foreign = queue.SimpleQueue()

    def callFromThread(self, call, *args, **kwargs):
        self.foreign.put((call, args, kwargs))

    def run(self, deferred):
        """Return what ``deferred`` fires with."""
        done = []
        deferred.addBoth(done.append)
        while not done:
            call, args, kwargs = self.foreign.get(timeout=20)
            call(*args, **kwargs)
        if hasattr(done[0], "raiseException"):
            done[0].raiseException()
        return done[0]


class Paper:
    """A terminal whose answers are written in the transcript."""

    width, height, interactive = 100, 24, True

    def __init__(self, script):
        self.script, self.text = script, ""

    def write(self, text):
        self.text += text

    def progress(self, text):
        pass

    def ask(self, question, secret=False):
        for line in self.script:
            if line.startswith(question):
                answer = SECRETS[question] if secret else line[len(question) :]
                self.text += question + ("" if secret else answer) + "\n"
                return succeed(answer)
        self.text += question + "\n"
        return succeed(None)


class Site:
    """A memory store with mail in it, and a console on it."""

    def __init__(self):
        self.number = 0
        self.pump = Pump()
        self.store = self.run(open_store("memory", ".", reactor=self.pump, node_name="mx1", version="1"))
        self.service = SimpleNamespace(
            queue=self.store.queue,
            mail=self.store.mail,
            directory=self.store.directory,
            site=self.store.site,
            audit=self.store.audit,
            accounts=Accounts(),
            senders=self.store.senders,
            sessions=Sessions("mx1", self.store.spool.now),
            hostname="mx1.example.org",
        )
        sessions = self.service.sessions
        self.service.doors = Doors(self.store.door_rules, sessions, "mx1", Logbook(publisher=lambda _: None), self.pump)
        makers = (limits, tarpit, recipient)
        ground = FakeGround(
            site=self.store.site,
            clock=self.pump,
            sessions=self.service.sessions,
            counters=self.store.counters,
            directory=self.store.directory,
        )
        self.service.site = self.store.site
        self.service.policies = Gate(makers, ground)
        self.console = Console(self.service, "mx1.example.org", "1.0", self.pump, self.store.spool.now() - 90_000_000)

    def run(self, what):
        return self.pump.run(what if isinstance(what, Deferred) else Deferred.fromCoroutine(what))

    def accept(self, rcpt, hours, sender="news@shop.example", box=0):
        spool = self.store.spool
        now = spool.now()
        self.number += 1
        message = Message(
            id=make_id(int(now - hours * HOURS), 1, self.number),
            hdr=b"Received: from client.example by mx1.example.org\r\n",
            sender=sender,
            sender_domain=sender.partition("@")[2],
            size=len(CONTENT),
            received_at=int(now - hours * HOURS),
            expires_at=now + 96 * HOURS,
            msgid="<1@shop.example>",
            subject="Offers",
            client="192.0.2.7",
            listener="smtp",
        )
        domain = rcpt.partition("@")[2]
        local = [LocalDelivery(1, rcpt, domain, box, b"Return-Path: <>\r\n")] if box else []
        away = [] if box else [NewDelivery(1, rcpt, domain, Hop(Kind.SMTP, domain, domain, "mx"), now)]
        return self.run(spool.accept(message, CONTENT, away, local))

    def fail_all(self, code=421, status="4.7.28", reply="4.7.28 Our system has detected an unusual rate"):
        """Have every due delivery fail once."""
        spool = self.store.spool
        due = self.run(spool.due(100))
        outcomes = [
            Outcome(
                leased.id,
                Result.DEFERRED,
                Fault.REPLY,
                code,
                status,
                reply,
                host="mx1.gmail.com",
                addr="142.250.27.26",
                ms=41,
                due_at=spool.now() + 690_000,
                transcript=b"> MAIL FROM:<news@shop.example>\n< 421 4.7.28 slow down\n",
            )
            for leased in self.run(spool.lease([(dest, 100) for dest, *_ in due]))
        ]
        self.run(spool.settle(outcomes, []))


def fill(site):
    """Put in what every transcript starts from."""
    directory = site.store.directory
    site.run(directory.add_domain("example.org"))
    box = site.run(directory.create_mailbox("ann@example.org"))
    for n in range(3):
        site.accept(f"u{n}@gmail.com", 2.52)
    site.accept("bob@example.net", 0.06, sender="")
    site.fail_all()
    site.accept("ann@example.org", 0, sender="bob@example.net", box=box)
    site.pump.rightNow = site.store.spool.now() / 1000 + 0.3
    connect(site)
    facts = SessionFacts("S9", "192.0.2.7", 1, "smtp", "mx1.example.org")
    envelope = Envelope(facts, Address("news", "shop.example"), (Recipient(Address("ann", "example.org")),))
    for stage in ("connect", "mail", "rcpt"):
        site.run(maybeDeferred(site.service.policies.ask, stage, envelope))


def connect(site):
    """Have two clients come in, one of them in the middle of a transaction."""
    site.service.doors.attach(
        SimpleNamespace(
            name="smtp", protocol="smtp", address="127.0.0.1:25", tls="none", accepted=2, refused=0, guarded=True
        )
    )
    for peer, state in (("192.0.2.7", "rcpt"), ("198.51.100.9", "idle")):
        entry = site.service.sessions.open("smtp-in", peer, listener="smtp", port=4711, helo="c.example")
        entry.kick = lambda reason, entry=entry: entry.close()
        entry.keep(b"EHLO c.example", b"250 mx1.example.org\r\n")
        entry.state = state
    first = site.service.sessions.entries()[0]
    first.keep(b"MAIL FROM:<ann@example.net>\r\nRCPT TO:<bob@example.org>", b"250 2.1.0 Sender ok\r\n250 2.1.5 Ok\r\n")
    first.transaction = lambda: ("ann@example.net", ["bob@example.org"], 0)


def normal(text):
    names = {}
    text = ID.sub(lambda m: names.setdefault(m[0], f"ID{len(names) + 1}"), text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"\b\d\d:\d\d:\d\d(\.\d{3})?\b", "CLOCK", text)
    text = re.sub(r" in \d+\.\d s", " in T s", text)
    text = re.sub(r"^(limits\..*)\+\w+ ", r"\1+T ", text, flags=re.MULTILINE)  # a window ends a minute from then on
    return "\n".join(re.sub(r"  +", "  ", line.rstrip()) for line in text.split("\n"))


def steps(text):
    """Return [(prompt, typed, what is shown)]."""
    out = []
    for line in text.splitlines():
        match = PROMPT.match(line)
        if match:
            out.append((match[1], match[2], []))
        elif out:
            out[-1][2].append(line)
    return out


@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path):
    site = Site()
    fill(site)
    who = re.match(r"# (\w+) (\w+)( content)?( enabled)?", path.read_text())
    session = site.console.open(Operator(who[1], who[2], bool(who[3]), bool(who[4])), "telnet 127.0.0.1")
    named = {}
    actual, expected = [], []
    for prompt, typed, shown in steps(path.read_text()):
        line = re.sub(r"\bID\d+\b", lambda m: named.get(m[0], m[0]), typed)
        paper = Paper(shown)
        before = session.prompt
        site.run(session.execute(line, paper))
        actual.append(f"{before} {line}\n{paper.text}")
        expected.append(f"{prompt} {typed}\n" + "".join(part + "\n" for part in shown))
        for number in ID.findall("".join(actual)):
            if number not in named.values():
                named[f"ID{len(named) + 1}"] = number
    site.run(site.store.close())
    assert normal("".join(actual)) == normal("".join(expected))
