"""Models side by side: one column a model, as text, HTML, LaTeX, great-tables, and as numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from mixwell.errors import error, suggest
from mixwell.fitted.text import number, p_value
from mixwell.inference.wald import Ddf
from mixwell.options import checked, choice
from mixwell.reporting.layout import Cell, Line, great_table, html, latex, text
from mixwell.reporting.view import (
    Row,
    auxiliary,
    checked_level,
    coefficients,
    degrees,
    estimator,
    family_text,
    groups,
    is_generalized,
    link_of,
    r_squared,
    ratio,
    spread,
)

if TYPE_CHECKING:
    from mixwell.reporting.view import Model

__all__ = ["ModelTable", "table"]

Statistic = Literal["se", "ci", "t", "p"]

FIT = ("nobs", "groups", "family", "estimation", "loglik", "aic", "bic", "r2", "icc", "certificate")
"""Rows about the whole fit, by the name with which they are asked for."""
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
_SECTIONS = {
    "fixed": "Fixed effects",
    "zi": "Extra zeros (logit)",
    "dispersion": "Dispersion",
    "threshold": "Thresholds",
    "random": "Random effects",
    "fit": "Fit",
}
_DECIMALS = 8  # more of them become an exponent
_R2 = {
    "marginal": "R2 marginal",
    "conditional": "R2 conditional",
    "r2": "R2",
    "adjusted": "R2 adjusted",
    "nagelkerke": "R2 Nagelkerke",
    "deviance": "R2 deviance",
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ModelTable:
    """Models side by side. It prints as text and shows as HTML in notebooks.

    Attributes
    ----------
    names
        The heads of the columns.
    lines
        The rows as they are shown.
    remarks
        What stands under the table.
    columns
        The numbers, see `table`.
    """

    names: tuple[str, ...]
    lines: tuple[Line, ...]
    remarks: tuple[str, ...]
    columns: Mapping[str, Any]
    to_frame: Callable[[dict[str, Any]], Any] = field(default=dict)

    def table(self) -> Any:
        """Return one row an estimate and model at full precision, in the library of the first model's data.

        Returns
        -------
        table
            Columns model, part ("fixed", "zi", "dispersion", "threshold", "random", "fit"), group, term,
            estimate, std_error, df, statistic, p_value, lower, upper. What a part does not have is NaN.
        """
        return self.to_frame(dict(self.columns))

    def __repr__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self) -> str:
        """Return a self-contained HTML table that keeps its look when pasted into Word."""
        return html(self)

    @checked
    def to_latex(self, *, caption: str | None = None, label: str | None = None) -> str:
        r"""Return a LaTeX table for the booktabs package.

        Parameters
        ----------
        caption, label
            Put the tabular into a table environment with these; the caption is escaped, the label is not.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
        >>> print(mw.table(m).to_latex().splitlines()[1])
        \toprule
        """
        return latex(self, caption, label)

    def to_great_tables(self) -> Any:
        """Return a `great_tables.GT`, to style further, or save as a picture.

        Raises
        ------
        MixwellError
            MW-A131 when great-tables is not installed.
        """
        return great_table(self)


# --- the numbers ----------------------------------------------------------------------------------------


@checked
def table(
    *models: Model,
    names: Sequence[str] | None = None,
    stars: bool = False,
    intervals: bool | float = False,
    statistic: Statistic | Sequence[Statistic] | None = "se",
    digits: int = 3,
    exponentiate: bool | Sequence[bool] = False,
    ddf: Ddf | None = None,
    rename: Mapping[str, str] | None = None,
    fit: Sequence[str] = FIT,
) -> ModelTable:
    """Lay fitted models out side by side: fixed effects, auxiliary parameters, random effects, fit.

    Parameters
    ----------
    models
        Fits of any kind, mixed or not; a row is one coefficient, whatever the models.
    names
        Heads of the columns; "(1)", "(2)", ... if None.
    stars
        Mark p-values below 0.05, 0.01 and 0.001.
    intervals
        Add confidence intervals: of 95 % (True), or of this level.
    statistic
        What stands under an estimate: "se", "ci", "t" (t or z), "p", several of them, or None.
    digits
        Significant digits of the standard errors, which say how many decimals an estimate has.
    exponentiate
        Show coefficients of the models with a link log, logit or cloglog as ratios; or one value a model.
    ddf
        Degrees of freedom of the linear models; None is Satterthwaite, residual ones without random effects.
    rename
        Labels to show, by name of the coefficient.
    fit
        Rows about the whole fit: any of "nobs", "groups", "family", "estimation", "loglik", "aic", "bic",
        "r2", "icc", "certificate".

    Returns
    -------
    ModelTable
        It prints; `.to_html()`, `.to_latex()`, `.to_great_tables()`, and `.table()` with the numbers.

    Raises
    ------
    MixwellError
        MW-A132 for something that is not a fit, MW-A133 when `names` or `exponentiate` do not fit the models,
        MW-A134 when `exponentiate` has nothing to do, MW-A135 for a coefficient to rename that no model has.

    Notes
    -----
    Intervals and p-values come from the same degrees of freedom: those of each model's summary. Standard
    errors of ratios are those of the delta method, their intervals the exponentiated ones.

    Examples
    --------
    >>> import mixwell as mw
    >>> sleep = mw.data.load("sleepstudy", "dict")
    >>> one = mw.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    >>> two = mw.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> mw.table(one, two, fit=("nobs", "aic"))
                                         (1)       (2)
    Fixed effects
      (Intercept)                      251.41     251.41
                                        (9.75)     (6.82)
      Days                              10.467     10.47
                                        (0.804)    (1.55)
    Random effects
      Subject: sd (Intercept)           37.12      24.74
      Subject: sd Days                              5.922
      Subject: cor (Intercept), Days                0.066
      Residual: sd                      30.99      25.59
    Fit
      rows                             180        180
      AIC                             1794.47    1755.63
    Under estimates: standard error. Degrees of freedom: Satterthwaite.
    loglik, AIC and BIC of fits by REML are restricted: they compare models with the same fixed
    effects.
    """
    _check_models(models)
    heads = _heads(names, len(models))
    kinds, level = _statistics(statistic, intervals)
    if isinstance(digits, bool) or not isinstance(digits, int) or not 1 <= digits <= 10:
        raise error("MW-A07", option="digits", expected="a whole number from 1 to 10", given=digits)
    for each in (fit,) if isinstance(fit, str) else fit:
        choice("fit", each, FIT)
    shown_fit = (fit,) if isinstance(fit, str) else tuple(fit)
    asked = _exponentiated(models, exponentiate)
    own = [None if is_generalized(m) else ddf for m in models]

    raw = []
    for m, rule, ratios in zip(models, own, asked, strict=True):
        fixed = coefficients(m, level, rule)
        raw.append(
            ([row.exponentiated() for row in fixed] if ratios else fixed) + auxiliary(m, level) + spread(m)
        )
    labels = _labels(raw, rename)
    lines = _estimate_lines(raw, labels, partial(_cell, kinds=kinds, digits=digits, stars=stars))
    facts = [_facts(m, shown_fit) for m in models]
    lines += _fit_lines(facts)
    remarks = _remarks(models, own, asked, kinds=kinds, level=level, stars=stars, fit=shown_fit)
    return ModelTable(heads, tuple(lines), remarks, _numbers(heads, raw, facts), _native(models[0]))


def _native(m: Model) -> Callable[[dict[str, Any]], Any]:
    return m.design.frame.native_like


def _check_models(models: Sequence[Any]) -> None:
    if not models:
        raise error("MW-A132", given="no model")
    for m in models:
        if not hasattr(m, "fixef") or not hasattr(m, "varcorr"):
            raise error("MW-A132", given=f"{type(m).__name__}")


def _heads(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"({i + 1})" for i in range(count))
    if isinstance(names, str) or not all(isinstance(each, str) for each in names):
        raise error("MW-A07", option="names", expected="a list of texts", given=names)
    if len(names) != count:
        raise error("MW-A133", option="names", given=len(names), count=count)
    return tuple(names)


def _statistics(statistic: Any, intervals: Any) -> tuple[tuple[str, ...], float]:
    kinds = (statistic,) if isinstance(statistic, str) else () if statistic is None else tuple(statistic)
    for each in kinds:
        choice("statistic", each, ("se", "ci", "t", "p"))
    level = 0.95 if isinstance(intervals, bool) else checked_level(intervals)
    if intervals is not False and "ci" not in kinds:
        kinds = (*kinds, "ci")
    return kinds, level


def _exponentiated(models: Sequence[Model], exponentiate: Any) -> list[bool]:
    if isinstance(exponentiate, bool):
        asked = [exponentiate and bool(ratio(m)) for m in models]
        if exponentiate and not any(asked):
            raise error("MW-A134", links=list(dict.fromkeys(link_of(m) for m in models)))
        return asked
    asked = list(exponentiate)
    if len(asked) != len(models):
        raise error("MW-A133", option="exponentiate", given=len(asked), count=len(models))
    return [bool(each) for each in asked]


def _labels(raw: Sequence[Sequence[Row]], rename: Mapping[str, str] | None) -> Mapping[str, str]:
    known = list(dict.fromkeys(row.term for rows in raw for row in rows if row.part != "random"))
    for name in rename or {}:
        if name not in known:
            raise error("MW-A135", name=name, names=known, suggestion=suggest(str(name), known))
    return rename or {}


def _facts(m: Model, shown: Sequence[str]) -> dict[str, float | str]:
    """Collect what is known about a fit, by label of its row; words as text."""
    out: dict[str, float | str] = {}
    for each in shown:
        if each == "nobs":
            out["rows"] = m.nobs
        elif each == "groups":
            out |= {f"levels of {group}": count for group, count in groups(m).items()}
        elif each == "family":
            out["family"] = family_text(m)
        elif each == "estimation":
            out["estimation"] = estimator(m)
        elif each in ("loglik", "aic", "bic"):
            out[each if each == "loglik" else each.upper()] = float(getattr(m, each))
        elif each == "r2":
            found = r_squared(m)
            if "nagelkerke" in found:
                found.pop("deviance", None)
            out |= {_R2[name]: value for name, value in found.items() if name in _R2}
        elif each == "icc":
            shares = r_squared(m, "icc")
            out |= {"ICC": shares["adjusted"]} if shares else {}
        else:
            out["certificate"] = "passed" if m.certificate().passed else "FAILED"
    return out


def _numbers(
    heads: Sequence[str], raw: Sequence[Sequence[Row]], facts: Sequence[Mapping[str, float | str]]
) -> dict[str, Any]:
    rows: list[tuple[Any, ...]] = []
    for head, estimates, known in zip(heads, raw, facts, strict=True):
        rows += [(head, row.part, row.group or None, *row[2:]) for row in estimates]
        numeric = [(name, value) for name, value in known.items() if not isinstance(value, str)]
        rows += [(head, "fit", None, name, float(value), *[math.nan] * 6) for name, value in numeric]
    names = ("model", "part", "group", "term", "estimate", "std_error", "df", "statistic", "p_value")
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(11)]
    return dict(zip((*names, "lower", "upper"), columns, strict=True))


# --- the rows that are shown ----------------------------------------------------------------------------


def _merged(sequences: Sequence[Sequence[Any]]) -> list[Any]:
    """One order for the keys of all models: a new key stands before the next one that is known, or last."""
    out: list[Any] = []
    for keys in sequences:
        for at, key in enumerate(keys):
            if key not in out:
                following = next((later for later in keys[at + 1 :] if later in out), None)
                out.insert(len(out) if following is None else out.index(following), key)
    return out


def _estimate_lines(
    raw: Sequence[Sequence[Row]], labels: Mapping[str, str], cell: Callable[[Row | None], Cell]
) -> list[Line]:
    lines = []
    for part in ("fixed", "zi", "dispersion", "threshold", "random"):
        found = [{(row.group, row.term): row for row in rows if row.part == part} for rows in raw]
        keys = _merged([list(each) for each in found])
        keys.sort(key=lambda key: key[0] == "Residual")
        if keys:
            only = part == "random" and all(group == "Residual" for group, _ in keys)
            lines.append(Line("Residuals" if only else _SECTIONS[part], part=part))
        for group, term in keys:
            shown = term if part == "random" else labels.get(term, term)
            label = f"{group}: {shown}" if group else shown
            lines.append(Line(label, tuple(cell(each.get((group, term))) for each in found), part))
    return lines


def _cell(row: Row | None, *, kinds: Sequence[str], digits: int, stars: bool) -> Cell:
    if row is None:
        return Cell(())
    if math.isnan(row.se):  # no standard error: a variance, a correlation, a dispersion
        correlation = row.part == "random" and row.term.startswith("cor ")
        if correlation:
            return Cell(("-" if math.isnan(row.estimate) else f"{row.estimate:.{digits}f}",))
        return Cell((number(row.estimate, digits + 1),))
    show = partial(_fixed_point, places=_places(row, digits), digits=digits)
    lines = [show(row.estimate)]
    for kind in kinds:
        if kind == "se":
            lines.append(f"({show(row.se)})")
        elif kind == "ci":
            lines.append(f"[{show(row.lower)}, {show(row.upper)}]")
        elif math.isnan(row.statistic):
            continue
        elif kind == "t":
            lines.append(
                f"{'z' if math.isinf(row.df) else 't'} = {_fixed_point(row.statistic, places=2, digits=3)}"
            )
        else:
            p = p_value(row.p)
            lines.append(f"p {p[0]} {p[1:]}" if p.startswith("<") else f"p = {p}")
    mark = next((mark for bound, mark in STARS if row.p < bound), "") if stars else ""
    return Cell(tuple(lines), mark)


def _places(row: Row, digits: int) -> int | None:
    """Decimals that leave the standard error its digits; None where an exponent reads better."""
    if not (math.isfinite(row.se) and row.se > 0):
        return None
    places = digits - 1 - int(f"{row.se:.{digits - 1}e}".partition("e")[2])
    tall = max(abs(row.estimate), row.se) >= 10.0**_DECIMALS
    return None if places > _DECIMALS or tall else max(places, 0)


def _fixed_point(value: float, *, places: int | None, digits: int) -> str:
    if places is None or not math.isfinite(value) or abs(value) >= 10.0**_DECIMALS:
        return number(value, digits + 1)
    shown = f"{value:.{places}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def _fit_lines(facts: Sequence[Mapping[str, float | str]]) -> list[Line]:
    names = _merged([list(each) for each in facts])
    lines = [Line(_SECTIONS["fit"], part="fit")] if names else []
    for name in names:
        shown = [_fact(name, each[name]) if name in each else Cell(()) for each in facts]
        lines.append(Line(name, tuple(shown), "fit"))
    return lines


def _fact(name: str, value: float | str) -> Cell:
    if isinstance(value, str):
        return Cell((value,))
    if math.isnan(value):
        return Cell(("-",))
    if name in ("loglik", "AIC", "BIC"):
        return Cell((_fixed_point(value, places=2, digits=6),))
    return Cell((str(value) if isinstance(value, int) else f"{value:.3f}",))


_WORDS = {"se": "standard error", "ci": "{level:g} % interval", "t": "t or z", "p": "p-value"}


def _remarks(
    models: Sequence[Model],
    ddf: Sequence[Ddf | None],
    asked: Sequence[bool],
    *,
    kinds: Sequence[str],
    level: float,
    stars: bool,
    fit: Sequence[str],
) -> tuple[str, ...]:
    out = []
    tested = any(m.fixef.names for m in models)
    said = [_WORDS[kind].format(level=100 * level) for kind in kinds if tested]
    first = [f"Under estimates: {', '.join(said)}."] if said else []
    if stars and tested:
        first.append("* p < 0.05, ** p < 0.01, *** p < 0.001.")
    rules = [degrees(m, each) for m, each in zip(models, ddf, strict=True)]
    if tested and (said or stars):
        first.append(f"Degrees of freedom: {_by_model(rules)}.")
    out.append(" ".join(first))
    if any(asked):
        pairs = zip(models, asked, strict=True)
        of = [ratio(m) or "exp(b)" if each else "as estimated" for m, each in pairs]
        out.append(f"Coefficients: {_by_model(of)}.")
    responses = [m.design.response for m in models]
    if len(set(responses)) > 1:
        out.append(f"Responses: {_by_model(responses)}.")
    likelihoods = [m for m in models if {"loglik", "aic", "bic"} & set(fit)]
    if any(m.is_mixed and m.is_reml for m in likelihoods):
        out.append(
            "loglik, AIC and BIC of fits by REML are restricted: they compare models with the same fixed "
            "effects."
        )
    if likelihoods and len({m.nobs for m in models}) > 1 and len(set(responses)) == 1:
        out.append("The models were fitted to different numbers of rows: their AIC and BIC do not compare.")
    return tuple(each for each in out if each)


def _by_model(values: Sequence[str]) -> str:
    """Say a value once when all models share it, otherwise with the numbers of the models."""
    if len(set(values)) == 1:
        return values[0]
    where: dict[str, list[str]] = {}
    for at, value in enumerate(values, start=1):
        where.setdefault(value, []).append(str(at))
    return "; ".join(f"{value} ({', '.join(at)})" for value, at in where.items())
