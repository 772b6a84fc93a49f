"""The scikit-learn estimators: its own checks, and cross-validation against loops by hand."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import mixwell as mw
from mixwell import MixwellError, MixwellWarning
from mixwell.sklearn import MixedClassifier, MixedRegressor

FORMULA = "Reaction ~ Days + (Days | Subject)"

# --- scikit-learn's checks ------------------------------------------------------------------------------

EXACT = "its data are reproduced exactly (MW-N04): a mixed model without residual variance has no likelihood"
EXPECTED = {
    "linear": {
        "check_sample_weights_shape": EXACT,
        "check_sample_weights_not_overwritten": EXACT,
        "check_sample_weight_equivalence_on_dense_data": EXACT,
        "check_regressors_no_decision_function": EXACT,
    },
    "logistic": {
        "check_sample_weight_equivalence_on_dense_data": "its data are separated: there are no finite "
        "estimates, and weights and repeated rows stop the search in other places"
    },
    "with a prior": {
        "check_sample_weight_equivalence_on_dense_data": "the prior has the scale of the standard deviation "
        "of the rows, and weights do not count as rows"
    },
    "quasipoisson": {},
}
ESTIMATORS = {
    "linear": MixedRegressor(),
    "logistic": MixedClassifier(),
    "with a prior": MixedClassifier(prior=mw.Prior()),
    "quasipoisson": MixedRegressor(family="quasipoisson"),
}


def expected(estimator: Any) -> dict[str, str]:
    return next(EXPECTED[name] for name, each in ESTIMATORS.items() if repr(each) == repr(estimator))


@pytest.mark.filterwarnings("ignore::mixwell.MixwellWarning")  # separated classes, columns without variance
@parametrize_with_checks([*ESTIMATORS.values()], expected_failed_checks=expected)
def test_the_checks_of_sklearn(estimator: Any, check: Any) -> None:
    check(estimator)


# --- data -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    """Rows in random order and with another index, so that nothing depends on them."""
    return mw.data.load("sleepstudy", "pandas").sample(frac=1.0, random_state=1)


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two predictors, a binary response with random intercepts, and labels of 20 groups."""
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(20), 12)
    X = rng.normal(size=(240, 2))
    eta = 0.4 + X @ [1.0, -0.5] + rng.normal(size=20)[g]
    y = np.where(rng.random(240) < 1.0 / (1.0 + np.exp(-eta)), "yes", "no")
    return X, y, np.array([f"g{j}" for j in g])


@pytest.fixture
def routing() -> Iterator[None]:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def table(X: np.ndarray, g: Any, **more: Any) -> dict[str, Any]:
    return {f"x{j}": X[:, j] for j in range(X.shape[1])} | {"g": g} | more


# --- a fit is the fit of the library --------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "dict"])
@pytest.mark.parametrize("formula", [FORMULA, "~ Days + (Days | Subject)"])
@pytest.mark.parametrize("passed", [True, False])
def test_a_formula_and_a_table(library: str, formula: str, passed: bool) -> None:
    data = mw.data.load("sleepstudy", library)
    y = mw.data.load("sleepstudy", "pandas")["Reaction"].to_numpy()
    model = MixedRegressor(formula)
    if not passed and formula.startswith("~"):
        with pytest.raises(MixwellError, match="requires y to be passed"):
            model.fit(data)
        return
    model.fit(data, y) if passed else model.fit(data)
    m = mw.lmer(FORMULA, data)
    assert model.result_.fixef.values == pytest.approx(m.fixef.values, rel=1e-12)
    assert model.coef_ == pytest.approx([m.fixef["Days"]], rel=1e-12)
    assert model.intercept_ == pytest.approx(m.fixef["(Intercept)"], rel=1e-12)
    assert model.predict(data) == pytest.approx(m.predict(), rel=1e-12)
    assert model.score(data, y) == pytest.approx(
        1 - np.sum((y - m.predict()) ** 2) / np.sum((y - y.mean()) ** 2)
    )
    if not formula.startswith("~"):
        assert model.score(data) == model.score(data, y)
    assert model.n_features_in_ == 3
    assert model.feature_names_in_.tolist() == ["Reaction", "Days", "Subject"]


def test_y_as_passed_wins_over_the_column_of_the_table(sleep: pd.DataFrame) -> None:
    y = sleep["Reaction"].to_numpy()
    model = MixedRegressor(FORMULA).fit(sleep, 2.0 * y)
    assert model.coef_ == pytest.approx(2.0 * MixedRegressor(FORMULA).fit(sleep).coef_, rel=1e-6)
    assert model.score(sleep, 2.0 * y) > 0.7
    assert sleep["Reaction"].to_numpy() == pytest.approx(y)  # the table is not changed


@pytest.mark.parametrize(
    ("random", "term"),
    [
        ("intercept", "(1 | g)"),
        ("slopes", "(a + `b c` | g)"),
        (["a"], "(a | g)"),
        ([0], "(a | g)"),
        ([-1], "(`b c` | g)"),
        (("b c", "b c"), "(`b c` | g)"),
        ([], "(1 | g)"),
    ],
)
def test_columns_and_groups(random: Any, term: str) -> None:
    rng = np.random.default_rng(3)
    X = pd.DataFrame({"a": rng.normal(size=90), "b c": rng.normal(size=90)})
    g = np.repeat(np.arange(15), 6)
    b = rng.normal(size=(15, 3))
    y = 1.0 + b[g, 0] + (1.0 + b[g, 1]) * X["a"] + b[g, 2] * X["b c"] + rng.normal(size=90)
    model = MixedRegressor(random=random).fit(X, y, groups=g)
    m = mw.lmer(f"y ~ a + `b c` + {term}", X.assign(y=y, g=g))
    assert model.result_.loglik == pytest.approx(m.loglik, rel=1e-9)
    assert model.coef_ == pytest.approx(m.fixef.values[1:], rel=1e-6)
    assert model.predict(X, groups=g) == pytest.approx(m.predict(), rel=1e-6)
    assert model.predict(X) == pytest.approx(m.predict(re="population"), rel=1e-6)
    assert model.feature_names_in_.tolist() == ["a", "b c"]
    assert model.score(X, y, groups=g) > model.score(X, y)
    if not any(isinstance(each, str) for each in random) or isinstance(random, str):
        array = MixedRegressor(random=random).fit(X.to_numpy(), y, groups=list(g))
        assert array.coef_ == pytest.approx(model.coef_, rel=1e-9)
        assert not hasattr(array, "feature_names_in_")


def test_known_groups_have_their_modes_and_new_ones_the_population() -> None:
    data = mw.data.load("sleepstudy", "dict")
    X = np.asarray(data["Days"], dtype=float)[:, None]
    model = MixedRegressor(random="slopes").fit(X, data["Reaction"], groups=data["Subject"])
    rows, labels = [[3.0], [3.0], [3.0]], ["308", "new", None]
    known, new, missing = model.predict(rows, groups=labels)
    m = mw.lmer(FORMULA, data)
    assert known == pytest.approx(m.predict({"Days": [3], "Subject": ["308"]})[0], rel=1e-9)
    assert new == missing == pytest.approx(m.fixef["(Intercept)"] + 3 * m.fixef["Days"], rel=1e-9)
    strict = clone(model).set_params(unknown="error").fit(X, data["Reaction"], groups=data["Subject"])
    with pytest.raises(MixwellError, match="MW-P10"):
        strict.predict(rows[:2], groups=labels[:2])


def test_without_groups_it_is_the_linear_model(sleep: pd.DataFrame) -> None:
    from sklearn.linear_model import LinearRegression

    X, y, w = sleep[["Days"]], sleep["Reaction"], np.linspace(0.0, 2.0, 180)
    model = MixedRegressor(random=None).fit(X, y, sample_weight=w)
    other = LinearRegression().fit(X, y, w)
    assert not model.result_.is_mixed
    assert model.coef_ == pytest.approx(other.coef_, rel=1e-10)
    assert model.predict(X) == pytest.approx(other.predict(X), rel=1e-10)
    assert model.score(X, y, w) == pytest.approx(other.score(X, y, w), rel=1e-10)
    assert isinstance(model.intercept_, float)


def test_groups_that_never_arrive_are_missed(clusters: Any) -> None:
    """Cross-validation without routing keeps the groups to itself."""
    X, y, g = clusters
    with pytest.warns(MixwellWarning, match="MW-W22"):
        cross_val_score(MixedClassifier(), X, y, groups=g, cv=GroupKFold(2))


def test_sample_weights_are_prior_weights(sleep: pd.DataFrame) -> None:
    w = np.random.default_rng(5).uniform(0.5, 2.0, size=180)
    model = MixedRegressor(FORMULA, method="ML").fit(sleep, sample_weight=w)
    m = mw.lmer(FORMULA, sleep, weights=w, method="ML")
    assert model.result_.loglik == pytest.approx(m.loglik, rel=1e-12)
    assert model.coef_[0] == pytest.approx(m.fixef["Days"], rel=1e-12)


@pytest.mark.parametrize(
    "estimator",
    [
        MixedRegressor(random=None),
        MixedRegressor(family="gamma", link="log", random=None),
        MixedClassifier(random=None),
    ],
)
def test_whole_weights_are_repeated_rows(estimator: Any) -> None:
    rng = np.random.default_rng(2)
    X, w = rng.normal(size=(60, 2)), rng.integers(0, 4, size=60)
    y = np.exp(X[:, 0] + rng.normal(size=60))
    if isinstance(estimator, MixedClassifier):
        y = (y > 1.0).astype(int)
    original = w.copy()
    weighted = clone(estimator).fit(X, y, sample_weight=w)
    repeated = clone(estimator).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    assert weighted.predict(X) == pytest.approx(repeated.predict(X), rel=1e-6)
    assert weighted.coef_ == pytest.approx(repeated.coef_, rel=1e-6)
    assert (w == original).all()
    for wrong in (np.ones((60, 2)), np.ones(59), -np.ones(60)):
        with pytest.raises(ValueError, match=r"[Ww]eight"):
            clone(estimator).fit(X, y, sample_weight=wrong)


def test_other_families(clusters: Any) -> None:
    X, _, g = clusters
    y = np.random.default_rng(1).poisson(np.exp(0.5 * X[:, 0]))
    model = MixedRegressor(family="poisson").fit(X, y, groups=g)
    m = mw.glmer("y ~ x0 + x1 + (1 | g)", table(X, g, y=y), family="poisson")
    assert model.predict(X, groups=g) == pytest.approx(m.predict(), rel=1e-6)
    assert model.predict(X) == pytest.approx(m.predict(re="population"), rel=1e-6)
    with pytest.raises(MixwellError, match="MW-A158"):
        MixedRegressor(family="cumulative").fit(X, y, groups=g)


def test_a_classifier_is_glmer(clusters: Any) -> None:
    X, y, g = clusters
    model = MixedClassifier().fit(X, y, groups=g)
    m = mw.glmer("y ~ x0 + x1 + (1 | g)", table(X, g, y=(y == "yes") * 1))
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.coef_ == pytest.approx(m.fixef.values[None, 1:], rel=1e-5)
    assert model.intercept_ == pytest.approx(m.fixef.values[:1], rel=1e-5)
    p = m.predict()
    assert model.predict_proba(X, groups=g) == pytest.approx(np.column_stack([1 - p, p]), rel=1e-5)
    assert model.decision_function(X, groups=g) == pytest.approx(np.log(p / (1 - p)), rel=1e-4)
    assert (model.predict(X, groups=g) == np.where(p > 0.5, "yes", "no")).all()
    assert model.score(X, y, groups=g) == np.mean(np.where(p > 0.5, "yes", "no") == y)
    assert model.predict_proba(X)[:, 1] == pytest.approx(m.predict(re="population"), rel=1e-5)
    unseen = model.predict_proba(X, groups=["unseen"] * len(X))
    assert unseen == pytest.approx(model.predict_proba(X), rel=1e-12)
    assert not hasattr(MixedRegressor(), "predict_proba")
    assert not hasattr(MixedRegressor(), "decision_function")


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, dict])
def test_a_classifier_of_a_table(clusters: Any, library: Any) -> None:
    X, y, g = clusters
    columns = {name: list(values) for name, values in table(X, g, y=y).items()}
    by_formula = MixedClassifier("y ~ x0 + x1 + (1 | g)", nagq=5).fit(library(columns))
    other = MixedClassifier(nagq=5).fit(X, y, groups=g)
    assert by_formula.classes_.tolist() == ["no", "yes"]
    proba = by_formula.predict_proba(library(columns))
    assert proba == pytest.approx(other.predict_proba(X, groups=g), rel=1e-6)
    assert by_formula.score(library(columns)) == other.score(X, y, groups=g)


# --- cross-validation -----------------------------------------------------------------------------------


def r2(y: np.ndarray, predicted: np.ndarray) -> float:
    return float(1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2))


def labels_for(cv: Any, sleep: pd.DataFrame) -> Any:
    return sleep["Subject"] if isinstance(cv, GroupKFold) else None


def by_hand(sleep: pd.DataFrame, cv: Any, re: str) -> tuple[np.ndarray, list[float]]:
    """Out-of-fold predictions and scores with mw.lmer."""
    predicted, scores = np.empty(len(sleep)), []
    for train, test in cv.split(sleep, groups=labels_for(cv, sleep)):
        m, left = mw.lmer(FORMULA, sleep.iloc[train]), sleep.iloc[test]
        predicted[test] = m.predict(left, re=re)
        scores.append(r2(left["Reaction"].to_numpy(), predicted[test]))
    return predicted, scores


FOLDS = [
    (GroupKFold(6), "population"),  # each subject is left out as a whole
    (KFold(6, shuffle=True, random_state=4), "conditional"),  # each subject has rows in every fold
]


@pytest.mark.parametrize(("cv", "re"), FOLDS)
def test_cross_validation_with_a_formula(sleep: pd.DataFrame, cv: Any, re: str) -> None:
    predicted, scores = by_hand(sleep, cv, re)
    y, groups = sleep["Reaction"], labels_for(cv, sleep)
    model = MixedRegressor(FORMULA)
    assert cross_val_score(model, sleep, y, groups=groups, cv=cv) == pytest.approx(scores, rel=1e-9)
    assert cross_val_predict(model, sleep, y, groups=groups, cv=cv) == pytest.approx(predicted, rel=1e-9)
    errors = cross_val_score(model, sleep, y, groups=groups, cv=cv, scoring="neg_mean_squared_error")
    assert np.all(errors < 0)
    if isinstance(cv, KFold):  # the random effects are worth having
        assert np.mean(scores) > np.mean(by_hand(sleep, cv, "population")[1]) + 0.2
        in_table = cross_val_score(model, pl.from_pandas(sleep), None, cv=cv)
        assert in_table == pytest.approx(scores, rel=1e-9)


@pytest.mark.parametrize(("cv", "re"), FOLDS)
def test_cross_validation_of_a_classifier(clusters: Any, cv: Any, re: str) -> None:
    X, y, g = clusters
    data = pd.DataFrame(table(X, g, y=y, success=(y == "yes") * 1))
    proba = np.empty(len(data))
    groups = g if isinstance(cv, GroupKFold) else None
    for train, test in cv.split(data, groups=groups):
        m = mw.glmer("success ~ x0 + x1 + (1 | g)", data.iloc[train])
        proba[test] = m.predict(data.iloc[test], re=re)
    model = MixedClassifier("y ~ x0 + x1 + (1 | g)")
    found = cross_val_predict(model, data, y, groups=groups, cv=cv, method="predict_proba")
    assert found[:, 1] == pytest.approx(proba, rel=1e-6)
    out = cross_validate(
        model, data, y, groups=groups, cv=cv, scoring=["roc_auc", "neg_log_loss", "accuracy"]
    )
    assert np.mean(out["test_roc_auc"]) > 0.7
    assert np.mean((found[:, 1] > 0.5) == (y == "yes")) == np.mean((proba > 0.5) == (y == "yes"))


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize(("cv", "re"), FOLDS)
@pytest.mark.parametrize("asked", [True, False])
def test_cross_validation_with_groups_as_metadata(sleep: pd.DataFrame, cv: Any, re: str, asked: bool) -> None:
    X, y, g = sleep[["Days"]].to_numpy(dtype=float), sleep["Reaction"].to_numpy(), sleep["Subject"].to_numpy()
    model = MixedRegressor(random="slopes")
    if asked:  # which is what it does by itself
        model.set_fit_request(groups=True).set_predict_request(groups=True).set_score_request(groups=True)
    out = cross_validate(model, X, y, cv=cv, params={"groups": g}, return_estimator=True, return_indices=True)
    assert out["test_score"] == pytest.approx(by_hand(sleep, cv, re)[1], rel=1e-6)
    for fitted, test in zip(out["estimator"], out["indices"]["test"], strict=True):
        levels = set(fitted.result_.design.random[0].levels)
        if isinstance(cv, GroupKFold):
            assert levels == set(g) - set(g[test])
            population = fitted.intercept_ + X[test, 0] * fitted.coef_[0]
            assert fitted.predict(X[test], groups=g[test]) == pytest.approx(population, rel=1e-12)
        else:
            assert levels == set(g)


@pytest.mark.usefixtures("routing")
def test_routing_can_be_told_otherwise(sleep: pd.DataFrame) -> None:
    X, y, g = sleep[["Days"]].to_numpy(dtype=float), sleep["Reaction"], sleep["Subject"]
    cv, model = GroupKFold(6), MixedRegressor(random=None)
    model.set_fit_request(groups=False).set_score_request(groups=False)
    out = cross_validate(model, X, y, cv=cv, params={"groups": g}, return_estimator=True)
    assert not any(each.result_.is_mixed for each in out["estimator"])
    scores = cross_val_score(MixedRegressor(FORMULA), sleep, y, cv=cv, params={"groups": g})
    assert scores == pytest.approx(by_hand(sleep, cv, "population")[1], rel=1e-9)


@pytest.mark.usefixtures("routing")
def test_in_a_pipeline(clusters: Any) -> None:
    X, y, g = clusters
    pipe = make_pipeline(StandardScaler(), MixedClassifier()).fit(X, y, groups=g)
    alone = MixedClassifier().fit(StandardScaler().fit_transform(X), y, groups=g)
    scaled = StandardScaler().fit_transform(X)
    assert pipe.predict_proba(X, groups=g) == pytest.approx(alone.predict_proba(scaled, groups=g), rel=1e-9)
    assert (pipe.predict(X, groups=g) == alone.predict(scaled, groups=g)).all()
    assert pipe.score(X, y, groups=g) == alone.score(scaled, y, groups=g)


def test_a_search_over_formulas(sleep: pd.DataFrame) -> None:
    grid = {"formula": ["Reaction ~ 1 + (1 | Subject)", FORMULA]}
    search = GridSearchCV(MixedRegressor(), grid, cv=KFold(3, shuffle=True, random_state=0))
    search.fit(sleep, sleep["Reaction"])
    assert search.best_params_ == {"formula": FORMULA}
    assert search.best_estimator_.result_.loglik == pytest.approx(mw.lmer(FORMULA, sleep).loglik)


# --- conventions ----------------------------------------------------------------------------------------


def test_parameters_copies_and_pickles(sleep: pd.DataFrame) -> None:
    model = MixedRegressor(FORMULA, method="ML")
    assert clone(model).get_params() == model.get_params()
    assert repr(model) == f"MixedRegressor(formula={FORMULA!r}, method='ML')"
    with pytest.raises(NotFittedError):
        model.predict(sleep)
    model.fit(sleep)
    parsed = clone(MixedRegressor(model.result_.formula, method="ML")).fit(sleep)
    assert parsed.coef_ == pytest.approx(model.coef_, rel=1e-12)
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.predict(sleep) == model.predict(sleep)).all()
    assert copy.result_.certificate().passed
    assert not hasattr(clone(model), "result_")
    assert "MixedRegressor" in model._repr_html_()


def test_a_column_that_is_a_combination_of_others_has_coefficient_zero() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    X[:, 1], g = 2.0 * X[:, 0] - 1.0, np.repeat(np.arange(8), 5)
    X = pd.DataFrame(X, columns=["a b", "c d", "e"])
    y = X["a b"] + rng.normal(size=8)[g] + rng.normal(size=40)
    with pytest.warns(MixwellWarning, match="MW-C02"):
        model = MixedRegressor().fit(X, y, groups=g)
    assert model.coef_[1] == 0.0
    assert np.all(model.coef_[[0, 2]] != 0.0)
    assert model.result_.fixef.names == ("(Intercept)", "`a b`", "e")
    new = pd.DataFrame(rng.normal(size=(5, 3)), columns=X.columns)
    assert model.predict(new) == pytest.approx(model.intercept_ + new.to_numpy() @ model.coef_, rel=1e-12)


@pytest.mark.filterwarnings("ignore:MW-C02:mixwell.MixwellWarning")
def test_columns_without_variance() -> None:
    y = np.random.default_rng(0).normal(size=10)
    model = MixedRegressor(random=None).fit(np.ones((10, 2)), y)
    assert model.coef_.tolist() == [0.0, 0.0]
    assert model.predict([[1, 1], [5, 5]]) == pytest.approx([y.mean()] * 2)


@pytest.mark.parametrize("names", [["`", "b"], ["y", "groups"], ["(Intercept)", "1"], ["", "b"], [3, 4]])
def test_names_of_columns_that_are_hard_to_write(names: list[Any]) -> None:
    rng = np.random.default_rng(7)
    X, g = rng.normal(size=(60, 2)), np.repeat(np.arange(12), 5)
    y = X @ [1.0, 2.0] + rng.normal(size=12)[g] + rng.normal(size=60)
    expected = MixedRegressor(random="slopes").fit(X, y, groups=g)
    frame = pd.DataFrame(X)
    frame.columns = names
    model = MixedRegressor(random="slopes").fit(frame, y, groups=g)
    assert model.coef_ == pytest.approx(expected.coef_, rel=1e-9)
    assert model.predict(frame, groups=g) == pytest.approx(expected.predict(X, groups=g), rel=1e-9)


def test_what_is_refused(sleep: pd.DataFrame, clusters: Any) -> None:
    X, labels, g = clusters
    y = X[:, 0] + np.random.default_rng(0).normal(size=240)
    cases: list[tuple[str, Any, Any]] = [
        ("MW-A157", MixedRegressor("log(Reaction) ~ Days"), lambda m: m.fit(sleep)),
        ("MW-A158", MixedRegressor(FORMULA), lambda m: m.fit(sleep, groups=sleep["Subject"])),
        ("MW-A158", MixedRegressor(FORMULA, random="slopes"), lambda m: m.fit(sleep)),
        ("MW-A158", MixedRegressor(FORMULA), lambda m: m.fit(sleep).predict(sleep, groups=sleep["Subject"])),
        ("MW-A158", MixedRegressor(random="slopes"), lambda m: m.fit(X, y)),
        ("MW-A158", MixedRegressor(random=None), lambda m: m.fit(X, y).predict(X, groups=g)),
        ("MW-A158", MixedRegressor(random=None), lambda m: m.fit(X, y, groups=g)),
        ("MW-A159", MixedRegressor(random=["x9"]), lambda m: m.fit(X, y, groups=g)),
        ("MW-A159", MixedRegressor(random=[2]), lambda m: m.fit(X, y, groups=g)),
        ("MW-A02", MixedRegressor(random="slope"), lambda m: m.fit(X, y, groups=g)),
        ("MW-A02", MixedRegressor(unknown="mean"), lambda m: m.fit(X, y, groups=g)),
        ("MW-A160", MixedClassifier(random=None), lambda m: m.fit(X, g)),
        ("MW-A161", MixedClassifier(random=None), lambda m: m.fit(X, ["a"] * 240)),
        (
            "MW-A161",
            MixedClassifier(random=None),
            lambda m: m.fit(X, labels, sample_weight=(labels == "no") * 1.0),
        ),
        ("MW-D11", MixedRegressor(random=None), lambda m: m.fit(X, np.ones(240))),
        ("MW-N05", MixedRegressor(random=None), lambda m: m.fit(X[:3], y[:3])),
        ("MW-P02", MixedRegressor(FORMULA), lambda m: m.fit(sleep).predict(sleep[["Days"]])),
        ("MW-A01", MixedRegressor(random=None), lambda m: m.fit(X, y, group=g)),
    ]
    for code, estimator, action in cases:
        with pytest.raises(MixwellError, match=code):
            action(estimator)
    with pytest.raises(MixwellError, match="Did you mean 'formula'"):
        MixedRegressor(formla=FORMULA)  # type: ignore[call-arg]
    sklearn_like: list[tuple[str, Any]] = [
        ("inconsistent numbers of samples", lambda: MixedRegressor().fit(X, y, groups=g[1:])),
        ("inconsistent numbers of samples", lambda: MixedRegressor(FORMULA).fit(sleep, y)),
        ("contains NaN", lambda: MixedRegressor().fit(np.full((10, 1), np.nan), np.arange(10))),
        ("contains NaN", lambda: MixedRegressor().fit(X, np.where(X[:, 0] > 2, np.nan, y))),
        ("contains NaN", lambda: MixedRegressor(random=None).fit(X, y).predict([[np.nan, 1.0]])),
        ("minimum of 2 is required", lambda: MixedRegressor().fit(X[:1], y[:1])),
        ("expecting 2 features", lambda: MixedRegressor(random=None).fit(X, y).predict(X[:, :1])),
        ("Unknown label type", lambda: MixedClassifier().fit(X, y)),
        ("Only binary classification is supported. The type", lambda: MixedClassifier().fit(X, g)),
    ]
    for text, call in sklearn_like:
        with pytest.raises(ValueError, match=text):
            call()
    with pytest.warns(DataConversionWarning):
        MixedRegressor(random=None).fit(X, y[:, None])


def test_missing_values_of_a_table(sleep: pd.DataFrame) -> None:
    holes = sleep.copy()
    holes.iloc[3, holes.columns.get_loc("Days")] = np.nan
    with pytest.warns(MixwellWarning, match="MW-W01"):
        model = MixedRegressor(FORMULA).fit(holes)
    assert model.result_.nobs == 179
    assert np.isnan(model.predict(holes)).nonzero()[0].tolist() == [3]


def test_missing_responses_of_a_table(sleep: pd.DataFrame) -> None:
    holes = sleep.assign(
        y=(sleep["Reaction"] > 300).astype("Int64"), z=sleep["Reaction"].round().astype("Int64")
    )
    holes.iloc[[2, 5], [holes.columns.get_loc("y"), holes.columns.get_loc("z")]] = pd.NA
    with pytest.warns(MixwellWarning, match="MW-W01"):
        model = MixedRegressor("z ~ Days + (1 | Subject)").fit(holes)
    complete = MixedRegressor("z ~ Days + (1 | Subject)").fit(holes.dropna())
    assert model.coef_ == pytest.approx(complete.coef_, rel=1e-12)
    for labels in (holes["y"], holes["y"].map({0: "slow", 1: "fast"})):
        with pytest.raises(ValueError, match=r"Input( y)? contains NaN"):
            MixedClassifier("y ~ Days + (1 | Subject)").fit(holes.assign(y=labels))
    text = sleep.assign(z=sleep["Reaction"].astype(str))
    with pytest.raises(MixwellError, match="MW-D09"):
        MixedRegressor("z ~ Days").fit(text)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mixwell.sklearn")
    for name in [each for each in sys.modules if each.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MixwellError, match=r"MW-A156[^$]*pip install mixwell\[sklearn\]"):
        importlib.import_module("mixwell.sklearn")
