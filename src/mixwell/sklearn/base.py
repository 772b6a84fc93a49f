"""What both estimators share: from X, y and groups to a formula and a table, and back to arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from mixwell.design.frame import Column, Frame
from mixwell.errors import error, warn
from mixwell.formula import Formula, parse
from mixwell.formula.expression import Name
from mixwell.generalized.priors import Prior
from mixwell.models import fit as fit_model
from mixwell.options import choice

__all__ = ["MixedEstimator", "Unknown"]

Array = NDArray[np.float64]
Unknown = Literal["population", "error"]

_NO_GROUPS = (
    "There are no groups: pass fit(X, y, groups=...). scikit-learn's cross-validation passes groups= on to "
    "estimators only after sklearn.set_config(enable_metadata_routing=True), as params={'groups': ...}."
)


class MixedEstimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: from X, y and groups to a table and a formula, and back to arrays."""

    # Parameters of the constructors; scikit-learn wants them stored as given and checked in `fit`.
    formula: str | Formula | None
    random: str | Sequence[Any] | None
    unknown: str
    link: str | None
    nagq: Any
    prior: Prior | None

    # What `fit` learns.
    result_: Any
    coef_: Array
    intercept_: Any
    n_features_in_: int
    feature_names_in_: NDArray[Any]

    def _options(self) -> dict[str, Any]:
        """Return the arguments of `mixwell.fit` that the parameters stand for."""
        raise NotImplementedError

    def _target(self, y: Any, weights: Array | None) -> Array:
        """Return labels or numbers y (n,) as the response of the model."""
        raise NotImplementedError

    def _read(self, column: Column) -> NDArray[Any]:
        """Return the response (n,) that a table has."""
        raise NotImplementedError

    # --- fit --------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> None:
        choice("unknown", self.unknown, get_args(Unknown))
        read = self._from_columns if self.formula is None else self._from_table
        formula, table, weights = read(X, y, groups, sample_weight)
        result = fit_model(formula, table, weights=weights, **self._options())
        if self.formula is None and result.dropped:
            # A column that is a combination of others has coefficient zero here. Left out of the model, it
            # cannot make predictions of new rows, where it is no such combination, impossible.
            formula = self._column_formula(omit=result.dropped)
            result = fit_model(formula, table, weights=weights, **self._options())
        self.result_ = result
        self._store_coefficients()

    def _from_columns(
        self, X: Any, y: Any, groups: Any, sample_weight: Any
    ) -> tuple[str | Formula, Any, Array | None]:
        """Return formula, table and weights of a matrix X (n, p) and labels of groups (n,)."""
        numbers = isinstance(self, RegressorMixin)
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2, y_numeric=numbers)
        weights = _weights(sample_weight, X)
        names = _usable_names(getattr(self, "feature_names_in_", None), X.shape[1])
        self._names = names
        self._response, self._group = _free("y", names), _free("groups", names)
        self._grouped = groups is not None
        self._slopes = self._slope_columns()
        if self._grouped and self.random is None:
            raise error("MW-A158", option="groups", advice="random=None says that there are none.")
        if not self._grouped and self.random not in ("intercept", None):
            raise error("MW-A158", option="random", advice=_NO_GROUPS)
        table = dict(zip(names, X.T, strict=True)) | {self._response: self._target(y, weights)}
        if self._grouped:
            table[self._group] = _labels_of(groups, X)
        elif self.random is not None:
            warn("MW-W22", estimator=type(self).__name__, stacklevel=6)
        return self._column_formula(), table, weights

    def _column_formula(self, omit: Sequence[str] = ()) -> str:
        left_out = {name.strip("`") for name in omit}
        fixed = [f"`{name}`" for name in self._names if name not in left_out]
        text = f"`{self._response}` ~ {' + '.join(['1', *fixed])}"
        if self._grouped:
            slopes = [f"`{self._names[j]}`" for j in self._slopes]
            text += f" + ({' + '.join(['1', *slopes])} | `{self._group}`)"
        return text

    def _slope_columns(self) -> tuple[int, ...]:
        """Positions of the columns of X whose slopes differ between groups."""
        if self.random is None:
            return ()
        if isinstance(self.random, str):
            choice("random", self.random, ("intercept", "slopes"))
            return tuple(range(len(self._names))) if self.random == "slopes" else ()
        names, count = list(getattr(self, "feature_names_in_", self._names)), len(self._names)
        found = []
        for each in self.random:
            if isinstance(each, str) and each in names:
                found.append(names.index(each))
            elif isinstance(each, int | np.integer) and not isinstance(each, bool) and -count <= each < count:
                found.append(int(each) % count)
            else:
                raise error("MW-A159", name=each, available=names)
        return tuple(dict.fromkeys(found))

    def _from_table(
        self, X: Any, y: Any, groups: Any, sample_weight: Any
    ) -> tuple[str | Formula, Any, Array | None]:
        """Return formula, table and weights of a table X that the formula speaks of."""
        if groups is not None:
            raise error("MW-A158", option="groups", advice="The formula names them: put them into X.")
        if self.random not in ("intercept", None):
            raise error("MW-A158", option="random", advice="Write it into the formula: (x | group).")
        assert self.formula is not None
        frame = Frame.from_data(X)
        formula, parsed = self.formula, parse(self.formula, frame.names)
        if parsed.response is None:
            self._response = _free("y", frame.names)
            formula = f"`{self._response}` {parsed}"
        elif isinstance(parsed.response, Name):
            self._response = parsed.response.name
        else:
            raise error("MW-A157", formula=str(parsed))
        self.n_features_in_ = len(frame.names)
        self.feature_names_in_ = np.array(frame.names, dtype=object)
        y = self._given_or_read(frame, y)
        weights = _weights(sample_weight, np.empty((frame.n_rows, 1)))
        return formula, frame.with_columns({self._response: self._target(y, weights)}), weights

    def _given_or_read(self, frame: Frame, y: Any) -> NDArray[Any]:
        """Return y (n,) as given, or the column of the table that the formula calls the response."""
        if y is None:
            if self._response not in frame.names:
                raise error("MW-A162", estimator=type(self).__name__, column=self._response)
            return self._read(frame.column(self._response))
        check_consistent_length(np.empty(frame.n_rows), y)
        return np.asarray(column_or_1d(y, warn=True))

    def _store_coefficients(self) -> None:
        """Set coef_ and intercept_ from the estimable columns of the fixed part; others are zero."""
        fixef = dict(self.result_.fixef.items())
        self.intercept_ = float(fixef.pop("(Intercept)", 0.0))
        if self.formula is None:
            names = [*self._names]
            by_name = {name.strip("`"): value for name, value in fixef.items()}
        else:
            names = [name for name in self.result_.design.names if name != "(Intercept)"]
            by_name = fixef
        self.coef_ = np.array([by_name.get(name, 0.0) for name in names], dtype=np.float64)

    # --- predict ----------------------------------------------------------------------------------------

    def _predict(self, X: Any, groups: Any, **options: Any) -> Array:
        """Predictions (n,) of new rows: with the random effects of known groups."""
        check_is_fitted(self, "result_")
        if self.formula is not None:
            if groups is not None:
                raise error("MW-A158", option="groups", advice="The formula names them: put them into X.")
            table, effects = X, "conditional"
        else:
            X = validate_data(self, X, dtype=np.float64, reset=False)
            table, effects = dict(zip(self._names, X.T, strict=True)), "population"
            if groups is not None:
                if not self._grouped:
                    raise error("MW-A158", option="groups", advice="The model was fitted without any.")
                table[self._group], effects = _labels_of(groups, X), "conditional"
        return np.asarray(self.result_.predict(table, re=effects, new_levels=self.unknown, **options))

    def _truth(self, X: Any, y: Any) -> NDArray[Any]:
        """Return y (n,) to compare predictions with."""
        if self.formula is None:
            return np.asarray(column_or_1d(y, warn=True))
        return self._given_or_read(Frame.from_data(X), y)

    def get_metadata_routing(self) -> Any:
        """Say which metadata the methods ask for: `groups`, unless the formula names them.

        `set_fit_request(groups=False)` and its like have the last word.
        """
        routing = super().get_metadata_routing()
        for method in ("fit", "predict", "predict_proba", "decision_function", "score"):
            own = getattr(routing, method)
            if "groups" in own.requests and own.requests["groups"] is None:
                own.add_request(param="groups", alias=self.formula is None)
        return routing

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.formula is not None:
            tags.target_tags.required = False
            tags.input_tags.categorical = tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags


def _weights(sample_weight: Any, X: Any) -> Array | None:
    if sample_weight is None:
        return None
    return np.asarray(_check_sample_weight(sample_weight, X, dtype=np.float64))


def _labels_of(groups: Any, X: Any) -> Any:
    """Labels as a column; a table's column stays what it is, so that categories keep their type."""
    check_consistent_length(X, groups)
    if isinstance(groups, list | tuple) or getattr(groups, "ndim", 1) != 1:
        return np.asarray(column_or_1d(groups))
    return groups


def _usable_names(given: Any, count: int) -> tuple[str, ...]:
    """Names of the columns of X in the formula: their own, or x0, x1, ... where these cannot be written."""
    names = () if given is None else tuple(given)
    writable = all(isinstance(each, str) and each.isprintable() and "`" not in each for each in names)
    if len(set(names)) == count and writable and all(each.strip() for each in names):
        return names
    return tuple(f"x{j}" for j in range(count))


def _free(name: str, taken: Sequence[str]) -> str:
    """Return a name that no column has."""
    while name in taken:
        name += "_"
    return name
