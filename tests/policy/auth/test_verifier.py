"""Signatures of a message checked with keys from DNS and a body read in pieces."""

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from netsvc.policy.auth.dkim import MAX_SIGNATURES
from netsvc.policy.auth.fields import MAX_FIELDS, read_header
from netsvc.policy.auth.verifier import PIECE, Verifier
from tests.policy.auth.contents import FakeContent
from tests.signing import rsa_key, signed
from tests.zones import FakeResolver

MESSAGE = b"From: joe@example.com\r\nSubject: x\r\n\r\nWe lost  the game.\r\n"
ZONE = {
    "s1._domainkey.example.com": {"TXT": [rsa_key()[1]]},
    "s1._domainkey.test.example": {"TXT": [rsa_key()[1] + "; t=y"]},
    "s1._domainkey.two.example": {"TXT": [rsa_key()[1], rsa_key()[1]]},
    "s1._domainkey.temp.example": "SERVFAIL",
}


class Verifying(SynchronousTestCase):
    def check(self, message, names=None):
        self.content = FakeContent(message)
        verifier = Verifier(names or FakeResolver(ZONE), maybeDeferred)
        running = Deferred.fromCoroutine(verifier.check(self.content, read_header(self.content.header)))
        return self.successResultOf(running)

    def results(self, *arguments):
        return [(each.result, each.domain) for each in self.check(*arguments)]

    def test_no_signature_no_work(self):
        assert self.check(MESSAGE) == []
        assert self.content.reads == []

    def test_one(self):
        (result,) = self.check(signed(MESSAGE))
        assert (result.result, result.domain, result.selector, result.algorithm) == (
            "pass",
            "example.com",
            "s1",
            "rsa-sha256",
        )
        assert len(result.start) == 8
        assert not result.testing

    def test_many_of_all_kinds_in_order(self):
        message = MESSAGE
        for domain in ("example.com", "test.example", "two.example", "temp.example", "none.example"):
            message = signed(message, domain)
        message = b"DKIM-Signature: nonsense\r\n" + message
        assert self.results(message) == [
            ("permerror", ""),
            ("permerror", "none.example"),
            ("temperror", "temp.example"),
            ("permerror", "two.example"),
            ("pass", "test.example"),
            ("pass", "example.com"),
        ]

    def test_only_so_many(self):
        message = MESSAGE
        for n in range(MAX_SIGNATURES + 2):
            message = signed(message, f"d{n}.example")
        assert len(self.check(message)) == MAX_SIGNATURES

    def test_only_so_many_ways_to_hash_a_body(self):
        message = MESSAGE
        for n in range(6):
            message = signed(MESSAGE + b"x" * n, length=True).partition(b"From: ")[0] + message
        found = self.results(message)
        assert found.count(("policy", "example.com")) == 2
        assert ("pass", "example.com") in found

    def test_a_header_that_is_too_much(self):
        (result,) = self.check(b"DKIM-Signature: x\r\n" + b"A: b\r\n" * MAX_FIELDS + MESSAGE)
        assert result.result == "policy"

    def test_a_large_body_in_pieces_and_once(self):
        message = signed(signed(MESSAGE + b"0123456789\r\n" * 60_000, "test.example"))
        assert self.results(message) == [("pass", "example.com"), ("pass", "test.example")]
        assert max(given for _, _, given in self.content.reads) <= PIECE
        assert sum(given for _, _, given in self.content.reads) == len(message) - len(self.content.header) - 2

    def test_a_body_that_ends_early(self):
        message = signed(MESSAGE)
        self.content = FakeContent(message)
        self.content.size += 10
        verifier = Verifier(FakeResolver(ZONE), maybeDeferred)
        running = Deferred.fromCoroutine(verifier.check(self.content, read_header(self.content.header)))
        assert self.successResultOf(running)[0].result == "pass"

    def test_faults_of_ours_are_not_hidden(self):
        class Broken(FakeResolver):
            def txt(self, name):
                return fail(ZeroDivisionError())

        content = FakeContent(signed(MESSAGE))
        running = Verifier(Broken(), maybeDeferred).check(content, read_header(content.header))
        self.failureResultOf(Deferred.fromCoroutine(running), ZeroDivisionError)
