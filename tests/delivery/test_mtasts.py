"""The MTA-STS policy a domain has now: from memory, the store, the policy host; and what happens when one of them fails."""

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from netsvc.delivery import mtasts
from netsvc.delivery.mtasts import FETCH_AGAIN_MS, LOOK_AGAIN_MS, RENEW_MS, ROUND_S, MtaSts, ascii_name
from netsvc.delivery.stspolicy import StsError, StsPolicy
from netsvc.interfaces import ITlsPolicyRows
from netsvc.records import Found, NameNotFoundError, NameTemporaryError
from tests.fakes import FakeLogbook

DAY = 86_400_000
NOW = 1_800_000_000_000


def body(mode="enforce", hosts=("mx1.example.org",), age=7 * 86_400):
    lines = ["version: STSv1", f"mode: {mode}", f"max_age: {age}", *(f"mx: {host}" for host in hosts)]
    return "\r\n".join(lines).encode() + b"\r\n"


@implementer(ITlsPolicyRows)
class Kept:
    """The store's rows, in a dict; ``error`` is what everything fails with."""

    def __init__(self):
        self.held = {}
        self.error = None
        self.gets = 0

    def _did(self, result=None):
        return succeed(result) if self.error is None else fail(self.error)

    def get(self, domain):
        self.gets += 1
        row = self.held.get(domain)
        return self._did(None if row is None else dict(row))

    def put(self, row):
        self.held[row["domain"]] = dict(row)
        return self._did()

    def failed(self, domain, at, why):
        self.held[domain] |= {"tried": at, "why": why}
        return self._did()

    def used(self, domain, at):
        self.held[domain]["used"] = at
        return self._did()

    def rows(self, domain=""):
        return self._did([row for name, row in self.held.items() if domain in ("", name)])

    def stale(self, fetched_before, used_since, most):
        return self._did([row for row in self.held.values() if row["fetched"] < fetched_before][:most])

    def forget(self, domain=""):
        gone = [name for name in self.held if domain in ("", name)]
        for name in gone:
            del self.held[name]
        return self._did(len(gone))


class MtaStsTests(TestCase):
    def setUp(self):
        self.now = NOW
        self.ids = {"example.org": b"v=STSv1; id=a1;"}
        self.files = {"example.org": body()}
        self.fetched = []
        self.waiting = None
        self.kept = Kept()
        self.logbook = FakeLogbook()
        self.sts = self.make()

    def make(self):
        return MtaSts(self, self.kept, self.fetch, lambda: self.now, self.logbook)

    def look(self, kind, name):
        assert kind == "txt"
        answer = self.ids.get(name.removeprefix("_mta-sts."), NameNotFoundError("no such name"))
        return fail(answer) if isinstance(answer, Exception) else succeed(Found((answer,)))

    async def fetch(self, domain):
        self.fetched.append(domain)
        if self.waiting is not None:
            await self.waiting
        answer = self.files[domain]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def policy(self, domain="example.org"):
        return self.successResultOf(Deferred.fromCoroutine(self.sts.policy(domain)))

    def test_a_policy_is_fetched_once_and_kept(self):
        wanted = StsPolicy("enforce", 7 * 86_400, ("mx1.example.org",))
        assert self.policy() == wanted
        assert self.policy("Example.ORG.") == wanted
        assert self.fetched == ["example.org"]
        assert self.kept.held["example.org"]["until"] == NOW + 7 * DAY
        assert [name for _, name, _ in self.logbook.records] == ["tls.policy"]

    def test_another_node_has_fetched_it(self):
        self.policy()
        self.sts = self.make()
        assert self.policy().mode == "enforce"
        assert len(self.fetched) == 1

    def test_a_domain_without_one(self):
        self.ids = {}
        assert self.policy() is None
        assert self.policy() is None
        assert self.fetched == []
        assert self.kept.gets == 1

    def test_names_that_can_have_none(self):
        for name in ("localhost", "[192.0.2.1]", "192.0.2.1", "2001:db8::1", "", "a" * 70 + "é.example"):
            assert self.policy(name) is None
        assert self.kept.gets == 0
        assert ascii_name("bücher.example") == "xn--bcher-kva.example"

    def test_it_holds_though_the_record_is_gone_or_cannot_be_had(self):
        self.policy()
        for gone in (NameNotFoundError("x"), NameTemporaryError("x"), b"v=spf1 -all"):
            self.ids["example.org"] = gone
            self.sts = self.make()
            assert self.policy().mode == "enforce"
        self.now += 7 * DAY
        assert self.policy() is None

    def test_a_new_id_is_fetched_behind_the_back_of_the_mail(self):
        self.policy()
        self.ids["example.org"] = b"v=STSv1; id=a2;"
        self.files["example.org"] = body("none", ())
        self.waiting = Deferred()
        assert self.policy().mode == "enforce"
        assert self.policy().mode == "enforce"
        assert len(self.fetched) == 2
        self.waiting.callback(None)
        assert self.policy().mode == "none"
        assert self.kept.held["example.org"]["id"] == "a2"

    def test_a_failure_leaves_the_old_one_and_is_not_repeated_at_once(self):
        self.policy()
        self.ids["example.org"] = b"v=STSv1; id=a2;"
        self.files["example.org"] = StsError("the policy host answers 404")
        assert self.policy().mode == "enforce"
        assert self.policy().mode == "enforce"
        assert len(self.fetched) == 2
        assert self.kept.held["example.org"]["why"] == "the policy host answers 404"
        assert self.logbook.records[-1][1] == "tls.policy_failed"
        self.sts = self.make()  # nor by another node
        assert self.policy().mode == "enforce"
        assert len(self.fetched) == 2
        self.now += FETCH_AGAIN_MS
        self.files["example.org"] = body("testing")
        self.policy()
        assert self.policy().mode == "testing"
        assert self.kept.held["example.org"]["why"] == ""

    def test_a_failure_where_nothing_is_known(self):
        self.files["example.org"] = b"<html>"
        assert self.policy() is None
        assert self.policy() is None
        assert len(self.fetched) == 1
        assert self.kept.held == {}
        self.now += FETCH_AGAIN_MS
        self.files["example.org"] = body()
        assert self.policy().mode == "enforce"

    def test_all_who_ask_at_once_wait_for_one_fetch(self):
        self.waiting = Deferred()
        asked = [Deferred.fromCoroutine(self.sts.policy("example.org")) for _ in range(3)]
        for one in asked:
            self.assertNoResult(one)
        self.waiting.callback(None)
        assert [self.successResultOf(one).mode for one in asked] == ["enforce"] * 3
        assert len(self.fetched) == 1

    def test_one_who_gives_up_does_not_take_it_from_the_others(self):
        self.waiting = Deferred()
        first, second = (Deferred.fromCoroutine(self.sts.policy("example.org")) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.waiting.callback(None)
        assert self.successResultOf(second).mode == "enforce"

    def test_a_stop_ends_a_fetch(self):
        self.waiting = Deferred()
        asked = Deferred.fromCoroutine(self.sts.policy("example.org"))
        self.sts.stop()
        assert self.successResultOf(asked) is None
        assert self.policy() is None
        assert len(self.fetched) == 1
        assert self.logbook.records == []

    def test_a_fetch_that_fails_because_of_a_stop_is_no_failure_of_the_domain(self):
        self.waiting = Deferred()
        asked = Deferred.fromCoroutine(self.sts.policy("example.org"))
        self.waiting.addErrback(lambda _: fail(StsError("cancelled")))
        self.sts.stop()
        assert self.successResultOf(asked) is None
        assert self.logbook.records == []

    def test_an_old_one_is_renewed_while_it_is_used(self):
        self.policy()
        self.now += RENEW_MS
        assert self.policy().mode == "enforce"
        assert len(self.fetched) == 2
        assert self.kept.held["example.org"]["until"] == self.now + 7 * DAY
        assert self.kept.held["example.org"]["used"] == self.now

    def test_and_where_no_mail_asks_for_it(self):
        self.policy()
        clock = Clock()
        self.sts.start(clock)
        clock.advance(ROUND_S)
        assert len(self.fetched) == 1
        self.now += RENEW_MS + 1
        self.ids["gone.example"] = NameNotFoundError("x")
        self.kept.held["gone.example"] = {**self.kept.held["example.org"], "domain": "gone.example"}
        clock.advance(ROUND_S)
        assert self.fetched == ["example.org", "example.org"]
        self.kept.error = OSError("the disk")
        clock.advance(ROUND_S)
        assert self.logbook.named("delivery.fault")
        self.kept.error = None
        self.now += RENEW_MS + 1
        self.sts._stopped = True
        clock.advance(ROUND_S)
        assert len(self.fetched) == 2
        self.sts.stop()
        assert not clock.getDelayedCalls()

    def test_a_store_that_fails_does_not_keep_mail(self):
        self.kept.error = OSError("the disk")
        assert self.policy().mode == "enforce"
        assert len(self.logbook.named("delivery.fault")) == 2
        self.now += LOOK_AGAIN_MS
        assert self.policy().mode == "enforce"
        assert len(self.fetched) == 1

    def test_who_gives_up_while_the_store_is_asked_is_obeyed(self):
        asked = Deferred()
        self.patch(self.kept, "get", lambda domain: asked)
        waiting = Deferred.fromCoroutine(self.sts.policy("example.org"))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        assert not self.logbook.named("delivery.fault")
        assert not self.fetched

    def test_forgetting(self):
        self.policy()
        assert self.successResultOf(Deferred.fromCoroutine(self.sts.forget("EXAMPLE.org"))) == 1
        assert self.kept.held == {}
        assert self.successResultOf(Deferred.fromCoroutine(self.sts.forget("localhost"))) == 0
        self.policy()
        assert len(self.fetched) == 2
        assert self.successResultOf(Deferred.fromCoroutine(self.sts.forget())) == 1

    def test_memory_has_an_end(self):
        self.patch(mtasts, "MOST_REMEMBERED", 2)
        self.ids = {}
        for name in ("a.example", "b.example", "c.example", "a.example"):
            self.policy(name)
        assert self.kept.gets == 4

    def test_a_clock_that_was_set_back(self):
        self.policy()
        self.now -= 10 * DAY
        assert self.policy().mode == "enforce"
        assert self.kept.held["example.org"]["used"] == self.now
