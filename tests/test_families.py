"""The likelihood of every family, link and kind of zeros: derivatives, normalisation, SciPy's densities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats

import mixwell as mw
from mixwell._core import family_rows
from mixwell.families import link_of, mean_of, resolve, slope_of

Array = NDArray[np.float64]

SHARES = ["logit", "probit", "cloglog", "loglog", "cauchit", "log", "identity"]
COUNTS = ["poisson", "nbinom1", "nbinom2"]
LINKS = {
    "gaussian": ["identity", "log", "inverse", "sqrt"],
    "gamma": ["log", "inverse", "identity"],
    "inverse_gaussian": ["log", "inverse", "identity", "inverse_squared"],
    "binomial": SHARES,
    "betabinomial": SHARES,
    "beta": SHARES[:5],
    "tweedie": ["log", "sqrt", "identity", "inverse"],
    "t": ["identity", "log", "inverse"],
    "cumulative": SHARES[:5],
}
LINKS |= {f"{kind}{each}": ["log", "sqrt", "identity"] for each in COUNTS for kind in ("", "truncated_")}
AUX = {
    "gaussian": 1,
    "gamma": 1,
    "inverse_gaussian": 1,
    "betabinomial": 1,
    "nbinom1": 1,
    "nbinom2": 1,
    "beta": 1,
    "tweedie": 2,
    "t": 2,
    "truncated_nbinom1": 1,
    "truncated_nbinom2": 1,
    "cumulative": 2,
}
ZEROS = {
    "poisson": "inflated",
    "nbinom1": "inflated",
    "nbinom2": "inflated",
    "tweedie": "inflated",
    "truncated_poisson": "hurdle",
    "truncated_nbinom1": "hurdle",
    "truncated_nbinom2": "hurdle",
    "gamma": "hurdle",
    "inverse_gaussian": "hurdle",
}
CASES = [(f, link, "") for f, links in LINKS.items() for link in links]
CASES += [(f, link, zero) for f, zero in ZEROS.items() for link in LINKS[f]]


def rows_of(family: str, link: str, zero: str, n: int = 60) -> tuple[Array, Array, Array, list[Array]]:
    """Response, weights, eta and auxiliary predictors that a family can have."""
    rng = np.random.default_rng(len(family) + 7 * len(link))
    eta = rng.uniform(0.3, 1.5, n)
    if link == "log" and "binomial" in family:
        eta = -eta
    if link == "identity" and "binomial" in family:
        eta = rng.uniform(0.2, 0.8, n)
    aux = [rng.uniform(-0.7, 0.7, n) for _ in range(AUX.get(family, 0) + bool(zero))]
    w = rng.uniform(0.5, 2.0, n)
    if family in ("gaussian", "t"):
        y = rng.normal(size=n)
    elif family in ("gamma", "inverse_gaussian"):
        y = rng.gamma(2, size=n)
    elif family == "tweedie":
        y = rng.gamma(2, size=n) * (rng.random(n) < 0.7)
    elif family in ("binomial", "betabinomial"):
        w = rng.integers(1, 60, n).astype(float)
        y = rng.binomial(w.astype(int), 0.4) / w
    elif family == "beta":
        y = rng.beta(2, 2, n)
    elif family == "cumulative":
        y = rng.integers(0, 4, n).astype(float)
        aux = [np.where(y == 3, np.inf, y + 0.2), np.where(y == 0, -np.inf, y - 0.8)]
    else:
        y = rng.poisson(np.where(rng.random(n) < 0.2, 60, 2), n).astype(float)
    if family.startswith("truncated"):
        y = np.maximum(y, 1.0)
    if zero == "hurdle":
        y = np.where(rng.random(n) < 0.3, 0.0, y)
    return y, w, eta, aux


@pytest.mark.parametrize(("family", "link", "zero"), CASES)
def test_derivatives(family: str, link: str, zero: str) -> None:
    """In eta up to the third, and of the first three in every auxiliary predictor, by central differences."""
    y, w, eta, aux = rows_of(family, link, zero)

    def at(eta: Array, aux: list[Array]) -> Array:
        return family_rows((family, link, zero), y, w, eta, aux)

    def slope(f: Any, h: float = 1e-4) -> Array:
        return np.asarray((8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h))

    found = at(eta, aux)
    assert np.isfinite(found).all()
    assert_allclose(found[:, :3], found[:, 3:6], rtol=1e-9, atol=1e-9)
    numeric = slope(lambda h: at(eta + h, aux)[:, 3:6])
    assert_allclose(found[:, 4:7], numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())
    for k in range(len(aux)):
        there = np.isfinite(aux[k])
        numeric = slope(lambda h, k=k: at(eta, [a + h * (j == k) for j, a in enumerate(aux)])[:, 3:6])[there]
        ours = found[there, 7 + 3 * k : 10 + 3 * k]
        assert_allclose(ours, numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())


def density(family: tuple[str, str, str], y: float, eta: float, *aux: float, weight: float = 1.0) -> float:
    arrays = [np.array([float(value)]) for value in (y, weight, eta, *aux)]
    return float(family_rows(family, arrays[0], arrays[1], arrays[2], arrays[3:])[0, 0])


@pytest.mark.parametrize("family", [*COUNTS, *(f"truncated_{each}" for each in COUNTS)])
def test_counts_sum_to_one(family: str) -> None:
    y = np.arange(0.0, 600.0)
    one = np.ones(600)
    for zero in ("", ZEROS[family]):
        y_used = y[1:] if family.startswith("truncated") and not zero else y
        aux = [0.3 * one[: y_used.size]] * (AUX.get(family, 0) + bool(zero))
        found = family_rows((family, "log", zero), y_used, None, 1.1 * one[: y_used.size], aux)
        assert_allclose(np.exp(found[:, 0]).sum(), 1.0, rtol=1e-12)


def test_densities_are_those_of_scipy() -> None:
    e = np.exp
    pairs = [
        (density(("gamma", "log", ""), 1.3, 0.5, 0.2), stats.gamma.logpdf(1.3, e(-0.2), scale=e(0.7))),
        (density(("t", "identity", ""), 1.3, 0.5, 0.2, 1.2), stats.t.logpdf(1.3, e(1.2), 0.5, e(0.2))),
        (
            density(("beta", "logit", ""), 0.3, 0.5, 0.2),
            stats.beta.logpdf(0.3, e(0.2) / (1 + e(-0.5)), e(0.2) / (1 + e(0.5))),
        ),
        (
            density(("inverse_gaussian", "log", ""), 1.3, 0.5, 0.2),
            stats.invgauss.logpdf(1.3, e(0.7), scale=e(-0.2)),
        ),
        (
            density(("betabinomial", "logit", ""), 0.3, 0.5, 0.2, weight=10),
            stats.betabinom.logpmf(3, 10, e(0.2) / (1 + e(-0.5)), e(0.2) / (1 + e(0.5))),
        ),
        (
            density(("binomial", "probit", ""), 0.3, 0.4, weight=10),
            stats.binom.logpmf(3, 10, stats.norm.cdf(0.4)),
        ),
        (density(("poisson", "log", ""), 7, 1.2), stats.poisson.logpmf(7, e(1.2))),
        (
            density(("nbinom2", "log", ""), 70, 1.2, 0.4),
            stats.nbinom.logpmf(70, e(0.4), e(0.4) / (e(0.4) + e(1.2))),
        ),
        (density(("gaussian", "identity", ""), 0.3, 0.1, 0.8), stats.norm.logpdf(0.3, 0.1, e(0.4))),
    ]
    for ours, theirs in pairs:
        assert_allclose(ours, theirs, rtol=1e-12)


def test_tweedie_is_a_density_with_its_mean() -> None:
    def f(y: float) -> float:
        return float(np.exp(density(("tweedie", "log", ""), y, 0.5, 0.2, 0.1)))

    mass, _ = integrate.quad(f, 1e-9, 80, limit=400)
    mean, _ = integrate.quad(lambda y: y * f(y), 1e-9, 120, limit=400)
    assert_allclose([f(0.0) + mass, mean], [1.0, np.exp(0.5)], rtol=1e-7)


def test_large_sizes_are_the_poisson_limit() -> None:
    poisson = density(("poisson", "log", ""), 7, 1.2)
    assert_allclose(density(("nbinom2", "log", ""), 7, 1.2, 25.0), poisson, rtol=1e-9)
    assert_allclose(density(("nbinom1", "log", ""), 7, 1.2, -25.0), poisson, rtol=1e-9)


@pytest.mark.parametrize("eta", [-700.0, -30.0, 30.0, 700.0])
def test_extreme_predictors_have_derivatives(eta: float) -> None:
    for y in (0.0, 1.0):
        found = family_rows(("binomial", "logit", ""), np.array([y]), None, np.array([eta]), [])
        assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "link", ["identity", "log", "inverse", "sqrt", "logit", "probit", "cloglog", "loglog", "cauchit"]
)
def test_links_are_inverse_to_each_other(link: str) -> None:
    mu = np.linspace(0.05, 0.95, 13)
    eta = link_of(link, mu)
    assert_allclose(mean_of(link, eta), mu, rtol=1e-12)
    h = 1e-6
    assert_allclose(
        slope_of(link, eta), (mean_of(link, eta + h) - mean_of(link, eta - h)) / (2 * h), rtol=1e-7
    )


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (("binomal",), "MW-A76"),
        ((3,), "MW-A76"),
        (("poisson", "logit"), "MW-A77"),
        (("binomial", "probt"), "MW-A77"),
    ],
)
def test_unknown_names(request_: tuple[Any, ...], code: str) -> None:
    with pytest.raises(mw.MixwellError, match=code):
        resolve(*request_)


def test_extra_zeros_of_a_family_without() -> None:
    with pytest.raises(mw.MixwellError, match="MW-A78"):
        resolve("binomial", extra_zeros=True)
    assert resolve("nbinom2", extra_zeros=True).zero == "inflated"
    assert resolve("truncated_poisson", extra_zeros=True).zero == "hurdle"
