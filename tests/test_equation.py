"""Equations: what they say, that the LaTeX is well formed, and that it renders."""

from __future__ import annotations

import doctest
import re
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mixwell as mw
from mixwell.reporting.latex import math_name


def lines(m: Any, **options: Any) -> list[str]:
    return [f"{left} {right}".strip() for left, right in m.equation(**options).lines]


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    rng = np.random.default_rng(11)
    n = 300
    x, z = rng.normal(size=n), rng.uniform(1, 2, n)
    eta = 0.4 + 0.5 * x + np.repeat(rng.normal(size=15) * 0.5, 20)
    share = 1 / (1 + np.exp(-eta))
    return {
        "x": x,
        "z": z,
        "body mass": rng.normal(size=n),
        "g": [f"g{i // 20}" for i in range(n)],
        "h": [f"h{i % 12}" for i in range(n)],
        "f": [("lo", "mid", "hi%")[i % 3] for i in range(n)],
        "yes": [i % 2 == 0 for i in range(n)],
        "y": eta + rng.normal(size=n),
        "positive": np.exp(eta) * rng.gamma(4, 0.25, n) + 0.01,
        "share": np.clip(rng.beta(5 * share, 5 * (1 - share)), 0.001, 0.999),
        "bit": rng.binomial(1, share),
        "answer": np.where(rng.binomial(1, share) == 1, "yes", "no"),
        "hits": rng.binomial(8, share),
        "misses": 8 - rng.binomial(8, share) % 8,
        "count": rng.poisson(np.exp(eta)),
        "counted": rng.poisson(np.exp(eta)) + 1,
        "zeros": rng.poisson(np.exp(eta)) * rng.binomial(1, 0.7, n),
        "grade": np.digitize(eta + rng.logistic(size=n), [-0.5, 1.0]),
        "w": rng.uniform(0.5, 2, n),
        "t": [i % 4 for i in range(n)],
    }


def quietly(fit: Any, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mw.MixwellWarning)
        return fit(*args, **options)


# --- what they say --------------------------------------------------------------------------------------


def test_varying_slopes() -> None:
    m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    assert lines(m) == [
        r"\mathrm{Reaction}_{i} \sim \mathrm{N}(\mu_{i},\, \sigma^{2})",
        r"\mu_{i} = \alpha_{j[i]} + \beta_{1,j[i]}\, \mathrm{Days}_{i}",
        r"\begin{pmatrix} \alpha_{j} \\ \beta_{1,j} \end{pmatrix} \sim \mathrm{N}\left("
        r"\begin{pmatrix} \mu_{\alpha} \\ \mu_{\beta_{1}} \end{pmatrix},\, "
        r"\begin{pmatrix} \sigma_{\alpha}^{2} & \rho_{\alpha\beta_{1}} \sigma_{\alpha} \sigma_{\beta_{1}} \\ "
        r"\rho_{\alpha\beta_{1}} \sigma_{\alpha} \sigma_{\beta_{1}} & \sigma_{\beta_{1}}^{2} \end{pmatrix}"
        r"\right) "
        r"\text{, for }\mathrm{Subject}\ j = 1, \dots, 18",
    ]
    assert lines(m, values=True)[1:] == [
        r"\mu_{i} = \alpha_{j[i]} + \beta_{1,j[i]}\, \mathrm{Days}_{i}",
        r"\begin{pmatrix} \alpha_{j} \\ \beta_{1,j} \end{pmatrix} \sim \mathrm{N}\left("
        r"\begin{pmatrix} 251.4 \\ 10.47 \end{pmatrix},\, "
        r"\begin{pmatrix} 612.1 & 9.604 \\ 9.604 & 35.07 \end{pmatrix}\right) "
        r"\text{, for }\mathrm{Subject}\ j = 1, \dots, 18",
    ]
    assert lines(m, notation="deviations")[1] == (
        r"\mu_{i} = \alpha + \beta_{1}\, \mathrm{Days}_{i} + u_{0,j[i]} + u_{1,j[i]}\, \mathrm{Days}_{i}"
    )
    assert (
        m.equation().symbols[r"\rho_{\alpha\beta_{1}}"] == "correlation of (Intercept) and Days over Subject"
    )


def test_a_binomial_model() -> None:
    m = mw.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        mw.data.load("cbpp", "dict"),
        family="binomial",
    )
    assert lines(m, values=True) == [
        r"\mathrm{incidence}_{i} \sim \mathrm{Binomial}(n_{i},\, p_{i})",
        r"\mathrm{logit}(p_{i}) = \alpha_{j[i]} - 0.9923\, [\mathrm{period}_{i} = \mathrm{2}]"
        r" - 1.129\, [\mathrm{period}_{i} = \mathrm{3}] - 1.580\, [\mathrm{period}_{i} = \mathrm{4}]",
        r"\alpha_{j} \sim \mathrm{N}(-1.399,\, 0.6423^{2}) \text{, for }\mathrm{herd}\ j = 1, \dots, 15",
    ]


def test_crossed_effects_have_mean_zero() -> None:
    m = mw.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mw.data.load("penicillin", "dict"))
    assert lines(m)[1:] == [
        r"\mu_{i} = \alpha + u_{j[i]} + v_{k[i]}",
        r"u_{j} \sim \mathrm{N}(0,\, \sigma_{u}^{2}) \text{, for }\mathrm{plate}\ j = 1, \dots, 24",
        r"v_{k} \sim \mathrm{N}(0,\, \sigma_{v}^{2}) \text{, for }\mathrm{sample}\ k = 1, \dots, 6",
    ]


def test_nested_effects_and_terms_of_one_factor(data: dict[str, Any]) -> None:
    m = quietly(mw.lmer, "strength ~ 1 + (1 | batch/cask)", mw.data.load("pastes", "dict"))
    assert r"\mathrm{batch{:}cask}\ k = 1, \dots, 30" in lines(m)[3].replace("cask{:}batch", "batch{:}cask")
    m = quietly(mw.lmer, "y ~ x + (1 | g) + (0 + x | g)", data)
    assert lines(m)[1] == r"\mu_{i} = \alpha_{j[i]} + \beta_{1,j[i]}\, \mathrm{x}_{i}"
    assert len(lines(m)) == 4  # one line each: they are independent
    m = quietly(mw.lmer, "y ~ x + (0 + z | g)", data)
    assert lines(m)[1].endswith(r"\beta_{1}\, \mathrm{x}_{i} + u_{0,j[i]}\, \mathrm{z}_{i}")


@pytest.mark.parametrize(
    ("term", "entries"),
    [
        ("(x || g)", r"\sigma_{\alpha}^{2} & 0 \\ 0 & \sigma_{\beta_{1}}^{2}"),
        (
            "cs(1 + x | g)",
            r"\sigma_{\alpha}^{2} & \rho_{\alpha} \sigma_{\alpha} \sigma_{\beta_{1}} \\ "
            r"\rho_{\alpha} \sigma_{\alpha} \sigma_{\beta_{1}} & \sigma_{\beta_{1}}^{2}",
        ),
        ("homdiag(1 + x | g)", r"\sigma_{\alpha}^{2} & 0 \\ 0 & \sigma_{\alpha}^{2}"),
    ],
)
def test_covariance_structures(data: dict[str, Any], term: str, entries: str) -> None:
    m = quietly(mw.lmer, f"y ~ x + {term}", data)
    assert rf"\begin{{pmatrix}} {entries} \end{{pmatrix}}" in lines(m)[-1]


def test_autoregressive_structure(data: dict[str, Any]) -> None:
    m = quietly(mw.lmer, "y ~ x + ar1(0 + factor(t) | g)", data)
    assert r"\rho_{u_{0}}^{3} \sigma_{u_{0}}^{2}" in lines(m)[-1]
    assert r"[\mathrm{t}_{i} = \mathrm{3}]" in "".join(lines(m))


def test_large_covariances_have_a_name(data: dict[str, Any]) -> None:
    m = quietly(mw.lmer, "y ~ 1 + homdiag(0 + h | g)", data)
    assert r"\Sigma_{u_{0}}" in lines(m)[-1]
    assert "12 effects" in m.equation().symbols[r"\Sigma_{u_{0}}"]


def test_columns_of_all_kinds(data: dict[str, Any]) -> None:
    m = mw.lm("log(positive) ~ x:f + I(x^2) + poly(z, 2) + `body mass` + yes + I(x - w) + sqrt(z)", data)
    shown = " ".join(lines(m))
    assert shown.startswith(r"\log(\mathrm{positive}_{i}) \sim")
    for part in (
        r"\mathrm{x}_{i} \times [\mathrm{f}_{i} = \mathrm{hi\%}]",
        r"\, \mathrm{x}_{i}^{2}",
        r"\mathrm{poly(z{,}\ 2)}_{\mathrm{2},i}",
        r"\mathrm{body\ mass}_{i}",
        r"[\mathrm{yes}_{i} = \mathrm{TRUE}]",
        r"\left(\mathrm{x}_{i} - \mathrm{w}_{i}\right)",
        r"\sqrt{\mathrm{z}_{i}}",
    ):
        assert part in shown


def test_codings_that_are_no_indicators(data: dict[str, Any]) -> None:
    m = mw.lm("y ~ f", data, contrasts="sum")
    assert r"\beta_{1}\, \mathrm{f}_{\mathrm{1},i}" in lines(m)[1]
    # f1 of the random part is an indicator, f1 of the fixed part is not: they are not the same coefficient.
    numbered = {**data, "f": [str(1 + i % 3) for i in range(300)]}
    m = quietly(mw.lmer, "y ~ f + diag(0 + f | g)", numbered, contrasts="sum")
    assert r"\beta_{1}\, \mathrm{f}_{\mathrm{1},i}" in lines(m)[1]
    assert r"u_{0,j[i]}\, [\mathrm{f}_{i} = \mathrm{1}]" in " ".join(lines(m))


def test_columns_that_are_not_estimable_are_left_out(data: dict[str, Any]) -> None:
    m = quietly(mw.lm, "y ~ x + I(2 * x) + z", data)
    assert lines(m)[1] == r"\mu_{i} = \alpha + \beta_{1}\, \mathrm{x}_{i} + \beta_{2}\, \mathrm{z}_{i}"


def test_weights_offsets_and_long_predictors(data: dict[str, Any]) -> None:
    m = mw.lm("y ~ x + z + f + yes + offset(log(w))", data, weights="w")
    shown = lines(m)
    assert shown[0].endswith(r"\sigma^{2} / w_{i})")
    assert shown[2].startswith(r"\quad + ") and shown[2].endswith(r"\log(\mathrm{w}_{i})")
    assert lines(mw.lm("y ~ x", data, offset="z"))[1].endswith(r"+ \mathrm{z}_{i}")


# --- families -------------------------------------------------------------------------------------------

FAMILIES: list[tuple[str, str, dict[str, Any], str]] = [
    ("count", "poisson", {}, r"\mathrm{count}_{i} \sim \mathrm{Poisson}(\mu_{i})"),
    ("count", "nbinom1", {}, r"= \mu_{i}\, (1 + \phi)"),
    ("count", "nbinom2", {}, r"= \mu_{i} + \mu_{i}^{2} / \theta"),
    ("counted", "truncated_poisson", {}, r"\mathrm{Poisson}_{>0}(\mu_{i})"),
    (
        "zeros",
        "poisson",
        {"ziformula": "~ x"},
        r"\mathrm{logit}(\pi_{i}) = \gamma_{0} + \gamma_{1}\, \mathrm{x}_{i}",
    ),
    (
        "zeros",
        "poisson",
        {"ziformula": "~ 1"},
        r"\sim \pi\, \delta_{0} + (1 - \pi)\, \mathrm{Poisson}(\mu_{i})",
    ),
    ("zeros", "truncated_nbinom2", {"ziformula": "~ 1"}, r"\mathrm{NegBinomial}_{>0}(\mu_{i},\, \theta)"),
    ("positive", "gamma", {"link": "log"}, r"\mathrm{Var}(\mathrm{positive}_{i}) = \phi\, \mu_{i}^{2}"),
    ("positive", "inverse_gaussian", {"link": "log"}, r"\phi\, \mu_{i}^{3}"),
    ("positive", "tweedie", {}, r"\phi\, \mu_{i}^{p}"),
    ("share", "beta", {}, r"\mathrm{logit}(\mu_{i}) = "),
    ("share", "beta", {"dispformula": "~ x"}, r"\log(\phi_{i}) = \omega_{0} + \omega_{1}\, \mathrm{x}_{i}"),
    ("bit", "binomial", {}, r"\mathrm{bit}_{i} \sim \mathrm{Bernoulli}(p_{i})"),
    ("bit", "binomial", {"link": "probit"}, r"\Phi^{-1}(p_{i}) = "),
    ("bit", "binomial", {"link": "cloglog"}, r"\log(-\log(1 - p_{i})) = "),
    ("answer", "binomial", {}, r"[\mathrm{answer}_{i} = \mathrm{yes}] \sim \mathrm{Bernoulli}(p_{i})"),
    ("cbind(hits, misses)", "betabinomial", {}, r"\mathrm{BetaBinomial}(n_{i},\, p_{i},\, \phi)"),
    (
        "grade",
        "cumulative",
        {},
        r"\mathrm{logit}(\mathrm{P}(\mathrm{grade}_{i} \leq c)) = \tau_{c} - \eta_{i}",
    ),
    ("y", "t", {}, r"\sim \mathrm{t}_{\nu}(\mu_{i},\, \sigma^{2})"),
    (
        "y",
        "gaussian",
        {"dispformula": "~ x"},
        r"\log(\sigma_{i}^{2}) = \omega_{0} + \omega_{1}\, \mathrm{x}_{i}",
    ),
    ("count", "quasipoisson", {}, r"\mathrm{Var}(\mathrm{count}_{i}) = \phi\, \mu_{i}"),
    ("cbind(hits, misses)", "quasibinomial", {}, r"\mathrm{E}(\mathrm{hits}_{i} / n_{i}) = p_{i}"),
]


def balanced(latex: str) -> None:
    stripped = re.sub(r"\\[\\{}$&#%_]", "", latex)
    assert stripped.count("{") == stripped.count("}") and stripped.count("[") == stripped.count("]")
    assert latex.count(r"\left(") == latex.count(r"\right)")
    opened = re.findall(r"\\(begin|end)\{(\w+)\}", latex)
    stack = []
    for kind, name in opened:
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack and "$" not in stripped and "#" not in stripped
    assert not re.search(r"\\\\\s*\[|\{aligned\}\s*\[", latex)  # an option of the line break


def render(latex: str) -> None:
    """Parse pieces with matplotlib, whose mathtext has neither aligned nor pmatrix."""
    mathtext = pytest.importorskip("matplotlib.mathtext")
    flat = (
        re.sub(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", r"(\1)", latex)
        .replace(r"\\", ", ")
        .replace("&", ", ")
    )
    mathtext.MathTextParser("path").parse(f"${flat}$")


@pytest.mark.parametrize(("response", "family", "options", "expected"), FAMILIES)
def test_families(
    data: dict[str, Any], response: str, family: str, options: dict[str, Any], expected: str
) -> None:
    m = quietly(mw.glm, f"{response} ~ x + f", data, family=family, **options)
    assert expected in " \n".join(lines(m))
    for values in (False, True):
        for notation in ("levels", "deviations"):
            equation = m.equation(values=values, notation=notation)
            balanced(equation.latex)
        for line in m.equation(values=values).lines:
            render(f"{line.left} {line.right}")


def test_equations_render(data: dict[str, Any]) -> None:
    for formula in (
        "y ~ x * f + (x | g) + (1 | h)",
        "y ~ x + cs(x | g)",
        "y ~ poly(x, 2) + log(z) + I(x / z)",
    ):
        m = quietly(mw.fit, formula, data)
        for values in (False, True):
            equation = m.equation(values=values)
            balanced(equation.latex)
            for line in equation.lines:
                render(re.sub(r"&", "", f"{line.left} {line.right}"))


def test_the_object() -> None:
    m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
    equation = m.equation()
    assert str(equation) == repr(equation) == equation.latex
    assert equation.latex == (
        "\\begin{aligned}\n"
        "  \\mathrm{Reaction}_{i} &\\sim \\mathrm{N}(\\mu_{i},\\, \\sigma^{2}) \\\\\n"
        "  \\mu_{i} &= \\alpha + \\beta_{1}\\, \\mathrm{Days}_{i}\n"
        "\\end{aligned}"
    )
    assert equation._repr_latex_() == equation._repr_markdown_() == f"$$\n{equation.latex}\n$$"
    assert equation.symbols == {
        r"\sigma": "residual standard deviation",
        r"\alpha": "(Intercept)",
        r"\beta_{1}": "Days",
    }
    assert m.equation(values=True).symbols == {}
    assert "251.4051" in m.equation(values=True, digits=7).latex


@given(st.text(min_size=1, max_size=12))
def test_names_in_formulas_are_balanced(name: str) -> None:
    shown = math_name(name)
    stripped = re.sub(r"\\[{}$&#%_]", "", shown)
    assert stripped.count("{") == stripped.count("}") and "$" not in stripped


@pytest.mark.parametrize(
    "name", ["a_b", "50%", "x & y", "#1", "a-b", "a:b", "{x}", "$", "x^2", "a<b", "Größe", "it's"]
)
def test_names_in_formulas_render(name: str) -> None:
    render(math_name(name))


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("MW-A02", {"notation": "lme4"}),
        ("MW-A07", {"digits": 0}),
        ("MW-A07", {"terms_per_line": 1.5}),
        ("MW-A01", {"value": True}),
    ],
)
def test_options_are_refused(code: str, options: dict[str, Any]) -> None:
    m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
    with pytest.raises(mw.MixwellError, match=code):
        m.equation(**options)


def test_examples_run() -> None:
    from mixwell.reporting import equation, latex

    for module in (latex, equation):
        assert doctest.testmod(module).failed == 0


# --- what must not go wrong in LaTeX ----------------------------------------------------------------------


def test_commands_are_not_run_into_letters(data: dict[str, Any]) -> None:
    r"""`\rho_{\alphau_{1}}` would name a command that does not exist."""
    known = re.compile(
        r"(?:alpha|beta|gamma|omega|sigma|rho|mu|tau|eta|phi|theta|nu|pi|Sigma|Phi|delta|begin|end|left|right|sim|"
        r"mathrm|mathbf|text|times|dots|quad|frac|sqrt|log|exp|leq|in|infty)\Z"
    )
    for formula in ("y ~ x + (x * z | g)", "y ~ z + (1 + f | g) + (x | h)"):
        for values in (False, True):
            latex = quietly(mw.lmer, formula, data).equation(values=values).latex
            commands = set(re.findall(r"\\([a-zA-Z]+)", latex))
            assert [each for each in commands if not known.match(each)] == []


def test_powers_of_numbers_with_an_exponent(data: dict[str, Any]) -> None:
    """A second superscript on 10^{-12} is an error in LaTeX; a quotient by it would be ambiguous."""
    tiny = data | {"y": 1e-9 * np.asarray(data["y"])}
    latex = quietly(mw.lmer, "y ~ x + (1 | g)", tiny).equation(values=True).latex
    assert r"\right)^{2}" in latex and "}^{2}" not in latex.replace(r"\mu_{i}^{2}", "")
    even = {"y": [2, 3, 4, 3, 2, 4, 3, 3] * 4, "x": np.arange(32.0)}
    shown = quietly(mw.glm, "y ~ x", even, family="nbinom2").equation(values=True).latex
    assert re.search(r"\^\{2\} / (\d|\\left\(.*\\times.*\\right\))", shown)
    assert not re.search(r"/ [\d.]+ \\times", shown)


def test_two_offsets_are_both_written(data: dict[str, Any]) -> None:
    rows = np.full(len(data["y"]), 0.5)
    m = quietly(mw.lm, "y ~ x + offset(log(z))", data, offset=rows)
    assert r"+ \log(\mathrm{z}_{i}) + \mathrm{offset}_{i}" in m.equation().latex
