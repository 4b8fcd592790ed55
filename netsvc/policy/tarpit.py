"""Tarpit: the more a client was refused, the longer it waits for each answer (floor 3).

Waiting costs us a session's slot, so that only so many are held back at a time,
and only so many of one client; the others are answered at once.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.interfaces import IPolicy
from netsvc.networks import Networks
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.interfaces import IPolicyGround
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.settings import SiteSettings


@implementer(IPolicy)
class Tarpit:
    """See the module."""

    name = "tarpit"
    stages = ("helo", "mail", "rcpt")

    def __init__(self, ground: IPolicyGround) -> None:
        """Hold back by the ground's clock."""
        self._clock = ground.clock
        self._values: Mapping[str, Any] = {}
        self._exempt = Networks(())
        self._ends: list[tuple[float, str]] = []  # a heap: until when whose answer is held back
        self._of: dict[str, int] = {}  # how many of a client's
        self._obey(ground.site.current)
        ground.site.watch(self._obey)

    def _obey(self, settings: SiteSettings) -> None:
        self._exempt = Networks(settings.limits_exempt)

    def configure(self, values: Mapping[str, Any]) -> None:
        """See IPolicy."""
        self._values = values

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Verdict:
        """See IPolicy."""
        del stage, envelope
        values, peer = self._values, session.peer
        bad = session.refusals - values["after"]
        if bad < 0 or session.user or peer in self._exempt:
            return PASS
        now = self._clock.seconds()
        while self._ends and self._ends[0][0] <= now:
            self._let_go(heapq.heappop(self._ends)[1])
        if len(self._ends) >= values["max_held"] or self._of.get(peer, 0) >= values["max_held_client"]:
            return PASS
        delay = min((bad + 1) * values["step"], values["max_delay"]) / 1000
        heapq.heappush(self._ends, (now + delay, peer))
        self._of[peer] = self._of.get(peer, 0) + 1
        return Verdict("pass", delay=delay)

    def _let_go(self, peer: str) -> None:
        if self._of[peer] > 1:
            self._of[peer] -= 1
        else:
            del self._of[peer]
