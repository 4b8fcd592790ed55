"""``[site.commands.NAME]`` and ``[site.agents.NAME]``: what the site says of programs and plugins that carry mail.

Both are kept as written, checked against the settings declared for them, so that an older netsvc, or a node without
the plugin, passes on what it does not know.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from netsvc.commands import Setting
from netsvc.config import values
from netsvc.config.complaints import ValueFaultError, kind_of, nearest, quote
from netsvc.config.declared import setting_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.config.complaints import Complaints
    from netsvc.config.table import TableReader
    from netsvc.interfaces import IDeliveryAgentMaker
    from netsvc.settings import SiteSettings

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")
"""What a command or an agent may be called: as a route can name it."""
PLACEHOLDERS = ("{sender}", "{rcpt}", "{domain}", "{local}", "{id}")
"""Words of argv that stand for something of the delivery."""
_MINUTE = 60_000
_DIGITS = 18
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_ARGV_REMEDY = 'write for instance ["/usr/local/bin/file-it", "--", "{rcpt}"]'

COMMAND = (
    Setting("argv", "list", required=True, help="the program by its whole path, and its words; no shell reads them"),
    Setting(
        "timeout",
        "duration",
        5 * _MINUTE,
        unit="ms",
        low=1000,
        high=60 * _MINUTE,
        help="how long it may run; then it is killed with all it started, and the mail tried again",
    ),
    Setting("at_once", "int", 4, low=1, high=64, help="how many run at a time on a node"),
    Setting("line_end", "choice", "lf", choices=("lf", "crlf"), help="how lines of the message end"),
    Setting("environment", "list", (), help="variables it gets besides PATH and LANG, as NAME=value"),
)
AGENT = (
    Setting(
        "deadline",
        "duration",
        10 * _MINUTE,
        unit="ms",
        low=1000,
        high=60 * _MINUTE,
        help="how long an attempt may take",
    ),
    Setting("at_once", "int", 20, low=1, high=1000, help="how many attempts are under way at a time on a node"),
)
"""Keys every plugin agent has beside its own."""


def _argv(value: object) -> tuple[str, ...]:
    """Read a program and its words."""
    if not isinstance(value, list | tuple):
        raise ValueFaultError(f"is {kind_of(value)}, not a list", _ARGV_REMEDY)
    words = tuple(values.text(word) for word in value)
    if not words or not words[0].startswith("/"):
        raise ValueFaultError("does not begin with the whole path of a program", _ARGV_REMEDY)
    for word in words:
        if word not in PLACEHOLDERS and (
            re.fullmatch(r"\{[a-z_]*\}", word) or any(placeholder in word for placeholder in PLACEHOLDERS)
        ):
            raise ValueFaultError(
                f"{quote(word)}: a placeholder is a word by itself", f"write one of {' '.join(PLACEHOLDERS)}"
            )
    return words


def _environment(value: object) -> tuple[str, ...]:
    """Read variables."""
    pairs = values.listed(values.filled)(list(value) if isinstance(value, tuple) else value)
    for pair in pairs:
        if not _VARIABLE.match(pair):
            raise ValueFaultError(f"{quote(pair)} is not NAME=value", 'write for instance "HOME=/var/lib/lists"')
    return pairs


_OWN: dict[tuple[str, str], Callable[[object], Any]] = {
    ("commands", "argv"): _argv,
    ("commands", "environment"): _environment,
}


def checked(kind: str, settings: tuple[Setting, ...], key: str, value: object) -> Any:
    """Return ``value`` of ``key`` as the rooms take it; ``kind`` is commands or agents.  Raises ValueFaultError."""
    known = {setting.name: setting for setting in settings}
    if key not in known:
        raise ValueFaultError(f"there is no key {quote(key)} here", nearest(key, known))
    own = _OWN.get((kind, key))
    if own is not None:
        return own(value)
    return setting_reader(known[key])(list(value) if isinstance(value, tuple) else value)


def all_values(kind: str, settings: tuple[Setting, ...], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every key, as the rooms take them.  Raises ValueFaultError, its text led by the key."""
    found: dict[str, Any] = {}
    for setting in settings:
        if setting.name in said:
            try:
                found[setting.name] = checked(kind, settings, setting.name, said[setting.name])
            except ValueFaultError as fault:
                raise ValueFaultError(f"{setting.name} {fault.text}", fault.remedy) from None
        elif setting.required:
            raise ValueFaultError(f"{setting.name} is missing", _ARGV_REMEDY if setting.name == "argv" else "write it")
        else:
            found[setting.name] = setting.default
    return found


def typed(kind: str, settings: tuple[Setting, ...], key: str, text: str) -> Any:
    """Return the TOML form of a value an operator typed, checked.  Raises ValueFaultError.

    A list is typed with blanks between its items.
    """
    types = {setting.name: setting.type for setting in settings}
    value: Any = text
    if types.get(key) == "list":
        value = tuple(text.split())
    elif types.get(key) == "bool":
        value = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(text, text)
    elif types.get(key) in ("int", "size") and text.isascii() and text.isdigit() and len(text) <= _DIGITS:
        value = int(text)
    checked(kind, settings, key, value)
    return value


def read_carriers(
    complaints: Complaints, top: TableReader, agents: Mapping[str, IDeliveryAgentMaker]
) -> dict[str, Any]:
    """Return SiteSettings.commands and .agents of ``top``, the reader of ``[site]``; complain of what is wrong."""
    found: dict[str, dict[str, dict[str, Any]]] = {"commands": {}, "agents": {}}
    for name, table in (top.table("commands") or {}).items():
        _read(complaints, ("site", "commands", name), table, COMMAND, found["commands"])
    for name, table in (top.table("agents") or {}).items():
        maker = agents.get(name)
        if maker is None:
            complaints.add(("site", "agents", name), f"there is no agent {quote(name)}", nearest(name, agents))
        else:
            _read(complaints, ("site", "agents", name), table, agent_settings(maker), found["agents"])
    return found


def agent_settings(maker: IDeliveryAgentMaker) -> tuple[Setting, ...]:
    """Return every key of an agent's table: what all have, then its own."""
    return (*AGENT, *maker.settings)


def _read(
    complaints: Complaints,
    path: tuple[str, str, str],
    table: object,
    settings: tuple[Setting, ...],
    found: dict[str, dict[str, Any]],
) -> None:
    _, kind, name = path
    if not NAME.match(name):
        complaints.add(path, f"{quote(name)} cannot be a name", "write a-z, 0-9, - and _, at most 32")
    elif not isinstance(table, dict):
        complaints.add(path, f"is {kind_of(table)}, not a table", f"write [{'.'.join(path)}]")
    else:
        kept = found[name] = {}
        for key, value in table.items():
            try:
                checked(kind, settings, key, value)
            except ValueFaultError as fault:
                complaints.add((*path, key), fault.text, fault.remedy)
            else:
                kept[key] = tuple(value) if isinstance(value, list) else value
        for setting in settings:
            if setting.required and setting.name not in table:
                remedy = _ARGV_REMEDY if setting.name == "argv" else "write it"
                complaints.add((*path, setting.name), "is missing", remedy)


def check_carriers(complaints: Complaints, settings: SiteSettings, agents: Mapping[str, IDeliveryAgentMaker]) -> None:
    """Complain of routes to commands and agents that are not there."""
    there: dict[str, Mapping[str, Any]] = {"command": settings.commands, "agent": agents}
    for table in ("routes", "sender_routes"):
        for pattern, target in getattr(settings, table).items():
            kind, _, rest = target.partition(":")
            name = rest.partition(" ")[0]
            if kind in there and name not in there[kind]:
                what = "nothing in site.commands is called" if kind == "command" else "no plugin brings the agent"
                complaints.add(("site", table, pattern), f"{what} {quote(name)}", nearest(name, there[kind]))
