"""Every event the service logs: its level and its fields (floor 2).

In fields ``session`` is S and a number, ``id`` and ``msg`` a queue id, ``peer`` an
IP address, ``source`` where an operator comes from, ``why`` a cause in words,
``*_ms`` milliseconds.  Plugins may log others, best with a prefix of their own.
Names are a contract: add freely, rename with a record in docs/adr.
"""

from __future__ import annotations

from typing import Final

EVENTS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    # the process
    "service.starting": ("info", ("version", "hostname", "config", "store")),
    "service.started": ("info", ("version", "hostname", "listeners", "took_ms")),
    "service.stopping": ("info", ("hostname",)),
    "service.stopped": ("info", ("hostname",)),
    "service.failed": ("error", ("stage", "why")),
    "listener.bound": ("debug", ("listener", "address")),
    "listener.serving": ("info", ("listener", "protocol", "address")),
    "listener.closed": ("info", ("listener",)),
    "listener.paused": ("warn", ("listener", "user", "why", "until_ms")),
    "listener.resumed": ("info", ("listener",)),
    "peer.blocked": ("info", ("network", "user", "why", "until_ms")),
    "peer.unblocked": ("info", ("network",)),
    "peer.turned_away": ("info", ("listener", "peer", "why", "count")),
    "plugin.broken": ("error", ("module", "listener", "why")),
    "state.open_to_others": ("warn", ("path", "mode", "remedy")),
    "listener.no_descriptors": ("warn", ("listener", "why")),
    "control.serving": ("info", ("path",)),
    "reactor.blocked": ("warn", ("took_ms", "count")),
    "reactor.stack": ("debug", ("took_ms", "where")),
    # its first start
    "site.seeded": ("info", ("domains", "mailboxes", "aliases")),
    "site.seed_ignored": ("info", ("config",)),
    "operator.created": ("warn", ("user", "password_file")),
    "secretkey.created": ("warn", ("path",)),
    "secretkey.missing": ("error", ("path", "remedy")),
    "secretkey.differs": ("error", ("path", "remedy")),
    # the store
    "store.opened": ("info", ("url", "messages")),
    "store.recovered": ("info", ("node", "released", "held")),
    "store.poison": ("warn", ("msg", "n")),
    "store.clock_gap": ("warn", ("ms",)),
    "store.clock_jump": ("warn", ("ms",)),
    "store.swept": ("info", ("bodies",)),
    "store.fenced": ("warn", ("node", "epoch")),
    "store.beat_failed": ("warn", ("why",)),
    "store.writer_died": ("warn", ("pid",)),
    "store.failed": ("error", ("what", "why")),
    "store.disk_low": ("error", ("free", "needed")),
    "store.disk_ok": ("info", ("free", "took_ms")),
    "store.unwell": ("error", ("why",)),
    "store.well": ("info", ("took_ms",)),
    # mail in
    "message.accepted": ("info", ("session", "peer", "id", "sender", "rcpts", "size", "msgid")),
    "mail.loop_cut": ("info", ("id", "session", "rcpt")),
    "mail.not_taken": ("warn", ("session", "peer", "msg", "code", "why")),
    "smtp.refused": ("info", ("session", "peer", "stage", "sender", "rcpt", "code", "why", "policy")),
    "message.held": ("info", ("id", "session", "peer", "policy", "why")),
    "limit.reached": ("info", ("limit", "key", "most", "n")),
    "policy.failed": ("warn", ("policy", "stage", "n", "why")),
    "policy.breaker": ("warn", ("policy", "state", "why")),
    "policy.misconfigured": ("error", ("policy", "key", "why")),
    "milter.undone": ("info", ("session", "peer", "filter", "what")),
    "smtp.bare_newline": ("info", ("session", "peer")),
    "smtp.too_many_connections": ("warn", ("listener", "limit")),
    "smtp.stress_began": ("warn", ("used", "limit")),
    "smtp.stress_ended": ("info", ("used", "limit")),
    "smtp.proxy_refused": ("warn", ("listener", "proxy", "why")),
    "smtp.xclient_allowed": ("warn", ("listener", "networks")),
    "smtp.client_replaced": ("info", ("session", "peer", "by", "given")),
    "smtp.starttls_injection": ("warn", ("session", "peer")),
    "smtp.fault": ("info", ("session", "peer", "why")),
    "session.kicked": ("info", ("session", "kind", "peer", "user", "why")),
    "session.closed": ("debug", ("session", "kind", "peer", "why")),
    # names
    "dns.failed": ("debug", ("query", "kind", "why")),
    "dns.down": ("warn", ("n", "why")),
    "dns.up": ("info", ("took_ms",)),
    "dns.fault": ("error", ("why",)),
    "dnsbl.not_served": ("warn", ("list", "answer")),
    # who sends it
    "auth.ok": ("info", ("session", "peer", "user", "mechanism", "tls")),
    "auth.failed": ("info", ("session", "peer", "user", "mechanism", "why", "failures")),
    "auth.fault": ("warn", ("session", "peer", "user", "why")),
    "tls.failed": ("debug", ("session", "peer", "why")),
    "tls.certificate_read": ("info", ("name", "file", "fingerprint", "expires_ms")),
    "tls.certificate_refused": ("error", ("name", "why")),
    "tls.certificate_expires": ("warn", ("name", "file", "days", "why")),
    "tls.fault": ("error", ("what", "why")),
    # mail out
    "delivery.started": ("info", ()),
    "delivery.stopped": ("info", ()),
    "delivery.done": ("info", ("msg", "n", "rcpt", "result", "host", "code", "status", "reply", "took_ms")),
    "delivery.destination_down": ("warn", ("destination", "why", "until_ms")),
    "delivery.reported": ("info", ("msg", "about", "rcpt")),
    "delivery.unreported": ("warn", ("msg", "sender")),
    "delivery.lost_lease": ("warn", ("msg", "n", "rcpt", "result")),
    "delivery.fault": ("error", ("msg", "what", "why")),
    # operators
    "operator.login": ("info", ("session", "user", "source", "role")),
    "operator.refused": ("warn", ("session", "user", "source", "why")),
    "operator.command": ("info", ("user", "source", "verb", "target")),
    "console.fault": ("error", ("session", "what", "why")),
    "accounts.fault": ("error", ("what", "why")),
}
