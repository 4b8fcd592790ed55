"""The control socket's door, before scripted clients and on a real socket."""

import json
import os
import socket
import stat
import struct
import tempfile
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from netsvc.console.control import (
    CONNECTIONS,
    ControlService,
    ControlSocketError,
    LocalOperator,
    prepare_path,
    user_name,
)
from netsvc.interfaces import IOperator
from tests.console.fakehouse import House, Transport


class UnixTransport(Transport):
    uid = 0

    def getHandle(self):
        return self

    def getsockopt(self, level, name, size):
        assert (level, name, size) == (socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return struct.pack("3i", 4711, self.uid, 0)


class Caller:
    """The other end of one connection."""

    def __init__(self, house=None, uid=0, service=None):
        self.house = house or House()
        self.clock = self.house.clock
        self.service = service or ControlService(self.house, "/nowhere")
        self.transport = UnixTransport(None)
        self.transport.uid = uid
        self.door = self.service.open()
        self.transport.protocol = self.door
        self.read = 0
        self.door.makeConnection(self.transport)

    def say(self, data):
        if not self.transport.lost:
            self.door.dataReceived(data if isinstance(data, bytes) else data.encode())
        return self.heard()

    def heard(self):
        value = self.transport.value()
        data = value[self.read :]
        self.read = len(value)
        return data.decode()

    @property
    def session(self):
        return self.house.console.sessions[-1]


HELLO = '{"hello":{"proto":"netsvc-console/1","user":"root"}}\n'


def test_it_says_hello_at_once_and_speaks_machine_mode():
    caller = Caller()
    assert caller.heard() == HELLO
    out = caller.say("@7 show queue\nshow history\r\n")
    assert json.loads(out.splitlines()[0]) == {"row": {"line": "@7 show queue"}}
    assert caller.session.lines == ["@7 show queue", "show history"]
    assert caller.session.source == "socket uid 0"
    row = caller.house.sessions.rows()[0]
    assert (row["kind"], row["user"], row["cmds"], row["peer"]) == ("console", "root", 2, "local")
    caller.door.readConnectionLost()
    assert caller.transport.lost
    assert caller.session.closed


def test_who_connects_is_an_admin_who_stands_enabled():
    caller = Caller()
    operator = caller.session.operator
    verifyObject(IOperator, operator)
    assert (operator.role, operator.content, operator.enabled) == ("admin", True, True)
    assert caller.house.mailbox_service.audit.rows == [("root", "admin", "socket uid 0", "login", "root", "", 1, "ok")]
    assert user_name(0) == "root"
    assert user_name(4_000_000_000) == "uid-4000000000"
    assert LocalOperator("x").last_from == ""


def test_the_services_own_user_is_let_in_and_others_are_told_in_one_line():
    house = House()
    service = ControlService(house, "/nowhere")
    service.uid = 990
    assert Caller(house, 990, service).heard().startswith('{"hello"')
    stranger = Caller(house, 991, service)
    lines = stranger.heard().splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["err"]["code"] == "E301"
    assert stranger.transport.lost
    stranger.door.dataReceived(b"show queue\n")
    stranger.door.readConnectionLost()
    assert len(house.console.sessions) == 1


def test_lines_come_in_pieces():
    caller = Caller()
    for byte in "show queue\nterminal human 80x24 xterm\n":
        caller.say(byte)
    assert caller.session.lines == ["show queue", "terminal human 80x24 xterm"]


def test_terminal_human_by_pieces_starts_the_human_shell():
    caller = Caller()
    caller.heard()
    out = "".join(caller.say(byte) for byte in "terminal human 80x24 xterm-256color\n")
    assert out == "you: root (admin)\r\nmx1> "
    assert caller.say("show 2\r") == "show 2\r\nrow 0\r\nrow 1\r\nmx1> "
    assert caller.say(b"shw\x1b[Do") == "shw\rmx1> show\x1b[K\x1b[1D".replace("shw", "", 1)
    caller.say(b"\x05\x15\x1b[8;10;40t")
    assert (caller.door.terminal.width, caller.door.terminal.height) == (40, 10)
    assert caller.say("show 100\r").count("row") == 9
    caller.say("q")
    caller.say(b"\x04")
    assert caller.transport.lost


def test_a_dumb_terminal_gets_no_cursor_movement():
    caller = Caller()
    caller.say("terminal human 80x24 dumb\n")
    out = caller.say(b"shx\x7fow 1\x1b[D\r")
    assert "\x1b" not in out
    assert "row 0\r\n" in out


def test_a_script_is_neither_greeted_nor_prompted():
    caller = Caller()
    caller.heard()
    assert (
        caller.say("terminal human 0x0 dumb\nshow 2\nask Go on\nshow ?\n")
        == "row 0\nrow 1\nanswer 1\nhelp for 'show '\n"
    )
    assert caller.session.answers == [None]
    caller.door.readConnectionLost()
    assert caller.transport.lost


def test_once_runs_one_command_and_tells_its_end():
    caller = Caller()
    caller.heard()
    out = caller.say("terminal human 0x0 dumb once\n")
    assert out == ""
    out = caller.say("show 30\n")
    text, _, trailer = out.partition("\0")
    assert text.count("row") == 30
    assert json.loads(trailer) == {"end": {"status": "ok", "err": None}}
    assert caller.transport.lost


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        ("", {"status": "ok", "err": None}),
        ("show 2\n", {"status": "ok", "err": None}),
        ("show 2\n" + "x" * 70_000 + "\nshow 1\n", {"status": "error", "err": {"code": "E104"}}),
        ("fail E401\nfail E101\nshow 1\n", {"status": "error", "err": {"code": "E401"}}),
    ],
)
def test_a_script_tells_the_first_failure_at_its_end(lines, end):
    caller = Caller()
    caller.heard()
    text = caller.say("terminal human 0x0 dumb script\n" + lines)
    assert "\0" not in text
    assert ("row 0" in text) == ("show" in lines)
    caller.door.readConnectionLost()
    assert json.loads(caller.heard().partition("\0")[2]) == {"end": end}
    assert caller.transport.lost


def test_once_on_a_terminal_can_be_asked_and_is_not_paged():
    caller = Caller()
    caller.heard()
    caller.say("terminal human 80x24 xterm once\nask Go on [y/N]\n")
    assert caller.heard() == ""
    assert caller.say("y\r") == 'y\r\nanswer 1\r\n\0{"end":{"status":"ok","err":null}}\n'
    assert caller.session.answers == ["y"]
    caller = Caller()
    assert caller.say("terminal human 80x24 xterm once\nshow 100\n").count("row") == 100


def test_control_c_in_once():
    caller = Caller()
    caller.say("terminal human 80x24 xterm once\nwait\n")
    out = caller.say(b"\x03")
    assert caller.session.cancelled == 1
    assert "\0" in out


def test_half_close_before_anything_was_said_ends_it():
    caller = Caller()
    caller.door.readConnectionLost()
    assert caller.transport.lost
    caller = Caller()
    caller.say("terminal hum")
    caller.door.readConnectionLost()
    assert caller.transport.lost


def test_a_first_line_without_an_end_is_dropped():
    caller = Caller()
    caller.say("terminal human " + "x" * 70_000)
    assert caller.transport.lost


def test_what_only_looks_like_terminal_human_is_a_command():
    caller = Caller()
    caller.say("terminal human 80x24\n")
    assert caller.session.lines == ["terminal human 80x24"]


def test_a_person_is_idle_a_program_is_not():
    caller = Caller()
    caller.say("terminal human 80x24 xterm\n")
    caller.clock.advance(541)
    assert "ends in a minute" in caller.heard()
    caller.clock.advance(61)
    assert caller.transport.lost
    program = Caller()
    program.say("show\n")
    program.clock.advance(10_000)
    assert not program.transport.lost


def test_connections_are_bounded():
    service = ControlService(House(), "/nowhere")
    doors = [service.open() for _ in range(CONNECTIONS)]
    assert service.open() is None
    service.forget(doors[0])
    assert service.open() is not None


def test_a_path_too_long_is_refused():
    with pytest.raises(ControlSocketError, match="108 octets long, at most 107"):
        prepare_path("/" + "x" * 107)
    with pytest.raises(ControlSocketError, match="octets long"):
        prepare_path("/" + "é" * 60)


def test_a_file_in_the_way_is_left_alone(tmp_path):
    path = tmp_path / "console.sock"
    path.write_text("mine")
    with pytest.raises(ControlSocketError, match="no socket is there"):
        prepare_path(str(path))
    assert path.read_text() == "mine"


def test_a_socket_left_behind_is_removed_and_one_that_answers_is_not(tmp_path):
    path = str(tmp_path / "s")
    prepare_path(path)
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.listen()
    with pytest.raises(ControlSocketError, match="another process answers"):
        prepare_path(path)
    left.close()
    prepare_path(path)
    assert not os.path.lexists(path)


def test_a_path_that_cannot_be_looked_at(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ControlSocketError, match="folder is not there"):
        prepare_path(str(tmp_path / "file" / "s"))


def test_a_probe_that_fails_otherwise_is_told(tmp_path, monkeypatch):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)

        def refuse(self, where):
            raise TimeoutError("timed out")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        with pytest.raises(ControlSocketError, match="timed out"):
            prepare_path(path)


class Real(TestCase):
    """On a real socket."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="netsvc-")  # short: a socket's path has 107 octets
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "console.sock"
        self.house = House(reactor)

    async def test_it_listens_with_mode_0600_and_stops(self):
        service = ControlService(self.house, self.path)
        service.startService()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertRaises(ControlSocketError, ControlService(self.house, self.path).startService)

        heard, ended = [], Deferred()

        class Client(Protocol):
            def dataReceived(self, data):
                heard.append(data)
                if b"end" in b"".join(heard):
                    service.stopService().addCallback(ended.callback)

        client = await connectProtocol(UNIXClientEndpoint(reactor, str(self.path)), Client())
        client.transport.write(b"show queue\n")
        await ended
        self.assertIn(b'{"row":{"line":"show queue"}}\n', b"".join(heard))
        self.assertFalse(self.path.exists())
        self.assertEqual(self.house.sessions.rows(), [])
        await ControlService(self.house, self.path).stopService()


@pytest.mark.parametrize("cause", [OSError(13, "Permission denied"), "Permission denied"])
def test_a_place_where_nobody_may_listen(tmp_path, cause):
    class Reactor:
        def listenUNIX(self, path, factory, mode):
            raise CannotListenError(None, path, cause)

    house = House()
    house.clock = Reactor()
    with pytest.raises(ControlSocketError, match=f"{tmp_path}/s: Permission denied"):
        ControlService(house, tmp_path / "s").startService()


def test_a_path_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "lstat", refuse)
    with pytest.raises(ControlSocketError, match="Permission denied"):
        prepare_path(str(tmp_path / "s"))
