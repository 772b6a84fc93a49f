"""Small random tables of every family: each ends in a fit that tells the truth about itself, or in an error.

A fit that is certified has finite estimates, is the same when its criterion is evaluated again from nothing,
and is not beaten from other starting points where the log-likelihood is concave.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.optimize import minimize

import mixwell as mw

Array = NDArray[np.float64]

# Family, links, whether with extra zeros. (Tweedie has its own tests: its series is slow where phi is tiny.)
FAMILIES: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("gaussian", ("identity", "log", "inverse"), False),
    ("gamma", ("log", "inverse", "identity"), False),
    ("inverse_gaussian", ("log", "inverse_squared"), False),
    ("binomial", ("logit", "probit", "cloglog", "loglog", "cauchit", "log", "identity"), False),
    ("betabinomial", ("logit", "probit"), False),
    ("poisson", ("log", "sqrt", "identity"), False),
    ("nbinom1", ("log", "sqrt"), False),
    ("nbinom2", ("log", "sqrt"), False),
    ("truncated_poisson", ("log",), False),
    ("truncated_nbinom2", ("log",), False),
    ("beta", ("logit", "cloglog"), False),
    ("t", ("identity",), False),
    ("cumulative", ("logit", "probit", "cloglog"), False),
    ("poisson", ("log",), True),
    ("nbinom2", ("log",), True),
    ("truncated_poisson", ("log",), True),
)
CONCAVE = {
    "gaussian": ("identity",),
    "binomial": ("logit", "probit", "cloglog"),
    "poisson": ("log",),
    "cumulative": ("logit", "probit"),
}
FIXED = ("1", "x", "x + f", "x * f")
RANDOM = ("(1 | g)", "(1 | g)", "(x | g)", "(1 | g) + (1 | h)", "(1 + x || g)")


def response(rng: np.random.Generator, family: str, eta: Array, size: NDArray[np.int64]) -> Array:
    mu, share, n = np.exp(eta), 1 / (1 + np.exp(-eta)), eta.size
    noisy = mu * rng.gamma(1, 1, n)
    draws: dict[str, Any] = {
        "gaussian": lambda: np.abs(eta + 0.5 * rng.normal(size=n)) + 0.1,
        "t": lambda: eta + rng.standard_t(3, n),
        "gamma": lambda: rng.gamma(2, mu / 2) + 1e-8,
        "inverse_gaussian": lambda: rng.wald(mu, 2),
        "binomial": lambda: rng.binomial(size, share),
        "betabinomial": lambda: rng.binomial(size, share),
        "beta": lambda: np.clip(rng.beta(3 * share, 3 - 3 * share), 1e-6, 1 - 1e-6),
        "cumulative": lambda: np.digitize(eta + rng.logistic(size=n), [-1, 1]),
    }
    out = draws.get(family, lambda: rng.poisson(noisy if "nbinom" in family else mu))()
    return np.maximum(out, 1) if family.startswith("truncated") else out


def case(seed: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Formula, table, options."""
    rng = np.random.default_rng(seed)
    family, links, zeros = FAMILIES[seed % len(FAMILIES)]
    n = int(rng.integers(8, 61))
    groups = int(rng.integers(2, min(11, n // 2 + 1)))
    g = np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)])
    x = rng.normal(size=n) * rng.choice([1, 1, 1e-3, 1e3])
    if rng.random() < 0.3:
        x = np.concatenate([[0.0, 1.0], rng.integers(0, 2, n - 2)])
    eta = rng.choice([-1, 0, 1]) + rng.choice([0, 1, 2]) * rng.normal() * x / x.std()
    eta = np.clip(eta + rng.choice([0, 0.5, 2]) * rng.normal(size=groups)[g], -6, 6)
    size = rng.integers(1, 8, n)
    y = response(rng, family, eta, size)
    if zeros:
        y = y * (rng.random(n) < 0.7)
    table = {
        "y": y,
        "x": x,
        "g": g,
        "h": rng.integers(0, 4, n),
        "f": rng.choice(list("abc"), n),
        "left": size - y,
    }
    left = "cbind(y, left)" if "binomial" in family else "y"
    options: dict[str, Any] = {"family": family, "link": str(rng.choice(links))}
    if zeros:
        options["ziformula"] = str(rng.choice(["~ 1", "~ x"]))
    if left == "y" and rng.random() < 0.2:
        options["weights"] = rng.integers(1, 4, n).astype(float)
    if rng.random() < 0.2:
        return f"{left} ~ {rng.choice(FIXED)}", table, options
    return f"{left} ~ {rng.choice(FIXED)} + {rng.choice(RANDOM)}", table, options


@pytest.mark.parametrize("first", range(0, 368, 16))
def test_every_fit_tells_the_truth_or_is_refused(first: int) -> None:
    fits = 0
    for seed in range(first, first + 16):
        formula, table, options = case(seed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", mw.MixwellWarning)  # and nothing else
                fit = mw.glmer if "|" in formula else mw.glm
                m = fit(formula, table, **options)
                certificate = m.certificate()
                assert repr(m)
                m.tidy(level=0.9)
        except mw.MixwellError:
            continue
        fits += 1
        assert np.isfinite(m.loglik), (seed, formula, options)
        assert np.isfinite(m.fixef.values).all(), (seed, formula, options)
        if not certificate.passed:
            continue
        assert np.isfinite(m.se.values).all(), (seed, formula, options)
        assert m.separation is None, (seed, formula, options)
        wide = any(each.code == "MW-W16" for each in m.notes)
        if options["link"] in CONCAVE.get(options["family"], ()) and "ziformula" not in options and not wide:
            beaten(m, seed)
    assert fits >= 8, first


def beaten(m: Any, seed: int) -> None:
    """Search from elsewhere with another optimiser; nothing lower is found."""
    psi, scale, f = np.array(m.core["psi"]), np.asarray(m.core["scale"]), float(m.core["criterion"])
    assert_allclose(m.laplace.evaluate(psi)[0], f, rtol=1e-8, atol=1e-8, err_msg=str(seed))

    def evaluate(at: Array) -> tuple[float, Array]:
        try:
            return m.laplace.evaluate(at)  # type: ignore[no-any-return]
        except mw.MixwellError:
            return 1e10, np.zeros(at.size)

    rng = np.random.default_rng(seed)
    away = psi + 2 * scale * rng.normal(size=psi.size)
    away[: m.theta.size] = 0.3 + np.abs(away[: m.theta.size])
    with np.errstate(all="ignore"):
        other = minimize(evaluate, away, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    assert other.fun > f - 1e-6 * (1 + abs(f)), (seed, m.formula.text, f, other.fun)
