"""Further fits: the same model of another response, or a changed model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.design.responses import check_range
from mixwell.errors import error

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel

__all__ = ["refit", "response_of", "update"]

Array = NDArray[np.float64]


def refit(m: GeneralizedModel, y: Any) -> GeneralizedModel:
    """Fit the same model to another response; the table is not read again.

    Parameters
    ----------
    y
        One number per row used in the fit, or per row of the data, as `simulate` gives them: shares of the
        same trials for binomial families, positions of categories (from 0) for ordinal ones.

    Returns
    -------
    GeneralizedModel

    Raises
    ------
    MixwellError
        MW-A09 when the length is wrong or a value is not a finite number, MW-D28 for one that the family
        cannot have.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> round(m.refit([2, 4, 8, 16]).fixef["(Intercept)"] - m.fixef["(Intercept)"], 4)
    0.6931
    """
    from mixwell.generalized.fitting import fit_design  # noqa: PLC0415  (which imports the model)

    values = response_of(m, y)
    arguments = {name: value for name, value in m.arguments.items() if name not in ("nagq", "prior")}
    arguments["response"] = values
    design = replace(m.design, y=values)
    nagq, prior = m.arguments["nagq"], m.prior
    return fit_design(design, m.family, m.control, arguments, nagq=nagq, prior=prior)


def response_of(m: GeneralizedModel, y: Any) -> Array:
    """Check a response and return its values (n,)."""
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise error("MW-A09", reason="it holds values that are not numbers") from None
    if values.shape == (m.design.n_rows,) and m.design.rows is not None:
        values = values[m.design.rows]
    if values.shape != (m.nobs,):
        raise error("MW-A09", reason=f"its shape is {np.shape(y)} but {m.nobs} rows were used")
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise error("MW-A09", reason=f"value {at + 1} of those used is {values[at]}")
    kind = m.family.kind
    if kind == "ordered":
        if not np.isin(values, np.arange(len(m.design.categories))).all():
            reason = f"categories are numbered from 0 to {len(m.design.categories) - 1}"
            raise error("MW-A09", reason=reason)
        absent = [level for k, level in enumerate(m.design.categories) if not (values == k).any()]
        if absent:
            reason = f"category '{level_text(absent[0])}' does not occur, so its threshold has no estimate"
            raise error("MW-A09", reason=reason)
    elif kind != "real":
        kind = "nonnegative" if kind == "positive" and m.family.zero else kind
        check_range(kind, "the response", values, lambda i: i)
    return np.array(values)


def update(
    m: GeneralizedModel, formula: str | None = None, data: Any = None, **changes: Any
) -> GeneralizedModel:
    """Fit a changed model: another formula, other data, other arguments of `fit`.

    Parameters
    ----------
    formula
        The change, in which '.' stands for the old side: "~ . - x + (1 | g)".
    data
        Another table with the same columns; the table of this fit if None.
    changes
        Any keyword of `fit`: family, link, weights, nagq, prior, ... With another family the link is its
        usual one unless it is given.

    Returns
    -------
    GeneralizedModel

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 8], "x": [0, 1, 2, 3]}, family="poisson")
    >>> str(m.update("~ . - x").formula), m.update(family="nbinom2").family.name
    ('count ~ 1', 'nbinom2')
    """
    from mixwell.formula import update as changed_formula  # noqa: PLC0415
    from mixwell.models import glm, glmer  # noqa: PLC0415  (models builds on this module)

    changed = m.formula if formula is None else changed_formula(m.formula, formula)
    arguments = {**m.arguments, "control": m.control, **changes}
    if "family" in changes:
        arguments |= {name: None for name in ("link", "variance") if name not in changes}
    table = arguments.pop("data")
    response = arguments.pop("response", None)
    # Each door has an argument that makes no sense at the other: refused there if it is asked for.
    door, idle = (glmer, {"variance": None}) if changed.random else (glm, {"nagq": 1})
    for name, value in idle.items():
        if name not in changes or changes[name] == value:
            arguments.pop(name, None)
    fitted: GeneralizedModel = door(changed, table if data is None else data, **arguments)
    # A response that came by refit() stays, unless there are new data or another response was asked for.
    if response is None or data is not None or fitted.design.response != m.design.response:
        return fitted
    return fitted.refit(response)
