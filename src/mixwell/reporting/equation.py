"""The equation of a fitted model: distribution, link, linear predictor, random effects, as LaTeX.

A random effect of a column that also has a fixed effect is written as a coefficient with an index, whose mean
is the fixed effect (Gelman & Hill 2007), as long as the column varies over one grouping factor only. With
several, nothing says whose mean the fixed effect would be: it stays, and the effects have mean zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error
from mixwell.fitted.text import number
from mixwell.formula.expression import Call, Expr
from mixwell.options import checked, choice
from mixwell.reporting.expressions import columns_latex, read_factors, row_latex
from mixwell.reporting.latex import math_name, math_number
from mixwell.reporting.view import is_generalized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mixwell.design.columns import Plan
    from mixwell.generalized.model import GeneralizedModel
    from mixwell.reporting.view import Model

__all__ = ["Equation", "equation"]

Array = NDArray[np.float64]

_LARGEST = 6  # effects of a level whose covariance matrix is written out
_LETTERS = "jklmpqrs"  # of levels, by grouping factor; i counts rows, n trials
_EFFECTS = "uvwabcdefgh"  # of effects with mean zero, by term


class Line(NamedTuple):
    """One line of an equation: what stands to the left and to the right of the alignment, as LaTeX."""

    left: str
    right: str


@dataclass(frozen=True, slots=True, repr=False)
class Equation:
    """The equation of a model; `str()` and `.latex` are LaTeX, and notebooks render it.

    Attributes
    ----------
    lines
        Its lines, in parts that stand left and right of the alignment.
    symbols
        What each Greek letter is, by its LaTeX: the name of a coefficient, "sd of Days over Subject".
    """

    lines: tuple[Line, ...]
    symbols: Mapping[str, str]

    @property
    def latex(self) -> str:
        """LaTeX for math mode: an aligned environment of amsmath."""
        # After \\begin{aligned} and after a line break a bracket would begin an option.
        left = ["{}" + line.left if line.left.startswith("[") else line.left for line in self.lines]
        body = " \\\\\n".join(f"  {each} &{line.right}" for each, line in zip(left, self.lines, strict=True))
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def __str__(self) -> str:
        return self.latex

    def __repr__(self) -> str:
        return self.latex

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex}\n$$"

    def _repr_markdown_(self) -> str:
        return self._repr_latex_()


@checked
def equation(
    m: Model,
    *,
    values: bool = False,
    notation: Literal["levels", "deviations"] = "levels",
    digits: int = 4,
    terms_per_line: int = 4,
) -> Equation:
    r"""Return the equation of the model as LaTeX.

    Parameters
    ----------
    values
        Write the estimates in place of Greek letters.
    notation
        "levels": coefficients that vary have an index and a distribution around their mean. "deviations":
        fixed effects plus random effects with mean zero.
    digits
        Significant digits of estimates.
    terms_per_line
        Terms of a linear predictor after which a new line begins.

    Returns
    -------
    Equation
        `.latex` (it needs amsmath), `.lines`, `.symbols`.

    Raises
    ------
    MixwellError
        MW-A02 for another notation, MW-A07 for digits or terms that are not positive whole numbers.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (1 | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> for line in m.equation(values=True).lines:
    ...     print(line.left, line.right)
    \mathrm{Reaction}_{i} \sim \mathrm{N}(\mu_{i},\, 30.99^{2})
    \mu_{i} = \alpha_{j[i]} + 10.47\, \mathrm{Days}_{i}
    \alpha_{j} \sim \mathrm{N}(251.4,\, 37.12^{2}) \text{, for }\mathrm{Subject}\ j = 1, \dots, 18
    """
    choice("notation", notation, ("levels", "deviations"))
    for option, given in (("digits", digits), ("terms_per_line", terms_per_line)):
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise error("MW-A07", option=option, expected="a positive whole number", given=given)
    return _Writer(m, bool(values), notation == "levels", digits, terms_per_line).equation()


# --- the equation ---------------------------------------------------------------------------------------

_LINKS = {
    "identity": "{}",
    "log": r"\log({})",
    "logit": r"\mathrm{{logit}}({})",
    "probit": r"\Phi^{{-1}}({})",
    "cloglog": r"\log(-\log(1 - {}))",
    "loglog": r"-\log(-\log({}))",
    "cauchit": r"\tan(\pi ({} - 1/2))",
    "inverse": "1 / {}",
    "inverse_squared": "1 / {}^{{2}}",
    "sqrt": r"\sqrt{{{}}}",
}
_VARIANCE = {
    "nbinom1": r"{mu}\, (1 + {0})",
    "nbinom2": r"{mu} + {mu}^{{2}} / {0}",
    "gamma": r"{0}\, {mu}^{{2}}",
    "inverse_gaussian": r"{0}\, {mu}^{{3}}",
    "beta": r"{mu}\, (1 - {mu}) / (1 + {0})",
    "betabinomial": None,
    "tweedie": r"{0}\, {mu}^{{{1}}}",
    "gaussian": "{0}",
    "poisson": r"{0}\, {mu}",
    "binomial": r"{0}\, {mu}\, (1 - {mu})",
}
_DISTRIBUTIONS = {
    "poisson": "Poisson",
    "nbinom1": "NegBinomial",
    "nbinom2": "NegBinomial",
    "gamma": "Gamma",
    "inverse_gaussian": "InverseGaussian",
    "beta": "Beta",
    "betabinomial": "BetaBinomial",
    "tweedie": "Tweedie",
}
_GREEK = {
    "sigma": r"\sigma",
    "phi": r"\phi",
    "size": r"\theta",
    "precision": r"\phi",
    "power": "p",
    "scale": r"\sigma",
    "df": r"\nu",
    "zi": r"\pi",
}


class _Effects(NamedTuple):
    """One random-effects term: its symbols, whose index is a level, and their means; None is zero."""

    symbols: list[str]
    means: list[str | None]
    letter: str
    at: int


class _Writer:
    """Writes the lines of one model, and remembers what its symbols are."""

    def __init__(self, m: Model, values: bool, levels: bool, digits: int, wide: int) -> None:
        self.m, self.values, self.levels, self.digits, self.wide = m, values, levels, digits, wide
        self.symbols: dict[str, str] = {}

    def equation(self) -> Equation:
        effects = self._effects()
        lines = [*self._response(), *self._predictor(effects), *self._further()]
        lines += [self._distribution(each) for each in effects]
        return Equation(tuple(lines), self.symbols)

    # --- symbols and numbers

    def _number(self, value: float) -> str:
        return math_number(number(value, self.digits))

    def _named(self, symbol: str, meaning: str, value: float) -> str:
        """Return the symbol of a parameter, or its estimate."""
        if self.values:
            return self._number(value)
        self.symbols[symbol] = meaning
        return symbol

    # --- random effects

    def _effects(self) -> list[_Effects]:
        """Symbols of all random effects: coefficients with an index, or effects with mean zero."""
        fixed = self._fixed_symbols()
        count: dict[str, int] = {}
        for term in self.m.design.random:
            for name in term.names:
                count[name] = count.get(name, 0) + 1
        letters: dict[str, str] = {}
        out, plain = [], 0
        for at, term in enumerate(self.m.design.random):
            letter = letters.setdefault(term.group, _letter(len(letters)))
            own = _EFFECTS[plain] if plain < len(_EFFECTS) else f"u^{{({plain + 1})}}"
            symbols: list[str] = []
            means: list[str | None] = []
            for j, (name, column) in enumerate(zip(term.names, term.columns, strict=True)):
                if self.levels and name in fixed and count[name] == 1 and self._is_fixed(name, column):
                    symbol, value = fixed[name]
                    symbols.append(symbol)
                    means.append(self._named(rf"\mu_{{{symbol}}}", f"mean of {name}", value))
                else:
                    symbols.append(own if term.names == ("(Intercept)",) else f"{own}_{{{j}}}")
                    means.append(None)
            plain += None in means
            out.append(_Effects(symbols, means, letter, at))
        return out

    def _is_fixed(self, name: str, column: Array | None) -> bool:
        """Whether a column is that of the fixed effect with its name, which may be coded otherwise."""
        own = self.m.design.columns[self.m.design.names.index(name)]
        if own is None or column is None:
            return own is column
        return bool(np.array_equal(own, column))

    def _fixed_symbols(self) -> dict[str, tuple[str, float]]:
        """Greek letters of the fixed effects, with their estimates."""
        out, at = {}, 0
        for name, value in self.m.fixef.items():
            at += name != "(Intercept)"
            out[name] = (r"\alpha" if name == "(Intercept)" else rf"\beta_{{{at}}}", value)
        return out

    def _distribution(self, each: _Effects) -> Line:
        term = self.m.design.random[each.at]
        covariance = self.m.varcorr().terms[each.at]
        letter, k = each.letter, len(each.symbols)
        where = rf" \text{{, for }}{math_name(term.group)}\ {letter} = 1, \dots, {len(term.levels)}"
        indexed = [_indexed(symbol, letter) for symbol in each.symbols]
        sd = covariance.sd.values
        if k == 1:
            name = f"sd of {term.names[0]} over {term.group}"
            variance = _squared(self._named(rf"\sigma_{{{each.symbols[0]}}}", name, float(sd[0])))
            return Line(indexed[0], rf"\sim \mathrm{{N}}({each.means[0] or 0},\, {variance}){where}")
        known = any(mean is not None for mean in each.means)
        mean = _stacked([mean or "0" for mean in each.means]) if known else r"\mathbf{0}"
        if k > _LARGEST:
            symbol = rf"\Sigma_{{{each.symbols[0]}}}"
            self.symbols[symbol] = f"covariance ({term.structure}) of the {k} effects of {term.group}"
            matrix = symbol
        else:
            matrix = _matrix(self._covariance(each))
        return Line(_stacked(indexed), rf"\sim \mathrm{{N}}\left({mean},\, {matrix}\right){where}")

    def _covariance(self, each: _Effects) -> list[list[str]]:
        """Entries of the covariance matrix of a term."""
        term, covariance = self.m.design.random[each.at], self.m.varcorr().terms[each.at]
        k, flat = len(each.symbols), each.symbols
        if self.values:
            matrix = covariance.matrix
            return [
                [
                    "0" if i != j and term.structure == "diag" else self._number(float(matrix[i, j]))
                    for j in range(k)
                ]
                for i in range(k)
            ]
        sd, r = covariance.sd.values, covariance.correlation
        shared = flat[0]
        sigmas = [
            self._named(
                rf"\sigma_{{{shared if term.homogeneous else flat[i]}}}",
                f"sd of {'each effect' if term.homogeneous else term.names[i]} over {term.group}",
                float(sd[i]),
            )
            for i in range(k)
        ]

        def entry(i: int, j: int) -> str:
            if i == j:
                return f"{sigmas[i]}^{{2}}"
            i, j = min(i, j), max(i, j)
            if term.structure == "diag":
                return "0"
            if term.structure == "us":
                rho = rf"\rho_{{{_joined(flat[i], flat[j])}}}"
                meaning = f"correlation of {term.names[i]} and {term.names[j]} over {term.group}"
            else:
                rho, meaning = rf"\rho_{{{shared}}}", f"correlation over {term.group}"
            rho = self._named(rho, meaning, float(r[i, j]))
            power = f"^{{{j - i}}}" if term.structure == "ar1" and j - i > 1 else ""
            pair = f"{sigmas[i]}^{{2}}" if sigmas[i] == sigmas[j] else rf"{sigmas[i]} {sigmas[j]}"
            return f"{rho}{power} {pair}"

        return [[entry(i, j) for j in range(k)] for i in range(k)]

    # --- the linear predictor

    def _predictor(self, effects: Sequence[_Effects]) -> list[Line]:
        m = self.m
        ordered = is_generalized(m) and m.family.kind == "ordered"
        latex = dict(
            zip(
                m.design.names,
                columns_latex(m, m.design.names, m.design.assign, m.design.recipe.fixed_plan),
                strict=True,
            )
        )
        varying = {
            name: each.letter
            for each in effects
            for name, mean in zip(m.design.random[each.at].names, each.means, strict=True)
            if mean is not None
        }
        terms = []
        for name, (symbol, value) in self._fixed_symbols().items():
            if name in varying:
                terms.append(_times(_indexed(symbol, f"{varying[name]}[i]"), latex[name]))
            else:
                terms.append(_times(self._named(symbol, name, value), latex[name]))
        for each in effects:
            random = m.design.random[each.at]
            columns = columns_latex(m, random.names, random.assign, m.design.recipe.random_plans[each.at])
            for symbol, mean, column in zip(each.symbols, each.means, columns, strict=True):
                if mean is None:
                    terms.append(_times(_indexed(symbol, f"{each.letter}[i]"), column))
        terms += self._offset()
        left = r"\eta_{i}" if ordered else self._linked()
        return self._sum(left, terms)

    def _linked(self) -> str:
        link = self.m.family.link if is_generalized(self.m) else "identity"
        return _LINKS[link].format(self._mu())

    def _mu(self) -> str:
        binary = is_generalized(self.m) and self.m.family.kind == "binary"
        return "p_{i}" if binary else r"\mu_{i}"

    def _offset(self) -> list[str]:
        design = self.m.design
        if design.offset is None:
            return []
        out = [row_latex(expr) for expr in self.m.formula.offsets]
        if design.recipe.offset_column is not None:
            out.append(f"{math_name(design.recipe.offset_column)}_{{i}}")
        elif self.m.arguments.get("offset") is not None or not out:
            out.append(r"\mathrm{offset}_{i}")
        return out

    def _sum(self, left: str, terms: Sequence[str]) -> list[Line]:
        """Add terms up, a few to a line."""
        lines, row = [], ""
        for at, term in enumerate(terms or ["0"]):
            negative = term.startswith("-")
            sign = (" - " if negative else " + ") if at else ("-" if negative else "")
            if at and at % self.wide == 0:
                lines.append(row)
                row = ""
                sign = rf"\quad {sign.strip()} "
            row += sign + term.removeprefix("-")
        lines.append(row)
        return [Line(left if i == 0 else "", ("= " if i == 0 else "") + each) for i, each in enumerate(lines)]

    # --- the distribution of the response

    def _response(self) -> list[Line]:
        m = self.m
        y, mu, weights = self._y(), self._mu(), m.design.weights
        if not is_generalized(m):
            sigma = self._named(r"\sigma", "residual standard deviation", m.sigma)
            variance = _squared(sigma) + (" / w_{i}" if weights is not None else "")
            return [Line(y, rf"\sim \mathrm{{N}}({mu},\, {variance})")]
        family = m.family
        name = family.distribution
        aux = [self._auxiliary(m, each.name) for each in family.auxiliary if each.name != "zi"]
        if family.kind == "ordered":
            return self._ordered(m, y)
        if family.is_quasi:
            variance = (_VARIANCE[name] or "").format(self._auxiliary(m, "phi"), mu=mu)
            if family.kind == "binary" and weights is not None:
                variance += " / n_{i}"
                y = f"{y} / n_{{i}}" if "n_{i}" not in y else y.removeprefix(r"n_{i}\, ")
            return [Line(rf"\mathrm{{E}}({y})", f"= {mu}"), Line(rf"\mathrm{{Var}}({y})", f"= {variance}")]
        lines = []
        if name in ("gaussian", "t"):
            weighted = " / w_{i}" if weights is not None and name == "gaussian" else ""
            student = rf"\mathrm{{t}}_{{{aux[-1]}}}" if name == "t" else r"\mathrm{N}"
            said = rf"{student}({mu},\, {_squared(aux[0])}{weighted})"
        elif family.kind == "binary":
            said = self._binary(name, mu, aux)
        else:
            base = name.removeprefix("truncated_")
            positive = "_{>0}" if base != name else ""
            said = rf"\mathrm{{{_DISTRIBUTIONS[base]}}}{positive}({mu}{_after(aux)})"
            if _VARIANCE.get(base) and aux:
                template = _VARIANCE[base] or ""
                shown = map(_closed, aux) if "/ {0}" in template else aux
                variance = template.format(*shown, mu=mu)
                whole = not family.zero and base == name
                who = y if whole else rf"\mathrm{{{_DISTRIBUTIONS[base]}}}({mu}{_after(aux)})"
                lines = [Line(rf"\mathrm{{Var}}({who})", f"= {variance}")]
        if family.zero:
            zero = self._auxiliary(m, "zi")
            said = rf"{zero}\, \delta_{{0}} + (1 - {zero})\, {said}"
        return [Line(y, rf"\sim {said}"), *lines]

    def _binary(self, name: str, mu: str, aux: Sequence[str]) -> str:
        trials = self.m.design.weights is not None
        if name == "betabinomial":
            return rf"\mathrm{{BetaBinomial}}({'n_{i}' if trials else '1'},\, {mu},\, {aux[0]})"
        return rf"\mathrm{{Binomial}}(n_{{i}},\, {mu})" if trials else rf"\mathrm{{Bernoulli}}({mu})"

    def _ordered(self, m: GeneralizedModel, y: str) -> list[Line]:
        left = _LINKS[m.family.link].format(rf"\mathrm{{P}}({y} \leq c)")
        lines = [Line(left, r"= \tau_{c} - \eta_{i}")]
        thresholds = m.thresholds
        if self.values:
            shown = ",\\, ".join(self._number(value) for value in thresholds.values.tolist())
            lines.append(Line(r"\tau", f"= ({shown})"))
        else:
            for at, name in enumerate(thresholds.names, start=1):
                self.symbols[rf"\tau_{{{at}}}"] = f"threshold {name}"
        return lines

    def _y(self) -> str:
        """Return the response in row i: that is, the successes of cbind(), the second level of a factor."""
        response = self.m.formula.response
        binary = is_generalized(self.m) and self.m.family.kind == "binary"
        if isinstance(response, Call) and response.function == "cbind":
            return row_latex(response.args[0])
        if response is None:
            return "y_{i}"
        shown = row_latex(response)
        if binary:
            success = next((n for n in self.m.design.notes if n.code == "MW-W11"), None)
            if success is not None:
                found = re.search(r" = '(.*)' \(and not", success.text, re.DOTALL)
                return rf"[{shown} = {math_name(found[1])}]" if found else shown
            if self.m.design.weights is not None:
                return rf"n_{{i}}\, {shown}"
        return shown

    # --- further predictors

    def _auxiliary(self, m: GeneralizedModel, name: str) -> str:
        """Symbol of an auxiliary parameter, with an index where it has a predictor; or its estimate."""
        symbol, single = _GREEK[name], m.dispersion
        if name in single:
            return self._named(symbol, {"zi": "share of extra zeros"}.get(name, name), single[name])
        return f"{symbol}_{{i}}"

    def _further(self) -> list[Line]:
        """Linear predictors of the dispersion and of extra zeros."""
        m = self.m
        if not is_generalized(m):
            return []
        lines = []
        for each, letter in zip(m.family.auxiliary, _letters_of(m), strict=True):
            if each.name in m.dispersion or m.family.is_quasi:
                continue
            source = "zi" if each.name == "zi" else "disp"
            part = m._part(each.name)
            plan = m.design.recipe.further[source][1]
            assign = _assign(part.names, plan, m.design.recipe.states)
            columns = columns_latex(m, part.names, assign, plan)
            terms = [
                _times(self._named(rf"\{letter}_{{{at}}}", f"{each.name}: {name}", value), column)
                for at, ((name, value), column) in enumerate(zip(part.items(), columns, strict=True))
            ]
            symbol = f"{_GREEK[each.name]}_{{i}}"
            symbol = f"{symbol}^{{2}}" if each.scale == "log variance" else symbol
            link = r"\mathrm{logit}" if each.scale == "logit" else r"\log"
            lines += self._sum(f"{link}({symbol})", terms)
        return lines


def _letters_of(m: GeneralizedModel) -> list[str]:
    return ["gamma" if each.name == "zi" else "omega" for each in m.family.auxiliary]


def _assign(names: Sequence[str], plan: Plan, states: Mapping[Expr, object]) -> list[int]:
    """Term of each column, found from its name."""
    numbered = list(enumerate(plan, start=1))
    return [next((at for at, term in numbered if read_factors(name, term, states)), 0) for name in names]


def _letter(at: int) -> str:
    return _LETTERS[at] if at < len(_LETTERS) else f"s_{{{at}}}"


def _indexed(symbol: str, index: str) -> str:
    """Add an index to a symbol that may have one."""
    return f"{symbol[:-1]},{index}}}" if symbol.endswith("}") and "_{" in symbol else f"{symbol}_{{{index}}}"


def _times(coefficient: str, column: str) -> str:
    return rf"{coefficient}\, {column}" if column else coefficient


def _closed(value: str) -> str:
    """Put a number with a power of ten into parentheses: it is followed by an exponent, or divides."""
    return rf"\left({value}\right)" if r"\times" in value else value


def _squared(value: str) -> str:
    return f"{_closed(value)}^{{2}}"


def _joined(one: str, other: str) -> str:
    """Symbols side by side; a letter after a command would be read as part of its name."""
    return f"{one} {other}" if re.search(r"\\[a-zA-Z]+$", one) and other[:1].isalpha() else one + other


def _after(parts: Sequence[str]) -> str:
    return "".join(rf",\, {part}" for part in parts)


def _stacked(entries: Sequence[str]) -> str:
    return r"\begin{pmatrix} " + r" \\ ".join(entries) + r" \end{pmatrix}"


def _matrix(entries: Sequence[Sequence[str]]) -> str:
    return _stacked([" & ".join(row) for row in entries])
