"""A fit as strict JSON: numbers at full precision, null where there is none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["as_json", "records"]


def as_json(m: Any) -> dict[str, Any]:
    """Coefficients, variances, statistics, certificate and notes of a fit.

    Parameters
    ----------
    m
        A FittedModel or GeneralizedModel.

    Examples
    --------
    >>> import mixwell as mw
    >>> m = mw.lm("Reaction ~ Days", mw.data.load("sleepstudy", "dict"))
    >>> as_json(m)["statistics"]["nobs"]
    180
    """
    import mixwell as mw  # noqa: PLC0415

    certificate = m.certificate()
    family = getattr(m, "family", None)
    return {
        "formula": str(m.formula),
        "family": "gaussian" if family is None else family.name,
        "link": "identity" if family is None else family.link,
        "coefficients": records(m.tidy(level=0.95)),
        "random_effects": records(m.varcorr().tidy()) if m.is_mixed else [],
        "levels": {term.group: len(term.levels) for term in m.design.random},
        "statistics": records(m.glance())[0],
        "certificate": {"passed": certificate.passed, "checks": records(certificate.table())},
        "notes": [{"code": each.code, "text": each.text} for each in m.notes],
        "mixwell": mw.__version__,
    }


def records(table: Any) -> list[dict[str, Any]]:
    """Rows of a table of any library as dicts of plain values."""
    if isinstance(table, dict):
        rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    else:
        import narwhals as nw  # noqa: PLC0415

        rows = nw.from_native(table, eager_only=True).rows(named=True)
    return [{name: _value(value) for name, value in row.items()} for row in rows]


def _value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
