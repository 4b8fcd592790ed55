"""The one table of replies."""

import pickle
import re

import pytest

from netsvc.mail import reply
from netsvc.mail.reply import MAILBOX_FULL, MAX_TEXT, Reply, ReplyError


@pytest.mark.parametrize("name", sorted(reply.TABLE))
def test_every_row_is_fit_for_the_wire(name):
    row = reply.TABLE[name]
    assert 200 <= row.code < 600
    assert row.lines
    if row.status:
        assert re.fullmatch(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", row.status)
        assert row.status[0] == str(row.code)[0]
    else:
        assert row.code in {220, 250, 354}
    wire = bytes(row)
    assert wire.isascii()
    assert wire.endswith(b"\r\n")
    for line in wire.split(b"\r\n")[:-1]:
        assert len(line) <= 510
        assert re.match(rb"[2-5][0-9]{2}[ -]", line)


def test_lines_but_the_last_are_continued():
    assert bytes(Reply(250, "", ("one", "two"))) == b"250-one\r\n250 two\r\n"
    assert bytes(Reply(214, "2.0.0", ("one", "two"))) == b"214-2.0.0 one\r\n214 2.0.0 two\r\n"


def test_filled_words_are_made_safe_and_cut():
    filled = reply.UNKNOWN_PARAMETER.fill(name="X\r\n250 forged\x1b[2J\u202e{why}")
    assert filled.lines == ("Parameter X\\x0d\\x0a250 forged\\x1b[2J\\u{202E}{why} not recognized or not implemented",)
    assert bytes(filled).count(b"\r\n") == 1
    assert len(reply.UNKNOWN_PARAMETER.fill(name="x" * 1000).text) < 260
    assert bytes(Reply(550, "5.0.0", ("\u00fc" * 3 + "x" * 2000,))).isascii()
    assert len(bytes(Reply(550, "5.0.0", ("x" * 2000,)))) == MAX_TEXT + len("550 5.0.0 \r\n")


def test_kinds():
    assert reply.OK.positive
    assert reply.START_MAIL.positive
    assert not reply.NO_SPACE.positive
    assert not reply.NO_SPACE.permanent
    assert reply.UNKNOWN_USER.permanent
    assert reply.HELP.text == " ".join(reply.HELP.lines)


def test_an_error_keeps_reply_and_cause():
    error = ReplyError(reply.NO_SPACE, "ENOSPC")
    assert error.reply is reply.NO_SPACE
    assert error.cause == "ENOSPC"
    assert str(error) == "452 4.3.1 Insufficient system storage (ENOSPC)"
    assert str(ReplyError(reply.NO_SPACE)) == "452 4.3.1 Insufficient system storage"


def test_an_error_can_travel_to_another_process():
    error = ReplyError(MAILBOX_FULL, "cause")
    again = pickle.loads(pickle.dumps(error))
    assert (again.reply, again.cause, str(again)) == (error.reply, "cause", str(error))
