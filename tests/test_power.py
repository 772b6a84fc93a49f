"""Power: plans, exact noncentral distributions, simulation within its error, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import nct
from scipy.stats import t as student

import mixwell as mw

SLOPES = "y ~ cond + (cond | subject) + (cond | item)"
SD = {"subject": {"(Intercept)": 0.5, "condb": 0.3}, "item": {"(Intercept)": 0.3, "condb": 0.2}}


def paired(subjects: int, repeats: int = 1) -> Any:
    return mw.crossed(subject=subjects, within={"cond": ["a", "b"]}, repeats=repeats)


def test_crossed_plans_have_every_combination() -> None:
    plan = mw.crossed(
        subject=4,
        item=3,
        between={"group": ("subject", ["u", "v"])},
        within={"cond": ["a", "b"]},
        rotated={"list": [1, 2, 3]},
        repeats=2,
    )
    table = plan.table()
    assert {len(column) for column in table.values()} == {4 * 3 * 2 * 2}
    cells = set(zip(table["subject"], table["item"], table["cond"], strict=True))
    assert len(cells) == 24
    by_subject = {s: set(table["group"][table["subject"] == s]) for s in "1234"}
    assert by_subject == {"1": {"u"}, "2": {"v"}, "3": {"u"}, "4": {"v"}}
    for subject in "1234":  # each subject sees every value of the rotated predictor once an item
        mine = table["subject"] == subject
        assert sorted(set(zip(table["item"][mine], table["list"][mine], strict=True)))[0][1] in (1, 2, 3)
        assert set(table["list"][mine]) == {1, 2, 3}
    assert len(plan.resized(subject=10).table()["item"]) == 10 * 3 * 4


def test_nested_plans_label_units_by_their_parents() -> None:
    table = mw.nested(school=2, room=3, pupil=4, between={"arm": ("room", ["a", "b"])}).table()
    assert len(set(table["room"])) == 6 and len(set(table["pupil"])) == 24
    assert table["pupil"][0] == "1/1/1"
    assert all(pupil.startswith(room) for pupil, room in zip(table["pupil"], table["room"], strict=True))
    assert dict(zip(table["room"], table["arm"], strict=True))["2/2"] == "b"


def test_a_paired_t_test_has_its_exact_power() -> None:
    """One pair a subject: the noncentral t of the paired test."""
    found = mw.power("y ~ cond + (1 | subject)", paired(12), {"condb": 0.8}, {"subject": 1.0}, n_sim=0)
    nc, df = 0.8 / np.sqrt(2 / 12), 11
    q = student.ppf(0.975, df)
    exact = nct.sf(q, df, nc) + nct.cdf(-q, df, nc)
    assert_allclose(found.approximate, [exact], rtol=1e-6)
    assert np.isnan(found.power).all() and found.n_sim == 0


def test_simulated_power_is_the_exact_one_within_its_error() -> None:
    found = mw.power(
        "y ~ cond + (1 | subject)", paired(12), {"condb": 0.8}, {"subject": 1.0}, n_sim=2000, seed=3
    )
    lower, upper = found.interval
    error = np.sqrt(found.approximate * (1 - found.approximate) / 2000)
    assert abs(found.power - found.approximate)[0] < 3.5 * error[0]
    assert lower[0] < found.power[0] < upper[0]
    table = found.table()
    assert abs(table["mean_estimate"][0] - 0.8) < 3.5 * table["sd_estimate"][0] / np.sqrt(2000)
    assert_allclose(table["mean_se"], table["sd_estimate"], rtol=0.06)
    assert table["type_s"][0] == 0 and table["type_m"][0] > 1


def test_the_size_of_the_test_is_alpha() -> None:
    plan = mw.crossed(subject=10, between={"group": ("subject", ["u", "v"])}, repeats=4)
    found = mw.power("y ~ group + (1 | subject)", plan, {"groupv": 0.0}, {"subject": 1.0}, n_sim=2000, seed=5)
    assert abs(found.power[0] - 0.05) < 3.5 * np.sqrt(0.05 * 0.95 / 2000)
    normal = mw.power(
        "y ~ group + (1 | subject)", plan, {"groupv": 0.0}, {"subject": 1.0}, n_sim=500, seed=5, ddf="normal"
    )
    assert normal.power[0] > 0.06  # ten subjects are few for a normal


def test_results_depend_on_the_seed_only() -> None:
    plan = mw.crossed(subject=8, item=6, within={"cond": ["a", "b"]})
    one, two = (mw.power(SLOPES, plan, {"condb": 0.3}, SD, n_sim=n, seed=11, ddf="normal") for n in (40, 70))
    assert_allclose(one.p_values, two.p_values[:40], rtol=1e-12)
    again = mw.power(SLOPES, plan, {"condb": 0.3}, SD, n_sim=40, seed=11, ddf="normal")
    assert np.array_equal(one.p_values, again.p_values)
    other = mw.power(SLOPES, plan, {"condb": 0.3}, SD, n_sim=40, seed=12, ddf="normal")
    assert not np.allclose(one.p_values, other.p_values)


def test_crossed_designs_with_slopes() -> None:
    plan = mw.crossed(subject=30, item=30, within={"cond": ["a", "b"]})
    found = mw.power(SLOPES, plan, {"condb": 0.25}, SD, cor={"subject": 0.3}, n_sim=200, seed=1)
    assert 0.0 <= found.singular < 0.5 and found.failed == 0.0
    assert abs(found.power[0] - found.approximate[0]) < 0.12
    assert "30 levels" in repr(found) and "singular" in repr(found)


def test_terms_of_several_coefficients_get_joint_tests() -> None:
    plan = mw.crossed(subject=15, within={"dose": ["0", "1", "2"]}, repeats=2)
    effects = {"dose1": 0.3, "dose2": 0.6}
    found = mw.power("y ~ dose + (1 | subject)", plan, effects, {"subject": 1.0}, n_sim=300, seed=2)
    assert [test.name for test in found.tests] == ["dose1", "dose2", "dose"]
    error = np.sqrt(found.approximate * (1 - found.approximate) / 300)
    assert np.all(np.abs(found.power - found.approximate) < 4 * error + 1e-3)
    only = mw.power("y ~ dose + (1 | subject)", plan, effects, {"subject": 1.0}, terms="dose", n_sim=0)
    assert [test.name for test in only.tests] == ["dose"]
    assert_allclose(only.approximate, found.approximate[2:])


def test_power_rises_with_units() -> None:
    curve = mw.power_curve(
        SLOPES,
        mw.crossed(subject=5, item=5, within={"cond": ["a", "b"]}),
        {"condb": 0.3},
        SD,
        over={"subject": [10, 20, 40], "item": [10, 20]},
        n_sim=0,
    )
    table = curve.table()
    assert list(table) == ["subject", "item", "test", "power", "lower", "upper", "approximate", "singular"]
    by_subject = np.array(table["approximate"]).reshape(3, 2)
    assert np.all(np.diff(by_subject, axis=0) > 0) and np.all(np.diff(by_subject, axis=1) > 0)


def test_the_minimum_effect_is_found_with_the_power_asked_for() -> None:
    plan = paired(20, repeats=5)
    found = mw.minimum_effect("y ~ cond + (1 | subject)", plan, "condb", {"subject": 1.0}, n_sim=800, seed=4)
    assert abs(found.at.power[0] - 0.8) < 0.02
    assert found.effect == pytest.approx(found.approximate, rel=0.15)
    exact = mw.minimum_effect("y ~ cond + (1 | subject)", plan, "condb", {"subject": 1.0}, n_sim=0)
    assert exact.at.approximate[0] == pytest.approx(0.8, abs=1e-5)
    assert "condb" in repr(found)


def test_power_of_a_fitted_model() -> None:
    m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy"))
    few = m.power(effects={"Days": 3.0}, n_sim=100, seed=1)
    many = m.power(effects={"Days": 3.0}, extend={"Subject": 72}, n_sim=100, seed=1)
    assert few.model.nobs == 180 and many.model.nobs == 720
    assert many.approximate[0] > few.approximate[0] + 0.2
    assert m.power("Days", n_sim=0).approximate[0] > 0.99


def test_a_table_serves_as_a_design() -> None:
    import pandas as pd

    table = pd.DataFrame(paired(12).table())
    found = mw.power("y ~ cond + (1 | subject)", table, {"condb": 0.8}, {"subject": 1.0}, n_sim=0)
    same = mw.power("y ~ cond + (1 | subject)", paired(12), {"condb": 0.8}, {"subject": 1.0}, n_sim=0)
    assert_allclose(found.approximate, same.approximate)
    assert isinstance(found.table(), pd.DataFrame)


def test_a_model_without_random_effects() -> None:
    plan = mw.crossed(unit=20, between={"arm": ("unit", ["a", "b"])})
    found = mw.power("y ~ arm", plan, {"armb": 1.0}, {}, n_sim=0)
    nc, q = 1.0 / np.sqrt(4 / 20), student.ppf(0.975, 18)
    assert_allclose(found.approximate, [nct.sf(q, 18, nc) + nct.cdf(-q, 18, nc)], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"effects": {"condB": 0.3}}, "MW-A67"),
        ({"effects": {}}, "MW-A70"),
        ({"sd": {}}, "MW-A70"),
        ({"sd": {"subject": 1.0, "item": 1.0}}, "MW-A67"),
        ({"sd": {"subject": {"cond": 1.0}}}, "MW-A70"),
        ({"sd": {"subject": -1.0}}, "MW-A71"),
        ({"effects": {"condb": "much"}}, "MW-A71"),
        ({"sigma": 0.0}, "MW-A71"),
        ({"alpha": 5}, "MW-A72"),
        ({"n_sim": -1}, "MW-A07"),
        ({"terms": "cnd"}, "MW-A67"),
        ({"seed": "x"}, "MW-A07"),
        ({"sgima": 1.0}, "MW-A01"),
        ({"cor": {"item": 0.3}}, "MW-A67"),
    ],
)
def test_refusals(change: dict[str, Any], code: str) -> None:
    given: dict[str, Any] = {"effects": {"condb": 0.3}, "sd": {"subject": 1.0}, "n_sim": 0} | change
    effects, sd = given.pop("effects"), given.pop("sd")
    with pytest.raises(mw.MixwellError, match=code):
        mw.power("y ~ cond + (1 | subject)", paired(8), effects, sd, **given)


def test_plans_that_cannot_be() -> None:
    for make, code in [
        (mw.crossed, "MW-A68"),
        (lambda: mw.crossed(subject=0), "MW-A68"),
        (lambda: mw.crossed(subject=2.5), "MW-A68"),  # type: ignore[arg-type]
        (lambda: mw.crossed(subject=3, within={"cond": "ab"}), "MW-A69"),
        (lambda: mw.crossed(subject=3, between={"g": ["a", "b"]}), "MW-A69"),  # type: ignore[dict-item]
        (lambda: mw.crossed(subject=3, between={"g": ("sbject", ["a", "b"])}), "MW-A67"),
        (lambda: mw.crossed(subject=3, within={"subject": [1, 2]}), "MW-A69"),
        (lambda: paired(3).resized(sbject=4), "MW-A67"),
    ]:
        with pytest.raises(mw.MixwellError, match=code):
            make()
    with pytest.raises(mw.MixwellError, match="MW-A73"):
        mw.power_curve("y ~ 1 + (1|g)", {"g": ["a", "b"]}, {}, {"g": 1}, over={"g": [3]})  # type: ignore[arg-type]
    plan = mw.crossed(subject=3, item=3, within={"cond": ["a", "b"]})
    with pytest.raises(mw.MixwellError, match="MW-A71"):
        mw.power(SLOPES, plan, {"condb": 0}, SD, cor={"subject": 3.0}, n_sim=0)
