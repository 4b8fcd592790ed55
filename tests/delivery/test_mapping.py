"""What is at the end of a route, as an operator is told of it."""

import pytest
from twisted.internet.defer import fail, succeed
from zope.interface.verify import verifyObject

from netsvc.delivery.mapping import DeliveryMap
from netsvc.delivery.targets import parse_target
from netsvc.delivery.terms import TlsLevel, TlsTerms
from netsvc.delivery.tlspolicy import TlsPolicies
from netsvc.interfaces import IDeliveryMap
from netsvc.mail.message import Hop, Kind
from netsvc.records import Credential, CredentialError
from netsvc.settings import DestinationSettings
from tests.delivery.fakes import ground
from tests.fakes import FakeSite
from tests.zones import FakeResolver

ZONE = {
    "example.com": {"MX": [(10, "mx1.example.com"), (20, "mx2.example.com")]},
    "mx1.example.com": {"A": ["9.9.9.1"]},
    "mx2.example.com": {"A": ["127.0.0.1"]},
    "null.example": {"MX": [(0, "")]},
}
SMART = "[198.51.100.9]:587"


class Credentials:
    def __init__(self, **kept):
        self.kept = kept

    def get(self, name):
        found = self.kept.get(name)
        return fail(found) if isinstance(found, Exception) else succeed(found)


class Policies:
    def __init__(self, *terms):
        self.terms = terms

    async def hosts(self, domain, hosts, key=""):
        if isinstance(self.terms[0], Exception):
            raise self.terms[0]
        return [(host, terms) for host in hosts for terms in self.terms]


def look(text, domain="example.com", **changes):
    target = parse_target(text)
    facts = {"resolver": FakeResolver(ZONE, validated=True), **changes}
    found = DeliveryMap(ground(**facts))
    assert verifyObject(IDeliveryMap, found)
    done = []
    found.look(Hop(target.kind, target.key or domain, domain, target.text)).addBoth(done.append)
    return [(row["is"], row["found"], row["note"]) for row in done[0]]


def smart(name="relay"):
    return FakeSite(destinations={SMART: DestinationSettings(credential=name, tls="verify")})


def test_mx():
    site = FakeSite()
    rows = look("mx", site=site, tls=TlsPolicies(site))
    assert rows[0] == ("host", "mx1.example.com", "preference 10, port 25, 9.9.9.1, validated by DNSSEC")
    assert rows[1][:2] == ("host", "mx2.example.com")
    assert "not tried: [127.0.0.1] is" in rows[1][2]
    assert rows[2][:2] == ("tls", "mx1.example.com")
    assert rows[2][2].startswith("opportunistic (default)")


def test_what_takes_no_mail():
    rows = look("mx", "null.example")
    assert rows == [("error", "", "5.1.10 null.example takes no mail (null MX, RFC 7505)")]
    assert "validated" not in str(look("mx", "nowhere.example"))  # there is nothing that could be
    (row,) = look("mx", resolver=None)
    assert row[0] == "error"


def test_terms_in_words():
    terms = (
        TlsTerms(TlsLevel.VERIFY, ("mx.example.net", "*.example.net"), source="mta-sts"),
        TlsTerms(TlsLevel.VERIFY, tlsa=((3, 1, 1, b"x"),), source="dane"),
        TlsTerms(TlsLevel.NONE, source="site", implicit=True),
    )
    notes = [row[2] for row in look(SMART, tls=Policies(*terms))[1:]]
    assert notes[0].endswith("trusted, for mx.example.net or *.example.net")
    assert notes[1].endswith("by a TLSA record")
    assert notes[2] == "none (site): none, even where it is offered, from the first octet on"


@pytest.mark.parametrize(
    ("credentials", "row"),
    [
        (Credentials(relay=Credential("netsvc", "secret")), ("credential", "relay", "we log in as netsvc")),
        (Credentials(), ("error", "relay", "there is no credential of this name: mail waits")),
        (Credentials(relay=CredentialError("wrong key")), ("error", "relay", "wrong key")),
        (None, ("error", "relay", "there is no credential of this name: mail waits")),
    ],
)
def test_a_smarthost_s_credential(credentials, row):
    rows = look(SMART, site=smart(), credentials=credentials)
    assert rows == [("host", "198.51.100.9", "port 587, 198.51.100.9"), row]


def test_what_needs_no_network():
    site = FakeSite(commands={"file": {"argv": ("/bin/file-it", "{rcpt}")}})
    assert look("lmtp:unix:/run/lmtp") == [("host", "/run/lmtp", "a socket on this node")]
    assert look("lmtp:[192.0.2.1]:24") == [("host", "192.0.2.1", "port 24, 192.0.2.1")]
    assert look("maildir:/m/{local}") == [("host", "/m", "folders on this node")]
    assert look("command:file", site=site) == [("host", "file", "the program /bin/file-it {rcpt}")]
    assert look("command:none", site=site)[0][0] == "error"
    assert look("agent:x", agents={"x": object()}) == [("host", "x", "a plugin")]
    assert look("agent:y")[0] == ("error", "y", "no plugin on this node brings this agent: mail waits")


def test_it_never_fails():
    found = DeliveryMap(ground())
    done = []
    found.look(Hop(Kind.LMTP, "lmtp:x", "example.com", "lmtp:x")).addBoth(done.append)
    found.look(Hop(Kind.SMTP, SMART, "example.com", SMART)).addBoth(done.append)
    assert done[0][0]["is"] == "error"
    row = look(SMART, site=None)[-1]
    assert row == ("error", SMART, "internal error: AttributeError")
