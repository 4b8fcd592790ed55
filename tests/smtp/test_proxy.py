"""The header of the PROXY protocol, in both versions, however it is cut, and nothing else."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.smtp.proxy import SIGNATURE, V1_LIMIT, V2_LIMIT, ProxyError, ProxyHeader, ProxyReader

FOUR = bytes([192, 0, 2, 1, 192, 0, 2, 9]) + struct.pack("!HH", 40000, 25)
SIX = bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002") + struct.pack("!HH", 1, 2)


def binary(data=FOUR, command=0x21, family=0x11):
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(data)) + data


GOOD = {
    b"PROXY TCP4 192.0.2.1 192.0.2.9 40000 25\r\n": ProxyHeader(1, "192.0.2.1", 40000, "192.0.2.9", 25),
    b"PROXY TCP6 2001:db8::1 2001:DB8::2 65535 0\r\n": ProxyHeader(1, "2001:db8::1", 65535, "2001:db8::2", 0),
    b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n": ProxyHeader(1, "192.0.2.1", 1, "::1", 2),
    b"PROXY UNKNOWN\r\n": ProxyHeader(1),
    b"PROXY UNKNOWN ffff::1 what ever 1 2 3 \xff\r\n": ProxyHeader(1),
    b"PROXY UNKNOWN " + b"x" * (V1_LIMIT - 16) + b"\r\n": ProxyHeader(1),
    binary(): ProxyHeader(2, "192.0.2.1", 40000, "192.0.2.9", 25),
    binary(SIX, family=0x21): ProxyHeader(2, "2001:db8::1", 1, "2001:db8::2", 2),
    binary(FOUR + b"\x04\x00\x03abc"): ProxyHeader(2, "192.0.2.1", 40000, "192.0.2.9", 25),
    binary(FOUR + bytes(V2_LIMIT - 28)): ProxyHeader(2, "192.0.2.1", 40000, "192.0.2.9", 25),
    binary(b"", command=0x20, family=0): ProxyHeader(2),
    binary(FOUR, command=0x20): ProxyHeader(2),
    binary(b"", command=0x20, family=0xFF): ProxyHeader(2),
    binary(b"\x04\x00\x00", family=0): ProxyHeader(2),
    binary(bytes(216), family=0x31): ProxyHeader(2),
}


@pytest.mark.parametrize("header", GOOD)
@pytest.mark.parametrize("rest", [b"", b"EHLO c\r\n", b"PROXY UNKNOWN\r\n", b"\n"])
def test_good_ones_whole_and_octet_by_octet(header, rest):
    whole = ProxyReader()
    assert whole.feed(header + rest) == GOOD[header]
    assert whole.rest == rest
    reader = ProxyReader()
    found = [reader.feed(bytes([octet])) for octet in header]
    assert found == [None] * (len(header) - 1) + [GOOD[header]]
    assert reader.rest == b""


def octet_by_octet(data):
    reader = ProxyReader()
    for octet in data:
        reader.feed(bytes([octet]))


@pytest.mark.parametrize(
    "data",
    [
        b"EHLO client.example\r\n",
        b"PROXX",
        b"PX",
        b"\r\n\r\n\x00\r\nQUIT\r",
        b"\r\n\r\nx",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP5 192.0.2.1 192.0.2.9 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2 3\r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.9 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 -1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 \xb2 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 999999 2\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.9 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.9 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY UNKNOWN" + b"x" * V1_LIMIT,
        b"PROXY UNKNOWN" + b" " * V1_LIMIT + b"\r\n",
        b"proxy unknown\r\n",
        binary(command=0x22),
        binary(command=0x11),
        binary(family=0x12),
        binary(family=0x22),
        binary(family=0x32),
        binary(FOUR[:-1]),
        binary(SIX[:-1], family=0x21),
        binary(bytes(215), family=0x31),
        binary(bytes(V2_LIMIT - 15)),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_bad_ones(data):
    with pytest.raises(ProxyError):
        ProxyReader().feed(data)
    with pytest.raises(ProxyError):
        octet_by_octet(data)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda tail: SIGNATURE + tail),
        st.binary(max_size=120).map(lambda tail: b"PROXY TCP" + tail),
    ),
    st.integers(0, 300),
)
def test_anything_gives_the_same_however_cut(data, cut):
    def outcome(*pieces):
        reader = ProxyReader()
        try:
            for at, piece in enumerate(pieces):
                header = reader.feed(piece)
                if header is not None:
                    return header, reader.rest + b"".join(pieces[at + 1 :])
        except ProxyError:
            return "bad"
        return None

    assert outcome(data) == outcome(data[:cut], data[cut:])
