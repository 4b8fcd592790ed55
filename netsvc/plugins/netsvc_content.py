"""The drop-ins of the checks of senders and content; each is imported when it is on."""

from __future__ import annotations

from netsvc.commands import Setting
from netsvc.policymaker import PolicyMaker

_ON_FAIL = ("off", "report", "tag", "hold", "reject")

authentication = PolicyMaker(
    "authentication",
    ("mail", "content"),
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
