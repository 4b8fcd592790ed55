"""Where the fields of a filter live in the tables: names to SQL expressions, for both dialects.

Queries that use them join the tables by these letters: ``d`` delivery, ``m``
message, ``r`` reason (left joined), ``w`` node (left joined), ``h`` history,
``b`` mailbox, ``l`` mail.
"""

from __future__ import annotations

from dataclasses import dataclass

from netsvc.criteria import RESULTS, STATES


@dataclass(frozen=True, slots=True)
class Column:
    """One field in SQL.

    ``sql`` is the expression.  ``nullable``: it may be NULL, which stands for absent.  ``folded``: its text is
    stored in lower case.  ``codes``: an enum's words and what is stored for them.  ``since``: a duration that is
    now less this time; ``until``: this time less now.
    """

    sql: str
    nullable: bool = False
    folded: bool = False
    codes: dict[str, int | str] | None = None
    since: bool = False
    until: bool = False


def _text(column: str) -> Column:
    return Column(f"coalesce({column}, '')")


def _after_at(column: str) -> str:
    """Return the text behind the last ``@`` of ``column``, all of it where there is none."""
    return f"substr({column}, length(rtrim({column}, replace({column}, '@', ''))) + 1)"


def _codes(words: tuple[str, ...]) -> dict[str, int | str]:
    return {word: code for code, word in enumerate(words, 1)}


HELD = "CASE WHEN d.state = 4 OR d.mark = 1 THEN d.{} END"
"""Who holds and why stay in the row after a release, for its undo; they are shown only while they mean something."""

NEXT = "CASE WHEN d.state = 1 OR d.state = 3 THEN d.due_at END"
LAST = "CASE WHEN d.last_at <> 0 THEN d.last_at END"
CODE = "CASE WHEN r.code <> 0 THEN r.code END"

QUEUE: dict[str, Column] = {
    "state": Column("d.state", codes=_codes(STATES)),
    "domain": Column("d.domain", folded=True),
    "rcpt": Column("d.rcpt"),
    "sender": Column("m.sender"),
    "sender-domain": Column("m.sender_domain", folded=True),
    "user": _text("m.auth"),
    "peer": _text("m.client"),
    "listener": _text("m.listener"),
    "size": Column("d.size"),
    "msgid": _text("m.msgid"),
    "subject": _text("m.subject"),
    "helo": _text("m.helo"),
    "tls": _text("m.tls"),
    "rcpts": Column("m.rcpts"),
    "age": Column("m.received_at", since=True),
    "queued": Column("m.received_at"),
    "next": Column(NEXT, nullable=True),
    "due": Column(NEXT, nullable=True, until=True),
    "last": Column(LAST, nullable=True),
    "attempts": Column("d.attempts"),
    "expires": Column("m.expires_at"),
    "code": Column(CODE, nullable=True),
    "status": _text("r.enhanced"),
    "reason": _text("r.text"),
    "error": _text("d.reply"),
    "route": _text("d.route"),
    "host": _text("d.host"),
    "tag": _text("m.tag"),
    "held-by": _text(HELD.format("held_by")),
    "held-why": _text(HELD.format("held_why")),
    "bounce": Column("m.sender = ''"),
}

HISTORY: dict[str, Column] = {
    "result": Column("h.outcome", codes=_codes(RESULTS)),
    "done": Column("h.at"),
    "queued": Column("h.received_at"),
    "age": Column("h.at", since=True),
    "delay": Column("h.at - h.received_at"),
    "domain": Column("h.domain", folded=True),
    "rcpt": Column("h.rcpt"),
    "sender": Column("h.sender"),
    "sender-domain": Column(_after_at("h.sender")),
    "user": _text("h.auth"),
    "peer": _text("h.client"),
    "listener": _text("h.listener"),
    "size": Column("h.size"),
    "msgid": _text("h.msgid"),
    "subject": _text("h.subject"),
    "attempts": Column("h.attempts"),
    "code": Column(CODE, nullable=True),
    "status": _text("r.enhanced"),
    "reason": _text("r.text"),
    "reply": _text("h.reply"),
    "host": _text("h.host"),
    "tls": _text("h.tls"),
}

USE = """CASE
 WHEN b.quota_bytes = 0 AND b.quota_msgs = 0 THEN NULL
 WHEN b.quota_msgs = 0 OR coalesce(b.used_bytes * 100 / nullif(b.quota_bytes, 0), -1)
      >= b.used_msgs * 100 / nullif(b.quota_msgs, 0) THEN b.used_bytes * 100 / nullif(b.quota_bytes, 0)
 ELSE b.used_msgs * 100 / nullif(b.quota_msgs, 0) END"""
"""Percent of a mailbox's quota in use, rounded down; NULL without a quota."""

MAILBOX: dict[str, Column] = {
    "address": Column("b.address", folded=True),
    "driver": Column("b.driver", codes={"db": "db", "maildir": "maildir"}),
    "messages": Column("b.used_msgs"),
    "bytes": Column("b.used_bytes"),
    "quota": Column("b.quota_bytes"),
    "quota-messages": Column("b.quota_msgs"),
    "use": Column(USE, nullable=True),
    "last-access": Column("CASE WHEN b.last_access <> 0 THEN b.last_access END", nullable=True),
    "state": Column("b.state", codes={"ok": 1, "locked": 2}),
}

MAIL: dict[str, Column] = {
    "uid": Column("l.uid"),
    "msgid": _text("l.msgid"),
    "sender": Column("l.sender"),
    "subject": _text("l.subject"),
    "size": Column("l.size"),
    "time": Column("l.internal_at"),
    "folder": Column("l.folder"),
}

OBJECTS: dict[str, dict[str, Column]] = {"queue": QUEUE, "history": HISTORY, "mailbox": MAILBOX, "mail": MAIL}

IDS: dict[str, tuple[str, str]] = {
    "queue": ("d.message_id", "d.n"),
    "history": ("h.message_id", "h.n"),
    "mail": ("l.message_id", ""),
}
"""The columns an id is compared with: message and number, "" where the row shows no number."""
