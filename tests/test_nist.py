"""NIST's Statistical Reference Datasets for one-way analysis of variance, and the digits reached on them.

Certified values: https://www.itl.nist.gov/div898/strd/anova/anova.html. SiRstv and AtmWtAg are observed
(silicon resistivity; the atomic weight of silver, Powell, Murphy and Gramlich 1982). SmLs01-09 are the
constructions of Simon and Lesage (1989): nine treatments with 21, 201 or 2001 replicates of a base of 1, 1e6
or 1e12 plus a few tenths. The base takes the digits: doubles near 1e12 are 1.2e-4 apart, so that exact
arithmetic on the stored numbers cannot reach more than 4 of the certified digits. That bound is computed
here, and asked for.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import mixwell as mw

REFERENCE = Path(__file__).parent / "reference"
LOWER = ("SiRstv", "SmLs01", "SmLs02", "SmLs03", "AtmWtAg")
R_DIGITS = json.loads((REFERENCE / "nist_r.json").read_text())["digits"]


@dataclass(frozen=True, slots=True)
class Analysis:
    """F, the residual standard deviation, and the sum of squares between treatments."""

    F: float
    sd: float
    between: float

    def digits(self, exact: Analysis) -> dict[str, float]:
        """Correct digits, -log10 of the relative error; 15 when equal."""
        found = {}
        for name in ("F", "sd", "between"):
            value, target = getattr(self, name), getattr(exact, name)
            found[name] = (
                15.0 if value == target else min(15.0, -math.log10(abs(value - target) / abs(target)))
            )
        return found


CERTIFIED = {
    "SiRstv": Analysis(1.18046237440255e00, 1.04076068334656e-01, 5.11462616000000e-02),
    "AtmWtAg": Analysis(1.59467335677930e01, 1.51048314446410e-05, 3.63834187500000e-09),
    "SmLs01": Analysis(2.10000000000000e01, 1.00000000000000e-01, 1.68000000000000e00),
    "SmLs02": Analysis(2.01000000000000e02, 1.00000000000000e-01, 1.60800000000000e01),
    "SmLs03": Analysis(2.00100000000000e03, 1.00000000000000e-01, 1.60080000000000e02),
    "SmLs04": Analysis(2.10000000000000e01, 1.00000000000000e-01, 1.68000000000000e00),
    "SmLs05": Analysis(2.01000000000000e02, 1.00000000000000e-01, 1.60800000000000e01),
    "SmLs06": Analysis(2.00100000000000e03, 1.00000000000000e-01, 1.60080000000000e02),
    "SmLs07": Analysis(2.10000000000000e01, 1.00000000000000e-01, 1.68000000000000e00),
    "SmLs08": Analysis(2.01000000000000e02, 1.00000000000000e-01, 1.60800000000000e01),
    "SmLs09": Analysis(2.00100000000000e03, 1.00000000000000e-01, 1.60080000000000e02),
}


@cache
def data_set(name: str) -> dict[str, np.ndarray]:
    """Return columns y and g (strings, so that g is a factor)."""
    if not name.startswith("SmLs"):
        with (REFERENCE / "data" / f"nist_{name.lower()}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return {
            "y": np.array([float(row["y"]) for row in rows]),
            "g": np.array([row["instrument"] for row in rows]),
        }
    number = int(name[-2:]) - 1
    base, replicates = (1, 10**6, 10**12)[number // 3], (21, 201, 2001)[number % 3]
    steps = [2] + [3 if k % 2 == 0 else 1 for k in range(1, replicates)]  # tenths: 2, 1, 3, 1, 3, ...
    y = [
        float(Decimal(base) + Decimal(steps[i] + steps[j]) / 10) for i in range(9) for j in range(replicates)
    ]
    return {"y": np.array(y), "g": np.repeat(np.arange(1, 10).astype(str), replicates)}


@cache
def exact(name: str) -> Analysis:
    """Analyse the stored numbers in exact rational arithmetic."""
    columns = data_set(name)
    base = Fraction(float(columns["y"][0]))
    groups = [
        [Fraction(float(y)) - base for y in columns["y"][columns["g"] == g]] for g in np.unique(columns["g"])
    ]
    n, sums = columns["y"].size, [sum(group) for group in groups]
    mean = sum(sums) / n
    between = sum(
        len(group) * (total / len(group) - mean) ** 2 for group, total in zip(groups, sums, strict=True)
    )
    within = sum(y * y for group in groups for y in group) - sum(
        total**2 / len(group) for group, total in zip(groups, sums, strict=True)
    )
    variance = within / (n - len(groups))
    return Analysis(float(between / (len(groups) - 1) / variance), math.sqrt(variance), float(between))


def by_lm(name: str) -> Analysis:
    """F from mw.lm: the coefficients are differences from the first treatment; the design is balanced."""
    m = mw.lm("y ~ g", data_set(name))
    effects = np.concatenate([[0.0], m.fixef.values[1:]])
    replicates = data_set(name)["y"].size / effects.size
    between = replicates * ((effects - effects.mean()) ** 2).sum()
    return Analysis(between / (effects.size - 1) / m.sigma**2, m.sigma, between)


def by_lmer(name: str) -> Analysis:
    """F from the mixed model: in a balanced one-way design F = 1 + J theta^2 at the REML optimum."""
    m = mw.lmer("y ~ 1 + (1 | g)", data_set(name))
    groups = np.unique(data_set(name)["g"]).size
    F = 1 + data_set(name)["y"].size / groups * m.theta[0] ** 2
    return Analysis(F, m.sigma, F * m.sigma**2 * (groups - 1))


@pytest.mark.parametrize("name", CERTIFIED)
def test_lm_reaches_the_digits_that_the_stored_numbers_hold(name: str) -> None:
    ours, bound = by_lm(name).digits(CERTIFIED[name]), exact(name).digits(CERTIFIED[name])
    print(
        f"{name}  lm   "
        + "  ".join(f"{key} {value:5.2f} of {bound[key]:5.2f}" for key, value in ours.items())
    )
    for key, value in ours.items():
        # No fewer than R, except where R is luckier than exact arithmetic; 13 digits are full marks.
        assert value >= min(R_DIGITS[name]["lm"][key], bound[key], 13.0) - 0.05, (key, value)
        if name in LOWER:
            assert value >= 9.0, (key, value)


@pytest.mark.parametrize("name", CERTIFIED)
def test_the_mixed_model_finds_the_same_analysis(name: str) -> None:
    ours, bound = by_lmer(name).digits(CERTIFIED[name]), exact(name).digits(CERTIFIED[name])
    print(
        f"{name}  lmer "
        + "  ".join(f"{key} {value:5.2f} of {bound[key]:5.2f}" for key, value in ours.items())
    )
    for key in ("F", "sd"):
        assert ours[key] >= min(R_DIGITS[name]["lme4"][key], bound[key]) - 0.05, (key, ours[key])
