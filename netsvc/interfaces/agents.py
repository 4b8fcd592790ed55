"""What plugins that carry mail promise, and what they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.interfaces.mailbox import IBodyReader
    from netsvc.interfaces.spool import IDeliveryAgent
    from netsvc.mail.message import Leased


class IDeliveryAgentMaker(Interface):
    """A drop-in in netsvc/plugins: twisted.plugin.getPlugins(IDeliveryAgentMaker, netsvc.plugins).  It is light to import.

    Routes ``agent:NAME`` and ``agent:NAME words`` lead to what it makes: IDeliveryAgent, whose ``attempt`` is given the
    route as ``next_hop.route``.  The agent may also have ``configure(values)``, called with the value of every declared
    setting before its first attempt and after each change at the site; it raises ValueError, with a sentence for the
    operator, for values that cannot work: mail waits then.  It may have ``stop() -> Deferred | None``, called when the
    service ends.
    """

    name = Attribute("the NAME in routes and in [site.agents.NAME]; str of letters, digits, . - _")
    help = Attribute("what it does, for operators, str")
    settings = Attribute("tuple of commands.Setting: the keys of [site.agents.NAME] besides deadline and at_once")

    def make(ground: IAgentGround) -> IDeliveryAgent:
        """-> IDeliveryAgent.  Called once, when the first mail comes or something is set."""


class IAgentGround(Interface):
    """All that a plugin agent is given."""

    hostname = Attribute("our name, str")
    clock = Attribute("the reactor")
    resolver = Attribute("IResolver, None where there is none")
    sessions = Attribute("ISessions: connections of yours are registered there, kind smtp-out")
    logbook = Attribute("logbook.Logbook: event(name, **fields)")

    def content(message: Leased) -> Deferred[IBodyReader]:
        """-> Deferred[IBodyReader] over the content (CRLF lines).  ``message.hdr``, our Received field, goes before it.

        Whoever opens it closes it.
        """
