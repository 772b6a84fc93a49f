"""The HTML report: well formed, self-contained, escaped, and its numbers those of the model."""

from __future__ import annotations

import doctest
import html.parser
import re
import sys
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixwell as mw
from mixwell.cli.main import main
from mixwell.fitted.text import number
from mixwell.reporting.mathml import block, inline
from mixwell.reporting.pictures import _PLOTS, pictures

VOID = {"meta", "img", "br", "link", "input", "hr"}
NASTY = "<b>&\"'`</script><script>alert(1)</script>"


def quietly(fit: Any, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mw.MixwellWarning)
        return fit(*args, **options)


class Page(html.parser.HTMLParser):
    """Reads a page: its tags must nest; ids, links, attributes, tables and text are kept."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text: list[str] = []
        self._caption, self._row = "", -1
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        elif tag in ("th", "td"):
            self.tables[self._caption][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag
        if tag == "table":
            self._caption = ""

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] == "caption":
            self._caption += data
        elif self.open and self.open[-1] in ("th", "td"):
            self.tables[self._caption][-1][-1] += data.strip("\u2007").replace("\u2212", "-")

    def ids(self) -> list[str]:
        return [str(attrs["id"]) for _, attrs in self.tags if "id" in attrs]

    def column(self, caption: str, name: str) -> list[str]:
        header, *rows = self.tables[caption]
        return [row[header.index(name)] for row in rows]


def rows() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    n = 160
    x = rng.normal(size=n)
    g = np.repeat(np.arange(16), 10)
    eta = 0.3 + 0.5 * x + 0.6 * rng.normal(size=16)[g]
    return {
        "x": x,
        "f": [("lo & <i>", "hi_%$")[i % 2] for i in range(n)],
        "g": [f"{NASTY}{i}" for i in g],
        "h": [f"h{i % 7}" for i in range(n)],
        NASTY: rng.normal(size=n),
        "y": eta + rng.normal(size=n),
        "count": rng.poisson(np.exp(eta)) * rng.binomial(1, 0.8, n),
        "grade": np.digitize(eta + rng.logistic(size=n), [-0.5, 1.0]),
        "positive": np.exp(eta) * rng.gamma(4, 0.25, n) + 0.01,
    }


MODELS: dict[str, Callable[[], Any]] = {
    "lmer": lambda: mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict")),
    "lm": lambda: mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict")),
    "glmer": lambda: mw.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        mw.data.load("cbpp", "dict"),
        family="binomial",
    ),
    "nasty": lambda: quietly(mw.lmer, f"y ~ x * f + `{NASTY.replace('`', '')}` + (1 | g)", _plain(rows())),
    "ordinal": lambda: quietly(mw.glmer, "grade ~ x * f + (1 | h)", rows(), family="cumulative"),
    "zeros": lambda: quietly(
        mw.glmer, "count ~ x + (1 | g)", rows(), family="nbinom2", ziformula="~ x", dispformula="~ f"
    ),
    "quasi": lambda: quietly(mw.glm, "count ~ x", rows(), family="quasipoisson"),
    "gamma": lambda: quietly(mw.glm, "positive ~ x + offset(x)", rows(), family="gamma", link="log"),
    "singular": lambda: quietly(mw.lmer, "Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff2", "dict")),
    "separated": lambda: quietly(
        mw.glm, "y ~ x", {"y": [0, 0, 0, 1, 1, 1], "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}, family="binomial"
    ),
    "nothing fixed": lambda: quietly(mw.lmer, "y ~ 0 + (1 | g)", rows()),
}


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("`", ""): values for name, values in table.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, str]]:
    folder = tmp_path_factory.mktemp("reports")
    out = {}
    for name, fit in MODELS.items():
        m = fit()
        path = m.report(folder / f"{name}.html", plots=False)
        out[name] = (m, path.read_text(encoding="utf-8"))
    return out


# --- the page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_pages_are_well_formed_and_self_contained(written: Any, name: str) -> None:
    _, text = written[name]
    check_page(text)
    assert len(text.encode()) < 100_000  # without plots


def check_page(text: str) -> Page:
    page = Page(text)
    ids = page.ids()
    assert len(ids) == len(set(ids))
    contents = [str(attrs["href"]) for tag, attrs in page.tags if tag == "a"]
    assert len(contents) > 5 and all(href[0] == "#" and href[1:] in ids for href in contents)
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        for key, value in attrs.items():
            assert not key.startswith("on"), key
            if key in ("src", "href", "action", "data", "poster", "srcset"):
                assert str(value).startswith(("#", "data:image/png;base64,"))
        if tag == "img":
            assert len(str(attrs["alt"])) > 20
        if tag == "th":
            assert attrs["scope"] in ("col", "row")
    lower = text.lower()
    assert "url(" not in lower and "@import" not in lower
    assert not re.search(r"https?://", lower)
    assert page.tags[0] == ("html", {"lang": "en"}) and text.startswith("<!DOCTYPE html>\n")
    policy = next(attrs["content"] for _, attrs in page.tags if "http-equiv" in attrs)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    return page


def test_what_comes_from_the_data_is_escaped(written: Any) -> None:
    _, text = written["nasty"]
    assert "<script" not in text and "</script" not in text and "<i>" not in text and "<b>" not in text
    assert "lo &amp; &lt;i&gt;" in text or "hi_%$" in text
    page = Page(text)
    assert any("</script><script>alert(1)</script>" in name for name in page.column("Fixed effects", "term"))


def test_the_title_is_escaped(tmp_path: Path) -> None:
    m = MODELS["lm"]()
    text = m.report(tmp_path / "t.html", title=NASTY, plots=False).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "".join(Page(text).text).count(NASTY) == 2  # title and heading


@pytest.mark.parametrize("name", MODELS)
def test_equations_are_xml_without_rests_of_latex(written: Any, name: str) -> None:
    m, text = written[name]
    formulas = re.findall(r"<math.*?</math>", text, re.DOTALL)
    assert len(formulas) >= 2
    for each in formulas:
        said = "".join(ET.fromstring(each).itertext())
        assert "\\" not in said and "{" not in said and "}" not in said
    assert html.escape(m.equation().latex) in text and html.escape(m.equation(values=True).latex) in text


# --- numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in MODELS if name != "nothing fixed"])
def test_fixed_effects_are_those_of_tidy(written: Any, name: str) -> None:
    m, text = written[name]
    page, tidy = Page(text), m.tidy(level=0.95)
    count = len(m.fixef.names)
    assert page.column("Fixed effects", "term") == list(m.fixef.names)
    ours = {"estimate": "estimate", "se": "std_error", "95% CI lower": "lower", "upper": "upper"}
    for head, key in ours.items():
        shown = page.column("Fixed effects", head)
        assert shown == [number(float(value)) for value in tidy[key][:count]]
    statistic = "z" if "z" in page.tables["Fixed effects"][0] else "t"
    shown = [float(value) for value in page.column("Fixed effects", statistic)]
    np.testing.assert_allclose(shown, tidy["statistic"][:count], atol=0.00501)
    for value, p in zip(page.column("Fixed effects", "p"), tidy["p_value"][:count], strict=True):
        assert (value == "<0.001") == (p < 0.001) and (p < 0.001 or abs(float(value) - p) <= 0.000501)


def test_other_tables(written: Any) -> None:
    m, text = written["lmer"]
    page = Page(text)
    sds = [*m.varcorr()["Subject"].sd.values, m.sigma]
    assert page.column("Random effects", "sd") == [number(float(sd)) for sd in sds]
    fit = dict(row[:2] for row in page.tables["Fit statistics"][1:])
    assert fit["AIC"] == f"{m.aic:.2f}" and fit["restricted log-likelihood"] == f"{m.loglik:.3f}"
    assert fit["ICC (adjusted)"] == f"{m.icc()['adjusted']:.3f}"
    checks = next(rows for caption, rows in page.tables.items() if caption.startswith("Certificate"))
    certificate = m.certificate()
    assert [row[1] for row in checks[1:]] == [check.statement for check in certificate.checks]
    assert {row[4] for row in checks[1:]} == {"pass"}
    f = page.column("Type III tests, Satterthwaite's degrees of freedom", "F")
    assert f == [number(float(m.anova().columns["statistic"][0]))]
    residuals = m.quantile_residuals(seed=1).tests()
    shown = page.tables["Tests of quantile residuals"][1:]
    assert [row[0] for row in shown] == [each.name for each in residuals]
    assert [row[1] for row in shown] == [number(each.statistic, 4) for each in residuals]


def test_ratios(written: Any) -> None:
    m, text = written["glmer"]
    page = Page(text)
    assert page.column("Odds ratios", "term") == list(m.fixef.names[1:])
    assert page.column("Odds ratios", "OR") == [number(float(b)) for b in np.exp(m.fixef.values[1:])]
    assert "Odds ratios" not in Page(written["lmer"][1]).tables


def test_auxiliary_parameters(written: Any) -> None:
    ordinal, text = written["ordinal"]
    assert Page(text).column("Thresholds", "estimate") == [number(v) for v in ordinal.thresholds.values]
    zeros, text = written["zeros"]
    page = Page(text)
    assert page.column("Extra zeros (logit scale)", "estimate") == [number(v) for v in zeros.zi_fixef.values]
    assert len(page.column("Dispersion", "estimate")) == 2
    quasi, text = written["quasi"]
    assert Page(text).column("Dispersion", "estimate") == [number(quasi.pearson_dispersion)]


def test_options(tmp_path: Path) -> None:
    m = MODELS["lmer"]()
    text = m.report(tmp_path / "a.html", ddf="kenward-roger", level=0.9, plots=False).read_text("utf-8")
    assert "Kenward-Roger" in text and "90% CI lower" in text and "Satterthwaite" not in text
    page = Page(text)
    tidy = m.tidy(ddf="kenward-roger", level=0.9)
    assert page.column("Fixed effects", "90% CI lower") == [number(float(v)) for v in tidy["lower"][:2]]


# --- honesty --------------------------------------------------------------------------------------------


def test_verdicts_and_notes(written: Any) -> None:
    assert "<strong>Certified:</strong> all 9 checks passed: a local optimum" in written["lmer"][1]
    _, text = written["singular"]
    assert "a proved optimum on the boundary" in text and "MW-C04" in text
    assert "variance of &#x27;Batch&#x27; is estimated as zero" in text
    _, text = written["separated"]
    assert "<strong>Not certified:</strong>" in text and 'class="fail">FAIL<' in text
    assert "finite estimate" in text and "MW-W13" in text


def test_what_is_not_available_says_so(written: Any) -> None:
    _, text = written["quasi"]
    assert "Not available:" in text and "MW-A91" in text
    assert "The model has no fixed effects." in written["nothing fixed"][1]


def test_where_it_came_from(written: Any) -> None:
    from mixwell.saving import fingerprint

    m, text = written["lmer"]
    assert fingerprint(m) in text and f">{mw.__version__}<" in text
    assert "mixwell.lmer(&#x27;Reaction ~ Days + (Days | Subject)&#x27;, data)" in text
    assert "ziformula=&#x27;~ x&#x27;" in written["zeros"][1]
    assert "<dt>Variables</dt><dd><code>count, x, g, f</code></dd>" in written["zeros"][1]
    assert str(Path.home()) not in text


def test_a_fit_has_one_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    m = MODELS["glmer"]()
    one = m.report(tmp_path / "a.html", plots=False).read_bytes()
    assert MODELS["glmer"]().report(tmp_path / "b.html", plots=False).read_bytes() == one
    assert b"2023-11-14 22:13 UTC" in one


# --- the file -------------------------------------------------------------------------------------------


def test_files_are_replaced_and_their_path_returned(tmp_path: Path) -> None:
    m = MODELS["lm"]()
    path = tmp_path / "fit.HTML"
    path.write_text("old")
    assert m.report(str(path), plots=False) == path and path.read_text("utf-8").startswith("<!DOCTYPE")


@pytest.mark.parametrize(
    ("path", "options", "code"),
    [
        ("none/fit.html", {}, "MW-A151"),
        ("there.html", {}, "MW-A152"),
        ("fit.pdf", {}, "MW-A153"),
        ("fit", {}, "MW-A153"),
        ("fit.html", {"level": 95}, "MW-A49"),
        ("fit.html", {"titel": "x"}, "MW-A01"),
        ("fit.html", {"title": 3}, "MW-A07"),
        ("fit.html", {"ddf": "kr"}, "MW-A02"),
    ],
)
def test_refusals(tmp_path: Path, path: str, options: dict[str, Any], code: str) -> None:
    (tmp_path / "there.html").mkdir()
    with pytest.raises(mw.MixwellError, match=code):
        MODELS["lm"]().report(tmp_path / path, **options)
    assert not (tmp_path / "fit.html").exists()


def test_refusals_of_other_paths(written: Any) -> None:
    with pytest.raises(mw.MixwellError, match="MW-A07"):
        written["lm"][0].report(3)
    with pytest.raises(mw.MixwellError, match="MW-A31"):
        written["glmer"][0].report("fit.html", ddf="kenward-roger")


def test_the_command_line_writes_it(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixwell.reporting.pictures._PLOTS", ())  # they have their own tests
    assert main(["data", "sleepstudy", "--out", str(tmp_path / "sleep.csv")]) == 0
    formula, data, out = "Reaction ~ Days + (1 | Subject)", str(tmp_path / "sleep.csv"), tmp_path / "out.html"
    assert main(["fit", formula, data, "--ddf", "kenward-roger", "--report", str(out)]) == 0
    page = check_page(out.read_text(encoding="utf-8"))
    assert "Kenward-Roger" in "".join(page.text)
    assert main(["fit", formula, data, "--report", str(tmp_path / "no" / "out.html")]) == 1
    assert "MW-A151" in capsys.readouterr().err


# --- plots ----------------------------------------------------------------------------------------------


class Drawn:
    """Plots of a model that is none."""

    nobs, is_mixed, theta = 12, True, np.ones(1)

    def __init__(self, **plots: Any) -> None:
        self.plot = type("Plots", (), {name: staticmethod(draw) for name, draw in plots.items()})()


def test_pictures_are_in_the_page() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    def draw(kind: str) -> Any:
        shown = Figure(figsize=(4, 3))
        axes = shown.subplots(1, 2)
        return {"figure": shown, "axes": axes[0], "array": axes}[kind]

    def refuse(**_: Any) -> Any:
        raise mw.errors.error("MW-A07", option="<x>", expected="more", given=1)

    m = Drawn(
        fitted=lambda: draw("figure"), residuals=lambda: draw("axes"), qq=lambda: draw("array"), forest=refuse
    )
    shown = pictures(m)  # type: ignore[arg-type]
    page = Page(shown)
    sources = [str(attrs["src"]) for tag, attrs in page.tags if tag == "img"]
    assert len(sources) == 3
    assert all(each.startswith("data:image/png;base64,iVBOR") for each in sources)
    assert "Not drawn:" in shown and "&lt;x&gt;" in shown
    m.plot.certificate = lambda: 1 / 0
    assert "a mistake inside mixwell, please report it: ZeroDivisionError" in pictures(m)  # type: ignore[arg-type]
    m.is_mixed = False
    m.plot.caterpillar = lambda **_: draw("figure")
    assert "Random effects" not in pictures(m)  # type: ignore[arg-type]


def test_without_matplotlib_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixwell.reporting.pictures.find_spec", lambda _: None)
    text = MODELS["lm"]().report(tmp_path / "fit.html").read_text(encoding="utf-8")
    assert "pip install mixwell[plots]" in text
    check_page(text)


@pytest.mark.parametrize("name", ["lmer", "glmer", "lm"])
def test_plots_of_models(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    m = MODELS[name]()
    if not hasattr(m, "plot"):
        pytest.skip("models have no plots")
    text = m.report(tmp_path / "fit.html").read_text(encoding="utf-8")
    page = check_page(text)
    sources = [str(attrs["src"]) for tag, attrs in page.tags if tag == "img"]
    assert len(sources) >= (7 if m.is_mixed else 4)
    assert "mistake inside" not in text
    assert len(text.encode()) < 2_000_000
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()


def test_plots_are_the_same_each_time_and_follow_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    m = MODELS["lm"]()
    few = [plot for plot in _PLOTS if plot.name in ("forest", "qq")]
    monkeypatch.setattr("mixwell.reporting.pictures._PLOTS", few)
    assert pictures(m) == pictures(m) != pictures(m, level=0.5)
    monkeypatch.setattr("mixwell.reporting.pictures._ROOM", 10_000)
    assert "too large for this file" in pictures(m)


# --- MathML ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latex", "mathml"),
    [
        ("x", "<mi>x</mi>"),
        (r"\mu_{i}", "<msub><mi>μ</mi><mi>i</mi></msub>"),
        (r"\sigma_{\alpha}^{2}", "<msubsup><mi>σ</mi><mi>α</mi><mn>2</mn></msubsup>"),
        (r"\beta_{1,j}", "<msub><mi>β</mi><mrow><mn>1</mn><mo>,</mo><mi>j</mi></mrow></msub>"),
        (r"= -1.5", '<mo form="infix">=</mo><mo form="prefix">−</mo><mn>1.5</mn>'),
        (r"a - b", "<mi>a</mi><mo>−</mo><mi>b</mi>"),
        (r"\mathrm{x\_y{:}z}", '<mi mathvariant="normal">x_y:z</mi>'),
        (r"\mathrm{a\ \text{-}b}", "<mtext>a\u00a0-b</mtext>"),
        (r"\text{, for }", "<mtext>,\u00a0for\u00a0</mtext>"),
        (r"\frac{x}{2}", "<mfrac><mi>x</mi><mn>2</mn></mfrac>"),
        (r"\sqrt{x_{i}}", "<msqrt><msub><mi>x</mi><mi>i</mi></msub></msqrt>"),
        (
            r"\Phi^{-1}",
            '<msup><mi mathvariant="normal">Φ</mi><mrow><mo form="prefix">−</mo><mn>1</mn></mrow></msup>',
        ),
        (
            r"\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}",
            '<mtable class="matrix"><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr>'
            "<mtr><mtd><mn>0</mn></mtd><mtd><mn>1</mn></mtd></mtr></mtable>",
        ),
        (
            r"\left(a\right)^{2}",
            '<msup><mrow><mo fence="true" stretchy="true">(</mo><mi>a</mi>'
            '<mo fence="true" stretchy="true">)</mo></mrow><mn>2</mn></msup>',
        ),
        (r"\unknown{x}", "<mtext>\\unknown</mtext><mi>x</mi>"),
    ],
)
def test_mathml(latex: str, mathml: str) -> None:
    assert inline(latex) == f"<math>{mathml}</math>"


def test_broken_latex_is_still_xml() -> None:
    for latex in ("}", "{", r"\left(", r"\begin{pmatrix} a &", "_", "^", r"\frac", "a}b", "x^", r"\mathrm"):
        ET.fromstring(inline(latex))


def test_examples_run() -> None:
    from mixwell.reporting import html as report
    from mixwell.reporting import mathml, page

    for module in (report, mathml, page):
        assert doctest.testmod(module).failed == 0


def test_blocks_have_two_columns() -> None:
    m = MODELS["lmer"]()
    tree = ET.fromstring(block(m.equation().lines))
    assert [len(row) for row in tree.find("mtable") or []] == [2, 2, 2]
