"""The response of a model, read as its family wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixwell.design.contrasts import level_text
from mixwell.errors import Note, error, note
from mixwell.formula import Call, Formula, label

if TYPE_CHECKING:
    from mixwell.design.columns import Encoder
    from mixwell.design.frame import Labels
    from mixwell.families import Family

__all__ = ["Response", "check_range", "read_response", "refuse_constant"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """What was read.

    Attributes
    ----------
    y
        Values (n,); shares of successes, positions of categories.
    trials
        Numbers of trials (n,), or None.
    categories
        Labels of an ordinal response.
    notes
        Which level of two is a success.
    """

    y: Floats
    trials: Floats | None = None
    categories: Labels = ()
    notes: tuple[Note, ...] = ()


# What a response must be: test, words, advice.
_RANGES: dict[str, tuple[Callable[[Floats], Any], str, str]] = {
    "binary": (
        lambda y: (y >= 0) & (y <= 1),
        "between 0 and 1",
        "Write 0 and 1, shares with weights= trials, or cbind(successes, failures).",
    ),
    "count": (
        lambda y: (y >= 0) & (y == np.round(y)),
        "a whole number from 0 on",
        "Counts are whole; for amounts use family='gamma' or 'tweedie', for rates an offset.",
    ),
    "positive": (lambda y: y > 0, "positive", "For zeros besides use family='tweedie' or ziformula=."),
    "nonnegative": (lambda y: y >= 0, "zero or positive", "Check the sign."),
    "share": (
        lambda y: (y > 0) & (y < 1),
        "strictly between 0 and 1",
        "Shares of 0 or 1 need family='binomial' or 'betabinomial' with numbers of trials.",
    ),
}


def read_response(
    encoder: Encoder, formula: Formula, family: Family, row: Callable[[int], int], *, weighted: bool = False
) -> Response:
    """Read the response; `weighted` says that there are weights, which may be numbers of trials.

    Raises
    ------
    MixwellError
        MW-F02 without a response, MW-D09 for a kind of column that cannot be one, MW-D28 for a value out of
        range, MW-D29 for a number of categories that does not suit, MW-D30 for cbind() elsewhere than in
        binomial models, MW-D31 for shares without numbers of trials.
    """
    from mixwell.design.columns import Factor  # noqa: PLC0415  (which imports this package)

    response = formula.response
    if response is None:
        raise error("MW-F02", side=" to the left of '~'", text=formula.text, span=(0, 1))
    where = {"text": formula.text, "span": response.span}
    if isinstance(response, Call) and response.function == "cbind":
        if family.kind != "binary":
            raise error("MW-D30", family=family.name, **where)
        hits, misses = (encoder.numeric(arg) for arg in response.args)
        for part, values in zip(response.args, (hits, misses), strict=True):
            check_range("count", f"'{label(part)}'", values, row)
        trials = hits + misses
        shares = np.divide(hits, trials, out=np.zeros_like(hits), where=trials > 0)
        return Response(shares, trials)
    value = encoder.value(response)
    if family.kind == "ordered":
        codes, levels = encoder.grouping(response)
        if len(levels) < 2:
            raise error("MW-D29", response=label(response), count=len(levels), expected="at least 2", **where)
        return Response(codes.astype(np.float64), categories=levels)
    if isinstance(value, Factor):
        if family.kind == "binary" and len(value.levels) == 2:
            named = tuple(level_text(level) for level in value.levels)
            said = note("MW-W11", response=label(response), level=named[1], other=named[0])
            return Response((value.codes == 1).astype(np.float64), notes=(said,))
        if family.kind == "binary":
            raise error("MW-D29", response=label(response), count=len(value.levels), expected="2", **where)
        advice = "The response must be numeric."
        if value.kind == "boolean":
            advice = "Convert it to 0 and 1 first, and mind that a model for a yes/no response is binomial."
        kind = {"string": "text", "datetime": "dates"}.get(value.kind, value.kind)
        raise error("MW-D09", what=f"the response '{label(response)}'", kind=kind, advice=advice, **where)
    y = encoder.numeric(response)
    if family.kind != "real":
        kind = "nonnegative" if family.kind == "positive" and family.zero else family.kind
        check_range(kind, f"the response '{label(response)}'", y, row)
        if family.name.startswith("truncated") and not family.zero and (y == 0).any():
            at = int(np.flatnonzero(y == 0)[0])
            advice = "A truncated family has no zeros: add ziformula='~ 1' for a hurdle model."
            what, at_row = f"the response '{label(response)}'", row(at)
            raise error("MW-D28", what=what, expected="positive", value=0.0, row=at_row, advice=advice)
    if family.kind == "binary" and not weighted and not family.is_quasi:
        shares = np.flatnonzero((y > 0) & (y < 1))
        if shares.size:
            at = int(shares[0])
            raise error("MW-D31", response=label(response), value=float(y[at]), row=row(at), **where)
    return Response(y)


def refuse_constant(formula: Formula, family: Family, response: Response, offset: Floats | None) -> None:
    """Refuse a response in which nothing is left to estimate (MW-D11).

    A constant leaves no variance to estimate; of counts and shares only those at the end of their range,
    which all estimates would have to run after, are refused.
    """
    assert formula.response is not None
    y, less = response.y, ""
    if response.trials is not None and (response.trials > 0).any():
        y = y[response.trials > 0]
    if offset is not None and family.kind == "real" and family.link == "identity":
        y, less = y - offset, " - offset"
    value = float(y[0])
    if y.min() != y.max():
        return
    ends: tuple[float, ...] = (value,)
    if family.kind == "binary":
        ends = (0.0, 1.0)
    elif family.kind == "count":
        ends = (0.0, 1.0) if family.name.startswith("truncated") else (0.0,)
    if value in ends and family.kind != "ordered":
        raise error("MW-D11", response=label(formula.response) + less, value=value, n=len(y))


def check_range(kind: str, what: str, y: Floats, row: Callable[[int], int]) -> None:
    """Refuse values that a kind of response cannot have (MW-D28)."""
    test, expected, advice = _RANGES[kind]
    bad = np.flatnonzero(~test(y))
    if bad.size:
        at = int(bad[0])
        raise error("MW-D28", what=what, expected=expected, value=float(y[at]), row=row(at), advice=advice)
