"""What may not grow worse: the quick form of compare.py against generous floors (half of what was measured, or looser:
the service keeps both of two cores busy, the sink one, so whatever else runs lowers the ratio).

Run by .ci/run, alone, never with the other tests: a busy machine would fail it for no fault of the code.
"""

import pytest

from tests.bench.compare import measure

FLOORS = [
    ("accept_1", "ratio", 0.12),
    ("accept_100", "ratio", 0.08),
    ("large", "ratio", 0.10),
    ("relay", "ratio", 0.07),
]


@pytest.mark.parametrize(("name", "key", "floor"), FLOORS)
@pytest.mark.timeout(300)
def test_not_slower_than_the_floor(name, key, floor):
    figures = measure([name], quick=True)[name]
    print(name, figures)
    assert figures[key] >= floor, figures
    if name == "large":
        assert figures["growth_mib"] <= 64, figures


@pytest.mark.timeout(300)
def test_an_idle_session_stays_small():
    figures = measure(["idle"], quick=True)["idle"]
    print("idle", figures)
    assert figures["still_open_at_end"] == figures["held"] == 500
    assert figures["kib_each"] <= 16, figures
