"""Two classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from mixwell.design.frame import Column
from mixwell.errors import error
from mixwell.formula import Formula
from mixwell.generalized.priors import Prior
from mixwell.options import checked
from mixwell.sklearn.base import MixedEstimator, Unknown

__all__ = ["MixedClassifier"]

Array = NDArray[np.float64]


class MixedClassifier(ClassifierMixin, MixedEstimator):  # type: ignore[misc]
    """A logistic mixed model of two classes, or with another link.

    Parameters
    ----------
    formula, random, unknown
        As for `MixedRegressor`.
    link
        "logit" (the default), "probit", "cloglog", "cauchit", ... of the binomial family.
    nagq
        Nodes of quadrature: 1 is the Laplace approximation, see `mixwell.glmer`.
    prior
        A `mixwell.Prior`, which keeps coefficients finite when predictors separate the classes.

    Attributes
    ----------
    classes_
        The two labels, sorted; the second is the success.
    result_
        The fitted model with everything that mixwell has.
    coef_, intercept_
        Fixed effects on the scale of the link, shapes (1, p) and (1,) as in scikit-learn's own classifiers.
    n_features_in_, feature_names_in_
        As in `MixedRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> from mixwell.sklearn import MixedClassifier
    >>> X = np.array([*range(6)] * 2)[:, None]
    >>> y = np.array([*"nnynyy" + "nyyyny"])
    >>> model = MixedClassifier().fit(X, y, groups=[*"aabbccddeeff"])
    >>> model.predict([[0], [5]]).tolist()
    ['n', 'y']
    >>> model.predict_proba([[0], [5]]).round(3).tolist()
    [[0.75, 0.25], [0.125, 0.875]]
    """

    classes_: NDArray[Any]

    @checked
    def __init__(
        self,
        formula: str | Formula | None = None,
        *,
        link: str | None = None,
        random: str | Sequence[Any] | None = "intercept",
        unknown: Unknown = "population",
        nagq: int | Literal["auto"] = 1,
        prior: Prior | None = None,
    ) -> None:
        self.formula = formula
        self.link = link
        self.random = random
        self.unknown = unknown
        self.nagq = nagq
        self.prior = prior

    def _options(self) -> dict[str, Any]:
        return {"family": "binomial", "link": self.link, "nagq": self.nagq, "prior": self.prior}

    def _target(self, y: Any, weights: Array | None) -> Array:
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind != "binary":
            raise error("MW-A160", kind=kind)
        self.classes_, codes = np.unique(y, return_inverse=True)
        used = np.unique(y if weights is None else np.asarray(y)[weights != 0.0])
        if len(used) < 2:
            raise error("MW-A161", classes=[repr(each) for each in used.tolist()])
        return codes.astype(np.float64)

    def _read(self, column: Column) -> NDArray[Any]:
        """Return labels as they are; NaN where missing, which scikit-learn refuses."""
        if column.codes_ is None:
            return np.asarray(column.values) if column.absent is None else column.numeric()
        labels = np.array([*column.levels_, np.nan], dtype=object)[column.codes_]
        return labels if (column.codes_ < 0).any() else np.array(labels.tolist())

    @checked
    def fit(self, X: Any, y: Any = None, *, groups: Any = None, sample_weight: Any = None) -> MixedClassifier:
        """Fit the model.

        Parameters
        ----------
        X, groups
            As for `MixedRegressor`.
        y
            Two classes (n,); None to take them from the table.
        sample_weight
            Weights (n,): the log-likelihood of a row is multiplied. Rows of weight zero are left out.

        Returns
        -------
        MixedClassifier
            The estimator itself.

        Raises
        ------
        MixwellError
            MW-A157 to MW-A162, and as `mixwell.fit`.
        """
        self._fit(X, y, groups, sample_weight)
        return self

    def _store_coefficients(self) -> None:
        super()._store_coefficients()
        self.coef_, self.intercept_ = self.coef_[None, :], np.array([self.intercept_])

    @checked
    def decision_function(self, X: Any, *, groups: Any = None) -> Array:
        """Return the linear predictor, shape (n,); with the logit link the log odds of the second class.

        Parameters
        ----------
        X, groups
            As for `MixedRegressor.predict`.
        """
        return self._predict(X, groups, type="link")

    @checked
    def predict_proba(self, X: Any, *, groups: Any = None) -> Array:
        """Return probabilities of both classes, shape (n, 2).

        Parameters
        ----------
        X, groups
            As for `MixedRegressor.predict`. For groups that were not fitted these are the probabilities in a
            typical group, not the share in the population: `result_.predict(table, re="marginal")`.
        """
        success = self._predict(X, groups, type="response")
        return np.column_stack([1.0 - success, success])

    @checked
    def predict(self, X: Any, *, groups: Any = None) -> NDArray[Any]:
        """Return the more probable class, shape (n,).

        Parameters
        ----------
        X, groups
            As for `MixedRegressor.predict`.
        """
        success = self._predict(X, groups, type="response")
        return np.asarray(self.classes_[(success > 0.5).astype(np.intp)])

    @checked
    def score(self, X: Any, y: Any = None, sample_weight: Any = None, *, groups: Any = None) -> float:
        """Return the share of rows that are predicted right.

        Parameters
        ----------
        X, y, groups, sample_weight
            As in `fit`; rows of `groups` are predicted as in `predict`.
        """
        predicted = self.predict(X, groups=groups)
        return float(accuracy_score(self._truth(X, y), predicted, sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
