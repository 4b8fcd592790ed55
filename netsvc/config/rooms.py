"""What the reader of a configuration is told of other rooms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.interfaces import IDeliveryAgentMaker, IPolicyMaker, IProtocolMaker


def _never(maker: IPolicyMaker, table: Mapping[str, Any]) -> tuple[str, str]:
    del maker, table
    return "", ""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What other rooms offer and forbid.

    ``makers`` are the protocol plugins by name; ``check_route(pattern, target, of_sender=False)`` gives the
    pattern's stored form, or raises ValueError, with a sentence for the operator, for what routing would not take;
    ``policies`` are the policy plugins by name, and
    ``object_to(maker, table)`` says why a policy could not work with its table, and which key is at fault; "" for none.
    ``agents`` are the plugins that carry mail, by name.
    """

    makers: Mapping[str, IProtocolMaker]
    check_route: Callable[..., str]
    policies: Mapping[str, IPolicyMaker] = field(default_factory=dict)
    object_to: Callable[[IPolicyMaker, Mapping[str, Any]], tuple[str, str]] = _never
    agents: Mapping[str, IDeliveryAgentMaker] = field(default_factory=dict)
