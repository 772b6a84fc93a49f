"""Predictions: replayed encoders, known and unknown levels, missing values, offsets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import mixwell as mw
from mixwell import MixwellError, MixwellWarning
from mixwell.fitted.predict import fixed_part, random_part

SLOPES = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep() -> dict[str, Any]:
    table: dict[str, Any] = mw.data.load("sleepstudy", "dict")
    return table


@pytest.fixture(scope="module")
def m(sleep: dict[str, Any]) -> mw.FittedModel:
    return mw.lmer(SLOPES, sleep)


@pytest.mark.parametrize(
    "formula",
    [
        SLOPES,
        "Reaction ~ poly(Days, 2) + (scale(Days) | Subject)",
        "Reaction ~ ns(Days, 3) + (1 | Subject)",
        "Reaction ~ bs(Days, df = 4) + (1 | Subject) + (0 + I(Days^2) | Subject)",
        "Reaction ~ factor(Days) + (1 | Subject)",
        "log(Reaction) ~ center(Days) * I(Days > 4) + offset(Days / 100) + (1 | Subject)",
        "Reaction ~ Days + cs(1 + Days | Subject)",
    ],
)
def test_new_rows_that_are_old_rows_give_the_fitted_values(formula: str, sleep: dict[str, Any]) -> None:
    m = mw.lmer(formula, sleep)
    some = np.array([3, 170, 44, 44])
    rows = {name: values[some] for name, values in sleep.items()}
    assert_allclose(m.predict(rows), m.fitted()[some], rtol=1e-11)
    assert_allclose(m.predict(rows, re="population"), m.predict(re="population")[some], rtol=1e-11)
    assert_allclose(m.predict(), m.fitted())


def test_population_predictions_need_no_groups(m: mw.FittedModel) -> None:
    assert_allclose(
        m.predict({"Days": [0.0, 2.0]}, re="population"), m.fixef[0] + m.fixef[1] * np.array([0, 2])
    )
    with pytest.raises(MixwellError, match=r"MW-P02 .*'Subject'"):
        m.predict({"Days": [0.0]})


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_new_rows_may_come_from_any_library(m: mw.FittedModel, library: Any) -> None:
    assert_allclose(m.predict(mw.data.load("sleepstudy", library)), m.fitted(), rtol=1e-12)


def test_levels_match_by_value_then_by_text(m: mw.FittedModel) -> None:
    as_numbers = m.predict({"Days": [1.0, 1.0], "Subject": [308, 372]})
    assert_allclose(as_numbers, m.predict({"Days": [1.0, 1.0], "Subject": ["308", "372"]}))


def test_new_levels_are_refused_unless_allowed(m: mw.FittedModel) -> None:
    rows = {"Days": [1.0, 1.0], "Subject": ["308", "3080"]}
    with pytest.raises(MixwellError, match=r"MW-P10  new level '3080' .*row 1[\s\S]*Did you mean '308'"):
        m.predict(rows)
    known, new = m.predict(rows, new_levels="population")
    assert_allclose(known, m.fitted()[1])
    assert_allclose(new, m.fixef[0] + m.fixef[1])


def test_a_missing_level_is_like_a_new_one(m: mw.FittedModel) -> None:
    rows = {"Days": [1.0, 1.0], "Subject": ["308", None]}
    with pytest.raises(MixwellError, match=r"MW-P12  'Subject' .*row 1"):
        m.predict(rows)
    assert_allclose(m.predict(rows, new_levels="population")[1], m.fixef[0] + m.fixef[1])


def test_new_combinations_of_known_labels() -> None:
    pastes = mw.data.load("pastes", "dict")
    m = mw.lmer("strength ~ 1 + (1 | batch/cask)", pastes)
    rows = {"batch": ["A", "A", "Z"], "cask": ["a", "z", "a"]}
    with pytest.raises(MixwellError, match=r"MW-P10  new level '[AZ:az]+' of the grouping factor"):
        m.predict(rows)
    both, batch_only, none = m.predict(rows, new_levels="population")
    batch = m.coef("batch")["(Intercept)"][0]
    assert_allclose([batch_only, none], [batch, m.fixef[0]])
    assert_allclose(both, m.fitted()[0])


def test_missing_predictors_give_nan(m: mw.FittedModel) -> None:
    out = m.predict({"Days": [np.nan, 1.0], "Subject": ["308", "308"]})
    assert np.isnan(out).tolist() == [True, False]


def test_unknown_levels_of_fixed_factors_are_refused(sleep: dict[str, Any]) -> None:
    m = mw.lmer("Reaction ~ factor(Days) + (1 | Subject)", sleep)
    with pytest.raises(MixwellError, match=r"MW-P01  level '12' of factor\(Days\)"):
        m.predict({"Days": [12], "Subject": ["308"]})


def test_offsets_of_new_rows(sleep: dict[str, Any]) -> None:
    rows = {"Days": [1.0], "Subject": ["308"], "o": [10.0]}
    plain = mw.lmer(SLOPES, sleep | {"o": np.zeros(180)})
    in_formula = mw.lmer("Reaction ~ Days + offset(o) + (Days | Subject)", sleep | {"o": np.zeros(180)})
    by_name = mw.lmer(SLOPES, sleep | {"o": np.zeros(180)}, offset="o")
    assert_allclose(in_formula.predict(rows), plain.predict(rows) + 10)
    assert_allclose(by_name.predict(rows), plain.predict(rows) + 10)
    by_array = mw.lmer(SLOPES, sleep, offset=np.ones(180))
    assert_allclose(by_array.predict(), by_array.fitted())
    with pytest.raises(MixwellError, match="MW-P11"):
        by_array.predict(rows)


def test_dropped_columns_are_not_needed_twice(sleep: dict[str, Any]) -> None:
    table = sleep | {"z": 2 * sleep["Days"] + 3}
    with pytest.warns(MixwellWarning, match="MW-C02"):
        m = mw.lmer("Reaction ~ z + Days + (Days | Subject)", table)
    assert m.fixef.names == ("(Intercept)", "z")
    assert_allclose(m.predict(table), m.fitted(), rtol=1e-11)


@pytest.mark.parametrize("options", [{"re": "fixed"}, {"new_levels": "ignore"}])
def test_options_are_checked(m: mw.FittedModel, options: dict[str, Any]) -> None:
    with pytest.raises(MixwellError, match="MW-A02"):
        m.predict(**options)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 5))
def test_parts_are_matrix_products(seed: int, k: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    n = 12
    codes = rng.integers(-1, levels, n).astype(np.int32)
    columns = [None if rng.random() < 0.3 else rng.normal(size=n) for _ in range(k)]
    dense = np.column_stack([np.ones(n) if c is None else c for c in columns])
    b = rng.normal(size=(levels, k))
    by_hand = [0.0 if code < 0 else row @ b[code] for row, code in zip(dense, codes, strict=True)]
    assert_allclose(random_part(codes, columns, b), by_hand, atol=1e-12)
    assert_allclose(fixed_part(columns, b[0], n), dense @ b[0], atol=1e-12)
    assert_array_equal(fixed_part([], np.empty(0), n), np.zeros(n))
