"""Influence: what the fit would be without a row, or without a whole cluster.

Without one row and with theta as it is everything has a closed form (`_closed_form`): leaving a row out is
adding an indicator of it to X. Clusters are left out by refitting, warm-started, in native threads
(`_deleted`).

Both work on standardised columns of X, in which Cook's distance and its like are what they are in those
given, and a column such as 1e9 + x does not cancel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixwell._core import Problem, fit_subsets
from mixwell.design.contrasts import level_text
from mixwell.design.frame import Codes, compact
from mixwell.errors import error
from mixwell.fitted.predict import random_part
from mixwell.fitted.text import Block, cells, html, text
from mixwell.options import checked
from mixwell.resampling.engine import core_terms, warm_start
from mixwell.resampling.parameters import Parameters
from mixwell.resampling.progress import progress as progress_line

if TYPE_CHECKING:
    from mixwell._core import Fits
    from mixwell.fitted.result import FittedModel
    from mixwell.plots.canvas import Plot

__all__ = ["Influence", "RowMeasures", "hatvalues", "influence"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROWS = 500_000  # rows of all selections of one native call
_SATURATED = 1e-12  # 1 - hat below which the fit cannot do without the row
_SHOWN = 5  # units that are printed


# --- what is returned -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class RowMeasures:
    """Measures that only single rows have, each of shape (n,).

    Attributes
    ----------
    rstudent
        Residuals over their standard deviation, with sigma estimated without the row.
    dffits
        Change of the fitted value of the row, over its standard deviation.
    cooks_conditional
        Cook's distance of fixed and random effects together, which is `cooks.distance` of lme4.
    """

    rstudent: Array
    dffits: Array
    cooks_conditional: Array


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Influence:
    """What each row or cluster does to the fit; it prints the most influential ones.

    Attributes
    ----------
    model, group
        The fit, and what was left out: a grouping factor or column, None for single rows.
    refitted
        Whether theta was estimated again without each unit.
    labels, sizes
        Position of each row in the data (0-based), or level of each cluster as text; rows in each.
    hat
        Leverage: derivative of the fitted value in the response, random effects included, theta as it is;
        of a cluster the sum over its rows. The sum over all is the effective number of parameters.
    dfbeta, dfbetas
        Fixed effects with all rows less those without the unit, shape (units, p), and the same over standard
        errors.
    cooks, mdffits
        Cook's distance dfbeta' V^-1 dfbeta / p, with the covariance V of the fixed effects with all rows, and
        without the unit (Demidenko and Stukel 2005).
    covratio, covtrace
        How the covariance of the fixed effects changes: det(V without) / det(V), and
        |trace(V^-1 V without) - p|.
    names, parameters
        Standard deviations, correlations and sigma, named as by `confint`, with all rows and
        without each unit: shapes (r,) and (units, r).
    converged
        Whether the fit without the unit converged; the numbers of one that has none are NaN.
    rows
        More about single rows, None for clusters and after refits.
    """

    model: FittedModel
    group: str | None
    refitted: bool
    labels: tuple[str, ...] | Ints
    sizes: Ints
    hat: Array
    dfbeta: Array
    dfbetas: Array
    cooks: Array
    mdffits: Array
    covratio: Array
    covtrace: Array
    names: tuple[str, ...]
    estimates: Array
    parameters: Array
    converged: NDArray[np.bool_]
    rows: RowMeasures | None = None

    def table(self) -> Any:
        """Return one row a unit at full precision, ready to be plotted.

        Returns
        -------
        table
            Columns row (position in the data), or level and rows; hat; of single rows rstudent, dffits,
            cooks_conditional; cooks, mdffits, covratio, covtrace; dfbetas_<coefficient> for each; and
            change_<parameter>, the estimate without the unit less that with all rows; converged.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
        >>> table = m.influence("Batch").table()
        >>> table["level"][:2], table["cooks"].round(3)[:2].tolist()
        (['A', 'B'], [0.054, 0.0])
        """
        columns: dict[str, Any] = {}
        if self.group is None:
            columns["row"] = self.labels
        else:
            columns |= {"level": list(self.labels), "rows": self.sizes}
        columns["hat"] = self.hat
        if self.rows is not None:
            columns["rstudent"] = self.rows.rstudent
            columns["dffits"] = self.rows.dffits
            columns["cooks_conditional"] = self.rows.cooks_conditional
        columns |= {name: getattr(self, name) for name in ("cooks", "mdffits", "covratio", "covtrace")}
        for name, values in zip(self.model.fixef.names, self.dfbetas.T, strict=True):
            columns[f"dfbetas_{name}"] = values.copy()
        for name, values, all_rows in zip(self.names, self.parameters.T, self.estimates, strict=True):
            columns[f"change_{name}"] = values - all_rows
        return self.model.design.frame.native_like(columns | {"converged": self.converged})

    def plot(self, **options: Any) -> Plot:
        """Draw one measure; options as of `m.plot.influence`: measure, label, ax.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
        >>> m.influence("Batch").plot(label=1).data["unit"]
        ['A', 'B', 'C', 'D', 'E', 'F']
        """
        from mixwell.plots.influence import draw_influence  # noqa: PLC0415 - matplotlib is optional

        return draw_influence(self, **options)

    def _blocks(self) -> list[Block]:
        what = "rows" if self.group is None else f"levels of {self.group}"
        shown = np.argsort(-np.where(np.isnan(self.cooks), -1.0, self.cooks), kind="stable")[:_SHOWN]
        names = self.model.fixef.names
        columns = [
            [str(self.labels[i]) for i in shown],
            *(cells(v[shown].tolist(), 4) for v in (self.hat, self.cooks, self.covratio)),
        ]
        header = ["row" if self.group is None else "level", "hat", "Cook", "covratio"]
        if names:
            size = np.where(np.isnan(self.dfbetas), -1.0, np.abs(self.dfbetas))[shown]
            largest = np.argmax(size, axis=1)
            columns += [cells(self.dfbetas[shown, largest].tolist(), 4), [names[j] for j in largest]]
            header += ["dfbetas", "of"]
        rows = [list(row) for row in zip(*columns, strict=True)]
        how = "Theta was estimated again without each." if self.refitted else "Theta is that of the fit."
        lines = [f"The {len(rows)} largest Cook's distances, with the largest DFBETAS of each.", how]
        if failed := int(np.count_nonzero(~self.converged)):
            lines.append(f"{failed} of {len(self.hat)} fits without one did not converge or do not exist.")
        title = f"Influence of the {len(self.hat)} {what} on {self.model.formula.text}"
        return [Block(title, header, rows, lines=lines)]

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@checked
def hatvalues(m: FittedModel) -> Array:
    """Return the hat values: the derivative of each fitted value in its own response, theta as it is.

    Returns
    -------
    array
        Shape (n,). The fitted values are those with the random effects. The sum is the effective number of
        parameters (Hodges and Sargent 2001).

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> m.hatvalues()[:3].round(4).tolist(), round(float(m.hatvalues().sum()), 3)
    ([0.2293, 0.1697, 0.1268], 29.022)
    """
    return _rows_of(m).hat


@checked
def influence(
    m: FittedModel, group: str | None = None, *, refit: bool | None = None, progress: bool = True
) -> Influence:
    """Return what each row, or each level of a grouping factor, does to the fit.

    Parameters
    ----------
    group
        A grouping factor of the model or a column of the data, whose levels are left out one at a time;
        single rows if None.
    refit
        Estimate theta again without each unit, or leave it as it is. By default clusters are refitted and
        single rows not. Sigma and the fixed effects are always estimated again.
    progress
        Show a line on a terminal when it takes more than a second.

    Returns
    -------
    Influence
        Hat values, Cook's distance, DFBETAS, MDFFITS, ratio and trace of the covariance, and the changes of
        standard deviations and correlations; `.table()` is ready to be plotted.

    Raises
    ------
    MixwellError
        MW-A54 when `group` names nothing that cuts the rows into clusters.

    Notes
    -----
    DFBETAS are (beta - beta without) / se without, as of influence.merMod in lme4 but for their sign. Of
    single rows without refits the standard error takes sigma without the row and the leverage of all rows
    (Belsley, Kuh and Welsch 1980), as R does for least squares, where all measures agree with R's
    influence.measures. R's cooks.distance(influence(m, "g")) has an extra factor of (J - p) / J.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> m.influence("Subject")
    Influence of the 18 levels of Subject on Reaction ~ Days + (1 | Subject)
      level     hat    Cook  covratio  dfbetas    of
      335    0.9940  0.5262    1.015   -0.9758  Days
      308    0.9940  0.3816    0.9396   0.8671  Days
      309    0.9940  0.3266    0.8545  -0.5791  Days
      337    0.9940  0.3219    0.8918   0.6081  Days
      350    0.9940  0.2233    1.154    0.6496  Days
      The 5 largest Cook's distances, with the largest DFBETAS of each.
      Theta was estimated again without each.
    """
    if refit is not None and not isinstance(refit, bool):
        raise error("MW-A07", option="refit", expected="True, False or None", given=refit)
    rows = _rows_of(m)
    if group is None and not refit:
        return _closed_form(m, rows)
    return _deleted(m, rows, group, refit=refit is not False, wanted=progress)


# --- rows -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """A fit in standardised columns of X.

    columns (p of them), to_given (p, p) that turns their coefficients into those of the columns given; beta
    (p,) and C (p, p), its covariance over sigma^2; S (n, p) = X less its conditional modes, so that
    H^-1 X = W S; w (n,). Leverage of the fixed effects, given the random ones, and of these alone, each (n,).
    """

    columns: tuple[Array | None, ...]
    to_given: Array
    beta: Array
    C: Array
    S: Array
    w: Array
    fixed: Array
    random: Array
    r2: float

    @property
    def hat(self) -> Array:
        return self.fixed + self.random


def _standardised(m: FittedModel) -> tuple[tuple[Array | None, ...], Array]:
    """Columns of X scaled, and centred if there is an intercept, and the way back (p, p)."""
    intercept = [j for j, column in enumerate(m.fixed_columns) if column is None]
    to_given = np.eye(len(m.kept))
    columns: list[Array | None] = []
    for j, column in enumerate(m.fixed_columns):
        if column is None:
            columns.append(None)
            continue
        mean = float(np.mean(column)) if intercept else 0.0
        scale = float(np.sqrt(np.mean((column - mean) ** 2)))
        columns.append((column - mean) / scale)
        to_given[j, j] = 1.0 / scale
        to_given[intercept, j] = -mean / scale
    return tuple(columns), to_given


def _rows_of(m: FittedModel) -> _Rows:
    design, n, p = m.design, m.nobs, len(m.kept)
    columns, to_given = _standardised(m)
    problem = Problem(_response(m), columns, core_terms(design), design.weights)
    solution = problem.solve(m.theta, m.is_reml, full=True)
    S = np.column_stack([np.ones(n) if c is None else c for c in columns] or [np.empty((n, 0))])
    for term, modes in zip(design.random, solution.b_x, strict=True):
        b_x = np.asarray(modes)
        for j in range(p):
            S[:, j] -= random_part(term.codes, term.columns, b_x[:, :, j])
    w = np.ones(n) if design.weights is None else design.weights
    random = np.zeros(n)
    if m.is_mixed:
        codes, own = [t.codes for t in design.random], [t.columns for t in design.random]
        random = w * problem.conditional_variance(m.theta, codes, own)
    beta, C = np.asarray(solution.beta), np.asarray(solution.vcov_unscaled)
    fixed = w * np.einsum("np,np->n", S @ C, S)
    return _Rows(columns, to_given, beta, C, S, w, fixed, random, float(solution.r2))


def _response(m: FittedModel) -> Array:
    return m.design.y if m.design.offset is None else m.design.y - m.design.offset


def _closed_form(m: FittedModel, rows: _Rows) -> Influence:
    """Leave out each row with theta as it is.

    With P = H^-1 - H^-1 X C X'H^-1 the coefficient of the indicator of row i is (Py)_i / P_ii, where
    (Py)_i = w_i e_i, P_ii = w_i (1 - h_i) and (H^-1)_ii = w_i (1 - g_i), g the leverage of the random
    effects alone. Without the row X'H^-1X loses s s' / (H^-1)_ii, s = w_i S_i.
    """
    n, p, w = m.nobs, len(m.kept), rows.w
    residuals, hat = m.resid(), rows.hat
    left = np.where(1.0 - hat > _SATURATED, 1.0 - hat, np.nan)
    own, nu = 1.0 - rows.random, n - (p if m.is_reml else 0)
    every = Parameters(m)
    with np.errstate(divide="ignore", invalid="ignore"):
        gamma = residuals / left
        lost = w * gamma**2
        sigma2 = float(m.solution.sigma2)
        without = (
            np.maximum(rows.r2 - w * residuals * gamma, 0.0) / (nu - 1) if nu > 1 else np.full(n, np.nan)
        )
        sigma = np.sqrt(without)
        dfbeta = (w * gamma)[:, None] * (rows.S @ rows.C) @ rows.to_given.T
        unscaled = np.sqrt(np.einsum("ip,pq,iq->i", rows.to_given, rows.C, rows.to_given))
        rstudent = np.sqrt(w) * residuals / (sigma * np.sqrt(left))
        ratio = without / sigma2
        theta = np.broadcast_to(m.theta, (n, m.theta.size))
        return Influence(
            model=m,
            group=None,
            refitted=False,
            labels=_positions(m),
            sizes=np.ones(n, np.int64),
            hat=hat,
            dfbeta=dfbeta,
            dfbetas=dfbeta / (sigma[:, None] * unscaled),
            cooks=lost * rows.fixed / (p * sigma2),
            mdffits=lost * rows.fixed * left / (own * p * without),
            covratio=ratio**p * own / left,
            covtrace=np.abs(ratio * (p + rows.fixed / left) - p),
            names=every.names[p:],
            estimates=_estimates(m, every),
            parameters=every.of(dfbeta, theta, sigma)[:, p:],
            converged=~np.isnan(left),
            rows=RowMeasures(rstudent, rstudent * np.sqrt(hat / left), lost * hat / (p * sigma2)),
        )


def _estimates(m: FittedModel, every: Parameters) -> Array:
    """Return standard deviations, correlations and sigma with all rows, shape (r,)."""
    p = len(m.kept)
    return every.of(m.fixef.values[None], m.theta[None], np.array([m.sigma]))[0, p:]


def _positions(m: FittedModel) -> Ints:
    """Positions in the data of the rows that were fitted."""
    used = m.design.rows
    return np.arange(m.nobs) if used is None else np.flatnonzero(used)


# --- whole clusters, and refits -------------------------------------------------------------------------


class _Selection(NamedTuple):
    """Rows, and for each random-effects term their codes and the number of levels."""

    rows: Ints
    codes: list[Codes]
    levels: list[int]


def _units(m: FittedModel, group: str | None) -> tuple[tuple[str, ...] | Ints, Ints]:
    """Labels of the units that are left out, and codes (n,) into them; every unit has a row."""
    if group is None:
        return _positions(m), np.arange(m.nobs)
    for term in m.design.random:
        if term.group == group:
            return tuple(map(level_text, term.levels)), term.codes.astype(np.int64)
    names = m.design.frame.names
    available = tuple(dict.fromkeys([*(term.group for term in m.design.random), *names]))
    if not isinstance(group, str) or group not in names:
        raise error("MW-A54", name=group, reason="there is no such column", available=available)
    codes, levels = m.design.frame.column(group).take(m.design.rows).codes()
    if (codes < 0).any():
        raise error("MW-A54", name=group, reason="it has missing values in rows used", available=available)
    codes, levels = compact(codes, levels)
    if len(levels) == 1:
        raise error("MW-A54", name=group, reason="it has one level", available=available)
    return tuple(map(level_text, levels)), codes.astype(np.int64)


def _without(m: FittedModel, codes: Ints, count: int) -> Iterator[_Selection]:
    """Leave out each unit."""
    terms = m.design.random
    totals = [np.bincount(term.codes, minlength=len(term.levels)) for term in terms]
    sizes = np.bincount(codes, minlength=count)
    order, ends = np.argsort(codes, kind="stable"), np.cumsum(sizes)
    keep = np.ones(codes.size, np.bool_)
    for unit in range(count):
        out = order[ends[unit] - sizes[unit] : ends[unit]]
        keep[out] = False
        rows = np.flatnonzero(keep)
        keep[out] = True
        own: list[Codes] = []
        levels: list[int] = []
        for term, total in zip(terms, totals, strict=True):
            left = total > np.bincount(term.codes[out], minlength=total.size)
            rank = np.cumsum(left, dtype=np.int32) - np.int32(1)
            own.append(rank[term.codes[rows]])
            levels.append(int(np.count_nonzero(left)))
        yield _Selection(rows, own, levels)


def _deleted(m: FittedModel, rows: _Rows, group: str | None, *, refit: bool, wanted: bool) -> Influence:
    """Fit without each unit, with theta as it is or estimated again."""
    labels, codes = _units(m, group)
    p, count = len(m.kept), len(labels)
    sizes = np.bincount(codes, minlength=count)
    y, terms = _response(m), core_terms(m.design)
    start = warm_start(m) if refit else np.array(m.theta)
    found: list[Fits] = []
    block: list[_Selection] = []
    step = max(1, _ROWS // m.nobs)
    with progress_line(f"leaving out {group or 'rows'}", count, wanted=wanted) as line:
        for unit, selection in enumerate(_without(m, codes, count)):
            block.append(selection)
            if len(block) < step and unit + 1 < count:
                continue
            fits = fit_subsets(
                y,
                rows.columns,
                terms,
                m.design.weights,
                [each.rows for each in block],
                [each.codes for each in block],
                [each.levels for each in block],
                m.is_reml,
                start,
                m.control.max_evaluations,
                refit,
                True,
            )
            found.append(fits)
            line.advance(len(block))
            block = []
    beta, theta, sigma = (np.concatenate([fits[key] for fits in found]) for key in ("beta", "theta", "sigma"))
    vcov = np.concatenate([fits["vcov"] for fits in found])
    status = np.concatenate([fits["status"] for fits in found])
    difference = rows.beta - beta
    V = float(m.solution.sigma2) * rows.C
    dfbeta = difference @ rows.to_given.T
    se = np.sqrt(np.einsum("ip,jpq,iq->ji", rows.to_given, vcov, rows.to_given))
    good = np.isfinite(vcov).all(axis=(1, 2)) & np.isfinite(beta).all(axis=1)
    cooks, mdffits, covratio, covtrace = (np.full(count, np.nan) for _ in range(4))
    if p and good.any():
        d, after = difference[good], vcov[good]
        cooks[good] = np.einsum("jp,jp->j", d, np.linalg.solve(V, d.T).T) / p
        mdffits[good] = np.einsum("jp,jp->j", d, np.linalg.solve(after, d[:, :, None])[:, :, 0]) / p
        change = np.linalg.solve(V, after)
        covratio[good] = np.exp(np.linalg.slogdet(after)[1] - np.linalg.slogdet(V)[1])
        covtrace[good] = np.abs(np.einsum("jpp->j", change) - p)
    every = Parameters(m)
    with np.errstate(divide="ignore", invalid="ignore"):
        dfbetas = dfbeta / se
    return Influence(
        model=m,
        group=group,
        refitted=refit,
        labels=labels,
        sizes=sizes,
        hat=np.bincount(codes, rows.hat, minlength=count).astype(np.float64),
        dfbeta=dfbeta,
        dfbetas=dfbetas,
        cooks=cooks,
        mdffits=mdffits,
        covratio=covratio,
        covtrace=covtrace,
        names=every.names[p:],
        estimates=_estimates(m, every),
        parameters=every.of(beta, theta, sigma)[:, p:],
        converged=np.asarray(status == 0),
    )
