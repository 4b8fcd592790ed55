"""Room for connections to one address."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from netsvc.delivery.crowds import Crowds, Room

AT = ("198.51.99.1", 25)


def wait(crowds):
    return Deferred.fromCoroutine(crowds.wait(*AT))


@pytest.mark.parametrize("leaves_first", [True, False])
def test_who_gives_up_is_forgotten(leaves_first):
    crowds = Crowds(lambda: 1, lambda *_: False)
    assert crowds.take(*AT) is Room.TAKEN
    assert crowds.take(*AT) is Room.FULL
    one, two = wait(crowds), wait(crowds)
    assert crowds.wanted(*AT)
    if leaves_first:
        crowds.leave(*AT, proved=False)
        assert one.called
        assert crowds.take(*AT) is Room.TAKEN
        one = two
    else:
        two.cancel()
        assert isinstance(two.result.value, CancelledError)
        two.addErrback(lambda _: None)
    one.cancel()
    one.addErrback(lambda _: None)
    assert not crowds.wanted(*AT)
    crowds.leave(*AT, proved=False)
    assert len(crowds) == 0


def test_the_last_to_give_up_leaves_nothing():
    crowds = Crowds(lambda: 1, lambda *_: False)
    crowds.take(*AT)
    one, two = wait(crowds), wait(crowds)
    crowds.leave(*AT, proved=False)  # one is woken, and takes nothing
    assert (one.called, two.called, len(crowds)) == (True, False, 1)
    two.cancel()
    two.addErrback(lambda _: None)
    assert len(crowds) == 0


def test_all_hear_of_a_failure():
    failed = []
    crowds = Crowds(lambda: 1, lambda *_: bool(failed))
    crowds.take(*AT)
    waiting = [wait(crowds) for _ in range(3)]
    failed.append(1)
    assert crowds.take(*AT) is Room.TRIED
    crowds.leave(*AT, proved=False)
    assert all(d.called for d in waiting)
    assert len(crowds) == 0


def test_a_limit_that_is_raised():
    limit = [1]
    crowds = Crowds(lambda: limit[0], lambda *_: True)
    crowds.take(*AT)
    crowds.proved(*AT)
    assert crowds.take(*AT) is Room.FULL
    limit[0] = 2
    assert crowds.take(*AT) is Room.TAKEN
