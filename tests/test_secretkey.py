"""The file with the site's secret key: made once, kept to its owner, missed aloud."""

import os

import pytest
from twisted.internet.defer import Deferred, succeed

from netsvc.node import StartError
from netsvc.secretkey import make_keys, read_keys, use_secret_key
from netsvc.store.sealing import new_file
from tests.fakes import FakeLogbook
from tests.test_tap_firststart import config


class Credentials:
    """A store with one site's key ids."""

    def __init__(self, *known):
        self.known, self.used = set(known), []

    def known_keys(self):
        return succeed(frozenset(self.known))

    def use(self, keys):
        self.used.append(keys.ids)
        ours = not self.known or not self.known.isdisjoint(keys.ids)
        if ours:
            self.known.add(keys.ids[0])
        return succeed(ours)


def start(path, credentials, **changes):
    logbook = FakeLogbook()
    done = []
    facts = {"state": path, **changes}
    Deferred.fromCoroutine(use_secret_key(config(**facts), credentials, logbook)).addBoth(done.append)
    if done[0] is not None:
        done[0].raiseException()
    return [name for _, name, _ in logbook.records]


def test_a_key_is_made_at_the_first_start(tmp_path):
    site = Credentials()
    assert start(tmp_path, site) == ["secretkey.created"]
    file = tmp_path / "secret.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert start(tmp_path, site) == []
    assert site.used[0] == site.used[1] == read_keys(file).ids


def test_where_the_node_file_says(tmp_path):
    assert start(tmp_path, Credentials(), secret_key_file=tmp_path / "key") == ["secretkey.created"]
    assert (tmp_path / "key").exists()
    assert not (tmp_path / "secret.key").exists()


def test_no_key_is_made_beside_the_site_s(tmp_path):
    site = Credentials("ab")
    assert start(tmp_path, site) == ["secretkey.missing"]
    assert not (tmp_path / "secret.key").exists()
    make_keys(tmp_path / "secret.key")
    assert start(tmp_path, site) == ["secretkey.differs"]


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [("nonsense", 0o600, "line 1"), ("\xff", 0o600, "not ASCII"), (None, 0o644, "chmod 600"), (None, 0o660, "0660")],
)
def test_a_file_that_cannot_be_used_stops_the_start(tmp_path, content, mode, words):
    file = tmp_path / "secret.key"
    file.write_text(new_file() if content is None else content, "latin-1")
    file.chmod(mode)
    with pytest.raises(StartError, match=words):
        start(tmp_path, Credentials())


def test_what_is_no_file_stops_the_start(tmp_path):
    os.mkfifo(tmp_path / "secret.key", 0o600)
    with pytest.raises(StartError, match="plain file"):
        start(tmp_path, Credentials())
    with pytest.raises(StartError, match="cannot be written"):
        start(tmp_path / "none", Credentials())
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be read"):
        start(tmp_path / "file", Credentials())
