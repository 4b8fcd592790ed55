"""A policy as a drop-in declares it: a value that is light to import; the policy itself is imported when it is on."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from netsvc.interfaces import IPolicyMaker

if TYPE_CHECKING:
    from netsvc.commands import Setting

STAGES = ("connect", "helo", "mail", "rcpt", "content")
"""Where policies are asked, in the order a session comes there."""

COMMON = ("on", "order", "deadline", "on_failure")
"""Keys every policy has in ``[site.policies.NAME]`` beside its own."""

DEADLINE = 5000
"""ms a check may take where neither the policy nor the site says otherwise."""

ORDER = 500
"""Place of a policy that does not say: between the guests' checks (below) and the recipient rule (900)."""


@implementer(IPlugin, IPolicyMaker)
@dataclass(frozen=True, slots=True, eq=False)
class PolicyMaker:
    """See IPolicyMaker.  ``where`` is ``module:name`` of what makes it, called with the ground: ``name(ground)``.

    Places (``order``): 100 limits, 200 connection checks, 300 greylisting and the like, 500 others, 900 the recipient
    rule, whose accept at rcpt ends the stage.

    ``needed``: without its answer nothing can be said for good.  Where it fails or is late the client is told to try
    later, whatever the site says, and it is asked anew each time: it has no breaker.
    """

    name: str
    stages: tuple[str, ...]
    where: str
    settings: tuple[Setting, ...] = ()
    usual: bool = False
    order: int = ORDER
    deadline: int = DEADLINE
    help: str = ""
    needed: bool = False

    def make(self, ground: Any) -> Any:
        """See IPolicyMaker."""
        module, _, name = self.where.partition(":")
        return getattr(importlib.import_module(module), name)(ground)
