"""Estimated marginal means against R's emmeans, and what must hold whatever the numbers are.

emmeans.json comes from reference/emmeans.R. Every number is compared to 1e-5 (relative; limits and estimates
to 1e-5 of a standard error where they are near zero), with these exceptions, each from R's side:

- Tukey's method: qtukey stops at 1e-4, so limits to 2e-4 standard errors; ptukey is good for 5e-7, and
  emmeans rounds degrees of freedom to whole numbers where a contrast is not estimable, so p-values to 2e-4 of
  themselves (ours agree with scipy's to 2e-10);
- joint tests: emmeans rounds F and df; of mixed models with different df it takes the smallest of an
  arbitrary basis, and no scaling by Kenward and Roger: of `unbalanced_slope` F is compared to 1e-2, and ours
  is that of `anova`;
- adjust="mvt": R integrates at random; against an integration of our own in R, probabilities to 1e-3;
"""

from __future__ import annotations

import itertools
import json
import math
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from reference.fits import table as reference_table

import mixwell as mw
from mixwell.errors import MixwellError
from mixwell.marginal.contrasts import coefficients, letters

HERE = Path(__file__).parent / "reference"
STORED = json.loads((HERE / "emmeans.json").read_text())
MODELS: dict[str, dict[str, Any]] = {model["id"]: model for model in STORED["models"]}
QUESTIONS = [(name, at) for name, model in MODELS.items() for at in range(len(model["answers"]))]

DIGITS = 1e-5
TUKEY = 2e-4  # standard errors
MVT = 1e-3


@cache
def table(name: str) -> pd.DataFrame:
    try:
        found = reference_table(name).copy()
    except KeyError:
        found = pd.read_csv(HERE / "data" / f"{name}.csv")
    if name == "cbpp":
        found["period"] = found["period"].astype(int).astype(str)
    return found


@cache
def fit(name: str) -> Any:
    model = MODELS[name]
    options = {key: model[key] for key in ("weights", "offset", "contrasts") if model.get(key)}
    formula, data = model["formula"], table(model["data"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "MW-")
        if "family" not in model:
            return (
                mw.fit(formula, data, method="REML" if model.get("reml", True) else "ML", **options)
                if (model["kind"] == "lmer")
                else mw.lm(formula, data, **options)
            )
        options |= {"ziformula": model["zi"]} if model.get("zi") else {}
        return mw.fit(formula, data, family=model["family"], link=model.get("link"), **options)


def ask(name: str, question: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Our answer as a dict of arrays, and the object."""
    m = fit(name)
    common = {key: question[key] for key in ("at", "ddf") if key in question}
    if "by" in question:
        common["by"] = question["by"]
    if question.get("joint"):
        return dict(m.joint_tests(**common)), None
    for key in ("weights", "type", "level"):
        if key in question:
            common[key] = question[key]
    adjust = {"adjust": question["adjust"]} if "adjust" in question else {}
    wanted = {key: question[key] for key in ("method", "interaction") if key in question}
    if "coefs" in question:
        wanted["method"] = question["coefs"]
    if "ref" in question:
        wanted["ref"] = question["ref"] - 1
    if not wanted:
        bias = {key: question[key] for key in ("bias_adjust", "sigma") if key in question}
        means = m.emmeans(question["specs"], **common, **adjust, **bias)
        return dict(means.table()), means
    if len(question["specs"]) > 1 and "interaction" not in wanted:
        wanted["method"] = wanted.get("method", "pairwise")
    contrasts = m.contrast(question["specs"], **wanted, **common, **adjust)
    if "delta" in question:
        sides = {None: "both", "noninferiority": "lower", "nonsuperiority": "upper"}
        return dict(contrasts.equivalence(question["delta"], side=sides[question.get("side")])), contrasts
    return dict(contrasts.table()), contrasts


def floats(values: Any) -> np.ndarray:
    return np.array([math.nan if v is None or v == "NA" else v for v in np.atleast_1d(values)], dtype=float)


def close(ours: Any, theirs: Any, tolerance: float, what: str, scale: Any = 0.0) -> None:
    ours, theirs = np.asarray(ours, dtype=float), floats(theirs)
    assert ours.shape == theirs.shape, what
    assert np.array_equal(np.isnan(ours), np.isnan(theirs)), what
    limit = tolerance * np.maximum(np.abs(theirs), scale)
    with np.errstate(invalid="ignore"):
        gap = np.where(np.isinf(ours) & (theirs >= 1e8), 0.0, np.abs(ours - theirs))
    worst = np.nanmax(gap - limit, initial=-1.0)
    assert worst <= 0, f"{what}: {ours} against {theirs}"


@pytest.mark.parametrize(("name", "at"), QUESTIONS)
def test_against_emmeans(name: str, at: int) -> None:
    entry = MODELS[name]["answers"][at]
    question, theirs = entry["question"], entry["answer"]
    assert "failed" not in theirs, theirs
    ours, _ = ask(name, question)
    digits = DIGITS
    if question.get("joint"):
        compare_joint(ours, theirs, question, digits)
        return
    estimate = next(
        key
        for key in ("emmean", "estimate", "ratio", "odds_ratio", "prob", "rate", "response")
        if key in ours
    )
    se = floats(theirs["se"])
    close(ours[estimate], theirs["estimate"], digits, "estimate", np.nan_to_num(se))
    close(ours["std_error"], theirs["se"], digits, "se")
    close(ours["df"], np.where(np.isnan(floats(theirs["se"])), np.nan, floats(theirs["df"])), digits, "df")
    for label, values in theirs.get("labels", {}).items():
        if label in ours and label not in {"contrast", "lbase"}:
            assert [str(v).removesuffix(".0") for v in ours[label]] == list(np.atleast_1d(values)), label
    if "delta" in question:
        close(ours["statistic"], theirs["statistic"], digits, "statistic", 1.0)
        close(ours["p_value"], theirs["p_value"], 10 * digits, "p", 1e-8)
        return
    compare_limits(ours, theirs, question, digits, estimate)


def compare_limits(
    ours: dict[str, Any], theirs: dict[str, Any], question: dict[str, Any], digits: float, estimate: str
) -> None:
    said = " ".join(np.atleast_1d(theirs["said"]).tolist())
    se = np.nan_to_num(floats(theirs["se"]))
    contrasts = "p_value" in ours
    if "mvt_p" in theirs:
        assert_allclose(ours["p_value"], floats(theirs["mvt_p"]), atol=MVT)
        if estimate == "estimate":
            c = (ours["upper"] - ours["lower"]) / (2.0 * ours["std_error"])
            assert_allclose(c, floats(theirs["mvt_c"]), atol=1e-2)  # the root of a simulated function
        return
    tolerance = TUKEY if "tukey" in said else digits
    # On the response scale limits are transformed: of small ratios in parts of the ratio.
    scale = np.maximum(se, 1e-3 * np.abs(np.nan_to_num(floats(theirs["estimate"]))))
    close(ours["lower"], theirs["lower"], tolerance, "lower", scale)
    close(ours["upper"], theirs["upper"], tolerance, "upper", scale)
    if contrasts:
        close(ours["statistic"], theirs["statistic"], digits, "statistic", 1.0)
        tukey = "tukey" in said
        close(
            ours["p_value"], theirs["p_value"], 2e-4 if tukey else 10 * digits, "p", 2.5e-3 if tukey else 1e-7
        )


def compare_joint(
    ours: dict[str, Any], theirs: dict[str, Any], question: dict[str, Any], digits: float
) -> None:
    keep = [i for i, term in enumerate(theirs["term"]) if term != "(confounded)"]
    by = theirs.get("by")
    keys = [(theirs["term"][i], None if by is None else by[i]) for i in keep]
    own = [None] * len(ours["term"]) if by is None else [str(v) for v in ours[question["by"]]]
    mine = list(zip(ours["term"], own, strict=True))
    assert set(mine) == set(keys)
    order = [mine.index(key) for key in keys]
    found = {
        column: floats([theirs[column][i] for i in keep]) for column in ("num_df", "den_df", "statistic")
    }
    found["den_df"][found["den_df"] >= 1e8] = math.inf
    assert np.asarray(ours["num_df"])[order].tolist() == found["num_df"].tolist()
    if question.get("ddf") and len(keep) == 5:  # unbalanced_slope
        assert_allclose(np.asarray(ours["statistic"])[order], found["statistic"], rtol=1e-2)
        return
    for column, rounded in (("den_df", 0.00501), ("statistic", 0.000501)):  # by emmeans
        mine = np.asarray(ours[column])[order]
        assert_allclose(mine, found[column], atol=rounded, rtol=digits, err_msg=column)
    close(np.asarray(ours["p_value"])[order], [theirs["p_value"][i] for i in keep], 10 * digits, "p", 1e-7)


def test_every_model_class_and_enough_models_are_compared() -> None:
    kinds = {model["kind"] for model in MODELS.values()}
    assert kinds == {"lm", "lmer", "glm", "glmmTMB", "clm"}
    assert len(MODELS) >= 18
    assert len(QUESTIONS) >= 300


@pytest.mark.parametrize("k", range(2, 13))
def test_polynomials_are_those_of_emmeans(k: int) -> None:
    ours = coefficients("poly", [str(i) for i in range(k)])
    assert [row.tolist() for row in ours.values()] == STORED["polynomials"][k - 2]


# --- joint tests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("name", ["cake", "oats", "alfalfa"])
def test_joint_tests_are_type_three_where_no_number_interacts(name: str, ddf: str) -> None:
    ours, reference = fit(name).joint_tests(ddf=ddf), dict(fit(name).anova(3, ddf=ddf).table())
    assert list(ours["term"]) == [term.replace("factor(nitro)", "nitro") for term in reference["term"]]
    for column in ("num_df", "den_df", "statistic", "p_value"):
        assert_allclose(ours[column], reference[column], rtol=1e-8, atol=1e-14, err_msg=column)


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
def test_joint_tests_where_a_number_interacts_are_type_three_of_the_centred_number(ddf: str) -> None:
    """emmeans takes the smallest df of an arbitrary basis; ours are those of lmerTest and pbkrtest."""
    data = table("unbalanced").assign(x=lambda d: d["x"] - d["x"].mean())
    m = mw.fit("y ~ f * g + f * x + (x | subject) + (1 | item)", data)
    ours, reference = fit("unbalanced_slope").joint_tests(ddf=ddf), dict(m.anova(3, ddf=ddf).table())
    order = [list(ours["term"]).index(term) for term in reference["term"]]
    for column in ("num_df", "den_df", "statistic", "p_value"):
        mine = np.asarray(ours[column])[order]
        if column in ("num_df", "statistic"):
            assert_allclose(mine, reference[column], rtol=1e-4, err_msg=column)
        # The slope of x is averaged over f in one and that of the first level in the other's df.
        factors = [i for i, term in enumerate(reference["term"]) if "x" not in term]
        assert_allclose(mine[factors], np.asarray(reference[column])[factors], rtol=1e-4, err_msg=column)


def test_simple_effects_are_joint_tests_of_contrasts_within_a_level() -> None:
    m = fit("lm_unbalanced")
    by = m.joint_tests(by="g")
    contrasts = m.emmeans("f", by="g").contrast("eff").joint()
    for column in ("num_df", "den_df", "statistic", "p_value"):
        assert_allclose(by[column], contrasts[column], rtol=1e-9)
    assert list(contrasts["g"]) == ["one", "two"]


# --- what must hold --------------------------------------------------------------------------------------


def cake(backend: str = "pandas") -> Any:
    return mw.data.load("cake", backend)


def test_means_of_a_balanced_design_are_means_of_cells() -> None:
    m, data = mw.lm("angle ~ recipe * temperature", cake()), cake()
    for specs in (["recipe"], ["temperature"], ["recipe", "temperature"]):
        means = m.emmeans(specs).table()
        cells = data.groupby(specs, observed=True)["angle"].mean()
        for _, row in means.iterrows():
            assert_allclose(row["emmean"], cells[tuple(row[specs]) if len(specs) > 1 else row[specs[0]]])
    assert_allclose(m.emmeans([]).table()["emmean"], [data["angle"].mean()])


def test_proportional_weights_of_an_additive_fit_average_to_the_mean_of_the_data() -> None:
    data = table("unbalanced")
    means = mw.lm("y ~ f + g", data).emmeans("f", weights="cells").table()
    assert_allclose(means["emmean"], data.groupby("f", observed=True)["y"].mean())  # normal equations


@pytest.mark.parametrize("coding", ["sum", "helmert", "poly"])
def test_nothing_depends_on_the_coding(coding: str) -> None:
    data, formula = table("unbalanced"), "y ~ f * g + x + (1 | subject)"
    for ddf in ("satterthwaite", "kenward-roger"):
        a, b = (
            mw.fit(formula, data, contrasts=contrasts) for contrasts in (None, {"f": coding, "g": coding})
        )
        for column in ("emmean", "std_error", "df", "lower"):
            assert_allclose(
                a.emmeans("f", ddf=ddf).table()[column], b.emmeans("f", ddf=ddf).table()[column], rtol=2e-6
            )
        for column in ("estimate", "std_error", "df", "p_value"):
            x, y = (m.contrast("f", by="g", ddf=ddf).table()[column] for m in (a, b))
            assert_allclose(x, y, rtol=2e-5, atol=1e-9)
        for column in ("statistic", "den_df"):
            assert_allclose(a.joint_tests(ddf=ddf)[column], b.joint_tests(ddf=ddf)[column], rtol=2e-5)


def test_contrasts_on_the_response_scale_are_exponentials_of_those_on_the_link_scale() -> None:
    m = fit("logit")
    link, response = m.contrast("livch").table(), m.contrast("livch", type="response").table()
    means = m.emmeans("livch", type="response").table()["prob"].to_numpy()
    for column in ("lower", "upper"):
        assert_allclose(np.log(response[column]), link[column])
    assert_allclose(np.log(response["odds_ratio"]), link["estimate"])
    assert_allclose(response["std_error"], response["odds_ratio"] * link["std_error"])
    assert_allclose(response["p_value"], link["p_value"])
    odds = means / (1.0 - means)
    assert_allclose(response["odds_ratio"].iloc[0], odds[0] / odds[1])


@pytest.mark.parametrize("adjust", ["none", "tukey", "sidak", "bonferroni", "scheffe", "mvt", "holm", "fdr"])
@pytest.mark.parametrize("name", ["cake", "alfalfa", "unbalanced_slope", "glmer_cbpp", "cake_holes"])
def test_p_is_below_alpha_exactly_where_the_interval_excludes_zero(name: str, adjust: str) -> None:
    what = {"cake": "temperature", "alfalfa": "Date", "unbalanced_slope": "f", "glmer_cbpp": "period"}.get(
        name, "temperature"
    )
    for level in (0.5, 0.9, 0.99):
        found = fit(name).contrast(what, adjust=adjust, level=level).table()
        there = ~np.isnan(found["std_error"].to_numpy())
        excluded = ((found["lower"] > 0) | (found["upper"] < 0)).to_numpy()[there]
        small = (found["p_value"] < 1.0 - level).to_numpy()[there]
        if adjust in ("holm", "fdr"):  # by steps: they find more than their simultaneous intervals
            assert np.all(small[excluded])
        else:
            assert np.array_equal(small, excluded)


def test_the_order_of_adjustments() -> None:
    p = {
        a: fit("oats").contrast("nitro", adjust=a).table()["p_value"].to_numpy()
        for a in ("none", "fdr", "holm", "tukey", "mvt", "sidak", "bonferroni", "scheffe")
    }
    for less, more in itertools.pairwise(["none", "fdr", "holm"]):
        assert np.all(p[less] <= p[more] + 1e-12)
    for less, more in itertools.pairwise(["none", "mvt", "sidak", "bonferroni"]):
        assert np.all(p[less] <= p[more] + 5e-4)
    assert np.all(p["tukey"] <= p["scheffe"])
    assert_allclose(p["mvt"], p["tukey"], atol=5e-4)  # a balanced design: the same distribution


def test_many_means_are_adjusted_exactly_enough_and_the_same_every_time() -> None:
    rng = np.random.default_rng(5)
    data = {"y": rng.normal(size=120), "f": [f"l{i % 12:02d}" for i in range(120)]}
    m = mw.lm("y ~ f", data)
    tukey, mvt = (np.asarray(m.contrast("f", adjust=a).table()["p_value"]) for a in ("tukey", "mvt"))
    assert np.abs(tukey - mvt).max() < 1e-3
    assert np.array_equal(mvt, m.contrast("f", adjust="mvt").table()["p_value"])


def test_the_studentized_range_is_that_of_scipy() -> None:
    from scipy.stats import studentized_range

    from mixwell.marginal.studentized_range import range_quantile, range_tail

    for q, k, df in [(3.5, 3, 10.5), (5.0, 2, 1.0), (4.2, 12, 3.3), (9.0, 5, 1e4), (3.3, 4, math.inf)]:
        assert_allclose(range_tail(q, k, df), studentized_range.sf(q, k, df), atol=2e-10)
        assert_allclose(range_tail(range_quantile(0.95, k, df), k, df), 0.05, atol=1e-11)


# --- estimability ----------------------------------------------------------------------------------------


def test_what_an_empty_cell_leaves_undetermined_is_nan_and_said() -> None:
    means = fit("lm_empty_cell").emmeans("recipe")
    assert means.estimable.tolist() == [True, True, False]
    assert "not estimable" in str(means)
    found = means.contrast("pairwise")
    assert np.isnan(found.table()["estimate"]).tolist() == [False, True, True]
    assert np.isnan(found.table()["p_value"]).tolist() == [False, True, True]
    assert "not estimable" in str(found)
    assert fit("lm_empty_cell").emmeans("recipe").cld()["letters"].tolist() == ["a", "a", ""]
    assert fit("lm_empty_cell").emmeans("recipe", weights="flat").estimable.all()


def test_a_contrast_may_be_estimable_although_its_means_are_not() -> None:
    rng = np.random.default_rng(1)
    # Two blocks of treatments that share no plot: only differences within a block of them are determined.
    data = {"y": rng.normal(size=40), "a": ["p", "q"] * 10 + ["r", "s"] * 10, "b": ["u"] * 20 + ["v"] * 20}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "MW-")
        m = mw.lm("y ~ a + b", data)
    means = m.emmeans("a")
    assert not means.estimable.any()
    found = means.contrast("pairwise", adjust="none").columns()
    known = [name in ("p - q", "r - s") for name in found["contrast"]]
    assert np.array_equal(~np.isnan(found["estimate"]), known)
    y = np.array(data["y"]).reshape(20, 2)
    differences = [(y[:10, 0] - y[:10, 1]).mean(), (y[10:, 0] - y[10:, 1]).mean()]
    assert_allclose(found["estimate"][known], differences)


def test_estimability_is_that_of_the_row_space() -> None:
    rng = np.random.default_rng(8)
    for seed in range(25):
        data = pd.DataFrame({name: rng.choice(list("abc"), 9) for name in ("f", "g")})
        data["y"] = rng.normal(size=9)
        if data["f"].nunique() < 2 or data["g"].nunique() < 2:
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "MW-")
            m = mw.lm("y ~ f * g", pd.concat([data, data], ignore_index=True))
        f, g = sorted(data["f"].unique()), sorted(data["g"].unique())
        cells = {(a, b) for a, b in zip(data["f"], data["g"], strict=True)}
        means = m.emmeans(["f", "g"])
        labels = list(zip(means.labels["f"], means.labels["g"], strict=True))
        assert [label in cells for label in labels] == means.estimable.tolist(), seed
        full = [all((a, b) in cells for b in g) for a in f]
        assert m.emmeans("f").estimable.tolist() == full, seed
        values = m.emmeans(["f", "g"]).table()
        for label, value in zip(labels, values["emmean"], strict=True):
            if label in cells:
                own = data[(data["f"] == label[0]) & (data["g"] == label[1])]["y"].mean()
                assert_allclose(value, own)
            else:
                assert math.isnan(value)


@pytest.mark.parametrize(
    ("family", "response"), [("binomial", "hit"), ("poisson", "count"), ("cumulative", "grade"), (None, "y")]
)
@pytest.mark.parametrize("random", ["", " + (1 | s)"])
def test_an_empty_cell_is_found_in_every_class(family: str | None, response: str, random: str) -> None:
    rng = np.random.default_rng(4)
    n = 400
    data = pd.DataFrame(
        {"f": rng.choice(list("abc"), n), "g": rng.choice(list("uv"), n), "s": rng.integers(20, size=n)}
    )
    data["hit"], data["count"] = rng.integers(2, size=n), rng.poisson(2.0, n)
    data["grade"], data["y"] = pd.Categorical(rng.integers(3, size=n), ordered=True), rng.normal(size=n)
    data = data[~((data["f"] == "c") & (data["g"] == "v"))]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "MW-")
        m = mw.fit(f"{response} ~ f * g{random}", data, **({} if family is None else {"family": family}))
    assert m.emmeans("f").estimable.tolist() == [True, True, False]
    assert m.emmeans(["f", "g"]).estimable.tolist() == [True] * 5 + [False]
    found = m.contrast("f", by="g", adjust="none").columns()
    assert np.isnan(found["estimate"]).tolist() == [False, False, False, False, True, True]
    # The same as a model of the cells that are there.
    data["cell"] = data["f"] + data["g"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "MW-")
        cells = mw.fit(f"{response} ~ cell{random}", data, **({} if family is None else {"family": family}))
    there = (
        cells.emmeans("cell").contrast({"au - bu": [1, 0, -1, 0, 0], "av - bv": [0, 1, 0, -1, 0]}).columns()
    )
    for column in ("estimate", "std_error"):
        assert_allclose(found[column][[0, 3]], there[column], rtol=1e-4)
    joint = m.joint_tests()
    assert joint["num_df"].tolist() == [1, 0, 1]
    assert np.isnan(joint["p_value"]).tolist() == [False, True, False]


# --- letters, equivalence --------------------------------------------------------------------------------


def test_two_means_share_no_letter_exactly_where_they_differ() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        k = int(rng.integers(2, 8))
        far = np.triu(rng.random((k, k)) < rng.random(), 1)
        far = far | far.T
        shown = letters(far, rng.permutation(k))
        for i, j in itertools.combinations(range(k), 2):
            assert far[i, j] == (not set(shown[i]) & set(shown[j]))
        assert all(shown)


@pytest.mark.parametrize("adjust", ["tukey", "holm", "none"])
def test_letters_of_means_are_those_of_their_comparisons(adjust: str) -> None:
    means = fit("cake").emmeans("temperature")
    shown = means.cld(adjust=adjust)["letters"].tolist()
    p = means.contrast("pairwise", adjust=adjust).table()["p_value"]
    for (i, j), value in zip(itertools.combinations(range(len(shown)), 2), p, strict=True):
        assert (value < 0.05) == (not set(shown[i]) & set(shown[j]))


def test_equivalence_is_an_interval_within_the_limits() -> None:
    contrasts = fit("cake").contrast("temperature", adjust="none", level=0.9)
    limits = contrasts.table()
    for delta in (1.0, 3.0, 6.0):
        inside = (limits["lower"] > -delta) & (limits["upper"] < delta)
        assert np.array_equal(contrasts.equivalence(delta)["p_value"] < 0.05, inside)
        above = contrasts.equivalence(delta, side="lower")["p_value"] < 0.05
        assert np.array_equal(above, limits["lower"] > -delta)
        assert np.all(
            contrasts.equivalence(delta, adjust="holm")["p_value"] >= contrasts.equivalence(delta)["p_value"]
        )


# --- scales ----------------------------------------------------------------------------------------------


def test_ordinal_means_are_latent_and_say_so() -> None:
    m = fit("ordinal")
    means = m.emmeans("temp")
    assert "Latent scale" in str(means)
    assert_allclose(np.diff(means.table()["emmean"]), -m.contrast("temp").table()["estimate"])
    with pytest.raises(MixwellError, match="MW-A116"):
        m.emmeans("temp", type="response")


def test_models_with_extra_zeros_say_of_which_part_means_are() -> None:
    assert "conditional part" in str(fit("zip").emmeans("mined", type="response"))
    assert "conditional part" in str(fit("zip").contrast("mined"))
    assert "conditional part" not in str(fit("nbinom2").emmeans("mined"))


def test_differences_that_stay_on_the_scale_of_the_link_say_so() -> None:
    assert "probit" in str(fit("probit").contrast("livch", type="response"))
    assert "probit" not in str(fit("lm_one").contrast("recipe", type="response"))


def test_the_bias_adjustment_is_the_second_order_of_the_mean() -> None:
    m = fit("glmer_poisson")
    plain = m.emmeans("f", type="response").table()["rate"]
    for sigma in (0.0, 0.1):
        adjusted = m.emmeans("f", type="response", bias_adjust=True, sigma=sigma).table()["rate"]
        assert_allclose(adjusted, plain * (1.0 + 0.5 * sigma**2))
    own = m.emmeans("f", type="response", bias_adjust=True)
    codes, x = m.design.random[0].codes, m.design.random[0].columns[1]
    first, second = (term.matrix for term in m.varcorr().terms)
    z = np.column_stack([np.ones(len(codes)), x])
    assert_allclose(own.sd**2, np.einsum("ni,ij,nj->n", z, first, z).mean() + second[0, 0])


def test_a_response_without_a_known_inverse_is_refused() -> None:
    data = {**mw.data.load("sleepstudy", "dict")}
    for response in ("exp(Reaction / 100)", "log(Reaction + 1)", "log(Reaction, base=3)"):
        m = mw.lm(f"{response} ~ Days", data)
        m.emmeans("Days")
        with pytest.raises(MixwellError, match="MW-A118"):
            m.emmeans("Days", type="response")
    m = mw.lm("log1p(Reaction) ~ Days", data)
    link, response = m.emmeans("Days").table(), m.emmeans("Days", type="response").table()
    assert_allclose(response["response"], np.expm1(link["emmean"]))
    assert "estimate" in m.contrast("Days", at={"Days": [0, 9]}, type="response").columns()


@pytest.mark.parametrize(("link", "lower", "upper"), [("sqrt", 0.0, None), ("inverse", None, math.inf)])
def test_limits_beyond_the_range_of_a_link_are_those_of_its_end(link: str, lower: Any, upper: Any) -> None:
    rng = np.random.default_rng(0)
    data = {"y": rng.gamma(1.0, 2.0, 8), "n": rng.poisson(0.3, 8), "f": ["a", "b"] * 4}
    family, response = ("poisson", "n") if link == "sqrt" else ("gamma", "y")
    m = mw.glm(f"{response} ~ f", data, family=family, link=link)
    table = m.emmeans("f", type="response", level=0.9999).table()
    value = next(np.asarray(table[name]) for name in ("rate", "response") if name in table)
    assert np.all((table["lower"] <= value) & (value <= table["upper"]))
    if lower is not None:
        assert np.asarray(table["lower"]).min() == lower
    if upper is not None:
        assert np.asarray(table["upper"]).max() == upper


def test_an_offset_is_at_its_mean_or_where_it_is_set() -> None:
    m, exposure = fit("poisson_offset"), table("glmm")["exposure"]
    usual, one = (m.emmeans("f", at=at).table()["emmean"] for at in (None, {"exposure": 1.0}))
    assert_allclose(usual - one, np.log(exposure).mean())


# --- questions -------------------------------------------------------------------------------------------


def test_texts_say_what_lists_say() -> None:
    m = fit("lm_unbalanced")
    pairs = [
        (m.emmeans("f * g"), m.emmeans(["f", "g"])),
        (m.emmeans("f | g"), m.emmeans("f", by="g")),
        (m.contrast("consec ~ f | g"), m.contrast("f", by="g", method="consec")),
        (m.emmeans("f").contrast("trt.vs.ctrl", ref="b"), m.emmeans("f").contrast("trt.vs.ctrl", ref=1)),
        (m.emmeans("f | g").contrast(by=[]), m.emmeans(["f", "g"]).contrast()),
    ]
    for text, listed in pairs:
        assert str(text) == str(listed)


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("MW-A115", lambda m: m.emmeans("h")),
        ("MW-A115", lambda m: m.emmeans("f").contrast(by="h")),
        ("MW-A115", lambda m: m.joint_tests(by="h")),
        ("MW-A119", lambda m: m.emmeans("f", at={"h": 1})),
        ("MW-A120", lambda m: m.emmeans("f", at={"g": "three"})),
        ("MW-A113", lambda m: m.contrast("f", method={"one": [1, -1]})),
        ("MW-A114", lambda m: m.contrast("f", method="trt.vs.ctrl", ref="z")),
        ("MW-A114", lambda m: m.contrast("f", method="trt.vs.ctrl", ref=3)),
        ("MW-A117", lambda m: m.contrast("f", method="eff", adjust="tukey")),
        ("MW-A117", lambda m: m.emmeans("f", adjust="tukey")),
        ("MW-A117", lambda m: m.contrast(["f", "g"], interaction="pairwise", adjust="tukey")),
        ("MW-A02", lambda m: m.contrast("f", method="pairs")),
        ("MW-A02", lambda m: m.contrast("f", adjust="dunnett")),
        ("MW-A02", lambda m: m.emmeans("f", weights="even")),
        ("MW-A02", lambda m: m.emmeans("f", ddf="exact")),
        ("MW-A07", lambda m: m.emmeans("f", by="f")),
        ("MW-A07", lambda m: m.emmeans("pairwise ~ f")),
        ("MW-A07", lambda m: m.emmeans("f", bias_adjust=True)),
        ("MW-A07", lambda m: m.emmeans("f", sigma=1.0)),
        ("MW-A07", lambda m: m.contrast(["f", "g"], interaction=["consec"])),
        ("MW-A07", lambda m: m.contrast("f").equivalence(-1)),
        ("MW-A07", lambda m: m.emmeans("f").cld(alpha=0)),
        ("MW-A49", lambda m: m.emmeans("f", level=95)),
        ("MW-A49", lambda m: m.emmeans("f").contrast(level=1.0)),
        ("MW-A01", lambda m: m.emmeans("f", wieghts="cells")),
    ],
)
def test_refusals(code: str, call: Any) -> None:
    with pytest.raises(MixwellError, match=code):
        m = fit("lm_unbalanced")
        str(call(m))


def test_degrees_of_freedom_that_a_generalised_model_does_not_have_are_refused() -> None:
    for name in ("logit", "glmer_cbpp"):
        with pytest.raises(MixwellError, match="MW-A02"):
            fit(name).emmeans(["urban"] if name == "logit" else "period", ddf="kenward-roger").table()
    with pytest.raises(MixwellError, match="MW-A20"):
        fit("orthodont_ml").emmeans("Sex", ddf="kenward-roger").table()


@pytest.mark.parametrize("backend", ["pandas", "polars", "dict"])
def test_tables_come_in_the_library_of_the_data(backend: str) -> None:
    m = mw.lm("angle ~ recipe", cake(backend))
    for found in (
        m.emmeans("recipe").table(),
        m.contrast("recipe").table(),
        m.joint_tests(),
        m.emmeans("recipe").cld(),
    ):
        assert type(found) is type(cake(backend))
    assert "<table" in m.emmeans("recipe")._repr_html_()
    assert "<table" in m.contrast("recipe")._repr_html_()


# --- what is zero whatever the data, and names that collide ------------------------------------------------


@pytest.mark.parametrize("ddf", [None, "satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("coding", ["treatment", "sum", "helmert"])
def test_a_contrast_that_is_zero_whatever_the_coefficients_has_no_test(ddf: str | None, coding: str) -> None:
    """Without interactions their contrasts are exactly zero, not rounding over rounding."""
    data, options = table("unbalanced"), {"contrasts": {"f": coding, "g": coding}}
    m = (
        mw.lm("y ~ f + g + x", data, **options)
        if ddf is None
        else mw.fit("y ~ f + g + x + (1 | subject)", data, **options)
    )
    for kinds in (["eff", "eff"], ["revpairwise", "poly"], ["del.eff", "mean_chg"]):
        found = m.contrast(["f", "g"], interaction=kinds, ddf=ddf).table()
        for column in ("estimate", "std_error", "lower", "upper"):
            assert (found[column] == 0.0).all(), (kinds, column)
        assert found["p_value"].isna().all()
    for found in (
        m.emtrends("x", by="f", ddf=ddf).hypothesis("pairwise", adjust="tukey").table(),
        m.explore("f[a - b]:g[one - two]", ddf=ddf).table(),
        m.explore("x:f[a - b]", ddf=ddf).table(),
    ):
        for column in ("estimate", "std_error", "lower", "upper"):
            assert_allclose(found[column], 0.0, atol=1e-12)
        assert found["p_value"].isna().all()
    rest = m.contrast(["f", "g"], method="poly", adjust="none", ddf=ddf).table()
    assert np.isfinite(rest["p_value"]).any()  # others of the family are tested


@pytest.mark.parametrize("weights", ["equal", "proportional", "outer", "cells", "flat"])
def test_weights_do_not_matter_where_nothing_is_averaged(weights: str) -> None:
    """A cell without data has a mean by an additive fit, and no weight to lose."""
    m = mw.lm("angle ~ recipe + temperature", table("cake_holes"))
    a, b = (m.emmeans(["recipe", "temperature"], weights=w).table() for w in ("equal", weights))
    for column in ("emmean", "std_error", "df", "lower", "upper"):
        assert_allclose(a[column], b[column], rtol=1e-13)
    # Averaged over, cells without any data have none.
    small = {"y": [1.0, 2, 4, 3, 6, 5], "f": list("aabbab"), "g": list("uvuvuv"), "h": list("pppppq")}
    means = mw.lm("y ~ f + g + h", small).emmeans(["f", "h"], weights="cells").table()
    lost = [f == "a" and h == "q" for f, h in zip(means["f"], means["h"], strict=True)]
    assert np.isnan(means["emmean"]).tolist() == np.isnan(means["std_error"]).tolist() == lost


def test_means_whose_levels_read_the_same_keep_their_contrasts() -> None:
    rng = np.random.default_rng(5)
    data = {"f": ["a", "a b"] * 20, "g": ["c"] * 20 + ["b c"] * 20, "y": rng.normal(size=40).tolist()}
    m = mw.lm("y ~ f * g", data)
    for method, count in (("eff", 4), ("del.eff", 4), ("pairwise", 6), ("trt.vs.ctrl", 3), ("consec", 3)):
        found = m.contrast(["f", "g"], method=method).table()
        assert len(found["contrast"]) == len(set(found["contrast"])) == count, method
    assert "'a b' 'c' effect" in m.contrast(["f", "g"], method="eff").table()["contrast"]
