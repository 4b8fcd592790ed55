"""TLS towards other hosts, made from its real parts (floor 7, beside house)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from netsvc.delivery.dane import Dane
from netsvc.delivery.mtasts import MtaSts
from netsvc.delivery.outside import Outside
from netsvc.delivery.stsfetch import StsFetcher
from netsvc.delivery.tlscontext import Authorities
from netsvc.delivery.tlspolicy import TlsPolicies
from netsvc.node import StartError

if TYPE_CHECKING:
    from netsvc.config.node import NodeConfig
    from netsvc.interfaces import IResolver
    from netsvc.logbook import Logbook
    from netsvc.node import Undo
    from netsvc.settings import SiteSettings
    from netsvc.store.store import Store


def load_authorities(config: NodeConfig) -> Authorities:
    """Return the certificate authorities that are trusted.  Raises StartError."""
    path = config.tls_ca_file
    if path is None:
        return Authorities()
    try:
        path.read_bytes()
        return Authorities(str(path))
    except OSError as error:
        raise StartError(f"tls_ca_file {path}: {error.strerror}") from None
    except SSL.Error:
        raise StartError(f"tls_ca_file {path}: there is no certificate (PEM) in it") from None


def make_tls_policies(
    config: NodeConfig, store: Store, resolver: IResolver, logbook: Logbook, reactor: Any, undo: Undo
) -> TlsPolicies:
    """Return what says how TLS must be, set going.  Raises StartError."""
    authorities = load_authorities(config)

    def settings() -> SiteSettings:
        return store.site.current

    outside = lru_cache(maxsize=1)(Outside)
    fetcher = StsFetcher(
        reactor,
        resolver,
        authorities,
        lambda: settings().delivery.mta_sts_port,
        lambda address: outside(settings().delivery.mx_allow_networks).objection(address) is None,
    )
    sts = MtaSts(resolver, store.tls_policies, fetcher.fetch, store.spool.now, logbook)
    sts.start(reactor)
    undo.push("TLS policies", sts.stop)
    return TlsPolicies(store.site, sts, Dane(resolver), logbook, authorities)
