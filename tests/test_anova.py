"""anova() and test(): hypotheses, their properties, lmerTest's and car's tables, texts that are refused."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

import mixwell as mw
from mixwell import MixwellError
from mixwell.inference.statements import read_statement

REFERENCE = json.loads((Path(__file__).parent / "reference" / "anova.json").read_text())
CODINGS = ("treatment", "sum", "helmert", "poly", "diff")
SINGLE = "ignore:[\\s\\S]*MW-C0[123]"


def tables(name: str) -> pd.DataFrame:
    return pd.DataFrame(REFERENCE["data"][name])


@cache
def unbalanced() -> pd.DataFrame:
    return tables("full")


def numbers(values: Any) -> NDArray[np.float64]:
    return np.array([np.nan if value in (None, "NA") else value for value in values], dtype=float)


def refused(code: str, *fragments: str) -> Any:
    pattern = f"^{code}  " + "".join(f"(?=[\\s\\S]*{re.escape(fragment)})" for fragment in fragments)
    return pytest.raises(MixwellError, match=pattern)


def same_space(one: Any, two: Any) -> bool:
    if one.shape != two.shape:
        return False
    if not len(one):
        return True
    scale = np.max(np.abs(np.vstack([one, two])), axis=0)
    there = scale > 1e-6 * scale.max()  # lmerTest rounds L to seven digits
    one, two = one[:, there] / scale[there], two[:, there] / scale[there]
    a, b = np.linalg.qr(one.T)[0], np.linalg.qr(two.T)[0]
    return bool(np.linalg.norm(a - b @ (b.T @ a)) < 1e-6)


# --- lmerTest and car -------------------------------------------------------------------------------------


def fitted(case: dict[str, Any]) -> Any:
    options = {key: case[key] for key in ("weights", "contrasts") if case.get(key)}
    return mw.fit(case["formula"], tables(case["data"]), **options)


@pytest.mark.filterwarnings(SINGLE)
@pytest.mark.parametrize("type_", [1, 2, 3])
@pytest.mark.parametrize("case", REFERENCE["mixed"], ids=lambda c: f"{c['data']}: {c['formula']}")
def test_lmertest(case: dict[str, Any], type_: int) -> None:
    m = fitted(case)
    assert list(m.fixef.names) == case["names"]
    mine, theirs = m.anova(type_), case["types"][str(type_)]
    table = mine.table()
    assert list(table["term"]) == theirs["term"]
    if case["formula"].startswith("y ~ a + a:b") and type_ > 1:
        return  # lmerTest overlooks that a:b contains a where b has no main effect; see the test of nesting
    for at, (term, L) in enumerate(zip(theirs["term"], theirs["L"], strict=True)):
        rows = np.array(L, dtype=float).reshape(-1, len(case["names"]))
        assert same_space(mine.hypotheses[term], rows), term
        if not len(rows):
            assert table["num_df"][at] == 0
            assert np.isnan(table["statistic"][at])
            continue
        assert table["num_df"][at] == theirs["num_df"][at]
        assert_allclose(table["statistic"][at], theirs["statistic"][at], rtol=1e-5)
        assert_allclose(table["sum_sq"][at], theirs["sum_sq"][at], rtol=1e-5)
        # lmerTest writes hypotheses of types 1 and 2 in the coding of the fit, so that its df depend on that
        if type_ == 3 or not case.get("contrasts") or len(rows) == 1:
            assert_allclose(table["den_df"][at], theirs["den_df"][at], rtol=2e-5)


@pytest.mark.parametrize("type_", ["1", "2", "3"])
@pytest.mark.parametrize("case", REFERENCE["lm"], ids=lambda c: c["formula"])
def test_lm_tables_of_r(case: dict[str, Any], type_: Any) -> None:
    table, theirs = fitted(case).anova(type_).table(), case[type_]
    assert list(table["term"]) == theirs["term"]
    assert_allclose(table["sum_sq"], theirs["sum_sq"], rtol=1e-9)
    assert table["num_df"].tolist() == theirs["df"]
    assert_allclose(table["statistic"], numbers(theirs["statistic"]), rtol=1e-9)


# --- properties -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formula", ["y ~ a * b + c + x", "y ~ a * x + b", "y ~ a * b * x", "y ~ a", "y ~ a + a:b"]
)
def test_the_coding_of_factors_does_not_matter(formula: str) -> None:
    for type_ in (1, 2, 3):
        tables_ = [
            mw.fit(f"{formula} + (1 | g)", unbalanced(), contrasts=coding).anova(type_).table()
            for coding in CODINGS
        ]
        for other in tables_[1:]:
            assert_allclose(other["statistic"], tables_[0]["statistic"], rtol=1e-6)
            assert_allclose(other["den_df"], tables_[0]["den_df"], rtol=1e-5)


def test_nor_does_the_reference_level_nor_a_mixture_of_codings() -> None:
    data = unbalanced()
    formula = "y ~ a * b + c * x + (1 | g)"
    usual = mw.fit(formula, data)
    mixed = mw.fit(formula, data, contrasts={"a": "sum", "b": "helmert"})
    for type_ in (1, 2, 3):
        expected = usual.anova(type_).table()
        assert_allclose(mixed.anova(type_).table()["statistic"], expected["statistic"], rtol=1e-6)
        for order in permutations("pqr"):
            turned = data.assign(a=pd.Categorical(data["a"], list(order)))
            found = mw.fit(formula, turned).anova(type_).table()
            assert_allclose(found["statistic"], expected["statistic"], rtol=1e-6)
            assert_allclose(found["sum_sq"], expected["sum_sq"], rtol=1e-6)


def rss(X: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    basis, size, _ = np.linalg.svd(X, full_matrices=False)
    basis = basis[:, size > 1e-10 * size[0]]
    return float(np.sum((y - basis @ (basis.T @ y)) ** 2))


def dummies(data: pd.DataFrame, *names: str) -> NDArray[np.float64]:
    cell = data[list(names)].astype(str).agg("-".join, axis=1) if names else pd.Series("1", data.index)
    return np.asarray(pd.get_dummies(cell, dtype=float))


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.filterwarnings(SINGLE)
def test_lm_is_differences_of_residual_sums_of_squares(holes: bool) -> None:
    data = tables("holes" if holes else "full")
    y = np.array(data["y"])
    m = mw.lm("y ~ a * b + c + x", data)
    x = np.array(data["x"])[:, None]
    one, a, b, c, ab = (dummies(data, *names) for names in ((), ("a",), ("b",), ("c",), ("a", "b")))
    parts = {"a": a, "b": b, "c": c, "x": x, "a:b": ab}

    def left(*names: str) -> float:
        return rss(np.hstack([one, *(parts[name] for name in names)]), y)

    sequence = list(m.design.term_labels)
    assert sequence == ["a", "b", "c", "x", "a:b"]
    first = [left(*sequence[:i]) - left(*sequence[: i + 1]) for i in range(5)]
    full = left(*sequence)
    second = [left("b", "c", "x") - left("a", "b", "c", "x"), left("a", "c", "x") - left("a", "b", "c", "x")]
    second += [
        left("a", "b", "x", "a:b") - full,
        left("a", "b", "c", "a:b") - full,
        left("a", "b", "c", "x") - full,
    ]
    assert_allclose(m.anova(1).table()["sum_sq"], [*first, full], rtol=1e-8)
    assert_allclose(m.anova(2).table()["sum_sq"], [*second, full], rtol=1e-8)
    table = m.anova(1).table()
    assert_allclose(table["sum_sq"].sum(), np.sum((y - y.mean()) ** 2), rtol=1e-10)
    assert table["num_df"].sum() == len(y) - 1


def test_type_3_is_about_equally_weighted_means() -> None:
    m = mw.lm("y ~ a * b", unbalanced())
    cells = {(i, j): np.zeros(6) for i in "pqr" for j in "uv"}
    for (i, j), row in cells.items():
        for at, name in enumerate(m.fixef.names):
            wanted = {f"a{i}", f"b{j}", f"a{i}:b{j}", "(Intercept)"}
            row[at] = name in wanted
    marginal = {i: (cells[i, "u"] + cells[i, "v"]) / 2 for i in "pqr"}
    L = np.array([marginal["q"] - marginal["p"], marginal["r"] - marginal["p"]])
    table = m.anova().table()
    assert same_space(m.anova().hypotheses["a"], L)
    assert_allclose(table["statistic"][0], m.test(L).joint.statistic, rtol=1e-10)


def test_nested_factors_are_contained_though_one_has_no_main_effect() -> None:
    nested, crossed = (mw.lm(f"y ~ a + {rest}", unbalanced()) for rest in ("a:b", "b + a:b"))
    mine, full = nested.anova().table(), crossed.anova().table()
    assert_allclose(mine["statistic"][0], full["statistic"][0], rtol=1e-9)
    assert mine["num_df"].tolist()[:2] == [2, 3]


def balanced(seed: int) -> pd.DataFrame:
    """Split plot: `w` between the 8 plots, `s` within, three rows of each."""
    random = np.random.default_rng(seed)
    plot, s, _ = (each.ravel() for each in np.meshgrid(range(8), range(3), range(3), indexing="ij"))
    y = 3.0 * random.normal(size=8)[plot] + random.normal(size=72) + 0.4 * s + (plot % 2)
    return pd.DataFrame(
        {"y": y, "plot": plot.astype(str), "w": np.array(["l", "h"])[plot % 2], "s": s.astype(str)}
    )


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_balanced_split_plot_has_the_classical_strata(ddf: Any, coding: str) -> None:
    data = balanced(2)
    m = mw.lmer("y ~ w * s + (1 | plot)", data, contrasts=coding)
    y = np.array(data["y"])
    W, S, WS, P = (dummies(data, *n) for n in (["w"], ["s"], ["w", "s"], ["plot"]))
    between, ws = rss(W, y) - rss(P, y), rss(np.hstack([W, S]), y) - rss(WS, y)
    ss_w, ss_s = rss(dummies(data), y) - rss(W, y), rss(dummies(data), y) - rss(S, y)
    error = rss(np.hstack([WS, P]), y)
    den_error = 72 - 8 - 4
    expected = [ss_w / (between / 6), ss_s / 2 / (error / den_error), ws / 2 / (error / den_error)]
    for type_ in (1, 2, 3):
        table = m.anova(type_, ddf=ddf).table()
        assert_allclose(table["statistic"], expected, rtol=1e-6)
        assert_allclose(table["den_df"], [6, den_error, den_error], rtol=1e-5)
        assert_allclose(
            table["p_value"], stats.f.sf(expected, [1, 2, 2], [6, den_error, den_error]), rtol=1e-4
        )
    assert_allclose(m.anova().table()["sum_sq"][1:], [ss_s, ws], rtol=1e-5)


def test_a_mixed_model_without_variance_is_an_lm() -> None:
    data = unbalanced().copy()
    random = np.random.default_rng(8)
    y = random.normal(size=len(data))
    for _ in range(2):  # residuals of the groups' means: the variance between groups is zero
        y = y - pd.Series(y).groupby(data["g"]).transform("mean").to_numpy()
    data["y"] = y + (data["a"] == "q") * 0.3
    m, plain = mw.lmer("y ~ a * b + x + (1 | g)", data), mw.lm("y ~ a * b + x", data)
    assert m.theta[0] == 0
    for type_ in (1, 2, 3):
        one, two = m.anova(type_, ddf="residual").table(), plain.anova(type_).table()
        assert_allclose(one["statistic"], two["statistic"][:-1], rtol=1e-9)
        assert_allclose(one["sum_sq"], two["sum_sq"][:-1], rtol=1e-9)
        assert m.anova(type_).table()["num_df"].tolist() == two["num_df"].tolist()[:-1]


def test_one_row_is_t_squared() -> None:
    m = mw.lmer("y ~ a + x * b + (x | g)", unbalanced())
    for options in ({}, {"ddf": "kenward-roger"}, {"ddf": "residual"}, {"ddf": "normal"}):
        table = m.anova(2, **options).table()  # type: ignore[arg-type]
        at = list(table["term"]).index("x:b")
        one = m.test("x:bv", **options)  # type: ignore[arg-type]
        assert_allclose(table["statistic"][at], one.separate.statistic[0] ** 2, rtol=1e-9)
        assert_allclose(table["den_df"][at], one.separate.df[0], rtol=1e-9)
        assert_allclose(table["p_value"][at], one.separate.p_value[0], rtol=1e-9)


def test_units_and_origins_of_other_columns_do_not_matter() -> None:
    data = unbalanced()
    moved = data.assign(x=1e4 + 0.1 * data["x"])
    here, there = mw.lmer("y ~ a * b + x + (1 | g)", data), mw.lmer("y ~ a * b + x + (1 | g)", moved)
    for type_ in (1, 2, 3):
        mine, other = here.anova(type_).table(), there.anova(type_).table()
        assert_allclose(other["statistic"], mine["statistic"], rtol=1e-5)
        assert_allclose(other["den_df"], mine["den_df"], rtol=1e-4)


def test_chi_square_is_f_times_df() -> None:
    m = mw.lmer("y ~ a * b + x + (1 | g)", unbalanced())
    wald, f = m.anova(test="chisq"), m.anova(ddf="normal").table()
    table = wald.table()
    assert list(table) == ["term", "statistic", "df", "p_value"]
    assert_allclose(table["statistic"], f["statistic"] * f["num_df"], rtol=1e-10)
    assert_allclose(table["p_value"], stats.chi2.sf(table["statistic"], table["df"]), rtol=1e-9)
    assert_allclose(table["p_value"], f["p_value"], rtol=1e-9)
    assert "chisq" in repr(wald)


@pytest.mark.filterwarnings(SINGLE)
def test_a_coding_that_does_not_span_its_levels_is_tested_as_it_is() -> None:
    trend = np.arange(4.0)[:, None]
    m = mw.lm("y ~ C + x".replace("C", "c"), unbalanced(), contrasts={"c": trend})
    result = m.anova()
    assert result.table()["num_df"].tolist()[:2] == [1, 1]
    assert_allclose(result.table()["statistic"][0], m.test({"c1": 1}).separate.statistic[0] ** 2, rtol=1e-9)
    both = mw.lm("y ~ a * c", unbalanced(), contrasts={"c": trend}).anova()
    assert both.table()["num_df"].tolist()[:3] == [2, 1, 2]


@pytest.mark.filterwarnings(SINGLE)
def test_missing_cells_are_said() -> None:
    m = mw.lmer("y ~ a * b + (1 | g)", tables("holes"))
    assert "not estimable" in repr(m.anova())
    assert m.anova().table()["num_df"].tolist() == [2, 1, 1]


def test_level_of_the_type_3_test() -> None:
    """True nulls of a between-subjects factor are rejected at 5 %, within four standard errors."""
    random = np.random.default_rng(5)
    subject = np.repeat(np.arange(12), 5)
    keep = random.random(60) > 0.2
    data = {"y": random.normal(size=60), "f": np.array(["p", "q", "r"])[subject % 3], "s": subject}
    first = mw.lmer("y ~ f + (1 | s)", {name: values[keep] for name, values in data.items()})
    n, rejected = 600, 0
    for _ in range(n):
        y = random.normal(size=12)[subject] + random.normal(size=60)
        rejected += first.refit(y[keep]).anova().table()["p_value"][0] < 0.05
    assert abs(rejected / n - 0.05) < 4 * np.sqrt(0.05 * 0.95 / n)


def test_empty_and_single_models() -> None:
    data = unbalanced()
    assert len(mw.lmer("y ~ 1 + (1 | g)", data).anova().table()["term"]) == 0
    assert list(mw.lm("y ~ 1", data).anova().table()["term"]) == ["Residuals"]
    assert "Type III" in repr(mw.lmer("y ~ 1 + (1 | g)", data).anova())
    only = mw.lm("y ~ 0 + a", data).anova().table()
    assert only["num_df"].tolist() == [3, len(data) - 3]


def test_options_of_anova() -> None:
    m = mw.lmer("y ~ a + (1 | g)", unbalanced())
    assert m.anova("II").type == "II"
    assert_allclose(m.anova(type="III").table()["statistic"], m.anova(3).table()["statistic"])
    for wrong in (4, "IV", True, 2.0, None):
        with refused("MW-A02", "type"):
            m.anova(wrong)
    with refused("MW-A02", "test"):
        m.anova(test="t")
    with refused("MW-A02", "ddf"):
        m.anova(ddf="kr")
    with refused("MW-A01", "ddf"):
        m.anova(dff="residual")
    with refused("MW-A31", "ddf='residual'", "test='chisq'"):
        m.anova(test="chisq", ddf="residual")
    with refused("MW-A31", "information='observed'"):
        m.anova(information="observed")
    with refused("MW-A31", "cluster"):
        m.anova(cluster="g")
    with refused("MW-A31", "kenward-roger", "CR2"):
        m.anova(vcov="CR2", ddf="kenward-roger")


def test_robust_tests() -> None:
    m = mw.lmer("y ~ a * b + x + (1 | g)", unbalanced())
    robust = m.vcov("CR2", cluster="g")
    table = m.anova(vcov="CR2", cluster="g").table()
    assert list(table) == ["term", "num_df", "den_df", "statistic", "p_value"]
    wald = m.anova(2, vcov="CR2", cluster="g", test="chisq").table()
    L = m.anova(2).hypotheses["a"]
    b = L @ m.fixef.values
    assert_allclose(wald["statistic"][0], b @ np.linalg.solve(L @ robust @ L.T, b), rtol=1e-8)
    assert_allclose(m.test("x", vcov="CR2", cluster="g").separate.se[0], np.sqrt(robust[4, 4]), rtol=1e-9)
    assert m.test("x", vcov="CR2", ddf="normal").separate.df[0] == np.inf


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "dict"])
def test_tables_come_in_the_library_of_the_data(library: str) -> None:
    data = mw.data.load("sleepstudy", backend=library)
    m = mw.lmer("Reaction ~ Days + (Days | Subject)", data)
    for table in (m.anova().table(), m.test("Days = 10").table()):
        assert type(table) is type(data)
    assert "Type III tests, Satterthwaite's degrees of freedom" in m.anova()._repr_html_().replace(
        "&#x27;", "'"
    )


def test_rows_that_were_dropped_are_not_read() -> None:
    data = unbalanced().copy()
    data.loc[[3, 50], "x"] = np.nan
    data.loc[7, "a"] = None
    m, clean = (mw.fit("y ~ a * b + x + (1 | g)", d) for d in (data.dropna(), data.dropna()))
    with pytest.warns(mw.MixwellWarning, match="MW-W01"):
        m = mw.fit("y ~ a * b + x + (1 | g)", data)
    assert_allclose(m.anova().table()["statistic"], clean.anova().table()["statistic"], rtol=1e-10)


def test_a_table_that_was_changed_is_refused() -> None:
    data = unbalanced().copy()
    m = mw.lm("y ~ a * b + x", data)
    before = m.anova().table()
    data["new"] = data["x"] = 0.0  # what the hypotheses do not need may change
    assert_allclose(m.anova().table()["statistic"], before["statistic"])
    data["a"] = data["a"].to_numpy()[::-1]
    with refused("MW-A38", "'a'"):
        m.anova()


# --- test() -----------------------------------------------------------------------------------------------

NAMES = (
    "(Intercept)",
    "x",
    "cB",
    "cC",
    "a:b",
    "poly(x, 2)1",
    "poly(x, 2)2",
    "I(x - 2)",
    "cnon-word",
    "`my col`Z",
    "x2",
)


def read(text: str, *terms: tuple[str, list[int]]) -> list[tuple[dict[str, float], float]]:
    return [
        ({name: float(v) for name, v in zip(NAMES, each.row, strict=True) if v}, each.rhs)
        for each in read_statement(text, NAMES, terms)
    ]


@pytest.mark.parametrize(
    ("text", "row", "rhs"),
    [
        ("x", {"x": 1}, 0),
        ("cB = cC", {"cB": 1, "cC": -1}, 0),
        ("cB == cC", {"cB": 1, "cC": -1}, 0),
        ("x+x2=1", {"x": 1, "x2": 1}, 1),
        ("x - -2*x2 = 1e-1", {"x": 1, "x2": 2}, 0.1),
        ("2 * (x + cB)/4 - 1 = x2 + .5", {"x": 0.5, "cB": 0.5, "x2": -1}, 1.5),
        ("-x * 3 = 0", {"x": -3}, 0),
        ("(Intercept) + x = 250", {"(Intercept)": 1, "x": 1}, 250),
        ("Intercept", {"(Intercept)": 1}, 0),
        ("((Intercept)) = 1", {"(Intercept)": 1}, 1),
        ("`(Intercept)` = x", {"(Intercept)": 1, "x": -1}, 0),
        ("a:b - x", {"a:b": 1, "x": -1}, 0),
        ("poly(x, 2)1 = 2*poly(x,2)2", {"poly(x, 2)1": 1, "poly(x, 2)2": -2}, 0),
        ("I(x-2) + I(x - 2)", {"I(x - 2)": 2}, 0),
        ("`cnon-word` = 3 - 1", {"cnon-word": 1}, 2),
        ("cnon-word", {"cnon-word": 1}, 0),
        ("`my col`Z = 1", {"`my col`Z": 1}, 1),
        ("3 = x", {"x": -1}, -3),
        ("0.1 * x + 0.2 * x = 0.3 * x + x2", {"x2": -1}, 0),
    ],
)
def test_reading(text: str, row: dict[str, float], rhs: float) -> None:
    ((found, side),) = read(text)
    assert found == pytest.approx(row)
    assert side == pytest.approx(rhs)


def test_chains_and_terms() -> None:
    assert read("x = cB = cC") == [({"x": 1, "cB": -1}, 0), ({"cB": 1, "cC": -1}, 0)]
    term = ("c", [2, 3])
    assert read("c", term) == read("c = 0", term) == read("`c`", term) == [({"cB": 1}, 0), ({"cC": 1}, 0)]
    assert read("x", ("x", [1])) == [({"x": 1}, 0)]


@pytest.mark.parametrize(
    ("text", "code", "marked"),
    [
        ("", "MW-A25", ""),
        ("x =", "MW-A25", "="),
        ("x < 1", "MW-A25", "<"),
        ("x x2", "MW-A25", "x2"),
        ("2 x", "MW-A25", "x"),
        ("(x + cB", "MW-A25", "("),
        ("x)", "MW-A25", ")"),
        ("x = 1, x2", "MW-A25", ","),
        ("x = = 1", "MW-A25", "="),
        ("xx = 1", "MW-A26", "xx"),
        ("cB + cD", "MW-A26", "cD"),
        ("a:c = 1", "MW-A26", "a:c"),
        ("poly(x, 3)1", "MW-A26", "poly(x, 3)1"),
        ("`cb`", "MW-A26", "`cb`"),
        ("x * cB", "MW-A27", "x * cB"),
        ("1 / x", "MW-A27", "1 / x"),
        ("x / 0", "MW-A27", "x / 0"),
        ("x = x", "MW-A27", "x = x"),
        ("1 = 1", "MW-A27", "1 = 1"),
        ("c + x", "MW-A27", "c"),
        ("c = 1", "MW-A27", "c"),
    ],
)
def test_a_text_that_cannot_be_read_is_refused_with_a_caret(text: str, code: str, marked: str) -> None:
    with pytest.raises(MixwellError) as caught:
        read(text, ("c", [2, 3]))
    assert caught.value.code == code
    if marked:
        line, carets = caught.value.where.split("\n")
        start = carets.index("^")
        assert line[start : len(carets)] == marked


def test_a_name_that_is_also_arithmetic_is_refused() -> None:
    names = ("fa", "b", "fa-b")
    with refused("MW-A27", "fa-b", "backquotes"):
        read_statement("fa-b = 0", names, ())
    assert read_statement("`fa-b` = 0", names, ())[0].row.tolist() == [0, 0, 1]
    assert read_statement("`fa` - b", names, ())[0].row.tolist() == [1, -1, 0]


def test_the_forms_of_a_hypothesis_agree() -> None:
    m = mw.lmer("y ~ a + x + (1 | g)", unbalanced())
    words = m.test("aq - 2 * x = 1")
    for other in (
        m.test({"aq": 1, "x": -2}, rhs=1),
        m.test([0, 1, 0, -2], rhs=1),
        m.test(np.array([[0, 1, 0, -2]]), rhs=[1]),
        m.test("aq = 2*x + 1"),
        m.test(["aq - 2*x - 1"]),
    ):
        assert_allclose(other.rows, words.rows)
        assert_allclose(other.separate.statistic, words.separate.statistic)
    assert m.test({"aq": 1, "x": -2}, rhs=1).hypotheses == ("aq - 2 * x = 1",)
    b, V = m.fixef.values, m.vcov()
    row = np.array([0, 1, 0, -2])
    assert_allclose(words.separate.estimate, row @ b)
    assert_allclose(words.separate.se, np.sqrt(row @ V @ row))
    assert_allclose(words.separate.statistic, (row @ b - 1) / np.sqrt(row @ V @ row))
    table = words.table()
    half = stats.t.ppf(0.975, table["df"]) * table["std_error"]
    assert_allclose(table["upper"] - table["estimate"], half)


def test_joint_and_separate() -> None:
    m = mw.lmer("y ~ a * b + x + (1 | g)", unbalanced())
    several = m.test("aq = ar", "x = 1")
    assert several.joint is not None
    assert several.joint.num_df == 2
    assert "All together" in repr(several)
    assert m.test("aq = ar", "x = 1", joint=False).joint is None
    assert m.test("x").joint is None
    one = m.test("x", joint=True)
    assert one.joint is not None
    assert_allclose(one.joint.statistic, one.separate.statistic[0] ** 2)
    term = m.test("a:b")
    assert term.hypotheses == ("aq:bv = 0", "ar:bv = 0")
    assert_allclose(term.joint.statistic, m.anova().table()["statistic"][3], rtol=1e-9)  # type: ignore[union-attr]
    twice = m.test("x = 1", "2 * x = 2", "x = aq")
    assert twice.joint is not None
    assert twice.joint.num_df == 2
    with refused("MW-A29", "x = 1", "joint=False"):
        m.test("x = 1", "x = 2")
    assert len(m.test("x = 1", "x = 2", joint=False).hypotheses) == 2


@pytest.mark.filterwarnings(SINGLE)
def test_what_is_not_estimable_is_refused() -> None:
    m = mw.lmer("y ~ a * b + (1 | g)", tables("holes"))
    assert m.dropped == ("ar:bv",)
    for given in ("ar:bv", "aq = ar:bv", "a:b", {"ar:bv": 1.0}, np.eye(6)):
        with refused("MW-A28", "ar:bv", "not estimable"):
            m.test(given)
    assert m.test(np.eye(6)[:2]).rows.shape == (2, 5)
    assert m.test(np.eye(5)[:2]).rows.shape == (2, 5)


def test_wrong_hypotheses() -> None:
    m = mw.lm("y ~ a + x", unbalanced())
    with refused("MW-A32"):
        m.test()
    with refused("MW-A32", "None"):
        m.test(None)  # type: ignore[arg-type]
    for wrong in ([1, 2], np.eye(3), np.zeros((1, 4)), [[1, np.inf, 0, 0]], [], np.zeros((0, 4)), 3.0):
        with refused("MW-A30"):
            m.test(wrong)  # type: ignore[arg-type]
    with refused("MW-A30", "rhs has 3 values for 2 rows"):
        m.test(np.eye(4)[:2], rhs=[1, 2, 3])
    with refused("MW-A31", "rhs"):
        m.test("x", rhs=1)
    with refused("MW-A26", "'aq'"):
        m.test({"aQ": 1})
    with refused("MW-A27"):
        m.test({"x": 0})
    with refused("MW-A49"):
        m.test("x", level=95)
    with refused("MW-A02", "joint"):
        m.test("x", joint="yes")  # type: ignore[arg-type]
    with refused("MW-A01", "joint"):
        m.test("x", jont=True)  # type: ignore[call-arg]
