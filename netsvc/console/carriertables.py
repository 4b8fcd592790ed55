"""The rows about programs and plugins that carry mail (quiet); see ``tables``."""

from __future__ import annotations

from netsvc.commands import Column, Table

C = Column

CARRIER = Table(
    "carrier/1",
    (
        C("kind", "enum", "a program of [site.commands], or a plugin", "KIND", words=("command", "agent")),
        C("name", "text", "the name in routes: command:NAME, agent:NAME", "NAME"),
        C("argv", "text", "the program and its words", "RUNS", shrink=2),
        C("deadline", "duration", "how long one may take", "DEADLINE", spare=2),
        C("at_once", "int", "how many are under way at a time on a node", "AT ONCE", spare=3),
        C("routes", "list", "patterns of routes that lead there", "ROUTES", shrink=3, spare=1),
        C("note", "text", "what it does, or what is wrong with it", "NOTE", show="wrap", shrink=4),
    ),
    "what carries mail beside SMTP, LMTP and folders",
)

CARRIER_SETTING = Table(
    "carrier.setting/1",
    (
        C("key", "text", "the key", "KEY"),
        C("value", "text", "what counts", "VALUE", shrink=1),
        C("set", "bool", "whether the site says so", "SET", spare=1),
        C("type", "text", "kind of value", "TYPE", spare=3),
        C("unit", "text", "unit of numbers"),
        C("choices", "list", "words it may be"),
        C("help", "text", "what it is for", "MEANING", show="wrap", shrink=3),
    ),
    "one key of a command or an agent",
)
