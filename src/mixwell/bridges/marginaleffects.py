"""An adapter that lets the marginaleffects package (Arel-Bundock, Greifer and Heiss 2024) read our fits.

It speaks to that package's public base class alone. The package is under the GPL and is neither needed nor
brought along: whoever wants it installs it. Predictions go through our own recipe for new rows, so
transformations, contrasts and offsets are those of the fit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.design.frame import Column, Frame
from mixwell.errors import error
from mixwell.families import mean_of
from mixwell.fitted.new_rows import new_rows
from mixwell.formula import variables
from mixwell.marginal.counterfactual import Variable, columns_of, model_variables, values
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.fitted.new_rows import Model

__all__ = ["to_marginaleffects"]

Array = NDArray[np.float64]
Scale = Literal["response", "link"]

# Names of columns that the package keeps for its results.
_RESERVED = (
    *("rowid", "type", "group", "term", "contrast"),
    *("estimate", "std_error", "statistic", "p_value", "s_value", "conf_low", "conf_high"),
)


@checked
def to_marginaleffects(m: Model, *, type: Scale = "response") -> Any:  # noqa: A002
    """Return the fit as a model of the marginaleffects package.

    `marginaleffects.avg_slopes(m.to_marginaleffects())` and its other functions then work on it: `vcov=`
    takes the names of `m.vcov(kind)`, tests are normal (t for `lm` and a classical `glm` with a dispersion).
    For degrees of freedom by Satterthwaite or Kenward and Roger use `m.slopes`, `m.comparisons` and
    `m.predictions`, which need no other package.

    Parameters
    ----------
    type
        "response": means of a typical group, random effects of zero; "link": the linear predictor.

    Returns
    -------
    marginaleffects.classes.ModelAbstract
        The adapter; `.model` is the fit.

    Raises
    ------
    MixwellError
        MW-A163 without the package; MW-A164 for the response scale of ordinal, truncated and zero-inflated
        models; MW-A166 for versions of it that cannot read the installed polars.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> import marginaleffects  # doctest: +SKIP
    >>> slopes = marginaleffects.avg_slopes(m.to_marginaleffects())  # doctest: +SKIP
    >>> round(slopes["estimate"][0], 4), round(slopes["std_error"][0], 4)  # doctest: +SKIP
    (10.4673, 1.5458)
    """
    choice("type", type, ("response", "link"))
    family = getattr(m, "family", None)
    if family is not None and type == "response" and not family.is_mean:
        raise error("MW-A164", family=str(family))
    return _adapter()(m, type)


@cache
def _adapter() -> Callable[[Model, str], Any]:
    try:
        import polars as pl  # noqa: PLC0415
        from marginaleffects.classes import ModelAbstract, ModelVault  # noqa: PLC0415
    except ModuleNotFoundError:
        raise error("MW-A163", package="marginaleffects") from None
    own = version("marginaleffects")
    if _release(pl.__version__) >= (2, 0) and _release(own) <= (
        0,
        6,
    ):  # polars removed Series.cat.get_categories
        raise error("MW-A166", own=own, polars=pl.__version__)

    class Mixwell(ModelAbstract):  # type: ignore[misc]
        """A mixwell fit: its rows as a polars table, its coefficients, and predictions from any others."""

        def __init__(self, m: Model, scale: str) -> None:
            self.scale, self.known = scale, model_variables(m)
            names = [_response(m), *self.known]
            vault = ModelVault(
                coef=m.fixef.values.copy(),
                coefnames=np.array(m.fixef.names),
                formula=_no_formula,
                modeldata=pl.DataFrame(
                    {name: _series(column, self.known.get(name)) for name, column in _fitted(m).items()}
                ),
                package="mixwell",
                variable_names=names,
            )
            super().__init__(m, vault)

        def __reduce__(self) -> Any:
            return _again, (self.model, self.scale)

        def validation(self) -> None:
            """Say what the variables are; the design needs no checks of a formula."""
            self.coef, self.formula = self.vault.coef, _no_formula
            self.response_name = self.vault.variable_names[0]
            self.vault.variables_type = {name: _kind(each) for name, each in self.known.items()}

        @property
        def df_resid(self) -> float:
            """Degrees of freedom of tests."""
            m: Any = self.model
            if hasattr(m, "family"):
                return float(m.wald_df)
            return math.inf if m.is_mixed else float(m.df_residual)

        def get_vcov(self, vcov: bool | str = True) -> Array | None:
            """Covariance of the coefficients: a kind of `m.vcov`, True for the model's own."""
            if isinstance(vcov, bool):
                return np.asarray(self.model.vcov()) if vcov else None
            return np.asarray(self.model.vcov(kind=vcov))

        def get_exog(self, newdata: Any) -> Array:
            """Columns of X and the offset, (n, p + 1)."""
            table = {name: _read(newdata[name], self.known[name]) for name in self.known}
            m = self.model
            nothing = (False,) * len(m.formula.random)
            frame = Frame.from_data(table)
            family = getattr(m, "family", None)
            rows = new_rows(
                m,
                frame,
                nothing,
                others=False,
                weights=False,
                unknown="error",
                intercept=family is None or family.kind != "ordered",
            )
            X = rows.dense(slice(None))
            if rows.inestimable is not None:
                X[rows.inestimable] = np.nan
            return np.column_stack([X, np.zeros(rows.n) if rows.offset is None else rows.offset])

        def get_predict(self, params: Array, newdata: Array) -> Any:
            """Predictions from coefficients (p,) and what `get_exog` returned."""
            eta = newdata[:, :-1] @ np.asarray(params) + newdata[:, -1]
            family = getattr(self.model, "family", None)
            estimate = eta if family is None or self.scale == "link" else mean_of(family.link, eta)
            rowid = np.arange(len(eta), dtype=np.int32)
            return pl.DataFrame({"rowid": rowid, "estimate": np.asarray(estimate)})

    def _series(column: Column, variable: Variable | None) -> Any:
        kind = _storage(column, variable)
        if kind == "number":
            shown = column.numeric() if variable is None or not variable.is_factor else values(column)
            numbers = np.asarray(shown, dtype=np.float64)
            whole = variable is not None and variable.is_factor and (numbers == np.round(numbers)).all()
            return pl.Series(column.name, numbers.astype(np.int64) if whole else numbers)
        if kind == "boolean":
            return pl.Series(column.name, values(column), dtype=pl.Boolean)
        levels = column.codes()[1] if variable is None else variable.levels
        texts = [None if each is None else level_text(each) for each in values(column)]
        return pl.Series(column.name, texts, dtype=pl.Enum([level_text(each) for each in levels]))

    return Mixwell


def _again(m: Model, scale: str) -> Any:
    """Make a copy: the class is local, and the package's own attribute lookup does not end in one."""
    return _adapter()(m, scale)


def _release(version: str) -> tuple[int, int]:
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


def _no_formula(data: Any) -> Any:
    """Stand where the package wants a formula; the design comes from `get_exog`."""
    raise NotImplementedError


def _storage(column: Column, variable: Variable | None) -> Literal["number", "boolean", "text"]:
    """Say how a column stands in the package's table.

    Factors of numbers stay numbers, and texts that are whole numbers become some: the package casts what a
    user passes to the type of the fitted column, and a whole number that is cast to a category is taken for
    its position.
    """
    if variable is None or not variable.is_factor:
        plain: dict[str, Literal["number", "boolean"]] = {"numeric": "number", "boolean": "boolean"}
        return "number" if variable is not None else plain.get(column.kind, "text")
    kinds = {type(level) for level in variable.levels}
    if kinds <= {bool, np.bool_}:
        return "boolean"
    if all(issubclass(each, (int, float, np.number)) for each in kinds):
        return "number"
    texts = [level_text(level) for level in variable.levels]
    return "number" if all(text.isdecimal() and text == str(int(text)) for text in texts) else "text"


def _kind(variable: Variable) -> str:
    """Say what the package calls the type of a variable."""
    if variable.is_factor:
        return "boolean" if _storage(variable.column, variable) == "boolean" else "character"
    return "binary" if variable.is_zero_one else "numeric"


def _response(m: Model) -> str:
    text = str(m.design.response)
    return f"({text})" if text in _RESERVED else text


def _fitted(m: Model) -> dict[str, Column]:
    """Response, variables, grouping factors and weights at the fitted rows, as far as they are whole."""
    response = _response(m)
    known = list(model_variables(m))
    grouping = [name for term in m.formula.random for each in term.group for name in variables(each)]
    weights = m.arguments.get("weights")
    if isinstance(weights, str):
        grouping.append(weights)
    further = [name for name in dict.fromkeys(grouping) if name not in (*known, response, *_RESERVED)]
    out = {response: Column(response, "numeric", np.asarray(m.design.y, dtype=np.float64))}
    return out | columns_of(m, [*known, *further])


def _read(series: Any, variable: Variable) -> Any:
    """Return values of a polars series as the fit knows them: levels themselves instead of their text."""
    kind = _storage(variable.column, variable)
    if kind == "text":
        of_text = {level_text(level): level for level in variable.levels}
        return [of_text.get(text, text) for text in series.cast(str).to_list()]
    if kind == "number":
        numbers = series.cast(float).to_numpy()
        if not variable.is_factor:
            return numbers
        of_number = {float(level_text(level)): level for level in variable.levels}
        return [of_number.get(number, number) for number in numbers.tolist()]
    return series.cast(bool).to_list()
