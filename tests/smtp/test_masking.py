"""What a record of the dialogue keeps of a command line."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsvc.smtp.events import Pause
from netsvc.smtp.masking import hide_secret
from netsvc.smtp.server import ServerSession
from netsvc.smtp.terms import Terms

SECRET = base64.b64encode(b"\0ann\0a long secret")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b"AUTH PLAIN " + SECRET, b"AUTH PLAIN (24 octets hidden)"),
        (b"auth  plain " + SECRET, b"AUTH plain (24 octets hidden)"),
        (b"AUTH=PLAIN " + SECRET, b"AUTH PLAIN (24 octets hidden)"),
        (b"AUTH\tPLAIN\t" + SECRET, b"AUTH PLAIN (24 octets hidden)"),
        (b"AUTHENTICATE PLAIN " + SECRET, b"AUTH (39 octets hidden)"),
        (b"AUTH " + SECRET + b"x", b"AUTH (25 octets hidden)"),
        (b"AUTH (25 octets hidden)", b"AUTH (25 octets hidden)"),
        (b"AUTH LOGIN", b"AUTH LOGIN"),
        (b"AUTH", b"AUTH"),
        (b"AUTH PLAIN (24 octets hidden)", b"AUTH PLAIN (24 octets hidden)"),
        (SECRET, b"(24 octets hidden)"),
        (b"HELP", b"HELP"),
        (b"starttls", b"starttls"),
        (b"HELOO", b"HELOO"),
        (b"", b""),
        (b"MAIL FROM:<a@b.example>", b"MAIL FROM:<a@b.example>"),
        (b"\x16\x03\x01\xff", b"\x16\x03\x01\xff"),
    ],
)
def test_secrets_are_hidden(line, kept):
    assert hide_secret(line) == kept


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_anything_may_be_masked_and_stays_so(line):
    kept = hide_secret(line)
    assert hide_secret(kept) == kept
    assert len(kept) <= max(len(line), 0) + 30


@given(st.sampled_from([b"AUTH", b"auth", b"Auth"]), st.binary(min_size=24, max_size=90))
def test_no_secret_is_kept_whatever_its_case(verb, secret):
    encoded = base64.b64encode(secret)
    for line in (verb + b" PLAIN " + encoded, verb + b"=LOGIN  " + encoded, verb + b" " + encoded, encoded):
        assert encoded not in hide_secret(line)


def talk(data):
    session = ServerSession(Terms("mx1.example.org"))
    session.receive_data(data)
    assert isinstance(session.next_event(), Pause)
    return session


def test_a_session_gathers_what_it_read_without_secrets():
    session = talk(
        b"NOOP\r\nAUTH PLAIN " + SECRET + b"\r\n" + SECRET + b"\r\nHELOO\r\n" + b"x" * 3000 + b"\r\nNOOP x\r\n"
    )
    heard = session.take_heard()
    assert b"hidden" in heard
    assert SECRET not in heard
    assert heard.split(b"\r\n")[0] == b"NOOP"
    assert heard.split(b"\r\n")[3:] == [b"HELOO", b"(a line too long)", b"NOOP x"]
    assert session.take_heard() == b""
    session.receive_data(b"NOOP\r\n")
    session.next_event()
    assert session.take_heard() == b"NOOP"
    assert session.content_size == 0
