"""The kinds of rows about connections: sessions, what is said in them, listeners, blocks (quiet)."""

from __future__ import annotations

from netsvc.commands import Column, Table

C = Column

KINDS = ("smtp-in", "smtp-out", "console")

SESSION = Table(
    "session/1",
    (
        C("id", "text", "session id", "ID"),
        C("kind", "enum", "what it is", "KIND", spare=2, words=KINDS),
        C("peer", "text", "the other side's IP address", "PEER"),
        C("user", "text", "who is logged in", "USER", spare=1),
        C("state", "text", "where the dialogue is", "STATE"),
        C("since", "time", "when it began", "SINCE", show="clock", spare=3),
        C("idle", "duration", "time since anything was said", "IDLE"),
        C("cmds", "int", "commands so far", "CMDS", spare=5),
        C("msgs", "int", "messages so far", "MSGS", spare=4),
        C("bytes", "size", "octets received", "SIZE", spare=6),
        C("tls", "text", "protocol and cipher"),
        C("helo", "text", "the client's name for itself", "HELO", shrink=1),
        C("domain", "text", "destination of an outgoing session", "DOMAIN", shrink=1),
        C("node", "text", "the node it is on"),
        C("listener", "text", "listener it came in by"),
        C("port", "int", "the other side's port"),
        C("in_state", "duration", "time it has been in this state"),
        C("sender", "text", "reverse-path of the transaction under way, empty for reports", show="path"),
        C("rcpts", "int", "recipients accepted in it"),
        C("content", "size", "octets of content received in it"),
        C("recipients", "list", "those recipients, the first 100, in show session"),
        C("ended", "time", "when it ended"),
        C("why", "text", "why it ended"),
        C("dialogue", "lines", "what was said, as far as it is remembered, in show session"),
    ),
    "one connection",
)

SESSION_SUMMARY = Table(
    "session.summary/1",
    (
        C("key", "text", "what is counted by", "KEY", shrink=1),
        C("total", "int", "sessions", "TOTAL"),
        C("cmds", "int", "their commands", "CMDS"),
        C("msgs", "int", "their messages", "MSGS"),
        C("bytes", "size", "octets received in them", "SIZE"),
        C("oldest", "time", "when the oldest began", "OLDEST", show="clock"),
        C("idle", "duration", "the longest time that nothing was said in one", "IDLE"),
    ),
    "one group of sessions",
)

DIRECTIONS = ("in", "out", "note")

TRACE = Table(
    "trace/1",
    (
        C("at", "time", "when", "AT", show="clock"),
        C("ms", "int", "milliseconds of that second"),
        C("session", "text", "session id", "SESSION"),
        C("kind", "enum", "what it is", words=KINDS),
        C("peer", "text", "the other side's IP address", "PEER"),
        C("direction", "enum", "from the peer, from us, or what happened", "DIRECTION", words=DIRECTIONS),
        C("text", "text", "what was said; secrets and content are left out", "TEXT", show="line", shrink=1),
    ),
    "one line of a dialogue",
)

KICK = Table(
    "kick/1",
    (
        C("id", "text", "session id", "ID"),
        C("peer", "text", "the other side's IP address", "PEER"),
        C("result", "enum", "what came of it", "RESULT", words=("ended", "later", "gone", "own", "refused")),
    ),
    "one session that was to end",
)

BLOCK = Table(
    "block/1",
    (
        C("network", "text", "the addresses kept out", "NETWORK"),
        C("since", "time", "when it was blocked", "SINCE"),
        C("until", "time", "when that ends", "UNTIL"),
        C("by", "text", "who did it", "BY"),
        C("reason", "text", "why", "REASON", shrink=1),
    ),
    "one network whose mail is not taken",
)

LISTENER = Table(
    "listener/1",
    (
        C("name", "text", "as configured", "LISTENER"),
        C("protocol", "text", "what it speaks", "PROTOCOL", spare=3),
        C("address", "text", "where it listens", "ADDRESS", shrink=1),
        C("state", "enum", "whether it takes connections", "STATE", words=("serving", "paused")),
        C("sessions", "int", "sessions now", "SESSIONS"),
        C("accepted", "int", "connections taken since the start", "ACCEPTED", spare=5),
        C("refused", "int", "connections turned away since the start", "REFUSED", spare=4),
        C("tls", "text", "none, starttls or implicit", "TLS", spare=2),
        C("until", "time", "when the pause ends", "UNTIL", show="relative"),
        C("by", "text", "who paused it", "BY", show="blank", spare=1),
        C("reason", "text", "why", "REASON", show="wrap", shrink=2),
        C("guarded", "bool", "whether blocks are for it: not for operators"),
        C("node", "text", "the node it is on"),
    ),
    "one listener of this node",
)
