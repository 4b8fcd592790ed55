"""The documentation says what the code does: names, defaults, fields and commands are compared with it."""

import json
import pathlib
import re
import shlex
import tomllib

import pytest

from netsvc.accounts import registry
from netsvc.commands import CommandError
from netsvc.config import listener, node, site
from netsvc.config.values import parse_duration, parse_size
from netsvc.console import tables
from netsvc.console.grammar import Grammar
from netsvc.console.schemas import TABLES
from netsvc.console.table import commands
from netsvc.discovery import protocols
from netsvc.events import EVENTS
from netsvc.remote import wire
from netsvc.tap import EX_CONFIG, Options

ROOT = pathlib.Path(__file__).parents[2]
OPERATOR = (ROOT / "docs/operator.md").read_text("utf-8")
SAMPLE = (ROOT / "etc/netsvc.toml").read_text("utf-8")
GRAMMAR = Grammar(commands())
NOW = 1_795_446_000_000
NOT_SHOWN = {"hostname", "control_socket", "password_file", "secret_key_file", "tls_ca_file", "domains", "mailboxes"}
"""Keys of the sample whose value there is an example, not the default."""


def blocks(text, language):
    """Return the contents of the fenced blocks of ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def rows(text):
    """Return the cells of every table row."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n") if line.startswith("| ")]


def spans(text):
    """Return all that stands between backquotes."""
    return set(re.findall(r"`([^`\n]+)`", text))


def key_rows():
    """Return {key: [(default, meaning)]} of the tables of keys; a key in two tables has two."""
    found = {}
    for cells in rows(OPERATOR.partition("## The node file")[2].partition("\n## ")[0]):
        if len(cells) == 3 and re.fullmatch(r"`[a-z_]+`", cells[0]):
            found.setdefault(cells[0].strip("`"), []).append((cells[1], cells[2]))
    return found


def defaults(key):
    """Return what the tables say that ``key`` is by default."""
    return [default for default, _ in key_rows()[key]]


# -- log events -------------------------------------------------------------------------------


def test_log_events_are_those_of_the_table():
    text = (ROOT / "docs/log-events.md").read_text("utf-8")
    found = [cells for cells in rows(text) if cells[0] != "event"]
    assert {cells[0].strip("`"): (cells[1], tuple(re.findall(r"`(\w+)`", cells[2]))) for cells in found} == EVENTS
    assert len(found) == len(EVENTS)
    assert all(len(cells) == 4 and cells[3] for cells in found)


def test_events_the_operators_page_names_are_there():
    rooms = {name.partition(".")[0] for name in EVENTS}
    named = {
        word
        for word in spans(OPERATOR)
        if re.fullmatch(r"[a-z]+\.[a-z_]+", word) and word.partition(".")[0] in rooms and not word.endswith(".sock")
    }
    assert named
    assert named <= set(EVENTS)


# -- schemas ----------------------------------------------------------------------------------


def schema_sections():
    """Return {schema: its rows} of docs/schemas.md."""
    text = (ROOT / "docs/schemas.md").read_text("utf-8")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0]: [cells for cells in rows(part) if cells[0] != "field"] for part in parts}


@pytest.mark.parametrize("table", [*TABLES.values(), tables.SCHEMA], ids=lambda table: table.schema)
def test_schemas_have_their_fields(table):
    types = {
        "time": "time", "duration": "seconds", "size": "octets", "int": "number", "number": "number", "bool": "boolean",
        "list": "list of text", "lines": "list of text", "map": "object", "base64": "base64",
    }  # fmt: skip
    found = schema_sections()[table.schema]
    assert [cells[0].strip("`") for cells in found] == [column.name for column in table.fields]
    for cells, column in zip(found, table.fields, strict=True):
        kind = f"list of {column.inner.schema}" if column.inner is not None else types.get(column.type, "text")
        assert cells[1] == kind, column.name
        assert column.help in cells[2]
        assert set(column.words) <= spans(cells[2])


def test_no_schema_is_described_that_is_not_there():
    assert set(schema_sections()) == {table.schema for table in (*TABLES.values(), tables.SCHEMA)}


# -- the node file ----------------------------------------------------------------------------


def sample_keys():
    """Return (key, value as written) of each key of etc/netsvc.toml; keys in quotes are examples."""
    return re.findall(r"^#?([a-z_]+) = (.+)$", SAMPLE, re.MULTILINE)


def test_the_sample_has_keys():
    assert len(sample_keys()) > 30


@pytest.mark.parametrize(("key", "value"), sample_keys(), ids=lambda word: word[:30])
def test_each_key_of_the_sample_is_described_with_its_default(key, value):
    assert all(meaning for _, meaning in key_rows()[key])
    if key not in NOT_SHOWN | {"protocol", "endpoint"}:
        assert f"`{value}`" in defaults(key)
    if key == "endpoint":
        assert f"`{value}`" in defaults(key)[0]


def test_no_key_is_described_that_is_not_in_the_sample():
    assert set(key_rows()) == {key for key, _ in sample_keys()}


@pytest.mark.parametrize("maker", protocols().makers.values(), ids=lambda maker: maker.name)
def test_settings_of_plugins_are_described_with_their_defaults(maker):
    for setting in maker.settings:
        said = [tomllib.loads(f"x = {default.strip('`')}")["x"] for default in defaults(setting.name)]
        if setting.type == "duration":
            said = [parse_duration(default) for default in said]
        elif setting.type == "size":
            said = [parse_size(default) for default in said]
        elif setting.type == "list":
            said = [tuple(default) for default in said]
        assert setting.default in said, setting.name
        assert set(setting.choices) <= spans(OPERATOR.replace('"', "").replace("service = ", "")), setting.name
    assert f'"{maker.default_endpoint}"' in defaults("endpoint")[0]


def test_keys_refused_for_now_are_named():
    section = OPERATOR.partition("### Keys that are refused for now")[2].partition("\n## ")[0]
    later = {**node._LATER, **listener.LATER, **site._LATER}
    assert set(later) <= spans(section)
    assert set(node._REFUSED_AUTH) <= {word.partition(":")[0] for word in spans(section)}


# -- the command line, statuses and codes -----------------------------------------------------


def test_options_are_described():
    section = OPERATOR.partition("## Starting and stopping")[2]
    described = {cells[0].strip("`").split()[0] for cells in rows(section) if cells[0].startswith("`--")}
    options = {f"--{row[0]}" for row in (*Options.optParameters, *Options.optFlags)} | {"--listen", "--auth"}
    assert described == options
    assert any(cells[0] == str(EX_CONFIG) for cells in rows(section))


def test_exit_statuses_of_netsvcctl_are_described():
    section = OPERATOR.partition("## netsvcctl")[2].partition("\n## ")[0]
    statuses = {wire.OK, wire.ERROR, wire.USAGE, wire.NOT_PERMITTED, wire.EXPECTATION, wire.PARTIAL, wire.NOT_FOUND}
    assert {int(c[0]) for c in rows(section) if c[0].isdigit()} == statuses | {wire.TEMPORARY}


def test_error_codes_are_those_of_the_console():
    sources = [path.read_text("utf-8") for path in (ROOT / "netsvc/console").rglob("*.py")]
    used = {code for source in sources for code in re.findall(r'CommandError\(\s*"(E\d{3})"', source)}
    used |= {code for source in sources for code in re.findall(r'code = "(E\d{3})" if', source)}
    section = OPERATOR.partition("### Error codes")[2].partition("\n## ")[0]
    described = {word for word in spans(section) if re.fullmatch(r"E\d{3}", word)}
    assert used <= described
    text = "".join(sources)
    assert all(code in text for code in described)


def test_names_of_files_and_people():
    assert f"`STATE/{registry.INITIAL_FILE}`" in OPERATOR
    assert f"`{registry.FIRST_NAME}`" in OPERATOR


# -- commands ---------------------------------------------------------------------------------


def dialogue():
    """Return (what is typed, the error code shown for it or "") of the console's transcripts."""
    typed = []
    for block in blocks(OPERATOR, "console"):
        for part in re.split(r"^(?=mx1[>#] )", block, flags=re.MULTILINE):
            line, _, shown = part.partition("\n")
            if line:
                code = re.search(r"^% .*\[(E\d{3})\]", shown, re.MULTILINE)
                typed.append((re.sub(r"^mx1[>#] ", "", line), code[1] if code else ""))
    return typed


def test_the_console_is_shown():
    assert len(dialogue()) > 20


@pytest.mark.parametrize(("line", "code"), dialogue(), ids=lambda word: word[:40])
def test_what_is_typed_parses_or_is_refused_as_shown(line, code):
    if code.startswith(("E1", "E2")):
        with pytest.raises(CommandError) as caught:
            GRAMMAR.parse(line, NOW)
        assert caught.value.code == code
    else:
        assert GRAMMAR.parse(line, NOW) is not None


def shell_commands():
    """Return the console commands that examples hand to netsvcctl, or send to the console."""
    found = []
    for path in (ROOT / "docs/operator.md", ROOT / "README.md"):
        text = path.read_text("utf-8")
        for line in re.findall(r"^(?:\S*/)?netsvcctl .*$", "\n".join(blocks(text, "sh")), re.MULTILINE):
            words = shlex.split(line, comments=True)
            found += [word for word in words[1:] if " " in word]
        for block in blocks(text, "sh"):
            found += re.findall(r"@1 (.*?)\\n", block)
        found += re.findall(r'`[^`\n]*netsvcctl[^`\n]* "([^"]+)"`', text)
    return found


def test_commands_in_shell_examples_parse():
    found = shell_commands()
    assert len(found) >= 6
    for command in found:
        assert GRAMMAR.parse(command, NOW) is not None


@pytest.mark.parametrize("word", ["undo job 17", "cancel job 17", "show jobs", "show audit", "show destinations"])
def test_commands_in_the_text_parse(word):
    assert word in spans(OPERATOR)
    assert GRAMMAR.parse(word, NOW) is not None


def test_readme_shows_commands_that_parse():
    lines = re.findall(r"^mx1> (.+)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert lines
    for line in lines:
        assert GRAMMAR.parse(line, NOW) is not None


@pytest.mark.parametrize(("role", "at"), [("viewer", 0), ("operator", 1), ("admin", 2)])
def test_all_commands_are_listed_under_their_role(role, at):
    listed = blocks(OPERATOR, "commands")[at].splitlines()
    assert listed == [command.syntax for command in commands() if command.role == role and not command.hidden]


# -- the pages themselves ---------------------------------------------------------------------


def pages():
    """Return the pages an operator reads."""
    names = ("README.md", "CHANGELOG.md", "docs/operator.md", "docs/log-events.md", "docs/schemas.md")
    return [ROOT / name for name in names]


def anchors(text):
    """Return the anchors of a page's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = page if not path else (page.parent / path).resolve()
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text("utf-8")), target


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_json_that_is_shown_is_json(page):
    for line in page.read_text("utf-8").split("\n"):
        if line.startswith('{"'):
            json.loads(line)


def test_node_file_snippets_are_toml():
    for block in blocks(OPERATOR, "toml"):
        tomllib.loads(block)
    tomllib.loads(SAMPLE)
