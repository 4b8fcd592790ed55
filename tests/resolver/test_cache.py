"""What is remembered, and for how long."""

from netsvc.records import NameNotFoundError, NameTemporaryError
from netsvc.resolver.cache import ENTRY_OCTETS, Answer, Cache


def test_as_long_as_it_says():
    cache = Cache()
    key = (b"example.org", "a")
    cache.put(key, Answer(("192.0.2.1",), until=10), 0)
    assert cache.get(key, 9).values == ("192.0.2.1",)
    assert cache.items(11) == []
    assert cache.get(key, 10) is None
    assert (len(cache), cache.octets) == (0, 0)
    cache.put(key, Answer(until=10), 10)
    assert len(cache) == 0


def test_what_was_not_asked_for_longest_goes_first():
    cache = Cache(max_entries=2)
    keys = [(b"%d" % n, "a") for n in range(3)]
    for n, key in enumerate(keys):
        if n == 2:
            cache.get(keys[0], 0)
        cache.put(key, Answer(("x",), until=10), 0)
    assert [key for key, _ in cache.items(0)] == [keys[2], keys[0]]


def test_room_is_bounded():
    cache = Cache(max_octets=3 * ENTRY_OCTETS)
    for n in range(9):
        cache.put((b"%d" % n, "txt"), Answer((b"x" * 10,), until=10), 0)
        assert cache.octets <= 3 * ENTRY_OCTETS
    assert len(cache) == 2
    cache.put((b"big", "txt"), Answer((b"x" * 5000,), until=10), 0)
    assert len(cache) == 2
    cache.put((b"m", "mx"), Answer(((10, "x"),), until=10, chain=("y",)), 0)
    assert cache.get((b"m", "mx"), 0).octets == ENTRY_OCTETS + 60 + 51 + 51


def test_flushing():
    cache = Cache()
    for kind in ("a", "mx"):
        for name in (b"a", b"b"):
            cache.put((name, kind), Answer(("x",), until=10), 0)
    assert cache.flush(b"a") == 2
    assert cache.flush(b"a") == 0
    assert cache.flush() == 2
    assert not cache.forget((b"a", "a"))


def test_what_askers_are_told():
    assert Answer(("x",)).error() is None
    assert isinstance(Answer(absent="no such name").error(), NameNotFoundError)
    assert isinstance(Answer(fault="SERVFAIL").error(), NameTemporaryError)
