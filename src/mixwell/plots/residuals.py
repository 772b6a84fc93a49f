"""Residuals and their size against fitted values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.inference.distributions import normal_quantile
from mixwell.options import checked, choice
from mixwell.plots.canvas import Plot, canvas, finish, plain, reference, ribbon
from mixwell.plots.smooth import local_linear
from mixwell.plots.style import ACCENT, DATA, styled
from mixwell.reporting.view import is_generalized

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["Kind", "residual_columns", "residuals", "scale_location", "scatter"]

Array = NDArray[np.float64]
Kind = Literal["response", "pearson", "scaled", "deviance", "quantile"]

_LINEAR = ("response", "pearson", "scaled", "quantile")
_GENERALIZED = ("quantile", "response", "pearson", "scaled", "deviance")


@styled
@checked
def residuals(
    m: Model,
    kind: Kind | None = None,
    *,
    span: float = 2.0 / 3.0,
    level: float = 0.95,
    seed: int | None = 1,
    ax: Any = None,
) -> Plot:
    """Draw residuals against fitted values, with a smooth curve: level, if the mean is right.

    Parameters
    ----------
    kind
        A kind of `resid`, or "quantile": normal quantile residuals (`quantile_residuals().normal`), standard
        normal under the model whatever the family is. If None "response" in linear models, otherwise
        "quantile" (of quasi-families "pearson").
    span
        Share of the rows that the curve is fitted to at each place: a local straight line.
    level
        Of the band: pointwise, as if rows were independent.
    seed
        Of quantile residuals; None for others each time.
    ax
        Axes to draw on.

    Returns
    -------
    Plot
        Data: fitted, residual, smooth, lower, upper; the last three are of the curve at the fitted value of
        the row, NaN with fewer than eight distinct ones. Fitted values are means in linear models, otherwise
        linear predictors.

    Raises
    ------
    MixwellError
        MW-A02 for another kind, MW-A07 for another `span`, MW-A49 for a level that is not between 0 and 1.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> plot = m.plot.residuals()
    >>> plot.data["fitted"][:2].round(2).tolist(), plot.data["residual"][:2].round(2).tolist()
    ([253.66, 273.33], [-4.1, -14.63])
    """
    kind = _kind(m, kind)
    data = residual_columns(m, kind, span=span, level=level, seed=seed)
    ax = canvas(ax=ax)[0]
    reference(ax, y=0.0)
    _draw(ax, data, "residual")
    ax.set_xlabel(_fitted_label(m))
    ax.set_ylabel(_LABELS[kind])
    return finish("residuals", [ax], data, m.design.frame.native_like)


@styled
@checked
def scale_location(
    m: Model,
    kind: Kind | None = None,
    *,
    span: float = 2.0 / 3.0,
    level: float = 0.95,
    seed: int | None = 1,
    ax: Any = None,
) -> Plot:
    """Draw the root of the absolute residuals against fitted values: level, if the spread is right.

    Parameters
    ----------
    kind
        As in `residuals`, but "scaled" in linear models if None: over their standard deviation.
    span, level, seed, ax
        As in `residuals`.

    Returns
    -------
    Plot
        Data: fitted, size, smooth, lower, upper. The line is at the mean size; with quantile residuals at
        0.822, which is expected of standard normal ones.

    Raises
    ------
    MixwellError
        As `residuals`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> m.plot.scale_location().data["size"][:2].round(3).tolist()
    [0.4, 0.756]
    """
    kind = "scaled" if kind is None and not is_generalized(m) else _kind(m, kind)
    data = residual_columns(m, kind, span=span, level=level, seed=seed, size=True)
    ax = canvas(ax=ax)[0]
    # Given the modes of the random effects residuals vary less than one: only quantile residuals do not.
    reference(ax, y=_EXPECTED if kind == "quantile" else float(np.nanmean(data["size"])))
    _draw(ax, data, "size")
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel(_fitted_label(m))
    ax.set_ylabel(f"√|{_LABELS[kind]}|")
    return finish("scale_location", [ax], data, m.design.frame.native_like)


_EXPECTED = 0.8221789586624585  # E sqrt|z| of a standard normal z: 2^(1/4) gamma(3/4) / sqrt(pi)
_LABELS = {
    "response": "residual",
    "pearson": "Pearson residual",
    "scaled": "scaled residual",
    "deviance": "deviance residual",
    "quantile": "quantile residual",
}


def residual_columns(
    m: Model,
    kind: Kind,
    *,
    span: float = 2.0 / 3.0,
    level: float = 0.95,
    seed: int | None = 1,
    size: bool = False,
) -> dict[str, Any]:
    """Return fitted values, residuals (or their size), and a smooth curve through these."""
    if isinstance(span, bool) or not isinstance(span, (int, float)) or not 0.0 < span <= 1.0:
        raise error("MW-A07", option="span", expected="a number above 0 and up to 1", given=span)
    if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise error("MW-A49", given=level)
    either: Any = m
    x = either.fitted(type="link") if is_generalized(m) else either.fitted()
    y = m.quantile_residuals(seed=seed).normal if kind == "quantile" else either.resid(kind)
    y = np.sqrt(np.abs(y)) if size else y
    used = np.isfinite(x) & np.isfinite(y)
    curve = local_linear(x[used], y[used], span=span)
    out: dict[str, Any] = {"fitted": x, "size" if size else "residual": y}
    if not curve.x.size:
        return out | {name: np.full(x.size, np.nan) for name in ("smooth", "lower", "upper")}
    half = normal_quantile(0.5 + 0.5 * level) * curve.se
    heights = {"smooth": curve.fit, "lower": curve.fit - half, "upper": curve.fit + half}
    return out | {name: np.interp(x, curve.x, values) for name, values in heights.items()}


def _kind(m: Model, kind: Kind | None) -> Kind:
    if kind is None:
        if not is_generalized(m):
            return "response"
        return "pearson" if m.family.is_quasi else "quantile"
    choice("kind", kind, _GENERALIZED if is_generalized(m) else _LINEAR)
    return kind


def _fitted_label(m: Model) -> str:
    if is_generalized(m):
        return plain("linear predictor")
    return plain(f"fitted {m.design.response}")


def _draw(ax: Axes, data: dict[str, Any], name: str) -> None:
    scatter(ax, data["fitted"], data[name])
    order = np.argsort(data["fitted"], kind="stable")
    if np.isnan(data["smooth"]).all():
        return
    x = data["fitted"][order]
    ribbon(ax, x, data["lower"][order], data["upper"][order], color=ACCENT)
    ax.plot(x, data["smooth"][order], color=ACCENT, zorder=3)


def scatter(ax: Axes, x: Any, y: Any, *, color: str = DATA) -> None:
    """Draw points, smaller and fainter the more there are; very many as pixels in any format."""
    n = len(x)
    small = float(np.interp(np.log10(max(n, 1)), [2, 3, 4, 5], [3.2, 2.2, 1.4, 1.0]))
    faint = float(np.interp(np.log10(max(n, 1)), [2, 3, 4, 5, 6], [0.8, 0.5, 0.25, 0.1, 0.04]))
    ax.plot(x, y, "o", color=color, markersize=small, alpha=faint, rasterized=n > 5000, zorder=1.5)
