"""What a node does before it serves for the first time."""

import io
import os
from pathlib import Path

import pytest

from netsvc import firststart
from netsvc.config.node import NodeConfig
from netsvc.firststart import first_site, make_state, store_url, tell_password
from netsvc.logbook import Logbook
from netsvc.node import StartError
from netsvc.settings import SiteSettings


def config(**changes):
    facts = {
        "hostname": "mx1.example.org",
        "state": Path("/nowhere"),
        "control_socket": Path("/nowhere/s"),
        "store": "postgresql://net@db.example:5433/mail?sslmode=require",
        "auth": ("store",),
        "listeners": (),
    }
    return NodeConfig(**{**facts, **changes})


def test_the_state_folder_is_ours_alone(tmp_path):
    seen = []
    state = tmp_path / "deep" / "state"
    make_state(state, Logbook(publisher=seen.append))
    assert state.stat().st_mode & 0o777 == 0o700
    make_state(state, Logbook(publisher=seen.append))
    assert not seen


def test_a_state_folder_open_to_others_is_told(tmp_path):
    seen = []
    tmp_path.chmod(0o755)
    make_state(tmp_path, Logbook(publisher=seen.append))
    (event,) = seen
    assert event["netsvc_record"]["mode"] == "0755"


def test_a_state_folder_that_cannot_be_made_or_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"state .*/file: cannot be created.*--state"):
        make_state(tmp_path / "file", Logbook(publisher=print))
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(StartError, match="cannot be written by uid"):
        make_state(tmp_path, Logbook(publisher=print))


def test_the_password_comes_from_its_file_into_the_url(tmp_path):
    assert store_url(config()) == config().store
    file = tmp_path / "secret"
    file.write_text("p@ss/word\n")
    url = store_url(config(password_file=file))
    assert url == "postgresql://net:p%40ss%2Fword@db.example:5433/mail?sslmode=require"


@pytest.mark.parametrize(("content", "words"), [(b"", "no password"), (b"a\nb\n", "no password"), (b"\xff", "UTF-8")])
def test_a_password_file_that_is_none_is_told(tmp_path, content, words):
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(StartError, match=words):
        store_url(config(password_file=file))


def test_a_password_needs_a_user_and_a_file(tmp_path):
    with pytest.raises(StartError, match="No such file"):
        store_url(config(password_file=tmp_path / "none"))
    file = tmp_path / "secret"
    file.write_text("x")
    with pytest.raises(StartError, match="names no user"):
        store_url(config(password_file=file, store="postgresql://db/mail"))


def test_an_empty_store_begins_with_our_name_unless_the_site_says_otherwise():
    usual = first_site(config())
    assert usual.domains == ("mx1.example.org",)
    assert usual.mailboxes == ("postmaster@mx1.example.org", "admin@mx1.example.org")
    site = SiteSettings(domains=("example.org",))
    assert first_site(config(site=site)) is site


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_password_is_shown_on_a_terminal_only(monkeypatch):
    terminal, file, closed = Terminal(), io.StringIO(), io.StringIO()
    closed.close()
    for stream in (terminal, file, closed, None):
        monkeypatch.setattr(firststart.sys, "__stdout__", stream)
        tell_password("admin", "secret-word", "/state/initial-password")
    assert terminal.getvalue().count("secret-word") == 1
    assert "\n" not in terminal.getvalue()[:-1]
    assert not file.getvalue()
