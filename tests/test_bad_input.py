"""Bad input gets a clear error (what, given what, where, what to do), and nothing is lost silently."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import mixwell as mw
from mixwell import MixwellError, MixwellWarning

FORMULA = "Reaction ~ Days + (Days | Subject)"
SLEEP = mw.data.load("sleepstudy", "pandas")
ONES = np.ones(180)


def spoiled(values: Any, row: int, value: float) -> Any:
    """A float copy with one value replaced."""
    out = np.array(values, dtype=float)
    out[row] = value
    return out


# What is done, code, and what the message must contain.
REFUSED: dict[str, tuple[Callable[[Any], Any], str, tuple[str, ...]]] = {
    "unknown column": (
        lambda d: mw.lmer("Reaction ~ Dais + (1 | Subject)", d),
        "MW-F20",
        ("unknown column 'Dais'", "           ^^^^", "Reaction, Days, Subject", "Did you mean 'Days'?"),
    ),
    "unknown grouping column": (
        lambda d: mw.lmer("Reaction ~ Days + (1 | subjct)", d),
        "MW-F20",
        ("'subjct'", "^^^^^^", "Did you mean 'Subject'?"),
    ),
    "unknown function": (
        lambda d: mw.lmer("Reaction ~ lg(Days) + (1 | Subject)", d),
        "MW-F03",
        ("unknown function 'lg'", "^^", "Did you mean 'log'?"),
    ),
    "unknown keyword": (
        lambda d: mw.lmer(FORMULA, d, wieghts=None),
        "MW-A01",
        ("lmer() has no argument 'wieghts'", "Did you mean 'weights'?"),
    ),
    "lme4's keyword": (lambda d: mw.lmer(FORMULA, d, REML=False), "MW-A17", ("method='ML'",)),
    "bad option": (lambda d: mw.lmer(FORMULA, d, method="ml"), "MW-A02", ("'ml'", "'REML', 'ML'")),
    "counts": (lambda d: mw.fit(FORMULA, d, family="poisson"), "MW-D28", ("whole number", "row 0")),
    "shares": (lambda d: mw.glm("Reaction ~ Days", d), "MW-D28", ("between 0 and 1", "cbind(")),
    "glmer without": (lambda d: mw.glmer("Reaction ~ Days", d), "MW-A06", ("(1 | g)",)),
    "lm with random effects": (lambda d: mw.lm(FORMULA, d), "MW-A05", ("(1 + Days | Subject)", "lmer()")),
    "lmer without": (lambda d: mw.lmer("Reaction ~ Days", d), "MW-A06", ("(1 | g)", "lm()")),
    "text response": (lambda d: mw.lm("Subject ~ Days", d), "MW-D09", ("'Subject'", "must be numeric")),
    "nan weights on request": (
        lambda d: mw.lmer(FORMULA, d, weights=spoiled(ONES, 3, np.nan), na_action="fail"),
        "MW-D07",
        ("weights",),
    ),
    "infinite weight": (
        lambda d: mw.lmer(FORMULA, d, weights=spoiled(ONES, 3, np.inf)),
        "MW-D08",
        ("weights is infinite in row 3",),
    ),
    "negative weight": (
        lambda d: mw.lmer(FORMULA, d, weights=spoiled(ONES, 3, -1)),
        "MW-D13",
        ("must not be negative", "-1", "row 3"),
    ),
    "all weights zero": (lambda d: mw.lmer(FORMULA, d, weights=0 * ONES), "MW-D14", ("zero",)),
    "short weights": (lambda d: mw.lmer(FORMULA, d, weights=ONES[:18]), "MW-D12", ("18 values", "180 rows")),
    "not a table": (
        lambda _: mw.lmer(FORMULA, [1, 2, 3]),
        "MW-D01",
        ("got list", "pandas, polars or pyarrow"),
    ),
    "unequal lengths": (
        lambda _: mw.lmer("y ~ x + (1 | g)", {"y": [1.0, 2.0, 3.0], "x": [1.0, 2.0], "g": [1, 1, 2]}),
        "MW-D02",
        ("y 3, x 2, g 3",),
    ),
    "empty frame": (lambda d: mw.lmer(FORMULA, d[:0]), "MW-D03", ("no rows",)),
    "open parenthesis": (
        lambda d: mw.lmer("Reaction ~ Days + (Days | Subject", d),
        "MW-F05",
        ("never closed", "                  ^"),
    ),
    "closing parenthesis": (lambda d: mw.lmer("Reaction ~ Days + Days | Subject)", d), "MW-F05", (")",)),
    "bar outside": (
        lambda d: mw.lmer("Reaction ~ Days + Days | Subject", d),
        "MW-F10",
        ("outside parentheses", "(Days | Subject)"),
    ),
    "no group": (lambda d: mw.lmer("Reaction ~ 1 + (1 | )", d), "MW-F12", ("right of the bar",)),
    "number as group": (
        lambda d: mw.lmer("Reaction ~ 1 + (1 | 1)", d),
        "MW-F11",
        ("cannot be a grouping factor",),
    ),
    "no response": (lambda d: mw.lmer("~ Days + (1 | Subject)", d), "MW-F02", ("left of '~'",)),
    "duplicate term": (
        lambda d: mw.lmer("Reaction ~ Days + (1 | Subject) + (1 | Subject)", d),
        "MW-F14",
        ("the intercept twice",),
    ),
    "two names of one grouping": (
        lambda d: mw.lmer("Reaction ~ Days + (1 | Subject) + (1 | who)", {**as_dict(d), "who": named()}),
        "MW-D26",
        ("'who' groups the rows exactly as 'Subject' does",),
    ),
    "constant slope": (
        lambda d: mw.lmer("Reaction ~ Days + (z | Subject)", {**as_dict(d), "z": 2.0 * ONES}),
        "MW-N06",
        ("column 'z' of the random-effects term (1 + z | Subject)",),
    ),
    "zero slope": (
        lambda d: mw.lmer("Reaction ~ Days + (z || Subject)", {**as_dict(d), "z": 0.0 * ONES}),
        "MW-N06",
        ("column 'z'",),
    ),
    "a constant beside the intercept, uncorrelated": (
        lambda d: mw.lmer("Reaction ~ Days + (z || Subject)", {**as_dict(d), "z": 3.0 * ONES}),
        "MW-N06",
        ("column 'z'",),
    ),
    "dates as a new response": (
        lambda d: mw.lmer(FORMULA, d).refit(np.datetime64("2020-01-01") + np.arange(180)),
        "MW-A09",
        ("not numbers",),
    ),
    "theta of the wrong length": (
        lambda d: mw.lmer(FORMULA, d, control=mw.Control(start=(1.0, 0.0))),
        "MW-A08",
        ("start must be 3 finite numbers", "got 1.0, 0.0"),
    ),
    "response of the wrong length": (
        lambda d: mw.lmer(FORMULA, d).refit(np.ones(5)),
        "MW-A09",
        ("(5,)", "180 rows"),
    ),
    "missing column in new data": (
        lambda d: mw.lmer(FORMULA, d).predict({"Subject": ["308"], "Day": [1.0]}),
        "MW-P02",
        ("'Days'", "Subject, Day", "Did you mean 'Day'?"),
    ),
    "level with a typing error": (
        lambda d: mw.lmer("Reaction ~ Days + (1 | s)", {**as_dict(d), "s": named()}).predict(
            {"Days": [1.0], "s": ["persn 8"]}
        ),
        "MW-P10",
        ("'persn 8'", "Did you mean 'person 8'?"),
    ),
}


def as_dict(table: Any) -> dict[str, Any]:
    """Columns of a pandas or polars frame as arrays."""
    return {name: np.asarray(table[name]) for name in table.columns}


def named() -> Any:
    """Eighteen labels of ten rows."""
    return np.repeat([f"person {i}" for i in range(18)], 10)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, library: str) -> None:
    """Every refusal has its code and says what the table above asks for."""
    action, code, parts = REFUSED[case]
    with pytest.raises(MixwellError) as caught:
        action(SLEEP if library == "pandas" else pl.from_pandas(SLEEP))
    assert caught.value.code == code
    text = str(caught.value)
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize(
    "text",
    [
        "Reaction ~ __import__('os').system('ls')",
        "Reaction ~ Days.__class__",
        "Reaction ~ Days[0]",
        "Reaction ~ (lambda: 1)()",
        "Reaction ~ eval(Days)",
        "Reaction ~ np.log(Days)",
        "Reaction ~ I(open)(Days)",
        "Reaction ~ log(Days := 1)",
        "Reaction ~ {Days}",
        "Reaction ~ I(Days if Days else 1)",
    ],
)
def test_a_formula_is_data(text: str) -> None:
    """Nothing but columns and whitelisted functions is reached, and the place is marked."""
    with pytest.raises(MixwellError) as caught:
        mw.fit(f"{text} + (1 | Subject)", SLEEP)
    assert caught.value.code.startswith("MW-F")
    assert "^" in str(caught.value)


def test_no_rows_left() -> None:
    """All rows have a missing value: counted by column."""
    with pytest.raises(MixwellError, match=r"no rows are left.*Days: 180") as caught:
        mw.lmer(FORMULA, SLEEP.assign(Days=np.nan))
    assert caught.value.code == "MW-D06"


def test_float_groups_are_accepted_and_said() -> None:
    """Numbers that are not whole can be labels, with a remark in the summary."""
    half = SLEEP.assign(g=SLEEP["Subject"].astype(str).astype(float) / 2 + 0.25)
    m = mw.lmer("Reaction ~ Days + (1 | g)", half)
    assert m.loglik == pytest.approx(mw.lmer("Reaction ~ Days + (1 | Subject)", SLEEP).loglik, abs=1e-9)
    assert [note.code for note in m.notes] == ["MW-W03"]
    assert "not whole" in str(m)


def test_an_exhausted_search_says_so_loudly() -> None:
    """A warning with a stable code, and a certificate that fails."""
    with pytest.warns(MixwellWarning, match="not certified") as caught:
        m = mw.lmer(FORMULA, SLEEP, control=mw.Control(max_evaluations=2))
    assert caught[0].message.code == "MW-C01"
    assert not m.certificate().passed
    assert "NOT certified (MW-C01)" in str(m)


@pytest.mark.parametrize(
    "table",
    [
        SLEEP.convert_dtypes(),
        SLEEP.set_index(np.zeros(180, int)),
        SLEEP.astype({"Subject": str}),
        pl.from_pandas(SLEEP).lazy(),
        pl.from_pandas(SLEEP).with_columns(pl.col("Subject").cast(pl.String)),
        pa.concat_tables([pa.Table.from_pandas(SLEEP[:90]), pa.Table.from_pandas(SLEEP[90:])]),
        {name: np.asarray(SLEEP[name]) for name in SLEEP},
        {name: SLEEP[name].tolist() for name in SLEEP},
    ],
    ids=["nullable", "repeated index", "text", "lazy", "polars text", "chunked arrow", "arrays", "lists"],
)
def test_every_kind_of_table_is_the_same_data(table: Any) -> None:
    """The same numbers to the last digit."""
    assert mw.lmer(FORMULA, table).loglik == mw.lmer(FORMULA, SLEEP).loglik


def test_unusual_names() -> None:
    """Unicode, blanks in backquotes, line breaks."""
    odd = SLEEP.rename(columns={"Reaction": "Réaction", "Days": "day s"})
    m = mw.lmer("Réaction ~ `day s` +\n  (`day s` | Subject)", odd)
    assert m.fixef.names == ("(Intercept)", "`day s`")
    with pytest.raises(MixwellError, match="Did you mean 'day s'"):
        mw.lmer("Réaction ~ `day z` + (1 | Subject)", odd)


def test_the_callers_table_may_change_afterwards() -> None:
    """A fit keeps its numbers when the arrays that made it are overwritten."""
    data = {name: np.array(SLEEP[name]) for name in SLEEP}
    m = mw.lmer(FORMULA, data)
    data["Reaction"][:] = 0
    data["Days"] = data["Days"] * 0
    fresh = mw.lmer(FORMULA, SLEEP)
    np.testing.assert_array_equal(m.resid(), fresh.resid())
    assert m.certificate().passed


# --- tables from databases and elsewhere: what a label is, and what is missing ------------------------------

GROUPS = "Reaction ~ Days + (1 | Subject)"
NUMBERS = [int(subject) for subject in SLEEP["Subject"]]
ARRAYS = {"Reaction": SLEEP["Reaction"].to_numpy(), "Days": SLEEP["Days"].to_numpy()}


@pytest.mark.parametrize(
    "keys",
    [
        [2**60 + i for i in NUMBERS],
        [2**63 + i for i in NUMBERS],
        [10**30 + i for i in NUMBERS],
        np.array([2**63 + i for i in NUMBERS], np.uint64),
        [Decimal(2**60 + i) for i in NUMBERS],
        pl.Series([Decimal(2**60 + i) for i in NUMBERS]),
        pl.Series([2**60 + i for i in NUMBERS]).cast(pl.Int128),
        pa.array([Decimal(2**60 + i) for i in NUMBERS], pa.decimal128(38, 0)),
    ],
    ids=[
        "64 bits",
        "unsigned",
        "longer",
        "uint64",
        "decimals",
        "polars decimals",
        "Int128",
        "Arrow decimals",
    ],
)
def test_long_keys_stay_apart(keys: Any) -> None:
    """Database keys differ in digits that a double does not hold; no two groups may become one."""
    m = mw.lmer(GROUPS, {**ARRAYS, "Subject": keys})
    assert len(m.design.random[0].levels) == 18
    assert m.loglik == pytest.approx(mw.lmer(GROUPS, SLEEP).loglik, abs=1e-9)
    assert m.predict({"Days": [3], "Subject": keys[:1]}) == pytest.approx(m.fitted()[3:4])


@pytest.mark.parametrize(
    "make",
    [
        lambda keys: [None if key == 308 else key + 2**60 for key in keys],
        lambda keys: [Decimal("NaN") if key == 308 else Decimal(key) for key in keys],
        lambda keys: pl.Series([None if key == 308 else key + 2**60 for key in keys]),
        lambda keys: pa.array([None if key == 308 else key + 2**60 for key in keys]),
        lambda keys: np.ma.array(keys, mask=np.array(keys) == 308),
        lambda keys: np.ma.array([f"s{key}" for key in keys], mask=np.array(keys) == 308),
        lambda keys: np.ma.array([f"s{key}".encode() for key in keys], mask=np.array(keys) == 308),
        lambda keys: pa.DictionaryArray.from_arrays(
            pa.array(np.arange(180) // 10), pa.array([None, *sorted(f"s{key}" for key in set(keys))[1:]])
        ),
        lambda keys: pa.array([None if key == 308 else f"s{key}" for key in keys]).dictionary_encode(),
    ],
    ids=[
        "list",
        "decimals",
        "polars",
        "Arrow",
        "masked numbers",
        "masked text",
        "masked bytes",
        "null in the dictionary",
        "null index",
    ],
)
def test_a_missing_group_is_missing_in_every_spelling(make: Callable[[Any], Any]) -> None:
    """The ten rows of the first subject are dropped, and said."""
    with pytest.warns(MixwellWarning, match=r"dropped 10 of 180 rows with missing values \(Subject: 10\)"):
        m = mw.lmer(GROUPS, {**ARRAYS, "Subject": make(NUMBERS)})
    rest = SLEEP[SLEEP["Subject"].astype(str) != "308"]
    assert m.loglik == pytest.approx(mw.lmer(GROUPS, rest).loglik, abs=1e-9)


def test_equal_labels_are_one_level() -> None:
    """Arrow allows a dictionary to hold a value twice."""
    labels = [f"s{i % 9}" for i in range(18)]
    coded = pa.DictionaryArray.from_arrays(pa.array(np.arange(180) // 10), pa.array(labels))
    m = mw.lmer(GROUPS, {**ARRAYS, "Subject": coded})
    assert len(m.design.random[0].levels) == 9
    assert m.loglik == mw.lmer(GROUPS, {**ARRAYS, "Subject": np.repeat(labels, 10)}).loglik


@pytest.mark.parametrize("limit", [0, -1, 1.5, "5", True, 2**40])
def test_limits_of_the_search(limit: Any) -> None:
    """Whatever cannot be a number of evaluations."""
    with pytest.raises(MixwellError, match="positive whole number") as caught:
        mw.Control(max_evaluations=limit)
    assert caught.value.code == "MW-A07"


def test_threads() -> None:
    """Fits and their lazy parts do not depend on who asks at the same time."""
    shared, tables = mw.lmer(FORMULA, SLEEP), (SLEEP, pl.from_pandas(SLEEP))

    def work(i: int) -> tuple[float, str, str]:
        own = mw.lmer(FORMULA, tables[i % 2])
        return own.loglik, str(own), str(shared)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(work, range(32)))) == 1
