"""What a fit says about itself: covariances on the boundary, nearly dependent columns, and warnings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.design import LOUD
from mixwell.errors import MixwellWarning, Note, error, note
from mixwell.inference.checks import EPS, check_cone

if TYPE_CHECKING:
    from mixwell._core import Cone
    from mixwell.design import Design, RandomDesign
    from mixwell.fitted.result import FittedModel
    from mixwell.formula import Formula
    from mixwell.inference.certificate import Certificate

__all__ = [
    "ILL_CONDITIONED",
    "Boundary",
    "announce",
    "boundaries",
    "conditioning",
    "denounce",
    "rank_of",
    "say",
    "simpler_formula",
    "zeros_of",
]

Array = NDArray[np.float64]

ILL_CONDITIONED = 1e3  # condition number of the standardised columns of X that is worth a note
_INVOLVED = 1e-6  # share of a dropped column that a kept one must explain to be named
_CHUNK = 65_536  # rows per pass
SINGULAR = 1e-8  # singular values of lambda, relative to the largest, that count as zero
_CONSTANT = 1e-12  # spread of a column, relative to its size, that is rounding
NOTHING = 1e-12  # those that count as zero whatever the largest is: rounding, relative to sigma
SINGULAR_RHO = 1e-3  # the same where the boundary is a correlation, which is only ever approached


@dataclass(frozen=True, slots=True)
class Boundary:
    """A random-effects term whose estimated covariance is singular.

    Attributes
    ----------
    group, term
        The grouping factor and the term as text.
    rank, k
        Rank of the covariance, and the number of effects.
    zero
        Effects whose variance is zero.
    removable
        Whether the effects of zero variance can be left out without changing the rest.
    code, fields
        The note that says what it means.
    """

    group: str
    term: str
    rank: int
    k: int
    zero: tuple[str, ...]
    removable: bool
    code: str
    fields: Mapping[str, object]

    def __str__(self) -> str:
        return note(self.code, **self.fields).text


def boundaries(design: Design, cone: Sequence[Cone], lambdas: Sequence[Array]) -> tuple[Boundary, ...]:
    """Find the terms with a singular covariance and say what that means."""
    found = []
    for term, each, factor in zip(design.random, cone, lambdas, strict=True):
        k = len(term.names)
        rank = rank_of(each, term)
        if rank < k:
            found.append(_boundary(term, factor, rank, design.formula))
    return tuple(found)


def rank_of(cone: Cone, term: RandomDesign) -> int:
    """Rank of the covariance of a term, of its standardised columns."""
    values = np.linalg.svd(np.asarray(cone["lambda"]), compute_uv=False)
    limit = SINGULAR_RHO if term.structure in ("cs", "ar1") else SINGULAR
    return int(np.sum(values > max(limit * values[0], NOTHING)))


def _boundary(term: RandomDesign, factor: Array, rank: int, formula: Formula) -> Boundary:
    k = len(term.names)
    # How much each effect contributes to y, so that the zero of a small column is not the zero of its unit.
    spread = np.array([1.0 if c is None else float(np.sqrt(np.mean(c**2))) for c in term.columns])
    sd = spread * np.sqrt(np.diag(factor @ factor.T))
    zero = tuple(name for name, value in zip(term.names, sd, strict=True) if value <= SINGULAR * sd.max())
    fields: dict[str, object] = {"group": term.group, "term": term.text}
    if rank == 0:
        return Boundary(term.group, term.text, 0, k, term.names, True, "MW-C04", fields)
    if zero:
        # Without a column ar1 has other lags, and cs another range of rho: then it is not the same model.
        other = term.structure == "ar1" or (term.structure == "cs" and rank < k - len(zero))
        smaller = None if other else _smaller_term(formula, term.text, frozenset(zero))
        advice = f"{smaller} in place of {term.text} gives the same fit." if smaller else ""
        fields |= {"columns": [f"'{name}'" for name in zero], "advice": advice}
        return Boundary(term.group, term.text, rank, k, zero, not other, "MW-C05", fields)
    detail = "some are exact combinations of the others"
    if k == 2:
        covariance = factor @ factor.T
        detail = f"their correlation is estimated as {'+1' if covariance[0, 1] > 0 else '-1'}"
    fields |= {
        "k": k,
        "rank": rank,
        "directions": "direction" if rank == 1 else "directions",
        "detail": detail,
    }
    return Boundary(term.group, term.text, rank, k, (), False, "MW-C06", fields)


def zeros_of(term: RandomDesign, found: Sequence[Boundary]) -> frozenset[str]:
    """Names of the effects of a term that have no variance and can be left out."""
    return frozenset(n for each in found if each.term == term.text and each.removable for n in each.zero)


def _reduced(term: Any, zero: frozenset[str]) -> Any:
    """Leave the zero columns out of a term; None if nothing is left, the term itself if no text says that."""
    intercept = term.intercept and "(Intercept)" not in zero
    kept = tuple(fixed for fixed in term.terms if fixed.label not in zero)
    gone = len(term.terms) - len(kept) + (term.intercept and not intercept)
    if gone != len(zero):  # a column of a factor or of a basis: no formula leaves out just that
        return term
    if not intercept and not kept:
        return None
    single = intercept + len(kept) == 1
    return replace(
        term, intercept=intercept, terms=kept, **({"structure": "us", "homogeneous": False} if single else {})
    )


def _smaller_term(formula: Formula, term_text: str, zero: frozenset[str]) -> str | None:
    source = next(term for term in formula.random if str(term) == term_text)
    smaller = _reduced(source, zero)
    return None if smaller is None or smaller is source else str(smaller)


def simpler_formula(formula: Formula, zeros: Sequence[frozenset[str]]) -> str | None:
    """Write the formula without the variances that are zero; None when that changes nothing."""
    random = []
    for term, zero in zip(formula.random, zeros, strict=True):
        smaller = term if not zero else _reduced(term, zero)
        if smaller is not None:
            random.append(smaller)
    if tuple(random) == formula.random:
        return None
    return str(replace(formula, random=tuple(random)))


def gram(columns: Sequence[Array | None], weights: Array | None) -> tuple[Array, Array, Array]:
    """Gram matrix (p, p) of the standardised columns of X, their norms and their means, each (p,).

    With an intercept, columns are centred and the intercept, by then orthogonal to them, is left alone.
    """
    n = next((column.size for column in columns if column is not None), 1)
    intercept = any(column is None for column in columns)
    means = np.array(
        [np.average(c, weights=weights) if intercept and c is not None else 0.0 for c in columns]
    )
    total = np.zeros((len(columns), len(columns)))
    for start in range(0, n, _CHUNK):
        rows = slice(start, min(start + _CHUNK, n))
        ones = np.ones(rows.stop - rows.start)
        block = np.column_stack([ones if c is None else c[rows] for c in columns]) - means
        total += block.T @ (block if weights is None else weights[rows, None] * block)
    norms = np.sqrt(np.diag(total))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(total / np.outer(norms, norms)), norms, means


def conditioning(
    columns: Sequence[Array | None], weights: Array | None, names: Sequence[str]
) -> tuple[float, tuple[str, ...]]:
    """Condition number of the standardised columns of X, and the columns of its weakest direction."""
    if len(columns) < 2:
        return 1.0, ()
    values, vectors = np.linalg.eigh(gram(columns, weights)[0])
    weakest = np.abs(vectors[:, 0])
    involved = tuple(name for name, share in zip(names, weakest, strict=True) if share > 0.1 * weakest.max())
    return float(np.sqrt(values[-1] / max(values[0], EPS))), involved


def dropped_columns(design: Design, kept: Sequence[int], dropped: Sequence[int]) -> Note:
    """Say of which columns each dropped one is a combination."""
    said = []
    for j in dropped:
        basis = [*kept, j]
        product, norms, means = gram([design.columns[i] for i in basis], design.weights)
        size = np.sqrt(norms[-1] ** 2 + design.y.size * means[-1] ** 2)
        if size == 0:
            said.append(f"'{design.names[j]}' is zero in every row used")
            continue
        share = np.linalg.lstsq(product[:-1, :-1], product[:-1, -1], rcond=None)[0]
        slopes = share * norms[-1] / np.where(norms[:-1] > 0, norms[:-1], 1.0)
        share = np.abs(share) * (norms[-1] > _CONSTANT * size)
        for at, i in enumerate(kept):  # what the centred columns leave for the intercept
            if design.columns[i] is None:
                share[at] = abs(means[-1] - slopes @ means[:-1]) * design.y.size**0.5 / size
        involved = [design.names[i] for i, part in zip(kept, share, strict=True) if part > _INVOLVED]
        said.append(f"'{design.names[j]}' is a combination of {', '.join(involved)}")
    return note("MW-C02", columns="; ".join(said))


def announce(m: FittedModel) -> FittedModel:
    """Warn about what would mislead if it went unsaid, and return the fit."""
    said = [each for each in m.design.notes if each.code in LOUD]
    if m.problem.dropped:
        said.append(dropped_columns(m.design, m.kept, m.problem.dropped))
    say(said)
    reason = ""
    if not m.optimum.converged:
        reason = f"the search stopped after {m.optimum.evaluations} evaluations with something left to gain"
    else:
        bad = [check.name for check in check_cone(m.optimum.cone, m.design.random) if not check.passed]
        reason = f"{bad[0]} failed" if bad else ""
    if reason:
        failure = error("MW-C01", reason=reason)
        warnings.warn(MixwellWarning(failure.code, failure.message, failure.hint), stacklevel=_caller())
    return m


def say(notes: Iterable[Note]) -> None:
    """Emit notes as warnings, attributed to the first frame outside this package."""
    for each in notes:
        warnings.warn(MixwellWarning(each.code, each.text), stacklevel=_caller())


def denounce(certificate: Certificate) -> Certificate:
    """Warn when the rows refute what the search could not see, and return the certificate."""
    failed = [check.name for check in certificate.checks if not check.passed]
    if failed and certificate.converged and not {"stationarity", "multiplier"} & set(failed):
        failure = error("MW-C01", reason=f"{failed[0]} failed")
        warnings.warn(MixwellWarning(failure.code, failure.message, failure.hint), stacklevel=_caller())
    return certificate


def _caller() -> int:
    """Stack level of the first frame outside this package, as seen from the function that calls this."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("mixwell"):
        level, frame = level + 1, frame.f_back
    return level
