"""``[tls]``: certificates and keys, one pair for everybody and others by the name a client asks for (SNI).

Only paths are read here; what stands in the files is looked at when the service
starts, by the user who may read the keys.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netsvc.config import values
from netsvc.config.complaints import Complaints, ValueFaultError, kind_of, quote
from netsvc.config.table import TableReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from netsvc.config.listener import ListenerConfig

ENCRYPTED: Final = ("starttls", "implicit")
"""Values of a listener's ``tls`` that need a certificate."""
USUAL_AUTH: Final = {"submission": "required"}
"""What ``auth = "usual"`` means on a listener for a service; off on others."""


@dataclass(frozen=True, slots=True)
class TlsPair:
    """A certificate file (PEM, the chain behind it) and its key file.  ``name``: for whom, "" for everybody else."""

    name: str
    certificate: Path
    key: Path


def read_tls(complaints: Complaints, data: Mapping[str, Any], folder: Path) -> tuple[TlsPair, ...]:
    """Return the pairs of the table ``[tls]``, that for everybody first; complains of what is wrong."""
    top = TableReader(complaints, ("tls",), data)
    found = [_pair(top, "", folder)]
    for name, table in (top.table("names") or {}).items():
        path = ("tls", "names", name)
        if not isinstance(table, dict):
            complaints.add(path, f"is {kind_of(table)}, not a table", f"write [tls.names.{quote(name)}] above its keys")
            continue
        try:
            checked = _server_name(name)
        except ValueFaultError as fault:
            complaints.add(path, fault.text, fault.remedy)
            continue
        if checked in {pair.name for pair in found if pair}:
            complaints.add(path, "is there twice", "write it once: capitals make no difference")
            continue
        reader = TableReader(complaints, path, table)
        found.append(_pair(reader, checked, folder))
        reader.finish()
    top.finish()
    return tuple(pair for pair in found if pair is not None)


def _server_name(name: str) -> str:
    """Read a name clients ask for: a domain, or ``*.domain`` for what is one label below it."""
    if name.startswith("*."):
        return f"*.{values.domain(name[2:])}"
    return values.domain(name)


def _pair(reader: TableReader, name: str, folder: Path) -> TlsPair | None:
    paths = {key: reader.take(key, values.filled, "") for key in ("certificate", "key")}
    for key, path in paths.items():
        if not path and key not in reader.wrong:
            what = "the file with the certificate and its chain" if key == "certificate" else "the file with its key"
            reader.complain(key, "is missing", f"name {what} (PEM)")
    if not all(paths.values()):
        return None
    certificate, own_key = (Path(os.path.normpath(folder / path)) for path in paths.values())
    return TlsPair(name, certificate, own_key)


def check_security(complaints: Complaints, listeners: list[ListenerConfig], *, has_tls: bool) -> None:
    """Complain of listeners that promise TLS without a certificate, or AUTH that nobody could use."""
    for listener in listeners:
        settings = listener.settings

        def complain(key: str, text: str, remedy: str, listener: ListenerConfig = listener) -> None:
            complaints.add(("listeners", listener.name, key), text, remedy)

        tls = settings.get("tls", "none")
        if tls in ENCRYPTED and not has_tls:
            complain("tls", f"{quote(tls)} needs a certificate", "write certificate and key in [tls]")
        if "auth" in settings:
            _check_auth(listener, tls, complain)


def _check_auth(listener: ListenerConfig, tls: str, complain: Callable[[str, str, str], None]) -> None:
    settings = listener.settings
    clear = settings.get("allow_cleartext_auth", False)
    auth = auth_of(settings)
    if clear and not listener.endpoint.is_local:
        complain(
            "allow_cleartext_auth",
            f"{quote(listener.endpoint.text)} can be reached from elsewhere, and passwords would cross the network",
            "bind it to interface=127.0.0.1, or leave the key out",
        )
    elif auth != "off" and tls == "none" and not clear:
        complain(
            "tls",
            f'is "none", and AUTH ({auth} here) is offered inside TLS only: nobody could log in',
            'set tls = "starttls" or "implicit"; on loopback allow_cleartext_auth = true does without',
        )


def auth_of(settings: Mapping[str, Any]) -> str:
    """Return what a listener's ``auth`` comes to: off, optional or required."""
    auth = str(settings.get("auth", "off"))
    return USUAL_AUTH.get(str(settings.get("service")), "off") if auth == "usual" else auth


def encrypted(listeners: Sequence[ListenerConfig]) -> list[str]:
    """Return the names of the listeners that offer TLS."""
    return [listener.name for listener in listeners if listener.settings.get("tls") in ENCRYPTED]
