"""Commands and agents on the console: listed, set, taken back."""

from types import SimpleNamespace

import pytest
from twisted.internet.defer import fail, succeed

from netsvc.commands import Setting
from netsvc.delivery.routing import Router
from tests.fakes import FakeSite

MBOX = SimpleNamespace(
    name="mbox",
    help="appends",
    settings=(Setting("folder", "str", "/x", help="where"), Setting("loud", "bool", default=False, help="whether")),
)


class Site(FakeSite):
    def change(self, alter, actor, comment):
        try:
            before, self.current = self.current, alter(self.current)
        except Exception:  # noqa: BLE001 - as the store hands it on
            return fail()
        return succeed(0 if before == self.current else 2)


@pytest.fixture
def desk(desk):
    desk.login("root", "admin", enabled=True)
    desk.service.site = Site()
    desk.service.routing = Router(desk.service.site)
    desk.service.agents = {"mbox": MBOX}
    return desk


def rows(desk, line):
    return [o["row"] for o in desk.machine(line) if "row" in o]


def test_commands_are_made_set_and_forgotten(desk):
    site = desk.service.site
    assert "There is no command lists" in desk.type("command set lists timeout 5s")
    assert "[E202]" in desk.type("command set lists argv relative")
    assert "a placeholder is a word by itself" in desk.type('command set lists argv "/bin/x -f{sender}"')
    assert "cannot be a name" in desk.type('command set "a b" argv /bin/x')
    assert site.current.commands == {}
    said = desk.type('command set lists argv "/bin/x -- {rcpt}"')
    assert said.startswith("Command lists: argv is /bin/x -- {rcpt} now.")
    assert '% there is no key "no' in desk.type("command set lists nokey 5s")
    desk.type("command set lists timeout 5s")
    assert "Nothing was changed" in desk.type("command set lists timeout 5s")
    assert site.current.commands == {"lists": {"argv": ("/bin/x", "--", "{rcpt}"), "timeout": "5s"}}
    desk.type("route add lists.example command:lists")
    (command, agent) = rows(desk, "show carriers")
    assert (command["name"], command["argv"], command["deadline"]) == ("lists", "/bin/x -- {rcpt}", 5)
    assert command["routes"] == ["lists.example"]
    assert (agent["kind"], agent["name"], agent["note"], agent["at_once"]) == ("agent", "mbox", "appends", 20)
    keys = {row["key"]: row for row in rows(desk, "show command lists")}
    assert (keys["timeout"]["value"], keys["timeout"]["set"], keys["at_once"]["value"]) == ("5s", True, "4")
    desk.type("command unset lists timeout")
    assert "that may be missing" in desk.type("command unset lists argv")
    assert site.current.commands == {"lists": {"argv": ("/bin/x", "--", "{rcpt}")}}
    assert "Routes lead to command lists: lists.example" in desk.type("command delete lists")
    desk.type("route delete lists.example")
    assert desk.type("command delete lists").startswith("Command lists is gone.")
    assert site.current.commands == {}
    assert "[E401]" in desk.type("command delete lists")
    assert "[E401]" in desk.type("show command lists")


def test_agents_are_set(desk):
    site = desk.service.site
    desk.type("agent set mbox folder /y")
    desk.type("agent set mbox loud yes")
    desk.type("agent set mbox deadline 5s")
    assert site.current.agents == {"mbox": {"folder": "/y", "loud": True, "deadline": "5s"}}
    keys = {row["key"]: row["value"] for row in rows(desk, "show agent mbox")}
    assert keys == {"deadline": "5s", "at_once": "20", "folder": "/y", "loud": "yes"}
    for key in ("folder", "loud", "deadline"):
        desk.type(f"agent unset mbox {key}")
    assert site.current.agents == {}
    assert "did you mean mbox?" in desk.type("agent set mbix folder /y")
    assert "[E202]" in desk.type("agent set mbox gone x")
    assert {row["key"]: row["value"] for row in rows(desk, "show agent mbox")}["loud"] == "no"


def test_what_is_wrong_is_noted(desk):
    assert rows(desk, "show carriers")[0]["name"] == "mbox"
    desk.service.agents = {}
    assert "command set NAME argv" in desk.type("show carriers")
    desk.service.agents = {"mbox": MBOX}
    desk.service.site.become(commands={"x": {}}, agents={"gone": {}, "mbox": {"at_once": 0}})
    notes = {row["name"]: row["note"] for row in rows(desk, "show carriers")}
    assert notes["x"] == "argv is missing"
    assert notes["gone"] == "no plugin of this node brings it"
    assert "at_once" in notes["mbox"]


def test_who_may(desk):
    desk.login("ann", "operator", enabled=True)
    assert "[E301]" in desk.type("command set x argv /bin/x") or "admin" in desk.type("command set x argv /bin/x")
    assert desk.service.site.current.commands == {}
