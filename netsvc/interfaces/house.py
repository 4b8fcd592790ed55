"""What a plugin is handed: the house, sessions, events, protocol makers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
