"""Rows put straight into a store, and filters made at random: for tests of searching and of the operators' work."""

from __future__ import annotations

from hypothesis import strategies as st

from netsvc.criteria import OBJECTS, OPERATORS, And, Glob, Network, Not, Or, Regex, Test
from netsvc.mail.ids import make_id
from netsvc.store.engine import Engine
from netsvc.store.sqlitefiles import MemoryLinks
from netsvc.store.tally import rebuild_counters, rebuild_heads
from netsvc.store.tx import table

MINUTE = 60_000
MESSAGE = table(
    "message",
    "id blob_id hdr:b sender:t sender_domain:t size rcpts received_at expires_at pending node_id listener:t client:t helo:t"
    " tls:t auth:t msgid:t subject:t tag:t",
)
DELIVERY = table(
    "delivery",
    "id message_id n rcpt:t domain:t dest_id route:t kind state due_at attempts reason_id host:t reply:t lease_node prev_state"
    " mark held_by:t held_why:t purge_at size last_at",
)
DEST = table("dest", "id key:t domain:t transport:t")
REASON = table("reason", "id klass code enhanced:t text:t sample:t first_at last_at")
HISTORY = table(
    "history",
    "id at node_id message_id delivery_id n sender:t rcpt:t domain:t dest_id outcome attempts reason_id size received_at"
    " msgid:t subject:t auth:t client:t listener:t reply:t host:t tls:t",
)
BLOB = table("blob", "id sha256:b size refs place")

DOMAINS = ("example.com", "example.net", "mx.example.org", "b.test")
SENDERS = ("", "news@shop.example", "News@shop.example", "o'brien@x_y.test", '"a@b"@c.test', "postmaster")
LOCALS = ("ann", "Ann", "bob_1", "100%", "x'); DROP TABLE delivery;--", "ünal")
TEXTS = (None, "", "alice", "alice a_b", "Invoice 100%", "a_b", "' OR 1=1 --", "Übung", "back\\slash", "!bang")
PEERS = (None, "", "10.1.2.3", "10.200.0.9", "192.0.2.7", "2001:db8::1", "::ffff:10.1.2.3")
REASONS = (
    (11, 1, 421, "4.7.28", "rate limit", "421 4.7.28 Our system"),
    (12, 1, 452, "4.2.2", "over quota", "452 4.2.2 full"),
    (13, 3, 0, "", "conn refused", "connect 192.0.2.1:25 refused"),
)
STATES = (1, 1, 2, 3, 3, 3, 4, 5)


def memory_engine():
    """Return an open engine in memory; its Deferreds have fired."""
    engine = Engine(MemoryLinks(), None)
    engine.open()
    return engine


def put(tx, into, rows):
    """Insert rows that are not there."""
    marks = ", ".join("?" * len(into.columns))
    tx.many(f"INSERT INTO {into.name} ({', '.join(into.columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING", rows)


def fill(tx, rng, messages, now, node_id=1):
    """Insert ``messages`` random messages with one to three items each, and history; counters are made after."""
    put(tx, DEST, [(n + 1, d, d, "smtp") for n, d in enumerate(DOMAINS)])
    put(tx, REASON, [(*r, now - MINUTE, now) for r in REASONS])
    heads, items, past, blobs = [], [], [], []
    for k in range(messages):
        age = rng.choice((1, 3, 7, 15, 30, 60, 100, 200, 2000)) * MINUTE + rng.randrange(1000)
        number = make_id(now - age, node_id, k)
        sender = rng.choice(SENDERS)
        domain = sender.rpartition("@")[2].lower() if "@" in sender else ""
        rcpts = rng.randrange(1, 4)
        pick = lambda: rng.choice(TEXTS)  # noqa: E731
        size = rng.choice((0, 1, 500, 4096, 1 << 20))
        heads.append(
            (
                number,
                number,
                b"Received: x\r\n",
                sender,
                domain,
                size,
                rcpts,
                now - age,
                now + rng.randrange(-9, 9) * MINUTE,
                rcpts,
                node_id,
                rng.choice(("smtp", None)),
                rng.choice(PEERS),
                pick(),
                pick(),
                pick(),
                pick(),
                pick(),
                pick(),
            )
        )
        blobs.append((number, b"\0" * 32, size, 1, 1))
        for n in range(1, rcpts + 1):
            items.append(_item(rng, number, n, size, now))
            if rng.random() < 0.5:
                past.append(_past(rng, (number, n, size, now, age, sender, node_id)))
    put(tx, MESSAGE, heads)
    put(tx, BLOB, blobs)
    put(tx, DELIVERY, items)
    put(tx, HISTORY, past)
    rebuild_counters(tx, node_id)
    rebuild_heads(tx)


def _item(rng, number, n, size, now):
    state = rng.choice(STATES)
    which = rng.randrange(len(DOMAINS))
    mark = rng.choice((0, 1, 2)) if state == 2 else 0
    held = state == 4 or mark == 1 or rng.random() < 0.1
    attempts = rng.choice((0, 1, 9)) if state != 1 else 0
    domain = DOMAINS[which]
    return (
        *(
            number + 1000 * n,
            number,
            n,
            f"{rng.choice(LOCALS)}@{domain}",
            domain,
            which + 1,
            rng.choice(("mx", None, "*")),
        ),
        *(2, state, now + rng.randrange(-5, 30) * MINUTE, attempts, rng.choice((0, 11, 12, 13)) if attempts else 0),
        *(rng.choice(("mx1.example.com", None)), rng.choice(TEXTS), 1 if state == 2 else 0, rng.choice((1, 3))),
        *(mark, rng.choice(("op", "bo")) if held else None, rng.choice(TEXTS) if held else None),
        *(now + 1 if state == 5 else 0, size, now - MINUTE if attempts else 0),
    )


def _past(rng, about):
    number, n, size, now, age, sender, node_id = about
    which = rng.randrange(len(DOMAINS))
    pick = lambda: rng.choice(TEXTS)  # noqa: E731
    return (
        *(number + 1000 * n + 500, now - age // 2, node_id, number, number + 1000 * n + 7, n, sender),
        *(f"{rng.choice(LOCALS)}@{DOMAINS[which]}", DOMAINS[which], which + 1, rng.randrange(1, 7), rng.randrange(3)),
        *(rng.choice((0, 11, 12, 13)), size, now - age, pick(), pick(), pick(), rng.choice(PEERS), "smtp"),
        *(pick(), rng.choice(("mx1.example.com", None)), rng.choice((None, "TLSv1.3"))),
    )


_PLAIN = st.sampled_from(
    [t for t in (*TEXTS, *SENDERS, *DOMAINS, *(f"{x}@{d}" for x in LOCALS for d in DOMAINS)) if t is not None]
    + [r[4] for r in REASONS]
    + [
        "4.7.28",
        "mx",
        "MX1.EXAMPLE.COM",
        "ALICE",
        "op",
        "' OR 1=1 --",
        "'; DROP TABLE message; --",
        "%",
        "_",
        "\\",
        "a\0b",
    ]
)
_GLOB = st.one_of(
    st.builds(lambda t, k, c: t[:k] + c + t[k + 1 :], _PLAIN, st.integers(0, 9), st.sampled_from("*?")),
    st.text(alphabet="*?an@.%_'!\\üA", max_size=6),
).map(Glob)
_REGEX = st.sampled_from(["a", "^news", "invoice", "[0-9]+%?$", "", "übung", "'.*--", r"\.test$", "(?:a|b)_"]).map(
    Regex
)
_PEER = st.one_of(
    st.sampled_from(["10.1.2.3", "192.0.2.7", "2001:db8::1", "", "::ffff:10.1.2.3"]),
    st.sampled_from(["10.0.0.0/8", "10.128.0.0/9", "0.0.0.0/0", "2001:db8::/32", "192.0.2.0/30", "10.1.2.3/32"]).map(
        Network
    ),
    _GLOB,
)


def _number(now):
    near = st.integers(-9, 300).map(lambda n: n * MINUTE)
    return st.one_of(
        st.sampled_from([0, 1, 3, 421, 452, 500, 4096, 1 << 20, 1 << 70, -(1 << 70)]), near, near.map(lambda n: now - n)
    )


def one_test(of, now, ids, fields):
    """Return a strategy of single tests on ``of``; ``ids`` are message numbers that exist."""

    def make(known):
        if known.kind == "text":
            value = st.one_of(_PLAIN, _GLOB)
        elif known.kind == "address":
            value = _PEER
        elif known.kind == "id":
            value = st.tuples(st.sampled_from([*ids, 5]), st.sampled_from([None, 1, 2]))
        elif known.kind == "enum":
            value = st.sampled_from([*known.words])
        elif known.kind == "bool":
            value = st.booleans()
        else:
            value = _number(now)

        def of_op(op):
            if op in {"~", "!~"}:
                return st.builds(Test, st.just(known.name), st.just(op), _REGEX)
            if op == "in":
                return st.builds(Test, st.just(known.name), st.just(op), st.lists(value, max_size=3).map(tuple))
            return st.builds(Test, st.just(known.name), st.just(op), value)

        return st.sampled_from(OPERATORS[known.kind]).flatmap(of_op)

    return st.sampled_from(fields or OBJECTS[of]).flatmap(make)


def exprs(of, now, ids, fields=None):
    """Return a strategy of whole filters."""
    return st.recursive(
        one_test(of, now, ids, fields),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda t: And(tuple(t))),
            st.lists(inner, max_size=3).map(lambda t: Or(tuple(t))),
            inner.map(Not),
        ),
        max_leaves=6,
    )


_WORDS = (
    *(
        "alice",
        "Übung",
        "",
        "100%",
        "a_b",
        "' OR 1=1 --",
        "'; DROP TABLE message; --",
        "x\\",
        "!",
        "?",
        "$1",
        "%s",
        "{ids}",
    ),
    *(
        "news@shop.example",
        '"a@b"@c.test',
        "EXAMPLE.com",
        "rate limit",
        "a\0b",
        "\ud800",
        "\u202e",
        "x" * 300,
        "*",
        "4.7.28",
    ),
)


def random_value(rng, kind, words):
    """Return a value for a field of ``kind``, as hostile as an operator can type."""
    if kind in {"text", "address"}:
        word = rng.choice(_WORDS)
        if kind == "address":
            word = rng.choice((word, "10.1.2.3", "::1", "10.0.0.0/8", "1.2.3.4/99999"))
            if rng.random() < 0.3:
                return Network(rng.choice(("10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "10.9.0.0/13")))
        if rng.random() < 0.3:
            at = rng.randrange(len(word) + 1)
            return Glob(word[:at].replace("\ud800", "") + rng.choice("*?") + word[at:].replace("\ud800", ""))
        return word
    if kind == "id":
        return (rng.choice((0, 5, (1 << 63) - 1)), rng.choice((None, 1, 10**6)))
    if kind == "enum":
        return rng.choice((*words, "no such word"))
    if kind == "bool":
        return rng.random() < 0.5
    return rng.choice((0, 1, -1, 421, 1 << 40, 1 << 63, 1 << 90, -(1 << 90)))


def random_expr(rng, of, depth=3):
    """Return a filter on ``of`` made of ``rng``'s choices."""
    shape = rng.random()
    if depth and shape < 0.3:
        kind = rng.choice((And, Or))
        return kind(tuple(random_expr(rng, of, depth - 1) for _ in range(rng.randrange(4))))
    if depth and shape < 0.4:
        return Not(random_expr(rng, of, depth - 1))
    known = rng.choice(OBJECTS[of])
    op = rng.choice(OPERATORS[known.kind])
    if op in {"~", "!~"}:
        return Test(
            known.name, op, Regex(rng.choice(("a", "^x", "[0-9]+$", "", "ü", "' OR 1=1 --", r"\?", "(?:a|b)*c")))
        )
    if op == "in":
        return Test(known.name, op, tuple(random_value(rng, known.kind, known.words) for _ in range(rng.randrange(4))))
    return Test(known.name, op, random_value(rng, known.kind, known.words))
