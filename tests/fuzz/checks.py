"""What decides about mail and people, under fuzz: SASL, filters, signatures, records of SPF and DMARC, answers of DNS."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from contextlib import suppress

from twisted.names import dns

from netsvc.mail.escape import escape
from netsvc.policy.auth.dkim import DkimError, check_signature, header_hash, read_key, read_signature
from netsvc.policy.auth.dmarc import read_dmarc
from netsvc.policy.auth.fields import author_domains, read_header
from netsvc.policy.auth.results import Finding, forged, results_field
from netsvc.policy.auth.spfrecord import SpfSyntaxError, read_record
from netsvc.policy.milter.codec import Answer, Change, MilterError, MilterReader, Terms, packet
from netsvc.policy.milter.headers import made_fields
from netsvc.resolver import packets
from netsvc.resolver.packets import KINDS, StrangePacketError, question
from netsvc.resolver.packets import read as read_packet
from netsvc.sasl.plain import Login, Plain
from netsvc.sasl.scram import Scram
from netsvc.sasl.steps import (
    Challenge,
    MalformedError,
    PasswordGiven,
    ProofGiven,
    RefusedError,
    Succeeded,
    VerifierWanted,
)
from netsvc.sasl.verifier import fake_verifier, make_verifier
from netsvc.smtp import security
from netsvc.smtp.grammar import CommandError
from tests.fuzz.spoiling import Target, pieces_of, spoiled

PENCIL = make_verifier("pencil", b"saltsaltsaltsalt", 4096)
KEY = hmac.digest(hashlib.pbkdf2_hmac("sha256", b"pencil", PENCIL.salt, 4096), b"Client Key", "sha256")
NONCE = "ours"
BINDINGS = {"tls-exporter": b"x" * 32}
FIRSTS = [
    b"n,,n=user,r=abc",
    b"y,,n=us=2Cer=3D,r=abc,ext=1",
    b"n,a=user,n=user,r=a!b#c",
    b"p=tls-exporter,,n=user,r=abc",
    "n,,n=\u00fcser\u00ad,r=abc".encode(),
]
FINALS = [b"c=biws,r=abcours,p=", b"c=biws,r=abcours,x=y,p=", b"c=eSws,r=abcours,p="]
PLAINS = [b"\0user\0pencil", b"user\0user\0pencil", "\0\u00fcser\0\u2168\u00aa\u05d0".encode(), b"user", b"pencil", b""]
SASL = [
    b"\0",
    b",",
    b"=",
    b"=2C",
    b"n=",
    b"r=",
    b"p=",
    b"m=x",
    b"c=",
    b"a=",
    b"\xff",
    b"\xc2\xad",
    b"\xd7\x90",
    b"\xe2\x80\xae",
    b"a" * 400,
]
SASL += [b"\xef\xb7\xba", b"\xf0\x90\x80\x80", b"\x7f", b"\r\n", b"/", b"+"]


def proof(first, end):
    """Return the right proof for what a client said first and says now, as a client would that knows the password."""
    bare = first.partition(b",,")[2]
    server = f"r=abc{NONCE},s={base64.b64encode(PENCIL.salt).decode()},i=4096".encode()
    signature = hmac.digest(hashlib.sha256(KEY).digest(), b",".join((bare, server, end)), "sha256")
    return base64.b64encode(bytes(a ^ b for a, b in zip(KEY, signature, strict=True)))


def make_exchange(rng):
    """Return a mechanism and responses, spoiled or (so that all ends are reached) not."""
    mechanism = rng.choice(("PLAIN", "LOGIN", "SCRAM", "SCRAM", "SCRAM-PLUS"))
    if mechanism in ("PLAIN", "LOGIN"):
        return mechanism, [spoiled(rng, PLAINS, SASL, 3) for _ in range(3)], rng.random() < 0.3
    first = spoiled(rng, FIRSTS[:1] if rng.random() < 0.5 else FIRSTS, SASL, 2)
    end = FINALS[0][:-3] if rng.random() < 0.7 else spoiled(rng, FINALS, SASL, 2)
    if mechanism == "SCRAM-PLUS" and rng.random() < 0.7:
        first = FIRSTS[3]
        end = b"c=" + base64.b64encode(b"p=tls-exporter,," + BINDINGS["tls-exporter"]) + b",r=abcours"
    final = end + b",p=" + proof(first, end)
    if rng.random() < 0.3:
        final = spoiled(rng, [final], SASL, 3)
    return mechanism, [first, final, b"" if rng.random() < 0.8 else b"x"], rng.random() < 0.1


def read_exchange(given):
    """Malformed, refused, or a step; a proof is taken only from who knows the password.  Understood: at an end."""
    mechanism, responses, unknown = given
    if mechanism.startswith("SCRAM"):
        plus = mechanism == "SCRAM-PLUS"
        exchange = Scram(NONCE, BINDINGS if plus else {}, plus=plus, plus_offered=plus)
    else:
        exchange = Plain() if mechanism == "PLAIN" else Login()
    verifier = fake_verifier(b"secret", "user") if unknown else PENCIL
    try:
        assert isinstance(exchange.receive(None), Challenge)
        for response in responses:
            step = exchange.receive(response)
            if isinstance(step, PasswordGiven):
                assert 0 < len(step.name) < 5000
                assert step.password
                assert "password" not in repr(step)
                return True
            if isinstance(step, VerifierWanted):
                assert "\0" not in step.name
                assert exchange.begin(verifier).data.isascii()
            elif isinstance(step, ProofGiven):
                if not exchange.proves(str(verifier)):
                    return False
                assert not unknown
                exchange.finish()
            elif isinstance(step, Succeeded):
                return True
    except (MalformedError, RefusedError) as why:
        assert str(why).isprintable()
    return False


LINES = [b"AGEAYg==", b"biws", b"=", b"*", b"", b"YQ==", b"c" * 400]
BASES = [b"=", b"==", b" ", b"\r", b"\0", b"\xff", b"-", b"_", b"A", b"Z", b"\n", b"*", b"+/"]


def read_line(line):
    """A line of an exchange, and the same behind AUTH, where somebody stands who may."""
    standing = security.Standing(security.State.GREETED, security.Offer(tls=True, mechanisms=("PLAIN",)), False)
    with suppress(CommandError):
        security.parse("AUTH", b"AUTH PLAIN " + line, standing)
    with suppress(CommandError):
        security.parse("AUTH", b"AUTH " + line, standing)
    try:
        event = security.answered(line)
    except CommandError as error:
        assert line.decode("latin-1") not in str(error.reply) or len(line) < 5
        return False
    assert base64.b64encode(event.response) == line
    return True


FILTERS = [
    packet(b"O", struct.pack("!III", 6, 0x1FF, 0xFF080)),
    packet(b"y", b"550-5.7.1 a\r\n550 5.7.1 b %% c\0"),
    packet(b"h", b"X-Spam\0yes\n really\0") + packet(b"c"),
    packet(b"i", b"\0\0\0\1X-A\0b\0") + packet(b"m", b"\0\0\0\1X-A\0\0"),
    packet(b"+", b"<a@b>\0") + packet(b"2", b"<a@b>\0X\0") + packet(b"-", b"<a@b>\0") + packet(b"e", b"<>\0"),
    packet(b"b", b"new body") + packet(b"q", b"odd\0") + packet(b"a"),
    packet(b"p") * 3 + packet(b"t") + packet(b"4"),
]
ANSWERS = [
    b"\0",
    b"\0\0\0\1",
    b"\xff\xff\xff\xff",
    b"\0\0\0\5",
    b"y",
    b"h",
    b"\r\n",
    b"\x1b",
    b"999",
    b"%",
    b"q\0",
    b"\xc3\x28",
    b"\n",
    b":",
]


def read_answers(pieces):
    reader = MilterReader()
    found = []
    try:
        for piece in pieces:
            found += reader.feed(piece)
    except MilterError as why:
        assert str(why).isprintable()
        return False
    for event in found:
        if isinstance(event, Change):
            field, _ = made_fields([(event.name, event.value)])
            assert field.count(b"\n") == field.count(b"\r\n") == field.count(b"\r")
        elif isinstance(event, Answer):
            assert event.kind != "reply" or 400 <= event.code <= 599
        else:
            assert isinstance(event, Terms)
    return bool(found)


SIGNED = (
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com;\r\n i=@example.com; q=dns/txt; s=s1;"
    b" t=1795458319; h=from : subject : to :\r\n from; bh=s14J+iztnrytnRYzb7lhFG/jS/vrxWJnnahfijFMnco=;\r\n"
    b" b=NlcMJKGRPCxAa4rHXZltcsaimfNcuv/OQPSH+EzkRQOiGEsDF0l9Ed1DP6PF1T74EBS0m\r\n"
    b" Vkael2bzIg4VDXEcSEuoqv/vvOwmynZLglgMGpPQtT/fnXga+3woaLYl7fYfiIxGfAuG63H\r\n"
    b" poaMtPyRXeXXK3IT7PGwBeN52s+iEdw=\r\n"
    b'From: "Joe (x)" <joe@example.com>, (c) Group: a@b.example;\r\nSubject: a\r\n  b\r\n'
    b"Authentication-Results: (c) mx1.example.org; spf=pass\r\nTo: b@c\r\n"
)
"""Signed by dkimpy, with a key that stands here so that a seed makes the same inputs again."""
RECORD = (
    b"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDDXuc1Tr9+z+O8ceMLDvMIw7qwEGWITG00EbD2G1Zc8Zbjz+CQDo9k"
    b"M9rk4MzPOVKrvAwxy60u5NORRBqaU/M0oBjw7BZF4HvqewUnPEjeYeUEpVlEazr3O1GbBid5T6eKW0nIACzISlasLQ8YVza8ySK819qbNKHKtZp2"
    b"SpFYZQIDAQAB"
)
TAGS = [
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
]
TAGS += [
    b"%{",
    b"/",
    b"-1",
    b"l=",
    b"t=",
    b"h=from:from",
    b"d=",
    b"9" * 30,
    b"xn--",
    b"\xef\xbc\x8e",
    b"\xc2\xb2",
    b"\xb2",
]


def make_header(rng):
    return spoiled(rng, [SIGNED], TAGS), spoiled(rng, [RECORD], TAGS, 3) if rng.random() < 0.2 else None


def safe(why):
    """Whether the field that tells it is one, and of printable ASCII."""
    field = results_field("mx1.example.org", [Finding("dkim", "permerror", (("header.d", why),), why)])
    lines = field.split(b"\r\n")
    return len(lines) == 3 and lines[1].startswith(b"\tdkim=") and lines[1][1:].decode("ascii").isprintable()


def read_section(given):
    section, record = given
    header = read_header(section)
    assert header.size <= len(section)
    for domain in author_domains(header) or ():
        assert domain.isascii()
        assert domain.isprintable()
    for at in forged(header, "mx1.example.org"):
        assert header.fields[at].name == b"authentication-results"
    good = False
    for field in header.named(b"dkim-signature"):
        try:
            signature = read_signature(field, 1_900_000_000)
            header_hash(header, signature)
            if record is not None:
                check_signature(header, signature, read_key(record, signature))
            good = True
        except DkimError as why:
            assert safe(str(why))
    return good


SPF = [
    b"v=spf1 +mx/24 a:b.example/1//2 include:%{ir}.%{v}.x.example ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all",
    b"v=spf1 exists:%{l1r-+}.x exp=%{d2}.%%%_%- redirect=c.example ?ptr -all",
]
DMARC = [
    b"v=DMARC1; p=reject; sp=none; np=reject; adkim=s; aspf=r; pct=50; t=y; psd=n; rua=mailto:a@b.example",
    b"v=DMARC1;p=quarantine",
]


def read_records(given):
    spf, dmarc = given
    good = read_dmarc("x.example", [dmarc]) is not None
    try:
        read_record(spf)
    except SpfSyntaxError as why:
        assert safe(str(why))
        return False
    return good


def dns_answers():
    """Return answers to each kind of question, with aliases, from the codec of others."""
    made = []
    payloads = {
        "a": [dns.Record_CNAME("a.example.org"), dns.Record_A("192.0.2.1")],
        "aaaa": [dns.Record_AAAA("2001:db8::1")],
        "mx": [dns.Record_MX(10, "mx.example.org"), dns.Record_MX(0, "")],
        "txt": [dns.Record_TXT(b"v=spf1", b"-all"), dns.Record_TXT(b"\xff" * 200)],
        "ptr": [dns.Record_PTR("x.example")],
    }
    for kind, records in payloads.items():
        message = dns.Message(0x1234, answer=1, recAv=1, maxSize=0)
        message.queries = [dns.Query("example.org", KINDS[kind], dns.IN)]
        names = ["example.org", "a.example.org"] if kind == "a" else ["example.org"] * 2
        message.answers = [
            dns.RRHeader(name, payload.TYPE, dns.IN, 300, payload)
            for name, payload in zip(names, records, strict=False)
        ]
        message.authority = [dns.RRHeader("org", dns.SOA, dns.IN, 300, dns.Record_SOA("a", "b", minimum=60))]
        made.append((kind, message.toStr()))
    return made


DNS = dns_answers()
COUNTS = [
    b"\0",
    b"\xc0",
    b"\xc0\x0c",
    b"\xff",
    b"\0\x05",
    b"\0\x01",
    b"\0\x10",
    b"\0\x29",
    b"\x3f",
    b"\x80\0\0\0",
    b"\0\0",
    b"\x01a",
]


def make_answer(rng):
    kind, data = rng.choice(DNS)
    length = question(b"example.org", kind, 0x1234, edns=False)
    if rng.random() < 0.8:  # with its question as it was: what is ours is read on
        return kind, data[: len(length)] + spoiled(rng, [data[len(length) :]], COUNTS)
    return kind, spoiled(rng, [data], COUNTS)


def read_answer(given):
    kind, data = given
    try:
        reading = read_packet(data, question(b"example.org", kind, 0x1234), "example.org", kind)
    except StrangePacketError as why:
        assert str(why).isprintable()
        return False
    assert -1 <= reading.ttl <= packets.DAY
    assert len(reading.chain) <= packets.MAX_CHAIN
    assert escape(reading.why) == reading.why
    for value in reading.values:
        assert packets.shown_value(value).isprintable()
    return bool(reading.values)


TARGETS = [
    Target("SASL", make_exchange, read_exchange, (0.1, 0.9)),
    Target("AUTH lines", lambda rng: spoiled(rng, LINES, BASES, 3), read_line, (0.1, 0.9)),
    Target("milter", lambda rng: pieces_of(rng, spoiled(rng, FILTERS, ANSWERS)), read_answers, (0.3, 0.95)),
    Target("DKIM and header fields", make_header, read_section, (0.1, 0.9), 0.25),
    Target(
        "SPF and DMARC records",
        lambda rng: (spoiled(rng, SPF, TAGS), spoiled(rng, DMARC, TAGS)),
        read_records,
        (0.02, 0.9),
    ),
    Target("DNS answers", make_answer, read_answer, (0.1, 0.95), 0.5),
]
