"""The rows about TLS policies that destinations publish (quiet); see ``tables``."""

from __future__ import annotations

from netsvc.commands import Column, Table

C = Column

TLS_POLICY = Table(
    "tls.policy/1",
    (
        C("domain", "text", "whose mail it is about", "DOMAIN", shrink=1),
        C(
            "mode",
            "enum",
            "whether it is obeyed, only tested, or given up",
            "MODE",
            words=("enforce", "testing", "none"),
        ),
        C("hosts", "list", "hosts that may take the mail; *.NAME for those one label below", "HOSTS", shrink=3),
        C("fetched", "time", "when it was fetched", "FETCHED", show="relative", spare=2),
        C("until", "time", "how long it holds, were it never fetched again", "UNTIL", show="relative"),
        C("used", "time", "when mail asked for it, to the day", "USED", show="relative", spare=4),
        C("id", "text", "the id its domain's record had", "ID", shrink=4, spare=5),
        C("max_age", "duration", "how long it holds from each fetch"),
        C("tried", "time", "when a fetch failed last; absent where the last one did not"),
        C("why", "text", "why it failed", "FAILED", show="blank", shrink=2, spare=1),
    ),
    "a TLS policy that a domain publishes (MTA-STS) and that all nodes obey",
)
