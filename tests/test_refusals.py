"""Whatever is wrong with the input, the error says what, where and what to do, and nothing is lost.

One section for each kind of mistake. Every case goes through the public functions and checks the code, the
words that matter, and a suggestion where something was misspelt.
"""

from __future__ import annotations

import contextlib
import copy
import pickle
import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mixwell as mw
from mixwell import MixwellError, MixwellWarning

FORMULA = "Reaction ~ Days + (Days | Subject)"
LIBRARIES = [dict, pd.DataFrame, pl.DataFrame, pa.table]
Table = dict[str, Any]


@pytest.fixture(scope="module")
def sleep() -> Table:
    """Sleepstudy as arrays."""
    return {name: np.asarray(values) for name, values in mw.data.load("sleepstudy", "dict").items()}


def refused(code: str, *said: str, formula: str = FORMULA, data: Any, **options: Any) -> MixwellError:
    """Fit, expect the refusal with this code, and look for the words it must have."""
    with pytest.raises(MixwellError) as caught:
        mw.fit(formula, data, **options)
    message = str(caught.value)
    assert caught.value.code == code, message
    assert message.startswith(f"{code}  ")
    assert not re.search(r"\{\w*\}", message), "a field was left unfilled"
    for words in said:
        assert words in message, message
    return caught.value


def warned(code: str, *said: str, formula: str = FORMULA, data: Any, **options: Any) -> mw.FittedModel:
    """Fit, expect exactly one warning, with this code and these words, at the caller's line."""
    with pytest.warns(MixwellWarning) as caught:
        m = mw.fit(formula, data, **options)
    assert [w.message.code for w in caught] == [code]
    assert caught[0].filename == __file__
    for words in said:
        assert words in str(caught[0].message)
    return m


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("formula", "meant"),
    [
        ("Reaction ~ Days + (Days | subjct)", "Subject"),
        ("Reaction ~ days + (Days | Subject)", "Days"),
        ("reaction ~ Days + (Days | Subject)", "Reaction"),
        ("Reaction ~ Days + (Day | Subject)", "Days"),
        ("Reaction ~ Days + offset(Dys) + (1 | Subject)", "Days"),
        ("log(Raction) ~ Days + (1 | Subject)", "Reaction"),
    ],
)
def test_unknown_column(sleep: Table, library: Any, formula: str, meant: str) -> None:
    found = refused(
        "MW-F20", f"Did you mean '{meant}'?", "Columns available:", formula=formula, data=library(sleep)
    )
    assert "^^^" in str(found)
    for name in sleep:
        assert name in str(found)


def test_unknown_column_caret(sleep: Table) -> None:
    """The carets stand under the name."""
    found = refused("MW-F20", formula="Reaction ~ Days + (Days | subjct)", data=sleep)
    lines = str(found).splitlines()
    at = next(i for i, line in enumerate(lines) if set(line.strip()) == {"^"})
    start, stop = lines[at].index("^"), lines[at].rindex("^") + 1
    assert lines[at - 1][start:stop] == "subjct"


def test_unknown_column_far_from_everything(sleep: Table) -> None:
    """No wild guesses."""
    assert "Did you mean" not in str(refused("MW-F20", formula="Reaction ~ qqq + (1 | Subject)", data=sleep))


def test_many_columns_are_not_all_listed(sleep: Table) -> None:
    wide = {**sleep, **{f"c{i}": sleep["Days"] for i in range(300)}}
    assert len(str(refused("MW-F20", formula="Reaction ~ c30O + (1 | Subject)", data=wide))) < 1000


@pytest.mark.parametrize(("argument", "given"), [("weights", "Dayz"), ("offset", "Dayz")])
def test_unknown_column_in_an_argument(sleep: Table, argument: str, given: str) -> None:
    refused("MW-D25", f"{argument} names an unknown column 'Dayz'", "'Days'", data=sleep, **{argument: given})


@pytest.mark.parametrize(
    ("formula", "name", "meant"),
    [
        ("lgo(Reaction) ~ Days + (1 | Subject)", "lgo", "log"),
        ("Reaction ~ ply(Days, 2) + (1 | Subject)", "ply", "poly"),
        ("Reaction ~ scal(Days) + (1 | Subject)", "scal", "scale"),
        ("Reaction ~ Days + (1 | fator(Subject))", "fator", "factor"),
    ],
)
def test_unknown_function(sleep: Table, formula: str, name: str, meant: str) -> None:
    refused(
        "MW-F03", f"unknown function '{name}'", f"Did you mean '{meant}'?", "^^^", formula=formula, data=sleep
    )


def test_unknown_structure(sleep: Table) -> None:
    with pytest.raises(MixwellError, match="ar1") as caught:
        mw.lmer("Reaction ~ Days + ar2(0 + Days | Subject)", sleep)
    assert caught.value.code in {"MW-F15", "MW-F03"}
    assert "Did you mean 'ar1'?" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda d: mw.lmer(FORMULA, d, weigths="Days"), "weights"),
        (lambda d: mw.lmer(FORMULA, d, metod="ML"), "method"),
        (lambda d: mw.lm("Reaction ~ Days", d, contrast="sum"), "contrasts"),
        (lambda d: mw.fit(FORMULA, d, na_acton="fail"), "na_action"),
        (lambda d: mw.lmer(FORMULA, d).predict(newdta=d), "newdata"),
        (lambda d: mw.lmer(FORMULA, d).predict(d, new_level="population"), "new_levels"),
        (lambda d: mw.lmer(FORMULA, d).update(metod="ML"), "method"),
        (lambda d: mw.Control(max_evaluation=3), "max_evaluations"),
    ],
)
def test_unknown_keyword(sleep: Table, call: Any, meant: str) -> None:
    with pytest.raises(MixwellError, match=f"Did you mean '{meant}'") as caught:
        call(sleep)
    assert caught.value.code == "MW-A01"


def test_unknown_keyword_in_a_formula(sleep: Table) -> None:
    refused("MW-F21", "Did you mean 'degree'?", formula="Reaction ~ poly(Days, degre = 2)", data=sleep)


def test_lme4_arguments_are_refused(sleep: Table) -> None:
    """REML=False is what an R user tries first."""
    with pytest.raises(MixwellError, match="method") as caught:
        mw.lmer(FORMULA, sleep, REML=False)
    assert caught.value.code == "MW-A17"
    assert "method='ML'" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"method": "reml"}, "'REML'"),
        ({"family": "gausian"}, "'gaussian'"),
        ({"na_action": "omit"}, "'drop'"),
        ({"contrasts": {"Subject": "helmet"}}, "helmert"),
        ({"contrasts": "helmet"}, "helmert"),
    ],
)
def test_unknown_value_of_an_option(sleep: Table, options: Table, allowed: str) -> None:
    with pytest.raises(MixwellError) as caught:
        mw.fit("Reaction ~ Subject", sleep, **options)
    assert allowed in str(caught.value)


@pytest.mark.parametrize("given", ["Subject308", "O8", 308.5])
def test_unknown_level(sleep: Table, given: Any) -> None:
    table = {**sleep, "Subject": np.char.add("subject", sleep["Subject"].astype(str))}
    with pytest.raises(MixwellError, match=f"new level '{given}'") as caught:
        mw.lmer(FORMULA, table).predict({"Days": [1], "Subject": [given]})
    assert caught.value.code == "MW-P10"
    assert ("Did you mean 'subject308'?" in str(caught.value)) == (given == "Subject308")


def test_unknown_level_of_a_fixed_factor(sleep: Table) -> None:
    f = np.array(["control", "drug"])[np.arange(180) % 2]
    m = mw.lm("Reaction ~ f", {**sleep, "f": f})
    with pytest.raises(MixwellError, match=r"level 'Control' of f .* \(control, drug\)") as caught:
        m.predict({"f": ["Control"]})
    assert caught.value.code == "MW-P01"


def test_unknown_reference_level(sleep: Table) -> None:
    refused(
        "MW-D23",
        "'39O'",
        "Did you mean",
        formula='Reaction ~ C(Subject, treatment(reference = "39O"))',
        data=sleep,
    )


def test_unknown_data_set() -> None:
    with pytest.raises(MixwellError, match="Did you mean 'sleepstudy'"):
        mw.data.load("sleepstudie")


# --- rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_rows_left(sleep: Table, library: Any) -> None:
    table = library({**sleep, "x": np.full(180, np.nan)})
    refused(
        "MW-D06", "no rows are left", "x: 180", "180 rows", formula="Reaction ~ x + (1 | Subject)", data=table
    )


@pytest.mark.parametrize("library", [dict, pd.DataFrame, pl.DataFrame])
def test_no_rows_left_by_nothing_but_none(sleep: Table, library: Any) -> None:
    table = library({**{k: v.tolist() for k, v in sleep.items()}, "x": [None] * 180})
    refused("MW-D06", "no rows are left", "x: 180", formula="Reaction ~ x + (1 | Subject)", data=table)


def test_no_rows_left_together(sleep: Table) -> None:
    """Two columns that are never there at once."""
    first, second = np.arange(180.0), np.arange(180.0)
    first[:90], second[90:] = np.nan, np.nan
    refused("MW-D06", "a: 90", "b: 90", formula="Reaction ~ a + b", data={**sleep, "a": first, "b": second})


@pytest.mark.parametrize("library", LIBRARIES)
def test_empty_frame(sleep: Table, library: Any) -> None:
    refused("MW-D03", "no rows", data=library({name: values[:0] for name, values in sleep.items()}))


@pytest.mark.parametrize("empty", [{}, pd.DataFrame(), pl.DataFrame()], ids=["dict", "pandas", "polars"])
def test_no_columns(empty: Any) -> None:
    with pytest.raises(MixwellError) as caught:
        mw.lmer(FORMULA, empty)
    assert caught.value.code in {"MW-D03", "MW-F20"}


@pytest.mark.parametrize(
    "data", [None, [1, 2], "sleepstudy", 3, np.zeros((180, 3)), [{"Reaction": 1.0}], object()]
)
def test_not_a_table(data: Any) -> None:
    kind = type(data).__name__
    assert kind in str(refused("MW-D01", "table", data=data))


def test_mismatched_lengths(sleep: Table) -> None:
    table = {**sleep, "Days": sleep["Days"][:-1]}
    refused("MW-D02", "different lengths", "Days 179", "Reaction 180", data=table)


@pytest.mark.parametrize("argument", ["weights", "offset"])
@pytest.mark.parametrize(
    ("given", "said"), [(np.ones(179), "179 values"), ([1.0] * 3, "3 values"), (2.0, "one value")]
)
def test_mismatched_arguments(sleep: Table, argument: str, given: Any, said: str) -> None:
    refused("MW-D12", argument, said, "180 rows", data=sleep, **{argument: given})


@pytest.mark.parametrize("argument", ["weights", "offset"])
def test_matrix_arguments(sleep: Table, argument: str) -> None:
    with pytest.raises(MixwellError) as caught:
        mw.lmer(FORMULA, sleep, **{argument: np.ones((180, 2))})
    assert argument in str(caught.value)


# --- the response -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda y: y.astype(str), "text"),
        (lambda y: pd.Categorical(y > 300), "categorical"),
        (lambda y: y > 300, "boolean"),
        (lambda y: np.datetime64("2020-01-01") + y.astype("timedelta64[D]"), "dates"),
        (lambda y: [*y[:-1], "missing"], "text"),
    ],
    ids=["text", "categorical", "boolean", "dates", "mixed"],
)
def test_response_not_numeric(sleep: Table, make: Any, kind: str) -> None:
    refused(
        "MW-D09",
        "'Reaction'",
        kind,
        "numbers are needed",
        data={**sleep, "Reaction": make(sleep["Reaction"])},
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_response_is_text(sleep: Table, library: Any) -> None:
    table = library({**sleep, "Reaction": sleep["Reaction"].astype(str).tolist()})
    found = refused("MW-D09", "response 'Reaction' is text", "must be numeric", data=table)
    assert "^^^" in str(found)


def test_response_as_a_categorical_group(sleep: Table) -> None:
    refused("MW-D09", "'Subject'", formula="Subject ~ Days", data=sleep)


@pytest.mark.parametrize("library", LIBRARIES)
def test_response_constant(sleep: Table, library: Any) -> None:
    table = library({**sleep, "Reaction": np.full(180, 3.0)})
    refused("MW-D11", "'Reaction' is constant; nothing to estimate", "180 rows", "3.0", data=table)


def test_response_constant_among_the_rows_used(sleep: Table) -> None:
    y, x = np.where(np.arange(180) < 10, 1.0, 2.0), sleep["Days"].astype(float)
    x[:10] = np.nan
    refused("MW-D11", "170 rows", data={**sleep, "Reaction": y, "Days": x})


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_response(sleep: Table, library: Any, value: float) -> None:
    y = sleep["Reaction"].copy()
    y[17] = value
    refused("MW-D08", "'Reaction'", "infini", "row 17", data=library({**sleep, "Reaction": y}))


@pytest.mark.parametrize("library", LIBRARIES)
def test_nan_in_the_response(sleep: Table, library: Any) -> None:
    """Dropped and said, not lost: rows keep their place where that is asked for."""
    y = sleep["Reaction"].copy()
    y[17] = np.nan
    table = library({**sleep, "Reaction": y})
    m = warned("MW-W01", "dropped 1 of 180 rows", "Reaction: 1", data=table)
    assert m.nobs == 179
    assert np.flatnonzero(np.isnan(m.resid(align=True))).tolist() == [17]


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        (np.inf, "MW-D08", "infinite"),
        (-np.inf, "MW-D08", "infinite"),
        (-1.0, "MW-D13", "must not be negative"),
    ],
)
def test_bad_weights(sleep: Table, by_name: bool, value: float, code: str, said: str) -> None:
    w = np.ones(180)
    w[17] = value
    refused(code, said, "row 17", data={**sleep, "w": w}, weights="w" if by_name else w)


def test_nan_in_weights(sleep: Table) -> None:
    w = np.ones(180)
    w[17] = np.nan
    m = warned("MW-W01", "dropped 1 of 180 rows", "w: 1", data={**sleep, "w": w}, weights="w")
    assert m.nobs == 179
    again = warned("MW-W01", "weights: 1", data=sleep, weights=w)
    assert again.loglik == m.loglik
    refused("MW-D07", "w: 1", data={**sleep, "w": w}, weights="w", na_action="fail")


@pytest.mark.parametrize("library", LIBRARIES)
def test_all_weights_zero(sleep: Table, library: Any) -> None:
    refused("MW-D14", "all weights in 'w' are zero", data=library({**sleep, "w": np.zeros(180)}), weights="w")
    refused("MW-D14", "all weights", data=library(sleep), weights=np.zeros(180))


def test_all_weights_missing(sleep: Table) -> None:
    refused("MW-D06", "w: 180", data={**sleep, "w": np.full(180, np.nan)}, weights="w")


def test_weights_that_are_text(sleep: Table) -> None:
    refused("MW-D09", "'Subject'", "weights", "text", data=sleep, weights="Subject")


# --- groups -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_level(sleep: Table, library: Any) -> None:
    table = library({**sleep, "site": ["A"] * 180})
    refused("MW-D15", "'site' has only one level ('A')", formula="Reaction ~ Days + (1 | site)", data=table)


def test_one_level_of_a_fixed_factor(sleep: Table) -> None:
    table = {**sleep, "site": ["A"] * 180}
    refused("MW-D18", "'site' has only one level ('A')", "^^^^", formula="Reaction ~ Days + site", data=table)


@pytest.mark.parametrize("library", LIBRARIES)
def test_as_many_levels_as_rows(sleep: Table, library: Any) -> None:
    table = library({**sleep, "id": np.arange(180)})
    refused(
        "MW-D16",
        "'id' has 180 levels for 180 rows",
        "residual variance cannot be told apart",
        formula="Reaction ~ Days + (1 | id)",
        data=table,
    )


def test_more_random_effects_than_rows(sleep: Table) -> None:
    refused(
        "MW-D17",
        "has 54 random effects for 36 rows",
        "fewer random effects than rows",
        formula="Reaction ~ Days + (poly(Days, 2) | Subject)",
        data={
            **{name: values[np.isin(sleep["Days"], [2, 5])] for name, values in sleep.items()},
            "Days": np.arange(36) % 5,
        },
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_groups_of_fractions(sleep: Table, library: Any) -> None:
    """Accepted, and said."""
    number = sleep["Subject"].astype(float)
    m = mw.lmer(FORMULA, library({**sleep, "Subject": number + 0.5}))
    (text,) = [note.text for note in m.notes if note.code == "MW-W03"]
    assert "'Subject' holds numbers that are not whole (such as 308.5)" in text
    assert "not whole" in str(m)
    assert m.loglik == pytest.approx(-871.814136, abs=1e-6)
    whole = mw.lmer(FORMULA, library({**sleep, "Subject": number}))
    assert not whole.notes
    if library is not dict and library is not pa.table:
        assert whole.predict({"Days": [1], "Subject": [308]}) == whole.predict(
            {"Days": [1], "Subject": ["308"]}
        )


@pytest.mark.parametrize("fraction", [0.5, 1 / 3])
def test_a_single_fraction_among_whole_numbers_is_said(sleep: Table, fraction: float) -> None:
    """Wherever it sorts among the levels."""
    number = sleep["Subject"].astype(float)
    number[number == 335] += fraction
    m = mw.lmer(FORMULA, {**sleep, "Subject": number})
    (text,) = [note.text for note in m.notes if note.code == "MW-W03"]
    assert f"such as {335 + fraction}" in text


# --- rank ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
def test_rank_deficient_columns_are_dropped_and_named(sleep: Table, library: Any) -> None:
    extra = {"z": 2 * sleep["Days"] + 3.0, "one": np.full(180, 5.0)}
    m = warned(
        "MW-C02",
        "'z' is a combination of (Intercept), Days",
        "'one'",
        formula="Reaction ~ Days + z + one + (Days | Subject)",
        data=library({**sleep, **extra}),
    )
    plain = mw.lmer(FORMULA, sleep)
    assert m.dropped == ("z", "one")
    assert m.fixef.names == plain.fixef.names
    assert m.loglik == pytest.approx(plain.loglik, abs=1e-9)
    new = {"Days": [3.0, 4.0], "Subject": ["308", "372"]}
    both = library({**new, "z": [9.0, 11.0], "one": [5.0, 5.0]})
    np.testing.assert_allclose(m.predict(both), plain.predict(new), rtol=1e-9)
    np.testing.assert_allclose(m.predict(), plain.predict(), rtol=1e-9)
    assert m.model_matrix().shape == (180, 2)
    assert "'z'" in str(m)


def test_rank_deficient_order_decides(sleep: Table) -> None:
    """The first of equals stays, as in R."""
    table = {**sleep, "z": 2.0 * sleep["Days"]}
    m = warned("MW-C02", "'Days'", formula="Reaction ~ z + Days + (1 | Subject)", data=table)
    assert m.fixef.names == ("(Intercept)", "z")
    assert m.fixef["z"] == pytest.approx(10.467286 / 2, rel=1e-6)


def test_rank_deficient_without_random_effects(sleep: Table) -> None:
    with pytest.warns(MixwellWarning, match="'z'"):
        m = mw.lm("Reaction ~ Days + z", {**sleep, "z": 2.0 * sleep["Days"]})
    assert m.predict({"Days": [1.0], "z": [2.0]}) == pytest.approx(
        mw.lm("Reaction ~ Days", sleep).predict({"Days": [1]})
    )
    assert m.df_residual == 178


# --- duplicates, comparisons --------------------------------------------------------------------------------


def test_duplicate_random_terms(sleep: Table) -> None:
    refused(
        "MW-F14",
        "twice",
        "(1 | Subject)",
        "^^^",
        formula="Reaction ~ (1 | Subject) + (1 | Subject)",
        data=sleep,
    )


def test_duplicate_fixed_terms_count_once(sleep: Table) -> None:
    """As in R: a + a is a."""
    m = mw.lmer("Reaction ~ Days + Days + (Days + Days | Subject)", sleep)
    assert m.fixef.names == ("(Intercept)", "Days")
    assert m.varcorr()["Subject"].names == ("(Intercept)", "Days")


def test_duplicate_columns(sleep: Table) -> None:
    frame = pd.concat([pd.DataFrame(sleep), pd.DataFrame({"Days": sleep["Days"]})], axis=1)
    refused("MW-D04", "2 columns named 'Days'", data=frame)


def test_comparing_reml_fits(sleep: Table) -> None:
    one, two = mw.lmer("Reaction ~ 1 + (1 | Subject)", sleep), mw.lmer(FORMULA, sleep)
    for models, code, said in (
        ((one, two), "MW-A04", "different fixed effects"),
        ((one, one.update(method="ML")), "MW-A12", "REML fit and an ML fit"),
        ((one,), "MW-A14", "two models"),
        ((), "MW-A14", "two models"),
        ((two, mw.lm("Reaction ~ 1", sleep)), "MW-A04", "different fixed effects"),
    ):
        with pytest.raises(MixwellError, match=said) as caught:
            mw.compare(*models, refit=False)
        assert caught.value.code == code
    mw.compare(two, mw.lm("Reaction ~ Days", sleep))
    with pytest.raises(MixwellError) as caught:
        _ = one.update(method="ML").reml_criterion
    assert caught.value.code == "MW-A15"


def test_comparing_other_things(sleep: Table) -> None:
    m = mw.lmer(FORMULA, sleep)
    for other in ("Reaction ~ 1", None, [m, m]):
        for models in ((m, other), (other, m), (other,)):
            with pytest.raises(MixwellError, match="takes fitted models") as caught:
                mw.compare(*models)
            assert caught.value.code == "MW-A18"


# --- formulas -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "given"),
    [
        ("Reaction ~ Days + (Days | Subject", "("),
        ("Reaction ~ Days + Days | Subject)", ")"),
        ("Reaction ~ Days + ((Days | Subject)", "("),
        ("Reaction ~ log(Days + (1 | Subject)", "("),
        ("Reaction ~ )Days", ")"),
    ],
)
def test_unbalanced_parentheses(sleep: Table, formula: str, given: str) -> None:
    refused("MW-F05", "unbalanced parentheses", f"'{given}'", "    ^", formula=formula, data=sleep)


@pytest.mark.parametrize(
    "formula", ["Reaction ~ Days | Subject", "Reaction ~ Days + 1 | Subject", "Reaction ~ Days || Subject"]
)
def test_bar_outside_parentheses(sleep: Table, formula: str) -> None:
    found = refused("MW-F10", "outside parentheses", "(", formula=formula, data=sleep)
    assert "| Subject)" in str(found)


@pytest.mark.parametrize(
    "value",
    [
        "__import__('os')",
        "__import__('os').system('true')",
        "os.system('true')",
        "eval('1')",
        "exec('1')",
        "open('x')",
        "getattr(Days, 'x')",
        "Days.__class__",
        "Days.__class__.__mro__",
        "(lambda: 1)()",
        "[x for x in Days]",
        "Days[0]",
        "I(Days.sum())",
        "I(np.log(Days))",
        "np.log(Days)",
        "log.__globals__",
        "@Days",
        "{Days}",
        "I(__builtins__)",
        "Days if 1 else 0",
        "I(Days := 3)",
        "system('true')",
        "poly(Days, eval('2'))",
        "poly(Days, df = open('x'))",
        "f'{Days}'",
        "`__import__('os')`",
        "Days; Days",
        "$Days",
        "sleep$Days",
    ],
)
@pytest.mark.parametrize("side", ["Reaction ~ {} + (1 | Subject)", "{} ~ Days", "Reaction ~ ({} | Subject)"])
def test_formulas_are_not_code(sleep: Table, value: str, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only columns and whitelisted functions exist; anything else is refused and never looked up."""
    for name in ("eval", "exec", "open", "__import__", "getattr"):
        assert name not in mw.formula.FUNCTIONS
    with pytest.raises(MixwellError) as caught:
        mw.fit(side.format(value), sleep)
    assert caught.value.code.startswith("MW-F"), str(caught.value)
    assert "^" in str(caught.value)


@pytest.mark.parametrize(
    "formula", ["", "  ", "~", "Reaction", "Reaction ~", "~ Days", "Reaction ~ Days ~ 1"]
)
def test_incomplete_formulas(sleep: Table, formula: str) -> None:
    with pytest.raises(MixwellError) as caught:
        mw.fit(formula, sleep)
    assert caught.value.code in {"MW-F02", "MW-F08", "MW-F09"}


@pytest.mark.parametrize("formula", [None, 3, ["Reaction", "Days"], b"Reaction ~ Days", ("y", "x")])
@pytest.mark.parametrize("door", [mw.fit, mw.lm, mw.lmer])
def test_formulas_of_other_types(sleep: Table, formula: Any, door: Any) -> None:
    with pytest.raises(MixwellError, match="must be a string") as caught:
        door(formula, sleep)
    assert caught.value.code == "MW-F01"


def test_swapped_arguments(sleep: Table) -> None:
    """Data first is a habit from other packages."""
    with pytest.raises(MixwellError) as caught:
        mw.lmer(sleep, FORMULA)
    assert caught.value.code in {"MW-F01", "MW-D01"}


# --- nothing is lost ----------------------------------------------------------------------------------------


def test_a_failed_call_leaves_the_data_alone(sleep: Table) -> None:
    frame = pd.DataFrame(sleep)
    before = frame.copy(deep=True)
    for formula in ("Reaction ~ Dayz + (1 | Subject)", "Reaction ~ Subject + (1 | Subject)", FORMULA):
        with contextlib.suppress(MixwellError):
            mw.fit(formula, frame, weights=frame["Days"] + 1.0)
    pd.testing.assert_frame_equal(frame, before)


def test_errors_survive_pickling_and_copying(sleep: Table) -> None:
    found = refused("MW-F20", formula="Reaction ~ Dayz", data=sleep)
    for again in (pickle.loads(pickle.dumps(found)), copy.copy(found)):
        assert str(again) == str(found)
        assert again.code == found.code
    assert isinstance(found, ValueError)


# --- refits and updates -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.ones(3), "180 rows"),
        (np.ones((180, 1)), "180 rows"),
        (np.full(180, np.nan), "nan"),
        (np.full(180, 2.0), "constant"),
        (["a"] * 180, "not numbers"),
        (None, "180 rows"),
        (3.0, "180 rows"),
    ],
)
def test_refit_with_a_bad_response(sleep: Table, y: Any, said: str) -> None:
    with pytest.raises(MixwellError, match=said) as caught:
        mw.lmer(FORMULA, sleep).refit(y)
    assert caught.value.code == "MW-A09"


def test_update_without_random_terms(sleep: Table) -> None:
    """What is left is a linear model."""
    m = mw.lmer(FORMULA, sleep).update("~ . - (Days | Subject)")
    assert not m.is_mixed
    assert m.sigma == pytest.approx(mw.lm("Reaction ~ Days", sleep).sigma, rel=1e-12)
    assert "Residual" in str(m.varcorr())
    assert "Days" in str(m)
    assert len(m.ranef()["level"]) == 0
    with pytest.raises(MixwellError) as caught:
        m.update("~ . - (Days | Subject)")
    assert caught.value.code == "MW-F28"


@pytest.mark.parametrize("library", LIBRARIES)
def test_predict_without_a_column(sleep: Table, library: Any) -> None:
    m = mw.lmer(FORMULA, library(sleep))
    for new, column in (({"Subject": ["308"]}, "Days"), ({"Days": [1.0]}, "Subject")):
        with pytest.raises(MixwellError, match=f"no column '{column}'") as caught:
            m.predict(library(new))
        assert caught.value.code == "MW-P02"
    with pytest.raises(MixwellError, match="Did you mean 'days'"):
        m.predict(library({"days": [1.0], "Subject": ["308"]}))


@pytest.mark.parametrize("library", LIBRARIES)
def test_predict_on_no_rows(sleep: Table, library: Any) -> None:
    m = mw.lmer(FORMULA, library(sleep))
    assert m.predict(library({name: values[:0] for name, values in sleep.items()})).shape == (0,)


@pytest.mark.parametrize("new", [[1, 2], "Days", 3, np.zeros((3, 2))])
def test_predict_on_no_table(sleep: Table, new: Any) -> None:
    with pytest.raises(MixwellError) as caught:
        mw.lmer(FORMULA, sleep).predict(new)
    assert caught.value.code == "MW-D01"


def test_predict_from_text(sleep: Table) -> None:
    with pytest.raises(MixwellError, match="'Days'") as caught:
        mw.lmer(FORMULA, sleep).predict({"Days": ["one"], "Subject": ["308"]})
    assert caught.value.code.startswith(("MW-D", "MW-P"))


# --- found by trying ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "code", "said"),
    [
        (set(range(180)), "MW-D05", "one set"),  # a set has no order to match the rows
        (frozenset(range(180)), "MW-D05", "one frozenset"),
        ({i: i for i in range(180)}, "MW-D05", "one dict"),
        ((i for i in range(180)), "MW-D05", "one generator"),
        ([[1]] * 180, "MW-D05", "a list in each row"),
        (np.ones(180) + 1j, "MW-D05", "complex"),
        (list(np.ones(180) + 1j), "MW-D05", "complex numbers"),
        (["a" + 0 * "b"] * 179 + [1j], "MW-D05", "complex numbers"),
        (np.ones((180, 2)), "MW-D05", "shape (180, 2)"),
        (np.array(1.0), "MW-D05", "not one value per row"),
    ],
)
def test_columns_that_are_no_columns(sleep: Table, column: Any, code: str, said: str) -> None:
    refused(code, "'Days'", said, data={**sleep, "Days": column})


def test_identifiers_beyond_64_bits_stay_apart(sleep: Table) -> None:
    """As floats 10^30 and 10^30 + 1 are one number, as labels they are two."""
    m = mw.lmer(FORMULA, {**sleep, "Subject": [10**30 + int(label) for label in sleep["Subject"]]})
    assert m.loglik == pytest.approx(-871.814136, abs=1e-6)
    hashes = np.uint64(2**64 - 1) - sleep["Subject"].astype("u8")
    assert mw.lmer(FORMULA, {**sleep, "Subject": hashes}).loglik == pytest.approx(-871.814136, abs=1e-6)


@pytest.mark.parametrize(
    ("weights", "code", "said"),
    [
        (pd.DataFrame({"w": np.ones(180)}), "MW-D05", "shape (180, 1)"),
        (pl.DataFrame({"w": np.ones(180)}), "MW-D05", "shape (180, 1)"),
        ({"w": np.ones(180)}, "MW-D12", "one dict"),
        ((1.0 for _ in range(180)), "MW-D12", "one generator"),
        (["1"] * 180, "MW-D09", "Pass weights as numbers"),
        ([[1.0], [1.0, 2.0]] * 90, "MW-D05", "list"),
    ],
)
def test_weights_that_are_no_column(sleep: Table, weights: Any, code: str, said: str) -> None:
    refused(code, "weights", said, data=sleep, weights=weights)


def test_offset_that_is_the_response(sleep: Table) -> None:
    refused("MW-D11", "'Reaction - offset' is constant", "0.0", data=sleep, offset="Reaction")


@pytest.mark.parametrize("contrasts", [5, ["sum"], np.eye(2)])
def test_contrasts_of_another_type(sleep: Table, contrasts: Any) -> None:
    refused("MW-A07", "contrasts must be", formula="Reaction ~ Subject", data=sleep, contrasts=contrasts)


@pytest.mark.parametrize("family", [{"a": 1}, max, None, 3, ["gaussian"]])
def test_family_of_another_type(sleep: Table, family: Any) -> None:
    refused("MW-A76", "unknown family", "gaussian", data=sleep, family=family)


@pytest.mark.parametrize("theta", ["a", None, [1.0], [1.0, np.nan, 1.0], {"a": 1}, [[1.0], [1.0, 2.0]]])
def test_criterion_at_no_theta(sleep: Table, theta: Any) -> None:
    with pytest.raises(MixwellError, match="theta must be 3 finite numbers") as caught:
        mw.lmer(FORMULA, sleep).criterion(theta)
    assert caught.value.code == "MW-A08"


def test_refit_with_complex_numbers(sleep: Table) -> None:
    with pytest.raises(MixwellError, match="complex") as caught:
        mw.lmer(FORMULA, sleep).refit(sleep["Reaction"] + 1j)
    assert caught.value.code == "MW-A09"


def test_more_spline_columns_than_rows(sleep: Table) -> None:
    """Not a question of how much memory there is."""
    for call in ("bs(Days, df = 1e9)", "ns(Days, df = 181)"):
        refused("MW-D24", "more than the 180 rows", formula=f"Reaction ~ {call}", data=sleep)


@pytest.mark.parametrize(
    ("character", "shown"), [("\x00", "U+0000"), ("\u200b", "U+200B"), ("\u00ad", "U+00AD")]
)
def test_invisible_characters_are_named(sleep: Table, character: str, shown: str) -> None:
    found = refused("MW-F04", f"'{shown}'", "^", formula=f"Reaction ~ Days{character}", data=sleep)
    assert character not in str(found)


def test_names_of_any_spelling(sleep: Table) -> None:
    """Backquotes take everything, newlines and bars included; other alphabets need none."""
    plain = mw.lmer(FORMULA, sleep)
    for name, text in (("日", "日"), ("größe", "größe"), ("a b", "`a b`"), ("|", "`|`"), ("x\ny", "`x\ny`")):
        table = {"Reaction": sleep["Reaction"], name: sleep["Days"], "Subject": sleep["Subject"]}
        m = mw.lmer(f"Reaction ~\n {text} + ({text}\r\n\t| Subject)", table)
        assert m.loglik == plain.loglik
        again = mw.lmer(str(m.formula), table)
        assert again.loglik == m.loglik
        assert m.predict(table).shape == (180,)


def test_unknown_level_of_a_large_factor_gets_a_suggestion(sleep: Table) -> None:
    table = {**sleep, "f": np.char.add("subject", sleep["Subject"].astype(str))}
    with pytest.raises(MixwellError, match="Did you mean 'subject308'"):
        mw.lm("Reaction ~ f", table).predict({"f": ["Subject308"]})


def test_predict_without_any_column(sleep: Table) -> None:
    with pytest.raises(MixwellError, match="Columns given: none"):
        mw.lmer(FORMULA, sleep).predict({})
