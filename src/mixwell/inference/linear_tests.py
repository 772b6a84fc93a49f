"""Tests of hypotheses that the user states: in words, as a dict, or as a matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, cells, html, number, p_value, text
from mixwell.inference.anova import chosen_approximation, method_text
from mixwell.inference.statements import Statement, read_statement, row_text
from mixwell.inference.wald import Ddf, Information, Joint, Separate, joint, separate
from mixwell.options import checked

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = ["HypothesisTest", "test"]

Array = NDArray[np.float64]
Hypothesis = str | Mapping[str, float] | Sequence[Any] | NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HypothesisTest:
    """Tests of L beta = rhs: each row by t, and all together by F.

    Attributes
    ----------
    hypotheses
        The r hypotheses as text.
    rows, rhs
        L, shape (r, p), columns as in `fixef.names`, and the right-hand sides (r,).
    separate
        Estimate of L beta, se, df, statistic and p-value of each row, each (r,).
    joint
        F test of all rows: statistic, num_df, den_df, p_value; None if it was not asked for.
    method, level
        Where degrees of freedom come from; coverage of the intervals in the table.
    """

    hypotheses: tuple[str, ...]
    rows: Array
    rhs: Array
    separate: Separate
    joint: Joint | None
    method: str
    level: float
    to_table: Callable[[dict[str, Any]], Any] = field(default=dict)

    def table(self) -> Any:
        """Return one row a hypothesis, in the caller's dataframe library.

        Returns
        -------
        table
            Columns hypothesis, estimate (of L beta), rhs, std_error, df, statistic (t), p_value, and lower,
            upper: the confidence interval of L beta.
        """
        each = self.separate
        lower, upper = each.interval(self.level)
        return self.to_table(
            {
                "hypothesis": list(self.hypotheses),
                "estimate": each.estimate,
                "rhs": self.rhs,
                "std_error": each.se,
                "df": each.df,
                "statistic": each.statistic,
                "p_value": each.p_value,
                "lower": lower,
                "upper": upper,
            }
        )

    def _blocks(self) -> list[Block]:
        each = self.separate
        lower, upper = each.interval(self.level)
        columns = [
            self.hypotheses,
            cells(each.estimate.tolist()),
            cells(each.se.tolist()),
            ["Inf" if np.isinf(value) else f"{value:.1f}" for value in each.df],
            [f"{value:.2f}" for value in each.statistic],
            [p_value(p) for p in each.p_value.tolist()],
            cells(lower.tolist()),
            cells(upper.tolist()),
        ]
        header = ("hypothesis", "estimate", "se", "df", "t", "p", f"lower {100 * self.level:g} %", "upper")
        rows = [list(row) for row in zip(*columns, strict=True)]
        blocks = [Block(f"Linear hypotheses, {self.method}", header, rows)]
        if self.joint is not None:
            j = self.joint
            den = f"{j.den_df:.1f}" if np.isfinite(j.den_df) else number(j.den_df)
            shown = p_value(j.p_value)
            line = f"F = {number(j.statistic).strip()} on {j.num_df} and {den} degrees of freedom, "
            blocks.append(
                Block("All together", lines=[line + f"p {shown if shown[0] == '<' else '= ' + shown}"])
            )
        return blocks

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@checked
def test(
    m: FittedModel,
    *hypotheses: Hypothesis,
    rhs: Any = None,
    joint: bool | None = None,
    ddf: Ddf = "satterthwaite",
    information: Information = "expected",
    vcov: str = "model",
    cluster: Any = None,
    level: float = 0.95,
) -> HypothesisTest:
    """Test linear hypotheses about the coefficients.

    Parameters
    ----------
    hypotheses
        Texts: "condB = condC", "x + 2 * z = 1", "a = b = c", "x" (it is zero), or the name of a term for all
        its coefficients. Names are those of `fixef`, in backquotes where they could be misread. Or dicts,
        {"x": 1, "z": -1}. Or a matrix with one column a coefficient, shape (r, p) or (p,).
    rhs
        Right-hand sides of dicts and matrices: one number, or one a row; 0 if None.
    joint
        Test all rows together, too: by default if there are several.
    ddf, information, vcov, cluster
        As for `anova`.
    level
        Coverage of the confidence intervals.

    Returns
    -------
    HypothesisTest
        `.table()` has a row a hypothesis, `.joint` the F test of all of them.

    Raises
    ------
    MixwellError
        MW-A25 to MW-A27 for a text that cannot be read, MW-A28 for a coefficient that is not estimable,
        MW-A29 for contradictory hypotheses, MW-A30 for a matrix of another shape, MW-A31 for options that
        exclude each other.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("angle ~ recipe + temp + (1 | recipe:replicate)", mw.data.load("cake", "dict"))
    >>> tested = m.test("recipeB = recipeC", "temp = 0.1")
    >>> tested.table()["estimate"].round(4).tolist(), tested.joint.num_df
    ([0.0444, 0.158], 2)
    """
    if isinstance(level, bool) or not isinstance(level, float | int) or not 0 < level < 1:
        raise error("MW-A49", given=level)
    if joint is not None and not isinstance(joint, bool):
        raise error("MW-A02", option="joint", given=joint, allowed=["None", "True", "False"])
    by = chosen_approximation(m, ddf, information, vcov, cluster)
    statements = _estimable(m, _read(m, hypotheses, rhs))
    L = np.array([each.row for each in statements])
    sides = np.array([each.rhs for each in statements])
    together = len(statements) > 1 if joint is None else joint
    tested = None
    if together:
        _refuse_contradiction(statements, L, sides)
        tested = _joint(by, m.fixef.values, L, sides)
    return HypothesisTest(
        tuple(each.text for each in statements),
        L,
        sides,
        separate(by, m.fixef.values, L, sides),
        tested,
        method_text(by.name),
        float(level),
        m.design.frame.native_like,
    )


_joint = joint  # `test` has an argument of this name


def _read(m: FittedModel, given: Sequence[Hypothesis], rhs: Any) -> list[Statement]:
    """Read every form of hypothesis into rows over all columns of the design."""
    if len(given) == 1 and isinstance(given[0], list | tuple) and any(isinstance(e, str) for e in given[0]):
        given = given[0]
    if not given:
        raise error("MW-A32", given="nothing")
    design = m.design
    terms = [
        (label, [j for j, term in enumerate(design.assign) if term == at])
        for at, label in enumerate(design.term_labels, start=1)
    ]
    out: list[Statement] = []
    numeric = 0
    for each in given:
        if isinstance(each, str):
            out += read_statement(each, design.names, terms)
        elif isinstance(each, Mapping):
            out.append(Statement("", _from_dict(m, each), 0.0))
            numeric += 1
        else:
            rows = list(_from_matrix(m, each))
            out += rows
            numeric += len(rows)
    if rhs is None:
        sides: Array = np.zeros(numeric)
    elif not numeric:
        advice = 'Write the right-hand side into the text, "x = 1".'
        raise error("MW-A31", option="rhs=", other="hypotheses in words", advice=advice)
    else:
        sides = _numbers(m, rhs, "rhs")
        if sides.ndim > 1 or sides.size not in (1, numeric):
            rows_text = f"{numeric} row" + ("" if numeric == 1 else "s")
            raise _shape(m, f"rhs has {sides.size} values for {rows_text}")
        sides = np.broadcast_to(sides, numeric)
    left: Iterator[float] = iter(sides.tolist())
    for at, one in enumerate(out):
        if not one.text:
            side = next(left)
            out[at] = Statement(row_text(one.row, side, design.names), one.row, side)
    return out


def _from_dict(m: FittedModel, given: Mapping[str, float]) -> Array:
    names = m.design.names
    row = np.zeros(len(names))
    for name, value in given.items():
        if name not in names:
            raise error("MW-A26", name=name, available=list(names))
        row[names.index(name)] = _numbers(m, value, f"the number of '{name}'").item()
    if not row.any():
        advice = "Give at least one coefficient a number that is not zero."
        raise error("MW-A27", reason="it has no coefficient", advice=advice)
    return row


def _from_matrix(m: FittedModel, given: Any) -> Iterator[Statement]:
    if given is None:
        raise error("MW-A32", given="None")
    L = _numbers(m, given, "it")
    if L.ndim == 1:
        L = L[None, :]
    p, everything = len(m.kept), len(m.design.names)
    if L.ndim != 2 or L.shape[1] not in (p, everything) or not len(L):
        raise _shape(m, f"its shape is {np.shape(given)}")
    for at, row in enumerate(L):
        full = row
        if L.shape[1] != everything:
            full = np.zeros(everything)
            full[_kept(m)] = row
        if not full.any():
            raise _shape(m, f"row {at + 1} is all zeros")
        yield Statement("", full, 0.0)


def _numbers(m: FittedModel, given: Any, what: str) -> Array:
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        if not hasattr(given, "__len__"):
            raise error("MW-A32", given=f"{type(given).__name__}") from None
        raise _shape(m, f"{what} holds values that are not numbers") from None
    if not np.isfinite(values).all():
        raise _shape(m, f"{what} holds a value that is not finite")
    return values


def _shape(m: FittedModel, reason: str) -> Exception:
    return error("MW-A30", reason=reason, p=len(m.kept), names=list(m.fixef.names))


def _kept(m: FittedModel) -> list[int]:
    """Places of the coefficients among the columns of the design, by name.

    `m.kept` of an ordinal model does not count the intercept, whose place its thresholds take.
    """
    return [m.design.names.index(name) for name in m.fixef.names]


def _estimable(m: FittedModel, statements: Sequence[Statement]) -> list[Statement]:
    """Keep the estimable columns; a hypothesis about a dropped one is refused."""
    kept = _kept(m)
    dropped = [j for j in range(len(m.design.names)) if j not in set(kept)]
    for each in statements:
        if lost := [m.design.names[j] for j in dropped if each.row[j] != 0]:
            raise error("MW-A28", hypothesis=each.text, columns=", ".join(lost))
    return [each._replace(row=each.row[kept]) for each in statements]


def _refuse_contradiction(statements: Sequence[Statement], L: Array, rhs: Array) -> None:
    """Dependent rows must have right-hand sides that depend in the same way."""
    size = np.linalg.norm(L, axis=1)
    unit, sides = L / size[:, None], rhs / size
    left = sides - unit @ (np.linalg.pinv(unit, rcond=1e-9) @ sides)
    if np.max(np.abs(left)) > 1e-8 * (1.0 + np.max(np.abs(sides))):
        raise error("MW-A29", hypotheses=[each.text for each in statements])
