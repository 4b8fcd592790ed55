"""The node's certificates: read at the start, read again when their files change (floor 4).

What it promises: the service does not start with a pair that cannot work, and
says which file is wrong and why.  Afterwards a pair that has become wrong (half
written, a key that is not its certificate's) is logged and the one before is
kept; sessions that are under way keep what they began with.  Files are looked
at and read in a thread.

What it cannot do: a key that only root may read is read before privileges are
dropped, and cannot be read again after that; then the old pair is kept too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from netsvc.certificates.keyfiles import CertificateError, Pair, load_pair, stamp_of
from netsvc.interfaces import ICertificates
from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred

    from netsvc.config.tls import TlsPair
    from netsvc.logbook import Logbook
    from netsvc.records import Row

LOOK_S: Final = 2.0
"""How often the files are looked at."""
DAY_MS: Final = 86_400_000
WARN_DAYS: Final = 14
"""A certificate that runs out in fewer days is warned of, daily."""


@dataclass(slots=True)
class Slot:
    """One configured pair.  ``seen`` is what the files were when they were last read, well or badly."""

    wanted: TlsPair
    pair: Pair | None = None
    seen: tuple[object, ...] = ()
    read_at: int = 0
    error: str = ""
    warned_at: int = -DAY_MS


@dataclass(frozen=True, slots=True)
class News:
    """What a look at a slot's files found."""

    slot: Slot
    seen: tuple[object, ...]
    pair: Pair | None = None
    error: str = ""


@dataclass(slots=True)
class Shelf:
    """What new sessions get: a context for everybody, and others by name."""

    usual: SSL.Context | None = None
    names: dict[str, SSL.Context] = field(default_factory=dict)

    def find(self, name: str) -> SSL.Context | None:
        """Return the context for a client that asks for ``name`` (lower case); None: the usual one."""
        return self.names.get(name) or self.names.get(f"*.{name.partition('.')[2]}")


@implementer(ICertificates, IOpenSSLServerConnectionCreator)
class Certificates:
    """See ICertificates.  ``now`` gives ms since 1970; ``listeners`` are the names of those that offer TLS.

    Usable after ``load``; ``start`` begins to look at the files and to warn, until ``stop``.
    """

    def __init__(
        self,
        wanted: Sequence[TlsPair],
        logbook: Logbook,
        *,
        now: Callable[[], int],
        listeners: Sequence[str] = (),
    ) -> None:
        self.listeners = tuple(listeners)
        self._slots = [Slot(pair) for pair in wanted]
        self._logbook = logbook
        self._now = now
        self._shelf = Shelf()
        self._looking = LoopingCall(self._look)
        self._run: Callable[..., Deferred[list[News]]] | None = None

    def load(self) -> None:
        """Read every pair now; blocks.  Raises CertificateError for the first that cannot be used."""
        for slot in self._slots:
            seen = stamp_of(slot.wanted)
            slot.pair, slot.seen, slot.read_at = load_pair(slot.wanted, self._choose), seen, self._now()
        self._fill()

    def start(self, clock: Any, run: Callable[..., Deferred[list[News]]]) -> None:
        """Look at the files every LOOK_S seconds; ``run(function)`` -> Deferred runs it where it may block."""
        self._run = run
        self._looking.clock = clock
        if self._slots and not self._looking.running:
            self._looking.start(LOOK_S, now=True)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See ICertificates."""
        del tlsProtocol
        usual = self._shelf.usual
        assert usual is not None, "a listener with TLS needs [tls], and load()"
        return SSL.Connection(usual, None)

    def rows(self) -> list[Row]:
        """See ICertificates."""
        return [self._row(slot) for slot in self._slots]

    # The files.

    def _look(self) -> Deferred[None] | None:
        self._warn()
        assert self._run is not None
        return self._run(self._changed).addCallback(self._take).addErrback(self._fault)

    def _changed(self) -> list[News]:
        """Read what has changed; in a thread.  Nothing but files is touched."""
        found = []
        for slot in self._slots:
            seen = stamp_of(slot.wanted)
            if seen == slot.seen:
                continue
            try:
                pair = load_pair(slot.wanted, self._choose)
            except CertificateError as error:
                found.append(News(slot, seen, error=str(error)))
            else:
                found.append(News(slot, seen, pair))
        return found

    def _take(self, found: list[News]) -> None:
        """Use what was read well; log what was not, once for each state of the files."""
        for news in found:
            slot = news.slot
            slot.seen = news.seen
            if news.pair is None:
                if news.error != slot.error:
                    self._logbook.event("tls.certificate_refused", name=slot.wanted.name, why=news.error)
                slot.error = news.error
                continue
            slot.pair, slot.error, slot.read_at, slot.warned_at = news.pair, "", self._now(), -DAY_MS
            self._logbook.event(
                "tls.certificate_read",
                name=slot.wanted.name,
                file=str(slot.wanted.certificate),
                fingerprint=news.pair.fingerprint,
                expires_ms=news.pair.not_after,
            )
        if found:
            self._fill()

    def _fault(self, failure: Any) -> None:
        """Log a mistake of our own; the next look comes all the same."""
        self._logbook.failure("tls.fault", failure, what="looking at certificates")

    def _fill(self) -> None:
        """Put the pairs of now where new sessions find them, all at once."""
        shelf = Shelf()
        for slot in self._slots:
            if slot.pair is None:
                continue
            if slot.wanted.name:
                shelf.names[slot.wanted.name] = slot.pair.context
            else:
                shelf.usual = slot.pair.context
        self._shelf = shelf

    def _choose(self, connection: SSL.Connection) -> None:
        """Give a client the certificate of the name it asks for; OpenSSL calls it within the handshake."""
        asked = connection.get_servername()
        context = self._shelf.find(asked.decode("latin-1").lower().rstrip(".")) if asked else None
        if context is not None:
            connection.set_context(context)

    # What people are told.

    def _warn(self) -> None:
        """Warn daily of what is about to run out."""
        now = self._now()
        for slot in self._slots:
            pair = slot.pair
            if pair is None or now - slot.warned_at < DAY_MS:
                continue
            left = pair.not_after - now
            if left < WARN_DAYS * DAY_MS or pair.not_before > now:
                slot.warned_at = now
                self._logbook.event(
                    "tls.certificate_expires",
                    name=slot.wanted.name,
                    file=str(slot.wanted.certificate),
                    days=left // DAY_MS,
                    why=_state(pair, now),
                )

    def _row(self, slot: Slot) -> Row:
        pair, now = slot.pair, self._now()
        assert pair is not None, "load() comes before anybody looks"
        return {
            "name": slot.wanted.name or "*",
            "names": [escape(name, 255) for name in pair.names],
            "issuer": escape(pair.issuer, 255),
            "state": _state(pair, now),
            "not_before": pair.not_before,
            "not_after": pair.not_after,
            "days": (pair.not_after - now) // DAY_MS,
            "fingerprint": pair.fingerprint,
            "listeners": list(self.listeners),
            "file": escape(str(slot.wanted.certificate), 4096),
            "read": slot.read_at,
            "error": escape(slot.error, 1000),
        }


def _state(pair: Pair, now: int) -> str:
    if pair.not_after <= now:
        return "expired"
    if pair.not_before > now:
        return "not yet valid"
    return "expiring" if pair.not_after - now < WARN_DAYS * DAY_MS else "ok"
