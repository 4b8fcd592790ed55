"""The rows about names looked up and about greylisting (quiet); see ``tables``."""

from __future__ import annotations

from netsvc.commands import Column, Table

C = Column

DNS = Table(
    "dns/1",
    (
        C("servers", "list", "name servers asked, in this order", "SERVERS", shrink=1),
        C("lookups", "int", "names asked for", "LOOKUPS"),
        C("hits", "int", "of them answered from memory", "HITS", show="zero"),
        C("joined", "int", "of them that waited for a question under way"),
        C("queries", "int", "questions sent to servers", "QUERIES", show="zero"),
        C("tcp", "int", "of them by TCP"),
        C("timeouts", "int", "of them without an answer", "TIMEOUTS", show="zero"),
        C("absent", "int", "names, or kinds of record, that are not there", "ABSENT", show="zero"),
        C("failures", "int", "names that could not be looked up", "FAILURES", show="zero"),
        C("asking", "int", "names being looked up now", "ASKING", show="zero", spare=2),
        C("entries", "int", "answers remembered", "ENTRIES", show="zero", spare=3),
        C("octets", "size", "room they take, roughly", "ROOM", spare=4),
    ),
    "this node's resolver; counts are since it started",
)

DNS_CACHE = Table(
    "dns.cache/1",
    (
        C("name", "text", "the name asked for", "NAME", shrink=1),
        C("kind", "enum", "the kind of record", "KIND", words=("a", "aaaa", "mx", "ptr", "tlsa", "txt")),
        C("result", "text", "found, or why there is nothing", "RESULT", shrink=3),
        C("ttl", "duration", "how long it is remembered", "FOR"),
        C("values", "list", "what was found", "VALUES", shrink=4),
        C("authentic", "bool", "whether the name server says that it validated it"),
    ),
    "an answer this node remembers",
)

GREYLIST = Table(
    "greylist/1",
    (
        C("state", "enum", "where it stands", "STATE", words=("waiting", "passed", "client")),
        C("network", "text", "the client's network", "NETWORK", shrink=1),
        C("sender", "text", "who sends", "SENDER", show="path", shrink=3),
        C("rcpt", "text", "to whom; absent for a network that is known as a whole", "RECIPIENT", shrink=1),
        C("passes", "int", "how often it was let through", "PASSES", show="zero", spare=3),
        C("first", "time", "when it first came", "FIRST", show="relative", spare=2),
        C("until", "time", "when it is forgotten", "UNTIL", show="relative"),
    ),
    "an entry of the greylist, shared by all nodes",
)
