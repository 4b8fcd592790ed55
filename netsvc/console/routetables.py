"""The rows about where mail goes: routes, the steps to a destination, credentials (quiet)."""

from __future__ import annotations

from netsvc.commands import Column, Table

C = Column

ROUTE = Table(
    "route/1",
    (
        C("of", "enum", "whose addresses the pattern is for", "OF", words=("sender", "recipient")),
        C("pattern", "text", "the addresses it is for: ann@example.org, example.org, .example.org, <>, *", "PATTERN"),
        C("target", "text", "where it leads", "TARGET", shrink=1),
        C(
            "destination",
            "text",
            "the key its mail waits under; none where each domain is its own",
            "DESTINATION",
            spare=2,
        ),
        C("tls", "text", "what the site says of TLS there", "TLS", spare=1),
        C("credential", "text", "the credential that is used there", "CREDENTIAL", spare=1),
        C("note", "text", "what is wrong with it", "NOTE", show="wrap", shrink=3),
    ),
    "one route; senders' are asked first, the longest match decides",
)

STEPS = (
    "elsewhere",
    "domain",
    "mailbox",
    "alias",
    "tag",
    "postmaster",
    "abuse",
    "catch-all",
    "unknown",
    "forward",
    "loop",
    "limit",
    "reply",
    "pattern",
    "rule",
    "destination",
    "host",
    "tls",
    "credential",
    "error",
)

STEP = Table(
    "route.step/1",
    (
        C("step", "int", "number", "STEP"),
        C("address", "text", "the address on its way", "ADDRESS", shrink=2),
        C("is", "enum", "what was looked at, or found", "IS", words=STEPS),
        C("found", "text", "the pattern, the rule, the host", "FOUND", shrink=1),
        C("note", "text", "in words", "NOTE", show="wrap", shrink=3),
    ),
    "one step of where mail for an address goes, and why",
)

CREDENTIAL = Table(
    "credential/1",
    (
        C("name", "text", "what destinations call it by", "NAME"),
        C("user", "text", "who we are there", "USER", shrink=1),
        C("password", "text", "<set>: it is never shown", "PASSWORD"),
        C("used_by", "list", "destinations that name it", "USED BY", shrink=2),
        C("set", "time", "when it was set", "SET", spare=1),
        C("by", "text", "by whom", "BY", spare=2),
        C("key", "text", "the id of the key it is encrypted with"),
        C("error", "text", "why this node cannot read it", "ERROR", show="wrap", shrink=4),
    ),
    "one credential for smarthosts",
)
