"""Filters compiled to SQL: parameters only, never a word of the operator's in the statement.

Not every test can be said in SQL alike on both engines (networks, patterns
beyond ASCII, regular expressions).  So a compiled filter has two halves: SQL
that lets through every row that matches, and a ``residual`` expression that
rows must also pass in Python (``criteria.matches``); None when the SQL alone
is exact.  Every piece of SQL is true or false, never NULL, so that ``NOT`` is
the plain contrary.

Known limit: SQL folds the case of ASCII letters; the Kelvin sign and the long
s, which fold to ASCII letters in memory, do not in SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from netsvc import criteria
from netsvc.criteria import And, Expr, Glob, Network, Not, Or, Regex, Test
from netsvc.patterns import compile_glob, compile_regex
from netsvc.records import StoreError
from netsvc.store.columns import IDS, OBJECTS, Column

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 100
MAX_PARAMS = 20_000
MAX_STARS = 4
"""More ``*`` in one pattern go to the linear-time engine: LIKE backtracks."""
_LOW, _HIGH = -(1 << 62), 1 << 62
"""Numbers are cut to what both engines can hold, with room to add times."""

TRUE = "1 = 1"
FALSE = "1 = 0"
_CONTRARY = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}


@dataclass(frozen=True, slots=True)
class Compiled:
    """``sql`` with ``params``: true for every row that matches; ``residual`` must hold too, None when sql is exact."""

    sql: str
    params: tuple[Any, ...] = ()
    residual: Expr | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    sql: str
    params: tuple[Any, ...] = ()
    exact: bool = True


@dataclass(frozen=True, slots=True)
class _Context:
    of: str
    dialect: str
    now: int
    regexp: bool


_MAYBE = _Piece(TRUE, exact=False)
_NEVER = _Piece(FALSE)


def compile_where(expr: Expr | None, of: str, dialect: str, now: int, *, regexp: bool = False) -> Compiled:
    """Compile ``expr``, a filter on ``of`` (queue history mailbox mail), as it is meant at ``now`` (ms).

    ``regexp``: the connection has SQLite's REGEXP on RE2.  Raises StoreError for a filter that is too large and
    PatternError for a pattern that does not compile.
    """
    if expr is None:
        return Compiled(TRUE)
    context = _Context(of, dialect, now, regexp)
    terms = expr.terms if isinstance(expr, And) else (expr,)
    pieces = [(term, _compile(term, context, 0)) for term in terms]
    whole = _join("AND", [piece for _, piece in pieces])
    if len(whole.params) > MAX_PARAMS:
        raise StoreError("The filter is too large; name fewer values")
    left = tuple(term for term, piece in pieces if not piece.exact)
    residual = None if not left else left[0] if len(left) == 1 else And(left)
    return Compiled(whole.sql, whole.params, residual)


def names_recycled(expr: Expr | None) -> bool:
    """Say whether a queue filter names the state ``recycled``: only then are recycled items looked at."""
    if expr is None:
        return False
    if isinstance(expr, Test):
        if expr.field != "state":
            return False
        return "recycled" in (expr.value if isinstance(expr.value, tuple) else (expr.value,))
    if isinstance(expr, Not):
        return names_recycled(expr.term)
    return any(names_recycled(term) for term in expr.terms)


def queue_filter(expr: Expr | None, dialect: str, now: int, *, regexp: bool = False) -> Compiled:
    """Compile a filter on the queue, leaving recycled items out unless it names them."""
    compiled = compile_where(expr, "queue", dialect, now, regexp=regexp)
    if names_recycled(expr):
        return compiled
    return Compiled(f"d.state <> 5 AND {compiled.sql}", compiled.params, compiled.residual)


def _compile(expr: Expr, context: _Context, depth: int) -> _Piece:
    if depth > MAX_DEPTH:
        raise StoreError("The filter is nested too deeply")
    if isinstance(expr, And):
        return _join("AND", [_compile(term, context, depth + 1) for term in expr.terms])
    if isinstance(expr, Or):
        return _join("OR", [_compile(term, context, depth + 1) for term in expr.terms])
    if isinstance(expr, Not):
        return _not(_compile(expr.term, context, depth + 1))
    return _test(expr, context)


def _not(piece: _Piece) -> _Piece:
    return _Piece(f"NOT ({piece.sql})", piece.params) if piece.exact else _MAYBE


def _join(word: str, pieces: Sequence[_Piece]) -> _Piece:
    """Join pieces as a balanced tree: SQLite bounds the depth of an expression."""
    if not pieces:
        return _Piece(TRUE if word == "AND" else FALSE)
    if len(pieces) == 1:
        return pieces[0]
    middle = len(pieces) // 2
    left, right = _join(word, pieces[:middle]), _join(word, pieces[middle:])
    return _Piece(f"({left.sql} {word} {right.sql})", left.params + right.params, left.exact and right.exact)


def _test(test: Test, context: _Context) -> _Piece:
    known = criteria.field(test.field, context.of)
    if known is None:
        raise StoreError(f"{context.of} has no field {test.field}")
    if test.op in {"!=", "!~"}:
        return _not(_test(Test(test.field, "~" if test.op == "!~" else "=", test.value), context))
    if known.kind == "id":
        return _ids(test.value if test.op == "in" else (test.value,), context.of)
    column = OBJECTS[context.of][known.name]
    if known.several:
        wanted = test.value if test.op == "in" else (test.value,)
        return _join("OR", [_among(each, column, context) for each in wanted])
    if test.op == "in":
        return _any_of(test.value, known.kind, column, context)
    if known.kind in {"text", "address"}:
        return _one(test.value, known.kind, column, context)
    if known.kind == "bool":
        piece = _Piece(f"({column.sql})")
        return piece if test.value else _not(piece)
    if column.codes is not None:
        code = column.codes.get(test.value)
        return _NEVER if code is None else _Piece(f"{column.sql} = ?", (code,))
    return _ordered(test, column, context.now)


def _ordered(test: Test, column: Column, now: int) -> _Piece:
    value = max(_LOW, min(_HIGH, test.value))
    op = test.op
    if column.since:
        op, value = _CONTRARY[op], now - value
    elif column.until:
        value = now + value
    piece = f"{column.sql} {op} ?"
    return _Piece(f"({column.sql} IS NOT NULL AND {piece})" if column.nullable else piece, (value,))


def _ids(values: Sequence[tuple[int, int | None]], of: str) -> _Piece:
    message, item = IDS[of]
    whole = [number for number, n in values if n is None]
    pieces = [_Piece(f"{message} IN ({marks(len(whole))})", tuple(whole))] if whole else []
    if item:
        some = [(number, n) for number, n in values if n is not None]
        pieces += [_Piece(f"({message} = ? AND {item} = ?)", pair) for pair in some]
    return _join("OR", pieces)


def _any_of(values: Sequence[Any], kind: str, column: Column, context: _Context) -> _Piece:
    if column.codes is not None:
        values = [column.codes[value] for value in values if value in column.codes]
        return _in(column.sql, values)
    if kind not in {"text", "address"}:
        piece = _in(column.sql, [max(_LOW, min(_HIGH, value)) for value in values])
        return _Piece(f"({column.sql} IS NOT NULL AND {piece.sql})", piece.params) if column.nullable else piece
    plain = [value for value in values if kind == "text" and isinstance(value, str) and value.isascii()]
    others = [value for value in values if not (kind == "text" and isinstance(value, str) and value.isascii())]
    pieces = [_one(value, kind, column, context) for value in others]
    if plain:
        pieces.append(_in(_fold(column, context), [value.lower() for value in plain if "\0" not in value]))
    return _join("OR", pieces)


def _in(sql: str, values: Sequence[Any]) -> _Piece:
    return _Piece(f"{sql} IN ({marks(len(values))})", tuple(values)) if values else _NEVER


def _one(value: Any, kind: str, column: Column, context: _Context) -> _Piece:
    """Return the test for one text, pattern, address or network."""
    if isinstance(value, Regex):
        compile_regex(value.source)
        return _regexp(value.source, column, context)
    if isinstance(value, Glob):
        return _glob(value.pattern, column, context)
    if isinstance(value, Network) or (kind == "address" and value):
        return _address(value, column)
    if not value.isascii():
        return _MAYBE
    if "\0" in value:
        return _NEVER
    return _Piece(f"{_fold(column, context)} = ?", (value.lower(),))


def _among(value: Any, column: Column, context: _Context) -> _Piece:
    """Return the test for one text among the words of a column, or for all of them; a pattern's is left to be sure."""
    if value == "":
        return _one(value, "text", column, context)
    if isinstance(value, Regex):
        # Its anchors mean a word's ends as well as the whole text's: no single REGEXP says both.
        compile_regex(value.source)
        return _MAYBE
    around = replace(column, sql=f"' ' || {column.sql} || ' '")
    if isinstance(value, Glob):
        compile_glob(value.pattern)
        return replace(_like(f"* {value.pattern} *", around, context), exact=False)
    return replace(_like(f"* {value} *", around, context), exact=False) if _plain(value) else _MAYBE


def _plain(text: str) -> bool:
    """Say whether a text means the same as a pattern."""
    return not set(text) & set("*?")


def _address(value: Network | str, column: Column) -> _Piece:
    """Narrow addresses down by their text; every IPv6 one is left for the residual, for it may hold an IPv4 one."""
    text = value.text if isinstance(value, Network) else value
    if not text.isascii() or "\0" in text:
        return _MAYBE
    if ":" in text:
        return _Piece(f"{column.sql} LIKE ?", ("%:%",), exact=False)
    head, _, length = text.partition("/")
    octets = min(int(length), 32) // 8 if length.isdigit() and len(length) <= 3 else 4
    parts = head.split(".")
    if octets == 0 or len(parts) != 4:
        return (
            _MAYBE
            if length
            else _Piece(f"(lower({column.sql}) = ? OR {column.sql} LIKE ?)", (text.lower(), "%:%"), exact=False)
        )
    start = ".".join(parts[:octets]) + (".%" if octets < 4 else "")
    return _Piece(f"({column.sql} LIKE ? OR {column.sql} LIKE ?)", (start.lower(), "%:%"), exact=False)


def _regexp(source: str, column: Column, context: _Context) -> _Piece:
    if not context.regexp or "\0" in source or not _encodable(source):
        return _MAYBE
    return _Piece(f"{column.sql} REGEXP ?", (source,))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeError:
        return False
    return True


def _glob(pattern: str, column: Column, context: _Context) -> _Piece:
    compile_glob(pattern)
    return _like(pattern, column, context)


def _like(pattern: str, column: Column, context: _Context) -> _Piece:
    if not pattern.isascii() or pattern.count("*") > MAX_STARS:
        return _MAYBE
    if "\0" in pattern:
        return _NEVER
    like = pattern.lower()
    for character in "!%_":
        like = like.replace(character, "!" + character)
    like = like.replace("*", "%").replace("?", "_")
    return _Piece(f"{_fold(column, context)} LIKE ? ESCAPE '!'", (like,))


def _fold(column: Column, context: _Context) -> str:
    if column.folded:
        return column.sql
    return f'lower({column.sql} COLLATE "C")' if context.dialect == "postgresql" else f"lower({column.sql})"


def marks(count: int) -> str:
    """Return ``count`` placeholders with commas between them."""
    return ", ".join("?" * count)
