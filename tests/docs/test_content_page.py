"""docs/content.md against the drop-ins it describes."""

import re
from pathlib import Path

import pytest

from netsvc.plugins import netsvc_content
from netsvc.policy.command import HOLD, REFUSED, TEMPORARY
from netsvc.policy.gate import CONTENT_S, shown
from netsvc.policymaker import PolicyMaker

PAGE = (Path(__file__).parents[2] / "docs/content.md").read_text("utf-8")
MAKERS = [maker for maker in vars(netsvc_content).values() if isinstance(maker, PolicyMaker)]


def section_of(name):
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.name)
def test_each_key_is_described_with_its_default(maker):
    section = section_of(maker.name)
    table = section.partition("| key | default | meaning |")[2].partition("\n\n")[0]
    described = dict(re.findall(r"^\| `(\w+)` \| (?:`([^`]+)`|none) \|", table, re.MULTILINE))
    assert described == {setting.name: shown(setting.default, setting.type) for setting in maker.settings}
    assert not maker.usual
    for setting in maker.settings:
        assert all(f"`{word}`" in section for word in setting.choices)


def test_exit_statuses():
    table = section_of("command").partition("| exit status |")[2]
    rows = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    assert rows == ["0", ", ".join(map(str, sorted(REFUSED))), str(TEMPORARY), str(HOLD)]


def test_the_time_all_have_together():
    assert f"have {CONTENT_S:g} seconds" in PAGE
