"""The bootstrap at the level of the clusters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import Block, cells, html, text
from mixwell.fitted.values import NamedVector
from mixwell.options import checked, choice
from mixwell.resampling import engine, simulate
from mixwell.resampling.clusters import Clusters, find_clusters
from mixwell.resampling.intervals import bca, interval
from mixwell.resampling.parameters import Parameters, named
from mixwell.resampling.progress import progress as show_progress

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel
    from mixwell.plots.canvas import Plot

__all__ = ["Bootstrap", "bootstrap", "said_of_clusters", "said_of_shared"]

Array = NDArray[np.float64]
Kind = Literal["parametric", "residual", "case", "wild"]
Interval = Literal["percentile", "basic", "normal", "bca"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Bootstrap:
    """Replicates of a statistic of a fit, and what follows from them.

    Attributes
    ----------
    kind, n, seed
        As asked for; a seed that was not given has been drawn, and with it the same replicates come again.
    method
        In words, what was resampled.
    names, values
        Names of the statistics (s,), and their replicates, shape (n, s); NaN for a replicate without a fit.
    estimate
        The statistics of the fit itself.
    failed, singular, stopped
        For each replicate whether there was no fit, whether the covariance of a random-effects term was
        singular, and whether the search stopped early; shape (n,).
    bounds
        Ranges of the statistics, shape (s, 2).
    model
        The fit.
    """

    kind: Kind
    seed: int
    method: str
    estimate: NamedVector
    values: Array
    failed: NDArray[np.bool_]
    singular: NDArray[np.bool_]
    stopped: NDArray[np.bool_]
    bounds: Array
    model: FittedModel | GeneralizedModel = field(repr=False)
    _jackknife: Callable[[], Array] = field(repr=False)

    @property
    def n(self) -> int:
        """Replicates asked for."""
        return len(self.values)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the statistics."""
        return self.estimate.names

    @property
    def replicates(self) -> Any:
        """One row a replicate, one column a statistic, in the caller's dataframe library."""
        return self.model.design.frame.native_like(
            {name: column.copy() for name, column in zip(self.names, self.values.T, strict=True)}
        )

    @property
    def se(self) -> NamedVector:
        """Standard deviations of the replicates."""
        return NamedVector(self.names, self._over(lambda own: own.std(ddof=1) if own.size > 1 else np.nan))

    @property
    def bias(self) -> NamedVector:
        """Means of the replicates less the estimates."""
        return NamedVector(self.names, self._over(lambda own: own.mean()) - self.estimate.values)

    def to_arviz(self) -> Any:
        """Return the replicates for ArviZ: see `mixwell.bridges.arviz.to_arviz`."""
        from mixwell.bridges.arviz import to_arviz  # noqa: PLC0415

        return to_arviz(self)

    def _over(self, of: Callable[[Array], Any]) -> Array:
        columns = (column[np.isfinite(column)] for column in self.values.T)
        return np.array([of(column) if column.size else np.nan for column in columns], dtype=np.float64)

    def limits(
        self, names: Sequence[str] | None = None, level: float = 0.95, *, kind: Interval = "percentile"
    ) -> tuple[Array, Array]:
        """Return lower and upper limits of some statistics (all if None), each (s,); see `confint`."""
        choice("kind", kind, ("percentile", "basic", "normal", "bca"))
        if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0 < level < 1:
            raise error("MW-A07", option="level", expected="a number between 0 and 1", given=level)
        names = self.names if names is None else names
        for name in names:
            if name not in self.names:
                raise error("MW-A48", name=name, available=self.names)
        at = [self.names.index(name) for name in names]
        estimate, values = self.estimate.values[at], self.values[:, at]
        if kind == "bca":
            limits = bca(level, estimate, values, self._jackknife()[:, at])
        else:
            limits = interval(kind, level, estimate, values)
        limits = np.clip(limits, self.bounds[at, :1], self.bounds[at, 1:])
        return limits[:, 0], limits[:, 1]

    def confint(self, level: float = 0.95, *, kind: Interval = "percentile") -> Any:
        """Return confidence intervals.

        Parameters
        ----------
        level
            Coverage that is aimed at.
        kind
            "percentile": quantiles of the replicates. "basic": these reflected at the estimate. "normal":
            the estimate less its bias, plus and minus a normal quantile times the standard error. "bca":
            percentiles corrected for bias and skewness (Efron 1987), with a jackknife that leaves out one
            cluster at a time. Limits outside the range of a standard deviation or correlation become its
            bounds.

        Returns
        -------
        table
            Columns term, estimate, lower, upper, in the caller's dataframe library.

        Raises
        ------
        MixwellError
            MW-A02 for another kind, MW-A07 for a level outside (0, 1), MW-A53 for "bca" when no clusters
            are independent.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
        >>> table = m.bootstrap(500, seed=1).confint(0.9, kind="basic")
        >>> table["term"][1], bool(table["lower"][1] < m.fixef["Days"] < table["upper"][1])
        ('Days', True)
        """
        lower, upper = self.limits(None, level, kind=kind)
        return self.model.design.frame.native_like(
            {
                "term": list(self.names),
                "estimate": np.array(self.estimate.values),
                "lower": lower,
                "upper": upper,
            }
        )

    def table(self, level: float = 0.95, *, kind: Interval = "percentile") -> Any:
        """Return term, estimate, bias, se, lower and upper, in the caller's dataframe library."""
        lower, upper = self.limits(None, level, kind=kind)
        return self.model.design.frame.native_like(
            {
                "term": list(self.names),
                "estimate": np.array(self.estimate.values),
                "bias": np.array(self.bias.values),
                "se": np.array(self.se.values),
                "lower": lower,
                "upper": upper,
            }
        )

    def plot(self, **options: Any) -> Plot:
        """Draw the replicates; options as of `m.plot.bootstrap`: parameters, level, interval, ax.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
        >>> int(m.bootstrap(50, seed=1).plot(parameters="sigma").data["count"].sum())
        50
        """
        from mixwell.plots.bootstrap import draw_bootstrap  # noqa: PLC0415 - matplotlib is optional

        return draw_bootstrap(self, **options)

    def _blocks(self) -> list[Block]:
        columns = [self.estimate.values, self.bias.values, self.se.values, *self.limits()]
        shown = [cells(column.tolist(), 5) for column in columns]
        rows = [list(row) for row in zip(self.names, *shown, strict=True)]
        header = ("", "estimate", "bias", "se", "2.5 %", "97.5 %")
        lines = [self.method]
        if self.failed.any():
            lines.append(f"{int(self.failed.sum())} of {self.n} replicates have no fit and are left out.")
        if self.stopped.any():
            lines.append(f"In {int(self.stopped.sum())} replicates the search stopped early.")
        if self.singular.any():
            lines.append(f"{self.singular.mean():.1%} of the fits are singular.")
        title = f"{self.kind.capitalize()} bootstrap, {self.n} replicates, seed {self.seed}"
        return [Block(title, header, rows, left=1, lines=lines)]

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


@checked
def bootstrap(
    m: FittedModel,
    n: int = 1000,
    *,
    kind: Kind = "parametric",
    seed: int | None = None,
    statistic: Callable[[FittedModel], Any] | None = None,
    group: str | None = None,
    progress: bool = True,
) -> Bootstrap:
    """Bootstrap any quantity of the fit, by resampling at the level of the clusters.

    Replicates are refitted in native threads, each search starting at the theta of the fit. They depend on
    the seed and on nothing else: the first 100 of 1000 are the 100 of 100, on any number of threads.

    Parameters
    ----------
    n
        Replicates.
    kind
        "parametric": normal random effects and residuals with the estimated variances. "residual": predicted
        random effects drawn by level and residuals by row, both rescaled to the estimated variances
        (Carpenter, Goldstein & Rasbash 2003). "case": whole clusters drawn with replacement, each copy with
        random effects of its own. "wild": the marginal residuals of each cluster, from coefficients without
        that cluster, times a random sign (Webb's six points when there are fewer than 12 clusters; Modugno
        & Giannerini 2015); signs leave squares alone, so its replicates are about the fixed effects only.
    seed
        A whole number; drawn if None, and reported.
    statistic
        A function of a fit that returns a number, several, a dict or a `NamedVector`; by default the fixed
        effects, standard deviations and correlations of the random effects, and sigma.
    group
        Clusters for "case" and "wild": a grouping factor of the formula, or any column. By default the factor
        in which all others are nested (every row, without random effects). Crossed factors have none: with
        `group` its levels are drawn, and the levels of the others stay what they are.
    progress
        Show progress on a terminal after a second.

    Returns
    -------
    Bootstrap
        `.confint()`, `.se`, `.bias`, `.replicates`.

    Raises
    ------
    MixwellError
        MW-A02 for another kind, MW-A07 for a bad n or seed, MW-A53 for "case" and "wild" when factors are
        crossed and no group is given, MW-A54 for a group that is no column, MW-A55 for a statistic that
        returns something else, MW-A56 when no replicate could be fitted.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> b = m.bootstrap(200, seed=1)
    >>> b.names[1:4]
    ('Days', 'sd_(Intercept)|Subject', 'sd_Days|Subject')
    >>> bool(abs(b.se["Days"] / m.se["Days"] - 1) < 0.2)
    True
    """
    choice("kind", kind, ("parametric", "residual", "case", "wild"))
    n, seed = engine.count_of(n), simulate.seed_of(seed)
    if group is not None and kind in ("parametric", "residual"):
        raise error("MW-A57", kind=kind, group=group)
    clusters = find_clusters(m, group, kind) if kind in ("case", "wild") else None
    parameters = Parameters(m, fixed_only=kind == "wild")
    if statistic is None:
        names, bounds = parameters.names, parameters.bounds
        values = parameters.of(
            m.fixef.values[None], np.asarray(m.theta, dtype=np.float64)[None], np.array([m.sigma])
        )[0]
    else:
        names, values = named(statistic(m))
        bounds = np.tile([-np.inf, np.inf], (len(names), 1))
    with show_progress(f"{kind} bootstrap", n, wanted=progress) as line:
        each = _each(statistic)
        if kind == "case":
            assert clusters is not None
            refits = engine.refit_drawn_clusters(m, clusters, n, seed, line, each=each)
        else:
            refits = engine.refit_drawn(m, _draw(m, kind, clusters), n, seed, line, each=each)
    failed = refits.failed
    if failed.all():
        raise error("MW-A56", n=n, kind=kind)
    return Bootstrap(
        kind,
        seed,
        _method(kind, m, clusters),
        NamedVector(names, values),
        _values(m, refits, fixed_only=kind == "wild"),
        failed,
        refits.singular,
        refits.status == 1,
        bounds,
        m,
        partial(_left_out, m, group, statistic, fixed_only=kind == "wild"),
    )


def _left_out(
    m: FittedModel,
    group: str | None,
    statistic: Callable[[FittedModel], Any] | None,
    *,
    fixed_only: bool,
) -> Array:
    """Statistics (clusters, s) without each cluster."""
    clusters = find_clusters(m, group, "bca")
    with show_progress("jackknife", clusters.count, wanted=True) as line:
        refits = engine.refit_without_each(m, clusters, line, each=_each(statistic))
    return _values(m, refits, fixed_only=fixed_only)


def _draw(m: FittedModel, kind: Kind, clusters: Clusters | None) -> simulate.Draw:
    if clusters is not None:
        return simulate.wild(m, clusters)
    return simulate.parametric(m) if kind == "parametric" else simulate.residual(m)


def _each(statistic: Callable[[FittedModel], Any] | None) -> engine.Each | None:
    if statistic is None:
        return None
    return lambda refitted: named(statistic(refitted))[1]


def _values(m: FittedModel, refits: engine.Refits, *, fixed_only: bool) -> Array:
    values = refits.values
    if values is None:
        values = Parameters(m, fixed_only=fixed_only).of(refits.beta, refits.theta, refits.sigma)
    values = np.array(values)
    values[refits.failed] = np.nan
    return values


def _method(kind: Kind, m: FittedModel, clusters: Clusters | None) -> str:
    groups = ", ".join(dict.fromkeys(f"'{term.group}'" for term in m.design.random))
    if clusters is None:
        drawn = "Random effects and residuals" if groups else "Residuals"
        if kind == "parametric":
            return f"{drawn} drawn from their estimated normal distributions."
        levels = (
            f"Predicted effects drawn by level of {groups} and residuals" if groups else "Residuals drawn"
        )
        return f"{levels} by row, rescaled to the estimated variances."
    said = said_of_clusters(clusters)
    if kind == "wild":
        unit = "row" if clusters.label == "row" else f"level of '{clusters.label}'"
        number = "one of Webb's six points" if clusters.count < simulate.FEW else "a random sign"
        said = f"Marginal residuals of each {unit} ({clusters.count}) times {number}; fixed effects only."
    return said + said_of_shared(clusters)


def said_of_clusters(clusters: Clusters) -> str:
    """Say what is drawn with kind="case"."""
    what = "Rows" if clusters.label == "row" else f"Whole levels of '{clusters.label}'"
    return f"{what} ({clusters.count}) drawn with replacement."


def said_of_shared(clusters: Clusters) -> str:
    """Say which factors are not resampled with kind="case"; empty if all are."""
    others = ", ".join(f"'{group}'" for group in clusters.shared)
    if not others:
        return ""
    return f" Levels of {others} lie in several of them: their contribution to the error is not resampled."
