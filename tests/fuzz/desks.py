"""The operators' side under fuzz: Telnet, the line editor, the command language, filters, patterns, the node file."""

from __future__ import annotations

import pathlib
import re
from functools import cache

from netsvc.commands import CommandError
from netsvc.config.complaints import ConfigError
from netsvc.config.node import Overrides, read_node
from netsvc.config.rooms import Rooms
from netsvc.console.filters import parse_where
from netsvc.console.grammar import Grammar
from netsvc.console.reader import AtCursor, Reader
from netsvc.console.table import commands
from netsvc.delivery.routing import check_route
from netsvc.discovery import protocols
from netsvc.mail.escape import escape
from netsvc.patterns import PatternError, compile_glob, compile_regex
from netsvc.plugins.netsvc_smtp import smtp
from netsvc.plugins.netsvc_telnet import telnet
from netsvc.store.sqlfilter import compile_where
from netsvc.telnet.codec import Codec, Data, Subnegotiation
from netsvc.telnet.display import Drawing
from netsvc.telnet.editor import LineEditor
from netsvc.telnet.history import History
from netsvc.telnet.keys import Key, KeyReader
from netsvc.telnet.session import TelnetSession
from tests.fuzz.spoiling import Target, pieces_of, spoiled
from tests.store.filling import random_expr

NOW = 1_795_442_712_345
ID = "01ARZ3NDEKTSV"

AT_ONCE = 1000
"""Octets typed that the editor is given: of more at once the terminal takes some in each turn of the reactor."""

STREAMS = [
    b"show queue\r\n",
    b"\xff\xfd\x01\xff\xfd\x03\xff\xfb\x1f\xff\xfb\x18op\r\0secret\r\n",
    b"\xff\xfa\x1f\0\x50\0\x18\xff\xf0\xff\xfa\x18\0xterm-256color\xff\xf0x",
    b"\xff\xf4\xff\xfd\x06a\xff\xf7b\xff\xf8\xff\xf6",
    b"a\xff\xffb\r\n\xff\xfe\x01\xff\xfc\x18",
]
TELNET = [bytes((code,)) for code in (255, 250, 240, 251, 252, 253, 254, 246, 242, 0, 10, 13, 1, 3, 6, 24, 31, 34, 39)]
TELNET += [b"\xff\xfa", b"\xff\xf0", b"\r\0", b"\r\n", b"\xff\xff", b"\xff\xfd\x01", b"\xff\xfb\x1f", b"x" * 600]


def joined(events):
    """Return events with data side by side put together: how that is cut does not matter."""
    out = []
    for event in events:
        if isinstance(event, Data) and out and isinstance(out[-1], Data):
            out.append(Data(out.pop().data + event.data))
        else:
            out.append(event)
    return out


def read_codec(pieces):
    codec = Codec()
    events = [event for piece in pieces for event in codec.receive(piece)]
    whole = b"".join(pieces)
    size = 0
    for event in events:
        if isinstance(event, Data):
            assert event.data
            assert not {0, 10} & set(event.data)
        size += len(event.data) if isinstance(event, Data | Subnegotiation) else 0
    assert size <= len(whole)
    if len(whole) < 20_000:  # what is read twice takes twice the time
        assert joined(events) == joined(Codec().receive(whole))
    return any(not isinstance(event, Data) for event in events)


def read_telnet(pieces):
    """Never answers with more than came in, but for what it opens with."""
    session = TelnetSession()
    session.open()
    session.take()
    received = sent = 0
    for piece in pieces:
        session.receive(piece)
        received += len(piece)
        sent += len(session.take())
        assert sent <= received + 30
    return sent > 0


TYPED = [
    b"show queue\r",
    b"sh q\t?",
    b"a\x01b\x05c\x0b\x19\r",
    b"\x1b[A\x1b[B\x1b[D\x1b[C\x7f\r",
    "h\u00e4\u6f22e\u0301\r".encode(),
]
KEYS = [
    b"\x1b[D",
    b"\x1b[C",
    b"\x1b[A",
    b"\x1b[B",
    b"\x1b",
    b"[",
    b"\x1bOH",
    b"\x1b[3~",
    b"\x1b[1;5D",
    b"\xc3",
    b"\xa9",
    b"a",
    b"?",
    b" ",
]
KEYS += [bytes((code,)) for code in range(32)] + [
    b"\x7f",
    b'"',
    "\u6f22".encode(),
    "\u202e".encode(),
    b"\xe2\x80",
    b"\x9b",
]


def make_typing(rng):
    return rng.choice(list(Drawing)), pieces_of(rng, spoiled(rng, TYPED, KEYS, 6)[:AT_ONCE], 4)


def read_typing(given):
    drawing, pieces = given
    editor = LineEditor(History(["show queue", "x" * 60]))
    editor.display.drawing, editor.display.columns = drawing, 40
    editor.begin("mx1> ", limit=60)
    editor.take()
    reader = KeyReader()
    over = False
    for piece in pieces:
        size = 0
        for press in reader.feed(piece):
            if isinstance(press, str | Key) and editor.press(press) is not None:
                editor.begin("mx1> ", limit=60)
                size += 8
                over = True
        output = editor.take()
        assert len(output) <= 100 * len(piece) + size + 400  # a key draws one line at most
        assert drawing is Drawing.FULL or "\x1b" not in output
        assert not re.search("[\x80-\x9f\u202a-\u202e]", output)
    return over


@cache
def grammar():
    return Grammar(commands())


LINES = [
    "show queue deferred limit 5 | count",
    "show queue where domain=x.example and age>1h",
    f"hold {ID}.1 reason why",
    "retry where (size>5M or not bounce) and rcpt=*@x.example confirm",
    "user add bo role viewer password s3cret-word",
    "alias add a@x.example b@x.example",
    'help show "queue" now',
    f"delete {ID} dry-run",
    "show mailbox ann@x.example",
    "block peer 192.0.2.0/24 for 1h",
    "trace session where peer=192.0.2.1",
]


@cache
def line_pieces():
    words = sorted({word.text for command in commands() for word in command.words})
    signs = [
        *"|#!\"'\\~*?=<>(),@ \t\x00",
        "\x1b]0;x\x07",
        "\u00e9",
        "\u6f22",
        "\ud800",
        "\u202e",
        " where ",
        " and ",
        " not ",
        "@7",
        "-1",
    ]
    return [
        *(f" {word} " for word in words),
        *signs,
        " last ",
        " limit 5",
        " reason x",
        " | grep x",
        " | sort age",
        ID,
        "9" * 30,
        "\u00b2",
        "S\u00b2",
    ]


def make_line(rng):
    return spoiled(rng, LINES, line_pieces(), 5), rng.random() < 0.3


def read_line(given):
    line, completing = given
    try:
        if completing:
            grammar().options(line, NOW, lambda command: True)
        else:
            grammar().parse(line, NOW)
    except CommandError as error:
        assert error.code
        return False
    return True


WHERES = [
    "domain=gmail.com and age>1h",
    "state in (deferred,hold) or not bounce",
    "((size>=1k and code not in (450, 451)) or next<-5m)",
    'reason="rate limit" and subject !~ "(?i)^a+[0-9]"',
    f"id={ID}.2 or peer in (10.0.0.0/8, 192.0.2.1)",
    "last>yesterday header:x=*y*",
    "from=a? and to!=ann@x.example",
]
TESTS = [
    *'()=<>!~,|"\\*? \t\x00',
    " and ",
    " or ",
    " not ",
    " in ",
    "<=",
    "!~",
    " limit ",
    " reason ",
    "age",
    "size",
    "id",
    "peer",
]
TESTS += [
    'subject~"\ud800"',
    "header:x",
    "1h",
    "5M",
    "10.0.0.0/8",
    "450",
    "-2h",
    "(?i)",
    "a{1000}",
    "[",
    "\u00e9",
    "\ud800",
    "\u202e",
    "\x1b[2J",
    "9" * 30,
    "(((",
    "\u00b2",
]
OBJECTS = ["queue", "history", "mailbox", "mail", "session"]
KEPT = {"queue", "history", "mailbox", "mail"}


def make_where(rng):
    return spoiled(rng, WHERES, TESTS), rng.choice(OBJECTS), rng.random() < 0.2


def read_where(given):
    """CommandError or a filter; one that is kept in the store becomes SQL with all that was typed as parameters."""
    text, of, completing = given
    try:
        expr = parse_where(Reader(text, completing=completing), of, NOW)
    except (CommandError, AtCursor):
        return False
    if of in KEPT and expr is not None:
        for dialect in ("sqlite", "postgresql"):
            try:
                compiled = compile_where(expr, of, dialect, NOW, regexp=dialect == "sqlite")
            except CommandError:
                return False
            assert compiled.sql.count("?") == len(compiled.params)
            assert "\ud800" not in compiled.sql
    return True


WORDS_OF_OURS = re.compile(r"[A-Za-z_]+|[0-9]+|'[@!]?'")
THEIRS = {"DROP", "TABLE", "alice", "bung", "example", "EXAMPLE", "limit", "421", "shop", "s", "ids"}


def make_expr(rng):
    of = rng.choice(sorted(KEPT))
    return random_expr(rng, of), of, rng.choice(("sqlite", "postgresql"))


def read_expr(given):
    """Any filter compiles, with no word of the operator's in it."""
    expr, of, dialect = given
    compiled = compile_where(expr, of, dialect, NOW, regexp=dialect == "sqlite")
    assert compiled.sql.count("?") == len(compiled.params)
    assert not THEIRS & set(WORDS_OF_OURS.findall(compiled.sql))
    return True


PATTERNS = ["^a+[0-9]{2,5}$", "(?i)rate (limit|quota)", "*@x.example", "a?b*c", r"\bfoo\b|[^x-z]"]
META = [
    *"()[]{}*+?|^$.\\-,:=!<>Pi019",
    "(?",
    "(?P<a>",
    "{1000}",
    "{1001}",
    r"\1",
    r"\C",
    r"\p{L}",
    "\x00",
    "\u00e9",
    "\ud800",
    "(((((",
]


def read_pattern(text):
    good = False
    for make in (compile_regex, compile_glob):
        try:
            make(text)
            good |= make is compile_regex
        except PatternError as why:
            assert "\n" not in str(why)
    return good


ETC = pathlib.Path(__file__).resolve().parents[2] / "etc"


@cache
def node_files():
    sample = (ETC / "netsvc.toml").read_text()
    bare = "\n".join(line.removeprefix("#") for line in sample.split("\n") if re.match(r"#?[a-z_\[\"*]", line))
    parts = [part for part in re.split(r"\n(?=\[)", bare) if len(part) < 2000]
    return [*parts, (ETC / "quickstart.toml").read_text()]


TOML = [
    *"[]{}=\"'\\#,.\n -0*@:/",
    "\n[site]\n",
    "true",
    "1",
    '"x"',
    "[]",
    "{}",
    "1e999",
    "nan",
    "1979-05-27",
    "\x00",
    "\ud800",
    "\u202e",
]
TOML += [
    "tcp:25",
    "systemd:",
    '"""',
    "5m",
    "1G",
    "::1",
    "a@b.example",
    "mx",
    "[10.0.0.1]:25",
    "\nprotocol = ",
    "\nendpoint = ",
    "9" * 30,
]
TOML += ["\n[[site.routes]]\n", "\n[smtp]\n", "\n[site.policies.x]\n", "10.0.0.0/99", "-1"]


@cache
def rooms():
    return Rooms({"smtp": smtp, "telnet": telnet}, check_route, protocols().policies)


def make_file(rng):
    text = spoiled(rng, node_files(), TOML)
    return text.encode("utf-8", "surrogatepass")


def read_file(raw):
    """A node, or complaints of one line each."""
    try:
        read_node(raw, pathlib.Path("x.toml"), Overrides(), rooms())
    except ConfigError as error:
        assert error.complaints
        for complaint in error.complaints:
            assert escape(str(complaint)) == str(complaint)
        return False
    return True


TARGETS = [
    Target("Telnet codec", lambda rng: pieces_of(rng, spoiled(rng, STREAMS, TELNET, 6), 4), read_codec, (0.3, 1.0)),
    Target("Telnet session", lambda rng: pieces_of(rng, spoiled(rng, STREAMS, TELNET, 6), 4), read_telnet, (0.1, 1.0)),
    Target("line editor", make_typing, read_typing, (0.1, 1.0), 0.5),
    Target("command language", make_line, read_line, (0.05, 0.9), 0.25),
    Target("filters", make_where, read_where, (0.1, 0.9)),
    Target("filters as SQL", make_expr, read_expr, (1.0, 1.0), 0.25),
    Target("patterns", lambda rng: spoiled(rng, PATTERNS, META), read_pattern, (0.1, 0.95)),
    Target("node file", make_file, read_file, (0.01, 0.9), 0.1),
]
