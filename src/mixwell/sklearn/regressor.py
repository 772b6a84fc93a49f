"""A numeric response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from mixwell.design.frame import Column
from mixwell.errors import error
from mixwell.formula import Formula
from mixwell.generalized.priors import Prior
from mixwell.options import Method, checked
from mixwell.sklearn.base import MixedEstimator, Unknown

__all__ = ["MixedRegressor"]

Array = NDArray[np.float64]

_POSITIVE = ("poisson", "nbinom1", "nbinom2", "gamma", "inverse_gaussian", "tweedie", "quasipoisson")


class MixedRegressor(RegressorMixin, MixedEstimator):  # type: ignore[misc]
    """A linear or generalised linear mixed model of a numeric response.

    Parameters
    ----------
    formula
        As for `mixwell.fit`, such as "y ~ x + (x | g)": X is then a table with these columns. The response
        is y as passed, or without y the column of X; it may be left out: "~ x + (x | g)". None for a matrix
        of numbers X whose columns all are fixed effects.
    family, link
        As for `mixwell.fit`; not "cumulative". "gaussian" is the linear mixed model.
    random
        Without a formula, what differs between `groups`: "intercept", "slopes" (the intercept and all
        columns, correlated), or a list of names or positions of columns. None: there are no groups.
    unknown
        At prediction, a group that was not fitted: "population" takes its random effects as zero; "error".
    method
        "REML" (the default) or "ML", of linear models.
    nagq, prior
        Of generalised models, as for `mixwell.glmer`.

    Attributes
    ----------
    result_
        The fitted model with everything that mixwell has: summary(), certificate(), ranef(), confint(), ...
    coef_, intercept_
        Fixed effects on the scale of the link, (n_features_in_,) without a formula. A column that is a
        combination of others has coefficient zero, and `result_` is the model without it. With a formula
        they are in the order of `result_.design.names`.
    n_features_in_, feature_names_in_
        Columns of X, as in scikit-learn; with a formula of the table, from which `predict` needs only those
        of the right-hand side.

    Examples
    --------
    >>> import mixwell as mw
    >>> from mixwell.sklearn import MixedRegressor
    >>> sleep = mw.data.load("sleepstudy", "dict")
    >>> model = MixedRegressor(formula="Reaction ~ Days + (Days | Subject)").fit(sleep)
    >>> model.predict({"Days": [9, 9], "Subject": ["308", "somebody new"]}).round(2).tolist()
    [430.66, 345.61]

    The same from arrays:

    >>> import numpy as np
    >>> X = np.array(sleep["Days"], dtype=float)[:, None]
    >>> model = MixedRegressor(random="slopes").fit(X, sleep["Reaction"], groups=sleep["Subject"])
    >>> model.predict([[9], [9]], groups=["308", "somebody new"]).round(2).tolist()
    [430.66, 345.61]
    """

    @checked
    def __init__(
        self,
        formula: str | Formula | None = None,
        *,
        family: str = "gaussian",
        link: str | None = None,
        random: str | Sequence[Any] | None = "intercept",
        unknown: Unknown = "population",
        method: Method | None = None,
        nagq: int | Literal["auto"] = 1,
        prior: Prior | None = None,
    ) -> None:
        self.formula = formula
        self.family = family
        self.link = link
        self.random = random
        self.unknown = unknown
        self.method = method
        self.nagq = nagq
        self.prior = prior

    def _options(self) -> dict[str, Any]:
        names = ("family", "link", "method", "nagq", "prior")
        return {name: getattr(self, name) for name in names}

    def _target(self, y: Any, weights: Array | None) -> Array:
        if self.family == "cumulative":
            advice = "Ordered categories have no mean to predict: use mixwell.glmer."
            raise error("MW-A158", option="family", advice=advice)
        return np.asarray(y, dtype=np.float64)

    def _read(self, column: Column) -> NDArray[Any]:
        return column.numeric()

    @checked
    def fit(self, X: Any, y: Any = None, *, groups: Any = None, sample_weight: Any = None) -> MixedRegressor:
        """Fit the model.

        Parameters
        ----------
        X
            A matrix (n, p), or with a formula a table.
        y
            The response (n,); None to take it from the table.
        groups
            Labels (n,) of the groups with random effects; not with a formula. Without groups the model is
            (generalised) linear, and warns (MW-W22) if not `random=None`.
        sample_weight
            Prior weights (n,): the residual variance of a row is sigma^2 / weight. Rows of weight zero are
            left out.

        Returns
        -------
        MixedRegressor
            The estimator itself.

        Raises
        ------
        MixwellError
            MW-A157 to MW-A162, and as `mixwell.fit`.
        """
        self._fit(X, y, groups, sample_weight)
        return self

    @checked
    def predict(self, X: Any, *, groups: Any = None) -> Array:
        """Predict the expected response, shape (n,).

        Parameters
        ----------
        X
            As in `fit`; the response need not be there.
        groups
            Labels (n,). Rows of known groups are predicted with their random effects (conditional modes),
            others as `unknown` says. None: the population, random effects of zero, for all rows.

        Returns
        -------
        array
            With a formula NaN where a predictor is missing.
        """
        return self._predict(X, groups)

    @checked
    def score(self, X: Any, y: Any = None, sample_weight: Any = None, *, groups: Any = None) -> float:
        """Return the coefficient of determination R^2 of the predictions.

        Parameters
        ----------
        X, y, groups, sample_weight
            As in `fit`; rows of `groups` are predicted as in `predict`.
        """
        predicted = self._predict(X, groups)
        return float(r2_score(self._truth(X, y), predicted, sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.family in _POSITIVE
        return tags
