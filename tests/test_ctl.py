"""netsvcctl before a scripted service, and before the control socket itself."""

import base64
import contextlib
import io
import json
import os
import signal
import socket
import sys
import tempfile
import termios
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from netsvc import ctl
from netsvc.console.control import ControlService
from netsvc.remote import export, person, wire
from netsvc.remote.wire import CtlError, Machine, exit_status
from tests.console.fakehouse import House

HELLO = b'{"hello":{"proto":"netsvc-console/1"}}\n'


def obj(**things):
    return json.dumps(things).encode() + b"\n"


END = obj(end={"status": "ok", "rows": 0})


class Service:
    """Answers each line by ``answers[line]`` (bytes, or a function), at the other end of a socket, in a thread."""

    def __init__(self, answers=None, hello=HELLO):
        self.here, self.there = socket.socketpair()
        self.answers = answers or {}
        self.heard = []
        self.hello = hello
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with self.there, contextlib.suppress(OSError):
            self.there.sendall(self.hello)
            buffer = b""
            while data := self.there.recv(4096):
                buffer += data
                while b"\n" in buffer:
                    line, _, buffer = buffer.partition(b"\n")
                    self.heard.append(line.decode())
                    answer = self.answers.get(line.decode(), END)
                    if answer is None:
                        return
                    self.there.sendall(answer)

    def close(self):
        self.here.close()
        self.thread.join(5)


@pytest.fixture
def service():
    made = []

    def make(answers=None, **how):
        made.append(Service(answers, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def stdout(capsysbinary):
    """What was written to standard output since it was last asked."""
    return lambda: capsysbinary.readouterr().out


@pytest.fixture
def stdin(monkeypatch):
    def put(data):
        typed = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
        streams = SimpleNamespace(stdin=typed, stdout=sys.stdout, stderr=sys.stderr)
        monkeypatch.setattr(person, "sys", streams)
        monkeypatch.setattr(ctl, "sys", streams)

    return put


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        ("ok", None, 0),
        ("error", "E999", 1),
        ("cancelled", "E503", 1),
        ("error", "E101", 2),
        ("error", "E204", 2),
        ("error", "E305", 2),
        ("error", "E306", 2),
        ("error", "E301", 3),
        ("error", "E302", 3),
        ("error", "E303", 4),
        ("error", "E304", 4),
        ("partial", "E504", 5),
        ("partial", None, 5),
        ("error", "E401", 6),
        ("error", "E403", 75),
        ("error", "E501", 75),
        ("error", "E502", 75),
    ],
)
def test_exit_statuses(status, code, exit_code):
    assert exit_status({"status": status}, {"code": code} if code else None) == exit_code


# -- where the socket is


def test_a_node_file_says_where_the_socket_is(tmp_path, monkeypatch):
    file = tmp_path / "netsvc.toml"
    file.write_text('control_socket = "run/c.sock"\nstate = "var"\n')
    assert wire.socket_candidates(file) == [tmp_path / "run/c.sock"]
    file.write_text('state = "var"\n')
    assert wire.socket_candidates(file)[0] == tmp_path / "var/console.sock"
    file.write_text("")
    assert wire.socket_candidates(file) == [wire.RUN_SOCKET, wire.DEFAULT_STATE / "console.sock"]
    monkeypatch.setattr(wire, "DEFAULT_CONFIG", tmp_path / "none")
    assert wire.socket_candidates(None) == [wire.RUN_SOCKET, wire.DEFAULT_STATE / "console.sock"]
    file.write_text('control_socket = "/x/c.sock"\n')
    monkeypatch.setattr(wire, "DEFAULT_CONFIG", file)
    assert wire.socket_candidates(None) == [Path("/x/c.sock")]


@pytest.mark.parametrize("content", [b"state = ", b"\xff"])
def test_a_node_file_that_cannot_be_read(tmp_path, content):
    file = tmp_path / "netsvc.toml"
    file.write_bytes(content)
    with pytest.raises(CtlError) as caught:
        wire.socket_candidates(file)
    assert caught.value.status == 2
    with pytest.raises(CtlError, match="No such file"):
        wire.socket_candidates(tmp_path / "nothing")


def test_no_service(tmp_path, capsys):
    assert ctl.main(["--socket", str(tmp_path / "s"), "show queue"]) == 75
    said = capsys.readouterr().err
    assert said.startswith("netsvcctl: ")
    assert "is netsvc running?" in said
    assert str(tmp_path) in said


def test_no_permission(tmp_path, monkeypatch):
    def refuse(self, path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(CtlError, match="open to root") as caught:
        wire.connect([tmp_path])
    assert caught.value.status == 3


# -- machine mode


def test_json_shows_the_lines_of_one_command(service, stdout):
    rows = obj(row={"id": "é"}) + END
    one = service({"show queue": rows})
    assert ctl.run_json(one.here, "show queue") == 0
    assert stdout() == rows


def test_json_without_a_command_runs_standard_input(service, stdout, stdin):
    stdin(b"show queue\n\nshow mails\n show x\n")
    error = obj(err={"code": "E101"}) + obj(end={"status": "error"})
    other = obj(err={"code": "E401"}) + obj(end={"status": "error"})
    one = service({"show mails": error, " show x": other})
    assert ctl.run_json(one.here, "") == 2
    assert one.heard == ["show queue", "show mails", " show x"]
    assert stdout() == END + error + other


def test_a_command_is_one_line(service, stdout):
    one = service()
    Machine(one.here).run("show\nqueue\r", lambda *_: None)
    assert one.heard == ["show queue "]


@pytest.mark.parametrize(
    ("hello", "said", "status"),
    [
        (obj(err={"code": "E301", "msg": "Not permitted for uid 7"}), "uid 7", 3),
        (b"220 mx1 ESMTP\n", "no machine mode", 1),
        (b"[]\n", "not netsvc", 1),
        (b"{", "ended the connection", 75),
    ],
)
def test_what_is_no_hello(service, hello, said, status):
    one = service(hello=hello)
    if not hello.endswith(b"\n"):
        one.there.shutdown(socket.SHUT_WR)
    with pytest.raises(CtlError, match=said) as caught:
        Machine(one.here)
    assert caught.value.status == status


def test_a_service_that_goes_away(service):
    one = service({"show queue": None})
    with pytest.raises(CtlError, match="ended the connection") as caught:
        Machine(one.here).run("show queue", lambda *_: None)
    assert caught.value.status == 75


def test_what_came_with_the_hello_is_not_lost(service):
    one = service(hello=HELLO + b"more")
    machine = Machine(one.here)
    got = b""
    while got != b"more":
        got += machine.read()
    one.there.shutdown(socket.SHUT_WR)
    assert list(machine.rest()) == []


# -- people, without a terminal


class OnceService(Service):
    """Answers after the second line, as ``once`` does, and ends."""

    def __init__(self, answer, hand=None):
        self.answer = answer
        self.hand = hand
        super().__init__()

    def serve(self):
        with self.there, contextlib.suppress(OSError):
            self.there.sendall(HELLO)
            buffer = b""
            while data := self.there.recv(4096):
                buffer += data
                if self.hand is not None:
                    os.write(self.hand, b"x")
            self.heard.append(buffer)
            self.there.sendall(self.answer)


def test_one_command_for_people(stdout, stdin):
    stdin(b"")
    one = OnceService(b"ID  STATE\n\0" + obj(end={"status": "error", "err": {"code": "E401"}}))
    assert person.run_human(one.here, "show message X") == 6
    one.close()
    assert one.heard == [b"terminal human 0x0 dumb once\nshow message X\n"]
    assert stdout() == b"ID  STATE\n"


def test_a_command_whose_end_never_came(capsysbinary, stdin):
    stdin(b"")
    one = OnceService(b"ID  STATE\n")
    assert person.run_human(one.here, "show queue") == 75
    one.close()
    assert b"the service went away before the command was over" in capsysbinary.readouterr().err


def test_standard_input_as_a_script(stdout, stdin):
    stdin(b"show queue\nexit\n")
    one = OnceService(b"nothing\n\0" + obj(end={"status": "ok", "err": None}))
    assert person.run_human(one.here, "") == 0
    one.close()
    assert one.heard == [b"terminal human 0x0 dumb script\nshow queue\nexit\n"]


def test_a_script_that_failed(stdout, stdin):
    stdin(b"show message X\n")
    one = OnceService(b"% none\n\0" + obj(end={"status": "error", "err": {"code": "E401"}}))
    assert person.run_human(one.here, "") == 6
    one.close()
    assert stdout() == b"% none\n"


def test_an_end_in_pieces(stdout):
    shown = person.Shown()
    for piece in (b"te", b"xt\0", b'{"end":{"sta', b'tus":"ok","err":null}}\n'):
        shown.take(piece)
    assert stdout() == b"text"
    assert shown.status(expected=True) == 0
    empty = person.Shown()
    empty.take(b"\0")
    assert empty.status(expected=True) == 1


# -- people, at a terminal


@pytest.fixture
def desk(monkeypatch):
    """A pseudo terminal as standard input and output -> the end a person sits at."""
    hand, seat = os.openpty()
    termios.tcsetwinsize(seat, (30, 100))
    file = os.fdopen(seat, "r+b", buffering=0)
    both = SimpleNamespace(
        isatty=lambda: True, fileno=lambda: seat, buffer=SimpleNamespace(write=file.write, flush=lambda: None)
    )
    monkeypatch.setattr(person, "sys", SimpleNamespace(stdin=both, stdout=both))
    monkeypatch.setenv("TERM", "xterm-256color")
    yield hand
    os.close(hand)
    file.close()


def read_until(fd, word):
    data = b""
    while word not in data:
        data += os.read(fd, 1000)
    return data


class Bridged(Service):
    """A human shell that echoes keys, and ends on q; a window change is told, W makes one."""

    def __init__(self, hand, typed):
        self.hand = hand
        self.typed = typed
        self.keys = b""
        super().__init__()

    def serve(self):
        with self.there, contextlib.suppress(OSError):
            self.there.sendall(HELLO)
            while data := self.there.recv(4096):
                self.keys += data
                if self.typed and b"\n" in data:
                    os.write(self.hand, self.typed)
                elif data.endswith(b"t"):
                    os.write(self.hand, b"q")
                elif data.endswith(b"W"):
                    termios.tcsetwinsize(self.hand, (40, 120))
                    os.kill(os.getpid(), signal.SIGWINCH)
                elif data.endswith(b"q"):
                    self.there.sendall(b"bye\r\n\0" + END)
                    return


def test_the_console_itself(desk):
    one = Bridged(desk, b"sho\x03W")
    before = termios.tcgetattr(person.sys.stdin.fileno())
    assert person.run_human(one.here, "") == 0
    assert one.keys.startswith(b"terminal human 100x30 xterm-256color\n")
    assert b"sho\x03W" in one.keys
    assert b"\x1b[8;40;120t" in one.keys
    assert b"bye\r\n" in read_until(desk, b"bye\r\n")
    assert termios.tcgetattr(person.sys.stdin.fileno()) == before
    one.close()


def test_one_command_at_a_terminal_with_a_strange_name(desk, monkeypatch):
    monkeypatch.setenv("TERM", "x term\n")
    one = Bridged(desk, b"yq")
    assert person.run_human(one.here, "hold x") == 0
    one.close()
    assert one.keys.startswith(b"terminal human 100x30 dumb once\nhold x\n")


def test_a_terminal_that_does_not_know_its_size(desk):
    termios.tcsetwinsize(person.sys.stdin.fileno(), (0, 0))
    assert person._size() == (80, 24)


def test_a_keyboard_that_ends(desk, monkeypatch):
    one = OnceService(b"bye\n", desk)
    keys = iter([b""])
    real = os.read

    def read(fd, n):
        return next(keys) if fd == person.sys.stdin.fileno() else real(fd, n)

    monkeypatch.setattr(person.os, "read", read)
    assert person.run_human(one.here, "") == 0
    one.close()
    assert one.heard == [b"terminal human 100x30 xterm-256color\n"]


# -- export-mailbox


def mailbox(mails):
    """Answers for a mailbox of {uid: (id, content)}."""
    rows = b"".join(obj(row={"uid": uid, "id": name}) for uid, (name, _) in mails.items())
    answers = {"show mail ann@example.org": rows + END}
    for uid, (name, content) in mails.items():
        pieces = [content[i : i + 6] for i in range(0, len(content), 6)]
        answers[f"show mail ann@example.org {uid} source"] = (
            b"".join(
                obj(row={"uid": uid, "id": name, "offset": 6 * i, "source": base64.b64encode(p).decode()})
                for i, p in enumerate(pieces)
            )
            + END
        )
    return answers


MAILS = {1: ("0AB", b"From: x\r\n\r\n\xff\0bytes\n"), 7: ("0AC", b"")}


def test_a_mailbox_is_copied_byte_for_byte_and_only_once(service, tmp_path, capsys):
    folder = tmp_path / "new" / "out"
    one = service(mailbox(MAILS))
    assert export.export_mailbox(one.here, "ann@example.org", folder) == 0
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"1-0AB.eml": MAILS[1][1], "7-0AC.eml": b""}
    assert (folder / "1-0AB.eml").stat().st_mode & 0o777 == 0o600
    assert "2 written, 0 were there already" in capsys.readouterr().out
    again = service(mailbox({**MAILS, 9: ("0AD", b"third")}))
    assert export.export_mailbox(again.here, "ann@example.org", folder) == 0
    assert again.heard == ["show mail ann@example.org", "show mail ann@example.org 9 source"]


def test_a_mail_that_went_meanwhile(service, tmp_path, capsys):
    answers = mailbox(MAILS)
    answers["show mail ann@example.org 1 source"] = obj(err={"code": "E401", "msg": "No mail"}) + obj(
        end={"status": "error"}
    )
    assert export.export_mailbox(service(answers).here, "ann@example.org", tmp_path) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["7-0AC.eml"]
    assert "1 gone meanwhile" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "said", "status"),
    [
        (obj(err={"code": "E301", "msg": "content privilege"}) + obj(end={"status": "error"}), "content privilege", 3),
        (obj(row={"uid": 2, "id": "0AB", "offset": 0, "source": ""}) + END, "do not fit", 1),
        (obj(row={"uid": 1, "id": "0AB", "offset": 5, "source": ""}) + END, "do not fit", 1),
        (obj(row={"uid": 1, "id": "0AB", "offset": 0, "source": "?"}) + END, "1-0AB.eml", 1),
        (None, "ended the connection", 75),
    ],
)
def test_a_mail_that_cannot_be_read_leaves_no_half_file(service, tmp_path, answer, said, status):
    one = service({**mailbox(MAILS), "show mail ann@example.org 1 source": answer})
    with pytest.raises(CtlError, match=said) as caught:
        export.export_mailbox(one.here, "ann@example.org", tmp_path)
    assert caught.value.status == status
    assert list(tmp_path.iterdir()) == []


def test_no_such_mailbox(service, tmp_path):
    one = service(
        {"show mail bob@example.org": obj(err={"code": "E401", "msg": "No mailbox bob"}) + obj(end={"status": "error"})}
    )
    with pytest.raises(CtlError, match="No mailbox bob") as caught:
        export.export_mailbox(one.here, "bob@example.org", tmp_path / "out")
    assert caught.value.status == 6
    assert not (tmp_path / "out").exists()


def test_a_service_that_names_files_elsewhere_is_not_obeyed(service, tmp_path):
    one = service(mailbox({1: ("../../etc/x", b"")}))
    with pytest.raises(CtlError, match="no id"):
        export.export_mailbox(one.here, "ann@example.org", tmp_path)


def test_a_folder_that_cannot_be_made(service, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CtlError, match="Not a directory"):
        export.export_mailbox(service(mailbox(MAILS)).here, "ann@example.org", tmp_path / "file" / "x")


@pytest.mark.parametrize("address", ["a b@example.org", 'x" | save', "a\n", ""])
def test_an_address_cannot_hold_a_command(service, tmp_path, address):
    with pytest.raises(CtlError, match="not an address"):
        export.export_mailbox(service().here, address, tmp_path)


# -- the command line


@pytest.fixture
def connected(monkeypatch, service):
    def put(answers=None):
        one = service(answers)
        monkeypatch.setattr(ctl, "connect", lambda paths: one.here)
        return one

    return put


def test_the_command_may_be_one_word_or_many(connected, stdout):
    one = connected()
    assert ctl.main(["--socket", "x", "--json", "show", "queue", "where", "size>1"]) == 0
    assert one.heard == ["show queue where size>1"]


def test_export_from_the_command_line(connected, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(wire, "DEFAULT_CONFIG", tmp_path / "none")
    connected(mailbox(MAILS))
    assert ctl.main([f"export-mailbox ann@example.org '{tmp_path}/my mail'"]) == 0
    assert len(list((tmp_path / "my mail").iterdir())) == 2
    assert ctl.main(["export-mailbox", "ann@example.org"]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_quote_that_is_open_is_the_consoles_to_tell(connected, stdout):
    one = connected({'hold x reason "': obj(err={"code": "E105"}) + obj(end={"status": "error"})})
    assert ctl.main(["--socket", "x", "--json", 'hold x reason "']) == 2
    assert one.heard


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (ConnectionResetError(104, "Connection reset by peer"), 75)]
)
def test_ends_of_other_kinds(monkeypatch, capsys, error, status):
    def fail(paths):
        raise error

    monkeypatch.setattr(ctl, "connect", fail)
    assert ctl.main(["--socket", "x", "show queue"]) == status
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_left(monkeypatch):
    out, inn = os.pipe()
    monkeypatch.setattr(ctl, "sys", SimpleNamespace(stdout=SimpleNamespace(fileno=lambda: inn)))

    def fail(paths):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(ctl, "connect", fail)
    assert ctl.main(["--socket", "x", "show queue"]) == 1
    assert str(Path(f"/proc/self/fd/{inn}").readlink()) == os.devnull
    os.close(out)
    os.close(inn)


class Whole(TestCase):
    """netsvcctl as a process, before the control socket itself."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="netsvc-")  # short: a socket's path has 107 octets
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "console.sock"
        self.house = House(reactor)
        service = ControlService(self.house, self.path)
        service.startService()
        self.addCleanup(service.stopService)

    def run_ctl(self, *words):
        program = ["-m", "netsvc.ctl", "--socket", str(self.path), *words]
        return getProcessOutputAndValue(sys.executable, program, env={**os.environ, "PYTHONWARNINGS": ""})

    async def test_one_command(self):
        out, err, status = await self.run_ctl("show 2")
        self.assertEqual((out, err, status), (b"row 0\nrow 1\n", b"", 0))

    async def test_one_command_in_json(self):
        out, _, status = await self.run_ctl("--json", "show 2")
        self.assertEqual((json.loads(out.splitlines()[0]), status), ({"row": {"line": "show 2"}}, 0))

    async def test_in_threads(self):
        with self.house_link() as link:
            status = await deferToThread(lambda: Machine(link).run("show", lambda *_: None))
        self.assertEqual(status, 0)

    def house_link(self):
        return wire.connect([self.path])
