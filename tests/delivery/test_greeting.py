"""STARTTLS, TLS from the start, and AUTH on the way out, with real handshakes over a network made of nothing."""

import base64
import pathlib
import tempfile
from dataclasses import replace

import trustme
from OpenSSL import SSL
from twisted.internet.defer import fail, maybeDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from netsvc.delivery.smtpagent import SmtpAgent
from netsvc.delivery.terms import Host, TlsLevel, TlsTerms
from netsvc.mail.message import FLAG_TLS, Hop, Kind, Result
from netsvc.mail.outcome import Fault
from netsvc.records import Credential, CredentialError
from netsvc.sasl.scram import Scram
from netsvc.sasl.verifier import make_verifier
from netsvc.settings import DestinationSettings
from tests.delivery.fakes import FakeQueue, Network, ground
from tests.delivery.rows import row
from tests.delivery.secure import SecureEnd, authority
from tests.fakes import FakeSite

NAME = "192.0.2.1"
KEY = f"[{NAME}]:25"
MAIL = b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
AUTH_MAIL = MAIL.replace(b"org>", b"org> AUTH=<>")
EHLO = b"EHLO mx1.example.org\r\n"
USER, PASSWORD = "relay@example.org", "p\u00e4ss,w=rd"
FOLDER = tempfile.TemporaryDirectory()
CA, AUTHORITIES = authority(pathlib.Path(FOLDER.name))
GOOD = CA.issue_cert(NAME)
BAD = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("other.example")


class Terms:
    """TlsPolicies that say one thing of every host."""

    def __init__(self, terms):
        self.terms = terms
        self.authorities = AUTHORITIES

    async def hosts(self, domain, hosts, key=""):
        return [(host, self.terms) for host in hosts]


class Vault:
    def __init__(self, answer):
        self.answer = answer

    def get(self, name):
        return fail(self.answer) if isinstance(self.answer, Exception) else succeed(self.answer)


class WireCase(SynchronousTestCase):
    level = TlsLevel.OPPORTUNISTIC
    source = "default"
    credential = None
    host = NAME

    def setUp(self):
        self.begin()

    def begin(self, **terms):
        terms = TlsTerms(**({"level": self.level, "source": self.source} | terms))
        self.net = Network()
        key = f"[{self.host}]:25"
        site = FakeSite()
        if self.credential is not None:
            site = FakeSite(destinations={key: DestinationSettings(credential="smarthost")})
        self.spool = FakeQueue()
        self.ground = ground(self.spool, self.net, site=site, tls=Terms(terms), credentials=Vault(self.credential))
        self.agent = SmtpAgent(self.ground)
        self.agent._ways.greeter._threads = maybeDeferred
        self.hop = Hop(Kind.SMTP, key, "example.net", key)

    def attempt(self, **changes):
        changes = {"id": 1} | changes
        one = row(**changes)
        return self.agent.attempt(self.hop, one, (one,), None)

    def accept(self):
        host, _, factory, _, _ = self.net.tcpClients[self.net.taken]
        self.net.taken += 1
        return SecureEnd(self.net, factory.buildProtocol(None), host)

    def only(self, d):
        self.assertTrue(d.called, "no outcome yet")
        [outcome] = d.result
        return outcome

    def deferred(self, d, fault, status, *words):
        outcome = self.only(d)
        self.assertEqual((outcome.result, outcome.fault, outcome.status), (Result.DEFERRED, fault, status), outcome)
        for word in words:
            self.assertIn(word, outcome.reply)
        return outcome

    def starttls(self, far, leaf=GOOD, *, extensions=(), version=None):
        """Take the client from the banner into TLS -> what it says inside."""
        self.assertEqual(far.greet(b"PIPELINING", b"STARTTLS"), b"STARTTLS\r\n")
        far.say(b"220 go\r\n")
        far.shake(leaf, version)
        return far.heard()

    def hello(self, far, *extensions):
        lines = [b"peer.example", *(extensions or (b"PIPELINING",))]
        return far.say(
            b"".join(b"250%s%s\r\n" % (b" " if i == len(lines) - 1 else b"-", t) for i, t in enumerate(lines))
        )


class StartTlsTest(WireCase):
    def test_taken_where_it_is_offered(self):
        for leaf, how in ((GOOD, f"verified {NAME} (default)"), (BAD, "unverified (default)")):
            self.begin()
            d = self.attempt()
            far = self.accept()
            self.assertEqual(self.starttls(far, leaf), EHLO)
            self.assertEqual(self.hello(far), MAIL)
            [entry] = self.ground.sessions.entries
            self.assertTrue(entry.tls.startswith("TLSv1.3 "))
            far.take()
            outcome = self.only(d)
            self.assertIs(outcome.result, Result.DELIVERED)
            self.assertTrue(outcome.tls.startswith("TLSv1.3 TLS_"))
            self.assertTrue(outcome.tls.endswith(how), outcome.tls)
            self.assertIn(f"- {outcome.tls}\n".encode(), outcome.transcript)

    def test_what_was_said_in_clear_is_forgotten(self):
        d = self.attempt()
        far = self.accept()
        self.starttls(far)
        self.assertEqual(
            self.hello(far, b"SIZE"), MAIL.partition(b"\r\n")[0].replace(b"org>", b"org> SIZE=38") + b"\r\n"
        )
        self.assertNoResult(d)

    def test_never_where_the_site_says_so(self):
        self.begin(level=TlsLevel.NONE)
        self.attempt()
        self.assertEqual(self.accept().greet(b"PIPELINING", b"STARTTLS"), MAIL)

    def test_in_clear_where_it_is_refused(self):
        d = self.attempt()
        far = self.accept()
        far.greet(b"PIPELINING", b"STARTTLS")
        self.assertEqual(far.say(b"454 4.7.0 not now\r\n"), MAIL)
        far.take()
        self.assertEqual(self.only(d).tls, "")
        self.assertIn(b"going on in clear", self.only(d).transcript)

    def test_required(self):
        for level in (TlsLevel.ENCRYPT, TlsLevel.VERIFY):
            self.begin(level=level, source="site")
            d = self.attempt()
            far = self.accept()
            self.assertEqual(far.greet(b"PIPELINING"), b"QUIT\r\n")
            self.deferred(d, Fault.TLS, "4.7.4", "does not offer STARTTLS", "(site)")
            d = self.attempt()
            far = self.accept()
            far.greet(b"STARTTLS")
            self.assertEqual(far.say(b"454 4.7.0 no \x1b\r\n"), b"QUIT\r\n")
            self.deferred(d, Fault.TLS, "4.7.4", "454 4.7.0 no \\x1b")
            self.assertEqual(self.net.pending(), 0)

    def test_broken_is_tried_again_in_clear_once(self):
        for breaks in (
            lambda far: far.say(b"nonsense, not TLS\r\n"),
            lambda far: (far.drop(), self.net.advance(0)),
            lambda far: self.net.advance(31),
            lambda far: far.shake(GOOD, SSL.TLS1_1_VERSION),
        ):
            self.begin()
            d = self.attempt()
            far = self.accept()
            far.greet(b"STARTTLS")
            far.say(b"220 go\r\n")
            breaks(far)
            self.assertTrue(far.transport.closed)
            self.assertNoResult(d)
            again = self.accept()
            self.assertEqual(again.greet(b"PIPELINING", b"STARTTLS"), MAIL)
            again.take()
            outcome = self.only(d)
            self.assertEqual((outcome.result, outcome.tls), (Result.DELIVERED, ""))
            self.assertIn(b"trying again in clear", outcome.transcript)

    def test_broken_is_deferred_where_it_is_required(self):
        for breaks, words in (
            (lambda far: far.say(b"nonsense, not TLS\r\n"), "the TLS handshake failed: "),
            (lambda far: (far.drop(), self.net.advance(0)), "the TLS handshake failed: "),
            (lambda far: self.net.advance(31), "the TLS handshake did not end in time"),
        ):
            self.begin(level=TlsLevel.ENCRYPT)
            d = self.attempt()
            far = self.accept()
            far.greet(b"STARTTLS")
            far.say(b"220 go\r\n")
            breaks(far)
            self.deferred(d, Fault.TLS, "4.7.5", words)
            self.assertEqual(self.net.pending(), 0)

    def test_a_certificate_that_is_not_trusted(self):
        self.begin(level=TlsLevel.VERIFY, source="mta-sts")
        d = self.attempt()
        far = self.accept()
        self.assertEqual(self.starttls(far, BAD), b"")
        self.deferred(d, Fault.TLS, "4.7.5", "cannot be trusted (mta-sts)")
        self.assertTrue(far.transport.closed)
        self.assertEqual((self.net.pending(), self.agent.connections), (0, 0))

    def test_whoever_speaks_in_clear_behind_220_is_no_peer(self):
        for level, tries in ((TlsLevel.OPPORTUNISTIC, 0), (TlsLevel.VERIFY, 0)):
            for said in ((b"220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n",), (b"220 go\r\n2",)):
                self.begin(level=level)
                d = self.attempt()
                far = self.accept()
                far.greet(b"STARTTLS")
                far.say(*said)
                self.deferred(d, Fault.TLS, "4.7.5", "somebody meddles")
                self.assertEqual(far.transport.closed, "aborted")
                self.assertEqual(self.net.pending(), tries)

    def test_a_reply_begun_before_it_was_asked_for(self):
        d = self.attempt()
        far = self.accept()
        far.say(b"220 hi\r\n")
        far.say(b"250-mx\r\n250 STARTTLS\r\n220 g")
        self.deferred(d, Fault.TLS, "4.7.5")

    def test_one_who_leaves_within_tls(self):
        d = self.attempt()
        far = self.accept()
        self.starttls(far)
        far.say(b"421 4.3.2 stopping\r\n")
        outcome = self.deferred(d, Fault.CONNECT_FAILED, "4.3.2")
        self.assertEqual(outcome.code, 421)

    def test_one_who_does_not_take_leave_costs_nothing(self):
        d = self.attempt()
        far = self.accept()
        self.starttls(far)
        self.hello(far)
        far.take()
        self.only(d)
        self.net.advance(11)
        self.assertEqual(far.heard(), b"QUIT\r\n")
        far.say(b"221 bye\r\n")
        self.net.advance(6)
        self.net.advance(6)
        self.assertTrue(far.transport.closed)
        self.assertEqual(self.net.getDelayedCalls(), [])


class ImplicitTest(WireCase):
    def test_from_the_start(self):
        self.begin(level=TlsLevel.ENCRYPT, implicit=True)
        d = self.attempt()
        far = self.accept()
        self.assertEqual(far.shake(BAD).heard(), b"")
        self.assertEqual(far.say(b"220 peer.example\r\n"), EHLO)
        self.assertEqual(self.hello(far, b"PIPELINING", b"STARTTLS"), MAIL)
        far.take()
        self.assertTrue(self.only(d).tls.endswith("unverified (default)"))

    def test_who_speaks_in_clear(self):
        self.begin(level=TlsLevel.ENCRYPT, implicit=True)
        d = self.attempt()
        self.accept().say(b"220 peer.example ESMTP\r\n")
        self.deferred(d, Fault.TLS, "4.7.5", "handshake failed")


class RequireTlsTest(WireCase):
    def outcome(self, leaf, *extensions):
        self.begin()
        d = self.attempt(flags=FLAG_TLS)
        far = self.accept()
        self.starttls(far, leaf)
        sent = self.hello(far, b"PIPELINING", *extensions)
        if sent:
            self.assertIn(b" REQUIRETLS\r\n", sent)
            far.take()
        return self.only(d)

    def test_goes_to_a_peer_that_is_sure_and_offers_it(self):
        self.assertIs(self.outcome(GOOD, b"REQUIRETLS").result, Result.DELIVERED)

    def test_goes_where_mx_records_lead_only_if_they_are_sure(self):
        for validated, source, status in ((False, "default", "5.7.30"), (False, "mta-sts", ""), (True, "default", "")):
            self.begin(source=source)
            host = Host(NAME, (NAME,), validated=validated)
            self.agent.hosts.hosts = lambda target, host=host: succeed([host])
            self.hop = Hop(Kind.SMTP, "example.net", "example.net", "mx")
            d = self.attempt(flags=FLAG_TLS)
            far = self.accept()
            self.starttls(far)
            sent = self.hello(far, b"PIPELINING", b"REQUIRETLS")
            self.assertEqual(bool(sent), not status)
            if status:
                self.assertEqual(self.only(d).status, status)

    def test_goes_nowhere_else(self):
        for leaf, extensions in ((BAD, (b"REQUIRETLS",)), (GOOD, ())):
            outcome = self.outcome(leaf, *extensions)
            self.assertEqual((outcome.result, outcome.status), (Result.BOUNCED, "5.7.30"))


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data)


PLAIN_LINE = b"AUTH PLAIN " + b64(f"\0{USER}\0{PASSWORD}") + b"\r\n"


class AuthTest(WireCase):
    credential = Credential(USER, PASSWORD)

    def secured(self, *extensions, leaf=GOOD, **terms):
        self.begin(**terms)
        self.d = self.attempt()
        far = self.accept()
        self.starttls(far, leaf)
        return far, self.hello(far, b"PIPELINING", *extensions)

    def delivered(self, far, said):
        self.assertEqual(far.say(said), AUTH_MAIL)
        far.take()
        outcome = self.only(self.d)
        self.assertIs(outcome.result, Result.DELIVERED)
        for secret in (b64(f"\0{USER}\0{PASSWORD}"), b64(PASSWORD), PASSWORD.encode()):
            self.assertNotIn(secret, outcome.transcript)
            for entry in self.ground.sessions.entries:
                self.assertNotIn(secret.decode(), str(entry.lines))
        return outcome

    def test_plain(self):
        far, sent = self.secured(b"AUTH LOGIN PLAIN")
        self.assertEqual(sent, PLAIN_LINE)
        outcome = self.delivered(far, b"235 2.7.0 hello\r\n")
        self.assertIn(b"- authenticated by PLAIN\n", outcome.transcript)

    def test_login(self):
        far, sent = self.secured(b"AUTH LOGIN", b"AUTH=LOGIN")
        self.assertEqual(sent, b"AUTH LOGIN\r\n")
        self.assertEqual(far.say(b"334 VXNlcm5hbWU6\r\n"), b64(USER) + b"\r\n")
        self.assertEqual(far.say(b"334 UGFzc3dvcmQ6\r\n"), b64(PASSWORD) + b"\r\n")
        self.delivered(far, b"235 ok\r\n")

    def scram(self, far, sent, password=PASSWORD, spoil=lambda data: data):
        """Be the server of a SCRAM exchange up to its last message -> what the client says to it."""
        server = Scram("servers", {}, plus=False, plus_offered=False)
        verb, mechanism, first = sent.split()
        self.assertEqual((verb, mechanism), (b"AUTH", b"SCRAM-SHA-256"))
        verifier = make_verifier(password, b"salt" * 4, 4096)
        self.assertEqual(server.receive(base64.b64decode(first)).name, USER)
        said = far.say(b"334 " + b64(server.begin(verifier).data) + b"\r\n")
        server.receive(base64.b64decode(said))
        if not server.proves(str(verifier)):
            return None
        return far.say(b"334 " + b64(spoil(server.finish().data)) + b"\r\n")

    def test_scram_before_all_others(self):
        far, sent = self.secured(b"AUTH PLAIN LOGIN SCRAM-SHA-256")
        self.assertEqual(self.scram(far, sent), b"\r\n")
        self.delivered(far, b"235 ok\r\n")

    def test_a_server_that_does_not_know_the_password(self):
        far, sent = self.secured(b"AUTH SCRAM-SHA-256 PLAIN")
        self.assertEqual(self.scram(far, sent, spoil=lambda data: b"v=" + b64(b"x" * 32)), b"*\r\n")
        far.say(b"501 cancelled\r\n")
        self.deferred(self.d, Fault.AUTH, "4.7.8", "does not know the password")
        far, sent = self.secured(b"AUTH SCRAM-SHA-256")
        far.say(b"235 come in\r\n")
        self.deferred(self.d, Fault.AUTH, "4.7.8", "has not shown")

    def test_a_wrong_password_is_the_destinations_fault(self):
        far, _ = self.secured(b"AUTH PLAIN")
        self.assertEqual(far.say(b"535 5.7.8 no\x1b\r\n"), b"QUIT\r\n")
        self.deferred(self.d, Fault.AUTH, "4.7.8", "PLAIN: 535 5.7.8 no\\x1b")

    def test_plain_where_scram_is_not_to_be_had(self):
        far, sent = self.secured(b"AUTH SCRAM-SHA-256 PLAIN LOGIN")
        self.assertIsNone(self.scram(far, sent, password="another"))
        self.assertEqual(far.say(b"535 5.7.8 no\r\n"), PLAIN_LINE)
        far.say(b"535 5.7.8 no\r\n")
        self.deferred(self.d, Fault.AUTH, "4.7.8", "PLAIN: 535")

    def test_a_server_that_cannot_tell_now(self):
        far, _ = self.secured(b"AUTH SCRAM-SHA-256 PLAIN")
        self.assertEqual(far.say(b"454 4.7.0 later\r\n"), b"QUIT\r\n")
        self.deferred(self.d, Fault.AUTH, "4.7.8", "454")

    def test_the_password_is_shown_to_no_stranger(self):
        far, sent = self.secured(b"AUTH PLAIN LOGIN", leaf=BAD)
        self.assertEqual(sent, b"QUIT\r\n")
        self.deferred(self.d, Fault.AUTH, "4.7.0", "not verified")
        far, sent = self.secured(b"AUTH PLAIN LOGIN SCRAM-SHA-256", leaf=BAD)
        self.assertTrue(sent.startswith(b"AUTH SCRAM-SHA-256 "))
        self.assertEqual(far.say(b"535 no\r\n"), b"QUIT\r\n")
        self.deferred(self.d, Fault.AUTH, "4.7.8")

    def test_unless_the_site_knows_it(self):
        _, sent = self.secured(b"AUTH PLAIN", leaf=BAD, level=TlsLevel.ENCRYPT, source="site")
        self.assertEqual(sent, PLAIN_LINE)

    def test_nothing_in_clear(self):
        d = self.attempt()
        far = self.accept()
        self.assertEqual(far.greet(b"AUTH PLAIN SCRAM-SHA-256"), b"QUIT\r\n")
        self.deferred(d, Fault.TLS, "4.7.0", "not sent outside of TLS")

    def test_nothing_in_clear_where_tls_breaks(self):
        d = self.attempt()
        far = self.accept()
        far.greet(b"STARTTLS")
        far.say(b"220 go\r\n", b"nonsense, not TLS\r\n")
        self.assertEqual(self.accept().greet(b"AUTH PLAIN"), b"QUIT\r\n")
        self.deferred(d, Fault.TLS, "4.7.0")

    def test_no_mechanism(self):
        for extensions, words in (((), "offers no AUTH"), ((b"AUTH GSSAPI",), "no mechanism")):
            self.secured(*extensions)
            self.deferred(self.d, Fault.AUTH, "4.7.0", words)

    def test_servers_that_make_no_sense(self):
        for said, fault in (
            ((b"334 what?\r\n", b"235 oh\r\n"), Fault.CONNECT_FAILED),
            ((b"250 ok\r\n",), Fault.CONNECT_FAILED),
            ((b"421 4.7.0 too many\r\n",), Fault.CONNECT_FAILED),
            ((b"334 VXNlcg==\r\n", b"501 so be it\r\n"), Fault.AUTH),
        ):
            far, _ = self.secured(b"AUTH PLAIN")
            for line in said:
                if not far.transport.closed:
                    far.say(line)
            self.assertIs(self.only(self.d).fault, fault)
            self.assertIs(self.only(self.d).result, Result.DEFERRED)
            self.assertIn(self.agent.connections, (0, 1))

    def test_questions_without_end(self):
        far, _ = self.secured(b"AUTH LOGIN")
        far.say(b"334 \r\n", b"334 \r\n")
        self.assertEqual(far.say(b"334 \r\n"), b"*\r\n")
        far.say(b"501 ok\r\n")
        self.deferred(self.d, Fault.AUTH, "4.7.8", "asked three")

    def test_a_password_that_nobody_can_say(self):
        self.credential = Credential(USER, "a\x00b")
        self.secured(b"AUTH PLAIN")
        self.deferred(self.d, Fault.AUTH, "4.7.8", "cannot be said")

    def test_a_credential_that_is_not_there(self):
        for answer, words in ((None, "there is no credential smarthost"), (CredentialError("the key"), "the key")):
            self.credential = Credential("x", "y")
            self.begin()
            self.ground.credentials.answer = answer
            self.deferred(self.attempt(), Fault.LOCAL, "4.7.0", words)


class MxAuthTest(WireCase):
    credential = Credential(USER, PASSWORD)

    def test_the_password_is_shown_to_no_host_that_forged_mx_records_may_name(self):
        for validated, source, shown in ((False, "default", False), (False, "mta-sts", True), (True, "default", True)):
            self.begin(source=source)
            said = {"example.net": DestinationSettings(credential="smarthost")}
            self.ground.site.current = replace(self.ground.site.current, destinations=said)
            host = Host(NAME, (NAME,), validated=validated)
            self.agent.hosts.hosts = lambda target, host=host: succeed([host])
            self.hop = Hop(Kind.SMTP, "example.net", "example.net", "mx")
            d = self.attempt()
            far = self.accept()
            self.starttls(far)
            self.assertEqual(self.hello(far, b"PIPELINING", b"AUTH PLAIN"), PLAIN_LINE if shown else b"QUIT\r\n")
            if not shown:
                self.deferred(d, Fault.AUTH, "4.7.0", "not verified")


class NearTest(AuthTest):
    """This host needs no TLS: only what differs."""

    host = "127.0.0.1"

    def test_nothing_in_clear(self):
        self.d = self.attempt()
        far = self.accept()
        self.assertEqual(far.greet(b"PIPELINING", b"AUTH PLAIN"), PLAIN_LINE)
        self.delivered(far, b"235 ok\r\n")

    def test_nothing_in_clear_where_tls_breaks(self):
        self.attempt()
        far = self.accept()
        far.greet(b"STARTTLS")
        far.say(b"220 go\r\n", b"nonsense, not TLS\r\n")
        self.assertEqual(self.accept().greet(b"AUTH PLAIN"), PLAIN_LINE)

    def test_the_password_is_shown_to_no_stranger(self):
        _, sent = self.secured(b"AUTH PLAIN", leaf=BAD)
        self.assertEqual(sent, PLAIN_LINE)
