"""Where reports go: to who sent what they are about; one that fails, to the postmaster, and there it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.address import NULL, Address, AddressError, parse_address
from netsvc.mail.message import Hop, Kind, LocalDelivery, NewDelivery
from netsvc.mail.trace import return_path

if TYPE_CHECKING:
    from netsvc.delivery.ground import Ground
    from netsvc.mail.message import MailboxRef, Resolution

POSTMASTER = "postmaster"
Places = tuple[list[NewDelivery], list[LocalDelivery]]
NOWHERE: Places = ([], [])


async def to_sender(ground: Ground, sender: str, trace: bytes, now: int) -> Places:
    """Return where a report to ``sender`` goes: into mailboxes of ours, along aliases, or out."""
    try:
        address = parse_address(sender, utf8=True)
    except AddressError:
        return NOWHERE
    resolution = await ground.directory.resolve(address)
    outside = resolution.forwards if resolution.local else (str(address),)
    return _places(ground, sender, resolution, outside, (trace, now))


async def to_postmaster(ground: Ground, trace: bytes, now: int) -> Places:
    """Return where a report goes that nobody else can be sent: to whoever the postmaster of this host is."""
    address = Address(POSTMASTER, ground.hostname.lower())
    resolution = await ground.directory.resolve(address)
    if not (resolution.mailboxes or resolution.forwards):
        resolution = await ground.directory.resolve(Address(POSTMASTER, ""))
    return _places(ground, str(address), resolution, resolution.forwards, (trace, now))


def _places(
    ground: Ground, to: str, resolution: Resolution, outside: tuple[str, ...], when: tuple[bytes, int]
) -> Places:
    trace, now = when
    hdr = return_path(NULL) + trace
    filed = [box for box in resolution.mailboxes if box.driver == "db"]
    local = [LocalDelivery(n, to, box.address.rpartition("@")[2], box.id, hdr) for n, box in enumerate(filed, 1)]
    n = len(local)
    deliveries = []
    for box in resolution.mailboxes:
        if box.driver != "db":
            n += 1
            deliveries.append(_to_folder(n, box, now))
    for target in outside:
        n += 1
        domain = target.rpartition("@")[2].lower()
        deliveries.append(NewDelivery(n, target, domain, ground.routing.route(domain), now))
    return deliveries, local


def _to_folder(n: int, box: MailboxRef, now: int) -> NewDelivery:
    domain = box.address.rpartition("@")[2]
    hop = Hop(Kind.MAILDIR, f"maildir:{box.path}", domain, f"maildir:{box.path}")
    return NewDelivery(n, box.address, domain, hop, now)
