"""The node file: what differs from node to node (SITE.md *Node file*), read whole or refused with all of why."""

from __future__ import annotations

import os
import re
import socket
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from netsvc.config import values
from netsvc.config.complaints import Complaint, Complaints, ConfigError, ValueFaultError, kind_of, nearest, quote
from netsvc.config.endpoint import MAX_UNIX_PATH
from netsvc.config.listener import ListenerConfig, check_together, read_listener
from netsvc.config.site import read_site
from netsvc.config.source import key_lines
from netsvc.config.table import Later, TableReader
from netsvc.config.tls import TlsPair, check_security, read_tls
from netsvc.mail.address import AddressError, parse_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from netsvc.config.rooms import Rooms
    from netsvc.interfaces import IDeliveryAgentMaker, IPolicyMaker
    from netsvc.settings import SiteSettings

DEFAULT_FILE: Final = Path("/etc/netsvc/netsvc.toml")
DEFAULT_STATE: Final = Path("/var/lib/netsvc")
RUN_SOCKET: Final = Path("/run/netsvc/console.sock")
MAX_FILE: Final = 4 << 20
LEVELS: Final = ("debug", "info", "warn", "error")

_LATER: Final = {
    "metrics": Later("the metrics listener"),
}
_LISTENER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}\Z")


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says; None and empty say nothing."""

    state: str | None = None
    hostname: str | None = None
    store: str | None = None
    listen: Mapping[str, str] = field(default_factory=dict)
    auth: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node's configuration, checked.  ``file`` is where it came from, None for the built-in defaults.

    ``policies`` are the policy plugins the node has, by name, ``agents`` those that carry mail.
    """

    hostname: str
    state: Path
    control_socket: Path
    store: str
    auth: tuple[str, ...]
    listeners: tuple[ListenerConfig, ...]
    site: SiteSettings | None = None
    file: Path | None = None
    password_file: Path | None = None
    secret_key_file: Path | None = None
    log_level: str = "info"
    tls: tuple[TlsPair, ...] = ()
    tls_ca_file: Path | None = None
    policies: Mapping[str, IPolicyMaker] = field(default_factory=dict)
    agents: Mapping[str, IDeliveryAgentMaker] = field(default_factory=dict)


def default_hostname() -> str:
    """Return this host's fully qualified name, or the best there is."""
    for name in (socket.gethostname(), socket.getfqdn()):
        try:
            if "." in name:
                return parse_domain(name)
        except AddressError:
            continue
    try:
        return parse_domain(socket.gethostname())
    except AddressError:
        return "localhost"


def default_control_socket(state: Path) -> Path:
    """Return where the control socket is when nobody says: /run/netsvc where we may write, else the state directory."""
    return RUN_SOCKET if os.access(RUN_SOCKET.parent, os.W_OK) else state / "console.sock"


def parse_listen(word: str) -> tuple[str, str]:
    """Return (listener, endpoint) of ``--listen NAME=ENDPOINT``; raises ValueFaultError."""
    name, equals, endpoint = word.partition("=")
    if not equals or not endpoint or not _LISTENER_NAME.match(name):
        raise ValueFaultError(
            f"{quote(word)} is not NAME=ENDPOINT", "write for instance smtp=tcp:2525:interface=127.0.0.1"
        )
    return name, endpoint


def load_node(file: Path | None, overrides: Overrides, rooms: Rooms) -> NodeConfig:
    """Return the configuration ``file`` and the command line make; raises ConfigError with every complaint.

    With no ``file`` it is DEFAULT_FILE where that exists, else the built-in defaults.  Nothing is written.
    """
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    if file is None:
        return _Reader(Complaints("built-in defaults"), {}, None, overrides, rooms).read()
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError([Complaint(str(file), 0, "", f"cannot be read: {error.strerror}", _unread(error))]) from None
    return read_node(raw, file, overrides, rooms)


def _unread(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "let the service's user read it"
    return "name an existing file with --config"


def read_node(raw: bytes, file: Path, overrides: Overrides, rooms: Rooms) -> NodeConfig:
    """Return the configuration the octets ``raw`` of ``file`` and the command line make; raises ConfigError."""
    where = str(file)
    if len(raw) > MAX_FILE:
        raise ConfigError([Complaint(where, 0, "", f"is larger than {MAX_FILE} octets", "is it the right file?")])
    try:
        source = raw.decode("utf-8")
        data = tomllib.loads(source)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError([Complaint(where, line, "", "is not UTF-8", "save the file as UTF-8")]) from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigError([_not_toml(where, str(error), source)]) from None
    return _Reader(Complaints(where, key_lines(source)), data, file.absolute(), overrides, rooms).read()


def _not_toml(where: str, message: str, source: str) -> Complaint:
    match = re.search(r"at line ([0-9]+), column ([0-9]+)", message)
    line = int(match[1]) if match else source.count("\n") + 1 if "end of document" in message else 0
    text = message.partition(" (at ")[0].rstrip(".")
    column = f" at column {match[2]}" if match else ""
    return Complaint(where, line, "", f"is not TOML: {text}{column}", 'texts stand in quotes, as in key = "value"')


class _Reader:
    """Reads one node file; everything wrong is collected before anything is said."""

    def __init__(
        self, complaints: Complaints, data: Mapping[str, Any], file: Path | None, overrides: Overrides, rooms: Rooms
    ) -> None:
        self._complaints = complaints
        self._top = TableReader(complaints, (), data, _LATER)
        self._file = file
        self._folder = file.parent if file else Path.cwd()
        self._over = overrides
        self._rooms = rooms

    def read(self) -> NodeConfig:
        top = self._top
        state = self._path("state", self._over.state, DEFAULT_STATE)
        control = top.take("control_socket", values.filled, "")
        socket_path = self._beside(control) if control else default_control_socket(state)
        if len(os.fsencode(socket_path)) > MAX_UNIX_PATH:
            key = "control_socket" if control else "state"
            top.complain(
                key, f"the control socket's path {quote(str(socket_path))} is longer than {MAX_UNIX_PATH} octets",
                "set control_socket to a shorter path",
            )  # fmt: skip
        store = self._option("store", self._over.store, _store, "sqlite")
        password_file = top.take("password_file", values.filled, "")
        if password_file and store == "sqlite":
            top.complain("password_file", "is for PostgreSQL, and the store is sqlite", "leave the key out")
        secret_key = top.take("secret_key_file", values.filled, "")
        tls = self._tls()
        ca_file = top.take("tls_ca_file", values.filled, "")
        hostname = self._option("hostname", self._over.hostname, values.domain, "")
        config = NodeConfig(
            hostname=hostname or default_hostname(),
            state=state,
            control_socket=socket_path,
            store=store,
            auth=self._auth(),
            listeners=self._listeners(has_tls=tls is not None),
            tls=tls or (),
            tls_ca_file=self._beside(ca_file) if ca_file else None,
            site=self._site(),
            file=self._file,
            password_file=self._beside(password_file) if password_file else None,
            secret_key_file=self._beside(secret_key) if secret_key else None,
            log_level=top.take("log_level", values.chosen(LEVELS), "info"),
            policies=self._rooms.policies,
            agents=self._rooms.agents,
        )
        top.finish()
        self._complaints.check()
        return config

    def _option(self, key: str, override: str | None, read: Callable[[object], str], default: str) -> str:
        """Return the key's value; what the command line says goes before the file's."""
        own = self._top.take(key, read, default)
        if override is None:
            return own
        try:
            return read(override)
        except ValueFaultError as fault:
            self._complaints.add((key,), fault.text, fault.remedy, f"--{key}")
            return own

    def _path(self, key: str, override: str | None, default: Path) -> Path:
        own = self._top.take(key, values.filled, "")
        if override:
            return Path(override).absolute()
        return self._beside(own) if own else default

    def _beside(self, path: str) -> Path:
        return Path(os.path.normpath(self._folder / path))

    def _auth(self) -> tuple[str, ...]:
        usual: tuple[str, ...] = ("store",)
        own = self._top.take("auth", values.listed(values.filled), usual)
        specs: list[str] = []
        for spec in self._over.auth or own:
            where = f"--auth {spec}" if self._over.auth else ""
            try:
                specs.append(check_auth(spec, Path.cwd() if self._over.auth else self._folder))
            except ValueFaultError as fault:
                self._complaints.add(("auth",), fault.text, fault.remedy, where)
        if not own and not self._over.auth:
            self._top.complain("auth", "is empty: nobody could log in", 'write ["store"]')
        return tuple(specs)

    def _tls(self) -> tuple[TlsPair, ...] | None:
        """Return the pairs of ``[tls]``, None without such a table."""
        data = self._top.table("tls")
        return None if data is None else read_tls(self._complaints, data, self._folder)

    def _listeners(self, *, has_tls: bool) -> tuple[ListenerConfig, ...]:
        tables = self._top.table("listeners")
        if tables is None:
            tables = {"smtp": {"protocol": "smtp"}, "console": {"protocol": "telnet"}}
        wanted: dict[str, Mapping[str, Any]] = {}
        for name, data in tables.items():
            path = ("listeners", name)
            if not isinstance(data, dict):
                self._complaints.add(path, f"is {kind_of(data)}, not a table", "write [listeners.NAME] above its keys")
            elif not _LISTENER_NAME.match(name):
                self._complaints.add(path, "is not a listener's name", "use letters, digits, - and _, at most 32")
            else:
                wanted[name] = data
        for name in self._over.listen:
            wanted.setdefault(name, {})
        if not wanted and not tables:
            self._complaints.add(("listeners",), "there is no listener", "add one, or leave the table out")
        found = [
            read_listener(self._complaints, name, data, self._rooms.makers, self._over.listen.get(name))
            for name, data in wanted.items()
        ]
        listeners = [listener for listener in found if listener is not None]
        check_together(self._complaints, listeners)
        check_security(self._complaints, listeners, has_tls=has_tls)
        return tuple(listeners)

    def _site(self) -> SiteSettings | None:
        data = self._top.table("site")
        if data is None:
            return None
        return read_site(self._complaints, data, self._folder, self._rooms)


def _store(value: object) -> str:
    """Read the store's URL; a password never stands in it."""
    words = values.filled(value)
    scheme, colon, _ = words.partition(":")
    if words == "sqlite":
        return words
    if not colon or scheme not in ("postgresql", "postgres"):
        raise ValueFaultError(
            f"{quote(scheme)} is no store", nearest(scheme, ("sqlite", "postgresql://user@host/database"))
        )
    try:
        secret = urlsplit(words).password is not None or "password=" in words
    except ValueError:
        raise ValueFaultError("is not a URL", "write postgresql://user@host/database") from None
    if secret:
        raise ValueFaultError(
            "holds a password, which every process list shows", "use PGPASSFILE or the key password_file"
        )
    return words


_REFUSED_AUTH: Final = {
    "pam": "accounts of this host are not yet supported",
    "unix": "it does not work on today's systems",
    "file": "it keeps passwords in plain text",
    "memory": "it keeps passwords on the command line",
    "anonymous": "everybody would be somebody",
    "sshkey": "there is no ssh listener yet",
}


def check_auth(spec: str, folder: Path) -> str:
    """Return the auth spec ``store`` or ``passwd:PATH`` with an absolute path; raises ValueFaultError."""
    kind, colon, rest = spec.partition(":")
    if kind == "store" and not rest:
        return "store"
    if kind == "passwd":
        if not rest:
            raise ValueFaultError("passwd names no file", "write passwd:PATH")
        return f"passwd:{Path(os.path.normpath(folder / rest))}"
    remedy = "use store, or passwd:PATH for a file of hashed passwords"
    if kind in _REFUSED_AUTH:
        raise ValueFaultError(f"{kind} is refused: {_REFUSED_AUTH[kind]}", remedy)
    raise ValueFaultError(f"there is no way to log in called {quote(kind if colon else spec)}", remedy)
