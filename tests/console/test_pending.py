"""Selections that wait for a confirmation."""

import array

import pytest

from netsvc.commands import CommandError
from netsvc.console.pending import LIFE_MS, MAX_WAITING, Pending, Waiting
from netsvc.records import Selection


def waiting(verb="hold", actor="op"):
    return Waiting(verb, actor, Selection(array.array("q", [1]), 1), {}, LIFE_MS)


def test_a_token_is_good_once_for_its_owner_its_verb_and_a_minute():
    pending = Pending()
    token = pending.keep(waiting())
    for args in (
        ("T-unknown", "hold", "op", 0),
        (token, "delete", "op", 0),
        (token, "hold", "bo", 0),
        (token, "hold", "op", LIFE_MS + 1),
    ):
        with pytest.raises(CommandError) as error:
            pending.take(*args)
        assert error.value.code == "E303"
    assert pending.take(token, "hold", "op", LIFE_MS).selection.count == 1
    with pytest.raises(CommandError):
        pending.take(token, "hold", "op", 0)


def test_the_oldest_makes_room():
    pending = Pending()
    tokens = [pending.keep(waiting()) for _ in range(MAX_WAITING + 1)]
    assert len(set(tokens)) == MAX_WAITING + 1
    with pytest.raises(CommandError):
        pending.take(tokens[0], "hold", "op", 0)
    assert pending.take(tokens[1], "hold", "op", 0)
