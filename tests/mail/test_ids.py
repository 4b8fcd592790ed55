"""Queue ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail import ids

NUMBERS = st.integers(0, 2**63 - 1)


@given(NUMBERS)
def test_shown_and_parsed_is_the_same(number):
    text = ids.show_id(number)
    assert len(text) == ids.LENGTH
    assert ids.parse_id(text) == number
    assert ids.parse_id(text.lower()) == number
    assert ids.parse_item(ids.show_item(number, 7)) == (number, 7)
    assert ids.parse_item(text) == (number, None)


@given(NUMBERS, NUMBERS)
def test_order_of_texts_is_order_of_numbers(a, b):
    assert (a < b) == (ids.show_id(a) < ids.show_id(b))


@given(NUMBERS, st.integers(1, 13))
def test_prefix_range_holds_exactly_what_begins_with_it(number, length):
    prefix = ids.show_id(number)[:length]
    low, high = ids.prefix_range(prefix)
    assert low <= number <= high
    assert ids.show_id(low).startswith(prefix)
    assert ids.show_id(high).startswith(prefix)
    if high < 2**63 - 1:
        assert not ids.show_id(high + 1).startswith(prefix)


def test_time_goes_in_and_out():
    number = ids.make_id(1_790_000_000_123, 1023, 4095)
    assert ids.id_time(number) == 1_790_000_000_123
    assert ids.make_id(0, 1, 0) >> 22 == 0


def test_what_people_misread():
    assert ids.parse_id("0O1IL0OO0IIL1") == ids.parse_id("0011100001111")


@pytest.mark.parametrize("text", ["", "0", "0" * 14, "U" * 13, "Z" * 13, "0" * 12 + "-", "0" * 12 + "\u0660", "é" * 13])
def test_no_id(text):
    with pytest.raises(ids.IdError):
        ids.parse_id(text)


@pytest.mark.parametrize("tail", ["", "0", "-1", "x", "1234567", "²"])
def test_no_item(tail):
    with pytest.raises(ids.IdError):
        ids.parse_item("0" * 13 + "." + tail)


@pytest.mark.parametrize("prefix", ["", "0" * 14, "Z", "!"])
def test_no_prefix(prefix):
    with pytest.raises(ids.IdError):
        ids.prefix_range(prefix)
