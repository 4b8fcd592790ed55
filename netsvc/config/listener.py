"""``[listeners.NAME]`` tables: a protocol plugin's name, an endpoint, and keys the plugin declares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from netsvc.config import values
from netsvc.config.complaints import Complaints, ValueFaultError, nearest, quote
from netsvc.config.declared import setting_reader
from netsvc.config.endpoint import Endpoint, check_endpoint
from netsvc.config.table import Later, TableReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.commands import Setting
    from netsvc.interfaces import IProtocolMaker

CLEARTEXT: Final = "allow_cleartext_from"
"""The key by which a plugin says that passwords cross its connections: then clear text is for this host only (S1)."""

LATER: Final = {
    "tls": Later("TLS with this protocol", "none"),
    "auth": Later("AUTH with this protocol", "off"),
    "proxy_from": Later("the PROXY protocol with this protocol", []),
}
_NETWORKS: Final = {CLEARTEXT, "proxy_from", "xclient_from"}
_PROTOCOLS: Final = {"console": "telnet", "submission": "smtp", "mx": "smtp"}


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """One configured port.  ``settings`` are the plugin's, checked, every one present, and ``listener``, the name."""

    name: str
    protocol: str
    endpoint: Endpoint
    settings: Mapping[str, Any] = field(default_factory=dict)


def default_protocol(name: str) -> str:
    """Return the protocol a listener called ``name`` speaks when it does not say."""
    return _PROTOCOLS.get(name, name)


def read_listener(
    complaints: Complaints,
    name: str,
    data: Mapping[str, Any],
    makers: Mapping[str, IProtocolMaker],
    endpoint: str | None,
) -> ListenerConfig | None:
    """Return the listener of the table ``data``, None when its protocol or endpoint is wrong (complained of).

    ``endpoint`` is what the command line says of it; it overrides.
    """
    reader = TableReader(complaints, ("listeners", name), data, LATER)
    protocol = reader.take("protocol", values.filled, default_protocol(name))
    own = reader.take("endpoint", values.filled, "")
    maker = makers.get(protocol)
    if maker is None:
        where = "" if reader.has("protocol") or endpoint is None else f"--listen {name}"
        complaints.add(
            ("listeners", name, "protocol"), f"no plugin speaks {quote(protocol)}", nearest(protocol, makers), where
        )
        return None
    where = f"--listen {name}" if endpoint is not None else ""
    settings: dict[str, Any] = {setting.name: _take(reader, setting) for setting in maker.settings}
    settings["listener"] = name
    reader.finish()
    try:
        checked = check_endpoint(endpoint or own or maker.default_endpoint)
    except ValueFaultError as fault:
        complaints.add(("listeners", name, "endpoint"), fault.text, fault.remedy, where)
        return None
    clear = CLEARTEXT in settings and settings.get("tls") != "implicit"
    if clear and not checked.is_local and not settings[CLEARTEXT] and checked.kind != "systemd":
        complaints.add(
            ("listeners", name, "endpoint"),
            f"{quote(checked.text)} can be reached from elsewhere, and passwords would cross the network in clear text",
            f'bind it to interface=127.0.0.1, or name who may connect: {CLEARTEXT} = ["192.0.2.0/24"]',
            where,
        )
    return ListenerConfig(name, protocol, checked, settings)


def _take(reader: TableReader, setting: Setting) -> Any:
    if setting.required and not reader.has(setting.name):
        reader.complain(setting.name, "is missing", f"write it: {setting.help}")
    return reader.take(setting.name, _reader_of(setting), setting.default)


def _reader_of(setting: Setting) -> Callable[[object], Any]:
    """Return what checks a value against ``setting``."""
    return setting_reader(setting, values.network if setting.name in _NETWORKS else values.filled)


def check_together(complaints: Complaints, listeners: list[ListenerConfig]) -> None:
    """Complain of listeners that want the same place."""
    for index, one in enumerate(listeners):
        for other in listeners[:index]:
            if _collide(one.endpoint, other.endpoint):
                complaints.add(
                    ("listeners", one.name, "endpoint"),
                    f"{quote(one.endpoint.text)} is taken by the listener {other.name}",
                    "give each listener a port of its own",
                )


def _collide(a: Endpoint, b: Endpoint) -> bool:
    if a.kind == "unix" == b.kind:
        return a.path == b.path
    if not (a.port and a.port == b.port):
        return a.kind == b.kind == "systemd" and a.text == b.text
    if a.interface == b.interface:
        return True
    # the IPv6 wildcard takes the IPv4 port too
    wild = {"", "::", "0.0.0.0"}  # noqa: S104 - compared, not bound
    return a.interface in wild or b.interface in wild
