"""The reply parser: whole and in pieces, honest and hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.smtp.replies import MAX_LINE, MAX_LINES, MAX_REPLY, PeerError, PeerReply, ReplyParser


def parse(*pieces):
    parser = ReplyParser()
    out = []
    for piece in pieces:
        parser.feed(piece)
        while (reply := parser.next()) is not None:
            out.append(reply)
    return out


def test_one_line():
    [reply] = parse(b"250 2.1.0 Sender ok\r\n")
    assert reply == PeerReply(250, (b"2.1.0 Sender ok",))
    assert (reply.status, reply.words, reply.wire) == ("2.1.0", "Sender ok", "250 2.1.0 Sender ok")
    assert reply.positive
    assert not reply.negative
    assert not reply.permanent


def test_many_lines_are_one_reply():
    replies = parse(b"550-5.7.1 no\r\n550-5.7.1 not\r\n550 you\r\n221 bye\r\n")
    assert [r.code for r in replies] == [550, 221]
    assert replies[0].words == "no not you"
    assert replies[0].wire == "550 5.7.1 no / 5.7.1 not / you"
    assert replies[0].permanent
    assert replies[0].negative


@pytest.mark.parametrize("line", [b"250\r\n", b"250 \r\n", b"250\n"])
def test_no_text(line):
    [reply] = parse(line)
    assert reply == PeerReply(250, (b"",))
    assert reply.words == reply.status == ""


def test_status_of_another_class_is_no_status():
    [reply] = parse(b"450 5.1.1 odd\r\n")
    assert reply.status == ""
    assert reply.words == "5.1.1 odd"


@pytest.mark.parametrize("text", [b"4.7.1", b"4.7.1 later"])
def test_status_alone(text):
    [reply] = parse(b"450 " + text + b"\r\n")
    assert reply.status == "4.7.1"


def test_words_are_escaped():
    [reply] = parse(b"550 \x1b[31m\xff\x07 \xe2\x80\xae\r\n")
    assert reply.words == "\\x1b[31m\\xff\\x07 \\u{202E}"
    assert "\x1b" not in reply.wire


@pytest.mark.parametrize(
    "line",
    [
        b"\r\n",
        b"hello\r\n",
        b"25 ok\r\n",
        b"2500 ok\r\n",
        b"150 no such class\r\n",
        b"650 no such class\r\n",
        b"250+ok\r\n",
        b"250-a\r\n251 b\r\n",
        b"250 a\rb\r\n",
        b"250 a\0b\r\n",
        b" 250 ok\r\n",
        "２５０ ok\r\n".encode(),
    ],
)
def test_what_is_not_a_reply(line):
    with pytest.raises(PeerError):
        parse(line)


def test_line_limit():
    longest = b"250 " + b"a" * (MAX_LINE - 6) + b"\r\n"
    assert len(parse(longest)) == 1
    for pieces in ([b"250 " + b"a" * (MAX_LINE - 5) + b"\r\n"], [b"2" * MAX_LINE], [b"250 "] + [b"a"] * MAX_LINE):
        with pytest.raises(PeerError):
            parse(*pieces)


def test_line_count_limit():
    assert len(parse(b"250-a\r\n" * (MAX_LINES - 1) + b"250 a\r\n")) == 1
    with pytest.raises(PeerError):
        parse(b"250-a\r\n" * (MAX_LINES + 1))


def test_reply_size_limit():
    line = b"250-" + b"a" * 1990 + b"\r\n"
    with pytest.raises(PeerError):
        parse(line * (MAX_REPLY // len(line) + 1))


def test_bytewise_is_the_same():
    wire = b"220 hi\r\n250-a\r\n250-SIZE 10\r\n250 b\r\n354\r\n"
    assert parse(*[wire[i : i + 1] for i in range(len(wire))]) == parse(wire)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_cuts_do_not_matter(pieces):
    def told(*parts):
        out = []
        parser = ReplyParser()
        try:
            for part in parts:
                parser.feed(part)
                while (reply := parser.next()) is not None:
                    out.append(reply)
        except PeerError:
            out.append("error")
        return out

    assert told(*pieces) == told(b"".join(pieces))
