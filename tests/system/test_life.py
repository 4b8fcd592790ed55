"""The service's life: start, refusals to start, plugins, stop, and what is still there after a restart."""

import contextlib
import signal
import socket
import sqlite3
import textwrap

import pytest

from tests.system.service import NODE
from tests.system.wire import Smtp, queue_id, send

HEAD = b"From: <a@example.net>\r\nSubject: x\r\n\r\n"


def refused(service, *options):
    """Start what must not start -> (exit status, its whole output)."""
    service.spawn(*options)
    status = service.wait_exit()
    assert status not in (0, None), service.log()
    return status, "\n".join(service.lines)


def test_starts_says_where_and_stops(make_service):
    service = make_service().start()
    assert {"smtp", "console"} <= service.ports.keys()
    assert (service.state / "initial-password").stat().st_mode & 0o777 == 0o600
    assert service.state.stat().st_mode & 0o777 == 0o700
    assert service.password() not in service.log()
    assert service.stop(timeout=10) in (0, -signal.SIGTERM)
    assert service.events("service.stopped")


def test_restarts_on_the_same_state(make_service):
    service = make_service().start()
    password = service.password()
    send(service.ports["smtp"], "c@example.net", ["alice@example.org"], HEAD + b"before\r\n")
    service.stop()
    service.start()
    assert service.events("site.seed_ignored", since=service._first)
    assert service.password() == password
    assert len(service.export("alice@example.org")) == 1


def test_check_says_what_would_run_and_touches_nothing(make_service):
    service = make_service()
    service.spawn("--check")
    assert service.wait_exit() == 0
    assert "smtp" in service.log()
    assert not service.state.exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ('colour = "red"', ("netsvc.toml", "colour")),
        ('hostnam = "x"', ("hostnam", "hostname")),
        ("auth = 5", ("auth",)),
        ("this is not toml", ("netsvc.toml",)),
        ('[listeners.x]\nprotocol = "gopher"\nendpoint = "tcp:0"', ("gopher",)),
        ('[listeners.x]\nprotocol = "smtp"\nendpoint = "nonsense:0"', ("nonsense", "x")),
        ('[tls]\ncertificate = "x"', ("tls.key", "missing")),
        ('[site]\ndomains = "example.org"', ("domains",)),
        ('[site.routes]\n"a.example" = "pigeon:coop"', ("pigeon",)),
    ],
)
def test_a_wrong_configuration_is_refused_in_words(make_service, wrong, words):
    service = make_service()
    table = wrong.startswith("[")
    service.write_config(node=NODE if table else wrong + "\n" + NODE, site=wrong + "\n" if table else "")
    status, output = refused(service, "--check")
    assert status == 78, output
    for word in words:
        assert word in output


def test_a_taken_port_is_one_clear_line(make_service):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = make_service()
        service.smtp = f"tcp:{port}:interface=127.0.0.1"
        service.write_config()
        status, output = refused(service)
    assert status != 0
    lines = [line for line in service.lines if str(port) in line]
    assert any("smtp" in line and "--listen" in line for line in lines), output


def test_the_console_port_taken_leaves_no_smtp_listener(make_service):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = make_service()
        service.console = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        service.write_config()
        refused(service)
    assert not service.events("service.started")


def test_a_database_from_a_newer_version_is_refused(make_service):
    service = make_service().start()
    service.stop()
    (database,) = [p for p in service.state.glob("*.db") if has_schema(p)]
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO schema_version VALUES (9999, '9999_future', 'x', 0)")
    connection.close()
    _, output = refused(service)
    assert "9999" in output
    assert "newer" in output


def has_schema(path):
    connection = sqlite3.connect(path)
    try:
        return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name='schema_version'").fetchall())
    finally:
        connection.close()


def test_a_damaged_database_is_refused(make_service):
    service = make_service().start()
    service.stop()
    for path in service.state.glob("*.db*"):
        if path.name.endswith(("-wal", "-shm")):
            path.unlink()
        elif has_schema(path):
            path.write_bytes(b"this is not a database" * 500)
    refused(service)


def test_a_state_folder_that_cannot_be_made_is_refused(make_service):
    service = make_service()
    service.state.write_text("a file stands in the way")
    _, output = refused(service)
    assert "state" in output


STRANGER = '''
"""A stranger's protocol: says hello in the words of its settings, and counts its visitors."""
from twisted.internet.protocol import Factory, Protocol
from twisted.plugin import IPlugin
from zope.interface import implementer
from netsvc.commands import Setting
from netsvc.interfaces import IProtocolMaker


class Hello(Protocol):
    def connectionMade(self):
        self.transport.write(self.factory.words + b" from " + self.factory.hostname + b"\\r\\n")
        self.transport.loseConnection()


@implementer(IPlugin, IProtocolMaker)
class HelloMaker:
    name = "hello"
    default_endpoint = "tcp:7:interface=127.0.0.1"
    settings = (Setting("words", "str", "hello", help="what to say"),)

    def make(self, house, settings):
        factory = Factory.forProtocol(Hello)
        factory.words = settings["words"].encode()
        factory.hostname = house.hostname.encode()
        return factory


hello = HelloMaker()
'''


def stranger(folder, text):
    """Lay ``text`` in a folder as a stranger's package would bring it -> the environment that finds it."""
    plugins = folder / "strange" / "netsvc" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "stranger.py").write_text(textwrap.dedent(text))
    return {"PYTHONPATH": str(folder / "strange")}


HELLO = '[listeners.hello]\nprotocol = "hello"\nendpoint = "tcp:0:interface=127.0.0.1"\nwords = "good day"\n'


def test_a_strangers_protocol_is_served(make_service, tmp_path):
    service = make_service(node=NODE + HELLO)
    service.env = stranger(tmp_path, STRANGER)
    service.start()
    with socket.create_connection(("127.0.0.1", service.ports["hello"]), 10) as sock:
        assert sock.makefile("rb").read() == b"good day from mx1.example.org\r\n"


def test_a_broken_plugin_stops_the_start_only_when_it_is_named(make_service, tmp_path):
    service = make_service(node=NODE + HELLO)
    service.env = stranger(tmp_path, "raise RuntimeError('this plugin is broken')")
    _, output = refused(service)
    assert "hello" in output
    assert "this plugin is broken" in output
    assert "Traceback" in output
    service.lines.clear()
    service.write_config()
    service.start()
    with Smtp(service.ports["smtp"]) as smtp:
        assert smtp.greeting.startswith("220 mx1.example.org")
    service.stop()
    assert service.events("plugin.broken")
    service.lines.clear()  # its traceback is wanted there


def test_sigterm_lets_a_message_under_way_finish(make_service):
    service = make_service().start()
    idle = Smtp(service.ports["smtp"])
    idle.say("EHLO client.example.net")
    with Smtp(service.ports["smtp"]) as busy:
        busy.begin("c@example.net", ["alice@example.org"])
        busy.send(HEAD + b"first half\r\n")
        service.process.send_signal(signal.SIGTERM)
        assert idle.reply().startswith("421 4.3.2")
        assert idle.read_to_end() == b""
        idle.close()
        busy.send(b"second half\r\n.\r\n")
        queue_id(busy.reply())
        assert busy.reply().startswith("421 4.3.2")
    assert service.wait_exit(15) in (0, -signal.SIGTERM)
    service.start()
    (exported,) = service.export("alice@example.org").values()
    assert exported.endswith(b"first half\r\nsecond half\r\n")


def test_sigterm_between_transactions_says_421_to_all(make_service):
    service = make_service().start()
    sessions = [Smtp(service.ports["smtp"]) for _ in range(5)]
    for session in sessions:
        session.say("EHLO client.example.net")
    assert service.stop(timeout=15) in (0, -signal.SIGTERM)
    for session in sessions:
        assert session.reply().startswith("421 4.3.2")
        session.close()


def test_a_second_service_on_the_same_state_is_refused(make_service):
    first = make_service().start()
    second = make_service("other")
    second.config.write_text(first.config.read_text().replace('state = "state"', f'state = "{first.state}"'))
    second.state = first.state
    _, output = refused(second, "--state", str(first.state))
    assert "state" in output
    send(first.ports["smtp"], "c@example.net", ["alice@example.org"], HEAD + b"still served\r\n")


def test_little_room_for_descriptors_is_survived(make_service):
    service = make_service()
    shell = 'ulimit -n 256; exec "$@"'
    plain = service.command
    service.command = lambda *a: ["/bin/sh", "-c", shell, "sh", *plain(*a)] if a[0] == "twistd" else plain(*a)
    service.start()
    crowd = []
    try:
        for _ in range(400):
            try:
                sock = socket.create_connection(("127.0.0.1", service.ports["smtp"]), 10)
            except OSError:
                break
            crowd.append(sock)
        crowd[0].settimeout(10)
        assert crowd[0].recv(100).startswith(b"220")
    finally:
        for sock in crowd:
            sock.close()
    for _ in range(1000):  # the service may not have seen all of them go yet
        with contextlib.suppress(ConnectionError), Smtp(service.ports["smtp"]) as smtp:  # or have no descriptor for us
            if smtp.greeting.startswith("220"):
                smtp.begin("c@example.net", ["alice@example.org"])
                queue_id(smtp.content(HEAD + b"after the crowd\r\n"))
                return
            assert smtp.greeting.startswith("421")
    raise AssertionError("nobody is served after the crowd has gone")
