"""Addresses: what is taken, in which form, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail.address import (
    MAX_DOMAIN,
    MAX_LOCAL,
    NULL,
    Address,
    AddressError,
    parse_address,
    parse_domain,
    parse_local,
    split_address,
)
from netsvc.mail.escape import escape


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("ann@example.org", "ann", "example.org"),
        ("Ann.Lee+tag@EXAMPLE.Org", "Ann.Lee+tag", "example.org"),
        ("!#$%&'*+/=?^_`{|}~-@x", "!#$%&'*+/=?^_`{|}~-", "x"),
        ('"ann"@example.org', "ann", "example.org"),
        ('"a b"@example.org', '"a b"', "example.org"),
        ('"a@b"@example.org', '"a@b"', "example.org"),
        (r'"a\"b\\c"@example.org', r'"a\"b\\c"', "example.org"),
        (r'"\a\n\n"@example.org', "ann", "example.org"),
        ('""@example.org', '""', "example.org"),
        ("ann@[192.0.2.1]", "ann", "[192.0.2.1]"),
        ("ann@[IPv6:2001:DB8:0::1]", "ann", "[IPv6:2001:db8::1]"),
        ("ann@b\u00fccher.example", "ann", "xn--bcher-kva.example"),
        ("a@" + "b" * 63 + ".c", "a", "b" * 63 + ".c"),
        ("' OR 1=1 --".replace(" ", "") + "@example.org", "'OR1=1--", "example.org"),
    ],
)
def test_taken(text, local, domain):
    address = parse_address(text)
    assert address == Address(local, domain)
    assert parse_address(str(address)) == address
    assert address.key == f"{local}@{domain}".lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "ann@",
        "@example.org",
        "a..b@example.org",
        ".a@example.org",
        "a.@example.org",
        "a b@example.org",
        "a<b@example.org",
        "ann@example..org",
        "ann@.example.org",
        "ann@example.org.",
        "ann@-example.org",
        "ann@example-.org",
        "ann@exa_mple.org",
        "ann@example.org\r\nRCPT",
        "ann@example.org\n",
        "a\x00b@example.org",
        "a\x7f@example.org",
        '"a\nb"@example.org',
        '"a"b@example.org',
        '"ab@example.org',
        '"',
        '"a"',
        'a"b"@example.org',
        "\u00e4nn@example.org",
        "ann@\udc80.org",
        "ann@" + "\u00fc" * 80 + ".org",
        "ann@[192.0.2.256]",
        "ann@[192.0.2.1",
        "ann@[",
        "ann@[]",
        "ann@[IPv6:fe80::1%eth0]",
        "ann@[IPv6:nonsense]",
        "ann@[tag:content]",
        "a" * (MAX_LOCAL + 1) + "@example.org",
        "ann@" + "a." * 128 + "b",
        "ann@" + "b" * 64 + ".c",
        "Ann <ann@example.org>",
        "@hop.example:ann@example.org",
        "ann@example.org@example.net",
    ],
)
def test_refused(text):
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert str(caught.value).isprintable()


def test_texts_of_what_is_no_address():
    assert str(NULL) == ""
    assert str(Address("Postmaster", "")) == "Postmaster"


def test_limits_are_those_of_the_standard():
    assert parse_local("a" * 64) == "a" * 64
    assert len(parse_domain(("a" * 49 + ".") * 5 + "b" * 5)) == MAX_DOMAIN
    with pytest.raises(AddressError):
        parse_domain(("a" * 49 + ".") * 5 + "b" * 6)
    with pytest.raises(AddressError):
        parse_domain("a" * 60 + "." + "\u00fc." * 60 + "b" * 60)  # longer in its IDNA form


def test_split_leaves_the_parts_as_written():
    assert split_address('"a@b"@C') == ('"a@b"', "C")
    assert split_address("a@b@c") == ("a", "b@c")
    assert split_address("a") == ("a", "")


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_an_address_error(text):
    for parse in (parse_address, parse_domain, parse_local):
        try:
            taken = str(parse(text))
        except AddressError:
            continue
        assert taken.isascii()
        assert taken.isprintable()
        assert str(parse(taken)) == taken


@pytest.mark.parametrize("letter", ["a", "(", '"\\', '"', "\\", "@", ".", "[", "a.", "\u00fc"])
def test_t24_long_texts_are_refused_at_once(letter):
    # Work that grew with the square of the length would take minutes here.
    text = letter * (1_000_000 // len(letter))
    for parse in (parse_address, parse_domain, parse_local):
        with pytest.raises(AddressError):
            parse(text)
    if text.startswith('"') and letter != '"':
        with pytest.raises(AddressError, match="does not end"):
            split_address(text)


@given(st.text(max_size=80))
def test_any_text_with_utf8_is_an_address_or_an_address_error(text):
    def parse(text):
        return parse_address(text, utf8=True)

    for whole in (text, f"{text}@example.org", f'"{text}"@example.org'):
        try:
            taken = str(parse(whole))
        except AddressError:
            continue
        assert taken.isprintable()
        assert escape(taken) == taken
        assert len(taken.encode()) <= 254 + 2
        assert str(parse(taken)) == taken


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("b\u00fccher@example.org", "b\u00fccher@example.org"),
        ('"b\u00fccher"@example.org', "b\u00fccher@example.org"),
        ('"b\u00fc cher"@b\u00fccher.example', '"b\u00fc cher"@xn--bcher-kva.example'),
        ("\u7528\u6237@example.org", "\u7528\u6237@example.org"),
        ("\U0001f600@example.org", "\U0001f600@example.org"),
    ],
)
def test_utf8_addresses(text, taken):
    """RFC 6531 3.3."""
    assert str(parse_address(text, utf8=True)) == taken


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\u00fc" * 33 + "@example.org", "local part is longer"),
        ("a\u202eb@example.org", "do not show"),
        ("a\u200bb@example.org", "do not show"),
        ("a\u2003b@example.org", "do not show"),
        ("\ud800@example.org", "do not show"),
        ("\u00fc..b@example.org", "neither"),
        ('"\u00fc@example.org', "does not end"),
        ("\u00fc" * 120 + "@" + "a." * 30 + "org", "path is longer"),
    ],
)
def test_refused_utf8_addresses(text, why):
    with pytest.raises(AddressError, match=why):
        parse_address(text, utf8=True)


def test_utf8_addresses_compare_in_nfc():
    composed, combined = parse_address("\u00dc@x.org", utf8=True), parse_address("U\u0308@x.org", utf8=True)
    assert composed != combined
    assert composed.key == combined.key == "\u00fc@x.org"
