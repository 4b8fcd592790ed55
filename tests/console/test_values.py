"""Values as operators type them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.console import values as v
from netsvc.criteria import Network

NOW = 1_795_442_712_345
TODAY = 1_795_392_000_000


@pytest.mark.parametrize(
    ("text", "ms", "unit"),
    [
        ("30s", 30_000, 1000),
        ("5m", 300_000, 60_000),
        ("1d12h", 129_600_000, 3_600_000),
        ("1W", 604_800_000, 604_800_000),
        ("-5m", -300_000, 60_000),
        ("250ms", 250, 1),
        ("0", 0, 1000),
    ],
)
def test_durations(text, ms, unit):
    assert v.parse_duration(text) == (ms, unit)


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "5x", "1h-2m", "٥m", "9" * 30 + "w", "999999999999w" * 20])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="duration"):
        v.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "octets"),
    [("512", 512), ("10k", 10240), ("5M", 5 << 20), ("1G", 1 << 30), ("1.5k", 1536), ("2TB", 2 << 40), ("1KiB", 1024)],
)
def test_sizes(text, octets):
    assert v.parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "k", "-1", "1.k", "1x", "9" * 18 + "T"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="size"):
        v.parse_size(text)


@pytest.mark.parametrize(
    ("text", "start", "span"),
    [
        ("14:05", TODAY + 14 * v.HOUR + 5 * v.MINUTE, v.MINUTE),
        ("14:05:12", TODAY + 14 * v.HOUR + 5 * v.MINUTE + 12_000, v.SECOND),
        ("9:05Z", TODAY + 9 * v.HOUR + 5 * v.MINUTE, v.MINUTE),
        ("2026-11-23", TODAY, v.DAY),
        ("2026-11-23T14:05Z", TODAY + 14 * v.HOUR + 5 * v.MINUTE, v.MINUTE),
        ("2026-11-23 14:05", TODAY + 14 * v.HOUR + 5 * v.MINUTE, v.MINUTE),
        ("2026-11-23T14:05:12.345Z", TODAY + 14 * v.HOUR + 5 * v.MINUTE + 12_000, v.SECOND),
        ("-2h", NOW - 2 * v.HOUR, v.HOUR),
        ("+5m", NOW + 5 * v.MINUTE, v.MINUTE),
        ("today", TODAY, v.DAY),
        ("Yesterday", TODAY - v.DAY, v.DAY),
        ("now", NOW, 1),
    ],
)
def test_times(text, start, span):
    assert v.parse_time(text, NOW) == (start, span)


@pytest.mark.parametrize(
    "text", ["", "24:00", "12:60", "1:2", "2026-13-01", "2026-02-30", "2026-11-23T25:00", "2026-11-23Tx", "-x", "x"]
)
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="time"):
        v.parse_time(text, NOW)


def test_peers():
    assert v.parse_peer("192.0.2.1") == "192.0.2.1"
    assert v.parse_peer("2001:DB8::0:1") == "2001:db8::1"
    assert v.parse_peer("10.1.2.3/8") == Network("10.0.0.0/8")
    assert v.parse_peer("local") == "local"
    for bad in ("10.0.0.300", "10.*", "10.0.0.0/33", "fe80::1::2"):
        with pytest.raises(ValueError, match="address"):
            v.parse_peer(bad)


def test_numbers_names_and_yes():
    assert v.parse_int("0") == 0
    assert v.parse_name("Bo.Smith-2") == "bo.smith-2"
    assert v.parse_bool("YES") is True
    assert v.parse_bool("0") is False
    for parse, bad in (
        (v.parse_int, "-1"),
        (v.parse_int, "9" * 19),
        (v.parse_int, "9" * 5000),
        (v.parse_int, "٥"),
        (v.parse_name, "-x"),
        (v.parse_name, "a b"),
        (v.parse_name, ""),
        (v.parse_bool, "maybe"),
    ):
        with pytest.raises(ValueError, match=r"number|name|true"):
            parse(bad)


@given(st.text(max_size=30))
def test_nothing_but_value_error(text):
    for parse in (v.parse_int, v.parse_duration, v.parse_size, v.parse_bool, v.parse_peer, v.parse_name):
        with contextlib.suppress(ValueError):
            parse(text)
    with contextlib.suppress(ValueError):
        v.parse_time(text, NOW)
