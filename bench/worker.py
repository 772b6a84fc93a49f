"""Fits one case with one Python package and prints JSON: python worker.py mixwell|glmm case [repeats].

Runs in its own process, so that memory and imports are those of this package alone.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

# Columns that are grouping factors in CSV files whose labels look like numbers.
GROUPS = ("Subject", "school", "lea", "s", "d", "dept", "subject", "item", "g", "user")


def read(path: Path, *, text: bool) -> Any:
    """Return the rows as a pandas frame; grouping columns as text where a package wants that."""
    import pandas as pd  # noqa: PLC0415

    frame = pd.read_csv(path)
    if text:
        for name in GROUPS:
            if name in frame:
                frame[name] = frame[name].astype(str)
    return frame


def peak(*, reset: bool = False) -> int:
    """Peak resident memory in bytes, on Linux since the last reset."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(call: Any, repeats: int) -> tuple[Any, float]:
    """Return the last value of `call` and its median time; no more repeats after half a minute."""
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) < 30:
        start = time.perf_counter()
        value = call()
        seconds.append(time.perf_counter() - start)
    return value, statistics.median(seconds)


def mixwell(path: Path, formula: str, repeats: int) -> dict[str, Any]:
    """Whole call and coefficients; then the part after the formula: cross-products and search."""
    import mixwell as mw  # noqa: PLC0415
    from mixwell.fitted.result import cross_products  # noqa: PLC0415

    def whole() -> Any:
        fitted = mw.lmer(formula, frame)
        return fitted, fitted.fixef

    frame = read(path, text=False)
    mw.lmer("y ~ x + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "x": [0.0, 1.0, 0.0, 2.0], "g": [0, 0, 1, 1]})
    before = peak(reset=True)
    (first, _), once = timed(whole, 1)
    memory = peak() - before
    (fitted, _), seconds = timed(whole, repeats)
    design = fitted.design
    problem, sums = timed(lambda: cross_products(design), repeats)
    optimum, search = timed(lambda: problem.optimize(True, None, 500), repeats)
    columns = sum(c.nbytes for c in design.columns if c is not None) + design.y.nbytes
    columns += sum(8 * term.codes.size for term in design.random)
    return {
        "seconds": seconds,
        "first": once,
        "cross": sums,
        "search": search,
        "criterion": first.optimization.criterion,
        "evaluations": optimum.evaluations,
        "memory": memory / columns,
        "version": mw.__version__,
    }


def glmm(path: Path, formula: str, repeats: int) -> dict[str, Any]:
    """Whole call, without degrees of freedom."""
    import warnings  # noqa: PLC0415
    from importlib.metadata import version  # noqa: PLC0415

    import glmm as package  # noqa: PLC0415

    warnings.simplefilter("ignore")
    frame = read(path, text=True)
    fitted, seconds = timed(lambda: package.fit(frame, formula, reml=True, satterthwaite=False), repeats)
    return {"seconds": seconds, "criterion": -2 * fitted.loglik, "version": version("glmm")}


if __name__ == "__main__":
    name, file, text, count = sys.argv[1:5]
    print(json.dumps({"mixwell": mixwell, "glmm": glmm}[name](Path(file), text, int(count))))
