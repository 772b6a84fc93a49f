"""The bootstrap: replicates are the refits one by one, depend on the seed alone; their intervals cover."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import mixwell as mw
from mixwell._core import Term, fit_subsets
from mixwell.resampling import engine, simulate
from mixwell.resampling.clusters import find_clusters, select, selected_design
from mixwell.resampling.intervals import bca, interval
from mixwell.resampling.progress import Progress

KINDS = ("parametric", "residual", "case", "wild")


@pytest.fixture(scope="module")
def sleep() -> mw.FittedModel:
    return mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))


@pytest.fixture(scope="module")
def crossed() -> mw.FittedModel:
    return mw.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mw.data.load("penicillin", "dict"))


def clustered(seed: int = 0, clusters: int = 30, rows: int = 4, **more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(clusters), rows)
    x, z = rng.standard_normal(group.size), np.linspace(-1, 1, clusters)[group]
    y = 1 + 0.5 * x - 0.3 * z + rng.standard_normal(clusters)[group] + rng.standard_normal(group.size)
    return {"y": y, "x": x, "z": z, "g": np.array([f"g{i:02d}" for i in group]), **more}


# --- the engine -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "data", "weighted"),
    [
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy", False),
        ("Reaction ~ Days + cs(Days | Subject)", "sleepstudy", True),
        ("Reaction ~ Days + (Days || Subject)", "sleepstudy", True),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin", False),
        ("strength ~ 1 + (1 | batch/cask)", "pastes", True),
        ("Reaction ~ Days", "sleepstudy", True),
    ],
)
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_a_batch_is_the_refits_one_by_one(formula: str, data: str, weighted: bool, method: Any) -> None:
    table = mw.data.load(data, "dict")
    n = len(next(iter(table.values())))
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.5, 2, n) if weighted else None
    m = mw.fit(formula, table, weights=weights, offset=np.arange(n) / 10, method=method)
    offset = m.design.offset
    assert offset is not None
    responses = simulate.parametric(m)(rng, 6)
    batch = engine.batch_of(m)
    fits = batch.fit(responses, m.is_reml, engine.warm_start(m), 500, True, True)
    assert (fits["status"] == 0).all()
    cold = batch.fit(responses, m.is_reml, None, 500, True, False)  # starts where refit() starts
    for r, y in enumerate(responses):
        one = m.refit(y + offset)
        # The response is rounded when the offset is added and subtracted again.
        np.testing.assert_allclose(cold["beta"][r], one.fixef.values, rtol=1e-10)
        np.testing.assert_allclose(cold["theta"][r], one.theta, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(fits["beta"][r], one.fixef.values, rtol=1e-8)
        np.testing.assert_allclose(fits["se"][r], one.se.values, rtol=1e-6)
        np.testing.assert_allclose(fits["sigma"][r], one.sigma, rtol=1e-9)
        np.testing.assert_allclose(fits["criterion"][r], one.optimum.criterion, rtol=1e-12)
        np.testing.assert_allclose(fits["vcov"][r], one.vcov(), atol=1e-7 * one.vcov().max())
        np.testing.assert_allclose(fits["theta"][r], one.theta, atol=1e-6)
        assert fits["singular"][r] == bool(one.boundary)


def test_a_batch_without_a_search_keeps_theta(sleep: mw.FittedModel) -> None:
    fits = engine.batch_of(sleep).fit(sleep.design.y[None], True, np.array(sleep.theta), 500, False, False)
    np.testing.assert_array_equal(fits["theta"][0], sleep.theta)
    np.testing.assert_allclose(fits["beta"][0], sleep.fixef.values, rtol=1e-13)
    assert fits["evaluations"][0] == 1


def test_a_response_that_cannot_be_fitted_is_reported(sleep: mw.FittedModel) -> None:
    y = sleep.design.y
    responses = np.array([y, np.full(y.size, 7.0), np.full(y.size, np.nan), y])
    fits = engine.batch_of(sleep).fit(responses, True, np.array(sleep.theta), 500, True, False)
    assert fits["status"][[0, 3]].tolist() == [0, 0]
    assert (fits["status"][[1, 2]] > 1).all()
    assert np.isnan(fits["beta"][1:3]).all()
    np.testing.assert_array_equal(fits["beta"][0], fits["beta"][3])


def test_a_search_that_is_cut_short_is_reported(sleep: mw.FittedModel) -> None:
    fits = engine.batch_of(sleep).fit(sleep.design.y[None], True, np.array([9.0, 0.0, 9.0]), 2, True, False)
    assert fits["status"].tolist() == [1]


def test_the_core_refuses_what_is_not_a_matrix_of_responses(sleep: mw.FittedModel) -> None:
    batch = engine.batch_of(sleep)
    with pytest.raises(mw.MixwellError, match="MW-N01"):
        batch.fit(np.zeros((2, 3)), True, None, 500, True, False)
    with pytest.raises(mw.MixwellError, match="MW-N01"):
        batch.fit(sleep.design.y[None], True, np.zeros(2), 500, True, False)
    with pytest.raises(ValueError, match="C-contiguous"):
        batch.fit(np.asfortranarray(np.tile(sleep.design.y, (2, 1))), True, None, 500, True, False)


def test_a_selection_is_the_fit_of_its_rows(sleep: mw.FittedModel) -> None:
    clusters = find_clusters(sleep, None, "case")
    drawn = np.array([0, 0, 3, 5, 5, 5, 9, 17])
    selection = select(sleep, clusters, drawn)
    table = mw.data.load("sleepstudy", "dict")
    picked = {name: values[selection.rows] for name, values in table.items()}
    picked["Subject"] = np.array([f"copy{code}" for code in selection.codes[0]])
    one = mw.lmer("Reaction ~ Days + (Days | Subject)", picked)
    term = sleep.design.random[0]
    fits = fit_subsets(
        sleep.design.y,
        sleep.design.columns,
        [Term(term.codes, len(term.levels), term.columns, term.structure, term.homogeneous)],
        None,
        [selection.rows],
        [list(selection.codes)],
        [list(selection.levels)],
        True,
        None,
        500,
        True,
        False,
    )
    assert selection.levels == (8,)
    np.testing.assert_allclose(fits["beta"][0], one.fixef.values, rtol=1e-9)
    np.testing.assert_allclose(fits["criterion"][0], one.optimum.criterion, rtol=1e-12)
    design = selected_design(sleep.design, selection)
    np.testing.assert_array_equal(design.y, picked["Reaction"])


def test_levels_nested_in_a_cluster_come_with_it() -> None:
    m = mw.lmer("strength ~ 1 + (1 | batch) + (1 | batch:cask)", mw.data.load("pastes", "dict"))
    clusters = find_clusters(m, None, "case")
    assert (clusters.label, clusters.count, clusters.shared) == ("batch", 10, ())
    selection = select(m, clusters, np.array([4, 4, 1]))
    assert sorted(selection.levels) == [3, 9]
    assert selection.rows.size == 18


def test_a_column_missing_from_a_selection_is_a_failure_not_a_crash() -> None:
    data = clustered(clusters=6)
    data["rare"] = (data["g"] == "g00").astype(float)
    b = mw.lmer("y ~ x + rare + (1 | g)", data).bootstrap(60, kind="case", seed=1)
    assert 5 < b.failed.sum() < 40
    assert np.isnan(b.values[b.failed]).all()
    assert "replicates have no fit" in repr(b)
    assert np.isfinite(b.limits()[0]).all()


# --- seeds, threads, chunks -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_replicates_depend_on_the_seed_alone(sleep: mw.FittedModel, kind: Any) -> None:
    long, short = sleep.bootstrap(150, kind=kind, seed=5), sleep.bootstrap(100, kind=kind, seed=5)
    np.testing.assert_array_equal(long.values[:100], short.values)
    other = sleep.bootstrap(100, kind=kind, seed=6)
    assert (other.values[:, 0] != short.values[:, 0]).all()
    drawn = sleep.bootstrap(20, kind=kind)
    np.testing.assert_array_equal(drawn.values, sleep.bootstrap(20, kind=kind, seed=drawn.seed).values)


def test_replicates_do_not_depend_on_the_number_of_threads(sleep: mw.FittedModel) -> None:
    program = (
        "import mixwell as mw, sys\n"
        "m = mw.lmer('Reaction ~ Days + (Days | Subject)', mw.data.load('sleepstudy', 'dict'))\n"
        "for kind in ('parametric', 'case'):\n"
        "    sys.stdout.write(m.bootstrap(80, kind=kind, seed=2).values.tobytes().hex())\n"
    )
    here = "".join(
        sleep.bootstrap(80, kind=kind, seed=2).values.tobytes().hex() for kind in ("parametric", "case")
    )
    for threads in ("1", "3"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout == here


def test_a_block_is_shorter_when_responses_are_long() -> None:
    assert simulate.block_size(180) == 64
    assert simulate.block_size(10_000_000) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_returns_promptly(sleep: mw.FittedModel) -> None:
    # A process that was started in the background ignores interrupts until told otherwise.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            sleep.bootstrap(10_000_000, seed=1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_progress_is_a_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Terminal:
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> None:
            written.append(text)

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stderr", Terminal())
    clock = iter([0.0, 0.5, 2.0, 2.01, 3.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    line = Progress("fits", 10, wanted=True)
    line.advance(2)  # within the first second: nothing
    assert written == []
    line.advance(3)
    assert "5/10" in written[0]
    line.advance(1)  # too soon after the last
    line.advance(4)
    line.close()
    assert "10/10" in written[1]
    assert written[2] == "\r\x1b[K"
    monkeypatch.setattr("time.perf_counter", lambda: 100.0)
    quiet = Progress("fits", 10, wanted=False)
    quiet.advance(5)
    quiet.close()
    assert len(written) == 3


# --- what is drawn ----------------------------------------------------------------------------------------


def test_reflated_effects_have_the_estimated_covariance() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 3))
    target = np.array([[4.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
    out = simulate.reflated(values + 7, target)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(out.T @ out / 40, target, rtol=1e-10, atol=1e-12)
    flat = simulate.reflated(values * [1, 0, 1], np.diag([1.0, 0.0, 2.0]))
    np.testing.assert_allclose(flat.T @ flat / 40, np.diag([1.0, 0.0, 2.0]), atol=1e-10)


def test_residuals_without_a_cluster_are_those_of_the_fit_without_it() -> None:
    data = clustered(1)
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2.0, data["y"].size)
    m = mw.lmer("y ~ x + z + (x | g)", data, weights=weights)
    out = simulate.deleted_residuals(m, find_clusters(m, None, "case"))
    x, z = m.model_matrix(), m.model_matrix("random").toarray()
    factor = np.kron(np.eye(30), m.lambdas[0])
    v = z @ factor @ factor.T @ z.T + np.diag(1 / weights)
    own = m.design.random[0].codes == 4
    inverse = np.linalg.inv(v[~own][:, ~own])
    beta = np.linalg.solve(x[~own].T @ inverse @ x[~own], x[~own].T @ inverse @ data["y"][~own])
    np.testing.assert_allclose(out[own], data["y"][own] - x[own] @ beta, rtol=1e-8)


@pytest.mark.parametrize("kind", ["parametric", "residual", "wild"])
def test_drawn_responses_have_the_estimated_moments(kind: str) -> None:
    rng = np.random.default_rng(4)
    data = clustered(2, clusters=40)
    m = mw.lmer("y ~ x + z + (1 | g)", data, weights=rng.uniform(0.5, 2.0, 160), offset=np.full(160, 5.0))
    draws = {
        "parametric": simulate.parametric(m),
        "residual": simulate.residual(m),
        "wild": simulate.wild(m, find_clusters(m, None, "case")),
    }
    y = draws[kind](rng, 20_000)
    mean = m.model_matrix() @ m.fixef.values
    assert np.abs(y.mean(axis=0) - mean).max() < 5 * y.std() / np.sqrt(20_000)
    if kind != "wild":  # whose covariance is that of the residuals of each cluster
        assert m.design.weights is not None
        variance = m.sigma**2 * (m.theta[0] ** 2 + 1 / m.design.weights)
        np.testing.assert_allclose(y.var(axis=0), variance, rtol=0.1)
        covariance = np.mean((y[:, 0] - mean[0]) * (y[:, 1] - mean[1]))
        np.testing.assert_allclose(covariance, m.sigma**2 * m.theta[0] ** 2, rtol=0.15)


def test_few_clusters_get_six_points() -> None:
    m = mw.lmer("y ~ x + (1 | g)", clustered(3, clusters=8))
    clusters = find_clusters(m, None, "case")
    corrected = simulate.deleted_residuals(m, clusters)
    y = simulate.wild(m, clusters)(np.random.default_rng(0), 200)
    ratio = (y - m.model_matrix() @ m.fixef.values) / corrected
    assert len(np.unique(ratio.round(9))) == 6
    assert "Webb" in repr(m.bootstrap(20, kind="wild", seed=1))


# --- the result -------------------------------------------------------------------------------------------


def test_standard_errors_are_those_of_the_model(sleep: mw.FittedModel) -> None:
    for kind in KINDS:
        b = sleep.bootstrap(1000, kind=kind, seed=11)
        for name in sleep.fixef.names:
            assert b.se[name] == pytest.approx(sleep.se[name], rel=0.12)
            assert abs(b.bias[name]) < 0.12 * sleep.se[name]


def test_replicates_come_in_the_library_of_the_data() -> None:
    polars = pytest.importorskip("polars")
    m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "polars"))
    b = m.bootstrap(20, seed=1)
    names = ["(Intercept)", "Days", "sd_(Intercept)|Subject", "sigma"]
    assert isinstance(b.replicates, polars.DataFrame)
    assert b.replicates.columns == names
    assert b.confint().columns == ["term", "estimate", "lower", "upper"]
    assert b.table()["term"].to_list() == names
    assert b.estimate["sigma"] == m.sigma


@pytest.mark.parametrize("structure", ["us", "diag", "cs", "ar1"])
def test_parameters_are_those_of_the_refitted_models(structure: str) -> None:
    data = clustered(5, rows=6)
    m = mw.lmer(f"y ~ x + {structure}(x | g)", data)
    b = m.bootstrap(12, seed=3)
    confint = m.confint(method="wald")["term"]
    assert list(confint) == list(b.names)
    responses = simulate.parametric(m)(simulate.generator(3, 0), 64)
    for r in range(12):
        one = m.refit(responses[r])
        covariance = one.varcorr()["g"]
        sds = covariance.sd.values[: 1 if m.design.random[0].homogeneous else 2]
        expected = [*one.fixef.values, *sds]
        if structure != "diag":
            expected.append(float(covariance.correlation[0, 1]))
        np.testing.assert_allclose(b.values[r], [*expected, one.sigma], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_statistic_sees_the_refitted_model(sleep: mw.FittedModel, kind: Any) -> None:
    plain = sleep.bootstrap(70, kind=kind, seed=4)
    mine = sleep.bootstrap(
        70,
        kind=kind,
        seed=4,
        statistic=lambda m: {"slope": m.fixef["Days"], "ratio": m.fixef["Days"] / m.sigma},
    )
    assert mine.names == ("slope", "ratio")
    np.testing.assert_allclose(mine.values[:, 0], plain.values[:, 1], rtol=1e-9)
    assert mine.estimate["ratio"] == pytest.approx(sleep.fixef["Days"] / sleep.sigma)
    vector = sleep.bootstrap(5, kind=kind, seed=4, statistic=lambda m: m.fixef)
    assert vector.names == sleep.fixef.names
    assert sleep.bootstrap(5, seed=4, statistic=lambda m: m.sigma).names == ("statistic",)
    assert sleep.bootstrap(5, seed=4, statistic=lambda m: [m.sigma, 1]).names == (
        "statistic 1",
        "statistic 2",
    )


def test_a_statistic_adds_the_offset_back() -> None:
    data = clustered(6)
    m = mw.lmer("y ~ x + (1 | g)", data, offset=np.arange(120) * 10.0)
    b = m.bootstrap(10, seed=1, statistic=lambda m: m.fixef)
    np.testing.assert_allclose(b.values, m.bootstrap(10, seed=1).values[:, :2], rtol=1e-8)


def test_intervals_follow_their_definitions() -> None:
    rng = np.random.default_rng(8)
    values = rng.exponential(size=(999, 1)) + 1
    estimate = np.array([1.8])
    ordered = np.sort(values[:, 0])
    low, high = ordered[24], ordered[974]  # the 25th and 975th of 999
    np.testing.assert_allclose(interval("percentile", 0.95, estimate, values)[0], [low, high])
    np.testing.assert_allclose(interval("basic", 0.95, estimate, values)[0], [3.6 - high, 3.6 - low])
    centre, half = 3.6 - values.mean(), 1.959963984540054 * values.std(ddof=1)
    np.testing.assert_allclose(
        interval("normal", 0.95, estimate, values)[0], [centre - half, centre + half], rtol=1e-9
    )
    # Neither bias nor skewness: BCa is the percentile interval.
    symmetric = np.concatenate([values, 3.6 - values])
    jackknife = np.array([[1.0], [2.0], [3.0]])
    np.testing.assert_allclose(
        bca(0.95, estimate, symmetric, jackknife), interval("percentile", 0.95, estimate, symmetric)
    )
    holes = np.vstack([values, [[np.nan]]])
    np.testing.assert_array_equal(
        interval("basic", 0.9, estimate, holes), interval("basic", 0.9, estimate, values)
    )


def test_bca_leaves_out_one_cluster_at_a_time(sleep: mw.FittedModel) -> None:
    b = sleep.bootstrap(300, kind="case", seed=9)
    jackknife = b._jackknife()
    table = mw.data.load("sleepstudy", "dict")
    without = table["Subject"] != np.unique(table["Subject"])[0]
    at = int(sleep.design.random[0].codes[np.flatnonzero(~without)[0]])
    one = sleep.update(data={name: values[without] for name, values in table.items()})
    np.testing.assert_allclose(jackknife[at, :2], one.fixef.values, rtol=1e-8)
    lower, upper = b.limits(["Days"], kind="bca")
    assert lower[0] < sleep.fixef["Days"] < upper[0]


def test_limits_stay_in_range(sleep: mw.FittedModel) -> None:
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    for kind in ("percentile", "basic", "normal"):
        table = m.bootstrap(100, seed=1).confint(0.99, kind=kind)  # type: ignore[arg-type]
        assert table["lower"][1] >= 0
    assert sleep.bootstrap(100, seed=1).limits(level=0.999, kind="basic")[1][4] <= 1


def test_it_prints() -> None:
    m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict"))
    b = m.bootstrap(50, seed=1)
    assert repr(b).startswith("Parametric bootstrap, 50 replicates, seed 1")
    assert "of the fits are singular" in repr(b)
    assert "<table" in b._repr_html_()
    for kind in ("residual", "case", "wild"):
        assert "'Batch'" in repr(m.bootstrap(10, kind=kind, seed=1))


def test_without_random_effects_rows_are_the_clusters() -> None:
    data = clustered(7)
    m = mw.lm("y ~ x", data)
    for kind in KINDS:
        b = m.bootstrap(400, kind=kind, seed=2)
        assert b.names[:2] == ("(Intercept)", "x")
        assert b.se["x"] == pytest.approx(m.se["x"], rel=0.25)
    assert "Rows (120)" in repr(m.bootstrap(10, kind="case", seed=2))
    grouped = m.bootstrap(400, kind="case", seed=2, group="g")
    assert "'g' (30)" in repr(grouped)
    assert grouped.se["(Intercept)"] > 1.3 * b.se["(Intercept)"]


def test_crossed_factors_need_a_choice(crossed: mw.FittedModel) -> None:
    for kind in ("case", "wild"):
        with pytest.raises(mw.MixwellError, match="MW-A53"):
            crossed.bootstrap(10, kind=kind)  # type: ignore[arg-type]
        b = crossed.bootstrap(30, kind=kind, seed=1, group="plate")  # type: ignore[arg-type]
        assert "'sample' lie in several of them" in repr(b)
    with pytest.raises(mw.MixwellError, match="MW-A53"):
        crossed.bootstrap(10, seed=1).confint(kind="bca")
    assert np.isfinite(crossed.bootstrap(30, kind="residual", seed=1).values).all()


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("MW-A02", {"kind": "parametrc"}),
        ("MW-A07", {"n": 0}),
        ("MW-A07", {"n": 2.5}),
        ("MW-A07", {"n": True}),
        ("MW-A07", {"seed": -1}),
        ("MW-A07", {"seed": "1"}),
        ("MW-A54", {"kind": "case", "group": "Subjct"}),
        ("MW-A54", {"kind": "case", "group": 3}),
        ("MW-A55", {"statistic": lambda m: "text"}),
        ("MW-A55", {"statistic": lambda m: np.zeros((2, 2))}),
        ("MW-A55", {"statistic": lambda m: {"a": None}}),
        ("MW-A57", {"kind": "residual", "group": "Subject"}),
        ("MW-A01", {"sed": 1}),
    ],
)
def test_bad_arguments_are_refused(sleep: mw.FittedModel, code: str, options: dict[str, Any]) -> None:
    with pytest.raises(mw.MixwellError, match=code):
        sleep.bootstrap(**{"n": 5, **options})


def test_more_refusals(sleep: mw.FittedModel) -> None:
    sizes = iter([1, 2, 1, 2, 1])
    with pytest.raises(mw.MixwellError, match="different numbers"):
        sleep.bootstrap(4, seed=1, statistic=lambda m: [m.sigma] * next(sizes))
    with pytest.raises(ZeroDivisionError):
        sleep.bootstrap(4, seed=1, statistic=lambda m: 1 / 0)
    b = sleep.bootstrap(10, seed=1)
    for level in (0, 1, "a", True):
        with pytest.raises(mw.MixwellError, match="MW-A07"):
            b.confint(level)  # type: ignore[arg-type]
    with pytest.raises(mw.MixwellError, match="MW-A02"):
        b.confint(kind="bcb")  # type: ignore[arg-type]
    with pytest.raises(mw.MixwellError, match="MW-A48"):
        b.limits(["Dais"])
    data = clustered(clusters=5)
    for name, column in {"one": np.ones(20), "hole": np.where(np.arange(20) < 2, np.nan, 1.0)}.items():
        m = mw.lm("y ~ x", {**data, name: column})
        with pytest.raises(mw.MixwellError, match="MW-A54"):
            m.bootstrap(5, kind="case", group=name)
    with pytest.raises(mw.MixwellError, match="MW-A56"):
        m = mw.lm("y ~ 0 + g", {key: values[::3] for key, values in clustered(clusters=5).items()})
        m.bootstrap(3, kind="case", seed=3)


def test_rows_that_were_dropped_stay_out() -> None:
    data = clustered(9)
    data["y"][[3, 50]] = np.nan
    with pytest.warns(mw.MixwellWarning, match="MW-W01"):
        m = mw.lm("y ~ x", data)
    b = m.bootstrap(50, kind="case", seed=1, group="g")
    assert np.isfinite(b.values).all()


# --- coverage ---------------------------------------------------------------------------------------------


def test_intervals_cover() -> None:
    """95 % intervals of each kind contain the true fixed effects in 92 to 98 % of 300 simulated studies.

    The three coefficients (intercept, a predictor within and one between clusters) are pooled; the
    Monte-Carlo standard error of a coverage of 95 % is then about 0.8 %.
    """
    truth = np.array([1.0, 0.5, -0.3])
    rng = np.random.default_rng(2024)
    base = mw.lmer("y ~ x + z + (1 | g)", clustered(0))
    codes, x = base.design.random[0].codes, base.model_matrix()
    hits: dict[tuple[str, str], list[Any]] = {}
    for study in range(300):
        y = x @ truth + rng.standard_normal(30)[codes] + rng.standard_normal(120)
        m = base.refit(y)
        for kind in KINDS:
            b = m.bootstrap(150, kind=kind, seed=study, progress=False)
            for form in ("percentile", "basic"):
                lower, upper = b.limits(m.fixef.names, kind=form)
                hits.setdefault((kind, form), []).append((lower < truth) & (truth < upper))
    coverage = {key: float(np.mean(each)) for key, each in hits.items()}
    assert all(0.92 <= value <= 0.98 for value in coverage.values()), coverage


def test_a_thousand_replicates_take_no_time(sleep: mw.FittedModel) -> None:
    """A bound that only a loss of the native path would break: 0.06 s on two idle cores."""
    import time

    begun = time.process_time()
    sleep.bootstrap(1000, seed=1)
    assert time.process_time() - begun < 1.0
