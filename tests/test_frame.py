"""Every kind of table and column reads the same."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwell.design.frame import Column, Frame, code_integers, compact, read_column
from mixwell.errors import MixwellError

X = [1.5, -2.0, 0.25, 8.0]
K = [3, 1, 2, 3]
TEXT = ["b", "a", "ü:x", "b"]
TRUTH = [True, False, False, True]
DAYS = [dt.date(2020, 1, 2), dt.date(2020, 1, 1), dt.date(2020, 1, 1), dt.date(2021, 5, 5)]
TIMES = [
    dt.datetime(2020, 1, 2, 3),
    dt.datetime(2020, 1, 1),
    dt.datetime(2020, 1, 1),
    dt.datetime(2021, 5, 5),
]
PLAIN = {"x": X, "k": K, "text": TEXT, "truth": TRUTH, "time": TIMES}


def pandas_object() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in PLAIN.items()})


def pandas_nullable() -> pd.DataFrame:
    dtypes = {"x": "Float64", "k": "Int64", "text": "string", "truth": "boolean"}
    return pd.DataFrame(PLAIN).astype(dtypes)


def pandas_arrow() -> pd.DataFrame:
    return pa.table(PLAIN).to_pandas(types_mapper=pd.ArrowDtype)


def structured() -> np.ndarray:
    kinds = [("x", "f4"), ("k", "i2"), ("text", "U5"), ("truth", "?"), ("time", "M8[us]")]
    return np.array(list(zip(*PLAIN.values(), strict=True)), dtype=kinds)


TABLES: dict[str, Callable[[], Any]] = {
    "dict of lists": lambda: PLAIN,
    "dict of arrays": lambda: {name: np.array(values) for name, values in PLAIN.items()},
    "dict of objects": lambda: {name: np.array(values, dtype=object) for name, values in PLAIN.items()},
    "dict of series": lambda: {
        "x": pd.Series(X, index=[5, 6, 7, 8]),
        "k": pl.Series(K),
        "text": pa.array(TEXT),
        "truth": tuple(TRUTH),
        "time": pd.Series(TIMES),
    },
    "structured": structured,
    "pandas": lambda: pd.DataFrame(PLAIN),
    "pandas object": pandas_object,
    "pandas nullable": pandas_nullable,
    "pandas arrow": pandas_arrow,
    "polars": lambda: pl.DataFrame(PLAIN),
    "polars lazy": lambda: pl.LazyFrame(PLAIN),
    "pyarrow": lambda: pa.table(PLAIN),
    "pyarrow chunks": lambda: pa.concat_tables([pa.table(PLAIN).slice(0, 1), pa.table(PLAIN).slice(1)]),
    "pyarrow batch": lambda: pa.RecordBatch.from_pydict(PLAIN),
}


@pytest.fixture(params=TABLES)
def frame(request: pytest.FixtureRequest) -> Frame:
    return Frame.from_data(TABLES[request.param]())


def labels(column: Column) -> list[Any]:
    codes, levels = column.codes()
    assert codes.dtype == np.int32
    return [None if code < 0 else levels[code] for code in codes]


def test_every_table_reads_the_same(frame: Frame) -> None:
    assert frame.names == tuple(PLAIN)
    assert frame.n_rows == 4
    kinds = [frame.column(name).kind for name in frame.names]
    assert kinds == ["numeric", "numeric", "string", "boolean", "datetime"]
    for name in ("x", "k", "truth"):
        numbers = frame.column(name).numeric()
        assert numbers.dtype == np.float64
        assert numbers.tolist() == PLAIN[name]
    for name in ("k", "text", "truth", "time"):
        column = frame.column(name)
        assert labels(column) == PLAIN[name]
        assert column.codes()[1] == tuple(sorted(set(PLAIN[name])))
        assert column.absent is None
    assert type(frame.column("k").codes()[1][0]) is int
    assert len(frame.column("time").take(np.array([True, False, True, True]))) == 3
    with pytest.raises(KeyError):
        frame.column("X")


def test_tables_come_back_in_the_callers_library() -> None:
    kinds = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "polars lazy": pl.DataFrame, "pyarrow": pa.Table}
    kinds |= {"dict of lists": dict, "structured": dict, "pandas arrow": pd.DataFrame}
    for name, kind in kinds.items():
        made = Frame.from_data(TABLES[name]()).native_like(
            {"term": ["a", "b"], "estimate": np.array([1.0, 2.0])}
        )
        assert isinstance(made, kind)
        assert list(made["estimate"])[1] == 2.0 or made["estimate"].to_pylist() == [1.0, 2.0]


def test_a_lazy_table_is_collected_once_and_only_where_needed() -> None:
    collected = []

    def watched(part: pl.DataFrame) -> pl.DataFrame:
        collected.append(part.columns)
        return part

    lazy = pl.LazyFrame(PLAIN).select("x", "k").map_batches(watched)
    frame = Frame.from_data(lazy, ["k", "unknown"])
    assert frame.names == ("x", "k")
    assert frame.column("k").numeric().tolist() == K
    assert len(collected) == 1


def test_numeric_columns_are_copies() -> None:
    x = np.array(X)
    for data in ({"x": x}, pd.DataFrame({"x": x}, copy=False), pa.table({"x": x}), pl.DataFrame({"x": x})):
        numbers = Frame.from_data(data).column("x").numeric()
        numbers[0] = 99
        assert Frame.from_data(data).column("x").numeric()[0] == X[0]


MISSING: dict[str, Callable[[], Any]] = {
    "lists": lambda: {
        "x": [1.0, None, 3.0],
        "k": [7, 2**60 + 1, None],
        "t": ["b", None, "a"],
        "b": [True, None, False],
    },
    "nan lists": lambda: {
        "x": [1.0, float("nan"), 3],
        "k": [7, 2**60 + 1, None],
        "t": ["b", np.nan, "a"],
        "b": [True, pd.NA, False],
    },
    "masked": lambda: {
        "x": np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]),
        "k": np.ma.array([7, 2**60 + 1, 0], mask=[0, 0, 1]),
        "t": ["b", None, "a"],
        "b": np.ma.array([True, True, False], mask=[0, 1, 0]),
    },
    "pandas nullable": lambda: pd.DataFrame(
        {
            "x": pd.array([1.0, None, 3.0], dtype="Float64"),
            "k": pd.array([7, 2**60 + 1, None], dtype="Int64"),
            "t": pd.array(["b", None, "a"], dtype="string"),
            "b": pd.array([True, None, False], dtype="boolean"),
        }
    ),
    "pandas arrow": lambda: pa.table(MISSING["lists"]()).to_pandas(types_mapper=pd.ArrowDtype),
    "polars": lambda: pl.DataFrame(MISSING["lists"]()),
    "pyarrow": lambda: pa.table(MISSING["lists"]()),
    "categories": lambda: MISSING["pandas nullable"]().astype({"t": "category"}),
    "polars categories": lambda: MISSING["polars"]().with_columns(pl.col("t").cast(pl.Categorical)),
    "polars enum": lambda: MISSING["polars"]().with_columns(pl.col("t").cast(pl.Enum(["a", "b"]))),
    "dictionary": lambda: pa.table(
        MISSING["lists"]() | {"t": pa.array(["a", "b", "b", None, "a"]).dictionary_encode()[2:]}
    ),
}


@pytest.mark.parametrize("table", MISSING)
def test_missing_values_of_every_kind(table: str) -> None:
    frame = Frame.from_data(MISSING[table]())
    for name, missing, values in (
        ("x", 1, [1, 3]),
        ("k", 2, [7, 2**60 + 1]),
        ("t", 1, ["b", "a"]),
        ("b", 1, [True, False]),
    ):
        column = frame.column(name)
        assert column.absent is not None
        assert np.flatnonzero(column.absent).tolist() == [missing]
        kept = column.take(~column.absent)
        assert kept.absent is None
        assert labels(kept) == values  # also 2**60 + 1, which no float can hold
        whole = labels(column)
        assert whole.pop(missing) is None
        assert whole == values
    assert np.isnan(frame.column("x").numeric()[1])
    assert frame.column("b").numeric()[[0, 2]].tolist() == [1, 0]


def test_category_order_and_unused_levels() -> None:
    values, order = ["lo", "hi", "lo"], ["lo", "mid", "hi"]
    columns = {
        "pandas": pd.Categorical(values, categories=order, ordered=True),
        "series": pd.Series(pd.Categorical(values, categories=order, ordered=True)),
        "enum": pl.Series(values, dtype=pl.Enum(order)),
        "arrow": pa.DictionaryArray.from_arrays([0, 2, 0], order, ordered=True),
        "chunks": pa.chunked_array(
            [pa.DictionaryArray.from_arrays([0], order), pa.DictionaryArray.from_arrays([2, 0], order)]
        ),
    }
    for name, native in columns.items():
        column = read_column(name, native)
        codes, levels = column.codes()
        assert (column.kind, levels, codes.tolist()) == ("categorical", tuple(order), [0, 2, 0])
        assert column.ordered is (name in ("pandas", "series", "arrow"))  # a polars Enum is not ordered
        codes, levels = compact(codes, levels)
        assert (levels, codes.tolist()) == (("lo", "hi"), [0, 1, 0])


def test_polars_categories_are_sorted_whatever_was_seen_before() -> None:
    pl.Series(["zz", "b"], dtype=pl.Categorical)
    series = pl.Series(["b", "c", None, "a", "b"], dtype=pl.Categorical)
    column = read_column("c", series)
    assert column.codes()[1] == ("a", "b", "c")
    assert labels(column) == ["b", "c", None, "a", "b"]


@pytest.mark.parametrize(
    "native",
    [
        pd.Series(pd.to_datetime(["2020-01-02 05:00", "2020-01-01 12:00", None])).dt.tz_localize(
            "Europe/Berlin"
        ),
        pl.Series([dt.datetime(2020, 1, 2, 5), dt.datetime(2020, 1, 1, 12), None]).dt.replace_time_zone(
            "Europe/Berlin"
        ),
    ],
    ids=["pandas", "polars"],
)
def test_time_zones(native: Any) -> None:
    for column in (native, native.to_arrow() if isinstance(native, pl.Series) else pa.array(native)):
        first, second, third = labels(read_column("t", column))
        assert third is None
        assert second == dt.datetime(2020, 1, 1, 11, tzinfo=dt.UTC)
        assert first.isoformat() == "2020-01-02T05:00:00+01:00"


def test_dates_durations_and_nanoseconds() -> None:
    for column in (DAYS, pl.Series(DAYS), pa.array(DAYS), np.array(DAYS, dtype="M8[D]"), pd.Series(DAYS)):
        read = read_column("day", column)
        assert read.kind == "datetime"
        assert labels(read) == DAYS
    lengths = [dt.timedelta(2), dt.timedelta(1)]
    for column in (lengths, pl.Series(lengths), pa.array(lengths), pd.Series(lengths)):
        assert labels(read_column("length", column)) == lengths
    fine = np.array(["2020-01-01T00:00:00.000000001", "2020-01-01T00:00:00"], dtype="M8[ns]")
    assert labels(read_column("fine", fine)) == list(fine)
    assert labels(read_column("coarse", fine[1:])) == [dt.datetime(2020, 1, 1)]
    with pytest.raises(MixwellError, match="dates where numbers are needed"):
        read_column("fine", fine).numeric()


def test_unusual_columns() -> None:
    assert read_column("d", [Decimal("1.5"), 2]).numeric().tolist() == [1.5, 2]
    assert read_column("d", pa.array([Decimal("1.5"), None])).numeric()[0] == 1.5
    assert read_column("d", pl.Series([Decimal("1.5"), None])).numeric()[0] == 1.5
    assert read_column("big", [2**70, 1]).numeric().tolist() == [2.0**70, 1]
    assert read_column("bytes", np.array([b"a", b"b"])).codes()[1] == ("a", "b")
    assert labels(read_column("mixed", [1, "a", (2, 3), 1])) == [1, "a", (2, 3), 1]
    assert read_column("empty", []).kind == "numeric"
    assert read_column("none", pa.nulls(3)).absent.all()
    assert read_column("none", pl.Series([None, None])).absent.all()
    assert read_column("period", pd.Series(pd.period_range("2020", periods=2, freq="Y"))).codes()[
        0
    ].tolist() == [0, 1]
    assert read_column("sparse", pd.Series(pd.arrays.SparseArray([0.0, 0, 2]))).numeric().tolist() == [
        0,
        0,
        2,
    ]
    assert read_column("flag", pd.Series([True, None], dtype=object)).kind == "boolean"
    assert read_column("range", range(3)).numeric().tolist() == [0, 1, 2]
    assert labels(read_column("whole", [2.0, 1.0, np.nan])) == [2, 1, None]
    assert labels(read_column("halves", [2.5, 1.0])) == [2.5, 1.0]
    assert labels(read_column("huge", np.array([2**64 - 1, 2**63], dtype=np.uint64))) == [2**64 - 1, 2**63]
    assert labels(read_column("small", np.array([-128, 127], dtype=np.int8))) == [-128, 127]


def test_frames_with_unusual_names() -> None:
    assert Frame.from_data(pd.DataFrame({0: [1], 1: [2]})).column("1").numeric().tolist() == [2]
    assert Frame.from_data({0: [1], "a b": [2]}).column("0").numeric().tolist() == [1]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ([1, 2, 3], "MW-D01"),
        (None, "MW-D01"),
        ("sleep.csv", "MW-D01"),
        (np.zeros((3, 2)), "MW-D01"),
        (pd.Series([1.0]), "MW-D01"),
        (pl.Series([1.0]), "MW-D01"),
        ({"x": [1, 2], "y": [1]}, "MW-D02"),
        ({"x": 1.0, "y": [1]}, "MW-D05"),
        ({"x": "text", "y": [1]}, "MW-D05"),
    ],
)
def test_things_that_are_not_tables(data: Any, code: str) -> None:
    with pytest.raises(MixwellError, match=code):
        Frame.from_data(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "MW-D04"),
        (pa.table([[1], [2]], names=["x", "x"]), "MW-D04"),
        (pd.DataFrame({("x", "a"): [1], ("x", "b"): [1]}).droplevel(1, axis=1), "MW-D04"),
        ({"x": np.zeros((2, 2))}, "MW-D05"),
        ({"x": [[1], [2]]}, "MW-D05"),
        ({"x": [{"a": 1}]}, "MW-D05"),
        ({"x": np.array([1j])}, "MW-D05"),
        (pl.DataFrame({"x": [[1], [2]]}), "MW-D05"),
    ],
)
def test_columns_that_cannot_be_read(data: Any, code: str) -> None:
    with pytest.raises(MixwellError, match=code):
        Frame.from_data(data).column("x")


@pytest.mark.parametrize("values", [["1", "2"], pd.Categorical(["1", "2"])])
def test_text_is_not_a_number(values: Any) -> None:
    with pytest.raises(MixwellError, match=r"MW-D09.*'1'"):
        read_column("x", values).numeric()


def test_frames_can_be_pickled() -> None:
    for table in ("pandas", "polars", "pyarrow", "dict of lists", "structured"):
        again = pickle.loads(pickle.dumps(Frame.from_data(TABLES[table]())))
        assert again.column("k").numeric().tolist() == K


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1), max_size=40),
    dtype=st.sampled_from([np.int64, np.int8, np.int32]),
)
def test_integer_codes_equal_those_of_numpy(values: list[int], dtype: type) -> None:
    array = np.array([v for v in values if np.iinfo(dtype).min <= v <= np.iinfo(dtype).max], dtype=dtype)
    codes, found = code_integers(array)
    unique, inverse = np.unique(array, return_inverse=True)
    np.testing.assert_array_equal(found, unique)
    np.testing.assert_array_equal(codes, inverse)


def test_strings_of_long_tables_are_coded_natively() -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"g{i}" for i in range(50)])[rng.integers(0, 50, 6000)]
    expected = list(words)
    expected[7] = None
    for native in (
        pd.Series(expected),
        pl.Series(expected),
        pa.array(expected),
        pa.chunked_array([expected[:10], expected[10:]]),
    ):
        column = read_column("w", native)
        assert column.kind == "string"
        assert column.codes()[1] == tuple(sorted(set(words)))
        assert labels(column) == expected
