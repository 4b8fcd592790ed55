"""The drop-in that brings the protocol ``smtp``; the door itself is imported when a listener needs it."""

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
_HOUR = 60 * _MINUTE


@implementer(IPlugin, IProtocolMaker)
class SmtpMaker:
    """Makes SMTP listeners (RFC 5321)."""

    name = "smtp"
    default_endpoint = "tcp:25"
    settings = (
        Setting(
            "service",
            "choice",
            "transfer",
            choices=("transfer", "submission", "lmtp"),
            help="what the listener is for: mail between servers, from users, or local delivery",
        ),
        Setting(
            "tls",
            "choice",
            "none",
            choices=("none", "starttls", "implicit"),
            help="TLS: none, after the command STARTTLS, or from the first octet on (port 465)",
        ),
        Setting(
            "auth",
            "choice",
            "usual",
            choices=("usual", "off", "optional", "required"),
            help="who may log in, or must before MAIL; usual: required on submission listeners, off on others",
        ),
        Setting(
            "allow_cleartext_auth",
            "bool",
            default=False,
            help="whether clients on this host may log in outside TLS; for a listener on loopback only",
        ),
        Setting(
            "bare_newline",
            "choice",
            "reject",
            choices=("reject", "normalize"),
            help="what to do with lines that end in LF alone: refuse the message, or read them as CR LF",
        ),
        Setting(
            "max_message_size",
            "size",
            50 << 20,
            unit="octets",
            low=64 << 10,
            help="the largest message taken; 64 KiB at least (RFC 5321 4.5.3.1.7)",
        ),
        Setting(
            "max_recipients",
            "int",
            1000,
            low=100,
            high=100_000,
            help="recipients of one transaction; 100 at least (RFC 5321 4.5.3.1.8)",
        ),
        Setting(
            "max_messages",
            "int",
            0,
            high=1_000_000,
            help="messages of one session, told to clients (RFC 9422); 0: no limit",
        ),
        Setting("max_errors", "int", 20, low=1, high=1000, help="refused commands after which a session is ended"),
        Setting(
            "max_connections",
            "int",
            0,
            high=1_000_000,
            help="sessions at a time on this listener; 0: what all SMTP listeners share, open files less 200",
        ),
        Setting(
            "command_timeout",
            "duration",
            5 * _MINUTE,
            unit="ms",
            low=1000,
            high=_HOUR,
            help="how long a whole command may take; 5 minutes by RFC 5321 4.5.3.2.7",
        ),
        Setting(
            "data_timeout",
            "duration",
            _MINUTE,
            unit="ms",
            low=1000,
            high=_HOUR,
            help="how long content may come in by less than 500 octets a second",
        ),
        Setting(
            "proxy_from",
            "list",
            (),
            help="networks of proxies that say by the PROXY protocol, version 1 or 2, who the client is; they must",
        ),
        Setting(
            "xclient_from",
            "list",
            (),
            help="networks of test peers that may say by XCLIENT that they are somebody else",
        ),
        Setting(
            "grace",
            "duration",
            30_000,
            unit="ms",
            high=10 * _MINUTE,
            help="how long transactions under way may go on when the service stops",
        ),
    )

    def make(self, house: IHouse, settings: Mapping[str, Any]) -> IProtocolFactory:
        """Return the factory of one listener."""
        from netsvc.config.tls import auth_of  # noqa: PLC0415 - as below
        from netsvc.smtpd.factory import SmtpFactory  # noqa: PLC0415 - drop-ins are light: every scan imports them
        from netsvc.smtpd.guard import Locks  # noqa: PLC0415 - as above
        from netsvc.smtpd.listener import SmtpListenerSettings  # noqa: PLC0415 - as above

        chosen = dict(settings)
        for name in ("command_timeout", "data_timeout", "grace"):
            chosen[name] = settings[name] / 1000  # the door counts seconds
        chosen["auth"] = auth_of(settings)
        own = SmtpListenerSettings(hostname=house.hostname, **chosen)
        locks = Locks(house.tls, house.portal, house.verifiers, house.logbook, house.clock)
        factory: IProtocolFactory = SmtpFactory(
            house.mailbox_service, own, house.logbook, house.clock, house.slots, locks
        )
        return factory


smtp = SmtpMaker()
