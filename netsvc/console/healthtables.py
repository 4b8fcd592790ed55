"""The kind of row that says how the node is (quiet)."""

from __future__ import annotations

from netsvc.commands import Column, Table

C = Column

HEALTH = Table(
    "health/1",
    (
        C("name", "text", "what is looked at", "WHAT"),
        C("state", "enum", "how it is", "STATE", words=("ok", "warn", "stressed", "full", "failed")),
        C("value", "number", "how much there is of it now", "NOW", show="unit"),
        C("limit", "number", "where it is too much, or too little", "LIMIT", show="unit"),
        C("most", "number", "the most since the start", "MOST", show="unit", spare=2),
        C("count", "number", "how often it happened since the start", "TIMES", spare=1),
        C("unit", "text", "what value, limit and most are counted in", "UNIT", spare=3),
        C("why", "text", "what is wrong, and what follows from it", "WHY", show="wrap", shrink=1),
        C("node", "text", "the node"),
    ),
    "one thing the node knows of its own condition",
)
