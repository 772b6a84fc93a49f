"""Certificate: every check against its tolerance, and the curvature, gradient and distances behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.inference.certificate import Certificate, curvature
from mixwell.options import checked
from mixwell.plots.canvas import Plot, canvas, finish, plain, reference
from mixwell.plots.intervals import line_axis
from mixwell.plots.style import ACCENT, DOUBLE, MODEL, MUTED, PLUS, TEXT, styled
from mixwell.reporting.view import is_generalized

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixwell.reporting.view import Model

__all__ = ["certificate", "proof_columns"]

Array = NDArray[np.float64]

_LEVEL = 1e-6  # diagonal of a Hessian that is no curvature
_SMALLEST = 1e-17  # of the logarithmic axes: rounding of numbers of size one is ten times that
_MOST = 12  # lines of a panel
_TITLES = {
    "check": "Residual of each check, and its tolerance",
    "gradient": "Gradient, in standard errors",
    "curvature": "Curvature: eigenvalues of the scaled Hessian",
    "boundary": "Distance to the boundary",
}


@styled
@checked
def certificate(m: Model, *, ax: Any = None) -> Plot:
    """Draw what was proved of a fit: each check with its tolerance, and the numbers that they rest on.

    Parameters
    ----------
    ax
        Axes to draw on, one a panel: four, three without random effects, one for a linear model without.

    Returns
    -------
    Plot
        `.data`: panel ("check", "gradient", "curvature", "boundary"), label, value, limit, passed, note.

    Notes
    -----
    A distance to the boundary is the standard deviation of a principal component of the random effects (over
    sigma in linear models). Zero is no failure: the check "multiplier" proves that it belongs there.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> m.plot.certificate().axes.size
    4
    """
    columns = proof_columns(m)
    panels = [name for name in _TITLES if name in columns["panel"]]
    of = np.array(columns["panel"])
    sizes = {name: min(int((of == name).sum()), _MOST) for name in panels}
    if len(panels) == 1:
        axes = canvas(1, 1, size=(4.2, 0.9 + 0.2 * sizes["check"]), ax=ax)
    else:
        high = max(sizes["check"], sizes["gradient"]) + max([3, *(sizes[name] for name in panels[2:])])
        axes = canvas(2, 2, size=(DOUBLE, min(1.3 + 0.19 * high, 9.0)), ax=ax, count=len(panels))
    for panel, name in zip(axes, panels, strict=True):
        own = {key: np.array(column)[of == name] for key, column in columns.items()}
        {"check": _checks, "gradient": _gradient, "curvature": _curvature, "boundary": _boundary}[name](
            panel, own
        )
        panel.set_title(_TITLES[name])
    verdict = m.certificate()
    line = verdict.line.split(" See ")[0]
    if ax is None:
        look: dict[str, Any] = {"x": 0.01, "ha": "left", "fontsize": 8}
        shown = plain(line[:1].upper() + line[1:])
        axes[0].figure.suptitle(shown, color=PLUS if verdict.passed else ACCENT, **look)
    return finish("certificate", axes, columns, m.design.frame.native_like)


# --- drawing --------------------------------------------------------------------------------------------


def _checks(axes: Axes, own: Mapping[str, Any]) -> None:
    y = np.arange(len(own["value"]), dtype=float)
    _logarithmic(axes, own["value"], y, own["passed"])
    axes.plot(
        np.maximum(own["limit"], _SMALLEST), y, "|", color=TEXT, markersize=8, markeredgewidth=1.2, zorder=3
    )
    line_axis(axes, [str(each) for each in own["label"]])
    _marks(axes, y, own["passed"])


def _gradient(axes: Axes, own: Mapping[str, Any]) -> None:
    chosen = np.sort(np.argsort(-own["value"], kind="stable")[:_MOST])
    y = np.arange(len(chosen), dtype=float)
    _logarithmic(axes, own["value"][chosen], y, own["passed"][chosen])
    limit = own["limit"][0]
    if np.isfinite(limit):
        axes.axvline(limit, color=TEXT, linewidth=1.0, zorder=1)
    line_axis(axes, [str(own["label"][i]) for i in chosen])
    _marks(axes, y, own["passed"][chosen])
    for at, i in enumerate(chosen):
        axes.annotate(
            str(own["note"][i]), (2 * _SMALLEST, at), (0, 5), textcoords="offset points", fontsize=6
        )
    if len(own["value"]) > len(chosen):
        axes.set_xlabel(f"the {len(chosen)} largest of {len(own['value'])}")


def _curvature(axes: Axes, own: Mapping[str, Any]) -> None:
    values = own["value"]
    x = np.arange(1, len(values) + 1)
    colors = [MODEL if passed else ACCENT for passed in own["passed"]]
    reference(axes, y=0.0)
    axes.vlines(x, 0.0, values, color=colors, linewidth=1.3)
    axes.scatter(x, values, s=14, color=colors, zorder=3)
    axes.set_xlim(0.4, len(values) + 0.6)
    axes.set_xticks(x[:: -(-len(x) // 8)])
    axes.set_ylim(min(0.0, 1.1 * values.min()), 1.1 * max(values.max(), 1.0))
    axes.set_xlabel("eigenvalue, all at least 0 at an optimum")


def _boundary(axes: Axes, own: Mapping[str, Any]) -> None:
    values, y = own["value"], np.arange(len(own["value"]), dtype=float)
    reference(axes, x=0.0)
    axes.hlines(y, 0.0, values, color=MODEL, linewidth=1.3)
    axes.plot(values, y, "o", color=MODEL, zorder=3)
    line_axis(axes, [str(each) for each in own["label"]])
    top = float(values.max()) or 1.0
    axes.set_xlim(-0.04 * top, 1.1 * top)
    for value, at, note in zip(values, y, own["note"], strict=True):
        axes.annotate(str(note), (value, at), (6, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_xlabel("sd of a principal component")


def _logarithmic(axes: Axes, values: Array, y: Array, passed: Any) -> None:
    """Draw numbers from zero on an axis that has no zero: what is below its start is hollow there."""
    axes.set_xscale("log")
    colors = [MODEL if each else ACCENT for each in passed]
    shown = np.where(np.isfinite(values), np.maximum(values, _SMALLEST), 1e3)
    axes.hlines(y, _SMALLEST, shown, color=MUTED, linewidth=0.8, zorder=1)
    zero = values < _SMALLEST
    faces = ["white" if none else color for none, color in zip(zero, colors, strict=True)]
    axes.scatter(shown, y, s=14, color=faces, edgecolors=colors, linewidths=0.9, zorder=3)
    axes.set_xlim(_SMALLEST / 3, max(10.0, 3 * float(shown.max(initial=0.0))))
    axes.set_xticks([1e-16, 1e-12, 1e-8, 1e-4, 1.0])
    axes.minorticks_off()


def _marks(axes: Axes, y: Array, passed: Any) -> None:
    """Write a pass mark behind each line."""
    for at, fine in zip(y, passed, strict=True):
        axes.annotate(
            "✓" if fine else "✗ FAIL",
            (1.0, at),
            (2, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=PLUS if fine else ACCENT,
        )


# --- data -----------------------------------------------------------------------------------------------


def proof_columns(m: Model) -> dict[str, Any]:
    """Return the checks of a certificate and the numbers behind those of the optimum.

    Returns
    -------
    dict
        Columns panel, label, value, limit, passed, note:

        * "check": the residual of a check, its tolerance, and whether it passed.
        * "gradient": the absolute gradient of the criterion in each parameter that was searched for, in
          standard errors; the tolerance of the check of it. No verdict at the boundary, where only the sign
          counts.
        * "curvature": eigenvalues of the Hessian in units of its diagonal, over parameters away from the
          boundary; they should be positive.
        * "boundary": standard deviations of the principal components of the random effects, over sigma in
          linear models; zero is the boundary.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lmer("Yield ~ 1 + (1 | Batch)", mw.data.load("dyestuff", "dict"))
    >>> columns = proof_columns(m)
    >>> sorted(set(columns["panel"])), all(columns["passed"])
    (['boundary', 'check', 'curvature', 'gradient'], True)
    """
    certificate = m.certificate()
    rows: list[tuple[str, str, float, float, bool, str]] = [
        ("check", check.name, max(check.residual, 0.0), check.tolerance, check.passed, "")
        for check in certificate.checks
    ]
    names, slopes, hessian, unit, free = _derivatives(m)
    limit = _tolerance(certificate, ("stationarity", "score"))
    for name, slope, inner in zip(names, np.abs(slopes).tolist(), free.tolist(), strict=True):
        note = "" if inner else "at its limit"
        rows.append(("gradient", name, slope, limit, slope <= limit or not inner, note))
    scaled = (hessian * np.outer(unit, unit))[np.ix_(free, free)]
    if scaled.size and np.isfinite(scaled).all():
        least = -_tolerance(certificate, ("curvature",))
        for i, value in enumerate(np.linalg.eigvalsh(0.5 * (scaled + scaled.T)).tolist()):
            rows.append(("curvature", f"{i + 1}", value, least, value >= least, ""))
    if m.is_mixed:
        for group in m.repca():
            rows += [
                (
                    *("boundary", f"PC{i + 1} | {group.group}", sd, 0.0, True),
                    "" if i < group.dimensions else "on the boundary",
                )
                for i, sd in enumerate(group.sd.tolist())
            ]
    header = ("panel", "label", "value", "limit", "passed", "note")
    columns: dict[str, Any] = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    return columns | {name: np.array(columns[name], dtype=np.float64) for name in ("value", "limit")}


def _tolerance(certificate: Certificate, names: tuple[str, ...]) -> float:
    """Tolerance of the last of these checks that was made."""
    found = [check.tolerance for name in names for check in certificate.checks if check.name == name]
    return found[-1] if found else np.nan


def _derivatives(m: Model) -> tuple[list[str], Array, Array, Array, NDArray[np.bool_]]:
    """Names, gradient in standard errors, Hessian, units, and which parameters are away from their limits."""
    if not is_generalized(m):
        if not m.is_mixed:
            return [], np.empty(0), np.empty((0, 0)), np.empty(0), np.empty(0, dtype=bool)
        at = curvature(m)
        free = (at.side == 0) & (at.unit > 0)
        return _theta_names(m), at.gradient * at.unit, at.hessian, at.unit, free
    names = [*_theta_names(m), *(f"beta {i + 1}" for i in range(len(m.fixef.names)))]
    names += [f"{part} {name}" for part, name in m.predictors.names]
    hessian = np.array(m.hessian)
    diagonal = np.abs(np.diag(hessian))
    curved = ~(diagonal <= _LEVEL)
    unit = np.where(curved, 1.0 / np.sqrt(np.where(curved, diagonal, 1.0)), 0.0)
    free = curved & ~np.asarray(m.core["held"], dtype=bool)
    return names, np.asarray(m.core["gradient"]) * np.asarray(m.core["scale"]), hessian, unit, free


def _theta_names(m: Model) -> list[str]:
    return [f"theta {i + 1}" for i in range(m.theta.size)]
