"""Accounts as the console's ``user`` verbs see them, and the first operator."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.internet.defer import Deferred, DeferredLock
from zope.interface import implementer

from netsvc.accounts import locks
from netsvc.accounts.hashes import HasherBusyError
from netsvc.accounts.identity import PASSWORD_LEAST, PASSWORD_MOST, Operator, account_operator, is_name, read_roles
from netsvc.interfaces import IAccounts
from netsvc.mail.escape import escape
from netsvc.records import FLAG_CONTENT, FLAG_LOCKED, ROLES, AccountError, AccountRow, StoreError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from netsvc.accounts.hashes import Hasher
    from netsvc.interfaces import IAccountRows, ICounters
    from netsvc.records import Row

_ADMIN: Final = ROLES.index("admin")
FIRST_NAME: Final = "admin"
INITIAL_FILE: Final = "initial-password"
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is read as another


@implementer(IAccounts)
class Accounts:
    """The store's accounts.  ``checker`` is the chain that logins go through: ``verify`` asks it too.

    ``counters`` is where it counts failures.
    """

    def __init__(self, account_rows: IAccountRows, hasher: Hasher, checker: Any, counters: ICounters) -> None:
        self._rows = account_rows
        self._hasher = hasher
        self._checker = checker
        self._counters = counters
        self._changing = DeferredLock()  # so that two admins cannot delete each other at once

    def users(self) -> Deferred[list[Row]]:
        """-> Deferred[list[row]]: name role content last_at last_from fails locked."""
        return Deferred.fromCoroutine(self._users())

    def add(self, name: str, password: str, role: str, mailbox: int = 0) -> Deferred[None]:
        """Create an account.  ``role`` as ``read_roles`` takes it, or ``none`` for one that only sends mail."""
        return self._change(self._add(name, password, role, mailbox))

    def set_password(self, name: str, password: str) -> Deferred[None]:
        """Give ``name`` another password."""
        return self._change(self._set_password(name, password))

    def set_role(self, name: str, role: str) -> Deferred[None]:
        """Give ``name`` another role; the content privilege stays unless ``,content`` or ``,no-content`` is said."""
        return self._change(self._set_role(name, role))

    def set_mailbox(self, name: str, mailbox: int) -> Deferred[None]:
        """Give ``name`` the mailbox with the id ``mailbox``, 0: none."""
        return self._change(self._set_mailbox(name, mailbox))

    async def _set_mailbox(self, name: str, mailbox: int) -> None:
        await self._existing(name)
        if not await self._rows.update(name, mailbox_id=mailbox or None):
            raise _no_account(name)

    def delete(self, name: str) -> Deferred[None]:
        """Delete an account; not the last admin's."""
        return self._change(self._delete(name))

    def locks(self) -> Deferred[list[Row]]:
        """See IAccounts."""
        return Deferred.fromCoroutine(locks.locks(self._counters))

    def unlock(self, name: str) -> Deferred[tuple[int, int]]:
        """See IAccounts."""
        return Deferred.fromCoroutine(locks.lift(self._counters, name))

    def verify(self, name: str, password: str) -> Deferred[bool]:
        """Ask the checkers -> Deferred[bool]; a failure counts as a login's."""
        return Deferred.fromCoroutine(self._verify(name, password))

    def _change(self, work: Coroutine[Any, Any, None]) -> Deferred[None]:
        changing: Deferred[None] = self._changing.run(Deferred.fromCoroutine, work)
        return changing

    async def _users(self) -> list[Row]:
        return [_user_row(row) for row in await self._rows.all()]

    async def _add(self, name: str, password: str, role: str, mailbox: int) -> None:
        if not is_name(name):
            raise AccountError(f"{escape(name, 64)!r} is no name: 1 to 64 of a-z 0-9 . _ -, or an address")
        number, content = _read_role(role)
        flags = FLAG_CONTENT if content else 0
        hashed, scram = await self._hash(password)
        row = AccountRow(name, hashed, scram, role=number, flags=flags, mailbox_id=mailbox)
        try:
            await self._rows.create(row)
        except StoreError as error:
            raise AccountError(str(error)) from None

    async def _set_password(self, name: str, password: str) -> None:
        await self._existing(name)
        hashed, scram = await self._hash(password)
        if not await self._rows.update(name, hash=hashed, scram=scram):
            raise _no_account(name)

    async def _set_role(self, name: str, role: str) -> None:
        number, content = _read_role(role)
        row = await self._existing(name)
        if number != _ADMIN:
            await self._keep_an_admin(row)
        flags = row.flags
        if content is not None:
            flags = flags | FLAG_CONTENT if content else flags & ~FLAG_CONTENT
        if not await self._rows.update(name, role=number, flags=flags):
            raise _no_account(name)

    async def _delete(self, name: str) -> None:
        await self._keep_an_admin(await self._existing(name))
        if not await self._rows.delete(name):
            raise _no_account(name)

    async def _verify(self, name: str, password: str) -> bool:
        try:
            found = await self._checker.requestAvatarId(
                UsernamePassword(name.encode(), password.encode("utf-8", "surrogateescape"))
            )
        except (LoginFailed, HasherBusyError):
            return False
        return (found.name if isinstance(found, Operator) else found) == name

    async def _existing(self, name: str) -> AccountRow:
        row = await self._rows.get(name) if is_name(name) else None
        if row is None:
            raise _no_account(name)
        return row

    async def _keep_an_admin(self, leaving: AccountRow) -> None:
        """Refuse to take the role from the last admin who can log in."""
        if leaving.role != _ADMIN:
            return
        others = [r for r in await self._rows.all() if r.role == _ADMIN and not r.flags & FLAG_LOCKED]
        if not [r for r in others if r.name != leaving.name]:
            raise AccountError(f"{leaving.name} is the last admin: make another one first")

    async def _hash(self, password: str) -> tuple[str, str]:
        """Return what is kept of a password: its hash, and its SCRAM verifier.  Raises AccountError."""
        if len(password) < PASSWORD_LEAST:
            raise AccountError(f"the password is too short: at least {PASSWORD_LEAST} characters")
        if len(password) > PASSWORD_MOST:
            raise AccountError(f"the password is too long: at most {PASSWORD_MOST} characters")
        if any(c < " " or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in password):
            raise AccountError("the password holds control characters")
        try:
            return await self._hasher.hash(password), await self._hasher.verifier(password)
        except HasherBusyError:
            raise AccountError("too many passwords are being checked now: try again") from None


def _no_account(name: str) -> AccountError:
    return AccountError(f"no account {escape(name, 64)}")


def _read_role(text: str) -> tuple[int, bool | None]:
    """Return (index into ROLES, content).  Raises AccountError."""
    if text == ROLES[0]:
        return 0, False
    try:
        role, content = read_roles(text)
    except ValueError as error:
        raise AccountError(str(error)) from None
    return ROLES.index(role), content


def _user_row(row: AccountRow) -> Row:
    operator = account_operator(row)
    return {
        "name": operator.name,
        "role": operator.role,
        "content": operator.content,
        "last_at": operator.last_at or None,
        "last_from": escape(operator.last_from, 100),
        "fails": operator.fails,
        "locked": bool(row.flags & FLAG_LOCKED),
        "mailbox_id": row.mailbox_id,
        "scram": bool(row.scram),
    }


def make_password() -> str:
    """Return a random password of 20 letters and digits in groups, 99 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))


def write_secret(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, readable by its owner alone, whole or not at all and durable.  Blocks."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


async def first_operator(account_rows: IAccountRows, hasher: Hasher, state_dir: str) -> tuple[str, str] | None:
    """Create the operator ``admin`` when nobody can use the console -> (path of the file, password), else None.

    The file comes first: after a crash in between the next start writes another one.  Raises OSError when the file
    cannot be written, StoreError when the store fails.
    """
    rows = await account_rows.all()
    if any(row.role for row in rows):
        return None
    password = make_password()
    hashed, scram = await hasher.hash(password), await hasher.verifier(password)
    row = AccountRow(FIRST_NAME, hashed, scram, role=_ADMIN, flags=FLAG_CONTENT)
    path = Path(state_dir) / INITIAL_FILE
    await hasher.run(write_secret, path, password + "\n")
    if any(r.name == FIRST_NAME for r in rows):  # an account that only sends mail becomes the operator
        await account_rows.update(row.name, hash=row.hash, scram=scram, role=row.role, flags=row.flags)
    else:
        await account_rows.create(row)
    return str(path), password


def ensure_first_operator(
    account_rows: IAccountRows, hasher: Hasher, state_dir: str
) -> Deferred[tuple[str, str] | None]:
    """``first_operator`` as a Deferred."""
    return Deferred.fromCoroutine(first_operator(account_rows, hasher, state_dir))
