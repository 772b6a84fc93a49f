"""The fitted model: its numbers, its tables in every library, its text, and that it never changes."""

from __future__ import annotations

import math
import pickle
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from oracle import Oracle, OracleTerm
from scipy.stats import t as student

import mixwell as mw
from mixwell import MixwellError, MixwellWarning
from mixwell.fitted.text import cells, number, p_value

SLOPES = "Reaction ~ Days + (Days | Subject)"
LIBRARIES = ("pandas", "polars", "pyarrow", "dict")


@pytest.fixture(scope="module")
def m() -> mw.FittedModel:
    return mw.lmer(SLOPES, mw.data.load("sleepstudy", "dict"))


@pytest.fixture(params=LIBRARIES)
def table(request: pytest.FixtureRequest) -> Any:
    return mw.data.load("sleepstudy", request.param)


def columns(table: Any) -> dict[str, list[Any]]:
    """Columns of a table of any library, as lists."""
    if isinstance(table, dict):
        return {name: list(values) for name, values in table.items()}
    if hasattr(table, "to_pydict"):
        return dict(table.to_pydict())
    if hasattr(table, "to_dicts"):
        return dict(table.to_dict(as_series=False))
    return {name: table[name].tolist() for name in table.columns}


def dense(m: mw.FittedModel) -> Oracle:
    """The same model in the textbook implementation."""
    terms = [
        OracleTerm(
            term.codes,
            np.column_stack([np.ones(m.nobs) if c is None else c for c in term.columns]),
            term.structure,
            term.homogeneous,
        )
        for term in m.design.random
    ]
    offset = 0.0 if m.design.offset is None else m.design.offset
    return Oracle(m.design.y - offset, np.asarray(m.model_matrix()), terms, m.design.weights)


# --- numbers ------------------------------------------------------------------------------------------------


def test_likelihoods_follow_lme4(m: mw.FittedModel) -> None:
    # R: REMLcrit, logLik, AIC, BIC, df.residual of lmer(Reaction ~ Days + (Days | Subject))
    assert_allclose(m.reml_criterion, 1743.62827, rtol=1e-8)
    assert_allclose([m.loglik, m.aic, m.bic], [-871.81414, 1755.62827, 1774.78600], rtol=1e-6)
    assert (m.npar, m.nobs, m.df_residual) == (6, 180, 174)
    assert_allclose(m.aicc, m.aic + 2 * 6 * 7 / 173)
    assert_allclose(m.deviance, dense(m).criterion(m.theta, reml=False))
    by_ml = m.update(method="ML")
    assert_allclose(by_ml.deviance, 1751.93934, rtol=1e-8)
    assert by_ml.loglik == -0.5 * by_ml.deviance
    with pytest.raises(MixwellError, match="MW-A15"):
        by_ml.reml_criterion  # noqa: B018


def test_everything_agrees_with_the_textbook(m: mw.FittedModel) -> None:
    reference = dense(m).evaluate(m.theta, reml=True)
    assert_allclose(m.fixef.values, reference.beta, rtol=1e-9)
    assert_allclose(m.vcov(), reference.vcov, rtol=1e-9)
    assert_allclose(m.se.values, np.sqrt(np.diag(reference.vcov)), rtol=1e-9)
    assert_allclose(m.sigma**2, reference.sigma2, rtol=1e-10)
    assert_allclose(m.fitted(), reference.fitted, rtol=1e-10)
    modes = m.ranef()
    assert_allclose(modes["estimate"], reference.b[0].ravel(), rtol=1e-8, atol=1e-8)
    assert_allclose(modes["condsd"], np.sqrt(np.einsum("jkk->jk", reference.condvar[0])).ravel(), rtol=1e-8)
    assert_allclose(
        m.varcorr()["Subject"].matrix, reference.sigma2 * dense(m).terms[0].sigma(m.theta), rtol=1e-9
    )


def test_criterion_is_the_likelihood_anywhere(m: mw.FittedModel) -> None:
    for theta in ([1.0, 0.0, 1.0], [0.5, -0.1, 0.0]):
        assert_allclose(m.criterion(theta), dense(m).criterion(np.array(theta), reml=True), rtol=1e-11)
    for wrong in ([1.0], 1.0, [1.0, np.nan, 1.0]):
        with pytest.raises(MixwellError, match=r"MW-A08 .* must be 3 finite numbers"):
            m.criterion(wrong)


def test_named_vectors(m: mw.FittedModel) -> None:
    v = m.fixef
    assert list(v) == list(v.keys()) == ["(Intercept)", "Days"]
    assert len(v) == 2
    assert v["Days"] == v[1] == v.values[1] == np.asarray(v)[1] == v.to_dict()["Days"] == dict(v)["Days"]
    assert "251.4051" in repr(v)
    assert np.asarray(v, dtype=np.float32).dtype == np.float32
    with pytest.raises(KeyError, match="Did you mean 'Days'"):
        v["days"]


def test_varcorr(m: mw.FittedModel) -> None:
    vc = m.varcorr()
    subject = vc["Subject"]
    assert_allclose([subject.sd["(Intercept)"], subject.sd["Days"]], [24.74066, 5.92214], rtol=1e-5)
    assert_allclose(subject.variance.values, subject.sd.values**2)
    assert_allclose(subject.correlation, [[1, 0.0655512], [0.0655512, 1]], atol=1e-5)
    assert (len(vc), [term.group for term in vc], vc.sigma) == (1, ["Subject"], m.sigma)
    tidy = vc.tidy()
    assert tidy["sdcor"][-1] == m.sigma
    assert (tidy["term"][2], tidy["other"][2]) == ("(Intercept)", "Days")
    with pytest.raises(KeyError, match="Did you mean 'Subject'"):
        vc["subject"]
    assert "24.74" in repr(vc)
    assert "<table" in vc._repr_html_()
    singular = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict")).varcorr()
    assert singular["Batch"].sd["(Intercept)"] == 0


def test_independent_effects_have_no_correlations() -> None:
    fit = mw.lmer("Reaction ~ Days + (Days || Subject)", mw.data.load("sleepstudy", "dict"))
    assert len(fit.varcorr().tidy()["vcov"]) == 3
    assert list(fit.tidy("random")["term"]) == ["sd((Intercept))", "sd(Days)", "sd(Residual)"]
    assert "correlation" not in repr(fit.varcorr())


@pytest.mark.parametrize("weighted", [False, True])
def test_residuals(weighted: bool) -> None:
    sleep = mw.data.load("sleepstudy", "dict")
    weights = np.linspace(0.5, 2, 180) if weighted else None
    fit = mw.lmer(SLOPES, sleep, weights=weights, offset=3.0 * np.arange(180))
    root = 1.0 if weights is None else np.sqrt(weights)
    assert_allclose(fit.fitted() + fit.resid(), sleep["Reaction"])
    assert_allclose(fit.resid("pearson"), fit.resid() * root)
    assert_allclose(fit.resid("scaled"), fit.resid() * root / fit.sigma)
    reference = dense(fit).evaluate(fit.theta, reml=True)
    assert_allclose(fit.fitted(), reference.fitted + 3.0 * np.arange(180), rtol=1e-9)
    with pytest.raises(MixwellError, match="MW-A02  kind"):
        fit.resid("deviance")  # type: ignore[arg-type]


def test_rows_stay_aligned() -> None:
    sleep = mw.data.load("sleepstudy", "dict")
    gone = [0, 7, 179]
    sleep["Reaction"][gone] = np.nan
    with pytest.warns(MixwellWarning, match="MW-W01"):
        fit = mw.lmer(SLOPES, sleep)
    assert fit.resid().shape == fit.fitted().shape == (177,)
    for values in (fit.resid(align=True), fit.fitted(align=True), fit.augment(rows="all")[".fitted"]):
        assert np.flatnonzero(np.isnan(values)).tolist() == gone
    used = fit.augment()
    assert_allclose(used[".fitted"] + used[".resid"], used["Reaction"])
    assert "177 rows of 180" in fit.summary()


def test_model_matrices(m: mw.FittedModel) -> None:
    X, Z = m.model_matrix(), m.model_matrix("random")
    assert isinstance(Z, tuple)
    b = m.ranef()["estimate"]
    assert_allclose(X @ m.fixef.values + Z.toarray() @ b, m.fitted(), rtol=1e-12)
    assert mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict")).model_matrix("random").shape == (
        180,
        0,
    )
    with pytest.raises(MixwellError, match="MW-A02"):
        m.model_matrix("mixed")  # type: ignore[arg-type]


def test_terms(m: mw.FittedModel) -> None:
    assert m.terms.response == "Reaction"
    assert m.terms.fixed == ("Days",)
    assert m.terms.random == ("(1 + Days | Subject)",)


# --- tables -------------------------------------------------------------------------------------------------


def test_tables_come_in_the_callers_library(table: Any) -> None:
    fit = mw.lmer(SLOPES, table)
    made = {
        "ranef": fit.ranef(),
        "coef": fit.coef(),
        "tidy": fit.tidy("all"),
        "glance": fit.glance(),
        "augment": fit.augment(),
        "varcorr": fit.varcorr().tidy(),
        "certificate": fit.certificate().table(),
    }
    assert {type(each) for each in made.values()} == {type(table)}
    shown = {name: columns(each) for name, each in made.items()}
    assert shown["ranef"]["level"][:2] == ["308", "308"]
    assert shown["ranef"]["term"][:2] == ["(Intercept)", "Days"]
    assert shown["coef"]["Subject"][0] == "308"
    assert_allclose(shown["coef"]["Days"][0], fit.fixef["Days"] + shown["ranef"]["estimate"][1])
    assert shown["tidy"]["estimate"][:2] == fit.fixef.values.tolist()
    assert_allclose(shown["tidy"]["statistic"][:2], fit.fixef.values / fit.se.values)
    assert_allclose(shown["tidy"]["df"][:2], [17, 17], rtol=1e-6)
    p = 2 * student.sf(fit.fixef["Days"] / fit.se["Days"], 17)
    assert_allclose(shown["tidy"]["p_value"][1], p, rtol=1e-5)
    assert shown["glance"]["loglik"] == [fit.loglik]
    assert list(shown["augment"])[:4] == ["Reaction", "Days", "Subject", ".fitted"]
    assert_allclose(shown["augment"][".scaled"], fit.resid("scaled"))
    assert shown["certificate"]["passed"] == [True] * 9


def test_lazy_tables_and_odd_tables() -> None:
    polars = pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    eager = mw.data.load("sleepstudy", "polars").with_columns(unused=polars.lit(1))
    lazy = mw.lmer(SLOPES, eager.lazy())
    assert lazy.augment().columns == ["Reaction", "Days", "Subject", ".fitted", ".fixed", ".resid", ".scaled"]
    assert lazy.update("~ . + I(Days^2)").npar == 7
    batch = pyarrow.RecordBatch.from_pandas(mw.data.load("sleepstudy", "pandas"))
    assert mw.lmer(SLOPES, batch).augment().num_rows == 180
    lists = {name: values.tolist() for name, values in mw.data.load("sleepstudy", "dict").items()}
    lists["Reaction"][0] = None
    with pytest.warns(MixwellWarning, match="MW-W01"):
        assert len(mw.lmer(SLOPES, lists).augment()["Subject"]) == 179
    structured = np.rec.fromarrays(
        list(mw.data.load("sleepstudy", "dict").values()), names="Reaction,Days,Subject"
    )
    assert set(mw.lmer(SLOPES, structured).augment()) >= {"Reaction", ".resid"}


def test_a_pandas_index_survives() -> None:
    pandas = pytest.importorskip("pandas")
    sleep = mw.data.load("sleepstudy", "pandas")
    sleep.index = pandas.Index(np.arange(180)[::-1])
    sleep.loc[179, "Reaction"] = np.nan
    with pytest.warns(MixwellWarning, match="MW-W01"):
        fit = mw.lmer(SLOPES, sleep)
    out = fit.augment()
    assert out.index.tolist() == list(range(178, -1, -1))
    assert_allclose(out[".fitted"].to_numpy(), fit.fitted())


def test_interactions_keep_their_labels() -> None:
    pastes = mw.data.load("pastes", "dict")
    fit = mw.lmer("strength ~ 1 + (1 | batch/cask)", pastes)
    coefficients = fit.coef(
        "batch:cask" if "batch:cask" in {t.group for t in fit.design.random} else "cask:batch"
    )
    assert {"batch", "cask", "(Intercept)"} == set(coefficients)
    assert len(coefficients["batch"]) == 30
    assert ":" in fit.ranef()["level"][-1]
    with pytest.raises(MixwellError, match="MW-A16"):
        fit.coef()
    with pytest.raises(MixwellError, match=r"MW-A16 .*'batches'[\s\S]*Did you mean 'batch'"):
        fit.coef("batches")


def test_tidy_refuses_other_effects(m: mw.FittedModel) -> None:
    assert len(m.tidy()["term"]) == 2
    with pytest.raises(MixwellError, match="MW-A02  effects"):
        m.tidy("ran_pars")  # type: ignore[arg-type]


# --- text ---------------------------------------------------------------------------------------------------


def test_summary_holds_what_a_reader_wants(m: mw.FittedModel) -> None:
    text = m.summary()
    assert text == repr(m) == str(m)
    for fragment in (
        SLOPES,
        "180 rows; Subject 18 levels",
        "REML criterion 1743.628",
        "24.74",
        "0.066",
        "251.41",
    ):
        assert fragment in text
    assert "Degrees of freedom: Satterthwaite." in text
    assert "Kenward-Roger, observed information" in m.summary(ddf="kenward-roger", information="observed")
    assert "  z " in m.summary(ddf="normal") and " df " not in m.summary(ddf="normal")
    assert text.splitlines()[-1].startswith("Certificate: all 9 checks passed")
    assert max(map(len, text.splitlines())) <= 100
    plain = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict")).summary()
    assert "least squares" in plain
    assert "Random effects" not in plain
    assert "178 degrees of freedom" in plain


def test_a_model_without_fixed_effects_prints() -> None:
    fit = mw.lmer("Yield ~ 0 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    assert (len(fit.fixef), fit.certificate().passed) == (0, True)
    assert "Fixed effects" in fit.summary()
    assert fit.tidy()["term"] == []


def test_html_is_escaped_and_complete() -> None:
    class Reader(HTMLParser):
        seen = ""
        tags: set[str]

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.tags.add(tag)

        def handle_data(self, data: str) -> None:
            self.seen += data

    sleep = mw.data.load("sleepstudy", "dict")
    odd = {"Reaction": sleep["Reaction"], "<script>x": sleep["Days"], "g&h": sleep["Subject"]}
    fit = mw.lmer("Reaction ~ `<script>x` + (1 | `g&h`)", odd)
    reader = Reader()
    reader.tags = set()
    reader.feed(fit._repr_html_())
    assert "script" not in reader.tags
    assert "<script>x" in reader.seen
    assert "g&h" in reader.seen
    assert "Certificate" in reader.seen
    assert "<table" in fit.certificate()._repr_html_()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (251.405, "251.41"),
        (0.0, "0"),
        (9.99999, "10.000"),
        (-0.00012345678, "-0.00012346"),
        (1.5e-9, "1.5000e-09"),
        (654.94e9, "6.5494e+11"),
        (12345678.0, "12345678"),
        (math.nan, "-"),
        (-math.inf, "-Inf"),
    ],
)
def test_numbers_are_shown_with_five_digits(value: float, shown: str) -> None:
    assert number(value) == shown


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=6))
def test_numbers_one_under_the_other_are_aligned(values: list[float]) -> None:
    shown = cells(values)
    assert len({len(cell) for cell in shown}) == 1
    points = {cell.index(".") for cell in shown if "." in cell}
    assert len(points) <= 1
    for value, cell in zip(values, shown, strict=True):
        assert_allclose(float(cell), value, rtol=5.1e-5, atol=1e-320)


def test_p_values() -> None:
    assert [p_value(p) for p in (0.04321, 0.000999, 1.0, math.nan)] == ["0.043", "<0.001", "1.000", "-"]


# --- immutability, further fits -----------------------------------------------------------------------------


def test_a_fit_never_changes(m: mw.FittedModel) -> None:
    with pytest.raises(AttributeError):
        m.method = "ML"  # type: ignore[misc]
    for values in (m.fixef.values, m.vcov(), m.theta, m.se.values, m.varcorr()["Subject"].matrix):
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 0
    m.fitted()[:] = 0
    m.predict()[:] = 0
    assert m.fitted().min() > 100


def test_a_fit_does_not_follow_its_table() -> None:
    sleep = mw.data.load("sleepstudy", "pandas")
    fit = mw.lmer(SLOPES, sleep)
    before = fit.resid()
    sleep["Reaction"] = 0.0
    sleep["Days"] += 1
    assert_allclose(fit.resid(), before)
    assert fit.certificate().passed


def test_pickles_are_complete(m: mw.FittedModel) -> None:
    for fit in (m, mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "pandas"))):
        again = pickle.loads(pickle.dumps(fit))
        assert repr(again) == repr(fit)
        assert list(again.ranef()["estimate"]) == list(fit.ranef()["estimate"])
        assert again.criterion(fit.theta) == fit.criterion(fit.theta)
        assert_allclose(
            again.predict({"Days": [1.0]}, re="population"), fit.predict({"Days": [1.0]}, re="population")
        )
        assert again.optimization.evaluations == fit.optimization.evaluations
        assert_allclose(again.refit(fit.design.y).theta, fit.theta)


def test_refit(m: mw.FittedModel) -> None:
    again = m.refit(m.design.y)
    assert (again.theta.tolist(), again.loglik) == (m.theta.tolist(), m.loglik)
    doubled = m.refit(2 * m.design.y + 5)
    assert_allclose(doubled.fixef.values, [2 * m.fixef[0] + 5, 2 * m.fixef[1]], rtol=1e-8)
    assert_allclose(doubled.theta, m.theta, rtol=1e-6)
    assert doubled.certificate().passed
    holes = mw.data.load("sleepstudy", "dict")
    y = holes["Reaction"].copy()
    holes["Reaction"][3] = np.nan
    with pytest.warns(MixwellWarning, match="MW-W01"):
        fewer = mw.lmer(SLOPES, holes)
    with pytest.warns(MixwellWarning, match="MW-W01"):
        assert_allclose(fewer.refit(y).theta, fewer.theta)


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (np.zeros(3), "180 rows were used"),
        (np.zeros((180, 2)), "shape"),
        (["a"] * 180, "not numbers"),
        (np.where(np.arange(180) == 4, np.nan, np.arange(180.0)), "value 5 of those used is nan"),
        (np.ones(180), "constant"),
    ],
)
def test_refit_refuses(m: mw.FittedModel, y: Any, reason: str) -> None:
    with pytest.raises(MixwellError, match=f"MW-A09 .*{reason}"):
        m.refit(y)


def test_update(m: mw.FittedModel) -> None:
    smaller = m.update("~ . - (Days | Subject) + (1 | Subject)")
    direct = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
    assert smaller.loglik == direct.loglik
    assert m.update("log(.) ~ .").design.response == "log(Reaction)"
    assert not m.update("~ Days").is_mixed
    half = {name: values[:100] for name, values in mw.data.load("sleepstudy", "dict").items()}
    assert m.update(data=half).nobs == 100
    weighted = mw.lmer(SLOPES, mw.data.load("sleepstudy", "dict"), weights=np.linspace(1, 2, 180))
    assert weighted.update("~ . + I(Days^2)").design.weights is not None
    assert weighted.update(weights=None).loglik == m.loglik


def test_optimization_tells_how_the_search_went(m: mw.FittedModel) -> None:
    o = m.optimization
    assert o.converged
    assert o.evaluations == len(o.trace) < 15
    assert o.trace[0]["evaluation"] == 1
    assert o.criterion == m.reml_criterion
    assert (o.gradient.shape, o.hessian.shape) == ((3,), (3, 3))
    assert np.abs(o.gradient).max() < 1e-3
    assert "converged" in repr(o)


# --- properties ---------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    formula=st.sampled_from(
        [
            "y ~ x + (1 | g)",
            "y ~ x + (x | g)",
            "y ~ x + (x || g)",
            "y ~ f + (1 | g) + (0 + x | h)",
            "y ~ x*f + (1 | h)",
        ]
    ),
    method=st.sampled_from(["REML", "ML"]),
)
def test_identities_on_random_data(seed: int, formula: str, method: Any) -> None:
    rng = np.random.default_rng(seed)
    n = 60
    data = {
        "x": rng.normal(size=n),
        "g": rng.permutation(np.arange(n) % 8),
        "h": np.array(list("abcde"))[rng.permutation(np.arange(n) % 5)],
        "f": np.array(["u", "v", "w"])[rng.permutation(np.arange(n) % 3)],
    }
    data["y"] = rng.normal(size=n) + rng.normal(size=8)[data["g"]] + data["x"] * rng.normal(size=8)[data["g"]]
    fit = mw.fit(formula, data, method=method)
    assert fit.certificate().passed
    assert_allclose(fit.predict(), fit.fitted(), rtol=1e-12)
    assert_allclose(fit.predict(data), fit.fitted(), rtol=1e-9, atol=1e-9)
    assert_allclose(
        fit.predict(re="population"), np.asarray(fit.model_matrix()) @ fit.fixef.values, atol=1e-9
    )
    assert_allclose(fit.fitted() + fit.resid(), data["y"], atol=1e-12)
    assert_allclose(fit.criterion(fit.theta), fit.optimum.criterion, rtol=1e-12)
    assert_allclose(fit.aic, -2 * fit.loglik + 2 * fit.npar)
    shuffled = rng.permutation(n)
    other = mw.fit(formula, {name: values[shuffled] for name, values in data.items()}, method=method)
    assert_allclose(other.loglik, fit.loglik, rtol=1e-9)
    assert_allclose(other.fitted(), fit.fitted()[shuffled], rtol=1e-4, atol=1e-4)


def test_update_keeps_a_refitted_response() -> None:
    """The response that refit() brought stays until there are new data."""
    sleep = mw.data.load("sleepstudy", "pandas")
    m = mw.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    doubled = m.refit(2 * sleep["Reaction"].to_numpy())
    smaller = doubled.update("~ . - Days")
    assert smaller.sigma == pytest.approx(2 * m.update("~ . - Days").sigma, rel=1e-9)
    assert doubled.update(data=sleep).sigma == pytest.approx(m.sigma, rel=1e-9)


def test_augment_shows_a_refitted_response() -> None:
    """Fitted values and residuals add up to the response in the same table."""
    sleep = mw.data.load("sleepstudy", "pandas")
    table = mw.lmer("Reaction ~ Days + (1 | Subject)", sleep).refit(np.arange(180.0) ** 2).augment()
    np.testing.assert_allclose(table[".fitted"] + table[".resid"], table["Reaction"])
    np.testing.assert_array_equal(table["Reaction"], np.arange(180.0) ** 2)


def test_coef_keeps_labels_beside_a_slope_of_the_same_name() -> None:
    """A numeric column that is both a slope and a grouping factor loses neither."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(2000, 2010), 6)
    m = mw.lmer("y ~ g + (1 | g)", {"y": rng.normal(size=60) + rng.normal(size=10)[g - 2000], "g": g})
    table = m.coef("g")
    assert list(table[".g"]) == list(range(2000, 2010))
    assert len(set(table["g"])) == 1


def test_two_columns_of_one_name_are_refused() -> None:
    """Level b of f and a column fb would both be the coefficient fb."""
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=20), "f": ["a", "b"] * 10, "fb": rng.normal(size=20)}
    with pytest.raises(MixwellError, match="'fb'") as caught:
        mw.lm("y ~ f + fb", data)
    assert caught.value.code == "MW-D27"


def test_the_arrays_of_a_fit_are_read_only() -> None:
    """Nothing reached through a fit can change it."""
    m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    for array in (m.design.y, m.design.columns[1], m.vcov(), m.theta):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_an_intercept_far_away_is_no_false_alarm() -> None:
    """A predictor of 1e6 +- 3e-3: the outputs hold few digits of the intercept, and the tolerance knows."""
    sleep = dict(mw.data.load("sleepstudy", "dict"))
    sleep["x"] = 1e6 + 1e-3 * np.asarray(sleep["Days"])
    m = mw.lmer("Reaction ~ x + (x | Subject)", sleep)
    assert m.certificate().passed


def test_tidy_has_tests_and_intervals_by_any_method(m: mw.FittedModel) -> None:
    normal = m.tidy(ddf="normal", level=0.9)
    assert_allclose(normal["p_value"], [math.erfc(abs(t) / math.sqrt(2)) for t in normal["statistic"]])
    assert_allclose(normal["upper"] - normal["lower"], 2 * 1.6448536 * m.se.values, rtol=1e-6)
    adjusted = m.tidy(ddf="kenward-roger")
    assert_allclose(adjusted["df"], [17, 17], rtol=1e-6)
    residual = m.tidy(ddf="residual")
    assert_allclose(residual["df"], [178, 178])
    with pytest.raises(mw.MixwellError, match="MW-A02"):
        m.tidy(ddf="satterthwait")
    with pytest.raises(mw.MixwellError, match="MW-A49"):
        m.tidy(level=95)
