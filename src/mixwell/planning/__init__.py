"""Power before there are data.

plan.py          sampling plans: crossed and nested designs of any size, as tables
truth.py         a model with parameters that are assumed instead of estimated
experiments.py   experiments drawn from it, fitted side by side, and their tests
power.py         power(), m.power(): simulated power of every test, and its approximation without simulation
curve.py         power over numbers of subjects and items, and the smallest effect that would be found
"""

from mixwell.planning.curve import MinimumEffect, PowerCurve, minimum_effect, power_curve
from mixwell.planning.plan import Plan, crossed, nested
from mixwell.planning.power import Power, power

__all__ = [
    "MinimumEffect",
    "Plan",
    "Power",
    "PowerCurve",
    "crossed",
    "minimum_effect",
    "nested",
    "power",
    "power_curve",
]
