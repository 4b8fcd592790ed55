"""What the reader of a configuration is told of other rooms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.interfaces import IPolicyMaker, IProtocolMaker


@dataclass(frozen=True, slots=True)
class Rooms:
    """What other rooms offer and forbid.

    ``makers`` are the protocol plugins by name; ``check_route(pattern, target)`` raises ValueError, with a sentence
    for the operator, for what routing would not take; ``policies`` are the policy plugins by name.
    """

    makers: Mapping[str, IProtocolMaker]
    check_route: Callable[[str, str], None]
    policies: Mapping[str, IPolicyMaker] = field(default_factory=dict)
