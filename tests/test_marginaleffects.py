"""The marginaleffects package reads our fits and finds our own numbers. It runs where the package is there.

Their standard errors come from difference quotients of the predictions, hence the tolerances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mixwell as mw

me = pytest.importorskip("marginaleffects")

pytestmark = pytest.mark.filterwarnings("default")  # those of other packages


def rows() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    n = 240
    data: dict[str, Any] = {
        "x": rng.uniform(0.5, 3.0, n),
        "a": rng.choice(["low", "mid", "high"], n),
        "k": rng.integers(1, 4, n),
        "flag": rng.random(n) < 0.5,
        "g": np.repeat([f"g{i:02d}" for i in range(24)], 10),
        "exposure": rng.uniform(1.0, 2.0, n),
    }
    eta = 0.4 * np.log(data["x"]) + 0.5 * (data["a"] == "mid") * data["x"] + 0.3 * data["flag"]
    eta = eta + rng.normal(0.0, 0.5, 24).repeat(10)
    data["y"] = eta + rng.normal(0.0, 1.0, n)
    data["count"] = rng.poisson(np.exp(0.3 * eta) * data["exposure"])
    data["won"] = (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    return data


DATA = rows()
MODELS = {
    "lm": lambda: mw.lm("y ~ log(x) * a + flag", DATA),
    "lmer": lambda: mw.lmer("y ~ poly(x, 2) + a * flag + factor(k) + (x | g)", DATA),
    "glm": lambda: mw.glm("won ~ x * a + factor(k)", DATA, family="binomial"),
    "offset": lambda: mw.glm("count ~ x + a + offset(log(exposure))", DATA, family="poisson"),
    "glmer": lambda: mw.glmer("won ~ ns(x, 3) + a + flag + (1 | g)", DATA, family="binomial"),
}


@pytest.fixture(scope="module", params=MODELS)
def m(request: pytest.FixtureRequest) -> Any:
    return MODELS[request.param]()


def numbers(theirs: Any, *names: str) -> np.ndarray:
    return np.column_stack([np.asarray(theirs[name], dtype=float) for name in names])


def test_predictions(m: Any) -> None:
    theirs, ours = me.predictions(m.to_marginaleffects()), m.predictions().table()
    assert_allclose(theirs["estimate"].to_numpy(), m.predict(re="population"), rtol=1e-12)
    assert_allclose(theirs["estimate"].to_numpy(), np.asarray(ours["estimate"]), rtol=1e-12)
    if not hasattr(m, "family"):
        assert_allclose(theirs["std_error"].to_numpy(), np.asarray(ours["std_error"]), rtol=1e-5)


def test_average_predictions_by_a_factor(m: Any) -> None:
    theirs = me.avg_predictions(m.to_marginaleffects(), by="a").sort("a")
    ours = m.predictions(by="a", average=True).table()
    order = np.argsort(np.asarray(ours["a"]).astype(str))
    wanted = np.column_stack([np.asarray(ours[name])[order] for name in ("estimate", "std_error")])
    by_name = theirs.with_columns(theirs["a"].cast(str)).sort("a")
    assert_allclose(numbers(by_name, "estimate", "std_error"), wanted, rtol=1e-5)


def test_comparisons_of_a_factor(m: Any) -> None:
    theirs = me.avg_comparisons(m.to_marginaleffects(), variables="a")
    ours = m.comparisons("a", average=True).table()
    found = dict(zip(theirs["contrast"].to_list(), numbers(theirs, "estimate", "std_error"), strict=True))
    assert set(found) == set(ours["contrast"])
    for label, estimate, se in zip(ours["contrast"], ours["estimate"], ours["std_error"], strict=True):
        assert_allclose(found[label], [estimate, se], rtol=1e-5)


def test_slopes(m: Any) -> None:
    theirs = me.avg_slopes(m.to_marginaleffects(), variables="x")
    ours = m.slopes("x", average=True).table()
    assert_allclose(theirs["estimate"][0], ours["estimate"][0], rtol=1e-5)
    assert_allclose(
        theirs["std_error"][0], ours["std_error"][0], rtol=1e-3
    )  # their derivatives are differences


def test_levels_of_a_number_and_a_boolean() -> None:
    m = MODELS["lmer"]()
    theirs = me.avg_comparisons(m.to_marginaleffects(), variables="k")
    assert theirs["contrast"].to_list() == ["2 - 1", "3 - 1"]
    assert_allclose(theirs["estimate"].to_numpy(), [m.fixef["factor(k)2"], m.fixef["factor(k)3"]], rtol=1e-9)
    flag = me.avg_comparisons(m.to_marginaleffects(), variables="flag")
    assert flag["contrast"].to_list() == ["True - False"]
    assert_allclose(
        flag["estimate"][0], m.comparisons("flag", average=True).table()["estimate"][0], rtol=1e-9
    )


def test_covariance_scale_and_tests() -> None:
    m = MODELS["glmer"]()
    adapter = m.to_marginaleffects(type="link")
    flag = me.avg_comparisons(adapter, variables="flag", vcov="CR1")
    at = m.fixef.names.index("flagTRUE")
    assert_allclose(flag["estimate"][0], m.fixef.values[at], rtol=1e-9)
    assert_allclose(flag["std_error"][0], np.sqrt(m.vcov(kind="CR1")[at, at]), rtol=1e-6)
    lm = MODELS["lm"]()
    slope = me.avg_comparisons(lm.to_marginaleffects(), variables="flag")
    own = lm.comparisons("flag", average=True).table()
    assert_allclose(slope["p_value"][0], own["p_value"][0], rtol=1e-5)  # t, with residual degrees of freedom
    assert "std_error" not in me.avg_comparisons(adapter, variables="flag", vcov=False).columns


def test_hypotheses_and_grids() -> None:
    m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "pandas"))
    adapter = m.to_marginaleffects()
    grid = me.predictions(adapter, newdata=me.datagrid(model=adapter, Days=[0, 5]))
    assert_allclose(grid["estimate"].to_numpy(), m.predict({"Days": [0, 5]}, re="population"), rtol=1e-12)
    difference = me.predictions(
        adapter, newdata=me.datagrid(model=adapter, Days=[0, 5]), hypothesis="b1 - b0 = 0"
    )
    assert_allclose(difference["estimate"][0], 5 * m.fixef["Days"], rtol=1e-9)
    assert_allclose(difference["std_error"][0], 5 * m.se["Days"], rtol=1e-6)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_factors_of_numbers_and_booleans_in_new_rows(library: str) -> None:
    """Whole numbers are levels, not positions among them; nor is the order of categories theirs."""
    new: dict[str, Any] = {"x": [1.0, 1.5, 2.0], "k": [1, 2, 3], "flag": [True, False, True]}
    m = mw.lm("y ~ x * factor(k) + flag", DATA)
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    rows = polars.DataFrame(new) if library == "polars" else pandas.DataFrame(new)
    theirs = me.predictions(m.to_marginaleffects(), newdata=rows)
    assert_allclose(theirs["estimate"].to_numpy(), m.predict(new), rtol=1e-12)
    theirs = me.avg_comparisons(m.to_marginaleffects(), variables={"k": [1, 3]})
    high, low = (m.predict(DATA | {"k": np.full(240, k)}).mean() for k in (3, 1))
    assert_allclose(theirs["estimate"].to_numpy(), [high - low], rtol=1e-9)
    frame = pandas.DataFrame(DATA)
    for levels in ([3, 1, 2], ["3", "1", "2"]):
        k = frame["k"].astype(type(levels[0]))
        m = mw.lm("y ~ x + k", frame.assign(k=pandas.Categorical(k, categories=levels)))
        theirs = me.predictions(m.to_marginaleffects(), newdata=rows)
        own = m.predict(new | {"k": sorted(levels)})
        assert_allclose(theirs["estimate"].to_numpy(), own, rtol=1e-12)
    with pytest.raises(mw.MixwellError, match="MW-"):
        me.predictions(m.to_marginaleffects(), newdata=polars.DataFrame(new | {"k": [1, 2, 4]}))


def test_hypotheses_of_coefficients_by_hand(m: Any) -> None:
    theirs = me.hypotheses(m.to_marginaleffects(), "b1 - 2 * b2 = 0.1")
    along = np.eye(len(m.fixef))[1] - 2.0 * np.eye(len(m.fixef))[2]
    assert_allclose(theirs["estimate"][0], along @ m.fixef.values - 0.1, rtol=1e-9)
    assert_allclose(theirs["std_error"][0], np.sqrt(along @ m.vcov() @ along), rtol=1e-5)


def test_predictions_follow_the_coefficients(m: Any) -> None:
    adapter = m.to_marginaleffects(type="link")
    X = adapter.get_exog(adapter.get_modeldata())
    step = np.linspace(-0.3, 0.2, len(m.fixef))
    moved = adapter.get_predict(m.fixef.values + step, X)["estimate"].to_numpy()
    still = adapter.get_predict(m.fixef.values, X)["estimate"].to_numpy()
    assert_allclose(moved - still, m.model_matrix() @ step, rtol=1e-9, atol=1e-12)


def test_weights_of_the_fit_and_a_definition_that_differs() -> None:
    m = mw.lm("y ~ log(x) + a", DATA, weights="exposure")
    adapter = m.to_marginaleffects()
    low = DATA["a"] == "low"
    averages = me.avg_predictions(adapter, by="a", wts="exposure")
    found = dict(zip(averages["a"].cast(str), averages["estimate"], strict=True))
    assert_allclose(found["low"], np.average(m.predict()[low], weights=DATA["exposure"][low]), rtol=1e-12)
    # +1 is centred there; m.comparisons goes from x to x + 1, as the R package does.
    up, down = (m.predict(DATA | {"x": DATA["x"] + half}).mean() for half in (0.499999, -0.499999))
    theirs = me.avg_comparisons(adapter, variables="x")["estimate"][0]
    assert_allclose(theirs, up - down, rtol=1e-4)
    forward = m.predict(DATA | {"x": DATA["x"] + 1.0}).mean() - m.predict().mean()
    assert_allclose(m.comparisons("x", average=True).table()["estimate"][0], forward, rtol=1e-9)


def test_the_response_has_its_name() -> None:
    for response, name in (("log(exposure)", "log(exposure)"), ("estimate", "(estimate)")):
        adapter = mw.lm(f"{response} ~ x", DATA | {"estimate": DATA["y"]}).to_marginaleffects()
        assert adapter.find_response() == name
        assert adapter.find_predictors() == ["x"]
        assert len(me.predictions(adapter)) == 240


def test_adapters_are_copied_with_their_scale() -> None:
    import copy
    import pickle

    adapter = MODELS["glm"]().to_marginaleffects(type="link")
    for again in (copy.deepcopy(adapter), pickle.loads(pickle.dumps(adapter))):
        assert again.scale == "link"
        assert_allclose(me.predictions(again)["estimate"], me.predictions(adapter)["estimate"], rtol=1e-12)


def test_versions_that_do_not_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    import polars

    from mixwell.bridges import marginaleffects as bridge

    assert bridge._release("0.10.1") > bridge._release("0.6.0") == (0, 6)
    assert bridge._release("10.0.0rc1") > bridge._release("2.0.0-beta.1") == (2, 0)
    bridge._adapter.cache_clear()
    monkeypatch.setattr(polars, "__version__", "10.1.0")
    monkeypatch.setattr(bridge, "version", lambda name: "0.6.0")
    with pytest.raises(mw.MixwellError, match="MW-A166"):
        MODELS["lm"]().to_marginaleffects()
    monkeypatch.undo()
    bridge._adapter.cache_clear()


def test_what_is_refused() -> None:
    counts = {"n": [0, 0, 1, 4, 2, 0, 3, 0, 5, 1] * 6, "x": list(range(60))}
    m = mw.glm("n ~ x", counts, family="poisson", ziformula="~ 1")
    with pytest.raises(mw.MixwellError, match="MW-A164"):
        m.to_marginaleffects()
    with pytest.raises(mw.MixwellError, match="MW-A02"):
        m.to_marginaleffects(type="log")
