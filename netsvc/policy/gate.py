"""The gate: every policy that is on, asked stage by stage (floor 3).

Policies of a stage are asked in order, the lower ``order`` first, then by name.
The first that accepts, rejects or defers decides, and those behind it are not
asked.  Tags, headers, delays and a hold of all that were asked are added to what
was decided.  Answers that are known at once cost no turn of the reactor, and at a
stage where nothing is on there is nothing to ask.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from netsvc.config.complaints import ValueFaultError, nearest
from netsvc.config.policies import all_settings, checked_value, typed_value
from netsvc.interfaces import ILimits, IPolicies, IPolicy, IWitness
from netsvc.mail.escape import escape
from netsvc.policy.relay import RecipientRule, for_postmaster
from netsvc.policy.trial import objection
from netsvc.policy.turnstile import Turnstile
from netsvc.policymaker import COMMON, STAGES
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from netsvc.interfaces import IPolicyGround, IPolicyMaker
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.records import Row
    from netsvc.settings import SiteSettings

DECIDES = frozenset({"accept", "reject", "defer"})
MAX_DELAY = 60.0
"""Seconds an answer is held back at most, whatever policies say."""
MAX_HELD_BACK = 1000
"""Answers held back at a time; beyond, they are given at once."""
LAST_WORD = RecipientRule.name
"""The policy that alone is asked at rcpt about a postmaster of ours (RFC 5321 4.5.1): the others keep nothing away."""
CONTENT_S = 30.0
"""Seconds all policies of the stage content have together, or as long as the one of them that has the most (T35)."""
MAX_TAGS = 16
TAG = 40
"""Characters of a tag."""


class _Sum:
    """What the verdicts of one stage come to."""

    __slots__ = ("by", "decided", "delay", "header", "held_by", "held_why", "tags")

    def __init__(self) -> None:
        self.decided: Verdict = PASS
        self.by = ""
        self.tags: list[str] = []
        self.header = b""
        self.delay = 0.0
        self.held_by = self.held_why = ""

    def add(self, name: str, verdict: Verdict) -> None:
        for word in verdict.tags[:MAX_TAGS]:
            tag = escape(word, TAG).replace(" ", "_")
            if tag and tag not in self.tags:
                self.tags.append(tag)
        self.header += verdict.header
        self.delay += max(verdict.delay, 0.0)
        if verdict.action == "hold" and not self.held_by:
            self.held_by, self.held_why = name, escape(verdict.why, 200)
        elif verdict.action in DECIDES:
            self.decided, self.by = verdict, name

    def verdict(self) -> Verdict:
        """Return the sum as a Verdict."""
        action = self.decided.action
        if action == "pass":
            action = "hold" if self.held_by else "tag" if self.tags else "pass"
        return Verdict(
            action,
            self.decided.reply,
            self.decided.why,
            tuple(self.tags[:MAX_TAGS]),
            self.header,
            self.delay,
            self.decided.quiet,
            self.by,
            self.held_by,
            self.held_why,
        )


@implementer(IPolicies)
class Gate:
    """See IPolicies.  Follows the site: what is set there counts from the next question on."""

    def __init__(self, makers: Iterable[IPolicyMaker], ground: IPolicyGround) -> None:
        """Make the policies that are on from ``makers`` on ``ground``."""
        self._ground = ground
        self._clock = ground.clock
        self._logbook = ground.logbook
        self._turnstiles = {maker.name: Turnstile(maker, ground.clock, ground.logbook) for maker in makers}
        self._heard: Mapping[str, Mapping[str, Any]] | None = None
        self._at: dict[str, tuple[Turnstile, ...]] = {}
        self._last_word: Sequence[Turnstile] = ()
        self._held_back: dict[Deferred[Verdict], Any] = {}  # the calls that will give them
        self._stopping = False
        self.stages: frozenset[str] = frozenset()
        self._witnesses: tuple[IWitness, ...] = ()
        self._obey(ground.site.current)
        ground.site.watch(self._obey)

    # What the site says.

    def _obey(self, settings: SiteSettings) -> None:
        if settings.policies == self._heard:
            return
        self._heard = settings.policies
        for name in settings.policies:
            if name not in self._turnstiles:
                why = "no plugin on this node brings it"
                self._logbook.error("policy.misconfigured", policy=escape(name, 40), key="", why=why)
        for turnstile in self._turnstiles.values():
            turnstile.fault = ""
            self._set(turnstile, settings.policies.get(turnstile.name, {}))
        self._arrange()

    def _set(self, turnstile: Turnstile, said: Mapping[str, Any]) -> None:
        """Have one policy follow what the site says of it."""
        values = {setting.name: setting.default for setting in all_settings(turnstile.maker)}
        for key, value in said.items():
            try:
                values[key] = checked_value(turnstile.maker, key, value)
            except ValueFaultError as fault:
                self._complain(turnstile, key, fault.text)
        turnstile.on = values["on"]
        turnstile.order = values["order"]
        turnstile.deadline = values["deadline"] / 1000
        turnstile.on_failure = values["on_failure"]
        own = {key: value for key, value in values.items() if key not in COMMON}
        if turnstile.on and (turnstile.policy is None or own != turnstile.values):
            self._configure(turnstile, own)

    def _configure(self, turnstile: Turnstile, own: dict[str, Any]) -> None:
        try:
            policy = turnstile.policy
            if policy is None:
                policy = turnstile.maker.make(self._ground)
                if not IPolicy.providedBy(policy):
                    raise ValueError(f"{type(policy).__name__} does not provide IPolicy")  # noqa: TRY301 - told as others are
            policy.configure(own)
        except Exception as error:  # noqa: BLE001 - a stranger's code
            self._complain(turnstile, "", str(error) or type(error).__name__)
            if not isinstance(error, ValueError):
                self._logbook.failure("policy.failed", None, policy=turnstile.name, stage="configure", n=1)
        else:
            turnstile.policy = policy
            turnstile.values = own

    def _complain(self, turnstile: Turnstile, key: str, why: str) -> None:
        turnstile.fault = escape(f"{key}: {why}" if key else why, 200)
        self._logbook.error("policy.misconfigured", policy=turnstile.name, key=escape(key, 40), why=escape(why, 200))

    def _arrange(self) -> None:
        ordered = self._ordered()
        self._at = {stage: tuple(t for t in ordered if t.on and stage in t.stages) for stage in STAGES}
        self._last_word = [turnstile for turnstile in self._at["rcpt"] if turnstile.name == LAST_WORD]
        self.stages = frozenset(stage for stage, there in self._at.items() if there)
        self._patience = max([CONTENT_S, *(turnstile.deadline for turnstile in self._at["content"])])
        made: list[Any] = [turnstile.policy for turnstile in ordered if turnstile.on]
        self._witnesses = tuple(policy for policy in made if IWitness.providedBy(policy))

    def _ordered(self) -> list[Turnstile]:
        return sorted(self._turnstiles.values(), key=lambda turnstile: (turnstile.order, turnstile.name))

    # Asking.

    def ask(self, stage: str, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """See IPolicies."""
        there = self._at[stage]
        if stage == "rcpt" and len(there) > 1 and envelope.recipients:
            address = envelope.recipients[-1].address
            if for_postmaster(address):
                return Deferred.fromCoroutine(self._about_postmaster(address.domain, envelope))
        return self._ask(stage, there, envelope)

    async def _about_postmaster(self, domain: str, envelope: Envelope) -> Verdict:
        """Ask the recipient rule alone where the postmaster is ours; the bare one is."""
        try:
            ours = not domain or await self._ground.directory.is_local(domain)
        except Exception:  # noqa: BLE001 - the rule will meet the same, and say so
            ours = False
        asked = self._ask("rcpt", self._last_word if ours else self._at["rcpt"], envelope)
        return await asked if isinstance(asked, Deferred) else asked

    def _ask(self, stage: str, there: Sequence[Turnstile], envelope: Envelope) -> Verdict | Deferred[Verdict]:
        session = envelope.session
        total: _Sum | None = None
        for n, turnstile in enumerate(there):
            verdict = turnstile.ask(stage, session, envelope)
            if verdict is PASS:
                continue
            if isinstance(verdict, Deferred):
                rest = self._ask_on(stage, envelope, there[n:], verdict, total or _Sum())
                return Deferred.fromCoroutine(rest)
            if verdict.action == "accept" and total is None and not (verdict.tags or verdict.header or verdict.delay):
                return verdict  # the usual end, with nothing to be added
            total = total or _Sum()
            total.add(turnstile.name, verdict)
            if verdict.action in DECIDES:
                break
        return PASS if total is None else self._give(total)

    async def _ask_on(
        self, stage: str, envelope: Envelope, left: Sequence[Turnstile], waiting: Deferred[Verdict], total: _Sum
    ) -> Verdict:
        """Go on where the first of ``left`` could not answer at once."""
        ends = self._clock.seconds() + self._patience if stage == "content" else inf
        verdict = await waiting
        total.add(left[0].name, verdict)
        for turnstile in left[1:]:
            if verdict.action in DECIDES:
                break
            asked = turnstile.ask(stage, envelope.session, envelope, max(ends - self._clock.seconds(), 0.0))
            verdict = await asked if isinstance(asked, Deferred) else asked
            total.add(turnstile.name, verdict)
        given = self._give(total)
        return await given if isinstance(given, Deferred) else given

    def _give(self, total: _Sum) -> Verdict | Deferred[Verdict]:
        """Give the sum, when its delay is over."""
        verdict = total.verdict()
        if not verdict.delay or len(self._held_back) >= MAX_HELD_BACK or self._stopping:
            return verdict
        answer: Deferred[Verdict] = Deferred()

        def give() -> None:
            del self._held_back[answer]
            answer.callback(verdict)

        self._held_back[answer] = self._clock.callLater(min(verdict.delay, MAX_DELAY), give)
        return answer

    def release(self) -> None:
        """Give every answer that is held back in the next turn, and hold none back any more: the service stops."""
        self._stopping = True
        for call in self._held_back.values():
            call.reset(0)

    # Telling.

    def unknown(self, session: SessionFacts) -> None:
        """See IWitness."""
        self._tell(lambda witness: witness.unknown(session))

    def accepted(self, session: SessionFacts, domain: str, size: int) -> None:
        """See IWitness."""
        self._tell(lambda witness: witness.accepted(session, domain, size))

    def _tell(self, tell: Callable[[IWitness], None]) -> None:
        for witness in self._witnesses:
            try:
                tell(witness)
            except Exception:  # noqa: BLE001 - a stranger's code
                name = getattr(witness, "name", "")
                self._logbook.failure("policy.failed", None, policy=name, stage="witness", n=1)

    # Showing.

    def rows(self) -> list[Row]:
        """See IPolicies."""
        return [turnstile.row() for turnstile in self._ordered()]

    def fault(self, name: str) -> str:
        """See IPolicies."""
        turnstile = self._turnstiles.get(name)
        return turnstile.fault if turnstile is not None and turnstile.on else ""

    def objection(self, name: str, said: Mapping[str, Any]) -> str:
        """See IPolicies."""
        turnstile = self._turnstiles.get(name)
        if turnstile is None:
            return ""
        return escape(objection(turnstile.maker, said, (self._heard or {}).get(name, {})), 200)

    def settings(self, name: str) -> list[Row] | None:
        """See IPolicies."""
        turnstile = self._turnstiles.get(name)
        if turnstile is None:
            return None
        said = (self._heard or {}).get(name, {})
        rows: list[Row] = []
        for setting in all_settings(turnstile.maker):
            value, own = setting.default, setting.name in said
            if own:
                try:
                    value = checked_value(turnstile.maker, setting.name, said[setting.name])
                except ValueFaultError:
                    own = False
            rows.append(
                {
                    "key": setting.name,
                    "value": shown(value, setting.type),
                    "set": own,
                    "default": shown(setting.default, setting.type),
                    "type": setting.type,
                    "unit": setting.unit,
                    "choices": list(setting.choices),
                    "help": setting.help,
                }
            )
        return rows

    def typed(self, name: str, key: str, text: str) -> Any:
        """See IPolicies."""
        turnstile = self._turnstiles.get(name)
        if turnstile is None:
            raise LookupError(f"there is no policy {escape(name, 40)}; {nearest(name, self._turnstiles)}")
        try:
            return typed_value(turnstile.maker, key, text)
        except ValueFaultError as fault:
            raise ValueError(
                f"{key}: {fault.text}; {fault.remedy}" if fault.remedy else f"{key}: {fault.text}"
            ) from None

    def _counting(self) -> list[ILimits]:
        """Return the policies that are on and keep limits."""
        made: list[Any] = [turnstile.policy for turnstile in self._ordered() if turnstile.on]
        return [policy for policy in made if ILimits.providedBy(policy)]

    def limits(self) -> Deferred[list[Row]]:
        """See IPolicies."""
        return Deferred.fromCoroutine(self._limits())

    async def _limits(self) -> list[Row]:
        rows: list[Row] = []
        for policy in self._counting():
            rows += await policy.holders()
        return sorted(rows, key=lambda row: row["used"] / max(row["limit"], 1), reverse=True)

    def clear_limit(self, name: str, key: str) -> Deferred[int]:
        """See IPolicies."""
        counting = self._counting()
        for policy in counting:
            if name in policy.names:
                return policy.clear(name, key)
        known = [each for policy in counting for each in policy.names]
        return fail(LookupError(f"there is no limit {escape(name, 40)}; {nearest(name, known)}"))


_MS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_OCTETS = (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("", 1))


def shown(value: Any, kind: str) -> str:
    """Return a setting's value as an operator writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return " ".join(str(item) for item in value)
    units = {"duration": _MS, "size": _OCTETS}.get(kind)
    if units is None:
        return str(value)
    unit, length = next((pair for pair in units if value and value % pair[1] == 0), units[-1])
    return f"{value // length}{unit}" if value else "0s" if kind == "duration" else "0"
