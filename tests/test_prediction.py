"""Intervals of predictions: against the mixed-model equations, R, exact cases, and by simulation.

predict.json comes from reference/predict.R. Least squares agrees to rounding (1e-9 relative); lme4 and
lmerTest to what R's optimisers leave (1e-6 relative, variances 1e-5).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import block_diag
from scipy.stats import t as student

import mixwell as mw
from mixwell import MixwellError, MixwellWarning

STORED = json.loads((Path(__file__).parent / "reference" / "predict.json").read_text())
SLOPES = "Reaction ~ Days + (Days | Subject)"
MODELS = {
    "one factor": "y ~ x + (x | g)",
    "several terms of a factor": "y ~ x + (x | g) + (0 + z | g)",
    "crossed": "y ~ x * z + (x | g) + (1 | h)",
    "nested": "y ~ x + (1 | h/g)",
    "structures": "y ~ x + cs(1 + x | g) + diag(1 + z | h)",
    "none": "y ~ x + z",
}


@cache
def sleep() -> Any:
    return mw.data.load("sleepstudy", "dict")


@cache
def sleep_fit(formula: str = SLOPES) -> mw.FittedModel:
    return mw.lmer(formula, sleep())


@cache
def table() -> dict[str, Any]:
    rng = np.random.default_rng(20)
    n = 160
    g, h = rng.integers(0, 9, n), rng.integers(0, 6, n)
    x, z, w = rng.normal(size=n), rng.normal(size=n), rng.uniform(0.5, 2, n)
    y = 1 + x + rng.normal(size=9)[g] * (1 + 0.6 * x) + 0.7 * rng.normal(size=9)[g] * (x + z)
    y += rng.normal(size=6)[h] * (1 + z) + rng.normal(size=n) / np.sqrt(w)
    return {"y": y, "x": x, "z": z, "g": g, "h": h, "w": w}


@cache
def fitted(name: str) -> mw.FittedModel:
    return mw.fit(MODELS[name], table(), weights="w")


@dataclass(frozen=True)
class Dense:
    """Covariance of the errors of (beta_hat, b_hat), and of those of b_hat with beta known.

    It is the inverse of Henderson's equations, computed from V so that Var(b) may be singular.
    """

    x: Any
    z: Any
    covariance: Any
    known_beta: Any

    @classmethod
    def of(cls, m: mw.FittedModel) -> Dense:
        x, z, s2 = m.model_matrix(), m.model_matrix("random").toarray(), m.sigma**2
        weights = np.ones(m.nobs) if m.design.weights is None else m.design.weights
        blocks = [
            np.kron(np.eye(len(term.levels)), factor @ factor.T)
            for term, factor in zip(m.design.random, m.lambdas, strict=True)
        ]
        prior = s2 * block_diag(*blocks) if blocks else np.empty((0, 0))
        inverse = np.linalg.inv(z @ prior @ z.T + s2 * np.diag(1 / weights))
        gain = prior @ z.T @ inverse
        known = prior - gain @ z @ prior
        absorbed = gain @ x
        phi = np.linalg.inv(x.T @ inverse @ x)
        joint = known + absorbed @ phi @ absorbed.T
        whole = np.block([[phi, -phi @ absorbed.T], [-absorbed @ phi, joint]])
        return cls(x, z, whole, known)


def quadratic(rows: Any, matrix: Any) -> Any:
    return np.einsum("ri,ij,rj->r", rows, matrix, rows)


# --- variances ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_variances_are_those_of_the_mixed_model_equations(name: str) -> None:
    m = fitted(name)
    dense = Dense.of(m)
    p, w = dense.x.shape[1], table()["w"]
    joint = quadratic(np.hstack([dense.x, dense.z]), dense.covariance)
    expected = {
        ("fixed", "random"): joint,
        ("fixed",): quadratic(dense.x, dense.covariance[:p, :p]),
        ("random",): quadratic(dense.z, dense.known_beta),
        ("residual",): m.sigma**2 / w,
        ("random", "residual"): quadratic(dense.z, dense.known_beta) + m.sigma**2 / w,
    }
    for sources, variance in expected.items():
        found = m.predict(se=True, include=sources)
        assert list(found) == ["fit", "se"]
        assert_allclose(found["se"] ** 2, variance, rtol=1e-9, atol=1e-12)
    for interval, variance in (("confidence", joint), ("prediction", joint + m.sigma**2 / w)):
        for newdata in (None, table()):  # the weights are a column of the new data as well
            found = m.predict(newdata, interval=interval)
            assert list(found) == ["fit", "se", "lower", "upper"]
            assert_allclose(found["se"] ** 2, variance, rtol=1e-9)
            assert_allclose(found["fit"], m.fitted())


def test_terms_left_out_are_averaged_over_or_new() -> None:
    m = fitted("crossed")
    dense = Dense.of(m)
    p, q_g = dense.x.shape[1], 18
    rows = np.hstack([dense.x, dense.z])
    rows[:, p + q_g :] = 0.0  # without (1 | h)
    joint = quadratic(rows, dense.covariance)
    of_h = m.varcorr()["h"].matrix[0, 0]
    for re in (["g"], ["(x | g)"], ("(1 + x|g)", "g")):
        found = m.predict(re=re, interval="confidence")
        assert_allclose(found["se"] ** 2, joint, rtol=1e-9)
        assert_allclose(m.predict(re=re), found["fit"])
        found = m.predict(re=re, interval="prediction")
        assert_allclose(found["se"] ** 2, joint + of_h + m.sigma**2 / table()["w"], rtol=1e-9)
    without_h = {name: values for name, values in table().items() if name != "h"}
    assert_allclose(m.predict(without_h, re=["g"], interval="prediction")["se"], found["se"])
    assert_allclose(m.predict(re=["g", "h"]), m.fitted())
    assert_allclose(m.predict(re=[]), m.predict(re="population"))


def test_population_intervals_are_of_the_mean_and_of_a_new_unit() -> None:
    m = fitted("one factor")
    dense = Dense.of(m)
    x, of_g = dense.x, m.varcorr()["g"].matrix
    fixed = quadratic(x, m.vcov())
    new = quadratic(x, of_g)  # its columns are those of X
    rows = {"x": table()["x"], "w": table()["w"]}
    confidence = m.predict(rows, re="population", interval="confidence")
    prediction = m.predict(rows, re="population", interval="prediction")
    assert_allclose(confidence["se"] ** 2, fixed)
    assert_allclose(prediction["se"] ** 2, fixed + new + m.sigma**2 / table()["w"])
    between = m.predict(rows, re="population", se=True, include=["new"])
    assert_allclose(between["se"] ** 2, new)


def test_new_levels_bring_the_variance_between_levels() -> None:
    m = fitted("one factor")
    rows = {"x": [0.3, 0.3, 0.3], "g": [2.0, 99.0, np.nan], "w": [1.0, 1.0, 1.0]}
    x = np.array([1.0, 0.3])
    of_new = x @ m.varcorr()["g"].matrix @ x
    for interval, unknown, extra in (
        ("confidence", "sample", of_new),
        ("confidence", "population", 0.0),
        ("prediction", "sample", of_new + m.sigma**2),
        ("prediction", "population", of_new + m.sigma**2),
    ):
        found = m.predict(rows, new_levels=unknown, interval=interval)
        assert_allclose(found["se"][1:] ** 2, x @ m.vcov() @ x + extra)
        assert_allclose(found["fit"][1:], m.predict({"x": [0.3]}, re="population")[0])
        alone = m.predict({name: values[:1] for name, values in rows.items()}, interval=interval)
        assert_allclose(alone["se"], found["se"][:1])
    with pytest.raises(MixwellError, match="MW-P10"):
        m.predict({"x": [0.3], "g": [99]}, interval="confidence")


def test_the_joint_covariance_of_a_level(name: str = "several terms of a factor") -> None:
    m = fitted(name)
    dense = Dense.of(m)
    joint, fixed = m.ranef_covariance("g"), m.ranef_covariance(fixed=True)
    known = m.ranef_covariance("g", joint=False)
    for level in range(9):
        own = [2 * level, 2 * level + 1, 18 + level]
        assert_allclose(known[level], dense.known_beta[np.ix_(own, own)], atol=1e-12)
        own = [0, 1, *(2 + j for j in own)]
        assert_allclose(fixed[level], dense.covariance[np.ix_(own, own)], atol=1e-12)
        assert_allclose(joint[level], fixed[level][2:, 2:], atol=1e-15)
    # ... from which the variance of any prediction of the level follows
    x, z = 0.7, -1.2
    row = np.array([1.0, x, 1.0, x, z])
    found = m.predict({"x": [x], "z": [z], "g": [4]}, interval="confidence")
    assert_allclose(found["se"][0] ** 2, row @ fixed[4] @ row, rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "none"])
def test_standard_deviations_of_random_effects(name: str) -> None:
    m = fitted(name)
    dense = Dense.of(m)
    p = dense.x.shape[1]
    assert_allclose(m.ranef()["condsd"] ** 2, np.diag(dense.known_beta), rtol=1e-9)
    assert_allclose(m.ranef(condvar="joint")["condsd"] ** 2, np.diag(dense.covariance)[p:], rtol=1e-9)
    assert "condsd" not in m.ranef(condvar=False)


# --- degrees of freedom ---------------------------------------------------------------------------------


def test_degrees_of_freedom_of_mean_squares() -> None:
    # Balanced one-way data: a variance is a sum of mean squares, c_a MSA + c_e MSE: Satterthwaite's own case.
    data = mw.data.load("dyestuff", "dict")
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", data)
    y = np.reshape(data["Yield"], (6, 5))
    assert list(data["Batch"][:5]) == ["A"] * 5
    msa = 5 * y.mean(axis=1).var(ddof=1)
    mse = y.var(axis=1, ddof=1).mean()
    for sources, c_a, c_e in (
        (["fixed"], 1 / 30, 0.0),
        (["fixed", "new"], 1 / 30 + 1 / 5, -1 / 5),
        (["fixed", "new", "residual"], 1 / 30 + 1 / 5, 1 - 1 / 5),
        (["residual"], 0.0, 1.0),
    ):
        variance = c_a * msa + c_e * mse
        df = variance**2 / ((c_a * msa) ** 2 / 5 + (c_e * mse) ** 2 / 24)
        found = m.predict({"dummy": [0]}, re="population", interval="prediction", include=sources)
        assert_allclose(found["se"][0] ** 2, variance, rtol=1e-7)
        half = (found["upper"] - found["lower"])[0] / 2
        assert_allclose(half / found["se"][0], student.ppf(0.975, df), rtol=1e-5)


def test_other_quantiles() -> None:
    m = sleep_fit()
    rows = {"Days": [5.0], "Subject": ["308"]}
    for ddf, quantile in (("normal", 1.6448536), ("residual", student.ppf(0.95, 178))):
        found = m.predict(rows, interval="confidence", level=0.9, ddf=ddf)
        assert_allclose((found["upper"] - found["lower"]) / found["se"], 2 * quantile, rtol=1e-6)
    wider = m.predict(rows, interval="prediction")
    narrow = m.predict(rows, interval="prediction", ddf="normal")
    assert_allclose(wider["se"], narrow["se"])
    assert wider["upper"][0] > narrow["upper"][0]
    with pytest.raises(MixwellError, match="MW-P19"):
        m.predict(rows, interval="confidence", ddf="kenward-roger")


def test_a_variance_barely_above_zero_does_not_blow_an_interval_up() -> None:
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(6), 5)
    data = {"y": rng.normal(size=30), "g": g}
    base = mw.lmer("y ~ 1 + (1 | g)", data)
    for _ in range(30):
        m = base.refit(rng.normal(size=30))
        found = m.predict({"g": [0, 77]}, new_levels="sample", interval="confidence")
        half = (found["upper"] - found["lower"]) / 2
        assert (half <= student.ppf(0.975, 2) * found["se"] * (1 + 1e-9)).all()
        assert (half >= 1.95 * found["se"]).all()


# --- R --------------------------------------------------------------------------------------------------


def test_lm_against_r() -> None:
    stored = STORED["lm"]
    new = {"wt": [1.5, 3.2, 5.0], "cyl": ["4", "6", "8"], "w": [1.0, 2.0, 0.5]}
    data = {name: np.array(values) for name, values in stored["data"].items()}
    plain = mw.lm("mpg ~ poly(wt, 2) + cyl", data)
    weighted = mw.lm("mpg ~ wt + cyl", data, weights="w")
    found = {
        "confidence": plain.predict(new, interval="confidence", level=0.9),
        "prediction": plain.predict(new, interval="prediction"),
        "weighted_confidence": weighted.predict(new, interval="confidence"),
        "weighted_prediction": weighted.predict(new, interval="prediction"),
    }
    for name, intervals in found.items():
        for column, values in stored[name].items():
            assert_allclose(intervals[column], values, rtol=1e-9, err_msg=f"{name} {column}")
    assert_allclose(plain.predict(new, se=True)["se"], stored["se"], rtol=1e-9)
    for ddf in ("satterthwaite", "kenward-roger", "residual"):
        assert_allclose(
            plain.predict(new, interval="prediction", ddf=ddf)["upper"], stored["prediction"]["upper"]
        )


def test_points_against_lme4() -> None:
    stored = STORED["points"]
    days = {"Days": [0, 4.5, 9, 9], "Subject": ["308", "335", "372", "new"]}
    plates = {"plate": ["a", "b", "x"], "sample": ["F", "A", "B"]}
    split = sleep_fit("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)")
    crossed = mw.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mw.data.load("penicillin", "dict"))
    cases: list[tuple[mw.FittedModel, Any, Any, Any]] = [
        (sleep_fit(), days, "conditional", stored["sleep"]["all"]),
        (sleep_fit(), days, "population", stored["sleep"]["none"]),
        (split, days, ["Subject"], stored["split"]["all"]),
        (split, days, ["(1 | Subject)"], stored["split"]["intercept"]),
        (split, days, ["(0 + Days | Subject)"], stored["split"]["slope"]),
        (crossed, plates, "conditional", stored["crossed"]["all"]),
        (crossed, plates, ["plate"], stored["crossed"]["plate"]),
        (crossed, plates, ["(1|sample)"], stored["crossed"]["sample"]),
    ]
    for m, rows, re, values in cases:
        assert_allclose(m.predict(rows, re=re, new_levels="population"), values, rtol=1e-6)
        assert_allclose(m.predict(rows, re=re, new_levels="sample"), values, rtol=1e-6)
    condvar = STORED["condvar"]
    assert_allclose(sleep_fit().ranef_covariance(joint=False), condvar["sleep"], rtol=1e-5)
    for group in ("plate", "sample"):
        ours = crossed.ranef_covariance(group, joint=False)
        assert_allclose(ours.ravel(), np.ravel(condvar[group]), rtol=1e-5)


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
def test_population_means_against_lmertest(ddf: Any) -> None:
    stored = STORED["population"][ddf.replace("-", "_")]
    found = sleep_fit().predict({"Days": [0, 4.5, 9]}, re="population", interval="confidence", ddf=ddf)
    for column, values in stored.items():
        assert_allclose(found[column], values, rtol=1e-6)


# --- rows that cannot be predicted ----------------------------------------------------------------------


def test_missing_predictors_give_nan_in_every_column() -> None:
    rows = {"Days": [np.nan, 1.0], "Subject": ["308", "308"]}
    for interval in ("confidence", "prediction"):
        for re in ("conditional", "population", ["Subject"]):
            found = sleep_fit().predict(rows, re=re, interval=interval)
            for values in found.values():
                assert np.isnan(values).tolist() == [True, False]
            kept = sleep_fit().predict({"Days": [1.0], "Subject": ["308"]}, re=re, interval=interval)
            assert_allclose(found["upper"][1:], kept["upper"])


def test_rows_that_need_a_dropped_coefficient_are_nan_with_a_warning() -> None:
    rng = np.random.default_rng(0)
    n = 60
    x, g = rng.normal(size=n) * 1e3, np.arange(n) % 6
    data = {"y": rng.normal(size=n), "x": x, "twice": 2 * x + 3, "g": g}
    with pytest.warns(MixwellWarning, match="MW-C02"):
        m = mw.lmer("y ~ x + twice + (1 | g)", data)
    assert_allclose(m.predict(data), m.fitted())
    rows = {"x": [1.0, 1.0, np.nan], "twice": [5.0, 5.1, 1.0], "g": [0, 0, 0]}
    with pytest.warns(MixwellWarning, match=r"MW-P13  1 of 3 rows .*row 1[\s\S]*'twice'") as caught:
        found = m.predict(rows, interval="prediction")
    assert caught[0].filename == __file__
    assert np.isnan(found["fit"]).tolist() == [False, True, True]
    assert np.isnan(found["upper"]).tolist() == [False, True, True]


def test_empty_cells_cannot_be_predicted() -> None:
    a, b = np.array(["p", "q", "r"])[np.arange(40) % 3], np.array(["s", "t"])[np.arange(40) // 20]
    keep = (a != "r") | (b != "t")
    data = {"y": np.sin(np.arange(40.0))[keep], "a": a[keep], "b": b[keep]}
    with pytest.warns(MixwellWarning, match="MW-C02"):
        m = mw.lm("y ~ a * b", data)
    cells = {"a": ["p", "q", "r", "p", "q", "r"], "b": ["s", "s", "s", "t", "t", "t"]}
    with pytest.warns(MixwellWarning, match=r"MW-P13  1 of 6 .*row 5[\s\S]*'ar:bt'"):
        found = m.predict(cells)
    means = [
        data["y"][(data["a"] == i) & (data["b"] == j)].mean() for i, j in zip("pqrpq", "ssstt", strict=True)
    ]
    assert_allclose(found[:5], means)
    assert np.isnan(found[5])


# --- options, tables, weights ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"re": ["Subjct"]}, "MW-P14"),
        ({"re": ["(0 + Days | Subject)"]}, "MW-P14"),
        ({"re": ["(1 | "]}, "MW-P14"),
        ({"re": [3]}, "MW-P14"),
        ({"re": "(1 + Days | Subject)"}, "MW-A02"),
        ({"re": None}, "MW-A02"),
        ({"new_levels": "skip"}, "MW-A02"),
        ({"interval": "credible"}, "MW-A02"),
        ({"interval": "confidence", "include": ["residuals"]}, "MW-A02"),
        ({"interval": "confidence", "include": []}, "MW-A07"),
        ({"interval": "confidence", "include": 3}, "MW-A07"),
        ({"interval": "confidence", "level": 95}, "MW-A49"),
        ({"interval": "confidence", "ddf": "kr"}, "MW-A02"),
        ({"include": ["fixed"]}, "MW-P18"),
        ({"se": True, "ddf": "normal"}, "MW-P18"),
        ({"intervall": "confidence"}, "MW-A01"),
    ],
)
def test_options_are_checked(options: dict[str, Any], code: str) -> None:
    with pytest.raises(MixwellError) as caught:
        sleep_fit().predict(**options)
    assert caught.value.code == code
    assert "Subject" in str(caught.value) or code != "MW-P14"


def test_one_source_may_be_named_alone() -> None:
    one = sleep_fit().predict(se=True, include="random")
    assert_array_equal(one["se"], sleep_fit().predict(se=True, include={"random"})["se"])


def test_options_of_random_effects_are_checked() -> None:
    with pytest.raises(MixwellError, match="MW-P15"):
        sleep_fit().ranef_covariance(joint=False, fixed=True)
    with pytest.raises(MixwellError, match="MW-A16"):
        sleep_fit().ranef_covariance("Item")
    with pytest.raises(MixwellError, match="MW-A16"):
        fitted("crossed").ranef_covariance()
    with pytest.raises(MixwellError, match=r"MW-A07 .*'joint'"):
        sleep_fit().ranef(condvar="both")


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_intervals_come_in_the_library_of_the_data(library: Any) -> None:
    data = mw.data.load("sleepstudy", library)
    found = mw.lmer(SLOPES, data).predict(data, interval="confidence")
    assert type(found) is type(data)
    upper = sleep_fit().predict(interval="confidence")["upper"]
    assert_allclose(np.asarray(found["upper"]), upper, rtol=1e-9)


def test_weights_of_new_rows() -> None:
    m, rows = fitted("one factor"), {"x": [0.0, 0.0], "g": [1, 1]}
    with pytest.warns(MixwellWarning, match="MW-P17") as caught:
        unit = m.predict(rows, interval="prediction")
    assert caught[0].filename == __file__
    m.predict(rows, interval="confidence")  # needs none
    both = m.predict(rows | {"w": [1.0, 4.0]}, interval="prediction")
    mean = m.predict(rows, interval="confidence")["se"][0] ** 2
    assert_allclose(unit["se"] ** 2, mean + m.sigma**2)
    assert_allclose(both["se"] ** 2, mean + m.sigma**2 / np.array([1.0, 4.0]))
    missing = m.predict(rows | {"w": [1.0, np.nan]}, interval="prediction")
    assert np.isnan(missing["se"]).tolist() == [False, True]
    assert np.isfinite(missing["fit"]).all()
    with pytest.raises(MixwellError, match=r"MW-P16 .*row 1"):
        m.predict(rows | {"w": [1.0, 0.0]}, interval="prediction")


def test_offsets_shift_intervals() -> None:
    data = sleep() | {"o": np.arange(180.0)}
    m = mw.lmer("Reaction ~ Days + offset(o) + (Days | Subject)", data)
    found = m.predict(data, interval="prediction")
    assert_allclose(found["fit"], m.fitted())
    assert_allclose(found["upper"] - found["fit"], found["fit"] - found["lower"])


def test_singular_fits_have_intervals() -> None:
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    assert m.theta[0] == 0
    plain = mw.lm("Yield ~ 1", mw.data.load("dyestuff2", "dict"))
    for interval in ("confidence", "prediction"):
        ours, theirs = m.predict(interval=interval), plain.predict(interval=interval)
        for column in ours:
            assert_allclose(ours[column], theirs[column], rtol=1e-6)
        new = m.predict({"Batch": ["Z"]}, new_levels="sample", interval=interval)
        assert_allclose(new["upper"], theirs["upper"][:1], rtol=1e-6)


# --- coverage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("levels", "slope"), [(25, 0.0), (25, 0.6)])
def test_intervals_cover(levels: int, slope: float) -> None:
    # 1000 data sets: the Monte-Carlo standard error of 0.95 is 0.007, and the bounds are four of them away.
    rng = np.random.default_rng(7)
    g, x = np.repeat(np.arange(levels), 5), np.tile(np.linspace(0, 1, 5), levels)
    formula = "y ~ x + (x | g)" if slope else "y ~ x + (1 | g)"
    base = mw.lmer(formula, {"y": rng.normal(size=g.size), "x": x, "g": g})
    at = np.array([0.5, 1.0])
    rows = {"x": np.tile(at, 2), "g": [0, 1, 998, 999]}
    hits = []
    for _ in range(1000):
        b = rng.normal(size=(levels + 2, 2)) * [1.0, slope]
        m = base.refit(1 + 2 * x + b[g, 0] + b[g, 1] * x + rng.normal(size=g.size))
        own = b[[0, 1, levels, levels + 1]]
        mean = 1 + 2 * rows["x"] + own[:, 0] + own[:, 1] * rows["x"]
        truths = [
            (m.predict(rows, new_levels="sample", interval="confidence"), mean),
            (m.predict(rows, new_levels="sample", interval="prediction"), mean + rng.normal(size=4)),
            (m.predict({"x": at}, re="population", interval="confidence"), 1 + 2 * at),
            (m.predict({"x": at}, re="population", interval="prediction"), mean[2:] + rng.normal(size=2)),
        ]
        hits.append(np.concatenate([(found["lower"] <= v) & (v <= found["upper"]) for found, v in truths]))
    coverage = np.mean(hits, axis=0)
    assert ((coverage > 0.92) & (coverage < 0.98)).all(), coverage.round(3)


@pytest.mark.filterwarnings("ignore:MW-C02")
@pytest.mark.parametrize("level", [0.0, 1e3, 1e6, 1e9])
def test_what_cannot_be_estimated_is_found_far_from_zero(level: float) -> None:
    """x2 is a combination of x in the fitted rows; how far the numbers are from zero does not matter."""
    rng = np.random.default_rng(0)
    x, g = level + rng.normal(size=60), np.repeat(np.arange(10), 6).astype(str)
    y = x - level + rng.normal(size=60)
    data = {"y": y, "x": x, "x2": 2.0 * (x - level) + level, "g": g}
    m = mw.lmer("y ~ x + x2 + (1 | g)", data)
    combined = "(Intercept), x" if level else "x"
    assert m.notes[0].text.endswith(f"'x2' is a combination of {combined}.")
    rows = {"x": level + np.array([1.0, 2.0, 50.0]), "x2": level + np.array([2.0, 5.0, 100.0])}
    with pytest.warns(mw.MixwellWarning, match="MW-P13"):
        found = m.predict(rows, re="population")
    assert np.isnan(found).tolist() == [False, True, False]
    alone = mw.lmer("y ~ x + (1 | g)", data).predict(rows, re="population")
    assert found[[0, 2]] == pytest.approx(alone[[0, 2]], abs=1e-5)
    assert np.isnan(m.contrast("x", at={"x": [level, level + 1.0]}).table()["estimate"]).all()
    assert np.isnan(m.comparisons("x", average=True).estimate).all()
