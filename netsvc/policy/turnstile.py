"""One policy in the gate: its deadline, its breaker and its counts (floor 3).

A policy is a stranger's code, or asks a stranger's service.  Whatever it does,
an answer comes: its own, or, where it fails, is late or stands behind its open
breaker, what the site wants instead.  The breaker opens after FAILURES failures
in a row; after OPEN_S seconds one question is let through, and its answer closes
it or opens it anew.  Where answers take time, one that is there at once (the client
is none of the policy's business, say) was asked of nobody, and ends no such row.
A policy that is needed has no breaker, and the client is told to try later where
it does not answer.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from netsvc.deferreds import at_once
from netsvc.mail.escape import escape
from netsvc.mail.reply import NOT_TAKEN
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.interfaces import IPolicy, IPolicyMaker
    from netsvc.logbook import Logbook
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.records import Row

ACTIONS = ("accept", "reject", "defer", "tag", "hold", "pass")
FAILURES = 5
OPEN_S = 60.0
LOG_S = 60.0
"""Seconds between two log lines about one policy's failures."""
SAMPLE = 16
"""Of answers that are there at once, the time is taken of one in so many."""


class LateError(Exception):
    """A policy did not answer before its deadline."""


class BadVerdictError(Exception):
    """A policy answered with something that is no verdict."""


class Turnstile:
    """What stands around one policy.  ``policy`` is None until it is on for the first time."""

    __slots__ = (
        "_asks",
        "_clock",
        "_failures",
        "_logbook",
        "_logged_at",
        "_needed",
        "_open_until",
        "_probing",
        "_slowest",
        "_streak",
        "_timed",
        "_times",
        "_waited",
        "counts",
        "deadline",
        "failed",
        "fault",
        "last_error",
        "late",
        "maker",
        "name",
        "on",
        "on_failure",
        "order",
        "policy",
        "skipped",
        "values",
    )  # fmt: skip

    def __init__(self, maker: IPolicyMaker, clock: Any, logbook: Logbook) -> None:
        """Stand around what ``maker`` makes; ``clock`` is the reactor."""
        self.maker = maker
        self.name: str = maker.name
        self.policy: IPolicy | None = None
        self.on = False
        self.order: int = maker.order
        self.deadline = maker.deadline / 1000
        self.on_failure = "skip"
        self._needed: bool = getattr(maker, "needed", False)
        self.values: Mapping[str, Any] = {}
        self.fault = ""  # why the site's settings are not followed
        self.counts = dict.fromkeys(ACTIONS, 0)
        self.failed = self.late = self.skipped = 0
        self.last_error = ""
        self._clock = clock
        self._logbook = logbook
        self._asks = 0
        self._streak = 0
        self._waited = False  # for a failure of the streak: its answers take time
        self._open_until = 0.0  # the breaker is open; 0: it is closed
        self._probing = False
        self._failures = 0  # not told of in the log yet
        self._logged_at: float | None = None
        self._timed = 0
        self._times = self._slowest = 0.0

    def ask(
        self, stage: str, session: SessionFacts, envelope: Envelope, within: float = inf
    ) -> Verdict | Deferred[Verdict]:
        """Return the verdict, or a Deferred of it that never fails where it takes time, ``within`` seconds at most."""
        policy = self.policy
        if policy is None or (self._open_until and not self._may_probe()):
            self.skipped += 1
            return self._instead()
        self._asks += 1
        sample = self._asks % SAMPLE == 1
        started = self._clock.seconds() if sample else 0.0
        try:
            asked = policy.check(stage, session, envelope)
            if isinstance(asked, Verdict):
                verdict = asked
            else:
                found = at_once(asked, Verdict)
                if found is None:
                    return self._wait(stage, asked, within)
                verdict = found
            if verdict is PASS and not self._streak:
                self.counts["pass"] += 1  # the usual answer, in the fewest steps
            else:
                self._count(verdict, waited=False)
        except Exception:  # noqa: BLE001 - a stranger's code
            return self._fail(stage, Failure(), waited=False)  # type: ignore[no-untyped-call] # Twisted's has no types
        if sample:
            self._time(started)
        return verdict

    def _may_probe(self) -> bool:
        """Say whether this question is the one that is let through an open breaker."""
        if self._probing or self._clock.seconds() < self._open_until:
            return False
        self._probing = True
        return True

    def _wait(self, stage: str, asked: Deferred[Verdict], within: float) -> Deferred[Verdict]:
        answer: Deferred[Verdict] = Deferred()
        started = self._clock.seconds()
        own = within >= self.deadline  # else those before it took the time
        within = min(self.deadline, within)

        def late() -> None:
            self.late += 1
            error = LateError(f"no answer within {within:g} s")
            failure = Failure(error)  # type: ignore[no-untyped-call] # Twisted's has no types
            answer.callback(self._fail(stage, failure, own=own))
            try:
                asked.cancel()
            except Exception:  # noqa: BLE001 - a stranger's canceller
                self._logbook.failure("policy.failed", None, policy=self.name, stage=stage)

        timer = self._clock.callLater(within, late)

        def came(result: object) -> None:
            if answer.called:
                return  # too late: it is taken from the Deferred, and dropped
            if timer.active():
                timer.cancel()
            self._time(started)
            if isinstance(result, Failure):
                answer.callback(self._fail(stage, result))
                return
            try:
                verdict = self._count(result, waited=True)
            except Exception:  # noqa: BLE001 - a stranger's value
                verdict = self._fail(stage, Failure())  # type: ignore[no-untyped-call] # Twisted's has no types
            answer.callback(verdict)

        asked.addBoth(came)
        return answer

    def _count(self, verdict: object, *, waited: bool) -> Verdict:
        """Return a good answer, counted; raises BadVerdictError.

        One that was not ``waited`` for says nothing of a service that others waited for in vain.
        """
        if not isinstance(verdict, Verdict):
            raise BadVerdictError(f"it answered {type(verdict).__name__}, not Verdict")
        if verdict.action not in self.counts:
            raise BadVerdictError(f"it answered {verdict.action!r}, which is no action")
        if verdict.reply is not None and (verdict.reply.code >= 400) != (verdict.action in ("reject", "defer")):
            raise BadVerdictError(f"its reply to {verdict.action} is {verdict.reply.code}")
        self.counts[verdict.action] += 1
        if self._waited and not waited:
            self._probing = False
        elif self._streak or self._open_until:
            self._streak = 0
            self._waited = False
            if self._open_until:
                self._open_until = 0.0
                self._probing = False
                self._logbook.event("policy.breaker", policy=self.name, state="closed", why="it answers again")
        return verdict

    def _time(self, started: float) -> None:
        took = self._clock.seconds() - started
        self._timed += 1
        self._times += took
        self._slowest = max(self._slowest, took)

    def _fail(self, stage: str, failure: Failure, *, own: bool = True, waited: bool = True) -> Verdict:
        """Count a failure, say so once a minute, and return what the site wants instead.

        One that is not its ``own`` leaves its breaker as it is.
        """
        error = failure.value
        self.failed += 1
        self._streak += own
        self._waited = self._waited or (own and waited)
        self._failures += 1
        self.last_error = escape(f"{type(error).__name__}: {error}", 200)
        now = self._clock.seconds()
        if self._logged_at is None or now >= self._logged_at + LOG_S:
            self._logged_at = now
            count, self._failures = self._failures, 0
            if isinstance(error, LateError | BadVerdictError):
                self._logbook.warn("policy.failed", policy=self.name, stage=stage, n=count, why=str(error))
            else:
                self._logbook.failure("policy.failed", failure, policy=self.name, stage=stage, n=count)
        probing, self._probing = self._probing, False
        if own and not self._needed and (probing or (self._streak >= FAILURES and not self._open_until)):
            self._open_until = now + OPEN_S
            self._logbook.warn("policy.breaker", policy=self.name, state="open", why=self.last_error)
        return self._instead()

    def _instead(self) -> Verdict:
        if self._needed or self.on_failure == "defer":
            return Verdict("defer", NOT_TAKEN, f"the policy {self.name} cannot answer")
        return PASS

    @property
    def stages(self) -> tuple[str, ...]:
        """Where it is asked: of its maker's stages those at which it has something to do, as it is set now."""
        mine = getattr(self.policy, "stages", None)
        return self.maker.stages if mine is None else tuple(stage for stage in self.maker.stages if stage in mine)

    @property
    def breaker(self) -> str:
        """Where its breaker stands: closed, open, or probing (the next question, or one under way, decides)."""
        if not self._open_until:
            return "closed"
        return "open" if not self._probing and self._clock.seconds() < self._open_until else "probing"

    def row(self) -> Row:
        """Return its policy/1 row."""
        return {
            "name": self.name,
            "on": self.on,
            "stages": list(self.stages),
            "order": self.order,
            "deadline": round(self.deadline * 1000),
            "on_failure": self.on_failure,
            **self.counts,
            "failed": self.failed,
            "late": self.late,
            "skipped": self.skipped,
            "breaker": self.breaker,
            "error": self.fault or self.last_error or None,
            "mean": round(self._times / self._timed * 1000, 1) if self._timed else None,
            "max": round(self._slowest * 1000, 1) if self._timed else None,
            "help": getattr(self.maker, "help", ""),
        }
