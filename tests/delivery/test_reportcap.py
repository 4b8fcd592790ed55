"""Reports to one sender."""

from netsvc.delivery.reportcap import MOST_SENDERS, ReportCap


class Now:
    def __init__(self):
        self.at = 0.0

    def __call__(self):
        return self.at


def test_an_hour_has_room_for_so_many():
    now = Now()
    cap = ReportCap(now)
    assert [cap.allows("A@example.org", 2) for _ in range(4)] == [True, True, False, False]
    assert cap.allows("b@example.org", 2)
    assert cap.withheld("b@example.org") == 0
    now.at = 3599.0
    assert not cap.allows("a@example.org", 2)
    now.at = 3600.0
    assert cap.allows("a@example.org", 2)
    assert cap.withheld("a@EXAMPLE.org") == 3
    assert cap.withheld("a@example.org") == 0


def test_what_was_not_made_does_not_count():
    cap = ReportCap(Now())
    cap.give_back("a@example.org")
    assert cap.allows("a@example.org", 1)
    cap.give_back("A@example.org")
    cap.give_back("a@example.org")
    assert [cap.allows("a@example.org", 1) for _ in range(2)] == [True, False]


def test_without_a_limit_nobody_is_remembered():
    cap = ReportCap(Now())
    assert all(cap.allows("a@example.org", 0) for _ in range(1000))
    assert cap.withheld("a@example.org") == 0
    assert not cap._senders


def test_memory_is_bounded():
    cap = ReportCap(Now())
    for n in range(MOST_SENDERS + 5):
        cap.allows(f"{n}@example.org", 1)
    assert len(cap._senders) == MOST_SENDERS
    assert cap.allows("0@example.org", 1)
    assert not cap.allows(f"{MOST_SENDERS}@example.org", 1)
