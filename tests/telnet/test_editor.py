"""The line editor before a terminal that draws what it is told: C8 C15 C17 C19 C22."""

import random
import re

import pytest
from wcwidth import wcwidth

from netsvc.telnet.display import BELL, Drawing
from netsvc.telnet.editor import (
    Cancelled,
    CompleteWanted,
    EndOfInput,
    HelpWanted,
    LineEditor,
    Submitted,
    TooLong,
)
from netsvc.telnet.history import History
from netsvc.telnet.keys import KeyReader


class Screen:
    """As much of a terminal as the editor is allowed to use."""

    def __init__(self, columns=80):
        self.columns = columns
        self.rows = [[]]
        self.at = 0
        self.bells = 0

    def write(self, text):
        for token in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|.", text, re.DOTALL):
            self.token(token)

    def token(self, token):
        row = self.rows[-1]
        if token == "\n":
            self.rows.append([])
            self.at = 0
        elif token == "\r":
            self.at = 0
        elif token == "\b":
            self.at -= 1
            assert self.at >= 0
        elif token == BELL:
            self.bells += 1
        elif token == "\x1b[K":
            del row[self.at :]
        elif token.startswith("\x1b[") and token.endswith("D"):
            self.at -= int(token[2:-1])
            assert self.at >= 0
        elif token in ("\x1b[H", "\x1b[2J"):
            self.rows = [[]]
            self.at = 0
        else:
            assert token.isprintable(), repr(token)
            width = wcwidth(token)
            if width == 0:
                row[max(self.at - 1, 0) : self.at or 1] = [(row[self.at - 1] if self.at else "") + token]
                return
            cells = [token] + [""] * (width - 1)
            row[self.at : self.at + width] = cells
            self.at += width

    @property
    def row(self):
        return "".join(self.rows[-1]).rstrip(" ")

    @property
    def text(self):
        return "\n".join("".join(r).rstrip(" ") for r in self.rows)


class Desk:
    """An editor, its keyboard and its screen."""

    def __init__(self, drawing=Drawing.FULL, columns=80, history=()):
        self.editor = LineEditor(History(history))
        self.editor.display.drawing = drawing
        self.editor.display.columns = columns
        self.screen = Screen(columns)
        self.reader = KeyReader()

    def begin(self, prompt="mx1> ", **how):
        self.editor.begin(prompt, **how)
        self.screen.write(self.editor.take())
        return self

    def type(self, data):
        events = []
        for press in self.reader.feed(data if isinstance(data, bytes) else data.encode()):
            event = self.editor.press(press)
            if event is not None:
                events.append(event)
        self.output = self.editor.take()
        self.screen.write(self.output)
        return events


FULL, PLAIN, SILENT = Drawing.FULL, Drawing.PLAIN, Drawing.SILENT


def test_typing_echoes_just_what_is_typed():
    desk = Desk().begin()
    for char in "show":
        desk.type(char)
        assert desk.output == char
    assert desk.type("\r") == [Submitted("show")]
    assert desk.output == "\n"


def test_an_empty_history_is_made_when_none_is_given():
    assert LineEditor().history.lines == ()


def test_editing_in_the_middle_redraws_the_row():
    desk = Desk().begin()
    desk.type(b"shw\x1b[Do")
    assert (desk.screen.row, desk.screen.at) == ("mx1> show", 8)
    desk.type(b"\x05!")
    assert desk.screen.row == "mx1> show!"
    assert desk.type(b"\x01x\r") == [Submitted("xshow!")]
    assert desk.screen.text == "mx1> xshow!\n"


def test_c15_backspace_and_kills():
    desk = Desk().begin()
    assert desk.type(b"abc\x08\x7f de f\x17\x17z\x15q\r") == [Submitted("q")]


def test_c17_wide_characters():
    desk = Desk().begin()
    desk.type("漢字e\u0301")
    assert (desk.screen.row, desk.screen.at) == ("mx1> 漢字e\u0301", 10)
    desk.type(b"\x02\x02")
    assert desk.screen.at == 7
    desk.type(b"\x7f")
    assert (desk.screen.row, desk.screen.at) == ("mx1> 字e\u0301", 5)


def test_a_long_line_scrolls_sideways():
    desk = Desk(columns=20).begin()
    desk.type("abcdefghijklmnopqrstuvwxyz")
    assert desk.screen.row.startswith("mx1> ")
    assert desk.screen.row.endswith("xyz")
    assert desk.screen.at < 20
    desk.type(b"\x01")
    assert (desk.screen.row, desk.screen.at) == ("mx1> abcdefghijklmn", 5)
    assert desk.type(b"\r") == [Submitted("abcdefghijklmnopqrstuvwxyz")]


@pytest.mark.parametrize("seed", range(6))
def test_the_screen_always_shows_the_line_around_the_cursor(seed):
    rng = random.Random(seed)
    moves = [
        b"\x1b[D",
        b"\x1b[C",
        b"\x01",
        b"\x05",
        b"\x7f",
        b"\x04",
        b"\x17",
        b"\x19",
        b"\x1bb",
        b"\x1bf",
        b"\x1bd",
        b"\x0b",
    ]
    texts = ["a", "xyz", " ", "漢", "e\u0301", "-x"]
    columns = rng.choice([20, 31, 80])
    desk = Desk(columns=columns).begin()
    for _ in range(400):
        data = b"".join(
            rng.choice(moves) if rng.random() < 0.4 else rng.choice(texts).encode() for _ in range(rng.randrange(1, 5))
        )
        if desk.editor.empty:
            data = data.replace(b"\x04", b"")
        desk.type(data)
        line = desk.editor._line
        assert "".join(desk.screen.rows[-1][:5]) == "mx1> "
        shown = "".join(desk.screen.rows[-1][5:])
        assert shown in line.text
        assert 5 <= desk.screen.at < columns
        before = "".join(desk.screen.rows[-1][5 : desk.screen.at])
        assert line.left.endswith(before)
        if sum(max(wcwidth(c[0]), 0) for c in line.clusters) < columns - 6:
            assert (shown, before) == (line.text, line.left)


def test_c22_a_plain_terminal_gets_no_cursor_movement():
    desk = Desk(PLAIN).begin()
    desk.type(b"abc\x1b[D\x01\x05\x0c\x0bd\x7fe\x04")
    assert desk.screen.row == "mx1> abce"
    assert "\x1b" not in desk.output
    assert "\r" not in desk.output
    assert desk.type(b"\r") == [Submitted("abce")]


def test_plain_backspace_takes_back_one_character():
    desk = Desk(PLAIN).begin()
    desk.type("ab漢")
    desk.type(b"\x7f")
    assert desk.output == "\b \b\b \b"
    desk.type(b"\x7f\x7f\x7f")
    assert desk.screen.row == "mx1>"
    desk.type(b"a\x7fb")
    assert desk.output == "b"


def test_plain_lines_that_wrapped_are_shown_again():
    desk = Desk(PLAIN, columns=20).begin()
    desk.type("x" * 30)
    desk.type(b"\x7f")
    assert desk.output == "\nmx1> " + "x" * 29


def test_c8_a_client_in_line_mode_is_not_echoed_to():
    desk = Desk(SILENT).begin()
    assert desk.screen.row == "mx1>"
    assert desk.type(b"show\x09 q\x1b[A\x0cueue\r") == [Submitted("show queue")]
    assert desk.output == ""


def test_line_mode_help_is_a_trailing_word():
    desk = Desk(SILENT).begin()
    assert desk.type("show ?\r") == [HelpWanted("show ")]
    assert desk.editor.aside("queue\n") == "queue\nmx1> "
    assert desk.type("? \r") == [HelpWanted("")]
    assert desk.type('hold x reason "why ?"\r') == [Submitted('hold x reason "why ?"')]


def test_c8_the_drawing_may_change_in_the_middle_of_a_line():
    desk = Desk(SILENT).begin()
    desk.type("sho")
    desk.editor.display.drawing = FULL
    assert desk.type("w") == []
    assert desk.screen.row == "mx1> show"
    desk.editor.display.drawing = FULL
    desk.editor.display.drawing = PLAIN
    desk.type(" q\x7f\x7f")
    assert desk.screen.row == "mx1> show"
    assert desk.type("\r") == [Submitted("show")]


def test_a_terminal_that_turns_out_plain_gets_its_line_on_a_fresh_row():
    desk = Desk(FULL).begin()
    desk.type(b"sow\x1b[D\x1b[D")
    desk.editor.display.drawing = PLAIN
    assert desk.type(b"!\r") == [Submitted("sow!")]
    assert desk.screen.text == "mx1> sow\nmx1> sow!\n"


def test_silent_to_plain_shows_what_was_typed():
    desk = Desk(SILENT).begin()
    desk.type("sho")
    desk.editor.display.drawing = PLAIN
    desk.type("w")
    assert desk.output == "show"


@pytest.mark.parametrize("drawing", Drawing)
def test_c24_a_secret_is_never_shown_nor_kept(drawing):
    desk = Desk(drawing).begin("Password: ", secret=True)
    assert desk.type(b"s3cr?t\t\x15hunter 2\x7f3\r") == [Submitted("hunter 3")]
    assert desk.screen.text.strip() == "Password:"
    desk.begin()
    desk.type(b"\x19\x1b[A\r")
    assert "hunter" not in desk.screen.text
    assert "s3cr" not in desk.screen.text


def test_question_mark_asks_for_help_and_the_line_stays():
    desk = Desk().begin()
    assert desk.type("show ?") == [HelpWanted("show ")]
    desk.screen.write(desk.editor.aside("queue\nmessage\n"))
    assert desk.screen.text == "mx1> show\nqueue\nmessage\nmx1> show"
    desk.type("q")
    assert desk.screen.row == "mx1> show q"


@pytest.mark.parametrize("typed", [b'a "b?\r', b"a \x16?\r"])
def test_question_mark_is_literal_in_quotes_and_after_control_v(typed):
    desk = Desk().begin()
    assert desk.type(typed) == [Submitted(typed.decode().replace("\x16", "").strip())]


def test_control_v_counts_for_one_key():
    desk = Desk().begin()
    assert desk.type(b"\x16a?") == [HelpWanted("a")]


def test_without_assistance_question_mark_and_tab_mean_nothing():
    desk = Desk(history=["old"]).begin("Go on? [y/N] ", assist=False)
    assert desk.type(b"?\t\x1b[A\x10\x12\r") == [Submitted("?")]


def test_tab_wants_completion():
    desk = Desk().begin()
    assert desk.type("sh\t") == [CompleteWanted("sh")]
    desk.screen.write(desk.editor.offer("ow ", ""))
    assert desk.screen.row == "mx1> show"
    assert desk.type("\t") == [CompleteWanted("show ")]
    desk.screen.write(desk.editor.offer("", "queue  message\n"))
    assert desk.screen.text == "mx1> show\nqueue  message\nmx1> show"
    assert desk.editor.offer("", "") == BELL
    assert desk.type("x\r") == [Submitted("show x")]


def test_c15_control_c_drops_the_line():
    desk = Desk().begin()
    assert desk.type(b"delete all\x03") == [Cancelled()]
    assert desk.screen.text == "mx1> delete all^C\n"
    desk.begin()
    assert desk.type(b"x\r") == [Submitted("x")]
    silent = Desk(SILENT).begin()
    assert silent.type(b"abc\x03") == [Cancelled()]
    assert silent.output == "\n"


def test_c15_control_d_on_an_empty_line_is_the_end():
    desk = Desk().begin()
    assert desk.type(b"\x04") == [EndOfInput()]
    assert desk.type(b"ab\x01\x04\r") == [Submitted("b")]


@pytest.mark.parametrize("drawing", Drawing)
def test_c19_a_line_too_long_is_refused_whole(drawing):
    desk = Desk(drawing).begin(limit=10)
    assert desk.type("delete where x\r") == [TooLong()]
    assert desk.screen.bells == (0 if drawing is SILENT else 1)
    desk.begin(limit=10)
    assert desk.type("ok\r") == [Submitted("ok")]
    desk.begin(limit=10)
    desk.type("delete where x")
    desk.type("yz")
    assert desk.type(b"\x15ok\r") == [Submitted("ok")]


def test_history_by_keys():
    desk = Desk(history=["show queue", "hold x"]).begin()
    desk.type(b"dr\x1b[A")
    assert desk.screen.row == "mx1> hold x"
    desk.type(b"\x10\x10")
    assert desk.screen.row == "mx1> show queue"
    assert desk.screen.bells == 1
    desk.type(b"\x0e\x1b[B")
    assert desk.screen.row == "mx1> dr"
    desk.type(b"\x15show\x12")
    assert desk.screen.row == "mx1> show queue"
    desk.type(b"\x15\x1b.")
    assert desk.screen.row == "mx1> x"
    desk.type(b"\x1a")
    assert desk.screen.row == "mx1> x"


def test_control_l_clears_the_screen():
    desk = Desk().begin()
    desk.type(b"abc\x0c")
    assert desk.screen.text == "mx1> abc"


def test_a_prompt_of_several_lines_keeps_its_last_in_front():
    desk = Desk().begin("Hold 3 items.\nGo on? [y/N] ")
    desk.type(b"yx\x7f")
    assert desk.screen.text == "Hold 3 items.\nGo on? [y/N] y"
