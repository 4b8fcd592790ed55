"""docs/guests.md against the drop-ins it describes."""

import re
from pathlib import Path

import pytest

from netsvc.plugins import netsvc_guests
from netsvc.policy.gate import shown
from netsvc.policymaker import PolicyMaker

PAGE = (Path(__file__).parents[2] / "docs/guests.md").read_text("utf-8")
MAKERS = [maker for maker in vars(netsvc_guests).values() if isinstance(maker, PolicyMaker)]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.name)
def test_each_key_is_described_with_its_default(maker):
    section = PAGE.partition(f"\n## {maker.name}\n")[2].partition("\n## ")[0]
    table = section.rpartition("| key | default | meaning |")[2]
    described = dict(re.findall(r"^\| `(\w+)` \| (?:`([^`]+)`|none) \|", table, re.MULTILINE))
    usual = {setting.name: shown(setting.default, setting.type) for setting in maker.settings}
    assert described == usual
    assert not maker.usual
    for setting in maker.settings:
        assert all(f"`{word}`" in section for word in setting.choices)
