"""SCRAM: what exchanges begin with, and the checker of their proofs, both on the store's accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.accounts.hashes import HasherBusyError
from netsvc.accounts.identity import Operator, account_operator, name_of
from netsvc.interfaces import IScramLogin, IVerifiers
from netsvc.records import FLAG_LOCKED
from netsvc.sasl.verifier import fake_verifier, read_verifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.accounts.hashes import Hasher
    from netsvc.interfaces import IAccountRows

KEPT_AS = "scram"
"""The site's secret that the verifiers of names without one are made of."""


@implementer(IVerifiers)
class Verifiers:
    """See IVerifiers.  ``secret(name)`` -> Deferred[bytes] gives a secret all nodes share."""

    def __init__(self, account_rows: IAccountRows, secret: Callable[[str], Deferred[bytes]]) -> None:
        self._rows = account_rows
        self._ask = secret
        self._secret = b""

    def verifier(self, name: str) -> Deferred[str]:
        """See IVerifiers."""
        return Deferred.fromCoroutine(self._verifier(name))

    async def _verifier(self, name: str) -> str:
        if not self._secret:
            self._secret = await self._ask(KEPT_AS)
        known = name_of(name)
        row = await self._rows.get(known)  # asked for in any case: it takes time
        fake = str(fake_verifier(self._secret, known or name))
        return row.scram if row is not None and known and readable(row.scram) else fake


def readable(text: str) -> bool:
    """Whether ``text`` is a verifier."""
    try:
        read_verifier(text)
    except ValueError:
        return False
    return True


async def keep_verifier(rows: IAccountRows, hasher: Hasher, name: str, password: str) -> None:
    """Make and keep the verifier of a password that was right, for an account that had none."""
    try:
        text = await hasher.verifier(password)
    except HasherBusyError:
        return  # the next login will do
    if text:
        await rows.update(name, scram=text)


@implementer(ICredentialsChecker)
class ScramChecker:
    """Checks IScramLogin against the store's verifiers.  The avatar id is an Operator."""

    credentialInterfaces = (IScramLogin,)

    def __init__(self, account_rows: IAccountRows) -> None:
        self._rows = account_rows

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """-> Deferred[Operator]; fails with UnauthorizedLogin, or what the store fails with."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Any) -> Operator:
        row = await self._rows.get(name_of(credentials.username))
        right = row is not None and readable(row.scram) and credentials.proves(row.scram)
        if not right or row is None or row.flags & FLAG_LOCKED:
            raise UnauthorizedLogin("wrong name or password")
        await self._rows.seen(row.name, credentials.source, True)
        return account_operator(row)
