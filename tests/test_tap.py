"""The command line of ``twistd netsvc``: what it takes, what it refuses, what it hands on."""

import io
import json
import os
import signal
import sys
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from netsvc import logbook, tap
from netsvc.commands import Setting
from netsvc.node import NodeService
from netsvc.signin import NamedChecker
from netsvc.tap import LOG_PLACE, Options, makeService
from tests import certs

NODE = '[listeners.smtp]\nprotocol = "smtp"\nendpoint = "tcp:0:interface=127.0.0.1"\n'


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "netsvc.toml"
    file.write_text(f'state = "state"\n{NODE}')
    return file


def parsed(*words, parent=None):
    options = Options()
    options.parent = parent
    options.parseOptions([str(word) for word in words])
    return options


def refused(*words):
    with pytest.raises(SystemExit) as caught:
        parsed(*words)
    return caught.value.code


def test_options_make_the_node(config, tmp_path):
    options = parsed(
        "--config", config, "--hostname", "mx7.example.org", "--state", tmp_path / "s", "--store", "sqlite",
        "--listen", "smtp=tcp:0:interface=127.0.0.1", "--listen", "console=tcp:0:interface=127.0.0.1",
        "--auth", "store", "--auth", "passwd:/etc/pw",
    )  # fmt: skip
    node = options.node
    assert (node.hostname, node.state, node.auth) == ("mx7.example.org", tmp_path / "s", ("store", "passwd:/etc/pw"))
    assert [listener.name for listener in node.listeners] == ["smtp", "console"]
    assert [checker.spec for checker in options["credCheckers"]] == ["store", "passwd:/etc/pw"]


def test_check_says_what_would_run_and_touches_nothing(config, capsys, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert refused("--config", config, "--check") == 0
    out = capsys.readouterr().out
    for words in ("the configuration can be used", str(config), "would be created", "listener smtp", "max_recipients"):
        assert words in out
    assert sorted(tmp_path.iterdir()) == before


def test_check_reads_certificates(config, capfd, tmp_path):
    certificate, key, _ = certs.write(tmp_path)
    config.write_text(f'{NODE}\n[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n[tls.names."a.example"]\n'
                      f'certificate = "{certificate}"\nkey = "{tmp_path}/none"\n')  # fmt: skip
    capfd.readouterr()
    assert refused("--config", config, "--check") == 78
    said = capfd.readouterr().err
    assert (
        said == f'netsvc: {config}: tls.names."a.example": {tmp_path}/none: cannot be read: No such file or directory\n'
    )
    (tmp_path / "none").write_bytes(key.read_bytes())
    assert refused("--config", config, "--check") == 0


def test_check_tells_of_the_site(config, capsys):
    config.write_text(NODE + '[site]\ndomains = ["example.org"]\n[site.routes]\n"*" = "mx"\n')
    assert refused("--config", config, "--check") == 0
    assert "* -> mx" in capsys.readouterr().out


def test_check_shows_settings_in_the_files_words(config, capsys, monkeypatch):
    found = tap.protocols()
    found.broken["netsvc.plugins.x"] = "SyntaxError: oops"
    found.makers["odd"] = SimpleNamespace(
        name="odd", default_endpoint="tcp:0", settings=(Setting("on", "bool", True), Setting("off", "bool", False))
    )
    monkeypatch.setattr(tap, "protocols", lambda: found)
    config.write_text('[listeners.o]\nprotocol = "odd"\n')
    assert refused("--config", config, "--check") == 0
    out = capsys.readouterr().out
    for words in ("on = true", "off = false", "plugin netsvc.plugins.x is broken", "an empty store gets: domain"):
        assert words in out


def test_a_wrong_configuration_ends_with_78_and_every_complaint(config, monkeypatch):
    said = []
    monkeypatch.setattr(tap, "complain_on_stderr", said.append)
    config.write_text('stat = "x"\nhostname = 5\n')
    for words in ([], ["--check"]):
        said.clear()
        assert refused("--config", config, *words) == 78
        assert [line.split(": ")[1] for line in said] == ["stat", "hostname"]


def test_broken_plugins_are_named_where_a_protocol_is_missed(config, monkeypatch):
    said = []
    monkeypatch.setattr(tap, "complain_on_stderr", said.append)
    found = tap.protocols()
    found.broken["netsvc.plugins.gopher"] = "SyntaxError: oops"
    monkeypatch.setattr(tap, "protocols", lambda: found)
    config.write_text('[listeners.x]\nprotocol = "gopher"\n')
    assert refused("--config", config) == 78
    assert "netsvc.plugins.gopher: this plugin is broken: SyntaxError: oops" in said[1]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--auth", "pam:netsvc"], "not yet supported"),
        (["--auth", "file:/x"], "plain text"),
        (["--auth", "unix"], "passwd:PATH"),
        (["--auth", "memory:a:b"], "command line"),
        (["--auth", "what"], "what"),
        (["--listen", "smtp"], "NAME=ENDPOINT"),
        (["--no-such"], "no-such"),
        (["stray"], "argument"),
    ],
)
def test_wrong_words_on_the_command_line(words, why):
    with pytest.raises(UsageError, match=why):
        parsed(*words)


def test_help_auth_lists_ours_only(monkeypatch):
    out = io.StringIO()
    options = Options()
    options.authOutput = out
    with pytest.raises(SystemExit):
        options.parseOptions(["--help-auth"])
    assert "store" in out.getvalue()
    assert "passwd" in out.getvalue()
    assert "memory" not in out.getvalue()
    assert "unix" not in out.getvalue()


def test_the_version(capsys):
    assert refused("--version") == 0
    assert capsys.readouterr().out.startswith("netsvc ")


def test_password_files_are_checked(config, monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(tap, "complain_on_stderr", said.append)
    monkeypatch.setattr(tap.os, "geteuid", lambda: 1000)
    assert refused("--config", config, "--auth", f"passwd:{tmp_path}/none", "--check") == 78
    assert "none" in said[0]
    assert refused("--config", config, "--auth", "store", "--check") == 0
    monkeypatch.setattr(tap.os, "geteuid", lambda: 0)
    assert refused("--config", config, "--auth", f"passwd:{tmp_path}/none", "--check") == 78
    (tmp_path / "theirs").touch(0o644)  # whose it is, and what stands in it, is for the service's own user
    assert refused("--config", config, "--auth", f"passwd:{tmp_path}/theirs", "--check") == 0


class Twistd(dict):
    pass


def test_twistd_is_told_to_log_by_our_observer_unless_it_was_told_another(config):
    twistd = Twistd(logger=None, nodaemon=1, logfile=None, pidfile=None)
    parsed("--config", config, parent=twistd)
    assert twistd["logger"] == "netsvc.tap.LOG_PLACE.observer"
    for told in ({"logger": "x.y"}, {"logger": None, "syslog": 1}, {}):
        twistd = Twistd(told)
        parsed("--config", config, parent=twistd)
        assert twistd.get("logger") == told.get("logger")


def test_the_log_goes_where_twistd_says(config, tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(signal, "getsignal", lambda number: "somebody else's")
    real = tap._log_file
    monkeypatch.setattr(tap, "_log_file", lambda name: opened.append(real(name)) or opened[-1])
    file = tmp_path / "x.log"
    LOG_PLACE.choose(Twistd(logger=None, nodaemon=1, logfile=str(file)), "info")
    observer = LOG_PLACE.observer()
    logbook.Logbook(publisher=observer).event("x.y", n=1)
    assert json.loads(file.read_text())["n"] == 1
    LOG_PLACE.choose(Twistd(logger=None, nodaemon=1, logfile=None), "info")
    logbook.Logbook(publisher=LOG_PLACE.observer()).event("x.y", n=2)
    assert json.loads(capsys.readouterr().out)["n"] == 2
    LOG_PLACE.choose(Twistd(logger=None, nodaemon=0, logfile="-"), "info")
    with pytest.raises(SystemExit, match="Daemons"):
        LOG_PLACE.observer()
    monkeypatch.chdir(tmp_path)
    LOG_PLACE.choose(Twistd(logger=None, nodaemon=0, logfile=None), "info")
    LOG_PLACE.observer()
    assert (tmp_path / "twistd.log").exists()
    for stream in opened:
        stream.close()


def test_the_log_file_is_rotated_by_signal(tmp_path, monkeypatch):
    handlers = {}
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    from twisted.internet import reactor

    monkeypatch.setattr(reactor, "callFromThread", lambda call: call(), raising=False)
    stream = tap._log_file(str(tmp_path / "x.log"))
    stream.write("one\n")
    handlers[signal.SIGUSR1](signal.SIGUSR1, None)
    stream.write("two\n")
    assert (tmp_path / "x.log.1").read_text() == "one\n"
    stream.close()


def test_the_service_is_made_of_the_options(config, tmp_path):
    pidfile = tmp_path / "twistd.pid"
    pidfile.write_text("1")
    options = parsed("--config", config, parent=Twistd(pidfile=str(pidfile)))
    options.protocols.broken["netsvc.plugins.x"] = "SyntaxError"
    service = makeService(options)
    assert isinstance(service, NodeService)
    assert service.config is options.node
    service.before_giving_up("it is in use")
    service.before_giving_up("it is in use")
    assert not pidfile.exists()
    options.parent = None
    makeService(options).before_giving_up("it is in use")


def test_a_daemons_parent_is_told_why(config):
    options = parsed("--config", config)
    reading, writing = os.pipe()
    options.parent = Twistd(pidfile=None, statusPipe=writing)
    makeService(options).before_giving_up("it is in use " * 20)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    assert said.startswith(b"1 it is in use")
    assert len(said) <= 100


def test_a_service_needs_parsed_options():
    with pytest.raises(UsageError):
        makeService(Options())


class Checkers(SynchronousTestCase):
    def test_a_named_checker_lets_nobody_in_by_itself(self):
        asked = NamedChecker("passwd", "/x").requestAvatarId(None)
        assert isinstance(asked, Deferred)
        self.failureResultOf(asked)
        assert NamedChecker("store").spec == "store"


def test_tap_is_light():
    """twistd --help and --check must not import the rooms."""
    import subprocess

    code = "import sys, netsvc.tap; print([m for m in sys.modules if m.startswith(('netsvc.store', 'argon2'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_check_shows_values_as_the_node_file_has_them(config, capsys):
    assert refused("--config", config, "--check") == 0
    shown = capsys.readouterr().out
    assert "    max_message_size = 50M\n" in shown
    assert "    data_timeout = 1m\n" in shown
    assert "    grace = 30s\n" in shown
    assert "    max_connections = 0\n" in shown
