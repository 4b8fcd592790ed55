"""Turns: so many at once, changing limits, and being sent away."""

from twisted.internet.defer import Deferred

from netsvc.delivery.turns import Turns


def asked(turns):
    return Deferred.fromCoroutine(turns.take())


def result(deferred):
    found = []
    deferred.addCallback(found.append)
    return found[0] if found else None


def test_turns():
    limit = [1]
    turns = Turns(lambda: limit[0])
    first, second, third, fourth = (asked(turns) for _ in range(4))
    assert (result(first), result(second)) == (True, None)
    limit[0] = 2
    turns.leave()
    assert turns.taken == 2
    limit[0] = 1
    turns.leave()
    assert turns.taken == 1
    turns.close()
    assert result(fourth) is False
    assert result(asked(turns)) is False
    del third
