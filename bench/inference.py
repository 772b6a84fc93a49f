"""Time inference after a fit, beside R's lme4, lmerTest and pbkrtest where they can run: a Markdown table.

python bench/inference.py [--no-r]
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases import CASES
from run import run, shown

HERE = Path(__file__).parent


def median(make: Callable[[], Any], task: Callable[[Any], Any], repeats: int) -> float:
    """Median time of a task on something made anew, so that nothing is remembered."""
    seconds = []
    for _ in range(repeats + 1):
        value = make()
        start = time.perf_counter()
        task(value)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:] if repeats > 1 else seconds[-1:])


def main() -> None:
    """Print the table."""
    import mixwell as mw  # noqa: PLC0415

    sleep = mw.data.load("sleepstudy")

    def fit() -> Any:
        return mw.lmer("Reaction ~ Days + (Days | Subject)", sleep)

    tasks: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "bootstrap": (
            "sleepstudy: 1,000 parametric bootstrap replicates",
            lambda m: m.bootstrap(1000, seed=1, progress=False),
        ),
        "profile": ("sleepstudy: profile intervals of all six parameters", lambda m: m.confint()),
        "satterthwaite": ("sleepstudy: Satterthwaite's table of coefficients", lambda m: m.tidy()),
        "kenward_roger": (
            "sleepstudy: Kenward-Roger's table of coefficients",
            lambda m: m.tidy(ddf="kenward-roger"),
        ),
        "influence": ("sleepstudy: refits without each subject", lambda m: m.influence("Subject").table()),
    }
    print("| task | R | mixwell | R / mixwell |\n|---|---|---|---|")
    for name, (title, task) in tasks.items():
        ours = median(fit, task, 7)
        theirs = None if "--no-r" in sys.argv else run(["Rscript", str(HERE / "inference.R"), name])
        row(title, None if theirs is None else theirs["seconds"], ours)

    plan = mw.crossed(subject=30, item=30, within={"cond": ["a", "b"]})
    effects = {"(Intercept)": 0.0, "condb": 0.3}
    sds = {
        "subject": {"(Intercept)": 0.5, "condb": 0.3},
        "item": {"(Intercept)": 0.3, "condb": 0.2},
    }
    row(
        "30 subjects x 30 items, slopes for both: 1,000 simulated fits with Satterthwaite tests",
        None,
        median(
            lambda: None,
            lambda _: mw.power("y ~ cond + (cond | subject) + (cond | item)", plan, effects, sds, seed=1),
            1,
        ),
    )

    import pandas as pd  # noqa: PLC0415

    case = next(case for case in CASES if case.name == "insteval")
    rows = pd.read_csv(case.prepare()).astype(dict.fromkeys(("s", "d", "dept"), "category"))
    large = median(lambda: mw.lmer(case.formula, rows), lambda m: m.tidy(ddf="kenward-roger"), 1)
    row("InstEval, 73 k rows: Kenward-Roger's table of coefficients (pbkrtest cannot)", None, large)
    print(
        f"\nPeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"
    )


def row(title: str, theirs: float | None, ours: float) -> None:
    """Print one line."""
    other = ("-", "-") if theirs is None else (shown(theirs), f"{theirs / ours:,.0f}x")
    print(f"| {title} | {other[0]} | {shown(ours)} | {other[1]} |", flush=True)


if __name__ == "__main__":
    main()
