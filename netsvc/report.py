"""What ``--check`` prints: what would run, in words (floor 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import netsvc
from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from netsvc.config.node import NodeConfig
    from netsvc.discovery import Protocols
    from netsvc.settings import SiteSettings

_UNITS: Final = {
    "size": ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K"), (1, "")),
    "duration": ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")),
}


def report(node: NodeConfig, found: Protocols) -> str:
    """Return the checked configuration as lines of text, LF ended."""
    exists = "" if node.state.exists() else " (would be created)"
    rows = [
        f"netsvc {netsvc.__version__}: the configuration can be used",
        f"config          {node.file or 'built-in defaults'}",
        f"hostname        {node.hostname}",
        f"state           {node.state}{exists}",
        f"control socket  {node.control_socket}",
        f"store           {node.store}",
        f"auth            {' '.join(node.auth)}",
        f"log level       {node.log_level}",
    ]
    for listener in node.listeners:
        rows.append(f"listener {listener.name}: {listener.protocol} on {listener.endpoint.text}")
        maker = found.makers.get(listener.protocol)
        types = {setting.name: setting.type for setting in maker.settings} if maker is not None else {}
        rows += [
            f"    {key} = {_measured(value, types.get(key, ''))}"
            for key, value in listener.settings.items()
            if key != "listener"
        ]
    rows += _site(node)
    rows += [f"plugin {module} is broken: {why}" for module, why in found.broken.items()]
    return "".join(escape(row, 1000) + "\n" for row in rows)


def _site(node: NodeConfig) -> list[str]:
    if node.site is None:
        return [f"an empty store gets: domain {node.hostname}, mailboxes postmaster and admin"]
    site: SiteSettings = node.site
    senders = (f"from {pattern} -> {target}" for pattern, target in site.sender_routes.items())
    routes = (*senders, *(f"{pattern} -> {target}" for pattern, target in site.routes.items()))
    return [
        f"an empty store gets: domains {_value(site.domains)}; mailboxes {_value(site.mailboxes)}",
        f"    aliases {_value(tuple(site.aliases))}; routes {_value(routes)}",
        f"    relay from {_value(site.relay_from)}; relay domains {_value(site.relay_domains)}",
    ]


def _measured(value: object, kind: str) -> str:
    """Return a value as the node file would have it: sizes and durations in the largest unit that divides them."""
    units = _UNITS.get(kind)
    if units is None or not isinstance(value, int):
        return _value(value)
    scale, letter = next((unit for unit in units if value and value % unit[0] == 0), (1, units[-1][1]))
    return f"{value // scale}{letter}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value) or "none"
    return str(value)
