"""Questions and answers as octets; the answers are made by twisted.names, or by hand where it would not."""

import contextlib
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns

from netsvc.resolver import packets
from netsvc.resolver.packets import StrangePacketError, question, read, shown_value

NUMBER = 0x1234
NAME = "example.org"


def asked(kind="a", name=NAME, edns=True):
    return question(name.encode(), kind, NUMBER, edns=edns)


def answer(records=(), authority=(), *, kind="a", code=0, name=NAME, number=NUMBER, **flags):
    message = dns.Message(number, answer=1, rCode=code, recAv=1, maxSize=0, **flags)
    message.queries = [dns.Query(name, packets.KINDS[kind], dns.IN)]
    message.answers = list(records)
    message.authority = list(authority)
    return message.toStr()


def rr(payload, name=NAME, ttl=300, cls=dns.IN):
    return dns.RRHeader(name, payload.TYPE, cls, ttl, payload)


def soa(ttl=300, minimum=60):
    return dns.RRHeader("org", dns.SOA, dns.IN, ttl, dns.Record_SOA("a", "b", minimum=minimum))


def got(packet, kind="a"):
    return read(packet, asked(kind), NAME, kind)


def test_the_question_is_understood_by_others():
    message = dns.Message()
    message.fromStr(asked("mx"))
    assert (message.id, message.recDes, len(message.additional)) == (NUMBER, 1, 1)
    assert message.queries == [dns.Query(NAME, dns.MX, dns.IN)]
    message = dns.Message()
    message.fromStr(asked("mx", edns=False))
    assert message.additional == []


def test_values_with_the_least_ttl():
    reading = got(
        answer([rr(dns.Record_A("192.0.2.1")), rr(dns.Record_A("192.0.2.2"), ttl=60), rr(dns.Record_A("192.0.2.1"))])
    )
    assert (reading.values, reading.ttl, reading.code) == (("192.0.2.1", "192.0.2.2"), 60, 0)
    assert not reading.authentic
    assert got(answer([rr(dns.Record_A("192.0.2.1"))], authenticData=1)).authentic
    assert got(answer([rr(dns.Record_A("192.0.2.1"), ttl=2**31)])).ttl == 0
    assert got(answer([rr(dns.Record_A("192.0.2.1"), ttl=10**6)])).ttl == 86_400


def test_each_kind():
    assert got(answer([rr(dns.Record_AAAA("2001:DB8::1"))], kind="aaaa"), "aaaa").values == ("2001:db8::1",)
    assert got(answer([rr(dns.Record_MX(10, "MX.example.org"))], kind="mx"), "mx").values == ((10, "mx.example.org"),)
    assert got(answer([rr(dns.Record_MX(0, ""))], kind="mx"), "mx").values == ((0, ""),)
    assert got(answer([rr(dns.Record_TXT(b"a ", b"\xffb"))], kind="txt"), "txt").values == (b"a \xffb",)
    assert got(answer([rr(dns.Record_PTR("x.example"))], kind="ptr"), "ptr").values == ("x.example",)


def test_what_does_not_belong_to_the_question_is_passed_over():
    reading = got(
        answer(
            [
                rr(dns.Record_A("192.0.2.66"), name="evil.example"),
                rr(dns.Record_A("192.0.2.67"), cls=dns.CH),
                rr(dns.Record_TXT(b"x")),
                rr(dns.Record_CNAME("evil.example"), name="other.example"),
            ]
        )
    )
    assert reading.values == ()
    odd = answer([rr(dns.Record_PTR("a b\r\nc")), rr(dns.Record_PTR("good.example"))], kind="ptr")
    assert got(odd, "ptr").values == ("good.example",)
    long = answer([rr(dns.Record_TXT(*[b"x" * 255] * 17))], kind="txt")
    assert got(long, "txt").values == ()


def test_aliases():
    chain = [rr(dns.Record_CNAME("a.example"), ttl=9), rr(dns.Record_CNAME("b.example"), name="A.example")]
    reading = got(answer([*chain, rr(dns.Record_A("192.0.2.1"), name="b.example")]))
    assert (reading.values, reading.ttl, reading.chain, reading.alias) == (
        ("192.0.2.1",),
        9,
        ("a.example", "b.example"),
        "",
    )
    reading = got(answer(chain))
    assert (reading.values, reading.alias, reading.ttl) == ((), "b.example", 9)
    reading = got(answer(chain, [soa()]))
    assert (reading.values, reading.alias, reading.ttl) == ((), "", 9)
    reading = got(answer(chain, code=3))
    assert (reading.code, reading.alias) == (3, "")
    loop = [rr(dns.Record_CNAME("a.example")), rr(dns.Record_CNAME(NAME), name="a.example")]
    assert got(answer(loop)).code == packets.FAULT
    long = [rr(dns.Record_CNAME(f"c{n + 1}.example"), name=f"c{n}.example" if n else NAME) for n in range(12)]
    assert "chain" in got(answer(long)).why
    assert got(answer([rr(dns.Record_CNAME("a b"))])).alias == ""


def test_absence_and_faults():
    reading = got(answer([], [soa(ttl=300, minimum=60)], code=3))
    assert (reading.code, reading.values, reading.ttl) == (3, (), 60)
    assert got(answer([], [soa(ttl=30)])).ttl == 30
    assert got(answer()).ttl == -1
    assert got(answer([], [rr(dns.Record_NS("ns.example"))])).ttl == -1
    for code, why in ((2, "SERVFAIL"), (5, "REFUSED"), (9, "RCODE 9")):
        reading = got(answer(code=code))
        assert (reading.code, reading.why) == (code, why)
    bare = struct.pack("!6H", NUMBER, 0x8181, 0, 0, 0, 0)
    assert got(bare).code == 1
    assert got(answer(trunc=1)).truncated


def test_what_is_no_answer_to_the_question():
    good = answer([rr(dns.Record_A("192.0.2.1"))])
    for packet in (b"", good[:11], b"\0\0" + good[2:], asked(), answer(name="example.net"), answer(kind="mx")):
        with pytest.raises(StrangePacketError):
            got(packet)
    with pytest.raises(StrangePacketError):
        got(struct.pack("!6H", NUMBER, 0x8180, 0, 0, 0, 0))


def test_answers_that_are_too_much_are_faults():
    many = answer([rr(dns.Record_A(f"192.0.2.{n}")) for n in range(packets.MAX_RECORDS + 1)])
    assert "202 records" in got(many).why
    big = answer([rr(dns.Record_TXT(*[b"x" * 250] * 70))], kind="txt")
    assert got(big, "txt").code == packets.FAULT
    assert "cut short" in got(answer([rr(dns.Record_A("192.0.2.1"))])[:-2]).why
    pointer_to_itself = struct.pack("!H", 0xC000 | 29) + struct.pack("!HHIH", 1, 1, 60, 4) + b"\1\2\3\4"
    packet = struct.pack("!6H", NUMBER, 0x8180, 1, 1, 0, 0) + asked(edns=False)[12:] + pointer_to_itself
    assert "not understood" in got(packet).why


def test_tlsa():
    payload = dns.UnknownRecord(b"\x03\x01\x01" + b"\xab" * 32)
    record = dns.RRHeader(NAME, 52, dns.IN, 300, payload)
    assert got(answer([record], kind="tlsa"), "tlsa").values == ((3, 1, 1, b"\xab" * 32),)
    record = dns.RRHeader(NAME, 52, dns.IN, 300, dns.UnknownRecord(b"\x03"))
    assert got(answer([record], kind="tlsa"), "tlsa").values == ((3, 255, 255, b""),)


def test_mx_records_that_are_all_odd_are_a_fault():
    odd = rr(dns.Record_MX(10, "a b"))
    reading = got(answer([odd], kind="mx"), "mx")
    assert (reading.code, reading.values) == (packets.FAULT, ())
    assert got(answer([odd, rr(dns.Record_MX(20, "mx.example"))], kind="mx"), "mx").values == ((20, "mx.example"),)


def test_values_are_shown_escaped():
    assert shown_value(b"a\x1b") == "a\\x1b"
    assert shown_value((10, "mx.example")) == "10 mx.example"
    assert shown_value((0, "")) == "0 ."
    assert shown_value((3, 1, 1, b"\xab")) == "3 1 1 ab"
    assert shown_value("192.0.2.1") == "192.0.2.1"


@given(st.binary(max_size=300), st.sampled_from(sorted(packets.KINDS)))
def test_whatever_comes_is_an_answer_or_strange(tail, kind):
    head = struct.pack("!6H", NUMBER, 0x8180, 1, *(min(octet, 3) for octet in (tail[:3] + b"\1\1\1")[:3]))
    packet = head + asked(kind, edns=False)[12:] + tail[3:]
    got(packet, kind)


@given(st.binary(max_size=100))
def test_whatever_comes_at_all(packet):
    with contextlib.suppress(StrangePacketError):
        got(packet)


def test_the_worst_packet_is_soon_over():
    deep = b"\x01a" * 126 + b"\0"
    name = ".".join("a" * 126)
    at = struct.pack("!H", 0xC000 | 12)
    record = at + struct.pack("!HHIH", 5, 1, 60, 2) + at
    packet = struct.pack("!6H", NUMBER, 0x8180, 1, 199, 0, 0) + deep + struct.pack("!HH", 1, 1) + record * 199
    started = time.thread_time()
    read(packet, question(name.encode(), "a", NUMBER), name, "a")
    assert time.thread_time() - started < 0.5  # measured: 20 ms
