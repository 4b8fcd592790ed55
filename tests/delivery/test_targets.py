"""Targets: what the words of a route mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.delivery.targets import hop_target, parse_target
from netsvc.mail.message import Hop, Kind


@pytest.mark.parametrize(
    ("text", "key", "host", "port"),
    [
        ("[192.0.2.10]:25", "[192.0.2.10]:25", "192.0.2.10", 25),
        ("[192.0.2.10]", "[192.0.2.10]:25", "192.0.2.10", 25),
        ("[IPv6:2001:DB8::1]:587", "[IPv6:2001:db8::1]:587", "2001:db8::1", 587),
        ("[2001:db8::1]:587", "[IPv6:2001:db8::1]:587", "2001:db8::1", 587),
        ("[Relay.Example.NET]:587", "[relay.example.net]:587", "relay.example.net", 587),
    ],
)
def test_hosts(text, key, host, port):
    target = parse_target(text)
    assert (target.kind, target.key, target.host, target.port) == (Kind.SMTP, key, host, port)
    assert parse_target(key).key == key


def test_other_targets():
    assert parse_target("mx").key == ""
    assert parse_target("lmtp:unix:/run/lmtp").kind is Kind.LMTP
    target = parse_target("maildir:/var/mail/{domain}/x-{local}")
    assert (target.kind, target.key, target.prefix) == (Kind.MAILDIR, "maildir:/var/mail", "/var/mail")
    assert target.parts == ("{domain}", "x-{local}")
    assert parse_target("maildir:/var/mail/all").parts == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "smtp",
        "MX",
        "relay.example.net",
        "relay.example.net:25",
        "[]:25",
        "[a b]:25",
        "[192.0.2.300]:25",
        "[192.0.2.10]:0",
        "[192.0.2.10]:65536",
        "[192.0.2.10]:x",
        "[192.0.2.10]25",
        "[IPv6:relay.example.net]:25",
        "[[::1]]:25",
        "lmtp:",
        "lmtp:tcp:x",
        "lmtp:unix:relative",
        "lmtp:unix:/run/../x",
        "lmtp:unix:/" + "x" * 107,
        "lmtp:[192.0.2.1]:0",
        "mx:",
        "mx:[192.0.2.1]",
        "mx:a b",
        "command:",
        "command:a b",
        "command:/bin/sh",
        "agent:",
        "agent: x",
        "x" * 1001,
        "mx\n",
        "maildir:",
        "maildir:relative/{local}",
        "maildir:/",
        "maildir:/{local}",
        "maildir:/var//{local}",
        "maildir:/var/../{local}",
        "maildir:/var/./{local}",
        "maildir:/var/{user}",
        "maildir:/var/{local",
        "maildir:/var/local}",
        "maildir:/var/{{local}}",
        "maildir:/var/\0",
        "pipe:/bin/sh",
    ],
)
def test_what_is_no_target(text):
    with pytest.raises(ValueError, match=r"^'.* (is|needs|may|has|of) ?|is neither|^the (port|host|socket)|^'.* names"):
        parse_target(text)


def test_every_kind():
    found = {
        text: parse_target(text)
        for text in ("mx:Other.Example", "lmtp:[::1]", "lmtp:unix:/run/lmtp", "command:spam-check", "agent:x  a b ")
    }
    mx, tcp, unix, command, agent = found.values()
    assert (mx.kind, mx.key, mx.domain, mx.text, mx.by_mx) == (
        Kind.SMTP, "other.example", "other.example", "mx:other.example", True,
    )  # fmt: skip
    assert (tcp.kind, tcp.key, tcp.host, tcp.port) == (Kind.LMTP, "lmtp:[IPv6:::1]:24", "::1", 24)
    assert (unix.key, unix.path, unix.by_mx) == ("lmtp:unix:/run/lmtp", "/run/lmtp", False)
    assert (command.kind, command.key, command.name) == (Kind.COMMAND, "command:spam-check", "spam-check")
    assert (agent.kind, agent.key, agent.name, agent.words) == (Kind.PLUGIN, "agent:x a b", "x", "a b")
    assert parse_target("agent:x").key == "agent:x"
    assert not parse_target("[192.0.2.1]").by_mx
    assert parse_target("mx").by_mx


@pytest.mark.parametrize("text", ["[192.0.2.1]:25", "lmtp:unix:/run/x", "maildir:/m/{local}", "command:x", "agent:x y"])
def test_a_row_s_target_is_its_route_s(text):
    target = parse_target(text)
    assert hop_target(Hop(target.kind, target.key, "example.org", target.text)) == target


def test_a_row_by_mx_has_the_domain_as_its_key():
    assert hop_target(Hop(Kind.SMTP, "example.org", "example.org", "mx")).domain == "example.org"
    other = hop_target(Hop(Kind.SMTP, "other.example", "example.org", "mx:other.example"))
    assert (other.domain, other.host) == ("other.example", "")
    literal = hop_target(Hop(Kind.SMTP, "[192.0.2.1]", "[192.0.2.1]", "mx"))
    assert (literal.domain, literal.host) == ("[192.0.2.1]", "")


@given(st.one_of(st.text(), st.from_regex(r"(mx|lmtp|maildir|command|agent|\[)[:\[\]/a-z0-9{}. ]*")))
def test_whatever_is_written_has_one_form(text):
    try:
        target = parse_target(text)
    except ValueError:
        return
    if target.kind is not Kind.MAILDIR and target.key:
        assert parse_target(target.text).key == target.key
