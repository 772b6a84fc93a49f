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


@pytest.mark.parametrize(
    ("change", "scale"),
    [
        pytest.param(lambda x: 2000 + x, 1.0, id="b02 years"),
        pytest.param(lambda x: 1e6 * x, 1e6, id="b03 large"),
        pytest.param(lambda x: 1e-6 * x, 1e-6, id="b04 small"),
        pytest.param(lambda x: 1.7e9 + 86_400 * x, 86_400.0, id="b05 unix seconds"),
    ],
)
def test_b02_to_b05_location_and_scale_of_a_predictor(
    sleep: dict[str, Any], change: Any, scale: float
) -> None:
    """The same fit as on a sane scale, slopes in the units of the column."""
    m = mw.lmer(FORMULA, {**sleep, "x": change(sleep["x"])})
    assert m.loglik == pytest.approx(LOGLIK - math.log(scale), abs=1e-6)
    assert m.sigma == pytest.approx(SIGMA, rel=1e-6)
    assert m.fixef["x"] * scale == pytest.approx(10.467286, rel=1e-6)
    assert m.varcorr()["Subject"].sd["x"] * scale == pytest.approx(5.922138, rel=1e-5)
    assert m.certificate().passed


def test_b03_b04_known_values(sleep: dict[str, Any]) -> None:
    """The log-likelihoods that other programs miss."""
    assert mw.lmer(FORMULA, {**sleep, "x": 1e6 * sleep["x"]}).loglik == pytest.approx(-885.630, abs=5e-4)
    assert mw.lmer(FORMULA, {**sleep, "x": 1e-6 * sleep["x"]}).loglik == pytest.approx(-857.999, abs=5e-4)


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
    assert m.certificate().passed


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
    new = {"x": [1.0, 2.0], "z": [5.0, 7.0], "Subject": ["308", "309"]}
    np.testing.assert_allclose(m.predict(new), without.predict(new), rtol=1e-9)


def test_b08_empty_cell() -> None:
    """An interaction column without rows is dropped and named."""
    cake = {name: np.asarray(v) for name, v in mw.data.load("cake", "dict").items()}
    keep = ~((cake["recipe"] == "B") & (cake["temperature"].astype(str) == "185"))
    cake = {name: values[keep] for name, values in cake.items()}
    with pytest.warns(MixwellWarning, match="recipeB") as caught:
        m = mw.lmer("angle ~ recipe * factor(temperature) + (1 | replicate:recipe)", cake)
    assert caught[0].message.code == "MW-C02"
    assert len(m.dropped) == 1
    assert m.certificate().passed


def test_b09_nearly_collinear(sleep: dict[str, Any]) -> None:
    """At 1e-4 the column stays and the condition number is told; at 1e-7 it goes."""
    noise = np.random.default_rng(0).normal(size=180)
    kept = mw.lmer("Reaction ~ x + z + (x | Subject)", {**sleep, "z": sleep["x"] + 1e-4 * noise})
    (note,) = [each.text for each in kept.notes if each.code == "MW-C03"]
    assert "x, z" in note
    assert "condition number" in note
    assert kept.fixef.names == ("(Intercept)", "x", "z")
    assert kept.certificate().passed
    with pytest.warns(MixwellWarning, match="'z'"):
        dropped = mw.lmer("Reaction ~ x + z + (x | Subject)", {**sleep, "z": sleep["x"] + 1e-7 * noise})
    assert dropped.dropped == ("z",)


def test_b13_constant_response(sleep: dict[str, Any]) -> None:
    """Nothing to estimate."""
    message = refused("MW-D11", FORMULA, {**sleep, "Reaction": np.full(180, 3.0)})
    assert "is constant; nothing to estimate" in message


@pytest.mark.parametrize(
    ("formula", "response"),
    [
        (FORMULA, lambda d: 3 + 2 * d["x"]),
        ("Reaction ~ 1 + (1 | Subject)", lambda d: d["Subject"].astype(float)),
        ("Reaction ~ x + (1 | Subject)", lambda d: d["x"] + d["Subject"].astype(float)),
        ("Reaction ~ 1 + (x | Subject)", lambda d: d["x"] * d["Subject"].astype(float)),
    ],
    ids=["fixed effects", "group means", "both", "slopes"],
)
def test_b14_reproduced_response(sleep: dict[str, Any], formula: str, response: Any) -> None:
    """A response without residual variation has an unbounded likelihood: an error, not a number."""
    message = refused("MW-N04", formula, {**sleep, "Reaction": response(sleep)})
    assert "reproduces the response exactly" in message


def test_b23_scale_of_weights(sleep: dict[str, Any]) -> None:
    """All weights times 1e6: sigma times 1e3, everything else as it was."""
    w = np.random.default_rng(1).uniform(0.5, 2, 180)
    one, many = (mw.lmer(FORMULA, sleep, weights=w * c) for c in (1.0, 1e6))
    assert many.sigma == pytest.approx(1e3 * one.sigma, rel=1e-8)
    assert many.loglik == pytest.approx(one.loglik, abs=1e-8)
    sds = [np.asarray(m.varcorr()["Subject"].sd) for m in (one, many)]
    np.testing.assert_allclose(sds[0], sds[1], rtol=1e-7)


def test_b33_known_values(sleep: dict[str, Any]) -> None:
    """The difference of REML criteria, 26.2, would pass for the chi-squared of 23.5."""
    full, none = mw.lmer(FORMULA, sleep), mw.lmer("Reaction ~ 1 + (x | Subject)", sleep)
    assert none.reml_criterion - full.reml_criterion == pytest.approx(26.2, abs=0.05)
    with pytest.raises(MixwellError, match="method='ML'"):
        mw.compare(none, full)
    loglik = np.asarray(mw.compare(none.update(method="ML"), full.update(method="ML"))["loglik"])
    assert 2 * (loglik[1] - loglik[0]) == pytest.approx(23.54, abs=0.005)


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
        mw.compare(treatment, sums)


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


def test_b50_more_columns_than_rows() -> None:
    """Not enough rows for the coefficients."""
    rng = np.random.default_rng(4)
    data = {"y": rng.normal(size=6), "g": [0, 0, 0, 1, 1, 1], **{c: rng.normal(size=6) for c in "abcdef"}}
    message = refused("MW-N05", "y ~ a + b + c + d + e + f + (1 | g)", data)
    assert "6 coefficients" in message
