"""What a formula means: terms, random-effects terms, and the canonical text of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import pairwise

from mixwell.formula.expression import STRUCTURES, Expr, Span, Structure, label, names


@dataclass(frozen=True, slots=True)
class FixedTerm:
    """A product of factors: `(a,)` is a main effect, `(a, b)` the interaction a:b."""

    factors: tuple[Expr, ...]

    @property
    def label(self) -> str:
        """R's name of the term, "a:b"."""
        return ":".join([label(factor) for factor in self.factors])


@dataclass(frozen=True, slots=True)
class RandomTerm:
    """Effects that vary over the levels of one grouping factor.

    Attributes
    ----------
    structure, homogeneous
        Covariance of the effects of one level; `homogeneous` means one variance for all columns.
    intercept, terms
        The columns that vary, as in the fixed part.
    group
        Columns whose interaction is the grouping factor: names, or calls of factor() and its like.
    text
        The term as it was written; nested groups a/b give several terms with the same text.
    """

    structure: Structure
    homogeneous: bool
    intercept: bool
    terms: tuple[FixedTerm, ...]
    group: tuple[Expr, ...]
    text: str = field(default="", compare=False)
    span: Span = field(default=(0, 0), compare=False, repr=False)

    @property
    def group_label(self) -> str:
        """Name of the grouping factor, "a:b"."""
        return ":".join([label(column) for column in self.group])

    @property
    def group_names(self) -> tuple[str, ...]:
        """Column names of the grouping factor."""
        return tuple(node.name for column in self.group for node in names(column))

    def __str__(self) -> str:
        """Canonical text."""
        bar = "||" if self.structure == "diag" and not self.homogeneous else "|"
        inside = f"{_sum(self.intercept, self.terms)} {bar} {self.group_label}"
        if bar == "||" or self.structure == "us":
            return f"({inside})"
        usual = self.homogeneous == STRUCTURES[self.structure][1]
        hom = "" if usual else f", hom = {'TRUE' if self.homogeneous else 'FALSE'}"
        return f"{self.structure}({inside}{hom})"


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula; `str()` is its canonical text, which parses back to an equal formula.

    Attributes
    ----------
    text
        What was parsed.
    response
        Left-hand side, or None.
    intercept, terms
        The fixed part, main effects first, as R orders it.
    offsets
        What stands inside each offset().
    random
        Random-effects terms in the order written; (1 | a/b) has become (1 | a) and (1 | a:b).
    """

    text: str = field(compare=False)
    response: Expr | None
    intercept: bool
    terms: tuple[FixedTerm, ...]
    offsets: tuple[Expr, ...]
    random: tuple[RandomTerm, ...]

    def variables(self) -> tuple[tuple[str, Span], ...]:
        """Return every column the formula reads, once, with its first place in the text."""
        found: dict[str, Span] = {}
        for expr in (*(() if self.response is None else (self.response,)), *self.right()):
            for node in names(expr):
                found.setdefault(node.name, node.span)
        return tuple(found.items())

    def right(self) -> Iterator[Expr]:
        """Yield everything that stands to the right of '~'."""
        for term in self.terms:
            yield from term.factors
        yield from self.offsets
        for random in self.random:
            for term in random.terms:
                yield from term.factors
            yield from random.group

    def __str__(self) -> str:
        """Canonical text."""
        left = "" if self.response is None else label(self.response) + " "
        offsets = [f"offset({label(offset)})" for offset in self.offsets]
        right = [_sum(self.intercept, self.terms), *offsets, *[str(term) for term in self.random]]
        return f"{left}~ {' + '.join(right)}"


def _sum(intercept: bool, terms: tuple[FixedTerm, ...]) -> str:
    """Write "1 + a + a:b" so that it reads back with the same variables in the same order.

    The order of the factors in a term is that of first appearance anywhere, so `a:b + b` must not become
    `b + a:b`. Where no order of the terms does it, an interaction is added and taken away again.
    """
    pieces = ["1" if intercept else "0"]
    if any(len(term.factors) > 1 for term in terms) and not _reads_back(terms):
        descending = sorted(terms, key=lambda term: -len(term.factors))
        if _reads_back(descending):
            terms = tuple(descending)
        else:
            before: dict[Expr, list[Expr]] = {}
            for term in terms:
                for earlier, later in pairwise(term.factors):
                    before.setdefault(later, []).append(earlier)
            declared = ":".join(label(factor) for factor in TopologicalSorter(before).static_order())
            pieces.append(f"{declared} - {declared}")
    return " + ".join(pieces + [term.label for term in terms])


def _reads_back(terms: Iterable[FixedTerm]) -> bool:
    """Whether the factors of every term are in order of first appearance."""
    index: dict[Expr, int] = {}
    for term in terms:
        positions = [index.setdefault(factor, len(index)) for factor in term.factors]
        if positions != sorted(positions):
            return False
    return True
