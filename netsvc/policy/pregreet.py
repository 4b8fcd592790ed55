"""The pre-greet test: who talks before the greeting is no mail server (T20, RFC 5321 3.1).

A guest's greeting is held back for ``wait``.  Who has sent something by then is
sent away, or its mail is tagged; who has waited is greeted at once the next
times, as long as ``remember`` says.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.policy.guests import Guests
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.interfaces import IPolicyGround
    from netsvc.mail.envelope import Envelope, SessionFacts

MAX_KNOWN = 50_000
"""Addresses of clients that have waited, remembered at a time."""
MAX_WAITING = 2000
"""Clients held back at a time; more are greeted at once, so that the test cannot be used to fill the service."""


@implementer(IPolicy)
class PreGreet:
    """See the module."""

    name = "pregreet"
    stages = ("connect",)

    def __init__(self, ground: IPolicyGround) -> None:
        """Test nobody yet."""
        self._clock = ground.clock
        self._guests = Guests(ground.site)
        self._known: OrderedDict[str, float] = OrderedDict()
        self._waiting = 0
        self._wait = self._remember = 0.0
        self._action = "reject"

    def configure(self, values: Mapping[str, Any]) -> None:
        """See IPolicy."""
        self._guests.exempt(values["exempt"])
        self._wait = values["wait"] / 1000
        self._remember = values["remember"] / 1000
        self._action = values["action"]

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """Hold the answer back, then see whether the client has talked."""
        del stage, envelope
        if (
            not self._wait
            or self._waiting >= MAX_WAITING
            or session not in self._guests
            or self._has_waited(session.peer)
        ):
            return PASS
        self._waiting += 1
        answer: Deferred[Verdict] = Deferred(lambda _: timer.cancel())
        timer = self._clock.callLater(self._wait, self._look, answer, session)
        return answer.addBoth(self._over)

    def _over(self, result: Any) -> Any:
        self._waiting -= 1
        return result

    def _has_waited(self, peer: str) -> bool:
        until = self._known.get(peer)
        return until is not None and until > self._clock.seconds()

    def _look(self, answer: Deferred[Verdict], session: SessionFacts) -> None:
        if not session.early:
            self._known[session.peer] = self._clock.seconds() + self._remember
            self._known.move_to_end(session.peer)
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
            answer.callback(PASS)
        elif self._action == "reject":
            why = f"it talked before the greeting, within {self._wait:g} s of its connection"
            answer.callback(Verdict("reject", reply.EARLY_TALKER, why))
        else:
            answer.callback(Verdict("tag", None, "it talked before the greeting", ("early-talker",)))
