"""How tables are made to fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.commands import Column
from netsvc.console import widths as w

A = "ann.long@corp.example.org"


def test_cells_and_cuts():
    assert w.cells("abc") == 3
    assert w.cells("漢字") == 4
    assert w.cells("e\u0301") == 1
    assert w.cells("\x01é") == 2
    assert w.cut("abc", 3) == "abc"
    assert w.cut("abcdef", 5) == "ab..."
    assert w.cut("漢字漢字", 6) == "漢..."
    assert w.cut("abcdef", 2) == ".."
    assert w.cut("abcdef", 0) == ""


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 5, [""]),
        ("ab cd", 5, ["ab cd"]),
        ("ab cd ef", 5, ["ab cd", "ef"]),
        ("abcdefgh ij", 5, ["abcde", "fgh", "ij"]),
        ("漢字 漢字", 5, ["漢字", "漢字"]),
        ("漢", 1, ["漢", ""]),
        ("x " * 20, 1, ["x"] * 7 + ["."]),
    ],
)
def test_wrapping(text, width, lines):
    assert w.wrap(text, width) == lines


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)), st.integers(3, 40))
def test_wrapping_loses_nothing_but_blanks(text, width):
    lines = w.wrap(text, width)
    assert all(w.cells(line) <= width for line in lines)
    if len(lines) < w.MOST_LINES:
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def column(title, shrink=0, spare=0, show=""):
    return Column(title.lower(), "text", title=title, shrink=shrink, spare=spare, show=show)


def kept(columns, texts, width):
    those, widths, _ = w.fit(columns, texts, width)
    return dict(zip([columns[at].title for at in those], widths, strict=True))


COLUMNS = (
    column("KEY", shrink=1),
    column("EMPTY"),
    column("MUCH", spare=2),
    column("LITTLE", spare=1),
    column("WHY", shrink=2),
)
ROWS = [[A, "-", "12345678", "12345678", "x" * 40], ["b", "", "1", "1", "-"]]


def test_what_fits_is_left_alone():
    assert w.fit(COLUMNS, ROWS, 0)[1] == [25, 5, 8, 8, 40]
    assert w.fit(COLUMNS, ROWS, 94) == ([0, 1, 2, 3, 4], [25, 5, 8, 8, 40], 94)
    assert w.fit(COLUMNS[:2], [], 80) == ([0, 1], [3, 5], 10)


def test_empty_columns_go_first_then_ends_then_those_that_can_be_spared():
    assert kept(COLUMNS, ROWS, 93) == {"KEY": 25, "MUCH": 8, "LITTLE": 8, "WHY": 40}
    assert kept(COLUMNS, ROWS, 60) == {"KEY": 25, "MUCH": 8, "LITTLE": 8, "WHY": 13}
    assert kept(COLUMNS, ROWS, 54) == {"KEY": 20, "MUCH": 8, "LITTLE": 8, "WHY": 12}
    assert kept(COLUMNS, ROWS, 53) == {"KEY": 25, "LITTLE": 8, "WHY": 16}
    assert kept(COLUMNS, ROWS, 43) == {"KEY": 25, "WHY": 16}
    assert kept(COLUMNS, ROWS, 33) == {"KEY": 25, "WHY": 6}
    assert kept(COLUMNS, ROWS, 20) == {"KEY": 12, "WHY": 6}
    assert kept(COLUMNS, ROWS, 12) == {"KEY": 12}


def test_an_empty_first_column_stays():
    assert kept(COLUMNS[1:3], [["-", "x" * 20]], 21) == {"EMPTY": 5}


def test_what_goes_on_below_keeps_room_for_words():
    columns = (column("KEY", shrink=1), column("SPARE", spare=1), column("HELP", shrink=3, show="wrap"))
    assert kept(columns, [["k" * 20, "s" * 30, "h" * 90]], 80) == {"KEY": 20, "SPARE": 30, "HELP": 26}
    assert kept(columns, [["k" * 20, "s" * 30, "h" * 90]], 79) == {"KEY": 20, "HELP": 57}


def test_those_cut_alike_become_alike():
    columns = (column("A", shrink=1), column("B", shrink=1), column("C", shrink=1))
    assert kept(columns, [["a" * 50, "b" * 40, "c" * 22]], 85) == {"A": 30, "B": 29, "C": 22}
