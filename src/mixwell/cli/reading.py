"""Tables from files, with whatever library is installed."""

from __future__ import annotations

import csv
import importlib
import io
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mixwell.errors import error

__all__ = ["read"]

_TEXT = (".csv", ".tsv", ".txt")
_BINARY = (".parquet", ".arrow", ".feather", ".ipc")
SMALL = 10_000_000  # bytes
_MISSING = frozenset(("", "NA", "NaN", "nan", "null"))


def read(path: str) -> Any:
    r"""Read a table.

    Parameters
    ----------
    path
        A file whose name ends in .csv, .tsv, .parquet, .arrow, .feather; "-" is CSV from standard input.

    Returns
    -------
    table
        A dict of arrays for small text files, else of pyarrow, polars or pandas.

    Raises
    ------
    MixwellError
        MW-A146 where there is no such file, MW-A147 for another kind of file or one that cannot be read,
        MW-A148 where a library is missing.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "rows.csv"
    ...     _ = path.write_text("x,g\n1,a\n2,b\n")
    ...     table = read(str(path))
    >>> {name: values.tolist() for name, values in table.items()}
    {'x': [1, 2], 'g': ['a', 'b']}
    """
    ending = ".csv" if path == "-" else Path(path).suffix.lower()
    if ending not in _TEXT + _BINARY:
        raise error("MW-A147", path=path, reason=f"'{ending}' is none of {', '.join(_TEXT + _BINARY)}")
    if path != "-" and not Path(path).is_file():
        raise error("MW-A146", path=path)
    try:
        return _text(path, "\t" if ending == ".tsv" else ",") if ending in _TEXT else _binary(path, ending)
    except (OSError, UnicodeDecodeError, ValueError) as failure:
        raise error("MW-A147", path=path, reason=str(failure).split("\n")[0]) from None


def _text(path: str, separator: str) -> Any:
    """Small files by the standard library: importing a large one takes longer than reading them."""
    if path != "-" and Path(path).stat().st_size > SMALL:
        if find_spec("pyarrow"):
            reader = importlib.import_module("pyarrow.csv")
            options = reader.ConvertOptions(null_values=sorted(_MISSING), strings_can_be_null=True)
            parse = reader.ParseOptions(delimiter=separator)
            return reader.read_csv(path, parse_options=parse, convert_options=options)
        if find_spec("polars"):
            polars = importlib.import_module("polars")
            return polars.read_csv(path, separator=separator, null_values=sorted(_MISSING))
        if find_spec("pandas"):
            return importlib.import_module("pandas").read_csv(path, sep=separator)
    text = sys.stdin.buffer.read().decode() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
    header, *rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row] or [[]]
    bad = next((k for k, row in enumerate(rows) if len(row) != len(header)), None)
    if bad is not None:
        raise ValueError(
            f"row {bad + 1} has {len(rows[bad])} values where the header has {len(header)} names"
        )
    if len(set(header)) != len(header):
        raise ValueError("two columns have the same name")
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return {name: _column(values) for name, values in zip(header, columns, strict=True)}


def _column(values: tuple[str, ...]) -> Any:
    """Whole numbers if all are, else numbers with NaN, else text with None for what is missing."""
    for kind in (np.int64, np.float64):
        try:
            found = [np.nan if kind is np.float64 and value in _MISSING else kind(value) for value in values]
            return np.array(found, dtype=kind)
        except (ValueError, OverflowError):
            continue
    return np.array([None if value in _MISSING else value for value in values], dtype=object)


def _binary(path: str, ending: str) -> Any:
    if find_spec("pyarrow"):
        if ending == ".parquet":
            return importlib.import_module("pyarrow.parquet").read_table(path)
        return importlib.import_module("pyarrow.feather").read_table(path)
    if find_spec("polars"):
        polars = importlib.import_module("polars")
        return polars.read_parquet(path) if ending == ".parquet" else polars.read_ipc(path)
    raise error("MW-A148", path=path, packages="pyarrow or polars")
