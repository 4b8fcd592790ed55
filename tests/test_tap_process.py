"""The real ``twistd netsvc``: its exit statuses and what it says, seen from outside."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

TWISTD = [str(Path(sys.executable).parent / "twistd")]
DEADLINE = 40.0

NODE = """\
hostname = "mx1.example.org"
state = "state"
control_socket = "state/console.sock"
[listeners.smtp]
protocol = "smtp"
endpoint = "{smtp}"
[listeners.console]
protocol = "telnet"
endpoint = "tcp:0:interface=127.0.0.1"
[site]
domains = ["example.org"]
mailboxes = ["alice@example.org"]
"""


class Node:
    """One process on a folder of its own."""

    def __init__(self, folder, smtp="tcp:0:interface=127.0.0.1"):
        self.folder = folder
        self.config = folder / "netsvc.toml"
        self.config.write_text(NODE.replace("{smtp}", smtp))
        self.process = None
        self.seen = []

    def command(self, *options, before=("-n", "--pidfile=")):
        return [*TWISTD, *before, "netsvc", "--config", str(self.config), *options]

    def run(self, *options, before=("-n", "--pidfile=")):
        """Run to the end -> CompletedProcess."""
        return subprocess.run(
            self.command(*options, before=before),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def start(self, *options, **keywords):
        """Start and wait until it serves -> the event that says so."""
        self.process = subprocess.Popen(
            self.command(*options),
            cwd=self.folder,
            bufsize=0,  # select sees what readline would keep
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **keywords,
        )
        return self.wait("service.started")

    def wait(self, name):
        """Wait for an event in the log -> it."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and select.select([self.process.stdout], [], [], end - time.monotonic())[0]:
            line = self.process.stdout.readline()
            if not line:
                break
            self.seen.append(json.loads(line))
            if self.seen[-1]["event"] == name:
                return self.seen[-1]
        self.process.kill()
        raise AssertionError(f"no {name}: {self.seen} {self.process.stderr.read().decode()}")

    def end(self):
        """SIGTERM -> exit status and standard error."""
        self.process.terminate()
        _, errors = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, errors.decode()

    def port(self, listener):
        """Where a listener listens."""
        (event,) = [e for e in self.seen if e["event"] == "listener.serving" and e["listener"] == listener]
        return int(event["address"].rpartition(":")[2])


@pytest.fixture
def make_node(tmp_path):
    made = []

    def make(**options):
        folder = tmp_path / f"node{len(made)}"
        folder.mkdir()
        made.append(Node(folder, **options))
        return made[-1]

    yield make
    for node in made:
        if node.process is not None and node.process.poll() is None:
            node.process.kill()
            node.process.communicate()


def greeting(port):
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        return client.recv(200)


def test_starts_serves_and_ends(make_node):
    node = make_node()
    started = node.start()
    assert started["hostname"] == "mx1.example.org"
    assert greeting(node.port("smtp")).startswith(b"220 mx1.example.org")
    assert node.port("console")
    created = [event for event in node.seen if event["event"] == "operator.created"]
    password = (node.folder / "state" / "initial-password").read_text().split()[-1]
    assert created[0]["password_file"].endswith("initial-password")
    status, errors = node.end()
    assert status in (0, -signal.SIGTERM)
    assert errors == ""
    assert password not in json.dumps(node.seen)


def test_a_taken_port_is_one_line_and_a_status(make_node):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = make_node(smtp=f"tcp:{port}:interface=127.0.0.1").run()
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"listener smtp: cannot bind tcp:{port}:interface=127.0.0.1: it is in use" in line
    assert "--listen" in line
    (event,) = [json.loads(row) for row in done.stdout.splitlines()]
    assert event["event"] == "service.failed"


def test_a_start_that_fails_after_binding_has_a_status_too(make_node):
    node = make_node()
    (node.folder / "state").write_text("a file is in the way")
    done = node.run()
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "state" in line
    assert "--state" in line
    assert "Traceback" not in done.stdout


def test_check_ends_with_78_or_0(make_node):
    node = make_node()
    assert node.run("--check").returncode == 0
    assert sorted(path.name for path in node.folder.iterdir()) == ["netsvc.toml"]
    node.config.write_text("stat = 1\n" + node.config.read_text())
    done = node.run("--check")
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert "netsvc.toml:1: stat: there is no key" in line


def test_a_failed_start_leaves_no_pidfile(make_node):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node = make_node(smtp=f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
        assert node.run(before=("-n", "--pidfile=here.pid")).returncode == 1
    assert not (node.folder / "here.pid").exists()


def test_a_daemon_that_cannot_bind_says_so_to_who_started_it(make_node):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node = make_node(smtp=f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
        done = node.run(before=("--pidfile=d.pid", "--logfile=d.log"))
    assert done.returncode == 1
    assert "listener smtp: cannot bind" in done.stderr
    assert "service.failed" in (node.folder / "d.log").read_text()
    assert not (node.folder / "d.pid").exists()


def test_systemd_sockets_are_served_and_systemd_is_told(make_node, tmp_path):
    node = make_node(smtp="systemd:domain=INET:name=smtp")
    with (
        socket.create_server(("127.0.0.1", 0)) as passed,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear,
    ):
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(DEADLINE)
        # as systemd does it: the socket is number 3, and the pid told is the one twistd will have
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
            "os.execv(sys.argv[2], sys.argv[2:])"
        )
        plain = node.command
        node.command = lambda *options: [sys.executable, "-c", code, str(passed.fileno()), *plain(*options)]
        node.start(
            pass_fds=[passed.fileno()],
            env={
                **os.environ,
                "LISTEN_FDS": "1",
                "LISTEN_FDNAMES": "smtp",
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
            },
        )
        port = passed.getsockname()[1]
        assert b"READY=1" in ear.recv(1000)
        assert greeting(port).startswith(b"220")
        node.end()
        assert b"STOPPING=1" in ear.recv(1000)


def test_on_a_terminal_it_speaks_text_and_shows_the_password_once(make_node):
    node = make_node()
    first = on_a_terminal(node)
    assert "service.started hostname=mx1.example.org" in first or "service.started version=" in first
    assert "{" not in first
    password = (node.folder / "state" / "initial-password").read_text().split()[-1]
    assert first.count(password) == 1
    assert password not in on_a_terminal(node)


def on_a_terminal(node):
    """Start on a pseudo-terminal, end when it serves -> what was seen there."""
    parent, child = pty.openpty()
    node.process = subprocess.Popen(node.command(), cwd=node.folder, stdout=child, stderr=child, stdin=child)
    os.close(child)
    text = b""
    end = time.monotonic() + DEADLINE
    while b"service.started" not in text and time.monotonic() < end:
        if select.select([parent], [], [], 1)[0]:
            text += os.read(parent, 65536)
    node.process.terminate()
    text += rest(parent)
    node.process.wait(DEADLINE)
    os.close(parent)
    return text.decode()


def rest(descriptor):
    text = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # the other side has closed
            return text
        text += piece
