"""The drop-ins of the policies that come with netsvc; each is imported when it is on."""

from __future__ import annotations

from netsvc.policymaker import PolicyMaker

recipient = PolicyMaker(
    "recipient",
    ("rcpt",),
    "netsvc.policy.relay:recipient_rule",
    usual=True,
    order=900,
    help="takes mail for recipients we know and relays for whom the site says; without it no mail is taken",
)
