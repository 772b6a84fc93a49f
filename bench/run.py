"""Time mixwell, glmm and lme4 in one run, as a Markdown table: python bench/run.py [case ...] [--slow].

Every package runs in its own process on the same rows. Cases that take lme4 minutes are read from
lme4_slow.json unless --slow asks for them again.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import venv
from datetime import date
from pathlib import Path
from typing import Any

from cases import CASES, RESULTS, Case

HERE = Path(__file__).parent
SLOW = HERE / "lme4_slow.json"
GLMM = "glmm==0.6.2"


def run(command: list[str], limit: float) -> dict[str, Any] | None:
    """Run a command that prints JSON as its last line; None when it fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, FileNotFoundError) as failure:
        print(f"  {command[0]}: {type(failure).__name__}", file=sys.stderr)
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


def lme4(case: Case, path: Path, slow: bool) -> dict[str, Any] | None:
    """lme4 now, or what was stored of a case that takes minutes."""
    stored = json.loads(SLOW.read_text()) if SLOW.exists() else {}
    if case.slow_in_r and not slow:
        return stored.get(case.name)
    repeats = "1" if case.slow_in_r else str(min(case.repeats, 3))
    result = run(["Rscript", str(HERE / "lme4.R"), str(path), case.formula, repeats], 3_600)
    if case.slow_in_r and result is not None:
        stored[case.name] = {**result, "date": date.today().isoformat(), "machine": platform.machine()}
        SLOW.write_text(json.dumps(stored, indent=1) + "\n")
    return result


def shown(seconds: float | None) -> str:
    """Seconds in a unit that reads well."""
    if seconds is None:
        return "-"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def ratio(theirs: dict[str, Any] | None, ours: float) -> str:
    """How many times longer they take."""
    return "-" if theirs is None else f"{theirs['seconds'] / ours:.3g}x"


def first_call() -> float:
    """Process start to fitted sleepstudy, imports included; the best of five."""
    fit = "mw.lmer('Reaction ~ Days + (Days | Subject)', mw.data.load('sleepstudy')).fixef"
    code = f"import mixwell as mw; {fit}"
    script = (
        "import subprocess, sys, time\n"
        "best = 1e9\n"
        "for _ in range(5):\n"
        "    start = time.perf_counter()\n"
        f"    subprocess.run([sys.executable, '-c', {code!r}], check=True)\n"
        "    best = min(best, time.perf_counter() - start)\n"
        "print(best)"
    )
    return float(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--slow", action="store_true", help="also run lme4 where it takes minutes")
    options = parser.parse_args()
    print(
        "| case | lme4 | glmm | mixwell | lme4 / mixwell | glmm / mixwell | search | evaluations | target |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    details = []
    for case in CASES:
        if case.name not in options.cases:
            continue
        path = case.prepare()
        worker = [str(HERE / "worker.py")]
        arguments = [str(path), case.formula, str(case.repeats)]
        ours = run([sys.executable, *worker, "mixwell", *arguments], 600)
        theirs = run([glmm_python(), *worker, "glmm", *arguments], 600)
        r = lme4(case, path, options.slow)
        if ours is None:
            raise SystemExit(f"mixwell failed on {case.name}")
        star = "*" if r is not None and "date" in r else ""
        print(
            f"| {case.title} | {shown(r and r['seconds'])}{star} | {shown(theirs and theirs['seconds'])} "
            f"| {shown(ours['seconds'])} | {ratio(r, ours['seconds'])} | {ratio(theirs, ours['seconds'])} "
            f"| {shown(ours['search'])} | {ours['evaluations']} | {case.target} |",
            flush=True,
        )
        criteria = [
            f"{name} {result['criterion']:.6f}"
            for name, result in (("lme4", r), ("glmm", theirs), ("mixwell", ours))
            if result is not None
        ]
        details.append(
            f"{case.name}: criterion {', '.join(criteria)}; memory {ours['memory']:.2f} x its columns"
        )
    print("\n* stored from an earlier run (lme4_slow.json). Whole calls: formula to coefficients.\n")
    print("\n".join(details))
    if "sleepstudy" in options.cases:
        print(f"first call of a process, imports included: {shown(first_call())}")


if __name__ == "__main__":
    main()
