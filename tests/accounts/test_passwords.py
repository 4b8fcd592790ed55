"""The password file, and everything wrong with one."""

import os
from pathlib import Path

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin

from netsvc.accounts import passwords
from netsvc.accounts.checkers import BusyLogin
from netsvc.accounts.hashes import HasherBusyError
from netsvc.accounts.passwords import PasswordFileChecker, PasswordFileError, read_entries


@pytest.fixture
def write(tmp_path):
    """Writes the file as one that belongs to us alone -> its path."""

    def put(text, mode=0o600):
        path = tmp_path / "passwd"
        part = tmp_path / "part"
        part.write_bytes(text if isinstance(text, bytes) else text.encode())
        part.chmod(mode)
        part.replace(path)
        return str(path)

    return put


@pytest.fixture
def hashed(hasher, result):
    return result(hasher.hash("secret-1"))


def test_users_of_the_file_log_in(write, hasher, hashed, result):
    path = write(f"# operators\n\nann:{hashed}:admin,content\r\n bob:{hashed}:viewer\n")
    checker = PasswordFileChecker(path, hasher)
    ann = result(checker.requestAvatarId(UsernamePassword(b"ann", b"secret-1")))
    assert (ann.name, ann.role, ann.content) == ("ann", "admin", True)
    assert result(checker.requestAvatarId(UsernamePassword(b"bob", b"secret-1"))).role == "viewer"
    for name, password in ((b"ann", b"secret-2"), (b"eve", b"secret-1"), (b"\xff", b"")):
        with pytest.raises(UnauthorizedLogin):
            result(checker.requestAvatarId(UsernamePassword(name, password)))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ann", "1 fields"),
        ("ann:x:viewer:", "4 fields"),
        ("Ann:{}:viewer", "no name"),
        ("\x1b[2J:{}:viewer", "no name"),
        ("ann:secret:viewer", "not argon2id"),
        ("ann:{}:king", "king"),
        ("ann:{}:", "no role ''"),
        ("bob:{}:viewer", "bob is there twice"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(write, hashed, line, said):
    path = write(f"bob:{hashed}:viewer\n#\n" + line.format(hashed) + "\n")
    with pytest.raises(PasswordFileError) as caught:
        read_entries(path)
    text = str(caught.value)
    assert text.startswith(f"{path}:3: ")
    assert said in text
    assert "\x1b" not in text
    assert hashed not in text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_file_others_may_use_is_refused(write, mode):
    path = write("", mode)
    with pytest.raises(PasswordFileError, match=f"mode {mode:04o}.*chmod 600"):
        read_entries(path)


def test_a_file_that_is_not_there_or_not_a_file(tmp_path):
    with pytest.raises(PasswordFileError, match="No such file"):
        read_entries(str(tmp_path / "nothing"))
    with pytest.raises(PasswordFileError, match="Is a directory"):
        read_entries(str(tmp_path))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(PasswordFileError, match="not a plain file"):
        read_entries(str(tmp_path / "fifo"))


def test_a_file_of_somebody_else_is_refused(write, monkeypatch):
    path = write("")
    facts = Path(path).stat()
    monkeypatch.setattr(os, "fstat", lambda fd: os.stat_result((*facts[:4], 4321, *facts[5:])))
    with pytest.raises(PasswordFileError, match="uid 4321"):
        read_entries(path)


def test_a_missing_role_is_named(write, hashed):
    with pytest.raises(PasswordFileError, match="role is missing"):
        read_entries(write(f"ann:{hashed}:content\n"))


def test_a_huge_file_is_not_read(write, monkeypatch):
    monkeypatch.setattr(passwords, "SIZE_LIMIT", 10)
    with pytest.raises(PasswordFileError, match="larger"):
        read_entries(write(b"#" * 11))


class Book:
    def __init__(self):
        self.said = []

    def error(self, name, **fields):
        self.said.append((name, fields))


def test_a_file_that_changes_is_read_again_and_a_wrong_one_lets_nobody_in(write, hasher, hashed, result):
    path = write(f"ann:{hashed}:viewer\n")
    book = Book()
    checker = PasswordFileChecker(path, hasher, book)
    ann = UsernamePassword(b"ann", b"secret-1")
    assert result(checker.requestAvatarId(ann)).role == "viewer"
    write(f"ann:{hashed}:admin\n")
    assert result(checker.requestAvatarId(ann)).role == "admin"
    write("ann:\n")
    with pytest.raises(UnauthorizedLogin):
        result(checker.requestAvatarId(ann))
    assert book.said[0][0] == "accounts.fault"
    assert f"{path}:1:" in book.said[0][1]["why"]
    Path(path).unlink()
    checker._logbook = None
    with pytest.raises(UnauthorizedLogin):
        result(checker.requestAvatarId(ann))
    write(f"ann:{hashed}:viewer\n")
    assert result(checker.requestAvatarId(ann)).role == "viewer"


def test_a_busy_hasher_is_no_failed_login(write, hasher, hashed, result):
    checker = PasswordFileChecker(write(f"ann:{hashed}:viewer\n"), hasher)

    async def busy(*args):
        raise HasherBusyError("18")

    hasher.verify = busy
    with pytest.raises(BusyLogin):
        result(checker.requestAvatarId(UsernamePassword(b"ann", b"x")))
