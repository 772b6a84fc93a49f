"""Text of a formula -> tree: tokens and a Pratt parser with R's precedence.

Nothing is evaluated here. The tree of the right-hand side is made of `Algebra` and `Bar`, which
`expansion` turns into terms; values, as in `log(x + 1)`, are trees of `expression`. Whatever
has no meaning is refused with a caret.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from mixwell.errors import MixwellError, error, suggest
from mixwell.formula.expression import (
    CONTRAST_CALL,
    CONTRASTS,
    FUNCTIONS,
    LEVEL,
    PLACES,
    RESERVED,
    SIGN,
    STRUCTURES,
    Binary,
    Boolean,
    Call,
    Expr,
    Function,
    Name,
    Number,
    Span,
    String,
    Structure,
    Unary,
    is_dunder,
    label,
    names,
)

__all__ = ["Algebra", "Bar", "Node", "Parser", "Token", "tokenize"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A random-effects term as written: `(left | group)`. `closed` once its parentheses have been seen."""

    left: Node
    op: str
    group: Node
    span: Span
    closed: bool = False
    structure: Structure = "us"
    homogeneous: bool = False


@dataclass(frozen=True, slots=True)
class Algebra:
    """An operator between terms; `left` is None for a leading sign."""

    op: str
    left: Node | None
    right: Node
    span: Span


Node: TypeAlias = Name | Number | Call | Bar | Algebra

# --- tokens


class Token(NamedTuple):
    """`kind` is "name", "number", "string", "end", or the operator itself."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def span(self) -> Span:
        """Where it stands in the text."""
        return self.start, self.end


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<name>(?:[^\W\d]|\.(?![0-9]))[\w.]*)
    | (?P<op>\*\*|\|\||%in%|%%|%/%|[<>=!]=|[-+*/:^|~(),>=]|<(?!-))
    | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?L?)
    | (?P<quoted>`(?:[^`\\]|\\.)*`)
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<end>\Z)
    | (?P<bad><-|%[^%\s]{0,9}%|&&?|\$\.?\w*|@\.?\w*|.) )""",
    re.VERBOSE | re.DOTALL,
)
_QUOTES = {"`": "backquote", '"': "double quote", "'": "single quote"}
_SUBSCRIPT = "Subscripts are not allowed: make the column first, then name it."
_OUTSIDE = "Name the column alone; the table is given separately."
_GROUPING = "Use parentheses to group."
_OTHERWISE = "A formula is made of names, numbers, + - * / : ^ %in% | ~ and (). Other names go in backquotes."
_REFUSED = {
    "[": _SUBSCRIPT,
    "]": _SUBSCRIPT,
    "$": _OUTSIDE,
    "@": _OUTSIDE,
    "{": _GROUPING,
    "}": _GROUPING,
    "&": "Join comparisons by multiplying them: I((a > 1) * (b > 1)).",
    "!": "Write I(a != b), or I(1 - a) for the opposite of a 0/1 column.",
    "%": "The operators between percent signs are %in%, and inside I() also %% and %/%.",
    "`": "A column name stands between the backquotes.",
    "<": "A formula assigns nothing. For 'less than minus' put a space between: I(a < -b).",
}


def tokenize(text: str) -> list[Token]:
    """Split a formula into tokens; the last one is "end"."""
    tokens: list[Token] = []
    position, kind = 0, ""
    while kind != "end":
        found = _TOKEN.match(text, position)
        assert found is not None  # the pattern takes any character
        assert found.lastgroup is not None
        kind = found.lastgroup
        start, position = found.span(kind)
        value = found[kind]
        if kind == "op":
            kind = value = "^" if value == "**" else value
        elif kind == "name":
            if "__" in value and is_dunder(value):
                raise error("MW-F26", given=value, text=text, span=(start, position))
        elif kind == "quoted" and value != "``":
            kind, value = "name", re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
        elif kind in ("bad", "quoted"):
            if value in _QUOTES:
                raise error("MW-F29", quote=_QUOTES[value], text=text, span=(start, position))
            advice = _REFUSED.get(value[0], _OTHERWISE)
            shown = value if value.isprintable() else f"U+{ord(value[0]):04X}"
            raise error("MW-F04", given=shown, advice=advice, text=text, span=(start, position))
        tokens.append(Token(kind, value, start, position))
    return tokens


# --- the parser

_MAX_DEPTH = 80  # nested parentheses; deeper ones would exhaust Python's stack later
_MAX_NODES = 200  # operators and calls inside one outermost call
_BINDING = {"|": 1, "||": 1} | LEVEL
_COMPARISON = {"<", "<=", ">", ">=", "==", "!="}
_VALUES_ONLY = {"%%", "%/%"} | _COMPARISON
_TERMS_ONLY = {"%in%", ":"}
_TRUTH = {"TRUE": True, "True": True, "T": True, "FALSE": False, "False": False, "F": False}
_UNESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_UNQUOTED = "Columns are written without quotes; names with spaces in backquotes: `my column`."
_DOT = "It stands for all columns but the response, as a term of its own in the fixed part."


class Parser:
    """Pratt parser over the tokens of one formula: `algebra` reads terms, `arithmetic` reads values.

    Methods that explain a mistake return the error; the caller raises it.
    """

    __slots__ = ("at", "depth", "dots", "nodes", "text", "tokens")

    def __init__(self, text: str, *, dots: bool = False) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.at = 0  # next token
        self.depth = 0
        self.nodes = 0
        self.dots = dots  # whether "." may stand for the old response, in an update

    # --- small helpers

    def fault(self, code: str, span: Span, **fields: object) -> MixwellError:
        """Return a formula error with its caret."""
        return error(code, text=self.text, span=span, **fields)

    def source(self, span: Span) -> str:
        """Return what was written there, on one line."""
        return " ".join(self.text[span[0] : span[1]].split())

    def enter(self) -> None:
        """Count one level of nesting."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            span = self.tokens[self.at].span
            raise self.fault("MW-F27", span, reason=f"more than {_MAX_DEPTH} levels of nesting")

    def count(self, span: Span) -> None:
        """Count one operator or call of the current outermost call."""
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            raise self.fault("MW-F27", span, reason=f"more than {_MAX_NODES} operations in one function call")

    def is_called(self, token: Token) -> bool:
        """Whether the next token, a name, is followed by '('."""
        return self.tokens[self.at + 1].kind == "(" and self.text[token.start] != "`"

    def close(self, opened: Token) -> int:
        """Step over the ')' that belongs to `opened`; return where it ends."""
        token = self.tokens[self.at]
        if token.kind == ")":
            self.at += 1
            return token.end
        if token.kind == "end":
            raise self.fault("MW-F05", opened.span, given="(", done="closed", advice="Add the missing ')'.")
        raise self.unexpected(token)

    # --- mistakes

    def refuse_unclosed(self) -> None:
        """Refuse a '(' that is never closed, wherever it stands."""
        opened: list[Token] = []
        for token in self.tokens:
            if token.kind == "(":
                opened.append(token)
            elif token.kind == ")" and opened:
                opened.pop()
        if opened:
            raise self.fault(
                "MW-F05", opened[-1].span, given="(", done="closed", advice="Add the missing ')'."
            )

    def unexpected(self, token: Token) -> MixwellError:
        """Explain a token that cannot follow a finished operand."""
        kind, before = token.kind, self.tokens[max(0, self.at - 1)]
        if kind == ")":
            advice = "Remove it, or add the missing '('."
            return self.fault("MW-F05", token.span, given=")", done="opened", advice=advice)
        if kind in (",", "=", "~"):
            advice = "Commas and '=' separate and name the arguments of a function."
            if kind == "~":
                advice = "It stands outside all parentheses: y ~ x + (x | g)."
            return self.fault("MW-F32", token.span, given=kind, advice=advice)
        if token.text.startswith(".") and before.kind == ")":
            return self.fault("MW-F26", token.span, given=token.text)
        advice = "Join terms with '+', ':' or '*'. A name with spaces needs backquotes."
        if kind == "(":
            advice = "Only a function name can be followed by '('."
        elif before.kind == "number" and before.end == token.start:
            advice = f"A name that starts with a digit needs backquotes: `{before.text}{token.text}`."
        return self.fault("MW-F07", token.span, given=self.source(token.span), advice=advice)

    def missing(self, token: Token) -> MixwellError:
        """Explain an operand that is not there."""
        before = self.tokens[self.at - 1] if self.at else Token("", "", 0, 1)
        at_start = before.kind in ("", "~", "(", ",")
        if before.kind in ("|", "||"):
            return self.fault("MW-F12", before.span, place="to the right of")
        if token.kind in ("|", "||") and at_start:
            return self.fault("MW-F12", token.span, place="to the left of")
        if token.kind == "end" and before.kind == "~":
            return self.fault("MW-F02", before.span, side=" to the right of '~'")
        if token.kind == ")" and before.kind in ("", "~"):
            return self.unexpected(token)
        if at_start and token.kind not in (")", "end"):
            return self.fault("MW-F06", token.span, place="before", operator=token.text)
        return self.fault("MW-F06", before.span, place="after", operator=before.text)

    def unknown_function(self, token: Token) -> MixwellError:
        """Explain a call that is not on the list: a structure, a contrast or a typing error."""
        at, depth = self.at + 2, 1
        while depth and self.tokens[at].kind != "end":  # a bar inside: it was meant as a structure
            kind = self.tokens[at].kind
            depth += (kind == "(") - (kind == ")")
            if kind in ("|", "||") and depth == 1:
                return self.fault("MW-F15", token.span, name=token.text, available=list(STRUCTURES))
            at += 1
        known = [name for name, spec in FUNCTIONS.items() if spec.kind not in ("vector", "response")]
        if token.text in CONTRASTS:
            suggestion = f"Contrasts go into C(): C(f, {CONTRASTS[token.text]})."
        else:
            suggestion = suggest(token.text.rpartition(".")[2], known) or suggest(token.text, known)
        listed = ", ".join(known)
        return self.fault("MW-F03", token.span, name=token.text, functions=listed, suggestion=suggestion)

    def only_values(self, value: Expr) -> None:
        """Refuse a string or a truth value where a column or number belongs."""
        if isinstance(value, String):
            raise self.fault("MW-F23", value.span, given=f"the string {label(value)}", advice=_UNQUOTED)
        if isinstance(value, Boolean):
            advice = "TRUE and FALSE are values of named arguments, as in raw = TRUE."
            raise self.fault("MW-F23", value.span, given=f"'{label(value)}'", advice=advice)

    # --- terms

    def algebra(self, level: int = 0) -> Node:
        """Parse terms whose operators all bind tighter than `level`."""
        tokens = self.tokens
        start = tokens[self.at].start
        self.enter()
        depth = self.depth
        left = self.term()
        while True:
            token = tokens[self.at]
            op = token.kind
            binding = _BINDING.get(op)
            if binding is None or binding <= level:
                self.depth = depth - 1
                return left
            if op in _VALUES_ONLY:
                advice = (
                    "Between terms go + - * : / ^ and %in%. For values write it inside I(), as in I(a > b)."
                )
                raise self.fault("MW-F32", token.span, given=token.text, advice=advice)
            if op not in ("+", "-"):  # sums may be long: they are read in a loop later, not by recursion
                self.enter()
            self.at += 1
            right = self.algebra(binding - 1 if op == "^" else binding)
            span = (start, tokens[self.at - 1].end)
            if binding > 1:
                left = Algebra(op, left, right, span)
                continue
            if isinstance(left, Bar) and not left.closed:
                raise self.fault("MW-F33", token.span)
            left = Bar(left, op, right, span)

    def term(self) -> Node:
        """Parse one operand of the algebra."""
        token = self.tokens[self.at]
        kind = token.kind
        if kind == "name":
            if self.is_called(token):
                if token.text in STRUCTURES:
                    return self.structure()
                self.nodes = 0
                return self.call("term")
            self.refuse_reserved(token)
            self.at += 1
            return Name(token.text, token.span)
        if kind == "(":
            self.at += 1
            inner = self.algebra()
            end = self.close(token)
            if isinstance(inner, Bar) and not inner.closed:
                return replace(inner, span=(token.start, end), closed=True)
            return inner
        if kind == "number":
            return self.number(token)
        if kind in ("+", "-"):
            self.at += 1
            # looser than R's sign, so that -a:b takes a:b away; in R it takes nothing away
            operand = self.algebra(LEVEL["+"])
            return Algebra(kind, None, operand, (token.start, self.tokens[self.at - 1].end))
        if kind == "string":
            raise self.fault("MW-F23", token.span, given=f"the string {token.text}", advice=_UNQUOTED)
        raise self.missing(token)

    def refuse_reserved(self, token: Token) -> None:
        """Refuse `lambda`, and TRUE or FALSE as a term."""
        if token.text in RESERVED and self.text[token.start] != "`":
            if token.text == "lambda":
                raise self.fault("MW-F26", token.span, given="lambda")
            advice = "TRUE and FALSE are values of named arguments, as in raw = TRUE."
            raise self.fault("MW-F23", token.span, given=f"'{token.text}'", advice=advice)

    def structure(self) -> Bar:
        """Parse `diag(x | g, hom = TRUE)` and its relatives."""
        name, opened = self.tokens[self.at], self.tokens[self.at + 1]
        self.at += 2
        structure, homogeneous, may_set = STRUCTURES[name.text]
        token = self.tokens[self.at]
        inner = None if token.kind == ")" else self.algebra()
        if not isinstance(inner, Bar):
            raise self.fault("MW-F31", (name.start, self.tokens[self.at].end), structure=name.text)
        if inner.structure != "us" or (inner.op == "||" and structure != "diag"):
            advice = "Name one structure only; '||' already means diag()."
            given = self.source(inner.span)
            raise self.fault("MW-F16", inner.span, structure=name.text, given=given, advice=advice)
        while self.tokens[self.at].kind == ",":
            self.at += 1
            homogeneous = self.hom(name.text, may_set=may_set)
            may_set = False
        end = self.close(opened)
        return Bar(inner.left, "|", inner.group, (name.start, end), True, structure, homogeneous)

    def hom(self, structure: str, *, may_set: bool) -> bool:
        """Parse `hom = TRUE` after the bar of a structure."""
        start = self.at
        while self.tokens[self.at].kind not in (",", ")", "end"):
            self.at += 1
        given = self.tokens[start : self.at] or [self.tokens[start]]
        if may_set and len(given) == 3 and given[0].text == "hom" and given[1].kind == "=":
            value = _TRUTH.get(given[2].text) if given[2].kind == "name" else None
            if value is not None:
                return value
        advice = "After the bar it takes hom = TRUE (one variance) or hom = FALSE (one per column)."
        if not may_set:
            able = ", ".join(name for name, entry in STRUCTURES.items() if entry[2])
            advice = f"Only these take hom = TRUE or FALSE, once: {able}."
        span = (given[0].start, given[-1].end)
        raise self.fault("MW-F16", span, structure=structure, given=self.source(span), advice=advice)

    # --- calls

    def call(self, place: str) -> Call:
        """Parse a function call; its name must be whitelisted, and of a kind that may stand there."""
        name, opened = self.tokens[self.at], self.tokens[self.at + 1]
        spec = CONTRAST_CALL if place == "contrast" else FUNCTIONS.get(name.text)
        if spec is None:
            raise self.unknown_function(name)
        if spec.kind not in PLACES[place]:
            advice = {
                "basis": "It gives several columns: use it as a term of its own.",
                "factor": "It gives a factor: use it as a term or a grouping factor of its own.",
                "offset": "Add it to the other terms: y ~ x + offset(z).",
                "response": "It is a response of two columns: write it to the left of '~'.",
                "vector": "c(...) lists values of an argument, as in knots = c(1, 2).",
            }.get(spec.kind, "")
            raise self.fault("MW-F32", name.span, given=f"{name.text}()", advice=advice)
        self.at += 2
        self.count(name.span)
        self.enter()
        depth = self.depth
        args: list[Expr] = []
        kwargs: list[tuple[str, Expr]] = []
        more = self.tokens[self.at].kind != ")"
        while more:
            self.argument(name, spec, args, kwargs)
            more = self.tokens[self.at].kind == ","
            self.at += more
        span = (name.start, self.close(opened))
        self.depth = depth - 1
        if 0 <= spec.most < len(args) or (not args and spec.kind not in ("contrast", "vector")):
            most = f"1 to {spec.most} arguments" if spec.most > 1 else "1 argument"
            expected = "at least 1 argument" if spec.most < 0 else most
            usage = spec.usage or f"{name.text}(x)"
            raise self.fault(
                "MW-F22", span, function=name.text, expected=expected, given=len(args), advice=usage
            )
        return Call(name.text, tuple(args), tuple(kwargs), span)

    def argument(
        self, function: Token, spec: Function, args: list[Expr], kwargs: list[tuple[str, Expr]]
    ) -> None:
        """Parse one argument and append it."""
        token = self.tokens[self.at]
        if token.kind == "name" and self.tokens[self.at + 1].kind == "=":
            free = [key for key in spec.keywords if all(key != given for given, _ in kwargs)]
            if token.text not in free:
                available = free or ["none"]
                name = token.text
                raise self.fault("MW-F21", token.span, function=function.text, name=name, available=available)
            self.at += 2
            value = self.contrast() if token.text == "contr" else self.constant(function, f"{token.text} = ")
            kwargs.append((token.text, value))
        elif 0 <= spec.most <= len(args):  # too many: `call` will say so
            args.append(self.arithmetic())
        elif function.text == "C" and len(args) == 1:
            args.append(self.contrast())
        elif 0 <= spec.data <= len(args):
            args.append(self.constant(function))
        else:
            called = spec.kind == "factor" and token.kind == "name" and self.is_called(token)
            value = self.call("level") if called else self.arithmetic()
            self.only_values(value)
            args.append(value)

    def constant(self, function: Token, prefix: str = "") -> Expr:
        """Parse an argument that may not read columns."""
        token = self.tokens[self.at]
        if token.kind == "name" and token.text in ("T", "F") and self.tokens[self.at + 1].kind in (",", ")"):
            self.at += 1
            return Boolean(token.text == "T", token.span)
        if token.kind == "name" and token.text == "c" and self.is_called(token):
            return self.call("constant")
        value = self.arithmetic()
        if next(names(value), None) is not None:
            given = prefix + self.source(value.span)
            raise self.fault("MW-F34", value.span, given=given, function=function.text)
        return value

    def contrast(self) -> Expr:
        """Parse the second argument of C: `sum`, `"sum"`, `treatment(base = 2)`."""
        token = self.tokens[self.at]
        if token.kind not in ("name", "string"):
            raise self.missing(token)
        text = self.string(token).value if token.kind == "string" else token.text
        if text not in CONTRASTS:
            available = list(dict.fromkeys(CONTRASTS.values()))
            raise self.fault("MW-F35", token.span, name=text, available=available)
        if token.kind == "name" and self.is_called(token):
            return self.call("contrast")
        self.at += 1
        return Name(text, token.span) if token.kind == "name" else String(text, token.span)

    # --- values

    def arithmetic(self, level: int = 0) -> Expr:
        """Parse values whose operators all bind tighter than `level`."""
        start = self.tokens[self.at].start
        self.enter()
        depth = self.depth
        left = self.value()
        while True:
            token = self.tokens[self.at]
            op = token.kind
            binding = _BINDING.get(op)
            if binding is None or binding <= level:
                self.depth = depth - 1
                return left
            self.refuse_algebra(token)
            self.at += 1
            self.count(token.span)
            right = self.arithmetic(binding - 1 if op == "^" else binding)
            if op not in ("==", "!="):
                self.only_values(left)
                self.only_values(right)
            after = self.tokens[self.at]
            if op in _COMPARISON and after.kind in _COMPARISON:
                advice = "Comparisons cannot be chained: write I((a < b) * (b < c))."
                raise self.fault("MW-F32", after.span, given=after.text, advice=advice)
            left = Binary(op, left, right, (start, self.tokens[self.at - 1].end))

    def refuse_algebra(self, token: Token) -> None:
        """Refuse what has a meaning between terms only."""
        if token.kind in ("|", "||"):
            self.refuse_unclosed()  # log(x + (1 | g): the parenthesis is the mistake, not the bar
            advice = "A random-effects term has its own parentheses: (log(x) | g)."
        elif token.kind in _TERMS_ONLY:
            advice = "It joins terms, not values: write it outside of the function, as in log(a):b."
        else:
            return
        raise self.fault("MW-F32", token.span, given=token.text, advice=advice)

    def value(self) -> Expr:
        """Parse one operand of arithmetic."""
        token = self.tokens[self.at]
        kind = token.kind
        if kind == "name":
            return self.call("value") if self.is_called(token) else self.name(token)
        if kind == "number":
            return self.number(token)
        if kind == "string":
            self.at += 1
            return self.string(token)
        if kind == "(":
            self.at += 1
            inner = self.arithmetic()
            self.close(token)
            return inner
        if kind in ("+", "-"):
            self.at += 1
            self.count(token.span)
            operand = self.arithmetic(SIGN - 1)
            self.only_values(operand)
            return Unary(kind, operand, (token.start, self.tokens[self.at - 1].end))
        raise self.missing(token)

    def name(self, token: Token) -> Name | Boolean:
        """Read a column name, TRUE or FALSE."""
        if self.text[token.start] != "`":
            if token.text == "." and not self.dots:
                raise self.fault("MW-F24", token.span, advice=_DOT)
            if token.text in ("TRUE", "FALSE", "True", "False"):
                self.at += 1
                return Boolean(_TRUTH[token.text], token.span)
            self.refuse_reserved(token)
        self.at += 1
        return Name(token.text, token.span)

    def number(self, token: Token) -> Number:
        """Read a number; R's integer mark L is allowed."""
        self.at += 1
        value = float(token.text.rstrip("L"))
        if math.isinf(value):
            raise self.fault("MW-F04", token.span, given=token.text, advice="The number is too large.")
        return Number(value, token.span)

    def string(self, token: Token) -> String:
        """Read a quoted string."""
        inside = token.text[1:-1]
        if "\\" in inside:
            inside = re.sub(r"\\(.)", lambda m: _UNESCAPED.get(m[1], m[1]), inside, flags=re.DOTALL)
        return String(inside, token.span)
