"""Robust standard errors of generalised models: CR0 to CR3 by clusters, HC0 to HC3 by rows.

**Generalised linear models** of the exponential family, with any link, are weighted least squares at the
estimates: columns X dmu/deta, residuals y - mu, variances V(mu) / weight. That is the working model of
inference/sandwich.py, as in R's clubSandwich; one row a cluster gives the HC estimators of R's sandwich.
A gaussian model with the identity link is linear, whatever its random effects: it is treated like `lmer`.

**All others** have scores s_j = d loglik_j / d psi of the clusters in all parameters psi (scores.py), and

    V_CR = C (sum_j s_j s_j') C in the rows and columns of beta,    C = (-d2 loglik / d psi2)^-1

With few clusters the scores are too small, for each cluster draws the estimates towards itself. CR2 and CR3
adjust those in beta as the linear kinds do with the linearised model

    e_j = V_j q_j,   V_j = Z_j Sigma Z_j' + W_j^-1,   s_j = X_j'V_j^-1 e_j  ->  X_j'V_j^-1 A_j e_j

in which q are the scores of the rows and W is the expected information of a row about its linear predictor;
rows are scaled such that W = I, for the choice of A_j. Thresholds of an ordinal model take their share of the
adjustment of an intercept, in proportion to the information about it. Scores in covariances and in other
auxiliary parameters enter as they are. Degrees of freedom are those of the linearised model.

Freedman (2006), American Statistician 60, 299-302; Kauermann and Carroll (2001), JASA 96, 1387-1396;
Pustejovsky and Tipton (2018).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell._core import family_rows
from mixwell.errors import error, warn
from mixwell.families import mean_of, slope_of
from mixwell.generalized.scores import Scores, auxiliary_predictors, random_columns, scores
from mixwell.inference.robust import ClusterCodes, RobustApproximation, clusters_of, expected, factor_of
from mixwell.inference.sandwich import Contributions, Working, centred, contributions
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["Kind", "robust", "vcov"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Kind = Literal["CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3", "HC0", "HC1", "HC2", "HC3"]

_ROWS = {"HC0": "CR0", "HC1": "CR1S", "HC2": "CR2", "HC3": "CR3"}  # with every row its own cluster
_LEAST = 1e-12  # information of a row about its linear predictor, relative to its weight


@checked
def vcov(m: GeneralizedModel, kind: str = "model", *, cluster: Any = None) -> Array:
    """Return the covariance of the fixed effects; rows and columns as in `fixef.names`.

    Parameters
    ----------
    kind
        "model": from the joint Hessian of all parameters; of a generalised linear model of the exponential
        family from the expected information, with the dispersion by Pearson's statistic, as in R's glm.
        "CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3": robust to wrong variances and to dependence within
        clusters, as for linear models; CR2 for few clusters. "HC0" to "HC3", without random effects: robust
        to wrong variances of independent rows.
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
        across clusters, MW-A36 for "CR1p" with too few clusters, MW-A103 after the fast stage alone, MW-A104
        for HC kinds of a model with random effects, MW-A02 for another kind, MW-A31 for clusters with
        kind="model" or an HC kind.

    Warns
    -----
    MixwellWarning
        MW-W15 for a coefficient that a single cluster determines: its robust variance is zero and means
        nothing.

    Notes
    -----
    Of generalised linear models equal to R's clubSandwich and sandwich. Otherwise the scores and the Hessian
    are those of the likelihood that was maximised, in all parameters, and CR2 and CR3 adjust the scores as in
    the linearised model. With a prior, the Hessian has the penalty and the scores have not.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glmer(
    ...     "cbind(incidence, size - incidence) ~ period + (1 | herd)", mw.data.load("cbpp", "dict")
    ... )
    >>> m.vcov().diagonal().round(3).tolist(), m.vcov("CR2").diagonal().round(3).tolist()
    ([0.054, 0.094, 0.107, 0.183], [0.089, 0.229, 0.29, 0.143])
    """
    choice("kind", kind, ("model", *get_args(Kind)))
    if kind != "model":
        return robust(m, kind, cluster).vcov
    if cluster is not None:
        advice = 'Name the kind of robust covariance, vcov("CR2", cluster=...), or leave cluster out.'
        raise error("MW-A31", option="cluster=", other='kind="model"', advice=advice)
    return np.array(m._vcov)


def robust(m: GeneralizedModel, kind: str, cluster: Any = None) -> RobustApproximation:
    """Return a robust covariance with rules for tests; kept with the fit if clusters have a name.

    Raises
    ------
    MixwellError
        As `vcov`.

    Examples
    --------
    >>> import mixwell as mw
    >>> from mixwell.generalized.robust import robust
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 9], "x": [0, 1, 2, 3]}, family="poisson")
    >>> by = robust(m, "HC2")
    >>> by.name, by.n_clusters, by.df(np.eye(2)).round(3).tolist()
    ('HC2, Satterthwaite (Bell-McCaffrey)', 4, [1.733, 1.824])
    """
    choice("kind", kind, get_args(Kind))
    named = cluster is None or isinstance(cluster, str)
    key = (kind, f"clusters {cluster}" if isinstance(cluster, str) else "clusters")
    if named and key in m.approximations:
        kept = m.approximations[key]
        assert isinstance(kept, RobustApproximation)
        return kept
    if m.nagq == 0:
        raise error("MW-A103", kind=kind)
    made = _build(m, kind, _clusters(m, kind, cluster))
    if named:
        m.approximations[key] = made
    return made


def _clusters(m: GeneralizedModel, kind: str, cluster: Any) -> ClusterCodes:
    if kind not in _ROWS:
        return clusters_of(m, kind, cluster)
    if m.is_mixed:
        raise error("MW-A104", kind=kind, instead=kind.replace("HC", "CR"))
    if cluster is not None:
        advice = f"It takes rows as independent: leave cluster out, or use {kind.replace('HC', 'CR')!r}."
        raise error("MW-A31", option="cluster=", other=f"kind={kind!r}", advice=advice)
    return ClusterCodes("row", np.arange(m.nobs), m.nobs)


def _build(m: GeneralizedModel, kind: str, clusters: ClusterCodes) -> RobustApproximation:
    used = np.flatnonzero(m.weights > 0)
    present, compact = np.unique(clusters.codes[used], return_inverse=True)
    codes, count = compact.ravel(), len(present)
    p, by = len(m.fixef), _ROWS.get(kind, kind)
    if count < 2:
        raise error("MW-A34", cluster=clusters.label, reason="there is only one")
    factor = factor_of(by, count, len(used), p)
    if _is_linear(m):
        parts = contributions(_rows_of(_exact(m), used), codes, count, by)
        influence = parts.basis @ parts.scores.T
    else:
        found = scores(m, clusters.codes, clusters.total)
        parts = contributions(_rows_of(_linearised(m, found.eta), used), codes, count, by)
        own = Scores(found.eta[used], found.theta[present], found.gamma[present])
        influence = _influence(m, own, codes, parts)
        parts = parts._replace(basis=parts.basis[len(parts.basis) - p :])
    mean, alone = expected(parts)
    if alone.any():
        names = [name for name, gone in zip(m.fixef.names, alone, strict=True) if gone]
        warn("MW-W15", columns=names, cluster=clusters.label, stacklevel=6)
    covariance = factor * (influence @ influence.T)
    covariance.setflags(write=False)
    scale = m.pearson_dispersion if m.is_classical else 1.0
    return RobustApproximation(
        f"{kind}, Satterthwaite (Bell-McCaffrey)",
        kind,
        clusters.label,
        count,
        covariance,
        scale * (parts.basis @ mean @ parts.basis.T),
        parts.basis @ parts.basis.T,
        parts,
    )


def _is_linear(m: GeneralizedModel) -> bool:
    """Whether a working linear model has the estimating equations of this one."""
    gaussian = m.family.distribution == "gaussian" and m.family.link == "identity" and not m.family.zero
    return m.is_classical or (gaussian and m.prior is None)


def _exact(m: GeneralizedModel) -> Working:
    """Return the working model of a generalised linear model, or of a gaussian one with identity link."""
    eta = m.predict(type="link", re="population")
    mu, slope = mean_of(m.family.link, eta), slope_of(m.family.link, eta)
    x, back = centred(m.fixed_columns, m.nobs)
    with np.errstate(divide="ignore"):
        one = m.family.variance(mu) if m.is_classical else m.auxiliary()[0] ** 2
        variance = one / m.weights
    terms = [(own, total, z @ f) for (own, total, z), f in zip(random_columns(m), m.lambdas, strict=True)]
    return Working(slope[:, None] * x, back, m.design.y - mu, variance, terms)


# --- scores and the linearised model ------------------------------------------------------------------------


def _linearised(m: GeneralizedModel, q: Array) -> Working:
    """Linearise the model, with rows scaled to variance one, and residuals that have the scores q.

    An ordinal model has an intercept here, in front.
    """
    information = _information(m)
    scale = np.sqrt(information)
    x, back = centred(((None,) if m.family.kind == "ordered" else ()) + m.fixed_columns, m.nobs)
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = q / information
    terms = []
    for (own, total, z), factor in zip(random_columns(m), m.lambdas, strict=True):
        sums = np.column_stack([np.bincount(own, column * q, total) for column in z.T])
        residual = residual + np.einsum("nk,nk->n", z, (sums @ (factor @ factor.T))[own])
        terms.append((own, total, scale[:, None] * z @ factor))
    return Working(scale[:, None] * x, back, scale * residual, np.ones(m.nobs), terms)


def _information(m: GeneralizedModel) -> Array:
    """Return what each row is expected to tell about its linear predictor, (n,), or about the mean.

    It is only used for the adjustments, where it must be positive, which the observed one need not be.
    """
    eta, aux = np.asarray(m.core["eta"], dtype=np.float64), auxiliary_predictors(m)
    family, weights, natural = m.family, m.weights, m.auxiliary()
    if family.kind == "ordered":
        out = np.zeros(m.nobs)
        limits = np.concatenate([[-np.inf], m.gamma, [np.inf]])
        for k in range(len(limits) - 1):
            sides = [np.full(m.nobs, limits[k + 1]), np.full(m.nobs, limits[k])]
            rows = family_rows(family.core, np.full(m.nobs, float(k)), None, eta, sides)
            with np.errstate(invalid="ignore", over="ignore"):
                out += np.nan_to_num(np.exp(rows[:, 3]) * rows[:, 4] ** 2)
        return np.maximum(weights * out, _LEAST * weights)
    if family.distribution == "t":
        scale, df = natural[0], natural[1]
        return np.asarray(weights * slope_of(family.link, eta) ** 2 * (df + 1.0) / ((df + 3.0) * scale**2))
    plain = replace(family, zero="", auxiliary=family.auxiliary[: len(aux) - bool(family.zero)])
    mu = mean_of(family.link, eta)
    trials = weights if family.kind == "binary" else None
    own = natural[: len(plain.auxiliary)]
    slope = slope_of(family.link, eta)
    if not plain.is_mean:  # truncated: of the mean of what is left
        step = 1e-5 * mu
        slope = slope * (plain.mean(mu + step, own) - plain.mean(mu - step, own)) / (2.0 * step)
    with np.errstate(divide="ignore", invalid="ignore"):
        out = slope**2 / plain.variance(mu, own, trials)
    if trials is None:
        out = out * weights
    if family.zero:
        out = out * (1.0 - natural[-1])
    least = _LEAST * weights
    return np.maximum(np.nan_to_num(out, posinf=0.0), least)


def _influence(m: GeneralizedModel, found: Scores, codes: Ints, parts: Contributions) -> Array:
    """Return what each cluster adds to beta, (p, J): the scores in all parameters times the covariance."""
    t, p, covariance = m.theta.size, len(m.fixef), m._covariance
    # Scores in the columns of X are those in orthonormal columns turned back.
    in_beta = np.linalg.solve(parts.basis.T, parts.scores.T) if len(parts.basis) else parts.scores.T
    gamma = found.gamma.T
    if m.family.kind == "ordered":
        change = in_beta[0] - np.bincount(codes, found.eta, len(parts.scores))
        about = m.hessian[t + p :, t + p :].sum(axis=1)
        in_beta, gamma = in_beta[1:], gamma - np.outer(about / about.sum(), change)
    rows = covariance[t : t + p]
    return np.asarray(rows[:, :t] @ found.theta.T + rows[:, t : t + p] @ in_beta + rows[:, t + p :] @ gamma)


def _rows_of(model: Working, used: Ints) -> Working:
    """Leave out rows without weight."""
    if len(used) == len(model.residual):
        return model
    terms = []
    for own, _, z in model.terms:
        levels, compact = np.unique(own[used], return_inverse=True)
        terms.append((compact.ravel(), len(levels), z[used]))
    return Working(model.x[used], model.back, model.residual[used], model.variance[used], terms)
