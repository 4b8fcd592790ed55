"""A policy tried with settings before the site takes them, on ground where nothing is and nothing happens (floor 3).

A policy says itself, by ``configure``, whether its settings can work.  It is asked that of one made for the occasion,
so that the one at work, and the site, stay as they are where the answer is no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.task import Clock
from zope.interface import implementer

from netsvc.config.complaints import ValueFaultError
from netsvc.config.policies import all_settings, checked_value
from netsvc.interfaces import IPolicyGround
from netsvc.policymaker import COMMON
from netsvc.settings import SiteSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.interfaces import IPolicyMaker


class _NoSite:
    """A site of which nothing is set, and which never changes."""

    def __init__(self) -> None:
        self.current = SiteSettings()

    def watch(self, watcher: object) -> None:
        """Forget the watcher: there will be no change."""


class _Silence:
    """A logbook that writes nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@implementer(IReactorPluggableNameResolver)
class _StillClock(Clock):
    """A reactor of which time stands still, and that opens nothing."""

    nameResolver = None  # Twisted's name

    def addSystemEventTrigger(self, *args: object, **kwargs: object) -> None:
        """Forget it: nothing starts here, and nothing stops."""

    def installNameResolver(self, resolver: Any) -> Any:
        """Forget it."""


@implementer(IPolicyGround)
class _TrialGround:
    """See the module."""

    def __init__(self) -> None:
        self.resolver = self.counters = self.directory = self.sessions = None
        self.site = _NoSite()
        self.logbook = _Silence()
        self.clock = _StillClock()
        self.hostname = "localhost"


def _values(maker: IPolicyMaker, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every key of a policy; one that cannot be read is as usual."""
    values = {setting.name: setting.default for setting in all_settings(maker)}
    for key, value in said.items():
        try:
            values[key] = checked_value(maker, key, value)
        except ValueFaultError:
            continue  # told of where it was read
    return values


def fault_of(maker: IPolicyMaker, said: Mapping[str, Any]) -> str:
    """Return in the policy's words why it could not work with ``said``, "" where it can.

    What else goes wrong is no answer: on this ground a policy may miss what it will have.
    """
    own = {key: value for key, value in _values(maker, said).items() if key not in COMMON}
    ground: Any = _TrialGround()
    try:
        maker.make(ground).configure(own)
    except ValueError as error:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - a stranger's code
        return ""
    return ""


def key_of(maker: IPolicyMaker, fault: str) -> str:
    """Return the key a policy's fault begins with, "" where it names none."""
    key, colon, _ = fault.partition(":")
    return key if colon and key in {setting.name for setting in maker.settings} else ""


def objection(maker: IPolicyMaker, said: Mapping[str, Any], was: Mapping[str, Any]) -> str:
    """Return why the site must not say ``said`` of a policy of which it says ``was``; "" where it may.

    One that is off may want something yet, for its keys are set one after the other: only a key that cannot be what
    it is set to is refused then.  One that is on, and could not work before, may be mended key by key.
    """
    fault = fault_of(maker, said)
    if not fault:
        return ""
    key, changed = key_of(maker, fault), {key for key in (*said, *was) if said.get(key) != was.get(key)}
    if not _values(maker, said)["on"]:
        return fault if key in said and key in changed else ""
    if not _values(maker, was)["on"] or key in changed:
        return fault
    before = fault_of(maker, was)
    return fault if not before or (not key and before != fault) else ""


def object_to(maker: IPolicyMaker, table: Mapping[str, Any]) -> tuple[str, str]:
    """Return why a policy could not work with its table in a node file, and the key at fault; see Rooms."""
    fault = objection(maker, table, {})
    key = key_of(maker, fault)
    return fault.removeprefix(f"{key}: ") if key in table else fault, key
