"""Formula + table -> what a fit needs: y, the columns of X, the random-effects terms, weights and offset.

`build_design` reads the table once. The `Recipe` in its result makes the same columns from new data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixwell.design.columns import Encoder, Plan, State, encode, match_levels, plan
from mixwell.design.frame import Codes, Column, Frame, Labels, Mask, read_column
from mixwell.design.groups import (
    Group,
    check_size,
    code_group,
    notes_on_groups,
    refuse_confounded,
    refuse_equal_groups,
)
from mixwell.design.responses import read_response, refuse_constant
from mixwell.errors import Note, error, note
from mixwell.families import GAUSSIAN, Family
from mixwell.formula import Expr, Formula, Name, RandomTerm, Span, label, variables

__all__ = ["LOUD", "Design", "RandomDesign", "Recipe", "build_design"]

Floats = NDArray[np.float64]
Columns = tuple[Floats | None, ...]

LOUD = frozenset({"MW-W01", "MW-W06"})
"""Notes that the public functions also emit as a warning, because a user could be misled without."""


@dataclass(frozen=True, slots=True, eq=False)
class RandomDesign:
    """One random-effects term, ready for the core.

    Attributes
    ----------
    group, factor_names
        Label of the grouping factor, "batch:cask", and the columns it is made of.
    levels, codes
        Labels (tuples of labels for an interaction), and int32 codes (n,) into them; -1 for a level that is
        missing or unknown to the recipe.
    names, columns
        The k columns that vary, each float64 (n,) or None for all ones.
    structure, homogeneous, text
        As in the formula.
    assign
        Term of each column within the bar: 0 for the intercept, i for the i-th term.
    """

    group: str
    factor_names: tuple[str, ...]
    levels: Labels
    codes: Codes
    names: tuple[str, ...]
    columns: Columns
    structure: str
    homogeneous: bool
    text: str
    assign: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What was learned from the training data: enough to make X, Z and the offset for other rows.

    Each method takes a table (or a Frame) that has the columns it needs. Missing values become NaN in columns
    and -1 in codes; a level of a fixed factor that was not in the training data is refused.
    """

    formula: Formula
    states: dict[Expr, State]
    fixed_plan: Plan
    random_plans: tuple[Plan, ...]
    levels: tuple[Labels, ...]
    offset_column: str | None = None
    further: Mapping[str, tuple[Formula, Plan]] = field(default_factory=dict)

    def fixed(self, data: Any) -> Columns:
        """Columns of X, each float64 (n,) or None for the intercept."""
        used = [expr for term in self.formula.terms for expr in term.factors]
        return encode(self.encoder(data, used), self.fixed_plan, intercept=self.formula.intercept)[1]

    def random(self, data: Any) -> tuple[RandomDesign, ...]:
        """Random-effects terms with the training levels."""
        used = [expr for term in self.formula.random for expr in (*term.group, *_factors(term))]
        encoder = self.encoder(data, used)
        designs = []
        for term, planned, levels in zip(self.formula.random, self.random_plans, self.levels, strict=True):
            codes = _recode(encoder, term.group, levels)
            designs.append(
                _random_design(term, levels, codes, encode(encoder, planned, intercept=term.intercept))
            )
        return tuple(designs)

    def random_term(self, data: Any, at: int, *, levels: bool = True) -> RandomDesign:
        """One random-effects term; without `levels` no grouping column is read and every code is -1."""
        term = self.formula.random[at]
        encoder = self.encoder(data, [*(term.group if levels else ()), *_factors(term)])
        known = self.levels[at]
        codes = _recode(encoder, term.group, known) if levels else np.full(encoder.n, -1, dtype=np.int32)
        encoded = encode(encoder, self.random_plans[at], intercept=term.intercept)
        return _random_design(term, known, codes, encoded)

    def extended_codes(self, data: Any, at: int) -> Codes:
        """Codes of one grouping factor in which levels that were not fitted follow those that were.

        A row whose level is missing is a level of its own: nothing says that it shares one.
        """
        group, known = self.formula.random[at].group, self.levels[at]
        encoder = self.encoder(data, group)
        codes = _recode(encoder, group, known)
        rows = np.flatnonzero(codes < 0)
        if not rows.size:
            return codes
        labels = np.column_stack([encoder.grouping(expr)[0][rows] for expr in group]).astype(np.int64)
        missing = (labels < 0).any(axis=1)
        labels[missing, 0] = -1 - np.arange(np.count_nonzero(missing))
        codes[rows] = len(known) + np.unique(labels, axis=0, return_inverse=True)[1].ravel()
        return codes

    def offset(self, data: Any) -> Floats | None:
        """Sum of the offset() terms and of the offset column; None without any."""
        exprs = self.formula.offsets + ((Name(self.offset_column),) if self.offset_column is not None else ())
        encoder = self.encoder(data, exprs)
        return sum((encoder.numeric(expr) for expr in exprs), np.zeros(encoder.n)) if exprs else None

    def extra(self, name: str, data: Any) -> Columns:
        """Columns of a further linear predictor, each float64 (n,) or None for ones."""
        formula, planned = self.further[name]
        used = [expr for term in formula.terms for expr in term.factors]
        return encode(self.encoder(data, used), planned, intercept=formula.intercept)[1]

    def response(self, data: Any) -> Floats:
        """Values of the response (transformed as in the formula)."""
        assert self.formula.response is not None
        return self.encoder(data, (self.formula.response,)).numeric(self.formula.response)

    def numeric(self, expr: Expr, data: Any) -> Floats:
        """Values (n,) of one expression, such as a part of cbind()."""
        return self.encoder(data, (expr,)).numeric(expr)

    def encoder(self, data: Any, exprs: Iterable[Expr]) -> Encoder:
        """Return what evaluates expressions on the rows of a table as it did on the fitted ones."""
        frame = Frame.from_data(data, [name for expr in exprs for name in variables(expr)])

        def read(name: str) -> Column:
            try:
                return frame.column(name)
            except KeyError:
                raise error("MW-P02", column=name, available=list(frame.names)) from None

        return Encoder(read, frame.n_rows, self.formula.text, states=self.states)


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Everything a fit needs from the data.

    Attributes
    ----------
    response, y
        Label of the response; its n values.
    names, columns
        The p columns of X in R's order and spelling, each float64 (n,) or None for all ones.
    assign, term_labels
        Term of each column, 0 for the intercept and i for `term_labels[i - 1]`.
    weights, offset
        float64 (n,) or None.
    random
        Random-effects terms in formula order.
    rows, n_rows
        Mask (n_rows,) of the rows of the table that are used, None for all.
    notes
        Remarks to print with the fit.
    recipe
        Rebuilds X and Z for new data.
    frame
        The table as given.
    extra
        Names and columns of further linear predictors.
    categories
        Labels of an ordinal response, whose y are their positions.
    """

    formula: Formula
    response: str
    y: Floats
    names: tuple[str, ...]
    columns: Columns
    assign: tuple[int, ...]
    term_labels: tuple[str, ...]
    weights: Floats | None
    offset: Floats | None
    random: tuple[RandomDesign, ...]
    rows: Mask | None
    n_rows: int
    notes: tuple[Note, ...]
    recipe: Recipe
    frame: Frame
    extra: Mapping[str, tuple[tuple[str, ...], Columns]] = field(default_factory=dict)
    categories: Labels = ()

    @property
    def n(self) -> int:
        """Rows used."""
        return len(self.y)


def build_design(
    formula: Formula,
    data: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    contrasts: Mapping[str, Any] | str | None = None,
    na_action: str = "drop",
    family: Family = GAUSSIAN,
    extra: Mapping[str, Formula] | None = None,
) -> Design:
    """Read a table as a formula says.

    Parameters
    ----------
    formula
        A parsed formula.
    data
        Any table: see `Frame.from_data`.
    weights, offset
        A column name, or one number per row of `data`. Rows of weight zero are left out.
    contrasts
        Coding of factors by column name: "treatment", "sum", "helmert", "poly", "diff", or a matrix with one
        row per level. A single name serves all unordered factors.
    na_action
        "drop" rows with missing values in any column used, or "fail".
    family
        Says what the response may be.
    extra
        One-sided formulas of further linear predictors, by name; they read the same rows.

    Returns
    -------
    Design
        n rows, p fixed-effects columns, one RandomDesign per random-effects term.

    Examples
    --------
    >>> from mixwell.formula import parse
    >>> table = {"y": [1.0, 2.0, 4.0, 3.0], "x": [0, 1, 2, 3], "f": ["a", "b", "c", "a"]}
    >>> build_design(parse("y ~ x + f"), table).names
    ('(Intercept)', 'x', 'fb', 'fc')
    """
    if na_action not in ("drop", "fail"):
        raise error("MW-A02", option="na_action", given=na_action, allowed=["'drop'", "'fail'"])
    if contrasts is not None and not isinstance(contrasts, (str, Mapping)):
        expected = "the name of a coding, or a mapping from columns to codings"
        raise error("MW-A07", option="contrasts", expected=expected, given=contrasts)
    extra = extra or {}
    table = _read_table(formula, data, extra, weights=weights, offset=offset, na_action=na_action)
    encoder = Encoder(
        table.columns.__getitem__, table.n, formula.text, contrasts=contrasts, row=_row_finder(table.rows)
    )
    weighted = table.weights is not None
    response = read_response(encoder, formula, family, _row_finder(table.rows), weighted=weighted)
    y = response.y
    offset_values = _offset(encoder, formula, table.offset)
    refuse_constant(formula, family, response, offset_values)

    fixed_plan = plan(
        [t.factors for t in formula.terms], intercept=formula.intercept, is_factor=encoder.is_factor
    )
    names, columns, assign = encode(encoder, fixed_plan, intercept=formula.intercept)
    refuse_confounded(formula, fixed_plan, encoder)
    random, plans = _random_terms(formula, encoder, residual=family.kind == "real")
    groups = [Group(term.codes, term.levels) for term in random]
    refuse_equal_groups(formula, groups)
    notes = [*table.notes, *response.notes, *notes_on_groups(formula, groups, encoder)]
    further = {name: _further(each, encoder) for name, each in extra.items()}
    _check_contrasts(contrasts, encoder)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise error("MW-D27", name=twice)
    for array in (y, *columns, *(column for term in random for column in term.columns)):
        if array is not None:
            array.setflags(write=False)

    levels = tuple(term.levels for term in random)
    offset_column = offset if isinstance(offset, str) else None
    return Design(
        formula=formula,
        response="" if formula.response is None else label(formula.response),
        y=y,
        names=names,
        columns=columns,
        assign=assign,
        term_labels=tuple(term.label for term in formula.terms),
        weights=_weights(table.weights, response.trials),
        offset=offset_values,
        random=random,
        rows=table.rows,
        n_rows=table.frame.n_rows,
        notes=tuple(notes),
        recipe=Recipe(
            formula,
            encoder.states,
            fixed_plan,
            plans,
            levels,
            offset_column,
            {name: (extra[name], planned) for name, (planned, _, _) in further.items()},
        ),
        frame=table.frame,
        extra={name: (names, columns) for name, (_, names, columns) in further.items()},
        categories=response.categories,
    )


# --- which columns, which rows ------------------------------------------------------------------------------


class _Table(NamedTuple):
    """The columns that a formula reads, at the rows that are used."""

    frame: Frame
    columns: dict[str, Column]
    weights: Column | None
    offset: Column | None
    rows: Mask | None
    n: int
    notes: list[Note]


def _read_table(
    formula: Formula,
    data: Any,
    extra_formulas: Mapping[str, Formula],
    *,
    weights: Any,
    offset: Any,
    na_action: str,
) -> _Table:
    used = list(formula.variables())
    extra = [given for given in (weights, offset) if isinstance(given, str)]
    extra += [name for each in extra_formulas.values() for name, _ in each.variables()]
    frame = Frame.from_data(data, [*(name for name, _ in used), *extra])
    if frame.n_rows == 0:
        raise error("MW-D03")
    columns = {name: _read_used(frame, name, formula.text, span) for name, span in used}
    for further in extra_formulas.values():
        for name, span in further.variables():
            if name not in columns:
                columns[name] = _read_used(frame, name, further.text, span)
    given_weights = _argument(frame, "weights", weights)
    given_offset = _argument(frame, "offset", offset)
    rows, notes = _rows_used(frame.n_rows, columns, given_weights, given_offset, na_action)
    if rows is None:
        return _Table(frame, columns, given_weights, given_offset, None, frame.n_rows, notes)
    return _Table(
        frame,
        {name: column.take(rows) for name, column in columns.items()},
        None if given_weights is None else given_weights.take(rows),
        None if given_offset is None else given_offset.take(rows),
        rows,
        int(np.count_nonzero(rows)),
        notes,
    )


def _factors(term: RandomTerm) -> list[Expr]:
    return [expr for fixed in term.terms for expr in fixed.factors]


def _read_used(frame: Frame, name: str, text: str, span: Span) -> Column:
    try:
        return frame.column(name)
    except KeyError:
        raise error("MW-F20", name=name, available=list(frame.names), text=text, span=span) from None


def _argument(frame: Frame, argument: str, given: Any) -> Column | None:
    """Read the weights or the offset: a column name or one number per row."""
    if given is None:
        return None
    if isinstance(given, str):
        try:
            column = frame.column(given)
        except KeyError:
            raise error("MW-D25", argument=argument, name=given, available=list(frame.names)) from None
        what = f"the column '{given}' of {argument}"
    else:
        if not hasattr(given, "__len__") or isinstance(given, Mapping) or getattr(given, "ndim", 1) == 0:
            one = "one value" if np.isscalar(given) else f"one {type(given).__name__}"
            raise error("MW-D12", argument=argument, given=one, n=frame.n_rows)
        if len(getattr(given, "shape", ())) > 1:
            reason = f"it has shape {tuple(given.shape)}, not one value per row"
            raise error("MW-D05", column=argument, reason=reason)
        column, what = read_column(argument, given), argument
        if len(column) != frame.n_rows:
            raise error("MW-D12", argument=argument, given=f"{len(column)} values", n=frame.n_rows)
    if column.kind not in ("numeric", "boolean") or column.values is None:
        advice = f"Pass {argument} as numbers, one per row of the table."
        raise error("MW-D09", what=what, kind=column.described(), advice=advice)
    if column.values.dtype.kind == "f":
        infinite = np.flatnonzero(np.isinf(column.values))
        if len(infinite):
            raise error("MW-D08", what=what, value="infinite", row=int(infinite[0]), where="")
    return column


def _rows_used(
    n: int, table: Mapping[str, Column], weights: Column | None, offset: Column | None, na_action: str
) -> tuple[Mask | None, list[Note]]:
    """Mask of the rows without missing values and with positive weight; None for all rows."""
    missing: Mask | None = None
    found: dict[str, int] = {}
    for column in (*table.values(), weights, offset):
        if column is not None and column.absent is not None:
            found.setdefault(column.name, int(column.absent.sum()))
            missing = column.absent if missing is None else missing | column.absent
    counts = ", ".join(f"{name}: {count}" for name, count in found.items())
    notes = []
    if missing is not None:
        dropped = int(missing.sum())
        if na_action == "fail":
            raise error("MW-D07", dropped=dropped, n=n, counts=counts)
        if dropped == n:
            raise error("MW-D06", n=n, counts=counts)
        notes.append(note("MW-W01", dropped=dropped, n=n, rows="row" if n == 1 else "rows", counts=counts))
    if weights is not None:
        idle = _idle(weights, missing)
        if idle is not None:
            notes.append(note("MW-W02", count=int(np.count_nonzero(idle)), weights=weights.name))
            missing = idle if missing is None else missing | idle
    return None if missing is None else ~missing, notes


def _idle(weights: Column, missing: Mask | None) -> Mask | None:
    """Rows present whose weight is zero; None when there are none."""
    values = weights.values
    assert values is not None
    if values.dtype.kind != "b" and len(negative := np.flatnonzero(values < 0)):
        raise error("MW-D13", weights=weights.name, row=int(negative[0]), value=values[negative[0]].item())
    idle = np.asarray(values == 0)
    if missing is not None:
        idle &= ~missing
    if not idle.any():
        return None
    if (idle if missing is None else idle | missing).all():
        raise error("MW-D14", weights=weights.name)
    return idle


def _row_finder(rows: Mask | None) -> Any:
    return int if rows is None else lambda i: int(np.flatnonzero(rows)[i])


# --- the parts of a design ----------------------------------------------------------------------------------


def _weights(given: Column | None, trials: Floats | None) -> Floats | None:
    """Prior weights times numbers of trials."""
    if given is None:
        return trials
    return given.numeric() if trials is None else given.numeric() * trials


def _further(formula: Formula, encoder: Encoder) -> tuple[Plan, tuple[str, ...], Columns]:
    """Plan, names and columns of a one-sided formula without random effects."""
    if formula.random or formula.offsets or formula.response is not None:
        raise error("MW-F36", text=formula.text, span=(0, len(formula.text)))
    planned = plan(
        [t.factors for t in formula.terms], intercept=formula.intercept, is_factor=encoder.is_factor
    )
    names, columns, _ = encode(encoder, planned, intercept=formula.intercept)
    return planned, names, columns


def _offset(encoder: Encoder, formula: Formula, given: Column | None) -> Floats | None:
    """Sum of the offset argument and the offset() terms."""
    total = None if given is None else given.numeric()
    for expr in formula.offsets:
        values = encoder.numeric(expr)
        total = values.copy() if total is None else total + values
    return total


def _random_terms(
    formula: Formula, encoder: Encoder, *, residual: bool
) -> tuple[tuple[RandomDesign, ...], tuple[Plan, ...]]:
    """Code every random-effects term, and keep the plans of their columns."""
    designs, plans = [], []
    for term in formula.random:
        codes, levels = code_group(encoder, term.group)
        planned = plan([t.factors for t in term.terms], intercept=term.intercept, is_factor=encoder.is_factor)
        encoded = encode(encoder, planned, intercept=term.intercept)
        check_size(formula, term, levels, len(encoded[0]), encoder, residual=residual)
        designs.append(_random_design(term, levels, codes, encoded))
        plans.append(planned)
    return tuple(designs), tuple(plans)


def _random_design(
    term: RandomTerm, levels: Labels, codes: Codes, encoded: tuple[tuple[str, ...], Columns, tuple[int, ...]]
) -> RandomDesign:
    column_names, columns, assign = encoded
    return RandomDesign(
        term.group_label,
        tuple(expr.name if isinstance(expr, Name) else label(expr) for expr in term.group),
        levels,
        codes,
        column_names,
        columns,
        term.structure,
        term.homogeneous,
        str(term),
        assign,
    )


def _recode(encoder: Encoder, group: tuple[Expr, ...], levels: Labels) -> Codes:
    """Codes of new rows into training levels; -1 for unknown levels and missing values."""
    parts = [encoder.grouping(expr) for expr in group]
    if len(parts) == 1:
        codes, found = parts[0]
        return np.append(match_levels(found, levels), np.int32(-1))[codes]
    # one component at a time: match it among the training labels, then look the combination up
    position = {level: i for i, level in enumerate(levels)}
    matched = []
    for at, (codes, found) in enumerate(parts):
        known = tuple(dict.fromkeys(level[at] for level in position))  # type: ignore[index]
        where = np.append(match_levels(found, known), np.int32(-1))[codes]
        matched.append([known[i] if i >= 0 else None for i in where.tolist()])
    return np.array([position.get(level, -1) for level in zip(*matched, strict=True)], dtype=np.int32)


def _check_contrasts(contrasts: Mapping[str, Any] | str | None, encoder: Encoder) -> None:
    """Every entry of `contrasts` must have coded a factor."""
    if contrasts is None or isinstance(contrasts, str):
        return
    for name in contrasts:
        if name not in encoder.contrasts_used:
            factors = [label(expr) for expr in encoder.states if encoder.is_factor(expr)]
            raise error("MW-D22", name=name, available=factors or ["none"])
