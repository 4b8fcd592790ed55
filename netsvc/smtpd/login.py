"""The logins of one session: SASL exchanges run to their end through twisted.cred (T22).

Whatever is wrong with a name, a password or a proof, the client hears the same
words; each failure beyond the third is answered a second later than the one
before, and the tenth ends the session.  No password is kept or logged.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginDenied, LoginFailed, UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from zope.interface import implementer

from netsvc.interfaces import IMailLogin, IScramLogin, ISubmitter
from netsvc.mail import reply as r
from netsvc.mail.escape import escape
from netsvc.sasl.plain import Login, Plain
from netsvc.sasl.scram import PLUS, Scram
from netsvc.sasl.steps import (
    Challenge,
    Exchange,
    MalformedError,
    PasswordGiven,
    ProofGiven,
    RefusedError,
    Step,
    VerifierWanted,
)
from netsvc.sasl.verifier import MECHANISM, read_verifier
from netsvc.smtp.events import AuthRequested
from netsvc.smtp.security import challenge
from netsvc.smtpd.tls import bindings_of

if TYPE_CHECKING:
    from netsvc.interfaces import ISessionEntry
    from netsvc.mail.envelope import SessionFacts
    from netsvc.mail.reply import Reply
    from netsvc.smtp.events import AuthAnswered
    from netsvc.smtpd.guard import Guard

FREE_FAILURES: Final = 3
MOST_FAILURES: Final = 10
NAME_SHOWN: Final = 100


@implementer(IMailLogin)
class MailPassword(UsernamePassword):
    """A name and a password of a mail client, octets, and the address they came from."""

    def __init__(self, name: str, password: str, source: str) -> None:
        super().__init__(name.encode("utf-8"), password.encode("utf-8"))
        self.source = source


@implementer(IScramLogin)
class ScramProof:
    """See IScramLogin."""

    def __init__(self, name: str, source: str, exchange: Scram) -> None:
        self.username = name
        self.source = source
        self.proves = exchange.proves


class Logins:
    """See the module.  ``handle`` is the TLS session's, None outside TLS."""

    __slots__ = (
        "_entry",
        "_exchange",
        "_facts",
        "_failures",
        "_guard",
        "_handle",
        "_malformed",
        "_mechanism",
        "_submitter",
    )

    def __init__(self, guard: Guard, facts: SessionFacts, entry: ISessionEntry, handle: Any) -> None:
        self._guard = guard
        self._facts = facts
        self._entry = entry
        self._handle = handle
        self._failures = 0
        self._malformed = 0  # responses that no mechanism has
        self._mechanism = ""
        self._exchange: Exchange | None = None
        self._submitter: Any = None  # who has proven himself in an exchange that is not over

    def answer(self, event: AuthRequested | AuthAnswered) -> Deferred[Reply]:
        """-> Deferred[Reply]: 334 for more, 235, or what ends the exchange; it does not fail."""
        return Deferred.fromCoroutine(self._answer(event))

    async def _answer(self, event: AuthRequested | AuthAnswered) -> Reply:
        try:
            if isinstance(event, AuthRequested):
                self._submitter = None
                self._mechanism = event.mechanism
                self._exchange = self._new_exchange()
                step = self._exchange.receive(event.initial)
            else:
                assert self._exchange is not None
                step = self._exchange.receive(event.response)
        except MalformedError:
            self._malformed += 1
            return r.BAD_BASE64 if self._malformed < MOST_FAILURES else self._enough()
        except RefusedError as error:
            return await self._failed("", str(error))
        return await self._take(step)

    def _new_exchange(self) -> Exchange:
        if self._mechanism == "PLAIN":
            return Plain()
        if self._mechanism == "LOGIN":
            return Login()
        assert self._mechanism in (MECHANISM, PLUS)
        bindings = bindings_of(self._handle)
        return Scram(secrets.token_urlsafe(18), bindings, plus=self._mechanism == PLUS, plus_offered=bool(bindings))

    async def _take(self, step: Step) -> Reply:
        exchange, source = self._exchange, self._facts.peer
        if isinstance(step, Challenge):
            return challenge(step.data)
        if isinstance(step, PasswordGiven):
            refused = await self._log_in(step.name, MailPassword(step.name, step.password, source))
            return refused or self._enter()
        if not isinstance(exchange, Scram):
            raise AssertionError(f"{self._mechanism} has no {type(step).__name__}")  # noqa: TRY004 - a mistake of ours
        if isinstance(step, VerifierWanted):
            return await self._begin_scram(exchange, step.name)
        if isinstance(step, ProofGiven):
            refused = await self._log_in(step.name, ScramProof(step.name, source, exchange))
            return refused or challenge(exchange.finish().data)
        return self._enter()

    async def _begin_scram(self, exchange: Scram, name: str) -> Reply:
        verifiers = self._guard.locks.verifiers
        assert verifiers is not None
        try:
            text = await verifiers.verifier(name)
        except Exception:  # noqa: BLE001 - whatever it is, the client may try again
            return self._not_tried(name)
        return challenge(exchange.begin(read_verifier(text)).data)

    async def _log_in(self, name: str, credentials: Any) -> Reply | None:
        """Let the portal decide; return the refusal, None when the client is somebody."""
        try:
            _, self._submitter, _ = await self._guard.locks.portal.login(credentials, None, ISubmitter)
        except (UnauthorizedLogin, LoginDenied) as error:
            return await self._failed(name, str(error))
        except LoginFailed:  # too many are being checked
            return r.LOGIN_NOT_TRIED
        except Exception:  # noqa: BLE001 - whatever it is, the client may try again
            return self._not_tried(name)
        return None

    def _not_tried(self, name: str) -> Reply:
        self._guard.locks.logbook.failure(
            "auth.fault", None, session=self._facts.id, peer=self._facts.peer, user=escape(name, NAME_SHOWN)
        )
        return r.LOGIN_NOT_TRIED

    async def _failed(self, name: str, why: str) -> Reply:
        """Log and count a failure; answer it in its time."""
        self._failures += 1
        locks, facts = self._guard.locks, self._facts
        locks.logbook.event(
            "auth.failed",
            session=facts.id,
            peer=facts.peer,
            user=escape(name, NAME_SHOWN),
            mechanism=self._mechanism,
            why=why,
            failures=self._failures,
        )
        if self._failures > FREE_FAILURES:
            await deferLater(locks.clock, self._failures - FREE_FAILURES)
        return r.LOGIN_FAILED if self._failures < MOST_FAILURES else self._enough()

    def _enough(self) -> Reply:
        return r.TOO_MANY_LOGINS.fill(hostname=self._guard.hostname)

    def _enter(self) -> Reply:
        submitter, facts = self._submitter, self._facts
        facts.user = self._entry.user = submitter.name
        self._exchange = self._submitter = None
        self._guard.locks.logbook.event(
            "auth.ok",
            session=facts.id,
            peer=facts.peer,
            user=submitter.name,
            mechanism=self._mechanism,
            tls=facts.tls,
        )
        return r.AUTHENTICATED
