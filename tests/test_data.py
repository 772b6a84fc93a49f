"""The data sets that come along: every table library, the same values, and a copy for each caller."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import narwhals.stable.v2 as nw
import numpy as np
import pytest

from mixwell import data
from mixwell.errors import MixwellError

FACTORS = {
    "sleepstudy": {"Subject": 18},
    "dyestuff": {"Batch": 6},
    "dyestuff2": {"Batch": 6},
    "penicillin": {"plate": 24, "sample": 6},
    "pastes": {"batch": 10, "cask": 3, "sample": 30},
    "cake": {"replicate": 15, "recipe": 3, "temperature": 6},
    "cbpp": {"herd": 15, "period": 4},
    "recognition": {"subject": 56, "item": 32},
}
ROWS = dict(zip(FACTORS, (180, 30, 30, 144, 60, 270, 56, 1789), strict=True))
BACKENDS = ("pandas", "polars", "pyarrow", "dict")


def as_columns(table: object) -> dict[str, list[object]]:
    if isinstance(table, dict):
        return {name: values.tolist() for name, values in table.items()}
    return {column.name: column.to_list() for column in nw.from_native(table, eager_only=True).iter_columns()}


def test_available_names_what_is_on_disk() -> None:
    files = {path.stem for path in Path(data.__file__).parent.glob("*.csv")}
    assert set(data.available()) == files == set(FACTORS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FACTORS)
def test_every_backend_gives_the_values_of_the_file(name: str, backend: data.Backend) -> None:
    columns = as_columns(data.load(name, backend=backend))
    with (Path(data.__file__).parent / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == ROWS[name]
    assert list(columns) == list(rows[0])
    for column, values in columns.items():
        texts = [row[column] for row in rows]
        if column in FACTORS[name]:
            assert values == texts
            assert len(set(values)) == FACTORS[name][column]
        else:
            assert values == [float(text) for text in texts]
            whole = {type(value) for value in values} == {int}
            assert whole or name not in ("recognition", "cbpp")


@pytest.mark.parametrize("backend", ["pandas", "polars", "pyarrow"])
def test_factors_are_categorical_with_levels_in_order_of_appearance(backend: data.Backend) -> None:
    herd = nw.from_native(data.load("cbpp", backend=backend), eager_only=True)["herd"]
    assert isinstance(herd.dtype, nw.Categorical | nw.Enum)
    assert herd.cat.get_categories().to_list() == [str(herd) for herd in range(1, 16)]


def test_each_load_is_a_fresh_copy() -> None:
    frame, arrays = data.load("sleepstudy", backend="pandas"), data.load("sleepstudy", backend="dict")
    frame.loc[:, "Reaction"] = np.nan
    arrays["Reaction"][:] = np.nan
    for backend in BACKENDS:
        assert as_columns(data.load("sleepstudy", backend=backend))["Reaction"][0] == 249.56


def test_the_default_is_the_first_library_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    for hidden, expected in (
        ((), "pandas"),
        (("pandas",), "polars"),
        (("pandas", "polars"), "pyarrow"),
        (("pandas", "polars", "pyarrow"), "builtins"),
    ):
        data._first_installed.cache_clear()
        monkeypatch.setattr(
            data, "find_spec", lambda name, hidden=hidden: None if name in hidden else real(name)
        )
        assert type(data.load("dyestuff")).__module__.split(".")[0] == expected
    data._first_installed.cache_clear()


def test_a_wrong_name_suggests_the_right_one() -> None:
    with pytest.raises(MixwellError, match="Did you mean 'sleepstudy'") as caught:
        data.load("sleepstdy")
    assert caught.value.code == "MW-A40"


def test_a_wrong_backend_lists_the_known_ones() -> None:
    with pytest.raises(MixwellError, match="'polars'") as caught:
        data.load("cake", backend="dataframe")  # type: ignore[arg-type]
    assert caught.value.code == "MW-A02"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(data.importlib, "import_module", missing)
    with pytest.raises(MixwellError, match="'polars' is not installed") as caught:
        data.load("cake", backend="polars")
    assert caught.value.code == "MW-A41"


def test_the_crossed_example_is_what_its_script_makes() -> None:
    script = Path(__file__).parent / "reference" / "make_crossed.py"
    spec = importlib.util.spec_from_file_location("make_crossed", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    columns = data.load("recognition", backend="dict")
    assert [tuple(map(str, row)) for row in module.simulate()] == [
        tuple(map(str, row)) for row in zip(*columns.values(), strict=True)
    ]
