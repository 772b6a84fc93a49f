"""The bootstrapped likelihood-ratio test: responses drawn from the smaller model, both models refitted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.resampling import engine, simulate
from mixwell.resampling.progress import progress

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel

__all__ = ["bootstrapped_tail"]

_ROUNDING = 1e-6  # a replicate this far below the statistic counts as large


def bootstrapped_tail(
    small: FittedModel, large: FittedModel, chisq: float, *, n: int, seed: int
) -> tuple[float, int]:
    """Return (1 + replicates at least as large) / (1 + replicates), and how many of `n` had no fit.

    Davison & Hinkley (1997), section 4.4. A variance that is zero under the hypothesis, few groups and rough
    likelihood approximations are all taken care of: the statistic has its own distribution.
    """
    criteria = _generalised if hasattr(small, "family") else _linear
    with progress("bootstrap of the likelihood ratio", 2 * n, wanted=True) as line:
        smaller, larger = criteria(small, large, n, seed, line)
    replicates = smaller - larger
    found = replicates[np.isfinite(replicates)]
    if not found.size:
        raise error("MW-A56", n=n, kind="parametric")
    exceeding = int(np.sum(found >= chisq - _ROUNDING))
    return (1 + exceeding) / (1 + found.size), n - found.size


def _linear(small: Any, large: Any, n: int, seed: int, line: Any) -> tuple[NDArray[np.float64], ...]:
    draw = simulate.parametric(small)
    refits = [engine.refit_drawn(m, draw, n, seed, line) for m in (small, large)]
    return tuple(np.where(each.failed, np.nan, each.criterion) for each in refits)


def _generalised(small: Any, large: Any, n: int, seed: int, line: Any) -> tuple[NDArray[np.float64], ...]:
    from mixwell.generalized.bootstrap import draws, refit_responses  # noqa: PLC0415  (which builds on this)
    from mixwell.generalized.constrained import require_optimum  # noqa: PLC0415

    require_optimum(small)
    return tuple(
        refit_responses(m, engine.drawn(partial(draws, small), n, seed, small.nobs), line).criterion
        for m in (small, large)
    )
