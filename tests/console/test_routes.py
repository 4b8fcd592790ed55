"""Routes and credentials on the console: changed, listed, explained; no password is ever shown."""

import pytest
from twisted.internet.defer import succeed

from netsvc.delivery.routing import Router
from netsvc.mail.message import Resolution
from netsvc.settings import DestinationSettings, SiteSettings
from tests.fakes import FakeSite


class Site(FakeSite):
    """A site that tells the router of its changes."""

    def change(self, alter, actor, comment):
        before, self.current = self.current, alter(self.current)
        for callback in self.watchers:
            callback(self.current)
        return succeed(0 if before == self.current else 2)


@pytest.fixture
def desk(desk):
    desk.login("root", "admin", enabled=True)
    desk.service.site = Site()
    desk.service.routing = Router(desk.service.site)
    desk.service.directory.resolve = lambda address: succeed(Resolution(local=False))
    return desk


def steps(desk, line):
    return [(o["row"]["is"], o["row"]["found"]) for o in desk.machine(line) if "row" in o]


def test_routes_are_changed(desk):
    assert "What no route is for goes by mx" in desk.type("show routes")
    assert desk.type("route add Partner.Example [192.0.2.10]:25").startswith(
        "Mail for partner.example goes to [192.0.2.10]:25.\nMail that waits follows."
    )
    assert "route set partner.example mx" in desk.type("route add partner.example mx")
    assert "already  [E405]" in desk.type("route add partner.example [192.0.2.10]:25")
    assert "It went to [192.0.2.10]:25 before." in desk.type("route set partner.example mx:other.example")
    desk.type("sender-route add ann@example.org [192.0.2.1]:587")
    desk.type('route add * "agent:archive all mail"')
    assert desk.service.site.current == SiteSettings(
        routes={"partner.example": "mx:other.example", "*": "agent:archive all mail"},
        sender_routes={"ann@example.org": "[192.0.2.1]:587"},
    )
    rows = [o["row"] for o in desk.machine("show routes") if "row" in o]
    assert [(r["of"], r["pattern"], r["destination"]) for r in rows] == [
        ("sender", "ann@example.org", "[192.0.2.1]:587"),
        ("recipient", "*", "agent:archive all mail"),
        ("recipient", "partner.example", "other.example"),
    ]
    assert "What no route" not in desk.type("show routes")
    assert desk.type("sender-route delete Ann@example.org").startswith("The sender-route ann@example.org to [192.0")
    assert "[E401]" in desk.type("sender-route delete ann@example.org")
    assert "[E401]" in desk.type("route delete nobody.example")
    desk.type("route delete *")
    assert desk.service.site.current.routes == {"partner.example": "mx:other.example"}
    assert ("route add", "partner.example", "to [192.0.2.10]:25", 1, "ok") in desk.audited()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("route add * smtp.example.net", "E202"),
        ("route add a@example.org mx", "E202"),
        ("route add * command:none", "E401"),
        ("route add * mx tls verify", "E202"),
        ("route add * [192.0.2.1]:25 credential nobody", "E401"),
        ("route add * [192.0.2.1]:25 tls much", "E202"),
        ("show route nobody@", "E202"),
        ("show route bob@example.com from @", "E202"),
    ],
)
def test_what_is_refused(desk, line, code):
    assert f"[{code}]" in desk.type(line)
    assert desk.service.site.current == SiteSettings()


def test_a_smarthost_in_one_line(desk):
    desk.type("credential set relay user netsvc", "s3cret word", "s3cret word")
    desk.type("route add * [smtp.example.net]:587 credential relay tls verify")
    assert desk.service.site.current.destinations == {
        "[smtp.example.net]:587": DestinationSettings(credential="relay", tls="verify")
    }
    desk.type("route set * [smtp.example.net]:587 tls encrypt")
    assert desk.service.site.current.destinations["[smtp.example.net]:587"].credential == "relay"
    (row,) = [o["row"] for o in desk.machine("show routes") if "row" in o]
    assert (row["tls"], row["credential"]) == ("encrypt", "relay")
    (row,) = [o["row"] for o in desk.machine("show credentials") if "row" in o]
    assert (row["user"], row["password"], row["used_by"]) == ("netsvc", "<set>", ["[smtp.example.net]:587"])
    assert "[E405]" in desk.type("credential delete relay")
    desk.type("route set * [smtp.example.net]:587 credential none")
    assert desk.service.site.current.destinations == {"[smtp.example.net]:587": DestinationSettings(tls="encrypt")}
    assert "deleted" in desk.type("credential delete relay")
    assert "[E202]" in desk.type("credential set none user netsvc")
    assert "s3cret" not in desk.screen.text + str(desk.audited()) + str(desk.session.typed)


def test_a_route_of_a_store_from_elsewhere_is_told(desk):
    desk.service.site.current = SiteSettings(routes={"*": "nonsense"})
    (row,) = [o["row"] for o in desk.machine("show routes") if "row" in o]
    assert row["note"].startswith("passed over: ")


def test_what_is_missing_or_of_no_use_is_told(desk):
    assert "command set lists argv" in desk.type("route add * command:lists")
    desk.service.directory.resolve = lambda address: succeed(Resolution(local=address.domain == "example.org"))
    assert "is a domain of ours" in desk.type("route add example.org [192.0.2.10]:25")
    assert "is a domain of ours" not in desk.type("route add example.com [192.0.2.10]:25")
    assert "is a domain of ours" not in desk.type("route add .example.org [192.0.2.10]:25")


def test_a_refusal_to_relay_says_whom_it_is_for(desk):
    told = {"address": "bob@b.example", "is": "reply", "to": [], "note": "550 5.7.1 Relaying denied"}
    desk.service.directory.explain = lambda address: succeed([told])
    assert "to whom the site does not let relay: 550 5.7.1" in desk.type("show route bob@b.example")


def test_how_an_address_is_routed(desk):
    desk.type("route add .example.com [192.0.2.10]:25")
    desk.type("sender-route add example.org mx:out.example")
    assert steps(desk, "show route bob@b.Example.com") == [
        ("reply", None), ("pattern", "b.example.com"), ("rule", "[192.0.2.10]:25"),
        ("destination", "[192.0.2.10]:25"),
    ]  # fmt: skip
    assert steps(desk, "show route bob@b.example.com from ann@example.org")[1:] == [
        ("pattern", "ann@example.org"), ("rule", "mx:out.example"), ("destination", "out.example"),
    ]  # fmt: skip
    assert steps(desk, "show route bob@b.example.com from <>")[1][1] == "<>"
    assert "say from SENDER" in desk.type("show route bob@example.net")
    assert steps(desk, "show route bob@example.net")[-2:] == [("rule", "mx"), ("destination", "example.net")]


def test_what_is_ours_has_no_route_but_what_it_forwards_to(desk):
    desk.service.directory.resolve = lambda address: succeed(Resolution(local=True, forwards=("x@away.example",)))
    assert steps(desk, "show route postmaster") == [
        ("reply", None), ("pattern", "away.example"), ("pattern", ".example"), ("pattern", "*"), ("rule", "mx"),
        ("destination", "away.example"),
    ]  # fmt: skip


def test_a_test_looks_too(desk):
    class Map:
        def look(self, hop):
            return succeed([{"is": "host", "found": hop.key, "note": "preference 10"}])

    assert "tls opportunistic" in desk.type("test route bob@example.net")
    desk.service.delivery_map = Map()
    assert steps(desk, "test route bob@example.net")[-1] == ("host", "example.net")
    assert steps(desk, "show route bob@example.net")[-1][0] == "destination"


def test_credentials(desk):
    assert "There is no credential" in desk.type("show credentials")
    assert "Nothing uses it yet" in desk.type("credential set relay user netsvc", "one two", "one two")
    assert desk.service.credentials.kept == {"relay": ("netsvc", "one two", "root")}
    assert desk.screen.questions == [("Password of credential relay: ", True), ("Again: ", True)]
    assert "not the same" in desk.type("credential set relay user netsvc", "a", "b")
    assert "1 to 512" in desk.type("credential set relay user netsvc", "")
    assert "Cancelled" in desk.type("credential set relay user netsvc", None)
    assert "Expected: user USER" in desk.type("credential set relay")
    assert "at most 512" in desk.type(f"credential set relay user {'x' * 513}")
    assert desk.machine("credential set relay user netsvc")[0]["err"]["code"] == "E303"
    assert desk.machine('credential set relay user "new user" password "three four"')[0]["row"]["target"] == "relay"
    assert desk.service.credentials.kept == {"relay": ("new user", "three four", "root")}
    assert "replaced" in desk.type("credential set relay user netsvc", "5", "5")
    desk.service.credentials.unreadable.add("relay")
    assert "secret_key_file" in desk.type("show credentials")
    assert "deleted" in desk.type("credential delete relay")
    assert "[E401]" in desk.type("credential delete relay")
    assert "three" not in str(desk.audited()) + str(desk.session.typed)
