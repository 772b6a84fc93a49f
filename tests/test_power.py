"""Power: plans, exact noncentral distributions, simulation within its error, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2, nct
from scipy.stats import t as student

import mixwell as mw
from mixwell.planning import experiments
from mixwell.resampling import simulate

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
    assert 0.02 < found.singular < 0.5 and found.failed == 0.0
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


def drawn(found: Any, count: int) -> Any:
    """Models fitted anew, one at a time, to the responses that were simulated."""
    draw = simulate.parametric(found.model)
    responses = next(experiments._responses(draw, found.n_sim, found.seed, found.model.nobs))
    for y in responses[:count]:
        yield replace(
            found.model, optimum=found.model.problem.optimize(found.model.is_reml, None, 500)
        ).refit(y)


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger", "residual", "normal"])
def test_each_experiment_is_tested_as_its_fit_would_be(ddf: Any) -> None:
    plan = mw.crossed(subject=8, item=5, within={"dose": ["0", "1", "2"]})
    formula, sd = "y ~ dose + (1 | subject) + (1 | item)", {"subject": 1.0, "item": 0.5}
    found = mw.power(formula, plan, {"dose1": 0.2, "dose2": 0.4}, sd, n_sim=5, seed=8, ddf=ddf)
    for i, m in enumerate(drawn(found, 5)):
        one = m.test("dose2 = 0", ddf=ddf).table()
        both = m.test("dose1 = 0", "dose2 = 0", ddf=ddf, joint=True).joint
        assert_allclose(found.estimates[i, 1], one["estimate"][0], rtol=1e-5)
        assert_allclose(found.errors[i, 1], one["std_error"][0], rtol=1e-5)
        assert_allclose(found.degrees[i, 1], one["df"][0], rtol=1e-4)
        assert_allclose(found.p_values[i, 1], one["p_value"][0], rtol=1e-4)
        assert_allclose(found.p_values[i, 2], both.p_value, rtol=1e-4)


def test_likelihood_ratio_tests_compare_two_fits_by_maximum_likelihood() -> None:
    plan = mw.crossed(subject=8, item=5, within={"dose": ["0", "1", "2"]})
    formula, sd = "y ~ dose + (1 | subject) + (1 | item)", {"subject": 1.0, "item": 0.5}
    found = mw.power(formula, plan, {"dose1": 0.2, "dose2": 0.4}, sd, n_sim=5, seed=8, test="lrt")
    table = plan.table()
    for i, m in enumerate(drawn(found, 5)):
        data = {**table, "y": m.design.y}
        large = mw.lmer(formula, data, method="ML")
        small = mw.lmer("y ~ 1 + (1 | subject) + (1 | item)", data, method="ML")
        p = chi2.sf(2 * (large.loglik - small.loglik), 2)
        assert_allclose(found.p_values[i, 2], p, rtol=1e-4)
        assert_allclose(found.estimates[i, 1], large.fixef["dose2"], rtol=1e-5)
    assert "likelihood-ratio" in repr(found)
    plan = mw.crossed(subject=10, between={"group": ("subject", ["u", "v"])}, repeats=4)
    given: Any = ("y ~ group + (1 | subject)", plan, {"groupv": 0.0}, {"subject": 1.0})
    size = mw.power(*given, n_sim=500, seed=5, test="lrt")
    assert size.power[0] > 0.06  # ten subjects are few for a chi-square
    assert_allclose(size.approximate, [0.05])


def test_power_rises_with_units() -> None:
    def curve(n_sim: int) -> Any:
        return mw.power_curve(
            SLOPES,
            mw.crossed(subject=5, item=5, within={"cond": ["a", "b"]}),
            {"condb": 0.3},
            SD,
            over={"subject": [10, 20, 40], "item": [10, 20]},
            n_sim=n_sim,
            seed=3,
        )

    table = curve(0).table()
    assert list(table) == ["subject", "item", "test", "power", "lower", "upper", "approximate", "singular"]
    by_subject = np.array(table["approximate"]).reshape(3, 2)
    assert np.all(np.diff(by_subject, axis=0) > 0) and np.all(np.diff(by_subject, axis=1) > 0)
    simulated = curve(100)
    power = np.array(simulated.table()["power"]).reshape(3, 2)
    slack = 3.5 * np.sqrt(2 * 0.25 / 100)
    assert np.all(np.diff(power, axis=0) > -slack) and np.all(np.diff(power, axis=1) > -slack)
    assert power[2, 1] > power[0, 0]
    assert "40" in repr(simulated)


def test_the_minimum_effect_is_found_with_the_power_asked_for() -> None:
    plan = paired(20, repeats=5)
    given: Any = ("y ~ cond + (1 | subject)", plan, "condb", {"subject": 1.0})
    found = mw.minimum_effect(*given, n_sim=800, seed=4)
    assert found.at.power[0] == pytest.approx(0.8, abs=1.5 / 800)
    low, high = found.interval
    assert low < found.effect < high
    assert low - (high - low) < found.approximate < high + (high - low)

    def power(effect: float) -> Any:
        return mw.power(given[0], plan, {"condb": effect}, {"subject": 1.0}, n_sim=800, seed=4)

    # The experiments were not drawn again, but they are what drawing them again gives.
    again = power(found.effect)
    assert_allclose(found.at.estimates, again.estimates, atol=1e-8)
    assert_allclose(found.at.p_values, again.p_values, atol=1e-6)
    assert power(0.99 * found.effect).power[0] < 0.8 <= power(1.001 * found.effect).power[0]
    assert "condb" in repr(found)

    exact = mw.minimum_effect(*given, n_sim=0)
    assert exact.at.approximate[0] == pytest.approx(0.8, abs=1e-8)
    assert exact.effect == exact.approximate == pytest.approx(found.approximate)
    assert "not simulated" in repr(exact)


def test_a_small_power_counts_both_tails() -> None:
    given: Any = ("y ~ cond + (1 | subject)", paired(20), "condb", {"subject": 1.0})
    found = mw.minimum_effect(*given, power=0.1, n_sim=1000, seed=4)
    assert found.at.power[0] == pytest.approx(0.1, abs=0.002)
    assert found.interval[0] < found.approximate < found.interval[1]


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    program = (
        "import mixwell as mw\n"
        "plan = mw.crossed(subject=8, item=6, within={'cond': ['a', 'b']})\n"
        "sd = {'subject': {'(Intercept)': 0.5, 'condb': 0.3}, 'item': 0.3}\n"
        "f = 'y ~ cond + (cond | subject) + (1 | item)'\n"
        "print(mw.power(f, plan, {'condb': 0.3}, sd, n_sim=50, seed=2).p_values.tobytes().hex())\n"
    )
    one, three = (
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "RAYON_NUM_THREADS": threads},
            capture_output=True,
            check=True,
        ).stdout
        for threads in ("1", "3")
    )
    assert one == three and len(one) > 50 * 16


def test_a_singular_truth_does_not_hold_the_search_at_the_boundary() -> None:
    plan = mw.crossed(subject=15, within={"cond": ["a", "b"]}, repeats=3)
    sd = {"subject": {"(Intercept)": 1.0, "condb": 0.0}}
    found = mw.power("y ~ cond + (cond || subject)", plan, {"condb": 0.5}, sd, n_sim=200, seed=1)
    # A variance of zero is estimated as zero about half of the time.
    assert 0.3 < found.singular < 0.75
    for i, m in enumerate(drawn(found, 10)):
        assert_allclose(found.p_values[i, 0], m.test("condb = 0").table()["p_value"][0], rtol=1e-3)


def test_power_of_a_fitted_model() -> None:
    m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy"))
    few = m.power(effects={"Days": 3.0}, n_sim=100, seed=1)
    many = m.power(effects={"Days": 3.0}, extend={"Subject": 72}, n_sim=100, seed=1)
    assert few.model.nobs == 180 and many.model.nobs == 720
    assert many.approximate[0] > few.approximate[0] + 0.2
    assert m.power("Days", n_sim=0).approximate[0] > 0.99


def test_fits_are_extended_by_any_grouping_factor() -> None:
    """Pastes has casks in batches, penicillin plates crossed with samples."""
    nested = mw.lmer("strength ~ 1 + (1 | batch/cask)", mw.data.load("pastes", "dict"))
    crossed = mw.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mw.data.load("penicillin", "dict"))
    more = nested.power(extend={"batch": 20}, n_sim=5, seed=1)
    assert more.model.nobs == 2 * nested.nobs
    assert {term.group: len(term.levels) for term in more.model.design.random} == {
        "batch": 20,
        "batch:cask": 60,
    }
    more = crossed.power(extend={"plate": 48, "sample": 12}, n_sim=5, seed=1)
    assert more.model.nobs == 4 * crossed.nobs
    assert [len(term.levels) for term in more.model.design.random] == [48, 12]
    assert_allclose(more.model.theta, crossed.theta)


def test_weights_and_offsets_of_a_fit_stay() -> None:
    data = mw.data.load("sleepstudy", "dict")
    weights, offset = 1.0 + np.arange(180) % 3, np.linspace(-50, 50, 180)
    m = mw.lmer("Reaction ~ Days + (1 | Subject)", data, weights=weights, offset=offset)
    found = m.power(n_sim=300, seed=2)
    table = found.table()
    assert abs(table["mean_estimate"][0] - m.fixef["Days"]) < 3.5 * m.se["Days"] / np.sqrt(300)
    assert_allclose(table["mean_se"], m.se["Days"], rtol=0.05)
    assert_allclose(table["sd_estimate"], m.se["Days"], rtol=0.15)


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
    simulated = mw.power("y ~ arm", plan, {"armb": 1.0}, {}, n_sim=500, seed=1)
    assert abs(simulated.power[0] - found.approximate[0]) < 3.5 * np.sqrt(0.25 / 500)
    assert_allclose(simulated.degrees, 18)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"effects": {"condB": 0.3}}, "MW-A67"),
        ({"effects": {}}, "MW-A70"),
        ({"sd": {}}, "MW-A70"),
        ({"sd": {"subject": 1.0, "item": 1.0}}, "MW-A67"),
        ({"sd": {"subject": {"cond": 1.0}}}, "MW-A67"),
        ({"sd": {"subject": {}}}, "MW-A70"),
        ({"sd": {"subject": -1.0}}, "MW-A71"),
        ({"effects": {"condb": "much"}}, "MW-A71"),
        ({"sigma": 0.0}, "MW-A71"),
        ({"alpha": 5}, "MW-A72"),
        ({"n_sim": -1}, "MW-A07"),
        ({"effects": ["condb"]}, "MW-A07"),
        ({"sd": 1.0}, "MW-A07"),
        ({"terms": []}, "MW-A07"),
        ({"terms": 3}, "MW-A07"),
        ({"method": "reml"}, "MW-A02"),
        ({"method": "ML", "ddf": "kenward-roger"}, "MW-A20"),
        ({"test": "LRT"}, "MW-A02"),
        ({"test": "lrt", "ddf": "normal"}, "MW-A31"),
        ({"cor": {"subject": 0.3}}, "MW-A71"),  # a random intercept has no correlations
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
        (lambda: mw.crossed(subject=2, between={"g": ("subject", ["a", "b", "c"])}), "MW-A69"),
        (lambda: mw.crossed(subject=3, between={"g": ("subject", "abc")}).resized(subject=2), "MW-A69"),
    ]:
        with pytest.raises(mw.MixwellError, match=code):
            make()
    with pytest.raises(mw.MixwellError, match="MW-A73"):
        mw.power_curve("y ~ 1 + (1|g)", {"g": ["a", "b"]}, {}, {"g": 1}, over={"g": [3]})  # type: ignore[arg-type]
    plan = mw.crossed(subject=3, item=3, within={"cond": ["a", "b"]})
    with pytest.raises(mw.MixwellError, match="MW-A71"):
        mw.power(SLOPES, plan, {"condb": 0}, SD, cor={"subject": 3.0}, n_sim=0)


@pytest.mark.parametrize(
    ("random", "sd", "cor"),
    [
        ("(cond || subject)", {"(Intercept)": 1.0, "condb": 1.0}, 0.3),
        ("(cond | subject)", {"(Intercept)": 1.0, "condb": 1.0}, "much"),
        ("(cond | subject)", {"(Intercept)": 1.0, "condb": 1.0}, float("nan")),
        ("(cond | subject)", {"(Intercept)": 1.0, "condb": 1.0}, [[1.0, 0.2], [0.3, 1.0]]),
        ("cs(0 + dose | subject)", 1.0, [[1.0, 0.5, 0.2], [0.5, 1.0, 0.5], [0.2, 0.5, 1.0]]),
        ("ar1(0 + dose | subject)", 1.0, np.full((3, 3), 0.5) + 0.5 * np.eye(3)),
        ("ar1(0 + dose | subject)", {"dose0": 1.0, "dose1": 2.0, "dose2": 1.0}, 0.5),
    ],
)
def test_what_a_covariance_structure_cannot_have_is_refused(random: str, sd: Any, cor: Any) -> None:
    plan = mw.crossed(subject=6, within={"cond": ["a", "b"], "dose": ["0", "1", "2"]}, repeats=2)
    if "cs(" in random:
        sd = {"dose0": 1.0, "dose1": 1.0, "dose2": 1.0}
    with pytest.raises(mw.MixwellError, match="MW-A71"):
        mw.power(f"y ~ cond + {random}", plan, {"condb": 1.0}, {"subject": sd}, cor={"subject": cor}, n_sim=0)


def test_structures_get_the_covariance_that_was_given() -> None:
    plan = mw.crossed(subject=6, within={"dose": ["0", "1", "2"]}, repeats=2)
    at = np.arange(3)
    powers = 0.5 ** np.abs(np.subtract.outer(at, at))
    for random, sd, cor, expected in [
        ("ar1(0 + dose | subject)", 2.0, 0.5, 4 * powers),
        ("ar1(0 + dose | subject)", 2.0, powers, 4 * powers),
        ("(0 + dose | subject)", {"dose0": 1.0, "dose1": 2.0, "dose2": 3.0}, powers, None),
        ("(0 + dose | subject)", {"dose0": 1.0, "dose1": 2.0, "dose2": 3.0}, np.ones((3, 3)), None),
    ]:
        effects, given = {"dose1": 0.0, "dose2": 0.0}, {"subject": cor}
        found = mw.power(
            f"y ~ dose + {random}", plan, effects, {"subject": sd}, sigma=0.7, cor=given, n_sim=0
        )
        sds = np.array([1.0, 2.0, 3.0])
        assert_allclose(
            found.model.varcorr()["subject"].matrix,
            cor * np.outer(sds, sds) if expected is None else expected,
            atol=1e-10,
        )


@pytest.mark.parametrize(
    ("coefficient", "change", "code"),
    [
        ("condb", {"effects": {"condb": 1.0}}, "MW-A07"),
        ("cond", {}, "MW-A67"),
        ("condb", {"power": 0.05}, "MW-A72"),
        ("condb", {"alpha": "x"}, "MW-A72"),
        ("condb", {"ddf": "kr"}, "MW-A02"),
    ],
)
def test_effects_that_cannot_be_looked_for(coefficient: str, change: dict[str, Any], code: str) -> None:
    with pytest.raises(mw.MixwellError, match=code):
        mw.minimum_effect(
            "y ~ cond + (1 | subject)", paired(8), coefficient, {"subject": 1.0}, n_sim=0, **change
        )


@pytest.mark.parametrize("over", [{}, {"subject": 5}, {"subject": []}, [5]])
def test_sizes_that_cannot_be_read(over: Any) -> None:
    with pytest.raises(mw.MixwellError, match="MW-A07"):
        mw.power_curve(
            "y ~ cond + (1 | subject)", paired(8), {"condb": 1.0}, {"subject": 1.0}, over=over, n_sim=0
        )
