"""Means and linear predictors of rows, fitted ones and new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.design.frame import Frame
from mixwell.errors import error
from mixwell.families import mean_of
from mixwell.fitted.new_rows import fixed_part, random_part
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.generalized.model import GeneralizedModel


__all__ = ["auxiliary", "fitted", "predict"]

Array = NDArray[np.float64]


@checked
def fitted(m: GeneralizedModel, *, type: Literal["response", "link"] = "response") -> Array:  # noqa: A002
    """Return fitted values with the random effects, shape (n,); shares of a binomial response.

    Parameters
    ----------
    type
        "response": the mean of the family (before extra zeros); "link": the linear predictor.
    """
    return m.predict(type=type)


@checked
def predict(
    m: GeneralizedModel,
    newdata: Any = None,
    *,
    type: Literal["response", "link"] = "response",  # noqa: A002
    re: Literal["conditional", "population"] = "conditional",
) -> Array:
    """Predict the mean of the family or the linear predictor.

    Parameters
    ----------
    newdata
        A table with the columns of the right-hand side; the rows that were fitted if None. Levels of a
        grouping factor that were not fitted have random effects of zero.
    type
        "response": the mean (before extra zeros), a share for binomial ones; "link": eta.
    re
        "conditional": with the random effects; "population": with random effects of zero.

    Returns
    -------
    array
        Shape (rows,).

    Raises
    ------
    MixwellError
        MW-A02 for other options, MW-A80 for the response of an ordinal model.
    """
    choice("type", type, ("response", "link"))
    choice("re", re, ("conditional", "population"))
    if m.family.kind == "ordered" and type == "response":
        advice = "Use type='link'; probabilities of categories are not here yet."
        raise error("MW-A80", what="predict(type='response')", family="cumulative", advice=advice)
    design = m.design
    if newdata is None:
        columns, terms, n, offset = design.columns, design.random, design.n, design.offset
    else:
        frame = Frame.from_data(newdata)
        columns, n, offset = design.recipe.fixed(frame), frame.n_rows, design.recipe.offset(frame)
        terms = design.recipe.random(frame) if re == "conditional" else ()
    if m.family.kind == "ordered":
        columns = tuple(column for column in columns if column is not None)
    eta = fixed_part([columns[j] for j in m.kept], m.fixef.values, n)
    if offset is not None:
        eta += offset
    if re == "conditional":
        for term, b in zip(terms, m.core["b"], strict=True):
            eta += random_part(term.codes, term.columns, np.asarray(b))
    return eta if type == "link" else mean_of(m.family.link, eta)


def auxiliary(m: GeneralizedModel) -> tuple[Array, ...]:
    """Return auxiliary parameters of each row on their natural scale, (n,) each; or thresholds."""
    out = []
    for at, (columns, known) in enumerate(m.predictors.columns):
        values = np.zeros(m.nobs) if known is None else np.array(known)
        for j, column in columns:
            values += m.gamma[j] * (1.0 if column is None else column)
        ordered = m.family.kind == "ordered"
        out.append(values if ordered else np.asarray(m.family.auxiliary[at].natural(values)))
    return tuple(out)
