"""Slots of questions, some for mail that goes out alone."""

from twisted.internet.defer import CancelledError, Deferred

from netsvc.resolver.slots import Slots


def take(slots, name, *, out=False, last=False):
    return Deferred.fromCoroutine(slots.acquire((name, "a"), out=out, last=last))


def test_common_and_reserved():
    slots = Slots(1, 1)
    assert take(slots, b"a").result is False
    waiting = take(slots, b"b")
    assert not waiting.called
    assert take(slots, b"c", out=True).result is True
    out = take(slots, b"d", out=True)
    assert not out.called
    slots.release(reserved=True)  # which those for mail that comes in never take
    assert out.result is True
    assert not waiting.called
    slots.release(reserved=False)
    assert waiting.result is False


def test_mail_that_goes_out_takes_what_nobody_else_wants():
    slots = Slots(1, 0)
    assert take(slots, b"a", out=True).result is False
    waiting = take(slots, b"b", out=True)
    slots.release(reserved=False)
    assert waiting.result is False
    slots.release(reserved=False)
    assert take(slots, b"c").result is False


def test_nobody_jumps_the_queue():
    slots = Slots(1, 0)
    take(slots, b"a")
    first = take(slots, b"b")
    second = take(slots, b"c")
    slots.release(reserved=False)
    assert (first.called, second.called) == (True, False)


def test_promotion():
    slots = Slots(0, 1)
    waiting = take(slots, b"a")
    slots.promote((b"other", "a"))
    assert not waiting.called
    slots.promote((b"a", "a"))
    assert waiting.result is True
    later = take(slots, b"b")
    slots.promote((b"b", "a"))
    assert not later.called
    slots.release(reserved=True)
    assert later.result is True
    slots.release(reserved=True)
    assert take(slots, b"c", out=True).result is True


def test_who_gives_up_is_not_served():
    slots = Slots(0, 0)
    for out in (False, True):
        waiting = take(slots, b"a", out=out)
        waiting.cancel()
        assert isinstance(waiting.result.value, CancelledError)
        waiting.addErrback(lambda _: None)
    slots.release(reserved=False)
    assert take(slots, b"b").result is False


def test_who_stands_last_has_what_nobody_else_waits_for():
    for out in (False, True):
        slots = Slots(0 if out else 1, 1 if out else 0)
        take(slots, b"a", out=out)
        doubtful = take(slots, b"b", out=out, last=True)
        other = take(slots, b"c", out=out)
        slots.release(reserved=out)
        assert (doubtful.called, other.called) == (False, True)
        slots.release(reserved=out)
        assert doubtful.called


def test_promotion_of_who_stands_last():
    slots = Slots(0, 1)
    take(slots, b"a", out=True)
    waiting = take(slots, b"b", last=True)
    slots.promote((b"b", "a"))
    other = take(slots, b"c", out=True)
    slots.release(reserved=True)
    assert (waiting.called, other.called) == (False, True)
    slots.release(reserved=True)
    assert waiting.result is True
