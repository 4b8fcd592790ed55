"""What TLS must be like with a destination's hosts: the site, MTA-STS and DANE together."""

from types import SimpleNamespace

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from netsvc.delivery.dane import Dane
from netsvc.delivery.faults import AttemptError
from netsvc.delivery.stspolicy import StsPolicy
from netsvc.delivery.terms import Host, TlsLevel, TlsTerms
from netsvc.delivery.tlspolicy import TlsPolicies
from netsvc.interfaces import ITlsPolicies
from netsvc.mail.outcome import Fault
from netsvc.records import Found, NameNotFoundError, NameTemporaryError
from netsvc.settings import DeliverySettings, DestinationSettings, SiteSettings
from tests.fakes import FakeLogbook

ONE = Host("mx1.example.org", ("192.0.2.1",), validated=True)
TWO = Host("mx2.example.org", ("192.0.2.2",), validated=True)
PLAIN = Host("mx3.example.org", ("192.0.2.3",))
RECORD = (3, 1, 1, b"d" * 32)
DEFAULT = TlsTerms()
STS = TlsTerms(TlsLevel.VERIFY, source="mta-sts")


def by_dane(host, *more):
    return TlsTerms(TlsLevel.VERIFY, (host.name, *more, "example.org"), (RECORD,), "dane")


class TlsPoliciesTests(TestCase):
    def setUp(self):
        self.site = SimpleNamespace(current=SiteSettings())
        self.sts = None
        self.zone = {}
        self.asked = []
        self.logbook = FakeLogbook()
        self.policies = TlsPolicies(self.site, self, Dane(self), self.logbook)

    async def policy(self, domain):
        self.asked.append(domain)
        return self.sts

    def look(self, kind, name):
        self.asked.append(name)
        answer = self.zone.get(name, NameNotFoundError("no such name"))
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    def hosts(self, *hosts, domain="example.org", key=""):
        return Deferred.fromCoroutine(self.policies.hosts(domain, list(hosts), key))

    def terms(self, *hosts, **more):
        return [(host.name, terms) for host, terms in self.successResultOf(self.hosts(*hosts, **more))]

    def refused(self, *hosts):
        why = self.failureResultOf(self.hosts(*hosts), AttemptError).value
        assert (why.fault, why.status) == (Fault.TLS, "4.7.5")
        return why.words

    def say(self, delivery=None, **destinations):
        named = {name.replace("_", "."): said for name, said in destinations.items()}
        self.site.current = SiteSettings(delivery=delivery or DeliverySettings(), destinations=named)

    # the site

    def test_the_sites_level_where_nothing_is_published(self):
        assert self.terms(ONE, PLAIN) == [(ONE.name, DEFAULT), (PLAIN.name, DEFAULT)]
        self.say(DeliverySettings(tls="encrypt"))
        assert self.terms(PLAIN) == [(PLAIN.name, TlsTerms(TlsLevel.ENCRYPT))]

    def test_what_is_off_costs_nothing(self):
        self.sts = StsPolicy("enforce", 1, ("none.example",))
        self.zone["_25._tcp.mx1.example.org"] = Found((RECORD,), validated=True)
        self.say(DeliverySettings(mta_sts=False, dane=False))
        assert self.terms(ONE) == [(ONE.name, DEFAULT)]
        self.say(DeliverySettings(tls="none"))
        assert self.terms(ONE) == [(ONE.name, TlsTerms(TlsLevel.NONE))]
        bare = TlsPolicies(self.site)
        self.say()
        assert self.successResultOf(Deferred.fromCoroutine(bare.hosts("example.org", [ONE]))) == [(ONE, DEFAULT)]
        assert self.asked == []

    def test_the_sites_word_for_a_destination_is_the_last(self):
        self.sts = StsPolicy("enforce", 1, ("none.example",))
        self.say(
            example_org=DestinationSettings(tls="encrypt"),
            other_example=DestinationSettings(tls_names=("a.example", "*.example")),
        )
        assert self.terms(ONE) == [(ONE.name, TlsTerms(TlsLevel.ENCRYPT, source="site"))]
        wanted = TlsTerms(TlsLevel.VERIFY, ("a.example", "*.example"), source="site")
        assert self.terms(ONE, domain="", key="other.example") == [(ONE.name, wanted)]
        assert self.asked == []

    def test_port_465(self):
        host = Host("mx.example.org", ("192.0.2.1",), 465)
        assert self.terms(host) == [(host.name, TlsTerms(TlsLevel.ENCRYPT, implicit=True))]
        self.say(DeliverySettings(tls="verify"))
        assert self.terms(host) == [(host.name, TlsTerms(TlsLevel.VERIFY, implicit=True))]
        self.say(DeliverySettings(tls="none"))
        assert self.terms(host) == [(host.name, TlsTerms(TlsLevel.NONE))]

    # MTA-STS

    def test_enforced_hosts_are_verified_and_others_left_out(self):
        self.sts = StsPolicy("enforce", 1, ("mx1.example.org",))
        assert self.terms(TWO, ONE) == [(ONE.name, STS)]
        assert self.logbook.named("tls.host_left_out")[0]["host"] == TWO.name
        assert self.refused(TWO) == "mx2.example.org is not used: the domain's MTA-STS policy does not name it"

    def test_tested_hosts_are_told_of_and_used(self):
        self.sts = StsPolicy("testing", 1, ("mx1.example.org",))
        tested = TlsTerms(source="mta-sts testing")
        assert self.terms(ONE, TWO) == [(ONE.name, tested), (TWO.name, tested)]
        assert [fields["host"] for fields in self.logbook.named("tls.policy_tested")] == [TWO.name]
        self.say(DeliverySettings(tls="verify"))
        assert self.terms(ONE) == [(ONE.name, TlsTerms(TlsLevel.VERIFY))]

    def test_a_policy_given_up(self):
        self.sts = StsPolicy("none", 1)
        assert self.terms(ONE) == [(ONE.name, DEFAULT)]

    def test_a_host_that_a_route_names_has_no_domain_with_a_policy(self):
        self.sts = StsPolicy("enforce", 1, ("none.example",))
        assert self.terms(PLAIN, domain="", key="[mx3.example.org]:25") == [(PLAIN.name, DEFAULT)]
        assert self.asked == []

    # DANE

    def test_records_of_validated_hosts(self):
        for host in (ONE, TWO, PLAIN):
            self.zone[f"_25._tcp.{host.name}"] = Found((RECORD,), validated=True)
        self.zone["_25._tcp.mx2.example.org"] = Found((RECORD,), validated=False)
        assert self.terms(ONE, TWO, PLAIN) == [(ONE.name, by_dane(ONE)), (TWO.name, DEFAULT), (PLAIN.name, DEFAULT)]

    def test_records_are_under_the_port(self):
        host = Host("mx1.example.org", ("192.0.2.1",), 465, validated=True)
        self.zone["_465._tcp.mx1.example.org"] = Found((RECORD,), validated=True)
        [(_, terms)] = self.terms(host)
        assert (terms.tlsa, terms.implicit) == ((RECORD,), True)

    def test_records_under_what_the_name_is_an_alias_of(self):
        host = Host("mx1.example.org", ("192.0.2.1",), validated=True, alias_of="real.example.net")
        self.zone["_25._tcp.mx1.example.org"] = Found((RECORD,), validated=True)
        assert self.terms(host) == [(host.name, by_dane(host))]
        self.zone["_25._tcp.real.example.net"] = Found((RECORD,), validated=True)
        wanted = TlsTerms(TlsLevel.VERIFY, ("real.example.net", host.name, "example.org"), (RECORD,), "dane")
        assert self.terms(host) == [(host.name, wanted)]

    def test_records_nobody_can_use_ask_for_tls(self):
        self.zone["_25._tcp.mx1.example.org"] = Found(((0, 0, 1, b"d" * 32),), validated=True)
        assert self.terms(ONE) == [(ONE.name, TlsTerms(TlsLevel.ENCRYPT, source="dane"))]
        self.say(DeliverySettings(tls="verify"))
        assert self.terms(ONE) == [(ONE.name, TlsTerms(TlsLevel.VERIFY))]
        self.say()
        self.sts = StsPolicy("enforce", 1, ("mx1.example.org",))
        assert self.terms(ONE) == [(ONE.name, STS)]

    def test_a_question_without_an_answer_is_not_no(self):
        self.zone["_25._tcp.mx1.example.org"] = NameTemporaryError("SERVFAIL")
        assert self.refused(ONE) == "the TLSA records of mx1.example.org cannot be looked up: SERVFAIL"
        assert self.terms(ONE, TWO) == [(TWO.name, DEFAULT)]

    def test_dane_comes_before_mta_sts(self):
        self.sts = StsPolicy("enforce", 1, ("mx1.example.org", "mx2.example.org"))
        self.zone["_25._tcp.mx1.example.org"] = Found((RECORD,), validated=True)
        assert self.terms(ONE, TWO) == [(ONE.name, by_dane(ONE)), (TWO.name, STS)]

    # people

    def test_rows_and_forgetting(self):
        assert verifyObject(ITlsPolicies, self.policies)
        self.kept = SimpleNamespace(rows=lambda domain: succeed([{"domain": domain}]))
        assert self.successResultOf(self.policies.rows("Example.ORG.")) == [{"domain": "example.org"}]
        assert self.successResultOf(self.policies.rows()) == [{"domain": ""}]
        self.forget = self._forget
        assert self.successResultOf(self.policies.forget("example.org")) == 1

    async def _forget(self, domain):
        return len([domain])
