"""Marginal effects against brute force: predict every counterfactual row again, and differentiate by hand.

The oracle knows the coefficients, their covariance, the link, and X at any table. A column of X at new rows
is how predictions of least squares change when that column is added to the response. Everything else is its
own: links, averages, comparisons, derivatives, and the delta method with a Jacobian by central differences.
"""

from __future__ import annotations

import numpy as np
import pytest

import mixwell as mw

LINKS = {
    "identity": lambda eta: eta,
    "log": np.exp,
    "logit": lambda eta: 1 / (1 + np.exp(-eta)),
    "inverse": lambda eta: 1 / eta,
}
FORMULAS = {
    "lm_poly": ("y ~ poly(x, 2) * f + log(z) + b", {}),
    "lm_weights": ("y ~ ns(x, df = 3) + f * b + s + offset(z)", {"weights": "w"}),
    "lmer": ("y ~ x * f + I(x^2) + b + (x | g)", {}),
    "lmer_weights": ("y ~ x * s + log(z) + offset(2 * z) + (1 | g)", {"weights": "w"}),
    "logit": ("hit ~ x * f + b + poly(z, 2)", {"family": "binomial"}),
    "poisson": ("count ~ x * b + s + offset(log(z))", {"family": "poisson"}),
    "gamma": ("time ~ f + z + u", {"family": "gamma", "link": "inverse"}),
    "gamma_log": ("time ~ x * f", {"family": "gamma", "link": "log", "weights": "w"}),
    "glmer": ("hit ~ x * b + f + (1 | g)", {"family": "binomial"}),
    "glmer_offset": ("count ~ x * f + (1 | g)", {"family": "poisson", "offset": "o"}),
}


def data():
    rng = np.random.default_rng(17)
    n = 150
    x, z, g = rng.normal(size=n), rng.uniform(0.5, 3, n), np.repeat(np.arange(15), 10)
    f = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    b, s = rng.uniform(size=n) < 0.4, np.where(rng.uniform(size=n) < 0.5, "no", "yes")
    u = (rng.uniform(size=n) < 0.4).astype(float)
    own = rng.normal(0, 0.7, 15)[g]
    eta = 0.2 + 0.4 * x + 0.5 * (f == "b") - 0.4 * x * (f == "c") + 0.3 * b + own
    return {
        "y": eta + 0.2 * x**2 + rng.normal(size=n),
        "hit": (rng.uniform(size=n) < LINKS["logit"](eta)).astype(int),
        "count": rng.poisson(z * np.exp(0.5 * eta)),
        "time": rng.gamma(8, 1 / (8 * (1.5 + 0.3 * z + 0.5 * (f == "b") + 0.4 * u))),
        "x": x,
        "z": z,
        "o": np.log(z),
        "u": u,
        "f": f,
        "b": b,
        "s": s,
        "w": rng.uniform(0.5, 2, n),
        "g": g,
    }


DATA = data()
N = len(DATA["y"])


class Oracle:
    """A fit reduced to coefficients, covariance, link, and X and the offset at a table."""

    def __init__(self, m, formula, options):
        self.beta, self.vcov = m.fixef.values, m.vcov()
        self.mean = LINKS[m.family.link if "family" in options else "identity"]
        right = formula.split("~")[1].split(" + (")[0]
        self.offset = lambda table: np.zeros(len(table["x"]))
        if "offset(" in right:
            right, _, inside = right.partition(" + offset(")
            self.offset = {
                "z)": lambda t: t["z"],
                "2 * z)": lambda t: 2 * t["z"],
                "log(z))": lambda t: np.log(t["z"]),
            }[inside.strip()]
        if options.get("offset"):
            self.offset = lambda t: t["o"]
        base = mw.lm(f"y ~ {right}", DATA)
        X = base.model_matrix()
        self.base, self.columns = base, [base.refit(base.design.y + column) for column in X.T]

    def X(self, table):
        before = self.base.predict(table)
        return np.column_stack([column.predict(table) - before for column in self.columns])

    def rows(self, **changes):
        """Predictions of the rows with some columns changed, as a function of beta."""
        table = DATA | {k: v if np.ndim(v) else np.full(N, v) for k, v in changes.items()}
        X, offset = self.X(table), self.offset(table)
        return lambda beta: self.mean(X @ beta + offset)

    def check(self, found, value, *, rtol=1e-7, atol=1e-9):
        """Compare estimates and standard errors with a function of beta."""
        h = 1e-6 * np.maximum(np.abs(self.beta), 1.0)
        steps = np.diag(h)
        J = np.column_stack(
            [(value(self.beta + d) - value(self.beta - d)) / (2 * d[j]) for j, d in enumerate(steps)]
        )
        np.testing.assert_allclose(found.estimate, value(self.beta), rtol=rtol, atol=atol)
        se = np.sqrt(np.einsum("rp,pq,rq->r", J, self.vcov, J))
        np.testing.assert_allclose(found.se, se, rtol=max(50 * rtol, 1e-6), atol=1e-9)


@pytest.fixture(scope="module", params=FORMULAS)
def case(request):
    formula, options = FORMULAS[request.param]
    mixed, family = "|" in formula, "family" in options
    fit = {(0, 0): mw.lm, (1, 0): mw.lmer, (0, 1): mw.glm, (1, 1): mw.glmer}[mixed, family]
    m = fit(formula, DATA, **options)
    return m, Oracle(m, formula, options), formula


def average(values):
    return lambda beta: np.atleast_1d(np.mean(values(beta)))


def test_predictions(case):
    m, oracle, formula = case
    observed = oracle.rows()
    oracle.check(m.predictions(), observed)
    oracle.check(m.predictions(average=True), average(observed))
    w = DATA["w"]
    oracle.check(m.predictions(average=True, weights="w"), lambda b: np.atleast_1d(w @ observed(b) / w.sum()))
    groups = {"no": DATA["s"] == "no", "yes": DATA["s"] == "yes"}
    found = m.predictions(by="s")  # a column that the formula need not have
    assert found.labels["s"] == list(groups)
    oracle.check(found, lambda b: np.array([observed(b)[own].mean() for own in groups.values()]))
    variable, levels = ("f", ["c", "a"]) if " f" in formula else ("s", ["yes", "no"])
    parts = {level: oracle.rows(**{variable: level}) for level in levels}
    found = m.predictions(at={variable: levels}, by=variable)
    assert list(found.labels[variable]) == sorted(levels)
    oracle.check(found, lambda b: np.array([parts[level](b).mean() for level in sorted(levels)]))


COMPARISONS = {
    "difference": lambda b, a: a - b,
    "ratio": lambda b, a: a / b,
    "lnratio": lambda b, a: np.log(a / b),
    "lift": lambda b, a: (a - b) / b,
    "lnor": lambda b, a: np.log(a / (1 - a)) - np.log(b / (1 - b)),
}


@pytest.mark.parametrize("kind", COMPARISONS)
def test_comparisons(case, kind):
    m, oracle, formula = case
    link = m.family.link if hasattr(m, "family") else "identity"
    if (kind == "lnor" and link != "logit") or (kind in ("ratio", "lnratio", "lift") and link == "identity"):
        pytest.skip("not of this mean")
    own = COMPARISONS[kind]
    changes = {"x": (DATA["x"], DATA["x"] + 1.0)} if " x" in formula or "(x" in formula else {}
    changes |= {"f": ("a", "b")} if " f" in formula else {}
    changes |= {"b": (False, True)} if " b" in formula else {}
    changes |= {"s": ("no", "yes")} if " s" in formula else {}
    changes |= {"u": (0.0, 1.0)} if " u" in formula else {}
    assert changes
    for name, (before, after) in changes.items():
        lo, hi = oracle.rows(**{name: before}), oracle.rows(**{name: after})
        spec = {name: ("a", "b")} if name == "f" else name
        oracle.check(m.comparisons(spec, comparison=kind), lambda b, lo=lo, hi=hi: own(lo(b), hi(b)))
        found = m.comparisons(spec, comparison=kind, average=True)
        oracle.check(found, lambda b, lo=lo, hi=hi: np.atleast_1d(own(lo(b).mean(), hi(b).mean())))
        some = DATA["s"] == "yes"
        found = m.comparisons(spec, comparison=kind, by="s", weights="w")
        w = DATA["w"]

        def mean(values, k, some=some, w=w):
            keep = some if k else ~some
            return np.average(values[keep], weights=w[keep])

        oracle.check(
            found,
            lambda b, lo=lo, hi=hi: np.array([own(mean(lo(b), k), mean(hi(b), k)) for k in (0, 1)]),
        )


def test_slopes(case):
    m, oracle, formula = case
    name = "x" if "x" in formula else "z"
    x, h = DATA[name], 1e-3 * np.maximum(np.abs(DATA[name]), 0.1)
    moved = [oracle.rows(**{name: x + k * h}) for k in (-2, -1, 1, 2)]

    def slope(beta):
        a, b, c, d = (each(beta) for each in moved)
        return (a - 8 * b + 8 * c - d) / (12 * h)

    observed = oracle.rows()
    knots = "ns(" in formula  # the third derivative jumps there
    rtol, atol = (1e-4, 1e-6) if knots else (1e-6, 1e-8)
    if not knots:
        oracle.check(m.slopes(name), slope, rtol=rtol, atol=atol)
    oracle.check(m.slopes(name, average=True), average(slope), rtol=rtol, atol=atol)
    for kind, own in {
        "eyex": lambda b: slope(b) * x / observed(b),
        "eydx": lambda b: slope(b) / observed(b),
        "dyex": lambda b: slope(b) * x,
    }.items():
        if kind[1] == "y" and kind[0] == "e" and oracle.mean is LINKS["identity"]:
            continue  # means may be close to zero
        oracle.check(m.slopes(name, slope=kind, average=True), average(own), rtol=rtol, atol=atol)


def test_degrees_of_freedom():
    m = mw.lmer("y ~ x * f + b + (x | g)", DATA)
    # linear functions of the coefficients have those of the same hypothesis
    tested = m.test("bTRUE = 0").table()
    for found in (m.comparisons("b", average=True), m.explore("b[TRUE - FALSE]")):
        assert found.df[0] == pytest.approx(tested["df"][0], rel=1e-9)
        assert found.table()["p_value"][0] == pytest.approx(tested["p_value"][0], rel=1e-9)
    known = m.predict({"x": [0.5], "f": ["b"], "b": [True]}, re="population", interval="confidence")
    found = m.predictions({"x": [0.5], "f": ["b"], "b": [True]})
    assert found.interval()[0][0] == pytest.approx(known["lower"][0], rel=1e-9)
    assert m.emtrends("x").df[0] == pytest.approx(m.emmeans([]).table()["df"][0], rel=10)
    # others are normal, unless asked for
    assert np.isinf(m.comparisons("b", comparison="lift", average=True).df[0])
    assert np.isinf(m.slopes("x", slope="eyex", average=True).df[0])
    assert np.isfinite(m.comparisons("b", comparison="lift", average=True, ddf="satterthwaite").df[0])
    assert mw.lm("y ~ x", DATA).slopes("x", average=True).df[0] == N - 2
    gamma = mw.glm("time ~ f + z", DATA, family="gamma", link="log")
    assert np.isinf(gamma.comparisons("f", average=True).df).all()
    assert (gamma.comparisons("f", average=True, type="link").df == gamma.wald_df).all()
    new = {"f": ["a", "c"], "z": [1.0, 2.0]}
    known = gamma.predict(new, interval="confidence", level=0.9)
    found = gamma.predictions(new, level=0.9)
    np.testing.assert_allclose(found.interval(), [known["lower"], known["upper"]], rtol=1e-9)
    half = found.interval(0.5)[1] - found.interval(0.5)[0]
    assert (half < found.interval()[1] - found.interval()[0]).all()


def test_a_number_that_is_zero_or_one_changes_from_zero_to_one():
    m = mw.glm("hit ~ u * x", DATA, family="binomial")
    found = m.comparisons("u", average=True)
    assert found.labels["contrast"] == ["1 - 0"]
    a, b = (m.predict(DATA | {"u": np.full(N, k)}).mean() for k in (0.0, 1.0))
    assert found.estimate[0] == pytest.approx(b - a, rel=1e-12)
    assert m.slopes("u", average=True).estimate[0] == pytest.approx(b - a, rel=1e-12)
    assert m.comparisons({"u": 1}, average=True).labels["contrast"] == ["+1"]
    assert m.slopes("u", slope="dyex", average=True).labels["contrast"] == ["dY/eX"]


def test_grids_are_those_of_marginal_means():
    # two values are averaged with equal weights, and the mean offset is that of the fit
    m = mw.glm("count ~ x * u + f + offset(log(z))", DATA, family="poisson")
    np.testing.assert_allclose(m.explore("f").estimate, m.emmeans("f").table()["emmean"], rtol=1e-12)
    np.testing.assert_allclose(m.explore("f").se, m.emmeans("f").table()["std_error"], rtol=1e-10)
    at = m.emmeans("f", at={"z": 1.0}).table()["emmean"]
    np.testing.assert_allclose(m.explore("f ~ z@1").estimate, at, rtol=1e-12)
    slope = m.fixef["x"] + 0.5 * m.fixef["x:u"]
    assert m.emtrends("x").estimate[0] == pytest.approx(slope, rel=1e-9)
    assert m.explore("x").estimate[0] == pytest.approx(slope, rel=1e-9)
    assert m.emtrends("x", by="u").labels["u"].tolist() == [0.0, 1.0]
    pairs = m.contrast("f", adjust="tukey").table()
    found = m.explore("f[pairwise]", adjust="tukey").table()
    for ours, theirs in (("estimate", "estimate"), ("p_value", "p_value"), ("lower", "lower")):
        np.testing.assert_allclose(found[ours], pairs[theirs], rtol=1e-9)


def test_what_cannot_be_estimated_is_nan_and_said():
    table = DATA | {"x2": 2 * DATA["x"]}
    with pytest.warns(mw.MixwellWarning, match="MW-C02"):
        m = mw.lm("y ~ x + x2 + f", table)
    with pytest.warns(mw.MixwellWarning, match="MW-P13"):
        away = m.predictions({"x": [0.0], "x2": [1.0], "f": ["a"]})
    assert np.isnan(
        [away.estimate[0], away.se[0], away.df[0], away.interval()[0][0], away.vcov()[0, 0]]
    ).all()
    assert "not estimable" in repr(away)
    slope = m.slopes("x", average=True)
    assert np.isnan(slope.estimate[0])
    assert "nan" not in repr(slope)
    known = mw.lm("y ~ x + f", table)
    for found, expected in (
        (m.comparisons("f", average=True), known.comparisons("f", average=True)),
        (m.predictions(average=True), known.predictions(average=True)),
        (m.explore("f[pairwise]"), known.explore("f[pairwise]")),
    ):
        np.testing.assert_allclose(found.estimate, expected.estimate, rtol=1e-9)
        np.testing.assert_allclose(found.se, expected.se, rtol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1e4, 1e6])
@pytest.mark.filterwarnings("ignore:MW-")
def test_estimability_does_not_depend_on_where_zero_is(shift):
    x = DATA["x"] + shift
    m = mw.lm("y ~ x + x2 + f", DATA | {"x": x, "x2": 2 * DATA["x"] + shift})
    known = mw.lm("y ~ x + f", DATA | {"x": x})
    assert np.isnan(m.slopes("x").estimate).all()
    assert np.isnan(m.slopes("x2", average=True).estimate).all()
    assert np.isnan(m.comparisons({"x": 1}).estimate).all()
    assert np.isnan(m.emtrends("x").estimate).all()
    # a difference that does not need the dropped column is known even where predictions are not
    for found in (
        m.comparisons("f", newdata="mean", at={"x": shift + 5}),
        m.explore(f"f[b - a, c - a] ~ x@{shift + 5}"),
    ):
        expected = known.comparisons("f", average=True)
        np.testing.assert_allclose(found.estimate, expected.estimate, rtol=1e-6)
        np.testing.assert_allclose(found.se, expected.se, rtol=1e-6)
    assert np.isnan(m.explore(f"f ~ x@{shift + 5}").estimate).all()
    assert np.isnan(m.explore(f"x[{shift + 1} - {shift}]").estimate).all()
    # columns that move together are known
    together = mw.lm("y ~ x + I(2 * x - 1) + f", DATA | {"x": x})
    for found, expected in (
        (together.slopes("x"), known.slopes("x")),
        (together.comparisons({"x": 1}), known.comparisons({"x": 1})),
        (together.predictions(), known.predictions()),
        (together.emtrends("x"), known.emtrends("x")),
    ):
        np.testing.assert_allclose(found.estimate, expected.estimate, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:MW-")
@pytest.mark.parametrize("seed", range(6))
def test_estimable_is_what_lies_in_the_row_space(seed):
    """Empty cells: rows of X in full dummy coding decide, and the smallest solution estimates."""
    rng = np.random.default_rng(seed)
    a, b, c = (np.array(list("abcd"))[rng.integers(0, k, 14)] for k in (3, 3, 2))
    y = rng.normal(size=14)
    m = mw.lm("y ~ a * b + c", {"y": y, "a": a, "b": b, "c": c})
    levels = [sorted(set(each)) for each in (a, b, c)]

    def dummies(*own):
        i, j, k = ([value == level for level in known] for value, known in zip(own, levels, strict=True))
        return np.concatenate([[1.0], i, j, np.outer(i, j).ravel(), k])

    X = np.array([dummies(*row) for row in zip(a, b, c, strict=True)])
    inverse = np.linalg.pinv(X)

    def expect(row):
        inside = np.allclose(row @ inverse @ X, row, atol=1e-9)
        return row @ inverse @ y if inside else np.nan

    def mean(i, j):
        return np.mean([dummies(i, j, k) for k in levels[2]], axis=0)

    pairs = [(i, j) for n, i in enumerate(levels[0]) for j in levels[0][n + 1 :]]
    each = [expect(mean(i, k) - mean(j, k)) for i, j in pairs for k in levels[1]]
    np.testing.assert_allclose(m.explore("a[pairwise] ~ b").estimate, each, atol=1e-8)
    overall = [expect(np.mean([mean(i, k) - mean(j, k) for k in levels[1]], axis=0)) for i, j in pairs]
    np.testing.assert_allclose(m.explore("a[pairwise]").estimate, overall, atol=1e-8)
    cells = [expect(mean(i, j)) for i in levels[0] for j in levels[1]]
    np.testing.assert_allclose(m.explore("a:b").estimate, cells, atol=1e-8)
    assert np.isfinite(m.explore("c[pairwise]").estimate).all()
    units = [
        expect(dummies(levels[0][1], j, k) - dummies(levels[0][0], j, k)) for j, k in zip(b, c, strict=True)
    ]
    found = m.comparisons({"a": tuple(levels[0][:2])})
    np.testing.assert_allclose(found.estimate, units, atol=1e-8)


def test_rows_are_labelled_with_what_was_set():
    m = mw.lmer("y ~ x + (1 | g)", DATA)
    found = m.predictions("mean", at={"g": [3, 4]}, re="conditional")
    assert found.labels["g"].tolist() == [3, 4]
    assert "g" in m.predictions(re="conditional").labels
    assert "log(time)" in repr(mw.lm("log(time) ~ x", DATA).predictions("mean"))
    for call, code in (
        (lambda: m.predictions(by=True), "MW-A07"),
        (lambda: m.predictions(average=True, weights="ww"), "weights names 'ww'"),
        (lambda: m.emtrends("x", level=95), "MW-A49"),
    ):
        with pytest.raises(mw.MixwellError, match=code):
            call()


def hessian(f, x, h=1e-4):
    steps = np.eye(x.size) * h
    return np.array(
        [
            [(f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)) / (4 * h * h) for b in steps]
            for a in steps
        ]
    )


def delta(value, at, vcov, h=1e-6):
    J = np.column_stack([(value(at + d) - value(at - d)) / (2 * h) for d in np.eye(at.size) * h])
    return np.sqrt(np.einsum("rp,pq,rq->r", J, vcov, J))


def test_ordinal_models_from_the_likelihood():
    """Probabilities, their covariance and everything on top, from a likelihood written out here."""
    y = np.digitize(DATA["y"], [0.0, 1.2])
    m = mw.glm("y ~ x * b", DATA | {"y": y}, family="ordinal")
    x, b = DATA["x"], DATA["b"].astype(float)

    def design(x, b):
        return np.column_stack([x, b, x * b])

    def probabilities(p, X):
        below = LINKS["logit"](p[:2][None, :] - (X @ p[2:])[:, None])
        edges = np.column_stack([np.zeros(N), below, np.ones(N)])
        return np.diff(edges, axis=1)

    def loss(p):
        return -np.log(probabilities(p, design(x, b))[np.arange(N), y]).sum()

    p = np.concatenate([m.thresholds.values, m.fixef.values])
    gradient = [(loss(p + d) - loss(p - d)) / 2e-6 for d in np.eye(5) * 1e-6]
    np.testing.assert_allclose(gradient, 0.0, atol=1e-4)
    vcov = np.linalg.inv(hessian(loss, p))
    h = 1e-4

    def change(p):
        return (probabilities(p, design(x, 1.0 + 0 * b)) - probabilities(p, design(x, 0 * b))).mean(axis=0)

    def slope(p):
        up, down = (probabilities(p, design(x + s * h, b)) for s in (1, -1))
        return ((up - down) / (2 * h)).mean(axis=0)

    for found, value in ((m.comparisons("b", average=True), change), (m.slopes("x", average=True), slope)):
        np.testing.assert_allclose(found.estimate, value(p), rtol=1e-6)
        np.testing.assert_allclose(found.se, delta(value, p, vcov), rtol=1e-4)
        assert np.isinf(found.df).all()


def test_extra_zeros_from_the_likelihood():
    from scipy.special import gammaln

    rng = np.random.default_rng(4)
    y = rng.poisson(np.exp(0.8 + 0.4 * DATA["x"])) * (rng.uniform(size=N) < 0.7)
    m = mw.glm("y ~ x + b", DATA | {"y": y}, family="poisson", ziformula="~ x")
    x, b = DATA["x"], DATA["b"].astype(float)

    def parts(p, x, b):
        return np.exp(p[0] + p[1] * x + p[2] * b), LINKS["logit"](p[3] + p[4] * x)

    def loss(p):
        mean, zero = parts(p, x, b)
        positive = np.log(1 - zero) - mean + y * np.log(mean) - gammaln(y + 1)
        return -np.where(y == 0, np.log(zero + (1 - zero) * np.exp(-mean)), positive).sum()

    p = np.concatenate([m.fixef.values, m.zi_fixef.values])
    vcov = np.linalg.inv(hessian(loss, p))
    h = 1e-4

    def mean(p, x, b):
        mean, zero = parts(p, x, b)
        return (1 - zero) * mean

    for found, value in (
        (
            m.predictions(by="s"),
            lambda p: np.array([mean(p, x, b)[DATA["s"] == k].mean() for k in ("no", "yes")]),
        ),
        (m.comparisons("b", average=True), lambda p: np.atleast_1d((mean(p, x, 1) - mean(p, x, 0)).mean())),
        (m.slopes("x"), lambda p: (mean(p, x + h, b) - mean(p, x - h, b)) / (2 * h)),
        (m.slopes("x", type="zprob"), lambda p: (parts(p, x + h, b)[1] - parts(p, x - h, b)[1]) / (2 * h)),
        (
            m.comparisons({"x": 1}, comparison="lnratio", average=True),
            lambda p: np.atleast_1d(np.log(mean(p, x + 1, b).mean() / mean(p, x, b).mean())),
        ),
    ):
        np.testing.assert_allclose(found.estimate, value(p), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(found.se, delta(value, p, vcov), rtol=2e-3)
