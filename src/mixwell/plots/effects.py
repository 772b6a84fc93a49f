"""Random effects of one grouping factor, as arrays: what several plots start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import error
from mixwell.reporting.view import is_generalized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixwell.design import RandomDesign
    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["Effects", "chosen", "effects_of", "ellipse", "require_random"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """Random effects of the J levels of a grouping factor, those of all its terms side by side.

    Attributes
    ----------
    group, levels
        Its label, and those of its levels.
    names
        Of the k effects of a level.
    modes, conditional
        Conditional modes (J, k), and their covariances given the parameters (J, k, k).
    covariance
        Between levels, (k, k).
    codes, columns
        Level of each row, and the k columns, None for ones.
    """

    group: str
    levels: tuple[str, ...]
    names: tuple[str, ...]
    modes: Array
    conditional: Array
    covariance: Array
    codes: NDArray[np.int32]
    columns: tuple[Array | None, ...]

    @property
    def sd(self) -> Array:
        """Conditional standard deviations (J, k)."""
        return np.asarray(np.sqrt(np.maximum(np.einsum("jkk->jk", self.conditional), 0.0)))

    def at(self, names: Sequence[str]) -> list[int]:
        """Positions of some effects."""
        return [self.names.index(name) for name in names]

    def z(self, rows: NDArray[Any]) -> Array:
        """Columns at some rows, shape (r, k)."""
        return np.column_stack([np.ones(rows.size) if c is None else c[rows] for c in self.columns])


def require_random(m: Model, plot: str) -> None:
    """Refuse a model without random effects."""
    if not m.is_mixed:
        raise error(
            "MW-A127",
            plot=plot,
            reason="the model has no random effects",
            advice="It is for models with a term such as (1 | group).",
        )


def effects_of(m: Model, group: str | None, plot: str) -> Effects:
    """Return the random effects of a grouping factor, the first of the formula if none is named.

    Parameters
    ----------
    group
        Its label.
    plot
        Name of the plot, for messages.

    Raises
    ------
    MixwellError
        MW-A127 for a model without random effects, MW-A128 for an unknown grouping factor.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> effects = effects_of(m, "Subject", "a plot")
    >>> effects.names, effects.modes.shape, effects.conditional.shape
    (('(Intercept)', 'Days'), (18, 2), (18, 2, 2))
    """
    require_random(m, plot)
    groups = tuple(dict.fromkeys(term.group for term in m.design.random))
    group = groups[0] if group is None else group
    if group not in groups:
        raise error("MW-A128", plot=plot, what="grouping factor", name=group, available=list(groups))
    at = [t for t, term in enumerate(m.design.random) if term.group == group]
    terms: list[RandomDesign] = [m.design.random[t] for t in at]
    either: Any = m
    every = either.core["b"] if is_generalized(m) else either.solution.b
    covariances = [m.varcorr().terms[t].matrix for t in at]
    sizes = [len(term.names) for term in terms]
    covariance, start = np.zeros((sum(sizes), sum(sizes))), 0
    for block, size in zip(covariances, sizes, strict=True):
        covariance[start : start + size, start : start + size] = block
        start += size
    return Effects(
        group,
        tuple(level_text(level) for level in terms[0].levels),
        tuple(name for term in terms for name in term.names),
        np.column_stack([np.asarray(every[t]) for t in at]),
        m.ranef_covariance(group, joint=False),
        covariance,
        terms[0].codes,
        tuple(column for term in terms for column in term.columns),
    )


def chosen(
    effects: Effects, columns: str | Sequence[str] | None, plot: str, limit: int | None = None
) -> tuple[str, ...]:
    """Return the effects that are meant: those named, else all of them up to a limit.

    Raises
    ------
    MixwellError
        MW-A128 for an effect that does not vary between the levels.
    """
    names = effects.names[:limit] if columns is None else columns
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in effects.names:
            what = f"effect that varies over {effects.group}, called"
            raise error("MW-A128", plot=plot, what=what, name=name, available=list(effects.names))
    return names


def ellipse(centre: Array, covariance: Array, probability: float, points: int = 181) -> Array:
    """Return the contour of a bivariate normal distribution that holds a probability, shape (points, 2).

    It is a line where the correlation is one.

    Examples
    --------
    >>> circle = ellipse(np.zeros(2), np.eye(2), 0.95)
    >>> bool(np.allclose((circle**2).sum(axis=1), -2 * np.log(0.05)))
    True
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    turn = np.linspace(0.0, 2.0 * np.pi, points)
    radius = np.sqrt(-2.0 * np.log1p(-probability))  # chi-square on two degrees of freedom
    return np.asarray(centre + radius * np.column_stack([np.cos(turn), np.sin(turn)]) @ root.T)
