"""Plots of inference: the data behind each are numbers of the public interface, and the artists show them."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import mixwell as mw

matplotlib = pytest.importorskip("matplotlib")


def data(name):
    return mw.data.load(name, "dict")


@cache
def sleep():
    return mw.lmer("Reaction ~ Days + (Days | Subject)", data("sleepstudy"))


@cache
def dyestuff(name="dyestuff"):
    return mw.lmer("Yield ~ 1 + (1 | Batch)", data(name))


@cache
def cake():
    return mw.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", data("cake"))


@cache
def herds():
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    return mw.glmer(formula, data("cbpp"), family="binomial")


@cache
def line():
    return mw.lm("Reaction ~ Days", data("sleepstudy"))


@cache
def curve():
    plan = mw.crossed(subject=8, item=4, within={"cond": ["a", "b"]})
    sd, over = {"subject": 0.5, "item": 0.3}, {"subject": [8, 16], "item": [4, 8]}
    formula = "y ~ cond + (1 | subject) + (1 | item)"
    return mw.power_curve(formula, plan, {"condb": 0.5}, sd, over=over, n_sim=40, seed=1, progress=False)


def panels(drawn):
    return list(np.ravel(np.asarray(drawn.axes, dtype=object)))


def xy(axes):
    """All points of the lines of an axes, (n, 2)."""
    points = [np.column_stack(each.get_data()).astype(float) for each in axes.lines]
    return np.concatenate([np.empty((0, 2)), *points])


def segments(axes):
    found = [np.empty((0, 2, 2))]
    for each in axes.collections:
        if hasattr(each, "get_segments"):
            found += [np.asarray(part)[None] for part in each.get_segments() if len(part) == 2]
    return np.concatenate(found)


def has(points, x, y, close=1e-9):
    scale = 1.0 + np.abs(points)
    return bool((np.abs(points - [x, y]) <= close * scale).all(axis=1).any())


def where(table, **keys):
    columns = {name: np.asarray(table[name], dtype=object) for name in table}
    mask = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for name, value in keys.items():
        mask &= columns[name] == value
    return {name: column[mask] for name, column in columns.items()}


EVERY = {
    "profile": lambda **more: dyestuff().plot.profile(levels=[0.95], **more),
    "profile_pairs": lambda **more: dyestuff().plot.profile_pairs(levels=[0.9], **more),
    "bootstrap": lambda **more: dyestuff().plot.bootstrap(50, seed=1, **more),
    "forest": lambda **more: sleep().plot.forest(random="wald", **more),
    "predictions": lambda **more: sleep().plot.predictions("Days", n=5, **more),
    "emmeans": lambda **more: cake().plot.emmeans("recipe", **more),
    "influence": lambda **more: sleep().plot.influence("Subject", refit=False, **more),
    "power_curve": lambda **more: curve().plot(**more),
    "certificate": lambda **more: sleep().plot.certificate(**more),  # noqa: PLW0108 - fitted when needed
}


@pytest.mark.parametrize("name", EVERY)
def test_shared_behaviour(name, tmp_path):
    drawn = EVERY[name]()
    assert drawn.name == name
    assert isinstance(drawn.data, dict)
    assert len({len(column) for column in drawn.data.values()}) == 1
    drawn.save(tmp_path / "plot.png", dpi=50)
    assert drawn._repr_png_().startswith(b"\x89PNG")
    assert f"<Plot {name}:" in repr(drawn)
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []
    figure = matplotlib.figure.Figure()
    own = list(figure.subplots(1, len(panels(drawn)), squeeze=False).ravel())
    again = EVERY[name](ax=own if len(own) > 1 else own[0])
    assert again.figure is figure
    assert panels(again) == own
    assert figure._suptitle is None
    if len(own) > 1:
        with pytest.raises(mw.MixwellError) as refused:
            EVERY[name](ax=own[0])
        assert refused.value.code == "MW-A127"


@pytest.mark.parametrize("name", EVERY)
def test_unknown_option(name):
    with pytest.raises(mw.MixwellError) as refused:
        EVERY[name](colour="red")
    assert refused.value.code == "MW-A01"


def test_data_in_the_library_of_the_caller():
    pandas = pytest.importorskip("pandas")
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "pandas"))
    assert isinstance(m.plot.certificate().data, pandas.DataFrame)
    assert isinstance(m.plot.forest().data, pandas.DataFrame)
    assert isinstance(m.profile("sigma").plot().data, pandas.DataFrame)


# --- profiles -------------------------------------------------------------------------------------------


def test_profile_limits_are_those_of_confint():
    found = sleep().profile(points=5)
    drawn = found.plot(levels=[0.8, 0.95])
    for level in (0.8, 0.95):
        table = sleep().confint(level=level)
        for at, term in enumerate(table["term"]):
            limits = where(drawn.data, term=term, what="limit", level=level)["value"]
            assert np.allclose(limits.astype(float), [table["lower"][at], table["upper"][at]], rtol=1e-5)
    for axes, name in zip(panels(drawn), found.names, strict=True):
        own = where(drawn.data, term=name)
        ends = where(own, what="limit")
        tips = segments(axes)[:, 1]
        assert all(has(tips, x, y) for x, y in zip(ends["value"], ends["zeta"], strict=True))
        points = where(own, what="point")
        smooth = xy(axes)
        assert all(has(smooth, x, y) for x, y in zip(points["value"], points["zeta"], strict=True))
        solved = [(point.value, point.zeta) for point in found[name].points]
        assert np.allclose(np.column_stack([points["value"], points["zeta"]]).astype(float), solved)
        rising = where(own, what="curve")["zeta"].astype(float)
        assert (np.diff(rising) > 0).all()


def test_profile_of_a_standard_deviation_at_zero():
    drawn = dyestuff("dyestuff2").plot.profile("sd_(Intercept)|Batch", levels=[0.95])
    assert float(np.min(drawn.data["value"])) == 0.0
    limits = where(drawn.data, what="limit")
    assert limits["value"].astype(float).tolist()[0] == 0.0
    assert limits["zeta"].astype(float).tolist()[0] == 0.0
    absolute = dyestuff("dyestuff2").plot.profile("sigma", absolute=True)
    assert xy(absolute.axes)[:, 1].min() >= 0.0


def test_profile_of_a_generalised_model():
    drawn = herds().plot.profile("period2", levels=[0.95])
    table = herds().confint("period2")
    limits = where(drawn.data, what="limit")["value"].astype(float)
    assert np.allclose(limits, [table["lower"][0], table["upper"][0]], rtol=1e-5)


def test_contours_meet_the_traces():
    found = sleep().profile(["(Intercept)", "Days", "sigma"])
    drawn = found.plot_pairs(levels=[0.5, 0.95])
    assert panels(drawn)[0].figure.axes == panels(drawn)
    radius = math.sqrt(-2 * math.log(0.05))
    own = where(drawn.data, first="(Intercept)", second="Days")
    contour = where(own, what="contour", level=0.95)
    x, y = contour["first_zeta"].astype(float), contour["second_zeta"].astype(float)
    # A contour reaches as far as its radius, exactly where it meets the traces.
    assert np.allclose([x.max(), x.min(), y.max(), y.min()], [radius, -radius, radius, -radius], rtol=1e-3)
    trace = where(own, what="trace of first")
    at = np.argmax(x)
    order = np.argsort(trace["first_zeta"].astype(float))
    expected = np.interp(
        x[at], trace["first_zeta"].astype(float)[order], trace["second_zeta"].astype(float)[order]
    )
    assert abs(y[at] - expected) < 0.06  # of a polygon with corners every two degrees
    upper, lower = panels(drawn)[1], panels(drawn)[3]
    assert has(xy(upper), y[7], x[7])
    assert has(xy(lower), contour["first_value"][7], contour["second_value"][7])
    # Fixed effects of a balanced design do not depend on sigma.
    apart = where(where(drawn.data, first="Days", second="sigma"), what="trace of second")
    assert np.allclose(apart["first_zeta"].astype(float), 0.0, atol=1e-3)


def test_contours_against_the_likelihood_of_balanced_one_way_data():
    from scipy.optimize import minimize_scalar

    m = dyestuff()
    y = np.asarray(m.design.y)
    codes = m.design.random[0].codes
    n_each = 5

    def deviance(mean, sd):
        sums, squares = np.bincount(codes, y - mean), float(np.sum((y - mean) ** 2))
        between = float(np.sum(sums**2)) / n_each

        def at(log_sigma):
            s2 = math.exp(2 * log_sigma)
            v = s2 + n_each * sd**2
            constant = y.size * math.log(2 * math.pi) + sums.size * (
                (n_each - 1) * math.log(s2) + math.log(v)
            )
            return constant + (squares - between) / s2 + between / v

        return minimize_scalar(at, bounds=(1, 7), method="bounded").fun

    least = m.update(method="ML").deviance
    names = ["(Intercept)", "sd_(Intercept)|Batch"]
    for level, close in ((0.5, 0.15), (0.8, 0.3), (0.95, 0.7)):
        contour = where(m.plot.profile_pairs(names, levels=[level]).data, what="contour")
        pairs = list(zip(contour["first_value"], contour["second_value"], strict=True))[::9]
        rises = np.array([deviance(float(a), float(b)) - least for a, b in pairs])
        inside = np.array([float(b) > 0 for _, b in pairs])
        assert np.abs(rises[inside] + 2 * math.log(1 - level)).max() < close


def test_pairs_of_too_many_or_one():
    with pytest.raises(mw.MixwellError) as refused:
        dyestuff().plot.profile_pairs("sigma")
    assert refused.value.code == "MW-A129"
    with pytest.raises(mw.MixwellError) as refused:
        dyestuff().plot.profile(levels=[95])
    assert refused.value.code == "MW-A07"


def test_profile_of_what_is_not_identified():
    found = dyestuff().profile(["(Intercept)", "sigma"])
    lost = replace(found.curves[1], estimate=math.nan)
    one = replace(found, curves=(found.curves[0], lost))
    assert set(one.plot(levels=[0.9]).data["term"]) == {"(Intercept)"}
    with pytest.raises(mw.MixwellError) as refused:
        replace(found, curves=(lost, lost)).plot()
    assert refused.value.code == "MW-A127"


def test_profile_with_a_plateau_shows_the_part_that_is_none():
    table = {"y": [0, 0, 0, 1, 1, 1, 1, 1], "x": [0, 0, 0, 0, 1, 1, 1, 1]}
    with pytest.warns(mw.MixwellWarning):
        m = mw.glm("y ~ x", table, family="binomial")
    drawn = m.plot.profile("x", levels=[0.95])
    assert where(drawn.data, what="limit")["value"].astype(float).round(3).tolist() == [0.864]  # no upper one
    assert drawn.data["value"].max() < 100


# --- bootstrap ------------------------------------------------------------------------------------------


def test_bootstrap_counts():
    drawn = dyestuff("dyestuff2").bootstrap(200, seed=1)
    plot = drawn.plot()
    table = drawn.confint()
    for at, (axes, term) in enumerate(zip(panels(plot), drawn.names, strict=True)):
        own = where(plot.data, term=term)
        values = drawn.values[:, at]
        assert own["count"].sum() == np.isfinite(values).sum()
        bins = where(own, what="bin")
        for left, right, count in zip(bins["left"], bins["right"], bins["count"], strict=True):
            inside = (values >= left) & (
                (values < right) | (right == bins["right"].max()) & (values <= right)
            )
            assert inside[np.abs(values) > 1e-6].sum() == count
        bars = sorted((bar.get_x(), bar.get_height()) for bar in axes.patches if bar.get_height() > 0)
        heights = sorted(int(count) for count in own["count"] if count > 0)
        assert sorted(round(height) for _, height in bars) == heights
        assert own["estimate"][0] == table["estimate"][at]
        assert (own["lower"][0], own["upper"][0]) == (table["lower"][at], table["upper"][at])
        assert np.allclose(segments(axes)[0][:, 0], [own["lower"][0], own["upper"][0]])
    spike = where(plot.data, term="sd_(Intercept)|Batch", what="boundary")
    assert spike["left"].tolist() == [0.0]
    assert spike["count"][0] == np.sum(drawn.values[:, 1] < 1e-4)
    assert spike["count"][0] > 80
    assert f"{spike['count'][0] / 2:.3g} % at 0" in [text.get_text() for text in panels(plot)[1].texts]


def test_bootstrap_of_replicates_far_away():
    drawn = herds().bootstrap(100, seed=1)
    values = np.array(drawn.values)
    values[0, 1] = -40.0
    plot = replace(drawn, values=values).plot(parameters="period2")
    beyond = where(plot.data, what="beyond")
    assert beyond["left"].tolist() == [-40.0]
    assert np.sum(plot.data["count"]) == 100
    with pytest.raises(mw.MixwellError) as refused:
        drawn.plot(parameters="period")
    assert refused.value.code == "MW-A48"


# --- forest ---------------------------------------------------------------------------------------------


def test_forest_has_the_intervals_of_tidy_and_confint():
    m, other = sleep(), sleep().update(method="ML")
    drawn = m.plot.forest(other, names=["REML", "ML"], level=0.9, intercept=True)
    for name, each in (("REML", m), ("ML", other)):
        fixed, table = where(drawn.data, model=name, part="fixed"), each.tidy(level=0.9)
        random = where(drawn.data, model=name, part="random")
        limits = each.confint(list(random["term"]), level=0.9)
        for column in ("estimate", "lower", "upper"):
            assert np.array_equal(fixed[column].astype(float), table[column])
            assert np.allclose(random[column].astype(float), limits[column], rtol=1e-6)
    assert list(random["term"]) == ["sd_(Intercept)|Subject", "sd_Days|Subject", "sigma"]
    for axes, part in zip(panels(drawn), ("fixed", "random"), strict=True):
        own = where(drawn.data, part=part)
        drawn_at = xy(axes)[:, 0]
        ends = segments(axes)[:, :, 0]
        for estimate, lower, upper in zip(own["estimate"], own["lower"], own["upper"], strict=True):
            assert np.isclose(drawn_at, estimate).any()
            assert np.isclose(ends, [lower, upper]).all(axis=1).any()


def test_forest_of_other_models():
    ratios = herds().plot.forest(exponentiate=True, random="wald")
    assert np.allclose(
        where(ratios.data, part="fixed")["estimate"].astype(float), np.exp(herds().fixef.values[1:])
    )
    assert panels(ratios)[0].get_xscale() == "log"
    assert where(line().plot.forest().data, part="random")["term"].tolist() == ["sigma"]
    singular = dyestuff("dyestuff2").plot.forest()
    sd = where(singular.data, term="sd_(Intercept)|Batch")
    assert (sd["estimate"][0], sd["lower"][0]) == (0.0, 0.0)
    assert sd["upper"][0] > 1.0
    hollow = dyestuff("dyestuff2").plot.forest(random="wald")  # no Wald interval on the boundary
    assert any(each.get_markerfacecolor() == "white" for each in panels(hollow)[1].lines)


def test_forest_of_an_infinite_coefficient():
    table = {"y": [0, 0, 0, 1, 1, 1, 1, 1], "x": [0, 0, 0, 0, 1, 1, 1, 1], "z": [0, 1, 1, 0, 1, 0, 1, 0]}
    with pytest.warns(mw.MixwellWarning):
        m = mw.glm("y ~ x + z", table, family="binomial")
    drawn = m.plot.forest()
    drawn._repr_png_()
    assert np.isfinite(drawn.data["estimate"].astype(float)).all()


def test_forest_refuses():
    for options, code in (
        ({"names": ["one", "two"]}, "MW-A07"),
        ({"random": "yes"}, "MW-A02"),
        ({"level": 95}, "MW-A49"),
    ):
        with pytest.raises(mw.MixwellError) as refused:
            sleep().plot.forest(**options)
        assert refused.value.code == code
    with pytest.raises(mw.MixwellError) as refused:
        herds().update("~ . - period - 1").plot.forest(random="none")
    assert refused.value.code == "MW-A127"


# --- predictions ----------------------------------------------------------------------------------------


def test_predictions_are_those_of_predict():
    drawn = sleep().plot.predictions("Days", interval="both", n=4, level=0.9, points=True)
    assert drawn.data["Days"].tolist() == [0.0, 3.0, 6.0, 9.0]
    rows = {"Days": drawn.data["Days"], "Subject": ["new"] * 4}
    for kind in ("confidence", "prediction"):
        table = sleep().predict(rows, re="population", interval=kind, level=0.9)
        assert np.allclose(drawn.data["fit"], table["fit"])
        assert np.allclose(drawn.data[f"{kind}_lower"], table["lower"])
        assert np.allclose(drawn.data[f"{kind}_upper"], table["upper"])
        for band in drawn.axes.collections:
            assert band.get_paths()[0].vertices[:, 0].max() <= 9.0  # not beyond the data
    shown = xy(drawn.axes)
    assert all(has(shown, x, y) for x, y in zip(drawn.data["Days"], drawn.data["fit"], strict=True))
    assert has(shown, 0.0, sleep().design.y[0])
    vertices = drawn.axes.collections[1].get_paths()[0].vertices
    assert all(has(vertices, x, y) for x, y in zip(rows["Days"], drawn.data["confidence_upper"], strict=True))


def test_predictions_by_end_with_the_data():
    rng = np.random.default_rng(2)
    table = {
        "x": np.concatenate([np.linspace(0, 1, 20), np.linspace(2, 5, 20)]),
        "f": ["a"] * 20 + ["b"] * 20,
    }
    table |= {"y": rng.normal(size=40), "z": rng.normal(size=40)}
    m = mw.lm("y ~ x + f + z", table)
    drawn = m.plot.predictions("x", by="f", n=3)
    assert drawn.data["x"].tolist() == [0.0, 0.5, 1.0, 2.0, 3.5, 5.0]
    expected = m.predict({"x": drawn.data["x"], "f": drawn.data["f"], "z": np.full(6, table["z"].mean())})
    assert np.allclose(drawn.data["fit"], expected)
    fixed = m.plot.predictions("x", by=["f", "z"], at={"z": [0.0, 1.0]}, n=2)
    assert fixed.axes.size == 2
    assert len(fixed.data["fit"]) == 8
    expected = m.predict({name: fixed.data[name] for name in ("x", "f", "z")})
    assert np.allclose(fixed.data["fit"], expected)


def test_predictions_of_a_generalised_model():
    drawn = herds().plot.predictions("period", interval="both", trials=10)
    table = herds().predict({"period": drawn.data["period"]}, re="population", interval="confidence")
    assert np.allclose(drawn.data["confidence_lower"], table["lower"])
    assert (drawn.data["prediction_lower"] >= 0).all()
    assert (drawn.data["prediction_upper"] <= 1).all()
    link = herds().plot.predictions("period", type="link", interval="none")
    assert np.allclose(1 / (1 + np.exp(-link.data["fit"])), drawn.data["fit"])
    marginal = herds().plot.predictions("period", re="marginal")
    assert (np.abs(marginal.data["fit"] - 0.5) < np.abs(drawn.data["fit"] - 0.5)).all()


def test_predictions_refuse():
    for options, code in (
        ({"x": "Dayz"}, "MW-A115"),
        ({"x": "Days", "by": "Subject"}, "MW-A115"),
        ({"x": "Days", "by": "Days"}, "MW-A127"),
        ({"x": "Days", "type": "link"}, "MW-A31"),
        ({"x": "Days", "n": 1}, "MW-A07"),
        ({"x": "Days", "interval": "wide"}, "MW-A02"),
    ):
        with pytest.raises(mw.MixwellError) as refused:
            sleep().plot.predictions(**options)
        assert refused.value.code == code, options


# --- marginal means -------------------------------------------------------------------------------------


def test_emmeans_and_contrasts():
    drawn = cake().plot.emmeans("recipe", by="temp", at={"temp": [180, 210]}, level=0.9)
    means = cake().emmeans("recipe", by="temp", at={"temp": [180, 210]}, level=0.9)
    table, compared = means.table(), means.contrast("pairwise").table()
    own, contrasts = where(drawn.data, panel="mean"), where(drawn.data, panel="contrast")
    assert np.allclose(own["estimate"].astype(float), table["emmean"])
    assert np.allclose(contrasts["p_value"].astype(float), compared["p_value"])
    for column in ("lower", "upper"):
        assert np.allclose(own[column].astype(float), table[column])
        assert np.allclose(contrasts[column].astype(float), compared[column])
    for axes, rows in zip(panels(drawn), (own, contrasts), strict=True):
        assert all(np.isclose(xy(axes)[:, 0], each).any() for each in rows["estimate"])
        ends = segments(axes)[:, :, 0]
        for lower, upper in zip(rows["lower"], rows["upper"], strict=True):
            assert np.isclose(ends, [lower, upper]).all(axis=1).any()


def test_shortcut_of_means():
    means = cake().emmeans("recipe", adjust="bonferroni")
    assert means.plot().data["label"] == cake().plot.emmeans("recipe").data["label"]
    table = means.table()
    assert np.allclose(where(means.plot().data, panel="mean")["lower"].astype(float), table["lower"])


def test_emmeans_of_ratios():
    drawn = herds().plot.emmeans("period", type="response", method="trt.vs.ctrl")
    table = herds().emmeans("period", type="response").contrast("trt.vs.ctrl").table()
    assert np.allclose(where(drawn.data, panel="contrast")["estimate"].astype(float), table["odds_ratio"])
    assert panels(drawn)[1].get_xscale() == "log"
    only = herds().plot.emmeans("period", method=None)
    assert set(only.data["panel"]) == {"mean"}
    with pytest.raises(mw.MixwellError) as refused:
        herds().plot.emmeans("herd")
    assert refused.value.code == "MW-A115"


# --- influence ------------------------------------------------------------------------------------------


def test_influence():
    found = sleep().influence("Subject", refit=False)
    drawn = found.plot(label=3)
    assert np.array_equal(drawn.data["value"], found.cooks)
    named = [unit for unit, is_named in zip(drawn.data["unit"], drawn.data["named"], strict=True) if is_named]
    largest = np.argsort(-found.cooks)[:3]
    assert set(named) == {found.labels[i] for i in largest}
    heights = xy(drawn.axes)[:, 1]
    assert all(np.isclose(heights, each).any() for each in found.cooks)
    both = found.plot(measure="dfbetas")
    assert np.array_equal(where(both.data, coefficient="Days")["value"].astype(float), found.dfbetas[:, 1])
    ratio = found.plot(measure="covratio", label=1)
    far = np.argmax(np.abs(np.log(found.covratio)))
    assert ratio.data["named"].index(True) == far
    rows = sleep().plot.influence(label=2)
    texts = {text.get_text() for text in rows.axes.texts}
    assert texts == {str(i) for i in np.argsort(-sleep().influence().cooks)[:2]}


def test_influence_refuses():
    with pytest.raises(mw.MixwellError) as refused:
        herds().plot.influence()
    assert refused.value.code == "MW-A127"
    for options, code in (
        ({"measure": "cook"}, "MW-A02"),
        ({"label": -1}, "MW-A07"),
        ({"group": "x"}, "MW-A54"),
    ):
        with pytest.raises(mw.MixwellError) as refused:
            sleep().plot.influence(**options)
        assert refused.value.code == code


# --- power ----------------------------------------------------------------------------------------------


def test_power_curve():
    drawn, table = curve().plot(), curve().table()
    for name, column in table.items():
        assert list(drawn.data[name]) == list(column)
    shown = xy(drawn.axes)
    for size, power in zip(table["subject"], table["power"], strict=True):
        assert has(shown, size, power)
    band = np.concatenate([each.get_paths()[0].vertices for each in drawn.axes.collections])
    assert all(has(band, x, y) for x, y in zip(table["subject"], table["lower"], strict=True))
    assert any((np.asarray(each.get_ydata()) == 0.8).all() for each in drawn.axes.lines)
    with pytest.raises(mw.MixwellError) as refused:
        curve().plot(target=80)
    assert refused.value.code == "MW-A07"


# --- certificate ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [sleep, herds, line, lambda: dyestuff("dyestuff2")])
def test_certificate(model):
    m = model()
    drawn, found = m.plot.certificate(), m.certificate()
    checks = where(drawn.data, panel="check")
    assert list(checks["label"]) == [check.name for check in found.checks]
    assert list(checks["limit"]) == [check.tolerance for check in found.checks]
    assert list(checks["passed"]) == [check.passed for check in found.checks]
    assert np.allclose(checks["value"].astype(float), [max(check.residual, 0) for check in found.checks])
    assert all(drawn.data["passed"])
    marks = [text.get_text() for text in panels(drawn)[0].texts]
    assert marks == ["✓"] * len(found.checks)
    if m.is_mixed:
        sds = np.concatenate([each.sd for each in m.repca()])
        assert np.array_equal(where(drawn.data, panel="boundary")["value"].astype(float), sds)
        curvature = where(drawn.data, panel="curvature")["value"].astype(float)
        assert (curvature > 0).all()
        ends = segments(panels(drawn)[2])[:, 1, 1]
        assert np.allclose(np.sort(ends), np.sort(curvature))
    else:
        assert set(drawn.data["panel"]) == {"check"}


def test_certificate_of_a_search_that_was_stopped():
    with pytest.warns(mw.MixwellWarning):
        m = mw.lmer(
            "Reaction ~ Days + (Days | Subject)", data("sleepstudy"), control=mw.Control(max_evaluations=2)
        )
        drawn = m.plot.certificate()
    assert not all(drawn.data["passed"])
    assert "✗ FAIL" in [text.get_text() for axes in panels(drawn) for text in axes.texts]
    steep = where(drawn.data, panel="gradient")["value"].astype(float)
    assert steep.max() > 1e-3


def test_a_forest_of_the_fast_stage_has_wald_intervals() -> None:
    data = mw.data.load("cbpp", "dict")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    m = mw.glmer(formula, data, family="binomial", nagq=0)
    drawn = m.plot.forest()
    assert "Wald" in drawn.axes[1].get_xlabel()
    assert drawn.data["lower"].tolist() == m.plot.forest(random="wald").data["lower"].tolist()
