"""Quantile residuals by simulation: where each response lies among draws from the fitted model.

Under the model they are uniform between 0 and 1 whatever the family is (Dunn and Smyth 1996; simulated, with
tests, in Hartig's DHARMa).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.diagnostics.draws import Source, has_zeros, is_generalized, source, untied
from mixwell.diagnostics.residual_tests import (
    LEVEL,
    Alternative,
    ResidualTest,
    ResidualTests,
    binomial_p,
    centred_ranks,
    holm,
    kolmogorov,
    kolmogorov_p,
    levene,
    levene_p,
    rank_correlation_p,
    simulated_p,
)
from mixwell.diagnostics.units import Units, units_of
from mixwell.errors import error
from mixwell.fitted.text import html, text
from mixwell.options import checked, choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["QuantileResiduals", "quantile_residuals"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_EFFECTS, _TIES, _POOL, _POOL_TIES, _BLOCKS = range(5)  # what streams of random numbers are for
_LARGEST = 2.5e8  # values of simulated data sets that are held at once, 8 bytes each
_CHUNK = 2**21  # values that are ranked at once


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for."""

    simulations: int
    re: Literal["conditional", "new"]
    seed: int
    parameters: bool

    def source(self, m: Model) -> Source:
        """Where the responses come from: the same each time."""
        rng = _generator(self.seed, _EFFECTS)
        return source(m, rng, new=self.re == "new", parameters=self.parameters)


@dataclass(frozen=True, eq=False, repr=False)
class QuantileResiduals:
    """Quantile residuals and what they say; printing shows all tests.

    Attributes
    ----------
    residuals
        Shape (n,), or one a cluster: strictly between 0 and 1, uniform under the model.
    observed, centre
        Responses (successes of shares, positions of categories), and the mean they are compared with.
    parameters_drawn
        Whether the coefficients were drawn once rather than left at their estimates.
    """

    residuals: Array
    observed: Array
    centre: Array
    parameters_drawn: bool
    _model: Model
    _request: _Request
    _units: Units | None
    _squares: Array
    _zeros: Array

    @property
    def simulations(self) -> int:
        """Number of simulated data sets."""
        return self._request.simulations

    @property
    def re(self) -> str:
        """Which random effects these have: "conditional" or "new"."""
        return self._request.re

    @property
    def seed(self) -> int:
        """The seed, drawn if none was given."""
        return self._request.seed

    @property
    def normal(self) -> Array:
        """Residuals (n,) that are standard normal under the model; always finite."""
        from scipy.special import ndtri  # noqa: PLC0415

        return np.asarray(ndtri(self.residuals))

    @property
    def grouping(self) -> str | None:
        """Column whose levels were summed, None for rows."""
        return None if self._units is None else self._units.by

    def table(self) -> Any:
        """Return a table with a row for each residual.

        Returns
        -------
        table
            Columns row (position in the data, from 0) or the grouping column, observed, centre, residual,
            normal.
        """
        first: dict[str, Any]
        if self._units is None:
            rows = self._model.design.rows
            first = {"row": np.arange(self.residuals.size) if rows is None else np.flatnonzero(rows)}
        else:
            first = {self._units.by: list(self._units.labels)}
        return self._native(
            first
            | {
                "observed": self.observed,
                "centre": self.centre,
                "residual": self.residuals,
                "normal": self.normal,
            }
        )

    # --- tests ------------------------------------------------------------------------------------------

    def uniformity(self) -> ResidualTest:
        """Test by Kolmogorov's distance whether the whole distribution is that of the model.

        Returns
        -------
        ResidualTest
            The distance; its p-value is exact for independent residuals, and otherwise by simulation.
        """
        distance = float(kolmogorov(self.residuals))
        p = self._p(distance, kolmogorov, lambda: kolmogorov_p(distance, self.residuals.size), "greater")
        verdict = _verdict(p, "the distribution is not that of the model", "no deviation from uniformity")
        return ResidualTest("uniformity", distance, p, math.nan, verdict)

    @checked
    def dispersion(self, alternative: Alternative = "two-sided") -> ResidualTest:
        """Compare the variance of the residuals with that of simulated ones.

        Parameters
        ----------
        alternative
            "two-sided"; "greater" for overdispersion only; "less" for underdispersion only.

        Returns
        -------
        ResidualTest
            The ratio of the observed variance of response residuals to the mean of the simulated ones, as in
            DHARMa; p by simulation.
        """
        choice("alternative", alternative, ("two-sided", "greater", "less"))
        observed, simulated = float(np.var(self.observed - self.centre)), self._squares
        mean = float(simulated.mean())
        ratio = observed / mean if mean > 0 else math.nan
        p = simulated_p(observed, simulated, alternative) if mean > 0 else math.nan
        words = "overdispersed" if ratio > 1 else "underdispersed"
        verdict = _verdict(p, f"{words}: variance {ratio:.3g} times that of the model", "dispersion fits")
        return ResidualTest("dispersion", ratio, p, 1.0, verdict)

    def outliers(self) -> ResidualTest:
        """Count responses beyond all simulated ones.

        Returns
        -------
        ResidualTest
            Their number. Each is one with probability 2 / (simulations + 1), ties with simulated responses
            broken at random: the binomial test is exact for independent residuals; otherwise by simulation.
        """
        share = 1.0 / (self.simulations + 1)

        def count(residuals: Array) -> Array:
            beyond = (residuals < share) | (residuals > 1 - share)
            return np.asarray(np.sum(beyond, axis=-1, dtype=np.float64))

        n, found = self.residuals.size, float(count(self.residuals))
        p = self._p(found, count, lambda: binomial_p(int(found), n, 2 * share), "two-sided")
        more = "more" if found > 2 * share * n else "fewer"
        verdict = _verdict(p, f"{more} outliers than expected", "no surplus of outliers")
        return ResidualTest("outliers", found, p, 2 * share * n, verdict)

    @checked
    def zero_inflation(self, alternative: Alternative = "two-sided") -> ResidualTest:
        """Compare the number of zeros with that of simulated responses.

        Parameters
        ----------
        alternative
            "two-sided"; "greater" for too many zeros only; "less" for too few only.

        Returns
        -------
        ResidualTest
            Observed zeros and the mean of the simulated ones; p by simulation. NaN where the family has no
            zeros.
        """
        choice("alternative", alternative, ("two-sided", "greater", "less"))
        if not has_zeros(self._model):
            return ResidualTest("zeros", math.nan, math.nan, math.nan, "the family has no zeros to count")
        found, expected = float(np.count_nonzero(self.observed == 0)), float(self._zeros.mean())
        p = simulated_p(found, self._zeros, alternative)
        verdict = _verdict(p, f"{'more' if found > expected else 'fewer'} zeros than expected", "zeros fit")
        return ResidualTest("zeros", found, p, expected, verdict)

    def tests(self) -> ResidualTests:
        """Return all tests that need no predictor: uniformity, dispersion, outliers, and zeros if any."""
        tests = [self.uniformity(), self.dispersion(), self.outliers()]
        if has_zeros(self._model):
            tests.append(self.zero_inflation())
        return ResidualTests("Tests of quantile residuals", tuple(tests), self._native)

    def within(self, factor: str) -> ResidualTests:
        """Test uniformity within each level of a factor, and whether residuals spread alike in all of them.

        Parameters
        ----------
        factor
            A grouping factor, or a column of the data; of residuals by cluster one that is constant in each.

        Returns
        -------
        ResidualTests
            One test a level, of Kolmogorov's distance, with p-values adjusted for the number of levels
            (Holm 1979); "homogeneity" is Levene's F about medians (Brown and Forsythe 1974).

        Raises
        ------
        MixwellError
            MW-A96 when it cuts the residuals into no groups.
        """
        labels, codes = self._levels(factor)
        groups = [np.flatnonzero(codes == j) for j in range(len(labels))]
        distances = [float(kolmogorov(self.residuals[at])) for at in groups]
        raw = [self._uniform_within(at, distance) for at, distance in zip(groups, distances, strict=True)]
        tests = [
            ResidualTest(
                f"{factor}={level_text(label)}",
                distance,
                p,
                math.nan,
                _verdict(p, "not uniform here", "no deviation from uniformity"),
            )
            for label, distance, p in zip(labels, distances, holm(raw).tolist(), strict=True)
        ]
        n, k = self.residuals.size, len(groups)
        value = float(levene(self.residuals, groups)) if n > k else math.nan
        p = math.nan
        if math.isfinite(value):
            p = self._p(value, lambda u: levene(u, groups), lambda: levene_p(value, k, n), "greater")
        verdict = _verdict(p, "residuals spread differently between levels", "spread alike in all levels")
        tests.append(ResidualTest("homogeneity", value, p, 1.0 if n > k else math.nan, verdict))
        return ResidualTests(f"Quantile residuals within {factor}", tuple(tests), self._native)

    def against(self, predictor: str | None = None) -> ResidualTests:
        """Test whether residuals depend on a numeric predictor, which may not be part of the model.

        Parameters
        ----------
        predictor
            A column of the data, averaged by cluster for residuals by cluster; None for `centre`, the mean.

        Returns
        -------
        ResidualTests
            Rank correlations (Spearman 1904) of the residuals with the predictor ("trend") and with its
            distance from its median rank ("curvature": a missing quadratic term), and of the distance of
            residuals from 1/2 with the predictor ("spread": heteroscedasticity; the rank test of Glejser's
            kind, Glejser 1969). P-values are adjusted for the three (Holm 1979).

        Raises
        ------
        MixwellError
            MW-A97 for a column that does not exist, is not numeric, or has missing values or one value.
        """
        x = self.centre if predictor is None else self._numbers(predictor)
        ranks = centred_ranks(x)
        predictors = np.stack([ranks, centred_ranks(np.asarray(np.round(np.abs(ranks), 12), np.float64))])

        def statistics(u: Array) -> Array:
            distances = centred_ranks(np.abs(u - 0.5)) @ ranks
            both = centred_ranks(u) @ predictors.T
            return np.concatenate([both, np.asarray(distances)[..., None]], axis=-1)

        n, values = self.residuals.size, statistics(self.residuals)
        if self._independent:
            raw = [rank_correlation_p(r, n) for r in values]
        else:
            simulated = self._simulated(statistics)
            raw = [simulated_p(r, own) for r, own in zip(values, simulated.T, strict=True)]
        said = (
            ("trend", "residuals rise or fall with it", "no trend"),
            ("curvature", "residuals bend with it: try a quadratic or smooth term", "no curvature"),
            ("spread", "the spread changes with it", "an even spread"),
        )
        tests = [
            ResidualTest(name, r, p, 0.0, _verdict(p, bad, good))
            for (name, bad, good), r, p in zip(said, values.tolist(), holm(raw).tolist(), strict=True)
        ]
        title = f"Quantile residuals against {'the mean' if predictor is None else predictor}"
        return ResidualTests(title, tuple(tests), self._native)

    def by(self, group: str) -> QuantileResiduals:
        """Return residuals of the responses summed by the levels of a factor, from the same draws.

        Parameters
        ----------
        group
            A grouping factor, or a column of the data.

        Raises
        ------
        MixwellError
            MW-A96 when it cuts the rows into no groups.
        """
        units = units_of(self._model, group)
        return _computed(self._model, units, self._request)

    # --- how --------------------------------------------------------------------------------------------

    @property
    def _native(self) -> Callable[[Any], Any]:
        return self._model.design.frame.native_like

    @property
    def _independent(self) -> bool:
        return self.re == "conditional" or not self._model.is_mixed

    def _uniform_within(self, at: Ints, distance: float) -> float:
        def own(u: Array) -> Array:
            return kolmogorov(u[..., at])

        return self._p(distance, own, lambda: kolmogorov_p(distance, at.size), "greater")

    def _p(
        self,
        observed: float,
        statistic: Callable[[Array], Array],
        exact: Callable[[], float],
        alternative: Alternative,
    ) -> float:
        """P-value: exact for independent residuals, and else among simulated data sets taken as the data."""
        if self._independent:
            return exact()
        return simulated_p(observed, self._simulated(statistic), alternative)

    def _simulated(self, statistic: Callable[[Array], Array]) -> Array:
        """Return the statistic of every simulated data set taken as the data, (S, ...)."""
        pool = self._pool
        size = max(1, _CHUNK // pool.shape[1])
        share = 1.0 / (self.simulations + 1)
        rng = _generator(self.seed, _POOL)
        parts = []
        for first in range(0, len(pool), size):
            ranks = pool[first : first + size]
            parts.append(statistic((ranks + rng.uniform(size=ranks.shape)) * share))
        return np.concatenate(parts)

    @cached_property
    def _pool(self) -> NDArray[np.uint16 | np.uint32]:
        """Ranks (S, n) of every simulated data set among the others and the data, ties broken at random.

        Given the parameters all S + 1 data sets are exchangeable, so each may be taken for the data.
        """
        n, count = self.residuals.size, self.simulations
        if (count + 1) * n > _LARGEST:
            most = max(int(_LARGEST // n) - 1, 1)
            raise error("MW-A95", rows=n, simulations=count, most=most)
        everything = np.empty((count + 1, n))
        everything[0] = self.observed
        at = 1
        for drawn in _blocks(self._request.source(self._model), self._units, self._request):
            everything[at : at + len(drawn)] = drawn
            at += len(drawn)
        out = np.empty((count, n), np.uint16 if count < 2**16 else np.uint32)
        rng = _generator(self.seed, _POOL_TIES)
        for first in range(0, n, max(1, _CHUNK // (count + 1))):
            values = everything[:, first : first + max(1, _CHUNK // (count + 1))]
            order = np.argsort(untied(self._model, values, rng), axis=0)
            ranks = np.empty(values.shape, np.int64)
            np.put_along_axis(ranks, order, np.arange(count + 1)[:, None], axis=0)
            out[:, first : first + values.shape[1]] = ranks[1:]
        return out

    def _levels(self, factor: str) -> tuple[tuple[Any, ...], Ints]:
        units = units_of(self._model, factor)
        if self._units is None:
            return units.labels, units.codes
        own = units.codes[self._units.order][self._units.starts]
        if np.any(own[self._units.codes] != units.codes):
            raise error("MW-A96", name=factor, reason=f"it varies within {self._units.by}", available=())
        present, codes = np.unique(own, return_inverse=True)
        return tuple(units.labels[j] for j in present), codes.astype(np.int64)

    def _numbers(self, predictor: str) -> Array:
        frame, rows = self._model.design.frame, self._model.design.rows
        if not isinstance(predictor, str) or predictor not in frame.names:
            reason = "there is no such column"
            raise error("MW-A97", name=predictor, reason=reason, available=tuple(frame.names))
        column = frame.column(predictor).take(rows)
        if column.values is None or column.kind == "datetime":
            reason = f"it holds {column.described()}: for a factor use .within()"
            raise error("MW-A97", name=predictor, reason=reason, available=())
        x = column.numeric()
        reason = "it has missing values in rows used" if np.isnan(x).any() else ""
        if not reason and self._units is not None:
            x = self._units.means(x)
        if not reason and x.max() == x.min():
            reason = "it has one value"
        if reason:
            raise error("MW-A97", name=predictor, reason=reason, available=())
        return x

    def __repr__(self) -> str:
        return text(self._shown())

    def _repr_html_(self) -> str:
        return html(self._shown())

    def _shown(self) -> list[Any]:
        block = self.tests().blocks()[0]
        size = self.residuals.size
        what = f"{size} rows" if self._units is None else f"{size} sums by {self._units.by}"
        given = ""
        if self._model.is_mixed:
            given = ", new random effects" if self.re == "new" else ", random effects drawn given the data"
        title = f"Quantile residuals: {what}, {self.simulations} simulations{given}"
        return [type(block)(title, block.header, block.rows, block.left, block.lines)]

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without what can be computed again."""
        return {key: value for key, value in self.__dict__.items() if key != "_pool"}


# --- computation ----------------------------------------------------------------------------------------


@checked
def quantile_residuals(
    m: Model,
    simulations: int = 1000,
    *,
    re: Literal["conditional", "new"] = "conditional",
    by: str | None = None,
    seed: int | None = None,
    parameters: bool = True,
) -> QuantileResiduals:
    """Return quantile residuals: where each response lies among simulated ones, uniform under the model.

    Parameters
    ----------
    simulations
        Data sets that are simulated.
    re
        Random effects of these. "conditional": drawn once, given the data, which makes residuals independent;
        for the distribution of rows. "new": drawn anew for each data set, so that residuals also show misfit
        of the random effects; those of a cluster go together.
    by
        A grouping factor, or a column of the data: residuals of sums of the response over its levels.
    seed
        A whole number from which all random numbers follow; drawn if None.
    parameters
        Draw the coefficients once, too, given the data. With False they stay at their estimates, and a model
        with many coefficients looks underdispersed.

    Returns
    -------
    QuantileResiduals
        `.residuals`, `.normal`, `.table()`; tests `.uniformity()`, `.dispersion()`, `.outliers()`,
        `.zero_inflation()`, all of them `.tests()`; `.within(factor)`, `.against(predictor)`, `.by(group)`.

    Raises
    ------
    MixwellError
        MW-A02 for another `re`, MW-A07 for a bad number, seed or `parameters`, MW-A91 for quasi-families,
        MW-A96 when `by` cuts the rows into no groups; tests with re="new" MW-A95 where the simulated data
        sets do not fit into memory.

    Notes
    -----
    A residual is (number of simulated responses below + U (1 + number of equal ones)) / (simulations + 1), U
    uniform: exactly uniform when the response comes from where the simulated ones come from, ties or not
    (Dunn and Smyth 1996).

    Tests hold their level, too, in models with random effects. The modes of random effects follow the data,
    hence residuals given the modes vary too little. One draw of the random effects from their distribution
    given the data (normal, at the modes) restores what the model says: given it the residuals are independent
    and uniform (Johnson 2007; Yuan and Johnson 2012), and p-values of independent residuals apply. With
    re="new" residuals of a cluster are dependent; each simulated data set then takes the place of the data in
    turn, and a p-value is the rank of the statistic among theirs, which is valid whatever the dependence is
    (Davison and Hinkley 1997, section 4.2). Variances and dispersions stay at their estimates, which can make
    p-values larger, and an estimated dispersion cannot be tested: `.dispersion()` of gaussian
    and gamma models says little. Where the likelihood is far from normal, as with separation, the
    coefficients stay at their estimates (`parameters_drawn`).

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.glm("count ~ x", {"count": [1, 2, 4, 9], "x": [0, 1, 2, 3]}, family="poisson")
    >>> q = m.quantile_residuals(seed=1)
    >>> q.residuals.shape, bool(q.uniformity().p_value > 0.05)
    ((4,), True)
    """
    choice("re", re, ("conditional", "new"))
    if not isinstance(parameters, bool):
        raise error("MW-A07", option="parameters", expected="True or False", given=parameters)
    if isinstance(simulations, bool) or not isinstance(simulations, (int, np.integer)) or simulations < 1:
        raise error("MW-A07", option="simulations", expected="a positive whole number", given=simulations)
    if is_generalized(m):
        m.family.require_likelihood("quantile_residuals()")  # type: ignore[union-attr]
    units = None if by is None else units_of(m, by)
    return _computed(m, units, _Request(int(simulations), re, _seed(seed), parameters))


def _computed(m: Model, units: Units | None, request: _Request) -> QuantileResiduals:
    origin = request.source(m)
    observed, centre = origin.observed, origin.centre
    if units is not None:
        observed, centre = units.sums(observed), units.sums(centre)
    below, equal = np.zeros(observed.size), np.zeros(observed.size)
    squares, zeros = [], []
    for drawn in _blocks(origin, units, request):
        below += np.count_nonzero(drawn < observed, axis=0)
        equal += np.count_nonzero(drawn == observed, axis=0)
        squares.append(np.var(drawn - centre, axis=1))
        zeros.append(np.count_nonzero(drawn == 0, axis=1))
    u = _generator(request.seed, _TIES).uniform(size=observed.size)
    residuals = (below + u * (1 + equal)) / (request.simulations + 1)
    # A uniform number of zero, or one that rounds up, must not make a residual 0 or 1.
    residuals = np.clip(residuals, 1e-12, 1 - 1e-12)
    return QuantileResiduals(
        residuals,
        observed,
        centre,
        origin.drawn,
        m,
        request,
        units,
        np.concatenate(squares),
        np.concatenate(zeros).astype(np.float64),
    )


def _seed(seed: int | None) -> int:
    from mixwell.resampling.simulate import seed_of  # noqa: PLC0415  (which builds on fits)

    return seed_of(seed)


def _generator(seed: int, stream: int) -> np.random.Generator:
    from mixwell.resampling.simulate import generator  # noqa: PLC0415  (which builds on fits)

    return generator(seed, stream)


def _blocks(origin: Source, units: Units | None, request: _Request) -> Iterator[Array]:
    """Yield simulated responses, or their sums, some data sets at a time."""
    from mixwell.resampling.simulate import block_size  # noqa: PLC0415  (which builds on fits)

    size = block_size(origin.observed.size)
    for block, first in enumerate(range(0, request.simulations, size)):
        rng = _generator(request.seed, _BLOCKS + block)
        # Always whole blocks: the first draws do not depend on their number.
        drawn = origin.draw(rng, size)[: request.simulations - first]
        yield drawn if units is None else units.sums(drawn)


def _verdict(p: float, bad: str, good: str) -> str:
    """Say in words what a p-value says."""
    if math.isnan(p):
        return "cannot be tested here"
    return bad if p < LEVEL else good
