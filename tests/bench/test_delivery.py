"""The short forms of relay.py, deferred.py and fairness.py against generous floors: half of what is asked of the long
ones, or looser.

Run by .ci/run, alone: a busy machine would fail it for no fault of the code.
"""

import pytest

from tests.bench import deferred, fairness, relay

SLACK = 2


@pytest.mark.timeout(300)
def test_relaying_beside_postfix():
    figures = relay.measure(rounds=2, count=1500)
    print("relay", figures)
    if figures["ratio"] is None:
        pytest.skip(f"no Postfix to set it beside: {figures['why']}")
    assert figures["ratio"] >= relay.GOAL / SLACK, figures


@pytest.mark.timeout(300)
def test_what_waits_is_in_nobodys_way():
    figures = deferred.measure(items=100_000, rounds=2, count=1500, leased=6_000)
    print("deferred", figures)
    assert figures["start_s"] <= deferred.GOALS["start_s"] * SLACK, figures
    assert figures["accept_ratio"] >= deferred.GOALS["accept_ratio"] / SLACK, figures
    assert figures["relay"]["ratio"] >= 0.5, figures
    for result in ("deferred", "delivered"):
        assert figures[f"settle_{result}"]["per_s"] >= deferred.GOALS["lease_settle_per_s"] / SLACK, figures


@pytest.mark.timeout(300)
def test_a_destination_that_is_down_delays_no_other():
    figures = fairness.measure(dead=10_000, healthy=2_000, rounds=2)
    print("fairness", figures)
    for kind in fairness.KINDS:
        assert figures[kind]["ratio"] <= fairness.GOAL * SLACK, figures
