"""From a formula and a table to y, X, Z, weights and offset; and every input refused or remarked upon."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwell.design import LOUD, Design, RandomDesign, build_design
from mixwell.design.frame import Frame
from mixwell.errors import MixwellError
from mixwell.formula import parse

rng = np.random.default_rng(7)


def sleep() -> dict[str, Any]:
    """180 rows with the shape of the sleep study, made up."""
    days = np.tile(np.arange(10), 18)
    subject = np.repeat([str(300 + 7 * i) for i in range(18)], 10)
    return {
        "Reaction": np.round(250 + 10 * days + rng.normal(0, 20, 180), 3),
        "Days": days,
        "Subject": subject,
    }


SLEEP = sleep()


def crossed() -> dict[str, Any]:
    """60 rows: f (3) and g (2) crossed within 10 subjects, 2 sites, w weights, t dates."""
    n = 60
    return {
        "y": rng.normal(size=n),
        "x": rng.normal(size=n),
        "f": np.tile(["a", "b", "c"], 20),
        "g": np.tile(np.repeat(["u", "v"], 3), 10),
        "s": np.repeat(np.arange(10), 6),
        "site": np.repeat(["north:1", "south"], 30),
        "w": np.tile([1.0, 2.0, 0.5], 20),
        "half": np.tile([0.5, 1.5, 2.5], 20),
        "b": np.tile([True, False], 30),
        "t": np.tile(np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="M8[us]"), 20),
    }


CROSSED = crossed()


def design(text: str, data: Any, **options: Any) -> Design:
    return build_design(parse(text), data, **options)


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(np.array(a, dtype=object), np.array(b, dtype=object))


def columns_equal(a: tuple[Any, ...], b: tuple[Any, ...]) -> None:
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        assert (left is None) == (right is None)
        if left is not None:
            np.testing.assert_array_equal(left, right)


def codes_of(built: Design) -> list[str]:
    return [note.code for note in built.notes]


# --- the whole ----------------------------------------------------------------------------------------------


def test_the_design_of_the_sleep_study() -> None:
    built = design("Reaction ~ Days + (Days | Subject)", SLEEP)
    assert (built.response, built.names, built.assign, built.term_labels) == (
        "Reaction",
        ("(Intercept)", "Days"),
        (0, 1),
        ("Days",),
    )
    assert built.columns[0] is None
    assert built.columns[1] is built.random[0].columns[1]  # read and kept once
    np.testing.assert_array_equal(built.y, SLEEP["Reaction"])
    assert (built.n, built.n_rows, built.rows, built.notes) == (180, 180, None, ())
    assert built.weights is built.offset is None
    (term,) = built.random
    assert (term.group, term.factor_names, term.names) == ("Subject", ("Subject",), ("(Intercept)", "Days"))
    assert (term.structure, term.homogeneous, term.text) == ("us", False, "(1 + Days | Subject)")
    assert term.levels == tuple(dict.fromkeys(SLEEP["Subject"]))
    assert term.codes.dtype == np.int32
    np.testing.assert_array_equal(term.codes, np.repeat(np.arange(18), 10))
    assert all(column is None or column.flags.c_contiguous for column in built.columns)


LIBRARIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "pandas category": lambda d: pd.DataFrame(d).astype({k: "category" for k in d if d[k].dtype.kind == "U"}),
    "pandas object": lambda d: pd.DataFrame(d).astype({k: object for k in d if d[k].dtype.kind == "U"}),
    "pandas arrow": lambda d: pa.table(d).to_pandas(types_mapper=pd.ArrowDtype),
    "pandas shuffled index": lambda d: pd.DataFrame(d, index=np.arange(len(d["y"]))[::-1]),
    "polars": pl.DataFrame,
    "polars category": lambda d: pl.DataFrame(d).with_columns(pl.col(pl.String).cast(pl.Categorical)),
    "polars lazy": pl.LazyFrame,
    "pyarrow": pa.table,
    "pyarrow dictionary": lambda d: pa.table(
        {k: pa.array(v).dictionary_encode() if v.dtype.kind == "U" else v for k, v in d.items()}
    ),
    "lists": lambda d: {k: v.tolist() for k, v in d.items()},
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_library_gives_the_same_design(library: str) -> None:
    text = "y ~ x * f + b + offset(half) + (1 + x | s) + (0 + b | g:s) + (1 | t:site)"
    reference, built = (design(text, data, weights="w") for data in (CROSSED, LIBRARIES[library](CROSSED)))
    assert built.names == reference.names
    assert built.notes == reference.notes
    columns_equal(built.columns, reference.columns)
    for name in ("y", "weights", "offset"):
        np.testing.assert_array_equal(getattr(built, name), getattr(reference, name))
    for ours, theirs in zip(built.random, reference.random, strict=True):
        assert ours.levels == theirs.levels
        np.testing.assert_array_equal(ours.codes, theirs.codes)
        columns_equal(ours.columns, theirs.columns)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(60)
    text = "y ~ x * f + poly(x, 2) + (x | s) + (0 + b | g:s)"
    built, moved = design(text, CROSSED), design(text, {k: v[order] for k, v in CROSSED.items()})
    assert built.names == moved.names
    for a, b in zip(built.columns, moved.columns, strict=True):
        if a is not None:
            np.testing.assert_allclose(a[order], b, rtol=1e-12, atol=1e-14)
    for ours, theirs in zip(built.random, moved.random, strict=True):
        assert ours.levels == theirs.levels
        np.testing.assert_array_equal(ours.codes[order], theirs.codes)


def test_designs_do_not_follow_the_callers_table() -> None:
    data = {k: v.copy() for k, v in CROSSED.items()}
    built = design("y ~ x + (1 | s)", data, weights=data["w"], offset=data["half"])
    before = [built.y.copy(), built.columns[1].copy(), built.weights.copy(), built.offset.copy()]
    for name in ("y", "x", "w", "half"):
        data[name][:] = -1
    data["s"][:] = 0
    for a, b in zip(before, (built.y, built.columns[1], built.weights, built.offset), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(np.unique(built.random[0].codes)) == 10


def test_designs_can_be_pickled() -> None:
    built = design("y ~ poly(x, 2) * f + (x | s)", pd.DataFrame(CROSSED))
    again = pickle.loads(pickle.dumps(built))
    columns_equal(again.recipe.fixed(CROSSED), built.columns)


# --- missing values -----------------------------------------------------------------------------------------


def holes() -> dict[str, Any]:
    data = {k: v.tolist() for k, v in SLEEP.items()}
    data["Days"][3] = data["Days"][100] = None
    data["Reaction"][3] = float("nan")
    data["Subject"][179] = None
    return data


@pytest.mark.parametrize("library", [dict, pd.DataFrame, lambda d: pl.DataFrame(d, strict=False), pa.table])
def test_rows_with_missing_values_are_dropped_and_counted(library: Any) -> None:
    built = design("Reaction ~ Days + (Days | Subject)", library(holes()))
    assert built.notes == (
        ("MW-W01", "dropped 3 of 180 rows with missing values (Reaction: 1, Days: 2, Subject: 1)"),
    )
    assert codes_of(built)[0] in LOUD
    assert built.rows is not None
    assert np.flatnonzero(~built.rows).tolist() == [3, 100, 179]
    assert (built.n, built.n_rows) == (177, 180)
    np.testing.assert_array_equal(built.y, SLEEP["Reaction"][built.rows])
    np.testing.assert_array_equal(built.columns[1], SLEEP["Days"][built.rows])


def test_columns_that_are_not_used_may_be_missing() -> None:
    assert design("Reaction ~ 1", holes() | {"other": [None] * 180}).n == 179


def test_missing_rows_can_be_an_error() -> None:
    with pytest.raises(MixwellError, match=r"MW-D07.*3 of 180.*Days: 2"):
        design("Reaction ~ Days + (Days | Subject)", holes(), na_action="fail")
    with pytest.raises(MixwellError, match="MW-A02"):
        design("Reaction ~ Days", SLEEP, na_action="omit")


def test_levels_that_lose_all_their_rows_are_dropped() -> None:
    data = {k: v.tolist() for k, v in SLEEP.items()}
    data["Days"][:10] = [None] * 10
    built = design("Reaction ~ Days + (1 | Subject)", pd.DataFrame(data).astype({"Subject": "category"}))
    assert len(built.random[0].levels) == 17
    assert built.random[0].levels[0] == "307"
    assert built.random[0].codes[0] == 0


def test_learned_values_come_from_the_rows_used() -> None:
    built = design("y ~ scale(x)", {"y": [1.0, 2, None, 4], "x": [1.0, 2, 100, 3]})
    np.testing.assert_allclose(built.columns[1], [-1, 0, 1])


# --- weights and offset -------------------------------------------------------------------------------------


def test_weights_and_offsets_by_name_and_by_value() -> None:
    by_name = design("y ~ x + offset(half) + (1 | s)", CROSSED, weights="w", offset="x")
    by_value = design(
        "y ~ x + offset(half) + (1 | s)", CROSSED, weights=list(CROSSED["w"]), offset=pl.Series(CROSSED["x"])
    )
    for built in (by_name, by_value):
        np.testing.assert_array_equal(built.weights, CROSSED["w"])
        np.testing.assert_allclose(built.offset, CROSSED["x"] + CROSSED["half"], rtol=1e-15)
    np.testing.assert_allclose(by_name.recipe.offset(CROSSED), by_name.offset, rtol=1e-15)
    np.testing.assert_allclose(
        by_value.recipe.offset(CROSSED), CROSSED["half"]
    )  # an array cannot be replayed
    assert design("y ~ x", CROSSED).recipe.offset(CROSSED) is None


def test_rows_of_weight_zero_are_left_out() -> None:
    weights = CROSSED["w"].copy()
    weights[:6] = 0
    missing = CROSSED["y"].tolist()
    missing[0] = None
    built = design("y ~ x + (1 | s)", CROSSED | {"y": missing}, weights=weights)
    assert codes_of(built) == ["MW-W01", "MW-W02"]
    assert built.notes[1].text == "left out 5 rows of weight zero ('weights')"
    assert built.n == 54
    assert built.random[0].levels == tuple(range(1, 10))
    np.testing.assert_array_equal(built.weights, CROSSED["w"][6:])


@pytest.mark.parametrize(
    ("weights", "code", "said"),
    [
        ("ww", "MW-D25", "Did you mean 'w'"),
        ("f", "MW-D09", "'f' of weights is text"),
        ([1.0] * 59, "MW-D12", "59 values"),
        (2.0, "MW-D12", "one value"),
        ([1.0] * 30 + [-1.0] * 30, "MW-D13", "-1.0 in row 30"),
        ([1.0] * 30 + [np.inf] * 30, "MW-D08", "infinite in row 30"),
        ([0] * 60, "MW-D14", "all weights"),
        ([None] * 60, "MW-D06", "no rows are left"),
        (["a"] * 60, "MW-D09", "weights is text"),
        (np.ones((60, 2)), "MW-D05", "shape"),
    ],
)
def test_bad_weights_are_refused(weights: Any, code: str, said: str) -> None:
    with pytest.raises(MixwellError, match=code) as caught:
        design("y ~ x", CROSSED, weights=weights)
    assert said in str(caught.value)


def test_missing_weights_drop_their_rows() -> None:
    built = design("y ~ x", CROSSED, weights=[np.nan] + [1.0] * 59)
    assert "weights: 1" in built.notes[0].text
    column = {
        "y": [1.0, 3, 2, 4],
        "weights": [None, 1, 1, 2],
    }  # a predictor that happens to have the same name
    assert design("y ~ weights", column, weights=[1, 1, 1, np.nan]).n == 2
    assert design("y ~ weights", column, weights="weights").notes[0].text.endswith("(weights: 1)")


# --- bad data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "data", "code", "said"),
    [
        ("y ~ x + (1 | subjct)", {"y": [1.0], "x": [1], "Subject": [1]}, "MW-F20", "             ^^^^^^"),
        ("y ~ X", {"y": [1.0], "x": [1]}, "MW-F20", "Did you mean 'x'"),
        ("y ~ x", {"y": [], "x": []}, "MW-D03", "no rows"),
        ("y ~ x", {"y": [1.0, None], "x": [None, 1]}, "MW-D06", "(y: 1, x: 1)"),
        ("y ~ x", {"y": ["1", "2"], "x": [1, 2]}, "MW-D09", "the response 'y' is text"),
        ("y ~ x", {"y": [True, False], "x": [1, 2]}, "MW-D09", "binomial"),
        ("y ~ x", {"y": pd.Categorical([1, 2]), "x": [1, 2]}, "MW-D09", "categorical"),
        ("y ~ x", {"y": np.array([0, 1], dtype="M8[D]"), "x": [1, 2]}, "MW-D09", "dates"),
        ("y ~ x", {"y": [3.0, 3, 3], "x": [1, 2, 3]}, "MW-D11", "constant"),
        ("y ~ x", {"y": [0, 0, 0], "x": [1, 2, 3]}, "MW-D11", "constant"),
        ("y ~ x", {"y": [1.0, np.inf, 2], "x": [1, 2, 3]}, "MW-D08", "'y' is infinite in row 1"),
        ("y ~ x", {"y": [1.0, 3, 2], "x": [1, 2, -np.inf]}, "MW-D08", "'x' is minus infinity in row 2"),
        ("log(y) ~ x", {"y": [1.0, 3, 0], "x": [1, 2, 4]}, "MW-D08", "row 2 (y = 0.0)"),
        ("y ~ x", [1, 2], "MW-D01", "list"),
    ],
)
def test_bad_data_is_refused(text: str, data: Any, code: str, said: str) -> None:
    with pytest.raises(MixwellError, match=code) as caught:
        design(text, data)
    assert said in str(caught.value)


# --- grouping factors ---------------------------------------------------------------------------------------

GROUPS: dict[str, Any] = {
    "string": (["b", "a", "ü"], ("a", "b", "ü")),
    "integer": ([30, 4, 100], (4, 30, 100)),
    "wide integer": ([10**15, 4, -(10**15)], (-(10**15), 4, 10**15)),
    "whole float": ([30.0, 4.0, 100.0], (4, 30, 100)),
    "boolean": ([True, False, True], (False, True)),
    "category": (pd.Categorical(["b", "a", "c"], categories=["c", "b", "z", "a"]), ("c", "b", "a")),
    "datetime": (np.array(["2021-01-01", "2020-01-01", "2022-01-01"], dtype="M8[us]"), None),
    "mixed": ([("p", 1), "q", 3], (3, "q", ("p", 1))),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_groups_of_any_type(kind: str) -> None:
    values, levels = GROUPS[kind]
    repeated = list(values) * 4
    if kind == "category":
        repeated = pd.Categorical(repeated, categories=values.categories)
    built = design("y ~ 1 + (1 | g)", {"y": rng.normal(size=12), "g": repeated})
    term = built.random[0]
    assert levels is None or term.levels == levels
    assert [term.levels[code] for code in term.codes[:3]] == list(
        values.tolist() if kind == "datetime" else values
    )
    assert codes_of(built) == (["MW-W04"] if kind == "boolean" else [])
    replayed = built.recipe.random({"g": repeated})[0]
    np.testing.assert_array_equal(replayed.codes, term.codes)


def test_groups_of_fractions_are_accepted_and_said() -> None:
    built = design("y ~ 1 + (1 | half)", CROSSED)
    assert codes_of(built) == ["MW-W03"]
    assert built.random[0].levels == (0.5, 1.5, 2.5)


def test_interactions_code_only_what_occurs_and_keep_colons_apart() -> None:
    data = {"y": rng.normal(size=12), "a": ["x:0", "x"] * 6, "b": ["y", "0:y"] * 6, "c": [1, 2, 3] * 4}
    built = design("y ~ 1 + (1 | a:b) + (1 | a:b:c)", data)
    assert built.random[0].levels == (("x", "0:y"), ("x:0", "y"))
    assert built.random[0].factor_names == ("a", "b")
    assert len(built.random[1].levels) == 6
    assert built.random[1].levels[0] == ("x", "0:y", 1)
    np.testing.assert_array_equal(built.random[0].codes, [1, 0] * 6)


def test_nested_groups_written_three_ways_agree() -> None:
    data = CROSSED | {"own": [f"{s}-{g}" for s, g in zip(CROSSED["s"], CROSSED["g"], strict=True)]}
    slash = design("y ~ 1 + (1 | s/g)", data).random
    colon = design("y ~ 1 + (1 | s) + (1 | s:g)", data).random
    labels = design("y ~ 1 + (1 | s) + (1 | own)", data).random
    for first, second, third in zip(slash, colon, labels, strict=True):
        np.testing.assert_array_equal(first.codes, second.codes)
        np.testing.assert_array_equal(first.codes, third.codes)


def test_factor_marks_a_number_as_group() -> None:
    built = design("y ~ x + (1 | factor(s))", CROSSED)
    assert built.random[0].levels == tuple(range(10))
    assert built.random[0].factor_names == ("factor(s)",)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("y ~ x + (1 | one)", "MW-D15", "only one level ('k')"),
        ("y ~ x + (1 | row)", "MW-D16", "60 levels for 60 rows"),
        ("y ~ x + (f + x | g:s)", "MW-D17", "80 random effects for 60 rows (20 levels"),
        ("y ~ x + ar1(1 | s)", "MW-D20", "ar1() needs at least two columns"),
        ("y ~ x + cs(0 + x | s)", "MW-D20", "cs() needs at least two columns"),
        ("y ~ f + (1 | f)", "MW-D19", "'f' is both fixed and random"),
        ("y ~ factor(s) + (1 | s)", "MW-D19", "'s' is both"),
        ("y ~ f * g + (1 | f:g)", "MW-D19", "fixed term f:g"),
        ("y ~ f:g + (1 | f)", "MW-D19", "fixed term f:g"),
        ("y ~ x + f + x:f + (0 + x | f)", "MW-D19", "fixed term x:f"),
        ("y ~ x + (one | s)", "MW-D18", "one"),
    ],
)
def test_random_terms_that_cannot_work(text: str, code: str, said: str) -> None:
    data = CROSSED | {"one": ["k"] * 60, "row": np.arange(60)}
    with pytest.raises(MixwellError, match=code) as caught:
        design(text, data)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "y ~ f + (0 + x | f)",  # fixed intercepts, random slopes
        "y ~ f + g + (1 | f:g)",
        "y ~ f:x + (1 | f)",
        "y ~ s + (1 | s)",  # s is numeric in the fixed part
        "y ~ f + (f | s)",
        "y ~ f * g + (1 | f:s)",
    ],
)
def test_terms_that_share_columns_and_do_work(text: str) -> None:
    assert design(text, CROSSED).n == 60


# --- notes --------------------------------------------------------------------------------------------------


def test_two_levels_are_remarked_upon_once() -> None:
    built = design("y ~ x + (1 | site) + (0 + x | site)", CROSSED)
    (remark,) = built.notes
    assert remark.code == "MW-W04"
    assert remark.text.startswith(
        "the grouping factor 'site' has 2 levels: the variance is poorly determined."
    )


def test_a_numeric_column_fixed_and_random_is_remarked_upon() -> None:
    assert codes_of(design("y ~ s + (1 | s)", CROSSED)) == ["MW-W07"]


def nested(n_a: int, n_b: int, rows: int, *, own: bool = False) -> dict[str, Any]:
    a = np.repeat([f"a{i:02}" for i in range(n_a)], n_b * rows)
    b = np.tile(np.repeat([f"b{i}" for i in range(n_b)], rows), n_a)
    return {"y": rng.normal(size=len(a)), "a": a, "b": np.char.add(a, b) if own else b}


def test_reused_labels_raise_the_question_of_nesting() -> None:
    pastes = nested(10, 3, 2)
    (asked,) = design("y ~ 1 + (1 | a) + (1 | b)", pastes).notes
    assert asked.code == "MW-W05"
    assert "(1 | a/b)" in asked.text
    assert asked.code not in LOUD
    assert design("y ~ 1 + (1 | a/b)", pastes).notes == ()
    assert design("y ~ 1 + (1 | a) + (1 | b) + (1 | a:b)", pastes).notes == ()
    assert design("y ~ 1 + (1 | a) + (1 | b)", nested(10, 3, 2, own=True)).notes == ()
    assert design("y ~ 1 + (1 | a) + (1 | b)", nested(24, 6, 1)).notes == ()  # crossed, one row a cell
    assert design("y ~ 1 + (1 | a) + (1 | b)", nested(4, 3, 2)).notes == ()


@pytest.mark.parametrize("numeric", [False, True])
def test_a_swapped_bar_is_remarked_upon(numeric: bool) -> None:
    data = {k: np.tile(v, 2) for k, v in SLEEP.items()}
    if numeric:
        data["Subject"] = data["Subject"].astype(int)
    (swapped,) = design("Reaction ~ Days + (Subject | Days)", data).notes
    assert swapped.code == "MW-W06"
    assert swapped.code in LOUD
    assert "(Days | Subject)" in swapped.text


def test_a_swapped_bar_explains_too_many_random_effects() -> None:
    with pytest.raises(MixwellError, match="MW-D17") as caught:
        design("Reaction ~ Days + (Subject | Days)", SLEEP)
    assert "wrong way round? The grouping factor stands to its right: (Days | Subject)" in str(caught.value)


def test_numeric_subjects_do_not_look_swapped() -> None:
    assert design("y ~ f + (f | s)", CROSSED).notes == ()
    assert design("y ~ x + (x | s)", CROSSED).notes == ()


# --- new data -----------------------------------------------------------------------------------------------


def test_the_recipe_replays_the_training_data() -> None:
    text = "I(y + 9) ~ scale(x) * f + b + ns(half, 2) + (poly(x, 2) | s) + (0 + b | g:s) + (1 | t:site)"
    built = design(text, CROSSED)
    for data in (CROSSED, pl.DataFrame(CROSSED), Frame.from_data(CROSSED)):
        columns_equal(built.recipe.fixed(data), built.columns)
        for replayed, term in zip(built.recipe.random(data), built.random, strict=True):
            assert isinstance(replayed, RandomDesign)
            assert (replayed.levels, replayed.names, replayed.group) == (term.levels, term.names, term.group)
            np.testing.assert_array_equal(replayed.codes, term.codes)
            columns_equal(replayed.columns, term.columns)
    np.testing.assert_array_equal(built.recipe.response(CROSSED), built.y)


def test_new_rows_meet_the_training_levels() -> None:
    built = design("y ~ x + f + (f | s) + (1 | g:s)", CROSSED)
    new = {"x": [1, None, 3], "f": ["c", "c", None], "s": ["9", None, "77"], "g": ["u", "v", "v"]}
    fixed = built.recipe.fixed(new)
    np.testing.assert_array_equal(fixed[1], [1, np.nan, 3])
    np.testing.assert_array_equal(fixed[3], [1, 1, np.nan])
    first, second = built.recipe.random(new)
    assert first.codes.tolist() == [9, -1, -1]  # the text "9" is the level 9
    assert second.codes.tolist() == [second.levels.index(("u", 9)), -1, -1]


def test_new_data_without_the_response_or_the_group_serve_the_fixed_part() -> None:
    built = design("y ~ f + (1 | s)", CROSSED)
    columns_equal(built.recipe.fixed({"f": ["a", "b"]})[1:], (np.array([0.0, 1.0]), np.zeros(2)))


@pytest.mark.parametrize(
    ("new", "code", "said"),
    [
        ({"f": ["a", "d"], "x": [1, 2]}, "MW-P01", "level 'd' of f was not in the training data (a, b, c)"),
        ({"f": ["a", "b"], "X": [1, 2]}, "MW-P02", "Did you mean 'X'"),
        ({"f": ["a", "b"], "x": ["1", "2"]}, "MW-D09", "text"),
    ],
)
def test_new_data_that_do_not_fit(new: dict[str, Any], code: str, said: str) -> None:
    built = design("y ~ x + f + (1 | s)", CROSSED)
    with pytest.raises(MixwellError, match=code) as caught:
        built.recipe.fixed(new)
    assert said in str(caught.value)


def test_a_dot_stands_for_the_other_columns() -> None:
    data = {"y": [1.0, 3, 2], "x": [1, 2, 4], "z": [0, 1, 1]}
    frame = Frame.from_data(data)
    built = build_design(parse("y ~ .", columns=frame.names), frame)
    assert built.names == ("(Intercept)", "x", "z")
