"""Links that reach means out of range: a start inside by construction, and an end that is named."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mixwell as mw


def draw(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 60))
    x, f = rng.uniform(0, 2, n), rng.choice([*"abc"], n)
    mu = 1 + rng.uniform(0, 3) * x + rng.uniform(0, 3) * (f == "b")
    hits = rng.random(n) < np.clip(0.1 + 0.2 * x, 0, 0.9)
    return {
        "y": rng.poisson(mu),
        "positive": mu * rng.gamma(2.0, 0.5, n),
        "b": hits.astype(int),
        "x": x,
        "f": f,
        "g": rng.integers(0, 5, n),
    }


@pytest.mark.parametrize(
    "model",
    [
        ("y ~ x + f", "poisson", "identity"),
        ("y ~ x + f", "poisson", "sqrt"),
        ("b ~ x", "binomial", "log"),
        ("b ~ x", "binomial", "identity"),
        ("positive ~ x + f", "gamma", "identity"),
        ("positive ~ x", "gamma", "inverse"),
        ("positive ~ x", "inverse_gaussian", "inverse_squared"),
        ("positive ~ x", "gaussian", "log"),
        ("y ~ x + (1 | g)", "poisson", "identity"),
    ],
    ids=lambda model: "-".join(model[1:]),
)
def test_a_fit_a_named_edge_or_a_refusal(model: tuple[str, str, str]) -> None:
    """Nothing else, and mostly a certified fit."""
    formula, family, link = model
    certified = 0
    for seed in range(30):
        table = draw(seed)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                m = mw.fit(formula, table, family=family, link=link)
            except mw.MixwellError as refusal:
                assert refusal.code in ("MW-A89", "MW-W13", "MW-D34")
                continue
        assert all(issubclass(each.category, mw.MixwellWarning) for each in said)
        assert np.isfinite(m.loglik)
        certified += m.certificate().passed
        if not m.certificate().passed:
            assert any("MW-C01" in str(each.message) for each in said)
    assert certified >= 18


def test_poisson_with_identity_link_and_a_factor_is_the_means() -> None:
    m = mw.glm("y ~ f", {"y": [1, 2, 1, 7, 9, 8], "f": [*"aaabbb"]}, family="poisson", link="identity")
    assert_allclose(m.fixef.values, [4 / 3, 8 - 4 / 3], rtol=1e-6)


def test_an_optimum_at_the_edge_is_said() -> None:
    """All failures for f = c: the share is zero there, which the identity link reaches."""
    table = {"y": [0, 1, 1, 0, 1, 1, 0, 0, 0], "f": [*"aaabbbccc"]}
    with pytest.warns(mw.MixwellWarning) as said:
        m = mw.glm("y ~ f", table, family="binomial", link="identity")
    assert not m.certificate().passed
    assert any("MW-W32" in str(each.message) for each in said)


def test_structured_covariances_end_at_their_limits() -> None:
    """Of two effects cs() is the unstructured model in other parameters; its correlation has limits."""
    ended = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        g, x = np.repeat(np.arange(12), 6), rng.normal(size=72)
        b = rng.normal(size=12)
        y = rng.poisson(np.exp(0.3 + 0.6 * b[g] + 0.3 * b[g] * x))
        table = {"y": y, "x": x, "g": g}
        m = mw.glmer("y ~ x + cs(1 + x | g)", table, family="poisson")
        assert -1.0 <= m.theta[-1] <= 1.0
        ended += abs(m.theta[-1]) == 1.0
        assert m.certificate().passed
        us = mw.glmer("y ~ x + (x | g)", table, family="poisson")
        assert_allclose(m.loglik, us.loglik, atol=1e-6)
        assert_allclose(m.se.values, us.se.values, rtol=1e-3)
    assert ended >= 2


def test_columns_that_thresholds_span_are_left_out() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=120)
    grade = np.digitize(0.5 * x + rng.logistic(size=120), [-1.0, 0.0, 1.0])
    table = {"grade": grade, "x": x, "twice": 2 * x + 3, "f": rng.choice([*"ab"], 120)}
    plain = mw.glm("grade ~ x", table, family="cumulative")
    with pytest.warns(mw.MixwellWarning, match="MW-C02"):
        m = mw.glm("grade ~ x + twice", table, family="cumulative")
    assert m.fixef.names == ("x",)
    assert_allclose(m.loglik, plain.loglik, rtol=1e-10)
    assert m.dropped == ("twice",)
