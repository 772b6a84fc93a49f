"""Cluster-robust standard errors: CR0 to CR3, Bell-McCaffrey degrees of freedom, Hotelling's T^2 jointly.

Bell and McCaffrey (2002), Survey Methodology 28, 169-181; Pustejovsky and Tipton (2018), Journal of Business
and Economic Statistics 36, 672-683. The working model is that of the fit: random effects, and variances
inverse to the weights. (Of a weighted lm only CR2 and degrees of freedom depend on the latter, for which R's
clubSandwich takes equal variances unless its `target` says otherwise.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.design.frame import read_column
from mixwell.errors import error, warn
from mixwell.inference.sandwich import Contributions, contributions, working
from mixwell.inference.wald import Joint, independent
from mixwell.options import checked, choice
from mixwell.resampling.clusters import is_nested

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

__all__ = [
    "ClusterCodes",
    "Kind",
    "RobustApproximation",
    "clusters_of",
    "expected",
    "factor_of",
    "robust",
    "vcov",
]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Kind = Literal["CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3"]

GONE = 1e-9  # expected robust over model variance below which clusters say nothing about a combination
RANK = 1e-10  # eigenvalues of a robust covariance, relative to the largest, below which it is singular


@checked
def vcov(m: FittedModel, kind: str = "model", *, cluster: Any = None) -> Array:
    """Return the covariance of the fixed effects; rows and columns as in `fixef.names`.

    Parameters
    ----------
    kind
        "model": from the likelihood, as in the summary. Robust to wrong variances and correlations within
        clusters: "CR0", the plain sandwich; "CR1", "CR1p", "CR1S", CR0 times J / (J - 1), J / (J - p),
        J (n - 1) / ((J - 1) (n - p)) for J clusters; "CR2", unbiased if the model is right, and the best with
        few clusters; "CR3", close to the jackknife and a little too large.
    cluster
        A grouping factor, a column of the data, or one value per row. By default the outermost grouping
        factor. Every level of a grouping factor must lie in one cluster.

    Returns
    -------
    array
        Shape (p, p).

    Raises
    ------
    MixwellError
        MW-A33 without clusters, MW-A34 for clusters that cannot be used, MW-A35 when random effects reach
        across clusters, MW-A36 for "CR1p" with too few clusters, MW-A02 for another kind, MW-A31 for clusters
        with kind="model".

    Warns
    -----
    MixwellWarning
        MW-W15 for a coefficient that a single cluster determines: its robust variance is zero and means
        nothing.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> m.vcov().diagonal().round(3).tolist(), m.vcov("CR2").diagonal().round(3).tolist()
    ([94.998, 0.647], [46.575, 2.389])
    """
    choice("kind", kind, ("model", *get_args(Kind)))
    if kind != "model":
        return robust(m, kind, cluster).vcov
    if cluster is not None:
        advice = 'Name the kind of robust covariance, vcov("CR2", cluster=...), or leave cluster out.'
        raise error("MW-A31", option="cluster=", other='kind="model"', advice=advice)
    return m._vcov


@dataclass(frozen=True, slots=True, eq=False)
class RobustApproximation:
    """A cluster-robust covariance with small-sample tests; an `Approximation`.

    Attributes
    ----------
    name, kind, cluster, n_clusters
        What to print; "CR2"; what the clusters are; their number J.
    vcov
        Shape (p, p).
    expected
        What `vcov` would be on average if the model were right, shape (p, p), without the factor of CR1.
    unscaled
        Covariance of the model over sigma^2, shape (p, p).
    parts
        What the clusters contribute.
    """

    name: str
    kind: str
    cluster: str
    n_clusters: int
    vcov: Array
    expected: Array
    unscaled: Array
    parts: Contributions

    def df(self, rows: Array) -> Array:
        """Degrees of freedom of each row of L (r, p): 2 mean^2 / variance of its robust variance.

        Zero, so that tests and intervals are NaN, for a combination that a single cluster determines.
        """
        return np.array([_wishart_df(self.parts, row[None]) for row in rows @ self.parts.basis])

    def joint(self, rows: Array, difference: Array) -> Joint:
        """Approximate Hotelling's T^2 test of all rows, "HTZ"; NaN where clusters are too few for it."""
        statistics, turned = independent(rows, difference, self.unscaled)
        q = len(statistics)
        if q == 0:
            return Joint(math.nan, 0, math.nan, math.nan)
        # Uncorrelated under the model with unit variance, so that ranks can be judged.
        size = np.linalg.norm(turned @ self.parts.basis, axis=1)
        turned = turned / size[:, None]
        nu = _wishart_df(self.parts, turned @ self.parts.basis)
        covariance = turned @ self.vcov @ turned.T
        values, vectors = np.linalg.eigh(covariance)
        df = nu - q + 1
        if not (df > 0 and values[0] > RANK * values[-1]):
            return Joint(math.nan, q, math.nan, math.nan)
        statistic = float(np.sum((vectors.T @ statistics) ** 2 / values))
        return Joint.of(statistic * df / (nu * q), q, float(df))


def _wishart_df(parts: Contributions, rows: Array) -> float:
    """Degrees of freedom of the Wishart matrix nearest to L V_CR L', for L (q, p) in the columns of `parts`.

    Equal total variance of the elements, standardised by the mean (Tipton and Pustejovsky 2015). Zero where
    the mean is singular.
    """
    q = len(rows)
    slopes = rows @ parts.slopes  # (J, q, p)
    squares = rows @ parts.squares @ rows.T  # (J, q, q)
    mean = squares.sum(axis=0) - np.tensordot(slopes, slopes, axes=([0, 2], [0, 2]))
    values, vectors = np.linalg.eigh(mean)
    if not values[0] > GONE * float(np.sum(rows**2) / q):
        return 0.0
    root = (vectors / np.sqrt(values)) @ vectors.T
    slopes, squares = root @ slopes, root @ squares @ root
    # Scores of clusters j and k, rows s and t, have covariance (j = k) squares_jst - slopes_js' slopes_kt.
    inner = slopes @ slopes.transpose(0, 2, 1)  # (J, q, q)
    own = np.einsum("jss->js", squares)
    own_inner = np.einsum("jss->js", inner)
    flat = slopes.reshape(len(slopes), -1)
    gram = (flat.T @ flat).reshape(q, -1, q, slopes.shape[2])  # sum over j of slopes_js slopes_jt'
    total = np.sum(squares**2) - 2.0 * np.sum(squares * inner) + np.einsum("sptr,srtp->", gram, gram)
    total += np.sum(own.sum(axis=1) ** 2) - 2.0 * np.sum(own.sum(axis=1) * own_inner.sum(axis=1))
    total += np.sum(gram**2)
    return float(q * (q + 1) / total)


def robust(m: FittedModel, kind: str, cluster: Any = None) -> RobustApproximation:
    """Return a cluster-robust covariance with rules for tests; kept with the fit if clusters have a name.

    Raises
    ------
    MixwellError
        As `vcov`.

    Examples
    --------
    >>> import mixwell as mw
    >>> from mixwell.inference.robust import robust
    >>> m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> by = robust(m, "CR2")
    >>> by.name, by.n_clusters, by.df(np.eye(2)).round(6).tolist()
    ('CR2, Satterthwaite (Bell-McCaffrey)', 18, [17.0, 17.0])
    """
    choice("kind", kind, get_args(Kind))
    named = cluster is None or isinstance(cluster, str)
    key = (kind, f"clusters {cluster}" if isinstance(cluster, str) else "clusters")
    if named and key in m.approximations:
        kept = m.approximations[key]
        assert isinstance(kept, RobustApproximation)
        return kept
    made = _build(m, kind, clusters_of(m, kind, cluster))
    if named:
        m.approximations[key] = made
    return made


def factor_of(kind: str, count: int, n: int, p: int) -> float:
    """Return the factor of the CR1 kinds for J = `count` clusters; one of the others."""
    if kind == "CR1p" and count <= p:
        raise error("MW-A36", clusters=count, p=p)
    return {
        "CR1": count / (count - 1),
        "CR1p": count / max(count - p, 1),
        "CR1S": count * (n - 1) / ((count - 1) * max(n - p, 1)),
    }.get(kind, 1.0)


def expected(parts: Contributions) -> tuple[Array, NDArray[np.bool_]]:
    """Mean of the sum of squared scores under the model; which coefficients it leaves without a variance."""
    mean = parts.squares.sum(axis=0) - np.tensordot(parts.slopes, parts.slopes, axes=([0, 2], [0, 2]))
    size = np.sum(parts.basis**2, axis=1)
    return mean, np.einsum("ap,pq,aq->a", parts.basis, mean, parts.basis) <= GONE * size


def _build(m: FittedModel, kind: str, clusters: ClusterCodes) -> RobustApproximation:
    count = clusters.total
    factor = factor_of(kind, count, m.nobs, len(m.kept))
    parts = contributions(working(m), clusters.codes, count, kind)
    mean, lone = expected(parts)
    if lone.any():
        names = [name for name, gone in zip(m.fixef.names, lone, strict=True) if gone]
        warn("MW-W15", columns=names, cluster=clusters.label, stacklevel=6)
    half = parts.basis @ parts.scores.T
    covariance = factor * (half @ half.T)
    covariance.setflags(write=False)
    return RobustApproximation(
        f"{kind}, Satterthwaite (Bell-McCaffrey)",
        kind,
        clusters.label,
        count,
        covariance,
        m.solution.sigma2 * (parts.basis @ mean @ parts.basis.T),
        parts.basis @ parts.basis.T,
        parts,
    )


# --- which clusters -----------------------------------------------------------------------------------------


class ClusterCodes(NamedTuple):
    """What the clusters are called; the cluster of each row used (n,), 0 .. total - 1."""

    label: str
    codes: Ints
    total: int


def clusters_of(m: FittedModel | GeneralizedModel, kind: str, given: Any) -> ClusterCodes:
    """Return the clusters that were asked for, or the outermost grouping factor; refuse unusable ones."""
    terms = m.design.random
    if given is None:
        if not terms:
            raise error("MW-A33", kind=kind)
        outer = min(terms, key=lambda term: len(term.levels))
        label, codes = outer.group, np.asarray(outer.codes, dtype=np.int64)
    elif isinstance(given, str):
        label, codes = given, _named(m, given)
    else:
        label, codes = "given as an array", _array(m, given)
    across = [term.group for term in terms if not is_nested(term.codes, codes)]
    if across:
        crossed = given is None
        advice = "" if crossed else "Take clusters that hold each level as a whole. "
        advice += "If grouping factors are crossed no clusters are independent: use the model's own vcov()."
        raise error("MW-A35", groups=list(dict.fromkeys(across)), cluster=label, advice=advice)
    found, compact = np.unique(codes, return_inverse=True)
    if len(found) < 2:
        raise error("MW-A34", cluster=label, reason="there is only one")
    return ClusterCodes(label, compact.ravel(), len(found))


def _named(m: FittedModel | GeneralizedModel, name: str) -> Ints:
    for term in m.design.random:
        if term.group == name:
            return np.asarray(term.codes, dtype=np.int64)
    frame = m.design.frame
    if name not in frame.names:
        available = list(dict.fromkeys([*(term.group for term in m.design.random), *frame.names]))
        raise error("MW-A37", name=name, available=available)
    codes = frame.column(name).take(m.design.rows).codes()[0]
    return _present(name, codes)


def _array(m: FittedModel | GeneralizedModel, given: Any) -> Ints:
    n, n_rows, rows = m.nobs, m.design.n_rows, m.design.rows
    label = "given as an array"
    if not hasattr(given, "__len__") or isinstance(given, Mapping) or len(getattr(given, "shape", (0,))) != 1:
        what = f"{type(given).__name__} is neither a name nor one value per row"
        raise error("MW-A34", cluster=label, reason=what)
    column = read_column("cluster", given)
    if len(column) == n_rows:
        column = column.take(rows)
    elif len(column) != n:
        lengths = f"{n} rows were used" + (f" of {n_rows}" if n != n_rows else "")
        raise error("MW-A34", cluster=label, reason=f"there are {len(column)} values but {lengths}")
    return _present(label, column.codes()[0])


def _present(label: str, codes: NDArray[np.int32]) -> Ints:
    missing = int(np.count_nonzero(codes < 0))
    if missing:
        rows = "row" if missing == 1 else "rows"
        raise error("MW-A34", cluster=label, reason=f"missing in {missing} {rows} that the fit uses")
    return codes.astype(np.int64)
