"""Killed while it relays: nothing is lost, and what came twice came twice for the one reason there may be.

NETSVC_KILLS says how often (default 3).  The long run is ``python -m tests.bench.killing --kills 500``.
"""

import os

import pytest

from tests.bench.killing import account, run

KILLS = int(os.environ.get("NETSVC_KILLS", "3"))
pytestmark = pytest.mark.timeout(120 + 20 * KILLS)


def test_no_mail_is_lost_and_each_that_came_twice_is_explained(tmp_path):
    found = account(*run(KILLS, tmp_path))
    assert not found["lost"]
    assert not found["mistakes"]
    assert not found["tracebacks"]
    assert not found["surprises"]
    assert found["kills"] == KILLS
    assert found["came"] >= found["acknowledged"] > 0
