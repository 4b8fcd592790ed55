"""What a plugin is handed: the house, sessions, events, protocol makers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.interfaces import IProtocolFactory

    from netsvc.records import Row


class ISessions(Interface):
    """The live registry of sessions."""

    def open(kind: str, peer: str, **facts: Any) -> ISessionEntry:
        """Register a session -> ISessionEntry.  ``kind``: smtp-in smtp-out console."""

    def rows() -> list[Row]:
        """-> list of session/1 rows, oldest first."""

    def count(kind: str | None = None, peer: str | None = None) -> int:
        """-> int: how many are open."""

    def count_network(peer: str) -> int:
        """-> int: how many smtp-in sessions are open from the network (/24, /64) of the address ``peer``."""

    def crowds(limit: int) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """-> ([(address, n)], [(network, n)]): who has most smtp-in sessions open."""

    recorder = Attribute("netsvc.flightrecorder.FlightRecorder: what was said in the last minutes")

    def entries() -> Sequence[ISessionEntry]:
        """-> the open sessions (ISessionEntry), oldest first."""

    def find(name: str) -> ISessionEntry | None:
        """-> the session called ``name`` (S12), also one that has ended and is remembered; None for none."""


class ISessionEntry(Interface):
    """One registered session; whoever opened it keeps it true.  Cheap to write: plain attributes."""

    id = Attribute("S and a number")
    number = Attribute("int: that number")
    kind = Attribute("str: smtp-in smtp-out console")
    peer = Attribute("str: the other side's IP address")
    state = Attribute("str: a word for where the dialogue is; setting it stamps the time")
    user = Attribute("str or ''")
    helo = Attribute("str or ''")
    tls = Attribute("str or ''")
    domain = Attribute("str or '': destination of an outgoing session")
    commands = Attribute("int")
    messages = Attribute("int")
    octets = Attribute("int: received from the peer")
    port = Attribute("int: the peer's port, 0 for none")
    listener = Attribute("str or ''")
    why = Attribute("str: why the session ended, set before close")
    kick = Attribute(
        "callable(reason='') ending the session, or None; False: only after an answer that must come first"
    )
    transaction = Attribute(
        "callable -> (sender, recipients, octets of content) or None: the transaction under way; or None"
    )

    def row(now: int, node: str) -> Row:
        """-> a session/1 row at ``now``, ms since 1970."""

    def recipients() -> list[str]:
        """-> the recipients of the transaction under way, the first hundred, safe to show."""

    def keep(heard: bytes, said: bytes, content: int = 0) -> None:
        """Record command lines (CR LF between them), replies as they left, and the octets of a content that ended.

        Neither content nor secrets are handed in.
        """

    def keep_lines(lines: tuple[tuple[str, str], ...]) -> None:
        """Record (direction, safe text) pairs; direction: < from the peer, > from us, - it happened."""

    def move(peer: str, port: int) -> None:
        "Be the session of another peer: the one it turned out to be"

    def close() -> None:
        "Take it out of the registry; safe any number of times"


class IEvents(Interface):
    """What happens, as the logbook tells it."""

    def follow(callback: Callable[[Mapping[str, Any]], None]) -> Callable[[], None]:
        """Have ``callback(event: dict)`` called for each logged event -> callable that ends it."""


class IHouse(Interface):
    """All that a protocol plugin is given."""

    mailbox_service = Attribute("IMailboxService")
    portal = Attribute(
        "twisted.cred Portal: IUsernamePassword -> IOperator, or ISubmitter for IMailLogin and IScramLogin"
    )
    tls = Attribute("ICertificates: for transport.startTLS and wrapServerTLS")
    verifiers = Attribute("IVerifiers for SCRAM, None where accounts are not in the store")
    console = Attribute("IConsole")
    counters = Attribute("ICounters")
    sessions = Attribute("ISessions")
    slots = Attribute("ISlots: room for sessions of all SMTP listeners together")
    logbook = Attribute("netsvc.logbook.Logbook")
    clock = Attribute("the reactor: IReactorTime and more")
    hostname = Attribute("str")


class IProtocolMaker(Interface):
    """A drop-in in netsvc/plugins: twisted.plugin.getPlugins(IProtocolMaker, netsvc.plugins)."""

    name = Attribute("the word in [listeners.X] protocol = …")
    default_endpoint = Attribute("an endpoint string")
    settings = Attribute("tuple of commands.Setting: its listener keys")

    def make(house: IHouse, settings: Mapping[str, Any]) -> IProtocolFactory:
        """-> twisted IProtocolFactory.  ``settings``: {key: checked value}, every key of ``self.settings`` present,
        and ``listener``, the listener's name.  Raises ValueError with a message fit to be shown.

        A factory may have ``stop()`` -> Deferred, called after its port is closed: end the sessions.  It may have
        ``turn_away(rule, host)`` -> IProtocol or None, to tell who is kept out by a records.DoorRule;
        ``for_operators`` True: blocks are not for it.
        """
