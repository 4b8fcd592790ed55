"""``twistd netsvc``: the command line, and the service it makes (floor 7).

``Options`` reads and checks everything at once, so that a mistake ends the
process before it has touched anything.  ``makeService`` hands what was read to
``node``, which binds and serves; ``house`` names the concrete rooms.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin, findCheckerFactories
from twisted.python import usage
from twisted.python.logfile import LogFile

import netsvc
from netsvc import logbook, loglines
from netsvc.config.complaints import Complaint, ConfigError, ValueFaultError
from netsvc.config.node import Overrides, check_auth, load_node, parse_listen
from netsvc.config.rooms import Rooms
from netsvc.config.tls import encrypted
from netsvc.delivery.routing import check_route
from netsvc.discovery import protocols
from netsvc.node import NodeService, complain_on_stderr
from netsvc.policy.trial import object_to
from netsvc.report import report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.config.node import NodeConfig
    from netsvc.discovery import Protocols

EX_CONFIG: Final = 78
"""Exit status when the configuration cannot be used (sysexits.h)."""
PIPE_WORDS: Final = 90
"""Octets of why that a daemon tells the process that waits for it, which reads 100."""
OUR_CHECKERS: Final = ("store", "passwd")


class Options(usage.Options, AuthOptionMixin):
    """What stands behind ``twistd netsvc``.  After parsing, ``node`` is the checked NodeConfig."""

    supportedInterfaces = (IUsernamePassword,)
    synopsis = "[options]"
    longdesc = (
        "A mail service: SMTP in, kept safely, delivered or relayed, and a console that answers what operators ask."
    )
    optParameters: Final = [
        ["config", "c", None, "Node file; /etc/netsvc/netsvc.toml if it exists, else built-in defaults."],
        ["state", None, None, "Folder of the database, bodies and keys (overrides `state`)."],
        ["hostname", None, None, "Our name in banners and Received fields (overrides `hostname`)."],
        ["store", None, None, "sqlite, or postgresql://user@host/database (overrides `store`)."],
    ]
    optFlags: Final = [["check", None, "Read and check everything, print what would run, touch nothing."]]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Twisted's has no types
        self.listen: dict[str, str] = {}
        self.specs: list[str] = []
        self.node: NodeConfig | None = None
        self.protocols: Protocols | None = None

    def opt_listen(self, word: str) -> None:
        """NAME=ENDPOINT: override or add a listener, as in smtp=tcp:2525:interface=127.0.0.1."""
        try:
            name, endpoint = parse_listen(word)
        except ValueFaultError as fault:
            raise usage.UsageError(f"--listen {fault.text}; {fault.remedy}") from None
        self.listen[name] = endpoint

    def opt_auth(self, description: str) -> None:
        """Way to log in, tried in the order given: store, or passwd:PATH.  See --help-auth."""
        try:
            self.specs.append(check_auth(description, Path.cwd()))
        except ValueFaultError as fault:
            raise usage.UsageError(f"--auth {description}: {fault.text}; {fault.remedy}") from None
        AuthOptionMixin.opt_auth(self, description)  # type: ignore[no-untyped-call] # Twisted's has no types

    def _checkerFactoriesForOptHelpAuth(self) -> list[Any]:
        """List what --help-auth shows: ours, since others are refused."""
        found = findCheckerFactories()  # type: ignore[no-untyped-call] # Twisted's has no types
        return [factory for factory in found if factory.authType in OUR_CHECKERS]

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"netsvc {netsvc.__version__}\n")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Read and check the configuration; exits with EX_CONFIG and every complaint when it cannot be used."""
        self.protocols = protocols()
        overrides = Overrides(self["state"], self["hostname"], self["store"], self.listen, self.specs)
        rooms = Rooms(self.protocols.makers, check_route, self.protocols.policies, object_to, self.protocols.agents)
        try:
            self.node = load_node(Path(self["config"]) if self["config"] else None, overrides, rooms)
            if self["check"]:
                _check_passwords(self.node)
                _check_certificates(self.node)
        except ConfigError as error:
            for complaint in _with_broken(error.complaints, self.protocols):
                complain_on_stderr(str(complaint))
            raise SystemExit(EX_CONFIG) from None
        if self["check"]:
            sys.stdout.write(report(self.node, self.protocols))
            raise SystemExit(0)
        if self.parent is not None:
            LOG_PLACE.choose(self.parent, self.node.log_level)


def _check_passwords(node: NodeConfig) -> None:
    """Read the password files; root only looks whether they are there, for the service may be somebody else.

    Raises ConfigError.
    """
    from netsvc.accounts.passwords import PasswordFileError, read_entries  # noqa: PLC0415 - for --check only

    complaints = []
    for spec in node.auth:
        if spec.startswith("passwd:"):
            path = spec.removeprefix("passwd:")
            try:
                if os.geteuid() != 0 or not Path(path).exists():
                    read_entries(path)
            except PasswordFileError as error:
                complaints.append(Complaint(str(node.file or "--auth"), 0, "auth", str(error)))
    if complaints:
        raise ConfigError(complaints)


def _check_certificates(node: NodeConfig) -> None:
    """Read certificates and keys; raises ConfigError with what is wrong with each."""
    from netsvc.certificates.keyfiles import CertificateError, load_pair  # noqa: PLC0415 - for --check only

    complaints = []
    for pair in node.tls:
        try:
            load_pair(pair)
        except CertificateError as error:
            key = f'tls.names."{pair.name}"' if pair.name else "tls"
            complaints.append(Complaint(str(node.file or "[tls]"), 0, key, str(error)))
    if complaints:
        raise ConfigError(complaints)


def _with_broken(complaints: tuple[Complaint, ...], found: Protocols) -> list[Complaint]:
    """Return the complaints, and where a protocol is missed, what is wrong with plugins that do not load."""
    extra = []
    if any(complaint.key.endswith(".protocol") for complaint in complaints):
        extra = [
            Complaint(module, 0, "", f"this plugin is broken: {why}", "its traceback is above; mend or remove it")
            for module, why in found.broken.items()
        ]
    return [*complaints, *extra]


class _LogPlace:
    """Where the log goes: what twistd's own options say, by our observer.

    twistd takes the name of a callable, imports it after all options are read, and calls it before it becomes a
    daemon; ``--logfile``, standard output with ``-n`` and twistd.log keep their meaning.
    """

    def __init__(self) -> None:
        self._twistd: Mapping[str, Any] = {}
        self._level = "info"
        self._writer: loglines.LineWriter | None = None

    def choose(self, twistd: Any, level: str) -> None:
        """Have twistd ask us for the observer, unless it was told of another or of syslog."""
        if "logger" in twistd and not twistd["logger"] and not twistd.get("syslog"):
            self._twistd, self._level = twistd, level
            twistd["logger"] = f"{__name__}.LOG_PLACE.observer"

    def gather(self, call_later: Callable[..., object] | None) -> None:
        """Write the lines of a reactor's turn together from now on; None: each at once, as before."""
        if self._writer is not None:
            self._writer.gather(call_later)

    def _kept(self, stream: IO[str], level: str) -> loglines.LineWriter:
        self._writer = loglines.observer(stream, level)
        return self._writer

    def observer(self) -> loglines.LineWriter:
        """Return our observer for the place twistd's options name."""
        daemon = not self._twistd.get("nodaemon")
        name = self._twistd.get("logfile") or ("twistd.log" if daemon else "-")
        if name != "-":
            return self._kept(_log_file(name), self._level)
        if daemon:
            raise SystemExit("Daemons cannot log to standard output: give --logfile or -n")
        return self._kept(sys.stdout, self._level)


LOG_PLACE: Final = _LogPlace()


def _log_file(name: str) -> IO[str]:
    """Return the log file ``name``; SIGUSR1 rotates it, as twistd's own."""
    import signal  # noqa: PLC0415 - only daemons and --logfile come here

    from twisted.internet import reactor  # noqa: PLC0415 - installed by importing it, so never at module level

    file: Any = LogFile.fromFullPath(name)  # type: ignore[no-untyped-call] # Twisted's has no types
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(file.rotate))  # type: ignore[attr-defined] # chosen at run time
    stream: IO[str] = file
    return stream


def makeService(options: Options) -> NodeService:
    """Return the service for checked ``options``."""
    from twisted.internet import reactor  # noqa: PLC0415 - installed by importing it, so never at module level

    from netsvc.certificates.shelf import Certificates  # noqa: PLC0415 - as below
    from netsvc.house import open_house  # noqa: PLC0415 - the rooms are imported when they are needed, not for --help

    if options.node is None or options.protocols is None:
        raise usage.UsageError("the options have not been parsed")
    book = logbook.Logbook(options.node.log_level)
    book.from_thread = reactor.callFromThread  # type: ignore[attr-defined] # chosen at run time
    for module, why in options.protocols.broken.items():
        book.error("plugin.broken", module=module, why=why)
    certificates = Certificates(
        options.node.tls, book, now=lambda: int(time.time() * 1000), listeners=encrypted(options.node.listeners)
    )
    opening = functools.partial(open_house, certificates=certificates)
    service = NodeService(options.node, options.protocols.makers, opening, book, reactor)
    service.certificates = certificates
    service.gather_log = LOG_PLACE.gather
    twistd: Mapping[str, Any] = options.parent or {}
    service.before_giving_up = lambda why: _tidy(twistd, why)
    return service


def _tidy(twistd: Mapping[str, Any], why: str) -> None:
    """Do what twistd leaves undone when a start ends by SystemExit: its pidfile, and the parent a daemon waits for."""
    if twistd.get("pidfile"):
        Path(twistd["pidfile"]).unlink(missing_ok=True)
    pipe = twistd.get("statusPipe")
    if pipe is not None:
        os.write(pipe, b"1 " + why.encode("ascii", "replace")[:PIPE_WORDS])
        os.close(pipe)
