# ruff: noqa: INP001 - a package here would hide Twisted's own plugins
"""What ``twistd netsvc`` and ``--auth`` are found by.  Imports nothing of ours: every twistd on this host reads it."""

from twisted.application.service import ServiceMaker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import ICheckerFactory
from twisted.plugin import IPlugin
from zope.interface import implementer

netsvc = ServiceMaker("netsvc", "netsvc.tap", "A mail service: SMTP in, kept safely, delivered or relayed.", "netsvc")


@implementer(ICheckerFactory, IPlugin)
class _Checker:
    """One way to log in, by its word in ``--auth``; what it takes exists only once the service stands."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, auth_type: str, arg_format: str, help_text: str) -> None:
        self.authType = auth_type
        self.argStringFormat = arg_format
        self.authHelp = help_text

    def generateChecker(self, argstring: str) -> object:
        """Return the checker ``--auth`` named, still to be given what it checks against."""
        from netsvc.signin import NamedChecker  # noqa: PLC0415 - only when --auth asks for it

        return NamedChecker(self.authType, argstring)


store_checker = _Checker("store", "nothing", "Accounts kept in the service's own store (the default).")
passwd_checker = _Checker(
    "passwd",
    "path of the file",
    "A file of lines user:hash:roles, hashes of argon2id.  It is refused when others than its owner can read it.",
)
