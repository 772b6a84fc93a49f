"""Models side by side: the numbers, the alignment of rows, and each way of showing them."""

from __future__ import annotations

import doctest
import html.parser
import math
import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixwell as mw
from mixwell.reporting.latex import math_name, text_name
from mixwell.reporting.side_by_side import _merged


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    sleep = mw.data.load("sleepstudy", "dict")
    cbpp = mw.data.load("cbpp", "dict")
    return {
        "lm": mw.lm("Reaction ~ Days", sleep),
        "one": mw.lmer("Reaction ~ Days + (1 | Subject)", sleep),
        "two": mw.lmer("Reaction ~ Days + (Days | Subject)", sleep),
        "ml": mw.lmer("Reaction ~ Days + (Days | Subject)", sleep, method="ML"),
        "glm": mw.glm("cbind(incidence, size - incidence) ~ period", cbpp, family="binomial"),
        "glmer": mw.glmer(
            "cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp, family="binomial"
        ),
    }


def column(table: Any, **where: Any) -> dict[str, Any]:
    """The one row of a long table with these values."""
    at = [i for i in range(len(table["term"])) if all(table[key][i] == value for key, value in where.items())]
    assert len(at) == 1
    return {key: values[at[0]] for key, values in table.items()}


# --- numbers --------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_models_at_full_precision(models: dict[str, Any]) -> None:
    table = mw.table(*models.values(), names=list(models)).table()
    for name, m in models.items():
        for term, estimate in m.fixef.items():
            row = column(table, model=name, part="fixed", term=term)
            assert row["estimate"] == estimate
            assert row["std_error"] == pytest.approx(m.se[term], rel=1e-14)
        tidy = m.tidy(level=0.95)
        mine = [
            i
            for i, (a, b) in enumerate(zip(table["model"], table["part"], strict=True))
            if (a, b) == (name, "fixed")
        ]
        for key in ("statistic", "p_value", "lower", "upper"):
            assert np.array(table[key])[mine] == pytest.approx(np.array(tidy[key]), rel=1e-12)
        assert column(table, model=name, part="fit", term="AIC")["estimate"] == m.aic
        assert column(table, model=name, part="fit", term="rows")["estimate"] == m.nobs
    two = models["two"]
    assert (
        column(table, model="two", part="random", term="sd Days")["estimate"]
        == two.varcorr()["Subject"].sd["Days"]
    )
    r = two.varcorr()["Subject"].correlation[1, 0]
    assert column(table, model="two", part="random", term="cor (Intercept), Days")["estimate"] == r
    assert column(table, model="two", part="random", group="Residual")["estimate"] == two.sigma
    assert column(table, model="two", part="fit", term="R2 marginal")["estimate"] == two.r2()["marginal"]
    assert column(table, model="two", part="fit", term="ICC")["estimate"] == two.icc()["adjusted"]
    assert column(table, model="lm", part="fixed", term="Days")["df"] == 178
    assert column(table, model="two", part="fixed", term="Days")["df"] == pytest.approx(17, abs=1e-3)
    assert column(table, model="glmer", part="fixed", term="period2")["df"] == math.inf


def test_tables_come_in_the_library_of_the_first_model() -> None:
    for library in ("pandas", "polars"):
        m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", library))
        assert isinstance(mw.table(m).table(), pd.DataFrame if library == "pandas" else pl.DataFrame)


def test_kenward_roger_is_for_the_linear_mixed_models(models: dict[str, Any]) -> None:
    table = mw.table(models["two"], models["glmer"], ddf="kenward-roger")
    assert "Kenward-Roger, expected information (1); normal (2)" in " ".join(repr(table).split())
    mine = column(table.table(), model="(1)", part="fixed", term="Days")
    assert mine["std_error"] == pytest.approx(models["two"].tidy(ddf="kenward-roger")["std_error"][1])


def test_exponentiated_coefficients(models: dict[str, Any]) -> None:
    m, linear = models["glmer"], models["two"]
    table = mw.table(linear, m, exponentiate=True, intervals=0.9)
    row = column(table.table(), model="(2)", part="fixed", term="period2")
    plain = column(mw.table(m, intervals=0.9).table(), part="fixed", term="period2")
    for key in ("estimate", "lower", "upper"):
        assert row[key] == pytest.approx(math.exp(plain[key]), rel=1e-14)
    assert row["std_error"] == pytest.approx(plain["std_error"] * row["estimate"], rel=1e-14)
    assert (row["statistic"], row["p_value"]) == (plain["statistic"], plain["p_value"])
    assert column(table.table(), model="(1)", part="fixed", term="Days")["estimate"] == linear.fixef["Days"]
    assert "Coefficients: as estimated (1); OR (2)." in table.remarks
    own = mw.table(linear, m, exponentiate=[False, False]).table()
    assert column(own, model="(2)", part="fixed", term="period2")["estimate"] == plain["estimate"]


def test_auxiliary_parameters_have_their_own_parts() -> None:
    rng = np.random.default_rng(7)
    n = 240
    data = {"x": rng.normal(size=n), "g": [f"g{i % 8}" for i in range(n)]}
    data["y"] = rng.poisson(np.exp(0.8 + 0.3 * data["x"])) * rng.binomial(1, 0.7, n)
    data["k"] = np.digitize(data["x"] + rng.logistic(size=n), [-1.0, 1.0])
    zeros = mw.glmer("y ~ x + (1 | g)", data, family="nbinom2", ziformula="~ x")
    ordinal = mw.glm("k ~ x", data, family="cumulative")
    gamma = mw.glm("z ~ x", data | {"z": np.exp(data["x"]) + 0.5}, family="gamma", link="log")
    table = mw.table(zeros, ordinal, gamma)
    t = table.table()
    assert column(t, part="zi", term="x")["estimate"] == zeros.zi_fixef["x"]
    assert column(t, part="zi", term="x")["std_error"] > 0
    assert column(t, part="dispersion", term="size")["estimate"] == zeros.dispersion["size"]
    assert column(t, part="dispersion", term="phi")["estimate"] == gamma.dispersion["phi"]
    assert column(t, part="threshold", term="0|1")["estimate"] == ordinal.thresholds["0|1"]
    shown = repr(table)
    order = ["Fixed effects", "Extra zeros (logit)", "Dispersion", "Thresholds", "Random effects", "Fit"]
    assert [shown.index(title) for title in order] == sorted(shown.index(title) for title in order)


def test_what_is_not_defined_is_left_out() -> None:
    data = {"y": [0, 3, 1, 4, 6, 9, 2, 5], "x": [0.0, 1.0, 0.5, 2.0, 2.5, 3.0, 1.0, 2.0]}
    quasi = mw.glm("y ~ x", data, family="quasipoisson")
    shown = repr(mw.table(quasi))
    assert "quasi-likelihood" in shown and re.search(r"AIC +-\n", shown)
    cauchit = mw.glmer(
        "y ~ 1 + (1 | g)",
        {"y": [0, 1, 1, 0, 1, 0, 1, 1], "g": [*"aabbccdd"]},
        family="binomial",
        link="cauchit",
    )
    assert "R2" not in repr(mw.table(cauchit))


# --- text -----------------------------------------------------------------------------------------------


def test_text(models: dict[str, Any]) -> None:
    table = mw.table(
        models["lm"], models["two"], names=["lm", "lmer"], stars=True, fit=("nobs", "groups", "aic")
    )
    assert (
        repr(table)
        == """\
                                      lm         lmer
Fixed effects
  (Intercept)                      251.41***   251.41***
                                    (6.61)      (6.82)
  Days                              10.47***    10.47***
                                    (1.24)      (1.55)
Random effects
  Subject: sd (Intercept)                       24.74
  Subject: sd Days                               5.922
  Subject: cor (Intercept), Days                 0.066
  Residual: sd                      47.71       25.59
Fit
  rows                             180         180
  levels of Subject                             18
  AIC                             1906.29     1755.63
Under estimates: standard error. * p < 0.05, ** p < 0.01, *** p < 0.001. Degrees of freedom:
residual (1); Satterthwaite (2).
loglik, AIC and BIC of fits by REML are restricted: they compare models with the same fixed
effects."""
    )


def test_what_stands_under_an_estimate(models: dict[str, Any]) -> None:
    m = models["two"]
    assert "[7.21, 13.73]" in repr(mw.table(m, statistic="ci"))
    assert "[7.78, 13.16]" in repr(mw.table(m, intervals=0.9))
    shown = repr(mw.table(m, statistic=("t", "p")))
    assert "t = 6.77" in shown and "p < 0.001" in shown and "(1.55)" not in shown
    assert "z = -3.24" in repr(mw.table(models["glmer"], statistic="t"))
    bare = repr(mw.table(m, statistic=None))
    assert "Under estimates" not in bare and "(1.55)" not in bare
    assert "10.467" in repr(mw.table(m, digits=4)) and "(1.546)" in repr(mw.table(m, digits=4))


def test_decimals_follow_the_standard_error() -> None:
    x = np.linspace(0, 1, 50)
    noise = np.sin(np.arange(50) * 2.4)
    shown = repr(mw.table(mw.lm("y ~ x", {"y": 1e-6 * (x + noise), "x": x})))
    assert re.search(r"\d\.\d{3}e-07", shown)
    shown = repr(mw.table(mw.lm("y ~ x", {"y": 1e6 * (x + noise), "x": x})))
    assert re.search(r"\(\d{6}\)", shown)


def test_rows_are_aligned_by_name(models: dict[str, Any]) -> None:
    sleep = mw.data.load("sleepstudy", "dict")
    a = mw.lm("Reaction ~ Days", sleep)
    b = mw.lm("Reaction ~ I(Days^2)", sleep)
    c = mw.lm("Reaction ~ Days + I(Days^2)", sleep)
    table = mw.table(c, a, b, statistic=None, fit=())
    labels = [line.label for line in table.lines]
    assert labels == ["Fixed effects", "(Intercept)", "Days", "I(Days^2)", "Residuals", "Residual: sd"]
    filled = [
        [bool(cell.lines) for cell in line.cells]
        for line in table.lines
        if line.part == "fixed" and line.cells
    ]
    assert filled == [[True, True, True], [True, True, False], [True, False, True]]


@given(st.lists(st.lists(st.integers(0, 8), unique=True, max_size=6), max_size=4))
def test_merged_order_holds_every_key_once(sequences: list[list[int]]) -> None:
    merged = _merged(sequences)
    assert len(merged) == len(set(merged)) and set(merged) == {key for keys in sequences for key in keys}
    if sequences:  # the first model keeps its order
        assert [key for key in merged if key in sequences[0]] == sequences[0]


def test_remarks_say_what_does_not_compare(models: dict[str, Any]) -> None:
    sleep = mw.data.load("sleepstudy", "dict")
    fewer = {key: values[:150] for key, values in sleep.items()}
    table = mw.table(models["lm"], mw.lm("Reaction ~ Days", fewer))
    assert any("different numbers of rows" in each for each in table.remarks)
    assert any(
        each.startswith("Responses: Reaction (1); cbind")
        for each in mw.table(models["lm"], models["glm"]).remarks
    )
    assert not any("REML" in each for each in mw.table(models["ml"]).remarks)
    assert any("REML" in each for each in mw.table(models["ml"], models["two"]).remarks)


def test_renamed_coefficients(models: dict[str, Any]) -> None:
    table = mw.table(models["two"], rename={"Days": "Days of deprivation"})
    assert "  Days of deprivation" in repr(table) and "Subject: sd Days\n" not in repr(table).replace(
        "  ", ""
    )
    assert "Days" in table.table()["term"]


# --- HTML, LaTeX, great-tables --------------------------------------------------------------------------

AWKWARD = "a_b<1> & 50% #{x}^2~\\$"


@pytest.fixture(scope="module")
def awkward() -> Any:
    rng = np.random.default_rng(3)
    data = {"y": rng.normal(size=60), AWKWARD: rng.normal(size=60), "g_&": [f"<{i % 6}>" for i in range(60)]}
    quoted = "`" + AWKWARD.replace("\\", "\\\\") + "`"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mw.MixwellWarning)
        return mw.lmer(f"y ~ {quoted} + (1 | `g_&`)", data)


class Tags(html.parser.HTMLParser):
    """Collects text, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert all(name in ("style", "class", "colspan", "scope") for name, _ in attrs)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def test_html_is_self_contained_and_escaped(awkward: Any, models: dict[str, Any]) -> None:
    table = mw.table(awkward, models["glmer"], names=["<script>alert(1)</script>", "b&b"], stars=True)
    shown = table.to_html()
    assert "<script" not in shown and "http" not in shown and shown == table._repr_html_()
    tags = Tags()
    tags.feed(shown)
    assert not tags.open
    assert "<script>alert(1)</script>" in tags.said and "b&b" in tags.said
    assert any(AWKWARD.partition("\\")[0] in each for each in tags.said)
    assert "\u22120.992" in shown and "<sup>***</sup>" in shown and "R<sup>2</sup> marginal" in shown


def unescaped(latex: str) -> str:
    """What is left of LaTeX when its commands and escapes are taken away."""
    return re.sub(r"\\([a-zA-Z]+|.)", "", latex)


def test_latex_tabular_is_well_formed(awkward: Any, models: dict[str, Any]) -> None:
    table = mw.table(
        awkward, models["two"], models["glmer"], names=["a_b", "50%", "#1 & #2"], stars=True, intervals=True
    )
    shown = table.to_latex()
    tabular = shown[shown.index(r"\toprule") : shown.index(r"\bottomrule")]
    rows = [row for row in tabular.splitlines() if row.endswith(r"\\") and "multicolumn" not in row]
    assert len(rows) > 10
    for row in rows:
        left = unescaped(row.removesuffix(r"\\"))
        assert left.count("&") == 3
        assert not re.search(r"[%#_~<>]", left)
        assert not re.search(r"\^(?!\{\*+\}\$|2\$)", left)  # only stars, and the 2 of R2, are raised
        assert left.count("$") % 2 == 0 and left.count("{") == left.count("}")
        assert not row.lstrip(" &").startswith("[")
    assert shown.count(r"\begin{") == shown.count(r"\end{")
    assert "$-$0.99" in shown and "$R^2$ marginal" in shown
    whole = table.to_latex(caption="50% of them", label="tab:a_b")
    assert r"\caption{50\% of them}" in whole and r"\label{tab:a_b}" in whole
    assert whole.startswith(r"\begin{table}") and whole.endswith(r"\end{table}")


@settings(max_examples=200)
@given(st.text(max_size=20))
def test_names_are_escaped_for_latex(name: str) -> None:
    shown = text_name(name)
    left = unescaped(shown)
    assert not set(left) & set('_%&#$^~\\<>"`|')
    assert left.count("{") == left.count("}") and "\n" not in shown
    math_ = unescaped(math_name(name).removeprefix(r"\mathrm{")[:-1])
    assert not re.search(r"[_%&#$^~\\ ]", re.sub(r"\{[^{}]*\}", "", math_))
    assert math_.count("{") == math_.count("}")


def test_great_tables(awkward: Any, models: dict[str, Any]) -> None:
    great_tables = pytest.importorskip("great_tables")
    table = mw.table(awkward, models["glmer"], names=["<b>", "b"], stars=True, intervals=True)
    gt = table.to_great_tables()
    assert isinstance(gt, great_tables.GT)
    shown = gt.as_raw_html()
    assert "&lt;b&gt;" in shown and "<b>" not in shown and "a_b&lt;1&gt;" in shown
    assert "\u22120.992**" in shown and "Under estimates" in shown


def test_great_tables_that_is_not_installed(models: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "great_tables", None)
    with pytest.raises(mw.MixwellError, match=r"MW-A131.*great-tables"):
        mw.table(models["lm"]).to_great_tables()


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("MW-A133", {"names": ["a", "b"]}),
        ("MW-A133", {"exponentiate": [True, False]}),
        ("MW-A134", {"exponentiate": True}),
        ("MW-A135", {"rename": {"days": "x"}}),
        ("MW-A02", {"statistic": "sd"}),
        ("MW-A02", {"fit": ["AIC"]}),
        ("MW-A49", {"intervals": 95}),
        ("MW-A07", {"digits": 0}),
        ("MW-A07", {"names": "ab"}),
        ("MW-A01", {"star": True}),
    ],
)
def test_options_are_refused(models: dict[str, Any], code: str, options: dict[str, Any]) -> None:
    with pytest.raises(mw.MixwellError, match=code):
        mw.table(models["two"], **options)


def test_what_is_not_a_fit_is_refused(models: dict[str, Any]) -> None:
    for given_ in ((), ([models["lm"]],), (models["lm"], "lm")):
        with pytest.raises(mw.MixwellError, match="MW-A132"):
            mw.table(*given_)


def test_thresholds_and_levels_of_dispersion_have_no_test() -> None:
    rng = np.random.default_rng(8)
    data = {"x": rng.normal(size=200)}
    data["y"] = data["x"] + np.exp(0.3 * data["x"]) * rng.normal(size=200)
    data["k"] = np.digitize(data["x"] + rng.logistic(size=200), [-3.0, 1.0])
    spread, ordinal = (
        mw.glm("y ~ x", data, family="gaussian", dispformula="~ x"),
        mw.glm("k ~ x", data, family="cumulative"),
    )
    table = mw.table(spread, ordinal, stars=True)
    t = table.table()
    assert column(t, part="dispersion", term="log sigma^2: x")["p_value"] < 0.05
    assert math.isnan(column(t, part="dispersion", term="log sigma^2: (Intercept)")["p_value"])
    assert math.isnan(column(t, part="threshold", term="0|1")["p_value"])
    assert not any(cell.stars for line in table.lines if line.part == "threshold" for cell in line.cells)
    assert "nan" not in repr(mw.table(spread, ordinal, statistic=("t", "p")))


def test_examples_run() -> None:
    from mixwell.reporting import latex, side_by_side

    for module in (latex, side_by_side):
        assert doctest.testmod(module).failed == 0
