"""DNS lists as text, and what their answers mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.policy.listzones import parse_filter, parse_list, reversed_address


@pytest.mark.parametrize(
    ("text", "name", "zone", "weight", "yes", "no"),
    [
        ("BL.example.org.", "bl.example.org", "bl.example.org", 1, ["127.0.0.2", "127.1.2.3"], ["192.0.2.1", "127.255.255.254"]),
        ("bl.example.org*3", "bl.example.org", "bl.example.org", 3, ["127.0.0.2"], []),
        ("bl.example.org=127.0.0.2*-7", "bl.example.org", "bl.example.org", -7, ["127.0.0.2"], ["127.0.0.3"]),
        (
            "bl.example.org=127.0.[0;2].[4..11;20]",
            "bl.example.org",
            "bl.example.org",
            1,
            ["127.0.0.4", "127.0.2.20"],
            ["127.0.1.4", "127.0.0.12"],
        ),
        ("zen.example.org:KEY.zen.example.net=127.0.0.[2..3]", "zen.example.org", "key.zen.example.net", 1, ["127.0.0.2"], []),
    ],
)  # fmt: skip
def test_lists_are_read(text, name, zone, weight, yes, no):
    found = parse_list(text)
    assert (found.name, found.zone, found.weight) == (name, zone, weight)
    assert all(found.lists([address]) for address in yes)
    assert not any(found.lists([address]) for address in no)
    assert found.lists([*no, *yes])
    assert not found.lists([])


@pytest.mark.parametrize(
    "text",
    [
        "", "a b", "x=127.0.0", "x=127.0.0.2.3", "x=127.0.0.[5..2]", "x=127.0.0.256", "x=127.0.0.[]", "x=127.0.0.[1;]",
        "x=127.0.0.[1.2]", "x=127.0.0-2", "x*0", "x*1001", "x*-1001", "x*1*2", ":x", "x=127..0.2", "x=1270.0.0.2",
        "x=127.0.0.2]",
    ],
)  # fmt: skip
def test_others_are_refused_with_a_word(text):
    with pytest.raises(ValueError, match=r".{20}"):
        parse_list(text)


@given(st.text(alphabet="0123456789.;[]", max_size=60))
def test_a_filter_is_read_or_refused(text):
    try:
        octets = parse_filter(text)
    except ValueError:
        return
    assert len(octets) == 4
    assert all(part and part <= set(range(256)) for part in octets)


def test_addresses_are_reversed():
    assert reversed_address("192.0.2.7") == "7.2.0.192"
    assert reversed_address("::ffff:192.0.2.7") == "7.2.0.192"
    assert reversed_address("2001:db8::1%eth0") == "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    assert reversed_address("local") is None
