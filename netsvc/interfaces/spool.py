"""What delivery and the mailbox service are promised: the spool, routing, agents, the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred

    from netsvc.interfaces.mailbox import IBodyReader, IBodyWriter
    from netsvc.mail.message import DueDestination, Hop, Leased, LocalDelivery, Message, NewDelivery, Refusals
    from netsvc.mail.outcome import Outcome, Report, Settled
    from netsvc.records import Row
    from netsvc.settings import SiteSettings


class ISpool(Interface):
    """What delivery and the mailbox service need of the store: one writer round trip a call, group-committed."""

    def now() -> int:
        """Return the store's clock, ms since 1970, never going backwards in one process."""

    def lived(number: int) -> int:
        """Return what ``now`` would be had the clock only gone on since id ``number`` was made.

        Less than ``now`` where no node ran for a while or the clock was set ahead, more where it was set back: whether a
        message is too old is judged by it (SMTP.md T37).
        """

    def before(span: int) -> int:
        """Return the time, as ids tell it, before which was made what has lived for ``span`` ms by now."""

    def new_id() -> int:
        """Return a fresh id (see mail.ids), above every id used before."""

    def body() -> IBodyWriter:
        """-> IBodyWriter"""

    def accept(
        message: Message,
        body: IBodyWriter | bytes,
        deliveries: Sequence[NewDelivery],
        local: Sequence[LocalDelivery],
        refusals: Refusals | None = None,
    ) -> Deferred[int]:
        """Take responsibility -> Deferred[int], the message id.

        ``message`` Message, ``body`` IBodyWriter or bytes, ``deliveries`` [NewDelivery], ``local`` [LocalDelivery].
        The body is durable first, then ONE unit of work for all rows.  A local delivery over its
        quota, or whose mailbox is gone, fails the whole with ReplyError 452 4.2.2 / 550 5.1.1 when it is the only
        recipient, else it becomes a deferred delivery with that reason; those whom ``refusals`` lets be refused are
        left out instead, and stand there with their replies.  Fails with ReplyError; then nothing is kept.
        """

    def due(limit: int) -> Deferred[list[DueDestination]]:
        """-> Deferred[list[DueDestination]]: destinations with work due, not paused, dead or at rest, most overdue first."""

    def next_due() -> Deferred[int | None]:
        """-> Deferred[int | None]: when the earliest destination comes due, ms; None when nothing waits."""

    def lease(wants: Sequence[tuple[int, int]]) -> Deferred[list[Leased]]:
        """``wants`` [(dest_id, n)] -> Deferred[list[Leased]].  Attempts and crashes are counted before the attempt."""

    def overdue(accepted_before: int, limit: int) -> Deferred[list[Leased]]:
        """Lease what has expired but would not be tried, its destination being left alone -> Deferred[list[Leased]].

        Only messages accepted before ``accepted_before`` (ms) are looked at.  They are to be settled as EXPIRED.
        """

    def held(before: int) -> Deferred[list[int]]:
        """Return the ids of deliveries this node leased before ``before`` (ms) and has not settled."""

    def unwarned(after: int, accepted_before: int, limit: int) -> Deferred[tuple[list[Leased], int]]:
        """Lease what is late and its sender has not been told, its destination being left alone.

        Of messages with ids above ``after``, accepted before ``accepted_before`` (ms) -> Deferred[(rows, the id up to
        which all was looked at; ``after`` where there was nothing)].  They are to be settled as RELEASED.
        """

    def settle(outcomes: Sequence[Outcome], reports: Sequence[Report]) -> Deferred[Settled]:
        """Record what attempts came to -> Deferred[Settled].

        ``outcomes`` [Outcome], ``reports`` [Report].  One unit of work: rows, counters, history, attempts,
        transcripts, mailbox rows, and each report's message (its body durable before).
        """

    def destination_failed(dest_id: int, until: int, outcome: Outcome) -> Deferred[int]:
        """Mark a destination dead until ``until`` (ms) after a connection fault -> Deferred[int] the failure streak."""

    def destination_rests(dest_id: int, until: int) -> Deferred[None]:
        """Leave a destination alone until ``until`` (ms), on all nodes: it has had what its rate allows."""

    def destination_ok(dest_id: int) -> Deferred[None]:
        """A connection to the destination worked: forget its failure streak -> Deferred[None]."""

    def open_body(blob_id: int) -> Deferred[IBodyReader]:
        """-> Deferred[IBodyReader] over the content alone (no trace fields)."""

    def wake(callback: Callable[[], None]) -> None:
        """Have ``callback()`` called in the reactor thread whenever work may have come due (accept, retry, release)."""


class IDestinations(Interface):
    """What operators allow destinations, and which nodes share the work."""

    limits = Attribute("{key: (DestinationSettings, until when in ms or 0)}: what holds beside the site's settings")
    nodes = Attribute("ids of the nodes that live, this one among them; () before anything is known")
    node = Attribute("this node's id")

    def watch(callback: Callable[[], None]) -> None:
        """Have ``callback()`` called in the reactor thread after each change."""


class IRouting(Interface):
    """Where mail for elsewhere goes."""

    def route(domain: str, sender: str = "") -> Hop:
        """-> mail.message.Hop for mail from ``sender`` to a domain that is not local.

        Never fails: no rule is a rule too (``mx``).
        """

    def judge(domain: str, sender: str | None = "") -> Hop:
        """-> the same; may be called in any thread.  ``sender`` None: senders' routes are left out."""

    def check(pattern: str, target: str, *, of_sender: bool = False) -> tuple[str, str]:
        """-> (a route's pattern in its stored form, the key of its destination or "" where each domain is its own).

        Raises ValueError, with a sentence for the operator, for what is no route.
        """

    def explain(domain: str, sender: str | None = None) -> list[Row]:
        """-> [{"rule": sender route default, "pattern", "target", "matched"}]: patterns in the order they are tried.

        The last one matched.  ``sender`` None: senders' routes are left out.
        """


class IRerouting(Interface):
    """Mail that waits, where routes have changed."""

    shared = Attribute("bool: whether other nodes do the same")

    def pending() -> Deferred[int]:
        """-> Deferred[int]: the revision of the site whose routes what waits has not been compared with; 0 for none."""

    def applied(rev: int) -> Deferred[None]:
        """Remember that what waits goes by the routes of ``rev`` -> Deferred[None]."""

    def strays(after: int, limit: int, judge: Callable[[str, str], Hop]) -> Deferred[tuple[int, list[tuple[int, Hop]]]]:
        """Look at up to ``limit`` deliveries that wait, with ids above ``after``.

        -> Deferred[(the last one's id or 0 at the end, [(delivery id, where it belongs by ``judge``)])].
        ``judge(domain, sender)`` is called in the store's thread.  Mail for domains of ours is let be.
        """

    def move(moves: Sequence[tuple[int, Hop]]) -> Deferred[int]:
        """Move deliveries that wait, are on hold, or leased to this node -> Deferred[int]: how many.

        Who was leased waits again, untried.  What was deferred is due now: what it waited for was the other destination.
        """

    def same(hop: Hop, key: str, kind: int, route: str) -> bool:
        """-> whether a delivery with destination ``key``, of ``kind`` and by ``route`` is where ``hop`` leads."""


class IDeliveryMap(Interface):
    """What is at the end of a route: told for people, by looking now."""

    def look(hop: Hop) -> Deferred[list[Row]]:
        """-> Deferred[list of {"is": host tls credential error, "found", "note"}], in the order of what is tried.

        What is asked is asked now: DNS, policies of domains, the credential.  Nothing is sent; it never fails.
        """


class IDeliveryAgent(Interface):
    """What carries an attempt."""

    name = Attribute("as in a route: smtp, lmtp, maildir, …")

    def attempt(
        next_hop: Hop, message: Leased, recipients: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> Deferred[list[Outcome]]:
        """-> Deferred[list[Outcome]], one a recipient, always; it never fails.

        ``next_hop`` Hop, ``message`` Leased (any of the group: they share the message), ``recipients`` [Leased];
        ``observer(direction, line)`` gets the dialogue, direction ``>`` ``<`` or ``-``.
        """


class ISite(Interface):
    """The committed site configuration, kept in the store."""

    current = Attribute("config.SiteSettings, always the newest committed; frozen")
    rev = Attribute("its revision, int")

    def watch(callback: Callable[[SiteSettings], None]) -> None:
        """Have ``callback(settings)`` called in the reactor thread after each change."""

    def change(alter: Callable[[SiteSettings], SiteSettings], actor: str, comment: str) -> Deferred[int]:
        """Commit what ``alter(newest settings)`` returns as a new revision -> Deferred[int], its number.

        0: nothing was altered, and there is no new revision.  ``alter`` is called in the store's thread and may raise
        StoreError; then nothing has changed.  Domains, mailboxes and aliases are not changed this way.
        Watchers have been called when it fires, on this node; other nodes follow within seconds.
        """

    def export() -> Deferred[str]:
        """-> Deferred[str]: the whole site as TOML, domains, mailboxes and aliases included."""
