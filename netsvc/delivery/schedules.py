"""Which schedule an attempt that failed follows: by its destination and by the kind of failure (quiet).

The nearest word counts: the destination's waits for this kind of failure, the
destination's waits, the site's for this kind, the site's.  Failures of our own
side are tried again within a quarter of an hour unless something else is said
of them: nobody is bothered by that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netsvc.mail.message import FLAG_LATER
from netsvc.mail.outcome import Fault
from netsvc.settings import MINUTE, NO_DESTINATION

if TYPE_CHECKING:
    from netsvc.mail.message import Leased
    from netsvc.mail.outcome import Outcome
    from netsvc.settings import DeliverySettings, SiteSettings

LOCAL_MOST = 15 * MINUTE
"""The longest wait after a failure of our own side."""

_KINDS = {
    Fault.CONNECT_TIMEOUT: "connect",
    Fault.CONNECT_REFUSED: "connect",
    Fault.CONNECT_FAILED: "connect",
    Fault.LOST: "lost",
    Fault.TLS: "tls",
    Fault.AUTH: "auth",
    Fault.DNS: "dns",
    Fault.ROUTING: "routing",
    Fault.LOCAL: "local",
    Fault.POLICY: "policy",
}
_GREY = ("greylist", "graylist", "grey list", "gray list", "grey-list", "gray-list")
_THROTTLE = ("rate limit", "ratelimit", "rate-limit", "throttl", "too many", "slow down", "too fast")
_THROTTLE_STATUS = ("4.7.28", "4.4.5", "4.5.3")
_FULL = "4.2.2"


def kind_of(outcome: Outcome) -> str:
    """Return the kind of failure, of ``settings.RETRY_CLASSES``.

    A reply's kind is told by its enhanced status and, for greylisting and throttling, which have none of their own
    that all use, by its words.
    """
    if outcome.status == _FULL:
        return "quota"
    if outcome.code:
        said = outcome.reply.lower()
        if any(word in said for word in _GREY):
            return "greylist"
        if outcome.status in _THROTTLE_STATUS or any(word in said for word in _THROTTLE):
            return "throttle"
    kind = _KINDS.get(outcome.fault, "reply")
    return "policy" if kind == "reply" and outcome.status.startswith("4.7.") else kind


def settings_for(site: SiteSettings, row: Leased) -> DeliverySettings:
    """Return the site's settings of delivery as they are for the destination of ``row``, whatever fails there."""
    said = site.destination(row.dest_key, row.domain)
    if said is NO_DESTINATION:
        return site.delivery
    usual = site.delivery
    return replace(
        usual,
        retry=usual.retry if said.retry is None else said.retry,
        expire=usual.expire if said.expire is None else said.expire,
        warn=usual.warn if said.warn is None else said.warn,
    )


def terms(site: SiteSettings, row: Leased, outcome: Outcome) -> DeliverySettings:
    """Return the settings that ``outcome``, a failure for now, follows: ``retry`` is what it waits."""
    usual, said = settings_for(site, row), site.destination(row.dest_key, row.domain)
    kind = kind_of(outcome)
    if kind in said.retry_classes:
        return replace(usual, retry=said.retry_classes[kind])
    if said.retry is not None:
        return usual
    if kind in site.delivery.retry_classes:
        return replace(usual, retry=site.delivery.retry_classes[kind])
    if outcome.fault is Fault.LOCAL:
        return replace(usual, retry=tuple(min(wait, LOCAL_MOST) for wait in usual.retry))
    return usual


def ending(site: SiteSettings, row: Leased) -> Leased:
    """Return ``row`` with the end of its time as it is at its destination: never later than the message's own."""
    expire = site.destination(row.dest_key, row.domain).expire
    if expire is None:
        return row
    begun = row.received_at
    if row.flags & FLAG_LATER:  # its life began when it was released
        begun = max(begun, row.expires_at - site.delivery.expire)
    return replace(row, expires_at=min(row.expires_at, begun + expire))
