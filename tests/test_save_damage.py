"""Files that were damaged or forged: a registered error each time, and nothing in them is run or imported."""

from __future__ import annotations

import copy
import json
import pickle
import random
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

import mixwell as mw
from mixwell import saving

FORMULAS: dict[str, tuple[str, dict[str, Any]]] = {
    "lm": ("y ~ poly(x, 2) * f", {}),
    "lmer": ("y ~ ns(x, 3) + f + (x | g)", {}),
    "glmer": ("won ~ poly(x, 2) + f + (1 | g)", {"family": "binomial"}),
    "quadrature": ("won ~ x + (1 | g)", {"family": "binomial", "nagq": 5}),
    "ordinal": ("grade ~ x + f + (1 | g)", {"family": "cumulative"}),
    "zero": ("n ~ x + (1 | g)", {"family": "poisson", "ziformula": "~ f"}),
    "dispersion": ("n ~ bs(x, df=4) + (1 | g)", {"family": "nbinom2", "dispformula": "~ f"}),
    "truncated": ("k ~ x + f", {"family": "truncated_poisson"}),
}


def table() -> dict[str, Any]:
    rng = np.random.default_rng(8)
    n = 120
    g, x = np.arange(n) % 10, rng.normal(size=n)
    eta = 0.3 + 0.5 * x + rng.normal(size=10)[g]
    return {
        "y": eta + rng.normal(size=n),
        "won": rng.binomial(1, 1 / (1 + np.exp(-eta))),
        "n": np.where(rng.random(n) < 0.3, 0, rng.poisson(np.exp(eta) + 1)),
        "k": rng.poisson(np.exp(eta / 2)) + 1,
        "grade": np.digitize(eta + rng.logistic(size=n), [-1.0, 1.0]),
        "x": x,
        "f": rng.choice([*"abc"], n),
        "g": np.char.add("g", g.astype(str)),
    }


def fit(name: str, data: Any) -> Any:
    formula, options = FORMULAS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mw.MixwellWarning)
        return mw.fit(formula, data, **options)


def categories(library: str) -> Any:
    data = table()
    if library == "dict":
        return data
    if library == "polars":
        return pl.DataFrame(data).with_columns(
            pl.col("f").cast(pl.Enum([*"cab"])), pl.col("g").cast(pl.Categorical)
        )
    frame = pd.DataFrame(data)
    frame["f"] = pd.Categorical(frame["f"], categories=[*"cab", "unused"])
    return frame.assign(g=frame["g"].astype("category"))


def contents(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop("meta").tobytes()), arrays


def forged(path: Path, meta: Any, arrays: dict[str, Any]) -> None:
    """Write what a forger would: with a checksum that fits."""
    told = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    out = {name: array for name, array in arrays.items() if name != "checksum"}
    out["meta"] = np.frombuffer(told, dtype=np.uint8)
    out["checksum"] = saving.checksum(out)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **out)


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(mw.MixwellError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mw.load(path, **options)
    return caught.value.code


@pytest.fixture(scope="module", params=["lmer", "zero", "ordinal"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("saved") / "fit"
    fit(request.param, table()).save(path)
    yield path


def test_changed_bytes(saved: Path, tmp_path: Path) -> None:
    whole, path, rng = saved.read_bytes(), tmp_path / "x", random.Random(1)
    summary = mw.load(saved).summary()
    for count in [1] * 80 + [20] * 20:
        changed = bytearray(whole)
        for _ in range(count):
            changed[rng.randrange(len(whole))] = rng.randrange(256)
        path.write_bytes(bytes(changed))
        try:
            assert mw.load(path).summary() == summary  # a byte that nothing depends on, of a date
        except mw.MixwellError as refusal:
            assert refusal.code in ("MW-A137", "MW-A138")
    for length in (0, 1, 30, 200, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert refused(path) == "MW-A137"


def test_changed_arrays(saved: Path, tmp_path: Path) -> None:
    meta, arrays = contents(saved)
    path = tmp_path / "x"
    for name, array in arrays.items():
        if name == "checksum":
            continue
        others = [
            np.zeros(0),
            array.ravel()[:-1],
            np.resize(array, 2 * array.size + 1),
            np.full(array.shape, "q"),
        ]
        others += [array[None], np.full(array.shape, 2**31 - 1), np.zeros(array.shape, complex)]
        for other in others:
            with path.open("wb") as file:  # the checksum is that of the file as it was
                np.savez(
                    file,
                    **{**arrays, "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8), name: other},
                )
            if not (other.shape == array.shape and other.dtype == array.dtype and (other == array).all()):
                assert refused(path) == "MW-A137"
            forged(path, meta, {**arrays, name: other})
            try:  # numbers may be forged, but a file is refused as ours to refuse, or read
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    mw.load(path)
            except mw.MixwellError:
                pass


def test_changed_description(saved: Path, tmp_path: Path) -> None:
    meta, arrays = contents(saved)
    path, rng = tmp_path / "x", random.Random(2)
    junk = [None, -1, 1e308, "", "a0", [], {}, {"@array": "a0"}, {"@array": "no"}, {"@float": "nan"}, 10**30]
    junk += [
        {"@record": "os.system", "fields": {}},
        {"@record": "Control", "fields": {"x": 1}},
        [[1]],
        {"@space": {}},
    ]
    places = list(leaves(meta))
    for place in rng.sample(places, min(len(places), 120)):
        changed = copy.deepcopy(meta)
        at = changed
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = rng.choice(junk)
        forged(path, changed, arrays)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                mw.load(path)
        except mw.MixwellError:
            pass


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        yield (*path, key)
        yield from leaves(value[key], (*path, key))


def test_no_module_of_the_files_choice_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "intruder.py").write_text("def DataFrame(columns):\n    return columns\n")
    monkeypatch.syspath_prepend(tmp_path)
    fit("lm", table()).save(tmp_path / "fit")
    meta, arrays = contents(tmp_path / "fit")
    forged(tmp_path / "x", meta | {"library": "intruder"}, arrays)
    assert refused(tmp_path / "x") == "MW-A137"
    assert "intruder" not in sys.modules


def header(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "shape", ["(1099511627776,)", f"({10**30},)", "(-1,)", "(2, -9)", "((((1,", "(300000000, 9)"]
)
def test_sizes_are_checked_before_memory_is_asked_for(shape: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("meta.npy", header(shape) + bytes(64))
    assert refused(tmp_path / "x") == "MW-A137"


def test_a_file_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit("lm", table()).save(tmp_path / "x")
    monkeypatch.setattr(saving, "MOST", 1000)
    with pytest.raises(mw.MixwellError, match="unpack"):
        mw.load(tmp_path / "x")


@pytest.mark.parametrize(
    "told", [b"[" * 100_000, b'{"format": 1e999}', b'{"format": null}', b"3", b"\xff", b"{}", b""]
)
def test_descriptions_that_are_none(told: bytes, tmp_path: Path) -> None:
    forged(tmp_path / "x", told, {})
    assert refused(tmp_path / "x") == "MW-A137"


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(mw.MixwellError, match="no such file"):
        mw.load(tmp_path / "nothing")
    assert refused(tmp_path) == "MW-A137"


def test_an_older_file_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    path, m = tmp_path / "fit", fit("lm", table())
    m.save(path)
    before = path.read_bytes()
    for failure in (full, interrupted):
        with monkeypatch.context() as patch:
            patch.setattr(np, "savez_compressed", failure)
            with pytest.raises((mw.MixwellError, KeyboardInterrupt), match=r"No space|stop"):
                m.save(path)
        assert path.read_bytes() == before
        assert [each.name for each in tmp_path.iterdir()] == ["fit"]
    for place in (tmp_path / "nowhere" / "fit", tmp_path, path / "below"):
        with pytest.raises(mw.MixwellError) as caught:
            m.save(place)
        assert caught.value.code == "MW-A142"
    (tmp_path / "link").symlink_to(path)
    fit("lmer", table()).save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert mw.load(path).is_mixed


def interrupted(file: Any, **arrays: Any) -> None:
    raise KeyboardInterrupt("stop")


def test_the_order_of_levels_is_part_of_the_table(tmp_path: Path) -> None:
    """Coefficients are those of contrasts: with other levels first they would carry wrong names."""
    path = tmp_path / "fit"
    frame = categories("pandas")
    for name in ("lm", "lmer", "glmer", "zero"):
        m = fit(name, frame)
        m.save(path, data=False)
        assert mw.load(path, data=categories("pandas")).summary() == m.summary()
        assert mw.load(path, data=categories("polars")).fixef.names == m.fixef.names
        assert refused(path, data=table()) == "MW-A139"
    ranked = frame.assign(f=frame["f"].cat.as_ordered())
    assert refused(path, data=ranked) == "MW-A139"
    flags = {"y": table()["y"], "b": table()["won"] == 1}
    mw.lm("y ~ b", flags).save(path, data=False)
    assert refused(path, data=flags | {"b": flags["b"].astype(int)}) == "MW-A139"


def test_categories_that_are_no_text_are_named(tmp_path: Path) -> None:
    frame = pd.DataFrame(table())
    frame["part"] = pd.cut(frame["x"], [-9.0, 0.0, 9.0])
    with pytest.raises(mw.MixwellError, match="column part") as caught:
        mw.lm("y ~ part", frame).save(tmp_path / "fit")
    assert caught.value.code == "MW-A136"
    assert not (tmp_path / "fit").exists()
    m = mw.lm("y ~ part", frame.assign(part=frame["part"].cat.rename_categories(str)))
    m.save(tmp_path / "fit")
    assert mw.load(tmp_path / "fit").summary() == m.summary()


def test_missing_values_are_not_empty_texts(tmp_path: Path) -> None:
    data = table()
    data["f"] = [None if i == 5 else "" if i % 3 == 0 else "b" for i in range(120)]
    with pytest.warns(mw.MixwellWarning, match="MW-W01"):
        m = mw.lm("y ~ f", data)
    m.save(tmp_path / "fit", data=False)
    assert refused(tmp_path / "fit", data=data | {"f": [each or "" for each in data["f"]]}) == "MW-A139"


def test_a_missing_number_is_missing_in_any_library(tmp_path: Path) -> None:
    data = table()
    data["x"][3] = np.copysign(np.nan, -1.0)
    with pytest.warns(mw.MixwellWarning, match="MW-W01"):
        m = mw.lm("y ~ x", data)
    m.save(tmp_path / "fit", data=False)
    with_null = pl.DataFrame(data).with_columns(pl.col("x").fill_nan(None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mw.MixwellWarning)
        assert mw.load(tmp_path / "fit", data=with_null).loglik == m.loglik


@pytest.mark.parametrize("library", ["dict", "pandas", "polars"])
@pytest.mark.parametrize("name", FORMULAS)
def test_copies_are_the_fit(name: str, library: str, tmp_path: Path) -> None:
    m = fit(name, categories(library))
    new = {key: value[::-1][:9] for key, value in table().items()}
    options = {"type": "link"} if name == "ordinal" else {}
    m.save(tmp_path / "fit")
    for again in (pickle.loads(pickle.dumps(m)), copy.deepcopy(m), copy.copy(m), mw.load(tmp_path / "fit")):
        assert again.summary() == m.summary()
        assert_array_equal(again.predict(new, **options), m.predict(new, **options))
        assert_array_equal(again.vcov(), m.vcov())
        assert again.arguments.keys() == m.arguments.keys()
        assert again.certificate().passed == m.certificate().passed
        assert type(again.tidy()) is type(m.tidy())
    other = copy.deepcopy(m)
    other.design.y[:] = 0.0
    assert m.design.y.any()
