"""What ?, Tab and help say, and where a line may hold a password."""

import pytest

from netsvc.console.grammar import Grammar
from netsvc.console.help import complete, describe, explain, overview
from netsvc.console.secrets import holds_secret, mask
from netsvc.console.table import commands

NOW = 1_795_442_712_345
TABLE = commands()
GRAMMAR = Grammar(TABLE)


def everybody(command):
    return True


def tab(line):
    done = complete(GRAMMAR, line, NOW, everybody)
    return [word for word, _ in done.candidates], done.insert, done.partial


def test_tab():
    assert tab("sh") == (["show"], "ow ", "sh")
    assert tab("SH") == (["show"], "ow ", "SH")
    assert tab("show mailb") == (["mailboxes", "mailbox"], "ox", "mailb")
    assert tab("show queue where dom") == (["domain"], "ain", "dom")
    assert tab("show queue where state=def") == (["deferred"], "erred ", "def")
    assert tab("show queue where (sender") == (["sender", "sender-domain"], "", "sender")
    assert tab("show queue where not ")[0][:2] == ["id", "state"]
    assert tab("show queue zz") == ([], "", "zz")
    assert tab("shwo que") == ([], "", "")
    assert tab("show message ") == ([], "", "")
    assert "deferred" in tab("show queue ")[0]


def ask(line):
    return explain(GRAMMAR, line, NOW, everybody)


def test_question_mark():
    assert ask("show q") == "  queue  mail waiting to go out"
    lines = ask("show queue ").split("\n")
    assert lines[-1].split() == ["<Enter>", "run", "it"]
    assert any(line.split()[0] == "where" for line in lines)
    assert ask("show queue zz").split()[0] == "ID"
    assert ask("show zz") == '% Nothing begins with "zz" here.'
    assert ask("show queue | match x") == "% Nothing can follow here."
    assert ask("shwo ") == '% Unknown command "shwo". Did you mean: show. [E101]'
    assert ask("show message 0AA").split()[0] == "ID"
    assert len(ask("").split("\n")) > 10


def test_overview_and_every_command_describe_themselves():
    text = overview([command for command in TABLE if not command.hidden])
    for command in TABLE:
        assert command.help
        assert all(word.help or command.hidden for word in command.words), command.name
        assert (f"\n  {command.name} " in text) is not command.hidden
        shown = describe(command)
        assert command.syntax in shown
        assert f"role {command.role}" in shown
    assert text.index("test route ") < text.index("trace session ") < text.index("Acting")
    assert "what to forget" not in "".join(describe(command) for command in TABLE)
    assert "Acting" not in overview([command for command in TABLE if command.role == "viewer"])


def test_examples_of_every_command_parse():
    for command in TABLE:
        for example in command.examples:
            assert GRAMMAR.parse(example, NOW).command is command, example


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("user add bo role viewer password canary", "user add bo role viewer password <hidden>"),
        ('@7 do us passwd bo pass "two words" x', "@7 do us passwd bo pass <hidden>"),
        ("enable password canary", "enable password <hidden>"),
        ("ena canary words", "ena <hidden>"),
        ("en p canary", "en p <hidden>"),
        ("user add bo role viewer p canary", "user add bo role viewer p <hidden>"),
        ('user passwd bo "password" canary', 'user passwd bo "password" <hidden>'),
        ("user pass bo canary", "user pass bo <hidden>"),
        ("user passwd bo password=canary", "user passwd bo <hidden>"),
        ("user add bo op pasword canary", "user add bo op <hidden>"),
        ("user passwd bo ca|nary", "user passwd bo <hidden>"),
        ('user passwd bo password "open canary', "user passwd bo password <hidden>"),
        ("credential set relay user netsvc password canary", "credential set relay user netsvc password <hidden>"),
        ("@1 cred set relay canary", "@1 cred set relay <hidden>"),
        ('credential set relay user "a b" canary', 'credential set relay user "a b" <hidden>'),
        ("credential set relay user netsvc", None),
        ("credential set relay user netsvc password", None),
        ("credential delete relay | json", None),
        ("user role bo admin", None),
        ("user add bo op | json", None),
        ("enable password", None),
        ("user passwd bo", None),
        ("user add bo role viewer password", None),
        ("enable", None),
        ("show queue where subject~password x", None),
        ("", None),
        ("@7", None),
    ],
)
def test_secrets(line, masked):
    assert holds_secret(line) is (masked is not None)
    assert mask(line) == (masked or line)
