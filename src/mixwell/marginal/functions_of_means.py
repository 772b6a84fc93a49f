"""Linear functions of means: their tests by any rule for degrees of freedom, joint tests, and printing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.fitted.text import cells, p_value
from mixwell.inference.wald import Approximation, Joint, approximation, joint, separate
from mixwell.marginal.adjust import of_intervals
from mixwell.marginal.effects import usual_ddf
from mixwell.marginal.reference_grid import not_lost

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.inference.wald import Ddf
    from mixwell.marginal.reference_grid import Model

__all__ = ["correlations", "examined", "joint_test", "printed", "rule", "said"]

Array = NDArray[np.float64]

_LOST = 1e-8


def rule(m: Model, ddf: str | None) -> Approximation:
    """Covariance of the coefficients with degrees of freedom; those of `summary()` if None.

    Raises
    ------
    MixwellError
        MW-A02 for one that a generalised model does not have.
    """
    if getattr(m, "family", None) is not None and ddf is not None:
        from mixwell.options import choice  # noqa: PLC0415

        choice("ddf", ddf, tuple(dict.fromkeys((usual_ddf(m, None, "model"), "normal"))))
    return approximation(cast("FittedModel", m), usual_ddf(m, cast("Ddf | None", ddf), "model"))


def examined(
    m: Model, L: Array, offset: Array, lost: Array, ddf: str | None
) -> tuple[Array, Array, Array, Array]:
    """Estimate, standard error, degrees of freedom and t of L beta + offset; NaN where not estimable."""
    known = not_lost(lost)
    out = np.full((4, len(L)), np.nan)
    if known.any():
        found = separate(rule(m, ddf), m.fixef.values, L[known])
        estimate = found.estimate + offset[known]
        # A row of zeros is the offset alone: it is known, and nothing is tested.
        se = np.where(np.abs(L[known]).max(axis=1, initial=0.0) > 0, found.se, 0.0)
        t = np.divide(estimate, se, out=np.full_like(se, np.nan), where=se > 0)
        out[:, known] = estimate, se, found.df, t
    return out[0], out[1], out[2], out[3]


def correlations(m: Model, L: Array, ddf: str | None) -> Array:
    """Correlations of L beta, (k, k)."""
    covariance = np.nan_to_num(L) @ rule(m, ddf).vcov @ np.nan_to_num(L).T
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    return np.asarray(covariance / np.outer(sd, sd))


def joint_test(m: Model, L: Array, offset: Array, lost: Array, ddf: str | None) -> Joint:
    """Test that all L beta + offset are zero: of these, and of their sums, the estimable ones."""
    there = np.isfinite(lost).all(axis=1)
    L, offset, lost = L[there], offset[there], lost[there]
    if not not_lost(lost).all():
        # Combinations c with c'lost = 0.
        vectors, size, _ = np.linalg.svd(lost, full_matrices=True)
        basis = vectors[:, int((size > _LOST).sum()) :].T
        L, offset = basis @ L, basis @ offset
    if not len(L):
        return Joint.of(np.nan, 0, np.nan)
    return joint(rule(m, ddf), m.fixef.values, L, -offset)


def printed(columns: Mapping[str, Any], labels: Collection[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table as text; `labels`: columns that say what a row is."""
    normal = "df" in columns and not np.isfinite(columns["df"]).any()
    short = {"std_error": "se", "p_value": "p"} | (
        {"statistic": "z" if normal else "t"} if "df" in columns else {}
    )
    header, shown = [], list[list[str]]()
    for name, values in columns.items():
        if name == "df" and normal:
            continue
        header.append(name if name in labels else short.get(name, name))
        if name in labels:
            shown.append([f"{v:g}" if isinstance(v, float) else level_text(v) for v in values])
        elif name == "p_value":
            shown.append([p_value(v) for v in np.asarray(values).tolist()])
        elif name == "statistic" and "df" in columns:
            shown.append(["-" if np.isnan(v) else f"{v:.2f}" for v in values])
        elif name in ("df", "den_df"):
            shown.append(["-" if np.isnan(v) else "inf" if np.isinf(v) else f"{v:.1f}" for v in values])
        else:
            shown.append(cells(np.asarray(values).tolist()))
    return header, [list(row) for row in zip(*shown, strict=True)]


def said(m: Model, ddf: str | None, level: float, adjust: str) -> str:
    """Say how intervals and p-values were made."""
    how = "not adjusted" if adjust == "none" else f"adjusted: {adjust}"
    if of_intervals(adjust) != adjust:
        how = f"adjusted: p-values {adjust}, intervals {of_intervals(adjust)}"
    by = (
        f" Degrees of freedom: {rule(m, ddf).name}."
        if m.is_mixed and getattr(m, "family", None) is None
        else ""
    )
    return f"Intervals of {100 * level:g} %; {how}.{by}"
