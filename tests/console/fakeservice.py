"""A mailbox service in memory for the console's tests: rows are dicts, filters are ``criteria.matches``.

``error`` (an exception) makes every question to the queue fail; ``silent`` makes them never answer;
``hold_jobs`` leaves jobs running until ``finish_jobs``.
"""

import array

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from netsvc import sessions
from netsvc.criteria import matches
from netsvc.doors import Doors
from netsvc.interfaces import IMailboxService
from netsvc.mail.ids import make_id, parse_id, parse_item, show_id, show_item
from netsvc.mail.message import Resolution
from netsvc.records import AccountError, MessageView, Page, Selection, StoreError
from netsvc.settings import SiteSettings
from tests.fakes import FakeLogbook, FakeRouting

NOW = 1_795_442_712_000
"""2026-11-23T14:05:12Z"""
DAY = 86_400_000


def message_id(n, ago=9000_000):
    return make_id(NOW - ago, 1, n)


def item(n, rcpt="ann@gmail.com", state="deferred", ago=9_060_000, **more):
    number = message_id(n, ago)
    row = {
        "id": show_item(number, 1),
        "msg": show_id(number),
        "n": 1,
        "state": state,
        "domain": rcpt.partition("@")[2],
        "rcpt": rcpt,
        "sender": "news@shop.example",
        "user": None,
        "peer": "192.0.2.7",
        "listener": "smtp",
        "size": 49152,
        "rcpts": 1,
        "subject": "Offers",
        "msgid": f"<{n}@shop.example>",
        "age": ago,
        "queued": NOW - ago,
        "next": NOW + 660_000 if state == "deferred" else None,
        "last": NOW - 60_000,
        "attempts": 9,
        "expires": NOW + 4 * DAY,
        "code": 421,
        "status": "4.7.28",
        "reason": "rate limit",
        "error": "421 4.7.28 slow down",
        "route": "mx",
        "host": "mx1.gmail.com",
        "tag": None,
        "held_by": None,
        "held_why": None,
        "node": "mx1",
    }
    return {**row, **more}


def past(n, result="delivered", rcpt="bob@example.net", ago=3_600_000):
    number = message_id(n, ago)
    return {
        "id": show_item(number, 1),
        "msg": show_id(number),
        "n": 1,
        "result": result,
        "done": NOW - ago + 2000,
        "queued": NOW - ago,
        "delay": 2000,
        "sender": "",
        "rcpt": rcpt,
        "domain": rcpt.partition("@")[2],
        "size": 700,
        "msgid": None,
        "subject": "report",
        "user": None,
        "peer": "192.0.2.7",
        "listener": "smtp",
        "host": "mx.example.net",
        "tls": None,
        "code": 250,
        "status": "2.0.0",
        "reply": "ok",
        "attempts": 1,
    }


class Body:
    def __init__(self, data, piece=1000):
        self.data, self.piece, self.size, self.closed = data, piece, len(data), 0

    def read(self):
        piece, self.data = self.data[: self.piece], self.data[self.piece :]
        return succeed(piece)

    def close(self):
        self.closed += 1


class Answering:
    error = None
    silent = False

    def answer(self, value):
        if self.silent:
            return Deferred()
        return fail(self.error) if self.error is not None else succeed(value)


_PASSED = {
    "hold": ("active", "hold"),
    "release": ("active", "incoming", "deferred", "recycled"),
    "retry": ("active", "hold", "recycled"),
}
"""States whose items a job passes over."""


class Queue(Answering):
    def __init__(self):
        self.items, self.past, self.attempts, self.bodies = [], [], [], {}
        self.jobs_, self.started, self.snapshots, self.waiting = [], [], {}, {}
        self.hold_jobs = False
        self.calls = []
        self.policies = []
        self.dests = [destination("gmail.com", state="backoff", connections=3, failures=2, until=NOW + 60_000)]

    def _live(self, where, recycled=False):
        names = recycled or "recycled" in repr(where)
        return [
            r
            for r in self.items
            if (names or r["state"] != "recycled") and (where is None or matches(where, "queue", r, NOW))
        ]

    def counts(self, by, where=None):
        self.calls.append("counts")
        key = {"destination": "domain", "sender-domain": "sender"}.get(by, by)
        groups = {}
        for row in self._live(where):
            groups.setdefault(row[key] or "", []).append(row)
        out = []
        for name, rows in groups.items():
            ages = [0] * 7
            for row in rows:
                limits = [m * 60_000 for m in (5, 10, 20, 40, 80, 160)]
                ages[next((i for i, top in enumerate(limits) if row["age"] < top), 6)] += 1
            states = {s: sum(r["state"] == s for r in rows) for s in ("incoming", "active", "deferred", "hold")}
            out.append(
                {
                    "key": name,
                    "total": len(rows),
                    "bytes": sum(r["size"] for r in rows),
                    **states,
                    "ages": ages,
                    "oldest": min(r["queued"] for r in rows),
                    "status": "ok" if by == "destination" else None,
                }
            )
        return self.answer(sorted(out, key=lambda r: (-r["total"], r["key"])))

    def totals(self):
        out = {}
        for row in self._live(None):
            n, octets = out.get(row["state"], (0, 0))
            out[row["state"]] = (n + 1, octets + row["size"])
        return self.answer(out)

    def past_reasons(self, where=None):
        return self.reasons()

    def reasons(self, where=None):
        rows = [r for r in self._live(where) if r["reason"]]
        groups = {}
        for row in rows:
            groups.setdefault(row["reason"], []).append(row)
        return self.answer(
            [
                {
                    "reason": name,
                    "code": some[0]["code"],
                    "status": some[0]["status"],
                    "count": len(some),
                    "share": len(some) / len(rows),
                    "sample": some[0]["error"],
                    "first": NOW - DAY,
                    "last": NOW - 4000,
                    "domains": 1,
                }
                for name, some in groups.items()
            ]
        )

    def page(self, where, after=None, limit=50, order="id"):
        self.calls.append(f"page {limit}")
        rows = self._live(where)
        key = "size" if "size" in order else "id"
        rows.sort(key=lambda r: r[key], reverse=order.startswith("-"))
        start = after or 0
        found = rows[start : start + limit]
        return self.answer(Page(found, start + limit if len(rows) > start + limit else None, len(found)))

    def history(self, where, after=None, limit=50, order="-id"):
        rows = [r for r in self.past if where is None or matches(where, "history", r, NOW)]
        rows.sort(key=lambda r: r["id"], reverse=order.startswith("-"))
        start = after or 0
        found = rows[start : start + limit]
        return self.answer(Page(found, start + limit if len(rows) > start + limit else None))

    def show(self, number):
        items = [r for r in self.items if r["msg"] == show_id(number)]
        history = [r for r in self.past if r["msg"] == show_id(number)]
        attempts = [r for r in self.attempts if r["msg"] == show_id(number)]
        if not items and not history:
            return self.answer(None)
        message = None
        if items:
            keys = ["sender", "rcpts", "size", "queued", "expires", "listener", "peer", "user", "msgid", "subject"]
            message = {"id": show_id(number), **{k: items[0][k] for k in keys}, "helo": "client.example", "tls": None}
        return self.answer(MessageView(message, items, attempts, history))

    def find_message(self, prefix):
        ids = sorted({r["msg"] for r in [*self.items, *self.past] if r["msg"].startswith(prefix)})
        return self.answer([parse_id(i) for i in ids[:6]])

    def content(self, number):
        found = self.bodies.get(number)
        return self.answer(None if found is None else (found[0], Body(found[1])))

    def select(self, where):
        self.calls.append("select")
        if isinstance(where, (list, tuple)):
            wanted = set(where)
            rows = [r for r in self.items if wanted & {parse_item(r["id"]), (parse_item(r["id"])[0], None)}]
        else:
            rows = self._live(where)
        chosen = Selection(array.array("q", [self.items.index(r) for r in rows]), len(rows))
        chosen.bytes = sum(r["size"] for r in rows)
        for row in rows:
            chosen.states[row["state"]] = chosen.states.get(row["state"], 0) + 1
        chosen.domains = _top(rows, "domain")
        chosen.senders = _top(rows, "sender")
        chosen.oldest = min((r["queued"] for r in rows), default=0)
        chosen.newest = max((r["queued"] for r in rows), default=0)
        chosen.samples = rows[:5]
        chosen.active = chosen.states.get("active", 0)
        chosen.expired = sum(r["expires"] < NOW for r in rows)
        for row in rows:
            if row["held_by"]:
                chosen.held_by[row["held_by"]] = chosen.held_by.get(row["held_by"], 0) + 1
        return self.answer(chosen)

    def start(self, verb, selection, args, actor):
        if self.error is not None:
            return fail(self.error)
        self.started.append((verb, selection.count, dict(args), actor))
        return succeed(self._run(verb, [self.items[i] for i in selection.ids], args, actor, None))

    def _run(self, verb, rows, args, actor, undo):
        number = 17 + len(self.jobs_)
        before = []
        for row in rows:
            done = row["state"] not in _PASSED.get(verb, ("active",))
            if done:
                before.append((row, row["state"], row["held_why"]))
                if verb in ("hold", "delete"):
                    row["state"] = "hold" if verb == "hold" else "recycled"
                    row["held_why"] = args.get("reason") or None if verb == "hold" else row["held_why"]
                elif verb in ("release", "undelete"):
                    row["state"] = "deferred"
        self.snapshots[number] = before
        job = {
            "id": number,
            "verb": verb,
            "actor": actor,
            "reason": args.get("reason") or None,
            "state": "running" if self.hold_jobs else "done",
            "matched": len(rows),
            "done": 0 if self.hold_jobs else len(before),
            "skipped": 0 if self.hold_jobs else len(rows) - len(before),
            "started": NOW,
            "ended": None if self.hold_jobs else NOW + 1900,
            "undo": undo,
            "undone_by": None,
        }
        for other in self.jobs_:
            if other["id"] == undo:
                other["undone_by"] = number
        self.jobs_.insert(0, job)
        return number

    def job(self, number):
        return self.answer(next((j for j in self.jobs_ if j["id"] == number), None))

    def jobs(self):
        return self.answer(list(self.jobs_))

    def wait(self, number):
        job = next(j for j in self.jobs_ if j["id"] == number)
        if job["state"] == "running":
            self.waiting[number] = Deferred()
            return self.waiting[number]
        return succeed(job)

    def finish(self, number, state="done"):
        job = next(j for j in self.jobs_ if j["id"] == number)
        job.update(state=state, done=job["matched"], ended=NOW + 1900)
        waiting = self.waiting.pop(number, None)
        if waiting is not None:
            waiting.callback(job)

    def cancel(self, number):
        job = next(j for j in self.jobs_ if j["id"] == number)
        running = job["state"] == "running"
        if running:
            self.finish(number, "cancelled")
        return succeed(running)

    def undo(self, number, actor):
        rows = []
        for row, state, why in self.snapshots[number]:
            row["state"], row["held_why"] = state, why
            rows.append(row)
        self.hold_jobs = False
        new = self._run("none", rows, {}, actor, number)
        self.jobs_[0]["verb"] = "undo"
        return succeed(new)

    def destinations(self, key=None):
        return self.answer([dict(row) for row in self.dests if key in {None, row["key"]}])

    def set_destination(self, key, rev, **policy):
        row = next((row for row in self.dests if row["key"] == key), None)
        if row is None and not rev:
            row = {**self.dests[0], **destination(key)}
            self.dests.append(row)
        if row is None or row["rev"] != rev:
            return fail(StoreError(f"{key} was changed by somebody else meanwhile"))
        self.policies.append((key, policy))
        row["rev"] += 1
        if "paused" in policy:
            row["state"] = "suspended" if policy["paused"] else "ok"
            row["reason"], row["by"] = policy.get("pause_note"), policy.get("pause_by")
            row["until"] = policy.get("pause_until") or None
        if "backoff" in policy:
            row["state"] = "ok"
        if "limited_by" in policy or "until_at" in policy:
            row["limited_by"] = policy.get("limited_by")
            row["limited_until"] = policy.get("until_at") or None
            row["limit"], row["messages"] = policy.get("connections") or None, policy.get("messages") or None
            row["rate"] = (policy["rate_count"], policy["rate_ms"]) if policy.get("rate_count") else None
        return succeed(row["rev"])


def destination(key, **changes):
    """A destination of whom nothing is said."""
    nothing = ("connections", "limit", "messages", "rate", "oldest", "last_error", "until", "reason", "by")
    nothing += ("rests_until", "limited_by", "limited_until")
    row = dict.fromkeys(nothing) | {"key": key, "domain": key, "state": "ok", "deferred": 0, "incoming": 0}
    return row | {"failures": 0, "rev": 0} | changes


def _top(rows, key):
    counted = {}
    for row in rows:
        counted[row[key]] = counted.get(row[key], 0) + 1
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:3]


class Mail(Answering):
    def __init__(self):
        self.boxes = {}
        self.contents = {}
        self.quotas = {}

    def mailboxes(self, where=None):
        rows = [self._row(a) for a in sorted(self.boxes)]
        return self.answer([r for r in rows if where is None or matches(where, "mailbox", r, NOW)])

    def _row(self, address):
        mails = self.boxes[address]
        octets = sum(m["size"] for m in mails)
        return {
            "address": address,
            "driver": "db",
            "messages": len(mails),
            "bytes": octets,
            "quota": self.quotas.get(address, (0, 0))[0],
            "quota_messages": self.quotas.get(address, (0, 0))[1],
            "use": 100 if self.quotas.get(address, (0, 0))[0] == 1 else None,
            "last_access": None,
            "state": "ok",
        }

    def mailbox(self, address):
        return self.answer(self._row(address) if address in self.boxes else None)

    def list(self, address, after_uid=0, limit=100):
        return self.answer([m for m in self.boxes[address] if m["uid"] > after_uid][:limit])

    def fetch(self, address, uid):
        data = self.contents.get((address, uid))
        return self.answer(None if data is None else Body(data, 50_000))


class Directory(Answering):
    def __init__(self, mail):
        self.mail = mail
        self.domains_ = {"example.org"}
        self.aliases_ = {}
        self.catchalls = {}
        self.postmaster = True

    def domains(self):
        rows = [
            {"domain": d, "alias_of": None, "catchall": self.catchalls.get(d), "mailboxes": 1, "aliases": 0}
            for d in sorted(self.domains_)
        ]
        return self.answer(rows)

    def aliases(self, of=""):
        rows = [{"kind": "alias", "address": a, "targets": list(t)} for a, t in sorted(self.aliases_.items())]
        return self.answer([r for r in rows if not of or of in (r["address"], *r["targets"])])

    def explain(self, address):
        return self.answer([{"step": 1, "address": address.key, "is": "reply", "to": [], "note": "250 2.1.5 ok"}])

    def resolve(self, address):
        return self.answer(Resolution(local=True, forwards=("root@away.example",) if self.postmaster else ()))

    def add_domain(self, name, same_as=""):
        if name in self.domains_:
            return fail(StoreError(f"{name} is ours already"))
        self.domains_.add(name)
        return self.answer(None)

    def set_catchall(self, name, target):
        self.catchalls[name] = target
        return self.answer(None)

    def delete_domain(self, name):
        self.domains_.discard(name)
        return self.answer(None)

    def create_mailbox(self, address, quota_bytes=0, quota_messages=0):
        if address.partition("@")[2] not in self.domains_:
            return fail(StoreError(f"{address.partition('@')[2]} is not ours: domain add"))
        self.mail.boxes[address] = []
        self.mail.quotas[address] = (quota_bytes, quota_messages)
        return self.answer(1)

    def set_quota(self, address, quota_bytes, quota_messages):
        self.mail.quotas[address] = (quota_bytes, quota_messages)
        return self.answer(None)

    def delete_mailbox(self, address):
        return self.answer(len(self.mail.boxes.pop(address)))

    def add_alias(self, address, *targets):
        self.aliases_.setdefault(address, []).extend(targets)
        return self.answer(None)

    def delete_alias(self, address, target=None):
        gone = [t for t in self.aliases_.get(address, []) if target in (None, t)]
        self.aliases_[address] = [t for t in self.aliases_.get(address, []) if t not in gone]
        return self.answer(len(gone))


class Site(Answering):
    def __init__(self):
        self.current = SiteSettings()

    def change(self, alter, actor, comment):
        try:
            before, self.current = self.current, alter(self.current)
        except StoreError as error:
            return fail(error)
        return self.answer(0 if before == self.current else 2)


class Accounts(Answering):
    def __init__(self):
        self.known = {"op": ("operator", "a long secret"), "root": ("admin", "a long secret")}
        self.locks_ = []
        self.boxes = {}

    def users(self):
        return self.answer(
            [
                {"name": n, "role": r, "content": False, "last_at": None, "last_from": "", "fails": 0}
                for n, (r, _) in sorted(self.known.items())
            ]
        )

    def add(self, name, password, role, mailbox=0):
        self.known[name] = (role, password)
        self.boxes[name] = mailbox
        return self.answer(None)

    def set_password(self, name, password):
        self.known[name] = (self.known[name][0], password)
        return self.answer(None)

    def locks(self):
        return self.answer(self.locks_)

    def unlock(self, name):
        lifted = [lock for lock in self.locks_ if lock["name"] == name]
        self.locks_ = [lock for lock in self.locks_ if lock["name"] != name]
        return self.answer((sum(lock["until"] > NOW for lock in lifted), len(lifted)))

    def set_mailbox(self, name, mailbox):
        self.boxes[name] = mailbox
        return self.answer(None)

    def set_role(self, name, role):
        self.known[name] = (role, self.known[name][1])
        return self.answer(None)

    def delete(self, name):
        if [n for n, (r, _) in self.known.items() if r == "admin"] == [name]:
            return fail(AccountError("the last admin stays"))
        del self.known[name]
        return self.answer(None)

    def verify(self, name, password):
        return self.answer(self.known.get(name, (0, None))[1] == password)


class Senders(Answering):
    """``granted``: {(account, address)}."""

    def __init__(self, accounts):
        super().__init__()
        self.accounts = accounts
        self.granted = set()

    def box(self, address):
        return self.answer(7 if address == "ann@example.org" else 0)

    def mailboxes(self):
        return self.answer({name: name for name, box in self.accounts.boxes.items() if box})

    def grants(self, user=None):
        return self.answer(sorted(row for row in self.granted if user in (None, row[0])))

    def grant(self, user, address):
        if (user, address) in self.granted:
            return fail(StoreError(f"{user} may send as {address} already"))
        self.granted.add((user, address))
        return self.answer(None)

    def revoke(self, user, address):
        there = (user, address) in self.granted
        self.granted.discard((user, address))
        return self.answer(there)


class Certificates:
    """``shown``: certificate/1 rows."""

    def __init__(self):
        self.shown = []

    def rows(self):
        return self.shown


class Audit(Answering):
    def __init__(self):
        self.rows = []

    def record(self, actor, role, source, verb, target, args, affected, result):
        if self.error is not None:
            return fail(self.error)
        self.rows.append(
            {
                "seq": len(self.rows) + 1,
                "at": NOW,
                "node": "mx1",
                "actor": actor,
                "role": role,
                "source": source,
                "verb": verb,
                "target": target,
                "args": args,
                "affected": affected,
                "result": result,
            }
        )
        return succeed(len(self.rows))

    def page(self, after=None, limit=50, where=None):
        rows = self.rows[::-1]
        start = after or 0
        return self.answer(Page(rows[start : start + limit], start + limit if len(rows) > start + limit else None))


class Sessions(sessions.Sessions):
    """The real registry; ``list`` holds rows of others."""

    def __init__(self):
        super().__init__("mx1", self.ms)
        self.list = []
        self.later = 0

    def ms(self):
        return NOW + self.later

    def rows(self):
        return [*self.list, *super().rows()]


class DoorRules:
    """Rules in memory; ``error`` as in Answering."""

    shared = False
    error = None

    def __init__(self):
        self.kept = {}

    def now(self):
        return NOW

    def load(self):
        return fail(self.error) if self.error is not None else succeed(list(self.kept.values()))

    def put(self, rule):
        self.kept[rule.kind, rule.key] = rule
        return self.load()

    def drop(self, kind, key):
        self.kept.pop((kind, key), None)
        return self.load()


class Credentials(Answering):
    """``kept``: {name: (user, password, by)}; ``unreadable``: names whose key this node has not."""

    def __init__(self):
        self.kept, self.unreadable = {}, set()

    def rows(self):
        return self.answer(
            [
                {
                    "name": name, "user": user, "password": "<set>", "set": NOW - DAY, "by": by, "key": "ab",
                    "error": "wrong key" if name in self.unreadable else None,
                }
                for name, (user, _, by) in sorted(self.kept.items())
            ]
        )  # fmt: skip

    def put(self, name, user, password, by):
        was = name in self.kept
        self.kept[name] = (user, password, by)
        return self.answer(was)

    def delete(self, name):
        return self.answer(self.kept.pop(name, None) is not None)


@implementer(IMailboxService)
class Service:
    hostname = "mx1.example.org"

    def __init__(self):
        self.queue, self.mail, self.accounts, self.audit = Queue(), Mail(), Accounts(), Audit()
        self.directory = Directory(self.mail)
        self.sessions = Sessions()
        self.door_rules = DoorRules()
        self.doors = Doors(self.door_rules, self.sessions, "mx1", FakeLogbook(), None)
        self.events = self.policies = self.resolver = self.counters = None
        self.site = Site()
        self.senders = Senders(self.accounts)
        self.certificates = Certificates()
        self.credentials = Credentials()
        self.routing = FakeRouting()
        self.delivery_map = None
        self.agents = {}
        self.tls_policies = None

    def verify_sender(self, session, reverse_path, params):
        raise NotImplementedError

    def verify_connection(self, session):
        raise NotImplementedError

    verify_recipient = submit = verify_sender
    verify_helo = verify_connection
