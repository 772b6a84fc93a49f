"""Every family with every link and kind of zeros: moments, deviances, distributions, draws, fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.special import expit, gammaln

import mixwell as mw
from mixwell.families import Family, curvature_of, link_of, mean_of, resolve, slope_of

Array = NDArray[np.float64]

# family: natural auxiliary parameters, and kind of zeros
AUX: dict[str, tuple[float, ...]] = {
    "gaussian": (0.8,),
    "gamma": (0.4,),
    "inverse_gaussian": (0.3,),
    "binomial": (),
    "betabinomial": (3.0,),
    "poisson": (),
    "nbinom1": (0.9,),
    "nbinom2": (1.7,),
    "truncated_poisson": (),
    "truncated_nbinom1": (0.9,),
    "truncated_nbinom2": (1.7,),
    "beta": (4.0,),
    "tweedie": (0.7, 1.4),
    "t": (0.8, 6.0),
}
SHARES = ["logit", "probit", "cloglog", "loglog", "cauchit", "log", "identity"]
LINKS = {
    "gaussian": ["identity", "log", "inverse", "sqrt"],
    "gamma": ["inverse", "log", "identity"],
    "inverse_gaussian": ["inverse_squared", "log", "inverse", "identity"],
    "binomial": SHARES,
    "betabinomial": SHARES,
    "beta": SHARES[:5],
    "tweedie": ["log", "sqrt", "identity", "inverse"],
    "t": ["identity", "log", "inverse"],
}
ZEROS = [
    "poisson",
    "nbinom1",
    "nbinom2",
    "tweedie",
    "gamma",
    "inverse_gaussian",
    "truncated_poisson",
    "truncated_nbinom1",
    "truncated_nbinom2",
]
PLAIN = [(name, link, False) for name in AUX for link in LINKS.get(name, ["log", "sqrt", "identity"])]
CASES = PLAIN + [(name, "log", True) for name in ZEROS]
ONE_LINK = [(name, None, False) for name in AUX] + [(name, "log", True) for name in ZEROS]
CENTRES = {"binary": (0.3, 0.8), "share": (0.3, 0.8)}
TRIALS = 9


@dataclass
class Case:
    """A family at one mean, and its support with the weights of a sum or of the trapezoidal rule."""

    family: Family
    mu: float
    aux: tuple[float, ...]
    y: Array
    steps: Array
    trials: float

    @property
    def discrete(self) -> bool:
        return self.family.kind in ("binary", "count")

    def rows(self, n: int) -> tuple[Array, tuple[Array, ...], Array]:
        return np.full(n, self.mu), tuple(np.full(n, a) for a in self.aux), np.full(n, self.trials)

    @property
    def at_zero(self) -> float:
        """Probability of zero where the support is not discrete."""
        if self.discrete or not (self.family.zero or self.family.name == "tweedie"):
            return 0.0
        return float(np.exp(self.family.loglik(np.zeros(1), *self.rows(1))[0]))


def cases_of(name: str, link: str | None, zeros: bool) -> list[Case]:
    family = resolve(name, link, extra_zeros=zeros)
    aux = AUX[name] + ((0.3,) if zeros else ())
    t = np.linspace(-40.0, 40.0, 16001)
    h = t[1] - t[0]
    out = []
    for mu in CENTRES.get(family.kind, (0.6, 2.5)):
        trials = 1.0
        if family.kind == "binary":
            trials, y, steps = float(TRIALS), np.arange(TRIALS + 1) / TRIALS, np.ones(TRIALS + 1)
        elif family.kind == "count":
            y = np.arange(float(name.startswith("truncated") and not zeros), 250.0)
            steps = np.ones(y.size)
        elif family.kind == "share":
            y, steps = expit(t), h * expit(t) * expit(-t)
            inside = (y > 0) & (y < 1)
            y, steps = y[inside], steps[inside]
        elif family.kind == "real":
            y, steps = mu + np.sinh(t / 3), h * np.cosh(t / 3) / 3
        else:
            y, steps = np.exp(t / 2), h * np.exp(t / 2) / 2
            y, steps = y[y < 400], steps[y < 400]
        out.append(Case(family, mu, aux, y, steps, trials))
    return out


def expectations(case: Case) -> tuple[float, float, float]:
    """Total probability, mean and variance by summation over the density."""
    f = np.exp(case.family.loglik(case.y, *case.rows(case.y.size))) * case.steps
    mean = float(f @ case.y)
    return float(f.sum()) + case.at_zero, mean, float(f @ (case.y - mean) ** 2) + case.at_zero * mean**2


@pytest.mark.parametrize(("name", "link", "zeros"), CASES)
def test_densities_have_mass_one_and_the_moments_of_the_family(name: str, link: str, zeros: bool) -> None:
    for case in cases_of(name, link, zeros):
        total, mean, variance = expectations(case)
        mu, aux, trials = case.rows(1)
        assert_allclose(total, 1.0, rtol=1e-9)
        assert_allclose(case.family.mean(mu, aux)[0], mean, rtol=1e-8)
        assert_allclose(case.family.variance(mu, aux, trials)[0], variance, rtol=1e-7)


@pytest.mark.parametrize(("name", "link", "zeros"), ONE_LINK)
def test_distribution_functions_add_up_densities(name: str, link: str | None, zeros: bool) -> None:
    for case in cases_of(name, link, zeros):
        rows = case.rows(case.y.size)
        f = np.exp(case.family.loglik(case.y, *rows)) * case.steps
        cdf, below = case.family.cdf(case.y, *rows), case.family.below(case.y, *rows)
        if case.discrete:
            assert_allclose(cdf, np.cumsum(f), atol=1e-12)
            assert_allclose(cdf - below, f, atol=1e-12)
            between = case.y[:-1] + 0.5 * np.diff(case.y)
            assert_allclose(case.family.cdf(between, *case.rows(between.size)), cdf[:-1], atol=1e-12)
        else:
            assert_allclose(cdf, case.at_zero + np.cumsum(f) - 0.5 * f, atol=3e-5)
            assert_allclose(cdf, below, atol=1e-15)
            at_zero = case.family.cdf(np.zeros(1), *case.rows(1))
            if case.family.kind != "real":
                assert_allclose(at_zero, case.at_zero, atol=1e-12)
                assert case.family.below(np.zeros(1), *case.rows(1))[0] == 0
        low = -1e4 if case.family.kind == "real" else -1.0
        assert case.family.cdf(np.array([low]), *case.rows(1))[0] < 1e-12


@pytest.mark.parametrize(("name", "link", "zeros"), ONE_LINK)
def test_draws_follow_the_distribution(name: str, link: str | None, zeros: bool) -> None:
    """Mean and variance within five standard errors, Kolmogorov's statistic below its 1e-4 point."""
    n = 20_000
    for case in cases_of(name, link, zeros):
        mu, aux, trials = case.rows(n)
        y = case.family.draw(np.random.default_rng(7), mu, aux, trials)
        variance = case.family.variance(mu, aux, trials)[0]
        centred = y - case.family.mean(mu, aux)[0]
        assert abs(centred.mean()) < 5 * np.sqrt(variance / n)
        assert abs(np.mean(centred**2) - variance) < 5 * np.std(centred**2) / np.sqrt(n)
        values, counts = np.unique(y, return_counts=True)
        empirical, rows = np.cumsum(counts) / n, case.rows(values.size)
        off = np.abs(empirical - case.family.cdf(values, *rows)).max()
        off = max(off, np.abs(empirical - counts / n - case.family.below(values, *rows)).max())
        assert off * np.sqrt(n) < 2.23


@pytest.mark.parametrize(("name", "link", "zeros"), PLAIN)
def test_deviances_are_positive_and_vanish_at_the_saturated_mean(name: str, link: str, zeros: bool) -> None:
    rng = np.random.default_rng(3)
    for case in cases_of(name, link, zeros):
        mu, aux, trials = case.rows(40)
        y = case.family.draw(rng, mu, aux, trials)
        if case.family.kind == "real" and link != "identity":
            y = np.abs(y)  # a mean that the link can have
        found = case.family.deviance(y, mu, aux, trials)
        best = case.family.saturated(y, aux, trials)
        assert (found >= 0).all() and found.max() > 0
        assert_allclose(case.family.deviance(y, best, aux, trials), 0, atol=1e-9)
        # Where the best mean is inside its range: twice the log-likelihood that is missing.
        inside = (best > 1e-3) & (best < (0.999 if case.family.kind in ("binary", "share") else np.inf))
        aux_in = tuple(a[inside] for a in aux)
        missing = [case.family.loglik(y[inside], at[inside], aux_in, trials[inside]) for at in (best, mu)]
        twice = 2 * (missing[0] - missing[1]) * case.family.dispersion(aux_in)
        assert_allclose(found[inside], twice, rtol=1e-7, atol=1e-9)
        for factor in (0.99, 1.01):
            moved = best[inside] * factor
            off = case.family.deviance(y[inside], moved, aux_in, trials[inside])
            assert (off >= 0).all() and np.median(off) > 0


@pytest.mark.parametrize("zeros", ["poisson", "truncated_nbinom2"])
def test_deviances_are_refused_with_extra_zeros(zeros: str) -> None:
    family = resolve(zeros, extra_zeros=True)
    aux = [np.full(2, 0.5)] * len(family.auxiliary)
    with pytest.raises(mw.MixwellError, match="MW-A90"):
        family.deviance(np.ones(2), np.ones(2), aux)


@pytest.mark.parametrize("link", [*SHARES, "inverse", "sqrt", "inverse_squared"])
def test_second_derivatives_of_links(link: str) -> None:
    eta = link_of(link, np.linspace(0.03, 0.97, 23))
    h = 1e-5
    numeric = (slope_of(link, eta + h) - slope_of(link, eta - h)) / (2 * h)
    assert_allclose(curvature_of(link, eta), numeric, rtol=1e-6, atol=1e-8)
    numeric = (mean_of(link, eta + h) - mean_of(link, eta - h)) / (2 * h)
    assert_allclose(slope_of(link, eta), numeric, rtol=1e-7)


@pytest.mark.parametrize("name", AUX)
def test_extreme_parameters(name: str) -> None:
    """Means next to their bounds keep finite moments, distribution functions and draws within the range."""
    family = resolve(name)
    share = family.kind in ("binary", "share")
    mu = np.array([1e-12, 1e-5, 0.5, 1 - 1e-9] if share else [1e-9, 1e-3, 50.0, 1e5])
    aux = tuple(np.full(4, a) for a in AUX[name])
    w = np.full(4, float(TRIALS))
    y = family.draw(np.random.default_rng(1), mu, aux, w)
    assert np.isfinite(y).all()
    if family.kind == "positive":
        assert (y > 0).all()
    if family.kind == "share":
        assert ((y > 0) & (y < 1)).all()
    if name.startswith("truncated"):
        assert (y[:2] == 1).all() and (y >= 1).all()
    for values in (family.mean(mu, aux), family.variance(mu, aux, w), family.cdf(y, mu, aux, w)):
        assert np.isfinite(values).all() and (values >= 0).all()
    assert (family.below(y, mu, aux, w) <= family.cdf(y, mu, aux, w)).all()


# --- fits -------------------------------------------------------------------------------------------------

# Intercept, slope and standard deviation of groups with which every linear predictor has a mean.
PLACES = {
    ("binary", "log"): (-1.2, 0.4, 0.2),
    ("binary", "identity"): (0.5, 0.2, 0.05),
    ("real", "identity"): (0.3, 0.5, 0.6),
}
PLACES |= {(kind, "identity"): (3.0, 0.7, 0.5) for kind in ("count", "positive", "nonnegative")}
BY_LINK = {"sqrt": (1.6, 0.3, 0.3), "inverse": (0.8, 0.2, 0.1), "inverse_squared": (0.8, 0.2, 0.15)}

# A link with which that is any linear predictor.
SAFE = {
    name: "log" if resolve(name).kind in ("count", "positive", "nonnegative") else resolve(name).link
    for name in AUX
}
LINKED = [
    *PLAIN,
    *((name, link, True) for name in ZEROS for link in LINKS.get(name, ["log", "sqrt", "identity"])),
]
LINKED += [("cumulative", link, False) for link in SHARES[:5]]
MODELS = [(name, False) for name in AUX] + [(name, True) for name in ZEROS] + [("cumulative", False)]
THRESHOLDS = np.array([-0.8, 0.6])


def place_of(family: Family) -> tuple[float, float, float]:
    return PLACES.get((family.kind, family.link), BY_LINK.get(family.link, (0.3, 0.5, 0.6)))


def table_of(
    name: str, zeros: bool, *, link: str = "", groups: int = 0, n: int = 400, seed: int = 5
) -> dict[str, Any]:
    """Draw a table from a family."""
    rng = np.random.default_rng(seed)
    link = link or ("logit" if name == "cumulative" else SAFE[name])
    family = resolve(name, link, extra_zeros=zeros)
    x = rng.uniform(-1.5, 1.5, n)
    g = np.arange(n) % groups if groups else np.zeros(n, int)
    intercept, slope, sd = place_of(family)
    eta = intercept + slope * x + (sd * rng.uniform(-1.7, 1.7, groups)[g] if groups else 0.0)
    w = rng.integers(2, 12, n).astype(float) if family.kind == "binary" else np.ones(n)
    if name == "cumulative":
        y = family.draw(rng, eta, THRESHOLDS)
    else:
        aux = tuple(np.full(n, a) for a in AUX[name] + ((0.3,) if zeros else ()))
        y = family.draw(rng, mean_of(link, eta), aux, w)
    return {"y": y, "x": x, "g": g, "w": w}


def fit(name: str, zeros: bool, table: dict[str, Any], formula: str = "y ~ x", **options: Any) -> Any:
    if zeros:
        options["ziformula"] = "~ 1"
    if name != "cumulative":
        options.setdefault("link", SAFE[name])
    if resolve(name).kind == "binary":
        options.setdefault("weights", "w")
    door = mw.glmer if "|" in formula else mw.glm
    return door(formula, table, family=name, **options)


def standard_errors(m: Any) -> Array:
    return np.asarray(np.sqrt(np.diag(m._covariance)))


@pytest.mark.parametrize(("name", "link", "zeros"), LINKED)
@pytest.mark.parametrize("groups", [0, 60])
def test_simulated_models_are_recovered(name: str, link: str, zeros: bool, groups: int) -> None:
    """Every parameter within 4.5 standard errors of the truth."""
    table = table_of(name, zeros, link=link, groups=groups, n=1200)
    m = fit(name, zeros, table, "y ~ x + (1 | g)" if groups else "y ~ x", link=link)
    intercept, slope, sd = place_of(m.family)
    if name == "cumulative":
        truth = [slope, *(THRESHOLDS - intercept)]
    else:
        natural = AUX[name] + ((0.3,) if zeros else ())
        scale = [each.predictor(a) for each, a in zip(m.family.auxiliary, natural, strict=True)]
        truth = [intercept, slope, *scale]
    if groups:
        truth = [sd, *truth]
    found = np.concatenate([m.theta, m.fixef.values, m.gamma])
    assert np.max(np.abs(found - truth) / standard_errors(m)) < 4.5
    assert m.certificate().passed


@pytest.mark.parametrize(("name", "zeros"), [case for case in MODELS if case[0] != "betabinomial"])
@pytest.mark.parametrize("formula", ["y ~ x", "y ~ x + (1 | g)"])
def test_weights_equal_replication(name: str, zeros: bool, formula: str) -> None:
    """Weights of two are rows written twice. (Of shares weights are trials: see the test of cbind.)"""
    n = 500 if (name, zeros) == ("tweedie", True) else 160  # where extra zeros can be told from its own
    table = table_of(name, zeros, groups=20, n=n)
    if name == "binomial":
        table["y"] = (table["y"] > 0.5).astype(float)
    one = fit(name, zeros, table | {"w": np.full(n, 2.0)}, formula, weights="w")
    twice = {key: np.concatenate([values, values]) for key, values in table.items()}
    two = fit(name, zeros, twice | {"w": np.ones(2 * n)}, formula)
    assert_allclose(one.loglik, two.loglik, rtol=1e-9)
    se = standard_errors(two)
    found = [np.concatenate([m.theta, m.fixef.values, m.gamma]) for m in (one, two)]
    assert np.max(np.abs(found[0] - found[1]) / se) < 1e-4
    assert_allclose(standard_errors(one), se, rtol=1e-4)
    # As in R, a dispersion by Pearson's statistic has degrees of freedom by the number of rows.
    rows = two.df_residual / one.df_residual if one.is_classical and one.family.auxiliary else 1.0
    assert_allclose(one.se.values, two.se.values * np.sqrt(rows), rtol=1e-4)


@pytest.mark.parametrize(("name", "zeros"), MODELS)
def test_order_of_rows_scale_of_columns_and_offsets(name: str, zeros: bool) -> None:
    table = table_of(name, zeros, groups=20, n=160)
    m = fit(name, zeros, table, "y ~ x + (1 | g)")
    order = np.random.default_rng(1).permutation(160)
    shuffled = fit(name, zeros, {key: values[order] for key, values in table.items()}, "y ~ x + (1 | g)")
    scaled = fit(name, zeros, table | {"x": 1e3 * table["x"]}, "y ~ x + (1 | g)")
    shifted = fit(name, zeros, table, "y ~ x + (1 | g)", offset=0.25 + 0.5 * table["x"])
    se = m.se["x"]
    for other, expected in ((shuffled, m.fixef["x"]), (scaled, 1e-3 * m.fixef["x"])):
        assert_allclose(other.loglik, m.loglik, rtol=1e-9, atol=1e-9)
        unit = expected / m.fixef["x"]
        assert abs(other.fixef["x"] - expected) < 1e-4 * se * unit
        assert_allclose(other.se["x"], se * unit, rtol=1e-4)
        assert_allclose(other.theta, m.theta, rtol=1e-4, atol=1e-4)
    assert_allclose(shifted.loglik, m.loglik, rtol=1e-9, atol=1e-9)
    assert abs(shifted.fixef["x"] - (m.fixef["x"] - 0.5)) < 1e-4 * se
    if name != "cumulative":
        moved = shifted.fixef["(Intercept)"] - (m.fixef["(Intercept)"] - 0.25)
        assert abs(moved) < 1e-4 * m.se["(Intercept)"]
        assert_allclose(shifted.predict(type="link"), m.predict(type="link"), atol=1e-3 * se)


# --- responses ----------------------------------------------------------------------------------------------


def same(one: Any, two: Any) -> None:
    for a, b in zip(one.fixef.values, two.fixef.values, strict=True):
        assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert_allclose(one.se.values, two.se.values, rtol=1e-4)
    assert_allclose(one.theta, two.theta, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_binary_responses_in_every_spelling(link: str) -> None:
    table = table_of("binomial", False, groups=20, n=240)
    y = (table["y"] > 0.5).astype(int)
    names = np.where(y == 1, "yes", "no")
    fits = [
        mw.glmer("y ~ x + (1 | g)", table | {"y": values}, family="binomial", link=link)
        for values in (y, y.astype(float), y.astype(bool), names)
    ]
    trials = table | {"y": y, "n": np.ones(240)}
    fits += [
        mw.glmer("cbind(y, 1 - y) ~ x + (1 | g)", trials, family="binomial", link=link),
        mw.glmer("y ~ x + (1 | g)", trials, family="binomial", link=link, weights="n"),
    ]
    for other in fits[1:]:
        assert_allclose(other.loglik, fits[0].loglik, rtol=1e-12)
        same(other, fits[0])


@pytest.mark.parametrize("formula", ["~ x", "~ x + (1 | g)", "~ x + (1 | row)"])
def test_cbind_equals_single_trials_up_to_a_constant(formula: str) -> None:
    """The constant is the sum of log choose(trials, successes); (1 | row) is one effect a row of cbind."""
    table = table_of("binomial", False, groups=20, n=80) | {"row": np.arange(80)}
    hits = np.round(table["y"] * table["w"]).astype(int)
    trials = table["w"].astype(int)
    shares = mw.fit(f"y {formula}", table, family="binomial", weights="w")
    both = table | {"hits": hits, "misses": trials - hits}
    bound = mw.fit(f"cbind(hits, misses) {formula}", both, family="binomial")
    single = {key: np.repeat(values, trials) for key, values in table.items() if key != "y"}
    single["y"] = np.concatenate([np.arange(n) < k for n, k in zip(trials, hits, strict=True)])
    expanded = mw.fit(f"y {formula}", single, family="binomial")
    constant = float(np.sum(gammaln(trials + 1) - gammaln(hits + 1) - gammaln(trials - hits + 1)))
    assert_allclose(bound.loglik, shares.loglik, rtol=1e-12)
    assert_allclose(bound.loglik, expanded.loglik + constant, rtol=1e-9)
    same(bound, shares)
    same(bound, expanded)


def test_offsets_of_counts_are_weights_of_rates() -> None:
    table = table_of("poisson", False, n=200)
    rng = np.random.default_rng(2)
    table |= {"exposure": rng.uniform(0.5, 3.0, 200)}
    table |= {"rate": table["y"] / table["exposure"]}
    counts = mw.glm("y ~ x + offset(log(exposure))", table, family="quasipoisson")
    rates = mw.glm("rate ~ x", table, family="quasipoisson", weights="exposure")
    same(counts, rates)
    assert_allclose([counts.deviance, counts.pearson_chi2], [rates.deviance, rates.pearson_chi2], rtol=1e-8)
    inside = mw.glm("y ~ x + offset(log(exposure))", table, family="poisson")
    given = mw.glm("y ~ x", table, family="poisson", offset=np.log(table["exposure"]))
    assert inside.loglik == given.loglik


def test_an_effect_of_each_observation_is_the_lognormal_mixture() -> None:
    from scipy import integrate
    from scipy.stats import norm, poisson

    table = table_of("nbinom2", False, n=60) | {"row": np.arange(60)}
    m = mw.glmer("y ~ x + (1 | row)", table, family="poisson", nagq=31)
    eta, sd = m.predict(type="link", re="population"), float(m.theta[0])

    def row(y: float, eta: float) -> float:
        def joint(z: float) -> float:
            return float(poisson.pmf(y, np.exp(eta + sd * z)) * norm.pdf(z))

        return integrate.quad(joint, -10, 10, epsabs=1e-13, epsrel=1e-10, points=[0.0])[0]

    total = sum(np.log(row(y, e)) for y, e in zip(table["y"], eta, strict=True))
    assert_allclose(m.loglik, total, rtol=1e-6)


def test_thresholds_and_the_distribution_of_categories() -> None:
    table = table_of("cumulative", False, n=300)
    m = mw.glm("y ~ x", table, family="cumulative", link="probit")
    eta, thresholds = m.predict(type="link"), m.auxiliary()
    cdf = m.family.cdf(table["y"], eta, thresholds)
    below = m.family.below(table["y"], eta, thresholds)
    assert_allclose(np.log(cdf - below), m.family.loglik(table["y"], eta, thresholds), rtol=1e-9)
    assert_allclose(np.sum(np.log(cdf - below)), m.loglik, rtol=1e-10)
    drawn = np.concatenate(
        [m.family.draw(np.random.default_rng(i), eta, m.thresholds.values) for i in range(60)]
    )
    for k in range(3):
        share = mean_of("probit", np.append(m.thresholds.values, np.inf)[k] - eta).mean()
        assert abs(np.mean(drawn <= k) - share) < 5 * np.sqrt(0.25 / drawn.size)
    for ask in (m.resid, m.hatvalues, lambda: m.family.variance(eta)):
        with pytest.raises(mw.MixwellError, match="MW-A92"):
            ask()
