"""Coefficients without a finite estimate, found exactly, and the rows that leave them without one.

Along a direction d of the coefficients that raises the likelihood of no row less than it was, the likelihood
grows without end: such directions form a cone, the solutions of linear inequalities in the rows of X
(Albert & Anderson 1984; Konis 2007). Rows that some direction pushes are predicted perfectly; the others hold
what is left of the coefficients (Geyer 2009, the limiting conditional model).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixwell._core import family_rows
from mixwell.design.contrasts import level_text
from mixwell.errors import Note, note
from mixwell.families import mean_of
from mixwell.formula import Name, label
from mixwell.generalized.scores import auxiliary_predictors

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel


__all__ = ["Cone", "Separation", "alike", "cone", "separation"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NEARLY = 0.05  # log-likelihood that a row predicted perfectly still lacks after a search
ZEROS = "zi:"  # begins the names of coefficients of extra zeros
FAR = 40.0  # a logarithm of a mean as good as minus infinity
ZERO = 1e-9  # of directions, relative to the columns
WIDE = {
    "logit": 10.0,
    "probit": 6.0,
    "cloglog": 8.0,
    "loglog": 8.0,
    "cauchit": 30.0,
}  # standard deviations of random effects
TOLERANCE = 1e-7  # of linear programs
_AT_FIRST = 100  # rows of a linear program to begin with, and that join at a time
_ROUNDS = 200
_FEW = 9  # values that columns of a coding have at most
_LISTED = 3  # causes that are spelled out


@dataclass(frozen=True, slots=True, eq=False)
class Cone:
    """Directions in which the likelihood never falls.

    Attributes
    ----------
    pushed
        Rows (n,) that some direction moves.
    free
        Orthonormal columns (p, k) that span the cone.
    signs
        By coefficient (p,): 1 or -1 where all directions agree, 0 where it stays, NaN where they do not.
    """

    pushed: Mask
    free: Array
    signs: Array


@dataclass(frozen=True, slots=True, eq=False)
class Separation:
    """What the data leave infinite.

    Attributes
    ----------
    infinite
        By name of a coefficient without a finite estimate: 1 or -1, the sign of infinity, 0 where either is
        possible.
    rows
        Rows (n,) that are predicted perfectly.
    complete
        Whether these are all rows.
    because
        Which rows these are, in words.
    """

    infinite: dict[str, int]
    rows: Mask
    complete: bool
    because: str

    def note(self) -> Note:
        """Say it (MW-W13)."""
        shown = {1: "+inf", -1: "-inf", 0: "either way"}
        columns = [f"'{name}' ({shown[sign]})" for name, sign in self.infinite.items()]
        kind = "complete" if self.complete else "quasi-complete"
        own = [name for name in self.infinite if name != "(Intercept)"]
        name = (own or list(self.infinite))[0]
        return note("MW-W13", kind=kind, because=self.because, columns=columns, name=name)


class _Rows(NamedTuple):
    """Inequalities lower'd >= 0 and equalities: X (n, p), and by row 1, -1 (may grow, fall) or 0 (neither).

    A row of NaN says nothing.
    """

    names: tuple[str, ...]
    X: Array
    may: Array
    lacks: Array


# --- the cone -------------------------------------------------------------------------------------------


def cone(X: Array, may: Array, doubtful: Mask | None = None, guess: Array | None = None) -> Cone | None:
    """Directions d with X d >= 0 where `may` is 1, <= 0 where it is -1, and = 0 where it is 0.

    Parameters
    ----------
    X
        Rows (n, p), of full column rank.
    may
        Which way a row may go (n,); NaN for a row that does not matter.
    doubtful
        Rows (n,) that can be moved at all, as far as is known; the others count as `may` = 0.
    guess
        A direction (p,) that is tried before linear programming.

    Returns
    -------
    Cone or None
        None if there is no such direction.

    Examples
    --------
    >>> X = np.column_stack([np.ones(4), [0.0, 1.0, 2.0, 3.0]])
    >>> cone(X, np.array([-1.0, -1.0, 1.0, 1.0])).pushed
    array([ True,  True,  True,  True])
    >>> cone(X, np.array([-1.0, 1.0, -1.0, 1.0])) is None
    True
    """
    size = np.sqrt(np.mean(X**2, axis=0)) if len(X) else np.ones(X.shape[1])
    scaled = X / np.where(size > 0, size, 1.0)
    matters = ~np.isnan(may)
    moves = matters & (may != 0)
    if doubtful is not None:
        moves &= doubtful
    free = _nullspace(scaled[matters & ~moves], X.shape[1])
    signed = may[moves, None] * (scaled[moves] @ free)
    signed, back = _distinct(signed)
    strict = _strict(signed, free.T @ (guess * size) if guess is not None else None)
    if not strict.any():
        return None
    pushed = np.zeros(len(X), bool)
    pushed[np.flatnonzero(moves)[strict[back]]] = True
    inner = _nullspace(signed[~strict], free.shape[1])
    free, signed = free @ inner, signed[strict] @ inner
    signs = _signs(signed, free)
    return Cone(pushed, np.linalg.qr(free / np.where(size > 0, size, 1.0)[:, None])[0], signs)


def _distinct(rows: Array) -> tuple[Array, NDArray[np.int64]]:
    """Rows at length one, equal ones once, and where each went; rows of zeros stay zero."""
    length = np.sqrt(np.sum(rows**2, axis=1))
    unit = np.where(length[:, None] > ZERO, rows / np.where(length > ZERO, length, 1.0)[:, None], 0.0)
    found, back = np.unique(np.round(unit, 10) + 0.0, axis=0, return_inverse=True)
    return found, back.ravel()


def _nullspace(rows: Array, p: int) -> Array:
    """Orthonormal columns (p, k) on which the rows are zero."""
    if not len(rows) or not p:
        return np.eye(p)
    triangle = np.linalg.qr(rows, mode="r") if len(rows) > p else rows
    _, values, vectors = np.linalg.svd(triangle)
    rank = int(np.count_nonzero(values > ZERO * max(float(values[0]), 1e-300)))
    return np.asarray(vectors[rank:].T)


def _strict(rows: Array, guess: Array | None) -> Mask:
    """Rows r with r'z > 0 for some z that has R z >= 0."""
    none = np.zeros(len(rows), bool)
    k = rows.shape[1] if rows.ndim == 2 else 0
    some = np.any(rows != 0, axis=1)
    if not k or not some.any():
        return none
    tries = [np.eye(1), -np.eye(1)] if k == 1 else [] if guess is None else [guess[:, None]]
    for each in tries:
        along = (rows @ each)[:, 0] / max(float(np.linalg.norm(each)), 1e-300)
        if np.all(along[some] > ZERO):
            return np.asarray(some)
    if k == 1:
        return none
    return _program(rows)


def _program(rows: Array) -> Mask:
    """Strict rows by linear programs: the sum over the rows that are not known to be strict is maximised.

    A sum of directions is a direction, so what is strict in one of them is strict in their sum.
    """
    strict = np.zeros(len(rows), bool)
    while not strict.all():
        along = rows @ _highest(rows[~strict].mean(axis=0), rows)
        new = (along > TOLERANCE) & ~strict
        if not new.any():
            break
        strict |= new
    return strict


def _highest(slope: Array, rows: Array) -> Array:
    """Maximise slope'z over R z >= 0 and |z| <= 1; rows that are violated join the program as it goes on."""
    from scipy.optimize import linprog  # noqa: PLC0415

    k = len(slope)
    kept = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _AT_FIRST + 10 * k)).astype(int))
    z = np.zeros(k)
    for _ in range(_ROUNDS):
        found = linprog(-slope, A_ub=-rows[kept], b_ub=np.zeros(len(kept)), bounds=(-1, 1), method="highs")
        if found.status != 0:
            return np.zeros(k)
        z = np.asarray(found.x)
        along = rows @ z
        worst = np.argsort(along)[: _AT_FIRST + 10 * k]
        worst = worst[along[worst] < -ZERO]
        new = np.setdiff1d(worst, kept)
        if not new.size:
            return z
        kept = np.concatenate([kept, new])
    return np.zeros(k)


def _signs(rows: Array, free: Array) -> Array:
    """Sign of each coefficient over the directions z with R z >= 0 that span everything; NaN for both."""
    moved = np.linalg.norm(free, axis=1) > TOLERANCE
    if free.shape[1] == 1:
        d = free[:, 0] * np.sign(float(np.sum(rows)))
        return np.asarray(np.where(moved, np.sign(d), 0.0))
    out = np.zeros(len(free))
    for j in np.flatnonzero(moved):
        goes = [float(side * free[j] @ _highest(side * free[j], rows)) > TOLERANCE for side in (1.0, -1.0)]
        out[j] = np.nan if goes[0] == goes[1] else 1.0 if goes[0] else -1.0
    return out


# --- the rows of a model --------------------------------------------------------------------------------


def separation(m: GeneralizedModel) -> Separation | None:
    """Find the coefficients without a finite maximum-likelihood estimate.

    Of models for 0 and 1, shares, ordered categories, and of counts and amounts with the log link; of the
    probability of extra zeros. With random effects what the fixed effects can do is looked at: their
    directions raise the likelihood whatever the random effects are. Coefficients with a prior stay finite.

    Returns
    -------
    Separation or None
        None if all estimates are finite.
    """
    infinite: dict[str, int] = {}
    rows, reasons, complete = np.zeros(m.nobs, bool), [], True
    for part, guess in _predictors(m):
        # A search that has ended can gain nothing from rows that lack much: they are not predicted perfectly.
        doubtful = part.lacks < NEARLY if m.core["converged"] else None
        found = cone(part.X, part.may, doubtful, guess)
        if found is None:
            continue
        named = dict(zip(part.names, found.signs, strict=True))
        mine = {name: 0 if np.isnan(sign) else int(sign) for name, sign in named.items() if sign != 0}
        infinite |= mine
        # Ordered responses have two inequalities a row.
        pushed = np.asarray(found.pushed.reshape(-1, m.nobs).any(axis=0))
        complete &= bool(np.all(pushed | np.isnan(part.may).reshape(-1, m.nobs).all(axis=0)))
        rows |= pushed
        reasons.append(_because(m, pushed, zeros=part.names[0].startswith(ZEROS)))
    return Separation(infinite, rows, complete, "; ".join(dict.fromkeys(reasons))) if infinite else None


def _predictors(m: GeneralizedModel) -> Iterator[tuple[_Rows, Array | None]]:
    aux = [np.ascontiguousarray(each) for each in auxiliary_predictors(m)]
    y, w = m.design.y, m.weights
    eta = np.asarray(m.core["eta"])
    lacks = -family_rows(m.family.core, y, w, eta, aux)[:, 0]
    names = m.fixef.names
    held = np.array([_has_prior(m, name) for name in names], bool)
    X = m.model_matrix()
    free = tuple(n for n, h in zip(names, held, strict=True) if not h)
    if m.family.kind == "ordered":
        yield _ordered(m, X[:, ~held], free), None
        return
    may = _ways(m)
    if may is not None and (~held).any():
        if m.family.kind == "count":
            lacks = lacks + family_rows(m.family.core, y, w, np.full(m.nobs, -FAR), aux)[:, 0]
        yield _Rows(free, X[:, ~held], may, lacks), m.fixef.values[~held]
    if m.family.zero:
        yield from _extra_zeros(m, lacks)


def _ways(m: GeneralizedModel) -> Array | None:
    """Which way the linear predictor of a row may go without loss: 1, -1, 0 for neither, NaN for both."""
    y, kind, link, base = m.design.y, m.family.kind, m.family.link, m.family.distribution
    if kind == "binary":
        if link == "identity":
            return None  # bounded: estimates are finite
        up = 0.0 if link == "log" else 1.0  # the log of a probability ends at zero
        may = np.where(y == 1, up, np.where(y == 0, -1.0, 0.0))
    elif kind in ("count", "nonnegative") and link == "log":
        least = 1.0 if base.startswith("truncated") else 0.0
        may = np.where(y == least, -1.0, 0.0)
        if m.family.zero == "hurdle":
            may = np.where(y == 0, np.nan, may)
    elif base == "gaussian" and kind == "real" and link == "log":
        may = np.where(y <= 0, -1.0, 0.0)
    else:
        return None
    return np.where(m.weights > 0, may, np.nan)


def _extra_zeros(m: GeneralizedModel, lacks: Array) -> Iterator[tuple[_Rows, Array | None]]:
    """Rows of the predictor of extra zeros: a zero may raise it, anything else lower it."""
    columns = m.predictors.columns[-1][0]
    names = tuple(f"{ZEROS}{m.predictors.names[j][1]}" for j, _ in columns)
    if names == (f"{ZEROS}(Intercept)",):
        return  # see limits.py
    Z = np.column_stack([np.ones(m.nobs) if column is None else column for _, column in columns])
    logit = Z @ m.gamma[[j for j, _ in columns]]
    zero = m.design.y == 0
    may = np.where(m.weights > 0, np.where(zero, 1.0, -1.0), np.nan)
    # Where the counts alone explain the zeros of a level, their extra ones are left without an estimate.
    own = m.weights * np.logaddexp(0.0, np.where(zero, -logit, logit))
    yield _Rows(names, Z, may, np.where(zero, np.minimum(own, lacks), own)), None


def _ordered(m: GeneralizedModel, X: Array, names: tuple[str, ...]) -> _Rows:
    """Rows of the thresholds above and below each category: the one may rise, the other fall."""
    count = len(m.thresholds.names)
    y = m.design.y.astype(int)
    eye = np.vstack([np.eye(count), np.zeros((1, count))])
    upper, lower = np.hstack([eye[y], -X]), np.hstack([eye[y - 1], -X])
    idle = m.weights <= 0
    above = np.where(idle | (y == count), np.nan, 1.0)
    below = np.where(idle | (y == 0), np.nan, -1.0)
    return _Rows(
        (*m.thresholds.names, *names),
        np.vstack([upper, lower]),
        np.concatenate([above, below]),
        np.concatenate([m.weights * short for short in _sides_lack(m)]),
    )


def _sides_lack(m: GeneralizedModel) -> tuple[Array, Array]:
    """-log P(not above the category), -log P(not below it): a row may lack much on one side alone."""
    upper, lower = (each - np.asarray(m.core["eta"]) for each in auxiliary_predictors(m))
    with np.errstate(divide="ignore"):
        return -np.log(mean_of(m.family.link, upper)), -np.log1p(-mean_of(m.family.link, lower))


def _has_prior(m: GeneralizedModel, name: str) -> bool:
    """Whether a prior keeps the coefficient finite; the rules are those of `priors.penalized`."""
    if m.prior is None:
        return False
    given = m.prior.fixef
    if isinstance(given, Mapping) and name in given:
        return True
    if m.design.columns[m.design.names.index(name)] is None:
        return m.prior.intercept is not None
    return given is not None and not isinstance(given, Mapping)


# --- in words -------------------------------------------------------------------------------------------


def _because(m: GeneralizedModel, pushed: Mask, *, zeros: bool) -> str:
    """Say which rows are predicted perfectly: levels of factors, or one side of a number, else how many.

    `zeros` says that all that matters of a response is whether it is zero.
    """
    if zeros and not (m.design.y == 0).any():
        return f"{_response(m)} is never zero"
    said = _sides(m, pushed) or _levels(m, pushed, zeros=zeros)
    if said:
        more = f" and {len(said) - _LISTED} more like it" if len(said) > _LISTED else ""
        return ", ".join(said[:_LISTED]) + more
    count = int(np.count_nonzero(pushed))
    return f"the fixed effects together predict {_response(m)} perfectly in {count} of {m.nobs} rows"


def _response(m: GeneralizedModel) -> str:
    named = m.design.response
    return "the share of successes" if named.startswith("cbind(") else named


def _value(m: GeneralizedModel, rows: Mask, *, zeros: bool) -> str:
    """Say what all responses of some rows are, or nothing."""
    values = np.unique(m.design.y[rows])
    if zeros and values[0] > 0:
        return f"{_response(m)} > 0"
    if len(values) != 1:
        return ""
    value = level_text(m.design.categories[int(values[0])]) if m.design.categories else f"{values[0]:g}"
    return f"{_response(m)} = {value}"


def _levels(m: GeneralizedModel, pushed: Mask, *, zeros: bool) -> list[str]:
    """Levels of a factor, or cells of several, all of whose rows are pushed and alike."""
    X = m.design.columns
    for at, term in enumerate(m.formula.terms, start=1):
        if not all(isinstance(each, Name) for each in term.factors):
            continue
        mine = [column for column, term_at in zip(X, m.design.assign, strict=True) if term_at == at]
        if not mine or any(column is None or not _is_coding(column) for column in mine):
            continue
        labels = [_labels(m, each.name) for each in term.factors if isinstance(each, Name)]
        cells = [tuple(parts) for parts in zip(*labels, strict=True)]
        order = {cell: i for i, cell in enumerate(dict.fromkeys(cells))}
        codes = np.array([order[cell] for cell in cells])
        said, seen = [], np.zeros(m.nobs, bool)
        for cell, i in order.items():
            rows = codes == i
            value = _value(m, rows, zeros=zeros) if pushed[rows].all() else ""
            if value:
                named = zip(map(label, term.factors), cell, strict=True)
                where = " and ".join(f"{name} = {level}" for name, level in named)
                count = int(rows.sum())
                what = "the one row" if count == 1 else f"all {count} rows"
                said.append(f"{what} with {where} {'has' if count == 1 else 'have'} {value}")
                seen |= rows
        if said and np.array_equal(seen, pushed):
            return said
    return []


def _is_coding(column: Array) -> bool:
    """Whether a column has few values, and so may stand for levels."""
    return len(np.unique(column[: 4 * _FEW])) <= _FEW and len(np.unique(column)) <= _FEW


def _labels(m: GeneralizedModel, name: str) -> list[str]:
    codes, levels = m.design.frame.column(name).take(m.design.rows).codes()
    return [level_text(levels[code]) for code in codes]


def _sides(m: GeneralizedModel, pushed: Mask) -> list[str]:
    """Say of one column on which side of a number which responses are."""
    counts = m.weights > 0
    y = m.design.y[counts]
    if m.family.kind != "binary" or not ((y < 1).any() and (y > 0).any()):
        return []
    for name, column in zip(m.design.names, m.design.columns, strict=True):
        if column is None or len(np.unique(column)) < 3:  # those of levels are for `_levels`
            continue
        for sign, low, high in ((1.0, "<", ">"), (-1.0, ">", "<")):
            x = sign * column[counts]
            top, bottom = float(x[y < 1].max()), float(x[y > 0].min())
            if top > bottom or (top == bottom and not np.array_equal(pushed[counts], x != top)):
                continue
            edge = sign * 0.5 * (top + bottom)
            both = ((0, f"{name} {low} {edge:.6g}"), (1, f"{name} {high} {edge:.6g}"))
            return [" and ".join(f"{_response(m)} = {v} in all rows with {where}" for v, where in both)]
    return []


# --- groups ---------------------------------------------------------------------------------------------


def alike(m: GeneralizedModel) -> list[Note]:
    """Say where random effects are endless because all responses of a level are at one end (MW-W16)."""
    wide = WIDE.get(m.family.link)
    if m.family.kind not in ("binary", "ordered") or wide is None:
        return []
    out = []
    y, w = m.design.y, m.weights
    top = len(m.design.categories) - 1 if m.family.kind == "ordered" else 1
    for term, factor in zip(m.design.random, m.lambdas, strict=True):
        for k, (name, column) in enumerate(zip(term.names, term.columns, strict=True)):
            sd = float(np.sqrt(factor[k] @ factor[k]))
            if column is not None or sd <= wide:
                continue
            count = len(term.levels)
            trials, used = np.bincount(term.codes, w, count), w > 0
            off = [np.bincount(term.codes, used & (y != end), count) for end in (0, top)]
            same = np.flatnonzero((trials > 0) & ((off[0] == 0) | (off[1] == 0)))
            if same.size:
                fields: dict[str, object] = {
                    "name": name,
                    "group": term.group,
                    "sd": f"{sd:.3g}",
                    "count": int(same.size),
                    "n_levels": count,
                    "levels": [level_text(term.levels[i]) for i in same],
                }
                out.append(note("MW-W16", **fields))
    return out
