"""scikit-learn estimators: the models of `fit` in pipelines, searches and grouped cross-validation.

Two ways in. With `formula` the rows come as a table that has the predictors and the grouping factors. Without
it X is a matrix of numbers, each column a fixed effect, and `groups` has one label per row for the random
effects. Only this package imports scikit-learn.
"""

from __future__ import annotations

from mixwell.errors import error

try:
    from sklearn.utils.validation import validate_data as _  # noqa: F401 - the newest name that is needed
except ImportError as reason:
    raise error("MW-A156") from reason

from mixwell.sklearn.classifier import MixedClassifier
from mixwell.sklearn.regressor import MixedRegressor

__all__ = ["MixedClassifier", "MixedRegressor"]
