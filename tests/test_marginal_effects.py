"""Slopes, predictions and comparisons against marginaleffects, emmeans, closed forms and simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mixwell as mw
from mixwell.families import curvature_of, mean_of, slope_of

REFERENCE = Path(__file__).parent / "reference"
TABLES = json.loads((REFERENCE / "marginal_effects.json").read_text())
TRENDS = json.loads((REFERENCE / "emtrends.json").read_text())
DATA = TABLES["data"]
CAKE = mw.data.load("cake", "dict")
FITS = {
    "lm": ("y ~ x * f + z + g", None),
    "lm_poly": ("y ~ x + I(x^2) + log(z) + f", None),
    "logit": ("hit ~ x * g + f + z", "binomial"),
    "poisson": ("count ~ x * f + z", "poisson"),
}


@pytest.fixture(scope="module")
def fits():
    return {
        name: mw.lm(formula, DATA) if family is None else mw.glm(formula, DATA, family=family)
        for name, (formula, family) in FITS.items()
    }


@pytest.fixture(scope="module")
def binary():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(25), 12)
    x, f = rng.normal(size=g.size), np.array(["a", "b", "c"])[rng.integers(0, 3, g.size)]
    eta = 0.3 + 0.8 * x - 0.6 * (f == "b") + rng.normal(0, 0.9, 25)[g]
    y = (rng.uniform(size=g.size) < mean_of("logit", eta)).astype(int)
    return mw.glmer("y ~ x + f + (1 | g)", {"y": y, "x": x, "f": f, "g": g}, family="binomial")


def grid(m):
    at = {"x": [0, 1], "f": ["a", "c"]}
    return at | ({"g": "no"} if "g" in m.terms.fixed else {})


CALLS = {
    "slopes_x": lambda m: m.slopes("x"),
    "avg_slopes_x": lambda m: m.slopes("x", average=True),
    "avg_slopes_x_by_f": lambda m: m.slopes("x", by="f"),
    "avg_slopes_z": lambda m: m.slopes("z", average=True),
    "avg_slopes_f": lambda m: m.slopes("f", average=True),
    "eyex": lambda m: m.slopes("x", slope="eyex", average=True),
    "eydx": lambda m: m.slopes("x", slope="eydx", average=True),
    "dyex": lambda m: m.slopes("z", slope="dyex", average=True),
    "predictions": lambda m: m.predictions(),
    "avg_predictions": lambda m: m.predictions(average=True),
    "avg_predictions_by": lambda m: m.predictions(by=["f", "g"]),
    "counterfactual": lambda m: m.predictions(at={"x": [0, 2]}, by="x"),
    "grid": lambda m: m.predictions("mean", at=grid(m)),
    "slopes_grid": lambda m: m.slopes("x", newdata="mean", at=grid(m)),
    "comparisons_x": lambda m: m.comparisons({"x": 1}),
    "avg_x1": lambda m: m.comparisons({"x": 1}, average=True),
    "avg_x_sd": lambda m: m.comparisons({"x": "sd"}, average=True),
    "avg_x_2sd": lambda m: m.comparisons({"x": "2sd"}, average=True),
    "avg_x_iqr": lambda m: m.comparisons({"x": "iqr"}, average=True),
    "avg_x_minmax": lambda m: m.comparisons({"x": "minmax"}, average=True),
    "avg_x_pair": lambda m: m.comparisons({"x": (0, 2)}, average=True),
    "avg_f_pairwise": lambda m: m.comparisons({"f": "pairwise"}, average=True),
    "avg_f_sequential": lambda m: m.comparisons({"f": "sequential"}, average=True),
    "avg_f_by_g": lambda m: m.comparisons("f", by="g"),
}
for _kind in ("ratio", "lnratio", "lift", "lnor"):
    CALLS[f"unit_{_kind}"] = lambda m, k=_kind: m.comparisons("f", comparison=k)
    CALLS[f"avg_{_kind}"] = lambda m, k=_kind: m.comparisons({"f": ("a", "b")}, comparison=k, average=True)

# Standard errors of their slopes hold the rounding of differences of differences, most of all row by row.
SE_TOLERANCE = {"slopes_x": 1e-3, "slopes_grid": 1e-4}


@pytest.mark.parametrize("name", FITS)
def test_agrees_with_the_marginaleffects_package(fits, name):
    m = fits[name]
    for what, known in TABLES["models"][name].items():
        if what == "fixef":
            continue
        found = CALLS[what](m)
        np.testing.assert_allclose(found.estimate, known["estimate"], rtol=1e-5, atol=1e-7, err_msg=what)
        slope = any(word in what for word in ("slopes", "ey", "dy"))
        rtol = SE_TOLERANCE.get(what, 5e-5 if slope else 1e-5)
        np.testing.assert_allclose(found.se, known["std_error"], rtol=rtol, err_msg=what)
        if "by" in what and "f" in known:
            assert found.labels["f"] == known["f"], what


def test_intervals_agree_with_the_package(fits):
    # it has residual degrees of freedom for least squares
    known = TABLES["models"]["lm"]["avg_f_pairwise"]
    lower, upper = fits["lm"].comparisons({"f": "pairwise"}, average=True, ddf="residual").interval()
    np.testing.assert_allclose([lower, upper], [known["conf_low"], known["conf_high"]], rtol=1e-8)
    known = TABLES["models"]["poisson"]["avg_f_pairwise"]
    lower, upper = fits["poisson"].comparisons({"f": "pairwise"}, average=True).interval()
    np.testing.assert_allclose([lower, upper], [known["conf_low"], known["conf_high"]], rtol=1e-4)


def test_a_number_that_is_zero_or_one_agrees_with_the_package():
    m = mw.glm("count ~ x * hit + f", DATA, family="poisson")
    for what, found in (
        ("comparisons", m.comparisons("hit", average=True)),
        ("slopes", m.slopes("hit", average=True)),
    ):
        known = TABLES["zero_one"][what]
        assert found.labels["contrast"] == known["contrast"]
        np.testing.assert_allclose(found.estimate, known["estimate"], rtol=1e-5)
        np.testing.assert_allclose(found.se, known["std_error"], rtol=1e-5)
        np.testing.assert_allclose(found.interval()[0], known["conf_low"], rtol=1e-5)


CASES = {
    "lm_by_f": ("y ~ x * f + z + g", "x", {"by": "f"}),
    "lm_by_f_g": ("y ~ (x + I(x^2)) * f * g + z", "x", {"by": ["g", "f"]}),
    "lm_average": ("y ~ (x + I(x^2)) * f * g + z", "x", {}),
    "lm_at": ("y ~ (x + I(x^2)) * f * g + z", "x", {"by": "f", "at": {"x": 3}}),
    "lm_log": ("y ~ log(z) * f + x", "z", {"by": "f"}),
    "logit_by_g": ("hit ~ x * g + f + z", "x", {"by": "g"}),
    "poisson_by_f": ("count ~ x * f + z", "x", {"by": "f"}),
    "lm_two_values": ("y ~ x * hit + f", "x", {}),
    "lm_by_two_values": ("y ~ x * hit + f", "x", {"by": "hit"}),
    "lmer_by_recipe": ("angle ~ recipe * temp + (1 | recipe:replicate)", "temp", {"by": "recipe"}),
    "lmer_slopes": ("angle ~ recipe * temp + (temp | recipe:replicate)", "temp", {"by": "recipe"}),
    "lmer_kr": (
        "angle ~ recipe * temp + (temp | recipe:replicate)",
        "temp",
        {"by": "recipe", "ddf": "kenward-roger"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_emtrends_agrees_with_emmeans(name):
    formula, variable, options = CASES[name]
    if "angle" in formula:
        cake = dict(CAKE)
        if "(temp" in formula:
            cake["temp"] = (np.asarray(cake["temp"], dtype=float) - 200) / 10
        m = mw.lmer(formula, cake)
    else:
        family = {"hit": "binomial", "count": "poisson"}.get(formula.split()[0])
        m = mw.lm(formula, DATA) if family is None else mw.glm(formula, DATA, family=family)
    rough = "(temp" in formula  # the optimum of lme4 is not exact
    found = m.emtrends(variable, **options)
    parts = {"trends": found}
    if "pairs" in TRENDS[name]:
        parts["pairs"] = found.hypothesis("pairwise")
    for part, own in parts.items():
        known = TRENDS[name][part]
        rtol = 1e-4 if rough else 2e-5 if name == "lm_log" else 2e-6
        np.testing.assert_allclose(own.estimate, np.atleast_1d(known["estimate"]), rtol=rtol, atol=1e-8)
        np.testing.assert_allclose(own.se, np.atleast_1d(known["se"]), rtol=rtol)
        df = np.array([np.inf if each == "Inf" else each for each in np.atleast_1d(known["df"])], dtype=float)
        np.testing.assert_allclose(own.df, df, rtol=1e-3 if rough else 1e-5)
        np.testing.assert_allclose(own.interval()[0], np.atleast_1d(known["lower"]), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("adjust", ["tukey", "sidak", "bonferroni", "holm", "fdr", "scheffe"])
def test_differences_of_slopes_are_adjusted_as_by_emmeans(fits, adjust):
    cake = mw.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", CAKE)
    for name, found in (
        ("lm_by_f", fits["lm"].emtrends("x", by="f")),
        ("lmer_by_recipe", cake.emtrends("temp", by="recipe")),
    ):
        known = TRENDS["adjusted"][name][adjust]
        pairs = found.hypothesis("pairwise", adjust=adjust)
        np.testing.assert_allclose(pairs.table()["p_value"], known["p"], rtol=2e-5)
        np.testing.assert_allclose(pairs.interval(), [known["lower"], known["upper"]], rtol=1e-4)
        assert "Adjusted" in repr(pairs)
        if adjust == "tukey":
            asked = "temp:recipe[pairwise]" if "recipe" in found.labels else "x:f[pairwise]"
            m = cake if "recipe" in found.labels else fits["lm"]
            np.testing.assert_allclose(
                m.explore(asked, adjust="tukey").table()["p_value"], known["p"], rtol=2e-5
            )
            with pytest.raises(mw.MixwellError, match="MW-A117"):
                found.hypothesis("reference", adjust="tukey")
    with pytest.raises(mw.MixwellError, match="MW-A02"):
        fits["lm"].emtrends("x", by="f").hypothesis("pairwise", adjust="tukeys")


# --- properties -----------------------------------------------------------------------------------------


def test_slope_of_a_linear_model_is_its_coefficient():
    m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    for found in (m.slopes("Days"), m.slopes("Days", average=True), m.emtrends("Days")):
        np.testing.assert_allclose(found.estimate, m.fixef["Days"], rtol=1e-11)
        np.testing.assert_allclose(found.se, m.se["Days"], rtol=1e-10)
    t = m.emtrends("Days").table()
    assert t["df"][0] == pytest.approx(17.0, rel=1e-6)
    assert m.slopes("Days", average=True, ddf="kenward-roger").df[0] == pytest.approx(17.0, rel=1e-6)
    # with the effects of the subjects
    own = m.slopes("Days", by="Subject", re="conditional")
    np.testing.assert_allclose(own.estimate, m.coef()["Days"], rtol=1e-9)


def test_ratio_of_means_in_a_log_link_is_the_exponential_coefficient(fits):
    m = mw.glm("count ~ x + f + offset(log(z))", DATA, family="poisson")
    found = m.comparisons({"f": ("a", "c")}, comparison="ratio", average=True)
    assert found.estimate[0] == pytest.approx(np.exp(m.fixef["fc"]), rel=1e-12)
    assert found.se[0] == pytest.approx(np.exp(m.fixef["fc"]) * m.se["fc"], rel=1e-12)
    assert found.null == 1.0
    odds = mw.glm("hit ~ x + f", DATA, family="binomial").comparisons({"x": 2.0}, comparison="lnor")
    np.testing.assert_allclose(odds.estimate, odds.estimate[0], rtol=1e-11)


def test_derivatives_and_their_errors_have_closed_forms(fits):
    for name, link in (("logit", "logit"), ("poisson", "log")):
        m = fits[name]
        X, x = m.model_matrix(), np.asarray(DATA["x"], dtype=float)
        eta = X @ m.fixef.values
        moved = m.update(data=dict(DATA) | {"x": x + 1.0})  # linear in x: the difference is the derivative
        D = moved.model_matrix() - X
        trend = D @ m.fixef.values
        gradient = curvature_of(link, eta)[:, None] * trend[:, None] * X + slope_of(link, eta)[:, None] * D
        found = m.slopes("x")
        np.testing.assert_allclose(found.estimate, slope_of(link, eta) * trend, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.gradient, gradient, rtol=1e-8, atol=1e-9)
        average = m.slopes("x", average=True)
        se = np.sqrt(gradient.mean(axis=0) @ m.vcov() @ gradient.mean(axis=0))
        assert average.se[0] == pytest.approx(se, rel=1e-9)


@pytest.mark.parametrize("term", ["log(x)", "sqrt(x)", "poly(x, 3)", "ns(x, df = 3)", "I(1 / x)"])
def test_slopes_of_transformed_variables(term):
    rng = np.random.default_rng(5)
    x = np.exp(rng.normal(0, 2, 80))
    m = mw.lm(f"y ~ {term}", {"y": np.log(x) + rng.normal(size=80), "x": x})
    at = np.array([0.5, 1.0, 3.0])
    h = 1e-5 * at
    direct = (m.predict({"x": at + h}) - m.predict({"x": at - h})) / (2 * h)
    found = m.slopes("x", newdata={"x": at})
    np.testing.assert_allclose(found.estimate, direct, rtol=1e-6, atol=1e-8)
    assert np.isfinite(m.slopes("x").estimate).all()  # also where x is close to zero


def test_delta_method_agrees_with_simulation(binary):
    rng = np.random.default_rng(1)
    p = len(binary.fixef.names)
    beta = rng.multivariate_normal(binary.fixef.values, binary.vcov(), size=4000)
    X = binary.model_matrix()
    b = X.copy()
    names = binary.fixef.names
    b[:, [names.index("fb"), names.index("fc")]] = 0.0
    a = b.copy()
    b[:, names.index("fb")] = 1.0
    drawn = (mean_of("logit", beta @ b.T) - mean_of("logit", beta @ a.T)).mean(axis=1)
    found = binary.comparisons({"f": ("a", "b")}, average=True)
    assert p == 4
    assert found.se[0] == pytest.approx(drawn.std(), rel=5 * 1 / np.sqrt(2 * 4000) + 0.01)


def test_single_predictions_are_those_of_predict(binary):
    table = {"x": [0.0, 1.0], "f": ["a", "c"]}
    for re in ("population", "marginal"):
        known = binary.predict(table, re=re, interval="confidence")
        found = binary.predictions(table, re=re)
        np.testing.assert_allclose(found.estimate, known["fit"], rtol=1e-10)
        np.testing.assert_allclose(found.se, known["se"], rtol=1e-6)
        if re == "population":
            np.testing.assert_allclose(found.interval()[0], known["lower"], rtol=1e-9)
    # averaging over random effects shrinks the slope
    slopes = [
        binary.slopes("x", newdata="mean", at={"x": 0}, re=re).estimate[0]
        for re in ("population", "marginal")
    ]
    assert 0 < slopes[1] < slopes[0]


def test_conditional_predictions_have_random_effects(binary):
    found = binary.predictions(re="conditional")
    np.testing.assert_allclose(found.estimate, binary.fitted(), rtol=1e-12)
    by = binary.predictions(by="g", re="conditional")
    assert len(by) == 25
    with pytest.raises(mw.MixwellError, match="MW-A121"):
        binary.predictions("mean", re="conditional")
    one = binary.predictions("mean", at={"g": [3, 4]}, re="conditional")
    assert len(one) == 2


@pytest.mark.parametrize("family", ["zip", "gamma", "ordinal", "truncated"])
def test_other_parameters_take_part(family):
    rng = np.random.default_rng(8)
    n = 200
    x, f = rng.normal(size=n), np.array(["a", "b"])[rng.integers(0, 2, n)]
    mu = np.exp(0.5 + 0.4 * x + 0.3 * (f == "b"))
    y = rng.poisson(mu)
    table = {"x": x, "f": f}
    if family == "zip":
        table["y"] = y * (rng.uniform(size=n) < 0.7)
        m = mw.glm("y ~ x + f", table, family="poisson", ziformula="~ f")
    elif family == "truncated":
        m = mw.glm(
            "y ~ x + f",
            {k: np.asarray(v)[y > 0] for k, v in (table | {"y": y}).items()},
            family="truncated_poisson",
        )
    elif family == "gamma":
        m = mw.glm("y ~ x + f", table | {"y": rng.gamma(3, mu / 3)}, family="gamma", link="log")
    else:
        m = mw.glm("y ~ x + f", table | {"y": np.clip(y, 0, 3)}, family="ordinal")
    new = {"x": [0.0, 0.5, -1.0], "f": ["a", "b", "b"]}
    kind = "probs" if family == "ordinal" else "response"
    known = m.predict(new, type=kind, interval="confidence")
    found = m.predictions(new)
    if family == "ordinal":
        order = np.argsort(np.tile(np.arange(4), 3), kind="stable")
        fit, se = known["fit"][order], known["se"][order]
        assert found.labels["category"][:3] == [found.labels["category"][0]] * 3
        averages = m.predictions(average=True)
        assert averages.estimate.sum() == pytest.approx(1.0)
        assert m.comparisons("f", average=True).estimate.sum() == pytest.approx(0.0, abs=1e-12)
    else:
        fit, se = known["fit"], known["se"]
    np.testing.assert_allclose(found.estimate, fit, rtol=1e-10)
    np.testing.assert_allclose(found.se, se, rtol=1e-7)
    # a derivative is a limit of differences, and so is its error
    h = 1e-3
    near = m.comparisons({"x": (0.5 - h / 2, 0.5 + h / 2)}, newdata="mean", at={"f": "b"})
    slope = m.slopes("x", newdata="mean", at={"x": 0.5, "f": "b"})
    np.testing.assert_allclose(slope.estimate, near.estimate / h, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(slope.se, near.se / h, rtol=1e-4)


def test_averages_weights_and_hypotheses(fits):
    m = fits["poisson"]
    rows = m.predictions()
    w = np.arange(len(rows)) % 4
    found = m.predictions(average=True, weights=w)
    assert found.estimate[0] == pytest.approx(np.average(rows.estimate, weights=w))
    assert found.se[0] == pytest.approx(np.sqrt(w @ rows.vcov() @ w) / w.sum())
    by = m.predictions(by="f")
    pair = by.hypothesis("b2 - b1 = 0.5")
    assert pair.estimate[0] == pytest.approx(by.estimate[1] - by.estimate[0] - 0.5)
    c = np.array([-1.0, 1.0, 0.0])
    assert pair.se[0] == pytest.approx(np.sqrt(c @ by.vcov() @ c))
    np.testing.assert_allclose(m.predictions(by="f", hypothesis=c).estimate, pair.estimate + 0.5)
    assert by.hypothesis("reference").labels["hypothesis"] == ["b2 - b1", "b3 - b1"]
    with pytest.raises(mw.MixwellError, match="MW-A26"):
        by.hypothesis("b1 = b4")
    with pytest.raises(mw.MixwellError, match="MW-A122"):
        by.hypothesis([[1.0, -1.0]])


def test_robust_covariance_and_degrees_of_freedom(fits):
    m = fits["lm"]
    robust = m.comparisons({"f": ("a", "b")}, newdata="mean", at={"x": 0}, vcov="CR1", cluster="z")
    j = m.fixef.names.index("fb")
    assert robust.se[0] == pytest.approx(np.sqrt(m.vcov("CR1", cluster="z")[j, j]))
    assert robust.df[0] == pytest.approx(m.test("fb = 0", vcov="CR1", cluster="z").table()["df"][0])
    assert m.slopes("x", average=True, ddf="residual").df[0] == m.df_residual
    logit = fits["logit"].slopes("x", average=True, vcov="HC0")
    gradient = logit.gradient[0]
    assert logit.se[0] == pytest.approx(np.sqrt(gradient @ fits["logit"].vcov("HC0") @ gradient))
    with pytest.raises(mw.MixwellError, match="MW-A31"):
        fits["logit"].slopes("x", ddf="kenward-roger")


def test_missing_rows_tables_and_libraries():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(DATA).assign(f=lambda d: d["f"].astype("category"))
    table.loc[3, "x"] = np.nan
    with pytest.warns(mw.MixwellWarning, match="MW-W01"):
        m = mw.lm("y ~ x + f", table)
    rows = m.predictions()
    assert rows.table()["row"].tolist() == [i for i in range(60) if i != 3]
    assert list(rows.table().columns) == ["row", "x", "f", "estimate", "std_error", "df", "lower", "upper"]
    np.testing.assert_allclose(rows.estimate, m.fitted())
    new = m.predictions(table.iloc[:5])
    assert np.isnan(new.estimate[3])
    assert np.isnan(new.se[3])
    changed = m.predictions(table.iloc[:5].drop(columns="x"), at={"x": [0.0, 1.0]})
    np.testing.assert_allclose(changed.estimate[5:] - changed.estimate[:5], m.fixef["x"])
    assert "Predictions" in repr(rows)
    assert "<table" in rows._repr_html_()


def test_factors_of_all_kinds():
    rng = np.random.default_rng(2)
    n = 60
    table = {
        "y": rng.normal(size=n),
        "b": rng.uniform(size=n) < 0.5,
        "k": rng.integers(1, 4, n),
        "x": rng.normal(size=n),
    }
    m = mw.lm("y ~ b + factor(k) + x + I(x > 0)", table)
    found = m.comparisons(average=True)
    assert found.labels["variable"] == ["b", "k", "k", "x"]
    assert found.labels["contrast"] == ["TRUE - FALSE", "2 - 1", "3 - 1", "+1"]
    np.testing.assert_allclose(found.estimate[:3], m.fixef.values[1:4])
    assert len(m.predictions("grid")) == 6
    assert m.predictions("grid", by="k").table()["k"].tolist() == [1.0, 2.0, 3.0]


def test_refusals(fits):
    m = fits["lm"]
    for call, code in (
        (lambda: m.slopes("xx"), "MW-A119"),
        (lambda: m.predictions(at={"F": "a"}), "MW-A119"),
        (lambda: m.predictions(by="h"), "MW-A119"),
        (lambda: m.predictions(at={"f": "d"}), "MW-A120"),
        (lambda: m.predictions(at={"x": "middle"}), "MW-A02"),
        (lambda: m.comparisons({"f": ("a", "d")}), "MW-A120"),
        (lambda: m.comparisons({"x": "pairwise"}), "MW-A123"),
        (lambda: m.comparisons({"f": 1}), "MW-A123"),
        (lambda: m.comparisons("x", comparison="odds"), "MW-A02"),
        (lambda: m.slopes("f", slope="eyex"), "MW-A124"),
        (lambda: m.emtrends("f"), "MW-A124"),
        (lambda: m.predictions(weights=[1.0] * 60), "MW-A31"),
        (lambda: m.predictions(average=True, weights=[1.0, 2.0]), "MW-A07"),
        (lambda: m.predictions("median"), "MW-A07"),
        (lambda: m.predictions(level=95), "MW-A49"),
        (lambda: m.predictions(type="probs"), "MW-A02"),
        (lambda: m.predictions(averge=True), "MW-A01"),
        (lambda: mw.lm("y ~ 1", DATA).slopes(), "MW-A124"),
    ):
        with pytest.raises(mw.MixwellError, match=code):
            call()
