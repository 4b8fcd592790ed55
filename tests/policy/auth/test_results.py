"""Authentication-Results: RFC 8601."""

from hypothesis import given
from hypothesis import strategies as st

from netsvc.policy.auth.fields import read_header
from netsvc.policy.auth.results import Finding, authserv_id, forged, results_field


def test_2_2_the_field():
    field = results_field(
        "mx1.example.org",
        [
            Finding("spf", "pass", (("smtp.mailfrom", "joe@example.com"), ("x.y", "")), "example.com: +mx"),
            Finding("dkim", "fail", (("header.d", 'a b"\\\r\n'),)),
        ],
    )
    assert field == (
        b"Authentication-Results: mx1.example.org;\r\n"
        b"\tspf=pass (example.com: +mx) smtp.mailfrom=joe@example.com;\r\n"
        b'\tdkim=fail header.d="a b????"\r\n'
    )
    assert results_field("mx1.example.org", []) == b"Authentication-Results: mx1.example.org;\r\n\tnone\r\n"


@given(st.text(), st.text())
def test_nothing_from_outside_breaks_the_field(value, why):
    field = results_field("mx1.example.org", [Finding("spf", "pass", (("smtp.helo", value),), why)])
    (only,) = read_header(field).fields
    assert only.raw == field
    assert field.count(b"\r\n") == field.count(b"\n") == field.count(b"\r") == 2
    assert field.isascii()
    assert all(octet >= 32 or octet in b"\r\n\t" for octet in field)
    assert max(map(len, field.split(b"\r\n"))) < 998


def test_5_fields_in_our_name():
    header = read_header(
        b"Authentication-Results: MX1.example.org; spf=pass\r\n"
        b"Authentication-Results: mx2.example.org; spf=pass\r\n"
        b'authentication-results: (a (b) c) (d) "mx1.example.org" 1; none\r\n'
        b"Authentication-Results:\r\n\tmx1.example.org(x); none\r\n"
        b"X: mx1.example.org\r\n"
    )
    assert forged(header, "mx1.example.org") == [0, 2, 3]
    assert authserv_id(b" (never ends") == ""
    assert authserv_id(b"") == ""
