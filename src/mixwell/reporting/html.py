"""A fit as one HTML file: model, equation, tables, certificate, diagnostics, pictures, where it came from.

page.py has the page, mathml.py the equations, pictures.py the plots. The file holds everything that it
shows: no address, no font, no script. Its numbers are those of the tables of the fit, rounded as these are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixwell.errors import MixwellError, error
from mixwell.fitted.text import Block, cells, p_value
from mixwell.formula import Formula
from mixwell.generalized.priors import Prior
from mixwell.inference.wald import Ddf
from mixwell.options import checked
from mixwell.reporting.equation import Equation, equation
from mixwell.reporting.mathml import block as math_block
from mixwell.reporting.mathml import inline
from mixwell.reporting.page import Section, definitions, details, page, paragraphs, table
from mixwell.reporting.pictures import pictures
from mixwell.reporting.sentences import report_text
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
    model_name,
    r_squared,
    ratio,
)

if TYPE_CHECKING:
    from mixwell.reporting.view import Model

__all__ = ["report"]

_MOST_ROWS = 100_000  # simulating more rows for the diagnostics would take longer than the fit
_SEED = 1  # of the quantile residuals: the same fit makes the same report
_ENDINGS = (".html", ".htm")
_RATIOS = {
    "OR": "Odds ratios",
    "IRR": "Incidence rate ratios",
    "RR": "Risk ratios",
    "exp(b)": "Exponentiated",
}
_R2 = {
    "marginal": "R² marginal (fixed effects)",
    "conditional": "R² conditional (and random effects)",
    "r2": "R²",
    "adjusted": "R² adjusted",
    "nagelkerke": "R² Nagelkerke",
    "deviance": "R² deviance",
    "mcfadden": "R² McFadden",
}


@checked
def report(
    m: Model,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    level: float = 0.95,
    ddf: Ddf | None = None,
    plots: bool = True,
) -> Path:
    """Write a self-contained HTML file about the fit; a file that is there is replaced.

    Parameters
    ----------
    path
        Where to, ending in .html or .htm. Its directory must exist.
    title
        Heading of the page; the kind of model and its response if None.
    level
        Of the confidence intervals.
    ddf
        Degrees of freedom of a linear model; None is Satterthwaite, residual ones without random effects.
    plots
        Draw the plots. They need matplotlib: without it the report says so and has everything else.

    Returns
    -------
    Path
        The file: below 2 MB, and the same in a browser without a network.

    Raises
    ------
    MixwellError
        MW-A151 when the directory does not exist, MW-A152 when the file cannot be written, MW-A153 for
        another ending, MW-A49 for a level that is not between 0 and 1, MW-A31 for `ddf` of a generalised
        model.

    Notes
    -----
    Quantile residuals are simulated from a fixed seed, so that a fit has one report. Its date is that of
    SOURCE_DATE_EPOCH where this variable of the environment is set.

    Examples
    --------
    >>> import tempfile, mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = m.report(f"{folder}/fit.html", plots=False)
    ...     print(path.name, path.read_text(encoding="utf-8")[:15])
    fit.html <!DOCTYPE html>
    """
    target = _target(path)
    level = checked_level(level)
    if title is not None and not isinstance(title, str):
        raise error("MW-A07", option="title", expected="a text", given=title)
    text = _page(m, title or _title(m), level=level, ddf=ddf, plots=bool(plots))
    try:
        target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as refusal:
        raise error("MW-A152", path=str(target), reason=refusal.strerror or type(refusal).__name__) from None
    return target


def _target(path: Any) -> Path:
    """Return the path to write to, or refuse it before anything is computed."""
    if not isinstance(path, (str, os.PathLike)):
        raise error("MW-A07", option="path", expected="a path", given=path)
    target = Path(path).expanduser()
    if target.suffix.lower() not in _ENDINGS:
        raise error("MW-A153", path=str(target))
    if not target.parent.is_dir():
        raise error("MW-A151", path=str(target), directory=str(target.parent))
    if target.is_dir():
        raise error("MW-A152", path=str(target), reason="it is a directory")
    return target


def _title(m: Model) -> str:
    kind = model_name(m)
    return f"{kind[0].upper()}{kind[1:]} of {m.design.response}"


def _page(m: Model, title: str, *, level: float, ddf: Ddf | None, plots: bool) -> str:
    tests = coefficients(m, level, ddf)
    tables = [
        _fixed(m, tests, level, ddf),
        *_ratios(m, tests, level),
        *_auxiliary(m, level),
        *_random(m),
    ]
    sections = [
        Section("model", "Model", _model(m, ddf)),
        Section("equation", "Equation", _equation(m)),
        Section("estimates", "Estimates", "\n".join(map(table, tables))),
        Section("anova", "Tests of terms", _terms(m, ddf)),
        Section("fit", "Fit", table(_statistics(m))),
        Section("certificate", "Certificate", "\n".join(map(table, m.certificate().blocks()))),
        Section("notes", "Notes", _notes(m)),
        Section("diagnostics", "Diagnostics", _diagnostics(m)),
        Section("plots", "Plots", pictures(m, level=level, ddf=ddf) if plots else ""),
        Section("words", "In words", _words(m, level, ddf)),
        Section("origin", "Data and software", _origin(m)),
    ]
    return page(title, _head(m, title), sections, f"<p>Written by mixwell {_own_version()}, {_date()}.</p>")


# --- the model ------------------------------------------------------------------------------------------


def _head(m: Model, title: str) -> str:
    certificate = m.certificate()
    word = "Certified" if certificate.passed else "Not certified"
    line = certificate.line.removeprefix("NOT certified (MW-C01): ")
    style = "verdict" if certificate.passed else "verdict bad"
    size = [f"{m.nobs} rows", *(f"{count} levels of {group}" for group, count in groups(m).items())]
    return (
        f'<h1>{escape(title)}</h1>\n<p class="formula"><code>{escape(m.formula.text)}</code></p>\n'
        f'<p class="soft">{escape(" · ".join([family_text(m), estimator(m), *size]))}</p>\n'
        f'<p class="{style}"><strong>{word}:</strong> {escape(line)}</p>'
    )


def _model(m: Model, ddf: Ddf | None) -> str:
    design = m.design
    rows = f"{m.nobs}" + (f" of {design.n_rows} in the data" if m.nobs != design.n_rows else "")
    pairs = [("Kind", model_name(m)), ("Response", design.response), ("Family (link)", family_text(m))]
    further = {"zi": "Extra zeros", "disp": "Dispersion"}
    more = [(further[name], formula.text) for name, (formula, _) in design.recipe.further.items()]
    pairs += [("Estimation", estimator(m)), ("Rows", rows)]
    pairs += [(f"Levels of {group}", str(count)) for group, count in groups(m).items()]
    pairs.append(("Degrees of freedom", degrees(m, ddf)))
    if design.weights is not None:
        trials = is_generalized(m) and m.family.kind == "binary"
        pairs.append(("Weights", "numbers of trials" if trials else "prior weights"))
    if design.offset is not None:
        pairs.append(("Offset", "yes"))
    if is_generalized(m) and m.prior is not None:
        pairs.append(("Prior", str(m.prior)))
    code = [("Formula", m.formula.text), *more, ("Call", _call(m))]
    shown = [(name, escape(text)) for name, text in pairs]
    return definitions(shown + [(name, f"<code>{escape(text)}</code>") for name, text in code])


_DEFAULTS = (("na_action", "drop"), ("nagq", 1))


def _call(m: Model) -> str:
    """Write a call that fits the model again; what cannot be written stands as dots."""
    function = ("g" if is_generalized(m) else "") + ("lmer" if m.is_mixed else "lm")
    given = [f"{m.formula.text!r}", "data"]
    for name, value in m.arguments.items():
        shown = _written(value)
        if (
            name not in ("data", "response")
            and value is not None
            and (name, value if shown else "") not in _DEFAULTS
        ):
            given.append(f"{name}={shown or '...'}")
    if not is_generalized(m) and m.is_mixed and m.method != "REML":
        given.append(f"method={m.method!r}")
    return f"mixwell.{function}({', '.join(given)})"


def _written(value: Any) -> str:
    """Write a value as Python does; an empty text for arrays and the like."""
    if isinstance(value, dict):
        parts = [(repr(name), _written(each)) for name, each in value.items()]
        return f"{{{', '.join(f'{name}: {each}' for name, each in parts)}}}" if all(map(any, parts)) else ""
    if isinstance(value, Formula):
        return repr(value.text)
    return repr(value) if isinstance(value, (str, int, float, Prior)) else ""


def _equation(m: Model) -> str:
    symbols, values = equation(m), equation(m, values=True)
    meanings = [(inline(symbol), escape(meaning)) for symbol, meaning in symbols.symbols.items()]
    listed = "".join(f"<dt>{symbol}</dt><dd>{meaning}</dd>" for symbol, meaning in meanings)
    out = [_set(symbols, "Equation of the model")]
    if listed:
        out.append(details("What the letters are", f"<dl>{listed}</dl>"))
    out += [
        "<h3>With estimates</h3>",
        _set(values, "Equation with estimates"),
        details(
            "LaTeX to copy",
            f"<pre>{escape(symbols.latex)}</pre>\n<pre>{escape(values.latex)}</pre>",
        ),
    ]
    return "\n".join(out)


def _set(shown: Equation, label: str) -> str:
    return f'<div class="equation" role="group" aria-label="{label}">{math_block(shown.lines)}</div>'


# --- tables ---------------------------------------------------------------------------------------------


def _percent(level: float) -> str:
    return f"{100 * level:g}% CI"


def _fixed(m: Model, rows: Sequence[Row], level: float, ddf: Ddf | None) -> Block:
    normal = all(math.isinf(row.df) for row in rows)
    columns = [
        [row.term for row in rows],
        cells([row.estimate for row in rows]),
        cells([row.se for row in rows]),
        *([] if normal else [[f"{row.df:.1f}" for row in rows]]),
        [f"{row.statistic:.2f}" for row in rows],
        [p_value(row.p) for row in rows],
        cells([row.lower for row in rows]),
        cells([row.upper for row in rows]),
    ]
    header = ["term", "estimate", "se", *([] if normal else ["df"]), "z" if normal else "t", "p"]
    header += [f"{_percent(level)} lower", "upper"]
    lines = [] if normal else [f"Degrees of freedom: {degrees(m, ddf)}."]
    if not rows:
        lines = ["The model has no fixed effects."]
    return Block("Fixed effects", header, list(zip(*columns, strict=True)), lines=lines)


def _ratios(m: Model, rows: Sequence[Row], level: float) -> list[Block]:
    name = ratio(m)
    shown = [row.exponentiated() for row in rows if row.term != "(Intercept)"]
    if not name or not shown:
        return []
    columns = [
        [row.term for row in shown],
        *(cells([getattr(row, field) for row in shown]) for field in ("estimate", "lower", "upper")),
    ]
    header = ("term", name, f"{_percent(level)} lower", "upper")
    return [Block(_RATIOS[name], header, list(zip(*columns, strict=True)))]


_PARTS = {"zi": "Extra zeros (logit scale)", "dispersion": "Dispersion", "threshold": "Thresholds"}


def _auxiliary(m: Model, level: float) -> list[Block]:
    blocks = []
    found = auxiliary(m, level)
    for part, heading in _PARTS.items():
        rows = [row for row in found if row.part == part]
        if not rows:
            continue
        names = (
            ["estimate"] if all(math.isnan(row.se) for row in rows) else ["estimate", "se", "lower", "upper"]
        )
        columns = [
            [row.term for row in rows],
            *(cells([getattr(row, name) for row in rows]) for name in names),
        ]
        header = ["term", *names]
        if "lower" in names:
            header[3] = f"{_percent(level)} lower"
        blocks.append(Block(heading, header, list(zip(*columns, strict=True))))
    return blocks


def _random(m: Model) -> list[Block]:
    if not m.is_mixed:
        return []
    block = m.varcorr().block()
    rows: list[list[str]] = []
    for row in block.rows:  # every row says whose it is
        rows.append([row[0] or rows[-1][0], *row[1:]])
    return [Block(block.title, block.header, rows, left=block.left, lines=block.lines)]


def _terms(m: Model, ddf: Ddf | None) -> str:
    options: dict[str, Any] = {} if ddf is None or is_generalized(m) else {"ddf": ddf}
    block, refusal = _or_refusal(lambda: m.anova(**options)._block())
    if block is None:
        return paragraphs([refusal])
    return table(block) if block.rows else ""


def _statistics(m: Model) -> Block:
    restricted = "restricted " if not is_generalized(m) and m.is_mixed and m.is_reml else ""
    values: list[tuple[str, float]] = [
        (f"{restricted}log-likelihood", m.loglik),
        ("parameters", m.npar),
        ("AIC", m.aic),
        ("BIC", m.bic),
    ]
    values += [(_R2[name], value) for name, value in r_squared(m).items() if name in _R2]
    icc = r_squared(m, "icc")
    values += [("ICC (adjusted)", icc["adjusted"])] if "adjusted" in icc else []
    rows = [
        (name, str(value) if isinstance(value, int) else _fact(name, float(value))) for name, value in values
    ]
    note = "Restricted likelihoods compare models with the same fixed effects."
    return Block("Fit statistics", ("statistic", "value"), rows, lines=[note] if restricted else [])


def _fact(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if name in ("AIC", "BIC") else f"{value:.3f}"


# --- trust ----------------------------------------------------------------------------------------------


def _notes(m: Model) -> str:
    return definitions([(code, escape(text)) for code, text in m.notes]) if m.notes else ""


def _diagnostics(m: Model) -> str:
    if m.nobs > _MOST_ROWS:
        return paragraphs([f"Not simulated for {m.nobs} rows: see m.quantile_residuals()."])
    found, refusal = _or_refusal(lambda: m.quantile_residuals(seed=_SEED).tests().blocks())
    if found is None:
        return paragraphs([refusal])
    said = f"From 1000 simulated data sets (seed {_SEED}). A small p-value: the model does not fit there."
    return "\n".join([*map(table, found), f'<p class="remark">{said}</p>'])


def _or_refusal(compute: Callable[[], Any]) -> tuple[Any, str]:
    """Return a value, or None and why there is none for this model."""
    try:
        return compute(), ""
    except MixwellError as refusal:
        return None, f"Not available: {refusal.message} ({refusal.code})."


def _words(m: Model, level: float, ddf: Ddf | None) -> str:
    text = report_text(m, level=level, ddf=ddf, anova=_or_refusal(m.anova)[0] is not None)
    return paragraphs(text.split("\n\n"))


# --- where it came from ---------------------------------------------------------------------------------


def _origin(m: Model) -> str:
    import platform  # noqa: PLC0415  (nobody else waits for it)

    from mixwell.saving import fingerprint  # noqa: PLC0415  (it builds on the models)

    formulas = [m.formula, *(formula for formula, _ in m.design.recipe.further.values())]
    names = [name for formula in formulas for name, _ in formula.variables()]
    given = [m.arguments.get(option) for option in ("weights", "offset")]
    used = ", ".join(dict.fromkeys([*names, *(name for name in given if isinstance(name, str))]))
    packages = ["numpy", "scipy", "narwhals", "pandas", "polars", "pyarrow", "matplotlib"]
    known = [(name, found) for name in packages if (found := _version(name))]
    data = [
        ("Rows in the data", str(m.design.n_rows)),
        ("Rows used", str(m.nobs)),
        ("Variables", f"<code>{escape(used)}</code>"),
        ("Fingerprint (SHA-256 of the columns used)", f"<code>{fingerprint(m)}</code>"),
        ("Written", _date()),
    ]
    head = [("mixwell", _own_version()), ("Python", platform.python_version())]
    system = f"{platform.system()} {platform.machine()}".strip()
    rows = [*head, *known, *([("system", system)] if system else [])]
    return definitions(data) + "\n" + table(Block("Versions", ("package", "version"), rows, left=2))


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  (slow to import)

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _own_version() -> str:
    import mixwell  # noqa: PLC0415  (it is still being imported when this module is)

    return str(mixwell.__version__)


def _date() -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(given), UTC) if given.isdigit() else datetime.now(UTC)
    return now.strftime("%Y-%m-%d %H:%M UTC")
