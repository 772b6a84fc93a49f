"""The models that are timed, with seeded data, written once so that every package reads the same rows."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

EIGHT = "prime + load + noise + pl + pn + ln + pln"  # with the intercept
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Case:
    """A formula and the rows it is fitted to; `repeats` fits are timed and the median kept."""

    name: str
    title: str
    formula: str
    make: Callable[[Path], None]
    repeats: int
    target: str
    slow_in_r: bool = False

    @property
    def path(self) -> Path:
        """The CSV file of the case."""
        return RESULTS / f"{self.name}.csv"

    def prepare(self) -> Path:
        """Write the rows unless they are there."""
        RESULTS.mkdir(exist_ok=True)
        if not self.path.exists():
            self.make(self.path)
        return self.path


def _write(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    csv.write_csv(pa.table(columns), path)


def _shipped(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        import mixwell as mw  # noqa: PLC0415

        table = mw.data.load(name, "dict")
        _write(path, {key: np.asarray(values) for key, values in table.items()})

    return make


def _recognition(path: Path) -> None:
    """The shipped crossed experiment with its products as columns: not every package has a:b there."""
    import mixwell as mw  # noqa: PLC0415

    table = {key: np.asarray(values) for key, values in mw.data.load("recognition", "dict").items()}
    p, q, r = (table[name] for name in ("prime", "load", "noise"))
    _write(path, {**table, "pl": p * q, "pn": p * r, "ln": q * r, "pln": p * q * r})


def _from_r(expression: str) -> Callable[[Path], None]:
    """Export a data set of an R package."""

    def make(path: Path) -> None:
        if shutil.which("Rscript") is None:
            raise SystemExit(f"{path.name} is exported from R, which is not installed")
        code = f'd <- {expression}; write.csv(d, "{path}", row.names = FALSE, quote = FALSE)'
        subprocess.run(["Rscript", "-e", code], check=True)

    return make


def _large(path: Path) -> None:
    """One million rows, 100,000 groups, a random intercept and slope, five fixed effects."""
    rng = np.random.default_rng(1)
    n, levels = 1_000_000, 100_000
    g = rng.integers(0, levels, n)
    x = rng.normal(size=(4, n))
    b = rng.normal(size=(levels, 2)) * [1.0, 0.5]
    y = 1 + x.sum(axis=0) + b[g, 0] + b[g, 1] * x[0] + rng.normal(size=n)
    _write(path, {"y": y, **{f"x{j + 1}": column for j, column in enumerate(x)}, "g": g})


def _ratings(path: Path) -> None:
    """One million ratings, 6,040 users times 3,706 items, popularity by a power law."""
    rng = np.random.default_rng(2)
    n, users, items = 1_000_000, 6_040, 3_706
    activity = rng.dirichlet(np.full(users, 0.8))
    popularity = 1.0 / (np.arange(items) + 10.0)
    user = rng.choice(users, n, p=activity)
    item = rng.choice(items, n, p=popularity / popularity.sum())
    user[:users], item[:items] = np.arange(users), np.arange(items)
    effects = 0.4 * rng.normal(size=users)[user] + 0.6 * rng.normal(size=items)[item]
    _write(path, {"rating": 3.5 + effects + 0.9 * rng.normal(size=n), "user": user, "item": item})


CASES = (
    Case(
        "sleepstudy",
        "sleepstudy, 180 rows, random slope",
        "Reaction ~ Days + (Days | Subject)",
        _shipped("sleepstudy"),
        30,
        "1 ms",
    ),
    Case(
        "chem97",
        "Chem97, 31 k rows, schools and authorities",
        "score ~ gcsecnt + (1 | school) + (1 | lea)",
        _from_r("mlmRev::Chem97[, c('score', 'gcsecnt', 'school', 'lea')]"),
        9,
        "40 ms",
    ),
    Case(
        "insteval",
        "InstEval, 73 k rows, three crossed factors",
        "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)",
        _from_r(
            "within(lme4::InstEval[, c('y', 'service', 's', 'd', 'dept')], "
            "service <- as.integer(service) - 1L)"
        ),
        5,
        "0.4 s",
    ),
    Case(
        "recognition",
        "56 subjects x 32 items, 72 theta",
        f"rt ~ {EIGHT} + ({EIGHT} | subject) + ({EIGHT} | item)",
        _recognition,
        5,
        "0.2 s",
        slow_in_r=True,
    ),
    Case(
        "large",
        "1 M rows, 100 k groups, intercept and slope",
        "y ~ x1 + x2 + x3 + x4 + (x1 | g)",
        _large,
        5,
        "0.25 s",
    ),
    Case(
        "ratings",
        "1 M ratings, 6,040 users x 3,706 items",
        "rating ~ 1 + (1 | user) + (1 | item)",
        _ratings,
        2,
        "10 s",
        slow_in_r=True,
    ),
)
