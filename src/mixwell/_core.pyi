"""The compiled core: cross-products, criterion, search and solution. Arrays are float64 unless said otherwise."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Columns = Sequence[_Floats | None]

# One random-effects term: codes int32 (n,), number of levels, k columns (None: all ones), structure, homogeneous.
_Term = tuple[NDArray[np.int32], int, _Columns, str, bool]

class Step(TypedDict):
    """One evaluation of the search."""

    evaluation: int
    criterion: float
    gradient_norm: float
    radius: float
    predicted: float
    accepted: bool
    kind: str

# `lambda` is a keyword, hence the functional form. G and lambda are (k, k), of the standardised columns.
Cone = TypedDict(
    "Cone", {"G": _Floats, "lambda": _Floats, "stationarity": float, "min_eigenvalue": float, "scale": float}
)

class Optimum(TypedDict):
    """Where the search ended; theta (T,) of the columns as written, criterion with all constants."""

    theta: _Floats
    criterion: float
    gradient: _Floats
    hessian: _Floats
    promised: float
    evaluations: int
    converged: bool
    cone: list[Cone]
    trace: list[Step]

class Solution(TypedDict):
    """What follows from theta. Per term: b (J, k), lambdas (k, k), and if full condvar_unscaled (J, k, k), b_x (J, k, p)."""

    beta: _Floats
    vcov_unscaled: _Floats
    schur: _Floats
    schur_y: _Floats
    r2: float
    sigma2: float
    logdet_m: float
    logdet_x: float
    b: list[_Floats]
    lambdas: list[_Floats]
    condvar_unscaled: list[_Floats]
    b_x: list[_Floats]

class Problem:
    """The cross-products of a design: all that the criterion needs of the rows."""

    n: int
    p: int
    q: int
    n_theta: int
    kept: list[int]
    dropped: list[int]

    def __init__(self, y: _Floats, columns: _Columns, terms: Sequence[_Term], weights: _Floats | None) -> None: ...
    def criterion(self, theta: _Floats, reml: bool) -> float: ...
    def derivatives(self, theta: _Floats, reml: bool) -> tuple[_Floats, _Floats]: ...
    def optimize(self, reml: bool, start: _Floats | None, max_evaluations: int) -> Optimum: ...
    def solve(self, theta: _Floats, reml: bool, full: bool) -> Solution: ...

def version() -> str: ...
