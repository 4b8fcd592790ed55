"""Plugins that carry mail: routes ``agent:NAME words``, settings in ``[site.agents.NAME]``.

Around each stands what keeps a stranger's mistake small: a deadline, so many attempts at a time, a check of what it
answers.  An agent that raises, is late or answers nonsense has its mail tried again; nothing is lost or bounced by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as TooLate
from zope.interface import implementer

from netsvc.config.carriers import agent_settings, all_values
from netsvc.config.complaints import ValueFaultError
from netsvc.delivery.faults import AttemptError, deferred, released
from netsvc.delivery.targets import hop_target
from netsvc.delivery.turns import Turns
from netsvc.interfaces import IAgentGround, IDeliveryAgent
from netsvc.mail.escape import escape
from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from netsvc.delivery.ground import Ground
    from netsvc.interfaces import IBodyReader, IDeliveryAgentMaker
    from netsvc.mail.message import Hop, Leased
    from netsvc.settings import SiteSettings

COMMON = ("deadline", "at_once")
MAX_WORDS = 500
MAX_TRANSCRIPT = 16 << 10
MOST_MS = 7 * 86_400_000
"""An attempt never took longer: what an agent says beyond is not believed."""
STOP_PATIENCE = 30
"""Seconds that a stop waits for attempts under way."""
_ALLOWED = frozenset({Result.DELIVERED, Result.BOUNCED, Result.DEFERRED, Result.RELEASED})
_FAULTS = frozenset({Fault.REPLY, Fault.CONNECT_TIMEOUT, Fault.CONNECT_REFUSED, Fault.CONNECT_FAILED, Fault.LOST,
                     Fault.TLS, Fault.DNS, Fault.ROUTING, Fault.LOCAL, Fault.LOOP, Fault.POLICY})  # fmt: skip
_CLASSES = {Result.BOUNCED: "5", Result.DEFERRED: "4"}


@implementer(IAgentGround)
@dataclass(frozen=True, slots=True)
class AgentGround:
    """All that a plugin agent is given; see IAgentGround."""

    hostname: str
    clock: Any
    resolver: Any
    sessions: Any
    logbook: Any
    content: Callable[[Leased], Deferred[IBodyReader]]


class Hosted:
    """One plugin's agent: made when it is needed, set as the site says.

    ``fault`` says why no mail can be given to it, "" where nothing is wrong.
    """

    def __init__(self, maker: IDeliveryAgentMaker, ground: Ground) -> None:
        self._maker = maker
        self._ground = ground
        self._said: Mapping[str, Any] | None = None
        self._agent: Any = None
        self._deadline_s = 0.0
        self._at_once = 1
        self.turns = Turns(lambda: self._at_once)
        self.fault = ""

    def obey(self, said: Mapping[str, Any]) -> None:
        """Be as the site says from now on."""
        if said == self._said:
            return
        self._said = said
        self.fault = ""
        try:
            values = all_values("agents", agent_settings(self._maker), said)
            self._deadline_s = values.pop("deadline") / 1000
            self._at_once = values.pop("at_once")
            self._configure(values)
        except ValueFaultError as fault:
            self._complain(fault.text)
        except Exception as error:  # noqa: BLE001 - a stranger's code
            if not isinstance(error, ValueError):
                self._ground.logbook.failure("delivery.fault", None, what=f"agent {self._maker.name}, being set")
            self._complain(str(error) or type(error).__name__)

    def _configure(self, values: dict[str, Any]) -> None:
        agent = self._agent
        if agent is None:
            ground = self._ground
            given = AgentGround(
                ground.hostname,
                ground.reactor,
                ground.resolver,
                ground.sessions,
                ground.logbook,
                lambda message: ground.spool.open_body(message.blob_id),
            )
            agent = self._maker.make(given)
            if not callable(getattr(agent, "attempt", None)):
                raise ValueError(f"{type(agent).__name__} has no attempt")
        configure = getattr(agent, "configure", None)
        if configure is not None:
            configure(values)
        self._agent = agent

    def _complain(self, why: str) -> None:
        self.fault = escape(why, MAX_WORDS)
        self._ground.logbook.error("delivery.agent_misconfigured", agent=self._maker.name, why=self.fault)

    @property
    def wanted(self) -> bool:
        """Whether it has been set once."""
        return self._said is not None

    async def attempt(
        self, hop: Hop, rows: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> list[Outcome]:
        """Have it attempt ``rows`` -> outcomes that are fit to be settled."""
        name = self._maker.name
        if self.fault:
            return deferred(rows, AttemptError(Fault.LOCAL, f"agent {name}: {self.fault}", "4.3.5"))
        if not await self.turns.take():
            return released(rows)
        began = self._ground.now()
        try:
            trying = maybeDeferred(self._agent.attempt, hop, rows[0], list(rows), observer)
            trying.addTimeout(self._deadline_s, self._ground.reactor)
            return _fit(rows, await trying, int((self._ground.now() - began) * 1000))
        except (TooLate, CancelledError):
            why = f"agent {name} gave no answer within {self._deadline_s:g} s"
        except Exception as error:  # noqa: BLE001 - a stranger's code
            self._ground.logbook.failure("delivery.fault", None, what=f"agent {name}", msg=rows[0].message_id)
            why = f"agent {name} failed: {type(error).__name__}"
        finally:
            self.turns.leave()
        return deferred(rows, AttemptError(Fault.LOCAL, why, "4.3.0"))

    async def stop(self) -> None:
        """Tell it that the service ends."""
        self.turns.close()
        stop = getattr(self._agent, "stop", None)
        if stop is None:
            return
        try:
            await maybeDeferred(stop).addTimeout(STOP_PATIENCE, self._ground.reactor)
        except Exception:  # noqa: BLE001 - a stranger's code
            self._ground.logbook.failure("delivery.fault", None, what=f"agent {self._maker.name}, stopping")


def _fit(rows: Sequence[Leased], answer: object, ms: int) -> list[Outcome]:
    """Return what an agent answered in a form fit to be settled.  Raises ValueError for nonsense."""
    if not isinstance(answer, list | tuple) or [getattr(out, "delivery_id", None) for out in answer] != [
        row.id for row in rows
    ]:
        raise ValueError("it did not answer for each recipient, in order")
    return [_one(row.id, outcome, ms) for row, outcome in zip(rows, answer, strict=True)]


def _one(number: int, outcome: Outcome, ms: int) -> Outcome:
    """Return an outcome of which the store can take every field: one it refuses would keep all others from it."""
    if outcome.result not in _ALLOWED:
        raise ValueError(f"an outcome cannot be {outcome.result!r}")
    result = Result(outcome.result)
    wanted = _CLASSES.get(result)
    status, fault = outcome.status, Fault.NONE
    if wanted is not None:
        fault = Fault(outcome.fault) if outcome.fault in _FAULTS else Fault.LOCAL
        parts = status.split(".")
        if len(parts) != 3 or parts[0] != wanted or not all(part.isascii() and part.isdigit() for part in parts[1:]):
            status = f"{wanted}.0.0"
    code = int(outcome.code) if isinstance(outcome.code, int) and 200 <= outcome.code <= 599 else 0
    took = outcome.ms if isinstance(outcome.ms, int) and 0 < outcome.ms <= MOST_MS else ms
    transcript = bytes(memoryview(outcome.transcript)[:MAX_TRANSCRIPT]).decode("utf-8", "replace")
    return Outcome(
        number,
        result,
        fault=fault,
        code=code,
        status=escape(status, 11),
        reply=escape(outcome.reply, MAX_WORDS),
        host=escape(outcome.host, 255),
        addr=escape(outcome.addr, 64),
        tls=escape(outcome.tls, 255),
        ms=int(took),
        passed_on=outcome.passed_on is True,
        transcript="\n".join(escape(line) for line in transcript.split("\n")).encode()[:MAX_TRANSCRIPT],
    )


@implementer(IDeliveryAgent)
class PluginAgents:
    """IDeliveryAgent for routes ``agent:NAME words``."""

    name = "agent"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._hosted = {name: Hosted(maker, ground) for name, maker in ground.agents.items()}
        self._obey(ground.site.current)
        ground.site.watch(self._obey)

    def _obey(self, settings: SiteSettings) -> None:
        for name, hosted in self._hosted.items():
            if name in settings.agents or hosted.wanted:
                hosted.obey(settings.agents.get(name, {}))

    def attempt(
        self, next_hop: Hop, message: Leased, recipients: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> Deferred[list[Outcome]]:
        """See IDeliveryAgent."""
        del message
        return Deferred.fromCoroutine(self._attempt(next_hop, recipients, observer))

    async def _attempt(
        self, hop: Hop, rows: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> list[Outcome]:
        try:
            name = hop_target(hop).name
        except ValueError as why:
            return deferred(rows, AttemptError(Fault.ROUTING, str(why), "4.4.4"))
        hosted = self._hosted.get(name)
        if hosted is None:
            return deferred(rows, AttemptError(Fault.ROUTING, f"no plugin of this node brings agent {name}", "4.3.5"))
        if not hosted.wanted:
            hosted.obey(self._ground.site.current.agents.get(name, {}))
        return await hosted.attempt(hop, rows, observer)

    async def stop(self) -> None:
        """Begin nothing more; tell those that were made that the service ends."""
        for hosted in self._hosted.values():
            await hosted.stop()
