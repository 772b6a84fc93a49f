"""Time mixwell, glmm and lme4 in one run, as Markdown tables.

    python bench/run.py [case ...] [--slow | --no-lme4]

Every package runs in its own process on the same rows. Cases that take lme4 minutes are read from
lme4_slow.json unless --slow asks for them again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from cases import CASES, RESULTS, Case

HERE = Path(__file__).parent
SLOW = HERE / "lme4_slow.json"
GLMM = "glmm==0.6.2"
LIMIT = 900  # seconds for one process
PACKAGES = ("lme4", "glmm", "mixwell")
SLEEP = "Reaction ~ Days + (Days | Subject)"

Result = dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Measured:
    """A case with what every package returned for it, in the order of PACKAGES; None where it failed."""

    case: Case
    path: Path
    results: tuple[Result, Result, Result]

    def of(self, key: str) -> tuple[Any, Any, Any]:
        """One number of every package."""
        lme4, glmm, mixwell = (None if r is None else r.get(key) for r in self.results)
        return lme4, glmm, mixwell


# --- running --------------------------------------------------------------------------------------------


def run(command: list[str]) -> Result:
    """Run a command that prints JSON as its last line; None when it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, FileNotFoundError) as failure:
        print(f"  {command[0]}: {type(failure).__name__}", file=sys.stderr)
        print(str(getattr(failure, "stderr", ""))[-500:], file=sys.stderr)
        return None
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def glmm_python() -> str:
    """Python of an environment of its own with the package that we compare with."""
    home = RESULTS / "venv-glmm"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", GLMM, "pandas"], check=True)
    return str(python)


def machine() -> str:
    """Processor and number of processors."""
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return f"{found.group(1) if found else os.uname().machine}, {os.cpu_count()} processors"


def lme4(case: Case, path: Path, *, slow: bool) -> Result:
    """lme4 now, or what was stored of a case that takes minutes."""
    stored = json.loads(SLOW.read_text()) if SLOW.exists() else {}
    if case.slow_in_r and not slow:
        return stored.get(case.name)
    repeats = "1" if case.slow_in_r else str(min(case.repeats, 3))
    result = run(["Rscript", str(HERE / "lme4.R"), str(path), case.formula, repeats])
    if case.slow_in_r and result is not None:
        stored[case.name] = {**result, "date": date.today().isoformat(), "machine": machine()}
        SLOW.write_text(json.dumps(stored, indent=1) + "\n")
    return result


def measure(case: Case, options: argparse.Namespace) -> Measured:
    """Run the three packages on one case."""
    path = case.prepare()
    arguments = [str(path), case.formula, str(case.repeats)]
    worker = str(HERE / "worker.py")
    return Measured(
        case,
        path,
        (
            None if options.no_lme4 else lme4(case, path, slow=options.slow),
            run([glmm_python(), worker, "glmm", *arguments]),
            run([sys.executable, worker, "mixwell", *arguments]),
        ),
    )


def first_calls(path: Path, *, no_lme4: bool) -> list[float | None]:
    """Process start to printed summary of sleepstudy, in the order of PACKAGES: medians of seven."""
    table = f"pandas.read_csv({str(path)!r}).astype({{'Subject': 'category'}})"
    r = (
        f"suppressMessages(library(lme4)); d <- read.csv('{path}'); d$Subject <- factor(d$Subject); "
        f"print(summary(lmer({SLEEP}, d)))"
    )
    ours = f"import pandas, mixwell as mw; print(mw.lmer('{SLEEP}', {table}))"
    theirs = f"import pandas, glmm; print(glmm.fit({table}, '{SLEEP}', satterthwaite=False).summary)"
    commands = [["Rscript", "-e", r], [glmm_python(), "-c", theirs], [sys.executable, "-c", ours]]
    return [None if command[0] == "Rscript" and no_lme4 else process_seconds(command) for command in commands]


def process_seconds(command: list[str], repeats: int = 7) -> float | None:
    """Median time of a process; None when it cannot run."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        try:
            subprocess.run(command, capture_output=True, check=True)
        except (subprocess.CalledProcessError, FileNotFoundError):
            return None
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


# --- printing -------------------------------------------------------------------------------------------


def shown(seconds: float | None) -> str:
    """Seconds in a unit that reads well."""
    if seconds is None:
        return "-"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def ratio(theirs: float | None, ours: float | None) -> str:
    """How many times longer they take."""
    return "-" if theirs is None or ours is None else f"{theirs / ours:.3g}x"


def row(*cells: object) -> None:
    """Print one row of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def header(*cells: str) -> None:
    """Print the head of a Markdown table."""
    print()
    row(*cells)
    print("|" + "---|" * len(cells))


def times(
    title: str, seconds: list[float | None] | tuple[Any, Any, Any], target: str, star: str = ""
) -> None:
    """Print a row of times with their ratios."""
    r, theirs, ours = seconds
    row(
        title,
        shown(r) + star,
        shown(theirs),
        shown(ours),
        ratio(r, ours),
        ratio(theirs, ours),
        target,
    )


def columns_read(measured: Measured) -> int:
    """Bytes of the columns that the formula reads, 8 a number."""
    with measured.path.open() as file:
        names = file.readline().replace('"', "").strip().split(",")
        rows = sum(1 for _ in file)
    return 8 * rows * len(set(names) & set(re.findall(r"\w+", measured.case.formula)))


def details(measured: list[Measured]) -> None:
    """Print criteria, CPU times, memory and stages."""
    header(
        "case", *(f"criterion, {name}" for name in PACKAGES), *(f"evaluations, {name}" for name in PACKAGES)
    )
    for m in measured:
        criteria = ("-" if value is None else f"{value:.6f}" for value in m.of("criterion"))
        row(m.case.name, *criteria, *("-" if value is None else value for value in m.of("evaluations")))
    header("case", *(f"CPU, {name}" for name in PACKAGES), "mixwell, CPU / time")
    for m in measured:
        cpu, seconds = m.of("cpu"), m.of("seconds")
        row(m.case.name, *(shown(value) for value in cpu), ratio(cpu[2], seconds[2]))
    header("case", "MB of its columns", *(f"extra MB, {name}" for name in PACKAGES), "mixwell / columns")
    for m in measured:
        size, extra = columns_read(m), m.of("memory")
        share = "-" if extra[2] is None else f"{extra[2] / size:.3g}x"
        row(
            m.case.name,
            f"{size / 1e6:.3g}",
            *("-" if value is None else f"{value / 1e6:.3g}" for value in extra),
            share,
        )
    names = ("formula", "design", "cross-products", "search", "solution")
    header("stages of mixwell", *names, "whole call", "whole call, first")
    for m in measured:
        ours = m.results[2]
        if ours is not None:
            stages = (shown(ours["stages"][name]) for name in names)
            row(m.case.name, *stages, shown(ours["seconds"]), shown(ours["first"]))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--slow", action="store_true", help="also run lme4 where it takes minutes")
    parser.add_argument("--no-lme4", action="store_true", help="neither run lme4 nor show what is stored")
    options = parser.parse_args()
    header("case", *PACKAGES, "lme4 / mixwell", "glmm / mixwell", "target")
    measured = []
    for case in CASES:
        if case.name not in options.cases:
            continue
        m = measure(case, options)
        measured.append(m)
        r = m.results[0]
        star = "*" if r is not None and "date" in r and not options.slow else ""
        if case.name == "sleepstudy":
            times("sleepstudy, 180 rows: fit only, after the formula", m.of("fit"), "0.1 ms")
            times("sleepstudy: whole call, repeated", m.of("seconds"), case.target)
            first = first_calls(m.path, no_lme4=options.no_lme4)
            times("sleepstudy: process start to printed summary", first, "0.8 s")
        else:
            times(case.title, m.of("seconds"), case.target, star)
    versions = [
        next((str(m.results[i]["version"]) for m in measured if m.results[i] is not None), "-")  # type: ignore[index]
        for i in range(3)
    ]
    print(f"\n{', '.join(f'{n} {v}' for n, v in zip(PACKAGES, versions, strict=True))}; {machine()}.")
    print(
        "Whole calls from formula to standard errors, medians; * stored by an earlier run in lme4_slow.json."
    )
    details(measured)


if __name__ == "__main__":
    main()
