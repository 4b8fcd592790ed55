"""The promises between rooms, written once.  Rooms on one floor meet only here.

Every method that may touch the store returns a Deferred; the Deferred fires in
the reactor's thread.  For each step the docstring says who may fail, what is
permanent when it has returned, and what the caller must do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocolFactory

    from netsvc.commands import Completion
    from netsvc.criteria import Expr
    from netsvc.mail.address import Address
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.mail.message import Hop, Leased, LocalDelivery, Message, NewDelivery, Resolution
    from netsvc.mail.outcome import Outcome, Report, Settled
    from netsvc.mail.reply import Reply
    from netsvc.records import AccountRow, MessageView, Page, Result, Row, Selection, Verdict
    from netsvc.settings import SiteSettings


class IMailboxService(Interface):
    """The one object every door shares."""

    queue = Attribute("IQueueAdmin")
    mail = Attribute("IMailStore")
    directory = Attribute("IDirectory")
    accounts = Attribute("IAccounts")
    audit = Attribute("IAudit")
    site = Attribute("ISite: the committed configuration")
    sessions = Attribute("ISessions: the live registry, in and out")
    events = Attribute("IEvents: what happens, to follow")
    hostname = Attribute("our name, str")

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

    def write(data: bytes) -> Deferred[None] | None:
        """Take a piece of content, CRLF lines, dot-unstuffed -> Deferred or None (None: go on at once).

        A Deferred is back-pressure: write no more until it fires.  It never fails: what went wrong is told by
        ``commit``.
        """

    def commit() -> Deferred[int]:
        """Make it durable -> Deferred[int], the queue id.  Only then may 250 be said.

        Fails with ReplyError (451 452 552 554), leaving nothing.
        """

    def abort() -> None:
        """Forget everything.  Safe at any time, any number of times; after ``commit`` has fired it does nothing."""


class IBodyWriter(Interface):
    """A body being received.  Small ones wait in memory; large ones are streamed to the body store."""

    size = Attribute("octets written so far")

    def write(data: bytes) -> Deferred[None] | None:
        """Append ``data`` -> Deferred or None (back-pressure).  The Deferred never fails; ``accept`` does."""

    def abort() -> None:
        """Forget it; safe at any time, any number of times."""


class IBodyReader(Interface):
    """Content read in pieces, never whole in memory."""

    size = Attribute("octets in all")

    def read() -> Deferred[bytes]:
        """Return the next piece -> Deferred[bytes] of at most 256 KiB, b"" at the end."""

    def close() -> None:
        """Give the reader back; safe any number of times."""


class ISpool(Interface):
    """What delivery and the mailbox service need of the store: one writer round trip a call, group-committed."""

    def now() -> int:
        """Return the store's clock, ms since 1970, never going backwards in one process."""

    def new_id() -> int:
        """Return a fresh id (see mail.ids), above every id used before."""

    def body() -> IBodyWriter:
        """-> IBodyWriter"""

    def accept(
        message: Message, body: IBodyWriter | bytes, deliveries: Sequence[NewDelivery], local: Sequence[LocalDelivery]
    ) -> Deferred[int]:
        """Take responsibility -> Deferred[int], the message id.

        ``message`` Message, ``body`` IBodyWriter or bytes, ``deliveries`` [NewDelivery], ``local`` [LocalDelivery].
        The body is durable first, then ONE unit of work for all rows.  A local delivery over its
        quota, or whose mailbox is gone, fails the whole with ReplyError 452 4.2.2 / 550 5.1.1 when it is the only
        recipient, else it becomes a deferred delivery with that reason.  Fails with ReplyError; then nothing is
        kept.
        """

    def due(limit: int) -> Deferred[list[tuple[int, int]]]:
        """-> Deferred[list[(dest_id, next_due)]] of destinations with work due, not paused and not dead, most overdue first."""

    def next_due() -> Deferred[int | None]:
        """-> Deferred[int | None]: when the earliest destination comes due, ms; None when nothing waits."""

    def lease(wants: Sequence[tuple[int, int]]) -> Deferred[list[Leased]]:
        """``wants`` [(dest_id, n)] -> Deferred[list[Leased]].  Attempts and crashes are counted before the attempt."""

    def settle(outcomes: Sequence[Outcome], reports: Sequence[Report]) -> Deferred[Settled]:
        """Record what attempts came to -> Deferred[Settled].

        ``outcomes`` [Outcome], ``reports`` [Report].  One unit of work: rows, counters, history, attempts,
        transcripts, mailbox rows, and each report's message (its body durable before).
        """

    def destination_failed(dest_id: int, until: int, outcome: Outcome) -> Deferred[int]:
        """Mark a destination dead until ``until`` (ms) after a connection fault -> Deferred[int] the failure streak."""

    def destination_ok(dest_id: int) -> Deferred[None]:
        """A connection to the destination worked: forget its failure streak -> Deferred[None]."""

    def open_body(blob_id: int) -> Deferred[IBodyReader]:
        """-> Deferred[IBodyReader] over the content alone (no trace fields)."""

    def wake(callback: Callable[[], None]) -> None:
        """Have ``callback()`` called in the reactor thread whenever work may have come due (accept, retry, release)."""


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
        """-> Deferred[row | None] of job/1."""

    def jobs() -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of job/1, newest first."""

    def wait(number: int) -> Deferred[Row]:
        """-> Deferred[row] of job/1 that fires when the job has ended."""

    def cancel(job: int) -> Deferred[bool]:
        """Stop a running job after its present slice -> Deferred[bool], False when it had ended."""

    def undo(job: int, actor: str) -> Deferred[int]:
        """Start the job that takes ``job`` back, on the ids it acted on -> Deferred[int]; fails with StoreError."""

    def set_destination(key: str, rev: int, **policy: Any) -> Deferred[int]:
        """Set paused pause_note pause_by pause_until max_conn max_rate of a destination -> Deferred[int], the new rev.

        Compare-and-set on ``rev``; fails with StoreError when it is another's.
        """

    def destinations() -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of destination/1."""


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
    """Domains, mailboxes, aliases: looked up through a cache that every change, on any node, invalidates.

    Changes fail with StoreError, whose text is fit to be shown.
    """

    def resolve(address: Address) -> Deferred[Resolution]:
        """-> Deferred[Resolution] of a mail.address.Address; fired already when cached."""

    def is_local(domain: str) -> Deferred[bool]:
        """-> Deferred[bool]: whether the domain is one of ours."""

    def domains() -> Deferred[list[Row]]:
        """-> Deferred[list[{"domain", "mailboxes", "aliases"}]]"""

    def aliases() -> Deferred[list[Row]]:
        """-> Deferred[list[{"address", "targets"}]]"""

    def add_domain(name: str) -> Deferred[None]:
        "-> Deferred[None]"

    def delete_domain(name: str) -> Deferred[None]:
        "-> Deferred[None]; refused while it holds mailboxes or aliases"

    def create_mailbox(address: str, quota_bytes: int = 0) -> Deferred[int]:
        "-> Deferred[int], its id; its domain must be ours"

    def delete_mailbox(address: str) -> Deferred[int]:
        "-> Deferred[int], how many mails went with it"

    def add_alias(address: str, target: str) -> Deferred[None]:
        "-> Deferred[None]"

    def delete_alias(address: str, target: str | None = None) -> Deferred[int]:
        "-> Deferred[int], how many rows; None: all of them"


class IAccountRows(Interface):
    """The store's rows about accounts; the accounts room makes and checks what is in them."""

    def get(name: str) -> Deferred[AccountRow | None]:
        "-> Deferred[AccountRow | None]"

    def all() -> Deferred[list[AccountRow]]:
        "-> Deferred[list[AccountRow]], by name"

    def create(row: AccountRow) -> Deferred[None]:
        "-> Deferred[None]; StoreError when the name is taken"

    def update(name: str, **columns: Any) -> Deferred[bool]:
        "-> Deferred[bool]: hash scram role flags; False when there is no such account"

    def delete(name: str) -> Deferred[bool]:
        "-> Deferred[bool]"

    def seen(name: str, source: str, ok: bool) -> Deferred[None]:
        "Record a login that worked (last_at, last_from, fails=0) or failed (fails+1) -> Deferred[None]"


class IAccounts(Interface):
    """Accounts as the console's user verbs see them.  Changes fail with AccountError, whose text is fit to be shown."""

    def users() -> Deferred[list[Row]]:
        "-> Deferred[list[row]]: name role content last_at last_from fails"

    def add(name: str, password: str, role: str) -> Deferred[None]:
        "-> Deferred[None]; hashing is off the reactor"

    def set_password(name: str, password: str) -> Deferred[None]:
        "-> Deferred[None]"

    def set_role(name: str, role: str) -> Deferred[None]:
        "-> Deferred[None]"

    def delete(name: str) -> Deferred[None]:
        "-> Deferred[None]; the last admin stays"

    def verify(name: str, password: str) -> Deferred[bool]:
        "-> Deferred[bool]: for enable; the same time whether the name exists or not"


class ICounters(Interface):
    """Throttles and rate windows: add and test in one call; shared by all nodes on PostgreSQL."""

    def fail(realm: int, key: str, lock_after: int, window_ms: int, lock_ms: int) -> Deferred[tuple[int, int]]:
        """Count a failure -> Deferred[(fails in the window, locked until ms or 0)]."""

    def locked(realm: int, key: str) -> Deferred[int]:
        """-> Deferred[int]: locked until (ms), 0 when not."""

    def clear(realm: int, key: str) -> Deferred[None]:
        """Forget the failures -> Deferred[None]."""


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


class ISite(Interface):
    """The committed site configuration, kept in the store."""

    current = Attribute("config.SiteSettings, always the newest committed; frozen")
    rev = Attribute("its revision, int")

    def watch(callback: Callable[[SiteSettings], None]) -> None:
        """Have ``callback(settings)`` called in the reactor thread after each change."""

    def export() -> Deferred[str]:
        """-> Deferred[str]: the whole site as TOML, domains, mailboxes and aliases included."""


class IRouting(Interface):
    """Where mail for elsewhere goes."""

    def route(domain: str) -> Hop:
        """-> mail.message.Hop for a domain that is not local.  Never fails: no rule is a rule too (``mx``)."""


class ISessions(Interface):
    """The live registry of sessions."""

    def open(kind: str, peer: str, **facts: Any) -> ISessionEntry:
        """Register a session -> ISessionEntry.  ``kind``: smtp-in smtp-out console."""

    def rows() -> list[Row]:
        """-> list of session/1 rows, oldest first."""

    def count(kind: str | None = None, peer: str | None = None) -> int:
        """-> int: how many are open."""


class ISessionEntry(Interface):
    """One registered session; whoever opened it keeps it true.  Cheap to write: plain attributes."""

    id = Attribute("S and a number")
    state = Attribute("str: a word for where the dialogue is; setting it stamps the time")
    user = Attribute("str or ''")
    helo = Attribute("str or ''")
    tls = Attribute("str or ''")
    domain = Attribute("str or '': destination of an outgoing session")
    commands = Attribute("int")
    messages = Attribute("int")
    octets = Attribute("int: received from the peer")
    kick = Attribute("callable ending the session, or None")

    def close() -> None:
        "Take it out of the registry; safe any number of times"


class IEvents(Interface):
    """What happens, as the logbook tells it."""

    def follow(callback: Callable[[Mapping[str, Any]], None]) -> Callable[[], None]:
        """Have ``callback(event: dict)`` called for each logged event -> callable that ends it."""


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


class IPolicy(Interface):
    """May this mail come in."""

    name = Attribute("str")
    stages = Attribute("frozenset of the stages it has an opinion at: connect helo mail rcpt content")

    def check(stage: str, session: SessionFacts, envelope: Envelope) -> Deferred[Verdict]:
        """-> Deferred[Verdict].  ``stage``: connect helo mail rcpt content.

        ``session`` SessionFacts, ``envelope`` Envelope; at rcpt its last recipient is the one asked about.
        """


class IHouse(Interface):
    """All that a protocol plugin is given."""

    mailbox_service = Attribute("IMailboxService")
    portal = Attribute("twisted.cred Portal: IUsernamePassword -> IOperator")
    console = Attribute("IConsole")
    counters = Attribute("ICounters")
    sessions = Attribute("ISessions")
    logbook = Attribute("netsvc.logbook.Logbook")
    clock = Attribute("the reactor: IReactorTime and more")
    hostname = Attribute("str")


class IOperator(Interface):
    """The avatar of somebody who may use the console."""

    name = Attribute("str")
    role = Attribute("viewer, operator or admin: what the account may become")
    content = Attribute("bool: may read headers and bodies")
    last_at = Attribute("ms since 1970 of the last access before this one, 0 for none")
    last_from = Attribute("str: where from, or ''")
    fails = Attribute("int: failed attempts since then")
    enabled = Attribute("bool: stands enabled from the start, no password asked (the control socket)")


class ILoginSource(Interface):
    """Credentials that say where they come from, so that failures are counted and the access is remembered."""

    source = Attribute("str: IP address of whoever logs in")


class IProtocolMaker(Interface):
    """A drop-in in netsvc/plugins: twisted.plugin.getPlugins(IProtocolMaker, netsvc.plugins)."""

    name = Attribute("the word in [listeners.X] protocol = …")
    default_endpoint = Attribute("an endpoint string")
    settings = Attribute("tuple of commands.Setting: its listener keys")

    def make(house: IHouse, settings: Mapping[str, Any]) -> IProtocolFactory:
        """-> twisted IProtocolFactory.  ``settings``: {key: checked value}, every key of ``self.settings`` present,
        and ``listener``, the listener's name.  Raises ValueError with a message fit to be shown.

        A factory may have ``stop()`` -> Deferred, called after its port is closed: end the sessions.
        """


class IConsole(Interface):
    """The console without a terminal: telnet, ssh, HTTP, ctl all stand on it."""

    def open(operator: IOperator, source: str) -> IConsoleSession:
        """-> IConsoleSession for an IOperator; ``source`` says where from (``telnet 127.0.0.1``, ``socket uid 0``)."""


class IConsoleSession(Interface):
    """One operator's dialogue, independent of any terminal."""

    prompt = Attribute("str: mx1> or mx1#")
    ended = Attribute("bool: the operator has left (exit)")
    operator = Attribute("IOperator")
    end = Attribute("mapping or None: the machine-mode end object of the last execute, with its err object as ``err``")
    page_length = Attribute("int or None: rows of a page as ``terminal length`` set it; 0: no pager; None: as the terminal")
    page_width = Attribute("int or None: columns as ``terminal width`` set them; None: as the terminal")
    machine = Attribute("bool: ``terminal machine`` was typed; the next line is read in machine mode")

    def greeting() -> Deferred[str]:
        """-> Deferred[str]: what is shown after login, LF between lines."""

    def run(line: str) -> Deferred[Result]:
        """Run one command -> Deferred[Result(rows, schema, end)]; never asks: what needs a confirmation says E303."""

    def execute(line: str, terminal: ITerminal) -> Deferred[None]:
        """Run one command for a person -> Deferred[None]; all it says goes to ``terminal`` (ITerminal)."""

    def execute_machine(line: str, write: Callable[[Mapping[str, Any]], Deferred[None] | None]) -> Deferred[None]:
        """Run one command in machine mode -> Deferred[None]; ``write(dict)`` gets each object and may return a Deferred."""

    def hello() -> Mapping[str, Any]:
        """-> dict: the machine-mode hello object's content."""

    def complete(line: str) -> Completion:
        """-> commands.Completion for the text left of the cursor: candidates, and what Tab inserts."""

    def help(line: str) -> str:
        """-> str: what ``?`` shows for the text left of the cursor, LF between lines."""

    def is_secret(line: str) -> bool:
        """-> bool: whether the line holds something history must not keep."""

    def close() -> None:
        """The operator is gone: cancel what runs, lapse enable, audit the end."""


class ITerminal(Interface):
    """A person's terminal as the console sees it."""

    width = Attribute("int: columns")
    height = Attribute("int: rows")
    interactive = Attribute("bool: somebody can answer questions")

    def write(text: str) -> Deferred[None] | None:
        """Show ``text`` (already safe, LF between lines) -> Deferred or None: back-pressure."""

    def ask(question: str, secret: bool = False) -> Deferred[str | None]:
        """Ask for one line -> Deferred[str | None]; None: cancelled, gone or nobody there."""

    def progress(text: str) -> None:
        """Show a passing line (may be dropped)."""
