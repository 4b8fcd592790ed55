"""Why mail waits or failed, as few forms as possible: what differs from message to message becomes a placeholder.

A reason's id is a hash of its normalised form, so nodes never coordinate and
"error contains spamhaus" is a look into a small table.  One raw sample is kept
with each.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from netsvc.mail.escape import escape
from netsvc.mail.outcome import Fault, Outcome
from netsvc.store.tx import table

if TYPE_CHECKING:
    from netsvc.store.tx import Tx

FORMS = 5000
"""More distinct texts than these are counted by class, code and status alone."""
TEXT = 200
SAMPLE = 500
READ = 1000
"""Characters of a reply that are looked at."""
SEEN_MS = 60_000
"""``last_at`` is written no more often than this."""

WORDS = {
    Fault.CONNECT_TIMEOUT: "conn timeout",
    Fault.CONNECT_REFUSED: "conn refused",
    Fault.CONNECT_FAILED: "conn failed",
    Fault.LOST: "conn lost",
    Fault.TLS: "tls failed",
    Fault.AUTH: "auth failed",
    Fault.DNS: "dns failed",
    Fault.LOOP: "loop",
    Fault.EXPIRED: "expired",
}
_DNS = {"nxdomain": "dns nxdomain", "servfail": "dns servfail", "timeout": "dns timeout", "timed out": "dns timeout"}

# One pass, one alternative each, no quantifier within a quantifier.
_VARYING = re.compile(
    r"(?P<url>https?://[^\s<>\"']+)"
    r"|(?P<address>[^\s<>()\[\]\"':;,@]{1,64}@[A-Za-z0-9.\[\]:-]{1,255})"
    r"|(?P<ip>\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b|\b[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{1,32}\b)"
    r"|(?P<word>[A-Za-z0-9_=+-]{4,})"
)
_LONG_NUMBER = re.compile(r"\d{4,}")


def _placeholder(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    text = match[0]
    if kind != "word":
        return f"<{kind}>"
    digits = sum(c.isdigit() for c in text)
    if digits == len(text):
        return "<n>"
    # Queue ids: letters and digits mixed in one long word.
    if len(text) >= 8 and digits >= 2 and not text.replace("-", "").isalpha():
        return "<id>"
    return _LONG_NUMBER.sub("<n>", text)


def normalise(text: str) -> str:
    """Return ``text`` in one line with addresses, ids, IPs, URLs and long numbers as placeholders, bounded."""
    return " ".join(_VARYING.sub(_placeholder, escape(text[:READ])).split())[:TEXT]


def form(outcome: Outcome) -> str:
    """Return the normalised text an outcome's reason is counted under."""
    fault = outcome.fault
    if fault is Fault.DNS:
        low = outcome.reply.lower()
        return next((word for mark, word in _DNS.items() if mark in low), WORDS[fault])
    if fault in WORDS:
        return WORDS[fault]
    if fault is Fault.LOCAL and "quota" in outcome.reply.lower():
        return "over quota"
    return normalise(outcome.reply) or ("policy" if fault is Fault.POLICY else fault.name.lower())


def reason_id(klass: int, code: int, enhanced: str, text: str) -> int:
    """Return the id of a reason: 63 bits, never 0."""
    digest = hashlib.sha256(f"{klass}\0{code}\0{enhanced}\0{text}".encode("utf-8", "backslashreplace")).digest()
    return (int.from_bytes(digest[:8], "big") >> 1) or 1


_REASON = table("reason", "id klass code enhanced:t text:t sample:t first_at last_at")


class Reasons:
    """The reasons known to be in the table, with when their ``last_at`` was written."""

    def __init__(self) -> None:
        """Know none."""
        self._seen: dict[int, int] = {}
        self._forms: dict[tuple[int, int, str, str], int] = {}
        self.full = False

    def forget(self) -> None:
        """Forget all: a unit of work was undone, and maybe with it the row of one that is remembered."""
        self._seen.clear()

    def ids(self, tx: Tx, outcomes: list[Outcome]) -> list[int]:
        """Return the reason id of each outcome, 0 for those without a fault; new ones are stored by ``tx``."""
        out: list[int] = []
        samples: dict[int, tuple[tuple[int, int, str, str], str]] = {}
        for outcome in outcomes:
            if outcome.fault is Fault.NONE:
                out.append(0)
                continue
            key = (int(outcome.fault), outcome.code, escape(outcome.status, 16), "" if self.full else form(outcome))
            number = self._forms.get(key)
            if number is None:
                if len(self._forms) > 2 * FORMS:
                    self._forms.clear()
                number = self._forms[key] = reason_id(*key)
            out.append(number)
            if tx.now - self._seen.get(number, 0) > SEEN_MS:
                samples[number] = (key, escape(outcome.reply, SAMPLE) or key[3])
        if samples:
            self._store(tx, samples)
        return out

    def _store(self, tx: Tx, samples: dict[int, tuple[tuple[int, int, str, str], str]]) -> None:
        known = {row[0] for row in tx.among("SELECT id FROM reason WHERE id {ids}", sorted(samples))}
        if known:
            tx.among("UPDATE reason SET last_at = ? WHERE id {ids}", sorted(known), (tx.now,))
        self._seen.update(dict.fromkeys(known, tx.now))
        self.full = len(self._seen) >= FORMS
        new = [
            (number, *key, sample, tx.now, tx.now)
            for number, (key, sample) in sorted(samples.items())
            if number not in known
        ]
        if new:
            tx.insert(_REASON, sorted(new), "ON CONFLICT (id) DO NOTHING")
