"""Rates and shares: never more than is allowed, whoever has it."""

from hypothesis import given
from hypothesis import strategies as st

from netsvc.delivery.rates import Rate
from netsvc.delivery.shares import owners, part

COUNT = st.integers(1, 60)
SPAN = st.integers(1_000, 100_000)


@given(COUNT, SPAN, st.lists(st.integers(0, 30_000), max_size=200), st.integers(0, 10**12))
def test_no_time_sees_more_than_its_count(count, span, waits, start):
    rate, now, sent = Rate(count, span, start), start, []
    for wait in waits:
        now += wait
        room = rate.room(now)
        assert 0 <= room <= max(count // 10, 1)
        rate.take(room, now)
        sent += [now] * room
    for at in sent:
        assert sum(at <= other < at + span - 1 for other in sent) <= count


@given(COUNT, SPAN)
def test_all_of_it_is_used_by_who_always_asks(count, span):
    rate, now, sent = Rate(count, span, 0), 0, 0
    while now <= 3 * span:
        if rate.room(now):
            rate.take(1, now)
            sent += 1
        else:
            later = rate.next_at(now)
            assert later > now
            now = later
    assert sent >= 3 * (count - count // 10) - 3


def test_it_begins_with_one_message_and_comes_to_rest():
    rate = Rate(100, 100_000, 0)
    assert (rate.room(0), rate.rested(0)) == (1, False)
    rate.take(1, 0)
    assert rate.room(0) == 0
    assert rate.next_at(0) > 0
    assert (rate.room(10**6), rate.rested(10**6)) == (10, True)
    rate.take(3, 10**6)  # one more than a message's recipients is taken as it comes
    assert rate.room(10**6) == 7
    rate.take(20, 10**6)
    assert rate.room(10**6) == 0


NODES = st.lists(st.integers(1, 1023), min_size=1, max_size=12, unique=True)


@given(st.text(max_size=20), NODES, st.integers(1, 40))
def test_parts_make_the_whole_on_as_many_nodes_as_can_have_one(key, nodes, limit):
    ours = owners(key, nodes, limit)
    assert len(ours) == min(len(nodes), limit)
    assert set(ours) <= set(nodes)
    parts = [part(limit, rank, len(ours)) for rank in range(len(ours))]
    assert sum(parts) == limit
    assert min(parts) >= 1
    assert max(parts) - min(parts) <= 1
    assert owners(key, list(reversed(nodes)), limit) == ours


@given(st.text(max_size=20), NODES, st.integers(1, 5))
def test_a_node_that_leaves_moves_nothing_between_the_others(key, nodes, limit):
    ours = owners(key, nodes, limit)
    for gone in nodes:
        left = [node for node in nodes if node != gone]
        if left:
            now = owners(key, left, limit)
            assert [node for node in ours if node != gone] == [node for node in now if node in ours]


def test_destinations_are_spread_over_the_nodes():
    first = [owners(f"d{n}.example", [1, 2, 3, 4], 1)[0] for n in range(400)]
    assert all(60 < first.count(node) < 140 for node in (1, 2, 3, 4))
