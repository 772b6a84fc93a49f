"""A fit in sentences, numbers in the style of the American Psychological Association (7th edition).

No zero before the point of a number that cannot exceed one (p, r, R2); statistics in italics where the style
has them. The text says what was fitted and found, and leaves what it means to its author.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mixwell.errors import error
from mixwell.fitted.text import number
from mixwell.inference.wald import Ddf
from mixwell.options import checked, choice
from mixwell.reporting.latex import text_name
from mixwell.reporting.view import (
    Row,
    auxiliary,
    checked_level,
    coefficients,
    degrees,
    is_generalized,
    link_of,
    model_name,
    r_squared,
    ratio,
    residual_sd,
)

if TYPE_CHECKING:
    from mixwell.reporting.view import Model

__all__ = ["report_text"]

Style = Literal["plain", "markdown", "latex"]

_MOST = 7  # decimals; smaller numbers have an exponent
_MARKDOWN = frozenset("\\`*_{}[]<>#|~$")
_R2 = {
    "marginal": "marginal",
    "conditional": "conditional",
    "r2": "",
    "adjusted": "adjusted",
    "nagelkerke": "Nagelkerke's",
    "deviance": "deviance",
    "mcfadden": "McFadden's",
}


@checked
def report_text(
    m: Model,
    *,
    style: Style = "plain",
    level: float = 0.95,
    ddf: Ddf | None = None,
    anova: bool = False,
    exponentiate: bool = True,
    digits: int = 2,
) -> str:
    r"""Describe the fit in sentences, in APA style.

    Parameters
    ----------
    style
        "plain", "markdown" (statistics in italics, names escaped) or "latex".
    level
        Of the confidence intervals.
    ddf
        Degrees of freedom of a linear model; None is Satterthwaite, residual ones without random effects.
    anova
        Add the tests of whole terms, as `anova()` gives them.
    exponentiate
        Give odds ratios (OR), incidence rate ratios (IRR), risk ratios (RR) and other ratios (exp(b)) of
        models with such a link, with intervals on that scale.
    digits
        Decimals at least; small estimates have more, so that their standard error has a digit.

    Returns
    -------
    str
        Paragraphs with a blank line between them: the model, the fixed effects, the tests of terms, the
        random effects, R2, the certificate, and the notes of the fit.

    Raises
    ------
    MixwellError
        MW-A02 for another style, MW-A49 for a level that is not between 0 and 1, MW-A31 for `ddf` of a
        generalised model.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> print(m.report_text().split("; ")[1])
    Days, b = 10.47, 95% CI [7.21, 13.73], t(17.0) = 6.77, p < .001. Degrees of freedom: Satterthwaite.
    <BLANKLINE>
    Random effects: Subject, SD = 24.74 of (Intercept), SD = 5.92 of Days, r = .07
    """
    choice("style", style, ("plain", "markdown", "latex"))
    level = checked_level(level)
    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits <= _MOST:
        raise error("MW-A07", option="digits", expected=f"a whole number from 0 to {_MOST}", given=digits)
    write = _Style(style, digits)
    paragraphs = [
        _model(m, write),
        _fixed(m, write, level=level, ddf=ddf, ratios=exponentiate and bool(ratio(m))),
        _terms(m, write, ddf) if anova else "",
        _auxiliary(m, write, level=level),
        _random(m, write),
        _explained(m, write),
        f"Certificate of the fit: {write.name(m.certificate().line)}",
        _notes(m, write),
    ]
    return "\n\n".join(each for each in paragraphs if each)


# --- numbers and names in a style -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Style:
    """How numbers, statistics and names are written."""

    kind: str
    digits: int

    def name(self, text: str) -> str:
        """Escape a name, or a sentence that is not ours."""
        if self.kind == "latex":
            return text_name(text)
        if self.kind == "markdown":
            return "".join(f"\\{c}" if c in _MARKDOWN else c for c in text)
        return text

    def code(self, text: str) -> str:
        """Set a formula."""
        if self.kind == "latex":
            return rf"\texttt{{{text_name(text)}}}"
        if self.kind == "markdown":
            fence = "``" if "`" in text else "`"
            pad = " " if fence == "``" else ""
            return f"{fence}{pad}{text}{pad}{fence}"
        return text

    def symbol(self, name: str) -> str:
        """Set the letter of a statistic, in italics."""
        if self.kind == "latex":
            return {"R2": "$R^2$", "chi2": r"$\chi^2$"}.get(name, rf"\textit{{{name}}}")
        if self.kind == "markdown":
            return {"R2": "*R*²", "chi2": "χ²"}.get(name, f"*{name}*")
        return name

    def minus(self, shown: str) -> str:
        if not shown.startswith("-"):
            return shown
        return {"plain": "-", "markdown": "−", "latex": "$-$"}[self.kind] + shown[1:]

    def less(self, sign: str) -> str:
        return f"${sign}$" if self.kind == "latex" else rf"\{sign}" if self.kind == "markdown" else sign

    @property
    def percent(self) -> str:
        return r"\%" if self.kind == "latex" else "%"

    def value(self, value: float, se: float = math.nan) -> str:
        """Show a number with so many decimals that `se` has a digit, or two without a standard error."""
        if not math.isfinite(value):
            if math.isnan(value):
                return "NA"
            return self.minus(("-" if value < 0 else "") + ("∞" if self.kind != "latex" else r"$\infty$"))
        places = self.digits
        known = math.isfinite(se) and se > 0
        scale, least = (se, 1) if known else (abs(value), 2)
        if scale > 0:
            places = max(places, least - 1 - int(f"{scale:.{least - 1}e}".partition("e")[2]))
        if places > _MOST or abs(value) >= 1e9:
            return self.minus(number(value, 3))
        shown = f"{value:.{places}f}"
        return self.minus(shown.removeprefix("-") if float(shown) == 0 else shown)

    def share(self, value: float) -> str:
        """Show a number between -1 and 1, without the zero before its point."""
        if math.isnan(value):
            return "NA"
        shown = f"{value:.{max(self.digits, 2)}f}"
        return self.minus(shown.replace("0.", ".", 1) if abs(float(shown)) < 1 else shown)

    def p(self, p: float) -> str:
        """Write "p = .042"."""
        symbol = self.symbol("p")
        if math.isnan(p):
            return f"{symbol} = NA"
        if p < 0.001:
            return f"{symbol} {self.less('<')} .001"
        if p > 0.999:
            return f"{symbol} {self.less('>')} .999"
        return f"{symbol} = {f'{p:.3f}'.removeprefix('0')}"

    def test(self, statistic: float, df: float, p: float) -> str:
        """Write "t(17.0) = 6.77, p < .001", or z."""
        shown = self.minus(_two(statistic))
        if math.isinf(df):
            return f"{self.symbol('z')} = {shown}, {self.p(p)}"
        return f"{self.symbol('t')}({self.df(df)}) = {shown}, {self.p(p)}"

    def df(self, df: float) -> str:
        """Show degrees of freedom."""
        return r"$\infty$" if self.kind == "latex" and df == math.inf else _df(df)

    def interval(self, row: Row, level: float, se: float) -> str:
        low, high = self.value(row.lower, se), self.value(row.upper, se)
        return f"{100 * level:g}{self.percent} CI [{low}, {high}]"


def _two(value: float) -> str:
    """Two decimals; no minus sign before zero."""
    if not math.isfinite(value):
        return "NA"
    shown = f"{value:.2f}" if abs(value) < 1e6 else number(value, 3)
    return shown.removeprefix("-") if shown == "-0.00" else shown


def _df(df: float) -> str:
    """Degrees of freedom: whole ones without decimals, approximate ones with one."""
    if not math.isfinite(df):
        return "NA" if math.isnan(df) else "∞"
    return str(int(df)) if df == int(df) else f"{df:.1f}"


# --- paragraphs -----------------------------------------------------------------------------------------


def _model(m: Model, write: _Style) -> str:
    from mixwell import __version__  # noqa: PLC0415

    design = m.design
    rows = f"{m.nobs} {'row' if m.nobs == 1 else 'rows'}"
    rows += f" (of {design.n_rows} in the data)" if design.n_rows != m.nobs else ""
    levels = {term.group: f"{len(term.levels)} levels of {write.name(term.group)}" for term in design.random}
    within = f" with {_and(list(levels.values()))}" if levels else ""
    extras = [] if design.weights is None or _has_trials(m) else ["prior weights"]
    extras += ["an offset"] if design.offset is not None else []
    more = f"; with {_and(extras)}" if extras else ""
    more += f"; prior: {write.name(str(m.prior))}" if is_generalized(m) and m.prior is not None else ""
    how = "mixed model" if m.is_mixed else "regression model"
    name = f"An ordinal {how}" if _is_ordinal(m) else f"A {model_name(m)}"
    return (
        f"{name}{_family(m, write)} was fitted to {rows}{within} by {_estimator(m)} "
        f"with mixwell {__version__}. Formula: {write.code(m.formula.text)}{_further(m, write)}{more}."
    )


def _is_ordinal(m: Model) -> bool:
    return is_generalized(m) and m.family.kind == "ordered"


def _has_trials(m: Model) -> bool:
    return is_generalized(m) and m.family.kind == "binary"


def _family(m: Model, write: _Style) -> str:
    if not is_generalized(m):
        return ""
    zeros = {"inflated": ", zero-inflated", "hurdle": ", hurdle"}.get(m.family.zero, "")
    return f" ({write.name(m.family.name)} family, {write.name(m.family.link)} link{zeros})"


def _further(m: Model, write: _Style) -> str:
    """Formulas of zero inflation and dispersion."""
    return "".join(
        f"; {'extra zeros' if name == 'zi' else 'dispersion'}: {write.code(formula.text)}"
        for name, (formula, _) in m.design.recipe.further.items()
    )


def _estimator(m: Model) -> str:
    if not is_generalized(m):
        if m.is_mixed:
            return "restricted maximum likelihood (REML)" if m.is_reml else "maximum likelihood (ML)"
        return "least squares"
    if m.family.is_quasi:
        return "quasi-likelihood"
    penalised = "penalised " if m.prior is not None else ""
    if not m.is_mixed:
        return f"{penalised}maximum likelihood"
    how = "Laplace approximation"
    if m.nagq == 0:
        how = "fast stage: penalised least squares for the coefficients"
    elif m.nagq > 1:
        how = f"adaptive Gauss-Hermite quadrature with {m.nagq} nodes"
    return f"{penalised}maximum likelihood ({how})"


def _fixed(m: Model, write: _Style, *, level: float, ddf: Ddf | None, ratios: bool) -> str:
    rows = coefficients(m, level, ddf)
    if not rows:
        return "The model has no fixed effects."
    said = [_coefficient(m, row, write, level=level, ratios=ratios) for row in rows]
    rule = degrees(m, ddf)
    after = "" if rule in ("residual", "normal") else f" Degrees of freedom: {write.name(rule)}."
    link = write.name(link_of(m))
    scale = f" Coefficients {write.symbol('b')} are on the scale of the {link} link."
    scale = "" if link == "identity" else scale
    return f"Fixed effects: {'; '.join(said)}.{after}{scale}"


def _coefficient(m: Model, row: Row, write: _Style, *, level: float, ratios: bool) -> str:
    plain = f"{write.symbol('b')} = {write.value(row.estimate, row.se)}"
    test = write.test(row.statistic, row.df, row.p)
    if not ratios or row.term == "(Intercept)":
        return f"{write.name(row.term)}, {plain}, {write.interval(row, level, row.se)}, {test}"
    shown = row.exponentiated()
    name = ratio(m)
    symbol = name if name != "exp(b)" else f"exp({write.symbol('b')})"
    # Decimals of a ratio follow the ratio itself: its standard error may be many times as large.
    scale = 0.1 * shown.estimate
    interval = write.interval(shown, level, scale)
    value = write.value(shown.estimate, scale)
    return f"{write.name(row.term)}, {symbol} = {value}, {interval}, {plain}, {test}"


def _terms(m: Model, write: _Style, ddf: Ddf | None) -> str:
    """Write tests of whole terms."""
    options: dict[str, Any] = {} if ddf is None else {"ddf": ddf}
    table = m.anova(**options)
    columns = table.columns
    said = []
    for at, term in enumerate(columns["term"]):
        statistic, p = float(columns["statistic"][at]), float(columns["p_value"][at])
        if math.isnan(statistic):  # the row of the residuals
            continue
        if "den_df" in columns:
            df = f"{int(columns['num_df'][at])}, {write.df(float(columns['den_df'][at]))}"
            symbol = write.symbol("F")
        else:
            df, symbol = str(int(columns["df"][at])), write.symbol("chi2")
        said.append(f"{write.name(term)}, {symbol}({df}) = {_two(statistic)}, {write.p(p)}")
    if not said:
        return ""
    return f"Type {table.type} tests of terms ({write.name(table.method)}): {'; '.join(said)}."


def _auxiliary(m: Model, write: _Style, *, level: float) -> str:
    """Zero inflation, dispersion and thresholds."""
    rows = auxiliary(m, level)
    parts = {
        "zi": "Extra zeros (logit scale)",
        "dispersion": "Dispersion",
        "threshold": "Thresholds",
    }
    said = []
    for part, title in parts.items():
        mine = [row for row in rows if row.part == part]
        if not mine:
            continue
        texts = []
        for row in mine:
            if math.isnan(row.se):
                texts.append(f"{write.name(row.term)} = {write.value(row.estimate)}")
            elif math.isnan(row.statistic):
                interval = write.interval(row, level, row.se)
                texts.append(f"{write.name(row.term)}, {write.value(row.estimate, row.se)}, {interval}")
            else:
                texts.append(_coefficient(m, row, write, level=level, ratios=False))
        said.append(f"{title}: {'; '.join(texts)}.")
    return " ".join(said)


def _random(m: Model, write: _Style) -> str:
    said = []
    sd, r = write.symbol("SD"), write.symbol("r")
    for term in m.varcorr():
        alone = term.names == ("(Intercept)",)
        shown = [
            f"{sd} = {write.value(value)}" + ("" if alone else f" of {write.name(name)}")
            for name, value in term.sd.items()
        ]
        if term.structure != "diag":
            correlation, k = term.correlation, len(term.names)
            shown += [
                f"{r} = {write.share(float(correlation[i, j]))}"
                + ("" if k == 2 else f" of {write.name(term.names[j])} and {write.name(term.names[i])}")
                for j in range(k)
                for i in range(j + 1, k)
            ]
        said.append(f"{write.name(term.group)}, {', '.join(shown)}")
    sigma = residual_sd(m)
    residual = "" if sigma is None else f"residual {sd} = {write.value(sigma)}"
    if not said:
        return residual[:1].upper() + residual[1:] + "." if residual else ""
    return f"Random effects: {'; '.join([*said, *([residual] if residual else [])])}."


def _explained(m: Model, write: _Style) -> str:
    found = r_squared(m)
    if "nagelkerke" in found:
        found = {"nagelkerke": found["nagelkerke"]}
    elif "deviance" in found:
        found = {"deviance": found["deviance"]}
    symbol = write.symbol("R2")
    named = [(_R2[name], value) for name, value in found.items() if name in _R2]
    said = [f"{name} {symbol} = {write.share(value)}".strip() for name, value in named]
    if not said:
        return ""
    text = ", ".join(said)
    return text[:1].upper() + text[1:] + "."


def _notes(m: Model, write: _Style) -> str:
    """Repeat what the fit says about itself: boundaries, separation, dropped rows and columns."""
    said = []
    for note in m.notes:
        text = note.text.strip()
        text = text[:1].upper() + text[1:]
        said.append(write.name(text if text.endswith((".", "!", "?")) else f"{text}."))
    return f"Notes: {' '.join(said)}" if said else ""


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
