"""The compiled core: cross-products, criterion, search, solution. Arrays are float64 unless said so."""

from collections.abc import Sequence
from typing import Any, Self, TypedDict, final, type_check_only

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Columns = Sequence[_Floats | None]

__all__ = [
    "Batch",
    "Laplace",
    "LaplaceFit",
    "Optimum",
    "Problem",
    "Solution",
    "Term",
    "family_rows",
    "fit_subsets",
    "version",
]

@type_check_only
class Step(TypedDict):
    """One evaluation of the search."""

    evaluation: int
    criterion: float
    gradient_norm: float
    radius: float
    predicted: float
    accepted: bool
    kind: str

_Lambda = TypedDict("_Lambda", {"lambda": _Floats})  # a keyword, hence the functional form

@type_check_only
class Cone(_Lambda):
    """Certificate of a term; G and lambda are (k, k), of the standardised columns."""

    G: _Floats
    stationarity: float
    min_eigenvalue: float
    scale: float

@final
class Term:
    """A random-effects term: codes int32 (n,), k columns (None: all ones), and a covariance structure."""

    def __new__(
        cls, codes: NDArray[np.int32], n_levels: int, columns: _Columns, structure: str, homogeneous: bool
    ) -> Self: ...

@final
class Optimum:
    """Where the search ended; theta (T,) of the columns as written, criterion with all constants."""

    @property
    def theta(self) -> _Floats: ...
    @property
    def criterion(self) -> float: ...
    @property
    def promised(self) -> float: ...
    @property
    def evaluations(self) -> int: ...
    @property
    def converged(self) -> bool: ...
    @property
    def cone(self) -> list[Cone]: ...
    @property
    def trace(self) -> list[Step]: ...

@final
class Solution:
    """What follows from theta.

    Per term: b (J, k), lambdas (k, k); when full also condvar_unscaled (J, k, k) and b_x (J, k, p).
    """

    @property
    def beta(self) -> _Floats: ...
    @property
    def vcov_unscaled(self) -> _Floats: ...
    @property
    def schur(self) -> _Floats: ...
    @property
    def schur_y(self) -> _Floats: ...
    @property
    def r2(self) -> float: ...
    @property
    def sigma2(self) -> float: ...
    @property
    def logdet_m(self) -> float: ...
    @property
    def logdet_x(self) -> float: ...
    @property
    def b(self) -> list[_Floats]: ...
    @property
    def lambdas(self) -> list[_Floats]: ...
    @property
    def condvar_unscaled(self) -> list[_Floats]: ...
    @property
    def b_x(self) -> list[_Floats]: ...

@type_check_only
class Moments(TypedDict):
    """Along directions V_i; zpz and scores by term (k, k), quadratic (T, T).

    xvx (T, p, p), xhx and phi (p, p) are in the working basis of X.
    """

    criterion: float
    r2: float
    zpz: list[_Floats]
    scores: list[_Floats]
    quadratic: _Floats
    xvx: _Floats
    xhx: _Floats
    phi: _Floats

@final
class Problem:
    """The cross-products of a design: all that the criterion needs of the rows."""

    @property
    def n(self) -> int: ...
    @property
    def p(self) -> int: ...
    @property
    def q(self) -> int: ...
    @property
    def n_theta(self) -> int: ...
    @property
    def kept(self) -> list[int]: ...
    @property
    def dropped(self) -> list[int]: ...
    @property
    def blocks(self) -> dict[str, int | bool]: ...
    @property
    def basis(self) -> _Floats: ...
    def __new__(
        cls, y: _Floats, columns: _Columns, terms: Sequence[Term], weights: _Floats | None
    ) -> Self: ...
    def criterion(self, theta: _Floats, reml: bool) -> float: ...
    def gradient(self, theta: _Floats, reml: bool) -> _Floats: ...
    def derivatives(self, theta: _Floats, reml: bool) -> tuple[_Floats, _Floats]: ...
    def optimize(self, reml: bool, start: _Floats | None, max_evaluations: int) -> Optimum: ...
    def solve(self, theta: _Floats, reml: bool, full: bool) -> Solution: ...
    def restrict(self, a: _Floats, value: float) -> Problem: ...
    def conditional_variance(
        self, theta: _Floats, codes: Sequence[NDArray[np.int32]], columns: Sequence[_Columns]
    ) -> _Floats: ...
    def directions(
        self, theta: _Floats
    ) -> tuple[list[tuple[int, _Floats]], list[tuple[int, int, _Floats]]]: ...
    def moments(self, theta: _Floats, directions: Sequence[tuple[int, _Floats]], reml: bool) -> Moments: ...
    def traces(
        self, theta: _Floats, directions: Sequence[tuple[int, _Floats]], reml: bool, full: bool, largest: int
    ) -> tuple[_Floats, _Floats] | None: ...

@type_check_only
class Fits(TypedDict, total=False):
    """Many fits: one row of each array a fit, NaN where there is none.

    beta and se (m, p given), theta (m, T), sigma, criterion, evaluations, status, singular (m,);
    vcov (m, p, p) when asked for. status: 0 converged, 1 stopped early, 2 and more no fit.
    """

    beta: _Floats
    se: _Floats
    theta: _Floats
    sigma: _Floats
    criterion: _Floats
    evaluations: NDArray[np.int64]
    status: NDArray[np.uint8]
    singular: NDArray[np.bool_]
    vcov: _Floats

@final
class LaplaceFit:
    """Where a search ended."""

_Aux = tuple[list[tuple[int, _Floats | None]], _Floats | None]

@final
class Laplace:
    """A generalised linear mixed model; aux are (columns as (gamma, values), known part), bounds (m, 2)."""

    @property
    def n_theta(self) -> int: ...
    @property
    def kept(self) -> list[int]: ...
    @property
    def bounds(self) -> _Floats: ...
    @property
    def basis(self) -> _Floats: ...
    def __new__(
        cls,
        family: tuple[str, str, str],
        y: _Floats,
        columns: _Columns,
        terms: Sequence[Term],
        weights: _Floats | None,
        offset: _Floats | None,
        aux: Sequence[_Aux],
    ) -> Self: ...
    def penalized(
        self, precision: _Floats, covariance: Sequence[tuple[float, _Floats] | None]
    ) -> Laplace: ...
    def natural(self, psi: _Floats) -> _Floats: ...
    def standard(self, natural: _Floats) -> _Floats: ...
    def refit(
        self, responses: _Floats, psi: _Floats, hessian: _Floats, max_evaluations: int
    ) -> dict[str, Any]: ...
    def optimize(self, eta: _Floats, gamma: _Floats, max_evaluations: int) -> LaplaceFit: ...
    def fast(self, eta: _Floats, gamma: _Floats, max_evaluations: int) -> dict[str, Any]: ...
    def evaluate(self, psi: _Floats, near: LaplaceFit | None = None) -> tuple[float, _Floats]: ...
    @property
    def integrable(self) -> int | None: ...
    def integrate(self, psi: _Floats, nodes: _Floats, weights: _Floats) -> float: ...
    def at(self, psi: _Floats, scale: _Floats) -> LaplaceFit: ...
    def hessian(self, fit: LaplaceFit, scale: _Floats) -> _Floats: ...
    def describe(self, fit: LaplaceFit) -> dict[str, Any]: ...

def family_rows(
    family: tuple[str, str, str],
    y: _Floats,
    weights: _Floats | None,
    eta: _Floats,
    aux: Sequence[_Floats],
) -> _Floats: ...

@final
class Batch:
    """A design ready for many responses, which are fitted side by side in native threads."""

    def __new__(
        cls, y: _Floats, columns: _Columns, terms: Sequence[Term], weights: _Floats | None
    ) -> Self: ...
    def fit(
        self,
        responses: _Floats,
        reml: bool,
        start: _Floats | None,
        max_evaluations: int,
        search: bool,
        covariance: bool,
    ) -> Fits: ...

def fit_subsets(
    y: _Floats,
    columns: _Columns,
    terms: Sequence[Term],
    weights: _Floats | None,
    rows: Sequence[NDArray[np.int64]],
    codes: Sequence[Sequence[NDArray[np.int32]]],
    levels: Sequence[Sequence[int]],
    reml: bool,
    start: _Floats | None,
    max_evaluations: int,
    search: bool,
    covariance: bool,
) -> Fits: ...
def version() -> str: ...
