"""Routes: what targets mean, and which pattern a domain matches."""

import pytest
from zope.interface.verify import verifyObject

from netsvc.delivery.routing import Router, check_pattern, check_route, check_sender
from netsvc.interfaces import IRouting
from netsvc.mail.message import Hop, Kind
from tests.fakes import FakeSite


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
    assert [row["pattern"] for row in router.explain("C.b.Example.org", "")] == ["c.b.example.org", ".b.example.org"]
    assert [row["pattern"] for row in router.explain("[192.0.2.1]")] == ["[192.0.2.1]", "*", ""]
    assert router.explain("localhost") == [
        {"rule": "route", "pattern": "localhost", "target": "", "matched": False},
        {"rule": "route", "pattern": "*", "target": "", "matched": False},
        {"rule": "default", "pattern": "", "target": "mx", "matched": True},
    ]


def test_the_sender_s_route_goes_first():
    routes = {
        "Ann@Example.org": "[192.0.2.1]:25",
        "example.org": "[192.0.2.2]:25",
        ".example.org": "[192.0.2.3]:25",
        "<>": "mx:reports.example",
        "nonsense": "nonsense",
    }
    router = Router(FakeSite(routes={"example.com": "mx", "*": "[192.0.2.9]:25"}, sender_routes=routes))
    senders = ("ann@example.ORG", "bo@example.org", "bo@b.example.org", "", "bo@example.net", "nonsense")
    found = {sender: router.route("example.com", sender).key for sender in senders}
    assert found == {
        "ann@example.ORG": "[192.0.2.1]:25",
        "bo@example.org": "[192.0.2.2]:25",
        "bo@b.example.org": "[192.0.2.3]:25",
        "": "reports.example",
        "bo@example.net": "example.com",
        "nonsense": "example.com",
    }
    for sender in senders:
        assert router.judge("Example.com", sender) == router.route("Example.com", sender)
    assert [(row["rule"], row["pattern"]) for row in router.explain("example.net", "x@b.c")] == [
        ("sender", "x@b.c"), ("sender", "b.c"), ("sender", ".c"), ("route", "example.net"), ("route", ".net"),
        ("route", "*"),
    ]  # fmt: skip
    assert router.explain("example.net", "bo@example.org")[-1]["target"] == "[192.0.2.2]:25"
    assert router.explain("example.net")[0]["rule"] == "route"


def test_patterns_of_senders():
    assert [check_sender(p) for p in ("<>", "Ann@Example.org", "Example.org", ".example.org")] == [
        "<>", "ann@example.org", "example.org", ".example.org",
    ]  # fmt: skip
    for bad in ("", "*", "a@", "@example.org", "a b"):
        with pytest.raises(ValueError, match="pattern"):
            check_sender(bad)
    assert check_route("Example.ORG", "mx", of_sender=True) == "example.org"
    with pytest.raises(ValueError, match="not a route"):
        check_route("<>", "nonsense", of_sender=True)


def test_the_site_s_changes_are_followed():
    site = FakeSite()
    router = Router(site)
    assert router.route("example.net") == Hop(Kind.SMTP, "example.net", "example.net", "mx")
    site.become(routes={"*": "[192.0.2.9]:2525"})
    assert router.route("example.net").key == "[192.0.2.9]:2525"
    assert router.explain("example.net")[-1]["pattern"] == "*"


def test_what_is_remembered_is_bounded():
    router = Router(FakeSite())
    for n in range(10_001):
        router.route(f"d{n}.example")
    assert len(router._known) == 1
