"""Grouping factors: coding of interactions, and the checks that tell when a random term cannot work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixwell.design.columns import Encoder, Plan
from mixwell.design.contrasts import level_text
from mixwell.design.frame import Codes, Labels, code_integers
from mixwell.errors import Note, error, note
from mixwell.formula import Call, Expr, Formula, Name, RandomTerm, label, variables

__all__ = [
    "Group",
    "check_size",
    "code_group",
    "cross",
    "notes_on_groups",
    "refuse_confounded",
    "refuse_equal_groups",
]

_NESTING_LEVELS = 5  # labels reused in every level of another factor are suspicious when they are so few


@dataclass(frozen=True, slots=True)
class Group:
    """A coded grouping factor: codes (n,) into levels, which are tuples of labels for an interaction."""

    codes: Codes
    levels: Labels


def cross(parts: Sequence[tuple[Codes, Labels]]) -> tuple[Codes, Labels]:
    """Interact factors over the combinations that occur; the first factor varies slowest.

    Levels are tuples of labels, so that labels holding ':' stay apart. Codes must not be missing.
    """
    codes, levels = parts[0]
    combined: list[tuple[object, ...]] = [(level,) for level in levels]
    for other, labels in parts[1:]:
        pairs = codes * np.int64(len(labels))
        pairs += other
        codes, found = code_integers(pairs)
        left, right = np.divmod(found, len(labels))
        combined = [(*combined[i], labels[j]) for i, j in zip(left.tolist(), right.tolist(), strict=True)]
    return codes, tuple(combined)


def code_group(encoder: Encoder, group: tuple[Expr, ...]) -> tuple[Codes, Labels]:
    """Code one grouping factor: codes (n,) and levels."""
    parts = [encoder.grouping(expr) for expr in group]
    return parts[0] if len(parts) == 1 else cross(parts)


def check_size(
    formula: Formula, term: RandomTerm, levels: Labels, k: int, encoder: Encoder, *, residual: bool = True
) -> None:
    """Refuse a factor with one level, with a level per row, or with more random effects than rows.

    An ar1 term may have as many effects as rows: two parameters describe them, and correlation over time is
    what sets them apart from the residuals. Families without a residual variance may have an effect per row.
    """
    group, count, n = term.group_label, len(levels), encoder.n
    if count == 1:
        raise error("MW-D15", group=group, level=level_text(levels[0]), term=str(term))
    if not residual:
        return
    if count >= n:
        raise error("MW-D16", group=group, levels=count, n=n, term=str(term))
    if count * k >= n and term.structure != "ar1":
        advice = "Use fewer columns to the left of the bar."
        if (column := _looks_swapped(formula, term, count, encoder)) is not None:
            advice = "Is the bar the wrong way round? The grouping factor stands to its right: "
            advice += f"({group} | {column})."
        raise error("MW-D17", group=group, levels=count, k=k, q=count * k, n=n, term=str(term), advice=advice)
    if term.structure in ("cs", "ar1") and k < 2:
        raise error("MW-D20", structure=term.structure, term=str(term), group=group)


def _source(expr: Expr) -> str | None:
    """Column behind a name, or behind factor() and its like; None for anything computed."""
    if isinstance(expr, Name):
        return expr.name
    if isinstance(expr, Call) and expr.function in {"factor", "as.factor", "ordered", "C"}:
        return _source(expr.args[0])
    return None


def refuse_confounded(formula: Formula, fixed: Plan, encoder: Encoder) -> None:
    """Refuse a random effect that the fixed effects already span: `g + (1 | g)`, `x:g + (0 + x | g)`.

    The columns of a random effect t over the groups G lie in the span of a fixed term F when F holds t and G
    and whatever else it holds is categorical.
    """
    if not any(encoder.is_factor(expr) for term in fixed for expr, _ in term):
        return

    def keys(exprs: Sequence[Expr]) -> set[object]:
        return {_source(expr) or expr if encoder.is_factor(expr) else expr for expr in exprs}

    spans = []
    for term in fixed:
        exprs = [expr for expr, _ in term]
        spans.append((keys(exprs), keys([expr for expr in exprs if encoder.is_factor(expr)]), exprs))
    for random in formula.random:
        group = {_source(expr) or expr for expr in random.group}
        effects = [()] * random.intercept + [term.factors for term in random.terms]
        for effect in effects:
            needed = keys(effect)
            for whole, categorical, exprs in spans:
                if needed | group <= whole and whole - needed <= categorical:
                    fixed_label = ":".join(label(expr) for expr in exprs)
                    raise error("MW-D19", group=random.group_label, fixed=fixed_label, term=str(random))


def refuse_equal_groups(formula: Formula, groups: Sequence[Group]) -> None:
    """Refuse one effect over two grouping factors that cut the rows into the same groups."""
    terms = list(zip(formula.random, groups, strict=True))
    for i, (second, other) in enumerate(terms):
        for first, group in terms[:i]:
            count = len(group.levels)
            shared = first.intercept and second.intercept
            if (shared or set(first.terms) & set(second.terms)) and first.group != second.group:
                pairs = group.codes * np.int64(len(other.levels)) + other.codes
                if count == len(other.levels) and np.unique(pairs).size == count:
                    raise error(
                        "MW-D26", first=first.group_label, second=second.group_label, term=str(second)
                    )


def notes_on_groups(formula: Formula, groups: Sequence[Group], encoder: Encoder) -> list[Note]:
    """Remarks on grouping factors: float labels, two levels, a swapped bar, labels reused as if nested."""
    notes: list[Note] = []
    seen: set[tuple[Expr, ...]] = set()
    for term, group in zip(formula.random, groups, strict=True):
        swapped = _looks_swapped(formula, term, len(group.levels), encoder)
        if swapped is not None:
            notes.append(note("MW-W06", term=str(term), group=term.group_label, column=swapped))
        if term.group in seen:
            continue
        seen.add(term.group)
        numbers = [
            e.name for e in term.group if isinstance(e, Name) and encoder.read(e.name).kind == "numeric"
        ]
        for name in numbers:
            labels = encoder.grouping(Name(name))[1]
            if isinstance(labels[0], float):  # one fraction makes them all floats
                value = next((level for level in labels if not level.is_integer()), None)  # type: ignore[attr-defined]
                notes += [] if value is None else [note("MW-W03", group=name, value=value)]
        if len(group.levels) == 2:
            notes.append(note("MW-W04", group=term.group_label))
        if swapped is None:
            fixed = {factor.factors for factor in formula.terms}
            notes += [note("MW-W07", group=name) for name in numbers if (Name(name),) in fixed]
    return notes + _nesting_questions(formula.random, groups)


def _looks_swapped(formula: Formula, term: RandomTerm, n_levels: int, encoder: Encoder) -> str | None:
    """Name the column of (column | group) that looks like the real grouping factor.

    Either the group is numeric and has fewer levels than the factor to the left of the bar, or the group is a
    numeric fixed effect and the column to the left is none.
    """
    if len(term.group) != 1 or not isinstance(term.group[0], Name) or len(term.terms) != 1:
        return None
    if encoder.read(term.group[0].name).kind != "numeric":
        return None
    left = term.terms[0].factors
    if len(left) != 1 or not isinstance(left[0], Name):
        return None
    if encoder.is_factor(left[0]) and len(encoder.grouping(left[0])[1]) > n_levels:
        return left[0].name
    fixed = {factor.factors for factor in formula.terms}
    if term.group in fixed and not any(left[0] in factors for factors in fixed):
        return left[0].name
    return None


def _nesting_questions(terms: Sequence[RandomTerm], groups: Sequence[Group]) -> list[Note]:
    """Ask about labels that may be reused: (1 | batch) + (1 | cask) where every batch has casks a, b, c.

    The data cannot tell reuse from crossing. Ask only when few labels occur in each of many groups, several
    rows in every cell, and no term has the interaction.
    """
    simple = [
        (variables(term.group[0])[0], group)
        for term, group in zip(terms, groups, strict=True)
        if len(term.group) == 1 and term.intercept
    ]
    joint = {frozenset(name for expr in term.group for name in variables(expr)) for term in terms}
    notes = []
    for outer, a in simple:
        for inner, b in simple:
            few = len(b.levels) <= _NESTING_LEVELS <= len(a.levels)
            if inner == outer or not few or frozenset((outer, inner)) in joint:
                continue
            cells = np.bincount(
                a.codes * np.int64(len(b.levels)) + b.codes, minlength=len(a.levels) * len(b.levels)
            )
            if cells.min() >= 2:
                labels = [level_text(level) for level in b.levels]
                notes.append(note("MW-W05", outer=outer, inner=inner, labels=labels))
    return notes
