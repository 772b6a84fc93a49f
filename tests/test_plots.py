"""Plots of models: their numbers are those of the public API, and what is drawn are their numbers."""

from __future__ import annotations

import subprocess
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import mixwell as mw
from mixwell.plots.canvas import canvas, plain, short_labels, shorten
from mixwell.plots.effects import effects_of
from mixwell.plots.pooling import alone
from mixwell.plots.quantiles import envelope
from mixwell.plots.smooth import local_linear

MIXED = ("shrinkage", "caterpillar", "ranef_qq", "ranef_pairs", "fitted", "residuals", "scale_location", "qq")


@pytest.fixture(scope="module")
def sleep():
    return mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))


@pytest.fixture(scope="module")
def herds():
    data = mw.data.load("cbpp", "dict")
    return mw.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial")


@pytest.fixture(scope="module")
def schools():
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(20), 6), np.tile(np.linspace(-1, 1, 6), 20)
    b = rng.normal(size=20) * 1.5
    y = (rng.uniform(size=g.size) < 1 / (1 + np.exp(-0.5 - b[g] - x))).astype(int)
    data = {"y": y, "x": x, "g": [f"s{j:02d}" for j in g]}
    return mw.glmer("y ~ x + (1 | g)", data, family="binomial"), data


def points(ax):
    """Coordinates of all symbols of an axes, (n, 2)."""
    return np.vstack([line.get_xydata() for line in ax.lines if line.get_linestyle() == "None"])


def rows(array):
    """Rows in an order of their own, to compare sets of them."""
    array = np.asarray(array, dtype=float)
    return array[np.lexsort(array.T)]


def has(drawn, wanted):
    """Whether all wanted points are drawn."""
    distance = np.abs(np.asarray(drawn)[:, None] - np.asarray(wanted)[None]).max(axis=2)
    return bool((distance.min(axis=0) < 1e-9).all())


# --- the framework --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MIXED)
def test_plots_draw_save_and_leave_nothing_behind(sleep, name, tmp_path):
    before = dict(mpl.rcParams)
    plot = getattr(sleep.plot, name)()
    if name == "residuals":
        assert plot._repr_png_().startswith(b"\x89PNG")
    for ending in ("png", "svg", "pdf") if name == "residuals" else ("png",):
        plot.save(tmp_path / f"plot.{ending}", dpi=80)
        assert (tmp_path / f"plot.{ending}").stat().st_size > 1000
    assert dict(mpl.rcParams) == before
    assert repr(plot).startswith(f"<Plot {name}: ")
    assert "\n" not in repr(plot)
    assert isinstance(plot.figure, Figure)
    with pytest.raises(AttributeError):
        plot.data = None
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


@pytest.mark.parametrize("name", MIXED)
def test_axes_of_the_caller(sleep, name):
    figure = Figure()
    FigureCanvasAgg(figure)
    own = getattr(sleep.plot, name)(**({"max_panels": 2} if name == "fitted" else {}))
    axes = figure.subplots(1, np.size(own.axes), squeeze=False).ravel()
    plot = getattr(sleep.plot, name)(
        ax=axes if axes.size > 1 else axes[0], **({"max_panels": 2} if name == "fitted" else {})
    )
    assert plot.figure is figure
    assert list(np.ravel(plot.axes)) == list(axes)
    assert all(ax.lines or ax.collections for ax in axes)
    assert figure.get_supxlabel() == ""  # margins of the caller's figure are the caller's
    figure.canvas.draw()


def test_too_few_axes_of_the_caller(sleep):
    ax = Figure().subplots()
    with pytest.raises(mw.MixwellError, match=r"MW-A127.*2 panels"):
        sleep.plot.caterpillar(ax=ax)
    with pytest.raises(mw.MixwellError, match="MW-A127"):
        sleep.plot.residuals(ax="here")


def test_unknown_keyword_suggests(sleep):
    with pytest.raises(mw.MixwellError, match="Did you mean 'columns'"):
        sleep.plot.shrinkage(colums="Days")


def test_show_without_a_window_says_so(sleep):
    with mpl.rc_context({"backend": "agg"}):
        import matplotlib.pyplot as plt

        plt.switch_backend("agg")
        with pytest.raises(mw.MixwellError, match="MW-A155"):
            sleep.plot.residuals().show()
        assert plt.get_fignums() == []


def test_matplotlib_is_not_imported_before_a_plot():
    code = (
        "import sys, mixwell as mw\n"
        "m = mw.lmer('Reaction ~ Days + (Days | Subject)', mw.data.load('sleepstudy', 'dict'))\n"
        "str(m); m.plot; repr(m.plot)\n"
        "assert not any(n.split('.')[0] == 'matplotlib' for n in sys.modules)\n"
        "m.plot.residuals()\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_missing_matplotlib_is_named():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import mixwell as mw\n"
        "m = mw.lm('Reaction ~ Days', mw.data.load('sleepstudy', 'dict'))\n"
        "try:\n    m.plot.residuals()\n"
        "except mw.MixwellError as e:\n    assert e.code == 'MW-A126' and 'mixwell[plots]' in str(e)\n"
        "else:\n    raise SystemExit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(("kind", "table"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_data_come_in_the_library_of_the_model(kind, table):
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", kind))
    for name in ("shrinkage", "caterpillar", "ranef_qq", "fitted", "residuals", "qq"):
        assert isinstance(getattr(m.plot, name)().data, table)


def test_labels_are_shown_as_written():
    assert plain("a$b$\n_c") == r"a\$b\$ _c"
    assert len(shorten("x" * 100, 20)) == 20
    names = [f"School of the long name, number {j:03d} (district)" for j in range(200)]
    assert len(set(short_labels(names, 20))) == 200
    data = {"y": [1.0, 2, 4, 3, 5, 8, 2, 1], "g$1": ["_a$", "_a$", "b$", "b$", "c\n", "c\n", "d", "d"]}
    m = mw.lmer("y ~ 1 + (1 | `g$1`)", data)
    for name in ("shrinkage", "caterpillar", "fitted", "ranef_qq"):
        getattr(m.plot, name)()._repr_png_()
    labels = [label.get_text() for label in m.plot.caterpillar().axes.get_yticklabels()]
    assert r"_a\$" in labels


def test_panels_left_over_are_taken_away():
    axes = canvas(2, 3, count=4, share="xy")
    assert len(axes) == 4
    assert len(axes[0].figure.axes) == 4


# --- random effects -------------------------------------------------------------------------------------


def test_shrinkage_is_regressions_modes_and_fixed_effects(sleep):
    plot = sleep.plot.shrinkage()
    data, table = plot.data, mw.data.load("sleepstudy", "dict")
    subjects = np.array([str(each) for each in table["Subject"]])
    coef = sleep.coef("Subject")
    for j, name in enumerate(("(Intercept)", "Days")):
        at = [i for i, each in enumerate(data["term"]) if each == name]
        np.testing.assert_allclose(data["partial_pooling"][at], coef[name], rtol=1e-12)
        np.testing.assert_allclose(data["complete_pooling"][at], sleep.fixef[name], rtol=1e-12)
        for i in at:
            own = subjects == data["level"][i]
            line = np.polyfit(np.asarray(table["Days"])[own], np.asarray(table["Reaction"])[own], 1)
            np.testing.assert_allclose(data["no_pooling"][i], line[1 - j], rtol=1e-9)
    assert list(data["rows"]) == [10] * 36
    partial = data["partial_pooling"].reshape(2, -1).T
    own = data["no_pooling"].reshape(2, -1).T
    drawn = points(plot.axes)
    assert has(drawn, partial)
    assert has(drawn, own)
    arrows = next(each for each in plot.axes.collections if hasattr(each, "U"))
    np.testing.assert_allclose(arrows.get_offsets(), own, rtol=1e-12)
    np.testing.assert_allclose(np.column_stack([arrows.U, arrows.V]), partial - own, atol=1e-9)


def test_ellipses_hold_their_share_of_the_levels(sleep):
    plot = sleep.plot.ranef_pairs()
    inverse = np.linalg.inv(sleep.varcorr()["Subject"].matrix)
    contours = [line.get_xydata() for line in plot.axes.lines if len(line.get_xydata()) > 100]
    radii = [np.einsum("ij,jk,ik->i", each, inverse, each) for each in contours]
    np.testing.assert_allclose(radii[0], -2 * np.log(0.5), rtol=1e-9)
    np.testing.assert_allclose(radii[1], -2 * np.log(0.05), rtol=1e-9)
    modes = np.asarray(sleep.ranef()["estimate"]).reshape(-1, 2)
    assert has(points(plot.axes), modes)
    np.testing.assert_array_equal(np.column_stack([plot.data["x"], plot.data["y"]]), modes)


def test_shrinkage_of_one_effect(sleep):
    plot = sleep.plot.shrinkage(columns="Days")
    data = plot.data
    order = np.argsort(data["partial_pooling"], kind="stable")
    places = np.arange(18.0)
    assert has(points(plot.axes), np.column_stack([data["partial_pooling"][order], places]))
    assert has(points(plot.axes), np.column_stack([data["no_pooling"][order], places]))
    labels = [label.get_text() for label in plot.axes.get_yticklabels()]
    assert labels == [data["level"][i] for i in order]


def test_levels_alone_hold_everything_else():
    data = mw.data.load("penicillin", "dict")
    m = mw.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
    plot = m.plot.shrinkage("plate")
    modes = m.ranef()
    sample = {
        level: value
        for group, level, value in zip(modes["group"], modes["level"], modes["estimate"], strict=True)
        if group == "sample"
    }
    rest = np.asarray(data["diameter"]) - [sample[str(each)] for each in data["sample"]]
    for level, value in zip(plot.data["level"], plot.data["no_pooling"], strict=True):
        own = np.array([str(each) == level for each in data["plate"]])
        np.testing.assert_allclose(value, rest[own].mean(), rtol=1e-9)


def test_weighted_levels_alone():
    rng = np.random.default_rng(8)
    g = np.repeat(np.arange(8), 6)
    data = {"y": rng.normal(size=48) + g, "x": rng.normal(size=48), "w": rng.uniform(0.5, 3, 48), "g": g}
    m = mw.lmer("y ~ x + (x | g)", data, weights="w")
    table = m.plot.shrinkage().data
    for j in range(8):
        own = g == j
        fit = mw.lm("y ~ x", {k: v[own] for k, v in data.items()}, weights="w")
        np.testing.assert_allclose(table["no_pooling"][[j, j + 8]], fit.fixef.values, rtol=1e-8)


@pytest.mark.parametrize(
    ("family", "link"), [("poisson", "log"), ("gamma", "log"), ("binomial", "probit"), ("nbinom2", "log")]
)
def test_generalized_levels_alone_are_maximum_likelihood(family, link):
    rng = np.random.default_rng(11)
    g, x = np.repeat(np.arange(6), 12), rng.normal(size=72)
    eta = 1 + 0.4 * x + 0.6 * rng.normal(size=6)[g]
    y = {
        "poisson": lambda: rng.poisson(np.exp(eta)),
        "nbinom2": lambda: rng.negative_binomial(3, 3 / (3 + np.exp(eta))),
        "gamma": lambda: rng.gamma(2.0, np.exp(eta) / 2.0),
        "binomial": lambda: rng.binomial(10, 1 / (1 + np.exp(-eta))) / 10,
    }[family]()
    n = np.full(72, 10.0)
    data = {"y": y, "x": x, "g": g, "n": n}
    weights = "n" if family == "binomial" else None
    m = mw.glmer("y ~ x + (x || g)", data, family=family, link=link, weights=weights)
    own = alone(m, effects_of(m, None, "a plot"))
    assert own.status == ["estimated"] * 6
    auxiliary = m.auxiliary()
    for j in range(6):
        at = g == j

        def loglik(b, at=at):
            mu = {"log": np.exp, "probit": _normal_cdf}[link](b[0] + b[1] * x[at])
            aux = [np.broadcast_to(each, g.shape)[at] for each in auxiliary]
            return m.family.loglik(np.asarray(y, float)[at], mu, aux, n[at] if weights else None).sum()

        best = loglik(own.estimate[j])
        for step in (1e-3, -1e-3):
            for unit in np.eye(2):
                assert loglik(own.estimate[j] + step * unit) < best


def _normal_cdf(z):
    from scipy.special import ndtr

    return ndtr(z)


def test_separated_levels_have_no_estimate_of_their_own(schools):
    m, data = schools
    plot = m.plot.shrinkage()
    y, g = np.asarray(data["y"]), np.array(data["g"])
    mean = {level: y[g == level].mean() for level in plot.data["level"]}
    for level, value, status in zip(
        plot.data["level"], plot.data["no_pooling"], plot.data["status"], strict=True
    ):
        if mean[level] in (0.0, 1.0):
            assert status == "infinite"
            assert value == (np.inf if mean[level] else -np.inf)
        else:
            assert status == "estimated"
            assert np.isfinite(value)
    endless = plot.data["status"].count("infinite")
    assert endless > 0
    assert f"{endless} infinite" in plot.figure.get_supxlabel()


def test_slopes_from_one_row_are_not_estimable():
    rng = np.random.default_rng(2)
    g = np.array([0] * 6 + [1] * 6 + [2] * 6 + [3] * 6 + [4])
    data = {"y": rng.normal(size=25) + g, "x": rng.normal(size=25), "g": g}
    m = mw.lmer("y ~ x + (x || g)", data)
    table = m.plot.shrinkage().data
    assert table["status"][4] == "not estimable"
    assert np.isnan(table["no_pooling"][[4, 9]]).all()
    assert np.isfinite(table["no_pooling"][:4]).all()


def test_caterpillar_is_ranef(sleep):
    plot = sleep.plot.caterpillar(level=0.9)
    table = sleep.ranef()
    known = {
        (level, term): (estimate, sd)
        for level, term, estimate, sd in zip(
            table["level"], table["term"], table["estimate"], table["condsd"], strict=True
        )
    }
    data = plot.data
    keys = list(zip(data["level"], data["term"], strict=True))
    np.testing.assert_array_equal(data["estimate"], [known[key][0] for key in keys])
    np.testing.assert_allclose(data["condsd"], [known[key][1] for key in keys], rtol=1e-12)
    np.testing.assert_allclose(data["upper"] - data["estimate"], 1.6448536269514722 * data["condsd"])
    assert (np.diff(data["estimate"][:18]) > 0).all()
    for at, ax in enumerate(plot.axes):
        own = slice(18 * at, 18 * at + 18)
        np.testing.assert_array_equal(points(ax), np.column_stack([data["estimate"][own], np.arange(18)]))
        segments = np.array(ax.collections[0].get_segments())
        np.testing.assert_allclose(segments[:, 0, 0], data["lower"][own], rtol=1e-12)
        np.testing.assert_allclose(segments[:, 1, 0], data["upper"][own], rtol=1e-12)


def test_caterpillar_joint_and_sorted(sleep):
    plot = sleep.plot.caterpillar(columns="(Intercept)", sort="Days", joint=True)
    joint = sleep.ranef(condvar="joint")
    known = {
        level: sd
        for level, term, sd in zip(joint["level"], joint["term"], joint["condsd"], strict=True)
        if term == "(Intercept)"
    }
    np.testing.assert_allclose(plot.data["condsd"], [known[each] for each in plot.data["level"]], rtol=1e-9)
    by_days = sleep.plot.caterpillar(columns="Days")
    assert plot.data["level"] == by_days.data["level"]


def test_ranef_qq_is_sorted_modes(sleep, herds):
    for m, k in ((sleep, 2), (herds, 1)):
        plot = m.plot.ranef_qq()
        table = m.ranef()
        for at, ax in enumerate(np.ravel(plot.axes)):
            count = len(plot.data["level"]) // k
            own = slice(count * at, count * (at + 1))
            np.testing.assert_array_equal(
                plot.data["estimate"][own], np.sort(np.asarray(table["estimate"])[at::k])
            )
            expected = plot.data["expected"][own]
            np.testing.assert_allclose(expected, -expected[::-1], atol=1e-12)
            np.testing.assert_array_equal(points(ax), np.column_stack([expected, plot.data["estimate"][own]]))


# --- rows -----------------------------------------------------------------------------------------------


def test_fitted_lines_are_predictions(sleep):
    plot = sleep.plot.fitted(max_panels=18)
    data = {name: np.asarray(column) for name, column in plot.data.items()}
    assert len(plot.axes) == 18
    group, population = data["what"] == "group", data["what"] == "population"
    rows_ = {"Days": data["Days"][group], "Subject": data["panel"][group].tolist()}
    np.testing.assert_allclose(data["response"][group], sleep.predict(rows_), rtol=1e-12)
    np.testing.assert_allclose(
        data["response"][population],
        sleep.fixef["(Intercept)"] + sleep.fixef["Days"] * data["Days"][population],
        rtol=1e-12,
    )
    observed = data["what"] == "data"
    np.testing.assert_allclose(np.sort(data["response"][observed]), np.sort(sleep.design.y))
    for ax in plot.axes:
        here = data["panel"] == ax.get_title(loc="left")
        own = here & observed
        np.testing.assert_array_equal(
            rows(points(ax)), rows(np.column_stack([data["Days"][own], data["response"][own]]))
        )
        lines = [line for line in ax.lines if line.get_linestyle() != "None"]
        np.testing.assert_array_equal(
            lines[0].get_xydata(),
            np.column_stack([data["Days"][here & group], data["response"][here & group]]),
        )


def test_fitted_says_which_levels_it_shows(sleep):
    plot = sleep.plot.fitted(max_panels=3)
    modes = np.asarray(sleep.ranef()["estimate"])[::2]
    order = [sleep.ranef()["level"][2 * j] for j in np.argsort(modes)]
    titles = [ax.get_title(loc="left") for ax in plot.axes]
    assert titles == [order[0], order[8], order[17]]
    assert "3 of 18 levels of Subject" in plot.figure.get_supxlabel()


def test_fitted_of_a_generalized_model_is_on_the_scale_of_the_response(herds):
    plot = herds.plot.fitted(max_panels=15)
    data = {name: np.asarray(column) for name, column in plot.data.items()}
    group = data["what"] == "group"
    rows_ = {"period": data["period"][group].tolist(), "herd": data["panel"][group].tolist()}
    np.testing.assert_allclose(data["response"][group], herds.predict(rows_), rtol=1e-12)
    assert (data["response"] >= 0).all()
    assert (data["response"] <= 1).all()


def test_fitted_in_nested_designs_has_the_effects_of_both():
    data = mw.data.load("pastes", "dict")
    m = mw.lmer("strength ~ 1 + (1 | batch / cask)", data)
    table = m.plot.fitted(groups="batch:cask").data
    at = {label: i for i, label in enumerate(table["batch:cask"]) if table["what"][i] == "group"}
    fitted = m.fitted()
    for i, (batch, cask) in enumerate(zip(data["batch"], data["cask"], strict=True)):
        np.testing.assert_allclose(table["response"][at[f"{batch}:{cask}"]], fitted[i], rtol=1e-12)


def test_fitted_of_linear_models_and_columns():
    data = mw.data.load("cake", "dict")
    m = mw.lm("angle ~ recipe + temp", data)
    plot = m.plot.fitted(groups="recipe")
    assert len(plot.axes) == 3
    assert set(plot.data["what"]) == {"data", "population"}
    assert "recipe" in m.plot.fitted().figure.get_supxlabel()  # held on the way
    mixed = mw.lmer("angle ~ recipe + temp + (1 | recipe:replicate)", data)
    assert "temp" in mixed.plot.fitted().data  # recipe does not vary within replicates


@pytest.mark.parametrize("kind", ["response", "pearson", "scaled"])
def test_residuals_are_resid(sleep, kind):
    plot = sleep.plot.residuals(kind)
    np.testing.assert_array_equal(plot.data["residual"], sleep.resid(kind))
    np.testing.assert_array_equal(plot.data["fitted"], sleep.fitted())
    np.testing.assert_array_equal(points(plot.axes), np.column_stack([sleep.fitted(), sleep.resid(kind)]))
    size = sleep.plot.scale_location(kind)
    np.testing.assert_allclose(size.data["size"], np.sqrt(np.abs(sleep.resid(kind))))


def test_residuals_of_generalized_models_are_quantile_residuals(herds):
    plot = herds.plot.residuals(seed=4)
    np.testing.assert_array_equal(plot.data["residual"], herds.quantile_residuals(seed=4).normal)
    np.testing.assert_array_equal(plot.data["fitted"], herds.predict(type="link"))
    pearson = herds.plot.residuals("pearson")
    np.testing.assert_array_equal(pearson.data["residual"], herds.resid("pearson"))


def test_quasi_families_have_pearson_residuals_and_no_qq():
    data = {"y": [1, 3, 2, 6, 5, 9, 12, 10], "x": list(range(8))}
    m = mw.glm("y ~ x", data, family="quasipoisson")
    np.testing.assert_array_equal(m.plot.residuals().data["residual"], m.resid("pearson"))
    with pytest.raises(mw.MixwellError, match="MW-A91"):
        m.plot.qq()


def test_smoother_is_local_least_squares():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=80), rng.normal(size=80)
    curve = local_linear(x, y, span=0.5, points=20)
    for place, height in zip(curve.x, curve.fit, strict=True):
        distance = np.abs(x - place)
        near = np.argsort(distance, kind="stable")[:40]
        w = (1 - (distance[near] / (distance[near].max() * 1.0001)) ** 3) ** 3
        slope, constant = np.polyfit(x[near] - place, y[near], 1, w=np.sqrt(w))
        assert slope is not None
        np.testing.assert_allclose(height, constant, atol=1e-9)
    assert local_linear(np.repeat([1.0, 2.0], 10), rng.normal(size=20)).x.size == 0


def test_band_of_the_smoother_covers():
    rng = np.random.default_rng(6)
    x = np.sort(rng.uniform(size=150))
    covered = []
    for _ in range(200):
        curve = local_linear(x, 1 + x + rng.normal(size=150), points=10)
        covered.append(np.abs(curve.fit - 1 - curve.x) <= 1.96 * curve.se)
    share = np.mean(covered, axis=0)[2:-2].mean()
    assert 0.90 < share < 0.97


def test_qq_is_sorted_residuals(sleep, herds):
    plot = sleep.plot.qq(simulations=99)
    np.testing.assert_array_equal(plot.data["observed"], np.sort(sleep.resid("scaled")))
    assert has(points(plot.axes), np.column_stack([plot.data["expected"], plot.data["observed"]]))
    again = sleep.plot.qq(simulations=99)
    np.testing.assert_array_equal(plot.data["lower"], again.data["lower"])
    other = herds.plot.qq(seed=3, simulations=99)
    np.testing.assert_array_equal(other.data["observed"], np.sort(herds.quantile_residuals(seed=3).residuals))
    band = plot.axes.collections[0].get_paths()[0].vertices
    assert has(band, np.column_stack([plot.data["expected"], plot.data["upper"]]))


def test_qq_envelope_holds_its_share_of_data_from_the_model():
    data = mw.data.load("sleepstudy", "dict")
    m = mw.lmer("Reaction ~ Days + (1 | Subject)", data)
    draws = m.simulate(120, seed=9)
    own = m.plot.qq(simulations=499).data
    inside = 0
    for column in draws.values():
        observed = np.sort(m.refit(column).resid("scaled"))
        inside += bool(((observed >= own["lower"]) & (observed <= own["upper"])).all())
    # Binomial(120, 0.95): 3.5 standard deviations below, and theta of each data set is estimated again.
    assert inside >= 105


def test_envelope_is_exact_for_exchangeable_curves():
    rng = np.random.default_rng(12)
    inside = 0
    for _ in range(300):
        curves = np.sort(rng.normal(size=(100, 15)), axis=1)
        lower, upper = envelope(curves[1:], 0.9)
        inside += bool(((curves[0] >= lower) & (curves[0] <= upper)).all())
    assert 0.83 < inside / 300 < 0.955


def test_qq_of_many_rows_keeps_the_ends():
    rng = np.random.default_rng(1)
    x = rng.normal(size=5000)
    m = mw.lm("y ~ x", {"y": x + rng.normal(size=5000), "x": x})
    data = m.plot.qq(simulations=19).data
    residuals = np.sort(m.resid("scaled"))
    assert len(data["observed"]) <= 2000
    np.testing.assert_array_equal(data["observed"][:200], residuals[:200])
    np.testing.assert_array_equal(data["observed"][-200:], residuals[-200:])


# --- what cannot be drawn -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shrinkage", "caterpillar", "ranef_qq", "ranef_pairs"])
def test_models_without_random_effects(name):
    m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
    with pytest.raises(mw.MixwellError, match=r"MW-A127.*no random effects"):
        getattr(m.plot, name)()
    for other in ("fitted", "residuals", "scale_location", "qq"):
        getattr(m.plot, other)()._repr_png_()


@pytest.mark.parametrize("name", ["shrinkage", "caterpillar", "ranef_qq", "ranef_pairs"])
def test_unknown_groups_and_columns(sleep, name):
    with pytest.raises(mw.MixwellError, match=r"MW-A128[\s\S]*Did you mean 'Subject'"):
        getattr(sleep.plot, name)("subject")
    with pytest.raises(mw.MixwellError, match=r"MW-A128[\s\S]*Did you mean 'Days'"):
        getattr(sleep.plot, name)(columns=["days"])


def test_refusals(sleep, herds):
    with pytest.raises(mw.MixwellError, match="MW-A128"):
        sleep.plot.fitted("days")
    with pytest.raises(mw.MixwellError, match="MW-A128"):
        sleep.plot.fitted(groups="subject")
    with pytest.raises(mw.MixwellError, match="MW-A07"):
        sleep.plot.fitted(max_panels=0)
    with pytest.raises(mw.MixwellError, match="MW-A127"):
        herds.plot.ranef_pairs()
    with pytest.raises(mw.MixwellError, match="MW-A49"):
        sleep.plot.caterpillar(level=95)
    with pytest.raises(mw.MixwellError, match="MW-A49"):
        sleep.plot.qq(level=1)
    with pytest.raises(mw.MixwellError, match="MW-A07"):
        sleep.plot.qq(simulations=3)
    with pytest.raises(mw.MixwellError, match="MW-A07"):
        sleep.plot.residuals(span=2)
    with pytest.raises(mw.MixwellError, match="MW-A02"):
        sleep.plot.residuals("deviance")
    with pytest.raises(mw.MixwellError, match="MW-A127"):
        sleep.plot.shrinkage(columns=[])


def test_families_whose_levels_have_no_estimate_of_their_own():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(8), 6)
    data = {"y": np.where(rng.uniform(size=48) < 0.3, 0, rng.poisson(3, size=48)), "g": g}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        m = mw.glmer("y ~ 1 + (1 | g)", data, family="poisson", ziformula="~1")
    with pytest.raises(mw.MixwellError, match=r"MW-A127.*extra zeros"):
        m.plot.shrinkage()


def test_ordinal_responses_have_no_mean():
    rng = np.random.default_rng(5)
    x, g = rng.normal(size=80), np.repeat(np.arange(8), 10)
    rating = pd.Categorical(np.digitize(x + rng.normal(size=80), [-1, 1]).astype(str), ordered=True)
    m = mw.glmer(
        "rating ~ x + (1 | g)", pd.DataFrame({"rating": rating, "x": x, "g": g}), family="cumulative"
    )
    with pytest.raises(mw.MixwellError, match=r"MW-A127.*no mean"):
        m.plot.fitted()
    m.plot.residuals()._repr_png_()
    m.plot.qq()._repr_png_()


def test_singular_and_constant_random_effects():
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    for name in ("shrinkage", "caterpillar", "ranef_qq", "fitted", "residuals", "scale_location", "qq"):
        getattr(m.plot, name)()._repr_png_()
    np.testing.assert_array_equal(m.plot.caterpillar().data["estimate"], np.zeros(6))


def test_many_levels_with_long_names():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(120), 3)
    data = {"y": rng.normal(size=360) + rng.normal(size=120)[g], "x": rng.normal(size=360)}
    data["g"] = [f"a level with a name that goes on for ever, number {j}" for j in g]
    m = mw.lmer("y ~ x + (1 | g)", data)
    plot = m.plot.caterpillar()
    assert "120 levels of g" in plot.axes.get_ylabel()
    assert len(m.plot.fitted(max_panels=5).axes) == 5
    for name in ("shrinkage", "ranef_qq"):
        getattr(m.plot, name)()._repr_png_()


# --- how it looks ---------------------------------------------------------------------------------------


def overlapping(figure):
    """Pairs of texts that overlap, and texts that leave the figure."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    texts = [*figure.texts, *(each for legend in figure.legends for each in legend.get_texts())]
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [axis.label, *(tick.label1 for tick in ticks)]
        texts += [ax._left_title, *ax.texts, *(ax.get_legend().get_texts() if ax.get_legend() else [])]
    for each in (figure._supxlabel, figure._supylabel):
        texts += [each] if each is not None else []
    seen = {id(each): each for each in texts if each.get_visible() and each.get_text().strip()}
    boxes = [(each.get_text(), each.get_window_extent(renderer)) for each in seen.values()]
    width, height = figure.bbox.width, figure.bbox.height
    out = [text for text, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > width + 1 or b.y1 > height + 1]
    for i, (first, a) in enumerate(boxes):
        for second, b in boxes[i + 1 :]:
            if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1:
                out.append((first, second))
    return out


def test_no_text_overlaps_or_leaves_the_figure(sleep, schools):
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(12), 8)
    data = {"y": rng.normal(size=96) + g % 5, "a rather long name of a variable": rng.normal(size=96)}
    data["school"] = [f"School of the Lower Valley number {j} (boys and girls)" for j in g]
    formula = "y ~ `a rather long name of a variable` + (`a rather long name of a variable` | school)"
    ugly = mw.lmer(formula, data)
    cake = mw.lmer("angle ~ recipe + (1 | replicate)", mw.data.load("cake", "dict"))
    every = {"sleep": (sleep, MIXED), "ugly": (ugly, ("shrinkage", "caterpillar", "fitted", "ranef_pairs"))}
    every |= {"cake": (cake, ("caterpillar", "fitted")), "schools": (schools[0], ("shrinkage", "qq"))}
    for label, (m, names) in every.items():
        for name in names:
            options = {"max_panels": 6} if name == "fitted" else {}
            assert overlapping(getattr(m.plot, name)(**options).figure) == [], (label, name)


def test_names_of_variables_that_the_table_needs_itself():
    rng = np.random.default_rng(2)
    data = {"y": rng.normal(size=40), "what": rng.uniform(size=40) < 0.5, "g": np.repeat(np.arange(8), 5)}
    table = mw.lmer("y ~ what + (1 | g)", data).plot.fitted().data
    assert list(table) == ["panel", "what", ".what", "response"]


def test_seeds(herds, sleep):
    for m in (herds, sleep):
        assert len(m.plot.qq(seed=None, simulations=19).data["lower"]) == m.nobs
        with pytest.raises(mw.MixwellError, match="MW-A07"):
            m.plot.qq(seed=-1)


def test_a_number_in_factor_is_held_at_a_level() -> None:
    """Half way between two levels there is no prediction."""
    rng = np.random.default_rng(5)
    data = {"x": rng.normal(size=60), "k": np.tile([1, 2], 30), "g": np.repeat(list("abcdef"), 10)}
    data["y"] = data["x"] + data["k"] + rng.normal(size=60)
    m = mw.lmer("y ~ x + factor(k) + (1 | g)", data)
    drawn = m.plot.fitted("x").data
    lines = [i for i, what in enumerate(drawn["what"]) if what == "population"]
    x, y = np.asarray(drawn["x"])[lines], np.asarray(drawn["response"])[lines]
    levels = m.predict({"x": x, "k": np.ones(x.size)}, re="population")
    np.testing.assert_allclose(y, levels, rtol=1e-12)  # as frequent as the other one, and the first
