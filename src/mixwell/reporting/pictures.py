"""The plots of a report: drawn by `m.plot`, put into the page as PNG, with what they show in words."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import partial
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from mixwell.errors import MixwellError
from mixwell.reporting.page import figure, paragraphs

if TYPE_CHECKING:
    from mixwell.inference.wald import Ddf
    from mixwell.reporting.view import Model

__all__ = ["pictures"]

_DPI = 180  # dots an inch of paper
_INCH = 124  # CSS pixels an inch: text made for print is small on screens
_PROFILED = (4, 50_000)  # variance parameters and rows up to which their profiles do not take long
_ROOM = 1_300_000  # bytes of all pictures: a third more in base64, and the page stays below 2 MB


class _Plot(NamedTuple):
    name: str
    title: str
    shows: str
    mixed: bool = False


_PLOTS = (
    _Plot("fitted", "Data and fitted values", "the data, and what the model fits to them"),
    _Plot(
        "forest",
        "Coefficients",
        "estimates of coefficients and standard deviations, with confidence intervals",
    ),
    _Plot("caterpillar", "Random effects", "predicted effects of the levels, in order, with intervals", True),
    _Plot(
        "shrinkage", "Shrinkage", "estimates of each level alone, drawn towards the mean by the model", True
    ),
    _Plot("residuals", "Residuals", "residuals against fitted values; a good fit has no pattern"),
    _Plot(
        "scale_location", "Scale and location", "size of the residuals against fitted values; level if even"
    ),
    _Plot(
        "qq",
        "Quantiles of the residuals",
        "quantiles of the residuals against expected ones; a line if they fit",
    ),
    _Plot(
        "ranef_qq",
        "Quantiles of the random effects",
        "quantiles of the random effects against normal ones",
        True,
    ),
    _Plot("certificate", "Certificate", "residual of each check of the fit against its tolerance"),
)


def pictures(m: Model, *, level: float = 0.95, ddf: Ddf | None = None) -> str:
    """Return the plots as markup; what cannot be drawn says why.

    Parameters
    ----------
    level, ddf
        Of the intervals, as in the tables beside them.
    """
    if find_spec("matplotlib") is None:
        return paragraphs(["Plots need matplotlib, which is not installed: pip install mixwell[plots]."])
    plot = getattr(m, "plot", None)
    quick = m.theta.size <= _PROFILED[0] and m.nobs <= _PROFILED[1]
    random = "profile" if quick else "wald"
    options: dict[str, dict[str, Any]] = {
        "forest": {"level": level, "ddf": ddf, "random": random},
        "caterpillar": {"level": level},
        "ranef_qq": {"level": level},
    }
    drawn, missing, room = [], [], _ROOM
    for each in _PLOTS:
        draw = getattr(plot, each.name, None)
        if draw is None or (each.mixed and not m.is_mixed):
            continue
        try:
            png, width = _drawn(partial(draw, **options.get(each.name, {})))
        except MixwellError as refusal:
            missing.append((each.title, f"{refusal.message} ({refusal.code})"))
            continue
        except Exception as mistake:  # a picture that fails must not cost the report
            missing.append((each.title, f"a mistake inside mixwell, please report it: {mistake!r}"))
            continue
        if len(png) > room:
            missing.append((each.title, "too large for this file"))
            continue
        room -= len(png)
        alt = f"{each.title}: {each.shows}. {m.nobs} rows."
        drawn.append(figure(png, alt, f"{each.title}: {each.shows}.", width))
    left_out = [f"<li>{escape(title)}: {escape(reason)}</li>" for title, reason in missing]
    said = f"<p>Not drawn:</p>\n<ul>{''.join(left_out)}</ul>" if left_out else ""
    shown = "\n".join(drawn)
    return f'<div class="figures">\n{shown}\n</div>\n{said}' if drawn else said


def _drawn(draw: Callable[[], Any]) -> tuple[bytes, int]:
    """Draw a plot: its PNG, and its width in CSS pixels."""
    from mixwell.plots.style import style  # noqa: PLC0415  (an extra)

    out = io.BytesIO()
    with warnings.catch_warnings(), style():
        warnings.simplefilter("ignore")
        shown = _figure_of(draw())
        shown.savefig(out, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    png = out.getvalue()
    width = int.from_bytes(png[16:20], "big")  # of the picture, from its header
    return png, min(round(width * _INCH / _DPI), 960)


def _figure_of(drawn: Any) -> Any:
    """Return the figure that axes, or a collection of them, belong to."""
    while not hasattr(drawn, "savefig"):
        drawn = drawn.figure if hasattr(drawn, "figure") else next(iter(drawn))
    return drawn
