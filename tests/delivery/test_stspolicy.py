"""What is published by MTA-STS, read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.delivery.stspolicy import LONGEST_AGE, MODES, MOST_OCTETS, StsError, StsPolicy, published_id, read_policy

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mx1.example.org\r\nmx: *.mail.example.org\r\nmax_age: 604800\r\n"


def test_a_policy():
    assert read_policy(GOOD) == StsPolicy("enforce", 604800, ("mx1.example.org", "*.mail.example.org"))


@pytest.mark.parametrize(
    "body",
    [
        GOOD.replace(b"\r\n", b"\n"),
        GOOD.removesuffix(b"\r\n"),
        GOOD + b"\r\n\r\n",
        GOOD + b"future: thing: with colons\r\n",
        GOOD + b"mode: none\r\nmax_age: 1\r\n",
        GOOD.replace(b": ", b" :\t"),
        GOOD.replace(b"mx1.example.org", b"MX1.Example.ORG."),
        GOOD + b"mx: mx1.example.org\r\n",
    ],
)
def test_the_same_policy_otherwise(body):
    assert read_policy(body) == read_policy(GOOD)


def test_a_policy_without_hosts_where_it_is_given_up():
    assert read_policy(b"version: STSv1\nmode: none\nmax_age: 86400\n") == StsPolicy("none", 86400)


def test_an_age_beyond_the_longest():
    assert read_policy(GOOD.replace(b"604800", b"9999999999")).max_age == LONGEST_AGE


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "version"),
        (b"<html>\n", "no colon"),
        (GOOD.replace(b"STSv1", b"STSv2"), "version"),
        (GOOD.replace(b"enforce", b"Enforce"), "mode"),
        (GOOD.replace(b"mode: enforce\r\n", b""), "mode"),
        (GOOD.replace(b"604800", b"-1"), "max_age"),
        (GOOD.replace(b"604800", b"1e5"), "max_age"),
        (GOOD.replace(b"604800", "٣".encode()), "max_age"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1\n", "no host"),
        (GOOD.replace(b"mx1.example.org", b"*"), "can be none"),
        (GOOD.replace(b"mx1.example.org", b"mx.*.example.org"), "can be none"),
        (GOOD.replace(b"mx1.example.org", b"mx1 example"), "can be none"),
        (GOOD.replace(b"mx1.example.org", b"a." * 130 + b"example"), "can be none"),
        (GOOD + b"".join(b"mx: mx%d.example.org\n" % n for n in range(101)), "more than 100"),
        (GOOD + b" " * MOST_OCTETS, "octets"),
    ],
)
def test_what_is_no_policy(body, words):
    with pytest.raises(StsError, match=words):
        read_policy(body)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mx1.example.org", True),
        ("mx2.example.org", False),
        ("a.mail.example.org", True),
        ("a.b.mail.example.org", False),
        ("mail.example.org", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_hosts(host, allowed):
    assert read_policy(GOOD).allows(host) is allowed


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=STSv1;id=a"], "a"),
        ([b"v=STSv1 ; x=y; id=a ; id=b"], "a"),
        ([b"v=spf1 -all", b"v=STSv1; id=a;"], "a"),
        ([b"v=STSv1; id=a;", b"v=STSv1; id=b;"], ""),
        ([b"v=STSv1; id=a;", b"v=STSv1; id=a;"], ""),
        ([b"v=STSv1"], ""),
        ([b"v=STSv10; id=a"], ""),
        ([b" v=STSv1; id=a"], ""),
        ([b"v=STSv1; ID=a"], ""),
        ([b"v=STSv1; id=a-b"], ""),
        ([b"v=STSv1; id=" + b"a" * 33], ""),
        ([b"v=STSv1; id=\xff"], ""),
        ([], ""),
    ],
)
def test_ids(texts, found):
    assert published_id(texts) == found


@given(st.binary(max_size=300))
def test_anything_is_a_policy_or_an_error(body):
    for text in (body, GOOD[:40] + body, GOOD + body):
        try:
            policy = read_policy(text)
        except StsError:
            continue
        assert policy.mode in MODES
        assert 0 <= policy.max_age <= LONGEST_AGE
        assert policy.hosts or policy.mode == "none"
    assert len(published_id([b"v=STSv1;" + body])) <= 32
