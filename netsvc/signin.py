"""``--auth``: ways to log in as they are named on the command line (floor 7).

What a way checks against (the store, a file) exists only when the service
stands, so ``--auth`` yields names; the accounts room makes the checkers of them.
"""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnhandledCredentials
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer


@implementer(ICredentialsChecker)
class NamedChecker:
    """A checker by its name: ``spec`` is ``store`` or ``passwd:PATH``.  By itself it lets nobody in."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, kind: str, argument: str = "") -> None:
        self.kind = kind
        self.argument = argument

    @property
    def spec(self) -> str:
        """The text that names it."""
        return f"{self.kind}:{self.argument}" if self.argument else self.kind

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes | tuple[()]]:
        """See ICredentialsChecker.  It refuses: there is nothing to check against yet."""
        del credentials
        return fail(UnhandledCredentials())
