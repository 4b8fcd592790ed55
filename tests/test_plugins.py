"""Protocol plugins: ours, a stranger's on the path, and broken ones."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from zope.interface.verify import verifyObject

from netsvc import discovery
from netsvc.commands import Setting
from netsvc.discovery import agent_fault, maker_fault, policy_fault, protocols
from netsvc.interfaces import IPolicyMaker, IProtocolMaker
from netsvc.plugins.netsvc_smtp import smtp
from netsvc.plugins.netsvc_telnet import telnet

STRANGER = """
from twisted.internet.protocol import Factory
from twisted.plugin import IPlugin
from zope.interface import implementer
from netsvc.interfaces import IProtocolMaker

@implementer(IPlugin, IProtocolMaker)
class Maker:
    name = NAME
    default_endpoint = "tcp:79"
    settings = ()
    def make(self, house, settings):
        return Factory()

maker = Maker()
"""
POLICY = """
from twisted.internet.defer import succeed
from twisted.plugin import IPlugin
from zope.interface import implementer
from netsvc.commands import Setting
from netsvc.interfaces import IPolicy, IPolicyMaker
from netsvc.mail.reply import TRANSACTION_FAILED
from netsvc.records import PASS, Verdict

@implementer(IPolicy)
class Fridays:
    name = "fridays"
    stages = ("mail",)
    def configure(self, values):
        self.word = values["word"]
    def check(self, stage, session, envelope):
        found = self.word in str(envelope.reverse_path)
        return succeed(Verdict("reject", TRANSACTION_FAILED, "their word") if found else PASS)

@implementer(IPlugin, IPolicyMaker)
class Maker:
    name = NAME
    stages = ("mail",)
    settings = (Setting("word", "str", "friday", help="a word"),)
    usual, order, deadline, help = True, 300, 1000, "refuses Fridays"
    def make(self, ground):
        return Fridays()

maker = Maker()
"""
AGENT = """
from twisted.plugin import IPlugin
from zope.interface import implementer
from netsvc.commands import Setting
from netsvc.interfaces import IDeliveryAgentMaker

@implementer(IPlugin, IDeliveryAgentMaker)
class Maker:
    name = NAME
    help = "carries"
    settings = (Setting("word", "str", "x", help="a word"),)
    def make(self, ground):
        return self

maker = Maker()
"""
LIST = """
import json
from netsvc.discovery import protocols
found = protocols()
print(json.dumps({"makers": {n: type(m).__module__ for n, m in found.makers.items()}, "broken": found.broken,
    "policies": {n: type(m).__module__ for n, m in found.policies.items()},
    "agents": {n: type(m).__module__ for n, m in found.agents.items()}}))
"""


@pytest.mark.parametrize("maker", [smtp, telnet])
def test_ours_keep_the_promise(maker):
    assert verifyObject(IProtocolMaker, maker)
    assert maker_fault(maker) == ""
    assert all(setting.help for setting in maker.settings)


def test_ours_are_found_as_a_strangers_would_be():
    found = protocols()
    assert found.makers["smtp"] is smtp
    assert found.makers["telnet"] is telnet


def listed(*folders):
    """-> what another process finds with ``folders`` on its path, and what it wrote to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", LIST],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout), done.stderr


def lay(folder, package, module, text):
    place = folder / package / "plugins"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{module}.py").write_text(text)
    return folder


def test_a_strangers_plugins_are_found_in_both_places(tmp_path):
    one = lay(tmp_path / "one", "netsvc", "their_finger", STRANGER.replace("NAME", '"finger"'))
    two = lay(tmp_path / "two", "twisted", "their_gopher", STRANGER.replace("NAME", '"gopher"'))
    found, errors = listed(one, two)
    assert found["makers"]["finger"] == "netsvc.plugins.their_finger"
    assert found["makers"]["gopher"] == "twisted.plugins.their_gopher"
    assert {"smtp", "telnet"} <= found["makers"].keys()
    assert not found["broken"]
    assert not errors


def test_ours_go_before_a_strangers_of_the_same_name_in_the_second_place(tmp_path):
    found, _ = listed(lay(tmp_path, "twisted", "their_smtp", STRANGER.replace("NAME", '"smtp"')))
    assert found["makers"]["smtp"] == "netsvc.plugins.netsvc_smtp"


def test_a_broken_module_is_named_and_its_traceback_told(tmp_path):
    lay(tmp_path, "netsvc", "their_broken", "raise RuntimeError('oops')")
    lay(tmp_path, "netsvc", "their_exit", "raise SystemExit(3)")
    lay(tmp_path, "netsvc", "their_odd", STRANGER.replace("NAME", '""'))
    found, errors = listed(tmp_path)
    assert found["broken"] == {
        "netsvc.plugins.their_broken": "RuntimeError: oops",
        "netsvc.plugins.their_exit": "SystemExit: 3",
        "netsvc.plugins.their_odd": "it has no name",
    }
    assert "Traceback" in errors
    assert "oops" in errors
    assert {"smtp", "telnet"} <= found["makers"].keys()


def test_a_strangers_policy_is_found_as_ours_are(tmp_path):
    lay(tmp_path, "netsvc", "their_policy", POLICY.replace("NAME", '"fridays"'))
    lay(tmp_path, "twisted", "their_limits", POLICY.replace("NAME", '"limits"'))
    lay(tmp_path, "netsvc", "their_odd", POLICY.replace("NAME", '"No Name"'))
    found, errors = listed(tmp_path)
    assert found["policies"]["fridays"] == "netsvc.plugins.their_policy"
    assert found["policies"]["limits"] == "netsvc.policymaker"  # ours goes first
    assert list(found["broken"]) == ["netsvc.plugins.their_odd"]
    assert not errors


def test_a_strangers_agent_is_found(tmp_path):
    lay(tmp_path, "netsvc", "their_agent", AGENT.replace("NAME", '"pigeon"'))
    lay(tmp_path, "twisted", "their_odd", AGENT.replace("NAME", '"odd name"'))
    found, errors = listed(tmp_path)
    assert found["agents"] == {"pigeon": "netsvc.plugins.their_agent"}
    assert list(found["broken"]) == ["twisted.plugins.their_odd"]
    assert not errors


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, ""),
        ({"name": 5}, "its name is none"),
        ({"name": "a b"}, "its name is none"),
        ({"make": None}, "has no make"),
        ({"settings": 5}, "TypeError"),
        ({"settings": [5]}, "AttributeError"),
        ({"settings": [Setting("a", "str"), Setting("a", "str")]}, "twice"),
        ({"settings": [Setting("deadline", "str")]}, "one called at_once or deadline"),
    ],
)
def test_what_is_wrong_with_an_agent(changes, fault):
    found = agent_fault(SimpleNamespace(**({"name": "x", "settings": (), "make": print} | changes)))
    assert fault in found
    assert bool(fault) == bool(found)


def test_our_policies_keep_the_promise_and_are_light():
    found = protocols().policies
    assert {"limits", "recipient", "tarpit"} <= found.keys()
    for maker in found.values():
        assert verifyObject(IPolicyMaker, maker)
        assert policy_fault(maker) == ""
        assert maker.help
        assert all(setting.help for setting in maker.settings)
    code = "import sys, netsvc.plugins.netsvc_policies as p; print([m for m in sys.modules if m.startswith('netsvc.policy.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def policy(**changes):
    facts = {"name": "x", "stages": ("mail",), "settings": (), "make": print, "usual": True, "order": 5, "deadline": 9}
    return SimpleNamespace(**{**facts, **changes})


@pytest.mark.parametrize(
    ("maker", "fault"),
    [
        (policy(), ""),
        (policy(name=5), "its name is none"),
        (policy(name="a b"), "its name is none"),
        (policy(make=None), "has no make"),
        (policy(stages=()), "says no stages"),
        (policy(stages=("data",)), "connect helo mail rcpt content"),
        (policy(settings=[5]), "AttributeError"),
        (policy(settings=5), "TypeError"),
        (policy(settings=[Setting("a", "str"), Setting("a", "str")]), "twice"),
        (policy(settings=[Setting("deadline", "str")]), "one called on, order"),
        (policy(usual=None), "does not say usual"),
        (policy(order="1"), "does not say order"),
    ],
)
def test_what_is_wrong_with_a_policy(maker, fault):
    found = policy_fault(maker)
    assert fault in found
    assert bool(fault) == bool(found)


def plugin(**changes):
    facts = {"name": "x", "default_endpoint": "tcp:7", "settings": (), "make": print, **changes}
    return SimpleNamespace(**facts)


@pytest.mark.parametrize(
    ("maker", "fault"),
    [
        (plugin(), ""),
        (plugin(name=5), "it has no name"),
        (plugin(name="a\nb"), "it has no name"),
        (plugin(make=None), "has no make"),
        (plugin(default_endpoint="25"), "kind of endpoint"),
        (plugin(default_endpoint=None), "Error"),
        (plugin(settings=[5]), "AttributeError"),
        (plugin(settings=5), "TypeError"),
        (plugin(settings=[Setting("a", "str"), Setting("a", "str")]), "twice"),
        (plugin(settings=[Setting("endpoint", "str")]), "called protocol, endpoint"),
    ],
)
def test_what_is_wrong_with_a_maker(maker, fault):
    found = maker_fault(maker)
    assert fault in found
    assert bool(fault) == bool(found)


class Ground:
    hostname = "mx1.example.org"
    mailbox_service = logbook = clock = tls = portal = verifiers = slots = doors = None


def test_the_smtp_drop_in_hands_the_door_its_settings_in_seconds(monkeypatch):
    from netsvc.smtpd import factory

    made = []
    monkeypatch.setattr(factory, "SmtpFactory", lambda *args: made.append(args) or "door")
    settings = {setting.name: setting.default for setting in smtp.settings} | {"listener": "smtp"}
    assert smtp.make(Ground(), settings) == "door"
    own = made[0][1]
    assert (own.listener, own.hostname, own.command_timeout, own.grace) == ("smtp", "mx1.example.org", 300.0, 30.0)


def test_the_telnet_drop_in_hands_the_door_its_settings_in_seconds():
    settings = {setting.name: setting.default for setting in telnet.settings} | {"listener": "console"}
    own = telnet.make(Ground(), settings | {"allow_cleartext_from": ("192.0.2.0/24",)}).settings
    assert (own.listener, own.allow_cleartext_from) == ("console", ("192.0.2.0/24",))
    assert (own.login_timeout, own.idle_timeout, own.sessions, own.sessions_a_user) == (60.0, 600.0, 64, 8)


def test_what_cannot_be_used_is_named(monkeypatch, tmp_path):
    (tmp_path / "their_exit.py").write_text("raise SystemExit(3)")
    (tmp_path / "their_stop.py").write_text("raise KeyboardInterrupt")
    odd = plugin(name="")
    monkeypatch.setattr(discovery, "getPlugins", lambda promise, package: [plugin(name="good"), odd])
    monkeypatch.setattr(discovery.netsvc.plugins, "__path__", [str(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        protocols()
    (tmp_path / "their_stop.py").unlink()
    found = protocols()
    assert list(found.makers) == ["good"]
    assert found.broken == {"types": "it has no name", "netsvc.plugins.their_exit": "SystemExit: 3"}
