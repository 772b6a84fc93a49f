"""Sentences about a fit: exact ones on classical data, and their numbers against the model's own."""

from __future__ import annotations

import doctest
import re
import warnings
from typing import Any

import numpy as np
import pytest

import mixwell as mw
from mixwell.reporting.sentences import _df, _Style

VERSION = mw.__version__


@pytest.fixture(scope="module")
def sleep() -> Any:
    return mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))


@pytest.fixture(scope="module")
def cbpp() -> Any:
    return mw.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        mw.data.load("cbpp", "dict"),
        family="binomial",
    )


def quietly(fit: Any, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mw.MixwellWarning)
        return fit(*args, **options)


# --- exact sentences ------------------------------------------------------------------------------------


def test_a_linear_mixed_model(sleep: Any) -> None:
    assert sleep.report_text(anova=True).split("\n\n") == [
        "A linear mixed model was fitted to 180 rows with 18 levels of Subject by restricted maximum "
        f"likelihood (REML) with mixwell {VERSION}. Formula: Reaction ~ Days + (Days | Subject).",
        "Fixed effects: (Intercept), b = 251.41, 95% CI [237.01, 265.80], t(17.0) = 36.84, p < .001; "
        "Days, b = 10.47, 95% CI [7.21, 13.73], t(17.0) = 6.77, p < .001. Degrees of freedom: Satterthwaite.",
        "Type III tests of terms (Satterthwaite's degrees of freedom): Days, F(1, 17.0) = 45.85, p < .001.",
        "Random effects: Subject, SD = 24.74 of (Intercept), SD = 5.92 of Days, r = .07; "
        "residual SD = 25.59.",
        "Marginal R2 = .28, conditional R2 = .80.",
        "Certificate of the fit: all 9 checks passed: a local optimum in the interior.",
    ]


def test_a_generalised_mixed_model(cbpp: Any) -> None:
    assert cbpp.report_text(anova=True).split("\n\n") == [
        "A generalised linear mixed model (binomial family, logit link) was fitted to 56 rows with 15 levels "
        f"of herd by maximum likelihood (Laplace approximation) with mixwell {VERSION}. "
        "Formula: cbind(incidence, size - incidence) ~ period + (1 | herd).",
        "Fixed effects: (Intercept), b = -1.40, 95% CI [-1.85, -0.94], z = -6.02, p < .001; "
        "period2, OR = 0.37, 95% CI [0.20, 0.68], b = -0.99, z = -3.24, p = .001; "
        "period3, OR = 0.32, 95% CI [0.17, 0.61], b = -1.13, z = -3.46, p < .001; "
        "period4, OR = 0.21, 95% CI [0.09, 0.48], b = -1.58, z = -3.70, p < .001. "
        "Coefficients b are on the scale of the logit link.",
        "Type II tests of terms (Wald chi-square): period, chi2(3) = 24.95, p < .001.",
        "Random effects: herd, SD = 0.64.",
        "Marginal R2 = .09, conditional R2 = .19.",
        "Certificate of the fit: all 4 checks passed: a local optimum in the interior.",
    ]


def test_markdown_and_latex(sleep: Any, cbpp: Any) -> None:
    said = sleep.report_text(style="markdown", anova=True)
    assert "Formula: `Reaction ~ Days + (Days | Subject)`." in said
    assert "Days, *b* = 10.47, 95% CI [7.21, 13.73], *t*(17.0) = 6.77, *p* \\< .001." in said
    assert (
        "*F*(1, 17.0) = 45.85" in said
        and "Marginal *R*² = .28" in said
        and "*SD* = 24.74 of (Intercept)" in said
    )
    said = cbpp.report_text(style="markdown", anova=True)
    assert "OR = 0.37, 95% CI [0.20, 0.68], *b* = −0.99, *z* = −3.24, *p* = .001" in said
    assert "χ²(3) = 24.95" in said
    said = sleep.report_text(style="latex", anova=True)
    assert r"Formula: \texttt{Reaction \textasciitilde{} Days + (Days \textbar{} Subject)}." in said
    assert r"\textit{b} = 10.47, 95\% CI [7.21, 13.73], \textit{t}(17.0) = 6.77, \textit{p} $<$ .001" in said
    assert r"Marginal $R^2$ = .28" in said
    assert r"\textit{b} = $-$0.99, \textit{z} = $-$3.24" in cbpp.report_text(style="latex")


def test_a_linear_model() -> None:
    m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
    said = m.report_text(anova=True)
    assert "A linear model was fitted to 180 rows by least squares" in said
    assert "Days, b = 10.47, 95% CI [8.02, 12.91], t(178) = 8.45, p < .001." in said
    assert "Days, F(1, 178) = 71.46, p < .001." in said and "Residuals" not in said
    assert "Residual SD = 47.71." in said and "R2 = .29, adjusted R2 = .28." in said
    assert "an exact least-squares solution" in said


def test_a_variance_of_zero_is_said() -> None:
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    said = m.report_text()
    assert "Batch, SD = 0.00" in said and "a proved optimum on the boundary" in said
    assert "Notes: The variance of 'Batch' is estimated as zero" in said


# --- options --------------------------------------------------------------------------------------------


def test_degrees_of_freedom_and_level(sleep: Any) -> None:
    assert "Degrees of freedom: Kenward-Roger, expected information." in sleep.report_text(
        ddf="kenward-roger"
    )
    said = sleep.report_text(ddf="normal", level=0.9)
    assert "Days, b = 10.47, 90% CI [7.92, 13.01], z = 6.77" in said
    said = sleep.report_text(ddf="kenward-roger", anova=True)
    assert "F(1, 17) = 45.85" in said or "F(1, 17.0) = 45.85" in said


def test_tests_with_infinite_degrees_of_freedom(sleep: Any) -> None:
    assert "Days, F(1, ∞) = 45.85, p < .001" in sleep.report_text(ddf="normal", anova=True)
    assert r"(1, $\infty$) = 45.85" in sleep.report_text(ddf="normal", anova=True, style="latex")


def test_without_ratios(cbpp: Any) -> None:
    said = cbpp.report_text(exponentiate=False)
    assert "period2, b = -0.99, 95% CI [-1.59, -0.39], z = -3.24, p = .001" in said and "OR" not in said


def test_estimators_and_families_are_named() -> None:
    rng = np.random.default_rng(5)
    n = 200
    data = {"x": rng.normal(size=n), "g": [f"g_{i % 10}" for i in range(n)], "e": rng.uniform(1, 2, n)}
    data["y"] = rng.poisson(data["e"] * np.exp(0.5 + 0.3 * data["x"])) * rng.binomial(1, 0.8, n)
    data["k"] = np.digitize(data["x"] + rng.logistic(size=n), [-1.0, 1.0])
    data["b"] = (data["k"] > 1).astype(float)

    m = quietly(mw.glmer, "y ~ x + offset(log(e)) + (1 | g)", data, family="nbinom2", ziformula="~ x")
    said = m.report_text(style="markdown")
    assert (
        "(nbinom2 family, log link, zero-inflated)" in said and "extra zeros: `~ x`; with an offset." in said
    )
    assert re.search(r"x, IRR = 1\.\d\d, 95% CI \[1\.\d\d, 1\.\d\d\]", said)
    assert "Extra zeros (logit scale): (Intercept), *b* = " in said and "Dispersion: size = " in said

    m = quietly(mw.glm, "k ~ x", data, family="cumulative")
    said = m.report_text()
    assert said.startswith(
        "An ordinal regression model (cumulative family, logit link) was fitted to 200 rows"
    )
    assert re.search(r"Thresholds: 0\|1, -\d\.\d\d, 95% CI \[-", said)

    said = quietly(mw.glmer, "b ~ x + (1 | g)", data, family="binomial", nagq=9).report_text()
    assert "adaptive Gauss-Hermite quadrature with 9 nodes" in said
    said = quietly(mw.glm, "y ~ x", data, family="quasipoisson").report_text()
    assert "by quasi-likelihood" in said and "Dispersion: phi = " in said and re.search(r"t\(198\) = ", said)
    said = quietly(mw.lmer, "e ~ x + (1 | g)", data, method="ML", weights="e").report_text()
    assert "by maximum likelihood (ML)" in said and "with prior weights." in said
    said = quietly(mw.lmer, "e ~ x + (x | g) + (1 | k)", data).report_text()
    assert "10 levels of g and 3 levels of k" in said


def test_names_are_escaped() -> None:
    rng = np.random.default_rng(2)
    data = {"y": rng.normal(size=40), "a*b_c": rng.normal(size=40), "g": [*"abcd"] * 10}
    m = quietly(mw.lmer, "y ~ `a*b_c` + (1 | g)", data)
    assert r"a\*b\_c\`, *b* = " in m.report_text(style="markdown")
    assert "`` y ~ `a*b_c` + (1 | g) ``" in m.report_text(style="markdown")
    assert r"a*b\_c\textasciigrave{}, \textit{b}" in m.report_text(style="latex")


def test_separation_is_said() -> None:
    data = {"y": [0, 0, 0, 1, 1, 1], "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    said = quietly(mw.glm, "y ~ x", data, family="binomial").report_text()
    assert "separation" in said and "Wald tests of them mean nothing" in said


def test_dropped_rows_are_counted() -> None:
    table = mw.data.load("sleepstudy", "dict")
    values = np.array(table["Reaction"], dtype=float)
    values[:3] = np.nan
    m = quietly(mw.lm, "Reaction ~ Days", table | {"Reaction": values})
    said = m.report_text()
    assert "fitted to 177 rows (of 180 in the data)" in said and "Dropped 3 of 180 rows" in said


# --- numbers --------------------------------------------------------------------------------------------


def test_numbers_in_apa_style() -> None:
    plain, markdown = _Style("plain", 2), _Style("markdown", 2)
    assert [plain.p(p) for p in (0.0004, 0.001, 0.0421, 0.5, 0.9996)] == [
        "p < .001",
        "p = .001",
        "p = .042",
        "p = .500",
        "p > .999",
    ]
    assert [plain.share(r) for r in (0.066, -0.5, 1.0, -0.998, 0.999, float("nan"))] == [
        ".07",
        "-.50",
        "1.00",
        "-1.00",
        "1.00",
        "NA",
    ]
    assert [plain.value(0.00123, 0.00045), plain.value(251.405, 6.82), plain.value(-0.001, 0.5)] == [
        "0.0012",
        "251.41",
        "0.00",
    ]
    assert markdown.value(-1.5, 0.5) == "−1.50" and _Style("latex", 2).value(-1.5, 0.5) == "$-$1.50"
    assert plain.value(1.5e-12, 1e-13) == "1.50e-12"
    assert plain.value(float("inf")) == "∞"
    assert [_df(178.0), _df(17.0001), _df(16.96)] == ["178", "17.0", "17.0"]


def test_estimates_are_the_models(cbpp: Any) -> None:
    """What is printed rounds to what tidy() has."""
    table = cbpp.tidy(level=0.95)
    said = cbpp.report_text(exponentiate=False).split("\n\n")[1]
    found = re.findall(r"b = (\S+), 95% CI \[(\S+), (\S+)\], z = (\S+),", said)
    for row, numbers in enumerate(found):
        for text, key in zip(numbers, ("estimate", "lower", "upper", "statistic"), strict=True):
            assert float(text) == pytest.approx(table[key][row], abs=0.00501)
    assert len(found) == 4


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("MW-A02", {"style": "html"}),
        ("MW-A49", {"level": 95}),
        ("MW-A07", {"digits": -1}),
        ("MW-A02", {"ddf": "kr"}),
        ("MW-A01", {"anvoa": True}),
    ],
)
def test_options_are_refused(sleep: Any, code: str, options: dict[str, Any]) -> None:
    with pytest.raises(mw.MixwellError, match=code):
        sleep.report_text(**options)


def test_degrees_of_freedom_of_generalised_models_are_refused(cbpp: Any) -> None:
    with pytest.raises(mw.MixwellError, match="MW-A31"):
        cbpp.report_text(ddf="kenward-roger")


def test_examples_run() -> None:
    from mixwell.reporting import latex, sentences

    for module in (latex, sentences):
        assert doctest.testmod(module).failed == 0
