"""The index of plots: `m.plot.<name>()`."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias

from mixwell.plots import (
    bootstrap,
    caterpillar,
    certificate,
    forest,
    influence,
    lines,
    means,
    pairs,
    predictions,
    profile,
    quantiles,
    residuals,
    shrinkage,
)

if TYPE_CHECKING:
    from mixwell.fitted.result import FittedModel
    from mixwell.generalized.model import GeneralizedModel
    from mixwell.plots.canvas import Plot

    Model: TypeAlias = FittedModel | GeneralizedModel

__all__ = ["Plots"]

P = ParamSpec("P")


def _of_model(draw: Callable[Concatenate[Any, P], Plot]) -> Callable[Concatenate[Plots, P], Plot]:
    """Make a method of a function of a model."""

    def method(self: Plots, /, *args: P.args, **kwargs: P.kwargs) -> Plot:
        return draw(self._m, *args, **kwargs)

    update_wrapper(method, draw)
    return method


class Plots:
    """The plots of a model: each returns a `Plot` with `.figure`, `.axes`, `.data` and `.save(path)`.

    Random effects: `shrinkage`, `caterpillar`, `ranef_qq`, `ranef_pairs`. Rows: `fitted`, `residuals`,
    `scale_location`, `qq`. Estimates: `forest`, `predictions`, `emmeans`, `profile`, `profile_pairs`,
    `bootstrap`. What a fit depends on: `influence`; whether to trust it: `certificate`.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Reaction ~ Days + (Days | Subject)", mw.data.load("sleepstudy", "dict"))
    >>> m.plot.shrinkage()
    <Plot shrinkage: 1 panel, 36 rows of data; .figure .axes .data .save(path)>
    """

    __slots__ = ("_m",)

    def __init__(self, m: Model) -> None:
        self._m = m

    def __repr__(self) -> str:
        names = [name for name in vars(type(self)) if not name.startswith("_")]
        return f"<Plots of {self._m.formula}: {', '.join(names)}>"

    shrinkage = _of_model(shrinkage.shrinkage)
    caterpillar = _of_model(caterpillar.caterpillar)
    ranef_qq = _of_model(quantiles.ranef_qq)
    ranef_pairs = _of_model(pairs.ranef_pairs)
    fitted = _of_model(lines.fitted)
    scale_location = _of_model(residuals.scale_location)
    residuals = _of_model(residuals.residuals)
    qq = _of_model(quantiles.qq)

    forest = _of_model(forest.forest)
    predictions = _of_model(predictions.predictions)
    emmeans = _of_model(means.emmeans)
    profile_pairs = _of_model(profile.profile_pairs)
    profile = _of_model(profile.profile)
    bootstrap = _of_model(bootstrap.bootstrap)
    influence = _of_model(influence.influence)
    certificate = _of_model(certificate.certificate)
