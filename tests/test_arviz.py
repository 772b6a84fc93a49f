"""Bootstrap replicates as an ArviZ object; packages that are missing are asked for."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mixwell as mw

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:arviz")


@pytest.fixture(scope="module")
def replicates() -> Any:
    m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    return m.bootstrap(40, seed=3)


def test_draws_are_the_replicates(replicates: Any) -> None:
    import arviz

    data = replicates.to_arviz()
    draws = data["posterior"]
    assert draws["coefficient"].values.tolist() == ["(Intercept)", "Days"]
    table = replicates.replicates
    assert_array_equal(draws["fixef"].values[0], np.column_stack([table["(Intercept)"], table["Days"]]))
    others = [name for name in replicates.names if name not in ("(Intercept)", "Days")]
    assert set(draws.data_vars) == {"fixef", *others}
    for name in others:
        assert_array_equal(draws[name].values[0], table[name])
    assert "not of a posterior" in draws.attrs["what"]
    assert draws.attrs["formula"] == "Reaction ~ 1 + Days + (1 + Days | Subject)"
    assert draws.attrs["mixwell"] == mw.__version__
    summary = arviz.summary(data, var_names=["sigma"], kind="stats", round_to="none")
    assert float(summary["mean"].iloc[0]) == pytest.approx(np.mean(table["sigma"]), rel=1e-12)


def test_replicates_without_a_fit_are_left_out(replicates: Any) -> None:
    from dataclasses import replace

    failed = np.arange(40) < 5
    values = np.where(failed[:, None], np.nan, replicates.values)
    draws = replace(replicates, values=values, failed=failed).to_arviz()["posterior"]
    assert draws.sizes["draw"] == 35
    assert draws.attrs["left_out"] == 5
    assert np.isfinite(draws["fixef"].values).all()
    with pytest.raises(mw.MixwellError, match="MW-A165"):
        replace(replicates, values=values * np.nan, failed=failed | True).to_arviz()


def test_means_and_deviations_are_those_of_the_table(replicates: Any) -> None:
    draws, table = replicates.to_arviz()["posterior"], replicates.table()
    for name, estimate, bias, se in zip(
        replicates.names, table["estimate"], replicates.bias.values, replicates.se.values, strict=True
    ):
        at = {"coefficient": name} if name in replicates.model.fixef.names else None
        own = draws["fixef"].sel(at) if at else draws[name]
        assert_allclose([own.mean(), own.std(ddof=1)], [estimate + bias, se], rtol=1e-12)


def test_arviz_from_version_1_on(replicates: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has trees of xarray, and takes the groups in one mapping."""
    import xarray

    def from_dict(data: Any, *, coords: Any, dims: Any) -> Any:
        variables = {
            name: (["chain", "draw", *dims.get(name, [])], values)
            for name, values in data["posterior"].items()
        }
        return xarray.DataTree.from_dict({"posterior": xarray.Dataset(variables, coords)})

    later = ModuleType("arviz")
    later.from_dict = from_dict  # type: ignore[attr-defined]
    data = replicates.to_arviz()
    monkeypatch.setitem(sys.modules, "arviz", later)
    tree = replicates.to_arviz()
    assert isinstance(tree, xarray.DataTree)
    assert_array_equal(tree["posterior"]["fixef"].values, data["posterior"]["fixef"].values)
    assert "not of a posterior" in tree["posterior"].attrs["what"]


def test_of_a_generalised_model() -> None:
    data = mw.data.load("cbpp", "dict")
    m = mw.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", data, family="binomial")
    draws = m.bootstrap(10, seed=1).to_arviz()["posterior"]
    assert draws["fixef"].shape == (1, 10, 4)


@pytest.mark.parametrize("package", ["arviz", "marginaleffects"])
def test_what_is_missing_is_asked_for(replicates: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    wanted = replicates.to_arviz if package == "arviz" else replicates.model.to_marginaleffects
    with pytest.raises(mw.MixwellError, match=f"pip install {package}"):
        wanted()
