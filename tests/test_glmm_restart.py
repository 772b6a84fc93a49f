"""Searches that begin badly or end at a saddle point, and what saves them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

import mixwell as mw

Array = NDArray[np.float64]


@pytest.mark.parametrize(("link", "least"), [("logit", -8.02), ("probit", -8.62)])
def test_symmetric_data_do_not_end_at_a_saddle_point(link: str, least: float) -> None:
    """As many groups of ones as of zeros: an intercept of zero is stationary, and no optimum."""
    g = np.repeat(np.arange(10), 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mw.MixwellWarning)  # MW-W16: all groups are alike
        m = mw.glmer("y ~ 1 + (1 | g)", {"y": g % 2, "g": g}, family="binomial", link=link)
    assert m.certificate().passed and abs(m.fixef["(Intercept)"]) > 1
    assert m.loglik == pytest.approx(least, abs=0.01)


def counts(family: str, seed: int, mixed: bool) -> dict[str, Any]:
    """Draw counts that vary far more than their working weights tell."""
    rng = np.random.default_rng(seed)
    n = 58
    g, x, f = rng.integers(0, 6, n), rng.normal(size=n), rng.integers(0, 3, n)
    mu = np.exp(np.clip(1 + 2 * x + 2 * mixed * rng.normal(size=6)[g], -6, 6))
    y = rng.poisson(mu * rng.gamma(0.3, 1 / 0.3, n))
    return {
        "y": np.maximum(y, 1) if family.startswith("truncated") else y,
        "x": x,
        "f": f.astype(str),
        "g": g,
    }


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("family", ["nbinom2", "truncated_nbinom2"])
def test_counts_of_all_sizes_are_fitted(family: str, mixed: bool, seed: int) -> None:
    data = counts(family, seed, mixed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mw.MixwellWarning)
        m = mw.fit("y ~ x * f" + (" + (1 | g)" if mixed else ""), data, family=family)
    assert np.isfinite(m.loglik)
    if not m.certificate().passed:
        return
    t = m.theta.size
    begin = np.concatenate([np.full(t, 0.5), np.zeros(m.core["psi"].size - t)])

    def evaluate(psi: Array) -> tuple[float, Array]:
        try:
            return m.laplace.evaluate(psi)
        except mw.MixwellError:
            return 1e10, np.zeros(psi.size)

    other = minimize(evaluate, begin, jac=True, method="L-BFGS-B")
    assert other.fun > m.core["criterion"] - 1e-5
