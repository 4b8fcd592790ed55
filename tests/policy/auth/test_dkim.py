"""DKIM: RFC 6376, 8301, 8463.  What is verified was signed by dkimpy, or by hand where it cannot."""

import base64
import contextlib
import functools
import time

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from netsvc.policy.auth.dkim import (
    CLOCK_SLOP,
    DkimError,
    check_body,
    check_signature,
    header_hash,
    read_key,
    read_signature,
)
from netsvc.policy.auth.dkimbody import BodyHash
from netsvc.policy.auth.fields import read_header
from tests.signing import ed25519_key, rsa_key, signed

NOW = 1_795_446_000
MESSAGE = (
    b"From: Joe SixPack <joe@example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\n"
    b"Subject: Is dinner  ready?\r\nSubject: again\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\r\n"
    b"Hi.\r\n\r\nWe lost  the game. Are you hungry yet?\r\n\r\nJoe.\r\n\r\n\r\n"
)


def parts(message):
    section, _, body = message.partition(b"\r\n\r\n")
    header = read_header(section + b"\r\n")
    return header, read_signature(header.named(b"dkim-signature")[0], int(time.time())), body


def verify(message, record=None):
    header, signature, body = parts(message)
    hashed = BodyHash(*signature.body_kind)
    hashed.update(body)
    check_body(signature, hashed.digest(), hashed.size)
    check_signature(header, signature, read_key((record or rsa_key()[1]).encode(), signature))
    return signature


def refused(result, call, *arguments):
    with pytest.raises(DkimError) as caught:
        call(*arguments)
    assert caught.value.result == result, caught.value.why
    return caught.value.why


@pytest.mark.parametrize("header_form", ["simple", "relaxed"])
@pytest.mark.parametrize("body_form", ["simple", "relaxed"])
@pytest.mark.parametrize("length", [False, True])
def test_3_4_every_form(header_form, body_form, length):
    signature = verify(signed(MESSAGE, form=(header_form, body_form), length=length))
    assert (signature.domain, signature.selector, signature.body_form) == ("example.com", "s1", body_form)


def test_3_7_what_is_signed_may_not_change():
    message = signed(MESSAGE)
    assert (
        refused("fail", verify, message.replace(b"Is dinner", b"Was dinner"))
        == "the signature is not of this key and header"
    )
    assert refused("fail", verify, message.replace(b"hungry", b"angry")) == "the body was changed"
    assert refused("fail", verify, message, rsa_key(2048, 1)[1])


def test_3_4_relaxed_allows_other_white_space():
    verify(
        signed(MESSAGE)
        .replace(b"Is dinner  ready?", b"Is\r\n\tdinner ready?  ")
        .replace(b"lost  the", b"lost \t the  ")
    )


def test_3_5_length_lets_more_follow():
    message = signed(MESSAGE, length=True, form=("relaxed", "simple"))
    verify(message + b"an advertisement\r\n")
    refused("permerror", verify, message[:-20])


def test_5_4_2_fields_are_taken_from_the_bottom():
    message = signed(MESSAGE, include_headers=[b"from", b"subject"])
    verify(message.replace(b"Is dinner  ready?", b"anything"))
    refused("fail", verify, message.replace(b"again", b"anything"))


def test_8_15_a_from_field_that_is_not_signed():
    message = b"From: boss@example.com\r\n" + signed(MESSAGE, include_headers=[b"from"])
    refused("policy", verify, message)


def edited(**tags):
    """A signature field of sound values but for ``tags``; None takes one out."""
    values = {
        "v": "1",
        "a": "rsa-sha256",
        "d": "example.com",
        "s": "s1",
        "h": "from:to",
        "bh": "AAAA",
        "b": "AAAA",
        **tags,
    }
    text = "; ".join(f"{name}={value}" for name, value in values.items() if value is not None)
    return read_header(f"DKIM-Signature: {text}\r\n".encode()).fields[0]


@pytest.mark.parametrize(
    ("tags", "result"),
    [
        ({"v": "2"}, "permerror"),
        ({"v": None}, "permerror"),
        ({"b": None}, "permerror"),
        ({"b": ""}, "permerror"),
        ({"b": "!"}, "permerror"),
        ({"x-long": "x" * 40_000}, "permerror"),
        ({"b": "ää"}, "permerror"),
        ({"bh": "A"}, "permerror"),
        ({"a": "rsa-sha1"}, "policy"),
        ({"a": "rsa-md5"}, "permerror"),
        ({"d": "example"}, "permerror"),
        ({"s": "x" * 64}, "permerror"),
        ({"h": "to:subject"}, "permerror"),
        ({"c": "nofws"}, "permerror"),
        ({"c": "simple/nofws"}, "permerror"),
        ({"l": "x"}, "permerror"),
        ({"l": "1" * 19}, "permerror"),
        ({"i": "@example.net"}, "permerror"),
        ({"i": "@badexample.com"}, "permerror"),
        ({"q": "http"}, "permerror"),
        ({"t": str(NOW + CLOCK_SLOP + 1)}, "permerror"),
        ({"x": str(NOW - CLOCK_SLOP - 1)}, "permerror"),
        ({"t": str(NOW + 20), "x": str(NOW + 10)}, "permerror"),
        ({"t": "-1"}, "permerror"),
        ({"z": "a;b"}, "permerror"),
        ({"d": "ä" * 70 + ".example"}, "permerror"),
    ],
)
def test_3_5_signatures_that_are_none(tags, result):
    refused(result, read_signature, edited(**tags), NOW)


def test_3_5_defaults_and_what_is_allowed():
    plain = read_signature(edited(), NOW)
    assert (plain.header_form, plain.body_form, plain.length, plain.identity) == (
        "simple",
        "simple",
        None,
        "example.com",
    )
    assert plain.key_name == "s1._domainkey.example.com"
    other = read_signature(
        edited(
            c="relaxed", i="joe@mail.example.com", l="0", q="dns/txt", t=str(NOW), x=str(NOW + 1), h=" From : \r\n\tTo "
        ),
        NOW,
    )
    assert (other.header_form, other.body_form, other.length, other.identity) == (
        "relaxed",
        "simple",
        0,
        "mail.example.com",
    )
    assert other.names == (b"from", b"to")


def test_rfc8616_names_beyond_ascii():
    found = read_signature(edited(d="bücher.example", s="ä", i="@post.bücher.example", h="from:tö"), NOW)
    assert (found.key_name, found.identity) == (
        "xn--4ca._domainkey.xn--bcher-kva.example",
        "post.xn--bcher-kva.example",
    )
    latin = read_header(b"DKIM-Signature: v=1; d=b\xfccher.example\r\n").fields[0]
    refused("permerror", read_signature, latin, NOW)


@functools.cache
def record_of(key):
    data = key.public_key().public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=DKIM2; p={p}", "permerror"),
        ("p={p}; v=DKIM1", "permerror"),
        ("v=DKIM1; p=", "permerror"),
        ("v=DKIM1", "permerror"),
        ("v=DKIM1; p=!", "permerror"),
        ("v=DKIM1; p=AAAA", "permerror"),
        ("v=DKIM1; k=ed25519; p={p}", "permerror"),
        ("v=DKIM1; h=sha1; p={p}", "permerror"),
        ("v=DKIM1; s=other; p={p}", "permerror"),
        ("no record", "permerror"),
        ("v=DKIM1; p=ä", "permerror"),
    ],
)
def test_3_6_1_key_records_that_do_not_fit(record, result):
    good = rsa_key()[1].partition("p=")[2]
    refused(result, read_key, record.replace("{p}", good).encode(), read_signature(edited(), NOW))


def test_3_6_1_flags_and_lists():
    good = rsa_key()[1].partition("p=")[2]
    signature = read_signature(edited(i="joe@mail.example.com"), NOW)
    refused("permerror", read_key, f"t=s; p={good}".encode(), signature)
    key = read_key(f"v=DKIM1; t=y:x; h=sha1:sha256; s=other:email; n=note; p={good}".encode(), signature)
    assert key.testing
    read_key(f"t=s; p={good}".encode(), read_signature(edited(), NOW))


def test_rfc8301_weak_and_excessive_keys():
    signature = read_signature(edited(), NOW)
    refused("policy", read_key, f"p={record_of(rsa.RSAPublicNumbers(65537, (1 << 959) + 1))}".encode(), signature)
    refused("permerror", read_key, f"p={record_of(ec.generate_private_key(ec.SECP256R1()))}".encode(), signature)
    huge = rsa.RSAPublicNumbers(65537, (1 << 8999) + 1).public_key()
    data = huge.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    refused("permerror", read_key, b"p=" + base64.b64encode(data), signature)
    assert read_key(f"p={record_of(rsa.generate_private_key(65537, 1024))}".encode(), signature)


def by_ed25519(form="relaxed"):
    """Sign MESSAGE by hand: the library does ed25519 only with another library beside it."""
    key, _ = ed25519_key()
    body = BodyHash(form)
    body.update(MESSAGE.partition(b"\r\n\r\n")[2])
    bh = base64.b64encode(body.digest()).decode()
    field = (
        f"DKIM-Signature: v=1; a=ed25519-sha256; c={form}/{form}; d=example.com; s=e;\r\n h=from:subject; bh={bh}; b="
    )
    unsigned = (field + "AAAA\r\n").encode() + MESSAGE
    header, signature, _ = parts(unsigned)
    made = base64.b64encode(key.sign(header_hash(header, signature))).decode()
    return f"{field}{made[:40]}\r\n  {made[40:]}\r\n".encode() + MESSAGE


@pytest.mark.parametrize("form", ["simple", "relaxed"])
def test_rfc8463_ed25519(form):
    record = ed25519_key()[1]
    verify(by_ed25519(form), record)
    refused("fail", verify, by_ed25519(form).replace(b"again", b"never"), record)
    refused("permerror", verify, by_ed25519(form), record[:-8])
    refused("permerror", verify, by_ed25519(form))


@given(st.binary(max_size=200))
def test_any_signature_field(data):
    field = read_header(b"DKIM-Signature: " + data.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n").fields[0]
    with contextlib.suppress(DkimError):
        read_signature(field, NOW)


@given(st.binary(max_size=200))
def test_any_key_record(data):
    signature = read_signature(edited(), NOW)
    for record in (data, b"p=" + base64.b64encode(data)):
        with contextlib.suppress(DkimError):
            read_key(record, signature)
