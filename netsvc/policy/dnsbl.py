"""DNS lists of bad and of good clients, weighed against each other (RFC 5782).

Every list is asked at once when a guest connects; the sum of the weights of
those that list it is looked at when a recipient is named.  A list that does not
answer within ``patience`` counts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.mail.escape import escape_bytes
from netsvc.policy.guests import Guests, Remembered, for_postmaster, verdict
from netsvc.policy.listzones import ListZone, is_complaint, parse_list, reversed_address
from netsvc.records import PASS, NameNotFoundError, NameTemporaryError, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.interfaces import IPolicyGround
    from netsvc.mail.envelope import Envelope, SessionFacts

REMEMBER = 60.0
"""Seconds that a client's score is remembered; the lists' own answers are, by their TTL."""
COMPLAINT_S = 3600.0
"""Seconds between two warnings about a list that does not serve us."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the lists say of one address: their sum, the names of those that spoke against it, and one's reason."""

    sum: int = 0
    names: tuple[str, ...] = ()
    reason: str = ""
    silent: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """The score in words for the log."""
        silent = f"; no answer from {', '.join(self.silent)}" if self.silent else ""
        return f"score {self.sum} by {', '.join(self.names) or 'no list'}{silent}"


@implementer(IPolicy)
class DnsLists:
    """See the module."""

    name = "dnsbl"
    stages = ("connect", "rcpt")

    def __init__(self, ground: IPolicyGround) -> None:
        """Ask no list yet."""
        self._resolver = ground.resolver
        self._clock = ground.clock
        self._logbook = ground.logbook
        self._guests = Guests(ground.site)
        self._scores: Remembered[str, Score] = Remembered(self._find, ground.clock, REMEMBER)
        self._lists: tuple[ListZone, ...] = ()
        self._threshold = self._tag_at = 1
        self._action = "reject"
        self._patience = 3.0
        self._complained: dict[str, float] = {}

    def configure(self, values: Mapping[str, Any]) -> None:
        """See IPolicy."""
        try:
            lists = tuple(parse_list(text) for text in values["lists"])
        except ValueError as error:
            raise ValueError(f"lists: {error}") from None
        if not lists:
            raise ValueError("lists: none is named")
        self._guests.exempt(values["exempt"])
        self._lists = lists
        self._threshold = values["threshold"]
        self._tag_at = values["tag_at"] or values["threshold"]
        self._action = values["action"]
        self._patience = values["patience"] / 1000
        self._scores.forget()

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """Have the lists asked at connect; judge at rcpt."""
        if session not in self._guests or not self._lists:
            return PASS
        if stage == "connect":
            self._scores.ahead(session.peer)
            return PASS
        if for_postmaster(envelope):
            return PASS
        asked = self._scores.get(session.peer)
        score = at_once(asked, Score)
        if score is not None:
            return self._judge(score, session.peer)
        return asked.addCallback(self._judge, session.peer)

    def _judge(self, score: Score, peer: str) -> Verdict:
        if score.sum < min(self._threshold, self._tag_at):
            return PASS
        action = self._action if score.sum >= self._threshold else "tag"
        words = {"ip": peer, "lists": ", ".join(score.names), "why": score.reason or "ask there for the reason"}
        return verdict(action, (reply.LISTED.fill(**words), reply.LISTED_NOW.fill(**words)), score.why, "dnsbl")

    async def _find(self, peer: str) -> Score:
        """Ask every list about an address."""
        reverse = reversed_address(peer)
        if reverse is None:
            return Score()
        asked = [Deferred.fromCoroutine(self._ask(zone, reverse)) for zone in self._lists]
        score, names, silent, first = 0, [], [], None
        for zone, answer in zip(self._lists, asked, strict=True):
            listed = await answer
            if listed is None:
                silent.append(zone.name)
            elif listed:
                score += zone.weight
                if zone.weight > 0:
                    names.append(zone.name)
                    first = first or zone
        names = list(dict.fromkeys(names))
        reason = ""
        if first is not None and score >= self._threshold and self._action != "tag":
            reason = await self._reason(first, reverse)
        return Score(score, tuple(names), reason, tuple(dict.fromkeys(silent)))

    async def _ask(self, zone: ListZone, reverse: str) -> bool | None:
        """Say whether a list lists an address, None when it does not say in time."""
        try:
            addresses = await self._resolver.a(f"{reverse}.{zone.zone}").addTimeout(self._patience, self._clock)
        except NameNotFoundError:
            return False
        except (NameTemporaryError, defer.TimeoutError):
            return None
        if any(is_complaint(address) for address in addresses) and not zone.lists(addresses):
            self._complain(zone, addresses)
            return None
        return zone.lists(addresses)

    def _complain(self, zone: ListZone, addresses: list[str]) -> None:
        now = self._clock.seconds()
        if self._complained.get(zone.zone, -COMPLAINT_S) + COMPLAINT_S <= now:
            self._complained[zone.zone] = now
            self._logbook.warn("dnsbl.not_served", list=zone.name, answer=addresses)

    async def _reason(self, zone: ListZone, reverse: str) -> str:
        """Return what a list gives as its reason."""
        try:
            texts = await self._resolver.txt(f"{reverse}.{zone.zone}").addTimeout(self._patience, self._clock)
        except (NameNotFoundError, NameTemporaryError, defer.TimeoutError):
            return ""
        return escape_bytes(texts[0], 200)
