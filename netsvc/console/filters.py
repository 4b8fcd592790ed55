"""``where`` as it is typed, read into criteria expressions (quiet; CONSOLE.md 3.3 to 3.5).

    expr   = term { "or" term }        term = factor { "and" factor }
    factor = [ "not" ] ( "(" expr ")" | test )
    test   = field op value | boolfield | field [ "not" ] "in" "(" value { "," value } ")"

A filter ends at the first word that cannot belong to it.  ``=`` on a time or a
duration means the span its text names: ``done=yesterday`` is the whole day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.commands import CommandError
from netsvc.console.reader import AtCursor, Option, Reader, Token, choose, near
from netsvc.console.values import (
    EXAMPLES,
    parse_bool,
    parse_duration,
    parse_int,
    parse_peer,
    parse_percent,
    parse_size,
    parse_time,
)
from netsvc.criteria import OBJECTS, OPERATORS, And, Expr, Field, Glob, Not, Or, Regex, Test, field
from netsvc.mail.ids import IdError, parse_item
from netsvc.patterns import PatternError, compile_glob, compile_regex

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 25
MAX_TESTS = 250

CLAUSE_WORDS = frozenset(
    [
        "limit",
        "oldest",
        "newest",
        "largest",
        "reason",
        "for",
        "until",
        "spread",
        "to",
        "expect",
        "dry-run",
        "confirm",
        "detail",
        "brief",
        "by",
    ]
)
"""Words that end a filter; as values they are quoted."""

_SYMBOLS = ("!=", "!~", "<=", ">=", "==", "=", "~", "<", ">")
_FIELD_STOPS = "()=!~<>,"
_OPERATOR_HELP = {
    "=": "is",
    "!=": "is not",
    "~": "matches the regular expression",
    "!~": "does not match the regular expression",
    "<": "less than",
    "<=": "at most",
    ">": "more than",
    ">=": "at least",
    "in": "is one of (a, b)",
    "not in": "is none of (a, b)",
}


def parse_where(reader: Reader, of: str, now_ms: int, tail: Sequence[Option] = ()) -> Expr:
    """Read a filter on objects of kind ``of`` (a key of criteria.OBJECTS) from the reader's place.

    ``now_ms`` is what relative times count from; ``tail`` is what may follow the filter.  Raises CommandError.
    """
    return _Filter(reader, of, now_ms, tail).whole()


def field_options(of: str) -> list[Option]:
    """Return the fields of ``of`` as options; aliases are taken but not shown."""
    options = [Option(f.name, f.help, glue=True) for f in OBJECTS[of]]
    return options + [Option(alias, f.help, hidden=True) for f in OBJECTS[of] for alias in f.aliases]


_FACTORS = {
    of: (*field_options(of), Option("not", "the contrary"), Option("(", "a group", glue=True)) for of in OBJECTS
}


class _Filter:
    def __init__(self, reader: Reader, of: str, now_ms: int, tail: Sequence[Option]) -> None:
        self.reader = reader
        self.of = of
        self.now_ms = now_ms
        self.tail = list(tail)
        self.depth = 0
        self.open = 0
        self.tests = 0

    def whole(self) -> Expr:
        expr = self._either()
        token = self.reader.peek("()")
        if token is not None and self.reader.line[token.start] == ")":
            raise CommandError("E104", 'Unexpected ")": nothing is open', token.start)
        return expr

    def _either(self) -> Expr:
        terms = [self._both()]
        while self._joined("or"):
            terms.append(self._both())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _both(self) -> Expr:
        terms = [self._factor()]
        while self._joined("and"):
            terms.append(self._factor())
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _joined(self, word: str) -> bool:
        after = [Option("and", "both hold"), Option("or", "either holds")]
        after += [Option(")", "end of the group")] if self.open else self.tail
        token = self.reader.next(after, "()")
        if token is None or token.quoted or token.text.lower() != word:
            return False
        self.reader.take(token)
        return True

    def _factor(self) -> Expr:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise CommandError("E206", "The filter is nested too deeply", self.reader.pos)
        options = _FACTORS[self.of]
        token = self.reader.next(options, _FIELD_STOPS)
        if token is None:
            raise CommandError("E204", "Expected a field", self.reader.pos, hint=f"help fields {self.of}")
        if self.reader.line[token.start] == "(":
            expr = self._group(token)
        elif token.text.lower() == "not" and not token.quoted:
            self.reader.take(token)
            expr = Not(self._factor())
        else:
            expr = self._test(token, options)
        self.depth -= 1
        return expr

    def _group(self, token: Token) -> Expr:
        self.reader.pos = token.start + 1
        self.open += 1
        expr = self._either()
        self.open -= 1
        self._expect(")", "to end the group")
        return expr

    def _expect(self, character: str, why: str) -> None:
        self.reader.skip()
        if self.reader.completing and self.reader.pos >= len(self.reader.line):
            raise AtCursor([Option(character, why)], "")
        if self.reader.line[self.reader.pos : self.reader.pos + 1] != character:
            raise CommandError("E204", f'Expected "{character}" {why}', self.reader.pos)
        self.reader.pos += 1

    def _test(self, token: Token, options: Sequence[Option]) -> Expr:
        self.tests += 1
        if self.tests > MAX_TESTS:
            raise CommandError("E206", f"A filter has at most {MAX_TESTS} tests", token.start)
        known = self._known(token, options)
        self.reader.take(token)
        op, negated = self._operator(known, token)
        if not op:
            return Test(known.name, "=", value=True)
        if op not in OPERATORS[known.kind]:
            takes = " ".join(OPERATORS[known.kind])
            raise CommandError("E203", f"Field {known.name} takes {takes}, not {op}", self.reader.pos - len(op))
        if op == "in":
            test: Expr = Test(known.name, op, self._list(known))
            return Not(test) if negated else test
        value = self._value(known, op, self.reader.line[token.start : self.reader.pos], "")
        return self._spans(known, op, value)

    def _known(self, token: Token, options: Sequence[Option]) -> Field:
        name = Token(token.text.replace("_", "-"), token.start, token.end, token.quoted)
        option = choose(name, [o for o in options if o.word not in {"not", "("}])
        known = None if option is None else field(option.word, self.of)
        if known is not None:
            return known
        likely = near(name.text, [f.name for f in OBJECTS[self.of]])
        also = f". Did you mean: {', '.join(likely)}" if likely else ""
        message = f'No field "{token.text}" on {self.of}{also}' if token.text else "Expected a field"
        code = "E201" if token.text else "E204"
        raise CommandError(code, message, token.start, likely, hint=f"help fields {self.of}")

    def _operator(self, known: Field, token: Token) -> tuple[str, bool]:
        """Return (operator, whether ``not`` stood before it); ("", False) for a bare boolean field."""
        reader = self.reader
        takes = OPERATORS[known.kind]
        options = [Option(op, _OPERATOR_HELP[op]) for op in (*takes, *(("not in",) if "in" in takes else ()))]
        reader.skip()
        for symbol in _SYMBOLS:
            if reader.line.startswith(symbol, reader.pos):
                reader.pos += len(symbol)
                return ("=" if symbol == "==" else symbol), False
        if known.kind == "bool" and reader.ended and not (reader.completing and reader.pos >= len(reader.line)):
            return "", False
        word = reader.next(options, "(")
        text = "" if word is None or word.quoted else word.text.lower()
        if word is not None and text == "not" and known.kind != "bool":
            reader.take(word)
            word = reader.next([Option("in", _OPERATOR_HELP["in"])], "(")
            if word is not None and not word.quoted and word.text.lower() == "in":
                reader.take(word)
                return "in", True
        elif word is not None and text == "in":
            reader.take(word)
            return "in", False
        if known.kind == "bool":
            return "", False
        wanted = [option.word for option in options]
        raise CommandError("E204", f'Expected an operator after "{token.text}": {" ".join(wanted)}', reader.pos, wanted)

    def _list(self, known: Field) -> tuple[Any, ...]:
        self._expect("(", "to begin the list")
        values = [self._value(known, "=", "in (", ",")]
        while len(values) <= MAX_TESTS:
            self.reader.skip()
            if self.reader.line[self.reader.pos : self.reader.pos + 1] != ",":
                break
            self.reader.pos += 1
            values.append(self._value(known, "=", "in (", ","))
        if len(values) > MAX_TESTS:
            raise CommandError("E206", f"A list has at most {MAX_TESTS} values", self.reader.pos)
        self._expect(")", "to end the list")
        return tuple(value[0] if known.kind in {"time", "duration"} else value for value in values)

    def _value(self, known: Field, op: str, before: str, stops: str) -> Any:
        reader = self.reader
        beside = reader.pos
        options = value_options(known)
        reader.skip()
        if reader.completing and reader.pos >= len(reader.line):
            raise AtCursor(options, "")
        token = reader.next(options, ")" + stops)
        clause = token is not None and token.start > beside and not token.quoted and token.text.lower() in CLAUSE_WORDS
        if token is None or (not token.text and not token.quoted) or clause:
            at = reader.pos
            also = f' (as a value it is quoted: "{token.text}")' if clause and token is not None else ""
            raise CommandError("E204", f'Expected a value after "{before.strip()}" at column {at + 1}{also}', at)
        reader.take(token)
        try:
            return self._convert(known, op, token)
        except PatternError as error:
            message = f"Pattern not taken: {error}. Use a glob or a simpler regex"
            raise CommandError("E205", message, token.start) from None
        except ValueError as error:
            examples = EXAMPLES.get(known.kind, "")
            also = f" Examples: {examples}" if examples else ""
            raise CommandError("E202", f'"{token.text}" is not {error}.{also}', token.start) from None

    def _convert(self, known: Field, op: str, token: Token) -> Any:
        text = token.text
        if op in {"~", "!~"}:
            compile_regex(text)
            return Regex(text)
        if known.kind == "enum":
            return _enum(known, token)
        if known.kind == "text":
            return _text(text)
        if known.kind == "time":
            return parse_time(text, self.now_ms)
        return _PLAIN[known.kind](text)

    def _spans(self, known: Field, op: str, value: Any) -> Expr:
        if known.kind not in {"time", "duration"}:
            return Test(known.name, op, value)
        start, span = value
        if op not in {"=", "!="}:
            return Test(known.name, op, start)
        within = And((Test(known.name, ">=", start), Test(known.name, "<", start + span)))
        return within if op == "=" else Not(within)


def _enum(known: Field, token: Token) -> str:
    option = choose(Token(token.text, token.start, token.end), [Option(word) for word in known.words])
    if option is None:
        raise CommandError(
            "E202",
            f'"{token.text}" is not a {known.name}. One of: {", ".join(known.words)}',
            token.start,
            near(token.text, known.words) or tuple(known.words),
        )
    return option.word


def _text(text: str) -> str | Glob:
    if "*" in text or "?" in text:
        compile_glob(text)
        return Glob(text)
    return text


def _id(text: str) -> tuple[int, int | None]:
    try:
        return parse_item(text)
    except IdError:
        raise ValueError("a queue id (13 characters)") from None


_PLAIN = {
    "id": _id,
    "number": parse_int,
    "percent": parse_percent,
    "size": parse_size,
    "duration": parse_duration,
    "bool": parse_bool,
    "address": parse_peer,
}


def value_options(known: Field) -> list[Option]:
    """Return what may stand as the field's value: the words of an enum, or an example."""
    if known.kind == "enum":
        return [Option(word, known.help) for word in known.words]
    if known.kind == "bool":
        return [Option("true"), Option("false")]
    return [Option("VALUE", EXAMPLES.get(known.kind, f"for example {known.example}"), open=True)]
