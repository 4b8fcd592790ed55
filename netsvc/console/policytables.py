"""The rows about policies, limits and who may relay (quiet); see ``tables``."""

from __future__ import annotations

from netsvc.commands import Column, Table

C = Column

POLICY = Table(
    "policy/1",
    (
        C("name", "text", "as in [site.policies.NAME]", "NAME"),
        C("on", "bool", "whether it is asked", "ON"),
        C("stages", "list", "where it is asked: connect helo mail rcpt content", "STAGES", shrink=3, spare=2),
        C("order", "int", "lower ones are asked first"),
        C("deadline", "duration", "how long an answer may take"),
        C("on_failure", "enum", "what happens where it fails or is late", words=("skip", "defer")),
        C("accept", "int", "how often it accepted", "ACC", show="zero"),
        C("reject", "int", "how often it rejected", "REJ", show="zero"),
        C("defer", "int", "how often it deferred", "DEF", show="zero"),
        C("tag", "int", "how often it tagged"),
        C("hold", "int", "how often it had mail held", "HOLD", show="zero", spare=1),
        C("pass", "int", "how often it had nothing to say", "PASS", show="zero", spare=3),
        C("failed", "int", "how often it failed, lateness included", "FAIL", show="zero"),
        C("late", "int", "how often its deadline passed"),
        C("skipped", "int", "how often it was not asked, its breaker being open"),
        C(
            "breaker",
            "enum",
            "whether it is left alone after failures",
            "BREAKER",
            words=("closed", "open", "probing"),
            spare=1,
        ),
        C("mean", "number", "milliseconds an answer takes on average", "MEAN", spare=4),
        C("max", "number", "milliseconds the slowest answer took", "MAX", spare=5),
        C("error", "text", "what last went wrong", "ERROR", show="wrap", shrink=4),
        C("help", "text", "what it does"),
    ),
    "one policy; counts are this node's, since it started",
)

POLICY_SETTING = Table(
    "policy.setting/1",
    (
        C("key", "text", "the key", "KEY"),
        C("value", "text", "what counts", "VALUE", shrink=1),
        C("set", "bool", "whether the site says so", "SET", spare=1),
        C("default", "text", "what counts where the site says nothing", "DEFAULT", shrink=2, spare=2),
        C("type", "text", "kind of value", "TYPE", spare=3),
        C("unit", "text", "unit of numbers"),
        C("choices", "list", "words it may be"),
        C("help", "text", "what it is for", "MEANING", show="wrap", shrink=3),
    ),
    "one key of a policy",
)

LIMIT = Table(
    "limit/1",
    (
        C("name", "text", "the limit", "LIMIT"),
        C("key", "text", "who holds it: an address, a network, a user, a domain", "WHO", shrink=1),
        C("used", "int", "how much of it", "USED", show="unit"),
        C("limit", "int", "how much there is", "OF", show="unit"),
        C("until", "time", "when its window ends", "UNTIL", show="relative"),
        C("refused", "int", "how often it was refused for it", "REFUSED", show="zero"),
        C("unit", "text", "what used and limit are counted in, where it is octets"),
    ),
    "what somebody holds of a limit; the counts of windows are shared by the nodes of a site on PostgreSQL",
)

LISTED = Table(
    "listed/1",
    (
        C("list", "enum", "the list", "LIST", words=("relay_from", "relay_domains", "limits_exempt")),
        C("value", "text", "a network or a domain", "VALUE"),
    ),
    "one entry of a list of the site: who may relay, to which domains anyone may send, who is exempt from limits",
)
