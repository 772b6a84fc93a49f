"""Random responses of a generalised model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.families import mean_of
from mixwell.fitted.new_rows import random_part
from mixwell.options import checked, choice
from mixwell.resampling.engine import count_of
from mixwell.resampling.simulate import generator, seed_of

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["draw", "simulate"]

Array = NDArray[np.float64]


def draw(m: GeneralizedModel, rng: np.random.Generator, *, new: bool) -> Array:
    """Draw one response (n,), with new random effects or those at the modes."""
    eta = m.predict(type="link", re="population" if new else "conditional")
    if new:
        for term, factor in zip(m.design.random, m.lambdas, strict=True):
            b = rng.standard_normal((len(term.levels), len(factor))) @ factor.T
            eta += random_part(term.codes, term.columns, b)
    if m.family.kind == "ordered":
        return m.family.draw(rng, eta, m.thresholds.values)
    return m.family.draw(rng, mean_of(m.family.link, eta), m.auxiliary(), m.weights)


@checked
def simulate(
    m: GeneralizedModel, n: int = 1, *, seed: int | None = None, re: Literal["new", "conditional"] = "new"
) -> Any:
    """Draw responses from the fitted model.

    Parameters
    ----------
    n
        Number of draws.
    seed
        A whole number; drawn if None. The first draws do not depend on n.
    re
        "new": random effects are drawn, too; "conditional": they stay at their modes.

    Returns
    -------
    table
        Columns sim_1 .. sim_n, one row a row used: shares of the trials for binomial families, positions
        of the categories for ordinal ones. Weights of other families do not matter.

    Raises
    ------
    MixwellError
        MW-A02 for another `re`, MW-A07 for a bad n or seed, MW-A91 for quasi-families.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> list(m.simulate(2, seed=1))
    ['sim_1', 'sim_2']
    """
    choice("re", re, ("new", "conditional"))
    key, count = seed_of(seed), count_of(n)
    columns = {f"sim_{i + 1}": draw(m, generator(key, i), new=re == "new") for i in range(count)}
    return m.design.frame.native_like(columns)
