"""Words, arguments and clauses that several commands share."""

from __future__ import annotations

from netsvc.commands import Arg, Clause, Word

SHOW = Word("show", "look at things; changes nothing")
ORDERS = {"oldest": "id", "newest": "-id", "largest": "-size"}
MAX_LIMIT = 10_000_000

LIMIT = Clause("limit", "show at most N rows", (Arg("limit", "int", "how many rows", low=1, shown="N"),))
ORDERED_LIMIT = Clause(
    "limit",
    "show at most N rows",
    (
        Arg("limit", "int", "how many rows", low=1, shown="N"),
        Arg(
            "order",
            "choice",
            "which of them",
            words=(Word("oldest", "oldest first"), Word("newest", "newest first"), Word("largest", "largest first")),
            optional=True,
        ),
    ),
)
BY_TIME_LIMIT = Clause(
    "limit",
    "show at most N rows",
    (
        Arg("limit", "int", "how many rows", low=1, shown="N"),
        Arg(
            "order",
            "choice",
            "which",
            words=(Word("oldest", "oldest first"), Word("newest", "newest first")),
            optional=True,
        ),
    ),
)
REASON = Clause(
    "reason", "why; kept in the audit trail", (Arg("reason", "text", 'one word, or "several in quotes"', shown="TEXT"),)
)

EXPECT = Clause(
    "expect",
    "go on without asking when exactly N are concerned",
    (Arg("expect", "word", "a number, or any", shown="N|any"),),
)

SCREEN = 20
"""Rows a person sees unless limit says otherwise."""
