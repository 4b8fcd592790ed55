"""TLS policies of destinations, as operators see them."""

import pytest
from twisted.internet.defer import succeed

from tests.console.fakeservice import NOW

DAY = 86_400_000
ROW = {
    "domain": "example.org", "id": "a1", "mode": "enforce", "max_age": 7 * DAY, "hosts": ["mx1.example.org", "*.example.net"],
    "fetched": NOW - DAY, "until": NOW + 6 * DAY, "used": NOW, "tried": 0, "why": "",
}  # fmt: skip
FAILED = {**ROW, "domain": "b.example", "tried": NOW - 1000, "why": "the policy host answers 404"}


class Policies:
    def __init__(self):
        self.kept = {row["domain"]: row for row in (ROW, FAILED)}

    def rows(self, domain=""):
        return succeed([row for name, row in self.kept.items() if domain in ("", name)])

    def forget(self, domain=""):
        gone = [name for name in self.kept if domain in ("", name)]
        for name in gone:
            del self.kept[name]
        return succeed(len(gone))


@pytest.fixture
def desk(desk):
    desk.login("root", "admin", enabled=True)
    desk.service.tls_policies = Policies()
    return desk


def test_they_are_listed(desk):
    shown = desk.type("show tls-policies")
    assert "mx1.example.org" in shown
    assert "the policy host answers 404" in shown
    first, second = [line["row"] for line in desk.machine("show tls-policies") if "row" in line]
    assert (first["domain"], first["mode"], first["max_age"]) == ("example.org", "enforce", 7 * 86_400)
    assert "tried" not in first or first["tried"] is None
    assert second["tried"]
    assert "b.example" not in desk.type("show tls-policies example.org")
    assert desk.type("show tls-policies c.example") == "c.example has none that is known.\n"


def test_they_are_forgotten(desk):
    assert "1 policy forgotten" in desk.type("tls-policies forget example.org")
    assert "1 policy forgotten" in desk.type("tls-policies forget all")
    assert "0 policies forgotten" in desk.type("tls-policies forget all")
    assert desk.type("show tls-policies") == "None is known.\n"
