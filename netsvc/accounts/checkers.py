"""Checkers for twisted.cred: accounts of the store, and several checkers in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from netsvc.accounts.hashes import HasherBusyError
from netsvc.accounts.identity import Operator, account_operator, name_of, password_of
from netsvc.accounts.verifiers import keep_verifier
from netsvc.interfaces import ILoginSource, IMailLogin
from netsvc.records import FLAG_LOCKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.accounts.hashes import Hasher
    from netsvc.interfaces import IAccountRows


class BusyLogin(LoginFailed):
    """The login was not tried: too many are.  No failure of whoever tried."""


@implementer(ICredentialsChecker)
class StoreChecker:
    """Checks accounts of the store.  The avatar id is an Operator as it was before this login.

    An unknown name, a wrong password and a locked account are one and the same: UnauthorizedLogin after the same time.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, account_rows: IAccountRows, hasher: Hasher) -> None:
        self._rows = account_rows
        self._hasher = hasher

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """-> Deferred[Operator]; fails with UnauthorizedLogin, BusyLogin, or what the store fails with."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Any) -> Operator:
        name = name_of(credentials.username)
        row = await self._rows.get(name) if name else None
        try:
            right = await self._hasher.verify(row.hash if row else None, password_of(credentials.password))
        except HasherBusyError as busy:
            raise BusyLogin(str(busy)) from None
        right = right and row is not None and not row.flags & FLAG_LOCKED
        mail = IMailLogin.providedBy(credentials)
        if row is not None and ILoginSource.providedBy(credentials) and (right or not mail):
            # Of a wrong one only here: it takes time (T22).  Who has no role is denied on the console: no access.
            await self._rows.seen(row.name, credentials.source, right and (mail or row.role != 0))
        if right and mail and row is not None and not row.scram:
            await keep_verifier(self._rows, self._hasher, row.name, password_of(credentials.password))
        if not right or row is None:
            raise UnauthorizedLogin("wrong name or password")
        return account_operator(row)


@implementer(ICredentialsChecker)
class FirstOf:
    """Several checkers, tried in order until one knows the credentials: a Portal keeps one checker an interface."""

    def __init__(self, checkers: Sequence[Any]) -> None:
        self._checkers = tuple(checkers)
        interfaces = [i for checker in self._checkers for i in checker.credentialInterfaces]
        self.credentialInterfaces = tuple(dict.fromkeys(interfaces))

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """-> Deferred[the first avatar id]; fails with UnauthorizedLogin when no checker knows the credentials."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Any) -> Any:
        for checker in self._checkers:
            if any(i.providedBy(credentials) for i in checker.credentialInterfaces):
                try:
                    return await maybeDeferred(checker.requestAvatarId, credentials)
                except BusyLogin:
                    raise
                except LoginFailed:
                    continue
        raise UnauthorizedLogin("wrong name or password")
