"""Fetching a domain's MTA-STS policy by HTTPS (RFC 8461 3.3).

The certificate must be trusted and bear the policy host's name; redirects are not
followed, nothing is kept by HTTP's own rules.  Time, size and addresses are
bounded: whoever publishes a record can make us connect somewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import Agent, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from netsvc.delivery.faults import AttemptError
from netsvc.delivery.stspolicy import MOST_OCTETS, StsError
from netsvc.delivery.terms import Host, TlsLevel, TlsTerms
from netsvc.delivery.tlscontext import connection_creator
from netsvc.records import NameNotFoundError, NameTemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IProtocolFactory
    from twisted.python.failure import Failure
    from twisted.web.client import URI
    from twisted.web.iweb import IResponse

    from netsvc.delivery.tlscontext import Authorities
    from netsvc.interfaces import IResolver

PATIENCE: Final = 60.0
"""Seconds for all of it (RFC 8461 3.3)."""
CONNECT_PATIENCE: Final = 10.0
"""Seconds for one address."""
MOST_ADDRESSES: Final = 4
MOST_RECEIVED: Final = MOST_OCTETS + (32 << 10)
"""Octets of the whole answer."""
PORT: Final = 443
PATH: Final = "/.well-known/mta-sts.txt"
_TERMS: Final = TlsTerms(TlsLevel.VERIFY, source="policy host")


class _Bounded(ProtocolWrapper):
    """Ends a connection that brings too much: header lines without end."""

    received = 0

    def dataReceived(self, data: bytes) -> None:
        """Pass octets on, so many."""
        self.received += len(data)
        if self.received > MOST_RECEIVED:
            self.end()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call] # Twisted's has no types

    def end(self) -> None:
        """End it at once."""
        self.transport.abortConnection()  # type: ignore[union-attr] # every stream's has it


class _BoundedFactory(WrappingFactory):
    """Makes one connection, and knows it."""

    noisy = False
    made: _Bounded | None = None

    def buildProtocol(self, addr: Any) -> Any:
        """Return the connection's protocol, in its bounds."""
        inner = self.wrappedFactory.buildProtocol(addr)
        self.made = None if inner is None else _Bounded(self, inner)  # type: ignore[arg-type] # any factory does
        return self.made


class _Body(Protocol):
    """Gathers a body of MOST_OCTETS at most."""

    def __init__(self) -> None:
        self._got = bytearray()
        self.whole: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._got += data
        if len(self._got) > MOST_OCTETS and not self.whole.called:
            self.whole.errback(StsError(f"the policy has more than {MOST_OCTETS} octets"))

    def connectionLost(self, reason: Failure | None = None) -> None:
        if self.whole.called:
            return
        if reason is not None and isinstance(reason.value, ResponseDone):
            self.whole.callback(bytes(self._got))
        else:  # without a length too: what was cut short must not be taken for the whole
            self.whole.errback(StsError("the answer was cut short"))


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _PolicyHost:
    """One policy host: looked up through our own resolver, its addresses tried in order, TLS verified."""

    def __init__(self, fetcher: StsFetcher, name: str) -> None:
        self._fetcher = fetcher
        self._name = name
        self._factory: _BoundedFactory | None = None

    def endpointForURI(self, uri: URI) -> _PolicyHost:
        """See IAgentEndpointFactory."""
        del uri
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See IStreamClientEndpoint."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        fetcher = self._fetcher
        last: Exception = StsError("it has no address that may be used")
        for address in (await fetcher.addresses(self._name))[:MOST_ADDRESSES]:
            kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            plain = kind(fetcher.reactor, address, fetcher.port(), timeout=CONNECT_PATIENCE)
            creator = connection_creator(Host(self._name, (address,)), _TERMS, fetcher.authorities)
            self._factory = _BoundedFactory(factory)  # type: ignore[no-untyped-call] # Twisted's has no types
            try:
                wrapped = await wrapClientTLS(creator, plain).connect(self._factory)
                return wrapped.wrappedProtocol  # type: ignore[attr-defined] # it is a _Bounded
            except CancelledError:
                raise
            except Exception as why:  # noqa: BLE001 - whatever keeps a connection from being made; the next may do
                last = why
        raise last

    async def get(self) -> bytes:
        """Return the policy file; the connection has ended then, however it went."""
        agent = Agent.usingEndpointFactory(self._fetcher.reactor, self)  # type: ignore[no-untyped-call] # Twisted's has no types
        url = f"https://{self._name}{PATH}".encode("ascii")
        try:
            response: IResponse = await agent.request(b"GET", url, Headers({b"User-Agent": [b"netsvc"]}))
            if response.code != 200:
                raise StsError(f"the policy host answers {response.code}")
            [kind] = (response.headers.getRawHeaders(b"content-type") or [b""])[:1]
            if kind.partition(b";")[0].strip().lower() != b"text/plain":
                raise StsError("the policy is not text/plain")
            body = _Body()
            response.deliverBody(body)  # type: ignore[no-untyped-call] # Twisted's has no types
            return await body.whole
        finally:
            if self._factory is not None and self._factory.made is not None:
                self._factory.made.end()


class StsFetcher:
    """Fetches policies.  ``port`` gives the port of policy hosts; ``authorities`` None: this host's.

    ``allowed`` says whether an address may be connected to.
    """

    def __init__(
        self,
        reactor: Any,
        resolver: IResolver,
        authorities: Authorities | None = None,
        port: Callable[[], int] = lambda: PORT,
        allowed: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Have fetched nothing."""
        self.reactor = reactor
        self.authorities = authorities
        self.port = port
        self._resolver = resolver
        self._allowed = allowed

    async def addresses(self, name: str) -> list[str]:
        """Return the addresses of a policy host that may be used.  Raises StsError."""
        found: list[str] = []
        temporary = False
        for kind in ("aaaa", "a"):
            try:
                found += (await self._resolver.look(kind, name)).values
            except NameTemporaryError:
                temporary = True
            except NameNotFoundError:
                pass
        if not found and temporary:
            raise StsError("its address cannot be looked up now")
        return [address for address in found if self._allowed(address)]

    async def fetch(self, domain: str) -> bytes:
        """Return the policy file of ``domain`` (ASCII).  Raises StsError with words fit to be shown."""
        fetching = Deferred.fromCoroutine(_PolicyHost(self, f"mta-sts.{domain}").get())
        fetching.addTimeout(PATIENCE, self.reactor)
        end = self.reactor.seconds() + PATIENCE
        try:
            return await fetching
        except StsError:
            raise
        except Exception as why:
            late = self.reactor.seconds() >= end  # the agent has words of its own for being cancelled
            raise StsError(f"no policy in {PATIENCE:g} s" if late else _words(why)) from why


def _words(why: BaseException) -> str:
    """Return what kept a policy from being fetched, the first cause of it."""
    reasons = getattr(why, "reasons", None) if isinstance(why, ResponseFailed) else None
    if reasons:
        return _words(reasons[0].value)
    if isinstance(why, AttemptError):
        return why.words
    return f"{type(why).__name__}: {why}" if str(why) else type(why).__name__
