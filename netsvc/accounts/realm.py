"""The realm: what somebody whose password was right may become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.error import LoginDenied
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.accounts.identity import Operator, Submitter, account_operator, name_of
from netsvc.interfaces import IOperator, ISubmitter
from netsvc.records import FLAG_LOCKED, ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.interfaces import IAccountRows, ISenders


def _logout() -> None:
    """Nothing is held for an avatar."""


@implementer(IRealm)
class Realm:
    """Avatars for the console and for sending mail.

    A checker that is not ours returns a name, whose account in the store says the role.
    """

    def __init__(self, account_rows: IAccountRows, senders: ISenders | None = None) -> None:
        self._rows = account_rows
        self._senders = senders

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Deferred[Any]:
        """-> Deferred[(interface, avatar, logout)]: an IOperator, or an ISubmitter.

        Fails with LoginDenied for who has no role on the console, or no mailbox to send mail for.
        """
        del mind
        if IOperator in interfaces:
            return Deferred.fromCoroutine(self._operator(avatarId))
        if ISubmitter in interfaces and self._senders is not None:
            return Deferred.fromCoroutine(self._submitter(avatarId, self._senders))
        raise NotImplementedError("this realm has operators and submitters only")

    async def _submitter(self, avatar_id: Any, senders: ISenders) -> tuple[Any, Submitter, Callable[[], None]]:
        operator = await self._account(avatar_id)
        address = await senders.mailbox_of(operator.name)
        if not address:
            raise LoginDenied("no mailbox")
        return ISubmitter, Submitter(operator.name, address), _logout

    async def _operator(self, avatar_id: Any) -> tuple[Any, Operator, Callable[[], None]]:
        operator = await self._account(avatar_id)
        if operator.role == ROLES[0]:
            raise LoginDenied("no role on the console")
        return IOperator, operator, _logout

    async def _account(self, avatar_id: Any) -> Operator:
        if isinstance(avatar_id, Operator):
            return avatar_id
        name = name_of(avatar_id) if isinstance(avatar_id, str | bytes) else ""
        row = await self._rows.get(name) if name else None
        if row is None or row.flags & FLAG_LOCKED:
            raise LoginDenied("no such account")
        return account_operator(row)
