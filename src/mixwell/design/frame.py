"""Any table becomes named columns: numbers, or level codes.

This is the only module that knows the table libraries. pandas, polars and pyarrow columns are read natively,
because one generic call costs more than a whole small fit; everything else (lazy engines included) comes
through narwhals. Nothing here imports those libraries: a table of theirs means that they are loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, timedelta
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from mixwell.errors import MixwellError, error

__all__ = ["Codes", "Column", "Frame", "Kind", "Labels", "Mask", "code_integers", "compact", "read_column"]

Kind = Literal["numeric", "boolean", "categorical", "string", "datetime"]
Labels = tuple[Hashable, ...]
Mask = NDArray[np.bool_]
Codes = NDArray[np.int32]

_CHUNK = 65_536  # rows per pass, so that temporaries stay in the cache
_FEW = 5_000  # rows below which a Python dict codes strings faster than a call into a table library
_EXACT = 2.0**53  # whole floats below this are exact integers


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, read.

    `values` hold numbers, booleans, datetimes as stored (n,); text and categories are `codes_` (n,) into
    `levels_` instead, -1 where missing. `absent` marks missing rows (None: there are none). `owned` says that
    `values` are not the caller's.
    """

    name: str
    kind: Kind
    values: NDArray[Any] | None = None
    absent: Mask | None = None
    codes_: Codes | None = None
    levels_: Labels = ()
    ordered: bool = False
    timezone: Any = None
    owned: bool = False

    def __len__(self) -> int:
        """Rows."""
        stored = self.codes_ if self.values is None else self.values
        return 0 if stored is None else len(stored)

    def take(self, rows: Mask | None) -> Column:
        """Keep the rows where the mask is true (None: all of them)."""
        if rows is None:
            return self
        absent = None if self.absent is None else self.absent[rows]
        return replace(
            self,
            values=None if self.values is None else self.values[rows],
            codes_=None if self.codes_ is None else self.codes_[rows],
            absent=absent if absent is not None and absent.any() else None,
            owned=True,
        )

    def numeric(self) -> NDArray[np.float64]:
        """Return a float64 array (n,), not the caller's, NaN where missing. Text and dates are refused."""
        if self.values is None or self.kind == "datetime":
            raise self.not_numeric()
        numbers = np.array(self.values, dtype=np.float64, copy=None if self.owned else True)
        if self.absent is not None:
            numbers[self.absent] = np.nan
        return numbers

    def codes(self) -> tuple[Codes, Labels]:
        """Return int32 codes (n,), -1 where missing, and the levels they index.

        Levels are sorted, or in the order of the categories of a categorical column (all of them: `compact`
        drops the unused). Whole numbers have integer levels whether stored as integers or floats.
        """
        if self.codes_ is not None:
            return self.codes_, self.levels_
        values = self.values
        assert values is not None
        if self.absent is None:
            return _code(values, self.timezone)
        codes = np.full(len(values), -1, dtype=np.int32)
        present = ~self.absent
        codes[present], levels = _code(values[present], self.timezone)
        return codes, levels

    def not_numeric(self, **where: Any) -> MixwellError:
        """Build the error that says what the column holds instead of numbers."""
        advice = _NUMBER_ADVICE.get(self.kind, "")
        return error("MW-D09", what=f"'{self.name}'", kind=self.described(), advice=advice, **where)

    def described(self) -> str:
        """Put the kind into words, with a value, for messages: "text (such as 'abc')"."""
        words = {"string": "text", "categorical": "categorical", "boolean": "boolean", "datetime": "dates"}
        if self.kind not in words:
            return "numbers"
        level = next(iter(self.levels_), None)
        return words[self.kind] + (f" (such as {level!r})" if level is not None else "")


_NUMBER_ADVICE = {
    "string": "If it holds numbers stored as text, convert the column first.",
    "categorical": "If its categories are numbers, convert the column to numbers first.",
    "datetime": "Convert it to a number first (days since the first one), or write factor() around it.",
}


class Frame:
    """A table with named columns, whatever library it comes from.

    >>> frame = Frame.from_data({"x": [1.0, 2.0], "g": ["a", "b"]})
    >>> frame.names, frame.n_rows, frame.column("g").kind
    (('x', 'g'), 2, 'string')
    """

    __slots__ = ("_backend", "_get", "_table", "n_rows", "names")

    names: tuple[str, ...]
    n_rows: int

    def __init__(
        self, table: Any, names: Iterable[Any], n_rows: int, get: Callable[[Any], Any], backend: Any
    ) -> None:
        self._table, self._get, self._backend = table, get, backend
        self.names, self.n_rows = tuple(map(str, names)), n_rows

    @classmethod
    def from_data(cls, data: Any, columns: Sequence[str] | None = None) -> Frame:
        """Wrap a table without copying it.

        Parameters
        ----------
        data
            pandas, polars (eager or lazy) or pyarrow table, anything else narwhals reads, a mapping of
            columns, or a NumPy structured array.
        columns
            The columns that will be read: all that is collected from a lazy engine.
        """
        if isinstance(data, Frame):
            return data
        if _is(data, "pandas", "DataFrame"):
            return cls(data, data.columns, len(data), data.__getitem__, "pandas")
        if _is(data, "polars", "DataFrame"):
            return cls(data, data.columns, data.height, data.get_column, "polars")
        if _is(data, "pyarrow", "Table") or _is(data, "pyarrow", "RecordBatch"):
            return cls(data, data.schema.names, data.num_rows, data.column, "pyarrow")
        if isinstance(data, Mapping):
            return cls(data, data, _common_length(data), data.__getitem__, None)
        if isinstance(data, np.ndarray) and data.dtype.names and data.ndim == 1:
            return cls(data, data.dtype.names, len(data), data.__getitem__, None)
        return cls._through_narwhals(data, columns)

    @classmethod
    def _through_narwhals(cls, data: Any, columns: Sequence[str] | None) -> Frame:
        try:
            table = nw.from_native(data)
        except TypeError:
            shape = f" of shape {data.shape}" if isinstance(data, np.ndarray) else ""
            raise error("MW-D01", kind=type(data).__name__ + shape) from None
        names = tuple(table.collect_schema().names())
        if columns is not None:
            table = table.select([name for name in names if name in set(columns)])
        eager = table.collect() if isinstance(table, nw.LazyFrame) else table
        native = eager.to_native()
        if not any(_is(native, *known) for known in _KNOWN_TABLES):
            native = eager.to_arrow()
        frame = cls.from_data(native)
        frame.names = names
        return frame

    def column(self, name: str) -> Column:
        """Read one column; KeyError when there is none of that name."""
        count = self.names.count(name)
        if count != 1:
            if count:
                raise error("MW-D04", column=name, count=count)
            raise KeyError(name)
        try:
            native = self._get(name)
        except KeyError:  # pandas tables may have names that are not strings
            native = self._get(next(key for key in self._table if str(key) == name))
        return read_column(name, native)

    def native_like(self, columns: Mapping[str, Any]) -> Any:
        """Build a table in the caller's library from arrays or lists; a dict if a dict or array came in."""
        if self._backend is None:
            return dict(columns)
        return nw.from_dict(dict(columns), backend=self._backend).to_native()

    def with_columns(self, columns: Mapping[str, Any], rows: Mask | None = None) -> Any:
        """Return the caller's table with columns added, only the rows where the mask is true (None: all)."""
        if self._backend is None:
            kept = {name: self._get(name) for name in self.names}
            if rows is not None:
                kept = {
                    name: [item for item, used in zip(values, rows, strict=True) if used]
                    if isinstance(values, list | tuple)
                    else np.asarray(values)[rows]
                    for name, values in kept.items()
                }
            return kept | dict(columns)
        native = self._table
        if _is(native, "pyarrow", "RecordBatch"):
            native = sys.modules["pyarrow"].Table.from_batches([native])
        table = nw.from_native(native, eager_only=True)
        if rows is not None:
            table = table.filter(rows.tolist())
        backend = table.implementation
        return table.with_columns(
            *(nw.new_series(name, values, backend=backend) for name, values in columns.items())
        ).to_native()


_KNOWN_TABLES = (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table"))


def _is(thing: Any, library: str, name: str) -> bool:
    """Whether `thing` is an instance of a class of a library, if that library is loaded at all."""
    kind = getattr(sys.modules.get(library), name, None)
    return kind is not None and isinstance(thing, kind)


def _common_length(columns: Mapping[Any, Any]) -> int:
    lengths: dict[str, int] = {}
    for name, values in columns.items():
        try:
            lengths[str(name)] = len(values)
        except TypeError:
            reason = f"it is one {type(values).__name__}, not one value per row"
            raise error("MW-D05", column=name, reason=reason) from None
        if isinstance(values, (str, bytes, Mapping, set, frozenset)):
            reason = f"it is one {type(values).__name__}, not one value per row"
            raise error("MW-D05", column=name, reason=reason)
    if len(set(lengths.values())) > 1:
        raise error("MW-D02", lengths=[f"{name} {length}" for name, length in lengths.items()])
    return next(iter(lengths.values()), 0)


# --- reading one column -------------------------------------------------------------------------------------


def read_column(name: str, native: Any) -> Column:
    """Dispatch on the type of the column, which in a dict may differ from its neighbour's."""
    if isinstance(native, Column):
        return native
    if isinstance(native, np.ndarray):
        return _from_numpy(name, native)
    if _is(native, "pandas", "Series"):
        return _from_pandas(name, native.array, native.dtype)
    if _is(native, "polars", "Series"):
        return _from_polars(name, native)
    if _is(native, "pyarrow", "ChunkedArray") or _is(native, "pyarrow", "Array"):
        return _from_arrow(name, native)
    if _is(native, "pandas", "DataFrame"):
        raise error("MW-D04", column=name, count=native.shape[1])
    if hasattr(native, "dtype") and hasattr(native, "categories"):  # pandas.Categorical on its own
        return _from_pandas(name, native, native.dtype)
    return _from_objects(name, list(native))


def _from_numpy(name: str, values: NDArray[Any], absent: Mask | None = None, timezone: Any = None) -> Column:
    if values.ndim != 1:
        raise error("MW-D05", column=name, reason=f"it has shape {values.shape}, not one value per row")
    kind = values.dtype.kind
    if isinstance(values, np.ma.MaskedArray):
        values, absent = values.data, _merged(np.ma.getmaskarray(values), absent)
    if kind == "f":
        return Column(name, "numeric", values, _merged(_nan_mask(values), absent))
    if kind in "iu":
        return Column(name, "numeric", values, absent)
    if kind == "b":
        return Column(name, "boolean", values, absent)
    if kind in "mM":
        return Column(name, "datetime", values, _merged(np.isnat(values), absent), timezone=timezone)
    if kind in "OUTS":
        items = values.tolist()
        if kind == "S":
            items = [item.decode("utf-8", "replace") for item in items]
        for row in [] if absent is None else np.flatnonzero(absent).tolist():
            items[row] = None
        return _from_objects(name, items)
    raise error("MW-D05", column=name, reason=f"values of type {values.dtype} are not supported")


def _from_pandas(name: str, array: Any, dtype: Any) -> Column:
    """Read a pandas extension array (every pandas column has one)."""
    if isinstance(dtype, np.dtype):
        return _from_numpy(name, array.to_numpy())
    kind = type(dtype).__name__
    if kind == "CategoricalDtype":
        codes = array.codes.astype(np.int32)
        return _categorical(name, codes, dtype.categories.tolist(), ordered=bool(dtype.ordered))
    if kind == "ArrowDtype":
        return _from_arrow(name, array.__arrow_array__())
    if kind == "StringDtype":
        codes, uniques = array.factorize()
        return _text(name, codes.astype(np.int32), uniques.tolist())
    if kind == "DatetimeTZDtype":
        return _from_numpy(name, array.to_numpy(dtype=f"datetime64[{dtype.unit}]"), timezone=dtype.tz)
    if hasattr(dtype, "numpy_dtype"):  # Int64, Float64, boolean: values and a mask
        absent = array.isna()
        if not absent.any():
            return _from_numpy(name, array.to_numpy(dtype=dtype.numpy_dtype))
        return _from_numpy(name, array.to_numpy(dtype=dtype.numpy_dtype, na_value=0), absent)
    return _from_numpy(name, np.asarray(array))


def _from_polars(name: str, series: Any) -> Column:
    dtype = series.dtype
    absent = series.is_null().to_numpy() if series.null_count() else None
    kind = type(dtype).__name__
    if kind == "String":
        if len(series) <= _FEW:
            return _from_objects(name, series.to_list())
        return _from_polars_codes(name, series.cast(sys.modules["polars"].Categorical), "string")
    if kind == "Categorical":
        return _from_polars_codes(name, series, "categorical")
    if kind == "Enum":
        codes = series.to_physical().fill_null(0).to_numpy().astype(np.int32)
        if absent is not None:
            codes[absent] = -1
        return _categorical(name, codes, dtype.categories.to_list(), ordered=False)
    if dtype.is_numeric() or kind in {"Boolean", "Date", "Datetime", "Duration"}:
        if kind in {"Int128", "UInt128"} or (kind == "Decimal" and not dtype.scale):
            return _from_objects(name, series.to_list())  # keys of databases, too long for a double
        if kind == "Decimal":
            series = series.cast(sys.modules["polars"].Float64)
        if absent is not None and kind in {"Boolean"} | _POLARS_INTEGERS:
            series = series.fill_null(False if kind == "Boolean" else 0)
        zone = getattr(dtype, "time_zone", None)
        return _from_numpy(name, series.to_numpy(), absent, None if zone is None else _zone(zone))
    return _from_objects(name, series.to_list())


_POLARS_INTEGERS = {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64, 128)}


def _from_polars_codes(name: str, series: Any, kind: Kind) -> Column:
    """Codes of a polars Categorical: its physical codes are shared between columns and in no useful order."""
    physical = series.to_physical().to_numpy()
    absent = None
    if series.null_count():
        absent = series.is_null().to_numpy()
        physical = series.to_physical().fill_null(0).to_numpy()
    codes = np.full(len(physical), -1, dtype=np.int32)
    present = slice(None) if absent is None else ~absent
    codes[present], found = code_integers(physical[present])
    # One row of each code; -1 lands on the spare last place.
    example = np.zeros(len(found) + 1, dtype=np.int64)
    example[codes] = np.arange(len(codes))
    levels = series.gather(example[:-1]).to_list()
    return _text(name, codes, levels, kind)


def _from_arrow(name: str, array: Any) -> Column:
    types = sys.modules["pyarrow"].types
    kind = array.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        if len(array) <= _FEW:
            return _from_objects(name, array.to_pylist())
        codes, levels = _arrow_dictionary(array.dictionary_encode())
        return _text(name, codes, levels)
    if types.is_dictionary(kind):
        codes, levels = _arrow_dictionary(array)
        return _categorical(name, codes, levels, ordered=bool(kind.ordered))
    if types.is_decimal(kind) and kind.scale == 0:
        return _from_objects(name, array.to_pylist())  # keys of databases, too long for a double
    if types.is_decimal(kind):
        array = array.cast("float64")
    elif types.is_date32(kind) or types.is_date64(kind):
        array = array.cast("date32")
    absent = None
    if array.null_count:
        absent = np.asarray(array.is_null())
        if types.is_integer(kind):
            array = array.fill_null(0)
        elif types.is_boolean(kind):
            array = array.fill_null(False)
    if (
        types.is_integer(kind)
        or types.is_floating(array.type)
        or types.is_boolean(kind)
        or types.is_temporal(kind)
    ):
        if types.is_time(kind):
            return _from_objects(name, array.to_pylist())
        zone = getattr(kind, "tz", None)
        values = np.asarray(array)
        return _from_numpy(name, values, absent, None if zone is None else _zone(zone))
    return _from_objects(name, array.to_pylist())


def _arrow_dictionary(array: Any) -> tuple[Codes, list[Any]]:
    """Codes (-1 missing) and values of a dictionary array, whatever its chunks."""
    chunks = array.unify_dictionaries().chunks if hasattr(array, "unify_dictionaries") else [array]
    codes = [
        np.asarray(chunk.indices.fill_null(-1) if chunk.null_count else chunk.indices) for chunk in chunks
    ]
    levels = chunks[0].dictionary.to_pylist() if chunks else []
    joined = np.concatenate(codes or [np.empty(0)]).astype(np.int32)
    unique = [level for level in dict.fromkeys(levels) if level is not None]
    if len(unique) < len(levels):  # Arrow allows nulls and repetitions among the values
        position = {level: code for code, level in enumerate(unique)}
        joined = np.array([*(position.get(level, -1) for level in levels), -1], dtype=np.int32)[joined]
    return joined, unique


_MISSING_TYPES = {"NoneType", "NAType", "NaTType"}
_NAN_TYPES = (float, np.floating, np.datetime64, Decimal)


def _from_objects(name: str, items: list[Any]) -> Column:
    """Read Python objects: one type of number, boolean or text; anything else hashable is a label."""
    types = set(map(type, items))
    absent = values = None
    if any(t.__name__ in _MISSING_TYPES or issubclass(t, _NAN_TYPES) for t in types):
        flags = [type(item).__name__ in _MISSING_TYPES or bool(item != item) for item in items]  # noqa: PLR0124
        absent = np.array(flags, dtype=bool) if any(flags) else None
    present = (
        items if absent is None else [item for item, gone in zip(items, absent, strict=True) if not gone]
    )
    if absent is not None:
        types = set(map(type, present))
    if types and all(issubclass(t, (bool, np.bool_)) for t in types):
        return Column(name, "boolean", _filled(present, absent, np.bool_), absent)
    if any(issubclass(t, complex) for t in types):
        raise error("MW-D05", column=name, reason="it holds complex numbers")
    if not types or all(issubclass(t, (Real, Decimal, Fraction, np.number)) for t in types):
        if types == {Decimal} and all(i.is_finite() and i == i.to_integral_value() for i in present):
            present, types = list(map(int, present)), {int}
        whole = bool(types) and all(issubclass(t, (int, np.integer)) for t in types)
        dtype = np.int64 if whole else np.float64
        try:
            return Column(name, "numeric", _filled(present, absent, dtype), absent)
        except OverflowError:  # beyond 64 bits: doubles to compute with, the numbers themselves as labels
            try:
                values = _filled(present, absent, np.float64)
            except OverflowError:
                raise error("MW-D05", column=name, reason="its numbers are too large") from None
    try:
        positions = dict.fromkeys(present)
    except TypeError:
        culprit = next(item for item in present if not isinstance(item, Hashable))
        reason = f"it holds a {type(culprit).__name__} in each row, not one value"
        raise error("MW-D05", column=name, reason=reason) from None
    levels = _ordered(positions)
    index = {level: code for code, level in enumerate(levels)}
    codes = _filled_codes(np.fromiter(map(index.__getitem__, present), np.int32, len(present)), absent)
    dates = all(issubclass(t, (date, timedelta, np.datetime64, np.timedelta64)) for t in types)
    kind: Kind = "numeric" if values is not None else "datetime" if dates else "string"
    return Column(name, kind, values, absent, codes, tuple(levels))


def _filled(present: list[Any], absent: Mask | None, dtype: Any) -> NDArray[Any]:
    if absent is None:
        return np.array(present, dtype=dtype)
    values = np.zeros(len(absent), dtype=dtype)
    values[~absent] = np.array(present, dtype=dtype)
    return values


def _filled_codes(present: Codes, absent: Mask | None) -> Codes:
    if absent is None:
        return present
    codes = np.full(len(absent), -1, dtype=np.int32)
    codes[~absent] = present
    return codes


def _ordered(levels: Iterable[Any]) -> list[Any]:
    """Sort levels; of mixed types by type and text, so that the order never depends on the rows."""
    try:
        return sorted(levels)
    except TypeError:
        return sorted(levels, key=lambda level: (type(level).__name__, str(level)))


def _text(name: str, codes: Codes, levels: list[Any], kind: Kind = "string") -> Column:
    """Build a column from codes into unsorted levels."""
    ranked = _ordered(levels)
    if ranked != levels:
        position = {level: rank for rank, level in enumerate(ranked)}
        rank = np.array([position[level] for level in levels] + [-1], dtype=np.int32)
        codes = rank[codes]
    absent = codes < 0
    return Column(name, kind, None, absent if absent.any() else None, codes, tuple(ranked))


def _categorical(name: str, codes: Codes, levels: list[Any], *, ordered: bool) -> Column:
    absent = codes < 0
    return Column(name, "categorical", None, absent if absent.any() else None, codes, tuple(levels), ordered)


def _merged(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or not first.any():
        return second
    return first if second is None else first | second


def _nan_mask(values: NDArray[Any]) -> Mask | None:
    """Where values are NaN; None when nowhere, at the cost of one sum in the usual case."""
    with np.errstate(all="ignore"):
        if np.isfinite(values.sum()):
            return None
    mask = np.isnan(values)
    return mask if mask.any() else None


def _zone(name: str) -> Any:
    from zoneinfo import ZoneInfo  # noqa: PLC0415  (rare, and slow to import)

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError):
        return UTC


# --- coding -------------------------------------------------------------------------------------------------


def _code(values: NDArray[Any], timezone: Any) -> tuple[Codes, Labels]:
    """Codes and sorted levels of numbers, booleans or datetimes without missing values."""
    kind = values.dtype.kind
    if kind == "b":
        return values.astype(np.int32), (False, True)
    if kind in "mM":
        codes, found = code_integers(values.view(np.int64))
        return codes, _moments(found.view(values.dtype), timezone)
    if kind == "f" and values.size and np.abs(values).max() < _EXACT:
        whole = values.astype(np.int64)
        if (whole == values).all():
            values = whole
    if values.dtype.kind == "f":
        levels, inverse = np.unique(values, return_inverse=True)
        return inverse.astype(np.int32), tuple(levels.tolist())
    codes, found = code_integers(values)
    return codes, tuple(found.tolist())


def _moments(found: NDArray[Any], timezone: Any) -> Labels:
    """Python datetimes (dates, timedeltas) of NumPy ones; finer than microseconds stay NumPy scalars."""
    dtype = found.dtype
    if np.datetime_data(dtype)[0] in {"ns", "ps", "fs", "as"}:
        coarse = found.astype(f"{dtype.kind}8[us]")
        if (coarse != found).any():
            return tuple(found)
        found = coarse
    moments = found.tolist()
    if timezone is not None:
        moments = [moment.replace(tzinfo=UTC).astimezone(timezone) for moment in moments]
    return tuple(moments)


def code_integers(values: NDArray[Any]) -> tuple[Codes, NDArray[Any]]:
    """Code integers by their sorted distinct values: codes (n,) and the values found.

    Identifiers are mostly dense, so a table over their range beats sorting; wide ranges are sorted.
    """
    if not values.size:
        return np.empty(0, dtype=np.int32), values
    low, high = int(values.min()), int(values.max())
    if high - low >= max(1024, 2 * values.size) or high >= 2**63:
        found, inverse = np.unique(values, return_inverse=True)
        return inverse.astype(np.int32), found
    seen = np.zeros(high - low + 1, dtype=np.bool_)
    chunks = [slice(start, start + _CHUNK) for start in range(0, values.size, _CHUNK)]
    for rows in chunks:
        seen[_offsets(values[rows], low)] = True
    rank = np.cumsum(seen, dtype=np.int32)
    rank -= 1
    codes = np.empty(values.size, dtype=np.int32)
    for rows in chunks:
        np.take(rank, _offsets(values[rows], low), out=codes[rows], mode="clip")
    return codes, (np.flatnonzero(seen) + low).astype(values.dtype)


def _offsets(values: NDArray[Any], low: int) -> NDArray[np.int64]:
    return np.asarray(np.subtract(values, low, dtype=np.int64, casting="unsafe"))


def compact(codes: Codes, levels: Labels) -> tuple[Codes, Labels]:
    """Drop the levels that no row has. Codes must not be missing."""
    used = np.zeros(len(levels), dtype=np.bool_)
    for start in range(0, codes.size, _CHUNK):
        used[codes[start : start + _CHUNK]] = True
    if used.all():
        return codes, levels
    rank = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return rank[codes], tuple(level for level, kept in zip(levels, used.tolist(), strict=True) if kept)
