"""The drop-ins of the checks of guests: all off until a site turns them on."""

from __future__ import annotations

from netsvc.commands import Setting
from netsvc.policymaker import PolicyMaker

_SECOND = 1000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_ACTIONS = ("off", "tag", "defer", "reject")

_EXEMPT = Setting("exempt", "list", (), help="networks whose clients are not checked, beside those of relay_from")


def _finding(name: str, default: str, finding: str) -> Setting:
    return Setting(name, "choice", default, choices=_ACTIONS, help=f"what to do where {finding}")


pregreet = PolicyMaker(
    "pregreet",
    ("connect",),
    "netsvc.policy.pregreet:PreGreet",
    settings=(
        Setting("wait", "duration", 6 * _SECOND, unit="ms", high=_MINUTE,
                help="how long a guest waits for the greeting"),
        Setting("remember", "duration", _DAY, unit="ms", low=_SECOND, high=60 * _DAY,
                help="how long a client that has waited is greeted at once"),
        Setting("action", "choice", "reject", choices=("tag", "reject"),
                help="what to do with who talks before the greeting: send it away, or tag its mail early-talker"),
        _EXEMPT,
    ),
    order=290,
    deadline=70 * _SECOND,
    help="holds the greeting back and finds clients that talk before it, as mail servers never do",
)  # fmt: skip

dnsbl = PolicyMaker(
    "dnsbl",
    ("connect", "rcpt"),
    "netsvc.policy.dnsbl:DnsLists",
    settings=(
        Setting("lists", "list", (),
                help="DNS lists as [NAME:]ZONE[=FILTER][*WEIGHT], such as zen.example.org=127.0.0.[2..11]*3; "
                "a negative weight is for lists of good clients"),
        Setting("threshold", "int", 1, low=1, high=100_000, help="the sum of weights from which a client is listed"),
        Setting("action", "choice", "reject", choices=_ACTIONS[1:], help="what to do with mail of a listed client"),
        Setting("tag_at", "int", 0, high=100_000,
                help="the sum of weights from which mail is tagged dnsbl; 0: threshold"),
        Setting("patience", "duration", 3 * _SECOND, unit="ms", low=100, high=10 * _SECOND,
                help="how long a list may take; then it counts nothing"),
        _EXEMPT,
    ),
    order=220,
    deadline=30 * _SECOND,
    help="asks DNS lists about clients and weighs what they say; decides at RCPT, never for postmaster",
)  # fmt: skip

reverse_dns = PolicyMaker(
    "reverse_dns",
    ("connect", "rcpt"),
    "netsvc.policy.reversedns:ReverseDns",
    settings=(
        _finding("unnamed", "tag", "the client's address has no name"),
        _finding("unconfirmed", "tag", "the name of the client's address does not lead back to it"),
        _finding("unknown", "off", "that cannot be looked up now"),
        _EXEMPT,
    ),
    order=230,
    deadline=25 * _SECOND,
    help="looks up the name of the client's address, for Received, and whether it leads back to the address",
)

helo = PolicyMaker(
    "helo",
    ("helo", "rcpt"),
    "netsvc.policy.helo:HeloNames",
    settings=(
        _finding("syntax", "reject", "the HELO name is neither a host name nor an address literal"),
        _finding("own_name", "reject", "a guest calls itself by a name or an address of ours"),
        _finding("bare", "tag", "the name is not fully qualified"),
        _finding("literal", "tag", "an address literal is not the client's address"),
        _finding("unresolvable", "off", "the name has no address and no mail exchanger in the DNS"),
        _EXEMPT,
    ),
    order=240,
    deadline=25 * _SECOND,
    help="looks at what guests call themselves at HELO or EHLO; decides at RCPT, never for postmaster",
)

greylist = PolicyMaker(
    "greylist",
    ("rcpt",),
    "netsvc.policy.greylist:Greylist",
    settings=(
        Setting("delay", "duration", 5 * _MINUTE, unit="ms", low=100, high=12 * _HOUR,
                help="how long a new client network, sender and recipient have to wait"),
        Setting("window", "duration", 2 * _DAY, unit="ms", low=_SECOND, high=30 * _DAY,
                help="within which they have to come again"),
        Setting("keep", "duration", 36 * _DAY, unit="ms", low=_MINUTE, high=400 * _DAY,
                help="how long they are known after they last came"),
        Setting("passes", "int", 5, high=1_000_000,
                help="how many senders and recipients let through make a whole network known; 0: none do"),
        Setting("network_v4", "int", 24, low=8, high=32, help="prefix length of a client network, IPv4"),
        Setting("network_v6", "int", 64, low=16, high=128, help="prefix length of a client network, IPv6"),
        Setting("spf", "choice", "off", choices=("off", "domain", "exempt"),
                help="where SPF says pass: nothing, the sender's domain stands for the network, or no greylisting"),
        _EXEMPT,
    ),
    order=300,
    deadline=25 * _SECOND,
    help="asks clients that bring a sender and recipient for the first time to come again, as mail servers do",
)  # fmt: skip
