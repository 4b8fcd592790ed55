"""The drop-ins of the checks of senders and content; each is imported when it is on."""

from __future__ import annotations

from netsvc.commands import Setting
from netsvc.policymaker import PolicyMaker

_ON_FAIL = ("off", "report", "tag", "hold", "reject")

authentication = PolicyMaker(
    "authentication",
    ("mail", "rcpt", "content"),
    "netsvc.policy.auth.policy:authentication",
    settings=(
        Setting("spf", "choice", "report", choices=_ON_FAIL, help="what is done with mail that SPF says is forged"),
        Setting(
            "dkim", "choice", "report", choices=_ON_FAIL, help="what is done with mail whose DKIM signatures all fail"
        ),
        Setting(
            "dmarc",
            "choice",
            "report",
            choices=("off", "report", "tag", "hold", "obey"),
            help="what is done with mail that fails DMARC; obey: what the domain in From asks for",
        ),
        Setting(
            "quarantine",
            "choice",
            "tag",
            choices=("tag", "hold", "reject"),
            help="what is done, under obey, where the domain asks for quarantine",
        ),
        Setting(
            "forged",
            "choice",
            "tag",
            choices=("report", "tag", "hold", "reject"),
            help="what is done with mail that brings an Authentication-Results field in our name",
        ),
        Setting("defer_unsure", "bool", default=False, help="whether mail waits where DNS does not answer"),
    ),
    order=600,
    deadline=20_000,
    help="checks SPF, DKIM and DMARC and tells of them in an Authentication-Results field",
)

milter = PolicyMaker(
    "milter",
    ("rcpt", "content"),
    "netsvc.policy.milter.policy:milters",
    settings=(
        Setting("filters", "list", (), help='filters asked in turn: "tcp:host:port" or "unix:/path"'),
        Setting("recipients", "bool", default=False, help="whether they are asked at RCPT too, once a recipient"),
        Setting(
            "discard",
            "choice",
            "hold",
            choices=("hold", "reject"),
            help="what is done with mail a filter wants discarded: what was acknowledged does not vanish",
        ),
        Setting(
            "timeout",
            "duration",
            10_000,
            unit="ms",
            low=100,
            high=300_000,
            help="how long one answer of a filter may take; a filter may ask for as long again",
        ),
        Setting("connections", "int", 20, low=1, high=1000, help="messages one filter is asked about at a time"),
        Setting("keep", "bool", default=True, help="whether connections to filters are used for more than one message"),
    ),
    order=650,
    deadline=30_000,
    help="asks milters such as rspamd; they may refuse, put off or hold mail and put header fields on top",
)

command = PolicyMaker(
    "command",
    ("content",),
    "netsvc.policy.command:command_hook",
    settings=(
        Setting("argv", "list", (), help="the command and its arguments, no shell; its path from the root"),
        Setting("user", "str", "", help="the account it runs as; only where the service runs as root"),
        Setting("at_once", "int", 4, low=1, high=100, help="commands run at a time; further messages wait"),
        Setting(
            "timeout",
            "duration",
            20_000,
            unit="ms",
            low=100,
            high=300_000,
            help="how long it may run; then it is killed with all it started",
        ),
        Setting("output", "size", 64 << 10, unit="octets", high=1 << 20, help="output it may write; then it is killed"),
    ),
    order=700,
    deadline=30_000,
    help="runs a command for each message; its exit status says what is done",
)
