"""Hypotheses in words: "condB = condC", "x + 2 * z = 1", "a = b = c" -> rows of L beta = rhs.

A statement is arithmetic on numbers and names of coefficients. The names are known, so they are looked for
first, the longest first: "(Intercept)", "poly(x, 2)1" and "a:b" need no quotes. A name that contains an
operator and could also be read as arithmetic on other names is refused until it stands in backquotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error

__all__ = ["Statement", "read_statement", "row_text"]

Array = NDArray[np.float64]

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.:])")
_WORD = re.compile(r"[\w.]+(?:\([^()]*\)[\w.]*)?(?::[\w.]+(?:\([^()]*\)[\w.]*)?)*")
_PART = re.compile(r"[\w.]+|`[^`]*`|\S")
_OPERATORS = "+-*/="


class Statement(NamedTuple):
    """One hypothesis: its text, its row of L (columns,), and the right-hand side."""

    text: str
    row: Array
    rhs: float


def read_statement(
    text: str, names: Sequence[str], terms: Sequence[tuple[str, Sequence[int]]]
) -> list[Statement]:
    """Read one text; chained equalities and names of terms give several hypotheses.

    Parameters
    ----------
    text
        The hypothesis; without '=' it says that the expression is zero.
    names
        Names of all coefficients.
    terms
        Labels of terms with the positions of their coefficients.

    Examples
    --------
    >>> [(s.text, s.row.tolist(), s.rhs) for s in read_statement("x = 2 * z + 1", ("x", "z"), ())]
    [('x = 2 * z + 1', [1.0, -2.0], 1.0)]
    """
    whole = re.sub(r"\s*==?\s*[+-]?0(?:\.0*)?\s*$", "", text).strip()
    for label, columns in terms:
        if whole in (label, f"`{label}`") and label not in names:
            return [Statement(f"{names[j]} = 0", np.eye(len(names))[j], 0.0) for j in columns]
    return list(_Reader(text, tuple(names), tuple(label for label, _ in terms)).statements())


def row_text(row: Array, rhs: float, names: Sequence[str]) -> str:
    """Write a row of L beta = rhs as text.

    >>> row_text(np.array([1.0, -0.5]), 0.0, ("x", "z"))
    'x - 0.5 * z = 0'
    """
    out = ""
    for value, name in zip(row.tolist(), names, strict=True):
        if value:
            sign = ("-" if value < 0 else "") if not out else (" - " if value < 0 else " + ")
            out += sign + ("" if abs(value) == 1 else f"{abs(value):g} * ") + name
    return f"{out or '0'} = {rhs:g}"


class _Form(NamedTuple):
    """A linear form: coefficients (columns,) and a constant, and where it stands in the text."""

    row: Array
    constant: float
    start: int
    end: int

    def scaled(self, factor: float, start: int, end: int) -> _Form:
        """Multiply by a number."""
        return _Form(self.row * factor, self.constant * factor, start, end)

    @property
    def is_number(self) -> bool:
        """Whether no coefficient is in it."""
        return not self.row.any()


@dataclass(slots=True)
class _Reader:
    """Recursive descent over one text."""

    text: str
    names: tuple[str, ...]
    terms: tuple[str, ...]
    at: int = 0
    depth: int = 0
    patterns: dict[str, re.Pattern[str]] = field(default_factory=dict)

    def statements(self) -> Iterator[Statement]:
        """Split at '='; every pair of neighbours is a hypothesis."""
        sides = [self.sum()]
        while self.peek() == "=":
            self.at += 2 if self.text.startswith("==", self.at) else 1
            sides.append(self.sum())
        if self.peek():
            self.unexpected()
        if len(sides) == 1:
            sides.append(_Form(np.zeros(len(self.names)), 0.0, -1, -1))
        for left, right in pairwise(sides):
            shown = [
                " ".join(self.text[s.start : s.end].split()) if s.start >= 0 else "0" for s in (left, right)
            ]
            row = left.row - right.row
            row[np.abs(row) <= 1e-14 * (np.abs(left.row) + np.abs(right.row))] = 0.0  # 0.1 + 0.2 = 0.3
            if not row.any():
                reason = "no coefficient is left in it" if left.row.any() else "it has no coefficient"
                self.not_linear(
                    reason, "Name at least one coefficient.", left.start, max(left.end, right.end)
                )
            yield Statement(" = ".join(shown), row, right.constant - left.constant)

    def sum(self) -> _Form:
        """Read sums and differences."""
        self.peek()
        start, sign = self.at, 1.0
        total = None
        while True:
            while self.peek() and self.text[self.at] in "+-":
                sign = -sign if self.text[self.at] == "-" else sign
                self.at += 1
            one = self.product()
            one = one.scaled(sign, one.start, one.end)
            total = (
                _Form(one.row, one.constant, start, one.end)
                if total is None
                else _Form(total.row + one.row, total.constant + one.constant, start, one.end)
            )
            if not self.peek() or self.text[self.at] not in "+-":
                return total
            sign = 1.0

    def product(self) -> _Form:
        """Read multiples by numbers."""
        done = self.atom()
        while self.peek() and self.text[self.at] in "*/":
            operator = self.text[self.at]
            self.at += 1
            sign = 1.0
            while self.peek() and self.text[self.at] in "+-":
                sign = -sign if self.text[self.at] == "-" else sign
                self.at += 1
            new = self.atom()
            new = new.scaled(sign, new.start, new.end)
            span = done.start, new.end
            if operator == "/":
                if not new.is_number or new.constant == 0:
                    reason = "a division by zero" if new.is_number else "a division by a coefficient"
                    self.not_linear(reason, "Divide by numbers only.", *span)
                done = done.scaled(1.0 / new.constant, *span)
            elif new.is_number:
                done = done.scaled(new.constant, *span)
            elif done.is_number:
                done = new.scaled(done.constant, *span)
            else:
                advice = "Only sums, differences and multiples by numbers can be tested."
                self.not_linear("a product of coefficients", advice, *span)
        return done

    def atom(self) -> _Form:
        """Read a name, a number, or something in parentheses."""
        self.peek()
        start = self.at
        found = self.name()
        if found is not None:
            row = np.zeros(len(self.names))
            row[found] = 1.0
            return _Form(row, 0.0, start, self.at)
        if number := _NUMBER.match(self.text, self.at):
            self.at = number.end()
            return _Form(np.zeros(len(self.names)), float(number.group()), start, self.at)
        if self.peek() == "(":
            self.at, self.depth = self.at + 1, self.depth + 1
            if self.depth > 50:
                self.fail("it is nested too deeply", start, start + 1)
            inside = self.sum()
            if self.peek() != ")":
                self.fail("this '(' is never closed", start, start + 1)
            self.at, self.depth = self.at + 1, self.depth - 1
            return _Form(inside.row, inside.constant, start, self.at)
        return self.unexpected()

    def name(self) -> int | None:
        """Find the coefficient named here; the longest name wins unless a shorter one could be meant."""
        if self.text.startswith("`", self.at):
            end = self.text.find("`", self.at + 1)
            quoted = self.text[self.at + 1 : end]
            if end > 0 and quoted in self.names:
                self.at = end + 1
                return self.names.index(quoted)
        ends = {j: self.match(name) for j, name in enumerate(self.names)}
        reached = {j: end for j, end in ends.items() if end is not None}
        if not reached:
            after = self.match("Intercept")
            if after is None or "(Intercept)" not in self.names:
                return None
            self.at = after
            return self.names.index("(Intercept)")
        best = max(reached, key=lambda j: reached[j])
        for other, end in reached.items():
            if end < reached[best] and self.continues(end, reached[best]):
                name = self.names[best]
                reason = f"'{name}' is one coefficient, and also arithmetic on '{self.names[other]}'"
                advice = (
                    f"Put the name in backquotes, `{name}`, or the other way round `{self.names[other]}`."
                )
                self.not_linear(reason, advice, self.at, reached[best])
        self.at = reached[best]
        return best

    def match(self, name: str) -> int | None:
        """Where a name ends if it stands here; spaces between its words do not matter."""
        if name not in self.patterns:
            parts = _PART.findall(name)
            edge = r"(?![\w.(:])" if re.search(r"[\w.]\Z", name) else r"(?![\w.:])"
            self.patterns[name] = re.compile(r"\s*".join(map(re.escape, parts)) + edge)
        found = self.patterns[name].match(self.text, self.at)
        return found.end() if found else None

    def continues(self, end: int, limit: int) -> bool:
        """Whether the text after a shorter name goes on as arithmetic on a name or a number."""
        rest = self.text[end:limit].lstrip()
        if not rest or rest[0] not in _OPERATORS:
            return False
        here = self.at
        self.at = limit - len(rest.lstrip(_OPERATORS + " "))
        reads = any(self.match(name) is not None for name in self.names) or bool(
            _NUMBER.match(self.text, self.at)
        )
        self.at = here
        return reads

    def peek(self) -> str:
        """Skip spaces and show the next character, empty at the end."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    # --- refusals

    def unexpected(self) -> NoReturn:
        """Say what cannot stand here: an unknown name, a term of several coefficients, or a stray sign."""
        if not self.peek():
            self.fail(
                "it ends where a coefficient or a number is expected", len(self.text) - 1, len(self.text)
            )
        quoted = re.compile(r"`([^`]*)`").match(self.text, self.at)
        word = quoted or _WORD.match(self.text, self.at)
        if word is None:
            self.fail(f"unexpected '{self.text[self.at]}'", self.at, self.at + 1)
        name = word.group(1) if quoted else word.group()
        if name in self.terms and name not in self.names:
            advice = f'Test the whole term with "{name}", or name its coefficients.'
            self.not_linear(f"'{name}' is a term of several coefficients", advice, *word.span())
        if name in self.names:  # two names without anything between
            self.fail(f"expected an operator before '{name}'", *word.span())
        known = list(dict.fromkeys(self.names + self.terms))
        raise error("MW-A26", name=name, available=known, text=self.text, span=word.span())

    def fail(self, reason: str, start: int, end: int) -> NoReturn:
        """Refuse the syntax."""
        raise error("MW-A25", reason=reason, text=self.text, span=(max(start, 0), end))

    def not_linear(self, reason: str, advice: str, start: int, end: int) -> NoReturn:
        """Refuse the meaning."""
        raise error("MW-A27", reason=reason, advice=advice, text=self.text, span=(max(start, 0), end))
