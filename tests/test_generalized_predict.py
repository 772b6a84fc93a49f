"""Predictions of generalised models: against R, closed forms, brute force, and by simulation.

glmm_predict.json comes from reference/glmm_predict.R; what is left are R's finite differences.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.linalg import block_diag
from scipy.stats import norm
from scipy.stats import t as student

import mixwell as mw
from mixwell import MixwellError, MixwellWarning
from mixwell.families import mean_of
from mixwell.generalized.marginal_means import marginal_mean

HERE = Path(__file__).parent / "reference"
STORED = json.loads((HERE / "glmm_predict.json").read_text())
NEW = {
    "x": [-1.0, 0.3, 1.2, 0.5],
    "z": [0.2, -0.5, 1.0, 0.0],
    "f": ["a", "b", "a", "b"],
    "g": ["g1", "g22", "g5", "none"],
    "h": ["h6", "h2", "h1", "h3"],
    "trials": [4, 8, 1, 2],
    "exposure": [1.0, 2.0, 0.5, 1.0],
    "w": [1.0] * 4,
}
RIVER = {
    "spp": ["GP", "DF", "PR", "GP"],
    "mined": ["yes", "no", "yes", "no"],
    "cover": [0.1, -1.0, 0.5, 0.0],
    "DOY": [0.0, 0.3, -0.2, 1.0],
    "site": ["R-1", "VF-2", "VF-6", "none"],
}
SALAMANDERS = "count ~ spp + cover + (1 | site)"
BINOMIAL = {"family": "binomial", "weights": "trials"}
GAMMA = {"family": "gamma", "link": "log", "dispformula": "~ z"}
MIXED: dict[str, tuple[str, dict[str, Any]]] = {
    "binomial": ("hits / trials ~ x + (x | g)", BINOMIAL),
    "crossed": ("hits / trials ~ x * z + (1 | g) + (1 | h)", BINOMIAL | {"link": "probit"}),
    "poisson": ("count ~ x + offset(log(exposure)) + (x | g) + (1 | h)", {"family": "poisson"}),
    "nbinom2": ("count ~ x + f + (1 | g)", {"family": "nbinom2"}),
    "gamma": ("amount ~ x + (1 | g)", GAMMA),
    "inflated": (SALAMANDERS, {"family": "poisson", "ziformula": "~ mined"}),
    "hurdle": (SALAMANDERS, {"family": "truncated_poisson", "ziformula": "~ mined + DOY"}),
}
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "binomial": ("cbind(hits, trials - hits) ~ x + f", {"family": "binomial", "link": "cloglog"}),
    "poisson": ("count ~ x * f + offset(log(exposure))", {"family": "poisson"}),
    "gamma": ("amount ~ x + z", {"family": "gamma"}),
    "quasi": ("count ~ x + f", {"family": "quasipoisson"}),
    "gaussian": ("real ~ x + f", {"family": "gaussian", "weights": "w"}),
}


@lru_cache
def table(name: str = "glmm") -> pd.DataFrame:
    return pd.read_csv(HERE / "data" / f"{name}.csv")


@lru_cache
def mixed(name: str) -> mw.GeneralizedModel:
    formula, options = MIXED[name]
    return mw.glmer(formula, table("salamanders" if formula == SALAMANDERS else "glmm"), **options)


@lru_cache
def plain(name: str) -> mw.GeneralizedModel:
    formula, options = PLAIN[name]
    return mw.glm(formula, table(), **options)


@lru_cache
def ordinal() -> mw.GeneralizedModel:
    return mw.glm("rating ~ temp + contact", table("wine"), family="cumulative")


# --- R --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MIXED)
def test_against_glmmtmb(name: str) -> None:
    m, rows = mixed(name), RIVER if name in ("inflated", "hurdle") else NEW
    for key, stored in STORED["glmmTMB"][name].items():
        kind, _, population = key.partition("_")
        how = "population" if population else "conditional"
        if population and kind in ("zprob", "disp"):
            continue
        options: dict[str, Any] = {"type": kind, "re": how, "new_levels": "sample"}
        found = m.predict(rows, se=True, **options)
        fit, se = np.array(stored["fit"]), np.array(stored["se"])
        if (name, kind) == ("gamma", "disp"):  # theirs is a coefficient of variation, phi its square
            fit, se = fit**2, 2 * fit * se
        assert_allclose(found["fit"], fit, rtol=1e-5, atol=1e-6, err_msg=key)
        assert_allclose(found["se"], se, rtol=5e-4, err_msg=key)


@pytest.mark.parametrize("name", PLAIN)
def test_against_glm(name: str) -> None:
    m = plain(name)
    rows = {**NEW, "x": NEW["x"]}
    for kind in ("link", "response"):
        stored = STORED["glm"][name][kind]
        found = m.predict(rows, type=kind, interval="confidence")
        assert_allclose(found["fit"], stored["fit"], rtol=1e-7)
        assert_allclose(found["se"], stored["se"], rtol=1e-6)
    link = STORED["glm"][name]["link"]
    df = stored["df"] if m.family.has_dispersion else np.inf
    half = student.ppf(0.975, df) * np.array(link["se"])
    ends = mean_of(m.family.link, np.array(link["fit"]) + half), mean_of(m.family.link, link["fit"] - half)
    assert_allclose(found["lower"], np.minimum(*ends), rtol=1e-6)
    assert_allclose(found["upper"], np.maximum(*ends), rtol=1e-6)


def test_against_clm() -> None:
    m = ordinal()
    cells = {"temp": ["cold", "warm"] * 2, "contact": ["no", "no", "yes", "yes"]}
    found = m.predict(cells, type="probs", interval="confidence")
    for column, values in STORED["clm"].items():
        if column != "class":
            assert_allclose(found[column], values, rtol=1e-6, err_msg=column)
    assert found["row"][:6].tolist() == [0, 0, 0, 0, 0, 1] and list(found["category"][:5]) == list("12345")
    assert m.predict(cells, type="class").tolist() == STORED["clm"]["class"]
    wide = m.predict(cells, type="probs")
    assert_allclose(np.column_stack([wide.iloc[:, j] for j in range(5)]).ravel(), found["fit"])
    below = m.predict(cells, type="cumulative", interval="confidence")
    assert_allclose(below["fit"], STORED["cumulative"]["fit"], rtol=1e-6)
    assert_allclose(below["se"], STORED["cumulative"]["se"], rtol=1e-6)
    assert ((below["lower"] > 0) & (below["upper"] < 1)).all()
    assert list(m.predict(cells, type="cumulative").columns) == ["1|2", "2|3", "3|4", "4|5"]


# --- every family ---------------------------------------------------------------------------------------

GROUPED: dict[str, tuple[str, dict[str, Any]]] = {
    "sqrt": ("count_sqrt ~ x + (1 | g)", {"family": "poisson", "link": "sqrt"}),
    "identity": ("count_identity ~ x + (1 | g)", {"family": "poisson", "link": "identity"}),
    "nbinom1": ("over_sqrt ~ x + (1 | g) + (1 | h)", {"family": "nbinom1"}),
    "cauchit": ("hits_cauchit / trials ~ x + (x | g)", BINOMIAL | {"link": "cauchit"}),
    "betabinomial": ("overhits / trials ~ x + (1 | g)", {"family": "betabinomial", "weights": "trials"}),
    "beta": ("share_cloglog ~ x + (1 | g)", {"family": "beta", "link": "cloglog"}),
    "gamma": ("amount_inverse ~ x + (1 | g)", {"family": "gamma"}),
    "gamma hurdle": ("dry ~ x + (1 | g)", {"family": "gamma", "link": "log", "ziformula": "~ z"}),
    "inverse gaussian": ("wald_log ~ x + (1 | g)", {"family": "inverse_gaussian", "link": "log"}),
    "tweedie": ("rain ~ x + (1 | g)", {"family": "tweedie", "dispformula": "~ z"}),
    "t": ("heavy ~ x + (1 | g) + (1 | h)", {"family": "t"}),
    "gaussian": ("real_sqrt ~ x + (1 | g)", {"family": "gaussian", "link": "sqrt", "dispformula": "~ z"}),
    "truncated": ("positive_count ~ x + (1 | g)", {"family": "truncated_poisson"}),
    "hurdle": ("over_sqrt ~ x + (1 | g)", {"family": "truncated_nbinom2", "ziformula": "~ z"}),
    "cumulative": ("grade ~ x + (1 | g)", {"family": "cumulative"}),
    "nodes": ("hits_log / trials ~ x + (x | g)", BINOMIAL | {"nagq": 5}),
    "no fixed effects": ("count_sqrt ~ 0 + (1 + x | g)", {"family": "poisson"}),
    "structure": ("count_identity ~ x + ar1(1 + x | g)", {"family": "poisson"}),
}


@lru_cache
def grouped(name: str) -> mw.GeneralizedModel:
    formula, options = GROUPED[name]
    return mw.glmer(formula, table("glmm_links"), **options)


def types_of(m: mw.GeneralizedModel) -> list[Any]:
    if m.family.kind == "ordered":
        return ["link", "probs", "cumulative"]
    out = ["response", "link", "conditional"]
    out += ["zprob", "zlink"] if m.family.zero else []
    return out + (["disp"] if m.family.auxiliary and m.family.auxiliary[0].name != "zi" else [])


@pytest.mark.parametrize("name", GROUPED)
def test_new_rows_that_are_the_fitted_ones(name: str) -> None:
    m, data = grouped(name), table("glmm_links")
    for kind in types_of(m):
        for re in ("conditional", "population", "marginal"):
            if re == "marginal" and m.family.link == "inverse":
                continue
            options: dict[str, Any] = {"type": kind, "re": re, "interval": "confidence"}
            found, again = m.predict(**options), m.predict(data, **options)
            for column in ("fit", "se", "lower", "upper"):
                assert_allclose(found[column], again[column], rtol=1e-9, atol=1e-12)
            assert np.isfinite(np.asarray(found["se"])).all()
            assert (found["lower"] <= found["fit"]).all() and (found["fit"] <= found["upper"]).all()
            point = np.asarray(m.predict(type=kind, re=re)).ravel()
            assert_allclose(point, found["fit"], rtol=1e-12)
    if m.family.kind != "ordered":
        one, two = (
            m.predict(interval="prediction", seed=1, n_sim=50),
            m.predict(data, interval="prediction", seed=1, n_sim=50),
        )
        assert_allclose(one["upper"], two["upper"], rtol=1e-9)
        assert (one["lower"] <= one["upper"]).all() and np.isfinite(one["se"]).all()
        whole = m.family.kind == "count"
        for side in (one["lower"], one["upper"]):
            assert m.family.kind == "real" or (side >= 0).all()
            assert not whole or (side == np.round(side)).all()
            assert m.family.kind not in ("binary", "share") or (side <= 1).all()


def shifted(m: mw.GeneralizedModel, psi: Any) -> mw.GeneralizedModel:
    """The model at other parameters, modes and all."""
    return replace(
        m, core=m.laplace.describe(m.laplace.at(psi, np.asarray(m.core["scale"]))), handle=m.laplace
    )


def known_parameters(m: mw.GeneralizedModel) -> Any:
    """Variance (n,) of z'b given the parameters, with a dense matrix."""
    z, blocks = [], []
    for term, factor in zip(m.design.random, m.lambdas, strict=True):
        columns = [np.ones(m.nobs) if c is None else c for c in term.columns]
        for level in range(len(term.levels)):
            z.append(np.column_stack(columns) * (term.codes == level)[:, None])
            blocks.append(factor)
    dense, scale = np.hstack(z), block_diag(*blocks)
    eta, step = np.asarray(m.core["eta"]), 1e-3
    own = m.family

    def loglik(e: Any) -> Any:
        aux = m.auxiliary()
        if own.kind == "ordered":
            return own.loglik(m.design.y, e, aux, m.design.weights)
        return own.loglik(m.design.y, mean_of(own.link, e), aux, m.design.weights)

    bend = (
        16 * (loglik(eta + step) + loglik(eta - step)) - loglik(eta + 2 * step) - loglik(eta - 2 * step)
    ) - 30 * loglik(eta)
    w = -bend / (12 * step**2)
    spread = dense @ scale
    inner = np.linalg.inv(spread.T @ (w[:, None] * spread) + np.eye(spread.shape[1]))
    return np.einsum("ri,ij,rj->r", spread, inner, spread)


@pytest.mark.parametrize("name", GROUPED)
def test_standard_errors_are_those_of_differences_of_predictions(name: str) -> None:
    m = grouped(name)
    psi, covariance = np.array(m.core["psi"]), 2 * np.linalg.inv(m.hessian)
    scale = np.sqrt(np.diag(covariance))
    pairs = []
    for i, step in enumerate(1e-3 * scale):
        move = np.eye(psi.size)[i] * step
        pairs.append((shifted(m, psi + move), shifted(m, psi - move), step))
    some = slice(None, 25)
    for kind in types_of(m):
        for re in ("conditional", "population", "marginal"):
            if re == "marginal" and m.family.link == "inverse":
                continue
            width = 1 if kind not in ("probs", "cumulative") else len(m.predict(type=kind).columns)
            slopes = np.stack(
                [
                    (
                        np.asarray(up.predict(type=kind, re=re)) - np.asarray(down.predict(type=kind, re=re))
                    ).ravel()
                    / (2 * step)
                    for up, down, step in pairs
                ]
            )
            variance = np.einsum("in,ij,jn->n", slopes, covariance, slopes)
            if re == "conditional" and kind not in ("zprob", "zlink", "disp"):
                move = 1e-4
                above, below = (
                    replace(m, design=replace(m.design, offset=np.full(m.nobs, sign * move))).predict(
                        type=kind
                    )
                    for sign in (1, -1)
                )
                slope = (np.asarray(above) - np.asarray(below)).ravel() / (2 * move)
                variance += slope**2 * np.repeat(known_parameters(m), width)
            found = m.predict(type=kind, re=re, se=True)["se"]
            assert_allclose(
                found[some], np.sqrt(variance)[some], rtol=2e-4, atol=1e-9, err_msg=f"{kind} {re}"
            )


# --- means over random effects --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link", ["identity", "log", "sqrt", "logit", "probit", "cloglog", "loglog", "cauchit"]
)
def test_means_over_normal_effects(link: str) -> None:
    for v in (0.0, 1e-6, 0.3, 4.0, 25.0):
        eta = np.array([-3.0, -0.4, 0.0, 1.7])
        sd = np.sqrt(v)
        expected = [
            quad(
                lambda z, e=e, sd=sd: mean_of(link, np.array(e + sd * z)) * norm.pdf(z),
                -14 - sd,
                14 + sd,
                epsabs=1e-14,
                limit=400,
            )[0]
            for e in eta
        ]
        assert_allclose(marginal_mean(link, eta, np.full(4, v)), expected, rtol=1e-8)


MARGINAL = [
    "sqrt",
    "nbinom1",
    "cauchit",
    "betabinomial",
    "gamma hurdle",
    "truncated",
    "hurdle",
    "cumulative",
    "structure",
    "t",
]


@pytest.mark.parametrize("name", MARGINAL)
def test_means_of_the_population_are_those_of_many_levels(name: str) -> None:
    m, rng = grouped(name), np.random.default_rng(3)
    kind: Any = "probs" if name == "cumulative" else "response"
    found = (
        np.column_stack(list(np.asarray(m.predict(type=kind, re="marginal")).T))
        if name == "cumulative"
        else m.predict(re="marginal")
    )
    rows, draws = 12, 40_000
    b = 0.0
    for term, factor in zip(m.design.random, m.lambdas, strict=True):
        columns = [np.ones(m.nobs) if c is None else c for c in term.columns]
        b = b + (rng.standard_normal((draws, len(factor))) @ factor.T) @ np.stack(columns)[:, :rows]
    eta = m.predict(type="link", re="population")[:rows] + b
    if name == "cumulative":
        below = np.stack([mean_of("logit", t - eta) for t in m.thresholds.values], axis=-1)
        values = np.diff(below, axis=-1, prepend=0.0, append=1.0)
    else:
        values = m.family.mean(mean_of(m.family.link, eta), [each[:rows] for each in m.auxiliary()])
    error = values.std(axis=0) / np.sqrt(draws)
    assert (np.abs(values.mean(axis=0) - np.asarray(found)[:rows]) < 5 * error + 1e-12).all()


# --- prediction intervals -------------------------------------------------------------------------------

FAMILIES: dict[str, dict[str, Any]] = {
    "poisson": {"family": "poisson"},
    "binomial": {"family": "binomial", "weights": "trials"},
    "gamma": {"family": "gamma", "link": "log"},
    "nbinom2": {"family": "nbinom2"},
}


def responses(name: str, rng: Any, eta: Any, trials: Any) -> Any:
    mu = np.exp(eta)
    if name == "poisson":
        return rng.poisson(mu)
    if name == "binomial":
        return rng.binomial(np.broadcast_to(trials, eta.shape), mu / (1 + mu)) / trials
    return rng.gamma(2.0, mu / 2.0) if name == "gamma" else rng.poisson(rng.gamma(2.0, mu / 2.0))


@pytest.mark.parametrize("name", FAMILIES)
def test_intervals_cover(name: str) -> None:
    # What each of 120 fits covers is known almost exactly; the bounds are four Monte-Carlo standard errors.
    rng = np.random.default_rng(11)
    levels, each = 40, 9
    g, x = np.repeat(np.arange(levels), each), np.tile(np.linspace(-1, 1, each), levels)
    trials = np.tile([5, 12, 20], g.size // 3)
    sd, b = 0.6, lambda: rng.normal(size=levels) * 0.6
    start = {"y": responses(name, rng, 1 + 0.5 * x + b()[g], trials), "x": x, "g": g, "trials": trials}
    base = mw.glmer("y ~ x + (1 | g)", start, **FAMILIES[name])
    old = {"x": [0.5, -1.0], "g": [0, 1], "trials": [10, 20]}
    new = {"x": [0.5, -1.0], "g": [97, 98], "trials": [10, 20]}
    at, size = 1 + 0.5 * np.array(old["x"]), np.array(old["trials"])
    hits: dict[str, list[Any]] = {"old": [], "new": [], "mean": [], "typical": [], "average": []}
    for i in range(120):
        effects = b()
        m = base.refit(responses(name, rng, 1 + 0.5 * x + effects[g], trials))
        own = at + effects[:2]
        many = responses(name, rng, np.tile(own, (2000, 1)), size)
        found = m.predict(old, interval="prediction", seed=i, n_sim=999)
        hits["old"].append(np.mean((found["lower"] <= many) & (many <= found["upper"]), axis=0))
        many = responses(name, rng, at + sd * rng.normal(size=(2000, 2)), size)
        found = m.predict(new, new_levels="sample", interval="prediction", seed=i, n_sim=999)
        hits["new"].append(np.mean((found["lower"] <= many) & (many <= found["upper"]), axis=0))
        for key, truth, rows, re in (
            ("mean", own, old, "conditional"),
            ("typical", at, {"x": old["x"]}, "population"),
        ):
            found = m.predict(rows, type="link", re=re, interval="confidence")
            hits[key].append((found["lower"] <= truth) & (truth <= found["upper"]))
        truth = marginal_mean(m.family.link, at, np.full(2, sd**2))
        found = m.predict({"x": old["x"]}, re="marginal", interval="confidence")
        hits["average"].append((found["lower"] <= truth) & (truth <= found["upper"]))
    for key, values in hits.items():
        covered = np.mean(values, axis=0)
        if key in ("old", "new"):  # maximum likelihood takes variances a little low: one per cent here
            error = np.std(values, axis=0) / np.sqrt(len(values))
            assert (covered > 0.94 - 4 * error).all(), (key, covered)
        else:
            assert (covered > 0.95 - 4 * 0.02).all(), (key, covered)


def test_quantiles_of_new_responses() -> None:
    m = mixed("nbinom2")
    for re, rows in (("conditional", NEW), ("population", {"x": [0.0], "f": ["a"]})):
        found = m.predict(rows, re=re, new_levels="sample", interval="prediction", seed=4)
        again = m.predict(rows, re=re, new_levels="sample", interval="prediction", seed=4)
        for column in ("lower", "upper"):
            assert_array_equal(found[column], again[column])
            assert_array_equal(found[column], np.round(found[column]))
        assert (found["lower"] >= 0).all()
    other = m.predict({"x": [0.0], "f": ["a"]}, re="marginal", interval="prediction", seed=4)
    assert_array_equal(other["upper"], found["upper"])  # both are of a new level
    wide = m.predict({"x": [0.0], "f": ["a"]}, re="population", interval="prediction", seed=4, level=0.99)
    assert wide["upper"][0] > found["upper"][0]


def test_quantiles_without_uncertainty_are_those_of_the_distribution() -> None:
    rng = np.random.default_rng(1)
    y = rng.poisson(4.0, 200_000)
    m = mw.glm("y ~ 1", {"y": y}, family="poisson")
    found = m.predict({"dummy": [0]}, interval="prediction", seed=1)
    assert (found["lower"][0], found["upper"][0]) == (1.0, 8.0)


def test_shares_respect_the_trials() -> None:
    m = plain("binomial")
    rows = {"x": [0.1, 0.1], "f": ["a", "a"]}
    found = m.predict(rows, interval="prediction", trials=[3, 400], seed=2)
    for share, trials in zip(found["upper"], (3, 400), strict=True):
        assert share * trials == pytest.approx(round(share * trials))
    assert found["upper"][1] - found["lower"][1] < found["upper"][0] - found["lower"][0]
    assert ((found["lower"] >= 0) & (found["upper"] <= 1)).all()
    named = m.predict(rows | {"many": [3, 400]}, interval="prediction", trials="many", seed=2)
    both = m.predict(rows | {"hits": [0, 0], "trials": [3, 400]}, interval="prediction", seed=2)
    for column in found:
        assert_array_equal(found[column], named[column])
        assert_array_equal(found[column], both[column])
    weighted = mw.glm("hits / trials ~ x", table(), family="binomial", weights="trials")
    rows = {"x": [0.1], "trials": [7]}
    top = weighted.predict(rows, interval="prediction", seed=2)["upper"][0]
    assert top * 7 == pytest.approx(round(top * 7))
    again = weighted.predict({"x": [0.1]}, interval="prediction", trials=7, seed=2)
    assert top == again["upper"][0]
    single = mw.glm("binary ~ x", table(), family="binomial").predict(interval="prediction", seed=1)
    assert set(single["upper"]) | set(single["lower"]) <= {0.0, 1.0}


def test_gaussian_prediction_is_that_of_a_linear_model() -> None:
    data = {"y": [1.0, 3.0, 2.0, 5.0, 4.0, 6.5], "x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}
    one, two = mw.glm("y ~ x", data, family="gaussian"), mw.lm("y ~ x", data)
    ours = one.predict({"x": [2.5, 9.0]}, interval="prediction", seed=1, n_sim=200_000)
    theirs = two.predict({"x": [2.5, 9.0]}, interval="prediction")
    for column in ("fit", "se"):
        assert_allclose(ours[column], theirs[column], rtol=1e-7)
    for column in ("lower", "upper"):
        width = theirs["upper"] - theirs["lower"]
        assert (np.abs(ours[column] - theirs[column]) < 0.02 * width).all()
    ours = one.predict({"x": [2.5, 9.0]}, interval="confidence", level=0.8)
    theirs = two.predict({"x": [2.5, 9.0]}, interval="confidence", level=0.8)
    for column in theirs:
        assert_allclose(ours[column], theirs[column], rtol=1e-7)


def test_intervals_stay_in_the_range() -> None:
    # far out, where an interval around the mean would leave it
    counts = {"y": [0, 1, 0, 2, 1, 3], "x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}
    amounts = {"y": [1.0, 0.5, 0.4, 0.24, 0.2, 0.17], "x": counts["x"]}
    far = {"x": [-40.0, 2.0, 30.0]}
    cases: list[tuple[Any, dict[str, Any]]] = [
        (counts, {"family": "poisson", "link": "sqrt"}),
        (counts, {"family": "poisson"}),
        (amounts, {"family": "gamma"}),
        (amounts, {"family": "gamma", "link": "log"}),
    ]
    for data, options in cases:
        m = mw.glm("y ~ x", data, **options)
        for interval in ("confidence", "prediction"):
            found = m.predict(far, interval=interval, **({"seed": 1} if interval == "prediction" else {}))
            assert (found["lower"] >= 0).all()
            assert (found["upper"] >= found["lower"]).all()
    m = mw.glm("y ~ x", amounts, family="gamma")
    found = m.predict({"x": [-0.4]}, interval="confidence", level=1 - 1e-12)
    assert found["upper"][0] == np.inf and found["lower"][0] > 0
    m = mw.glm("y ~ x", {"y": [0, 0, 1, 0, 1, 1], "x": counts["x"]}, family="binomial")
    found = m.predict(far, interval="confidence")
    assert ((found["lower"] >= 0) & (found["upper"] <= 1)).all()


# --- options, levels, tables ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("nbinom2", {"type": "mean"}, "MW-A02"),
        ("nbinom2", {"re": "none"}, "MW-A02"),
        ("nbinom2", {"re": ["z"]}, "MW-P14"),
        ("nbinom2", {"new_levels": "skip"}, "MW-A02"),
        ("nbinom2", {"interval": "credible"}, "MW-A02"),
        ("nbinom2", {"interval": "confidence", "level": 95}, "MW-A49"),
        ("nbinom2", {"type": "zprob"}, "MW-P25"),
        ("nbinom2", {"type": "probs"}, "MW-P25"),
        ("poisson", {"type": "disp"}, "MW-P25"),
        ("nbinom2", {"type": "link", "interval": "prediction"}, "MW-P28"),
        ("nbinom2", {"seed": 1}, "MW-P29"),
        ("nbinom2", {"n_sim": 10, "interval": "confidence"}, "MW-P29"),
        ("nbinom2", {"trials": 10, "interval": "prediction"}, "MW-P29"),
        ("nbinom2", {"n_sim": 0, "interval": "prediction"}, "MW-A07"),
        ("nbinom2", {"seed": -1, "interval": "prediction"}, "MW-A07"),
        ("binomial", {"trials": "x", "interval": "prediction"}, "MW-A07"),
        ("binomial", {"trials": [1, 2], "interval": "prediction"}, "MW-A07"),
        ("binomial", {"trials": "none", "interval": "prediction"}, "MW-P26"),
        ("nbinom2", {"intervall": "confidence"}, "MW-A01"),
    ],
)
def test_options_are_checked(name: str, options: dict[str, Any], code: str) -> None:
    with pytest.raises(MixwellError, match=code):
        mixed(name).predict(**options)


def test_what_a_model_does_not_have_is_refused() -> None:
    for kind in ("response", "conditional"):
        with pytest.raises(MixwellError, match=r"MW-P25[\s\S]*probs"):
            ordinal().predict(type=kind)
    with pytest.raises(MixwellError, match="MW-P28"):
        ordinal().predict(type="class", se=True)
    with pytest.raises(MixwellError, match=r"MW-P27[\s\S]*population"):
        grouped("gamma").predict(re="marginal")
    with pytest.raises(MixwellError, match="MW-A91"):
        plain("quasi").predict(interval="prediction")
    with pytest.raises(MixwellError, match=r"MW-P26[\s\S]*trials="):
        plain("binomial").predict({"x": [0.0], "f": ["a"]}, interval="prediction")
    given = mw.glm("hits / trials ~ x", table(), family="binomial", weights=table()["trials"])
    with pytest.raises(MixwellError, match="MW-P26"):
        given.predict({"x": [0.0]}, interval="prediction")
    shifted_by = mw.glm("count ~ x", table(), family="poisson", offset=np.log(table()["exposure"]))
    with pytest.raises(MixwellError, match="MW-P11"):
        shifted_by.predict({"x": [0.0]})


def test_levels() -> None:
    m = mixed("nbinom2")
    with pytest.raises(MixwellError, match=r"MW-P10.*'none'"):
        m.predict(NEW)
    rows = NEW | {"g": ["g1", None, "g5", "none"]}
    with pytest.raises(MixwellError, match="MW-P12"):
        m.predict(rows)
    typical = m.predict(NEW, re="population", se=True)
    for how in ("population", "sample"):
        found = m.predict(rows, new_levels=how, se=True)
        assert_allclose(found["fit"][[1, 3]], np.asarray(typical["fit"])[[1, 3]])
    assert found["se"][3] > typical["se"][3]
    with pytest.raises(MixwellError, match=r"MW-P01.*'q'"):
        m.predict(NEW | {"f": ["a", "b", "q", "a"]}, re="population")
    with pytest.raises(MixwellError, match=r"MW-P02.*'x'"):
        m.predict({"f": ["a"]}, re="population")
    assert m.predict({"x": [0.0], "f": ["a"]}, re="marginal").shape == (1,)
    crossed = mixed("crossed")
    only = crossed.predict({"x": [0.5], "z": [0.1], "h": ["h1"]}, re=["h"], type="link")
    both = crossed.predict(
        {"x": [0.5], "z": [0.1], "h": ["h1"], "g": ["new"]}, new_levels="population", type="link"
    )
    assert_allclose(only, both)


def test_missing_values_give_nan_in_every_column() -> None:
    rows = RIVER | {"cover": [np.nan, 0.0, 0.5, 0.2], "mined": ["yes", None, "yes", "no"]}
    m = mixed("inflated")
    for options in ({"interval": "confidence"}, {"interval": "prediction", "seed": 1}):
        for re in ("conditional", "population", "marginal"):
            found = m.predict(rows, re=re, new_levels="sample", **options)
            for values in found.values() if isinstance(found, dict) else np.asarray(found).T:
                assert np.isnan(values).tolist() == [True, True, False, False]
    assert np.isnan(m.predict(rows, type="conditional", re="population")).tolist() == [
        True,
        False,
        False,
        False,
    ]
    found = ordinal().predict({"temp": ["cold", None], "contact": ["no", "no"]}, type="class")
    assert found.tolist() == [2, None]


def test_rows_that_need_a_dropped_coefficient() -> None:
    data = table().assign(twice=2 * table()["x"])
    for family, formula in (("poisson", "count ~ x + twice"), ("cumulative", "grade ~ x + twice")):
        with pytest.warns(MixwellWarning, match="MW-C02"):
            m = mw.glm(formula, data, family=family)
        assert_allclose(m.predict(data, type="link"), m.predict(type="link"))
        with pytest.warns(MixwellWarning, match="MW-P13.*row 1") as caught:
            found = m.predict({"x": [1.0, 1.0], "twice": [2.0, 2.1]}, type="link", interval="confidence")
        assert caught[0].filename == __file__
        assert np.isnan(found["upper"]).tolist() == [False, True]


@pytest.mark.parametrize("library", ["dict", "pandas", "polars", "pyarrow"])
def test_tables_come_in_the_library_of_the_data(library: Any) -> None:
    data = mw.data.load("cbpp", library)
    m = mw.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial")
    found = m.predict(data, interval="confidence")
    assert type(found) is type(data)
    assert_allclose(np.asarray(found["fit"]), m.fitted())
    again = m.predict(data, interval="prediction", seed=1)
    assert type(again) is type(data)


def test_a_variance_of_zero_is_a_model_without_random_effects() -> None:
    rng = np.random.default_rng(3)
    data = {"y": np.tile([0, 1], 60), "x": rng.normal(size=120), "g": np.repeat(np.arange(20), 6)}
    one = mw.glmer("y ~ x + (1 | g)", data, family="binomial")
    two = mw.glm("y ~ x", data, family="binomial")
    for re in ("conditional", "population", "marginal"):
        ours, theirs = one.predict(re=re, interval="confidence"), two.predict(interval="confidence")
        for column in ours:
            assert_allclose(ours[column], theirs[column], rtol=1e-4)


def test_fitted_values() -> None:
    data = {"y": [1, 2, 0, 8, 3], "x": [0.0, 1.0, np.nan, 3.0, 1.5]}
    with pytest.warns(MixwellWarning, match="MW-W01"):
        m = mw.glm("y ~ x", data, family="poisson")
    aligned = m.fitted(align=True)
    assert np.isnan(aligned).tolist() == [False, False, True, False, False]
    assert_allclose(aligned[[0, 1, 3, 4]], m.predict())
    inflated = mixed("inflated")
    assert_allclose(
        inflated.fitted(), (1 - inflated.predict(type="zprob")) * inflated.fitted(type="conditional")
    )
    assert_allclose(inflated.fitted(), inflated.augment()[".fitted"])


def test_rows_that_are_none_and_rows_that_are_far() -> None:
    m = mw.glm("y ~ x", {"y": [0, 1, 3, 5, 0, 9, 1, 0, 0, 12], "x": range(10)}, family="poisson")
    nothing = {"x": np.array([])}
    assert m.predict(nothing).shape == (0,)
    for interval in ("confidence", "prediction"):
        assert m.predict(nothing, interval=interval)["upper"].shape == (0,)
        found = m.predict({"x": [1e4]}, interval=interval)
        assert 1e17 < found["lower"][0] <= found["upper"][0] and found["fit"][0] == np.inf


def test_a_pickled_model_predicts_the_same() -> None:
    m = mixed("crossed")
    again = pickle.loads(pickle.dumps(m))
    for re in ("conditional", "marginal"):
        ours, theirs = m.predict(re=re, se=True), again.predict(re=re, se=True)
        assert_allclose(ours["se"], theirs["se"], rtol=1e-9)
