"""A few hundred inputs for every parser; .ci/run has 200,000 (tests/fuzz/run.py), of which these are the first."""

import random
import time

import pytest

from tests.fuzz import run
from tests.fuzz.spoiling import Target, pieces_of, spoiled

INPUTS = 600


@pytest.mark.parametrize("name", run.TARGETS)
def test_first_inputs(name):
    target = run.TARGETS[name]
    [piece, *_] = run.pieces(target, INPUTS * 2, 0)
    found = run.work(*piece)
    assert found.failures == []
    assert found.count == max(int(INPUTS * target.part), 1)
    assert found.understood > 0
    assert found.understood < found.count or target.understood[1] == 1.0


def test_every_parser_of_the_issues_is_there():
    assert {
        *("server session", "client reply parser", "address parser", "BDAT", "SASL", "PROXY", "milter"),
        *("Telnet codec", "command language", "filters", "DNS answers", "header scan", "XCLIENT", "node file"),
    } <= set(run.TARGETS)
    asked = {name: sum(piece[3] for piece in run.pieces(target, run.INPUTS, 1)) for name, target in run.TARGETS.items()}
    for name in ("server session", "client reply parser", "address parser", "BDAT", "SASL", "PROXY", "milter"):
        assert asked[name] == 200_000
    for name in ("Telnet codec", "command grammar", "command language", "filters", "filters as SQL"):
        assert asked[name] >= 50_000


def outcome(monkeypatch, read, understood=(0.0, 1.0), count=600):
    """Run one target -> its line, and what is wrong."""
    target = Target("x", lambda rng: rng.randrange(100), read, understood)
    monkeypatch.setitem(run.TARGETS, "x", target)
    return run.joined(target, [run.work("x", 1, 0, count)])


def test_nothing_wrong(monkeypatch):
    line, wrong = outcome(monkeypatch, lambda n: n < 50)
    assert wrong == []
    assert line.startswith("x ")
    assert " 600 inputs " in line


def test_an_exception_is_found_and_made_again(monkeypatch, capsys):
    line, wrong = outcome(monkeypatch, lambda n: 1 / n > 0)
    assert " 0 failures" not in line
    assert wrong[-1].startswith("ZeroDivisionError: division by zero x ")
    label = wrong[0].split("\n")[0]
    with pytest.raises(ZeroDivisionError):
        run.main(["--again", label])
    assert capsys.readouterr().out == "0\n"


def test_what_costs_too_much_is_found(monkeypatch):
    def dear(n):
        end = time.thread_time() + 0.06 * (n == 7)
        while time.thread_time() < end:
            pass
        return True

    _, [wrong] = outcome(monkeypatch, dear, count=200)
    assert wrong.endswith(" ms of CPU")


def test_a_corpus_that_nothing_understands_is_found(monkeypatch):
    _, [wrong] = outcome(monkeypatch, lambda n: n == 0, (0.5, 1.0))
    assert wrong.endswith("is not between 50% and 100%")


def test_an_input_is_known_by_its_number():
    target = run.TARGETS["server session"]
    assert run.made(target, 3, 5) == run.made(target, 3, 5)
    assert run.made(target, 3, 5) != run.made(target, 3, 6)


def test_nothing_chosen_is_no_success(capsys):
    assert run.main(["--only", "no such parser"]) == 1
    assert "0 parsers" in capsys.readouterr().out


def test_spoiled_and_cut():
    rng = random.Random(1)
    made = {spoiled(rng, [b"abcdef"], [b"X"]) for _ in range(2000)}
    assert b"abcdef" in made
    assert any(b"X" in data for data in made)
    assert 10_000 < max(map(len, made)) <= 400_000
    assert all(b"".join(pieces_of(rng, data)) == data for data in made)
    assert any(spoiled(rng, ["abc"], ["X"]) != "abc" for _ in range(10))
