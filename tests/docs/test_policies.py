"""docs/policies.md says what the policies declare, and the policy of docs/plugins.md is one."""

import pathlib
import re
import shlex

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from netsvc.config.policies import all_settings
from netsvc.console.verbs.policies import COMMANDS
from netsvc.discovery import policy_fault, protocols
from netsvc.interfaces import IPolicy, IPolicyMaker
from netsvc.mail.envelope import Envelope, SessionFacts
from netsvc.plugins.netsvc_policies import limits, recipient, tarpit
from netsvc.policy.gate import Gate, shown
from tests.fakes import FakeGround

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "policies.md").read_text("utf-8")


def table(text):
    return {
        cells[0].strip("`"): [cell.strip() for cell in cells[1:]]
        for cells in (re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if line.startswith("| `"))
    }


@pytest.mark.parametrize("maker", [limits, tarpit], ids=lambda maker: maker.name)
def test_settings_are_described_with_their_defaults(maker):
    found = table(PAGE.partition(f"\n## {maker.name}\n")[2].partition("\n## ")[0])
    assert {key: cells[0].strip("`") for key, cells in found.items()} == {
        setting.name: shown(setting.default, setting.type) for setting in maker.settings
    }


def test_what_all_policies_have():
    found = table(PAGE.partition("Every policy has these:")[2].partition("\n\n| policy")[0])
    assert list(found) == [setting.name for setting in all_settings(recipient)]
    assert found["deadline"][0] == "as below"


def test_where_the_policies_stand():
    found = table(PAGE.partition("\n| policy | order |")[2].partition("\n## ")[0])
    for maker in (limits, tarpit, recipient):
        assert found[maker.name][:2] == [str(maker.order), "yes" if maker.usual else "no"]


def test_each_deadline_is_said():
    text = PAGE.partition("\n| policy | order |")[2].partition("\n## ")[0]
    rows = {line.split("|")[1]: line.split("|")[4] for line in text.splitlines() if line.count("|") == 6}
    (guests,) = [cell for name, cell in rows.items() if "guests" in name]
    for name, maker in protocols().policies.items():
        wanted = f"`{maker.deadline // 1000}s`"
        own = [cell.strip() for label, cell in rows.items() if f"`{name}`" in label]
        assert own == [wanted] or (not own and wanted in guests.partition(f"`{name}`")[2])


def test_each_policy_is_described_somewhere():
    text = "".join(page.read_text("utf-8") for page in DOCS.glob("*.md"))
    for name in protocols().policies:
        assert f"`{name}`" in text or f"## {name}" in text


def test_the_policy_of_the_plugins_page_is_one():
    (code,) = re.findall(
        r"^```python\n(# netsvc/plugins/quiet_hours.py.*?)^```",
        (DOCS / "plugins.md").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    place = {}
    exec(compile(code, "quiet_hours.py", "exec"), place)
    maker = place["quiet_hours"]
    assert verifyObject(IPolicyMaker, maker)
    assert policy_fault(maker) == ""
    clock = Clock()
    policy = maker.make(FakeGround(clock=clock))
    assert verifyObject(IPolicy, policy)
    policy.configure({setting.name: setting.default for setting in maker.settings})
    session = SessionFacts("S1", "192.0.2.1", 1, "smtp", "mx1.example.org")
    answers = []
    for _ in range(2):
        answers.append(policy.check("mail", session, Envelope(session)).action)
        clock.advance(23 * 3600)
    assert answers == ["pass", "defer"]


def examples():
    """Return (policy, key, value) of each example of ``policy set``."""
    (command,) = [each for each in COMMANDS if each.name == "policy set"]
    return [shlex.split(example)[2:] for example in command.examples]


@pytest.mark.parametrize("words", examples(), ids=" ".join)
def test_examples_name_policies_and_keys_that_are_there(words):
    name, key, text = words
    made = Gate(protocols().policies.values(), FakeGround())
    made.typed(name, key, text)
