"""Tables and arguments that trip mixed-model software: what happens, in which words, with which numbers.

The rows B16 to B44 of the list of hard cases that are about input, seen from a user's side: every refusal
must say what is wrong, what was given, where, and what to do.
"""

from __future__ import annotations

import datetime
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import mixwell as mw
from mixwell import MixwellError, MixwellWarning

SLOPES = "Reaction ~ Days + (Days | Subject)"
INTERCEPTS = "Reaction ~ Days + (1 | Subject)"
LOGLIK = -871.814136
Table = dict[str, Any]


@pytest.fixture
def sleep() -> Table:
    """Sleepstudy as arrays."""
    return {name: np.asarray(values) for name, values in mw.data.load("sleepstudy", "dict").items()}


def rows(table: Table, keep: Any) -> Table:
    """Take the rows of a mask, a slice or an index."""
    return {name: values[keep] for name, values in table.items()}


def refused(code: str, *said: str, formula: str, data: Any, **options: Any) -> str:
    """Fit, expect the refusal with this code, and look for the words it must have."""
    with pytest.raises(MixwellError) as caught:
        mw.fit(formula, data, **options)
    message = str(caught.value)
    assert caught.value.code == code, message
    for words in said:
        assert words in message
    return message


def warned(code: str, *said: str, formula: str, data: Any, **options: Any) -> mw.FittedModel:
    """Fit, expect exactly one warning, with this code and these words."""
    with pytest.warns(MixwellWarning) as caught:
        m = mw.fit(formula, data, **options)
    assert [w.message.code for w in caught] == [code]
    for words in said:
        assert words in str(caught[0].message)
    return m


def note_of(m: mw.FittedModel, code: str) -> str:
    """Text of the one note with this code."""
    (text,) = [note.text for note in m.notes if note.code == code]
    assert text in " ".join(str(m).split()) or code in str(m), "a note belongs into the summary"
    return text


def sd(m: mw.FittedModel, group: str = "Subject", effect: str = "(Intercept)") -> float:
    """Standard deviation of a random effect."""
    return float(m.varcorr()[group].sd[effect])


# --- B16 to B19: how many levels ----------------------------------------------------------------------------


@pytest.mark.parametrize("library", [dict, pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_b16_one_row_per_level(sleep: Table, library: Any, method: str) -> None:
    table = library({**sleep, "id": np.arange(180)})
    refused(
        "MW-D16",
        "'id' has 180 levels for 180 rows",
        "cannot be told apart",
        "Leave (1 | id) out",
        formula="Reaction ~ Days + (1 | id)",
        data=table,
        method=method,
    )


def test_b16_one_row_per_combination(sleep: Table) -> None:
    """Subject and Days cross without replication, so their interaction has a level per row."""
    refused("MW-D16", "'Subject:Days'", "180 levels", formula="Reaction ~ 1 + (1 | Subject:Days)", data=sleep)
    refused("MW-D16", formula="Reaction ~ 1 + (1 | Subject/Days)", data=sleep)


def test_b16_levels_are_counted_among_the_rows_used(sleep: Table) -> None:
    """Dropping rows can leave one row per level."""
    y = sleep["Reaction"].copy()
    y[sleep["Days"] > 0] = np.nan
    refused(
        "MW-D16",
        "18 levels for 18 rows",
        formula="Reaction ~ 1 + (1 | Subject)",
        data={**sleep, "Reaction": y},
    )


def test_b17_as_many_effects_as_rows(sleep: Table) -> None:
    message = refused(
        "MW-D17",
        "36 random effects for 36 rows",
        "18 levels of 'Subject' times 2 columns",
        "probably unidentifiable",
        formula=SLOPES,
        data=rows(sleep, sleep["Days"] < 2),
    )
    assert "Use fewer columns" in message
    mw.lmer(INTERCEPTS, rows(sleep, sleep["Days"] < 2))  # which works as advised
    mw.lmer(SLOPES, rows(sleep, sleep["Days"] < 3))


@pytest.mark.parametrize("label", ["north", 7, True, datetime.date(2020, 1, 1)])
def test_b18_one_level(sleep: Table, label: Any) -> None:
    table = {**sleep, "site": [label] * 180}
    shown = {True: "TRUE"}.get(label, str(label)) if label is True else str(label)
    refused(
        "MW-D15",
        f"'site' has only one level ('{shown}')",
        "Leave (1 | site) out",
        formula="Reaction ~ Days + (1 | site)",
        data=table,
    )


def test_b18_one_level_is_left_after_dropping_rows(sleep: Table) -> None:
    site = np.array(["a", "b"], dtype=object).repeat([10, 170])
    y = sleep["Reaction"].copy()
    y[:10] = np.nan
    refused(
        "MW-D15",
        "('b')",
        formula="Reaction ~ Days + (1 | site)",
        data={**sleep, "Reaction": y, "site": site},
    )


def test_b19_two_levels(sleep: Table) -> None:
    half = np.where(np.arange(180) % 20 < 10, "a", "b")
    table = {**sleep, "half": half, "Reaction": sleep["Reaction"] + 50.0 * (half == "a")}
    m = mw.lmer("Reaction ~ Days + (1 | half)", table)
    text = note_of(m, "MW-W04")
    assert "'half' has 2 levels: the variance is poorly determined" in text
    three = np.array(["a", "b", "c"])[np.arange(180) // 10 % 3]
    assert "MW-W04" not in [n.code for n in mw.lmer("Reaction ~ Days + (1 | g)", {**table, "g": three}).notes]


# --- B20, B21: values that are missing or not finite --------------------------------------------------------


@pytest.mark.parametrize("library", [dict, pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("column", ["Reaction", "Days", "Subject"])
def test_b20_missing_values(sleep: Table, library: Any, column: str) -> None:
    """Dropped, counted, reported by column; or refused with the same counts."""
    holes = sleep[column].tolist()
    holes[3] = holes[77] = None
    table = library({name: holes if name == column else v.tolist() for name, v in sleep.items()})
    m = warned(
        "MW-W01", f"dropped 2 of 180 rows with missing values ({column}: 2)", formula=SLOPES, data=table
    )
    keep = np.ones(180, bool)
    keep[[3, 77]] = False
    assert m.nobs == 178
    assert m.loglik == pytest.approx(mw.lmer(SLOPES, rows(sleep, keep)).loglik, abs=1e-8)
    assert "dropped 2 of 180 rows" in note_of(m, "MW-W01")
    aligned = m.fitted(align=True)
    assert aligned.shape == (180,)
    assert np.array_equal(np.isnan(aligned), ~keep)
    refused("MW-D07", "2 of 180 rows", f"{column}: 2", formula=SLOPES, data=table, na_action="fail")


def test_b20_missing_in_several_columns(sleep: Table) -> None:
    """One row that misses two things is one row."""
    y, x = sleep["Reaction"].copy(), sleep["Days"].astype(float)
    y[[0, 1]] = np.nan
    x[[1, 2, 3]] = np.nan
    warned(
        "MW-W01",
        "dropped 4 of 180 rows",
        "Reaction: 2",
        "Days: 3",
        formula=SLOPES,
        data={**sleep, "Reaction": y, "Days": x},
    )


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("column", ["Reaction", "Days"])
@pytest.mark.parametrize("library", [dict, pd.DataFrame, pl.DataFrame])
def test_b21_infinite_values(sleep: Table, library: Any, column: str, value: float) -> None:
    bad = sleep[column].astype(float)
    bad[[5, 9]] = value
    sign = "infinite" if value > 0 else "minus infinity"
    message = refused(
        "MW-D08", f"'{column}'", "in row 5", formula=SLOPES, data=library({**sleep, column: bad})
    )
    assert sign in message or "infinit" in message


def test_b21_infinite_by_a_function(sleep: Table) -> None:
    """log(0) names the function, the row of the table and the value it came from."""
    y = sleep["Reaction"].copy()
    y[2], y[0] = 0.0, np.nan
    with pytest.raises(
        MixwellError, match=r"'log\(Reaction\)' is minus infinity in row 2 \(Reaction = 0(\.0)?\)"
    ):
        mw.lmer("log(Reaction) ~ Days + (1 | Subject)", {**sleep, "Reaction": y})


# --- B22 to B24: weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_name", [True, False])
def test_b22_zero_weights_on_a_group(sleep: Table, by_name: bool) -> None:
    """The same as dropping the rows: sd 36.85, not the 25.89 of a criterion that is infinite."""
    out = sleep["Subject"] == "308"
    w = np.where(out, 0.0, 1.0)
    m = mw.lmer(INTERCEPTS, {**sleep, "w": w}, weights="w" if by_name else w)
    without = mw.lmer(INTERCEPTS, rows(sleep, ~out))
    assert sd(m) == pytest.approx(36.85, abs=5e-3)
    assert sd(m) == pytest.approx(sd(without), rel=1e-9)
    assert m.loglik == pytest.approx(without.loglik, abs=1e-9)
    assert m.nobs == 170
    assert m.df_residual == without.df_residual
    assert "left out 10 rows of weight zero" in note_of(m, "MW-W02")
    assert "308" not in list(m.ranef()["level"])


def test_b23_scale_of_weights(sleep: Table) -> None:
    """All weights times 1e6 leave everything but sigma as it was (sd 37.124)."""
    one, many = (mw.lmer(INTERCEPTS, sleep, weights=np.full(180, c)) for c in (1.0, 1e6))
    assert sd(one) == pytest.approx(37.124, abs=5e-4)
    assert sd(many) == pytest.approx(sd(one), rel=1e-8)
    assert many.loglik == pytest.approx(one.loglik, abs=1e-8)
    assert many.sigma == pytest.approx(1e3 * one.sigma, rel=1e-9)
    np.testing.assert_allclose(many.fixef.values, one.fixef.values, rtol=1e-10)
    np.testing.assert_allclose(many.vcov(), one.vcov(), rtol=1e-8)
    assert many.certificate().passed


def test_b24_negative_weights(sleep: Table) -> None:
    w = np.ones(180)
    w[[4, 6]] = -1.0, -2.0
    for data, weights, name in (({**sleep, "w": w}, "w", "'w'"), (sleep, w, "'weights'")):
        refused(
            "MW-D13",
            "weights must not be negative",
            f"{name} is -1.0 in row 4",
            formula=SLOPES,
            data=data,
            weights=weights,
        )


# --- B25 to B28: groups -------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_b25_unused_levels(sleep: Table, library: str) -> None:
    """No random effects without rows; unused levels of a fixed factor have no coefficient."""
    labels = [*sorted(set(sleep["Subject"])), "nobody"]
    thirds = np.array(["a", "b", "c"])[sleep["Days"] % 3]
    if library == "pandas":
        frame: Any = pd.DataFrame(sleep).assign(
            Subject=pd.Categorical(sleep["Subject"], labels), f=pd.Categorical(thirds, [*"abcd"])
        )
    else:
        frame = pl.DataFrame({**sleep, "f": thirds}).with_columns(
            pl.col("Subject").cast(pl.Enum(labels)), pl.col("f").cast(pl.Enum([*"abcd"]))
        )
    m = mw.lmer(SLOPES, frame)
    assert m.loglik == pytest.approx(LOGLIK, abs=1e-6)
    assert len(m.ranef()["level"]) == 2 * 18
    assert "nobody" not in list(m.ranef()["level"])
    with pytest.raises(MixwellError, match="new level 'nobody'"):
        m.predict({"Days": [1.0], "Subject": ["nobody"]})
    fixed = mw.lmer("Reaction ~ f + (1 | Subject)", frame)
    assert fixed.fixef.names == ("(Intercept)", "fb", "fc")
    with pytest.raises(MixwellError, match="level 'd' of f was not in the training data") as caught:
        fixed.predict({"f": ["d"], "Subject": ["308"]})
    assert caught.value.code == "MW-P01"


def _zoned(i: int) -> datetime.datetime:
    return datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(days=i)


@pytest.mark.parametrize(
    "label",
    [
        int,
        float,
        str,
        lambda i: f"Prüfling № {i}\u2028✓",
        lambda i: datetime.date(2020, 1, 1) + datetime.timedelta(days=i),
        lambda i: datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=i),
        _zoned,
        lambda i: (i % 7, str(i)),
        lambda i: np.datetime64("2020-01-01") + np.timedelta64(i, "D"),
        pd.Timestamp,
        lambda i: pd.Timedelta(i, "s"),
    ],
    ids=[
        "int",
        "float",
        "str",
        "unicode",
        "date",
        "datetime",
        "zoned",
        "tuple",
        "datetime64",
        "Timestamp",
        "Timedelta",
    ],
)
def test_b26_any_hashable_is_a_group(sleep: Table, label: Any) -> None:
    """Eighteen groups, however they are called; predictions find them again."""
    group = [label(int(s)) for s in sleep["Subject"]]
    m = mw.lmer(SLOPES, {**sleep, "Subject": group})
    assert m.loglik == pytest.approx(LOGLIK, abs=1e-6)
    new = {"Days": sleep["Days"], "Subject": group}
    np.testing.assert_allclose(m.predict(new), m.fitted(), rtol=1e-12)


@pytest.mark.parametrize(
    "dtype",
    ["int8", "uint64", "Int64", "string", "category", "boolean", "string[pyarrow]", "int64[pyarrow]"],
)
def test_b26_any_dtype_is_a_group(sleep: Table, dtype: str) -> None:
    number = np.unique(sleep["Subject"], return_inverse=True)[1]
    if dtype == "boolean":
        number = number % 2
    frame = pd.DataFrame({**sleep, "g": pd.Series(number).astype("string" if "string" in dtype else "int64")})
    plain = mw.lmer("Reaction ~ Days + (1 | g)", {**sleep, "g": number})
    m = mw.lmer("Reaction ~ Days + (1 | g)", frame.assign(g=frame["g"].astype(dtype)))
    assert m.loglik == pytest.approx(plain.loglik, abs=1e-9)


def test_b26_numeric_group_as_fixed_effect(sleep: Table) -> None:
    """It is a slope, and that is said."""
    table = {**sleep, "Subject": sleep["Subject"].astype(int)}
    m = mw.lmer("Reaction ~ Days + Subject + (1 | Subject)", table)
    assert m.fixef.names == ("(Intercept)", "Days", "Subject")
    text = note_of(m, "MW-W07")
    assert "'Subject' is numeric" in text
    assert "factor(Subject)" in text


def test_b27_labels_with_colons(sleep: Table) -> None:
    """("x", "0:0:y") and ("x:0", "0:y") share their spelling, not their effects."""
    a = np.where(np.arange(180) % 2 == 0, "x", "x:0")
    c = np.where(np.arange(180) % 2 == 0, "0:0:y", "0:y")
    c = np.where(np.arange(180) % 3 == 0, c, "z")
    m = mw.lmer("Reaction ~ Days + (1 | a:c)", {**sleep, "a": a, "c": c})
    plain = np.char.add(np.char.add(a, "|"), c)
    reference = mw.lmer("Reaction ~ Days + (1 | g)", {**sleep, "g": plain})
    assert m.loglik == pytest.approx(reference.loglik, abs=1e-9)
    assert len(m.ranef()["level"]) == len(set(plain)) == 4
    clash = m.predict({"Days": [0, 0], "a": ["x", "x:0"], "c": ["0:0:y", "0:y"]})
    expected = reference.predict({"Days": [0, 0], "g": ["x|0:0:y", "x:0|0:y"]})
    np.testing.assert_allclose(clash, expected, rtol=1e-9)


def test_b28_nested_and_crossed_with_reused_labels() -> None:
    """-123.50 nested and -150.74 crossed; the crossed one asks which was meant."""
    pastes = mw.data.load("pastes", "dict")
    nested = mw.lmer("strength ~ 1 + (1 | batch/cask)", pastes)
    written_out = mw.lmer("strength ~ 1 + (1 | batch) + (1 | batch:cask)", pastes)
    unique = mw.lmer("strength ~ 1 + (1 | batch) + (1 | sample)", pastes)
    crossed = mw.lmer("strength ~ 1 + (1 | batch) + (1 | cask)", pastes)
    for m in (nested, written_out, unique):
        assert m.loglik == pytest.approx(-123.4954, abs=1e-3)
        assert not m.notes
    assert crossed.loglik == pytest.approx(-150.7355, abs=1e-3)
    text = note_of(crossed, "MW-W05")
    for words in ("'cask' (a, b, c)", "'batch'", "(1 | batch/cask)"):
        assert words in text


# --- B29 to B32: formulas that cannot mean what they say ----------------------------------------------------


@pytest.mark.parametrize(
    ("random", "twice"),
    [
        ("(1 | Subject) + (1 | Subject)", "the intercept"),
        ("(1 | Subject) + (Days | Subject)", "the intercept"),
        ("(Days | Subject) + (0 + Days | Subject)", "Days"),
        ("(Days || Subject) + (1 | Subject)", "the intercept"),
        ("(1 | Subject/Days) + (1 | Subject)", "the intercept"),
    ],
)
def test_b29_duplicated_terms(sleep: Table, random: str, twice: str) -> None:
    message = refused("MW-F14", twice, "twice", formula=f"Reaction ~ Days + {random}", data=sleep)
    assert "^^^" in message


@pytest.mark.parametrize(
    ("formula", "fixed"),
    [
        ("Reaction ~ Days + Subject + (1 | Subject)", "Subject"),
        ("Reaction ~ Subject * Days + (1 | Subject)", "Subject"),
        ("Reaction ~ Days:Subject + (0 + Days | Subject)", "Days:Subject"),
        ("Reaction ~ 0 + Subject + (1 | Subject)", "Subject"),
    ],
)
def test_b30_group_also_fixed(sleep: Table, formula: str, fixed: str) -> None:
    refused(
        "MW-D19",
        "'Subject' is both fixed and random: its variance cannot be estimated",
        fixed,
        "Keep one of the two",
        formula=formula,
        data=sleep,
    )


def test_b30_numeric_group_as_factor(sleep: Table) -> None:
    table = {**sleep, "Subject": sleep["Subject"].astype(int)}
    refused("MW-D19", formula="Reaction ~ factor(Subject) + (1 | Subject)", data=table)


def test_b31_double_bar_with_a_factor(sleep: Table) -> None:
    """Truly uncorrelated: one variance a level, as three independent terms on dummies."""
    f = np.array(["a", "b", "c"])[sleep["Days"] % 3]
    dummies = {f"d{level}": (f == level).astype(float) for level in "abc"}
    table = {**sleep, "f": f, **dummies}
    bars = mw.lmer("Reaction ~ Days + (0 + f || Subject)", table)
    spelled = mw.lmer("Reaction ~ Days + diag(0 + f | Subject)", table)
    apart = mw.lmer("Reaction ~ Days + (0 + da | Subject) + (0 + db | Subject) + (0 + dc | Subject)", table)
    assert bars.theta.size == spelled.theta.size == apart.theta.size == 3
    assert bars.loglik == pytest.approx(apart.loglik, abs=1e-8)
    assert spelled.loglik == pytest.approx(apart.loglik, abs=1e-8)
    matrix = bars.varcorr()["Subject"].matrix
    assert np.count_nonzero(matrix - np.diag(np.diag(matrix))) == 0
    correlated = mw.lmer("Reaction ~ Days + (0 + f | Subject)", table)
    assert correlated.theta.size == 6
    assert correlated.loglik > bars.loglik + 1


def test_b31_double_bar_with_intercept_and_factor(sleep: Table) -> None:
    f = np.array(["a", "b", "c"])[sleep["Days"] % 3]
    m = mw.lmer("Reaction ~ Days + (f || Subject)", {**sleep, "f": f})
    assert m.varcorr()["Subject"].names == ("(Intercept)", "fb", "fc")
    assert m.theta.size == 3


def test_b32_swapped_bar(sleep: Table) -> None:
    """A fit that goes through warns; one that cannot is explained."""
    refused("MW-D17", "(Days | Subject)", formula="Reaction ~ 1 + (Subject | Days)", data=sleep)
    rng = np.random.default_rng(5)
    days, subjects = np.tile(np.arange(4), 30), np.repeat([*"abcdef"], 20)
    y = rng.normal(size=120) + 3 * rng.normal(size=(4, 6))[days, np.repeat(np.arange(6), 20)]
    few = {"y": y, "Days": days, "Subject": subjects}
    m = warned(
        "MW-W06", "wrong way round", "(Days | Subject)", formula="y ~ 1 + (1 + Subject || Days)", data=few
    )
    assert "MW-W06" in [note.code for note in m.notes]


def test_b32_swapped_numbers(sleep: Table) -> None:
    table = {**sleep, "Subject": sleep["Subject"].astype(int)}
    warned("MW-W06", "(Days | Subject)", formula="Reaction ~ Days + (Subject | Days)", data=table)


# --- B33, B35: comparisons ----------------------------------------------------------------------------------


def test_b33_reml_with_different_fixed_effects(sleep: Table) -> None:
    small = mw.lmer("Reaction ~ 1 + (1 | Subject)", sleep)
    large = mw.lmer(INTERCEPTS, sleep)
    with pytest.raises(MixwellError, match="different fixed effects") as caught:
        mw.compare(small, large, refit=False)
    assert caught.value.code == "MW-A04"
    assert "method='ML'" in str(caught.value)
    ml = mw.compare(small.update(method="ML"), large.update(method="ML")).table()
    chi2 = 2 * (ml["loglik"][1] - ml["loglik"][0])
    assert chi2 == pytest.approx(116.46, abs=0.01)
    with pytest.raises(MixwellError) as caught:
        mw.compare(small.update(method="ML"), large, refit=False)
    assert caught.value.code == "MW-A12"


def test_b35_different_numbers_of_rows(sleep: Table) -> None:
    x = sleep["Days"].astype(float)
    x[0] = np.nan
    small = mw.lmer("Reaction ~ 1 + (1 | Subject)", {**sleep, "x": x}, method="ML")
    large = warned("MW-W01", formula="Reaction ~ x + (1 | Subject)", data={**sleep, "x": x}, method="ML")
    with pytest.raises(MixwellError, match="not fitted to the same rows") as caught:
        mw.compare(small, large)
    assert caught.value.code == "MW-A10"
    for words in ("180 rows", "179 rows", "Missing values"):
        assert words in str(caught.value)


# --- B43, B44: prediction -----------------------------------------------------------------------------------


@pytest.mark.parametrize("library", [dict, pd.DataFrame, pl.DataFrame])
def test_b43_unseen_level(sleep: Table, library: Any) -> None:
    m = mw.lmer(SLOPES, library(sleep))
    new = library({"Days": [1.0, 1.0, 1.0], "Subject": ["308", "zz", None]})
    with pytest.raises(MixwellError) as caught:
        m.predict(new)
    message = str(caught.value)
    assert caught.value.code == "MW-P10"
    for words in ("new level 'zz'", "'Subject'", "row 1", "18 levels", "new_levels='population'"):
        assert words in message
    opted = m.predict(new, new_levels="population")
    population = m.predict(new, re="population")
    np.testing.assert_array_equal(opted[1:], population[1:])
    assert abs(opted[0] - population[0]) > 1
    assert population[0] == pytest.approx(251.405 + 10.467, abs=1e-3)


def test_b43_suggests_the_nearest_level(sleep: Table) -> None:
    m = mw.lmer(INTERCEPTS, {**sleep, "Subject": np.char.add("subject", sleep["Subject"].astype(str))})
    with pytest.raises(MixwellError, match=r"Did you mean 'subject308'"):
        m.predict({"Days": [1], "Subject": ["Subject308"]})


def test_b43_missing_group(sleep: Table) -> None:
    m = mw.lmer(SLOPES, sleep)
    with pytest.raises(MixwellError, match="'Subject' is missing in row 1") as caught:
        m.predict({"Days": [1.0, 1.0], "Subject": ["308", None]})
    assert caught.value.code == "MW-P12"


def test_b44_unseen_level_of_a_fixed_factor(sleep: Table) -> None:
    m = mw.lmer("Reaction ~ factor(f) + (1 | Subject)", {**sleep, "f": sleep["Days"] % 3})
    with pytest.raises(
        MixwellError, match=r"level '7' of (factor\(f\)|f) was not in the training data \(0, 1, 2\)"
    ) as caught:
        m.predict({"f": [0, 7], "Subject": ["308", "308"]}, new_levels="population")
    assert caught.value.code == "MW-P01"
    assert "row 1" in str(caught.value)
    text = mw.lmer("Reaction ~ f + (1 | Subject)", {**sleep, "f": (sleep["Days"] % 3).astype(str)})
    with pytest.raises(MixwellError, match=r"level '7' of f was not in the training data \(0, 1, 2\)"):
        text.predict({"f": ["7"], "Subject": ["308"]})


def test_no_warning_on_clean_data(sleep: Table) -> None:
    """Nothing here is said without a reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not mw.lmer(SLOPES, sleep).notes
