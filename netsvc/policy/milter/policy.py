"""The policy ``milter``: filters such as rspamd or clamav-milter asked about each message (floor 3).

What they may do here is what the house promises: refuse, put off, hold (``quarantine``), and put header fields on top.
Mail they want discarded is held, for what was acknowledged does not vanish; everything else (changed bodies, other
recipients) is counted, logged and left undone, for nothing is rewritten.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.mail.ids import show_id
from netsvc.offreactor import OffReactor
from netsvc.policy.auth.fields import read_header
from netsvc.policy.milter.codec import MilterError
from netsvc.policy.milter.dialogue import Told, summary
from netsvc.policy.milter.headers import made_fields
from netsvc.policy.milter.pool import MilterPool, milter_endpoint
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.interfaces import IPolicyGround
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.policy.auth.fields import Header
    from netsvc.policy.milter.codec import Answer
    from netsvc.policy.milter.dialogue import Judgement

MAX_FIELDS = 10_000
"""Header fields a filter is told; a message with more of them is a failure of the policy."""
_DECISIVE = ("reject", "tempfail", "reply", "fail", "shutdown")


@implementer(IPolicy)
class Milters:
    """See the module."""

    name = "milter"

    def __init__(self, ground: IPolicyGround, run: Callable[..., Deferred[Any]] | None = None) -> None:
        """``run`` runs what takes time in a thread."""
        self._clock = ground.clock
        self._hostname = ground.hostname
        self._logbook = ground.logbook
        self._run = run or OffReactor(ground.clock, "milter", 1)
        self._filters: tuple[tuple[str, MilterPool], ...] = ()
        self.stages: tuple[str, ...] = ("content",)
        self._discard = "hold"

    def configure(self, values: Mapping[str, Any]) -> None:
        """See IPolicy."""
        if not values["filters"]:
            raise ValueError('filters: there is none; write for instance ["tcp:127.0.0.1:11332"]')
        try:
            endpoints = [(text, milter_endpoint(text, self._clock)) for text in values["filters"]]
        except ValueError as error:
            raise ValueError(f"filters: {error}") from None
        for _, pool in self._filters:
            pool.stop()
        self._filters = tuple(
            (
                text,
                MilterPool(
                    endpoint,
                    self._clock,
                    connections=values["connections"],
                    timeout=values["timeout"] / 1000,
                    keep=values["keep"],
                ),
            )
            for text, endpoint in endpoints
        )
        self.stages = ("rcpt", "content") if values["recipients"] else ("content",)
        self._discard = values["discard"]

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """See IPolicy."""
        if stage == "rcpt":
            return Deferred.fromCoroutine(self._ask(session, Told("", self._hostname, envelope)))
        return Deferred.fromCoroutine(self._content(session, envelope))

    async def _content(self, session: SessionFacts, envelope: Envelope) -> Verdict:
        section = envelope.content.header
        header: Header = await self._run(read_header, section, MAX_FIELDS)
        if not header.complete:
            raise MilterError(f"more than {MAX_FIELDS} header fields: not all would be told")
        # What follows something that is no field is told as body: a filter is to see everything.
        body_at = len(section) + 2 if header.size == len(section) else header.size
        told = Told(show_id(envelope.content.id), self._hostname, envelope, header.fields, body_at)
        return await self._ask(session, told)

    async def _ask(self, session: SessionFacts, told: Told) -> Verdict:
        """Ask the filters in turn; the first that refuses decides."""
        sum_ = PASS
        for name, pool in self._filters:
            judgement = await pool.ask(told, told.envelope.content)
            self._tell_undone(session, name, judgement)
            verdict = self._verdict(name, judgement)
            if verdict.action in {"reject", "defer"}:
                return verdict
            if sum_.action == "pass":
                sum_ = replace(verdict, header=sum_.header + verdict.header)
            else:
                sum_ = replace(sum_, header=sum_.header + verdict.header)
        return sum_

    def _verdict(self, name: str, judgement: Judgement) -> Verdict:
        answer = judgement.answer
        if answer.kind in _DECISIVE:
            return _refusal(name, answer)
        header, left_out = made_fields(judgement.fields)
        judgement.undone["field that is none"] += left_out
        if answer.kind == "discard":
            why = f"{name}: discard"
            if self._discard == "reject":
                return Verdict("reject", reply.FILTER_REJECTED.fill(text="Message refused"), why)
            return Verdict("hold", None, why, ("discard",), header)
        if judgement.quarantine:
            return Verdict("hold", None, f"{name}: {judgement.quarantine}", ("quarantine",), header)
        return Verdict("pass", None, "", (), header)

    def _tell_undone(self, session: SessionFacts, name: str, judgement: Judgement) -> None:
        what = summary(sorted(judgement.undone.items()))
        if what:
            self._logbook.event("milter.undone", session=session.id, peer=session.peer, filter=name, what=what)


def _refusal(name: str, answer: Answer) -> Verdict:
    """Return the refusal a filter asks for, in its words where it has any."""
    if answer.kind in {"fail", "shutdown"} or answer.kind == "tempfail":
        return Verdict("defer", reply.FILTER_DEFERRED.fill(text="Try again later"), f"{name}: {answer.kind}")
    if answer.kind == "reject":
        return Verdict("reject", reply.FILTER_REJECTED.fill(text="Message refused"), f"{name}: reject")
    action, row = ("reject", reply.FILTER_REJECTED) if answer.code >= 500 else ("defer", reply.FILTER_DEFERRED)
    words = row.fill(text=answer.text or ("Message refused" if answer.code >= 500 else "Try again later"))
    code = 451 if answer.code == 421 else answer.code  # closing the session is not the filter's to say
    return Verdict(action, replace(words, code=code, status=answer.status or words.status), f"{name}: {answer.text}")


def milters(ground: IPolicyGround) -> Milters:
    """Return the policy on ``ground``."""
    return Milters(ground)
