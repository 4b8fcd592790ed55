"""What ``[site]`` says of recipients: aliases, other names of domains, catch-alls, quotas, tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.config import values
from netsvc.config.complaints import ValueFaultError, quote
from netsvc.config.table import TableReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.config.complaints import Complaints
    from netsvc.settings import SiteSettings

SEPARATORS = "+-_=~!#%.$&*/^|?"
"""What may divide a user from a tag."""

_QUOTA_REMEDY = 'write for instance "1G" or { bytes = "1G", messages = 10000 }'


def separator(value: object) -> str:
    """Read what divides users from tags, "" for no tags."""
    word = values.text(value)
    if word and (len(word) > 1 or word not in SEPARATORS):
        raise ValueFaultError(f"{quote(word)} cannot divide a user from a tag", 'write "+" or "-", or "" for no tags')
    return word


def quota(value: object) -> tuple[int, int]:
    """Read (octets, messages): a size, or a table of ``bytes`` and ``messages``."""
    if not isinstance(value, dict):
        return values.size(value), 0
    for key in value:
        if key not in ("bytes", "messages"):
            raise ValueFaultError(f"there is no key {quote(key)} here", _QUOTA_REMEDY)
    return values.size(value.get("bytes", 0)), values.whole(value.get("messages", 0))


class RecipientsReader:
    """Reads what ``top``, the reader of ``[site]``, has of recipients."""

    def __init__(self, complaints: Complaints, top: TableReader) -> None:
        self._complaints = complaints
        self._top = top

    def read(self) -> dict[str, Any]:
        """Return fields of SiteSettings."""
        default, own = self._quotas()
        return {
            "subaddress": self._top.take("subaddress", separator, "+"),
            "aliases": self._aliases(),
            "domain_aliases": self._pairs("domain_aliases", values.domain),
            "catchalls": self._pairs("catchalls", values.address),
            "quota": default,
            "mailbox_quotas": own,
        }

    def _quotas(self) -> tuple[tuple[int, int], dict[str, tuple[int, int]]]:
        data = self._top.table("quotas")
        if data is None:
            return (0, 0), {}
        reader = TableReader(self._complaints, ("site", "quotas"), data)
        default = (reader.take("bytes", values.size, 0), reader.take("messages", values.whole, 0))
        own: dict[str, tuple[int, int]] = {}
        for name, value in (reader.table("mailboxes") or {}).items():
            try:
                own[values.address(name)] = quota(value)
            except ValueFaultError as fault:
                self._complaints.add(("site", "quotas", "mailboxes", name), fault.text, fault.remedy or _QUOTA_REMEDY)
        reader.finish()
        return default, own

    def _pairs(self, key: str, read: Callable[[object], str]) -> dict[str, str]:
        """Read a table from domains to what ``read`` takes."""
        found: dict[str, str] = {}
        for name, value in (self._top.table(key) or {}).items():
            try:
                found[values.domain(name)] = read(value)
            except ValueFaultError as fault:
                self._complaints.add(("site", key, name), fault.text, fault.remedy)
        return found

    def _aliases(self) -> dict[str, tuple[str, ...]]:
        aliases: dict[str, tuple[str, ...]] = {}
        for name, targets in (self._top.table("aliases") or {}).items():
            path = ("site", "aliases", name)
            try:
                address = values.address(name)
            except ValueFaultError as fault:
                self._complaints.add(path, f"its name {fault.text}", fault.remedy)
                continue
            try:
                listed = values.listed(values.address)([targets] if isinstance(targets, str) else targets)
            except ValueFaultError as fault:
                self._complaints.add(path, fault.text, fault.remedy)
                continue
            if not listed:
                self._complaints.add(path, "leads nowhere", f'write for instance ["admin@{address.split("@")[1]}"]')
            aliases[address] = listed
        return aliases


def check_recipients(complaints: Complaints, settings: SiteSettings) -> None:
    """Complain of what cannot be true at once."""
    domains, boxes = set(settings.domains), {box.lower() for box in settings.mailboxes}
    for name, same_as in settings.domain_aliases.items():
        path = ("site", "domain_aliases", name)
        if name in domains:
            complaints.add(path, f"{name} is one of domains too", "leave it in one of the two")
        if same_as not in domains:
            complaints.add(path, f"{same_as} is not one of domains", f'add "{same_as}" to site.domains')
    for name in settings.catchalls:
        if name not in domains:
            complaints.add(("site", "catchalls", name), f"{name} is not one of domains", "name one of domains")
    for box in settings.mailbox_quotas:
        if box.lower() not in boxes:
            complaints.add(("site", "quotas", "mailboxes", box), "is not one of mailboxes", "name one of mailboxes")
    loop = _loop({name.lower(): targets for name, targets in settings.aliases.items()})
    if loop:
        path = ("site", "aliases", next(name for name in settings.aliases if name.lower() == loop[0]))
        complaints.add(path, f"leads back to itself: {' -> '.join(loop)}", "take one of these targets out")


def _loop(aliases: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the first loop among aliases, [] for none."""
    done: set[str] = set()
    for start in aliases:
        path: list[str] = []
        left = [iter((start,))]
        while left:
            key = next(left[-1], "").lower()
            if not key:
                left.pop()
                if path:
                    done.add(path.pop())
            elif key in path:
                return [*path[path.index(key) :], key]
            elif key in aliases and key not in done:
                path.append(key)
                left.append(iter(aliases[key]))
    return []
