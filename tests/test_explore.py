"""The questions of explore(): what they mean, and what they say when they cannot be read."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import mixwell as mw
from mixwell.marginal.explore_grammar import read_question


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(11)
    n = 240
    drug = np.array(["A", "B", "C"])[rng.integers(0, 3, n)]
    sex = np.array(["f", "m"])[rng.integers(0, 2, n)]
    dose = rng.uniform(0, 10, n)
    person = rng.integers(0, 20, n)
    y = 0.3 * dose * (drug == "B") + (sex == "f") + rng.normal(size=20)[person] + rng.normal(size=n)
    very = np.where(sex == "f", "very high", "low - ish")
    return {"y": y, "drug": drug, "sex": sex, "dose": dose, "person": person, "very": very}


@pytest.fixture(scope="module")
def m(table):
    return mw.lmer("y ~ drug * dose + drug * sex + (1 | person)", table)


def means(m, **at):
    """Predictions at a grid, averaged with equal weights."""
    return float(m.predictions("grid", at=at, average=True).estimate[0])


def test_means_and_their_differences(m, table):
    found = m.explore("drug")
    assert found.labels == {"drug": ["A", "B", "C"]}
    np.testing.assert_allclose(found.estimate, [means(m, drug=level) for level in "ABC"])
    a, b, c = found.estimate
    for text, expected in {
        "drug[B]": [b],
        "drug[C, A]": [c, a],
        "drug[A - B]": [a - b],
        "drug[A - B, B - C]": [a - b, b - c],
        "drug[pairwise]": [a - b, a - c, b - c],
        "drug[*]": [a - b, a - c, b - c],
        "drug[revpairwise]": [b - a, c - a, c - b],
        "drug[sequential]": [b - a, c - b],
        "drug[reference]": [b - a, c - a],
        "drug[effects]": list(found.estimate - found.estimate.mean()),
        "drug[(A, B) - C]": [(a + b) / 2 - c],
        "drug[A - *]": [a - (b + c) / 2],
        "drug[* - (A, B)]": [c - (a + b) / 2],
        "drug['A' - \"B\"]": [a - b],
        "  drug [ A-B ]  ~ @mean ": [a - b],
    }.items():
        np.testing.assert_allclose(m.explore(text).estimate, expected, err_msg=text)
    # standard errors and degrees of freedom are those of the same linear hypothesis
    pair = m.explore("drug[A - B] ~ sex[f] + dose[0]")
    tested = m.test("drugB = 0").table()
    assert pair.estimate[0] == pytest.approx(-tested["estimate"][0])
    assert pair.se[0] == pytest.approx(tested["std_error"][0])
    assert pair.df[0] == pytest.approx(tested["df"][0])
    assert pair.table()["p_value"][0] == pytest.approx(tested["p_value"][0])


def test_conditions(m):
    found = m.explore("drug[A - B] ~ sex + dose[0, 5]")
    assert found.labels["drug"] == ["A - B"] * 4
    assert found.labels["sex"] == ["f", "f", "m", "m"]
    assert found.labels["dose"] == ["0", "5", "0", "5"]
    expected = [
        means(m, drug="A", sex=s, dose=d) - means(m, drug="B", sex=s, dose=d) for s in "fm" for d in (0, 5)
    ]
    np.testing.assert_allclose(found.estimate, expected)
    assert m.explore("drug ~ sex[m]").labels["sex"] == ["m"] * 3
    x = np.asarray(m.design.frame.column("dose").numeric())
    at = [float(value) for value in m.explore("drug[A] ~ dose[sd, max]").labels["dose"]]
    np.testing.assert_allclose(
        at, [x.mean() - x.std(ddof=1), x.mean(), x.mean() + x.std(ddof=1), x.max()], rtol=1e-5
    )


def test_slopes_and_interactions(m):
    found = m.explore("dose ~ drug")
    trends = m.emtrends("dose", by="drug")
    np.testing.assert_allclose(found.estimate, trends.estimate)
    np.testing.assert_allclose(found.se, trends.se)
    np.testing.assert_allclose(found.df, trends.df)
    np.testing.assert_allclose(m.explore("dose:drug").estimate, trends.estimate)
    a, b, _ = trends.estimate
    assert m.explore("dose:drug[A - B]").estimate[0] == pytest.approx(a - b)
    assert m.explore("dose[10 - 0] ~ drug[B]").estimate[0] == pytest.approx(10 * b)
    interaction = m.explore("drug[A - B]:sex[f - m]")
    np.testing.assert_allclose(interaction.estimate, m.fixef["drugB:sexm"])
    np.testing.assert_allclose(interaction.se, m.se["drugB:sexm"])
    assert len(m.explore("drug:sex")) == 6


def test_contrasts_of_contrasts(m):
    """A difference between conditions is the interaction, written on either side."""
    left = m.explore("drug[A - B]:sex[f - m]")
    for text in ("drug[A - B] ~ sex[f - m]", "sex[f - m] ~ drug[A - B]"):
        np.testing.assert_allclose(m.explore(text).estimate, left.estimate)
        np.testing.assert_allclose(m.explore(text).se, left.se)
    found = m.explore("drug[pairwise] ~ dose[10 - 0]")
    slopes = m.explore("dose:drug[pairwise]")
    np.testing.assert_allclose(found.estimate, 10 * slopes.estimate)
    assert found.labels == {"drug": ["A - B", "A - C", "B - C"], "dose": ["10 - 0"] * 3}
    slope = m.explore("dose ~ drug[B - A]")
    assert slope.estimate[0] == pytest.approx(m.fixef["drugB:dose"])
    assert slope.table()["p_value"][0] == pytest.approx(m.test("drugB:dose = 0").table()["p_value"][0])
    levels = m.explore("drug ~ sex[f - m]")
    np.testing.assert_allclose(
        levels.estimate, [m.explore(f"sex[f - m] ~ drug@{k}").estimate[0] for k in "ABC"]
    )
    three = m.explore("drug[A - *]:sex[f - m] ~ dose[10 - 0]")
    assert three.estimate[0] == pytest.approx(0.0, abs=1e-9)


def test_answers_are_those_of_the_explicit_calls(m):
    pairs = {
        "drug": m.emmeans("drug"),
        "drug ~ sex": m.emmeans("drug", by="sex"),
        "drug ~ dose@10": m.emmeans("drug", at={"dose": 10}),
        "drug:sex": m.emmeans(["sex", "drug"]),
        "drug[pairwise]": m.contrast("drug", adjust="none"),
        "drug[revpairwise]": m.contrast("drug", method="revpairwise", adjust="none"),
        "drug[reference]": m.contrast("drug", method="trt.vs.ctrl", adjust="none"),
        "drug[sequential]": m.contrast("drug", method="consec", adjust="none"),
        "drug[effects]": m.contrast("drug", method="eff", adjust="none"),
        "drug[pairwise] ~ sex": m.contrast("drug", by="sex", adjust="none"),
    }
    for text, call in pairs.items():
        known = call.table()
        found = m.explore(text).table()
        if "~ sex" in text:  # conditions vary fastest, families of means one after the other
            found = {key: np.asarray(found[key]).reshape(3, 2).T.ravel() for key in found}
        value = "emmean" if "emmean" in known else "estimate"
        np.testing.assert_allclose(found["estimate"], known[value], rtol=1e-8, err_msg=text)
        for name in ("std_error", "df", "lower"):
            np.testing.assert_allclose(found[name], known[name], rtol=1e-8, err_msg=text)
        if "p_value" in known:
            np.testing.assert_allclose(found["p_value"], known["p_value"], rtol=1e-7, err_msg=text)
    for adjust in ("tukey", "sidak", "holm", "mvt"):
        found = m.explore("drug[pairwise] ~ sex", adjust=adjust).table()
        known = m.contrast("drug", by="sex", adjust=adjust).table()
        for key in ("p_value", "lower", "upper"):
            ours = np.asarray(found[key]).reshape(3, 2).T.ravel()
            np.testing.assert_allclose(ours, known[key], rtol=1e-7, err_msg=adjust)
    with pytest.raises(mw.MixwellError, match="MW-A117"):
        m.explore("drug[A - B, A - C]", adjust="tukey")


def test_questions_of_the_documentation_are_answered():
    text = (Path(__file__).parent.parent / "docs" / "marginal.md").read_text()
    table = text.split("## Questions in one line")[1].split("The grammar:")[0]
    questions = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(questions) >= 10
    cake = mw.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", mw.data.load("cake", "dict"))
    for question in questions:
        assert np.isfinite(cake.explore(question).table()["estimate"]).all(), question
    found = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "m." in code]
    names: dict[str, object] = {}
    for code in found:
        exec(code, names)


def test_slope_of_a_curve_at_values(table):
    m = mw.lm("y ~ dose + I(dose^2) + drug", table)
    found = m.explore("dose ~ dose[0, 5]")
    expected = m.fixef["dose"] + 2 * m.fixef["I(dose^2)"] * np.array([0, 5])
    np.testing.assert_allclose(found.estimate, expected, rtol=1e-8)
    assert found.labels["at dose"] == ["0", "5"]


def test_observed_rows_and_the_scale_of_the_response(table):
    hit = (np.asarray(table["y"]) > 0.5).astype(int)
    m = mw.glm("hit ~ drug * dose + sex", table | {"hit": hit}, family="binomial")
    found = m.explore("drug[B - A] ~ @observed", type="response")
    known = m.comparisons({"drug": ("A", "B")}, average=True)
    np.testing.assert_allclose([found.estimate[0], found.se[0]], [known.estimate[0], known.se[0]])
    by = m.explore("dose ~ @observed", type="response")
    known = m.slopes("dose", average=True)
    np.testing.assert_allclose([by.estimate[0], by.se[0]], [known.estimate[0], known.se[0]])
    assert np.isinf(by.df[0])
    link = m.explore("drug[B - A] ~ dose[0]")
    assert link.estimate[0] == pytest.approx(m.fixef["drugB"])


def test_levels_that_need_quotes(table):
    m = mw.lm("y ~ very", table)
    assert m.explore("very['very high' - 'low - ish']").estimate[0] == pytest.approx(m.fixef["veryvery high"])
    numbered = mw.lm("y ~ factor(k)", table | {"k": np.arange(240) % 3})
    assert numbered.explore("k[2 - 0]").estimate[0] == pytest.approx(numbered.fixef["factor(k)2"])
    # a level is a level, even if it is spelt like a contrast
    odd = mw.lm("y ~ s", table | {"s": np.where(np.arange(240) % 2 == 0, "pairwise", "x")})
    assert odd.explore("s[pairwise]").labels["s"] == ["pairwise"]


def test_cells_without_rows_are_unknown(table):
    keep = ~((np.asarray(table["drug"]) == "C") & (np.asarray(table["sex"]) == "m"))
    some = {name: np.asarray(values)[keep] for name, values in table.items()}
    with pytest.warns(mw.MixwellWarning):
        m = mw.lm("y ~ drug * sex", some)
    found = m.explore("drug ~ sex")
    assert np.isnan(found.estimate).tolist() == [False] * 5 + [True]
    assert np.isnan(found.se[5])
    assert np.isfinite(m.explore("drug[A - B]").estimate[0])
    assert np.isnan(m.explore("drug[A - C]").estimate[0])


ERRORS = {
    "": ("MW-A125", ""),
    "drug[A - B": ("MW-A125", "          ^"),
    "drug[]": ("MW-A125", "     ^"),
    "drug[A -]": ("MW-A125", "        ^"),
    "drug ~": ("MW-A125", "      ^"),
    "drug ~ @max": ("MW-A125", "        ^^^"),
    "drug ~ drug": ("MW-A125", "       ^^^^"),
    "drug:drug": ("MW-A125", "     ^^^^"),
    "drug sex": ("MW-A125", "     ^^^"),
    "drug ~ sex - 1": ("MW-A125", "           ^"),
    "drug; sex": ("MW-A125", "    ^"),
    "drug[A, B - C]": ("MW-A125", "        ^^^^^"),
    "drug[A - (B, C]": ("MW-A125", "              ^"),
    "drug[* - *]": ("MW-A125", "     ^"),
    "drug[* - (A, B, C)]": ("MW-A125", "     ^"),
    "drug ~ sex[f - m, f]": ("MW-A125", "                  ^"),
    "drug@": ("MW-A125", "     ^"),
    "drug@[A]": ("MW-A125", "     ^"),
    "drug@A - B": ("MW-A125", "       ^"),
    "drug@pairwise": ("MW-A120", "     ^^^^^^^^"),
    "dose@x": ("MW-A125", "     ^"),
    "drug ~ dose@(1, 2)": ("MW-A125", "            ^"),
    "~ drug": ("MW-A125", "^"),
    "y": ("MW-A119", "^"),
    "drug[A - 'B]": ("MW-A125", "         ^"),
    "drug[nan]": ("MW-A120", "     ^^^"),
    "dose[nan]": ("MW-A125", "     ^^^"),
    "dose[1e999]": ("MW-A125", "     ^^^^^"),
    "dose[-inf]": ("MW-A125", "     ^^^^"),
    "dose:person": ("MW-A119", "     ^^^^^^"),
    "person ~ drug": ("MW-A119", "^^^^^^"),
    "drug ~ dose": ("MW-A125", "       ^^^^"),
    "dose[a]": ("MW-A125", "     ^"),
    "dose[sd - min]": ("MW-A125", "     ^^"),
    "drg": ("MW-A119", "^^^"),
    "drug ~ sx": ("MW-A119", "       ^^"),
    "drug[A - D]": ("MW-A120", "         ^"),
    "drug[pairwize]": ("MW-A120", "     ^^^^^^^^"),
}


@pytest.mark.parametrize("text", ERRORS)
def test_mistakes_are_pointed_at(m, text):
    code, carets = ERRORS[text]
    with pytest.raises(mw.MixwellError) as caught:
        m.explore(text)
    assert caught.value.code == code
    if carets:
        assert caught.value.where.splitlines()[1][4:].rstrip() == carets
    assert caught.value.hint


def test_suggestions(m):
    with pytest.raises(mw.MixwellError, match="Did you mean 'drug'"):
        m.explore("drg")
    with pytest.raises(mw.MixwellError, match="Did you mean 'pairwise'"):
        m.explore("drug[pairwize]")
    with pytest.raises(mw.MixwellError, match="MW-A125"):
        m.explore(3)
    with pytest.raises(mw.MixwellError, match="MW-A02"):
        m.explore("drug", type="probs")
    with pytest.raises(mw.MixwellError, match="two variables"):
        mw.lm(
            "y ~ dose * person", {n: m.design.frame.column(n).numeric() for n in ("y", "dose", "person")}
        ).explore("dose:person")


@pytest.mark.parametrize("seed", range(200))
def test_any_text_is_read_or_refused(seed):
    rng = np.random.default_rng(seed)
    pieces = [
        "drug",
        "A",
        "[",
        "]",
        "-",
        ",",
        "~",
        "+",
        ":",
        "@",
        "mean",
        "(",
        ")",
        "*",
        "'q r'",
        "1.5",
        " ",
        "$",
        "'",
    ]
    text = "".join(rng.choice(pieces, rng.integers(1, 12)))
    try:
        asked = read_question(text)
    except mw.MixwellError as problem:
        assert problem.code == "MW-A125"
        points_into(text, problem)
    else:
        assert asked.focus


def points_into(text, problem):
    start, end = problem.fields["span"]
    assert 0 <= start < end
    assert end <= max(len(text.rstrip()), start) + 1
    assert problem.fields["text"] == text


@pytest.mark.parametrize("seed", range(40))
def test_any_question_is_answered_or_refused(m, seed):
    """Sentences of the grammar, with words that may or may not fit."""
    rng = np.random.default_rng(seed)

    def pick(*choices):
        return str(rng.choice(choices))

    def level():
        return pick(
            "A", "B", "'C'", "f", "m", "0", "10", "-1", "2.5", "mean", "sd", "pairwise", "zz", "effects"
        )

    def side():
        return pick(level(), level(), "*", f"({level()}, {level()})")

    def item():
        return pick(side(), f"{side()} - {side()}")

    def part():
        name = pick("drug", "drug", "sex", "dose", "`dose`", "nothing")
        return pick(name, f"{name}[{item()}]", f"{name}[{item()}, {item()}]", f"{name}@{level()}")

    answers = 0
    for _ in range(12):
        text = pick(part(), f"{part()}:{part()}", f"{part()} ~ {part()}", f"{part()} ~ {part()} + @observed")
        try:
            found = m.explore(text)
        except mw.MixwellError as problem:
            assert problem.code in ("MW-A119", "MW-A120", "MW-A125"), text
            points_into(text, problem)
        else:
            answers += 1
            assert np.isfinite(found.estimate).all(), text
            assert all(len(each) == len(found) for each in found.labels.values()), text
    assert answers < 12
