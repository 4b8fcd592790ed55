"""SASLprep: the examples of RFC 4013 3, and what each step of RFC 3454 asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.sasl.prep import PrepError, saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),  # RFC 4013 3, example 1
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("", ""),
        ("a\u00a0b", "a b"),
        ("a b", "a b"),
        ("\u0627\u0031\u0628", "\u06271\u0628"),
        ("\U0001f600", "\U0001f600"),  # newer than Unicode 3.2: allowed in queries
        ("\u00e4", "\u00e4"),
        ("a\u0308", "\u00e4"),
    ],
)
def test_what_becomes_of_a_text(text, prepared):
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text",
    [
        "\x07",  # RFC 4013 3, example 6
        "\u0627\u0031",  # and 7: begins but does not end from right to left
        "a\nb",
        "\x7f",
        "a\u0085",
        "\u0627a\u0628",
        "\u206a\u00e9",
        "\ue000",
        "\ufdd0",
        "\ufff9",
        "\u2ff0",
        "\u200e\u00e9",
        "\U000e0001",
        "\ud800",
    ],
)
def test_what_nothing_becomes_of(text):
    with pytest.raises(PrepError):
        saslprep(text)


@given(st.text(max_size=30))
def test_prepared_texts_stay_as_they_are(text):
    try:
        once = saslprep(text)
    except PrepError:
        return
    assert saslprep(once) == once
