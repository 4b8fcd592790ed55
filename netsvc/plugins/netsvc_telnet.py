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


@implementer(IPlugin, IProtocolMaker)
class TelnetMaker:
    """Makes console listeners (RFC 854)."""

    name = "telnet"
    default_endpoint = "tcp:23:interface=127.0.0.1"
    settings = (
        Setting(
            "allow_cleartext_from",
            "list",
            (),
            help="networks that may connect in clear text to a listener that is not on loopback",
        ),
    )

    def make(self, house: IHouse, settings: Mapping[str, Any]) -> IProtocolFactory:
        """Return the factory of one listener."""
        from netsvc.console.telnet import TelnetFactory  # noqa: PLC0415 - drop-ins are light: every scan imports them

        factory: IProtocolFactory = TelnetFactory(house, settings)
        return factory


telnet = TelnetMaker()
