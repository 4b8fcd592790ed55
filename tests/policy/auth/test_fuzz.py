"""Spoiled signatures, keys, records and header sections: each is read, or refused by its own exception."""

import random
from contextlib import suppress

from netsvc.policy.auth.dkim import DkimError, check_signature, header_hash, read_key, read_signature
from netsvc.policy.auth.dmarc import read_dmarc
from netsvc.policy.auth.fields import author_domains, read_header
from netsvc.policy.auth.results import forged
from netsvc.policy.auth.spfrecord import SpfSyntaxError, read_record
from tests.signing import rsa_key, signed

INPUTS = 10_000
MESSAGE = (
    b'From: "Joe (x)" <joe@example.com>, (c) Group: a@b.example;\r\nSubject: a\r\n  b\r\n'
    b"Authentication-Results: (c) mx1.example.org; spf=pass\r\nTo: b@c\r\n\r\nx\r\n"
)
TOKENS = [
    b"",
    b"\r\n",
    b"\r\n ",
    b"\t",
    b";",
    b"=",
    b":",
    b"b=",
    b"(",
    b")",
    b'"',
    b"\\",
    b"<",
    b">",
    b"@",
    b",",
    b"\0",
    b"\xff",
    b"\xc3\xa4",
    b"%{",
    b"/",
    b"-1",
]


def spoiled(data, rng):
    for _ in range(rng.randrange(5)):
        a, b = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        data = data[:a] + rng.choice(TOKENS) + data[b if b - a < 20 and rng.random() < 0.5 else a :]
    return data


def test_header_sections_and_signatures():
    rng = random.Random(3)
    whole = signed(MESSAGE).partition(b"\r\n\r\n")[0] + b"\r\n"
    record = rsa_key()[1].encode()
    good = 0
    for _ in range(INPUTS):
        header = read_header(spoiled(whole, rng))
        author_domains(header)
        forged(header, "mx1.example.org")
        for field in header.named(b"dkim-signature"):
            with suppress(DkimError):
                signature = read_signature(field, 1_900_000_000)
                header_hash(header, signature)
                if rng.random() < 0.05:
                    check_signature(header, signature, read_key(spoiled(record, rng), signature))
                good += 1
    assert good > INPUTS / 10


def test_records():
    rng = random.Random(4)
    spf = b"v=spf1 +mx/24 a:b.example/1//2 include:%{ir}.%{v}.x.example ip4:192.0.2.0/24 ip6:2001:db8::/32 redirect=c.example ~all"
    dmarc = b"v=DMARC1; p=reject; sp=none; np=reject; adkim=s; aspf=r; pct=50; t=y; psd=n; rua=mailto:a@b.example"
    for _ in range(INPUTS):
        with suppress(SpfSyntaxError):
            read_record(spoiled(spf, rng))
        read_dmarc("x.example", [spoiled(dmarc, rng)])
