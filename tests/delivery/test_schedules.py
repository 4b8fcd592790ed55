"""Which schedule a failure follows: the nearest word of destination and kind."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.delivery.schedules import LOCAL_MOST, ending, kind_of, settings_for, terms
from netsvc.mail.message import FLAG_LATER, Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.settings import DAY, HOUR, MINUTE, RETRY_CLASSES, DeliverySettings, DestinationSettings, SiteSettings
from tests.delivery.rows import NOW, row


def failed(fault=Fault.REPLY, code=0, status="", reply=""):
    return Outcome(1, Result.DEFERRED, fault, code, status, reply)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (failed(Fault.CONNECT_TIMEOUT, 0, "4.4.1"), "connect"),
        (failed(Fault.CONNECT_REFUSED, 0, "4.4.1"), "connect"),
        (failed(Fault.CONNECT_FAILED, 421, "4.3.2", "busy"), "connect"),
        (failed(Fault.CONNECT_FAILED, 421, "4.7.0", "Too many connections from you"), "throttle"),
        (failed(Fault.LOST, 0, "4.4.2"), "lost"),
        (failed(Fault.TLS, 0, "4.7.5"), "tls"),
        (failed(Fault.DNS, 0, "4.4.3"), "dns"),
        (failed(Fault.ROUTING, 0, "4.4.4"), "routing"),
        (failed(Fault.LOCAL, 0, "4.3.0"), "local"),
        (failed(Fault.LOCAL, 452, "4.2.2", "mailbox full"), "quota"),
        (failed(Fault.REPLY, 452, "4.2.2", "over quota"), "quota"),
        (failed(Fault.REPLY, 451, "4.7.1", "Greylisted, come back in 300 s"), "greylist"),
        (failed(Fault.REPLY, 421, "4.7.28", "unusual"), "throttle"),
        (failed(Fault.REPLY, 450, "4.7.1", "not now"), "policy"),
        (failed(Fault.POLICY, 0, "4.7.0"), "policy"),
        (failed(Fault.REPLY, 450, "4.2.0", "later"), "reply"),
        (failed(Fault.LOOP), "reply"),
    ],
)
def test_kinds_of_failure(outcome, kind):
    assert kind in RETRY_CLASSES
    assert kind_of(outcome) == kind


@given(st.sampled_from(list(Fault)), st.integers(0, 599), st.text(max_size=8), st.text(max_size=60))
def test_every_failure_is_of_some_kind(fault, code, status, reply):
    assert kind_of(failed(fault, code, status, reply)) in RETRY_CLASSES


GREY = failed(Fault.REPLY, 451, "4.7.1", "greylisted")
ROW = row(dest_key="example.org", domain="example.org")


def site(delivery=None, **said):
    return SiteSettings(
        delivery=delivery or DeliverySettings(),
        destinations={"example.org": DestinationSettings(**said)} if said else {},
    )


def test_the_nearest_word_counts():
    of_site = DeliverySettings(retry_classes={"greylist": (2 * MINUTE,)})
    assert terms(site(), ROW, GREY) == DeliverySettings()
    assert terms(site(of_site), ROW, GREY).retry == (2 * MINUTE,)
    assert terms(site(of_site, connections=1), ROW, GREY).retry == (2 * MINUTE,)
    assert terms(site(of_site, retry=(HOUR,)), ROW, GREY).retry == (HOUR,)
    said = {"retry": (HOUR,), "retry_classes": {"greylist": (3 * MINUTE,)}}
    assert terms(site(of_site, **said), ROW, GREY).retry == (3 * MINUTE,)
    assert terms(site(of_site, **said), ROW, failed()).retry == (HOUR,)


def test_our_own_failures_wait_a_quarter_of_an_hour_at_most():
    ours = failed(Fault.LOCAL, 0, "4.3.0")
    assert max(terms(site(), ROW, ours).retry) == LOCAL_MOST
    assert terms(site(retry=(HOUR,)), ROW, ours).retry == (HOUR,)
    assert terms(site(DeliverySettings(retry_classes={"local": (HOUR,)})), ROW, ours).retry == (HOUR,)


def test_a_destination_has_its_own_times():
    assert settings_for(site(), ROW) == DeliverySettings()
    mine = settings_for(site(expire=DAY, warn=HOUR, connections=2), ROW)
    assert (mine.expire, mine.warn, mine.retry) == (DAY, HOUR, DeliverySettings().retry)
    assert settings_for(site(retry=(HOUR,)), ROW).retry == (HOUR,)


def test_time_ends_sooner_there_never_later():
    one = replace(ROW, received_at=NOW, expires_at=NOW + 5 * DAY)
    assert ending(site(), one) is one
    assert ending(site(expire=DAY), one).expires_at == NOW + DAY
    assert ending(site(expire=9 * DAY), one).expires_at == NOW + 5 * DAY


def test_what_was_held_back_begins_to_age_when_it_is_released():
    one = replace(ROW, received_at=NOW, expires_at=NOW + 8 * DAY, flags=FLAG_LATER)
    assert ending(site(expire=DAY), one).expires_at == NOW + 4 * DAY
