"""Pipes: typed, and at work on rows."""

import pytest

from netsvc.commands import CommandError
from netsvc.console import pipes as module
from netsvc.console.pipes import MAX_KEPT, Pipe, Pipeline, line_of, parse_pipes
from netsvc.console.reader import AtCursor, Reader

ROWS = [{"id": n, "name": name, "tags": ["x", None]} for n, name in enumerate(("Ann", "bob", "cy", "Bobby"))]


def read(text, completing=False):
    return parse_pipes(Reader(text, completing))


@pytest.mark.parametrize(
    ("text", "pipes"),
    [
        ("", ()),
        ("| count", (Pipe("count"),)),
        ("|co", (Pipe("count"),)),
        ("| first 5 | last 2", (Pipe("first", 5), Pipe("last", 2))),
        ("| match two words | count", (Pipe("match", text="two words"), Pipe("count"))),
        ('| match "a | b"', (Pipe("match", text="a | b"),)),
        ('| match "a" b', (Pipe("match", text='"a" b'),)),
        ("| include x", (Pipe("match", text="x"),)),
        ("| exclude x", (Pipe("except", text="x"),)),
        ("| begin x", (Pipe("find", text="x"),)),
        ("| match ~^a", (Pipe("match", text="~^a"),)),
        ("| json", (Pipe("json"),)),
    ],
)
def test_typed(text, pipes):
    assert read(text) == pipes


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("|", "E103"),
        ("| | count", "E103"),
        ("| cuont", "E101"),
        ("| zzz", "E101"),
        ("| first", "E103"),
        ("| first x", "E202"),
        (f"| last {MAX_KEPT + 1}", "E202"),
        ("| first 5 6", "E104"),
        ("| count now", "E104"),
        ("| match", "E103"),
        ("| match ~(", "E205"),
        ("| count" * 11, "E104"),
    ],
)
def test_typed_wrongly(text, code):
    with pytest.raises(CommandError) as error:
        read(text)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("text", "word"), [("| ", "count"), ("| first ", "N"), ("| match ", "TEXT"), ("| count ", "|")]
)
def test_what_fits(text, word):
    with pytest.raises(AtCursor) as cursor:
        read(text, completing=True)
    assert word in [option.word for option in cursor.value.options]


def through(*pipes, rows=ROWS):
    line = Pipeline(pipes)
    out = []
    for row in rows:
        if line.full:
            break
        out += line.put(row)
    return [row.get("name", row.get("count")) for row in [*out, *line.end()]]


def test_at_work():
    assert through() == ["Ann", "bob", "cy", "Bobby"]
    assert through(Pipe("count")) == [4]
    assert through(Pipe("first", 2)) == ["Ann", "bob"]
    assert through(Pipe("first", 0)) == []
    assert through(Pipe("last", 2)) == ["cy", "Bobby"]
    assert through(Pipe("match", text="BOB")) == ["bob", "Bobby"]
    assert through(Pipe("except", text="bob")) == ["Ann", "cy"]
    assert through(Pipe("match", text="~^1|y$")) == ["bob"]
    assert through(Pipe("find", text="cy")) == ["cy", "Bobby"]
    assert through(Pipe("find", text="zz")) == []
    assert through(Pipe("last", 3), Pipe("first", 1)) == ["bob"]
    assert through(Pipe("last", 3), Pipe("count")) == [3]
    assert through(Pipe("match", text="b"), Pipe("count"), Pipe("count")) == [1]
    assert through(Pipe("count"), rows=[]) == [0]


def test_facts_of_a_pipeline():
    line = Pipeline([Pipe("first", 1), Pipe("table"), Pipe("json")])
    assert (line.style, line.counts, line.plain, line.full) == ("json", False, False, False)
    line.put(ROWS[0])
    assert line.full
    assert line.put(ROWS[1]) == []
    assert Pipeline([Pipe("list")]).plain
    counted = Pipeline([Pipe("count")])
    counted.preset(7)
    assert counted.end() == [{"count": 7}]


def test_lines():
    assert line_of(ROWS[0]) == "0 Ann x None"
    assert module.test_of("~B")("abc")
