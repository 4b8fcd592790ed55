"""The password file: ``user:hash:roles`` lines, argon2id only.

The file must belong to its readers alone: one that its group or the world may
read is refused.  Blank lines and lines that begin with ``#`` are left out.  The
third field is a role (viewer, operator, admin), and ``,content`` may follow.  A
file that changes is read again at the next login; one that has become wrong
lets nobody in until it is mended, and the logbook says why.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.accounts.checkers import BusyLogin
from netsvc.accounts.hashes import HasherBusyError, is_argon2id
from netsvc.accounts.identity import Operator, is_name, name_of, password_of, read_roles
from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from netsvc.accounts.hashes import Hasher
    from netsvc.logbook import Logbook

SIZE_LIMIT: Final = 4 * 1024 * 1024
Entries = dict[str, tuple[str, Operator]]
"""By name: the hash and who it is."""


class PasswordFileError(ValueError):
    """The file cannot be used, in words that name file, line and remedy."""


def read_entries(path: str) -> tuple[Entries, tuple[int, ...]]:
    """Read the file at ``path`` -> (entries, what changes when the file does).  Raises PasswordFileError.  Blocks."""
    try:
        with open(path, "rb", opener=_open_plain) as file:
            facts = os.fstat(file.fileno())
            _check_facts(path, facts)
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise PasswordFileError(f"{path}: {error.strerror}") from None
    if len(data) > SIZE_LIMIT:
        raise PasswordFileError(f"{path}: larger than {SIZE_LIMIT} octets: not a password file")
    entries: Entries = {}
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.strip().decode("utf-8", "replace")
        if line and not line.startswith("#"):
            name, entry = _read_line(f"{path}:{number}", line)
            if name in entries:
                raise PasswordFileError(f"{path}:{number}: {name} is there twice: delete one line")
            entries[name] = entry
    return entries, fingerprint(facts)


def fingerprint(facts: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file does."""
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not stop the start


def _check_facts(path: str, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise PasswordFileError(f"{path}: not a plain file")
    if facts.st_mode & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        raise PasswordFileError(f"{path}: others than its owner may use it (mode {mode:04o}): chmod 600 {path}")
    if facts.st_uid not in (0, os.geteuid()):
        raise PasswordFileError(f"{path}: belongs to uid {facts.st_uid}, neither root nor the service's own user")


def _read_line(where: str, line: str) -> tuple[str, tuple[str, Operator]]:
    fields = line.split(":")
    if len(fields) != 3:
        raise PasswordFileError(f"{where}: {len(fields)} fields, not the three of user:hash:roles")
    name, hashed, roles = (field.strip() for field in fields)
    if not is_name(name):
        raise PasswordFileError(f"{where}: {escape(name, 64)!r} is no name: 1 to 64 of a-z 0-9 . _ -")
    if not is_argon2id(hashed):
        raise PasswordFileError(f"{where}: the hash of {name} is not argon2id ($argon2id$v=19$...)")
    try:
        role, content = read_roles(escape(roles, 100))
    except ValueError as error:
        raise PasswordFileError(f"{where}: {error}") from None
    return name, (hashed, Operator(name, role, bool(content)))


@implementer(ICredentialsChecker)
class PasswordFileChecker:
    """Checks the users of a password file, which is read now: raises PasswordFileError."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, path: str, hasher: Hasher, logbook: Logbook | None = None) -> None:
        self.path = path
        self._hasher = hasher
        self._logbook = logbook
        self._entries, self._fingerprint = read_entries(path)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """-> Deferred[Operator]; fails with UnauthorizedLogin or BusyLogin."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Any) -> Operator:
        entries = await self._hasher.run(self._newest)
        hashed, operator = entries.get(name_of(credentials.username), (None, None))
        try:
            right = await self._hasher.verify(hashed, password_of(credentials.password))
        except HasherBusyError as busy:
            raise BusyLogin(str(busy)) from None
        if not right or operator is None:
            raise UnauthorizedLogin("wrong name or password")
        found: Operator = operator
        return found

    def _newest(self) -> Entries:
        """Return the entries of the file as it is now; none while it cannot be used.  Blocks."""
        try:
            if fingerprint(Path(self.path).stat()) != self._fingerprint:
                self._entries, self._fingerprint = read_entries(self.path)
        except (OSError, PasswordFileError) as error:
            self._entries, self._fingerprint = {}, ()
            if self._logbook is not None:
                self._logbook.error("accounts.fault", what="password file", why=str(error))
        return self._entries
