"""The command language."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsvc.commands import Arg, Clause, Command, CommandError, Selects, Word
from netsvc.console.grammar import MAX_IDS, Chosen, Grammar
from netsvc.console.pipes import Pipe
from netsvc.console.table import commands
from netsvc.criteria import Test

NOW = 1_795_442_712_345
ID = "01ARZ3NDEKTSV"
GRAMMAR = Grammar(commands())


def read(line):
    return GRAMMAR.parse(line, NOW)


def parts(line):
    parsed = read(line)
    return parsed.command.name, parsed.args, parsed.chosen


@pytest.mark.parametrize(
    ("line", "name", "args"),
    [
        ("show queue", "show queue", {}),
        ("SH Q", "show queue", {}),
        ("do show queue", "show queue", {}),
        ("sh q s", "show queue summary", {}),
        ("show q sum by reas", "show queue summary", {"by": "reason"}),
        ("show queue def", "show queue", {"state": "deferred"}),
        ("show queue deferred limit 5", "show queue", {"state": "deferred", "limit": 5}),
        ("show queue limit 5 oldest deferred", "show queue", {"state": "deferred", "limit": 5, "order": "oldest"}),
        ("show queue limit 5 detail", "show queue", {"limit": 5, "detail": True}),
        ("mailq hold", "mailq", {"state": "hold"}),
        (f"show message {ID} head", "show message", {"id": ID, "part": "headers"}),
        ("show mailbox Ann@Example.org", "show mailbox", {"address": "Ann@example.org"}),
        ("show mail ann@x.example 7 body", "show mail", {"address": "ann@x.example", "uid": 7, "part": "body"}),
        ("show mail ann@x.example limit 3", "show mail", {"address": "ann@x.example", "limit": 3}),
        ("domain add Bücher.example", "domain add", {"domain": "xn--bcher-kva.example"}),
        ("user add Bo role op", "user add", {"name": "bo", "role": "operator"}),
        (
            "user add bo viewer password s3cret-word",
            "user add",
            {"name": "bo", "role": "viewer", "password": "s3cret-word"},
        ),
        ("alias delete a@x.example", "alias delete", {"address": "a@x.example"}),
        ("alias del a@x.example b@x.example", "alias delete", {"address": "a@x.example", "target": "b@x.example"}),
        ("mailbox create a@x.example quota 1G", "mailbox create", {"address": "a@x.example", "quota": 1 << 30}),
        ("undo", "undo", {}),
        ("undo job 7", "undo job", {"number": 7}),
        ("help", "help", {}),
        ('help show "queue" now', "help", {"rest": 'show "queue" now'}),
        ("help fields queue", "help fields", {"object": "queue"}),
        ("flush everything now", "flush", {"rest": "everything now"}),
        ("terminal length 0", "terminal length", {"rows": 0}),
        ("hold confirm T-1", "hold", {"confirm": "T-1"}),
    ],
)
def test_words_and_arguments(line, name, args):
    parsed = read(line)
    assert (parsed.command.name, parsed.args) == (name, args)


@pytest.mark.parametrize("line", ["", "   ", "# comment", "! comment", "  \t# x | y"])
def test_nothing_to_do(line):
    assert read(line) is None


def test_tags():
    assert read("@a.7 show queue").tag == "a.7"
    assert read("@7") is None
    for bad in ("@ show", "@" + "x" * 65 + " show", "@é show"):
        with pytest.raises(CommandError) as error:
            read(bad)
        assert error.value.code == "E104"


def test_selections():
    assert parts("hold all") == ("hold", {}, Chosen("all", text="all"))
    assert parts("hold last reason x") == ("hold", {"reason": "x"}, Chosen("last", text="last"))
    name, args, chosen = parts(f'hold {ID}.1, {ID}.2 0AAAA reason "why not"')
    assert (name, args) == ("hold", {"reason": "why not"})
    assert chosen.kind == "ids"
    assert [text for text, _ in chosen.ids] == [f"{ID}.1", f"{ID}.2", "0AAAA"]
    assert chosen.ids[0][1] == 5
    assert chosen.text == f"{ID}.1, {ID}.2 0AAAA"
    name, args, chosen = parts("show queue where domain=x.example and age>1h limit 2 | count")
    assert chosen.kind == "where"
    assert chosen.text == "domain=x.example and age>1h"
    assert chosen.where.terms[0] == Test("domain", "=", "x.example")
    assert args == {"limit": 2}
    assert read("show queue | match x | count").pipes == (Pipe("match", text="x"), Pipe("count"))
    assert parts("show queue hold where size>1")[1] == {"state": "hold"}
    assert parts("show queue where size>1 hold")[1] == {"state": "hold"}
    assert parts("hold dry-run where size>1 expect 5")[1] == {"dry-run": True, "expect": "5"}
    assert parts("hold OIARZ3NDEKTSV")[2].ids == (("OIARZ3NDEKTSV", 5),)


@pytest.mark.parametrize(
    ("line", "code", "column", "says"),
    [
        ("shwo", "E101", 0, "Did you mean: show"),
        ("zzzzz", "E101", 0, "Type ? for a list"),
        ("domain zzz x", "E101", 7, "Expected one of: add, catchall, delete"),
        ('"show" queue', "E101", 0, "Unknown"),
        ("re", "E102", 0, "release, resume, retry"),
        ("show queue re", "E102", 11, "reasons, recycled"),
        ("show", "E103", 4, "queue"),
        ("domain", "E103", 6, "add, catchall, delete"),
        ("show message", "E103", 12, "ID"),
        ("hold", "E103", 4, "ID, where, last, all"),
        ("hold reason x", "E103", 13, "where"),
        ("user add", "E103", 8, "NAME"),
        ("show queue limit", "E103", 16, "N"),
        ("show schema", "E103", 11, "NAME"),
        ("show queue where", "E204", 16, "field"),
        ("hold all now", "E104", 9, 'Unexpected "now" after a complete command'),
        ("show queue where size>1 adn size<2", "E104", 24, "Did you mean: and"),
        ("show queue limti 5", "E104", 11, "Did you mean: limit"),
        ("hold now", "E104", 5, "Expected one of: ID, where"),
        ("hold , x", "E104", 5, "Unexpected"),
        ("show queue all all", "E104", 15, "Unexpected"),
        ("show version x", "E104", 13, "Unexpected"),
        ("hold " + f"{ID} " * (MAX_IDS + 1), "E104", None, "At most"),
        ("show queue limit 0", "E202", 17, "at least 1"),
        ("show queue limit x", "E202", 17, "not a number"),
        ("show queue summary by colour", "E202", 22, "One of: destination"),
        ("mailbox create ann", "E202", 15, "address"),
        ("domain add a_b", "E202", 11, "domain"),
        ("user add -x viewer", "E202", 9, "name"),
        ("mailbox create a@x.example quota much", "E202", 33, "size"),
        ("mailbox quota a@x.example nothing", "E202", 26, "size"),
        ("domain catchall x.example nobody", "E202", 26, "address"),
        ("retry all spread soon", "E202", 17, "duration"),
        ("retry all spread -5m", "E202", 17, "duration"),
        ('retry all reason ""', "E202", 17, "something"),
        ('user passwd bo password ""', "E202", 24, "That is not"),
        ("show queue where domian=x", "E201", 17, "domain"),
        ('hold all reason "x', "E105", 16, "quote"),
        ("show queue | cuont", "E101", 13, "count"),
    ],
)
def test_errors(line, code, column, says):
    with pytest.raises(CommandError) as error:
        read(line)
    assert (error.value.code, says in error.value.message) == (code, True), error.value
    if column is not None:
        assert error.value.column == column


def everybody(command):
    return True


def fits(line, visible=everybody):
    options, partial = GRAMMAR.options(line, NOW, visible)
    return [option.word for option in options], partial


def test_what_fits():
    assert {"show", "hold", "help"} <= set(fits("")[0])
    assert "flush" not in fits("")[0]
    assert "do" not in fits("")[0]
    assert fits("sh")[1] == "sh"
    assert {"summary", "deferred", "where", "limit", "|", "<Enter>"} <= set(fits("show queue ")[0])
    assert fits("show message ")[0] == ["ID"]
    assert {"attempts", "headers", "|", "<Enter>"} == set(fits(f"show message {ID} ")[0]) - {"body", "source"}
    assert fits("show queue limit ")[0] == ["N"]
    assert fits("show queue limit 5 ")[0] == ["oldest", "newest", "largest", "|", "<Enter>"]
    assert "limit" not in fits("show queue limit 5 oldest ")[0]
    assert set(fits("hold ")[0]) == {"ID", "where", "last", "all", "reason", "dry-run", "expect", "confirm"}
    assert "<Enter>" in fits(f"hold {ID} ")[0]
    assert "domain" in fits("hold where ")[0]
    assert {"and", "or", "reason", "dry-run", "|"} <= set(fits("hold where size>1 ")[0])
    assert fits("user add bo role ")[0] == ["viewer", "operator", "admin"]
    assert "count" in fits("show queue | ")[0]
    assert fits("help ")[0][:2] == ["fields", "REST"]
    assert fits("help show q") == (["|", "<Enter>"], "")
    assert fits("show queue | match x") == ([], "")
    assert fits("mail")[1] == "mail"
    assert fits("@7 sh")[1] == "sh"


def test_what_fits_depends_on_the_role():
    words, _ = fits("", lambda command: command.role == "viewer")
    assert "show" in words
    assert "hold" not in words
    assert "user" not in words


def test_a_line_already_wrong_is_told():
    with pytest.raises(CommandError) as error:
        fits("shwo ")
    assert error.value.code == "E101"


def test_finding_commands():
    assert [c.name for c in GRAMMAR.find(["domain"])] == ["domain add", "domain catchall", "domain delete"]
    assert "show queue" in [c.name for c in GRAMMAR.find(["sh", "q"])]
    with pytest.raises(CommandError) as error:
        GRAMMAR.find(["shwo"])
    assert error.value.suggestions == ("show",)


async def nothing(call):
    pass


def test_two_commands_spelt_alike_are_refused():
    command = Command((Word("x"),), nothing, "")
    with pytest.raises(ValueError, match="two commands"):
        Grammar([command, command])


def test_forms_the_table_does_not_use_yet():
    grammar = Grammar(
        [
            Command((Word("note"),), nothing, "", args=(Arg("text", "rest"),)),
            Command((Word("tell"),), nothing, "", args=(Arg("n", "int"), Arg("text", "rest"))),
            Command(
                (Word("pick"),), nothing, "", args=(Arg("n", "int", optional=True), Arg("w", "word", optional=True))
            ),
            Command(
                (Word("need"),),
                nothing,
                "",
                selects=Selects("queue", ("where",)),
                clauses=(Clause("role", required=True),),
            ),
        ]
    )
    assert grammar.parse("note all of it | count", NOW).args == {"text": "all of it"}
    assert grammar.parse("pick 5 x", NOW).args == {"n": 5, "w": "x"}
    for line, code in (("note", "E103"), ("note | count", "E103"), ("need", "E103"), ("need 0AAAA", "E104")):
        with pytest.raises(CommandError) as error:
            grammar.parse(line, NOW)
        assert error.value.code == code
    assert [o.word for o in grammar.options("note ", NOW, everybody)[0]] == ["TEXT"]
    assert [o.word for o in grammar.options("tell 5 ", NOW, everybody)[0]] == ["TEXT"]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_raises_the_declared_error_only(line):
    for act in (read, lambda text: GRAMMAR.options(text, NOW, everybody)):
        with contextlib.suppress(CommandError):
            act(line)


def test_examples_of_an_address_are_addresses_of_mail():
    with pytest.raises(CommandError, match=r"Examples: ann@example\.org"):
        GRAMMAR.parse("mailbox create nowhere", NOW)
