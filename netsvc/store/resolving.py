"""What an address of ours stands for: mailboxes, and addresses elsewhere (one unit of work).

An address is looked for in this order, and the first that is found counts:

1. as it is, among the mailboxes and aliases of its domain (without regard to
   case); a domain that is another name of one of ours is that one;
2. without its tag, the longest part before a separator first:
   ``ann+list+x``, ``ann+list``, ``ann``;
3. ``postmaster``: the first postmaster there is on the site, by domain (RFC 5321
   4.5.1); ``abuse``: the domain's postmaster (RFC 2142);
4. the domain's catch-all.

What an alias or a catch-all leads to is looked for in the same way, breadth
first, and nothing twice: it always ends.  An address that stands for more than
the limits allow stands for nothing, so that nobody gets a part of a message's
recipients and believes that it was all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netsvc.mail.address import Address, split_address
from netsvc.mail.message import MailboxRef, Resolution
from netsvc.mail.recipient import ABUSE, MAX_LEVELS, MAX_TARGETS, POSTMASTER
from netsvc.store.sqlfilter import marks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netsvc.store.tx import SqlRow, Tx

LOCAL, ALIAS_DOMAIN = 1, 2
"""``domain.kind``: a domain of ours, and another name of one; then ``domain.catchall`` is ``@`` and that one."""
SEPARATOR = "+"
"""What divides a user from a tag where the site says nothing."""
CHUNK = 500
LOOKED_AT = 2 * MAX_TARGETS
"""Addresses of ours, and targets, that are looked at for one address."""
POSTMASTERS = 10
"""Postmasters that are tried until one resolves."""
ELSEWHERE = Resolution(local=False)
ANY = 1 << 62
"""Room where there is no quota."""

Room = tuple[int, int, int]
"""Octets and messages that still fit."""


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A domain of ours.  ``same_as``: the one it is another name of; ``catchall``: where unknown mail goes; or ""."""

    same_as: str = ""
    catchall: str = ""


@dataclass(slots=True)
class Step:
    """How one address of ours was found.

    ``how``: exact tag postmaster abuse catchall nothing.  ``base`` is the mailbox or alias it was found as, and
    ``to`` what that leads to (a mailbox: nothing).
    """

    how: str
    base: str = ""
    boxes: int = 0
    to: list[str] = field(default_factory=list)


def resolve(tx: Tx, address: Address, separator: str = SEPARATOR) -> Resolution:
    """Return what ``address`` stands for.  The postmaster of a domain of ours always resolves, where there is any."""
    return explain(tx, address, separator)[0]


def explain(tx: Tx, address: Address, separator: str = SEPARATOR) -> tuple[Resolution, Expansion]:
    """Return what ``address`` stands for, and how that was found (without steps where it is not ours)."""
    expansion = Expansion(tx, separator)
    wanted = POSTMASTER if address.local.lower() == POSTMASTER else ""
    key = address.key
    if wanted and not address.domain:
        key = _bare_postmaster(tx)
        if not key:
            return Resolution(local=True, fault=POSTMASTER), expansion
    elif not expansion.ours([address.domain]):
        return ELSEWHERE, expansion
    found = expansion.follow(key)
    return _some_postmaster(tx, expansion, found) if wanted and not found.known else (found, expansion)


def _bare_postmaster(tx: Tx) -> str:
    """Return where mail for ``<Postmaster>`` goes, "" when no domain is ours."""
    name = tx.value("SELECT min(name) FROM domain WHERE kind = ?", (LOCAL,))
    return next(iter(_postmasters(tx)), f"{POSTMASTER}@{name}" if name else "")


def _some_postmaster(tx: Tx, expansion: Expansion, found: Resolution) -> tuple[Resolution, Expansion]:
    """Return the first postmaster there is who can be reached, where the one ``found`` cannot."""
    for other in _postmasters(tx):
        again = Expansion(tx, expansion.separator)
        found = again.follow(other)
        if found.known:
            again.steps = {expansion.start: Step("postmaster", to=[other])} | again.steps
            again.start = expansion.start
            return found, again
    return Resolution(local=True, fault=POSTMASTER), expansion


def domain_rows(tx: Tx, names: Iterable[str]) -> dict[str, DomainRow]:
    """Return those of ``names`` that are ours."""
    found = {}
    for name, kind, catchall in among(tx, "SELECT name, kind, catchall FROM domain WHERE name", sorted(set(names))):
        if kind == ALIAS_DOMAIN:
            found[name] = DomainRow(same_as=(catchall or "")[1:])
        elif kind == LOCAL:
            found[name] = DomainRow(catchall=catchall or "")
    return found


def local_domains(tx: Tx, names: Iterable[str]) -> set[str]:
    """Return those of ``names`` that are domains of ours, other names of them too."""
    return set(domain_rows(tx, names))


def among(tx: Tx, sql: str, keys: list[str], limit: int = 0) -> list[SqlRow]:
    """Return the rows of ``sql`` (that ends before IN) for ``keys``, those of each 500 keys in order."""
    rows: list[SqlRow] = []
    most = f" LIMIT {limit}" if limit else ""
    for at in range(0, len(keys), CHUNK):
        part = keys[at : at + CHUNK]
        rows += tx.rows(f"{sql} IN ({marks(len(part))}) ORDER BY 1, 2{most}", part)
    return rows


def room(quota_bytes: int, quota_msgs: int, used_bytes: int, used_msgs: int) -> Room:
    """Return what still fits into a mailbox; none is left where it holds more than its quota."""
    octets = max(quota_bytes - used_bytes, 0) if quota_bytes else ANY
    return octets, max(quota_msgs - used_msgs, 0) if quota_msgs else ANY, quota_bytes or ANY


def untagged(key: str, separator: str) -> list[str]:
    """Return ``key`` without its tag, the longest first; nothing where it has none."""
    if not separator or separator not in key or key.startswith('"'):
        return []
    local, at, domain = key.rpartition("@")
    found = []
    cut = local.rfind(separator)
    while cut > 0:
        found.append(f"{local[:cut]}{at}{domain}")
        cut = local.rfind(separator, 0, cut)
    return found


def _postmasters(tx: Tx) -> list[str]:
    """Return the first postmasters' mailboxes and aliases, by domain."""
    found: list[str] = []
    for table in ("mailbox", "alias"):
        sql = f"SELECT DISTINCT address FROM {table} WHERE address >= ? AND address < ? ORDER BY 1 LIMIT ?"  # noqa: S608  two of our tables
        found += [row[0] for row in tx.rows(sql, (f"{POSTMASTER}@", f"{POSTMASTER}A", POSTMASTERS))]
    return sorted(found)[:POSTMASTERS]


class Expansion:
    """One address being followed.

    ``steps`` {address of ours: Step}; ``start`` is where it began; ``rooms`` {id: (octets, messages) that fit} of the
    mailboxes met that have a quota.
    """

    def __init__(self, tx: Tx, separator: str) -> None:
        """Look through ``tx``."""
        self._tx = tx
        self.separator = separator
        self._domains: dict[str, DomainRow | None] = {}
        self._boxes: dict[int, MailboxRef] = {}
        self._forwards: dict[str, None] = {}
        self._over = False  # more targets than are looked at
        self.steps: dict[str, Step] = {}
        self.rooms: dict[int, Room] = {}
        self.start = ""

    def ours(self, names: Iterable[str]) -> bool:
        """Look domains up; say whether they all are ours."""
        unknown = [name for name in set(names) if name not in self._domains]
        if unknown:
            rows = domain_rows(self._tx, unknown)
            self._domains.update({name: rows.get(name) for name in unknown})
        return all(self._domains[name] is not None for name in names)

    def home(self, key: str) -> str:
        """Return ``key`` in the domain that its own is another name of; "" when it is not ours."""
        local, domain = split_address(key)
        self.ours([domain])
        row = self._domains[domain]
        if row is None:
            return ""
        return f"{local}@{row.same_as}" if row.same_as else key

    def follow(self, key: str) -> Resolution:
        """Return what ``key``, in lower case and of a domain of ours, stands for."""
        self.start = self.home(key)
        level = [self.start]
        for _ in range(MAX_LEVELS + 1):
            level = self._next(level)
            self._over |= len(self._boxes) + len(self._forwards) > MAX_TARGETS or len(self.steps) > LOOKED_AT
            if self._over:
                return Resolution(local=True, fault="many")
            if not level:
                break
        if level:
            return Resolution(local=True, fault="deep")
        found = Resolution(local=True, mailboxes=tuple(self._boxes.values()), forwards=tuple(self._forwards))
        if not found.known and self.loop():
            return Resolution(local=True, fault="loop")
        return found

    def _next(self, level: list[str]) -> list[str]:
        """Look ``level`` up; return the addresses of ours that it leads to and that have not been met."""
        found = self._lookup(level)
        self.ours({split_address(key)[1] for key in level} | {_domain(to) for step in found for to in step.to})
        after: dict[str, None] = {}
        for key, step in zip(level, found, strict=True):
            self.steps[key] = step
        for step in found:
            for n, to in enumerate(step.to):
                if self._domains[_domain(to)] is None:
                    self._forwards[to] = None
                    continue
                step.to[n] = key = self.home(to.lower())
                if key not in self.steps:
                    after[key] = None
        return list(after)

    def _lookup(self, level: list[str]) -> list[Step]:
        """Return how each of ``level`` is found; what it leads to is as it is written."""
        bases = {key: [key, *untagged(key, self.separator)] for key in level}
        asked = list(dict.fromkeys(base for some in bases.values() for base in some))
        boxes: dict[str, MailboxRef] = {}
        for row in among(self._tx, _BOX, asked):
            ref = boxes[row[0]] = MailboxRef(row[1], row[0], row[2], row[3] or "", bool(row[4] or row[5]))
            if ref.limited:
                self.rooms[ref.id] = room(*row[4:8])
        aliases: dict[str, list[str]] = {}
        found = among(self._tx, _ALIAS, asked, LOOKED_AT + 1)
        self._over |= len(found) > LOOKED_AT
        for address, target in found:
            aliases.setdefault(address, []).append(target)
        steps = []
        for key in level:
            base = next((base for base in bases[key] if base in boxes or base in aliases), "")
            if not base:
                steps.append(self._otherwise(key))
                continue
            box = boxes.get(base)
            if box is not None:
                self._boxes.setdefault(box.id, box)
            how = "exact" if base == key else "tag"
            steps.append(Step(how, base, box.id if box else 0, list(aliases.get(base, ()))))
        return steps

    def _otherwise(self, key: str) -> Step:
        """Return how an address is found that is neither a mailbox nor an alias."""
        local, domain = split_address(key)
        if local == POSTMASTER:
            to = _postmasters(self._tx)
            if to:
                return Step("postmaster", to=to[:1])
        if local == ABUSE:
            return Step("abuse", to=[f"{POSTMASTER}@{domain}"])
        self.ours([domain])
        row = self._domains[domain]
        if row is not None and row.catchall:
            return Step("catchall", to=[row.catchall])
        return Step("nothing")

    def path(self, goal: str) -> list[str]:
        """Return the addresses of ours that lead from ``start`` to ``goal``, both with them; [] when it does not."""
        before = {self.start: ""}
        for key in (queue := [self.start]):
            if key == goal:
                found = [goal]
                while before[found[-1]]:
                    found.append(before[found[-1]])
                return found[::-1]
            for to in self.steps[key].to if key in self.steps else ():
                if to not in before:
                    before[to] = key
                    queue.append(to)
        return []

    def loop(self) -> list[str]:
        """Return the addresses of a loop that ``start`` leads into, the first again at the end; [] for none."""
        path: list[str] = []
        place: dict[str, int] = {}
        left: list[list[str]] = [[self.start]]
        done: set[str] = set()
        while left:
            if not left[-1]:
                left.pop()
                if path:
                    done.add(path[-1])
                    del place[path.pop()]
                continue
            key = left[-1].pop()
            if key in place:
                return [*path[place[key] :], key]
            if key in done or key not in self.steps:
                continue
            place[key] = len(path)
            path.append(key)
            left.append(self.steps[key].to[::-1])
        return []


_BOX = "SELECT address, id, driver, path, quota_bytes, quota_msgs, used_bytes, used_msgs FROM mailbox WHERE address"
_ALIAS = "SELECT address, target FROM alias WHERE address"


def _domain(target: str) -> str:
    return split_address(target)[1].lower()
