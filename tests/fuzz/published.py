"""What destinations publish about TLS, under fuzz: MTA-STS records and policies, TLSA records."""

from netsvc.delivery import tlsa
from netsvc.delivery.stspolicy import LONGEST_AGE, MODES, MOST_HOSTS, StsError, published_id, read_policy
from tests import certs
from tests.fuzz.spoiling import Target, spoiled

POLICIES = [
    b"version: STSv1\r\nmode: enforce\r\nmx: mx1.example.org\r\nmx: *.example.net\r\nmax_age: 604800\r\n",
    b"version: STSv1\nmode: none\nmax_age: 86400\n",
    b"mode: testing\nversion: STSv1\nmx: a.example\nmax_age: 1\nfuture: thing\n",
]
LINES = [
    b"mx: *.",
    b"mx:",
    b": ",
    b":",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"max_age: ",
    b"-1",
    b"*",
    b".",
    b"\xff",
    b" " * 99,
]
RECORDS = [b"v=STSv1; id=20160831085700Z;", b"v=STSv1;id=a", b"v=STSv1; x=y; id=abc; z"]
SIGNS = [b";", b"=", b"id=", b"v=STSv1;", b" ", b"\t", b"\0", b"\xff", b"a" * 33]
_, _, CERTIFICATE = certs.make()
DER = CERTIFICATE.public_bytes(certs.Encoding.DER)


def read_file(body):
    """StsError, or a policy within its bounds that allows what it names and nothing empty."""
    try:
        policy = read_policy(body)
    except StsError as why:
        assert str(why).isprintable()
        return False
    assert policy.mode in MODES
    assert 0 <= policy.max_age <= LONGEST_AGE
    assert len(policy.hosts) <= MOST_HOSTS
    assert all(policy.allows(host) for host in policy.hosts if not host.startswith("*"))
    assert not policy.allows("")
    return True


def read_record(text):
    """An id of letters and digits, or none."""
    found = published_id([text])
    assert not found or (found.isascii() and found.isalnum() and len(found) <= 32)
    return bool(found)


def make_tlsa(rng):
    data = spoiled(rng, [DER, b"d" * 32, b"d" * 64], [b"\0", b"\xff", b"\x30\x82", b"d" * 32], 2)
    return [(rng.choice((0, 2, 3, 3, 255)), rng.randrange(3), rng.randrange(4), data[:4000])]


def read_tlsa(records):
    """Records are usable or not; none that was spoiled fits."""
    good = tlsa.usable(records)
    for record in good:
        assert tlsa.fits(record, CERTIFICATE) is (record[1:] == (0, 0, DER))
        tlsa.anchored([record], [CERTIFICATE, CERTIFICATE])
    return bool(good)


TARGETS = [
    Target("MTA-STS policy", lambda rng: spoiled(rng, POLICIES, LINES), read_file, (0.1, 0.9)),
    Target("MTA-STS record", lambda rng: spoiled(rng, RECORDS, SIGNS), read_record, (0.1, 0.95)),
    Target("TLSA records", make_tlsa, read_tlsa, (0.05, 0.6), 0.25),
]
