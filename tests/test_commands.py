"""Commands as data."""

import pytest

from netsvc.commands import Arg, Clause, Column, Command, CommandError, Selects, Setting, Table, Word


async def nothing(call):
    pass


def test_a_command_spells_itself():
    command = Command(
        words=(Word("show"), Word("queue")),
        run=nothing,
        help="x",
        args=(Arg("state", "choice", words=(Word("hold"), Word("active")), optional=True), Arg("count", "int")),
        selects=Selects("queue", ("ids", "where", "all")),
        clauses=(
            Clause("limit", args=(Arg("n", "int"), Arg("order", "choice", words=(Word("oldest"),), optional=True))),
            Clause("role", required=True, args=(Arg("role", "word"),)),
            Clause("detail"),
        ),
    )
    assert command.name == "show queue"
    assert command.syntax == ("show queue [hold|active] COUNT [ID…|where …|all] [limit N [oldest]] role ROLE [detail]")
    needs = Command(words=(Word("hold"),), run=nothing, help="x", selects=Selects("queue", ("ids",), required=True))
    assert needs.syntax == "hold ID…"


def test_tables_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="no type"):
        Setting("x", "float")
    with pytest.raises(ValueError, match="choices"):
        Setting("x", "choice")
    with pytest.raises(ValueError, match="choices"):
        Setting("x", "str", choices=("a",))
    with pytest.raises(ValueError, match="no type"):
        Column("x", "float")
    with pytest.raises(ValueError, match="no kind"):
        Arg("x", "float")
    with pytest.raises(ValueError, match="no role"):
        Command(words=(Word("x"),), run=nothing, help="", role="root")


def test_columns_people_see():
    table = Table("x/1", (Column("a", "text", title="A"), Column("b", "int")))
    assert [c.name for c in table.shown] == ["a"]


def test_an_error_keeps_its_parts():
    error = CommandError("E101", 'Unknown command "x"', 3, ["y"], hint="help")
    assert (error.code, error.message, error.column, error.suggestions, error.hint) == (
        "E101",
        'Unknown command "x"',
        3,
        ("y",),
        "help",
    )
    assert str(error) == 'Unknown command "x" [E101]'


def test_a_setting():
    setting = Setting("tls", "choice", "none", choices=("none", "implicit"), help="x")
    assert setting.default == "none"
