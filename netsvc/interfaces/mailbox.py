"""What doors are promised: the one shared object, submissions, bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred

    from netsvc.mail.address import Address
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.mail.reply import Reply


class IMailboxService(Interface):
    """The one object every door shares."""

    queue = Attribute("IQueueAdmin")
    mail = Attribute("IMailStore")
    directory = Attribute("IDirectory")
    accounts = Attribute("IAccounts")
    audit = Attribute("IAudit")
    site = Attribute("ISite: the committed configuration")
    doors = Attribute("IDoors: blocked peers and paused listeners")
    senders = Attribute("ISenders: who may send as whom")
    certificates = Attribute("ICertificates")
    sessions = Attribute("ISessions: the live registry, in and out")
    events = Attribute("IEvents: what happens, to follow")
    policies = Attribute("IPolicies: the gate")
    resolver = Attribute("IResolver")
    counters = Attribute("ICounters")
    credentials = Attribute("ICredentials: what we log in with elsewhere")
    routing = Attribute("IRouting: where mail for elsewhere goes")
    tls_policies = Attribute("ITlsPolicies or None: what destinations publish about TLS")
    agents = Attribute("{name: IDeliveryAgentMaker}: the plugins of this node that carry mail")
    delivery_map = Attribute("IDeliveryMap or None: what is at the end of a route")
    vitals = Attribute("IVitals or None: how this node is, and whether it takes mail")
    hostname = Attribute("our name, str")

    def verify_connection(session: SessionFacts) -> Deferred[Reply] | None:
        """Ask about a client before it is greeted -> Deferred[Reply], or None: it is welcome.

        The reply is a success (2xx) for a client that is welcome; with any other it is sent away.
        """

    def verify_helo(session: SessionFacts) -> Deferred[Reply] | None:
        """Ask about a client that has said its name, ``session.helo`` -> Deferred[Reply], or None: nothing against it.

        A reply that is no success (2xx) is the answer to its HELO or EHLO, which then counts as not given.
        """

    def verify_sender(session: SessionFacts, reverse_path: Address, params: Mapping[str, str]) -> Deferred[Reply]:
        """Say whether a transaction may begin -> Deferred[Reply].

        ``session`` SessionFacts, ``reverse_path`` Address, ``params`` {keyword: value or ""} already
        checked by the grammar.  Changes nothing.
        """

    def verify_recipient(session: SessionFacts, forward_path: Address, params: Mapping[str, str]) -> Deferred[Reply]:
        """Say whether mail for ``forward_path`` is taken -> Deferred[Reply].

        2xx only if the recipient is known here or relaying is allowed.  Changes nothing.
        """

    def submit(envelope: Envelope) -> ISubmission:
        """Open a submission for ``envelope`` -> ISubmission.  Nothing is promised yet."""


class ISubmission(Interface):
    """One message on its way in.  Until ``commit`` fires nothing is kept and nothing is promised."""

    id = Attribute("the queue id, int, also before commit")
    refused = Attribute("{index of a recipient: Reply} once commit has ended; where the listener is LMTP, else empty")

    def write(data: bytes) -> Deferred[None] | None:
        """Take a piece of content, CRLF lines, dot-unstuffed -> Deferred or None (None: go on at once).

        A Deferred is back-pressure: write no more until it fires.  It never fails: what went wrong is told by
        ``commit``.
        """

    def commit() -> Deferred[int]:
        """Make it durable -> Deferred[int], the queue id.  Only then may 250 be said.

        Fails with ReplyError (451 452 552 554), leaving nothing.  On an LMTP listener a recipient may be refused alone:
        see ``refused``.
        """

    def abort() -> None:
        """Forget everything.  Safe at any time, any number of times; after ``commit`` has fired it does nothing."""


class IBodyWriter(Interface):
    """A body being received.  Small ones wait in memory; large ones are streamed to the body store."""

    size = Attribute("octets written so far")

    def write(data: bytes) -> Deferred[None] | None:
        """Append ``data`` -> Deferred or None (back-pressure).  The Deferred never fails; ``accept`` does."""

    def peek(offset: int, length: int) -> Deferred[bytes]:
        """Return what was written, before it is accepted -> Deferred[bytes], at most ``length`` from ``offset``.

        Less than ``length`` where pieces meet, b"" at the end.  Fails when what was streamed has gone.
        """

    def abort() -> None:
        """Forget it; safe at any time, any number of times."""


class IBodyReader(Interface):
    """Content read in pieces, never whole in memory."""

    size = Attribute("octets in all")

    def read() -> Deferred[bytes]:
        """Return the next piece -> Deferred[bytes] of at most 256 KiB, b"" at the end."""

    def close() -> None:
        """Give the reader back; safe any number of times."""
