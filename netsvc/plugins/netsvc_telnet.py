"""The drop-in that brings the protocol ``telnet``, the console's; the door is imported when a listener needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from netsvc.commands import Setting
from netsvc.interfaces import IProtocolMaker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.interfaces import IProtocolFactory

    from netsvc.interfaces import IHouse

_MINUTE = 60_000


@implementer(IPlugin, IProtocolMaker)
class TelnetMaker:
    """Makes console listeners (RFC 854)."""

    name = "telnet"
    default_endpoint = "tcp:23:interface=127.0.0.1"
    settings = (
        Setting(
            "tls",
            "choice",
            "none",
            choices=("none", "implicit"),
            help="TLS: none, or from the first octet on (telnets, port 992)",
        ),
        Setting(
            "allow_cleartext_from",
            "list",
            (),
            help="networks that may connect in clear text to a listener that is not on loopback",
        ),
        Setting(
            "login_timeout",
            "duration",
            _MINUTE,
            unit="ms",
            low=1000,
            high=10 * _MINUTE,
            help="how long a client may take to log in",
        ),
        Setting(
            "idle_timeout",
            "duration",
            10 * _MINUTE,
            unit="ms",
            low=_MINUTE,
            high=12 * 60 * _MINUTE,
            help="how long a session may be silent; 15 minutes at most by PCI DSS 8.2.8",
        ),
        Setting("max_sessions", "int", 64, low=1, high=10_000, help="operators logged in at a time"),
        Setting("max_sessions_a_user", "int", 8, low=1, high=10_000, help="sessions of one operator at a time"),
    )

    def make(self, house: IHouse, settings: Mapping[str, Any]) -> IProtocolFactory:
        """Return the factory of one listener."""
        from netsvc.console.telnet import (  # noqa: PLC0415 - drop-ins are light: every scan imports them
            TelnetFactory,
            TelnetListenerSettings,
        )

        own = TelnetListenerSettings(
            listener=settings["listener"],
            allow_cleartext_from=tuple(settings["allow_cleartext_from"]),
            encrypted=settings["tls"] == "implicit",
            login_timeout=settings["login_timeout"] / 1000,  # the door counts seconds
            idle_timeout=settings["idle_timeout"] / 1000,
            sessions=settings["max_sessions"],
            sessions_a_user=settings["max_sessions_a_user"],
        )
        factory = TelnetFactory(house, own)
        if settings["tls"] == "none":
            return factory
        from netsvc.console.encrypted import Encrypted  # noqa: PLC0415 - as above

        return Encrypted(factory, house)


telnet = TelnetMaker()
