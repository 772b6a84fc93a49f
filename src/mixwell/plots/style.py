"""The one style of all plots: colours by role, sizes, and matplotlib's settings, never set globally.

Colours are those of Okabe and Ito (2008), "Color universal design", which
colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from mixwell.errors import error

__all__ = [
    "ACCENT",
    "DATA",
    "DOUBLE",
    "MARKER",
    "MARKERS",
    "MODEL",
    "MUTED",
    "PARTIAL",
    "PLUS",
    "POOLED",
    "QUIET",
    "SEQUENCE",
    "SINGLE",
    "STYLE",
    "TEXT",
    "UNPOOLED",
    "matplotlib",
    "style",
    "styled",
]

P = ParamSpec("P")
R = TypeVar("R")

# Colours by role.
TEXT = "#262626"  # labels, axes
QUIET = "#595959"  # remarks
DATA = "#7F7F7F"  # what was observed
MODEL = "#0072B2"  # what the model says (blue)
ACCENT = "#D55E00"  # what to look at: outliers, failures, the second of two things (vermillion)
PLUS = "#009E73"  # a third thing (bluish green)
MUTED = "#BFBFBF"  # reference lines, bands, what is only context
UNPOOLED = "#E69F00"  # each group alone (orange)
PARTIAL = MODEL  # the mixed model's compromise
POOLED = "#000000"  # all groups as one
SEQUENCE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # beside the colour, so that grey prints can be read

# Inches: the widths of one and of two columns in print.
SINGLE = 3.3
DOUBLE = 7.0

MARKER = 3.6  # points, of a symbol that stands for one estimate

STYLE: dict[str, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same picture everywhere
    "font.size": 8.0,
    "text.color": TEXT,
    "axes.titlesize": 8.0,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.titlepad": 4.0,
    "axes.labelsize": 8.0,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": TEXT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "white",
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.xmargin": 0.04,
    "axes.ymargin": 0.05,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 5),
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.2,
    "lines.markersize": MARKER,
    "lines.markeredgewidth": 0.0,
    "patch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.0,
    "legend.handlelength": 1.4,
    "legend.borderaxespad": 0.2,
    "legend.columnspacing": 1.2,
    "figure.facecolor": "white",
    "figure.dpi": 150.0,
    "figure.constrained_layout.h_pad": 0.04,
    "figure.constrained_layout.w_pad": 0.04,
    "savefig.facecolor": "white",
    "savefig.dpi": 300.0,
    "pdf.fonttype": 42,  # text stays text in the file
    "svg.fonttype": "none",
}


def matplotlib() -> Any:
    """Import matplotlib, or say how to get it.

    Raises
    ------
    MixwellError
        MW-A126 when it is not installed.
    """
    try:
        import matplotlib  # noqa: PLC0415 - an optional dependency
    except ModuleNotFoundError as missing:
        raise error("MW-A126") from missing
    return matplotlib


def style() -> AbstractContextManager[Any]:
    """Return a context in which matplotlib has the style; settings of the caller come back at its end.

    Examples
    --------
    >>> import matplotlib
    >>> before = matplotlib.rcParams["font.size"]
    >>> with style():
    ...     inside = matplotlib.rcParams["font.size"]
    >>> inside, matplotlib.rcParams["font.size"] == before
    (8.0, True)
    """
    context: AbstractContextManager[Any] = matplotlib().rc_context(STYLE)
    return context


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Draw in the style."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return function(*args, **kwargs)

    return inside
