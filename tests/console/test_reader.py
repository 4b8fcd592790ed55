"""Words of a line."""

import pytest

from netsvc.commands import CommandError
from netsvc.console.reader import MAX_LINE, AtCursor, Option, Reader, Token, choose, near

OPTIONS = [Option("show"), Option("release"), Option("retry"), Option("ID", open=True)]


def words(line, stops=""):
    reader = Reader(line)
    out = []
    while (token := reader.peek(stops)) is not None:
        out.append((token.text, token.start, token.end, token.quoted))
        reader.take(token)
    return out, reader.pos


def test_words_and_quotes():
    assert words(' show  "a \\"b\\" \\\\ \\n" x|count') == (
        [("show", 1, 5, False), ('a "b" \\ \\n', 7, 22, True), ("x", 23, 24, False)],
        24,
    )
    assert Reader("a,b").peek(",") == Token("a", 0, 1)


def test_a_quote_that_does_not_close():
    with pytest.raises(CommandError) as error:
        Reader('show "x').peek() and Reader('"x').peek()
    assert (error.value.code, error.value.column) == ("E105", 0)


def test_a_line_too_long():
    with pytest.raises(CommandError) as error:
        Reader("x" * (MAX_LINE + 1))
    assert error.value.code == "E105"


def test_the_cursor():
    with pytest.raises(AtCursor) as cursor:
        Reader("sh", completing=True).next(OPTIONS)
    assert (cursor.value.partial, cursor.value.options) == ("sh", tuple(OPTIONS))
    with pytest.raises(AtCursor) as cursor:
        Reader("  ", completing=True).next(OPTIONS)
    assert cursor.value.partial == ""
    with pytest.raises(AtCursor):
        Reader('"open', completing=True).next(OPTIONS)
    assert Reader("sh ", completing=True).next(OPTIONS).text == "sh"
    assert Reader('"sh"', completing=True).next(OPTIONS).text == "sh"
    assert Reader("| x", completing=True).next(OPTIONS) is None


def test_the_rest():
    reader = Reader(' a "b|c" d | e')
    assert reader.rest() == ('a "b|c" d', 1)
    assert reader.line[reader.pos] == "|"


def test_choosing():
    assert choose(Token("SHOW", 0, 4), OPTIONS).word == "show"
    assert choose(Token("s", 0, 1), OPTIONS).word == "show"
    assert choose(Token("x", 0, 1), OPTIONS) is None
    assert choose(Token("id", 0, 2), OPTIONS) is None
    assert choose(Token("show", 0, 6, quoted=True), OPTIONS) is None
    assert choose(Token("", 0, 0), OPTIONS) is None
    assert choose(Token("mail", 0, 4), [Option("mail"), Option("mailbox")]).word == "mail"
    assert choose(Token("m", 0, 1), [Option("mail"), Option("mail")]).word == "mail"
    with pytest.raises(CommandError) as error:
        choose(Token("re", 3, 5), OPTIONS)
    assert (error.value.code, error.value.column, error.value.suggestions) == ("E102", 3, ("release", "retry"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("shwo", "show"),
        ("shw", "show"),
        ("shoow", "show"),
        ("shov", "show"),
        ("show", "show"),
        ("releasing", "release"),
    ],
)
def test_typing_errors(typed, meant):
    assert meant in near(typed, ["show", "release", "domain"])


def test_what_is_no_typing_error():
    assert near("hold", ["show", "release"]) == []
    assert near("xy", ["show", "ab"]) == []
    assert near("sohw1", ["show"]) == []
