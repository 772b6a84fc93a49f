"""Auxiliary parameters on their way to a limit: the fit ends, says so, and is the simpler model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mixwell as mw


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    n, x, g = 300, rng.normal(size=300), rng.integers(0, 20, 300)
    share = 1 / (1 + np.exp(-x))
    hits = np.round(10 * share)  # less variation than binomial
    return {
        "count": rng.poisson(np.exp(0.5 + 0.3 * x)),
        "large": rng.poisson(np.exp(5 + 0.3 * x)),
        "hits": hits,
        "misses": 10 - hits,
        "real": x + rng.uniform(-1, 1, n),
        "x": x,
        "g": g,
    }


@pytest.mark.parametrize(
    ("model", "simpler", "options", "name"),
    [
        (("count ~ x + (1 | g)", "nbinom2"), "poisson", {}, "size"),
        (("count ~ x", "nbinom1"), "poisson", {}, "phi"),
        (("large ~ x", "nbinom2"), "poisson", {}, "size"),
        (("cbind(hits, misses) ~ x", "betabinomial"), "binomial", {}, "precision"),
        (("real ~ x", "t"), "gaussian", {}, "df"),
        (("count ~ x", "poisson"), "poisson", {"ziformula": "~ 1"}, "zi"),
    ],
)
def test_the_limit_is_the_simpler_family(
    table: Any, model: tuple[str, str], simpler: str, options: Any, name: str
) -> None:
    formula, family = model
    m = mw.fit(formula, table, family=family, **options)
    said = [each for each in m.notes if each.code == "MW-W31"]
    assert len(said) == 1
    assert name in said[0].text
    assert m.certificate().passed
    if simpler == "gaussian":  # lm's likelihood at the ML estimate of sigma
        y, mu = table["real"], m.predict()
        n, rss = y.size, float(np.sum((y - mu) ** 2))
        assert_allclose(m.loglik, -0.5 * n * (np.log(2 * np.pi * rss / n) + 1), rtol=1e-6)
    else:
        assert_allclose(m.loglik, mw.fit(formula, table, family=simpler).loglik, rtol=1e-8)


def test_a_dispersion_that_is_there_is_no_limit(table: Any) -> None:
    rng = np.random.default_rng(1)
    spread = table | {"count": rng.negative_binomial(2.0, 2.0 / (2.0 + np.exp(0.5 + 0.3 * table["x"])))}
    m = mw.fit("count ~ x + (1 | g)", spread, family="nbinom2")
    assert not [each for each in m.notes if each.code == "MW-W31"]
