"""``--auth`` and the ``auth`` key: from specifications to the one checker a Portal keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from zope.interface import implementer

from netsvc.accounts.checkers import FirstOf, StoreChecker
from netsvc.accounts.passwords import PasswordFileChecker
from netsvc.accounts.throttle import CONSOLE, ThrottledChecker
from netsvc.interfaces import IMailLogin
from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from netsvc.accounts.hashes import Hasher
    from netsvc.accounts.throttle import Rule
    from netsvc.interfaces import IAccountRows, ICounters
    from netsvc.logbook import Logbook

DEFAULT: Final = ("store",)
_REFUSED: Final = {
    "pam": "is not supported yet: use store or passwd:PATH",
    "file": "keeps passwords in plain text: use passwd:PATH (user:hash:roles, argon2id)",
    "unix": "cannot check host accounts on this Python: use passwd:PATH; pam:SERVICE is to come",
    "memory": "keeps passwords on the command line: use store or passwd:PATH",
    "anonymous": "lets anybody in: use store or passwd:PATH",
}


def check_spec(spec: str) -> tuple[str, str]:
    """Return (kind, argument) of one specification.  Raises ValueError with words fit to be shown.  Opens nothing."""
    kind, _, argument = spec.partition(":")
    if kind in _REFUSED:
        raise ValueError(f"auth {kind} {_REFUSED[kind]}")
    if kind not in ("store", "passwd"):
        raise ValueError(f"auth {escape(kind, 40)} is unknown: use store or passwd:PATH")
    if kind == "store" and argument:
        raise ValueError("auth store takes no argument")
    if kind == "passwd" and not argument:
        raise ValueError("auth passwd needs the path of its file: passwd:PATH")
    return kind, argument


def auth_chain(
    specs: Sequence[str | Any],
    account_rows: IAccountRows,
    hasher: Hasher,
    counters: ICounters,
    logbook: Logbook | None = None,
    rule: Rule = CONSOLE,
) -> ThrottledChecker:
    """Build the chain of ``specs`` (``store``, ``passwd:PATH``, or a checker as it is), tried in order, throttled.

    Password files are read now.  Raises ValueError (PasswordFileError) with words fit to be shown.
    """
    checkers: list[Any] = []
    for spec in specs or DEFAULT:
        if not isinstance(spec, str):
            checkers.append(spec)
            continue
        kind, argument = check_spec(spec)
        if kind == "store":
            checkers.append(StoreChecker(account_rows, hasher))
        else:
            checkers.append(PasswordFileChecker(argument, hasher, logbook))
    return ThrottledChecker(FirstOf(checkers), counters, hasher, rule)


@implementer(ICredentialsChecker)
class ByDoor:
    """Two chains behind the one interface a Portal keeps a checker for: mail clients' logins go through their own."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, console: ThrottledChecker, mail: ThrottledChecker) -> None:
        self._console = console
        self._mail = mail

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See ThrottledChecker."""
        chain = self._mail if IMailLogin.providedBy(credentials) else self._console
        return chain.requestAvatarId(credentials)
