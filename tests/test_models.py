"""The doors: what they accept, what they refuse and in which words, and which fits may be compared."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mixwell as mw
from mixwell import MixwellError, MixwellWarning

SLOPES = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep() -> dict[str, Any]:
    table: dict[str, Any] = mw.data.load("sleepstudy", "dict")
    return table


def refused(code: str, *fragments: str) -> Any:
    """Expect the error with this code, whose text holds all fragments."""
    pattern = f"^{code}  " + "".join(f"(?=[\\s\\S]*{fragment})" for fragment in fragments)
    return pytest.raises(MixwellError, match=pattern)


# --- doors ------------------------------------------------------------------------------------------------


def test_the_doors_lead_to_the_same_place(sleep: dict[str, Any]) -> None:
    by_fit, by_lmer = mw.fit(SLOPES, sleep), mw.lmer(SLOPES, sleep)
    assert by_fit.theta.tolist() == by_lmer.theta.tolist()
    assert dict(by_fit.fixef) == dict(by_lmer.fixef)
    plain = mw.fit("Reaction ~ Days", sleep)
    assert plain.loglik == mw.lm("Reaction ~ Days", sleep).loglik
    assert not plain.is_mixed


def test_lm_is_least_squares_with_the_likelihood_of_r(sleep: dict[str, Any]) -> None:
    m = mw.lm("Reaction ~ Days", sleep)
    X = np.column_stack([np.ones(180), sleep["Days"]])
    beta, rss, *_ = np.linalg.lstsq(X, sleep["Reaction"], rcond=None)
    assert_allclose(m.fixef.values, beta, rtol=1e-12)
    assert_allclose(m.sigma**2, rss[0] / 178, rtol=1e-12)
    assert_allclose(m.vcov(), rss[0] / 178 * np.linalg.inv(X.T @ X), rtol=1e-10)
    assert_allclose(m.loglik, -90 * (1 + np.log(2 * np.pi * rss[0] / 180)), rtol=1e-12)
    assert (m.npar, m.df_residual, m.theta.size) == (3, 178, 0)
    by_ml = mw.fit("Reaction ~ Days", sleep, method="ML")
    assert_allclose(by_ml.sigma**2, rss[0] / 180, rtol=1e-12)
    assert by_ml.loglik == m.loglik


def test_importing_costs_nothing() -> None:
    code = (
        "import sys, mixwell; "
        "assert 'numpy' not in sys.modules and 'mixwell._core' not in sys.modules; "
        "mixwell.lmer; assert not {'pandas', 'polars', 'scipy', 'formulaic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names() -> None:
    assert set(mw.__all__) <= set(dir(mw))
    for name in mw.__all__:
        assert getattr(mw, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lmerr'"):
        mw.lmerr  # noqa: B018


MODULES = [f"mixwell.{module.name}" for module in pkgutil.iter_modules(mw.__path__) if module.name != "_core"]


@pytest.mark.parametrize("module", ["mixwell", *MODULES])
def test_examples_run(module: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = doctest.testmod(importlib.import_module(module))
    assert found.failed == 0


# --- refusals ---------------------------------------------------------------------------------------------


def test_unknown_keywords_are_refused_with_a_suggestion(sleep: dict[str, Any]) -> None:
    with refused("MW-A01", "fit\\(\\)", "'wieghts'", "Did you mean 'weights'"):
        mw.fit(SLOPES, sleep, wieghts="w")  # type: ignore[call-arg]
    with refused("MW-A01", "lm\\(\\)", "Did you mean 'contrasts'"):
        mw.lm("Reaction ~ Days", sleep, contrast="sum")  # type: ignore[call-arg]
    with refused("MW-A01", "Did you mean 'na_action'"):
        mw.lmer(SLOPES, sleep, naaction="drop")  # type: ignore[call-arg]
    m = mw.lmer(SLOPES, sleep)
    with refused("MW-A01", "predict\\(\\)", "Did you mean 'newdata'"):
        m.predict(newdat=sleep)  # type: ignore[call-arg]
    with refused("MW-A01", "Did you mean 'method'"):
        m.update(metod="ML")
    with refused("MW-A01", "FittedModel.resid\\(\\)", "Did you mean 'align'"):
        m.resid(aling=True)  # type: ignore[call-arg]
    with refused("MW-A01", "Control\\(\\)", "Did you mean 'max_evaluations'"):
        mw.Control(max_evaluation=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("code", "fragment", "options"),
    [
        ("MW-A02", "'REML', 'ML'", {"method": "reml"}),
        ("MW-A76", "'gaussian'", {"family": "gausian"}),
        ("MW-A02", "'drop', 'fail'", {"na_action": "omit"}),
        ("MW-A80", "maximum likelihood", {"family": "binomial", "method": "REML"}),
        ("MW-A80", "maximum likelihood", {"link": "log", "method": "REML"}),
        ("MW-A07", "Control", {"control": {"start": 1}}),
    ],
)
def test_options_are_checked(
    sleep: dict[str, Any], code: str, fragment: str, options: dict[str, Any]
) -> None:
    with refused(code, fragment):
        mw.fit(SLOPES, sleep, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_evaluations": 0},
        {"max_evaluations": 1.5},
        {"max_evaluations": True},
        {"start": "a"},
        {"start": [np.nan]},
        {"start": [[1.0]]},
    ],
)
def test_control_is_checked(options: dict[str, Any]) -> None:
    with refused("MW-A07", next(iter(options))):
        mw.Control(**options)


def test_doors_refuse_the_wrong_formula(sleep: dict[str, Any]) -> None:
    with refused("MW-A05", "lmer"):
        mw.lm(SLOPES, sleep)
    with refused("MW-A06", "lm\\(\\)"):
        mw.lmer("Reaction ~ Days", sleep)
    with refused("MW-F01"):
        mw.fit(3, sleep)  # type: ignore[arg-type]


def test_dropped_rows_are_said_once(sleep: dict[str, Any]) -> None:
    holes = sleep | {"Days": np.where(np.arange(180) < 3, np.nan, sleep["Days"])}
    with pytest.warns(MixwellWarning, match="^MW-W01  dropped 3 of 180 rows") as caught:
        m = mw.lmer(SLOPES, holes)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert [code for code, _ in m.notes] == ["MW-W01"]
    with refused("MW-D07", "Days: 3"):
        mw.lmer(SLOPES, holes, na_action="fail")


def test_dropped_columns_are_named(sleep: dict[str, Any]) -> None:
    table = sleep | {"z": 2.0 * sleep["Days"] + 3, "nil": np.zeros(180), "Days2": 5.0 * sleep["Days"]}
    with pytest.warns(MixwellWarning, match=r"'z' is a combination of \(Intercept\), Days; 'nil' is zero"):
        m = mw.fit("Reaction ~ Days + z + nil + Days2 + (Days | Subject)", table)
    assert m.dropped == ("z", "nil", "Days2")
    assert "'Days2' is a combination of Days." in m.notes[0].text
    assert m.fixef.names == ("(Intercept)", "Days")
    assert_allclose(m.predict(table), m.fitted(), rtol=1e-12)


def test_nearly_dependent_columns_are_noted(sleep: dict[str, Any]) -> None:
    table = sleep | {"z": sleep["Days"] + 1e-4 * np.sin(np.arange(180.0))}
    m = mw.fit("Reaction ~ Days + z + (1 | Subject)", table)
    assert [code for code, _ in m.notes] == ["MW-C03"]
    assert "Days, z" in m.notes[0].text


def test_control_limits_the_search_and_says_so(sleep: dict[str, Any]) -> None:
    with pytest.warns(MixwellWarning, match="^MW-C01 .* 2 evaluations"):
        m = mw.lmer(SLOPES, sleep, control=mw.Control(max_evaluations=2))
    assert not m.optimization.converged
    assert "NOT certified" in m.summary().splitlines()[-1]
    started = mw.lmer(SLOPES, sleep, control=mw.Control(start=(0.97, 0.02, 0.23)))
    assert_allclose(started.theta, mw.lmer(SLOPES, sleep).theta, rtol=1e-6)


# --- compare ----------------------------------------------------------------------------------------------


def test_compare_ranks_by_parameters(sleep: dict[str, Any]) -> None:
    large, small = mw.lmer(SLOPES, sleep), mw.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    none = mw.lm("Reaction ~ Days", sleep)
    table = mw.compare(large, none, small).table()
    assert table["npar"].tolist() == [3, 4, 6]
    assert_allclose(table["loglik"], [-0.5 * none.reml_criterion, small.loglik, large.loglik])
    assert_allclose(table["aic"][1:], [small.aic, large.aic])
    assert_allclose(table["bic"][1:], [small.bic, large.bic])
    plain = mw.compare(none, mw.lm("Reaction ~ 1", sleep)).table()
    assert_allclose(plain["loglik"][1], none.loglik)


def test_compare_refuses_reml_with_different_fixed_effects(sleep: dict[str, Any]) -> None:
    one, two = mw.lmer(SLOPES, sleep), mw.lmer("Reaction ~ 1 + (Days | Subject)", sleep)
    with refused("MW-A04", "method='ML'"):
        mw.compare(one, two, refit=False)
    table = mw.compare(one.update(method="ML"), two.update(method="ML")).table()
    assert_allclose(2 * np.diff(table["loglik"]), [23.5365], atol=1e-3)  # chi-square of R's anova with refit
    with refused("MW-A12", "REML", "ML"):
        mw.compare(one, two.update(method="ML"), refit=False)
    with refused("MW-A14"):
        mw.compare(one)


def test_compare_refuses_reml_with_another_coding() -> None:
    cake = mw.data.load("cake", "dict")
    formula = "angle ~ recipe * temperature + (1 | recipe:replicate)"
    treatment = mw.lmer(formula, cake)
    sums = mw.lmer(formula, cake, contrasts="sum")
    assert_allclose(treatment.deviance, sums.deviance, rtol=1e-8)
    assert abs(treatment.loglik - sums.loglik) > 1.0
    with refused("MW-A13", "coded"):
        mw.compare(treatment, sums, refit=False)


def test_compare_wants_the_same_rows_and_response(sleep: dict[str, Any]) -> None:
    m = mw.lmer(SLOPES, sleep, method="ML")
    holes = sleep | {"x": np.where(np.arange(180) < 3, np.nan, 1.0 * np.arange(180) % 7)}
    with pytest.warns(MixwellWarning, match="MW-W01"):
        fewer = mw.lmer("Reaction ~ Days + x + (Days | Subject)", holes, method="ML")
    with refused("MW-A10", "177 rows"):
        mw.compare(m, fewer)
    with refused("MW-A11"):
        mw.compare(m, mw.lmer("log(Reaction) ~ Days + (Days | Subject)", sleep, method="ML"))
    with refused("MW-A11"):
        mw.compare(m, mw.lmer(SLOPES, sleep, method="ML", weights=np.linspace(1, 2, 180)))
