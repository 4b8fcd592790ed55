"""What doors are promised about secrets: certificates, the avatar of who may send mail, password verifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.records import Credential, Row


class ICertificates(Interface):
    """The node's certificates, re-read when their files change.  Provides IOpenSSLServerConnectionCreator too."""

    def serverConnectionForTLS(tlsProtocol: Any) -> Any:
        """-> OpenSSL.SSL.Connection for a new session, with the certificates of now."""

    def rows() -> list[Row]:
        """-> list of certificate/1 rows, that for everybody first."""


class ISubmitter(Interface):
    """The avatar of somebody who may send mail."""

    name = Attribute("str: the account's name")
    address = Attribute("str: the address of his mailbox")


class IVerifiers(Interface):
    """What SCRAM exchanges begin with."""

    def verifier(name: str) -> Deferred[str]:
        """-> Deferred[str]: the verifier of the account ``name``; for one that has none, one that nothing fits.

        The latter is the same each time for a name, on every node: nobody learns which names exist.
        """


class ISenders(Interface):
    """Which addresses an account may send as."""

    def may_use(user: str, address: str) -> Deferred[bool]:
        """-> Deferred[bool]: whether account ``user`` may send as ``address``, an address' text."""

    def mailbox_of(user: str) -> Deferred[str]:
        """-> Deferred[str]: the address of the account's mailbox, "" for one that has none."""

    def box(address: str) -> Deferred[int]:
        """-> Deferred[int]: the id of the mailbox ``address`` (lower case), 0 for none."""

    def mailboxes() -> Deferred[dict[str, str]]:
        """-> Deferred[{account: address of its mailbox}] of accounts in the store that have one."""

    def grants(user: str | None = None) -> Deferred[list[tuple[str, str]]]:
        """-> Deferred[list[(account, address or @domain)]], of one account or of all."""

    def grant(user: str, address: str) -> Deferred[None]:
        """Let ``user`` send as ``address``, or as anybody in ``@domain`` -> Deferred[None]; StoreError."""

    def revoke(user: str, address: str) -> Deferred[bool]:
        """Take a grant back -> Deferred[bool]: whether there was one."""


class ICredentials(Interface):
    """What we log in with at smarthosts: kept encrypted with the site's secret key, shown to nobody."""

    def get(name: str) -> Deferred[Credential | None]:
        """-> Deferred[records.Credential | None]; fails with CredentialError where this node's key does not fit."""

    def rows() -> Deferred[list[Row]]:
        """-> Deferred[list of credential/1 rows], by name, without ``used_by``."""

    def put(name: str, user: str, password: str, by: str) -> Deferred[bool]:
        """Keep one in the place of any of that name -> Deferred[bool]: whether there was one before.

        ``by`` is the operator.  Fails with StoreError where this node's key is not the site's.
        """

    def delete(name: str) -> Deferred[bool]:
        """-> Deferred[bool]: whether there was one."""
