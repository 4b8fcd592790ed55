"""What the console is promised: the queue, the mailboxes, the directory, audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Interface

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping, Sequence

    from twisted.internet.defer import Deferred

    from netsvc.criteria import Expr
    from netsvc.interfaces.mailbox import IBodyReader
    from netsvc.mail.address import Address
    from netsvc.mail.message import MailboxRef, Resolution
    from netsvc.records import MessageView, Page, Row, Selection


class IQueueAdmin(Interface):
    """What the console needs of the queue.  Rows are dicts with the keys of CONTRACTS.md *Machine mode*:
    times int ms since 1970 or None, durations int ms or None, sizes octets, enums lower-case words; every foreign text is escaped.
    """

    def counts(by: str, where: Expr | None = None) -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of schema queue.summary/1, exact, largest first.

        ``by``: state destination domain reason sender-domain user peer route node.
        """

    def totals() -> Deferred[dict[str, tuple[int, int]]]:
        """-> Deferred[{state word: (n, bytes)}] of the whole queue, from the counters."""

    def reasons(where: Expr | None = None) -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of schema reason/1, most frequent first."""

    def past_reasons(where: Expr | None = None) -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of schema reason/1: why what is in the history ended, most frequent first."""

    def page(where: Expr | None, after: Any = None, limit: int = 50, order: str = "id") -> Deferred[Page]:
        """One keyset page of queue.item/1 rows -> Deferred[Page].  Never holds a transaction open.

        ``where`` is a criteria expression or None (recycled items only when it names them); ``order``: id (oldest first) -id size -size.
        """

    def history(where: Expr | None, after: Any = None, limit: int = 50, order: str = "-id") -> Deferred[Page]:
        """One keyset page of history/1 rows -> Deferred[Page]."""

    def show(message_id: int) -> Deferred[MessageView | None]:
        """-> Deferred[MessageView | None]: the message, its items, attempts and history."""

    def find_message(prefix: str) -> Deferred[list[int]]:
        """-> Deferred[list[int]]: up to 6 ids of live or past messages that begin with ``prefix`` (5 characters or more)."""

    def content(message_id: int) -> Deferred[tuple[bytes, IBodyReader] | None]:
        """-> Deferred[(bytes, IBodyReader) | None]: our trace fields and the content of a queued or delivered message."""

    def select(where: Expr | Sequence[tuple[int, int | None]]) -> Deferred[Selection]:
        """-> Deferred[Selection]: the matching items' ids frozen (at most 5,000,000), with what a preview shows.

        ``where`` is a criteria expression, or a sequence of (message id, n or None).
        """

    def start(verb: str, selection: Selection, args: Mapping[str, Any], actor: str) -> Deferred[int]:
        """Begin a job -> Deferred[int], its number.

        ``verb``: hold release retry delete undelete.  ``args``: {"reason": str, "spread_ms": int}.  Acts on the
        frozen ids only, in short slices; skips what changed since; resumed after a restart.
        """

    def job(number: int) -> Deferred[Row | None]:
        """-> Deferred[row | None] of job/1.

        ``state``: running done cancelled failed; ``undo``: the number of the job that this one takes back, None for others.
        """

    def jobs() -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of job/1, newest first."""

    def wait(number: int) -> Deferred[Row]:
        """-> Deferred[row] of job/1 that fires when the job has ended."""

    def cancel(job: int) -> Deferred[bool]:
        """Stop a running job after its present slice -> Deferred[bool], False when it had ended."""

    def undo(job: int, actor: str) -> Deferred[int]:
        """Start the job that takes ``job`` back, on the ids it acted on -> Deferred[int]; fails with StoreError."""

    def set_destination(key: str, rev: int, **policy: Any) -> Deferred[int]:
        """Set how a destination is treated -> Deferred[int], the new rev.

        ``paused`` ``pause_note`` ``pause_by`` ``pause_until``: whether it is left alone; ``connections`` ``messages``
        ``rate_count`` ``rate_ms`` (0: as the site says), ``until_at`` and ``limited_by``: what is allowed there;
        ``backoff=0`` forgets its failures.  Compare-and-set on ``rev``; fails with StoreError when it is another's.
        With ``rev`` 0 a destination that nobody has sent to yet is made.
        """

    def destinations(key: str | None = None) -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of destination/1, that of ``key`` alone where it is given.

        ``limit``, ``messages`` and ``rate`` (messages, ms) are what operators said, None where they said nothing.
        """


class IMailStore(Interface):
    """The mailboxes' contents."""

    def mailboxes(where: Expr | None = None) -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of mailbox/1, by address."""

    def mailbox(address: str) -> Deferred[Row | None]:
        """-> Deferred[row | None] of mailbox/1."""

    def list(address: str, after_uid: int = 0, limit: int = 100) -> Deferred[builtins.list[Row]]:
        """-> Deferred[list[row]] of mail/1 with uid above ``after_uid``, in uid order; LookupError without such a mailbox."""

    def fetch(address: str, uid: int) -> Deferred[IBodyReader | None]:
        """-> Deferred[IBodyReader | None]: trace fields and content, byte-exact."""

    def expunge(address: str, uids: Sequence[int]) -> Deferred[int]:
        """Remove mails -> Deferred[int], how many."""

    def quota(address: str) -> Deferred[tuple[int, int, int, int] | None]:
        """-> Deferred[(used octets, quota octets, used messages, quota messages) | None]; a quota of 0 is none."""


class IDirectory(Interface):
    """Domains, mailboxes, aliases, catch-alls: looked up through a cache that every change, on any node, invalidates.

    Changes fail with StoreError, whose text is fit to be shown.
    """

    def resolve(address: Address) -> Deferred[Resolution]:
        """-> Deferred[Resolution] of a mail.address.Address; fired already when cached."""

    def room(box: MailboxRef) -> tuple[int, int, int] | None:
        """-> (octets, messages) that still fit into a mailbox, and the octets it could hold when empty.

        By a figure of the last minute that costs no waiting.

        None: there is no quota, or no figure now.  A hint: only the accepting transaction decides.
        """

    def explain(address: Address) -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of address/1: how it resolves, step by step, the reply at RCPT last."""

    def is_local(domain: str) -> Deferred[bool]:
        """-> Deferred[bool]: whether the domain is one of ours."""

    def domains() -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of domain/1, by name."""

    def aliases(of: str = "") -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of alias/1, by kind and address; ``of`` and to an address or a domain, "" for all."""

    def add_domain(name: str, same_as: str = "") -> Deferred[None]:
        """-> Deferred[None]; ``same_as``: it is another name of that domain of ours."""

    def delete_domain(name: str) -> Deferred[None]:
        "-> Deferred[None]; refused while it holds mailboxes or aliases, or something leads there"

    def set_catchall(name: str, target: str | None) -> Deferred[None]:
        """Say where mail for unknown addresses of a domain goes, None: nowhere -> Deferred[None]."""

    def create_mailbox(address: str, quota_bytes: int = 0, quota_messages: int = 0) -> Deferred[int]:
        "-> Deferred[int], its id; its domain must be ours; a quota of 0 is none"

    def set_quota(address: str, quota_bytes: int, quota_messages: int) -> Deferred[None]:
        "-> Deferred[None]; 0 is none"

    def delete_mailbox(address: str) -> Deferred[int]:
        "-> Deferred[int], how many mails went with it; refused while something leads there"

    def add_alias(address: str, *targets: str) -> Deferred[None]:
        "-> Deferred[None]; all or none; refused where it would lead back to itself, or to nothing"

    def delete_alias(address: str, target: str | None = None) -> Deferred[int]:
        "-> Deferred[int], how many rows; None: all of them; refused while something leads there"


class IAudit(Interface):
    """One hash-chained row for every login and every change."""

    def record(
        actor: str, role: str, source: str, verb: str, target: str, args: str, affected: int, result: str
    ) -> Deferred[int]:
        """Append a row -> Deferred[int], its id.  All str but ``affected`` (int).  Secrets are not handed in."""

    def page(after: Any = None, limit: int = 50, where: Expr | None = None) -> Deferred[Page]:
        """-> Deferred[Page] of audit/1 rows, newest first."""

    def verify() -> Deferred[tuple[int, int]]:
        """Check the chain -> Deferred[(rows checked, id of the first broken row or 0)]."""
