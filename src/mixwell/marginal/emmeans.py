"""Estimated marginal means: averages of predictions over a balanced grid, and their contrasts.

The reference grid has all combinations of the levels of factors, with numbers at their means (Searle, Speed
and Milliken 1980; R's emmeans, Lenth). A number with two values counts as a factor. Every mean is a linear
function of the coefficients, so its standard error and degrees of freedom are those of `m.test`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import error
from mixwell.fitted.text import Block, html, text
from mixwell.formula import variables
from mixwell.marginal.adjust import Adjust, adjusted
from mixwell.marginal.back_transform import bias_sd, scale_of
from mixwell.marginal.contrast_table import Contrasts
from mixwell.marginal.contrasts import DEFAULT_ADJUST, PAIRS, coefficients, letters
from mixwell.marginal.functions_of_means import correlations, examined, printed, said
from mixwell.marginal.joint_tests import joint_tests
from mixwell.marginal.layout import check_level
from mixwell.marginal.reference_grid import Weights, averages, not_lost, read_question, without_rounding
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from mixwell.marginal.reference_grid import Model
    from mixwell.plots.canvas import Plot

__all__ = ["Contrasts", "EMMeans", "contrast", "emmeans", "joint_tests"]

Array = NDArray[np.float64]
Type = Literal["link", "response"]
Method = str | Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EMMeans:
    """Estimated marginal means. It prints as a table; `.table()` has the numbers.

    Attributes
    ----------
    model
        The fit.
    labels
        Values of the variables of each mean: those of the specification, then those of `by`.
    by
        Names of the variables that separate families of means.
    L, offset
        Means are L beta + offset, (k, p) and (k,), on the scale of the link.
    lost
        What the means need of coefficients that could not be estimated, (k, d); zero where estimable.
    type, sd, ddf, level, adjust
        As asked for; `sd` is that of the bias adjustment, None without.
    over
        Variables that are averaged over.
    """

    model: Model
    labels: Mapping[str, list[Any]]
    by: tuple[str, ...]
    L: Array
    offset: Array
    lost: Array
    type: Type
    sd: float | None
    ddf: str | None
    level: float
    adjust: Adjust
    over: tuple[str, ...] = ()

    @property
    def estimable(self) -> NDArray[np.bool_]:
        """Whether the data determine each mean, (k,)."""
        return not_lost(self.lost)

    def table(self) -> Any:
        """Return the means in the caller's dataframe library.

        Returns
        -------
        table
            Columns of the factors, then emmean (or prob, rate, response), std_error, df, lower,
            upper.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lm("angle ~ recipe", mw.data.load("cake", "dict"))
        >>> m.emmeans("recipe").table()["lower"].round(3).tolist()
        [31.418, 29.94, 29.896]
        """
        return self.model.design.frame.native_like(self.columns())

    def columns(self) -> dict[str, Any]:
        """Return the labels and, (k,) each, means with errors and intervals."""
        estimate, se, df, t = examined(self.model, self.L, self.offset, self.lost, self.ddf)
        half = np.full(len(t), np.nan)
        for family in self.families():
            correlation = correlations(self.model, self.L[family], self.ddf)
            count = len(family)
            _, c = adjusted(self.adjust, t[family], df[family], correlation, means=count, level=self.level)
            half[family] = np.where(se[family] == 0, 0.0, c * se[family])
        scale = scale_of(self.model, self.type, self.sd)
        lower, upper = (scale.limit(estimate + side * half, estimate) for side in (-1.0, 1.0))
        out: dict[str, Any] = {name: _column(values) for name, values in self.labels.items()}
        out |= {
            scale.estimate: scale.inverse(estimate),
            "std_error": np.abs(scale.slope(estimate)) * se,
            "df": df,
        }
        return out | {"lower": np.fmin(lower, upper), "upper": np.fmax(lower, upper)}

    def families(self, by: Sequence[str] | None = None) -> list[list[int]]:
        """Return the positions of the means of each family."""
        names = self.by if by is None else by
        keys = list(zip(*(self.labels[name] for name in names), strict=True)) or [()] * len(self.L)
        return [[i for i, key in enumerate(keys) if key == each] for each in dict.fromkeys(keys)]

    @checked
    def contrast(
        self,
        method: Method = "pairwise",
        *,
        interaction: str | Sequence[str] | None = None,
        by: str | Sequence[str] | None = None,
        adjust: Adjust | None = None,
        ref: int | str = 0,
        level: float | None = None,
    ) -> Contrasts:
        """Compare the means, separately within the levels of `by`.

        Parameters
        ----------
        method
            "pairwise", "revpairwise", "trt.vs.ctrl", "consec", "mean_chg", "eff", "del.eff", "poly"; or
            coefficients by name, {"a against the others": [1, -0.5, -0.5]}.
        interaction
            Methods of the factors of the means, one for each or one for all: their products are tested, such
            as differences of differences. In place of `method`.
        by
            Variables that separate families, if not those of the means; [] for none.
        adjust
            "tukey" (of all pairs), "mvt", "sidak", "holm", "bonferroni", "fdr", "scheffe", "none", for
            p-values and intervals alike. If None: Tukey for all pairs, mvt against a control and for
            neighbours, fdr for effects, else none. Steps have no intervals of their own: holm and fdr
            come with Bonferroni's.
        ref
            Position or label of the control.
        level
            Joint coverage of the intervals of a family; that of the means if None.

        Returns
        -------
        Contrasts
            With type="response" and a log or logit link, or the logarithm of a response, ratios of means or
            odds; else differences on the scale of the link.

        Raises
        ------
        MixwellError
            MW-A02 for an unknown method or adjustment, MW-A113 for coefficients of the wrong number, MW-A114
            for a control that is none of the means, MW-A117 for Tukey's method with anything but pairs.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lm("angle ~ recipe * temperature", mw.data.load("cake", "dict"))
        >>> m.emmeans("recipe").contrast("consec").table()["estimate"].round(4).tolist()
        [-1.4778, -0.0444]
        >>> found = m.emmeans(["recipe", "temperature"]).contrast(interaction=["pairwise", "poly"])
        >>> found.table()["recipe"][:3], found.table()["estimate"][:3].round(3).tolist()
        (['A - B', 'A - C', 'B - C'], [-3.8, -0.733, 3.067])
        """
        apart = list(self.by) if by is None else [by] if isinstance(by, str) else list(by)
        for name in apart:
            if name not in self.labels:
                raise error("MW-A115", name=name, available=list(self.labels))
        own = [name for name in self.labels if name not in apart]
        if interaction is not None and method != "pairwise":
            raise error(
                "MW-A07", option="interaction", expected="None when method= is given", given=interaction
            )
        families = self.families(apart)
        names: dict[str, list[Any]] = {name: [] for name in (["contrast"] if interaction is None else own)}
        labels: dict[str, list[Any]] = {name: [] for name in apart}
        blocks: list[Array] = []
        groups: list[tuple[int, ...]] = []
        for family in families:
            if interaction is None:
                texts = _texts([[level_text(self.labels[name][i]) for name in own] for i in family])
                found = coefficients(method, texts, _control(texts, ref))
                rows = np.array(list(found.values())).reshape(len(found), len(family))
                names["contrast"] += list(found)
            else:
                rows = self._products(family, own, interaction, ref, names)
            full = np.zeros((len(rows), len(self.L)))
            full[:, family] = rows
            start = sum(len(block) for block in blocks)
            groups.append(tuple(range(start, start + len(rows))))
            blocks.append(full)
            for name in apart:
                labels[name] += [self.labels[name][family[0]]] * len(rows)
        C = np.vstack(blocks)
        # A mean of an empty cell spoils the contrasts that use it, and no other.
        empty = np.array([not np.isfinite([*a, *b]).all() for a, b in zip(self.lost, self.L, strict=True)])
        lost = C @ np.where(empty[:, None], 0.0, self.lost)
        if lost.shape[1] == 0:
            lost = np.zeros((len(C), 1))
        lost[(np.abs(C) @ empty) > 0] = np.inf
        if level is not None:
            check_level(level)
        chosen: Adjust = adjust or _usual(method, interaction)
        if chosen == "tukey" and (interaction is not None or method not in PAIRS):
            raise error("MW-A117", what=f"{method!r}" if interaction is None else "interactions")
        return Contrasts(
            self.model,
            {**names, **labels},
            tuple(apart),
            tuple(groups),
            without_rounding(C, np.nan_to_num(self.L)),
            C @ np.nan_to_num(self.offset),
            lost,
            max(len(family) for family in families),
            scale_of(self.model, self.type),
            self.ddf,
            self.level if level is None else level,
            chosen,
        )

    def _products(
        self, family: list[int], own: list[str], interaction: Any, ref: int | str, names: dict[str, list[Any]]
    ) -> Array:
        """Products of contrasts of the factors (r, k); their names are added to `names`."""
        methods = [interaction] * len(own) if isinstance(interaction, str) else list(interaction)
        if len(methods) != len(own):
            expected = f"a method, or one for each of {', '.join(own)}"
            raise error("MW-A07", option="interaction", expected=expected, given=interaction)
        found = []
        for name, method in zip(own, methods, strict=True):
            texts = [level_text(each) for each in dict.fromkeys(self.labels[name][i] for i in family)]
            at = _control(texts, ref) if method == "trt.vs.ctrl" else 0
            found.append(coefficients(method, texts, at))
        rows = []
        for combination in product(*(each.items() for each in found[::-1])):  # the first factor is fastest
            row: Array = np.ones(1)
            for _, coefficient in combination:
                row = np.asarray(np.kron(row, coefficient), dtype=np.float64)
            rows.append(row)
            for name, (label, _) in zip(own, combination[::-1], strict=True):
                names[name].append(label)
        return np.array(rows)

    @checked
    def cld(self, *, adjust: Adjust = "tukey", alpha: float = 0.05) -> Any:
        """Return the means with letters: those that share one do not differ at level alpha (Piepho 2004).

        Sharing a letter means that no difference was found, not that there is none.

        Parameters
        ----------
        adjust
            Of the comparisons of all pairs, within the levels of `by`.
        alpha
            Two means without a common letter differ with a p-value below it.

        Returns
        -------
        table
            That of `.table()` with a column letters, "a" for the smallest mean; "" for means that are not
            estimable.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lm("angle ~ temperature", mw.data.load("cake", "dict"))
        >>> m.emmeans("temperature").cld()["letters"]
        ['a', 'a', 'ab', 'ab', 'b', 'b']
        """
        if not 0.0 < alpha < 1.0:
            raise error("MW-A07", option="alpha", expected="a number between 0 and 1", given=alpha)
        p = np.asarray(self.contrast("pairwise", adjust=adjust).columns()["p_value"])
        estimate = examined(self.model, self.L, self.offset, self.lost, self.ddf)[0]
        out, at = [""] * len(self.L), 0
        for family in self.families():
            k = len(family)
            far = np.zeros((k, k), dtype=bool)
            far[np.triu_indices(k, 1)] = p[at : at + k * (k - 1) // 2] < alpha
            at += k * (k - 1) // 2
            there = [j for j in range(k) if self.estimable[family[j]]]
            far = (far | far.T)[np.ix_(there, there)]
            order = np.argsort(estimate[family][there], kind="stable")
            for j, shown in zip(there, letters(far, order), strict=True):
                out[family[j]] = shown
        return self.model.design.frame.native_like({**self.columns(), "letters": out})

    def plot(self, **options: Any) -> Plot:
        """Draw the means and their contrasts; options: method, adjust (of the contrasts), ax.

        Examples
        --------
        >>> import mixwell as mw
        >>> m = mw.lm("angle ~ recipe", mw.data.load("cake", "dict"))
        >>> m.emmeans("recipe").plot().data["label"]
        ['A', 'B', 'C', 'A - B', 'A - C', 'B - C']
        """
        from mixwell.plots.means import draw_means  # noqa: PLC0415 - matplotlib is optional

        return draw_means(self, **options)

    def _blocks(self) -> list[Block]:
        columns = self.columns()
        scale = scale_of(self.model, self.type, self.sd)
        of = {"response": " (response scale)"}.get(self.type, f" ({scale.link} scale)")
        what = f"Estimated marginal means{'' if scale.link == 'identity' else of}"
        lines = [said(self.model, self.ddf, self.level, self.adjust), scale.said]
        if not self.estimable.all():
            lines.append("-: not estimable, the data do not determine it.")
        if self.over:
            lines.append(f"Averaged over {', '.join(self.over)}.{self._interacting()}")
        lines = [line for line in lines if line]
        return [Block(what, *printed(columns, self.labels), len(self.labels), lines)]

    def _interacting(self) -> str:
        """Name what is averaged over although the effect of the means' variables depends on it."""
        terms = [set[str]().union(*map(variables, term.factors)) for term in self.model.formula.terms]
        found = [
            name for name in self.over if any(name in term and term & set(self.labels) for term in terms)
        ]
        return f" Differences may depend on {', '.join(found)}: look at the means by it." if found else ""

    def __repr__(self) -> str:
        return text(self._blocks())

    def _repr_html_(self) -> str:
        return html(self._blocks())


def _column(values: list[Any]) -> Any:
    return np.array(values) if values and isinstance(values[0], float) else values


def _usual(method: Method, interaction: Any) -> Adjust:
    if interaction is not None or not isinstance(method, str):
        return "none"
    return DEFAULT_ADJUST.get(method, "none")


def _texts(levels: list[list[str]]) -> list[str]:
    """Names of the means: their levels, in quotes if "a b", "c" and "a", "b c" would be the same."""
    plain = [" ".join(each) for each in levels]
    return plain if len(set(plain)) == len(plain) else [" ".join(map(repr, each)) for each in levels]


def _control(texts: list[str], ref: int | str) -> int:
    if isinstance(ref, str) and ref in texts:
        return texts.index(ref)
    if isinstance(ref, str) or not -len(texts) <= ref < len(texts):
        raise error("MW-A114", given=ref, available=texts)
    return int(ref) % len(texts)


@checked
def emmeans(
    m: Model,
    specs: str | Sequence[str],
    *,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    weights: Weights = "equal",
    type: Type = "link",  # noqa: A002
    bias_adjust: bool = False,
    sigma: float | None = None,
    ddf: str | None = None,
    level: float = 0.95,
    adjust: Adjust = "none",
) -> EMMeans:
    """Average the predictions of a balanced grid: estimated marginal means.

    Parameters
    ----------
    specs
        Factors (or numbers given in `at`) to have means of: "A", ["A", "B"], "A * B", or "A | B" for A
        separately by B; [] for one mean of everything.
    by
        Factors to have them separately for; contrasts stay within their levels.
    at
        Values of variables in the grid, {"x": [0, 5]}; numbers are otherwise at their mean, factors have all
        their levels, and an offset is at its mean.
    weights
        Of the levels that are averaged over: "equal"; "proportional" to the frequencies of their
        combinations in the data; "outer", of each factor by itself; "cells": to those within the combination
        that the mean is of; "flat": equal, but cells without data do not count. Rows count
        once, whatever their weights.
    type
        "link": the linear predictor; "response": transformed back after averaging.
    bias_adjust
        With type="response": add half the second derivative of the inverse link times sigma^2, for the mean
        of a function is not the function of the mean.
    sigma
        Standard deviation for that; by default that of the random effects together (their mean variance over
        the rows), and for a transformed response of the residuals, too.
    ddf
        Degrees of freedom of linear mixed models: "satterthwaite" (the default), "kenward-roger", ...
    level
        Coverage of the intervals.
    adjust
        Of the intervals, for as many means.

    Returns
    -------
    EMMeans
        `.table()`, `.contrast()`, `.cld()`. Means that the data do not determine are NaN. Those of an ordinal
        model are on the latent scale, up to a constant; with extra zeros, of the part that counts.

    Raises
    ------
    MixwellError
        MW-A115 for a variable that the fixed effects do not have, MW-A119 and A120 for names and levels in
        `at`, MW-A116 for the response scale of an ordinal model, MW-A117 for adjust="tukey", MW-A118 for a
        transformed response without an inverse, MW-A02 and A07 for other options.

    Notes
    -----
    R's emmeans is the reference (Lenth 2016, J. Stat. Softw. 69(1)). On the response scale intervals are
    transformed limits, and standard errors are by the delta method.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", mw.data.load("cake", "dict"))
    >>> m.emmeans("recipe").table()["emmean"].round(3).tolist()
    [33.122, 31.644, 31.6]
    >>> len(m.emmeans("recipe | temperature").table()["emmean"])
    18
    """
    question = read_question(m, specs, by)
    if question.method is not None:
        advice = f'm.contrast({specs!r}), or "{" * ".join(question.own)}"'
        raise error("MW-A07", option="specs", expected=f"no method of contrasts: {advice}", given=specs)
    if adjust == "tukey":
        raise error("MW-A117", what="single means")
    return _means(m, question, at, weights, type, _bias(m, type, bias_adjust, sigma), ddf, level, adjust)


def _means(  # noqa: PLR0917
    m: Model,
    question: Any,
    at: Mapping[str, Any] | None,
    weights: Weights,
    type: Type,  # noqa: A002
    sd: float | None,
    ddf: str | None,
    level: float,
    adjust: Adjust,
) -> EMMeans:
    choice("type", type, get_args(Type))
    choice("weights", weights, get_args(Weights))
    choice("adjust", adjust, get_args(Adjust))
    check_level(level)
    scale_of(m, type, sd)
    found = averages(m, question, at=at, weights=weights)
    by = tuple(question.by)
    functions = (found.L, found.offset, found.lost)
    return EMMeans(m, found.labels, by, *functions, type, sd, ddf, level, adjust, found.over)


def _bias(m: Model, type: str, wanted: bool, sigma: float | None) -> float | None:  # noqa: A002
    if not wanted:
        if sigma is not None:
            raise error("MW-A07", option="sigma", expected="None without bias_adjust=True", given=sigma)
        return None
    if type != "response":
        raise error("MW-A07", option="bias_adjust", expected='False with type="link"', given=wanted)
    sd = bias_sd(m) if sigma is None else sigma
    if sd is None or not (math.isfinite(sd) and sd >= 0):
        expected = (
            "a number not below 0: the fit has none of its own" if sd is None else "a number not below 0"
        )
        raise error("MW-A07", option="sigma", expected=expected, given=sigma)
    return float(sd)


@checked
def contrast(
    m: Model,
    specs: str | Sequence[str],
    *,
    method: Method | None = None,
    interaction: str | Sequence[str] | None = None,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    weights: Weights = "equal",
    type: Type = "link",  # noqa: A002
    ddf: str | None = None,
    adjust: Adjust | None = None,
    ref: int | str = 0,
    level: float = 0.95,
) -> Contrasts:
    """Compare estimated marginal means: `m.emmeans(specs, ...).contrast(method, ...)`.

    Parameters
    ----------
    specs, by, at, weights, type, ddf, level
        As of `emmeans`; `specs` may name the method, too: "pairwise ~ A | B".
    method, interaction, adjust, ref
        As of `EMMeans.contrast`.

    Returns
    -------
    Contrasts

    Raises
    ------
    MixwellError
        As `emmeans` and `EMMeans.contrast`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lm("angle ~ recipe", mw.data.load("cake", "dict"))
    >>> m.contrast("recipe", method="trt.vs.ctrl", adjust="none").table()["estimate"].round(4).tolist()
    [-1.4778, -1.5222]
    >>> m.contrast("revpairwise ~ recipe").table()["contrast"]
    ['B - A', 'C - A', 'C - B']
    """
    question = read_question(m, specs, by)
    if question.method is not None and method is not None:
        raise error("MW-A07", option="method", expected=f"None with specs={specs!r}", given=method)
    means = _means(m, question, at, weights, type, None, ddf, level, "none")
    chosen = method or question.method or "pairwise"
    return means.contrast(chosen, interaction=interaction, adjust=adjust, ref=ref)
