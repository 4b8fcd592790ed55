"""The terminal by itself: modes, pages, back-pressure, and what is typed at the wrong moment."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from netsvc.commands import Completion
from netsvc.console.outflow import OUTPUT_LIMIT, PATIENCE_SECONDS, Outflow
from netsvc.console.pager import Pager, listing
from netsvc.console.terminal import Terminal
from netsvc.telnet.display import Drawing
from netsvc.telnet.editor import Cancelled, EndOfInput, Submitted


class Wire:
    def __init__(self):
        self.text = ""
        self.holding = []
        self.waiting = None

    def send(self, text):
        self.text += text

    def pressure(self):
        return self.waiting

    def hold(self, on):
        self.holding.append(on)

    def taken(self):
        text, self.text = self.text, ""
        return text


class Seat:
    """A terminal, its wire and its clock."""

    def __init__(self, drawing=Drawing.FULL):
        self.wire = Wire()
        self.clock = Clock()
        self.terminal = Terminal(self.wire, self.clock)
        self.terminal.draw_as(drawing)
        self.read = []

    def ask(self, prompt="mx1> ", **how):
        self.terminal.read(prompt, **how).addCallback(self.read.append)
        return self.wire.taken()


def test_a_program_says_stop_to_what_it_watches():
    seat = Seat(Drawing.SILENT)
    cancelled = []
    seat.terminal.running = Deferred(cancelled.append)
    seat.terminal.running.addErrback(lambda _: None)
    seat.terminal.feed(b"stop\r")
    assert not cancelled  # what runs shows no stream: the line is the next command's
    seat.terminal.streaming = lambda: True
    seat.terminal.feed(b"show version\r")
    assert cancelled
    seat.ask("")
    assert [answer.line for answer in seat.read] == ["show version"]


def test_what_is_written_while_somebody_edits_stands_above_the_line():
    seat = Seat()
    seat.ask()
    seat.terminal.feed(b"sho")
    seat.wire.taken()
    assert seat.terminal.write("note") is None
    assert seat.wire.taken() == "\nnote\nmx1> sho"
    seat.wire.waiting = Deferred()
    assert seat.terminal.write("note\n") is seat.wire.waiting


def test_nothing_is_written_once_it_is_closed():
    seat = Seat()
    seat.terminal.close()
    seat.wire.taken()
    assert seat.terminal.write("late") is None
    assert seat.terminal.write("") is None
    assert seat.wire.taken() == ""


def test_whoever_reads_when_it_closes_hears_of_the_end():
    seat = Seat()
    seat.ask()
    seat.terminal.close()
    assert seat.read == [EndOfInput()]
    seat.ask()
    assert seat.read == [EndOfInput(), EndOfInput()]


def test_a_lone_escape_is_forgotten_after_a_tenth_of_a_second():
    seat = Seat()
    seat.ask()
    seat.terminal.feed(b"a\x1b")
    seat.clock.advance(0.2)
    seat.terminal.feed(b"b\r")
    assert seat.read == [Submitted("ab")]
    seat.ask()
    seat.terminal.feed(b"\x1b")
    seat.terminal.feed(b"[A")
    seat.terminal.feed(b"\x1b")
    seat.terminal.close()
    assert seat.clock.getDelayedCalls() == []


def test_a_window_size_counts_only_where_it_may():
    seat = Seat()
    seat.terminal.feed(b"\x1b[8;50;100t")
    assert seat.terminal.width == 80
    seat.terminal.resizable = True
    seat.terminal.feed(b"\x1b[8;50;100t")
    assert (seat.terminal.width, seat.terminal.height) == (100, 50)


def test_reading_goes_on_when_the_queue_is_short_again():
    seat = Seat()
    seat.terminal.typed_ahead = 10
    seat.terminal.feed(b"0123456789ab\r")
    assert seat.wire.holding == [True]
    seat.terminal.feed(b"more more\r")
    seat.ask()
    assert seat.wire.holding == [True]
    seat.ask()
    assert seat.wire.holding == [True, False]


def test_a_question_is_refused_where_nobody_can_answer():
    seat = Seat()
    seat.terminal.interactive = False
    answers = []
    seat.terminal.ask("Go on?").addCallback(answers.append)
    seat.terminal.interactive = True
    seat.ask()
    seat.terminal.ask("Go on?").addCallback(answers.append)
    assert answers == [None, None]


def test_a_question_that_is_called_off_leaves_the_terminal_usable():
    seat = Seat()
    seat.ask()
    seat.terminal.feed(b"x\r")
    question = seat.terminal.ask("Go on?")
    question.addErrback(lambda failure: failure.type.__name__)
    question.cancel()
    seat.wire.taken()
    assert seat.ask() == "mx1> "
    old = seat.terminal.read
    seat.terminal.feed(b"\x03")
    assert seat.read == [Submitted("x"), Cancelled()]
    assert old


def test_calling_off_what_nobody_waits_for_changes_nothing():
    seat = Seat()
    first = seat.terminal.read("one ")
    seat.terminal._stop_reading(Deferred())
    first.addCallback(seat.read.append)
    seat.terminal.feed(b"x\r")
    assert seat.read == [Submitted("x")]
    seat.terminal._finish(EndOfInput())


def test_help_and_tab_without_anybody_to_ask():
    seat = Seat()
    seat.ask(assist=True)
    seat.terminal.feed(b"sh\t?")
    assert seat.wire.taken() == "sh\nmx1> sh"


def test_control_c_with_nothing_to_cancel_forgets_what_was_typed():
    seat = Seat()
    seat.terminal.feed(b"abc\x03x\r")
    seat.ask()
    assert seat.read == [Submitted("x")]


def test_progress_waits_for_nobody():
    seat = Seat()
    seat.terminal.progress("x" * 200)
    assert seat.wire.taken() == "\r" + "x" * 79 + "\x1b[K"
    seat.wire.waiting = Deferred()
    seat.terminal.progress("y")
    assert seat.wire.taken() == ""
    seat.wire.waiting = None
    seat.ask()
    seat.terminal.progress("z")
    assert "z" not in seat.wire.taken()


def test_more_output_while_a_page_waits_is_shown_behind_it():
    seat = Seat()
    fired = []
    seat.terminal.write("a\n" * 30).addCallback(fired.append)
    seat.terminal.write("b\n").addCallback(fired.append)
    assert seat.wire.taken().endswith("--More--")
    assert fired == []
    seat.terminal.feed(b" ")
    assert seat.wire.taken().count("a\n") == 7
    assert fired == [None, None]


def test_output_is_abandoned_while_a_page_waits():
    seat = Seat()
    waiting = seat.terminal.write("a\n" * 30)
    waiting.addErrback(lambda failure: None)
    waiting.cancel()
    seat.wire.taken()
    seat.terminal.discard_output()
    assert seat.terminal.write("b\n") is None
    assert "b" not in seat.wire.taken()
    seat.ask()
    seat.terminal.discard_output()
    assert seat.terminal.write("c") is None
    assert "c" in seat.wire.taken()


def test_a_page_that_waits_when_the_connection_goes():
    seat = Seat()
    fired = []
    seat.terminal.write("a\n" * 30).addCallback(fired.append)
    seat.terminal.close()
    assert fired == [None]


def test_drawing_the_same_way_again_draws_nothing():
    seat = Seat()
    seat.ask()
    seat.terminal.draw_as(Drawing.FULL)
    assert seat.wire.taken() == ""


# -- the pager


@given(st.lists(st.text("ab漢\n", max_size=30), max_size=20), st.integers(2, 9))
@settings(max_examples=200)
def test_pages_lose_nothing_and_are_never_longer_than_the_page(texts, page):
    pager = Pager()
    pager.page, pager.columns = page, 10
    for text in texts:
        pager.add(text)
    shown = []
    while not pager.empty:
        pager.restart()
        shown.append(pager.take())
        assert shown[-1]
        assert shown[-1].count("\n") <= page
    assert "".join(shown) == "".join(texts)


def test_a_line_that_is_continued_is_one_line():
    pager = Pager()
    pager.page = 3
    pager.add("a\nb")
    pager.add("c\nd")
    assert pager.take() == "a\nbc\n"
    assert pager.take() == ""
    pager.forget()
    assert pager.empty


def test_no_page_shows_everything():
    pager = Pager()
    pager.add("x\n" * 1000)
    assert pager.take() == "x\n" * 1000


def test_many_candidates_stand_side_by_side():
    text = listing(tuple((f"word{i}", "help") for i in range(1000)), 80)
    assert max(len(line) for line in text.split("\n")) < 80
    assert text.startswith("word0    word1")
    assert text.endswith("more\n")
    assert "more" not in listing(tuple((f"word{i}", "") for i in range(30)), 80)


@pytest.mark.parametrize("bad", ["\x1b]52;c;x\x07", "\r", "\n", "\0", "\xff\x9b2J", "\u202e", "\u2028", "\ufeff"])
def test_c23_what_tab_lists_is_made_safe(bad):
    seat = Seat()

    class Assistant:
        page_length = None

        def complete(self, line):
            return Completion(((f"a{bad}", bad), (f"b{bad}", bad)), "", "")

    seat.terminal.assistant = Assistant()
    seat.ask(assist=True)
    seat.terminal.feed(b"\t")
    shown = seat.wire.taken().replace("\n", "", 3)
    assert not any(c in shown for c in bad if not c.isprintable())


# -- the outflow


def outflow():
    clock, dropped = Clock(), []
    transport = StringTransport()
    return Outflow(transport, clock, str.encode, dropped.append), transport, clock, dropped


def test_a_client_that_does_not_read_makes_writers_wait():
    out, _transport, clock, dropped = outflow()
    assert out.pressure() is None
    out.pauseProducing()
    out.pauseProducing()
    waited = []
    out.pressure().addCallback(waited.append)
    abandoned = out.pressure()
    abandoned.addErrback(lambda failure: None)
    abandoned.cancel()
    assert waited == []
    out.resumeProducing()
    assert waited == [None]
    assert clock.getDelayedCalls() == []
    out.pauseProducing()
    clock.advance(PATIENCE_SECONDS)
    assert dropped == ["the client does not read"]


def test_writing_regardless_is_bounded():
    out, transport, _clock, dropped = outflow()
    out.pauseProducing()
    for _ in range(OUTPUT_LIMIT // 65536):
        out.write(b"x" * 65536)
    assert dropped == []
    out.write(b"x")
    assert dropped == ["the client does not read"]
    assert len(transport.value()) == OUTPUT_LIMIT


def test_after_the_end_nothing_is_written_and_nobody_waits():
    out, transport, clock, _dropped = outflow()
    out.pauseProducing()
    waited = []
    out.pressure().addCallback(waited.append)
    out.stopProducing()
    out.close()
    out.send("x")
    out.send("")
    assert waited == [None]
    assert out.pressure() is None
    assert transport.value() == b""
    assert transport.producer is None
    assert clock.getDelayedCalls() == []


def test_corked_writes_are_one():
    out, transport, _clock, _dropped = outflow()
    out.cork()
    out.send("a")
    out.send("b")
    assert transport.value() == b""
    out.uncork()
    assert transport.value() == b"ab"
