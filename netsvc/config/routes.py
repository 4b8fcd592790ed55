"""``[site.routes]`` and ``[site.sender_routes]``: where mail for elsewhere goes, by its recipient or its sender."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netsvc.config import values
from netsvc.config.complaints import ValueFaultError, quote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from netsvc.config.complaints import Complaints
    from netsvc.config.rooms import Rooms

_PATHS: Final = ("maildir:", "lmtp:unix:")
"""What a path stands behind."""


def read_routes(
    complaints: Complaints, key: str, data: Mapping[str, Any], folder: Path, rooms: Rooms
) -> dict[str, str]:
    """Return {pattern: target} of the table ``data`` of ``key``, in their stored forms.

    ``folder`` is what relative paths are relative to; what is wrong goes to ``complaints``.
    """
    routes: dict[str, str] = {}
    for pattern, target in data.items():
        path = ("site", key, pattern)
        try:
            text = absolute(values.filled(target), folder)
            stored = rooms.check_route(pattern, text, of_sender=key == "sender_routes")
        except ValueFaultError as fault:
            complaints.add(path, fault.text, fault.remedy)
        except ValueError as error:
            complaints.add(path, str(error), 'write for instance "[192.0.2.10]:25"')
        else:
            if stored in routes:
                complaints.add(path, f"{quote(stored)} is there already", "write it once")
            routes[stored] = text
    return routes


def absolute(target: str, folder: Path) -> str:
    """Return ``target`` with the path in it relative to ``folder``."""
    for word in _PATHS:
        path = target.removeprefix(word)
        if path != target and path and not path.startswith("/"):
            return f"{word}{folder.joinpath(path)}"
    return target
