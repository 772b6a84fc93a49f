"""Time generalised mixed models beside lme4, glmmTMB and glmm where they can run: a Markdown table.

python bench/generalised.py [--no-r]       (--worker is for its own processes)
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cases import RESULTS
from run import glmm_python, run, shown

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class GeneralCase:
    """A model with the rows it is fitted to."""

    name: str
    title: str
    formula: str
    rows: Callable[[], dict[str, Any]] | Path
    repeats: int = 5
    family: str = "binomial"
    weights: str = "-"


def slopes() -> dict[str, Any]:
    """100,000 binary rows in 2,000 groups with a random slope."""
    rng = np.random.default_rng(1)
    n, levels = 100_000, 2000
    g, x = rng.integers(0, levels, n), rng.normal(size=n)
    b = rng.normal(size=(levels, 2)) * [0.8, 0.4]
    eta = -0.3 + 0.5 * x + b[g, 0] + b[g, 1] * x
    return {"y": rng.binomial(1, 1 / (1 + np.exp(-eta))), "x": x, "g": np.char.add("g", g.astype(str))}


def many(columns: int) -> Callable[[], dict[str, Any]]:
    """6,000 negative binomial rows in 200 groups, with few or many fixed effects."""

    def rows() -> dict[str, Any]:
        rng = np.random.default_rng(5)
        n, levels = 6000, 200
        g, X = rng.integers(0, levels, n), rng.normal(size=(n, 30))
        b = rng.normal(size=(levels, 2)) * [0.8, 0.3]
        eta = -0.3 + X @ (0.2 * rng.normal(size=30)) + b[g, 0] + b[g, 1] * X[:, 0]
        table = {"y": rng.negative_binomial(2, 2 / (2 + np.exp(eta))), "g": np.char.add("g", g.astype(str))}
        return table | {f"x{j}": X[:, j] for j in range(columns)}

    return rows


def columns_formula(count: int) -> str:
    """Formula of `many`."""
    return f"y ~ {' + '.join(f'x{j}' for j in range(count))} + (x0 | g)"


DATA = HERE.parent / "tests" / "reference" / "data"
CASES = (
    GeneralCase("slopes", "100 k binary rows, 2,000 groups, random slope", "y ~ x + (x | g)", slopes, 3),
    GeneralCase(
        "verbagg",
        "VerbAgg: 7,584 binary rows, 316 persons crossed with 24 items",
        "y ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
        RESULTS / "verbagg.csv",
    ),
    GeneralCase(
        "cbpp",
        "cbpp: 56 rows, 15 herds",
        "proportion ~ period + (1 | herd)",
        DATA / "cbpp.csv",
        15,
        weights="size",
    ),
    GeneralCase(
        "three", "6 k negative binomial rows, 3 fixed effects", columns_formula(3), many(3), 5, "nbinom2"
    ),
    GeneralCase("thirty", "the same with 30 fixed effects", columns_formula(30), many(30), 3, "nbinom2"),
)
GROUPS = ("g", "id", "item", "herd", "period", "Gender", "btype", "situ")


def prepare(case: GeneralCase) -> Path:
    """Write the rows of a case once; those of VerbAgg come from R's lme4."""
    path = case.rows if isinstance(case.rows, Path) else RESULTS / f"{case.name}.csv"
    if path.exists():
        return path
    RESULTS.mkdir(exist_ok=True)
    if isinstance(case.rows, Path):
        run(["Rscript", str(HERE / "generalised.R"), "export", str(path)])
        return path
    import pandas as pd  # noqa: PLC0415

    pd.DataFrame(case.rows()).to_csv(path, index=False)
    return path


def median(call: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Value and median time of whole calls after a first one."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = call()
        seconds.append(time.perf_counter() - start)
    return value, statistics.median(seconds)


def worker(package: str, *arguments: str) -> None:
    """Fit one case with one Python package and print JSON."""
    import pandas as pd  # noqa: PLC0415

    warnings.simplefilter("ignore")
    file, formula, family, weights, repeats = arguments
    frame = pd.read_csv(file)
    frame = frame.astype({name: "category" for name in GROUPS if name in frame})
    if package == "glmm":
        import glmm  # noqa: PLC0415

        options: dict[str, Any] = {"family": "negativebinomial" if family == "nbinom2" else family}
        if weights != "-":
            options["weights"] = frame[weights].to_numpy(float)
        fitted, seconds = median(lambda: glmm.fit(frame, formula, **options), int(repeats))
        print(json.dumps({"seconds": seconds, "loglik": fitted.loglik, "evaluations": fitted.n_eval}))
        return
    import mixwell as mw  # noqa: PLC0415

    def whole() -> Any:
        m = mw.glmer(formula, frame, family=family, weights=None if weights == "-" else weights)
        return m, m.se

    (m, _), seconds = median(whole, int(repeats))
    result = {"seconds": seconds, "loglik": m.loglik, "evaluations": m.core["evaluations"]}
    if "herd" in formula:
        _, result["bootstrap"] = median(lambda: m.bootstrap(1000, seed=1, progress=False), 3)
    print(json.dumps(result))


def main() -> None:
    """Print the table."""
    titles = ("case", "lme4", "glmmTMB", "glmm", "mixwell", "lme4 / ours", "glmmTMB / ours", "glmm / ours")
    print(f"| {' | '.join(titles)} | loglik less ours: lme4, glmmTMB, glmm | evaluations |")
    print("|" + "---|" * (len(titles) + 2))
    boot = None
    for case in CASES:
        path = str(prepare(case))
        arguments = [path, case.formula, case.family, case.weights, str(case.repeats)]
        mine = [str(Path(__file__)), "--worker"]
        # glmer.nb takes minutes on the last two cases.
        packages = ("lme4", "glmmTMB") if case.family == "binomial" else ("glmmTMB",)
        r = [
            run(["Rscript", str(HERE / "generalised.R"), name, *arguments])
            if name in packages and "--no-r" not in sys.argv
            else None
            for name in ("lme4", "glmmTMB")
        ]
        theirs = [*r, run([glmm_python(), *mine, "glmm", *arguments])]
        ours = run([sys.executable, *mine, "mixwell", *arguments])
        if ours is None:
            continue
        boot = ours.get("bootstrap", boot)
        times = ["-" if each is None else shown(each["seconds"]) for each in theirs]
        ratios = ["-" if each is None else f"{each['seconds'] / ours['seconds']:,.1f}x" for each in theirs]
        off = ["-" if each is None else f"{each['loglik'] - ours['loglik']:.1e}" for each in theirs]
        row = [case.title, *times, shown(ours["seconds"]), *ratios, ", ".join(off), str(ours["evaluations"])]
        print(f"| {' | '.join(row)} |", flush=True)
    if boot is not None:
        print(f"\n1,000 parametric bootstrap replicates of cbpp: {shown(boot)}.")


if __name__ == "__main__":
    if "--worker" in sys.argv:
        worker(*sys.argv[sys.argv.index("--worker") + 1 :])
    else:
        main()
