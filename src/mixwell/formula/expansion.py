"""The algebra of terms: what + - * : / ^ %in% and bars make of a formula's tree.

As in R, every term is a set of variables, kept as the bits of an integer while operators are applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace
from typing import TypeVar

from mixwell.errors import MixwellError, error
from mixwell.formula.expression import FUNCTIONS, Call, Expr, Name, Number, Span, label, names, variables
from mixwell.formula.parser import Algebra, Bar, Node
from mixwell.formula.terms import FixedTerm, Formula, RandomTerm

_MAX_TERMS = 20_000  # an accidental (a + b + ... + z)^9 must not eat the memory
_ALONE = "Only 0 and 1 may stand alone, to leave out or keep the intercept. Arithmetic goes into I(...)."
Item = TypeVar("Item", Expr, RandomTerm)


class Expansion:
    """The expansion of the right-hand side or, without a `tree`, of the left of a bar.

    Methods return terms as bits; the intercept, offsets and random-effects terms are noted on the side.
    """

    __slots__ = (
        "bar",
        "columns",
        "factors",
        "index",
        "intercept",
        "offsets",
        "old",
        "random",
        "response",
        "sign",
        "text",
        "tree",
    )

    def __init__(
        self,
        text: str,
        columns: tuple[str, ...],
        response: Expr | None,
        old: Formula | None,
        tree: Node | None,
    ) -> None:
        self.text, self.columns, self.response, self.old, self.tree = text, columns, response, old, tree
        self.bar = tree is None
        self.index: dict[Expr, int] = {}  # each variable and its bit, in order of appearance
        self.factors: list[Expr] = []
        self.intercept = True
        self.sign = True  # False inside what a minus takes away
        self.offsets: list[Expr] = []
        self.random: list[RandomTerm] = []

    def fault(self, code: str, span: Span, **fields: object) -> MixwellError:
        """Return a formula error with its caret; `given` is what stands there unless it is passed."""
        fields.setdefault("given", self.source(span))
        return error(code, text=self.text, span=span, **fields)

    def source(self, span: Span) -> str:
        """Return what was written there, on one line."""
        return " ".join(self.text[span[0] : span[1]].split())

    def terms(self, bits: list[int]) -> tuple[FixedTerm, ...]:
        """Turn bits into terms in R's order: by number of factors, then as written."""
        if len(bits) > 1:
            bits = sorted(bits, key=int.bit_count)
        return tuple([FixedTerm(tuple(self.select(term))) for term in bits])

    def select(self, bits: int) -> Iterator[Expr]:
        """Yield the variables whose bits are set."""
        while bits:
            lowest = bits & -bits
            yield self.factors[lowest.bit_length() - 1]
            bits ^= lowest

    def expand(self, node: Node, *, top: bool = False) -> list[int]:
        """Return the terms of a node; intercept, offsets and random-effects terms are noted on the side.

        `top` says that the node is added to the others, not multiplied with something.
        """
        if isinstance(node, Name | Call):
            return self.variable(node, top=top)
        if isinstance(node, Algebra):
            return self.sum(node, top=top) if node.op in ("+", "-") else self.product(node)
        if isinstance(node, Bar):
            self.random_term(node, top=top)
        else:
            self.number(node)
        return []

    def variable(self, node: Name | Call, *, top: bool) -> list[int]:
        """Return one variable as a single bit and `.` as many; put an offset aside."""
        if isinstance(node, Name):
            if node.name == "." and self.source(node.span) == ".":
                return self.dot(node)
        elif node.function == "offset":
            if self.bar or not top:
                advice = "An offset has the fixed coefficient 1: write y ~ x + offset(z)."
                raise self.fault("MW-F25", node.span, what="offset", advice=advice)
            self.add_or_remove(self.offsets, node.args[0], node.span, "offset")
            return []
        elif next(names(node), None) is None:
            raise self.fault("MW-F30", node.span, what="the term")
        return [1 << self.position(node)]

    def position(self, variable: Expr) -> int:
        """Return the bit number of a variable, new or known."""
        position = self.index.setdefault(variable, len(self.factors))
        if position == len(self.factors):
            self.factors.append(variable)
        return position

    def dot(self, node: Name) -> list[int]:
        """Expand `.`: the old right-hand side in an update, otherwise the columns not used elsewhere."""
        if self.bar:
            raise self.fault("MW-F24", node.span, advice="Name the columns that vary by group: (x + z | g).")
        old = self.old
        if old is None:
            if not self.columns:
                raise self.fault(
                    "MW-F24",
                    node.span,
                    advice="It stands for the columns of a table, and no table was given.",
                )
            used = set(variables(self.response)) if self.response is not None else set()
            used.update(_grouping_columns(self.tree))
            return [1 << self.position(Name(name, node.span)) for name in self.columns if name not in used]
        if not old.intercept:
            self.intercept = not self.sign
        if self.sign:
            self.offsets += [offset for offset in old.offsets if offset not in self.offsets]
            self.random += [term for term in old.random if term not in self.random]
        else:
            self.offsets = [offset for offset in self.offsets if offset not in old.offsets]
            self.random = [term for term in self.random if term not in old.random]
        return [_union([1 << self.position(factor) for factor in term.factors]) for term in old.terms]

    def sum(self, node: Algebra, *, top: bool) -> list[int]:
        """Add and take away, left to right; a loop because sums may be long."""
        chain: list[tuple[str, Node]] = []
        rest: Node | None = node
        while isinstance(rest, Algebra) and rest.op in ("+", "-"):
            chain.append((rest.op, rest.right))
            rest = rest.left
        if rest is not None:
            chain.append(("+", rest))
        terms: dict[int, None] = {}
        for op, operand in reversed(chain):
            if op == "+":
                terms.update(dict.fromkeys(self.expand(operand, top=top)))
                continue
            self.sign = not self.sign
            for term in self.expand(operand, top=top):
                terms.pop(term, None)
            self.sign = not self.sign
        return list(terms)

    def product(self, node: Algebra) -> list[int]:
        """Apply : * / ^ %in%."""
        op, first, second = node.op, node.left, node.right
        if first is None:  # a sign always starts a sum
            return []
        for side in (first,) if op == "^" else (first, second):
            if isinstance(side, Number):
                advice = f"A number cannot stand next to '{op}' between terms. For arithmetic write I(...)."
                raise self.fault("MW-F18", side.span, advice=advice)
        left = self.expand(first)
        if op == "^":
            return self.power(left, node)
        right = self.expand(second)
        match op:
            case ":":
                return self.cross(left, right, node)
            case "*":
                return list(dict.fromkeys([*left, *right, *self.cross(left, right, node)]))
            case "/":
                return list(dict.fromkeys([*left, *self.cross([_union(left)], right, node)]))
            case _:  # %in%
                return self.cross(left, [_union(right)], node)

    def cross(self, left: list[int], right: list[int], node: Algebra) -> list[int]:
        """Return every union of a term on the left with one on the right."""
        if len(left) * len(right) > _MAX_TERMS:
            raise self.fault("MW-F27", node.span, reason=f"it expands to more than {_MAX_TERMS} terms")
        return list(dict.fromkeys([a | b for a in left for b in right]))

    def power(self, terms: list[int], node: Algebra) -> list[int]:
        """Return all interactions up to the given order."""
        order = node.right.value if isinstance(node.right, Number) else 0.0
        if order < 1 or order != int(order):
            raise self.fault("MW-F17", node.right.span)
        result = terms
        for _ in range(int(order) - 1):
            grown = self.cross(result, terms, node)
            if len(grown) == len(result):
                break
            result = grown
        return result

    def number(self, node: Number) -> None:
        """Keep or drop the intercept; the last one written wins, as in R."""
        if node.value not in (0.0, 1.0):
            raise self.fault("MW-F18", node.span, advice=_ALONE)
        self.intercept = (node.value == 1.0) == self.sign

    def add_or_remove(self, items: list[Item], item: Item, span: Span, what: str) -> None:
        """Append, or remove when inside what a minus takes away."""
        if self.sign:
            items.append(item)
        elif item in items:
            items.remove(item)
        else:
            shown = [label(i) if not isinstance(i, RandomTerm) else str(i) for i in items] or ["none"]
            raise self.fault("MW-F28", span, what=what, available=shown)

    def random_term(self, node: Bar, *, top: bool) -> None:
        """Read (left | group); nested groups give several terms."""
        if self.bar or not node.closed:
            raise self.fault("MW-F33", node.span)
        if not top:
            advice = "Interactions belong inside: (x | g) varies the effect of x, (1 | g:f) groups by both."
            raise self.fault("MW-F25", node.span, what="random-effects term", advice=advice)
        left = Expansion(self.text, (), None, None, None)
        terms = left.terms(left.expand(node.left, top=True))
        groups = self.groups(node.group)
        text = self.source(node.span)
        if not terms and not left.intercept:
            raise self.fault("MW-F13", node.span, term=text, group=":".join(map(label, groups[-1])))
        structure = "diag" if node.op == "||" else node.structure
        for group in groups:
            term = RandomTerm(structure, node.homogeneous, left.intercept, terms, group, text, node.span)
            self.add_or_remove(self.random, term, node.span, "random-effects term")

    def groups(self, node: Node) -> list[tuple[Expr, ...]]:
        """Return grouping factors, each a product of columns: a/b is a, then a:b."""
        advice = "To the right of the bar goes a column, factor(column), a:b or a/b."
        match node:
            case Name(name):
                if name != "." or self.source(node.span) != ".":
                    return [(node,)]
            case Call(function, (Name(),), _) if FUNCTIONS[function].kind == "factor":
                return [(node,)]
            case Algebra("/", first, second) if first is not None:
                outer = self.groups(first)
                return [*outer, *[_product(outer[-1], inner) for inner in self.groups(second)]]
            case Algebra(":", first, second) if first is not None:
                left, right = self.groups(first), self.groups(second)
                if len(left) == len(right) == 1:
                    return [_product(left[0], right[0])]
            case Algebra("+" | "*" as op, first, second) if first is not None:
                a, b = self.source(first.span), self.source(second.span)
                both = f" + (... | {a}:{b})" if op == "*" else ""
                advice = f"Write one term for each: (... | {a}) + (... | {b}){both}."
            case Bar():
                raise self.fault("MW-F33", node.span)
        raise self.fault("MW-F11", node.span, advice=advice)


def _union(bits: list[int]) -> int:
    """Return the product of all terms."""
    union = 0
    for term in bits:
        union |= term
    return union


def _product(left: tuple[Expr, ...], right: tuple[Expr, ...]) -> tuple[Expr, ...]:
    return tuple(dict.fromkeys(left + right))


def _grouping_columns(tree: Node | None) -> Iterator[str]:
    """Yield the columns to the right of any bar, so that `.` can leave them out."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, Bar):
            leaves: list[Node | None] = [node.group]
            while leaves:
                leaf = leaves.pop()
                if isinstance(leaf, Algebra):
                    leaves += [leaf.left, leaf.right]
                elif isinstance(leaf, Name | Call):
                    yield from variables(leaf)
        elif isinstance(node, Algebra):
            stack += [node.left, node.right]


def refuse_overlap(text: str, random: tuple[RandomTerm, ...]) -> None:
    """Raise when two terms give the same effect of the same grouping factor two variances."""
    seen: dict[frozenset[str], list[RandomTerm]] = {}
    for second in random:
        earlier = seen.setdefault(frozenset(second.group_names), [])
        for first in earlier:
            shared = _effects(first).keys() & _effects(second).keys()
            if shared and _confounded(first, second):
                raise _overlap(text, first, second, shared)
        earlier.append(second)


def _effects(term: RandomTerm) -> dict[frozenset[Expr], FixedTerm | None]:
    """Return the columns of a random-effects term; the empty set is the intercept."""
    effects: dict[frozenset[Expr], FixedTerm | None] = {frozenset(t.factors): t for t in term.terms}
    if term.intercept:
        effects[frozenset()] = None
    return effects


def _confounded(first: RandomTerm, second: RandomTerm) -> bool:
    """Whether terms that share a column cannot be told apart.

    Variances that are free on both sides trade against each other, and `us` can imitate anything on its
    columns. But a diagonal plus an AR(1) on the same columns, say, is a sound model.
    """

    def free(term: RandomTerm) -> bool:
        return term.structure == "us" or (term.structure == "diag" and not term.homogeneous)

    def inside(small: RandomTerm, large: RandomTerm) -> bool:
        return large.structure == "us" and _effects(small).keys() <= _effects(large).keys()

    if free(first) and free(second):
        return True
    if inside(first, second) or inside(second, first):
        return True
    same = (first.structure, first.homogeneous) == (second.structure, second.homogeneous)
    return same and _effects(first).keys() == _effects(second).keys()


def _overlap(text: str, first: RandomTerm, second: RandomTerm, shared: Set[frozenset[Expr]]) -> MixwellError:
    """Explain which columns appear twice and what to write instead."""
    effects = {key: f"'{term.label}'" if term else "the intercept" for key, term in _effects(second).items()}
    columns = [effects[key] for key in effects if key in shared]

    def without(term: RandomTerm) -> str:
        kept = tuple(t for t in term.terms if frozenset(t.factors) not in shared)
        return str(replace(term, intercept=term.intercept and frozenset() not in shared, terms=kept))

    small, large = sorted((first, second), key=lambda term: len(_effects(term)))
    if len(_effects(large)) == len(shared):
        advice = "Remove one of them."
    elif len(_effects(small)) == len(shared):
        advice = (
            f"Write {large} alone, or {small} + {without(large)} to leave out the correlation between them."
        )
    else:
        advice = f"Keep them in one: {first} + {without(second)}."
    return error(
        "MW-F14",
        columns=" and ".join(columns) if len(columns) < 3 else columns,
        group=second.group_label,
        first=first.text,
        second=second.text,
        advice=advice,
        text=text,
        span=second.span,
    )
