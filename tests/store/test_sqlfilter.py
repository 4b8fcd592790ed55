"""Filters in SQL say what they say in memory, whatever is typed into them."""

import random
import re
import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netsvc.criteria import And, Glob, Network, Not, Or, Regex, Test, matches
from netsvc.mail.ids import parse_id
from netsvc.patterns import PatternError
from netsvc.records import StoreError
from netsvc.store import narrow, search
from netsvc.store.pages import history_page, queue_page
from netsvc.store.queuerows import FROM_HISTORY, FROM_ITEMS, HISTORY, ITEM, history_row, item_row
from netsvc.store.sqlfilter import compile_where, names_recycled, queue_filter
from tests.store import filling

NOW = 1_790_000_000_000
FEW = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", params=["index", "walk"])
def queue(request):
    """A queue in memory; searched through its indexes, or by small windows because indexes yield too much."""
    engine = filling.memory_engine()
    engine.clock.set(NOW)
    engine.write(lambda tx: filling.fill(tx, random.Random(7), 40, NOW))
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "walk":
            patch.setattr(narrow, "FEW", 4)
            patch.setattr(search, "FEW", 30)
            patch.setattr(search, "WINDOW", 7)
        engine.all = {of: all_rows(engine, of, NOW) for of in ("queue", "history")}
        yield engine
    engine.close()


def result(deferred):
    out = []
    deferred.addBoth(out.append)
    if hasattr(out[0], "raiseException"):
        out[0].raiseException()
    return out[0]


def all_rows(engine, of, now):
    def read(tx):
        if of == "queue":
            sql = f"SELECT {ITEM} {FROM_ITEMS} WHERE m.id = d.message_id ORDER BY d.id"
            return {row[0]: item_row(row, now) for row in tx.rows(sql)}
        return {row[0]: history_row(row, now) for row in tx.rows(f"SELECT {HISTORY} {FROM_HISTORY} ORDER BY h.id")}

    return result(engine.read(read))


IDS = [filling.make_id(NOW - 60_000 - k, 1, k) for k in range(3)]


@given(data=st.data())
@FEW
def test_queue_filters_agree_with_memory(queue, data):
    rows = queue.all["queue"]
    ids = sorted({row["msg"] for row in rows.values()})[:5]
    expr = data.draw(filling.exprs("queue", NOW, [parse_id(i) for i in ids]))
    wanted = [r["id"] for r in rows.values() if matches(expr, "queue", r, NOW)]
    if not names_recycled(expr):
        wanted = [r["id"] for r in rows.values() if r["state"] != "recycled" and r["id"] in wanted]
    for order in ("id", "-id"):
        found = pages(queue, queue_page, expr, order)
        assert found == (wanted if order == "id" else wanted[::-1])
    assert sorted(pages(queue, queue_page, expr, "-size")) == sorted(wanted)


@given(data=st.data())
@FEW
def test_history_filters_agree_with_memory(queue, data):
    rows = queue.all["history"]
    ids = sorted({row["msg"] for row in rows.values()})[:5]
    expr = data.draw(filling.exprs("history", NOW, [parse_id(i) for i in ids]))
    wanted = [r["id"] for r in rows.values() if matches(expr, "history", r, NOW)]
    assert pages(queue, history_page, expr, "-id") == wanted[::-1]


def pages(engine, page, expr, order, limit=7):
    found, after = [], None
    while True:
        part = result(engine.read(lambda tx, after=after: page(freeze(tx), expr, after, limit, order)))
        found += [row["id"] for row in part.rows]
        after = part.next
        if after is None:
            return found


class Frozen:
    """A Tx whose clock stands."""

    def __init__(self, tx):
        self._tx = tx
        self.now = NOW

    def __getattr__(self, name):
        return getattr(self._tx, name)


def freeze(tx):
    return Frozen(tx)


WORDS_OF_OURS = re.compile(r"[A-Za-z_]+|[0-9]+|'[@!]?'")


def test_fuzz_50000_filters(queue):
    """Any filter compiles, with no word of the operator's in it; and what compiles runs."""
    rng = random.Random(20)
    vocabulary = set()
    for n in range(50_000):
        of, dialect = rng.choice(("queue", "history", "mailbox", "mail")), rng.choice(("sqlite", "postgresql"))
        expr = filling.random_expr(rng, of)
        compiled = compile_where(expr, of, dialect, NOW, regexp=dialect == "sqlite")
        assert compiled.sql.count("?") == len(compiled.params)
        vocabulary.update(WORDS_OF_OURS.findall(compiled.sql))
        if n % 25 == 0 and of in {"queue", "history"}:
            page = queue_page if of == "queue" else history_page
            result(queue.read(lambda tx, expr=expr, page=page: page(freeze(tx), expr, None, 5, "-id")))
    assert not vocabulary & {"DROP", "TABLE", "alice", "bung", "example", "EXAMPLE", "limit", "421", "shop", "s", "ids"}
    assert len(vocabulary) < 120


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("test", "sought"),
    [
        (Test("tag", "=", "bulk"), {1, 2, 3}),
        (Test("tag", "=", "dnsbl BULK"), {2}),
        (Test("tag", "!=", "bulk"), {0, 4, 5}),
        (Test("tag", "in", ("bulk", "odd*one")), {1, 2, 3, 5}),
        (Test("tag", "=", "odd*one"), {5}),
        (Test("tag", "=", Glob("helo-*")), {3, 4}),
        (Test("tag", "=", Glob("d*-bare")), set()),
        (Test("tag", "=", ""), {0}),
        (Test("tag", "~", Regex("bl b")), {2}),
        (Test("tag", "~", Regex("bl$")), {2}),
        (Test("tag", "~", Regex("^helo-bare$")), {3, 4}),
        (Test("tag", "=", "x" * 3000), set()),
        (Test("tag", "=", "b\u00fclk"), set()),
    ],
)
def test_mail_is_found_by_any_of_its_tags(test, sought, dialect):
    tags = ("", "bulk", "dnsbl bulk", "bulk helo-bare", "helo-bare", "odd*one")
    assert {n for n, tag in enumerate(tags) if matches(test, "queue", {"tag": tag}, NOW)} == sought
    compiled = compile_where(test, "queue", dialect, NOW, regexp=dialect == "sqlite")
    if dialect == "sqlite":
        sql = compiled.sql.replace("m.tag", "?1").replace("= ?", "= ?2").replace("LIKE ?", "LIKE ?2")
        if len(compiled.params) == 1 and "REGEXP" not in sql:
            with closing(sqlite3.connect(":memory:")) as database:
                through = {
                    n
                    for n, tag in enumerate(tags)
                    if database.execute(f"SELECT {sql}", (tag, *compiled.params)).fetchone()[0]  # ours
                }
            assert through >= sought
            assert through == sought or compiled.residual is not None


def test_injection_is_only_a_value():
    for text in ("' OR 1=1 --", "'; DROP TABLE message; --", "x\\'", "%' --", "?"):
        for field in ("sender", "rcpt", "subject", "reason", "held-by"):
            for value in (text, Glob(text + "*")):
                compiled = compile_where(Test(field, "=", value), "queue", "sqlite", NOW)
                assert text not in compiled.sql.replace("?", "") or text == "?"
                assert compiled.sql.count("?") == 1


def test_recycled_items_must_be_named():
    assert "d.state <> 5" in queue_filter(None, "sqlite", NOW).sql
    assert "d.state <> 5" in queue_filter(Test("state", "=", "hold"), "sqlite", NOW).sql
    named = Or((Test("size", ">", 1), Not(And((Test("state", "in", ("hold", "recycled")),)))))
    assert names_recycled(named)
    assert "d.state <> 5" not in queue_filter(named, "sqlite", NOW).sql


def test_too_large_and_too_deep_are_refused():
    deep = Test("size", ">", 1)
    for _ in range(200):
        deep = Not(deep)
    with pytest.raises(StoreError, match="deeply"):
        compile_where(deep, "queue", "sqlite", NOW)
    with pytest.raises(StoreError, match="too large"):
        compile_where(Test("rcpt", "in", ("a",) * 20_001), "queue", "sqlite", NOW)
    with pytest.raises(StoreError, match="no field"):
        compile_where(Test("uid", "=", 1), "queue", "sqlite", NOW)


def test_broken_patterns_are_refused():
    with pytest.raises(PatternError):
        compile_where(Test("subject", "~", Regex("(")), "queue", "sqlite", NOW)
    with pytest.raises(PatternError):
        compile_where(Test("subject", "=", Glob("a" * 2000)), "queue", "sqlite", NOW)


def test_what_sql_cannot_say_is_left_to_memory():
    exact, beyond = Test("size", ">", 10), Test("subject", "~", Regex("x"))
    compiled = compile_where(And((exact, beyond)), "queue", "sqlite", NOW)
    assert compiled.residual == beyond
    assert compile_where(Test("peer", "=", Network("10.0.0.0/8")), "queue", "sqlite", NOW).residual is not None
    assert compile_where(beyond, "queue", "sqlite", NOW, regexp=True).sql.endswith("REGEXP ?")
    assert compile_where(Test("subject", "=", Glob("*a*b*c*d*e*")), "queue", "sqlite", NOW).residual is not None


def test_many_values_make_no_deep_tree(queue):
    many = Test("subject", "in", tuple(Glob(f"a{n}*") for n in range(3000)))
    assert pages(queue, queue_page, many, "id") == []
