"""From a connection to a session that may carry mail: banner, EHLO, STARTTLS, EHLO again, AUTH.

What TLS must be like is said by ``TlsTerms``, and kept whatever the peer says:

========================  ========================  =========================  ==========================
level                     no STARTTLS, or refused   handshake fails            certificate is not trusted
========================  ========================  =========================  ==========================
none                      in clear                  (not tried)                (not tried)
opportunistic             in clear                  ``BrokenTlsError``         mail flows, ``unverified``
encrypt                   4.7.4                     4.7.5                      mail flows, ``unverified``
verify                    4.7.4                     4.7.5                      4.7.5
========================  ========================  =========================  ==========================

A credential goes out inside TLS alone, and a mechanism that shows the password
only to a peer whose certificate is verified and whose name nobody can have forged
(MX records that are not validated), unless the site itself says ``encrypt`` for
the destination, or the peer is this host.
"""

from __future__ import annotations

import ipaddress
import secrets
from typing import TYPE_CHECKING, Any

from twisted.internet.address import UNIXAddress

from netsvc.delivery.faults import AttemptError
from netsvc.delivery.terms import TlsLevel
from netsvc.delivery.tlscontext import connection_creator
from netsvc.mail.outcome import Fault
from netsvc.offreactor import OffReactor
from netsvc.sasl.client import ExchangeError, KeyWanted, choose, exchange, salted
from netsvc.sasl.verifier import MECHANISM as SCRAM
from netsvc.smtp.clientevents import Authenticated, Challenged, Ended, NotAuthenticated, TlsBegins
from netsvc.smtp.opening import InjectedError

if TYPE_CHECKING:
    from netsvc.delivery.terms import Credential, Host, TlsTerms
    from netsvc.delivery.tlscontext import Authorities
    from netsvc.delivery.transcript import Transcript
    from netsvc.delivery.wire import Event, Wire
    from netsvc.sasl.client import ClientExchange
    from netsvc.smtp.replies import PeerReply

MOST_THREADS = 2
"""For the keys of SCRAM."""


class BrokenTlsError(AttemptError):
    """TLS was offered and did not come about, and the terms allow to go on without: on a fresh connection, in clear."""


class Greeter:
    """Opens sessions; the certificates of peers are judged by ``authorities``, this host's where None."""

    def __init__(self, reactor: Any, authorities: Authorities | None = None) -> None:
        """Keys that take a while are made in threads of ``reactor``."""
        self._authorities = authorities
        self._threads = OffReactor(reactor, "delivery-login", MOST_THREADS)

    async def greet(
        self, wire: Wire, host: Host, terms: TlsTerms, credential: Credential | None, record: Transcript
    ) -> None:
        """Bring the session on ``wire`` to where a transaction may begin.

        Raises AttemptError, BrokenTlsError where the same peer may be tried again in clear.  Then the wire is closed.
        """
        wire.session.near = _is_here(wire)
        try:
            await self._greet(wire, host, terms, record)
            if credential is not None:
                await self._authenticate(wire, terms, credential, record)
        except InjectedError as why:
            raise self._ended(wire, AttemptError(Fault.TLS, str(why), "4.7.5"), record) from None
        except AttemptError as why:
            raise self._ended(wire, why, record) from None

    @staticmethod
    def _ended(wire: Wire, why: AttemptError, record: Transcript) -> AttemptError:
        record.take(wire.session.dialogue)
        if wire.usable:
            wire.session.quit()  # it would be an honest peer's; the answer is not waited for
            wire.flush()
        wire.close()
        if why.fault is Fault.LOST:  # nothing of a message was said: it is the destination's fault
            return AttemptError(Fault.CONNECT_FAILED, why.words, why.status, why.reply)
        return why

    async def _greet(self, wire: Wire, host: Host, terms: TlsTerms, record: Transcript) -> None:
        session = wire.session
        if terms.implicit:
            await self._handshake(wire, host, terms, record)
        await _expected(wire)
        if terms.level is TlsLevel.NONE or session.tls:
            return
        refused = f"{host.name} does not offer STARTTLS"
        if "STARTTLS" in session.extensions:
            session.start_tls()
            _say(wire)
            event = await _next(wire)
            if isinstance(event, TlsBegins):
                await self._handshake(wire, host, terms, record)
                _say(wire)
                await _expected(wire)
                return
            refused = f"{host.name} offers STARTTLS and refuses it: {event.reply.wire}"  # type: ignore[union-attr] # TlsRefused: there is nothing else
        if terms.level >= TlsLevel.ENCRYPT:
            raise AttemptError(Fault.TLS, f"{refused}, but TLS is required ({terms.source})", "4.7.4")
        record.note("going on in clear")

    async def _handshake(self, wire: Wire, host: Host, terms: TlsTerms, record: Transcript) -> None:
        record.take(wire.session.dialogue)
        wire.start_tls(connection_creator(host, terms, self._authorities))
        try:
            await wire.event()
        except AttemptError as why:
            if terms.level is TlsLevel.OPPORTUNISTIC and why.fault is Fault.TLS:
                raise BrokenTlsError(why.fault, why.words, why.status) from None
            raise
        record.note(wire.tls)
        wire.session.secured()
        wire.begin_wait()

    # AUTH

    async def _authenticate(self, wire: Wire, terms: TlsTerms, credential: Credential, record: Transcript) -> None:
        session = wire.session
        near = session.near
        if not session.tls and not near:
            raise AttemptError(Fault.TLS, "our credential is not sent outside of TLS, and there is none", "4.7.0")
        clear = near or session.verified or (terms.source == "site" and terms.level >= TlsLevel.ENCRYPT)
        mechanisms = choose(session.mechanisms, clear=clear)
        if not mechanisms:
            raise _no_mechanism(session.mechanisms, clear=clear)
        why = "nothing was tried"
        for mechanism in mechanisms[:1] + mechanisms[1:2] * (mechanisms[0] == SCRAM):
            try:
                said = exchange(mechanism, credential.user, credential.password, secrets.token_urlsafe(24))
            except ExchangeError as fault:
                raise AttemptError(Fault.AUTH, str(fault), "4.7.8") from None
            session.authenticate(mechanism, said.initial)
            _say(wire)
            refusal = await self._exchanged(wire, said)
            if refusal is None:
                record.note(f"authenticated by {mechanism}")
                return
            why = f"{mechanism}: {refusal.wire}"
            if not refusal.permanent:
                break
        raise AttemptError(Fault.AUTH, f"the peer does not take our credential: {why}", "4.7.8")

    async def _exchanged(self, wire: Wire, said: ClientExchange) -> PeerReply | None:
        """Carry one exchange to its end -> the refusal, None for none."""
        session = wire.session
        while isinstance(event := await _next(wire), Challenged):
            try:
                response = said.receive(event.data)
                if isinstance(response, KeyWanted):
                    response = said.key(await self._threads(salted, response))
            except ExchangeError as why:
                session.cancel()
                _say(wire)
                await _next(wire)
                raise AttemptError(Fault.AUTH, f"AUTH was broken off: {why}", "4.7.8") from None
            session.respond(response)
            _say(wire)
        if isinstance(event, NotAuthenticated):
            return event.reply
        assert isinstance(event, Authenticated)
        if not said.proven:
            raise AttemptError(Fault.AUTH, "the peer has not shown that it knows our password", "4.7.8")
        return None


def _no_mechanism(offered: frozenset[str], *, clear: bool) -> AttemptError:
    words = "the peer offers no AUTH" if not offered else "the peer offers no mechanism of AUTH that we have"
    if choose(offered, clear=True) and not clear:
        words = (
            "the peer's certificate is not verified: our password is not shown to it"
            ' (trust its authority by tls_ca_file, or write tls = "encrypt" for the destination)'
        )
    return AttemptError(Fault.AUTH, words, "4.7.0")


def _say(wire: Wire) -> None:
    wire.flush()
    wire.begin_wait()


async def _next(wire: Wire) -> Event:
    """Return the session's next event.  Raises AttemptError where it is its end."""
    event = await wire.event()
    if isinstance(event, Ended):
        raise AttemptError(Fault.CONNECT_FAILED, "the peer refused the session", "4.4.0", event.reply)
    return event


async def _expected(wire: Wire) -> None:
    """Wait for ``Ready``: nothing else can come."""
    await _next(wire)


def _is_here(wire: Wire) -> bool:
    """Whether nothing leaves this host on the way to the peer."""
    peer = wire.transport.getPeer()
    if isinstance(peer, UNIXAddress):
        return True
    try:
        return ipaddress.ip_address(str(getattr(peer, "host", ""))).is_loopback
    except ValueError:
        return False
