"""The promises between rooms, written once.  Rooms on one floor meet only here.

Every method that may touch the store returns a Deferred; the Deferred fires in
the reactor's thread.  For each step the docstring says who may fail, what is
permanent when it has returned, and what the caller must do next.
"""

from netsvc.interfaces.admin import IAudit, IDirectory, IMailStore, IQueueAdmin
from netsvc.interfaces.agents import IAgentGround, IDeliveryAgentMaker
from netsvc.interfaces.console import IConsole, IConsoleSession, ITerminal
from netsvc.interfaces.doors import IDoorRules, IDoors
from netsvc.interfaces.house import IEvents, IHouse, IProtocolMaker, ISessionEntry, ISessions
from netsvc.interfaces.mailbox import IBodyReader, IBodyWriter, IMailboxService, ISubmission
from netsvc.interfaces.people import (
    IAccountRows,
    IAccounts,
    ICounters,
    ILoginSource,
    IMailLogin,
    IOperator,
    IScramLogin,
)
from netsvc.interfaces.policy import (
    IContent,
    ILimits,
    IPolicies,
    IPolicy,
    IPolicyGround,
    IPolicyMaker,
    IResolver,
    IWitness,
)
from netsvc.interfaces.security import ICertificates, ICredentials, ISenders, ISubmitter, IVerifiers
from netsvc.interfaces.spool import IDeliveryAgent, IDeliveryMap, IDestinations, IRerouting, IRouting, ISite, ISpool
from netsvc.interfaces.tls import ITlsPolicies, ITlsPolicyRows
from netsvc.interfaces.vitals import ICheckup, ISlots, IVitals

__all__ = [
    "IAccountRows",
    "IAccounts",
    "IAgentGround",
    "IAudit",
    "IBodyReader",
    "IBodyWriter",
    "ICertificates",
    "ICheckup",
    "IConsole",
    "IConsoleSession",
    "IContent",
    "ICounters",
    "ICredentials",
    "IDeliveryAgent",
    "IDeliveryAgentMaker",
    "IDeliveryMap",
    "IDestinations",
    "IDirectory",
    "IDoorRules",
    "IDoors",
    "IEvents",
    "IHouse",
    "ILimits",
    "ILoginSource",
    "IMailLogin",
    "IMailStore",
    "IMailboxService",
    "IOperator",
    "IPolicies",
    "IPolicy",
    "IPolicyGround",
    "IPolicyMaker",
    "IProtocolMaker",
    "IQueueAdmin",
    "IRerouting",
    "IResolver",
    "IRouting",
    "IScramLogin",
    "ISenders",
    "ISessionEntry",
    "ISessions",
    "ISite",
    "ISlots",
    "ISpool",
    "ISubmission",
    "ISubmitter",
    "ITerminal",
    "ITlsPolicies",
    "ITlsPolicyRows",
    "IVerifiers",
    "IVitals",
    "IWitness",
]
