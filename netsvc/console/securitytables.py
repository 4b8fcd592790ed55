"""The kinds of rows about secrets: certificates, and who may send as whom (quiet)."""

from __future__ import annotations

from netsvc.commands import Column, Table

C = Column

STATES = ("ok", "expiring", "expired", "not yet valid")

CERTIFICATE = Table(
    "certificate/1",
    (
        C("name", "text", "the name clients ask for, * for everybody else", "NAME", shrink=1),
        C("names", "list", "the names it is for", "FOR", shrink=1, spare=2),
        C("issuer", "text", "who signed it", "ISSUER", shrink=3, spare=3),
        C("state", "enum", "whether it is good", "STATE", words=STATES),
        C("not_before", "time", "from when on it is valid"),
        C("not_after", "time", "until when it is valid", "UNTIL", show="clock"),
        C("days", "int", "whole days left", "DAYS", spare=1),
        C("fingerprint", "text", "SHA-256 of it, in hexadecimal"),
        C("listeners", "list", "listeners that offer TLS", "LISTENERS", shrink=2, spare=4),
        C("file", "text", "the file it was read from"),
        C("read", "time", "when it was read"),
        C("error", "text", "why its files as they are now cannot be used", "ERROR", show="wrap", shrink=4),
    ),
    "one certificate of this node",
)

LOCK = Table(
    "lock/1",
    (
        C("door", "text", "where it is kept out: console or mail (AUTH)", "DOOR"),
        C("name", "text", "the account's name as it was typed; empty: any", "NAME", shrink=1),
        C("source", "text", "the address or network it came from; empty: any", "FROM", shrink=1),
        C("until", "time", "when it ends by itself", "UNTIL"),
    ),
    "one lock for wrong passwords",
)

GRANT = Table(
    "grant/1",
    (
        C("account", "text", "who", "ACCOUNT"),
        C("address", "text", "the address he may send as, @domain for all in it", "MAY SEND AS"),
    ),
    "one address somebody may send as beside his own",
)
"""What ``user grant`` adds."""
