"""The lines typed before."""

from netsvc.telnet.history import LIMIT, History


def test_walking_back_and_forth_keeps_the_draft():
    history = History(["one", "two"])
    assert history.back("dra") == "two"
    assert history.back("two") == "one"
    assert history.back("one") is None
    assert history.forth() == "two"
    assert history.forth() == "dra"
    assert history.forth() is None


def test_blank_and_repeated_lines_are_not_kept():
    history = History()
    for line in ("a", "a", "", "  ", "b", "a"):
        history.add(line)
    assert history.lines == ("a", "b", "a")


def test_it_is_bounded():
    history = History()
    for i in range(LIMIT + 50):
        history.add(str(i))
    assert len(history.lines) == LIMIT
    assert history.lines[-1] == str(LIMIT + 49)


def test_search_goes_back_and_further_back():
    history = History(["hold a", "show b", "hold c"])
    assert history.search("hold", "ho") == "hold c"
    assert history.search("hold", "") == "hold a"
    assert history.search("hold", "") is None
    assert history.forth() == "show b"
    assert history.forth() == "hold c"
    assert history.forth() == "ho"


def test_last_word():
    assert History().last_word == ""
    assert History(["show message X.1"]).last_word == "X.1"


def test_adding_starts_over():
    history = History(["a"])
    history.back("x")
    history.add("b")
    assert history.back("") == "b"
