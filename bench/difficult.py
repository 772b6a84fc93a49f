"""REML log-likelihoods on rescaled predictors, as a table with lme4's defaults if R is there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np

import mixwell as mw

CHANGES = {
    "2000 + Days": (2000.0, 1.0),
    "1e6 * Days": (0.0, 1e6),
    "1e-6 * Days": (0.0, 1e-6),
    "1.7e9 + 86400 * Days": (1.7e9, 86_400.0),
}


def main() -> None:
    """Print one row per change of the predictor."""
    theirs: dict[str, str] = {}
    if shutil.which("Rscript"):
        script = str(Path(__file__).with_name("difficult.R"))
        done = subprocess.run(["Rscript", script], capture_output=True, text=True, check=True)
        theirs = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    sleep = mw.data.load("sleepstudy", "dict")
    days = np.asarray(sleep["Days"], float)
    print("| x | lme4, default | mixwell |\n|---|---|---|")
    for name, (shift, scale) in CHANGES.items():
        m = mw.lmer("Reaction ~ x + (x | Subject)", {**sleep, "x": shift + scale * days})
        print(f"| `{name}` | {theirs.get(name, '-')} | {m.loglik:.3f} |")


if __name__ == "__main__":
    main()
