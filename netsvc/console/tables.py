"""The kinds of rows the console shows: columns for people, fields and schemas for machines (quiet).

The fields are a contract: within a schema's version they are only added to.
"""

from __future__ import annotations

from netsvc.commands import Column, Table
from netsvc.criteria import RESULTS, STATES

C = Column

_CODES = (
    C("code", "int", "the last reply's code"),
    C("status", "text", "its enhanced status"),
)

ITEM = Table(
    "queue.item/1",
    (
        C("id", "id", "the item: MESSAGE.n", "ID"),
        C("msg", "id", "its message"),
        C("n", "int", "which recipient of the message"),
        C("state", "enum", "where it stands", "STATE", words=STATES),
        C("age", "duration", "time since acceptance", "AGE"),
        C("size", "size", "octets of content", "SIZE", spare=3),
        C("domain", "text", "the recipient's domain"),
        C("sender", "text", "reverse-path, empty for reports", "FROM", show="path", shrink=2),
        C("rcpt", "text", "the recipient", "TO", shrink=1),
        C("attempts", "int", "how often it was tried", "TRY", spare=2),
        C("next", "time", "when it is tried next", "NEXT", show="relative", spare=1),
        C("reason", "text", "why it waits, normalised", "WHY", shrink=3),
        C("user", "text", "who authenticated"),
        C("peer", "text", "IP address it came from"),
        C("listener", "text", "listener it came in by"),
        C("rcpts", "int", "recipients of the message"),
        C("subject", "text", "Subject"),
        C("msgid", "text", "Message-ID"),
        C("queued", "time", "when it was accepted"),
        C("last", "time", "when it was last tried"),
        C("expires", "time", "when it is given up"),
        *_CODES,
        C("error", "text", "the last reply's exact words"),
        C("route", "text", "the rule that routes it"),
        C("host", "text", "the host last tried"),
        C("tag", "text", "tag a policy gave"),
        C("held_by", "text", "who put it on hold"),
        C("held_why", "text", "the reason of the hold"),
        C("node", "text", "the node that has it"),
        C("helo", "text", "the client's name for itself"),
        C("tls", "text", "protocol and cipher it came in by"),
    ),
    "one recipient of one message in the queue",
)

_AGES = ("<5", "<10", "<20", "<40", "<80", "<160", "160+")
SUMMARY = Table(
    "queue.summary/1",
    (
        C("key", "text", "what is counted by", "KEY", shrink=1),
        C("total", "int", "items", "TOTAL"),
        *(C(f"ages/{at}", "int", title=title) for at, title in enumerate(_AGES)),
        C("bytes", "size", "octets", "SIZE"),
        C("incoming", "int", "items not tried yet"),
        C("active", "int", "items being tried"),
        C("deferred", "int", "items that wait for another try"),
        C("hold", "int", "items on hold"),
        C("ages", "list", "items younger than 5, 10, 20, 40, 80, 160 minutes, and older, each once"),
        C("oldest", "time", "when the oldest was accepted"),
        C("status", "text", "ok, backoff or suspended, of destinations", "STATE", show="blank"),
    ),
    "one group of the queue",
)

REASON = Table(
    "reason/1",
    (
        C("count", "int", "items", "COUNT"),
        C("share", "number", "of all items with a reason, 0 to 1", "SHARE", show="percent", spare=1),
        C("code+status", "text", title="CODE"),
        C("reason", "text", "why, normalised", "REASON", shrink=1),
        *_CODES,
        C("last", "time", "last seen", "LAST", show="clock", spare=2),
        C("sample", "text", "one reply's exact words", "SAMPLE", shrink=2, spare=3),
        C("first", "time", "first seen"),
        C("domains", "int", "recipient domains it concerns"),
    ),
    "why mail waits",
)

MESSAGE = Table(
    "message/1",
    (
        C("id", "id", "the message"),
        C("sender", "text", "reverse-path, empty for reports", show="path"),
        C("rcpts", "int", "recipients"),
        C("size", "size", "octets of content"),
        C("queued", "time", "when it was accepted"),
        C("expires", "time", "when it is given up"),
        C("listener", "text", "listener it came in by"),
        C("peer", "text", "IP address it came from"),
        C("helo", "text", "the client's name for itself"),
        C("tls", "text", "protocol and cipher"),
        C("user", "text", "who authenticated"),
        C("msgid", "text", "Message-ID"),
        C("subject", "text", "Subject"),
        C("items", "rows", "its recipients still in the queue", inner=ITEM),
        C("headers", "lines", "the header section, at most 256 KiB of it"),
        C("body", "lines", "the body, at most 64 KiB of it"),
    ),
    "one message and its recipients",
)

ATTEMPT = Table(
    "attempt/1",
    (
        C("msg", "id", "the message"),
        C("n", "int", "which recipient", "N"),
        C("at", "time", "when", "AT"),
        C("node", "text", "the node that tried"),
        C("host", "text", "the host tried", "HOST", shrink=1),
        C("addr", "text", "its address", "ADDRESS", spare=1),
        C("tls", "text", "protocol and cipher"),
        C("ms", "int", "milliseconds it took", "MS", spare=2),
        C("outcome", "enum", "what it came to", "OUTCOME", words=(*RESULTS, "deferred", "released")),
        *_CODES,
        C("code+status", "text", title="CODE"),
        C("reply", "text", "the reply's words", "REPLY", shrink=2),
        C("reason", "text", "why, normalised"),
        C("transcript", "lines", "the dialogue"),
    ),
    "one attempt at delivery",
)

HISTORY = Table(
    "history/1",
    (
        C("id", "id", "the item: MESSAGE.n", "ID"),
        C("msg", "id", "its message"),
        C("n", "int", "which recipient of the message"),
        C("result", "enum", "how it ended", "RESULT", words=RESULTS),
        C("done", "time", "when it ended", "DONE", spare=1),
        C("queued", "time", "when it was accepted"),
        C("delay", "duration", "from acceptance to the end", "DELAY", spare=2),
        C("sender", "text", "reverse-path, empty for reports", "FROM", show="path", shrink=2),
        C("rcpt", "text", "the recipient", "TO", shrink=1),
        C("domain", "text", "the recipient's domain"),
        C("size", "size", "octets of content", "SIZE", spare=3),
        C("msgid", "text", "Message-ID"),
        C("subject", "text", "Subject"),
        C("user", "text", "who authenticated"),
        C("peer", "text", "IP address it came from"),
        C("listener", "text", "listener it came in by"),
        C("host", "text", "the host that answered"),
        C("tls", "text", "protocol and cipher it left by"),
        *_CODES,
        C("reply", "text", "the last reply's words", "REPLY", shrink=3),
        C("reason", "text", "why, normalised"),
        C("attempts", "int", "how often it was tried"),
    ),
    "how one recipient of one message ended",
)

MAILBOX = Table(
    "mailbox/1",
    (
        C("address", "text", "the mailbox", "ADDRESS", shrink=1),
        C("driver", "text", "where its mail is", "DRIVER", spare=4),
        C("messages", "int", "mails in it", "MESSAGES"),
        C("bytes", "size", "octets in it", "SIZE"),
        C("quota", "size", "octets allowed, 0 for any", "QUOTA", show="zero"),
        C("quota_messages", "int", "mails allowed, 0 for any", "MAX", show="zero", spare=2),
        C("use", "int", "percent of its quota in use, of octets or mails, whichever is more", "USE%", spare=1),
        C("last_access", "time", "when it was last read", "LAST ACCESS", show="relative", spare=3),
        C("state", "enum", "its state", "STATE", words=("ok", "locked")),
    ),
    "one mailbox",
)

MAIL = Table(
    "mail/1",
    (
        C("uid", "int", "number in the mailbox", "UID"),
        C("id", "id", "queue id it came by", "ID"),
        C("time", "time", "when it came", "TIME"),
        C("size", "size", "octets", "SIZE"),
        C("msgid", "text", "Message-ID"),
        C("sender", "text", "reverse-path, empty for reports", "FROM", show="path", shrink=1),
        C("subject", "text", "Subject", "SUBJECT", shrink=2),
        C("flags", "list", "what was marked"),
        C("folder", "text", "its folder"),
        C("headers", "lines", "the header section, at most 256 KiB of it"),
        C("body", "lines", "the body, at most 64 KiB of it"),
    ),
    "one mail in a mailbox",
)

_PIECE = (
    C("id", "id", "the message"),
    C("offset", "int", "where the piece begins", "OFFSET"),
    C("source", "base64", "up to 96 KiB of it, base64", "SOURCE", shrink=1),
)
MAIL_SOURCE = Table(
    "mail.source/1", (C("uid", "int", "number in the mailbox"), *_PIECE), "a piece of a mail, octet for octet"
)
MESSAGE_SOURCE = Table("message.source/1", _PIECE, "a piece of a message, octet for octet")

DESTINATION = Table(
    "destination/1",
    (
        C("key", "text", "next hop", "DESTINATION", shrink=1),
        C("domain", "text", "its domain"),
        C("state", "enum", "whether mail is tried", "STATE", words=("ok", "backoff", "suspended")),
        C("connections", "int", "open now, on this node", "CONNS", spare=1),
        C("limit", "int", "connections allowed, of all nodes together", "LIMIT", spare=2),
        C("rate", "number", "messages a minute allowed"),
        C("rate_limit", "text", "messages allowed in a time, as it was said", "RATE", show="blank", spare=3),
        C("deferred", "int", "items that wait", "DEFERRED"),
        C("oldest", "time", "when its oldest item was accepted", "OLDEST", spare=4),
        C("last_error", "text", "the last failure", "LAST ERROR", shrink=2),
        C("until", "time", "when its state ends", "UNTIL", show="blank"),
        C("reason", "text", "why it was suspended"),
        C("by", "text", "who did it"),
        C("messages", "int", "messages allowed on one connection"),
        C("incoming", "int", "items not tried yet"),
        C("failures", "int", "how often in a row it was left alone for failed connections"),
        C("rests_until", "time", "when it is tried again after it had what its rate allows"),
        C("limited_by", "text", "the operator who allowed it something else than the site"),
        C("limited_until", "time", "when that ends"),
    ),
    "one next hop",
)

JOB = Table(
    "job/1",
    (
        C("id", "int", "number", "JOB"),
        C("verb", "text", "what it does", "VERB"),
        C("actor", "text", "who began it", "BY"),
        C("state", "text", "where it stands", "STATE"),
        C("matched", "int", "items selected", "MATCHED", spare=3),
        C("done", "int", "items acted on", "DONE"),
        C("skipped", "int", "items that had changed", "SKIPPED", spare=2),
        C("started", "time", "when it began", "STARTED", spare=1),
        C("ended", "time", "when it ended"),
        C("undo", "int", "the job that it takes back"),
        C("reason", "text", "why it was done", "REASON", shrink=1),
    ),
    "one bulk action",
)

AUDIT = Table(
    "audit/1",
    (
        C("seq", "id", "number"),
        C("at", "time", "when", "AT"),
        C("node", "text", "where"),
        C("actor", "text", "who", "ACTOR"),
        C("role", "text", "as what"),
        C("source", "text", "from where", "SOURCE", shrink=1, spare=1),
        C("verb", "text", "what", "VERB"),
        C("target", "text", "to what", "TARGET", shrink=1),
        C("args", "text", "how", "ARGS", shrink=3),
        C("affected", "int", "how many", "N", spare=2),
        C("result", "text", "what came of it", "RESULT", shrink=1),
    ),
    "one login or one change",
)

USER = Table(
    "user/1",
    (
        C("name", "text", "the account", "NAME"),
        C("role", "text", "what it may do on the console", "ROLE"),
        C("content", "bool", "may read headers and bodies", "CONTENT", spare=1),
        C("last_at", "time", "last access", "LAST ACCESS", spare=2),
        C("last_from", "text", "and from where", "FROM", shrink=1),
        C("fails", "int", "failed attempts since", "FAILED", spare=3),
        C("mailbox", "text", "the mailbox it sends mail for", "MAILBOX", shrink=1),
        C("locked_until", "time", "kept out for wrong passwords until; show locks says from where", "LOCKED UNTIL"),
        C("scram", "bool", "has a verifier for SCRAM: its password was set by this version, or used since"),
    ),
    "one account",
)

VERSION = Table(
    "version/1",
    (
        C("version", "text", "of netsvc"),
        C("node", "text", "this node"),
        C("started", "time", "when it started"),
        C("uptime", "duration", "time since then"),
        C("python", "text", "version of Python"),
        C("twisted", "text", "version of Twisted"),
    ),
    "what runs here",
)

WHOAMI = Table(
    "whoami/1",
    (
        C("user", "text", "you"),
        C("role", "text", "what you may become"),
        C("enabled", "bool", "whether admin commands run"),
        C("content", "bool", "whether you may read headers and bodies"),
        C("source", "text", "where you are"),
    ),
    "who you are here",
)

TERMINAL = Table(
    "terminal/1",
    (
        C("length", "int", "rows of a page, 0: no pager, absent: as the terminal"),
        C("width", "int", "columns, absent: as the terminal"),
        C("style", "text", "how rows are shown"),
    ),
    "how this session shows things",
)

TEXT = Table("text/1", (C("line", "text", "a line of text", " ", show="line"),), "a line of text")
COUNT = Table("count/1", (C("count", "int", "how many rows", " "),), "how many rows there were")
SCHEMA = Table("schema/1", (C("schema", "map", "JSON Schema of a kind of row"),), "the shape of rows")
CHANGE = Table(
    "change/1",
    (
        C("verb", "text", "what was done"),
        C("target", "text", "to what"),
        C("affected", "int", "how many things changed with it"),
    ),
    "a change that was made",
)
FIELD = Table(
    "field/1",
    (
        C("name", "text", "as typed in filters", "FIELD"),
        C("type", "text", "kind of value", "TYPE"),
        C("operators", "text", "operators it takes", "OPERATORS"),
        C("example", "text", "an example", "EXAMPLE", shrink=2, spare=1),
        C("help", "text", "what it is", "MEANING", show="wrap", shrink=3),
    ),
    "a field filters can be about",
)
