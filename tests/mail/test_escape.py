"""The one function every foreign string passes (CONSOLE.md C23, SMTP T26)."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail.escape import escape, escape_bytes


def is_safe(text):
    return all(
        unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} or c in "\u06dd\u070f\u08e2" or ord(c) > 0x10000
        for c in text
    ) and not any(c in text for c in "\u202e\u2066\ufeff\u061c\u200f\u2028\x85\x1b\r\n\0")


@given(st.text(st.characters(codec=None)))
def test_nothing_unsafe_comes_out(text):
    out = escape(text)
    assert "\x1b" not in out
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in out)
    assert not any(
        unicodedata.bidirectional(c) in {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"} for c in out
    )
    assert not any(0xD800 <= ord(c) <= 0xDFFF for c in out)
    assert escape(out) == out


@given(st.binary(), st.integers(0, 40))
def test_bytes_and_limit(data, limit):
    out = escape_bytes(data, limit)
    assert len(out) <= limit
    assert is_safe(out)


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("plain text", "plain text"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("\x1b]52;c;QQ==\x07", "\\x1b]52;c;QQ==\\x07"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\r\nb\0", "a\\x0d\\x0ab\\x00"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u{202E}gnp.exe"),
        ("\ufeff\u2028", "\\u{FEFF}\\u{2028}"),
        ("\ud800", "\\u{D800}"),
        ("\xff", "ÿ"),
    ],
)
def test_examples(given_text, shown):
    assert escape(given_text) == shown


def test_cut_texts_say_so():
    assert escape("a" * 20, 10) == "a" * 7 + "..."
    assert escape("a" * 10, 10) == "a" * 10
    assert escape("\x00" * 10, 9) == "\\x00\\x..."
    assert escape("abcdef", 2) == ".."


def test_bytes_that_are_not_utf8():
    assert escape_bytes(b"\xff\xfe ok \xc2\x9b") == "\\xff\\xfe ok \\x9b"
    assert escape_bytes(b"x" * 1000, 8) == "xxxxx..."
