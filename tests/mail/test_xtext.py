"""xtext (RFC 3461 4)."""

from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail.xtext import from_xtext, to_xtext


@given(st.text(st.characters(max_codepoint=255)))
def test_there_and_back(text):
    coded = to_xtext(text)
    assert coded.isascii()
    assert coded.isprintable()
    assert not set(coded) & {" ", "="}
    assert from_xtext(coded) == text


def test_what_is_not_xtext():
    assert from_xtext("a=b") is None
    assert from_xtext("a b") is None
    assert from_xtext("a+4") is None
    assert from_xtext("a+zz") is None
    assert from_xtext("\u00fc") is None
    assert from_xtext("") == ""


def test_what_has_no_place_in_it():
    assert to_xtext("a\u20acb") == "a?b"
