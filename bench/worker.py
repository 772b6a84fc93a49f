"""Fits one case with one Python package and prints JSON: python worker.py mixwell|glmm file formula repeats.

Runs in its own process, so that memory and imports are those of this package alone.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

# Grouping columns: every package gets them as a factor, so that none is timed on reading labels.
GROUPS = ("Subject", "school", "lea", "s", "d", "dept", "subject", "item", "g", "user")


def read(path: Path) -> Any:
    """Return the rows as a pandas frame."""
    import pandas as pd  # noqa: PLC0415

    frame = pd.read_csv(path)
    return frame.astype({name: "category" for name in GROUPS if name in frame})


def settle() -> int:
    """Give freed memory back and start a new peak (on Linux); return the resident memory in bytes."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    return peak()


def peak() -> int:
    """Peak resident memory in bytes, since `settle` where the system can say."""
    try:
        return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(call: Any, repeats: int) -> tuple[Any, float]:
    """Return the last value of `call` and its median time."""
    value, seconds, _ = timed_both(call, repeats)
    return value, seconds


def timed_both(call: Any, repeats: int) -> tuple[Any, float, float]:
    """Return the last value, median time and median CPU time; no more repeats after half a minute."""
    seconds: list[float] = []
    cpu: list[float] = []
    while len(seconds) < repeats and sum(seconds) < 30:
        start, busy = time.perf_counter(), time.process_time()
        value = call()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    return value, statistics.median(seconds), statistics.median(cpu)


def measured(whole: Any, repeats: int) -> tuple[Any, dict[str, float]]:
    """Memory and time of the first whole call, then the median time of repeated ones."""
    before = settle()
    _, first = timed(whole, 1)
    memory = peak() - before
    value, seconds, cpu = timed_both(whole, repeats)
    return value, {"seconds": seconds, "cpu": cpu, "first": first, "memory": memory}


def mixwell(path: Path, formula: str, repeats: int) -> dict[str, Any]:
    """Whole call with coefficients and standard errors; then its stages one by one."""
    import mixwell as mw  # noqa: PLC0415
    from mixwell.design import build_design  # noqa: PLC0415
    from mixwell.fitted.result import cross_products  # noqa: PLC0415
    from mixwell.formula import parse  # noqa: PLC0415

    def whole() -> Any:
        fitted = mw.lmer(formula, frame)
        return fitted, fitted.se

    def fit_only() -> Any:
        problem = cross_products(design)
        return problem.solve(problem.optimize(True, None, 500).theta, True, False)

    frame = read(path)
    mw.lmer("y ~ x + (1 | g)", {"y": [1.0, 2.0, 4.0, 3.0], "x": [0.0, 1.0, 0.0, 2.0], "g": [0, 0, 1, 1]})
    (fitted, _), result = measured(whole, repeats)
    criterion = fitted.optimization.criterion
    del fitted
    blanks = itertools.count(1)  # a formula already seen would not be parsed again
    parsed, t_formula = timed(lambda: parse(formula + " " * next(blanks)), repeats)
    design, t_design = timed(lambda: build_design(parsed, frame), repeats)
    problem, t_cross = timed(lambda: cross_products(design), repeats)
    optimum, t_search = timed(lambda: problem.optimize(True, None, 500), repeats)
    _, t_solve = timed(lambda: problem.solve(optimum.theta, True, False), repeats)
    _, t_fit = timed(fit_only, repeats)
    stages = {
        "formula": t_formula,
        "design": t_design,
        "cross-products": t_cross,
        "search": t_search,
        "solution": t_solve,
    }
    extra = {"criterion": criterion, "evaluations": optimum.evaluations, "version": mw.__version__}
    return result | extra | {"fit": t_fit, "stages": stages}


def glmm(path: Path, formula: str, repeats: int) -> dict[str, Any]:
    """Whole call, without degrees of freedom."""
    import warnings  # noqa: PLC0415
    from importlib.metadata import version  # noqa: PLC0415

    import glmm as package  # noqa: PLC0415

    warnings.simplefilter("ignore")
    frame = read(path)
    small = {"y": [1.0, 2.0, 4.0, 3.0] * 3, "x": [0.0, 1.0, 0.0, 2.0] * 3, "g": ["a", "b", "c"] * 4}
    package.fit(small, "y ~ x + (1 | g)", reml=True, satterthwaite=False)
    fitted, result = measured(lambda: package.fit(frame, formula, reml=True, satterthwaite=False), repeats)
    extra = {"criterion": -2 * fitted.loglik, "evaluations": fitted.n_eval, "version": version("glmm")}
    return result | extra


if __name__ == "__main__":
    name, file, text, count = sys.argv[1:5]
    print(json.dumps({"mixwell": mixwell, "glmm": glmm}[name](Path(file), text, int(count))))
