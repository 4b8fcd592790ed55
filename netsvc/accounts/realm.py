"""The realm: what somebody whose password was right may become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.error import LoginDenied
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.accounts.identity import Operator, account_operator, name_of
from netsvc.interfaces import IOperator
from netsvc.records import FLAG_LOCKED, ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.interfaces import IAccountRows


def _logout() -> None:
    """Nothing is held for an avatar."""


@implementer(IRealm)
class Realm:
    """Avatars for the console.  A checker that is not ours returns a name, whose account in the store says the role."""

    def __init__(self, account_rows: IAccountRows) -> None:
        self._rows = account_rows

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Deferred[Any]:
        """-> Deferred[(IOperator, Operator, logout)]; fails with LoginDenied for who has no role on the console."""
        del mind
        if IOperator not in interfaces:
            raise NotImplementedError("this realm has operators only")
        return Deferred.fromCoroutine(self._operator(avatarId))

    async def _operator(self, avatar_id: Any) -> tuple[Any, Operator, Callable[[], None]]:
        if isinstance(avatar_id, Operator):
            operator = avatar_id
        else:
            name = name_of(avatar_id) if isinstance(avatar_id, str | bytes) else ""
            row = await self._rows.get(name) if name else None
            if row is None or row.flags & FLAG_LOCKED:
                raise LoginDenied("no such account")
            operator = account_operator(row)
        if operator.role == ROLES[0]:
            raise LoginDenied("no role on the console")
        return IOperator, operator, _logout
