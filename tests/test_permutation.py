"""Permutation tests: what is exchanged, exactness in small cases, and that true nulls are rejected at 5 %."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

import mixwell as mw
from mixwell.resampling import exchange, permutation, simulate

Array = Any


def groups(sizes: list[int]) -> Array:
    return np.repeat(np.arange(len(sizes)), sizes)


UNBALANCED = groups([3, 9, 4, 7, 5, 11, 2, 6, 8, 4, 5, 10])
LEVELS = np.arange(12)


def data(seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    n = UNBALANCED.size
    return {
        "y": rng.standard_normal(12)[UNBALANCED] + rng.standard_normal(n),
        "within": rng.standard_normal(n) + 0.5 * rng.standard_normal(12)[UNBALANCED],
        "between": rng.standard_normal(12)[UNBALANCED],
        "arm": np.array(["a", "b", "c"])[LEVELS % 3][UNBALANCED],
        "site": np.array(["s", "t"])[LEVELS // 6][UNBALANCED],
        "g": np.array([f"g{code:02d}" for code in UNBALANCED]),
    }


def exchange_for(m: mw.FittedModel, term: str) -> Any:
    """What the public function builds before it permutes."""
    seen: list[Any] = []
    original = permutation.exchange_of

    def spy(*arguments: Any) -> Any:
        seen.append(original(*arguments))
        return seen[0]

    permutation.exchange_of = spy
    try:
        m.permutation_test(term, 1, seed=1)
    finally:
        permutation.exchange_of = original
    return seen[0]


# --- the statistic ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["within", "between", "arm"])
@pytest.mark.parametrize("formula", ["y ~ within + between + arm + (1 | g)", "y ~ within + between + arm"])
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_the_statistic_is_the_score_form_of_f(term: str, formula: str, method: Any) -> None:
    table = data()
    weights = np.random.default_rng(0).uniform(0.5, 2, UNBALANCED.size)
    offset = np.arange(UNBALANCED.size) / 7
    m = mw.fit(formula, table, method=method, weights=weights, offset=offset)
    null = m.update(f"~ . - {term}")
    y = m.design.y - offset
    v = np.diag(1 / weights)
    if null.is_mixed:
        v += null.theta[0] ** 2 * (UNBALANCED[:, None] == UNBALANCED)
    inverse = np.linalg.inv(v)
    x0 = null.model_matrix()
    p = inverse - inverse @ x0 @ np.linalg.solve(x0.T @ inverse @ x0, x0.T @ inverse)
    at = [j for j, name in enumerate(m.fixef.names) if name not in null.fixef.names]
    x = m.model_matrix()[:, at]
    u = x.T @ p @ y
    expected = u @ np.linalg.solve(x.T @ p @ x, u) / (len(at) * null.sigma**2)
    test = m.permutation_test(term, 20, seed=1)
    assert test.statistic == pytest.approx(expected, rel=1e-7)
    # And of any permuted predictor, the same.
    shuffles = exchange_for(m, term)
    order = simulate.shuffled(np.random.default_rng(5), 3, shuffles.blocks)
    for row, value in zip(order, shuffles._statistics(order), strict=True):
        moved = (shuffles.stay + shuffles.move[row])[shuffles.unit]
        u = moved.T @ p @ y
        expected = u @ np.linalg.solve(moved.T @ p @ moved, u) / (len(at) * null.sigma**2)
        assert value == pytest.approx(expected, rel=1e-6)


def test_flipped_statistics_are_those_of_flipped_scores() -> None:
    m = mw.lmer("y ~ within + between + (within | g)", data())
    flips = exchange_for(m, "within")
    null_vcov = flips.vcov
    rng = np.random.default_rng(2)
    # The null model: the same random effects, without the fixed column.
    signs = rng.choice([-1.0, 1.0], (4, 12))
    null = m.update("~ . - within")
    assert [str(term) for term in null.formula.random] == [str(term) for term in m.formula.random]
    z = m.model_matrix("random").toarray()
    factor = np.kron(np.eye(12), null.lambdas[0])
    inverse = np.linalg.inv(np.eye(UNBALANCED.size) + z @ factor @ factor.T @ z.T)
    x0, x = null.model_matrix(), m.model_matrix()[:, 1]
    covariance = np.linalg.inv(x0.T @ inverse @ x0)
    np.testing.assert_allclose(null_vcov, covariance, rtol=1e-6)
    left = x - x0 @ covariance @ x0.T @ inverse @ x
    weighted = inverse @ left
    residual = m.design.y - x0 @ covariance @ x0.T @ inverse @ m.design.y
    for sign, value in zip(signs, flips._statistics(signs), strict=True):
        rows = sign[m.design.random[0].codes]
        u = np.sum(rows * left * (inverse @ residual))
        a = x0.T @ (rows * weighted)
        size = left @ weighted - a @ covariance @ a
        assert value == pytest.approx(u**2 / size / null.sigma**2, rel=1e-5)
    assert flips.observed() == pytest.approx(m.permutation_test("within", 5, seed=1).statistic)


def test_a_small_case_is_the_exact_permutation_distribution() -> None:
    """Six clusters of two rows, a two-armed trial: the p-value tends to that of all 20 allocations."""
    g = groups([2] * 6)
    rng = np.random.default_rng(3)
    arm = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    y = rng.standard_normal(6)[g] + 1.2 * arm[g] + 0.3 * rng.standard_normal(12)
    m = mw.lmer("y ~ arm + (1 | g)", {"y": y, "arm": arm[g], "g": g.astype(str)})
    means = np.array([y[g == j].mean() for j in range(6)])

    def difference(labels: Array) -> float:
        return abs(means[labels == 1].mean() - means[labels == 0].mean())

    observed = difference(arm)
    allocations = set(permutations(arm))
    exact = np.mean([difference(np.array(labels)) >= observed - 1e-12 for labels in allocations])
    test = m.permutation_test("arm", 20_000, seed=1)
    assert test.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_few_clusters_have_few_signs() -> None:
    g = groups([6] * 5)
    rng = np.random.default_rng(3)
    x = np.tile(np.arange(6.0), 5)
    y = (1.5 + rng.standard_normal(5) * 0.2)[g] * x + rng.standard_normal(30)
    m = mw.lmer("y ~ x + (0 + x | g)", {"y": y, "x": x, "g": g.astype(str)})
    test = m.permutation_test("x", 4000, seed=1)
    distinct = {tuple(s) for s in product([-1, 1], repeat=5)}
    assert len(np.unique(test.replicates.round(8))) <= len(distinct) / 2
    assert test.p_value == pytest.approx(2 / 32, abs=0.02)  # the data as they are, and their mirror image


# --- what is exchanged ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "term", "text"),
    [
        ("y ~ between + (1 | g)", "between", "between among whole levels of 'g' (12)."),
        ("y ~ within + (1 | g)", "within", "within among rows, within each level of 'g'."),
        (
            "y ~ within + arm + (1 | g)",
            "arm",
            "arm, less what the other fixed effects explain of it, among whole levels of 'g' (12).",
        ),
        (
            "y ~ between + (1 | site/g)",
            "between",
            "between among whole levels of 'site:g' (12), within each level of 'site'.",
        ),
        ("y ~ within", "within", "within among rows."),
        (
            "y ~ within + (within | g)",
            "within",
            "Signs of whole levels of 'g' (12): the effect of within varies over them, "
            "so only they are exchangeable.",
        ),
        ("y ~ between + (1 | g)", "(1 | g)", "residuals of the model without the term among rows."),
        (
            "y ~ between + (1 | g) + (1 | arm)",
            "arm",
            "residuals of the model without the term among rows, and its predicted effects among levels of "
            "'g'; both rescaled to their variances.",
        ),
    ],
)
def test_it_says_what_is_exchanged(formula: str, term: str, text: str) -> None:
    test = mw.fit(formula, data()).permutation_test(term, 30, seed=1)
    assert test.permuted == text
    assert 1 / 31 <= test.p_value <= 1


def test_units_stay_in_their_blocks() -> None:
    rng = np.random.default_rng(0)
    blocks = np.array([2, 0, 1, 0, 2, 2, 1, 0])
    order = simulate.shuffled(rng, 500, blocks)
    assert (np.sort(order, axis=1) == np.arange(8)).all()
    assert (blocks[order] == blocks).all()
    counts = np.bincount(order[:, 1], minlength=8)  # position 1 receives 1, 3 and 7 alike
    assert counts[[1, 3, 7]].min() > 120
    m = mw.lmer("y ~ between + (1 | g)", data())
    test = m.permutation_test("between", 50, seed=1, within="site")
    assert test.permuted.endswith("within each level of 'site'.")
    random = m.permutation_test("g", 20, seed=1, within="site")
    assert random.permuted.endswith("within each level of 'site'.")


def test_a_random_term_has_several_names() -> None:
    m = mw.lmer("y ~ within + (within | g)", data())
    by = [
        m.permutation_test(name, 10, seed=1)
        for name in ("(within | g)", "(within|g)", "(1 + within | g)", "g")
    ]
    assert len({test.statistic for test in by}) == 1
    assert {test.term for test in by} == {"(within | g)"}
    assert by[0].statistic == pytest.approx(
        m.update("~ . - (within | g)").problem.criterion(np.empty(0), True) - m.reml_criterion, abs=1e-6
    )


def test_the_seed_is_all_that_matters() -> None:
    m = mw.lmer("y ~ within + between + (1 | g)", data())
    for term in ("within", "between", "(1 | g)"):
        long, short = (m.permutation_test(term, n, seed=3) for n in (150, 100))
        np.testing.assert_array_equal(long.replicates[:100], short.replicates)
        assert (m.permutation_test(term, 100, seed=4).replicates != short.replicates).any()
        drawn = m.permutation_test(term, 20)
        np.testing.assert_array_equal(
            m.permutation_test(term, 20, seed=drawn.seed).replicates, drawn.replicates
        )


def test_it_prints_and_tabulates() -> None:
    pandas = pytest.importorskip("pandas")
    test = mw.lmer("y ~ between + (1 | g)", pandas.DataFrame(data())).permutation_test("between", 99, seed=1)
    assert repr(test).startswith("Permutation test of between\n")
    assert "Permuted: between among whole levels of 'g' (12)." in repr(test)
    assert "between" in test._repr_html_()
    assert list(test.table().columns) == ["term", "statistic", "n", "p_value", "mc_error"]
    assert test.table()["p_value"][0] == test.p_value
    count = int(np.sum(test.replicates >= test.statistic))
    assert test.p_value == (1 + count) / 100


def crossed() -> dict[str, Any]:
    rng = np.random.default_rng(6)
    subject, item = np.repeat(np.arange(10), 8), np.tile(np.arange(8), 10)
    return {
        "y": rng.standard_normal(80),
        "c": (subject + item) % 2 * 1.0,
        "subject": np.array([f"s{i}" for i in subject]),
        "item": np.array([f"i{i}" for i in item]),
    }


@pytest.mark.parametrize(
    ("code", "formula", "term", "options"),
    [
        ("MW-A58", "y ~ within + (1 | g)", "withn", {}),
        ("MW-A58", "y ~ within + (1 | g)", 3, {}),
        ("MW-A58", "y ~ within + (1 | g) + (0 + within | g)", "g", {}),  # two terms of that name
        ("MW-A59", "y ~ within * between + (1 | g)", "within", {}),
        (
            "MW-A60",
            "y ~ between + (between | g)",
            "between",
            {"within": "g"},
        ),  # nothing to permute in a cluster
        ("MW-A60", "y ~ within + (within | g)", "within", {"within": "site"}),
        ("MW-A60", "y ~ between + (1 | g)", "between", {"within": "within"}),
        ("MW-A54", "y ~ within + (1 | g)", "within", {"within": "sight"}),
        ("MW-A07", "y ~ within + (1 | g)", "within", {"n": 0}),
        ("MW-A07", "y ~ within + (1 | g)", "within", {"seed": 0.5}),
        ("MW-A01", "y ~ within + (1 | g)", "within", {"permutations": 5}),
    ],
)
def test_what_cannot_be_tested_is_refused(
    code: str, formula: str, term: Any, options: dict[str, Any]
) -> None:
    m = mw.lmer(formula, data())
    with pytest.raises(mw.MixwellError, match=code):
        m.permutation_test(term, **{"n": 5, **options})


def test_slopes_over_crossed_factors_are_refused() -> None:
    table = crossed()
    m = mw.lmer("y ~ c + (c | subject) + (1 | item)", table)
    with pytest.raises(mw.MixwellError, match=r"MW-A60.*crossed") as refused:
        m.permutation_test("c", 5)
    assert "kenward-roger" in refused.value.hint
    # Without slopes it is permuted within subjects.
    test = mw.lmer("y ~ c + (1 | subject) + (1 | item)", table).permutation_test("c", 5, seed=1)
    assert test.permuted == "c among rows, within each level of 'subject'."


def test_a_confounded_term_is_refused() -> None:
    table = data()
    table["twice"] = 2 * table["between"]
    with pytest.warns(mw.MixwellWarning, match="MW-C02"):
        m = mw.lmer("y ~ between + twice + (1 | g)", table)
    with pytest.raises(mw.MixwellError, match="MW-A60"):
        m.permutation_test("twice", 5)
    # Constant within sites: nothing to move inside them.
    table["site_effect"] = (table["site"] == "s") * 1.0
    m = mw.lmer("y ~ site_effect + (1 | g)", table)
    with pytest.raises(mw.MixwellError, match=r"MW-A60.*within levels of 'site'"):
        m.permutation_test("site_effect", 5, within="site")


# --- level and power --------------------------------------------------------------------------------------

STUDIES = 300


def rejections(formula: str, table: dict[str, Any], draw: Callable[[], Array], term: str) -> float:
    base = mw.lmer(formula, {**table, "y": draw()})
    tests = (base.refit(draw()).permutation_test(term, 99, seed=study) for study in range(STUDIES))
    return float(np.mean([test.p_value <= 0.05 for test in tests]))


def is_nominal(share: float) -> bool:
    """Whether a share of rejections is within three Monte-Carlo standard errors of 5 %."""
    return abs(share - 0.05) <= 3 * np.sqrt(0.05 * 0.95 / STUDIES)


@pytest.mark.parametrize(
    ("formula", "term", "slope"),
    [
        ("y ~ within + between + (1 | g)", "between", 0.0),  # unbalanced clusters, a covariate within them
        ("y ~ within + arm + (1 | g)", "arm", 0.0),
        ("y ~ within + between + (1 | g)", "within", 0.0),
        ("y ~ within + between + (within | g)", "within", 1.0),
    ],
)
def test_true_nulls_of_fixed_terms_are_rejected_at_the_level(formula: str, term: str, slope: float) -> None:
    rng, table = np.random.default_rng(7), data()
    effect = {"between": "within", "arm": "within", "within": "between"}[term]

    def draw() -> Array:
        level = (
            rng.standard_normal(12)[UNBALANCED]
            + slope * rng.standard_normal(12)[UNBALANCED] * table["within"]
        )
        return level + 0.7 * table[effect] + rng.standard_normal(UNBALANCED.size)

    assert is_nominal(rejections(formula, table, draw, term))


def test_true_nulls_are_rejected_at_the_level_with_crossed_factors() -> None:
    rng, table = np.random.default_rng(8), crossed()
    table["kind"] = np.array([0.0, 1.0])[np.tile(np.arange(8), 10) % 2]
    subject, item = np.repeat(np.arange(10), 8), np.tile(np.arange(8), 10)

    def draw() -> Array:
        return rng.standard_normal(10)[subject] + rng.standard_normal(8)[item] + rng.standard_normal(80)

    assert is_nominal(rejections("y ~ kind + (1 | subject) + (1 | item)", table, draw, "kind"))
    assert is_nominal(rejections("y ~ c + (1 | subject) + (1 | item)", table, draw, "c"))


@pytest.mark.parametrize("formula", ["y ~ between + (1 | g)", "y ~ within + (1 | site) + (1 | g)"])
def test_true_nulls_of_random_terms_are_rejected_at_the_level(formula: str) -> None:
    rng, table = np.random.default_rng(9), data()
    table["site"] = np.array([f"s{level // 2}" for level in LEVELS])[UNBALANCED]

    def draw() -> Array:
        return rng.standard_normal(6)[UNBALANCED // 2] * ("site" in formula) + rng.standard_normal(
            UNBALANCED.size
        )

    assert is_nominal(rejections(formula, table, draw, "g"))


def test_real_effects_are_found() -> None:
    rng, table = np.random.default_rng(10), data()
    table["y"] = table["y"] + 2.5 * table["between"] + 1.0 * table["within"]
    m = mw.lmer("y ~ within + between + (1 | g)", table)
    for term in ("within", "between"):
        assert m.permutation_test(term, 499, seed=1).p_value < 0.02
    table["y"] = table["y"] + 2 * rng.standard_normal(12)[UNBALANCED]
    assert mw.lmer("y ~ within + (1 | g)", table).permutation_test("g", 199, seed=1).p_value == 1 / 200


def test_directions_without_information_count_nothing() -> None:
    u = np.array([[1.0, 0.0], [2.0, 2.0]])
    information = np.array([np.diag([4.0, 0.0]), np.full((2, 2), 2.0)])
    np.testing.assert_allclose(exchange.quadratic(u, information), [0.25, 2.0])
    np.testing.assert_allclose(exchange.quadratic(u[:, :1], information[:, :1, :1] * 0), 0)
