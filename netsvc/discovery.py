"""Which protocols, policies and agents there are: drop-ins in ``netsvc.plugins``, then ``twisted.plugins`` (floor 7).

A module that cannot be imported is told of by Twisted, with its traceback, and
named here so that a listener that needs it can say why it is not there.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.plugin import getPlugins

import netsvc.plugins
import twisted.plugins
from netsvc.config.carriers import AGENT, NAME
from netsvc.config.endpoint import check_endpoint
from netsvc.interfaces import IDeliveryAgentMaker, IPolicyMaker, IProtocolMaker
from netsvc.mail.escape import escape
from netsvc.policymaker import COMMON, STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

_POLICY_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")


@dataclass(slots=True)
class Protocols:
    """What was found: ``makers``, ``policies``, ``agents`` by name, ``broken`` {module: why} of our plugin package."""

    makers: dict[str, IProtocolMaker] = field(default_factory=dict)
    policies: dict[str, IPolicyMaker] = field(default_factory=dict)
    agents: dict[str, IDeliveryAgentMaker] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


def protocols() -> Protocols:
    """Return what plugins there are.  Of two with one name the first is taken, ours before others'."""
    found = Protocols()
    packages: Iterable[ModuleType] = (netsvc.plugins, twisted.plugins)
    for package in packages:
        for maker in getPlugins(IProtocolMaker, package):
            fault = maker_fault(maker)
            if fault:
                found.broken[type(maker).__module__] = fault
            else:
                found.makers.setdefault(maker.name, maker)
        for policy in getPlugins(IPolicyMaker, package):
            fault = policy_fault(policy)
            if fault:
                found.broken.setdefault(type(policy).__module__, fault)
            else:
                found.policies.setdefault(policy.name, policy)
        for agent in getPlugins(IDeliveryAgentMaker, package):
            fault = agent_fault(agent)
            if fault:
                found.broken.setdefault(type(agent).__module__, fault)
            else:
                found.agents.setdefault(agent.name, agent)
    for module in pkgutil.iter_modules(netsvc.plugins.__path__):
        name = f"{netsvc.plugins.__name__}.{module.name}"
        try:
            importlib.import_module(name)
        except BaseException as error:  # a stranger's module may even call sys.exit
            if isinstance(error, KeyboardInterrupt):
                raise
            found.broken[name] = _in_a_line(error)
    return found


def maker_fault(maker: object) -> str:
    """Return what is wrong with a protocol plugin, "" when nothing is."""
    name = getattr(maker, "name", None)
    if not (isinstance(name, str) and name and name.isprintable()):
        return "it has no name"
    if not callable(getattr(maker, "make", None)):
        return f"{name} has no make(house, settings)"
    try:
        names = [setting.name for setting in getattr(maker, "settings", ())]
        check_endpoint(getattr(maker, "default_endpoint", ""))
    except (AttributeError, TypeError, ValueError) as error:
        return f"{name}: {_in_a_line(error)}"
    if len(set(names)) != len(names) or {"protocol", "endpoint", "listener"} & set(names):
        return f"{name} declares a setting twice, or one called protocol, endpoint or listener"
    return ""


def policy_fault(policy: object) -> str:
    """Return what is wrong with a policy plugin, "" when nothing is."""
    name = getattr(policy, "name", None)
    if not (isinstance(name, str) and _POLICY_NAME.match(name)):
        return "its name is none: lower-case letters, digits, - and _, at most 32"
    if not callable(getattr(policy, "make", None)):
        return f"{name} has no make(ground)"
    stages = getattr(policy, "stages", ())
    if not stages or not set(stages) <= set(STAGES):
        return f"{name} says no stages, or other ones than {' '.join(STAGES)}"
    try:
        names = [setting.name for setting in getattr(policy, "settings", ())]
    except (AttributeError, TypeError) as error:
        return f"{name}: {_in_a_line(error)}"
    if len(set(names)) != len(names) or set(COMMON) & set(names):
        return f"{name} declares a setting twice, or one called {', '.join(COMMON)}"
    for attribute, kind in (("usual", bool), ("order", int), ("deadline", int)):
        if not isinstance(getattr(policy, attribute, None), kind):
            return f"{name} does not say {attribute}"
    return ""


def agent_fault(agent: object) -> str:
    """Return what is wrong with a plugin that carries mail, "" when nothing is."""
    name = getattr(agent, "name", None)
    if not (isinstance(name, str) and NAME.match(name)):
        return "its name is none: a-z, 0-9, - and _, at most 32"
    if not callable(getattr(agent, "make", None)):
        return f"{name} has no make(ground)"
    try:
        names = [setting.name for setting in getattr(agent, "settings", ())]
    except (AttributeError, TypeError) as error:
        return f"{name}: {_in_a_line(error)}"
    common = {setting.name for setting in AGENT}
    if len(set(names)) != len(names) or common & set(names):
        return f"{name} declares a setting twice, or one called {' or '.join(sorted(common))}"
    return ""


def _in_a_line(error: BaseException) -> str:
    return escape(f"{type(error).__name__}: {error}", 300)
