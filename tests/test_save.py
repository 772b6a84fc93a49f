"""Saving and loading: the same numbers without a search, no code, damage and other data refused."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

import mixwell as mw
from mixwell.saving import fingerprint


def table(seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    n = 120
    g, x = rng.integers(0, 10, n), rng.normal(size=n)
    eta = 0.3 + 0.5 * x + rng.normal(size=10)[g]
    return {
        "real": eta + rng.normal(size=n),
        "binary": rng.binomial(1, 1 / (1 + np.exp(-eta))),
        "count": rng.poisson(np.exp(eta)),
        "excess": np.where(rng.random(n) < 0.3, 0, rng.poisson(np.exp(eta) + 1)),
        "grade": np.digitize(eta + rng.logistic(size=n), [-1.0, 1.0]),
        "x": x,
        "f": rng.choice([*"abc"], n),
        "g": np.char.add("g", g.astype(str)),
        "w": rng.integers(1, 4, n).astype(float),
        "z": np.where(rng.random(n) < 0.05, np.nan, rng.normal(size=n)),
    }


MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "lm": ("real ~ x * f", {}),
    "lmer": ("real ~ x + (x | g)", {}),
    "ml": ("real ~ x + (1 | g)", {"method": "ML", "weights": "w", "control": mw.Control(max_evaluations=77)}),
    "missing": ("real ~ z + f + (1 | g)", {"contrasts": {"f": "sum"}}),
    "matrix": ("real ~ f", {"contrasts": {"f": np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])}}),
    "arrays": ("real ~ x + (1 | g)", {"weights": np.linspace(1, 2, 120), "offset": np.linspace(0, 1, 120)}),
    "basis": ("real ~ poly(x, 3) + bs(x, df=4) + factor(w)", {}),
    "dot": ("real ~ . - binary - count - excess - grade - z - g + (1 | g)", {}),
    "logit": ("binary ~ x + (x | g)", {"family": "binomial"}),
    "probit": ("binary ~ x + f", {"family": "binomial", "link": "probit"}),
    "quadrature": ("binary ~ x + (1 | g)", {"family": "binomial", "nagq": 7}),
    "fast": ("binary ~ x + (1 | g)", {"family": "binomial", "nagq": 0}),
    "prior": ("binary ~ x + (1 | g)", {"family": "binomial", "prior": mw.Prior(fixef={"x": 0.5}, sd=1.0)}),
    "zero": ("excess ~ x + (1 | g)", {"family": "poisson", "ziformula": "~ x"}),
    "dispersion": ("count ~ x + (1 | g)", {"family": "nbinom2", "dispformula": "~ f"}),
    "ordinal": ("grade ~ x + (1 | g)", {"family": "cumulative"}),
    "quasi": ("count ~ x", {"family": "quasipoisson"}),
}


def fit(name: str, data: Any) -> Any:
    formula, options = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mw.MixwellWarning)
        return mw.fit(formula, data, **options)


@pytest.mark.parametrize("name", MODELS)
def test_everything_is_as_it_was(name: str, tmp_path: Path) -> None:
    m = fit(name, table())
    path = tmp_path / "fit.mixwell"
    m.save(path)
    again = mw.load(path)
    assert type(again) is type(m)
    assert_array_equal(again.fixef.values, m.fixef.values)
    assert_array_equal(again.vcov(), m.vcov())
    assert_array_equal(again.theta, m.theta)
    assert np.array_equal(again.loglik, m.loglik, equal_nan=True)
    assert again.summary() == m.summary()
    assert again.certificate().passed == m.certificate().passed
    if name != "arrays":  # its offset has no value for new rows
        new = {key: value[:7] for key, value in table(2).items()}
        options = {"type": "link"} if name == "ordinal" else {}
        assert_array_equal(again.predict(new, **options), m.predict(new, **options))
    assert again.notes == m.notes
    assert again.tidy()["p_value"].tolist() == m.tidy()["p_value"].tolist()


@pytest.mark.parametrize("name", ["lmer", "logit", "ordinal", "zero", "dispersion"])
def test_what_follows_works(name: str, tmp_path: Path) -> None:
    m = fit(name, table())
    m.save(tmp_path / "fit")
    again = mw.load(tmp_path / "fit")
    assert_array_equal(again.simulate(2, seed=1)["sim_2"], m.simulate(2, seed=1)["sim_2"])
    np.testing.assert_allclose(again.update("~ . - x").loglik, m.update("~ . - x").loglik, rtol=1e-10)
    np.testing.assert_allclose(again.refit(m.design.y).loglik, m.loglik, rtol=1e-10)
    again.save(tmp_path / "twice")
    assert mw.load(tmp_path / "twice").summary() == m.summary()
    pickled = pickle.loads(pickle.dumps(again))
    assert pickled.summary() == m.summary()


def test_a_refitted_response_stays(tmp_path: Path) -> None:
    with pytest.warns(mw.MixwellWarning, match="MW-W01"):
        m = fit("missing", table()).refit(np.random.default_rng(0).normal(size=120))
    m.save(tmp_path / "fit")
    again = mw.load(tmp_path / "fit")
    assert_array_equal(again.design.y, m.design.y)
    assert again.summary() == m.summary()


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_tables_come_back_in_the_library_of_the_data(library: str, tmp_path: Path) -> None:
    sleep = mw.data.load("sleepstudy", library)  # type: ignore[arg-type]
    m = mw.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    m.save(tmp_path / "fit")
    again = mw.load(tmp_path / "fit")
    assert type(again.tidy()) is type(m.tidy())
    assert type(again.augment()) is type(m.augment())
    assert again.summary() == m.summary()
    assert again.ranef().shape == m.ranef().shape


def test_ordered_factors_and_dates(tmp_path: Path) -> None:
    data = table()
    frame = pd.DataFrame({name: data[name] for name in ("real", "x", "g")})
    frame["grade"] = pd.Categorical.from_codes(np.arange(120) % 3, ["low", "mid", "high"], ordered=True)
    frame["day"] = pd.date_range("2026-01-01", periods=6).to_numpy()[np.arange(120) % 6]
    frame["flag"] = np.arange(120) % 2 == 0
    m = mw.fit("real ~ grade + flag + (1 | g) + (1 | day)", frame)
    m.save(tmp_path / "fit")
    again = mw.load(tmp_path / "fit")
    assert again.fixef.names == m.fixef.names
    assert again.summary() == m.summary()
    assert again.augment()["grade"].dtype == frame["grade"].dtype


def test_without_data_the_table_is_needed_and_checked(tmp_path: Path) -> None:
    m = fit("lmer", table())
    m.save(tmp_path / "fit", data=False)
    with pytest.raises(mw.MixwellError, match="MW-A140"):
        mw.load(tmp_path / "fit")
    assert mw.load(tmp_path / "fit", data=table()).summary() == m.summary()
    assert mw.load(tmp_path / "fit", data=pl.DataFrame(table())).loglik == m.loglik
    changed = table()
    changed["x"] = changed["x"] + 1e-12
    with pytest.raises(mw.MixwellError, match="MW-A139"):
        mw.load(tmp_path / "fit", data=changed)


def test_fingerprint_is_of_the_columns_used() -> None:
    m = fit("lmer", table())
    assert fingerprint(m) == fingerprint(fit("lmer", table() | {"w": np.zeros(120)}))
    assert fingerprint(m) == fingerprint(fit("lmer", pd.DataFrame(table())))
    assert fingerprint(m) != fingerprint(fit("lmer", table(2)))


def changed_meta(source: Path, target: Path, **changes: Any) -> None:
    with np.load(source, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(arrays["meta"].tobytes()) | changes
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    with target.open("wb") as out:
        np.savez(out, allow_pickle=False, **arrays)


def test_damage_is_refused(tmp_path: Path) -> None:
    source, other = tmp_path / "fit", tmp_path / "other"
    fit("lmer", table()).save(source)
    content = source.read_bytes()
    bad = [b"", b"hello", content[: len(content) // 2], content[:-30]]
    for each in bad:
        other.write_bytes(each)
        with pytest.raises(mw.MixwellError, match="MW-A137"):
            mw.load(other)
    with pytest.raises(mw.MixwellError, match="MW-A137"):
        mw.load(tmp_path / "nothing")
    changed_meta(source, other, format=2, mixwell="9.9")
    with pytest.raises(mw.MixwellError, match=r"9\.9"):
        mw.load(other)
    for changes in ({"kind": "neither"}, {"optimum": 3}, {"arguments": []}, {"kept": None}):
        changed_meta(source, other, **changes)
        with pytest.raises(mw.MixwellError, match="MW-A137"):
            mw.load(other)
    changed_meta(source, other, formula="real ~ 1 + (x | g)")
    with pytest.raises(mw.MixwellError, match=r"MW-A1(37|39|41)"):
        mw.load(other)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (print, ("executed",))

    inner = io.BytesIO()
    np.lib.format.write_array(inner, np.array([Evil()], dtype=object), allow_pickle=True)
    path = tmp_path / "evil"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.npy", inner.getvalue())
    with pytest.raises(mw.MixwellError, match="MW-A137"):
        mw.load(path)


def test_what_cannot_be_stored_is_said(tmp_path: Path) -> None:
    m = mw.lm("real ~ x", table())
    m.arguments["contrasts"] = {"f": object()}  # type: ignore[index]
    with pytest.raises(mw.MixwellError, match="MW-A136"):
        m.save(tmp_path / "fit")


def test_in_another_process(tmp_path: Path) -> None:
    m = fit("logit", table())
    m.save(tmp_path / "fit")
    code = f"import mixwell as mw; print(repr(mw.load({str(tmp_path / 'fit')!r}).loglik))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(shown.stdout) == m.loglik
