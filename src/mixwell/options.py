"""Options of the public functions: checked once, from the types that document them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixwell.errors import error

__all__ = ["Control", "Family", "Method", "NaAction", "checked", "choice"]

Method = Literal["REML", "ML"]
NaAction = Literal["drop", "fail"]
Family = Literal["gaussian"]

P = ParamSpec("P")
R = TypeVar("R")


def choice(option: str, given: object, allowed: Sequence[str]) -> None:
    """Refuse an option that is not one of its values."""
    if not isinstance(given, str) or given not in allowed:
        given = type(given) if isinstance(given, list | tuple | set) else given  # shown as it is, not joined
        raise error("MW-A02", option=option, given=given, allowed=[repr(each) for each in allowed])


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Turn an unknown keyword of a public function into an error that suggests the nearest one."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    known = frozenset(names)
    owner = f"{function.__qualname__.removesuffix('.__init__')}()"
    offered = tuple(name for name in names if name not in ("m", "self"))

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if not known.issuperset(kwargs):
            unknown = next(name for name in kwargs if name not in known)
            if unknown == "REML" and "method" in known:
                raise error("MW-A17", owner=owner, given=kwargs["REML"])
            raise error("MW-A01", owner=owner, name=unknown, available=offered)
        return function(*args, **kwargs)

    return guarded


@dataclass(frozen=True, slots=True)
class Control:
    """How the search for the optimum is run. The defaults suit all but curious users.

    Attributes
    ----------
    max_evaluations
        Evaluations of the criterion after which the search gives up, with a warning.
    start
        Starting value of theta; by default the core chooses.

    Examples
    --------
    >>> Control(max_evaluations=50).max_evaluations
    50
    """

    max_evaluations: int = 500
    start: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        limit = self.max_evaluations
        if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or not 0 < limit < 2**31:
            raise error("MW-A07", option="max_evaluations", expected="a positive whole number", given=limit)
        if self.start is not None:
            object.__setattr__(self, "start", _start(self.start))

    def start_array(self) -> NDArray[np.float64] | None:
        """Return the start as an array (T,), or None."""
        return None if self.start is None else np.array(self.start, dtype=np.float64)


def _start(start: Any) -> tuple[float, ...]:
    try:
        values = np.array(start, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.full(1, np.nan)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise error("MW-A07", option="start", expected="a sequence of finite numbers", given=start)
    return tuple(values.tolist())


Control.__init__ = checked(Control.__init__)  # type: ignore[method-assign]
