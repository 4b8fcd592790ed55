"""The policy ``authentication``: SPF, DKIM and DMARC, told in one Authentication-Results field (RFC 8601).

SPF is begun when MAIL is given and refuses at RCPT, where postmaster always comes through; DKIM and DMARC are checked
when the content is there.  What fails is only told of unless the site says more.  Mail of authenticated users, of
submission and LMTP listeners and of networks that may relay is not checked: it begins here, or was checked before.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 - Twisted's name
from zope.interface import implementer

from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.offreactor import OffReactor
from netsvc.policy.auth.dmarc import DmarcCheck, DmarcResult
from netsvc.policy.auth.fields import author_domains, read_header
from netsvc.policy.auth.results import Finding, forged, results_field
from netsvc.policy.auth.spf import SpfCheck, SpfClient, SpfResult, client_ip
from netsvc.policy.auth.verifier import Verifier
from netsvc.policy.guests import Guests, Remembered
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.interfaces import IPolicyGround
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.mail.reply import Reply
    from netsvc.policy.auth.dkim import DkimResult
    from netsvc.policy.auth.fields import Header

THREADS = 2
SPF_SECONDS = 20
"""How long one SPF check may take (RFC 7208 4.6.4)."""
REMEMBERED = 2000
"""SPF checks kept from MAIL to the content."""
REMEMBER_SECONDS = 120.0

_WEIGHT = {"pass": 0, "tag": 1, "hold": 2, "defer": 3, "reject": 4}


class _Opinion:
    """The gravest of what several checks ask for."""

    def __init__(self) -> None:
        self.verdict = PASS
        self.tags: list[str] = []

    def add(self, action: str, answer: Reply, why: str, tag: str) -> None:
        if action == "report":
            return
        self.tags.append(tag)
        if _WEIGHT[action] > _WEIGHT[self.verdict.action]:
            self.verdict = Verdict(action, answer if action in ("reject", "defer") else None, why)

    def sum(self, header: bytes) -> Verdict:
        verdict = self.verdict
        return Verdict(verdict.action, verdict.reply, verdict.why, tuple(self.tags), header)


@implementer(IPolicy)
class Authentication:
    """See the module.  ``run`` runs what takes time in a thread, ``draw()`` is a random number of 0 to 99."""

    name = "authentication"
    stages = ("mail", "rcpt", "content")

    def __init__(
        self,
        ground: IPolicyGround,
        run: Callable[..., Deferred[Any]] | None = None,
        draw: Callable[[], int] = lambda: random.randrange(100),  # noqa: S311 - a sample, not a secret
    ) -> None:
        self._clock = ground.clock
        self._names = ground.resolver
        self._hostname = ground.hostname.lower()
        self._run = run or OffReactor(ground.clock, "authentication", THREADS)
        self._verifier = Verifier(ground.resolver, self._run)
        self._draw = draw
        self._spf = Remembered(self._ask_spf, ground.clock, REMEMBER_SECONDS, limit=REMEMBERED)
        self._values: Mapping[str, Any] = {}
        self._guests = Guests(ground.site)

    def configure(self, values: Mapping[str, Any]) -> None:
        """See IPolicy."""
        self._values = values

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """See IPolicy."""
        if session not in self._guests:
            return PASS
        if stage == "content":
            return Deferred.fromCoroutine(self._content(session, envelope))
        values = self._values
        asked = _asked_of_spf(session, envelope)
        if stage == "mail":
            if values["spf"] != "off" or values["dmarc"] != "off":
                self._spf.ahead(asked)  # the answer is for later: nobody waits for it now
            return PASS
        if values["spf"] == "reject" or (values["spf"] != "off" and values["defer_unsure"]):
            return self._spf.get(asked).addCallback(self._judge_sender, session)
        return PASS

    # SPF.

    async def _ask_spf(self, asked: tuple[str, str, str]) -> SpfResult:
        """Check (client address, HELO name, sender), "" for the null reverse-path; it never fails."""
        peer, helo, sender = asked
        scope = "mailfrom" if sender else "helo"
        whole = sender or f"postmaster@{helo}"
        check = SpfCheck(self._names, SpfClient(client_ip(peer), helo, whole))
        running = Deferred.fromCoroutine(check.run(scope))
        running.addTimeout(SPF_SECONDS, self._clock)
        try:
            return await running
        except TimeoutError:
            return SpfResult("temperror", whole.rpartition("@")[2], "no answer in time", scope)

    def _judge_sender(self, result: SpfResult, session: SessionFacts) -> Verdict:
        """Return the verdict at RCPT: a refusal only, what else there is to say is said with the content."""
        opinion = _Opinion()
        self._weigh_spf(opinion, result, session)
        return opinion.verdict if opinion.verdict.action in ("reject", "defer") else PASS

    def _weigh_spf(self, opinion: _Opinion, result: SpfResult, session: SessionFacts) -> None:
        why = f"SPF {result.result}: {result.why}"
        if result.result == "fail":
            answer = reply.SPF_FAIL.fill(peer=session.peer, domain=result.domain)
            opinion.add(self._values["spf"], answer, why, "spf-fail")
        elif result.result == "temperror" and self._values["defer_unsure"]:
            opinion.add("defer", reply.SPF_UNSURE.fill(domain=result.domain), why, "spf-unsure")

    # The content.

    async def _content(self, session: SessionFacts, envelope: Envelope) -> Verdict:
        values = self._values
        header: Header = await self._run(read_header, envelope.content.header)
        opinion = _Opinion()
        findings: list[Finding] = []
        dmarc = values["dmarc"] != "off"  # it needs both of the others, told of or not
        spf: SpfResult | None = None
        if dmarc or values["spf"] != "off":
            spf = await self._spf.get(_asked_of_spf(session, envelope))
        if spf is not None and values["spf"] != "off":
            self._weigh_spf(opinion, spf, session)
            findings.append(_spf_finding(spf, session, envelope))
        dkim: list[DkimResult] = []
        if dmarc or values["dkim"] != "off":
            dkim = await self._verifier.check(envelope.content, header)
        if values["dkim"] != "off":
            self._weigh_dkim(opinion, dkim)
            findings += _dkim_findings(dkim)
        if dmarc:
            result = await self._dmarc(header, spf, dkim)
            self._weigh_dmarc(opinion, result)
            findings.append(_dmarc_finding(result))
        if await self._run(forged, header, self._hostname):
            opinion.add(values["forged"], reply.FORGED_RESULTS, "it brings results in our name", "forged-results")
        return opinion.sum(results_field(self._hostname, findings))

    def _weigh_dkim(self, opinion: _Opinion, results: list[DkimResult]) -> None:
        """Weigh signatures: one that is valid is enough; one whose key is for tests only does not count (3.6.1)."""
        counting = [each for each in results if not (each.testing and each.result != "pass")]
        if not counting or any(each.result == "pass" for each in counting):
            return
        unsure = [each for each in counting if each.result == "temperror"]
        if not unsure:
            why = f"DKIM {counting[0].result}: {counting[0].why}"
            opinion.add(self._values["dkim"], reply.DKIM_FAIL, why, "dkim-fail")
        elif self._values["defer_unsure"]:
            opinion.add("defer", reply.DKIM_UNSURE, f"DKIM: {unsure[0].why}", "dkim-unsure")

    async def _dmarc(self, header: Header, spf: SpfResult | None, dkim: list[DkimResult]) -> DmarcResult:
        authors: tuple[str, ...] | None = await self._run(author_domains, header)
        if authors is None:
            return DmarcResult("permerror", why="From is missing, repeated or no mailbox")
        valid = [each.domain for each in dkim if each.result == "pass"]
        unsure = any(each.result == "temperror" for each in dkim) or (spf is not None and spf.result == "temperror")
        spf_domain = spf.domain if spf is not None and spf.result == "pass" else ""
        check = DmarcCheck(self._names, self._draw)
        results = [await check.run(author, spf_domain, valid, unsure=unsure) for author in authors]
        order = ("fail", "temperror", "none", "pass")  # of several authors, the one that is least believed
        return min(results, key=lambda each: (order.index(each.result), -_severity(each)))

    def _weigh_dmarc(self, opinion: _Opinion, result: DmarcResult) -> None:
        values = self._values
        action = values["dmarc"]
        if result.result == "permerror":
            answer = reply.BAD_AUTHOR
            opinion.add("reject" if action == "obey" else action, answer, f"DMARC: {result.why}", "dmarc-permerror")
        elif result.result == "fail":
            if action == "obey":
                action = {"reject": "reject", "quarantine": values["quarantine"], "none": "report"}[result.policy]
            why = f"DMARC fail: {result.domain}, policy {result.policy} at {result.found_at}"
            opinion.add(action, reply.DMARC_FAIL.fill(domain=result.domain), why, "dmarc-fail")
        elif result.result == "temperror" and values["defer_unsure"]:
            opinion.add("defer", reply.DMARC_UNSURE.fill(domain=result.domain), f"DMARC: {result.why}", "dmarc-unsure")


def _asked_of_spf(session: SessionFacts, envelope: Envelope) -> tuple[str, str, str]:
    return session.peer, session.helo, str(envelope.reverse_path) if envelope.reverse_path.domain else ""


def _severity(result: DmarcResult) -> int:
    return ("none", "quarantine", "reject").index(result.policy)


def _spf_finding(spf: SpfResult, session: SessionFacts, envelope: Envelope) -> Finding:
    if spf.scope == "helo":
        return Finding("spf", spf.result, (("smtp.helo", session.helo),), spf.why)
    return Finding("spf", spf.result, (("smtp.mailfrom", str(envelope.reverse_path)),), spf.why)


def _dkim_findings(results: list[DkimResult]) -> list[Finding]:
    if not results:
        return [Finding("dkim", "none", why="no signature")]
    return [Finding("dkim", each.result, _signature_words(each), _signature_why(each)) for each in results]


def _signature_words(result: DkimResult) -> tuple[tuple[str, str], ...]:
    return (
        ("header.d", result.domain),
        ("header.s", result.selector),
        ("header.a", result.algorithm),
        ("header.b", result.start),
    )


def _signature_why(result: DkimResult) -> str:
    return f"{result.why}, a key for tests".removeprefix(", ") if result.testing else result.why


def _dmarc_finding(result: DmarcResult) -> Finding:
    policy = (("policy.dmarc", result.policy),) if result.result == "fail" else ()
    return Finding("dmarc", result.result, (("header.from", result.domain), *policy), result.why)


def authentication(ground: IPolicyGround) -> Authentication:
    """Return the policy on ``ground``."""
    return Authentication(ground)
