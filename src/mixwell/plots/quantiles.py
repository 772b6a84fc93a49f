"""Quantiles of residuals and of random effects against those that the model expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.design.frame import Frame
from mixwell.errors import error
from mixwell.inference.distributions import normal_quantile
from mixwell.options import checked
from mixwell.plots.canvas import (
    Plot,
    canvas,
    finish,
    outer_labels,
    plain,
    reference,
    remark,
    ribbon,
    shape_of,
)
from mixwell.plots.effects import Effects, chosen, effects_of
from mixwell.plots.style import ACCENT, DATA, DOUBLE, MODEL, MUTED, SINGLE, styled
from mixwell.reporting.view import is_generalized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["envelope", "qq", "qq_columns", "ranef_qq", "ranef_qq_columns"]

Array = NDArray[np.float64]

_SHOWN = 2000  # order statistics that are drawn, of more the outer ones and evenly spaced inner ones
_OUTER = 200  # of these at each end
_WORK = 2e7  # simulated residuals at most, unless asked for


@styled
@checked
def qq(
    m: Model,
    *,
    simulations: int | None = None,
    level: float = 0.95,
    seed: int | None = 1,
    ax: Any = None,
) -> Plot:
    """Draw quantiles of the residuals against expected ones, with an envelope from simulated data.

    Parameters
    ----------
    simulations
        Data sets that are simulated; 499 if None, fewer (at least 99) with more than 40 000 rows.
    level
        Share of data sets from the model whose whole curve lies inside the envelope.
    seed
        Of the simulation; None for another each time.
    ax
        Axes to draw on.

    Returns
    -------
    Plot
        Data: expected, observed, lower, upper, outside; in increasing order. Of more than 2000 residuals all
        the 200 outermost at each end and evenly spaced ones between.

    Raises
    ------
    MixwellError
        MW-A07 for fewer than 19 simulations, MW-A49 for a level that is not between 0 and 1, MW-A91 for
        quasi-families, which have no distribution to compare with.

    Notes
    -----
    Linear models: residuals given the conditional modes over sigma, against normal quantiles at
    (i - 3/8) / (n + 1/4). Each data set is simulated from the fit with new random effects, its coefficients,
    modes and sigma estimated at the same theta, and its residuals sorted: so the envelope accounts for
    residuals that are correlated and vary too little, but not for the estimation of theta.

    Generalised models: quantile residuals (`quantile_residuals(seed=)`), which are independent and uniform
    under the model, against (i - 1/2) / n; the envelope is that of uniform numbers.

    The envelope holds for the whole curve at once. It is mean +- c times the distance of the mean from the
    2.5 % and 97.5 % quantiles of each order statistic, with c such that the share `level` of the simulated
    curves is inside everywhere (the directional quantile envelope of Myllymaki et al. 2017, J. R. Stat. Soc.
    B 79, 381-404).

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> plot = m.plot.qq(simulations=99)
    >>> plot.data["observed"][:2].round(2).tolist(), bool(plot.data["outside"].any())
    ([-3.95, -3.84], True)
    """
    data = qq_columns(m, simulations=simulations, level=level, seed=seed)
    ax = canvas(size=(SINGLE, 3.1), ax=ax)[0]
    x, outside = data["expected"], data["outside"]
    ribbon(ax, x, data["lower"], data["upper"], color=MUTED, alpha=0.45)
    if is_generalized(m):
        reference(ax, diagonal=True)
        ax.set_xlabel("uniform quantile")
        ax.set_ylabel("quantile residual")
    else:
        reference(ax, diagonal=True)
        ax.set_xlabel("normal quantile")
        ax.set_ylabel("scaled residual")
    size = 2.6 if x.size <= 500 else 1.6
    ax.plot(x[~outside], data["observed"][~outside], "o", color=DATA, markersize=size)
    ax.plot(x[outside], data["observed"][outside], "o", color=ACCENT, markersize=size)
    remark(ax, f"band: {100 * level:g} % of data from the model are inside")
    return finish("qq", [ax], data, m.design.frame.native_like)


def qq_columns(
    m: Model, *, simulations: int | None = None, level: float = 0.95, seed: int | None = 1
) -> dict[str, Any]:
    """Return sorted residuals, what is expected of them, and the envelope."""
    from mixwell.resampling.simulate import seed_of  # noqa: PLC0415  (which builds on fits)

    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise error("MW-A49", given=level)
    n = m.nobs
    if simulations is None:
        simulations = int(np.clip(_WORK / n, 99, 499))
    if isinstance(simulations, bool) or not isinstance(simulations, (int, np.integer)) or simulations < 19:
        raise error("MW-A07", option="simulations", expected="a whole number from 19 up", given=simulations)
    at, seed = _positions(n), seed_of(seed)
    if is_generalized(m):
        own = m.quantile_residuals(seed=seed).residuals
        expected = (np.arange(n) + 0.5) / n
        draws = _uniform(n, int(simulations), seed)
    else:
        own = m.resid("scaled")
        expected = np.asarray(normal_quantile((np.arange(1, n + 1) - 0.375) / (n + 0.25)))
        draws = _simulated(m, int(simulations), seed)
    simulated = np.array([np.sort(each)[at] for each in draws])
    lower, upper = envelope(simulated, float(level))
    observed = np.sort(own)[at]
    return {
        "expected": expected[at],
        "observed": observed,
        "lower": lower,
        "upper": upper,
        "outside": (observed < lower) | (observed > upper),
    }


def _positions(n: int) -> NDArray[np.intp]:
    if n <= _SHOWN:
        return np.arange(n)
    inner = np.linspace(_OUTER, n - 1 - _OUTER, _SHOWN - 2 * _OUTER).astype(np.intp)
    return np.unique(np.concatenate([np.arange(_OUTER), inner, np.arange(n - _OUTER, n)]))


def _uniform(n: int, count: int, seed: int) -> Iterator[Array]:
    rng = np.random.default_rng([seed, 7])  # a stream of its own, apart from that of the residuals
    return (rng.uniform(size=n) for _ in range(count))


def _simulated(m: FittedModel, count: int, seed: int) -> Iterator[Array]:
    """Scaled residuals of simulated responses, each solved at the theta of the fit."""
    from mixwell.fitted.result import cross_products  # noqa: PLC0415  (which builds on this package)

    rng = np.random.default_rng(seed)
    for _ in range(count):
        drawn = Frame.from_data(m.simulate(1, seed=int(rng.integers(2**31)))).column("sim_1").numeric()
        design = replace(m.design, y=drawn)
        yield replace(m, design=design, handle=cross_products(design)).resid("scaled")


def envelope(simulated: Array, level: float) -> tuple[Array, Array]:
    """Return the band that holds a share of curves everywhere.

    Parameters
    ----------
    simulated
        Curves (S, n).
    level
        The share.

    Examples
    --------
    >>> curves = np.random.default_rng(1).normal(size=(499, 20))
    >>> lower, upper = envelope(curves, 0.95)
    >>> float(((curves >= lower) & (curves <= upper)).all(axis=1).mean().round(3))
    0.952
    """
    mean = simulated.mean(axis=0)
    low, high = np.quantile(simulated, [0.025, 0.975], axis=0)
    below = np.maximum(mean - low, 1e-300)
    above = np.maximum(high - mean, 1e-300)
    apart = simulated - mean
    farthest = np.sort(np.max(np.where(apart > 0, apart / above, -apart / below), axis=1))
    # With the curve in question the (S + 1) level-th of S + 1 exchangeable distances is the limit.
    rank = min(int(np.ceil((farthest.size + 1) * level)), farthest.size)
    c = float(farthest[rank - 1])
    return mean - c * below, mean + c * above


# --- random effects -------------------------------------------------------------------------------------


@styled
@checked
def ranef_qq(
    m: Model,
    group: str | None = None,
    *,
    columns: str | Sequence[str] | None = None,
    level: float = 0.95,
    ax: Any = None,
) -> Plot:
    """Draw the conditional modes of the random effects against normal quantiles, with their intervals.

    The line has the mode's standard deviation as its slope and goes through zero. Modes follow a normal
    distribution less closely than effects do: they are drawn towards zero, more so with few rows.

    Parameters
    ----------
    group
        The grouping factor; the first of the formula if None.
    columns
        Effects to show, one panel each; all if None.
    level
        Probability that an interval has given the data, parameters taken as known.
    ax
        Axes to draw on, one an effect.

    Returns
    -------
    Plot
        Data: group, level, term, expected, estimate, condsd, lower, upper; in increasing order in each term.

    Raises
    ------
    MixwellError
        MW-A127 for a model without random effects, MW-A128 for an unknown group or effect, MW-A49 for a level
        that is not between 0 and 1.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> plot = m.plot.ranef_qq()
    >>> plot.data["level"][:2], plot.data["expected"][:2].round(3).tolist()
    (['F', 'D'], [-1.282, -0.643])
    """
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise error("MW-A49", given=level)
    effects = effects_of(m, group, "ranef_qq")
    names = chosen(effects, columns, "ranef_qq")
    data = ranef_qq_columns(effects, names, level)
    rows, across = shape_of(len(names), widest=3)
    size = (SINGLE, 2.9) if len(names) == 1 else (DOUBLE, 2.7 * rows + 0.2)
    axes = canvas(rows, across, size=size, ax=ax, share="x", count=len(names))
    count = len(effects.levels)
    for at, (panel, name) in enumerate(zip(axes, names, strict=True)):
        own = {key: column[at * count : (at + 1) * count] for key, column in data.items()}
        _draw_ranef(panel, own)
        panel.set_title(plain(name) if len(names) > 1 else "")
    what = "conditional mode" if len(names) > 1 else f"conditional mode of {names[0]}"
    outer_labels(axes, "normal quantile", what)
    remark(axes, f"{count} levels of {effects.group}; bars: {100 * level:g} % intervals")
    return finish("ranef_qq", axes, data, m.design.frame.native_like)


def ranef_qq_columns(effects: Effects, names: Sequence[str], level: float) -> dict[str, Any]:
    """Return sorted modes, normal quantiles at (i - 3/8) / (J + 1/4), and intervals."""
    count, quantile = len(effects.levels), normal_quantile(0.5 + 0.5 * level)
    expected = np.asarray(normal_quantile((np.arange(1, count + 1) - 0.375) / (count + 0.25)))
    labels: list[str] = []
    estimates, sds = [], []
    for at in effects.at(names):
        order = np.argsort(effects.modes[:, at], kind="stable")
        labels += [effects.levels[j] for j in order]
        estimates.append(effects.modes[order, at])
        sds.append(effects.sd[order, at])
    estimate, condsd = np.concatenate(estimates), np.concatenate(sds)
    return {
        "group": [effects.group] * estimate.size,
        "level": labels,
        "term": [name for name in names for _ in range(count)],
        "expected": np.tile(expected, len(names)),
        "estimate": estimate,
        "condsd": condsd,
        "lower": estimate - quantile * condsd,
        "upper": estimate + quantile * condsd,
    }


def _draw_ranef(ax: Axes, data: dict[str, Any]) -> None:
    x, y = data["expected"], data["estimate"]
    many = x.size > 60
    ax.axline((0, 0), slope=float(np.sqrt(np.mean(y**2))), color=MUTED, linewidth=0.8, zorder=0.5)
    ax.vlines(x, data["lower"], data["upper"], color=MODEL, linewidth=0.4 if many else 0.9, alpha=0.5)
    ax.plot(x, y, "o", color=MODEL, markersize=1.8 if many else 3.2)
