"""Small classic data sets, for teaching and for tests.

===========  ====  =====================================================  =================================
name         rows  what                                                   source
===========  ====  =====================================================  =================================
sleepstudy    180  reaction times (ms) over ten days of little sleep      Belenky et al. (2003)
dyestuff       30  yield of dyestuff from six batches                     Davies & Goldsmith (1972), 6.4
dyestuff2      30  the same, simulated without variation between batches  Box & Tiao (1973), 5.1.2
penicillin    144  diameters (mm) of inhibition, plates crossed with      Davies & Goldsmith (1972), 6.6
                   samples
pastes         60  strength of a paste, casks nested in batches           Davies & Goldsmith (1972), 6.5
cake          270  breaking angle of chocolate cakes, a split plot        Cook (1938); Cochran & Cox (1957)
cbpp           56  cases of bovine pleuropneumonia in herds of zebu       Lesnoff et al. (2004)
recognition  1789  response times (ms), 56 subjects x 32 items, three     simulated for this package
                   factors within both, coded -1/+1
===========  ====  =====================================================  =================================

Full references:

- Belenky, G. et al. (2003). Patterns of performance degradation and restoration during sleep restriction and
  subsequent recovery: a sleep dose-response study. *Journal of Sleep Research* 12, 1-12.
- Box, G. E. P. and Tiao, G. C. (1973). *Bayesian Inference in Statistical Analysis*. Addison-Wesley.
- Cochran, W. G. and Cox, G. M. (1957). *Experimental Designs*, 2nd ed. Wiley.
- Cook, F. E. (1938). *Chocolate cake, I. Optimum baking temperature*. Master's thesis, Iowa State College.
- Davies, O. L. and Goldsmith, P. L., eds (1972). *Statistical Methods in Research and Production*, 4th ed.
  Oliver and Boyd.
- Lesnoff, M. et al. (2004). Within-herd spread of contagious bovine pleuropneumonia in Ethiopian highlands.
  *Preventive Veterinary Medicine* 64, 27-40.

Columns are named as in R's lme4, which distributes the same figures. Grouping columns and factors come as
categoricals (as strings in a plain dict); whole numbers stay whole numbers.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error

__all__ = ["available", "load"]

Backend = Literal["pandas", "polars", "pyarrow", "dict"]

# Kind of each column, in file order: "f" factor, "i" whole number, "x" real number.
_KINDS = {
    "sleepstudy": "xif",
    "dyestuff": "fx",
    "dyestuff2": "fx",
    "penicillin": "xff",
    "pastes": "xfff",
    "cake": "fffii",
    "cbpp": "fiif",
    "recognition": "ffiiii",
}


class _Factor(NamedTuple):
    """A factor: int8 codes, shape (n,), and its levels in order of first appearance."""

    codes: NDArray[np.int8]
    levels: tuple[str, ...]


def available() -> tuple[str, ...]:
    """Name the data sets that `load` knows.

    Examples
    --------
    >>> import mixwell as mw
    >>> mw.data.available()[:2]
    ('sleepstudy', 'dyestuff')
    """
    return tuple(_KINDS)


def load(name: str, backend: Backend | None = None) -> Any:
    """Load a data set as a table that is the caller's own: changing it changes no later load.

    Parameters
    ----------
    name
        One of `available()`.
    backend
        The kind of table: "pandas", "polars", "pyarrow", or "dict" for a dict of NumPy arrays. By default
        the first of these that is installed.

    Returns
    -------
    table
        A data frame, a table, or a dict of arrays, with the columns in the order of the file.

    Examples
    --------
    >>> import mixwell as mw
    >>> sleep = mw.data.load("sleepstudy", backend="dict")
    >>> {column: values.dtype.kind for column, values in sleep.items()}
    {'Reaction': 'f', 'Days': 'i', 'Subject': 'U'}
    """
    if name not in _KINDS:
        raise error("MW-A40", name=name, available=available())
    if backend is None:
        backend = _first_installed()
    if backend not in _BUILD:
        raise error("MW-A02", option="backend", given=backend, allowed=list(map(repr, get_args(Backend))))
    try:
        return _BUILD[backend](_read(name))
    except ModuleNotFoundError as missing:
        raise error("MW-A41", backend=backend, module=missing.name) from missing


@cache
def _read(name: str) -> dict[str, _Factor | NDArray[Any]]:
    """Parse a file once per process."""
    with (Path(__file__).parent / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    columns: dict[str, _Factor | NDArray[Any]] = {}
    for column, kind, texts in zip(header, _KINDS[name], zip(*rows, strict=True), strict=True):
        if kind == "f":
            position = {level: code for code, level in enumerate(dict.fromkeys(texts))}
            columns[column] = _Factor(np.array([position[text] for text in texts], np.int8), tuple(position))
        else:
            columns[column] = np.array(texts).astype(np.int64 if kind == "i" else np.float64)
    return columns


@cache
def _first_installed() -> Backend:
    return next((name for name in ("pandas", "polars", "pyarrow") if find_spec(name)), "dict")


def _to_dict(columns: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return {
        name: np.array(values.levels)[values.codes] if isinstance(values, _Factor) else values.copy()
        for name, values in columns.items()
    }


def _to_pandas(columns: dict[str, Any]) -> Any:
    pandas = importlib.import_module("pandas")
    return pandas.DataFrame(
        {
            name: pandas.Categorical.from_codes(values.codes, values.levels)
            if isinstance(values, _Factor)
            else values.copy()
            for name, values in columns.items()
        },
        copy=False,
    )


def _to_polars(columns: dict[str, Any]) -> Any:
    polars = importlib.import_module("polars")
    return polars.DataFrame(
        [
            polars.Series(name, np.array(values.levels)[values.codes].tolist(), polars.Enum(values.levels))
            if isinstance(values, _Factor)
            else polars.Series(name, values.copy())
            for name, values in columns.items()
        ]
    )


def _to_pyarrow(columns: dict[str, Any]) -> Any:
    pyarrow = importlib.import_module("pyarrow")
    return pyarrow.table(
        {
            name: pyarrow.DictionaryArray.from_arrays(values.codes, list(values.levels))
            if isinstance(values, _Factor)
            else values.copy()
            for name, values in columns.items()
        }
    )


_BUILD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "dict": _to_dict,
    "pandas": _to_pandas,
    "polars": _to_polars,
    "pyarrow": _to_pyarrow,
}
