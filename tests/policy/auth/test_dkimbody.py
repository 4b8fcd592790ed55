"""Body hashes: RFC 6376 3.4, whole and cut anywhere, against dkimpy's canonicalization."""

import hashlib

import pytest
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given
from hypothesis import strategies as st

from netsvc.policy.auth.dkimbody import _STEP, BodyHash

FORMS = {"simple": Simple, "relaxed": Relaxed}
lines = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"\r\n\r\n", b"b c", b" \r\n", b"\r"])).map(b"".join)


def hashed(form, body, size=None, limit=None):
    each = BodyHash(form, limit)
    step = size or max(len(body), 1)
    for at in range(0, len(body), step):
        each.update(body[at : at + step])
    return each.digest(), each.size


@pytest.mark.parametrize(
    ("form", "body", "canonical"),
    [
        ("simple", b"", b"\r\n"),
        ("relaxed", b"", b""),
        ("simple", b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n"),
        ("relaxed", b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),
        ("relaxed", b"\r\n\r\n", b""),
        ("simple", b"\r\n\r\n", b"\r\n"),
        ("simple", b"no end", b"no end\r\n"),
        ("relaxed", b"a\r\n\r\n b", b"a\r\n\r\n b\r\n"),
    ],
)
def test_3_4_5_examples(form, body, canonical):
    assert hashed(form, body) == (hashlib.sha256(canonical).digest(), len(canonical))


@given(lines, st.sampled_from(sorted(FORMS)), st.integers(1, 9))
def test_as_another_library_and_cut_anywhere(body, form, size):
    canonical = FORMS[form].canonicalize_body(body)
    assert hashed(form, body, size) == hashed(form, body) == (hashlib.sha256(canonical).digest(), len(canonical))


@given(lines, st.integers(0, 40))
def test_only_so_much_of_it(body, limit):
    canonical = Relaxed.canonicalize_body(body)
    assert hashed("relaxed", body, limit=limit) == (hashlib.sha256(canonical[:limit]).digest(), len(canonical))


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize(
    "body", [b"\r\n" * 40_000 + b"x", b"\r\n" * 40_000, b" " * 100_000 + b"x \r\n", b"\n\r\n" * 30_000]
)
def test_large_ones(form, body):
    """What takes a regular expression hours is as quick as the rest."""
    expected = hashed(form, body, _STEP - 1)
    assert hashed(form, body) == expected
