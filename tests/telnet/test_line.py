"""The text of a line: C17, and what Emacs fingers expect."""

import pytest

from netsvc.telnet.line import LINE_LIMIT, MARKS_LIMIT, Line, asks_help, cluster_width, in_quotes, text_width


def line(text, cursor=None):
    it = Line()
    assert it.insert(text)
    if cursor is not None:
        it.cursor = cursor
    return it


def test_c17_a_combining_mark_belongs_to_its_character():
    it = line("e\u0301x")
    assert it.clusters == ["e\u0301", "x"]
    it.backspace()
    it.backspace()
    assert (it.text, it.empty) == ("", True)


def test_c17_marks_on_one_character_are_bounded():
    it = line("a" + "\u0301" * 100)
    assert max(map(len, it.clusters)) <= MARKS_LIMIT + 1


def test_a_mark_at_the_very_beginning_stands_alone():
    assert line("\u0301a").clusters == ["\u0301", "a"]


def test_c17_cells():
    assert text_width("aé漢") == 4
    assert cluster_width("e\u0301") == 1
    assert cluster_width("\u0301") == 0


@pytest.mark.parametrize("char", ["\x85", "\u202e", "\u200b", "\ufeff", "\u2066", "\ud800", "\x9b"])
def test_c23_what_does_not_print_is_never_in_a_line(char):
    assert line(f"a{char}b").text in ("ab", "a b")


def test_odd_blanks_are_blanks_but_not_in_a_secret():
    assert line("a\u00a0b").text == "a b"
    it = Line()
    it.secret = True
    it.insert("a\u00a0\u200bb")
    assert it.text == "a\u00a0\u200bb"


def test_c19_more_than_the_limit_is_told_and_marked():
    it = Line()
    assert it.limit == LINE_LIMIT
    it.limit = 3
    assert not it.insert("abcd")
    assert (it.text, it.overflow, it.empty) == ("abc", True, False)
    it.backspace()
    assert it.overflow
    it.kill_start()
    assert (it.overflow, it.empty) == (False, True)


def test_inserting_in_the_middle():
    it = line("ad", 1)
    it.insert("bc")
    assert (it.text, it.left, it.cursor) == ("abcd", "abc", 3)


def test_deleting():
    it = line("abc", 1)
    it.delete()
    assert (it.text, it.cursor) == ("ac", 1)
    it.backspace()
    it.backspace()
    assert (it.text, it.cursor) == ("c", 0)
    it.move_end()
    it.delete()
    assert it.text == "c"


def test_words():
    it = line("show queue where-x=1")
    it.move_word_left()
    it.move_word_left()
    assert it.left == "show queue where-"
    it.move_word_left()
    it.move_word_left()
    assert it.left == "show "
    it.move_word_right()
    assert it.left == "show queue"
    it.move_home()
    it.move_left()
    it.move_word_left()
    assert it.cursor == 0
    it.move_end()
    it.move_right()
    it.move_word_right()
    assert it.left == it.text


def test_killing_and_yanking():
    it = line("hold where domain=x  ")
    it.kill_word()
    assert it.text == "hold where "
    it.yank()
    assert it.text == "hold where domain=x  "
    it.move_home()
    it.kill_next_word()
    assert it.text == " where domain=x  "
    it.kill_end()
    assert (it.text, it.empty) == ("", True)
    it.kill_end()
    it.yank()
    assert it.text == " where domain=x  "
    it.cursor = 6
    it.kill_start()
    assert (it.text, it.cursor) == (" domain=x  ", 0)


def test_secrets_are_not_kept():
    it = line("old")
    it.kill_start()
    it.secret = True
    it.insert("secret")
    it.kill_start()
    it.secret = False
    it.yank()
    assert it.text == "old"


@pytest.mark.parametrize(
    ("text", "is_open"),
    [("", False), ('a "b', True), ('a "b"', False), (r'a "b\"', True), (r"a \"b", True), (r'"\\"', False)],
)
def test_quotes(text, is_open):
    assert in_quotes(text) is is_open


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("?", True), ("show ?", True), ("show ? ", True), ("show?", False), ("", False), ('a "b ?', False)],
)
def test_a_trailing_question_mark_asks_for_help(text, wanted):
    assert asks_help(text) is wanted
