"""Routes: what targets mean, and which pattern a domain matches."""

import pytest
from zope.interface.verify import verifyObject

from netsvc.delivery.routing import Router, check_pattern, check_route, parse_target
from netsvc.interfaces import IRouting
from netsvc.mail.message import Hop, Kind
from tests.fakes import FakeSite


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
    with pytest.raises(ValueError, match=r"^'.* (is|needs|may|has|of) ?|is neither|the port"):
        parse_target(text)


def test_patterns():
    assert [check_pattern(p) for p in ("*", "Example.ORG", ".example.org")] == ["*", "example.org", ".example.org"]
    for bad in ("", ".", "*.example.org", "a b", "-x.example"):
        with pytest.raises(ValueError, match="pattern"):
            check_pattern(bad)
    check_route("*", "mx")
    with pytest.raises(ValueError, match="not a route"):
        check_route("*", "nonsense")


def test_longest_match():
    site = FakeSite(
        routes={
            "example.org": "[192.0.2.1]:25",
            ".example.org": "[192.0.2.2]:25",
            ".b.example.org": "maildir:/var/mail/{domain}/{local}",
            "x.b.example.org": "mx",
            "broken.example": "nonsense",
        }
    )
    router = Router(site)
    verifyObject(IRouting, router)
    found = {
        d: (router.route(d).key, router.route(d).route)
        for d in (
            "example.org",
            "a.example.org",
            "c.b.example.org",
            "x.b.example.org",
            "broken.example",
            "b.example.org",
        )
    }
    assert found == {
        "example.org": ("[192.0.2.1]:25", "[192.0.2.1]:25"),
        "a.example.org": ("[192.0.2.2]:25", "[192.0.2.2]:25"),
        "c.b.example.org": ("maildir:/var/mail", "maildir:/var/mail/{domain}/{local}"),
        "x.b.example.org": ("x.b.example.org", "mx"),
        "broken.example": ("broken.example", "mx"),
        "b.example.org": ("[192.0.2.2]:25", "[192.0.2.2]:25"),
    }
    assert router.explain("C.b.Example.org")[0] == ".b.example.org"
    assert router.explain("localhost") == ("", Hop(Kind.SMTP, "localhost", "localhost", "mx"))


def test_the_site_s_changes_are_followed():
    site = FakeSite()
    router = Router(site)
    assert router.route("example.net") == Hop(Kind.SMTP, "example.net", "example.net", "mx")
    site.become(routes={"*": "[192.0.2.9]:2525"})
    assert router.route("example.net").key == "[192.0.2.9]:2525"
    assert router.explain("example.net")[0] == "*"


def test_what_is_remembered_is_bounded():
    router = Router(FakeSite())
    for n in range(10_001):
        router.route(f"d{n}.example")
    assert len(router._known) == 1
