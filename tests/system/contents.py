"""Messages that are hard to keep byte for byte, by a word for what is nasty about each."""

from tests.system.wire import CRLF

HEAD = b"From: <a@example.net>\r\nSubject: x\r\n\r\n"
NASTY = {
    "dots": HEAD + b".\r\n..\r\n...\r\n.leading\r\n..two\r\nend.\r\n",
    "only_dots_at_end": HEAD + b"text\r\n.\r\n",
    "dot_first": b".\r\nnot a header\r\n",
    "eight_bit": HEAD + bytes(range(0x80, 0x100)) * 4 + CRLF,
    "utf8": HEAD + "Grüße — ελληνικά — 日本語 — 🙂\r\n".encode(),
    "invalid_utf8": HEAD + b"\xc0\xaf\xed\xa0\x80\xf8\x88\r\n",
    "controls": HEAD + bytes(b for b in range(1, 32) if b not in (10, 13)) + b"\x7f\r\n",
    "other_line_ends": HEAD + "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\r\n".encode() + b"\x85\r\n",
    "line_998": HEAD + b"x" * 998 + CRLF,
    "line_1000": HEAD + b"x" * 1000 + CRLF,
    "line_4097": HEAD + b"y" * 4097 + CRLF,
    "line_300k": HEAD + b"z" * 300_000 + CRLF,
    "header_line_20k": b"X-Long: " + b"h" * 20_000 + b"\r\n\r\nbody\r\n",
    "empty": b"",
    "empty_lines": CRLF * 9,
    "no_body": b"Subject: no body\r\n",
    "no_header": b"\r\nbody alone\r\n",
    "no_colon": b"this is no header\r\nnor is this\r\n\r\nbody\r\n",
    "folded": b"Subject: a\r\n b\r\n\tc\r\n \r\n\r\nbody\r\n",
    "own_trace": b"Return-Path: <forged@example.net>\r\nReceived: from nowhere; never\r\n" + HEAD + b"x\r\n",
    "from_line": HEAD + b"From the start\r\n>From quoted\r\n",
    "mbox_head": b"From a@example.net Mon Jan 1 00:00:00 2024\r\n" + HEAD + b"x\r\n",
    "smtp_inside": HEAD + b"MAIL FROM:<x@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nQUIT\r\n",
    "trailing_blanks": HEAD + b"a  \r\n\t\r\n   \r\n",
    "ends_in_empty_lines": HEAD + b"x\r\n\r\n\r\n\r\n",
    "iac": HEAD + b"\xff\xff\xfd\x03\xff\r\n\x1b]52;c;aGk=\x07\r\n",
    "one_mebibyte": HEAD + (b"." + b"0123456789" * 7 + CRLF) * 14_000,
}
