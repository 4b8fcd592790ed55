"""A house with one operator, sessions that do as they are told, and a client at the other end of a string."""

from types import SimpleNamespace

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from netsvc.commands import Completion
from netsvc.console.telnet import TelnetFactory, TelnetListenerSettings
from netsvc.interfaces import IConsoleSession, IHouse, IOperator
from netsvc.sessions import Sessions
from tests.fakes import FakeLogbook


@implementer(IConsoleSession)
class FakeSession:
    """``lines`` tells what was run.  Commands: show N, wait, ask Q, secret Q, slow, program, fail CODE, fault, exit."""

    page_length = None
    page_width = None
    end = None

    def __init__(self, operator, source):
        self.operator, self.source = operator, source
        self.prompt = "mx1>"
        self.ended = self.machine = False
        self.lines, self.answers = [], []
        self.closed = 0
        self.cancelled = 0
        self.running = None

    def greeting(self):
        return succeed(f"you: {self.operator.name} ({self.operator.role})")

    def hello(self):
        return {"proto": "netsvc-console/1", "user": self.operator.name}

    def run(self, line):
        raise NotImplementedError

    def execute(self, line, terminal):
        self.running = Deferred.fromCoroutine(self._execute(line, terminal))
        return self.running

    async def _execute(self, line, terminal):
        self.lines.append(line)
        self.end = {"status": "ok", "err": None}
        word, _, rest = line.partition(" ")
        if word == "exit":
            self.ended = True
        elif word == "show":
            for i in range(int(rest) if rest.isdecimal() and rest.isascii() else 1):
                pressure = terminal.write(f"row {i}\n")
                if pressure is not None:
                    await pressure
        elif word == "wait":
            waiting = Deferred(self._cancel)
            await waiting
        elif word in ("ask", "secret"):
            self.answers.append(await terminal.ask(rest, word == "secret"))
            terminal.write(f"answer {len(self.answers)}\n")
        elif word == "program":
            self.machine = True
        elif word == "fail":
            self.end = {"status": "error", "err": {"code": rest}}
        elif word == "progress":
            terminal.progress("1 of 2")
            terminal.write("done\n")
        elif word == "fault":
            raise ZeroDivisionError("fault")
        else:
            terminal.write(f"% Unknown {line!r}")

    def _cancel(self, deferred):
        self.cancelled += 1

    def execute_machine(self, line, write):
        self.lines.append(line)
        write({"row": {"line": line}})
        if line == "exit":
            self.ended = True
        if line == "wait":
            self.running = Deferred(self._cancel)
            return self.running
        write({"end": {"status": "ok", "rows": 1}})
        return succeed(None)

    def complete(self, line):
        words = [w for w in ("show", "shout", "hold") if w.startswith(line)]
        if len(words) == 1:
            return Completion(((words[0], "help"),), words[0][len(line) :] + " ", line)
        return Completion(tuple((w, f"{w} things") for w in words), "ho"[len(line) :] if line == "" else "", line)

    def help(self, line):
        return f"help for {line!r}"

    def is_secret(self, line):
        return "password" in line

    def close(self):
        self.closed += 1
        if self.running is not None:
            self.running.cancel()


class Console:
    def __init__(self):
        self.sessions = []

    def open(self, operator, source):
        self.sessions.append(FakeSession(operator, source))
        return self.sessions[-1]


@implementer(IRealm)
class Realm:
    def requestAvatar(self, avatarId, mind, *interfaces):
        name = avatarId.decode()
        avatar = SimpleNamespace(
            name=name, role="operator", content=False, last_at=0, last_from="", fails=0, enabled=False
        )
        return IOperator, avatar, lambda: None


class Checker(InMemoryUsernamePasswordDatabaseDontUse):
    """``hold``: a Deferred each check waits for; ``seen`` the credentials."""

    hold = None

    def __init__(self, **users):
        super().__init__(**users)
        self.seen = []

    def requestAvatarId(self, credentials):
        self.seen.append(credentials)
        if self.hold is None:
            return super().requestAvatarId(credentials)
        return self.hold.addCallback(
            lambda _: InMemoryUsernamePasswordDatabaseDontUse.requestAvatarId(self, credentials)
        )


class Audit:
    def __init__(self):
        self.rows = []
        self.error = None

    def record(self, *row):
        if self.error is not None:
            raise self.error
        self.rows.append(row)
        return succeed(len(self.rows))


@implementer(IHouse)
class House:
    hostname = "mx1.example.org"
    counters = None

    def __init__(self, clock=None):
        self.clock = clock or Clock()
        self.console = Console()
        self.sessions = Sessions("mx1", lambda: 0)
        self.logbook = FakeLogbook()
        self.checker = Checker(op=b"secret", bo=b"secret2")
        self.portal = Portal(Realm(), [self.checker])
        self.mailbox_service = SimpleNamespace(audit=Audit())


class Transport(StringTransport):
    """A StringTransport that counts writes and tells its protocol of the end, as a real one does."""

    def __init__(self, peer):
        super().__init__(peerAddress=peer)
        self.writes = []
        self.protocol = None
        self.lost = False

    def write(self, data):
        self.writes.append(bytes(data))
        super().write(data)

    def loseConnection(self):
        super().loseConnection()
        self.end()

    def abortConnection(self):
        super().abortConnection()
        self.end()

    def end(self):
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(None)


DO_ECHO_SGA = b"\xff\xfd\x01\xff\xfd\x03"
XTERM = b"\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0\xff\xfb\x18\xff\xfa\x18\0XTERM\xff\xf0"
REFUSAL = b"\xff\xfe\x01\xff\xfe\x03\xff\xfc\x1f\xff\xfc\x18"


class Client:
    """The other end of one Telnet connection."""

    def __init__(self, house=None, factory=None, peer="127.0.0.1", **settings):
        self.house = house or House()
        self.clock = self.house.clock
        self.factory = factory or TelnetFactory(self.house, TelnetListenerSettings(**settings))
        self.transport = Transport(IPv4Address("TCP", peer, 54321))
        self.door = self.factory.buildProtocol(self.transport.getPeer())
        self.read = 0
        if self.door is not None:
            self.transport.protocol = self.door
            self.door.makeConnection(self.transport)

    def say(self, data):
        """Send, and return what came back."""
        if not self.transport.lost:
            self.door.dataReceived(data if isinstance(data, bytes) else data.encode())
        return self.heard()

    def heard(self):
        """What came since it was last asked, without negotiations."""
        data = self.raw()
        out = bytearray()
        i = 0
        while i < len(data):
            if data[i] != 255:
                out.append(data[i])
                i += 1
            elif data[i + 1] == 250:
                i = data.index(b"\xff\xf0", i) + 2
            elif data[i + 1] == 255:
                out.append(255)
                i += 2
            else:
                i += 3
        return out.decode()

    def raw(self):
        value = self.transport.value()
        data = value[self.read :]
        self.read = len(value)
        return data

    def login(self, answers=DO_ECHO_SGA + XTERM, name="op", password="secret"):
        """Log in as a capable client does (or as ``answers`` tell) -> what was shown after the password."""
        self.say(answers)
        self.say(f"{name}\r")
        self.clock.advance(1)
        return self.say(f"{password}\r")

    @property
    def session(self):
        return self.house.console.sessions[-1]
