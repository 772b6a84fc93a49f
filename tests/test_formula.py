"""Formulas: what they mean, what is refused and in which words, and that nothing gets past the parser."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
from formulaic.parser import DefaultFormulaParser
from hypothesis import given, settings
from hypothesis import strategies as st

from mixwell.errors import MixwellError
from mixwell.formula import (
    FUNCTIONS,
    STRUCTURES,
    Binary,
    Boolean,
    Call,
    Expr,
    FixedTerm,
    Formula,
    Name,
    Number,
    RandomTerm,
    String,
    Unary,
    label,
    parse,
    update,
    variables,
)

REFERENCE = json.loads((Path(__file__).parent / "reference" / "terms.json").read_text())

# --- meaning: text -> canonical text

CANONICAL = [
    # fixed part
    ("y ~ 1", "y ~ 1"),
    ("y ~ 0", "y ~ 0"),
    ("y ~ -1", "y ~ 0"),
    ("y ~ x", "y ~ 1 + x"),
    ("y~x", "y ~ 1 + x"),
    ("  y\n ~ x\n\t+ z ", "y ~ 1 + x + z"),
    ("~ x", "~ 1 + x"),
    ("y ~ 1 + x", "y ~ 1 + x"),
    ("y ~ 0 + x", "y ~ 0 + x"),
    ("y ~ x + 0", "y ~ 0 + x"),
    ("y ~ x - 1", "y ~ 0 + x"),
    ("y ~ -1 + x", "y ~ 0 + x"),
    ("y ~ x - 0", "y ~ 1 + x"),
    ("y ~ 0 + x + 1", "y ~ 1 + x"),
    ("y ~ x + -1", "y ~ 0 + x"),
    ("y ~ +x", "y ~ 1 + x"),
    ("y ~ 1.0 + x", "y ~ 1 + x"),
    ("y ~ x + x", "y ~ 1 + x"),
    ("y ~ x + z - x", "y ~ 1 + z"),
    ("y ~ x - z", "y ~ 1 + x"),
    ("y ~ a - (b - a)", "y ~ 1 + a"),
    ("y ~ a:b", "y ~ 1 + a:b"),
    ("y ~ a:a", "y ~ 1 + a"),
    ("y ~ a*b", "y ~ 1 + a + b + a:b"),
    ("y ~ b*a", "y ~ 1 + b + a + b:a"),
    ("y ~ a*b*c", "y ~ 1 + a + b + c + a:b + a:c + b:c + a:b:c"),
    ("y ~ a*b - a:b", "y ~ 1 + a + b"),
    ("y ~ a*b*c - a:b:c", "y ~ 1 + a + b + c + a:b + a:c + b:c"),
    ("y ~ -a:b + a*b", "y ~ 1 + a + b + a:b"),
    ("y ~ a*b + -a:b", "y ~ 1 + a + b + a:b"),  # as in R: the minus takes away from nothing
    ("y ~ (a + b):c", "y ~ 1 + a:b:c - a:b:c + a:c + b:c"),  # as said at _sum
    ("y ~ (a + b)*c", "y ~ 1 + a + b + c + a:c + b:c"),
    ("y ~ (1 + a):b", "y ~ 1 + a:b"),
    ("y ~ (0 + a)*b", "y ~ 0 + a + b + a:b"),
    ("y ~ (a + b)^2", "y ~ 1 + a + b + a:b"),
    ("y ~ (a + b + c)^2", "y ~ 1 + a + b + c + a:b + a:c + b:c"),
    ("y ~ (a + b + c)**3", "y ~ 1 + a + b + c + a:b + a:c + b:c + a:b:c"),
    ("y ~ a^2", "y ~ 1 + a"),
    ("y ~ (a + b)^1000000", "y ~ 1 + a + b + a:b"),
    ("y ~ a^2:b", "y ~ 1 + a:b"),
    ("y ~ a/b", "y ~ 1 + a + a:b"),
    ("y ~ a/b/c", "y ~ 1 + a + a:b + a:b:c"),
    ("y ~ (a + b)/c", "y ~ 1 + a + b + a:b:c"),
    ("y ~ a/(b + c)", "y ~ 1 + a + a:b + a:c"),
    ("y ~ a %in% b", "y ~ 1 + a:b"),
    ("y ~ a + b %in% a", "y ~ 1 + a + a:b"),
    ("y ~ a:c + b:c", "y ~ 1 + a:c + c:b"),  # R, too, orders factors by first appearance
    ("y ~ (c + a) %in% c", "y ~ 1 + c + c:a"),
    ("y ~ a*b %in% c", "y ~ 1 + a + b:c + a:b:c"),
    ("y ~ a:b + a", "y ~ 1 + a + a:b"),
    ("y ~ a:b + b", "y ~ 1 + a:b + b"),  # `b + a:b` would turn the factors round
    ("y ~ c + a:b + b:d + b", "y ~ 1 + a:b + b:d + c + b"),
    ("y ~ ((x))", "y ~ 1 + x"),
    # values
    ("log(y) ~ x", "log(y) ~ 1 + x"),
    ("y/10 ~ x", "y/10 ~ 1 + x"),
    ("y1-y0 ~ y0", "y1 - y0 ~ 1 + y0"),
    ("I( y ^ 2 )~x", "I(y^2) ~ 1 + x"),
    ("`my y` ~ `my x` + `1x`:z", "`my y` ~ 1 + `my x` + `1x`:z"),
    ("y ~ `x`", "y ~ 1 + x"),
    (r"y ~ `a\`b\\c`", r"y ~ 1 + `a\`b\\c`"),
    ("y ~ x.1 + _x + .hidden + größe + 年齢", "y ~ 1 + x.1 + _x + .hidden + größe + 年齢"),
    ("y ~ log(x)*z", "y ~ 1 + log(x) + z + log(x):z"),
    ("y ~ log(x)+log( x )", "y ~ 1 + log(x)"),
    ("y ~ log(x, 2) + log(x, base=10)", "y ~ 1 + log(x, 2) + log(x, base = 10)"),
    ("y ~ I(x**2)", "y ~ 1 + I(x^2)"),
    ("y ~ I(a*b) + I((a+b)*c)", "y ~ 1 + I(a * b) + I((a + b) * c)"),
    ("y ~ I(-x^2) + I((-x)^2)", "y ~ 1 + I(-x^2) + I((-x)^2)"),
    ("y ~ I(x>3) + I((x<=3)*(z!=2))", "y ~ 1 + I(x > 3) + I((x <= 3) * (z != 2))"),
    ("y ~ I(g == 'a')", 'y ~ 1 + I(g == "a")'),
    ("y ~ I(x%%2)", "y ~ 1 + I(x%%2)"),
    ("y ~ poly(x, 2L)", "y ~ 1 + poly(x, 2)"),
    ("y ~ poly(x, degree=2, raw=T)", "y ~ 1 + poly(x, degree = 2, raw = TRUE)"),
    ("y ~ poly(x, 2, raw=True)", "y ~ 1 + poly(x, 2, raw = TRUE)"),
    ("y ~ poly(log(x + 1), 3)", "y ~ 1 + poly(log(x + 1), 3)"),
    ("y ~ bs(x, knots=c(1, 2.50, -3))", "y ~ 1 + bs(x, knots = c(1, 2.5, -3))"),
    ("y ~ ns(x, df=3, Boundary.knots=c(0,9))", "y ~ 1 + ns(x, df = 3, Boundary.knots = c(0, 9))"),
    ("y ~ cr(x, df=4) + center(z)", "y ~ 1 + cr(x, df = 4) + center(z)"),
    ("y ~ scale(x, scale=F) + I(scale(z)^2)", "y ~ 1 + scale(x, scale = FALSE) + I(scale(z)^2)"),
    ("y ~ factor(x) + as.factor(z)", "y ~ 1 + factor(x) + as.factor(z)"),
    ("y ~ factor(x, levels=c('b','a'))", 'y ~ 1 + factor(x, levels = c("b", "a"))'),
    ("y ~ C(f, sum) + C(g, 'helmert')", 'y ~ 1 + C(f, sum) + C(g, "helmert")'),
    ("y ~ C(f, contr.treatment(base=2))", "y ~ 1 + C(f, contr.treatment(base = 2))"),
    ("y ~ C(factor(x), contr = Treatment('b'))", 'y ~ 1 + C(factor(x), contr = Treatment("b"))'),
    ("y ~ C(f, sum):x", "y ~ 1 + C(f, sum):x"),
    ("y ~ x + offset(z)", "y ~ 1 + x + offset(z)"),
    ("y ~ offset(log(n)) + x + offset(z/2)", "y ~ 1 + x + offset(log(n)) + offset(z/2)"),
    ("y ~ x + offset(z) - offset(z)", "y ~ 1 + x"),
    ("y ~ T + F + c + log + sum + us", "y ~ 1 + T + F + c + log + sum + us"),  # columns may be called so
    # random part
    ("y ~ (1|g)", "y ~ 1 + (1 | g)"),
    ("y ~ x + (x|g)", "y ~ 1 + x + (1 + x | g)"),
    ("y ~ (1 + x|g)", "y ~ 1 + (1 + x | g)"),
    ("y ~ (0 + x|g)", "y ~ 1 + (0 + x | g)"),
    ("y ~ (x - 1|g)", "y ~ 1 + (0 + x | g)"),
    ("y ~ (x||g)", "y ~ 1 + (1 + x || g)"),
    ("y ~ (0 + f||g)", "y ~ 1 + (0 + f || g)"),
    ("y ~ (a*b|g)", "y ~ 1 + (1 + a + b + a:b | g)"),
    ("y ~ ((1|g))", "y ~ 1 + (1 | g)"),
    ("y ~ (x + (1|g))", "y ~ 1 + x + (1 | g)"),
    ("y ~ (1|g) + x + ((1|h) + (0 + x|g))", "y ~ 1 + x + (1 | g) + (1 | h) + (0 + x | g)"),
    ("y ~ (1|a/b)", "y ~ 1 + (1 | a) + (1 | a:b)"),
    ("y ~ (1|a/b/c)", "y ~ 1 + (1 | a) + (1 | a:b) + (1 | a:b:c)"),
    ("y ~ (x|a/b)", "y ~ 1 + (1 + x | a) + (1 + x | a:b)"),
    ("y ~ (1|a/(b/c))", "y ~ 1 + (1 | a) + (1 | a:b) + (1 | a:b:c)"),
    ("y ~ (1|(a:b)/c)", "y ~ 1 + (1 | a:b) + (1 | a:b:c)"),
    ("y ~ (1|a:b)", "y ~ 1 + (1 | a:b)"),
    ("y ~ (1|a:a)", "y ~ 1 + (1 | a)"),
    ("y ~ (1|factor(g))", "y ~ 1 + (1 | factor(g))"),
    ("y ~ (1|a:factor(g))", "y ~ 1 + (1 | a:factor(g))"),
    ("y ~ (1|`my g`)", "y ~ 1 + (1 | `my g`)"),
    ("y ~ (poly(x, 2)|g)", "y ~ 1 + (1 + poly(x, 2) | g)"),
    ("y ~ (scale(x)|g)", "y ~ 1 + (1 + scale(x) | g)"),
    ("y ~ (0 + C(f, sum)|g)", "y ~ 1 + (0 + C(f, sum) | g)"),
    ("y ~ us(x|g)", "y ~ 1 + (1 + x | g)"),
    ("y ~ diag(x|g)", "y ~ 1 + (1 + x || g)"),
    ("y ~ diag((x|g))", "y ~ 1 + (1 + x || g)"),
    ("y ~ diag(x||g)", "y ~ 1 + (1 + x || g)"),
    ("y ~ diag(x|g, hom = FALSE)", "y ~ 1 + (1 + x || g)"),
    ("y ~ diag(x|g, hom = TRUE)", "y ~ 1 + diag(1 + x | g, hom = TRUE)"),
    ("y ~ homdiag(x|g)", "y ~ 1 + diag(1 + x | g, hom = TRUE)"),
    ("y ~ cs(0 + f|g)", "y ~ 1 + cs(0 + f | g)"),
    ("y ~ cs(0 + f|g, hom=T)", "y ~ 1 + cs(0 + f | g, hom = TRUE)"),
    ("y ~ homcs(0 + f|g)", "y ~ 1 + cs(0 + f | g, hom = TRUE)"),
    ("y ~ ar1(0 + factor(t)|g)", "y ~ 1 + ar1(0 + factor(t) | g)"),
    ("y ~ ar1(0 + factor(t)|g, hom=True)", "y ~ 1 + ar1(0 + factor(t) | g)"),
    ("y ~ ar1(0 + t|g, hom=False)", "y ~ 1 + ar1(0 + t | g, hom = FALSE)"),
    ("y ~ hetar1(0 + t|g)", "y ~ 1 + ar1(0 + t | g, hom = FALSE)"),
    ("y ~ cs(x|a/b)", "y ~ 1 + cs(1 + x | a) + cs(1 + x | a:b)"),
    ("y ~ diag(0 + t|g) + ar1(0 + t|g)", "y ~ 1 + (0 + t || g) + ar1(0 + t | g)"),
    ("y ~ (1|g) + ar1(0 + t|g)", "y ~ 1 + (1 | g) + ar1(0 + t | g)"),
    ("y ~ (1|g) - (1|g)", "y ~ 1"),
    ("y ~ offset(z) + (1|g) + x", "y ~ 1 + x + offset(z) + (1 | g)"),
]


@pytest.mark.parametrize(("text", "canonical"), CANONICAL, ids=[text for text, _ in CANONICAL])
def test_meaning(text: str, canonical: str) -> None:
    formula = parse(text)
    assert str(formula) == canonical
    assert parse(canonical) == formula
    assert hash(parse(canonical)) == hash(formula)
    assert formula.text == text


def test_parts_of_a_formula() -> None:
    formula = parse("log(y) ~ x*f + offset(z) + (1 | a/b) + cs(0 + f | g, hom = TRUE)")
    assert formula.response == Call("log", (Name("y"),))
    assert formula.intercept
    assert [term.label for term in formula.terms] == ["x", "f", "x:f"]
    assert formula.terms[2] == FixedTerm((Name("x"), Name("f")))
    assert formula.offsets == (Name("z"),)
    outer, inner, cs = formula.random
    assert outer == RandomTerm("us", False, True, (), (Name("a"),))
    assert inner.group == (Name("a"), Name("b"))
    assert (inner.group_label, inner.group_names) == ("a:b", ("a", "b"))
    assert outer.text == inner.text == "(1 | a/b)"
    assert (cs.structure, cs.homogeneous, cs.intercept) == ("cs", True, False)
    assert [term.label for term in cs.terms] == ["f"]


def test_variables_say_where_they_stand() -> None:
    text = "log(`my y`) ~ x + poly(z, 2) + C(f, sum) + offset(n) + (x | g:h)"
    found = parse(text).variables()
    assert [name for name, _ in found] == ["my y", "x", "z", "f", "n", "g", "h"]
    written = {name: text[start:stop] for name, (start, stop) in found}
    assert written == {"my y": "`my y`", "x": "x", "z": "z", "f": "f", "n": "n", "g": "g", "h": "h"}


def test_variables_of_an_expression() -> None:
    difference = Binary("-", Name("y"), Call("log", (Binary("+", Name("x"), Name("y")), Number(2.0))))
    assert variables(difference) == ("y", "x")
    assert variables(Call("C", (Name("f"), Name("sum")))) == ("f",)
    assert variables(Call("poly", (Name("a"), Name("b"), Number(2.0)))) == ("a", "b")
    assert variables(Number(1.0)) == ()


def test_the_dot_is_every_other_column() -> None:
    columns = ["y", "a", "b c", "g"]
    assert str(parse("y ~ .", columns)) == "y ~ 1 + a + `b c` + g"
    assert str(parse("log(y) ~ . - a", columns)) == "log(y) ~ 1 + `b c` + g"
    assert str(parse("y ~ . + (1 | g)", columns)) == "y ~ 1 + a + `b c` + (1 | g)"
    assert (
        str(parse("y ~ .^2 + (a | factor(g))", columns))
        == "y ~ 1 + a + `b c` + a:`b c` + (1 + a | factor(g))"
    )
    assert parse("y ~ .", ["y", "a"]) != parse("y ~ .", ["y", "b"])


def test_a_formula_is_immutable_picklable_and_its_own_parse() -> None:
    formula = parse("y ~ poly(x, 2, raw = TRUE) + (x || g)")
    assert parse(formula) is formula
    assert pickle.loads(pickle.dumps(formula)) == formula
    with pytest.raises(AttributeError):
        formula.intercept = False  # type: ignore[misc]


# --- the fixed part against R and formulaic


@pytest.mark.parametrize("case", REFERENCE["terms"], ids=lambda case: case["formula"])
def test_terms_are_those_of_r(case: dict[str, Any]) -> None:
    formula = parse(case["formula"])
    assert [term.label for term in formula.terms] == case["labels"]
    assert formula.intercept == bool(case["intercept"])


@pytest.mark.parametrize("case", REFERENCE["labels"], ids=lambda case: case["text"])
def test_expressions_are_printed_as_r_prints_them(case: dict[str, str]) -> None:
    assert parse(f"response ~ {case['text']}").terms[0].label == case["label"]


def stable(examples: int) -> settings:
    """The same examples in every run, so that a failure is a change of the code."""
    return settings(derandomize=True, deadline=None, database=None, max_examples=examples)


def combined(left: str, op: str, right: str) -> str:
    return f"({left}) {op} ({right})"


algebra = st.recursive(
    st.sampled_from("abcd"),
    lambda inner: st.one_of(
        st.builds(combined, inner, st.sampled_from(["+", "+", "*", ":", "/"]), inner),
        st.builds(lambda base, order: f"({base})^{order}", inner, st.integers(2, 3)),
    ),
    max_leaves=6,
)


@stable(200)
@given(algebra)
def test_terms_are_those_of_formulaic(text: str) -> None:
    parsed = DefaultFormulaParser(feature_flags={"twosided"}).get_terms(text)
    expected = {frozenset(str(factor) for factor in term.factors) for term in parsed} - {frozenset("1")}
    ours = {frozenset(label(factor) for factor in term.factors) for term in parse(f"~ {text}").terms}
    assert ours == expected


# --- round trip

columns = st.sampled_from(["a", "b", "c d", "x.1", "TRUE", "_z", "é", "a`b\\"]).map(Name)
numbers = st.floats(0, 1e12, allow_nan=False, allow_subnormal=False).map(Number)
comparison = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
arithmetic = st.sampled_from(["+", "-", "*", "/", "^", "%%", "%/%"])


def values(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        st.builds(Unary, st.sampled_from("+-"), inner),
        st.builds(Binary, arithmetic | comparison, inner, inner),
        st.builds(lambda name, arg: Call(name, (arg,)), st.sampled_from(["log", "exp", "scale", "I"]), inner),
        st.builds(lambda arg, text: Binary("==", arg, String(text)), inner, st.text(max_size=4)),
    )


expressions = st.recursive(columns | columns | numbers, values, max_leaves=6).filter(
    lambda e: bool(variables(e))
)
factors = st.one_of(
    columns,
    expressions.map(lambda e: Call("I", (e,))),
    st.builds(
        lambda x, raw: Call("poly", (x, Number(2.0)), (("raw", Boolean(raw)),)), columns, st.booleans()
    ),
    st.builds(lambda x, c: Call("C", (x, String(c))), columns, st.sampled_from(["sum", "poly"])),
)


def spaced(terms: list[list[Expr]], ops: list[str]) -> str:
    pieces = [":".join(label(factor) for factor in term) for term in terms]
    return " ".join([pieces[0], *(f"{op} {piece}" for op, piece in zip(ops, pieces[1:], strict=False))])


sums = st.builds(
    spaced,
    st.lists(st.lists(factors, min_size=1, max_size=3), min_size=1, max_size=5),
    st.lists(st.sampled_from(["+", "+", "+", "-", "*"]), min_size=4, max_size=4),
)
groups = st.sampled_from(["g", "g/h", "`the g`", "factor(g):h", "g:h/k"])
bars = st.builds(
    lambda inner, group, name, bar, hom: (
        f"({inner} {bar} {group})"
        if name == "us"
        else f"{name}({inner} | {group}{hom if STRUCTURES[name][2] else ''})"
    ),
    sums | st.just("1"),
    groups,
    st.sampled_from(sorted(STRUCTURES)),
    st.sampled_from(["|", "||"]),
    st.sampled_from(["", ", hom = TRUE", ", hom = FALSE"]),
)
formulas = st.builds(
    lambda response, intercept, fixed, random: f"{response} ~ {' + '.join([intercept, fixed, *random])}",
    st.sampled_from(["response", "log(response)", ""]),
    st.sampled_from(["0", "1"]),
    sums,
    st.lists(bars, max_size=2),
)


@stable(400)
@given(formulas)
def test_canonical_text_reads_back_as_the_same_formula(text: str) -> None:
    try:
        formula = parse(text)
    except MixwellError as caught:  # a random term may have lost its columns, or given one twice
        assert caught.code in {"MW-F13", "MW-F14"}, caught
        return
    assert parse(str(formula)) == formula
    assert str(parse(str(formula))) == str(formula)


@stable(400)
@given(expressions)
def test_labels_read_back_as_the_same_expression(expr: Expr) -> None:
    assert parse(f"response ~ I({label(expr)})").terms[0].factors[0] == Call("I", (expr,))


# --- update

UPDATES = [
    ("y ~ x", "~ . + z", "y ~ 1 + x + z"),
    ("y ~ x", ". ~ . + z", "y ~ 1 + x + z"),
    ("y ~ x + z", "~ . - x", "y ~ 1 + z"),
    ("y ~ x", "log(.) ~ .", "log(y) ~ 1 + x"),
    ("y ~ x", "z ~ .", "z ~ 1 + x"),
    ("y - w ~ x", "I((.)^2) ~ .", "I((y - w)^2) ~ 1 + x"),
    ("~ x", "y ~ .", "y ~ 1 + x"),
    ("~ x", ". ~ . + z", "~ 1 + x + z"),
    ("y ~ x", "~ z", "y ~ 1 + z"),
    ("y ~ x", "~ . - 1", "y ~ 0 + x"),
    ("y ~ 0 + x", "~ .", "y ~ 0 + x"),
    ("y ~ 0 + x", "~ . + 1", "y ~ 1 + x"),
    ("y ~ x", "~ 0 + .", "y ~ 0 + x"),
    ("y ~ a + b", "~ .^2", "y ~ 1 + a + b + a:b"),
    ("y ~ a + b + (1 | g)", "~ .^2", "y ~ 1 + a + b + a:b + (1 | g)"),
    ("y ~ a + b", "~ z*.", "y ~ 1 + z + a + b + z:a + z:b"),
    ("y ~ a*b", "~ . - a:b", "y ~ 1 + a + b"),
    ("y ~ x + (1 | g)", "~ . + (0 + x | g)", "y ~ 1 + x + (1 | g) + (0 + x | g)"),
    ("y ~ x + (x | g)", "~ . - (x | g) + (x || g)", "y ~ 1 + x + (1 + x || g)"),
    ("y ~ x + (1 | a/b)", "~ . - (1 | a:b)", "y ~ 1 + x + (1 | a)"),
    ("y ~ x + (1 | a/b)", "~ . - (1 | a/b)", "y ~ 1 + x"),
    ("y ~ x + offset(n) + (1 | g)", "~ . - x", "y ~ 1 + offset(n) + (1 | g)"),
    ("y ~ x + offset(n)", "~ . - offset(n)", "y ~ 1 + x"),
    ("y ~ x + (1 | g)", "~ . - .", "y ~ 1"),
    ("y ~ x + (1 | g)", "~ . + z:.", "y ~ 1 + x + x:z + (1 | g)"),
]


@pytest.mark.parametrize(("old", "new", "expected"), UPDATES)
def test_update(old: str, new: str, expected: str) -> None:
    changed = update(parse(old), new)
    assert str(changed) == expected
    assert changed == parse(expected)
    for name, (start, stop) in changed.variables():  # places refer to the new text
        assert changed.text[start:stop].strip("`") == name


# --- what is refused: text -> code, and the piece of text under the caret

REFUSED = [
    ("", "MW-F02", ""),
    ("   ", "MW-F02", ""),
    ("~", "MW-F02", "~"),
    ("y ~", "MW-F02", "~"),
    ("y ~ x + (1 | g", "MW-F05", "("),
    ("y ~ x + 1 | g)", "MW-F05", ")"),
    ("y ~ log(x", "MW-F05", "("),
    ("y ~ )", "MW-F05", ")"),
    ("y ~ ()", "MW-F06", "("),
    ("y ~ x +", "MW-F06", "+"),
    ("y ~ x + + ", "MW-F06", "+"),
    ("y ~ * x", "MW-F06", "*"),
    ("y ~ x + : z", "MW-F06", "+"),
    ("y ~ log(x, )", "MW-F06", ","),
    ("y ~ x z", "MW-F07", "z"),
    ("y ~ 2x", "MW-F07", "x"),
    ("y ~ (x)(z)", "MW-F07", "("),
    ("y ~ `log`(x)", "MW-F07", "("),
    ("y x", "MW-F08", "y x"),
    ("y", "MW-F08", "y"),
    ("y ~ x ~ z", "MW-F09", "~"),
    ("(y ~ x)", "MW-F32", "~"),
    ("y ~ x | g", "MW-F10", "|"),
    ("y ~ x || g + z", "MW-F10", "||"),
    ("y ~ (| g)", "MW-F12", "|"),
    ("y ~ (1 |)", "MW-F12", "|"),
    ("y ~ (1 | )", "MW-F12", "|"),
    ("y ~ x + | g", "MW-F06", "+"),
    ("y ~ (1 | 3)", "MW-F11", "3"),
    ("y ~ (1 | 'g')", "MW-F23", "'g'"),
    ("y ~ (1 | log(x))", "MW-F11", "log(x)"),
    ("y ~ (1 | factor(x + 1))", "MW-F11", "factor(x + 1)"),
    ("y ~ (1 | a*b)", "MW-F11", "a*b"),
    ("y ~ (1 | a + b)", "MW-F11", "a + b"),
    ("y ~ (1 | a %in% b)", "MW-F11", "a %in% b"),
    ("y ~ (1 | (a/b):c)", "MW-F11", "(a/b):c"),
    ("y ~ (1 | -g)", "MW-F11", "-g"),
    ("y ~ (1 | .)", "MW-F11", "."),
    ("y ~ (0 | g)", "MW-F13", "(0 | g)"),
    ("y ~ (x - x - 1 | g)", "MW-F13", "(x - x - 1 | g)"),
    ("y ~ (1|S) + (1|S)", "MW-F14", "(1|S)"),
    ("y ~ (1|S) + (Days|S)", "MW-F14", "(Days|S)"),
    ("y ~ (x||S) + (0 + x|S)", "MW-F14", "(0 + x|S)"),
    ("y ~ (1|S) + (1|factor(S))", "MW-F14", "(1|factor(S))"),
    ("y ~ (1|a:b) + (1|b:a)", "MW-F14", "(1|b:a)"),
    ("y ~ (1|a/b) + (x|a)", "MW-F14", "(x|a)"),
    ("y ~ (0 + a:b|g) + (0 + b:a|g)", "MW-F14", "(0 + b:a|g)"),
    ("y ~ (0 + f|g) + homcs(0 + f|g)", "MW-F14", "homcs(0 + f|g)"),
    ("y ~ ar1(0 + t|g) + ar1(0 + t|g)", "MW-F14", "ar1(0 + t|g)"),
    ("y ~ toep(x | g)", "MW-F15", "toep"),
    ("y ~ dia(1 + log(x) | g)", "MW-F15", "dia"),
    ("y ~ cs(x | g, hom = 3)", "MW-F16", "hom = 3"),
    ("y ~ cs(x | g, TRUE)", "MW-F16", "TRUE"),
    ("y ~ cs(x | g, )", "MW-F16", ")"),
    ("y ~ us(x | g, hom = TRUE)", "MW-F16", "hom = TRUE"),
    ("y ~ homcs(x | g, hom = FALSE)", "MW-F16", "hom = FALSE"),
    ("y ~ cs(x | g, hom = TRUE, hom = TRUE)", "MW-F16", "hom = TRUE"),
    ("y ~ cs(x || g)", "MW-F16", "x || g"),
    ("y ~ cs(diag(x | g))", "MW-F16", "diag(x | g)"),
    ("y ~ x^0.5", "MW-F17", "0.5"),
    ("y ~ x^z", "MW-F17", "z"),
    ("y ~ x^-1", "MW-F17", "-1"),
    ("y ~ (a + b)^0", "MW-F17", "0"),
    ("y ~ x + 2", "MW-F18", "2"),
    ("y ~ 2*x", "MW-F18", "2"),
    ("y ~ x:1", "MW-F18", "1"),
    ("y ~ y + x", "MW-F19", "y"),
    ("y ~ x:y", "MW-F19", "y"),
    ("y ~ (y | g)", "MW-F19", "y"),
    ("y ~ (1 | y)", "MW-F19", "y"),
    ("log(y) ~ log( y )", "MW-F19", "log( y )"),
    ("y ~ lgo(x)", "MW-F03", "lgo"),
    ("y ~ np.log(x)", "MW-F03", "np.log"),
    ("y ~ x.mean()", "MW-F03", "x.mean"),
    ("y ~ __import__('os')", "MW-F26", "__import__"),
    ("y ~ eval('1')", "MW-F03", "eval"),
    ("y ~ cbind(a, b)", "MW-F32", "cbind"),
    ("y ~ sum(x)", "MW-F03", "sum"),
    ("y ~ x.__class__", "MW-F26", "x.__class__"),
    ("y ~ log(x).real", "MW-F26", ".real"),
    ("y ~ lambda: 3", "MW-F26", "lambda"),
    ("y ~ I(lambda)", "MW-F26", "lambda"),
    ("y ~ x[1]", "MW-F04", "["),
    ("y ~ d$x", "MW-F04", "$x"),
    ("y ~ x & z", "MW-F04", "&"),
    ("y ~ !x", "MW-F04", "!"),
    ("y ~ x %o% z", "MW-F04", "%o%"),
    ("y ~ {x}", "MW-F04", "{"),
    ("y ~ x; z", "MW-F04", ";"),
    ("y ~ x + ``", "MW-F04", "``"),
    ("y ~ I(x * 1e999)", "MW-F04", "1e999"),
    ("y ~ `my column", "MW-F29", "`"),
    ("y ~ factor(x, levels = 'a)", "MW-F29", "'"),
    ("y ~ poly(x, degre = 2)", "MW-F21", "degre"),
    ("y ~ exp(x, base = 2)", "MW-F21", "base"),
    ("y ~ bs(x, df = 3, df = 4)", "MW-F21", "df"),
    ("y ~ log()", "MW-F22", "log()"),
    ("y ~ exp(x, z)", "MW-F22", "exp(x, z)"),
    ("y ~ log(x, 2, 3)", "MW-F22", "log(x, 2, 3)"),
    ("y ~ 'x'", "MW-F23", "'x'"),
    ("'y' ~ x", "MW-F23", "'y'"),
    ("y ~ log('x')", "MW-F23", "'x'"),
    ("y ~ I('x' + 1)", "MW-F23", "'x'"),
    ("y ~ I(-'x')", "MW-F23", "'x'"),
    ("y ~ TRUE", "MW-F23", "TRUE"),
    ("y ~ I(TRUE)", "MW-F23", "TRUE"),
    ("y ~ .", "MW-F24", "."),
    ("y ~ log(.)", "MW-F24", "."),
    (". ~ x", "MW-F24", "."),
    ("y ~ (. | g)", "MW-F24", "."),
    ("y ~ x*(1 | g)", "MW-F25", "(1 | g)"),
    ("y ~ (1 | g)^2", "MW-F25", "(1 | g)"),
    ("y ~ x:offset(z)", "MW-F25", "offset(z)"),
    ("y ~ (x + offset(z) | g)", "MW-F25", "offset(z)"),
    ("y ~ x - (1 | g)", "MW-F28", "(1 | g)"),
    ("y ~ x - offset(z)", "MW-F28", "offset(z)"),
    ("1 ~ x", "MW-F30", "1"),
    ("log(2) ~ x", "MW-F30", "log(2)"),
    ("y ~ log(2)", "MW-F30", "log(2)"),
    ("y ~ diag(x)", "MW-F31", "diag(x)"),
    ("y ~ us()", "MW-F31", "us()"),
    ("y ~ diag((x | g) + z)", "MW-F31", "diag((x | g) + z)"),
    ("y ~ a < b", "MW-F32", "<"),
    ("y ~ a == b", "MW-F32", "=="),
    ("y ~ a %% b", "MW-F32", "%%"),
    ("y ~ x, z", "MW-F32", ","),
    ("y = x ~ z", "MW-F32", "="),
    ("y <- x ~ z", "MW-F04", "<-"),
    ("y ~ I(x<-1)", "MW-F04", "<-"),
    ("y ~ I(a < b < c)", "MW-F32", "<"),
    ("y ~ log(a:b)", "MW-F32", ":"),
    ("y ~ log(x | g)", "MW-F32", "|"),
    ("y | g ~ x", "MW-F32", "|"),
    ("y ~ I(poly(x, 2))", "MW-F32", "poly"),
    ("y ~ log(factor(x))", "MW-F32", "factor"),
    ("y ~ log(offset(x))", "MW-F32", "offset"),
    ("y ~ c(x, z)", "MW-F32", "c"),
    ("y ~ (1 | a | b)", "MW-F33", "|"),
    ("y ~ ((1 | a) | b)", "MW-F33", "(1 | a)"),
    ("y ~ (1 | (1 | a))", "MW-F33", "(1 | a)"),
    ("y ~ bs(x, df = k)", "MW-F34", "k"),
    ("y ~ bs(x, knots = c(1, k))", "MW-F34", "k"),
    ("y ~ C(f, helmet)", "MW-F35", "helmet"),
    ("y ~ C(f, lm())", "MW-F35", "lm"),
    ("y ~ " + "(" * 200 + "x" + ")" * 200, "MW-F27", "("),
    ("y ~ I(" + "+".join(["x"] * 500) + ")", "MW-F27", "+"),
    ("y ~ I(" + "(" * 90 + "x" + ")" * 90 + ")", "MW-F27", "("),
    ("y ~ (" + "+".join(f"x{i}" for i in range(60)) + ")^9", "MW-F27", None),
]


@pytest.mark.parametrize(("text", "code", "marked"), REFUSED, ids=[text[:40] for text, _, _ in REFUSED])
def test_refusals(text: str, code: str, marked: str | None) -> None:
    with pytest.raises(MixwellError) as caught:
        parse(text)
    assert caught.value.code == code
    assert "\x1b" not in str(caught.value)
    start, stop = caught.value.fields["span"]  # type: ignore[misc]
    if marked:
        assert text[start:stop] == marked


@pytest.mark.parametrize("given", [None, 3, ["y ~ x"], b"y ~ x"])
def test_a_formula_is_text(given: Any) -> None:
    with pytest.raises(MixwellError, match="MW-F01"):
        parse(given)
    with pytest.raises(MixwellError, match="MW-F01"):
        update(parse("y ~ x"), given)


def test_refused_updates() -> None:
    old = parse("y ~ x + (1 | g)")
    with pytest.raises(MixwellError, match=r"(?s)MW-F28.*has: \(1 \| g\)"):
        update(old, "~ . - (x | g)")
    with pytest.raises(MixwellError, match="MW-F14"):
        update(old, "~ . + (x | g)")
    with pytest.raises(MixwellError, match="MW-F08"):
        update(old, ". + z")
    with pytest.raises(MixwellError, match="MW-F24"):
        update(old, "~ log(.)")


# --- the whole text of some refusals

RENDERED = {
    "Reaction ~ Days + (Days | Subject": """\
MW-F05  unbalanced parentheses: this '(' is never closed
    Reaction ~ Days + (Days | Subject
                      ^
Add the missing ')'.""",
    "Reaction ~ Days | Subject": """\
MW-F10  the bar '|' is outside parentheses
    Reaction ~ Days | Subject
                    ^
Put every random-effects term in parentheses: (Days | Subject).""",
    "y ~ x + 1 | g + z": """\
MW-F10  the bar '|' is outside parentheses
    y ~ x + 1 | g + z
              ^
Put every random-effects term in parentheses: (1 | g).""",
    "y ~ (1 | S) + (Days | S)": """\
MW-F14  the random effects of 'S' contain the intercept twice: in (1 | S) and in (Days | S)
    y ~ (1 | S) + (Days | S)
                  ^^^^^^^^^^
Two variances of one effect cannot be told apart. Write (1 + Days | S) alone, or (1 | S) + (0 + Days | S) to \
leave out the correlation between them.""",
    "y ~ (1 | S) + (1 | S)": """\
MW-F14  the random effects of 'S' contain the intercept twice: in (1 | S) and in (1 | S)
    y ~ (1 | S) + (1 | S)
                  ^^^^^^^
Two variances of one effect cannot be told apart. Remove one of them.""",
    "y ~ (a + b | S) + (0 + b + c | S)": """\
MW-F14  the random effects of 'S' contain 'b' twice: in (a + b | S) and in (0 + b + c | S)
    y ~ (a + b | S) + (0 + b + c | S)
                      ^^^^^^^^^^^^^^^
Two variances of one effect cannot be told apart. Keep them in one: (1 + a + b | S) + (0 + c | S).""",
    "y ~ pol(x, 2)": """\
MW-F03  unknown function 'pol'
    y ~ pol(x, 2)
        ^^^
A formula may use: log, log2, log10, log1p, exp, expm1, sqrt, abs, sin, cos, tan, I, poly, bs, ns, cr, \
scale, center, standardize, C, factor, as.factor, ordered, offset.  Did you mean 'poly'?""",
    "y ~ toep(0 + t | g)": """\
MW-F15  unknown covariance structure 'toep'
    y ~ toep(0 + t | g)
        ^^^^
Structures available: us, diag, cs, ar1, homdiag, homcs, hetar1.""",
    "y ~ cs(x | g, hom = 3)": """\
MW-F16  cs() cannot take 'hom = 3'
    y ~ cs(x | g, hom = 3)
                  ^^^^^^^
After the bar it takes hom = TRUE (one variance) or hom = FALSE (one per column).""",
    "y ~ (1 | a*b)": """\
MW-F11  'a*b' cannot be a grouping factor
    y ~ (1 | a*b)
             ^^^
Write one term for each: (... | a) + (... | b) + (... | a:b).""",
    "y ~ x +": """\
MW-F06  something is missing after '+'
    y ~ x +
          ^
Put a column, a function call or a parenthesis there.""",
    "y ~ poly(x, degre = 2)": """\
MW-F21  poly() has no argument 'degre'
    y ~ poly(x, degre = 2)
                ^^^^^
Its arguments: degree, raw.  Did you mean 'degree'?""",
    "y ~ x + y": """\
MW-F19  the response 'y' is also to the right of '~'
    y ~ x + y
            ^
A response cannot explain itself: remove it from the right-hand side.""",
    "y ~ a +\n  b[1] +\n  c": """\
MW-F04  '[' has no meaning in a formula
      b[1] +
       ^
Subscripts are not allowed: make the column first, then name it.""",
    "収量 ~ 肥料 + 品種 $ x": """\
MW-F04  '$' has no meaning in a formula
    収量 ~ 肥料 + 品種 $ x
                       ^
Name the column alone; the table is given separately.""",
    "": """\
MW-F02  the formula is empty
Write the response, '~', then the terms, as in "y ~ x + (x | g)". Use '1' for an intercept only.""",
}


@pytest.mark.parametrize("text", RENDERED)
def test_whole_text_of_a_refusal(text: str) -> None:
    with pytest.raises(MixwellError) as caught:
        parse(text)
    assert str(caught.value) == RENDERED[text]


# --- nothing gets past the parser

PIECES = [
    *"~+-*/:^|().,=<>`\"'[]{}$@!&%;\\#\n\t 019",
    *[
        "||",
        "**",
        "%in%",
        "%%",
        "==",
        "!=",
        "0.5",
        "1e5",
        "2L",
        "é",
        "数",
        "`a b`",
        "'s'",
        "TRUE",
        "lambda",
        "__x__",
    ],
    *["y", "x", "a", "g", "hom", "hom = TRUE", "y ~ ", "(1 | g)", "(x || g)", ", 2", "raw = "],
    *[f"{name}(" for name in (*FUNCTIONS, *STRUCTURES, "toep")],
]


@stable(1500)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=40))
def test_any_text_is_parsed_or_refused_quickly(text: str) -> None:
    start = time.perf_counter()
    for whole in (text, f"y ~ {text}"):
        try:
            formula = parse(whole, ("y", "x", "a", "g"))
        except MixwellError as caught:
            assert str(caught).startswith(caught.code)
        else:
            assert parse(str(formula)) == formula
    assert time.perf_counter() - start < 1  # a bound against explosions, not a measurement


@pytest.mark.parametrize(
    "text",
    [
        "y ~ " + "(" * 100_000,
        "y ~ " + "-" * 100_000 + "x",
        "y ~ " + "^".join(["x"] * 10_000),
        "y ~ " + "*".join(f"x{i}" for i in range(70)),
        "y ~ " + "log(" * 10_000 + "x",
        "y ~ " + "(1|" * 10_000,
        "y ~ I(" + "^".join(["x"] * 5_000) + ")",
        "y ~ `" + "\\" * 100_000,
        "y ~ '" + "a" * 100_000,
        "y ~ (" + "+".join(f"x{i}" for i in range(5_000)) + ")^2",
        "y ~ (1|" + "/".join(f"x{i}" for i in range(5_000)) + ")",
        "y" * 100_000,
    ],
    ids=lambda text: text[:12],
)
def test_monsters_are_refused_quickly(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(MixwellError) as caught:
        parse(text)
    assert len(str(caught.value)) < 2000
    assert time.perf_counter() - start < 2


def test_long_sums_are_fine() -> None:
    assert parse("y ~ I(" + " + ".join(f"x{i}" for i in range(150)) + ")").terms
    text = "y ~ " + " + ".join(f"x{i}" for i in range(5_000)) + " - x3 + (1 | g)"
    formula = parse(text)
    assert len(formula.terms) == 4_999
    assert parse(str(formula)) == formula


def test_parsing_again_costs_nothing() -> None:
    text = "Reaction ~ Days + (Days | Subject)"
    assert parse(text) is parse(text, ["Reaction", "Days", "Subject"])


def test_formula_is_the_only_name_one_needs() -> None:
    assert isinstance(parse("y ~ x"), Formula)
