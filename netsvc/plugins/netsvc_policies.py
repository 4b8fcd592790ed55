"""The drop-ins of the policies that come with netsvc; each is imported when it is on."""

from __future__ import annotations

from netsvc.commands import Setting
from netsvc.policymaker import PolicyMaker

_MOST = 1 << 50


def _figure(name: str, usual: int, text: str) -> Setting:
    return Setting(name, "int", usual, high=_MOST, help=f"{text}; 0: no limit")


def _octets(name: str, usual: int, text: str) -> Setting:
    return Setting(name, "size", usual, unit="octets", high=_MOST, help=f"{text}; 0: no limit")


limits = PolicyMaker(
    "limits",
    ("connect", "mail", "rcpt"),
    "netsvc.policy.limits:Limits",
    settings=(
        _figure("connections", 50, "sessions at a time of one address, on one node"),
        _figure("connections_network", 200, "sessions at a time of one network (/24, /64), on one node"),
        _figure("connection_rate", 300, "connections a minute of one address"),
        _figure("connection_rate_network", 1200, "connections a minute of one network"),
        _figure("messages", 20_000, "messages an hour from one address"),
        _figure("messages_network", 100_000, "messages an hour from one network"),
        _figure("messages_user", 2000, "messages an hour of one authenticated user"),
        _figure("messages_domain", 0, "messages an hour with senders of one domain"),
        _figure("recipients", 100_000, "recipients an hour from one address"),
        _figure("recipients_network", 500_000, "recipients an hour from one network"),
        _figure("recipients_user", 10_000, "recipients an hour of one authenticated user"),
        _figure("recipients_domain", 0, "recipients an hour of senders of one domain"),
        _octets("octets", 50 << 30, "content an hour from one address"),
        _octets("octets_network", 200 << 30, "content an hour from one network"),
        _octets("octets_user", 10 << 30, "content an hour of one authenticated user"),
        _octets("octets_domain", 0, "content an hour of senders of one domain"),
        _figure("unknown", 20, "unknown recipients after which a session is ended at its next one"),
        _figure("unknown_hourly", 500, "unknown recipients an hour after which an address is refused"),
        _figure("unknown_slow", 10, "unknown recipients of a session after which answers are held back"),
        Setting("unknown_delay", "duration", 1000, unit="ms", help="what the delay grows by with each further one"),
        Setting("unknown_delay_max", "duration", 15_000, unit="ms", high=60_000, help="the longest such delay"),
        Setting("exempt_loopback", "bool", True, help="whether clients on this host have no limits"),
    ),
    usual=True,
    order=100,
    help="how much one client, network, user or sender's domain may take; those in limits_exempt have no limits",
)

tarpit = PolicyMaker(
    "tarpit",
    ("helo", "mail", "rcpt"),
    "netsvc.policy.tarpit:Tarpit",
    settings=(
        Setting("after", "int", 3, low=1, high=1000, help="refusals of a session after which answers are held back"),
        Setting("step", "duration", 1000, unit="ms", high=60_000, help="what the delay grows by with each refusal"),
        Setting("max_delay", "duration", 20_000, unit="ms", high=60_000, help="the longest delay"),
        Setting("max_held", "int", 200, high=1000, help="answers held back at a time; the others are given at once"),
        Setting("max_held_client", "int", 5, low=1, high=1000, help="answers held back at a time of one address"),
    ),
    order=110,
    help="holds back answers to a client that was refused often",
)

recipient = PolicyMaker(
    "recipient",
    ("rcpt",),
    "netsvc.policy.relay:recipient_rule",
    usual=True,
    order=900,
    needed=True,
    help="takes mail for recipients we know and relays for whom the site says; without it no mail is taken",
)
