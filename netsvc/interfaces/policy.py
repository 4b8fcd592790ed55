"""What policies promise and what they are given: verdicts, the resolver, a message's content before it is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred

    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.records import Found, Row, Verdict


class IPolicy(Interface):
    """May this mail come in."""

    name = Attribute("str: the word in [site.policies.NAME]")
    stages = Attribute(
        "the stages it has an opinion at, a tuple or set of: connect helo mail rcpt content; looked at anew after each "
        "configure: where it has nothing to do as it is set, it leaves a stage out, and is not asked there"
    )

    def configure(values: Mapping[str, Any]) -> None:
        """Take the site's settings for it: ``values`` {key: checked value}, every key of its settings present.

        Called in the reactor's thread before the first ``check`` and after each change of them, while it is on.
        Raises ValueError with a message fit to be shown, which begins with ``KEY: `` where one key is at fault; then it
        goes on with the values it had.  One made on ground where nothing works is asked the same before the site takes
        settings, so this opens, asks and starts nothing.
        """

    def check(stage: str, session: SessionFacts, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """-> Deferred[Verdict], or, which costs least, the Verdict itself where the answer is known at once.

        ``stage``: connect helo mail rcpt content; ``session`` SessionFacts, ``envelope`` Envelope; at rcpt its last
        recipient is the one asked about, at content its ``content`` is an IContent.  It may fail, or be cancelled when
        its deadline has passed: then it is skipped, or the mail is deferred, as the site says.
        """


class IPolicyMaker(Interface):
    """A drop-in in netsvc/plugins: twisted.plugin.getPlugins(IPolicyMaker, netsvc.plugins).  It is light to import.

    ``netsvc.policymaker.PolicyMaker`` is one as a value; what it says of ``needed`` may be missing in others.
    """

    name = Attribute("str: the word in [site.policies.NAME]")
    stages = Attribute("tuple of the stages it has an opinion at: connect helo mail rcpt content")
    settings = Attribute("tuple of commands.Setting: its keys in [site.policies.NAME]")
    usual = Attribute("bool: whether it is on where the site says nothing")
    order = Attribute("int: lower ones are asked first at a stage; the site may say another (key ``order``)")
    deadline = Attribute("int: ms a check may take where the site says nothing (key ``deadline``)")
    help = Attribute("str: one sentence, what it does")

    def make(ground: IPolicyGround) -> IPolicy:
        """-> IPolicy, a new one each time.  Raises ValueError with a message fit to be shown.

        Called when it is first on, and, on ground where nothing is, when settings are tried (see IPolicy.configure).
        """


class IPolicyGround(Interface):
    """All that a policy is given."""

    resolver = Attribute("IResolver")
    counters = Attribute("ICounters: windows and lists, shared by the nodes")
    directory = Attribute("IDirectory")
    site = Attribute("ISite")
    sessions = Attribute("ISessions")
    logbook = Attribute("netsvc.logbook.Logbook")
    clock = Attribute("the reactor: IReactorTime, endpoints, threads")
    hostname = Attribute("our name, str")


class IWitness(Interface):
    """A policy that is told what became of mail.  Nothing it raises is heeded, and nothing waits for it."""

    def unknown(session: SessionFacts) -> None:
        """A recipient of the session was refused as unknown."""

    def accepted(session: SessionFacts, domain: str, size: int) -> None:
        """A message of ``size`` octets, whose sender's domain is ``domain``, was accepted of the session."""


class IPolicies(IWitness):
    """The gate: every policy that is on, asked stage by stage, each within its deadline and behind its breaker.

    What it is told as a witness it tells the policies that are witnesses.
    """

    stages = Attribute("frozenset of the stages at which any policy is on; at others there is nothing to ask")

    def ask(stage: str, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """-> Verdict, or, where it takes time, a Deferred of it that never fails.

        The first accept, reject or defer wins; a hold, and the tags, headers and delays of all that were asked, are
        added to it.  The answer comes when its delay is over.  ``Verdict.by`` names the policy that decided.
        """

    def rows() -> list[Row]:
        """-> list of policy/1 rows, in the order they are asked."""

    def fault(name: str) -> str:
        """Return why a policy that is on does not follow what the site says of it; "" where it does."""

    def objection(name: str, said: Mapping[str, Any]) -> str:
        """Return why the site must not say ``said`` of the policy ``name``, in the policy's words; "" where it may.

        ``said`` is what SiteSettings.policies would have of it.
        """

    def settings(name: str) -> list[Row] | None:
        """-> list of policy.setting/1 rows of the policy ``name``, None when there is none of that name."""

    def typed(name: str, key: str, text: str) -> Any:
        """Return the value of ``key`` of the policy ``name`` as SiteSettings keeps it, from what an operator typed.

        Raises ValueError with a message fit to be shown, and LookupError where there is no such policy.
        """

    def limits() -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of limit/1: who holds what of the limits policies keep, the nearest to its limit first."""

    def clear_limit(name: str, key: str) -> Deferred[int]:
        """Forget what ``key`` holds of the limit ``name`` -> Deferred[int], how many counts were forgotten.

        Fails with LookupError where there is no limit of that name.
        """


class ILimits(Interface):
    """A policy that also counts: what it knows is shown, and can be cleared."""

    names = Attribute("tuple of str: the limits it keeps, each with the policy's name before it: limits.messages …")

    def holders() -> Deferred[list[Row]]:
        """-> Deferred[list[row]] of limit/1, at most 100 a limit."""

    def clear(name: str, key: str) -> Deferred[int]:
        """Forget what ``key`` holds of the limit ``name`` -> Deferred[int]: 1 when it held something, else 0."""


class IContent(Interface):
    """A message's content, whole but not yet taken, as policies at the stage content see it (CRLF lines)."""

    id = Attribute("the queue id, int")
    size = Attribute("octets of content")
    header = Attribute("bytes of the header section with CRLF line ends, without the empty line; at most 1 MiB")

    def read(offset: int, length: int) -> Deferred[bytes]:
        """-> Deferred[bytes] of at most ``length`` (256 KiB at most) octets from ``offset``; b"" at the end."""


class IResolver(Interface):
    """Names looked up: cached by their TTL within bounds, with a deadline, never blocking.

    Each fails with NameNotFoundError (no such name, or no such record), NameTemporaryError (no answer in time,
    SERVFAIL).  Names are str, ASCII; a trailing dot is allowed.
    """

    def a(name: str) -> Deferred[list[str]]:
        """-> Deferred[list[str]]: IPv4 addresses."""

    def aaaa(name: str) -> Deferred[list[str]]:
        """-> Deferred[list[str]]: IPv6 addresses."""

    def ptr(ip: str) -> Deferred[list[str]]:
        """-> Deferred[list[str]]: lower-case names of the address ``ip`` (text), without a trailing dot."""

    def txt(name: str) -> Deferred[list[bytes]]:
        """-> Deferred[list[bytes]]: each record's strings, joined."""

    def mx(name: str) -> Deferred[list[tuple[int, str]]]:
        """-> Deferred[list[(preference, lower-case name without a trailing dot)]], unsorted; null MX has the name ""."""

    def tlsa(name: str) -> Deferred[list[tuple[int, int, int, bytes]]]:
        """-> Deferred[list[(usage, selector, matching type, data)]] (RFC 6698 2.1)."""

    def look(kind: str, name: str) -> Deferred[Found]:
        """Look up ``kind`` (a aaaa mx txt tlsa) of ``name`` for mail that goes out -> Deferred[records.Found].

        As the others, and it tells whether the answer was validated; it has room that questions for mail that comes in
        never take.
        """

    def status() -> Row:
        """-> a dns/1 row: the servers and the counts."""

    def rows(name: str = "") -> list[Row]:
        """-> list of dns.cache/1 rows: what is remembered, of ``name`` alone where it is given."""

    def flush(name: str = "") -> int:
        """Forget what is remembered of ``name``, all for "" -> how many answers that were."""
