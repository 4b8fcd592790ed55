"""How addresses resolve, on every engine: order, tags, other names of domains, catch-alls, postmasters, limits, graphs."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netsvc.mail.address import Address, parse_address
from netsvc.mail.message import Resolution
from netsvc.mail.recipient import MAX_LEVELS, MAX_TARGETS, answer
from netsvc.records import StoreError
from netsvc.store import directory as directory_module
from netsvc.store.resolving import ANY, Expansion, explain, resolve, room, untagged

DOMAIN = "example.org"


@pytest.fixture
def desk(house):
    """Two domains of ours, another name of the first, and mailboxes."""
    directory = house.store.directory
    house.run(directory.add_domain(DOMAIN))
    house.run(directory.add_domain("shop.example"))
    house.run(directory.add_domain("other.example", DOMAIN))
    for local in ("alice", "bob", "carol+news"):
        house.run(directory.create_mailbox(f"{local}@{DOMAIN}"))
    return directory


def ask(house, desk, text):
    return house.run(desk.resolve(parse_address(text)))


def ends(house, desk, text):
    """-> where mail for ``text`` ends, mailboxes before addresses elsewhere."""
    found = ask(house, desk, text)
    return [ref.address.partition("@")[0] for ref in found.mailboxes] + list(found.forwards)


def refused(house, deferred):
    return str(house.fails(deferred, StoreError))


def link(house, *pairs):
    """Put alias rows in that no operator could."""
    for source, target in pairs:
        house.execute("INSERT INTO alias (address, target) VALUES (?, ?)", (f"{source}@{DOMAIN}", f"{target}@{DOMAIN}"))
    house.store.directory.forget()


def test_tags(desk, house):
    house.run(desk.add_alias("sales@example.org", "bob@example.org"))
    for text, end in (
        ("alice+x@example.org", ["alice"]),
        ("ALICE+X+Y@Example.org", ["alice"]),
        ("carol+news@example.org", ["carol+news"]),
        ("carol+news+may@example.org", ["carol+news"]),
        ("carol+other@example.org", []),
        ("sales+x@example.org", ["bob"]),
        ("+x@example.org", []),
        ("alice+@example.org", ["alice"]),
        ("alice-x@example.org", []),
        ('"alice+x y"@example.org', []),
    ):
        assert ends(house, desk, text) == end, text
    house.run(desk.create_mailbox("alice+x@example.org"))
    assert ends(house, desk, "alice+x@example.org") == ["alice+x"]
    assert ends(house, desk, "alice+y@example.org") == ["alice"]


def test_another_separator_or_none(desk, house):
    assert ends(house, desk, "alice+x@example.org") == ["alice"]
    desk.divide("-")
    assert ends(house, desk, "alice+x@example.org") == []
    assert ends(house, desk, "alice-x@example.org") == ["alice"]
    desk.divide("")
    assert ends(house, desk, "alice-x@example.org") == []


def test_the_site_says_what_divides(house):
    store = house.store
    house.run(store.site.seed(type(store.site.current)(domains=(DOMAIN,), mailboxes=("alice@example.org",))))
    house.run(store.site.change(lambda old: type(old)(subaddress="="), "op", "test"))
    assert ends(house, store.directory, "alice=x@example.org") == ["alice"]


def test_another_name_of_a_domain(desk, house):
    assert ends(house, desk, "Alice+x@OTHER.example") == ["alice"]
    assert house.run(desk.is_local("other.example")) is True
    house.run(desk.add_alias("b@shop.example", "bob@other.example"))
    assert ends(house, desk, "b@shop.example") == ["bob"]
    assert "write x@example.org" in refused(house, desk.create_mailbox("x@other.example"))
    assert "write x@example.org" in refused(house, desk.add_alias("x@other.example", "bob@example.org"))
    assert "not a domain" in refused(house, desk.add_domain("b.example", "c.example"))
    assert "alias-of example.org" in refused(house, desk.add_domain("b.example", "other.example"))
    assert "already" in refused(house, desk.add_domain("shop.example", DOMAIN))
    assert "b@shop.example leads to bob@other.example" in refused(house, desk.delete_domain("other.example"))
    assert "b@shop.example leads to bob@other.example" in refused(house, desk.delete_mailbox("bob@example.org"))
    for row in house.run(desk.aliases("bob@example.org")):
        house.run(desk.delete_alias(row["address"]))
    house.run(desk.delete_domain("other.example"))
    assert not ask(house, desk, "alice@other.example").local


def test_catch_all(desk, house):
    house.run(desk.set_catchall(DOMAIN, "Bob@example.org"))
    for text, end in (
        ("nobody@example.org", ["bob"]),
        ("nobody+x@other.example", ["bob"]),
        ("alice@example.org", ["alice"]),
        ("alice+x@example.org", ["alice"]),
        ("nobody@shop.example", []),
    ):
        assert ends(house, desk, text) == end, text
    house.run(desk.set_catchall("shop.example", "Root@Away.example"))
    assert ends(house, desk, "x@shop.example") == ["Root@away.example"]
    assert "The catch-all of example.org leads" in refused(house, desk.delete_mailbox("bob@example.org"))
    assert "neither a mailbox" in refused(house, desk.add_alias("a@example.org", "typo@example.org"))
    assert "neither a mailbox" in refused(house, desk.set_catchall("shop.example", "typo@shop.example"))
    assert "is not a domain" in refused(house, desk.set_catchall("b.example", None))
    assert "another name of example.org" in refused(house, desk.set_catchall("other.example", "bob@example.org"))
    house.run(desk.set_catchall(DOMAIN, None))
    assert "has no catch-all" in refused(house, desk.set_catchall(DOMAIN, None))
    assert ends(house, desk, "nobody@example.org") == []
    assert [row["catchall"] for row in house.run(desk.domains())] == [None, None, "Root@away.example"]


def test_a_catch_all_that_leads_into_a_domain_keeps_it(desk, house):
    house.run(desk.add_domain("empty.example"))
    house.run(desk.add_domain("also.example", "empty.example"))
    assert "also.example is another name" in refused(house, desk.delete_domain("empty.example"))
    house.execute("UPDATE domain SET catchall = 'x@empty.example' WHERE name = 'shop.example'")
    house.run(desk.delete_domain("also.example"))
    assert "domain catchall shop.example none" in refused(house, desk.delete_domain("empty.example"))


def test_a_catch_all_never_leads_to_itself(desk, house):
    link(house, ("info", "gone"))
    assert "would lead back to itself" in refused(house, desk.set_catchall(DOMAIN, "info@example.org"))
    house.execute("UPDATE domain SET catchall = ? WHERE name = ?", ("info@example.org", DOMAIN))
    desk.forget()
    assert ask(house, desk, "nobody@example.org") == Resolution(local=True, fault="loop")


def test_postmaster_and_abuse(desk, house):
    bare = Address("POSTMASTER", "")
    assert house.run(desk.resolve(bare)) == Resolution(local=True, fault="postmaster")
    assert ask(house, desk, "postmaster@example.org") == Resolution(local=True, fault="postmaster")
    assert ask(house, desk, "abuse@example.org") == Resolution(local=True)
    house.run(desk.set_catchall(DOMAIN, "bob@example.org"))
    assert ends(house, desk, "postmaster@example.org") == ["bob"]
    house.run(desk.add_alias("postmaster@shop.example", "alice@example.org"))
    assert [ref.address for ref in house.run(desk.resolve(bare)).mailboxes] == ["alice@example.org"]
    for text in ("postmaster@example.org", "Abuse@other.example", "PostMaster@other.example", "abuse@shop.example"):
        assert ends(house, desk, text) == ["alice"], text
    assert ends(house, desk, "postmaster+x@example.org") == ["bob"]
    house.run(desk.create_mailbox("abuse@example.org"))
    assert ends(house, desk, "abuse@example.org") == ["abuse"]
    assert not ask(house, desk, "postmaster@away.example").local


def test_a_postmaster_that_leads_nowhere_is_passed_over(desk, house):
    link(house, ("postmaster", "gone"))
    assert ask(house, desk, "postmaster@example.org").fault == "postmaster"
    house.run(desk.create_mailbox("postmaster@shop.example"))
    for text in ("postmaster@example.org", "postmaster@shop.example"):
        assert ends(house, desk, text) == ["postmaster"], text
    steps = house.run(desk.explain(parse_address("postmaster@example.org")))
    assert [row["is"] for row in steps] == ["postmaster", "mailbox", "reply"]


def test_without_a_domain_there_is_no_postmaster(house):
    assert house.run(house.store.directory.resolve(Address("postmaster", ""))).fault == "postmaster"
    assert house.run(house.store.directory.explain(Address("postmaster", "")))[-1]["note"].startswith("451 4.3.5")


def test_loops_are_refused_and_found(desk, house):
    house.run(desk.add_alias("a@example.org", "alice@example.org"))
    house.run(desk.add_alias("b@example.org", "a@example.org"))
    said = refused(house, desk.add_alias("a@example.org", "b+x@other.example"))
    assert said == "a@example.org would lead back to itself: a@example.org -> b+x@example.org -> a@example.org"
    assert "lead to itself" in refused(house, desk.add_alias("a@example.org", "A@other.example"))
    link(house, ("x", "y"), ("y", "z"), ("z", "y"))
    assert ask(house, desk, "x@example.org") == Resolution(local=True, fault="loop")
    link(house, ("y", "alice"))
    assert ends(house, desk, "x@example.org") == ["alice"]
    steps = house.run(desk.explain(parse_address("x@example.org")))
    assert [row["to"] for row in steps if row["is"] == "loop"] == [["z@example.org", "y@example.org"]]
    assert steps[-1]["note"].startswith("250 2.1.5")


def test_an_alias_that_something_leads_to_stays(desk, house):
    house.run(desk.add_alias("a@example.org", "alice@example.org"))
    house.run(desk.add_alias("b@example.org", "a+x@example.org"))
    assert "First: alias delete b@example.org a+x@example.org" in refused(house, desk.delete_alias("a@example.org"))
    house.run(desk.add_alias("a@example.org", "bob@example.org"))
    assert house.run(desk.delete_alias("a@example.org", "bob@example.org")) == 1
    house.run(desk.delete_alias("b@example.org"))
    assert house.run(desk.delete_alias("a@example.org")) == 1


def test_what_is_tagged_may_be_another_mailbox(desk, house):
    house.run(desk.create_mailbox("alice+x@example.org"))
    house.run(desk.add_alias("a@example.org", "alice+x@example.org"))
    assert house.run(desk.aliases("alice@example.org")) == []
    assert house.run(desk.delete_mailbox("alice@example.org")) == 0


def test_what_leads_where(desk, house):
    house.run(desk.add_alias("a@example.org", "alice+x@other.example"))
    house.run(desk.add_alias("a@example.org", "Eve@Away.example"))
    house.run(desk.add_alias("b@shop.example", "a@example.org"))
    house.run(desk.set_catchall("shop.example", "alice@example.org"))

    def shown(of=""):
        return [(row["kind"], row["address"]) for row in house.run(desk.aliases(of))]

    every = [
        ("alias", "a@example.org"),
        ("alias", "b@shop.example"),
        ("catch-all", "@shop.example"),
        ("domain", "@other.example"),
    ]
    assert shown() == every
    assert shown("alice@example.org") == [every[0], every[2]]
    assert shown("A@other.example") == [every[0], every[1]]
    assert shown("eve@away.example") == [every[0]]
    assert shown("shop.example") == [every[1], every[2]]
    assert shown("other.example") == [every[0], every[3]]
    assert shown("nobody@example.org") == []


def test_hundreds_of_targets_and_no_more_than_the_limit(desk, house):
    rows = [("many@example.org", f"u{n}@away.example") for n in range(MAX_TARGETS)]

    def fill(tx):
        for row in rows:
            tx.execute("INSERT INTO alias (address, target) VALUES (?, ?)", row)

    house.run(house.engine.write(fill))
    desk.forget()
    assert len(ask(house, desk, "many@example.org").forwards) == MAX_TARGETS
    assert "leads to 1000 addresses already" in refused(house, desk.add_alias("many@example.org", "alice@example.org"))
    hundreds = [f"m{n}@away.example" for n in range(300)]
    house.run(desk.add_alias("some@example.org", *hundreds))
    assert sorted(ask(house, desk, "some@example.org").forwards) == sorted(hundreds)
    assert "leads to m7@away.example already" in refused(
        house, desk.add_alias("some@example.org", "new@away.example", "m7@away.example")
    )
    assert len(ask(house, desk, "some@example.org").forwards) == 300
    house.run(desk.add_alias("all@example.org", "many@example.org"))
    said = refused(house, desk.add_alias("all@example.org", "alice@example.org"))
    assert said == "all@example.org would stand for more than 1000 addresses"
    link(house, ("all", "alice"))
    assert ask(house, desk, "all@example.org") == Resolution(local=True, fault="many")
    assert "stands for more than 1000" in refused(house, desk.add_alias("top@example.org", "all@example.org"))
    steps = house.run(desk.explain(parse_address("all@example.org")))
    assert [row["is"] for row in steps][-2:] == ["limit", "reply"]
    assert steps[-1]["note"].startswith("451 4.2.4")


def test_more_rows_than_are_looked_at(desk, house):
    rows = [(f"{name}@example.org", f"{name}{n}@example.org") for name in "abc" for n in range(900)]
    rows += [("top@example.org", f"{name}@example.org") for name in "abc"]

    def fill(tx):
        for row in rows:
            tx.execute("INSERT INTO alias (address, target) VALUES (?, ?)", row)

    house.run(house.engine.write(fill))
    desk.forget()
    assert ask(house, desk, "top@example.org").fault == "many"


def test_elsewhere_is_explained(desk, house):
    steps = house.run(desk.explain(parse_address("x@away.example")))
    assert [(row["step"], row["is"]) for row in steps] == [(1, "elsewhere"), (2, "reply")]


def test_what_is_remembered_is_bounded_by_what_it_stands_for(desk, house, monkeypatch):
    monkeypatch.setattr(directory_module, "REMEMBERED_TARGETS", 3)
    for local in ("a", "b"):
        for target in ("alice", "bob"):
            house.run(desk.add_alias(f"{local}@example.org", f"{target}@example.org"))
    for text in ("nobody@example.org", "a@example.org", "b@example.org"):
        ask(house, desk, text)
    assert [str(address) for address in desk._known] == ["b@example.org"]
    assert desk._targets == 2


def test_what_fits_into_a_mailbox(make_house, monkeypatch):
    house = make_house("memory")
    desk = house.store.directory
    house.run(desk.add_domain(DOMAIN))
    house.run(desk.create_mailbox("any@example.org"))
    number = house.run(desk.create_mailbox("box@example.org", 1000, 10))
    (unlimited,) = ask(house, desk, "any@example.org").mailboxes
    (box,) = ask(house, desk, "box@example.org").mailboxes
    assert (unlimited.limited, desk.room(unlimited)) == (False, None)
    assert (box.limited, desk.room(box)) == (True, (1000, 10, 1000))
    house.execute("UPDATE mailbox SET used_bytes = 1200, used_msgs = 3 WHERE id = ?", (number,))
    assert desk.room(box) == (1000, 10, 1000)  # the figure is young
    now = house.engine.now()
    monkeypatch.setattr(house.engine, "now", lambda: now + directory_module.ROOM_MS + 1)
    assert desk.room(box) == (1000, 10, 1000)  # it is looked up meanwhile
    house.pump.turn()
    assert desk.room(box) == (0, 7, 1000)
    house.execute("DELETE FROM mailbox WHERE id = ?", (number,))
    monkeypatch.setattr(house.engine, "now", lambda: now + 10 * directory_module.TRUST_MS)
    assert desk.room(box) is None  # too old to say anything
    house.pump.turn()
    assert desk.room(box) is None
    monkeypatch.setattr(directory_module, "REMEMBERED", 0)
    desk._put_room(7, (1, 1, 1), now)
    assert list(desk._rooms) == [7]


def test_a_changed_quota_counts_at_once(desk, house):
    (box,) = ask(house, desk, "alice@example.org").mailboxes
    assert not box.limited
    house.run(desk.set_quota("ALICE@example.org", 100, 2))
    (box,) = ask(house, desk, "alice@example.org").mailboxes
    assert desk.room(box) == (100, 2, 100)
    assert "There is no mailbox" in refused(house, desk.set_quota("nobody@example.org", 1, 1))
    assert "quota" in refused(house, desk.set_quota("alice@example.org", -1, 1))
    assert "quota" in refused(house, desk.create_mailbox("dora@example.org", 0, -1))


def test_addresses_beyond_ascii(desk, house):
    house.run(desk.create_mailbox("Jo\u0308rg@example.org"))
    for text in ("jörg@example.org", "JÖRG+x@other.example"):
        found = house.run(desk.resolve(parse_address(text, utf8=True)))
        assert [ref.address for ref in found.mailboxes] == ["jörg@example.org"]
    house.run(desk.add_alias("chef@example.org", "JÖRG@example.org"))
    assert ends(house, desk, "chef@example.org") == ["jörg"]
    assert "chef@example.org leads to jörg@example.org" in refused(house, desk.delete_mailbox("Jörg@example.org"))
    assert "not ASCII" in refused(house, desk.add_alias("x@example.org", "ü@away.example"))
    assert "not ASCII" in refused(house, desk.set_catchall(DOMAIN, "ü@away.example"))
    assert "not show" in refused(house, desk.create_mailbox("a\u202eb@example.org"))


def test_room():
    assert room(0, 0, 5, 5) == (ANY, ANY, ANY)
    assert room(10, 3, 4, 4) == (6, 0, 10)
    assert room(10, 0, 14, 4) == (0, ANY, 10)


def test_untagged():
    assert untagged("a+b+c@x", "+") == ["a+b@x", "a@x"]
    assert untagged("+a+b@x", "+") == ["+a@x"]
    assert untagged("a+b@x", "") == []
    assert len(untagged("+".join("a" * 30) + "@x", "+")) == 29


NAMES = [f"n{n}" for n in range(8)]
NODES = st.sampled_from(
    [*(f"{name}@{DOMAIN}" for name in NAMES), "n1+t@example.org", "N2@other.example", "e@away.example"]
)
GRAPHS = st.lists(st.tuples(st.sampled_from(NAMES), NODES), max_size=24)


@pytest.fixture(scope="module")
def graph_house(tmp_path_factory):
    from tests.store.conftest import House

    house = House("memory", tmp_path_factory.mktemp("graphs"))
    yield house
    house.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(GRAPHS, st.sets(st.sampled_from(NAMES)), st.none() | NODES, NODES)
def test_any_graph_of_aliases_is_followed_to_its_end(graph_house, edges, boxes, catchall, start):
    def work(tx):
        for name in ("alias", "mailbox", "domain"):
            tx.execute(f"DELETE FROM {name}")
        tx.execute("INSERT INTO domain (name, kind, catchall) VALUES (?, 1, ?)", (DOMAIN, catchall))
        tx.execute("INSERT INTO domain (name, kind, catchall) VALUES ('other.example', 2, ?)", (f"@{DOMAIN}",))
        for number, name in enumerate(sorted(boxes), 1):
            sql = "INSERT INTO mailbox (id, address, uidvalidity) VALUES (?, ?, 1)"
            tx.execute(sql, (number, f"{name}@{DOMAIN}"))
        for source, target in set(edges):
            if source not in boxes:
                tx.execute("INSERT INTO alias (address, target) VALUES (?, ?)", (f"{source}@{DOMAIN}", target))
        return explain(tx, parse_address(start))

    found, expansion = graph_house.run(graph_house.engine.write(work))
    reached = reachable(edges, boxes, catchall, start)
    if found.fault == "deep":
        assert len(expansion.steps) > MAX_LEVELS
        return
    if found.local:
        assert {ref.address for ref in found.mailboxes} == {key for key in reached if key.partition("@")[0] in boxes}
        assert set(found.forwards) == {key for key in reached if key.endswith("@away.example")}
        assert (found.fault == "loop") <= (not found.known and bool(expansion.loop()))
    assert len({ref.id for ref in found.mailboxes}) == len(found.mailboxes)
    assert len(set(found.forwards)) == len(found.forwards)
    assert len(found.mailboxes) + len(found.forwards) <= MAX_TARGETS
    loop = expansion.loop()
    if loop:
        assert loop[0] == loop[-1]
        assert all(b in expansion.steps[a].to for a, b in itertools.pairwise(loop))
    assert answer(found).code in (250, 451, 550)


def reachable(edges, boxes, catchall, start):
    """-> all that ``start`` reaches, by another way than the code's."""
    leads = {}
    for source, target in edges:
        if source not in boxes:
            leads.setdefault(source, set()).add(target)
    found, left = set(), [start]
    while left:
        text = left.pop().lower()
        local, domain = text.split("@")
        if domain == "away.example":
            found.add(text)
            continue
        if local not in boxes and local not in leads:
            local = local.partition("+")[0]
        key = f"{local}@{DOMAIN}"
        if key in found:
            continue
        found.add(key)
        if local not in boxes:
            left += leads.get(local) or ([catchall] if catchall else [])
    return found


def test_of_one_unit_of_work(house):
    """``resolve`` is ``explain`` without the how."""
    house.run(house.store.directory.add_domain(DOMAIN))
    work = lambda tx: (resolve(tx, parse_address("a@example.org")), Expansion(tx, "+").home("a@away.example"))  # noqa: E731
    assert house.run(house.engine.read(work)) == (Resolution(local=True), "")
