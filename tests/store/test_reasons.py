"""Reasons: few forms of many texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.store import reasons
from netsvc.store.reasons import Reasons, form, normalise, reason_id

PAIRS = [
    ("4.7.1 Greylisted, see http://grey.example/help?q=1", "4.7.1 Greylisted, see <url>"),
    ("Client host [192.0.2.1] blocked using zen.spamhaus.org", "Client host [<ip>] blocked using zen.spamhaus.org"),
    ("<ann@example.org>: no such user", "<<address>>: no such user"),
    ("queued as 4ARZ3NDEKTSV with 17 of 123456", "queued as <id> with 17 of <n>"),
    ("[2001:db8::1] said no", "[<ip>] said no"),
    ("try x123456 again", "try x<n> again"),
    ("two\r\nlines\t and  gaps", "two\\x0d\\x0alines\\x09 and gaps"),
    ("451 4.7.28 plain", "451 4.7.28 plain"),
    ("well-known-words-only stay", "well-known-words-only stay"),
]


@pytest.mark.parametrize(("text", "expected"), PAIRS)
def test_what_differs_becomes_a_placeholder(text, expected):
    assert normalise(text) == expected


@given(st.text(max_size=3000))
def test_any_text_becomes_one_bounded_line(text):
    shown = normalise(text)
    assert len(shown) <= reasons.TEXT
    assert "\n" not in shown
    assert shown == " ".join(shown.split())


def test_long_texts_take_no_time():
    for text in ("a@" * 5000, ":" * 9000, "http://" + "x" * 9000, "1." * 5000, "a:b:" * 3000):
        normalise(text)


@pytest.mark.parametrize(
    ("fault", "reply", "expected"),
    [
        (Fault.CONNECT_TIMEOUT, "connect 192.0.2.1:25 timed out", "conn timeout"),
        (Fault.CONNECT_REFUSED, "", "conn refused"),
        (Fault.TLS, "handshake", "tls failed"),
        (Fault.DNS, "NXDOMAIN for x.example", "dns nxdomain"),
        (Fault.DNS, "servfail", "dns servfail"),
        (Fault.DNS, "", "dns failed"),
        (Fault.LOCAL, "over Quota now", "over quota"),
        (Fault.LOCAL, "disk", "disk"),
        (Fault.POLICY, "", "policy"),
        (Fault.ROUTING, "mx routing is not available yet", "mx routing is not available yet"),
        (Fault.REPLY, "", "reply"),
    ],
)
def test_faults_have_words(fault, reply, expected):
    assert form(Outcome(1, Result.DEFERRED, fault, reply=reply)) == expected


def test_ids_are_the_same_everywhere_and_fit():
    assert reason_id(1, 450, "4.7.1", "x") == reason_id(1, 450, "4.7.1", "x")
    assert reason_id(1, 450, "4.7.1", "x") != reason_id(1, 451, "4.7.1", "x")
    assert 0 < reason_id(1, 450, "4.7.1", "\udcff") < 1 << 63


def test_too_many_forms_fall_back_to_the_code(house, monkeypatch):
    monkeypatch.setattr(reasons, "FORMS", 3)
    known = Reasons()

    def run(words):
        outcomes = [Outcome(1, Result.DEFERRED, Fault.REPLY, 450, "4.2.0", word) for word in words]
        return house.run(house.engine.write(lambda tx: known.ids(tx, [*outcomes, Outcome(2, Result.DELIVERED)])))

    letters = ["a", "b", "c", "d"]
    first = run(letters)
    assert first[-1] == 0
    assert len(set(first)) == 5
    assert run(letters) == first
    house.engine.clock.advance(reasons.SEEN_MS + 1)
    run(letters)
    assert len(set(run(["e", "f", "g", "h", "i", "j", "k", "l"]))) == 2
    assert house.value("SELECT count(*) FROM reason") == 5
    assert house.value("SELECT max(last_at) - min(last_at) FROM reason") > 0


def test_new_ones_of_two_units_are_one_row(house):
    known = Reasons()
    outcome = Outcome(1, Result.DEFERRED, Fault.REPLY, 450, "4.2.0", "x" * 3000)
    for _ in range(2):
        house.run(house.engine.write(lambda tx: known.ids(tx, [outcome])))
    known.forget()
    house.run(house.engine.write(lambda tx: known.ids(tx, [outcome, outcome])))
    assert house.value("SELECT count(*) FROM reason") == 1
    assert len(house.value("SELECT sample FROM reason")) == reasons.SAMPLE


def test_destinations_are_made_once_and_cached(house, monkeypatch):
    from netsvc.store import dests

    monkeypatch.setattr(dests, "CACHE", 2)
    for n in (1, 2, 3, 1, 2, 3, 4, 5):
        house.accept(deliveries=[house.away(key=f"{n}.example")])
    assert house.value("SELECT count(*) FROM dest") == 5
