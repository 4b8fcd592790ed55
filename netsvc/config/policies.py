"""``[site.policies.NAME]``: what the site says of a policy, checked against what the policy declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.commands import Setting
from netsvc.config.complaints import ValueFaultError, kind_of, nearest, quote
from netsvc.config.declared import setting_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.config.complaints import Complaints
    from netsvc.interfaces import IPolicyMaker

FAILURES = ("skip", "defer")
_MAX_DEADLINE = 300_000
_DIGITS = 18
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def all_settings(maker: IPolicyMaker) -> tuple[Setting, ...]:
    """Return every key of a policy's table: what all have, then its own."""
    failures = FAILURES[1:] if getattr(maker, "needed", False) else FAILURES
    return (
        Setting("on", "bool", bool(maker.usual), help="whether the policy is asked"),
        Setting("order", "int", maker.order, high=1000, help="lower ones are asked first at a stage"),
        Setting(
            "deadline",
            "duration",
            maker.deadline,
            unit="ms",
            low=10,
            high=_MAX_DEADLINE,
            help="how long an answer may take",
        ),
        Setting(
            "on_failure",
            "choice",
            failures[0],
            choices=failures,
            help="what happens where it fails or is late: it is passed over, or the client is told to try later",
        ),
        *maker.settings,
    )


def checked_value(maker: IPolicyMaker, key: str, value: object) -> Any:
    """Return ``value`` of ``key`` as the policy takes it; raises ValueFaultError."""
    known = {setting.name: setting for setting in all_settings(maker)}
    if key not in known:
        raise ValueFaultError(f"there is no key {quote(key)} here", nearest(key, known))
    listed = list(value) if isinstance(value, tuple) else value
    return setting_reader(known[key])(listed)


def typed_value(maker: IPolicyMaker, key: str, typed: str) -> Any:
    """Return the TOML form of a value an operator typed, checked; raises ValueFaultError.

    A list is typed with commas or blanks between its items.
    """
    kinds = {setting.name: setting.type for setting in all_settings(maker)}
    kind = kinds.get(key, "str")
    value: Any = typed
    if kind == "bool":
        value = _FLAGS.get(typed.lower(), typed)
    elif kind in ("int", "size") and typed.isascii() and typed.isdigit() and len(typed) <= _DIGITS:
        value = int(typed)
    elif kind == "list":
        value = tuple(typed.replace(",", " ").split())
    checked_value(maker, key, value)
    return value


def kept_value(value: object) -> Any:
    """Return a checked value's TOML form as SiteSettings keeps it."""
    return tuple(value) if isinstance(value, list) else value


def read_policies(
    complaints: Complaints,
    tables: Mapping[str, Any],
    makers: Mapping[str, IPolicyMaker],
    object_to: Callable[[IPolicyMaker, Mapping[str, Any]], tuple[str, str]],
) -> dict[str, dict[str, Any]]:
    """Return SiteSettings.policies of the table ``[site.policies]``; what is wrong goes to ``complaints``.

    ``object_to``: see Rooms; it is asked of tables whose values are well by themselves.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        path = ("site", "policies", name)
        maker = makers.get(name)
        if maker is None:
            complaints.add(path, f"there is no policy {quote(name)}", nearest(name, makers))
        elif not isinstance(table, dict):
            complaints.add(path, f"is {kind_of(table)}, not a table", f"write [{'.'.join(path)}]")
        else:
            kept = found[name] = {}
            for key, value in table.items():
                try:
                    checked_value(maker, key, value)
                except ValueFaultError as fault:
                    complaints.add((*path, key), fault.text, fault.remedy)
                else:
                    kept[key] = kept_value(value)
            if len(kept) == len(table):
                why, at = object_to(maker, kept)
                if why:
                    complaints.add((*path, at) if at in kept else path, why)
    return found
