"""What the checks of guests have in common: who is one, what is looked up once for many questions, and verdicts.

A guest is a client that may not relay by itself: not authenticated, not on a
submission or LMTP listener, not from a network the site relays for.  What is
found against a guest is said at RCPT, so that the log names sender and
recipient, and mail for postmaster always comes through (RFC 5321 4.5.1).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from netsvc.networks import Networks
from netsvc.policy.relay import Domains
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from netsvc.interfaces import ISite
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.mail.reply import Reply
    from netsvc.settings import SiteSettings

K = TypeVar("K")
V = TypeVar("V")


class Guests:
    """Tells guests from our own; follows the site."""

    def __init__(self, site: ISite) -> None:
        self._ours = Networks(())
        self._exempt = Networks(())
        self._obey(site.current)
        site.watch(self._obey)

    def _obey(self, settings: SiteSettings) -> None:
        self._ours = Networks(settings.relay_from)
        self._relay_domains = Domains(settings.relay_domains)

    def exempt(self, networks: Iterable[str]) -> None:
        """Have ``networks`` (text) be no guests either.  Raises ValueError with a sentence for the operator."""
        texts = tuple(networks)
        try:
            self._exempt = Networks(texts)
        except ValueError as error:
            raise ValueError(f"exempt: {error}") from None

    def mail_for(self, domain: str) -> bool:
        """Say whether the site takes guests' mail for ``domain`` to pass it on."""
        return domain in self._relay_domains

    def __contains__(self, session: SessionFacts) -> bool:
        """Say whether the session is a guest's."""
        if session.user or session.service != "transfer":
            return False
        return session.peer not in self._ours and session.peer not in self._exempt and session.peer != "local"


def for_postmaster(envelope: Envelope) -> bool:
    """Say whether the recipient asked about is a postmaster: they are to hear from whoever is refused."""
    return envelope.recipients[-1].address.local.lower() == "postmaster"


class Remembered(Generic[K, V]):
    """Answers of ``find(key)``, found once for all that ask and remembered for ``seconds``, ``limit`` of them.

    What fails is not remembered.
    """

    def __init__(
        self, find: Callable[[K], Coroutine[Any, Any, V]], clock: Any, seconds: float, limit: int = 10_000
    ) -> None:
        self._find = find
        self._clock = clock
        self._seconds = seconds
        self._limit = limit
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._waiting: dict[K, list[Deferred[V]]] = {}
        self._round = 0  # how often all was forgotten

    def get(self, key: K) -> Deferred[V]:
        """Return the answer -> Deferred, fired already where it is known.  Cancelling it leaves others alone."""
        known = self._known.get(key)
        if known is not None:
            if known[0] > self._clock.seconds():
                return succeed(known[1])
            del self._known[key]
        waiting = self._waiting.get(key)
        first = waiting is None
        if waiting is None:
            waiting = self._waiting[key] = []
        asked: Deferred[V] = Deferred(waiting.remove)
        waiting.append(asked)
        if first:
            Deferred.fromCoroutine(self._find(key)).addBoth(self._found, key, self._round)
        return asked

    def ahead(self, key: K) -> None:
        """Have the answer looked for, to be there when it is asked for; what goes wrong is told to who asks."""
        self.get(key).addErrback(_told_later)

    def forget(self) -> None:
        """Forget what is known: it was found by other settings."""
        self._known.clear()
        self._round += 1

    def _found(self, answer: V | Failure, key: K, begun: int) -> None:
        if not isinstance(answer, Failure) and begun == self._round:
            self._known[key] = (self._clock.seconds() + self._seconds, answer)
            while len(self._known) > self._limit:
                self._known.popitem(last=False)
        waiting = self._waiting.pop(key)
        while waiting:
            waiting.pop(0).callback(answer)


def _told_later(failure: Failure) -> None:
    del failure


def verdict(action: str, refusals: tuple[Reply, Reply], why: str, tag: str) -> Verdict:
    """Return what a check's setting (off tag defer reject) makes of a finding.

    ``refusals`` are the replies of reject and defer, ``why`` is for the log, ``tag`` is the word kept with the message.
    """
    if action == "reject":
        return Verdict("reject", refusals[0], why)
    if action == "defer":
        return Verdict("defer", refusals[1], why)
    return Verdict("tag", None, why, (tag,)) if action == "tag" else PASS
