"""Columns of X and Z against R (reference/encoders.R), against formulaic, and against their own recipes."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import formulaic
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwell.design import Design, build_design
from mixwell.design.bases import learn_bs, learn_ns, learn_poly
from mixwell.design.columns import match_levels, plan
from mixwell.design.contrasts import Contrast, coding_matrix, level_text
from mixwell.errors import MixwellError
from mixwell.formula import Name, parse

REFERENCE = json.loads((Path(__file__).parent / "reference" / "encoders.json").read_text())


# R numbers these columns; ours carry the names of the levels
RENAMED = {
    "C(s, contr.sdif)2-1": "C(s, contr.sdif)q-p",
    "C(s, contr.sdif)3-2": "C(s, contr.sdif)r-q",
    "C(s, contr.sdif)4-3": "C(s, contr.sdif)s-r",
    "C(f, contr.treatment(3, base = 2))1": "C(f, contr.treatment(3, base = 2))a",
    "C(f, contr.treatment(3, base = 2))3": "C(f, contr.treatment(3, base = 2))c",
}


def table(key: str) -> dict[str, Any]:
    """The reference data; o is an ordered factor and f, g, s are text."""
    columns: dict[str, Any] = {name: np.array(values) for name, values in REFERENCE[key].items()}
    if "o" in columns:
        columns["o"] = pd.Categorical(columns["o"], categories=["A", "B", "C", "D"], ordered=True)
    return columns


def matrix(columns: tuple[np.ndarray | None, ...], n: int) -> np.ndarray:
    return np.column_stack([np.ones(n) if column is None else column for column in columns])


def design(text: str, data: Any, **options: Any) -> Design:
    return build_design(parse(text), data, **options)


# --- against R ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", REFERENCE["matrices"], ids=lambda case: case["formula"][0])
def test_model_matrix_is_that_of_r(case: dict[str, Any]) -> None:
    built = design("y " + case["formula"][0], table("data"))
    assert list(built.names) == [RENAMED.get(name, name) for name in case["names"]]
    assert list(built.assign) == case["assign"]
    expected = np.array(case["columns"], dtype=float).T
    np.testing.assert_allclose(matrix(built.columns, 16), expected, rtol=1e-11, atol=1e-12)
    again = built.recipe.fixed(table("new"))
    new = np.array(case["new"], dtype=float).T
    np.testing.assert_allclose(matrix(again, 5), new, rtol=1e-9, atol=1e-10 * max(1.0, np.abs(new).max()))


@pytest.mark.parametrize(
    "case", REFERENCE["coded"], ids=lambda case: f"{case['formula'][0]} {case['contrasts']}"
)
def test_contrasts_argument_is_that_of_r(case: dict[str, Any]) -> None:
    contrasts = {
        name: spelling[0] if isinstance(spelling[0], str) else np.array(spelling)
        for name, spelling in case["contrasts"].items()
    }
    built = design("y " + case["formula"][0], table("data"), contrasts=contrasts)
    assert list(built.names) == case["names"]
    expected = np.array(case["columns"], dtype=float).T
    np.testing.assert_allclose(matrix(built.columns, 16), expected, rtol=1e-12, atol=1e-14)
    again = matrix(built.recipe.fixed(table("data")), 16)
    np.testing.assert_array_equal(again, matrix(built.columns, 16))


@pytest.mark.parametrize("case", REFERENCE["contrasts"], ids=lambda case: f"{case['levels'][0]} levels")
def test_contrast_matrices_are_those_of_r(case: dict[str, Any]) -> None:
    levels = tuple(range(1, case["levels"][0] + 1))
    for name in ("treatment", "sum", "helmert", "poly", "diff"):
        ours, names = coding_matrix(Contrast(name), levels, levels, "f")
        np.testing.assert_allclose(ours, np.array(case[name], dtype=float), rtol=0, atol=5e-13)
        if name == "poly":
            assert list(names) == case["poly_names"]


@pytest.mark.parametrize("k", [15, 24, 60])
def test_polynomial_contrasts_stay_orthonormal_with_many_levels(k: int) -> None:
    levels = tuple(range(k))
    ours, _ = coding_matrix(Contrast("poly"), levels, levels, "f")
    np.testing.assert_allclose(ours.T @ ours, np.eye(k - 1), atol=1e-13)
    np.testing.assert_allclose(ours.sum(axis=0), 0, atol=1e-13)


@pytest.mark.parametrize("case", REFERENCE["random"], ids=lambda case: case["formula"][0])
def test_random_effects_columns_are_those_of_lme4(case: dict[str, Any]) -> None:
    built = design(case["formula"][0], table("many"))
    ours = {(frozenset(term.factor_names), term.names): term for term in built.random}
    assert len(ours) == len(case["terms"])
    for expected in case["terms"]:
        parts = expected["group"][0].split(":")
        term = ours[frozenset(parts), tuple(expected["names"])]
        order = [parts.index(name) for name in term.factor_names]
        levels = {tuple(level.split(":")[i] for i in order) for level in expected["levels"]}
        assert {level if len(parts) > 1 else (level,) for level in term.levels} == levels
        np.testing.assert_allclose(
            matrix(term.columns, 96), np.array(expected["columns"], dtype=float).T, rtol=1e-11, atol=1e-12
        )


# --- against formulaic --------------------------------------------------------------------------------------

ATOMS = ["x", "z", "f", "g", "log(x)", "poly(x, 2)", "scale(x)", "C(f, sum)", "I(x^2)", "b"]
SPELLED = {"C(f, sum)": "C(f, contr.sum)", "I(x^2)": "I(x**2)"}


@st.composite
def fixed_parts(draw: st.DrawFn) -> list[tuple[str, ...]]:
    """Interactions with all their margins: only there R and formulaic agree which factor is coded in full."""
    atoms = draw(st.lists(st.sampled_from(ATOMS), min_size=1, max_size=5, unique=True))
    largest = draw(st.lists(st.sets(st.sampled_from(atoms), min_size=1, max_size=3), min_size=1, max_size=3))
    margins = {frozenset(part) for term in largest for k in (1, 2, 3) for part in combinations(term, k)}
    ordered = [tuple(sorted(term, key=atoms.index)) for term in margins]
    return sorted(ordered, key=lambda term: (len(term), [atoms.index(atom) for atom in term]))


@settings(max_examples=60, deadline=None)
@given(terms=fixed_parts(), intercept=st.booleans(), seed=st.integers(0, 5))
def test_columns_span_and_equal_those_of_formulaic(
    terms: list[tuple[str, ...]], intercept: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n = 60
    data = pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.uniform(1, 5, n),
            "z": rng.normal(size=n),
            "f": rng.choice(list("abc"), n),
            "g": rng.choice(["u", "v"], n),
            "b": rng.random(n) < 0.5,
        }
    )
    text = ("1" if intercept else "0") + "".join(f" + {':'.join(term)}" for term in terms)
    theirs_text = text
    for ours, theirs in SPELLED.items():
        theirs_text = theirs_text.replace(ours, theirs)
    built = design(f"y ~ {text}", data)
    mine = matrix(built.columns, n)
    theirs = np.asarray(formulaic.model_matrix(theirs_text, data.assign(b=data.b.astype(str))), dtype=float)
    rank = np.linalg.matrix_rank
    assert rank(mine) == rank(theirs) == rank(np.hstack([mine, theirs]))
    if intercept:
        assert mine.shape == theirs.shape
        left = mine[:, np.lexsort(np.round(mine, 9))]
        right = theirs[:, np.lexsort(np.round(theirs, 9))]
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9)


# --- bases --------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), degree=st.integers(1, 8), shift=st.sampled_from([0.0, 1e6, -3e9]))
def test_poly_is_orthonormal_far_from_zero(seed: int, degree: int, shift: float) -> None:
    x = shift + np.random.default_rng(seed).permutation(np.arange(30)) * 1.0
    basis = np.column_stack([np.full(30, 30**-0.5), *learn_poly(x, degree)[0].columns(x)])
    np.testing.assert_allclose(basis.T @ basis, np.eye(degree + 1), atol=1e-12)
    assert (basis[np.argmax(x), 1:] > 0).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), df=st.integers(4, 9), degree=st.integers(1, 4))
def test_bs_sums_to_one_and_reproduces_polynomials(seed: int, df: int, degree: int) -> None:
    x = np.random.default_rng(seed).uniform(-3, 8, 40)
    basis = learn_bs(x, df=max(df, degree + 1), degree=degree, intercept=True)
    outside = np.linspace(-6, 12, 30)
    at, beyond = np.array(basis.columns(x)), np.array(basis.columns(outside))
    np.testing.assert_allclose(at.sum(axis=0), 1, atol=1e-12)
    np.testing.assert_allclose(beyond.sum(axis=0), 1, atol=1e-8 * np.abs(beyond).max())
    powers = np.vander(x, degree + 1)
    coefficients = np.linalg.lstsq(at.T, powers, rcond=None)[0]
    np.testing.assert_allclose(at.T @ coefficients, powers, rtol=1e-8, atol=1e-7)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), df=st.integers(1, 8))
def test_ns_is_linear_outside_its_boundary(seed: int, df: int) -> None:
    x = np.random.default_rng(seed).uniform(-3, 8, 40)
    basis = learn_ns(x, df=df)
    for start, step in ((x.min(), -1.0), (x.max(), 1.0)):
        values = np.array(basis.columns(start + step * np.arange(4.0)))
        np.testing.assert_allclose(np.diff(values, 2), 0, atol=1e-9)
    assert len(basis.columns(x)) == df


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("poly(u, 3)", "degree 3 needs more than 3 distinct values"),
        ("poly(x, 1.5)", "degree must be a whole number"),
        ("poly(x, 0)", "degree must be a whole number of at least 1, got 0"),
        ("bs(x, df = 2)", "df = 2 is too small; the smallest is 3"),
        ("ns(x, knots = c(3, 200))", "knots must lie between the boundary knots"),
        ("ns(x, df = 3, Boundary.knots = 2)", "boundary knots"),
        ("ns(k)", "all values are equal"),
        ("scale(k)", "nothing to scale by"),
        ("factor(f, levels = c('a', 'b'))", "leaves out 'c'"),
    ],
)
def test_impossible_bases_say_why(call: str, reason: str) -> None:
    data = {
        "y": [1.0, 2, 3, 5, 4, 6],
        "x": [1.0, 2, 4, 7, 8, 9],
        "u": [1, 2, 3, 1, 2, 3],
        "k": [2] * 6,
        "f": list("abcabc"),
    }
    with pytest.raises(MixwellError, match="MW-D24") as caught:
        design(f"y ~ {call}", data)
    assert reason in str(caught.value)
    assert "^^^^" in str(caught.value)


# --- levels and contrasts -----------------------------------------------------------------------------------


def test_level_text_is_what_r_prints() -> None:
    levels = ("a", 3, 3.0, 2.5, 0.1 + 0.2, True, False, np.float64(1), ("a", 1))
    assert [level_text(level) for level in levels] == [
        "a",
        "3",
        "3",
        "2.5",
        "0.3",
        "TRUE",
        "FALSE",
        "1",
        "a:1",
    ]


def test_levels_match_by_value_then_by_text() -> None:
    assert match_levels(("309", "310", 308.0, "x"), (308, 309)).tolist() == [1, -1, 0, -1]


@pytest.mark.parametrize(
    ("spelling", "base"),
    [
        ("C(f, treatment(base = 2))", "b"),
        ("C(f, Treatment(reference = 'b'))", "b"),
        ("C(f, treatment(ref = 'c'))", "c"),
        ("C(f, Treatment('c'))", "c"),
        ("C(f, treatment(3))", "c"),
        ("C(f, base = 2)", "b"),
        ("C(f, 'treatment')", "a"),
        ("factor(f, levels = c('b', 'c', 'a'))", "b"),
    ],
)
def test_reference_level(spelling: str, base: str) -> None:
    built = design(f"y ~ {spelling}", {"y": [1.0, 2, 3, 5, 4, 6], "f": list("abcabc")})
    assert sorted(name[-1] for name in built.names[1:]) == [level for level in "abc" if level != base]


def test_named_and_partial_contrast_matrices() -> None:
    data = {"y": [1.0, 2, 3, 5, 4, 6], "f": pd.Categorical(list("abcabc"), categories=list("abcd"))}
    contrasts = {
        "f": {".ab": [-0.5, 0.5, 0, 0], ".c": [-1, -1, 2, 0]}
    }  # a row for the unused level d as well
    built = design("y ~ f", data, contrasts=contrasts)
    assert built.names == ("(Intercept)", "f.ab", "f.c")
    np.testing.assert_array_equal(built.columns[2], [-1, -1, 2, -1, -1, 2])


def test_one_contrast_name_serves_all_factors() -> None:
    data = {"y": [1.0, 2, 3, 5, 4, 6], "f": list("abcabc"), "b": [True, False, True, True, False, False]}
    assert design("y ~ f + b", data, contrasts="sum").names == ("(Intercept)", "f1", "f2", "b1")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"contrasts": {"f": "helmet"}}, "MW-F35"),
        ({"contrasts": {"f": np.eye(2)}}, "MW-D21"),
        ({"contrasts": {"f": object()}}, "MW-D21"),
        ({"contrasts": {"ff": "sum"}}, "MW-D22"),
        ({"contrasts": {"x": "sum"}}, "MW-D22"),
    ],
)
def test_bad_contrasts_are_refused(options: dict[str, Any], code: str) -> None:
    data = {"y": [1.0, 2, 3, 5, 4, 6], "f": list("abcabc"), "x": range(6)}
    with pytest.raises(MixwellError, match=code):
        design("y ~ f + x", data, **options)


@pytest.mark.parametrize("spelling", ["C(f, treatment(base = 4))", "C(f, treatment(ref = 'z'))"])
def test_unknown_reference_level(spelling: str) -> None:
    with pytest.raises(MixwellError, match="MW-D23"):
        design(f"y ~ {spelling}", {"y": [1.0, 2, 3, 5, 4, 6], "f": list("abcabc")})


def test_plan_follows_marginality() -> None:
    a, b, x = Name("a"), Name("b"), Name("x")
    categorical = {a, b}.__contains__

    def full(*terms: tuple[Name, ...], intercept: bool = True) -> list[list[bool]]:
        return [[f for _, f in term] for term in plan(terms, intercept=intercept, is_factor=categorical)]

    assert full((a,), (b,), (a, b)) == [[False], [False], [False, False]]
    assert full((a, b)) == [[True, True]]
    assert full((a,), (a, b)) == [[False], [True, False]]
    assert full((x,), (a, x)) == [[False], [False, False]]
    assert full((a, x)) == [[True, False]]
    assert full((x,), (a,), (b,), intercept=False) == [[False], [True], [False]]


# --- expressions --------------------------------------------------------------------------------------------


def test_values_of_expressions() -> None:
    x = np.array([1.0, 2.5, 4.0, 3.0, 7.0, 5.0])
    data = {
        "y": [1.0, 2, 3, 5, 4, 6],
        "x": x,
        "b": [True, False, True, False, True, False],
        "f": list("abcabc"),
    }
    for text, expected in {
        "I(x%/%2)": x // 2,
        "I((x > 2) * (x < 5))": (x > 2) & (x < 5),
        "I(b + 1)": np.tile([2, 1], 3),
        "I((f == 'a') * x)": np.where(np.tile([1, 0, 0], 2), x, 0),
        "I((f != 'a') + 0)": np.tile([0, 1, 1], 2),
        "I(-x^2)": -(x**2),
        "I(2 + 0 * x)": np.full(6, 2.0),
        "log(x, 10)": np.log10(x),
        "cos(x)": np.cos(x),
        "standardize(x)": (x - x.mean()) / x.std(ddof=1),
        "center(log(x))": np.log(x) - np.log(x).mean(),
        "I(scale(x)/2)": (x - x.mean()) / x.std(ddof=1) / 2,
    }.items():
        built = design(f"y ~ {text}", data)
        assert built.names[1] == text.replace("'", '"')
        np.testing.assert_allclose(built.columns[1], expected, rtol=1e-14)
        np.testing.assert_allclose(built.recipe.fixed(data)[1], expected, rtol=1e-14)


def test_nested_transformations_remember_the_training_data() -> None:
    data = {"y": [1.0, 2, 3, 5], "x": [1.0, 2, 4, 9]}
    built = design("y ~ I(scale(x)^2) + poly(log(x), 2)", data)
    some = {"x": [4.0, 1.0]}
    for train, new in zip(built.columns[1:], built.recipe.fixed(some)[1:], strict=True):
        np.testing.assert_allclose(new, train[[2, 0]], rtol=1e-14)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("log(f)", "MW-D09"),
        ("I(f + 1)", "MW-D09"),
        ("I(x * when)", "MW-D09"),
        ("when", "MW-D09"),
        ("poly(f, 2)", "MW-D09"),
        ("log(z)", "MW-D08"),
        ("sqrt(z)", "MW-D08"),
        ("I(1 / z)", "MW-D08"),
        ("one", "MW-D18"),
        ("0 + one", "MW-D18"),
    ],
)
def test_expressions_that_have_no_value(text: str, code: str) -> None:
    data = {
        "y": [1.0, 2, 3, 5],
        "x": [1.0, 2, 4, 9],
        "z": [3, 0, -1, 2],
        "f": list("abab"),
        "one": list("aaaa"),
        "when": np.array(["2020-01-01", "2020-01-02", "2020-02-01", "2021-01-01"], dtype="datetime64[D]"),
    }
    with pytest.raises(MixwellError, match=code):
        design(f"y ~ {text}", data)


def test_where_a_value_is_infinite_is_said() -> None:
    with pytest.raises(MixwellError) as caught:
        design("y ~ log(z)", {"y": [1.0, 2, 3, None, 5, 6], "z": [3.0, 1, 2, 0, 0, 2]})
    assert "'log(z)' is minus infinity in row 4 (z = 0.0)" in str(caught.value)
    assert "y ~ log(z)\n        ^^^^^^" in str(caught.value)
