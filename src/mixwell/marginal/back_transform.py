"""From the scale of the linear predictor back to that of the response."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.families import curvature_of, mean_of, slope_of
from mixwell.formula.expression import Binary, Call, Expr, Name, Unary
from mixwell.inference.description import mean_variances

if TYPE_CHECKING:
    from mixwell.marginal.reference_grid import Model

__all__ = ["Scale", "bias_sd", "scale_of"]

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

_BASES = {"log": math.e, "log2": 2.0, "log10": 10.0}
_ONE_SIDED = ("sqrt", "inverse", "inverse_squared")
_STEP = 1e-4


@dataclass(frozen=True, slots=True)
class Scale:
    """How linear predictors are shown.

    Attributes
    ----------
    estimate
        Name of their column: "emmean", "prob", "rate", "response".
    inverse, slope
        The inverse of the link, and its derivative.
    ratio
        Name of the column of differences taken back, "ratio" or "odds_ratio"; "" where they stay differences.
    base
        What a ratio is a power of.
    link
        Name of the link, or of the transformation of the response.
    said
        What to say about the scale.
    """

    estimate: str
    inverse: Function
    slope: Function
    ratio: str
    base: float
    link: str
    said: str

    def limit(self, eta: Array, estimate: Array) -> Array:
        """Take a confidence limit back; beyond zero, where some links have no inverse, it is that of zero."""
        if self.estimate != "emmean" and self.link in _ONE_SIDED:
            eta = np.where(np.signbit(eta) == np.signbit(estimate), eta, np.copysign(0.0, estimate))
        with np.errstate(divide="ignore"):
            return np.asarray(self.inverse(eta))


def scale_of(m: Model, type: str, sd: float | None = None) -> Scale:  # noqa: A002
    """Return the scale that is asked for.

    Parameters
    ----------
    type
        "link" or "response".
    sd
        Standard deviation of what the linear predictor leaves out: adds its mean effect to the second order,
        h(eta) + sd^2 h''(eta) / 2. None for no adjustment.

    Raises
    ------
    MixwellError
        MW-A116 for the response of an ordinal model, MW-A118 for a transformation without a known inverse.
    """
    family = getattr(m, "family", None)
    kind = "" if family is None else family.kind
    part = _part(m)
    if type == "link":
        link = family.link if family is not None else _transformation(m.formula.response) or "identity"
        said = {True: "Latent scale, up to a constant: only differences have a meaning."}.get(
            kind == "ordered", ""
        )
        return Scale(
            "emmean", lambda eta: eta, np.ones_like, "", 1.0, link, " ".join(filter(None, [said, part]))
        )
    if kind == "ordered":
        raise error("MW-A116")
    function = _transformation(m.formula.response)
    if function == "unknown" or (function is not None and family is not None):
        raise error("MW-A118", response=str(m.formula.response))
    link = family.link if family is not None else function or "identity"
    first, second, third = _derivatives(link)
    name = {"binary": "prob", "count": "rate"}.get(
        kind, "response" if link != "identity" or family else "emmean"
    )
    ratio = {"log": "ratio", "log2": "ratio", "log10": "ratio", "logit": "odds_ratio"}.get(link, "")
    base = _BASES.get(link, math.e)
    if sd is None:
        return Scale(name, first, second, ratio, base, link, part)
    half = 0.5 * sd**2
    said = f"Adjusted for the bias of transforming back (sd {sd:.4g})."
    return Scale(
        name,
        lambda eta: first(eta) + half * third(eta),
        lambda eta: second(eta) + half * (third(eta + _STEP) - third(eta - _STEP)) / (2.0 * _STEP),
        ratio,
        base,
        link,
        " ".join(filter(None, [said, part])),
    )


def bias_sd(m: Model) -> float | None:
    """Return the standard deviation of what a mean on the link scale leaves out; None if nothing.

    The root of the mean variance of the random effects over the rows (Johnson 2014), and for a transformed
    response of the residual variance besides.
    """
    residual = m.sigma**2 if getattr(m, "family", None) is None else 0.0  # type: ignore[union-attr]
    factor = residual if getattr(m, "family", None) is None else 1.0
    variance = residual + factor * float(mean_variances(m.design.random, m.lambdas).sum())
    return math.sqrt(variance) if variance > 0 else None


def _derivatives(link: str) -> tuple[Function, Function, Function]:
    """Return the inverse of a link or transformation, and two derivatives."""
    if link in ("log2", "log10"):
        rate = math.log(_BASES[link])
        return (
            lambda eta: np.exp(rate * eta),
            lambda eta: rate * np.exp(rate * eta),
            lambda eta: rate**2 * np.exp(rate * eta),
        )
    if link == "log1p":
        return np.expm1, np.exp, np.exp
    return (
        lambda eta: mean_of(link, eta),
        lambda eta: slope_of(link, eta),
        lambda eta: curvature_of(link, eta),
    )


def _transformation(response: Expr | None) -> str | None:
    """Name the transformation of the response; None for none, "unknown" for one without an inverse."""
    if isinstance(response, Call) and response.function in (*_BASES, "log1p", "sqrt"):
        plain = len(response.args) == 1 and isinstance(response.args[0], Name) and not response.kwargs
        return response.function if plain else "unknown"
    return "unknown" if _calls(response) else None


def _calls(expr: Any) -> bool:
    """Whether an expression has functions in it; sums and ratios of columns are responses of their own."""
    match expr:
        case Call("cbind" | "I" | "factor" | "ordered", args):
            return any(map(_calls, args))
        case Call():
            return True
        case Unary(_, operand):
            return _calls(operand)
        case Binary(_, left, right):
            return _calls(left) or _calls(right)
    return False


def _part(m: Model) -> str:
    """Say what the linear predictor is of, where that is not the mean of the response."""
    family = getattr(m, "family", None)
    if family is None or family.kind == "ordered":
        return ""
    if family.zero == "hurdle" or family.name.startswith("truncated"):
        return "Of the conditional part: counts before truncation, without the zeros' part."
    return "Of the conditional part: before extra zeros." if family.zero else ""
