"""Data on which mixed-model software goes wrong, one test each, by the number in docs/hard-cases.md.

Numbers are here; refusals and remarks (B16 to B33, B35, B43, B44) are in test_hard_inputs.py.

Base model: `Reaction ~ Days + (Days | Subject)` on sleepstudy, REML log-likelihood -871.814136, sigma
25.591816. Rescaling a column by c moves a REML log-likelihood by -log c for its fixed effect: scale is not
a matter of fit, but of the units of the restricted likelihood.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mixwell as mw
from mixwell import MixwellError, MixwellWarning

LOGLIK, SIGMA = -871.814136, 25.591816
FORMULA = "Reaction ~ x + (x | Subject)"


@pytest.fixture
def sleep() -> dict[str, Any]:
    """Sleepstudy as arrays, with x for Days."""
    table = {name: np.asarray(values) for name, values in mw.data.load("sleepstudy", "dict").items()}
    table["x"] = table["Days"].astype(float)
    return table


def refused(code: str, formula: str, data: Any, **options: Any) -> str:
    """Message of the refusal, which must have this code."""
    with pytest.raises(MixwellError) as caught:
        mw.fit(formula, data, **options)
    assert caught.value.code == code
    return str(caught.value)


def codes(fit: Any) -> list[str]:
    """Codes of the notes of a fit."""
    return [note.code for note in fit.notes]


def test_b01_zero_variance() -> None:
    """The variance is exactly zero, said in words, and the fit is proved."""
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2"))
    assert m.theta[0] == 0.0
    certificate = m.certificate()
    assert certificate.passed
    assert certificate.proved_boundary
    text = str(m)
    assert "The variance of 'Batch' is estimated as zero" in text
    assert "(1 | Batch) adds nothing" in text


def check_rescaled(sleep: dict[str, Any], x: np.ndarray, scale: float) -> Any:
    """The same fit as on a sane scale, slopes in the units of the column; nothing to remark."""
    m = mw.lmer(FORMULA, {**sleep, "x": x})
    assert m.loglik == pytest.approx(LOGLIK - math.log(scale), abs=1e-6)
    assert m.sigma == pytest.approx(SIGMA, rel=1e-6)
    assert m.fixef["x"] * scale == pytest.approx(10.467286, rel=1e-6)
    assert m.varcorr()["Subject"].sd["x"] * scale == pytest.approx(5.922138, rel=1e-5)
    assert m.certificate().passed
    assert not m.notes
    # The maximum-likelihood criterion does not depend on the units at all.
    assert m.update(method="ML").loglik == pytest.approx(-875.969672, abs=1e-6)
    return m


def test_b02_uncentred_year(sleep: dict[str, Any]) -> None:
    """Years instead of days: the intercept is two thousand years away, the fit is the same."""
    m = check_rescaled(sleep, 2000 + sleep["x"], 1.0)
    assert m.fixef["(Intercept)"] == pytest.approx(251.405105 - 2000 * 10.467286, abs=2e-3)
    np.testing.assert_allclose(m.fitted(), mw.lmer(FORMULA, sleep).fitted(), rtol=1e-7)


def test_b03_large_predictor(sleep: dict[str, Any]) -> None:
    """Days times a million."""
    assert check_rescaled(sleep, 1e6 * sleep["x"], 1e6).loglik == pytest.approx(-885.630, abs=5e-4)


def test_b04_small_predictor(sleep: dict[str, Any]) -> None:
    """Days divided by a million."""
    assert check_rescaled(sleep, 1e-6 * sleep["x"], 1e-6).loglik == pytest.approx(-857.999, abs=5e-4)


def test_b05_unix_seconds(sleep: dict[str, Any]) -> None:
    """Seconds since 1970: a large number and a large unit together."""
    check_rescaled(sleep, 1.7e9 + 86_400 * sleep["x"], 86_400.0)


@pytest.mark.parametrize(("shift", "tolerance"), [(1e8, 1e-6), (1e10, 1e-6), (1e12, 5e-5)])
def test_b06_shifted_response(sleep: dict[str, Any], shift: float, tolerance: float) -> None:
    """Nothing but the intercept notices; at 1e12 the data themselves have lost digits (spacing 1.2e-4)."""
    shifted = sleep["Reaction"] + shift
    m = mw.lmer(FORMULA, {**sleep, "Reaction": shifted})
    assert m.loglik == pytest.approx(LOGLIK, abs=tolerance)
    assert m.sigma == pytest.approx(SIGMA, abs=tolerance)
    assert m.fixef["(Intercept)"] - shift == pytest.approx(251.405, abs=1e-2)
    assert m.certificate().passed
    back = mw.lmer(FORMULA, {**sleep, "Reaction": shifted - shift})  # exact: the digits that the data kept
    assert m.loglik == pytest.approx(back.loglik, abs=1e-6)
    assert m.sigma == pytest.approx(back.sigma, rel=1e-7)
    assert m.fixef["x"] == pytest.approx(back.fixef["x"], rel=1e-7)


@pytest.mark.parametrize("scale", [1e10, 1e-10])
def test_b07_scaled_response(sleep: dict[str, Any], scale: float) -> None:
    """The log-likelihood moves by the log-Jacobian of n - p contrasts."""
    m = mw.lmer(FORMULA, {**sleep, "Reaction": sleep["Reaction"] * scale})
    assert m.loglik + 178 * math.log(scale) == pytest.approx(LOGLIK, abs=1e-6)
    assert m.sigma / scale == pytest.approx(SIGMA, rel=1e-7)
    assert m.fixef["x"] / scale == pytest.approx(10.467286, rel=1e-7)
    assert m.certificate().passed
    assert not m.notes
    likelihood = m.update(method="ML").loglik  # of all n rows
    assert likelihood + 180 * math.log(scale) == pytest.approx(-875.969672, abs=1e-6)


@pytest.mark.parametrize(
    ("z", "named"),
    [
        (lambda x: 2 * x + 3, "(Intercept), x"),
        (lambda x: np.full(x.size, 7.0), "(Intercept)"),
        (lambda x: np.zeros(x.size), "z"),
    ],
    ids=["combination", "constant", "zero"],
)
def test_b08_rank_deficient(sleep: dict[str, Any], z: Any, named: str) -> None:
    """Later columns go, by name; the fit and its predictions are those without them."""
    data = {**sleep, "z": z(sleep["x"])}
    with pytest.warns(MixwellWarning, match="'z'") as caught:
        m = mw.lmer("Reaction ~ x + z + (x | Subject)", data)
    assert {w.message.code for w in caught} == {"MW-C02"}
    assert named in str(caught[0].message)
    without = mw.lmer(FORMULA, sleep)
    assert m.fixef.names == ("(Intercept)", "x")
    assert m.dropped == ("z",)
    assert m.loglik == pytest.approx(without.loglik, abs=1e-9)
    assert m.sigma == pytest.approx(without.sigma, rel=1e-9)
    np.testing.assert_allclose(np.asarray(m.fixef), np.asarray(without.fixef), rtol=1e-9)
    assert m.certificate().passed
    new = {"x": [1.0, 2.0], "z": z(np.array([1.0, 2.0])), "Subject": ["308", "309"]}
    np.testing.assert_allclose(m.predict(new), without.predict(new), rtol=1e-9)
    with pytest.warns(MixwellWarning, match="MW-P13"):
        assert np.isnan(m.predict(new | {"z": [50.0, 70.0]})).all()


def test_b08_the_later_column_goes(sleep: dict[str, Any]) -> None:
    """Order in the formula decides, also in a model without random effects."""
    data = {**sleep, "z": 2 * sleep["x"] + 3}
    for fit, random in ((mw.lmer, " + (x | Subject)"), (mw.lm, "")):
        with pytest.warns(MixwellWarning, match=r"'x' is a combination of \(Intercept\), z") as caught:
            m = fit("Reaction ~ z + x" + random, data)
        assert [w.message.code for w in caught] == ["MW-C02"]
        assert m.fixef.names == ("(Intercept)", "z")
        assert m.dropped == ("x",)
        assert m.fixef["z"] == pytest.approx(10.467286 / 2, rel=1e-6)


def test_b08_empty_cell() -> None:
    """An interaction column without rows is dropped and named; the cells that have rows fit as ever."""
    cake = {name: np.asarray(v) for name, v in mw.data.load("cake", "dict").items()}
    keep = ~((cake["recipe"] == "B") & (cake["temperature"].astype(str) == "185"))
    cake = {name: values[keep] for name, values in cake.items()}
    with pytest.warns(MixwellWarning, match="recipeB") as caught:
        m = mw.lmer("angle ~ recipe * factor(temperature) + (1 | replicate:recipe)", cake)
    assert [w.message.code for w in caught] == ["MW-C02"]
    assert m.dropped == ("recipeB:factor(temperature)185",)
    assert m.certificate().passed
    cake["cell"] = np.char.add(cake["recipe"].astype(str), cake["temperature"].astype(str))
    cells = mw.lmer("angle ~ 0 + cell + (1 | replicate:recipe)", cake)
    assert len(cells.fixef.names) == len(m.fixef.names) == 17
    assert m.sigma == pytest.approx(cells.sigma, rel=1e-8)
    np.testing.assert_allclose(m.predict(cake), cells.predict(cake), rtol=1e-8)
    # The two bases of one space differ by a matrix of determinant one: even the REML criterion agrees.
    assert m.loglik == pytest.approx(cells.loglik, abs=1e-8)


def test_b09_nearly_collinear(sleep: dict[str, Any]) -> None:
    """At 1e-4 the column stays and the condition number is told; at 1e-7 it goes."""
    noise = np.random.default_rng(0).normal(size=180)
    kept = mw.lmer("Reaction ~ x + z + (x | Subject)", {**sleep, "z": sleep["x"] + 1e-4 * noise})
    (note,) = [each.text for each in kept.notes if each.code == "MW-C03"]
    assert "x, z" in note
    assert "condition number" in note
    assert kept.fixef.names == ("(Intercept)", "x", "z")
    assert kept.certificate().passed
    apart = mw.lmer(
        "Reaction ~ x + z + (x | Subject)", {**sleep, "z": noise}
    )  # the same space, well conditioned
    assert kept.loglik == pytest.approx(apart.loglik - math.log(1e-4), abs=1e-6)
    assert kept.sigma == pytest.approx(apart.sigma, rel=1e-7)
    assert kept.fixef["z"] == pytest.approx(1e4 * apart.fixef["z"], rel=1e-6)
    with pytest.warns(MixwellWarning, match="'z' is a combination of x") as caught:
        dropped = mw.lmer("Reaction ~ x + z + (x | Subject)", {**sleep, "z": sleep["x"] + 1e-7 * noise})
    assert [w.message.code for w in caught] == ["MW-C02"]
    assert dropped.dropped == ("z",)
    assert dropped.loglik == pytest.approx(LOGLIK, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 3.0, 1e12 + 0.1])
@pytest.mark.parametrize("formula", [FORMULA, "Reaction ~ 1 + (1 | Subject)", "Reaction ~ x"])
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_b13_constant_response(sleep: dict[str, Any], formula: str, value: float, method: str) -> None:
    """Nothing to estimate."""
    message = refused("MW-D11", formula, {**sleep, "Reaction": np.full(180, value)}, method=method)
    assert "the response 'Reaction' is constant; nothing to estimate" in message


@pytest.mark.parametrize(
    ("formula", "response"),
    [
        pytest.param(FORMULA, lambda x, g: 3 + 2 * x, id="fixed effects"),
        pytest.param(FORMULA, lambda x, g: 0.3 + 0.1 * x, id="fixed effects, rounded"),
        pytest.param("Reaction ~ x", lambda x, g: 3 + 2 * x, id="no random effects"),
        pytest.param("Reaction ~ x", lambda x, g: 0.3 + 0.1 * x, id="no random effects, rounded"),
        pytest.param("Reaction ~ 1 + (1 | Subject)", lambda x, g: g, id="group means"),
        pytest.param("Reaction ~ 1 + (1 | Subject)", lambda x, g: np.log(g), id="group means, rounded"),
        pytest.param("Reaction ~ 1 + (1 | Subject)", lambda x, g: 1e8 + np.log(g), id="group means, far off"),
        pytest.param(FORMULA, lambda x, g: np.log(g), id="group means, slopes in the model"),
        pytest.param("Reaction ~ x + (1 | Subject)", lambda x, g: x + g, id="both"),
        pytest.param("Reaction ~ 1 + (x | Subject)", lambda x, g: x * g, id="slopes"),
        pytest.param(FORMULA, lambda x, g: np.log(g) + x * np.sin(g), id="slopes, rounded"),
    ],
)
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_b14_reproduced_response(sleep: dict[str, Any], formula: str, response: Any, method: str) -> None:
    """A response without residual variation has an unbounded likelihood: an error, not a number."""
    y = response(sleep["x"], sleep["Subject"].astype(float))
    message = refused("MW-N04", formula, {**sleep, "Reaction": y}, method=method)
    assert "reproduces the response exactly" in message


@pytest.mark.parametrize("shift", [1e4, 1e8])
def test_b14_only_rounding_is_left(sleep: dict[str, Any], shift: float) -> None:
    """Residuals that are only the rounding of a large response: refused, or marked where they are shown."""
    try:
        m = mw.lmer(FORMULA, {**sleep, "Reaction": shift + 0.1 * sleep["x"]})
    except MixwellError as refusal:
        assert refusal.code == "MW-N04"
        return
    with pytest.warns(MixwellWarning, match="Do not rely on it") as caught:
        text = str(m)
    assert [w.message.code for w in caught] == ["MW-C01"]
    assert "NOT certified" in text


def test_b23_scale_of_weights(sleep: dict[str, Any]) -> None:
    """All weights times 1e6: sigma times 1e3, everything else as it was."""
    w = np.random.default_rng(1).uniform(0.5, 2, 180)
    one, many = (mw.lmer(FORMULA, sleep, weights=w * c) for c in (1.0, 1e6))
    assert many.sigma == pytest.approx(1e3 * one.sigma, rel=1e-8)
    assert many.loglik == pytest.approx(one.loglik, abs=1e-8)
    sds = [np.asarray(m.varcorr()["Subject"].sd) for m in (one, many)]
    np.testing.assert_allclose(sds[0], sds[1], rtol=1e-7)
    np.testing.assert_allclose(np.asarray(many.fixef), np.asarray(one.fixef), rtol=1e-8)
    assert one.certificate().passed
    assert many.certificate().passed
    assert not many.notes


def test_b23_equal_weights(sleep: dict[str, Any]) -> None:
    """A weight of 1e6 for every row is no weight, with and without random effects."""
    for formula in (FORMULA, "Reaction ~ x"):
        plain, heavy = mw.fit(formula, sleep), mw.fit(formula, sleep, weights=np.full(180, 1e6))
        assert heavy.loglik == pytest.approx(plain.loglik, abs=1e-8)
        assert heavy.sigma == pytest.approx(1e3 * plain.sigma, rel=1e-8)
        np.testing.assert_allclose(np.asarray(heavy.fixef), np.asarray(plain.fixef), rtol=1e-8)


def test_b33_known_values(sleep: dict[str, Any]) -> None:
    """The difference of REML criteria, 26.2, would pass for the chi-squared of 23.5."""
    full, none = mw.lmer(FORMULA, sleep), mw.lmer("Reaction ~ 1 + (x | Subject)", sleep)
    assert none.reml_criterion - full.reml_criterion == pytest.approx(26.2, abs=0.05)
    with pytest.raises(MixwellError, match="method='ML'"):
        mw.compare(none, full, refit=False)
    assert mw.compare(none, full).tests[1].chisq == pytest.approx(23.54, abs=0.005)


def test_b34_coding_and_reml() -> None:
    """A REML criterion depends on the coding, by a constant of the design; comparing across is refused."""
    cake = mw.data.load("cake")
    formula = "angle ~ recipe * factor(temperature) + (1 | recipe:replicate)"
    treatment, sums = (mw.lmer(formula, cake, contrasts=c) for c in ("treatment", "sum"))
    # |X'X| changes by the square of the determinant of the change of coding, whatever y is.
    shift = np.linalg.slogdet(treatment.model_matrix("fixed").T @ treatment.model_matrix("fixed"))[1]
    shift -= np.linalg.slogdet(sums.model_matrix("fixed").T @ sums.model_matrix("fixed"))[1]
    assert treatment.loglik - sums.loglik == pytest.approx(-shift / 2, abs=1e-7)
    assert abs(shift) > 1
    np.testing.assert_allclose(treatment.theta, sums.theta, rtol=1e-7)
    with pytest.raises(MixwellError, match="coded"):
        mw.compare(treatment, sums, refit=False)


def test_b34_known_values() -> None:
    """Cake in treatment coding, and with recipe in sum and temperature in polynomial coding."""
    cake = mw.data.load("cake")
    formula = "angle ~ recipe + temperature + (1 | recipe:replicate)"
    fits = [
        mw.lmer(formula, cake, contrasts={"recipe": recipe, "temperature": temperature})
        for recipe, temperature in (("treatment", "treatment"), ("sum", "treatment"), ("sum", "poly"))
    ]
    assert fits[0].loglik == pytest.approx(-836.94, abs=5e-3)
    assert fits[2].loglik == pytest.approx(-838.93, abs=5e-3)
    # Three levels in sum coding: a change of columns with determinant 3.
    assert fits[0].loglik - fits[1].loglik == pytest.approx(math.log(3), abs=1e-8)
    for m in fits[1:]:
        np.testing.assert_allclose(m.theta, fits[0].theta, rtol=1e-7)
        assert m.update(method="ML").loglik == pytest.approx(fits[0].update(method="ML").loglik, abs=1e-8)


def test_b48_one_huge_group() -> None:
    """100,000 rows in one group beside fifty with one row each."""
    rng = np.random.default_rng(2)
    g = np.concatenate([np.zeros(100_000, int), np.arange(1, 51)])
    x = rng.normal(size=g.size)
    y = 1 + x + rng.normal(size=51)[g] + rng.normal(size=g.size)
    m = mw.lmer("y ~ x + (1 | g)", {"y": y, "x": x, "g": g})
    assert m.certificate().passed
    assert m.sigma == pytest.approx(1.0, abs=0.02)
    assert m.varcorr()["g"].sd["(Intercept)"] == pytest.approx(1.0, abs=0.5)
    assert m.optimization.evaluations <= 20
    assert not m.notes


def test_b49_tiny_numbers() -> None:
    """Standard deviations of 1e-8 and 1e-7: the same fit as in units of one, no warning."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(20), 10)
    y = 3.0 * rng.normal(size=20)[g] + rng.normal(size=200)
    plain = mw.lmer("y ~ 1 + (1 | g)", {"y": y, "g": g})
    tiny = mw.lmer("y ~ 1 + (1 | g)", {"y": 1e-7 * y, "g": g})
    assert tiny.theta[0] == pytest.approx(plain.theta[0], rel=1e-8)
    assert tiny.certificate().passed
    assert not tiny.notes


def test_b49_group_sd_1e_8_residual_1e_7() -> None:
    """A tenth of the residual, all of it tiny: recovered, and nothing said."""
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(60), 400)
    y = 1e-8 * rng.normal(size=60)[g] + 1e-7 * rng.normal(size=g.size)
    m = mw.lmer("y ~ 1 + (1 | g)", {"y": y, "g": g})
    assert m.varcorr()["g"].sd["(Intercept)"] == pytest.approx(1e-8, rel=0.4)
    assert m.sigma == pytest.approx(1e-7, rel=0.02)
    assert not m.notes
    assert m.certificate().passed


@pytest.mark.parametrize("random", [" + (1 | g)", ""], ids=["mixed", "linear"])
@pytest.mark.parametrize("rows", [6, 7])
def test_b50_more_columns_than_rows(rows: int, random: str) -> None:
    """Not enough rows for the seven coefficients and a residual variance; six rows can estimate six."""
    rng = np.random.default_rng(4)
    data = {
        "y": rng.normal(size=rows),
        "g": np.arange(rows) // 3,
        **{c: rng.normal(size=rows) for c in "abcdef"},
    }
    message = refused("MW-N05", "y ~ a + b + c + d + e + f" + random, data)
    assert f"{rows} observations cannot estimate {rows} coefficients" in message


@pytest.mark.parametrize("ratio", [140.0, 560.0])
def test_groups_that_differ_far_more_than_rows(ratio: float) -> None:
    """Heights in metres, measured to half a millimetre: the criterion loses digits, the fit must not."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(500), 4)
    y = 170 + ratio * rng.normal(size=500)[g] + rng.normal(size=2_000)
    m = mw.lmer("y ~ 1 + (1 | g)", {"y": y, "g": g})
    assert m.certificate().passed
    # Balanced one-way: REML is the ANOVA estimator.
    means = y.reshape(500, 4).mean(axis=1)
    within = ((y.reshape(500, 4) - means[:, None]) ** 2).sum() / 1_500
    between = 4 * means.var(ddof=1)
    assert m.sigma**2 == pytest.approx(within, rel=1e-8)
    assert m.theta[0] == pytest.approx(math.sqrt((between / within - 1) / 4), rel=1e-6)
