"""[site.commands] and [site.agents]: what is taken, what is refused, and how it is written again."""

import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from netsvc.commands import Setting
from netsvc.config.carriers import COMMAND, NAME, all_values, typed
from netsvc.config.complaints import Complaints, ConfigError, ValueFaultError
from netsvc.config.rooms import Rooms
from netsvc.config.site import read_site
from netsvc.config.source import key_lines
from netsvc.delivery.routing import check_route
from netsvc.delivery.targets import parse_target
from netsvc.store.sitetoml import from_json, to_json, to_toml

AGENT = SimpleNamespace(
    name="mbox", settings=(Setting("folder", "str", "/x"), Setting("must", "bool", required=True)), make=print
)
GOOD = """
[site.routes]
"a.example" = "command:file-it"
"b.example" = "agent:mbox lists"
[site.commands.file-it]
argv = ["/bin/x", "-a", "-a", "--", "{rcpt}", "{print x}"]
timeout = "1h"
environment = ["A=b c", "B="]
[site.commands."x-y"]
argv = ["/bin/y"]
[site.agents.mbox]
must = true
deadline = "5s"
[site.delivery]
maildir_quota = { bytes = "1G", messages = 7 }
"""


def read(text):
    complaints = Complaints("node.toml", key_lines(text))
    settings = read_site(
        complaints, tomllib.loads(text)["site"], Path("/"), Rooms({}, check_route, agents={"mbox": AGENT})
    )
    return complaints, settings


def test_what_is_written_is_kept_and_written_again():
    complaints, settings = read(GOOD)
    complaints.check()
    assert settings.commands["file-it"]["argv"] == ("/bin/x", "-a", "-a", "--", "{rcpt}", "{print x}")
    assert settings.agents == {"mbox": {"must": True, "deadline": "5s"}}
    assert settings.delivery.maildir_quota == (1 << 30, 7)
    assert from_json(to_json(settings), settings.routes) == settings
    complaints, again = read(to_toml(settings))
    complaints.check()
    assert again == settings
    values = all_values("commands", COMMAND, settings.commands["file-it"])
    assert values == {
        "argv": settings.commands["file-it"]["argv"],
        "timeout": 3_600_000,
        "at_once": 4,
        "line_end": "lf",
        "environment": ("A=b c", "B="),
    }


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("[site.commands.x]", "site.commands.x.argv", "is missing"),
        ("[site.commands.x]\nargv = []", "site.commands.x.argv", "whole path"),
        ('[site.commands.x]\nargv = "x"', "site.commands.x.argv", "not a list"),
        ('[site.commands.x]\nargv = ["x"]', "site.commands.x.argv", "whole path"),
        ('[site.commands.x]\nargv = ["/x", "-f{sender}"]', "site.commands.x.argv", "a word by itself"),
        ('[site.commands.x]\nargv = ["/x", "{recipient}"]', "site.commands.x.argv", "{rcpt}"),
        ('[site.commands.x]\nargv = ["/x", 5]', "site.commands.x.argv", "not text"),
        ('[site.commands.x]\nargv = ["/x"]\ntimeout = "2h"', "site.commands.x.timeout", "too large"),
        ('[site.commands.x]\nargv = ["/x"]\nenvironment = ["A"]', "site.commands.x.environment", "NAME=value"),
        ('[site.commands.x]\nargv = ["/x"]\nshell = true', "site.commands.x.shell", "no key"),
        ('[site.commands."a b"]\nargv = ["/x"]', "site.commands.'a b'", "cannot be a name"),
        ("[site.commands]\nx = 5", "site.commands.x", "not a table"),
        ("[site.agents.mbax]", "site.agents.mbax", "did you mean mbox?"),
        ("[site.agents.mbox]", "site.agents.mbox.must", "is missing"),
        ('[site.routes]\n"*" = "command:y"\n[site.commands.x]\nargv = ["/x"]', 'site.routes."*"', "known are: x"),
        ('[site.routes]\n"*" = "agent:y"', 'site.routes."*"', "no plugin brings the agent"),
        ('[site.sender_routes]\n"a@b.example" = "command:y"', "site.sender_routes", "is called"),
        ("[site.delivery]\nmaildir_quota = true", "site.delivery.maildir_quota", "not a whole number"),
    ],
)
def test_what_is_refused(text, place, words):
    complaints, _ = read(text)
    with pytest.raises(ConfigError) as caught:
        complaints.check()
    said = "\n".join(map(str, caught.value.complaints))
    assert place.replace("'", '"') in said
    assert words in said


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("argv", "/bin/x -- {rcpt}", ("/bin/x", "--", "{rcpt}")),
        ("at_once", "7", 7),
        ("timeout", "5s", "5s"),
        ("line_end", "crlf", "crlf"),
    ],
)
def test_typed_values(key, text, value):
    assert typed("commands", COMMAND, key, text) == value


def test_typed_values_that_are_refused():
    assert typed("agents", AGENT.settings, "must", "yes") is True
    for key, text in (("must", "perhaps"), ("gone", "x")):
        with pytest.raises(ValueFaultError):
            typed("agents", AGENT.settings, key, text)
    with pytest.raises(ValueFaultError):
        all_values("agents", AGENT.settings, {})
    with pytest.raises(ValueFaultError, match="must "):
        all_values("agents", AGENT.settings, {"must": 5})


@pytest.mark.parametrize("name", ["lists", "a-b_9", "Lists", "a.b", "a" * 33, "-a", ""])
def test_what_is_a_name_is_one_a_route_can_say(name):
    try:
        parse_target(f"command:{name}")
    except ValueError:
        assert not NAME.match(name)
    else:
        assert NAME.match(name)
