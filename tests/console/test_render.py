"""Rows made readable."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.commands import Column, Table
from netsvc.console import render as r
from netsvc.console.tables import ITEM
from netsvc.console.widths import cells
from netsvc.mail.escape import escape

NOW = 1_795_442_712_345
HOSTILE = "a\x1b]52;c;x\x07\r\n\x00\x9b\u202e\u2028\ufeff"
INNER = Table("inner/1", (Column("a", "text", title="A"), Column("t", "time")))
TABLE = Table(
    "x/1",
    (
        Column("id", "id", title="ID"),
        Column("text", "text", title="TEXT", shrink=2),
        Column("other", "text", title="OTHER", shrink=1),
        Column("n", "int", title="N"),
        Column("a+b", "text", title="AB"),
        Column("l/1", "int", title="L1"),
        Column("when", "time"),
        Column("took", "duration"),
        Column("l", "list"),
        Column("yes", "bool"),
        Column("lines", "lines"),
        Column("rows", "rows", inner=INNER),
        Column("map", "map"),
        Column("share", "number", show="percent"),
        Column("blob", "base64"),
    ),
)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (45_900, "45s"),
        (180_000, "3m"),
        (9_060_000, "2h31m"),
        (4 * 86_400_000 + 7_200_000, "4d02h"),
        (-660_000, "-11m"),
    ],
)
def test_durations(ms, text):
    assert r.show_duration(ms) == text


@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0"), (512, "512"), (49152, "48k"), (1500, "1.5k"), (5 << 20, "5.0M"), (3 << 40, "3.0T")]
)
def test_sizes(octets, text):
    assert r.show_size(octets) == text


def test_times():
    assert r.show_time(NOW) == "2026-11-23 14:05:12"
    assert r.rfc3339(NOW) == "2026-11-23T14:05:12Z"
    assert r.rfc3339(0) == "1970-01-01T00:00:00Z"
    assert r.rfc3339(10**18) is None
    assert r.show_time(10**18) == "1000000000000000000ms"


def test_pads():
    assert r.pad("漢", 4, right=False) == "漢  "
    assert r.pad("7", 3, right=True) == "  7"


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (None, Column("x", "text"), "-"),
        (None, Column("x", "text", show="blank"), ""),
        ("", Column("x", "text"), "-"),
        ("", Column("x", "text", show="path"), "<>"),
        ("", Column("x", "base64"), ""),
        ("a\x1b", Column("x", "text"), "a\\x1b"),
        (7, Column("x", "int"), "7"),
        (0.93, Column("x", "number", show="percent"), "93%"),
        (0.5, Column("x", "number"), "0.5"),
        (9_060_000, Column("x", "duration"), "2h31m"),
        (2048, Column("x", "size"), "2.0k"),
        (NOW, Column("x", "time"), "2026-11-23 14:05:12"),
        (NOW, Column("x", "time", show="clock"), "14:05:12"),
        (NOW + 86_400_000, Column("x", "time", show="clock"), "2026-11-24 14:05:12"),
        (NOW - 86_400_000, Column("x", "time", show="clock"), "2026-11-22 14:05:12"),
        (NOW + 86_399_999, Column("x", "time", show="clock"), "14:05:12"),
        (None, Column("x", "text", show="wrap"), ""),
        ("", Column("x", "text", show="wrap"), ""),
        ([{}], Column("x", "rows"), "1 row"),
        (NOW + 660_000, Column("x", "time", show="relative"), "+11m"),
        (NOW - 660_000, Column("x", "time", show="relative"), "-11m"),
        (True, Column("x", "bool"), "yes"),
        (False, Column("x", "bool"), "no"),
        (["a", "b\x1b"], Column("x", "list"), "a, b\\x1b"),
        ({"a": 1}, Column("x", "map"), "a=1"),
        ([{}, {}], Column("x", "rows"), "2 rows"),
        (["a"], Column("x", "lines"), "a"),
        (1 << 60, Column("x", "id"), "1000000000000"),
    ],
)
def test_what_people_see(value, column, text):
    assert r.human(value, column, NOW) == text


def test_picking():
    row = {"a": 421, "b": "4.7.28", "l": [1, 2], "c": None, "d": ""}
    assert r.pick(row, "a") == 421
    assert r.pick(row, "a+b") == "421 4.7.28"
    assert r.pick(row, "c+d") is None
    assert r.pick(row, "l/1") == 2
    assert r.pick(row, "l/5") is None
    assert r.pick(row, "z/0") is None


def row(n, text="t", other="o"):
    return {"id": f"I{n}", "text": text, "other": other, "n": n, "a": 1, "b": "x", "l": [0, n]}


def test_a_table_keeps_its_widths():
    layout = r.Layout(TABLE, 0, NOW)
    first = layout.lines([row(1, "long text"), row(22)])
    assert first == [
        "ID   TEXT       OTHER   N  AB   L1",
        "I1   long text  o       1  1 x   1",
        "I22  t          o      22  1 x  22",
    ]
    assert layout.lines([row(3, "a longer text")]) == ["I3   a long...  o       3  1 x   3"]


def test_a_table_fits_its_width():
    wide = [row(1, "t" * 60, "o" * 30), row(2, HOSTILE, "漢" * 20)]
    for width in (30, 41, 50, 70, 100, 200):
        for line in r.Layout(TABLE, width, NOW).lines(wide):
            assert cells(line) <= width
            assert line.isprintable()


def test_a_table_tells_once_what_it_leaves_out():
    columns = (
        Column("k", "text", title="KEY", shrink=1),
        Column("n", "text", title="NOTHING"),
        Column("s", "text", title="SPARED", spare=1),
    )
    layout = r.Layout(Table("x/1", columns), 70, NOW)
    assert layout.lines([{"k": "k" * 30, "s": "s" * 60}]) == ["KEY", "k" * 30]
    assert layout.left_out() == ["(left out: NOTHING, SPARED; | list shows all, or terminal width 110)"]
    assert layout.left_out() == []
    assert layout.lines([{"k": "l", "s": "s"}]) == ["l"]
    for ways, told in (("| list shows all", "; | list shows all"), ("", "")):
        layout = r.Layout(Table("x/1", columns), 70, NOW)
        layout.lines([{"k": "k", "n": "n", "s": "s" * 400}])
        assert layout.left_out(ways) == [f"(left out: SPARED{told})"]


def test_long_texts_go_on_below():
    table = Table("x/1", (Column("a", "text", title="A"), Column("b", "text", title="B", show="wrap", shrink=1)))
    rows = [{"a": "k", "b": "one two three four five six seven"}, {"a": "l", "b": None}]
    layout = r.Layout(table, 30, NOW)
    assert layout.lines(rows) == ["A  B", "k  one two three four five six", "   seven", "l"]
    assert layout.left_out() == []
    assert r.Layout(table, 0, NOW).lines(rows)[1:] == ["k  one two three four five six seven", "l"]


def test_octets_are_a_size_where_the_row_counts_them():
    column = Column("v", "number", title="V", show="unit")
    table = Table("x/1", (column, Column("unit", "text")))
    rows = [{"v": 76657852416, "unit": "octets"}, {"v": 7, "unit": "files"}, {"v": None, "unit": "octets"}]
    assert r.Layout(table, 80, NOW).lines(rows) == ["  V", "71G", "  7", "  -"]
    assert r.list_lines(table, rows[0], NOW) == ["v     71G", "unit  octets"]
    assert r.machine_row(table, rows[0])["v"] == 76657852416


def test_counts_are_worded():
    assert [r.counted(n, "item") for n in (0, 1, 2)] == ["0 items", "1 item", "2 items"]


def test_a_table_without_titles_has_no_line_of_them():
    table = Table("x/1", (Column("a", "int", title=" "),))
    assert r.Layout(table, 80, NOW).lines([{"a": 2204}]) == ["2204"]


def test_lists():
    lines = r.list_lines(
        TABLE,
        {
            "id": "I1",
            "text": HOSTILE,
            "when": NOW - 60_000,
            "lines": "a\x1b\nb",
            "rows": [{"a": "x"}],
            "n": None,
        },
        NOW,
    )
    assert lines[0] == "id     I1"
    assert "\x1b" not in "".join(lines)
    assert lines[2] == "when   2026-11-23 14:04:12  (1m ago)"
    assert lines[3:] == ["lines:", "  a\\x1b", "  b"]
    assert r.list_lines(TABLE, {"when": NOW + 60_000}, NOW) == ["when  2026-11-23 14:06:12  (in 1m)"]
    assert r.list_lines(TABLE, {}, NOW) == []
    assert [(c.name, rows) for c, rows in r.inner_rows(TABLE, {"rows": [{"a": 1}]})] == [("rows", [{"a": 1}])]
    assert r.inner_rows(TABLE, {"rows": []}) == []


def test_machine_rows():
    out = r.machine_row(
        TABLE,
        {
            "id": "I1",
            "text": HOSTILE,
            "when": NOW,
            "took": 5_411_000,
            "l": (1, "x\x1b", None, 1.5),
            "yes": 1,
            "lines": ["a\x1b", "b"],
            "rows": [{"a": "x", "t": 0, "unknown": 1}],
            "map": {"k\x1b": {"deep": [True]}, "o": object},
            "share": 0.5,
            "blob": "AAAA",
            "unknown": 1,
        },
    )
    assert list(out) == [c.name for c in TABLE.fields]
    assert "a+b" not in out
    assert out["when"] == "2026-11-23T14:05:12Z"
    assert out["took"] == 5411
    assert out["l"] == [1, "x\\x1b", None, 1.5]
    assert out["yes"] is True
    assert out["lines"] == "a\\x1b\nb"
    assert out["rows"] == [{"a": "x", "t": "1970-01-01T00:00:00Z"}]
    assert out["map"]["k\\x1b"] == {"deep": [True]}
    assert out["n"] is None
    assert r.machine(1 << 60, Column("x", "id")) == "1000000000000"
    assert r.machine(1500, Column("x", "duration")) == 1.5
    assert r.machine("", Column("x", "text")) is None
    assert r.machine("", Column("x", "text", show="path")) == ""
    assert r.machine("", Column("x", "text", show="line")) == ""
    assert r.human(0, Column("x", "size", show="zero"), NOW) == "-"
    assert r.machine([{"a": 1}], Column("x", "rows")) == [{"a": 1}]
    text = r.json_line(out)
    assert "\x1b" not in text
    assert "\n" not in text
    assert json.loads(text)["took"] == 5411


@given(st.text(), st.integers(8, 120))
def test_no_text_reaches_a_terminal_raw(text, width):
    item = {"id": text, "state": text, "sender": text, "rcpt": text, "reason": text, "age": 1, "size": 1}
    for line in r.Layout(ITEM, width, NOW).lines([item]):
        assert escape(line) == line
        assert cells(line) <= width
    for line in r.list_lines(ITEM, item, NOW):
        assert escape(line) == line
