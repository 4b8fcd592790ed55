"""The policy ``authentication``: what it does with what SPF, DKIM and DMARC say."""

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.interfaces import IPolicy
from netsvc.mail.address import NULL, Address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts
from netsvc.offreactor import OffReactor
from netsvc.plugins.netsvc_content import authentication as maker
from netsvc.policy.auth.policy import SPF_SECONDS, Authentication, authentication
from netsvc.records import PASS
from tests.fakes import FakeGround, FakeSite
from tests.policy.auth.contents import FakeContent
from tests.signing import rsa_key, signed
from tests.zones import FakeResolver

ZONE = {
    "example.com": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
    "s1._domainkey.example.com": {"TXT": [rsa_key()[1]]},
    "s1._domainkey.test.example": {"TXT": [rsa_key(2048, 1)[1] + "; t=y"]},
    "s1._domainkey.temp.example": "SERVFAIL",
    "_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject"]},
    "_dmarc.quarantine.example": {"TXT": ["v=DMARC1; p=quarantine"]},
    "_dmarc.none.example": {"TXT": ["v=DMARC1; p=none"]},
    "temp.example": "SERVFAIL",
    "_dmarc.temp.example": "SERVFAIL",
    "client.example.net": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
}
MESSAGE = b"From: joe@example.com\r\nSubject: x\r\n\r\nWe lost  the game.\r\n"


class Case(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.names = FakeResolver(ZONE)
        self.site = FakeSite(relay_from=("198.51.100.0/24",))
        self.draws = 0
        ground = FakeGround(site=self.site, clock=self.clock, resolver=self.names)
        self.policy = Authentication(ground, maybeDeferred, lambda: self.draws)
        self.configure()

    def configure(self, **values):
        self.policy.configure({setting.name: setting.default for setting in maker.settings} | values)

    def session(self, peer="192.0.2.1", **facts):
        return SessionFacts("S1", peer, 1, "smtp", "mx1.example.org", helo="client.example.net", **facts)

    def ask(self, stage, sender="joe@example.com", message=MESSAGE, session=None):
        path = Address(*sender.split("@")) if sender else NULL
        session = session or self.session()
        to = (Recipient(Address("bob", "example.org")),)
        envelope = Envelope(session, path, to, content=FakeContent(message) if stage == "content" else None)
        return self.policy.check(stage, session, envelope)

    def answer(self, *arguments, **words):
        return self.successResultOf(maybeDeferred(self.ask, *arguments, **words))


class Reporting(Case):
    def test_promise(self):
        assert verifyObject(IPolicy, self.policy)
        assert self.policy.stages == maker.stages
        made = maker.make(FakeGround(resolver=self.names))
        assert isinstance(made, Authentication)
        assert isinstance(made._run, OffReactor)
        assert authentication(FakeGround(resolver=self.names)).name == maker.name

    def test_all_is_well(self):
        assert self.answer("mail") is PASS
        verdict = self.answer("content", message=signed(MESSAGE))
        assert (verdict.action, verdict.tags) == ("pass", ())
        start = verdict.header.partition(b"header.b=")[2].partition(b";")[0]
        assert verdict.header == (
            b"Authentication-Results: mx1.example.org;\r\n"
            b"\tspf=pass (example.com: ip4:192.0.2.1) smtp.mailfrom=joe@example.com;\r\n"
            b"\tdkim=pass header.d=example.com header.s=s1 header.a=rsa-sha256 header.b=" + start + b";\r\n"
            b"\tdmarc=pass header.from=example.com\r\n"
        )

    def test_all_is_wrong_and_only_told_of(self):
        session = self.session("203.0.113.1")
        assert self.answer("mail", session=session) is PASS
        verdict = self.answer("content", message=signed(MESSAGE)[:-5], session=session)
        assert (verdict.action, verdict.tags, verdict.reply) == ("pass", (), None)
        for words in (b"spf=fail", b"dkim=fail (the body was changed)", b"dmarc=fail", b"policy.dmarc=reject"):
            assert words in verdict.header

    def test_null_sender_is_checked_by_helo(self):
        verdict = self.answer("content", "")
        assert b"spf=pass (client.example.net: ip4:192.0.2.1) smtp.helo=client.example.net;" in verdict.header

    def test_nothing_there(self):
        verdict = self.answer("content", "joe@nosuch.example", message=b"From: a@nosuch.example\r\n\r\nx\r\n")
        assert b"spf=none" in verdict.header
        assert b"dkim=none (no signature)" in verdict.header
        assert b"dmarc=none (no DMARC record) header.from=nosuch.example" in verdict.header

    def test_what_is_off_is_not_looked_up(self):
        self.configure(spf="off", dkim="off", dmarc="off")
        assert self.answer("mail") is PASS
        assert self.answer("content").header == b"Authentication-Results: mx1.example.org;\r\n\tnone\r\n"
        assert self.names.asked == []

    def test_our_own_are_not_checked(self):
        for session in (self.session("198.51.100.9"), self.session(user="joe"), self.session(service="lmtp")):
            assert self.answer("content", session=session) is PASS
        assert self.names.asked == []

    def test_spf_is_asked_at_mail_and_once(self):
        self.names.hold = True
        assert self.answer("mail") is PASS
        asked = self.ask("content")
        self.assertNoResult(asked)
        for _ in range(8):
            self.names.release()
        assert b"spf=pass" in self.successResultOf(asked).header
        assert self.names.asked.count(("TXT", "example.com")) == 1

    def test_spf_that_takes_too_long(self):
        self.names.hold = True
        self.configure(dkim="off", dmarc="off")
        asked = self.ask("content")
        self.clock.advance(SPF_SECONDS)
        assert b"spf=temperror (no answer in time)" in self.successResultOf(asked).header


class Acting(Case):
    def test_spf(self):
        bad = self.session("203.0.113.1")
        self.configure(spf="reject")
        assert self.answer("mail", session=bad) is PASS
        verdict = self.answer("rcpt", session=bad)
        assert (verdict.action, verdict.reply.code, verdict.reply.status) == ("reject", 550, "5.7.23")
        assert "203.0.113.1" in verdict.reply.text
        assert self.answer("rcpt") is PASS
        for action in ("tag", "hold"):
            self.configure(spf=action)
            assert self.answer("rcpt", session=bad) is PASS
            verdict = self.answer("content", session=bad)
            assert (verdict.action, verdict.tags) == (action, ("spf-fail",))
            assert verdict.why == "SPF fail: example.com: -all"

    def test_dkim(self):
        self.configure(dkim="reject")
        assert self.answer("content", message=signed(MESSAGE)[:-5]).reply.status == "5.7.20"
        assert self.answer("content", message=MESSAGE).action == "pass"
        twice = signed(signed(MESSAGE), "none.example")
        assert self.answer("content", message=twice).action == "pass"  # one that is valid is enough
        assert self.answer("content", message=signed(MESSAGE, "none.example")).reply.status == "5.7.20"

    def test_keys_for_tests(self):
        self.configure(dkim="reject")
        verdict = self.answer("content", message=signed(MESSAGE, "test.example"))
        assert verdict.action == "pass"
        assert b"dkim=fail (the signature is not of this key and header, a key for tests)" in verdict.header

    def test_dmarc_obeyed(self):
        self.configure(dmarc="obey")
        bad = self.session("203.0.113.1")
        verdict = self.answer("content", session=bad)
        assert (verdict.action, verdict.reply.code, verdict.reply.status) == ("reject", 550, "5.7.26")
        assert verdict.why == "DMARC fail: example.com, policy reject at example.com"
        quarantined = MESSAGE.replace(b"example.com", b"quarantine.example")
        verdict = self.answer("content", message=quarantined)
        assert (verdict.action, verdict.tags) == ("tag", ("dmarc-fail",))
        self.configure(dmarc="obey", quarantine="hold")
        assert self.answer("content", message=quarantined).action == "hold"
        lenient = MESSAGE.replace(b"example.com", b"none.example")
        assert self.answer("content", message=lenient).action == "pass"
        self.configure(dmarc="tag")
        assert self.answer("content", session=bad).action == "tag"

    def test_authors_that_cannot_be_trusted(self):
        self.configure(dmarc="obey")
        for message in (b"Subject: x\r\n\r\nx\r\n", b"From: a@b.example\r\n" + MESSAGE, b"From: nobody\r\n\r\nx\r\n"):
            verdict = self.answer("content", message=message)
            assert (verdict.action, verdict.reply.status) == ("reject", "5.7.1")
        self.configure(dmarc="report")
        assert b"dmarc=permerror" in self.answer("content", message=b"From: nobody\r\n\r\nx\r\n").header

    def test_of_many_authors_the_least_believed_counts(self):
        self.configure(dmarc="obey")
        message = MESSAGE.replace(b"joe@example.com", b"joe@example.com, ann@quarantine.example")
        assert self.answer("content", message=message).tags == ("dmarc-fail",)
        message = MESSAGE.replace(b"joe@example.com", b"a@none.example, ann@quarantine.example")
        assert b"header.from=quarantine.example" in self.answer("content", message=message).header

    def test_a_sample_only(self):
        self.names.records["_dmarc.example.com"] = {"TXT": ["v=DMARC1; p=reject; pct=10"]}
        self.configure(dmarc="obey")
        bad = self.session("203.0.113.1")
        assert self.answer("content", session=bad).action == "reject"
        self.draws = 10
        assert self.answer("content", session=bad).action == "tag"

    def test_what_is_not_sure(self):
        temp = MESSAGE.replace(b"example.com", b"temp.example")
        verdict = self.answer("content", "joe@temp.example", message=signed(temp, "temp.example"))
        assert verdict.action == "pass"
        for words in (b"spf=temperror", b"dkim=temperror", b"dmarc=temperror"):
            assert words in verdict.header
        self.configure(defer_unsure=True)
        verdict = self.answer("rcpt", "joe@temp.example")
        assert (verdict.action, verdict.reply.code, verdict.reply.status) == ("defer", 451, "4.7.24")
        self.configure(defer_unsure=True, spf="off")
        assert self.answer("rcpt", "joe@temp.example") is PASS
        assert self.answer("content", message=signed(temp, "temp.example")).reply.status == "4.7.20"
        self.configure(defer_unsure=True, spf="off", dkim="off")
        assert self.answer("content", message=temp).reply.status == "4.7.26"

    def test_dmarc_asks_for_what_is_off(self):
        self.configure(spf="off", dkim="off", dmarc="obey")
        bad = self.session("203.0.113.1")
        assert self.answer("content").header.count(b"pass") == 1  # by SPF
        assert self.answer("content", session=bad, message=signed(MESSAGE)).header.count(b"pass") == 1
        assert self.answer("content", session=bad).action == "reject"

    def test_results_in_our_name(self):
        forged = b"Authentication-Results: MX1.example.org; spf=pass\r\n" + MESSAGE
        assert self.answer("content", message=forged).tags == ("forged-results",)
        self.configure(forged="reject")
        assert self.answer("content", message=forged).reply.status == "5.7.1"
        self.configure(forged="report")
        assert self.answer("content", message=forged).tags == ()

    def test_the_gravest_wins_and_all_are_tagged(self):
        self.configure(spf="hold", dkim="reject", dmarc="tag")
        verdict = self.answer("content", session=self.session("203.0.113.1"), message=signed(MESSAGE)[:-5])
        assert (verdict.action, verdict.tags) == ("reject", ("spf-fail", "dkim-fail", "dmarc-fail"))
        assert verdict.why.startswith("DKIM fail")
