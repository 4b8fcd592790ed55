"""The house: every concrete room by its real name, constructed in one scene and wired in the next (floor 7).

Each is handed on through the promise it must keep; what does not keep it stops
the start here, and not in the middle of somebody's mail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

import netsvc
from netsvc.accounts.hashes import Hasher, in_threads
from netsvc.accounts.registry import FIRST_NAME, Accounts, first_operator
from netsvc.certificates.shelf import Certificates
from netsvc.condition import make_vitals
from netsvc.console.control import ControlService
from netsvc.console.session import Console
from netsvc.delivery.routing import Router
from netsvc.delivery.runner import DeliveryService
from netsvc.doors import Doors
from netsvc.firststart import first_site, make_state, store_url, tell_password
from netsvc.interfaces import (
    IAccountRows,
    IAccounts,
    IAudit,
    ICertificates,
    IConsole,
    ICounters,
    ICredentials,
    IDeliveryMap,
    IDirectory,
    IDoors,
    IEvents,
    IHouse,
    IMailboxService,
    IMailStore,
    IPolicies,
    IPolicyGround,
    IQueueAdmin,
    IRerouting,
    IResolver,
    IRouting,
    ISenders,
    ISessions,
    ISite,
    ISlots,
    ISpool,
    ITlsPolicies,
    IVerifiers,
    IVitals,
)
from netsvc.locks import make_locks, make_verifiers
from netsvc.logbook import Events
from netsvc.mailboxservice import Floors, MailboxService
from netsvc.node import StartError
from netsvc.outwardtls import make_tls_policies
from netsvc.policy.gate import Gate
from netsvc.resolver.resolver import Resolver
from netsvc.secretkey import use_secret_key
from netsvc.sessions import Sessions
from netsvc.store.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.application.service import Service
    from twisted.cred.portal import Portal

    from netsvc.config.node import NodeConfig
    from netsvc.delivery.tlspolicy import TlsPolicies
    from netsvc.logbook import Logbook
    from netsvc.node import Undo
    from netsvc.vitals.vitals import Vitals

T = TypeVar("T")
FIRST_START = ("netsvc", "", "first start")
"""Who the audit trail says did what nobody asked for: actor, role, source."""


@implementer(IHouse)
@dataclass(frozen=True, slots=True)
class House:
    """All that a protocol plugin is given; see IHouse."""

    mailbox_service: IMailboxService
    portal: Portal
    tls: ICertificates
    verifiers: IVerifiers | None
    console: IConsole
    counters: ICounters
    sessions: ISessions
    slots: ISlots
    logbook: Logbook
    clock: Any
    hostname: str


def keeping(promise: Any, thing: T) -> T:
    """Return ``thing``; raises TypeError where it does not provide the interface ``promise``."""
    if not promise.providedBy(thing):
        raise TypeError(f"{type(thing).__module__}.{type(thing).__qualname__} does not provide {promise.__name__}")
    return thing


@implementer(IAudit)
class WholeAudit:
    """The store's audit trail, which the store is not closed before: sessions that end last are told of too."""

    def __init__(self, audit: IAudit) -> None:
        self._audit = keeping(IAudit, audit)
        self._writing: set[Deferred[int]] = set()
        self.page = audit.page
        self.verify = audit.verify

    def record(
        self, actor: str, role: str, source: str, verb: str, target: str, args: str, affected: int, result: str
    ) -> Deferred[int]:
        """See IAudit."""
        writing = self._audit.record(actor, role, source, verb, target, args, affected, result)
        self._writing.add(writing)

        def over(number: Any) -> Any:
            self._writing.discard(writing)
            return number

        return writing.addBoth(over)

    async def written(self) -> None:
        """Wait until what was handed in is written, or has failed."""
        while self._writing:
            done: Deferred[None] = Deferred()
            next(iter(self._writing)).addBoth(_passing(done))
            await done


def _passing(done: Deferred[None]) -> Callable[[Any], Any]:
    def passed(result: Any) -> Any:
        done.callback(None)
        return result

    return passed


@dataclass(frozen=True, slots=True)
class Ground:
    """What the rooms are built on."""

    config: NodeConfig
    store: Store
    audit: WholeAudit
    logbook: Logbook
    reactor: Any
    resolver: Resolver
    vitals: Vitals
    certificates: Certificates


async def open_house(
    config: NodeConfig, logbook: Logbook, reactor: Any, undo: Undo, certificates: Certificates | None = None
) -> House:
    """Open the store, put the rooms on it and start those that work by themselves -> House.

    ``certificates`` have been loaded; None: there are none.  What is started is left in ``undo``.  Raises StartError
    and StoreError, in words fit to be shown.
    """
    make_state(config.state, logbook)
    store = await open_store(
        store_url(config),
        config.state,
        reactor=reactor,
        node_name=config.hostname,
        version=netsvc.__version__,
        logbook=logbook,
        aside=True,
    )
    undo.push("the store", store.close)
    audit = WholeAudit(store.audit)
    undo.push("the audit trail", audit.written)
    await first_contents(config, store, logbook)
    await use_secret_key(config, store.credentials, logbook)

    # Scene one: construct everything.
    resolver = keeping(IResolver, Resolver((), reactor, logbook))
    resolver.obey(keeping(ISite, store.site))
    undo.push("the resolver", resolver.stop)
    vitals = make_vitals(config, store, logbook, reactor, resolver.standing, store.safety)
    certificates = certificates or Certificates((), logbook, now=store.spool.now)
    ground = Ground(config, store, audit, logbook, reactor, resolver, vitals, certificates)
    hasher = Hasher(in_threads(reactor))
    sessions = keeping(ISessions, Sessions(config.hostname, store.spool.now))
    routing = keeping(IRouting, Router(store.site))
    doors = Doors(store.door_rules, sessions, config.hostname, logbook, reactor)
    await doors.load()
    tls = make_tls_policies(config, store, resolver, logbook, reactor, undo)
    house = build(ground, hasher, sessions, routing, doors)
    delivery = mail_out(ground, house, routing, tls)
    control = control_service(house, config)

    # Scene two: set going what works by itself.
    if "store" in config.auth:
        await first_account(config, store, hasher, logbook)
    await store.queue.resume_jobs()
    doors.start()
    undo.push("the doors", doors.stop)
    vitals.start()
    undo.push("the watch", vitals.stop)
    certificates.start(reactor, in_threads(reactor))
    undo.push("certificates", certificates.stop)
    start(delivery, "delivery", undo)
    start(control, "the control socket", undo)
    return house


def mail_out(ground: Ground, house: House, routing: IRouting, tls: TlsPolicies) -> DeliveryService:
    """Return what carries mail out, not yet started; the service for doors learns what can be asked of it."""
    config, store, service = ground.config, ground.store, house.mailbox_service
    delivery = DeliveryService(
        store.spool, store.directory, store.site, house.sessions, ground.logbook, ground.reactor, config.hostname,
        routing=routing, credentials=keeping(ICredentials, store.credentials), agents=config.agents,
        resolver=ground.resolver, tls=tls, rerouting=keeping(IRerouting, store.rerouting),
        destinations=store.queue.steering,
    )  # fmt: skip
    service.tls_policies = keeping(ITlsPolicies, tls)
    service.agents = config.agents
    service.delivery_map = keeping(IDeliveryMap, delivery.map)
    return delivery


@implementer(IPolicyGround)
@dataclass(frozen=True, slots=True)
class PolicyGround:
    """All that a policy is given; see IPolicyGround."""

    resolver: IResolver
    counters: ICounters
    directory: IDirectory
    site: ISite
    sessions: ISessions
    logbook: Logbook
    clock: Any
    hostname: str


def gate(ground: Ground, sessions: ISessions) -> Gate:
    """Return the gate with every policy the node has."""
    config, store = ground.config, ground.store
    policy_ground = PolicyGround(
        resolver=ground.resolver,
        counters=keeping(ICounters, store.counters),
        directory=keeping(IDirectory, store.directory),
        site=keeping(ISite, store.site),
        sessions=sessions,
        logbook=ground.logbook,
        clock=ground.reactor,
        hostname=config.hostname,
    )
    made = Gate(config.policies.values(), policy_ground)
    ground.reactor.addSystemEventTrigger("before", "shutdown", made.release)  # sessions are to end by then
    return made


def build(ground: Ground, hasher: Hasher, sessions: ISessions, routing: IRouting, doors: IDoors) -> House:
    """Put the rooms together, each handed on through its promise; raises StartError for password files."""
    config, store, logbook = ground.config, ground.store, ground.logbook
    checker, portal = make_locks(config.auth, store, hasher, logbook, ground.reactor)
    service = MailboxService(
        Floors(
            spool=keeping(ISpool, store.spool),
            queue=keeping(IQueueAdmin, store.queue),
            mail=keeping(IMailStore, store.mail),
            directory=keeping(IDirectory, store.directory),
            accounts=keeping(IAccounts, Accounts(store.account_rows, hasher, checker, store.counters)),
            audit=keeping(IAudit, ground.audit),
            site=keeping(ISite, store.site),
            sessions=sessions,
            events=keeping(IEvents, Events(logbook)),
            routing=routing,
            doors=keeping(IDoors, doors),
            vitals=keeping(IVitals, ground.vitals),
            senders=keeping(ISenders, store.senders),
            certificates=keeping(ICertificates, ground.certificates),
            resolver=ground.resolver,
            counters=keeping(ICounters, store.counters),
            credentials=keeping(ICredentials, store.credentials),
        ),
        hostname=config.hostname,
        policies=keeping(IPolicies, gate(ground, sessions)),
        logbook=logbook,
    )
    console = Console(service, config.hostname, netsvc.__version__, ground.reactor, store.spool.now())
    console.logbook = logbook  # the node's own: its level, its followers
    return House(
        mailbox_service=keeping(IMailboxService, service),
        portal=portal,
        tls=ground.certificates,
        verifiers=make_verifiers(config.auth, store),
        console=keeping(IConsole, console),
        counters=keeping(ICounters, store.counters),
        sessions=sessions,
        slots=keeping(ISlots, ground.vitals.slots),
        logbook=logbook,
        clock=ground.reactor,
        hostname=config.hostname,
    )


async def first_contents(config: NodeConfig, store: Store, logbook: Logbook) -> None:
    """Give an empty store what it begins with; a used one keeps what it has, and ``[site]`` is not read any more."""
    site = first_site(config)
    if await store.site.seed(site):
        counts = f"domains {len(site.domains)} mailboxes {len(site.mailboxes)} aliases {len(site.aliases)}"
        await store.audit.record(*FIRST_START, "load site", config.hostname, counts, 1, "ok")
        logbook.event("site.seeded", domains=site.domains, mailboxes=site.mailboxes, aliases=sorted(site.aliases))
    elif config.site is not None:
        logbook.event("site.seed_ignored", config=str(config.file))


async def first_account(config: NodeConfig, store: Store, hasher: Hasher, logbook: Logbook) -> None:
    """Create the first operator when there is none; the password is in a file, and shown on a terminal once."""
    try:
        made = await first_operator(keeping(IAccountRows, store.account_rows), hasher, str(config.state))
    except OSError as error:
        raise StartError(f"state {config.state}: the first password cannot be written: {error.strerror}") from None
    if made is not None:
        path, password = made
        await store.audit.record(*FIRST_START, "user add", FIRST_NAME, "role admin", 1, "ok")
        logbook.event("operator.created", user=FIRST_NAME, password_file=path)
        tell_password(FIRST_NAME, password, path)


def control_service(house: House, config: NodeConfig) -> ControlService:
    """Return the control socket's service; its folder is made where it is not there.  Raises StartError."""
    try:
        config.control_socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"control_socket {config.control_socket}: its folder: {error.strerror}") from None
    return ControlService(house, config.control_socket)


def start(service: Service, what: str, undo: Undo) -> None:
    """Start ``service`` and leave its end in ``undo``; raises StartError."""
    try:
        service.startService()  # type: ignore[no-untyped-call] # Twisted's has no types
    except ValueError as error:
        raise StartError(str(error)) from None
    undo.push(what, service.stopService)
